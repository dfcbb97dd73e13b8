/*
 * MRMR: making names in the pool.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mrmr/absent.h>
#include <mrmr/fault.h>
#include <mrmr/log.h>
#include <mrmr/names.h>
#include <mrmr/protection.h>

#include "names_private.h"

/* What shall be made, by one system call below a directory of a member. */
struct recipe {
	enum {
		MAKE_FILE,
		MAKE_SYMLINK,
		MAKE_NODE
	} kind;
	const char *name;
	int flags;          /* MAKE_FILE */
	mode_t mode;        /* MAKE_FILE, MAKE_NODE */
	dev_t dev;          /* MAKE_NODE */
	const char *target; /* MAKE_SYMLINK */
};

static int make_in(const struct recipe *recipe, int fd)
{
	if (mrmr_fault("name-make") != 0) {
		return -1;
	}
	switch (recipe->kind) {
	case MAKE_FILE:
		return openat(fd, recipe->name,
			      recipe->flags | O_CREAT | O_EXCL, recipe->mode);
	case MAKE_SYMLINK:
		return symlinkat(recipe->target, fd, recipe->name);
	case MAKE_NODE:
		return mknodat(fd, recipe->name, recipe->mode, recipe->dev);
	}
	errno = EINVAL;
	return -1;
}

/* Whether a name is there does not depend on who asks. */
static int stat_as_needed(struct mrmr_pool *pool, int fd, const char *name,
			  struct stat *st)
{
	int saved_errno;
	int ret;

	ret = fstatat(fd, name, st, AT_SYMLINK_NOFOLLOW);
	if (ret == 0 || errno != EACCES) {
		return ret;
	}
	pool->identity.become_root();
	ret = fstatat(fd, name, st, AT_SYMLINK_NOFOLLOW);
	saved_errno = errno;
	pool->identity.unbecome_root();
	errno = saved_errno;
	return ret;
}

/* 0 if the name is free in the union, or -1 with EEXIST or what failed. */
static int check_free(struct mrmr_dir *dir, const char *name)
{
	struct stat st;
	size_t i;

	if (mrmr_name_is_private(dir, name)) {
		errno = EACCES;
		return -1;
	}
	if (fstatat(dir->spine_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return -1;
	}
	if (errno != ENOENT) {
		return -1;
	}
	for (i = 0; i < dir->pool->num_members; i++) {
		int fd = mrmr_dir_on_member(dir, i);

		if (fd == -1 && mrmr_dir_is_lacking(errno)) {
			continue;
		}
		if (fd == -1) {
			return -1; /* it might be there */
		}
		if (stat_as_needed(dir->pool, fd, name, &st) == 0) {
			errno = EEXIST;
			return -1;
		}
		if (errno != ENOENT) {
			mrmr_pool_suspect(dir->pool, &dir->pool->members[i],
					  errno);
			return -1;
		}
	}
	return 0;
}

enum verdict {
	TRY_NEXT,
	TRY_AGAIN,
	GIVE_UP
};

/* What an error on one member means for the rest. */
static enum verdict judge(struct mrmr_dir *dir, size_t index, int error)
{
	const struct mrmr_member *member = &dir->pool->members[index];

	switch (error) {
	case ENOENT:
	case ESTALE:
		/* The clone was removed behind our back. */
		mrmr_dir_forget(dir, index);
		return TRY_AGAIN;
	case ENOSPC:
	case EDQUOT:
	case ENOTDIR: /* a file has the name of the directory there */
	case EINVAL:  /* a name that this file system cannot take */
	case ENAMETOOLONG:
	case EOPNOTSUPP:
	case EPERM: /* no symlinks there, or immutable */
		return TRY_NEXT;
	case EIO:
	case EROFS:
	case ENODEV:
	case ENXIO:
		mrmr_pool_suspect(dir->pool, member, error);
		return TRY_NEXT;
	case EACCES:
		if (faccessat(dir->spine_fd, ".", W_OK | X_OK, AT_EACCESS) ==
		    -1) {
			return GIVE_UP; /* this user may not, anywhere */
		}
		mrmr_log(MRMR_LOG_WARNING,
			 "member %s refuses what the "
			 "pool's rights allow; trying the next member",
			 mrmr_member_name(member));
		return TRY_NEXT;
	default:
		return GIVE_UP;
	}
}

/* Which error to report when several members failed: room and rights say more
   about the request than trouble of one drive. */
static int worse(int a, int b)
{
	if (a == 0 || a == ENOTDIR) {
		return b;
	}
	return (b == ENOSPC || b == EDQUOT) ? b : a;
}

static int make_on_one_of(struct mrmr_dir *dir, const struct recipe *recipe,
			  const size_t *order, size_t n, size_t *member)
{
	int error = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		enum verdict verdict = TRY_AGAIN;
		unsigned int tries;

		for (tries = 0; verdict == TRY_AGAIN && tries < 2; tries++) {
			int fd = mrmr_dir_clone_to(dir, order[i]);
			int ret = -1;

			if (fd != -1 &&
			    mrmr_dir_may_change(dir, order[i]) == 0) {
				ret = make_in(recipe, fd);
			}

			if (ret != -1) {
				*member = order[i];
				return ret;
			}
			error = worse(error, errno);
			verdict = judge(dir, order[i], errno);
		}
		if (verdict == GIVE_UP) {
			return -1;
		}
	}
	errno = (error != 0) ? error : names_nowhere(dir, recipe->name);
	return -1;
}

