/*
 * MRMR: the catalogue: records in tdb files, changed all or none.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef CATALOG_STORE_H
#define CATALOG_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/error.h>

#define KEY_MAX 80

struct key {
	uint8_t len;
	uint8_t byte[KEY_MAX];
};

struct change {
	const struct key *key;
	const uint8_t *value; /* NULL: the record goes */
	size_t len;
};

struct store;

/*
 * When a file is full: by what its records take, or by its length. Tests make
 * it small; a store may be used with others than it was made with.
 */
struct store_limits {
	uint64_t live_bytes;
	uint64_t file_bytes;
	int hash_size; /* of files that are made */
};
extern struct store_limits store_limits;

struct store_shape {
	const char *name; /* of the first file; the others' begin with it */
	bool is_part;     /* on a member: may vanish, so it is not mapped */
	bool may_write;   /* and makes it if it is missing */
};

/* NULL with *err filled, see mrmr/catalog.h. *is_new: it has no record. */
struct store *store_open(void *mem_ctx, int dir_fd,
			 const struct store_shape *shape, bool *is_new,
			 struct mrmr_error *err);

/*
 * The value of a record, a talloc child of mem_ctx. -1 with errno: ENOENT,
 * EILSEQ if the store is damaged, EIO.
 */
int store_fetch(struct store *store, const struct key *key, void *mem_ctx,
		uint8_t **value, size_t *len);

/*
 * Make changes, durably, all or none: one for each record, best sorted by their
 * keys. -1 with errno: then none was made. If not
 * even that can be established the store is closed, and all that follows is
 * EIO; the next to open it finds out.
 */
int store_write(struct store *store, const struct change *changes,
		size_t num_changes);

/* What was met in it makes no sense: who opens it next is to look at all of it, as
   after an unclean end. */
void store_doubt(struct store *store);

/*
 * For those who only read: between lock and unlock, all records are of the same
 * commit. *has_changed: since the last lock. A store that was replaced by
 * another one is opened anew.
 */
int store_lock(struct store *store, bool *has_changed);
void store_unlock(struct store *store);

/*
 * Is the structure sound, and does each record have the right checksum? fn (may
 * be NULL) is called for each, and says what is wrong with it by a non-zero
 * result.
 */
int store_check(struct store *store,
		int (*fn)(const uint8_t *key, size_t key_len,
			  const uint8_t *value, size_t len, void *private_data),
		void *private_data, struct mrmr_error *err);

/*
 * Put the store `from`, which lies in the same folder and is closed by this, in
 * place of this one, durably.
 */
int store_replace(struct store *store, struct store *from);
/* Remove what lies under this name. */
int store_unlink(struct store *store, const char *name);
int store_dir_fd(const struct store *store);

/* For messages. */
const char *store_name(const struct store *store);

#endif
