/*
 * MRMR: the catalogue: the parts of members.
 *
 * A part is written before the catalogue, in a transaction of its own. So after
 * a crash or a failure it may be one batch ahead; each part has a record of
 * what its last batch touched (RECORD_LAST), and being told what the catalogue
 * says about these things makes it right again. That is what `pending` is for.
 *
 * For each member whose part it knows, the catalogue remembers (RECORD_PART) up
 * to which commit the part is complete, and the sequence that stands in it. As
 * long as there is a part that is behind, what each commit touched is kept in a
 * log. A part that comes back is told of these things with the next commit, and
 * is complete then. If the log does not go back far enough (it has a limit), or
 * if the part is not the one that the catalogue knows, it has to be made anew:
 * mrmr_catalog_refresh_part().
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <mrmr/fault.h>
#include <mrmr/log.h>

#include "parts_private.h"

size_t parts_clean_bytes = (size_t)32 << 20;

/* --- attaching ------------------------------------------------------------------------ */

struct attached *part_find(const struct mrmr_catalog *cat, uint16_t member)
{
	size_t i;

	for (i = 0; i < cat->num_attached; i++) {
		if (cat->attached[i].member == member) {
			return &cat->attached[i];
		}
	}
	return NULL;
}

/* However many parts there are, they keep no more than so much together. */
static void share_memory(struct mrmr_catalog *cat)
{
	size_t i;

	for (i = 0; i < cat->num_attached; i++) {
		cat->attached[i].part->clean_bytes_max =
			parts_clean_bytes / cat->num_attached;
	}
}

static void detach(struct mrmr_catalog *cat, struct attached *a)
{
	size_t i = (size_t)(a - cat->attached);

	talloc_free(a->pending);
	cat->num_attached--;
	memmove(a, a + 1, (cat->num_attached - i) * sizeof(*a));
	share_memory(cat);
}

int part_error(const struct mrmr_catalog *cat, uint16_t member)
{
	size_t i;

	for (i = 0; i < cat->num_given_up; i++) {
		if (cat->given_up[i].member == member) {
			return cat->given_up[i].error;
		}
	}
	return 0;
}

static void forget_error(struct mrmr_catalog *cat, uint16_t member)
{
	size_t to = 0;
	size_t i;

	for (i = 0; i < cat->num_given_up; i++) {
		if (cat->given_up[i].member != member) {
			cat->given_up[to++] = cat->given_up[i];
		}
	}
	cat->num_given_up = to;
}

/* For want of memory, it is only in the log. */
static void note_error(struct mrmr_catalog *cat, uint16_t member, int error)
{
	struct given_up *list =
		talloc_realloc(cat, cat->given_up, struct given_up,
			       cat->num_given_up + 1);

	if (list != NULL) {
		cat->given_up = list;
		list[cat->num_given_up++] = (struct given_up){
			.member = member,
			.error = error,
		};
	}
}

int part_add_pending(struct mrmr_catalog *cat, struct attached *a,
		     const struct touched *one)
{
	struct touched *more = talloc_realloc(cat, a->pending, struct touched,
					      a->num_pending + 1);

	if (more == NULL) {
		errno = ENOMEM;
		return -1;
	}
	a->pending = more;
	a->pending[a->num_pending++] = *one;
	return 0;
}

/* What its last batch touched, which may not have happened. */
static int add_last_batch(struct mrmr_catalog *cat, struct attached *a)
{
	return part_last_load(a->part, cat, &a->pending, &a->num_pending);
}

static bool is_empty(const struct mrmr_catalog *cat)
{
	return cat->head.next_id == FIRST_ID && cat->head.next_stripe == 1;
}

