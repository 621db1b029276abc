#!/bin/sh
# The container "locked" as a script for sh, util-linux and coreutils, printed by `tupper script`.
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
  remove_cgroup /sys/fs/cgroup/cpu/tupper-locked
  remove_cgroup /sys/fs/cgroup/cpuset/tupper-locked
  remove_cgroup /sys/fs/cgroup/memory/tupper-locked
  remove_cgroup /sys/fs/cgroup/devices/tupper-locked
  remove_cgroup /sys/fs/cgroup/freezer/tupper-locked
  remove_cgroup /sys/fs/cgroup/pids/tupper-locked
  remove_cgroup /sys/fs/cgroup/systemd/tupper-locked
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
mkdir -p /sys/fs/cgroup/cpu/tupper-locked
mkdir -p /sys/fs/cgroup/cpuset/tupper-locked

# 4-5. inheritCgroupValue: a new cpuset of cgroup v1 is empty, and no process can join an empty one.
# See cpuset(7).
[ -n "$(cat /sys/fs/cgroup/cpuset/tupper-locked/cpuset.cpus)" ] || cat /sys/fs/cgroup/cpuset/cpuset.cpus >/sys/fs/cgroup/cpuset/tupper-locked/cpuset.cpus
[ -n "$(cat /sys/fs/cgroup/cpuset/tupper-locked/cpuset.mems)" ] || cat /sys/fs/cgroup/cpuset/cpuset.mems >/sys/fs/cgroup/cpuset/tupper-locked/cpuset.mems

# 6. makeCgroup: a control group of its own counts and limits the container. See cgroups(7).
mkdir -p /sys/fs/cgroup/memory/tupper-locked

# 7. write: memory beyond this is reclaimed, and when that does not suffice a process of the
# container is killed [linux.resources.memory.limit]. See cgroups(7).
echo 67108864 >/sys/fs/cgroup/memory/tupper-locked/memory.limit_in_bytes

# 8-10. makeCgroup: a control group of its own counts and limits the container. See cgroups(7).
mkdir -p /sys/fs/cgroup/devices/tupper-locked
mkdir -p /sys/fs/cgroup/freezer/tupper-locked
mkdir -p /sys/fs/cgroup/pids/tupper-locked

# 11. write: no more processes and threads than this: fork fails beyond it, so a fork bomb stays in
# the container [linux.resources.pids.limit]. See cgroups(7).
echo 20 >/sys/fs/cgroup/pids/tupper-locked/pids.max

# 12. makeCgroup: a control group of its own counts and limits the container. See cgroups(7).
mkdir -p /sys/fs/cgroup/systemd/tupper-locked

# 13. clone: the process that becomes the container, born inside its new namespaces
# [linux.namespaces]. See clone(2), namespaces(7), mount_namespaces(7), pid_namespaces(7),
# network_namespaces(7), ipc_namespaces(7), uts_namespaces(7).
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

# take_tree SOURCE TREE --bind|--rbind [rprivate]: a second view of a file or a directory, kept beside the tools for
# now; with the last word, what the machine mounts below it later does not show.
take_tree() {
  if [ -d "$1" ]; then mkdir "$bag/$2"; else : >"$bag/$2"; fi
  mount -n -i "$3" "$1" "$bag/$2"
  [ -z "${4-}" ] || mount -n -i --make-"$4" "$bag/$2"
}

