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
