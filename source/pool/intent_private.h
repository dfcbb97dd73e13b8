/*
 * MRMR: intents, for their own sources.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_INTENT_PRIVATE_H
#define MRMR_INTENT_PRIVATE_H

#include <dirent.h>
#include <sys/stat.h>

#include <mrmr/intent.h>

/* --- intent.c: the records, in the folder of that descriptor --------------- */

/* The names of all records, oldest first; free them with intent_free_list().
   -1 with errno. */
int intent_list(int folder, struct dirent ***names);
void intent_free_list(struct dirent **names, int n);

/* NULL: it was ended meanwhile, or cannot be read, which was logged. */
struct mrmr_intent *intent_load(void *mem_ctx, struct mrmr_pool *pool,
				int folder, const char *name);

/* It is committed, and left to be done on these members only. As root. */
int intent_keep_for(struct mrmr_pool *pool, struct mrmr_intent *intent,
		    const size_t *members, size_t num_members);

/* The record goes. As root. 0, or -1 with errno. */
int intent_end(struct mrmr_pool *pool, const struct mrmr_intent *intent);

/* --- carrying one out ------------------------------------------------------ */

/* Is there something at a path below root_fd? 1 with st filled, 0 if surely
   not, -1 with errno. */
int replay_is_there(int root_fd, const char *path, struct stat *st);

/* May something be done on this member now? */
bool replay_can_follow(const struct mrmr_member *member);

/* What is at path goes to the member's trash, unless it is a directory. */
int replay_trash(struct mrmr_pool *pool, size_t member, const char *path);

/* From one path of a member to another; directories only, or anything but.
   -1: trouble, which was logged. */
int replay_rename_logged(struct mrmr_pool *pool, size_t member,
			 const char *from, const char *to, bool directories);

/* intent_absent.c: is there a ghost at a path? 1 yes, 0 no, -1 it is not known. */
int replay_has_ghost(struct mrmr_pool *pool, size_t member, const char *path);

/* The same: it is not shown any more, if it is there. The member has to be told
   to let go of it by a record that is committed. */
void replay_drop_ghost(struct mrmr_pool *pool, size_t member, const char *path);

/* The same: as mrmr_intent_replay(). */
size_t replay_absent(struct mrmr_pool *pool, struct mrmr_intent *intent,
		     size_t *left);

/* intent_rmdir.c: the same. */
size_t replay_rmdir(struct mrmr_pool *pool, struct mrmr_intent *intent,
		    size_t *left);

#endif
