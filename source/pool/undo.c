/*
 * MRMR: keeping protected bytes before they are overwritten.
 *
 * When is a piece kept? When there is a pre-image of it of the generation in
 * force or a higher one. Under the folder's lock, the generation is read from
 * the guard, and what is missing is made under that number. Per open file, a
 * map of bits remembers what is kept, for one view of the guard (generation and
 * epoch); with another view, it is made anew from what is in the folder.
 *
 * Let g be the generation of the version that is protected, P a piece, and W
 * and V processes that have the file open for writing.
 *
 * W and V keep P at the same time. They have the lock one after the other; the
 * second finds the name that the first has made. V begins to overwrite P only
 * when it has found P kept, so what the first copies is what was protected.
 *
 * The protector declares g' while W copies. W has read g under the lock, and
 * makes P.g. The protector cannot go on with g', as W has the file open for
 * writing, and will never use it: each attempt takes a number of its own. From
 * now on the view is g': P counts as not kept, and is kept again as P.g', with
 * whatever it has by then. For the version g, the lowest generation from g on
 * counts: P.g. What was not kept before is kept as P.g', rightly: nobody has
 * overwritten it yet.
 *
 * W has read g from the guard, then waits for the lock; the protector declares
 * g'. W reads again under the lock.
 *
 * The protector declares g', succeeds (W and V do not have it open), and reads.
 * W opens the file after that, so it finds g', and makes P.g' before it
 * overwrites P. The reader looks for a pre-image, reads the file, and looks
 * again: if it read what W wrote, P.g' has its name by then.
 *
 * The guard is not ready (after a reboot), and W keeps P under b, the number it
 * gives for every inode, b >= g; then it is ready, and gives g. V, or W, must
 * not make P.g of what W wrote meanwhile, as it would be lower than b. It does
 * not: the epoch is another one, so it looks at what is in the folder, and finds
 * P.b. A generation that is declared later is higher than b. If W keeps P under
 * b after V has looked, the view of V has changed again, too, by its epoch, or
 * it was b.
 *
 * W is killed. Under a temporary name: as if it had never been. Before the
 * folder is synced: the name is whole, and there or not; W has not written. V,
 * who finds it there, syncs the folder before it counts as kept: else the power
 * could take the name when V has overwritten the piece. In the middle of its
 * write: the piece is kept, and what is in the file is the next version's affair.
 *
 * The file is cut by W, and extended again by V. W kept what was cut off first,
 * or has left a mark that it is lost, under the lock. What lies beyond the end
 * of the file holds nothing protected, then and later in that view; so the map
 * ends where the file ended when it was made, and all beyond counts as kept. A
 * piece that V makes needlessly, of bytes that came after the cut, is longer
 * than what was protected, or P was kept before. Where it was lost, V makes
 * none: that would tell as protected what is not.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/beneath.h>
#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/fd_path.h>
#include <mrmr/file.h>
#include <mrmr/guard.h>
#include <mrmr/move.h>
#include <mrmr/thread_root.h>

#include "undo_private.h"

/* What a piece costs that shares the file's blocks, compared with copying. */
#define SHARED_COST 4096

struct mrmr_undo {
	struct mrmr_guard *guard;
	struct mrmr_uuid member;
	uint64_t inode;
	int private_fd; /* all descriptors are its own */
	int file_fd;
	uint64_t max_bytes;          /* to copy for a cut */
	pthread_mutex_t mutex;       /* for what follows */
	struct mrmr_guard_view view; /* for which the map is */
	uint8_t *kept;               /* bits */
	uint64_t num_pieces;         /* in it; all beyond are kept */
	bool may_share;
};

/* --- the map --------------------------------------------------------------- */

static bool same_view(struct mrmr_guard_view a, struct mrmr_guard_view b)
{
	return a.generation == b.generation && a.epoch == b.epoch;
}

static bool is_marked(const struct mrmr_undo *undo, uint64_t piece)
{
	return piece >= undo->num_pieces ||
	       (undo->kept[piece / 8] & (1u << (piece % 8))) != 0;
}

static void mark(uint8_t *kept, uint64_t num_pieces, uint64_t piece)
{
	if (piece < num_pieces) {
		kept[piece / 8] |= (uint8_t)(1u << (piece % 8));
	}
}

/* Who made it may have been killed before he did that. */
static int sync_found(int folder_fd)
{
	return mrmr_fault("undo-found") == 0 ? mrmr_sync(folder_fd) : -1;
}

struct map {
	uint32_t generation;
	uint8_t *kept;
	uint64_t num_pieces;
	bool has_any; /* that was found */
};

