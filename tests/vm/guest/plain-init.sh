#!/bin/sh
# Process 1 of the machines without systemd: cgroup v2 at /sys/fs/cgroup with nothing else in it, then the agent.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs /run
mkdir -p /run/lock /dev/pts /dev/shm
mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm
mount -t mqueue mqueue /dev/mqueue 2>/dev/null
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup || mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
mount -t bpf bpf /sys/fs/bpf 2>/dev/null
mount --make-rshared /
for link in "fd fd" "stdin fd/0" "stdout fd/1" "stderr fd/2"; do ln -sf "/proc/self/${link#* }" "/dev/${link% *}"; done
hostname guest
ip link set lo up
# "wait" reaps everybody's orphans too.
setsid /usr/lib/tupper-vm/agent.sh </dev/null &
while :; do wait; sleep 1; done
