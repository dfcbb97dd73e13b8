/*
 * MRMR: the Samba module: writes, until their member is full.
 *
 * A write is Samba's own. Only when it fails for want of room, or is cut short
 * by it, does the file move to a member that has some, and the write is done
 * again there. A file of which the client says how large it will be moves
 * before anything is written.
 *
 * SMB2 clients have several writes to a file under way at a time, in threads
 * that write to a descriptor each has looked up. A move must not overtake
 * them: it waits until none is under way, and those that come meanwhile wait
 * for the move. What changes the file here and now, and cannot wait, spoils
 * the copy, which then is made again.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "moving.h"
#include "write.h"

#include <mrmr/move.h>

#include "lib/util/tevent_unix.h"

#define TRIES 8 /* members may fill up one after the other */

/* A file with writes under way. */
struct busy_file {
	struct busy_file *prev, *next;
	struct file_id id;
	unsigned int under_way;
	struct job *waiting; /* for a move, which is to come or on */
	struct tevent_req *move;
	unsigned int move_tries;
	bool spoiled; /* changed while it was copied */
};

static struct busy_file *busy_files;

/* What writes, and may have to wait for a move: part of a request's state. */
struct job {
	struct job *prev, *next; /* in file->waiting */
	struct tevent_context *ev;
	struct vfs_handle_struct *handle;
	struct files_struct *fsp;
	uint64_t end;           /* of what it writes in the file */
	struct busy_file *file; /* NULL: neither under way nor waiting */
	bool under_way;         /* counted in file->under_way, or waiting */
	bool full;              /* it has found no room */
	unsigned int tries;
	void (*start)(struct job *job);
	void (*finish)(struct job *job); /* with what it has found */
};

static struct busy_file *busy_file_find(const struct file_id *id)
{
	struct busy_file *file = NULL;

	for (file = busy_files; file != NULL; file = file->next) {
		if (file_id_equal(&file->id, id)) {
			return file;
		}
	}
	return NULL;
}

static struct busy_file *busy_file_get(const struct file_id *id)
{
	struct busy_file *file = busy_file_find(id);

	if (file != NULL) {
		return file;
	}
	file = talloc_zero(NULL, struct busy_file);
	if (file != NULL) {
		file->id = *id;
		DLIST_ADD(busy_files, file);
	}
	return file;
}

static void start_move(struct busy_file *file);

/* A user of file has gone: a move may be possible now, or file not needed. */
static void busy_file_put(struct busy_file *file)
{
	if (file->under_way > 0 || file->move != NULL) {
		return;
	}
	if (file->waiting != NULL) {
		start_move(file);
		return;
	}
	DLIST_REMOVE(busy_files, file);
	TALLOC_FREE(file);
}

static void job_leave(struct job *job)
{
	struct busy_file *file = job->file;

	job->file = NULL;
	if (file == NULL) {
		return;
	}
	if (job->under_way) {
		file->under_way--;
	} else {
		DLIST_REMOVE(file->waiting, job);
	}
	busy_file_put(file);
}

static void job_start(struct job *job)
{
	job->tries++;
	job->under_way = true;
	job->file->under_way++;
	job->start(job);
}

static void job_wait(struct job *job)
{
	job->under_way = false;
	DLIST_ADD_END(job->file->waiting, job);
}

/* It starts now, or after the move. False: out of memory. */
static bool job_begin(struct job *job)
{
	job->file = busy_file_get(&job->fsp->file_id);
	if (job->file == NULL) {
		return false;
	}
	if (job->file->move != NULL || job->file->waiting != NULL) {
		job_wait(job);
	} else {
		job_start(job);
	}
	return true;
}

/* It has been tried: if there was no room, it waits for a move and is started
   again, else it is finished. */
static void job_tried(struct job *job, bool full)
{
	struct busy_file *file = job->file;

	job->full = full && job->tries < TRIES;
	if (!job->full) {
		job_leave(job);
		job->finish(job);
		return;
	}
	file->under_way--;
	job_wait(job);
	busy_file_put(file);
}

static void moved(struct tevent_req *subreq);
static void go_on(struct busy_file *file, bool has_moved);

static void start_move(struct busy_file *file)
{
	struct job *first = file->waiting;
	struct job *job = NULL;
	struct stat st = {0};
	uint64_t size;

	fstat(fsp_get_io_fd(first->fsp), &st);
	size = (uint64_t)st.st_size;
	for (job = first; job != NULL; job = job->next) {
		size = MAX(size, job->end);
	}
	file->spoiled = false;
	file->move = mrmr_move_send(file, first->ev, first->handle, first->fsp,
				    size, &file->spoiled);
	if (file->move == NULL) {
		go_on(file, false);
		return;
	}
	tevent_req_set_callback(file->move, moved, file);
}

static void moved(struct tevent_req *subreq)
{
	struct busy_file *file =
		tevent_req_callback_data(subreq, struct busy_file);
	int error = 0;
	int ret;

	ret = mrmr_move_recv(subreq, &error);
	TALLOC_FREE(subreq);
	file->move = NULL;
	if (ret == -1 && error == EBUSY && file->waiting != NULL &&
	    ++file->move_tries < TRIES) {
		start_move(file);
		return;
	}
	file->move_tries = 0;
	go_on(file, ret == 0);
}

