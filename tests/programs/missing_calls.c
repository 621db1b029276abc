/*
 * missing_calls ERRNO NAME,… PROGRAM ARG…: executes a program on a kernel without these calls, as far as it can see: a filter
 * answers ERRNO to them. `close_range_cloexec`, `setns_pidfd` and `time_namespace` are what a call does not know yet: EINVAL.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static const struct { const char *name; unsigned number; } calls[] = {
  { "clone3", 435 }, { "openat2", 437 }, { "close_range", 436 }, { "open_tree", 428 }, { "move_mount", 429 },
  { "fsopen", 430 }, { "fsconfig", 431 }, { "fsmount", 432 }, { "mount_setattr", 442 }, { "open_tree_attr", 467 },
  { "pidfd_open", 434 }, { "pidfd_send_signal", 424 }, { "pidfd_getfd", 438 }, { "faccessat2", 439 },
};

static struct sock_filter code[512];
static int length;

static void put(unsigned short op, unsigned char yes, unsigned char no, unsigned value) {
  code[length++] = (struct sock_filter){ op, yes, no, value };
}

static void load(unsigned offset) { put(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset); }

/* EINVAL where the argument has one of these bits; where `bits` is 0, where it has more than one. */
static void refuse_bits(unsigned number, unsigned argument, unsigned bits) {
  load(offsetof(struct seccomp_data, nr));
  put(BPF_JMP | BPF_JEQ | BPF_K, 0, bits ? 3 : 6, number);
  load(offsetof(struct seccomp_data, args) + 8 * argument);
  if (bits) {
    put(BPF_JMP | BPF_JSET | BPF_K, 0, 1, bits);
  } else {
    put(BPF_MISC | BPF_TAX, 0, 0, 0);
    put(BPF_ALU | BPF_SUB | BPF_K, 0, 0, 1);
    put(BPF_ALU | BPF_AND | BPF_X, 0, 0, 0);
    put(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 0);
  }
  put(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EINVAL);
}

static void refuse(const char *name, int error) {
  if (!strcmp(name, "close_range_cloexec")) { refuse_bits(436, 2, 4); return; }
  if (!strcmp(name, "setns_pidfd")) { refuse_bits(SYS_setns, 1, 0); return; }
  if (!strcmp(name, "time_namespace")) { refuse_bits(SYS_unshare, 0, CLONE_NEWTIME); return; }
  for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
    if (strcmp(name, calls[i].name)) continue;
    load(offsetof(struct seccomp_data, nr));
    put(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, calls[i].number);
    put(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | error);
    return;
  }
  fprintf(stderr, "missing_calls: %s?\n", name);
  exit(2);
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  const int error = strcmp(argv[1], "EPERM") ? ENOSYS : EPERM;
  for (char *name = strtok(argv[2], ","); name; name = strtok(NULL, ",")) refuse(name, error);
  put(BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
  struct sock_fprog program = { length, code };
  /* An ordinary user may have no filter without no_new_privs. */
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)
      && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))) return 2;
  execvp(argv[3], argv + 3);
  perror(argv[3]);
  return 2;
}
