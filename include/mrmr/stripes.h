/*
 * MRMR: bringing pieces of files into stripes and out of them.
 *
 * The protector says what is to change; this decides which stripes take it and
 * computes their parity. Full stripes first, of blocks of as many failure units
 * as there are (less the rows); then blocks join stripes in which their unit
 * has nothing; then new, narrow stripes are begun, which later blocks join.
 * Pieces smaller than a block are packed: several in one slot, up to the
 * block's size. Parity goes to the units with most room that are not in the
 * stripe, those of role "parity" first.
 *
 * A stripe is changed by what changes: parity' = parity + coefficient * (old
 * bytes + new bytes), the old ones from the file's pre-images; or, where that
 * reads less or the old bytes are gone, encoded anew from all its slots.
 *
 * No write hole: new parity blocks are new files; the old ones stay until the
 * commit is durable, and are removed by mrmr_stripes_finish().
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_STRIPES_H
#define MRMR_STRIPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/engine.h>
#include <mrmr/live.h>

/*
 * An extent of a file gets other bytes, its first ones, or goes.
 *
 * As long as mrmr_stripes_apply() has not returned, the node of a file that has
 * extents in stripes must be in the catalogue as it was when these were
 * protected (generation, inode, size, mtime): by that their old bytes are found.
 * What is new is put after it, within the same transaction. All changes of a
 * file belong in one call.
 */
struct mrmr_change {
	uint64_t file; /* id of the node, which is in the catalogue */
	uint16_t member;
	uint32_t index;
	uint64_t offset;

	/* What it is to be: len_bytes of now, at offset; 0 if it goes. */
	struct mrmr_live *now;
	uint32_t len_bytes;
	bool only_moves; /* the bytes are those of old, which leaves, or has
			    left, another stripe: it is not taken with others */

	/* What it was, if it was in a stripe. was is where its bytes are; NULL
	   if they are gone. */
	struct mrmr_extent old;
	bool has_old;
	struct mrmr_live *was;

	/* Filled in: what it is now. MRMR_EXTENT_BARE and an error if it could
	   not be protected (ENOSPC: no room for parity; EIO: unreadable;
	   EILSEQ: it only moves, and has other bytes; EAGAIN: postponed). Of an extent that goes: all zero; the caller cuts
	   it off. */
	struct mrmr_extent extent;
	int error;
};

struct mrmr_stripes; /* work in progress of one transaction */

struct mrmr_stripes_options {
	size_t memory_bytes;  /* buffers, at most; 0: 192 MiB. One stripe takes
				 its rows and three blocks in any case */
	unsigned int threads; /* 0: as many as processors */
	bool may_postpone;    /* where only what this transaction itself will
				 set free is missing, leave changes undone,
				 with the error EAGAIN; never all of them */
	bool uses_spare;      /* room that is meant for stripes that change:
				 for those that do, or if there is no other */
	bool uses_all;        /* all room that there is, also what is meant for
				 records: by what is done there will be more */
	bool keeps_each; /* A stripe that would have fewer rows by a change,
				 as there is no room for new ones, or would lose
				 what is on a member that is away, stays as it
				 is. The change has the error ENOSPC, and what
				 is in the stripe by the catalogue must stay as
				 it is */
	bool joins_only; /* What comes is to join stripes that exist. If it
				 can't, apply fails with ENOSPC, before
				 anything is read or written */
	bool (*should_stop)(void *private_data); /* may be NULL */
	/* The threads take the time of processors that nobody else wants; not
	   if is_urgent (may be NULL) says that somebody waits for them, nor
	   for what takes 10 seconds that way. */
	bool steps_back;
	bool (*is_urgent)(void *private_data);
	void *private_data;
};

/*
 * Make the changes: read and hash what is new, choose stripes, compute and
 * write parity blocks, and put extents and stripes into the catalogue, within
 * the transaction that the caller has begun. A change whose bytes are those
 * that are protected already (by hash) costs its reading only. 0 even if single
 * changes have an error. -1 with *err filled if the whole failed: the caller
 * cancels the transaction and calls mrmr_stripes_abort().
 */
struct mrmr_stripes *mrmr_stripes_new(
	void *mem_ctx, struct mrmr_engine *engine,
	const struct mrmr_stripes_options *options);
int mrmr_stripes_apply(struct mrmr_stripes *work, struct mrmr_change *changes,
		       size_t num, struct mrmr_error *err);

