/*
 * MRMR: the Samba module: a file whose member is away is rebuilt for a client that
 * wants to change it.
 *
 * Before it is opened for writing, its bytes are computed and written to a member
 * that is there; then it moves, as a file that is open does (moving.c). For a large
 * file that takes long, and smbd's open must not wait: other requests do. So it is
 * done in threads, some MiB at a time, between which smbd's own thread asks the
 * catalogue for what the next need. The open itself fails with EWOULDBLOCK, which
 * smbd takes for a lease that is being broken: it tries again every second, for a
 * minute at most, while the client knows that its request is pending. The attempt
 * that finds the copy made takes it; one that comes too late for the client leaves it
 * to the next, for a while.
 *
 * Who reads the file meanwhile has the ghost, and goes on with the file when it has
 * moved. The copy has the protected version, which does not change while the member is
 * away; if the ghost's attributes are changed meanwhile, moving fails, and a later
 * open begins anew.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "ghosts.h"
#include "moving.h"
#include "rebuilding.h"

#include <pthread.h>

#include <mrmr/move.h>
#include <mrmr/serve.h>

#include "lib/pthreadpool/pthreadpool_tevent.h"

/* Of files up to this size smbd waits. */
#define AT_ONCE_BYTES (8 * 1024 * 1024)

/* What a thread does before smbd looks again. */
#define PART_BYTES (8 * 1024 * 1024)

/* The protector may change stripes while they are read: then prepare again. */
#define TRIES 4

/* How long a copy waits for somebody to come for it. */
#define KEEP_SECONDS 120

enum rebuilding_state {
	UNDER_WAY,
	COPIED,
	FAILED,
};

struct mrmr_rebuilding {
	struct mrmr_rebuilding *next;
	struct mrmr_share *share;
	struct tevent_context *ev;
	struct pthreadpool_tevent *threads;
	struct mrmr_served *served;
	struct mrmr_move *move;
	struct mrmr_error err;
	char *path; /* for the log */
	uint64_t node;
	uint64_t size_bytes;
	uint64_t done_bytes;
	enum rebuilding_state state;
	unsigned int tries;
	time_t ended;

	/* Of the thread that is at it. */
	pthread_mutex_t lock;
	pthread_cond_t left;
	bool is_in_thread;
	ssize_t got;
	int error;
};

static ssize_t read_prepared(void *buf, size_t len, uint64_t offset,
			     void *private_data)
{
	struct mrmr_rebuilding *r = private_data;

	return mrmr_served_read(r->served, buf, len, offset);
}

static void say_failed(struct mrmr_rebuilding *r, int error)
{
	DBG_ERR("%s lies on a member that is away, and cannot be rebuilt to be "
		"changed: %s\n",
		r->path,
		r->err.text[0] != '\0' ? r->err.text : strerror(error));
}

/* --- beginning and ending ----------------------------------------------------- */

static int rebuilding_destructor(struct mrmr_rebuilding *r)
{
	pthread_mutex_lock(&r->lock);
	while (r->is_in_thread) {
		pthread_cond_wait(&r->left, &r->lock);
	}
	pthread_mutex_unlock(&r->lock);
	pthread_cond_destroy(&r->left);
	pthread_mutex_destroy(&r->lock);
	/* What has not taken effect is removed, which the user may not. */
	become_root();
	TALLOC_FREE(r->move);
	unbecome_root();
	if (r->served != NULL) {
		mrmr_served_put(r->served);
	}
	return 0;
}

static struct mrmr_rebuilding *begin(struct vfs_handle_struct *handle,
				     struct files_struct *fsp,
				     struct mrmr_dir *dir, const char *name,
				     const struct mrmr_ghost *ghost)
{
	struct mrmr_share *share = mrmr_share_of(handle);
	struct mrmr_rebuilding *r = talloc_zero(share, struct mrmr_rebuilding);
	struct mrmr_move_source source = {.read = read_prepared};
	struct stat st = {0};
	int saved_errno;

	if (r == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	r->share = share;
	r->ev = fsp->conn->sconn->ev_ctx;
	r->threads = fsp->conn->sconn->pool;
	r->node = ghost->node;
	r->path = talloc_strdup(r, fsp_str_dbg(fsp));
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->left, NULL);
	talloc_set_destructor(r, rebuilding_destructor);
	source.private_data = r;
	r->served = mrmr_served_get(dir->pool, ghost, &r->err);
	if (r->served != NULL && fstat(fsp_get_pathref_fd(fsp), &st) == 0) {
		r->size_bytes = (uint64_t)st.st_size;
		become_root();
		r->move =
			mrmr_move_begin_ghost(r, dir, name,
					      fsp_get_pathref_fd(fsp), &source);
		saved_errno = errno;
		unbecome_root();
		errno = saved_errno;
	}
	if (r->move == NULL) {
		saved_errno = errno;
		say_failed(r, saved_errno);
		talloc_free(r);
		errno = saved_errno;
		return NULL;
	}
	return r;
}

static void unlink_from_share(struct mrmr_rebuilding *r)
{
	struct mrmr_rebuilding **at = &r->share->rebuildings;

	while (*at != NULL && *at != r) {
		at = &(*at)->next;
	}
	if (*at != NULL) {
		*at = r->next;
	}
}

static void end(struct mrmr_rebuilding *r)
{
	int saved_errno = errno;

	unlink_from_share(r);
	talloc_free(r);
	errno = saved_errno;
}

/* --- copying ------------------------------------------------------------------- */

