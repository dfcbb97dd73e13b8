/*
 * MRMR: the Samba module: what is protected is kept before it changes.
 *
 * Invariant 2: no protected byte is destroyed before parity has stopped
 * depending on it. smbd destroys bytes of a file that it has open by writing,
 * cutting it, punching holes, and copying within the server; each of these
 * hooks asks here first. (Files that are deleted or replaced: mrmr/trash.h.)
 *
 * What is known of a file is kept by its descriptor, not by smbd's fsp: several
 * fsps may share one, and an fsp has a second one for a moment while it is
 * opened again. A descriptor that smbd got past the module has no entry, but
 * none of those is open for writing.
 *
 * A file that holds nothing protected when it is opened will not until it is
 * closed (mrmr/guard.h), so it costs a look into the guard's table at the open,
 * and a look into an array at each write. A file that was made by the open
 * itself is not even looked for.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "guarding.h"
#include "telling.h"

#include "lib/pthreadpool/pthreadpool_tevent.h"
#include "lib/util/tevent_unix.h"

struct mrmr_writers mrmr_writers;

/* --- files that are open for writing --------------------------------------- */

static struct mrmr_writer *writer_make(int fd)
{
	struct mrmr_writer *list = mrmr_writers.list;
	int num = mrmr_writers.num;

	if (fd >= num) {
		num = MAX(2 * num, fd + 64);
		list = realloc(list, (size_t)num * sizeof(*list));
		if (list == NULL) {
			errno = ENOMEM;
			return NULL;
		}
		memset(list + mrmr_writers.num, 0,
		       (size_t)(num - mrmr_writers.num) * sizeof(*list));
		mrmr_writers.list = list;
		mrmr_writers.num = num;
	}
	list[fd] = (struct mrmr_writer){.is_used = true};
	return &list[fd];
}

static void let_go(struct mrmr_writer *writer)
{
	/* Whoever keeps something just now holds on to it. */
	if (writer->undo != NULL) {
		talloc_unlink(NULL, writer->undo);
		writer->undo = NULL;
	}
}

void mrmr_writer_closed(int fd)
{
	struct mrmr_writer *writer = mrmr_writer_of(fd);

	if (writer != NULL) {
		let_go(writer);
		writer->is_used = false;
	}
}

/* The protected bytes stay with the old file, which is in the trash. */
void mrmr_writer_moved(int fd)
{
	struct mrmr_writer *writer = mrmr_writer_of(fd);

	if (writer != NULL) {
		let_go(writer);
		writer->is_told = false;
	}
}

/* A file that somebody has put into the spine is no member's. */
static bool is_in_spine(const struct mrmr_pool *pool, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_dev == pool->spine_dev;
}

int mrmr_writer_opened(struct mrmr_pool *pool, int fd, bool is_new)
{
	struct mrmr_writer *writer = NULL;

	mrmr_writer_closed(fd);
	writer = writer_make(fd);
	if (writer == NULL) {
		return -1;
	}
	if (is_new) {
		return 0;
	}
	if (mrmr_undo_open(NULL, pool, fd, &writer->undo) == -1 &&
	    (errno != ENODEV || !is_in_spine(pool, fd))) {
		int saved_errno = errno;

		mrmr_writer_closed(fd);
		errno = saved_errno;
		return -1;
	}
	return 0;
}

/* --- keeping in a thread --------------------------------------------------- */

/* Lives until the thread is done with it, whoever has gone meanwhile. */
struct keeping {
	struct tevent_req *req; /* who waits; NULL: nobody any more */
	struct mrmr_undo *undo; /* referenced */
	uint64_t offset;
	uint64_t len;
	int error;
};

struct keep_state {
	struct keeping *keeping;
};

static void keep_in_thread(void *private_data);
static void kept(struct tevent_req *subreq);

static int keep_state_destructor(struct keep_state *state)
{
	if (state->keeping != NULL) {
		state->keeping->req = NULL;
	}
	return 0;
}

