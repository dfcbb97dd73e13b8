/*
 * MRMR: the catalogue: one tdb file of a store.
 *
 * The theory is in store.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <tdb.h>

#include <mrmr/beneath.h>
#include <mrmr/file.h>
#include <mrmr/log.h>

#include "store_private.h"

#define HASH_SIZE_MAX (64 * 1024 * 1024)
/* Of a small drive: it has less than a record for each so many bytes. */
#define BYTES_A_CHAIN 16384
#define CHAINS_MIN 1021

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
int store_errno(struct tdb_context *tdb, int system_errno)
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

/* tdb has a list of those that are open, of all threads. */
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;

void store_close_tdb(struct tdb_context *tdb)
{
	if (tdb != NULL) {
		pthread_mutex_lock(&opening);
		tdb_close(tdb);
		pthread_mutex_unlock(&opening);
	}
}

void store_close_files(struct store *store)
{
	while (store->num_files > 0) {
		struct store_file *file = &store->files[--store->num_files];

		store_close_tdb(file->tdb);
		*file = (struct store_file){.tdb = NULL};
	}
}

void store_file_name(const struct store *store, size_t file,
		     char name[KEY_MAX + 64])
{
	if (file == 0) {
		snprintf(name, KEY_MAX + 64, "%s", store->name);
	} else {
		snprintf(name, KEY_MAX + 64, "%s.%zu.%016" PRIx64, store->name,
			 file, store->instance);
	}
}

/* Only a regular file is opened: on a member, anything may be there. */
static int look_at_file(const struct store *store, const char *name,
			bool *is_there, struct mrmr_error *err)
{
	struct stat st = {0};

	*is_there = false;
	if (fstatat(store->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
		if (errno == ENOENT) {
			return 0;
		}
		return mrmr_error_set(err, errno, "cannot look at %s: %s", name,
				      strerror(errno));
	}
	if (!S_ISREG(st.st_mode)) {
		return store_damaged(store, "it is not a regular file", err);
	}
	if (st.st_nlink > 1 && store->shape.is_part) {
		/* one that clients see, perhaps */
		return store_damaged(store, "it has another name as well", err);
	}
	*is_there = true;
	return 0;
}

/* Of a file that is made on a member. What a small drive holds has few records,
   for which a table of half a megabyte would be much. */
static int most_chains(const struct store *store, int most)
{
	struct statvfs fs;
	uint64_t chains;

	if (fstatvfs(store->dir_fd, &fs) == -1) {
		return most;
	}
	chains = (uint64_t)fs.f_blocks * fs.f_frsize / BYTES_A_CHAIN;
	if (chains >= (uint64_t)most) {
		return most;
	}
	return chains < CHAINS_MIN ? CHAINS_MIN : (int)chains;
}

static struct tdb_context *open_tdb(struct store *store, const char *name,
				    int flags)
{
	struct tdb_logging_context log = {
		.log_fn = log_tdb,
		.log_private = store,
	};
	int tdb_flags =
		TDB_SEQNUM | TDB_INCOMPATIBLE_HASH | TDB_DISALLOW_NESTING;
	struct tdb_context *tdb = NULL;
	char path[KEY_MAX + 128];
	int hash_size = store_limits.hash_size;

	if (store->shape.is_part) {
		tdb_flags |= TDB_NOMMAP;
		hash_size = most_chains(store, hash_size);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", store->dir_fd,
		 name);
	errno = 0;
	pthread_mutex_lock(&opening);
	tdb = tdb_open_ex(path, hash_size, tdb_flags,
			  flags | O_NOFOLLOW | O_CLOEXEC, 0600, &log, NULL);
	pthread_mutex_unlock(&opening);
	if (tdb != NULL &&
	    (tdb_hash_size(tdb) < 1 || tdb_hash_size(tdb) > HASH_SIZE_MAX)) {
		store_close_tdb(tdb);
		tdb = NULL;
		errno = EILSEQ;
	}
	return tdb;
}

static bool can_read(const struct store *store, const char *name)
{
	int fd = openat(store->dir_fd, name, O_RDONLY | MRMR_OPEN_ANYTHING);
	char header[512];
	bool ok;

	if (fd == -1) {
		return false;
	}
	ok = mrmr_read_upto(fd, header, sizeof(header), 0) != -1;
	close(fd);
	return ok;
}

int store_open_file(struct store *store, size_t file, bool make,
		    struct mrmr_error *err)
{
	struct tdb_context *tdb = NULL;
	char name[KEY_MAX + 64];
	bool is_there;

	store_file_name(store, file, name);
	if (look_at_file(store, name, &is_there, err) == -1) {
		return -1;
	}
	if (!is_there && !make) {
		return file == 0 ? mrmr_error_set(err, ENOENT, "there is no %s",
						  name)
				 : store_damaged(store,
						 "one of its files is missing",
						 err);
	}
	/* A reader may have to undo what somebody was killed at. */
	tdb = open_tdb(store, name, O_RDWR | (is_there ? 0 : O_CREAT | O_EXCL));
	if (tdb == NULL && !store->shape.may_write &&
	    (errno == EACCES || errno == EROFS || errno == EPERM)) {
		tdb = open_tdb(store, name, O_RDONLY);
	}
	if (tdb == NULL && (errno == 0 || errno == EINVAL || errno == EILSEQ ||
			    errno == EIO || errno == ENOSYS)) {
		/* tdb says EIO also for what is no tdb file, and ENOSYS for
		   one from the future */
		if (!can_read(store, name)) {
			return mrmr_error_set(err, EIO, "%s cannot be read: %s",
					      name, strerror(EIO));
		}
		return store_damaged(store, "it is not a tdb file", err);
	}
	if (tdb == NULL) {
		return mrmr_error_set(err, errno, "cannot open %s: %s", name,
				      strerror(errno));
	}
	store->files[file].tdb = tdb;
	store->files[file].is_made = !is_there;
	if (file >= store->num_files) {
		store->num_files = file + 1;
	}
	return 0;
}

/* Some file systems of members have no flock; there, nobody else reads. */
int store_lock_file(struct store *store, int how)
{
	int ret;

	do {
		ret = flock(tdb_fd(store->files[0].tdb), how);
	} while (ret == -1 && errno == EINTR);
	return store->shape.is_part ? 0 : ret;
}
