/*
 * MRMR: repairs: the note of one that is under way.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef REPAIR_PRIVATE_H
#define REPAIR_PRIVATE_H

#include <mrmr/repair.h>

struct repair_note {
	uint64_t id; /* of the file */
	uint16_t member;
	uint64_t old_inode; /* which the catalogue has, */
	uint64_t new_inode; /* and is to get */
	uint32_t generation;
};

/* 1; 0 if there is none; -1. */
int repair_note_get(struct mrmr_catalog *catalog, struct repair_note *note);

/* Within a transaction; NULL: there is none any more. */
int repair_note_put(struct mrmr_catalog *catalog,
		    const struct repair_note *note);

#endif
