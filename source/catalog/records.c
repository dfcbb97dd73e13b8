/*
 * MRMR: the catalogue: records in memory.
 *
 * Between begin and commit, changed records are here only, so that a batch that
 * puts a thousand files into one directory writes each of its buckets once.
 * What was read is kept as well, up to a limit.
 *
 * Records that are asked for one number at a time, pages of many, are kept as
 * what they say as well (struct form): a page is decoded once, and encoded once
 * for all that changes in it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
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
	void *decoded; /* NULL: nobody has asked yet */
	const struct form *form;
	bool is_dirty;
	bool is_stale; /* what it says is in decoded only, and value is NULL */
};

#define OVERHEAD 256 /* of memory, each */
#define SPARE 192

struct key key_of(enum record_type type)
{
	struct key key;

	/* what is behind its length is not looked at */
	key.len = 1;
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
	if (len > 0) {
		memcpy(key.byte + 1, bytes, len);
	}
	key.len = (uint8_t)(len + 1);
	return key;
}

static size_t slot_of(const struct mrmr_catalog *cat, const struct key *key)
{
	return XXH3_64bits(key->byte, key->len) & (cat->num_slots - 1);
}

static bool is_its_key(const struct record *r, const struct key *key)
{
	return r->key.len == key->len &&
	       memcmp(r->key.byte, key->byte, key->len) == 0;
}

static void forget_recent(struct mrmr_catalog *cat)
{
	memset(cat->recent, 0, sizeof(cat->recent));
}

/* Nodes are worked on in their order, so most of what is asked for was asked
   for a moment ago. */
static struct record *find(struct mrmr_catalog *cat, const struct key *key)
{
	unsigned int mix = key->byte[0] + key->byte[key->len - 1];
	struct record **recent = &cat->recent[mix % RECENT_RECORDS];
	struct record *r = *recent;

	if (r != NULL && is_its_key(r, key)) {
		return r;
	}
	if (cat->num_slots == 0) {
		return NULL;
	}
	for (r = cat->slots[slot_of(cat, key)]; r != NULL; r = r->next) {
		if (is_its_key(r, key)) {
			*recent = r;
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
	return r->len + OVERHEAD + (r->decoded != NULL ? r->form->bytes : 0);
}

/* Around all that changes what a record takes, or whether it is dirty. */
static void uncount(struct mrmr_catalog *cat, const struct record *r)
{
	*(r->is_dirty ? &cat->dirty_bytes : &cat->clean_bytes) -= bytes_of(r);
}

static void count(struct mrmr_catalog *cat, const struct record *r)
{
	*(r->is_dirty ? &cat->dirty_bytes : &cat->clean_bytes) += bytes_of(r);
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
	count(cat, r);
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
			cat->is_damaged = cat->is_damaged || errno == EILSEQ;
			return NULL;
		}
	} else if (len == 0) {
		talloc_free(value);
		damaged_record(cat, "an empty one");
		return NULL;
	}
	r = add(cat, key);
	if (r == NULL) {
		talloc_free(value);
		return NULL;
	}
	uncount(cat, r);
	r->value = talloc_steal(r, value);
	r->len = len;
	count(cat, r);
	return r;
}

/* Make the value what the decoded form says. */
static int encode(struct mrmr_catalog *cat, struct record *r)
{
	struct pack p = {.mem_ctx = r};

	if (!r->is_stale) {
		return 0;
	}
	r->form->encode(&p, r->decoded);
	if (p.failed) {
		talloc_free(p.data);
		errno = ENOMEM;
		return -1;
	}
	uncount(cat, r);
	if (p.len == 0) {
		TALLOC_FREE(p.data);
	}
	r->value = p.data;
	r->len = p.len;
	r->is_stale = false;
	count(cat, r);
	return 0;
}

