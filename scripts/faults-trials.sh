# The trials of scripts/faults.sh: one function a kind. Each leaves why it failed in `failed`.
# shellcheck shell=bash disable=SC2034,SC2154

# --- draws ------------------------------------------------------------------------------------------------------------

# Sets drawn to a number from 0 to N - 1. No subshell may draw: it would draw the same again.
draw() { drawn=$(((RANDOM * 32768 + RANDOM) % $1)); }

# Sets picked to one of the words.
pick() {
  draw $#
  picked="${*:drawn + 1:1}"
}

pause() {
  draw "$1"
  sleep "$((drawn / 1000)).$(printf %03d $((drawn % 1000)))"
}

# --- runs -------------------------------------------------------------------------------------------------------------

limit=120 # seconds; no command here takes more than a few of them

note() { printf '%q ' "$@" >>"$here/commands"; echo >>"$here/commands"; }

# Runs the program to its end: rc, and $here/out and $here/err.
run() {
  note "$program" "$@"
  timeout -k 5 "$limit" "$program" "$@" >"$here/out" 2>"$here/err"
  rc=$?
}

# Starts it: pid. As a shell's user would, with SIGINT not ignored.
start() {
  note "$program" "$@" '&'
  env --default-signal=INT "$program" "$@" >"$here/out" 2>"$here/err" &
  pid=$!
}

fails() { failed="${failed:-$*}"; }

# One line of the program that has WORD in it, and no stack trace.
one_line() {
  local said
  said="$(grep -c '^resnet-nodes: ' "$here/err")"
  [[ "$said" == 1 ]] || fails "$said lines of the program instead of one"
  tail -n 1 "$here/err" | grep -qF -- "$1" || fails "the line does not say '$1': $(tail -n 1 "$here/err" | cut -c1-200)"
  ! grep -qE '^ +at |Unhandled|Aborted|terminate called' "$here/err" || fails 'a stack trace'
}

# What a run has computed: its tables without times and memory, but for one.
results() { # FOLDER [TABLE]
  find "$1" -name '*.csv' ! -path "$1/${2:-none}" | LC_ALL=C sort | while read -r table; do
    echo "${table#"$1"/}"
    awk -F, 'NR == 1 {for (i = 1; i <= NF; i++) keep[i] = $i !~ /seconds|share|bytes/}
      {line = ""; for (i = 1; i <= NF; i++) if (keep[i]) line = line "," $i; print line}' "$table"
  done
}

# The four runs that trials disturb; each is made once, undisturbed. Sets words, base and took (milliseconds).
declare -A durations
undisturbed() {
  local common=(--dataset synthetic --limit 200 --batch 20 --threads 1 --quiet)
  case "$1" in
    train) words=(train "${common[@]}" --depth 3 --planes 4 --epochs 4) ;;
    sweep) words=(depth-sweep "${common[@]}" --depths 2 --solvers euler --seeds '1,2' --planes 2 --epochs 2 --jobs 2) ;;
    points) words=(linear-weights --preset smoke --threads 1 --quiet) ;;
    finetune) words=(finetune --preset smoke --threads 1 --quiet) ;;
  esac
  base="$work/base/$1"
  if [[ ! -e "$base" ]]; then
    mkdir -p "$work/base"
    local began
    began="$(date +%s%3N)"
    "$program" "${words[@]}" --out "$base" >/dev/null || wrong "the undisturbed ${words[*]} failed"
    durations[$1]=$(($(date +%s%3N) - began))
  fi
  took="${durations[$1]}"
}

disturbed=(train train train sweep points finetune)

# Whether the run can be finished, to the undisturbed one's results.
finishes() {
  run "${words[@]}" --out "$here/run" --resume
  [[ "$rc" == 0 ]] || fails "--resume ended with $rc: $(tail -n 1 "$here/err" | cut -c1-200)"
  [[ -n "$failed" ]] || diff <(results "$base") <(results "$here/run") >"$here/diff" || fails 'other results than undisturbed'
  [[ -n "$failed" || ! -e "$base/checkpoint.bin" ]] || cmp -s <(tensors "$base/checkpoint.bin") <(tensors "$here/run/checkpoint.bin") \
    || fails 'other weights than undisturbed'
}

gone() { # PID...
  local i
  for ((i = 0; i < 100; i++)); do
    kill -0 "$@" 2>/dev/null || return 0
    ps -o state= -p "$(IFS=,; echo "$*")" | grep -qv '^[ZX]' || return 0
    sleep 0.05
  done
  return 1
}

# --- processes --------------------------------------------------------------------------------------------------------

trial_kill() {
  undisturbed train
  draw 4
  local kills=$((drawn + 1)) i
  for ((i = 0; i < kills; i++)); do
    draw 5
    start "${words[@]}" --save-steps "$((drawn + 1))" --out "$here/run" --resume
    pause "$took"
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
  done
  finishes
}

