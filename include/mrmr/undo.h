/*
 * MRMR: keeping protected bytes before they are overwritten.
 *
 * No write hole (invariant 2): other files' redundancy depends on the protected
 * bytes of this one until parity was changed, so these are copied before the
 * first write to them reaches the file: durably, on the same member, once for
 * each piece and generation, whichever process writes.
 *
 *     .mrmr/undo/<inode>/<piece>.<generation>     (hexadecimal)
 *
 * A piece is MRMR_UNDO_PIECE bytes of the file, the last one as long as the
 * file was. It is made under a temporary name, synced, and renamed, so what has
 * its name is whole. Where the file system can, it shares the file's blocks
 * (FICLONERANGE) and costs neither room nor time. Who keeps or removes pieces
 * of an inode holds a flock on its folder. What can happen between several of
 * them: source/pool/undo.c.
 *
 * A file that shrinks loses what is cut off: that is kept likewise. What cannot
 * be kept in reasonable time (more than the pool's undo_max_bytes to copy at
 * once for a single truncation) is given up at once:
 *
 *     .mrmr/undo/<inode>/lost.<first piece>.<generation>
 *
 * says that the bytes from that piece on are not there for that generation or
 * lower ones, except for pieces that are. The protector mends that first. (An
 * empty file `lost` beside it says that there is any.) How a reader finds what
 * there is without listing it: source/pool/undo_names.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_UNDO_H
#define MRMR_UNDO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <mrmr/pool.h>

#define MRMR_UNDO "undo" /* below the member's .mrmr */
#define MRMR_UNDO_PIECE (1u << 20)

/* --- for those who write -------------------------------------------------- */

/* A file that is open for writing. */
struct mrmr_undo;

/*
 * Look at the file behind fd (any access mode), which lies on a member of the
 * pool. *undo is NULL if it holds nothing protected: that stays so while fd is
 * open for writing. -1 with errno if it is not known: then nothing may be
 * written. Becomes root itself. A talloc child of mem_ctx; may outlive the pool.
 */
int mrmr_undo_open(void *mem_ctx, struct mrmr_pool *pool, int fd,
		   struct mrmr_undo **undo);

/* Are all protected bytes of the range kept, or are there none? Costs no system
   call. For any thread. */
bool mrmr_undo_is_kept(struct mrmr_undo *undo, uint64_t offset, uint64_t len);

/*
 * Keep them. May take as long as reading, writing and syncing them. For any
 * thread, more than one at a time; works with descriptors of its own and
 * becomes root in its own thread. 0; -1 with errno: then nothing may be
 * written. ENOSPC: there is no room on the member (see mrmr_trash_make_room).
 */
int mrmr_undo_keep(struct mrmr_undo *undo, uint64_t offset, uint64_t len);

/* The same before the file is cut to size_bytes. *lost tells that it took too
   long, and was given up (see above): the cut may be made. */
int mrmr_undo_keep_cut(struct mrmr_undo *undo, uint64_t size_bytes, bool *lost);

/* --- for those who read protected bytes ------------------------------------ */

/*
 * Read the bytes [offset, offset + len) of the version of an inode that was
 * protected at a generation: from pre-images, else from the file fd, which may
 * be -1 if it is not to be had. Zeros are not made up: if the file is too short
 * it is EIO, as is a part that was given up. fd must be the inode's. Safe
 * against writers that go on meanwhile: looks for a pre-image again after
 * having read from the file. Needs root; for any thread.
 */
int mrmr_undo_read(int private_fd, uint64_t inode, uint32_t generation, int fd,
		   void *buf, size_t len, uint64_t offset);

/*
 * The same, but only by what names and sizes tell: would there be bytes to read?
 * size_bytes is that of the file, 0 if it is not to be had. Reads no content.
 */
bool mrmr_undo_has(int private_fd, uint64_t inode, uint32_t generation,
		   uint64_t size_bytes, size_t len, uint64_t offset);

/* Has the member no pre-images at all, at this moment? False also if that cannot
   be told. Needs root. */
bool mrmr_undo_is_empty(int private_fd);

/* --- for the protector -------------------------------------------------------- */

/*
 * Generations below this one are needed no more (0: no generation is): remove
 * their pieces, and the folder when it is empty. Of an inode on a member. Needs
 * root.
 */
int mrmr_undo_drop(int private_fd, uint64_t inode, uint32_t below_generation);

/* Call fn for each inode that has a folder, with the bytes on disk of it. */
int mrmr_undo_walk(int private_fd,
		   int (*fn)(uint64_t inode, uint64_t bytes,
			     void *private_data),
		   void *private_data);

#endif
