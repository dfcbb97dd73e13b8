/*
 * MRMR: the catalogue: records in memory.
 *
 * Between begin and commit, changed records are here only, so that a batch that
 * puts a thousand files into one directory writes each of its buckets once.
 * What was read is kept as well, up to a limit.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "catalog_private.h"

struct record {
	struct record *next;
	struct key key;
	uint8_t *value; /* NULL: there is none */
	size_t len;
	bool is_dirty;
};

#define OVERHEAD 256 /* of memory, each */

struct key key_of(enum record_type type)
{
	struct key key = {.len = 1};

	key.byte[0] = (uint8_t)type;
	return key;
}

static void add_varint(struct key *key, uint64_t n)
{
	while (n >= 0x80) {
		key->byte[key->len++] = (uint8_t)(n | 0x80);
		n >>= 7;
	}
	key->byte[key->len++] = (uint8_t)n;
}

struct key key_of_number(enum record_type type, uint64_t n)
{
	struct key key = key_of(type);

	add_varint(&key, n);
	return key;
}

struct key key_of_numbers(enum record_type type, uint64_t a, uint64_t b)
{
	struct key key = key_of_number(type, a);

	add_varint(&key, b);
	return key;
}

struct key key_of_bytes(enum record_type type, const void *bytes, size_t len)
{
	struct key key = key_of(type);

	if (len > KEY_MAX - 1) {
		len = KEY_MAX - 1;
	}
	memcpy(key.byte + 1, bytes, len);
	key.len = (uint8_t)(len + 1);
	return key;
}

static size_t slot_of(const struct mrmr_catalog *cat, const struct key *key)
{
	return XXH3_64bits(key->byte, key->len) & (cat->num_slots - 1);
}

static struct record *find(const struct mrmr_catalog *cat,
			   const struct key *key)
{
	struct record *r = NULL;

	if (cat->num_slots == 0) {
		return NULL;
	}
	for (r = cat->slots[slot_of(cat, key)]; r != NULL; r = r->next) {
		if (r->key.len == key->len &&
		    memcmp(r->key.byte, key->byte, key->len) == 0) {
			return r;
		}
	}
	return NULL;
}

static int grow(struct mrmr_catalog *cat)
{
	size_t num = cat->num_slots == 0 ? 1024 : 4 * cat->num_slots;
	struct record **old = cat->slots;
	size_t num_old = cat->num_slots;
	size_t i;

	if (cat->records_ctx == NULL) {
		cat->records_ctx = talloc_new(cat);
	}
	cat->slots = talloc_zero_array(cat->records_ctx, struct record *, num);
	if (cat->slots == NULL) {
		cat->slots = old;
		errno = ENOMEM;
		return -1;
	}
	cat->num_slots = num;
	for (i = 0; i < num_old; i++) {
		struct record *r = old[i];

		while (r != NULL) {
			struct record *next = r->next;
			size_t slot = slot_of(cat, &r->key);

			r->next = cat->slots[slot];
			cat->slots[slot] = r;
			r = next;
		}
	}
	talloc_free(old);
	return 0;
}

static size_t bytes_of(const struct record *r)
{
	return r->len + OVERHEAD;
}

static struct record *add(struct mrmr_catalog *cat, const struct key *key)
{
	struct record *r = NULL;
	size_t slot;

	if (cat->num_records >= 2 * cat->num_slots && grow(cat) == -1) {
		return NULL;
	}
	r = talloc_zero(cat->records_ctx, struct record);
	if (r == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	r->key = *key;
	slot = slot_of(cat, key);
	r->next = cat->slots[slot];
	cat->slots[slot] = r;
	cat->num_records++;
	cat->clean_bytes += bytes_of(r);
	return r;
}

/* The record of this key in memory, from the store if need be. */
static struct record *load(struct mrmr_catalog *cat, const struct key *key)
{
	struct record *r = find(cat, key);
	uint8_t *value = NULL;
	size_t len = 0;

