/*
 * MRMR: stripes being made and changed: making one whole.
 *
 * What a row should be is computed from the pieces, each of which is compared
 * with its hash; what can't be read, from the rest of the stripe. A piece whose
 * bytes are gone from its member, but can be computed, stays: to bring them back
 * is not for here, and the parity is what can. A piece leaves only if it is
 * nowhere: neither on its member nor to be computed, with nothing of the stripe
 * on a member that is away and may return.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/blob.h>
#include <mrmr/log.h>

#include "stripes_private.h"

struct mend {
	struct mrmr_stripes *work;
	struct job *job;
	struct run run;
	bool has_bad_row; /* missing, wrong, or where it can't stay */
	bool has_away;    /* a member that may return */
	uint32_t num_nowhere;
	struct mrmr_error *err;
};

/* --- rows ------------------------------------------------------------------------------- */

static bool is_away(struct mrmr_stripes *work, uint16_t number)
{
	const struct stripes_member *member = stripes_member(work, number);

	return member != NULL && !member->is_online;
}

/* Two blocks on one unit: the stripe was made when the units were others. */
static bool is_on_taken_unit(struct mend *m, const struct mrmr_row *row)
{
	const struct mrmr_stripe *old = m->job->old;
	const struct stripes_member *member =
		stripes_member(m->work, row->member);
	struct unit_set taken = {{0}};
	uint32_t i;

	for (i = 0; i < old->num_slots; i++) {
		stripes_add_unit(m->work, old->slots[i].member, &taken);
	}
	for (i = 0; i < old->num_rows && old->rows[i].row < row->row; i++) {
		stripes_add_unit(m->work, old->rows[i].member, &taken);
	}
	return member != NULL && unit_has(&taken, member->unit);
}

static int look_at_rows(struct mend *m)
{
	const struct mrmr_stripe *old = m->job->old;
	uint32_t i;

	for (i = 0; i < old->num_rows; i++) {
		const struct mrmr_row *row = &old->rows[i];

		if (buffer_need(&m->run.piece, row->len_bytes) == -1) {
			return stripes_no_memory(m->err);
		}
		m->run.is_good[row->row] =
			read_row(m->work, row, m->run.piece.data) == 0;
		m->has_away = m->has_away || is_away(m->work, row->member);
		m->has_bad_row = m->has_bad_row || !m->run.is_good[row->row] ||
				 is_on_taken_unit(m, row);
	}
	return 0;
}

/* --- pieces -------------------------------------------------------------------------------- */

/* All that is nowhere becomes a gap; with is_trial it is counted only. */
static int look_at_pieces(struct mend *m, bool is_trial)
{
	struct layout *layout = &m->job->layout;
	uint32_t i;
	uint32_t j;

	m->num_nowhere = 0;
	for (i = 0; i < layout->num_slots; i++) {
		struct layout_slot *slot = &layout->slots[i];
		uint32_t offset = 0;

		m->has_away = m->has_away || is_away(m->work, slot->member);
		for (j = 0; j < slot->num_pieces; j++) {
			struct layout_piece *piece = &slot->pieces[j];
			uint32_t len = piece->len_bytes;
			enum found found = FOUND_LIVE;

			if (piece->file != MRMR_ID_NONE) {
				if (buffer_need(&m->run.piece, len) == -1) {
					return stripes_no_memory(m->err);
				}
				found = read_piece(m->work, m->job->old, slot,
						   piece, offset, true,
						   m->run.piece.data);
			}
			if (found == FOUND_NOWHERE) {
				m->num_nowhere++;
			}
			if (found == FOUND_NOWHERE && !is_trial) {
				if (bare_piece(m->work, m->job->old, slot,
					       piece, offset, m->err) == -1) {
					return -1;
				}
				layout_take_out(piece);
			}
			offset += len;
		}
	}
	return 0;
}

static void report_nowhere(struct mend *m)
{
	mrmr_log(MRMR_LOG_ERROR,
		 "stripe %llu: %u blocks of files are neither on their "
		 "members nor to be computed; they left it, and are not "
		 "protected",
		 (unsigned long long)m->job->old->id, m->num_nowhere);
}

/* --- mending ------------------------------------------------------------------------------- */

/* Rows for as many units as there are. */
static bool wants_more_rows(struct mend *m)
{
	const struct mrmr_stripe *old = m->job->old;
	struct unit_set taken = {{0}};
	uint32_t i;

	if (old->num_rows >= m->work->rows) {
		return false;
	}
	for (i = 0; i < old->num_slots; i++) {
		stripes_add_unit(m->work, old->slots[i].member, &taken);
	}
	for (i = 0; i < old->num_rows; i++) {
		stripes_add_unit(m->work, old->rows[i].member, &taken);
	}
	return stripes_count_takers(m->work, &taken,
				    layout_len(&m->job->layout)) > 0;
}

static int compute(struct mend *m)
{
	int ret = run_encode(&m->run, EFFORT_READ, m->err);

	if (ret == 0) {
		ret = run_encode(&m->run, EFFORT_COMPUTE, m->err);
	}
	return ret;
}

static int drop_what_is_nowhere(struct mend *m)
{
	int ret = look_at_pieces(m, false);

	if (ret == 0 && m->num_nowhere > 0) {
		m->job->is_needed = true;
		report_nowhere(m);
	}
	return ret;
}

