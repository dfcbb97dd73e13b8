/*
 * MRMR: the protector: making stripes whole, after the pool has changed.
 *
 * A stripe is as it should be if it has as many rows as the pool wants, and each
 * of its members belongs to the pool. (That one is away is nothing to be mended:
 * it may return. What changes meanwhile is put elsewhere as it changes.) It was
 * so when it was made, so all stripes are gone through only when the pool is not
 * what it was: a note has a fingerprint of its members and rows, and how far it
 * was gone through for that. First those that have lost a member, then the rest.
 * After a catalogue was recovered it may have pieces that no file knows, which are
 * to leave (mrmr_stripes_note_unknown).
 * And once more if some could not get all their rows, as members were missing or
 * full, and there are others now, or there is more room (mrmr_stripes_are_short).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <talloc.h>
#include <xxhash.h>

#include <mrmr/fault.h>

#include "protector_private.h"

#define NOTE "mended"
#define LOOKED_AT 4096       /* stripes a transaction, at most; */
#define MENDED 128           /* of these */
#define PER_TRANSACTION 4096 /* files that become pending */

enum phase {
	PHASE_LEFT, /* those with members that have left the pool */
	PHASE_ROWS,
	PHASE_OVER,
};

struct course {
	uint64_t fingerprint;
	uint64_t phase;
	uint64_t cursor;    /* the last stripe that was looked at */
	uint64_t num_short; /* that could not be made whole */
	bool seeks_unknown; /* pieces; not saved here */
};

static uint64_t fingerprint(struct protector *p)
{
	uint64_t sum = mrmr_pool_rows(p->pool);
	size_t i;

	for (i = 0; i < p->pool->num_members; i++) {
		sum = XXH3_64bits_withSeed(p->pool->members[i].config->id.byte,
					   16, sum + p->pool->units.unit[i]);
	}
	return sum;
}

static int load(struct mrmr_catalog *catalog, struct course *course)
{
	uint64_t values[4] = {0};
	uint8_t *note = NULL;
	size_t len = 0;

	*course = (struct course){0};
	note = mrmr_catalog_get_note(catalog, NULL, NOTE, &len);
	if (note == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	if (len == sizeof(values)) {
		memcpy(values, note, sizeof(values));
		*course = (struct course){
			.fingerprint = le64toh(values[0]),
			.phase = le64toh(values[1]),
			.cursor = le64toh(values[2]),
			.num_short = le64toh(values[3]),
		};
	}
	talloc_free(note);
	return 0;
}

bool mrmr_protector_may_be_short(struct mrmr_catalog *catalog)
{
	struct course course;

	if (load(catalog, &course) == -1) {
		return true;
	}
	return mrmr_stripes_short_is_noted(catalog) || course.num_short > 0 ||
	       (course.fingerprint != 0 && course.phase != PHASE_OVER);
}

static int save(struct protector *p, const struct course *course)
{
	const uint64_t values[4] = {
		htole64(course->fingerprint),
		htole64(course->phase),
		htole64(course->cursor),
		htole64(course->num_short),
	};

	return mrmr_catalog_put_note(p->catalog, NOTE, (const uint8_t *)values,
				     sizeof(values));
}

static bool has_left(struct protector *p, const struct mrmr_stripe *stripe)
{
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		if (mrmr_engine_member(p->engine, stripe->slots[i].member) ==
		    SIZE_MAX) {
			return true;
		}
	}
	for (i = 0; i < stripe->num_rows; i++) {
		if (mrmr_engine_member(p->engine, stripe->rows[i].member) ==
		    SIZE_MAX) {
			return true;
		}
	}
	return false;
}

static bool is_wrong(struct protector *p, const struct course *course,
		     const struct mrmr_stripe *stripe)
{
	if (course->phase == PHASE_LEFT) {
		return has_left(p, stripe);
	}
	return stripe->num_rows != mrmr_pool_rows(p->pool) ||
	       (course->seeks_unknown &&
		mrmr_stripes_has_unknown(p->catalog, stripe));
}

/* One stripe after the cursor. *mended tells if it was. 0 at the end. */
static int look_at_next(struct protector *p, struct mrmr_stripes *work,
			struct course *course, bool *mended,
			struct mrmr_error *err)
{
	struct mrmr_stripe *stripe = NULL;
	bool wrong;
	int ret;

