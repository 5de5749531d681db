#!/usr/bin/env bash
# gpu-check.sh: checks the engine on a GPU in one call, in less than 8 minutes. It builds the engine with this machine's nvcc
# against a PyTorch's LibTorch. Then section by section, each with a verdict of its own: what is looked up in LibTorch by name;
# the native tests on CUDA tensors; gradients, graphs and waits beside PyTorch (gpu_checks.py); step time and memory against
# depth (gpu_bench.py). A section that fails does not stop the others. It needs PyTorch 2.10 or later with CUDA, CMake, nvcc,
# a C++20 compiler and GoogleTest, but no network, no .NET and no SWIG.
set -euo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
build="$root/build/gpu"

usage() {
  cat <<END
usage: scripts/gpu-check.sh PYTHON

  PYTHON   an interpreter with torch 2.10 or later and CUDA

variables:
  CUDACXX            nvcc, if it is neither on the path nor in /usr/local/cuda
  GOOGLETEST_SOURCE  GoogleTest's source (default: /usr/src/googletest), if it is not installed
  JOBS               parallel compilations (default: one per core)
END
}

fail() { printf 'gpu-check.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '== %s (%s s)\n' "$*" "$SECONDS" >&2; }

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  '') usage >&2; exit 1 ;;
esac
python="$1"

torch="$("$python" -c '
import sys, torch
version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
if version < (2, 10):
    sys.exit(f"PyTorch is {torch.__version__}, expected 2.10 or later")
if not torch.cuda.is_available():
    sys.exit(f"PyTorch {torch.__version__} sees no CUDA device")
print(torch.__path__[0])')" || fail "$python has no PyTorch that can be used here"
architecture="$("$python" -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())')"

compiler="${CUDACXX:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}"
[[ -x "$compiler" ]] || fail "found no nvcc; set CUDACXX to it"
command -v cmake >/dev/null || fail "found no CMake"
googletest="${GOOGLETEST_SOURCE:-/usr/src/googletest}"
options=()
if [[ -e "$googletest/CMakeLists.txt" ]]; then
  options=("-DRESNET_NODES_GOOGLETEST_SOURCE=$googletest")
elif [[ ! -e /usr/include/gtest/gtest.h ]]; then
  fail "found no GoogleTest; copy its source here (Debian's package googletest has it in /usr/src) and set GOOGLETEST_SOURCE"
fi

mkdir -p "$build"
run() {
  local log="$build/$1.log"
  shift
  "$@" >"$log" 2>&1 || { tail -n 40 "$log" >&2; fail "'$*' failed; the whole log is $log"; }
}

say "building for sm_$architecture with $compiler"
run configure cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DRESNET_NODES_BINDING=OFF -DRESNET_NODES_CUDA=ON \
  "-DCMAKE_CUDA_COMPILER=$compiler" "-DRESNET_NODES_CUDA_ARCHITECTURES=$architecture-real" -DRESNET_NODES_TORCH_OPS=ON \
  "-DLIBTORCH_INCLUDE_DIR=$torch/include" "-DLIBTORCH_LIBRARY_DIR=$torch/lib" "${options[@]}"
run build cmake --build "$build" -j "${JOBS:-$(nproc)}" --target resnet_nodes_tests resnet_nodes_torch_ops

passed=() failed=()
# section NAME COMMAND...
section() {
  local name="$1"
  shift
  say "$name"
  if "$@"; then passed+=("$name"); else failed+=("$name"); fi
}

# The engine finds these at run time; each is printed with the library that has it.
symbols() {
  local name library where missing=0
  local libraries=("$torch"/lib/lib{torch_cuda,c10_cuda,torch_cpu}.so)
  while IFS= read -r name; do
    where=
    for library in "${libraries[@]}"; do
      if nm -D --defined-only "$library" 2>/dev/null | awk -v name="$name" '{sub(/@.*/, "", $3)} $3 == name {found = 1} END {exit !found}'; then
        where="$(basename "$library")"
        break
      fi
    done
    printf '%-75s %s\n' "$name" "${where:-MISSING}"
    [[ -n "$where" ]] || missing=1
  done < <(grep -ohE '"(_ZN[A-Za-z0-9_]+|aoti_torch_[a-z_]+|torch_get_[a-z_]+)"' "$root"/native/src/{device,host}/*.cpp | tr -d '"' | sort -u)
  ((missing == 0))
}

# Without TF32, because the tests' bounds are those of float32, and with deterministic kernels. Tests of the fused functions
# and of CPU kernels are left out.
native_tests() {
  RESNET_NODES_TEST_DEVICE=cuda NVIDIA_TF32_OVERRIDE=0 CUBLAS_WORKSPACE_CONFIG=:4096:8 timeout 150 "$build/resnet_nodes_tests" \
    --gtest_brief=1 --gtest_filter='-ConvBlock.*:Mlp.*:*ConvKernels*:*MlpKernels*:StepKernels.*:KernelPath.*'
}

operators="$build/libresnet_nodes_torch_ops.so"
section "symbols looked up by name" symbols
section "native tests on CUDA tensors" native_tests
section "gradients, graphs and waits beside PyTorch" timeout 100 "$python" "$root/scripts/gpu_checks.py" "$operators"
section "step time and memory against depth" timeout 170 "$python" "$root/scripts/gpu_bench.py" "$operators"

say "done: ${#passed[@]} sections passed, ${#failed[@]} failed"
for name in "${failed[@]}"; do printf 'FAILED: %s\n' "$name" >&2; done
((${#failed[@]} == 0))
