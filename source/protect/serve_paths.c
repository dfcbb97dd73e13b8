/*
 * MRMR: what a file of a member that is away is called now.
 *
 * The catalogue has its names as they were when the protector last went through
 * the queue's log. Each of them may have been renamed or removed since, and it may
 * have got others: of a file with several names none says what became of the rest.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include "serve_private.h"

/* A name of the catalogue, as a path; NULL with ENOENT: in the trash. */
static char *path_then(struct mrmr_catalog *cat, void *mem_ctx,
		       const struct mrmr_link *link)
{
	bool in_trash = false;
	char *path = NULL;
	char *dir = NULL;

	if (link->dir_id == MRMR_ID_TRASH) {
		errno = ENOENT;
		return NULL;
	}
	dir = mrmr_catalog_path(cat, mem_ctx, link->dir_id, &in_trash);
	if (dir == NULL) {
		return NULL;
	}
	path = talloc_asprintf(mem_ctx, "%s%s%s", dir,
			       dir[0] != '\0' ? "/" : "", link->name);
	talloc_free(dir);
	if (path == NULL) {
		errno = ENOMEM;
	}
	return path;
}

int serve_paths(struct mrmr_engine *engine, void *mem_ctx,
		const struct mrmr_uuid *member, uint64_t id, uint64_t inode,
		char ***paths, size_t *num)
{
	struct mrmr_link *links = NULL;
	struct mrmr_linked *linked = NULL;
	size_t num_linked = 0;
	size_t num_links = 0;
	size_t n = 0;
	size_t i;

	*num = 0;
	if (mrmr_catalog_links(engine->catalog, mem_ctx, id, &links,
			       &num_links) == -1 ||
	    mrmr_queue_linked(engine->queue, mem_ctx, member, inode, &linked,
			      &num_linked) == -1) {
		return -1;
	}
	*paths = talloc_array(mem_ctx, char *, num_links + num_linked + 1);
	if (*paths == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < num_links; i++) {
		char *then = path_then(engine->catalog, mem_ctx, &links[i]);
		char *now = NULL;

		if (then != NULL) {
			now = mrmr_queue_resolve_file(engine->queue, mem_ctx,
						      member, inode, then);
		}
		if (now != NULL) {
			(*paths)[n++] = now;
		} else if (errno != ENOENT) {
			return -1;
		}
	}
	for (i = 0; i < num_linked; i++) {
		(*paths)[n++] = linked[i].path;
	}
	*num = n;
	return 0;
}
