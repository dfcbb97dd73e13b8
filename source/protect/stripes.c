/*
 * MRMR: stripes being made and changed: the work of one transaction (see
 * mrmr/stripes.h).
 *
 * What it knows of members is what they were when the work began: it holds
 * descriptors of its own, and counts what it takes of their room.
 *
 * No write hole (invariant 2). A stripe that changes gets new parity blocks,
 * under new names, beside the old ones; its record in the transaction names the
 * new ones. Whatever ends this before the commit leaves the old record, the old
 * blocks and the old bytes (pre-images) as they were, and blocks that nobody
 * names. After the commit the old blocks go, if no other stripe names the same
 * content on that member.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/blob.h>
#include <mrmr/fault.h>
#include <mrmr/log.h>

#include "stripes_private.h"

int stripes_no_memory(struct mrmr_error *err)
{
	return mrmr_error_set(err, ENOMEM, "not enough memory");
}

int stripes_fail_catalog(struct mrmr_error *err)
{
	int error = errno;

	return mrmr_error_set(err, error, "the catalogue cannot be used: %s",
			      mrmr_catalog_why(error));
}

/* --- beginning ----------------------------------------------------------------- */

static int free_work(struct mrmr_stripes *work)
{
	size_t i;

	for (i = 0; i < work->num_members; i++) {
		if (work->members[i].private_fd != -1) {
			close(work->members[i].private_fd);
		}
	}
	free(work->written.list);
	free(work->left.list);
	pthread_mutex_destroy(&work->lock);
	return 0;
}

static void look_at_member(struct mrmr_stripes *work, size_t index)
{
	const struct mrmr_pool *pool = work->engine->pool;
	const struct mrmr_member *from = &pool->members[index];
	struct stripes_member *to = &work->members[index];

	to->unit = pool->units.unit[index];
	to->private_fd = -1;
	if (from->state != MRMR_MEMBER_ONLINE) {
		return;
	}
	to->private_fd = fcntl(from->private_fd, F_DUPFD_CLOEXEC, 0);
	to->is_online = to->private_fd != -1;
	to->may_have_parity = to->is_online && !from->read_only &&
			      from->config->role != MRMR_ROLE_DATA;
	to->prefers_parity = from->config->role == MRMR_ROLE_PARITY;
	to->room_bytes = mrmr_member_parity_room(from, &to->spare_bytes);
	if (work->options.uses_spare || work->options.uses_all) {
		to->spare_bytes = 0;
	}
	if (work->options.uses_all) {
		to->room_bytes = mrmr_member_room(from);
	}
	to->room_bytes -= to->spare_bytes;
	to->parity_room_bytes = from->kept_bytes < to->room_bytes
					? from->kept_bytes
					: to->room_bytes;
}

