/*
 * The other end of --pidfd-socket: `pidfd_receiver SOCKET`. Listens, says "listening", takes one connection, and prints the
 * text that came and the number of the process behind the descriptor: "standard 4711". Ends when that process has ended.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int fail(const char *what) {
  perror(what);
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
  int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 1)) return fail("listen");
  puts("listening");
  int connection = accept(server, NULL, NULL), process = -1;
  if (connection < 0) return fail("accept");
  char text[64], line[256], path[64];
  union { char room[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
  struct iovec iov = { text, sizeof text };
  struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control };
  ssize_t n = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
  if (n < 0) return fail("recvmsg");
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header && header->cmsg_type == SCM_RIGHTS) memcpy(&process, CMSG_DATA(header), sizeof process);
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", process);
  FILE *info = fopen(path, "r");
  if (!info) return fail(path);
  int pid = 0;
  while (fgets(line, sizeof line, info)) sscanf(line, "Pid: %d", &pid);
  printf("%.*s %d\n", (int)n, text, pid);
  struct pollfd end = { .fd = process, .events = POLLIN };
  if (poll(&end, 1, -1) < 0) return fail("poll");
  return 0;
}
