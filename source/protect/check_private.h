/*
 * MRMR: can every protected file be had: stripes (check.c), how much of one is
 * gone where (check_profile.c), files (check_files.c); and one file
 * (check_one.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef CHECK_PRIVATE_H
#define CHECK_PRIVATE_H

#include <mrmr/check.h>
#include <mrmr/live.h>

#define CHECK_OPEN_FILES 64

enum check_view {
	NOW,
	THEN,
	NUM_VIEWS,
};

struct check_open {
	uint64_t file; /* 0: unused */
	struct mrmr_node *node;
	struct mrmr_live *live; /* node's */
	int error;              /* why there is none */
	bool has_changed;
};

struct check {
	struct mrmr_engine *engine;
	const struct mrmr_check_options *options;
	struct mrmr_check_result *result;
	struct mrmr_live_member **members; /* by index; NULL: not online */
	struct check_open open[CHECK_OPEN_FILES];
	uint64_t sequence;   /* of the catalogue, for what is open */
	uint64_t num_pieces; /* that file and stripe agree on */

	/* Files by id, in a table with gaps (id 0). */
	struct mrmr_check_file *table;
	size_t table_size; /* a power of two */
	size_t num_in_table;
};

/* Offsets are those within the slot. */
struct check_piece {
	uint32_t slot; /* index in the stripe */
	uint16_t member;
	uint32_t begin;
	uint32_t end;
	uint64_t file;
	uint32_t index;
	bool gone[NUM_VIEWS];
	bool is_wrong; /* the records contradict each other */
	bool has_changed;
};

/* From this position on, so many slots are gone. */
struct check_step {
	uint32_t at;
	int gone;
};

struct check_stripe {
	struct mrmr_stripe *stripe;
	struct check_piece *pieces;
	uint32_t num_pieces;
	uint32_t rows[NUM_VIEWS]; /* that are there */
	bool *row_is_there;       /* now; of stripe->rows[i] */
	uint32_t missing_rows;
	uint32_t away_rows;
	bool is_troubled;
	struct check_step *steps[NUM_VIEWS];
	size_t num_steps[NUM_VIEWS];
};

static inline bool check_should_stop(const struct check *c)
{
	return c->options->should_stop != NULL &&
	       c->options->should_stop(c->options->private_data);
}

/* With every member that is online opened. NULL for want of memory. */
struct check *check_new(void *mem_ctx, struct mrmr_engine *engine,
			const struct mrmr_check_options *options);

/*
 * Look at a stripe, at its pieces with something in a range of the slots, until
 * no commit has come meanwhile. A talloc child of c. NULL with errno: ENOENT it
 * is gone.
 */
struct check_stripe *check_look(struct check *c, uint64_t id, uint32_t begin,
				uint32_t end);

/* Steps up and down where pieces are gone, then their running sum. Pieces of one
   slot never overlap, so each counts by itself. -1 with ENOMEM. */
int check_make_profile(struct check_stripe *s, enum check_view view);

/* How many slots are gone at once in a range, at most. */
int check_most_gone(const struct check_stripe *s, enum check_view view,
		    uint32_t begin, uint32_t end);

/* The entry of a file, which is made if there is none. NULL with ENOMEM. Good
   until the next call. */
struct mrmr_check_file *check_find_file(struct check *c, uint64_t id,
					uint16_t member);

/*
 * Go through the files for what is in no stripe, and (if no commit has come since
 * that sequence) for what says it is in one that does not know it.
 */
int check_nodes(struct check *c, uint64_t sequence);

/* Make the list of the result, and count. */
int check_count_files(struct check *c);

#endif