/* Those that came during the move have not failed yet. */
static void go_on(struct busy_file *file, bool has_moved)
{
	struct job *waiting = file->waiting;

	file->waiting = NULL;
	/* file stays while this function counts as a user of it. */
	file->under_way++;
	while (waiting != NULL) {
		struct job *job = waiting;

		DLIST_REMOVE(waiting, job);
		if (job->full && !has_moved) {
			job->file = NULL;
			job->finish(job);
			continue;
		}
		if (has_moved && job->tries == 0) {
			job->tries = 1; /* others have, for this one, too */
		}
		job_start(job);
	}
	file->under_way--;
	busy_file_put(file);
}

/* --- writes, as SMB2 has them ---------------------------------------------- */

struct write_state {
	struct job job;
	struct tevent_req *req;
	const void *data;
	size_t n;
	off_t offset;
	ssize_t ret;
	struct vfs_aio_state aio_state;
};

static void write_start(struct job *job);
static void write_done(struct tevent_req *subreq);
static void write_finish(struct job *job);

static struct write_state *write_of(struct job *job)
{
	return (struct write_state *)((char *)job -
				      offsetof(struct write_state, job));
}

static int write_destructor(struct write_state *state)
{
	job_leave(&state->job);
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
	if (!job_begin(&state->job)) {
		tevent_req_oom(req);
	}
	if (!tevent_req_is_in_progress(req)) {
		return tevent_req_post(req, ev);
	}
	return req;
}

static void write_start(struct job *job)
{
	struct write_state *state = write_of(job);
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
	job_tried(&state->job, full);
}

static void write_finish(struct job *job)
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

/* --- room for what comes past pwrite --------------------------------------- */

struct room_state {
	struct job job;
	struct tevent_req *req;
};

static struct room_state *room_of(struct job *job)
{
	return (struct room_state *)((char *)job -
				     offsetof(struct room_state, job));
}

static int room_destructor(struct room_state *state)
{
	job_leave(&state->job);
	return 0;
}

static void room_start(struct job *job)
{
	struct room_state *state = room_of(job);

	if (job->tries == 1) {
		job_tried(job, true); /* that it is full is known */
		return;
	}
	job_leave(job);
	tevent_req_done(state->req);
}

static void room_finish(struct job *job)
{
	tevent_req_error(room_of(job)->req, ENOSPC);
}

struct tevent_req *mrmr_make_room_send(TALLOC_CTX *mem_ctx,
				       struct tevent_context *ev,
				       struct vfs_handle_struct *handle,
				       struct files_struct *fsp,
				       uint64_t size_bytes)
{
	struct room_state *state = NULL;
	struct tevent_req *req = NULL;

	req = tevent_req_create(mem_ctx, &state, struct room_state);
	if (req == NULL) {
		return NULL;
	}
	*state = (struct room_state){
		.job =
			{
				.ev = ev,
				.handle = handle,
				.fsp = fsp,
				.end = size_bytes,
				.start = room_start,
				.finish = room_finish,
			},
		.req = req,
	};
	talloc_set_destructor(state, room_destructor);
	if (!job_begin(&state->job)) {
		tevent_req_oom(req);
	}
	if (!tevent_req_is_in_progress(req)) {
		return tevent_req_post(req, ev);
	}
	return req;
}

int mrmr_make_room_recv(struct tevent_req *req)
{
	int error = 0;
	int ret = 0;

	if (tevent_req_is_unix_error(req, &error)) {
		errno = error;
		ret = -1;
	}
	tevent_req_received(req);
	return ret;
}

/* --- operations that end here and now -------------------------------------- */

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

void mrmr_spoil_move(const struct files_struct *fsp)
{
	struct busy_file *file = NULL;

	if (busy_files == NULL) {
		return;
	}
	file = busy_file_find(&fsp->file_id);
	if (file != NULL) {
		file->spoiled = true;
	}
}

/* Beyond this, what was written so far is not copied in smbd's loop: a write
   that finds its member full moves it in a thread. */
#define SMALL_BYTES (4 * 1024 * 1024)

/* What file systems keep for themselves, more or less. */
#define FULL_BYTES (1024 * 1024)

static int move_for(struct vfs_handle_struct *handle, struct files_struct *fsp,
		    uint64_t size_bytes)
{
	if (busy_file_find(&fsp->file_id) != NULL) {
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
	mrmr_spoil_move(fsp);
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
	return allocated <= SMALL_BYTES &&
	       (uint64_t)size >
		       allocated + mrmr_member_room(&pool->members[member]);
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
	mrmr_spoil_move(fsp);
	return SMB_VFS_NEXT_FTRUNCATE(handle, fsp, offset);
}

int mrmr_fallocate(struct vfs_handle_struct *handle, struct files_struct *fsp,
		   uint32_t mode, off_t offset, off_t len)
{
	struct stat st;
	int ret;

	mrmr_spoil_move(fsp);
	ret = SMB_VFS_NEXT_FALLOCATE(handle, fsp, mode, offset, len);
	if (ret == 0 || !mrmr_is_full(errno) ||
	    fstat(fsp_get_io_fd(fsp), &st) == -1) {
		return ret;
	}
	if (move_for(handle, fsp,
		     MAX((uint64_t)st.st_size,
			 (uint64_t)offset + (uint64_t)len)) == -1) {
		return -1;
	}
	return SMB_VFS_NEXT_FALLOCATE(handle, fsp, mode, offset, len);
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
	return move_for(handle, fsp, (uint64_t)st.st_size + size_bytes);
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
