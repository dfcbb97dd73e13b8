/*
 * MRMR: the catalogue: changes to records, in the files where they belong.
 *
 * The theory is in store.c.
 *
 * tdb asks for a quarter more than a new record needs, so that it can grow. Our
 * records are many of the same kind packed together, most are never written
 * again once they are full, and a quarter of everything is a lot: so a record
 * that is new is first stored with four fifths of its length, and then again,
 * which tdb does in place.
 *
 * tdb looks for room by going through its list of free pieces; a piece that gets
 * free becomes one with the free piece before it. So changes come sorted by
 * their keys: records that are changed together mostly lie together, and what
 * they leave when they become larger is one piece, of which others are cut. In
 * another order each leaves a piece that is too small for the next, and the list
 * becomes as long as the records are many. And what goes or becomes larger is
 * taken out before anything is put, else the file grows before there is room in
 * it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>
#include <tdb.h>

#include <mrmr/fault.h>
#include <mrmr/file.h>

#include "pack.h"
#include "store_private.h"

/* With what the records of a file take, and with its length, at which it takes
   no new ones. tdb grows files by a tenth, and cannot beyond 4 GiB. */
struct store_limits store_limits = {
	.live_bytes = UINT64_C(2) << 30,
	.file_bytes = UINT64_C(3) << 30,
	/* With the most records that go into one (a few hundred thousand) a
	   chain has a handful; the table takes half a megabyte. */
	.hash_size = 131071,
};

#ifdef MRMR_WITH_FAULTS
/* A trial, whose pool is small, has its stores go on in more files. */
__attribute__((constructor)) static void take_limit(void)
{
	const char *text = getenv("MRMR_FAULT_STORE_BYTES");

	if (text != NULL) {
		store_limits.live_bytes = strtoull(text, NULL, 10);
	}
}
#endif

/* --- one record --------------------------------------------------------------- */

static int put_record(struct tdb_context *tdb, const struct change *change,
		      bool is_there)
{
	TDB_DATA key = tdb_key(change->key);
	uint8_t sum_bytes[CHECKSUM_BYTES];
	TDB_DATA parts[2] = {
		{.dptr = (unsigned char *)change->value, .dsize = change->len},
		{.dptr = sum_bytes, .dsize = CHECKSUM_BYTES},
	};
	uint32_t sum = store_checksum(key, change->value, change->len);
	size_t i;

	for (i = 0; i < CHECKSUM_BYTES; i++) {
		sum_bytes[i] = (uint8_t)(sum >> (8 * i));
	}
	if (!is_there) {
		/* what tdb takes for it: 5/4 of key and data, and a word */
		size_t need = key.dsize + change->len + CHECKSUM_BYTES;
		size_t ask = (need * 4 + 4) / 5;
		TDB_DATA first = {
			.dptr = (unsigned char *)change->value,
			.dsize = ask > key.dsize ? ask - key.dsize : 0,
		};

		if (first.dsize > change->len) {
			first.dsize = change->len;
		}
		if (tdb_store(tdb, key, first, TDB_INSERT) == -1) {
			return -1;
		}
	}
	return tdb_storev(tdb, key, parts, 2, TDB_REPLACE);
}

int store_change_record(struct tdb_context *tdb, const struct change *change,
			bool is_there)
{
	if (change->value != NULL) {
		return put_record(tdb, change, is_there);
	}
	if (tdb_delete(tdb, tdb_key(change->key)) == -1 &&
	    tdb_error(tdb) != TDB_ERR_NOEXIST) {
		return -1;
	}
	return 0;
}

/* --- where a record goes -------------------------------------------------------- */

static int take_len(TDB_DATA key, TDB_DATA data, void *private_data)
{
	*(size_t *)private_data = data.dsize;
	return 0;
}

/* The file that has the record, and what it takes there. ENOENT. */
static int find_record(struct store *store, const struct key *key, size_t *file,
		       uint64_t *bytes)
{
	size_t i = store->num_files;
	size_t len = 0;

	while (i-- > 0) {
		struct tdb_context *tdb = store->files[i].tdb;

		errno = 0;
		if (tdb_parse_record(tdb, tdb_key(key), take_len, &len) == 0) {
			*file = i;
			*bytes = store_record_bytes(
				key->len, len < CHECKSUM_BYTES
						  ? 0
						  : len - CHECKSUM_BYTES);
			return 0;
		}
		if (tdb_error(tdb) != TDB_ERR_NOEXIST) {
			errno = store_errno(tdb, errno);
			return -1;
		}
	}
	errno = ENOENT;
	return -1;
}

static bool has_room(const struct store *store, size_t file)
{
	struct stat st = {0};

	return store->files[file].live_bytes < store_limits.live_bytes &&
	       fstat(tdb_fd(store->files[file].tdb), &st) == 0 &&
	       (uint64_t)st.st_size < store_limits.file_bytes;
}

static int begin(struct commit *c, size_t file)
{
	struct tdb_context *tdb = c->store->files[file].tdb;

	if (c->is_used[file]) {
		return 0;
	}
	errno = 0;
	if (tdb_transaction_start(tdb) == -1) {
		errno = store_errno(tdb, errno);
		return -1;
	}
	c->is_used[file] = true;
	return 0;
}

