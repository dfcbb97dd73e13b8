/*
 * MRMR: the catalogue: directories.
 *
 * A directory is a hash table that grows by one bucket at a time (linear
 * hashing): with n buckets, 2^l <= n < 2^(l+1), an entry of hash h is in bucket
 * h mod 2^(l+1), or h mod 2^l if there is no such bucket yet. When there are
 * more entries than PER_BUCKET for each bucket, one more is made, and takes
 * about half of what is in the bucket that it comes from; when there are few,
 * the last one goes back into that. So each insertion and removal changes a
 * handful of records, however large the directory is.
 *
 * A bucket is one record; the first also has the number of entries and of
 * buckets in front. Other buckets have a single zero byte there: a bucket that
 * there must be and is not is damage, not emptiness. A directory without
 * entries has no record.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "catalog_private.h"

#define PER_BUCKET 16
#define PER_BUCKET_MIN 5 /* fewer: one bucket less */
#define BUCKETS_MAX ((uint64_t)1 << 31)

uint32_t name_hash(struct mrmr_catalog *cat, uint64_t dir_id, const char *name,
		   size_t len)
{
	return (uint32_t)XXH3_64bits_withSeed(name, len,
					      cat->head.seed ^ dir_id);
}

/* The largest power of two that is not above n. */
static uint64_t power_below(uint64_t n)
{
	return (uint64_t)1 << (63 - __builtin_clzll(n));
}

uint64_t bucket_of(uint32_t hash, uint64_t num_buckets)
{
	uint64_t power = power_below(num_buckets);
	uint64_t bucket = hash & (2 * power - 1);

	return bucket < num_buckets ? bucket : hash & (power - 1);
}

/* The bucket that the last of n was split from. */
static uint64_t parent_of(uint64_t bucket)
{
	return bucket - power_below(bucket);
}

struct bucket {
	uint64_t dir_id;
	uint64_t number;
	uint64_t num_entries; /* of the directory, in the first bucket */
	uint64_t num_buckets;
	const uint8_t *record; /* NULL: there is none yet */
	struct unpack entries;
};

static int bucket_load(struct mrmr_catalog *cat, uint64_t dir_id,
		       uint64_t number, struct bucket *bucket)
{
	struct key key = key_of_numbers(RECORD_BUCKET, dir_id, number);
	const uint8_t *value = NULL;
	size_t len = 0;

	*bucket = (struct bucket){.dir_id = dir_id,
				  .number = number,
				  .num_buckets = 1};
	if (record_get(cat, &key, &value, &len) == -1) {
		if (errno == ENOENT && number == 0) {
			return 0;
		}
		if (errno == ENOENT) {
			return damaged_record(cat, "a directory");
		}
		return -1;
	}
	bucket->record = value;
	bucket->entries = unpack_of(value, len);
	bucket->num_entries = unpack_varint(&bucket->entries);
	if (number == 0) {
		bucket->num_buckets =
			unpack_upto(&bucket->entries, BUCKETS_MAX);
	}
	if (bucket->entries.bad || bucket->num_buckets == 0) {
		return damaged_record(cat, "a directory");
	}
	return 0;
}

/* False at the end; *bad if what is there is nonsense. */
static bool next_raw(struct unpack *entries, struct raw_entry *raw)
{
	if (unpack_left(entries) == 0) {
		return false;
	}
	raw->len = unpack_varint(entries);
	raw->raw = unpack_bytes(entries, raw->len);
	return !entries->bad;
}

static void pack_raw(struct pack *p, const uint8_t *raw, size_t len)
{
	pack_varint(p, len);
	pack_bytes(p, raw, len);
}

/* What is in front of the entries. */
static void pack_front(struct pack *p, uint64_t number, uint64_t num_entries,
		       uint64_t num_buckets)
{
	if (number == 0) {
		pack_varint(p, num_entries);
		pack_varint(p, num_buckets);
	} else {
		pack_varint(p, 0);
	}
}

static int put_bucket(struct mrmr_catalog *cat, uint64_t dir_id,
		      uint64_t number, struct pack *p)
{
	struct key key = key_of_numbers(RECORD_BUCKET, dir_id, number);

	return record_put_pack(cat, &key, p);
}

/* The numbers of entries and buckets, in the first bucket. */
static int put_counts(struct mrmr_catalog *cat, uint64_t dir_id,
		      uint64_t num_entries, uint64_t num_buckets)
{
	struct key key = key_of_numbers(RECORD_BUCKET, dir_id, 0);
	struct bucket bucket;
	struct pack p = {.mem_ctx = NULL};
	int ret;

	if (num_entries == 0 && num_buckets == 1) {
		return record_delete(cat, &key);
	}
	if (bucket_load(cat, dir_id, 0, &bucket) == -1) {
		return -1;
	}
	pack_front(&p, 0, num_entries, num_buckets);
	if (bucket.record == NULL || p.failed) {
		return put_bucket(cat, dir_id, 0, &p);
	}
	ret = record_splice(cat, &key, 0,
			    (size_t)(bucket.entries.at - bucket.record), p.data,
			    p.len);
	talloc_free(p.data);
	return ret;
}

