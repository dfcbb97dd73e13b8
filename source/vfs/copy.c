/*
 * MRMR: the Samba module: bytes that come without a write.
 *
 * Samba copies within the server with copy_file_range(), and, if told to by
 * `min receivefile size`, from the socket with splice(), both on descriptors
 * and past pread and pwrite. Such bytes meet a full member as others do. Where a
 * drive does not give what is to be copied, it is read, which computes it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "copy.h"
#include "guarding.h"
#include "moving.h"
#include "room.h"
#include "telling.h"
#include "write.h"

#include <poll.h>

#include <mrmr/fault.h>

#include "lib/util/tevent_ntstatus.h"

#define CHUNK (256 * 1024)

struct offload_state {
	struct tevent_context *ev;
	struct vfs_handle_struct *handle;
	uint32_t fsctl;
	DATA_BLOB *token;
	off_t from_offset;
	struct files_struct *fsp;
	off_t offset;
	off_t to_copy;
	off_t copied;
	bool retried;
	struct files_struct *from; /* to be read; NULL: Samba copies */
};

static void offload_start(struct tevent_req *req);
static void offload_kept(struct tevent_req *subreq);
static void offload_pass_on(struct tevent_req *req);
static void offload_full(struct tevent_req *req);
static void offload_done(struct tevent_req *subreq);
static void offload_moved(struct tevent_req *subreq);

struct tevent_req *mrmr_offload_write_send(struct vfs_handle_struct *handle,
					   TALLOC_CTX *mem_ctx,
					   struct tevent_context *ev,
					   uint32_t fsctl, DATA_BLOB *token,
					   off_t transfer_offset,
					   struct files_struct *dest_fsp,
					   off_t dest_off, off_t to_copy)
{
	struct offload_state *state = NULL;
	struct tevent_req *req = NULL;

	req = tevent_req_create(mem_ctx, &state, struct offload_state);
	if (req == NULL) {
		return NULL;
	}
	*state = (struct offload_state){
		.ev = ev,
		.handle = handle,
		.fsctl = fsctl,
		.token = token,
		.from_offset = transfer_offset,
		.fsp = dest_fsp,
		.offset = dest_off,
		.to_copy = to_copy,
	};
	state->from = mrmr_ghost_of_token(handle, fsctl, token);
	offload_start(req);
	if (!tevent_req_is_in_progress(req)) {
		return tevent_req_post(req, ev);
	}
	return req;
}

static void offload_start(struct tevent_req *req)
{
	struct offload_state *state =
		tevent_req_data(req, struct offload_state);
	struct tevent_req *subreq = NULL;

	mrmr_tell_changing(state->handle, fsp_get_pathref_fd(state->fsp));
	if (state->to_copy <= 0 || !mrmr_must_keep(state->fsp, state->offset,
						   (uint64_t)state->to_copy)) {
		offload_pass_on(req);
		return;
	}
	subreq = mrmr_keep_send(state, state->ev, state->handle, state->fsp,
				state->offset, (uint64_t)state->to_copy);
	if (tevent_req_nomem(subreq, req)) {
		return;
	}
	tevent_req_set_callback(subreq, offload_kept, req);
}

static void offload_kept(struct tevent_req *subreq)
{
	struct tevent_req *req =
		tevent_req_callback_data(subreq, struct tevent_req);
	int error = 0;
	int ret;

	ret = mrmr_keep_recv(subreq, &error);
	TALLOC_FREE(subreq);
	if (ret == -1 && mrmr_is_full(error)) {
		offload_full(req);
		return;
	}
	if (ret == -1) {
		tevent_req_nterror(req, map_nt_error_from_unix(error));
		return;
	}
	offload_pass_on(req);
}

static void offload_pass_on(struct tevent_req *req)
{
	struct offload_state *state =
		tevent_req_data(req, struct offload_state);
	struct tevent_req *subreq = NULL;

	if (state->from != NULL) {
		subreq = mrmr_read_copy_send(state, state->ev, state->fsctl,
					     state->from, state->from_offset,
					     state->fsp, state->offset,
					     state->to_copy);
	} else {
		subreq =
			SMB_VFS_NEXT_OFFLOAD_WRITE_SEND(state->handle, state,
							state->ev, state->fsctl,
							state->token,
							state->from_offset,
							state->fsp,
							state->offset,
							state->to_copy);
	}
	mrmr_spoil_move(state->fsp);
	if (tevent_req_nomem(subreq, req)) {
		return;
	}
	tevent_req_set_callback(subreq, offload_done, req);
}

