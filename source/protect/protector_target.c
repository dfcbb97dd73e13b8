/*
 * MRMR: the protector: a file that is due.
 *
 * A file that somebody has open for writing cannot be declared: who opened it
 * before does not know that its bytes are to be kept. The kernel tells, by
 * refusing a read lease. While this process has the lease, nobody can open the
 * file for writing: he is made to wait. So the file is declared then, and the
 * lease given back; whoever opens it afterwards finds the declaration. What the
 * file has at that moment is the version that is protected.
 *
 * (Were it declared before, somebody who has it open could write in between,
 * and close it: the version would be that of the declaration where he kept what
 * he overwrote, with a size and time of later.)
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/guard.h>
#include <mrmr/log.h>
#include <mrmr/marker.h>
#include <mrmr/protection.h>
#include <mrmr/shortage.h>
#include <mrmr/staging.h>
#include <mrmr/undo.h>
#include <mrmr/xattrs.h>

#include "protector_private.h"

#define RETRY_NS INT64_C(1000000000)

/* --- is it due? -------------------------------------------------------------- */

static int64_t ctime_ns(const struct stat *st)
{
	return (int64_t)st->st_ctim.tv_sec * INT64_C(1000000000) +
	       st->st_ctim.tv_nsec;
}

static bool is_quiet(struct protector *p, struct pending_entry *entry,
		     const struct stat *st)
{
	int64_t now = protector_now_ns();
	int64_t settled = ctime_ns(st) + p->options->settle_ns;

	/* A time to come tells that the clock was put back. */
	if (p->options->everything || protector_must_hurry(p) ||
	    settled <= now || ctime_ns(st) > now) {
		return true;
	}
	entry->retry_ns = settled;
	return false;
}

/* --- finding it ----------------------------------------------------------------- */

struct finding {
	struct protector *p;
	void *frame;
	struct pending_entry *entry;
	const struct mrmr_node *node;
	struct mrmr_member *member;
	const char *path; /* in the pool, and below the member */
	int fd;
	struct stat st;
};

/* Were protected bytes of it given up? */
static bool is_lost(const struct finding *f)
{
	return (pending_flags(f->p->pending, f->entry->node) & PENDING_LOST) !=
	       0;
}

/* The catalogue is changed outside of the batch. */
static int see_alone(struct protector *p, const char *path,
		     const struct look *look)
{
	struct mrmr_error err = {0};
	const char *name = NULL;
	uint64_t dir_id;
	int ret;

	if (protector_begin(p, &err) == -1) {
		return -1;
	}
	if (look->is_there) {
		ret = names_see_path(p, path, look, true);
	} else {
		ret = names_parent(p, path, &dir_id, &name);
		if (ret == 0) {
			ret = names_detach(p, dir_id, name, NAMES_SEEMS);
		}
	}
	if (ret == -1) {
		int saved_errno = errno;

		protector_cancel(p);
		errno = saved_errno;
		return -1;
	}
	p->has_changed = true;
	return protector_commit(p, &err);
}

/*
 * Nothing, or something else, is where it should be. Once there are no events
 * to come that would tell why, it is as it looks.
 */
static int settle_name(struct finding *f, const char *path,
		       enum readiness *readiness)
{
	struct protector *p = f->p;
	struct look look;

	f->entry->retry_ns = protector_now_ns() + RETRY_NS / 10;
	*readiness = TARGET_LATER;
	if (!mrmr_queue_is_empty(p->engine->queue)) {
		return 0;
	}
	if (look_at(p, f->frame, path, &look) == -1) {
		return -1;
	}
	/* it may have come back; or a scan has to look for it */
	if (look.is_there && look.kind == MRMR_NODE_FILE &&
	    look.number == f->node->member) {
		return 0;
	}
	return see_alone(p, path, &look);
}

/*
 * A file that lost its name. If its member is away it waits: others need its
 * bytes, and they may come back. So it does if it is there, under a name that the
 * catalogue has for one that is away. Else it is in the trash by now, of which
 * there is an event; or it was not removed after all. If neither, it leaves its
 * stripes.
 */
static int settle_gone(struct finding *f, struct batch *batch,
		       const char *trash_path, struct target *target,
		       enum readiness *readiness)
{
	struct protector *p = f->p;
	const char *path = mrmr_trash_origin(trash_path);
	struct look look;
	int ret;

