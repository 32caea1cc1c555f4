# tools/guest/initramfs.sh - the quick guest: busybox, virtio modules and our init, in $cache/initramfs/guest.cpio.

readonly guest_modules=(virtio_pci virtio_mmio virtio_blk virtio_net virtio_console virtio-rng virtio_balloon
  vmw_vsock_virtio_transport button evdev)

make_initramfs() {
  local dir
  make_kernel
  have initramfs "$guest_dir"/{lib.sh,initramfs.sh,init,dhcp} "$cache/kernel/version" && return
  say "packing the quick guest"
  dir=$(scratch)
  add_busybox "$dir/tree"
  add_modules "$dir/tree" "$cache/kernel" "${guest_modules[@]}"
  install -m 755 "$guest_dir/init" "$dir/tree/init"
  install -D -m 755 "$guest_dir/dhcp" "$dir/tree/etc/udhcpc/default.script"
  pack_tree "$dir/tree" "$dir/guest.cpio"
  rm -rf "$dir/tree"
  publish "$dir" initramfs "$mark"
}
