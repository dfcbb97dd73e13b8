/*
 * MRMR: which inodes hold protected bytes.
 *
 * Whoever changes a file must know whether parity depends on its bytes: then
 * they are kept first (mrmr/undo.h). That is asked when files are opened for
 * writing, removed or replaced, by every smbd, and must neither wait for the
 * catalogue nor cost more than a memory access. So there is a table in a mapped
 * file, <state dir>/guard: (member, inode) -> generation.
 *
 * The table has all inodes with protected bytes, and possibly more: to guard a
 * file that needs it not costs a copy, to miss one costs the redundancy. Hence
 * the protector declares an inode before it reads the file to protect it, and
 * forgets one only after the commit by which nothing depends on it any more.
 *
 * Generations. Each declaration takes the next number, so a number belongs to
 * one inode and one attempt to protect it. Pre-images are kept under the
 * generation that is in force when they are taken. The bytes of the version
 * that was protected at generation g are, piece by piece: the pre-image of the
 * lowest generation >= g that there is, else what the file has.
 *
 * Declaring, and those who write. The protector declares, and then asks the
 * kernel whether anybody has the file open for writing (a read lease is only
 * granted if nobody has). If so, it leaves the file for later. If not, whoever
 * opens it from now on finds the declaration. A file that is open for writing
 * needs no second look, therefore, if it was not in the table when it was first
 * looked for; one that was may change its generation at any time.
 *
 * The table is derived from the catalogue. It lives through the end of any
 * process; after a reboot, or if it is missing, it is made anew by the next
 * protector, and until then every inode counts as guarded, with the generation
 * that was last given to anything (a bound of that is on stable storage).
 *
 * Inodes must be lasting: what has one number today has it tomorrow. On FAT and
 * exFAT it has not, and of FUSE nobody can tell: nothing on such a member is
 * declared (mrmr/lasting.h, source/protect/protector_target.c).
 *
 * One process changes the table (the holder of mrmr_catalog_lock); readers take
 * no lock that another process could hold.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_GUARD_H
#define MRMR_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include <mrmr/error.h>
#include <mrmr/uuid.h>

#define MRMR_GUARD_NAME "guard" /* below the state directory */

struct mrmr_guard;

/*
 * Map the table, making an empty one that is not ready if it is missing or from
 * before the last boot. A talloc child of mem_ctx. NULL with *err filled. Needs
 * root. A table that was replaced by a larger one is mapped anew by itself.
 */
struct mrmr_guard *mrmr_guard_open(void *mem_ctx, int state_fd,
				   struct mrmr_error *err);

/*
 * The generation in force for an inode, 0 if it holds nothing protected. For
 * any thread. While the table is not ready, never 0. If no file was ever
 * protected in this pool (no table on disk, no catalogue), the table is made
 * ready and empty at once, so that pools without parity pay nothing.
 */
uint32_t mrmr_guard_find(struct mrmr_guard *guard,
			 const struct mrmr_uuid *member, uint64_t inode);

/*
 * The same, with the epoch of the answer: it is another one whenever the table
 * has become ready or has been replaced since. Generations go up within an
 * epoch; over epochs, an inode may get back the one it had.
 */
struct mrmr_guard_view {
	uint32_t generation;
	uint64_t epoch;
};
struct mrmr_guard_view mrmr_guard_look(struct mrmr_guard *guard,
				       const struct mrmr_uuid *member,
				       uint64_t inode);

/*
 * There are protected bytes of which this state directory knows nothing (a
 * member carries a part, and there is no catalogue). If the table counted as
 * ready because nothing was ever protected, it does not any more.
 */
int mrmr_guard_distrust(struct mrmr_guard *guard, struct mrmr_error *err);

/* --- for the holder of mrmr_catalog_lock ---------------------------------- */

bool mrmr_guard_is_ready(struct mrmr_guard *guard);

/*
 * Make the table anew from the catalogue: begin; add every inode that has
 * protected bytes, with the generation of its node; end makes it ready. In
 * between it is not.
 */
int mrmr_guard_rebuild_begin(struct mrmr_guard *guard);
int mrmr_guard_rebuild_add(struct mrmr_guard *guard,
			   const struct mrmr_uuid *member, uint64_t inode,
			   uint32_t generation);
int mrmr_guard_rebuild_end(struct mrmr_guard *guard);

/*
 * Give the inode the next generation, and enter it if it is new. Each attempt
 * to protect a file takes one of its own: one that was given for an attempt that
 * came to nothing must not be used for the next. EBUSY: the table is not ready;
 * EOVERFLOW: all of the four billion were given.
 */
int mrmr_guard_declare(struct mrmr_guard *guard, const struct mrmr_uuid *member,
		       uint64_t inode, uint32_t *generation);

/* Nothing depends on this inode's bytes any more. */
void mrmr_guard_forget(struct mrmr_guard *guard, const struct mrmr_uuid *member,
		       uint64_t inode);

#endif