/*
 * What comes is to take less than so many bytes of parity more than there is,
 * and to have all its rows. If by the plan it does not, apply fails with ENOSPC,
 * before anything is read or written.
 */
void mrmr_stripes_limit(struct mrmr_stripes *work, uint64_t more_bytes);

/*
 * For changes that need not be made now. A change of a stripe may find that what
 * stays in it can be neither read nor computed, as a member is away, or fails; or
 * that there is no room for as many rows as it has on members that are there. Then
 * it goes on without. With keeps_all it does not: apply fails, with EIO or ENOSPC.
 * Has it done so, for that?
 */
void mrmr_stripes_keep_all(struct mrmr_stripes *work, bool keeps_all);
bool mrmr_stripes_kept(const struct mrmr_stripes *work);

/*
 * Make one stripe whole: rows that are missing, on members that have left the
 * pool or are away, wrong, or fewer than the pool wants, are computed and
 * written elsewhere; rows too many are dropped; slots whose bytes are nowhere
 * any more leave, with the rest encoded anew. *changed tells if anything was.
 */
int mrmr_stripes_mend(struct mrmr_stripes *work, uint64_t stripe, bool *changed,
		      struct mrmr_error *err);

/*
 * It is to have no more than so many rows for now (at least one), so that the room
 * of the others is free after the commit. mrmr_stripes_mend() gives it all of them
 * again; that it lacks some is noted.
 */
int mrmr_stripes_lend_rows(struct mrmr_stripes *work, uint64_t stripe,
			   unsigned int num, struct mrmr_error *err);

/*
 * Many that lack one row each, on a member that is lost, and are whole otherwise
 * as far as the records tell: the row's bytes are computed by
 * mrmr_decode_row_at_once(), which proves them, and put onto another member by
 * any thread: 1, and row->member is who has it; 0: nobody takes it; -1 with
 * ENOMEM. To put the stripe into the catalogue is for the caller.
 */
bool mrmr_stripes_lacks_only(struct mrmr_stripes *work,
			     const struct mrmr_stripe *stripe, uint8_t row);
int mrmr_stripes_put_row(struct mrmr_stripes *work,
			 const struct mrmr_stripe *stripe, struct mrmr_row *row,
			 const uint8_t *data);

/*
 * A stripe that is made or changed while there are not enough members for its
 * rows, or not enough room, is short of some. That there may be such is remembered
 * in the catalogue, with the members that were online and the room that they had.
 * Are there? *is_worth_it tells if there are other members now, or more room, so
 * that they may be mended. To forget it, within a transaction, is for who goes
 * through all stripes from then on; to note it again, for who could not mend all.
 */
bool mrmr_stripes_are_short(struct mrmr_engine *engine, bool *is_worth_it);
int mrmr_stripes_note_short(struct mrmr_engine *engine);
/* The same, of whoever only looks: may there be such? */
bool mrmr_stripes_short_is_noted(struct mrmr_catalog *catalog);
/* Was one made by this work? */
bool mrmr_stripes_made_short(const struct mrmr_stripes *work);
int mrmr_stripes_forget_short(struct mrmr_engine *engine);

/* There may be files of which something is in no stripe any more, as theirs came to
   an end: to be pending. To be forgotten within a transaction. */
bool mrmr_stripes_bare_is_noted(struct mrmr_catalog *catalog);
int mrmr_stripes_forget_bare(struct mrmr_catalog *catalog);

/* There may be stripes with pieces that no file knows: to be mended. Notes of
   that, to be changed within a transaction. */
int mrmr_stripes_note_unknown(struct mrmr_catalog *catalog);
bool mrmr_stripes_unknown_is_noted(struct mrmr_catalog *catalog);
int mrmr_stripes_forget_unknown(struct mrmr_catalog *catalog);
bool mrmr_stripes_has_unknown(struct mrmr_catalog *catalog,
			      const struct mrmr_stripe *stripe);

/* syncfs every member that data was read from or parity written to: to be
   called before the commit. */
int mrmr_stripes_sync(struct mrmr_stripes *work, struct mrmr_error *err);

/* After the commit: remove the parity blocks that no stripe names any more. */
void mrmr_stripes_finish(struct mrmr_stripes *work);
/* Instead of it: remove those that were written for nothing. */
void mrmr_stripes_abort(struct mrmr_stripes *work);

/* The rows that a stripe is to have, and the number of units: for a pool as it
   is now. See mrmr_pool_rows(). */

#endif
