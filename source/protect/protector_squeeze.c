/*
 * MRMR: the protector: a pool that is full: stripes that take more parity than
 * they need.
 *
 * Files come as they come: what has no partners at the time begins a narrow
 * stripe, and long blocks may lie beside short ones. As long as more comes, that
 * is no matter: it joins them. In a pool that is full nothing comes any more, and
 * what came last may find no room for its parity, or for fewer rows than are
 * wanted, though there would be enough in all.
 *
 * Then stripes are dissolved, those first that have the least data for their
 * parity: their blocks leave them, and join others, or make new ones together.
 * Each attempt is one transaction, so that all is protected at every instant; it
 * is kept only if parity takes less room after it (or no stripe is short of rows
 * any more), else cancelled. So it comes to an end. What found no room is tried
 * again when something was gained.
 *
 * The new parity is written before the old one goes: it takes some room that
 * nothing else has, see source/pool/space_usage.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/fault.h>

#include "protector_private.h"

#define WORST_MAX 512  /* stripes, found by one look at all of them */
#define IN_VAIN_MAX 16 /* attempts to make some anew, one after another */
#define TOGETHER_MAX 8 /* stripes at a time */
#define ROUNDS_MAX 8   /* of a process */
#define MUCH_BLOCKS 16
#define NOTE "squeezed"

/* By which stripes are chosen. */
enum order {
	ORDER_WIDTH, /* the least data for their parity */
	ORDER_WASTE, /* the shortest blocks beside long ones */
};

struct worst {
	uint64_t stripe;
	uint64_t badness; /* 0: it is as good as can be */
};

struct squeeze {
	struct protector *p;
	enum order order;
	struct worst *list; /* talloc; the worst first, once it is sorted */
	size_t num;
	bool has_gained;
};

/* --- which ones ------------------------------------------------------------------ */

static int by_badness(const void *a_void, const void *b_void)
{
	const struct worst *a = a_void;
	const struct worst *b = b_void;

	if (a->badness != b->badness) {
		return a->badness > b->badness ? -1 : 1;
	}
	return a->stripe < b->stripe ? -1 : a->stripe > b->stripe;
}

static bool all_are_online(const struct squeeze *s,
			   const struct mrmr_stripe *stripe)
{
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		if (mrmr_engine_online(s->p->engine, stripe->slots[i].member) ==
		    NULL) {
			return false;
		}
	}
	for (i = 0; i < stripe->num_rows; i++) {
		if (mrmr_engine_online(s->p->engine, stripe->rows[i].member) ==
		    NULL) {
			return false;
		}
	}
	return true;
}

static bool is_short(const struct squeeze *s, const struct mrmr_stripe *stripe)
{
	return stripe->num_rows < mrmr_pool_rows(s->p->pool);
}

static uint64_t badness_of(const struct squeeze *s,
			   const struct mrmr_stripe *stripe)
{
	size_t units = s->p->pool->units.num;
	uint64_t data_bytes = 0;
	uint32_t len_bytes = 0;
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		data_bytes += stripe->slots[i].len_bytes;
		if (stripe->slots[i].len_bytes > len_bytes) {
			len_bytes = stripe->slots[i].len_bytes;
		}
	}
	if (is_short(s, stripe)) {
		return UINT64_MAX;
	}
	if (s->order == ORDER_WASTE) {
		return stripe->num_slots * (uint64_t)len_bytes - data_bytes;
	}
	if (stripe->num_slots + stripe->num_rows >= units) {
		return 0;
	}
	return (units - stripe->num_rows) * (uint64_t)len_bytes - data_bytes;
}

static void keep_worst(struct squeeze *s)
{
	qsort(s->list, s->num, sizeof(s->list[0]), by_badness);
	s->num = s->num < WORST_MAX ? s->num : WORST_MAX;
}

static int find_worst(struct squeeze *s)
{
	struct protector *p = s->p;
	struct mrmr_stripe *stripe = NULL;
	uint64_t id = 0;

	while (mrmr_catalog_next_stripe(p->catalog, s->list, id, &stripe) ==
		       0 &&
	       !protector_should_stop(p)) {
		struct worst *one = &s->list[s->num];

		id = stripe->id;
		*one = (struct worst){
			.stripe = id,
			.badness = badness_of(s, stripe),
		};
		if (one->badness > 0 && all_are_online(s, stripe) &&
		    ++s->num == 2 * WORST_MAX) {
			keep_worst(s);
		}
		TALLOC_FREE(stripe);
	}
	if (stripe == NULL && errno != ENOENT && !protector_should_stop(p)) {
		return -1;
	}
	talloc_free(stripe);
	keep_worst(s);
	return 0;
}

/* --- an attempt -------------------------------------------------------------------- */

struct attempt {
	struct squeeze *s;
	struct moving moving;
	struct mrmr_stripes *work;
	bool has_short;
};

