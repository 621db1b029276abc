/* A prisoner who has the machine's processes in sight (/proc) stops by a signal, again and again, whoever it may of those that have
 * its argument in their command line. Says `ready`, then `held` with each. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_named(const char *pid, const char *word) {
  char path[64], line[4096];
  snprintf(path, sizeof path, "/proc/%s/cmdline", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t n = read(fd, line, sizeof line);
  close(fd);
  return n > 0 && memmem(line, n, word, strlen(word)) != NULL;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  DIR *proc = opendir("/proc");
  if (!proc) return perror("/proc"), 1;
  puts("ready");
  fflush(stdout);
  for (;;) {
    rewinddir(proc);
    for (struct dirent *entry; (entry = readdir(proc));) {
      if (!isdigit((unsigned char)entry->d_name[0])) continue;
      int pid = atoi(entry->d_name);
      if (pid != getpid() && is_named(entry->d_name, argv[1]) && kill(pid, SIGSTOP) == 0) puts("held"), fflush(stdout);
    }
  }
}
