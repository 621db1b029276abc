/* What a seccomp filter will answer, before it is loaded: what the set-up does with calls that the command may not make. */
#ifndef FILTER_H
#define FILTER_H

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <string.h>

#ifdef __aarch64__
#define FILTER_ARCH AUDIT_ARCH_AARCH64
#else
#define FILTER_ARCH AUDIT_ARCH_X86_64
#endif

/* The program, run on a call. An instruction that seccomp(2) takes and our compiler does not write counts as no. */
static int filter_allows(const struct sock_filter *program, size_t count, struct seccomp_data call) {
  uint32_t a = 0;
  for (size_t at = 0; at < count; at++) {
    const struct sock_filter *i = &program[at];
    const uint32_t k = i->k;
    switch (i->code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (k > sizeof call - 4) return 0;
        memcpy(&a, (const char *)&call + k, 4);
        break;
      case BPF_ALU | BPF_AND | BPF_K: a &= k; break;
      case BPF_JMP | BPF_JA: at += k; break;
      case BPF_JMP | BPF_JEQ | BPF_K: at += a == k ? i->jt : i->jf; break;
      case BPF_JMP | BPF_JGT | BPF_K: at += a > k ? i->jt : i->jf; break;
      case BPF_JMP | BPF_JGE | BPF_K: at += a >= k ? i->jt : i->jf; break;
      case BPF_JMP | BPF_JSET | BPF_K: at += a & k ? i->jt : i->jf; break;
      case BPF_RET | BPF_K: return k == SECCOMP_RET_ALLOW || k == SECCOMP_RET_LOG;
      default: return 0;
    }
  }
  return 0;
}

#endif
