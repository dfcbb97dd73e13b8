/*
 * MRMR: the protector: batches: from what is pending to a commit.
 *
 * A stripe is full if it has a block of each unit. So a batch takes about as
 * much of each member as of the others, as far as there is something pending on
 * them.
 *
 * One batch is one transaction. Until the commit, nothing that was there has
 * been touched: new parity blocks are new files, and pre-images of the versions
 * that are protected stay. After it, nothing needs the old ones any more.
 *
 * So a batch is not to be committed with a file that could not be read, or found no
 * room for its parity, though an older version of it is protected: that one would go,
 * and none come. All is taken back, and done again without it. One that could not be
 * read has its next try when nothing else is due, as it would spoil another batch,
 * or after a minute, as something may always be; one that found no room, when there
 * is more.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/fault.h>

#include "protector_private.h"
#include "was.h"

/* As much as is done in about a second, within limits: a commit, and what is idle
   around it, is to take a small part of the time. Whoever waits for the catalogue
   waits for a batch. */
#define BATCH_NS INT64_C(1000000000)
#define BATCH_FILES 16384

struct batch {
	struct protector *p;
	struct mrmr_live_member **members; /* of pool->members[], or NULL */
	struct target *targets;            /* talloc */
	size_t num;
	uint64_t *finished; /* talloc; nodes that need nothing */
	size_t num_finished;
	struct mrmr_change *changes; /* of all targets */
	size_t num_changes;
	uint64_t dir_id; /* of the last file's directory, and */
	char *dir_path;  /* talloc; NULL: not known */
};

struct mrmr_live_member *batch_member(struct batch *batch, uint16_t number)
{
	size_t index = mrmr_engine_member(batch->p->engine, number);

	if (index == SIZE_MAX) {
		errno = ENODEV;
		return NULL;
	}
	if (batch->members[index] == NULL) {
		batch->members[index] =
			mrmr_live_member_open(batch, batch->p->engine, number);
	}
	return batch->members[index];
}

struct batch *batch_new(struct protector *p)
{
	struct batch *batch = talloc_zero(p, struct batch);

	if (batch == NULL) {
		return NULL;
	}
	batch->p = p;
	batch->members = talloc_zero_array(batch, struct mrmr_live_member *,
					   p->pool->num_members);
	batch->targets = talloc_array(batch, struct target, BATCH_FILES);
	batch->finished = talloc_array(batch, uint64_t, BATCH_FILES);
	if (batch->members == NULL || batch->targets == NULL ||
	    batch->finished == NULL) {
		TALLOC_FREE(batch);
	}
	return batch;
}

void batch_forget_paths(struct batch *batch)
{
	TALLOC_FREE(batch->dir_path);
}

char *batch_path(struct batch *batch, void *mem_ctx,
		 const struct mrmr_node *node, bool *in_trash)
{
	struct mrmr_catalog *catalog = batch->p->catalog;
	char *path = NULL;

	if (node->dir_id == MRMR_ID_TRASH || node->id == MRMR_ID_ROOT) {
		return mrmr_catalog_path(catalog, mem_ctx, node->id, in_trash);
	}
	*in_trash = false;
	if (batch->dir_path == NULL || batch->dir_id != node->dir_id) {
		batch_forget_paths(batch);
		batch->dir_path = mrmr_catalog_path(catalog, batch,
						    node->dir_id, in_trash);
		batch->dir_id = node->dir_id;
	}
	if (batch->dir_path == NULL) {
		return NULL;
	}
	path = talloc_asprintf(mem_ctx, "%s%s%s", batch->dir_path,
			       batch->dir_path[0] != '\0' ? "/" : "",
			       node->name);
	if (path == NULL) {
		errno = ENOMEM;
	}
	return path;
}

/* --- choosing ---------------------------------------------------------------- */

