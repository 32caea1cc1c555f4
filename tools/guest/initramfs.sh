# tools/guest/initramfs.sh - the quick guest: busybox, virtio modules and our init, in $cache/initramfs/guest.cpio, and
# the same for the 32-bit kernel in $cache/initramfs686.

readonly guest_modules=(virtio_pci virtio_mmio virtio_blk virtio_net virtio_console virtio-rng virtio_balloon
  vmw_vsock_virtio_transport button evdev)

make_initramfs() {
  make_kernel
  have initramfs "$guest_dir"/{lib.sh,initramfs.sh,init,dhcp} "$cache/kernel/version" && return
  say "packing the quick guest"
  pack_guest initramfs "$cache/kernel" "$(command -v busybox)"
}

make_initramfs686() {
  make_kernel686
  have initramfs686 "$guest_dir"/{lib.sh,initramfs.sh,init,dhcp} "$cache/kernel686/version" && return
  say "packing the 32-bit quick guest"
  pack_guest initramfs686 "$cache/kernel686" "$cache/kernel686/busybox" ext4
}

# pack_guest NAME KERNEL BUSYBOX [more modules]
pack_guest() {
  local name=$1 kernel=$2 busybox=$3 dir
  shift 3
  dir=$(scratch)
  add_busybox "$dir/tree" "$busybox"
  add_modules "$dir/tree" "$kernel" "${guest_modules[@]}" "$@"
  install -m 755 "$guest_dir/init" "$dir/tree/init"
  install -D -m 755 "$guest_dir/dhcp" "$dir/tree/etc/udhcpc/default.script"
  pack_tree "$dir/tree" "$dir/guest.cpio"
  rm -rf "$dir/tree"
  publish "$dir" "$name" "$mark"
}
