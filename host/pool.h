/*
 * The allocator behind the snapshot: size classes with free lists over one array in section .snap,
 * metadata and all, then anonymous memory when the array is full. Single-threaded.
 *
 * pool_usable must be exact: QuickJS grows arrays into what it reports.
 */
#ifndef POOL_H
#define POOL_H

#define POOL_BYTES (POOL_KIB << 10)
#define POOL_GRAIN 8u                 /* what QuickJS keeps in a block wants no more alignment */
#define POOL_FINE 2048u               /* up to here multiples of the grain are classes, above four per doubling */
#define POOL_LARGE (256u << 10)       /* beyond here a block is a mapping of its own */
#define POOL_FINE_CLASSES (POOL_FINE / POOL_GRAIN)
#define POOL_CLASSES (POOL_FINE_CLASSES + 1 + 4 * 7)
#define POOL_CHUNK (1u << 20)

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

/* A block is its usable size in 8 bytes, and the bytes given out. (A mapping of its own begins 16 bytes before.) */
#define POOL_HEADER sizeof(size_t)
static inline size_t *pool_size(void *p) { return (size_t *)p - 1; }

static inline int pool_in_array(const void *p) { return (uintptr_t)p - (uintptr_t)snap.pool < POOL_BYTES; }

/* Whether a block is a mapping of its own. Until the snapshot is taken none is: it would not be in it. */
static inline int pool_is_mapping(void *p) { return *pool_size(p) > POOL_LARGE && !pool_in_array(p); }

/* The distance of two classes above n bytes: the grain up to 2 KiB, then a quarter of the power of two below. */
static inline size_t pool_step(size_t n) {
  return n <= POOL_FINE ? POOL_GRAIN : (size_t)1 << (61 - __builtin_clzl(n - 1));
}

static inline size_t pool_round(size_t n) {
  if (n > POOL_LARGE) return (n + POOL_GRAIN - 1) & ~(size_t)(POOL_GRAIN - 1);
  size_t step = pool_step(n);
  return (n + step - 1) & ~(step - 1);
}

/* The free list of a rounded size; POOL_CLASSES or more for blocks that have none. */
static inline size_t pool_class(size_t usable) {
  if (usable <= POOL_FINE) return usable / POOL_GRAIN;
  if (usable > POOL_LARGE) return POOL_CLASSES;
  size_t power = 63 - __builtin_clzl(usable - 1); /* 2^power < usable <= 2^(power + 1), power from 11 */
  return POOL_FINE_CLASSES + (power - 11) * 4 + ((usable - ((size_t)1 << power)) >> (power - 2));
}

static inline size_t pool_pages(size_t usable) { return (usable + 16 + 4095) & ~(size_t)4095; }

static void *pool_map(size_t bytes) {
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

static void *pool_take(size_t usable) {
  size_t whole = usable + POOL_HEADER;
  if (snap.ready && usable > POOL_LARGE) {
    char *fresh = pool_map(pool_pages(usable));
    if (!fresh) return NULL;
    *pool_size(fresh + 16) = pool_pages(usable) - 16;
    return fresh + 16;
  }
  if ((size_t)(snap.end - snap.next) < whole) {
    if (!snap.ready) {
      dprintf(2, "host: the heap does not fit into section .snap: raise POOL_KIB in scripts/build.ts\n");
      _exit(70);
    }
    char *fresh = pool_map(POOL_CHUNK);
    if (!fresh) return NULL;
    snap.next = fresh;
    snap.end = fresh + POOL_CHUNK;
  }
  char *p = snap.next + POOL_HEADER;
  snap.next += whole;
  *pool_size(p) = usable;
  return p;
}

static void pool_give(char *p, size_t usable) {
  *pool_size(p) = usable;
  size_t class = pool_class(usable);
  *(void **)p = snap.free_lists[class];
  snap.free_lists[class] = p;
}

/* The largest size of a class that is not above n. */
static inline size_t pool_floor(size_t n) {
  if (n <= POOL_FINE) return n & ~(size_t)(POOL_GRAIN - 1);
  size_t rounded = pool_round(n);
  return rounded == n ? n : rounded - pool_step(n);
}

/*
 * A part of a larger free block; the rest goes back to the lists. Too slow for every day, but while the snapshot is
 * made it keeps what the loader needed for a moment from becoming holes in the binary.
 */
static void *pool_split(size_t usable) {
  for (size_t class = pool_class(usable) + 1; class < POOL_CLASSES; class++) {
    char *p = snap.free_lists[class];
    if (!p || *pool_size(p) < usable + 2 * POOL_HEADER) continue;
    size_t rest = *pool_size(p) - usable;
    snap.free_lists[class] = *(void **)p;
    *pool_size(p) = usable;
    for (char *q = p + usable; rest >= 2 * POOL_HEADER;) {
      size_t part = pool_floor(rest - POOL_HEADER);
      pool_give(q + POOL_HEADER, part);
      q += part + POOL_HEADER;
      rest -= part + POOL_HEADER;
    }
    return p;
  }
  return NULL;
}

static void *pool_malloc(JSMallocState *state, size_t n) {
  (void)state;
  if (n > (SIZE_MAX >> 1)) return NULL;
  size_t usable = pool_round(n), class = pool_class(usable);
  if (class < POOL_CLASSES && snap.free_lists[class]) {
    void **p = snap.free_lists[class];
    snap.free_lists[class] = *p;
    return p;
  }
  void *part = snap.ready ? NULL : pool_split(usable);
  return part ? part : pool_take(usable);
}

static void pool_free(JSMallocState *state, void *p) {
  (void)state;
  if (!p) return;
  size_t usable = *pool_size(p), class = pool_class(usable);
  if (pool_is_mapping(p)) munmap((char *)p - 16, usable + 16);
  else if ((char *)p + usable == snap.next) snap.next = (char *)p - POOL_HEADER;
  else if (class > 0 && class < POOL_CLASSES) {
    *(void **)p = snap.free_lists[class];
    snap.free_lists[class] = p;
  }
}

static size_t pool_usable(const void *p) { return p ? *pool_size((void *)p) : 0; }

static void *pool_realloc(JSMallocState *state, void *p, size_t n) {
  if (!p) return pool_malloc(state, n);
  if (!n) { pool_free(state, p); return NULL; }
  size_t had = *pool_size(p), usable = pool_round(n);
  if (n <= had) return p;
  if (n > (SIZE_MAX >> 1)) return NULL;
  if (pool_is_mapping(p)) {
    char *moved = mremap((char *)p - 16, had + 16, pool_pages(usable), MREMAP_MAYMOVE);
    if (moved == MAP_FAILED) return NULL;
    *pool_size(moved + 16) = pool_pages(usable) - 16;
    return moved + 16;
  }
  /* The last block grows in place, unless it becomes one that is to be a mapping. */
  if ((char *)p + had == snap.next && (size_t)(snap.end - snap.next) >= usable - had && (usable <= POOL_LARGE || !snap.ready)) {
    snap.next += usable - had;
    *pool_size(p) = usable;
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
