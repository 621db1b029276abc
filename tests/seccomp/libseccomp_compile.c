/*
 * Compiles seccomp profiles with libseccomp, for tests that compare our compiler with it.
 *
 * Reads lines on stdin, numbers in decimal:
 *
 *   known NAME                                      -> "1" or "0": whether libseccomp knows the system call
 *   begin ACTION                                    a profile with this default action
 *   optimize LEVEL                                  1, or 2 for libseccomp's binary tree
 *   arch TOKEN                                      filter this architecture (SCMP_ARCH_*, which is AUDIT_ARCH_* but
 *                                                   for x32); the native one is left out unless named
 *   rule ACTION NAME COUNT [INDEX OP VALUE VALUE2]...   OP as in enum scmp_compare
 *   end                                             -> "ok LENGTH" and LENGTH bytes, or "error ERRNO"
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static scmp_filter_ctx ctx;
static int failure;
static int keep_native;

static void note(int rc)
{
	if (rc < 0 && rc != -EEXIST && failure == 0)
		failure = -rc;
}

/* EEXIST is harmless for an architecture, but for a rule it is the refusal of a conflict. */
static void note_rule(int rc)
{
	if (rc < 0 && failure == 0)
		failure = -rc;
}

static void add_rule(const char *line)
{
	uint32_t action;
	char name[64];
	unsigned int count, i;
	int used, syscall_nr;
	struct scmp_arg_cmp args[6];

	if (sscanf(line, "rule %" SCNu32 " %63s %u%n", &action, name, &count, &used) != 3 || count > 6)
		exit(2);
	for (i = 0; i < count; i++) {
		unsigned int index, op;
		uint64_t a, b;
		int more;

		line += used;
		if (sscanf(line, " %u %u %" SCNu64 " %" SCNu64 "%n", &index, &op, &a, &b, &more) != 4)
			exit(2);
		used = more;
		args[i] = (struct scmp_arg_cmp){ index, op, a, b };
	}
	syscall_nr = seccomp_syscall_resolve_name(name);
	if (syscall_nr != __NR_SCMP_ERROR)
		note_rule(seccomp_rule_add_array(ctx, action, syscall_nr, count, args));
}

static void finish(void)
{
	int fd = memfd_create("bpf", 0);
	int rc;
	off_t length;
	char *bytes;

	if (!keep_native)
		note(seccomp_arch_remove(ctx, SCMP_ARCH_NATIVE));
	if (failure == 0) {
		rc = seccomp_export_bpf(ctx, fd);
		if (rc < 0)
			failure = -rc;
	}
	if (failure != 0) {
		printf("error %d\n", failure);
	} else {
		length = lseek(fd, 0, SEEK_CUR);
		bytes = malloc(length);
		if (pread(fd, bytes, length, 0) != length)
			exit(3);
		printf("ok %ld\n", (long)length);
		fwrite(bytes, 1, length, stdout);
		free(bytes);
	}
	close(fd);
	seccomp_release(ctx);
	ctx = NULL;
}

int main(void)
{
	char line[1024];

	while (fgets(line, sizeof line, stdin)) {
		uint32_t number;
		char name[64];

		if (sscanf(line, "known %63s", name) == 1) {
			printf("%d\n", seccomp_syscall_resolve_name(name) != __NR_SCMP_ERROR);
		} else if (sscanf(line, "begin %" SCNu32, &number) == 1) {
			ctx = seccomp_init(number);
			if (ctx == NULL)
				exit(3);
			failure = 0;
			keep_native = 0;
		} else if (sscanf(line, "optimize %" SCNu32, &number) == 1) {
			note(seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, number));
		} else if (sscanf(line, "arch %" SCNu32, &number) == 1) {
			if (number == seccomp_arch_native())
				keep_native = 1;
			note(seccomp_arch_add(ctx, number));
		} else if (strncmp(line, "rule ", 5) == 0) {
			add_rule(line);
		} else if (strncmp(line, "end", 3) == 0) {
			finish();
		} else {
			exit(2);
		}
		if (strncmp(line, "end", 3) == 0 || strncmp(line, "known", 5) == 0)
			fflush(stdout);
	}
	return 0;
}
