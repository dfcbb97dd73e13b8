/*
 * MRMR: the protector: which of what is pending is due, and whose turn it is.
 *
 * The list of what is pending is in the catalogue, by ids, and may be long; here are
 * a number of places for those at work (protector_window.c). So it is gone through
 * in rounds. There is a list for each member, as a batch is to have of all of them:
 * each goes on where it has stopped, whatever lies on other members in between.
 * What was looked at, and is to be again, keeps its place until then; it comes
 * first, and not in the order of the round.
 *
 * When more comes, or something is to be done again, the next round begins at once:
 * what is done is not in the list any more, so it goes on where this one was, and a
 * batch has of all that there is.
 *
 * If very much is to be looked at again (it is open, or has just been changed), so
 * that there is little room for the others, some of that is forgotten: the next
 * round finds it. Then a round goes to its end, and the next one lets some time
 * pass.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include "protector_private.h"

#define THROUGH UINT64_MAX
/* between two rounds, of what is looked at in vain: a small part of the time */
#define PAUSE_NS INT64_C(1000000000)
#define PAUSE_EACH_NS INT64_C(40000)

#define HINDERED (PENDING_NO_ROOM | PENDING_UNREADABLE)

struct finding {
	struct protector *p;
	struct due *lists;
	size_t num_lists;
	int64_t now_ns;
	size_t num;
};

/* --- the lists ---------------------------------------------------------------- */

static int add_due(struct finding *f, struct due *due, uint32_t entry)
{
	size_t size = talloc_array_length(due->entries);

	if (due->num == size) {
		uint32_t *more =
			talloc_realloc(f->lists, due->entries, uint32_t,
				       size > 0 ? 2 * size : 64);

		if (more == NULL) {
			errno = ENOMEM;
			return -1;
		}
		due->entries = more;
	}
	due->entries[due->num++] = entry;
	f->num++;
	return 0;
}

static bool is_away(const struct protector *p, uint16_t member)
{
	return member != MRMR_MEMBER_NONE &&
	       mrmr_engine_online(p->engine, member) == NULL;
}

/* What hindered the others is for a person, or for a change of the pool, to mend;
   to read them again and again would be of no use. Of a large one, a part has found
   room. */
static bool can_be_done(const struct protector *p,
			const struct pending_place *place, bool is_large)
{
	uint8_t hindered = place->flags & HINDERED;

	return (hindered == 0 || (is_large && hindered == PENDING_NO_ROOM)) &&
	       !is_away(p, place->member);
}

/* The last one: of no member. */
static size_t list_of(const struct finding *f, uint16_t member)
{
	size_t index = mrmr_engine_member(f->p->engine, member);

	return index == SIZE_MAX ? f->num_lists - 1 : index;
}

/* --- those that are remembered ------------------------------------------------- */

static bool is_to_be_remembered(const struct pending_entry *entry)
{
	return entry->is_large || entry->retry_ns != 0 || entry->last_ns != 0 ||
	       entry->tries > 0;
}

static void forget_the_rest(struct protector *p)
{
	uint32_t i;

	for (i = 0; i < window_end(p->window); i++) {
		struct pending_entry *entry = window_get(p->window, i);
		struct pending_place place;

		if (entry->node == 0) {
			continue;
		}
		if (!is_to_be_remembered(entry) ||
		    !pending_get(p->pending, entry->node, &place) ||
		    !can_be_done(p, &place, entry->is_large)) {
			window_leave(p->window, i);
		} else {
			entry->is_skipped = false;
		}
	}
}

/* Half of the places are for those that nobody has looked at. */
static void make_room(struct protector *p)
{
	uint32_t half = window_places(p->window) / 2;
	uint32_t i;

	for (i = 0; i < window_end(p->window) && window_room(p->window) < half;
	     i++) {
		const struct pending_entry *entry = window_get(p->window, i);

		if (entry->node != 0 && !entry->is_large && entry->tries == 0) {
			p->round->forgotten++;
			p->round->forgotten_open += entry->is_open;
			window_leave(p->window, i);
		}
	}
}

static int find_known(struct finding *f, bool with_last, bool *has_last)
{
	struct protector *p = f->p;
	bool must_hurry = protector_must_hurry(p);
	size_t i;

	for (i = 0; i < window_end(p->window); i++) {
		const struct pending_entry *entry =
			window_get(p->window, (uint32_t)i);
		struct pending_place place;

		if (entry->node == 0 ||
		    (entry->retry_ns > f->now_ns && !must_hurry) ||
		    !pending_get(p->pending, entry->node, &place) ||
		    !can_be_done(p, &place, entry->is_large)) {
			continue;
		}
		if (entry->last_ns > f->now_ns && !with_last) {
			*has_last = true;
			continue;
		}
		if (add_due(f, &f->lists[list_of(f, place.member)],
			    (uint32_t)i) == -1) {
			return -1;
		}
	}
	for (i = 0; i < f->num_lists; i++) {
		f->lists[i].num_known = f->lists[i].num;
	}
	return 0;
}