# place_tree TREE TARGET: moves a taken tree to its place, which is made when missing: a file for a file.
place_tree() {
  if [ ! -e "$2" ]; then
    if [ -d "$1" ]; then
      tool mkdir -p "$2"
    else
      case $2 in /*/*) tool mkdir -p "${2%/*}" ;; esac
      : >"$2"
    fi
  fi
  # -c: the tree's path has no absolute form any more.
  tool mount -n -i -c --move "./$1" "$2"
}
END_OF_FUNCTIONS

cat >"$work/init-1.sh" <<'END_OF_INIT'
. "$work/functions.sh"

# 14. parentDeathSignal: a container in the foreground must not outlive the command that runs it.
# See prctl(2).
# (`unshare --kill-child` at the end of this script)

# 15. setUmask: directories and devices get exactly the modes that the plan says. See umask(2).
# (here the commands say the modes themselves, and keep the umask 022 for all others)

# 16. setOomScore: the kernel kills the process with the highest score first when memory runs out
# [process.oomScoreAdj]. See proc(5), choom(1).
echo 500 >/proc/self/oom_score_adj

# 17-23. joinCgroup: the container is counted and limited there; a single-threaded process that
# moves itself spares the wait for all others. See cgroups(7).
echo 0 >/sys/fs/cgroup/cpu/tupper-locked/tasks
echo 0 >/sys/fs/cgroup/cpuset/tupper-locked/tasks
echo 0 >/sys/fs/cgroup/memory/tupper-locked/tasks
echo 0 >/sys/fs/cgroup/devices/tupper-locked/tasks
echo 0 >/sys/fs/cgroup/freezer/tupper-locked/tasks
echo 0 >/sys/fs/cgroup/pids/tupper-locked/tasks
echo 0 >/sys/fs/cgroup/systemd/tupper-locked/tasks

# 24. unshare: a cgroup namespace is rooted at the group of its maker, so it is made after joining
# the group [linux.namespaces]. See unshare(2), cgroup_namespaces(7).
# The shell itself changes, through exec: its process stays the same.
exec unshare --cgroup sh "$work/init-2.sh"
END_OF_INIT

cat >"$work/init-2.sh" <<'END_OF_INIT'
. "$work/functions.sh"

# 26. propagation: mounts made here must not spread to the machine, and pivot_root refuses a shared
# parent. See mount_namespaces(7).
mount -n -i --make-rslave /

# The bag: tools for the time after pivot_root, when the host's files are out of sight and the
# container may have none. It is a tmpfs that only this process sees. The shell stands in it when
# the old root is detached, and the bag with it: from then on it is in no mount table and has no
# path, but it is still the working directory, and ./setpriv can be executed. The last of the tools,
# env -C, goes to the container's directory and executes the command; then nothing refers to the
# bag, and the kernel drops it.
mount -n -i -t tmpfs -o mode=755 tmpfs "$bag"
pack env ln mkdir mknod mount prlimit setpriv sh umount
ld=; [ ! -e "$bag/ld.so" ] || ld="./ld.so --library-path ."
export ld
cp "$work"/*.sh "$bag"
filter=
if setpriv --help | grep -q -e --seccomp-filter; then
  filter="--seccomp-filter ./filter.bpf"
  base64 -d >"$bag/filter.bpf" <<'END_OF_FILTER'
IAAAAAQAAAAVAAAGPgAAwCAAAAAAAAAANQACAAAAAEAVAAACqQAAAAYAAAABAAUANQAAAf////8G
AAAAAAD/fwYAAAAAAAAA
END_OF_FILTER
else
  warn 'this setpriv has no --seccomp-filter (util-linux 2.41): the container runs without the seccomp filter'
fi
export filter
if terminal=$(tty); then
  : >"$bag/console"
  mount -n -i --bind "$terminal" "$bag/console"
fi

# What does not depend on the root.
hostname tupperware
if command -v ip >/dev/null; then ip link set dev lo up; else ifconfig lo up; fi
if command -v keyctl >/dev/null; then keyctl new_session _ses.locked >/dev/null; else
  warn 'keyctl(1) is missing: the container keeps the caller'\''s session keyring'
fi

# 25. takeTree: the source is a path of the machine: it is taken while the machine's files are in
# sight [mounts[4].source]. See open_tree(2).
take_tree '/srv/$(reboot)
' tree_4 --rbind
set_mount_flags this nosuid "$bag/tree_4"
set_mount_flags recursive ro "$bag/tree_4"

# 27. bind: pivot_root wants a mount point, and a bind mount makes one of any directory [root.path].
# See mount(2).
mount -n -i --rbind '/srv/it'\''s a root' "$state"

# 28. propagation: what the machine mounts into this directory later is not the container's. See
# mount_namespaces(7).
mount -n -i --make-private "$state"

# 29. changeDirectory: pivot_root is called from inside the new root. See chdir(2).
cd "$state"

# 30. pivotRoot: the new root becomes /, and the old one is stacked on it: no directory for it is
# needed, and unlike chroot it can be left for good. See pivot_root(2).
# The shell waits in the bag: pivot_root would take it along if it stood in the old root itself.
cd "$bag"
pivot_root "$state" "$state"
tool=tool

# 32. mount: ps, /proc/self and much of the C library need it; it shows the processes of the
# container's PID namespace [mounts[0]]. See proc(5), mount(2).
[ ! -L /proc ] || die /proc 'is a symbolic link'
[ -e /proc ] || tool mkdir -p /proc
tool mount -n -i -t proc -o nosuid,noexec,nodev proc /proc

# 33. mount: a /dev of the container's own: nothing of the machine's devices is in it [mounts[1]].
# See tmpfs(5), mount(2).
[ -e /dev ] || tool mkdir -p /dev
tool mount -n -i -t tmpfs -o 'nosuid,strictatime,mode=755,size=65536k' tmpfs /dev

# 34. mount: pseudo-terminals of the container alone (newinstance) [mounts[2]]. See pts(4),
# mount(2).
[ -e /dev/pts ] || tool mkdir -p /dev/pts
tool mount -n -i -t devpts -o 'nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5' devpts /dev/pts

# 35. mount: devices and drivers as files; its network part is the container's own [mounts[3]]. See
# sysfs(5), mount(2).
[ ! -L /sys ] || die /sys 'is a symbolic link'
[ -e /sys ] || tool mkdir -p /sys
tool mount -n -i -t sysfs -o nosuid,noexec,nodev,ro sysfs /sys

# 36. placeTree: shows /srv/$(reboot)\x0a of the machine at /da ta [mounts[4].destination]. See
# move_mount(2).
place_tree tree_4 '/da ta'

# 37-38. write: a kernel setting that belongs to one of the container's namespaces [linux.sysctl].
# See proc(5), sysctl(8).
echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
echo 65536 >/proc/sys/kernel/msgmax

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

# 50. openPty: a terminal of the container's own devpts: job control, window size, and no way to
# push input into the caller's (TIOCSTI) [process.terminal]. See pty(7).
[ ! -e ./console ] || place_tree console /dev/console

# 51-54. mask: it shows or changes the machine, not the container, and no namespace hides it
# [linux.maskedPaths]. See mount(2), proc(5).
mask /proc/acpi
mask /proc/kcore
mask /proc/keys
mask /sys/firmware

# 55-56. makeReadonly: writing there configures the machine's kernel [linux.readonlyPaths]. See
# mount_setattr(2), proc(5).
make_readonly /proc/bus
make_readonly /proc/sys

# 57. makeDirectory: the command starts here [process.cwd]. See mkdir(2).
tool mkdir -p -m 0755 '/home/a b'

# 58. setMountFlags: the config wants a root that cannot be written [root.readonly]. See
# mount_setattr(2), mount(8).
set_mount_flags this ro /

# 31. detach: the old root is stacked on the new one: before any path of the rootfs is followed, it
# must be gone. See umount(2).
tool umount -n -i -c -l /

# 59. setHostname: the UTS namespace has a name of its own [hostname]. See sethostname(2).
# (done above, before pivot_root: it does not depend on the root, and the host's program was in
# sight)

# 60. linkUp: a new network namespace has only lo, and that is down [linux.namespaces]. See
# netdevice(7).
# (done above, before pivot_root: it does not depend on the root, and the host's program was in
# sight)

# 61. newKeyring: keys of the caller's session must not be reachable from inside. See
# session-keyring(7).
# (done above, before pivot_root: it does not depend on the root, and the host's program was in
# sight)

# 62. forkInit: PID 1 must reap orphans and has no default signal actions: a small program does
# that, the command is its child [annotations["tupper.init"]]. See pid_namespaces(7), wait(2).
# (done by the last command of the init process)

# 63. newSession: signals of the terminal go to the container's session. See setsid(2),
# credentials(7).
# (script(1) did that)

# 64-65. setRlimit: the config limits this resource of each process [process.rlimits]. See
# getrlimit(2).
# (done by the last command of the init process)

# 66. changeDirectory: the command starts here [process.cwd]. See chdir(2).
[ -d '/home/a b' ] || tool mkdir -p '/home/a b'
# (`env -C` of the last command: until then the shell must stay with its tools)

# 67. setUmask: the permissions that new files do not get [process.user.umask]. See umask(2).
umask 077

# 68. limitBoundingSet: no program, not even a set-user-id one, can gain more than this
# [process.capabilities.bounding]. See capabilities(7).
# (done by the last command of the init process)

# 69. setUser: who the command runs as [process.user]. See credentials(7), setresuid(2).
# (done by the last command of the init process)

# 70. setCapabilities: root without these is much less than root; inheritable stays empty
# (CVE-2022-24769) [process.capabilities]. See capabilities(7).
# (done by the last command of the init process)
# (effective and permitted follow at execve: for root the bounding set, for others the ambient set;
# capabilities(7))

# 71. parentDeathSignal: changing ids cleared it. See prctl(2).
# (done by the last command of the init process)

# 72. noNewPrivileges: set-user-id and file capabilities give nothing any more
# [process.noNewPrivileges]. See prctl(2).
# (done by the last command of the init process)

# 73. closeDescriptors: a descriptor of the set-up would be a way out (CVE-2024-21626). See
# close_range(2).
# (done by the last command of the init process)

# 74. seccomp: system calls that a container has no use for are the largest attack surface of the
# shared kernel [linux.seccomp]. See seccomp(2).
# (done by the last command of the init process)

# 75. exec: the set-up becomes the command [process.args]. See execve(2).
exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
exec $ld ./prlimit --nofile=1024:4096 --core=0:unlimited \
  $ld ./setpriv $filter --bounding-set -all,+chown --reuid 1000 --regid 1000 --groups 10,20 --inh-caps -all,+chown --ambient-caps -all,+chown --pdeathsig KILL --no-new-privs -- \
  $ld ./env PWD=/proc/self/cwd $ld ./sh ./reaper.sh \
  $ld ./env -i --default-signal=INT --default-signal=QUIT -C '/home/a b' -- \
  'PATH=/usr/bin:/bin' 'TERM=xterm' \
  sh -c 'echo "it'\''s $HOME"
'
END_OF_INIT

cat >"$work/reaper.sh" <<'END_OF_REAPER'
# PID 1. The shell reaps every child it gets; the command is one of them, with the standard input that was given.
exec 3<&0
for signal in HUP INT QUIT USR1 USR2 TERM CONT WINCH; do
  trap "kill -s $signal \"\$child\" 2>/dev/null" "$signal"
done
"$@" <&3 3<&- &
child=$!
exec 3<&- </dev/null
while :; do
  status=0
  wait "$child" || status=$?
  kill -0 "$child" 2>/dev/null || exit "$status"
done
END_OF_REAPER

# The process that becomes the container, as a child in new namespaces: the caller stays outside,
# waits, and takes over its exit code. A new PID namespace is for children only, hence --fork.
# With a terminal the container gets one of its own from script(1), if the caller has one. It is of
# the machine's devpts, not the container's.
cat >"$work/launch.sh" <<'END_OF_LAUNCH'
exec setpriv --pdeathsig KILL \
  unshare --mount --pid --net --ipc --uts --propagation unchanged --fork --kill-child=KILL \
  sh "$work/init-1.sh"
END_OF_LAUNCH
status=0
if [ -t 0 ] && [ -t 1 ] && command -v script >/dev/null; then
  SHELL=/bin/sh script -q -e -c ". \"$work/launch.sh\"" /dev/null || status=$?
else
  sh "$work/launch.sh" || status=$?
fi
exit "$status"
