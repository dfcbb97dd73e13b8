/*
 * MRMR: the catalogue: the extents of files.
 *
 * A file with one extent, as most are, has it in its entry. Others have them in
 * records of 64, so that a change of one rewrites three kilobytes however large
 * the file is.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "catalog_private.h"

static struct key chunk_key(uint64_t id, uint32_t chunk)
{
	return key_of_numbers(RECORD_EXTENTS, id, chunk);
}

static uint32_t num_chunks(uint32_t num_extents)
{
	return (num_extents + EXTENTS_PER_CHUNK - 1) / EXTENTS_PER_CHUNK;
}

/* How many of the extents are in a chunk. */
static uint32_t num_in_chunk(uint32_t num_extents, uint32_t chunk)
{
	uint32_t left = num_extents - chunk * EXTENTS_PER_CHUNK;

	return left < EXTENTS_PER_CHUNK ? left : EXTENTS_PER_CHUNK;
}

static int chunk_load(struct mrmr_catalog *cat, const struct entry *entry,
		      uint32_t chunk,
		      struct mrmr_extent extents[EXTENTS_PER_CHUNK])
{
	struct key key = chunk_key(entry->id, chunk);
	struct mrmr_extent previous = {0};
	uint32_t num = num_in_chunk(entry->num_extents, chunk);
	const uint8_t *value = NULL;
	struct unpack u;
	size_t len = 0;
	uint32_t i;

	if (record_get(cat, &key, &value, &len) == -1) {
		return errno == ENOENT ? damaged_record(cat, "extents") : -1;
	}
	u = unpack_of(value, len);
	for (i = 0; i < num; i++) {
		extent_unpack(&u, &extents[i], &previous, entry->grid_bytes);
		extent_follow(&previous, &extents[i]);
	}
	return unpack_done(&u) ? 0 : damaged_record(cat, "extents");
}

static int chunk_save(struct mrmr_catalog *cat, const struct entry *entry,
		      uint32_t chunk, const struct mrmr_extent *extents,
		      uint32_t num)
{
	struct key key = chunk_key(entry->id, chunk);
	struct mrmr_extent previous = {0};
	struct pack p = {.mem_ctx = NULL};
	uint32_t i;

	for (i = 0; i < num; i++) {
		extent_pack(&p, &extents[i], &previous, entry->grid_bytes);
		extent_follow(&previous, &extents[i]);
	}
	return record_put_pack(cat, &key, &p);
}

/* --- reading ------------------------------------------------------------------ */

int extents_get(struct mrmr_catalog *cat, uint64_t id, uint32_t first,
		struct mrmr_extent *extents, uint32_t num, uint32_t *got)
{
	struct mrmr_extent chunk[EXTENTS_PER_CHUNK];
	void *frame = talloc_new(NULL);
	struct entry entry;
	struct place place;
	int ret = node_load(cat, frame, id, &entry, &place);

	talloc_free(frame);
	*got = 0;
	if (ret == -1) {
		return -1;
	}
	if (entry.num_extents == 1 && first == 0 && num > 0) {
		extents[0] = entry.extent;
		*got = 1;
	}
	if (entry.num_extents < 2) {
		return 0;
	}
	while (*got < num && first < entry.num_extents) {
		uint32_t number = first / EXTENTS_PER_CHUNK;
		uint32_t from = first % EXTENTS_PER_CHUNK;
		uint32_t n = num_in_chunk(entry.num_extents, number) - from;

		if (n > num - *got) {
			n = num - *got;
		}
		if (chunk_load(cat, &entry, number, chunk) == -1) {
			return -1;
		}
		memcpy(extents + *got, chunk + from, n * sizeof(chunk[0]));
		*got += n;
		first += n;
	}
	return 0;
}

int mrmr_catalog_get_extents(struct mrmr_catalog *cat, uint64_t id,
			     uint32_t first, struct mrmr_extent *extents,
			     uint32_t num, uint32_t *got)
{
	if (read_begin(cat) == -1) {
		return -1;
	}
	return read_end(cat, extents_get(cat, id, first, extents, num, got));
}