/* --- the others ------------------------------------------------------------------ */

/* A file whose member is away may be on another one by now: it was rebuilt since it
   was added. Once for each process, as that is the work of another one. */
static void look_where_it_is(struct protector *p, struct pending_place *place)
{
	struct mrmr_node *node = NULL;

	if (place->node < p->round->looked_to || !is_away(p, place->member)) {
		return;
	}
	p->round->looked_to = place->node + 1;
	if (mrmr_catalog_get(p->catalog, p, place->node, &node) == 0) {
		place->member = node->member;
	} else if (errno == ENOENT) {
		place->member = MRMR_MEMBER_NONE;
	}
	pending_set_member(p->pending, place->node, place->member);
	talloc_free(node);
}

/* Where the first of the lists goes on; and how many do. */
static uint64_t first_next(const struct protector *p, size_t *num)
{
	uint64_t first = THROUGH;
	size_t i;

	*num = 0;
	for (i = 0; i <= p->pool->num_members; i++) {
		uint64_t next = p->round->next[i];

		first = next < first ? next : first;
		*num += next != THROUGH;
	}
	return first;
}

static bool is_through(const struct protector *p)
{
	size_t num;

	return first_next(p, &num) == THROUGH;
}

static int take(struct finding *f, struct due *due, uint64_t node)
{
	uint32_t entry;

	return window_enter(f->p->window, node, &entry) == -1
		       ? -1
		       : add_due(f, due, entry);
}

/* Go on with the lists, as far as there is room, each up to max. */
static int find_some(struct finding *f, size_t max)
{
	struct protector *p = f->p;
	uint64_t *next = p->round->next;
	struct pending_place place;
	size_t num;
	uint64_t node = first_next(p, &num);
	size_t i;

	for (i = 0; i < f->num_lists; i++) {
		f->lists[i].is_full = false;
	}
	for (; num > 0 && window_room(p->window) > 0; node = place.node + 1) {
		struct due *due = NULL;

		if (!pending_next(p->pending, node, &place)) {
			node = THROUGH;
			break;
		}
		if (window_find(p->window, place.node) != WINDOW_NONE) {
			continue;
		}
		look_where_it_is(p, &place);
		if (!can_be_done(p, &place, false)) {
			continue;
		}
		i = list_of(f, place.member);
		due = &f->lists[i];
		if (due->is_full || next[i] > place.node) {
			continue;
		}
		if (due->num - due->num_known >= max) {
			due->is_full = true;
			next[i] = place.node;
			num--;
		} else if (take(f, due, place.node) == -1) {
			return -1;
		}
	}
	for (i = 0; i < f->num_lists; i++) {
		if (!f->lists[i].is_full && next[i] < node) {
			next[i] = node;
		}
	}
	return pending_error(p->pending);
}

/* False: it is not time yet. */
static bool begin_round(struct finding *f)
{
	struct protector *p = f->p;
	struct round *round = p->round;
	size_t i;

	/* As soon as there is more, so that a batch has it beside what is left of
	   other members; unless what was forgotten would come first again. */
	if (!is_through(p) &&
	    (round->forgotten > 0 ||
	     !(round->has_more || window_is_touched(p->window)))) {
		return true;
	}
	if (p->options->background && f->now_ns < round->not_before_ns &&
	    !protector_must_hurry(p)) {
		return false;
	}
	for (i = 0; i < f->num_lists; i++) {
		round->next[i] = 0;
	}
	round->has_more = false;
	round->forgotten = 0;
	round->forgotten_open = 0;
	window_forget_touched(p->window);
	return true;
}

/* Evenly, as far as they have some. */
static int share_room(struct finding *f)
{
	size_t num_full = f->num_lists;
	size_t each = 0;

	while (num_full > 0 && window_room(f->p->window) > 0) {
		size_t share = window_room(f->p->window) / num_full;
		size_t i;

		each += share > 0 ? share : 1;
		if (find_some(f, each) == -1) {
			return -1;
		}
		num_full = 0;
		for (i = 0; i < f->num_lists; i++) {
			num_full += f->lists[i].is_full;
		}
	}
	return 0;
}

