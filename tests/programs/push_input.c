/* push_input TEXT: puts a line into the input of the terminal that is standard input, as if somebody had typed it there:
 * TIOCSTI, ioctl_tty(2). Whoever reads the terminal next gets it. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  const char *text = argv[1];
  for (size_t i = 0; i <= strlen(text); i++) {
    char letter = text[i] == 0 ? '\n' : text[i];
    if (ioctl(0, TIOCSTI, &letter)) {
      perror("TIOCSTI");
      return 1;
    }
  }
  return 0;
}
