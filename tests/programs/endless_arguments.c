/* endless_arguments: a process that says of itself that its arguments are "endless" and gigabytes of nothing, says ready, and sleeps. prctl(2), PR_SET_MM_MAP. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(void) {
  static char stat[4096];
  FILE *file = fopen("/proc/self/stat", "r");
  if (!file || !fread(stat, 1, sizeof stat - 1, file)) return 1;
  uint64_t fields[64] = { 0 };
  int n = 3;
  for (char *word = strtok(strrchr(stat, ')') + 2, " "); word && n < 64; word = strtok(NULL, " ")) fields[n++] = strtoull(word, NULL, 10);
  size_t length = (size_t)8 << 30;
  char *start = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return 1;
  strcpy(start, "endless");
  struct prctl_mm_map map = {
    .start_code = fields[26], .end_code = fields[27], .start_stack = fields[28], .start_data = fields[45], .end_data = fields[46],
    .start_brk = fields[47], .brk = fields[47], .arg_start = (uintptr_t)start, .arg_end = (uintptr_t)start + length,
    .env_start = fields[50], .env_end = fields[51], .exe_fd = -1,
  };
  if (prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof map, 0)) return 1;
  puts("ready");
  fflush(stdout);
  for (;;) pause();
}
