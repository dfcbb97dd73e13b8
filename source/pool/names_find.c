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

#include <mrmr/absent.h>
#include <mrmr/dirattr.h>
#include <mrmr/intent.h>
#include <mrmr/listing.h>
#include <mrmr/log.h>
#include <mrmr/marker.h>
#include <mrmr/names.h>
#include <mrmr/protection.h>
#include <mrmr/shared.h>
#include <mrmr/staging.h>

#include "names_private.h"

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
 * A file system that ignores case finds a directory by every spelling of its
 * name. It becomes part of the spine by the one that it has, or the share would
 * show it once for each spelling that somebody has tried.
 */
static bool is_its_name(int dir_fd, const char *name, const struct stat *st)
{
	char other[NAME_MAX + 1];
	struct stat other_st;
	bool is_foreign = false;
	size_t len = strlen(name);
	size_t i;

	if (len >= sizeof(other)) {
		return true;
	}
	for (i = 0; i <= len; i++) {
		unsigned char c = (unsigned char)name[i];

		is_foreign = is_foreign || c >= 0x80;
		other[i] = name[i];
		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
			other[i] = (char)(c ^ 0x20);
		}
	}
	if (!is_foreign &&
	    (strcmp(name, other) == 0 ||
	     fstatat(dir_fd, other, &other_st, AT_SYMLINK_NOFOLLOW) == -1 ||
	     other_st.st_ino != st->st_ino)) {
		return true; /* case matters here, or makes no difference */
	}
	return mrmr_fd_has_entry(dir_fd, name) != 0;
}

/*
 * Is it what a rename that was broken off has left on the member? Whoever was killed
 * there, or has finished it as far as he could, did so after we had looked at the
 * members: the next operation does. With the directory locked.
 */
static bool is_being_renamed(struct mrmr_dir *dir, const char *name)
{
	struct mrmr_pool *pool = dir->pool;
	char path[MRMR_PATH_MAX];

	return (atomic_load(&pool->shared->num_intents) > 0 ||
		atomic_load(&pool->shared->members_gen) !=
			pool->seen_members_gen) &&
	       mrmr_name_path(dir, name, path) == 0 &&
	       mrmr_intents_rename(pool, path);
}

/*
 * A directory that appeared on a member behind our back becomes part of the
 * spine, with its attributes. ENOENT if it has gone, or has another name.
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
	if (is_being_renamed(dir, name)) {
		errno = ENOENT;
		goto out;
	}
	from_fd = openat(member_dir_fd, name,
			 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (from_fd == -1 || fstat(from_fd, &st) == -1) {
		goto out;
	}
	if (!is_its_name(member_dir_fd, name, &st)) {
		errno = ENOENT;
		goto out;
	}
	staging_fd = mrmr_folder_open(pool->state_fd, MRMR_STAGING);
	if (staging_fd == -1) {
		goto out;
	}
	ret = mrmr_directory_copy(mrmr_directory_is_bare(&st) ? dir->spine_fd
							      : from_fd,
				  staging_fd, dir->spine_fd, name);
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

/* See mrmr_dir_swaps(). */
static bool may_have_slipped_through(struct mrmr_dir *dir, uint32_t *swaps)
{
	uint32_t now = mrmr_dir_swaps(dir);
	bool slipped = errno == ENOENT && now != *swaps;

	*swaps = now;
	return slipped;
}

/*
 * A member whose directory cannot be looked into hides its own files, not those
 * of the others: they are asked all the same. But if none has the name, it is
 * not known that it does not exist.
 */
static void note_error(int *error)
{
	if (!mrmr_dir_is_lacking(errno)) {
		*error = errno;
	}
}

/* What the last call said of a name: may the next member be asked? */
static bool may_go_on(struct mrmr_dir *dir, size_t member, int *error)
{
	if (errno == ENOENT) {
		return true;
	}
	if (errno == EACCES) {
		*error = EACCES;
		return true;
	}
	mrmr_pool_suspect(dir->pool, &dir->pool->members[member], errno);
	return false;
}

