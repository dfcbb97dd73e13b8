/*
 * MRMR: tests: files that vanish between a look at them and their opening.
 *
 * With this library, loaded with LD_PRELOAD, no file whose name begins with
 * "vanish" is there to be opened for a look by openat, though stat tells of it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

int openat(int dir_fd, const char *name, int flags, ...)
{
	static int (*next)(int dir_fd, const char *name, int flags, ...);
	unsigned int mode;
	va_list ap;

	/* which is there with O_CREAT only: reading too many does no harm */
	va_start(ap, flags);
	mode = va_arg(ap, unsigned int);
	va_end(ap);

	if ((flags & O_PATH) != 0 && strncmp(name, "vanish", 6) == 0) {
		errno = ENOENT;
		return -1;
	}
	if (next == NULL) {
		next = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT,
								   "openat");
		if (next == NULL) {
			errno = ENOSYS;
			return -1;
		}
	}
	return next(dir_fd, name, flags, mode);
}

/* On 64-bit Linux they are one. */
int openat64(int dir_fd, const char *name, int flags, ...)
	__attribute__((alias("openat")));
