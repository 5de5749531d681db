# shellcheck shell=bash
# cuda-check.sh: checks of the CUDA build that need no GPU. Sourced by build.sh.

# Users of a GPU build with the headers of their PyTorch, from 2.10 on. These are the headers at hand, with the one file in which names
# came later, and are not told apart by versions, as 2.10 has it.
check_oldest_headers() {
  local folder="$root/build/headers-2.10" stable="$root/build/headers-2.10/torch/csrc/stable"
  say "compiling engine, tests and PyTorch's operators with LibTorch 2.10's headers"
  rm -rf "$folder"
  mkdir -p "$root/build"
  cp -rs "$headers" "$folder"
  rm "$stable/macros.h"
  cp "$root/tests/native/oldest/torch/csrc/stable/macros.h" "$stable/macros.h"
  configure_options=()
  headers="$folder" build_native oldest-headers --target resnet_nodes_tests resnet_nodes_torch_ops
}

cuda_check() {
  local library="$root/build/cuda-check/libresnet_nodes.so" wanted found
  say "compiling the CUDA kernels ($cuda_compiler)"
  configure_options=("-DCMAKE_CUDA_COMPILER=$cuda_compiler")
  build_native cuda-check --target resnet_nodes
  # LibTorch's CUDA functions are looked up and CUDA's own are linked in, so that the library loads without either. (The
  # function that names the device type is the CPU library's.)
  found="$(nm -D --undefined-only "$library" | grep -i cuda | grep -v aoti_torch_device_type_cuda || true)"
  [[ -z "$found" ]] || fail "$library needs symbols of CUDA: $found"
  found="$(readelf -d "$library" | grep NEEDED | grep -iE 'cuda|nvidia' || true)"
  [[ -z "$found" ]] || fail "$library needs libraries of CUDA: $found"
  found="$("$cache/cuda/root/usr/bin/cuobjdump" --list-elf "$library")"
  for wanted in sm_80 sm_90; do
    [[ "$found" == *"$wanted"* ]] || fail "$library contains no code for $wanted"
  done
  say "loading the library without CUDA"
  LD_LIBRARY_PATH="$(libtorch_libraries)" python3 -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$library" ||
    fail "$library does not load"
  check_oldest_headers
  test_native cuda-check
  echo "$passed passed, $failed failed"
  ((failed == 0))
}
