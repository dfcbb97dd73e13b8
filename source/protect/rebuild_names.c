/*
 * MRMR: rebuilding: names, where files come back to.
 *
 * The catalogue knows a node by its names of the last time that the protector
 * was there; the queue knows what became of them since, and which ones it got. A
 * name that was removed meanwhile does not come back. One that somebody else has now
 * is his: a file that is there with the very bytes is taken for the one that is
 * missing (we were killed after it got its name; or somebody put it back from a
 * backup), anything else stays as it is, and this node where it was.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/names.h>
#include <mrmr/staging.h>

#include "protector_private.h"
#include "rebuild_private.h"
#include "was.h"

#define NS_PER_S INT64_C(1000000000)

const char *rebuild_path(const struct rebuild_file *file)
{
	size_t i;

	for (i = 0; i < file->num_names; i++) {
		if (file->names[i].path != NULL) {
			return file->names[i].path;
		}
	}
	return file->node->name;
}

/* --- names as they are by now ---------------------------------------------- */

/*
 * The path of an entry in the trash is what follows the member's number. What
 * clients removed while the member was away did not get there: it gets a folder
 * of its own, the same if we are killed and begin again.
 */
static char *trash_path(void *mem_ctx, const char *entry)
{
	const char *slash = strchr(entry, '/');
	char *path = NULL;

	if (slash == NULL) {
		errno = EILSEQ;
		return NULL;
	}
	path = names_is_gone(entry)
		       ? talloc_asprintf(mem_ctx, "rebuilt.%s",
					 slash + 1 + strlen(MRMR_TRASH_GONE))
		       : talloc_strdup(mem_ctx, slash + 1);
	if (path == NULL) {
		errno = ENOMEM;
	}
	return path;
}

int rebuild_resolve(struct rebuild *r, void *mem_ctx, uint64_t inode,
		    struct rebuild_name *name)
{
	const struct mrmr_uuid *lost =
		&r->pool->members[r->options->lost].config->id;
	bool in_trash = false;
	char *dir = NULL;
	char *path = NULL;

	if (name->linked != 0) {
		name->path =
			mrmr_queue_resolve_linked(r->engine->queue, mem_ctx,
						  lost, inode, name->linked);
		return name->path != NULL || errno == ENOENT ? 0 : -1;
	}
	if (name->dir_id == MRMR_ID_TRASH) {
		name->is_trash = true;
		name->path = trash_path(mem_ctx, name->entry);
		return name->path != NULL ? 0 : -1;
	}
	dir = mrmr_catalog_path(r->engine->catalog, mem_ctx, name->dir_id,
				&in_trash);
	if (dir == NULL) {
		return -1;
	}
	path = talloc_asprintf(mem_ctx, "%s%s%s", dir,
			       dir[0] != '\0' ? "/" : "", name->entry);
	talloc_free(dir);
	if (path == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (inode != 0) {
		name->path = mrmr_queue_resolve_file(r->engine->queue, mem_ctx,
						     lost, inode, path);
	} else {
		name->path = mrmr_queue_resolve(r->engine->queue, mem_ctx, path,
						NULL);
	}
	talloc_free(path);
	return name->path != NULL || errno == ENOENT ? 0 : -1;
}

/* One that clients have in the share, and that is not protected yet. */
static int find_was(struct rebuild *r, struct rebuild_file *file)
{
	struct mrmr_node *was = file->node;

	if (was->kind != MRMR_NODE_FILE || was->dir_id == MRMR_ID_TRASH ||
	    (was->size_bytes == 0 && rebuild_is_covered(r, was))) {
		return 0;
	}
	if (was_find(r->engine->catalog, file, &was) == -1) {
		return -1;
	}
	if (was != file->node && rebuild_is_protected(r, was)) {
		file->was = was;
	}
	return 0;
}

static bool has_path(const struct rebuild_file *file, const char *path)
{
	size_t i;

	for (i = 0; i < file->num_names; i++) {
		if (file->names[i].path != NULL &&
		    strcmp(file->names[i].path, path) == 0) {
			return true;
		}
	}
	return false;
}

/* Names that the catalogue does not know yet. */
static int take_linked(struct rebuild *r, struct rebuild_file *file)
{
	const struct mrmr_uuid *lost =
		&r->pool->members[r->options->lost].config->id;
	struct mrmr_linked *linked = NULL;
	size_t num = 0;
	size_t i;

	if (mrmr_queue_linked(r->engine->queue, file, lost, file->node->inode,
			      &linked, &num) == -1) {
		return -1;
	}
	if (num == 0) {
		return 0;
	}
	file->names = talloc_realloc(file, file->names, struct rebuild_name,
				     file->num_names + num);
	if (file->names == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < num; i++) {
		if (!has_path(file, linked[i].path)) {
			file->names[file->num_names++] = (struct rebuild_name){
				.linked = linked[i].event,
				.path = linked[i].path,
			};
		}
	}
	return 0;
}

static struct rebuild_file *take_names(struct rebuild *r, void *mem_ctx,
				       struct mrmr_node *node)
{
	struct rebuild_file *file = talloc_zero(mem_ctx, struct rebuild_file);
	struct mrmr_link *links = NULL;
	size_t i;

