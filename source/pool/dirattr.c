/*
 * MRMR: the attributes of directories, the same wherever they exist.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/log.h>
#include <mrmr/missed.h>
#include <mrmr/shared.h>
#include <mrmr/staging.h>
#include <mrmr/xattrs.h>

#define NS_PER_S INT64_C(1000000000)
#define XATTR_MAX 65536 /* the kernel's own limit, for a list and a value */

/* Labels that security modules give are theirs, not the directory's, and what
   makes a ghost is its own. */
static bool is_copied(const char *name)
{
	return strncmp(name, MRMR_GHOST_TAGS, strlen(MRMR_GHOST_TAGS)) != 0 &&
	       strcmp(name, "security.selinux") != 0 &&
	       strcmp(name, "security.ima") != 0 &&
	       strcmp(name, "security.evm") != 0 &&
	       strcmp(name, "security.apparmor") != 0;
}

/* What a file system without such attributes answers. */
static bool is_unsupported(int error)
{
	return error == ENOTSUP || error == ENOSYS || error == EINVAL ||
	       error == EPERM;
}

static bool list_has(const char *list, ssize_t len, const char *name)
{
	const char *p = NULL;

	for (p = list; p < list + len; p += strlen(p) + 1) {
		if (strcmp(p, name) == 0) {
			return true;
		}
	}
	return false;
}

/* One attribute, or its absence. */
static int copy_xattr(int from_fd, int to_fd, const char *name, char *value)
{
	ssize_t len;

	len = fgetxattr(from_fd, name, value, XATTR_MAX);
	if (len == -1 && errno == ENODATA) {
		if (fremovexattr(to_fd, name) == -1 && errno != ENODATA &&
		    !is_unsupported(errno)) {
			return -1;
		}
		return 0;
	}
	if (len == -1) {
		return is_unsupported(errno) ? 0 : -1;
	}
	if (fsetxattr(to_fd, name, value, len, 0) == -1 &&
	    !is_unsupported(errno)) {
		return -1;
	}
	return 0;
}

static int copy_xattrs(int from_fd, int to_fd)
{
	char *buffer = malloc(3 * XATTR_MAX);
	char *list = buffer;
	char *to_list = NULL;
	char *value = NULL;
	const char *name = NULL;
	ssize_t to_len;
	ssize_t len;
	int ret = -1;

	if (buffer == NULL) {
		return -1;
	}
	to_list = buffer + XATTR_MAX;
	value = to_list + XATTR_MAX;

	len = flistxattr(from_fd, list, XATTR_MAX);
	if (len == -1) {
		ret = is_unsupported(errno) ? 0 : -1;
		goto out;
	}
	to_len = flistxattr(to_fd, to_list, XATTR_MAX);
	if (to_len == -1) {
		ret = is_unsupported(errno) ? 0 : -1;
		goto out;
	}
	for (name = to_list; name < to_list + to_len;
	     name += strlen(name) + 1) {
		if (!list_has(list, len, name) && is_copied(name) &&
		    fremovexattr(to_fd, name) == -1 && errno != ENODATA &&
		    !is_unsupported(errno)) {
			goto out;
		}
	}
	for (name = list; name < list + len; name += strlen(name) + 1) {
		if (is_copied(name) &&
		    copy_xattr(from_fd, to_fd, name, value) == -1) {
			goto out;
		}
	}
	ret = 0;
out:
	free(buffer);
	return ret;
}

int mrmr_attributes_copy(int from_fd, int to_fd)
{
	struct stat from;
	struct stat to;

	if (fstat(from_fd, &from) == -1 || fstat(to_fd, &to) == -1) {
		return -1;
	}
	/* Owner first: a change of owner clears set-id bits. */
	if ((from.st_uid != to.st_uid || from.st_gid != to.st_gid) &&
	    fchown(to_fd, from.st_uid, from.st_gid) == -1 &&
	    !is_unsupported(errno)) {
		return -1;
	}
	if (copy_xattrs(from_fd, to_fd) == -1) {
		return -1;
	}
	/* The mode last: it holds the ACL's mask, which then agrees. */
	if (fchmod(to_fd, from.st_mode & 07777) == -1 &&
	    !is_unsupported(errno)) {
		return -1;
	}
	return 0;
}

bool mrmr_directory_is_bare(const struct stat *st)
{
	return S_ISDIR(st->st_mode) &&
	       (st->st_mode & 07777) == MRMR_BARE_MODE && st->st_uid == 0;
}

int mrmr_times_set(int fd, const struct stat *st)
{
	struct timespec ts[2] = {st->st_atim, st->st_mtim};

	return futimens(fd, ts);
}

