/*
 * MRMR: where the protected bytes of a file are (see mrmr/live.h).
 *
 * The catalogue knows the file by a path and an inode. Both may be a little
 * behind: the path when the file was renamed or deleted and the protector has
 * not been there yet, the inode on file systems that give new numbers at each
 * mount, and when a file was put back from a backup. So names are candidates,
 * tried in the order of likelihood, and the first that leads to the inode is
 * the file. If none does, one with the record's size and time will do: whoever
 * reads it checks the bytes, and if they are right, they are right.
 *
 * A file whose every name is gone has protected bytes nonetheless while its
 * pre-images are there.
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
#include <mrmr/file.h>
#include <mrmr/staging.h>
#include <mrmr/trash.h>
#include <mrmr/undo.h>

#include "live_private.h"
#include "relocated.h"

struct search {
	struct mrmr_engine *engine;
	const struct mrmr_node *node;
	struct mrmr_live *live;
	void *mem_ctx; /* what the search needs meanwhile */
	int error;     /* why a candidate could not be looked at; or ENOENT */
};

/* --- members -------------------------------------------------------------------- */

static int close_member(struct mrmr_live_member *member)
{
	if (member->root_fd != -1) {
		close(member->root_fd);
	}
	if (member->private_fd != -1) {
		close(member->private_fd);
	}
	return 0;
}

struct mrmr_live_member *mrmr_live_member_open(void *mem_ctx,
					       struct mrmr_engine *engine,
					       uint16_t number)
{
	size_t index = mrmr_engine_member(engine, number);
	const struct mrmr_member *from = NULL;
	struct mrmr_live_member *member = NULL;

	if (index == SIZE_MAX ||
	    engine->pool->members[index].state != MRMR_MEMBER_ONLINE) {
		errno = ENODEV;
		return NULL;
	}
	from = &engine->pool->members[index];
	member = talloc_zero(mem_ctx, struct mrmr_live_member);
	if (member == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	member->number = number;
	member->root_fd = fcntl(from->root_fd, F_DUPFD_CLOEXEC, 0);
	member->private_fd = fcntl(from->private_fd, F_DUPFD_CLOEXEC, 0);
	talloc_set_destructor(member, close_member);
	if (member->root_fd == -1 || member->private_fd == -1) {
		int saved_errno = errno;

		talloc_free(member);
		errno = saved_errno;
		return NULL;
	}
	return member;
}

/* --- candidates --------------------------------------------------------------- */

static bool is_not_there(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP ||
	       error == EXDEV || error == ENAMETOOLONG;
}

/* Make this open file the one that is known by path, for now. */
static void take_file(struct mrmr_live *live, int fd, int at_fd,
		      const char *path, bool is_alike)
{
	if (live->fd != -1) {
		close(live->fd);
	}
	talloc_free(live->path);
	live->fd = fd;
	live->at_fd = at_fd;
	live->path = talloc_strdup(live, path);
	live->is_alike = is_alike;
}

/* True ends the search. */
static bool try_path(struct search *s, int at_fd, const char *path)
{
	struct mrmr_live *live = s->live;
	struct stat st = {0};
	int fd = live_open_beneath(at_fd, path);

	if (fd == -1) {
		if (!is_not_there(errno)) {
			s->error = errno;
		}
		return false;
	}
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
		close(fd);
		return false;
	}
	if (live->inode != 0 && (uint64_t)st.st_ino == live->inode) {
		take_file(live, fd, at_fd, path, false);
		return true;
	}
	if (live->fd == -1 && live_is_unchanged(live, &st)) {
		take_file(live, fd, at_fd, path, true);
		return false;
	}
	close(fd);
	return false;
}

static bool try_trash(struct search *s, const char *path)
{
	char *full = talloc_asprintf(s->mem_ctx, MRMR_TRASH "/%s", path);

	return full != NULL && try_path(s, s->live->member->private_fd, full);
}

/* Where the queue says that a path of the catalogue is by now. */
static bool try_queue(struct search *s, const char *path)
{
	struct mrmr_queue *queue = s->engine->queue;
	char *trashed = NULL;
	char *now = NULL;

	if (queue == NULL) {
		return false;
	}
	now = mrmr_queue_resolve(queue, s->mem_ctx, path, &trashed);
	if (now != NULL) {
		return strcmp(now, path) != 0 &&
		       try_path(s, s->live->member->root_fd, now);
	}
	return trashed != NULL && try_trash(s, trashed);
}

