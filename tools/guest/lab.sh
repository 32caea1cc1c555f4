# tools/guest/lab.sh - the base archive of the KVM lab's machine (tools/lab), $cache/lab/base.cpio.

readonly lab_modules=(virtio_pci virtio_blk virtio_net virtio_console virtio-rng tun vhost_net bridge veth
  vsock_loopback kvm-amd)

make_lab() {
  local dir
  make_kernel
  have lab "$guest_dir"/{lib.sh,lab.sh} "$guest_dir/../lab/init" "$cache/kernel/version" && return
  say "packing the lab machine"
  dir=$(scratch)
  add_busybox "$dir/tree"
  add_modules "$dir/tree" "$cache/kernel" "${lab_modules[@]}"
  install -m 755 "$guest_dir/../lab/init" "$dir/tree/init"
  pack_tree "$dir/tree" "$dir/base.cpio"
  rm -rf "$dir/tree"
  publish "$dir" lab "$mark"
}
