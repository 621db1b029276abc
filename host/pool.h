/*
 * The allocator behind the snapshot: size classes with free lists over one array in section .snap,
 * metadata and all, then anonymous memory when the array is full. Single-threaded.
 *
 * pool_usable must be exact: QuickJS grows arrays into what it reports.
 */
#ifndef POOL_H
#define POOL_H

#define POOL_BYTES (POOL_KIB << 10)
#define POOL_CLASSES 128 /* multiples of 16 bytes: blocks up to 2 KiB are reused by exact size */

struct snapshot {
  uint64_t ready;
  JSContext *context;
  JSValue entry;
  const char *source_map;
  char *next, *end;
  void *free_lists[POOL_CLASSES];
  char pool[POOL_BYTES] __attribute__((aligned(64)));
};

__attribute__((section(".snap"), aligned(4096))) static struct snapshot snap = {
  .ready = 0, .next = snap.pool, .end = snap.pool + POOL_BYTES,
};

/* A block is a 16-byte header, whose last 8 bytes are the usable size, and the bytes given out. */
static inline size_t *pool_size(void *p) { return (size_t *)p - 1; }

static void *pool_take(size_t usable) {
  size_t whole = usable + 16;
  if ((size_t)(snap.end - snap.next) < whole) {
    size_t chunk = whole > (1u << 20) ? ((whole + 4095) & ~(size_t)4095) : (1u << 20);
    char *fresh = mmap(NULL, chunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh == MAP_FAILED) return NULL;
    if (chunk > (1u << 20)) { /* a block of its own: the current chunk stays in use */
      *pool_size(fresh + 16) = chunk - 16;
      return fresh + 16;
    }
    snap.next = fresh;
    snap.end = fresh + chunk;
  }
  char *p = snap.next + 16;
  snap.next += whole;
  *pool_size(p) = usable;
  return p;
}

static void *pool_malloc(JSMallocState *state, size_t n) {
  (void)state;
  if (n > (SIZE_MAX >> 1)) return NULL;
  size_t usable = (n + 15) & ~(size_t)15, class = usable >> 4;
  if (class < POOL_CLASSES && snap.free_lists[class]) {
    void **p = snap.free_lists[class];
    snap.free_lists[class] = *p;
    return p;
  }
  return pool_take(usable);
}

static void pool_free(JSMallocState *state, void *p) {
  (void)state;
  if (!p) return;
  size_t usable = *pool_size(p), class = usable >> 4;
  if ((char *)p + usable == snap.next) snap.next = (char *)p - 16;
  else if (class > 0 && class < POOL_CLASSES) {
    *(void **)p = snap.free_lists[class];
    snap.free_lists[class] = p;
  } else if (usable > (1u << 20)) munmap((char *)p - 16, usable + 16);
}

static size_t pool_usable(const void *p) { return p ? *pool_size((void *)p) : 0; }

static void *pool_realloc(JSMallocState *state, void *p, size_t n) {
  if (!p) return pool_malloc(state, n);
  if (!n) { pool_free(state, p); return NULL; }
  size_t had = *pool_size(p);
  if (n <= had) return p;
  size_t more = ((n + 15) & ~(size_t)15) - had;
  if ((char *)p + had == snap.next && (size_t)(snap.end - snap.next) >= more) { /* the last block grows in place */
    snap.next += more;
    *pool_size(p) = had + more;
    return p;
  }
  void *q = pool_malloc(state, n);
  if (!q) return NULL;
  memcpy(q, p, had);
  pool_free(state, p);
  return q;
}

static const JSMallocFunctions pool_functions = { pool_malloc, pool_free, pool_realloc, pool_usable };

#endif
