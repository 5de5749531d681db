#!/usr/bin/env bash
# Ends a training at random moments of its epochs, lets it go on to its end, and compares checkpoint and metrics, bit by bit and without
# times and memory, with those of a training that nobody has disturbed. Of several ranks, one is killed, and mpirun has to end the others.
set -uo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
program="$root/resnet-nodes"
trials=20 seed=1 ranks=1
# After these seconds a training hangs.
longest=300
training=(--dataset fashion-mnist --limit 3000 --batch 64 --depth 16 --epochs 2)

usage() {
  cat <<END
usage: scripts/kills.sh [--trials N] [--seed S] [--ranks K] [-- OPTIONS]

  --trials N  trainings, each ended once, three of four by SIGKILL [$trials]
  --seed S    of every draw [$seed]; which step a moment meets also depends on the machine
  --ranks K   processes that train together, by mpirun [$ranks]
  OPTIONS     of resnet-nodes train [${training[*]}]
END
}

wrong() { echo "kills.sh: $*" >&2; exit 2; }

while (($#)); do
  case "$1" in
    --trials | --seed | --ranks)
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
train=("$program" train "${training[@]}" --quiet)
if ((ranks > 1)); then
  command -v mpirun >/dev/null || wrong "mpirun is missing: ./build.sh setup --with-mpi installs it"
  launch=(mpirun --oversubscribe -n "$ranks")
  ((EUID != 0)) || launch+=(--allow-run-as-root)
  train=("${launch[@]}" "${train[@]}")
fi
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

"${train[@]}" --out "$work/whole" >/dev/null || wrong "the undisturbed training failed"
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
  env --default-signal=INT "${train[@]}" --save-steps "$steps" --out "$run" >/dev/null 2>"$work/said" &
  pid=$!
  until [[ -e "$run/checkpoint.bin" ]] || ! kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
  sleep "$((drawn / 1000)).$(printf %03d $((drawn % 1000)))"
  victim="$pid" whom=
  if ((ranks > 1)) && [[ "$signal" == KILL ]]; then
    draw "$ranks"
    whom=" to rank $drawn"
    for child in $(pgrep -P "$pid"); do
      ! tr '\0' '\n' <"/proc/$child/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$drawn" || victim="$child"
    done
  fi
  kill -"$signal" "$victim" 2>/dev/null || signal='ended by itself' whom=
  (sleep "$longest" && kill -KILL "$pid" && touch "$work/hung") 2>/dev/null &
  watch=$!
  wait "$pid" 2>/dev/null
  pkill -P "$watch" 2>/dev/null
  [[ ! -e "$work/hung" ]] || wrong "trial $trial: the training did not end in $longest seconds after $signal$whom"
  writing=
  [[ ! -e "$run/checkpoint.bin.partial" ]] || writing=', while it wrote the next one'
  where="$(place "$run/checkpoint.bin")"
  [[ "$where" != in* ]] || within=$((within + 1))
  if timeout "$longest" "${train[@]}" --out "$run" --resume >/dev/null \
    && cmp -s <(tensors "$work/whole/checkpoint.bin") <(tensors "$run/checkpoint.bin") \
    && cmp -s <(results "$work/whole") <(results "$run"); then
    verdict=equal
    [[ -z "$whom" ]] || grep -q "process rank ${whom##* } " "$work/said" || verdict='equal, but no line names the rank'
    [[ "$verdict" != equal ]] || equal=$((equal + 1))
  else
    verdict=DIFFERENT
  fi
  echo "trial $trial: $signal$whom, saved every $steps steps, last $where$writing: $verdict"
  rm -rf "$run"
done
echo "$equal of $trials trainings are bit-equal to the undisturbed one (seed $seed); $within had been saved within an epoch"
((equal == trials))
