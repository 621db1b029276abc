/*
 * floor: the least that the kernel takes for a container of the default spec. What a runtime costs above it is the runtime's.
 *
 *     floor [no-network | network=FILE] [seccomp=FILE] ID ROOTFS COMMAND [ARG…]
 *
 * The same kernel work as `tupper-runtime run` of what `crun spec` gives (bundles.ts): namespaces, a group in each hierarchy
 * with the device rules, the mounts, pivot_root, devices, hidden paths, hostname, lo, session keyring, limits, capabilities,
 * no_new_privs, the filter (BPF as the kernel takes it, from FILE), execve; then wait, and the groups are removed.
 * Nothing else: it reads no config, keeps no state, protects nothing, checks nothing of ROOTFS, and every failure ends it with 70.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPEN_TREE_CLONE 1
#define MOVE_MOUNT_F_EMPTY_PATH 4
#define MOUNT_ATTR_RDONLY 1
#define MOUNT_ATTR_REST 14
#define SYS_open_tree_ 428
#define SYS_open_tree_attr_ 467
#define SYS_move_mount_ 429
#define SYS_mount_setattr_ 442
#define SYS_close_range_ 436
#define RECURSIVE 0x8000
#define CLOSE_ON_EXEC 4
#define HIERARCHIES 16

struct attributes { unsigned long long set, clear, propagation, user_namespace; };

static char *id, *rootfs, **command, *network, *filter;
static int has_network = 1;
static struct hierarchy { char mount[64]; char group[512]; int is_v2, tree; } hierarchies[HIERARCHIES];
static int count;

static void die(const char *what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  _exit(70);
}
static void check(long result, const char *what) {
  if (result < 0) die(what);
}

/* Returns the file's length. */
static long read_file(const char *path, char *buffer, long size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  check(fd, path);
  long length = 0, got;
  while ((got = read(fd, buffer + length, size - 1 - length)) > 0) length += got;
  buffer[length] = 0;
  close(fd);
  return length;
}

static void write_file(const char *directory, const char *name, const char **texts, int length) {
  char path[600];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  check(fd, path);
  for (int i = 0; i < length; i++) check(write(fd, texts[i], strlen(texts[i])), path);
  close(fd);
}

static void find_hierarchies(void) {
  static char text[1 << 16];
  read_file("/proc/self/mountinfo", text, sizeof text);
  for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
    char *type = strstr(line, " - cgroup");
    if (!type || count == HIERARCHIES) continue;
    char mount[64];
    if (sscanf(line, "%*s %*s %*s %*s %63s", mount) != 1) continue;
    struct hierarchy *h = &hierarchies[count++];
    strcpy(h->mount, mount);
    h->is_v2 = type[9] == '2';
    snprintf(h->group, sizeof h->group, "%s/%s", mount, id);
  }
}

/* On v2 beside v1 there is one more group and nothing in it. On v2 alone devices are a BPF program: left away here. */
static void make_groups(void) {
  static const char *deny[] = { "a" };
  static const char *allow[] = { "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
                                 "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm", "c 10:200 rwm" };
  for (int i = 0; i < count; i++) {
    struct hierarchy *h = &hierarchies[i];
    check(mkdir(h->group, 0755), h->group);
    if (strstr(h->mount, "/devices")) {
      write_file(h->group, "devices.deny", deny, 1);
      write_file(h->group, "devices.allow", allow, 12);
    }
    if (!strstr(h->mount, "/cpuset")) continue;
    for (int file = 0; file < 2; file++) {
      const char *name = file ? "cpuset.mems" : "cpuset.cpus";
      char path[600], value[256];
      snprintf(path, sizeof path, "%s/%s", h->mount, name);
      read_file(path, value, sizeof value);
      const char *texts[] = { value };
      write_file(h->group, name, texts, 1);
    }
  }
}

static void mount_at(const char *type, const char *path, unsigned long flags, const char *data) {
  check(mount(type, path, type, flags, data), path);
}

