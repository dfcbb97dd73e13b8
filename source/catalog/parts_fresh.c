/*
 * MRMR: the catalogue: making a part anew.
 *
 * Beside the old one, in commits of bounded size; then it takes its place. The
 * theory is in parts.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/fault.h>

#include "parts_private.h"

#define FRESH_NAME MRMR_CATALOG_PART ".new"
#define FRESH_STRIPES 64
#define FRESH_NODES 1024

size_t parts_fresh_bytes = (size_t)8 << 20;

#ifdef MRMR_WITH_FAULTS
/* In a trial, whose pool is small, it takes several commits, too. */
__attribute__((constructor)) static void take_limit(void)
{
	const char *text = getenv("MRMR_FAULT_PART_BYTES");

	if (text != NULL) {
		parts_fresh_bytes = strtoull(text, NULL, 10);
	}
}
#endif

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
	if (mirror(m->cat, m->a, m->list, m->num, NULL) == -1) {
		return -1;
	}
	m->num = 0;
	records_trim(m->cat);
	if (part->dirty_bytes < parts_fresh_bytes) {
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
		/* of what is there by now, all by the same catalogue */
		m->list[m->num++] = (struct touched){.kind = TOUCHED_NODE,
						     .keeps_names = true,
						     .id = id};
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
		ret = part_save(cat, a);
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

	/* it may be the part that has what is lost there */
	if (catalog_check_once(cat) == -1) {
		return mrmr_error_set(err, errno,
				      "%s, from which it is made, is not "
				      "sound: %s",
				      store_name(cat->store), strerror(errno));
	}
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

/* It is not attached, or not any more. */
static int fail_part(const struct mrmr_catalog *cat, uint16_t member,
		     struct mrmr_error *err)
{
	int error = part_error(cat, member);

	if (error == 0) {
		mrmr_error_set(err, ENOENT,
			       "the member's part is not attached");
	} else {
		mrmr_error_set(err, error,
			       "the catalogue's part on the member cannot be "
			       "written: %s",
			       strerror(error));
	}
	return 1;
}

int mrmr_catalog_refresh_part(struct mrmr_catalog *cat, uint16_t member,
			      struct mrmr_error *err)
{
	struct touched root = {.kind = TOUCHED_NODE, .id = MRMR_ID_ROOT};
	struct attached *a = part_find(cat, member);

	if (a == NULL) {
		return fail_part(cat, member, err);
	}
	if (cat->is_in_transaction) {
		return mrmr_error_set(err, EINVAL,
				      "a part cannot be made anew within a "
				      "transaction");
	}
	if (a->is_behind) {
		if (make_anew(cat, a, err) == -1) {
			return 1;
		}
		a->is_behind = false;
		/* so that the catalogue gets to know that it is complete */
		if (part_add_pending(cat, a, &root) == -1) {
			return mrmr_error_set(err, ENOMEM, "out of memory");
		}
	}
	if (mrmr_catalog_begin(cat) == -1) {
		return mrmr_error_set(err, errno, "cannot begin: %s",
				      strerror(errno));
	}
	if (mrmr_catalog_commit(cat, err) == -1) {
		return -1;
	}
	return part_find(cat, member) == NULL ? fail_part(cat, member, err) : 0;
}