static int choose_one(struct batch *batch, struct due *due, uint64_t quota)
{
	struct protector *p = batch->p;
	struct target *target = &batch->targets[batch->num];
	uint32_t index = due->entries[due->next];
	struct pending_entry *entry = window_get(p->window, index);
	enum readiness readiness = TARGET_LATER;

	/* since the list was made: its last batch found no room, or it went with
	   its name */
	if (entry->is_skipped || !pending_has(p->pending, entry->node)) {
		due->next++;
		return pending_error(p->pending);
	}
	entry->retry_ns = 0;
	if (target_prepare(p, batch, index, quota - due->taken_bytes, target,
			   &readiness) == -1) {
		if (protector_is_fatal(errno)) {
			return -1;
		}
		due->next++;
		batch_failed(p, index, errno);
		return 0;
	}
	switch (readiness) {
	case TARGET_READY:
		batch->num++;
		due->taken_bytes += target->bytes;
		break;
	case TARGET_NOTHING_TO_DO:
		batch->finished[batch->num_finished++] = entry->node;
		break;
	case TARGET_LATER:
		break;
	case TARGET_SKIPPED:
		entry->is_skipped = true;
		break;
	}
	if (readiness == TARGET_READY && !target->is_complete) {
		due->taken_bytes = quota; /* the rest of it comes next */
		return 0;
	}
	due->next++;
	return 0;
}

static int choose(struct batch *batch, struct due *lists)
{
	struct protector *p = batch->p;
	uint64_t quota = due_quota(p, lists);
	struct due *due = NULL;

	while (batch->num < BATCH_FILES && batch->num_finished < BATCH_FILES &&
	       !protector_should_stop(p) &&
	       (due = due_next(p, lists, quota)) != NULL) {
		if (choose_one(batch, due, quota) == -1) {
			return -1;
		}
	}
	return 0;
}

/* --- carrying out -------------------------------------------------------------- */

static int put_nodes(struct batch *batch, bool first)
{
	size_t i;

	for (i = 0; i < batch->num; i++) {
		struct target *target = &batch->targets[i];

		if (target->is_gone || target->is_cut ||
		    target->is_put_first != first) {
			continue;
		}
		if (mrmr_catalog_put(batch->p->catalog, &target->node, NULL) ==
		    -1) {
			return -1;
		}
	}
	return 0;
}

/* Together: what is in one stripe must be changed at once. */
static int gather_changes(struct batch *batch)
{
	size_t num = 0;
	size_t i;

	for (i = 0; i < batch->num; i++) {
		num += batch->targets[i].num_changes;
	}
	batch->changes = talloc_array(batch, struct mrmr_change, num + 1);
	if (batch->changes == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < batch->num; i++) {
		struct target *target = &batch->targets[i];
		size_t bytes = target->num_changes * sizeof(batch->changes[0]);

		if (bytes > 0) {
			memcpy(batch->changes + batch->num_changes,
			       target->changes, bytes);
		}
		talloc_free(target->changes);
		target->changes = batch->changes + batch->num_changes;
		batch->num_changes += target->num_changes;
	}
	return 0;
}

/* Where all that could be done has come to nothing, what was put off for it would
   be so for ever. */
static bool has_only_put_off(const struct batch *batch, uint64_t before_bytes,
			     uint64_t after_bytes)
{
	size_t i;

	for (i = 0; i < batch->num_changes; i++) {
		if (batch->changes[i].error == EAGAIN) {
			return after_bytes <= before_bytes;
		}
	}
	return false;
}

static int apply_changes(struct batch *batch, struct mrmr_stripes *work,
			 struct mrmr_error *err)
{
	struct protector *p = batch->p;
	struct mrmr_catalog_sums before;
	struct mrmr_catalog_sums after;

	if (mrmr_catalog_sums(p->catalog, MRMR_MEMBER_NONE, &before) == -1) {
		return protector_fail_catalog(p, err);
	}
	if (mrmr_stripes_apply(work, batch->changes, batch->num_changes, err) ==
	    -1) {
		return -1;
	}
	if (mrmr_catalog_sums(p->catalog, MRMR_MEMBER_NONE, &after) == -1) {
		return protector_fail_catalog(p, err);
	}
	p->must_place = has_only_put_off(batch, before.protected_bytes,
					 after.protected_bytes);
	return 0;
}

static bool is_of_room(int error)
{
	return error == ENOSPC || error == EAGAIN;
}

/* Of one of which something is in stripes. */
static int error_of_room(const struct target *target)
{
	bool has_old = false;
	int error = 0;
	size_t i;

	for (i = 0; i < target->num_changes; i++) {
		const struct mrmr_change *change = &target->changes[i];

		has_old = has_old || change->has_old;
		error = is_of_room(change->error) ? change->error : error;
	}
	return has_old ? error : 0;
}

/* Would a file lose the version that is protected, as the new one cannot be
   read, or has no room? The error of that, or 0. */
