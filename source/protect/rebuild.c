/*
 * MRMR: bringing back what was on a member that is lost (see mrmr/rebuild.h).
 *
 * The catalogue is walked by ids. A node that is on the lost member is looked
 * at, with those that share a slot with it; a member is chosen for them; they
 * are made there. When a batch is full:
 *
 *	syncfs		the bytes are durable
 *	names		they are in the share
 *	syncfs		the names are durable
 *	commit		they are where the catalogue says
 *
 *	killed			then
 *	before the names	garbage in .mrmr/rebuild, swept when a pool is
 *				opened
 *	among the names, or	files that are there and of which the catalogue
 *	before the commit	says that they are lost: the next run finds them,
 *				compares them with their hashes, and goes on from
 *				there
 *	after the commit	nothing is left to do for these
 *
 * What cannot be brought back stays in the catalogue, and is told once a run.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/fault.h>
#include <mrmr/log.h>
#include <mrmr/recover.h>

#include "rebuild_private.h"

#define BATCH_BYTES_DEFAULT (UINT64_C(256) << 20)
#define BATCH_FILES 1000

/* --- trouble -------------------------------------------------------------------- */

static int compare_ids(const void *a_void, const void *b_void)
{
	uint64_t a = *(const uint64_t *)a_void;
	uint64_t b = *(const uint64_t *)b_void;

	return a < b ? -1 : a > b;
}

bool rebuild_is_settled(const struct rebuild *r, uint64_t id)
{
	return r->num_settled > 0 && bsearch(&id, r->settled, r->num_settled,
					     sizeof(id), compare_ids) != NULL;
}

/* Without memory, it is told again. */
static void settle(struct rebuild *r, uint64_t id)
{
	size_t size = talloc_array_length(r->settled);
	size_t at = r->num_settled;

	if (rebuild_is_settled(r, id)) {
		return;
	}
	if (r->num_settled == size) {
		uint64_t *larger =
			talloc_realloc(r, r->settled, uint64_t, 2 * size + 64);

		if (larger == NULL) {
			return;
		}
		r->settled = larger;
	}
	/* they come in the order of ids, as a rule */
	for (; at > 0 && r->settled[at - 1] > id; at--) {
		r->settled[at] = r->settled[at - 1];
	}
	r->settled[at] = id;
	r->num_settled++;
}

static void count_trouble(struct rebuild *r, enum mrmr_rebuild_trouble kind,
			  uint64_t size_bytes)
{
	switch (kind) {
	case MRMR_REBUILD_LOST:
	case MRMR_REBUILD_UNPROTECTED:
		r->result->lost_files++;
		r->result->lost_bytes += size_bytes;
		break;
	case MRMR_REBUILD_TAKEN:
		r->result->taken_files++;
		break;
	case MRMR_REBUILD_FAILED:
		r->result->failed_files++;
		break;
	case MRMR_REBUILD_OLDER:
		r->result->older_files++;
		break;
	}
}

void rebuild_tell(struct rebuild *r, enum mrmr_rebuild_trouble kind,
		  const char *path, uint64_t size_bytes, const char *why)
{
	count_trouble(r, kind, size_bytes);
	if (r->options->trouble != NULL) {
		r->options->trouble(kind, path, size_bytes, why,
				    r->options->private_data);
	}
}

void rebuild_trouble(struct rebuild *r, const struct mrmr_node *node,
		     enum mrmr_rebuild_trouble kind, const char *path,
		     const char *why)
{
	if (rebuild_is_settled(r, node->id)) {
		return;
	}
	settle(r, node->id);
	if (kind == MRMR_REBUILD_LOST || kind == MRMR_REBUILD_UNPROTECTED) {
		rebuild_note_lost(r, node->id);
	}
	rebuild_tell(r, kind, path, node->size_bytes, why);
}

void rebuild_drop(struct rebuild *r, struct rebuild_file *file,
		  enum mrmr_rebuild_trouble kind, const char *why)
{
	rebuild_unstage(r, file);
	file->state = REBUILD_DROPPED;
	rebuild_trouble(r, file->node, kind, rebuild_path(file), why);
}

bool rebuild_should_stop(const struct rebuild *r)
{
	return r->options->should_stop != NULL &&
	       r->options->should_stop(r->options->private_data);
}

/* --- batches -------------------------------------------------------------------- */

