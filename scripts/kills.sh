#!/usr/bin/env bash
# Ends a training at random moments of its epochs, lets it go on to its end, and compares checkpoint and metrics, bit by bit and without
# times and memory, with those of a training that nobody has disturbed.
set -uo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
program="$root/resnet-nodes"
trials=20 seed=1
training=(--dataset fashion-mnist --limit 3000 --batch 64 --depth 16 --epochs 2)

usage() {
  cat <<END
usage: scripts/kills.sh [--trials N] [--seed S] [-- OPTIONS]

  --trials N  trainings, each ended once, three of four by SIGKILL [$trials]
  --seed S    of every draw [$seed]; which step a moment meets also depends on the machine
  OPTIONS     of resnet-nodes train [${training[*]}]
END
}

wrong() { echo "kills.sh: $*" >&2; exit 2; }

while (($#)); do
  case "$1" in
    --trials | --seed)
      [[ "${2:-}" =~ ^[1-9][0-9]{0,8}$ ]] || wrong "$1 is '${2:-}', expected a whole number from 1"
      printf -v "${1#--}" %s "$2"
      shift 2
      ;;
    --) shift && training=("$@") && break ;;
    -h | --help) usage; exit 0 ;;
    *) wrong "'$1' is not an option" ;;
  esac
done
[[ -x "$program" ]] || wrong "$program is missing"

# shellcheck source=scripts/checkpoint.sh
source "$root/scripts/checkpoint.sh"

export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}"
RANDOM=$((seed % 32768))
work="$(mktemp -d)"
cleanup() {
  jobs -p | xargs -r kill -9 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT

# Sets drawn to a number from 0 to N - 1.
draw() { drawn=$(((RANDOM * 32768 + RANDOM) % $1)); }

results() {
  awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) keep[i] = $i !~ /seconds|share|bytes/}
    {line = ""; for (i = 1; i <= NF; i++) if (keep[i]) line = line "," $i; print line}' "$1/metrics.csv"
}

"$program" train "${training[@]}" --quiet --out "$work/whole" >/dev/null || wrong "the undisturbed training failed"
# The milliseconds of its steps.
took="$(awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "seconds") at = i} NR > 1 {sum += $at} END {printf "%d", 1000 * sum + 1}' \
  "$work/whole/metrics.csv")"
echo "undisturbed: $took ms in training steps"

equal=0 within=0
for ((trial = 1; trial <= trials; trial++)); do
  run="$work/run"
  draw 4
  signal=KILL
  ((drawn > 0)) || signal=TERM
  draw 5
  steps=$((drawn + 1))
  draw "$took"
  env --default-signal=INT "$program" train "${training[@]}" --quiet --save-steps "$steps" --out "$run" >/dev/null 2>&1 &
  pid=$!
  until [[ -e "$run/checkpoint.bin" ]] || ! kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
  sleep "$((drawn / 1000)).$(printf %03d $((drawn % 1000)))"
  kill -"$signal" "$pid" 2>/dev/null || signal='ended by itself'
  wait "$pid" 2>/dev/null
  writing=
  [[ ! -e "$run/checkpoint.bin.partial" ]] || writing=', while it wrote the next one'
  where="$(place "$run/checkpoint.bin")"
  [[ "$where" != in* ]] || within=$((within + 1))
  if "$program" train "${training[@]}" --quiet --out "$run" --resume >/dev/null \
    && cmp -s <(tensors "$work/whole/checkpoint.bin") <(tensors "$run/checkpoint.bin") \
    && cmp -s <(results "$work/whole") <(results "$run"); then
    equal=$((equal + 1))
    verdict=equal
  else
    verdict=DIFFERENT
  fi
  echo "trial $trial: $signal, saved every $steps steps, last $where$writing: $verdict"
  rm -rf "$run"
done
echo "$equal of $trials trainings are bit-equal to the undisturbed one (seed $seed); $within had been saved within an epoch"
((equal == trials))
