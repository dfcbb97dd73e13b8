/*
 * MRMR: on which member an open file lies, and under what path.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/fd_path.h>
#include <mrmr/move.h>

/* The root of a member that is online, or NULL. */
static const char *root_path_of(struct mrmr_pool *pool,
				struct mrmr_member *member)
{
	char path[MRMR_PATH_MAX];

	if (member->root_path != NULL && member->path_epoch == member->epoch) {
		return member->root_path;
	}
	TALLOC_FREE(member->root_path);
	if (mrmr_fd_path(member->root_fd, path, sizeof(path)) == -1) {
		return NULL;
	}
	member->root_path = talloc_strdup(pool, path);
	member->path_epoch = member->epoch;
	return member->root_path;
}

/* What of the full path is below the member's root. */
static const char *below_root(struct mrmr_pool *pool,
			      struct mrmr_member *member, const char *full)
{
	const char *root = root_path_of(pool, member);
	size_t len;

	if (root == NULL) {
		return NULL;
	}
	len = strlen(root);
	if (strncmp(full, root, len) != 0 || full[len] != '/' ||
	    strlen(full + len + 1) >= MRMR_PATH_MAX) {
		return NULL;
	}
	return full + len + 1;
}

int mrmr_file_locate(struct mrmr_pool *pool, int fd, size_t *index,
		     char path[MRMR_PATH_MAX])
{
	struct stat st;

	return fstat(fd, &st) == -1
		       ? -1
		       : mrmr_file_locate_seen(pool, fd, &st, index, path);
}

int mrmr_file_locate_seen(struct mrmr_pool *pool, int fd, const struct stat *st,
			  size_t *index, char path[MRMR_PATH_MAX])
{
	char full[MRMR_PATH_MAX + 256];
	size_t i;

	if (mrmr_fd_path(fd, full, sizeof(full)) == -1) {
		return -1;
	}
	if (st->st_nlink == 0) {
		errno = ENOENT;
		return -1;
	}
	/* The second time, roots are looked up again: as far as one is not a
	   mount point, it may have been renamed. */
	for (i = 0; i < 2 * pool->num_members; i++) {
		struct mrmr_member *member =
			&pool->members[i % pool->num_members];
		const char *below = NULL;

		if (member->state != MRMR_MEMBER_ONLINE ||
		    member->dev != st->st_dev) {
			continue;
		}
		if (i >= pool->num_members) {
			TALLOC_FREE(member->root_path);
		}
		below = below_root(pool, member, full);
		if (below != NULL) {
			*index = member->index;
			strcpy(path, below);
			return 0;
		}
	}
	errno = EXDEV;
	return -1;
}
