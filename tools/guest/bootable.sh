# tools/guest/bootable.sh - the quick guest as a disk that boots by itself: $cache/bootable/disk.qcow2. Its first partition
# has hello.txt and is mounted on /mnt. Overlay it before use.

make_bootable() {
  local dir
  make_initramfs
  have bootable "$guest_dir"/{disk,bootable}.sh "$cache"/{kernel,initramfs}/.made && return
  say "making a disk that boots the quick guest"
  dir=$(scratch)
  mkdir "$dir/content"
  echo "hello from the disk" >"$dir/content/hello.txt"
  make_ext4 "$dir/part" 64M "$dir/content" data
  write_boot "$dir/boot" "$cache/kernel/bzImage" "$cache/initramfs/guest.cpio" \
    "console=ttyS0 reboot=t panic=-1 reeve.net=none reeve.heartbeat=0 reeve.mount=/dev/vda"
  wrap_with_boot "$dir/part" "$dir/boot" "$dir/disk.raw"
  qemu-img convert -q -f raw -O qcow2 "$dir/disk.raw" "$dir/disk.qcow2"
  rm -rf "$dir"/{content,part,boot,disk.raw}
  publish "$dir" bootable "$mark"
}
