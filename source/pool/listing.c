/*
 * MRMR: the names in a directory, each once, over the spine and the members.
 *
 * The snapshot is an array of entries and one string of all names. A table of
 * positions, open addressing with at most half of it in use, tells whether a
 * name is there already.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/fault.h>
#include <mrmr/listing.h>
#include <mrmr/log.h>
#include <mrmr/names.h>
#include <mrmr/shortage.h>
#include <mrmr/staging.h>

#include "dir_private.h"

#define NOWHERE UINT32_MAX
#define READINGS_MAX 32 /* while files of the directory change members */

struct entry {
	uint64_t ino;
	uint32_t name;  /* offset in names */
	uint32_t hash;  /* of the name */
	int16_t member; /* -1: the spine */
	uint8_t type;
	bool on_member; /* a spine directory that a member has as well */
	bool is_hiding; /* a file that another member has as well */
};

struct mrmr_listing {
	struct entry *entries;
	size_t num_entries;
	size_t max_entries;
	char *names;
	size_t names_len;
	size_t names_size;
	uint32_t *table;
	size_t table_size; /* a power of two */
	bool is_partial;   /* a member's directory could not be read */
};

static uint32_t hash_name(const char *name)
{
	uint32_t hash = UINT32_C(2166136261);

	for (; *name != '\0'; name++) {
		hash = (hash ^ (uint8_t)*name) * UINT32_C(16777619);
	}
	return hash ^ (hash >> 15);
}

static bool is_named(const struct mrmr_listing *l, const struct entry *entry,
		     const char *name, uint32_t hash)
{
	return entry->hash == hash && strcmp(l->names + entry->name, name) == 0;
}

/* The position in the table where name is, or where it would go. */
static size_t table_find(const struct mrmr_listing *l, const char *name,
			 uint32_t hash)
{
	size_t mask = l->table_size - 1;
	size_t i = hash & mask;

	while (l->table[i] != NOWHERE &&
	       !is_named(l, &l->entries[l->table[i]], name, hash)) {
		i = (i + 1) & mask;
	}
	return i;
}

static int table_grow(struct mrmr_listing *l)
{
	size_t size = l->table_size > 0 ? 2 * l->table_size : 256;
	size_t i;

	talloc_free(l->table);
	l->table = talloc_array(l, uint32_t, size);
	if (l->table == NULL) {
		return -1;
	}
	memset(l->table, 0xff, size * sizeof(l->table[0]));
	l->table_size = size;
	/* Each name is there once, so none is compared with another. */
	for (i = 0; i < l->num_entries; i++) {
		size_t at = l->entries[i].hash & (size - 1);

		while (l->table[at] != NOWHERE) {
			at = (at + 1) & (size - 1);
		}
		l->table[at] = (uint32_t)i;
	}
	return 0;
}

static int make_room(struct mrmr_listing *l, size_t name_len)
{
	if (l->num_entries == l->max_entries) {
		size_t max = l->max_entries > 0 ? 2 * l->max_entries : 128;
		struct entry *entries =
			talloc_realloc(l, l->entries, struct entry, max);

		if (entries == NULL) {
			return -1;
		}
		l->entries = entries;
		l->max_entries = max;
	}
	if (l->names_size - l->names_len < name_len + 1) {
		size_t size = l->names_size > 0 ? 2 * l->names_size : 4096;
		char *names = talloc_realloc(l, l->names, char, size);

		if (names == NULL || size > UINT32_MAX) {
			return -1;
		}
		l->names = names;
		l->names_size = size;
	}
	if (2 * (l->num_entries + 1) > l->table_size) {
		return table_grow(l);
	}
	return 0;
}

struct reading {
	struct mrmr_listing *listing;
	struct mrmr_dir *dir;
	int16_t member;
	int fd;
	bool no_memory;
	bool strangers; /* directories that the spine lacks */
};

static uint8_t type_of(int fd, const struct linux_dirent64 *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN) {
		return entry->d_type;
	}
	if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
		return DT_UNKNOWN;
	}
	return IFTODT(st.st_mode);
}

/* Also by another name that the file system has for it. */
static bool is_private(const struct reading *r,
		       const struct linux_dirent64 *entry)
{
	return mrmr_name_is_private(r->dir, entry->d_name) ||
	       (r->dir->is_root && r->member != -1 &&
		r->dir->pool->members[r->member].state == MRMR_MEMBER_ONLINE &&
		entry->d_ino == r->dir->pool->members[r->member].private_ino);
}