	*mended = false;
	if (mrmr_catalog_next_stripe(p->catalog, p, course->cursor, &stripe) ==
	    -1) {
		return errno == ENOENT ? 0 : protector_fail_catalog(p, err);
	}
	course->cursor = stripe->id;
	wrong = is_wrong(p, course, stripe);
	ret = wrong ? narrow_and_mend(p, work, stripe, mended, err) : 1;
	talloc_free(stripe);
	if (ret != 0) {
		return ret;
	}
	if (*mended) {
		p->result->mended_stripes++;
	}
	/* as it is now; it may have gone */
	if (mrmr_catalog_get_stripe(p->catalog, p, course->cursor, &stripe) ==
	    0) {
		course->num_short += is_wrong(p, course, stripe);
		talloc_free(stripe);
	} else if (errno != ENOENT) {
		return protector_fail_catalog(p, err);
	}
	return 1;
}

/* Who waits for room does not wait for all of them, but for the one that is begun. */
static bool is_in_the_way(struct protector *p, unsigned int looked_at)
{
	return looked_at > 0 && trash_is_wished(p);
}

static int mend_some(struct protector *p, struct mrmr_stripes *work,
		     struct course *course, struct mrmr_error *err)
{
	unsigned int looked_at = 0;
	unsigned int mended = 0;

	while (looked_at < LOOKED_AT && mended < p->mend_most &&
	       course->phase != PHASE_OVER && !is_in_the_way(p, looked_at) &&
	       !protector_should_stop(p)) {
		bool was_mended = false;
		int ret = look_at_next(p, work, course, &was_mended, err);

		if (ret == -1) {
			return -1;
		}
		if (ret == 0) {
			course->phase++;
			course->cursor = 0;
		}
		looked_at++;
		mended += was_mended;
	}
	if (mrmr_fault("mend-done") != 0) {
		return mrmr_error_set(err, errno, "stopped by a test");
	}
	if (mrmr_stripes_sync(work, err) == -1) {
		return -1;
	}
	if (course->seeks_unknown && course->phase == PHASE_OVER &&
	    course->num_short == 0 &&
	    mrmr_stripes_forget_unknown(p->catalog) == -1) {
		return protector_fail_catalog(p, err);
	}
	/* for when there is more room, or there are other members */
	if (course->phase == PHASE_OVER && course->num_short > 0 &&
	    mrmr_stripes_note_short(p->engine) == -1) {
		return protector_fail_catalog(p, err);
	}
	return save(p, course) == 0 ? 0 : protector_fail_catalog(p, err);
}

/* --- files that lost their parity ---------------------------------------------- */

static int is_bare(const struct mrmr_extent *extent, uint32_t index,
		   void *private_data)
{
	return extent->state == MRMR_EXTENT_BARE ? 1 : 0;
}

/* 1; 0: it was not added; or -1. */
static int add_if_bare(struct protector *p, const struct mrmr_node *node)
{
	int ret;

	if (node->kind != MRMR_NODE_FILE || node->dir_id == MRMR_ID_TRASH ||
	    pending_has(p->pending, node->id)) {
		return 0;
	}
	ret = mrmr_catalog_each_extent(p->catalog, node, is_bare, NULL);
	if (ret != 1) {
		return ret;
	}
	return pending_add(p->pending, node->id, node->member, node->size_bytes,
			   0) == -1
		       ? -1
		       : 1;
}

/* Some of them, after *id. *more: there may be others. */
static int seek_some(struct protector *p, uint64_t *id, bool *more, bool *any)
{
	struct mrmr_node *node = NULL;
	size_t num = 0;

	*more = false;
	while (num < PER_TRANSACTION) {
		int ret;

		if (mrmr_catalog_next(p->catalog, p, *id, &node) == -1) {
			return errno == ENOENT ? 0 : -1;
		}
		*id = node->id;
		ret = add_if_bare(p, node);
		TALLOC_FREE(node);
		if (ret == -1) {
			return -1;
		}
		*any = *any || ret == 1;
		num += ret == 1;
	}
	*more = true;
	return 0;
}

/* In transactions of its own: there may be as many as files in the pool. */
static int seek(struct protector *p, bool *any, struct mrmr_error *err)
{
	uint64_t id = 0;
	bool more = true;

	while (more) {
		if (protector_begin(p, err) == -1) {
			return -1;
		}
		if (seek_some(p, &id, &more, any) == -1 ||
		    (!more && mrmr_stripes_forget_bare(p->catalog) == -1)) {
			protector_fail_catalog(p, err);
			protector_cancel(p);
			return -1;
		}
		if (protector_commit(p, err) == -1) {
			return -1;
		}
	}
	return 0;
}

/* Other members, or another wish: what found no place before may find one now.
   Before that is noted: whoever is killed in between does it again. */