/* What has to be told to a part that comes back. *known: that is enough. */
static int find_pending(struct mrmr_catalog *cat, struct attached *a,
			bool *is_enough)
{
	const struct head *head = &a->part->head;
	struct touched root = {.kind = TOUCHED_NODE, .id = MRMR_ID_ROOT};
	struct part_known known = {0};
	uint64_t sequence;

	*is_enough = false;
	if (part_known_get(cat, a->member, &known) == -1) {
		if (errno != ENOENT) {
			return -1;
		}
		*is_enough = is_empty(cat) && is_empty(a->part);
		return part_add_pending(cat, a, &root);
	}
	if (!mrmr_uuid_equal(&head->self_id, &cat->head.self_id) ||
	    head->member != a->member ||
	    (head->sequence != known.written &&
	     head->sequence != known.complete + 1 &&
	     head->sequence != cat->head.sequence + 1)) {
		return 0;
	}
	if (known.is_current && head->sequence == known.written) {
		*is_enough = true;
		return 0;
	}
	if (add_last_batch(cat, a) == -1 ||
	    part_add_pending(cat, a, &root) == -1) {
		return -1;
	}
	if (known.is_current) {
		*is_enough = true;
		return 0;
	}
	if (cat->head.log_first == 0 ||
	    cat->head.log_first > known.complete + 1) {
		return 0;
	}
	for (sequence = known.complete + 1; sequence <= cat->head.sequence;
	     sequence++) {
		if (part_log_load(cat, sequence, cat, &a->pending,
				  &a->num_pending) == -1) {
			return -1;
		}
	}
	*is_enough = true;
	return 0;
}

void mrmr_catalog_attach(struct mrmr_catalog *cat, uint16_t member,
			 struct mrmr_catalog *part)
{
	struct attached *a = part_find(cat, member);
	bool is_enough = false;

	if (a != NULL) {
		detach(cat, a);
	}
	forget_error(cat, member);
	if (part == NULL) {
		return;
	}
	if (part->mode != MRMR_CATALOG_WRITE || !part->is_part) {
		mrmr_log(MRMR_LOG_ERROR,
			 "the part of member %u is not open for writing",
			 member);
		return;
	}
	a = talloc_realloc(cat, cat->attached, struct attached,
			   cat->num_attached + 1);
	if (a == NULL) {
		mrmr_log(MRMR_LOG_ERROR, "out of memory");
		return;
	}
	cat->attached = a;
	a = &cat->attached[cat->num_attached++];
	*a = (struct attached){.member = member, .part = part};
	share_memory(cat);
	if (find_pending(cat, a, &is_enough) == -1) {
		mrmr_log(MRMR_LOG_WARNING,
			 "the part of member %u cannot be continued: %s",
			 member, strerror(errno));
	}
	a->is_behind = !is_enough;
	if (a->is_behind) {
		TALLOC_FREE(a->pending);
		a->num_pending = 0;
	}
}

void mrmr_catalog_set_copies(struct mrmr_catalog *cat, unsigned int copies)
{
	cat->copies = copies;
}

unsigned int mrmr_catalog_copies(const struct mrmr_catalog *cat)
{
	return cat->copies;
}

void mrmr_catalog_set_threads(struct mrmr_catalog *cat, unsigned int threads)
{
	cat->threads = threads;
}

bool mrmr_catalog_part_is_behind(struct mrmr_catalog *cat, uint16_t member)
{
	const struct attached *a = part_find(cat, member);

	return a == NULL || a->is_behind;
}

int mrmr_catalog_forget_part(struct mrmr_catalog *cat, uint16_t member)
{
	struct key key = key_of_number(RECORD_PART, member);

	if (change_begin(cat) == -1) {
		return -1;
	}
	if (part_find(cat, member) != NULL) {
		detach(cat, part_find(cat, member));
	}
	return change_end(cat, record_delete(cat, &key));
}

static uint64_t rank_of(uint64_t id, uint16_t member)
{
	uint8_t bytes[10];
	unsigned int i;

	for (i = 0; i < 8; i++) {
		bytes[i] = (uint8_t)(id >> (8 * i));
	}
	bytes[8] = (uint8_t)member;
	bytes[9] = (uint8_t)(member >> 8);
	return XXH3_64bits(bytes, sizeof(bytes));
}

bool part_has_share(struct mrmr_catalog *cat, uint64_t id, uint16_t own_member,
		    uint16_t member)
{
	uint64_t rank = rank_of(id, member);
	unsigned int num_before = 0;
	size_t i;

	for (i = 0; i < cat->num_attached; i++) {
		const struct attached *a = &cat->attached[i];

		if (!a->is_behind && a->member != member &&
		    a->member != own_member && rank_of(id, a->member) > rank) {
			num_before++;
		}
	}
	/* a directory is nobody's own */
	return member != own_member &&
	       num_before < cat->copies + (own_member == MRMR_MEMBER_NONE);
}

/* --- committing ------------------------------------------------------------------------- */

