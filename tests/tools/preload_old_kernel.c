/*
 * MRMR: tests: a kernel without the system calls of newer ones.
 *
 * Loaded with LD_PRELOAD. openat2, which Debian's valgrind does not know, is carried
 * out with openat: what it was told to refuse (symlinks, other file systems) is
 * followed then, for tests of other things. getxattrat and listxattrat (Linux 6.13)
 * are not there.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Not in the headers of all C libraries; the same on all processors. */
#define NUMBER_GETXATTRAT 464
#define NUMBER_LISTXATTRAT 465

long syscall(long number, ...)
{
	static long (*next)(long number, ...);
	long a[6];
	va_list ap;
	int i;

	/* as many as there can be: reading too many does no harm on Linux */
	va_start(ap, number);
	for (i = 0; i < 6; i++) {
		a[i] = va_arg(ap, long);
	}
	va_end(ap);

	if (number == SYS_openat2) {
		const struct open_how *how = (const struct open_how *)a[2];

		return openat((int)a[0], (const char *)a[1], (int)how->flags,
			      (mode_t)how->mode);
	}
	if (number == NUMBER_GETXATTRAT || number == NUMBER_LISTXATTRAT) {
		errno = ENOSYS;
		return -1;
	}
	if (next == NULL) {
		next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
		if (next == NULL) {
			errno = ENOSYS;
			return -1;
		}
	}
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
