/*
 * MRMR: what was begun on several members and must be finished.
 *
 * A change of the namespace that is one system call on one member is atomic as
 * it is. One that needs several leaves an intent first: a small JSON file
 * <state dir>/intents/<sequence>.json, durable before the first step, removed
 * after the last. Intents found when a pool is opened are carried out again
 * from the start, in sequence: every step asks what is there and does what is
 * missing, so doing it twice does no harm. Steps for a member that is away
 * stay in the intent until that member is back; only then is it online.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_INTENT_H
#define MRMR_INTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/pool.h>

enum mrmr_intent_kind {
	MRMR_INTENT_RENAME_DIR, /* from -> to on the members named */
	MRMR_INTENT_REPLACE,    /* from -> to on `keep`; to goes elsewhere */
	MRMR_INTENT_MOVE,       /* to now lies on `keep`; gone elsewhere */
};

struct mrmr_intent {
	enum mrmr_intent_kind kind;
	const char *from;        /* pool paths */
	const char *to;
	size_t keep;             /* index of a member; unused by RENAME_DIR */
	const size_t *members;   /* where there is something to do */
	size_t num_members;
	uint64_t sequence;       /* given by mrmr_intent_begin */
	bool committed;          /* it has happened elsewhere: go forward */
};

/* Write it durably. 0, or -1 with errno: then nothing was begun. Needs root. */
int mrmr_intent_begin(struct mrmr_pool *pool, struct mrmr_intent *intent);

/* All of it is done, or all was undone. Needs root. */
void mrmr_intent_end(struct mrmr_pool *pool, const struct mrmr_intent *intent);

/*
 * Some members are done and the rest is away: keep the intent for those that
 * are left. Needs root.
 */
int mrmr_intent_keep_for(struct mrmr_pool *pool, struct mrmr_intent *intent,
			 const size_t *members, size_t num_members);

/*
 * Carry out what intents ask of members that are online, or of one that is
 * coming online. Needs root. The number of intents left.
 */
int mrmr_intents_finish(struct mrmr_pool *pool);

/* True if an intent waits for this member. */
bool mrmr_intents_wait_for(struct mrmr_pool *pool, size_t member);

#endif
