#!/usr/bin/env bash
# write-numbers.sh: writes the pictures' places, tables and times of README.md from the data in docs/measured and
# docs/benchmarks, and the times of the demo and of `reproduce` wherever they are stated. --check compares instead.
# Backquotes are Markdown's, dollars awk's.
# shellcheck disable=SC2016
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

data=docs/measured
figures=docs/figures
# Newest folder of benchmarks, as docs/benchmarks.md shows it.
bench="$(printf '%s\n' docs/benchmarks/*/bench.csv | sort | tail -n 1)"
bench="${bench%/bench.csv}"
accuracy_methods=(adaptive corrected backprop)

usage() {
  cat <<END
usage: scripts/write-numbers.sh            write the numbers
       scripts/write-numbers.sh --check    compare; fail at the first difference, and name it
       scripts/write-numbers.sh --measure  run the commands first, in runs/measured (an hour on 2 cores), and keep
                                           their data in $data
END
}

fail() { printf 'write-numbers.sh: %s\n' "$*" >&2; exit 1; }

# --- reading ----------------------------------------------------------------------------------------------------------

# json KEY FILE: a plain value of a file that the tool or this script wrote, one a line.
json() { sed -nE "s/^ *\"$1\": *\"?([^\",]*)\"?,?\$/\1/p" "$2" | head -n 1; }

# Functions for awk: cells of a CSV line by column name, and numbers as people read them.
library='
function cells(line, cell,   n, quoted, i, c) {
  split("", cell); n = 1; quoted = 0; cell[1] = ""
  for (i = 1; i <= length(line); i++) {
    c = substr(line, i, 1)
    if (c == "\"") { if (quoted && substr(line, i + 1, 1) == "\"") { cell[n] = cell[n] c; i++ } else quoted = !quoted }
    else if (c == "," && !quoted) cell[++n] = ""
    else cell[n] = cell[n] c
  }
  return n
}
function header(   i, head, last) { split("", column); last = cells($0, head); for (i = 1; i <= last; i++) column[head[i]] = i }
FNR == 1 { header(); next }
{ cells($0, row) }
function of(name) { if (!(name in column)) { print "no column " name > "/dev/stderr"; exit 1 } return row[column[name]] }
function grouped(x,   s, out) {
  x += 0  # a cell is a text
  s = sprintf("%.0f", x < 0 ? -x : x)
  while (length(s) > 3) { out = "," substr(s, length(s) - 2) out; s = substr(s, 1, length(s) - 3) }
  return (x <= -0.5 ? "-" : "") s out
}
function bytes(x) { return x + 0 >= 1e5 ? sprintf("%.2f MB", x / 1e6) : grouped(x) }
function power(x,   s) { s = sprintf("%.1e", x); sub(/e-0/, "e-", s); sub(/e\+0/, "e+", s); return s }
'

# The command of a run, from its config.json, without where its output went.
command_of() {
  awk '/"command_line"/ { inside = 1; next } inside && /\]/ { exit } inside { gsub(/^ *"|",?$/, ""); print }' "$1/config.json" |
    awk '$0 == "--out" { getline; next } $0 == "--resume" || $0 == "--quiet" { next } { printf " %s", $0 } END { print "" }' |
    sed 's#^#./resnet-nodes#'
}

# machine CONFIG MACHINE: what a run ran on, from the two files that say it.
machine() {
  local family
  family="$(json family "$2")"
  printf '%s%s, %s cores, kernel path `%s`, %s, commit %.12s' "$(json processor "$1")" \
    "${family:+, family $family, model $(json model "$2")}" "$(json cores "$2")" "$(json kernel_path "$1")" "$(json date "$2")" \
    "$(json commit "$2")"
}

# minutes demo|reproduce: what the command takes: 1 minute, 2 minutes.
minutes() {
  local seconds
  case "$1" in
    demo) seconds="$(awk -F, '$1 == "demo" { print $2 }' "$data/times.csv")" ;;
    reproduce) seconds="$(awk "$library"' { sum += of("seconds") } END { print sum }' "$data/reproduce/experiments.csv")" ;;
  esac
  [[ -n "$seconds" ]] || fail "$data/times.csv: has no row '$1'"
  awk -v s="$seconds" 'BEGIN { n = int((s + 30) / 60); if (n < 1) n = 1; print n (n == 1 ? " minute" : " minutes") }'
}

