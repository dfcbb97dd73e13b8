/*
 * mrmr-admin where: the blocks of a file, and which members stand behind them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef ADMIN_WHERE_BLOCKS_H
#define ADMIN_WHERE_BLOCKS_H

#include <mrmr/check.h>
#include <mrmr/engine.h>

#include "admin.h"

struct where_blocks_member {
	uint16_t number;
	uint64_t parity_blocks;
	uint64_t data_blocks; /* of other files, that are in its stripes */
};

struct where_blocks {
	uint64_t num;
	uint64_t num_bytes;
	uint64_t num_stripes;
	uint64_t num_packed; /* with others, in one slot */
	uint32_t min_rows;
	uint32_t max_rows;
	uint64_t bytes[MRMR_CHECK_LOST + 1]; /* by state */
	struct where_blocks_member *members; /* a talloc array */
	size_t num_members;

	json_t *blocks; /* each; of very many the first ones, unless all are
			   wanted. With --json only */

	struct admin *admin;
	struct mrmr_engine *engine;
	uint64_t *stripes; /* ids, one for each block */
	bool wants_all;
};

/* Look at all of them. A talloc child of admin. NULL with errno: the catalogue
   cannot be read. */
struct where_blocks *where_blocks_look(struct admin *admin,
				       struct mrmr_engine *engine,
				       const struct mrmr_node *node,
				       bool wants_all);

/* Look again, and say each. -1 with errno. */
int where_blocks_say_each(const struct where_blocks *blocks,
			  const struct mrmr_node *node);

/* Lines for people, and keys of the object "protection". */
void where_blocks_report(const struct where_blocks *blocks, json_t *object);

#endif
