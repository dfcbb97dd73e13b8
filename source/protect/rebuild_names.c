/*
 * MRMR: rebuilding: names, where files come back to.
 *
 * The catalogue knows a node by its names of the last time that the protector
 * was there; the queue knows what became of them since. A name that was removed
 * meanwhile does not come back. One that somebody else has now is his: a file
 * that is there with the very bytes is taken for the one that is missing (we
 * were killed after it got its name; or somebody put it back from a backup),
 * anything else stays as it is, and this node where it was.
 *
 * Names are given with the directory locked, as the pool itself makes names, and
 * in a way that cannot replace anything.
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
#include <mrmr/names.h>
#include <mrmr/staging.h>
#include <mrmr/xattrs.h>

#include "rebuild_private.h"

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

/* The path of an entry in the trash is what follows the member's number. */
static char *trash_path(void *mem_ctx, const char *entry)
{
	const char *slash = strchr(entry, '/');

	return slash != NULL ? talloc_strdup(mem_ctx, slash + 1) : NULL;
}

static int resolve(struct rebuild *r, void *mem_ctx, struct rebuild_name *name)
{
	bool in_trash = false;
	char *dir = NULL;
	char *path = NULL;

	if (name->dir_id == MRMR_ID_TRASH) {
		name->is_trash = true;
		name->path = trash_path(mem_ctx, name->entry);
		return 0;
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
	name->path = mrmr_queue_resolve(r->engine->queue, mem_ctx, path, NULL);
	talloc_free(path);
	return name->path != NULL || errno == ENOENT ? 0 : -1;
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
		if (resolve(r, file, &file->names[i]) == -1) {
			return NULL;
		}
	}
	return file;
}

/* --- what has a name now ------------------------------------------------------ */

struct found {
	size_t member; /* MRMR_IN_SPINE: a directory */
	int dir_fd;    /* on it; the directory's */
	struct stat st;
};

/*
 * Who has the name, but for the lost member: 1, 0 nobody, -1 it is not known.
 * The directory need not be locked.
 */
static int find_name(struct rebuild *r, struct mrmr_dir *dir, const char *name,
		     struct found *found)
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

static bool is_same_link(const struct found *found, const char *name,
			 const char *target)
{
	char buf[PATH_MAX];
	ssize_t len = readlinkat(found->dir_fd, name, buf, sizeof(buf));

	return len >= 0 && target != NULL && strlen(target) == (size_t)len &&
	       memcmp(buf, target, (size_t)len) == 0;
}

static int adopt_file(struct rebuild *r, struct rebuild_file *file,
		      const struct found *found, const char *name)
{
	int saved_errno;
	int ret;
	int fd;

	if (!S_ISREG(found->st.st_mode) ||
	    (uint64_t)found->st.st_size != file->node->size_bytes) {
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
		 const struct found *found, const char *name)
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
		struct found found = {.member = i};
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
	struct found found = {0};
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
	ret = find_name(r, place.dir, place.name, &found);
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
		rebuild_drop(r, file, MRMR_REBUILD_FAILED,
			     "it was deleted, or moved, a moment ago; once "
			     "mrmr-admin sync has seen that, try again");
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

	if (fchown(fd, node->uid, node->gid) == -1 ||
	    mrmr_xattrs_write(fd, node->xattrs, node->xattrs_len, NULL) == -1 ||
	    fchmod(fd, node->mode & 07777) == -1) {
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

/* Never replaces anything. from_fd is open, O_PATH will do. */
static int give(const struct rebuild_file *file, int staging_fd, int from_fd,
		bool is_last, int to_fd, const char *name)
{
	struct stat st;
	char proc_path[64];

	if (mrmr_fault("rebuild-place") != 0) {
		return -1;
	}
	if (!is_last || file->staged[0] == '\0') {
		snprintf(proc_path, sizeof(proc_path), "/proc/self/fd/%d",
			 from_fd);
		return linkat(AT_FDCWD, proc_path, to_fd, name,
			      AT_SYMLINK_FOLLOW);
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

/* The directory is found by the path, again if it was renamed just now. */
static int find_place(struct rebuild *r, struct rebuild_file *file,
		      struct rebuild_name *name, struct mrmr_place *place)
{
	if (mrmr_place_find(r->pool, r->pool->spine_fd, name->path, place) ==
	    0) {
		return 0;
	}
	if (errno != ENOENT) {
		return -1;
	}
	talloc_free(name->path);
	name->path = NULL;
	if (resolve(r, file, name) == -1) {
		return -1;
	}
	if (name->path == NULL) {
		errno = ENOENT;
		return -1;
	}
	if (make_directories(r, name->path, false) == -1) {
		return -1;
	}
	return mrmr_place_find(r->pool, r->pool->spine_fd, name->path, place);
}

static int place_in_pool(struct rebuild *r, struct rebuild_file *file,
			 struct rebuild_name *name, int staging_fd, int from_fd,
			 bool is_last)
{
	struct mrmr_place place;
	struct found found = {0};
	int ret;
	int fd;

	if (find_place(r, file, name, &place) == -1 ||
	    mrmr_dir_lock(place.dir) == -1) {
		return -1;
	}
	ret = find_name(r, place.dir, place.name, &found);
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
	size_t i;

	for (i = file->num_names; i > 0; i--) {
		struct rebuild_name *name = &file->names[i - 1];
		bool is_last = true;
		size_t j;
		int ret;

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
		if (ret == -1) {
			return -1;
		}
		name->is_there = true;
	}
	return 0;
}

int rebuild_place(struct rebuild *r, struct rebuild_file *file)
{
	const struct mrmr_member *member = &r->pool->members[file->target];
	int staging_fd = -1;
	int from_fd = -1;
	int ret = -1;
	int error;

	if (file->staged[0] != '\0') {
		staging_fd = mrmr_folder_open(member->private_fd, MRMR_REBUILD);
	}
	if (staging_fd != -1 || file->is_adopted) {
		from_fd = open_source(r, file, staging_fd);
	}
	if (from_fd != -1) {
		ret = place_all(r, file, staging_fd, from_fd);
	}
	error = errno;
	if (from_fd != -1) {
		close(from_fd);
	}
	if (staging_fd != -1) {
		close(staging_fd);
	}
	if (ret == 0) {
		file->staged[0] = '\0';
		file->state = REBUILD_PLACED;
		return 0;
	}
	rebuild_drop(r, file,
		     error == EEXIST || error == ENOTDIR ? MRMR_REBUILD_TAKEN
							 : MRMR_REBUILD_FAILED,
		     error == EEXIST || error == ENOTDIR
			     ? "something else has its name now, and was left "
			       "alone"
			     : strerror(error));
	return -1;
}
