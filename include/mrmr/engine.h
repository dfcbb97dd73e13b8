/*
 * MRMR: the engine: a pool with its catalogue, for all that deals with parity.
 *
 * Opened by the protector and by mrmr-admin's verbs, and, for reading only, by
 * smbds while a member is away. Whoever writes holds the catalogue's lock, so
 * there is one writer a pool; how long it keeps it is its own affair, but the
 * protector in the background gives way: between batches it looks in the pool's
 * page whether somebody waits.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ENGINE_H
#define MRMR_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/catalog.h>
#include <mrmr/error.h>
#include <mrmr/guard.h>
#include <mrmr/pool.h>
#include <mrmr/queue.h>

enum mrmr_engine_mode {
	MRMR_ENGINE_READ,  /* no lock; ENOENT if nothing was ever protected */
	MRMR_ENGINE_WRITE, /* waits for the lock */
	MRMR_ENGINE_TRY,   /* as WRITE, but EAGAIN if another process writes */
};

struct mrmr_engine {
	struct mrmr_pool *pool;
	struct mrmr_catalog *catalog;
	struct mrmr_guard *guard;
	struct mrmr_queue *queue;
	enum mrmr_engine_mode mode;
	int lock_fd;      /* -1 when reading */
	uint16_t *number; /* in the catalogue, of pool->members[i];
			     MRMR_MEMBER_NONE if it has none yet (reading) */
	struct mrmr_engine_part *parts; /* of pool->members[i]; engine.c */
	bool writes_failed; /* mrmr_stripes_sync() did, so the kernel has told
			       of it, and does not again */
};

/*
 * For writing: gives every member of the pool its number, opens and attaches
 * the parts of those that are online, and makes the guard ready. A talloc child
 * of mem_ctx; freeing it closes everything and gives the lock back, not the
 * pool. NULL with *err filled. Needs root.
 *
 * A catalogue that is missing is made if nothing was ever protected in this
 * pool. If members carry parts of one, that is EILSEQ, in each mode, and no new one is
 * begun: it would take all that is known from the parts.
 */
struct mrmr_engine *mrmr_engine_open(void *mem_ctx, struct mrmr_pool *pool,
				     enum mrmr_engine_mode mode,
				     struct mrmr_error *err);

/* There is no catalogue: was nothing ever protected in this pool, by what the members
   that are there show? 0, or -1 with *err, EILSEQ: it was lost. Needs root. */
int mrmr_engine_check_new(const struct mrmr_pool *pool, struct mrmr_error *err);

/*
 * For writing: reads all of a member's part of the catalogue, if it has one. If that is
 * damaged, which nobody may have met, *was_damaged is true, and it is put aside and made
 * anew, as when one is opened that is. -1 with *err: that cannot be done now.
 */
int mrmr_engine_check_part(struct mrmr_engine *engine, size_t member,
			   bool *was_damaged, struct mrmr_error *err);

/* Index of a member in the pool by its number, SIZE_MAX if it has left the
   pool for good. */
size_t mrmr_engine_member(const struct mrmr_engine *engine, uint16_t number);

/* The member itself if it is there to be read now, else NULL. */
struct mrmr_member *mrmr_engine_online(const struct mrmr_engine *engine,
				       uint16_t number);

/*
 * Look at the members again: attaches the parts of those that have come, after
 * bringing up to date what they missed, and detaches those that have gone. Not
 * within a transaction.
 */
int mrmr_engine_look(struct mrmr_engine *engine, struct mrmr_error *err);

#endif