# --- what is written --------------------------------------------------------------------------------------------------

block_picture() { printf '![Memory of a training step against depth](%s/memory/memory-tiny.png)\n' "$data"; }

block_demo() {
  printf '```sh\n./build.sh demo      # trains a network, compares gradients, measures memory; %s on 2 cores once built\n' "$(minutes demo)"
  printf './build.sh test\n```\n'
}

# Nothing where scripts/compare-reference.sh has left no data.
block_pytorch() {
  local table
  for table in docs/benchmarks/*/reference.csv; do
    [[ -e "$table" ]] || continue
    printf 'Time of a training step relative to the better of PyTorch'\''s two layouts in the same precision, in brackets the least and\n'
    printf 'the most of a round; both sides took turns (latest: %s;\neach row has its date and commit in docs/benchmarks.md):\n\n' "$(machine "${table%.csv}.json" "${table%.csv}.json")"
    printf '| network | `adaptive` (default) | `extrapolated` | `backprop` |\n|---|---|---|---|\n'
    awk "$library"'
      {
        n = of("network"); label = n == "tiny" ? "TinyResNet, " of("planes") " channels, depth " of("depth") : \
          n == "bottleneck" ? "bottleneck stage, " of("planes") " channels, " of("depth") " functions" : \
          (n == "ode" ? "ODE ResNet" : n == "tied" ? "tied ODE ResNet" : "ResNet") (of("size") ~ /^[0-9]/ ? "-" : " ") of("size") ", " of("image") "×" of("image")
        label = label ", batch " of("batch") (of("train_steps") > 0 ? ", after " of("train_steps") " steps" : "") \
          (of("precision") == "float32" ? "" : ", " of("precision"))
        if (!(label in seen)) { seen[label] = 1; order[++count] = label }
        if (of("ratio_to_pytorch") != "")
          cell[label "-" of("method")] = sprintf("%.2f (%.2f–%.2f)", of("ratio_to_pytorch"), of("ratio_least"), of("ratio_most"))
      }
      function shown(key) { return key in cell ? cell[key] : "–" }
      END {
        for (i = 1; i <= count; i++) {
          key = order[i] "-"
          printf "| %s | %s | %s | %s |\n", order[i], shown(key "adaptive"), shown(key "extrapolated"), shown(key "backprop")
        }
      }' "$table"
    printf '\n'
  done
}

block_times() {
  printf 'Time of a training step relative to stock TorchSharp backprop, all methods in one run (%s):\n\n' \
    "$(machine "$bench/machine.json" "$bench/machine.json")"
  printf '| network | `adaptive` (default) | `corrected` | `extrapolated` | `backprop` |\n|---|---|---|---|---|\n'
  awk "$library"'
    of("depth") != "" { ratio[of("network") "-" of("planes") "-" of("depth") "-" of("train_steps") "-" of("method")] = of("ratio_to_backprop") }
    function line(text, key,   m, n, i, out) {
      n = split("adaptive corrected extrapolated backprop", m, " "); out = "| " text " |"
      for (i = 1; i <= n; i++) {
        if (!((key "-" m[i]) in ratio)) { print "bench.csv has no " key "-" m[i] > "/dev/stderr"; exit 1 }
        out = out sprintf(" %.2f |", ratio[key "-" m[i]])
      }
      print out
    }
    END {
      line("TinyResNet, depth 64, 16 channels, at initialization", "tiny-16-64-0")
      line("the same after 330 training steps", "tiny-16-64-330")
      line("TinyResNet, depth 64, 64 channels", "tiny-64-64-0")
      line("bottleneck stage, 256 channels, 32 functions", "bottleneck-256-32-0")
      line("Linear–tanh–Linear 500–8–500, depth 64", "linear-500-64-0")
    }' "$bench/bench.csv"
}

block_memory() {
  local method files=()
  for method in "${accuracy_methods[@]}"; do files+=("$data/train-$method/metrics.csv"); done
  printf 'Memory and accuracy (Fashion-MNIST), TinyResNet, 16 channels, batch 128, float32 (%s):\n\n' \
    "$(machine "$data/memory/config.json" "$data/machine.json")"
  printf '| reconstruction | bytes per added layer | relative to `backprop` | whole process, per added layer | test accuracy, depth 16, 3 epochs |\n|---|---|---|---|---|\n'
  awk "$library"'
    FILENAME ~ /metrics/ { name = FILENAME; sub(/.*train-/, "", name); sub(/\/.*/, "", name); accuracy[name] = of("test_accuracy"); next }
    of("depth") == "" { method = of("reconstruction"); order[++n] = method; step[method] = of("bytes_per_layer"); peak[method] = of("peak_bytes_per_layer") }
    END {
      for (i = 1; i <= n; i++) {
        m = order[i]
        if (!(m in accuracy)) { print "no training run of " m > "/dev/stderr"; exit 1 }
        printf "| `%s`%s | %s | %s | %s | %.2f %% |\n", m, m == "adaptive" ? " (default)" : "", bytes(step[m]),
          m == "backprop" ? "1" : sprintf("%.4f", step[m] / step["backprop"]), bytes(peak[m]), 100 * accuracy[m]
      }
    }' "${files[@]}" "$data/memory/memory.csv"
}

