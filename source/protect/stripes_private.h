/*
 * MRMR: stripes being made and changed: what the files of it share.
 *
 * A change becomes an item: bytes that come to a place of a stripe, that leave
 * it, or both. A job is one stripe with its items. First all jobs are planned
 * (stripes_apply.c, stripes_plan.c), then each is carried out once
 * (stripes_run.c), so that no parity block is written twice for one call.
 *
 * Jobs are carried out by threads (stripes_pipeline.c). What asks the catalogue,
 * or allocates with talloc, is done by the caller's thread alone: before a job
 * goes to a thread (job_prepare), and after it has come back (run_record).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef STRIPES_PRIVATE_H
#define STRIPES_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include <mrmr/decode.h>
#include <mrmr/digest.h>
#include <mrmr/parity.h>
#include <mrmr/stripes.h>

#define PIECES_MAX 1000 /* of a slot */
#define OPEN_SLOTS_MAX 8
#define MEMORY_BYTES_DEFAULT ((size_t)192 << 20)

/* --- layouts (stripes_layout.c): what lies where in a stripe ---------------- */

struct item;
struct source;

struct layout_piece {
	uint64_t file; /* MRMR_ID_NONE: a gap */
	uint32_t index;
	uint32_t len_bytes;
	struct item *item; /* that brings its bytes; NULL: they are there */
	const struct source *source; /* where, if that was looked up before */
};

struct layout_slot {
	uint8_t slot;
	uint16_t member; /* number */
	uint32_t len_bytes;
	uint32_t num_pieces;
	struct layout_piece *pieces; /* talloc */
};

struct layout {
	uint32_t num_slots;
	struct layout_slot *slots; /* ascending; talloc */
};

int layout_of_stripe(void *mem_ctx, const struct mrmr_stripe *stripe,
		     struct layout *layout);
struct layout_slot *layout_slot(struct layout *layout, uint8_t slot);
/* The piece that begins at an offset, or NULL. */
struct layout_piece *layout_find(struct layout_slot *slot, uint32_t offset);
/* Make a gap of it. */
void layout_take_out(struct layout_piece *piece);
/*
 * Give the piece at an offset another length, at the same place: what is too
 * much becomes a gap, what is missing is taken from a gap behind it or from
 * beyond the end. 1, 0 if there is no room; -1 ENOMEM.
 */
int layout_resize(struct layout_slot *slot, uint32_t offset, uint32_t len_bytes,
		  uint32_t max_bytes);
/*
 * Put a piece into a gap, or behind the end. 1 with *offset, 0 if it does not
 * fit; -1 ENOMEM.
 */
int layout_add(struct layout_slot *slot, struct layout_piece piece,
	       uint32_t max_bytes, uint32_t *offset);
/* What could be added, in all. */
uint32_t layout_room(const struct layout_slot *slot, uint32_t max_bytes);
/* A new slot, with the lowest free number. NULL: ENOMEM, or there is none. */
struct layout_slot *layout_add_slot(void *mem_ctx, struct layout *layout,
				    uint16_t member);
/* One gap for several, none at the end, no slot of gaps only. */
void layout_tidy(struct layout *layout);
uint32_t layout_len(const struct layout *layout);
/* As a record. slots is a talloc child of mem_ctx. */
int layout_record(void *mem_ctx, const struct layout *layout,
		  struct mrmr_slot **slots);

/* --- members and units (stripes.c) ------------------------------------------ */

/* What may be tried of a unit set: at most MRMR_MEMBERS_MAX units. */
struct unit_set {
	uint64_t bits[4];
};

static inline void unit_add(struct unit_set *set, unsigned int unit)
{
	set->bits[unit / 64] |= (uint64_t)1 << (unit % 64);
}

static inline bool unit_has(const struct unit_set *set, unsigned int unit)
{
	return (set->bits[unit / 64] >> (unit % 64) & 1) != 0;
}

