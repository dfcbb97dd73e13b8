/*
 * MRMR: the Samba module: reads, when the bytes are not there.
 *
 * A read is Samba's own. If the file is a ghost, or if its drive does not give
 * the bytes, they are computed from the rest of their stripes (mrmr/serve.h),
 * in a thread: what cannot be computed is an error, never other bytes.
 *
 * Where a read fails on a member that is there, only what was not changed since
 * it was protected can be had that way.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "ghosts.h"
#include "moving.h"

#include <mrmr/fault.h>
#include <mrmr/serve.h>

#include "lib/pthreadpool/pthreadpool_tevent.h"
#include "lib/util/tevent_unix.h"

/* The protector may change stripes while they are read: then prepare again. */
#define TRIES 4

/* What a drive says that fails, or has gone. */
static bool is_trouble(int error)
{
	return error == EIO || error == ENODEV || error == ENXIO ||
	       error == ESTALE || error == EUCLEAN || error == EBADMSG;
}

static void say(struct files_struct *fsp, const struct mrmr_error *err)
{
	DBG_ERR("%s cannot be read: %s\n", fsp_str_dbg(fsp), err->text);
}

/* Are its bytes to be computed? Not if its member is back. */
static bool is_to_compute(struct vfs_handle_struct *handle,
			  struct files_struct *fsp, struct mrmr_ghost *ghost)
{
	return mrmr_fsp_is_ghost(handle, fsp, ghost) &&
	       mrmr_ghost_follow(handle, fsp, ghost) == -1;
}

static struct mrmr_served *served_of(struct vfs_handle_struct *handle,
				     struct files_struct *fsp,
				     const struct mrmr_ghost *ghost)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_served *served = NULL;
	struct mrmr_error err = {0};

	served = mrmr_served_get(pool, ghost, &err);
	if (served == NULL) {
		say(fsp, &err);
	}
	return served;
}

/* After a read of a member's file has failed. */
static struct mrmr_served *rescue(struct vfs_handle_struct *handle,
				  struct files_struct *fsp, int error,
				  off_t offset)
{
	struct mrmr_share *share = mrmr_share_of(handle);
	struct mrmr_served *served = NULL;
	struct mrmr_error err = {0};

	/* Look whether the member is still there, and take hold of the others:
	   who only reads has let go of them. */
	share->pool->checked_ns = 0;
	served = mrmr_served_get_file(mrmr_pool_of(handle), fsp_get_io_fd(fsp),
				      &err);
	if (served == NULL) {
		DBG_ERR("%s cannot be read at %jd: %s; nor computed: %s\n",
			fsp_str_dbg(fsp), (intmax_t)offset, strerror(error),
			err.text);
		return NULL;
	}
	share->rescued_reads++;
	DBG_ERR("%s cannot be read at %jd: %s; its bytes are computed from "
		"parity (%ju reads so far)\n",
		fsp_str_dbg(fsp), (intmax_t)offset, strerror(error),
		(uintmax_t)share->rescued_reads);
	return served;
}

/* --- computing ---------------------------------------------------------------- */

struct computing {
	struct mrmr_served *served;
	uint8_t *data;
	size_t n;
	off_t offset;
	size_t done;
	unsigned int tries;
	ssize_t got; /* the last time */
	int error;
};

/* As much as was prepared; in any thread. */
static void compute(void *private_data)
{
	struct computing *c = private_data;

	c->got = mrmr_served_read(c->served, c->data + c->done, c->n - c->done,
				  (uint64_t)c->offset + c->done);
	c->error = errno;
}

enum next {
	DONE,
	GO_ON,
	FAILED
};

static enum next after_computing(struct computing *c)
{
	if (c->got > 0) {
		c->done += (size_t)c->got;
		c->tries = 0;
		return c->done < c->n ? GO_ON : DONE;
	}
	if (c->got == 0) {
		return DONE; /* the end of the file */
	}
	return ++c->tries < TRIES ? GO_ON : FAILED;
}