int mrmr_catalog_each_extent(struct mrmr_catalog *cat,
			     const struct mrmr_node *node, mrmr_extent_fn *fn,
			     void *private_data)
{
	struct mrmr_extent extents[EXTENTS_PER_CHUNK];
	uint32_t first = 0;
	uint32_t got = 0;
	uint32_t i;

	for (; first < node->num_extents; first += got) {
		if (mrmr_catalog_get_extents(cat, node->id, first, extents,
					     EXTENTS_PER_CHUNK, &got) == -1) {
			return -1;
		}
		if (got == 0) {
			errno = EILSEQ;
			return -1;
		}
		for (i = 0; i < got; i++) {
			int ret = fn(&extents[i], first + i, private_data);

			if (ret != 0) {
				return ret;
			}
		}
	}
	return 0;
}

/* --- writing ------------------------------------------------------------------ */

static uint64_t protected_in(const struct mrmr_extent *extents, uint32_t num)
{
	uint64_t bytes = 0;
	uint32_t i;

	for (i = 0; i < num; i++) {
		if (extent_is_protected(&extents[i])) {
			bytes += extents[i].len_bytes;
		}
	}
	return bytes;
}

static bool extents_are_good(struct mrmr_catalog *cat,
			     const struct entry *entry,
			     const struct mrmr_extent *extents, uint32_t num)
{
	uint32_t i;

	for (i = 0; i < num; i++) {
		const struct mrmr_extent *e = &extents[i];

		if (e->state > MRMR_EXTENT_UNKNOWN ||
		    (e->state == MRMR_EXTENT_UNKNOWN && !cat->allows_unknown) ||
		    e->len_bytes > entry->grid_bytes ||
		    (e->state == MRMR_EXTENT_IN_STRIPE &&
		     (e->stripe == 0 || e->stripe >= ID_MAX))) {
			return false;
		}
	}
	return true;
}

/* Make the node's entry say what its extents are now. */
static int save_entry(struct mrmr_catalog *cat, const struct place *place,
		      const struct entry *old, const struct entry *entry)
{
	if (old->protected_bytes != entry->protected_bytes &&
	    sums_change(cat, old, entry, place->dir_id) == -1) {
		return -1;
	}
	return node_store(cat, place, entry);
}

/* Overlay one chunk with what of the new extents belongs there. */
static int overlay(struct mrmr_catalog *cat, const struct entry *old,
		   struct entry *entry, uint32_t chunk, uint32_t first,
		   const struct mrmr_extent *extents, uint32_t num)
{
	struct mrmr_extent all[EXTENTS_PER_CHUNK];
	uint32_t begin = chunk * EXTENTS_PER_CHUNK;
	uint32_t from = first > begin ? first - begin : 0;
	uint32_t skip = first > begin ? 0 : begin - first;
	uint32_t n = num - skip;
	uint32_t num_old = 0;

	if (n > EXTENTS_PER_CHUNK - from) {
		n = EXTENTS_PER_CHUNK - from;
	}
	if (old->num_extents == 1 && chunk == 0) {
		all[0] = old->extent;
		num_old = 1;
	} else if (old->num_extents > begin) {
		if (chunk_load(cat, old, chunk, all) == -1) {
			return -1;
		}
		num_old = num_in_chunk(old->num_extents, chunk);
	}
	entry->protected_bytes -= protected_in(all, num_old);
	memcpy(all + from, extents + skip, n * sizeof(all[0]));
	if (from + n > num_old) {
		num_old = from + n;
	}
	entry->protected_bytes += protected_in(all, num_old);
	return chunk_save(cat, entry, chunk, all, num_old);
}

