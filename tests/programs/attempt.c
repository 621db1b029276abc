/* Makes the system calls that its arguments name, as NUMBER[,ARGUMENT…] with 0 for those that are missing, and prints
 * for each its number and ok or its errno: what a seccomp filter or a missing capability answers. `=` after the number
 * prints the result instead of ok. Calls that would hang or end the process are not meant. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    char *end = NULL;
    long number = strtol(argv[i], &end, 10);
    long args[6] = {0};
    int wants_result = *end == '=';
    if (wants_result) end++;
    for (int n = 0; n < 6 && *end == ','; n++) args[n] = strtol(end + 1, &end, 0);
    errno = 0;
    long result = syscall(number, args[0], args[1], args[2], args[3], args[4], args[5]);
    if (wants_result && result >= 0) printf("%ld %ld\n", number, result);
    else printf("%ld %s\n", number, result >= 0 ? "ok" : errno == EPERM ? "EPERM" : errno == ENOSYS ? "ENOSYS" : strerror(errno));
    fflush(stdout);
  }
  return 0;
}
