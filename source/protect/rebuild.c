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
#include <string.h>

#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/protection.h>
#include <mrmr/recover.h>

#include "rebuild_private.h"
#include "relocated.h"
#include "shares.h"

#define BATCH_BYTES_DEFAULT (UINT64_C(256) << 20)
#define BATCH_FILES 1000

/* --- a transaction ------------------------------------------------------------ */

int rebuild_end_change(struct rebuild *r, struct mrmr_stripes *work, int ret,
		       struct mrmr_error *err)
{
	int saved_errno;

	if (ret == 0) {
		ret = mrmr_catalog_commit(r->engine->catalog, err);
	} else {
		saved_errno = errno;
		mrmr_catalog_cancel(r->engine->catalog);
		errno = saved_errno;
	}
	saved_errno = errno;
	if (work != NULL && ret == 0) {
		mrmr_stripes_finish(work);
	} else if (work != NULL) {
		mrmr_stripes_abort(work);
	}
	errno = saved_errno;
	return ret;
}

/* --- all of them ----------------------------------------------------------------- */

bool rebuild_should_stop(const struct rebuild *r)
{
	return r->options->should_stop != NULL &&
	       r->options->should_stop(r->options->private_data);
}

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
	return rebuild_batch_finish(r, err) == -1 ? -1
						  : rebuild_between(r, err);
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
				ret = rebuild_batch_finish(r, err);
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
		if (mrmr_catalog_next_on(r->engine->catalog, r, r->number, true,
					 id, &node) == -1) {
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
		} else if (!rebuild_batch_has(r, id)) {
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

	rebuild_batch_begin(r);
	ret = walk(r, err);
	if (ret == -1 && err->code != EINTR) {
		rebuild_batch_drop(r);
		return -1;
	}
	ret = rebuild_batch_finish(r, err);
	if (ret == -1) {
		rebuild_batch_drop(r);
	}
	return ret;
}

/* --- the interface ---------------------------------------------------------------- */

static int is_any_left(struct rebuild *r, bool *is_left)
{
	struct mrmr_catalog_sums sums = {0};
	struct mrmr_node *node = NULL;

	*is_left = true;
	if (mrmr_catalog_sums(r->engine->catalog, r->number, &sums) == -1) {
		return -1;
	}
	if (sums.num_files > 0 || sums.num_slots > 0 || sums.num_blobs > 0 ||
	    sums.trash_bytes > 0) {
		return 0;
	}
	/* the sums do not have symlinks and the like */
	if (mrmr_catalog_next_on(r->engine->catalog, r, r->number, false, 0,
				 &node) == 0) {
		talloc_free(node);
		return 0;
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
	size_t i;

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
	for (i = 0; i < MRMR_MEMBERS_MAX; i++) {
		r->staging_fd[i] = -1;
	}
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

static bool should_stop(void *private_data)
{
	return rebuild_should_stop(private_data);
}

int mrmr_rebuild(struct mrmr_engine *engine,
		 const struct mrmr_rebuild_options *options,
		 struct mrmr_rebuild_result *result, struct mrmr_error *err)
{
	struct rebuild *r = rebuild_begin(engine, options, result, err);
	bool is_left = true;
	int saved_errno;
	size_t i;
	int ret;

	if (r == NULL) {
		return -1;
	}
	r->work = rebuild_work_new(r, r->pool->num_members);
	ret = r->work != NULL
		      ? rebuild_changes(r, err)
		      : mrmr_error_set(err, ENOMEM, "not enough memory");
	if (ret == 0) {
		ret = rebuild_files(r, err);
	}
	if (ret == 0 && !rebuild_should_stop(r)) {
		ret = rebuild_give_up(r, err);
	}
	if (ret == 0 && !rebuild_should_stop(r)) {
		ret = rebuild_rows(r, err);
	}
	if (ret == 0 && !rebuild_should_stop(r)) {
		ret = rebuild_drop_remnants(r, err);
	}
	if (ret == 0 && !rebuild_should_stop(r)) {
		ret = shares_look(engine, options->lost, should_stop, r, err);
	}
	if (ret == 0 && is_any_left(r, &is_left) == -1) {
		ret = mrmr_error_set(err, errno,
				     "the catalogue cannot be read: %s",
				     mrmr_catalog_why(errno));
	}
	/* what was in the trash is in that of others now */
	for (i = 0; i < r->pool->num_members; i++) {
		mrmr_room_forget_trash(r->pool, i);
	}
	result->is_stopped = rebuild_should_stop(r);
	result->is_complete = ret == 0 && !is_left;
	saved_errno = errno;
	TALLOC_FREE(r->work);
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
				      "member %s; the same command goes on",
				      mrmr_member_name(
					      &engine->pool->members[lost]));
	}
	talloc_free(r);
	if (relocated_any(engine->catalog) &&
	    !mrmr_queue_is_empty(engine->queue)) {
		return mrmr_error_set(err, EAGAIN,
				      "what happened to the files of member %s "
				      "is still in the queue",
				      mrmr_member_name(
					      &engine->pool->members[lost]));
	}
	if (mrmr_catalog_begin(engine->catalog) == -1) {
		return mrmr_error_set(err, errno,
				      "the catalogue cannot be changed: %s",
				      mrmr_catalog_why(errno));
	}
	if (mrmr_catalog_forget_part(engine->catalog, number) == -1 ||
	    relocated_forget(engine->catalog) == -1) {
		int error = errno;

		mrmr_catalog_cancel(engine->catalog);
		return mrmr_error_set(err, error,
				      "the catalogue cannot be changed: %s",
				      mrmr_catalog_why(error));
	}
	if (mrmr_catalog_commit(engine->catalog, err) == -1) {
		return -1;
	}
	mrmr_absent_drop(engine->pool, lost);
	return 0;
}

/* --- the spine (mrmr/recover.h) ------------------------------------------------------ */

static bool is_any_away(const struct mrmr_pool *pool)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		if (pool->members[i].state != MRMR_MEMBER_ONLINE) {
			return true;
		}
	}
	return false;
}

int mrmr_recover_spine(struct mrmr_engine *engine, struct mrmr_error *err)
{
	const struct mrmr_rebuild_options options =
		{.lost = SIZE_MAX, .onto = MRMR_REBUILD_SPREAD};
	struct mrmr_rebuild_result result = {0};
	struct rebuild *r = NULL;
	struct mrmr_node *node = NULL;
	uint64_t id = 0;

	if (!is_any_away(engine->pool)) {
		return 0;
	}
	r = talloc_zero(engine, struct rebuild);
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
			       mrmr_catalog_why(errno));
		talloc_free(r);
		return -1;
	}
	talloc_free(r);
	return 0;
}
