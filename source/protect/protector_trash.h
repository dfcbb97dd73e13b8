/*
 * MRMR: the protector: emptying the trash: what its files share. The theory is in
 * protector_trash.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef PROTECTOR_TRASH_H
#define PROTECTOR_TRASH_H

#include "protector_private.h"

/* Of a member. */
struct trash {
	struct protector *p;
	struct mrmr_member *member;
	uint16_t number;
	int fd; /* -1: there is none */
	int64_t begun_ns;
	uint64_t known_bytes;  /* that could be had, as was said then */
	struct trashed *files; /* talloc; the oldest first */
	size_t num;
	uint64_t bytes;        /* of all */
	uint64_t wanted_bytes; /* that clients wait for */
	uint64_t freed_bytes;
	bool has_failed; /* something of it cannot be removed */
};

struct trashed {
	struct trash *trash;
	char *path; /* below the member's trash */
	int64_t time_ns;
	uint64_t inode;
	uint64_t bytes; /* on disk, that its removal gives */
	bool is_last_name;
	bool is_removed;
};

enum trash_place {
	TRASH_NOT_KNOWN,  /* or only by this name, with nothing in stripes */
	TRASH_IN_TRASH,   /* this is its only name */
	TRASH_STILL_USED, /* it has others */
};

/* What the catalogue has of it. -1 with errno; EBUSY: it has to stay for now.
   *node is a talloc child of mem_ctx. */
int trash_find_place(struct protector *p, void *mem_ctx,
		     const struct trashed *file, struct mrmr_node **node,
		     enum trash_place *place);

/*
 * In one transaction, they leave their stripes and the catalogue; then they are
 * removed. 0, or -1 with *err. 1: nothing was done, as what shares stripes with
 * them would lose by it.
 */
int trash_leave(struct protector *p, struct trashed **files, size_t num,
		struct mrmr_error *err);

/* Of one that has left both. With the folders that are empty then. */
void trash_remove_file(struct trashed *file);

/*
 * The same stripe by stripe, for those of which trash_leave() says 1: as many as
 * can (protector_trash_tight.c).
 */
int trash_leave_by_stripes(struct protector *p, struct trashed **files,
			   size_t num, struct mrmr_error *err);

#endif
