/*
 * A container's end of NOTIFY_SOCKET, sd_notify(3): `notify TEXT…` sends each as a datagram, with standard input as a descriptor; `\n` in it
 * is a line feed. `notify --flood TEXT` does not stop.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int tell(int socket_, char *text) {
  for (char *at; (at = strstr(text, "\\n")); memmove(at + 1, at + 2, strlen(at + 2) + 1)) *at = '\n';
  union { char room[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control = { 0 };
  struct iovec iov = { text, strlen(text) };
  struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control };
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  *header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
  return sendmsg(socket_, &message, MSG_NOSIGNAL) < 0;
}

int main(int argc, char **argv) {
  const char *path = getenv("NOTIFY_SOCKET");
  if (!path || argc < 2) return fputs("NOTIFY_SOCKET is not set\n", stderr), 2;
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  int socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (connect(socket_, (struct sockaddr *)&address, sizeof address)) return perror(path), 1;
  if (!strcmp(argv[1], "--flood")) while (!tell(socket_, argv[2])) {}
  for (int i = 1; i < argc; i++) if (tell(socket_, argv[i])) return perror(argv[i]), 1;
  return 0;
}
