/*
 * MRMR: carrying out an intent that was left behind.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_INTENT_REPLAY_H
#define MRMR_INTENT_REPLAY_H

#include <mrmr/intent.h>

/*
 * Do what an intent asks, as far as its members are online. left has room for
 * MRMR_MEMBERS_MAX and gets the members for which something is left to do;
 * returns their number. What is then known to go forward is committed; if it is
 * to go back, from and to have changed places. Members that were changed are
 * marked with needs_sync. The caller is root and has the tree lock exclusively.
 */
size_t mrmr_intent_replay(struct mrmr_pool *pool, struct mrmr_intent *intent,
			  size_t *left);

/* The directory that the last component of path is in, below root_fd: a
   descriptor, or -1 with errno. */
int mrmr_intent_open_parent(int root_fd, const char *path);

#endif