static inline unsigned int unit_count(const struct unit_set *set)
{
	return (unsigned int)(__builtin_popcountll(set->bits[0]) +
			      __builtin_popcountll(set->bits[1]) +
			      __builtin_popcountll(set->bits[2]) +
			      __builtin_popcountll(set->bits[3]));
}

struct stripes_member {
	uint8_t unit;
	bool is_online;
	bool may_have_parity; /* role; can be written to */
	bool prefers_parity;
	atomic_bool is_used;  /* read from or written to: wants a syncfs */
	uint64_t room_bytes;  /* left, as far as is known, and beside it, */
	uint64_t spare_bytes; /* for rows that take the place of old ones */
	uint64_t parity_room_bytes;    /* of it, by the plan of the pool */
	uint64_t planned_bytes;        /* that jobs to come will take */
	int private_fd;                /* own one, -1 if it is not online */
	struct mrmr_live_member *live; /* NULL until it is needed */

	/* Stripes in which it has a slot that more pieces fit in, those that
	   came last first. Kept in the catalogue, as a note. */
	uint64_t open_slots[OPEN_SLOTS_MAX];
	size_t num_open_slots;
	bool open_slots_known;
	bool open_slots_changed;
};

/* A parity block that was written, or is not named by its stripe any more. */
struct stripes_blob {
	uint16_t member;
	uint32_t len_bytes;
	uint8_t sha256[32];
};

struct stripes_blobs {
	struct stripes_blob *list; /* malloc */
	size_t num;
	size_t size;
};

struct mrmr_stripes {
	struct mrmr_engine *engine;
	struct mrmr_stripes_options options;
	uint32_t block_bytes;
	unsigned int rows;   /* that stripes are to have */
	bool is_complete;    /* all members are online */
	bool is_short_noted; /* see stripes_short.c */
	bool is_bare_noted;
	bool keeps_all;  /* see mrmr_stripes_keep_all() */
	bool has_kept;   /* by that, a stripe stays as it is */
	bool is_limited; /* see mrmr_stripes_limit() */
	uint64_t limit_bytes;
	struct stripes_member *members; /* of pool->members[] */
	size_t num_members;
	size_t num_units;

	/* For what threads change: rooms, who may have parity, written. */
	pthread_mutex_t lock;
	struct stripes_blobs written;
	struct stripes_blobs left;

	/* Of the call that is being made: changes by file and index. */
	struct mrmr_change **by_place;
	size_t num_changes;
};

/* Remember that a stripe has fewer rows than it should. */
int stripes_note_short(struct mrmr_stripes *work);
/* Remember that something is in no stripe any more that was. */
int stripes_note_bare(struct mrmr_stripes *work);

/* NULL if it has left the pool. */
struct stripes_member *stripes_member(struct mrmr_stripes *work,
				      uint16_t number);
/* Units of slots and rows; those that have left the pool have none. */
void stripes_add_unit(struct mrmr_stripes *work, uint16_t number,
		      struct unit_set *set);
/* Units outside of a set of which a member can take a parity block. */
unsigned int stripes_count_takers(struct mrmr_stripes *work,
				  const struct unit_set *except,
				  uint32_t len_bytes);
/* The best of them; SIZE_MAX if there is none. */
size_t stripes_best_taker(struct mrmr_stripes *work,
			  const struct unit_set *except, uint32_t len_bytes);
/* The rows that a stripe (NULL: a new one) is to have. */
unsigned int stripes_rows(const struct mrmr_stripes *work,
			  const struct mrmr_stripe *stripe);
int stripes_note(struct stripes_blobs *blobs, const struct mrmr_row *row);
/* So much more parity is on a member now, for all who plan. */
void stripes_note_parity(const struct mrmr_stripes *work,
			 const struct stripes_member *member,
			 int64_t more_bytes);
int stripes_no_memory(struct mrmr_error *err);
int stripes_fail_catalog(struct mrmr_error *err);

/* --- items and jobs ---------------------------------------------------------- */

enum item_kind {
	ITEM_COMES,
	ITEM_LEAVES,
	ITEM_SWAPS, /* in place: the old bytes and the new ones begin at the
		       same offset of the same slot */
};

