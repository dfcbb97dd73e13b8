/*
 * MRMR: rebuilding: what goes together, and where to.
 *
 * A slot is on one member. Small files share slots, so files that do are brought
 * back together and to the same place; a slot whose files would end up apart is
 * left by them, which costs new parity.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/names.h>

#include "rebuild_private.h"

/* Larger families are not brought back in one commit. */
#define FAMILY_FILES_MAX 20000
#define EXTENTS_AT_ONCE 64

/* --- families ------------------------------------------------------------------ */

struct family {
	struct rebuild *r;
	void *mem_ctx;
	uint64_t *ids; /* those that were not looked at come last */
	size_t num;
	struct mrmr_stripe *stripe; /* the one that was seen last */

	/* Slots of several pieces, of which all files are in ids. */
	struct seen {
		uint64_t stripe;
		uint8_t slot;
	} * seen;
	size_t num_seen;
};

static bool has_id(const struct family *family, uint64_t id)
{
	size_t i;

	for (i = family->num; i > 0; i--) {
		if (family->ids[i - 1] == id) {
			return true;
		}
	}
	return false;
}

static int add_id(struct family *family, uint64_t id)
{
	uint64_t *ids = NULL;

	if (family->num >= FAMILY_FILES_MAX || has_id(family, id)) {
		return 0;
	}
	if ((family->num & (family->num - 1)) == 0) {
		ids = talloc_realloc(family->mem_ctx, family->ids, uint64_t,
				     family->num > 0 ? 2 * family->num : 1);
		if (ids == NULL) {
			errno = ENOMEM;
			return -1;
		}
		family->ids = ids;
	}
	family->ids[family->num++] = id;
	return 0;
}

/* A stripe that is not known is no hindrance here: decoding says so. */
static const struct mrmr_slot *find_slot(struct family *family,
					 const struct mrmr_extent *extent)
{
	uint32_t i;

	if (family->stripe == NULL || family->stripe->id != extent->stripe) {
		TALLOC_FREE(family->stripe);
		if (mrmr_catalog_get_stripe(family->r->engine->catalog,
					    family->mem_ctx, extent->stripe,
					    &family->stripe) == -1) {
			family->stripe = NULL;
			return NULL;
		}
	}
	for (i = 0; i < family->stripe->num_slots; i++) {
		if (family->stripe->slots[i].slot == extent->slot) {
			return &family->stripe->slots[i];
		}
	}
	return NULL;
}

static bool was_seen(const struct family *family,
		     const struct mrmr_extent *extent)
{
	size_t i;

	for (i = family->num_seen; i > 0; i--) {
		if (family->seen[i - 1].stripe == extent->stripe &&
		    family->seen[i - 1].slot == extent->slot) {
			return true;
		}
	}
	return false;
}

/* Without memory, it is gone through again. */
static void note_seen(struct family *family, const struct mrmr_extent *extent)
{
	size_t size = talloc_array_length(family->seen);
	struct seen *larger = NULL;

	if (family->num_seen == size) {
		larger = talloc_realloc(family->mem_ctx, family->seen,
					struct seen, 2 * size + 16);
		if (larger == NULL) {
			return;
		}
		family->seen = larger;
	}
	family->seen[family->num_seen++] = (struct seen){
		.stripe = extent->stripe,
		.slot = extent->slot,
	};
}

static int add_slot(struct family *family, const struct mrmr_extent *extent)
{
	const struct mrmr_slot *slot = NULL;
	uint32_t i;

	if (extent->state != MRMR_EXTENT_IN_STRIPE ||
	    was_seen(family, extent)) {
		return 0;
	}
	slot = find_slot(family, extent);
	if (slot != NULL && slot->num_pieces > 1) {
		note_seen(family, extent);
	}
	for (i = 0; slot != NULL && i < slot->num_pieces; i++) {
		uint64_t id = slot->pieces[i].file;
		uint64_t last = i > 0 ? slot->pieces[i - 1].file : 0;

		if (id != MRMR_ID_NONE && id != last &&
		    !rebuild_is_settled(family->r, id) &&
		    add_id(family, id) == -1) {
			return -1;
		}
	}
	return 0;
}

static int add_relatives(struct family *family, uint64_t id)
{
	struct mrmr_extent extents[EXTENTS_AT_ONCE];
	uint32_t first = 0;
	uint32_t got = EXTENTS_AT_ONCE;
	uint32_t i;

	while (got == EXTENTS_AT_ONCE) {
		if (mrmr_catalog_get_extents(family->r->engine->catalog, id,
					     first, extents, EXTENTS_AT_ONCE,
					     &got) == -1) {
			return errno == ENOENT ? 0 : -1;
		}
		for (i = 0; i < got; i++) {
			if (add_slot(family, &extents[i]) == -1) {
				return -1;
			}
		}
		first += got;
	}
	return 0;
}

int rebuild_gather(struct rebuild *r, void *mem_ctx, uint64_t id,
		   uint64_t **ids, size_t *num)
{
	struct family family = {.r = r, .mem_ctx = mem_ctx};
	size_t i;
	int ret = add_id(&family, id);

	for (i = 0; i < family.num && ret == 0; i++) {
		ret = add_relatives(&family, family.ids[i]);
	}
	talloc_free(family.stripe);
	talloc_free(family.seen);
	*ids = family.ids;
	*num = family.num;
	return ret;
}

/* --- targets ------------------------------------------------------------------- */

