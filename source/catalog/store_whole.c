/*
 * MRMR: the catalogue: a store as a whole: replacing, removing, checking.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>
#include <tdb.h>

#include <mrmr/fault.h>
#include <mrmr/file.h>

#include "store_private.h"

int store_dir_fd(const struct store *store)
{
	return store->dir_fd;
}

/* --- replacing ---------------------------------------------------------------- */

enum file_kind {
	FILE_NONE,    /* of this name */
	FILE_FIRST,   /* file 0, and its mark */
	FILE_FURTHER, /* with a number and an instance */
	FILE_JOURNAL, /* with an instance */
};

static enum file_kind parse(const char *file, const char *name,
			    unsigned int *number, uint64_t *instance)
{
	size_t len = strlen(name);
	char last;

	if (strncmp(file, name, len) != 0) {
		return FILE_NONE;
	}
	file += len;
	if (*file == '\0' || strcmp(file, ".unclean") == 0) {
		return FILE_FIRST;
	}
	if (sscanf(file, ".%u.%16" SCNx64 "%c", number, instance, &last) == 2) {
		return FILE_FURTHER;
	}
	if (sscanf(file, ".%16" SCNx64 ".journa%c", instance, &last) == 2) {
		return FILE_JOURNAL;
	}
	return FILE_NONE;
}

static bool is_of(const struct store *store, const char *file, const char *name)
{
	unsigned int number;
	uint64_t instance;

	return parse(file, name, &number, &instance) != FILE_NONE;
}

/* Of a store that was replaced, or of a commit that was not made. */
static bool is_foreign(const struct store *store, const char *file,
		       const char *name)
{
	unsigned int number = 0;
	uint64_t instance = 0;

	switch (parse(file, name, &number, &instance)) {
	case FILE_FURTHER:
		return instance != store->instance ||
		       number >= store->num_files;
	case FILE_JOURNAL:
		return instance != store->instance;
	default:
		return false;
	}
}

