/*
 * MRMR: rebuilding: one family: the files that share slots, and the member that
 * takes them. Where no member has room for all of them, half of them are a family,
 * and the other half: their slots, whose files are apart then, are left by them.
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
		if (file != NULL && !file->is_adopted && file->was == NULL &&
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
		if (!files[i]->is_adopted && files[i]->was == NULL &&
		    !rebuild_is_protected(r, files[i]->node)) {
			rebuild_drop(r, files[i], MRMR_REBUILD_UNPROTECTED,
				     "it was never protected, or not in whole");
		}
	}
}

static void unstage_all(struct rebuild *r, struct rebuild_file **files,
			size_t num)
{
	size_t i;

	for (i = 0; i < num; i++) {
		if (files[i]->state != REBUILD_DROPPED &&
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

/* --- members -------------------------------------------------------------------- */

static size_t count_left(const struct rebuild_family *family)
{
	size_t num = 0;
	size_t i;

	for (i = 0; i < family->num; i++) {
		num += family->files[i]->state == REBUILD_LOOKED_AT;
	}
	return num;
}

static int try_next(struct rebuild *r, struct rebuild_family *family,
		    const char *why, struct mrmr_error *err);

/* Those that have room for all of them. */
static int find_targets(struct rebuild *r, struct rebuild_family *family,
			struct mrmr_error *err)
{
	size_t order[MRMR_MEMBERS_MAX];

	talloc_free(family->targets);
	family->num_tried = 0;
	family->num_targets =
		rebuild_targets(r, family->files, family->num, order);
	family->targets = talloc_array(family, size_t, family->num_targets);
	if (family->targets == NULL) {
		return mrmr_error_set(err, ENOMEM, "not enough memory");
	}
	memcpy(family->targets, order, family->num_targets * sizeof(order[0]));
	return 0;
}

static int begin(struct rebuild *r, struct rebuild_family *family,
		 struct mrmr_error *err)
{
	if (find_targets(r, family, err) == -1) {
		return -1;
	}
	family->lacks_room = true;
	family->next = NULL;
	*r->families_end = family;
	r->families_end = &family->next;
	return try_next(r, family, "no member has room for it", err);
}

static int begin_some(struct rebuild *r, struct rebuild_file **files,
		      size_t num, struct mrmr_error *err)
{
	struct rebuild_family *family =
		talloc_zero(r->batch, struct rebuild_family);
	size_t i;

	if (family != NULL) {
		family->files =
			talloc_memdup(family, files, num * sizeof(files[0]));
	}
	if (family == NULL || family->files == NULL) {
		return mrmr_error_set(err, ENOMEM, "not enough memory");
	}
	family->num = num;
	for (i = 0; i < num; i++) {
		files[i]->family = family;
	}
	return begin(r, family, err);
}

/* What is left of them, in two; nothing is in this family any more. */
static int split(struct rebuild *r, struct rebuild_family *family,
		 struct mrmr_error *err)
{
	size_t num = 0;
	size_t i;

	for (i = 0; i < family->num; i++) {
		if (family->files[i]->state == REBUILD_LOOKED_AT) {
			family->files[num++] = family->files[i];
		}
	}
	family->num = 0;
	if (begin_some(r, family->files, num / 2, err) == -1) {
		return -1;
	}
	return begin_some(r, family->files + num / 2, num - num / 2, err);
}

/* Begin to make what is left of them on the next member. */
static int try_next(struct rebuild *r, struct rebuild_family *family,
		    const char *why, struct mrmr_error *err)
{
	size_t target;
	size_t i;
	int ret;

	if (family->num_tried == family->num_targets) {
		if (family->lacks_room && count_left(family) > 1) {
			return split(r, family, err);
		}
		give_up(r, family->files, family->num, why);
		return 0;
	}
	target = family->targets[family->num_tried++];
	for (i = 0; i < family->num; i++) {
		if (family->files[i]->state == REBUILD_LOOKED_AT) {
			family->files[i]->target = target;
		}
	}
	ret = rebuild_slots_begin(r, family, err);
	family->is_stopped = ret == -1;
	return ret;
}

