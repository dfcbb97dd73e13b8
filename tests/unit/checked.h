/*
 * Unit tests: a pool with two stripes, to be checked with members away.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef CHECKED_H
#define CHECKED_H

#include <mrmr/check.h>

#include "protected.h"

#define GRID 65536
#define NUM_FILES 8

/* Five members. Stripe 0: one large extent each of 0, 1, 2; rows on 3 and 4.
   Stripe 1: packed files on 0 and 1 with a gap, large on 3; row on 2. */
struct checked {
	struct protected *p;
	struct pfile *files[NUM_FILES];
	uint64_t stripes[2];
};

void checked_make(struct checked *k);
void checked_free(struct checked *k);

/* As mrmr_check(), of all; a child of the engine. lose may be NULL. */
struct mrmr_check_result *checked_check(struct checked *k, const bool *lose);

/* What it has to say of a file; NULL: nothing. */
const struct mrmr_check_file *checked_find(const struct mrmr_check_result *r,
					   const struct pfile *file);

#endif