/* Unlink what `which` says of the files in the store's folder. */
static int unlink_some(struct store *store, const char *name,
		       bool (*which)(const struct store *store,
				     const char *file, const char *name))
{
	struct dirent *entry = NULL;
	DIR *dir = NULL;
	int error = 0;
	int fd;

	fd = openat(store->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1) {
		return -1;
	}
	dir = fdopendir(fd);
	if (dir == NULL) {
		error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	while ((errno = 0, entry = readdir(dir)) != NULL) {
		if (which(store, entry->d_name, name) &&
		    unlinkat(store->dir_fd, entry->d_name, 0) == -1 &&
		    errno != ENOENT) {
			break;
		}
	}
	error = errno;
	closedir(dir);
	errno = error;
	return error == 0 ? 0 : -1;
}

int store_unlink(struct store *store, const char *name)
{
	return unlink_some(store, name, is_of);
}

int store_remove_others(struct store *store)
{
	return unlink_some(store, store->name, is_foreign);
}

/* Its further files get the names that they will have, which nothing else has;
   then file 0 takes the name, and with it they are the store's. */
static int take_name(struct store *store, const struct store *from)
{
	char old[KEY_MAX + 64];
	char new[KEY_MAX + 64];
	struct store named = *store;
	size_t i;

	named.instance = from->instance;
	for (i = 1; i < from->num_files; i++) {
		store_file_name(from, i, old);
		store_file_name(&named, i, new);
		if (renameat(store->dir_fd, old, store->dir_fd, new) == -1) {
			return -1;
		}
	}
	if (i > 1 && mrmr_file_sync_directory(store->dir_fd) == -1) {
		return -1;
	}
	if (mrmr_fault("catalog-replace") != 0 ||
	    renameat(store->dir_fd, from->name, store->dir_fd, store->name) ==
		    -1) {
		return -1;
	}
	return mrmr_file_sync_directory(store->dir_fd);
}

int store_replace(struct store *store, struct store *from)
{
	struct store closed = *from;
	int error;
	int ret;

	closed.name = talloc_strdup(NULL, from->name);
	talloc_free(from);
	if (closed.name == NULL) {
		errno = ENOMEM;
		return -1;
	}
	ret = take_name(store, &closed);
	error = errno;
	talloc_free(closed.name);
	if (ret == -1) {
		errno = error;
		return -1;
	}
	if (store_reopen(store, NULL) == -1) {
		return -1;
	}
	store_remove_others(store);
	return 0;
}

/* --- checking ----------------------------------------------------------------- */

/*
 * Not by tdb_check: where a commit was killed after it had made a file longer,
 * a stretch that nothing uses stays behind, which is harmless, and tdb_check
 * takes all that comes after it for part of it. So: all records that can be
 * reached are sound, and are found by their keys; what they take is what the store says, so none is missing;
 * and the list of what is free is one.
 */
struct checking {
	struct store *store;
	size_t file;
	uint64_t live_bytes;
	uint64_t seen_bytes; /* with the store's own record */
	int (*fn)(const uint8_t *key, size_t key_len, const uint8_t *value,
		  size_t len, void *private_data);
	void *private_data;
	bool is_bad;
};

/* A record is in one file only. */
static bool is_elsewhere(const struct checking *c, TDB_DATA key)
{
	size_t i;

	for (i = 0; i < c->file; i++) {
		if (tdb_exists(c->store->files[i].tdb, key)) {
			return true;
		}
	}
	return false;
}

static int check_one(struct tdb_context *tdb, TDB_DATA key, TDB_DATA data,
		     void *private_data)
{
	struct checking *c = private_data;
	size_t len = data.dsize - CHECKSUM_BYTES;

	/* More than the file has: a chain is a ring, and we would never come to
	   the end of it. */
	c->seen_bytes += store_record_bytes(key.dsize, len);
	if (c->seen_bytes > tdb_map_size(tdb)) {
		c->is_bad = true;
		return 1;
	}
	/* One whose hash in the file is wrong is seen here, and never found. */
	if (!store_checksum_is_right(key, data) || !tdb_exists(tdb, key) ||
	    is_elsewhere(c, key)) {
		c->is_bad = true;
		return 1;
	}
	if (store_is_own_key(key.dptr, key.dsize)) {
		return 0;
	}
	c->live_bytes += store_record_bytes(key.dsize, len);
	if (c->fn != NULL &&
	    c->fn(key.dptr, key.dsize, data.dptr, len, c->private_data) != 0) {
		c->is_bad = true;
		return 1;
	}
	return 0;
}

static int check_file(struct checking *c)
{
	const struct store_file *file = &c->store->files[c->file];
	int num_free = 0;

	c->live_bytes = 0;
	c->seen_bytes = 0;
	errno = 0;
	if (tdb_traverse_read(file->tdb, check_one, c) == -1 ||
	    tdb_validate_freelist(file->tdb, &num_free) == -1) {
		errno = errno == EIO ? EIO : EILSEQ;
		return -1;
	}
	if (c->is_bad || c->live_bytes != file->live_bytes) {
		errno = EILSEQ;
		return -1;
	}
	return 0;
}

int store_check(struct store *store,
		int (*fn)(const uint8_t *key, size_t key_len,
			  const uint8_t *value, size_t len, void *private_data),
		void *private_data, struct mrmr_error *err)
{
	struct checking c = {
		.store = store,
		.fn = fn,
		.private_data = private_data,
	};

	if (store->num_files == 0) {
		return mrmr_error_set(err, EIO, "%s is not open", store->name);
	}
	for (c.file = 0; c.file < store->num_files; c.file++) {
		if (check_file(&c) == 0) {
			continue;
		}
		if (errno == EIO) {
			return mrmr_error_set(err, EIO, "%s cannot be read: %s",
					      store->name, strerror(errno));
		}
		return store_damaged(store, "its records are not sound", err);
	}
	return 0;
}
