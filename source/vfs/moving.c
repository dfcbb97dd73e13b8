/*
 * MRMR: the Samba module: moving a file that smbd has open.
 *
 * smbd, its locks, leases and share modes know a file by its id and its
 * handles by their descriptors. So the file moves below them: the replacement
 * for each descriptor of this process is opened before the move takes effect
 * and put in its place (dup3) right after it, and the new inode is entered in
 * the pool's shared page as the old id's.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "ghosts.h"
#include "guarding.h"
#include "moving.h"
#include "numbers.h"

#include <mrmr/fd_path.h>
#include <mrmr/log.h>
#include <mrmr/marker.h>
#include <mrmr/move.h>
#include <mrmr/serve.h>
#include <mrmr/shared.h>

#include "lib/pthreadpool/pthreadpool_tevent.h"
#include "lib/util/tevent_unix.h"
#include "locking/share_mode_lock.h"
#include "messages.h"

bool mrmr_is_full(int error)
{
	return error == ENOSPC || error == EDQUOT;
}

bool mrmr_is_open_elsewhere(struct files_struct *fsp)
{
	struct mrmr_users users =
		mrmr_users_of(fsp->conn->sconn->msg_ctx, fsp->file_id);

	if (users.others) {
		DBG_WARNING("%s cannot move to another member while several "
			    "clients have it open\n",
			    fsp_str_dbg(fsp));
	}
	return users.others;
}

/* A descriptor, and the one that will take its place. */
struct replacement {
	int fd;
	int new_fd;
};

struct replacements {
	struct stat old;
	int new_fd;
	struct replacement *list;
	size_t num;
	bool failed;
};

static struct files_struct *prepare_one(struct files_struct *fsp,
					void *private_data)
{
	struct replacements *r = private_data;
	char proc_path[MRMR_FD_LINK_LEN];
	struct stat st;
	int fd = fsp_get_pathref_fd(fsp);
	int flags;

	if (fd < 0 || fstat(fd, &st) == -1 || st.st_ino != r->old.st_ino ||
	    st.st_dev != r->old.st_dev) {
		return NULL;
	}
	r->list = talloc_realloc(talloc_tos(), r->list, struct replacement,
				 r->num + 1);
	flags = fcntl(fd, F_GETFL);
	if (r->list == NULL || flags == -1) {
		r->failed = true;
		return fsp;
	}
	flags &= O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_PATH;
	r->list[r->num] = (struct replacement){
		.fd = fd,
		.new_fd = open(mrmr_fd_link(r->new_fd, proc_path),
			       flags | O_CLOEXEC),
	};
	if (r->list[r->num].new_fd == -1) {
		r->failed = true;
		return fsp;
	}
	r->num++;
	return NULL; /* go on */
}

static void put_in_place(struct replacements *r, bool moved)
{
	size_t i;

	for (i = 0; i < r->num; i++) {
		if (moved &&
		    dup3(r->list[i].new_fd, r->list[i].fd, O_CLOEXEC) == -1) {
			/* Only EBADF and EINTR are left to fail with, and
			   both descriptors are open. */
			smb_panic("mrmr: dup3 of an open descriptor failed");
		}
		if (moved) {
			mrmr_writer_moved(r->list[i].fd);
		}
		close(r->list[i].new_fd);
	}
	TALLOC_FREE(r->list);
}

/* The moment of the move: names, then descriptors. With the share modes locked. */
static int swap_locked(struct files_struct *fsp, struct mrmr_pool *pool,
		       struct mrmr_move *move, struct replacements *r)
{
	struct mrmr_shared *shared = pool->shared;
	struct mrmr_number known = mrmr_number_of_id(&fsp->file_id);
	struct mrmr_number old_number =
		mrmr_number_of_file(pool, &r->old, fsp_get_pathref_fd(fsp));
	struct mrmr_number new_number;
	struct mrmr_number unused;
	struct stat now;
	size_t member;
	int saved_errno;
	int new_fd;

	if (fstat(r->new_fd, &now) == -1) {
		return -1;
	}
	new_number = mrmr_number_of(pool, &now);
	unused = mrmr_known_by(shared, new_number);

	/* Two entries may be needed. */
	if (atomic_load(&shared->num_moves) + 2 > MRMR_MOVES_MAX) {
		mrmr_forget_unused_numbers(shared);
	}
	if (atomic_load(&shared->num_moves) + 2 > MRMR_MOVES_MAX ||
	    !mrmr_same_number(mrmr_known_by(shared, old_number), known) ||
	    !mrmr_set_known_by(shared, new_number, known)) {
		errno = ENOSPC;
		return -1;
	}
	atomic_store(&shared->moved_ns, mrmr_now_ns());
	if (mrmr_is_open_elsewhere(fsp)) {
		errno = ENOSPC;
	} else if (mrmr_move_finish(move, &new_fd, &member) == 0) {
		/* While our descriptors hold the old inode, nobody can get
		   it: when they let go, its number is known. */
		mrmr_set_known_by(shared, old_number, unused);
		put_in_place(r, true);
		close(new_fd);
		return 0;
	}
	saved_errno = errno;
	mrmr_set_known_by(shared, new_number, unused);
	errno = saved_errno;
	return -1;
}

