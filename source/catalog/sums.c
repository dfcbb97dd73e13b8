/*
 * MRMR: the catalogue: how much of what there is, kept as records change.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include "catalog_private.h"

static int load(struct mrmr_catalog *cat, uint16_t member,
		uint64_t sums[NUM_SUMS])
{
	struct key key = key_of_number(RECORD_SUMS, member);
	const uint8_t *value = NULL;
	struct unpack u = {.bad = false};
	size_t len = 0;
	size_t i;

	if (record_get(cat, &key, &value, &len) == 0) {
		u = unpack_of(value, len);
	} else if (errno != ENOENT) {
		return -1;
	}
	for (i = 0; i < NUM_SUMS; i++) {
		sums[i] = value != NULL ? unpack_varint(&u) : 0;
	}
	return unpack_done(&u) ? 0 : damaged_record(cat, "sums");
}

static int add(struct mrmr_catalog *cat, uint16_t member,
	       const int64_t delta[NUM_SUMS])
{
	struct key key = key_of_number(RECORD_SUMS, member);
	struct pack p = {.mem_ctx = NULL};
	uint64_t sums[NUM_SUMS];
	size_t i;
	int ret;

	if (load(cat, member, sums) == -1) {
		return -1;
	}
	for (i = 0; i < NUM_SUMS; i++) {
		if (delta[i] < 0 && (uint64_t)-delta[i] > sums[i]) {
			talloc_free(p.data);
			return damaged_record(cat, "sums");
		}
		pack_varint(&p, sums[i] + (uint64_t)delta[i]);
	}
	ret = record_put_pack(cat, &key, &p);
	talloc_free(p.data);
	return ret;
}

int sums_add(struct mrmr_catalog *cat, uint16_t member,
	     const int64_t delta[NUM_SUMS])
{
	if (member != MRMR_MEMBER_NONE && add(cat, member, delta) == -1) {
		return -1;
	}
	return add(cat, MRMR_MEMBER_NONE, delta);
}

int sums_node(struct mrmr_catalog *cat, const struct entry *entry,
	      uint64_t dir_id, int sign)
{
	int64_t delta[NUM_SUMS] = {0};

	if (entry->kind != MRMR_NODE_FILE) {
		return 0;
	}
	if (dir_id == MRMR_ID_TRASH) {
		delta[SUM_TRASH] = sign * (int64_t)entry->size_bytes;
	} else {
		delta[SUM_FILES] = sign;
		delta[SUM_FILE_BYTES] = sign * (int64_t)entry->size_bytes;
		delta[SUM_PROTECTED] = sign * (int64_t)entry->protected_bytes;
	}
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
	uint64_t n[NUM_SUMS] = {0};
	int ret;

	if (read_begin(cat) == -1) {
		return -1;
	}
	ret = load(cat, member, n);
	*sums = (struct mrmr_catalog_sums){
		.num_files = n[SUM_FILES],
		.file_bytes = n[SUM_FILE_BYTES],
		.protected_bytes = n[SUM_PROTECTED],
		.trash_bytes = n[SUM_TRASH],
		.num_slots = n[SUM_SLOTS],
		.slot_bytes = n[SUM_SLOT_BYTES],
		.num_blobs = n[SUM_BLOBS],
		.parity_bytes = n[SUM_PARITY],
		.num_stripes = n[SUM_STRIPES],
	};
	return read_end(cat, ret);
}
