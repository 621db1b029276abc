#!/bin/busybox sh
# The virtual machine's first process: loads what reaches the disks, then hands over to the root filesystem's init.
/bin/busybox --install -s /bin 2>/dev/null
mkdir -p /dev /proc /sys /root
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in /modules/*; do insmod "$module" || echo "initramfs: cannot load $module"; done
disk() {
  for block in /sys/block/vd*; do [ "$(cat "$block/serial")" = "$1" ] && echo "/dev/${block##*/}"; done
}
while [ -z "$(disk root)" ]; do sleep 0.05; done
mount -t ext4 "$(disk root)" /root || exec sh
mkdir -p /root/lib/modules
mount -t ext4 -o ro "$(disk modules)" /root/lib/modules
# Not in the image, so that they can be changed without building it anew.
mkdir -p /root/usr/lib/tupper-vm /root/etc/systemd/system/multi-user.target.wants
cp /guest/*.sh /root/usr/lib/tupper-vm/
cp /guest/tupper-agent.service /root/etc/systemd/system/
ln -sf ../tupper-agent.service /root/etc/systemd/system/multi-user.target.wants/
mount --move /dev /root/dev
umount /proc /sys
exec switch_root /root "${TUPPER_INIT:-/sbin/init}"
