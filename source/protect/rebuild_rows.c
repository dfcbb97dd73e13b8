/*
 * MRMR: rebuilding: the parity blocks that were on the lost member.
 *
 * After its files, so that what these need is there to be read. A stripe at a
 * time, some of them to a commit.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/log.h>
#include <mrmr/stripes.h>

#include "rebuild_private.h"

#define BATCH_STRIPES 64

static const struct mrmr_row *lost_row(const struct rebuild *r,
				       const struct mrmr_stripe *stripe)
{
	uint32_t i;

	for (i = 0; i < stripe->num_rows; i++) {
		if (stripe->rows[i].member == r->number) {
			return &stripe->rows[i];
		}
	}
	return NULL;
}

/* The next stripes with a row on the lost member, above *after. */
static int take_stripes(struct rebuild *r, uint64_t *after, uint64_t *ids,
			uint64_t *lens, size_t *num)
{
	struct mrmr_stripe *stripe = NULL;

	*num = 0;
	while (*num < BATCH_STRIPES) {
		const struct mrmr_row *row = NULL;

		if (mrmr_catalog_next_stripe(r->engine->catalog, r, *after,
					     &stripe) == -1) {
			return errno == ENOENT ? 0 : -1;
		}
		*after = stripe->id;
		row = lost_row(r, stripe);
		if (row != NULL) {
			ids[*num] = stripe->id;
			lens[*num] = row->len_bytes;
			(*num)++;
		}
		TALLOC_FREE(stripe);
	}
	return 0;
}

static bool is_mended(struct rebuild *r, uint64_t id)
{
	struct mrmr_stripe *stripe = NULL;
	bool is_whole;

	if (mrmr_catalog_get_stripe(r->engine->catalog, r, id, &stripe) == -1) {
		return errno == ENOENT;
	}
	is_whole = lost_row(r, stripe) == NULL;
	talloc_free(stripe);
	return is_whole;
}

static int mend_all(struct rebuild *r, struct mrmr_stripes *work,
		    const uint64_t *ids, size_t num, struct mrmr_error *err)
{
	size_t i;

	for (i = 0; i < num; i++) {
		bool changed = false;

		if (mrmr_fault("rebuild-row") != 0) {
			return mrmr_error_set(err, errno, "%s",
					      strerror(errno));
		}
		if (mrmr_stripes_mend(work, ids[i], &changed, err) == -1) {
			return -1;
		}
	}
	return mrmr_stripes_sync(work, err);
}

static int mend(struct rebuild *r, const uint64_t *ids, size_t num,
		struct mrmr_error *err)
{
	struct mrmr_catalog *catalog = r->engine->catalog;
	struct mrmr_stripes *work = NULL;
	int saved_errno;
	int ret;

	if (mrmr_catalog_begin(catalog) == -1) {
		return mrmr_error_set(err, errno,
				      "the catalogue cannot be changed: %s",
				      strerror(errno));
	}
	work = mrmr_stripes_new(r, r->engine, NULL);
	ret = work != NULL ? mend_all(r, work, ids, num, err)
			   : mrmr_error_set(err, ENOMEM, "not enough memory");
	if (ret == 0) {
		ret = mrmr_catalog_commit(catalog, err);
	} else {
		saved_errno = errno;
		mrmr_catalog_cancel(catalog);
		errno = saved_errno;
	}
	saved_errno = errno;
	if (work != NULL && ret == 0) {
		mrmr_stripes_finish(work);
	} else if (work != NULL) {
		mrmr_stripes_abort(work);
	}
	talloc_free(work);
	errno = saved_errno;
	return ret;
}

static void count(struct rebuild *r, const uint64_t *ids, const uint64_t *lens,
		  size_t num)
{
	size_t i;

	for (i = 0; i < num; i++) {
		if (is_mended(r, ids[i])) {
			r->result->stripes++;
			r->result->parity_bytes += lens[i];
		} else {
			r->result->stripes_left++;
		}
		r->progress.done_bytes += lens[i];
	}
	if (r->options->progress != NULL) {
		r->options->progress(&r->progress, r->options->private_data);
	}
}

int rebuild_rows(struct rebuild *r, struct mrmr_error *err)
{
	struct mrmr_catalog_sums sums = {0};
	uint64_t ids[BATCH_STRIPES];
	uint64_t lens[BATCH_STRIPES];
	uint64_t after = 0;
	size_t num = BATCH_STRIPES;

	mrmr_catalog_sums(r->engine->catalog, r->number, &sums);
	r->progress.is_parity = true;
	r->progress.done_bytes = 0;
	r->progress.todo_bytes = sums.parity_bytes;
	while (num == BATCH_STRIPES && !rebuild_should_stop(r)) {
		if (take_stripes(r, &after, ids, lens, &num) == -1) {
			return mrmr_error_set(err, errno,
					      "the catalogue cannot be read: "
					      "%s",
					      strerror(errno));
		}
		if (num > 0 && mend(r, ids, num, err) == -1) {
			return -1;
		}
		count(r, ids, lens, num);
		mrmr_pool_look_at_space(r->pool);
	}
	return 0;
}