block_gradients() {
  printf '| depth 16, after 330 training steps | gradient error | relative to `inverse` | state error at x_0 | evaluations a layer on the way back |\n|---|---|---|---|---|\n'
  awk "$library"'
    of("depth") == 16 && of("solver") == "euler" {
      error = of("relative_error"); method = of("reconstruction")
      if (method == "inverse") paper = error
      printf "| `%s`%s | %s | %s | %s | %.2f |\n", method, \
        method == "inverse" ? " (the paper'\''s method)" : method ~ /exact outputs/ ? " (the paper'\''s code)" : "", power(error),
        method == "inverse" ? "1" : sprintf("%.2f", error / paper), power(of("state_error")), of("evaluations_per_layer")
    }' "$data/compare-gradients/gradients.csv"
}

# The paper's rows, in its order: its name, the verb, the picture.
paper_rows=(
  'figure 2:linear-weights:linear-weights' 'figure 3a:tied:tied' 'figure 3b:adjoint-failure:adjoint-failure'
  'figure 3c:depth-sweep:depth-sweep' 'figure 4:compare-gradients:gradients' 'table 2:finetune:finetune' 'memory:memory:memory-linear'
  'discretization:discretization:discretization'
)

# findings VERB WHOSE: statement, number and verdict of a verb's findings, in the words of the program, as cells of a table; those of
# the paper, or all.
findings() {
  awk -v verb="$1" -v whose="$2" "$library"'
    of("verb") == verb {
      claim = of("claim"); ours = claim ~ /^Ours[:,]/
      if (ours && whose == "paper") next
      holds = of("holds"); found++
      printf "%s | %s | %s |\n", claim, of("measured"), holds == "True" ? "holds" : holds == "False" ? "does not hold" : "can'\''t be decided"
    }
    END { exit found == 0 }' "$data/reproduce/report/findings.csv" || fail "$data/reproduce/report/findings.csv: has no finding of $1"
}

# What an experiment takes: 5 s, 12 min.
time_of() {
  awk -v verb="$1" "$library"'
    of("verb") == verb { s = of("seconds") + 0; found++; if (s < 90) printf "%.0f s", s; else printf "%.0f min", s / 60 }
    END { exit found != 1 }' "$data/reproduce/experiments.csv" || fail "$data/reproduce/experiments.csv: has no row '$1'"
}

