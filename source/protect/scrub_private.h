/*
 * MRMR: scrubbing: which stripes (scrub_choose.c), and when (scrub.c); reading
 * them (scrub_read.c), and what is in none (scrub_zero.c); what is to be made of
 * suspects (scrub_judge.c), and noted (scrub_record.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef SCRUB_PRIVATE_H
#define SCRUB_PRIVATE_H

#include <mrmr/live.h>
#include <mrmr/scrub.h>

/* --- choosing ---------------------------------------------------------------- */

struct scrub_chosen {
	uint64_t id;
	uint64_t bytes;
	uint16_t day; /* when it was scrubbed last */
};

struct scrub_choice {
	struct scrub_chosen *list; /* in the order in which they go */
	size_t num;
	uint64_t todo_bytes;
	bool is_resumed; /* only what the last one has left */
	bool can_resume; /* if it is stopped */
};

/* list is a talloc child of mem_ctx. -1 with errno. */
int scrub_choose(void *mem_ctx, struct mrmr_catalog *catalog,
		 const struct mrmr_scrub_options *options, uint16_t today,
		 const struct mrmr_scrub_state *state,
		 struct scrub_choice *choice);

/* --- reading ----------------------------------------------------------------- */

struct scrub_stripe {
	uint64_t id;
	bool is_suspect;
	bool is_partial; /* some of it is away */
};

/* To be read: a parity block, or a piece of a slot. */
struct scrub_block {
	struct scrub_block *next;
	struct scrub_stripe *stripe;
	size_t member;          /* index; who reads it */
	struct mrmr_live *live; /* or, of a parity block: */
	int fd;
	uint64_t file;    /* of what live is, */
	uint32_t index;   /* which extent of it, */
	bool is_expected; /* and whether it was taken by its name only */
	bool is_missed;   /* then: it is not there, or not right */
	bool is_wrong;    /* else: it is not right */
	uint64_t offset;
	uint32_t len_bytes;
	uint64_t checksum;
	uint8_t sha256[32];
};

/* A thread for each member, which reads and compares. */
struct scrub_readers;
struct scrub_readers *scrub_readers_new(void *mem_ctx, size_t num_members,
					bool deep);

/* Owns nothing yet; NULL with ENOMEM. Freed with what it owns. */
struct scrub_block *scrub_block_new(struct scrub_stripe *stripe, size_t member);
void scrub_block_free(struct scrub_block *block);

/* Hand a block over to the thread of its member, with live and fd; waits while
   that has much to do. They are handed over several at a time: flush does not
   wait for more. */
void scrub_readers_add(struct scrub_readers *readers,
		       struct scrub_block *block);
void scrub_readers_flush(struct scrub_readers *readers);

/*
 * Wait until all was read: is_suspect of the stripes is right then, but for
 * blocks that were expected under their names, and did not come out right: these
 * are given back, one a call, to be looked for. NULL: there are none. Without
 * wait, what there is by now.
 */
struct scrub_block *scrub_readers_missed(struct scrub_readers *readers,
					 bool wait);

uint64_t scrub_readers_bytes(struct scrub_readers *readers);

/* --- blocks that are all zero --------------------------------------------------- */

struct scrub_zeros {
	uint64_t at;   /* the last id that was looked at */
	uint64_t left; /* ids that are still to be */
};

struct scrub_zeros_reader {
	struct mrmr_engine *engine;
	struct mrmr_live_member **members; /* NULL: it is not there */
	bool deep;
	bool (*should_end)(void *private_data);  /* for now; not in a file */
	bool (*should_stop)(void *private_data); /* at once */
	/* That block is not all zero. 0, or -1 with errno. */
	int (*bad)(uint64_t file, uint32_t index, void *private_data);
	void *private_data;
};

/* From where the last scrub has come to. -1 with errno. */
int scrub_zeros_begin(struct scrub_zeros *z, struct mrmr_catalog *catalog,
		      unsigned int percent);
/* Until none is left, or it is to end. */
int scrub_zeros_read(struct scrub_zeros *z, struct scrub_zeros_reader *reader);
/* Within a transaction. */
int scrub_zeros_note(const struct scrub_zeros *z, struct mrmr_catalog *catalog);

/* --- judging ------------------------------------------------------------------- */

struct scrub_judge {
	struct mrmr_engine *engine; /* for writing */
	const struct mrmr_scrub_options *options;
	struct mrmr_scrub_result *result;
};

/* Read a suspect again and say what is wrong with it; repair it if that is
   wanted. *is_right tells if nothing is, or not any more. -1 with errno. */
int scrub_judge_stripe(struct scrub_judge *judge, uint64_t id, bool *is_right);
/* A block that should be all zero. */
int scrub_judge_zero(struct scrub_judge *judge, uint64_t file, uint32_t index);

/* --- all of it ------------------------------------------------------------------- */

/* A block that should be all zero. */
struct scrub_zero {
	uint64_t file;
	uint32_t index;
};

struct scrub {
	struct mrmr_pool *pool;
	const struct mrmr_scrub_options *options;
	struct mrmr_scrub_result *result;
	struct mrmr_error *err;
	struct mrmr_engine *engine;
	struct scrub_readers *readers;
	uint16_t today;
	struct mrmr_scrub_state state;
	struct scrub_choice choice;
	size_t next;
	uint64_t skipped_bytes; /* of stripes that are gone */
	struct scrub_zeros zeros;
	int64_t turn_ends_ns;

	/* Of this turn. */
	struct mrmr_live_member **members;
	struct scrub_stripe *stripes;
	size_t num_stripes;

	/* To be recorded. */
	uint64_t *clean;
	size_t num_clean;
	size_t size_clean;
	uint64_t *suspects;
	size_t num_suspects;
	size_t size_suspects;
	struct scrub_zero *zeros_bad; /* a talloc array */
	size_t num_zeros_bad;
};

/* scrub.c */

bool scrub_should_stop(const struct scrub *s);
/* -1 with *s->err, of errno. */
int scrub_fail_catalog(struct scrub *s);
int scrub_fail_memory(struct scrub *s);
/* An id more in a list. -1 with ENOMEM. */
int scrub_remember(struct scrub *s, uint64_t **list, size_t *num, size_t *size,
		   uint64_t id);

/* scrub_record.c: with the catalogue open for writing. -1 with *s->err. */
int scrub_record(struct scrub *s);

#endif
