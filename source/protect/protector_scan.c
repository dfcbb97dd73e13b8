/*
 * MRMR: the protector: a scan, where events may have been missed.
 *
 * Goes through the union as it is now, directory by directory, and brings the
 * catalogue in step: names that are there, names that are gone. What differs
 * from what is protected, by size, time and inode, becomes pending. Before
 * that, the trash of each member: a file in it that the catalogue knows under a
 * name has been deleted. A scan that does not come to its end is begun anew by
 * the next protector, and finds most of it done.
 *
 * It may never come to its end, as a drive has a bad sector. So what is known is
 * protected nonetheless; only what seems to be gone stays in its stripes, as it may
 * be where the scan has not been.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/dir.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/listing.h>
#include <mrmr/log.h>
#include <mrmr/names.h>
#include <mrmr/undo.h>

#include "protector_private.h"

#define PER_TRANSACTION 4096
#define RETRY_NS (600 * INT64_C(1000000000))

struct scan {
	struct protector *p;
	char **todo; /* directories, talloc */
	size_t num_todo;
	size_t in_transaction; /* names seen since it began */
	struct mrmr_error *err;
};

/* --- transactions -------------------------------------------------------------- */

/* Between two directories: nothing that is read from the catalogue is kept. */
static int commit_some(struct scan *scan)
{
	if (mrmr_fault("protect-scan") != 0) {
		return -1;
	}
	if (scan->in_transaction < PER_TRANSACTION) {
		return 0;
	}
	scan->in_transaction = 0;
	if (protector_commit(scan->p, scan->err) == -1 ||
	    protector_begin(scan->p, scan->err) == -1) {
		return -1;
	}
	return 0;
}

static int push(struct scan *scan, const char *path)
{
	if ((scan->num_todo & (scan->num_todo - 1)) == 0) {
		size_t num = scan->num_todo > 0 ? 2 * scan->num_todo : 1;
		char **todo = talloc_realloc(scan->p, scan->todo, char *, num);

		if (todo == NULL) {
			errno = ENOMEM;
			return -1;
		}
		scan->todo = todo;
	}
	scan->todo[scan->num_todo] = talloc_strdup(scan->todo, path);
	if (scan->todo[scan->num_todo] == NULL) {
		errno = ENOMEM;
		return -1;
	}
	scan->num_todo++;
	return 0;
}

/* --- directories --------------------------------------------------------------- */

struct known {
	void *mem_ctx;
	const char **listed; /* sorted */
	size_t num_listed;
	char **gone;
	size_t num_gone;
};

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int find_gone(const struct mrmr_node *node, void *private_data)
{
	struct known *known = private_data;
	const char *name = node->name;
	char **gone = NULL;

	if (known->num_listed > 0 &&
	    bsearch(&name, known->listed, known->num_listed,
		    sizeof(known->listed[0]), compare) != NULL) {
		return 0;
	}
	gone = talloc_realloc(known->mem_ctx, known->gone, char *,
			      known->num_gone + 1);
	if (gone == NULL) {
		errno = ENOMEM;
		return -1;
	}
	known->gone = gone;
	gone[known->num_gone] = talloc_strdup(gone, name);
	if (gone[known->num_gone] == NULL) {
		errno = ENOMEM;
		return -1;
	}
	known->num_gone++;
	return 0;
}

/* What a member has of a name in this directory. 1; 0: nothing; -1 with errno: that
   cannot be known. */
static int look_on(struct mrmr_dir *dir, size_t member, const char *name,
		   struct stat *st)
{
	int fd = mrmr_dir_on_member(dir, member);

	if (fd == -1) {
		return mrmr_dir_is_lacking(errno) ? 0 : -1;
	}
	if (mrmr_fault("scan-hidden") == 0 &&
	    fstatat(fd, name, st, AT_SYMLINK_NOFOLLOW) == 0) {
		return 1;
	}
	return errno == ENOENT ? 0 : -1;
}

static int tell_unseen(struct scan *scan, size_t member, const char *path)
{
	struct mrmr_pool *pool = scan->p->pool;
	int error = errno;

	mrmr_pool_suspect(pool, &pool->members[member], error);
	return mrmr_error_set(scan->err, error,
			      "the pool cannot be scanned: member %s: what it "
			      "has as '%s' cannot be looked at: %s",
			      mrmr_member_name(&pool->members[member]), path,
			      strerror(error));
}

/* After a power cut, what a client had replaced by a file of another member may be
   there again, and hide it. Nobody may take that one for lost, also if it cannot be
   looked at: then this is not the time to scan. */
