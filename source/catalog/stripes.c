/*
 * MRMR: the catalogue: stripes.
 *
 * Eight stripes share a record (a page), as one of large files takes a hundred
 * bytes or two only. One with slots of many small files takes thousands, and
 * has a record of its own, so that its neighbours are not rewritten with it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "catalog_private.h"

#define PER_PAGE 8
#define IN_PAGE_MAX 500

static struct key page_key(uint64_t id)
{
	return key_of_number(RECORD_STRIPES, id / PER_PAGE);
}

struct page_item {
	unsigned int low;
	const uint8_t *value; /* of length 0: it has its own record */
	size_t len;
};

static bool next_item(struct unpack *u, struct page_item *item)
{
	if (unpack_left(u) == 0) {
		return false;
	}
	item->low = (unsigned int)unpack_fixed(u, 1);
	item->len = unpack_varint(u);
	item->value = unpack_bytes(u, item->len);
	if (item->low >= PER_PAGE) {
		unpack_fail(u);
	}
	return !u->bad;
}

/* Nothing if there is no such page. */
static int page_load(struct mrmr_catalog *cat, uint64_t id,
		     struct unpack *items)
{
	struct key key = page_key(id);
	const uint8_t *value = NULL;
	size_t len = 0;

	if (record_get(cat, &key, &value, &len) == -1 &&
	    (errno != ENOENT ||
	     bits_check_none(cat, BITS_STRIPES, id / PER_PAGE,
			     "a page of stripes") == -1)) {
		return -1;
	}
	*items = unpack_of(value, len);
	return 0;
}

int stripe_load(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
		struct stored_stripe *stored)
{
	struct key key = key_of_number(RECORD_STRIPE, id);
	struct page_item item;
	struct unpack items;

	if (id == 0 || id >= ID_MAX) {
		errno = ENOENT;
		return -1;
	}
	if (page_load(cat, id, &items) == -1) {
		return -1;
	}
	while (next_item(&items, &item)) {
		if (item.low != id % PER_PAGE) {
			continue;
		}
		if (item.len == 0 &&
		    record_get(cat, &key, &item.value, &item.len) == -1) {
			return errno == ENOENT ? damaged_record(cat, "a stripe")
					       : -1;
		}
		return stripe_unpack(cat, mem_ctx, id, item.value, item.len,
				     stored);
	}
	if (items.bad) {
		return damaged_record(cat, "a page of stripes");
	}
	errno = ENOENT;
	return -1;
}

static void pack_item(struct pack *p, unsigned int low, const uint8_t *value,
		      size_t len)
{
	pack_fixed(p, low, 1);
	pack_varint(p, len);
	pack_bytes(p, value, len);
}

/* The page with another value for this stripe; without it if value is NULL. */
static int page_save(struct mrmr_catalog *cat, uint64_t id,
		     const uint8_t *value, size_t len, bool *was_external)
{
	struct key key = page_key(id);
	struct pack p = {.mem_ctx = NULL};
	struct page_item item;
	struct unpack items;
	bool is_new;
	int ret = 0;

	*was_external = false;
	if (page_load(cat, id, &items) == -1) {
		return -1;
	}
	is_new = unpack_left(&items) == 0;
	while (next_item(&items, &item)) {
		if (item.low == id % PER_PAGE) {
			*was_external = item.len == 0;
		} else {
			pack_item(&p, item.low, item.value, item.len);
		}
	}
	if (items.bad) {
		talloc_free(p.data);
		return damaged_record(cat, "a page of stripes");
	}
	if (value != NULL) {
		pack_item(&p, id % PER_PAGE, value, len);
	}
	if (is_new != (p.len == 0)) {
		ret = bits_set(cat, BITS_STRIPES, id / PER_PAGE, p.len > 0);
	}
	if (ret == 0 && p.len == 0) {
		ret = record_delete(cat, &key);
	} else if (ret == 0) {
		ret = record_put_pack(cat, &key, &p);
	}
	talloc_free(p.data);
	return ret;
}

int stripe_save(struct mrmr_catalog *cat, const struct stored_stripe *stored)
{
	uint64_t id = stored->stripe->id;
	struct key key = key_of_number(RECORD_STRIPE, id);
	struct pack p = {.mem_ctx = NULL};
	bool is_external;
	bool was_external = false;
	int ret;

	stripe_pack(&p, stored);
	if (p.failed) {
		talloc_free(p.data);
		errno = ENOMEM;
		return -1;
	}
	is_external = p.len > IN_PAGE_MAX;
	ret = page_save(cat, id, p.data, is_external ? 0 : p.len,
			&was_external);
	if (ret == 0 && is_external) {
		ret = record_put_pack(cat, &key, &p);
	} else if (ret == 0 && was_external) {
		ret = record_delete(cat, &key);
	}
	talloc_free(p.data);
	return ret;
}

static int stripe_delete(struct mrmr_catalog *cat, uint64_t id)
{
	struct key key = key_of_number(RECORD_STRIPE, id);
	bool was_external = false;

	if (page_save(cat, id, NULL, 0, &was_external) == -1) {
		return -1;
	}
	return was_external ? record_delete(cat, &key) : 0;
}

