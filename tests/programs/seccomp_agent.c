/*
 * A seccomp agent: `seccomp_agent SOCKET ANSWER`. Listens on the socket, says "listening", and takes one connection: the
 * container process state goes to stdout as a line, each call that it is asked about as "call NUMBER", and "end" when
 * nobody is left who could ask, or the connection brought nothing. ANSWER is "continue", or a negative errno, or the call's result.
 * Ends after the first connection.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include "receiver.h"

#ifndef SECCOMP_USER_NOTIF_FLAG_CONTINUE
#define SECCOMP_USER_NOTIF_FLAG_CONTINUE 1
#endif

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  int connection = take_connection(argv[1]), listener = -1;
  /* Read to the end of the connection, as an agent does that wants the whole state; descriptors come with the first bytes. */
  static char text[65536];
  for (ssize_t n; (n = receive(connection, text, sizeof text, &listener)) > 0;) fwrite(text, 1, n, stdout);
  if (listener >= 0) puts("");
  int go_on = strcmp(argv[2], "continue") == 0;
  long value = go_on ? 0 : atol(argv[2]);
  while (listener >= 0) {
    struct pollfd wait = { .fd = listener, .events = POLLIN };
    if (poll(&wait, 1, -1) < 0) fail("poll");
    if (!(wait.revents & POLLIN)) break;
    struct seccomp_notif call;
    memset(&call, 0, sizeof call);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call)) {
      if (errno == ENOENT) continue;
      fail("SECCOMP_IOCTL_NOTIF_RECV");
    }
    struct seccomp_notif_resp answer = { .id = call.id, .flags = go_on ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0 };
    if (value < 0) answer.error = value;
    else answer.val = value;
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) && errno != ENOENT) fail("SECCOMP_IOCTL_NOTIF_SEND");
    printf("call %d\n", call.data.nr);
  }
  puts("end");
  return 0;
}
