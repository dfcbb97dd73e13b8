/*
 * MRMR: renaming in the pool.
 *
 * A file is renamed on the member that has it: one rename(2), atomic as it is.
 * Only if other members have a copy of the source or of the target is there
 * more to do, and an intent says so first.
 *
 * A directory is renamed on the spine and on each member that has it. The
 * spine's rename is the moment at which it has happened: an intent found later
 * is carried forward if the spine has the new name, back if it has the old.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <mrmr/fault.h>
#include <mrmr/intent.h>
#include <mrmr/log.h>
#include <mrmr/names.h>

struct renaming {
	struct mrmr_pool *pool;
	struct mrmr_dir *from_dir;
	const char *from;
	struct mrmr_dir *to_dir;
	const char *to;
	char from_path[MRMR_PATH_MAX];
	char to_path[MRMR_PATH_MAX];
	size_t members[MRMR_MEMBERS_MAX]; /* for the intent */
	size_t num_members;
};

static int full_path(struct mrmr_dir *dir, const char *name,
		     char path[MRMR_PATH_MAX])
{
	size_t len;

	if (mrmr_dir_path(dir, path) == -1) {
		return -1;
	}
	len = strlen(path);
	if (len + strlen(name) + 2 > MRMR_PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	sprintf(path + len, "%s%s", len > 0 ? "/" : "", name);
	return 0;
}

static int paths(struct renaming *r)
{
	if (full_path(r->from_dir, r->from, r->from_path) == -1) {
		return -1;
	}
	return full_path(r->to_dir, r->to, r->to_path);
}

/* Is name there on a member, and is it a directory? */
static bool is_on(struct mrmr_dir *dir, const char *name, size_t member,
		  bool *directory)
{
	int fd = mrmr_dir_on_member(dir, member);
	struct stat st;

	if (fd == -1 || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
		return false;
	}
	*directory = S_ISDIR(st.st_mode);
	return true;
}

static bool file_is_on(struct mrmr_dir *dir, const char *name, size_t member)
{
	bool directory;

	return is_on(dir, name, member, &directory) && !directory;
}

static int rename_on(struct renaming *r, size_t member, bool back)
{
	struct mrmr_dir *from_dir = back ? r->to_dir : r->from_dir;
	struct mrmr_dir *to_dir = back ? r->from_dir : r->to_dir;
	int from_fd = mrmr_dir_on_member(from_dir, member);
	int to_fd = mrmr_dir_clone_to(to_dir, member);

	if (from_fd == -1 || to_fd == -1) {
		return -1;
	}
	return renameat(from_fd, back ? r->to : r->from, to_fd,
			back ? r->from : r->to);
}

/* The target's copies on other members: the one that was shown is replaced, as
   the client wants; others go to the trash. */
static int replace_others(struct renaming *r, size_t keep, size_t shown)
{
	size_t i;

	for (i = 0; i < r->num_members; i++) {
		size_t member = r->members[i];
		int fd = mrmr_dir_on_member(r->to_dir, member);
		int ret;

		if (member == keep || !file_is_on(r->to_dir, r->to, member)) {
			continue;
		}
		if (mrmr_fault("rename-replace") != 0) {
			return -1;
		}
		if (member == shown) {
			ret = unlinkat(fd, r->to, 0);
		} else {
			r->pool->identity.become_root();
			ret = mrmr_trash(r->pool, member, fd, r->to,
					 r->to_path);
			r->pool->identity.unbecome_root();
		}
		if (ret == -1) {
			return -1;
		}
	}
	return 0;
}

/* Copies of the source that lost stay copies, under the new name. */
static void rename_losers(struct renaming *r, size_t keep)
{
	size_t i;

	for (i = 0; i < r->num_members; i++) {
		size_t member = r->members[i];

		if (member == keep ||
		    !file_is_on(r->from_dir, r->from, member)) {
			continue;
		}
		r->pool->identity.become_root();
		if (rename_on(r, member, false) == -1) {
			mrmr_log(MRMR_LOG_WARNING, "member %s: its other copy "
				 "of '%s' could not be renamed to '%s' and is "
				 "what the share shows now: %s",
				 mrmr_member_name(&r->pool->members[member]),
				 r->from_path, r->to_path, strerror(errno));
		}
		r->pool->identity.unbecome_root();
	}
}

static int rename_file_with_intent(struct renaming *r, size_t keep,
				   size_t shown)
{
	struct mrmr_pool *pool = r->pool;
	bool replaced_here = file_is_on(r->to_dir, r->to, keep);
	struct mrmr_intent intent = {
		.kind = MRMR_INTENT_REPLACE,
		.from = r->from_path,
		.to = r->to_path,
		.keep = keep,
		.members = r->members,
		.num_members = r->num_members,
	};
	int saved_errno;
	int ret;

	if (paths(r) == -1 || mrmr_tree_lock(pool, false) == -1) {
		return -1;
	}
	pool->identity.become_root();
	ret = mrmr_intent_begin(pool, &intent);
	pool->identity.unbecome_root();
	if (ret == -1) {
		goto out;
	}

	ret = mrmr_fault("rename-file") == 0 ? rename_on(r, keep, false) : -1;
	if (ret == 0) {
		ret = replace_others(r, keep, shown);
		if (ret == -1 && !replaced_here) {
			saved_errno = errno;
			rename_on(r, keep, true);
			errno = saved_errno;
		} else if (ret == -1) {
			/* What the source replaced on its own member is gone
			   already, so the rename stands; the other copy is
			   a copy that lost, or won: status tells. */
			mrmr_log(MRMR_LOG_WARNING, "'%s' was replaced, but "
				 "another member's copy of it stays: %s",
				 r->to_path, strerror(errno));
			ret = 0;
		}
	}
	if (ret == 0) {
		rename_losers(r, keep);
	}

	saved_errno = errno;
	pool->identity.become_root();
	mrmr_intent_end(pool, &intent);
	pool->identity.unbecome_root();
	errno = saved_errno;
out:
	mrmr_tree_unlock(pool);
	return ret;
}

static int rename_file(struct renaming *r, size_t keep)
{
	struct stat st;
	size_t shown;
	size_t i;

	if (mrmr_name_find(r->to_dir, r->to, &shown, &st) == -1) {
		if (errno != ENOENT) {
			return -1;
		}
		shown = SIZE_MAX;
	} else if (S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		return -1;
	}

	for (i = 0; i < r->pool->num_members; i++) {
		if (i != keep && (file_is_on(r->from_dir, r->from, i) ||
				  file_is_on(r->to_dir, r->to, i))) {
			r->members[r->num_members++] = i;
		}
	}
	if (r->num_members > 0) {
		return rename_file_with_intent(r, keep, shown);
	}
	if (mrmr_fault("rename-file") != 0) {
		return -1;
	}
	return rename_on(r, keep, false);
}

static void undo_directory(struct renaming *r, size_t num_done)
{
	int saved_errno = errno;

	while (num_done-- > 0) {
		size_t member = r->members[num_done];

		if (rename_on(r, member, true) == -1) {
			mrmr_log(MRMR_LOG_ERROR, "member %s: directory '%s' "
				 "could not be renamed back to '%s': %s; its "
				 "files show under the new name",
				 mrmr_member_name(&r->pool->members[member]),
				 r->to_path, r->from_path, strerror(errno));
		}
	}
	if (renameat(r->to_dir->spine_fd, r->to, r->from_dir->spine_fd,
		     r->from) == -1) {
		mrmr_log(MRMR_LOG_ERROR, "directory '%s' could not be renamed "
			 "back to '%s' in the spine: %s", r->to_path,
			 r->from_path, strerror(errno));
	}
	errno = saved_errno;
}

/* Spine first (as the user: its rights decide), then the members. */
static int rename_everywhere(struct renaming *r, size_t num_online)
{
	size_t i;

	for (i = 0; i < num_online; i++) {
		if (mrmr_dir_clone_to(r->to_dir, r->members[i]) == -1) {
			return -1;
		}
	}
	if (renameat(r->from_dir->spine_fd, r->from, r->to_dir->spine_fd,
		     r->to) == -1) {
		return -1;
	}
	r->pool->identity.become_root();
	for (i = 0; i < num_online; i++) {
		if (mrmr_fault("rename-directory") != 0 ||
		    rename_on(r, r->members[i], false) == -1) {
			mrmr_pool_suspect(r->pool,
					  &r->pool->members[r->members[i]],
					  errno);
			undo_directory(r, i);
			r->pool->identity.unbecome_root();
			return -1;
		}
	}
	r->pool->identity.unbecome_root();
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

static int rename_directory(struct renaming *r)
{
	struct mrmr_pool *pool = r->pool;
	struct mrmr_intent intent = { .kind = MRMR_INTENT_RENAME_DIR };
	bool with_intent;
	size_t num_online;
	int saved_errno;
	int ret = -1;
	size_t i;

	if (paths(r) == -1) {
		return -1;
	}
	if (strncmp(r->to_path, r->from_path, strlen(r->from_path)) == 0 &&
	    r->to_path[strlen(r->from_path)] == '/') {
		errno = EINVAL; /* into itself */
		return -1;
	}
	if (check_target_free(r) == -1 || mrmr_tree_lock(pool, true) == -1) {
		return -1;
	}
	/* Again, with nobody else about to rename a parent. */
	if (paths(r) == -1) {
		goto out;
	}
	mrmr_dir_forget(r->from_dir, SIZE_MAX);
	for (i = 0; i < pool->num_members; i++) {
		bool directory;

		if (is_on(r->from_dir, r->from, i, &directory) && directory) {
			r->members[r->num_members++] = i;
		}
	}
	num_online = r->num_members;
	for (i = 0; i < pool->num_members; i++) {
		if (pool->members[i].state != MRMR_MEMBER_ONLINE) {
			r->members[r->num_members++] = i;
		}
	}

	with_intent = r->num_members > 1 || r->num_members > num_online;
	if (with_intent) {
		intent.from = r->from_path;
		intent.to = r->to_path;
		intent.members = r->members;
		intent.num_members = r->num_members;
		pool->identity.become_root();
		ret = mrmr_intent_begin(pool, &intent);
		pool->identity.unbecome_root();
		if (ret == -1) {
			goto out;
		}
	}

	ret = rename_everywhere(r, num_online);

	saved_errno = errno;
	if (with_intent) {
		pool->identity.become_root();
		if (ret == 0 && num_online < r->num_members &&
		    mrmr_intent_keep_for(pool, &intent,
					 r->members + num_online,
					 r->num_members - num_online) == -1) {
			mrmr_log(MRMR_LOG_ERROR, "'%s' was renamed to '%s', "
				 "but that cannot be noted for the members "
				 "that are away (%s): their files in it will "
				 "show under the old name", r->from_path,
				 r->to_path, strerror(errno));
		} else if (ret == -1 || num_online == r->num_members) {
			mrmr_intent_end(pool, &intent);
		}
		pool->identity.unbecome_root();
	}
	errno = saved_errno;
out:
	mrmr_tree_unlock(pool);
	return ret;
}

int mrmr_name_rename(struct mrmr_dir *from_dir, const char *from,
		     struct mrmr_dir *to_dir, const char *to)
{
	struct renaming r = {
		.pool = from_dir->pool,
		.from_dir = from_dir,
		.from = from,
		.to_dir = to_dir,
		.to = to,
	};
	struct stat st;
	size_t member;
	int ret;

	if (mrmr_name_is_private(to_dir, to)) {
		errno = EACCES;
		return -1;
	}
	if (mrmr_dir_lock_two(from_dir, to_dir) == -1) {
		return -1;
	}
	mrmr_dir_hint(from_dir, "", SIZE_MAX);
	mrmr_dir_hint(to_dir, "", SIZE_MAX);
	ret = mrmr_name_find(from_dir, from, &member, &st);
	if (ret == 0 && !(from_dir == to_dir && strcmp(from, to) == 0)) {
		ret = (member == MRMR_IN_SPINE) ? rename_directory(&r) :
						  rename_file(&r, member);
		if (ret == 0 && member != MRMR_IN_SPINE) {
			mrmr_dir_hint(to_dir, to, member);
		}
	}
	mrmr_dir_unlock_two(from_dir, to_dir);
	return ret;
}