static int see_hidden(struct scan *scan, struct mrmr_dir *dir, uint64_t dir_id,
		      const char *path, const char *name,
		      const struct look *shown)
{
	struct protector *p = scan->p;
	size_t i;

	for (i = 0; i < p->pool->num_members; i++) {
		struct look look = {.member = i,
				    .number = p->engine->number[i]};
		int ret;

		if (i == shown->member ||
		    mrmr_engine_online(p->engine, look.number) == NULL) {
			continue;
		}
		ret = look_on(dir, i, name, &look.st);
		if (ret == -1) {
			return tell_unseen(scan, i, path);
		}
		if (ret == 1 && S_ISREG(look.st.st_mode) &&
		    !look_is_unlasting(p, &look) &&
		    names_see_hidden(p, dir_id, name, &look) == -1) {
			return -1;
		}
	}
	return 0;
}

/* A name that the catalogue has in a directory, and the listing has not. */
static int drop(struct scan *scan, void *frame, struct mrmr_dir *dir,
		uint64_t dir_id, const char *path, const char *name)
{
	struct protector *p = scan->p;
	char *below = talloc_asprintf(frame, "%s%s%s", path,
				      path[0] != '\0' ? "/" : "", name);
	struct look look;
	int ret;

	/* it may have come since; or the listing is not whole */
	if (below == NULL || look_at(p, frame, below, &look) == -1) {
		return -1;
	}
	if (look.is_there) {
		return look.kind == MRMR_NODE_DIRECTORY
			       ? 0
			       : see_hidden(scan, dir, dir_id, below, name,
					    &look);
	}
	if (names_detach(p, dir_id, name, NAMES_SEEMS) == -1) {
		return -1;
	}
	ret = absent_show_directory(p, dir, dir_id, name, below);
	return ret == 1 ? push(scan, below) : ret;
}

static int drop_gone(struct scan *scan, void *frame, struct mrmr_dir *dir,
		     uint64_t dir_id, const char *path,
		     struct mrmr_listing *listing)
{
	struct protector *p = scan->p;
	struct known known = {.mem_ctx = frame};
	size_t i;

	known.num_listed = mrmr_listing_count(listing);
	known.listed = talloc_array(frame, const char *, known.num_listed);
	if (known.listed == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < known.num_listed; i++) {
		known.listed[i] = mrmr_listing_get(listing, i).name;
	}
	qsort(known.listed, known.num_listed, sizeof(known.listed[0]), compare);
	if (mrmr_catalog_list(p->catalog, dir_id, find_gone, &known) == -1) {
		return -1;
	}
	for (i = 0; i < known.num_gone; i++) {
		if (drop(scan, frame, dir, dir_id, path, known.gone[i]) == -1) {
			return -1;
		}
	}
	return 0;
}

/* may_hide: another member may have a file of this name. */
static int see_entry(struct scan *scan, void *frame, struct mrmr_dir *dir,
		     uint64_t dir_id, const char *path, const char *name,
		     bool may_hide)
{
	struct protector *p = scan->p;
	struct look look;
	char *below = NULL;
	uint64_t id;
	int ret;

	if (mrmr_name_is_unfinished(name)) {
		return 0;
	}
	below = talloc_asprintf(frame, "%s%s%s", path,
				path[0] != '\0' ? "/" : "", name);
	if (below == NULL) {
		errno = ENOMEM;
		return -1;
	}
	ret = look_in(p, frame, dir, name, &look);
	if (ret == 0 && look.is_there) {
		ret = back_into_trash(p, frame, dir, dir_id, name, below,
				      &look);
		if (ret == -1 || ret == 2) {
			return ret == 2 ? 0 : -1;
		}
		ret = ret == 1 ? look_in(p, frame, dir, name, &look) : 0;
	}
	if (ret == -1) {
		mrmr_log(MRMR_LOG_WARNING, "'%s' cannot be looked at: %s",
			 below, strerror(errno));
		return 0;
	}
	if (!look.is_there) {
		return 0;
	}
	if (names_see(p, dir_id, name, &look, false, &id) == -1) {
		return -1;
	}
	scan->in_transaction++;
	if (look.kind == MRMR_NODE_DIRECTORY) {
		return push(scan, below);
	}
	return may_hide ? see_hidden(scan, dir, dir_id, below, name, &look) : 0;
}

