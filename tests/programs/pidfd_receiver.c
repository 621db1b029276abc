/*
 * The other end of --pidfd-socket: `pidfd_receiver SOCKET`. Listens, says "listening", takes one connection, and prints the
 * text that came and the number of the process behind the descriptor: "standard 4711". Ends when that process has ended.
 */
#define _GNU_SOURCE
#include "receiver.h"

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  char text[64], line[256], path[64];
  int process = -1;
  ssize_t n = receive(take_connection(argv[1]), text, sizeof text, &process);
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", process);
  FILE *info = fopen(path, "r");
  if (!info) fail(path);
  int pid = 0;
  while (fgets(line, sizeof line, info)) sscanf(line, "Pid: %d", &pid);
  printf("%.*s %d\n", (int)n, text, pid);
  struct pollfd end = { .fd = process, .events = POLLIN };
  if (poll(&end, 1, -1) < 0) fail("poll");
  return 0;
}