	if (mrmr_engine_member(p->engine, f->node->member) != SIZE_MAX &&
	    mrmr_engine_online(p->engine, f->node->member) == NULL) {
		*readiness = TARGET_SKIPPED;
		return 0;
	}
	/* a scan that broke off may not have come to its new name */
	if (p->scan_err.code != 0) {
		*readiness = TARGET_SKIPPED;
		return 0;
	}
	if (!mrmr_queue_is_empty(p->engine->queue)) {
		f->entry->retry_ns = protector_now_ns() + RETRY_NS / 10;
		*readiness = TARGET_LATER;
		return 0;
	}
	ret = look_for_inode(p, f->node->member, false, path, f->node->inode);
	if (ret == 1) {
		ret = names_is_held(p, f->frame, path, f->node->member);
	}
	if (ret != 0) {
		*readiness = TARGET_SKIPPED;
		return ret == 1 ? 0 : -1;
	}
	if (look_at(p, f->frame, path, &look) == -1) {
		return -1;
	}
	if (look.is_there && look.kind == f->node->kind &&
	    look.number == f->node->member && f->node->inode != 0 &&
	    (uint64_t)look.st.st_ino == f->node->inode) {
		/* from the trash, it is back under its name: a scan settles
		   that (protector_back.c) */
		if (!names_is_gone(f->node->name)) {
			*readiness = TARGET_NOTHING_TO_DO;
			return 0;
		}
		*readiness = TARGET_LATER;
		return see_alone(p, path, &look);
	}
	*readiness = TARGET_READY;
	target->is_gone = true;
	return target_prepare_gone(p, batch, target);
}

/* Nodes that are no files: their attributes, where they are by now. */
static int settle_other(struct finding *f, const char *path,
			enum readiness *readiness)
{
	struct protector *p = f->p;
	struct look look;

	*readiness = TARGET_NOTHING_TO_DO;
	if (look_at(p, f->frame, path, &look) == -1) {
		return -1;
	}
	if (!look.is_there) {
		return settle_name(f, path, readiness);
	}
	return see_alone(p, path, &look);
}

static int open_file(struct finding *f, const char *path)
{
	f->fd = look_open(f->member->root_fd, path, O_RDONLY | O_NOATIME);
	if (f->fd == -1 && errno == EPERM) {
		/* somebody else's file, on a server that has an opinion */
		f->fd = look_open(f->member->root_fd, path, O_RDONLY);
	}
	if (f->fd == -1) {
		return -1;
	}
	if (fstat(f->fd, &f->st) == -1) {
		return -1;
	}
	if (!S_ISREG(f->st.st_mode)) {
		errno = ENOENT;
		return -1;
	}
	return 0;
}

/* --- declaring -------------------------------------------------------------------- */

/* Has anybody written to it since it was declared last? Who did has left
   pre-images. */
static bool has_preimages(const struct finding *f)
{
	char name[sizeof(MRMR_UNDO "/") + 16];
	struct stat st;

	snprintf(name, sizeof(name), MRMR_UNDO "/%" PRIx64,
		 (uint64_t)f->st.st_ino);
	return fstatat(f->member->private_fd, name, &st, AT_SYMLINK_NOFOLLOW) ==
	       0;
}

/* What is known of it is what it has. To be asked while it cannot change. */
static bool is_unchanged(const struct finding *f)
{
	return f->node->num_extents > 0 &&
	       f->node->inode == (uint64_t)f->st.st_ino &&
	       f->node->size_bytes == (uint64_t)f->st.st_size &&
	       f->node->mtime_ns == look_mtime_ns(&f->st) && !has_preimages(f);
}

/* 1; 0 if somebody has it open for writing; -1. f->st is what it was then. */
static int declare(struct finding *f, uint32_t *generation, bool *unchanged)
{
	struct protector *p = f->p;
	int saved_errno;
	int ret;

	if (fcntl(f->fd, F_SETLEASE, F_RDLCK) == -1) {
		return errno == EAGAIN ? 0 : -1;
	}
	ret = fstat(f->fd, &f->st);
	if (ret == 0) {
		*unchanged = is_unchanged(f);
		ret = mrmr_guard_declare(p->engine->guard,
					 &f->member->config->id,
					 (uint64_t)f->st.st_ino, generation);
	}
	saved_errno = errno;
	fcntl(f->fd, F_SETLEASE, F_UNLCK);
	errno = saved_errno;
	if (ret == -1) {
		return -1;
	}
	return mrmr_fault("protect-declared") == 0 ? 1 : -1;
}

/* --- making a target ------------------------------------------------------------------ */

static int open_now(struct finding *f, struct batch *batch,
		    struct mrmr_live_member *member, bool is_closed,
		    struct target *target)
{
	if (is_closed && target->node.inode == (uint64_t)f->st.st_ino) {
		return mrmr_live_at(batch, member, &target->node, f->path,
				    &target->now);
	}
	return mrmr_live_open_on(batch, f->p->engine, member, &target->node,
				 is_closed, &target->now);
}

