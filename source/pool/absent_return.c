/*
 * MRMR: a member is back: what was done to its ghosts' attributes.
 *
 * Names have their records (source/pool/names_absent.c). A change of a mode, an
 * owner, times or extended attributes is made to the ghost, which is marked
 * first; when the member is back its file gets what the ghost has. A file named
 * `changed` beside the folders tells that there is any marked ghost: as a folder
 * knows its directory by the inode only, finding them takes a walk through the
 * directories of the spine.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <mrmr/absent.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/fd_path.h>
#include <mrmr/log.h>
#include <mrmr/protection.h>
#include <mrmr/reserve.h>
#include <mrmr/thread_root.h>

#include "absent_private.h"

#define MARK MRMR_GHOST_CHANGED
#define ANY_CHANGED "changed"

static int mark(const struct mrmr_pool *pool, int fd, const char *folder)
{
	char proc_path[MRMR_FD_LINK_LEN];
	char path[128];
	int flag_fd;

	snprintf(path, sizeof(path), "%s/" ANY_CHANGED, folder);
	flag_fd = openat(pool->state_fd, path,
			 O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (flag_fd == -1) {
		return -1;
	}
	close(flag_fd);
	/* fsetxattr refuses descriptors made with O_PATH. */
	return setxattr(mrmr_fd_link(fd, proc_path), MARK, "", 0, 0);
}

int mrmr_ghost_mark_changed(const struct mrmr_pool *pool,
			    const struct mrmr_ghost *ghost, int fd)
{
	struct mrmr_thread_root root;
	char folder[96];
	int ret = -1;
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		if (!mrmr_uuid_equal(&pool->members[i].config->id,
				     &ghost->member)) {
			continue;
		}
		/* A handle from before it was back: the file is another. */
		if (!mrmr_is_absent(pool, i)) {
			break;
		}
		absent_member_path(&pool->members[i], folder);
		if (mrmr_thread_root_enter(&root) == -1) {
			return -1;
		}
		ret = mark(pool, fd, folder);
		mrmr_thread_root_leave(&root);
		return ret;
	}
	errno = EROFS;
	return -1;
}

/* --- when it is back; as root ------------------------------------------------- */

struct returning {
	struct mrmr_pool *pool;
	struct mrmr_member *member;
	char path[MRMR_PATH_MAX]; /* of the directory; "" is the root */
};

static int open_on_member(const struct mrmr_member *member, const char *path)
{
	struct open_how how = {
		.flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY |
			 O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};

	return (int)syscall(SYS_openat2, member->root_fd, path, &how,
			    sizeof(how));
}

static int copy_attributes(int ghost_fd, const struct stat *st_ghost, int fd)
{
	if (mrmr_fault("ghost-return") != 0 ||
	    mrmr_attributes_copy(ghost_fd, fd) == -1) {
		return -1;
	}
	return mrmr_times_set(fd, st_ghost);
}

/* 1: done, 0: another file has the name, -1: it cannot be. */
static int give_attributes(struct returning *r, int ghost_fd, int fd,
			   uint64_t *inode)
{
	struct mrmr_ghost ghost;
	struct stat st_ghost;
	struct stat st;
	int ret;

	if (mrmr_ghost_read(ghost_fd, &ghost) == -1 ||
	    fstat(ghost_fd, &st_ghost) == -1 || fstat(fd, &st) == -1) {
		return -1;
	}
	if (!S_ISREG(st.st_mode) || st.st_size != st_ghost.st_size ||
	    (ghost.inode != 0 && ghost.inode != st.st_ino)) {
		return 0;
	}
	*inode = st.st_ino;
	ret = copy_attributes(ghost_fd, &st_ghost, fd);
	if (ret == -1 && (errno == ENOSPC || errno == EDQUOT) &&
	    mrmr_reserve_give(r->member)) {
		ret = copy_attributes(ghost_fd, &st_ghost, fd);
	}
	if (ret == -1) {
		return -1;
	}
	r->member->needs_sync = true;
	return 1;
}

static void return_ghost(struct returning *r, int ghost_fd, const char *name)
{
	char path[2 * MRMR_PATH_MAX];
	uint64_t inode = 0;
	int ret = -1;
	int fd;

	snprintf(path, sizeof(path), "%s%s%s", r->path,
		 r->path[0] != '\0' ? "/" : "", name);
	fd = open_on_member(r->member, path);
	if (fd == -1 && errno == ENOENT) {
		return; /* it has gone there */
	}
	if (fd != -1) {
		ret = give_attributes(r, ghost_fd, fd, &inode);
		close(fd);
	}
	if (ret == -1) {
		mrmr_log(MRMR_LOG_ERROR,
			 "member %s: the attributes of '%s' were changed while "
			 "it was away, which cannot be done on it now: %s",
			 mrmr_member_name(r->member), path, strerror(errno));
	} else if (ret == 1) {
		mrmr_tell(r->pool, MRMR_EVENT_ATTRIBUTES, r->member->index,
			  inode, path, NULL);
	}
}

static void return_folder(struct returning *r, uint64_t ino)
{
	struct dirent *entry = NULL;
	char above[96];
	char path[128];
	DIR *dir = NULL;
	int fd;

	absent_member_path(r->member, above);
	snprintf(path, sizeof(path), "%s/%" PRIu64, above, ino);
	fd = openat(r->pool->state_fd, path,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = fd != -1 ? fdopendir(fd) : NULL;
	if (dir == NULL) {
		if (fd != -1) {
			close(fd);
		}
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		int ghost_fd = openat(fd, entry->d_name,
				      O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
					      O_NOCTTY | O_CLOEXEC);

		if (ghost_fd == -1) {
			continue;
		}
		if (entry->d_name[0] != '\0' &&
		    fgetxattr(ghost_fd, MARK, NULL, 0) >= 0) {
			return_ghost(r, ghost_fd, entry->d_name);
		}
		close(ghost_fd);
	}
	closedir(dir);
}

/* A directory of the spine, and those below it. Takes fd over. */
static void walk(struct returning *r, int fd)
{
	size_t len = strlen(r->path);
	struct dirent *entry = NULL;
	DIR *dir = fdopendir(fd);
	struct stat st;

	if (dir == NULL || fstat(fd, &st) == -1) {
		if (dir != NULL) {
			closedir(dir);
		} else {
			close(fd);
		}
		return;
	}
	return_folder(r, st.st_ino);
	while ((entry = readdir(dir)) != NULL) {
		int below;

		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0 ||
		    len + strlen(entry->d_name) + 2 > sizeof(r->path)) {
			continue;
		}
		below = openat(fd, entry->d_name,
			       O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (below == -1) {
			continue;
		}
		sprintf(r->path + len, "%s%s", len > 0 ? "/" : "",
			entry->d_name);
		walk(r, below);
		r->path[len] = '\0';
	}
	closedir(dir);
}

void absent_return_attributes(struct mrmr_pool *pool, size_t member)
{
	struct returning r = {
		.pool = pool,
		.member = &pool->members[member],
	};
	char folder[96];
	char path[128];
	struct stat st;
	int fd;

	absent_member_path(r.member, folder);
	snprintf(path, sizeof(path), "%s/" ANY_CHANGED, folder);
	if (fstatat(pool->state_fd, path, &st, AT_SYMLINK_NOFOLLOW) == -1) {
		return;
	}
	fd = openat(pool->spine_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd != -1) {
		walk(&r, fd);
	}
	/* The ghosts go next, and must not go first. */
	if (r.member->needs_sync) {
		syncfs(r.member->root_fd);
		r.member->needs_sync = false;
	}
}
