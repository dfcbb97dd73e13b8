/*
 * MRMR: finding names in the pool.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <mrmr/dirattr.h>
#include <mrmr/log.h>
#include <mrmr/marker.h>
#include <mrmr/names.h>
#include <mrmr/staging.h>

/* A member's `.mrmr` under another name: the short name that FAT gives it, or
   another case on a file system that ignores case. */
static bool is_private_inode(const struct mrmr_dir *dir, size_t member,
			     const struct stat *st)
{
	return dir->is_root && S_ISDIR(st->st_mode) &&
	       st->st_ino == dir->pool->members[member].private_ino &&
	       st->st_dev == dir->pool->members[member].dev;
}

/*
 * A directory that appeared on a member behind our back becomes part of the
 * spine, with its attributes.
 */
static int bring_in(struct mrmr_dir *dir, const char *name, int member_dir_fd)
{
	struct mrmr_pool *pool = dir->pool;
	struct stat st;
	int staging_fd = -1;
	int from_fd = -1;
	int ret = -1;
	int saved_errno;

	if (mrmr_dir_lock(dir) == -1) {
		return -1;
	}
	pool->identity.become_root();
	if (fstatat(dir->spine_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		ret = 0; /* somebody else was faster */
		goto out;
	}
	from_fd = openat(member_dir_fd, name, O_RDONLY | O_DIRECTORY |
			 O_NOFOLLOW | O_CLOEXEC);
	if (from_fd == -1) {
		goto out;
	}
	staging_fd = mrmr_folder_open(pool->state_fd, MRMR_STAGING);
	if (staging_fd == -1) {
		goto out;
	}
	ret = mrmr_directory_copy(from_fd, staging_fd, dir->spine_fd, name);
	if (ret == -1 && errno == EEXIST) {
		ret = 0;
	}
out:
	saved_errno = errno;
	if (staging_fd != -1) {
		close(staging_fd);
	}
	if (from_fd != -1) {
		close(from_fd);
	}
	pool->identity.unbecome_root();
	mrmr_dir_unlock(dir);
	errno = saved_errno;
	return ret;
}

/* The members in the order in which they are asked: the hint first. */
static size_t first_member(const struct mrmr_dir *dir, const char *name)
{
	if (dir->hint_member < dir->pool->num_members &&
	    strcmp(dir->hint_name, name) == 0) {
		return dir->hint_member;
	}
	return SIZE_MAX;
}

int mrmr_name_find(struct mrmr_dir *dir, const char *name, size_t *member,
		   struct stat *st)
{
	size_t hint = first_member(dir, name);
	size_t i;

	if (mrmr_name_is_private(dir, name)) {
		errno = ENOENT;
		return -1;
	}
	if (hint != SIZE_MAX) {
		int fd = mrmr_dir_on_member(dir, hint);

		if (fd != -1 &&
		    fstatat(fd, name, st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    !S_ISDIR(st->st_mode)) {
			*member = hint;
			return 0;
		}
	}

	if (fstatat(dir->spine_fd, name, st, AT_SYMLINK_NOFOLLOW) == 0) {
		*member = MRMR_IN_SPINE;
		return 0;
	}
	if (errno != ENOENT) {
		return -1;
	}
	for (i = 0; i < dir->pool->num_members; i++) {
		int fd = mrmr_dir_on_member(dir, i);

		if (fd == -1) {
			continue;
		}
		if (fstatat(fd, name, st, AT_SYMLINK_NOFOLLOW) == -1) {
			if (errno == ENOENT) {
				continue;
			}
			if (errno != EACCES) {
				mrmr_pool_suspect(dir->pool,
						  &dir->pool->members[i],
						  errno);
			}
			return -1;
		}
		if (is_private_inode(dir, i, st)) {
			continue;
		}
		if (!S_ISDIR(st->st_mode)) {
			*member = i;
			return 0;
		}
		if (bring_in(dir, name, fd) == -1) {
			return -1;
		}
		*member = MRMR_IN_SPINE;
		return fstatat(dir->spine_fd, name, st, AT_SYMLINK_NOFOLLOW);
	}
	errno = ENOENT;
	return -1;
}

/*
 * Open a non-directory on one member. 1 if a directory is there, with nothing
 * opened.
 */
static int open_on(struct mrmr_dir *dir, const char *name, int flags,
		   size_t member, bool known_file, int *fd)
{
	int clone_fd = mrmr_dir_on_member(dir, member);
	struct stat st;

	if (clone_fd == -1) {
		errno = ENOENT;
		return -1;
	}
	*fd = openat(clone_fd, name, flags);
	if (*fd == -1) {
		if (errno == EISDIR) {
			return 1;
		}
		if (errno != ENOENT) {
			mrmr_pool_suspect(dir->pool,
					  &dir->pool->members[member], errno);
		}
		return -1;
	}
	if (known_file) {
		return 0;
	}
	if (fstat(*fd, &st) == -1) {
		int saved_errno = errno;

		close(*fd);
		errno = saved_errno;
		return -1;
	}
	if (S_ISDIR(st.st_mode)) {
		close(*fd);
		if (is_private_inode(dir, member, &st)) {
			errno = ENOENT;
			return -1;
		}
		return 1;
	}
	return 0;
}

int mrmr_name_open(struct mrmr_dir *dir, const char *name, int flags,
		   size_t *member)
{
	size_t hint = first_member(dir, name);
	struct stat st;
	size_t i;
	int fd;

	if (mrmr_name_is_private(dir, name)) {
		errno = ENOENT;
		return -1;
	}
	if ((flags & O_DIRECTORY) != 0) {
		hint = SIZE_MAX;
	}
	if (hint != SIZE_MAX &&
	    open_on(dir, name, flags, hint, true, &fd) == 0) {
		*member = hint;
		return fd;
	}

	fd = openat(dir->spine_fd, name, flags);
	if (fd != -1 || errno != ENOENT) {
		*member = MRMR_IN_SPINE;
		return fd;
	}

	if ((flags & O_DIRECTORY) != 0) {
		if (mrmr_name_find(dir, name, member, &st) == -1) {
			return -1;
		}
		if (!S_ISDIR(st.st_mode)) {
			errno = ENOTDIR;
			return -1;
		}
		*member = MRMR_IN_SPINE;
		return openat(dir->spine_fd, name, flags);
	}

	for (i = 0; i < dir->pool->num_members; i++) {
		int ret = open_on(dir, name, flags, i, false, &fd);

		if (ret == 0) {
			*member = i;
			return fd;
		}
		if (ret == 1) {
			int clone_fd = mrmr_dir_on_member(dir, i);

			if (clone_fd == -1 ||
			    bring_in(dir, name, clone_fd) == -1) {
				return -1;
			}
			*member = MRMR_IN_SPINE;
			return openat(dir->spine_fd, name, flags);
		}
		if (errno != ENOENT) {
			return -1;
		}
	}
	errno = ENOENT;
	return -1;
}
