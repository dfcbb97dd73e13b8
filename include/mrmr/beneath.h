/*
 * MRMR: paths that lead nowhere else.
 *
 * What lies on a member may have been put there by anybody: a stick that was in
 * another machine can have a symlink, a FIFO or a device in every place. Where
 * a path of several components is needed below a member's folder, it is used
 * through these, and no component of it is followed out of there: ELOOP for a
 * symlink, EXDEV for another file system, ENOTDIR for what is no directory.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_BENEATH_H
#define MRMR_BENEATH_H

#include <fcntl.h>
#include <sys/types.h>

/* For what is to be read or written on a member, so that opening it does not
   wait for the other end of a FIFO, nor take a terminal. */
#define MRMR_OPEN_ANYTHING (O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* openat(2); mode counts with O_CREAT. A descriptor, or -1 with errno. */
int mrmr_open_beneath(int at_fd, const char *path, int flags, mode_t mode);

/* The directory that holds the last component of path (O_PATH), and in *name
   that component. To be closed. -1 with errno. */
int mrmr_parent_beneath(int at_fd, const char *path, const char **name);

/* unlinkat(2) of such a path. */
int mrmr_unlink_beneath(int at_fd, const char *path, int flags);

#endif