/* 1, 0 if it is not what it was, or cannot be moved. */
static int add_stripe(struct attempt *a, uint64_t id)
{
	struct protector *p = a->s->p;
	struct mrmr_stripe *stripe = NULL;
	uint32_t i;
	int ret = 1;

	if (mrmr_catalog_get_stripe(p->catalog, a->moving.batch, id, &stripe) ==
	    -1) {
		return errno == ENOENT ? 0 : -1;
	}
	if (!all_are_online(a->s, stripe)) {
		return 0;
	}
	for (i = 0; i < stripe->num_slots && ret == 1; i++) {
		ret = moving_add_slot(&a->moving, stripe, &stripe->slots[i]);
	}
	a->has_short = a->has_short || is_short(a->s, stripe);
	return ret;
}

static int count_parity(struct protector *p, uint64_t *bytes)
{
	struct mrmr_catalog_sums sums;

	if (mrmr_catalog_sums(p->catalog, MRMR_MEMBER_NONE, &sums) == -1) {
		return -1;
	}
	*bytes = sums.parity_bytes;
	return 0;
}

static int stopped(const char *point, struct mrmr_error *err)
{
	return mrmr_fault(point) == 0
		       ? 0
		       : mrmr_error_set(err, errno, "stopped by a test");
}

/* 1: it is worth it. Within the transaction. */
static int move(struct attempt *a, struct mrmr_error *err)
{
	struct protector *p = a->s->p;
	uint64_t before = 0;
	uint64_t after = 0;

	if (count_parity(p, &before) == -1) {
		return protector_fail_catalog(p, err);
	}
	if (moving_apply(&a->moving, a->work, a->moving.leaves, err) == -1) {
		return a->moving.has_no_place ? 0 : -1;
	}
	if (stopped("squeeze-left", err) == -1) {
		return -1;
	}
	if (count_parity(p, &after) == -1) {
		return protector_fail_catalog(p, err);
	}
	mrmr_stripes_limit(a->work, a->has_short ? before : before - after);
	if (moving_apply(&a->moving, a->work, a->moving.comes, err) == -1) {
		return a->moving.has_no_place || err->code == ENOSPC ? 0 : -1;
	}
	if (count_parity(p, &after) == -1) {
		return protector_fail_catalog(p, err);
	}
	if (mrmr_stripes_made_short(a->work) ||
	    (after >= before && !a->has_short)) {
		return 0;
	}
	if (stopped("squeeze-applied", err) == -1 ||
	    mrmr_stripes_sync(a->work, err) == -1 ||
	    stopped("squeeze-synced", err) == -1) {
		return -1;
	}
	return 1;
}

static int carry_out(struct attempt *a, struct mrmr_error *err)
{
	struct protector *p = a->s->p;
	int ret;

	if (protector_begin(p, err) == -1) {
		mrmr_stripes_abort(a->work);
		return -1;
	}
	ret = move(a, err);
	if (ret == 1 && protector_commit(p, err) == -1) {
		ret = -1;
	}
	if (ret != 1) {
		protector_take_back(p);
		mrmr_stripes_abort(a->work);
		return ret;
	}
	(void)mrmr_fault("squeeze-committed");
	mrmr_stripes_finish(a->work);
	a->s->has_gained = true;
	return 1;
}

/* Dissolve so many stripes of the list. 1 if something is gained; -1 with *err. */
static int attempt(struct squeeze *s, size_t first, size_t num,
		   struct mrmr_error *err)
{
	const struct mrmr_stripes_options options = {
		.threads = 1, /* there are a few stripes at a time */
		.joins_only = s->order == ORDER_WIDTH,
		.uses_spare = true,
	};
	struct attempt a = {.s = s, .moving = {.p = s->p}};
	size_t i;
	int ret = 1;

	a.moving.batch = batch_new(s->p);
	if (a.moving.batch == NULL) {
		return protector_no_memory(err);
	}
	for (i = first; i < first + num && i < s->num && ret == 1; i++) {
		ret = add_stripe(&a, s->list[i].stripe);
	}
	if (ret == -1) {
		protector_fail_catalog(s->p, err);
	}
	if (ret == 1 && a.moving.num > 0) {
		a.work = mrmr_stripes_new(a.moving.batch, s->p->engine,
					  &options);
		ret = a.work != NULL ? carry_out(&a, err)
				     : protector_no_memory(err);
	} else if (ret == 1) {
		ret = 0;
	}
	talloc_free(a.moving.batch);
	return ret;
}

/* The rooms that work is planned by are those of the last look. */
static int attempt_next(struct squeeze *s, size_t first, size_t num,
			struct mrmr_error *err)
{
	mrmr_pool_look_at_space(s->p->pool);
	err->code = 0;
	return attempt(s, first, num, err);
}