trial_signal() {
  pick "${disturbed[@]}"
  undisturbed "$picked"
  pick INT:130 TERM:143 HUP:129
  local signal="${picked%:*}" code="${picked#*:}" children
  start "${words[@]}" --out "$here/run"
  pause "$took"
  children="$(pgrep -P "$pid")"
  kill "-$signal" "$pid" 2>/dev/null
  wait "$pid" 2>/dev/null
  rc=$?
  # Ended before the signal came, or before the program could hear it.
  if [[ "$rc" != 0 ]]; then
    [[ "$rc" == "$code" ]] || fails "SIG$signal: exit code $rc"
    [[ ! -e "$here/run" ]] || one_line 'continue with: resnet-nodes'
  fi
  # shellcheck disable=SC2086
  [[ -z "$children" ]] || gone $children || fails "SIG$signal left a child"
  finishes
}

trial_child() {
  pick sweep finetune
  undisturbed "$picked"
  local children
  start "${words[@]}" --out "$here/run"
  pause "$took"
  children="$(pgrep -P "$pid")"
  kill -9 "$pid" 2>/dev/null
  wait "$pid" 2>/dev/null
  # shellcheck disable=SC2086
  [[ -z "$children" ]] || gone $children || fails 'a child outlived its parent'
  finishes
}

trial_twice() {
  undisturbed train
  local pids=() i good=0
  for ((i = 0; i < 3; i++)); do
    "$program" "${words[@]}" --out "$here/run" --resume >"$here/out$i" 2>"$here/err$i" &
    pids+=($!)
    pause 100
  done
  for ((i = 0; i < 3; i++)); do
    if wait "${pids[i]}"; then
      good=$((good + 1))
    else
      cp "$here/err$i" "$here/err"
      one_line 'another process is at this run'
    fi
  done
  ((good > 0)) || fails 'none of three went on'
  finishes
}

# A run that was ended goes on as it was, or not at all; with its configuration lost too.
trial_change() {
  undisturbed train
  start "${words[@]}" --out "$here/run"
  pause "$took"
  kill -9 "$pid" 2>/dev/null
  wait "$pid" 2>/dev/null
  if [[ -e "$here/run/checkpoint.bin" ]]; then
    draw 2
    ((drawn == 0)) || rm "$here/run/config.json"
    pick 'lr 0.05' 'momentum 0.5' 'weight-decay 0' 'schedule constant' 'seed 2' 'batch 10' 'limit 100' 'planes 2' 'depth 4' 'solver heun' \
      'reconstruction inverse' 'epochs 3' 'epochs 9' 'stage-rate-factor 2' 'dataset fashion-mnist' 'drop-last true' 'precision bfloat16'
    local option="${picked% *}" value="${picked#* }" line=() i
    for ((i = 0; i < ${#words[@]}; i++)); do
      if [[ "${words[i]}" == "--$option" ]]; then i=$((i + 1)); else line+=("${words[i]}"); fi
    done
    run "${line[@]}" "--$option" "$value" --out "$here/run" --resume
    if [[ "$option$rc" == epochs0 ]]; then
      # Its finished epochs had the learning rates of a run of the other length too.
      run "${line[@]}" --epochs "$value" --out "$here/straight"
      diff <(results "$here/straight") <(results "$here/run") >"$here/diff" || fails "--epochs $value: other results than straight"
      return
    fi
    [[ "$rc" == 1 || "$rc" == 2 ]] || fails "--$option $value: exit code $rc"
    one_line ''
  fi
  finishes
}

# --- files ------------------------------------------------------------------------------------------------------------

# Damages a file in one of many ways.
damage() {
  local size
  size="$(stat -c %s "$1")"
  pick flip flip flip cut cut grow empty gone pipe endless folder swap
  note "# $picked: $1"
  case "$picked" in
    flip)
      ((size > 0)) || return 0
      local byte bit
      draw "$size"
      local at=$drawn
      draw 8
      bit=$((1 << drawn))
      byte="$(od -An -tu1 -j "$at" -N 1 "$1")"
      printf '%b' "\\x$(printf %x $((byte ^ bit)))" | dd of="$1" bs=1 seek="$at" conv=notrunc status=none
      ;;
    cut) draw $((size + 1)) && truncate -s "$drawn" "$1" ;;
    grow) echo 0 >>"$1" ;;
    empty) : >"$1" ;;
    gone) rm "$1" ;;
    pipe) rm "$1" && mkfifo "$1" ;;
    endless) rm "$1" && ln -s /dev/zero "$1" ;;
    folder) rm "$1" && mkdir "$1" ;;
    swap) # another file's content
      local files
      mapfile -t files < <(find "$(dirname "$1")" -maxdepth 1 -type f | LC_ALL=C sort)
      pick "${files[@]}"
      cp "$picked" "$here/other" && mv "$here/other" "$1"
      ;;
  esac
}

damage_one_of() { # FOLDER [FIND-EXPRESSION...]
  local files
  mapfile -t files < <(find "$1" -type f "${@:2}" | LC_ALL=C sort)
  pick "${files[@]}"
  damaged="$picked"
  damage "$damaged"
}

