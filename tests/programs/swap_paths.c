/* The racing attacker: exchanges two paths, again and again, until it is killed (or its parent dies). A path is at every moment
 * one of the two things, and is looked at by others meanwhile. Says `ready` after the first exchange. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (int first = 1;; first = 0) {
    long result = syscall(SYS_renameat2, AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE);
    if (first && result) {
      perror("renameat2");
      return 1;
    }
    if (first) {
      puts("ready");
      fflush(stdout);
    }
  }
}