enum item_outcome {
	OUTCOME_NONE,
	OUTCOME_CAME,
	OUTCOME_ZERO,       /* all zero: needs no place */
	OUTCOME_UNREADABLE, /* error says why */
	OUTCOME_GIVEN_UP,   /* the stripe cannot take it: another one may */
};

struct item {
	enum item_kind kind;
	struct mrmr_change *change;
	uint8_t old_slot;
	uint32_t old_offset;
	uint8_t slot; /* set when it has a place */
	uint32_t offset;
	enum item_outcome outcome;
	int error;
	uint8_t sha256[32]; /* of the new bytes */
	uint64_t checksum;
	uint8_t *bytes; /* the new ones, if they were read before; malloc */
};

struct job {
	uint64_t stripe;         /* 0: new */
	struct mrmr_stripe *old; /* as the catalogue has it; NULL: new */
	struct layout layout;    /* as it is to be */
	struct item **items;     /* talloc */
	size_t num_items;
	bool is_needed; /* something leaves, or is swapped: it cannot be left
			   undone */
	bool encodes;   /* anew from all slots, as that reads less */
	bool swaps_are_known;
	uint32_t planned_bytes;    /* counted for each of its rows, see
				   job_plan_rows() */
	unsigned int planned_rows; /* of a new one */
	struct unit_set slot_units;
	struct unit_set row_units; /* of the rows that there are */
};

int job_add_item(struct job *job, struct item *item);

/* --- bytes (stripes_read.c) -------------------------------------------------- */

struct buffer {
	uint8_t *data;
	size_t size;
};

/* At least len; what was in it is gone. -1 ENOMEM. */
int buffer_need(struct buffer *buffer, size_t len);
void buffer_free(struct buffer *buffer);

/* Read protected bytes and compare them with their hash: 0, or -1 with errno;
   EILSEQ if they are others. */
int read_right(struct mrmr_live *live, uint8_t *data, uint32_t len_bytes,
	       uint64_t offset, const uint8_t sha256[32]);
/* A piece that stays, found before its bytes are needed. */
struct source {
	struct mrmr_live *live;
	uint64_t offset;
	uint8_t sha256[32];
};

/* Look up all of a job. What is not to be had has no source. */
int find_sources(struct mrmr_stripes *work, struct job *job);

/* The same of a row. */
int read_row(struct mrmr_stripes *work, const struct mrmr_row *row,
	     uint8_t *data);
int decode_row(struct mrmr_stripes *work, const struct mrmr_stripe *stripe,
	       const struct mrmr_row *row, uint8_t *data);

enum found {
	FOUND_LIVE,     /* where it should be */
	FOUND_COMPUTED, /* from the rest of the stripe */
	FOUND_AWAY,     /* not; its member is not online */
	FOUND_NOWHERE,
};

/* Bytes of a piece that is in a stripe by the catalogue. */
enum found read_piece(struct mrmr_stripes *work,
		      const struct mrmr_stripe *stripe,
		      const struct layout_slot *slot,
		      const struct layout_piece *piece, uint32_t offset,
		      bool may_compute, uint8_t *data);
/* The same, of what is found already; for any thread. */
enum found read_source(struct mrmr_stripes *work,
		       const struct layout_slot *slot,
		       const struct layout_piece *piece, uint8_t *data);
/* The old bytes of a change. */
int read_old(struct mrmr_stripes *work, const struct mrmr_change *change,
	     bool may_compute, uint8_t *data);
/*
 * The new ones, with their hashes. fn is called for each part as it comes (in a
 * near cache); it may be NULL. If reading fails, *done bytes were given to it.
 */
struct new_bytes {
	struct mrmr_hashes *hashes;
	uint8_t *data; /* for all of them */
	void (*fn)(const struct item *item, const uint8_t *data,
		   uint32_t offset, uint32_t len_bytes, void *private_data);
	void *private_data;
	uint32_t done_bytes;
	bool is_zero;
};
int read_new(struct mrmr_stripes *work, struct item *item,
	     struct new_bytes *to);

