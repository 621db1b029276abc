/*
 * tupper-init: PID 1 of a container started with --init.
 *
 *     tupper-init PID
 *
 * Reaps every child, forwards each signal to PID, and exits as PID did (128 + n for a signal).
 * It is executed from a sealed memfd, so that /proc/1/exe is not the runtime's binary (CVE-2019-5736),
 * and is freestanding: about one page. All signals come blocked from the parent.
 */
#include <asm/unistd.h>
#include <linux/signal.h>
#include <linux/wait.h>

static long call(long n, long a, long b, long c, long d) {
#if defined(__x86_64__)
  long r;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return r;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = n;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
#endif
}

static void run(long *stack) {
  char **argv = (char **)(stack + 1);
  long child = 0;
  for (char *p = argv[0] ? argv[1] : 0; p && *p; p++) child = child * 10 + (*p - '0');
  unsigned long all = ~0ul;
  call(__NR_rt_sigprocmask, SIG_BLOCK, (long)&all, 0, 8);
  for (;;) {
    int status = 0;
    long pid;
    while ((pid = call(__NR_wait4, -1, (long)&status, WNOHANG, 0)) > 0) {
      if (pid != child) continue;
      int signal = status & 0x7f;
      call(__NR_exit_group, signal ? 128 + signal : (status >> 8) & 0xff, 0, 0, 0);
    }
    long signal = call(__NR_rt_sigtimedwait, (long)&all, 0, 0, 8);
    if (signal > 0 && signal != SIGCHLD) call(__NR_kill, child, signal, 0, 0);
  }
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp,%ebp\n\tmov %rsp,%rdi\n\tand $-16,%rsp\n\tcall start_c\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x29,#0\n\tmov x0,sp\n\tbl start_c\n");
#endif
__attribute__((used)) void start_c(long *stack) { run(stack); }
