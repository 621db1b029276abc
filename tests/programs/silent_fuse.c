/*
 * silent_fuse DIR [heard]: mounts a filesystem of FUSE at DIR whose server does not answer. Says "ready", and "asked" when somebody
 * sleeps in the kernel for it: until SIGKILL, or with `heard`, where the server has read the question, until the server ends.
 */
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

static void say(const char *word) {
  puts(word);
  fflush(stdout);
}

int main(int argc, char **argv) {
  static char request[1 << 17];
  struct fuse_in_header *in = (void *)request;
  char options[100];
  if (argc < 2) return 2;
  int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  snprintf(options, sizeof options, "fd=%d,rootmode=40755,user_id=0,group_id=0,allow_other", fd);
  if (fd < 0 || mount("silent", argv[1], "fuse", MS_NOSUID | MS_NODEV, options)) return perror(argv[1]), 1;
  if (read(fd, request, sizeof request) < 0) return perror("read"), 1;
  struct {
    struct fuse_out_header header;
    struct fuse_init_out init;
  } out = { { sizeof out, 0, in->unique }, { .major = 7, .minor = 31, .max_write = 4096 } };
  if (write(fd, &out, sizeof out) < 0) return perror("write"), 1;
  say("ready");
  struct pollfd question = { .fd = fd, .events = POLLIN };
  poll(&question, 1, -1);
  if (argc > 2 && read(fd, request, sizeof request) < 0) return perror("read"), 1;
  say("asked");
  pause();
}
