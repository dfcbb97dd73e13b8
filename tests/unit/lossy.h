/*
 * Unit tests: a pool with one of everything on a member that will be lost.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef LOSSY_H
#define LOSSY_H

#include "protected.h"

#define LOSSY_LOST 0u
#define LOSSY_THINGS_MAX 32

/* What must be there again, as it was. */
struct thing {
	char path[600]; /* in the pool */
	char link[600]; /* a further name, or "" */
	uint64_t id;
	bool in_trash;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	dev_t device;
	struct timespec mtime;
	uint8_t *bytes; /* of files */
	size_t len;
	char target[64]; /* of symlinks */
	uint8_t *xattrs;
	size_t xattrs_len;
};

struct lossy {
	struct protected *p;
	struct thing things[LOSSY_THINGS_MAX];
	size_t num_things;
	uint64_t row_stripe; /* has its row 0 on the lost member */
};

/*
 * Six members; the first one has large and small files, alone and packed, holes,
 * odd names, attributes, hard links, a symlink, a FIFO, an empty file, a file in
 * the trash, a directory of its own. Its stripes have data on 1, parity on 3 (and
 * 5, with two rows). It is plugged in.
 */
struct lossy *lossy_new(size_t num_rows, const struct world_shape *shape);
void lossy_free(struct lossy *l);

/* Close all, unplug the lost member, and open all again. */
void lossy_lose(struct lossy *l);
void lossy_close(struct lossy *l);
void lossy_open(struct lossy *l);
/* In a process made by fork(), after lossy_close(). */
void lossy_open_in_child(struct lossy *l);

/* The protector has heard of these files, by ids, ascending, and was not there yet.
   Within a transaction. */
void lossy_set_pending(struct mrmr_catalog *catalog, const uint64_t *ids,
		       size_t num);

/* As a client deletes a file of the lost member: it is in that folder of the trash,
   as "deleted". */
void lossy_delete(struct lossy *l, uint64_t id, const char *path,
		  const char *folder);

/* A stripe with an extent of a file of the lost member, one of a new file of member 1,
   which depends on seed, and parity on 3 (and 5). */
void lossy_add_stripe(struct lossy *l, size_t num_rows,
		      const struct pfile *file, uint32_t index,
		      unsigned int seed);

/* A thing by its path. */
struct thing *lossy_thing(struct lossy *l, const char *path);

/* Is the thing in the share as it was? "" or what is different. */
const char *lossy_compare(struct lossy *l, const struct thing *thing);

/* All things are there, on one member each. */
void lossy_check_things(struct lossy *l);

/*
 * The catalogue and what it speaks of fit together: pieces point back, slots
 * are on the member of their files, no unit is twice in a stripe, parity is
 * what the bytes make, blobs have the right content.
 */
void lossy_check_stripes(struct lossy *l);

/* Nothing is left in any .mrmr/rebuild. */
void lossy_check_clean(struct lossy *l);

#endif