/* The names of hard links beside the first one. */
static bool try_links(struct search *s, bool by_queue)
{
	struct mrmr_catalog *catalog = s->engine->catalog;
	struct mrmr_link *links = NULL;
	size_t num = 0;
	size_t i;

	if (mrmr_catalog_links(catalog, s->mem_ctx, s->node->id, &links,
			       &num) == -1) {
		return false;
	}
	for (i = 1; i < num; i++) {
		bool in_trash = false;
		char *dir = mrmr_catalog_path(catalog, s->mem_ctx,
					      links[i].dir_id, &in_trash);
		char *path = NULL;

		if (dir == NULL || links[i].dir_id == MRMR_ID_TRASH) {
			continue;
		}
		path = talloc_asprintf(s->mem_ctx, "%s%s%s", dir,
				       dir[0] != '\0' ? "/" : "",
				       links[i].name);
		if (path == NULL) {
			return false;
		}
		if (by_queue ? try_queue(s, path)
			     : try_path(s, s->live->member->root_fd, path)) {
			return true;
		}
	}
	return false;
}

/* Names that only the queue knows, of what has, or had, this inode on this member. It
   may have come to the trash after it had lost its name, as the member was away. */
static bool try_inode(struct search *s, uint16_t number, uint64_t inode)
{
	struct mrmr_linked *linked = NULL;
	struct mrmr_uuid member;
	char *trashed = NULL;
	size_t num = 0;
	size_t i;

	if (inode == 0 ||
	    mrmr_catalog_member_id(s->engine->catalog, number, &member) == -1 ||
	    mrmr_queue_linked(s->engine->queue, s->mem_ctx, &member, inode,
			      &linked, &num) == -1) {
		return false;
	}
	for (i = 0; i < num; i++) {
		if (try_path(s, s->live->member->root_fd, linked[i].path)) {
			return true;
		}
	}
	trashed = mrmr_queue_trashed(s->engine->queue, s->mem_ctx, &member,
				     inode);
	return trashed != NULL && try_trash(s, trashed);
}

/* If it was rebuilt a moment ago, it may have got them where it was before. */
static bool try_inodes(struct search *s)
{
	struct relocation *list = NULL;
	size_t i;

	if (s->engine->queue == NULL) {
		return false;
	}
	if (try_inode(s, s->node->member, s->node->inode)) {
		return true;
	}
	list = relocated_load(s->mem_ctx, s->engine->catalog);
	for (i = 0; i < talloc_array_length(list); i++) {
		if (list[i].node == s->node->id &&
		    try_inode(s, list[i].member, list[i].inode)) {
			return true;
		}
	}
	return false;
}

/* Of one that lost its name while its member was away: it may have come to the
   trash a moment ago, or not have been removed at all. */
static bool try_gone(struct search *s, const char *path)
{
	if (strncmp(path, MRMR_TRASH_GONE, strlen(MRMR_TRASH_GONE)) != 0) {
		return false;
	}
	path = mrmr_trash_origin(path);
	return try_path(s, s->live->member->root_fd, path) ||
	       try_queue(s, path);
}

/* By a name in the trash: if one is not there any more, another one is. */
static bool try_trashed(struct search *s)
{
	struct mrmr_link *links = NULL;
	size_t num = 0;
	size_t i;

	if (mrmr_catalog_links(s->engine->catalog, s->mem_ctx, s->node->id,
			       &links, &num) == -1) {
		return false;
	}
	for (i = 0; i < num; i++) {
		const char *slash = strchr(links[i].name, '/');

		if (slash != NULL && try_trash(s, slash + 1)) {
			return true;
		}
	}
	return false;
}

/* After a power cut it may have the name again from which it came there. */
static bool try_origin(struct search *s, const char *path)
{
	return try_path(s, s->live->member->root_fd, mrmr_trash_origin(path));
}

