/*
 * MRMR: how much is protected, and how well: what somebody took out of the trash.
 *
 * What clients delete stays in its stripes as long as it is in the trash, and others
 * need its bytes. If it is removed there by hand, these stripes lack a block, until
 * a scan comes to it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/trash.h>

#include "survey_private.h"

struct finding {
	struct surveying *s;
	void *mem_ctx;
	uint64_t *ids; /* of files that are gone; talloc */
	size_t num;
};

static int find_one(const struct mrmr_node *node, void *private_data)
{
	struct finding *f = private_data;
	struct surveying *s = f->s;
	const char *slash = strchr(node->name, '/');

	if (slash == NULL || node->num_extents == 0 ||
	    strncmp(slash + 1, MRMR_TRASH_GONE, strlen(MRMR_TRASH_GONE)) == 0 ||
	    !survey_is_there(s, node->member) ||
	    s->is_kept(node, slash + 1, s->private_data)) {
		return 0;
	}
	/* by doubling */
	if ((f->num & (f->num - 1)) == 0) {
		uint64_t *ids = talloc_realloc(f->mem_ctx, f->ids, uint64_t,
					       f->num > 0 ? 2 * f->num : 1);

		if (ids == NULL) {
			errno = ENOMEM;
			return -1;
		}
		f->ids = ids;
	}
	f->ids[f->num++] = node->id;
	return 0;
}

static int add_gap(const struct mrmr_extent *extent, uint32_t index,
		   void *private_data)
{
	struct finding *f = private_data;
	struct surveying *s = f->s;

	(void)index;
	if (extent->state != MRMR_EXTENT_IN_STRIPE) {
		return 0;
	}
	if ((s->num_gaps & (s->num_gaps - 1)) == 0) {
		struct survey_gap *gaps =
			talloc_realloc(f->mem_ctx, s->gaps, struct survey_gap,
				       s->num_gaps > 0 ? 2 * s->num_gaps : 1);

		if (gaps == NULL) {
			errno = ENOMEM;
			return -1;
		}
		s->gaps = gaps;
	}
	s->gaps[s->num_gaps++] = (struct survey_gap){
		.stripe = extent->stripe,
		.slot = extent->slot,
	};
	return 0;
}

static int compare(const void *a_void, const void *b_void)
{
	const struct survey_gap *a = a_void;
	const struct survey_gap *b = b_void;

	if (a->stripe != b->stripe) {
		return a->stripe < b->stripe ? -1 : 1;
	}
	return (int)a->slot - (int)b->slot;
}

static void sort(struct surveying *s)
{
	size_t num = 0;
	size_t i;

	if (s->num_gaps == 0) {
		return;
	}
	qsort(s->gaps, s->num_gaps, sizeof(s->gaps[0]), compare);
	for (i = 0; i < s->num_gaps; i++) {
		if (num == 0 || compare(&s->gaps[num - 1], &s->gaps[i]) != 0) {
			s->gaps[num++] = s->gaps[i];
		}
	}
	s->num_gaps = num;
}

int survey_find_gaps(struct surveying *s, void *mem_ctx)
{
	struct finding f = {.s = s, .mem_ctx = mem_ctx};
	size_t i;

	if (mrmr_catalog_list(s->catalog, MRMR_ID_TRASH, find_one, &f) == -1) {
		return -1;
	}
	for (i = 0; i < f.num; i++) {
		struct mrmr_link *links = NULL;
		struct mrmr_node *node = NULL;
		size_t num = 0;
		int ret;

		if (mrmr_catalog_get(s->catalog, mem_ctx, f.ids[i], &node) ==
		    -1) {
			if (errno != ENOENT) {
				return -1;
			}
			continue;
		}
		/* one that has another name is there under that */
		ret = mrmr_catalog_links(s->catalog, node, node->id, &links,
					 &num);
		if (ret == 0 && num == 1) {
			s->survey->trash_missing++;
			ret = mrmr_catalog_each_extent(s->catalog, node,
						       add_gap, &f);
		}
		talloc_free(node);
		if (ret == -1 && errno != ENOENT) {
			return -1;
		}
	}
	sort(s);
	return 0;
}

bool survey_is_gap(const struct surveying *s, uint64_t stripe, uint8_t slot)
{
	const struct survey_gap gap = {.stripe = stripe, .slot = slot};

	return s->num_gaps > 0 && bsearch(&gap, s->gaps, s->num_gaps,
					  sizeof(gap), compare) != NULL;
}