block_paper() {
  local row figure verb picture lead
  printf '`./resnet-nodes reproduce --preset small` runs every row on Fashion-MNIST and writes one report (%s on 2 cores); to run one\n' "$(minutes reproduce)"
  printf 'row, give its command `--preset small`. `--preset paper` is the setting of the paper. The paper'\''s statements, as found with the\n'
  printf 'small preset over seeds, with intervals of 95 %%; [ours, and what the small preset can'\''t show](docs/reproducing.md):\n\n'
  printf '| paper | command | statement | found | verdict |\n|---|---|---|---|---|\n'
  for row in "${paper_rows[@]}"; do
    IFS=: read -r figure verb picture <<<"$row"
    lead="[$figure]($figures/$picture.png) | \`$verb\`"
    while read -r line; do
      printf '| %s | %s\n' "$lead" "$line"
      lead=' | '
    done < <(findings "$verb" paper)
  done
}

block_statements() {
  local row figure verb picture
  printf 'Found on %s:\n\n' "$(machine "$data/reproduce/memory/config.json" "$data/reproduce/machine.json")"
  for row in "${paper_rows[@]}"; do
    IFS=: read -r figure verb picture <<<"$row"
    printf '### %s: `./resnet-nodes %s --preset small`, %s\n\n' "${figure^}" "$verb" "$(time_of "$verb")"
    printf '| statement | expected: as found here | verdict |\n|---|---|---|\n'
    findings "$verb" all | sed 's/^/| /'
    printf '\n![%s](%s/%s.png)\n\n' "${figure^}" "${figures#docs/}" "$picture"
  done
}

block_commands() {
  printf '```sh\n'
  command_of "$data/train-adaptive"
  command_of "$data/compare-gradients"
  command_of "$data/memory"
  printf '```\n'
}

# --- writing and comparing --------------------------------------------------------------------------------------------

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# expected FILE: the file with its blocks and times as the data have them.
expected() {
  local name demo reproduce
  demo="$(minutes demo)" reproduce="$(minutes reproduce)"
  while read -r name; do
    declare -F "block_$name" >/dev/null || fail "$1: '$name' is no block of numbers"
    "block_$name" >"$work/$name"
  done < <(sed -nE 's/^<!-- numbers: ([a-z]+) -->$/\1/p' "$1")
  awk -v work="$work" '
    /^<!-- numbers: [a-z]+ -->$/ { print; inside = 1; file = work "/" $3; while ((getline text < file) > 0) print text; next }
    /^<!-- end of numbers -->$/ { inside = 0 }
    !inside { print }' "$1" |
    sed -E -e "/build\.sh demo|^## .*runs\/demo/s/[0-9]+ minutes? on 2 cores/$demo on 2 cores/" \
      -e "/reproduce --preset small/s/([0-9]+ minutes?|under an hour) on 2 cores/$reproduce on 2 cores/"
}

