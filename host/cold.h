/*
 * The part of the heap that few commands need. In the binary it is compressed; at its addresses there are pages that
 * nobody may touch. The first access to 16 KiB of it is a fault, whose handler opens them and puts there what belongs there.
 * The address space is taken by execve already: the handler cannot fail for want of it.
 *
 * So SIGSEGV is never blocked, and a buffer in it does not go to the kernel untouched (cold_wake): that would answer EFAULT.
 */
#ifndef COLD_H
#define COLD_H

#include "filter.h"
#include "last_words.h"

static int on_shared_stack(void); /* native.h */
static int in_copied_child;

#define COLD_BLOCK (16u << 10)

/* From scripts/cold.ts: the end of each block in `bytes`, then the blocks, each as one block of LZ4's format. */
extern const struct { uint32_t count, ends[]; } cold_index;
#ifdef __aarch64__
#define COLD_SECTION_TYPE "%progbits"
#define COLD_EMPTY_TYPE "%nobits"
#else
#define COLD_SECTION_TYPE "@progbits"
#define COLD_EMPTY_TYPE "@nobits"
#endif
__asm__(".pushsection .cold,\"a\"," COLD_SECTION_TYPE "\n\t.balign 8\n\t.globl cold_index\ncold_index:\n\t.incbin \"" COLD_FILE
        "\"\n\t.popsection");

#define COLD_TEXT(x) COLD_TEXT_(x)
#define COLD_TEXT_(x) #x
__asm__(".pushsection .cold_heap,\"aw\"," COLD_EMPTY_TYPE "\n\t.balign 4096\n\t.globl pool_cold\npool_cold:\n\t.skip " COLD_TEXT(POOL_COLD_KIB)
        " << 10\n\t.popsection");
__asm__(".pushsection .room,\"aw\"," COLD_EMPTY_TYPE "\n\t.balign 4096\n\t.globl pool_first_chunk\npool_first_chunk:\n\t.skip 1 << 20\n\t.popsection");

/* A length of 15 goes on in the bytes that follow, up to the first that is not 255. */
static inline size_t lz4_length(size_t nibble, const uint8_t **in) {
  size_t length = nibble;
  if (nibble == 15) for (uint8_t byte = 255; byte == 255;) length += byte = *(*in)++;
  return length;
}

/* Literals and matches in turn; the last literals have no match. The input is our own. LZ4 block format description. */
static void lz4_decode(const uint8_t *in, const uint8_t *end, uint8_t *out) {
  for (;;) {
    const uint8_t token = *in++;
    size_t n = lz4_length(token >> 4, &in);
    memcpy(out, in, n);
    in += n;
    out += n;
    if (in >= end) return;
    const size_t offset = in[0] | in[1] << 8;
    in += 2;
    n = lz4_length(token & 15, &in) + 4;
    if (offset >= n) {
      memcpy(out, out - offset, n);
      out += n;
    } else while (n--) { *out = *(out - offset); out++; }
  }
}

static size_t cold_size(size_t block) {
  const size_t left = POOL_COLD_BYTES - block * COLD_BLOCK;
  return left < COLD_BLOCK ? left : COLD_BLOCK;
}

static void cold_fill(size_t block) {
  const uint8_t *bytes = (const uint8_t *)&cold_index.ends[cold_index.count];
  lz4_decode(bytes + (block ? cold_index.ends[block - 1] : 0), bytes + cold_index.ends[block],
             (uint8_t *)pool_cold + block * COLD_BLOCK);
}

static void cold_put(size_t block) {
  if (mprotect(pool_cold + block * COLD_BLOCK, cold_size(block), PROT_READ | PROT_WRITE))
    last_words("mprotect", errno, !in_copied_child && !on_shared_stack());
  cold_fill(block);
}

/* musl's sigaction makes a call more, for its threads. */
extern void __restore_rt(void);
static void handle_faults(void (*handler)(int, siginfo_t *, void *)) {
  const struct { void (*handler)(int, siginfo_t *, void *); unsigned long flags; void (*restorer)(void); uint64_t mask; } action =
    { handler, SA_SIGINFO | 0x04000000 /* SA_RESTORER */, __restore_rt, 0 };
  syscall(SYS_rt_sigaction, SIGSEGV, &action, NULL, sizeof action.mask);
}

static void on_fault(int signal, siginfo_t *info, void *context) {
  (void)context;
  const int kept = errno;
  if (info->si_code > 0 && pool_is_cold(info->si_addr)) cold_put(((char *)info->si_addr - pool_cold) / COLD_BLOCK);
  else if (info->si_code <= 0) _exit(128 + signal);                                 /* somebody sent it */
  else handle_faults(NULL); /* a fault of ours: it comes again */
  errno = kept;
}

static void cold_touch(const char *p) { if (pool_is_cold(p)) (void)*(const volatile char *)p; }

/* For what the kernel is to read or write. */
static void cold_wake(const void *bytes, size_t n) {
  const char *p = bytes;
  for (size_t at = 0; at < n; at += COLD_BLOCK) cold_touch(p + at);
  if (n) cold_touch(p + n - 1);
}

/* All of it: for who must not be stopped by faults, as one whom the other user of the heap traces. */
static void cold_wake_all(void) {
  for (size_t at = 0; at < POOL_COLD_BYTES; at += COLD_BLOCK) cold_touch(pool_cold + at);
}

static void cold_begin(char **argv) {
  own_words = argv;
  /* Where a filter around us forbids that, all is brought in now. */
  if (mprotect(pool_cold, POOL_COLD_BYTES, PROT_NONE)) {
    for (size_t block = 0; block < cold_index.count; block++) cold_fill(block);
    return;
  }
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGSEGV);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  handle_faults(on_fault);
}

/* Whether a filter lets the handler work: open the block, and return to what was interrupted. */
static int cold_may_come(const struct sock_filter *program, size_t count) {
  const struct seccomp_data opens = { .nr = SYS_mprotect, .arch = FILTER_ARCH,
                                      .args = { (uintptr_t)pool_cold, COLD_BLOCK, PROT_READ | PROT_WRITE } };
  const struct seccomp_data returns = { .nr = SYS_rt_sigreturn, .arch = FILTER_ARCH };
  return filter_allows(program, count, opens) && filter_allows(program, count, returns);
}

#endif
