/*
 * MRMR: the trash: what listing, bringing back and removing share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef TRASH_PRIVATE_H
#define TRASH_PRIVATE_H

#include <mrmr/undelete.h>

/* Its name in the directory MRMR_ID_TRASH of the catalogue. NULL with errno. */
char *trash_name(void *mem_ctx, struct mrmr_engine *engine,
		 const struct mrmr_trashed *item);

/*
 * Call fn for all that is in a member's trash and is no directory, in any order;
 * what it returns, if not 0, ends that. 0 too if there is no trash; -1 with
 * errno. What is made or removed meanwhile may be seen or not. (trash_walk.c)
 */
typedef int trash_walk_fn(const char *trash_path, const struct stat *st,
			  void *private_data);
int trash_walk(const struct mrmr_member *member, trash_walk_fn *fn,
	       void *private_data);

/* When it came there, since 1970: the folder is "<time>.<process>". In one that
   somebody else made, the last change of the file will do. */
int64_t trash_time_s(const char *trash_path, const struct stat *st);

/* Remove the directories above it that are empty now, up to its folder's. */
void trash_prune(const struct mrmr_member *member, const char *trash_path);

#endif
