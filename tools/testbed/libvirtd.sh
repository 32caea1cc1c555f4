#!/usr/bin/env bash
# tools/testbed/libvirtd.sh - a private libvirtd (with virtlogd) for tests, in namespaces of its own.
#
#   libvirtd.sh start DIR [--owner PID] [--net] [--broken-kvm] [--cgroups]   prints the connection URI; DIR must be a short path (socket name limit)
#   libvirtd.sh uri DIR | restart DIR | kill DIR | up DIR | freeze DIR | thaw DIR | exec DIR COMMAND...
#   libvirtd.sh stop DIR                          ends everything that lives in it, guests too, and removes DIR
#
# Own /run, /etc/libvirt, /var/lib/libvirt, /var/log/libvirt; /dev/kvm is hidden (a half-usable one makes each
# define take 44 s). Everything else, temporary folders above all, is the machine's own, so the guests' disks and
# sockets are where the caller put them. --owner: stops by itself when that process ends. --net: own network and
# host name too. --broken-kvm: /dev/kvm is there and runs nothing. --cgroups: guests are in control groups of the
# machine (needs version 1 ones; guests of two daemons with the same number and name share one). kill and up are the two halves of a crash of libvirtd; guests and virtlogd go on meanwhile.
set -euo pipefail

readonly cache=${REEVE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/reeve}

die() { echo "libvirtd.sh: $*" >&2; exit 1; }
uri() { echo "qemu+unix:///system?socket=$1/run/libvirt-sock"; }

write_config() {
  local dir=$1
  cat >"$dir/etc/libvirtd.conf" <<END
host_uuid = "$(cat /proc/sys/kernel/random/uuid)"
unix_sock_group = "root"
auth_unix_rw = "none"
auth_unix_ro = "none"
mdns_adv = 0
log_outputs = "3:file:$dir/log/libvirtd.log"
END
  echo "log_outputs = \"3:file:$dir/log/virtlogd.log\"" >"$dir/etc/virtlogd.conf"
  # libvirtd insists on its package's user, which only libvirt-daemon-system makes.
  { cat /etc/passwd; id libvirt-qemu >/dev/null 2>&1 || echo "libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin"; } \
    >"$dir/etc/passwd"
  { cat /etc/group; getent group libvirt-qemu >/dev/null || echo "libvirt-qemu:x:64055:"; } >"$dir/etc/group"
  cat >"$dir/etc/qemu.conf" <<'END'
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = [ ]
stdio_handler = "logd"
END
  if [ -e "$dir/cgroups" ]; then
    echo 'cgroup_controllers = [ "cpu", "memory" ]'
  else
    echo 'cgroup_controllers = [ ]'
  fi >>"$dir/etc/qemu.conf"
}

