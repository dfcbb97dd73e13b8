/*
 * MRMR: what /proc says of descriptors.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_FD_PATH_H
#define MRMR_FD_PATH_H

#include <stddef.h>

#define MRMR_FD_LINK_LEN 32 /* room for any such path and its NUL */

/* The path that leads to what fd has open, for calls that take no descriptor, or
   none that was opened with O_PATH. Returns link. */
const char *mrmr_fd_link(int fd, char link[MRMR_FD_LINK_LEN]);

/*
 * Where the kernel says that it is, all symlinks followed: that of a file which
 * was removed has " (deleted)" behind it. -1 with errno: ENAMETOOLONG if it takes
 * more than size bytes with its NUL.
 */
int mrmr_fd_path(int fd, char *path, size_t size);

#endif
