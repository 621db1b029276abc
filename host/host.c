/*
 * The host: QuickJS, one global object `sys`, and a heap that starts where the build left it.
 *
 * A normal build runs itself with --snapshot to evaluate the TypeScript bundle, and stores the
 * resulting heap in its own sections .snap and .cold (scripts/build.ts). At start the heap is
 * simply there: no parsing, no evaluation. This needs a non-PIE static binary (pointers in the
 * heap stay true), an allocator that keeps everything in those places (pool.h), and a bundle whose
 * top level reads nothing of the outside world.
 *
 * With -DHOST_PLAIN the same program uses libc's allocator and evaluates the bundle's bytecode at
 * every start: the build for the sanitizers.
 *
 * The host knows Linux and nothing of containers.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "quickjs.h"

#ifndef HOST_PLAIN
#include "pool.h"
#include "cold.h"
#else
#define cold_wake(p, n) ((void)(p), (void)(n))
#define cold_wake_all() ((void)0)
#define cold_may_come(program, count) ((void)(program), (void)(count), 1)
#endif
#ifdef HOST_TRAINING
#define TRAINING 1
#include "training.h"
#else
#define TRAINING 0
#endif
#include "native.h"
#include "sys_glue.h"
#ifdef HOST_PLAIN
#include "called.h"
#include "coverage.h"
#endif

/* JavaScript may use this much stack: above what deep JSON needs, below what a child's stack has. */
#define JS_STACK_BYTES (384u << 10)

static void print_exception(JSContext *ctx) {
  JSValue error = JS_GetException(ctx);
  const char *text = JS_ToCString(ctx, error);
  dprintf(2, "fatal: %s\n", text ? text : "(an exception without text)");
  JSValue stack = JS_GetPropertyStr(ctx, error, "stack");
  const char *trace = JS_IsString(stack) ? JS_ToCString(ctx, stack) : NULL; /* throw "text" has none */
  if (trace) dprintf(2, "%s", trace);
}

/*
 * JavaScript without eval, so that the binary has no parser in it (150 KiB): the training build compiles the bundle.
 * And without String.prototype.normalize, which wants tables, WeakRef, for which nobody collects garbage, and Proxy, which
 * only the builds for tests use (lazy-programs in scripts/build.ts); functions of Math are left out in scripts/quickjs-source.ts.
 */
static JSContext *new_language(JSRuntime *rt) {
  JSContext *ctx = JS_NewContextRaw(rt);
  JS_AddIntrinsicBaseObjects(ctx);
  JS_AddIntrinsicDate(ctx);
  if (TRAINING) JS_AddIntrinsicEval(ctx);
  JS_AddIntrinsicRegExp(ctx);
  JS_AddIntrinsicJSON(ctx);
#ifdef HOST_PLAIN
  JS_AddIntrinsicProxy(ctx);
#endif
  JS_AddIntrinsicMapSet(ctx);
  JS_AddIntrinsicTypedArrays(ctx);
  JS_AddIntrinsicPromise(ctx);
  return ctx;
}

static JSContext *new_context(JSRuntime *rt) {
  JS_SetMaxStackSize(rt, JS_STACK_BYTES);
  JS_SetGCThreshold(rt, (size_t)-1);
  /* Every function would keep its source text, and the text of those inside it once more. */
  JS_SetStripInfo(rt, JS_STRIP_SOURCE);
  JSContext *ctx = new_language(rt);
  JSValue global = JS_GetGlobalObject(ctx), sys = JS_NewObject(ctx);
  JS_SetPropertyFunctionList(ctx, sys, sys_calls, sizeof sys_calls / sizeof *sys_calls);
#ifdef HOST_PLAIN
  tell_calls(ctx, sys);
  add_coverage(ctx, global);
#endif
  JS_SetPropertyStr(ctx, global, "__sys", sys);
  JS_FreeValue(ctx, global);
  return ctx;
}

static char *read_whole(const char *path, size_t *length) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st)) { perror(path); exit(70); }
  char *text = malloc(st.st_size + 1);
  size_t got = 0;
  while (got < (size_t)st.st_size) {
    ssize_t n = read(fd, text + got, st.st_size - got);
    if (n <= 0) { perror(path); exit(70); }
    got += n;
  }
  close(fd);
  text[got] = 0;
  *length = got;
  return text;
}

#if TRAINING
/*
 * Compiles the bundle in a runtime of its own, which leaves all that the parser needed behind: the heap that is
 * frozen gets the bytecode only. With line numbers, without the source (it is for Function.prototype.toString).
 */
static uint8_t *compile_bundle(const char *path, size_t *size) {
  JSRuntime *rt = JS_NewRuntime();
  JS_SetMaxStackSize(rt, JS_STACK_BYTES);
  JS_SetStripInfo(rt, JS_STRIP_SOURCE);
  JSContext *ctx = JS_NewContext(rt);
  size_t length;
  char *source = read_whole(path, &length);
  JSValue compiled = JS_Eval(ctx, source, length, "bundle.js", JS_EVAL_TYPE_GLOBAL | JS_EVAL_FLAG_COMPILE_ONLY);
  free(source);
  if (JS_IsException(compiled)) { print_exception(ctx); exit(70); }
  uint8_t *bytecode = JS_WriteObject(ctx, size, compiled, JS_WRITE_OBJ_BYTECODE);
  if (!bytecode) { print_exception(ctx); exit(70); }
  uint8_t *copy = malloc(*size);
  memcpy(copy, bytecode, *size);
  js_free(ctx, bytecode);
  JS_FreeValue(ctx, compiled);
  JS_FreeContext(ctx);
  JS_FreeRuntime(rt);
  return copy;
}
#endif

