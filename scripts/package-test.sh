# Tests the packages from a project outside of the repository; sourced by build.sh. Each case counts as a test.

# Writes the project NAME for the framework FRAMEWORK into $outside, with a backend (cpu) or none.
outside_project() {
  local name="$1" framework="$2" backend="$3" torch
  torch="$(sed -n 's/.*"TorchSharp-cpu" Version="\(.*\)".*/\1/p' "$root/Directory.Packages.props")"
  mkdir -p "$outside/$name"
  cat >"$outside/$name/$name.csproj" <<XML
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup>
    <OutputType>Exe</OutputType>
    <TargetFramework>$framework</TargetFramework>
    <ImplicitUsings>enable</ImplicitUsings>
    <Nullable>enable</Nullable>
  </PropertyGroup>
  <ItemGroup>
    <PackageReference Include="ResNetNodes" Version="$package_version" />
$([[ "$backend" == none ]] || echo "    <PackageReference Include=\"TorchSharp-cpu\" Version=\"$torch\" />")
  </ItemGroup>
</Project>
XML
}

# case_passes NAME EXPECTED COMMAND...: runs it in another folder; its output has to match EXPECTED, and its exit code $expected_code.
case_passes() {
  local name="$1" expected="$2" output code=0
  shift 2
  output="$(cd "$outside/elsewhere" && "$@" 2>&1)" || code=$?
  if [[ "$code" == "${expected_code:-0}" ]] && grep -qE -- "$expected" <<<"$output"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'package: %s: exit code %s, expected %s; its output should match %s:\n%s\n' \
      "$name" "$code" "${expected_code:-0}" "$expected" "$(tail -n 20 <<<"$output")" >&2
  fi
}

# published NAME FOLDER OPTION...: publishes a project into FOLDER; a failure is one of the test's.
published() {
  local name="$1" folder="$2"
  shift 2
  if dotnet publish "$outside/$name/$name.csproj" -c Release -o "$folder" "$@" >"$logs/package-$(basename "$folder").log" 2>&1; then
    printf '   %-28s %5s MB\n' "$(basename "$folder")" "$(du -sm --apparent-size "$folder" | cut -f 1)" >&2
  else
    failed=$((failed + 1))
    printf 'package: publishing %s failed:\n%s\n' "$(basename "$folder")" "$(tail -n 20 "$logs/package-$(basename "$folder").log")" >&2
    return 1
  fi
}

test_package() {
  local feed="$root/artifacts/packages" package_version outside cache
  say "packages, from a project outside of the repository"
  package_version="$(<"$root/VERSION")"
  outside="$(mktemp -d)"
  # shellcheck disable=SC2064
  trap "rm -rf '$outside'" EXIT
  cache="$(dotnet nuget locals global-packages --list | sed 's/^[^:]*: *//')"
  mkdir -p "$outside/elsewhere" "$logs"
  # Our packages are unpacked here and nowhere else: a later build of the same version must not find them. All others come from the
  # user's cache.
  cat >"$outside/nuget.config" <<XML
<configuration>
  <config><add key="globalPackagesFolder" value="$outside/packages" /></config>
  <packageSources><add key="built" value="$feed" /></packageSources>
  <fallbackPackageFolders><add key="cache" value="$cache" /></fallbackPackageFolders>
</configuration>
XML

  # README's example as it stands there.
  outside_project example net10.0 cpu
  awk '/^```csharp$/{on=1; next} /^```$/{on=0} on' "$root/README.md" >"$outside/example/Program.cs"
  local found='ResidualStage.*states are off by at most'
  ! published example "$outside/framework-dependent" || case_passes framework-dependent "$found" dotnet "$outside/framework-dependent/example.dll"
  ! published example "$outside/self-contained" -r linux-x64 --self-contained ||
    case_passes self-contained "$found" "$outside/self-contained/example"
  ! published example "$outside/single-file" -r linux-x64 --self-contained -p:PublishSingleFile=true ||
    case_passes single-file "$found" "$outside/single-file/example"
  ! published example "$outside/trimmed" -r linux-x64 --self-contained -p:PublishTrimmed=true ||
    case_passes trimmed "$found" "$outside/trimmed/example"

  # The engine before any tensor; a network trained, saved and read again, which works by reflection.
  outside_project training net10.0 cpu
  cp "$root/tests/package/Training.cs" "$outside/training/Program.cs"
  ! published training "$outside/training-framework-dependent" ||
    case_passes "training, framework-dependent" '^read tiny of depth 4$' dotnet "$outside/training-framework-dependent/training.dll"
  ! published training "$outside/training-trimmed-single-file" -r linux-x64 --self-contained -p:PublishTrimmed=true -p:PublishSingleFile=true ||
    case_passes "training, trimmed to a single file" '^read tiny of depth 4$' "$outside/training-trimmed-single-file/training"
  outside_project training8 net8.0 cpu
  cp "$root/tests/package/Training.cs" "$outside/training8/Program.cs"
  ! published training8 "$outside/training-net8.0" -r linux-x64 --self-contained ||
    case_passes "training, .NET 8" '^read tiny of depth 4$' "$outside/training-net8.0/training8"

  # Without a backend: one line that says what to add.
  outside_project alone net10.0 none
  cp "$root/tests/package/Training.cs" "$outside/alone/Program.cs"
  ! published alone "$outside/without-backend" ||
    expected_code=1 case_passes "without a backend" '^LibTorch can.t be loaded; .*dotnet add package TorchSharp-cpu --version' \
      env NUGET_PACKAGES="$outside/none" \
      dotnet "$outside/without-backend/alone.dll"

  # The command line as a tool; memory starts processes of its own.
  if (cd "$outside" && dotnet tool install ResNetNodes.Tool --version "$package_version" --tool-path "$outside/tool") \
    >"$logs/package-tool.log" 2>&1; then
    case_passes "tool" "^resnet-nodes $package_version\$" "$outside/tool/resnet-nodes" --version
    case_passes "tool, memory" '"reconstruction":"adaptive","depth":64' "$outside/tool/resnet-nodes" memory --preset smoke --json --out "$outside/memory"
  else
    failed=$((failed + 1))
    tail -n 20 "$logs/package-tool.log" >&2
  fi
}
