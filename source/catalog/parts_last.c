/*
 * MRMR: the catalogue: what the last commit to a part touched.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>

#include <talloc.h>

#include "parts_private.h"

struct mrmr_catalog_last {
	struct touched *list; /* sorted, each once */
	size_t num;
};

int part_last_load(struct mrmr_catalog *part, void *mem_ctx,
		   struct touched **list, size_t *num)
{
	struct key key = key_of(RECORD_LAST);
	const uint8_t *value = NULL;
	struct unpack u;
	size_t len = 0;

	if (record_get(part, &key, &value, &len) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	u = unpack_of(value, len);
	return touched_unpack(&u, mem_ctx, list, num);
}

struct mrmr_catalog_last *mrmr_catalog_last(void *mem_ctx,
					    struct mrmr_catalog *part)
{
	struct mrmr_catalog_last *last =
		talloc_zero(mem_ctx, struct mrmr_catalog_last);
	int saved_errno;
	int ret;

	if (last == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	ret = read_begin(part);
	if (ret == 0) {
		ret = read_end(part, part_last_load(part, last, &last->list,
						    &last->num));
	}
	if (ret == -1) {
		saved_errno = errno;
		talloc_free(last);
		errno = saved_errno;
		return NULL;
	}
	last->num = touched_unique(last->list, last->num);
	return last;
}

bool mrmr_catalog_last_has_node(const struct mrmr_catalog_last *last,
				uint64_t id)
{
	const struct touched one = {.kind = TOUCHED_NODE, .id = id};

	return touched_has(last->list, last->num, &one);
}

bool mrmr_catalog_last_has_extent(const struct mrmr_catalog_last *last,
				  uint64_t id, uint32_t index)
{
	const struct touched one = {.kind = TOUCHED_EXTENT,
				    .id = id,
				    .index = index};

	return touched_has(last->list, last->num, &one);
}

bool mrmr_catalog_last_has_stripe(const struct mrmr_catalog_last *last,
				  uint64_t id)
{
	const struct touched one = {.kind = TOUCHED_STRIPE, .id = id};

	return touched_has(last->list, last->num, &one);
}

uint64_t *mrmr_catalog_last_stripes(const struct mrmr_catalog_last *last,
				    void *mem_ctx, size_t *num)
{
	uint64_t *ids = talloc_array(mem_ctx, uint64_t, last->num + 1);
	size_t i;

	*num = 0;
	if (ids == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	for (i = 0; i < last->num; i++) {
		if (last->list[i].kind == TOUCHED_STRIPE) {
			ids[(*num)++] = last->list[i].id;
		}
	}
	return ids;
}

static int compare_ids(const void *a_void, const void *b_void)
{
	uint64_t a = *(const uint64_t *)a_void;
	uint64_t b = *(const uint64_t *)b_void;

	return a < b ? -1 : a > b;
}

uint64_t *mrmr_catalog_last_nodes(const struct mrmr_catalog_last *last,
				  void *mem_ctx, size_t *num)
{
	uint64_t *ids = talloc_array(mem_ctx, uint64_t, last->num + 1);
	size_t all = 0;
	size_t i;

	*num = 0;
	if (ids == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	for (i = 0; i < last->num; i++) {
		if (last->list[i].kind != TOUCHED_STRIPE) {
			ids[all++] = last->list[i].id;
		}
	}
	qsort(ids, all, sizeof(ids[0]), compare_ids);
	for (i = 0; i < all; i++) {
		if (*num == 0 || ids[*num - 1] != ids[i]) {
			ids[(*num)++] = ids[i];
		}
	}
	return ids;
}

uint64_t mrmr_catalog_next_stripe_id(const struct mrmr_catalog *cat)
{
	return cat->head.next_stripe;
}