/* Bytes of the family whose stripes have another block on a unit. */
struct conflicts {
	uint64_t bytes[MRMR_MEMBERS_MAX]; /* by unit */
	struct mrmr_stripe *stripe;       /* the one that was seen last */
};

static void add_conflict(struct rebuild *r, struct conflicts *conflicts,
			 uint16_t number, uint32_t len)
{
	size_t index = mrmr_engine_member(r->engine, number);

	if (index != SIZE_MAX) {
		conflicts->bytes[r->pool->units.unit[index]] += len;
	}
}

static void add_extent_conflicts(struct rebuild *r, struct conflicts *conflicts,
				 const struct mrmr_extent *extent)
{
	const struct mrmr_stripe *stripe = NULL;
	uint32_t i;

	if (extent->state != MRMR_EXTENT_IN_STRIPE) {
		return;
	}
	if (conflicts->stripe == NULL ||
	    conflicts->stripe->id != extent->stripe) {
		TALLOC_FREE(conflicts->stripe);
		if (mrmr_catalog_get_stripe(r->engine->catalog, r,
					    extent->stripe,
					    &conflicts->stripe) == -1) {
			conflicts->stripe = NULL;
			return;
		}
	}
	stripe = conflicts->stripe;
	for (i = 0; i < stripe->num_slots; i++) {
		if (stripe->slots[i].slot != extent->slot) {
			add_conflict(r, conflicts, stripe->slots[i].member,
				     extent->len_bytes);
		}
	}
	for (i = 0; i < stripe->num_rows; i++) {
		add_conflict(r, conflicts, stripe->rows[i].member,
			     extent->len_bytes);
	}
}

static void find_conflicts(struct rebuild *r, struct rebuild_file **files,
			   size_t num, struct conflicts *conflicts)
{
	struct mrmr_extent extents[EXTENTS_AT_ONCE];
	uint32_t first, got, i;
	size_t n;

	for (n = 0; n < num; n++) {
		first = 0;
		do {
			got = 0;
			if (mrmr_catalog_get_extents(r->engine->catalog,
						     files[n]->node->id, first,
						     extents, EXTENTS_AT_ONCE,
						     &got) == -1) {
				break;
			}
			for (i = 0; i < got; i++) {
				add_extent_conflicts(r, conflicts, &extents[i]);
			}
			first += got;
		} while (got == EXTENTS_AT_ONCE);
	}
}

/* By rules and policy, for a file that has a name in the pool. */
static size_t order_by_policy(struct rebuild *r, struct rebuild_file **files,
			      size_t num, uint64_t need_bytes, size_t *order)
{
	struct mrmr_place place;
	size_t i, n;

	for (i = 0; i < num; i++) {
		for (n = 0; n < files[i]->num_names; n++) {
			const struct rebuild_name *name = &files[i]->names[n];

			if (name->path != NULL && !name->is_trash &&
			    mrmr_place_find(r->pool, r->pool->spine_fd,
					    name->path, &place) == 0) {
				return mrmr_name_place(place.dir, place.name,
						       need_bytes, order);
			}
		}
	}
	return 0;
}

static bool is_listed(const size_t *order, size_t n, size_t member)
{
	size_t i;

	for (i = 0; i < n && order[i] != member; i++) {
	}
	return i < n;
}

static bool can_take(const struct rebuild *r, size_t index, uint64_t need_bytes)
{
	const struct mrmr_member *member = &r->pool->members[index];

	return index != r->options->lost &&
	       member->state == MRMR_MEMBER_ONLINE && !member->read_only &&
	       member->unlasting == NULL &&
	       mrmr_member_room(member) >= need_bytes;
}

/* Those that the rules do not have, last: a file in the wrong place is better
   than none. */
static size_t add_others(struct rebuild *r, size_t *order, size_t n)
{
	size_t listed = n;
	size_t i, j;

	for (i = 0; i < r->pool->num_members; i++) {
		if (is_listed(order, listed, i)) {
			continue;
		}
		for (j = n; j > listed &&
			    mrmr_member_data_room(&r->pool->members[i]) >
				    mrmr_member_data_room(
					    &r->pool->members[order[j - 1]]);
		     j--) {
			order[j] = order[j - 1];
		}
		order[j] = i;
		n++;
	}
	return n;
}

size_t rebuild_targets(struct rebuild *r, struct rebuild_file **files,
		       size_t num, size_t *order)
{
	struct conflicts conflicts = {.stripe = NULL};
	size_t all[MRMR_MEMBERS_MAX];
	uint64_t need_bytes = 1;
	size_t chosen = 0;
	size_t n, i, j;

	for (i = 0; i < num; i++) {
		need_bytes += rebuild_version(files[i])->size_bytes;
	}
	if (r->options->onto != MRMR_REBUILD_SPREAD) {
		order[0] = r->options->onto;
		return can_take(r, order[0], need_bytes) ? 1 : 0;
	}
	find_conflicts(r, files, num, &conflicts);
	talloc_free(conflicts.stripe);
	n = order_by_policy(r, files, num, need_bytes, all);
	n = add_others(r, all, n);
	for (i = 0; i < n; i++) {
		uint64_t bytes = conflicts.bytes[r->pool->units.unit[all[i]]];

		if (!can_take(r, all[i], need_bytes)) {
			continue;
		}
		for (j = chosen;
		     j > 0 &&
		     conflicts.bytes[r->pool->units.unit[order[j - 1]]] > bytes;
		     j--) {
			order[j] = order[j - 1];
		}
		order[j] = all[i];
		chosen++;
	}
	return chosen;
}
