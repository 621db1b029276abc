/* receive_datagrams SOCKET COMMAND…: runs the command, with a datagram socket bound at the path, and prints what it has sent, a line for
 * each datagram, with \n for the line feeds in it. The exit code is the command's. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) return perror(argv[1]), 2;
  pid_t child = fork();
  if (child == 0) execvp(argv[2], argv + 2), _exit(127);
  int status;
  if (child < 0 || waitpid(child, &status, 0) < 0) return perror(argv[2]), 2;
  char datagram[65536];
  for (ssize_t n; (n = recv(fd, datagram, sizeof datagram, MSG_DONTWAIT)) >= 0; putchar('\n'))
    for (ssize_t i = 0; i < n; i++) datagram[i] == '\n' ? fputs("\\n", stdout) : putchar(datagram[i]);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
