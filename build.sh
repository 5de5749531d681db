#!/usr/bin/env bash
# Builds, tests and shows ResNet Nodes.
set -euo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
cache="${RESNET_NODES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/resnet-nodes}"
preset="${CONFIG:-release}"
jobs="${JOBS:-$(nproc)}"
logs="$root/build/logs"
needed_symbol=GLIBCXX_3.4.32

say() { printf '== %s\n' "$*" >&2; }
fail() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

usage() {
  cat <<EOF
usage: ./build.sh [COMMAND]

  (none)     setup, native and managed
EOF
  # The line above each command's function is its help.
  awk '/^## /{sub(/^## /,""); text=text (text?"\n             ":"") $0; next} /^command_[a-z_]+\(\)/{n=$1; sub(/^command_/,"",n); sub(/\(\).*/,"",n); gsub(/_/,"-",n); printf "  %-10s %s\n", n, text} {text=""}' "${BASH_SOURCE[0]}"
  cat <<EOF

variables:
  CONFIG              release (default) or debug: the native preset and the .NET configuration
  JOBS                parallel compilations (default: one per core)
  TorchBackend        cpu (default) or cuda: which TorchSharp package
  LIBTORCH_HOME       a LibTorch or PyTorch, 2.10 or later, whose headers are used
  RESNET_NODES_CACHE  cache folder, outside the source tree (now: $cache)
EOF
}

# shellcheck source=scripts/debian.sh
source "$root/scripts/debian.sh"
# shellcheck source=scripts/libtorch.sh
source "$root/scripts/libtorch.sh"

# Runs a command with its output in a log; on failure, shows the end of the log.
logged() {
  local log="$logs/$1.log"
  shift
  mkdir -p "$logs"
  if ! "$@" >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    fail "'$*' failed; the whole log is $log"
  fi
}

configuration() { if [[ "$preset" == debug ]]; then echo Debug; else echo Release; fi; }

# Whether Open MPI is to be installed: for tests, and where it is asked for. What is there is used in any case.
with_mpi=no

# --- setup ------------------------------------------------------------------------------------------------------------

missing_packages() {
  local missing=()
  command -v g++ >/dev/null || missing+=(g++)
  command -v cmake >/dev/null || missing+=(cmake)
  command -v make >/dev/null || missing+=(make)
  command -v swig >/dev/null || missing+=(swig)
  command -v clang-format >/dev/null || missing+=(clang-format)
  [[ -e /usr/include/gtest/gtest.h ]] || missing+=(libgtest-dev)
  [[ -e /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ]] || missing+=(dataset-fashion-mnist)
  if [[ "$with_mpi" == yes ]]; then
    command -v mpicxx >/dev/null || missing+=(libopenmpi-dev)
    command -v mpirun >/dev/null || missing+=(openmpi-bin)
    command -v ip >/dev/null || missing+=(iproute2)
  fi
  printf '%s\n' "${missing[@]}"
}

