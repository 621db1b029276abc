/* Makes a session keyring with the name of its argument that everybody may find and use, says its number, and keeps it. keyrings(7) */
#define _GNU_SOURCE
#include <linux/keyctl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  long keyring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, argv[1]);
  if (keyring < 0) return perror("join"), 1;
  if (syscall(SYS_keyctl, KEYCTL_SETPERM, keyring, 0x3f3f3f3f) < 0) return perror("setperm"), 1;
  printf("%ld\n", keyring);
  fflush(stdout);
  for (;;) pause();
}
