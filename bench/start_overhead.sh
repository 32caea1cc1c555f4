#!/usr/bin/env bash
# bench/start_overhead.sh - what `reeve vm start` adds to `virsh start` of the same domain, paired in one run; and what
# server and agent take beside libvirtd when nothing is asked of them.
#
# Both are whole commands, from process start to the domain running; stopping is not measured. A start varies by more than what
# is added, so each pair is compared with itself and the spread of the differences is printed. ROUNDS (default 31).
set -euo pipefail
export BIN=${BIN:-$(realpath "$(dirname "$0")/../build/release/bin")}
source "$(dirname "$(realpath "$0")")/../tools/demo/estate.sh"
readonly rounds=${ROUNDS:-31}

"$top/tools/guest/prepare" kernel initramfs >/dev/null
start_estate
enrol_host
reeve image import kernel "$cache/kernel/vmlinux" --kind kernel
reeve image import initrd "$cache/initramfs/guest.cpio" --kind initrd
reeve vm create bench --memory 128M --kernel kernel --initrd initrd --cmdline "console=ttyS0" --nic none --disk 64M --hypervisor qemu

milliseconds() { # of a command
  local begin=$EPOCHREALTIME
  "$@" >"$dir/start.log" 2>&1 || { cat "$dir/start.log" >&2; return 1; }
  local end=$EPOCHREALTIME
  echo $(((${end/./} - ${begin/./}) / 1000))
}
# Reeve must have seen the start before it sees the end: it refuses to start what it believes running.
seen() { holds "reeve saw bench $1" sh -c "'$bin/reeve' -o csv vm list | grep -q $1" 2>/dev/null; }
off() { seen RUNNING; virsh -c "$uri" destroy bench >/dev/null; seen STOPPED; }

by_virsh=() by_reeve=() added=()
for round in $(seq "$rounds"); do
  # Who goes first changes, so that neither profits from what the other has warmed.
  for who in $([ $((round % 2)) = 0 ] && echo virsh reeve || echo reeve virsh); do
    if [ "$who" = virsh ]; then
      took=$(milliseconds virsh -c "$uri" start bench)
      by_virsh+=("$took")
    else
      took=$(milliseconds reeve vm start bench)
      by_reeve+=("$took")
    fi
    off
  done
  added+=("$((by_reeve[-1] - by_virsh[-1]))")
done
quarter() { # K NUMBER...: the number with K quarters of them below
  local k=$1
  shift
  printf '%s\n' "$@" | sort -n | sed -n "$((k * ($# - 1) / 4 + 1))p"
}
echo "start to running, median of $rounds pairs: virsh start $(quarter 2 "${by_virsh[@]}") ms, reeve vm start $(quarter 2 "${by_reeve[@]}") ms"
echo "added by reeve in a pair: median $(quarter 2 "${added[@]}") ms, half of them $(quarter 1 "${added[@]}") to $(quarter 3 "${added[@]}") ms (promise: under 50 ms)"

reeve vm start bench
# cost NAME PID: what a process holds and what it does while nothing is asked of it.
ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
cost() {
  local before
  before=$(ticks "$2")
  sleep 10
  awk -v name="$1" -v ticks="$(($(ticks "$2") - before))" -v hz="$(getconf CLK_TCK)" \
    '/^VmRSS/ {printf "%s, one machine running: %.1f MiB resident, idle CPU %.1f %% of a core\n", name, $2 / 1024, ticks / hz * 10}' "/proc/$2/status"
}
cost reeve-server "${pids[0]}"
cost reeve-agent "${pids[1]}"
cost libvirtd "$(cat "$dir/l/run/libvirtd.pid")"
