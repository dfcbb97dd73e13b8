/*
 * MRMR: the catalogue: records in tdb files, changed all or none.
 *
 * A record's value has four bytes of checksum behind it (XXH3 over key and
 * value): tdb looks at its own structure only, and a drive that returns wrong
 * bytes must not be believed.
 *
 * tdb asks for a quarter more than a new record needs, so that it can grow. Our
 * records are many of the same kind packed together, most are never written
 * again once they are full, and a quarter of everything is a lot: so a record
 * that is new, or does not fit its old place, is first stored with four fifths
 * of its length, and then again, which tdb does in place.
 *
 * Whether a store was closed as it should be is told by a file beside it, NAME
 * .unclean, which is there from the first commit to the closing. tdb's
 * transactions survive a kill and a power cut; what they do not survive is a
 * drive that said that it had written and had not. So after an unclean end the
 * whole store is looked at before it is believed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>
#include <tdb.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <mrmr/fault.h>
#include <mrmr/file.h>
#include <mrmr/log.h>

#include "store.h"

/* Fixed when a file is made. With the most records that go into one (a few
   hundred thousand) a chain has a handful; the table takes half a megabyte. */
#define HASH_SIZE 131071
#define HASH_SIZE_MAX (64 * 1024 * 1024)
#define CHECKSUM_BYTES 4

struct store {
	struct store_shape shape;
	char *name;
	char *unclean_name;
	int dir_fd;
	struct tdb_context *tdb;
	uint32_t seqnum;
	bool is_marked;
};