static void begin_batch(struct rebuild *r)
{
	TALLOC_FREE(r->batch);
	r->batch = talloc_new(r);
	r->files = NULL;
	r->num_files = 0;
	r->batch_bytes = 0;
	memset(r->is_target, 0, sizeof(r->is_target));
}

static int add_to_batch(struct rebuild *r, struct rebuild_file *file)
{
	size_t size = talloc_array_length(r->files);

	if (r->num_files == size) {
		struct rebuild_file **larger =
			talloc_realloc(r->batch, r->files,
				       struct rebuild_file *, 2 * size + 64);

		if (larger == NULL) {
			errno = ENOMEM;
			return -1;
		}
		r->files = larger;
	}
	r->files[r->num_files++] = talloc_steal(r->batch, file);
	r->batch_bytes += file->node->size_bytes;
	r->is_target[file->target] = true;
	return 0;
}

/* A member that cannot be synced keeps nothing of the batch. */
static void sync_targets(struct rebuild *r)
{
	size_t i, n;

	for (i = 0; i < r->pool->num_members; i++) {
		const struct mrmr_member *member = &r->pool->members[i];
		int error;

		if (!r->is_target[i] || (mrmr_fault("rebuild-sync") == 0 &&
					 syncfs(member->root_fd) == 0)) {
			continue;
		}
		error = errno;
		mrmr_pool_suspect(r->pool, member, error);
		for (n = 0; n < r->num_files; n++) {
			struct rebuild_file *file = r->files[n];

			if (file->target == i &&
			    file->state != REBUILD_DROPPED) {
				rebuild_drop(r, file, MRMR_REBUILD_FAILED,
					     strerror(error));
			}
		}
	}
}

static void count_batch(struct rebuild *r)
{
	size_t i;

	for (i = 0; i < r->num_files; i++) {
		struct rebuild_file *file = r->files[i];

		if (file->state != REBUILD_PLACED) {
			continue;
		}
		rebuild_drop_ghosts(r, file);
		r->result->files++;
		r->result->bytes += file->node->size_bytes;
		r->result->adopted += file->is_adopted;
		r->progress.done_files++;
	}
}

static int finish_batch(struct rebuild *r, struct mrmr_error *err)
{
	size_t i;
	int ret = 0;

	if (r->num_files > 0) {
		sync_targets(r);
		for (i = 0; i < r->num_files; i++) {
			if (r->files[i]->state == REBUILD_STAGED) {
				rebuild_place(r, r->files[i]);
			}
		}
		if (mrmr_fault("rebuild-placed") != 0) {
			ret = mrmr_error_set(err, errno, "%s", strerror(errno));
		}
	}
	if (ret == 0 && r->num_files > 0) {
		sync_targets(r);
		ret = rebuild_record(r, err);
	}
	if (ret == 0) {
		count_batch(r);
		begin_batch(r);
		mrmr_pool_look_at_space(r->pool);
	}
	return ret;
}

/* Nothing of it may stay in .mrmr/rebuild while this process lives. */
static void drop_batch(struct rebuild *r)
{
	int saved_errno = errno;
	size_t i;

	for (i = 0; i < r->num_files; i++) {
		rebuild_unstage(r, r->files[i]);
	}
	errno = saved_errno;
}

/* Those that are in the batch are on the lost member until it is committed. */
static bool is_in_batch(const struct rebuild *r, uint64_t id)
{
	size_t i;

	for (i = 0; i < r->num_files; i++) {
		if (r->files[i]->node->id == id) {
			return true;
		}
	}
	return false;
}

/* --- one family ------------------------------------------------------------------ */

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
		    node->member != r->number || is_in_batch(r, ids[i])) {
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

static int rebuild_family(struct rebuild *r, uint64_t id,
			  struct mrmr_error *err)
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
			ret = add_to_batch(r, files[i]);
		}
	}
out:
	talloc_free(frame);
	return ret;
}

/* --- all of them ----------------------------------------------------------------- */

static bool is_full(const struct rebuild *r)
{
	uint64_t most = r->options->batch_bytes != 0 ? r->options->batch_bytes
						     : BATCH_BYTES_DEFAULT;

	return r->num_files >= BATCH_FILES || r->batch_bytes >= most;
}

/* The lost member must not be written to, nor its files be there twice. */
static int check_lost(struct rebuild *r, struct mrmr_error *err)
{
	const struct mrmr_member *lost = &r->pool->members[r->options->lost];

	mrmr_pool_use(r->pool);
	if (lost->state == MRMR_MEMBER_ONLINE) {
		return mrmr_error_set(err, EBUSY,
				      "member %s is there: its files are not "
				      "lost; unmount it if it is to be rebuilt "
				      "elsewhere",
				      mrmr_member_name(lost));
	}
	return 0;
}

