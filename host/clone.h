/* A child process: clone3(2), and clone(2) where there is none (before Linux 5.3), each with the child on a stack of its own. */
#ifndef CLONE_H
#define CLONE_H

/* clone3, the child on its own stack calling fn(data). musl's clone() blocks signals and has no clone3. */
static long clone3_call(struct clone_args *args, int (*fn)(void *), void *data) {
  long ret;
#if defined(__x86_64__)
  register void *r12 __asm__("r12") = (void *)fn;
  register void *r13 __asm__("r13") = data;
  __asm__ volatile("syscall\n\ttest %%rax,%%rax\n\tjnz 1f\n\txor %%ebp,%%ebp\n\tmov %%r13,%%rdi\n\tcall *%%r12\n\thlt\n1:"
                   : "=a"(ret) : "a"(SYS_clone3), "D"(args), "S"(sizeof *args), "r"(r12), "r"(r13)
                   : "rcx", "r11", "rdx", "r8", "r9", "r10", "memory", "cc");
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = SYS_clone3;
  register long x0 __asm__("x0") = (long)args;
  register long x1 __asm__("x1") = sizeof *args;
  register void *x19 __asm__("x19") = (void *)fn;
  register void *x20 __asm__("x20") = data;
  __asm__ volatile("svc #0\n\tcbnz x0,1f\n\tmov x29,#0\n\tmov x0,x20\n\tblr x19\n\tbrk #1\n1:"
                   : "+r"(x0) : "r"(x8), "r"(x1), "r"(x19), "r"(x20) : "memory", "cc", "x30");
  ret = x0;
#else
#error "clone3_call: no trampoline for this architecture"
#endif
  return ret;
}

/* clone(2), the child on its own stack calling fn(data). It knows neither CLONE_INTO_CGROUP nor CLONE_NEWTIME. */
static long clone_call(struct clone_args *args, int (*fn)(void *), void *data) {
  const uint64_t flags = args->flags | args->exit_signal;
  if (args->flags >> 32 || args->flags & 0xff) return -ENOSYS;
  const uintptr_t stack = args->stack ? args->stack + args->stack_size : 0;
  if (!stack) {
    long ret = syscall(SYS_clone, flags, 0, NULL, NULL, NULL);
    return ret < 0 ? -errno : ret;
  }
  long ret;
#if defined(__x86_64__)
  register void *r12 __asm__("r12") = (void *)fn;
  register void *r13 __asm__("r13") = data;
  register uint64_t r10 __asm__("r10") = args->child_tid;
  __asm__ volatile("syscall\n\ttest %%rax,%%rax\n\tjnz 1f\n\txor %%ebp,%%ebp\n\tmov %%r13,%%rdi\n\tcall *%%r12\n\thlt\n1:"
                   : "=a"(ret) : "a"(SYS_clone), "D"(flags), "S"(stack), "d"(0), "r"(r10), "r"(r12), "r"(r13)
                   : "rcx", "r11", "r8", "r9", "memory", "cc");
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = SYS_clone;
  register long x0 __asm__("x0") = (long)flags;
  register long x1 __asm__("x1") = (long)stack;
  register long x2 __asm__("x2") = 0;
  register long x3 __asm__("x3") = 0;
  register long x4 __asm__("x4") = (long)args->child_tid;
  register void *x19 __asm__("x19") = (void *)fn;
  register void *x20 __asm__("x20") = data;
  __asm__ volatile("svc #0\n\tcbnz x0,1f\n\tmov x29,#0\n\tmov x0,x20\n\tblr x19\n\tbrk #1\n1:"
                   : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x19), "r"(x20) : "memory", "cc", "x30");
  ret = x0;
#else
#error "clone_call: no trampoline for this architecture"
#endif
  return ret;
}

/* The one or the other. */
static long make_child(struct clone_args *args, int (*fn)(void *), void *data) {
  const long pid = clone3_call(args, fn, data);
  return pid < 0 && is_missing(SYS_clone3, pid) ? clone_call(args, fn, data) : pid;
}

#endif