static void log_tdb(struct tdb_context *tdb, enum tdb_debug_level level,
		    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void log_tdb(struct tdb_context *tdb, enum tdb_debug_level level,
		    const char *fmt, ...)
{
	const struct store *store = tdb_get_logging_private(tdb);
	int saved_errno = errno;
	char text[512];
	size_t len;
	va_list ap;

	if (level == TDB_DEBUG_TRACE) {
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	len = strlen(text);
	while (len > 0 && text[len - 1] == '\n') {
		text[--len] = '\0';
	}
	mrmr_log(MRMR_LOG_DEBUG, "%s: %s", store->name, text);
	errno = saved_errno;
}

/* tdb has one code for an error of the system and for an offset that leads out
   of the file; only the former sets errno. */
static int errno_of_tdb(struct tdb_context *tdb, int system_errno)
{
	switch (tdb_error(tdb)) {
	case TDB_ERR_NOEXIST:
		return ENOENT;
	case TDB_ERR_OOM:
		return ENOMEM;
	case TDB_ERR_LOCK:
	case TDB_ERR_NOLOCK:
	case TDB_ERR_LOCK_TIMEOUT:
		return system_errno != 0 ? system_errno : EIO;
	case TDB_ERR_IO:
		return system_errno != 0 ? system_errno : EILSEQ;
	case TDB_ERR_RDONLY:
		return EROFS;
	default:
		return EILSEQ;
	}
}

static uint32_t checksum(const uint8_t *key, size_t key_len,
			 const uint8_t *value, size_t len)
{
	return (uint32_t)XXH3_64bits_withSeed(value, len,
					      XXH3_64bits(key, key_len));
}

static bool checksum_is_right(TDB_DATA key, TDB_DATA data)
{
	uint32_t sum;
	uint32_t stored = 0;
	size_t i;

	if (data.dsize < CHECKSUM_BYTES) {
		return false;
	}
	data.dsize -= CHECKSUM_BYTES;
	sum = checksum(key.dptr, key.dsize, data.dptr, data.dsize);
	for (i = 0; i < CHECKSUM_BYTES; i++) {
		stored |= (uint32_t)data.dptr[data.dsize + i] << (8 * i);
	}
	return sum == stored;
}

static TDB_DATA tdb_key(const struct key *key)
{
	return (TDB_DATA){.dptr = (unsigned char *)key->byte,
			  .dsize = key->len};
}

/* --- opening ---------------------------------------------------------------- */

static int close_tdb(struct store *store)
{
	int ret = 0;

	if (store->tdb != NULL) {
		ret = tdb_close(store->tdb);
		store->tdb = NULL;
	}
	return ret;
}

static int store_destructor(struct store *store)
{
	close_tdb(store);
	if (store->is_marked) {
		unlinkat(store->dir_fd, store->unclean_name, 0);
	}
	if (store->dir_fd != -1) {
		close(store->dir_fd);
	}
	return 0;
}

static int damaged(const struct store *store, const char *what,
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

/* Only a regular file is opened: on a member, anything may be there. */
static int look_at_file(const struct store *store, bool *is_there,
			struct mrmr_error *err)
{
	struct stat st = {0};

	*is_there = false;
	if (fstatat(store->dir_fd, store->name, &st, AT_SYMLINK_NOFOLLOW) ==
	    -1) {
		if (errno == ENOENT) {
			return 0;
		}
		return mrmr_error_set(err, errno, "cannot look at %s: %s",
				      store->name, strerror(errno));
	}
	if (!S_ISREG(st.st_mode)) {
		return damaged(store, "it is not a regular file", err);
	}
	*is_there = true;
	return 0;
}

static int open_tdb(struct store *store, int flags)
{
	struct tdb_logging_context log = {
		.log_fn = log_tdb,
		.log_private = store,
	};
	int tdb_flags =
		TDB_SEQNUM | TDB_INCOMPATIBLE_HASH | TDB_DISALLOW_NESTING;
	char path[64 + KEY_MAX];

	if (store->shape.is_part) {
		tdb_flags |= TDB_NOMMAP;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", store->dir_fd,
		 store->name);
	errno = 0;
	store->tdb =
		tdb_open_ex(path, HASH_SIZE, tdb_flags,
			    flags | O_NOFOLLOW | O_CLOEXEC, 0600, &log, NULL);
	if (store->tdb != NULL && (tdb_hash_size(store->tdb) < 1 ||
				   tdb_hash_size(store->tdb) > HASH_SIZE_MAX)) {
		close_tdb(store);
		errno = EILSEQ;
	}
	return store->tdb != NULL ? 0 : -1;
}

static int open_file(struct store *store, struct mrmr_error *err)
{
	bool is_there;
	int ret;

	if (look_at_file(store, &is_there, err) == -1) {
		return -1;
	}
	if (!is_there && !store->shape.may_write) {
		return mrmr_error_set(err, ENOENT, "there is no %s",
				      store->name);
	}
	/* A reader may have to undo what somebody was killed at. */
	ret = open_tdb(store, O_RDWR | (is_there ? 0 : O_CREAT | O_EXCL));
	if (ret == -1 && !store->shape.may_write &&
	    (errno == EACCES || errno == EROFS || errno == EPERM)) {
		ret = open_tdb(store, O_RDONLY);
	}
	if (ret == 0) {
		return 0;
	}
	if (errno == 0 || errno == EIO || errno == EINVAL || errno == EILSEQ) {
		if (errno == EIO) {
			return mrmr_error_set(err, EIO, "%s cannot be read: %s",
					      store->name, strerror(errno));
		}
		return damaged(store, "it is not a tdb file", err);
	}
	return mrmr_error_set(err, errno, "cannot open %s: %s", store->name,
			      strerror(errno));
}

static bool was_unclean(const struct store *store)
{
	struct stat st = {0};

	return fstatat(store->dir_fd, store->unclean_name, &st,
		       AT_SYMLINK_NOFOLLOW) == 0;
}

static int stop(struct tdb_context *tdb, TDB_DATA key, TDB_DATA data,
		void *private_data)
{
	return 1;
}

static int look_inside(struct store *store, bool *is_new,
		       struct mrmr_error *err)
{
	int num = tdb_traverse_read(store->tdb, stop, NULL);

	if (num == -1) {
		return damaged(store, "its records cannot be walked", err);
	}
	*is_new = num == 0;
	if (*is_new && !store->shape.may_write) {
		return mrmr_error_set(err, ENOENT, "%s is empty", store->name);
	}
	if (store->shape.may_write && was_unclean(store)) {
		mrmr_log(MRMR_LOG_INFO,
			 "%s was not closed as it should be: checking it",
			 store->name);
		store->is_marked = true;
		return store_check(store, NULL, NULL, err);
	}
	store->seqnum = (uint32_t)tdb_get_seqnum(store->tdb);
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
	if (open_file(store, err) == -1 ||
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

uint64_t store_bytes(struct store *store)
{
	struct stat st = {0};

	if (store->tdb == NULL || fstat(tdb_fd(store->tdb), &st) == -1) {
		return 0;
	}
	return (uint64_t)st.st_size;
}

/* --- reading ------------------------------------------------------------------ */

struct fetching {
	void *mem_ctx;
	uint8_t *value;
	size_t len;
	int error;
};

static int take_value(TDB_DATA key, TDB_DATA data, void *private_data)
{
	struct fetching *f = private_data;

	if (!checksum_is_right(key, data)) {
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

int store_fetch(struct store *store, const struct key *key, void *mem_ctx,
		uint8_t **value, size_t *len)
{
	struct fetching f = {.mem_ctx = mem_ctx};

	if (store->tdb == NULL) {
		errno = EIO;
		return -1;
	}
	errno = 0;
	if (tdb_parse_record(store->tdb, tdb_key(key), take_value, &f) == -1) {
		errno = f.error != 0 ? f.error
				     : errno_of_tdb(store->tdb, errno);
		return -1;
	}
	*value = f.value;
	*len = f.len;
	return 0;
}

/* Some file systems of members have no flock; there, nobody else reads. */
static int lock_file(struct store *store, int how)
{
	int ret;

	do {
		ret = flock(tdb_fd(store->tdb), how);
	} while (ret == -1 && errno == EINTR);
	return store->shape.is_part ? 0 : ret;
}

static int reopen(struct store *store)
{
	close_tdb(store);
	return open_file(store, NULL);
}

int store_lock(struct store *store, bool *has_changed)
{
	struct stat st = {0};
	uint32_t seqnum;

	*has_changed = false;
	if (store->tdb == NULL && reopen(store) == -1) {
		return -1;
	}
	if (fstat(tdb_fd(store->tdb), &st) == -1) {
		return -1;
	}
	if (st.st_nlink == 0) {
		*has_changed = true;
		if (reopen(store) == -1) {
			return -1;
		}
	}
	if (lock_file(store, LOCK_SH) == -1) {
		return -1;
	}
	seqnum = (uint32_t)tdb_get_seqnum(store->tdb);
	if (seqnum != store->seqnum) {
		*has_changed = true;
		store->seqnum = seqnum;
	}
	return 0;
}

void store_unlock(struct store *store)
{
	if (store->tdb != NULL) {
		lock_file(store, LOCK_UN);
	}
}

/* --- writing ------------------------------------------------------------------ */

/* Written once: the mark is removed by closing. */
static int mark_unclean(struct store *store)
{
	int fd;

	if (store->is_marked) {
		return 0;
	}
	fd = openat(store->dir_fd, store->unclean_name,
		    O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1) {
		return -1;
	}
	close(fd);
	if (mrmr_file_sync_directory(store->dir_fd) == -1) {
		return -1;
	}
	store->is_marked = true;
	return 0;
}

static int put_record(struct store *store, const struct change *change)
{
	TDB_DATA key = tdb_key(change->key);
	uint8_t sum_bytes[CHECKSUM_BYTES];
	TDB_DATA parts[2] = {
		{.dptr = (unsigned char *)change->value, .dsize = change->len},
		{.dptr = sum_bytes, .dsize = CHECKSUM_BYTES},
	};
	uint32_t sum =
		checksum(key.dptr, key.dsize, change->value, change->len);
	size_t i;

	for (i = 0; i < CHECKSUM_BYTES; i++) {
		sum_bytes[i] = (uint8_t)(sum >> (8 * i));
	}
	if (!tdb_exists(store->tdb, key)) {
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
		if (tdb_store(store->tdb, key, first, TDB_INSERT) == -1) {
			return -1;
		}
	}
	return tdb_storev(store->tdb, key, parts, 2, TDB_REPLACE);
}

static int delete_record(struct store *store, const struct change *change)
{
	if (tdb_delete(store->tdb, tdb_key(change->key)) == -1 &&
	    tdb_error(store->tdb) != TDB_ERR_NOEXIST) {
		return -1;
	}
	return 0;
}

static int change_records(struct store *store, const struct change *changes,
			  size_t num_changes)
{
	size_t i;

	for (i = 0; i < num_changes; i++) {
		int ret = changes[i].value != NULL
				  ? put_record(store, &changes[i])
				  : delete_record(store, &changes[i]);

		if (ret == -1) {
			return -1;
		}
	}
	return 0;
}

/* All errors end here. What tdb's handle is worth after one is not clear, but
   what a new one finds is: an unfinished transaction is undone by opening. */
static int give_up(struct store *store, int error)
{
	if (reopen(store) == -1) {
		mrmr_log(MRMR_LOG_ERROR, "%s cannot be opened again: %s",
			 store->name, strerror(errno));
		close_tdb(store);
	}
	errno = error;
	return -1;
}

int store_write(struct store *store, const struct change *changes,
		size_t num_changes)
{
	int error;

	if (store->tdb == NULL) {
		errno = EIO;
		return -1;
	}
	if (mark_unclean(store) == -1) {
		return -1;
	}
	errno = 0;
	if (tdb_transaction_start(store->tdb) == -1) {
		errno = errno_of_tdb(store->tdb, errno);
		return -1;
	}
	if (change_records(store, changes, num_changes) == -1 ||
	    mrmr_fault("catalog-store") != 0) {
		error = errno_of_tdb(store->tdb, errno);
		tdb_transaction_cancel(store->tdb);
		return give_up(store, error);
	}
	if (lock_file(store, LOCK_EX) == -1) {
		error = errno;
		tdb_transaction_cancel(store->tdb);
		return give_up(store, error);
	}
	errno = 0;
	if (tdb_transaction_commit(store->tdb) == -1) {
		error = errno != 0 ? errno : EIO;
		return give_up(store, error);
	}
	lock_file(store, LOCK_UN);
	store->seqnum = (uint32_t)tdb_get_seqnum(store->tdb);
	return 0;
}

/* --- checking ----------------------------------------------------------------- */

struct checking {
	int (*fn)(const uint8_t *key, size_t key_len, const uint8_t *value,
		  size_t len, void *private_data);
	void *private_data;
};

static int check_one(TDB_DATA key, TDB_DATA data, void *private_data)
{
	struct checking *c = private_data;

	if (!checksum_is_right(key, data)) {
		return -1;
	}
	if (c->fn == NULL) {
		return 0;
	}
	return c->fn(key.dptr, key.dsize, data.dptr,
		     data.dsize - CHECKSUM_BYTES, c->private_data) == 0
		       ? 0
		       : -1;
}

int store_check(struct store *store,
		int (*fn)(const uint8_t *key, size_t key_len,
			  const uint8_t *value, size_t len, void *private_data),
		void *private_data, struct mrmr_error *err)
{
	struct checking c = {.fn = fn, .private_data = private_data};

	if (store->tdb == NULL) {
		return mrmr_error_set(err, EIO, "%s is not open", store->name);
	}
	errno = 0;
	if (tdb_check(store->tdb, check_one, &c) == -1) {
		if (errno == EIO) {
			return mrmr_error_set(err, EIO, "%s cannot be read: %s",
					      store->name, strerror(errno));
		}
		return damaged(store, "its records are not sound", err);
	}
	return 0;
}
