#!/usr/bin/env bash
# compare-reference.sh: times a training step of TinyResNet here and in PyTorch, on this machine. Rounds alternate, each in
# a process of its own with the same number of threads, and a table gives the ratios of the medians.
set -euo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
reference="$root/scripts/reference_bench.py"

usage() {
  cat <<END
usage: scripts/compare-reference.sh PYTHON [--depth N] [--planes C] [--batch B] [--rounds R] [--steps S] [--threads T]
                                    [--methods METHOD,...]

  PYTHON     an interpreter with torch 1.13 or later (Debian: python3 with the package python3-torch)
  --depth    residual functions [16]
  --planes   channels [16]
  --batch    images per step [128]
  --rounds   turns of each side [3]
  --steps    measured steps of each method per turn [10]
  --threads  threads of each side [one per core]
  --methods  ours, as in 'resnet-nodes help bench' [torchsharp-backprop,backprop,adaptive,corrected,extrapolated]
END
}

fail() { printf 'compare-reference.sh: %s\n' "$*" >&2; exit "${code:-1}"; }
misuse() { code=2; fail "$*"; }

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  '') usage >&2; exit 2 ;;
esac
python="$1"
shift
depth=16 planes=16 batch=128 rounds=3 steps=10 threads="$(nproc)"
methods=torchsharp-backprop,backprop,adaptive,corrected,extrapolated
while (($# > 0)); do
  case "$1" in
    --depth | --planes | --batch | --rounds | --steps | --threads)
      [[ "${2:-}" =~ ^[1-9][0-9]*$ ]] || misuse "$1 is '${2:-}', expected a whole number from 1"
      printf -v "${1#--}" '%s' "$2"
      ;;
    --methods)
      [[ -n "${2:-}" ]] || misuse "--methods needs a value"
      methods="$2"
      ;;
    *) misuse "'$1' is not an option; --help lists them" ;;
  esac
  shift 2
done

command -v "$python" >/dev/null || fail "$python: no such interpreter"
version="$("$python" "$reference" version 2>&1)" ||
  fail "$python has no torch that can be loaded (${version##*$'\n'}); on Debian, install python3-torch and name python3"
ours="$("$root/resnet-nodes" version 2>&1)" || fail "$ours"

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
printf '%s beside PyTorch %s: TinyResNet, depth %s, %s planes, batch %s, %s threads; %s rounds of %s steps\n' \
  "$ours" "$version" "$depth" "$planes" "$batch" "$threads" "$rounds" "$steps" >&2
for ((round = 1; round <= rounds; round++)); do
  printf 'round %s of %s: PyTorch\n' "$round" "$rounds" >&2
  "$python" "$reference" time "$depth" "$planes" "$batch" "$steps" "$threads" >"$work/pytorch-$round.json" 2>"$work/errors" ||
    fail "PyTorch's step failed: $(tail -n 1 "$work/errors")"
  printf 'round %s of %s: ours\n' "$round" "$rounds" >&2
  "$root/resnet-nodes" bench --network tiny --depths "$depth" --planes "$planes" --batch "$batch" --methods "$methods" \
    --repetitions "$steps" --threads "$threads" --no-memory --json --quiet --out "$work/ours-$round" >"$work/ours-$round.json" 2>"$work/errors" ||
    fail "our step failed: $(tail -n 1 "$work/errors")"
done
"$python" "$reference" table "$work"/pytorch-*.json "$work"/ours-*.json