static int make_somewhere(struct mrmr_dir *dir, const struct recipe *recipe,
			  uint64_t need_bytes, size_t *member)
{
	size_t order[MRMR_MEMBERS_MAX];
	size_t n;
	int ret;

	n = mrmr_name_place(dir, recipe->name, need_bytes, order);
	ret = make_on_one_of(dir, recipe, order, n, member);
	if (ret != -1 || errno != ENOSPC) {
		return ret;
	}
	/* Those that were full a second ago may have room again. */
	mrmr_pool_look_at_space(dir->pool);
	n = mrmr_name_place(dir, recipe->name, need_bytes, order);
	return make_on_one_of(dir, recipe, order, n, member);
}

static int make(struct mrmr_dir *dir, const struct recipe *recipe,
		uint64_t need_bytes, size_t *member)
{
	int ret;

	if (mrmr_dir_lock(dir) == -1) {
		return -1;
	}
	ret = check_free(dir, recipe->name);
	if (ret == 0) {
		ret = make_somewhere(dir, recipe, need_bytes, member);
	}
	if (ret != -1) {
		mrmr_dir_hint(dir, recipe->name, *member);
		mrmr_dir_changed(dir, *member, recipe->name);
	}
	mrmr_dir_unlock(dir);
	return ret;
}

int mrmr_name_create(struct mrmr_dir *dir, const char *name, int flags,
		     mode_t mode, uint64_t need_bytes, size_t *member)
{
	struct recipe recipe = {
		.kind = MAKE_FILE,
		.name = name,
		.flags = flags | O_NOFOLLOW | O_CLOEXEC,
		.mode = mode,
	};

	return make(dir, &recipe, need_bytes, member);
}

/* What is not opened and closed by anybody is told here. */
static int make_and_tell(struct mrmr_dir *dir, const struct recipe *recipe)
{
	struct stat st = {0};
	size_t member;
	int ret;
	int fd;

	ret = make(dir, recipe, 0, &member);
	if (ret == -1 || dir->pool->queue == NULL) {
		return ret;
	}
	fd = mrmr_dir_on_member(dir, member);
	if (fd != -1) {
		fstatat(fd, recipe->name, &st, AT_SYMLINK_NOFOLLOW);
	}
	mrmr_tell_name(dir, recipe->name, MRMR_EVENT_CHANGED, member,
		       mrmr_inode_to_tell(dir->pool, member, &st));
	return ret;
}

int mrmr_name_symlink(struct mrmr_dir *dir, const char *name,
		      const char *target)
{
	struct recipe recipe = {
		.kind = MAKE_SYMLINK,
		.name = name,
		.target = target,
	};

	return make_and_tell(dir, &recipe);
}

int mrmr_name_mknod(struct mrmr_dir *dir, const char *name, mode_t mode,
		    dev_t dev)
{
	struct recipe recipe = {
		.kind = MAKE_NODE,
		.name = name,
		.mode = mode,
		.dev = dev,
	};

	return make_and_tell(dir, &recipe);
}

static int make_in_spine(struct mrmr_dir *dir, const char *name, mode_t mode)
{
	if (check_free(dir, name) == -1 || mrmr_fault("mkdir-spine") != 0) {
		return -1;
	}
	return mkdirat(dir->spine_fd, name, mode);
}

/* The new spine directory, onto the first member that can take it. */
static int clone_new(struct mrmr_dir *dir, const char *name)
{
	size_t order[MRMR_MEMBERS_MAX];
	struct mrmr_dir *made = NULL;
	int error = 0;
	size_t n, i;
	int fd;

	n = mrmr_name_place(dir, name, 0, order);
	if (n == 0) {
		mrmr_pool_look_at_space(dir->pool);
		n = mrmr_name_place(dir, name, 0, order);
	}
	fd = openat(dir->spine_fd, name,
		    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		return -1;
	}
	made = mrmr_dir_get(dir->pool, fd);
	error = errno;
	close(fd);
	if (made == NULL) {
		errno = error;
		return -1;
	}
	mrmr_dir_forget(made, SIZE_MAX); /* what it was under another name */
	error = 0;
	for (i = 0; i < n; i++) {
		if (mrmr_dir_clone_to(made, order[i]) != -1) {
			return 0;
		}
		error = worse(error, errno);
		judge(dir, order[i], errno);
	}
	errno = (error != 0) ? error : names_nowhere(dir, name);
	return -1;
}