static void find_file(struct search *s)
{
	bool in_trash = false;
	char *path = mrmr_catalog_path(s->engine->catalog, s->mem_ctx,
				       s->node->id, &in_trash);

	if (path == NULL) {
		return;
	}
	if (in_trash) {
		if (!try_trash(s, path) && !try_gone(s, path) &&
		    !try_trashed(s)) {
			try_origin(s, path);
		}
		return;
	}
	if (!try_path(s, s->live->member->root_fd, path) &&
	    !try_queue(s, path) && !try_links(s, false) &&
	    !try_links(s, true) && !try_trashed(s)) {
		try_inodes(s);
	}
}

/* --- opening ------------------------------------------------------------------- */

static bool has_preimages(const struct mrmr_live *live)
{
	char name[sizeof(MRMR_UNDO "/") + 16];
	struct stat st;

	if (live->inode == 0) {
		return false;
	}
	snprintf(name, sizeof(name), MRMR_UNDO "/%" PRIx64, live->inode);
	return fstatat(live->member->private_fd, name, &st,
		       AT_SYMLINK_NOFOLLOW) == 0;
}

static int look_for(struct search *s)
{
	if (mrmr_fault("live-open") != 0) {
		return -1;
	}
	find_file(s);
	if (s->live->fd == -1 && !has_preimages(s->live)) {
		errno = s->error;
		return -1;
	}
	return 0;
}

static struct mrmr_live *make(void *mem_ctx, struct mrmr_live_member *member,
			      const struct mrmr_node *node)
{
	struct mrmr_live *live = talloc_zero(mem_ctx, struct mrmr_live);

	if (live == NULL) {
		return NULL;
	}
	live->member = member;
	live->inode = node->inode;
	live->generation = node->generation;
	live->size_bytes = node->size_bytes;
	live->mtime_ns = node->mtime_ns;
	live->fd = -1;
	live->has_kept = true;
	talloc_set_destructor(live, live_close);
	return live;
}

int mrmr_live_at(void *mem_ctx, struct mrmr_live_member *member,
		 const struct mrmr_node *node, const char *path,
		 struct mrmr_live **live)
{
	struct mrmr_live *made = NULL;

	if (mrmr_fault("live-open") != 0) {
		return -1;
	}
	made = make(mem_ctx, member, node);
	if (made != NULL) {
		made->path = talloc_strdup(made, path);
	}
	if (made == NULL || made->path == NULL) {
		talloc_free(made);
		errno = ENOMEM;
		return -1;
	}
	made->at_fd = member->root_fd;
	*live = made;
	return 0;
}

int mrmr_live_open_on(void *mem_ctx, struct mrmr_engine *engine,
		      struct mrmr_live_member *member,
		      const struct mrmr_node *node, bool is_closed,
		      struct mrmr_live **live)
{
	struct search s = {.engine = engine, .node = node, .error = ENOENT};
	int saved_errno;
	int ret;

	if (member->number != node->member) {
		errno = EINVAL;
		return -1;
	}
	s.live = make(mem_ctx, member, node);
	s.mem_ctx = s.live != NULL ? talloc_new(s.live) : NULL;
	if (s.mem_ctx == NULL) {
		talloc_free(s.live);
		errno = ENOMEM;
		return -1;
	}
	ret = look_for(&s);
	saved_errno = errno;
	talloc_free(s.mem_ctx);
	if (ret == -1) {
		talloc_free(s.live);
		errno = saved_errno;
		return -1;
	}
	s.live->has_kept = has_preimages(s.live);
	if (is_closed && s.live->path != NULL) {
		close(s.live->fd);
		s.live->fd = -1;
	}
	*live = s.live;
	return 0;
}

int mrmr_live_open(void *mem_ctx, struct mrmr_engine *engine,
		   const struct mrmr_node *node, struct mrmr_live **live)
{
	struct mrmr_live_member *member =
		mrmr_live_member_open(mem_ctx, engine, node->member);
	int saved_errno;
	int ret;

	if (member == NULL) {
		return -1;
	}
	ret = mrmr_live_open_on(mem_ctx, engine, member, node, false, live);
	if (ret == -1) {
		saved_errno = errno;
		talloc_free(member);
		errno = saved_errno;
		return -1;
	}
	/* Destructors of children run after their parent's: what needs the
	   member is its own descriptor only. */
	talloc_steal(*live, member);
	return 0;
}

int mrmr_live_fd(const struct mrmr_live *live)
{
	return live->fd;
}
