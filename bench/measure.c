/*
 * measure: runs commands in turn (A B C A B C …) and prints what each run cost.
 *
 *     measure RUNS WARM-UP GAP-MS :: [overlay=LOWER:STAGE] COMMAND [ARG…] [;; COMMAND [ARG…]] [:: …]
 *
 * `;;`: one command after the other, measured as one. The first that fails is the last.
 *
 * One line a run: the command's number, microseconds from before vfork until it was reaped, KiB of memory that the
 * largest of its processes had at most, minor and major page faults, microseconds in user mode and in the kernel, wait
 * status. A program of its own because Node takes milliseconds to start a process, and lends it the 50 MB of its own
 * memory as the least that wait4(2) then reports.
 *
 * `overlay=`: for runtimes that are given a finished root. What an engine does for them is done here, inside the measured
 * time: a tmpfs, an overlay on it, and the end of both.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COMMANDS 16

#define SEQUENCE 8

struct command { char *lower, *stage, **argv[SEQUENCE]; int length; };

static void die(const char *what) {
  perror(what);
  exit(70);
}

static FILE *results;

/* A runtime that is cut off leaves a container behind: the command under way ends first. */
static volatile sig_atomic_t stop;
static void on_signal(int signal) { stop = signal; }

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void mount_overlay(const struct command *c) {
  char data[4096 + 64];
  if (mount("tmpfs", c->stage, "tmpfs", 0, "mode=755,size=500m") || chdir(c->stage)) die(c->stage);
  if (mkdir("upper", 0755) || mkdir("work", 0755) || mkdir("root", 0755)) die("mkdir");
  snprintf(data, sizeof data, "lowerdir=%s,upperdir=upper,workdir=work", c->lower);
  if (mount("overlay", "root", "overlay", 0, data)) die("mount overlay");
  if (chdir("/")) die("/");
}

static void measure(int number, const struct command *c, long gap_ms, int counts) {
  struct timespec gap = { gap_ms / 1000, gap_ms % 1000 * 1000000 };
  nanosleep(&gap, NULL);
  struct rusage used = { 0 }, one;
  int status = 0;
  double start = now_us();
  if (c->stage) mount_overlay(c);
  for (int i = 0; i < c->length && status == 0; i++) {
    char **argv = c->argv[i];
    pid_t pid = vfork();
    if (pid < 0) die("vfork");
    if (pid == 0) {
      execv(argv[0], argv);
      _exit(127);
    }
    while (wait4(pid, &status, 0, &one) < 0) if (errno != EINTR) die("wait4");
    if (one.ru_maxrss > used.ru_maxrss) used.ru_maxrss = one.ru_maxrss;
    used.ru_minflt += one.ru_minflt;
    used.ru_majflt += one.ru_majflt;
    timeradd(&used.ru_utime, &one.ru_utime, &used.ru_utime);
    timeradd(&used.ru_stime, &one.ru_stime, &used.ru_stime);
  }
  if (c->stage && umount2(c->stage, MNT_DETACH)) die("umount");
  double end = now_us();
  if (!counts) return;
  fprintf(results, "%d %.1f %ld %ld %ld %ld %ld %d\n", number, end - start, used.ru_maxrss, used.ru_minflt, used.ru_majflt,
         used.ru_utime.tv_sec * 1000000L + used.ru_utime.tv_usec, used.ru_stime.tv_sec * 1000000L + used.ru_stime.tv_usec,
         status);
}

int main(int argc, char **argv) {
  if (argc < 6 || strcmp(argv[4], "::")) {
    fprintf(stderr, "usage: measure RUNS WARM-UP GAP-MS :: COMMAND [ARG...] [:: ...]\n");
    return 64;
  }
  long runs = atol(argv[1]), warm_up = atol(argv[2]), gap_ms = atol(argv[3]);
  struct command commands[COMMANDS];
  int count = 0;
  for (int i = 4; i < argc; i++) {
    int next = !strcmp(argv[i], "::"), sequel = !strcmp(argv[i], ";;");
    if (!next && !sequel) continue;
    argv[i] = NULL;
    if (i + 1 == argc || (next && count == COMMANDS)) return 64;
    if (next) commands[count++] = (struct command){ 0 };
    struct command *c = &commands[count - 1];
    if (c->length == SEQUENCE) return 64;
    if (next && !strncmp(argv[i + 1], "overlay=", 8)) {
      c->lower = argv[++i] + 8;
      c->stage = strrchr(c->lower, ':');
      *c->stage++ = 0;
    }
    c->argv[c->length++] = &argv[i + 1];
  }
  /* The results go to a copy of stdout that the commands do not get. */
  int copy = fcntl(1, F_DUPFD_CLOEXEC, 3), null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (copy < 0 || null < 0) die("/dev/null");
  dup2(null, 0);
  dup2(null, 1);
  results = fdopen(copy, "w");
  signal(SIGTERM, on_signal);
  for (long run = -warm_up; run < runs && !stop; run++)
    for (int i = 0; i < count && !stop; i++) measure(i, &commands[i], gap_ms, run >= 0);
  return fflush(results) ? 70 : stop ? 128 + stop : 0;
}
