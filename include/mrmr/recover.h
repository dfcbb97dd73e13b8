/*
 * MRMR: making the catalogue anew from the parts of it on the members.
 *
 * For when the state directory is lost or damaged. Each member's part knows its
 * own files and the stripes it takes part in; together they know everything, and
 * with as many members missing as there are parity rows, still all that can be
 * computed (invariant 6).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_RECOVER_H
#define MRMR_RECOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/engine.h>

struct mrmr_recover_options {
	bool replace; /* also a catalogue that is sound */
	void (*progress)(uint64_t done_records, void *private_data);
	bool (*should_stop)(void *private_data); /* both may be NULL */
	void *private_data;
};

struct mrmr_recover_result {
	size_t num_parts;   /* that were read */
	size_t num_damaged; /* of members that are there, but not their parts */
	size_t num_away;    /* members that are not there */
	uint64_t nodes;     /* names, but for further ones */
	uint64_t stripes;
	uint64_t removed;   /* that an old part had, and a newer one had not */
	uint64_t conflicts; /* nodes that another one's name was given to */
	uint64_t bare_extents; /* of which it is not known where they are */
	uint64_t lost_pieces;  /* in stripes, of which no file is known */
	char aside[64];        /* what the old catalogue is called now, or "" */
};

/* Is there a catalogue, and is it sound? 1 yes, 0 there is none; -1 with *err:
   EILSEQ it is damaged. */
int mrmr_recover_look(struct mrmr_pool *pool, struct mrmr_error *err);

/*
 * Make it, in a folder of its own, and put it in the place of the old one, which
 * is kept beside it. Nothing on the members is changed. -1 with *err filled: then
 * nothing has changed; EEXIST there is a sound one; ENOENT no member has a part;
 * EAGAIN somebody works with it. Needs root, and no engine.
 */
int mrmr_recover(struct mrmr_pool *pool,
		 const struct mrmr_recover_options *options,
		 struct mrmr_recover_result *result, struct mrmr_error *err);

/* With the engine on the new catalogue, and members away: all directories that it
   knows, on the spine and on a member. Those that members have come by themselves,
   and with all members there, what none of them has was removed by a client. */
int mrmr_recover_spine(struct mrmr_engine *engine, struct mrmr_error *err);

#endif
