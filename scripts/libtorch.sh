# shellcheck shell=bash
# libtorch.sh: which LibTorch of the restored packages the native engine is linked with. Sourced by build.sh.

# Whether a library is whole. TorchSharp's CUDA packages hold the larger ones in fragments, put together when a project is built;
# until then the first fragment has the library's name.
is_whole_library() { [[ -e "$1" ]] && ! readelf -hS "$1" 2>&1 >/dev/null | grep -q .; }

# restored_libtorch PACKAGES: the folder of the newest whole LibTorch in a folder of packages, nothing where there is none. The CPU's
# first: its functions are those of CUDA's too, and it comes in one piece.
restored_libtorch() {
  local kind folder
  for kind in cpu c; do
    while IFS= read -r folder; do
      if is_whole_library "$folder/libtorch_cpu.so"; then
        printf '%s\n' "$folder"
        return 0
      fi
    done < <(find "$1"/libtorch-"$kind"*-linux-x64* -name libtorch_cpu.so -path '*/native/*' -printf '%h\n' 2>/dev/null | sort --reverse --version-sort)
  done
}

# The folder of the restored LibTorch.
libtorch_libraries() {
  local packages
  packages="$(dotnet nuget locals global-packages --list | sed 's/^[^:]*: *//; s#/$##')"
  restored_libtorch "$packages"
}