static int put_chunks(struct mrmr_catalog *cat, const struct entry *old,
		      struct entry *entry, uint32_t first,
		      const struct mrmr_extent *extents, uint32_t num)
{
	uint32_t chunk = first / EXTENTS_PER_CHUNK;
	uint32_t last = (first + num - 1) / EXTENTS_PER_CHUNK;

	/* the one that is in the entry goes to the first chunk */
	if (old->num_extents == 1 && chunk > 0) {
		chunk = 0;
	}
	for (; chunk <= last; chunk++) {
		if (overlay(cat, old, entry, chunk, first, extents, num) ==
		    -1) {
			return -1;
		}
	}
	return 0;
}

int extents_put(struct mrmr_catalog *cat, uint64_t id, uint32_t first,
		const struct mrmr_extent *extents, uint32_t num)
{
	void *frame = talloc_new(NULL);
	struct entry old, entry;
	struct place place;
	int ret = node_load(cat, frame, id, &old, &place);

	if (ret == 0 && num == 0) {
		goto out;
	}
	if (ret == 0 &&
	    (old.kind != MRMR_NODE_FILE || first > old.num_extents ||
	     num > NUM_EXTENTS_MAX - first ||
	     !extents_are_good(cat, &old, extents, num))) {
		errno = EINVAL;
		ret = -1;
	}
	if (ret == -1) {
		goto out;
	}
	entry = old;
	if (first + num > entry.num_extents) {
		entry.num_extents = first + num;
	}
	if (entry.num_extents == 1) {
		entry.extent = extents[0];
		entry.protected_bytes = protected_in(extents, 1);
	} else {
		ret = put_chunks(cat, &old, &entry, first, extents, num);
	}
	if (ret == 0) {
		ret = save_entry(cat, &place, &old, &entry);
	}
out:
	talloc_free(frame);
	return ret;
}

int mrmr_catalog_put_extents(struct mrmr_catalog *cat, uint64_t id,
			     uint32_t first, const struct mrmr_extent *extents,
			     uint32_t num)
{
	int ret;

	if (change_begin(cat) == -1) {
		return -1;
	}
	ret = extents_put(cat, id, first, extents, num);
	if (ret == 0) {
		ret = touch_content(cat, id);
	}
	if (ret == 0) {
		ret = touch_extents(cat, id, first, num);
	}
	return change_end(cat, ret);
}

/* --- cutting ------------------------------------------------------------------ */

static int cut_chunk(struct mrmr_catalog *cat, const struct entry *old,
		     struct entry *entry, uint32_t chunk)
{
	struct mrmr_extent all[EXTENTS_PER_CHUNK];
	uint32_t begin = chunk * EXTENTS_PER_CHUNK;
	uint32_t num_old = num_in_chunk(old->num_extents, chunk);
	uint32_t keep = entry->num_extents > begin
				? num_in_chunk(entry->num_extents, chunk)
				: 0;
	struct key key = chunk_key(entry->id, chunk);

	if (chunk_load(cat, old, chunk, all) == -1) {
		return -1;
	}
	entry->protected_bytes -= protected_in(all + keep, num_old - keep);
	if (entry->num_extents == 1 && chunk == 0) {
		entry->extent = all[0]; /* it goes into the entry */
		keep = 0;
	}
	return keep == 0 ? record_delete(cat, &key)
			 : chunk_save(cat, entry, chunk, all, keep);
}

int extents_cut(struct mrmr_catalog *cat, uint64_t id, uint32_t num)
{
	void *frame = talloc_new(NULL);
	struct entry old, entry;
	struct place place;
	uint32_t chunk;
	int ret = node_load(cat, frame, id, &old, &place);

	if (ret == -1 || num >= old.num_extents) {
		goto out;
	}
	entry = old;
	entry.num_extents = num;
	if (old.num_extents == 1) {
		entry.protected_bytes = 0;
	} else {
		chunk = num == 1 ? 0 : num / EXTENTS_PER_CHUNK;
		for (; chunk < num_chunks(old.num_extents) && ret == 0;
		     chunk++) {
			ret = cut_chunk(cat, &old, &entry, chunk);
		}
	}
	if (ret == 0) {
		ret = save_entry(cat, &place, &old, &entry);
	}
out:
	talloc_free(frame);
	return ret;
}

