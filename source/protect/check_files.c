/*
 * MRMR: can every protected file be had: the files (see check_private.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "check_private.h"

#define EXTENTS_AT_ONCE 256
#define TABLE_MIN 1024

/* --- the table --------------------------------------------------------------- */

static struct mrmr_check_file *find_place(struct mrmr_check_file *table,
					  size_t size, uint64_t id)
{
	size_t i = (size_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 20);

	while (table[i & (size - 1)].id != 0 &&
	       table[i & (size - 1)].id != id) {
		i++;
	}
	return &table[i & (size - 1)];
}

static int grow_table(struct check *c)
{
	size_t size = c->table_size != 0 ? 2 * c->table_size : TABLE_MIN;
	struct mrmr_check_file *table =
		talloc_zero_array(c, struct mrmr_check_file, size);
	size_t i;

	if (table == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < c->table_size; i++) {
		if (c->table[i].id != 0) {
			*find_place(table, size, c->table[i].id) = c->table[i];
		}
	}
	talloc_free(c->table);
	c->table = table;
	c->table_size = size;
	return 0;
}

struct mrmr_check_file *check_find_file(struct check *c, uint64_t id,
					uint16_t member)
{
	struct mrmr_check_file *file = NULL;

	if (2 * (c->num_in_table + 1) > c->table_size && grow_table(c) == -1) {
		return NULL;
	}
	file = find_place(c->table, c->table_size, id);
	if (file->id == 0) {
		file->id = id;
		file->member = member;
		c->num_in_table++;
	}
	return file;
}

/* --- what is in no stripe ------------------------------------------------------- */

/* Does the stripe that an extent names know it? */
static bool stripe_knows(struct check *c, uint64_t file, uint32_t index,
			 const struct mrmr_extent *extent)
{
	struct mrmr_stripe *stripe = NULL;
	bool found = false;
	uint32_t i;
	uint32_t j;

	if (mrmr_catalog_get_stripe(c->engine->catalog, c, extent->stripe,
				    &stripe) == -1) {
		return false;
	}
	for (i = 0; i < stripe->num_slots && !found; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];

		for (j = 0; j < slot->num_pieces && !found; j++) {
			found = slot->slot == extent->slot &&
				slot->pieces[j].file == file &&
				slot->pieces[j].index == index;
		}
	}
	talloc_free(stripe);
	return found;
}

struct extents {
	uint64_t covered_bytes; /* zero, or in stripes */
	uint64_t num_in_stripes;
	uint64_t forgotten_bytes; /* in stripes that do not know them */
	uint64_t num_forgotten;
};

static int look_at_extents(struct check *c, const struct mrmr_node *node,
			   bool ask_stripes, struct extents *found)
{
	struct mrmr_extent extents[EXTENTS_AT_ONCE];
	uint32_t first = 0;
	uint32_t got = 0;
	uint32_t i;

	for (; first < node->num_extents; first += got) {
		if (mrmr_catalog_get_extents(c->engine->catalog, node->id,
					     first, extents, EXTENTS_AT_ONCE,
					     &got) == -1) {
			return errno == ENOENT ? 0 : -1;
		}
		if (got == 0) {
			return 0; /* it was cut meanwhile */
		}
		for (i = 0; i < got; i++) {
			const struct mrmr_extent *extent = &extents[i];

			if (extent->state == MRMR_EXTENT_ZERO) {
				found->covered_bytes += extent->len_bytes;
			}
			if (extent->state != MRMR_EXTENT_IN_STRIPE) {
				continue;
			}
			found->covered_bytes += extent->len_bytes;
			found->num_in_stripes++;
			if (ask_stripes &&
			    !stripe_knows(c, node->id, first + i, extent)) {
				found->num_forgotten++;
				found->forgotten_bytes += extent->len_bytes;
			}
		}
	}
	return 0;
}

