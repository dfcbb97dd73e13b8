/*
 * MRMR: what was begun on several members and must be finished.
 *
 * A change of the namespace that is one system call on one member is atomic as
 * it is. One that needs several leaves an intent first: a small JSON file
 * <state dir>/intents/<sequence>.json, durable before the first step, removed
 * after the last. Intents that a dead process left are carried out again from
 * the start, in sequence: every step asks what is there and does what is
 * missing. Whoever uses the pool next does so before anything else, as others
 * may live on in the same share. Steps for a member that is away stay in the
 * intent until that member is back; only then is it online.
 *
 * Whoever has an intent under way has the tree lock from before its begin
 * until after its end: that is how a dead one's is told from a living one's.
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
	/* Of a file of `keep`, which is away (source/pool/names_absent.c): */
	MRMR_INTENT_ABSENT_REMOVE, /* to goes to the trash */
	MRMR_INTENT_ABSENT_RENAME, /* from -> to on `keep`; to, as it was there
				      and on the others, goes */
	MRMR_INTENT_RMDIR, /* to, which is empty, goes on the members named */
};

struct mrmr_intent {
	enum mrmr_intent_kind kind;
	const char *from; /* pool paths */
	const char *to;
	size_t keep;           /* index of a member; unused for directories */
	const size_t *members; /* where there is something to do */
	size_t num_members;
	uint64_t sequence; /* given by mrmr_intent_begin */
	bool committed;    /* it has happened elsewhere: go forward */
};

/*
 * Write it durably. 0, or -1 with errno: then nothing was begun. Needs root
 * and the tree lock.
 */
int mrmr_intent_begin(struct mrmr_pool *pool, struct mrmr_intent *intent);

/* The same in the midst of what is done as the user. */
int mrmr_intent_begin_as_root(struct mrmr_pool *pool,
			      struct mrmr_intent *intent);

/* All of it is done, or all was undone. Needs root. */
void mrmr_intent_end(struct mrmr_pool *pool, const struct mrmr_intent *intent);

/*
 * What was begun could be neither done nor undone: leave the intent for the
 * next to use the pool.
 */
void mrmr_intent_leave(struct mrmr_pool *pool,
		       const struct mrmr_intent *intent);

/*
 * Some members are done and the rest is away: keep the intent for those that
 * are left. Needs root. -1 with errno: that cannot be written now; it is as after
 * mrmr_intent_leave(), and who uses the pool next tries it again.
 */
int mrmr_intent_keep_for(struct mrmr_pool *pool, struct mrmr_intent *intent,
			 const size_t *members, size_t num_members);

/*
 * Carry out what intents ask of members that are online, or of one that is
 * coming online, and set is_waited_for of the members that must not come
 * online yet. Needs root, and no lock: it takes those of the directories
 * concerned. The number of intents left.
 */
int mrmr_intents_finish(struct mrmr_pool *pool);

/* Has a process died in the middle of something, and nobody finished it? */
bool mrmr_intents_are_stale(struct mrmr_pool *pool);

/* True if an intent waits for this member. */
bool mrmr_intents_wait_for(struct mrmr_pool *pool, size_t member);

/* True if an intent is to give a directory this path, or to take it away. Needs
   root. */
bool mrmr_intents_rename(struct mrmr_pool *pool, const char *path);

/* True for some time after what waits for a member could not be done on it, but
   not once others have done it: they use the member. Needs root. */
bool mrmr_intents_hold_off(struct mrmr_pool *pool,
			   const struct mrmr_member *member);

#endif
