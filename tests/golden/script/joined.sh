#!/bin/sh
# The container "joined" as a script for sh, util-linux and coreutils, printed by `tupper script`.
# Run it with the privileges of the user it was printed for. It does in the same order what tupper
# does; the number before each comment is that of the step in `tupper explain`.
set -eu

die() {
  printf 'error: %s\n' "$*" >&2
  exit 125
}

warn() { printf 'warning: %s\n' "$*" >&2; }

# Open descriptors that the caller left to us, as ls(1) inherits them. Some shells, dash for one, can close none
# above 9: those stay open inside the container, and a directory among them would be a way out.
for fd in $(ls /proc/self/fd); do
  if [ "$fd" -gt 2 ] && [ -e "/proc/self/fd/$fd" ]; then
    if (eval "exec $fd>&-") 2>/dev/null; then eval "exec $fd>&-"; else warn "descriptor $fd stays open inside: run this with bash"; fi
  fi
done

# What new files get until the container's own umask is set; the caller's is restored for it
# otherwise.
umask_before=$(umask)
umask 022
work=$(mktemp -d /run/tupper-script.XXXXXX)
state=$work/state bag=$work/bag
mkdir "$state" "$bag"
export umask_before work state bag

# Whatever happens, nothing is left: the control groups and the directory go when the script ends.
# Mounts need no care, they vanish with the mount namespace.
cleanup() {
  remove_cgroup /sys/fs/cgroup/cpu/tupper-joined
  remove_cgroup /sys/fs/cgroup/cpuset/tupper-joined
  remove_cgroup /sys/fs/cgroup/memory/tupper-joined
  remove_cgroup /sys/fs/cgroup/devices/tupper-joined
  remove_cgroup /sys/fs/cgroup/freezer/tupper-joined
  remove_cgroup /sys/fs/cgroup/pids/tupper-joined
  remove_cgroup /sys/fs/cgroup/systemd/tupper-joined
  rm -rf "$work"
}
# A group is busy for some milliseconds after its last process has ended.
remove_cgroup() {
  tries=0
  while [ -d "$1" ] && ! rmdir "$1" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { warn "the control group $1 stays: it is busy"; return; }
    while read -r pid; do kill -s KILL "$pid" 2>/dev/null || :; done <"$1/cgroup.procs"
    sleep 0.02
  done
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# 1. recordState: the next command must find and clean up what a crash leaves behind. See mkdir(2).
# (here it is the directory $work, which the trap above removes)

# 2-3. makeCgroup: a control group of its own counts and limits the container. See cgroups(7).
mkdir -p /sys/fs/cgroup/cpu/tupper-joined
mkdir -p /sys/fs/cgroup/cpuset/tupper-joined

# 4-5. inheritCgroupValue: a new cpuset of cgroup v1 is empty, and no process can join an empty one.
# See cpuset(7).
[ -n "$(cat /sys/fs/cgroup/cpuset/tupper-joined/cpuset.cpus)" ] || cat /sys/fs/cgroup/cpuset/cpuset.cpus >/sys/fs/cgroup/cpuset/tupper-joined/cpuset.cpus
[ -n "$(cat /sys/fs/cgroup/cpuset/tupper-joined/cpuset.mems)" ] || cat /sys/fs/cgroup/cpuset/cpuset.mems >/sys/fs/cgroup/cpuset/tupper-joined/cpuset.mems

# 6. makeCgroup: a control group of its own counts and limits the container. See cgroups(7).
mkdir -p /sys/fs/cgroup/memory/tupper-joined

# 7. write: memory beyond this is reclaimed, and when that does not suffice a process of the
# container is killed [linux.resources.memory.limit]. See cgroups(7).
echo 67108864 >/sys/fs/cgroup/memory/tupper-joined/memory.limit_in_bytes

# 8-10. makeCgroup: a control group of its own counts and limits the container. See cgroups(7).
mkdir -p /sys/fs/cgroup/devices/tupper-joined
mkdir -p /sys/fs/cgroup/freezer/tupper-joined
mkdir -p /sys/fs/cgroup/pids/tupper-joined

# 11. write: no more processes and threads than this: fork fails beyond it, so a fork bomb stays in
# the container [linux.resources.pids.limit]. See cgroups(7).
echo 20 >/sys/fs/cgroup/pids/tupper-joined/pids.max

# 12. makeCgroup: a control group of its own counts and limits the container. See cgroups(7).
mkdir -p /sys/fs/cgroup/systemd/tupper-joined

# 13. refuseTracing: others see this process, and what it clones, from here on. See prctl(2),
# ptrace(2).
# (no command can ask for this: root of the container could trace the set-up until the command runs)

# 14. joinNamespace: a process cannot change its own PID namespace, only that of its children
# [linux.namespaces[2].path]. See setns(2), pid_namespaces(7).
# (`nsenter` at the end of this script, before `unshare`)

# 15. clone: the process that becomes the container, born inside its new namespaces
# [linux.namespaces]. See clone(2), namespaces(7), mount_namespaces(7), uts_namespaces(7).
# (`unshare --fork` at the end of this script)

# The init process: its functions, then what it does, in files so that standard input stays free.
cat >"$work/functions.sh" <<'END_OF_FUNCTIONS'
set -eu
# Only a set-up that failed gets as far as this: the last command replaces the shell.
trap 'exit 125' EXIT
export LC_ALL=C
unset LD_LIBRARY_PATH LD_PRELOAD
tool= # "tool" after pivot_root
masked= # the first masked directory

die() {
  printf 'error: %s\n' "$*" >&2
  exit 125
}

warn() { printf 'warning: %s\n' "$*" >&2; }

# pack TOOL...: copies programs with their libraries and their dynamic loader into $bag.
pack() {
  for name; do
    file=$(command -v "$name") || die "$name is missing"
    pack_file "$file" "$name"
    ldd "$file" 2>/dev/null | while read -r first arrow second _; do
      case $first$arrow in
        /*) pack_file "$first" ld.so ;;
        libc.so.*) pack_file "$second" "$first"
          # glibc before 2.34 loads this when it looks up a user.
          directory=$(dirname "$second")
          [ ! -e "$directory/libnss_files.so.2" ] || pack_file "$directory/libnss_files.so.2" libnss_files.so.2 ;;
        *'=>') pack_file "$second" "$first" ;;
      esac
    done
  done
}

# The C library reads /etc/nsswitch.conf, /etc/passwd and /etc/ld.so.preload, and loads libraries that they name:
# inside they would be the container's, and its code would run with all privileges of the set-up. The copies look
# for /etc in the working directory instead: a name of the same length, ".////", in place of "/etc/".
pack_file() {
  [ -e "$bag/$2" ] || { LC_ALL=C sed 's,/etc/,.////,g' <"$1" >"$bag/$2" && chmod 755 "$bag/$2"; }
}

# tool NAME ARGUMENT...: a program from the bag. Its loader is told where the libraries are, so that none of the
# container's is loaded. A static program, as busybox may be, has no loader.
tool() {
  name=$1
  shift
  $ld "./$name" "$@"
}

# mask PATH: /dev/null over a file, an empty read-only tmpfs over a directory (one for all).
mask() {
  if [ -d "$1" ]; then
    if [ -n "$masked" ]; then
      tool mount -n -i --bind "$masked" "$1"
    else
      tool mount -n -i -t tmpfs -o ro,size=0k tmpfs "$1"
      masked=$1
    fi
  elif [ -e "$1" ]; then
    tool mount -n -i --bind /dev/null "$1"
  fi
}

# make_readonly PATH: a bind mount of it on itself, read-only with all that is mounted below.
make_readonly() {
  [ -e "$1" ] || return 0
  tool mount -n -i --rbind "$1" "$1"
  set_mount_flags recursive ro "$1"
}

# set_mount_flags this|recursive FLAGS TARGET: adds flags to a mount. The flags that it has are read from mountinfo
# and repeated: the kernel takes a remount's flags as the whole truth, and in a user namespace refuses to lose one.
set_mount_flags() {
  top=
  while read -r id _ _ _ point _; do
    case $point in *\\*) point=$(printf '%b' "$point") ;; esac # a space is \040 there
    [ "$point" != "$3" ] || top=$id
  done </proc/self/mountinfo
  [ -n "$top" ] || die "$3 is not a mount point"
  below=" $top "
  while read -r id parent _ _ point _; do
    if [ "$id" != "$top" ]; then
      [ "$1" = recursive ] || continue
      case $below in *" $parent "*) below="$below$id " ;; *) continue ;; esac
    fi
    $tool mount -n -i --options-source mtab -o "remount,bind,$2" "$(printf '%b' "$point")"
  done </proc/self/mountinfo
}
END_OF_FUNCTIONS

cat >"$work/init-1.sh" <<'END_OF_INIT'
. "$work/functions.sh"

# 16. parentDeathSignal: a container in the foreground must not outlive the command that runs it.
# See prctl(2).
# (`unshare --kill-child` at the end of this script)

# 17. setUmask: directories and devices get exactly the modes that the plan says. See umask(2).
# (here the commands say the modes themselves, and keep the umask 022 for all others)

# 18-24. joinCgroup: the container is counted and limited there; a single-threaded process that
# moves itself spares the wait for all others. See cgroups(7).
echo 0 >/sys/fs/cgroup/cpu/tupper-joined/tasks
echo 0 >/sys/fs/cgroup/cpuset/tupper-joined/tasks
echo 0 >/sys/fs/cgroup/memory/tupper-joined/tasks
echo 0 >/sys/fs/cgroup/devices/tupper-joined/tasks
echo 0 >/sys/fs/cgroup/freezer/tupper-joined/tasks
echo 0 >/sys/fs/cgroup/pids/tupper-joined/tasks
echo 0 >/sys/fs/cgroup/systemd/tupper-joined/tasks

# 25. joinNamespace: shares the network: interfaces, addresses, routes, ports, firewall with whoever
# is there [linux.namespaces[3].path]. See setns(2), network_namespaces(7).
# (`nsenter` at the end of this script, before `unshare`)

# 26. unshare: a time namespace is for processes that execute later, and its offsets are set before
# [linux.namespaces]. See unshare(2), time_namespaces(7).
# (an option of `unshare` at the end of this script)

# 27-28. timeOffset: clocks can be shifted only before the first process enters the time namespace.
# See time_namespaces(7).
# (an option of `unshare` at the end of this script)
warn 'unshare(1) sets clocks to whole seconds: 5 ns of the monotonic clock are left out'
# (an option of `unshare` at the end of this script)

# 29. propagation: mounts made here must not spread to the machine, and pivot_root refuses a shared
# parent. See mount_namespaces(7).
mount -n -i --make-rslave /

# The bag: tools for the time after pivot_root, when the host's files are out of sight and the
# container may have none. It is a tmpfs that only this process sees. The shell stands in it when
# the old root is detached, and the bag with it: from then on it is in no mount table and has no
# path, but it is still the working directory, and ./setpriv can be executed. The last of the tools,
# env -C, goes to the container's directory and executes the command; then nothing refers to the
# bag, and the kernel drops it.
mount -n -i -t tmpfs -o mode=755 tmpfs "$bag"
pack env ln mkdir mknod mount setpriv setsid umount
ld=; [ ! -e "$bag/ld.so" ] || ld="./ld.so --library-path ."
export ld
filter=
if setpriv --help | grep -q -e --seccomp-filter; then
  filter="--seccomp-filter ./filter.bpf"
  base64 -d >"$bag/filter.bpf" <<'END_OF_FILTER'
IAAAAAQAAAAVAAAGPgAAwCAAAAAAAAAANQACAAAAAEAVAAACpQAAAAYAAAAAAMB/NQAAAf////8G
AAAAAAD/fwYAAAAAAAAA
END_OF_FILTER
else
  warn 'this setpriv has no --seccomp-filter (util-linux 2.41): the container runs without the seccomp filter'
fi
export filter

# What does not depend on the root.
hostname shifted
if command -v keyctl >/dev/null; then keyctl new_session _ses.joined >/dev/null; else
  warn 'keyctl(1) is missing: the container keeps the caller'\''s session keyring'
fi

# 30. mount: the whole root lives in memory, limited to this size [annotations["tupper.root.size"]].
# See tmpfs(5), mount(2).
mount -n -i -t tmpfs -o 'mode=755,size=104857600' tmpfs "$state"

# 31. copyTree: the container gets files of its own; the directory it came from is not touched
# [root.path]. See cp(1).
cp -a -x /srv/root/. "$state"

# 32. changeDirectory: pivot_root is called from inside the new root. See chdir(2).
cd "$state"

# 33. pivotRoot: the new root becomes /, and the old one is stacked on it: no directory for it is
# needed, and unlike chroot it can be left for good. See pivot_root(2).
# The shell waits in the bag: pivot_root would take it along if it stood in the old root itself.
cd "$bag"
pivot_root "$state" "$state"
tool=tool

# 35. mount: ps, /proc/self and much of the C library need it; it shows the processes of the
# container's PID namespace [mounts[0]]. See proc(5), mount(2).
[ ! -L /proc ] || die /proc 'is a symbolic link'
[ -e /proc ] || tool mkdir -p /proc
tool mount -n -i -t proc -o nosuid,noexec,nodev proc /proc

# 36. mount: a /dev of the container's own: nothing of the machine's devices is in it [mounts[1]].
# See tmpfs(5), mount(2).
[ -e /dev ] || tool mkdir -p /dev
tool mount -n -i -t tmpfs -o 'nosuid,strictatime,mode=755,size=65536k' tmpfs /dev

# 37. mount: pseudo-terminals of the container alone (newinstance) [mounts[2]]. See pts(4),
# mount(2).
[ -e /dev/pts ] || tool mkdir -p /dev/pts
tool mount -n -i -t devpts -o 'nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5' devpts /dev/pts

# 38. mount: devices and drivers as files; its network part is the container's own [mounts[3]]. See
# sysfs(5), mount(2).
[ ! -L /sys ] || die /sys 'is a symbolic link'
[ -e /sys ] || tool mkdir -p /sys
tool mount -n -i -t sysfs -o nosuid,noexec,nodev,ro sysfs /sys

# 39-44. makeNode: every container has this device (config-linux.md, Default Devices). See mknod(2),
# null(4).
[ -e /dev/null ] || tool mknod -m 0666 /dev/null c 1 3
[ -e /dev/zero ] || tool mknod -m 0666 /dev/zero c 1 5
[ -e /dev/full ] || tool mknod -m 0666 /dev/full c 1 7
[ -e /dev/random ] || tool mknod -m 0666 /dev/random c 1 8
[ -e /dev/urandom ] || tool mknod -m 0666 /dev/urandom c 1 9
[ -e /dev/tty ] || tool mknod -m 0666 /dev/tty c 5 0

# 45-49. makeLink: programs expect it (config-linux.md, Default Devices). See symlink(2).
[ -e /dev/fd ] || [ -L /dev/fd ] || tool ln -s /proc/self/fd /dev/fd
[ -e /dev/stdin ] || [ -L /dev/stdin ] || tool ln -s /proc/self/fd/0 /dev/stdin
[ -e /dev/stdout ] || [ -L /dev/stdout ] || tool ln -s /proc/self/fd/1 /dev/stdout
[ -e /dev/stderr ] || [ -L /dev/stderr ] || tool ln -s /proc/self/fd/2 /dev/stderr
tool ln -s -f pts/ptmx /dev/ptmx

# 50-53. mask: it shows or changes the machine, not the container, and no namespace hides it
# [linux.maskedPaths]. See mount(2), proc(5).
mask /proc/acpi
mask /proc/kcore
mask /proc/keys
mask /sys/firmware

# 54-55. makeReadonly: writing there configures the machine's kernel [linux.readonlyPaths]. See
# mount_setattr(2), proc(5).
make_readonly /proc/bus
make_readonly /proc/sys

# 34. detach: the old root is stacked on the new one: before any path of the rootfs is followed, it
# must be gone. See umount(2).
tool umount -n -i -c -l /

# 56. setHostname: the UTS namespace has a name of its own [hostname]. See sethostname(2).
# (done above, before pivot_root: it does not depend on the root, and the host's program was in
# sight)

# 57. newKeyring: keys of the caller's session must not be reachable from inside. See
# session-keyring(7).
# (done above, before pivot_root: it does not depend on the root, and the host's program was in
# sight)

# 58. newSession: the caller's terminal must not be the container's to control. See setsid(2),
# credentials(7).
# (done by the last command of the init process)

# 59. changeDirectory: the command starts here [process.cwd]. See chdir(2).
# (`env -C` of the last command: until then the shell must stay with its tools)

# 60. setUmask: the permissions that new files do not get [process.user.umask]. See umask(2).
umask 022

# 61. closeDescriptors: a descriptor of the set-up would be a way out (CVE-2024-21626). See
# close_range(2).
# (done by the last command of the init process)

# 62. seccomp: system calls that a container has no use for are the largest attack surface of the
# shared kernel [linux.seccomp]. See seccomp(2).
# (done by the last command of the init process)
# (no shell hands a filter to the agent at /run/agent.sock: its calls answer ENOSYS here)

# 63. limitBoundingSet: no program, not even a set-user-id one, can gain more than this
# [process.capabilities.bounding]. See capabilities(7).
# (done by the last command of the init process)

# 64. setUser: who the command runs as [process.user]. See credentials(7), setresuid(2).
# (done by the last command of the init process)

# 65. setCapabilities: root without these is much less than root; inheritable stays empty
# (CVE-2022-24769) [process.capabilities]. See capabilities(7).
# (done by the last command of the init process)
# (effective and permitted follow at execve: for root the bounding set, for others the ambient set;
# capabilities(7))

# 66. exec: the set-up becomes the command [process.args]. See execve(2).
exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
exec $ld ./setsid \
  $ld ./setpriv $filter -- \
  $ld ./setpriv --bounding-set -all,+chown,+kill,+setgid,+setuid --reuid 0 --regid 0 --clear-groups --inh-caps -all --ambient-caps -all -- \
  $ld ./env -i -C / -- \
  'PATH=/usr/bin:/bin' 'TERM=xterm' \
  sh
END_OF_INIT

# The process that becomes the container, as a child in new namespaces: the caller stays outside,
# waits, and takes over its exit code. A new PID namespace is for children only, hence --fork.
status=0
setpriv --pdeathsig KILL \
  nsenter --pid=/proc/4711/ns/pid --net=/run/netns/blue \
  unshare --mount --uts --time --propagation unchanged --monotonic 86400 --boottime -60 --fork --kill-child=KILL \
  sh "$work/init-1.sh" || status=$?
exit "$status"
