/*
 * MRMR: rebuilding: giving files their names, and what directories that takes.
 *
 * With the directory locked, as the pool itself makes names, and in a way that
 * cannot replace anything.
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

#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/fd_path.h>
#include <mrmr/names.h>
#include <mrmr/staging.h>

#include "rebuild_private.h"

#define NS_PER_S INT64_C(1000000000)
#define PLACE_TRIES 8 /* as long as clients rename it, or what is above it */

/* --- directories ----------------------------------------------------------- */

static void set_attributes(struct rebuild *r, int fd,
			   const struct mrmr_node *node)
{
	const struct timespec ts[2] = {
		{.tv_nsec = UTIME_OMIT},
		{.tv_sec = node->mtime_ns / NS_PER_S,
		 .tv_nsec = node->mtime_ns % NS_PER_S},
	};
	struct mrmr_dir *dir = NULL;

	if (mrmr_attributes_set(fd, node) == -1) {
		return; /* it stays root's alone */
	}
	dir = mrmr_dir_get(r->pool, fd);
	if (dir != NULL && mrmr_dir_lock(dir) == 0) {
		mrmr_dir_mirror(dir, NULL);
		futimens(fd, ts);
		mrmr_dir_mirror_times(dir, ts);
		mrmr_dir_unlock(dir);
	}
}

/* Nobody but root may look into it before it has its rights. */
static int make_directory(struct rebuild *r, const char *path,
			  const struct mrmr_place *place)
{
	struct mrmr_node *node = NULL;
	struct stat before;
	char *known = NULL;
	int fd;

	if (fstat(place->dir->spine_fd, &before) == -1) {
		return -1;
	}
	if (mrmr_name_mkdir(place->dir, place->name, 0700) == -1) {
		return errno == EEXIST ? 0 : -1;
	}
	mrmr_times_set(place->dir->spine_fd, &before);
	known = mrmr_queue_resolve_back(r->engine->queue, r, path);
	if (mrmr_catalog_find_path(r->engine->catalog, r,
				   known != NULL ? known : path, &node) == 0 &&
	    node->kind == MRMR_NODE_DIRECTORY) {
		fd = openat(place->dir->spine_fd, place->name,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd != -1) {
			set_attributes(r, fd, node);
			close(fd);
		}
	}
	talloc_free(known);
	talloc_free(node);
	return 0;
}

