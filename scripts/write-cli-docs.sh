#!/usr/bin/env bash
# Writes docs/cli.md from the tool's own help.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# shellcheck disable=SC2016 # backquotes of Markdown
page() { printf '\n## resnet-nodes%s\n\n```\n%s\n```\n' "${1:+ $1}" "$(./resnet-nodes "${@:2}")"; }

{
  # shellcheck disable=SC2016
  printf '# Command line\n\nWritten by the tool from its own help (`scripts/write-cli-docs.sh`).\n'
  page "" --help
  for verb in $(./resnet-nodes --help | awk '/^  [a-z-]+ / && $1 != "help" && $1 != "version" {print $1}'); do
    page "$verb" help "$verb"
  done
} >docs/cli.md