static int error_that_loses(const struct target *target)
{
	const struct mrmr_node *old = target->old;
	bool has_version = old->num_extents > 0 ? !target->is_put_first
						: was_is_empty(old);

	int error;

	if (!has_version || target->is_gone || target->is_cut) {
		return 0;
	}
	error = batch_error(target);
	return error != 0 ? error : error_of_room(target);
}

static bool loses_versions(const struct batch *batch)
{
	size_t i;

	for (i = 0; i < batch->num; i++) {
		if (error_that_loses(&batch->targets[i]) != 0) {
			return true;
		}
	}
	return false;
}

/* Until there is more room, it is as it was. */
static int wait_for_room(const struct batch *batch, const struct target *target)
{
	struct protector *p = batch->p;
	struct pending_entry *entry = window_get(p->window, target->entry);

	entry->is_skipped = true;
	pending_set_flags(p->pending, entry->node,
			  pending_flags(p->pending, entry->node) |
				  PENDING_NO_ROOM);
	return room_note(p);
}

static int wait_those_without_room(const struct batch *batch,
				   struct mrmr_error *err)
{
	struct protector *p = batch->p;
	bool any = false;
	size_t i;

	for (i = 0; i < batch->num; i++) {
		any = any || is_of_room(error_that_loses(&batch->targets[i]));
	}
	if (!any) {
		return 0;
	}
	if (protector_begin(p, err) == -1) {
		return -1;
	}
	for (i = 0; i < batch->num; i++) {
		if (is_of_room(error_that_loses(&batch->targets[i])) &&
		    wait_for_room(batch, &batch->targets[i]) == -1) {
			protector_fail_catalog(p, err);
			protector_cancel(p);
			return -1;
		}
	}
	return protector_commit(p, err);
}

static void fail_those_that_lose(const struct batch *batch)
{
	size_t i;

	for (i = 0; i < batch->num; i++) {
		const struct target *target = &batch->targets[i];
		int error = error_that_loses(target);

		if (error != 0 && !is_of_room(error)) {
			batch_failed(batch->p, target->entry, error);
			window_get(batch->p->window, target->entry)->last_ns =
				protector_now_ns() + LAST_NS;
		}
	}
}

/* 1: it is to be taken back, as versions would be lost. */
static int change_catalog(struct batch *batch, struct mrmr_stripes *work,
			  struct mrmr_error *err)
{
	struct protector *p = batch->p;
	size_t i;

	if (gather_changes(batch) == -1 || put_nodes(batch, true) == -1) {
		return protector_fail_catalog(p, err);
	}
	if (batch->num_changes > 0 && apply_changes(batch, work, err) == -1) {
		return -1;
	}
	if (loses_versions(batch)) {
		return 1;
	}
	if (mrmr_fault("protect-applied") != 0) {
		return mrmr_error_set(err, errno, "stopped by a test");
	}
	if (put_nodes(batch, false) == -1) {
		return protector_fail_catalog(p, err);
	}
	for (i = 0; i < batch->num; i++) {
		if (batch_conclude(p, &batch->targets[i]) == -1) {
			return protector_fail_catalog(p, err);
		}
	}
	for (i = 0; i < batch->num_finished; i++) {
		pending_remove(p->pending, batch->finished[i]);
	}
	if (mrmr_stripes_sync(work, err) == -1) {
		return -1;
	}
	if (mrmr_fault("protect-synced") != 0) {
		return mrmr_error_set(err, errno, "stopped by a test");
	}
	return 0;
}

static bool stop_stripes(void *private_data)
{
	return protector_should_stop(private_data);
}

/* 1: nothing was done, and what is pending of it is another set. */
static int carry_out(struct batch *batch, struct mrmr_error *err)
{
	struct protector *p = batch->p;
	const struct mrmr_stripes_options options = {
		.threads = p->options->threads,
		.may_postpone = !p->must_place,
		.keeps_each = true,
		.uses_spare = p->uses_spare,
		.should_stop = stop_stripes,
		.steps_back = p->options->background,
		.is_urgent = protector_is_urgent,
		.private_data = p,
	};
	struct mrmr_stripes *work =
		mrmr_stripes_new(batch, p->engine, &options);
	int error;
	int ret;

	if (work == NULL) {
		return protector_no_memory(err);
	}
	if (protector_begin(p, err) == -1) {
		mrmr_stripes_abort(work);
		return -1;
	}
	ret = change_catalog(batch, work, err);
	if (ret == 1) {
		protector_take_back(p);
		mrmr_stripes_abort(work);
		fail_those_that_lose(batch);
		return wait_those_without_room(batch, err) == -1 ? -1 : 1;
	}
	if (ret == -1 || protector_commit(p, err) == -1) {
		error = err->code;
		protector_cancel(p);
		mrmr_stripes_abort(work);
		errno = error;
		return -1;
	}
	p->has_made_short = p->has_made_short || mrmr_stripes_made_short(work);
	/* What comes now is only tidying up, and cannot fail any more. */
	(void)mrmr_fault("protect-committed");
	mrmr_stripes_finish(work);
	return 0;
}

