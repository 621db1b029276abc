/*
 * A seccomp agent: `seccomp_agent SOCKET ANSWER`. Listens on the socket, says "listening", and takes one connection: the
 * container process state goes to stdout as a line, each call that it is asked about as "call NUMBER", and "end" when
 * nobody is left who could ask, or the connection brought nothing. ANSWER is "continue", or a negative errno, or the call's result.
 * Ends after the first connection.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SECCOMP_USER_NOTIF_FLAG_CONTINUE
#define SECCOMP_USER_NOTIF_FLAG_CONTINUE 1
#endif

static int fail(const char *what) {
  perror(what);
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
  int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 1)) return fail("listen");
  puts("listening");
  int connection = accept(server, NULL, NULL), listener = -1;
  if (connection < 0) return fail("accept");
  /* Read to the end of the connection, as an agent does that wants the whole state; descriptors come with the first bytes. */
  for (;;) {
    char text[65536];
    union { char room[CMSG_SPACE(16 * sizeof(int))]; struct cmsghdr align; } control;
    struct iovec iov = { text, sizeof text };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control };
    ssize_t n = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
    if (n < 0) return fail("recvmsg");
    if (n == 0) break;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS) memcpy(&listener, CMSG_DATA(header), sizeof listener);
    fwrite(text, 1, n, stdout);
  }
  if (listener >= 0) puts("");
  int go_on = strcmp(argv[2], "continue") == 0;
  long value = go_on ? 0 : atol(argv[2]);
  while (listener >= 0) {
    struct pollfd wait = { .fd = listener, .events = POLLIN };
    if (poll(&wait, 1, -1) < 0) return fail("poll");
    if (!(wait.revents & POLLIN)) break;
    struct seccomp_notif call;
    memset(&call, 0, sizeof call);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call)) {
      if (errno == ENOENT) continue;
      return fail("SECCOMP_IOCTL_NOTIF_RECV");
    }
    struct seccomp_notif_resp answer = { .id = call.id, .flags = go_on ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0 };
    if (value < 0) answer.error = value;
    else answer.val = value;
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) && errno != ENOENT) return fail("SECCOMP_IOCTL_NOTIF_SEND");
    printf("call %d\n", call.data.nr);
  }
  puts("end");
  return 0;
}