	if (file == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	file->node = talloc_steal(file, node);
	if (find_was(r, file) == -1) {
		return NULL;
	}
	if (mrmr_catalog_links(r->engine->catalog, file, node->id, &links,
			       &file->num_names) == -1) {
		return NULL;
	}
	file->names =
		talloc_zero_array(file, struct rebuild_name, file->num_names);
	if (file->names == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	for (i = 0; i < file->num_names; i++) {
		file->names[i].dir_id = links[i].dir_id;
		file->names[i].entry = links[i].name;
		if (rebuild_resolve(r, file, file->node->inode,
				    &file->names[i]) == -1) {
			return NULL;
		}
	}
	return take_linked(r, file) == 0 ? file : NULL;
}

/* --- what has a name now ------------------------------------------------------ */

int rebuild_find_name(struct rebuild *r, struct mrmr_dir *dir, const char *name,
		      struct rebuild_found *found)
{
	size_t i;

	if (fstatat(dir->spine_fd, name, &found->st, AT_SYMLINK_NOFOLLOW) ==
	    0) {
		found->member = MRMR_IN_SPINE;
		return 1;
	}
	if (errno != ENOENT) {
		return -1;
	}
	for (i = 0; i < r->pool->num_members; i++) {
		int fd;

		if (i == r->options->lost) {
			continue;
		}
		fd = mrmr_dir_on_member(dir, i);
		if (fd == -1 && mrmr_dir_is_lacking(errno)) {
			continue;
		}
		if (fd == -1) {
			return -1;
		}
		if (fstatat(fd, name, &found->st, AT_SYMLINK_NOFOLLOW) == 0) {
			found->member = i;
			found->dir_fd = fd;
			return 1;
		}
		if (errno != ENOENT) {
			return -1;
		}
	}
	return 0;
}

static bool is_same_link(const struct rebuild_found *found, const char *name,
			 const char *target)
{
	char buf[PATH_MAX];
	ssize_t len = readlinkat(found->dir_fd, name, buf, sizeof(buf));

	return len >= 0 && target != NULL && strlen(target) == (size_t)len &&
	       memcmp(buf, target, (size_t)len) == 0;
}

static int adopt_file(struct rebuild *r, struct rebuild_file *file,
		      const struct rebuild_found *found, const char *name)
{
	int saved_errno;
	int ret;
	int fd;

	if (!S_ISREG(found->st.st_mode) ||
	    (uint64_t)found->st.st_size != rebuild_version(file)->size_bytes) {
		return 0;
	}
	if (r->is_plan) {
		return 1; /* most likely: it would have to be read */
	}
	fd = openat(found->dir_fd, name,
		    O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		return errno == ENOENT || errno == ELOOP ? 0 : -1;
	}
	ret = rebuild_adopt(r, file, found->member, fd);
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return ret;
}

/* Is what has the name this very node? 1, 0, or -1 with errno. */
static int adopt(struct rebuild *r, struct rebuild_file *file,
		 const struct rebuild_found *found, const char *name)
{
	const struct mrmr_node *node = file->node;
	int ret = 0;

	if (found->member == MRMR_IN_SPINE) {
		return 0;
	}
	if (file->is_adopted) { /* by another name */
		return found->member == file->target &&
		       found->st.st_ino == file->inode;
	}
	switch (node->kind) {
	case MRMR_NODE_FILE:
		ret = adopt_file(r, file, found, name);
		break;
	case MRMR_NODE_SYMLINK:
		ret = S_ISLNK(found->st.st_mode) &&
		      is_same_link(found, name, node->target);
		break;
	case MRMR_NODE_SPECIAL:
		ret = (found->st.st_mode & S_IFMT) == (node->mode & S_IFMT) &&
		      found->st.st_rdev == node->device;
		break;
	case MRMR_NODE_DIRECTORY:
		break;
	}
	if (ret == 1) {
		file->is_adopted = true;
		file->target = found->member;
		file->inode = found->st.st_ino;
		file->mtime_ns = (int64_t)found->st.st_mtim.tv_sec * NS_PER_S +
				 found->st.st_mtim.tv_nsec;
	}
	return ret;
}

static bool is_missing(int error)
{
	return error == ENOENT || error == ENOTDIR;
}

/* Nobody else gives names there, but we did, when we were killed after it. */
static int look_in_trash(struct rebuild *r, struct rebuild_file *file,
			 struct rebuild_name *name)
{
	size_t i;
	int ret = 0;

	for (i = 0; i < r->pool->num_members && ret == 0; i++) {
		struct rebuild_found found = {.member = i};
		int saved_errno;

		if (i == r->options->lost ||
		    r->pool->members[i].state != MRMR_MEMBER_ONLINE) {
			continue;
		}
		found.dir_fd =
			openat(r->pool->members[i].private_fd, MRMR_TRASH,
			       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (found.dir_fd == -1) {
			continue;
		}
		if (fstatat(found.dir_fd, name->path, &found.st,
			    AT_SYMLINK_NOFOLLOW) == 0) {
			ret = adopt(r, file, &found, name->path);
		}
		saved_errno = errno;
		close(found.dir_fd);
		errno = saved_errno;
	}
	name->is_there = ret == 1;
	return ret == -1 ? -1 : 0;
}

static int look_at_name(struct rebuild *r, struct rebuild_file *file,
			struct rebuild_name *name)
{
	struct mrmr_place place;
	struct rebuild_found found = {0};
	int ret;

	if (name->path == NULL) {
		return 0;
	}
	if (name->is_trash) {
		return look_in_trash(r, file, name);
	}
	if (mrmr_place_find(r->pool, r->pool->spine_fd, name->path, &place) ==
	    -1) {
		name->is_taken = errno == ENOTDIR;
		return is_missing(errno) ? 0 : -1;
	}
	ret = rebuild_find_name(r, place.dir, place.name, &found);
	if (ret == 1) {
		ret = adopt(r, file, &found, place.name);
		name->is_there = ret == 1;
		name->is_taken = ret == 0;
	}
	return ret == -1 ? -1 : 0;
}

/* Does it come back at all? */
static int judge_names(struct rebuild *r, struct rebuild_file *file)
{
	size_t num_live = 0;
	size_t i;

	for (i = 0; i < file->num_names; i++) {
		const struct rebuild_name *name = &file->names[i];

		num_live += name->path != NULL;
		if (name->is_taken) {
			rebuild_drop(r, file, MRMR_REBUILD_TAKEN,
				     "something else has its name now, and was "
				     "left alone");
			return -1;
		}
	}
	if (num_live == 0) {
		rebuild_drop(r, file, MRMR_REBUILD_FAILED, REBUILD_WAS_DELETED);
		return -1;
	}
	return 0;
}

struct rebuild_file *rebuild_look(struct rebuild *r, void *mem_ctx,
				  struct mrmr_node *node)
{
	struct rebuild_file *file = take_names(r, mem_ctx, node);
	size_t i;

	if (file == NULL) {
		rebuild_trouble(r, node, MRMR_REBUILD_FAILED, node->name,
				strerror(errno));
		return NULL;
	}
	for (i = 0; i < file->num_names; i++) {
		if (look_at_name(r, file, &file->names[i]) == -1) {
			rebuild_drop(r, file, MRMR_REBUILD_FAILED,
				     errno == EBUSY
					     ? "somebody is writing to what "
					       "has its name"
					     : strerror(errno));
			return NULL;
		}
	}
	if (judge_names(r, file) == -1) {
		return NULL;
	}
	if (file->is_adopted) {
		/* it only lacks what other names it has */
		file->state = REBUILD_STAGED;
	}
	return file;
}
