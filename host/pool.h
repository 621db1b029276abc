/*
 * The allocator behind the snapshot: size classes with free lists. While the build makes the heap, blocks come from
 * an array in section .snap, metadata and all; from then on from anonymous memory. Single-threaded.
 *
 * The kernel maps 16 pages around each page of a file that is touched, so what one command needs has to lie together.
 * The build makes the heap twice, with the same calls in the same order. The first time it counts them and sees which
 * blocks commands touch (training.h, scripts/placement.ts); the second time the n-th block goes into the area that
 * the placement names for n.
 *
 * pool_usable must be exact: QuickJS grows arrays into what it reports.
 */
#ifndef POOL_H
#define POOL_H

#define POOL_BYTES (POOL_KIB << 10)           /* of .snap: what commands need */
#define POOL_COLD_BYTES (POOL_COLD_KIB << 10) /* of the cold part (cold.h): what they do not */
#define POOL_GRAIN 8u                 /* what QuickJS keeps in a block wants no more alignment */
#define POOL_FINE 2048u               /* up to here multiples of the grain are classes, above four per doubling */
#define POOL_LARGE (256u << 10)       /* beyond here a block is a mapping of its own */
#define POOL_FINE_CLASSES (POOL_FINE / POOL_GRAIN)
#define POOL_CLASSES (POOL_FINE_CLASSES + 1 + 4 * 7)
#define POOL_CHUNK (1u << 20)

struct pool_area { char *next, *end; void *free_lists[POOL_CLASSES]; };

struct snapshot {
  uint64_t ready;
  JSContext *context;
  JSValue entry;
  const char *source_map;
  struct pool_area room; /* for new blocks */
  char pool[POOL_BYTES] __attribute__((aligned(64)));
};

__attribute__((section(".snap"), aligned(4096))) static struct snapshot snap = {
  .ready = 0, .room = { .next = snap.pool, .end = snap.pool + POOL_BYTES },
};

extern char pool_cold[]; /* cold.h */

/*
 * What the finished program allocates first: zero pages, which cost less than copies of a file's. Behind the frozen heap, as
 * all that is new: by its address a block is known to be frozen, and then nobody counts references to it.
 */
extern char pool_first_chunk[]; /* cold.h */
extern uintptr_t js_frozen_end;

/* A block is its usable size in 8 bytes, and the bytes given out. (A mapping of its own begins 16 bytes before.) */
#define POOL_HEADER sizeof(size_t)
static inline size_t *pool_size(void *p) { return (size_t *)p - 1; }

static inline int pool_is_cold(const void *p) { return (uintptr_t)p - (uintptr_t)pool_cold < POOL_COLD_BYTES; }

static inline int pool_is_frozen(const void *p) {
  return (uintptr_t)p - (uintptr_t)snap.pool < POOL_BYTES || pool_is_cold(p);
}

/* Whether a block is a mapping of its own. Until the snapshot is taken none is: it would not be in it. */
static inline int pool_is_mapping(void *p) { return snap.ready && *pool_size(p) > POOL_LARGE && !pool_is_frozen(p); }

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
  /* Linux gives a place high above. One below what is frozen, as valgrind gives, would be taken for frozen. */
  return p == MAP_FAILED || (uintptr_t)p < js_frozen_end ? NULL : p;
}

/* ---- places, while the snapshot is made ---- */

/*
 * From scripts/placement.ts: the size of each area, its alignment, and the area of each block in the order in which they are
 * made. Areas lie in .snap one after the other, but for the first, which is dropped, and the last, if it is the cold part.
 */
struct pool_placement { uint64_t blocks, areas, has_cold, numbers[]; };
static const struct pool_placement *pool_placement;
static struct pool_area *pool_areas;
static uint64_t pool_blocks; /* made so far */

#define POOL_DROPPED 0
static uint64_t pool_area_size(uint64_t area) { return pool_placement->numbers[area]; }
static uint64_t pool_area_alignment(uint64_t area) { return pool_placement->numbers[pool_placement->areas + area]; }
static uint16_t pool_area_of_block(uint64_t n) { return ((const uint16_t *)&pool_placement->numbers[2 * pool_placement->areas])[n]; }

#ifdef HOST_TRAINING
static uint32_t pool_numbers[POOL_BYTES / POOL_GRAIN]; /* the block that begins here, from 1 */
static void pool_note(char *p, uint64_t number) { if (!snap.ready) pool_numbers[(p - snap.pool) / POOL_GRAIN] = number; }
#else
static void pool_note(char *p, uint64_t number) { (void)p, (void)number; }
#endif

#define POOL_DROPPED_BYTES (64u << 20)

