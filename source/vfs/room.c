/*
 * MRMR: the Samba module: room for what is written, when the member is full.
 *
 * A write is Samba's own. Only when it fails for want of room, or is cut short
 * by it, is room made, and the write is done again. If there is enough in the
 * member's trash, the protector is asked for it (nobody else may remove what is
 * there), for some seconds. Else the file moves to a member that has room.
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
#include "protecting.h"
#include "room.h"

#include <mrmr/move.h>
#include <mrmr/protection.h>
#include <mrmr/protector.h>

#include <poll.h>
#include <sys/statvfs.h>

#include "lib/util/tevent_unix.h"

#define TRIES 8     /* of a write; members may fill up one after the other */
#define ASK_TRIES 4 /* of them, that may ask for room in the trash */

/* A file with writes under way. */
struct busy_file {
	struct busy_file *prev, *next;
	struct file_id id;
	unsigned int under_way;
	struct mrmr_job *waiting; /* for a move, which is to come or on */
	struct tevent_req *move;
	unsigned int move_tries;
	bool spoiled;       /* changed while it was copied */
	int64_t refused_ns; /* when it last asked in vain, 0: never */
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

/* --- room in the trash ------------------------------------------------------ */

/* What a write takes that overwrites: its pre-images, and some more. */
#define SPARE_BYTES (16 * 1024 * 1024)

/* So that not every write has to ask. */
#define MORE_BYTES (64 * 1024 * 1024)

#define ASK_MS 100
#define ASK_TIMES 100
/* Where the whole of smbd waits, and no protector has anything to do. */
#define ASK_TIMES_IDLE 30

static bool may_still_come(const struct mrmr_pool *pool, unsigned int times)
{
	return times < ASK_TIMES_IDLE ||
	       (times < ASK_TIMES && mrmr_protector_is_at_work(pool));
}

static uint64_t free_bytes(int fd)
{
	struct statvfs st;

	if (fstatvfs(fd, &st) == -1) {
		return 0;
	}
	return (uint64_t)st.f_bavail * st.f_frsize;
}

/* How much will have to be free, 0: there is too little in the trash. */
static uint64_t ask_for_room(struct vfs_handle_struct *handle,
			     const struct files_struct *fsp,
			     uint64_t growth_bytes)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	int fd = fsp_get_pathref_fd(fsp);
	uint64_t need_bytes = growth_bytes + SPARE_BYTES;
	char path[MRMR_PATH_MAX];
	uint64_t in_trash;
	uint64_t most;
	size_t member;

	if (pool == NULL || pool->guard == NULL ||
	    mrmr_file_locate(pool, fd, &member, path) == -1) {
		return 0;
	}
	in_trash = mrmr_room_reclaimable(pool, member);
	most = free_bytes(fd) + in_trash;
	if (in_trash == 0 || most <= growth_bytes) {
		return 0;
	}
	mrmr_room_ask(pool, member, need_bytes + MORE_BYTES);
	mrmr_protecting_start(mrmr_share_of(handle));
	return MIN(need_bytes, most);
}

int mrmr_wait_for_room(struct vfs_handle_struct *handle,
		       struct files_struct *fsp, uint64_t growth_bytes)
{
	struct mrmr_pool *pool = mrmr_share_of(handle)->pool;
	uint64_t need_bytes = ask_for_room(handle, fsp, growth_bytes);
	unsigned int times;

	for (times = 0; need_bytes > 0 && may_still_come(pool, times);
	     times++) {
		if (free_bytes(fsp_get_pathref_fd(fsp)) >= need_bytes) {
			return 0;
		}
		poll(NULL, 0, ASK_MS);
	}
	errno = ENOSPC;
	return -1;
}

bool mrmr_may_have_room(struct vfs_handle_struct *handle, uint64_t need_bytes,
			unsigned int *tries)
{
	/* The caller has a directory in hand, which must stay. */
	struct mrmr_pool *pool = mrmr_share_of(handle)->pool;
	bool asked = false;
	size_t i;

	if (pool->guard == NULL || !may_still_come(pool, *tries)) {
		errno = ENOSPC;
		return false;
	}
	for (i = 0; *tries == 0 && i < pool->num_members; i++) {
		if (pool->members[i].state == MRMR_MEMBER_ONLINE &&
		    mrmr_room_reclaimable(pool, i) > 0) {
			mrmr_room_ask(pool, i, need_bytes + MORE_BYTES);
			asked = true;
		}
	}
	if (*tries == 0 && !asked) {
		errno = ENOSPC;
		return false;
	}
	if (asked) {
		mrmr_protecting_start(mrmr_share_of(handle));
	}
	poll(NULL, 0, ASK_MS);
	(*tries)++;
	return true;
}

struct ask_state {
	struct tevent_context *ev;
	int fd; /* its own: the file may be closed meanwhile */
	uint64_t need_bytes;
	unsigned int times;
};

