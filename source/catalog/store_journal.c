/*
 * MRMR: the catalogue: the journal of a commit over several files.
 *
 * The theory is in store.c. What is in it, numbers as in pack.h:
 *
 *     "mrmrjrnl"; sequence number of file 0 before the commit, 4 bytes;
 *     number of changes; for each: file, length of the key, key,
 *         0 (the record goes), or length of the value + 1, value;
 *     XXH3 (64 bits) of all that, 8 bytes
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <mrmr/beneath.h>
#include <mrmr/fault.h>
#include <mrmr/file.h>
#include <mrmr/log.h>

#include "pack.h"
#include "store_private.h"

#define MAGIC "mrmrjrnl"
#define MAGIC_BYTES 8
#define SUM_BYTES 8
#define JOURNAL_BYTES_MAX ((size_t)1 << 32)

static void journal_name(const struct store *store, char name[KEY_MAX + 64])
{
	snprintf(name, KEY_MAX + 64, "%s.%016" PRIx64 ".journal", store->name,
		 store->instance);
}

bool journal_is_there(const struct store *store)
{
	char name[KEY_MAX + 64];
	struct stat st;

	journal_name(store, name);
	return fstatat(store->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int journal_remove(struct store *store, bool durable)
{
	char name[KEY_MAX + 64];

	journal_name(store, name);
	if (mrmr_fault("catalog-journal-remove") != 0) {
		return -1;
	}
	if (unlinkat(store->dir_fd, name, 0) == -1 && errno != ENOENT) {
		return -1;
	}
	return durable ? mrmr_file_sync_directory(store->dir_fd) : 0;
}

/* --- writing ------------------------------------------------------------------ */

static void add_changes(struct pack *p, uint32_t seqnum,
			const struct placed *placed, size_t num)
{
	size_t i;

	pack_bytes(p, MAGIC, MAGIC_BYTES);
	pack_fixed(p, seqnum, 4);
	pack_varint(p, num);
	for (i = 0; i < num; i++) {
		const struct change *change = placed[i].change;

		pack_varint(p, placed[i].file);
		pack_varint(p, change->key->len);
		pack_bytes(p, change->key->byte, change->key->len);
		if (change->value == NULL) {
			pack_varint(p, 0);
		} else {
			pack_varint(p, change->len + 1);
			pack_bytes(p, change->value, change->len);
		}
	}
	if (!p->failed) {
		pack_fixed(p, XXH3_64bits(p->data, p->len), SUM_BYTES);
	}
}

static int write_file(struct store *store, const struct pack *p)
{
	char name[KEY_MAX + 64];
	int ret = -1;
	int error;
	int fd;

	journal_name(store, name);
	/* On a member, what has the name may be anything: another name of a file
	   that clients see, for one. */
	if (unlinkat(store->dir_fd, name, 0) == -1 && errno != ENOENT) {
		return -1;
	}
	fd = openat(store->dir_fd, name,
		    O_WRONLY | O_CREAT | O_EXCL | MRMR_OPEN_ANYTHING, 0600);
	if (fd == -1) {
		return -1;
	}
	if (mrmr_fault("catalog-journal") == 0 &&
	    mrmr_write_fully(fd, p->data, p->len, 0) == 0 && fsync(fd) == 0 &&
	    mrmr_file_sync_directory(store->dir_fd) == 0) {
		ret = 0;
	}
	error = errno;
	close(fd);
	errno = error;
	return ret;
}

int journal_write(struct store *store, const struct placed *placed, size_t num)
{
	struct pack p = {.mem_ctx = NULL};
	int ret = -1;

	/* the prepared transaction is not in the file yet: this is the old one,
	   as any other process sees it */
	add_changes(&p, store->seqnum, placed, num);
	if (p.failed) {
		errno = ENOMEM;
	} else {
		ret = write_file(store, &p);
	}
	talloc_free(p.data);
	return ret;
}

/* --- reading ------------------------------------------------------------------ */

struct journal {
	uint8_t *data;
	struct unpack u; /* at the first change */
	uint64_t num_changes;
	uint32_t seqnum;
};