static void pool_place(const struct pool_placement *placement) {
  pool_placement = placement;
  char *dropped = pool_map(POOL_DROPPED_BYTES), *at = snap.pool, *cold = pool_cold;
  pool_areas = pool_map(placement->areas * sizeof *pool_areas);
  if (!dropped || !pool_areas) _exit(70);
  pool_areas[POOL_DROPPED] = (struct pool_area){ .next = dropped, .end = dropped + POOL_DROPPED_BYTES };
  for (uint64_t i = 1; i < placement->areas; i++) {
    char **part = i == placement->areas - 1 && placement->has_cold ? &cold : &at;
    *part += -(uintptr_t)*part & (pool_area_alignment(i) - 1);
    pool_areas[i] = (struct pool_area){ .next = *part, .end = *part + pool_area_size(i) };
    *part += pool_area_size(i);
  }
  if (at > snap.pool + POOL_BYTES || cold > pool_cold + POOL_COLD_BYTES) {
    dprintf(2, "host: the areas do not fit into .snap and .cold_heap\n");
    _exit(70);
  }
}

static struct pool_area *pool_area_of_next(void) {
  if (snap.ready) return &snap.room;
  uint64_t n = pool_blocks++;
  if (!pool_placement) return &snap.room;
  return &pool_areas[n < pool_placement->blocks ? pool_area_of_block(n) : POOL_DROPPED];
}

static struct pool_area *pool_area_of(const char *p) {
  if (snap.ready || !pool_placement) return &snap.room;
  for (uint64_t i = 1; pool_is_frozen(p) && i < pool_placement->areas; i++)
    if (p < pool_areas[i].end && p >= pool_areas[i].end - pool_area_size(i)) return &pool_areas[i];
  return &pool_areas[POOL_DROPPED];
}

/* Whether each area holds exactly the blocks that it was made for. */
static int pool_is_as_placed(void) {
  for (uint64_t i = 1; pool_placement && i < pool_placement->areas; i++)
    if (pool_areas[i].next != pool_areas[i].end) return 0;
  return 1;
}

/* ---- blocks ---- */

static void *pool_take(struct pool_area *area, size_t usable) {
  size_t whole = usable + POOL_HEADER;
  if (snap.ready && usable > POOL_LARGE) {
    char *fresh = pool_map(pool_pages(usable));
    if (!fresh) return NULL;
    *pool_size(fresh + 16) = pool_pages(usable) - 16;
    return fresh + 16;
  }
  if ((size_t)(area->end - area->next) < whole) {
    if (!snap.ready) {
      dprintf(2, "host: no room for block %lu of %zu bytes: %s\n", pool_blocks, usable,
              pool_placement ? "the heap is not made as it was in training" : "raise TRAINING_POOL_KIB in scripts/link-host.ts");
      _exit(70);
    }
    char *fresh = pool_map(POOL_CHUNK);
    if (!fresh) return NULL;
    area->next = fresh;
    area->end = fresh + POOL_CHUNK;
  }
  char *p = area->next + POOL_HEADER;
  area->next += whole;
  *pool_size(p) = usable;
  return p;
}

static void pool_give(struct pool_area *area, char *p, size_t usable) {
  *pool_size(p) = usable;
  size_t class = pool_class(usable);
  *(void **)p = area->free_lists[class];
  area->free_lists[class] = p;
}

static void *pool_malloc(JSMallocState *state, size_t n) {
  (void)state;
  if (n > (SIZE_MAX >> 1)) return NULL;
  size_t usable = pool_round(n), class = pool_class(usable);
  struct pool_area *area = pool_area_of_next();
  void **p = class < POOL_CLASSES ? area->free_lists[class] : NULL;
  if (p) area->free_lists[class] = *p;
  else p = pool_take(area, usable);
  pool_note((char *)p, pool_blocks);
  return p;
}

static void pool_free(JSMallocState *state, void *p) {
  (void)state;
  /* To keep it for others would cost its page; and what is made in it would be taken for frozen. */
  if (!p || (snap.ready && pool_is_frozen(p))) return;
  size_t usable = *pool_size(p), class = pool_class(usable);
  if (pool_is_mapping(p)) { munmap((char *)p - 16, usable + 16); return; }
  struct pool_area *area = pool_area_of(p);
  pool_note(p, 0);
  if ((char *)p + usable == area->next) area->next = (char *)p - POOL_HEADER;
  else if (class > 0 && class < POOL_CLASSES) pool_give(area, p, usable);
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
  struct pool_area *area = &snap.room;
  if (snap.ready && (char *)p + had == area->next && (size_t)(area->end - area->next) >= usable - had && usable <= POOL_LARGE) {
    area->next += usable - had;
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
