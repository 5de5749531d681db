// Blocks without a language are plain text: a guess would colour the words of help texts.
export default {
  configureHljs: hljs => hljs.configure({ languages: [] }),
}
