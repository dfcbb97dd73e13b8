/*
 * MRMR: the Samba module: server-side copies by reading and writing.
 *
 * Samba copies with copy_file_range() between descriptors, which for a ghost
 * would copy a hole, and from a drive that does not give the bytes is an error.
 * So it is remembered which files the tokens are for that Samba gives out, and
 * what is copied from such a one is read, as any other read, and written.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "copy.h"
#include "ghosts.h"

#include "lib/util/tevent_ntstatus.h"
#include "modules/offload_token.h"

#define CHUNK (1024 * 1024)

static struct vfs_offload_ctx *tokens;

/* --- the token ------------------------------------------------------------------- */

struct token_state {
	struct vfs_handle_struct *handle;
	struct files_struct *fsp;
	uint32_t flags;
	uint64_t xferlen;
	DATA_BLOB token;
};

static void token_done(struct tevent_req *subreq);

struct tevent_req *mrmr_offload_read_send(TALLOC_CTX *mem_ctx,
					  struct tevent_context *ev,
					  struct vfs_handle_struct *handle,
					  struct files_struct *fsp,
					  uint32_t fsctl, uint32_t ttl,
					  off_t offset, size_t to_copy)
{
	struct token_state *state = NULL;
	struct tevent_req *subreq = NULL;
	struct tevent_req *req = NULL;

	req = tevent_req_create(mem_ctx, &state, struct token_state);
	if (req == NULL) {
		return NULL;
	}
	*state = (struct token_state){
		.handle = handle,
		.fsp = fsp,
	};
	subreq = SMB_VFS_NEXT_OFFLOAD_READ_SEND(state, ev, handle, fsp, fsctl,
						ttl, offset, to_copy);
	if (tevent_req_nomem(subreq, req)) {
		return tevent_req_post(req, ev);
	}
	tevent_req_set_callback(subreq, token_done, req);
	return req;
}

/* Once: what is stored twice cannot be removed twice. */
static NTSTATUS remember(struct files_struct *fsp, const DATA_BLOB *token)
{
	struct files_struct *known = NULL;
	NTSTATUS status;

	status = vfs_offload_token_ctx_init(fsp->conn->sconn->client, &tokens);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	status = vfs_offload_token_db_fetch_fsp(tokens, token, &known);
	if (NT_STATUS_IS_OK(status) && known == fsp) {
		return NT_STATUS_OK;
	}
	return vfs_offload_token_db_store_fsp(tokens, fsp, token);
}

static void token_done(struct tevent_req *subreq)
{
	struct tevent_req *req =
		tevent_req_callback_data(subreq, struct tevent_req);
	struct token_state *state = tevent_req_data(req, struct token_state);
	NTSTATUS status;

	status = SMB_VFS_NEXT_OFFLOAD_READ_RECV(subreq, state->handle, state,
						&state->flags, &state->xferlen,
						&state->token);
	TALLOC_FREE(subreq);
	if (NT_STATUS_IS_OK(status)) {
		status = remember(state->fsp, &state->token);
	}
	if (!tevent_req_nterror(req, status)) {
		tevent_req_done(req);
	}
}

NTSTATUS mrmr_offload_read_recv(struct tevent_req *req,
				struct vfs_handle_struct *handle,
				TALLOC_CTX *mem_ctx, uint32_t *flags,
				uint64_t *xferlen, DATA_BLOB *token)
{
	struct token_state *state = tevent_req_data(req, struct token_state);
	NTSTATUS status;

	if (tevent_req_is_nterror(req, &status)) {
		tevent_req_received(req);
		return status;
	}
	*flags = state->flags;
	*xferlen = state->xferlen;
	token->length = state->token.length;
	token->data = talloc_move(mem_ctx, &state->token.data);
	tevent_req_received(req);
	return NT_STATUS_OK;
}

struct files_struct *mrmr_file_of_token(uint32_t fsctl, DATA_BLOB *token)
{
	struct files_struct *fsp = NULL;
	NTSTATUS status;

	if (tokens == NULL || (fsctl != FSCTL_SRV_COPYCHUNK &&
			       fsctl != FSCTL_SRV_COPYCHUNK_WRITE)) {
		return NULL;
	}
	status = vfs_offload_token_db_fetch_fsp(tokens, token, &fsp);
	return NT_STATUS_IS_OK(status) ? fsp : NULL;
}

struct files_struct *mrmr_ghost_of_token(struct vfs_handle_struct *handle,
					 uint32_t fsctl, DATA_BLOB *token)
{
	struct files_struct *fsp = mrmr_file_of_token(fsctl, token);
	struct mrmr_ghost ghost;

	return fsp != NULL && mrmr_fsp_is_ghost(handle, fsp, &ghost) ? fsp
								     : NULL;
}

/* --- the copy -------------------------------------------------------------------- */

struct copy_state {
	struct tevent_context *ev;
	struct files_struct *from;
	off_t from_offset;
	struct files_struct *to;
	off_t to_offset;
	off_t left;
	off_t copied;
	size_t len; /* of the chunk that is under way */
	uint8_t *buf;
};

static void copy_next(struct tevent_req *req);
static void copy_read(struct tevent_req *subreq);
static void copy_written(struct tevent_req *subreq);

/* Whoever called works as the user of the target's handle. */
static void copy_cleanup(struct tevent_req *req,
			 enum tevent_req_state req_state)
{
	struct copy_state *state = tevent_req_data(req, struct copy_state);

	if (state->to != NULL &&
	    !change_to_user_and_service_by_fsp(state->to)) {
		smb_panic("mrmr: cannot become the user again");
	}
	state->to = NULL;
}

static bool is_locked(struct files_struct *fsp, off_t offset, off_t len,
		      enum brl_type type)
{
	struct lock_struct lock;

