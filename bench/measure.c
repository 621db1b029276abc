/*
 * measure: runs commands in turn, each round in another order, and prints what each run cost.
 *
 *     measure RUNS WARM-UP GAP-MS CANDIDATE…
 *     CANDIDATE: :: [overlay=LOWER:STAGE] [uid=UID] [times=COUNT/PARALLEL] COMMAND [ARG…] [;; COMMAND [ARG…]] [;- COMMAND [ARG…]]
 *
 * `;;`: one command after the other, measured as one. `;-`: a command that prepares or clears away, not measured; a candidate
 * that begins with one begins with `:-`. The first command that fails is the last, but for those that clear away.
 * `@orphans` as a command waits until no process is left of what the candidate started.
 *
 * One line a run: the command's number, microseconds from before vfork until it was reaped, KiB of memory that the
 * largest of its processes had at most, minor and major page faults, microseconds in user mode and in the kernel, wait
 * status. A program of its own because Node takes milliseconds to start a process, and lends it the 50 MB of its own
 * memory as the least that wait4(2) then reports. It is the reaper of what its commands leave, so that the cost of a
 * container's own process counts with that of the command that made it.
 *
 * `overlay=`: for runtimes that are given a finished root. What an engine does for them is done here, inside the measured
 * time: a tmpfs, an overlay on it, and the end of both. `uid=`: as this user. `times=`: the command so many times, so many
 * at a time; `{}` in an argument is a number that no other run has.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COMMANDS 16
#define SEQUENCE 12
#define ARGUMENTS 64

struct step { char **argv; int measured; };
struct command { char *lower, *stage; struct step steps[SEQUENCE]; int length, whole; long uid, times, parallel; };

static void die(const char *what) {
  perror(what);
  exit(70);
}

static FILE *results;
static long serial;
static struct rusage used;

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

static void add(const struct rusage *one) {
  if (one->ru_maxrss > used.ru_maxrss) used.ru_maxrss = one->ru_maxrss;
  used.ru_minflt += one->ru_minflt;
  used.ru_majflt += one->ru_majflt;
  timeradd(&used.ru_utime, &one->ru_utime, &used.ru_utime);
  timeradd(&used.ru_stime, &one->ru_stime, &used.ru_stime);
}

/* The system calls themselves: libc's would tell all threads, and after vfork there are the parent's. */
static pid_t start(const struct command *c, char **argv) {
  static char numbered[ARGUMENTS][4096];
  char *own[ARGUMENTS];
  int i = 0;
  for (; argv[i] && i < ARGUMENTS - 1; i++) {
    char *mark = strstr(argv[i], "{}");
    own[i] = argv[i];
    if (!mark) continue;
    snprintf(numbered[i], sizeof numbered[i], "%.*s%ld%s", (int)(mark - argv[i]), argv[i], serial, mark + 2);
    own[i] = numbered[i];
  }
  own[i] = NULL;
  pid_t pid = vfork();
  if (pid < 0) die("vfork");
  if (pid == 0) {
    if (c->uid >= 0 && (syscall(SYS_setgroups, 0, NULL) || syscall(SYS_setresgid, c->uid, c->uid, c->uid) ||
                        syscall(SYS_setresuid, c->uid, c->uid, c->uid))) _exit(126);
    execv(own[0], own);
    _exit(127);
  }
  return pid;
}

/* Until this process has ended, or any if 0; what was left by others is reaped too. */
static int await_end(const struct command *c, pid_t pid, const pid_t *any, long count, int measured) {
  for (;;) {
    int status;
    struct rusage one;
    pid_t ended = wait4(-1, &status, 0, &one);
    if (ended < 0 && errno == EINTR) continue;
    if (ended < 0) die("wait4");
    int ours = ended == pid;
    for (long i = 0; i < count; i++) ours |= any[i] == ended;
    if (ours ? measured : c->whole) add(&one);
    if (ours) return status;
  }
}

static int run_many(const struct command *c, char **argv, int measured) {
  static pid_t running[256];
  long started = 0, ended = 0;
  int status = 0;
  while (ended < c->times) {
    while (started < c->times && started - ended < c->parallel) {
      running[started++ % 256] = start(c, argv);
      serial++;
    }
    int one = await_end(c, 0, running, 256, measured);
    if (one) status = one;
    ended++;
  }
  memset(running, 0, sizeof running);
  return status;
}

static int await_orphans(const struct command *c, int measured) {
  struct rusage one;
  pid_t ended;
  while ((ended = wait4(-1, NULL, 0, &one)) > 0 || errno == EINTR)
    if (ended > 0 && c->whole && measured) add(&one);
  return 0;
}

