/*
 * MRMR: the trash: what bringing back and removing share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef TRASH_PRIVATE_H
#define TRASH_PRIVATE_H

#include <mrmr/undelete.h>

/* Its name in the directory MRMR_ID_TRASH of the catalogue. NULL with errno. */
char *trash_name(void *mem_ctx, struct mrmr_engine *engine,
		 const struct mrmr_trashed *item);

/* Remove the directories above it that are empty now, up to its folder's. */
void trash_prune(const struct mrmr_member *member, const char *trash_path);

#endif
