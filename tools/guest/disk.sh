# tools/guest/disk.sh - small data disks: $cache/disk/{data.raw,data.qcow2,gpt.raw}. Copy before writing to them.
# data.*: ext4 on the whole disk, label data; gpt.raw: the same in the first partition. Both hold hello.txt.

make_disk() {
  local dir
  have disk "$guest_dir/disk.sh" && return
  say "making data disks"
  dir=$(scratch)
  mkdir "$dir/content"
  echo "hello from the disk" >"$dir/content/hello.txt"
  make_ext4 "$dir/data.raw" 64M "$dir/content" data
  qemu-img convert -q -f raw -O qcow2 "$dir/data.raw" "$dir/data.qcow2"
  wrap_in_gpt "$dir/data.raw" "$dir/gpt.raw"
  rm -rf "$dir/content"
  publish "$dir" disk "$mark"
}

# make_ext4 FILE SIZE FOLDER LABEL: a file system with the folder's content.
make_ext4() {
  truncate -s "$2" "$1"
  mke2fs -q -F -t ext4 -L "$4" -d "$3" "$1"
}

# wrap_in_gpt PARTITION DISK: a disk whose only partition is that file.
wrap_in_gpt() {
  local size
  size=$(stat -c %s "$1")
  truncate -s $((size + (2 << 20))) "$2"
  echo "start=2048, size=$((size / 512)), type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709" |
    sfdisk -q --label gpt "$2" >/dev/null
  dd if="$1" of="$2" bs=1M seek=1 conv=notrunc,sparse status=none
}

readonly boot_first=2048 boot_sectors=131072  # where a boot partition is, in sectors

# write_boot FILE KERNEL INITRD COMMAND-LINE: a FAT file system with SYSLINUX and what it loads.
write_boot() {
  truncate -s $((boot_sectors * 512)) "$1"
  mformat -i "$1" -v BOOT -T $boot_sectors -h 64 -s 32 -H $boot_first ::
  mcopy -i "$1" "$2" ::vmlinuz
  mcopy -i "$1" "$3" ::initrd.img
  printf 'SERIAL 0 115200\nDEFAULT linux\nLABEL linux\n  LINUX vmlinuz\n  INITRD initrd.img\n  APPEND %s\n' "$4" |
    mcopy -i "$1" - ::syslinux.cfg
  syslinux --install "$1"
}

# wrap_with_boot PARTITION BOOT DISK: a disk that a BIOS boots. The partition is the first by number and the last by
# place, so that it can grow with the disk.
wrap_with_boot() {
  local first=$((boot_first + boot_sectors)) sectors
  sectors=$(($(stat -c %s "$1") / 512))
  truncate -s $(((first + sectors + 2048) * 512)) "$3"
  sfdisk -q --label gpt "$3" >/dev/null <<END
1: start=$first, size=$sectors, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709
2: start=$boot_first, size=$boot_sectors, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, attrs=LegacyBIOSBootable
END
  dd if=/usr/lib/syslinux/mbr/gptmbr.bin of="$3" bs=440 count=1 conv=notrunc status=none
  dd if="$2" of="$3" bs=1M seek=$((boot_first / 2048)) conv=notrunc,sparse status=none
  dd if="$1" of="$3" bs=1M seek=$((first / 2048)) conv=notrunc,sparse status=none
}