install_packages() {
  local packages
  mapfile -t packages < <(missing_packages | sed '/^$/d')
  ((${#packages[@]})) || return 0
  command -v apt-get >/dev/null || fail "missing: ${packages[*]}; install them (this system has no apt-get)"
  ((EUID == 0)) || fail "packages are missing; as root: apt-get update && apt-get install -y ${packages[*]}"
  say "installing ${packages[*]}"
  logged apt-update apt-get update
  logged apt-install env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"
}

check_dotnet() {
  command -v dotnet >/dev/null || fail ".NET SDK 10 is missing; install it (package dotnet-sdk-10.0, or Microsoft's installer)"
  [[ "$(dotnet --version)" == 10.* ]] || fail ".NET SDK 10 is needed, dotnet --version is $(dotnet --version)"
}

has_runtime() {
  local library
  library="$(ldconfig -p | awk '/libstdc\+\+\.so\.6 .*x86-64/{print $NF; exit}')"
  [[ -n "$library" ]] && grep -q "$needed_symbol" "$library"
}

# TorchSharp's native library needs a newer C++ run time than Debian 12's.
install_runtime() {
  has_runtime && return 0
  # shellcheck source=/dev/null
  source /etc/os-release
  [[ "${ID:-}" == debian && "${VERSION_ID:-}" == 12 ]] ||
    fail "libstdc++ has no $needed_symbol (GCC 13.2 or later); upgrade to Debian 13 or Ubuntu 24.04, or install a newer libstdc++6"
  local source
  source="deb [signed-by=$keyring] $(mirror 'install a newer libstdc++6 from elsewhere') $runtime_suite main"
  local pin="Package: *\nPin: release n=$runtime_suite\nPin-Priority: 100\n"
  if ((EUID != 0)); then
    printf 'as root:\n  echo "%s" > /etc/apt/sources.list.d/resnet-nodes-%s.list\n  printf "%s" > /etc/apt/preferences.d/resnet-nodes\n  apt-get update && apt-get install -y --no-install-recommends -t %s libstdc++6\n' \
      "$source" "$runtime_suite" "${pin//$'\n'/\\n}" "$runtime_suite" >&2
    fail "libstdc++ has no $needed_symbol, which TorchSharp needs"
  fi
  say "installing libstdc++6 from Debian $runtime_suite, pinned so that nothing else comes from there"
  echo "$source" >"/etc/apt/sources.list.d/resnet-nodes-$runtime_suite.list"
  printf '%b' "$pin" >/etc/apt/preferences.d/resnet-nodes
  logged runtime-update apt-get update
  logged runtime-install env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -t "$runtime_suite" libstdc++6
  has_runtime || fail "libstdc++ still has no $needed_symbol after the installation; does another one come first on the loader's path?"
}

## installs what is missing: compiler, CMake, SWIG, GoogleTest, clang-format, Fashion-MNIST (Debian packages, as root);
## Debian 13's libstdc++6 if the installed one is too old; LibTorch's headers, unpacked into the cache folder;
## with `--with-mpi` Open MPI, for trainings by several processes (the next build makes its library), and iproute2, to try two machines
command_setup() {
  case "${1:-}" in
    '') ;;
    --with-mpi) with_mpi=yes ;;
    *) fail "setup has no option '$1', expected --with-mpi" ;;
  esac
  install_packages
  check_dotnet
  install_runtime
  fetch_headers
}

# --- build ------------------------------------------------------------------------------------------------------------

restore() {
  local stamp="$root/build/restored-${TorchBackend:-cpu}"
  local inputs=("$root"/Directory.*.props "$root"/ResNetNodes.slnx "$root"/*/*.csproj "$root"/tests/*/*.csproj)
  local input
  if [[ -e "$stamp" && -d "$root/artifacts/obj" ]]; then
    for input in "${inputs[@]}"; do [[ "$input" -nt "$stamp" ]] && break; done
    [[ "$input" -nt "$stamp" ]] || return 0
  fi
  say "restoring packages"
  logged restore dotnet restore "$root/ResNetNodes.slnx" "-p:TorchBackend=${TorchBackend:-cpu}"
  mkdir -p "$root/build"
  touch "$stamp"
}

# build_native PRESET [CMAKE-BUILD-OPTION...]; configure_options: further arguments for CMake if the preset is not configured yet.
configure_options=()

# Whether Open MPI has been installed since a build was configured.
came_mpi() { command -v mpicxx >/dev/null && ! grep -qE '^(MPI_CXX_LIB_NAMES:STRING=.*mpi|RESNET_NODES_SANITIZE.*=ON)' "$1"; }

build_native() {
  local name="$1" libraries
  shift
  libraries="$(libtorch_libraries)"
  [[ -n "$libraries" ]] || fail "found no whole LibTorch among the restored packages; dotnet restore brings it"
  if [[ ! -e "$root/build/$name/CMakeCache.txt" ]] || came_mpi "$root/build/$name/CMakeCache.txt"; then
    logged "configure-$name" cmake -S "$root" --preset "$name" "-DLIBTORCH_INCLUDE_DIR=$headers" "-DLIBTORCH_LIBRARY_DIR=$libraries" \
      "${configure_options[@]}"
  fi
  logged "native-$name" cmake --build "$root/build/$name" -j "$jobs" "$@"
}

## builds the native engine and generates its C# binding
command_native() {
  command_setup
  restore
  say "building the native engine ($preset)"
  build_native "$preset" --target resnet_nodes
}

