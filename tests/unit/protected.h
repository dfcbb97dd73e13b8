/*
 * Unit tests: a pool with files that are protected, made by hand.
 *
 * Files are written to members directly, and their stripes are encoded here
 * with the parity code alone: what reads them is tested against nothing that it
 * shares with what writes them in real life.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef PROTECTED_H
#define PROTECTED_H

#include <mrmr/engine.h>

#include "world.h"

/* A file as it was when it was protected. */
struct pfile {
	uint64_t id;
	size_t member; /* index */
	char path[256];
	uint8_t *bytes;
	size_t len;
	uint32_t grid;
};

struct protected
{
	struct world *w;
	struct mrmr_engine *engine; /* for writing */
};

/* A piece: an extent of a file, or a gap of gap_bytes if file is NULL. */
struct pslot {
	unsigned int slot;
	struct {
		const struct pfile *file;
		uint32_t index;
		uint32_t gap_bytes;
	} pieces[16]; /* up to the first with neither */
};

struct prow {
	unsigned int row;
	size_t member;
};

struct protected *protected_new(const struct world_shape *shape);
void protected_free(struct protected *p);

/* Close and open the engine, after the pool has looked at its members. */
void protected_reopen(struct protected *p);

/* Unplug those members of which there is a bit, and plug in the others. */
void protected_unplug(struct protected *p, unsigned int members);

/* The same, but it is only the pool that takes them for away: quicker. */
void protected_hide(struct protected *p, unsigned int members);

/* Bytes that depend on seed alone; seed 0: zeros. To be freed. */
uint8_t *protected_bytes(unsigned int seed, size_t len);

/* Write a file and enter it, with extents in no stripe (or zero). It is guarded
   from then on. */
struct pfile *protected_file(struct protected *p, size_t member,
			     const char *path, unsigned int seed, size_t len,
			     uint32_t grid);

/* Put extents that are in none into a new stripe, with the parity blocks on
   those members. Returns its id. Slots end with one that has no pieces. */
uint64_t protected_stripe(struct protected *p, const struct pslot *slots,
			  const struct prow *rows, size_t num_rows);

/* The node of a file as the catalogue has it; a talloc child of the engine. */
struct mrmr_node *protected_node(struct protected *p, const struct pfile *file);
struct mrmr_stripe *protected_get_stripe(struct protected *p, uint64_t id);

/* The full path of a row's blob on its drive. Overwritten by the next call. */
const char *protected_blob(struct protected *p,
			   const struct mrmr_stripe *stripe, size_t row);
/* The full path of a file on its drive. */
const char *protected_where(struct protected *p, const struct pfile *file);

/* Turn one bit of a file, by its full path; its mtime stays. */
void protected_flip(const char *path, uint64_t offset, unsigned int bit);

/* Write as a client does: the pre-image is kept first. */
void protected_overwrite(struct protected *p, const struct pfile *file,
			 uint64_t offset, size_t len, unsigned int seed);

#endif