/* Of the source or of the target: copying tells not which. If it is the target,
   writing will say so. */
static bool is_trouble(NTSTATUS status)
{
	return NT_STATUS_EQUAL(status, map_nt_error_from_unix(EIO)) ||
	       NT_STATUS_EQUAL(status, map_nt_error_from_unix(ENODEV));
}

static void offload_done(struct tevent_req *subreq)
{
	struct tevent_req *req =
		tevent_req_callback_data(subreq, struct tevent_req);
	struct offload_state *state =
		tevent_req_data(req, struct offload_state);
	bool was_read = state->from != NULL;
	NTSTATUS status;

	if (was_read) {
		status = mrmr_read_copy_recv(subreq, &state->copied);
	} else {
		status = SMB_VFS_NEXT_OFFLOAD_WRITE_RECV(state->handle, subreq,
							 &state->copied);
		if (mrmr_fault("vfs-copy") != 0) {
			status = map_nt_error_from_unix(errno);
		}
	}
	TALLOC_FREE(subreq);
	if (NT_STATUS_EQUAL(status, NT_STATUS_DISK_FULL)) {
		offload_full(req);
		return;
	}
	if (!was_read && is_trouble(status)) {
		state->from = mrmr_file_of_token(state->fsctl, state->token);
		if (state->from != NULL) {
			offload_pass_on(req);
			return;
		}
	}
	if (!tevent_req_nterror(req, status)) {
		tevent_req_done(req);
	}
}

static void offload_full(struct tevent_req *req)
{
	struct offload_state *state =
		tevent_req_data(req, struct offload_state);
	uint64_t size = (uint64_t)state->offset + (uint64_t)state->to_copy;
	struct tevent_req *subreq = NULL;
	struct stat st = {0};

	if (state->retried) {
		tevent_req_nterror(req, NT_STATUS_DISK_FULL);
		return;
	}
	state->retried = true;
	fstat(fsp_get_io_fd(state->fsp), &st);
	subreq =
		mrmr_make_room_send(state, state->ev, state->handle, state->fsp,
				    MAX(size, (uint64_t)st.st_size));
	if (tevent_req_nomem(subreq, req)) {
		return;
	}
	tevent_req_set_callback(subreq, offload_moved, req);
}

static void offload_moved(struct tevent_req *subreq)
{
	struct tevent_req *req =
		tevent_req_callback_data(subreq, struct tevent_req);
	int ret;

	ret = mrmr_make_room_recv(subreq);
	TALLOC_FREE(subreq);
	if (ret == -1) {
		tevent_req_nterror(req, NT_STATUS_DISK_FULL);
		return;
	}
	offload_start(req); /* the same bytes again, into the same file */
}

NTSTATUS mrmr_offload_write_recv(struct vfs_handle_struct *handle,
				 struct tevent_req *req, off_t *copied)
{
	struct offload_state *state =
		tevent_req_data(req, struct offload_state);
	NTSTATUS status;

	*copied = state->copied;
	if (tevent_req_is_nterror(req, &status)) {
		tevent_req_received(req);
		return status;
	}
	tevent_req_received(req);
	return NT_STATUS_OK;
}

/*
 * The request's bytes have to leave the socket whatever becomes of them, or
 * the next request is not found. Between the first and the last of them the
 * socket may have nothing for a moment, blocking or not.
 */
ssize_t mrmr_recvfile(struct vfs_handle_struct *handle, int from_fd,
		      struct files_struct *fsp, off_t offset, size_t count)
{
	static char buffer[CHUNK];
	size_t taken = 0;
	int error = 0;

	while (taken < count) {
		ssize_t len = read(from_fd, buffer, MIN(CHUNK, count - taken));

		if (len == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			struct pollfd p = {.fd = from_fd, .events = POLLIN};

			if (taken == 0) {
				return -1; /* smbd makes it block */
			}
			poll(&p, 1, -1);
			continue;
		}
		if (len == -1 && errno == EINTR) {
			continue;
		}
		if (len <= 0) {
			return -1; /* the client is gone */
		}
		if (error == 0 && mrmr_pwrite(handle, fsp, buffer, (size_t)len,
					      offset + (off_t)taken) != len) {
			error = errno != 0 ? errno : EIO;
		}
		taken += (size_t)len;
	}
	if (error != 0) {
		errno = error;
		return -1;
	}
	return (ssize_t)taken;
}
