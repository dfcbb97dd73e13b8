/*
 * MRMR: can every protected file be had, and what would be lost with a member?
 *
 * Goes through the stripes, and asks of each block only whether it is there:
 * parity blocks by name and length, protected bytes by the file's size and time
 * and by its pre-images. No content is read, so bytes that have gone bad are not
 * found (that is scrub's), and nothing is changed: it may run beside anything.
 *
 * Where fewer blocks are missing than there are parity blocks, bytes are
 * computable; that is asked for each stretch of a stripe, as packed slots may
 * lack single pieces only (source/protect/decode.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_CHECK_H
#define MRMR_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/engine.h>

/* A look at the pool as it is, or as it would be. */
struct mrmr_check_sums {
	uint64_t there_bytes;    /* of files in stripes */
	uint64_t computed_bytes; /* not there, but computable from the rest */
	uint64_t lost_bytes;     /* not computable, or in no stripe and away */
	uint64_t reduced_bytes;  /* there, but so many losses as there are rows
				    would be too many; of those: */
	uint64_t risk_bytes;     /* one more loss would be too many */
	uint64_t lost_files;
	uint64_t risk_files;
};

struct mrmr_check_file {
	uint64_t id;
	uint16_t member;
	uint64_t lost_bytes; /* as it is now, */
	uint64_t risk_bytes;
	uint64_t then_lost_bytes; /* and as it would be */
	uint64_t then_risk_bytes;
	bool has_changed; /* since it was protected: whether the bytes of then
			     are there is not to be told from outside */
};

struct mrmr_check_result {
	struct mrmr_check_sums now;
	struct mrmr_check_sums then; /* without the members in `lose` */
	uint64_t num_stripes;
	uint64_t num_files;         /* that were ever protected */
	uint64_t unprotected_bytes; /* of files that are known, in no stripe */
	uint64_t missing_rows;  /* parity blocks, on members that are online */
	uint64_t away_rows;     /* on others */
	uint64_t short_stripes; /* have fewer rows than the pool wants */
	uint64_t crowded_stripes; /* two blocks on one failure unit */
	uint64_t changed_files;
	uint64_t wrong_records; /* pieces that file and stripe tell
				     differently; they count as lost */
	bool is_complete;       /* false: it was stopped */

	/* Those of which there is something to say, by id. */
	struct mrmr_check_file *files;
	size_t num_listed;
};

struct mrmr_check_options {
	const bool *lose; /* of pool->members[i]; NULL: none */
	void (*progress)(uint64_t done_stripes, uint64_t num_stripes,
			 void *private_data);    /* may be NULL */
	bool (*should_stop)(void *private_data); /* may be NULL */
	void *private_data;
};

/*
 * A talloc child of mem_ctx. NULL with *err filled: EILSEQ if the catalogue is
 * damaged. An engine for reading will do. Needs root. What is committed meanwhile
 * does not disturb: a stripe that looks bad is looked at again if there was a
 * commit.
 */
struct mrmr_check_result *mrmr_check(void *mem_ctx, struct mrmr_engine *engine,
				     const struct mrmr_check_options *options,
				     struct mrmr_error *err);

/* A file on a member that is not protected as it is now. */
struct mrmr_check_stray {
	const char *path; /* pool path */
	uint64_t size_bytes;
	uint64_t id; /* it was protected, but has changed since; 0: never */
};

/*
 * Go through the files on a member that is online, and call fn for each that is
 * not in the catalogue, or has another size or time there, until it returns
 * non-zero. A file with several names is told once. -1 with *err filled if not
 * all could be seen.
 */
int mrmr_check_strays(struct mrmr_engine *engine, size_t member,
		      int (*fn)(const struct mrmr_check_stray *stray,
				void *private_data),
		      void *private_data, struct mrmr_error *err);

/* --- one file ---------------------------------------------------------------- */

/* What could be lost of a block, as it was when it was protected. */
enum mrmr_check_state {
	MRMR_CHECK_BARE,    /* in no stripe: it is lost with its member */
	MRMR_CHECK_WHOLE,   /* zero, or all that is wanted for it is there */
	MRMR_CHECK_REDUCED, /* something of its stripe is missing, but not so
			       much that one more loss would be too many */
	MRMR_CHECK_AT_RISK, /* so much */
	MRMR_CHECK_LOST,    /* it cannot be had now */
};

struct mrmr_check_block {
	uint32_t index;
	uint64_t offset; /* in the file */
	uint32_t len_bytes;
	enum mrmr_check_state state;
	bool is_zero;
	bool is_there; /* in the file, or in what was kept of it; false also
			  where that is not known: of what is in no stripe */

	/* Where it is; NULL: in no stripe. slot_is_gone and row_is_there are of
	   the stripe's slots[i] and rows[i]: is anything of the other slots not
	   there that it takes to compute this block? */
	const struct mrmr_stripe *stripe;
	uint32_t slot_index; /* its own slot */
	uint32_t slot_offset;
	uint32_t num_others; /* pieces that are packed with it in its slot */
	const bool *slot_is_gone;
	const bool *row_is_there;
};

/*
 * Look at what stands behind each block of a file, in order, as mrmr_check()
 * does: calls fn, until it returns non-zero, which is then returned. What is at
 * the end of a file that the protector has not come to is left out. A block is
 * good during the call. -1 with errno: the catalogue cannot be read.
 */
typedef int mrmr_check_block_fn(const struct mrmr_check_block *block,
				void *private_data);
int mrmr_check_blocks(struct mrmr_engine *engine, const struct mrmr_node *node,
		      mrmr_check_block_fn *fn, void *private_data);

#endif
