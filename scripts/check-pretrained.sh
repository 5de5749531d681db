#!/usr/bin/env bash
# check-pretrained.sh: a real pretrained ResNet (NuGet's Microsoft.ML.DnnImageFeaturizer.ResNet18, 60 MB, MIT): its features here equal
# PyTorch's, on images of 32x32 and on photographs of 224x224; and what a short training gains from its weights.
set -euo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
theirs="$root/scripts/check_pretrained.py"
ours="$root/artifacts/bin/ResNetNodes.TestProcess/release_linux-x64/ResNetNodes.TestProcess"
package=microsoft.ml.dnnimagefeaturizer.resnet18 version=0.23.1
bound=2e-6 # of the features: rounding of 22 layers of float32, of sums of up to 4608 products

usage() {
  cat <<END_OF_USAGE
usage: scripts/check-pretrained.sh PYTHON JPEGS [FASHION-MNIST [IMAGES]]

  PYTHON         a command that runs Python with torch 1.13 or later (Debian: python3 with the packages python3-torch, python3-numpy)
  JPEGS          a folder of folders of photographs
  FASHION-MNIST  its folder [/usr/share/datasets/fashion-mnist]
  IMAGES         training images of the short training [3200]
END_OF_USAGE
}

fail() { printf 'check-pretrained.sh: %s\n' "$*" >&2; exit "${code:-1}"; }

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  '') usage >&2; exit 2 ;;
esac
(($# >= 2 && $# <= 4)) || { code=2; fail "got $# arguments, expected 2 to 4; --help lists them"; }
python="$1" photographs="$2" data="${3:-/usr/share/datasets/fashion-mnist}" images="${4:-3200}"
[[ "$images" =~ ^[1-9][0-9]*$ ]] || { code=2; fail "IMAGES is '$images', expected a whole number from 1"; }
export PYTHONDONTWRITEBYTECODE=1 # nothing is left in the folder of the scripts
command -v "$python" >/dev/null || fail "$python: no such interpreter"
[[ -d "$photographs" ]] || fail "$photographs: no such folder"
[[ -x "$ours" ]] || fail "$ours is missing: run ./build.sh managed first"

work="$(mktemp -d "$root/build/pretrained.XXXXXX")"
trap 'rm -rf "$work"' EXIT
cat >"$work/fetch.csproj" <<END_OF_PROJECT
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup><TargetFramework>net10.0</TargetFramework></PropertyGroup>
  <ItemGroup><PackageDownload Include="$package" Version="[$version]" /></ItemGroup>
</Project>
END_OF_PROJECT
printf '<Project />\n' | tee "$work/Directory.Build.props" "$work/Directory.Build.targets" >"$work/Directory.Packages.props"
dotnet restore "$work/fetch.csproj" >"$work/restore.log" 2>&1 || fail "$package $version can't be restored: $(tail -n 1 "$work/restore.log")"
packages="$(dotnet nuget locals global-packages --list)"
cp "${packages#*: }/$package/$version/tools/DnnImageModels/ResNet18Onnx/ResNet18.onnx" "$work/model.onnx"

"$python" "$theirs" convert "$work/model.onnx" >"$work/weights.safetensors"
"$ours" pretrained features "$work/weights.safetensors" "$photographs" "$work/features.safetensors"
printf 'difference of the features from those of PyTorch:\n'
"$python" "$theirs" compare "$work/weights.safetensors" "$work/features.safetensors" |
  awk -v bound="$bound" '{ bad = !($2 + 0 <= bound + 0); print $1, $2 (bad ? "  too large" : ""); failed += bad }
    END { exit failed > 0 || NR == 0 }' || fail "features differ by more than $bound"
"$ours" pretrained train "$work/weights.safetensors" "$data" "$images"
