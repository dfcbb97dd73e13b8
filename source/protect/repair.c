/*
 * MRMR: putting right what has gone bad (see mrmr/repair.h).
 *
 * A file that is repaired gets another inode, and three things know files by
 * their inode: the catalogue, the guard, and the folders of pre-images. At no
 * point may a client overwrite protected bytes without a pre-image that the
 * catalogue finds. Hence the order, and what a kill after each step leaves:
 *
 *	copy   good bytes, and computed ones, into .mrmr/rebuild; synced
 *	                       -> garbage there, which is swept
 *	guard  the new inode is declared
 *	                       -> an entry of the table too many
 *	note   a note in the catalogue: this file, old inode, new inode
 *	                       -> the next writer sees that nothing happened
 *	rename copy and bad file change names; synced
 *	                       -> the next writer finds the new inode there, and
 *	                          does what is left: pre-images that clients
 *	                          made of it meanwhile are found by it then.
 *	                          (The bad file is swept.)
 *	trash  the bad file goes there
 *	commit the catalogue has the new inode, and the note goes
 *	                       -> the old inode stays in the table
 *	forget the old inode
 *
 * (After a reboot everything counts as guarded until a writer has finished this
 * and made the table anew.)
 *
 * Clients. Nobody may have the file open for writing, and who comes to write while
 * it happens has to wait: a read lease on each of the two makes him, and tells of
 * him. If he has found the bad file, all is put back. If he has found the copy, that
 * keeps the name; to put it back, nobody may have come to it. An smbd that has
 * waited for the one that has not got the name sees that the file has moved, and
 * opens the other one. Readers go on with the bad file.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/live.h>
#include <mrmr/log.h>
#include <mrmr/marker.h>
#include <mrmr/move.h>
#include <mrmr/names.h>
#include <mrmr/repair.h>
#include <mrmr/shared.h>
#include <mrmr/staging.h>
#include <mrmr/trash.h>
#include <mrmr/undo.h>

#include "repair_private.h"

#define NS_PER_S INT64_C(1000000000)
#define TRASH_PREFIX MRMR_DIR "/" MRMR_TRASH "/"

/* Who opens the file for writing has found its name just before, and smbd may
   have it open as a path since a moment: time to be seen by the lease. */
#define SETTLE_NS (50 * 1000 * 1000)

int repair_fail(struct repair *r, int code, const char *why)
{
	return mrmr_error_set(r->err, code, "%s on member %s: %s",
			      r->node->name, mrmr_member_name(r->member), why);
}

int repair_fail_errno(struct repair *r, const char *what)
{
	int code = errno;

	return mrmr_error_set(r->err, code, "%s on member %s: %s: %s",
			      r->node->name, mrmr_member_name(r->member), what,
			      strerror(code));
}

static int64_t mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec;
}

/* --- the bad file ---------------------------------------------------------------- */

static int check_unchanged(struct repair *r)
{
	if (fstat(r->fd, &r->st) == -1) {
		return repair_fail_errno(r, "it cannot be looked at");
	}
	if ((uint64_t)r->st.st_ino != r->node->inode ||
	    (uint64_t)r->st.st_size != r->node->size_bytes ||
	    mtime_ns(&r->st) != r->node->mtime_ns) {
		return repair_fail(r, ESTALE,
				   "it has changed since it was protected");
	}
	if (r->st.st_nlink != 1) {
		return repair_fail(r, EMLINK,
				   "it has several names, which cannot all get "
				   "other "
				   "bytes at once: copy it, and link the copy");
	}
	return 0;
}

static int find_file(struct repair *r)
{
	size_t index;

	if (mrmr_live_open(r, r->engine, r->node, &r->live) == -1) {
		return repair_fail_errno(r, "it cannot be opened");
	}
	r->fd = mrmr_live_fd(r->live);
	if (r->fd == -1) {
		return repair_fail(r, ESTALE, "it is not there any more");
	}
	if (check_unchanged(r) == -1) {
		return -1;
	}
	if (mrmr_file_locate(r->engine->pool, r->fd, &index, r->path) == -1) {
		return repair_fail_errno(r, "its name is not to be had");
	}
	if (index != r->index) {
		return repair_fail(r, ESTALE, "it is on another member");
	}
	r->in_trash =
		strncmp(r->path, TRASH_PREFIX, sizeof(TRASH_PREFIX) - 1) == 0;
	return 0;
}

