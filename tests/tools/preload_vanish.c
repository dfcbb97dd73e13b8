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

static int open_unless_vanished(const char *symbol, int dir_fd,
				const char *name, int flags, unsigned int mode)
{
	int (*next)(int dir_fd, const char *name, int flags, ...);

	if ((flags & O_PATH) != 0 && strncmp(name, "vanish", 6) == 0) {
		errno = ENOENT;
		return -1;
	}
	next = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, symbol);
	if (next == NULL) {
		errno = ENOSYS;
		return -1;
	}
	return next(dir_fd, name, flags, mode);
}

/* The mode, which is there with O_CREAT only: reading too many does no harm on
   Linux. */
int openat(int dir_fd, const char *name, int flags, ...)
{
	unsigned int mode;
	va_list ap;

	va_start(ap, flags);
	mode = va_arg(ap, unsigned int);
	va_end(ap);
	return open_unless_vanished("openat", dir_fd, name, flags, mode);
}

int openat64(int dir_fd, const char *name, int flags, ...)
{
	unsigned int mode;
	va_list ap;

	va_start(ap, flags);
	mode = va_arg(ap, unsigned int);
	va_end(ap);
	return open_unless_vanished("openat64", dir_fd, name, flags, mode);
}
