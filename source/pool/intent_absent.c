/*
 * MRMR: carrying out what was done to names of members that are away.
 *
 * The ghosts decide what has happened when somebody died in the middle of it:
 * they lie on one file system with the records, and are there until the member
 * has caught up. On the member each step looks first, as it may be done already.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <mrmr/absent.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/intent_replay.h>
#include <mrmr/log.h>
#include <mrmr/protection.h>

#include "intent_private.h"

/* The folder of ghosts that path is in, to be closed; -1 if there is none. */
static int open_folder(struct mrmr_pool *pool, size_t member, const char *path)
{
	int fd = mrmr_intent_open_parent(pool->spine_fd, path);
	struct mrmr_dir *dir = NULL;

	if (fd == -1) {
		return -1;
	}
	dir = mrmr_dir_get(pool, fd);
	close(fd);
	return dir != NULL ? mrmr_absent_peek(dir, member) : -1;
}

static const char *last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

int replay_has_ghost(struct mrmr_pool *pool, size_t member, const char *path)
{
	int fd = open_folder(pool, member, path);
	struct stat st;
	int there = -1;

	if (fd == -1) {
		return -1;
	}
	if (fstatat(fd, last_name(path), &st, AT_SYMLINK_NOFOLLOW) == 0) {
		there = 1;
	} else if (errno == ENOENT) {
		there = 0;
	}
	close(fd);
	return there;
}

void replay_drop_ghost(struct mrmr_pool *pool, size_t member, const char *path)
{
	int fd = open_folder(pool, member, path);

	if (fd != -1) {
		if (unlinkat(fd, last_name(path), 0) == 0) {
			mrmr_sync(fd);
		}
		close(fd);
	}
}

/* Has another member, which is there, a file of that name? */
static bool is_replaced(struct mrmr_pool *pool,
			const struct mrmr_intent *intent)
{
	struct stat st;
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		if (i != intent->keep &&
		    pool->members[i].state == MRMR_MEMBER_ONLINE &&
		    replay_is_there(pool->members[i].root_fd, intent->to,
				    &st) == 1 &&
		    !S_ISDIR(st.st_mode)) {
			return true;
		}
	}
	return false;
}

/* Has it happened? If not, everything is as it was. */
static bool has_happened(struct mrmr_pool *pool,
			 const struct mrmr_intent *intent)
{
	if (intent->kind == MRMR_INTENT_ABSENT_RENAME) {
		return replay_has_ghost(pool, intent->keep, intent->to) == 1 &&
		       replay_has_ghost(pool, intent->keep, intent->from) != 1;
	}
	return replay_has_ghost(pool, intent->keep, intent->to) == 0 ||
	       is_replaced(pool, intent);
}

static int rename_on(struct mrmr_pool *pool, size_t member,
		     const struct mrmr_intent *intent)
{
	struct stat st;
	int there = replay_is_there(pool->members[member].root_fd, intent->from,
				    &st);

	if (there != 1) {
		return there; /* done before */
	}
	if (replay_trash(pool, member, intent->to) == -1) {
		return -1;
	}
	return replay_rename_logged(pool, member, intent->from, intent->to,
				    false);
}

static bool follow(struct mrmr_pool *pool, size_t member,
		   const struct mrmr_intent *intent)
{
	bool renames = intent->kind == MRMR_INTENT_ABSENT_RENAME &&
		       member == intent->keep;

	if (!replay_can_follow(&pool->members[member])) {
		if (!renames) {
			replay_drop_ghost(pool, member, intent->to);
		}
		return false;
	}
	return (renames ? rename_on(pool, member, intent)
			: replay_trash(pool, member, intent->to)) == 0;
}

size_t replay_absent(struct mrmr_pool *pool, struct mrmr_intent *intent,
		     size_t *left)
{
	size_t num_left = 0;
	bool tells = false;
	size_t i;

	if (intent->keep == SIZE_MAX) {
		return 0; /* that member has left the pool */
	}
	if (!intent->committed) {
		if (!has_happened(pool, intent)) {
			return 0;
		}
		intent->committed = true;
		/* Whoever died has not told what he did. */
		tells = true;
	}
	for (i = 0; i < intent->num_members; i++) {
		size_t member = intent->members[i];

		if (!follow(pool, member, intent)) {
			left[num_left++] = member;
		}
	}
	if (tells || num_left < intent->num_members) {
		mrmr_tell(pool, MRMR_EVENT_SCAN, MRMR_NO_MEMBER, 0, "", NULL);
	}
	return num_left;
}