## builds the .NET projects and the command line tool
command_managed() {
  command_native
  say "building the managed projects ($(configuration))"
  logged managed dotnet build "$root/ResNetNodes.slnx" --no-restore -c "$(configuration)" \
    "-p:TorchBackend=${TorchBackend:-cpu}" "-p:NativePreset=$preset"
}

## makes the packages ResNetNodes and ResNetNodes.Tool (with LibTorch for CPUs) in artifacts/packages
command_pack() {
  command_managed
  local project
  say "packing"
  for project in managed/ResNetNodes experiments/ResNetNodes.Experiments; do
    logged "pack-$(basename "$project")" dotnet pack "$root/$project.csproj" --no-restore -c "$(configuration)" \
      "-p:TorchBackend=${TorchBackend:-cpu}" "-p:NativePreset=$preset"
  done
  du -h --apparent-size "$root"/artifacts/packages/*.nupkg >&2
}

# --- test -------------------------------------------------------------------------------------------------------------

passed=0 failed=0 skipped=0

# While tests run, waiting threads spin for a moment, then sleep: on a busy machine, threads that go on spinning make tests many times
# slower, and threads that never spin do so on a quiet one.
limit_spinning() { export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}"; }

test_native() {
  local name="$1" filter="${2:-}" log="$logs/test-native.log" status=0
  say "native tests ($name)"
  limit_spinning
  build_native "$name" --target resnet_nodes_tests
  mkdir -p "$logs"
  # With a NAME: the tests whose name contains it, on each kernel path.
  local select=()
  [[ -z "$filter" ]] || select=(--label-regex suite)
  # LibTorch keeps what it allocates once until the process ends: that is no leak of ours. ThreadSanitizer sees neither LibTorch's locks
  # nor OpenMP's: one OpenMP thread for each of the tests' own.
  local sanitizer=(ASAN_OPTIONS=detect_leaks=0)
  [[ "$name" != tsan ]] || sanitizer=(OMP_NUM_THREADS=1)
  (cd "$root/build/$name" && env GTEST_FILTER="*$filter*" "${sanitizer[@]}" ctest --verbose "${select[@]}") >"$log" 2>&1 || status=$?
  # GoogleTest's counts of each process; one that CTest sees fail without such a count has crashed.
  local ran good bad ended
  ran="$(awk '/\[==========\] [0-9]+ tests? .* ran\./{n += $3} END{print n + 0}' "$log")"
  good="$(awk '/\[  PASSED  \] [0-9]+ test/{n += $(NF - 1)} END{print n + 0}' "$log")"
  bad=$((ran - good))
  ended="$(sed -n 's/.*, \([0-9]*\) tests failed out of.*/\1/p' "$log" | tail -n 1)"
  ((bad > 0)) || bad="${ended:-0}"
  [[ -n "$ended" ]] && ((good + bad > 0)) || { tail -n 20 "$log" >&2; fail "no native test ran; the whole log is $log"; }
  passed=$((passed + good)) failed=$((failed + bad)) skipped=$((skipped + $(grep -c '(Skipped)' "$log" || true)))
  ((status == 0)) || grep -vE '^ *[0-9]+/|Passed|frame #' "$log" | tail -n 40 >&2
}

test_managed() {
  local filter="${1:-}" project log
  for project in managed cli; do
    log="$logs/test-$project.log"
    say "$project tests"
    limit_spinning
    mkdir -p "$logs"
    local status=0
    RESNET_NODES_ROOT="$root" dotnet test "$root/tests/$project" --no-build -c "$(configuration)" "-p:NativePreset=$preset" \
      ${filter:+--filter "FullyQualifiedName~$filter"} >"$log" 2>&1 || status=$?
    count() { sed -n "s/.*$1: *\([0-9]*\),.*/\1/p" "$log" | tail -n 1; }
    if [[ -z "$(count Passed)" ]]; then
      grep -q 'No test matches' "$log" && continue
      tail -n 20 "$log" >&2
      fail "the $project tests did not finish; the whole log is $log"
    fi
    passed=$((passed + $(count Passed))) failed=$((failed + $(count Failed))) skipped=$((skipped + $(count Skipped)))
    ((status == 0)) || grep -v 'frame #' "$log" | tail -n 40 >&2
  done
}

