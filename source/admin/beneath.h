/*
 * mrmr-admin: opening what is below a directory, and only that.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ADMIN_BENEATH_H
#define MRMR_ADMIN_BENEATH_H

/*
 * Open the directory path (clean, relative, "" for root_fd itself), of which
 * no component may be a symlink. A readable descriptor, or -1 with errno.
 */
int admin_open_beneath(int root_fd, const char *path);

#endif