# A /dev with everything but kvm. The name itself must be gone: libvirt asks access(2) and, told yes, probes QEMU
# anew for every call because the probe then finds no KVM.
hide_kvm() {
  local new=$1/dev entry name
  mkdir -p "$new"
  mount -t tmpfs -o mode=755 tmpfs "$new"
  for entry in /dev/*; do
    name=$(basename "$entry")
    [ "$name" != kvm ] || continue
    if [ -d "$entry" ] && [ ! -L "$entry" ]; then
      mkdir "$new/$name" && mount --rbind "$entry" "$new/$name"
    else
      cp -a "$entry" "$new/$name"  # a copy, not a bind mount: ptmx looks for pts beside itself
    fi
  done
  # The null device can be opened and is no KVM: what libvirt sees on a host whose KVM runs no guest.
  [ ! -e "$1/broken-kvm" ] || mknod -m 666 "$new/kvm" c 1 3
  mount --rbind "$new" /dev
}

# Where the daemon remembers what QEMU can do: differs with the KVM it sees.
capabilities() { [ -e "$1/broken-kvm" ] && echo libvirt-capabilities-broken-kvm || echo libvirt-capabilities; }

# Runs inside the new namespaces and stays as their keeper.
inside() {
  local dir=$1 folder
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/libvirt /run/lock
  for folder in lib log cache; do mkdir -p "/var/$folder/libvirt"; done
  mkdir -p /etc/libvirt
  mount --bind "$dir/run" /run/libvirt
  mount --bind "$dir/etc/passwd" /etc/passwd
  mount --bind "$dir/etc/group" /etc/group
  mount --bind "$dir/etc" /etc/libvirt
  mount --bind "$dir/lib" /var/lib/libvirt
  mount --bind "$dir/log" /var/log/libvirt
  mount --bind "$cache/$(capabilities "$dir")" /var/cache/libvirt
  [ ! -e /dev/kvm ] && [ ! -e "$dir/broken-kvm" ] || hide_kvm "$dir"
  if [ -e "$dir/own-net" ]; then
    hostname "$(basename "$dir")"
    ip link set lo up
  fi
  # An empty version 2 beside version 1 makes libvirt ask it for the controllers.
  [ ! -e "$dir/cgroups" ] || findmnt -rn -t cgroup2 -o TARGET | while read -r mount; do umount "$mount"; done
  virtlogd -d --pid-file "$dir/run/virtlogd.pid"
  libvirtd -d --pid-file "$dir/run/libvirtd.pid"
  touch "$dir/ready"
  exec sleep infinity
}

start() {
  local dir owner='' broken='' cgroups='' own=(--mount --propagation private)
  dir=$(realpath -m "$1"); shift
  while [ $# -gt 0 ]; do
    case $1 in
      --owner) owner=$2; shift 2 ;;
      --net) own+=(--net --uts); shift ;;
      --broken-kvm) broken=1; shift ;;
      --cgroups) cgroups=1; shift ;;
      *) die "unknown option $1" ;;
    esac
  done
  [ "$(id -u)" = 0 ] || die "needs root for its namespaces"
  [ ${#dir} -le 80 ] || die "path too long for a socket: $dir"
  [ ! -e "$dir/keeper" ] || die "already started: $dir"
  mkdir -p "$dir"/{run,etc,lib,log}
  [ -z "$broken" ] || touch "$dir/broken-kvm"
  [ -z "$cgroups" ] || touch "$dir/cgroups"
  mkdir -p "$cache/$(capabilities "$dir")"
  [[ " ${own[*]} " != *" --net "* ]] || touch "$dir/own-net"
  write_config "$dir"
  setsid unshare "${own[@]}" "$0" inside "$dir" </dev/null >"$dir/log/start" 2>&1 &
  echo $! >"$dir/keeper"
  wait_ready "$dir"
  readlink "/proc/$(cat "$dir/keeper")/ns/mnt" >"$dir/namespace"
  [ -z "$owner" ] || watch_owner "$dir" "$owner"
  uri "$dir"
}

wait_ready() {
  local dir=$1 tries
  for ((tries = 0; tries < 200; tries++)); do
    [ ! -e "$dir/ready" ] || [ ! -S "$dir/run/libvirt-sock" ] || return 0
    kill -0 "$(cat "$dir/keeper")" 2>/dev/null || break
    sleep 0.05
  done
  cat "$dir"/log/* >&2 || true
  readlink "/proc/$(cat "$dir/keeper")/ns/mnt" >"$dir/namespace" || true
  stop "$dir"
  die "did not come up"
}

# Holds the namespace open, too: the kernel gives the number of one that is gone to the next that is made, and the
# end of this libvirtd must not reach whoever lives there.
watch_owner() {
  local dir=$1 owner=$2
  setsid bash -c 'tail --pid="$1" -f /dev/null; exec "$0" stop "$2"' "$0" "$owner" "$dir" \
    </dev/null >/dev/null 2>&1 9<"/proc/$(cat "$dir/keeper")/ns/mnt" &
  echo $! >"$dir/watcher"
}

# Every process that lives in the namespaces, whoever started it. Ask only while somebody holds them open.
members() {
  local wanted link
  wanted=$(cat "$1/namespace" 2>/dev/null) || return 0
  [ -n "$wanted" ] && [ "$wanted" != "$(readlink /proc/self/ns/mnt)" ] || return 0
  for link in /proc/[0-9]*/ns/mnt; do
    [ "$(readlink "$link" 2>/dev/null)" != "$wanted" ] || echo "${link//[!0-9]/}"
  done
}

stop() {
  local dir pids tries watcher
  dir=$(realpath -m "$1")
  [ -d "$dir" ] || return 0
  { exec 8<"/proc/$(cat "$dir/keeper")/ns/mnt"; } 2>/dev/null || true  # held until this script ends
  for ((tries = 0; tries < 100; tries++)); do
    mapfile -t pids < <(members "$dir")
    [ ${#pids[@]} -gt 0 ] || break
    kill -KILL "${pids[@]}" 2>/dev/null || true
    sleep 0.05
  done
  watcher=$(cat "$dir/watcher" 2>/dev/null || true)
  [ -z "$watcher" ] || [ "$watcher" = $$ ] || kill -- "-$watcher" 2>/dev/null || true
  rm -rf "$dir"/{run,etc,lib,log,dev,keeper,namespace,watcher,ready,own-net,broken-kvm}
  rmdir "$dir" 2>/dev/null || true
}

# Runs a command inside (libvirtd's view of the machine).
enter() {
  local dir=$1 own=(--mount); shift
  [ ! -e "$dir/own-net" ] || own+=(--net --uts)
  nsenter -t "$(cat "$dir/keeper")" "${own[@]}" -- "$@"
}

end_daemon() {
  local dir=$1 signal=$2 pid tries
  pid=$(cat "$dir/run/libvirtd.pid" 2>/dev/null) || return 0
  kill "-$signal" "$pid" 2>/dev/null || true
  for ((tries = 0; tries < 400; tries++)); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.05
  done
  die "libvirtd $pid does not end"
}

up() { enter "$1" libvirtd -d --pid-file "$1/run/libvirtd.pid"; }

main() {
  [ $# -ge 2 ] || die "usage: libvirtd.sh start|uri|restart|kill|up|exec|stop DIR ..."
  local verb=$1 dir
  dir=$(realpath -m "$2"); shift 2
  case $verb in
    start) start "$dir" "$@" ;;
    inside) inside "$dir" ;;
    uri) uri "$dir" ;;
    restart) end_daemon "$dir" TERM; up "$dir" ;;
    kill) end_daemon "$dir" KILL ;;
    up) up "$dir" ;;
    freeze) kill -STOP "$(cat "$dir/run/libvirtd.pid")" ;;
    thaw) kill -CONT "$(cat "$dir/run/libvirtd.pid")" ;;
    exec) enter "$dir" "$@" ;;
    stop) stop "$dir" ;;
    *) die "unknown verb $verb" ;;
  esac
}
main "$@"
