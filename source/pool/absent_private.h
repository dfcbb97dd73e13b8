/*
 * MRMR: the names of members that are away, for their own sources.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ABSENT_PRIVATE_H
#define MRMR_ABSENT_PRIVATE_H

#include <mrmr/pool.h>

/* Where the ghosts of a member are, below the state directory. */
void absent_member_path(const struct mrmr_member *member, char path[96]);

/* absent_return.c: give its files the attributes that their ghosts were given.
   Needs root, and the lock of the ghosts. */
void absent_return_attributes(struct mrmr_pool *pool, size_t member);

#endif
