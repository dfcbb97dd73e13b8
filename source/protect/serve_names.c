/*
 * MRMR: which ghosts there are to be in a directory (see mrmr/serve.h).
 *
 * The catalogue may be behind: names that were changed since the protector last
 * went through the queue's log stand there. If a protector enters some of them while
 * a directory is gone through, that is done again.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/log.h>

#include "applied.h"
#include "serve_private.h"
#include "was.h"

struct filling {
	struct mrmr_engine *engine;
	const struct mrmr_member *member;
	uint16_t number;
	int fd;
	const char *path; /* of the directory, now, */
	const char *then; /* and in the catalogue */
	bool has_events;  /* names may have changed since */
	size_t num_moved; /* files, to the member, anywhere */
	int error;
};

/* Is this the path of something in the directory itself? Its name, or NULL. */
static const char *name_in(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	if (len > 0) {
		if (strncmp(path, dir, len) != 0 || path[len] != '/') {
			return NULL;
		}
		path += len + 1;
	}
	return strchr(path, '/') == NULL ? path : NULL;
}

static bool is_ours(const struct filling *f, const struct mrmr_node *node)
{
	return node->kind != MRMR_NODE_DIRECTORY && node->member == f->number;
}

/* As it is read: by what is protected of it. */
static int make_as_read(struct filling *f, const struct mrmr_node *node,
			const char *name)
{
	void *frame = talloc_new(NULL);
	struct mrmr_node *read = (struct mrmr_node *)node;
	struct mrmr_node made;
	int saved_errno;
	int ret;

	if (frame == NULL) {
		errno = ENOMEM;
		return -1;
	}
	ret = was_find(f->engine->catalog, frame, &read);
	if (ret == 0) {
		made = *read;
		made.id = node->id;
		made.inode = node->inode;
		ret = mrmr_ghost_make(f->fd, name, &made,
				      &f->member->config->id);
	}
	saved_errno = errno;
	talloc_free(frame);
	errno = saved_errno;
	return ret;
}

/* What this file system cannot have is left out; what it cannot have now is
   trouble. */
static int make_ghost(struct filling *f, const struct mrmr_node *node,
		      const char *name)
{
	if (make_as_read(f, node, name) == 0 || errno == EEXIST) {
		return 0;
	}
	if (errno == ENOTSUP) {
		mrmr_log(MRMR_LOG_ERROR,
			 "member %s is away, and its files are not shown: the "
			 "file system of %s has no extended attributes",
			 mrmr_member_name(f->member),
			 f->engine->pool->config->state_dir);
		f->error = ENODEV;
		return -1;
	}
	if (errno == EFBIG || errno == EINVAL || errno == ENAMETOOLONG ||
	    errno == EPERM) {
		mrmr_log(MRMR_LOG_ERROR,
			 "member %s is away, and '%s/%s' cannot be shown: the "
			 "state directory's file system cannot have it: %s",
			 mrmr_member_name(f->member), f->path, name,
			 strerror(errno));
		return 0;
	}
	f->error = errno;
	return -1;
}

/* A name that the catalogue has in the directory. */
static int take_listed(const struct mrmr_node *node, void *private_data)
{
	struct filling *f = private_data;
	const char *name = NULL;
	char *then = NULL;
	char *now = NULL;
	int ret = 0;

	if (!is_ours(f, node)) {
		return 0;
	}
	if (!f->has_events) {
		return make_ghost(f, node, node->name);
	}
	then = talloc_asprintf(NULL, "%s%s%s", f->then,
			       f->then[0] != '\0' ? "/" : "", node->name);
	now = mrmr_queue_resolve_file(f->engine->queue, then,
				      &f->member->config->id, node->inode,
				      then);
	if (now == NULL && errno != ENOENT) {
		f->error = errno;
		ret = -1;
	}
	name = now != NULL ? name_in(now, f->path) : NULL;
	if (name != NULL) {
		ret = make_ghost(f, node, name);
	}
	talloc_free(then);
	return ret;
}

