/*
 * MRMR: recovering the catalogue: what its files share (see recover.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_RECOVER_PRIVATE_H
#define MRMR_RECOVER_PRIVATE_H

#include <mrmr/recover.h>

struct recover_part {
	struct mrmr_catalog *part;
	const struct mrmr_member *member;
	uint64_t sequence; /* of the last commit that reached it */
	uint16_t number;   /* of its member */
	struct mrmr_catalog_last
		*last; /* of those with the last commit of all */
};

/* Which way the catalogue is made, see recover_last.c. */
enum recover_way {
	RECOVER_WITH,    /* the last commit of all */
	RECOVER_WITHOUT, /* it */
	RECOVER_CHOSEN,  /* each family as less of it is missing */
	RECOVER_WAYS,
};

struct recover_family;

/* The last commit of all. */
struct recover_last {
	enum recover_way way;
	uint64_t sequence;
	size_t num;           /* parts that have it: the first ones */
	uint64_t before;      /* the last one of those that have not; or 0 */
	uint64_t next_stripe; /* the lowest id that none had before it */
	struct recover_family *family; /* of each thing that it touched */
	uint64_t *nodes;               /* these things: ids, ascending */
	size_t num_nodes;
	uint64_t *stripes;
	size_t num_stripes;
};

struct recover {
	struct mrmr_pool *pool;
	const struct mrmr_recover_options *options;
	struct mrmr_recover_result *result;
	struct mrmr_error *err;
	struct mrmr_catalog *catalog;                /* the new one */
	struct recover_part parts[MRMR_MEMBERS_MAX]; /* newest first */
	size_t num_parts;
	struct recover_last last;
	uint64_t done;
	const bool *is_left_out; /* of members: their parts make no sense */
};

/* -1 with *err by errno. */
int recover_fail(struct recover *rc);
/* After each record: commits now and then. -1 with *err. */
int recover_step(struct recover *rc);
const struct recover_part *recover_part_of(const struct recover *rc,
					   uint16_t number);

/* --- recover_last.c -------------------------------------------------------- */

/* When all parts are open, and sorted. */
int recover_last_load(struct recover *rc);

/* It was made with the last commit. Is it to be tried without it, too? And then,
   is something to be chosen? */
bool recover_last_is_missed(const struct recover *rc);
/* To be called before it is tried this way once more. */
void recover_last_begin(struct recover *rc, enum recover_way way);
bool recover_last_choose(struct recover *rc);

/* Was it touched by the last commit, and is that left out? */
bool recover_leaves_node(const struct recover *rc, uint64_t id);
bool recover_leaves_extent(const struct recover *rc, uint64_t id,
			   uint32_t index);
bool recover_leaves_stripe(const struct recover *rc, uint64_t id);

/* The number by which a record of a part counts: of two, the higher one is
   right. is_left: as above. */
uint64_t recover_rank(const struct recover *rc, const struct recover_part *from,
		      bool is_left, uint64_t sequence);
/* Can a part tell, by not having it, that something is gone? */
bool recover_can_tell(const struct recover *rc, const struct recover_part *part,
		      bool is_left);
/* Is what they say of an extent and of its stripe from the same time? */
bool recover_is_of_one_time(const struct recover *rc, uint64_t id,
			    uint32_t index, const struct mrmr_extent *extent,
			    const struct mrmr_stripe *stripe);

/* Of an extent nobody knows where it is; of pieces of a stripe, what they are. */
void recover_note_bare(struct recover *rc, uint64_t id, uint32_t index,
		       const struct mrmr_extent *extent);
void recover_note_lost(struct recover *rc, const struct mrmr_stripe *stripe,
		       uint64_t num);
/* A stripe as it was before that commit: is its parity there? */
void recover_look_at_rows(struct recover *rc, const struct mrmr_stripe *stripe);

/* --- recover_import.c ------------------------------------------------------ */

int recover_import(struct recover *rc, const struct recover_part *from);
/* Further names, when all nodes are there. */
int recover_links(struct recover *rc);

/* --- recover_verify.c ------------------------------------------------------- */

/* What does not fit together is claimed no more. */
int recover_verify(struct recover *rc);
/* The table of protected files, if it was lost with the state directory. */
int recover_guard(struct recover *rc);

#endif
