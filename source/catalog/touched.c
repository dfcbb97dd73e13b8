/*
 * MRMR: the catalogue: what a transaction changed, for the parts.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "catalog_private.h"

static bool same(const struct touched *a, const struct touched *b)
{
	return a->kind == b->kind && a->id == b->id && a->index == b->index;
}

static void become_one(struct touched *to, const struct touched *other)
{
	to->keeps_names = to->keeps_names && other->keeps_names;
}

int touch(struct mrmr_catalog *cat, const struct touched *touched)
{
	size_t room = talloc_array_length(cat->touched);

	if (cat->num_touched > 0 &&
	    same(&cat->touched[cat->num_touched - 1], touched)) {
		become_one(&cat->touched[cat->num_touched - 1], touched);
		return 0;
	}
	if (cat->num_touched == room) {
		struct touched *more =
			talloc_realloc(cat, cat->touched, struct touched,
				       2 * room + 64);

		if (more == NULL) {
			errno = ENOMEM;
			return -1;
		}
		cat->touched = more;
	}
	cat->touched[cat->num_touched++] = *touched;
	return 0;
}

int touch_node(struct mrmr_catalog *cat, uint64_t id)
{
	return touch(cat, &(struct touched){.kind = TOUCHED_NODE, .id = id});
}

int touch_content(struct mrmr_catalog *cat, uint64_t id)
{
	return touch(cat, &(struct touched){.kind = TOUCHED_NODE,
					    .keeps_names = true,
					    .id = id});
}

int touch_extents(struct mrmr_catalog *cat, uint64_t id, uint32_t first,
		  uint32_t num)
{
	uint32_t i;

	for (i = 0; i < num; i++) {
		struct touched one = {.kind = TOUCHED_EXTENT,
				      .id = id,
				      .index = first + i};

		if (touch(cat, &one) == -1) {
			return -1;
		}
	}
	return 0;
}

int touch_stripe(struct mrmr_catalog *cat, uint64_t id)
{
	return touch(cat, &(struct touched){.kind = TOUCHED_STRIPE, .id = id});
}

static int compare(const void *a_void, const void *b_void)
{
	const struct touched *a = a_void;
	const struct touched *b = b_void;

	if (a->kind != b->kind) {
		return a->kind < b->kind ? -1 : 1;
	}
	if (a->id != b->id) {
		return a->id < b->id ? -1 : 1;
	}
	return a->index < b->index ? -1 : a->index > b->index;
}

size_t touched_unique(struct touched *list, size_t num)
{
	size_t last = 0;
	size_t i = 1;

	if (num == 0) {
		return 0;
	}
	/* it has often been sorted before */
	while (i < num && compare(&list[i - 1], &list[i]) < 0) {
		i++;
	}
	if (i >= num) {
		return num;
	}
	qsort(list, num, sizeof(list[0]), compare);
	for (i = 1; i < num; i++) {
		if (same(&list[last], &list[i])) {
			become_one(&list[last], &list[i]);
		} else {
			list[++last] = list[i];
		}
	}
	return last + 1;
}

struct touched *touched_merge(void *mem_ctx, const struct touched *a,
			      size_t num_a, const struct touched *b,
			      size_t num_b, size_t *num)
{
	struct touched *list =
		talloc_array(mem_ctx, struct touched, num_a + num_b + 1);
	size_t i = 0;
	size_t j = 0;

	*num = 0;
	if (list == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	while (i < num_a || j < num_b) {
		int order = i == num_a   ? 1
			    : j == num_b ? -1
					 : compare(&a[i], &b[j]);
		struct touched *to = &list[(*num)++];

		*to = order <= 0 ? a[i++] : b[j];
		if (order >= 0) {
			become_one(to, &b[j++]);
		}
	}
	return list;
}

bool touched_has(const struct touched *list, size_t num,
		 const struct touched *one)
{
	return num > 0 &&
	       bsearch(one, list, num, sizeof(list[0]), compare) != NULL;
}

void touched_drop(struct mrmr_catalog *cat)
{
	TALLOC_FREE(cat->touched);
	cat->num_touched = 0;
}

void touched_pack(struct pack *p, const struct touched *list, size_t num)
{
	uint64_t id = 0;
	size_t i;

	pack_varint(p, num);
	for (i = 0; i < num; i++) {
		pack_signed(p, (int64_t)(list[i].id - id) * 4 +
				       (int64_t)list[i].kind);
		id = list[i].id;
		if (list[i].kind == TOUCHED_EXTENT) {
			pack_varint(p, list[i].index);
		}
	}
}

int touched_unpack(struct unpack *u, void *mem_ctx, struct touched **list,
		   size_t *num)
{
	uint64_t n = unpack_upto(u, unpack_left(u));
	struct touched *more =
		talloc_realloc(mem_ctx, *list, struct touched, *num + n + 1);
	uint64_t id = 0;
	uint64_t i;

	if (more == NULL) {
		errno = ENOMEM;
		return -1;
	}
	*list = more;
	for (i = 0; i < n; i++) {
		struct touched *one = &more[*num + i];
		int64_t value = unpack_signed(u);

		id += (uint64_t)(value >> 2);
		*one = (struct touched){.kind = (enum touched_kind)(value & 3),
					.id = id};
		if (one->kind == TOUCHED_EXTENT) {
			one->index = (uint32_t)unpack_upto(u, NUM_EXTENTS_MAX);
		}
		if (one->kind > TOUCHED_STRIPE || id >= ID_MAX) {
			unpack_fail(u);
		}
	}
	if (!unpack_done(u)) {
		errno = EILSEQ;
		return -1;
	}
	*num += n;
	return 0;
}