/* Another smbd that opens the file enters its share mode before this, and is seen;
   or waits, and sees that the file has moved (mrmr_has_moved_away()). A file that
   is only looked at has no share modes. */
static int swap(struct files_struct *fsp, struct mrmr_pool *pool,
		struct mrmr_move *move, struct replacements *r)
{
	struct share_mode_lock *lock =
		get_existing_share_mode_lock(talloc_tos(), fsp->file_id);
	int ret = swap_locked(fsp, pool, move, r);
	int saved_errno = errno;

	TALLOC_FREE(lock);
	errno = saved_errno;
	return ret;
}

int mrmr_move_take_effect(struct files_struct *fsp, struct mrmr_pool *pool,
			  struct mrmr_move *move)
{
	struct replacements r = {.new_fd = mrmr_move_new_fd(move)};
	int saved_errno;

	if (fstat(fsp_get_pathref_fd(fsp), &r.old) == -1) {
		return -1;
	}
	files_forall(fsp->conn->sconn, prepare_one, &r);
	if (!r.failed && swap(fsp, pool, move, &r) == 0) {
		return 0;
	}
	saved_errno = errno;
	put_in_place(&r, false);
	errno = saved_errno;
	return -1;
}

/* --- for those who open --------------------------------------------------------- */

/* No open takes longer from the first look to the last. */
#define RECENT_NS (INT64_C(60) * 1000000000)

/* Nothing leads to it but descriptors, and the trash. */
static bool has_no_name(int fd, const struct stat *st)
{
	char path[PATH_MAX];

	return st->st_nlink == 0 ||
	       (mrmr_fd_path(fd, path, sizeof(path)) == 0 &&
		strstr(path, "/" MRMR_DIR "/") != NULL);
}

bool mrmr_has_moved_away(struct vfs_handle_struct *handle,
			 struct files_struct *fsp)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_place place;
	struct stat found;
	struct stat st;
	int64_t moved_ns;
	size_t member;
	int fd = fsp_get_pathref_fd(metadata_fsp(fsp));

	if (pool == NULL || fd == -1) {
		return false;
	}
	moved_ns = atomic_load(&pool->shared->moved_ns);
	if (moved_ns == 0 || mrmr_now_ns() - moved_ns > RECENT_NS ||
	    fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) ||
	    !has_no_name(fd, &st)) {
		return false;
	}
	return mrmr_place_at(pool, NULL, fsp->fsp_name, &place) == 0 &&
	       mrmr_name_find(place.dir, place.name, &member, &found) == 0 &&
	       (found.st_ino != st.st_ino || found.st_dev != st.st_dev);
}

/* --- one that is on a full member ------------------------------------------------- */

/* Where all are full, that is nothing to warn of. */
static void say_cannot(const struct files_struct *fsp, const char *what,
		       int error)
{
	if (mrmr_is_full(error)) {
		DBG_NOTICE("%s is on a full member and %s: %s\n",
			   fsp_str_dbg(fsp), what, strerror(error));
	} else {
		DBG_WARNING("%s is on a full member and %s: %s\n",
			    fsp_str_dbg(fsp), what, strerror(error));
	}
}

static struct mrmr_move *begin(struct vfs_handle_struct *handle,
			       TALLOC_CTX *mem_ctx, struct files_struct *fsp,
			       uint64_t size_bytes)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_move *move = NULL;
	int saved_errno;

	if (pool == NULL || mrmr_is_open_elsewhere(fsp)) {
		return NULL;
	}
	become_root();
	move = mrmr_move_begin(mem_ctx, pool, fsp_get_pathref_fd(fsp),
			       size_bytes);
	saved_errno = errno;
	unbecome_root();
	if (move == NULL) {
		say_cannot(fsp, "cannot move to another", saved_errno);
	}
	return move;
}

/* What has not taken effect is removed, which the user may not. */
static void end(struct mrmr_move **move)
{
	int saved_errno = errno;

	become_root();
	TALLOC_FREE(*move);
	unbecome_root();
	errno = saved_errno;
}

/* EBUSY: it may go better the next time. */
static int finish(struct vfs_handle_struct *handle, struct files_struct *fsp,
		  struct mrmr_move *move)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	int saved_errno;
	int ret;

	become_root();
	ret = mrmr_move_take_effect(fsp, pool, move);
	saved_errno = errno;
	unbecome_root();
	if (ret == -1 && saved_errno != EBUSY) {
		DBG_WARNING("%s is on a full member and could not move to "
			    "another: %s\n",
			    fsp_str_dbg(fsp), strerror(saved_errno));
		saved_errno = ENOSPC;
	}
	errno = saved_errno;
	return ret;
}

/* Others may have filled the member that was chosen, or it takes nothing: the next
   time it is another one, or none. */
static int why_not_copied(const struct files_struct *fsp,
			  struct mrmr_move *move, int error)
{
	bool is_targets = mrmr_move_blame_target(move);

