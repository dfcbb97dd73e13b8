/*
 * MRMR: paths that lead nowhere else (see mrmr/beneath.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mrmr/beneath.h>

int mrmr_open_beneath(int at_fd, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (unsigned int)flags,
		.mode = (flags & O_CREAT) != 0 ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};

	return (int)syscall(SYS_openat2, at_fd, path, &how, sizeof(how));
}

int mrmr_parent_beneath(int at_fd, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash != NULL ? (size_t)(slash - path) : 0;
	char folder[2 * PATH_MAX];

	if (len >= sizeof(folder)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	*name = slash != NULL ? slash + 1 : path;
	memcpy(folder, path, len);
	folder[len] = '\0';
	return mrmr_open_beneath(at_fd, len > 0 ? folder : ".",
				 O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
}

int mrmr_unlink_beneath(int at_fd, const char *path, int flags)
{
	const char *name = NULL;
	int fd = mrmr_parent_beneath(at_fd, path, &name);
	int saved_errno;
	int ret;

	if (fd == -1) {
		return -1;
	}
	ret = unlinkat(fd, name, flags);
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return ret;
}
