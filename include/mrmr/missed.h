/*
 * MRMR: which members missed a change of a directory's attributes.
 *
 * While a member is away, its clones cannot follow when a directory's rights
 * change. Their times do not tell that when it is back: somebody may have added
 * a file to the clone meanwhile, which makes it the one that changed last. So
 * it is noted, as an empty file
 *     <state dir>/missed/<member id>/<inode of the spine directory>
 * and when the clone is looked up next, the spine is right and the note goes.
 * A note too many (the directory is gone, its inode another's) does no harm.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_MISSED_H
#define MRMR_MISSED_H

#include <stdbool.h>

#include <mrmr/dir.h>

#define MRMR_MISSED "missed" /* below the state directory */

/* Are there any notes for a member? To be kept in member->missed. Needs root,
   as the rest here. */
bool mrmr_missed_any(const struct mrmr_pool *pool,
		     const struct mrmr_member *member);

/* The member's clone of dir, if it has one, is not as the spine's. */
void mrmr_missed_note(struct mrmr_dir *dir, size_t member);

bool mrmr_missed_has(const struct mrmr_dir *dir, size_t member);
void mrmr_missed_forget(struct mrmr_dir *dir, size_t member);

#endif