static bool take(const struct linux_dirent64 *entry, void *private_data)
{
	struct reading *r = private_data;
	struct mrmr_listing *l = r->listing;
	size_t len = strlen(entry->d_name);
	uint32_t hash = hash_name(entry->d_name);
	uint8_t type = type_of(r->fd, entry);
	size_t at;

	if (is_private(r, entry)) {
		return false;
	}
	if (make_room(l, len) == -1) {
		r->no_memory = true;
		return true;
	}
	at = table_find(l, entry->d_name, hash);
	if (l->table[at] != NOWHERE) {
		struct entry *known = &l->entries[l->table[at]];

		if (type == DT_DIR && known->type == DT_DIR) {
			known->on_member = true;
		}
		known->is_hiding =
			known->is_hiding ||
			(known->member != -1 && known->member != r->member);
		return false;
	}

	if (type == DT_DIR && r->member != -1) {
		r->strangers = true;
	}
	memcpy(l->names + l->names_len, entry->d_name, len + 1);
	l->entries[l->num_entries] = (struct entry){
		.ino = entry->d_ino,
		.name = (uint32_t)l->names_len,
		.hash = hash,
		.member = r->member,
		.type = type,
		.on_member = r->member != -1,
	};
	l->table[at] = (uint32_t)l->num_entries;
	l->num_entries++;
	l->names_len += len + 1;
	return false;
}

static bool is_nowhere(struct mrmr_dir *dir, const char *name)
{
	size_t i;

	for (i = 0; i < dir->pool->num_members; i++) {
		int fd = mrmr_dir_on_member(dir, i);
		struct stat st;

		if (fd == -1 && errno != ENOENT) {
			return false; /* who knows */
		}
		if (fd != -1 &&
		    (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
		     errno != ENOENT)) {
			return false;
		}
	}
	return true;
}

/* With the tree locked, so that nobody clones it or what is below it onto a
   member meanwhile. */
static bool prune_one(struct mrmr_dir *dir, const char *name)
{
	bool pruned;

	if (mrmr_tree_lock(dir->pool, true) == -1) {
		return false;
	}
	pruned = is_nowhere(dir, name) &&
		 mrmr_spine_prune(dir->pool, dir->spine_fd, name) == 0;
	mrmr_tree_unlock(dir->pool);
	return pruned;
}

/*
 * Spine directories that no member has any more, though all are here: somebody
 * deleted them behind our back.
 */
static void prune(struct mrmr_dir *dir, struct mrmr_listing *l)
{
	struct mrmr_pool *pool = dir->pool;
	size_t kept = 2; /* "." and ".." */
	size_t i;

	if (!pool->all_online || pool->num_members == 0 ||
	    mrmr_dir_lock(dir) == -1) {
		return;
	}
	pool->identity.become_root();
	for (i = 2; i < l->num_entries; i++) {
		struct entry *entry = &l->entries[i];
		bool lacking = entry->member == -1 && entry->type == DT_DIR &&
			       !entry->on_member &&
			       !mrmr_name_is_unfinished(l->names + entry->name);

		if (!lacking || !prune_one(dir, l->names + entry->name)) {
			l->entries[kept++] = *entry;
		}
	}
	pool->identity.unbecome_root();
	l->num_entries = kept;
	mrmr_dir_unlock(dir);
}

static void bring_in_strangers(struct mrmr_dir *dir, struct mrmr_listing *l)
{
	size_t kept = 2; /* "." and ".." */
	size_t i;

	for (i = 2; i < l->num_entries; i++) {
		struct entry *entry = &l->entries[i];
		struct stat st;
		size_t member;
		int ret = 0;

		if (entry->type == DT_DIR && entry->member != -1) {
			ret = mrmr_name_find(dir, l->names + entry->name,
					     &member, &st);
			if (ret == 0 && member == MRMR_IN_SPINE) {
				entry->member = -1;
				entry->ino = st.st_ino;
			}
		}
		/* Seen in the middle of a rename: it has another name now. */
		if (ret == 0 || errno != ENOENT) {
			l->entries[kept++] = *entry;
		}
	}
	l->num_entries = kept;
}

