/*
 * MRMR: the Samba module: writes.
 *
 * A write is Samba's own, once what is protected of its range has been kept
 * (guarding.c); what is done when there is no room is in room.c. A file of which
 * the client says how large it will be moves before anything is written.
 *
 * The protector is told before anything is kept: who is killed after that leaves
 * a pre-image of what he has not overwritten, and that goes when the file is
 * looked at.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "guarding.h"
#include "listed.h"
#include "moving.h"
#include "room.h"
#include "telling.h"
#include "write.h"

#include <mrmr/move.h>

#include "lib/util/tevent_unix.h"

/* --- writes, as SMB2 has them ---------------------------------------------- */

struct write_state {
	struct mrmr_job job;
	struct tevent_req *req;
	const void *data;
	size_t n;
	off_t offset;
	ssize_t ret;
	struct vfs_aio_state aio_state;
};

static void write_start(struct mrmr_job *job);
static void write_kept(struct tevent_req *subreq);
static void write_pass_on(struct write_state *state);
static void write_done(struct tevent_req *subreq);
static void write_finish(struct mrmr_job *job);

static struct write_state *write_of(struct mrmr_job *job)
{
	return (struct write_state *)((char *)job -
				      offsetof(struct write_state, job));
}

static int write_destructor(struct write_state *state)
{
	mrmr_job_leave(&state->job);
	return 0;
}

struct tevent_req *mrmr_pwrite_send(struct vfs_handle_struct *handle,
				    TALLOC_CTX *mem_ctx,
				    struct tevent_context *ev,
				    struct files_struct *fsp, const void *data,
				    size_t n, off_t offset)
{
	struct write_state *state = NULL;
	struct tevent_req *req = NULL;

	req = tevent_req_create(mem_ctx, &state, struct write_state);
	if (req == NULL) {
		return NULL;
	}
	*state = (struct write_state){
		.job =
			{
				.ev = ev,
				.handle = handle,
				.fsp = fsp,
				.end = (uint64_t)offset + n,
				.start = write_start,
				.finish = write_finish,
			},
		.req = req,
		.data = data,
		.n = n,
		.offset = offset,
	};
	talloc_set_destructor(state, write_destructor);
	if (!mrmr_job_begin(&state->job)) {
		tevent_req_oom(req);
	}
	if (!tevent_req_is_in_progress(req)) {
		return tevent_req_post(req, ev);
	}
	return req;
}

static void write_start(struct mrmr_job *job)
{
	struct write_state *state = write_of(job);
	struct tevent_req *subreq = NULL;

	mrmr_tell_changing(job->handle, fsp_get_pathref_fd(job->fsp));
	if (!mrmr_must_keep(job->fsp, state->offset, state->n)) {
		write_pass_on(state);
		return;
	}
	subreq = mrmr_keep_send(state, job->ev, job->handle, job->fsp,
				state->offset, state->n);
	if (tevent_req_nomem(subreq, state->req)) {
		return;
	}
	tevent_req_set_callback(subreq, write_kept, state->req);
}

static void write_kept(struct tevent_req *subreq)
{
	struct tevent_req *req =
		tevent_req_callback_data(subreq, struct tevent_req);
	struct write_state *state = tevent_req_data(req, struct write_state);
	int error = 0;
	int ret;

	ret = mrmr_keep_recv(subreq, &error);
	TALLOC_FREE(subreq);
	if (ret == 0) {
		write_pass_on(state);
		return;
	}
	state->ret = -1;
	state->aio_state.error = error;
	mrmr_job_tried(&state->job, mrmr_is_full(error));
}

static void write_pass_on(struct write_state *state)
{
	struct mrmr_job *job = &state->job;
	struct tevent_req *subreq = NULL;

	subreq = SMB_VFS_NEXT_PWRITE_SEND(state, job->ev, job->handle, job->fsp,
					  state->data, state->n, state->offset);
	if (tevent_req_nomem(subreq, state->req)) {
		return;
	}
	tevent_req_set_callback(subreq, write_done, state->req);
}

