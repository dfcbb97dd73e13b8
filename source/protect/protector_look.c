/*
 * MRMR: the protector: looking at what lies on the members.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/log.h>
#include <mrmr/names.h>
#include <mrmr/protection.h>
#include <mrmr/staging.h>
#include <mrmr/xattrs.h>

#include "protector_private.h"

#define NS_PER_S INT64_C(1000000000)

int64_t look_mtime_ns(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec;
}

int look_open(int at_fd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned int)(flags | O_NOFOLLOW | O_NONBLOCK |
					O_NOCTTY | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS,
	};

	/* A path with O_PATH may be a symlink itself. */
	if ((flags & O_PATH) != 0) {
		how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
		how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
	}
	return (int)syscall(SYS_openat2, at_fd, path, &how, sizeof(how));
}

static bool is_not_there(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

/* Nor can it be, by a path that is too long, or leads out of the member. */
static bool cannot_be_there(int error)
{
	return is_not_there(error) || error == ENAMETOOLONG || error == EXDEV;
}

/* 0 in a subvolume: that number is not the member's. */
static int inode_beneath(const struct mrmr_member *member, int at_fd,
			 const char *path, uint64_t *inode)
{
	int fd = mrmr_fault("look-inode") == 0 ? look_open(at_fd, path, O_PATH)
					       : -1;
	struct stat st;
	int saved_errno;
	int ret;

	if (fd == -1) {
		return -1;
	}
	ret = fstat(fd, &st);
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	*inode = ret == 0 && !mrmr_is_in_subvolume(member, &st)
			 ? (uint64_t)st.st_ino
			 : 0;
	return ret;
}

int look_for_inode(struct protector *p, uint16_t number, bool in_trash,
		   const char *path, uint64_t inode)
{
	const struct mrmr_member *member =
		mrmr_engine_online(p->engine, number);
	uint64_t found = 0;
	int saved_errno;
	int at_fd;
	int ret;

	if (member == NULL || inode == 0) {
		return 0;
	}
	if (!in_trash) {
		ret = inode_beneath(member, member->root_fd, path, &found);
	} else {
		at_fd = openat(member->private_fd, MRMR_TRASH,
			       O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (at_fd == -1) {
			return is_not_there(errno) ? 0 : -1;
		}
		ret = inode_beneath(member, at_fd, path, &found);
		saved_errno = errno;
		close(at_fd);
		errno = saved_errno;
	}
	if (ret == -1) {
		return cannot_be_there(errno) ? 0 : -1;
	}
	return found == inode;
}

bool look_has_inode(struct protector *p, uint16_t number, bool in_trash,
		    const char *path, uint64_t inode)
{
	return look_for_inode(p, number, in_trash, path, inode) == 1;
}

bool look_is_not_in_trash(struct protector *p, const struct mrmr_node *node,
			  const char *path)
{
	const struct mrmr_member *member =
		mrmr_engine_online(p->engine, node->member);
	struct stat st;
	bool is_other;
	int at_fd;
	int fd;

	if (member == NULL || node->inode == 0) {
		return false;
	}
	at_fd = openat(member->private_fd, MRMR_TRASH,
		       O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at_fd == -1) {
		return is_not_there(errno);
	}
	fd = look_open(at_fd, path, O_PATH);
	if (fd == -1) {
		is_other = is_not_there(errno);
	} else {
		is_other = fstat(fd, &st) == 0 &&
			   (uint64_t)st.st_ino != node->inode;
		close(fd);
	}
	close(at_fd);
	return is_other;
}

static void classify(struct look *look)
{
	if (S_ISREG(look->st.st_mode)) {
		look->kind = MRMR_NODE_FILE;
	} else if (S_ISDIR(look->st.st_mode)) {
		look->kind = MRMR_NODE_DIRECTORY;
	} else if (S_ISLNK(look->st.st_mode)) {
		look->kind = MRMR_NODE_SYMLINK;
	} else {
		look->kind = MRMR_NODE_SPECIAL;
	}
}

static int read_target(void *mem_ctx, int at_fd, const char *name,
		       struct look *look)
{
	char target[PATH_MAX];
	ssize_t len = readlinkat(at_fd, name, target, sizeof(target));

	if (len == -1) {
		return -1;
	}
	look->target = talloc_strndup(mem_ctx, target, (size_t)len);
	if (look->target == NULL) {
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

static int read_rest(struct protector *p, void *mem_ctx, int at_fd,
		     const char *name, struct look *look)
{
	if (mrmr_fault("look-rest") != 0 ||
	    mrmr_xattrs_read_at(mem_ctx, at_fd, name, &look->xattrs,
				&look->xattrs_len) == -1) {
		if (errno != E2BIG) {
			return -1;
		}
		mrmr_log(MRMR_LOG_WARNING,
			 "'%s' has more extended attributes than are kept for "
			 "the loss of its member",
			 name);
		look->xattrs = NULL;
		look->xattrs_len = 0;
	}
	return look->kind == MRMR_NODE_SYMLINK
		       ? read_target(mem_ctx, at_fd, name, look)
		       : 0;
}

static bool is_in_subvolume(const struct protector *p, const struct look *look)
{
	return look->member < p->pool->num_members &&
	       mrmr_is_in_subvolume(&p->pool->members[look->member], &look->st);
}

static void tell_subvolume(struct protector *p, const char *name,
			   const struct look *look)
{
	if (p->told_subvolume) {
		return;
	}
	p->told_subvolume = true;
	mrmr_log(MRMR_LOG_WARNING,
		 "member %s: '%s' is in a subvolume: what is in subvolumes "
		 "inside a member is not protected; make them members of "
		 "their own",
		 mrmr_member_name(&p->pool->members[look->member]), name);
}

int look_in(struct protector *p, void *mem_ctx, struct mrmr_dir *dir,
	    const char *name, struct look *look)
{
	int at_fd;
	int ret;

	*look = (struct look){.number = MRMR_MEMBER_NONE};
	ret = mrmr_name_find(dir, name, &look->member, &look->st);
	if (ret == -1) {
		return is_not_there(errno) ? 0 : -1;
	}
	classify(look);
	if (look->member == MRMR_IN_SPINE) {
		at_fd = dir->spine_fd;
	} else {
		at_fd = mrmr_dir_on_member(dir, look->member);
		look->number = p->engine->number[look->member];
	}
	if (at_fd == -1 || read_rest(p, mem_ctx, at_fd, name, look) == -1) {
		return is_not_there(errno) ? 0 : -1;
	}
	if (is_in_subvolume(p, look)) {
		tell_subvolume(p, name, look);
	}
	/* a number that is another one tomorrow, or another file's, is none */
	if (look_is_unlasting(p, look)) {
		look->st.st_ino = 0;
	}
	look->is_there = true;
	return 0;
}

bool look_is_unlasting(const struct protector *p, const struct look *look)
{
	return look->member < p->pool->num_members &&
	       (p->pool->members[look->member].unlasting != NULL ||
		is_in_subvolume(p, look));
}

static int look_at_root(struct protector *p, void *mem_ctx, struct look *look)
{
	int fd = p->pool->spine_fd;

	if (fstat(fd, &look->st) == -1 ||
	    mrmr_xattrs_read(mem_ctx, fd, &look->xattrs, &look->xattrs_len) ==
		    -1) {
		return -1;
	}
	look->kind = MRMR_NODE_DIRECTORY;
	look->member = MRMR_IN_SPINE;
	look->is_there = true;
	return 0;
}

int look_at(struct protector *p, void *mem_ctx, const char *path,
	    struct look *look)
{
	struct mrmr_place place;
	int saved_errno;
	int ret;

	*look = (struct look){.number = MRMR_MEMBER_NONE};
	if (path[0] == '\0') {
		return look_at_root(p, mem_ctx, look);
	}
	mrmr_pool_use(p->pool);
	if (mrmr_place_find(p->pool, p->pool->spine_fd, path, &place) == -1) {
		return is_not_there(errno) ? 0 : -1;
	}
	place.dir->pins++;
	ret = look_in(p, mem_ctx, place.dir, place.name, look);
	saved_errno = errno;
	place.dir->pins--;
	errno = saved_errno;
	return ret;
}
