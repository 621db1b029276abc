/*
 * Calls that older kernels lack, done with what they have. Each function here stands in for the call of its name: it gets
 * the kernel's answer and the call's arguments, and returns the result or -errno. Nobody pays for it where the call is there.
 */
#ifndef OLD_KERNELS_H
#define OLD_KERNELS_H

#include <dirent.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <sys/resource.h>
#include <sys/vfs.h>

#define PROC_SUPER 0x9fa0
#define PROC_ROOT_INODE 1

/*
 * Whether the answer says that there is no such call: ENOSYS, or EPERM of a seccomp filter that does not know it, as those
 * of Docker before 20.10.10 answer. Arguments that no kernel accepts tell the two kinds of EPERM apart: whoever looks at
 * them answers EINVAL, E2BIG or EBADF.
 */
static int is_missing(long call, long answer) {
  if (answer == -ENOSYS) return 1;
  return answer == -EPERM && syscall(call, -1, -1, -1, -1, -1, -1) < 0 && (errno == EPERM || errno == ENOSYS);
}

/* For calls without a stand-in: one answer for "not there". */
static long absent_is_enosys(long call, long answer) {
  return answer == -EPERM && is_missing(call, answer) ? -ENOSYS : answer;
}

/* ---- openat2 (5.6) ------------------------------------------------------------------------ */

#define WALK_DEPTH 256
#define WALK_LINKS 40

struct walk {
  int at[WALK_DEPTH]; /* from the root down to where the walk stands: `..` goes back, and nothing but descent gets out */
  int depth;
  uint64_t resolve;
  uint64_t mount;
};

/* Which mount a descriptor is on. statx(2), Linux 5.8. */
static int mount_of(int fd, uint64_t *id) {
  struct statx s;
  if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &s) < 0) return -errno;
  if (!(s.stx_mask & STATX_MNT_ID)) return -ENOSYS;
  *id = s.stx_mnt_id;
  return 0;
}

static int same_mount(const struct walk *w, int fd) {
  uint64_t id;
  if (!(w->resolve & RESOLVE_NO_XDEV)) return 0;
  const int r = mount_of(fd, &id);
  return r < 0 ? r : id == w->mount ? 0 : -EXDEV;
}

/* Links of procfs that are not below its root (self, mounts, net) lead where no path does. proc_pid_fd(5) */
static int is_magic(int directory) {
  struct statfs fs;
  struct stat s;
  if (fstatfs(directory, &fs) < 0 || fs.f_type != PROC_SUPER) return 0;
  return fstat(directory, &s) < 0 || s.st_ino != PROC_ROOT_INODE;
}

static int descend(struct walk *w, int fd) {
  if (w->depth == WALK_DEPTH) { close(fd); return -ENAMETOOLONG; }
  w->at[w->depth++] = fd;
  return 0;
}

static int climb_to(struct walk *w, int depth) {
  while (w->depth > depth) close(w->at[--w->depth]);
  return 0;
}

/* `..`: the root is its own parent, or the end of the walk. */
static int climb(struct walk *w) {
  if (w->depth > 1) return climb_to(w, w->depth - 1);
  return w->resolve & RESOLVE_BENEATH ? -EXDEV : 0;
}

/* Splices what a link says before the rest of the path. */
static int splice_link(const struct walk *w, int link, int directory, char *path, const char *rest) {
  char text[PATH_MAX], joined[PATH_MAX];
  if (w->resolve & RESOLVE_NO_SYMLINKS) return -ELOOP;
  if (is_magic(directory)) return w->resolve & RESOLVE_NO_MAGICLINKS ? -ELOOP : -EXDEV;
  const ssize_t n = syscall(SYS_readlinkat, link, "", text, sizeof text - 1);
  if (n < 0) return -errno;
  if (n == 0) return -ENOENT;
  text[n] = 0;
  if (snprintf(joined, sizeof joined, "%s%s%s", text, *rest ? "/" : "", rest) >= (int)sizeof joined) return -ENAMETOOLONG;
  strcpy(path, joined);
  return 0;
}

