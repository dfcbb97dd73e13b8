/*
 * The store in memory.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "memory_store.h"

#define NUM_PLACES 4
#define NAME_MAX_LEN 64

struct record {
	struct key key;
	uint8_t *value; /* a talloc child of the records */
	size_t len;
};

/* What is under a name, whoever has it open. */
struct place {
	char name[NAME_MAX_LEN];
	struct record *records; /* talloc */
	size_t num;
};

struct store {
	struct place *place;
	bool may_write;
};

struct store_limits store_limits = {UINT64_MAX, UINT64_MAX, 0};

static struct place places[NUM_PLACES];

static struct place *place_of(const char *name, bool make)
{
	size_t i;

	for (i = 0; i < NUM_PLACES && places[i].name[0] != '\0'; i++) {
		if (strcmp(places[i].name, name) == 0) {
			return &places[i];
		}
	}
	if (!make) {
		return NULL;
	}
	FUZZ_MUST(i < NUM_PLACES && strlen(name) < NAME_MAX_LEN);
	strcpy(places[i].name, name);
	return &places[i];
}

static struct record *find(struct place *place, const struct key *key)
{
	size_t i;

	for (i = 0; i < place->num; i++) {
		const struct key *there = &place->records[i].key;

		if (there->len == key->len &&
		    memcmp(there->byte, key->byte, key->len) == 0) {
			return &place->records[i];
		}
	}
	return NULL;
}

static void put(struct place *place, const struct key *key,
		const uint8_t *value, size_t len)
{
	struct record *record = find(place, key);

	if (record == NULL) {
		place->records = talloc_realloc(NULL, place->records,
						struct record, place->num + 1);
		FUZZ_MUST(place->records != NULL);
		record = &place->records[place->num++];
		*record = (struct record){.key = *key};
	}
	talloc_free(record->value);
	/* of exactly this length, so that a read past it is seen */
	record->value = talloc_array(place->records, uint8_t, len);
	FUZZ_MUST(record->value != NULL);
	if (len > 0) {
		memcpy(record->value, value, len);
	}
	record->len = len;
}

static void drop(struct place *place, const struct key *key)
{
	struct record *record = find(place, key);

	if (record != NULL) {
		talloc_free(record->value);
		*record = place->records[--place->num];
	}
}

void memory_store_fill(const char *name, struct fuzz_input *records)
{
	struct place *place = place_of(name, true);

	while (records->left > 0) {
		struct key key = {.len = fuzz_byte(records)};
		const uint8_t *bytes = NULL;
		size_t got = 0;

		key.len = key.len % (KEY_MAX + 1);
		bytes = fuzz_bytes(records, key.len, &got);
		key.len = (uint8_t)got;
		memcpy(key.byte, bytes, got);
		bytes = fuzz_bytes(records, fuzz_two_bytes(records), &got);
		if (key.len > 0 && got > 0) {
			put(place, &key, bytes, got);
		}
	}
}

void memory_store_forget(void)
{
	size_t i;

	for (i = 0; i < NUM_PLACES; i++) {
		talloc_free(places[i].records);
		places[i] = (struct place){0};
	}
}

/* --- store.h -------------------------------------------------------------------- */

struct store *store_open(void *mem_ctx, int dir_fd,
			 const struct store_shape *shape, bool *is_new,
			 struct mrmr_error *err)
{
	struct place *place = place_of(shape->name, shape->may_write);
	struct store *store = NULL;

	if (place == NULL || (place->num == 0 && !shape->may_write)) {
		mrmr_error_set(err, ENOENT, "there is none");
		return NULL;
	}
	store = talloc_zero(mem_ctx, struct store);
	FUZZ_MUST(store != NULL);
	store->place = place;
	store->may_write = shape->may_write;
	*is_new = place->num == 0;
	return store;
}

int store_fetch(struct store *store, const struct key *key, void *mem_ctx,
		uint8_t **value, size_t *len)
{
	const struct record *record = find(store->place, key);

	if (record == NULL) {
		errno = ENOENT;
		return -1;
	}
	*value = talloc_memdup(mem_ctx, record->value, record->len);
	*len = record->len;
	FUZZ_MUST(*value != NULL);
	return 0;
}

int store_write(struct store *store, const struct change *changes,
		size_t num_changes)
{
	size_t i;

	FUZZ_MUST(store->may_write);
	for (i = 0; i < num_changes; i++) {
		if (changes[i].value == NULL) {
			drop(store->place, changes[i].key);
		} else {
			FUZZ_MUST(changes[i].len > 0);
			put(store->place, changes[i].key, changes[i].value,
			    changes[i].len);
		}
	}
	return 0;
}

int store_lock(struct store *store, bool *has_changed)
{
	*has_changed = false;
	return 0;
}

void store_unlock(struct store *store)
{
}

void store_doubt(struct store *store)
{
}

int store_check(struct store *store,
		int (*fn)(const uint8_t *key, size_t key_len,
			  const uint8_t *value, size_t len, void *private_data),
		void *private_data, struct mrmr_error *err)
{
	size_t i;

	for (i = 0; fn != NULL && i < store->place->num; i++) {
		const struct record *record = &store->place->records[i];

		if (fn(record->key.byte, record->key.len, record->value,
		       record->len, private_data) != 0) {
			return mrmr_error_set(err, EILSEQ, "a bad record");
		}
	}
	return 0;
}

int store_replace(struct store *store, struct store *from)
{
	talloc_free(store->place->records);
	store->place->records = from->place->records;
	store->place->num = from->place->num;
	from->place->records = NULL;
	from->place->num = 0;
	talloc_free(from);
	return 0;
}

int store_unlink(struct store *store, const char *name)
{
	struct place *place = place_of(name, false);

	if (place != NULL) {
		talloc_free(place->records);
		place->records = NULL;
		place->num = 0;
	}
	return 0;
}

int store_dir_fd(const struct store *store)
{
	return -1;
}

const char *store_name(const struct store *store)
{
	return store->place->name;
}