/* The same by whoever wants to have the parts when he likes: from the first to
   the last, until one cannot be read. item may be NULL: then nothing is done. */
struct reading {
	struct mrmr_hashes *hashes; /* the caller's */
	struct item *item;
	int error; /* found at the beginning */
	uint32_t done_bytes;
	bool is_zero; /* all so far */
};
void reading_begin(struct mrmr_stripes *work, struct item *item,
		   struct reading *reading);
int reading_go_on(struct reading *reading, uint8_t *data, uint32_t len_bytes);
/* Fills in the item's hashes. -1 with EILSEQ: it only moves, and these are not the
   bytes that it had. */
int reading_end(struct reading *reading);

/* The change of an extent in this call, or NULL. */
struct mrmr_change *stripes_find_change(struct mrmr_stripes *work,
					uint64_t file, uint32_t index);

/* --- computing parity (stripes_run.c) ---------------------------------------- */

/* Parity of a stripe that is being computed. */
struct run {
	struct mrmr_stripes *work;
	struct job *job;
	struct mrmr_hashes **hashes; /* malloc */
	size_t num_hashes;
	struct buffer piece;
	struct buffer parity; /* rows[i] is at i * stride */
	size_t stride;
	uint32_t len_bytes;
	unsigned int num_wanted;
	uint32_t num_rows;
	uint8_t row[MRMR_PARITY_ROWS];
	/* Of rows[0..hashed_bytes), if that is not 0 */
	uint8_t row_sha256[MRMR_PARITY_ROWS][MRMR_SHA256_LEN];
	uint64_t row_checksum[MRMR_PARITY_ROWS];
	uint32_t hashed_bytes;
	/* Of mends: rows of the old record that are what they should be; and
	   those that stay in it though nobody can read them now. */
	bool is_mend;
	bool is_good[MRMR_PARITY_ROWS]; /* by row */
	bool is_kept[MRMR_PARITY_ROWS];
	bool has_written;
	bool is_in_thread; /* the catalogue cannot be asked */
	bool must_wait;    /* for a member that has some of what stays */

	/* What was written: the rows of the new record. */
	struct mrmr_row rows[MRMR_PARITY_ROWS];
	uint32_t num_written;
};

/* How far an attempt may go. */
enum effort {
	EFFORT_READ,    /* all that is needed can be read, and is right */
	EFFORT_COMPUTE, /* or be computed from the rest of the stripe */
	EFFORT_LOSE,    /* or is given up */
};

/*
 * Compute the new parity from the old one and what changes, or from all that is
 * in the stripe. 1; 0 if it can't be done with that effort; -1 with *err.
 */
int run_update(struct run *run, enum effort effort, struct mrmr_error *err);
int run_encode(struct run *run, enum effort effort, struct mrmr_error *err);
/* What encoding begins with: the rows are chosen, nothing is in them yet. */
int run_begin_anew(struct run *run, struct mrmr_error *err);
uint8_t *run_row_data(const struct run *run, uint32_t i);
/* At least num of run->hashes. -1 ENOMEM. */
int run_need_hashes(struct run *run, size_t num);
void run_free(struct run *run);
/* Take over the buffers of another one, which may have none. */
void run_lend(struct run *to, struct run *from);

/* run_encode() of a stripe that is new, with its rows hashed
   (stripes_across.c). 1, or -1 with *err. */
int run_across(struct run *run, struct mrmr_error *err);

/* What a piece was is no more protected: its extent is bare. */
int bare_piece(struct mrmr_stripes *work, const struct mrmr_stripe *stripe,
	       const struct layout_slot *slot, const struct layout_piece *piece,
	       uint32_t offset, struct mrmr_error *err);

/*
 * Write what was computed: run->rows. For any thread. -1: ENOMEM.
 */
int run_write(struct run *run);
/* Of the same bytes, wherever they are. */
bool row_is_same_block(const struct mrmr_row *a, const struct mrmr_row *b);

