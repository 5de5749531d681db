# shellcheck shell=bash
# debian.sh: unpacks Debian packages into the cache folder, without installing anything. Sourced by build.sh, whose `cache`,
# `say`, `fail` and `logged` it uses.

headers="$cache/libtorch/include"
cuda_compiler="$cache/cuda/bin/nvcc"
libtorch_suite=forky
runtime_suite=trixie
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The address of this machine's own Debian mirror, from its apt configuration.
mirror() {
  local uri
  uri="$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null | grep -E '^(URIs:|deb )' |
    grep -oE '[a-z+]+://[^] ]*debian[^] ]*' | grep -v security | head -n 1 || true)"
  [[ -n "$uri" ]] || fail "no Debian mirror in this machine's apt configuration; $1"
  echo "$uri"
}

# download FOLDER SUITE COMPONENTS PACKAGE...: packages into FOLDER. Package lists and cache are private: the system's apt
# is unchanged.
download() {
  local folder="$1" suite="$2" components="$3" uri
  shift 3
  command -v apt-get >/dev/null || fail "this system has no apt-get; $instead"
  uri="$(mirror "$instead")"
  chmod 755 "$folder"
  mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
  echo "deb [signed-by=$keyring] $uri $suite $components" >"$folder/sources.list"
  local options=(-o "Dir::Etc::sourcelist=$folder/sources.list" -o "Dir::Etc::sourceparts=-" -o "Dir::State::lists=$folder/lists"
    -o "Dir::Cache=$folder/cache" -o "APT::Sandbox::User=")
  logged "apt-update-$suite" apt-get "${options[@]}" update
  (cd "$folder" && logged "apt-download-$suite" apt-get "${options[@]}" download "$@")
}

fetch_headers() {
  if [[ -n "${LIBTORCH_HOME:-}" ]]; then
    [[ -e "$LIBTORCH_HOME/include/torch/csrc/stable/tensor.h" ]] || fail "LIBTORCH_HOME=$LIBTORCH_HOME has no include/torch/csrc/stable/tensor.h, expected LibTorch 2.10 or later"
    headers="$LIBTORCH_HOME/include"
    return 0
  fi
  [[ ! -e "$headers/torch/csrc/stable/tensor.h" ]] || return 0
  say "unpacking LibTorch's headers from Debian $libtorch_suite into $cache (nothing is installed)"
  local work instead="set LIBTORCH_HOME to a LibTorch 2.10 or later"
  work="$(mktemp -d)"
  download "$work" "$libtorch_suite" main libtorch-dev
  dpkg -x "$work"/libtorch-dev_*.deb "$work/unpacked"
  mkdir -p "$cache/libtorch"
  rm -rf "$headers"
  mv "$work/unpacked/usr/include" "$headers"
  rm -rf "$work"
}

# nvcc and what it needs (550 MB), started through a script that sets its paths, because it expects to be installed.
fetch_cuda_compiler() {
  [[ ! -x "$cuda_compiler" ]] || return 0
  say "unpacking the CUDA compiler from Debian $runtime_suite into $cache/cuda (a download of 1 GB; nothing is installed)"
  local work root="$cache/cuda/root" instead="the CUDA compiler comes from there" package
  mkdir -p "$cache/cuda"
  work="$(mktemp -d "$cache/cuda/download.XXXXXX")"
  download "$work" "$runtime_suite" non-free nvidia-cuda-toolkit nvidia-cuda-dev libnvvm4 libcudart12
  download "$work" "$runtime_suite" main libcu++-dev
  rm -rf "$root"
  mkdir -p "$root"
  for package in nvidia-cuda-toolkit libnvvm4 libcudart12 libcu++-dev; do dpkg -x "$work/${package}"_*.deb "$root"; done
  dpkg --fsys-tarfile "$work"/nvidia-cuda-dev_*.deb | tar -x -C "$root" --wildcards './usr/include/*' \
    './usr/lib/*/libcudart_static.a' './usr/lib/*/libcudadevrt.a'
  # These wrappers call compilers of another version.
  rm -f "$root"/usr/lib/nvidia-cuda-toolkit/bin/{gcc,g++}
  # glibc 2.41 declares these four as well, as noexcept; later toolkits match it.
  sed -i -E '/^extern .*__device_builtin__ +(double +(cospi|sinpi)\(double x\)|float +(cospif|sinpif)\(float x\));/s/\);/) noexcept(true);/' \
    "$root/usr/include/crt/math_functions.h"
  rm -rf "$work"
  # The package's profile has the paths of an installation. CMake looks for the device library in this one's TOP.
  ln -sfn root/usr/lib/cuda/nvvm "$cache/cuda/nvvm"
  local libraries="$root/usr/lib/$(uname -m)-linux-gnu" tools="$root/usr/lib/nvidia-cuda-toolkit/bin"
  rm -f "$tools/nvcc.profile"
  cat >"$tools/nvcc.profile" <<END
TOP = $cache/cuda
NVVMIR_LIBRARY_DIR = \$(TOP)/nvvm/libdevice
PATH += $root/usr/bin:$tools:
INCLUDES += -I$root/usr/include
LIBRARIES =+ \$(_SPACE_) -L$libraries
END
  mkdir -p "$cache/cuda/bin"
  cat >"$cuda_compiler" <<END
#!/usr/bin/env bash
# Debian's nvcc, unpacked here, with its own libraries.
export LD_LIBRARY_PATH="$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
exec "$tools/nvcc" "\$@"
END
  chmod 755 "$cuda_compiler"
}
