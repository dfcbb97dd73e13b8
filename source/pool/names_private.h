/*
 * MRMR: names in the pool, for their own sources.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_NAMES_PRIVATE_H
#define MRMR_NAMES_PRIVATE_H

#include <sys/stat.h>

#include <mrmr/dir.h>

/* Is member a asked for a name before b? Those that are away come last, as what
   is here counts; each of both in the order of the config. */
bool names_comes_before(const struct mrmr_pool *pool, size_t a, size_t b);

/* Why no member can take anything: of those that may have it, if there is a
   rule. The errno. */
int names_nowhere(struct mrmr_dir *dir, const char *name);

/* What the kernel would say to unlink in the directory fd, without doing it. */
int names_may_unlink(int fd, const struct stat *file);

/*
 * A file's name goes, from the directory fd of a member, as the user, and that
 * is told. If it holds protected bytes the file goes to the trash. Which name of
 * several goes last is not known for sure, so it is the same for all.
 */
int names_unlink_or_trash(struct mrmr_dir *dir, const char *name, size_t member,
			  int fd, const struct stat *st);

/*
 * names_absent.c: a name of a member that is away goes, and will go on the
 * member. As the user, or else as root, for copies that lost. The directory is
 * locked. -1 with EAGAIN: look at the members, then try again.
 */
int names_remove_absent(struct mrmr_dir *dir, const char *name, size_t member,
			bool as_root);

/*
 * Rename a file of a member that is away. others are members on which the target
 * has to go. Both directories are locked.
 */
int names_rename_absent(struct mrmr_dir *from_dir, const char *from,
			struct mrmr_dir *to_dir, const char *to, size_t keep,
			const size_t *others, size_t num_others);

/* The inode of the file, 0: not known. */
uint64_t names_inode_of_ghost(int folder_fd, const char *name);

#endif
