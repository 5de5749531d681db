#!/usr/bin/env bash
# compare-reference.sh: times training steps here and in PyTorch, on this machine. Rounds alternate, each in a process of its own
# with the same number of threads, and a table for each network gives the ratios of the medians; --page keeps them.
set -euo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
reference="$root/scripts/reference_bench.py"
started="scripts/compare-reference.sh PYTHON ${*:2}"

usage() {
  cat <<END_OF_USAGE
usage: scripts/compare-reference.sh PYTHON [--network NAME] [--planes C,...] [--depth N,... | --size SIZE,... --image P]
                                    [--classes K] [--batch B] [--train-steps N] [--precision P,...] [--rounds R] [--steps S]
                                    [--threads T] [--methods METHOD,...] [--pytorch METHOD,...] [--page FILE]

  PYTHON         a command that runs Python with torch 1.13 or later (Debian: python3 with the package python3-torch)
  --network      tiny, bottleneck, resnet, ode or tied [tiny]
  --planes       channels of the state, or planes of the first of four stages [tiny 16, bottleneck 256, others 64]
  --depth        residual functions of tiny and bottleneck [tiny 16, bottleneck 32]
  --size         blocks of networks of four stages, as in 'resnet-nodes help bench' [34]
  --image        rows and columns of their images [32]
  --classes      classes [tiny 10, networks of four stages 1000]
  --batch        images per step [128, bottleneck 16]
  --train-steps  steps of training before measuring, on both sides [0]
  --precision    float32, bfloat16 or both [float32,bfloat16]
  --rounds       turns of each side [3]
  --steps        measured steps of each method per turn [10]
  --threads      threads of each side [one per core]
  --methods      ours, as in 'resnet-nodes help bench'
                 [torchsharp-backprop,torchsharp-channels-last,backprop,checkpoint,extrapolated,adaptive]
  --pytorch      PyTorch's, both layouts at least [pytorch-eager,pytorch-channels-last,pytorch-checkpoint,
                 pytorch-channels-last-checkpoint,pytorch-compile,pytorch-adjoint]; pytorch-compile needs a C++ compiler
                 and PyTorch's headers (Debian: g++, python3-dev, libtorch-dev), and is a row "failed" without
  --page         also onto this page, with the raw data in a folder beside it: docs/benchmarks.md
END_OF_USAGE
}

fail() { printf 'compare-reference.sh: %s\n' "$*" >&2; exit "${code:-1}"; }
misuse() { code=2; fail "$*"; }

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  '') usage >&2; exit 2 ;;
esac
python="$1"
shift
network=tiny planes='' depth='' size='' image='' classes='' batch='' train_steps=0 precision=float32,bfloat16 rounds=3 steps=10
threads="$(nproc)" page=''
methods='torchsharp-backprop,torchsharp-channels-last,backprop,checkpoint,extrapolated,adaptive'
known='pytorch-eager,pytorch-channels-last,pytorch-checkpoint,pytorch-channels-last-checkpoint,pytorch-compile,pytorch-adjoint'
pytorch="$known"
while (($# > 0)); do
  name="${1#--}"
  case "$1" in
    --image | --classes | --batch | --rounds | --steps | --threads)
      [[ "${2:-}" =~ ^[1-9][0-9]*$ ]] || misuse "$1 is '${2:-}', expected a whole number from 1"
      ;;
    --train-steps) [[ "${2:-}" =~ ^(0|[1-9][0-9]*)$ ]] || misuse "$1 is '${2:-}', expected a whole number from 0" ;;
    --planes | --depth)
      [[ "${2:-}" =~ ^[1-9][0-9]*(,[1-9][0-9]*)*$ ]] || misuse "$1 is '${2:-}', expected a whole number from 1, or several with commas"
      ;;
    --network) [[ "${2:-}" =~ ^(tiny|bottleneck|resnet|ode|tied)$ ]] || misuse "$1 is '${2:-}', expected tiny, bottleneck, resnet, ode or tied" ;;
    --precision)
      [[ "${2:-}" =~ ^(float32|bfloat16|float32,bfloat16)$ ]] || misuse "$1 is '${2:-}', expected float32, bfloat16 or float32,bfloat16"
      ;;
    --size | --methods | --pytorch | --page) [[ -n "${2:-}" ]] || misuse "$1 needs a value" ;;
    *) misuse "'$1' is not an option; --help lists them" ;;
  esac
  printf -v "${name//-/_}" '%s' "$2"
  shift 2