/* 1; 0 if it is not whole, so that its commit was not made; -1. */
static int load(struct store *store, void *mem_ctx, struct journal *journal)
{
	char name[KEY_MAX + 64];
	const uint8_t *magic = NULL;
	uint64_t sum = 0;
	size_t len = 0;
	size_t i;
	int error;
	int fd;

	journal_name(store, name);
	fd = openat(store->dir_fd, name, O_RDONLY | MRMR_OPEN_ANYTHING);
	if (fd == -1) {
		return -1;
	}
	journal->data = (uint8_t *)mrmr_file_read_fd(mem_ctx, fd,
						     JOURNAL_BYTES_MAX, &len);
	error = errno;
	close(fd);
	errno = error;
	if (journal->data == NULL) {
		return -1;
	}
	if (len < MAGIC_BYTES + SUM_BYTES) {
		return 0;
	}
	len -= SUM_BYTES;
	for (i = 0; i < SUM_BYTES; i++) {
		sum |= (uint64_t)journal->data[len + i] << (8 * i);
	}
	if (sum != XXH3_64bits(journal->data, len)) {
		return 0;
	}
	journal->u = unpack_of(journal->data, len);
	magic = unpack_bytes(&journal->u, MAGIC_BYTES);
	journal->seqnum = (uint32_t)unpack_fixed(&journal->u, 4);
	journal->num_changes = unpack_varint(&journal->u);
	if (journal->u.bad || memcmp(magic, MAGIC, MAGIC_BYTES) != 0) {
		errno = EILSEQ;
		return -1;
	}
	return 1;
}

static bool next_change(struct unpack *u, size_t *file, struct key *key,
			struct change *change)
{
	uint64_t len;

	*file = unpack_upto(u, STORE_FILES_MAX - 1);
	key->len = (uint8_t)unpack_upto(u, KEY_MAX);
	unpack_copy(u, key->byte, key->len);
	len = unpack_varint(u);
	*change = (struct change){.key = key};
	if (len > 0) {
		change->len = len - 1;
		change->value = unpack_bytes(u, len - 1);
	}
	return !u->bad;
}

static int open_for_redo(struct store *store, size_t file)
{
	if (store->files[file].tdb == NULL &&
	    store_open_file(store, file, false, NULL) == -1) {
		return -1;
	}
	errno = 0;
	if (tdb_transaction_start(store->files[file].tdb) == -1) {
		errno = store_errno(store->files[file].tdb, errno);
		return -1;
	}
	return 0;
}

/* One transaction in each file. */
static int redo(struct store *store, const struct journal *journal)
{
	bool is_used[STORE_FILES_MAX] = {false};
	struct unpack u = journal->u;
	struct tdb_context *tdb = NULL;
	struct change change;
	struct key key;
	size_t file;
	uint64_t i;

	for (i = 0; i < journal->num_changes; i++) {
		if (!next_change(&u, &file, &key, &change)) {
			errno = EILSEQ;
			return -1;
		}
		if (!is_used[file] && open_for_redo(store, file) == -1) {
			return -1;
		}
		is_used[file] = true;
		tdb = store->files[file].tdb;
		errno = 0;
		if (store_change_record(tdb, &change,
					tdb_exists(tdb, tdb_key(&key))) == -1) {
			errno = store_errno(tdb, errno);
			return -1;
		}
	}
	for (file = STORE_FILES_MAX; file-- > 0;) {
		if (!is_used[file]) {
			continue;
		}
		if (mrmr_fault("catalog-redo") != 0) {
			return -1;
		}
		errno = 0;
		if (tdb_transaction_commit(store->files[file].tdb) == -1) {
			errno = errno != 0 ? errno : EIO;
			return -1;
		}
	}
	return 0;
}

static int redo_if_needed(struct store *store, void *frame)
{
	struct journal journal = {.data = NULL};
	int is_whole = load(store, frame, &journal);

	if (is_whole == -1) {
		return -1;
	}
	/* tdb undoes what is unfinished in file 0 when it is read */
	if (store_load_self(store) == -1) {
		return -1;
	}
	if (is_whole == 1 &&
	    (uint32_t)tdb_get_seqnum(store->files[0].tdb) == journal.seqnum) {
		mrmr_log(MRMR_LOG_INFO,
			 "finishing a commit to %s that was interrupted",
			 store->name);
		if (redo(store, &journal) == -1) {
			return -1;
		}
	}
	return journal_remove(store, false);
}

int journal_redo(struct store *store)
{
	void *frame = talloc_new(NULL);
	int ret = redo_if_needed(store, frame);
	int error = errno;
	size_t i;

	for (i = 1; i < STORE_FILES_MAX; i++) {
		store_close_tdb(store->files[i].tdb);
		store->files[i].tdb = NULL;
	}
	talloc_free(frame);
	errno = error;
	return ret;
}
