/*
 * MRMR: renaming, for its own sources.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_NAMES_RENAME_H
#define MRMR_NAMES_RENAME_H

#include <sys/stat.h>

#include <mrmr/dir.h>

struct renaming {
	struct mrmr_pool *pool;
	struct mrmr_dir *from_dir;
	const char *from;
	struct mrmr_dir *to_dir;
	const char *to;
	char from_path[MRMR_PATH_MAX];
	char to_path[MRMR_PATH_MAX];
	size_t members[MRMR_MEMBERS_MAX]; /* for the intent */
	size_t num_members;
	struct stat source;
	ino_t source_ino; /* to tell; of a ghost, its file's */
	bool is_same;     /* both are names of one file: nothing was done */
	bool has_looked;  /* at the pool, just now */
};

/* Fill in from_path and to_path. */
int renaming_paths(struct renaming *r);

/*
 * Has a member the name? 1 with st filled, 0 if it surely has not, or -1: it
 * cannot be looked at, and what would be left behind on it is not known.
 */
int renaming_has(struct mrmr_dir *dir, const char *name, size_t member,
		 struct stat *st);

/* On one member, from the old name to the new one, or back. */
int renaming_on(struct renaming *r, size_t member, bool back);

/* With the directories locked. 0, or -1 with errno, EAGAIN: look at the pool,
   and try again. keep: the member that has the file. */
int renaming_file(struct renaming *r, size_t keep);
int renaming_directory(struct renaming *r);

#endif
