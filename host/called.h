/*
 * Which calls of sys.table were made, in the build for the sanitizers: a byte for each, in the table's order, in the file
 * TUPPER_CALLS, if that is set. The file is mapped and shared, so that a process may end or execute as it likes.
 * scripts/lanes.ts makes the file and compares it with the table.
 */
#ifndef CALLED_H
#define CALLED_H

#define CALLS (sizeof sys_calls / sizeof *sys_calls)

static unsigned char *called;

static JSValue call_and_tell(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int number) {
  called[number] = 1;
  return sys_calls[number].u.func.cfunc.generic(ctx, self, argc, argv);
}

/* Puts functions that tell before those of the table. A file that this user may not write tells nothing. */
static void tell_calls(JSContext *ctx, JSValueConst sys) {
  const char *path = getenv("TUPPER_CALLS");
  int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return;
  called = mmap(NULL, CALLS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (called == MAP_FAILED) { perror(path); exit(70); }
  for (size_t i = 0; i < CALLS; i++) {
    const JSCFunctionListEntry *call = &sys_calls[i];
    JSValue function = JS_NewCFunctionMagic(ctx, call_and_tell, call->name, call->u.func.length, JS_CFUNC_generic_magic, i);
    JS_SetPropertyStr(ctx, sys, call->name, function);
  }
}

#endif