/* All directories that a path needs; with_last: it is one itself. */
static int make_directories(struct rebuild *r, const char *path, bool with_last)
{
	char part[MRMR_PATH_MAX];
	const char *slash = path;

	while (slash != NULL && *slash != '\0') {
		struct mrmr_place place;
		struct stat st;
		size_t member;
		size_t len;

		slash = strchr(slash + (slash != path), '/');
		if (slash == NULL && !with_last) {
			return 0;
		}
		len = slash != NULL ? (size_t)(slash - path) : strlen(path);
		if (len >= sizeof(part)) {
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(part, path, len);
		part[len] = '\0';
		if (mrmr_place_find(r->pool, r->pool->spine_fd, part, &place) ==
		    -1) {
			return -1;
		}
		if (mrmr_name_find(place.dir, place.name, &member, &st) == 0) {
			continue;
		}
		if (errno != ENOENT || make_directory(r, part, &place) == -1) {
			return -1;
		}
	}
	return 0;
}

static bool is_on_a_member(struct rebuild *r, struct mrmr_dir *dir)
{
	size_t i;

	for (i = 0; i < r->pool->num_members; i++) {
		if (i != r->options->lost && mrmr_dir_on_member(dir, i) != -1) {
			return true;
		}
	}
	return false;
}

/* Each directory is on one member at least: from there the spine can be made
   anew. */
static int clone_directory(struct rebuild *r, const struct mrmr_place *place)
{
	size_t order[MRMR_MEMBERS_MAX];
	struct mrmr_dir *dir = NULL;
	size_t n, i;
	int ret = -1;
	int fd;

	fd = openat(place->dir->spine_fd, place->name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
	}
	dir = mrmr_dir_get(r->pool, fd);
	close(fd);
	if (dir == NULL) {
		return -1;
	}
	if (is_on_a_member(r, dir)) {
		return 0;
	}
	n = mrmr_name_place(place->dir, place->name, 0, order);
	if (mrmr_dir_lock(dir) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	errno = ENOSPC;
	for (i = 0; i < n && ret == -1; i++) {
		if (order[i] != r->options->lost &&
		    mrmr_dir_clone_to(dir, order[i]) != -1) {
			ret = 0;
		}
	}
	mrmr_dir_unlock(dir);
	return ret;
}

void rebuild_directory(struct rebuild *r, const struct mrmr_node *node)
{
	void *frame = talloc_new(r);
	bool in_trash = false;
	char *path = mrmr_catalog_path(r->engine->catalog, frame, node->id,
				       &in_trash);
	struct mrmr_place place;
	int ret = 0;

	if (path != NULL && path[0] != '\0') {
		path = mrmr_queue_resolve(r->engine->queue, frame, path, NULL);
	}
	if (path != NULL && path[0] != '\0') {
		ret = mrmr_place_find(r->pool, r->pool->spine_fd, path, &place);
		if (ret == 0) {
			struct stat st;
			size_t member;

			ret = mrmr_name_find(place.dir, place.name, &member,
					     &st);
		}
		if (ret == -1 && errno == ENOENT) {
			ret = make_directories(r, path, true);
		}
		if (ret == 0) {
			ret = mrmr_place_find(r->pool, r->pool->spine_fd, path,
					      &place);
		}
		if (ret == 0) {
			ret = clone_directory(r, &place);
		}
		if (ret == -1) {
			rebuild_trouble(r, node,
					errno == ENOTDIR ? MRMR_REBUILD_TAKEN
							 : MRMR_REBUILD_FAILED,
					path, strerror(errno));
		}
	}
	talloc_free(frame);
}

/* --- giving a name --------------------------------------------------------- */

/* Never replaces anything. from_fd is open, O_PATH will do; -1 if there is one
   name only. */
static int give(const struct rebuild_file *file, int staging_fd, int from_fd,
		bool is_last, int to_fd, const char *name)
{
	struct stat st;
	char proc_path[MRMR_FD_LINK_LEN];

	if (mrmr_fault("rebuild-place") != 0) {
		return -1;
	}
	if (!is_last || file->staged[0] == '\0') {
		return linkat(AT_FDCWD, mrmr_fd_link(from_fd, proc_path), to_fd,
			      name, AT_SYMLINK_FOLLOW);
	}
	if (renameat2(staging_fd, file->staged, to_fd, name,
		      RENAME_NOREPLACE) == 0) {
		return 0;
	}
	/* A file system that does not know the flag: nobody else makes names
	   here, as the directory is locked, so looking will do. */
	if (errno != EINVAL) {
		return -1;
	}
	if (fstatat(to_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return -1;
	}
	return errno == ENOENT ? renameat(staging_fd, file->staged, to_fd, name)
			       : -1;
}

/* A file that comes back is no change of its directory. */
static int give_quietly(const struct rebuild_file *file, int staging_fd,
			int from_fd, bool is_last, int to_fd, const char *name)
{
	struct stat before;
	int ret;

	if (fstat(to_fd, &before) == -1) {
		return -1;
	}
	ret = give(file, staging_fd, from_fd, is_last, to_fd, name);
	if (ret == 0) {
		mrmr_times_set(to_fd, &before);
	}
	return ret;
}

/* The name as it is by now. 1: it is another one; 0; -1: ENOENT, it is gone. */
static int resolve_again(struct rebuild *r, struct rebuild_file *file,
			 struct rebuild_name *name)
{
	struct rebuild_name now = {
		.dir_id = name->dir_id,
		.entry = name->entry,
		.linked = name->linked,
	};

	if (rebuild_resolve(r, file, file->node->inode, &now) == -1) {
		return -1;
	}
	if (now.path != NULL && strcmp(now.path, name->path) == 0) {
		talloc_free(now.path);
		return 0;
	}
	talloc_free(name->path);
	name->path = now.path;
	errno = ENOENT;
	return now.path != NULL ? 1 : -1;
}

/* The directory is found by the path; with those above it, if they were removed. */
static int find_place(struct rebuild *r, const char *path,
		      struct mrmr_place *place)
{
	if (mrmr_place_find(r->pool, r->pool->spine_fd, path, place) == 0) {
		return 0;
	}
	if (errno != ENOENT || make_directories(r, path, false) == -1) {
		return -1;
	}
	return mrmr_place_find(r->pool, r->pool->spine_fd, path, place);
}

/* Computing takes its time, and clients go on renaming and deleting: what they
   have done is told before they let go of the directory. It is locked then. */
static int lock_place(struct rebuild *r, struct rebuild_file *file,
		      struct rebuild_name *name, struct mrmr_place *place)
{
	unsigned int tries;
	int ret = resolve_again(r, file, name);

	for (tries = 0; tries < PLACE_TRIES && ret != -1; tries++) {
		if (find_place(r, name->path, place) == -1 ||
		    mrmr_dir_lock(place->dir) == -1) {
			return -1;
		}
		ret = resolve_again(r, file, name);
		if (ret == 0) {
			return 0;
		}
		mrmr_dir_unlock(place->dir);
	}
	if (ret == 1) {
		errno = EBUSY;
	}
	return -1;
}

static int place_in_pool(struct rebuild *r, struct rebuild_file *file,
			 struct rebuild_name *name, int staging_fd, int from_fd,
			 bool is_last)
{
	struct mrmr_place place;
	struct rebuild_found found = {0};
	int ret;
	int fd;

	if (lock_place(r, file, name, &place) == -1) {
		return -1;
	}
	ret = rebuild_find_name(r, place.dir, place.name, &found);
	if (ret == 1 || mrmr_name_is_private(place.dir, place.name)) {
		errno = EEXIST;
		ret = -1;
	}
	if (ret == 0) {
		fd = mrmr_dir_clone_to(place.dir, file->target);
		ret = fd != -1 ? give_quietly(file, staging_fd, from_fd,
					      is_last, fd, place.name)
			       : -1;
	}
	if (ret == 0) {
		mrmr_dir_hint(place.dir, place.name, file->target);
		rebuild_drop_ghost(r, file, place.dir, place.name);
	}
	mrmr_dir_unlock(place.dir);
	return ret;
}

/* Folders for all of path but its last component; a descriptor of that. */
static int trash_folder(int private_fd, const char *path, const char **last)
{
	char name[NAME_MAX + 1];
	const char *slash = NULL;
	int fd = mrmr_folder_open(private_fd, MRMR_TRASH);

	while (fd != -1 && (slash = strchr(path, '/')) != NULL) {
		size_t len = (size_t)(slash - path);
		int saved_errno;
		int next;

		if (len > NAME_MAX) {
			close(fd);
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(name, path, len);
		name[len] = '\0';
		next = mrmr_folder_open(fd, name);
		saved_errno = errno;
		close(fd);
		errno = saved_errno;
		fd = next;
		path = slash + 1;
	}
	*last = path;
	return fd;
}

/* The very same file may be there already: it is given another name. */
static int place_in_trash(struct rebuild *r, struct rebuild_file *file,
			  struct rebuild_name *name, int staging_fd,
			  int from_fd, bool is_last)
{
	int private_fd = r->pool->members[file->target].private_fd;
	const char *last = NULL;
	int saved_errno;
	int ret;
	int fd;

	fd = trash_folder(private_fd, name->path, &last);
	if (fd == -1) {
		return -1;
	}
	ret = give(file, staging_fd, from_fd, is_last, fd, last);
	saved_errno = errno;
	close(fd);
	if (ret == -1 && saved_errno == EEXIST) {
		char stamp[96];
		char *path = NULL;

		mrmr_staging_name(stamp, sizeof(stamp));
		path = talloc_asprintf(file, "rebuilt.%s/%s", stamp,
				       name->path);
		if (path == NULL) {
			errno = ENOMEM;
			return -1;
		}
		talloc_free(name->path);
		name->path = path;
		fd = trash_folder(private_fd, name->path, &last);
		if (fd == -1) {
			return -1;
		}
		ret = give(file, staging_fd, from_fd, is_last, fd, last);
		saved_errno = errno;
		close(fd);
	}
	errno = saved_errno;
	return ret;
}

static int open_in_trash(int private_fd, const char *path, int flags)
{
	const char *last = NULL;
	int folder = trash_folder(private_fd, path, &last);
	int saved_errno;
	int fd;

	if (folder == -1) {
		return -1;
	}
	fd = openat(folder, last, flags);
	saved_errno = errno;
	close(folder);
	errno = saved_errno;
	return fd;
}

/* What is to get further names: the staged file, or the one that is there. */
static int open_source(struct rebuild *r, const struct rebuild_file *file,
		       int staging_fd)
{
	const int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
	int private_fd = r->pool->members[file->target].private_fd;
	size_t i;

	if (file->staged[0] != '\0') {
		return openat(staging_fd, file->staged, flags);
	}
	for (i = 0; i < file->num_names; i++) {
		const struct rebuild_name *name = &file->names[i];
		struct mrmr_place place;
		int fd;

		if (!name->is_there) {
			continue;
		}
		if (name->is_trash) {
			return open_in_trash(private_fd, name->path, flags);
		}
		if (mrmr_place_find(r->pool, r->pool->spine_fd, name->path,
				    &place) == -1) {
			continue;
		}
		fd = mrmr_dir_on_member(place.dir, file->target);
		if (fd != -1) {
			return openat(fd, place.name, flags);
		}
	}
	errno = ENOENT;
	return -1;
}

/* The staged name becomes the first one; it is the last to be given, so that
   the others can be linked to it. */
static int place_all(struct rebuild *r, struct rebuild_file *file,
		     int staging_fd, int from_fd)
{
	bool is_staged = file->staged[0] != '\0';
	bool has_one = false;
	size_t i;

	for (i = file->num_names; i > 0; i--) {
		struct rebuild_name *name = &file->names[i - 1];
		bool is_last = true;
		size_t j;
		int ret;

		has_one = has_one || name->is_there;
		if (name->path == NULL || name->is_there) {
			continue;
		}
		for (j = 0; j < i - 1; j++) {
			is_last = is_last && (file->names[j].path == NULL ||
					      file->names[j].is_there);
		}
		ret = name->is_trash ? place_in_trash(r, file, name, staging_fd,
						      from_fd, is_last)
				     : place_in_pool(r, file, name, staging_fd,
						     from_fd, is_last);
		if (ret == -1 && name->path == NULL) {
			continue; /* it is gone by now */
		}
		if (ret == -1) {
			return -1;
		}
		name->is_there = true;
		has_one = true;
		is_staged = is_staged && !is_last;
	}
	if (!has_one) {
		errno = ENOENT;
		return -1;
	}
	if (is_staged) { /* the one that was to be the last */
		unlinkat(staging_fd, file->staged, 0);
	}
	return 0;
}

static bool has_name(const struct rebuild_file *file)
{
	size_t i;

	for (i = 0; i < file->num_names; i++) {
		if (file->names[i].path != NULL) {
			return true;
		}
	}
	return false;
}

int rebuild_place(struct rebuild *r, struct rebuild_file *file)
{
	int staging_fd = -1;
	int from_fd = -1;
	int ret = -1;
	int error;

	if (file->staged[0] != '\0') {
		staging_fd = rebuild_staging(r, file->target);
	}
	if (staging_fd != -1 && file->num_names == 1) {
		ret = place_all(r, file, staging_fd, -1);
	} else if (staging_fd != -1 || file->is_adopted) {
		from_fd = open_source(r, file, staging_fd);
		ret = from_fd != -1 ? place_all(r, file, staging_fd, from_fd)
				    : -1;
	}
	error = errno;
	if (from_fd != -1) {
		close(from_fd);
	}
	if (ret == 0) {
		file->staged[0] = '\0';
		file->state = REBUILD_PLACED;
		return 0;
	}
	if (error == EEXIST || error == ENOTDIR) {
		rebuild_drop(r, file, MRMR_REBUILD_TAKEN,
			     "something else has its name now, and was left "
			     "alone");
	} else {
		rebuild_drop(r, file, MRMR_REBUILD_FAILED,
			     has_name(file) ? strerror(error)
					    : REBUILD_WAS_DELETED);
	}
	return -1;
}