/* A file that was renamed, or got a further name; in this directory, perhaps. */
static int take_renamed(struct filling *f, void *mem_ctx, uint64_t inode)
{
	struct mrmr_catalog *cat = f->engine->catalog;
	struct mrmr_node *node = NULL;
	char **paths = NULL;
	size_t num = 0;
	uint64_t id;
	size_t i;

	if (mrmr_catalog_find_inode(cat, f->number, inode, &id) == -1 ||
	    mrmr_catalog_get(cat, mem_ctx, id, &node) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	if (!is_ours(f, node)) {
		return 0;
	}
	if (serve_paths(f->engine, mem_ctx, &f->member->config->id, id, inode,
			&paths, &num) == -1) {
		return -1;
	}
	for (i = 0; i < num; i++) {
		const char *name = name_in(paths[i], f->path);

		if (name != NULL && make_ghost(f, node, name) == -1) {
			return -1;
		}
	}
	return 0;
}

/* A file that came to the member from another one that is away, and of which the
   catalogue does not know yet: what was protected of it there is what it is. */
static int take_moved(struct filling *f, void *mem_ctx,
		      const struct mrmr_moved *moved)
{
	struct mrmr_catalog *cat = f->engine->catalog;
	const char *name = name_in(moved->path, f->path);
	struct mrmr_node *node = NULL;
	uint64_t id;

	if (name == NULL ||
	    mrmr_catalog_find_inode(cat, f->number, moved->inode, &id) == 0) {
		return 0;
	}
	if (errno != ENOENT) {
		return -1;
	}
	if (mrmr_catalog_get(cat, mem_ctx, moved->was, &node) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	node->inode = moved->inode;
	return make_ghost(f, node, name);
}

static int take_all_moved(struct filling *f, void *mem_ctx)
{
	struct mrmr_moved *moved = NULL;
	size_t num = 0;
	size_t i;

	if (mrmr_queue_moved(f->engine->queue, mem_ctx, &f->member->config->id,
			     &moved, &num) == -1) {
		return -1;
	}
	for (i = 0; i < num; i++) {
		if (take_moved(f, mem_ctx, &moved[i]) == -1) {
			return -1;
		}
	}
	f->num_moved = num;
	return 0;
}

/* The directory as the catalogue knows it: by the name that it had then, or
   else by the one that it has now. */
static int find_directory(struct filling *f, void *mem_ctx,
			  struct mrmr_node **node)
{
	char *then =
		mrmr_queue_resolve_back(f->engine->queue, mem_ctx, f->path);

	if (then == NULL && errno != ENOENT) {
		return -1;
	}
	f->then = then != NULL ? then : f->path;
	if (mrmr_catalog_find_path(f->engine->catalog, mem_ctx, f->then,
				   node) == 0) {
		return 0;
	}
	if (errno != ENOENT) {
		return -1;
	}
	f->then = f->path;
	return mrmr_catalog_find_path(f->engine->catalog, mem_ctx, f->path,
				      node);
}

static int fill_from(struct filling *f, void *mem_ctx, int64_t *mtime_ns)
{
	struct mrmr_node *node = NULL;
	bool is_known = true;
	uint64_t *inodes = NULL;
	size_t num = 0;
	size_t i;

	if (find_directory(f, mem_ctx, &node) == -1) {
		if (errno != ENOENT) {
			return -1;
		}
		is_known = false; /* files may have been renamed into it */
	} else if (node->kind != MRMR_NODE_DIRECTORY) {
		is_known = false;
	}
	if (mrmr_queue_renamed(f->engine->queue, mem_ctx,
			       &f->member->config->id, &inodes, &num,
			       &f->has_events) == -1) {
		return -1;
	}
	if (is_known) {
		*mtime_ns = node->mtime_ns;
		if (mrmr_catalog_list(f->engine->catalog, node->id, take_listed,
				      f) != 0) {
			if (f->error != 0) {
				errno = f->error;
			}
			return -1;
		}
	}
	for (i = 0; i < num; i++) {
		if (take_renamed(f, mem_ctx, inodes[i]) == -1) {
			return -1;
		}
	}
	if (take_all_moved(f, mem_ctx) == -1) {
		return -1;
	}
	if (!is_known) {
		errno = ENOENT;
		return num > 0 || f->num_moved > 0 ? 0 : -1;
	}
	return 0;
}

/* EAGAIN: what the catalogue has of the log is more now than it was. */
static int fill_in_one_state(struct filling *f, void *mem_ctx,
			     int64_t *mtime_ns)
{
	uint64_t before = 0;
	uint64_t after = 0;
	int saved_errno;
	int ret;

	if (applied_get(f->engine->catalog, &before) == -1) {
		return -1;
	}
	ret = fill_from(f, mem_ctx, mtime_ns);
	saved_errno = errno;
	if (applied_get(f->engine->catalog, &after) == -1) {
		return -1;
	}
	errno = after == before ? saved_errno : EAGAIN;
	return after == before ? ret : -1;
}

int serve_fill(struct mrmr_dir *dir, size_t member, int fd, int64_t *mtime_ns,
	       void *private_data)
{
	struct serving *s = private_data;
	struct mrmr_error err = {0};
	struct mrmr_engine *engine = serve_engine(s, &err);
	struct filling f = {.engine = engine, .fd = fd};
	char path[MRMR_PATH_MAX];
	void *mem_ctx = NULL;
	int saved_errno;
	int ret;

	if (engine == NULL) {
		errno = err.code == ENOENT ? ENODEV : err.code;
		return -1;
	}
	f.member = &s->pool->members[member];
	f.number = mrmr_catalog_member(engine->catalog, &f.member->config->id);
	if (f.number == MRMR_MEMBER_NONE) {
		errno = ENODEV;
		return -1;
	}
	if (mrmr_dir_path(dir, path) == -1) {
		return -1;
	}
	f.path = path;
	mem_ctx = talloc_new(NULL);
	ret = fill_in_one_state(&f, mem_ctx, mtime_ns);
	saved_errno = errno;
	talloc_free(mem_ctx);
	errno = saved_errno;
	return ret;
}
