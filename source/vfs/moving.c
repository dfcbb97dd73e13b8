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
#include "moving.h"

#include <mrmr/log.h>
#include <mrmr/move.h>
#include <mrmr/shared.h>

#include "lib/pthreadpool/pthreadpool_tevent.h"
#include "lib/util/server_id.h"
#include "lib/util/tevent_unix.h"
#include "librpc/gen_ndr/open_files.h"
#include "locking/share_mode_lock.h"
#include "messages.h"

bool mrmr_is_full(int error)
{
	return error == ENOSPC || error == EDQUOT;
}

struct users {
	struct server_id self;
	bool any;
	bool others;
};

static bool look_at_user(struct share_mode_entry *e, bool *modified,
			 void *private_data)
{
	struct users *users = private_data;

	users->any = true;
	if (!server_id_equal(&e->pid, &users->self)) {
		users->others = true;
	}
	return users->others; /* true ends the walk */
}

static struct users users_of(struct messaging_context *msg_ctx,
			     struct file_id id)
{
	struct users users = { .any = false };
	struct share_mode_lock *lck = NULL;

	if (msg_ctx != NULL) {
		users.self = messaging_server_id(msg_ctx);
	}
	lck = fetch_share_mode_unlocked(talloc_tos(), id);
	if (lck != NULL) {
		share_mode_forall_entries(lck, look_at_user, &users);
		TALLOC_FREE(lck);
	}
	return users;
}

static bool is_open_elsewhere(struct files_struct *fsp)
{
	struct users users = users_of(fsp->conn->sconn->msg_ctx, fsp->file_id);

	if (users.others) {
		DBG_WARNING("%s is on a full member and cannot move to "
			    "another while several clients have it open\n",
			    fsp_str_dbg(fsp));
	}
	return users.others;
}

static struct mrmr_shared_move *add_move(struct mrmr_pool *pool,
					 const struct stat *now,
					 const struct file_id *was)
{
	struct mrmr_shared *shared = pool->shared;
	size_t i;

	for (i = 0; i < MRMR_MOVES_MAX; i++) {
		struct mrmr_shared_move *move = &shared->moves[i];
		uint32_t unused = 0;

		/* 2: being filled in, not valid yet */
		if (!atomic_compare_exchange_strong(&move->used, &unused, 2)) {
			continue;
		}
		move->now_device = mrmr_pool_device_id(pool, now->st_dev);
		move->now_ino = now->st_ino;
		move->was_device = was->devid;
		move->was_ino = was->inode;
		atomic_store(&move->used, 1);
		atomic_fetch_add(&shared->num_moves, 1);
		return move;
	}
	return NULL;
}

static void remove_move(struct mrmr_pool *pool, struct mrmr_shared_move *move)
{
	uint32_t used = 1;

	if (atomic_compare_exchange_strong(&move->used, &used, 0)) {
		atomic_fetch_sub(&pool->shared->num_moves, 1);
	}
}

void mrmr_moves_forget(struct mrmr_pool *pool, const struct file_id *id)
{
	struct mrmr_shared *shared = pool->shared;
	size_t i;

	if (atomic_load_explicit(&shared->num_moves, memory_order_acquire)
	    == 0) {
		return;
	}
	for (i = 0; i < MRMR_MOVES_MAX; i++) {
		struct mrmr_shared_move *move = &shared->moves[i];

		if (atomic_load(&move->used) == 1 &&
		    move->was_device == id->devid &&
		    move->was_ino == id->inode &&
		    !users_of(NULL, *id).any) {
			remove_move(pool, move);
		}
	}
}

/* A descriptor, and the one that will take its place. */
struct replacement {
	int fd;
	int new_fd;
};

struct replacements {
	struct file_id id;
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
	char proc_path[64];
	struct stat st;
	int fd = fsp_get_pathref_fd(fsp);
	int flags;