/* 1: computed. 0: nothing is to be written. */
static int mend(struct mend *m)
{
	int ret;

	if (m->has_bad_row || wants_more_rows(m)) {
		ret = compute(m);
		if (ret != 0) {
			return ret;
		}
	}
	/* It may be that a piece is nowhere. */
	if (look_at_pieces(m, true) == -1) {
		return -1;
	}
	if (m->num_nowhere > 0 && !m->has_away) {
		ret = drop_what_is_nowhere(m);
		return ret == -1 ? -1 : compute(m);
	}
	if (m->num_nowhere > 0 && stripes_note_short(m->work) == -1) {
		return stripes_fail_catalog(m->err);
	}
	if (!m->has_bad_row) {
		return 0;
	}
	/* What is away may return: what is right until then stays. */
	ret = run_update(&m->run, EFFORT_LOSE, m->err);
	if (ret == 0 && m->has_away) {
		return 0;
	}
	return ret;
}

/* Rows too many, and nothing else that meets the eye: they are let go of
   without reading anything. */
static bool has_too_many_only(struct mend *m)
{
	const struct mrmr_stripe *old = m->job->old;
	unsigned int wanted = stripes_rows(m->work, old);
	uint32_t i;

	if (old->num_rows <= wanted || wanted == 0) {
		return false;
	}
	for (i = 0; i < wanted; i++) {
		const struct stripes_member *member =
			stripes_member(m->work, old->rows[i].member);
		struct stat st = {0};
		int fd;

		if (member == NULL || !member->is_online ||
		    is_on_taken_unit(m, &old->rows[i])) {
			return false;
		}
		fd = mrmr_blob_open(member->private_fd, old->rows[i].sha256);
		if (fd == -1) {
			return false;
		}
		if (fstat(fd, &st) == -1 ||
		    (uint64_t)st.st_size != old->rows[i].len_bytes) {
			close(fd);
			return false;
		}
		close(fd);
	}
	return true;
}

static int drop_rows(struct mrmr_stripes *work, const struct mrmr_stripe *old,
		     unsigned int num, struct mrmr_error *err)
{
	struct mrmr_stripe stripe = *old;
	uint32_t i;

	for (i = num; i < stripe.num_rows; i++) {
		if (stripes_note(&work->left, &stripe.rows[i]) == -1) {
			return stripes_no_memory(err);
		}
	}
	stripe.num_rows = num;
	if (mrmr_catalog_put_stripe(work->engine->catalog, &stripe, NULL) ==
	    -1) {
		return stripes_fail_catalog(err);
	}
	return 0;
}

static int mend_stripe(struct mend *m, bool *changed)
{
	int ret;

	if (has_too_many_only(m)) {
		*changed = true;
		return drop_rows(m->work, m->job->old,
				 stripes_rows(m->work, m->job->old), m->err);
	}
	if (stripes_rows(m->work, m->job->old) == 0) {
		/* no parity is wanted any more: the stripe comes to an end */
		m->job->is_needed = true;
		return run_record(&m->run, changed, m->err);
	}
	if (look_at_rows(m) == -1) {
		return -1;
	}
	ret = mend(m);
	if (ret != 1) {
		return ret;
	}
	if (run_write(&m->run) == -1) {
		return stripes_no_memory(m->err);
	}
	return run_record(&m->run, changed, m->err);
}

/* Is a block where it may be, and nothing else of the stripe on its unit? */
static bool is_well(struct mrmr_stripes *work, uint16_t number,
		    struct unit_set *taken)
{
	const struct stripes_member *member = stripes_member(work, number);

	if (member == NULL || !member->is_online ||
	    unit_has(taken, member->unit)) {
		return false;
	}
	unit_add(taken, member->unit);
	return true;
}

bool mrmr_stripes_lacks_only(struct mrmr_stripes *work,
			     const struct mrmr_stripe *stripe, uint8_t row)
{
	struct unit_set taken = {{0}};
	uint32_t i;

	if (stripe->num_rows != stripes_rows(work, stripe)) {
		return false;
	}
	for (i = 0; i < stripe->num_slots; i++) {
		if (!is_well(work, stripe->slots[i].member, &taken)) {
			return false;
		}
	}
	for (i = 0; i < stripe->num_rows; i++) {
		if (stripe->rows[i].row != row &&
		    !is_well(work, stripe->rows[i].member, &taken)) {
			return false;
		}
	}
	return true;
}

int mrmr_stripes_lend_rows(struct mrmr_stripes *work, uint64_t id,
			   unsigned int num, struct mrmr_error *err)
{
	struct mrmr_stripe *stripe = NULL;
	int ret;

	if (mrmr_catalog_get_stripe(work->engine->catalog, work, id, &stripe) ==
	    -1) {
		return stripes_fail_catalog(err);
	}
	ret = stripe->num_rows > num && num > 0
		      ? drop_rows(work, stripe, num, err)
		      : 0;
	talloc_free(stripe);
	if (ret == 0 && stripes_note_short(work) == -1) {
		return stripes_fail_catalog(err);
	}
	return ret;
}

int mrmr_stripes_mend(struct mrmr_stripes *work, uint64_t stripe, bool *changed,
		      struct mrmr_error *err)
{
	struct jobs jobs = {.mem_ctx = talloc_new(work)};
	struct mend m = {.work = work, .err = err};
	int saved_errno;
	int ret = 0;

	*changed = false;
	if (jobs.mem_ctx == NULL) {
		return stripes_no_memory(err);
	}
	m.job = jobs_get(work, &jobs, stripe);
	if (m.job != NULL) {
		m.run = (struct run){.work = work,
				     .job = m.job,
				     .is_mend = true};
		ret = mend_stripe(&m, changed);
		if (ret == 0 && *changed && open_slots_save(work) == -1) {
			ret = stripes_fail_catalog(err);
		}
	} else if (errno != ENOENT) {
		ret = stripes_fail_catalog(err);
	}
	saved_errno = errno;
	run_free(&m.run);
	talloc_free(jobs.mem_ctx);
	errno = saved_errno;
	return ret;
}
