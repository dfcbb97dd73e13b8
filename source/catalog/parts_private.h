/*
 * MRMR: the catalogue: the parts of members, for its own sources.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef PARTS_PRIVATE_H
#define PARTS_PRIVATE_H

#include "catalog_private.h"

/* What the catalogue knows of a part. */
struct part_known {
	bool is_current;
	uint64_t complete; /* all commits up to this one are in it */
	uint64_t written;  /* the sequence that stands in it */
};

/* parts_log.c */

/* ENOENT if it knows none. */
int part_known_get(struct mrmr_catalog *cat, uint16_t member,
		   struct part_known *known);
int part_known_put(struct mrmr_catalog *cat, uint16_t member,
		   const struct part_known *known);

/* What a commit touched; adds to the list. ENOENT if it was not kept. */
int part_log_load(struct mrmr_catalog *cat, uint64_t sequence, void *mem_ctx,
		  struct touched **list, size_t *num);
/* Keep what this commit touches, or, if nobody is behind, nothing. */
int part_log_write(struct mrmr_catalog *cat, bool is_needed);

/* parts.c */

/* NULL if the member has none attached. */
struct attached *part_find(const struct mrmr_catalog *cat, uint16_t member);
/* What the last batch of a part touched, added to a list, a child of mem_ctx. */
int part_last_load(struct mrmr_catalog *part, void *mem_ctx,
		   struct touched **list, size_t *num);
/* With the next commit, the part is told of this as well. */
int part_add_pending(struct mrmr_catalog *cat, struct attached *a,
		     const struct touched *one);
/* Why a commit did without the part of a member that is not attached any more; 0: it
   was not for that. */
int part_error(const struct mrmr_catalog *cat, uint16_t member);
/* Write what was changed in the part, as of the catalogue's sequence. */
int part_save(struct mrmr_catalog *cat, struct attached *a);

/* parts_fill.c */

/* Tell each part that is not behind, and has no error, of what is in `pending`,
   and commit it: was_written, or error. -1 with errno, EILSEQ: the catalogue is
   damaged, and none was told. */
int parts_fill(struct mrmr_catalog *cat, const struct seen_node *seen);

#endif