	if (r != NULL) {
		return r;
	}
	if (store_fetch(cat->store, key, NULL, &value, &len) == -1) {
		if (errno != ENOENT) {
			return NULL;
		}
	} else if (len == 0) {
		talloc_free(value);
		errno = EILSEQ;
		return NULL;
	}
	r = add(cat, key);
	if (r == NULL) {
		talloc_free(value);
		return NULL;
	}
	r->value = talloc_steal(r, value);
	r->len = len;
	cat->clean_bytes += len;
	return r;
}

int record_get(struct mrmr_catalog *cat, const struct key *key,
	       const uint8_t **value, size_t *len)
{
	struct record *r = load(cat, key);

	if (r == NULL) {
		return -1;
	}
	if (r->value == NULL) {
		errno = ENOENT;
		return -1;
	}
	*value = r->value;
	*len = r->len;
	return 0;
}

/* The record becomes what value (to be owned) says. */
static int set(struct mrmr_catalog *cat, const struct key *key, uint8_t *value,
	       size_t len)
{
	struct record *r = find(cat, key);

	if (r == NULL) {
		r = add(cat, key);
		if (r == NULL) {
			return -1;
		}
	}
	if (r->is_dirty) {
		cat->dirty_bytes -= bytes_of(r);
	} else {
		cat->clean_bytes -= bytes_of(r);
	}
	talloc_free(r->value);
	r->value = talloc_steal(r, value);
	r->len = len;
	r->is_dirty = true;
	cat->dirty_bytes += bytes_of(r);
	cat->num_puts++;
	return 0;
}

int record_put(struct mrmr_catalog *cat, const struct key *key,
	       const uint8_t *value, size_t len)
{
	uint8_t *copy = talloc_memdup(NULL, value, len);

	if (copy == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (set(cat, key, copy, len) == -1) {
		talloc_free(copy);
		return -1;
	}
	return 0;
}

int record_put_pack(struct mrmr_catalog *cat, const struct key *key,
		    const struct pack *p)
{
	if (p->failed) {
		errno = ENOMEM;
		return -1;
	}
	return record_put(cat, key, p->data, p->len);
}

int record_delete(struct mrmr_catalog *cat, const struct key *key)
{
	return set(cat, key, NULL, 0);
}

int records_write(struct mrmr_catalog *cat)
{
	struct change *changes = NULL;
	size_t num = 0;
	size_t i;
	int ret;

	changes = talloc_array(NULL, struct change, cat->num_records + 1);
	if (changes == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < cat->num_slots; i++) {
		const struct record *r = NULL;

		for (r = cat->slots[i]; r != NULL; r = r->next) {
			if (r->is_dirty) {
				changes[num++] = (struct change){
					.key = &r->key,
					.value = r->value,
					.len = r->len,
				};
			}
		}
	}
	ret = store_write(cat->store, changes, num);
	talloc_free(changes);
	if (ret == -1) {
		return -1;
	}
	for (i = 0; i < cat->num_slots; i++) {
		struct record *r = NULL;

		for (r = cat->slots[i]; r != NULL; r = r->next) {
			r->is_dirty = false;
		}
	}
	cat->clean_bytes += cat->dirty_bytes;
	cat->dirty_bytes = 0;
	return 0;
}

void records_drop(struct mrmr_catalog *cat)
{
	TALLOC_FREE(cat->records_ctx);
	cat->slots = NULL;
	cat->num_slots = 0;
	cat->num_records = 0;
	cat->clean_bytes = 0;
	cat->dirty_bytes = 0;
}

void records_trim(struct mrmr_catalog *cat)
{
	size_t i;

	if (cat->clean_bytes <= cat->clean_bytes_max) {
		return;
	}
	if (cat->dirty_bytes == 0) {
		records_drop(cat);
		return;
	}
	for (i = 0; i < cat->num_slots; i++) {
		struct record **link = &cat->slots[i];

		while (*link != NULL) {
			struct record *r = *link;

			if (r->is_dirty) {
				link = &r->next;
				continue;
			}
			*link = r->next;
			talloc_free(r);
			cat->num_records--;
		}
	}
	cat->clean_bytes = 0;
}
