/*
 * MRMR: what clients removed of a member that is away.
 *
 * What is to be done on the member when it is back is noted by path, and paths
 * change: a directory of that name may have been another one. So the ghosts
 * have the last word: what is shown was not removed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/staging.h>

#include "intent_private.h"

struct mrmr_absent_removed {
	struct mrmr_pool *pool;
	size_t member;
	char **paths; /* sorted */
	size_t num;
};

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_of(const struct mrmr_intent *intent, size_t member)
{
	return intent->keep == member &&
	       (intent->kind == MRMR_INTENT_ABSENT_REMOVE ||
		intent->kind == MRMR_INTENT_ABSENT_RENAME);
}

static int add(struct mrmr_absent_removed *removed, const char *path)
{
	size_t size = talloc_array_length(removed->paths);

	if (removed->num == size) {
		char **paths = talloc_realloc(removed, removed->paths, char *,
					      size > 0 ? 2 * size : 16);

		if (paths == NULL) {
			errno = ENOMEM;
			return -1;
		}
		removed->paths = paths;
	}
	removed->paths[removed->num] = talloc_strdup(removed->paths, path);
	if (removed->paths[removed->num] == NULL) {
		errno = ENOMEM;
		return -1;
	}
	removed->num++;
	return 0;
}

static int load(struct mrmr_absent_removed *removed, int folder,
		struct dirent **names, int n)
{
	int ret = 0;
	int i;

	for (i = 0; i < n && ret == 0; i++) {
		void *frame = talloc_new(NULL);
		struct mrmr_intent *intent =
			intent_load(frame, removed->pool, folder,
				    names[i]->d_name);

		if (intent != NULL && is_of(intent, removed->member)) {
			ret = add(removed, intent->to);
		}
		talloc_free(frame);
	}
	if (removed->num > 0) {
		qsort(removed->paths, removed->num, sizeof(removed->paths[0]),
		      compare);
	}
	return ret;
}

struct mrmr_absent_removed *mrmr_absent_removed_load(void *mem_ctx,
						     struct mrmr_pool *pool,
						     size_t member)
{
	struct mrmr_absent_removed *removed =
		talloc_zero(mem_ctx, struct mrmr_absent_removed);
	int folder = mrmr_folder_open(pool->state_fd, MRMR_INTENTS);
	struct dirent **names = NULL;
	int saved_errno;
	int ret = -1;
	int n = -1;

	if (folder != -1) {
		n = intent_list(folder, &names);
	}
	if (removed != NULL && n >= 0) {
		removed->pool = pool;
		removed->member = member;
		ret = load(removed, folder, names, n);
	} else if (removed == NULL) {
		errno = ENOMEM;
	}
	saved_errno = errno;
	if (n >= 0) {
		intent_free_list(names, n);
	}
	if (folder != -1) {
		close(folder);
	}
	if (ret == -1) {
		TALLOC_FREE(removed);
	}
	errno = saved_errno;
	return removed;
}

bool mrmr_absent_was_removed(const struct mrmr_absent_removed *removed,
			     const char *path)
{
	return removed->num > 0 &&
	       bsearch(&path, removed->paths, removed->num,
		       sizeof(removed->paths[0]), compare) != NULL &&
	       replay_has_ghost(removed->pool, removed->member, path) == 0;
}
