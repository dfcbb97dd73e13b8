/*
 * MRMR: what clients did with directories while members were away.
 *
 * It is noted for these members until it is done on them, and tells as well what
 * became of a directory if nobody else knows it any more.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/staging.h>

#include "intent_private.h"

/* What of path is left after a directory's, with its slash; "" if it is that very
   path; NULL if it is elsewhere. */
static const char *below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 &&
			       (path[len] == '/' || path[len] == '\0')
		       ? path + len
		       : NULL;
}

/* *now becomes another child of mem_ctx, or NULL: it was removed. */
static int follow(void *mem_ctx, const struct mrmr_intent *intent, char **now)
{
	const char *rest = NULL;
	char *moved = NULL;

	if (!intent->committed) {
		return 0; /* on its way, and told when it is done */
	}
	if (intent->kind == MRMR_INTENT_RMDIR) {
		if (below(*now, intent->to) != NULL) {
			TALLOC_FREE(*now);
		}
		return 0;
	}
	rest = intent->kind == MRMR_INTENT_RENAME_DIR
		       ? below(*now, intent->from)
		       : NULL;
	if (rest == NULL) {
		return 0;
	}
	moved = talloc_asprintf(mem_ctx, "%s%s", intent->to, rest);
	if (moved == NULL) {
		errno = ENOMEM;
		return -1;
	}
	talloc_free(*now);
	*now = moved;
	return 0;
}

char *mrmr_absent_directory_now(void *mem_ctx, struct mrmr_pool *pool,
				const char *path)
{
	int folder = mrmr_folder_open(pool->state_fd, MRMR_INTENTS);
	struct dirent **names = NULL;
	char *now = talloc_strdup(mem_ctx, path);
	int n = folder != -1 ? intent_list(folder, &names) : -1;
	int error = now == NULL ? ENOMEM : n == -1 ? errno : 0;
	int i;

	for (i = 0; i < n && error == 0; i++) {
		struct mrmr_intent *intent =
			intent_load(NULL, pool, folder, names[i]->d_name);

		if (intent != NULL && follow(mem_ctx, intent, &now) == -1) {
			error = errno;
		} else if (now == NULL) {
			error = ENOENT;
		}
		talloc_free(intent);
	}
	if (n >= 0) {
		intent_free_list(names, n);
	}
	if (folder != -1) {
		close(folder);
	}
	if (error != 0) {
		TALLOC_FREE(now);
		errno = error;
	}
	return now;
}
