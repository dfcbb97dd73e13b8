/*
 * MRMR: the catalogue: which stripes name a parity block.
 *
 * A hash table over all rows that grows as directories do (dirs.c), of four
 * bytes of the block's SHA-256 and the stripe's id. What it finds is compared
 * with the stripe, which has all of it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "catalog_private.h"

#define PER_BUCKET 64
#define PER_BUCKET_MIN 20
#define BUCKETS_MAX ((uint64_t)1 << 31)

struct blob {
	uint32_t hash;
	uint64_t stripe;
};

static uint32_t hash_of(const uint8_t sha256[32])
{
	struct unpack u = unpack_of(sha256, 4);

	return (uint32_t)unpack_fixed(&u, 4);
}

/* The blobs of a bucket; *num may be 0. */
static int bucket_load(struct mrmr_catalog *cat, uint64_t number, void *mem_ctx,
		       struct blob **blobs, size_t *num)
{
	struct key key = key_of_number(RECORD_BLOBS, number);
	const uint8_t *value = NULL;
	struct unpack u;
	size_t len = 0;
	uint64_t n = 0;
	size_t i;

	u = unpack_of(NULL, 0);
	if (record_get(cat, &key, &value, &len) == 0) {
		u = unpack_of(value, len);
		n = unpack_upto(&u, len);
	} else if (errno != ENOENT) {
		return -1;
	} else if (number > 0 || cat->head.num_blobs > 0) {
		return damaged_record(cat, "the index of parity");
	}
	*blobs = talloc_array(mem_ctx, struct blob, n + 1);
	if (*blobs == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < n; i++) {
		(*blobs)[i].hash = (uint32_t)unpack_fixed(&u, 4);
		(*blobs)[i].stripe = unpack_upto(&u, ID_MAX - 1);
	}
	if (!unpack_done(&u)) {
		TALLOC_FREE(*blobs);
		return damaged_record(cat, "the index of parity");
	}
	*num = n;
	return 0;
}

static int bucket_save(struct mrmr_catalog *cat, uint64_t number,
		       const struct blob *blobs, size_t num)
{
	struct key key = key_of_number(RECORD_BLOBS, number);
	struct pack p = {.mem_ctx = NULL};
	size_t i;

	pack_varint(&p, num);
	for (i = 0; i < num; i++) {
		pack_fixed(&p, blobs[i].hash, 4);
		pack_varint(&p, blobs[i].stripe);
	}
	return record_put_pack(cat, &key, &p);
}

static uint64_t parent_of(uint64_t bucket)
{
	return bucket - ((uint64_t)1 << (63 - __builtin_clzll(bucket)));
}

static int split(struct mrmr_catalog *cat, void *frame)
{
	uint64_t last = cat->head.num_blob_buckets;
	struct blob *blobs = NULL;
	struct blob *go = NULL;
	size_t num = 0;
	size_t num_go = 0;
	size_t num_stay = 0;
	size_t i;

	if (bucket_load(cat, parent_of(last), frame, &blobs, &num) == -1) {
		return -1;
	}
	go = talloc_array(frame, struct blob, num + 1);
	if (go == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < num; i++) {
		if (bucket_of(blobs[i].hash, last + 1) == last) {
			go[num_go++] = blobs[i];
		} else {
			blobs[num_stay++] = blobs[i];
		}
	}
	if (bucket_save(cat, parent_of(last), blobs, num_stay) == -1 ||
	    bucket_save(cat, last, go, num_go) == -1) {
		return -1;
	}
	cat->head.num_blob_buckets++;
	return 0;
}

static int merge(struct mrmr_catalog *cat, void *frame)
{
	uint64_t last = cat->head.num_blob_buckets - 1;
	struct key key = key_of_number(RECORD_BLOBS, last);
	struct blob *into = NULL;
	struct blob *from = NULL;
	size_t num_into = 0;
	size_t num_from = 0;

	if (bucket_load(cat, parent_of(last), frame, &into, &num_into) == -1 ||
	    bucket_load(cat, last, frame, &from, &num_from) == -1) {
		return -1;
	}
	into = talloc_realloc(frame, into, struct blob,
			      num_into + num_from + 1);
	if (into == NULL) {
		errno = ENOMEM;
		return -1;
	}
	memcpy(into + num_into, from, num_from * sizeof(into[0]));
	if (bucket_save(cat, parent_of(last), into, num_into + num_from) ==
		    -1 ||
	    record_delete(cat, &key) == -1) {
		return -1;
	}
	cat->head.num_blob_buckets--;
	return 0;
}

