#!/usr/bin/env bash
# bench/core_lab.sh - the own core beside QEMU with real Linux guests, in the KVM lab, whose clock counts instructions, so that other
# load does not matter; COUNTED= takes time as it passes. ROUNDS (default 3); ROWS (start disk net save).
set -euo pipefail
top=$(dirname "$(dirname "$(realpath "$0")")")
export BIN=${BIN:-$top/build/release/bin}
for row in ${ROWS:-start disk net save}; do
  "$top/tools/lab/run" --guest --qemu ${COUNTED---counted} --timeout 1500 --env "ROUNDS=${ROUNDS:-3}" \
    --add "$BIN/reeve-vmm" --add "$BIN/core_lab_bench" --add "$BIN/core_guest_probe" -- sh -c '
    mkdir -p /tmp/added/bin && cp /lab/core_guest_probe /tmp/added/bin/probe
    (cd /tmp/added && find . | cpio -o -H newc 2>/dev/null) | cat /lab/guest.cpio - >/tmp/guest.cpio
    tunctl -t tap0 >/dev/null && ip addr add 10.9.0.1/24 dev tap0 && ip link set tap0 up
    core_guest_probe serve 7000 &
    core_lab_bench '"$row"
done