/* What was interrupted in the middle is given up, but not settled. */
static void give_up_stopped(struct rebuild *r, struct rebuild_family *family)
{
	size_t i;

	for (i = 0; i < family->num; i++) {
		struct rebuild_file *file = family->files[i];

		if (file->state == REBUILD_LOOKED_AT &&
		    (atomic_load(&file->pieces_left) > 0 ||
		     atomic_load(&file->error) != 0)) {
			rebuild_unstage(r, file);
			file->state = REBUILD_DROPPED;
		}
	}
}

/* 0, or what the target failed with. */
static int settle_files(struct rebuild *r, struct rebuild_family *family)
{
	int error = 0;
	size_t i;

	for (i = 0; i < family->num; i++) {
		struct rebuild_file *file = family->files[i];

		if (file->state == REBUILD_LOOKED_AT &&
		    rebuild_slots_end(r, file) == -1 && error == 0) {
			error = errno;
		}
	}
	return error;
}

/* Nothing of it is under way any more. */
static int settle(struct rebuild *r, struct rebuild_family *family,
		  struct mrmr_error *err)
{
	const struct mrmr_member *member = NULL;
	struct mrmr_error why = {0};
	int error;

	if (family->is_stopped) {
		give_up_stopped(r, family);
	}
	error = settle_files(r, family);
	if (error == 0) {
		return 0;
	}
	if (error == ENOMEM) {
		return mrmr_error_set(err, ENOMEM, "not enough memory");
	}
	member = &r->pool->members[family->targets[family->num_tried - 1]];
	mrmr_error_set(&why, error, "member %s: %s", mrmr_member_name(member),
		       strerror(error));
	mrmr_pool_suspect(r->pool, member, error);
	family->lacks_room = error == ENOSPC || error == EDQUOT;
	r->progress.done_bytes -= family->done_bytes;
	family->done_bytes = 0;
	unstage_all(r, family->files, family->num);
	if (family->num_tried == family->num_targets && family->lacks_room &&
	    !family->is_alone) {
		/* Others were on their way to the same members, and may have
		   gone elsewhere. Nothing is under way now. */
		family->is_alone = true;
		mrmr_pool_look_at_space(r->pool);
		if (find_targets(r, family, err) == -1) {
			return -1;
		}
	}
	return try_next(r, family, why.text, err);
}

int rebuild_families_end(struct rebuild *r, struct mrmr_error *err)
{
	struct rebuild_family *family = NULL;
	int ret = 0;

	rebuild_slots_take(r, true);
	while (ret == 0 && (family = r->families) != NULL) {
		ret = settle(r, family, err);
		if (ret == -1 && err->code == EINTR) {
			ret = 0; /* is_stopped: the next time gives it up */
		}
		rebuild_slots_take(r, true);
		if (ret == 0 && count_left(family) == 0) {
			r->families = family->next;
		}
	}
	if (r->families == NULL) {
		r->families_end = &r->families;
	}
	return ret;
}

/* --- beginning ------------------------------------------------------------------ */

static int add_all(struct rebuild *r, struct rebuild_family *family,
		   struct mrmr_error *err)
{
	size_t i;

	for (i = 0; i < family->num; i++) {
		family->files[i]->family = family;
		if (family->files[i]->state != REBUILD_DROPPED &&
		    rebuild_batch_add(r, family->files[i]) == -1) {
			return mrmr_error_set(err, ENOMEM, "not enough memory");
		}
	}
	return 0;
}

int rebuild_family(struct rebuild *r, uint64_t id, struct mrmr_error *err)
{
	struct rebuild_family *family =
		talloc_zero(r->batch, struct rebuild_family);
	uint64_t *ids = NULL;
	size_t num = 0;
	int ret;

	if (family == NULL) {
		return mrmr_error_set(err, ENOMEM, "not enough memory");
	}
	if (rebuild_gather(r, family, id, &ids, &num) == -1) {
		return mrmr_error_set(err, errno,
				      "the catalogue cannot be read: %s",
				      mrmr_catalog_why(errno));
	}
	family->files = talloc_zero_array(family, struct rebuild_file *, num);
	if (family->files == NULL) {
		return mrmr_error_set(err, ENOMEM, "not enough memory");
	}
	family->num = look_at_family(r, family, ids, num, family->files);
	talloc_free(ids);
	drop_unprotected(r, family->files, family->num);
	ret = add_all(r, family, err);
	if (ret == 0 && count_left(family) > 0) {
		ret = begin(r, family, err);
	}
	return ret;
}
