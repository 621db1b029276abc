/*
 * What the generated glue cannot do: text that is not UTF-8, a child on its own stack,
 * descriptors in messages, structures with pointers inside.
 */
#ifndef NATIVE_H
#define NATIVE_H

#include <poll.h>
#include <linux/bpf.h>
#include <linux/futex.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include "filter.h"

#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif
#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_move_mount 429
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#endif

#include "old_kernels.h"
#include "clone.h"

#define FN(name) static JSValue native_##name(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
#define UNUSED (void)ctx, (void)self, (void)argc, (void)argv

static const char *host_source_map;

/* ---- values ------------------------------------------------------------------------------- */

/*
 * Paths are bytes, JavaScript strings are UTF-16. A byte that is not part of valid UTF-8 becomes
 * the lone surrogate U+DC00 + byte (as Python's surrogateescape does) and turns back on the way out.
 */
struct text { const char *bytes; size_t length; const char *owner; char *copy; };
struct span { void *bytes; size_t length; };

static int take_int(JSContext *ctx, JSValueConst v, int64_t *out) {
  if (JS_VALUE_GET_TAG(v) == JS_TAG_INT) { *out = JS_VALUE_GET_INT(v); return 0; }
  if (JS_IsBigInt(ctx, v)) return JS_ToBigInt64(ctx, out, v);
  if (!JS_IsNumber(v)) { JS_ThrowTypeError(ctx, "sys: a number is wanted"); return -1; }
  return JS_ToInt64(ctx, out, v);
}

static int take_string(JSContext *ctx, JSValueConst v, struct text *t) {
  t->copy = NULL;
  t->bytes = t->owner = JS_ToCStringLen(ctx, &t->length, v);
  if (!t->owner) return -1;
  const unsigned char *s = (const unsigned char *)t->owner;
  if (!memchr(s, 0xed, t->length)) return 0;
  char *out = js_malloc(ctx, t->length + 1);
  if (!out) return -1;
  size_t n = 0;
  for (size_t i = 0; i < t->length;) {
    if (s[i] == 0xed && i + 2 < t->length && (s[i + 1] == 0xb2 || s[i + 1] == 0xb3)) {
      out[n++] = ((s[i + 1] & 1) << 6) | (s[i + 2] & 0x3f) | 0x80; /* U+DC80..U+DCFF */
      i += 3;
    } else out[n++] = s[i++];
  }
  out[n] = 0;
  t->bytes = t->copy = out;
  t->length = n;
  return 0;
}

static void give_text(JSContext *ctx, struct text *t) {
  if (t->owner) JS_FreeCString(ctx, t->owner);
  js_free(ctx, t->copy);
}

static int take_text(JSContext *ctx, JSValueConst v, struct text *t, int nullable) {
  if (nullable && (JS_IsNull(v) || JS_IsUndefined(v))) { *t = (struct text){ 0 }; return 0; }
  if (!JS_IsString(v)) { JS_ThrowTypeError(ctx, "sys: a string is wanted"); return -1; }
  if (take_string(ctx, v, t)) return -1;
  if (strlen(t->bytes) == t->length) return 0;
  /* The text up to the NUL byte says which string it was. */
  JS_ThrowTypeError(ctx, "sys: \"%.200s\\0…\" has a NUL byte and cannot be handed to the kernel", t->bytes);
  give_text(ctx, t);
  return -1;
}

static int take_span(JSContext *ctx, JSValueConst v, struct span *s, int nullable) {
  if (nullable && (JS_IsNull(v) || JS_IsUndefined(v))) { *s = (struct span){ 0 }; return 0; }
  s->bytes = JS_GetArrayBuffer(ctx, &s->length, v);
  cold_wake(s->bytes, s->length);
  return s->bytes || s->length == 0 ? (JS_HasException(ctx) ? -1 : 0) : -1;
}

static int take_data(JSContext *ctx, JSValueConst v, struct text *t) {
  if (JS_IsString(v)) return take_string(ctx, v, t);
  struct span s;
  if (take_span(ctx, v, &s, 0)) return -1;
  *t = (struct text){ .bytes = s.bytes, .length = s.length };
  return 0;
}

static void give_strings(JSContext *ctx, char **list) {
  for (char **s = list; *s; s++) js_free(ctx, *s);
  js_free(ctx, list);
}

