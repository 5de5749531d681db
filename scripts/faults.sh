#!/usr/bin/env bash
# Tries to break the command line: kills, signals, damaged files, full disks, closed streams, wrong options, hostile data. A trial draws
# its fault from the seed, and then looks at what is left: results equal to an undisturbed run's, or one line that names the culprit.
# Needs nothing from any network. Prints trials and failures by kind; the folder of a failed trial, with its commands, is kept.
set -uo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
program="$root/resnet-nodes"
all=(kill signal child twice change damage report disk stream option image data size)
kinds=("${all[@]}")
seconds=1800 seed=1

usage() {
  cat <<EOF
usage: scripts/faults.sh [--seconds N] [--seed S] [--only KIND,...]

  --seconds N      how long trials are begun [$seconds]
  --seed S         of every draw [$seed]; where a kill meets a process also depends on the machine
  --only KIND,...  of ${all[*]}
EOF
}

wrong() { echo "faults.sh: $*" >&2; exit 2; }

while (($#)); do
  case "$1" in
    --seconds | --seed)
      [[ "${2:-}" =~ ^[1-9][0-9]{0,8}$ ]] || wrong "$1 is '${2:-}', expected a whole number from 1"
      printf -v "${1#--}" %s "$2"
      shift 2
      ;;
    --only)
      IFS=, read -ra kinds <<<"${2:-}"
      ((${#kinds[@]})) || wrong "--only is '', expected kinds of ${all[*]}"
      for kind in "${kinds[@]}"; do
        [[ " ${all[*]} " == *" $kind "* ]] || wrong "--only is '$kind', expected kinds of ${all[*]}"
      done
      shift 2
      ;;
    -h | --help) usage; exit 0 ;;
    *) wrong "'$1' is not an option" ;;
  esac
done
[[ -x "$program" ]] || wrong "$program is missing"

# shellcheck source=scripts/checkpoint.sh
source "$root/scripts/checkpoint.sh"
# shellcheck source=scripts/faults-trials.sh
source "$root/scripts/faults-trials.sh"
# shellcheck source=scripts/faults-data.sh
source "$root/scripts/faults-data.sh"

# Threads that wait sleep soon: many short processes share the cores.
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}"
RANDOM=$((seed % 32768))
work="$(mktemp -d)"
declare -A trials failures
cleanup() {
  jobs -p | xargs -r kill -9 2>/dev/null
  findmnt -rno TARGET 2>/dev/null | grep -F "$work/" | xargs -r umount 2>/dev/null
  rmdir "$work" 2>/dev/null || rm -rf "$work/base"
  rmdir "$work" 2>/dev/null
}
trap cleanup EXIT

began=$SECONDS number=0
while :; do
  for kind in "${kinds[@]}"; do
    ((SECONDS - began < seconds)) || break 2
    number=$((number + 1))
    here="$work/$number-$kind"
    mkdir "$here"
    trials[$kind]=$((${trials[$kind]:-0} + 1))
    failed=
    "trial_$kind"
    if [[ -n "$failed" ]]; then
      failures[$kind]=$((${failures[$kind]:-0} + 1))
      echo "failed: $kind, trial $number of seed $seed: $failed; see $here" >&2
    else
      rm -rf "$here"
    fi
  done
done

total=0
printf '%-8s %7s %9s\n' kind trials failures
for kind in "${kinds[@]}"; do
  printf '%-8s %7d %9d\n' "$kind" "${trials[$kind]:-0}" "${failures[$kind]:-0}"
  total=$((total + ${failures[$kind]:-0}))
done
echo "$number trials in $((SECONDS - began)) s, $total failures (seed $seed)"
((total == 0))
