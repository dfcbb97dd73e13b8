/*
 * MRMR: files of which an earlier version is protected, under another id.
 *
 * A client writes to a file whose member is away: the file is made anew on
 * another member, and is a new one in the catalogue. Until it is protected
 * there, what is protected of the file is what the old one had, which has lost
 * its name. If the new one's member leaves as well, that is what is read. A note
 * in the catalogue, `was.ID`, has the id of the old one (8 bytes, little-endian),
 * as long as the new one is not protected in whole: also if it found no room for its
 * parity. Another, `is.ID`, leads from the old one to the new one.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_WAS_H
#define MRMR_WAS_H

#include <stdbool.h>
#include <stdint.h>

#include <mrmr/catalog.h>

/* One that is protected as an empty file: it was declared as such. */
bool was_is_empty(const struct mrmr_node *node);

/* Is all of it in stripes (or zero)? What found no room for its parity is not. 1, 0,
   or -1 with errno. */
int was_is_protected(struct mrmr_catalog *catalog,
		     const struct mrmr_node *node);

/* In place of *node, if that is not protected in whole, what it was and is
   protected, if there is such. A talloc child of mem_ctx. -1 with errno. */
int was_find(struct mrmr_catalog *catalog, void *mem_ctx,
	     struct mrmr_node **node);

/* Within a transaction: id is now what `was` has been; then that it is not any
   more. */
int was_note(struct mrmr_catalog *catalog, uint64_t id, uint64_t was);
int was_forget(struct mrmr_catalog *catalog, uint64_t id);

/* Is a node what a file in the share was, which is not protected otherwise? 1, 0, or
   -1 with errno. */
int was_is_needed(struct mrmr_catalog *catalog, uint64_t was);

#endif
