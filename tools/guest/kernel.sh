# tools/guest/kernel.sh - guest kernels from Debian packages: kernel (cloud, amd64) and kernel686.
# Result: $cache/kernel/{version,bzImage,vmlinux,config,lib/modules/...}; kernel686 has no vmlinux, but a
# 32-bit busybox.

# extract_vmlinux BZIMAGE OUT: Debian's amd64 kernel is LZ4 (legacy frames) inside; what follows it is ignored.
extract_vmlinux() {
  local offset
  offset=$(LC_ALL=C grep -abom1 -P '\x02\x21\x4c\x18' "$1" | head -1 | cut -d: -f1)
  [ -n "$offset" ] || die "no LZ4 kernel in $1"
  tail -c +$((offset + 1)) "$1" | lz4 -dcq >"$2" 2>/dev/null || true
  [ "$(head -c 4 "$2" | tail -c 3)" = ELF ] || die "no ELF kernel in $1"
}

# unpack_kernel DIR PACKAGE [apt options]
unpack_kernel() {
  local dir=$1 package=$2 version
  shift 2
  fetch_package "$dir/x" "$package" "$@"
  version=$(basename "$dir"/x/boot/vmlinuz-*)
  version=${version#vmlinuz-}
  echo "$version" >"$dir/version"
  mkdir "$dir/lib"
  mv "$dir/x/boot/vmlinuz-$version" "$dir/bzImage"
  mv "$dir/x/boot/config-$version" "$dir/config"
  mv "$dir/x/lib/modules" "$dir/lib/modules"
  rm -rf "$dir/x"
  depmod -b "$dir" "$version"
}

make_kernel() {
  local dir
  have kernel "$guest_dir/kernel.sh" && return
  say "fetching the cloud kernel"
  dir=$(scratch)
  unpack_kernel "$dir" "$(real_package linux-image-cloud-amd64)"
  extract_vmlinux "$dir/bzImage" "$dir/vmlinux"
  publish "$dir" kernel "$mark"
}

# The 32-bit package is not in an amd64 machine's package lists: a private apt state has them.
make_kernel686() {
  local dir state=$cache/apt-i386 options
  have kernel686 "$guest_dir/kernel.sh" && return
  say "fetching the 32-bit kernel"
  mkdir -p "$state"/{lists/partial,cache/archives/partial}
  options=(-o APT::Architecture=i386 -o APT::Architectures::=i386 -o "Dir::State::Lists=$state/lists"
    -o "Dir::Cache=$state/cache" -o Dir::State::status=/dev/null -o APT::Sandbox::User="$(id -un)")
  apt-get -qq "${options[@]}" update >/dev/null 2>&1 || say "some package lists could not be fetched; using the rest"
  dir=$(scratch)
  unpack_kernel "$dir" "$(real_package linux-image-686 "${options[@]}")" "${options[@]}"
  fetch_package "$dir/x" busybox-static "${options[@]}"
  mv "$dir/x/bin/busybox" "$dir/busybox"
  rm -rf "$dir/x"
  publish "$dir" kernel686 "$mark"
  rm -rf "$state"
}
