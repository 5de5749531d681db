#!/usr/bin/env bash
# gpu-check.sh: checks the engine on a GPU in one call. It builds the engine with this machine's nvcc against a PyTorch's
# LibTorch, runs the native tests on CUDA tensors, compares gradients with float64 on the CPU, and prints a table of step
# time and peak memory beside PyTorch's. It needs PyTorch 2.10 or later with CUDA, CMake, nvcc, a C++20 compiler and
# GoogleTest, but no network, no .NET and no SWIG.
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

# Without TF32, because the tests' bounds are those of float32, and with deterministic kernels. Tests of the fused functions
# and of CPU kernels are left out.
say "native tests on CUDA tensors"
status=0
RESNET_NODES_TEST_DEVICE=cuda NVIDIA_TF32_OVERRIDE=0 CUBLAS_WORKSPACE_CONFIG=:4096:8 timeout 240 \
  "$build/resnet_nodes_tests" --gtest_brief=1 --gtest_filter='-ConvBlock.*:Mlp.*:*ConvKernels*:*MlpKernels*:StepKernels.*:KernelPath.*' || status=$?
say "benchmark"
timeout 180 "$python" "$root/scripts/gpu_bench.py" "$build/libresnet_nodes_torch_ops.so" || status=$?
say "done"
exit "$status"