bool parts_have_work(struct mrmr_catalog *cat)
{
	size_t i;

	for (i = 0; i < cat->num_attached; i++) {
		if (!cat->attached[i].is_behind &&
		    cat->attached[i].num_pending > 0) {
			return true;
		}
	}
	return false;
}

/* What this commit touches, and what is pending, in a->pending. */
static int gather(struct mrmr_catalog *cat, struct attached *a)
{
	size_t num = a->num_pending + cat->num_touched;
	struct touched *list =
		talloc_realloc(cat, a->pending, struct touched, num + 1);

	if (list == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (cat->num_touched > 0) {
		memcpy(list + a->num_pending, cat->touched,
		       cat->num_touched * sizeof(list[0]));
	}
	a->pending = list;
	a->num_pending = touched_unique(list, num);
	return 0;
}

int part_save(struct mrmr_catalog *cat, struct attached *a)
{
	struct mrmr_catalog *part = a->part;
	struct key key = key_of(RECORD_LAST);
	struct pack p = {.mem_ctx = NULL};
	int ret;

	part->head.sequence = cat->head.sequence;
	part->head.self_id = cat->head.self_id;
	part->head.member = a->member;
	touched_pack(&p, a->pending, a->num_pending);
	ret = record_put_pack(part, &key, &p);
	if (ret == -1 || head_save(part) == -1 ||
	    mrmr_fault("catalog-part") != 0) {
		return -1;
	}
	return records_write(part);
}

static void give_up(struct mrmr_catalog *cat, struct attached *a)
{
	mrmr_log(MRMR_LOG_WARNING,
		 "the catalogue's part on member %u cannot be written: %s; it "
		 "is done without until the member is attached again",
		 a->member, strerror(a->error));
	note_error(cat, a->member, a->error);
	reload(a->part);
	detach(cat, a);
}

/* Remember how far a part is. *behind: there is one that needs the log. */
static int remember_part(struct mrmr_catalog *cat, uint16_t member,
			 bool *behind)
{
	const struct attached *a = part_find(cat, member);
	struct part_known known = {0};
	bool is_known = part_known_get(cat, member, &known) == 0;

	if (!is_known && errno != ENOENT) {
		return -1;
	}
	if (a != NULL && !a->is_behind) {
		if (!a->was_written && is_known) {
			return 0;
		}
		known.is_current = true;
		known.complete = cat->head.sequence;
		known.written = cat->head.sequence;
		return a->was_written ? part_known_put(cat, member, &known) : 0;
	}
	if (!is_known) {
		return 0;
	}
	*behind = true;
	if (!known.is_current) {
		return 0;
	}
	known.is_current = false;
	known.complete = cat->head.sequence - 1;
	return part_known_put(cat, member, &known);
}

int parts_write(struct mrmr_catalog *cat)
{
	struct seen_node *seen = NULL;
	bool behind = false;
	uint16_t member;
	size_t i;

	cat->num_touched = touched_unique(cat->touched, cat->num_touched);
	seen = mirror_see(cat, cat, cat->touched, cat->num_touched);
	for (i = 0; i < cat->num_attached; i++) {
		struct attached *a = &cat->attached[i];

		a->was_written = false;
		a->error = 0;
		if (!a->is_behind && gather(cat, a) == -1) {
			a->error = errno;
		}
	}
	if (parts_fill(cat, seen) == -1) {
		talloc_free(seen);
		return -1;
	}
	for (i = 0; i < cat->num_attached;) {
		if (cat->attached[i].error != 0) {
			give_up(cat, &cat->attached[i]);
		} else {
			i++;
		}
	}
	talloc_free(seen);
	if (mrmr_fault("catalog-parts-written") != 0) {
		return -1;
	}
	for (member = 0; member < cat->head.num_members; member++) {
		if (remember_part(cat, member, &behind) == -1) {
			return -1;
		}
	}
	return part_log_write(cat, behind);
}

void parts_written(struct mrmr_catalog *cat, bool ok)
{
	size_t i;

	for (i = 0; i < cat->num_attached; i++) {
		struct attached *a = &cat->attached[i];

		/* one that is ahead is told again, with the next commit */
		if (ok && a->was_written) {
			TALLOC_FREE(a->pending);
			a->num_pending = 0;
		}
		a->was_written = false;
	}
}