static int add(struct mrmr_catalog *cat, void *frame, uint32_t hash,
	       uint64_t id)
{
	uint64_t number = bucket_of(hash, cat->head.num_blob_buckets);
	struct blob *blobs = NULL;
	size_t num = 0;

	if (bucket_load(cat, number, frame, &blobs, &num) == -1) {
		return -1;
	}
	blobs[num++] = (struct blob){.hash = hash, .stripe = id};
	if (bucket_save(cat, number, blobs, num) == -1) {
		return -1;
	}
	cat->head.num_blobs++;
	cat->head_is_dirty = true;
	if (cat->head.num_blobs > cat->head.num_blob_buckets * PER_BUCKET &&
	    cat->head.num_blob_buckets < BUCKETS_MAX) {
		return split(cat, frame);
	}
	return 0;
}

int blobs_add(struct mrmr_catalog *cat, const uint8_t sha256[32], uint64_t id)
{
	void *frame = talloc_new(NULL);
	int ret = add(cat, frame, hash_of(sha256), id);

	talloc_free(frame);
	return ret;
}

static int remove_blob(struct mrmr_catalog *cat, void *frame, uint32_t hash,
		       uint64_t id)
{
	uint64_t number = bucket_of(hash, cat->head.num_blob_buckets);
	struct blob *blobs = NULL;
	size_t num = 0;
	size_t i;

	if (bucket_load(cat, number, frame, &blobs, &num) == -1) {
		return -1;
	}
	for (i = 0; i < num; i++) {
		if (blobs[i].hash == hash && blobs[i].stripe == id) {
			break;
		}
	}
	if (i == num || cat->head.num_blobs == 0) {
		return damaged_record(cat, "the index of parity");
	}
	blobs[i] = blobs[num - 1];
	if (bucket_save(cat, number, blobs, num - 1) == -1) {
		return -1;
	}
	cat->head.num_blobs--;
	cat->head_is_dirty = true;
	if (cat->head.num_blob_buckets > 1 &&
	    cat->head.num_blobs < cat->head.num_blob_buckets * PER_BUCKET_MIN) {
		return merge(cat, frame);
	}
	return 0;
}

int blobs_remove(struct mrmr_catalog *cat, const uint8_t sha256[32],
		 uint64_t id)
{
	void *frame = talloc_new(NULL);
	int ret = remove_blob(cat, frame, hash_of(sha256), id);

	talloc_free(frame);
	return ret;
}

static int count_rows(struct mrmr_catalog *cat, void *frame, uint64_t id,
		      uint16_t member, const uint8_t sha256[32], uint32_t *uses)
{
	struct stored_stripe stored;
	uint32_t i;

	if (stripe_load(cat, frame, id, &stored) == -1) {
		return errno == ENOENT
			       ? damaged_record(cat, "the index of parity")
			       : -1;
	}
	for (i = 0; i < stored.stripe->num_rows; i++) {
		const struct mrmr_row *row = &stored.stripe->rows[i];

		if (row->member == member &&
		    memcmp(row->sha256, sha256, 32) == 0) {
			(*uses)++;
		}
	}
	talloc_free(stored.stripe);
	return 0;
}

/* Two rows of a stripe may have the same four bytes. */
static bool is_first(const struct blob *blobs, size_t i)
{
	size_t j;

	for (j = 0; j < i; j++) {
		if (blobs[j].hash == blobs[i].hash &&
		    blobs[j].stripe == blobs[i].stripe) {
			return false;
		}
	}
	return true;
}

static int count_uses(struct mrmr_catalog *cat, void *frame, uint16_t member,
		      const uint8_t sha256[32], uint32_t *uses)
{
	uint32_t hash = hash_of(sha256);
	uint64_t number = bucket_of(hash, cat->head.num_blob_buckets);
	struct blob *blobs = NULL;
	size_t num = 0;
	size_t i;

	*uses = 0;
	if (bucket_load(cat, number, frame, &blobs, &num) == -1) {
		return -1;
	}
	for (i = 0; i < num; i++) {
		if (blobs[i].hash == hash && is_first(blobs, i) &&
		    count_rows(cat, frame, blobs[i].stripe, member, sha256,
			       uses) == -1) {
			return -1;
		}
	}
	return 0;
}

int mrmr_catalog_blob_uses(struct mrmr_catalog *cat, uint16_t member,
			   const uint8_t sha256[32], uint32_t *uses)
{
	void *frame = NULL;
	int ret;

	if (read_begin(cat) == -1) {
		return -1;
	}
	frame = talloc_new(NULL);
	ret = count_uses(cat, frame, member, sha256, uses);
	talloc_free(frame);
	return read_end(cat, ret);
}