# Files that hold numbers: the page, and all that state the time of the demo or of `reproduce`.
holders() {
  local places=(README.md build.sh docs/*.md)
  grep -lE 'numbers: [a-z]+ -->|(build\.sh demo|runs/demo|reproduce --preset small).*on 2 cores' "${places[@]}"
  grep -rlE 'reproduce --preset small.*on 2 cores' experiments --include='*.cs' || fail "experiments: no help text states the time of 'reproduce --preset small'"
}

compare() {
  (cd "$data" && sha256sum --check --quiet SHA256SUMS >&2) || fail "$data is not what --measure left (the lines above): pictures and tables would be of different runs"
  local files file line
  files="$(holders)"
  for file in $files; do
    expected "$file" >"$work/new"
    line="$(awk 'NR == FNR { old[NR] = $0; next } old[FNR] != $0 { print FNR; exit }' "$file" "$work/new")"
    [[ -n "$line" ]] || cmp -s "$file" "$work/new" || line="$(wc -l <"$work/new")"
    [[ -z "$line" ]] ||
      fail "$file:$line: is '$(sed -n "${line}p" "$file")', the data say '$(sed -n "${line}p" "$work/new")'; run scripts/write-numbers.sh"
  done
}

write() {
  local files file
  files="$(holders)"
  for file in $files; do
    expected "$file" >"$work/new"
    cmp -s "$file" "$work/new" || cat "$work/new" >"$file"
  done
}

# --- measuring --------------------------------------------------------------------------------------------------------

# keep FROM TO PATTERN...: files of a run.
keep() {
  local from="$1" to="$2" pattern
  shift 2
  rm -rf "$to"
  mkdir -p "$to"
  # shellcheck disable=SC2086 # patterns are expanded here
  for pattern in "$@"; do cp "$from"/$pattern "$to"; done
}

# Takes the data of finished runs over, as far as they are there: collect RUNS COMMIT.
collect() {
  local runs="$1" commit="$2"
  [[ ! -d "$runs/memory" ]] || collect_tables "$runs" "$commit"
  [[ ! -d "$runs/reproduce" ]] || collect_paper "$runs/reproduce" "$commit"
  (cd "$data" && find . ../figures -type f ! -name SHA256SUMS ! -name '*.md' | sed 's#^\./##' | LC_ALL=C sort | xargs sha256sum) >"$work/sums"
  cp "$work/sums" "$data/SHA256SUMS"
}

# made_on CONFIG COMMIT: date, commit and cores of runs of which this is a configuration.
made_on() { printf '{\n  "date": "%s",\n  "commit": "%s",\n  "cores": %s\n}\n' "$(date -r "$1" +%F)" "$2" "$(nproc)"; }

# The tables of memory, gradients and accuracy.
collect_tables() {
  local runs="$1" commit="$2" name
  keep "$runs/memory" "$data/memory" config.json memory.csv memory-tiny.png
  keep "$runs/compare-gradients" "$data/compare-gradients" config.json gradients.csv
  for name in "${accuracy_methods[@]}"; do keep "$runs/train-$name" "$data/train-$name" config.json metrics.csv; done
  cp "$runs/times.csv" "$data/times.csv"
  made_on "$runs/memory/config.json" "$commit" >"$data/machine.json"
}

# The paper's rows.
collect_paper() {
  local runs="$1" commit="$2" name row
  rm -rf "$figures" "$data/reproduce"
  mkdir "$figures"
  for row in "${paper_rows[@]}"; do
    IFS=: read -r _ name _ <<<"$row"
    keep "$runs/$name" "$data/reproduce/$name" config.json '*.csv'
    cp "$runs/$name"/*.png "$figures"
  done
  # A row a parameter, half a megabyte: drawn, but not kept.
  rm "$data/reproduce/compare-gradients/parameters.csv"
  keep "$runs/report" "$data/reproduce/report" findings.csv
  cp "$runs/experiments.csv" "$data/reproduce/experiments.csv"
  made_on "$runs/config.json" "$commit" >"$data/reproduce/machine.json"
}

measure() {
  local runs=runs/measured name
  run() { ./resnet-nodes "${@:2}" --out "$runs/$1" --resume --quiet; }
  run memory memory --network tiny --depths 16,64,256 --reconstructions adaptive,corrected,backprop
  run compare-gradients compare-gradients --network tiny --depths 8,16,32 --solvers euler,heun \
    --reconstructions inverse,corrected,corrected:2,adaptive --train-steps 330 --seed 1
  for name in "${accuracy_methods[@]}"; do
    run "train-$name" train --network tiny --depth 16 --planes 16 --solver euler --reconstruction "$name" --dataset fashion-mnist \
      --batch 128 --epochs 3 --seed 1
  done
  ./build.sh
  local begin=$SECONDS
  ./build.sh demo >/dev/null
  printf 'name,seconds\ndemo,%s\n' "$((SECONDS - begin))" >"$runs/times.csv"
  run reproduce reproduce --preset small
  collect "$runs" "$(git rev-parse HEAD)"
}

case "${1:-}" in
  '') write ;;
  --check) compare ;;
  --measure) measure; write ;;
  # Runs that were made elsewhere, of another commit; the tables of memory, gradients and accuracy, or those of the paper, or both.
  --collect) collect "${2:?folder of runs}" "${3:?commit}"; write ;;
  -h | --help) usage ;;
  *) usage >&2; exit 2 ;;
esac