static void copy_part(void *private_data)
{
	struct mrmr_rebuilding *r = private_data;

	r->got = mrmr_move_copy_part(r->move, r->done_bytes, PART_BYTES);
	r->error = errno;
	pthread_mutex_lock(&r->lock);
	r->is_in_thread = false;
	pthread_cond_signal(&r->left);
	pthread_mutex_unlock(&r->lock);
}

/* By smbd's own thread, before a part. */
static bool prepare(struct mrmr_rebuilding *r)
{
	uint64_t left = r->size_bytes - r->done_bytes;

	return mrmr_served_prepare(r->served, r->done_bytes,
				   left < PART_BYTES ? (size_t)left
						     : PART_BYTES,
				   &r->err) == 0;
}

static void fail(struct mrmr_rebuilding *r, int error)
{
	say_failed(r, error);
	r->state = FAILED;
	r->ended = time_mono(NULL);
}

/* After a part. */
static void count_part(struct mrmr_rebuilding *r)
{
	if (r->got >= 0) {
		r->done_bytes += (uint64_t)r->got;
		r->tries = 0;
	} else if (++r->tries == TRIES) {
		/* who opens it again has another one */
		mrmr_move_blame_target(r->move);
		fail(r, r->error);
	}
	if (r->state == UNDER_WAY && r->done_bytes >= r->size_bytes) {
		r->state = COPIED;
		r->ended = time_mono(NULL);
	}
}

static void copy_in_thread(struct mrmr_rebuilding *r);

static void part_copied(struct tevent_req *subreq)
{
	struct mrmr_rebuilding *r =
		tevent_req_callback_data(subreq, struct mrmr_rebuilding);
	int ret;

	ret = pthreadpool_tevent_job_recv(subreq);
	TALLOC_FREE(subreq);
	if (ret == EAGAIN) {
		/* No thread could be had. */
		copy_part(r);
		ret = 0;
	}
	if (ret != 0) {
		r->is_in_thread = false;
		fail(r, ret);
	} else {
		count_part(r);
	}
	if (r->state == UNDER_WAY) {
		copy_in_thread(r);
	}
}

static void copy_in_thread(struct mrmr_rebuilding *r)
{
	struct tevent_req *subreq = NULL;

	if (!prepare(r)) {
		fail(r, errno);
		return;
	}
	r->is_in_thread = true;
	subreq =
		pthreadpool_tevent_job_send(r, r->ev, r->threads, copy_part, r);
	if (subreq == NULL) {
		r->is_in_thread = false;
		fail(r, ENOMEM);
		return;
	}
	tevent_req_set_callback(subreq, part_copied, r);
}

static void copy_now(struct mrmr_rebuilding *r)
{
	while (r->state == UNDER_WAY) {
		if (!prepare(r)) {
			fail(r, errno);
			break;
		}
		copy_part(r);
		count_part(r);
	}
}

/* --- for who opens ------------------------------------------------------------ */

static struct mrmr_rebuilding *find(const struct mrmr_share *share,
				    uint64_t node)
{
	struct mrmr_rebuilding *r = share->rebuildings;

	while (r != NULL && r->node != node) {
		r = r->next;
	}
	return r;
}

static int take_effect(struct mrmr_rebuilding *r, struct files_struct *fsp)
{
	int saved_errno;
	int ret;

	become_root();
	ret = mrmr_move_take_effect(fsp, r->share->pool, r->move);
	saved_errno = errno;
	unbecome_root();
	if (ret == -1) {
		say_failed(r, saved_errno);
	}
	errno = saved_errno;
	return ret;
}

/* It has come to its end: for better or worse. */
static int take(struct mrmr_rebuilding *r, struct files_struct *fsp)
{
	int ret = -1;

	if (r->state == COPIED) {
		ret = take_effect(r, fsp);
	} else {
		errno = EROFS;
	}
	end(r);
	return ret;
}

int mrmr_rebuild(struct vfs_handle_struct *handle, struct files_struct *fsp,
		 struct mrmr_dir *dir, const char *name, bool can_wait)
{
	struct mrmr_share *share = mrmr_share_of(handle);
	struct mrmr_rebuilding *r = NULL;
	struct mrmr_ghost ghost;

	if (!mrmr_fsp_is_ghost(handle, fsp, &ghost) ||
	    mrmr_is_open_elsewhere(fsp)) {
		errno = EROFS;
		return -1;
	}
	r = find(share, ghost.node);
	if (r == NULL) {
		r = begin(handle, fsp, dir, name, &ghost);
		if (r == NULL) {
			return -1;
		}
		r->next = share->rebuildings;
		share->rebuildings = r;
		if (can_wait && r->size_bytes > AT_ONCE_BYTES) {
			copy_in_thread(r);
		} else {
			copy_now(r);
		}
	}
	if (r->state == UNDER_WAY) {
		errno = EWOULDBLOCK;
		return -1;
	}
	return take(r, fsp);
}

bool mrmr_rebuild_is_under_way(const struct mrmr_share *share,
			       const struct mrmr_ghost *ghost)
{
	const struct mrmr_rebuilding *r = find(share, ghost->node);

	return r != NULL && r->state == UNDER_WAY;
}

void mrmr_rebuilding_look(struct mrmr_share *share)
{
	struct mrmr_rebuilding *r = share->rebuildings;

	while (r != NULL) {
		struct mrmr_rebuilding *next = r->next;

		if (r->state != UNDER_WAY &&
		    time_mono(NULL) - r->ended > KEEP_SECONDS) {
			end(r);
		}
		r = next;
	}
}

void mrmr_rebuilding_end(struct mrmr_share *share)
{
	while (share->rebuildings != NULL) {
		end(share->rebuildings);
	}
}
