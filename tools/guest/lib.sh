# tools/guest/lib.sh - what every recipe shares: the cache, apt downloads, packing an initramfs.
# Sourced by tools/guest/prepare; recipes print nothing but progress on stderr, and that only when they work.

cache=${REEVE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/reeve}
guest_dir=$(dirname "$(realpath "${BASH_SOURCE[0]}")")

say() { echo "guest: $*" >&2; }
die() { echo "guest: $*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# have NAME RECIPE-FILE...: true when exactly these recipe files have made NAME already; else remembers the mark for
# publish. What other versions of a recipe made stays beside it, so that two source trees do not undo each other's work.
have() {
  local name=$1; shift
  mark=$(cat "$@" | sha256sum | cut -c1-16)
  [ -e "$cache/$name-$mark/.made" ] && point "$name" "$mark"
}

# $cache/NAME is a link to the folder made last asked for.
point() {
  [ "$(readlink "$cache/$1")" = "$1-$2" ] && return
  [ ! -d "$cache/$1" ] || [ -L "$cache/$1" ] || rm -rf "${cache:?}/$1"
  ln -sfn "$1-$2" "$cache/.link" && mv -T "$cache/.link" "$cache/$1"
}

# A scratch folder beside the final place, for publish.
scratch() { mktemp -d "$cache/.making-XXXXXX"; }

# publish SCRATCH NAME MARK: the folder appears complete or not at all. Versions nobody made for a week go.
publish() {
  local from=$1 name=$2 to=$cache/$2-$3
  echo "$3" >"$from/.made"
  chmod 755 "$from"
  mv -T "$from" "$to"
  point "$name" "$3"
  find "$cache" -maxdepth 1 -name "$name-*" ! -path "$to" -mtime +7 -exec rm -rf {} +
}

# fetch_package DIR NAME [apt options]: downloads a package and unpacks it into DIR. Needs no root.
fetch_package() {
  local into=$1 name=$2 work
  shift 2
  work=$(mktemp -d "$cache/.making-XXXXXX")
  (cd "$work" && apt-get -qq -o APT::Sandbox::User="$(id -un)" "$@" download "$name" >&2) ||
    { rm -rf "$work"; die "cannot download package $name (apt-get update?)"; }
  dpkg -x "$work"/*.deb "$into"
  rm -rf "$work"
}

# The package a meta package stands for.
real_package() {
  local meta=$1; shift
  apt-cache "$@" depends "$meta" 2>/dev/null | awk '/^ *Depends:/ { print $2; exit }'
}

# pack_tree DIR FILE: a cpio archive as the kernel wants it, owned by root. Not compressed: an emulated CPU
# unpacks slower than QEMU copies, and archives can be appended to each other.
pack_tree() { (cd "$1" && find . -mindepth 1 -print0 | sort -z | cpio --quiet -0 -o -H newc -R 0:0 --reproducible) >"$2"; }

# add_modules TREE KERNEL MODULE...: copies the modules and what they need, and lists them in load order in
# TREE/lib/modules/load. Built-in ones are skipped.
add_modules() {
  local tree=$1 kernel=$2 version module path
  shift 2
  version=$(cat "$kernel/version")
  mkdir -p "$tree/lib/modules"
  for module in "$@"; do
    modprobe -d "$kernel" -S "$version" --show-depends "$module" 2>/dev/null |
      awk '$1 == "insmod" { print $2 }' || die "no module $module in $version"
  done | awk '!seen[$0]++' | while read -r path; do
    cp "$path" "$tree/lib/modules/"
    basename "$path" >>"$tree/lib/modules/load"
  done
}

# add_busybox TREE [BINARY]: the static busybox with a link for each of its commands, and the usual empty folders.
add_busybox() {
  local tree=$1 name
  mkdir -p "$tree"/{bin,dev,etc,lib,mnt,proc,root,run,sys,tmp,usr/bin,usr/sbin,var/log,var/run}
  ln -s bin "$tree/sbin"
  cp "${2:-$(command -v busybox)}" "$tree/bin/busybox"
  ! ldd "$tree/bin/busybox" >/dev/null 2>&1 || die "busybox is not static: install busybox-static"
  for name in $("$tree/bin/busybox" --list); do [ -e "$tree/bin/$name" ] || ln -s busybox "$tree/bin/$name"; done
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$tree/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$tree/etc/group"
}
