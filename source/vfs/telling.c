/*
 * MRMR: the Samba module: telling the protector.
 *
 * The core tells what happens to names. Here is what happens to files through
 * their descriptors. That a file changes is told before it does, so that it is
 * known even if this process is killed right after; and once more when it is
 * closed, which is when the protector can do something about it. A file that is
 * made, written and closed within a second costs one event in all.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "guarding.h"
#include "protecting.h"
#include "telling.h"

#include <mrmr/dir.h>
#include <mrmr/marker.h>
#include <mrmr/move.h>
#include <mrmr/protection.h>
#include <mrmr/queue.h>

#define SECOND_NS INT64_C(1000000000)

/* A file that is written to all the time is told of so often, once what was
   told has been heard. */
#define AGAIN_NS (30 * SECOND_NS)

/* The pool, if there is something to tell, and its members are looked at. */
static struct mrmr_pool *listening_pool(struct vfs_handle_struct *handle)
{
	struct mrmr_share *share = mrmr_share_of(handle);

	if (share == NULL || share->pool->queue == NULL) {
		return NULL;
	}
	return mrmr_pool_of(handle);
}

/* Where the file is. False: nowhere in the share, so there is nothing to
   tell. */
static bool locate(struct mrmr_pool *pool, int fd, size_t *member,
		   uint64_t *inode, char path[MRMR_PATH_MAX])
{
	struct stat st;

	if (fstat(fd, &st) == -1) {
		return false;
	}
	*inode = st.st_ino;
	if (mrmr_file_locate_seen(pool, fd, &st, member, path) == 0) {
		/* What is in the trash has been told of when it went there. */
		return strncmp(path, MRMR_DIR "/", strlen(MRMR_DIR "/")) != 0;
	}
	if (errno != ENOENT && S_ISREG(st.st_mode)) {
		mrmr_tell(pool, MRMR_EVENT_SCAN, MRMR_NO_MEMBER, 0, "", NULL);
	}
	return false;
}

/* Need it not be told again? */
static bool is_fresh(const struct mrmr_pool *pool, uint64_t mark, int64_t ns)
{
	return mark == mrmr_queue_mark(pool->queue) &&
	       mrmr_now_ns() - ns < SECOND_NS;
}

static void tell_changed(struct mrmr_pool *pool, int fd,
			 struct mrmr_writer *writer)
{
	char path[MRMR_PATH_MAX];
	uint64_t inode;
	size_t member;

	/* Also if it cannot be located: once is enough. */
	writer->is_told = true;
	writer->told_ns = mrmr_now_ns();
	writer->told_mark = mrmr_queue_mark(pool->queue);
	if (locate(pool, fd, &member, &inode, path)) {
		mrmr_tell(pool, MRMR_EVENT_CHANGED, member, inode, path, NULL);
	}
}

void mrmr_tell_changing(struct vfs_handle_struct *handle, int fd)
{
	struct mrmr_share *share = mrmr_share_of(handle);
	struct mrmr_writer *writer = mrmr_writer_of(fd);
	struct mrmr_pool *pool = NULL;
	int saved_errno = errno;

	if (writer == NULL || share->pool->queue == NULL) {
		return;
	}
	if (writer->is_told &&
	    (writer->told_mark == mrmr_queue_mark(share->pool->queue) ||
	     mrmr_now_ns() - writer->told_ns < AGAIN_NS)) {
		return;
	}
	pool = listening_pool(handle);
	if (pool != NULL) {
		tell_changed(pool, fd, writer);
	}
	errno = saved_errno;
}

void mrmr_tell_attributes(struct vfs_handle_struct *handle,
			  const struct files_struct *fsp)
{
	struct mrmr_pool *pool = listening_pool(handle);
	int fd = fsp_get_pathref_fd(fsp);
	const struct mrmr_writer *writer = mrmr_writer_of(fd);
	char path[MRMR_PATH_MAX];
	int saved_errno = errno;
	uint64_t inode;
	size_t member;

	if (pool == NULL ||
	    (writer != NULL && writer->is_told &&
	     is_fresh(pool, writer->told_mark, writer->told_ns))) {
		return;
	}
	if (locate(pool, fd, &member, &inode, path)) {
		mrmr_tell(pool, MRMR_EVENT_ATTRIBUTES, member, inode, path,
			  NULL);
	}
	errno = saved_errno;
}

void mrmr_tell_dir_attributes(struct mrmr_dir *dir)
{
	char path[MRMR_PATH_MAX];
	int saved_errno = errno;

	if (dir->pool->queue == NULL) {
		return;
	}
	if (mrmr_dir_path(dir, path) == 0) {
		const char *slash = strrchr(path, '/');

		if (mrmr_name_is_unfinished(slash != NULL ? slash + 1 : path)) {
			errno = saved_errno;
			return;
		}
		mrmr_tell(dir->pool, MRMR_EVENT_ATTRIBUTES, MRMR_NO_MEMBER, 0,
			  path, NULL);
	} else {
		mrmr_tell(dir->pool, MRMR_EVENT_SCAN, MRMR_NO_MEMBER, 0, "",
			  NULL);
	}
	errno = saved_errno;
}

void mrmr_tell_lost(struct vfs_handle_struct *handle, int fd)
{
	struct mrmr_pool *pool = listening_pool(handle);
	char path[MRMR_PATH_MAX];
	int saved_errno = errno;
	struct stat st;
	size_t member;

	if (pool == NULL || fstat(fd, &st) == -1) {
		return;
	}
	if (mrmr_file_locate_seen(pool, fd, &st, &member, path) == 0) {
		mrmr_tell(pool, MRMR_EVENT_LOST, member, st.st_ino, path, NULL);
	} else {
		mrmr_tell(pool, MRMR_EVENT_SCAN, MRMR_NO_MEMBER, 0, "", NULL);
	}
	errno = saved_errno;
}

/* --- closing --------------------------------------------------------------- */

void mrmr_tell_before_close(struct vfs_handle_struct *handle, int fd,
			    struct mrmr_closing *closing)
{
	const struct mrmr_writer *writer = mrmr_writer_of(fd);
	struct mrmr_pool *pool = NULL;

	closing->is_changed = false;
	if (writer == NULL || !writer->is_told) {
		return;
	}
	closing->told_mark = writer->told_mark;
	closing->told_ns = writer->told_ns;
	pool = listening_pool(handle);
	closing->is_changed =
		pool != NULL && locate(pool, fd, &closing->member,
				       &closing->inode, closing->path);
}

void mrmr_tell_closed(struct vfs_handle_struct *handle,
		      const struct mrmr_closing *closing)
{
	struct mrmr_share *share = mrmr_share_of(handle);

	if (!closing->is_changed || share->pool->queue == NULL) {
		return;
	}
	if (!is_fresh(share->pool, closing->told_mark, closing->told_ns)) {
		mrmr_tell(share->pool, MRMR_EVENT_CHANGED, closing->member,
			  closing->inode, closing->path, NULL);
	}
	mrmr_protecting_closed(share, closing->member, closing->inode,
			       closing->path);
}
