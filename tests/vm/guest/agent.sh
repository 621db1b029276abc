#!/bin/sh
# Runs one job of the host: says "ready" on the second serial line, waits there for `go EPOCH TOKEN` (the machine may have
# been saved and come to life much later), mounts the disk that the host has laid in by then at /tupper, and runs
# /tupper/job. Its output goes to two virtio ports; TOKEN and the exit code follow on both.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo
if [ -d /run/systemd/system ]; then
  # Until everything that boots has booted.
  while systemctl list-jobs --no-legend | grep -v tupper-agent | grep -q .; do sleep 0.2; done
fi
modprobe -a loop veth bridge dummy fuse overlay nf_tables tun 2>/dev/null
sync
echo ready >&3
read -r word epoch token <&3
date -s "@$epoch" >/dev/null
for block in /sys/block/vd*; do
  [ "$(cat "$block/serial")" = payload ] && disk=/dev/${block##*/}
done
blockdev --flushbufs "$disk"
mount -t ext4 -o nodev "$disk" /tupper
# Through pipes: what a job starts may open /dev/stdout anew, and a virtio port takes one opener only.
for stream in out err; do
  mkfifo -m 666 "/run/tupper-vm-$stream"
done
for port in /sys/class/virtio-ports/*; do
  stream=$(cat "$port/name")
  cat "/run/tupper-vm-$stream" >"/dev/${port##*/}" &
done
exec 4>/run/tupper-vm-out 5>/run/tupper-vm-err
sh /tupper/job </dev/null >&4 2>&5 3<&- 4>&- 5>&-
code=$?
for stream in 4 5; do
  printf '\036%s %d\n' "$token" "$code" >&$stream
done
sleep 600