static long walk_to(struct walk *w, char *path, const struct open_how *how) {
  int links = 0;
  for (;;) {
    if (*path == '/') {
      const int r = w->resolve & RESOLVE_BENEATH ? -EXDEV : climb_to(w, 1);
      if (r < 0) return r;
    }
    const char *name = path + strspn(path, "/");
    const size_t length = strcspn(name, "/");
    const char *rest = name + length + strspn(name + length, "/");
    const int here = w->at[w->depth - 1], last = *rest == 0, slash = last && name[length] == '/';
    char part[NAME_MAX + 1];
    if (length > NAME_MAX) return -ENAMETOOLONG;
    memcpy(part, name, length);
    part[length] = 0;
    const int up = strcmp(part, "..") == 0;
    if (up || length == 0 || strcmp(part, ".") == 0) {
      const int r = up ? climb(w) : 0;
      if (r < 0) return r;
      if (last) {
        const long fd = openat(w->at[w->depth - 1], ".", how->flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW), 0);
        return fd < 0 ? -errno : fd;
      }
      memmove(path, rest, strlen(rest) + 1);
      continue;
    }
    const long fd = openat(here, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat s;
    int r = fd < 0 ? -errno : fstat(fd, &s) < 0 ? -errno : same_mount(w, fd);
    const int follow = r == 0 && S_ISLNK(s.st_mode) && !(last && !slash && how->flags & O_NOFOLLOW);
    if (r < 0 || follow) {
      if (follow) r = ++links > WALK_LINKS ? -ELOOP : splice_link(w, fd, here, path, rest);
      if (follow && r == 0 && slash && strlen(path) + 1 < PATH_MAX) strcat(path, "/");
      if (fd >= 0) close(fd);
      if (r < 0) return r;
      continue;
    }
    if (!last) {
      if (!S_ISDIR(s.st_mode)) { close(fd); return -ENOTDIR; }
      if ((r = descend(w, fd)) < 0) return r;
      memmove(path, rest, strlen(rest) + 1);
      continue;
    }
    close(fd);
    /* A link that has come in its place since is not followed. */
    const long found = openat(here, part, how->flags | O_NOFOLLOW | (slash ? O_DIRECTORY : 0), 0);
    if (found < 0) return -errno;
    if (fstat(found, &s) < 0) r = -errno;
    else if (S_ISLNK(s.st_mode) && !(how->flags & O_NOFOLLOW)) r = -EAGAIN;
    else r = same_mount(w, found);
    if (r < 0) close(found);
    return r < 0 ? r : found;
  }
}