struct tevent_req *mrmr_keep_send(TALLOC_CTX *mem_ctx,
				  struct tevent_context *ev,
				  struct vfs_handle_struct *handle,
				  struct files_struct *fsp, off_t offset,
				  uint64_t len)
{
	struct mrmr_writer *writer = mrmr_writer_of(fsp_get_pathref_fd(fsp));
	struct keep_state *state = NULL;
	struct keeping *keeping = NULL;
	struct tevent_req *subreq = NULL;
	struct tevent_req *req = NULL;

	req = tevent_req_create(mem_ctx, &state, struct keep_state);
	if (req == NULL) {
		return NULL;
	}
	if (writer == NULL || writer->undo == NULL) {
		tevent_req_done(req);
		return tevent_req_post(req, ev);
	}
	keeping = talloc_zero(NULL, struct keeping);
	if (tevent_req_nomem(keeping, req)) {
		return tevent_req_post(req, ev);
	}
	keeping->req = req;
	keeping->offset = (uint64_t)offset;
	keeping->len = len;
	keeping->undo = talloc_reference(keeping, writer->undo);
	if (tevent_req_nomem(keeping->undo, req)) {
		TALLOC_FREE(keeping);
		return tevent_req_post(req, ev);
	}
	subreq = pthreadpool_tevent_job_send(keeping, ev,
					     handle->conn->sconn->pool,
					     keep_in_thread, keeping);
	if (tevent_req_nomem(subreq, req)) {
		TALLOC_FREE(keeping);
		return tevent_req_post(req, ev);
	}
	tevent_req_set_callback(subreq, kept, keeping);
	state->keeping = keeping;
	talloc_set_destructor(state, keep_state_destructor);
	return req;
}

static void keep_in_thread(void *private_data)
{
	struct keeping *keeping = private_data;

	if (mrmr_undo_keep(keeping->undo, keeping->offset, keeping->len) ==
	    -1) {
		keeping->error = errno;
	}
}

static void kept(struct tevent_req *subreq)
{
	struct keeping *keeping =
		tevent_req_callback_data(subreq, struct keeping);
	struct tevent_req *req = keeping->req;
	int error;

	error = pthreadpool_tevent_job_recv(subreq);
	TALLOC_FREE(subreq);
	if (error == EAGAIN && req != NULL) {
		/* No thread could be had. */
		keep_in_thread(keeping);
		error = 0;
	}
	if (error == 0) {
		error = keeping->error;
	}
	if (req != NULL) {
		struct keep_state *state =
			tevent_req_data(req, struct keep_state);

		state->keeping = NULL;
	}
	TALLOC_FREE(keeping);
	if (req == NULL) {
		return;
	}
	if (error != 0) {
		tevent_req_error(req, error);
		return;
	}
	tevent_req_done(req);
}

int mrmr_keep_recv(struct tevent_req *req, int *perrno)
{
	int ret = tevent_req_is_unix_error(req, perrno) ? -1 : 0;

	tevent_req_received(req);
	return ret;
}

/* --- keeping here and now -------------------------------------------------- */

int mrmr_keep_now(struct files_struct *fsp, off_t offset, uint64_t len)
{
	if (!mrmr_must_keep(fsp, offset, len)) {
		return 0;
	}
	return mrmr_undo_keep(mrmr_writer_of(fsp_get_pathref_fd(fsp))->undo,
			      (uint64_t)offset, len);
}

int mrmr_keep_cut_now(struct vfs_handle_struct *handle, int fd, off_t size)
{
	struct mrmr_writer *writer = mrmr_writer_of(fd);
	bool lost = false;
	struct stat st;

	if (writer == NULL || writer->undo == NULL) {
		return 0;
	}
	if (fstat(fd, &st) == -1) {
		return -1;
	}
	/* What others write beyond its end meanwhile is not protected. */
	if (size >= st.st_size) {
		return 0;
	}
	if (mrmr_undo_keep_cut(writer->undo, (uint64_t)size, &lost) == -1) {
		return -1;
	}
	if (lost) {
		mrmr_tell_lost(handle, fd);
	}
	return 0;
}
