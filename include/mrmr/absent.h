/*
 * MRMR: the names of members that are away.
 *
 * Missing is not deleted (invariant 5): while a member is away, what the
 * catalogue knows of its files stays in the share. In each directory that is
 * looked at, a local folder stands in for the member's own directory:
 *
 *     <state dir>/ghosts/<member id>/<inode of the spine directory>/
 *
 * with a ghost for each name: a sparse file of the right size, times, mode,
 * owner and extended attributes, or the symlink or special file itself. It is
 * made whole when the directory is first looked at, under a lock, and from then
 * on it is the truth about these names: mrmr_dir_on_member() gives its
 * descriptor, so names are found, listed, opened, renamed and removed there by
 * the same calls as on a member. It hangs on the inode of the spine directory,
 * which stays when directories are renamed. When the member is back, and what
 * was done meanwhile has been done on it, its ghosts go.
 *
 * A ghost has no bytes: whoever reads it computes them (mrmr/serve.h). It
 * carries, as an extended attribute, whose ghost it is.
 *
 * Who knows the catalogue is above the pool, and gives it a table of functions.
 * Without one, names of members that are away are not there.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ABSENT_H
#define MRMR_ABSENT_H

#include <stdbool.h>
#include <stdint.h>

#include <mrmr/catalog.h>
#include <mrmr/dir.h>

#define MRMR_GHOSTS "ghosts" /* below the state directory */

struct mrmr_absent_ops {
	/*
	 * Make a ghost in the folder fd for each name that the member has in
	 * dir. *mtime_ns is the directory's own, as far as it is known. 0; or -1
	 * with errno: ENOENT if nothing is known of this directory, ENODEV if
	 * nothing is known of the member, EAGAIN if names were entered while it
	 * was made, and an empty folder is to be filled anew. As root.
	 */
	int (*fill)(struct mrmr_dir *dir, size_t member, int fd,
		    int64_t *mtime_ns, void *private_data);
};

/* Is it away, and are its names here all the same? */
bool mrmr_is_absent(const struct mrmr_pool *pool, size_t member);

/* Is any? Costs a memory access. */
bool mrmr_any_is_absent(const struct mrmr_pool *pool);

/*
 * For mrmr_dir_on_member(): a descriptor of the folder that stands in for the
 * member's own directory. With make, there is one also if the member is not
 * known to have the directory. -1 with errno as there; with an error that is
 * none of a lack it is not known what the member has.
 */
int mrmr_absent_open(struct mrmr_dir *dir, size_t member, bool make);

/* The same if it is there already, whatever state the member is in: to be closed
   by the caller, who is root. */
int mrmr_absent_peek(struct mrmr_dir *dir, size_t member);

/* The member is back: its files get the attributes that their ghosts were given
   meanwhile, and its ghosts go. Needs root. */
void mrmr_absent_drop(struct mrmr_pool *pool, size_t member);

/*
 * What clients removed of a member that is away, or gave the names of to other
 * files, as far as that is still to be done on it. A talloc child of mem_ctx;
 * NULL with errno. Needs root.
 */
struct mrmr_absent_removed;
struct mrmr_absent_removed *mrmr_absent_removed_load(void *mem_ctx,
						     struct mrmr_pool *pool,
						     size_t member);
/* Is the member's file of this path among them? As the pool is now: the path may
   have become another file's of the member, by a rename. */
bool mrmr_absent_was_removed(const struct mrmr_absent_removed *removed,
			     const char *path);

/*
 * Where a directory is that was called path, by what clients did with directories
 * while members were away, as far as that is still to be done on one of them. A
 * talloc child of mem_ctx; NULL with ENOENT: it was removed. Needs root.
 */
char *mrmr_absent_directory_now(void *mem_ctx, struct mrmr_pool *pool,
				const char *path);

/* Is its marker there again, which we have not looked at for a second? */
bool mrmr_member_has_returned(struct mrmr_pool *pool,
			      const struct mrmr_member *member);

/* --- ghosts ---------------------------------------------------------------- */

#define MRMR_GHOST_TAGS "trusted.mrmr."
#define MRMR_GHOST_TAG "trusted.mrmr.ghost"
#define MRMR_GHOST_CHANGED "trusted.mrmr.changed" /* its attributes were */

struct mrmr_ghost {
	struct mrmr_uuid member;
	uint64_t node;  /* in the catalogue */
	uint64_t inode; /* on the member */
};

/* Make the ghost of a node in a folder. Needs root. */
int mrmr_ghost_make(int folder_fd, const char *name,
		    const struct mrmr_node *node,
		    const struct mrmr_uuid *member);

/*
 * Whose ghost is this? fd may be O_PATH. -1 with errno: ENODATA it is none.
 * Becomes root itself; for any thread.
 */
int mrmr_ghost_read(int fd, struct mrmr_ghost *ghost);

/*
 * To be called before attributes of a ghost are changed, so that its file gets
 * them when its member is back. fd may be O_PATH. -1 with errno: then they must
 * not be changed; EROFS if the member is there again. Becomes root itself.
 */
int mrmr_ghost_mark_changed(const struct mrmr_pool *pool,
			    const struct mrmr_ghost *ghost, int fd);

#endif
