/*
 * MRMR: what /proc says of descriptors.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include <mrmr/fd_path.h>

const char *mrmr_fd_link(int fd, char link[MRMR_FD_LINK_LEN])
{
	snprintf(link, MRMR_FD_LINK_LEN, "/proc/self/fd/%d", fd);
	return link;
}

int mrmr_fd_path(int fd, char *path, size_t size)
{
	char link[MRMR_FD_LINK_LEN];
	ssize_t len = readlink(mrmr_fd_link(fd, link), path, size);

	if (len == -1) {
		return -1;
	}
	if ((size_t)len == size) {
		errno = ENAMETOOLONG;
		return -1;
	}
	path[len] = '\0';
	return 0;
}