	if (fd < 0 || !file_id_equal(&fsp->file_id, &r->id) ||
	    fsp_is_alternate_stream(fsp) || fstat(fd, &st) == -1 ||
	    st.st_ino != r->old.st_ino || st.st_dev != r->old.st_dev) {
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
	snprintf(proc_path, sizeof(proc_path), "/proc/self/fd/%d", r->new_fd);
	r->list[r->num] = (struct replacement) {
		.fd = fd, .new_fd = open(proc_path, flags | O_CLOEXEC),
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
		close(r->list[i].new_fd);
	}
	TALLOC_FREE(r->list);
}

/* After the copy: as root, and quick. */
static int take_effect(struct vfs_handle_struct *handle,
		       struct files_struct *fsp, struct mrmr_pool *pool,
		       struct mrmr_move *move)
{
	struct replacements r = { .id = fsp->file_id };
	struct mrmr_shared_move *entry = NULL;
	struct stat now;
	size_t member;
	int new_fd;
	int ret = -1;

	r.new_fd = mrmr_move_new_fd(move);
	if (fstat(fsp_get_io_fd(fsp), &r.old) == -1 ||
	    fstat(r.new_fd, &now) == -1) {
		return -1;
	}
	files_forall(fsp->conn->sconn, prepare_one, &r);
	if (!r.failed) {
		entry = add_move(pool, &now, &fsp->file_id);
	}
	if (entry == NULL) {
		put_in_place(&r, false);
		errno = ENOSPC;
		return -1;
	}
	if (is_open_elsewhere(fsp)) {
		errno = EBUSY;
	} else {
		ret = mrmr_move_finish(move, &new_fd, &member);
	}
	if (ret == -1) {
		int saved_errno = errno;

		remove_move(pool, entry);
		put_in_place(&r, false);
		errno = saved_errno;
		return -1;
	}
	put_in_place(&r, true);
	close(new_fd);
	return 0;
}

static struct mrmr_move *begin(struct vfs_handle_struct *handle,
			       TALLOC_CTX *mem_ctx, struct files_struct *fsp,
			       uint64_t size_bytes)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_move *move = NULL;
	int saved_errno;

	if (pool == NULL || is_open_elsewhere(fsp)) {
		return NULL;
	}
	become_root();
	move = mrmr_move_begin(mem_ctx, pool, fsp_get_io_fd(fsp), size_bytes);
	saved_errno = errno;
	unbecome_root();
	if (move == NULL) {
		DBG_NOTICE("%s is on a full member and cannot move to another: "
			   "%s\n", fsp_str_dbg(fsp), strerror(saved_errno));
	}
	return move;
}

static int finish(struct vfs_handle_struct *handle, struct files_struct *fsp,
		  struct mrmr_move *move)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	int saved_errno;
	int ret;

	become_root();
	ret = take_effect(handle, fsp, pool, move);
	saved_errno = errno;
	unbecome_root();
	if (ret == -1) {
		DBG_WARNING("%s is on a full member and could not move to "
			    "another: %s\n", fsp_str_dbg(fsp),
			    strerror(saved_errno));
		errno = ENOSPC;
	}
	return ret;
}

int mrmr_move_now(struct vfs_handle_struct *handle, struct files_struct *fsp,
		  uint64_t size_bytes)
{
	struct mrmr_move *move = begin(handle, NULL, fsp, size_bytes);
	int ret;

	if (move == NULL) {
		errno = ENOSPC;
		return -1;
	}
	become_root();
	ret = mrmr_move_copy(move);
	unbecome_root();
	if (ret == 0) {
		ret = finish(handle, fsp, move);
	}
	TALLOC_FREE(move);
	if (ret == -1) {
		errno = ENOSPC;
	}
	return ret;
}

struct move_state {
	struct vfs_handle_struct *handle;
	struct files_struct *fsp;
	struct mrmr_move *move;
	int ret; /* of the copy */
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
				  struct files_struct *fsp,
				  uint64_t size_bytes)
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

	state->ret = mrmr_move_copy(state->move);
}

static void move_copied(struct tevent_req *subreq)
{
	struct tevent_req *req =
		tevent_req_callback_data(subreq, struct tevent_req);
	struct move_state *state = tevent_req_data(req, struct move_state);
	int ret;

	ret = pthreadpool_tevent_job_recv(subreq);
	TALLOC_FREE(subreq);
	talloc_set_destructor(state, NULL);
	if (ret == EAGAIN) {
		/* No thread could be had. */
		copy_in_thread(state);
		ret = 0;
	}
	if (ret != 0 || state->ret == -1 ||
	    finish(state->handle, state->fsp, state->move) == -1) {
		TALLOC_FREE(state->move);
		tevent_req_error(req, ENOSPC);
		return;
	}
	TALLOC_FREE(state->move);
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
