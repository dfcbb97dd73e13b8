/*
 * MRMR: rebuilding: one family: the files that share slots, and the member that
 * takes them.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "rebuild_private.h"

/* Nodes that can come back at all. */
static size_t look_at_family(struct rebuild *r, void *mem_ctx,
			     const uint64_t *ids, size_t num,
			     struct rebuild_file **files)
{
	size_t count = 0;
	size_t i;

	for (i = 0; i < num; i++) {
		struct mrmr_node *node = NULL;
		struct rebuild_file *file = NULL;

		if (mrmr_catalog_get(r->engine->catalog, mem_ctx, ids[i],
				     &node) == -1 ||
		    node->member != r->number || rebuild_batch_has(r, ids[i])) {
			continue;
		}
		file = rebuild_look(r, mem_ctx, node);
		if (file != NULL && !file->is_adopted &&
		    node->kind == MRMR_NODE_FILE &&
		    !rebuild_is_covered(r, node)) {
			rebuild_drop(r, file, MRMR_REBUILD_UNPROTECTED,
				     "it was never protected");
			file = NULL;
		}
		if (file != NULL) {
			files[count++] = file;
		}
	}
	return count;
}

static void drop_unprotected(struct rebuild *r, struct rebuild_file **files,
			     size_t num)
{
	size_t i;

	for (i = 0; i < num; i++) {
		if (!files[i]->is_adopted &&
		    !rebuild_is_protected(r, files[i]->node)) {
			rebuild_drop(r, files[i], MRMR_REBUILD_UNPROTECTED,
				     "it was never protected, or not in whole");
		}
	}
}

/* True if the next member is to be tried. */
static bool is_about_target(int error)
{
	return error != EINTR && error != ENOMEM;
}

/*
 * Make all on one member. 0; 1 if another member should be tried for those that
 * are left; -1 if it cannot go on.
 */
static int stage_on(struct rebuild *r, struct rebuild_file **files, size_t num,
		    size_t target, struct mrmr_error *err)
{
	uint64_t done_bytes = r->progress.done_bytes;
	size_t i;

	for (i = 0; i < num; i++) {
		struct rebuild_file *file = files[i];
		bool lost = false;

		if (file->state != REBUILD_LOOKED_AT) {
			continue;
		}
		file->target = target;
		if (rebuild_stage(r, file, &lost, err) == 0) {
			continue;
		}
		if (errno == EINTR || !is_about_target(errno)) {
			return -1;
		}
		if (lost) {
			rebuild_drop(r, file, MRMR_REBUILD_LOST, err->text);
			continue;
		}
		mrmr_pool_suspect(r->pool, &r->pool->members[target], errno);
		r->progress.done_bytes = done_bytes;
		return 1;
	}
	return 0;
}

static void unstage_all(struct rebuild *r, struct rebuild_file **files,
			size_t num)
{
	size_t i;

	for (i = 0; i < num; i++) {
		if (files[i]->state == REBUILD_STAGED &&
		    !files[i]->is_adopted) {
			rebuild_unstage(r, files[i]);
			files[i]->state = REBUILD_LOOKED_AT;
		}
	}
}

static void give_up(struct rebuild *r, struct rebuild_file **files, size_t num,
		    const char *why)
{
	size_t i;

	for (i = 0; i < num; i++) {
		if (files[i]->state == REBUILD_LOOKED_AT) {
			rebuild_drop(r, files[i], MRMR_REBUILD_FAILED, why);
		}
	}
}

/* On the first member that has room for all of them. */
static int stage_family(struct rebuild *r, struct rebuild_file **files,
			size_t num, struct mrmr_error *err)
{
	size_t order[MRMR_MEMBERS_MAX];
	size_t n = rebuild_targets(r, files, num, order);
	struct mrmr_error why = {0};
	size_t i;
	int ret = 1;

	mrmr_error_set(&why, ENOSPC, "no member has room for it");
	for (i = 0; i < n && ret == 1; i++) {
		ret = stage_on(r, files, num, order[i], &why);
		if (ret != 0) {
			unstage_all(r, files, num);
		}
	}
	if (ret == -1) {
		*err = why;
		errno = why.code;
		return -1;
	}
	if (ret == 1) {
		give_up(r, files, num, why.text);
	}
	return 0;
}

/* Are there any that have to be made? */
static bool has_work(struct rebuild_file **files, size_t num)
{
	size_t i;

	for (i = 0; i < num; i++) {
		if (files[i]->state == REBUILD_LOOKED_AT) {
			return true;
		}
	}
	return false;
}

int rebuild_family(struct rebuild *r, uint64_t id, struct mrmr_error *err)
{
	void *frame = talloc_new(r);
	struct rebuild_file **files = NULL;
	uint64_t *ids = NULL;
	size_t num = 0;
	size_t i;
	int ret = -1;

	if (rebuild_gather(r, frame, id, &ids, &num) == -1) {
		mrmr_error_set(err, errno, "the catalogue cannot be read: %s",
			       strerror(errno));
		goto out;
	}
	files = talloc_zero_array(frame, struct rebuild_file *, num);
	if (files == NULL) {
		mrmr_error_set(err, ENOMEM, "not enough memory");
		goto out;
	}
	num = look_at_family(r, frame, ids, num, files);
	drop_unprotected(r, files, num);
	ret = has_work(files, num) ? stage_family(r, files, num, err) : 0;
	for (i = 0; i < num && ret == 0; i++) {
		if (files[i]->state != REBUILD_DROPPED) {
			ret = rebuild_batch_add(r, files[i]);
		}
	}
out:
	talloc_free(frame);
	return ret;
}