static bool is_name(const struct raw_entry *raw, const char *name, size_t len,
		    bool *bad)
{
	const char *its_name = NULL;
	size_t its_len = 0;
	bool is_link;
	uint64_t id;

	if (!entry_peek(raw->raw, raw->len, &is_link, &id, &its_name,
			&its_len)) {
		*bad = true;
		return false;
	}
	return its_len == len && memcmp(its_name, name, len) == 0;
}

int dir_count(struct mrmr_catalog *cat, uint64_t dir_id, uint64_t *num_entries)
{
	struct bucket first;

	if (bucket_load(cat, dir_id, 0, &first) == -1) {
		return -1;
	}
	*num_entries = first.num_entries;
	return 0;
}

/* The bucket that has a hash. *first is the first one. */
static int load_for(struct mrmr_catalog *cat, uint64_t dir_id, uint32_t hash,
		    struct bucket *first, struct bucket *bucket)
{
	uint64_t number;

	if (bucket_load(cat, dir_id, 0, first) == -1) {
		return -1;
	}
	number = bucket_of(hash, first->num_buckets);
	if (number == 0) {
		*bucket = *first;
		return 0;
	}
	return bucket_load(cat, dir_id, number, bucket);
}

int dir_find(struct mrmr_catalog *cat, uint64_t dir_id, const char *name,
	     size_t len, struct entry *entry)
{
	uint32_t hash = name_hash(cat, dir_id, name, len);
	struct bucket first, bucket;
	struct raw_entry raw;
	bool bad = false;

	if (load_for(cat, dir_id, hash, &first, &bucket) == -1) {
		return -1;
	}
	while (next_raw(&bucket.entries, &raw)) {
		if (is_name(&raw, name, len, &bad)) {
			if (!entry_unpack(raw.raw, raw.len,
					  dir_id == MRMR_ID_TRASH, entry)) {
				return damaged_record(cat, "an entry");
			}
			return 0;
		}
	}
	if (bad || bucket.entries.bad) {
		return damaged_record(cat, "a directory");
	}
	errno = ENOENT;
	return -1;
}

int dir_find_id(struct mrmr_catalog *cat, uint64_t dir_id, uint32_t hash,
		uint64_t id, struct entry *entry)
{
	struct bucket first, bucket;
	struct raw_entry raw;

	if (load_for(cat, dir_id, hash, &first, &bucket) == -1) {
		return -1;
	}
	while (next_raw(&bucket.entries, &raw)) {
		const char *name = NULL;
		size_t len = 0;
		uint64_t its_id;
		bool is_link;

		if (!entry_peek(raw.raw, raw.len, &is_link, &its_id, &name,
				&len)) {
			break;
		}
		if (is_link || its_id != id) {
			continue;
		}
		if (!entry_unpack(raw.raw, raw.len, dir_id == MRMR_ID_TRASH,
				  entry)) {
			break;
		}
		return 0;
	}
	return damaged_record(cat, "the place of a node");
}

/* One bucket more, with what belongs there of the one it comes from. */
static int split(struct mrmr_catalog *cat, uint64_t dir_id,
		 uint64_t num_entries, uint64_t num_buckets)
{
	uint64_t from = parent_of(num_buckets);
	struct pack stay = {.mem_ctx = NULL};
	struct pack go = {.mem_ctx = NULL};
	struct bucket bucket;
	struct raw_entry raw;

	if (put_counts(cat, dir_id, num_entries, num_buckets + 1) == -1 ||
	    bucket_load(cat, dir_id, from, &bucket) == -1) {
		return -1;
	}
	pack_front(&stay, from, bucket.num_entries, bucket.num_buckets);
	pack_front(&go, num_buckets, 0, 0);
	while (next_raw(&bucket.entries, &raw)) {
		const char *name = NULL;
		size_t len = 0;
		uint64_t id;
		bool is_link;
		bool moves;

		if (!entry_peek(raw.raw, raw.len, &is_link, &id, &name, &len)) {
			bucket.entries.bad = true;
			break;
		}
		moves = bucket_of(name_hash(cat, dir_id, name, len),
				  num_buckets + 1) == num_buckets;
		pack_raw(moves ? &go : &stay, raw.raw, raw.len);
	}
	if (bucket.entries.bad) {
		talloc_free(stay.data);
		talloc_free(go.data);
		return damaged_record(cat, "a directory");
	}
	if (put_bucket(cat, dir_id, from, &stay) == -1) {
		talloc_free(go.data);
		return -1;
	}
	return put_bucket(cat, dir_id, num_buckets, &go);
}

