/*
 * MRMR: the Samba module: writes, until their member is full.
 *
 * A write is Samba's own. Only when it fails for want of room does the file
 * move to a member that has some, and the write is done again there. A file of
 * which the client says how large it will be moves before anything is written.
 *
 * SMB2 clients have several writes to a file under way at a time, in threads
 * that write to a descriptor each has looked up. A move must not overtake
 * them: it waits until none is under way, and those that come meanwhile wait
 * for the move.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "moving.h"
#include "write.h"

#include <mrmr/move.h>

#include "lib/util/tevent_unix.h"

/* A file with writes under way. */
struct busy_file {
	struct busy_file *prev, *next;
	struct file_id id;
	unsigned int under_way;
	struct write_state *waiting; /* for a move, which is to come or on */
	struct tevent_req *move;
};

static struct busy_file *busy_files;

struct write_state {
	struct write_state *prev, *next; /* in file->waiting */
	struct tevent_req *req;
	struct tevent_context *ev;
	struct vfs_handle_struct *handle;
	struct files_struct *fsp;
	const void *data;
	size_t n;
	off_t offset;
	struct busy_file *file;
	bool counted;  /* in file->under_way */
	bool retried;
	ssize_t ret;
	struct vfs_aio_state aio_state;
};

static void write_start(struct write_state *state);
static void write_done(struct tevent_req *subreq);
static void start_move(struct busy_file *file);

static struct busy_file *busy_file_get(const struct file_id *id)
{
	struct busy_file *file = NULL;

	for (file = busy_files; file != NULL; file = file->next) {
		if (file_id_equal(&file->id, id)) {
			return file;
		}
	}
	file = talloc_zero(NULL, struct busy_file);
	if (file != NULL) {
		file->id = *id;
		DLIST_ADD(busy_files, file);
	}
	return file;
}

static void busy_file_put(struct busy_file *file)
{
	if (file->under_way == 0 && file->waiting == NULL &&
	    file->move == NULL) {
		DLIST_REMOVE(busy_files, file);
		TALLOC_FREE(file);
	}
}

static int write_destructor(struct write_state *state)
{
	struct busy_file *file = state->file;

	if (file == NULL) {
		return 0;
	}
	if (state->counted) {
		file->under_way--;
	} else {
		DLIST_REMOVE(file->waiting, state);
	}
	state->file = NULL;
	busy_file_put(file);
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
	*state = (struct write_state) {
		.req = req,
		.ev = ev,
		.handle = handle,
		.fsp = fsp,
		.data = data,
		.n = n,
		.offset = offset,
	};
	state->file = busy_file_get(&fsp->file_id);
	if (tevent_req_nomem(state->file, req)) {
		return tevent_req_post(req, ev);
	}
	talloc_set_destructor(state, write_destructor);
	if (state->file->move != NULL) {
		DLIST_ADD_END(state->file->waiting, state);
		return req;
	}
	write_start(state);
	if (!tevent_req_is_in_progress(req)) {
		return tevent_req_post(req, ev);
	}
	return req;
}

static void write_start(struct write_state *state)
{
	struct tevent_req *subreq = NULL;

	state->counted = true;
	state->file->under_way++;
	subreq = SMB_VFS_NEXT_PWRITE_SEND(state, state->ev, state->handle,
					  state->fsp, state->data, state->n,
					  state->offset);
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
	struct busy_file *file = state->file;

	state->ret = SMB_VFS_PWRITE_RECV(subreq, &state->aio_state);
	TALLOC_FREE(subreq);

	file->under_way--;
	state->counted = false;
	DLIST_ADD_END(file->waiting, state);
	if (state->ret != -1 || state->retried ||
	    !mrmr_is_full(state->aio_state.error)) {
		DLIST_REMOVE(file->waiting, state);
		state->file = NULL;
	}
	if (file->waiting != NULL && file->under_way == 0 &&
	    file->move == NULL) {
		start_move(file);
	}
	if (state->file != NULL) {
		return; /* waits for the move */
	}
	busy_file_put(file);
	if (state->ret == -1) {
		tevent_req_error(req, state->aio_state.error);
		return;
	}
	tevent_req_done(req);
}

static void moved(struct tevent_req *subreq);

static void start_move(struct busy_file *file)
{
	struct write_state *state = file->waiting;
	struct write_state *w = NULL;
	struct stat st = { 0 };
	uint64_t size;

	fstat(fsp_get_io_fd(state->fsp), &st);
	size = (uint64_t)st.st_size;
	for (w = file->waiting; w != NULL; w = w->next) {
		if ((uint64_t)w->offset + w->n > size) {
			size = (uint64_t)w->offset + w->n;
		}
	}
	file->move = mrmr_move_send(file, state->ev, state->handle, state->fsp,
				    size);
	if (file->move != NULL) {
		tevent_req_set_callback(file->move, moved, file);
	}
}

