/*
 * MRMR: moving a file to another member while it is open.
 *
 * The copy is made without a lock, as it may take long: only the caller writes
 * to the file. Then, with the directory locked, the file's name is looked up
 * again (it may have been renamed meanwhile), the copy renamed into place and
 * the old file removed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/fd_path.h>
#include <mrmr/file.h>
#include <mrmr/intent.h>
#include <mrmr/log.h>
#include <mrmr/move.h>
#include <mrmr/names.h>
#include <mrmr/protection.h>
#include <mrmr/staging.h>
#include <mrmr/trash.h>

#include "move_private.h"
#include "names_private.h"

/* --- where to ---------------------------------------------------------------- */

static int make_target(struct mrmr_move *m)
{
	const struct mrmr_member *member = &m->pool->members[m->to];

	m->staging_fd = mrmr_folder_open(member->private_fd, MRMR_REBUILD);
	if (m->staging_fd == -1) {
		return -1;
	}
	mrmr_staging_name(m->staged, sizeof(m->staged));
	m->new_fd = openat(m->staging_fd, m->staged,
			   O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			   0600);
	return m->new_fd == -1 ? -1 : 0;
}

static void drop_copy(struct mrmr_move *m)
{
	int saved_errno = errno;

	if (m->new_fd != -1) {
		close(m->new_fd);
		m->new_fd = -1;
		unlinkat(m->staging_fd, m->staged, 0);
	}
	if (m->staging_fd != -1) {
		close(m->staging_fd);
		m->staging_fd = -1;
	}
	errno = saved_errno;
}

static bool may_take_it(const struct mrmr_move *m, size_t index,
			uint64_t need_bytes)
{
	const struct mrmr_member *member = &m->pool->members[index];

	return index != m->from &&
	       (m->is_ghost || member->dev != m->pool->members[m->from].dev) &&
	       mrmr_member_room(member) >= need_bytes &&
	       member->avoided_until_ns <= mrmr_now_ns();
}

/* The best other member with room for all of it. */
static int choose_target(struct mrmr_move *m, uint64_t need_bytes)
{
	size_t order[MRMR_MEMBERS_MAX];
	int error = ENOSPC;
	size_t n, i;

	m->need_bytes = need_bytes;
	mrmr_pool_look_at_space(m->pool);
	n = mrmr_name_place(m->dir, m->name, need_bytes, order);
	for (i = 0; i < n; i++) {
		const struct mrmr_member *member = &m->pool->members[order[i]];

		if (!may_take_it(m, order[i], need_bytes)) {
			continue;
		}
		m->to = order[i];
		if (make_target(m) == 0) {
			return 0;
		}
		error = errno;
		mrmr_pool_suspect(m->pool, member, error);
		drop_copy(m);
	}
	errno = error;
	return -1;
}

/* --- taking effect ----------------------------------------------------------- */

