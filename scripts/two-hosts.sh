#!/usr/bin/env bash
# Runs a command by mpirun over two hosts, alpha and beta, that are namespaces of this machine: each has its own name, network, shared
# memory and half of the cores, and a link joins them, if wanted as slow as a real one. All of it, the command too, lives in a process
# namespace whose first process is this script: when that ends, however it ends, nothing of it is left.
set -uo pipefail

root="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
# Debian keeps tc where only root looks.
PATH="$PATH:/usr/sbin:/sbin"
rate='' delay='' slots=1 check=no possible=no command=() inside=no

usage() {
  cat <<END
usage: scripts/two-hosts.sh [--rate R] [--delay D] [--slots S] [--check] [--possible] [-- COMMAND...]

  --rate R    what the link lets through in each direction, as 1gbit or 100mbit; left out, as much as the machine can
  --delay D   how long the link takes, one way, as 5ms or 200us: there and back it is twice that; left out, no time
  --slots S   ranks of each host [$slots]: mpirun starts twice as many
  --check     first measures the link: how long there and back, and what TCP gets through
  --possible  only says whether this machine can have such hosts
  COMMAND     what every rank runs, as ./resnet-nodes train --dataset synthetic

Of root, or of anybody who may make user namespaces. Options of mpirun can be given by its variables: OMPI_MCA_odls_base_sigkill_timeout=60.
END
}

say() { echo "two-hosts.sh: $*" >&2; }
wrong() { say "$@"; exit 2; }

# Sets status to that of a process, also where a signal that is passed on to it interrupts the wait.
await() {
  asked=yes
  while [[ -n "$asked" ]]; do
    asked=
    wait "$1"
    status=$?
  done
}

given=("$@")
if [[ "${1:-}" == --inside ]]; then
  inside=yes
  shift
fi
while (($#)); do
  case "$1" in
    --rate)
      [[ "${2:-}" =~ ^[1-9][0-9]{0,8}[kmg]bit$ ]] || wrong "--rate is '${2:-}', expected a whole number with kbit, mbit or gbit, as 1gbit"
      rate="$2"
      shift 2
      ;;
    --delay)
      [[ "${2:-}" =~ ^([1-9][0-9]{0,5})([um])s$ ]] || wrong "--delay is '${2:-}', expected a whole number with us or ms, as 5ms"
      delay="${BASH_REMATCH[1]}"
      # In microseconds.
      [[ "${BASH_REMATCH[2]}" == u ]] || delay="${delay}000"
      shift 2
      ;;
    --slots)
      [[ "${2:-}" =~ ^[1-9][0-9]{0,2}$ ]] || wrong "--slots is '${2:-}', expected a whole number from 1"
      slots="$2"
      shift 2
      ;;
    --check) check=yes && shift ;;
    --possible) possible=yes && shift ;;
    --) shift && command=("$@") && break ;;
    -h | --help) usage; exit 0 ;;
    *) wrong "'$1' is not an option" ;;
  esac
