/*
 * MRMR: the Samba module: room for what is written, when the member is full.
 *
 * A write is Samba's own. Only when it fails for want of room, or is cut short
 * by it, does the file move to a member that has some, and the write is done
 * again there.
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
#include "room.h"

#include "lib/util/tevent_unix.h"

#define TRIES 8 /* members may fill up one after the other */

/* A file with writes under way. */
struct busy_file {
	struct busy_file *prev, *next;
	struct file_id id;
	unsigned int under_way;
	struct mrmr_job *waiting; /* for a move, which is to come or on */
	struct tevent_req *move;
	unsigned int move_tries;
	bool spoiled; /* changed while it was copied */
};

static struct busy_file *busy_files;

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

void mrmr_job_leave(struct mrmr_job *job)
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

static void job_start(struct mrmr_job *job)
{
	job->tries++;
	job->under_way = true;
	job->file->under_way++;
	job->start(job);
}

static void job_wait(struct mrmr_job *job)
{
	job->under_way = false;
	DLIST_ADD_END(job->file->waiting, job);
}

/* It starts now, or after the move. False: out of memory. */
bool mrmr_job_begin(struct mrmr_job *job)
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
void mrmr_job_tried(struct mrmr_job *job, bool full)
{
	struct busy_file *file = job->file;

	job->full = full && job->tries < TRIES;
	if (!job->full) {
		mrmr_job_leave(job);
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
	struct mrmr_job *first = file->waiting;
	struct mrmr_job *job = NULL;
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
	struct mrmr_job *waiting = file->waiting;

	file->waiting = NULL;
	/* file stays while this function counts as a user of it. */
	file->under_way++;
	while (waiting != NULL) {
		struct mrmr_job *job = waiting;

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

/* --- room for what comes past pwrite --------------------------------------- */

struct room_state {
	struct mrmr_job job;
	struct tevent_req *req;
};

static struct room_state *room_of(struct mrmr_job *job)
{
	return (struct room_state *)((char *)job -
				     offsetof(struct room_state, job));
}

static int room_destructor(struct room_state *state)
{
	mrmr_job_leave(&state->job);
	return 0;
}

static void room_start(struct mrmr_job *job)
{
	struct room_state *state = room_of(job);

	if (job->tries == 1) {
		mrmr_job_tried(job, true); /* that it is full is known */
		return;
	}
	mrmr_job_leave(job);
	tevent_req_done(state->req);
}

static void room_finish(struct mrmr_job *job)
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
	if (!mrmr_job_begin(&state->job)) {
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

int mrmr_move_for(struct vfs_handle_struct *handle, struct files_struct *fsp,
		  uint64_t size_bytes)
{
	if (busy_file_find(&fsp->file_id) != NULL) {
		errno = ENOSPC;
		return -1;
	}
	return mrmr_move_now(handle, fsp, size_bytes);
}
