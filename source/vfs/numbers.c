/*
 * MRMR: the Samba module: the numbers that files are known by.
 *
 * A file's own number is its member's id and its inode. One that moves while it
 * is open goes on being known by the number it had. That number's inode is free then, and the next file that is made on the
 * old member may get it: that one is known by the number that the moved file
 * does not use. So the pool's page holds a permutation of numbers, of which
 * each entry says by what other number one is known, and no two files are ever
 * known by the same.
 *
 * A cycle of it is forgotten when no file that is known by its numbers is open
 * any more.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "ghosts.h"
#include "moving.h"
#include "numbers.h"

#include <mrmr/shared.h>

#include "lib/util/server_id.h"
#include "librpc/gen_ndr/open_files.h"
#include "locking/share_mode_lock.h"
#include "messages.h"

static bool look_at_user(struct share_mode_entry *e, bool *modified,
			 void *private_data)
{
	struct mrmr_users *users = private_data;

	users->any = true;
	if (!server_id_equal(&e->pid, &users->self)) {
		users->others = true;
	}
	return users->others; /* true ends the walk */
}

struct mrmr_users mrmr_users_of(struct messaging_context *msg_ctx,
				struct file_id id)
{
	struct mrmr_users users = {.any = false};
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

bool mrmr_same_number(struct mrmr_number a, struct mrmr_number b)
{
	return a.device == b.device && a.ino == b.ino;
}

struct mrmr_number mrmr_number_of(const struct mrmr_pool *pool,
				  const struct stat *st)
{
	return (struct mrmr_number){
		.device = mrmr_pool_device_id(pool, st->st_dev),
		.ino = st->st_ino,
	};
}

struct mrmr_number mrmr_number_of_file(const struct mrmr_pool *pool,
				       const struct stat *st, int fd)
{
	struct stat of_file = *st;
	struct mrmr_ghost ghost;

	if (mrmr_fd_is_ghost(pool, fd, &ghost) && ghost.inode != 0) {
		of_file.st_dev = mrmr_pool_device_of(pool, &ghost.member);
		of_file.st_ino = ghost.inode;
	}
	return mrmr_number_of(pool, &of_file);
}

struct mrmr_number mrmr_number_of_id(const struct file_id *id)
{
	return (struct mrmr_number){.device = id->devid, .ino = id->inode};
}

/* The entry of the file with this number, or of the one known by it. */
static struct mrmr_shared_move *find_move(struct mrmr_shared *shared,
					  struct mrmr_number number, bool known)
{
	size_t i;

	for (i = 0; i < MRMR_MOVES_MAX; i++) {
		struct mrmr_shared_move *move = &shared->moves[i];
		struct mrmr_number is =
			known ? (struct mrmr_number){move->was_device,
						     move->was_ino}
			      : (struct mrmr_number){move->now_device,
						     move->now_ino};

		if (atomic_load(&move->used) == 1 &&
		    mrmr_same_number(is, number)) {
			return move;
		}
	}
	return NULL;
}

struct mrmr_number mrmr_known_by(struct mrmr_shared *shared,
				 struct mrmr_number number)
{
	struct mrmr_shared_move *move = find_move(shared, number, false);

	if (move == NULL) {
		return number;
	}
	return (struct mrmr_number){move->was_device, move->was_ino};
}

static void remove_move(struct mrmr_shared *shared,
			struct mrmr_shared_move *move)
{
	uint32_t used = 1;

	if (atomic_compare_exchange_strong(&move->used, &used, 0)) {
		atomic_fetch_sub(&shared->num_moves, 1);
	}
}

bool mrmr_set_known_by(struct mrmr_shared *shared, struct mrmr_number number,
		       struct mrmr_number known)
{
	struct mrmr_shared_move *move = find_move(shared, number, false);
	size_t i;

	if (mrmr_same_number(number, known)) {
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

static bool is_open(struct mrmr_number number)
{
	struct file_id id = {
		.devid = number.device,
		.inode = number.ino,
	};

	return mrmr_users_of(NULL, id).any;
}

/* The cycle that this number is in, if nobody has a file of it open. */
static void forget_cycle(struct mrmr_shared *shared, struct mrmr_number first)
{
	struct mrmr_shared_move *cycle[MRMR_MOVES_MAX];
	struct mrmr_number number = first;
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
		number = (struct mrmr_number){move->now_device, move->now_ino};
	} while (!mrmr_same_number(number, first) && num < MRMR_MOVES_MAX);

	while (num-- > 0) {
		remove_move(shared, cycle[num]);
	}
}

void mrmr_moves_forget(struct mrmr_pool *pool, const struct file_id *id)
{
	struct mrmr_shared *shared = pool->shared;

	if (atomic_load_explicit(&shared->num_moves, memory_order_acquire) >
	    0) {
		forget_cycle(shared, mrmr_number_of_id(id));
	}
}

void mrmr_forget_unused_numbers(struct mrmr_shared *shared)
{
	size_t i;

	for (i = 0; i < MRMR_MOVES_MAX; i++) {
		const struct mrmr_shared_move *move = &shared->moves[i];

		if (atomic_load(&move->used) == 1) {
			forget_cycle(shared, (struct mrmr_number){
						     .device = move->was_device,
						     .ino = move->was_ino});
		}
	}
}