static bool must_stop(struct squeeze *s)
{
	return protector_should_stop(s->p) || protector_gives_way(s->p);
}

/* Each by itself: its blocks join others. That is found out without I/O. */
static int attempt_joins(struct squeeze *s, struct mrmr_error *err)
{
	size_t i;

	for (i = 0; i < s->num && !must_stop(s); i++) {
		if (attempt_next(s, i, 1, err) == -1) {
			return -1;
		}
	}
	return 0;
}

/* Several are made anew together: long blocks with long ones. How many at a time
   depends on how much room there is for that. */
static int attempt_together(struct squeeze *s, struct mrmr_error *err)
{
	unsigned int in_vain = 0;
	size_t i = 0;

	while (i + 1 < s->num && in_vain < IN_VAIN_MAX && !must_stop(s)) {
		size_t num = TOGETHER_MAX;
		int ret = attempt_next(s, i, num, err);

		while (ret == 0 && num > 2) {
			num /= 2;
			ret = attempt_next(s, i, num, err);
		}
		if (ret == -1) {
			return -1;
		}
		i += num;
		in_vain = ret == 1 ? 0 : in_vain + 1;
	}
	return 0;
}

static int attempt_all(struct squeeze *s, enum order order,
		       struct mrmr_error *err)
{
	int ret;

	s->order = order;
	s->num = 0;
	if (find_worst(s) == -1) {
		return protector_fail_catalog(s->p, err);
	}
	ret = order == ORDER_WIDTH ? attempt_joins(s, err)
				   : attempt_together(s, err);
	if (ret == 0) {
		err->code = 0;
	}
	return ret;
}

/* --- not in vain ---------------------------------------------------------------------- */

/* How much parity there was when nothing was to be gained: as long as there is
   not much more of it, nor is there now. */
static bool was_in_vain(struct protector *p)
{
	uint64_t now = 0;
	uint64_t then = 0;
	uint64_t much = MUCH_BLOCKS * p->pool->config->block_size_bytes;
	size_t len = 0;
	uint8_t *note = mrmr_catalog_get_note(p->catalog, p, NOTE, &len);

	if (note != NULL && len == sizeof(then)) {
		memcpy(&then, note, sizeof(then));
		then = le64toh(then);
	}
	talloc_free(note);
	if (count_parity(p, &now) == -1) {
		return false;
	}
	return now < then + much && then < now + much;
}

static int note_in_vain(struct protector *p, struct mrmr_error *err)
{
	uint64_t bytes = 0;

	if (protector_begin(p, err) == -1) {
		return -1;
	}
	if (count_parity(p, &bytes) == 0) {
		bytes = htole64(bytes);
		if (mrmr_catalog_put_note(p->catalog, NOTE,
					  (const uint8_t *)&bytes,
					  sizeof(bytes)) == 0) {
			return protector_commit(p, err);
		}
	}
	protector_fail_catalog(p, err);
	protector_take_back(p);
	return -1;
}

/* --- what for ------------------------------------------------------------------------ */

static bool is_wanted(struct protector *p)
{
	/* what is short for want of a member gets its rows when this is back */
	if (!protector_has_all_members(p)) {
		return false;
	}
	return (p->has_noted_room || p->has_made_short) &&
	       p->num_squeezes < ROUNDS_MAX && mrmr_pool_rows(p->pool) > 0 &&
	       (!p->options->background || p->num_squeezes > 0 ||
		!was_in_vain(p));
}

/* Those that found no room look again, and stripes that are short of rows. */
static int try_again(struct protector *p, struct mrmr_error *err)
{
	p->has_noted_room = false;
	p->has_made_short = false;
	p->cannot_narrow = false;
	p->mends_anew = true;
	return room_retry(p, PENDING_NO_ROOM, err);
}

int squeeze_run(struct protector *p, bool *any, struct mrmr_error *err)
{
	struct squeeze s = {.p = p};
	int ret;

	if (!is_wanted(p)) {
		return 0;
	}
	p->num_squeezes++;
	s.list = talloc_array(p, struct worst, 2 * WORST_MAX);
	if (s.list == NULL) {
		return protector_no_memory(err);
	}
	ret = attempt_all(&s, ORDER_WIDTH, err);
	if (ret == 0) {
		ret = attempt_all(&s, ORDER_WASTE, err);
	}
	talloc_free(s.list);
	if (s.has_gained || (ret == 0 && !p->uses_spare)) {
		/* the spare room is the last resort */
		p->uses_spare = !s.has_gained;
		*any = true;
		if (try_again(p, err) == -1) {
			ret = -1;
		}
	} else {
		p->num_squeezes = ROUNDS_MAX;
		if (ret == 0) {
			ret = note_in_vain(p, err);
		}
	}
	return ret;
}