/* One bucket less. */
static int merge(struct mrmr_catalog *cat, uint64_t dir_id,
		 uint64_t num_entries, uint64_t num_buckets)
{
	uint64_t last = num_buckets - 1;
	uint64_t into = parent_of(last);
	struct key key = key_of_numbers(RECORD_BUCKET, dir_id, last);
	struct pack p = {.mem_ctx = NULL};
	struct bucket from, to;

	if (bucket_load(cat, dir_id, into, &to) == -1 ||
	    bucket_load(cat, dir_id, last, &from) == -1) {
		return -1;
	}
	pack_front(&p, into, num_entries, num_buckets);
	pack_bytes(&p, to.entries.at, unpack_left(&to.entries));
	pack_bytes(&p, from.entries.at, unpack_left(&from.entries));
	if (put_bucket(cat, dir_id, into, &p) == -1 ||
	    record_delete(cat, &key) == -1) {
		return -1;
	}
	return put_counts(cat, dir_id, num_entries, last);
}

/* Where in the bucket's record the entry of a name is; ENOENT. */
static int find_bytes(struct mrmr_catalog *cat, const struct bucket *bucket,
		      const char *name, size_t name_len, size_t *at,
		      size_t *len)
{
	struct unpack entries = bucket->entries;
	struct raw_entry raw;
	bool bad = false;

	do {
		*at = (size_t)(entries.at - bucket->record);
		if (!next_raw(&entries, &raw)) {
			break;
		}
		if (is_name(&raw, name, name_len, &bad)) {
			*len = (size_t)(entries.at - bucket->record) - *at;
			return 0;
		}
	} while (!bad);
	if (bad || entries.bad) {
		return damaged_record(cat, "a directory");
	}
	errno = ENOENT;
	return -1;
}

/* As pack_raw(), of an entry; where in p, which is empty, it begins. */
static size_t pack_entry(struct pack *p, const struct entry *entry)
{
	uint8_t len[VARINT_MAX];
	size_t begin;

	(void)pack_room(p, VARINT_MAX);
	entry_pack(p, entry);
	begin = VARINT_MAX - varint_of(p->len - VARINT_MAX, len);
	if (!p->failed) {
		memcpy(p->data + begin, len, VARINT_MAX - begin);
	}
	return begin;
}

/* An entry (NULL: none) in place of these bytes of the bucket's record. */
static int splice(struct mrmr_catalog *cat, const struct bucket *bucket,
		  size_t at, size_t old_len, const struct entry *entry)
{
	struct key key =
		key_of_numbers(RECORD_BUCKET, bucket->dir_id, bucket->number);
	struct pack p = {.mem_ctx = NULL};
	size_t begin = 0;
	int ret = 0;

	if (entry != NULL) {
		begin = pack_entry(&p, entry);
	}
	if (p.failed) {
		errno = ENOMEM;
		ret = -1;
	}
	if (ret == 0) {
		ret = record_splice(cat, &key, at, old_len,
				    p.data != NULL ? p.data + begin : NULL,
				    p.len - begin);
	}
	talloc_free(p.data);
	return ret;
}

/* The first entry of a directory. */
static int begin_dir(struct mrmr_catalog *cat, uint64_t dir_id,
		     const struct entry *entry)
{
	struct pack one = {.mem_ctx = NULL};
	struct pack p = {.mem_ctx = NULL};

	entry_pack(&one, entry);
	pack_front(&p, 0, 1, 1);
	pack_raw(&p, one.data, one.failed ? 0 : one.len);
	p.failed = p.failed || one.failed;
	talloc_free(one.data);
	return put_bucket(cat, dir_id, 0, &p);
}

int dir_insert(struct mrmr_catalog *cat, uint64_t dir_id,
	       const struct entry *entry)
{
	uint32_t hash = name_hash(cat, dir_id, entry->name, entry->name_len);
	struct bucket first, bucket;
	uint64_t num;

	if (load_for(cat, dir_id, hash, &first, &bucket) == -1) {
		return -1;
	}
	if (bucket.record == NULL) {
		return begin_dir(cat, dir_id, entry);
	}
	num = first.num_entries + 1;
	if (splice(cat, &bucket, (size_t)(bucket.entries.end - bucket.record),
		   0, entry) == -1) {
		return -1;
	}
	if (num > first.num_buckets * PER_BUCKET &&
	    first.num_buckets < BUCKETS_MAX) {
		return split(cat, dir_id, num, first.num_buckets);
	}
	return put_counts(cat, dir_id, num, first.num_buckets);
}

