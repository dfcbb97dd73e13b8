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

#include "catalog_private.h"

#define LOG_ITEMS_MAX 200000
#define LOG_RECORDS_MAX 4096
#define FRESH_NAME MRMR_CATALOG_PART ".new"
#define FRESH_DIRTY_BYTES ((size_t)8 * 1024 * 1024)
#define FRESH_STRIPES 64
#define FRESH_NODES 1024

/* --- what the catalogue knows of a part ------------------------------------------ */

struct known {
	bool is_current;
	uint64_t complete; /* all commits up to this one are in it */
	uint64_t written;  /* the sequence that stands in it */
};

/* ENOENT if it knows none. */
static int known_get(struct mrmr_catalog *cat, uint16_t member,
		     struct known *known)
{
	struct key key = key_of_number(RECORD_PART, member);
	const uint8_t *value = NULL;
	struct unpack u;
	size_t len = 0;

	if (record_get(cat, &key, &value, &len) == -1) {
		return -1;
	}
	u = unpack_of(value, len);
	known->is_current = unpack_fixed(&u, 1) != 0;
	known->complete = unpack_varint(&u);
	known->written = unpack_varint(&u);
	return unpack_done(&u) ? 0 : damaged_record(cat, "the state of a part");
}

static int known_put(struct mrmr_catalog *cat, uint16_t member,
		     const struct known *known)
{
	struct key key = key_of_number(RECORD_PART, member);
	struct pack p = {.mem_ctx = NULL};
	int ret;

	pack_fixed(&p, known->is_current, 1);
	pack_varint(&p, known->complete);
	pack_varint(&p, known->written);
	ret = record_put_pack(cat, &key, &p);
	talloc_free(p.data);
	return ret;
}

/* --- the log ------------------------------------------------------------------------ */

static int log_load(struct mrmr_catalog *cat, uint64_t sequence, void *mem_ctx,
		    struct touched **list, size_t *num)
{
	struct key key = key_of_number(RECORD_LOG, sequence);
	const uint8_t *value = NULL;
	struct unpack u;
	size_t len = 0;

	if (record_get(cat, &key, &value, &len) == -1) {
		return -1;
	}
	u = unpack_of(value, len);
	return touched_unpack(&u, mem_ctx, list, num);
}

/* The oldest record of the log goes. */
static int log_shift(struct mrmr_catalog *cat)
{
	struct key key = key_of_number(RECORD_LOG, cat->head.log_first);
	struct touched *list = NULL;
	size_t num = 0;

	if (log_load(cat, cat->head.log_first, NULL, &list, &num) == -1 &&
	    errno != ENOENT) {
		return -1;
	}
	talloc_free(list);
	cat->head.log_items -=
		num < cat->head.log_items ? num : cat->head.log_items;
	cat->head.log_first++;
	return record_delete(cat, &key);
}

/* Keep what this commit touches, or, if nobody is behind, nothing. */
static int log_write(struct mrmr_catalog *cat, bool is_needed)
{
	struct key key = key_of_number(RECORD_LOG, cat->head.sequence);
	struct pack p = {.mem_ctx = NULL};
	int ret;

	if (is_needed && cat->head.log_first == 0) {
		cat->head.log_first = cat->head.sequence;
	}
	while (cat->head.log_first != 0 &&
	       cat->head.log_first < cat->head.sequence &&
	       (!is_needed ||
		cat->head.log_items + cat->num_touched > LOG_ITEMS_MAX ||
		cat->head.sequence - cat->head.log_first >= LOG_RECORDS_MAX)) {
		if (log_shift(cat) == -1) {
			return -1;
		}
	}
	if (!is_needed) {
		cat->head.log_first = 0;
		cat->head.log_items = 0;
		return 0;
	}
	touched_pack(&p, cat->touched, cat->num_touched);
	ret = record_put_pack(cat, &key, &p);
	talloc_free(p.data);
	cat->head.log_items += cat->num_touched;
	return ret;
}

/* --- attaching ------------------------------------------------------------------------ */

static struct attached *find(const struct mrmr_catalog *cat, uint16_t member)
{
	size_t i;

	for (i = 0; i < cat->num_attached; i++) {
		if (cat->attached[i].member == member) {
			return &cat->attached[i];
		}
	}
	return NULL;
}

static void detach(struct mrmr_catalog *cat, struct attached *a)
{
	size_t i = (size_t)(a - cat->attached);

	talloc_free(a->pending);
	cat->num_attached--;
	memmove(a, a + 1, (cat->num_attached - i) * sizeof(*a));
}