/* --- reading ------------------------------------------------------------------ */

int mrmr_catalog_get_stripe(struct mrmr_catalog *cat, void *mem_ctx,
			    uint64_t id, struct mrmr_stripe **stripe)
{
	struct stored_stripe stored;
	int ret;

	if (read_begin(cat) == -1) {
		return -1;
	}
	ret = stripe_load(cat, mem_ctx, id, &stored);
	if (ret == 0) {
		*stripe = stored.stripe;
	}
	return read_end(cat, ret);
}

static int next(struct mrmr_catalog *cat, void *mem_ctx, uint64_t after,
		struct stored_stripe *stored)
{
	uint64_t first = after + 1;
	uint64_t end = (cat->head.next_stripe + PER_PAGE - 1) / PER_PAGE;
	uint64_t number = first / PER_PAGE;

	while (bits_next(cat, BITS_STRIPES, &number, end) == 0) {
		uint64_t best = 0;
		struct page_item item;
		struct unpack items;

		if (page_load(cat, number * PER_PAGE, &items) == -1) {
			return -1;
		}
		while (next_item(&items, &item)) {
			uint64_t id = number * PER_PAGE + item.low;

			if (id >= first && (best == 0 || id < best)) {
				best = id;
			}
		}
		if (items.bad) {
			return damaged_record(cat, "a page of stripes");
		}
		if (best != 0) {
			return stripe_load(cat, mem_ctx, best, stored);
		}
		number++;
	}
	return -1;
}

int mrmr_catalog_next_stripe(struct mrmr_catalog *cat, void *mem_ctx,
			     uint64_t after, struct mrmr_stripe **stripe)
{
	struct stored_stripe stored;
	int ret;

	if (read_begin(cat) == -1) {
		return -1;
	}
	ret = next(cat, mem_ctx, after, &stored);
	if (ret == 0) {
		*stripe = stored.stripe;
	}
	return read_end(cat, ret);
}

int mrmr_catalog_scrubbed(struct mrmr_catalog *cat, uint64_t stripe,
			  uint16_t *day)
{
	void *frame = NULL;
	struct stored_stripe stored;
	int ret;

	if (read_begin(cat) == -1) {
		return -1;
	}
	frame = talloc_new(NULL);
	ret = stripe_load(cat, frame, stripe, &stored);
	if (ret == 0) {
		*day = stored.scrubbed_day;
	}
	talloc_free(frame);
	return read_end(cat, ret);
}

/* --- writing ------------------------------------------------------------------ */

static bool slot_is_good(const struct mrmr_slot *slot)
{
	uint64_t len = 0;
	uint32_t i;

	for (i = 0; i < slot->num_pieces; i++) {
		len += slot->pieces[i].len_bytes;
		if (slot->pieces[i].file >= ID_MAX ||
		    slot->pieces[i].index > NUM_EXTENTS_MAX) {
			return false;
		}
	}
	return slot->num_pieces > 0 && len == slot->len_bytes &&
	       slot->member < MEMBERS_MAX;
}

bool stripe_is_good(const struct mrmr_stripe *stripe)
{
	uint32_t i;

	if (stripe->num_slots > 256 || stripe->num_rows > 256) {
		return false;
	}
	for (i = 0; i < stripe->num_slots; i++) {
		if (!slot_is_good(&stripe->slots[i]) ||
		    (i > 0 &&
		     stripe->slots[i].slot <= stripe->slots[i - 1].slot)) {
			return false;
		}
	}
	for (i = 0; i < stripe->num_rows; i++) {
		if (stripe->rows[i].member >= MEMBERS_MAX ||
		    (i > 0 && stripe->rows[i].row <= stripe->rows[i - 1].row)) {
			return false;
		}
	}
	return true;
}

static bool has_row(const struct mrmr_stripe *stripe,
		    const struct mrmr_row *row)
{
	uint32_t i;

	for (i = 0; stripe != NULL && i < stripe->num_rows; i++) {
		if (memcmp(stripe->rows[i].sha256, row->sha256,
			   sizeof(row->sha256)) == 0) {
			return true;
		}
	}
	return false;
}

/* Has an earlier row of the stripe the same content? Then it is indexed. */
static bool is_repeated(const struct mrmr_stripe *stripe, uint32_t i)
{
	struct mrmr_stripe before = *stripe;

	before.num_rows = i;
	return has_row(&before, &stripe->rows[i]);
}

/* The index of blobs has each content of a stripe once. */
static int change_blobs(struct mrmr_catalog *cat, uint64_t id,
			const struct mrmr_stripe *old,
			const struct mrmr_stripe *new)
{
	uint32_t i;

	for (i = 0; old != NULL && i < old->num_rows; i++) {
		if (!has_row(new, &old->rows[i]) && !is_repeated(old, i) &&
		    blobs_remove(cat, old->rows[i].sha256, id) == -1) {
			return -1;
		}
	}
	for (i = 0; new != NULL &&i < new->num_rows; i++) {
		if (!has_row(old, &new->rows[i]) && !is_repeated(new, i) &&
		    blobs_add(cat, new->rows[i].sha256, id) == -1) {
			return -1;
		}
	}
	return 0;
}

