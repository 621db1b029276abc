/*
 * The other end of --console-socket: `console_receiver SOCKET`. Listens, says "listening", takes one descriptor, says "terminal NAME"
 * with the name that came with it and whether it is a terminal, then passes stdin to it and it to stdout until its end.
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
  setvbuf(stdout, NULL, _IONBF, 0);
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
  int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 1)) return fail("listen");
  puts("listening");
  int connection = accept(server, NULL, NULL), master = -1;
  if (connection < 0) return fail("accept");
  char text[4096];
  union { char room[CMSG_SPACE(4 * sizeof(int))]; struct cmsghdr align; } control;
  struct iovec iov = { text, sizeof text - 1 };
  struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control };
  ssize_t n = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
  if (n < 0) return fail("recvmsg");
  text[n] = 0;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(int))) return fail("one descriptor");
  memcpy(&master, CMSG_DATA(header), sizeof master);
  printf("terminal %s %s\n", text, isatty(master) ? "yes" : "no");
  struct pollfd ends[] = { { .fd = master, .events = POLLIN }, { .fd = 0, .events = POLLIN } };
  for (;;) {
    if (poll(ends, 2, -1) < 0) return fail("poll");
    if (ends[1].revents) {
      n = read(0, text, sizeof text);
      if (n <= 0) ends[1].fd = -1;
      else if (write(master, text, n) != n) return fail("write");
    }
    if (!ends[0].revents) continue;
    n = read(master, text, sizeof text);
    if (n <= 0) break; /* EIO when nobody has the slave open any more */
    fwrite(text, 1, n, stdout);
  }
  puts("end");
  return 0;
}