/* Bytes in no stripe are lost with their member. */
static int take_bare(struct check *c, const struct mrmr_node *node,
		     uint64_t bytes)
{
	size_t index = mrmr_engine_member(c->engine, node->member);
	bool is_away = mrmr_engine_online(c->engine, node->member) == NULL;
	bool is_to_go = c->options->lose != NULL && index != SIZE_MAX &&
			c->options->lose[index];
	struct mrmr_check_file *file = NULL;

	c->result->unprotected_bytes += bytes;
	if (!is_away && !is_to_go) {
		return 0;
	}
	file = check_find_file(c, node->id, node->member);
	if (file == NULL) {
		return -1;
	}
	file->then_lost_bytes += bytes;
	c->result->then.lost_bytes += bytes;
	if (is_away) {
		file->lost_bytes += bytes;
		c->result->now.lost_bytes += bytes;
	}
	return 0;
}

static int take_forgotten(struct check *c, const struct mrmr_node *node,
			  const struct extents *found)
{
	struct mrmr_check_file *file =
		check_find_file(c, node->id, node->member);

	if (file == NULL) {
		return -1;
	}
	file->lost_bytes += found->forgotten_bytes;
	file->then_lost_bytes += found->forgotten_bytes;
	c->result->wrong_records += found->num_forgotten;
	c->result->now.lost_bytes += found->forgotten_bytes;
	c->result->then.lost_bytes += found->forgotten_bytes;
	return 0;
}

static int walk_nodes(struct check *c, bool ask_stripes,
		      uint64_t *num_in_stripes)
{
	struct mrmr_node *node = NULL;
	uint64_t id = 0;

	while (mrmr_catalog_next(c->engine->catalog, c, id, &node) == 0) {
		struct extents found = {0};
		int ret = 0;

		id = node->id;
		if (check_should_stop(c)) {
			talloc_free(node);
			return 0;
		}
		if (node->kind == MRMR_NODE_FILE) {
			ret = look_at_extents(c, node, ask_stripes, &found);
		}
		*num_in_stripes += found.num_in_stripes;
		if (ret == 0 && found.num_forgotten > 0) {
			ret = take_forgotten(c, node, &found);
		}
		if (!ask_stripes && node->kind == MRMR_NODE_FILE) {
			c->result->num_files +=
				node->num_extents > 0 || node->size_bytes == 0;
			/* what is in the trash nobody has to protect */
			if (ret == 0 && node->dir_id != MRMR_ID_TRASH &&
			    found.covered_bytes < node->size_bytes) {
				ret = take_bare(c, node,
						node->size_bytes -
							found.covered_bytes);
			}
		}
		TALLOC_FREE(node);
		if (ret == -1) {
			return -1;
		}
	}
	return errno == ENOENT ? 0 : -1;
}

int check_nodes(struct check *c, uint64_t sequence)
{
	uint64_t num_in_stripes = 0;

	if (walk_nodes(c, false, &num_in_stripes) == -1) {
		return -1;
	}
	/* The stripes told of all their pieces. Only if files know of more is it
	   worth asking for each. */
	if (num_in_stripes == c->num_pieces || check_should_stop(c) ||
	    mrmr_catalog_sequence(c->engine->catalog) != sequence) {
		return 0;
	}
	return walk_nodes(c, true, &num_in_stripes);
}

/* --- the list --------------------------------------------------------------------- */

static int compare_files(const void *a, const void *b)
{
	const struct mrmr_check_file *x = a;
	const struct mrmr_check_file *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

int check_count_files(struct check *c)
{
	struct mrmr_check_result *result = c->result;
	size_t i;

	result->files =
		talloc_array(result, struct mrmr_check_file, c->num_in_table);
	if (result->files == NULL && c->num_in_table > 0) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < c->table_size; i++) {
		const struct mrmr_check_file *file = &c->table[i];

		if (file->id == 0) {
			continue;
		}
		result->files[result->num_listed++] = *file;
		result->changed_files += file->has_changed;
		result->now.lost_files += file->lost_bytes > 0;
		result->now.risk_files += file->risk_bytes > 0;
		result->then.lost_files += file->then_lost_bytes > 0;
		result->then.risk_files += file->then_risk_bytes > 0;
	}
	if (result->num_listed > 0) {
		qsort(result->files, result->num_listed, sizeof(*result->files),
		      compare_files);
	}
	return 0;
}