trial_damage() {
  pick "${disturbed[@]}"
  undisturbed "$picked"
  cp -r "$base" "$here/run"
  damage_one_of "$here/run" ! -name '*.png' ! -path '*/tensorboard/*'
  # A sweep does not look at the tables of its finished runs.
  local aside=
  [[ "${words[0]}" != depth-sweep || "$(dirname "$damaged")" == "$here/run" ]] || aside="${damaged#"$here/run/"}"
  run "${words[@]}" --out "$here/run" --resume
  case "$rc" in
    0) diff <(results "$base" "$aside") <(results "$here/run" "$aside") >"$here/diff" || fails 'other results than undisturbed' ;;
    1 | 2) one_line "$(basename "$damaged")" ;;
    *) fails "exit code $rc" ;;
  esac
}

trial_report() {
  mkdir "$here/runs"
  local name
  for name in train points; do
    undisturbed "$name"
    cp -r "$base" "$here/runs/$name"
  done
  damage_one_of "$here/runs" ! -name '*.png' ! -path '*/tensorboard/*'
  run report --in "$here/runs" --out "$here/page" --quiet
  case "$rc" in
    0) ! grep -q '<script' "$here/page/report.html" || fails 'a script in the report' ;;
    1) one_line "$(basename "$damaged")" ;;
    *) fails "exit code $rc" ;;
  esac
}

trial_disk() {
  undisturbed train
  draw 400
  local size=$((drawn + 1)) place="$here/disk"
  mkdir "$place"
  if mount -t tmpfs -o "size=$((size + 4))k" none "$place" 2>/dev/null; then
    run "${words[@]}" --out "$place/run"
  else
    # Without the right to mount: no file may grow beyond this.
    (trap '' XFSZ; ulimit -f "$size"; run "${words[@]}" --out "$place/run"; exit "$rc")
    rc=$?
  fi
  case "$rc" in
    0) ;;
    1) one_line "$place" ;;
    *) fails "exit code $rc" ;;
  esac
  [[ ! -e "$place/run" ]] || cp -r "$place/run" "$here/run"
  umount "$place" 2>/dev/null
  finishes
}

# --- the command line -------------------------------------------------------------------------------------------------

trial_stream() {
  undisturbed train
  local loud=("${words[@]/--quiet/--json}") expected redirection
  pick '>/dev/full:1' '>&-:1' '2>/dev/full:1' '2>&-:1' '>/dev/full 2>/dev/full:1' '>&- 2>&- <&-:1' '| head -n 1 >/dev/null:0' '2>&1 | head -n 1 >/dev/null:0' '<&-:0'
  redirection="${picked%:*}" expected="${picked##*:}"
  note "$program" "${loud[@]}" "$redirection"
  timeout -k 5 "$limit" bash -c "\"\$@\" $redirection; exit \${PIPESTATUS[0]}" bash "$program" "${loud[@]}" --out "$here/run" >"$here/out" 2>"$here/err"
  rc=$?
  [[ "$rc" == "$expected" ]] || fails "$redirection: exit code $rc instead of $expected"
  finishes
}

values=(-1 0 1 2 3 7 1.5 1e3 1e-3 0.1 0x10 '1,2' '1,,2' ',' 2147483647 2147483648 99999999999999999999 -9223372036854775808 nan inf -inf
  true false ' ' '1 ' ../x /nowhere $'a\nb' $'\e[31m' ٣ auto:0 auto:99999999 custom:1+2 custom:2+2+2+2 corrected:0 corrected:2147483647
  checkpoint:-1 extrapolated:99 adaptive:nan every:0*2 steps:9+1 synthetic cpu cuda 'backprop,backprop' euler "';exit" '$(id)' --help)

trial_option() {
  local verbs options i line
  mapfile -t verbs < <("$program" --help | sed -n 's/^  \([a-z-]*\)  .*/\1/p' | grep -vE '^(help|version|report|reproduce)$')
  pick "${verbs[@]}"
  local verb="$picked" line=("$picked" --preset smoke --quiet)
  # Of what is shown and where it goes, nothing: that is the trial's.
  mapfile -t options < <("$program" help "$verb" | sed -n 's/^  .*--\([a-z0-9-]*\).*/\1/p' | grep -vE '^(out|preset|quiet|verbose|json|resume|overwrite|config|page|download)$' | sort -u)
  draw 2
  for ((i = 0; i <= drawn + 0; i++)); do
    pick "${options[@]}"
    local option="$picked"
    pick "${values[@]}"
    line+=("--$option=$picked")
  done
  note "$program" "${line[@]}"
  timeout -k 10 30 "$program" "${line[@]}" --out "$here/a/run" >"$here/out" 2>"$here/err"
  rc=$?
  case "$rc" in
    0) ;;
    1) one_line '' ;;
    2)
      one_line ''
      [[ ! -e "$here/a" ]] || fails 'wrong options left a folder'
      ;;
    124) one_line 'interrupted' ;; # it was long, and ended when it was asked to
    *) fails "exit code $rc" ;;
  esac
}
