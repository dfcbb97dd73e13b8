/*
 * Unit tests: all that is in a share at a moment, to be compared with another one.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef TREE_H
#define TREE_H

#include <sys/stat.h>

#include "world.h"

#define TREE_MAX 256

struct tree_entry {
	char path[64];
	mode_t kind; /* the type bits of its mode */
	size_t member;
	ino_t inode; /* on its member, also while that is away */
	size_t len;
	uint8_t *bytes; /* of a file whose member is there; NULL: of none */
};

struct tree {
	struct tree_entry entries[TREE_MAX];
	size_t num;
};

bool is_away(const struct world *w, size_t member);
/* What the ghost of a file has on its member. */
ino_t inode_of_ghost(struct world *w, const char *path);

/* The share as it is, to be freed with tree_free(). Fails the test if something is
   listed that is not there, or cannot be read. */
struct tree *tree_of(struct world *w);
void tree_free(struct tree *tree);

/* NULL: it is not there. */
const struct tree_entry *tree_find(const struct tree *tree, const char *path);
/* What is no directory, by whatever name. */
const struct tree_entry *tree_find_file(const struct tree *tree,
					const struct tree_entry *like);

/* Fails the test unless all that was there is, of the same kind, and nothing else;
   more: what may be there as well, or NULL. */
void tree_same_names(const struct tree *now, const struct tree *then,
		     const struct tree *more, const char *when);

/* e is a file with these bytes; false if it is NULL. */
bool tree_has_bytes(const struct tree_entry *e, const uint8_t *bytes,
		    size_t len);

#endif
