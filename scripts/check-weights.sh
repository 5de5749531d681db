#!/usr/bin/env bash
# check-weights.sh: weights that this library writes, read by PyTorch, and the other way round: small trained networks in both formats
# give the same scores on both sides.
set -euo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
theirs="$root/scripts/check_weights.py"
ours="$root/artifacts/bin/ResNetNodes.TestProcess/release_linux-x64/ResNetNodes.TestProcess"
bound=1e-6 # of the scores: rounding of some 50 layers of float32

usage() {
  cat <<END_OF_USAGE
usage: scripts/check-weights.sh PYTHON

  PYTHON  a command that runs Python with torch 1.13 or later (Debian: python3 with the package python3-torch)
END_OF_USAGE
}

fail() { printf 'check-weights.sh: %s\n' "$*" >&2; exit "${code:-1}"; }

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  '') usage >&2; exit 2 ;;
esac
(($# == 1)) || { code=2; fail "'$2' is not an option; --help lists them"; }
python="$1"
export PYTHONDONTWRITEBYTECODE=1 # nothing is left in the folder of the scripts
command -v "$python" >/dev/null || fail "$python: no such interpreter"
version="$("$python" "$theirs" --version 2>&1)" ||
  fail "$python has no torch that can be loaded (${version##*$'\n'}); on Debian, install python3-torch and name python3"
[[ -x "$ours" ]] || fail "$ours is missing: run ./build.sh managed first"

work="$(mktemp -d "$root/build/weights.XXXXXX")"
trap 'rm -rf "$work"' EXIT
mkdir "$work/ours" "$work/theirs"
"$ours" weights write "$work/ours"
for network in tiny basic bottleneck; do
  for kind in safetensors pth scores; do
    file="$network.$kind"
    [[ "$kind" != scores ]] || file="$network.scores.safetensors"
    "$python" "$theirs" write "$network" "$kind" >"$work/theirs/$file"
  done
done

# judged WORDS: lines of a file and an error; each has to be within the bound.
judged() {
  awk -v what="$1" -v bound="$bound" '{ bad = !($2 + 0 <= bound + 0); print what, $1, $2 (bad ? "  too large" : ""); failed += bad }
    END { exit failed > 0 || NR == 0 }' || fail "$1: scores differ by more than $bound"
}
printf 'PyTorch %s; difference of the scores:\n' "$version"
"$python" "$theirs" read "$work/ours" | judged 'written here, read by PyTorch:'
"$ours" weights read "$work/theirs" | judged 'written by PyTorch, read here:'