/*
 * Put the stripe into the catalogue, and fill in the extents of the items.
 * Without any place for parity the stripe is no more: all that was in it is bare.
 * A job that is not needed is given up instead, if it would leave the stripe
 * with fewer rows. *changed (may be NULL) tells whether the stripe is another
 * one now.
 */
int run_record(struct run *run, bool *changed, struct mrmr_error *err);
/* The stripe stays as it is. */
void run_leave_undone(struct run *run);

/* --- carrying out (stripes_job.c) ---------------------------------------------- */

enum job_state {
	JOB_WRITTEN,   /* is to be recorded */
	JOB_UNCHANGED, /* nothing is left of it */
	JOB_SLOW,      /* takes more than reading: for the caller's thread */
	JOB_FAILED,
};

/* Before a thread has it. */
int job_prepare(struct mrmr_stripes *work, struct job *job);
/* In any thread, if all that is needed can be read. */
enum job_state job_work(struct run *run, struct mrmr_error *err);
/* After that. */
int job_finish(struct run *run, enum job_state state, struct mrmr_error *err);
/* Free all but what is needed to find it. */
void job_end(struct job *job);

/* --- by threads (stripes_pipeline.c) -------------------------------------------- */

struct jobs;

/* Carry out the jobs from *done on, which counts up. */
int run_jobs(struct mrmr_stripes *work, struct jobs *jobs, size_t *done,
	     struct mrmr_error *err);

/* --- planning (stripes_plan.c) ------------------------------------------------ */

/* A slot that looks for a stripe. */
struct block {
	struct layout_slot slot;
	uint8_t unit;
	bool is_placed;
	bool is_postponed; /* the next transaction may have room */
};

/* Zero with a mem_ctx. */
struct jobs {
	void *mem_ctx;
	struct job **list; /* talloc, in the order in which they are done */
	size_t num;
	struct job **by_stripe; /* open hashing; talloc */
	size_t size;
	struct item **given_up; /* talloc: by their stripes */
	size_t num_given_up;
};

struct job *jobs_find(const struct jobs *jobs, uint64_t stripe);
int jobs_add(struct jobs *jobs, struct job *job);
/* Take note of items that the stripe of a job could not take. */
int jobs_give_up(struct jobs *jobs, const struct job *job);
/* Fill in its units. */
void job_find_units(struct mrmr_stripes *work, struct job *job);
/* Can its parity be changed: are its rows on members that are there? */
bool job_can_take(struct mrmr_stripes *work, const struct job *job);
/*
 * Of a stripe that exists: its new rows are written beside the old ones, which
 * go after the commit. Is there room for rows of so many bytes?
 */
bool job_has_room(struct mrmr_stripes *work, const struct job *job,
		  uint32_t len_bytes);
/* Count them with what is planned, as long as the job's layout is now. */
void job_plan_rows(struct mrmr_stripes *work, struct job *job);
/* Give a block a slot of it. */
int job_add_block(struct job *job, struct block *block);
/* The job of a stripe; makes it. NULL with errno (ENOENT: no such stripe). */
struct job *jobs_get(struct mrmr_stripes *work, struct jobs *jobs,
		     uint64_t stripe);

/*
 * Find a stripe for each block: full stripes first, joins, narrow ones. jobs is
 * what is planned already; new jobs are added. Blocks for which there is no
 * parity stay unplaced.
 */
int plan_blocks(struct mrmr_stripes *work, struct jobs *jobs,
		struct block *blocks, size_t num, bool may_join);

/* --- small pieces (stripes_pack.c) --------------------------------------------- */

/*
 * Make blocks of what is to come: pieces smaller than a block share one with
 * others of their member; with may_join, first in slots that have room.
 */
int pack_items(struct mrmr_stripes *work, struct jobs *jobs,
	       struct item **items, size_t num, bool may_join, void *mem_ctx,
	       struct block **blocks, size_t *num_blocks);

/* A stripe was written: remember which of its slots have room. */
int open_slots_note(struct mrmr_stripes *work, const struct layout *layout,
		    uint64_t stripe);
/* Within the transaction. */
int open_slots_save(struct mrmr_stripes *work);

#endif
