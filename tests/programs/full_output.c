/* full_output PROGRAM ARG…: executes a program whose stdout and stderr are pipes that are O_NONBLOCK and full to the last byte. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv) {
  for (int fd = 1; fd <= 2; fd++) {
    if (argc < 2 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)) return 125;
    while (write(fd, ".", 1) == 1) {}
  }
  execv(argv[1], argv + 1);
  return 125;
}