static int open_lives(struct finding *f, struct batch *batch,
		      struct target *target, bool unchanged)
{
	struct protector *p = f->p;
	struct mrmr_live_member *member =
		batch_member(batch, target->node.member);
	/* Many small files, or a few large ones, which stay open. */
	bool is_closed = target->node.size_bytes <= target->node.grid_bytes;

	if (member == NULL) {
		return -1;
	}
	if (target->node.size_bytes > 0 &&
	    open_now(f, batch, member, is_closed, target) == -1) {
		return -1;
	}
	/* If they are nowhere, there is an erasure to be mended. */
	if (!unchanged && target->old->num_extents > 0 &&
	    mrmr_live_open_on(batch, p->engine, member, target->old, is_closed,
			      &target->was) == -1) {
		if (mrmr_is_shortage(errno)) {
			return -1;
		}
		target->was = NULL;
	}
	return 0;
}

static int fill_node(struct finding *f, struct batch *batch,
		     struct target *target, uint32_t generation)
{
	struct mrmr_node *node = &target->node;

	*node = *f->node;
	node->inode = (uint64_t)f->st.st_ino;
	node->size_bytes = (uint64_t)f->st.st_size;
	node->mtime_ns = look_mtime_ns(&f->st);
	node->mode = f->st.st_mode;
	node->uid = f->st.st_uid;
	node->gid = f->st.st_gid;
	node->generation = generation;
	if (f->node->num_extents == 0) {
		node->grid_bytes = f->p->pool->config->block_size_bytes;
	}
	target->num_extents =
		target_count_extents(node->size_bytes, node->grid_bytes);
	node->xattrs = NULL;
	node->xattrs_len = 0;
	if (mrmr_xattrs_read(batch, f->fd, &node->xattrs, &node->xattrs_len) ==
		    -1 &&
	    errno != E2BIG) {
		return -1;
	}
	return 0;
}

/* Must it not be protected where it is? */
static bool is_unlasting(const struct finding *f)
{
	return f->member->unlasting != NULL ||
	       (f->fd != -1 && mrmr_is_in_subvolume(f->member, &f->st));
}

/* It leaves its stripes then. */
static int prepare_unlasting(struct finding *f, struct batch *batch,
			     struct target *target, enum readiness *readiness)
{
	struct mrmr_live_member *member =
		batch_member(batch, target->old->member);

	if (member == NULL || fill_node(f, batch, target, 0) == -1) {
		return -1;
	}
	if (mrmr_live_open_on(batch, f->p->engine, member, target->old, false,
			      &target->was) == -1) {
		target->was = NULL;
	}
	target->node.inode = 0;
	target->num_extents = 0;
	target->has_moved = true;
	*readiness = TARGET_READY;
	return target_find_changes(f->p, batch, target, false, UINT64_MAX);
}

/*
 * What a drive did not take is written no more. It stays in memory, as it should be
 * on the drive, until the kernel needs the room. Who syncs the file system is told
 * of that once, and who syncs the file is, once more: then a person is. The next
 * attempt finds what is in memory. That is what clients wrote, and nobody else has it:
 * in its parity it is kept, and the scrub that meets what the drive has writes it
 * again.
 */
static int check_written(const struct finding *f)
{
	int error;

	if (!f->p->engine->writes_failed ||
	    (mrmr_fault("protect-fsync") == 0 && fsync(f->fd) == 0)) {
		return 0;
	}
	error = errno;
	mrmr_log(MRMR_LOG_ERROR,
		 "member %s: what was written to '%s' did not reach the "
		 "drive: %s. It is protected as it was written. Check the "
		 "drive, and have mrmr-admin scrub --repair write it again",
		 mrmr_member_name(f->member), f->path, strerror(error));
	errno = error;
	return -1;
}

static int prepare(struct finding *f, struct batch *batch, uint64_t max_bytes,
		   struct target *target, enum readiness *readiness)
{
	struct protector *p = f->p;
	const struct large_file *large = &p->large[f->member->index];
	uint32_t generation = 0;
	bool unchanged = false;
	int ret;