static int mark_entry(int folder_fd, const char *name,
		      const struct undo_entry *entry, void *private_data)
{
	struct map *map = private_data;
	uint64_t piece;

	(void)folder_fd;
	(void)name;
	if (entry->kind == UNDO_OTHER || entry->generation < map->generation) {
		return 0;
	}
	map->has_any = true;
	if (entry->kind == UNDO_PIECE) {
		mark(map->kept, map->num_pieces, entry->piece);
		return 0;
	}
	for (piece = entry->piece; piece < map->num_pieces; piece++) {
		mark(map->kept, map->num_pieces, piece);
	}
	return 0;
}

/* A map for this view, with the folder locked. */
static int make_map(struct mrmr_undo *undo, int folder_fd,
		    struct mrmr_guard_view view)
{
	struct map map = {.generation = view.generation};
	struct stat st;

	if (fstat(undo->file_fd, &st) == -1) {
		return -1;
	}
	map.num_pieces =
		((uint64_t)st.st_size + MRMR_UNDO_PIECE - 1) / MRMR_UNDO_PIECE;
	map.kept = calloc(map.num_pieces / 8 + 1, 1);
	if (map.kept == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (undo_list(folder_fd, mark_entry, &map) == -1 ||
	    (map.has_any && sync_found(folder_fd) == -1)) {
		free(map.kept);
		return -1;
	}
	pthread_mutex_lock(&undo->mutex);
	free(undo->kept);
	undo->kept = map.kept;
	undo->num_pieces = map.num_pieces;
	undo->view = view;
	pthread_mutex_unlock(&undo->mutex);
	return 0;
}

/* The map of this process is for the view; is there a mark in the folder that
   came since? */
static int look_for_lost(struct mrmr_undo *undo, int folder_fd)
{
	struct mrmr_guard_view view = undo->view;
	int there = undo_is_there(folder_fd, UNDO_LOST_FLAG);

	return there == 1 ? make_map(undo, folder_fd, view) : there;
}

/* --- opening --------------------------------------------------------------- */

static int undo_destructor(struct mrmr_undo *undo)
{
	if (undo->private_fd != -1) {
		close(undo->private_fd);
	}
	if (undo->file_fd != -1) {
		close(undo->file_fd);
	}
	free(undo->kept);
	pthread_mutex_destroy(&undo->mutex);
	return 0;
}

/* Is any member's file with this inode guarded? An inode tells one file only,
   if members share a file system. */
static bool may_be_guarded(struct mrmr_pool *pool, const struct stat *st)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];

		if (member->state != MRMR_MEMBER_ONLINE) {
			continue;
		}
		if (member->dev == st->st_dev &&
		    mrmr_guard_find(pool->guard, &member->config->id,
				    st->st_ino) != 0) {
			return true;
		}
	}
	return false;
}

static bool lies_on_a_member(struct mrmr_pool *pool, dev_t dev)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		if (pool->members[i].state == MRMR_MEMBER_ONLINE &&
		    pool->members[i].dev == dev) {
			return true;
		}
	}
	return false;
}

