/*
 * MRMR: the names in a directory, each once, over the spine and the members.
 *
 * A listing is a snapshot in memory. Making one also mends the spine:
 * directories that appeared on members behind our back are brought in, and
 * those that vanished from all members are pruned (only while all members are
 * online: missing is not deleted).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_LISTING_H
#define MRMR_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <mrmr/dir.h>

struct mrmr_listing_entry {
	const char *name;
	uint64_t ino;
	size_t member;      /* or MRMR_IN_SPINE */
	unsigned char type; /* DT_... */
	bool is_hiding; /* a file: another member has something of that name */
};

struct mrmr_listing;

/* A talloc child of mem_ctx. NULL with errno. "." and ".." come first. */
struct mrmr_listing *mrmr_listing_new(void *mem_ctx, struct mrmr_dir *dir);

size_t mrmr_listing_count(const struct mrmr_listing *listing);

/* All that is there could be read. If not, nobody knows what the rest hides. */
bool mrmr_listing_is_whole(const struct mrmr_listing *listing);

/* Entry i, owned by the listing. */
struct mrmr_listing_entry mrmr_listing_get(const struct mrmr_listing *listing,
					   size_t i);

/*
 * Search for a name in another case: call fn for each name that is in the spine
 * directory or a clone, without order and possibly more than once, until it
 * returns true. 1; 0 if it never did, or is sure not to for this name, by the
 * pool's fold; or -1 with errno.
 */
int mrmr_dir_search(struct mrmr_dir *dir, const char *name,
		    bool (*fn)(const char *name, void *private_data),
		    void *private_data);

/* True if the directory is empty on the spine and every online member. */
int mrmr_dir_is_empty(struct mrmr_dir *dir, bool *empty);

/* Has the directory fd an entry that is spelled so, byte by byte? Uses fd's
   offset. 1, 0, or -1 with errno. */
int mrmr_fd_has_entry(int fd, const char *name);

/* True if the directory fd has no entry. Uses fd's offset. -1 with errno. */
int mrmr_fd_is_empty(int fd, bool *empty);

#endif