static int ask_destructor(struct ask_state *state)
{
	close(state->fd);
	return 0;
}

static void ask_again(struct tevent_req *subreq);

static struct tevent_req *ask_send(TALLOC_CTX *mem_ctx,
				   struct tevent_context *ev, int fd,
				   uint64_t need_bytes)
{
	struct ask_state *state = NULL;
	struct tevent_req *subreq = NULL;
	struct tevent_req *req = NULL;

	req = tevent_req_create(mem_ctx, &state, struct ask_state);
	if (req == NULL) {
		return NULL;
	}
	state->ev = ev;
	state->need_bytes = need_bytes;
	state->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (state->fd == -1) {
		tevent_req_error(req, errno);
		return tevent_req_post(req, ev);
	}
	talloc_set_destructor(state, ask_destructor);
	subreq =
		tevent_wakeup_send(state, ev, timeval_current_ofs_msec(ASK_MS));
	if (tevent_req_nomem(subreq, req)) {
		return tevent_req_post(req, ev);
	}
	tevent_req_set_callback(subreq, ask_again, req);
	return req;
}

static void ask_again(struct tevent_req *subreq)
{
	struct tevent_req *req =
		tevent_req_callback_data(subreq, struct tevent_req);
	struct ask_state *state = tevent_req_data(req, struct ask_state);

	tevent_wakeup_recv(subreq);
	TALLOC_FREE(subreq);
	if (free_bytes(state->fd) >= state->need_bytes) {
		tevent_req_done(req);
		return;
	}
	if (++state->times == ASK_TIMES) {
		tevent_req_error(req, ENOSPC);
		return;
	}
	subreq = tevent_wakeup_send(state, state->ev,
				    timeval_current_ofs_msec(ASK_MS));
	if (tevent_req_nomem(subreq, req)) {
		return;
	}
	tevent_req_set_callback(subreq, ask_again, req);
}

/* --- room elsewhere --------------------------------------------------------- */

static void asked(struct tevent_req *subreq);
static void moved(struct tevent_req *subreq);
static void go_on(struct busy_file *file, bool has_room);

/* Others may have been quicker to take what was had, so it is asked for several
   times; not at once again if it was not had. */
static bool start_asking(struct busy_file *file, uint64_t growth_bytes)
{
	struct mrmr_job *first = file->waiting;
	uint64_t need_bytes;

	if (first->tries > ASK_TRIES ||
	    (file->refused_ns != 0 &&
	     mrmr_now_ns() - file->refused_ns < INT64_C(1000000000))) {
		return false;
	}
	need_bytes = ask_for_room(first->handle, first->fsp, growth_bytes);
	if (need_bytes == 0) {
		return false;
	}
	file->move = ask_send(file, first->ev, fsp_get_pathref_fd(first->fsp),
			      need_bytes);
	if (file->move == NULL) {
		return false;
	}
	tevent_req_set_callback(file->move, asked, file);
	return true;
}

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
	if (start_asking(file, size - (uint64_t)st.st_size)) {
		return;
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

static void asked(struct tevent_req *subreq)
{
	struct busy_file *file =
		tevent_req_callback_data(subreq, struct busy_file);
	int error = 0;
	bool has_room = !tevent_req_is_unix_error(subreq, &error);

	TALLOC_FREE(subreq);
	file->move = NULL;
	file->refused_ns = has_room ? 0 : mrmr_now_ns();
	if (has_room || file->waiting == NULL) {
		go_on(file, has_room);
		return;
	}
	start_move(file);
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
	    ++file->move_tries < MRMR_MOVE_TRIES) {
		start_move(file);
		return;
	}
	file->move_tries = 0;
	go_on(file, ret == 0);
}

/* Those that came during the move have not failed yet. */
static void go_on(struct busy_file *file, bool has_room)
{
	struct mrmr_job *waiting = file->waiting;

	file->waiting = NULL;
	/* file stays while this function counts as a user of it. */
	file->under_way++;
	while (waiting != NULL) {
		struct mrmr_job *job = waiting;

		DLIST_REMOVE(waiting, job);
		if (job->full && !has_room) {
			job->file = NULL;
			job->finish(job);
			continue;
		}
		if (has_room && job->tries == 0) {
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

/* --- for operations that end here and now ---------------------------------- */

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

int mrmr_make_room_now(struct vfs_handle_struct *handle,
		       struct files_struct *fsp, uint64_t end)
{
	struct stat st;
	uint64_t size;

	if (fstat(fsp_get_pathref_fd(fsp), &st) == -1) {
		return -1;
	}
	size = MAX(end, (uint64_t)st.st_size);
	if (mrmr_wait_for_room(handle, fsp, size - (uint64_t)st.st_size) == 0) {
		return 0;
	}
	return mrmr_move_for(handle, fsp, size);
}
