/*
 * The part of the heap that few commands need. In the binary it is compressed; at its addresses there is nothing. The
 * first access to 16 KiB of it is a fault, and the fault's handler puts memory there with what belongs there.
 *
 * So SIGSEGV is never blocked, and a buffer in it does not go to the kernel untouched (cold_wake): that would answer EFAULT.
 */
#ifndef COLD_H
#define COLD_H

#define COLD_BLOCK (16u << 10)

/* From scripts/cold.ts: the end of each block in `bytes`, then the blocks, each as one block of LZ4's format. */
extern const struct { uint32_t count, ends[]; } cold_index;
#ifdef __aarch64__
#define COLD_SECTION_TYPE "%progbits"
#else
#define COLD_SECTION_TYPE "@progbits"
#endif
__asm__(".pushsection .cold,\"a\"," COLD_SECTION_TYPE "\n\t.balign 8\n\t.globl cold_index\ncold_index:\n\t.incbin \"" COLD_FILE
        "\"\n\t.popsection");

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

static void cold_put(size_t block) {
  char *to = pool_cold + block * COLD_BLOCK;
  const size_t left = POOL_COLD_BYTES - block * COLD_BLOCK, size = left < COLD_BLOCK ? left : COLD_BLOCK;
  if (mmap(to, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
    static const char text[] = "fatal: no memory for a part of this program\n";
    (void)!write(2, text, sizeof text - 1);
    _exit(70);
  }
  const uint8_t *bytes = (const uint8_t *)&cold_index.ends[cold_index.count];
  lz4_decode(bytes + (block ? cold_index.ends[block - 1] : 0), bytes + cold_index.ends[block], (uint8_t *)to);
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

static void cold_begin(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGSEGV);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  handle_faults(on_fault);
}

#endif