static int seek_anew(struct protector *p, struct mrmr_error *err)
{
	bool any = false;

	if (mrmr_pool_rows(p->pool) == 0) {
		return 0;
	}
	return room_retry(p, PENDING_NO_ROOM, err) == -1 ||
			       seek(p, &any, err) == -1
		       ? -1
		       : 0;
}

/* --- some of them --------------------------------------------------------------- */

/* They take room beside what they have until the commit: of fewer, less. If not one
   can, they are left as they are. */
static void try_fewer(struct protector *p)
{
	if (p->mend_most > 1) {
		p->mend_most /= 2;
		p->cannot_narrow = false;
	}
}

int mend_run(struct protector *p, bool *any, struct mrmr_error *err)
{
	const struct mrmr_stripes_options options = {
		.uses_spare = p->uses_spare,
	};
	uint64_t now = fingerprint(p);
	struct mrmr_stripes *work = NULL;
	bool could_not = p->cannot_narrow;
	bool is_changed = false;
	bool is_anew = false;
	bool is_worth_it = false;
	struct course course;

	if (load(p->catalog, &course) == -1) {
		return protector_fail_catalog(p, err);
	}
	/* A person who asks for it has perhaps made room; or a member is back
	   that some were changed without. */
	is_changed = course.fingerprint != now;
	if (is_changed || p->mends_anew ||
	    (course.phase == PHASE_OVER && course.num_short > 0 &&
	     !p->options->background && !p->has_mended) ||
	    (mrmr_stripes_are_short(p->engine, &is_worth_it) &&
	     (is_worth_it || (!p->options->background && !p->has_mended)))) {
		course = (struct course){.fingerprint = now};
		is_anew = true;
	} else if (course.phase == PHASE_OVER) {
		return 0;
	}
	if (is_changed && seek_anew(p, err) == -1) {
		return -1;
	}
	course.seeks_unknown = mrmr_stripes_unknown_is_noted(p->catalog);
	p->mend_most = p->mend_most > 0 ? p->mend_most : MENDED;
	/* what was mended before has made room */
	mrmr_pool_look_at_space(p->pool);
	work = mrmr_stripes_new(p, p->engine, &options);
	if (work == NULL) {
		return protector_no_memory(err);
	}
	if (protector_begin(p, err) == -1 ||
	    (is_anew && mrmr_stripes_forget_short(p->engine) == -1 &&
	     protector_fail_catalog(p, err) == -1) ||
	    mend_some(p, work, &course, err) == -1 ||
	    protector_commit(p, err) == -1) {
		int error = err->code;

		protector_cancel(p);
		mrmr_stripes_abort(work);
		talloc_free(work);
		if (p->cannot_narrow && !could_not) {
			try_fewer(p);
			err->code = 0;
			*any = true;
			return 0;
		}
		errno = error;
		return -1;
	}
	p->mend_most = 2 * p->mend_most < MENDED ? 2 * p->mend_most : MENDED;
	/* not before: what has failed is tried again */
	p->has_mended = true;
	p->mends_anew = false;
	(void)mrmr_fault("mend-committed");
	mrmr_stripes_finish(work);
	talloc_free(work);
	p->has_made_short = p->has_made_short || (course.phase == PHASE_OVER &&
						  course.num_short > 0);
	*any = true;
	return 0;
}

void mend_count_short(struct protector *p)
{
	struct mrmr_stripe *stripe = NULL;
	uint64_t id = 0;
	uint32_t i;

	if (!mrmr_protector_may_be_short(p->catalog)) {
		return;
	}
	while (mrmr_catalog_next_stripe(p->catalog, p, id, &stripe) == 0) {
		id = stripe->id;
		if (stripe->num_rows < mrmr_pool_rows(p->pool)) {
			p->result->short_stripes++;
			for (i = 0; i < stripe->num_slots; i++) {
				p->result->short_bytes +=
					stripe->slots[i].len_bytes;
			}
		}
		talloc_free(stripe);
	}
}

int mend_seek_bare(struct protector *p, bool *any, struct mrmr_error *err)
{
	struct mrmr_catalog_sums sums;

	if (!mrmr_stripes_bare_is_noted(p->catalog) &&
	    (p->has_sought_bare || p->options->background)) {
		return 0;
	}
	p->has_sought_bare = true;
	if (mrmr_catalog_sums(p->catalog, MRMR_MEMBER_NONE, &sums) == -1) {
		return protector_fail_catalog(p, err);
	}
	/* the note goes with that, too */
	return sums.protected_bytes < sums.file_bytes ||
			       mrmr_stripes_bare_is_noted(p->catalog)
		       ? seek(p, any, err)
		       : 0;
}