struct mrmr_stripes *mrmr_stripes_new(
	void *mem_ctx, struct mrmr_engine *engine,
	const struct mrmr_stripes_options *options)
{
	struct mrmr_stripes *work = talloc_zero(mem_ctx, struct mrmr_stripes);
	size_t i;

	if (work == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	work->engine = engine;
	if (options != NULL) {
		work->options = *options;
	}
	if (work->options.memory_bytes == 0) {
		work->options.memory_bytes = MEMORY_BYTES_DEFAULT;
	}
	work->block_bytes = engine->pool->config->block_size_bytes;
	work->rows = mrmr_pool_rows(engine->pool);
	work->num_units = engine->pool->units.num;
	work->members = talloc_zero_array(work, struct stripes_member,
					  engine->pool->num_members);
	if (work->members == NULL) {
		talloc_free(work);
		errno = ENOMEM;
		return NULL;
	}
	work->num_members = engine->pool->num_members;
	work->is_complete = true;
	for (i = 0; i < work->num_members; i++) {
		look_at_member(work, i);
		work->is_complete =
			work->is_complete && work->members[i].is_online;
	}
	pthread_mutex_init(&work->lock, NULL);
	talloc_set_destructor(work, free_work);
	return work;
}

/* --- members and units ------------------------------------------------------------ */

struct stripes_member *stripes_member(struct mrmr_stripes *work,
				      uint16_t number)
{
	size_t index = mrmr_engine_member(work->engine, number);

	return index == SIZE_MAX ? NULL : &work->members[index];
}

void stripes_add_unit(struct mrmr_stripes *work, uint16_t number,
		      struct unit_set *set)
{
	const struct stripes_member *member = stripes_member(work, number);

	if (member != NULL) {
		unit_add(set, member->unit);
	}
}

static bool can_take(const struct stripes_member *member,
		     const struct unit_set *except, uint32_t len_bytes)
{
	return member->may_have_parity && !unit_has(except, member->unit) &&
	       member->room_bytes >= member->planned_bytes + len_bytes;
}

unsigned int stripes_count_takers(struct mrmr_stripes *work,
				  const struct unit_set *except,
				  uint32_t len_bytes)
{
	struct unit_set takers = {{0}};
	size_t i;

	for (i = 0; i < work->num_members; i++) {
		if (can_take(&work->members[i], except, len_bytes)) {
			unit_add(&takers, work->members[i].unit);
		}
	}
	return unit_count(&takers);
}

static bool is_better(const struct stripes_member *a,
		      const struct stripes_member *b)
{
	int64_t a_room;
	int64_t b_room;

	if (a->prefers_parity != b->prefers_parity) {
		return a->prefers_parity;
	}
	/* negative if the plan is exceeded: then the least so */
	a_room = (int64_t)a->parity_room_bytes - (int64_t)a->planned_bytes;
	b_room = (int64_t)b->parity_room_bytes - (int64_t)b->planned_bytes;
	if (a_room != b_room) {
		return a_room > b_room;
	}
	return a->room_bytes - a->planned_bytes >
	       b->room_bytes - b->planned_bytes;
}

size_t stripes_best_taker(struct mrmr_stripes *work,
			  const struct unit_set *except, uint32_t len_bytes)
{
	size_t best = SIZE_MAX;
	size_t i;

	for (i = 0; i < work->num_members; i++) {
		const struct stripes_member *member = &work->members[i];

		if (can_take(member, except, len_bytes) &&
		    (best == SIZE_MAX ||
		     is_better(member, &work->members[best]))) {
			best = i;
		}
	}
	return best;
}

/* How many rows there can be is not known as long as members are away: none is
   taken from a stripe for that. */
unsigned int stripes_rows(const struct mrmr_stripes *work,
			  const struct mrmr_stripe *stripe)
{
	if (work->is_complete || stripe == NULL ||
	    stripe->num_rows < work->rows) {
		return work->rows;
	}
	return stripe->num_rows;
}

void mrmr_stripes_limit(struct mrmr_stripes *work, uint64_t more_bytes)
{
	work->is_limited = true;
	work->limit_bytes = more_bytes;
}

void mrmr_stripes_keep_all(struct mrmr_stripes *work, bool keeps_all)
{
	work->keeps_all = keeps_all;
}

bool mrmr_stripes_kept(const struct mrmr_stripes *work)
{
	return work->has_kept;
}

/* --- parity blocks ------------------------------------------------------------------ */

int stripes_note(struct stripes_blobs *blobs, const struct mrmr_row *row)
{
	struct stripes_blob *list = blobs->list;

	if (blobs->num == blobs->size) {
		blobs->size = 2 * blobs->size + 16;
		list = realloc(list, blobs->size * sizeof(*list));
		if (list == NULL) {
			blobs->size = blobs->num;
			errno = ENOMEM;
			return -1;
		}
		blobs->list = list;
	}
	list[blobs->num].member = row->member;
	list[blobs->num].len_bytes = row->len_bytes;
	memcpy(list[blobs->num++].sha256, row->sha256, 32);
	return 0;
}

void stripes_note_parity(const struct mrmr_stripes *work,
			 const struct stripes_member *member,
			 int64_t more_bytes)
{
	const struct mrmr_pool *pool = work->engine->pool;

	mrmr_pool_note_parity(pool, &pool->members[member - work->members],
			      more_bytes);
}

/* What cannot be removed, or not now, is garbage that a scan finds. */
static void remove_unused(struct mrmr_stripes *work,
			  const struct stripes_blobs *blobs)
{
	size_t i;

	for (i = 0; i < blobs->num; i++) {
		const struct stripes_blob *blob = &blobs->list[i];
		const struct stripes_member *member =
			stripes_member(work, blob->member);
		uint32_t uses = 0;

		if (member == NULL || !member->is_online ||
		    mrmr_catalog_blob_uses(work->engine->catalog, blob->member,
					   blob->sha256, &uses) == -1 ||
		    uses > 0) {
			continue;
		}
		if (mrmr_blob_remove(member->private_fd, blob->sha256) == 0) {
			stripes_note_parity(work, member,
					    -(int64_t)blob->len_bytes);
		} else if (errno != ENOENT) {
			mrmr_log(MRMR_LOG_WARNING,
				 "member %s: a parity block that is not "
				 "needed any more cannot be removed: %s",
				 mrmr_member_name(
					 &work->engine->pool
						  ->members[member -
							    work->members]),
				 strerror(errno));
		}
	}
}

/* --- ending -------------------------------------------------------------------------- */

struct sync {
	pthread_t thread;
	bool has_thread;
	bool is_used;
	int fd;
	int error;
};

static void *sync_member(void *private_data)
{
	struct sync *sync = private_data;

	sync->error = syncfs(sync->fd) == -1 ? errno : 0;
	return NULL;
}

/* All drives write at the same time. */
static void sync_all(struct mrmr_stripes *work, struct sync *syncs)
{
	size_t i;

	for (i = 0; i < work->num_members; i++) {
		struct sync *sync = &syncs[i];

		if (!work->members[i].is_used) {
			continue;
		}
		sync->is_used = true;
		sync->fd = work->members[i].private_fd;
		if (mrmr_fault("stripes-sync") != 0) {
			sync->error = errno;
			continue;
		}
		sync->has_thread = pthread_create(&sync->thread, NULL,
						  sync_member, sync) == 0;
		if (!sync->has_thread) {
			sync_member(sync);
		}
	}
	for (i = 0; i < work->num_members; i++) {
		if (syncs[i].has_thread) {
			pthread_join(syncs[i].thread, NULL);
		}
	}
}

int mrmr_stripes_sync(struct mrmr_stripes *work, struct mrmr_error *err)
{
	struct sync *syncs = calloc(work->num_members, sizeof(*syncs));
	size_t i;
	int ret = 0;

	if (syncs == NULL) {
		return stripes_no_memory(err);
	}
	sync_all(work, syncs);
	for (i = 0; i < work->num_members; i++) {
		if (syncs[i].error != 0) {
			work->engine->writes_failed = true;
			ret = mrmr_error_set(
				err, syncs[i].error,
				"what was written to member %s cannot be made "
				"durable: %s; some of it may be lost: check "
				"the drive, then run mrmr-admin scrub",
				mrmr_member_name(
					&work->engine->pool->members[i]),
				strerror(syncs[i].error));
		} else if (syncs[i].is_used) {
			work->members[i].is_used = false;
		}
	}
	free(syncs);
	return ret;
}

void mrmr_stripes_finish(struct mrmr_stripes *work)
{
	/* Of those written, some may have been changed again by a later call,
	   or given up. */
	remove_unused(work, &work->left);
	remove_unused(work, &work->written);
	work->left.num = 0;
	work->written.num = 0;
}

void mrmr_stripes_abort(struct mrmr_stripes *work)
{
	remove_unused(work, &work->written);
	work->left.num = 0;
	work->written.num = 0;
}