/* Component by component, no link followed by the kernel. Only below a directory or our root, and without O_CREAT. */
static long old_openat2(long answer, int dirfd, const char *path, const void *how, size_t size) {
  const struct open_how *h = how;
  const uint64_t known = RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  if (!is_missing(SYS_openat2, answer)) return answer;
  if (size != sizeof *h || h->resolve & ~known) return -ENOSYS;
  /* An absolute path is one below our own root. */
  const int scoped = (h->resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) != 0;
  if (!scoped && (*path != '/' || !(h->resolve & RESOLVE_NO_MAGICLINKS))) return -ENOSYS;
  if (h->flags & (O_CREAT | O_TMPFILE) & ~O_DIRECTORY) return -ENOSYS;
  char rest[PATH_MAX];
  if (*path == 0) return -ENOENT;
  if (snprintf(rest, sizeof rest, "%s", path) >= (int)sizeof rest) return -ENAMETOOLONG;
  struct walk w = { .resolve = h->resolve };
  const int top = openat(dirfd, scoped ? "." : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (top < 0) return -errno;
  descend(&w, top);
  long r = h->resolve & RESOLVE_NO_XDEV ? mount_of(top, &w.mount) : 0;
  if (r == 0) r = walk_to(&w, rest, h);
  climb_to(&w, 0);
  return r;
}

/* ---- close_range (5.9; CLOSE_RANGE_CLOEXEC 5.11) ------------------------------------------ */

static void close_one(int fd, int flags) {
  if (flags & CLOSE_RANGE_CLOEXEC) fcntl(fd, F_SETFD, FD_CLOEXEC);
  else close(fd);
}

/* Without a /proc every number that may be one is asked about, many at once. */
static void close_by_poll(unsigned first, unsigned last, int flags) {
  static struct pollfd asked[1024];
  struct rlimit limit;
  unsigned step = 1024, end = 1 << 20;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < step) step = limit.rlim_cur > 0 ? limit.rlim_cur : 1;
  if (last < end) end = last + 1;
  for (unsigned from = first; from < end; from += step) {
    const unsigned count = end - from < step ? end - from : step;
    for (unsigned i = 0; i < count; i++) asked[i] = (struct pollfd){ .fd = from + i };
    if (poll(asked, count, 0) < 0) continue;
    for (unsigned i = 0; i < count; i++) if (!(asked[i].revents & POLLNVAL)) close_one(from + i, flags);
  }
}

static long old_close_range(long answer, int64_t first, int64_t last, int64_t flags) {
  if (answer != -EINVAL && !is_missing(SYS_close_range, answer)) return answer;
  if (first < 0 || last < first || flags & ~(int64_t)CLOSE_RANGE_CLOEXEC) return -EINVAL;
  char entries[4096];
  struct statfs fs;
  const int list = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (list < 0) { close_by_poll(first, last, flags); return 0; }
  if (fstatfs(list, &fs) < 0 || fs.f_type != PROC_SUPER) { close(list); close_by_poll(first, last, flags); return 0; }
  long n;
  while ((n = syscall(SYS_getdents64, list, entries, sizeof entries)) > 0) {
    for (long i = 0; i < n;) {
      const struct dirent *entry = (void *)(entries + i);
      const long fd = atol(entry->d_name);
      if (*entry->d_name != '.' && fd != list && fd >= first && fd <= last) close_one(fd, flags);
      i += entry->d_reclen;
    }
  }
  close(list);
  return 0;
}

/* ---- pidfd_open (5.3), pidfd_send_signal (5.1) -------------------------------------------- */

/*
 * The process's directory in /proc: it stays that of this process, whoever gets the number later. It is always ready to
 * be read, so a poll says nothing of the process's end (src/execute/process-end.ts).
 */
static long old_pidfd_open(long answer, int64_t pid, int64_t flags) {
  char path[32];
  if (flags || !is_missing(SYS_pidfd_open, answer)) return answer;
  snprintf(path, sizeof path, "/proc/%lld", (long long)pid);
  const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return fd >= 0 ? fd : errno == ENOENT ? -ESRCH : -errno;
}

/* By number, which is looked up just before. `pidfd` is one, or such a directory. */
static long old_pidfd_send_signal(long answer, int pidfd, int64_t signal, const void *info, int64_t flags) {
  char text[512], path[64];
  if (info || flags || !is_missing(SYS_pidfd_send_signal, answer)) return answer;
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
  int file = openat(pidfd, "stat", O_RDONLY | O_CLOEXEC);
  if (file < 0 && errno == ENOTDIR) file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return errno == ENOENT ? -ESRCH : -errno;
  const ssize_t n = read(file, text, sizeof text - 1);
  const int e = errno;
  close(file);
  if (n < 0) return -e;
  text[n] = 0;
  const char *named = strstr(text, "\nPid:");
  const long pid = strtol(named ? named + 5 : text, NULL, 10);
  if (pid <= 0) return -ESRCH;
  return kill(pid, signal) < 0 ? -errno : 0;
}

#endif