/* Is the old file still what has the name, and the only one? */
static int check_names(struct mrmr_move *m)
{
	struct stat st;
	size_t i;

	for (i = 0; i < m->pool->num_members; i++) {
		int fd = mrmr_dir_on_member(m->dir, i);
		bool there;

		if (fd == -1 && !mrmr_dir_is_lacking(errno)) {
			return -1;
		}
		there = fd != -1 &&
			fstatat(fd, m->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
		if (fd != -1 && !there && errno != ENOENT) {
			return -1;
		}
		if (i != m->from && there) {
			/* A copy that lost: on another member than before, the
			   file might lose to it. */
			errno = EEXIST;
			return -1;
		}
		if (i == m->from && (!there || st.st_ino != m->st.st_ino)) {
			errno = ENOENT; /* another file has the name now */
			return -1;
		}
		if (i == m->from && st.st_nlink > 1) {
			errno = EMLINK; /* since the move began */
			return -1;
		}
	}
	return 0;
}

/* The old file loses its name. It stays in the trash if it holds protected
   bytes: the copy has them as well, but not for the stripe it is in. */
static int drop_old(struct mrmr_move *m, int from_fd)
{
	if (m->is_ghost) {
		return names_remove_absent(m->dir, m->name, m->from, true);
	}
	if (mrmr_is_guarded(m->pool, m->from, &m->st)) {
		return mrmr_trash_file(m->pool, m->from, from_fd, m->name,
				       m->path);
	}
	return unlinkat(from_fd, m->name, 0);
}

/* Of a ghost: also which file it was, as what was protected of that is all that
   there is until the new one is. */
static void tell_moved(struct mrmr_move *m)
{
	struct mrmr_ghost ghost;
	char was[17] = "";
	struct stat st;

	if (m->pool->queue == NULL || fstat(m->new_fd, &st) == -1) {
		return;
	}
	if (m->is_ghost && mrmr_ghost_read(m->from_fd, &ghost) == 0) {
		snprintf(was, sizeof(was), "%" PRIx64, ghost.node);
	}
	mrmr_tell(m->pool, MRMR_EVENT_MOVED, m->to, st.st_ino, m->path,
		  was[0] != '\0' ? was : NULL);
}

/*
 * The copy takes the name, the old file loses it. On stable storage in that
 * order: a power cut may keep the one member's change and lose the other's.
 */
static int take_name(struct mrmr_move *m, int from_fd, int to_fd)
{
	int saved_errno;

	if (mrmr_fault("move-rename") != 0 ||
	    renameat(m->staging_fd, m->staged, to_fd, m->name) == -1) {
		return -1;
	}
	mrmr_dir_count_swap(m->dir);
	if (m->is_ghost) {
		/* If we are killed once the ghost has gone, the member that it
		   is on now may leave before a scan has seen it there. */
		tell_moved(m);
	}
	if (mrmr_fault("move-unlink") == 0 && mrmr_sync(to_fd) == 0 &&
	    drop_old(m, from_fd) == 0) {
		/* The record of this goes next, and must not go first. */
		mrmr_sync(from_fd);
		return 0;
	}

	/* Two copies, and the old one is what the caller goes on with. */
	saved_errno = errno;
	mrmr_dir_count_swap(m->dir);
	if (renameat(to_fd, m->name, m->staging_fd, m->staged) == -1 &&
	    unlinkat(to_fd, m->name, 0) == -1) {
		mrmr_log(MRMR_LOG_ERROR,
			 "member %s: a copy of '%s' cannot be "
			 "removed: %s",
			 mrmr_member_name(&m->pool->members[m->to]), m->path,
			 strerror(errno));
	}
	errno = saved_errno;
	return -1;
}

/* With its place locked. */
static int swap_names(struct mrmr_move *m)
{
	struct mrmr_intent intent = {
		.kind = MRMR_INTENT_MOVE,
		.from = m->path,
		.to = m->path,
		.keep = m->to,
		.members = &m->from,
		.num_members = 1,
	};
	int to_fd = mrmr_dir_clone_to(m->dir, m->to);
	int from_fd = mrmr_dir_on_member(m->dir, m->from);
	int ret;

	if (from_fd == -1 || to_fd == -1 || check_names(m) == -1 ||
	    mrmr_intent_begin(m->pool, &intent) == -1) {
		return -1;
	}
	ret = take_name(m, from_fd, to_fd);
	if (ret == 0) {
		mrmr_dir_hint(m->dir, m->name, m->to);
	}
	mrmr_intent_end(m->pool, &intent);
	return ret;
}

/* --- a move -------------------------------------------------------------------- */

static int move_destructor(struct mrmr_move *m)
{
	drop_copy(m);
	if (m->from_fd != -1) {
		close(m->from_fd);
	}
	if (m->dir_fd != -1) {
		close(m->dir_fd);
	}
	return 0;
}

static struct mrmr_move *move_new(void *mem_ctx, struct mrmr_pool *pool)
{
	struct mrmr_move *m = talloc_zero(mem_ctx, struct mrmr_move);

	if (m == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	m->pool = pool;
	m->from_fd = -1;
	m->staging_fd = -1;
	m->new_fd = -1;
	m->dir_fd = -1;
	talloc_set_destructor(m, move_destructor);
	return m;
}

static int begin_ghost(struct mrmr_move *m, struct mrmr_dir *dir, int fd)
{
	char proc_path[MRMR_FD_LINK_LEN];
	struct stat st;

	m->from_fd = open(mrmr_fd_link(fd, proc_path), O_RDONLY | O_CLOEXEC);
	m->dir_fd = fcntl(dir->spine_fd, F_DUPFD_CLOEXEC, 0);
	if (m->from_fd == -1 || m->dir_fd == -1 ||
	    fstat(m->from_fd, &m->st) == -1 ||
	    mrmr_name_find(dir, m->ghost_name, &m->from, &st) == -1) {
		return -1;
	}
	if (m->from == MRMR_IN_SPINE || !mrmr_is_absent(m->pool, m->from) ||
	    st.st_ino != m->st.st_ino) {
		errno = ENOENT; /* another file has the name now */
		return -1;
	}
	if (move_place_find(m, fd) == -1) {
		return -1;
	}
	return choose_target(m, (uint64_t)m->st.st_size);
}

struct mrmr_move *mrmr_move_begin_ghost(void *mem_ctx, struct mrmr_dir *dir,
					const char *name, int fd,
					const struct mrmr_move_source *source)
{
	struct mrmr_move *m = move_new(mem_ctx, dir->pool);
	int saved_errno;

	if (m == NULL) {
		return NULL;
	}
	m->is_ghost = true;
	m->source = *source;
	snprintf(m->ghost_name, sizeof(m->ghost_name), "%s", name);
	if (begin_ghost(m, dir, fd) == -1) {
		saved_errno = errno;
		talloc_free(m);
		errno = saved_errno;
		return NULL;
	}
	return m;
}

struct mrmr_move *mrmr_move_begin(void *mem_ctx, struct mrmr_pool *pool, int fd,
				  uint64_t size_bytes)
{
	struct mrmr_move *m = move_new(mem_ctx, pool);
	char proc_path[MRMR_FD_LINK_LEN];
	int saved_errno;

	if (m == NULL) {
		return NULL;
	}
	if (fstat(fd, &m->st) == -1) {
		goto fail;
	}
	if (!S_ISREG(m->st.st_mode)) {
		errno = EINVAL;
		goto fail;
	}
	if (m->st.st_nlink > 1) {
		errno = EMLINK;
		goto fail;
	}
	if (move_place_find(m, fd) == -1) {
		goto fail;
	}
	/* fd may be open for writing only. */
	m->from_fd = open(mrmr_fd_link(fd, proc_path), O_RDONLY | O_CLOEXEC);
	if (m->from_fd == -1 || choose_target(m, size_bytes) == -1) {
		goto fail;
	}
	return m;

fail:
	saved_errno = errno;
	talloc_free(m);
	errno = saved_errno;
	return NULL;
}

int mrmr_move_new_fd(const struct mrmr_move *m)
{
	return m->new_fd;
}

int mrmr_move_finish(struct mrmr_move *m, int *new_fd, size_t *member)
{
	struct stat st;
	int ret;

	/* Nobody can have written: the file was the caller's alone. If somebody
	   has, the old file stays. */
	if (fstat(m->from_fd, &st) == -1) {
		return -1;
	}
	if (st.st_size != m->st.st_size ||
	    st.st_mtim.tv_sec != m->st.st_mtim.tv_sec ||
	    st.st_mtim.tv_nsec != m->st.st_mtim.tv_nsec) {
		errno = EBUSY;
		return -1;
	}
	if (mrmr_attributes_copy(m->from_fd, m->new_fd) == -1 ||
	    mrmr_times_set(m->new_fd, &m->st) == -1 ||
	    move_place_lock(m) == -1) {
		return -1;
	}
	ret = swap_names(m);
	move_place_unlock(m);
	if (ret == -1) {
		return -1;
	}
	tell_moved(m);
	mrmr_log(MRMR_LOG_INFO,
		 m->is_ghost ? "'%s' of member %s, which is away, is to be "
			       "changed, and lies on %s now"
			     : "'%s' moved from member %s to %s, where there "
			       "is room for it",
		 m->path, mrmr_member_name(&m->pool->members[m->from]),
		 mrmr_member_name(&m->pool->members[m->to]));
	*new_fd = m->new_fd;
	*member = m->to;
	m->new_fd = -1; /* the caller's now, and so is the name */
	return 0;
}

int mrmr_move_file(struct mrmr_pool *pool, int fd, uint64_t size_bytes,
		   int *new_fd, size_t *member)
{
	struct mrmr_move *m = mrmr_move_begin(NULL, pool, fd, size_bytes);
	int saved_errno;
	int ret;

	if (m == NULL) {
		return -1;
	}
	ret = mrmr_move_copy(m);
	if (ret == 0) {
		ret = mrmr_move_finish(m, new_fd, member);
	}
	saved_errno = errno;
	talloc_free(m);
	errno = saved_errno;
	return ret;
}