done

for method in ${pytorch//,/ }; do
  [[ ",$known," == *",$method,"* ]] || misuse "--pytorch has '$method', expected some of $known"
done
for layout in pytorch-eager pytorch-channels-last; do
  [[ ",$pytorch," == *",$layout,"* ]] || misuse "--pytorch lacks $layout: ratios are to the faster of PyTorch's two layouts"
done
case "$network" in
  tiny | bottleneck)
    [[ -z "$size$image" ]] || misuse "--network $network has a --depth, and neither --size nor --image"
    [[ "$network" == tiny || -z "$classes" ]] || misuse "--network bottleneck has no --classes"
    ;;
  *) [[ -z "$depth" ]] || misuse "--network $network has a --size, and no --depth" ;;
esac
case "$network" in
  tiny) planes="${planes:-16}" lengths="${depth:-16}" batch="${batch:-128}" classes="${classes:-10}" ;;
  bottleneck) planes="${planes:-256}" lengths="${depth:-32}" batch="${batch:-16}" ;;
  *) planes="${planes:-64}" lengths="${size:-34}" batch="${batch:-128}" classes="${classes:-1000}" image="${image:-32}" ;;
esac

export PYTHONDONTWRITEBYTECODE=1 # nothing is left in the folder of the scripts
command -v "$python" >/dev/null || fail "$python: no such interpreter"
version="$("$python" "$reference" --version 2>&1)" ||
  fail "$python has no torch that can be loaded (${version##*$'\n'}); on Debian, install python3-torch and name python3"
ours="$("$root/resnet-nodes" version 2>&1)" || fail "$ours"
[[ -z "$page" || "$page" == *.md ]] || misuse "--page is $page, expected the name of a file that ends with .md"

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
common=(--network "$network" --batch "$batch" --train-steps "$train_steps" --precision "$precision" --threads "$threads")
[[ -z "$classes" ]] || common+=(--classes "$classes")
[[ -z "$image" ]] || common+=(--image "$image")

# time_pytorch PLANES LENGTH ROUND, time_ours likewise: a round of a side, into a file of its own.
time_pytorch() {
  local length=(--depth "$2")
  [[ "$network" == tiny || "$network" == bottleneck ]] || length=(--size "$2")
  "$python" "$reference" "${common[@]}" --planes "$1" "${length[@]}" --steps "$steps" --methods "$pytorch" \
    >"$work/$1-$2/pytorch-$3.json" 2>"$work/errors" || fail "PyTorch's step failed: $(tail -n 1 "$work/errors")"
}
time_ours() {
  local length=(--depths "$2")
  [[ "$network" == tiny || "$network" == bottleneck ]] || length=(--size "$2")
  "$root/resnet-nodes" bench "${common[@]}" --planes "$1" "${length[@]}" --repetitions "$steps" --methods "$methods" --no-memory --json \
    --quiet --out "$work/$1-$2/run-$3" >"$work/$1-$2/ours-$3.json" 2>"$work/errors" || fail "our step failed: $(tail -n 1 "$work/errors")"
}

printf '%s beside PyTorch %s: %s, %s threads; %s rounds of %s steps\n' "$ours" "$version" "$network" "$threads" "$rounds" "$steps" >&2
for width in ${planes//,/ }; do
  for length in ${lengths//,/ }; do
    mkdir "$work/$width-$length"
    for ((round = 1; round <= rounds; round++)); do
      sides=(pytorch ours)
      ((round % 2)) || sides=(ours pytorch)
      for side in "${sides[@]}"; do
        printf '%s, %s planes, %s: round %s of %s: %s\n' "$network" "$width" "$length" "$round" "$rounds" "$side" >&2
        "time_$side" "$width" "$length" "$round"
      done
    done
    "$root/resnet-nodes" bench-reference --rounds "$work/$width-$length" --steps "$steps" --threads "$threads" --command "$started" \
      ${page:+--page "$page"} || fail "the rounds could not be compared (the line above)"
  done
done