static ssize_t compute_now(struct files_struct *fsp, struct computing *c)
{
	struct mrmr_error err = {0};
	enum next next = GO_ON;

	while (next == GO_ON) {
		if (mrmr_served_prepare(c->served,
					(uint64_t)c->offset + c->done,
					c->n - c->done, &err) == -1) {
			say(fsp, &err);
			next = FAILED;
		} else {
			compute(c);
			next = after_computing(c);
		}
	}
	mrmr_served_put(c->served);
	if (next == FAILED) {
		errno = EIO;
		return -1;
	}
	return (ssize_t)c->done;
}

ssize_t mrmr_pread(struct vfs_handle_struct *handle, struct files_struct *fsp,
		   void *data, size_t n, off_t offset)
{
	struct computing c = {.data = data, .n = n, .offset = offset};
	struct mrmr_ghost ghost;
	ssize_t ret;

	if (is_to_compute(handle, fsp, &ghost)) {
		c.served = served_of(handle, fsp, &ghost);
		if (c.served == NULL) {
			errno = EIO;
			return -1;
		}
		return compute_now(fsp, &c);
	}
	ret = SMB_VFS_NEXT_PREAD(handle, fsp, data, n, offset);
	if (mrmr_fault("vfs-read") != 0) {
		ret = -1;
	}
	if (ret != -1 || !is_trouble(errno) || mrmr_share_of(handle) == NULL) {
		return ret;
	}
	c.served = rescue(handle, fsp, errno, offset);
	if (c.served == NULL) {
		errno = EIO;
		return -1;
	}
	return compute_now(fsp, &c);
}

/* --- as SMB2 has it -------------------------------------------------------------- */

struct read_state {
	struct tevent_context *ev;
	struct vfs_handle_struct *handle;
	struct files_struct *fsp;
	struct computing c;
	ssize_t ret;
	struct vfs_aio_state aio_state;
	struct timespec started;
};

static void read_done(struct tevent_req *subreq);
static void compute_more(struct tevent_req *req);
static void compute_done(struct tevent_req *subreq);

static void start_computing(struct tevent_req *req, struct read_state *state,
			    struct mrmr_served *served)
{
	if (served == NULL) {
		tevent_req_error(req, EIO);
		return;
	}
	state->c.served = served;
	clock_gettime(CLOCK_MONOTONIC, &state->started);
	compute_more(req);
}

struct tevent_req *mrmr_pread_send(struct vfs_handle_struct *handle,
				   TALLOC_CTX *mem_ctx,
				   struct tevent_context *ev,
				   struct files_struct *fsp, void *data,
				   size_t n, off_t offset)
{
	struct mrmr_share *share = mrmr_share_of(handle);
	struct read_state *state = NULL;
	struct tevent_req *subreq = NULL;
	struct tevent_req *req = NULL;
	struct mrmr_ghost ghost;

	if (share == NULL || share->pool->absent == NULL) {
		return SMB_VFS_NEXT_PREAD_SEND(mem_ctx, ev, handle, fsp, data,
					       n, offset);
	}
	req = tevent_req_create(mem_ctx, &state, struct read_state);
	if (req == NULL) {
		return NULL;
	}
	*state = (struct read_state){
		.ev = ev,
		.handle = handle,
		.fsp = fsp,
		.c = {.data = data, .n = n, .offset = offset},
	};
	if (is_to_compute(handle, fsp, &ghost)) {
		start_computing(req, state, served_of(handle, fsp, &ghost));
		if (!tevent_req_is_in_progress(req)) {
			return tevent_req_post(req, ev);
		}
		return req;
	}
	subreq = SMB_VFS_NEXT_PREAD_SEND(state, ev, handle, fsp, data, n,
					 offset);
	if (tevent_req_nomem(subreq, req)) {
		return tevent_req_post(req, ev);
	}
	tevent_req_set_callback(subreq, read_done, req);
	return req;
}