/* Into the class that a stripe's members make, out of the old one. */
static int change_class(struct mrmr_catalog *cat,
			const struct stored_stripe *old,
			struct stored_stripe *stored)
{
	uint16_t members[STRIPE_MEMBERS_MAX];
	uint16_t old_members[STRIPE_MEMBERS_MAX];
	size_t num = stripe_members(stored->stripe, members);

	if (old != NULL) {
		size_t num_old = stripe_members(old->stripe, old_members);

		if (num == num_old && memcmp(members, old_members,
					     num * sizeof(members[0])) == 0) {
			return 0;
		}
		if (class_remove(cat, old->class_number, old->class_position) ==
		    -1) {
			return -1;
		}
	}
	return class_add(cat, members, num, stored->stripe->id,
			 &stored->class_number, &stored->class_position);
}

int stripe_put(struct mrmr_catalog *cat, const struct mrmr_stripe *stripe)
{
	void *frame = talloc_new(NULL);
	struct mrmr_stripe copy = *stripe;
	struct stored_stripe stored = {.stripe = &copy,
				       .sequence = stripe->sequence};
	struct stored_stripe old = {.stripe = NULL};
	int ret;

	ret = stripe_load(cat, frame, stripe->id, &old);
	if (ret == -1 && errno == ENOENT) {
		ret = 0;
	}
	if (ret == 0 && old.stripe != NULL) {
		stored.class_number = old.class_number;
		stored.class_position = old.class_position;
		stored.scrubbed_day = old.scrubbed_day;
		ret = sums_stripe(cat, old.stripe, -1);
	}
	if (ret == 0) {
		ret = sums_stripe(cat, stripe, 1);
	}
	if (ret == 0) {
		ret = change_blobs(cat, stripe->id, old.stripe, stripe);
	}
	if (ret == 0) {
		ret = change_class(cat, old.stripe != NULL ? &old : NULL,
				   &stored);
	}
	if (ret == 0) {
		ret = stripe_save(cat, &stored);
	}
	talloc_free(frame);
	return ret;
}

/* The stripe with this id is there, or gets one. */
static int give_id(struct mrmr_catalog *cat, struct mrmr_stripe *stripe)
{
	void *frame = NULL;
	struct stored_stripe old;
	int ret;

	if (!stripe_is_good(stripe)) {
		errno = EINVAL;
		return -1;
	}
	if (stripe->id != 0) {
		frame = talloc_new(NULL);
		ret = stripe_load(cat, frame, stripe->id, &old);
		talloc_free(frame);
		return ret;
	}
	if (cat->head.next_stripe >= ID_MAX) {
		errno = EOVERFLOW;
		return -1;
	}
	stripe->id = cat->head.next_stripe++;
	cat->head_is_dirty = true;
	return 0;
}

int mrmr_catalog_put_stripe(struct mrmr_catalog *cat,
			    const struct mrmr_stripe *stripe, uint64_t *id)
{
	struct mrmr_stripe copy = *stripe;
	int ret;

	copy.sequence = 0; /* is in parts only */
	if (change_begin(cat) == -1) {
		return -1;
	}
	ret = give_id(cat, &copy);
	if (ret == 0) {
		ret = stripe_put(cat, &copy);
	}
	if (ret == 0) {
		ret = touch_stripe(cat, copy.id);
	}
	if (ret == 0 && id != NULL) {
		*id = copy.id;
	}
	return change_end(cat, ret);
}

int stripe_remove(struct mrmr_catalog *cat, uint64_t id)
{
	void *frame = talloc_new(NULL);
	struct stored_stripe old;
	int ret = stripe_load(cat, frame, id, &old);

	if (ret == 0 &&
	    (sums_stripe(cat, old.stripe, -1) == -1 ||
	     change_blobs(cat, id, old.stripe, NULL) == -1 ||
	     class_remove(cat, old.class_number, old.class_position) == -1 ||
	     stripe_delete(cat, id) == -1)) {
		ret = -1;
	}
	talloc_free(frame);
	return ret;
}

int mrmr_catalog_remove_stripe(struct mrmr_catalog *cat, uint64_t id)
{
	int ret;

	if (change_begin(cat) == -1) {
		return -1;
	}
	ret = stripe_remove(cat, id);
	if (ret == 0) {
		ret = touch_stripe(cat, id);
	}
	return change_end(cat, ret);
}

int mrmr_catalog_set_scrubbed(struct mrmr_catalog *cat, uint64_t stripe,
			      uint16_t day)
{
	void *frame = NULL;
	struct stored_stripe stored;
	int ret;

	if (change_begin(cat) == -1) {
		return -1;
	}
	frame = talloc_new(NULL);
	ret = stripe_load(cat, frame, stripe, &stored);
	if (ret == 0) {
		stored.scrubbed_day = day;
		ret = stripe_save(cat, &stored);
	}
	talloc_free(frame);
	return change_end(cat, ret);
}