/* A group as it will be seen inside: read-only, nosuid, nodev, noexec. open_tree_attr(2) since Linux 6.15. */
static int take_tree(const char *path) {
  struct attributes attributes = { MOUNT_ATTR_RDONLY | MOUNT_ATTR_REST, 0, 0, 0 };
  int tree = syscall(SYS_open_tree_attr_, AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC, &attributes, sizeof attributes);
  if (tree >= 0) return tree;
  check(tree = syscall(SYS_open_tree_, AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC), path);
  check(syscall(SYS_mount_setattr_, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes), path);
  return tree;
}

static void mount_groups(void) {
  mount_at("tmpfs", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME, "mode=755,size=1m");
  struct attributes readonly = { MOUNT_ATTR_RDONLY, 0, 0, 0 };
  for (int i = 0; i < count; i++) {
    struct hierarchy *h = &hierarchies[i];
    const char *path = strncmp(h->mount, "/sys/fs/cgroup/", 15) ? "/sys/fs/cgroup" : h->mount;
    if (path == h->mount) check(mkdir(path, 0755), path);
    check(syscall(SYS_move_mount_, h->tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH), path);
  }
  check(syscall(SYS_mount_setattr_, AT_FDCWD, "/sys/fs/cgroup", 0, &readonly, sizeof readonly), "mount_setattr");
}

static void make_devices(void) {
  static const struct { const char *path; int major, minor; } nodes[] = {
    { "/dev/null", 1, 3 }, { "/dev/zero", 1, 5 }, { "/dev/full", 1, 7 }, { "/dev/random", 1, 8 },
    { "/dev/urandom", 1, 9 }, { "/dev/tty", 5, 0 },
  };
  for (int i = 0; i < 6; i++) check(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), nodes[i].path);
  static const char *links[][2] = { { "/proc/self/fd", "/dev/fd" }, { "/proc/self/fd/0", "/dev/stdin" },
    { "/proc/self/fd/1", "/dev/stdout" }, { "/proc/self/fd/2", "/dev/stderr" }, { "pts/ptmx", "/dev/ptmx" } };
  for (int i = 0; i < 5; i++) check(symlink(links[i][0], links[i][1]), links[i][1]);
}

static void hide_paths(void) {
  static const char *masked[] = { "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi" };
  static const char *readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
  for (int i = 0; i < 10; i++) {
    if (!mount("/dev/null", masked[i], NULL, MS_BIND, NULL) || errno == ENOENT) continue;
    if (errno != ENOTDIR) die(masked[i]);
    mount_at("tmpfs", masked[i], MS_RDONLY, "size=0k");
  }
  struct attributes attributes = { MOUNT_ATTR_RDONLY, 0, 0, 0 };
  for (int i = 0; i < 5; i++) {
    if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL)) {
      if (errno == ENOENT) continue;
      die(readonly[i]);
    }
    check(syscall(SYS_mount_setattr_, AT_FDCWD, readonly[i], RECURSIVE, &attributes, sizeof attributes), readonly[i]);
  }
}

static void take_privileges(void) {
  static const int kept[] = { CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FSETID, CAP_FOWNER, CAP_MKNOD, CAP_NET_RAW, CAP_SETGID, CAP_SETUID,
    CAP_SETFCAP, CAP_SETPCAP, CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT, CAP_KILL, CAP_AUDIT_WRITE };
  unsigned long long mask = 0;
  for (int i = 0; i < 14; i++) mask |= 1ULL << kept[i];
  for (int cap = 0; cap < 64; cap++)
    if (!(mask >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0)) break;
  check(syscall(SYS_setgroups, 0, NULL), "setgroups");
  check(syscall(SYS_setresgid, 0, 0, 0), "setresgid");
  check(syscall(SYS_setresuid, 0, 0, 0), "setresuid");
  struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
  struct __user_cap_data_struct data[2] = { { mask, mask, 0 }, { mask >> 32, mask >> 32, 0 } };
  check(syscall(SYS_capset, &header, data), "capset");
  check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient");
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
}

/* Read while the machine's files are in sight. */
static struct sock_fprog filter_program;
static void read_filter(void) {
  static char program[1 << 16];
  filter_program = (struct sock_fprog){ read_file(filter, program, sizeof program) / sizeof(struct sock_filter), (void *)program };
}

