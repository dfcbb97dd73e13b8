/*
 * MRMR: carrying out the removal of a directory on members that were away.
 *
 * It was empty as far as anybody could see. What a member has in it all the
 * same stays, and the directory with it: nobody has removed that.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/intent_replay.h>
#include <mrmr/log.h>
#include <mrmr/protection.h>

#include "intent_private.h"

/* The directory above is none that has changed now. */
static int remove_quietly(int fd, const char *name)
{
	struct stat before;

	if (mrmr_fault("replay-rmdir") != 0 || fstat(fd, &before) == -1 ||
	    unlinkat(fd, name, AT_REMOVEDIR) == -1) {
		return -1;
	}
	mrmr_times_set(fd, &before);
	return 0;
}

static int remove_on(struct mrmr_pool *pool, size_t member, const char *path)
{
	struct mrmr_member *m = &pool->members[member];
	const char *slash = strrchr(path, '/');
	struct stat st;
	int ret = replay_is_there(m->root_fd, path, &st);
	int fd = -1;

	if (ret == 0 || (ret == 1 && !S_ISDIR(st.st_mode))) {
		return 0; /* it never had it, or it was done before */
	}
	if (ret == 1) {
		fd = mrmr_intent_open_parent(m->root_fd, path);
		ret = fd != -1 ? remove_quietly(fd, slash != NULL ? slash + 1
								  : path)
			       : -1;
	}
	if (ret == -1 && (errno == ENOTEMPTY || errno == EEXIST)) {
		ret = 0;
	}
	if (ret == -1) {
		mrmr_log(MRMR_LOG_ERROR,
			 "member %s: the directory '%s' was removed while it "
			 "was away, which cannot be done on it now: %s",
			 mrmr_member_name(m), path, strerror(errno));
	}
	if (fd != -1) {
		close(fd);
	}
	m->needs_sync = true;
	return ret;
}

size_t replay_rmdir(struct mrmr_pool *pool, struct mrmr_intent *intent,
		    size_t *left)
{
	size_t num_left = 0;
	struct stat st;
	int there;
	size_t i;

	if (!intent->committed) {
		there = replay_is_there(pool->spine_fd, intent->to, &st);
		if (there == -1) {
			memcpy(left, intent->members,
			       intent->num_members * sizeof(left[0]));
			return intent->num_members;
		}
		/* Whoever died has not told what he did. */
		mrmr_tell(pool, MRMR_EVENT_SCAN, MRMR_NO_MEMBER, 0, "", NULL);
		if (there == 1) {
			return 0;
		}
		intent->committed = true;
	}
	for (i = 0; i < intent->num_members; i++) {
		size_t member = intent->members[i];

		if (!replay_can_follow(&pool->members[member]) ||
		    remove_on(pool, member, intent->to) == -1) {
			left[num_left++] = member;
		}
	}
	return num_left;
}