	/* Something else has its name; events to come may tell where it is. */
	if (f->node->inode != 0 && f->node->inode != (uint64_t)f->st.st_ino &&
	    !mrmr_queue_is_empty(p->engine->queue)) {
		f->entry->retry_ns = protector_now_ns() + RETRY_NS / 10;
		*readiness = TARGET_LATER;
		return 0;
	}
	if (check_written(f) == -1) {
		return -1;
	}
	/* the next part of a large one: it was declared with the first */
	if (large->id == f->node->id &&
	    large->generation == f->node->generation) {
		target->serial = large->serial;
		target->node = *f->node;
		target->num_extents = target_count_extents(f->node->size_bytes,
							   f->node->grid_bytes);
		target->is_put_first = true;
		if (open_lives(f, batch, target, true) == -1) {
			return -1;
		}
		*readiness = TARGET_READY;
		return target_find_changes(p, batch, target, true, max_bytes);
	}
	/* what was given up is mended though it is being written */
	if (!is_lost(f) && !is_quiet(p, f->entry, &f->st)) {
		*readiness = TARGET_LATER;
		return 0;
	}
	if (is_unlasting(f)) {
		return prepare_unlasting(f, batch, target, readiness);
	}
	ret = declare(f, &generation, &unchanged);
	if (ret == 0) {
		f->entry->is_open = true;
		f->entry->retry_ns = protector_now_ns() + RETRY_NS;
		*readiness = TARGET_LATER;
		if (is_lost(f)) {
			*readiness = TARGET_READY;
			return target_prepare_lost(p, batch, target);
		}
		return 0;
	}
	if (ret == -1 || fill_node(f, batch, target, generation) == -1 ||
	    open_lives(f, batch, target, unchanged) == -1) {
		return -1;
	}
	/* what hindered an earlier attempt is found out anew */
	pending_set_flags(p->pending, f->entry->node,
			  pending_flags(p->pending, f->entry->node) &
				  (uint8_t) ~(PENDING_NO_ROOM |
					      PENDING_UNREADABLE));
	target->is_put_first = unchanged || f->node->num_extents == 0;
	target->has_moved = f->node->inode != target->node.inode;
	*readiness = TARGET_READY;
	return target_find_changes(p, batch, target, unchanged, max_bytes);
}

static int find(struct finding *f, struct batch *batch, uint64_t max_bytes,
		struct target *target, enum readiness *readiness)
{
	struct protector *p = f->p;
	bool in_trash = false;
	char *path = batch_path(batch, f->frame, f->node, &in_trash);

	if (path == NULL) {
		return -1;
	}
	f->path = path;
	if (in_trash) {
		/* by hand, it may have been removed there */
		if (names_is_gone(f->node->name) ||
		    look_is_not_in_trash(p, f->node, path)) {
			return settle_gone(f, batch, path, target, readiness);
		}
		if (!is_lost(f)) {
			*readiness = TARGET_NOTHING_TO_DO;
			return 0;
		}
		path = talloc_asprintf(f->frame, MRMR_DIR "/" MRMR_TRASH "/%s",
				       path);
		f->path = path;
		if (path == NULL) {
			errno = ENOMEM;
			return -1;
		}
	}
	if (f->node->kind != MRMR_NODE_FILE) {
		return settle_other(f, path, readiness);
	}
	f->member = mrmr_engine_online(p->engine, f->node->member);
	if (f->member == NULL) {
		*readiness = TARGET_SKIPPED;
		return 0;
	}
	if (is_unlasting(f) && f->node->num_extents == 0) {
		return settle_other(f, path, readiness);
	}
	if (open_file(f, path) == -1) {
		if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) {
			return -1;
		}
		if (in_trash) {
			*readiness = TARGET_NOTHING_TO_DO;
			return 0;
		}
		return settle_name(f, path, readiness);
	}
	if (is_unlasting(f) && f->node->num_extents == 0) {
		return settle_other(f, path, readiness);
	}
	return prepare(f, batch, max_bytes, target, readiness);
}

int target_prepare(struct protector *p, struct batch *batch, uint32_t entry,
		   uint64_t max_bytes, struct target *target,
		   enum readiness *readiness)
{
	struct finding f = {
		.p = p,
		.frame = talloc_new(batch),
		.entry = window_get(p->window, entry),
		.fd = -1,
	};
	struct mrmr_node *node = NULL;
	int saved_errno;
	int ret;

	*target = (struct target){.entry = entry, .serial = f.entry->serial};
	f.entry->is_open = false;
	if (mrmr_catalog_get(p->catalog, batch, f.entry->node, &node) == -1) {
		*readiness = TARGET_NOTHING_TO_DO;
		talloc_free(f.frame);
		return errno == ENOENT ? 0 : -1;
	}
	f.node = node;
	target->old = node;
	ret = find(&f, batch, max_bytes, target, readiness);
	saved_errno = errno;
	if (ret == -1 || *readiness != TARGET_READY) {
		/* names may have been brought in step */
		batch_forget_paths(batch);
	}
	if (f.fd != -1) {
		close(f.fd);
	}
	talloc_free(f.frame);
	errno = saved_errno;
	return ret;
}