static int run_step(const struct command *c, const struct step *s) {
  if (!strcmp(s->argv[0], "@orphans")) return await_orphans(c, s->measured);
  if (c->times && s->measured) return run_many(c, s->argv, s->measured);
  return await_end(c, start(c, s->argv), NULL, 0, s->measured);
}

static void measure(int number, const struct command *c, long gap_ms, int counts) {
  struct timespec gap = { gap_ms / 1000, gap_ms % 1000 * 1000000 };
  nanosleep(&gap, NULL);
  memset(&used, 0, sizeof used);
  int status = 0;
  double spent = 0, begin = now_us();
  if (c->stage) mount_overlay(c);
  spent += now_us() - begin;
  for (int i = 0; i < c->length; i++) {
    if (status && c->steps[i].measured) continue;
    begin = now_us();
    int one = run_step(c, &c->steps[i]);
    if (c->steps[i].measured) spent += now_us() - begin;
    if (!status) status = one;
  }
  begin = now_us();
  if (c->stage && umount2(c->stage, MNT_DETACH)) die("umount");
  spent += now_us() - begin;
  serial++;
  for (pid_t left; (left = waitpid(-1, NULL, WNOHANG)) > 0;) {}
  if (!counts) return;
  fprintf(results, "%d %.1f %ld %ld %ld %ld %ld %d\n", number, spent, used.ru_maxrss, used.ru_minflt, used.ru_majflt,
         used.ru_utime.tv_sec * 1000000L + used.ru_utime.tv_usec, used.ru_stime.tv_sec * 1000000L + used.ru_stime.tv_usec,
         status);
}

/*
 * Which command comes at this position. What ran before costs the next one: so over twice as many rounds as there are commands each
 * comes within the rounds equally often directly after each other one. E. J. Williams, "Experimental designs balanced for the estimation of
 * residual effects of treatments", 1949.
 */
static int in_turn(long round, int position, int count) {
  if (count % 2 && round / count % 2) position = count - 1 - position;
  int zigzag = position % 2 ? (position + 1) / 2 : count - position / 2;
  return (zigzag + round) % count;
}

static int has_prefix(char *argument, const char *prefix, char **rest) {
  *rest = argument + strlen(prefix);
  return !strncmp(argument, prefix, strlen(prefix));
}

int main(int argc, char **argv) {
  if (argc < 6 || argv[4][0] != ':') {
    fprintf(stderr, "usage: measure RUNS WARM-UP GAP-MS :: COMMAND [ARG...] [:: ...]\n");
    return 64;
  }
  long runs = atol(argv[1]), warm_up = atol(argv[2]), gap_ms = atol(argv[3]);
  static struct command commands[COMMANDS];
  int count = 0;
  for (int i = 4; i < argc; i++) {
    int next = !strcmp(argv[i], "::") || !strcmp(argv[i], ":-"), sequel = !strcmp(argv[i], ";;") || !strcmp(argv[i], ";-");
    if (!next && !sequel) continue;
    int measured = argv[i][1] != '-';
    argv[i] = NULL;
    if (i + 1 == argc || (next && count == COMMANDS)) return 64;
    if (next) commands[count++] = (struct command){ .uid = -1, .whole = 1 };
    struct command *c = &commands[count - 1];
    if (c->length == SEQUENCE) return 64;
    for (char *rest; next && i + 1 < argc; i++) {
      if (has_prefix(argv[i + 1], "overlay=", &rest)) {
        c->lower = rest;
        c->stage = strrchr(rest, ':');
        *c->stage++ = 0;
      } else if (has_prefix(argv[i + 1], "uid=", &rest)) c->uid = atol(rest);
      else if (has_prefix(argv[i + 1], "times=", &rest)) {
        char *slash = strchr(rest, '/');
        c->times = atol(rest);
        c->parallel = slash ? atol(slash + 1) : 1;
        if (c->parallel < 1 || c->parallel > 255) return 64;
      } else break;
    }
    if (!measured) c->whole = 0;
    c->steps[c->length++] = (struct step){ &argv[i + 1], measured };
  }
  /* The results go to a copy of stdout that the commands do not get. */
  int copy = fcntl(1, F_DUPFD_CLOEXEC, 3), null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (copy < 0 || null < 0) die("/dev/null");
  dup2(null, 0);
  dup2(null, 1);
  results = fdopen(copy, "w");
  signal(SIGTERM, on_signal);
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  serial = getpid() * 1000000L;
  for (long round = 0; round < warm_up + runs && !stop; round++)
    for (int position = 0; position < count && !stop; position++) {
      int i = in_turn(round, position, count);
      measure(i, &commands[i], gap_ms, round >= warm_up);
    }
  return fflush(results) ? 70 : stop ? 128 + stop : 0;
}