static void join_groups(void) {
  for (int i = 0; i < count; i++) {
    static const char *zero[] = { "0" };
    if (!hierarchies[i].is_v2) write_file(hierarchies[i].group, "tasks", zero, 1);
  }
  check(unshare(CLONE_NEWCGROUP), "unshare");
}

static _Noreturn void child(void) {
  check(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "pdeathsig");
  umask(0);
  join_groups();
  for (int i = 0; i < count; i++)
    hierarchies[i].tree = take_tree(hierarchies[i].group);
  check(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL), "/");
  check(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL), rootfs);
  check(mount(NULL, rootfs, NULL, MS_PRIVATE, NULL), rootfs);
  check(chdir(rootfs), rootfs);
  check(syscall(SYS_pivot_root, ".", "."), "pivot_root");
  check(umount2(".", MNT_DETACH), "umount2");
  check(chdir("/"), "/");
  mount_at("proc", "/proc", 0, NULL);
  mount_at("tmpfs", "/dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
  check(mkdir("/dev/pts", 0755) | mkdir("/dev/shm", 0755) | mkdir("/dev/mqueue", 0755), "mkdir");
  mount_at("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
  mount_at("tmpfs", "/dev/shm", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k");
  mount_at("mqueue", "/dev/mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
  mount_at("sysfs", "/sys", MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
  mount_groups();
  make_devices();
  hide_paths();
  check(sethostname("floor", 5), "sethostname");
  if (has_network && !network) {
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq lo = { .ifr_name = "lo" };
    lo.ifr_flags = IFF_UP;
    check(ioctl(sock, SIOCSIFFLAGS, &lo), "lo");
    close(sock);
  }
  long keyring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, id);
  check(keyring, "keyctl");
  check(syscall(SYS_keyctl, KEYCTL_SETPERM, keyring, 0x3f1b0000), "keyctl");
  setsid();
  struct rlimit files = { 1024, 1024 };
  check(setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
  take_privileges();
  umask(022);
  check(syscall(SYS_close_range_, 3, ~0U, CLOSE_ON_EXEC), "close_range");
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  static char *environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", NULL };
  if (filter) check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &filter_program), "seccomp");
  execve(command[0], command, environment);
  die(command[0]);
  _exit(70);
}

/* As vfork(2): the child runs on our stack and memory, and we sleep until it executes. Inline, because it must not return. */
static inline __attribute__((always_inline)) long clone_like_vfork(struct clone_args *args) {
  long pid;
  __asm__ volatile("syscall" : "=a"(pid) : "a"(435), "D"(args), "S"(sizeof *args) : "rcx", "r11", "memory");
  return pid;
}

int main(int argc, char **argv) {
  int next = 1;
  for (; next < argc; next++) {
    if (!strcmp(argv[next], "no-network")) has_network = 0;
    else if (!strncmp(argv[next], "network=", 8)) network = argv[next] + 8;
    else if (!strncmp(argv[next], "seccomp=", 8)) filter = argv[next] + 8;
    else break;
  }
  if (argc - next < 3) {
    fputs("usage: floor [no-network | network=FILE] [seccomp=FILE] ID ROOTFS COMMAND [ARG...]\n", stderr);
    return 64;
  }
  id = argv[next], rootfs = argv[next + 1], command = &argv[next + 2];
  if (filter) read_filter();
  find_hierarchies();
  make_groups();
  if (network) {
    int fd = open(network, O_RDONLY | O_CLOEXEC);
    check(fd, network);
    check(setns(fd, CLONE_NEWNET), network);
  }
  struct clone_args args = { .flags = CLONE_VM | CLONE_VFORK | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS, .exit_signal = SIGCHLD };
  if (has_network && !network) args.flags |= CLONE_NEWNET;
  for (int i = 0; i < count; i++) {
    if (!hierarchies[i].is_v2) continue;
    args.flags |= CLONE_INTO_CGROUP;
    check(args.cgroup = open(hierarchies[i].group, O_PATH | O_DIRECTORY | O_CLOEXEC), hierarchies[i].group);
  }
  long pid = clone_like_vfork(&args);
  check(pid, "clone3");
  if (pid == 0) child();
  int status;
  check(waitpid(pid, &status, 0), "waitpid");
  for (int i = 0; i < count; i++) check(rmdir(hierarchies[i].group), hierarchies[i].group);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
