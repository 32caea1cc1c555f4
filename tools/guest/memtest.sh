# tools/guest/memtest.sh - a guest that is no Linux: $cache/memtest/memtest86+ (Linux boot protocol).

make_memtest() {
  local dir
  have memtest "$guest_dir"/{lib,memtest}.sh && return
  say "fetching memtest86+"
  dir=$(scratch)
  fetch_package "$dir/x" memtest86+
  mv "$dir/x/boot/memtest86+ia32.bin" "$dir/memtest86+"
  rm -rf "$dir/x"
  publish "$dir" memtest "$mark"
}
