/*
 * MRMR: files of a lost member that were rebuilt, and of which the queue still has
 * something to tell.
 *
 * Clients rename, change and remove files while they are rebuilt. What they did to one
 * before it came to its new member is told with what it had on the lost one, and
 * applied after the catalogue has it where it is now. So a rebuild notes, with each of
 * its transactions, what its files had; and the protector takes an event of that for
 * one of what they have now. When it has been through all events once, nothing is told
 * of the lost member any more, and the notes go.
 *
 *     relocated        4 bytes: number of notes
 *     relocated.N      18 bytes each: member and inode, node; all little-endian
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_RELOCATED_H
#define MRMR_RELOCATED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/catalog.h>

struct relocation {
	uint16_t member; /* where it was, */
	uint64_t inode;  /* and what it had there */
	uint64_t node;
};

/* Within a transaction: these came to other members. -1 with errno. */
int relocated_note(struct mrmr_catalog *catalog, const struct relocation *list,
		   size_t num);

/* Are there any? */
bool relocated_any(struct mrmr_catalog *catalog);

/* All of them, sorted, a talloc array. NULL with errno: ENOENT there are none. */
struct relocation *relocated_load(void *mem_ctx, struct mrmr_catalog *catalog);

/* What had this inode on this member: its node, or MRMR_ID_NONE. list may be NULL. */
uint64_t relocated_find(const struct relocation *list, uint16_t member,
			uint64_t inode);

/* Within a transaction: they have been heard of. */
int relocated_forget(struct mrmr_catalog *catalog);

#endif
