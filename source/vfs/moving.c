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

#include <mrmr/log.h>
#include <mrmr/move.h>
#include <mrmr/serve.h>
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
	struct users users = {.any = false};
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

bool mrmr_is_open_elsewhere(struct files_struct *fsp)
{
	struct users users = users_of(fsp->conn->sconn->msg_ctx, fsp->file_id);

	if (users.others) {
		DBG_WARNING("%s cannot move to another member while several "
			    "clients have it open\n",
			    fsp_str_dbg(fsp));
	}
	return users.others;
}

/*
 * What files are known by. A file's own number is its member's id and its
 * inode. One that moves while it is open goes on being known by the number it
 * had. That number's inode is free then, and the next file that is made on the
 * old member may get it: that one is known by the number that the moved file
 * does not use. So the pool's page holds a permutation of numbers, of which
 * each entry says by what other number one is known, and no two files are ever
 * known by the same.
 *
 * A cycle of it is forgotten when no file that is known by its numbers is open
 * any more.
 */
struct number {
	uint64_t device;
	uint64_t ino;
};

static bool same_number(struct number a, struct number b)
{
	return a.device == b.device && a.ino == b.ino;
}

static struct number number_of(const struct mrmr_pool *pool,
			       const struct stat *st)
{
	return (struct number){
		.device = mrmr_pool_device_id(pool, st->st_dev),
		.ino = st->st_ino,
	};
}

/* The number that a ghost has is that of the file. */
static struct number number_of_file(const struct mrmr_pool *pool,
				    const struct stat *st, int fd)
{
	struct stat of_file = *st;
	struct mrmr_ghost ghost;

	if (mrmr_fd_is_ghost(pool, fd, &ghost) && ghost.inode != 0) {
		of_file.st_dev = mrmr_pool_device_of(pool, &ghost.member);
		of_file.st_ino = ghost.inode;
	}
	return number_of(pool, &of_file);
}

static struct number number_of_id(const struct file_id *id)
{
	return (struct number){.device = id->devid, .ino = id->inode};
}

/* The entry of the file with this number, or of the one known by it. */
static struct mrmr_shared_move *find_move(struct mrmr_shared *shared,
					  struct number number, bool known)
{
	size_t i;

	for (i = 0; i < MRMR_MOVES_MAX; i++) {
		struct mrmr_shared_move *move = &shared->moves[i];
		struct number is =
			known ? (struct number){move->was_device, move->was_ino}
			      : (struct number){move->now_device,
						move->now_ino};

		if (atomic_load(&move->used) == 1 && same_number(is, number)) {
			return move;
		}
	}
	return NULL;
}

static struct number known_by(struct mrmr_shared *shared, struct number number)
{
	struct mrmr_shared_move *move = find_move(shared, number, false);

	if (move == NULL) {
		return number;
	}
	return (struct number){move->was_device, move->was_ino};
}

static void remove_move(struct mrmr_shared *shared,
			struct mrmr_shared_move *move)
{
	uint32_t used = 1;

	if (atomic_compare_exchange_strong(&move->used, &used, 0)) {
		atomic_fetch_sub(&shared->num_moves, 1);
	}
}

/* Nobody else looks at this number now: its file is not to be found yet, or
   not any more. */
static bool set_known_by(struct mrmr_shared *shared, struct number number,
			 struct number known)
{
	struct mrmr_shared_move *move = find_move(shared, number, false);
	size_t i;

	if (same_number(number, known)) {
		if (move != NULL) {
			remove_move(shared, move);
		}
		return true;
	}
	for (i = 0; move == NULL && i < MRMR_MOVES_MAX; i++) {
		uint32_t unused = 0;

		/* 2: being filled in, not valid yet */
		if (atomic_compare_exchange_strong(&shared->moves[i].used,
						   &unused, 2)) {
			move = &shared->moves[i];
			atomic_fetch_add(&shared->num_moves, 1);
		}
	}
	if (move == NULL) {
		return false;
	}
	atomic_store(&move->used, 2);
	move->now_device = number.device;
	move->now_ino = number.ino;
	move->was_device = known.device;
	move->was_ino = known.ino;
	atomic_store(&move->used, 1);
	return true;
}

