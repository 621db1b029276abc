#!/bin/sh
# Makes root.ext4 in OUT: a Debian with systemd, an ordinary user with subordinate ids whose user manager always runs, and
# this machine's node. All virtual machines use it; those without systemd start guest/plain-init.sh instead.
#
#   build-debian.sh SUITE OUT
set -eu
suite=$1 out=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$here/apt-sources.sh"
root=$work/root
packages=$(grep -v '^#' "$here/debian-packages.txt" | paste -sd, -)
mmdebstrap --mode=root --variant=minbase --include="$packages" --aptopt='APT::Sandbox::User "root"' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  "$suite" "$root" "deb [signed-by=$keyring] $mirror $suite main"

install -D -m 755 "$(command -v node)" "$root/usr/bin/node"
mkdir -p "$root/tupper"
mkdir -p "$root/var/lib/systemd/linger"
echo guest >"$root/etc/hostname"
printf '127.0.0.1 localhost guest\n' >"$root/etc/hosts"
echo 'PATH=/tupper/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' >"$root/etc/environment"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
chroot "$root" useradd --create-home --uid 1000 --shell /bin/bash tupper
touch "$root/var/lib/systemd/linger/tupper"
# Nobody logs in, nothing is fetched: what would only take time.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer getty@tty1.service \
  motd-news.timer serial-getty@ttyS0.service systemd-firstboot.service man-db.timer systemd-tpm2-setup.service systemd-tpm2-setup-early.service; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# Engines are started by the suite that plays them.
chroot "$root" systemctl -q disable containerd.service docker.service docker.socket netavark-dhcp-proxy.service netavark-dhcp-proxy.socket
mke2fs -q -F -t ext4 -O ^has_journal -d "$root" "$out/root.ext4" 4G