int mrmr_catalog_cut_extents(struct mrmr_catalog *cat, uint64_t id,
			     uint32_t num)
{
	struct entry entry;
	struct place place;
	void *frame = NULL;
	int ret;

	if (change_begin(cat) == -1) {
		return -1;
	}
	frame = talloc_new(NULL);
	ret = node_load(cat, frame, id, &entry, &place);
	if (ret == 0) {
		ret = extents_cut(cat, id, num);
	}
	if (ret == 0) {
		ret = touch_content(cat, id);
	}
	if (ret == 0 && num < entry.num_extents) {
		/* so that a part gets them back if this comes to nothing */
		ret = touch_extents(cat, id, num, entry.num_extents - num);
	}
	talloc_free(frame);
	return change_end(cat, ret);
}

static int check_in_no_stripe(const struct mrmr_extent *extents, uint32_t num)
{
	uint32_t i;

	for (i = 0; i < num; i++) {
		if (extents[i].state == MRMR_EXTENT_IN_STRIPE) {
			errno = EBUSY;
			return -1;
		}
	}
	return 0;
}

int extents_drop(struct mrmr_catalog *cat, const struct entry *entry)
{
	struct mrmr_extent all[EXTENTS_PER_CHUNK];
	uint32_t chunk;

	if (entry->num_extents == 1) {
		return cat->is_part ? 0 : check_in_no_stripe(&entry->extent, 1);
	}
	/* a part forgets a node without being asked */
	for (chunk = 0; !cat->is_part && chunk < num_chunks(entry->num_extents);
	     chunk++) {
		uint32_t num = num_in_chunk(entry->num_extents, chunk);

		if (chunk_load(cat, entry, chunk, all) == -1 ||
		    check_in_no_stripe(all, num) == -1) {
			return -1;
		}
	}
	for (chunk = 0; chunk < num_chunks(entry->num_extents); chunk++) {
		struct key key = chunk_key(entry->id, chunk);

		if (record_delete(cat, &key) == -1) {
			return -1;
		}
	}
	return 0;
}

int extents_any(struct mrmr_catalog *cat, const struct entry *entry,
		enum mrmr_extent_state state, bool *yes)
{
	struct mrmr_extent extents[EXTENTS_PER_CHUNK];
	uint32_t first;
	uint32_t got;
	uint32_t i;

	*yes = false;
	if (entry->num_extents == 1) {
		*yes = entry->extent.state == state;
		return 0;
	}
	for (first = 0; first < entry->num_extents; first += got) {
		if (extents_get(cat, entry->id, first, extents,
				EXTENTS_PER_CHUNK, &got) == -1) {
			return -1;
		}
		for (i = 0; i < got; i++) {
			if (extents[i].state == state) {
				*yes = true;
				return 0;
			}
		}
		if (got == 0) {
			return damaged_record(cat, "extents");
		}
	}
	return 0;
}

int extents_in_stripe(struct mrmr_catalog *cat, const struct entry *entry,
		      bool *yes)
{
	if (entry->num_extents != 1 && entry->protected_bytes == 0) {
		*yes = false;
		return 0;
	}
	return extents_any(cat, entry, MRMR_EXTENT_IN_STRIPE, yes);
}

bool mrmr_catalog_piece_extent(struct mrmr_catalog *cat, uint64_t stripe,
			       uint8_t slot, const struct mrmr_piece *piece,
			       uint32_t offset, struct mrmr_extent *extent)
{
	uint32_t got = 0;

	return mrmr_catalog_get_extents(cat, piece->file, piece->index, extent,
					1, &got) == 0 &&
	       got == 1 && extent->state == MRMR_EXTENT_IN_STRIPE &&
	       extent->stripe == stripe && extent->slot == slot &&
	       extent->slot_offset == offset &&
	       extent->len_bytes == piece->len_bytes;
}