int record_get(struct mrmr_catalog *cat, const struct key *key,
	       const uint8_t **value, size_t *len)
{
	struct record *r = load(cat, key);

	if (r == NULL || encode(cat, r) == -1) {
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

static struct record *load_decoded(struct mrmr_catalog *cat,
				   const struct key *key,
				   const struct form *form)
{
	struct record *r = load(cat, key);
	void *decoded = NULL;

	if (r == NULL || r->decoded != NULL) {
		return r;
	}
	decoded = talloc_zero_size(r, form->bytes);
	if (decoded == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	if (r->value != NULL && !form->decode(r->value, r->len, decoded)) {
		talloc_free(decoded);
		damaged_record(cat, form->what);
		return NULL;
	}
	uncount(cat, r);
	r->decoded = decoded;
	r->form = form;
	count(cat, r);
	return r;
}

const void *record_read(struct mrmr_catalog *cat, const struct key *key,
			const struct form *form)
{
	const struct record *r = load_decoded(cat, key, form);

	return r != NULL ? r->decoded : NULL;
}

void *record_change(struct mrmr_catalog *cat, const struct key *key,
		    const struct form *form)
{
	struct record *r = load_decoded(cat, key, form);

	if (r == NULL) {
		return NULL;
	}
	uncount(cat, r);
	TALLOC_FREE(r->value);
	r->len = 0;
	r->is_dirty = true;
	r->is_stale = true;
	count(cat, r);
	cat->num_puts++;
	return r->decoded;
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
	uncount(cat, r);
	TALLOC_FREE(r->decoded);
	talloc_free(r->value);
	r->value = talloc_steal(r, value);
	r->len = len;
	r->is_dirty = true;
	r->is_stale = false;
	count(cat, r);
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
		    struct pack *p)
{
	uint8_t *data = p->data;

	p->data = NULL;
	if (data != NULL && p->size - p->len > SPARE) {
		/* it may be kept for long */
		data = talloc_realloc(NULL, data, uint8_t, p->len);
	}
	if (p->failed || data == NULL) {
		talloc_free(data);
		errno = ENOMEM;
		return -1;
	}
	if (set(cat, key, data, p->len) == -1) {
		talloc_free(data);
		return -1;
	}
	return 0;
}

int record_splice(struct mrmr_catalog *cat, const struct key *key, size_t at,
		  size_t old_len, const uint8_t *bytes, size_t len)
{
	struct record *r = load(cat, key);
	size_t behind;

	if (r == NULL || encode(cat, r) == -1) {
		return -1;
	}
	if (r->value == NULL || at > r->len || old_len > r->len - at ||
	    r->len - old_len + len == 0) {
		errno = EINVAL;
		return -1;
	}
	behind = r->len - at - old_len;
	if (len > old_len) {
		size_t room = r->len - old_len + len;
		uint8_t *value = r->value;

		/* with some room, as more is likely to come */
		if (room > talloc_array_length(value)) {
			value = talloc_realloc(r, value, uint8_t, room + SPARE);
		}
		if (value == NULL) {
			errno = ENOMEM;
			return -1;
		}
		r->value = value;
	}
	uncount(cat, r);
	memmove(r->value + at + len, r->value + at + old_len, behind);
	if (len > 0) {
		memcpy(r->value + at, bytes, len);
	}
	r->len = r->len - old_len + len;
	TALLOC_FREE(r->decoded);
	r->is_dirty = true;
	count(cat, r);
	cat->num_puts++;
	return 0;
}

int record_delete(struct mrmr_catalog *cat, const struct key *key)
{
	return set(cat, key, NULL, 0);
}

static int compare_keys(const void *a_void, const void *b_void)
{
	const struct key *a = ((const struct change *)a_void)->key;
	const struct key *b = ((const struct change *)b_void)->key;
	int order = memcmp(a->byte, b->byte, a->len < b->len ? a->len : b->len);

	return order != 0 ? order : a->len - b->len;
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
		struct record *r = NULL;

		for (r = cat->slots[i]; r != NULL; r = r->next) {
			if (r->is_dirty) {
				if (encode(cat, r) == -1) {
					talloc_free(changes);
					return -1;
				}
				changes[num++] = (struct change){
					.key = &r->key,
					.value = r->value,
					.len = r->len,
				};
			}
		}
	}
	qsort(changes, num, sizeof(changes[0]), compare_keys);
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
	forget_recent(cat);
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
	forget_recent(cat);
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
