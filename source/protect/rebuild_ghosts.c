/*
 * MRMR: rebuilding: ghosts, which stood in for the files.
 *
 * Two things with one name would be in the share if a ghost stayed: it goes as
 * soon as its file is there. What was done to its mode, owner, times or extended
 * attributes while the member was away is done to the file.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <mrmr/absent.h>
#include <mrmr/dirattr.h>
#include <mrmr/log.h>
#include <mrmr/names.h>
#include <mrmr/protection.h>

#include "rebuild_private.h"

static bool is_tagged(struct rebuild *r, const struct rebuild_file *file,
		      int fd)
{
	struct mrmr_ghost ghost;

	return mrmr_ghost_read(fd, &ghost) == 0 &&
	       ghost.node == file->node->id &&
	       mrmr_uuid_equal(&ghost.member,
			       &r->pool->members[r->options->lost].config->id);
}

/* Those of symlinks and special files carry no tag: they are what they are. */
static bool is_alike(const struct rebuild_file *file, int fd)
{
	const struct mrmr_node *node = file->node;
	char target[PATH_MAX];
	struct stat st;
	ssize_t len;

	if (fstat(fd, &st) == -1 ||
	    (st.st_mode & S_IFMT) != (node->mode & S_IFMT)) {
		return false;
	}
	if (node->kind != MRMR_NODE_SYMLINK) {
		return st.st_rdev == node->device;
	}
	len = readlinkat(fd, "", target, sizeof(target));
	return len >= 0 && node->target != NULL &&
	       strlen(node->target) == (size_t)len &&
	       memcmp(target, node->target, (size_t)len) == 0;
}

static bool is_its_ghost(struct rebuild *r, const struct rebuild_file *file,
			 int folder_fd, const char *name)
{
	int fd = openat(folder_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	bool is_its;

	if (fd == -1) {
		return false;
	}
	is_its = file->node->kind == MRMR_NODE_FILE ? is_tagged(r, file, fd)
						    : is_alike(file, fd);
	close(fd);
	return is_its;
}

static int copy_attributes(int folder_fd, const char *name, int to_dir_fd)
{
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int from = openat(folder_fd, name, flags);
	int to = -1;
	struct stat st;
	int ret = 0;

	if (from == -1 || fstat(from, &st) == -1 || !S_ISREG(st.st_mode) ||
	    fgetxattr(from, MRMR_GHOST_CHANGED, NULL, 0) < 0) {
		if (from != -1) {
			close(from);
		}
		return 0;
	}
	to = openat(to_dir_fd, name, flags);
	if (to == -1 || mrmr_attributes_copy(from, to) == -1 ||
	    mrmr_times_set(to, &st) == -1) {
		ret = -1;
	}
	close(from);
	if (to != -1) {
		close(to);
	}
	return ret == 0 ? 1 : -1;
}

void rebuild_drop_ghost(struct rebuild *r, struct rebuild_file *file,
			struct mrmr_dir *dir, const char *name)
{
	int folder_fd = mrmr_absent_peek(dir, r->options->lost);
	int to_dir_fd;
	int ret = 0;

	if (folder_fd == -1) {
		return;
	}
	if (is_its_ghost(r, file, folder_fd, name)) {
		to_dir_fd = file->target != MRMR_IN_SPINE
				    ? mrmr_dir_on_member(dir, file->target)
				    : -1;
		if (to_dir_fd != -1) {
			ret = copy_attributes(folder_fd, name, to_dir_fd);
		}
		if (ret == -1) {
			mrmr_log(MRMR_LOG_WARNING,
				 "the attributes that '%s' was given while its "
				 "member was away could not be kept: %s",
				 rebuild_path(file), strerror(errno));
		}
		if (ret == 1) {
			mrmr_tell_name(dir, name, MRMR_EVENT_ATTRIBUTES,
				       file->target, file->inode);
		}
		/* see mrmr_dir_swaps() */
		mrmr_dir_count_swap(dir);
		unlinkat(folder_fd, name, 0);
	}
	close(folder_fd);
}

void rebuild_drop_ghosts(struct rebuild *r, struct rebuild_file *file)
{
	size_t i;

	for (i = 0; i < file->num_names; i++) {
		const struct rebuild_name *name = &file->names[i];
		struct mrmr_place place;

		if (name->path != NULL && !name->is_trash &&
		    mrmr_place_find(r->pool, r->pool->spine_fd, name->path,
				    &place) == 0 &&
		    mrmr_dir_lock(place.dir) == 0) {
			rebuild_drop_ghost(r, file, place.dir, place.name);
			mrmr_dir_unlock(place.dir);
		}
	}
}
