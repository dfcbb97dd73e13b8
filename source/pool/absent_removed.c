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

static bool concerns(const struct mrmr_intent *intent, size_t member)
{
	size_t i;

	for (i = 0; i < intent->num_members; i++) {
		if (intent->members[i] == member) {
			return true;
		}
	}
	return false;
}

static bool is_of_absent(const struct mrmr_intent *intent)
{
	return intent->kind == MRMR_INTENT_ABSENT_REMOVE ||
	       intent->kind == MRMR_INTENT_ABSENT_RENAME;
}

/* What a process had begun that died: it is finished but for members that are
   away. */
static bool is_left(const struct mrmr_intent *intent)
{
	return intent->committed && (intent->kind == MRMR_INTENT_REPLACE ||
				     intent->kind == MRMR_INTENT_MOVE);
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

static int add_paths(struct mrmr_absent_removed *removed,
		     const struct mrmr_intent *intent)
{
	int ret = 0;

	if (!concerns(intent, removed->member)) {
		return 0;
	}
	if (is_of_absent(intent) || is_left(intent)) {
		ret = add(removed, intent->to);
	}
	if (ret == 0 && is_left(intent) &&
	    strcmp(intent->from, intent->to) != 0) {
		ret = add(removed, intent->from);
	}
	return ret;
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

		if (intent != NULL) {
			ret = add_paths(removed, intent);
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
