/*
 * MRMR: the catalogue: how much of what there is, kept as records change.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include "catalog_private.h"

struct sums {
	uint64_t n[NUM_SUMS];
};

static bool sums_decode(const uint8_t *value, size_t len, void *decoded)
{
	struct sums *sums = decoded;
	struct unpack u = unpack_of(value, len);
	size_t i;

	for (i = 0; i < NUM_SUMS; i++) {
		sums->n[i] = unpack_varint(&u);
	}
	return unpack_done(&u);
}

static void sums_encode(struct pack *p, const void *decoded)
{
	const struct sums *sums = decoded;
	size_t i;

	for (i = 0; i < NUM_SUMS; i++) {
		pack_varint(p, sums->n[i]);
	}
}

static const struct form sums_form = {
	.what = "sums",
	.bytes = sizeof(struct sums),
	.decode = sums_decode,
	.encode = sums_encode,
};

static int add(struct mrmr_catalog *cat, uint16_t member,
	       const int64_t delta[NUM_SUMS])
{
	struct key key = key_of_number(RECORD_SUMS, member);
	struct sums *sums = record_change(cat, &key, &sums_form);
	size_t i;

	if (sums == NULL) {
		return -1;
	}
	for (i = 0; i < NUM_SUMS; i++) {
		if (delta[i] < 0 && (uint64_t)-delta[i] > sums->n[i]) {
			return damaged_record(cat, sums_form.what);
		}
		sums->n[i] += (uint64_t)delta[i];
	}
	return 0;
}

int sums_add(struct mrmr_catalog *cat, uint16_t member,
	     const int64_t delta[NUM_SUMS])
{
	if (member != MRMR_MEMBER_NONE && add(cat, member, delta) == -1) {
		return -1;
	}
	return add(cat, MRMR_MEMBER_NONE, delta);
}

static void add_node(int64_t delta[NUM_SUMS], const struct entry *entry,
		     uint64_t dir_id, int sign)
{
	if (dir_id == MRMR_ID_TRASH) {
		delta[SUM_TRASH] += sign * (int64_t)entry->size_bytes;
		return;
	}
	delta[SUM_FILES] += sign;
	delta[SUM_FILE_BYTES] += sign * (int64_t)entry->size_bytes;
	delta[SUM_PROTECTED] += sign * (int64_t)entry->protected_bytes;
}

int sums_node(struct mrmr_catalog *cat, const struct entry *entry,
	      uint64_t dir_id, int sign)
{
	int64_t delta[NUM_SUMS] = {0};

	if (entry->kind != MRMR_NODE_FILE) {
		return 0;
	}
	add_node(delta, entry, dir_id, sign);
	return sums_add(cat, entry->member, delta);
}

int sums_change(struct mrmr_catalog *cat, const struct entry *old,
		const struct entry *entry, uint64_t dir_id)
{
	int64_t delta[NUM_SUMS] = {0};

	if (old->kind != entry->kind || old->member != entry->member) {
		return sums_node(cat, old, dir_id, -1) == -1
			       ? -1
			       : sums_node(cat, entry, dir_id, 1);
	}
	if (entry->kind != MRMR_NODE_FILE) {
		return 0;
	}
	add_node(delta, old, dir_id, -1);
	add_node(delta, entry, dir_id, 1);
	return sums_add(cat, entry->member, delta);
}

int sums_stripe(struct mrmr_catalog *cat, const struct mrmr_stripe *stripe,
		int sign)
{
	int64_t one[NUM_SUMS] = {0};
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		int64_t delta[NUM_SUMS] = {0};

		delta[SUM_SLOTS] = sign;
		delta[SUM_SLOT_BYTES] =
			sign * (int64_t)stripe->slots[i].len_bytes;
		if (sums_add(cat, stripe->slots[i].member, delta) == -1) {
			return -1;
		}
	}
	for (i = 0; i < stripe->num_rows; i++) {
		int64_t delta[NUM_SUMS] = {0};

		delta[SUM_BLOBS] = sign;
		delta[SUM_PARITY] = sign * (int64_t)stripe->rows[i].len_bytes;
		if (sums_add(cat, stripe->rows[i].member, delta) == -1) {
			return -1;
		}
	}
	one[SUM_STRIPES] = sign;
	return sums_add(cat, MRMR_MEMBER_NONE, one);
}

int mrmr_catalog_sums(struct mrmr_catalog *cat, uint16_t member,
		      struct mrmr_catalog_sums *sums)
{
	struct key key = key_of_number(RECORD_SUMS, member);
	const struct sums *stored = NULL;

	if (read_begin(cat) == -1) {
		return -1;
	}
	stored = record_read(cat, &key, &sums_form);
	if (stored == NULL) {
		return read_end(cat, -1);
	}
	*sums = (struct mrmr_catalog_sums){
		.num_files = stored->n[SUM_FILES],
		.file_bytes = stored->n[SUM_FILE_BYTES],
		.protected_bytes = stored->n[SUM_PROTECTED],
		.trash_bytes = stored->n[SUM_TRASH],
		.num_slots = stored->n[SUM_SLOTS],
		.slot_bytes = stored->n[SUM_SLOT_BYTES],
		.num_blobs = stored->n[SUM_BLOBS],
		.parity_bytes = stored->n[SUM_PARITY],
		.num_stripes = stored->n[SUM_STRIPES],
	};
	return read_end(cat, 0);
}
