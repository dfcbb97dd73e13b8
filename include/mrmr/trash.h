/*
 * MRMR: the trash: files that lost their name and must not be destroyed.
 *
 * `.mrmr/trash/<time>.<process>/<pool path>` on the member: the path is kept as
 * it is, so that a person can find the file with nothing but a file manager.
 * There go files that hold protected bytes when they are deleted or replaced
 * (other files' redundancy depends on them, invariant 2), and copies of a name
 * that another member shows. Only the protector removes what is there.
 *
 * Paths in the trash are given below `.mrmr/trash`.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_TRASH_H
#define MRMR_TRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include <mrmr/dir.h>

#define MRMR_TRASH_PATH_MAX (MRMR_PATH_MAX + 128)

/* In the catalogue only: files that are to come into the trash, or to leave
   their stripes (source/protect/protector_detach.c): .gone/ID/PATH, .gone/ID */
#define MRMR_TRASH_GONE ".gone/"

/* The path that a file had in the pool, by its path in the trash: a part of it.
   Of what has none, what identifies it. */
const char *mrmr_trash_origin(const char *trash_path);

/* Does the file hold protected bytes, or may it? */
bool mrmr_is_guarded(struct mrmr_pool *pool, size_t member,
		     const struct stat *st);

/*
 * Move a file to its member's trash, and tell the protector if it is guarded.
 * path is its pool path, name is its name in clone_fd. Within a few seconds,
 * files of one process share a folder. Needs root; who calls has made sure that
 * the user may remove the file.
 */
int mrmr_trash_file(struct mrmr_pool *pool, size_t member, int clone_fd,
		    const char *name, const char *path);

/* The same for a copy that lost, which is worth a line in the log. */
int mrmr_trash(struct mrmr_pool *pool, size_t member, int clone_fd,
	       const char *name, const char *path);

/*
 * For a file that is about to be replaced by a rename: give it a further name
 * in the trash. Nothing is told yet. Needs root. -1 with errno; on a file system
 * without hard links what mrmr_trash_cannot_link() knows.
 */
int mrmr_trash_link(struct mrmr_pool *pool, size_t member, int clone_fd,
		    const char *name, const char *path,
		    char trash_path[MRMR_TRASH_PATH_MAX]);
bool mrmr_trash_cannot_link(int error);

/* A file, st as it was before, has its place in the trash for good: tell the
   protector if it is guarded, and count the room that it can give. */
void mrmr_trashed(struct mrmr_pool *pool, size_t member, const struct stat *st,
		  const char *path, const char *trash_path);

/* The rename has failed: take the name away again; or put the file back. */
void mrmr_trash_unlink(struct mrmr_pool *pool, size_t member,
		       const char *trash_path);
int mrmr_trash_return(struct mrmr_pool *pool, size_t member,
		      const char *trash_path, int clone_fd, const char *name);

/* As mrmr_trash_file, but nothing is told. */
int mrmr_trash_move(struct mrmr_pool *pool, size_t member, int clone_fd,
		    const char *name, const char *path,
		    char trash_path[MRMR_TRASH_PATH_MAX]);

/* Close what is kept open on members; for mrmr_pool_let_go(). */
void mrmr_trash_let_go(struct mrmr_pool *pool);

#endif