static char **take_strings(JSContext *ctx, JSValueConst array) {
  int64_t n = 0;
  JSValue length = JS_GetPropertyStr(ctx, array, "length");
  if (JS_ToInt64(ctx, &n, length)) return NULL;
  if (n < 0 || n > 1 << 20) { JS_ThrowTypeError(ctx, "sys: an array of strings is wanted"); return NULL; }
  char **list = js_mallocz(ctx, (n + 1) * sizeof *list);
  for (int64_t i = 0; list && i < n; i++) {
    JSValue item = JS_GetPropertyUint32(ctx, array, i);
    struct text t;
    if (take_text(ctx, item, &t, 0)) { give_strings(ctx, list); JS_FreeValue(ctx, item); return NULL; }
    list[i] = js_malloc(ctx, t.length + 1);
    if (list[i]) memcpy(list[i], t.bytes, t.length + 1);
    give_text(ctx, &t);
    JS_FreeValue(ctx, item);
    if (!list[i]) { give_strings(ctx, list); return NULL; }
  }
  return list;
}

/* The length of the valid UTF-8 sequence at s, or 0. Surrogates and overlong forms are not valid. */
static int utf8_length(const unsigned char *s, size_t left) {
  unsigned char c = s[0];
  int n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
  if (n == 0 || (size_t)n > left) return 0;
  for (int i = 1; i < n; i++) if ((s[i] & 0xc0) != 0x80) return 0;
  if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f)) return 0;
  if ((c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] > 0x8f)) return 0;
  return n;
}

static JSValue new_text(JSContext *ctx, const char *bytes, size_t length) {
  const unsigned char *s = (const unsigned char *)bytes;
  size_t i = 0, bad = 0;
  /* Mostly all of it is ASCII. */
  for (uint64_t eight; length - i >= 8; i += 8) {
    memcpy(&eight, s + i, 8);
    if (eight & 0x8080808080808080) break;
  }
  if (length >= 8 && length - i < 8) { /* the last ones, some of them once more */
    uint64_t eight;
    memcpy(&eight, s + length - 8, 8);
    if (!(eight & 0x8080808080808080)) i = length;
  }
  while (i < length) { int n = utf8_length(s + i, length - i); if (n) i += n; else { bad++; i++; } }
  if (!bad) return JS_NewStringLen(ctx, bytes, length);
  char *out = js_malloc(ctx, length + 2 * bad);
  if (!out) return JS_EXCEPTION;
  size_t o = 0;
  for (i = 0; i < length;) {
    int n = utf8_length(s + i, length - i);
    if (n) { memcpy(out + o, s + i, n); o += n; i += n; continue; }
    out[o++] = (char)0xed; out[o++] = (char)(0xb0 | (s[i] >> 6)); out[o++] = (char)(0x80 | (s[i] & 0x3f));
    i++;
  }
  JSValue v = JS_NewStringLen(ctx, out, o);
  js_free(ctx, out);
  return v;
}

/* ---- files -------------------------------------------------------------------------------- */

/* No file of ours, of the kernel or of a caller is so long; /dev/zero is. */
#define TEXT_BYTES (256u << 20)

/* The rest of a file as text, or EFBIG. Files of /proc and of cgroups are small, and want few reads. */
FN(read_text) {
  UNUSED;
  int64_t fd;
  if (take_int(ctx, argv[0], &fd)) return JS_EXCEPTION;
  static char small[16384];
  char *buffer = small;
  size_t size = sizeof small, length = 0;
  for (;;) {
    ssize_t n = read(fd, buffer + length, size - length);
    if (n < 0) { int e = errno; if (buffer != small) js_free(ctx, buffer); return JS_NewInt32(ctx, -e); }
    if (n == 0) break;
    length += n;
    if (length < size) continue;
    if (size == TEXT_BYTES) { js_free(ctx, buffer); return JS_NewInt32(ctx, -EFBIG); }
    char *larger = js_malloc(ctx, size * 4);
    if (!larger) { if (buffer != small) js_free(ctx, buffer); return JS_EXCEPTION; }
    memcpy(larger, buffer, length);
    if (buffer != small) js_free(ctx, buffer);
    buffer = larger;
    size *= 4;
  }
  JSValue text = new_text(ctx, buffer, length);
  if (buffer != small) js_free(ctx, buffer);
  return text;
}