/*
 * The members, in the order in which they are asked: those that are away last,
 * as what is here counts. Returns how many.
 */
static size_t in_order(const struct mrmr_pool *pool,
		       size_t order[MRMR_MEMBERS_MAX])
{
	size_t n = 0;
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		if (!mrmr_is_absent(pool, i)) {
			order[n++] = i;
		}
	}
	for (i = 0; i < pool->num_members && n < pool->num_members; i++) {
		if (mrmr_is_absent(pool, i)) {
			order[n++] = i;
		}
	}
	return n;
}

bool names_comes_before(const struct mrmr_pool *pool, size_t a, size_t b)
{
	bool a_is_absent = mrmr_is_absent(pool, a);

	return a_is_absent == mrmr_is_absent(pool, b) ? a < b : !a_is_absent;
}

static int find_on_members(struct mrmr_dir *dir, const char *name,
			   size_t *member, struct stat *st)
{
	size_t order[MRMR_MEMBERS_MAX];
	size_t num = in_order(dir->pool, order);
	int error = ENOENT;
	size_t n;

	for (n = 0; n < num; n++) {
		size_t i = order[n];
		int fd = mrmr_dir_on_member(dir, i);

		if (fd == -1) {
			note_error(&error);
			continue;
		}
		if (fstatat(fd, name, st, AT_SYMLINK_NOFOLLOW) == -1) {
			if (!may_go_on(dir, i, &error)) {
				return -1;
			}
			continue;
		}
		if (is_private_inode(dir, i, st)) {
			continue;
		}
		if (!S_ISDIR(st->st_mode)) {
			mrmr_dir_hint(dir, name, i);
			*member = i;
			return 0;
		}
		if (bring_in(dir, name, fd) == -1) {
			if (errno != ENOENT) {
				return -1;
			}
			continue;
		}
		*member = MRMR_IN_SPINE;
		return fstatat(dir->spine_fd, name, st, AT_SYMLINK_NOFOLLOW);
	}
	errno = error;
	return -1;
}

static int find_in_spine(struct mrmr_dir *dir, const char *name, size_t *member,
			 struct stat *st)
{
	*member = MRMR_IN_SPINE;
	return fstatat(dir->spine_fd, name, st, AT_SYMLINK_NOFOLLOW);
}

/*
 * The spine has directories, the members files. It is asked first, as its
 * directory counts if both have a name, but last where it had no directory a
 * moment ago.
 */
int mrmr_name_find(struct mrmr_dir *dir, const char *name, size_t *member,
		   struct stat *st)
{
	uint32_t swaps = mrmr_dir_swaps(dir);
	size_t hint = mrmr_dir_hinted(dir, name);
	int ret;

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

	if (!dir->is_flat) {
		ret = find_in_spine(dir, name, member, st);
		if (ret == 0 || errno != ENOENT) {
			return ret;
		}
	}
	do {
		ret = find_on_members(dir, name, member, st);
	} while (ret == -1 && may_have_slipped_through(dir, &swaps));
	if (ret == -1 && errno == ENOENT && dir->is_flat) {
		ret = find_in_spine(dir, name, member, st);
	}
	return ret;
}

/*
 * Open a non-directory in a clone. 1 if a directory is there, with nothing
 * opened.
 */
static int open_in(struct mrmr_dir *dir, const char *name, int flags,
		   size_t member, int clone_fd, int *fd, struct stat *st)
{
	*fd = openat(clone_fd, name, flags);
	if (*fd == -1) {
		return errno == EISDIR ? 1 : -1;
	}
	if (fstat(*fd, st) == -1) {
		int saved_errno = errno;

		close(*fd);
		errno = saved_errno;
		return -1;
	}
	if (!S_ISDIR(st->st_mode)) {
		return 0;
	}
	close(*fd);
	if (is_private_inode(dir, member, st)) {
		errno = ENOENT;
		return -1;
	}
	return 1;
}