/* --- the swap ----------------------------------------------------------------------- */

/* Where the file's name is: a directory of the member, to be closed, locked if it
   is one of the pool. */
struct spot {
	struct mrmr_dir *dir; /* NULL: in the trash */
	int fd;
	const char *name;
};

static int open_spot(struct repair *r, struct spot *spot)
{
	const char *slash = strrchr(r->path, '/');
	struct mrmr_place place;
	char parent[MRMR_PATH_MAX];

	*spot = (struct spot){.fd = -1};
	spot->name = slash != NULL ? slash + 1 : r->path;
	if (r->in_trash) {
		snprintf(parent, sizeof(parent), "%.*s", (int)(slash - r->path),
			 r->path);
		spot->fd =
			openat(r->member->root_fd, parent,
			       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		return spot->fd == -1 ? -1 : 0;
	}
	if (mrmr_place_find(r->engine->pool, r->engine->pool->spine_fd, r->path,
			    &place) == -1 ||
	    mrmr_dir_lock(place.dir) == -1) {
		return -1;
	}
	spot->dir = place.dir;
	spot->fd = mrmr_dir_on_member(spot->dir, r->index);
	if (spot->fd != -1) {
		spot->fd = fcntl(spot->fd, F_DUPFD_CLOEXEC, 0);
	}
	if (spot->fd == -1) {
		int saved_errno = errno;

		mrmr_dir_unlock(spot->dir);
		errno = saved_errno;
		return -1;
	}
	return 0;
}

static void close_spot(struct spot *spot)
{
	int saved_errno = errno;

	close(spot->fd);
	if (spot->dir != NULL) {
		mrmr_dir_unlock(spot->dir);
	}
	errno = saved_errno;
}

static bool has_inode(const struct spot *spot, uint64_t inode)
{
	struct stat st;

	return fstatat(spot->fd, spot->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (uint64_t)st.st_ino == inode;
}

/* Its path as a client would know it. */
static const char *pool_path(const struct repair *r)
{
	const char *path = r->path;

	if (r->in_trash) {
		path += sizeof(TRASH_PREFIX) - 1;
		path += strcspn(path, "/");
		path += *path == '/';
	}
	return path;
}

/* Copy and bad file change names: the name is never without a whole file. Once,
   and once more to take it back. */
static int exchange(struct repair *r, const struct spot *spot)
{
	if (renameat2(r->rebuild_fd, r->staged, spot->fd, spot->name,
		      RENAME_EXCHANGE) == -1) {
		return -1;
	}
	r->is_exchanged = !r->is_exchanged;
	atomic_store(&r->engine->pool->shared->moved_ns, mrmr_now_ns());
	return mrmr_sync(spot->fd);
}

/* The bad file gets its name back. */
static int exchange_back(struct repair *r)
{
	int saved_errno = errno;
	struct spot spot;
	int ret = -1;

	if (open_spot(r, &spot) == 0) {
		if (has_inode(&spot, r->new_inode)) {
			ret = exchange(r, &spot);
		}
		close_spot(&spot);
	}
	errno = saved_errno;
	return ret;
}

/* Does somebody wait to write to the bad file, or to its copy? After the time that
   the kernel gives us, he may have done so. */
static bool is_wanted(int leased_fd)
{
	return fcntl(leased_fd, F_GETLEASE) != F_RDLCK;
}

enum taking {
	TAKEN,
	NOT_TAKEN,
	NAME_IS_GONE, /* another file has it by now */
	UNCLEAR,      /* which one has the name is for the next writer */
};

static enum taking take_name(struct repair *r)
{
	struct spot spot;
	int ret;

	if (open_spot(r, &spot) == -1) {
		return NOT_TAKEN;
	}
	if (!has_inode(&spot, r->node->inode)) {
		close_spot(&spot);
		return NAME_IS_GONE;
	}
	ret = mrmr_fault("repair-rename") == 0 ? exchange(r, &spot) : -1;
	close_spot(&spot);
	if (ret == 0) {
		return TAKEN;
	}
	if (!r->is_exchanged) {
		return NOT_TAKEN;
	}
	/* on the disk it may be one or the other */
	return !is_wanted(r->new_fd) && exchange_back(r) == 0 ? NOT_TAKEN
							      : UNCLEAR;
}

/* --- the records ------------------------------------------------------------------- */

static int fail_commit(struct repair *r)
{
	return mrmr_error_set(r->err, errno,
			      "the catalogue cannot be changed: %s",
			      mrmr_catalog_why(errno));
}

static int commit_note(struct repair *r, bool is_begun)
{
	const struct repair_note note = {
		.id = r->node->id,
		.member = r->node->member,
		.old_inode = r->node->inode,
		.new_inode = r->new_inode,
		.generation = r->generation,
	};

	if (mrmr_catalog_begin(r->engine->catalog) == -1) {
		return fail_commit(r);
	}
	if (repair_note_put(r->engine->catalog, is_begun ? &note : NULL) ==
	    -1) {
		fail_commit(r);
		mrmr_catalog_cancel(r->engine->catalog);
		return -1;
	}
	return mrmr_catalog_commit(r->engine->catalog, r->err);
}

static int commit_inode(struct repair *r)
{
	struct mrmr_node node = *r->node;

	node.inode = r->new_inode;
	node.generation = r->generation;
	if (mrmr_catalog_begin(r->engine->catalog) == -1) {
		return fail_commit(r);
	}
	if (mrmr_catalog_put(r->engine->catalog, &node, NULL) == -1 ||
	    repair_note_put(r->engine->catalog, NULL) == -1) {
		fail_commit(r);
		mrmr_catalog_cancel(r->engine->catalog);
		return -1;
	}
	return mrmr_catalog_commit(r->engine->catalog, r->err);
}

/* --- all of it ------------------------------------------------------------------------ */

static const char in_use[] = "somebody has it open for writing; the next scrub "
			     "tries again";

static int take_lease(int fd)
{
	/* The signal that tells of a wish is one that is ignored: it is looked
	   for when that matters. */
	return fcntl(fd, F_SETSIG, SIGURG) == -1
		       ? -1
		       : fcntl(fd, F_SETLEASE, F_RDLCK);
}

static int take_leases(struct repair *r)
{
	if (take_lease(r->new_fd) == -1 || take_lease(r->fd) == -1) {
		if (errno == EAGAIN) {
			return repair_fail(r, EBUSY, in_use);
		}
		return repair_fail_errno(r, "whether somebody has it open "
					    "cannot be "
					    "told");
	}
	return check_unchanged(r);
}

/* What was noted has not happened: 0 in the catalogue. */
static int take_back(struct repair *r)
{
	struct mrmr_error ignored = {0};
	struct mrmr_error *err = r->err;
	int saved_errno = errno;

	r->err = &ignored;
	if (commit_note(r, false) == 0) {
		mrmr_guard_forget(r->engine->guard, &r->member->config->id,
				  r->new_inode);
	}
	r->err = err;
	errno = saved_errno;
	return -1;
}

/* From the note on. */
static int swap(struct repair *r)
{
	const struct timespec settle = {.tv_nsec = SETTLE_NS};

	if (mrmr_fault("repair-noted") != 0) {
		repair_fail_errno(r, "it is as it was");
		return take_back(r);
	}
	switch (take_name(r)) {
	case TAKEN:
		break;
	case NAME_IS_GONE:
		repair_fail(r, ESTALE, "it was renamed or deleted");
		return take_back(r);
	case NOT_TAKEN:
		repair_fail_errno(r, "its copy cannot take its name");
		return take_back(r);
	case UNCLEAR:
		return repair_fail_errno(r, "its copy cannot take its name");
	}
	nanosleep(&settle, NULL);
	if ((is_wanted(r->fd) || mrmr_fault("repair-renamed") != 0) &&
	    !is_wanted(r->new_fd)) {
		repair_fail(r, EBUSY, in_use);
		return exchange_back(r) == 0 ? take_back(r) : -1;
	}
	if (mrmr_trash_move(r->engine->pool, r->index, r->rebuild_fd, r->staged,
			    pool_path(r), r->trash_path) == -1) {
		repair_fail_errno(r,
				  "its bad copy cannot be kept in the trash");
		if (!is_wanted(r->new_fd)) {
			return exchange_back(r) == 0 ? take_back(r) : -1;
		}
	} else {
		r->is_in_trash = true;
	}
	/* If this fails, the note stays for the next writer. */
	return commit_inode(r);
}

/* Where it is in the end. */
static const char *bad_copy(struct repair *r)
{
	const char *path =
		talloc_asprintf(r, "%s/%s/%s", MRMR_DIR,
				r->is_in_trash ? MRMR_TRASH : MRMR_REBUILD,
				r->is_in_trash ? r->trash_path : r->staged);

	return path != NULL ? path : MRMR_DIR;
}

static int replace(struct repair *r)
{
	const struct mrmr_uuid *id = &r->member->config->id;
	struct repair_note note;

	if (repair_note_get(r->engine->catalog, &note) != 0) {
		return repair_fail(r, EBUSY,
				   "another repair is to be finished first, "
				   "when its "
				   "member is back");
	}
	if (repair_copy(r) == -1 || take_leases(r) == -1) {
		return -1;
	}
	if (mrmr_guard_declare(r->engine->guard, id, r->new_inode,
			       &r->generation) == -1) {
		return repair_fail_errno(r, "it cannot be declared");
	}
	if (mrmr_fault("repair-declared") != 0 || commit_note(r, true) == -1) {
		mrmr_guard_forget(r->engine->guard, id, r->new_inode);
		return -1;
	}
	if (swap(r) == -1) {
		return -1;
	}
	if (is_wanted(r->fd)) {
		mrmr_log(MRMR_LOG_WARNING,
			 "member %s: while %s was repaired, somebody came to "
			 "write to it; if that was not through the share, what "
			 "he writes is in %s",
			 mrmr_member_name(r->member), r->path, bad_copy(r));
	}
	if (mrmr_fault("repair-committed") == 0) {
		mrmr_guard_forget(r->engine->guard, id, r->node->inode);
		mrmr_undo_drop(r->member->private_fd, r->node->inode, 0);
	}
	return 0;
}

/* Leaves nothing open, and no copy without a name. What was exchanged and could
   not be taken back has to be looked at by a person: it stays until the next
   sweep. */
static int close_repair(struct repair *r)
{
	if (r->new_fd != -1) {
		if (!r->is_exchanged) {
			unlinkat(r->rebuild_fd, r->staged, 0);
		}
		close(r->new_fd);
	}
	if (r->rebuild_fd != -1) {
		close(r->rebuild_fd);
	}
	return 0;
}

int mrmr_repair_file(struct mrmr_engine *engine, uint64_t id,
		     struct mrmr_error *err)
{
	struct repair *r = talloc_zero(engine, struct repair);
	int saved_errno;
	int ret;

	if (r == NULL) {
		return mrmr_error_set(err, ENOMEM, "not enough memory");
	}
	r->engine = engine;
	r->err = err;
	r->rebuild_fd = -1;
	r->new_fd = -1;
	talloc_set_destructor(r, close_repair);
	if (mrmr_catalog_get(engine->catalog, r, id, &r->node) == -1) {
		talloc_free(r);
		return mrmr_error_set(err, ESTALE,
				      "the catalogue does not know the file "
				      "any more");
	}
	r->index = mrmr_engine_member(engine, r->node->member);
	r->member = mrmr_engine_online(engine, r->node->member);
	if (r->member == NULL || r->node->kind != MRMR_NODE_FILE) {
		talloc_free(r);
		return mrmr_error_set(err, ENODEV,
				      "the file's member is not online");
	}
	ret = r->member->read_only
		      ? repair_fail(r, EROFS, "the member is read-only")
		      : find_file(r);
	if (ret == 0) {
		ret = replace(r);
	}
	if (ret == 0) {
		mrmr_log(MRMR_LOG_INFO,
			 "member %s: %s was repaired; the bad copy is in %s",
			 mrmr_member_name(r->member), r->path, bad_copy(r));
	}
	saved_errno = errno;
	talloc_free(r);
	errno = saved_errno;
	return ret;
}
