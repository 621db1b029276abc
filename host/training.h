/*
 * The training build: which blocks of the heap and which functions a command touches.
 *
 * QuickJS is compiled with -fsanitize=thread, whose calls for each access of memory and each function entered end here
 * instead of in its library. $TUPPER_MARKS is the file of marks, shared by all processes of the command: a byte for every 8 of
 * the heap (1 read, 2 written), then one for every 16 of the program's text. $TUPPER_TRAINING is a script that is evaluated
 * before the command: scripts/training/world.ts puts a make-believe machine in the place of the kernel.
 */
#ifndef TRAINING_H
#define TRAINING_H

#define MARKS_HEAP (POOL_BYTES / POOL_GRAIN)
#define MARKS_TEXT (4u << 20 >> 4)
#define MARKS_BYTES (MARKS_HEAP + MARKS_TEXT)

extern const char __executable_start[];
static uint8_t *training_marks;
static int training_observes; /* what the script itself does is none of the command's doing */

static inline void mark(const void *p, size_t n, uint8_t how) {
  uintptr_t from = (uintptr_t)p - (uintptr_t)snap.pool;
  if (!training_marks || !training_observes || from >= POOL_BYTES || !n) return;
  for (uintptr_t at = from / POOL_GRAIN; at <= (from + n - 1) / POOL_GRAIN; at++) training_marks[at] |= how;
}

#define ACCESS(bytes) \
  void __tsan_read##bytes(void *p) { mark(p, bytes, 1); } \
  void __tsan_write##bytes(void *p) { mark(p, bytes, 2); }
ACCESS(1) ACCESS(2) ACCESS(4) ACCESS(8) ACCESS(16)
void __tsan_read_range(void *p, size_t n) { mark(p, n, 1); }
void __tsan_write_range(void *p, size_t n) { mark(p, n, 2); }
void __tsan_init(void) {}
void __tsan_func_exit(void) {}
void __tsan_func_entry(void *caller) {
  (void)caller;
  uintptr_t at = ((uintptr_t)__builtin_return_address(0) - (uintptr_t)__executable_start) / 16;
  if (training_marks && training_observes && at < MARKS_TEXT) training_marks[MARKS_HEAP + at] = 1;
}

/* What libc does for QuickJS is not compiled with marks (-Wl,--wrap). */
#define WRAP(result, name, parameters, arguments, ...) \
  result __real_##name parameters; \
  result __wrap_##name parameters { __VA_ARGS__; return __real_##name arguments; }
WRAP(void *, memcpy, (void *to, const void *from, size_t n), (to, from, n), mark(from, n, 1), mark(to, n, 2))
WRAP(void *, memmove, (void *to, const void *from, size_t n), (to, from, n), mark(from, n, 1), mark(to, n, 2))
WRAP(void *, memset, (void *to, int c, size_t n), (to, c, n), mark(to, n, 2))
WRAP(int, memcmp, (const void *a, const void *b, size_t n), (a, b, n), mark(a, n, 1), mark(b, n, 1))
WRAP(size_t, strlen, (const char *s), (s), mark(s, __real_strlen(s), 1))

static char *read_whole(const char *path, size_t *length);
static void print_exception(JSContext *ctx);
static JSContext *new_language(JSRuntime *rt);
/*
 * __observe(true), __observe(false), __observe() for a process that shall leave no marks, __observe(fn, ...args): as if
 * the host's function had been called and had read what it is given, and then as with false.
 */
static JSValue training_observe(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv) {
  (void)this;
  training_observes = 0;
  if (!argc) training_marks = NULL;
  else if (JS_IsFunction(ctx, argv[0])) {
    training_observes = 1;
    for (int i = 0; i < argc; i++)
      if (JS_VALUE_HAS_REF_COUNT(argv[i])) mark(JS_VALUE_GET_PTR(argv[i]), pool_usable(JS_VALUE_GET_PTR(argv[i])), 1);
    training_observes = 0;
  } else training_observes = JS_ToBool(ctx, argv[0]);
  return JS_UNDEFINED;
}

void host_tables(JSRuntime *rt, void *tables[4]);
static void training_begin(JSContext *ctx) {
  const char *marks = getenv("TUPPER_MARKS"), *script = getenv("TUPPER_TRAINING");
  if (marks) {
    int fd = open(marks, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    void *map = fd < 0 || ftruncate(fd, MARKS_BYTES) ? MAP_FAILED : mmap(NULL, MARKS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) { perror(marks); _exit(70); }
    close(fd);
    training_marks = map;
    /* The script's own names and shapes may move these elsewhere, before a command writes to them. */
    void *tables[4];
    host_tables(JS_GetRuntime(ctx), tables);
    training_observes = 1;
    for (int i = 0; i < 4; i++) mark(tables[i], pool_usable(tables[i]), 2);
    training_observes = 0;
  }
  if (script) {
    /* In a realm of its own: what it uses of the language first is not made before the command needs it. */
    JSContext *world = new_language(JS_GetRuntime(ctx));
    JSValue own = JS_GetGlobalObject(world), global = JS_GetGlobalObject(ctx);
    JS_SetPropertyStr(world, own, "__observe", JS_NewCFunction(world, training_observe, "__observe", 0));
    JS_SetPropertyStr(world, own, "__sys", JS_GetPropertyStr(ctx, global, "__sys"));
    JS_SetPropertyStr(world, own, "__main", JS_GetPropertyStr(ctx, global, "__main"));
    size_t length;
    char *source = read_whole(script, &length);
    JSValue result = JS_Eval(world, source, length, script, JS_EVAL_TYPE_GLOBAL);
    if (JS_IsException(result)) { print_exception(world); _exit(70); }
  }
  training_observes = 1;
}

#endif