int rebuild_between(struct rebuild *r, struct mrmr_error *err)
{
	if (r->options->between != NULL &&
	    r->options->between(err, r->options->private_data) == -1) {
		return -1;
	}
	if (check_lost(r, err) == -1) {
		return -1;
	}
	return mrmr_engine_look(r->engine, err);
}

static int rebuild_node(struct rebuild *r, uint64_t id, struct mrmr_error *err)
{
	if (rebuild_is_settled(r, id)) {
		return 0;
	}
	if (rebuild_family(r, id, err) == -1) {
		return -1;
	}
	if (!is_full(r)) {
		return 0;
	}
	return finish_batch(r, err) == -1 ? -1 : rebuild_between(r, err);
}

static int rebuild_wanted(struct rebuild *r, struct mrmr_error *err)
{
	struct mrmr_node *node = NULL;
	uint64_t id;
	int ret = 0;

	while (ret == 0 && r->options->next_wanted != NULL &&
	       (id = r->options->next_wanted(r->options->private_data)) !=
		       MRMR_ID_NONE) {
		if (mrmr_catalog_get(r->engine->catalog, r, id, &node) == -1) {
			continue;
		}
		/* somebody waits for it */
		if (node->member == r->number && !rebuild_is_settled(r, id)) {
			ret = rebuild_node(r, id, err);
			if (ret == 0) {
				ret = finish_batch(r, err);
			}
		}
		TALLOC_FREE(node);
	}
	return ret;
}

static int walk(struct rebuild *r, struct mrmr_error *err)
{
	struct mrmr_node *node = NULL;
	uint64_t id = 0;
	int ret = 0;

	while (ret == 0 && !rebuild_should_stop(r)) {
		ret = rebuild_wanted(r, err);
		if (ret == -1) {
			break;
		}
		if (mrmr_catalog_next(r->engine->catalog, r, id, &node) == -1) {
			ret = errno == ENOENT
				      ? 0
				      : mrmr_error_set(err, errno,
						       "the catalogue cannot "
						       "be read: %s",
						       strerror(errno));
			break;
		}
		id = node->id;
		if (node->kind == MRMR_NODE_DIRECTORY) {
			rebuild_directory(r, node);
		} else if (node->member == r->number && !is_in_batch(r, id)) {
			ret = rebuild_node(r, id, err);
		}
		TALLOC_FREE(node);
	}
	return ret;
}

/* What was interrupted in the middle is given up; what is made is kept. */
static int rebuild_files(struct rebuild *r, struct mrmr_error *err)
{
	int ret;

	begin_batch(r);
	ret = walk(r, err);
	if (ret == -1 && err->code != EINTR) {
		drop_batch(r);
		return -1;
	}
	ret = finish_batch(r, err);
	if (ret == -1) {
		drop_batch(r);
	}
	return ret;
}

/* --- the interface ---------------------------------------------------------------- */

static int is_any_left(struct rebuild *r, bool *is_left)
{
	struct mrmr_catalog_sums sums = {0};
	struct mrmr_node *node = NULL;
	uint64_t id = 0;

	*is_left = true;
	if (mrmr_catalog_sums(r->engine->catalog, r->number, &sums) == -1) {
		return -1;
	}
	if (sums.num_files > 0 || sums.num_slots > 0 || sums.num_blobs > 0 ||
	    sums.trash_bytes > 0) {
		return 0;
	}
	/* the sums do not have symlinks and the like */
	while (mrmr_catalog_next(r->engine->catalog, r, id, &node) == 0) {
		bool is_its = node->member == r->number;

		id = node->id;
		TALLOC_FREE(node);
		if (is_its) {
			return 0;
		}
	}
	if (errno != ENOENT) {
		return -1;
	}
	*is_left = false;
	return 0;
}

struct rebuild *rebuild_begin(struct mrmr_engine *engine,
			      const struct mrmr_rebuild_options *options,
			      struct mrmr_rebuild_result *result,
			      struct mrmr_error *err)
{
	struct rebuild *r = talloc_zero(engine, struct rebuild);
	struct mrmr_catalog_sums sums = {0};