static int scan_entries(struct scan *scan, struct mrmr_dir *dir,
			uint64_t dir_id, const char *path)
{
	struct protector *p = scan->p;
	struct mrmr_listing *listing = mrmr_listing_new(p, dir);
	size_t num;
	size_t i;
	int ret = 0;

	if (listing == NULL) {
		return -1;
	}
	num = mrmr_listing_count(listing);
	for (i = 2; i < num && ret == 0; i++) { /* after . and .. */
		struct mrmr_listing_entry entry = mrmr_listing_get(listing, i);
		bool may_hide =
			entry.is_hiding || !mrmr_listing_is_whole(listing);
		void *frame = talloc_new(listing);

		/* where it was just read: nobody else is asked */
		if (entry.member != MRMR_IN_SPINE && entry.type != DT_DIR) {
			mrmr_dir_hint(dir, entry.name, entry.member);
		}
		ret = frame != NULL ? see_entry(scan, frame, dir, dir_id, path,
						entry.name, may_hide)
				    : -1;
		talloc_free(frame);
	}
	if (ret == 0) {
		ret = drop_gone(scan, listing, dir, dir_id, path, listing);
	}
	talloc_free(listing);
	return ret;
}

static int open_spine(struct protector *p, const char *path)
{
	return path[0] == '\0' ? fcntl(p->pool->spine_fd, F_DUPFD_CLOEXEC, 0)
			       : look_open(p->pool->spine_fd, path,
					   O_RDONLY | O_DIRECTORY);
}

static int scan_directory(struct scan *scan, const char *path)
{
	struct protector *p = scan->p;
	struct mrmr_node *node = NULL;
	struct mrmr_dir *dir = NULL;
	int saved_errno;
	int ret;
	int fd;

	mrmr_pool_use(p->pool);
	if (mrmr_catalog_find_path(p->catalog, p, path, &node) == -1) {
		return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
	}
	fd = open_spine(p, path);
	dir = fd != -1 ? mrmr_dir_get(p->pool, fd) : NULL;
	saved_errno = errno;
	if (fd != -1) {
		close(fd);
	}
	if (dir == NULL || node->kind != MRMR_NODE_DIRECTORY) {
		talloc_free(node);
		errno = saved_errno;
		/* removed meanwhile: there is an event of that. Or nothing below
		   can be protected, as its path is too long */
		return dir != NULL || errno == ENOENT || errno == ENOTDIR ||
				       errno == ELOOP || errno == ENAMETOOLONG
			       ? 0
			       : -1;
	}
	dir->pins++;
	if (path[0] != '\0') {
		mrmr_dir_align(dir); /* the roots of members are their own */
	}
	ret = scan_entries(scan, dir, node->id, path);
	dir->pins--;
	saved_errno = errno;
	talloc_free(node);
	errno = saved_errno;
	return ret == 0 ? commit_some(scan) : -1;
}

/* --- what was about to be overwritten --------------------------------------------- */

struct kept {
	struct scan *scan;
	uint16_t number;
	bool has_failed; /* the catalogue; not the member */
};

static int see_kept(uint64_t inode, uint64_t bytes, void *private_data)
{
	struct kept *kept = private_data;
	struct protector *p = kept->scan->p;
	struct mrmr_node *node = NULL;
	uint64_t id;
	int ret = 0;

	(void)bytes;
	if (mrmr_catalog_find_inode(p->catalog, kept->number, inode, &id) ==
		    -1 ||
	    mrmr_catalog_get(p->catalog, p, id, &node) == -1) {
		kept->has_failed = errno != ENOENT;
		return kept->has_failed ? -1 : 0;
	}
	if (node->kind == MRMR_NODE_FILE && node->dir_id != MRMR_ID_TRASH &&
	    !pending_has(p->pending, id)) {
		ret = pending_add(p->pending, id, node->member,
				  node->size_bytes, 0);
		kept->has_failed = ret == -1;
	}
	talloc_free(node);
	return ret;
}

/* A client has kept protected bytes of a file, to overwrite them, and nobody has
   told of the change. After a power cut the file may have the new bytes, or some
   of them, and its old time: so it is read again. */
static int scan_kept(struct scan *scan)
{
	struct protector *p = scan->p;
	size_t i;

	for (i = 0; i < p->pool->num_members; i++) {
		const struct mrmr_member *member = &p->pool->members[i];
		struct kept kept = {scan, p->engine->number[i], false};

		if (member->state != MRMR_MEMBER_ONLINE ||
		    mrmr_undo_walk(member->private_fd, see_kept, &kept) != -1) {
			continue;
		}
		if (kept.has_failed) {
			return -1;
		}
		mrmr_log(MRMR_LOG_WARNING,
			 "member %s: its pre-images cannot be seen: %s",
			 mrmr_member_name(member), strerror(errno));
	}
	return 0;
}