static int add_pending(struct mrmr_catalog *cat, struct attached *a,
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
	struct key key = key_of(RECORD_LAST);
	const uint8_t *value = NULL;
	struct unpack u;
	size_t len = 0;

	if (record_get(a->part, &key, &value, &len) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	u = unpack_of(value, len);
	return touched_unpack(&u, cat, &a->pending, &a->num_pending);
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
	struct known known = {0};
	uint64_t sequence;

	*is_enough = false;
	if (known_get(cat, a->member, &known) == -1) {
		if (errno != ENOENT) {
			return -1;
		}
		*is_enough = is_empty(cat) && is_empty(a->part);
		return add_pending(cat, a, &root);
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
	if (add_last_batch(cat, a) == -1 || add_pending(cat, a, &root) == -1) {
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
		if (log_load(cat, sequence, cat, &a->pending,
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
	struct attached *a = find(cat, member);
	bool is_enough = false;

	if (a != NULL) {
		detach(cat, a);
	}
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

bool mrmr_catalog_part_is_behind(struct mrmr_catalog *cat, uint16_t member)
{
	const struct attached *a = find(cat, member);

	return a == NULL || a->is_behind;
}

int mrmr_catalog_forget_part(struct mrmr_catalog *cat, uint16_t member)
{
	struct key key = key_of_number(RECORD_PART, member);

	if (change_begin(cat) == -1) {
		return -1;
	}
	if (find(cat, member) != NULL) {
		detach(cat, find(cat, member));
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
	return member != own_member && num_before < cat->copies;
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

static int save_part(struct mrmr_catalog *cat, struct attached *a)
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
	talloc_free(p.data);
	if (ret == -1 || head_save(part) == -1 ||
	    mrmr_fault("catalog-part") != 0) {
		return -1;
	}
	return records_write(part);
}

static int write_part(struct mrmr_catalog *cat, struct attached *a)
{
	records_trim(a->part);
	if (gather(cat, a) == -1) {
		return -1;
	}
	if (a->num_pending == 0) {
		return 0;
	}
	if (mirror(cat, a, a->pending, a->num_pending) == -1 ||
	    save_part(cat, a) == -1) {
		return -1;
	}
	a->was_written = true;
	return 0;
}

static void give_up(struct mrmr_catalog *cat, struct attached *a)
{
	mrmr_log(MRMR_LOG_WARNING,
		 "the catalogue's part on member %u cannot be written: %s; it "
		 "is done without until the member is attached again",
		 a->member, strerror(errno));
	reload(a->part);
	detach(cat, a);
}

/* Remember how far a part is. *behind: there is one that needs the log. */
static int remember_part(struct mrmr_catalog *cat, uint16_t member,
			 bool *behind)
{
	const struct attached *a = find(cat, member);
	struct known known = {0};
	bool is_known = known_get(cat, member, &known) == 0;

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
		return a->was_written ? known_put(cat, member, &known) : 0;
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
	return known_put(cat, member, &known);
}

int parts_write(struct mrmr_catalog *cat)
{
	bool behind = false;
	uint16_t member;
	size_t i = 0;

	cat->num_touched = touched_unique(cat->touched, cat->num_touched);
	while (i < cat->num_attached) {
		struct attached *a = &cat->attached[i];

		a->was_written = false;
		if (!a->is_behind && write_part(cat, a) == -1) {
			give_up(cat, a);
		} else {
			i++;
		}
	}
	if (mrmr_fault("catalog-parts-written") != 0) {
		return -1;
	}
	for (member = 0; member < cat->head.num_members; member++) {
		if (remember_part(cat, member, &behind) == -1) {
			return -1;
		}
	}
	return log_write(cat, behind);
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

/* --- making a part anew ------------------------------------------------------------------- */

struct making {
	struct mrmr_catalog *cat;
	struct attached *a;
	struct touched list[FRESH_NODES];
	size_t num;
};

/* Tell the part of what is in the list. */
static int tell(struct making *m)
{
	struct mrmr_catalog *part = m->a->part;

	m->num = touched_unique(m->list, m->num);
	if (mirror(m->cat, m->a, m->list, m->num) == -1) {
		return -1;
	}
	m->num = 0;
	records_trim(m->cat);
	if (part->dirty_bytes < FRESH_DIRTY_BYTES) {
		return 0;
	}
	if (head_save(part) == -1 || mrmr_fault("catalog-refresh") != 0 ||
	    records_write(part) == -1) {
		return -1;
	}
	records_trim(part);
	return 0;
}

static bool stripe_is_on(const struct mrmr_stripe *stripe, uint16_t member)
{
	uint16_t members[STRIPE_MEMBERS_MAX];
	size_t num = stripe_members(stripe, members);
	size_t i;

	for (i = 0; i < num; i++) {
		if (members[i] == member) {
			return true;
		}
	}
	return false;
}

static int tell_stripes(struct making *m)
{
	struct mrmr_stripe *stripe = NULL;
	uint64_t after = 0;

	while (mrmr_catalog_next_stripe(m->cat, NULL, after, &stripe) == 0) {
		bool is_on = stripe_is_on(stripe, m->a->member);

		after = stripe->id;
		talloc_free(stripe);
		if (!is_on) {
			continue;
		}
		m->list[m->num++] =
			(struct touched){.kind = TOUCHED_STRIPE, .id = after};
		if (m->num == FRESH_STRIPES && tell(m) == -1) {
			return -1;
		}
	}
	return errno == ENOENT ? tell(m) : -1;
}

static int tell_nodes(struct making *m)
{
	uint64_t id = 0;

	while (ids_next(m->cat, id, &id) == 0) {
		m->list[m->num++] =
			(struct touched){.kind = TOUCHED_NODE, .id = id};
		if (m->num == FRESH_NODES && tell(m) == -1) {
			return -1;
		}
	}
	return errno == ENOENT ? tell(m) : -1;
}

static int fill(struct mrmr_catalog *cat, struct attached *a)
{
	struct making *m = talloc_zero(NULL, struct making);
	int ret;

	if (m == NULL) {
		errno = ENOMEM;
		return -1;
	}
	m->cat = cat;
	m->a = a;
	ret = tell_stripes(m);
	if (ret == 0) {
		ret = tell_nodes(m);
	}
	if (ret == 0) {
		ret = save_part(cat, a);
	}
	talloc_free(m);
	return ret;
}

static int make_anew(struct mrmr_catalog *cat, struct attached *a,
		     struct mrmr_error *err)
{
	struct mrmr_catalog *old = a->part;
	struct mrmr_catalog *fresh = NULL;
	int ret;

	if (store_unlink(old->store, FRESH_NAME) == -1) {
		return mrmr_error_set(err, errno,
				      FRESH_NAME " cannot be removed: %s",
				      strerror(errno));
	}
	fresh = part_open_as(NULL, store_dir_fd(old->store), &cat->head.pool_id,
			     FRESH_NAME, err);
	if (fresh == NULL) {
		return -1;
	}
	a->part = fresh;
	a->is_behind = false; /* its share counts */
	ret = fill(cat, a);
	a->part = old;
	a->is_behind = true;
	if (ret == 0) {
		struct store *store = talloc_steal(NULL, fresh->store);

		fresh->store = NULL;
		ret = store_replace(old->store, store);
	}
	if (ret == -1) {
		int error = errno;

		talloc_free(fresh);
		store_unlink(old->store, FRESH_NAME);
		return mrmr_error_set(err, error,
				      "the catalogue's part on the member "
				      "cannot be written: %s",
				      strerror(error));
	}
	talloc_free(fresh);
	return reload(old);
}

int mrmr_catalog_refresh_part(struct mrmr_catalog *cat, uint16_t member,
			      struct mrmr_error *err)
{
	struct touched root = {.kind = TOUCHED_NODE, .id = MRMR_ID_ROOT};
	struct attached *a = find(cat, member);

	if (a == NULL) {
		return mrmr_error_set(err, ENOENT,
				      "the member's part is not attached");
	}
	if (cat->is_in_transaction) {
		return mrmr_error_set(err, EINVAL,
				      "a part cannot be made anew within a "
				      "transaction");
	}
	if (a->is_behind) {
		if (make_anew(cat, a, err) == -1) {
			return -1;
		}
		a->is_behind = false;
		/* so that the catalogue gets to know that it is complete */
		if (add_pending(cat, a, &root) == -1) {
			return mrmr_error_set(err, ENOMEM, "out of memory");
		}
	}
	if (mrmr_catalog_begin(cat) == -1) {
		return mrmr_error_set(err, errno, "cannot begin: %s",
				      strerror(errno));
	}
	return mrmr_catalog_commit(cat, err);
}