	init_strict_lock_struct(fsp, fsp->op->global->open_persistent_id,
				(uint64_t)offset, (uint64_t)len, type,
				lp_posix_cifsu_locktype(fsp), &lock);
	return !SMB_VFS_STRICT_LOCK_CHECK(fsp->conn, fsp, &lock);
}

static NTSTATUS check(struct copy_state *state, uint32_t fsctl)
{
	NTSTATUS status;

	status = vfs_offload_token_check_handles(fsctl, state->from, state->to);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	if (!change_to_user_and_service_by_fsp(state->from)) {
		return NT_STATUS_ACCESS_DENIED;
	}
	status = vfs_stat_fsp(state->from);
	if (!NT_STATUS_IS_OK(status)) {
		return status;
	}
	if (state->from_offset < 0 || state->to_offset < 0 ||
	    state->left > INT64_MAX - state->from_offset ||
	    state->left > INT64_MAX - state->to_offset) {
		return NT_STATUS_INVALID_PARAMETER;
	}
	if (state->from->fsp_name->st.st_ex_size <
	    state->from_offset + state->left) {
		return NT_STATUS_INVALID_VIEW_SIZE;
	}
	return NT_STATUS_OK;
}

struct tevent_req *mrmr_read_copy_send(
	TALLOC_CTX *mem_ctx, struct tevent_context *ev, uint32_t fsctl,
	struct files_struct *from, off_t from_offset, struct files_struct *to,
	off_t to_offset, off_t to_copy)
{
	struct copy_state *state = NULL;
	struct tevent_req *req = NULL;

	req = tevent_req_create(mem_ctx, &state, struct copy_state);
	if (req == NULL) {
		return NULL;
	}
	*state = (struct copy_state){
		.ev = ev,
		.from = from,
		.from_offset = from_offset,
		.to = to,
		.to_offset = to_offset,
		.left = to_copy,
	};
	tevent_req_set_cleanup_fn(req, copy_cleanup);
	state->buf = talloc_array(state, uint8_t, CHUNK);
	if (tevent_req_nomem(state->buf, req) ||
	    tevent_req_nterror(req, check(state, fsctl))) {
		return tevent_req_post(req, ev);
	}
	copy_next(req);
	if (!tevent_req_is_in_progress(req)) {
		return tevent_req_post(req, ev);
	}
	return req;
}

static void copy_next(struct tevent_req *req)
{
	struct copy_state *state = tevent_req_data(req, struct copy_state);
	struct tevent_req *subreq = NULL;

	if (state->left == 0) {
		tevent_req_done(req);
		return;
	}
	state->len = (size_t)MIN(state->left, CHUNK);
	if (!change_to_user_and_service_by_fsp(state->from)) {
		tevent_req_nterror(req, NT_STATUS_ACCESS_DENIED);
		return;
	}
	if (is_locked(state->from, state->from_offset, (off_t)state->len,
		      READ_LOCK)) {
		tevent_req_nterror(req, NT_STATUS_FILE_LOCK_CONFLICT);
		return;
	}
	subreq = SMB_VFS_PREAD_SEND(state, state->ev, state->from, state->buf,
				    state->len, state->from_offset);
	if (tevent_req_nomem(subreq, req)) {
		return;
	}
	tevent_req_set_callback(subreq, copy_read, req);
}

static void copy_read(struct tevent_req *subreq)
{
	struct tevent_req *req =
		tevent_req_callback_data(subreq, struct tevent_req);
	struct copy_state *state = tevent_req_data(req, struct copy_state);
	struct vfs_aio_state aio_state;
	ssize_t got;

	got = SMB_VFS_PREAD_RECV(subreq, &aio_state);
	TALLOC_FREE(subreq);
	if (got != (ssize_t)state->len) {
		tevent_req_nterror(req, got == -1 ? map_nt_error_from_unix(
							    aio_state.error)
						  : NT_STATUS_IO_DEVICE_ERROR);
		return;
	}
	if (!change_to_user_and_service_by_fsp(state->to)) {
		tevent_req_nterror(req, NT_STATUS_ACCESS_DENIED);
		return;
	}
	if (is_locked(state->to, state->to_offset, (off_t)state->len,
		      WRITE_LOCK)) {
		tevent_req_nterror(req, NT_STATUS_FILE_LOCK_CONFLICT);
		return;
	}
	subreq = SMB_VFS_PWRITE_SEND(state, state->ev, state->to, state->buf,
				     state->len, state->to_offset);
	if (tevent_req_nomem(subreq, req)) {
		return;
	}
	tevent_req_set_callback(subreq, copy_written, req);
}

static void copy_written(struct tevent_req *subreq)
{
	struct tevent_req *req =
		tevent_req_callback_data(subreq, struct tevent_req);
	struct copy_state *state = tevent_req_data(req, struct copy_state);
	struct vfs_aio_state aio_state;
	ssize_t got;

	got = SMB_VFS_PWRITE_RECV(subreq, &aio_state);
	TALLOC_FREE(subreq);
	if (got != (ssize_t)state->len) {
		tevent_req_nterror(req, got == -1 ? map_nt_error_from_unix(
							    aio_state.error)
						  : NT_STATUS_DISK_FULL);
		return;
	}
	state->from_offset += got;
	state->to_offset += got;
	state->left -= got;
	state->copied += got;
	copy_next(req);
}

NTSTATUS mrmr_read_copy_recv(struct tevent_req *req, off_t *copied)
{
	struct copy_state *state = tevent_req_data(req, struct copy_state);
	NTSTATUS status;

	*copied = state->copied;
	if (tevent_req_is_nterror(req, &status)) {
		tevent_req_received(req);
		return status;
	}
	tevent_req_received(req);
	return NT_STATUS_OK;
}
