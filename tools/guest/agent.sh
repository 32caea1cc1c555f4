# tools/guest/agent.sh - the quick guest with qemu-guest-agent: $cache/agent/guest.cpio.

make_agent() {
  local dir library
  make_initramfs
  have agent "$guest_dir"/{lib,agent}.sh "$cache/initramfs/.made" && return
  say "packing the quick guest with its agent"
  dir=$(scratch)
  fetch_package "$dir/x" qemu-guest-agent
  install -D "$dir/x/usr/sbin/qemu-ga" "$dir/tree/bin/qemu-ga"
  ! ldd "$dir/tree/bin/qemu-ga" | grep 'not found' >&2 || die "qemu-ga lacks libraries on this machine"
  ldd "$dir/tree/bin/qemu-ga" | grep -o '/[^ ]*' | sort -u | while read -r library; do
    install -D "$library" "$dir/tree$library"
  done
  printf '#!/bin/sh\nkill -USR1 1\n' >"$dir/tree/bin/shutdown"
  chmod 755 "$dir/tree/bin/shutdown"
  pack_tree "$dir/tree" "$dir/added.cpio"
  cat "$cache/initramfs/guest.cpio" "$dir/added.cpio" >"$dir/guest.cpio"
  rm -rf "$dir"/{x,tree,added.cpio}
  publish "$dir" agent "$mark"
}
