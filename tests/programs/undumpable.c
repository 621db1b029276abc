/* undumpable: a process that says so of itself, says ready, and sleeps. prctl(2), PR_SET_DUMPABLE. */
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(void) {
  if (prctl(PR_SET_DUMPABLE, 0)) return 1;
  puts("ready");
  fflush(stdout);
  for (;;) pause();
}
