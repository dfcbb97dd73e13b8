/*
 * MRMR: a little room that each member keeps for the trash.
 *
 * A protected file that is deleted goes to the trash, and its folders there take
 * blocks. On a drive of which the last block is taken, nothing could be deleted for
 * that. So there is a file `.mrmr/reserve`, which holds nothing: who has no room for
 * a folder removes it, and the next protector that finds enough room makes it again.
 * So does who gives a file the attributes that it got while its drive was away, and who
 * renames there what was renamed elsewhere.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_RESERVE_H
#define MRMR_RESERVE_H

#include <stdbool.h>

#include <mrmr/pool.h>

#define MRMR_RESERVE "reserve" /* below the member's .mrmr */

/* Make it where it is missing, on members that are online, writable and have room
   enough not to miss it. What cannot be made now is made another time. Needs root. */
void mrmr_reserve_keep(struct mrmr_pool *pool);

/* Remove it. False: there is none. Needs root. */
bool mrmr_reserve_give(const struct mrmr_member *member);

#endif
