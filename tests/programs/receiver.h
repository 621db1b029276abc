/* What programs have in common that take a descriptor on a stream socket. Each ends the program with 1 when it fails. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void fail(const char *what) {
  perror(what);
  exit(1);
}

/* Listens at the path, says "listening", and takes one connection. */
static int take_connection(const char *path) {
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 1)) fail("listen");
  puts("listening");
  int connection = accept(server, NULL, NULL);
  if (connection < 0) fail("accept");
  return connection;
}

/* The length of the text that came; 0 at the end. A descriptor that came with it goes to `*descriptor`; more than one is a failure. */
static ssize_t receive(int connection, char *text, size_t room, int *descriptor) {
  union { char room[CMSG_SPACE(4 * sizeof(int))]; struct cmsghdr align; } control;
  struct iovec iov = { text, room };
  struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control };
  ssize_t n = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
  if (n < 0) fail("recvmsg");
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (!header) return n;
  if (header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(int))) fail("one descriptor");
  memcpy(descriptor, CMSG_DATA(header), sizeof *descriptor);
  return n;
}
