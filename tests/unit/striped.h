/*
 * Unit tests: files that get into stripes as the protector brings them there,
 * and what must be true of all stripes afterwards.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef STRIPED_H
#define STRIPED_H

#include <mrmr/stripes.h>

#include "protected.h"

#define STRIPED_MAX 4096

/* A file, and what of it is protected. */
struct sfile {
	uint64_t id; /* 0: not in the catalogue yet */
	size_t member;
	char path[64];
	uint8_t *bytes; /* as they lie on the member */
	size_t len;
	uint8_t *was; /* as they were protected last */
	size_t was_len;
	size_t was_member;
	bool is_gone;  /* to be taken out by the next striped_protect() */
	bool is_wrong; /* its protected bytes are lost: nothing is checked */
};

struct striped {
	struct protected *p;
	struct sfile *files[STRIPED_MAX];
	size_t num;
	uint32_t grid;
	struct mrmr_stripes_options options;
	void (*meanwhile)(struct striped *s); /* called after the files were
						 looked at, before they are
						 read; may be NULL */
	int error; /* of the last change that had one */
	size_t num_errors;
};

struct striped *striped_new(const struct world_shape *shape); /* 1 MiB */
struct striped *striped_new_with(const struct world_shape *shape,
				 uint32_t grid);
void striped_free(struct striped *s);

/* A file on a member, not protected yet. seed 0: zeros. */
struct sfile *striped_file(struct striped *s, size_t member, unsigned int seed,
			   size_t len);
/* As clients do: pre-images are kept. */
void striped_overwrite(struct striped *s, struct sfile *file, size_t offset,
		       size_t len, unsigned int seed);
void striped_truncate(struct striped *s, struct sfile *file, size_t len);
void striped_append(struct striped *s, struct sfile *file, size_t len,
		    unsigned int seed);

/* To another member; the old copy stays until it is not needed any more. */
void striped_move(struct striped *s, struct sfile *file, size_t member);

/* One transaction: the changes of these files (of all, with num 0). -1 if apply
   failed; then everything was taken back. */
int striped_protect(struct striped *s, struct sfile **files, size_t num);
/* The same, stopping after a step: 0 apply, 1 sync, 2 commit; the process is
   meant to end then. */
void striped_protect_upto(struct striped *s, struct sfile **files, size_t num,
			  int step);
/*
 * For a process that is to end in the middle: in the parent before fork(), in
 * the child after it, and in the parent after the child's end. Returns whether
 * the child has committed (it shows in that a new file is known, so there must
 * be one); then what it has protected is known here too.
 */
void striped_before_fork(struct striped *s);
void striped_in_child(struct striped *s);
bool striped_after_child(struct striped *s);

/* mend() in a transaction of its own. */
bool striped_mend(struct striped *s, uint64_t stripe);
size_t striped_mend_all(struct striped *s);

/*
 * Every record agrees with every other, each stripe has at most one block on a
 * unit, and its parity blocks are what the protected bytes make. With no_garbage,
 * members have no blob that no stripe names.
 */
void striped_check(struct striped *s, bool no_garbage);
/* Whatever `num` units are lost, all that is in stripes can be computed. */
void striped_check_losses(struct striped *s, unsigned int num);

/* The number of extents of a file that are in stripes, or zero. */
size_t striped_count(struct striped *s, struct sfile *file);
struct mrmr_extent striped_extent(struct striped *s, struct sfile *file,
				  uint32_t index);

struct striped_sums {
	uint64_t num_stripes;
	uint64_t parity_bytes;
	uint64_t data_bytes; /* of pieces */
	uint64_t num_rows;
	uint32_t widest;
};
struct striped_sums striped_sums(struct striped *s);

#endif