FN(readlink_text) {
  UNUSED;
  int64_t dirfd;
  struct text path;
  if (take_int(ctx, argv[0], &dirfd) || take_text(ctx, argv[1], &path, 0)) return JS_EXCEPTION;
  char target[4096];
  long n = syscall(SYS_readlinkat, dirfd, path.bytes, target, sizeof target);
  int e = errno;
  give_text(ctx, &path);
  return n < 0 ? JS_NewInt32(ctx, -e) : new_text(ctx, target, n);
}

FN(encode_text) {
  UNUSED;
  struct text t;
  if (take_string(ctx, argv[0], &t)) return JS_EXCEPTION;
  JSValue v = JS_NewArrayBufferCopy(ctx, (const uint8_t *)t.bytes, t.length);
  give_text(ctx, &t);
  return v;
}

FN(decode_text) {
  UNUSED;
  struct span s;
  int64_t start, end;
  if (take_span(ctx, argv[0], &s, 0) || take_int(ctx, argv[1], &start) || take_int(ctx, argv[2], &end)) return JS_EXCEPTION;
  if (start < 0 || end < start || (size_t)end > s.length) return JS_ThrowRangeError(ctx, "decodeText: outside the buffer");
  return new_text(ctx, (char *)s.bytes + start, end - start);
}

/* ---- processes ---------------------------------------------------------------------------- */

struct child { JSContext *ctx; JSValueConst function; };

void *host_stack_frame(JSRuntime *rt); /* quickjs_frames.c */
void host_order_chains(JSRuntime *rt);
void host_set_stack_frame(JSRuntime *rt, void *frame);

static int child_main(void *data) {
  struct child *child = data;
  JSContext *ctx = child->ctx; /* *child is in the parent's frame, which it leaves before this one ends */
#ifndef HOST_PLAIN
  in_copied_child = !on_shared_stack();
#endif
  JS_UpdateStackTop(JS_GetRuntime(ctx));
  host_set_stack_frame(JS_GetRuntime(ctx), NULL); /* the caller's frames are not this stack's */
  JSValue result = JS_Call(ctx, child->function, JS_UNDEFINED, 0, NULL);
  if (JS_IsException(result)) {
    JSValue error = JS_GetException(ctx);
    const char *text = JS_ToCString(ctx, error);
    dprintf(2, "fatal, in the child: %s\n", text ? text : "(an exception without text)");
  }
  _exit(127);
}

#ifndef HOST_PLAIN
/* A child that shares the memory, on a stack at a fixed address, while the caller sleeps. */
static char fixed_stack[1 << 20] __attribute__((aligned(4096)));
static int run_on_fixed_stack(int (*fn)(void *), void *data) {
  struct clone_args args = { .flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD,
                             .stack = (uintptr_t)fixed_stack, .stack_size = sizeof fixed_stack };
  long pid = make_child(&args, fn, data);
  int status = 0;
  if (pid < 0) { dprintf(2, "clone3: %s\n", strerror(-pid)); return 70; }
  if (syscall(SYS_wait4, pid, &status, 0, NULL) < 0) return 70;
  return status ? 70 : 0;
}

static char *read_whole(const char *path, size_t *length);
static const char *read_whole_into_pool(const char *path) {
  size_t length;
  char *text = read_whole(path, &length), *copy = pool_malloc(NULL, length + 1);
  memcpy(copy, text, length + 1);
  free(text);
  return copy;
}
#endif

/*
 * Whose turn it is to use the JavaScript heap, while a CLONE_VM child shares it. A message alone does not hand it
 * over: its sender still runs when the receiver wakes up. So each side gives up its turn only when it sleeps in
 * receive_message (or await_readable, spawn), and takes it before it returns from there. The kernel sets the word to HEAP_ALONE when
 * either side ends or the child execs (CLONE_CHILD_CLEARTID, set_tid_address), and wakes the other.
 */
enum { HEAP_ALONE, HEAP_CHILD, HEAP_NOBODY, HEAP_PARENT };
static int heap_turn;

/* The stack of the child that shares the heap: one at a time, so one stack. */
#define SHARED_STACK_BYTES (1 << 20)
static char *shared_stack;
static JSValue shared_function; /* all zero is the number 0 */

static int on_shared_stack(void) {
  return shared_stack && (uintptr_t)__builtin_frame_address(0) - (uintptr_t)shared_stack < SHARED_STACK_BYTES;
}

