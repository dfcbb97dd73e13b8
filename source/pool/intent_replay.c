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
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mrmr/dir.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/intent_replay.h>
#include <mrmr/log.h>
#include <mrmr/names.h>
#include <mrmr/protection.h>
#include <mrmr/reserve.h>
#include <mrmr/staging.h>
#include <mrmr/trash.h>

#include "intent_private.h"

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

/* The parent's path; "" for the root. -1 with errno. */
static int parent_path(const char *path, char parent[MRMR_PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	size_t len = slash != NULL ? (size_t)(slash - path) : 0;

	if (len >= MRMR_PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(parent, path, len);
	parent[len] = '\0';
	return 0;
}

int mrmr_intent_open_parent(int root_fd, const char *path)
{
	char parent[MRMR_PATH_MAX];

	if (parent_path(path, parent) == -1) {
		return -1;
	}
	return open_below(root_fd, parent[0] != '\0' ? parent : ".");
}

static int spot_open(int root_fd, const char *path, struct spot *spot)
{
	const char *slash = strrchr(path, '/');

	spot->name = slash != NULL ? slash + 1 : path;
	spot->fd = mrmr_intent_open_parent(root_fd, path);
	return spot->fd == -1 ? -1 : 0;
}

/* 1 with st filled, 0 if it is surely not there, or -1 with errno. */
static int spot_has(const struct spot *spot, struct stat *st)
{
	if (fstatat(spot->fd, spot->name, st, AT_SYMLINK_NOFOLLOW) == 0) {
		return 1;
	}
	return errno == ENOENT ? 0 : -1;
}

int replay_is_there(int root_fd, const char *path, struct stat *st)
{
	struct spot spot;
	int saved_errno;
	int there;

	if (spot_open(root_fd, path, &spot) == -1) {
		return (errno == ENOENT || errno == ENOTDIR || errno == ELOOP ||
			errno == EXDEV)
			       ? 0
			       : -1;
	}
	there = spot_has(&spot, st);
	saved_errno = errno;
	close(spot.fd);
	errno = saved_errno;
	return there;
}

/*
 * Folders on a member for a path that the spine does not have any more: it was
 * renamed or removed after what we carry out now. A later record renames them
 * as well, or they are taken away again when they are empty.
 */
static int make_bare(int root_fd, const char *path)
{
	char name[NAME_MAX + 1];
	int at_fd = open_below(root_fd, ".");

	while (at_fd != -1 && *path != '\0') {
		size_t len = strcspn(path, "/");
		int saved_errno;
		int fd;

		if (len > NAME_MAX) {
			close(at_fd);
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(name, path, len);
		name[len] = '\0';
		path += len + (path[len] == '/');
		fd = -1;
		if (mkdirat(at_fd, name, MRMR_BARE_MODE) == 0 ||
		    errno == EEXIST) {
			fd = open_below(at_fd, name);
		}
		saved_errno = errno;
		close(at_fd);
		errno = saved_errno;
		at_fd = fd;
	}
	if (at_fd == -1) {
		return -1;
	}
	close(at_fd);
	return 0;
}

/* The target's parent on this member. */
static int make_parent(struct mrmr_pool *pool, size_t member, const char *path)
{
	char parent[MRMR_PATH_MAX];
	struct mrmr_dir *dir = NULL;
	int fd;

	if (parent_path(path, parent) == -1) {
		return -1;
	}
	if (parent[0] == '\0') {
		return 0;
	}
	fd = open_below(pool->spine_fd, parent);
	if (fd == -1 && errno == ENOENT) {
		return make_bare(pool->members[member].root_fd, parent);
	}
	if (fd == -1) {
		return -1;
	}
	dir = mrmr_dir_get(pool, fd);
	close(fd);
	if (dir == NULL) {
		return -1;
	}
	return mrmr_dir_clone_to(dir, member) == -1 ? -1 : 0;
}

/* Take the bare folders above path away again, as far as they are empty and
   the spine does not have them. */
static void drop_bare(struct mrmr_pool *pool, size_t member, const char *path)
{
	int root_fd = pool->members[member].root_fd;
	char parent[MRMR_PATH_MAX];
	char above[MRMR_PATH_MAX];
	bool dropped = true;

	if (parent_path(path, parent) == -1) {
		return;
	}
	while (dropped && parent[0] != '\0') {
		struct spot spot;
		struct stat st;

		dropped = false;
		if (replay_is_there(pool->spine_fd, parent, &st) == 0 &&
		    spot_open(root_fd, parent, &spot) == 0) {
			dropped =
				spot_has(&spot, &st) == 1 &&
				mrmr_directory_is_bare(&st) &&
				unlinkat(spot.fd, spot.name, AT_REMOVEDIR) == 0;
			close(spot.fd);
		}
		parent_path(parent, above);
		strcpy(parent, above);
	}
}

/* What is in from, into to, which is there as well; then from goes. */
static int merge(struct mrmr_pool *pool, size_t member, const struct spot *from,
		 const struct spot *to, const char *to_path);

static int merge_entry(struct mrmr_pool *pool, size_t member,
		       const struct spot *from, const struct spot *to,
		       const char *to_path)
{
	struct stat a, b;
	int there = spot_has(to, &b);

	if (there == 0) {
		return renameat(from->fd, from->name, to->fd, to->name);
	}
	if (there == -1 || spot_has(from, &a) != 1) {
		return -1;
	}
	if (S_ISDIR(a.st_mode) && S_ISDIR(b.st_mode)) {
		return merge(pool, member, from, to, to_path);
	}
	return mrmr_trash(pool, member, from->fd, from->name, to_path);
}

static int merge_entries(struct mrmr_pool *pool, size_t member, DIR *from,
			 int to_fd, const char *to_path)
{
	struct dirent *entry = NULL;
	int ret = 0;

	while (ret == 0 && (entry = readdir(from)) != NULL) {
		struct spot below_from = {dirfd(from), entry->d_name};
		struct spot below_to = {to_fd, entry->d_name};
		char below_path[MRMR_PATH_MAX];

		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0) {
			continue;
		}
		if (snprintf(below_path, sizeof(below_path), "%s/%s", to_path,
			     entry->d_name) >= (int)sizeof(below_path)) {
			errno = ENAMETOOLONG;
			return -1;
		}
		ret = merge_entry(pool, member, &below_from, &below_to,
				  below_path);
	}
	return ret;
}

static int merge(struct mrmr_pool *pool, size_t member, const struct spot *from,
		 const struct spot *to, const char *to_path)
{
	int from_fd = open_below(from->fd, from->name);
	int to_fd = open_below(to->fd, to->name);
	DIR *dir = (from_fd != -1) ? fdopendir(from_fd) : NULL;
	int saved_errno;
	int ret = -1;

	if (dir != NULL && to_fd != -1) {
		ret = merge_entries(pool, member, dir, to_fd, to_path);
	}
	saved_errno = errno;
	if (dir != NULL) {
		closedir(dir);
	} else if (from_fd != -1) {
		close(from_fd);
	}
	if (to_fd != -1) {
		close(to_fd);
	}
	errno = saved_errno;
	return ret == 0 ? unlinkat(from->fd, from->name, AT_REMOVEDIR) : -1;
}

/* From one path of a member to another; directories only, or anything but. */
static int rename_path(struct mrmr_pool *pool, size_t member, const char *from,
		       const char *to, bool directories)
{
	int root_fd = pool->members[member].root_fd;
	struct spot from_spot, to_spot;
	struct stat st;
	int saved_errno;
	int there;
	int ret;

	there = replay_is_there(root_fd, from, &st);
	if (there == -1) {
		return -1;
	}
	if (there == 0 || S_ISDIR(st.st_mode) != directories) {
		return 0; /* done before, or never there */
	}
	if (mrmr_fault("replay-rename") != 0 ||
	    make_parent(pool, member, to) == -1 ||
	    spot_open(root_fd, from, &from_spot) == -1) {
		return -1;
	}
	if (spot_open(root_fd, to, &to_spot) == -1) {
		saved_errno = errno;
		close(from_spot.fd);
		errno = saved_errno;
		return -1;
	}
	pool->members[member].needs_sync = true;
	ret = merge_entry(pool, member, &from_spot, &to_spot, to);
	saved_errno = errno;
	close(from_spot.fd);
	close(to_spot.fd);
	errno = saved_errno;
	if (ret == 0) {
		drop_bare(pool, member, from);
	}
	return ret;
}

int replay_rename_logged(struct mrmr_pool *pool, size_t member,
			 const char *from, const char *to, bool directories)
{
	int ret = rename_path(pool, member, from, to, directories);

	if (ret == -1 && errno == ENOSPC &&
	    mrmr_reserve_give(&pool->members[member])) {
		ret = rename_path(pool, member, from, to, directories);
	}
	if (ret == -1) {
		mrmr_log(MRMR_LOG_ERROR,
			 "member %s: '%s' was renamed to '%s' "
			 "while it was away, which cannot be done on it now: "
			 "%s",
			 mrmr_member_name(&pool->members[member]), from, to,
			 strerror(errno));
	}
	return ret;
}

bool replay_can_follow(const struct mrmr_member *member)
{
	return member->state == MRMR_MEMBER_ONLINE && !member->is_behind;
}

/*
 * The spine's rename was the moment at which it happened: if it has the new
 * name, the members follow; if it has the old one, they go back. With both or
 * neither, somebody went on from there: 0 and nothing is to be done. -1: the
 * spine cannot be looked at.
 */
static int decide(struct mrmr_pool *pool, struct mrmr_intent *intent)
{
	struct stat st;
	int from = replay_is_there(pool->spine_fd, intent->from, &st);
	int to = replay_is_there(pool->spine_fd, intent->to, &st);

	if (from == -1 || to == -1) {
		return -1;
	}
	if (from == to) {
		return 0;
	}
	if (from == 1) {
		const char *back = intent->to;

		intent->to = intent->from;
		intent->from = back;
	}
	intent->committed = true;
	return 1;
}

static size_t replay_rename(struct mrmr_pool *pool, struct mrmr_intent *intent,
			    size_t *left)
{
	size_t num_left = 0;
	size_t i;

	if (!intent->committed) {
		int decision = decide(pool, intent);

		if (decision == -1) {
			memcpy(left, intent->members,
			       intent->num_members * sizeof(left[0]));
			return intent->num_members;
		}
		/* Whoever died has not told what he did. */
		mrmr_tell(pool, MRMR_EVENT_SCAN, MRMR_NO_MEMBER, 0, "", NULL);
		if (decision == 0) {
			return 0;
		}
	}
	for (i = 0; i < intent->num_members; i++) {
		size_t member = intent->members[i];

		if (!replay_can_follow(&pool->members[member]) ||
		    replay_rename_logged(pool, member, intent->from, intent->to,
					 true) == -1) {
			left[num_left++] = member;
		}
	}
	return num_left;
}

static int trash_path(struct mrmr_pool *pool, size_t member, const char *path)
{
	struct spot spot;
	struct stat st;
	int saved_errno;
	int ret;

	ret = replay_is_there(pool->members[member].root_fd, path, &st);
	if (ret != 1 || S_ISDIR(st.st_mode)) {
		return ret == -1 ? -1 : 0;
	}
	if (mrmr_fault("replay-trash") != 0 ||
	    spot_open(pool->members[member].root_fd, path, &spot) == -1) {
		return -1;
	}
	pool->members[member].needs_sync = true;
	ret = mrmr_trash(pool, member, spot.fd, spot.name, path);
	saved_errno = errno;
	close(spot.fd);
	errno = saved_errno;
	return ret;
}

int replay_trash(struct mrmr_pool *pool, size_t member, const char *path)
{
	int ret = trash_path(pool, member, path);

	if (ret == -1) {
		mrmr_log(MRMR_LOG_ERROR,
			 "member %s: '%s' was removed or replaced while it was "
			 "away, which cannot be done on it now: %s",
			 mrmr_member_name(&pool->members[member]), path,
			 strerror(errno));
	}
	return ret;
}

/* 1: the new file is where it belongs. 0: it never came there. -1: unknown. */
static int was_done(struct mrmr_pool *pool, const struct mrmr_intent *intent)
{
	int keep_fd = pool->members[intent->keep].root_fd;
	struct stat st;
	int to = replay_is_there(keep_fd, intent->to, &st);
	int from;

	if (to != 1 || intent->kind != MRMR_INTENT_REPLACE) {
		return to;
	}
	from = replay_is_there(keep_fd, intent->from, &st);
	return from == -1 ? -1 : !from;
}

/* The other copies of what was replaced, or moved, on one member. False: they
   cannot go now. */
static bool replace_on(struct mrmr_pool *pool, size_t member,
		       const struct mrmr_intent *intent)
{
	bool has_source = intent->kind == MRMR_INTENT_REPLACE;

	if (!replay_can_follow(&pool->members[member]) ||
	    replay_trash(pool, member, intent->to) == -1) {
		return false;
	}
	if (!has_source) {
		return true;
	}
	/* Clients may have gone on from there: under the new name, it might be
	   the only one. */
	return (intent->committed
			? replay_trash(pool, member, intent->from)
			: replay_rename_logged(pool, member, intent->from,
					       intent->to, false)) == 0;
}

/* They are on members that are away: none of them is shown from now on, and each
   member does the same before its names count. */
static void replace_later(struct mrmr_pool *pool, struct mrmr_intent *intent,
			  const size_t *left, size_t num_left)
{
	size_t i;

	for (i = 0; i < num_left; i++) {
		if (pool->members[left[i]].state == MRMR_MEMBER_ONLINE) {
			return; /* it is tried again, as it is */
		}
	}
	for (i = 0; i < num_left; i++) {
		replay_drop_ghost(pool, left[i], intent->to);
		if (intent->kind == MRMR_INTENT_REPLACE) {
			replay_drop_ghost(pool, left[i], intent->from);
		}
	}
	intent->committed = true;
}

/* If the new file is where it belongs, the other copies of it go. */
static size_t replay_replace(struct mrmr_pool *pool, struct mrmr_intent *intent,
			     size_t *left)
{
	bool is_known = intent->committed;
	size_t num_left = 0;
	int done = is_known ? 1 : -1;
	size_t i;

	if (!is_known && intent->keep == SIZE_MAX) {
		return 0; /* that member has left the pool */
	}
	if (!is_known &&
	    pool->members[intent->keep].state == MRMR_MEMBER_ONLINE) {
		done = was_done(pool, intent);
	}
	if (done == -1) {
		left[0] = intent->keep;
		return 1;
	}
	if (done == 0) {
		return 0;
	}
	for (i = 0; i < intent->num_members; i++) {
		size_t member = intent->members[i];

		if (!replace_on(pool, member, intent)) {
			left[num_left++] = member;
		}
	}
	if (!is_known) {
		replace_later(pool, intent, left, num_left);
	}
	if ((intent->committed && !is_known) ||
	    num_left < intent->num_members) {
		mrmr_tell(pool, MRMR_EVENT_SCAN, MRMR_NO_MEMBER, 0, "", NULL);
	}
	return num_left;
}

static size_t replay(struct mrmr_pool *pool, struct mrmr_intent *intent,
		     size_t *left)
{
	if (intent->kind == MRMR_INTENT_RENAME_DIR) {
		return replay_rename(pool, intent, left);
	}
	if (intent->kind == MRMR_INTENT_ABSENT_REMOVE ||
	    intent->kind == MRMR_INTENT_ABSENT_RENAME) {
		return replay_absent(pool, intent, left);
	}
	if (intent->kind == MRMR_INTENT_RMDIR) {
		return replay_rmdir(pool, intent, left);
	}
	return replay_replace(pool, intent, left);
}

/* One record builds on the other: once one could not be carried out on a
   member, those that come after it have to wait there. */
size_t mrmr_intent_replay(struct mrmr_pool *pool, struct mrmr_intent *intent,
			  size_t *left)
{
	size_t num_left = replay(pool, intent, left);
	size_t i;

	for (i = 0; i < num_left; i++) {
		struct mrmr_member *member = &pool->members[left[i]];

		member->is_behind = member->is_behind ||
				    member->state == MRMR_MEMBER_ONLINE;
	}
	return num_left;
}
