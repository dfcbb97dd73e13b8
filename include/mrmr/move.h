/*
 * MRMR: moving a file to another member while it is open.
 *
 * A file goes where placement puts it when it is made. When it turns out that
 * it does not fit there (a client announces its size, or the member fills in
 * the middle of a write), it moves on: its bytes and attributes are copied
 * into `.mrmr/rebuild` of another member, the copy is renamed into place, the
 * old one removed. Invariant 1 holds at every instant but between those two,
 * which an intent covers.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_MOVE_H
#define MRMR_MOVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <mrmr/dir.h>

/*
 * Move the file behind fd (any access mode), which lies on a member, to a
 * member that has room for size_bytes in all. On success *new_fd is an open
 * descriptor of the new file with the flags `flags` (as for open), *member its
 * index. The caller must make sure that nobody writes through other
 * descriptors meanwhile. Needs root.
 * -1 with errno: ENOSPC no other member has room; EMLINK it has further hard
 * links, which cannot follow to another file system; ENOENT it has no name any
 * more; or what failed: the old file is then untouched.
 */
int mrmr_move_file(struct mrmr_pool *pool, int fd, uint64_t size_bytes,
		   int *new_fd, size_t *member);

/*
 * The same in three steps, for a caller with an event loop: begin and finish
 * are quick and need root; copy may take long and touches nothing but the
 * descriptors of the move, so it may run in a thread. Freeing the move (talloc)
 * gives up what was not finished. Between them, and while they are under way, the
 * file and the directories above it may be renamed. finish also fails with EBUSY if
 * the file was written to meanwhile, or renamed too often to get hold of it.
 */
/*
 * A file whose member is away has no bytes to copy: `read` gives them, in the
 * thread of mrmr_move_copy(). fd is its ghost's, dir and name are where that is.
 * What the member itself has goes to its trash when it is back (mrmr/absent.h).
 */
struct mrmr_move_source {
	ssize_t (*read)(void *buf, size_t len, uint64_t offset,
			void *private_data);
	void *private_data;
};

struct mrmr_move;
struct mrmr_move *mrmr_move_begin_ghost(void *mem_ctx, struct mrmr_dir *dir,
					const char *name, int fd,
					const struct mrmr_move_source *source);
struct mrmr_move *mrmr_move_begin(void *mem_ctx, struct mrmr_pool *pool, int fd,
				  uint64_t size_bytes);
int mrmr_move_copy(struct mrmr_move *move);

/*
 * After a copy that failed: was it because the member that was chosen cannot be
 * written, though it has room for all that it says? Then it is not chosen for some
 * seconds, and a move that is begun anew may go better. Not for a thread.
 */
bool mrmr_move_blame_target(struct mrmr_move *move);

/*
 * Instead, of a ghost: a part at a time, from the beginning on, for a source that
 * needs something done in another thread before. How much was copied, less than len
 * where the source failed or the file ends; -1 with errno if nothing was. The part
 * that reaches the end is the last, and then all of it is on stable storage.
 */
ssize_t mrmr_move_copy_part(struct mrmr_move *move, uint64_t offset,
			    size_t len);
int mrmr_move_new_fd(
	const struct mrmr_move *move); /* of the copy, the move's */
int mrmr_move_finish(struct mrmr_move *move, int *new_fd, size_t *member);

/*
 * Which member a file lies on, and its path there (the pool path), by its
 * descriptor; the kernel knows, whatever was renamed. -1 with errno: ENOENT it
 * has no name any more, EXDEV it lies on no member.
 */
int mrmr_file_locate(struct mrmr_pool *pool, int fd, size_t *member,
		     char path[MRMR_PATH_MAX]);

/* The same if fstat has just told of it. */
int mrmr_file_locate_seen(struct mrmr_pool *pool, int fd, const struct stat *st,
			  size_t *member, char path[MRMR_PATH_MAX]);

#endif
