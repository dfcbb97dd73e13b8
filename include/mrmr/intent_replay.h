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
 * returns their number. An intent that was not committed may be set committed
 * when it went forward. The caller is root and has the tree lock exclusively.
 */
size_t mrmr_intent_replay(struct mrmr_pool *pool, struct mrmr_intent *intent,
			  size_t *left);

#endif