/* --- all of it -------------------------------------------------------------------- */

static int scan_all(struct scan *scan, const char *path)
{
	struct protector *p = scan->p;
	void *frame = talloc_new(p);
	struct look look;
	int ret = -1;

	if (scan_trash(p, &scan->in_transaction) == 0 &&
	    commit_some(scan) == 0 &&
	    (path[0] != '\0' ||
	     (names_seek_gone(p) == 0 && scan_kept(scan) == 0)) &&
	    look_at(p, frame, path, &look) == 0 &&
	    names_see_path(p, path, &look, false) == 0) {
		ret = 0;
	}
	if (ret == 0 && look.is_there && look.kind == MRMR_NODE_DIRECTORY) {
		ret = push(scan, path);
	}
	talloc_free(frame);
	while (ret == 0 && scan->num_todo > 0 && !protector_should_stop(p)) {
		char *next = scan->todo[--scan->num_todo];

		ret = scan_directory(scan, next);
		talloc_free(next);
	}
	return ret;
}

int scan_load(struct protector *p)
{
	size_t len = 0;
	uint8_t *value =
		mrmr_catalog_get_note(p->catalog, p, MRMR_SCAN_NOTE, &len);

	if (value == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	p->scan_path = talloc_strndup(p, (const char *)value, len);
	talloc_free(value);
	if (p->scan_path == NULL) {
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

/* What was asked for meanwhile stays so. */
static int scan_and_note(struct scan *scan, const char *path)
{
	struct protector *p = scan->p;
	bool *seen = unseen_begin(p);
	int ret = seen != NULL ? scan_all(scan, path) : -1;

	if (ret == 0 && !protector_should_stop(p)) {
		if (path[0] == '\0') {
			ret = unseen_note(p, seen);
		}
		if (ret == 0 && p->scan_path == NULL) {
			ret = mrmr_catalog_put_note(p->catalog, MRMR_SCAN_NOTE,
						    NULL, 0);
		}
	}
	talloc_free(seen);
	return ret;
}

/* It is still to be done: by the note, unless that cannot be read. */
static void keep_path(struct protector *p, char *path)
{
	TALLOC_FREE(p->scan_path);
	if (scan_load(p) == -1 || p->scan_path == NULL) {
		p->scan_path = path;
	} else {
		talloc_free(path);
	}
}

static int scan_now(struct protector *p, bool *any, struct mrmr_error *err)
{
	struct scan scan = {.p = p, .err = err};
	char *path = NULL;
	int ret;

	if (p->scan_path[0] == '\0') {
		ret = doubt_scan(p, err);
		if (ret != 0) {
			return ret == 1                   ? doubt_refuse(p, err)
			       : protector_should_stop(p) ? 0
							  : -1;
		}
	}
	path = talloc_move(p, &p->scan_path);
	if (protector_begin(p, err) == -1) {
		p->scan_path = path;
		return -1;
	}
	ret = scan_and_note(&scan, path);
	TALLOC_FREE(scan.todo);
	if (ret == -1 && err->code == 0) {
		mrmr_error_set(err, errno, "the pool cannot be scanned: %s",
			       strerror(errno));
	}
	if (ret == -1 || protector_commit(p, err) == -1) {
		protector_cancel(p);
		keep_path(p, path);
		return -1;
	}
	*any = true;
	if (path[0] == '\0' && !protector_should_stop(p)) {
		tidy_blobs(p);
	}
	talloc_free(path);
	return 0;
}

int scan_run(struct protector *p, bool *any, struct mrmr_error *err)
{
	if (p->scan_path == NULL || p->is_doubtful ||
	    mrmr_now_ns() < p->rescan_ns) {
		return 0;
	}
	p->scan_err.code = 0;
	if (scan_now(p, any, err) == 0) {
		return 0;
	}
	if (p->is_doubtful || protector_is_fatal(err->code)) {
		return -1;
	}
	mrmr_log(MRMR_LOG_ERROR,
		 "%s; until a scan comes to its end, only what is known is "
		 "protected",
		 err->text);
	p->scan_err = *err;
	p->rescan_ns = mrmr_now_ns() + RETRY_NS;
	err->code = 0;
	return 0;
}