/*
 * Signals are blocked while a container is set up. One that comes to end us comes from somebody who wants the set-up to end, and a child
 * that shares the heap may sleep in the kernel meanwhile, in a mount that hangs (FUSE, NFS), and keep its turn. So its parent looks
 * for such a signal each LOOK_MS that it waits, and kills the child. True at the second look: who has not died by then is held by the
 * kernel, and never comes back to use the heap.
 */
enum { LOOK_MS = 500 };
static pid_t set_up_child;
static int looks;

static int is_given_up(void) {
  sigset_t pending;
  if (set_up_child == 0 || on_shared_stack() || sigpending(&pending)) return 0;
  if (!sigismember(&pending, SIGHUP) && !sigismember(&pending, SIGINT) && !sigismember(&pending, SIGQUIT) &&
      !sigismember(&pending, SIGTERM)) return 0;
  kill(set_up_child, SIGKILL);
  return looks++ > 0;
}

static void heap_release(void) {
  int mine = on_shared_stack() ? HEAP_CHILD : HEAP_PARENT;
  if (__atomic_compare_exchange_n(&heap_turn, &mine, HEAP_NOBODY, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
    syscall(SYS_futex, &heap_turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Around what sleeps: gives the turn up; the frame of this side, which the other may change, is for take_turn. */
static void *give_turn(JSContext *ctx) {
  void *frame = host_stack_frame(JS_GetRuntime(ctx));
  heap_release();
  return frame;
}

static void take_turn(JSContext *ctx, void *frame) {
  int mine = on_shared_stack() ? HEAP_CHILD : HEAP_PARENT;
  struct timespec look = { .tv_nsec = LOOK_MS * 1000000 };
  for (;;) {
    int turn = __atomic_load_n(&heap_turn, __ATOMIC_SEQ_CST);
    if (turn == HEAP_ALONE || turn == mine) break;
    if (turn != HEAP_NOBODY) {
      long r = syscall(SYS_futex, &heap_turn, FUTEX_WAIT, turn, mine == HEAP_PARENT ? &look : NULL, NULL, 0);
      if (r < 0 && errno == ETIMEDOUT && is_given_up()) __atomic_store_n(&heap_turn, HEAP_ALONE, __ATOMIC_SEQ_CST);
    } else if (__atomic_compare_exchange_n(&heap_turn, &turn, mine, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) break;
  }
  host_set_stack_frame(JS_GetRuntime(ctx), frame);
  JS_UpdateStackTop(JS_GetRuntime(ctx));
}

/*
 * spawn(flags, cgroupFd, childEnd, parentEnd, child): a child process that calls child().
 *
 * With CLONE_VM both share the JavaScript heap, so only one may run at a time: the parent sleeps here until the
 * child's first message, end of file included, stands on parentEnd and the child waits for an answer, has called
 * execve or has ended. From then on each side runs until it calls receive_message: a side that blocks in anything
 * else keeps the other one waiting. Without CLONE_VM the same protocol is merely polite. While an earlier child still
 * shares the heap, the next one gets a copy: CLONE_VM is dropped. childEnd is closed in the parent. With parentEnd -1, for
 * a child with memory of its own, nobody waits.
 */
FN(spawn) {
  UNUSED;
  int64_t flags, cgroup, child_end, parent_end;
  if (take_int(ctx, argv[0], &flags) || take_int(ctx, argv[1], &cgroup)) return JS_EXCEPTION;
  if (take_int(ctx, argv[2], &child_end) || take_int(ctx, argv[3], &parent_end)) return JS_EXCEPTION;
  int sets_up = (flags & CLONE_VM) != 0;
#ifdef HOST_PLAIN
  flags &= ~(int64_t)CLONE_VM; /* AddressSanitizer does not follow a second stack in one memory */
#endif
  if (__atomic_load_n(&heap_turn, __ATOMIC_SEQ_CST) != HEAP_ALONE) flags &= ~(int64_t)CLONE_VM;
  struct clone_args args = { .flags = flags, .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD, .cgroup = cgroup };
  struct child child = { ctx, argv[4] };
  void *frame = host_stack_frame(JS_GetRuntime(ctx));
  long pid;
  if (flags & CLONE_VM) {
    if (!shared_stack) {
      void *stack = mmap(NULL, SHARED_STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (stack == MAP_FAILED) return JS_NewInt32(ctx, -errno);
      shared_stack = stack;
      syscall(SYS_set_tid_address, &heap_turn);
    }
    /* The child runs the function after this call has returned and dropped its argument. */
    JS_FreeValue(ctx, shared_function);
    shared_function = JS_DupValue(ctx, argv[4]);
    args.flags |= CLONE_CHILD_CLEARTID;
    args.child_tid = (uintptr_t)&heap_turn;
    args.stack = (uintptr_t)shared_stack;
    args.stack_size = SHARED_STACK_BYTES;
    __atomic_store_n(&heap_turn, HEAP_CHILD, __ATOMIC_SEQ_CST);
    pid = make_child(&args, child_main, &child);
    if (pid < 0) __atomic_store_n(&heap_turn, HEAP_ALONE, __ATOMIC_SEQ_CST);
  } else {
    pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0) pid = -errno;
    if (pid < 0 && is_missing(SYS_clone3, pid)) pid = clone_call(&args, NULL, NULL);
    if (pid == 0) {
      heap_turn = HEAP_ALONE;                     /* of this copy */
      if (on_shared_stack()) shared_stack = NULL; /* it stands on it */
      child_main(&child);
    }
  }
  if (pid < 0) return JS_NewInt64(ctx, pid);
  close(child_end);
  if (parent_end < 0) return JS_NewInt64(ctx, pid);
  struct pollfd wait = { .fd = parent_end, .events = POLLIN };
  if (sets_up) {
    struct timeval look = { .tv_usec = LOOK_MS * 1000 };
    setsockopt(parent_end, SOL_SOCKET, SO_RCVTIMEO, &look, sizeof look); /* for receive_message */
    set_up_child = pid;
    looks = 0;
  }
  heap_release(); /* a child that shares the heap and forks in turn */
  int n;
  do n = poll(&wait, 1, sets_up ? LOOK_MS : -1); while (n < 0 ? errno == EINTR : n == 0 && !is_given_up());
  take_turn(ctx, frame);
  return JS_NewInt64(ctx, pid);
}

/* ---- messages ----------------------------------------------------------------------------- */

#define MESSAGE_FDS 16

/* Our own seccomp filter forbids sendmsg. A packet can be written too; a command that cannot write has no output. */
static int sends_by_write;

/* send_message(fd, text, fds): one packet with descriptors in SCM_RIGHTS. */
FN(send_message) {
  UNUSED;
  int64_t fd, count = 0;
  struct text text;
  union { char room[CMSG_SPACE(MESSAGE_FDS * sizeof(int))]; struct cmsghdr align; } control;
  if (take_int(ctx, argv[0], &fd)) return JS_EXCEPTION;
  JSValue length = JS_GetPropertyStr(ctx, argv[2], "length");
  if (JS_ToInt64(ctx, &count, length)) return JS_EXCEPTION;
  if (count < 0 || count > MESSAGE_FDS) return JS_NewInt32(ctx, -EINVAL);
  int fds[MESSAGE_FDS];
  for (int i = 0; i < count; i++) {
    JSValue item = JS_GetPropertyUint32(ctx, argv[2], i);
    if (JS_ToInt32(ctx, &fds[i], item)) return JS_EXCEPTION;
  }
  if (take_data(ctx, argv[1], &text)) return JS_EXCEPTION;
  struct iovec iov = { (void *)text.bytes, text.length };
  struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
  if (count) {
    memset(&control, 0, sizeof control);
    message.msg_control = control.room;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
  }
  ssize_t n = count || !sends_by_write ? sendmsg(fd, &message, MSG_NOSIGNAL) : write(fd, text.bytes, text.length);
  int e = errno;
  give_text(ctx, &text);
  return JS_NewInt64(ctx, n < 0 ? -e : n);
}

/* receive_message(fd): { text, fds }, { text: "" } at end of file, or -errno, EAGAIN where it is given up. The other side may use the heap meanwhile. */
FN(receive_message) {
  UNUSED;
  int64_t fd;
  if (take_int(ctx, argv[0], &fd)) return JS_EXCEPTION;
  size_t size = 128 << 10;
  char *buffer = js_malloc(ctx, size);
  if (!buffer) return JS_EXCEPTION;
  union { char room[CMSG_SPACE(MESSAGE_FDS * sizeof(int))]; struct cmsghdr align; } control;
  struct iovec iov = { buffer, size };
  struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control };
  void *frame = give_turn(ctx);
  ssize_t n;
  do n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC); while (n < 0 && (errno == EINTR || (errno == EAGAIN && !is_given_up())));
  int e = errno;
  take_turn(ctx, frame);
  if (n < 0) { js_free(ctx, buffer); return JS_NewInt32(ctx, -e); }
  JSValue result = JS_NewObject(ctx), fds = JS_NewArray(ctx);
  JS_SetPropertyStr(ctx, result, "text", new_text(ctx, buffer, n));
  js_free(ctx, buffer);
  for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h)) {
    if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
    int count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int), got;
    for (int i = 0; i < count; i++) {
      memcpy(&got, CMSG_DATA(h) + i * sizeof(int), sizeof got);
      JS_SetPropertyUint32(ctx, fds, i, JS_NewInt32(ctx, got));
    }
  }
  JS_SetPropertyStr(ctx, result, "fds", fds);
  return result;
}

