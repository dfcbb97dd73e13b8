/*
 * MRMR: putting right what has gone bad.
 *
 * Nothing is written that its SHA-256 does not prove (invariant 4), and no byte
 * that is right is given up for it (invariant 2): a file is made anew beside the
 * bad one, of its good bytes and of computed ones, and takes its name; the bad
 * one stays in the member's trash. How that survives a kill at any point:
 * source/protect/repair.c.
 *
 * For the holder of the catalogue's lock, outside of transactions: the engine is
 * open for writing.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_REPAIR_H
#define MRMR_REPAIR_H

#include <mrmr/engine.h>

/*
 * Make a file right that is unchanged since it was protected, but has bad bytes.
 * -1 with *err filled, and the file as it was: EBUSY somebody has it open for
 * writing; ESTALE it has changed; EMLINK it has several names, which cannot all
 * change at once; EIO its bytes cannot be computed; ENOSPC, EROFS...
 */
int mrmr_repair_file(struct mrmr_engine *engine, uint64_t id,
		     struct mrmr_error *err);

/* Compute the parity block of a row anew, and write it in place of what is
   there. -1 with *err filled. */
int mrmr_repair_row(struct mrmr_engine *engine,
		    const struct mrmr_stripe *stripe, uint8_t row,
		    struct mrmr_error *err);

/*
 * Finish, or drop, the repair of a file in the middle of which a process died.
 * The engine does so when it is opened for writing, before the guard is looked
 * at.
 */
int mrmr_repair_finish(struct mrmr_engine *engine, struct mrmr_error *err);

#endif
