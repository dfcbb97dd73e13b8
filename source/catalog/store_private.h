/*
 * MRMR: the catalogue: records in tdb files, for the store's own sources.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef CATALOG_STORE_PRIVATE_H
#define CATALOG_STORE_PRIVATE_H

#include <tdb.h>

#include "store.h"

#define STORE_FILES_MAX 64
#define CHECKSUM_BYTES 4

struct store_file {
	struct tdb_context *tdb;
	uint64_t live_bytes; /* about what its records take */
	bool is_made;        /* it was not there, so it has no record */
};

struct store {
	struct store_shape shape;
	char *name;
	char *unclean_name;
	int dir_fd;
	uint64_t instance; /* in the names of the further files; 0: new */
	struct store_file files[STORE_FILES_MAX];
	size_t num_files; /* 0: closed by a failure */
	uint32_t seqnum;
	bool is_marked;
	bool is_doubted; /* the mark stays */
};

static inline TDB_DATA tdb_key(const struct key *key)
{
	return (TDB_DATA){.dptr = (unsigned char *)key->byte,
			  .dsize = key->len};
}

/* What a record takes in its file, with what tdb and we add to it. */
static inline uint64_t store_record_bytes(size_t key_len, size_t len)
{
	return key_len + len + CHECKSUM_BYTES + 24 + 4;
}

/* store.c */

/* EILSEQ, with what to do. */
int store_damaged(const struct store *store, const char *what,
		  struct mrmr_error *err);
bool store_checksum_is_right(TDB_DATA key, TDB_DATA data);
uint32_t store_checksum(TDB_DATA key, const uint8_t *value, size_t len);
/* The record that the store keeps about itself. */
bool store_is_own_key(const uint8_t *key, size_t key_len);

/* All files anew; with what was left unfinished finished. */
int store_reopen(struct store *store, struct mrmr_error *err);

/* As store_fetch, from one file. */
int store_fetch_from(struct tdb_context *tdb, const struct key *key,
		     void *mem_ctx, uint8_t **value, size_t *len);

/* What the store's own record says; ENOENT if there is none yet. */
int store_load_self(struct store *store);

/* store_file.c */

/* An open file's errno for what tdb says, with the system's errno. */
int store_errno(struct tdb_context *tdb, int system_errno);

void store_file_name(const struct store *store, size_t file,
		     char name[KEY_MAX + 64]);
/* Open one file; make it, if need be, as an empty one. */
int store_open_file(struct store *store, size_t file, bool make,
		    struct mrmr_error *err);
/* NULL is none. */
void store_close_tdb(struct tdb_context *tdb);
void store_close_files(struct store *store);
/* flock() of file 0. */
int store_lock_file(struct store *store, int how);

/* store_whole.c */

/* What lies under the store's name and is none of its files. */
int store_remove_others(struct store *store);

/* store_journal.c */

struct placed {
	size_t file;
	const struct change *change;
};

/* Durably: this is what is about to be done to the files. */
int journal_write(struct store *store, const struct placed *placed, size_t num);
/* It is none any more. If durable, -1 if that is not sure. */
int journal_remove(struct store *store, bool durable);
bool journal_is_there(const struct store *store);
/*
 * With file 0 open, and locked for writing: do what a journal says that was not
 * done, and remove it. Leaves file 0 only open. ENOENT if there was none.
 */
int journal_redo(struct store *store);

/* store_place.c */

/* One under way (store_write.c). */
struct commit {
	struct store *store;
	void *frame;
	bool is_used[STORE_FILES_MAX]; /* a transaction was begun */
	bool is_locked;
	bool has_journal;
	struct placed *placed;
	size_t num_placed;
	size_t max_placed;
};

/* All changes, and that of the store's own record, in transactions of the files
   they belong to. */
int commit_place(struct commit *c, const struct change *changes,
		 size_t num_changes);

/* The store's own record, as it is to be; a talloc child of mem_ctx. */
int store_make_self(void *mem_ctx, const struct store *store, uint8_t **value,
		    size_t *len);
/* In a transaction of the file. is_there: it has the record. */
int store_change_record(struct tdb_context *tdb, const struct change *change,
			bool is_there);

extern const struct key store_own_key;

#endif
