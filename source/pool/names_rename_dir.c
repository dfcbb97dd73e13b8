/*
 * MRMR: renaming a directory.
 *
 * It is renamed on the spine and on each member that has it. The spine's rename
 * is the moment at which it has happened: an intent found later is carried
 * forward if the spine has the new name, back if it has the old.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <mrmr/absent.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/intent.h>
#include <mrmr/log.h>
#include <mrmr/names.h>
#include <mrmr/shared.h>

#include "names_rename.h"

/* False if not everything could be put back. */
static bool undo_directory(struct renaming *r, size_t num_done)
{
	int saved_errno = errno;
	bool undone = true;

	while (num_done-- > 0) {
		size_t member = r->members[num_done];

		if (mrmr_fault("rename-directory-undo") != 0 ||
		    renaming_on(r, member, true) == -1) {
			mrmr_log(MRMR_LOG_ERROR,
				 "member %s: directory '%s' "
				 "could not be renamed back to '%s': %s; its "
				 "files show under the new name",
				 mrmr_member_name(&r->pool->members[member]),
				 r->to_path, r->from_path, strerror(errno));
			undone = false;
		}
	}
	if (mrmr_fault("rename-spine-undo") != 0 ||
	    renameat(r->to_dir->spine_fd, r->to, r->from_dir->spine_fd,
		     r->from) == -1) {
		mrmr_log(MRMR_LOG_ERROR,
			 "directory '%s' could not be renamed "
			 "back to '%s' in the spine: %s",
			 r->to_path, r->from_path, strerror(errno));
		undone = false;
	}
	errno = saved_errno;
	return undone;
}

/* The record of a rename goes next, and must not go first. */
static void sync_everywhere(struct renaming *r, size_t num_online)
{
	size_t i;

	for (i = 0; i < num_online; i++) {
		int fd = mrmr_dir_on_member(r->to_dir, r->members[i]);

		if (fd != -1) {
			mrmr_sync(fd);
		}
	}
}

/*
 * Spine first (as the user: its rights decide), then the members. *consistent
 * becomes false if it failed and could not be undone.
 */
static int rename_everywhere(struct renaming *r, size_t num_online,
			     bool *consistent)
{
	struct mrmr_pool *pool = r->pool;
	size_t i;

	for (i = 0; i < num_online; i++) {
		if (mrmr_dir_clone_to(r->to_dir, r->members[i]) == -1) {
			return -1;
		}
	}
	if (mrmr_fault("rename-spine") != 0 ||
	    renameat(r->from_dir->spine_fd, r->from, r->to_dir->spine_fd,
		     r->to) == -1) {
		return -1;
	}
	pool->identity.become_root();
	for (i = 0; i < num_online; i++) {
		if (mrmr_fault("rename-directory") != 0 ||
		    renaming_on(r, r->members[i], false) == -1) {
			mrmr_pool_suspect(pool, &pool->members[r->members[i]],
					  errno);
			*consistent = undo_directory(r, i);
			pool->identity.unbecome_root();
			return -1;
		}
	}
	pool->identity.unbecome_root();
	return 0;
}

/* rename(2) lets a directory replace an empty one. No SMB client asks for that,
   and it would need a third lock. */
static int check_target_free(struct renaming *r)
{
	struct stat st;
	size_t member;

	if (mrmr_name_find(r->to_dir, r->to, &member, &st) == 0) {
		errno = S_ISDIR(st.st_mode) ? EEXIST : ENOTDIR;
		return -1;
	}
	return errno == ENOENT ? 0 : -1;
}

/* Those that have the directory, then those that are away and may have it. */
static int gather_members(struct renaming *r, size_t *num_online)
{
	struct mrmr_pool *pool = r->pool;
	size_t i;

	mrmr_dir_forget(r->from_dir, SIZE_MAX);
	for (i = 0; i < pool->num_members; i++) {
		struct stat st;
		int there = renaming_has(r->from_dir, r->from, i, &st);

		if (there == -1) {
			return -1;
		}
		if (there == 1 && S_ISDIR(st.st_mode)) {
			r->members[r->num_members++] = i;
		}
	}
	*num_online = r->num_members;
	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];

		if (member->state == MRMR_MEMBER_ONLINE) {
			continue;
		}
		/* Others may use it already: what they see must not keep the
		   old name. */
		if (!r->has_looked && mrmr_member_has_returned(pool, member)) {
			errno = EAGAIN;
			return -1;
		}
		r->members[r->num_members++] = i;
	}
	return 0;
}

/* What becomes of the record. */
static void close_intent(struct renaming *r, struct mrmr_intent *intent,
			 size_t num_online, bool done, bool consistent)
{
	struct mrmr_pool *pool = r->pool;
	int saved_errno = errno;

	pool->identity.become_root();
	if (!consistent) {
		mrmr_intent_leave(pool, intent);
	} else if (!done || num_online == r->num_members) {
		mrmr_intent_end(pool, intent);
	} else if (mrmr_intent_keep_for(pool, intent, r->members + num_online,
					r->num_members - num_online) == -1) {
		mrmr_log(MRMR_LOG_ERROR,
			 "'%s' was renamed to '%s', but that "
			 "cannot be noted for the members that are away (%s); "
			 "this is tried again",
			 r->from_path, r->to_path, strerror(errno));
	}
	pool->identity.unbecome_root();
	errno = saved_errno;
}

/* With the tree locked exclusively. */
static int rename_directory_locked(struct renaming *r)
{
	struct mrmr_pool *pool = r->pool;
	struct mrmr_intent intent = {.kind = MRMR_INTENT_RENAME_DIR};
	bool consistent = true;
	size_t num_online;
	int ret;

	if (atomic_load(&pool->shared->num_intents) > 0) {
		errno = EAGAIN; /* somebody died in the middle of a rename */
		return -1;
	}
	/* Again, with nobody else about to rename a parent. */
	if (renaming_paths(r) == -1 || gather_members(r, &num_online) == -1) {
		return -1;
	}
	if (r->num_members <= 1 && num_online == r->num_members) {
		/* If it is done in the spine only, the member's is brought in
		   again, and the spine's pruned: as it was. */
		return rename_everywhere(r, num_online, &consistent);
	}
	intent.from = r->from_path;
	intent.to = r->to_path;
	intent.members = r->members;
	intent.num_members = r->num_members;
	if (mrmr_intent_begin_as_root(pool, &intent) == -1) {
		return -1;
	}
	ret = rename_everywhere(r, num_online, &consistent);
	if (ret == 0) {
		sync_everywhere(r, num_online);
	}
	close_intent(r, &intent, num_online, ret == 0, consistent);
	return ret;
}

int renaming_directory(struct renaming *r)
{
	size_t len;
	int ret;

	if (renaming_paths(r) == -1) {
		return -1;
	}
	len = strlen(r->from_path);
	if (strncmp(r->to_path, r->from_path, len) == 0 &&
	    r->to_path[len] == '/') {
		errno = EINVAL; /* into itself */
		return -1;
	}
	if (check_target_free(r) == -1 || mrmr_tree_lock(r->pool, true) == -1) {
		return -1;
	}
	ret = rename_directory_locked(r);
	mrmr_tree_unlock(r->pool);
	return ret;
}