int mrmr_name_mkdir(struct mrmr_dir *dir, const char *name, mode_t mode)
{
	int saved_errno;
	int ret;

	if (mrmr_dir_lock(dir) == -1) {
		return -1;
	}
	ret = make_in_spine(dir, name, mode);
	if (ret == 0) {
		ret = mrmr_fault("mkdir-between") == 0 ? clone_new(dir, name)
						       : -1;
		if (ret == -1) {
			saved_errno = errno;
			unlinkat(dir->spine_fd, name, AT_REMOVEDIR);
			errno = saved_errno;
		}
	}
	if (ret == 0) {
		mrmr_tell_name(dir, name, MRMR_EVENT_ATTRIBUTES, MRMR_NO_MEMBER,
			       0);
	}
	mrmr_dir_unlock(dir);
	return ret;
}

/* --- a directory in the making ----------------------------------------------- */

bool mrmr_name_is_unfinished(const char *name)
{
	return strncmp(name, MRMR_UNFINISHED_PREFIX,
		       strlen(MRMR_UNFINISHED_PREFIX)) == 0;
}

int mrmr_name_begin(struct mrmr_dir *dir, const char *unfinished, mode_t mode)
{
	int ret;

	if (mrmr_dir_lock(dir) == -1) {
		return -1;
	}
	ret = make_in_spine(dir, unfinished, mode);
	mrmr_dir_unlock(dir);
	return ret;
}

/* As with mrmr_name_mkdir(), a crash in between leaves a directory that no
   member has: the next listing prunes it. */
static int finish(struct mrmr_dir *dir, const char *unfinished,
		  const char *name)
{
	int saved_errno;
	int ret;

	if (check_free(dir, name) == -1 || mrmr_fault("mkdir-finish") != 0 ||
	    renameat(dir->spine_fd, unfinished, dir->spine_fd, name) == -1) {
		return -1;
	}
	ret = mrmr_fault("mkdir-between") == 0 ? clone_new(dir, name) : -1;
	if (ret == -1) {
		saved_errno = errno;
		renameat(dir->spine_fd, name, dir->spine_fd, unfinished);
		errno = saved_errno;
	}
	return ret;
}

int mrmr_name_finish(struct mrmr_dir *dir, const char *unfinished,
		     const char *name)
{
	int ret;

	if (mrmr_dir_lock(dir) == -1) {
		return -1;
	}
	ret = finish(dir, unfinished, name);
	if (ret == 0) {
		mrmr_tell_name(dir, name, MRMR_EVENT_ATTRIBUTES, MRMR_NO_MEMBER,
			       0);
	}
	mrmr_dir_unlock(dir);
	return ret;
}

static void tell_link(struct mrmr_dir *from_dir, const char *from,
		      struct mrmr_dir *to_dir, const char *to, size_t member,
		      uint64_t inode)
{
	char from_path[MRMR_PATH_MAX];
	char to_path[MRMR_PATH_MAX];

	if (from_dir->pool->queue == NULL) {
		return;
	}
	if (mrmr_name_path(from_dir, from, from_path) == 0 &&
	    mrmr_name_path(to_dir, to, to_path) == 0) {
		mrmr_tell(from_dir->pool, MRMR_EVENT_LINKED, member, inode,
			  from_path, to_path);
	} else {
		mrmr_tell(from_dir->pool, MRMR_EVENT_SCAN, MRMR_NO_MEMBER, 0,
			  "", NULL);
	}
}

int mrmr_name_link(struct mrmr_dir *from_dir, const char *from,
		   struct mrmr_dir *to_dir, const char *to)
{
	struct stat st;
	size_t member;
	int from_fd;
	int to_fd;
	int ret = -1;

	if (mrmr_dir_lock_two(from_dir, to_dir) == -1) {
		return -1;
	}
	if (mrmr_name_find(from_dir, from, &member, &st) == -1 ||
	    check_free(to_dir, to) == -1) {
		goto out;
	}
	if (member == MRMR_IN_SPINE) {
		errno = EPERM; /* as link(2) says of directories */
		goto out;
	}
	if (mrmr_is_absent(from_dir->pool, member)) {
		/* Where the file is, it could not be made now. */
		errno = EROFS;
		goto out;
	}
	from_fd = mrmr_dir_on_member(from_dir, member);
	if (from_fd == -1) {
		goto out;
	}
	to_fd = mrmr_dir_clone_to(to_dir, member);
	if (to_fd == -1 || mrmr_dir_may_change(to_dir, member) == -1) {
		goto out;
	}
	if (mrmr_fault("link") == 0) {
		ret = linkat(from_fd, from, to_fd, to, 0);
	}
	if (ret == 0) {
		tell_link(from_dir, from, to_dir, to, member,
			  mrmr_inode_to_tell(from_dir->pool, member, &st));
	}
out:
	mrmr_dir_unlock_two(from_dir, to_dir);
	return ret;
}