# shellcheck source=scripts/package-test.sh
source "$root/scripts/package-test.sh"

## runs all tests, or `native [NAME]`, `managed [NAME]`, `package` (both packages, from a project outside of the repository),
## `asan [NAME]` (the native tests under AddressSanitizer and UBSan), `tsan [NAME]` (those of several threads under ThreadSanitizer)
command_test() {
  local what="${1:-all}" filter="${2:-}"
  case "$what" in
    managed | all) with_mpi=yes ;;
  esac
  case "$what" in
    native | asan | tsan) command_native ;;
    managed) command_managed ;;
    package | all) command_pack ;;
    *) fail "test '$what' is unknown, expected native, managed, package, asan or tsan" ;;
  esac
  case "$what" in
    asan) test_native asan "$filter" ;;
    tsan) test_native tsan "${filter:-Threads}" ;;
    native) test_native "$preset" "$filter" ;;
    managed) test_managed "$filter" ;;
    package) test_package ;;
    all) test_native "$preset" && test_managed && test_package ;;
  esac
  echo "$passed passed, $failed failed$( ((skipped == 0)) || echo ", $skipped skipped")"
  ((failed == 0))
}

# --- cuda -------------------------------------------------------------------------------------------------------------

## compiles the CUDA kernels without a GPU, with Debian's compiler unpacked into the cache folder (a download of 1 GB,
## 250 MB of it kept), loads the library without CUDA, compiles all with LibTorch 2.10's headers, and runs the native tests
command_cuda_check() {
  command_setup
  restore
  fetch_cuda_compiler
  # shellcheck source=scripts/cuda-check.sh
  source "$root/scripts/cuda-check.sh"
  cuda_check
}

# --- docs -------------------------------------------------------------------------------------------------------------

## builds the documentation site, API reference included, in build/site (of the release build, with docfx); dead links fail
command_docs() {
  preset=release
  command_managed
  say "building the documentation site"
  # Pages that are gone leave nothing behind. Invariant: docfx does without ICU, which a bare machine lacks.
  rm -rf "$root/build/api" "$root/build/site"
  export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
  (
    cd "$root/site"
    logged docs-tool dotnet tool restore
    logged docs-api dotnet docfx metadata docfx.json --warningsAsErrors
    logged docs-site dotnet docfx build docfx.json --warningsAsErrors
  )
  echo "$root/build/site/index.html"
}

# --- demo and clean ---------------------------------------------------------------------------------------------------

## trains on Fashion-MNIST, compares gradients and measures memory, in runs/demo (1 minute on 2 cores once built)
command_demo() {
  command_managed
  local out="$root/runs/demo"
  mkdir -p "$out"
  say "training TinyResNet on Fashion-MNIST with the native adjoint"
  "$root/resnet-nodes" train --network tiny --depth 16 --planes 16 --dataset fashion-mnist --batch 128 --epochs 2 --seed 1 \
    --out "$out/train" --overwrite
  say "comparing the adjoint's gradient with backprop's"
  "$root/resnet-nodes" compare-gradients --network tiny --depths 4,8,16 --solvers euler,heun \
    --reconstructions inverse,corrected,corrected:2,adaptive:0.1 --train-steps 100 --seed 1 --out "$out/compare-gradients" --overwrite
  say "measuring peak memory against depth"
  "$root/resnet-nodes" memory --network tiny --depths 16,64,128 --reconstructions adaptive,backprop --out "$out/memory" --overwrite
  say "figures:"
  find "$out" -name '*.png' | sort
}

## removes build products (build/, artifacts/), but not the cache folder or runs/
command_clean() {
  rm -rf "$root/build" "$root/artifacts"
}

main() {
  local command="${1:-managed}"
  case "$command" in
    -h | --help | help) usage ;;
    setup | native | managed | pack | test | cuda-check | docs | demo | clean)
      shift || true
      "command_${command//-/_}" "$@"
      ;;
    *) fail "'$command' is not a command; ./build.sh --help lists them" ;;
  esac
}

main "$@"
