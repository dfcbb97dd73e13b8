/*
 * MRMR: the catalogue: records in tdb files, changed all or none.
 *
 * A record's value has four bytes of checksum behind it (XXH3 over key and
 * value): tdb looks at its own structure only, and a drive that returns wrong
 * bytes must not be believed.
 *
 * Whether a store was closed as it should be is told by a file beside it, NAME
 * .unclean, which is there from the first commit to the closing. tdb's
 * transactions survive a kill and a power cut; what they do not survive is a
 * drive that said that it had written and had not. So after an unclean end the
 * whole store is looked at before it is believed.
 *
 * Several files. A tdb file ends at 4 GiB, so a store is as many as it needs:
 *
 *     NAME                  file 0
 *     NAME.1.INSTANCE ...   further ones, made when those before are full
 *     NAME.INSTANCE.journal between the commit of several files and its end
 *
 * A record lies in one of them, wherever there was room when it was made; it is
 * looked for in one after another, the newest first. A full file takes no new
 * records, and one of its own that becomes larger moves to another, so it grows
 * no more. What has room again takes new ones again: file 0 has a record of the
 * store itself, with the INSTANCE, the number of files, and what the records in
 * each of them take. INSTANCE is a number of this store's own, so that another
 * one can take its place by renaming file 0.
 *
 * A commit over several files (store_write.c; which file gets what:
 * store_place.c):
 *
 *  1. tdb transactions are begun in those that change, and the changes made.
 *  2. File 0 is locked: nobody reads meanwhile.
 *  3. All are prepared: what tdb needs to undo them is on stable storage, the
 *     files have their new lengths. All that a full disk can refuse is done.
 *  4. The journal is written and synced: all changes once more, and the
 *     sequence number that file 0 has now. This is the commit.
 *  5. All are committed, file 0 last. The journal is removed.
 *
 * Killed before 4, tdb undoes what there is; the journal, if any, is not whole,
 * which its checksum tells. Killed after 4, the next to open or lock the store
 * does what the journal says; doing it twice is as good as once. A journal of
 * which file 0 has another sequence number is done with: file 0 came last. So
 * its removal need not be durable. A commit that changes only file 0 needs none
 * of this, and tdb's own is enough; so is any commit of a store of one file.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>
#include <tdb.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <mrmr/log.h>

#include "pack.h"
#include "store_private.h"

const struct key store_own_key = {.len = 1, .byte = {0}};

uint32_t store_checksum(TDB_DATA key, const uint8_t *value, size_t len)
{
	return (uint32_t)XXH3_64bits_withSeed(value, len,
					      XXH3_64bits(key.dptr, key.dsize));
}

bool store_checksum_is_right(TDB_DATA key, TDB_DATA data)
{
	uint32_t sum;
	uint32_t stored = 0;
	size_t i;

	if (data.dsize < CHECKSUM_BYTES) {
		return false;
	}
	data.dsize -= CHECKSUM_BYTES;
	sum = store_checksum(key, data.dptr, data.dsize);
	for (i = 0; i < CHECKSUM_BYTES; i++) {
		stored |= (uint32_t)data.dptr[data.dsize + i] << (8 * i);
	}
	return sum == stored;
}

int store_damaged(const struct store *store, const char *what,
		  struct mrmr_error *err)
{
	if (store->shape.is_part) {
		return mrmr_error_set(err, EILSEQ,
				      "%s on the member is damaged (%s); it is "
				      "made anew from the catalogue when the "
				      "member is attached",
				      store->name, what);
	}
	return mrmr_error_set(err, EILSEQ,
			      "'%s' in the folder 'catalogue' of the state "
			      "directory is damaged (%s); run 'mrmr-admin "
			      "recover' to make it anew from the members",
			      store->name, what);
}

/* --- the store's own record --------------------------------------------------- */

bool store_is_own_key(const uint8_t *key, size_t key_len)
{
	return key_len == store_own_key.len && key[0] == store_own_key.byte[0];
}

struct fetching {
	void *mem_ctx;
	uint8_t *value;
	size_t len;
	int error;
};

static int take_value(TDB_DATA key, TDB_DATA data, void *private_data)
{
	struct fetching *f = private_data;

	if (!store_checksum_is_right(key, data)) {
		f->error = EILSEQ;
		return -1;
	}
	f->len = data.dsize - CHECKSUM_BYTES;
	f->value = talloc_size(f->mem_ctx, f->len + 1);
	if (f->value == NULL) {
		f->error = ENOMEM;
		return -1;
	}
	memcpy(f->value, data.dptr, f->len);
	return 0;
}

int store_fetch_from(struct tdb_context *tdb, const struct key *key,
		     void *mem_ctx, uint8_t **value, size_t *len)
{
	struct fetching f = {.mem_ctx = mem_ctx};

	errno = 0;
	if (tdb_parse_record(tdb, tdb_key(key), take_value, &f) == -1) {
		errno = f.error != 0 ? f.error : store_errno(tdb, errno);
		return -1;
	}
	*value = f.value;
	*len = f.len;
	return 0;
}

int store_load_self(struct store *store)
{
	uint64_t live[STORE_FILES_MAX] = {0};
	uint8_t *value = NULL;
	uint64_t num, instance;
	struct unpack u;
	size_t len = 0;
	uint64_t i;

	if (store_fetch_from(store->files[0].tdb, &store_own_key, NULL, &value,
			     &len) == -1) {
		return -1;
	}
	u = unpack_of(value, len);
	instance = unpack_fixed(&u, 8);
	num = unpack_upto(&u, STORE_FILES_MAX);
	for (i = 0; i < num; i++) {
		live[i] = unpack_varint(&u);
	}
	talloc_free(value);
	if (!unpack_done(&u) || num == 0) {
		errno = EILSEQ;
		return -1;
	}
	store->instance = instance;
	for (i = 0; i < num; i++) {
		store->files[i].live_bytes = live[i];
	}
	store->num_files = num;
	return 0;
}