static void write_done(struct tevent_req *subreq)
{
	struct tevent_req *req =
		tevent_req_callback_data(subreq, struct tevent_req);
	struct write_state *state = tevent_req_data(req, struct write_state);
	bool full;

	state->ret = SMB_VFS_PWRITE_RECV(subreq, &state->aio_state);
	TALLOC_FREE(subreq);

	/* A file system may take what it has room for, before it says full. */
	full = (state->ret == -1) ? mrmr_is_full(state->aio_state.error)
				  : state->ret < (ssize_t)state->n;
	mrmr_job_tried(&state->job, full);
}

static void write_finish(struct mrmr_job *job)
{
	struct write_state *state = write_of(job);

	if (state->ret == -1) {
		tevent_req_error(state->req, state->aio_state.error);
		return;
	}
	tevent_req_done(state->req);
}

ssize_t mrmr_pwrite_recv(struct tevent_req *req,
			 struct vfs_aio_state *aio_state)
{
	struct write_state *state = tevent_req_data(req, struct write_state);
	ssize_t ret = state->ret;

	if (tevent_req_is_unix_error(req, &aio_state->error)) {
		tevent_req_received(req);
		return -1;
	}
	*aio_state = state->aio_state;
	tevent_req_received(req);
	return ret;
}

/* --- operations that end here and now -------------------------------------- */

/* Beyond this, what was written so far is not copied in smbd's loop: a write
   that finds its member full moves it in a thread. */
#define SMALL_BYTES (4 * 1024 * 1024)

/* What file systems keep for themselves, more or less. */
#define FULL_BYTES (1024 * 1024)

static ssize_t keep_and_write(struct vfs_handle_struct *handle,
			      files_struct *fsp, const void *data, size_t n,
			      off_t offset)
{
	mrmr_tell_changing(handle, fsp_get_pathref_fd(fsp));
	if (mrmr_keep_now(fsp, offset, n) == -1) {
		return -1;
	}
	return SMB_VFS_NEXT_PWRITE(handle, fsp, data, n, offset);
}

ssize_t mrmr_pwrite(struct vfs_handle_struct *handle, files_struct *fsp,
		    const void *data, size_t n, off_t offset)
{
	uint64_t end = (uint64_t)offset + n;
	ssize_t ret;

	ret = keep_and_write(handle, fsp, data, n, offset);
	mrmr_spoil_move(fsp);
	if (ret == (ssize_t)n || (ret == -1 && !mrmr_is_full(errno)) ||
	    mrmr_make_room_now(handle, fsp, end) == -1) {
		return ret;
	}
	return keep_and_write(handle, fsp, data, n, offset);
}

/* Would growing to this size fill the file's member over its reserve? */
static bool is_too_large(struct vfs_handle_struct *handle,
			 struct files_struct *fsp, off_t size)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	char path[MRMR_PATH_MAX];
	uint64_t allocated;
	struct stat st;
	size_t member;

	if (pool == NULL || fstat(fsp_get_io_fd(fsp), &st) == -1 ||
	    !S_ISREG(st.st_mode) || size <= st.st_size ||
	    mrmr_file_locate(pool, fsp_get_io_fd(fsp), &member, path) == -1) {
		return false;
	}
	allocated = (uint64_t)st.st_blocks * 512;
	return allocated <= SMALL_BYTES &&
	       (uint64_t)size >
		       allocated + mrmr_member_room(&pool->members[member]);
}

/* Moving is for files that are copied in no time. */
static int keep_cut(struct vfs_handle_struct *handle, struct files_struct *fsp,
		    off_t size)
{
	int fd = fsp_get_pathref_fd(fsp);
	struct stat st;
	int ret;

	mrmr_tell_changing(handle, fd);
	ret = mrmr_keep_cut_now(handle, fd, size);
	if (ret == 0 || !mrmr_is_full(errno) || fstat(fd, &st) == -1) {
		return ret;
	}
	if (mrmr_wait_for_room(handle, fsp, (uint64_t)(st.st_size - size)) ==
		    -1 &&
	    (st.st_blocks * 512 > SMALL_BYTES ||
	     mrmr_move_for(handle, fsp, (uint64_t)st.st_size) == -1)) {
		errno = ENOSPC;
		return -1;
	}
	return mrmr_keep_cut_now(handle, fd, size);
}