/* How much the next one is to be. One of small files is limited by their
   number, and says nothing. */
static void adapt(struct protector *p, const struct batch *batch,
		  int64_t took_ns)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < batch->num; i++) {
		bytes += batch->targets[i].bytes;
	}
	if (took_ns <= 0 || bytes < p->batch_bytes / 2) {
		return;
	}
	bytes = (uint64_t)((double)bytes * BATCH_NS / (double)took_ns);
	bytes = bytes < BATCH_BYTES_MAX ? bytes : BATCH_BYTES_MAX;
	p->batch_bytes = bytes > BATCH_BYTES_MIN ? bytes : BATCH_BYTES_MIN;
}

static int run_batch(struct protector *p, struct due *lists, bool *any,
		     bool *again, struct mrmr_error *err)
{
	struct batch *batch = batch_new(p);
	int64_t begun_ns = mrmr_now_ns();
	int ret;

	*again = false;
	if (batch == NULL) {
		return protector_no_memory(err);
	}
	if (choose(batch, lists) == -1) {
		mrmr_error_set(err, errno, "files cannot be looked at: %s",
			       strerror(errno));
		talloc_free(batch);
		return -1;
	}
	if (batch->num == 0 && batch->num_finished == 0) {
		talloc_free(batch);
		return 0;
	}
	ret = carry_out(batch, err);
	if (ret == 0) {
		adapt(p, batch, mrmr_now_ns() - begun_ns);
	}
	talloc_free(batch);
	if (ret == 1) {
		*again = true;
		return 0;
	}
	if (ret == 0) {
		*any = true;
		if (p->options->progress != NULL) {
			p->progress.todo_files = p->progress.done_files +
						 pending_num(p->pending);
			p->progress.todo_bytes = p->progress.done_bytes +
						 pending_bytes(p->pending);
			p->options->progress(&p->progress,
					     p->options->private_data);
		}
		return 0;
	}
	*again = true;
	return protector_try_again(p, err);
}

/* *any: something was done, or has to be tried again. */
static int run_due(struct protector *p, bool with_last, bool *has_last,
		   bool *any, struct mrmr_error *err)
{
	struct due *lists = NULL;
	bool again = false;
	size_t num = 0;
	size_t left;
	int ret = 0;

	lists = due_find(p, with_last, &num, has_last);
	if (lists == NULL) {
		return protector_fail_catalog(p, err);
	}
	do {
		size_t i;

		if (num > 0) {
			ret = run_batch(p, lists, any, &again, err);
		}
		left = 0;
		for (i = 0; i <= p->pool->num_members; i++) {
			left += lists[i].num - lists[i].next;
		}
		/* What happens meanwhile is taken between two batches, so that
		   names do not get too far behind; nor does who waits for room
		   wait for all of them. */
	} while (ret == 0 && !again && left > 0 && num > 0 &&
		 mrmr_queue_is_empty(p->engine->queue) && !trash_is_wished(p) &&
		 !protector_gives_way(p) && !protector_should_stop(p));
	due_end(p, lists);
	if (again || p->has_changed) {
		p->round->has_more = true;
		*any = true;
	}
	if (due_has_more(p)) {
		*any = true;
	}
	p->has_changed = false;
	return ret;
}

int batches_run(struct protector *p, bool *any, struct mrmr_error *err)
{
	bool has_last = false;
	bool has_run = false;
	int ret = run_due(p, false, &has_last, &has_run, err);

	if (ret == 0 && !has_run && has_last) {
		ret = run_due(p, true, &has_last, &has_run, err);
	}
	*any = *any || has_run;
	return ret;
}
