/*
 * Which branches a piece of work takes, in the build for the sanitizers: of the TypeScript, where the interpreter jumps
 * (quickjs_frames.c calls host_edge with the place in the bytecode), and of our C, where gcc puts a call at each branch
 * (-fsanitize-coverage=trace-pc). tests/fuzz looks for inputs that take new ones.
 *
 * An edge is a pair of places, one after the other, as a number of 18 bits; how often it is taken counts by powers of two.
 * Nothing is recorded but between begin() and end(kind) of the global object `__coverage`; what is new is new for that kind.
 */
#ifndef COVERAGE_H
#define COVERAGE_H

#define EDGES (1u << 18)
#define UNSEEN __attribute__((no_sanitize_coverage, no_sanitize("address", "undefined")))

#define EDGE_KINDS 32
static uint8_t edge_counts[EDGES], *edges_by_kind[EDGE_KINDS];
static uint64_t edge_before;
static int edges_are_recorded;

void host_edge(const void *place);
UNSEEN void host_edge(const void *place) {
  if (!edges_are_recorded) return;
  uint64_t here = (uint64_t)(uintptr_t)place * 0x9e3779b97f4a7c15u >> 46;
  uint8_t *count = &edge_counts[(here ^ edge_before) % EDGES];
  if (*count < 255) ++*count;
  edge_before = here >> 1;
}

void __sanitizer_cov_trace_pc(void);
UNSEEN void __sanitizer_cov_trace_pc(void) { host_edge(__builtin_return_address(0)); }

UNSEEN static JSValue coverage_begin(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)ctx, (void)self, (void)argc, (void)argv;
  memset(edge_counts, 0, sizeof edge_counts);
  edge_before = 0;
  edges_are_recorded = 1;
  return JS_UNDEFINED;
}

/* end(kind): [edges that were never taken before, edges that were never taken so often]. */
UNSEEN static JSValue coverage_end(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self, (void)argc;
  edges_are_recorded = 0;
  uint32_t kind;
  if (JS_ToUint32(ctx, &kind, argv[0])) return JS_EXCEPTION;
  kind %= EDGE_KINDS;
  if (!edges_by_kind[kind] && !(edges_by_kind[kind] = calloc(1, EDGES))) return JS_ThrowOutOfMemory(ctx);
  uint8_t *edges_seen = edges_by_kind[kind];
  uint32_t edges = 0, counts = 0;
  for (size_t i = 0; i < EDGES; i += 8) {
    uint64_t eight;
    memcpy(&eight, &edge_counts[i], 8);
    if (!eight) continue;
    for (size_t j = i; j < i + 8; j++) {
      if (!edge_counts[j]) continue;
      uint8_t bit = 1 << (31 - __builtin_clz(edge_counts[j]));
      if (!edges_seen[j]) edges++;
      else if (!(edges_seen[j] & bit)) counts++;
      edges_seen[j] |= bit;
    }
  }
  JSValue result = JS_NewArray(ctx);
  JS_SetPropertyUint32(ctx, result, 0, JS_NewUint32(ctx, edges));
  JS_SetPropertyUint32(ctx, result, 1, JS_NewUint32(ctx, counts));
  return result;
}

/* Nobody else frees what refers to itself (JS_SetGCThreshold in host.c), and inputs are many. */
static JSValue coverage_collect(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self, (void)argc, (void)argv;
  JS_RunGC(JS_GetRuntime(ctx));
  return JS_UNDEFINED;
}

static void add_coverage(JSContext *ctx, JSValueConst global) {
  JSValue object = JS_NewObject(ctx);
  JS_SetPropertyStr(ctx, object, "begin", JS_NewCFunction(ctx, coverage_begin, "begin", 0));
  JS_SetPropertyStr(ctx, object, "end", JS_NewCFunction(ctx, coverage_end, "end", 1));
  JS_SetPropertyStr(ctx, object, "collect", JS_NewCFunction(ctx, coverage_collect, "collect", 0));
  JS_SetPropertyStr(ctx, global, "__coverage", object);
}

#endif
