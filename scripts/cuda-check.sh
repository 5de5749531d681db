# shellcheck shell=bash
# cuda-check.sh: checks of the CUDA build that need no GPU. Sourced by build.sh.

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
  test_native cuda-check
  echo "$passed passed, $failed failed"
  ((failed == 0))
}