static int add_dots(struct mrmr_listing *l, const struct mrmr_dir *dir)
{
	static const char *const dots[] = {".", ".."};
	size_t i;

	for (i = 0; i < 2; i++) {
		if (make_room(l, 2) == -1) {
			return -1;
		}
		strcpy(l->names + l->names_len, dots[i]);
		l->entries[i] = (struct entry){
			.ino = dir->ino,
			.name = (uint32_t)l->names_len,
			.hash = hash_name(dots[i]),
			.member = -1,
			.type = DT_DIR,
			.on_member = true,
		};
		l->names_len += i + 2;
		l->num_entries++;
	}
	return 0;
}

static int read_members(struct reading *reading, bool absent)
{
	struct mrmr_dir *dir = reading->dir;
	struct mrmr_pool *pool = dir->pool;
	size_t i;

	for (i = 0; i < pool->num_members && !reading->no_memory; i++) {
		if (mrmr_is_absent(pool, i) != absent) {
			continue;
		}
		reading->member = (int16_t)i;
		reading->fd = mrmr_dir_on_member(dir, i);
		if (reading->fd == -1 &&
		    (mrmr_is_shortage(errno) ||
		     (absent && !mrmr_dir_is_lacking(errno)))) {
			return -1;
		}
		if (reading->fd == -1) {
			reading->listing->is_partial =
				reading->listing->is_partial ||
				!mrmr_dir_is_lacking(errno);
			continue;
		}
		if (mrmr_fault("listing-read") != 0 ||
		    dir_each_entry(reading->fd, take, reading) == -1) {
			reading->listing->is_partial = true;
			/* A drive that cannot be read hides its files, not
			   those of the others. */
			mrmr_log(MRMR_LOG_ERROR,
				 "member %s: a directory "
				 "cannot be read: %s",
				 mrmr_member_name(&pool->members[i]),
				 strerror(errno));
			mrmr_pool_suspect(pool, &pool->members[i], errno);
		}
	}
	return 0;
}

/* All names of the spine directory and its clones that are not known yet; those
   of members that are away last, as what is here counts. */
static int read_all(struct reading *reading)
{
	struct mrmr_dir *dir = reading->dir;

	reading->member = -1;
	reading->fd = dir->spine_fd;
	if (dir_each_entry(dir->spine_fd, take, reading) == -1 ||
	    read_members(reading, false) == -1) {
		return -1;
	}
	if (mrmr_any_is_absent(dir->pool) &&
	    read_members(reading, true) == -1) {
		return -1;
	}
	if (reading->no_memory) {
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

struct mrmr_listing *mrmr_listing_new(void *mem_ctx, struct mrmr_dir *dir)
{
	struct mrmr_listing *l = talloc_zero(mem_ctx, struct mrmr_listing);
	struct reading reading = {.listing = l, .dir = dir};
	unsigned int readings = 0;
	bool lacking = false;
	uint32_t swaps;
	int saved_errno;
	size_t i;
	int ret;

	if (l == NULL || add_dots(l, dir) == -1) {
		talloc_free(l);
		errno = ENOMEM;
		return NULL;
	}
	/* A listing is when changes behind our back are seen. */
	mrmr_dir_forget(dir, SIZE_MAX);

	/* Again for what slipped through, which may happen again. */
	do {
		swaps = mrmr_dir_swaps(dir);
		ret = read_all(&reading);
	} while (ret == 0 && mrmr_dir_swaps(dir) != swaps &&
		 ++readings < READINGS_MAX);
	if (ret == -1) {
		saved_errno = errno;
		talloc_free(l);
		errno = saved_errno;
		return NULL;
	}

	if (reading.strangers) {
		bring_in_strangers(dir, l);
	}
	for (i = 2; i < l->num_entries && !lacking; i++) {
		lacking =
			l->entries[i].member == -1 && !l->entries[i].on_member;
	}
	if (lacking) {
		prune(dir, l);
	}
	TALLOC_FREE(l->table);
	return l;
}

size_t mrmr_listing_count(const struct mrmr_listing *listing)
{
	return listing->num_entries;
}

bool mrmr_listing_is_whole(const struct mrmr_listing *listing)
{
	return !listing->is_partial;
}

struct mrmr_listing_entry mrmr_listing_get(const struct mrmr_listing *listing,
					   size_t i)
{
	const struct entry *entry = &listing->entries[i];

	return (struct mrmr_listing_entry){
		.name = listing->names + entry->name,
		.ino = entry->ino,
		.member = entry->member == -1 ? MRMR_IN_SPINE
					      : (size_t)entry->member,
		.type = entry->type,
		.is_hiding = entry->is_hiding,
	};
}
