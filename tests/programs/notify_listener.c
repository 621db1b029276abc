/*
 * The manager's end of NOTIFY_SOCKET: `notify_listener SOCKET`, a path or @ and an abstract name. Says "listening", then each datagram on a
 * line, with \n for the line feeds in it: "PID FDS TEXT". What comes as descriptors stays open until a line on stdin.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stddef.h>
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
  if (address.sun_path[0] == '@') address.sun_path[0] = 0;
  int socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), yes = 1, held[64], count = 0;
  if (bind(socket_, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + strlen(argv[1]))) return fail("bind");
  if (setsockopt(socket_, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes)) return fail("SO_PASSCRED");
  puts("listening");
  struct pollfd ends[] = { { .fd = socket_, .events = POLLIN }, { .fd = 0, .events = POLLIN } };
  for (;;) {
    if (poll(ends, 2, -1) < 0) return fail("poll");
    char text[4096];
    if (ends[1].revents) {
      if (read(0, text, sizeof text) <= 0) ends[1].fd = -1;
      while (count > 0) close(held[--count]);
    }
    if (!ends[0].revents) continue;
    union { char room[512]; struct cmsghdr align; } control;
    struct iovec iov = { text, sizeof text };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control };
    ssize_t n = recvmsg(socket_, &message, MSG_CMSG_CLOEXEC);
    if (n < 0) return fail("recvmsg");
    int pid = 0, fds = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_type == SCM_CREDENTIALS) pid = ((struct ucred *)CMSG_DATA(header))->pid;
      if (header->cmsg_type != SCM_RIGHTS) continue;
      fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (int i = 0; i < fds && count < 64; i++) memcpy(&held[count++], CMSG_DATA(header) + i * sizeof(int), sizeof(int));
    }
    printf("%d %d ", pid, fds);
    for (ssize_t i = 0; i < n; i++) text[i] == '\n' ? fputs("\\n", stdout) : putchar(text[i]);
    putchar('\n');
  }
}
