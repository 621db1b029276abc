/* A prisoner who has its own control group, writable, below which it freezes what it likes: v1's freezer or v2 (cgroup.freeze). The
 * first argument is the group, the second what to do:
 *
 *   nested  a process in a group two levels below, each frozen by itself; then this one waits
 *   loop    the same, and both are frozen again and again
 *   joiners whoever appears in the group is put into a frozen group below it
 *   stop    whoever appears at all is stopped by a signal, which needs no group
 *   deep    groups in one another, until no path names the last one, with a frozen process in it
 *
 * Says `ready`, then `held` with each that it has put there. This process itself is in a group of its own beside them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char base[4096];
static int v2;

static int put(const char *group, const char *file, const char *value) {
  char path[8192];
  snprintf(path, sizeof path, "%s%s/%s", base, group, file);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t n = write(fd, value, strlen(value));
  close(fd);
  return n < 0 ? -1 : 0;
}

static void freeze(const char *group) { put(group, v2 ? "cgroup.freeze" : "freezer.state", v2 ? "1" : "FROZEN"); }

static void make(const char *group) {
  char path[8192];
  snprintf(path, sizeof path, "%s%s", base, group);
  mkdir(path, 0755);
}

static void move(const char *group, int pid) {
  char text[16];
  snprintf(text, sizeof text, "%d", pid);
  put(group, "cgroup.procs", text);
}

static void move_others(void) {
  char path[8192];
  snprintf(path, sizeof path, "%s/cgroup.procs", base);
  FILE *list = fopen(path, "re");
  for (int pid; list && fscanf(list, "%d", &pid) == 1;) {
    char text[16];
    snprintf(text, sizeof text, "%d", pid);
    if (pid > 0 && put("/below", "cgroup.procs", text) == 0) puts("held"), fflush(stdout);
  }
  if (list) fclose(list);
}

static void put_here(const char *file, const char *value) {
  int fd = open(file, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, value, strlen(value)) < 0) perror(file);
  close(fd);
}

static int make_deep(int child) {
  char name[201], pid[16];
  memset(name, 'd', 200);
  name[200] = 0;
  if (chdir(base)) return 1;
  for (int level = 0; level < 40; level++)
    if (mkdir(name, 0755) || chdir(name)) return 1;
  snprintf(pid, sizeof pid, "%d", child);
  put_here("cgroup.procs", pid);
  put_here(v2 ? "cgroup.freeze" : "freezer.state", v2 ? "1" : "FROZEN");
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  snprintf(base, sizeof base, "%s/cgroup.kill", argv[1]);
  v2 = access(base, F_OK) == 0;
  snprintf(base, sizeof base, "%s", argv[1]);
  make("/own");
  move("/own", getpid());
  make("/below");
  make("/below/deeper");
  int joiners = strcmp(argv[2], "joiners") == 0, stop = strcmp(argv[2], "stop") == 0;
  if (joiners) freeze("/below");
  else if (!stop) {
    int child = fork();
    if (child == 0) for (;;) pause();
    if (strcmp(argv[2], "deep") == 0) {
      if (make_deep(child)) return perror("deep"), 1;
    } else move("/below/deeper", child);
    freeze("/below/deeper");
    freeze("/below");
  }
  puts("ready");
  fflush(stdout);
  for (;;) {
    if (joiners) move_others();
    else if (stop) {
      if (kill(-1, SIGSTOP) == 0) puts("held"), fflush(stdout);
    } else if (strcmp(argv[2], "loop") == 0) freeze("/below/deeper"), freeze("/below");
    else pause();
  }
}