static bool is_open(struct number number)
{
	struct file_id id = {
		.devid = number.device,
		.inode = number.ino,
	};

	return users_of(NULL, id).any;
}

/* The cycle that this number is in, if nobody has a file of it open. */
static void forget_cycle(struct mrmr_shared *shared, struct number first)
{
	struct mrmr_shared_move *cycle[MRMR_MOVES_MAX];
	struct number number = first;
	size_t num = 0;

	do {
		struct mrmr_shared_move *move = find_move(shared, number, true);

		if (move == NULL) {
			break;
		}
		if (is_open(number)) {
			return;
		}
		cycle[num++] = move;
		number = (struct number){move->now_device, move->now_ino};
	} while (!same_number(number, first) && num < MRMR_MOVES_MAX);

	while (num-- > 0) {
		remove_move(shared, cycle[num]);
	}
}

void mrmr_moves_forget(struct mrmr_pool *pool, const struct file_id *id)
{
	struct mrmr_shared *shared = pool->shared;

	if (atomic_load_explicit(&shared->num_moves, memory_order_acquire) >
	    0) {
		forget_cycle(shared, number_of_id(id));
	}
}

/* What killed processes left behind. */
static void forget_unused(struct mrmr_shared *shared)
{
	size_t i;

	for (i = 0; i < MRMR_MOVES_MAX; i++) {
		const struct mrmr_shared_move *move = &shared->moves[i];

		if (atomic_load(&move->used) == 1) {
			forget_cycle(shared,
				     (struct number){.device = move->was_device,
						     .ino = move->was_ino});
		}
	}
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
	char proc_path[64];
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
	snprintf(proc_path, sizeof(proc_path), "/proc/self/fd/%d", r->new_fd);
	r->list[r->num] = (struct replacement){
		.fd = fd,
		.new_fd = open(proc_path, flags | O_CLOEXEC),
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

/* The moment of the move: names, then descriptors. */
static int swap(struct files_struct *fsp, struct mrmr_pool *pool,
		struct mrmr_move *move, struct replacements *r)
{
	struct mrmr_shared *shared = pool->shared;
	struct number known = number_of_id(&fsp->file_id);
	struct number old_number =
		number_of_file(pool, &r->old, fsp_get_pathref_fd(fsp));
	struct number new_number;
	struct number unused;
	struct stat now;
	size_t member;
	int saved_errno;
	int new_fd;

	if (fstat(r->new_fd, &now) == -1) {
		return -1;
	}
	new_number = number_of(pool, &now);
	unused = known_by(shared, new_number);

	/* Two entries may be needed. */
	if (atomic_load(&shared->num_moves) + 2 > MRMR_MOVES_MAX) {
		forget_unused(shared);
	}
	if (atomic_load(&shared->num_moves) + 2 > MRMR_MOVES_MAX ||
	    !same_number(known_by(shared, old_number), known) ||
	    !set_known_by(shared, new_number, known)) {
		errno = ENOSPC;
		return -1;
	}
	if (mrmr_is_open_elsewhere(fsp)) {
		errno = ENOSPC;
	} else if (mrmr_move_finish(move, &new_fd, &member) == 0) {
		/* While our descriptors hold the old inode, nobody can get
		   it: when they let go, its number is known. */
		set_known_by(shared, old_number, unused);
		put_in_place(r, true);
		close(new_fd);
		return 0;
	}
	saved_errno = errno;
	set_known_by(shared, new_number, unused);
	errno = saved_errno;
	return -1;
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
		DBG_NOTICE("%s is on a full member and cannot move to another: "
			   "%s\n",
			   fsp_str_dbg(fsp), strerror(saved_errno));
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
	end(&move);
	if (ret == -1) {
		errno = ENOSPC;
	}
	return ret;
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

	state->ret = mrmr_move_copy(state->move);
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
	if (ret != 0 || state->ret == -1) {
		error = ENOSPC;
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
