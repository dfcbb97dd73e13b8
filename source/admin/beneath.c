/*
 * mrmr-admin: opening what is below a directory (see beneath.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "beneath.h"

#define DIRECTORY (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

int admin_open_beneath(int root_fd, const char *path)
{
	char name[NAME_MAX + 1];
	int at_fd = openat(root_fd, ".", DIRECTORY);

	while (at_fd != -1 && *path != '\0') {
		size_t len = strcspn(path, "/");
		int fd = -1;
		int error = ENAMETOOLONG;

		if (len <= NAME_MAX) {
			memcpy(name, path, len);
			name[len] = '\0';
			fd = openat(at_fd, name, DIRECTORY);
			error = errno;
		}
		close(at_fd);
		errno = error;
		at_fd = fd;
		path += len;
		path += strspn(path, "/");
	}
	return at_fd;
}
