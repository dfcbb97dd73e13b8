/*
 * MRMR: the folders in which things are made before they get their name.
 *
 * `.mrmr/rebuild` on a member and <state dir>/staging: on the same file system
 * as what they make things for, and entered by root only. What lies there
 * after a crash is nobody's: the maker's process id and start time are in its
 * name, and it is swept when a pool is opened.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_STAGING_H
#define MRMR_STAGING_H

#include <stddef.h>

#include <mrmr/pool.h>

#define MRMR_REBUILD "rebuild" /* below the member's .mrmr */
#define MRMR_TRASH "trash"
#define MRMR_STAGING "staging" /* below the state directory */
#define MRMR_INTENTS "intents"

/* Make the folders of the state directory. */
int mrmr_state_folders(int state_fd);

/* A descriptor of a folder below at_fd, made (0700) if it is missing; to be
   closed by the caller. -1 with errno. Needs root. */
int mrmr_folder_open(int at_fd, const char *name);

/* A name that no other process and no earlier call uses. */
void mrmr_staging_name(char *name, size_t size);

/* Remove what dead processes left, on the state directory and all members
   that are online. Needs root. */
void mrmr_staging_sweep(struct mrmr_pool *pool);

/* Remove a directory and all that is in it; follows no symlink. */
int mrmr_remove_tree(int at_fd, const char *name);

/*
 * Remove a directory of the spine, and those below it, that no member has.
 * Anything in it that is not a directory stops it: the spine holds no files,
 * so that would be somebody's. Needs root. 0, or -1 with errno.
 */
int mrmr_spine_prune(struct mrmr_pool *pool, int at_fd, const char *name);

#endif