/* Evaluates the bundle; its last act is to set globalThis.__main. Frees the bytecode. */
static JSValue load_bundle(JSContext *ctx, uint8_t *bytecode, size_t size) {
  JSValue function = JS_ReadObject(ctx, bytecode, size, JS_READ_OBJ_BYTECODE);
  free(bytecode);
  JSValue result = JS_IsException(function) ? function : JS_EvalFunction(ctx, function);
  if (JS_IsException(result)) { print_exception(ctx); exit(70); }
  JS_FreeValue(ctx, result);
  JSValue global = JS_GetGlobalObject(ctx), entry = JS_GetPropertyStr(ctx, global, "__main");
  JS_FreeValue(ctx, global);
  return entry;
}

static int call_main(JSContext *ctx, JSValue entry, int argc, char **argv) {
  JSValue list = JS_NewArray(ctx);
  for (int i = 0; i < argc; i++) JS_SetPropertyUint32(ctx, list, i, new_text(ctx, argv[i], strlen(argv[i])));
  JSValue result = JS_Call(ctx, entry, JS_UNDEFINED, 1, (JSValueConst *)&list);
  if (JS_IsException(result)) { print_exception(ctx); return 70; }
  int32_t code = 70;
  JS_ToInt32(ctx, &code, result);
  return code;
}

#ifdef HOST_PLAIN

int main(int argc, char **argv) {
  /* Tests bring bundles of their own. This program is never installed. */
  const char *bytecode = getenv("TUPPER_BYTECODE"), *source_map = getenv("TUPPER_SOURCE_MAP");
  host_source_map_path = source_map ? source_map : HOST_SOURCE_MAP;
  JSContext *ctx = new_context(JS_NewRuntime());
  /* _exit: LeakSanitizer has nothing to say about a heap that dies with the process. */
  size_t size;
  uint8_t *bundle = (uint8_t *)read_whole(bytecode ? bytecode : HOST_BYTECODE, &size);
  _exit(call_main(ctx, load_bundle(ctx, bundle, size), argc, argv));
}

#else

/*
 * QuickJS seeds Math.random from the clock when it makes a context. In the build that clock stands
 * still, so that two builds are equal; src/sys/prelude.ts replaces Math.random by getrandom(2).
 */
int __real_gettimeofday(struct timeval *tv, void *tz);
int __wrap_gettimeofday(struct timeval *tv, void *tz) {
  if (snap.ready && !TRAINING) return __real_gettimeofday(tv, tz);
  *tv = (struct timeval){ 0 };
  return 0;
}

static void write_file(const char *path, const void *bytes, size_t length) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  for (size_t done = 0; done < length;) {
    ssize_t n = write(fd, (const char *)bytes + done, length - done);
    if (n <= 0) { perror(path); _exit(70); }
    done += n;
  }
  close(fd);
}

/* Runs on a stack of its own at a fixed address, so that no stack address differs between two builds. */
static int make_snapshot(void *data) {
  char **argv = data;
  size_t length;
  if (!TRAINING && argv[6]) pool_place((const struct pool_placement *)read_whole(argv[6], &length));
  host_source_map = read_whole_into_pool(argv[3]);
  JSRuntime *rt = JS_NewRuntime2(&pool_functions, NULL);
  JSContext *ctx = new_context(rt);
  uint8_t *bytecode = (uint8_t *)read_whole(argv[2], &length);
  snap.entry = load_bundle(ctx, bytecode, length);
  JS_RunGC(rt);
  host_order_chains(rt);
  if (!pool_is_as_placed()) { dprintf(2, "host: the heap is not made as it was the first time\n"); _exit(70); }
#ifdef HOST_TRAINING
  if (argv[6]) write_file(argv[6], pool_numbers, sizeof pool_numbers);
#endif
  snap.room = (struct pool_area){ .next = pool_first_chunk, .end = pool_first_chunk + POOL_CHUNK };
  snap.context = ctx;
  snap.source_map = host_source_map;
  snap.ready = 1;
  write_file(argv[4], &snap, sizeof snap);
  write_file(argv[5], pool_cold, POOL_COLD_BYTES);
  _exit(0);
}

int main(int argc, char **argv) {
  if (snap.ready) {
    cold_begin(argv);
    js_frozen_end = (uintptr_t)pool_first_chunk;
    host_source_map = snap.source_map;
    JS_UpdateStackTop(JS_GetRuntime(snap.context));
#ifdef HOST_TRAINING
    training_begin(snap.context);
#endif
    _exit(call_main(snap.context, snap.entry, argc, argv));
  }
#if TRAINING
  if (argc == 4 && !strcmp(argv[1], "--compile")) {
    size_t size;
    uint8_t *bytecode = compile_bundle(argv[2], &size);
    write_file(argv[3], bytecode, size);
    return 0;
  }
#endif
  if (argc < 6 || argc > 7 || strcmp(argv[1], "--snapshot")) {
    dprintf(2, "usage: host --snapshot BYTECODE SOURCE-MAP HOT COLD [%s]\n", TRAINING ? "NUMBERS" : "PLACEMENT");
    return 64;
  }
  return run_on_fixed_stack(make_snapshot, argv);
}

#endif