/* await_readable(first, second): sleeps until one can be read; 1 for the first, 2 for the second, 3 for both. The other side may use the heap meanwhile. */
FN(await_readable) {
  UNUSED;
  int64_t first, second;
  if (take_int(ctx, argv[0], &first) || take_int(ctx, argv[1], &second)) return JS_EXCEPTION;
  struct pollfd wait[2] = { { .fd = first, .events = POLLIN }, { .fd = second, .events = POLLIN } };
  void *frame = give_turn(ctx);
  while (poll(wait, 2, -1) < 0 && errno == EINTR) {}
  take_turn(ctx, frame);
  return JS_NewInt32(ctx, (wait[0].revents != 0) | (wait[1].revents != 0) << 1);
}

/* ---- the rest ----------------------------------------------------------------------------- */

#include "load_filter.h"

/* Loads an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE and attaches it to a cgroup v2 directory. bpf(2). */
FN(attach_device_program) {
  UNUSED;
  int64_t cgroup;
  struct span program;
  if (take_int(ctx, argv[0], &cgroup) || take_span(ctx, argv[1], &program, 0)) return JS_EXCEPTION;
  union bpf_attr attr;
  memset(&attr, 0, sizeof attr);
  attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attr.insns = (uintptr_t)program.bytes;
  attr.insn_cnt = program.length / sizeof(struct bpf_insn);
  attr.license = (uintptr_t)"Apache-2.0";
  long fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
  if (fd < 0) return JS_NewInt64(ctx, -errno);
  memset(&attr, 0, sizeof attr);
  attr.target_fd = cgroup;
  attr.attach_bpf_fd = fd;
  attr.attach_type = BPF_CGROUP_DEVICE;
  attr.attach_flags = BPF_F_ALLOW_MULTI;
  long r = syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof attr);
  int e = errno;
  close(fd);
  return JS_NewInt64(ctx, r < 0 ? -e : r);
}