static void read_done(struct tevent_req *subreq)
{
	struct tevent_req *req =
		tevent_req_callback_data(subreq, struct tevent_req);
	struct read_state *state = tevent_req_data(req, struct read_state);

	state->ret = SMB_VFS_PREAD_RECV(subreq, &state->aio_state);
	TALLOC_FREE(subreq);
	if (mrmr_fault("vfs-read") != 0) {
		state->ret = -1;
		state->aio_state.error = errno;
	}
	if (state->ret != -1) {
		tevent_req_done(req);
		return;
	}
	if (!is_trouble(state->aio_state.error)) {
		tevent_req_error(req, state->aio_state.error);
		return;
	}
	start_computing(req, state,
			rescue(state->handle, state->fsp,
			       state->aio_state.error, state->c.offset));
}

/* A thread cannot be stopped: what it works on must stay until it is done. */
static int busy(struct read_state *state)
{
	return -1;
}

static void computed(struct tevent_req *req, struct read_state *state,
		     bool failed)
{
	struct timespec now;

	mrmr_served_put(state->c.served);
	if (failed) {
		tevent_req_error(req, EIO);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	state->ret = (ssize_t)state->c.done;
	state->aio_state = (struct vfs_aio_state){
		.duration = nsec_time_diff(&now, &state->started),
	};
	tevent_req_done(req);
}

static void compute_more(struct tevent_req *req)
{
	struct read_state *state = tevent_req_data(req, struct read_state);
	struct computing *c = &state->c;
	struct tevent_req *subreq = NULL;
	struct mrmr_error err = {0};

	if (mrmr_served_prepare(c->served, (uint64_t)c->offset + c->done,
				c->n - c->done, &err) == -1) {
		say(state->fsp, &err);
		computed(req, state, true);
		return;
	}
	subreq = pthreadpool_tevent_job_send(state, state->ev,
					     state->handle->conn->sconn->pool,
					     compute, c);
	if (subreq == NULL) {
		mrmr_served_put(c->served);
		tevent_req_oom(req);
		return;
	}
	tevent_req_set_callback(subreq, compute_done, req);
	talloc_set_destructor(state, busy);
}

static void compute_done(struct tevent_req *subreq)
{
	struct tevent_req *req =
		tevent_req_callback_data(subreq, struct tevent_req);
	struct read_state *state = tevent_req_data(req, struct read_state);
	enum next next;
	int ret;

	ret = pthreadpool_tevent_job_recv(subreq);
	TALLOC_FREE(subreq);
	talloc_set_destructor(state, NULL);
	if (ret == EAGAIN) {
		/* No thread could be had. */
		compute(&state->c);
		ret = 0;
	}
	next = ret == 0 ? after_computing(&state->c) : FAILED;
	if (next == GO_ON) {
		compute_more(req);
		return;
	}
	computed(req, state, next == FAILED);
}

ssize_t mrmr_pread_recv(struct tevent_req *req, struct vfs_aio_state *aio_state)
{
	struct read_state *state =
		talloc_get_type(_tevent_req_data(req), struct read_state);
	ssize_t ret;

	if (state == NULL) {
		/* It was handed on as it was. */
		return SMB_VFS_PREAD_RECV(req, aio_state);
	}
	if (tevent_req_is_unix_error(req, &aio_state->error)) {
		tevent_req_received(req);
		return -1;
	}
	*aio_state = state->aio_state;
	ret = state->ret;
	tevent_req_received(req);
	return ret;
}

/* Where this is not asked, smbd may send the ghost's own bytes with sendfile. */
bool mrmr_aio_force(struct vfs_handle_struct *handle, struct files_struct *fsp)
{
	struct mrmr_ghost ghost;

	return mrmr_fsp_is_ghost(handle, fsp, &ghost) ||
	       SMB_VFS_NEXT_AIO_FORCE(handle, fsp);
}

ssize_t mrmr_sendfile(struct vfs_handle_struct *handle, int to_fd,
		      files_struct *from_fsp, const DATA_BLOB *header,
		      off_t offset, size_t n)
{
	struct mrmr_ghost ghost;

	if (mrmr_fsp_is_ghost(handle, from_fsp, &ghost)) {
		errno = ENOSYS; /* nothing was sent: it is read then */
		return -1;
	}
	return SMB_VFS_NEXT_SENDFILE(handle, to_fd, from_fsp, header, offset,
				     n);
}
