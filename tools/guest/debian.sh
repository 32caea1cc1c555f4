# tools/guest/debian.sh - a full Debian machine: systemd, cloud-init (NoCloud), sshd, qemu-guest-agent.
# Result: $cache/debian/{disk.raw,disk.qcow2,vmlinuz,vmlinux,initrd.img,cmdline}: GPT, ext4, boots by itself from a BIOS
# or with the kernel given from outside. Needs root (or sudo) once; two minutes. Copy or overlay the disk before use.

readonly debian_packages=systemd-sysv,udev,dbus,iproute2,openssh-server,cloud-init,qemu-guest-agent,initramfs-tools,lz4,e2fsprogs,sudo
readonly debian_modules='virtio_pci virtio_mmio virtio_blk virtio_net virtio_console virtio_rng virtio_balloon'

make_debian() {
  local dir
  have debian "$guest_dir"/{disk,debian}.sh && return
  say "building a Debian disk (a few minutes)"
  dir=$(scratch)
  bootstrap_debian "$dir/root" >"$cache/debian.log" 2>&1 || die "mmdebstrap failed, see $cache/debian.log"
  as_root cp -L "$dir/root/vmlinuz" "$dir/root/initrd.img" "$dir/"
  as_root chmod a+r "$dir/vmlinuz" "$dir/initrd.img"
  extract_vmlinux "$dir/vmlinuz" "$dir/vmlinux"
  as_root rm -rf "$dir/root"/boot/*
  as_root bash -c "$(declare -f make_ext4); make_ext4 '$dir/part' 1536M '$dir/root' root"
  echo "root=LABEL=root rw console=ttyS0" >"$dir/cmdline"
  write_boot "$dir/boot" "$dir/vmlinuz" "$dir/initrd.img" "$(cat "$dir/cmdline")"
  wrap_with_boot "$dir/part" "$dir/boot" "$dir/disk.raw"
  qemu-img convert -q -f raw -O qcow2 "$dir/disk.raw" "$dir/disk.qcow2"
  as_root rm -rf "$dir/root" "$dir/part" "$dir/boot"
  publish "$dir" debian "$mark"
}

bootstrap_debian() {
  local root=$1
  as_root mmdebstrap --quiet --variant=apt --include="$debian_packages,linux-image-cloud-amd64" \
    --customize-hook="$(debian_setup)" bookworm "$root"
}

# Shell text that mmdebstrap runs with the new root as $1. Few modules and LZ4: an emulated CPU unpacks slowly.
debian_setup() {
  cat <<END
set -e
cd "\$1"
echo 'LABEL=root / ext4 errors=remount-ro 0 1' >etc/fstab
echo debian >etc/hostname
: >etc/machine-id
echo 'datasource_list: [ NoCloud, None ]' >etc/cloud/cloud.cfg.d/90_reeve.cfg
echo 'locale: C.UTF-8' >>etc/cloud/cloud.cfg.d/90_reeve.cfg
printf '%s\n' $debian_modules >>etc/initramfs-tools/modules
printf 'MODULES=list\nCOMPRESS=lz4\n' >etc/initramfs-tools/conf.d/reeve
printf '[Match]\nName=e*\n\n[Network]\nDHCP=yes\n' >etc/systemd/network/80-dhcp.network
chroot . systemctl -q enable systemd-networkd
chroot . systemctl -q mask apt-daily.timer apt-daily-upgrade.timer e2scrub_reap.service systemd-networkd-wait-online
chroot . update-initramfs -u
rm -f etc/ssh/ssh_host_*
END
}