static int go_round(struct finding *f)
{
	struct protector *p = f->p;
	struct round *round = p->round;

	round->is_stuck = true;
	if (window_room(p->window) == 0 || !begin_round(f)) {
		return 0;
	}
	round->is_stuck = false;
	if (share_room(f) == -1) {
		return -1;
	}
	if (is_through(p) && round->forgotten > 0) {
		round->not_before_ns =
			f->now_ns + PAUSE_NS + round->forgotten * PAUSE_EACH_NS;
	}
	return 0;
}

/* --- all of them -------------------------------------------------------------------- */

struct due *due_find(struct protector *p, bool with_last, size_t *num,
		     bool *has_last)
{
	struct finding f = {
		.p = p,
		.num_lists = p->pool->num_members + 1,
		.now_ns = protector_now_ns(),
	};
	int saved_errno;

	*num = 0;
	*has_last = false;
	f.lists = talloc_zero_array(p, struct due, f.num_lists);
	if (f.lists == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	forget_the_rest(p);
	make_room(p);
	if (find_known(&f, with_last, has_last) == -1 || go_round(&f) == -1 ||
	    pending_error(p->pending) == -1) {
		saved_errno = errno;
		TALLOC_FREE(f.lists);
		errno = saved_errno;
		return NULL;
	}
	*num = f.num;
	return f.lists;
}

void due_end(struct protector *p, struct due *lists)
{
	uint64_t *next = p->round->next;
	size_t i;

	for (i = 0; i <= p->pool->num_members; i++) {
		const struct due *due = &lists[i];
		size_t first =
			due->next > due->num_known ? due->next : due->num_known;

		if (first < due->num) {
			uint64_t node =
				window_get(p->window, due->entries[first])
					->node;

			next[i] = node < next[i] ? node : next[i];
		}
	}
	talloc_free(lists);
}

bool due_has_more(const struct protector *p)
{
	return !p->round->is_stuck && (!is_through(p) || p->round->has_more ||
				       window_is_touched(p->window));
}

int64_t due_when(struct protector *p)
{
	int64_t when = p->round->forgotten > 0 && is_through(p)
			       ? p->round->not_before_ns
			       : 0;
	uint32_t i;

	for (i = 0; i < window_end(p->window); i++) {
		const struct pending_entry *entry = window_get(p->window, i);
		struct pending_place place;

		if (entry->node == 0 || entry->is_skipped ||
		    !pending_get(p->pending, entry->node, &place) ||
		    !can_be_done(p, &place, entry->is_large)) {
			continue;
		}
		if (when == 0 || entry->retry_ns < when) {
			when = entry->retry_ns > 0 ? entry->retry_ns : 1;
		}
	}
	return when;
}

struct due *due_next(struct protector *p, struct due *lists, uint64_t quota)
{
	struct due *best = NULL;
	size_t i;

	for (i = 0; i <= p->pool->num_members; i++) {
		struct due *due = &lists[i];

		if (due->next < due->num && due->taken_bytes < quota &&
		    (best == NULL || due->taken_bytes < best->taken_bytes)) {
			best = due;
		}
	}
	return best;
}

uint64_t due_quota(struct protector *p, struct due *lists)
{
	uint64_t bytes = p->batch_bytes;
	uint64_t num = 0;
	size_t i;

	for (i = 0; i <= p->pool->num_members; i++) {
		num += lists[i].next < lists[i].num;
		lists[i].taken_bytes = 0;
	}
	if (p->options->batch_bytes > 0) {
		bytes = p->options->batch_bytes;
	} else if (bytes < BATCH_BYTES_MIN) {
		bytes = BATCH_BYTES_MIN; /* the first */
	}
	return bytes / (num > 0 ? num : 1) + 1;
}

int due_begin(struct protector *p)
{
	size_t num_lists = p->pool->num_members + 1;
	size_t i;

	p->window = window_new(p, p->options->window_files);
	p->round = talloc_zero(p, struct round);
	if (p->window == NULL || p->round == NULL) {
		errno = ENOMEM;
		return -1;
	}
	p->round->next = talloc_array(p->round, uint64_t, num_lists);
	if (p->round->next == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < num_lists; i++) {
		p->round->next[i] = THROUGH;
	}
	pending_set_window(p->pending, p->window);
	return 0;
}

uint64_t due_num_open(const struct protector *p)
{
	uint64_t num = p->round->forgotten_open;
	uint32_t i;

	for (i = 0; i < window_end(p->window); i++) {
		const struct pending_entry *entry = window_get(p->window, i);

		num += entry->node != 0 && entry->is_open &&
		       pending_has(p->pending, entry->node);
	}
	return num;
}
