#!/bin/sh
# The container "rootless" as a script for sh, util-linux and coreutils, printed by `tupper script`.
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
work=$(mktemp -d /run/user/1000/tupper-script.XXXXXX)
state=$work/state bag=$work/bag
mkdir "$state" "$bag"
export umask_before work state bag

# Whatever happens, nothing is left: the control groups and the directory go when the script ends.
# Mounts need no care, they vanish with the mount namespace.
mapper=
cleanup() {
  [ -z "$mapper" ] || kill "$mapper" 2>/dev/null || :
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# 1. recordState: the next command must find and clean up what a crash leaves behind. See mkdir(2).
# (here it is the directory $work, which the trap above removes)

# 2. clone: the process that becomes the container, born inside its new namespaces
# [linux.namespaces]. See clone(2), namespaces(7), user_namespaces(7), mount_namespaces(7),
# pid_namespaces(7), uts_namespaces(7).
# (`unshare --fork` at the end of this script)

# 3. mapIds: which ids outside the ids inside are; the kernel takes them once, from a process
# outside [linux.uidMappings]. See user_namespaces(7).
# (a helper waits for the process just before `unshare`, at the end of this script)

# The init process: its functions, then what it does, in files so that standard input stays free.
cat >"$work/functions.sh" <<'END_OF_FUNCTIONS'
set -eu
# Only a set-up that failed gets as far as this: the last command replaces the shell.
trap 'exit 125' EXIT
export LC_ALL=C
unset LD_LIBRARY_PATH LD_PRELOAD
tool= # "tool" after pivot_root

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

# 4. parentDeathSignal: a container in the foreground must not outlive the command that runs it. See
# prctl(2).
# (`unshare --kill-child` at the end of this script)

# 5. setUmask: directories and devices get exactly the modes that the plan says. See umask(2).
# (here the commands say the modes themselves, and keep the umask 022 for all others)

# 6. becomeMappedRoot: the first process of a user namespace has all capabilities in it, but no id
# until the maps are there. See user_namespaces(7).
read -r pid _ </proc/self/stat
echo "$pid" >"$work/ready"
read -r answer <"$work/mapped"
# Now that uid 0 is mapped, become it. --keep-caps of `unshare` kept the capabilities until here.
exec setpriv --reuid 0 --regid 0 --clear-groups --inh-caps -all --ambient-caps -all sh "$work/init-2.sh"
END_OF_INIT

cat >"$work/init-2.sh" <<'END_OF_INIT'
. "$work/functions.sh"

# 9. propagation: mounts made here must not spread to the machine, and pivot_root refuses a shared
# parent. See mount_namespaces(7).
mount -n -i --make-rslave /

# The bag: tools for the time after pivot_root, when the host's files are out of sight and the
# container may have none. It is a tmpfs that only this process sees. The shell stands in it when
# the old root is detached, and the bag with it: from then on it is in no mount table and has no
# path, but it is still the working directory, and ./setpriv can be executed. The last of the tools,
# env -C, goes to the container's directory and executes the command; then nothing refers to the
# bag, and the kernel drops it.
mount -n -i -t tmpfs -o mode=755 tmpfs "$bag"
pack env ln mkdir mount setpriv setsid umount
ld=; [ ! -e "$bag/ld.so" ] || ld="./ld.so --library-path ."
export ld

# What does not depend on the root.
hostname tupperware
if command -v keyctl >/dev/null; then keyctl new_session _ses.rootless >/dev/null; else
  warn 'keyctl(1) is missing: the container keeps the caller'\''s session keyring'
fi

# 7. takeFilesystem: ps, /proc/self and much of the C library need it; it shows the processes of the
# container's PID namespace [mounts[0]]. See fsopen(2), fsmount(2), mount_namespaces(7).
# (mount(8) makes and places in one: proc is mounted where it belongs below)

# 8. takeFilesystem: devices and drivers as files; its network part is the container's own
# [mounts[3]]. See fsopen(2), fsmount(2), mount_namespaces(7).
# (mount(8) makes and places in one: sysfs is mounted where it belongs below)

# 10. mount: writes of the container go to memory of this size and vanish with it
# [annotations["tupper.root.size"]]. See tmpfs(5), mount(2).
mount -n -i -t tmpfs -o 'mode=755,size=524288000' tmpfs "$state"

# 11. makeDirectory: where the overlay is mounted. See mkdir(2).
mkdir -p -m 0755 "$state"/root

# 12. makeDirectory: an overlay shows this directory and keeps it untouched. See mkdir(2).
mkdir -p -m 0755 "$state"/lower

# 13. bind: gives the lower layer a short name, so that `mount` inside shows no path of the machine
# [root.path]. See mount(2).
mount -n -i --bind /srv/root "$state"/lower

# 14. makeDirectory: what the container writes; its mode and owner are those that the mount will
# show. See mkdir(2).
mkdir -p -m 0755 "$state"/upper
chmod --reference="$state"/lower "$state"/upper

# 15. makeDirectory: the overlay prepares files here before they appear. See mkdir(2).
mkdir -p -m 0755 "$state"/work

# 16. changeDirectory: the layers are named relative to here. See chdir(2).
cd "$state"

# 17. mount: copy-on-write: reads come from the lower layer, writes go to the upper one [root.path].
# See mount(8), mount(2).
mount -n -i -t overlay -o 'lowerdir=lower,upperdir=upper,workdir=work,userxattr' overlay root

# 18-23. takeTree: every container has this device (config-linux.md, Default Devices); a user
# namespace cannot make device nodes. See open_tree(2).
take_tree /dev/null device__dev_null --bind rprivate
set_mount_flags recursive nosuid,noexec "$bag/device__dev_null"
take_tree /dev/zero device__dev_zero --bind rprivate
set_mount_flags recursive nosuid,noexec "$bag/device__dev_zero"
take_tree /dev/full device__dev_full --bind rprivate
set_mount_flags recursive nosuid,noexec "$bag/device__dev_full"
take_tree /dev/random device__dev_random --bind rprivate
set_mount_flags recursive nosuid,noexec "$bag/device__dev_random"
take_tree /dev/urandom device__dev_urandom --bind rprivate
set_mount_flags recursive nosuid,noexec "$bag/device__dev_urandom"
take_tree /dev/tty device__dev_tty --bind rprivate
set_mount_flags recursive nosuid,noexec "$bag/device__dev_tty"

# 24. changeDirectory: pivot_root is called from inside the new root. See chdir(2).
cd "$state"/root

# 25. pivotRoot: the new root becomes /, and the old one is stacked on it: no directory for it is
# needed, and unlike chroot it can be left for good. See pivot_root(2).
# The shell waits in the bag: pivot_root would take it along if it stood in the old root itself.
cd "$bag"
pivot_root "$state"/root "$state"/root
tool=tool

# 27. placeTree: proc was made while the machine's was in sight, as the kernel demands [mounts[0]].
# See move_mount(2).
[ ! -L /proc ] || die /proc 'is a symbolic link'
[ -e /proc ] || tool mkdir -p /proc
tool mount -n -i -t proc -o nosuid,noexec,nodev proc /proc

# 28. mount: a /dev of the container's own: nothing of the machine's devices is in it [mounts[1]].
# See tmpfs(5), mount(2).
[ -e /dev ] || tool mkdir -p /dev
tool mount -n -i -t tmpfs -o 'nosuid,strictatime,mode=755,size=65536k' tmpfs /dev

# 29. mount: pseudo-terminals of the container alone (newinstance) [mounts[2]]. See pts(4),
# mount(2).
[ -e /dev/pts ] || tool mkdir -p /dev/pts
tool mount -n -i -t devpts -o 'nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5' devpts /dev/pts

# 30. placeTree: sysfs was made while the machine's was in sight, as the kernel demands [mounts[3]].
# See move_mount(2).
[ ! -L /sys ] || die /sys 'is a symbolic link'
[ -e /sys ] || tool mkdir -p /sys
tool mount -n -i -t sysfs -o nosuid,noexec,nodev,ro sysfs /sys

# 31-36. placeTree: every container has this device (config-linux.md, Default Devices). See
# move_mount(2).
place_tree device__dev_null /dev/null
place_tree device__dev_zero /dev/zero
place_tree device__dev_full /dev/full
place_tree device__dev_random /dev/random
place_tree device__dev_urandom /dev/urandom
place_tree device__dev_tty /dev/tty

# 37-41. makeLink: programs expect it (config-linux.md, Default Devices). See symlink(2).
[ -e /dev/fd ] || [ -L /dev/fd ] || tool ln -s /proc/self/fd /dev/fd
[ -e /dev/stdin ] || [ -L /dev/stdin ] || tool ln -s /proc/self/fd/0 /dev/stdin
[ -e /dev/stdout ] || [ -L /dev/stdout ] || tool ln -s /proc/self/fd/1 /dev/stdout
[ -e /dev/stderr ] || [ -L /dev/stderr ] || tool ln -s /proc/self/fd/2 /dev/stderr
tool ln -s -f pts/ptmx /dev/ptmx

# 26. detach: the old root is stacked on the new one: before any path of the rootfs is followed, it
# must be gone. See umount(2).
tool umount -n -i -c -l /

# 42. setHostname: the UTS namespace has a name of its own [hostname]. See sethostname(2).
# (done above, before pivot_root: it does not depend on the root, and the host's program was in
# sight)

# 43. newKeyring: keys of the caller's session must not be reachable from inside. See
# session-keyring(7).
# (done above, before pivot_root: it does not depend on the root, and the host's program was in
# sight)

# 44. newSession: the caller's terminal must not be the container's to control. See setsid(2),
# credentials(7).
# (done by the last command of the init process)

# 45. changeDirectory: the command starts here [process.cwd]. See chdir(2).
# (`env -C` of the last command: until then the shell must stay with its tools)

# 46. setUmask: the permissions that new files do not get [process.user.umask]. See umask(2).
umask 022

# 47. closeDescriptors: a descriptor of the set-up would be a way out (CVE-2024-21626). See
# close_range(2).
# (done by the last command of the init process)

# 48. limitBoundingSet: no program, not even a set-user-id one, can gain more than this
# [process.capabilities.bounding]. See capabilities(7).
# (done by the last command of the init process)

# 49. setUser: who the command runs as [process.user]. See credentials(7), setresuid(2).
# (done by the last command of the init process)

# 50. setCapabilities: root without these is much less than root; inheritable stays empty
# (CVE-2022-24769) [process.capabilities]. See capabilities(7).
# (done by the last command of the init process)
# (effective and permitted follow at execve: for root the bounding set, for others the ambient set;
# capabilities(7))

# 51. exec: the set-up becomes the command [process.args]. See execve(2).
exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
exec $ld ./setsid \
  $ld ./setpriv --bounding-set -all,+chown,+kill,+setgid,+setuid --reuid 0 --regid 0 --clear-groups --inh-caps -all --ambient-caps -all -- \
  $ld ./env -i -C / -- \
  'PATH=/usr/bin:/bin' 'TERM=xterm' \
  sh
END_OF_INIT

# Writes the id maps of the init process, from outside, once it has said its process id.
mkfifo "$work/ready" "$work/mapped"
{
  read -r init_pid <"$work/ready"
  newuidmap "$init_pid" 0 1000 1 1 100000 65535
  newgidmap "$init_pid" 0 1000 1 1 100000 65535
  echo >"$work/mapped"
} &
mapper=$!

# The process that becomes the container, as a child in new namespaces: the caller stays outside,
# waits, and takes over its exit code. A new PID namespace is for children only, hence --fork.
status=0
setpriv --pdeathsig KILL \
  unshare --user --mount --pid --uts --propagation unchanged --keep-caps --fork --kill-child=KILL \
  sh "$work/init-1.sh" || status=$?
exit "$status"
