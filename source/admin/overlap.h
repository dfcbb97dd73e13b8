/*
 * mrmr-admin: names that are on more than one member.
 *
 * Only a directory that is on several members can hold such names, so only
 * those are read: where files of a directory are kept together, next to
 * nothing; where they are spread, every name of the pool.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ADMIN_OVERLAP_H
#define MRMR_ADMIN_OVERLAP_H

#include <stdbool.h>
#include <stddef.h>

#include <mrmr/pool.h>

enum overlap_kind {
	OVERLAP_DUPLICATE, /* files: the first member's is in the share */
	OVERLAP_TYPE,      /* a directory here, a file there */
	OVERLAP_CASE,      /* names that differ in nothing but case */
	OVERLAP_RIGHTS,    /* directories with different modes or owners */
};

struct overlap {
	enum overlap_kind kind;
	const char *path;      /* pool path; "" is the root */
	const size_t *members; /* in the order of the config, */
	size_t num_members;    /* the first is the one that wins */
};

typedef void overlap_fn(const struct overlap *overlap, void *private_data);

/*
 * Call fn for each overlap over the members that are online. Stops after so
 * many seconds (0: never): false if it did, or if a directory could not be
 * read.
 */
bool admin_overlaps_find(const struct mrmr_pool *pool, unsigned int seconds,
			 overlap_fn *fn, void *private_data);

#endif
