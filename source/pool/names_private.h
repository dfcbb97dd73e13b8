/*
 * MRMR: names in the pool, for their own sources.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_NAMES_PRIVATE_H
#define MRMR_NAMES_PRIVATE_H

#include <sys/stat.h>

#include <mrmr/dir.h>

/* What the kernel would say to unlink in the directory fd, without doing it. */
int names_may_unlink(int fd, const struct stat *file);

/*
 * A file's name goes, from the directory fd of a member, as the user, and that
 * is told. If it holds protected bytes the file goes to the trash. Which name of
 * several goes last is not known for sure, so it is the same for all.
 */
int names_unlink_or_trash(struct mrmr_dir *dir, const char *name, size_t member,
			  int fd, const struct stat *st);

#endif