/*
 * May the next member be asked? Not if the name is here and only may not, or
 * cannot, be opened: a copy that lost would be opened in its place.
 */
static bool may_try_next(struct mrmr_dir *dir, const char *name, size_t member,
			 int clone_fd, int *error)
{
	int open_error = errno;
	struct stat st;

	if (open_error == ENOENT) {
		return true;
	}
	if (open_error != EACCES && open_error != ENXIO) {
		return may_go_on(dir, member, error);
	}
	/* A user's lack of rights, or a socket: no trouble with the member. */
	if (fstatat(clone_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = open_error;
		return false;
	}
	return may_go_on(dir, member, error);
}

static int open_on_members(struct mrmr_dir *dir, const char *name, int flags,
			   size_t *member, struct stat *st)
{
	size_t order[MRMR_MEMBERS_MAX];
	size_t num = in_order(dir->pool, order);
	int error = ENOENT;
	size_t n;

	for (n = 0; n < num; n++) {
		size_t i = order[n];
		int clone_fd = mrmr_dir_on_member(dir, i);
		int fd = -1;
		int ret;

		if (clone_fd == -1) {
			note_error(&error);
			continue;
		}
		ret = open_in(dir, name, flags, i, clone_fd, &fd, st);
		if (ret == 0) {
			mrmr_dir_hint(dir, name, i);
			*member = i;
			return fd;
		}
		if (ret == 1) {
			if (bring_in(dir, name, clone_fd) == -1) {
				if (errno != ENOENT) {
					return -1;
				}
				continue;
			}
			*member = MRMR_IN_SPINE;
			return openat(dir->spine_fd, name, flags);
		}
		if (!may_try_next(dir, name, i, clone_fd, &error)) {
			return -1;
		}
	}
	errno = error;
	return -1;
}

/* The hint is of a file: a directory that has its name now is for those to find
   who look into the spine. */
static int open_hinted(struct mrmr_dir *dir, const char *name, int flags,
		       size_t member, struct stat *st)
{
	int clone_fd = mrmr_dir_on_member(dir, member);
	int fd = -1;

	if (clone_fd == -1 ||
	    open_in(dir, name, flags, member, clone_fd, &fd, st) != 0) {
		return -1;
	}
	return fd;
}

static int open_in_spine(struct mrmr_dir *dir, const char *name, int flags,
			 size_t *member)
{
	*member = MRMR_IN_SPINE;
	return openat(dir->spine_fd, name, flags);
}

int mrmr_name_open(struct mrmr_dir *dir, const char *name, int flags,
		   size_t *member, struct stat *st)
{
	uint32_t swaps = mrmr_dir_swaps(dir);
	bool is_for_dir = (flags & O_DIRECTORY) != 0;
	bool spine_first = is_for_dir || !dir->is_flat;
	size_t hint;
	int fd;

	if (mrmr_name_is_private(dir, name)) {
		errno = ENOENT;
		return -1;
	}
	hint = is_for_dir ? SIZE_MAX : mrmr_dir_hinted(dir, name);
	if (hint != SIZE_MAX) {
		fd = open_hinted(dir, name, flags, hint, st);
		if (fd != -1) {
			*member = hint;
			return fd;
		}
	}

	if (spine_first) {
		fd = open_in_spine(dir, name, flags, member);
		if (fd != -1 || errno != ENOENT) {
			return fd;
		}
	}

	if (is_for_dir) {
		if (mrmr_name_find(dir, name, member, st) == -1) {
			return -1;
		}
		if (!S_ISDIR(st->st_mode)) {
			errno = ENOTDIR;
			return -1;
		}
		return open_in_spine(dir, name, flags, member);
	}
	do {
		fd = open_on_members(dir, name, flags, member, st);
	} while (fd == -1 && may_have_slipped_through(dir, &swaps));
	if (fd == -1 && errno == ENOENT && !spine_first) {
		fd = open_in_spine(dir, name, flags, member);
	}
	return fd;
}