	if (r == NULL) {
		mrmr_error_set(err, ENOMEM, "not enough memory");
		return NULL;
	}
	*result = (struct mrmr_rebuild_result){0};
	r->engine = engine;
	r->pool = engine->pool;
	r->options = options;
	r->result = result;
	r->number = engine->number[options->lost];
	if (check_lost(r, err) == -1) {
		talloc_free(r);
		errno = EBUSY;
		return NULL;
	}
	rebuild_note_online(r);
	mrmr_catalog_sums(engine->catalog, r->number, &sums);
	r->progress.todo_files = sums.num_files;
	r->progress.todo_bytes = sums.file_bytes + sums.trash_bytes;
	return r;
}

int mrmr_rebuild(struct mrmr_engine *engine,
		 const struct mrmr_rebuild_options *options,
		 struct mrmr_rebuild_result *result, struct mrmr_error *err)
{
	struct rebuild *r = rebuild_begin(engine, options, result, err);
	bool is_left = true;
	int saved_errno;
	int ret;

	if (r == NULL) {
		return -1;
	}
	ret = rebuild_changes(r, err);
	if (ret == 0) {
		ret = rebuild_files(r, err);
	}
	if (ret == 0 && !rebuild_should_stop(r)) {
		ret = rebuild_give_up(r, err);
	}
	if (ret == 0 && !rebuild_should_stop(r)) {
		ret = rebuild_rows(r, err);
	}
	if (ret == 0 && is_any_left(r, &is_left) == -1) {
		ret = mrmr_error_set(err, errno,
				     "the catalogue cannot be read: %s",
				     strerror(errno));
	}
	result->is_stopped = rebuild_should_stop(r);
	result->is_complete = ret == 0 && !is_left;
	saved_errno = errno;
	talloc_free(r);
	errno = saved_errno;
	return ret;
}

int mrmr_rebuild_forget(struct mrmr_engine *engine, size_t lost,
			struct mrmr_error *err)
{
	const struct mrmr_rebuild_options options = {.lost = lost};
	struct mrmr_rebuild_result result;
	struct rebuild *r = rebuild_begin(engine, &options, &result, err);
	uint16_t number = engine->number[lost];
	bool is_left = true;

	if (r == NULL) {
		return -1;
	}
	if (is_any_left(r, &is_left) == -1 || is_left) {
		talloc_free(r);
		return mrmr_error_set(err, EBUSY,
				      "the catalogue still has something on "
				      "member %s",
				      mrmr_member_name(
					      &engine->pool->members[lost]));
	}
	talloc_free(r);
	if (mrmr_catalog_begin(engine->catalog) == -1) {
		return mrmr_error_set(err, errno,
				      "the catalogue cannot be changed: %s",
				      strerror(errno));
	}
	if (mrmr_catalog_forget_part(engine->catalog, number) == -1) {
		int error = errno;

		mrmr_catalog_cancel(engine->catalog);
		return mrmr_error_set(err, error,
				      "the catalogue cannot be changed: %s",
				      strerror(error));
	}
	if (mrmr_catalog_commit(engine->catalog, err) == -1) {
		return -1;
	}
	mrmr_absent_drop(engine->pool, lost);
	return 0;
}

/* --- the spine (mrmr/recover.h) ------------------------------------------------------ */

int mrmr_recover_spine(struct mrmr_engine *engine, struct mrmr_error *err)
{
	const struct mrmr_rebuild_options options =
		{.lost = SIZE_MAX, .onto = MRMR_REBUILD_SPREAD};
	struct mrmr_rebuild_result result = {0};
	struct rebuild *r = talloc_zero(engine, struct rebuild);
	struct mrmr_node *node = NULL;
	uint64_t id = 0;

	if (r == NULL) {
		return mrmr_error_set(err, ENOMEM, "not enough memory");
	}
	r->engine = engine;
	r->pool = engine->pool;
	r->options = &options;
	r->result = &result;
	r->number = MRMR_MEMBER_NONE;
	while (mrmr_catalog_next(engine->catalog, r, id, &node) == 0) {
		id = node->id;
		if (node->kind == MRMR_NODE_DIRECTORY) {
			rebuild_directory(r, node);
		}
		TALLOC_FREE(node);
	}
	if (errno != ENOENT) {
		mrmr_error_set(err, errno, "the catalogue cannot be read: %s",
			       strerror(errno));
		talloc_free(r);
		return -1;
	}
	talloc_free(r);
	return 0;
}
