/*
 * Unit tests: the life of a pool, drawn from a seed: clients, protectors that come
 * to their end or are killed, members that leave and return.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef LIFE_H
#define LIFE_H

#include <mrmr/rebuild.h>

#include "tree.h"

#define LIFE_MEMBERS 6
#define LIFE_ROWS 2
#define LIFE_TRIED_MAX 4
#define LIFE_LOST_MAX 2

struct life {
	struct world *w;
	struct tree *now; /* the share, as it was last seen */
	/* when a protector had come to its end for the last time, and when others
	   were killed since */
	struct tree *protected;
	struct tree *tried[LIFE_TRIED_MAX + 1]; /* one is life_lose()'s */
	size_t num_tried;
	/* when a member left; NULL: it is there */
	struct tree *left[LIFE_MEMBERS];
	struct tree *returned; /* when the last one had left that returned */
	size_t last;           /* that left */
	unsigned int num_lost; /* that were rebuilt, and do not return */
	bool is_hiding;        /* what no protector had heard of left with it */
};

/* A pool in which clients have worked, all of which is protected. */
void life_begin(struct life *l);
/* All that left come back, and all is protected. Frees what it has. */
void life_end(struct life *l);

unsigned int life_num_away(const struct life *l);

/* Look at the share. */
void life_see(struct life *l);
/* The same, and nothing has happened that a client should see. */
void life_expect_the_same(struct life *l, const char *when);

/* smbd's process ends, and there is another one. */
void life_reopen(struct life *l);
void life_maybe_reopen(struct life *l);

/* A client does something that may fail, as what it needs is not there, or is in the
   way. */
void life_do_something(struct life *l);
/* Clients do some of that, unless something is hidden, in the way of which it would
   be. */
void life_work(struct life *l);

/* A protector comes to its end, or is killed at a point that is drawn. */
void life_protect(struct life *l);
void life_protect_and_die(struct life *l);

/* Are these the bytes of e as it was protected, or as a protector that was killed
   may have protected it? */
bool life_is_as_protected(const struct life *l, const struct tree_entry *e,
			  const uint8_t *bytes, size_t len);

/* A member leaves, if it may, and the share is looked at. False: none did. */
bool life_leave(struct life *l);
/* It comes back, with all that it had; more: what else may be there if it was hiding
   something, or NULL. */
void life_return(struct life *l, size_t member, const struct tree *more);
/* One of those that left does, if any. */
void life_come_back(struct life *l);

/* For mrmr_rebuild_options: what nobody has protected is given up, and say() tells of
   all trouble. */
bool life_accept_loss(const struct mrmr_rebuild_result *result,
		      void *private_data);
void life_tell(enum mrmr_rebuild_trouble kind, const char *path,
	       uint64_t size_bytes, const char *why, void *private_data);

/* May the last one that left be lost? Another one may be away, and return, or be lost
   as well. */
bool life_may_lose(const struct life *l);
/* It is rebuilt, if it may. All that was protected of it is on others then, as it was
   protected. */
void life_lose(struct life *l);

#endif
