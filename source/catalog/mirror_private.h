/*
 * MRMR: from the catalogue to a part, for its own sources.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

#ifndef MIRROR_PRIVATE_H
#define MIRROR_PRIVATE_H

#include "catalog_private.h"

/* Stripes that were asked about, and the answers. */
#define KNOWN_STRIPES 64

struct known_stripe {
	uint64_t id; /* 0: none */
	bool has_row;
};

struct mirroring {
	struct mrmr_catalog *cat;
	struct mrmr_catalog *part;
	uint16_t member;
	uint64_t sequence;
	void *frame;
	const struct seen_node *seen;
	size_t num_seen;
	size_t seen_at;       /* where the last one was */
	struct touched *more; /* nodes and extents that stripes lead to */
	size_t num_more;
	uint64_t *dirs; /* that something left */
	size_t num_dirs;
	uint64_t *whole; /* ascending: nodes that need nothing more */
	size_t num_whole;
	uint64_t last_dir; /* that is known to be there */
	struct known_stripe known[KNOWN_STRIPES];
};

/*
 * Several threads may do this at a time, each with a part of its own. The
 * catalogue keeps what is read of it, so they ask it one after another. What they
 * get stays where it is until something is changed, which nobody does meanwhile.
 * Both keep errno.
 */
static inline void mirror_ask(struct mirroring *m)
{
	pthread_mutex_lock(&m->cat->asking);
}

static inline void mirror_asked(struct mirroring *m)
{
	pthread_mutex_unlock(&m->cat->asking);
}

/* mirror.c */

/* Something that has to be looked at as well. */
int mirror_add(struct mirroring *m, enum touched_kind kind, uint64_t id,
	       uint32_t index);
int mirror_add_dir(struct mirroring *m, uint64_t id);
/* What the catalogue says of a node, as node_peek. */
int mirror_now(struct mirroring *m, uint64_t id, struct entry *entry,
	       struct place *place);
/* Its extents are as they are to be. */
int mirror_add_whole(struct mirroring *m, uint64_t id);
/* What the part is to know of an extent that the catalogue has of a node. */
int mirror_extent(struct mirroring *m, const struct entry *entry,
		  struct mrmr_extent *extent);

/* mirror_nodes.c */

/* If its names are other ones now, a node of the part keeps only one, where
   nobody sees it. */
int mirror_hide(struct mirroring *m, uint64_t id);
/* Put the node into the part, or remove it. */
int mirror_node(struct mirroring *m, uint64_t id);
/* Remove a directory that was left by something, if it is not wanted. */
int mirror_review_dir(struct mirroring *m, uint64_t id);
int mirror_is_there(struct mirroring *m, uint64_t id, bool *yes);
/* A directory, and those above it, are in the part. */
int mirror_ensure_dirs(struct mirroring *m, uint64_t dir_id);

/* mirror_plain.c */

/* 1: the node, which belongs into the part, is there as it is to be; 0: it is
   not one for this. */
int mirror_plain(struct mirroring *m, const struct entry *entry,
		 uint64_t dir_id);
/* 1: its names are the same, and it has only one. */
int mirror_has_same_name(struct mirroring *m, uint64_t id);
/* What is new in the part does not meet anything of the same name there. */
int mirror_check_free(struct mirroring *m, uint64_t dir_id,
		      const struct entry *entry);
/* -1, EILSEQ: the part and the catalogue cannot both be right (parts_fill.c finds out
   which). */
int mirror_disagree(void);

#endif