/* As root. */
static struct mrmr_undo *undo_new(void *mem_ctx, struct mrmr_pool *pool, int fd,
				  const struct mrmr_member *member,
				  uint64_t inode)
{
	struct mrmr_undo *undo = talloc_zero(mem_ctx, struct mrmr_undo);
	char proc_path[MRMR_FD_LINK_LEN];
	int saved_errno;

	if (undo == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	/* The pool may be closed, and opened anew, while the file is open. */
	undo->guard = talloc_reference(undo, pool->guard);
	undo->member = member->config->id;
	undo->inode = inode;
	undo->max_bytes = pool->config->undo_max_bytes;
	undo->may_share = true;
	pthread_mutex_init(&undo->mutex, NULL);
	undo->private_fd = openat(member->private_fd, ".",
				  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	undo->file_fd = open(mrmr_fd_link(fd, proc_path),
			     O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	talloc_set_destructor(undo, undo_destructor);
	if (undo->guard == NULL) {
		errno = ENOMEM;
	}
	if (undo->guard == NULL || undo->private_fd == -1 ||
	    undo->file_fd == -1) {
		saved_errno = errno;
		talloc_free(undo);
		errno = saved_errno;
		return NULL;
	}
	mrmr_file_keep_atime(undo->file_fd);
	return undo;
}

int mrmr_undo_open(void *mem_ctx, struct mrmr_pool *pool, int fd,
		   struct mrmr_undo **undo)
{
	const struct mrmr_member *member = NULL;
	struct mrmr_thread_root root;
	char path[MRMR_PATH_MAX];
	struct stat st;
	size_t index;

	*undo = NULL;
	if (pool->guard == NULL) {
		return 0;
	}
	if (fstat(fd, &st) == -1) {
		return -1;
	}
	/* What has no name any more was removed behind our back. */
	if (!S_ISREG(st.st_mode) || st.st_nlink == 0) {
		return 0;
	}
	if (!may_be_guarded(pool, &st)) {
		if (lies_on_a_member(pool, st.st_dev)) {
			return 0;
		}
		errno = ENODEV;
		return -1;
	}
	if (mrmr_file_locate(pool, fd, &index, path) == -1) {
		return -1;
	}
	member = &pool->members[index];
	if (mrmr_guard_find(pool->guard, &member->config->id, st.st_ino) == 0) {
		return 0; /* it was another member's that has gone */
	}
	if (mrmr_thread_root_enter(&root) == -1) {
		return -1;
	}
	*undo = undo_new(mem_ctx, pool, fd, member, st.st_ino);
	mrmr_thread_root_leave(&root);
	return *undo != NULL ? 0 : -1;
}

/* --- keeping --------------------------------------------------------------- */

static struct mrmr_guard_view look(struct mrmr_undo *undo)
{
	return mrmr_guard_look(undo->guard, &undo->member, undo->inode);
}

static uint64_t last_piece(uint64_t offset, uint64_t len)
{
	uint64_t last = offset + len - 1;

	return (last < offset ? UINT64_MAX : last) / MRMR_UNDO_PIECE;
}

bool mrmr_undo_is_kept(struct mrmr_undo *undo, uint64_t offset, uint64_t len)
{
	struct mrmr_guard_view view = look(undo);
	uint64_t piece = offset / MRMR_UNDO_PIECE;
	uint64_t last;
	bool kept;

	if (view.generation == 0 || len == 0) {
		return true;
	}
	last = last_piece(offset, len);
	pthread_mutex_lock(&undo->mutex);
	kept = undo->kept != NULL && same_view(undo->view, view);
	for (; kept && piece <= last && piece < undo->num_pieces; piece++) {
		kept = is_marked(undo, piece);
	}
	pthread_mutex_unlock(&undo->mutex);
	return kept;
}

/* The folder, locked, and a map that is true; -1 with errno, ENOENT if nothing
   is to be kept. As root. */
static int begin(struct mrmr_undo *undo, struct mrmr_guard_view *view)
{
	int fd = undo_folder_lock(undo->private_fd, undo->inode, true);
	int saved_errno;
	int ret = 0;
	bool known;

	if (fd == -1) {
		/* not ENOENT, which means something else here */
		errno = errno == ENOENT ? EIO : errno;
		return -1;
	}
	*view = look(undo);
	if (view->generation == 0) {
		close(fd);
		errno = ENOENT;
		return -1;
	}
	pthread_mutex_lock(&undo->mutex);
	known = undo->kept != NULL && same_view(undo->view, *view);
	pthread_mutex_unlock(&undo->mutex);
	ret = known ? look_for_lost(undo, fd) : make_map(undo, fd, *view);
	if (ret == 0) {
		ret = undo_names_enter(undo->private_fd, fd, UNDO_PIECE, 0,
				       view->generation);
	}
	if (ret == -1) {
		saved_errno = errno;
		close(fd);
		errno = saved_errno == ENOENT ? EIO : saved_errno;
		return -1;
	}
	return fd;
}

/* Nobody else changes the map while this process has the folder's lock. */
static void mark_batch(struct mrmr_undo *undo, const struct undo_batch *batch)
{
	size_t i;

	pthread_mutex_lock(&undo->mutex);
	for (i = 0; i < batch->num; i++) {
		mark(undo->kept, undo->num_pieces, batch->pieces[i]);
	}
	undo->may_share = batch->may_share;
	pthread_mutex_unlock(&undo->mutex);
}

/* The pieces from *piece to last that are to be made, as many as go into a
   batch. */
static int gather(struct mrmr_undo *undo, int folder_fd, uint32_t generation,
		  uint64_t *piece, uint64_t last, struct undo_batch *batch)
{
	bool is_synced = false;

	*batch = (struct undo_batch){
		.folder_fd = folder_fd,
		.file_fd = undo->file_fd,
		.generation = generation,
		.may_share = undo->may_share,
	};
	for (; *piece <= last && *piece < undo->num_pieces &&
	       batch->num < UNDO_BATCH;
	     (*piece)++) {
		char name[UNDO_NAME_MAX];
		int there;

		if (is_marked(undo, *piece)) {
			continue;
		}
		undo_piece_name(*piece, generation, name);
		there = undo_is_there(folder_fd, name);
		if (there == -1) {
			return -1;
		}
		if (there == 0) {
			batch->pieces[batch->num++] = *piece;
			continue;
		}
		if (!is_synced && sync_found(folder_fd) == -1) {
			return -1;
		}
		is_synced = true;
		pthread_mutex_lock(&undo->mutex);
		mark(undo->kept, undo->num_pieces, *piece);
		pthread_mutex_unlock(&undo->mutex);
	}
	return 0;
}

static int keep_pieces(struct mrmr_undo *undo, int folder_fd,
		       uint32_t generation, uint64_t piece, uint64_t last)
{
	struct undo_batch batch;

	while (piece <= last && piece < undo->num_pieces) {
		if (gather(undo, folder_fd, generation, &piece, last, &batch) ==
			    -1 ||
		    (batch.num > 0 && undo_make_pieces(&batch) == -1)) {
			return -1;
		}
		if (batch.num > 0) {
			mark_batch(undo, &batch);
		}
	}
	return 0;
}

static int keep(struct mrmr_undo *undo, uint64_t offset, uint64_t len)
{
	struct mrmr_guard_view view;
	int fd = begin(undo, &view);
	int saved_errno;
	int ret;

	if (fd == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	ret = keep_pieces(undo, fd, view.generation, offset / MRMR_UNDO_PIECE,
			  last_piece(offset, len));
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return ret;
}

int mrmr_undo_keep(struct mrmr_undo *undo, uint64_t offset, uint64_t len)
{
	struct mrmr_thread_root root;
	int ret;

	if (len == 0) {
		return 0;
	}
	if (mrmr_thread_root_enter(&root) == -1) {
		return -1;
	}
	ret = keep(undo, offset, len);
	mrmr_thread_root_leave(&root);
	return ret;
}

/* --- before a cut ---------------------------------------------------------- */

/* What keeping all from a piece on would cost, in bytes to copy. */
static uint64_t cost_of(const struct mrmr_undo *undo, uint64_t first,
			bool shared)
{
	uint64_t num = 0;
	uint64_t piece;

	for (piece = first; piece < undo->num_pieces; piece++) {
		num += is_marked(undo, piece) ? 0 : 1;
	}
	return num * (shared ? SHARED_COST : MRMR_UNDO_PIECE);
}

/* What is not kept from this piece on is given up. */
static int give_up(struct mrmr_undo *undo, int folder_fd, uint32_t generation,
		   uint64_t first)
{
	char names[2][UNDO_NAME_MAX] = {UNDO_LOST_FLAG};
	uint64_t piece;
	size_t i;

	if (undo_names_enter(undo->private_fd, folder_fd, UNDO_LOST, first,
			     generation) == -1) {
		return -1;
	}
	undo_lost_name(first, generation, names[1]);
	for (i = 0; i < 2; i++) {
		int fd;

		/* The flag first: a mark without it would not be seen. */
		fd = mrmr_fault("undo-lost") == 0
			     ? openat(folder_fd, names[i],
				      O_WRONLY | O_CREAT | MRMR_OPEN_ANYTHING,
				      0600)
			     : -1;
		if (fd == -1) {
			return -1;
		}
		close(fd);
	}
	if (mrmr_sync(folder_fd) == -1) {
		return -1;
	}
	pthread_mutex_lock(&undo->mutex);
	for (piece = first; piece < undo->num_pieces; piece++) {
		mark(undo->kept, undo->num_pieces, piece);
	}
	pthread_mutex_unlock(&undo->mutex);
	return 0;
}

static int keep_cut(struct mrmr_undo *undo, int folder_fd, uint32_t generation,
		    uint64_t first, bool *lost)
{
	uint64_t cost = cost_of(undo, first, false);

	if (cost > undo->max_bytes && undo->may_share) {
		/* One piece tells whether they can share their blocks. */
		uint64_t piece = first;

		while (is_marked(undo, piece)) {
			piece++;
		}
		if (keep_pieces(undo, folder_fd, generation, piece, piece) ==
		    -1) {
			return -1;
		}
		cost = cost_of(undo, first, undo->may_share);
	}
	if (cost > undo->max_bytes) {
		*lost = true;
		return give_up(undo, folder_fd, generation, first);
	}
	return keep_pieces(undo, folder_fd, generation, first, UINT64_MAX - 1);
}

int mrmr_undo_keep_cut(struct mrmr_undo *undo, uint64_t size_bytes, bool *lost)
{
	struct mrmr_guard_view view;
	struct mrmr_thread_root root;
	uint64_t first = size_bytes / MRMR_UNDO_PIECE;
	struct stat st;
	int saved_errno;
	int ret = 0;
	int fd;

	*lost = false;
	if (mrmr_thread_root_enter(&root) == -1) {
		return -1;
	}
	fd = begin(undo, &view);
	if (fd == -1) {
		ret = errno == ENOENT ? 0 : -1;
	} else {
		ret = fstat(undo->file_fd, &st);
		if (ret == 0 && (uint64_t)st.st_size > size_bytes) {
			ret = keep_cut(undo, fd, view.generation, first, lost);
		}
		saved_errno = errno;
		close(fd);
		errno = saved_errno;
	}
	mrmr_thread_root_leave(&root);
	return ret;
}
