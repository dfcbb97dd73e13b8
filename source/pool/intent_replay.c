/*
 * MRMR: carrying out an intent that was left behind.
 *
 * Every step looks first: what was done before the crash is found done. What
 * stands in the way of a step (somebody made the same name meanwhile) is
 * merged if both are directories, and otherwise put into the member's trash:
 * nothing is overwritten or deleted.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mrmr/dir.h>
#include <mrmr/dirattr.h>
#include <mrmr/intent_replay.h>
#include <mrmr/log.h>
#include <mrmr/names.h>
#include <mrmr/staging.h>

/* The last component of a path on one member, and the directory it is in. */
struct spot {
	int fd;
	const char *name;
};

static int open_below(int at_fd, const char *path)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
			   RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};

	return (int)syscall(SYS_openat2, at_fd, path, &how, sizeof(how));
}

static int spot_open(int root_fd, const char *path, struct spot *spot)
{
	char parent[MRMR_PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (slash == NULL) {
		spot->name = path;
		spot->fd = open_below(root_fd, ".");
		return spot->fd == -1 ? -1 : 0;
	}
	if ((size_t)(slash - path) >= sizeof(parent)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(parent, path, slash - path);
	parent[slash - path] = '\0';
	spot->name = slash + 1;
	spot->fd = open_below(root_fd, parent);
	return spot->fd == -1 ? -1 : 0;
}

static bool spot_has(const struct spot *spot, struct stat *st)
{
	return fstatat(spot->fd, spot->name, st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool path_is_there(int root_fd, const char *path)
{
	struct spot spot;
	struct stat st;
	bool there = false;

	if (spot_open(root_fd, path, &spot) == 0) {
		there = spot_has(&spot, &st);
		close(spot.fd);
	}
	return there;
}

/* The target's parent on this member: cloned from the spine if it lacks it. */
static int make_parent(struct mrmr_pool *pool, size_t member, const char *path)
{
	char parent[MRMR_PATH_MAX];
	struct mrmr_dir *dir = NULL;
	const char *slash = strrchr(path, '/');
	int fd;
	int ret;

	if (slash == NULL) {
		return 0;
	}
	memcpy(parent, path, slash - path);
	parent[slash - path] = '\0';
	fd = open_below(pool->spine_fd, parent);
	if (fd == -1) {
		return -1;
	}
	dir = mrmr_dir_get(pool, fd);
	close(fd);
	if (dir == NULL) {
		return -1;
	}
	ret = mrmr_dir_clone_to(dir, member);
	return ret == -1 ? -1 : 0;
}

/* What is in from, into to, which is there as well; then from goes. */
static int merge(struct mrmr_pool *pool, size_t member,
		 const struct spot *from, const struct spot *to,
		 const char *to_path)
{
	struct dirent *entry = NULL;
	DIR *dir = NULL;
	int from_fd = open_below(from->fd, from->name);
	int to_fd = open_below(to->fd, to->name);
	int ret = 0;

	if (from_fd == -1 || to_fd == -1 ||
	    (dir = fdopendir(from_fd)) == NULL) {
		if (from_fd != -1) {
			close(from_fd);
		}
		if (to_fd != -1) {
			close(to_fd);
		}
		return -1;
	}
	while (ret == 0 && (entry = readdir(dir)) != NULL) {
		struct spot below_from = { dirfd(dir), entry->d_name };
		struct spot below_to = { to_fd, entry->d_name };
		char below_path[MRMR_PATH_MAX];
		struct stat a, b;

		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0) {
			continue;
		}
		if (snprintf(below_path, sizeof(below_path), "%s/%s", to_path,
			     entry->d_name) >= (int)sizeof(below_path)) {
			errno = ENAMETOOLONG;
			ret = -1;
			break;
		}
		if (!spot_has(&below_to, &b)) {
			ret = renameat(dirfd(dir), entry->d_name, to_fd,
				       entry->d_name);
		} else if (spot_has(&below_from, &a) && S_ISDIR(a.st_mode) &&
			   S_ISDIR(b.st_mode)) {
			ret = merge(pool, member, &below_from, &below_to,
				    below_path);
		} else {
			ret = mrmr_trash(pool, member, dirfd(dir),
					 entry->d_name, below_path);
		}
	}
	closedir(dir);
	close(to_fd);
	if (ret == 0) {
		ret = unlinkat(from->fd, from->name, AT_REMOVEDIR);
	}
	return ret;
}

static int rename_path(struct mrmr_pool *pool, size_t member, const char *from,
		       const char *to)
{
	int root_fd = pool->members[member].root_fd;
	struct spot from_spot, to_spot;
	struct stat a, b;
	int ret = 0;

	if (!path_is_there(root_fd, from)) {
		return 0; /* done before, or never there */
	}
	if (make_parent(pool, member, to) == -1) {
		return -1;
	}
	if (spot_open(root_fd, from, &from_spot) == -1) {
		return -1;
	}
	if (spot_open(root_fd, to, &to_spot) == -1) {
		close(from_spot.fd);
		return -1;
	}
	if (!spot_has(&to_spot, &b)) {
		ret = renameat(from_spot.fd, from_spot.name, to_spot.fd,
			       to_spot.name);
	} else if (spot_has(&from_spot, &a) && S_ISDIR(a.st_mode) &&
		   S_ISDIR(b.st_mode)) {
		ret = merge(pool, member, &from_spot, &to_spot, to);
	} else {
		ret = mrmr_trash(pool, member, from_spot.fd, from_spot.name,
				 to);
	}
	close(from_spot.fd);
	close(to_spot.fd);
	return ret;
}

/* -1: trouble, which was logged. */
static int rename_logged(struct mrmr_pool *pool, size_t member,
			 const char *from, const char *to)
{
	int ret = rename_path(pool, member, from, to);

	if (ret == -1) {
		mrmr_log(MRMR_LOG_ERROR, "member %s: '%s' was renamed to '%s' "
			 "while it was away, which cannot be done on it now: "
			 "%s", mrmr_member_name(&pool->members[member]), from,
			 to, strerror(errno));
	}
	return ret;
}

static size_t replay_rename(struct mrmr_pool *pool, struct mrmr_intent *intent,
			    size_t *left)
{
	bool forward = true;
	size_t num_left = 0;
	size_t i;

	if (!intent->committed) {
		/* The spine's rename was the moment at which it happened. */
		forward = path_is_there(pool->spine_fd, intent->to) &&
			  !path_is_there(pool->spine_fd, intent->from);
	}
	for (i = 0; i < intent->num_members; i++) {
		size_t member = intent->members[i];

		if (pool->members[member].state != MRMR_MEMBER_ONLINE) {
			if (forward) {
				left[num_left++] = member;
			}
			continue;
		}
		if (!forward && path_is_there(pool->members[member].root_fd,
					      intent->from)) {
			continue;
		}
		if (rename_logged(pool, member,
				  forward ? intent->from : intent->to,
				  forward ? intent->to : intent->from) == -1) {
			left[num_left++] = member;
		}
	}
	intent->committed = forward;
	return num_left;
}

static int trash_path(struct mrmr_pool *pool, size_t member, const char *path)
{
	struct spot spot;
	struct stat st;
	int ret = 0;

	if (spot_open(pool->members[member].root_fd, path, &spot) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	if (spot_has(&spot, &st) && !S_ISDIR(st.st_mode)) {
		ret = mrmr_trash(pool, member, spot.fd, spot.name, path);
	}
	close(spot.fd);
	return ret;
}

/* If the new file is where it belongs, the other copies of it go. */
static size_t replay_replace(struct mrmr_pool *pool,
			     struct mrmr_intent *intent, size_t *left)
{
	size_t num_left = 0;
	int keep_fd;
	bool done;
	size_t i;

	if (intent->keep == SIZE_MAX) {
		return 0; /* that member has left the pool */
	}
	if (pool->members[intent->keep].state != MRMR_MEMBER_ONLINE) {
		left[0] = intent->keep;
		return 1;
	}
	keep_fd = pool->members[intent->keep].root_fd;
	done = path_is_there(keep_fd, intent->to);
	if (intent->kind == MRMR_INTENT_REPLACE) {
		done = done && !path_is_there(keep_fd, intent->from);
	}
	if (!done) {
		return 0; /* it never happened */
	}
	for (i = 0; i < intent->num_members; i++) {
		size_t member = intent->members[i];

		if (pool->members[member].state != MRMR_MEMBER_ONLINE ||
		    trash_path(pool, member, intent->to) == -1 ||
		    (intent->kind == MRMR_INTENT_REPLACE &&
		     rename_logged(pool, member, intent->from, intent->to)
			     == -1)) {
			left[num_left++] = member;
		}
	}
	return num_left;
}

size_t mrmr_intent_replay(struct mrmr_pool *pool, struct mrmr_intent *intent,
			  size_t *left)
{
	if (intent->kind == MRMR_INTENT_RENAME_DIR) {
		return replay_rename(pool, intent, left);
	}
	return replay_replace(pool, intent, left);
}
