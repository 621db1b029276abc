#!/bin/sh
# Makes of a Debian suite's cloud kernel what a virtual machine boots from: in OUT the files vmlinuz, modules.cpio (for the
# initramfs: busybox and the modules that reach a disk) and modules.ext4, a filesystem for /lib/modules.
#
#   build-kernel.sh SUITE OUT
set -eu
suite=$1 out=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
lists=$work/apt
. "$here/apt-sources.sh"
use_suite "$suite"

# Older suites have one package with everything; newer ones split it.
packages=$($apt_cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
  linux-image-cloud-amd64 | grep -E '^linux-(image|binary|modules)-[0-9]' | sort -u)
mkdir "$work/debs" "$work/tree"
(cd "$work/debs" && $apt download $packages)
for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/tree"; done

tree=$work/modules
mkdir -p "$tree/lib"
if [ -d "$work/tree/usr/lib/modules" ]; then mv "$work/tree/usr/lib/modules" "$tree/lib/"; else mv "$work/tree/lib/modules" "$tree/lib/"; fi
version=$(ls "$tree/lib/modules")
find "$work" -name 'vmlinuz*' -exec mv {} "$out/vmlinuz" \;
depmod -b "$tree" "$version"
echo "$version" >"$out/version"

# The initramfs: modules in the order in which they are to be loaded, those that the kernel has built in left out.
initrd=$work/initrd
mkdir -p "$initrd/bin" "$initrd/modules"
cp /bin/busybox "$initrd/bin/busybox"
modules=$tree/lib/modules/$version
order=0
load() {
  file=$(sed -n "s,^\([^:]*/$1\.ko[^:]*\):.*,\1,p" "$modules/modules.dep")
  for path in $(sed -n "s,^$file: *,,p" "$modules/modules.dep" | tr ' ' '\n' | tac) $file; do
    name=$(basename "$path")
    ls "$initrd/modules" | grep -q "^[0-9]*-${name%.ko*}\.ko$" && continue
    order=$((order + 1))
    target=$initrd/modules/$(printf %02d $order)-${name%.ko*}.ko
    case $name in
    *.xz) xz -dc "$modules/$path" >"$target" ;;
    *.zst) zstd -qdc "$modules/$path" >"$target" ;;
    *) cp "$modules/$path" "$target" ;;
    esac
  done
}
for module in virtio_pci virtio_blk virtio_console virtio_rng crc32c_generic ext4 overlay; do load $module; done
(cd "$initrd" && find . | busybox cpio -o -H newc) 2>/dev/null >"$out/modules.cpio"

size=$(du -sm "$tree/lib/modules" | cut -f 1)
mke2fs -q -F -t ext4 -O ^has_journal -d "$tree/lib/modules" "$out/modules.ext4" "$((size + size / 4 + 16))M"