	say_cannot(fsp, "could not be copied to another", error);
	return is_targets || mrmr_is_full(error) ? EBUSY : ENOSPC;
}

/* 0 or an errno value. */
static int move_once(struct vfs_handle_struct *handle, struct files_struct *fsp,
		     uint64_t size_bytes)
{
	struct mrmr_move *move = begin(handle, NULL, fsp, size_bytes);
	int error;

	if (move == NULL) {
		return ENOSPC;
	}
	become_root();
	error = mrmr_move_copy(move) == 0 ? 0 : errno;
	unbecome_root();
	if (error != 0) {
		error = why_not_copied(fsp, move, error);
	} else if (finish(handle, fsp, move) == -1) {
		error = errno;
	}
	end(&move);
	return error;
}

int mrmr_move_now(struct vfs_handle_struct *handle, struct files_struct *fsp,
		  uint64_t size_bytes)
{
	unsigned int tries = 0;
	int error;

	do {
		error = move_once(handle, fsp, size_bytes);
	} while (error == EBUSY && ++tries < MRMR_MOVE_TRIES);
	if (error != 0) {
		errno = ENOSPC;
		return -1;
	}
	return 0;
}

/* --- a ghost whose member is back ---------------------------------------------- */

int mrmr_ghost_follow(struct vfs_handle_struct *handle,
		      struct files_struct *fsp, const struct mrmr_ghost *ghost)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct replacements r = {.failed = false};
	bool moved = false;

	/* Handles that may write keep theirs: there are none of a ghost. */
	r.new_fd = mrmr_serve_open_returned(pool, ghost, O_RDONLY);
	if (r.new_fd == -1) {
		return -1;
	}
	become_root();
	if (fstat(fsp_get_pathref_fd(fsp), &r.old) == 0) {
		files_forall(fsp->conn->sconn, prepare_one, &r);
		moved = !r.failed;
	}
	put_in_place(&r, moved);
	unbecome_root();
	close(r.new_fd);
	return moved ? 0 : -1;
}

/* --- in a thread ----------------------------------------------------------------- */

struct move_state {
	struct vfs_handle_struct *handle;
	struct files_struct *fsp;
	const bool *spoiled;
	struct mrmr_move *move;
	int copy_error;
};

static void copy_in_thread(void *private_data);
static void move_copied(struct tevent_req *subreq);

/* A thread cannot be stopped: what it works on must stay until it is done. */
static int busy(struct move_state *state)
{
	return -1;
}

struct tevent_req *mrmr_move_send(TALLOC_CTX *mem_ctx,
				  struct tevent_context *ev,
				  struct vfs_handle_struct *handle,
				  struct files_struct *fsp, uint64_t size_bytes,
				  const bool *spoiled)
{
	struct tevent_req *subreq = NULL;
	struct tevent_req *req = NULL;
	struct move_state *state = NULL;

	req = tevent_req_create(mem_ctx, &state, struct move_state);
	if (req == NULL) {
		return NULL;
	}
	state->handle = handle;
	state->fsp = fsp;
	state->spoiled = spoiled;
	state->move = begin(handle, state, fsp, size_bytes);
	if (state->move == NULL) {
		tevent_req_error(req, ENOSPC);
		return tevent_req_post(req, ev);
	}
	subreq = pthreadpool_tevent_job_send(state, ev,
					     handle->conn->sconn->pool,
					     copy_in_thread, state);
	if (tevent_req_nomem(subreq, req)) {
		return tevent_req_post(req, ev);
	}
	tevent_req_set_callback(subreq, move_copied, req);
	talloc_set_destructor(state, busy);
	return req;
}

static void copy_in_thread(void *private_data)
{
	struct move_state *state = private_data;

	state->copy_error = mrmr_move_copy(state->move) == 0 ? 0 : errno;
}

static void move_copied(struct tevent_req *subreq)
{
	struct tevent_req *req =
		tevent_req_callback_data(subreq, struct tevent_req);
	struct move_state *state = tevent_req_data(req, struct move_state);
	int error = 0;
	int ret;

	ret = pthreadpool_tevent_job_recv(subreq);
	TALLOC_FREE(subreq);
	talloc_set_destructor(state, NULL);
	if (ret == EAGAIN) {
		/* No thread could be had. */
		copy_in_thread(state);
		ret = 0;
	}
	if (ret != 0) {
		error = ENOSPC;
	} else if (state->copy_error != 0) {
		error = why_not_copied(state->fsp, state->move,
				       state->copy_error);
	} else if (*state->spoiled) {
		error = EBUSY;
	} else if (finish(state->handle, state->fsp, state->move) == -1) {
		error = errno;
	}
	end(&state->move);
	if (error != 0) {
		tevent_req_error(req, error);
		return;
	}
	tevent_req_done(req);
}

int mrmr_move_recv(struct tevent_req *req, int *perrno)
{
	if (tevent_req_is_unix_error(req, perrno)) {
		tevent_req_received(req);
		return -1;
	}
	tevent_req_received(req);
	return 0;
}