/* init.c as a file of its own, linked in as bytes: PID 1 of a container that asks for one. */
__asm__(".section .rodata\n.globl init_program\n.globl init_program_end\ninit_program:\n.incbin \"" INIT_PROGRAM "\"\ninit_program_end:\n.previous");
extern const char init_program[], init_program_end[];

FN(write_init) {
  UNUSED;
  int64_t fd;
  if (take_int(ctx, argv[0], &fd)) return JS_EXCEPTION;
  ssize_t n = write(fd, init_program, init_program_end - init_program);
  return JS_NewInt64(ctx, n < 0 ? -errno : n);
}

/* wake_heap(): brings in all of the heap that is compressed (cold.h), so that this process and its children have no faults of that kind. */
FN(wake_heap) {
  UNUSED;
  cold_wake_all();
  return JS_NewInt32(ctx, 0);
}

FN(monotonic_us) {
  UNUSED;
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return JS_NewFloat64(ctx, t.tv_sec * 1e6 + t.tv_nsec / 1e3);
}

FN(environment) {
  UNUSED;
  extern char **environ;
  JSValue list = JS_NewArray(ctx);
  for (int i = 0; environ[i]; i++) JS_SetPropertyUint32(ctx, list, i, new_text(ctx, environ[i], strlen(environ[i])));
  return list;
}

#ifdef HOST_PLAIN
static const char *host_source_map_path;
static char *read_whole(const char *path, size_t *length);
#endif

/* The bundle's map of lines as JSON (src/sys/line-map.ts), for stack traces that name TypeScript lines. */
FN(source_map) {
  UNUSED;
#ifdef HOST_PLAIN
  size_t length;
  if (!host_source_map) host_source_map = read_whole(host_source_map_path, &length);
#endif
  return JS_NewString(ctx, host_source_map);
}

#endif
