/*
 * The other end of --console-socket: `console_receiver SOCKET`. Listens, says "listening", takes one descriptor, says "terminal NAME"
 * with the name that came with it and whether it is a terminal, then passes stdin to it and it to stdout until its end.
 */
#define _GNU_SOURCE
#include "receiver.h"

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  setvbuf(stdout, NULL, _IONBF, 0);
  char text[4096];
  int master = -1;
  ssize_t n = receive(take_connection(argv[1]), text, sizeof text - 1, &master);
  text[n] = 0;
  printf("terminal %s %s\n", text, isatty(master) ? "yes" : "no");
  struct pollfd ends[] = { { .fd = master, .events = POLLIN }, { .fd = 0, .events = POLLIN } };
  for (;;) {
    if (poll(ends, 2, -1) < 0) fail("poll");
    if (ends[1].revents) {
      n = read(0, text, sizeof text);
      if (n <= 0) ends[1].fd = -1;
      else if (write(master, text, n) != n) fail("write");
    }
    if (!ends[0].revents) continue;
    n = read(master, text, sizeof text);
    if (n <= 0) break; /* EIO when nobody has the slave open any more */
    fwrite(text, 1, n, stdout);
  }
  puts("end");
  return 0;
}
