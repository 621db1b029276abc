/* seccomp(2): the filter of a container is loaded, and its listener handed on. A part of native.h. */
#ifndef LOAD_FILTER_H
#define LOAD_FILTER_H

static void prepare_for(const struct sock_fprog *filter) {
  if (!cold_may_come(filter->filter, filter->len)) cold_wake_all();
  sends_by_write = !filter_allows(filter->filter, filter->len, (struct seccomp_data){ .nr = SYS_sendmsg, .arch = FILTER_ARCH });
}

FN(seccomp_load) {
  UNUSED;
  int64_t flags;
  struct span program;
  if (take_int(ctx, argv[0], &flags) || take_span(ctx, argv[1], &program, 0)) return JS_EXCEPTION;
  struct sock_fprog filter = { .len = program.length / sizeof(struct sock_filter), .filter = program.bytes };
  prepare_for(&filter);
  long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
  return JS_NewInt64(ctx, r < 0 ? -errno : r);
}

/*
 * seccomp_load_listener(flags, program, channel): as above with SECCOMP_FILTER_FLAG_NEW_LISTENER; returns the listener.
 *
 * From the moment the filter is there any call of this process may stand still until the agent answers, read and futex
 * included. So the turn is given up before, and taken again only after a packet of the other side says that the agent
 * has the listener, which the other side takes itself (take_listener).
 */
FN(seccomp_load_listener) {
  UNUSED;
  int64_t flags, channel;
  struct span program;
  if (take_int(ctx, argv[0], &flags) || take_span(ctx, argv[1], &program, 0) || take_int(ctx, argv[2], &channel)) return JS_EXCEPTION;
  struct sock_fprog filter = { .len = program.length / sizeof(struct sock_filter), .filter = program.bytes };
  prepare_for(&filter);
  char packet[64];
  void *frame = give_turn(ctx);
  long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
  if (r < 0) r = -errno;
  else while (read(channel, packet, sizeof packet) < 0 && errno == EINTR) {}
  take_turn(ctx, frame);
  return JS_NewInt64(ctx, r);
}

/*
 * take_listener(pidfd, fd, channel): a copy of descriptor `fd` of another process, as soon as it has one. -EAGAIN when
 * the process says something on the channel instead, or is gone. There is no event to wait for: a process that has just
 * loaded its filter must not be relied on for any call.
 */
FN(take_listener) {
  UNUSED;
  int64_t pidfd, fd, channel;
  if (take_int(ctx, argv[0], &pidfd) || take_int(ctx, argv[1], &fd) || take_int(ctx, argv[2], &channel)) return JS_EXCEPTION;
  struct pollfd wait = { .fd = channel, .events = POLLIN };
  const struct timespec pause = { .tv_nsec = 100000 };
  void *frame = give_turn(ctx);
  long r;
  do {
    if ((r = syscall(SYS_pidfd_getfd, pidfd, fd, 0)) < 0) r = absent_is_enosys(SYS_pidfd_getfd, -errno);
  } while (r == -EBADF && (r = ppoll(&wait, 1, &pause, NULL) > 0 ? -EAGAIN : -EBADF) == -EBADF);
  take_turn(ctx, frame);
  return JS_NewInt64(ctx, r);
}

#endif