int mrmr_ftruncate(struct vfs_handle_struct *handle, struct files_struct *fsp,
		   off_t offset)
{
	/* Growing is how clients say what they are going to write. It takes no
	   room yet, so if nobody has that much, it may still succeed. */
	if (is_too_large(handle, fsp, offset)) {
		int saved_errno = errno;

		mrmr_move_for(handle, fsp, (uint64_t)offset);
		errno = saved_errno;
	}
	mrmr_spoil_move(fsp);
	if (keep_cut(handle, fsp, offset) == -1) {
		return -1;
	}
	/* it may be another file now */
	mrmr_tell_changing(handle, fsp_get_pathref_fd(fsp));
	return SMB_VFS_NEXT_FTRUNCATE(handle, fsp, offset);
}

/* Only with a hole are bytes lost. */
static int keep_and_allocate(struct vfs_handle_struct *handle,
			     struct files_struct *fsp, uint32_t mode,
			     off_t offset, off_t len)
{
	mrmr_tell_changing(handle, fsp_get_pathref_fd(fsp));
	if ((mode & ~VFS_FALLOCATE_FL_KEEP_SIZE) != 0 && len > 0 &&
	    mrmr_keep_now(fsp, offset, (uint64_t)len) == -1) {
		return -1;
	}
	return SMB_VFS_NEXT_FALLOCATE(handle, fsp, mode, offset, len);
}

int mrmr_fallocate(struct vfs_handle_struct *handle, struct files_struct *fsp,
		   uint32_t mode, off_t offset, off_t len)
{
	int ret;

	mrmr_spoil_move(fsp);
	ret = keep_and_allocate(handle, fsp, mode, offset, len);
	if (ret == 0 || !mrmr_is_full(errno)) {
		return ret;
	}
	if (mrmr_make_room_now(handle, fsp, (uint64_t)(offset + len)) == -1) {
		errno = ENOSPC;
		return -1;
	}
	return keep_and_allocate(handle, fsp, mode, offset, len);
}

/*
 * An attribute found no room. File systems say so of one that is too large for
 * them as well, which is the same on the next member.
 */
int mrmr_make_room_for_attribute(struct vfs_handle_struct *handle,
				 struct files_struct *fsp, size_t size_bytes)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	int fd = fsp_get_pathref_fd(fsp);
	char path[MRMR_PATH_MAX];
	struct stat st;
	size_t member;

	if (pool == NULL || fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) ||
	    st.st_blocks * 512 > SMALL_BYTES ||
	    mrmr_file_locate(pool, fd, &member, path) == -1) {
		errno = ENOSPC;
		return -1;
	}
	mrmr_pool_look_at_space(pool);
	if (pool->members[member].free_bytes > FULL_BYTES) {
		errno = ENOSPC;
		return -1;
	}
	return mrmr_move_for(handle, fsp, (uint64_t)st.st_size + size_bytes);
}

int mrmr_close(struct vfs_handle_struct *handle, struct files_struct *fsp)
{
	struct mrmr_share *share = mrmr_share_of(handle);
	int fd = fsp_get_pathref_fd(fsp);
	struct mrmr_closing closing;
	int saved_errno;
	int ret;

	if (share == NULL) {
		return SMB_VFS_NEXT_CLOSE(handle, fsp);
	}
	share->looked.fsp = NULL;
	if (mrmr_listed_close(share, fsp)) {
		return 0;
	}
	mrmr_tell_before_close(handle, fd, &closing);
	ret = SMB_VFS_NEXT_CLOSE(handle, fsp);
	saved_errno = errno;
	mrmr_writer_closed(fd);
	mrmr_tell_closed(handle, &closing);
	mrmr_moves_forget(share->pool, &fsp->file_id);
	errno = saved_errno;
	return ret;
}
