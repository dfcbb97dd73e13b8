/*
 * MRMR: the catalogue: reading records.
 *
 * The theory is in store.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tdb.h>

#include "store_private.h"

int store_fetch(struct store *store, const struct key *key, void *mem_ctx,
		uint8_t **value, size_t *len)
{
	size_t i = store->num_files;

	if (i == 0) {
		errno = EIO;
		return -1;
	}
	while (i-- > 0) {
		if (store_fetch_from(store->files[i].tdb, key, mem_ctx, value,
				     len) == 0) {
			return 0;
		}
		if (errno != ENOENT) {
			return -1;
		}
	}
	return -1;
}

/* Has another store taken the name? */
static int was_replaced(struct store *store, bool *yes)
{
	struct stat st = {0};

	if (fstat(tdb_fd(store->files[0].tdb), &st) == -1) {
		return -1;
	}
	*yes = st.st_nlink == 0;
	return 0;
}

/* What is read now is of one commit. *again: look once more. */
static int lock_once(struct store *store, bool *has_changed, bool *again)
{
	bool is_old = false;
	uint32_t seqnum;

	*again = false;
	if (store->num_files > 0 && was_replaced(store, &is_old) == -1) {
		return -1;
	}
	if (store->num_files == 0 || is_old) {
		*has_changed = true;
		if (store_reopen(store, NULL) == -1) {
			return -1;
		}
	}
	if (store_lock_file(store, LOCK_SH) == -1) {
		return -1;
	}
	if (journal_is_there(store)) {
		/* nobody is writing: it was left by somebody who was killed */
		store_lock_file(store, LOCK_UN);
		store_close_files(store);
		*again = true;
		return 0;
	}
	seqnum = (uint32_t)tdb_get_seqnum(store->files[0].tdb);
	if (seqnum != store->seqnum || *has_changed) {
		size_t num = store->num_files;

		*has_changed = true;
		store->seqnum = seqnum;
		if (store_load_self(store) == -1) {
			store_lock_file(store, LOCK_UN);
			return -1;
		}
		if (store->num_files != num) {
			store_lock_file(store, LOCK_UN);
			store_close_files(store);
			*again = true;
		}
	}
	return 0;
}

int store_lock(struct store *store, bool *has_changed)
{
	unsigned int tries;
	bool again = true;

	*has_changed = false;
	for (tries = 0; again && tries < 100; tries++) {
		if (lock_once(store, has_changed, &again) == -1) {
			return -1;
		}
	}
	if (again) {
		errno = EAGAIN;
		return -1;
	}
	return 0;
}

void store_unlock(struct store *store)
{
	if (store->num_files > 0) {
		store_lock_file(store, LOCK_UN);
	}
}
