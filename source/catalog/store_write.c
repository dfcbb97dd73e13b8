/*
 * MRMR: the catalogue: changing records, all or none.
 *
 * The theory is in store.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <talloc.h>
#include <tdb.h>

#include <mrmr/beneath.h>
#include <mrmr/fault.h>
#include <mrmr/file.h>
#include <mrmr/log.h>

#include "store_private.h"

/* Written once: the mark is removed by closing. */
static int mark_unclean(struct store *store)
{
	int fd;

	if (store->is_marked) {
		return 0;
	}
	fd = openat(store->dir_fd, store->unclean_name,
		    O_WRONLY | O_CREAT | MRMR_OPEN_ANYTHING, 0600);
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

void store_doubt(struct store *store)
{
	if (mark_unclean(store) == 0) {
		store->is_doubted = true;
	}
}

static int prepare(struct commit *c)
{
	struct store *store = c->store;
	size_t i;

	for (i = 0; i < store->num_files; i++) {
		if (!c->is_used[i]) {
			continue;
		}
		if (mrmr_fault("catalog-prepare") != 0) {
			return -1;
		}
		errno = 0;
		if (tdb_transaction_prepare_commit(store->files[i].tdb) == -1) {
			/* tdb drops what posix_fallocate says; mostly that
			   there is no room */
			errno = errno != 0 ? errno : ENOSPC;
			return -1;
		}
	}
	return 0;
}

static size_t num_used(const struct commit *c)
{
	size_t num = 0;
	size_t i;

	for (i = 0; i < STORE_FILES_MAX; i++) {
		num += c->is_used[i];
	}
	return num;
}

/* From the last to file 0. */
static int commit_files(struct commit *c)
{
	struct store *store = c->store;
	size_t i = store->num_files;

	while (i-- > 0) {
		if (!c->is_used[i]) {
			continue;
		}
		if (mrmr_fault("catalog-file") != 0) {
			return -1;
		}
		errno = 0;
		if (tdb_transaction_commit(store->files[i].tdb) == -1) {
			errno = errno != 0 ? errno : EIO;
			return -1;
		}
		c->is_used[i] = false;
	}
	return 0;
}

/* Closing is not enough: tdb may leave a mapping behind when a transaction
   fails, and with that the file stays open. */
static void unlock(struct commit *c)
{
	if (c->is_locked) {
		store_lock_file(c->store, LOCK_UN);
		c->is_locked = false;
	}
}

/* Nothing of it was done. What tdb's handles are worth after an error is not
   clear, but what new ones find is. */
static int undo(struct commit *c, int error)
{
	struct store *store = c->store;
	bool is_undone = true;
	size_t i;

	for (i = 0; i < store->num_files; i++) {
		if (c->is_used[i]) {
			tdb_transaction_cancel(store->files[i].tdb);
		}
	}
	/* before others can see it */
	if (c->has_journal && journal_remove(store, true) == -1) {
		/* the commit might happen yet, by a power cut: nothing must
		   be built on that it did not */
		mrmr_log(MRMR_LOG_ERROR,
			 "%s: a commit that failed cannot be taken back: %s",
			 store->name, strerror(errno));
		is_undone = false;
	}
	unlock(c);
	if (!is_undone) {
		store_close_files(store);
		store->is_marked = false; /* to be looked at next time */
	} else if (store_reopen(store, NULL) == -1) {
		mrmr_log(MRMR_LOG_ERROR, "%s cannot be opened again: %s",
			 store->name, strerror(errno));
		store->is_marked = false;
	}
	errno = error;
	return -1;
}

/* It was committed: what the journal says is what happened, and opening does
   it. */
static int finish(struct commit *c, int error)
{
	struct store *store = c->store;

	unlock(c);
	if (store_reopen(store, NULL) == -1 || store_load_self(store) == -1) {
		mrmr_log(MRMR_LOG_ERROR,
			 "a commit to %s cannot be finished: %s", store->name,
			 strerror(errno));
		store_close_files(store);
		store->is_marked = false; /* to be looked at next time */
		errno = error;
		return -1;
	}
	return 0;
}

static int commit(struct commit *c)
{
	struct store *store = c->store;

	if (store_lock_file(store, LOCK_EX) == -1) {
		return undo(c, errno);
	}
	c->is_locked = true;
	if (prepare(c) == -1) {
		return undo(c, errno);
	}
	if (num_used(c) == 1) {
		/* tdb's own is enough */
		if (commit_files(c) == -1) {
			return undo(c, errno);
		}
	} else {
		c->has_journal = true;
		if (journal_write(store, c->placed, c->num_placed) == -1) {
			return undo(c, errno);
		}
		if (mrmr_fault("catalog-journaled") != 0 ||
		    commit_files(c) == -1) {
			return finish(c, errno);
		}
		if (journal_remove(store, false) == -1) {
			return finish(c, errno);
		}
	}
	unlock(c);
	return 0;
}

int store_write(struct store *store, const struct change *changes,
		size_t num_changes)
{
	struct commit c = {.store = store};
	int ret;

	if (store->num_files == 0) {
		errno = EIO;
		return -1;
	}
	if (mark_unclean(store) == -1) {
		return -1;
	}
	c.frame = talloc_new(NULL);
	if (c.frame == NULL) {
		errno = ENOMEM;
		return -1;
	}
	store->seqnum = (uint32_t)tdb_get_seqnum(store->files[0].tdb);
	if (commit_place(&c, changes, num_changes) == -1) {
		ret = undo(&c, errno);
	} else {
		ret = commit(&c);
	}
	talloc_free(c.frame);
	if (ret == 0) {
		store->seqnum = (uint32_t)tdb_get_seqnum(store->files[0].tdb);
	}
	return ret;
}