int mrmr_sync(int fd)
{
	if (fsync(fd) == -1 && errno != EINVAL && errno != EROFS &&
	    errno != ENOTSUP) {
		return -1;
	}
	return 0;
}

int mrmr_attributes_set(int fd, const struct mrmr_node *node)
{
	if (fchown(fd, node->uid, node->gid) == -1 ||
	    mrmr_xattrs_write(fd, node->xattrs, node->xattrs_len, NULL) == -1) {
		return -1;
	}
	/* The mode last: it holds the ACL's mask, which then agrees. */
	return fchmod(fd, node->mode & 07777);
}

/* --- directories with the right attributes ------------------------------------ */

/* A descriptor of a new one, that only root can enter. */
static int make_staged(int staging_fd, char staged[128])
{
	int fd;

	mrmr_staging_name(staged, 128);
	if (mkdirat(staging_fd, staged, 0700) == -1) {
		return -1;
	}
	fd = openat(staging_fd, staged,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		int saved_errno = errno;

		unlinkat(staging_fd, staged, AT_REMOVEDIR);
		errno = saved_errno;
	}
	return fd;
}

static int place_staged(int staging_fd, const char *staged, int at_fd,
			const char *name)
{
	struct stat parent;

	if (mrmr_fault("directory-copy") != 0 || fstat(at_fd, &parent) == -1) {
		return -1;
	}
	if (renameat2(staging_fd, staged, at_fd, name, RENAME_NOREPLACE) ==
	    -1) {
		/* File systems without that flag: mkdir said nothing is
		   there, and the caller holds the lock. */
		if (errno != EINVAL ||
		    faccessat(at_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
		    renameat(staging_fd, staged, at_fd, name) == -1) {
			return -1;
		}
	}
	/* A clone is no change that a client should see. */
	if (mrmr_fault("directory-copied") == 0) {
		mrmr_times_set(at_fd, &parent);
	}
	return 0;
}

/* Takes fd over. */
static int end_staged(int staging_fd, const char *staged, int fd, int ret,
		      int at_fd, const char *name)
{
	int saved_errno = errno;

	close(fd);
	if (ret == 0) {
		ret = place_staged(staging_fd, staged, at_fd, name);
		saved_errno = errno;
	}
	if (ret == -1) {
		unlinkat(staging_fd, staged, AT_REMOVEDIR);
	}
	errno = saved_errno;
	return ret;
}

int mrmr_directory_copy(int from_fd, int staging_fd, int at_fd,
			const char *name)
{
	struct stat from;
	char staged[128];
	int ret = -1;
	int fd;

	if (fstat(from_fd, &from) == -1) {
		return -1;
	}
	fd = make_staged(staging_fd, staged);
	if (fd == -1) {
		return -1;
	}
	if (mrmr_attributes_copy(from_fd, fd) == 0) {
		ret = mrmr_times_set(fd, &from);
	}
	return end_staged(staging_fd, staged, fd, ret, at_fd, name);
}

int mrmr_directory_make(const struct mrmr_node *node, int staging_fd, int at_fd,
			const char *name)
{
	const struct timespec ts[2] = {
		{.tv_nsec = UTIME_OMIT},
		{.tv_sec = node->mtime_ns / NS_PER_S,
		 .tv_nsec = node->mtime_ns % NS_PER_S},
	};
	char staged[128];
	int fd = make_staged(staging_fd, staged);
	int ret;

	if (fd == -1) {
		return -1;
	}
	ret = mrmr_attributes_set(fd, node);
	if (ret == 0) {
		futimens(fd, ts);
	}
	return end_staged(staging_fd, staged, fd, ret, at_fd, name);
}

static bool same_rights(const struct stat *a, const struct stat *b)
{
	return a->st_mode == b->st_mode && a->st_uid == b->st_uid &&
	       a->st_gid == b->st_gid;
}

/* The spine's onto the clone; a member that keeps other rights all the same is
   left alone from then on. */
static void bring_in_line(struct mrmr_dir *dir, size_t index, int clone_fd)
{
	struct mrmr_member *member = &dir->pool->members[index];
	struct stat spine;
	struct stat clone;
	int ret;

	ret = mrmr_attributes_copy(dir->spine_fd, clone_fd);
	if (ret == -1) {
		char path[MRMR_PATH_MAX] = "?";
		int error = errno;

		mrmr_dir_path(dir, path);
		mrmr_log(MRMR_LOG_WARNING,
			 "member %s: rights of directory "
			 "'%s' differ from the pool's and cannot be mended: "
			 "%s",
			 mrmr_member_name(member), path, strerror(error));
		member->no_owners = true;
		return;
	}
	mrmr_missed_forget(dir, index);
	if (fstat(clone_fd, &clone) == 0 && fstat(dir->spine_fd, &spine) == 0 &&
	    !same_rights(&clone, &spine)) {
		/* exFAT and the like show every directory alike. */
		member->no_owners = true;
	}
}

/* A lock may be had by this process already, for another directory: asking for
   this one without waiting cannot deadlock. */
bool mrmr_dir_reconcile(struct mrmr_dir *dir, size_t index, int clone_fd)
{
	bool lock_here = dir->locks == 0;

	if (lock_here && flock(dir->spine_fd, LOCK_EX | LOCK_NB) == -1) {
		return false;
	}
	dir->pool->identity.become_root();
	bring_in_line(dir, index, clone_fd);
	dir->pool->identity.unbecome_root();
	if (lock_here) {
		flock(dir->spine_fd, LOCK_UN);
	}
	return true;
}

static void mirror_trouble(struct mrmr_dir *dir, size_t member)
{
	int error = errno;
	char path[MRMR_PATH_MAX] = "?";

	mrmr_dir_path(dir, path);
	mrmr_log(MRMR_LOG_WARNING,
		 "member %s: attributes of directory '%s' "
		 "could not be set: %s",
		 mrmr_member_name(&dir->pool->members[member]), path,
		 strerror(error));
	mrmr_pool_suspect(dir->pool, &dir->pool->members[member], error);
}

void mrmr_dir_mirror(struct mrmr_dir *dir, const char *name)
{
	struct mrmr_pool *pool = dir->pool;
	char *value = NULL;
	size_t i;

	if (name != NULL) {
		value = malloc(XATTR_MAX);
		if (value == NULL) {
			name = NULL;
		}
	}
	pool->identity.become_root();
	for (i = 0; i < pool->num_members; i++) {
		int fd = mrmr_dir_on_member(dir, i);
		int ret;

		if (pool->members[i].state == MRMR_MEMBER_UNSUPPORTED ||
		    (fd == -1 && (errno == ENOENT || errno == ENOTDIR) &&
		     pool->members[i].state == MRMR_MEMBER_ONLINE)) {
			continue;
		}
		if (fd == -1 || pool->members[i].state != MRMR_MEMBER_ONLINE) {
			mrmr_missed_note(dir, i);
		}
		if (fd == -1) {
			continue;
		}
		ret = mrmr_fault("mirror") != 0 ? -1
		      : name != NULL
			      ? copy_xattr(dir->spine_fd, fd, name, value)
			      : mrmr_attributes_copy(dir->spine_fd, fd);
		if (ret == -1) {
			mirror_trouble(dir, i);
			mrmr_missed_note(dir, i);
			/* Whoever has the clone open must look how it is. */
			atomic_fetch_add(&pool->shared->clones_gen, 1);
			mrmr_dir_forget(dir, i);
		}
	}
	pool->identity.unbecome_root();
	free(value);
}

/* False also if it cannot be told. */
static bool has_other_xattrs(void *frame, int fd, const uint8_t *blob,
			     size_t len)
{
	uint8_t *its_blob = NULL;
	size_t its_len = 0;

	return mrmr_xattrs_read(frame, fd, &its_blob, &its_len) == 0 &&
	       (its_len != len ||
		(len > 0 && memcmp(its_blob, blob, len) != 0));
}

void mrmr_dir_align(struct mrmr_dir *dir)
{
	struct mrmr_pool *pool = dir->pool;
	void *frame = talloc_new(NULL);
	uint8_t *blob = NULL;
	size_t len = 0;
	size_t i;
	int ret;

	mrmr_dir_forget(dir, SIZE_MAX);
	ret = mrmr_xattrs_read(frame, dir->spine_fd, &blob, &len);
	for (i = 0; ret == 0 && i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];
		int fd = -1;

		if (member->state == MRMR_MEMBER_ONLINE && !member->read_only &&
		    !member->no_owners) {
			fd = mrmr_dir_on_member(dir, i);
		}
		if (fd != -1 && has_other_xattrs(frame, fd, blob, len)) {
			mrmr_dir_reconcile(dir, i, fd);
		}
	}
	talloc_free(frame);
}

void mrmr_dir_mirror_times(struct mrmr_dir *dir, const struct timespec ts[2])
{
	struct mrmr_pool *pool = dir->pool;
	size_t i;

	pool->identity.become_root();
	for (i = 0; i < pool->num_members; i++) {
		int fd = mrmr_dir_on_member(dir, i);

		if (fd != -1 && futimens(fd, ts) == -1) {
			mirror_trouble(dir, i);
		}
	}
	pool->identity.unbecome_root();
}