int dir_replace(struct mrmr_catalog *cat, uint64_t dir_id,
		const struct entry *entry)
{
	uint32_t hash = name_hash(cat, dir_id, entry->name, entry->name_len);
	struct bucket first, bucket;
	size_t len = 0;
	size_t at = 0;

	if (load_for(cat, dir_id, hash, &first, &bucket) == -1) {
		return -1;
	}
	if (find_bytes(cat, &bucket, entry->name, entry->name_len, &at, &len) ==
	    -1) {
		return errno == ENOENT ? damaged_record(cat, "a directory")
				       : -1;
	}
	return splice(cat, &bucket, at, len, entry);
}

int dir_delete(struct mrmr_catalog *cat, uint64_t dir_id, const char *name,
	       size_t len)
{
	uint32_t hash = name_hash(cat, dir_id, name, len);
	struct bucket first, bucket;
	size_t entry_len = 0;
	size_t at = 0;
	uint64_t num;

	if (load_for(cat, dir_id, hash, &first, &bucket) == -1) {
		return -1;
	}
	if (first.num_entries == 0) {
		return damaged_record(cat, "a directory");
	}
	num = first.num_entries - 1;
	if (find_bytes(cat, &bucket, name, len, &at, &entry_len) == -1) {
		return errno == ENOENT ? damaged_record(cat, "a directory")
				       : -1;
	}
	if (splice(cat, &bucket, at, entry_len, NULL) == -1) {
		return -1;
	}
	if (first.num_buckets > 1 && num < first.num_buckets * PER_BUCKET_MIN) {
		return merge(cat, dir_id, num, first.num_buckets);
	}
	return put_counts(cat, dir_id, num, first.num_buckets);
}

/* --- walking ------------------------------------------------------------------- */

static uint32_t reverse(uint32_t n)
{
	n = __builtin_bswap32(n);
	n = (n & 0x0f0f0f0f) << 4 | (n & 0xf0f0f0f0) >> 4;
	n = (n & 0x33333333) << 2 | (n & 0xcccccccc) >> 2;
	n = (n & 0x55555555) << 1 | (n & 0xaaaaaaaa) >> 1;
	return n;
}

/* How many bits of the hash decide that it is in this bucket. */
static unsigned int depth_of(uint64_t bucket, uint64_t num_buckets)
{
	uint64_t power = power_below(num_buckets);
	unsigned int depth = 63 - (unsigned int)__builtin_clzll(power);

	/* split already, or made by a split in this round */
	if (bucket >= power || bucket + power < num_buckets) {
		depth++;
	}
	return depth;
}

int dir_step(struct mrmr_catalog *cat, void *mem_ctx, uint64_t dir_id,
	     uint64_t *cursor, struct raw_entry **entries, size_t *num,
	     bool *end)
{
	uint32_t hash = reverse((uint32_t)*cursor);
	struct bucket first, bucket;
	struct raw_entry raw;
	uint8_t *copy = NULL;
	size_t len;

	*num = 0;
	if (load_for(cat, dir_id, hash, &first, &bucket) == -1) {
		return -1;
	}
	/* what is handed out must not depend on the records in memory */
	len = unpack_left(&bucket.entries);
	copy = talloc_memdup(mem_ctx,
			     len > 0 ? bucket.entries.at : (const uint8_t *)"",
			     len > 0 ? len : 1);
	*entries = talloc_array(copy, struct raw_entry, len / 4 + 1);
	if (copy == NULL || *entries == NULL) {
		errno = ENOMEM;
		return -1;
	}
	bucket.entries = unpack_of(copy, len);
	while (next_raw(&bucket.entries, &raw)) {
		const char *name = NULL;
		size_t name_len = 0;
		uint64_t id;
		bool is_link;

		if (raw.len < 4 || !entry_peek(raw.raw, raw.len, &is_link, &id,
					       &name, &name_len)) {
			bucket.entries.bad = true;
			break;
		}
		if (reverse(name_hash(cat, dir_id, name, name_len)) >=
		    (uint32_t)*cursor) {
			(*entries)[(*num)++] = raw;
		}
	}
	if (bucket.entries.bad) {
		return damaged_record(cat, "a directory");
	}
	/* the range of this bucket ends where the next one's begins */
	*cursor = (uint64_t)reverse((uint32_t)bucket.number) +
		  ((uint64_t)1
		   << (32 - depth_of(bucket.number, first.num_buckets)));
	*end = *cursor > UINT32_MAX;
	return 0;
}
