/*
 * MRMR: moving a file to another member, within the pool's code.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_MOVE_PRIVATE_H
#define MRMR_MOVE_PRIVATE_H

#include <stdbool.h>
#include <sys/stat.h>

#include <mrmr/dir.h>
#include <mrmr/move.h>

struct mrmr_move {
	struct mrmr_pool *pool;
	int from_fd;    /* the old file, for reading */
	struct stat st; /* of the old file */
	size_t from;    /* members */
	size_t to;
	uint64_t need_bytes;      /* there */
	char path[MRMR_PATH_MAX]; /* of the file, when it was looked up */
	struct mrmr_dir *dir;
	const char *name; /* in path */
	int staging_fd;   /* on the target */
	char staged[96];
	int new_fd;
	int target_error; /* the copy failed as it could not be written */
	/* Of a ghost only: */
	bool is_ghost;
	struct mrmr_move_source source;
	int dir_fd; /* of the spine directory */
	char ghost_name[256];
};

/*
 * Look up where the file behind fd is now: sets from, path, dir and name. It looks
 * again if a directory above the file was renamed meanwhile. -1 with errno: ENOENT
 * the file has no name any more, or what failed.
 */
int move_place_find(struct mrmr_move *m, int fd);

/*
 * The same for the file itself, with its directory and the tree locked, in the order
 * in which a rename locks them: its path stays. -1 with errno, and nothing is locked:
 * also EBUSY, it was renamed each time before it could be locked.
 */
int move_place_lock(struct mrmr_move *m);
void move_place_unlock(struct mrmr_move *m);

#endif
