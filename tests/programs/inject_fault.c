/*
 * inject_fault list FILE PROGRAM ARG…: runs a program and writes every system call it makes, one a line: PROCESS CALL NTH.
 * inject_fault PROCESS CALL NTH ERRNO FILE PROGRAM ARG…: the same call of the same process fails with ERRNO and is not made;
 * a close is made all the same, as the kernel does. What became of it goes to FILE: reached or not, and a process that a signal of the kernel's ended.
 * inject_fault PROCESS CALL NTH kill:WHO[,WHO] FILE PROGRAM ARG…: before that call is made SIGKILL goes to WHO: `parent`, the program;
 * `child`, what was cloned last and is still there, if anything was; or a process ID.
 *
 * PROCESS counts in the order in which they were cloned, 0 is the program; NTH counts the process's own calls of this
 * number. Only what a container's command does is left out: a process is let go when it executes something, except the first.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 64, CALLS = 1024 };

static struct process {
  pid_t pid;
  int counts[CALLS];
  int inside, injected;
} processes[PROCESSES];
static int known;

static struct process *process_of(pid_t pid) {
  for (int i = 0; i < known; i++)
    if (processes[i].pid == pid) return &processes[i];
  if (known == PROCESSES) exit(125);
  processes[known].pid = pid;
  return &processes[known++];
}

static int wanted_process = -1, wanted_call, wanted_nth, wanted_errno, reached;
static char *wanted_kills;
static FILE *report;

static void kill_wanted(void) {
  for (char *who = strtok(wanted_kills, ","); who != NULL; who = strtok(NULL, ",")) {
    pid_t pid = -1;
    if (strcmp(who, "parent") == 0) pid = processes[0].pid;
    else if (strcmp(who, "child") == 0) {
      for (int i = 1; i < known; i++)
        if (processes[i].pid > 0) pid = processes[i].pid;
    } else pid = atoi(who);
    if (pid > 1) kill(pid, SIGKILL);
  }
}

static void at_call(struct process *process) {
  struct user_regs_struct regs;
  if (ptrace(PTRACE_GETREGS, process->pid, 0, &regs)) return;
  if (process->inside) {
    process->inside = 0;
    if (!process->injected) return;
    process->injected = 0;
    regs.rax = -(long)wanted_errno;
    ptrace(PTRACE_SETREGS, process->pid, 0, &regs);
    return;
  }
  process->inside = 1;
  long call = regs.orig_rax;
  if (call < 0 || call >= CALLS) return;
  int nth = ++process->counts[call];
  int index = process - processes;
  if (wanted_process < 0) fprintf(report, "%d %ld %d\n", index, call, nth);
  if (reached || index != wanted_process || call != wanted_call || nth != wanted_nth) return;
  reached = 1;
  if (wanted_kills != NULL) {
    kill_wanted();
    return;
  }
  process->injected = 1;
  if (call == SYS_close) return;
  regs.orig_rax = -1;
  ptrace(PTRACE_SETREGS, process->pid, 0, &regs);
}

int main(int argc, char **argv) {
  char **program;
  if (argc > 3 && strcmp(argv[1], "list") == 0) {
    report = fopen(argv[2], "w");
    program = argv + 3;
  } else if (argc > 6) {
    wanted_process = atoi(argv[1]);
    wanted_call = atoi(argv[2]);
    wanted_nth = atoi(argv[3]);
    if (strncmp(argv[4], "kill:", 5) == 0) wanted_kills = argv[4] + 5;
    else wanted_errno = atoi(argv[4]);
    report = fopen(argv[5], "w");
    program = argv + 6;
  } else {
    return 125;
  }
  if (report == NULL) return 125;
  pid_t first = fork();
  if (first == 0) {
    fclose(report);
    raise(SIGSTOP);
    execv(program[0], program);
    _exit(125);
  }
  int status;
  if (waitpid(first, &status, WUNTRACED) != first) return 125;
  int options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC;
  if (ptrace(PTRACE_SEIZE, first, 0, options)) return 125;
  kill(first, SIGCONT);
  process_of(first);
  int started = 0; /* the program, and not yet this one */
  for (;;) {
    pid_t pid = waitpid(-1, &status, __WALL);
    if (pid < 0) return errno == ECHILD ? 125 : 124;
    struct process *process = process_of(pid);
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
      int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
      if (wanted_process >= 0 && signal != 0 && signal != SIGKILL) fprintf(report, "process %d was ended by signal %d\n", (int)(process - processes), signal);
      process->pid = -1;
      if (pid != first) continue;
      if (wanted_process >= 0) fprintf(report, reached ? "reached\n" : "not reached\n");
      fclose(report);
      if (signal != 0) return 128 + signal;
      return WEXITSTATUS(status);
    }
    int stop = WSTOPSIG(status), event = status >> 16, pass = 0;
    if (stop == (SIGTRAP | 0x80)) {
      if (started) at_call(process);
    } else if (event == PTRACE_EVENT_EXEC) {
      if (pid != first) {
        ptrace(PTRACE_DETACH, pid, 0, 0);
        continue;
      }
      process->inside = 1; /* the call that executes ends next */
      started = 1;
    } else if (event == PTRACE_EVENT_STOP) {
      if (stop != SIGTRAP) { /* a group stop */
        ptrace(PTRACE_LISTEN, pid, 0, 0);
        continue;
      }
    } else if (event == 0) {
      pass = stop;
    }
    int injecting = 0;
    for (int i = 0; i < known; i++) injecting |= processes[i].injected;
    ptrace(reached && !injecting ? PTRACE_CONT : PTRACE_SYSCALL, pid, 0, pass);
  }
}