/* --- opening ---------------------------------------------------------------- */

static int store_destructor(struct store *store)
{
	store_close_files(store);
	if (store->is_marked && !store->is_doubted) {
		unlinkat(store->dir_fd, store->unclean_name, 0);
	}
	if (store->dir_fd != -1) {
		close(store->dir_fd);
	}
	return 0;
}

/* A commit that was made, but not done in all files. */
static int finish(struct store *store, struct mrmr_error *err)
{
	int error;
	int ret;

	if (!journal_is_there(store)) {
		return 0;
	}
	if (store_lock_file(store, LOCK_EX) == -1) {
		return mrmr_error_set(err, errno, "cannot lock %s: %s",
				      store->name, strerror(errno));
	}
	ret = journal_redo(store);
	error = errno;
	store_lock_file(store, LOCK_UN);
	if (ret == -1 && error != ENOENT) {
		return mrmr_error_set(err, error,
				      "a commit to %s that was interrupted "
				      "cannot be finished: %s",
				      store->name, strerror(error));
	}
	return store_load_self(store) == -1
		       ? store_damaged(store, "its own record is damaged", err)
		       : 0;
}

static int open_others(struct store *store, struct mrmr_error *err)
{
	size_t num = store->num_files;
	size_t i;

	for (i = 1; i < num; i++) {
		if (store_open_file(store, i, false, err) == -1) {
			return -1;
		}
	}
	return 0;
}

static int stop(struct tdb_context *tdb, TDB_DATA key, TDB_DATA data,
		void *private_data)
{
	return 1;
}

static int make_instance(struct store *store)
{
	if (store->instance == 0 &&
	    getrandom(&store->instance, sizeof(store->instance), 0) !=
		    sizeof(store->instance)) {
		return -1;
	}
	return 0;
}

/* File 0 is open. *is_new: it has no record. */
static int open_rest(struct store *store, bool *is_new, struct mrmr_error *err)
{
	int num;

	*is_new = false;
	if (store_load_self(store) == 0) {
		return finish(store, err) == -1 ? -1 : open_others(store, err);
	}
	if (errno != ENOENT) {
		return errno == EIO ? mrmr_error_set(err, EIO,
						     "%s cannot be read: %s",
						     store->name, strerror(EIO))
				    : store_damaged(store,
						    "its own record is damaged",
						    err);
	}
	num = store->files[0].is_made
		      ? 0
		      : tdb_traverse_read(store->files[0].tdb, stop, NULL);
	if (num == -1) {
		return store_damaged(store, "its records cannot be walked",
				     err);
	}
	if (num > 0) {
		return store_damaged(store, "its own record is missing", err);
	}
	*is_new = true;
	if (!store->shape.may_write) {
		return mrmr_error_set(err, ENOENT, "%s is empty", store->name);
	}
	store->instance = 0;
	if (make_instance(store) == -1) {
		return mrmr_error_set(err, errno, "no random numbers: %s",
				      strerror(errno));
	}
	return 0;
}

int store_reopen(struct store *store, struct mrmr_error *err)
{
	bool is_new;

	store_close_files(store);
	if (store_open_file(store, 0, store->shape.may_write, err) == 0 &&
	    open_rest(store, &is_new, err) == 0) {
		return 0;
	}
	store_close_files(store);
	return -1;
}

static bool was_unclean(const struct store *store)
{
	struct stat st = {0};

	return fstatat(store->dir_fd, store->unclean_name, &st,
		       AT_SYMLINK_NOFOLLOW) == 0;
}

static int look_inside(struct store *store, bool *is_new,
		       struct mrmr_error *err)
{
	if (open_rest(store, is_new, err) == -1) {
		return -1;
	}
	store->seqnum = (uint32_t)tdb_get_seqnum(store->files[0].tdb);
	if (!store->shape.may_write) {
		return 0;
	}
	if (store_remove_others(store) == -1) {
		return mrmr_error_set(err, errno,
				      "cannot read the folder of "
				      "%s: %s",
				      store->name, strerror(errno));
	}
	if (was_unclean(store)) {
		mrmr_log(MRMR_LOG_INFO,
			 "%s was not closed as it should be: checking it",
			 store->name);
		store->is_marked = true;
		return store_check(store, NULL, NULL, err);
	}
	return 0;
}

struct store *store_open(void *mem_ctx, int dir_fd,
			 const struct store_shape *shape, bool *is_new,
			 struct mrmr_error *err)
{
	struct store *store = talloc_zero(mem_ctx, struct store);

	if (store == NULL) {
		mrmr_error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	store->shape = *shape;
	store->dir_fd = -1;
	talloc_set_destructor(store, store_destructor);
	store->name = talloc_strdup(store, shape->name);
	store->unclean_name = talloc_asprintf(store, "%s.unclean", shape->name);
	if (store->name == NULL || store->unclean_name == NULL) {
		mrmr_error_set(err, ENOMEM, "out of memory");
		goto fail;
	}
	store->dir_fd = openat(dir_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (store->dir_fd == -1) {
		mrmr_error_set(err, errno, "cannot open the folder of %s: %s",
			       store->name, strerror(errno));
		goto fail;
	}
	if (store_open_file(store, 0, shape->may_write, err) == -1 ||
	    look_inside(store, is_new, err) == -1) {
		goto fail;
	}
	return store;
fail:
	store->is_marked = false; /* it is looked at again next time */
	talloc_free(store);
	return NULL;
}

const char *store_name(const struct store *store)
{
	return store->name;
}
