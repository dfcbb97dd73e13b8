/*
 * Unit tests: a pool from which files are deleted.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef DELETED_H
#define DELETED_H

#include <mrmr/undelete.h>

#include "protected.h"

#define GRID 65536
#define NUM_FILES 5
#define LEN ((size_t)GRID + 777)

/* Five members, two rows on 3 and 4. Large files on 0, 1, 2 in two stripes; two
   small ones of 0 in one slot, beside one of 1. */
struct deleted {
	struct protected *p;
	struct pfile *files[NUM_FILES];
	uint64_t stripes[3];
};

void deleted_make(struct deleted *k);
void deleted_free(struct deleted *k);

/* What is in the trash, a child of the engine. */
struct mrmr_trashed *deleted_list(struct deleted *k, size_t *num);
size_t deleted_num(struct deleted *k);

/* A client deletes it, and, if told is true, the protector hears of it. Its place
   in the trash. */
struct mrmr_trashed *deleted_file(struct deleted *k, const struct pfile *file,
				  bool told);

/* Does the catalogue know it? */
bool deleted_is_known(struct deleted *k, const struct pfile *file);

/* Are its protected bytes where they should be? Can they be computed without its
   member, and another one? */
bool deleted_is_live(struct deleted *k, const struct pfile *file);
bool deleted_is_computable(struct deleted *k, const struct pfile *file);

/* All that the catalogue knows is there, and right, and can be computed without
   its member and another one. */
void deleted_check_all(struct deleted *k);

/* Do something with what is in the trash, in a process of its own, with a fault;
   true if it died. */
typedef void deleted_fn(struct mrmr_pool *pool, struct mrmr_engine *engine,
			struct mrmr_trashed *items, size_t num);
bool deleted_die_in(struct deleted *k, deleted_fn *fn, const char *fault);

#endif
