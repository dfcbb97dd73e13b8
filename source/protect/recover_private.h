/*
 * MRMR: recovering the catalogue: what its files share (see recover.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_RECOVER_PRIVATE_H
#define MRMR_RECOVER_PRIVATE_H

#include <mrmr/recover.h>

struct recover_part {
	struct mrmr_catalog *part;
	uint64_t sequence; /* of the last commit that reached it */
	uint16_t number;   /* of its member */
};

struct recover {
	struct mrmr_pool *pool;
	const struct mrmr_recover_options *options;
	struct mrmr_recover_result *result;
	struct mrmr_error *err;
	struct mrmr_catalog *catalog;                /* the new one */
	struct recover_part parts[MRMR_MEMBERS_MAX]; /* newest first */
	size_t num_parts;
	uint64_t done;
};

/* -1 with *err by errno. */
int recover_fail(struct recover *rc);
/* After each record: commits now and then. -1 with *err. */
int recover_step(struct recover *rc);
const struct recover_part *recover_part_of(const struct recover *rc,
					   uint16_t number);

/* --- recover_import.c ------------------------------------------------------ */

int recover_import(struct recover *rc, const struct recover_part *from);
/* Further names, when all nodes are there. */
int recover_links(struct recover *rc);

/* --- recover_verify.c ------------------------------------------------------- */

/* What does not fit together is claimed no more. */
int recover_verify(struct recover *rc);
/* The table of protected files, if it was lost with the state directory. */
int recover_guard(struct recover *rc);

#endif