static void moved(struct tevent_req *subreq)
{
	struct busy_file *file =
		tevent_req_callback_data(subreq, struct busy_file);
	struct write_state *waiting = file->waiting;
	int error = 0;
	int ret;

	ret = mrmr_move_recv(subreq, &error);
	TALLOC_FREE(subreq);
	file->move = NULL;
	file->waiting = NULL;
	/* file stays while this function counts as a user of it. */
	file->under_way++;

	while (waiting != NULL) {
		struct write_state *state = waiting;
		/* Those that came during the move have not failed yet. */
		bool failed = state->ret == -1 && state->aio_state.error != 0;

		DLIST_REMOVE(waiting, state);
		if (ret == -1 && failed) {
			state->file = NULL;
			tevent_req_error(state->req, state->aio_state.error);
			continue;
		}
		state->retried = failed;
		write_start(state);
	}
	file->under_way--;
	busy_file_put(file);
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

bool mrmr_writes_move(void)
{
	struct busy_file *file = NULL;

	for (file = busy_files; file != NULL; file = file->next) {
		if (file->move != NULL) {
			return true;
		}
	}
	return false;
}

static bool has_writes_under_way(struct files_struct *fsp)
{
	struct busy_file *file = NULL;

	for (file = busy_files; file != NULL; file = file->next) {
		if (file_id_equal(&file->id, &fsp->file_id)) {
			return file->under_way > 0 || file->move != NULL;
		}
	}
	return false;
}

/* For operations that end here and now. */
static int move_for(struct vfs_handle_struct *handle, struct files_struct *fsp,
		    uint64_t size_bytes)
{
	if (has_writes_under_way(fsp)) {
		errno = ENOSPC;
		return -1;
	}
	return mrmr_move_now(handle, fsp, size_bytes);
}

ssize_t mrmr_pwrite(struct vfs_handle_struct *handle, files_struct *fsp,
		    const void *data, size_t n, off_t offset)
{
	struct stat st;
	uint64_t size = (uint64_t)offset + n;
	ssize_t ret;

	ret = SMB_VFS_NEXT_PWRITE(handle, fsp, data, n, offset);
	if (ret == (ssize_t)n || (ret == -1 && !mrmr_is_full(errno)) ||
	    fstat(fsp_get_io_fd(fsp), &st) == -1) {
		return ret;
	}
	size = MAX(size, (uint64_t)st.st_size);
	if (move_for(handle, fsp, size) == -1) {
		return ret;
	}
	return SMB_VFS_NEXT_PWRITE(handle, fsp, data, n, offset);
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
	return (uint64_t)size > allocated + mrmr_member_room(
						    &pool->members[member]);
}

int mrmr_ftruncate(struct vfs_handle_struct *handle, struct files_struct *fsp,
		   off_t offset)
{
	/* Growing is how clients say what they are going to write. It takes no
	   room yet, so if nobody has that much, it may still succeed. */
	if (is_too_large(handle, fsp, offset)) {
		int saved_errno = errno;

		move_for(handle, fsp, (uint64_t)offset);
		errno = saved_errno;
	}
	return SMB_VFS_NEXT_FTRUNCATE(handle, fsp, offset);
}

int mrmr_fallocate(struct vfs_handle_struct *handle, struct files_struct *fsp,
		   uint32_t mode, off_t offset, off_t len)
{
	struct stat st;
	int ret;

	ret = SMB_VFS_NEXT_FALLOCATE(handle, fsp, mode, offset, len);
	if (ret == 0 || !mrmr_is_full(errno) ||
	    fstat(fsp_get_io_fd(fsp), &st) == -1) {
		return ret;
	}
	if (move_for(handle, fsp, MAX((uint64_t)st.st_size,
				      (uint64_t)offset + (uint64_t)len))
	    == -1) {
		return -1;
	}
	return SMB_VFS_NEXT_FALLOCATE(handle, fsp, mode, offset, len);
}

int mrmr_close(struct vfs_handle_struct *handle, struct files_struct *fsp)
{
	struct mrmr_share *share = mrmr_share_of(handle);
	int ret = SMB_VFS_NEXT_CLOSE(handle, fsp);

	if (share != NULL) {
		int saved_errno = errno;

		share->listed.dirfsp = NULL;
		mrmr_moves_forget(share->pool, &fsp->file_id);
		errno = saved_errno;
	}
	return ret;
}
