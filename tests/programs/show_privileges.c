/* Prints what this process may do: effective uid, effective gid, effective and inheritable capabilities as numbers. */
#include <linux/capability.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data)) return 1;
  printf("uid %u gid %u effective %u inheritable %u\n", geteuid(), getegid(), data[0].effective, data[0].inheritable);
  return 0;
}