/* One more file. Until the commit, the store does not know of it. */
static int add_file(struct commit *c, size_t *file)
{
	struct store *store = c->store;
	char name[KEY_MAX + 64];

	*file = store->num_files;
	if (*file == STORE_FILES_MAX) {
		errno = EFBIG;
		return -1;
	}
	store_file_name(store, *file, name);
	if (unlinkat(store->dir_fd, name, 0) == -1 && errno != ENOENT) {
		return -1;
	}
	store->files[*file].live_bytes = 0;
	if (mrmr_fault("catalog-file-new") != 0 ||
	    store_open_file(store, *file, true, NULL) == -1) {
		return -1;
	}
	return mrmr_file_sync_directory(store->dir_fd);
}

/* For a new record: the first file that has room. */
static int choose_file(struct commit *c, size_t *file)
{
	struct store *store = c->store;

	for (*file = 0; *file < store->num_files; (*file)++) {
		if (has_room(store, *file)) {
			return 0;
		}
	}
	return add_file(c, file);
}

static int change_in(struct commit *c, size_t file, const struct change *change,
		     bool is_there)
{
	struct tdb_context *tdb = c->store->files[file].tdb;

	if (begin(c, file) == -1) {
		return -1;
	}
	if (c->num_placed == c->max_placed) {
		size_t max = 2 * c->max_placed + 64;
		struct placed *more =
			talloc_realloc(c->frame, c->placed, struct placed, max);

		if (more == NULL) {
			errno = ENOMEM;
			return -1;
		}
		c->placed = more;
		c->max_placed = max;
	}
	c->placed[c->num_placed++] =
		(struct placed){.file = file, .change = change};
	errno = 0;
	if (store_change_record(tdb, change, is_there) == -1) {
		errno = store_errno(tdb, errno);
		return -1;
	}
	return 0;
}

/* What is to be done with a record. */
struct step {
	size_t file; /* that it is in, or comes back to */
	bool has_file;
	bool is_there;
	uint64_t old_bytes; /* that it took in this file */
};

static int forget_record(struct commit *c, size_t file, const struct key *key)
{
	struct tdb_context *tdb = c->store->files[file].tdb;

	if (begin(c, file) == -1) {
		return -1;
	}
	errno = 0;
	if (tdb_delete(tdb, tdb_key(key)) == -1) {
		errno = store_errno(tdb, errno);
		return -1;
	}
	return 0;
}

static int move_out(struct commit *c, size_t file, const struct key *key)
{
	struct change *gone = talloc(c->frame, struct change);

	if (gone == NULL) {
		errno = ENOMEM;
		return -1;
	}
	*gone = (struct change){.key = key};
	return change_in(c, file, gone, true);
}

/* First, what leaves its place. */
static int clear(struct commit *c, const struct change *change,
		 struct step *step)
{
	struct store *store = c->store;
	uint64_t new_bytes = store_record_bytes(change->key->len, change->len);

	*step = (struct step){.is_there = false};
	if (find_record(store, change->key, &step->file, &step->old_bytes) ==
	    -1) {
		return errno == ENOENT ? 0 : -1;
	}
	step->has_file = true;
	step->is_there = true;
	if (change->value != NULL && new_bytes <= step->old_bytes) {
		return 0;
	}
	step->is_there = false;
	if (change->value != NULL && has_room(store, step->file)) {
		/* what will be put says all that is to be said of it */
		return forget_record(c, step->file, change->key);
	}
	/* a full file grows no more */
	step->has_file = false;
	store->files[step->file].live_bytes -= step->old_bytes;
	return move_out(c, step->file, change->key);
}

/* Then, what is to be there. */
static int place(struct commit *c, const struct change *change,
		 struct step *step)
{
	struct store *store = c->store;

	if (change->value == NULL) {
		return 0;
	}
	if (!step->has_file) {
		step->old_bytes = 0;
		if (choose_file(c, &step->file) == -1) {
			return -1;
		}
	}
	store->files[step->file].live_bytes +=
		store_record_bytes(change->key->len, change->len) -
		step->old_bytes;
	return change_in(c, step->file, change, step->is_there);
}

int store_make_self(void *mem_ctx, const struct store *store, uint8_t **value,
		    size_t *len)
{
	struct pack p = {.mem_ctx = mem_ctx};
	size_t i;

	pack_fixed(&p, store->instance, 8);
	pack_varint(&p, store->num_files);
	for (i = 0; i < store->num_files; i++) {
		pack_varint(&p, store->files[i].live_bytes);
	}
	*value = p.data;
	*len = p.len;
	if (p.failed) {
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

/* File 0 changes with every commit, so that readers see that there was one. */
static int place_self(struct commit *c)
{
	struct change *change = talloc_zero(c->frame, struct change);
	uint8_t *value = NULL;

	if (change == NULL ||
	    store_make_self(c->frame, c->store, &value, &change->len) == -1) {
		errno = ENOMEM;
		return -1;
	}
	change->key = &store_own_key;
	change->value = value;
	return change_in(c, 0, change,
			 tdb_exists(c->store->files[0].tdb,
				    tdb_key(&store_own_key)));
}

/* --- all of them ------------------------------------------------------------------ */

int commit_place(struct commit *c, const struct change *changes,
		 size_t num_changes)
{
	struct step *steps = talloc_array(c->frame, struct step, num_changes);
	size_t i;

	if (steps == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < num_changes; i++) {
		if (clear(c, &changes[i], &steps[i]) == -1) {
			return -1;
		}
	}
	for (i = 0; i < num_changes; i++) {
		if (place(c, &changes[i], &steps[i]) == -1) {
			return -1;
		}
	}
	if (place_self(c) == -1) {
		return -1;
	}
	return mrmr_fault("catalog-store") != 0 ? -1 : 0;
}