done
((${#command[@]})) || [[ "$check$possible" == *yes* ]] || wrong "what is to be run? it comes after --"

if [[ "$inside" == no ]]; then
  for tool in ip tc; do
    [[ -n "$(type -P "$tool")" ]] || wrong "$tool is missing: the package iproute2 has it"
  done
  [[ -n "$(type -P mpirun)" ]] || ((${#command[@]} == 0)) || wrong "mpirun is missing: ./build.sh setup --with-mpi installs it"
  namespaces=(unshare --net --uts --ipc --mount --pid --fork --kill-child --mount-proc)
  ((EUID == 0)) || namespaces+=(--user --map-root-user)
  # shellcheck disable=SC2016 # Of the shell that is started.
  reason="$("${namespaces[@]}" bash -c 'mount -t tmpfs none /dev/shm && ip link add eth0 type veth peer name eth1' 2>&1 | head -n 1
    exit "${PIPESTATUS[0]}")" || wrong "namespaces can't be made here (${reason:-no reason given});" \
    "be root, in a container with CAP_SYS_ADMIN and CAP_NET_ADMIN, or let the system have user namespaces"
  [[ "$possible" == no ]] || exit 0
  # Were this shell killed by force, the namespaces' first process would be too, and with it all others. In a session of its own it
  # gets a terminal's signals once, from here.
  setsid setpriv --pdeathsig KILL "${namespaces[@]}" "$root/scripts/two-hosts.sh" --inside "${given[@]}" &
  started=$!
  # shellcheck disable=SC2317,SC2329 # By the trap.
  forward() {
    asked=yes
    until pkill -TERM -P "$started" || ! kill -0 "$started" 2>/dev/null; do sleep 0.1; done
  }
  trap forward TERM INT HUP
  await "$started"
  exit "$status"
fi

# --- inside: the first process of the namespaces, on alpha ---------------------------------------------------------------

mpi='' beta=''
# shellcheck disable=SC2317,SC2329 # By the trap.
end() {
  # Before mpirun runs there is nothing to be ended in order.
  [[ -n "$mpi" ]] || exit 143
  asked=yes
  kill -TERM "$mpi" 2>/dev/null
}
trap end TERM

# Of alpha alone, and gone with it.
work=/dev/shm/two-hosts
{ mount -t tmpfs none /dev/shm && mkdir "$work"; } || wrong "/dev/shm can't be had for these hosts alone"
hostname alpha
printf '%s\n' '127.0.0.1 localhost' '10.74.11.1 alpha' '10.74.11.2 beta' >"$work/names"
mount --bind "$work/names" /etc/hosts || wrong "/etc/hosts can't be had for these hosts alone"

# on_beta WORD...: as ssh would.
on_beta() { nsenter --target "$beta" --net --uts --ipc --mount -- "$@"; }

compile() {
  [[ ! -e "$work/link" ]] || return 0
  "${CXX:-g++}" -O2 -std=c++20 -o "$work/link" "$root/scripts/two-hosts-link.cpp" || wrong "scripts/two-hosts-link.cpp can't be compiled"
}

# Beta's first process waits for its end.
# shellcheck disable=SC2016 # Of the shell that is started.
exec {said}< <(exec unshare --net --uts --ipc --mount bash -c \
  'mount -t tmpfs none /dev/shm && hostname beta && ip link set lo up && echo ready && exec sleep infinity')
beta=$!
read -r -t 60 _ <&"$said" || wrong "the second host can't be made"

# The ends of the link, each with the name eth0: by the kernel alone, or, where it can't delay, through a program.
is_delayed=no
limit_end() { # WORD... of tc's command, on one host and then on the other
  tc qdisc add dev eth0 root "$@" && on_beta tc qdisc add dev eth0 root "$@"
}
ip link set lo up
ip link add eth0 type veth peer name eth0 netns "$beta" || wrong "the link can't be made"
if [[ -n "$delay" ]] && limit_end netem delay "${delay}us" ${rate:+rate "$rate"} limit 100000 2>/dev/null; then
  is_delayed=yes
elif [[ -n "$delay" ]]; then
  ip link delete eth0
  compile
  exec {ready}< <(exec "$work/link" delay eth0 "$beta" "$delay")
  read -r -t 60 _ <&"$ready" || wrong "the link can't be delayed: the kernel has neither netem nor TAP devices that may be used"
fi
# A burst is one piece of what TCP hands over. The queue is long enough for TCP to learn the rate without losses.
if [[ -n "$rate" && "$is_delayed" == no ]]; then
  limit_end tbf rate "$rate" burst 72kb latency 50ms || wrong "the link can't be limited to $rate"
fi
{ ip address add 10.74.11.1/24 dev eth0 && ip link set eth0 up; } || wrong "alpha's end of the link can't be set up"
{ on_beta ip address add 10.74.11.2/24 dev eth0 && on_beta ip link set eth0 up; } || wrong "beta's end of the link can't be set up"

# Half of the cores each. One has to do for both.
mapfile -t cores < <(taskset -cp $$ | sed 's/.*: //' | tr , '\n' | while IFS=- read -r first last; do seq "$first" "${last:-$first}"; done)
half=$((${#cores[@]} / 2))
own=("${cores[@]:0:half}") others=("${cores[@]:half}")
((half)) || own=("${cores[@]}")
join() { local IFS=,; echo "$*"; }

if [[ "$check" == yes ]]; then
  compile
  exec {serving}< <(exec nsenter --target "$beta" --net -- taskset -c "$(join "${others[@]}")" "$work/link" serve)
  read -r -t 60 _ <&"$serving" || wrong "nothing listens on beta"
  say "the link: $(taskset -c "$(join "${own[@]}")" "$work/link" measure 10.74.11.2)"
fi
((${#command[@]})) || exit 0

# What mpirun takes for ssh: agent HOST WORD... It hands over a line for a shell, in words. The daemon on beta looks for it too.
read -r -d '' agent <<END || true
#!/usr/bin/env bash
[[ "\$1" == beta ]] || { echo "two-hosts.sh: mpirun asks for the host '\$1'" >&2; exit 1; }
shift
exec nsenter --target $beta --net --uts --ipc --mount -- taskset -c $(join "${others[@]}") bash -c "\$*"
END
for on in '' on_beta; do
  ${on:+"$on"} install -D /dev/stdin "$work/agent" <<<"$agent"
done
printf '%s\n' "alpha slots=$slots" "beta slots=$slots" >"$work/hosts"

through() { awk '$1 == "eth0:" {print $2, $10}' /proc/net/dev; }
read -r in_before out_before < <(through)
# Cores are shared out above: mpirun would give both hosts' first ranks the same one. What it leaves behind is of each host's own memory.
taskset -c "$(join "${own[@]}")" mpirun --allow-run-as-root --hostfile "$work/hosts" -n "$((2 * slots))" --bind-to none \
  --mca plm_rsh_agent "$work/agent" --mca orte_tmpdir_base /dev/shm "${command[@]}" &
mpi=$!
await "$mpi"
read -r in_after out_after < <(through)

# All is mpirun's to end; what it leaves would be ended here, unseen.
left() { grep -lzs '^OMPI_COMM_WORLD_RANK=' /proc/[0-9]*/environ; }
for ((waited = 0; waited < 50; waited++)); do
  [[ -n "$(left)" ]] || break
  sleep 0.1
done
[[ -z "$(left)" ]] || say "mpirun has ended, and not all ranks: $(left | wc -l) still run 5 seconds later"
say "through the link: $(awk -v there=$((out_after - out_before)) -v back=$((in_after - in_before)) \
  'BEGIN {printf "%.2f MB from alpha to beta, %.2f MB back", there / 1e6, back / 1e6}')"
exit "$status"
