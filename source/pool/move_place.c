/*
 * MRMR: moving a file to another member: where it is, while it and the
 * directories above it may be renamed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <mrmr/fault.h>
#include <mrmr/move.h>
#include <mrmr/names.h>
#include <mrmr/protection.h>

#include "move_private.h"

/* How often it may be renamed between looking it up and locking it. */
#define TRIES 100

/* What the file's path is now. */
static int locate(struct mrmr_move *m, int fd, size_t *from,
		  char path[MRMR_PATH_MAX])
{
	if (m->is_ghost) {
		*from = m->from;
		return mrmr_name_path(m->dir, m->ghost_name, path);
	}
	return mrmr_file_locate(m->pool, fd, from, path);
}

/* Is it another one than was looked up? Keeps errno. */
static bool is_elsewhere(struct mrmr_move *m, int fd)
{
	int saved_errno = errno;
	char path[MRMR_PATH_MAX];
	size_t from;
	bool elsewhere;

	elsewhere = locate(m, fd, &from, path) == 0 &&
		    (from != m->from || strcmp(path, m->path) != 0);
	errno = saved_errno;
	return elsewhere;
}

/* Where the file is now; its directory. */
static int look_up(struct mrmr_move *m, int fd)
{
	struct mrmr_place place;

	if (m->is_ghost) {
		m->dir = mrmr_dir_get(m->pool, m->dir_fd);
		m->name = m->ghost_name;
		return m->dir != NULL ? locate(m, fd, &m->from, m->path) : -1;
	}
	if (locate(m, fd, &m->from, m->path) == -1 ||
	    mrmr_fault("move-place") != 0 ||
	    mrmr_place_find(m->pool, m->pool->spine_fd, m->path, &place) ==
		    -1) {
		return -1;
	}
	m->dir = place.dir;
	m->name = strrchr(m->path, '/');
	m->name = (m->name != NULL) ? m->name + 1 : m->path;
	return 0;
}

/* A ghost's directory is known by its descriptor, whatever it is called. */
int move_place_find(struct mrmr_move *m, int fd)
{
	unsigned int tries = 0;
	int ret;

	do {
		ret = look_up(m, fd);
	} while (ret == -1 && !m->is_ghost && ++tries < TRIES &&
		 is_elsewhere(m, fd));
	return ret;
}

void move_place_unlock(struct mrmr_move *m)
{
	mrmr_tree_unlock(m->pool);
	mrmr_dir_unlock(m->dir);
}

int move_place_lock(struct mrmr_move *m)
{
	unsigned int tries;

	for (tries = 0; tries < TRIES; tries++) {
		if (move_place_find(m, m->from_fd) == -1 ||
		    mrmr_fault("move-lock") != 0) {
			return -1;
		}
		if (mrmr_dir_lock(m->dir) == -1) {
			if (errno == ENOENT) {
				continue; /* removed: the file is elsewhere */
			}
			return -1;
		}
		if (mrmr_tree_lock(m->pool, false) == -1) {
			mrmr_dir_unlock(m->dir);
			return -1;
		}
		if (!is_elsewhere(m, m->from_fd)) {
			return 0;
		}
		move_place_unlock(m);
	}
	errno = EBUSY;
	return -1;
}
