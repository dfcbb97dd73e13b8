/*
 * MRMR: how much is protected, and how well (see mrmr/survey.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include "survey_private.h"

bool survey_is_there(const struct surveying *s, uint16_t member)
{
	return s->is_there(member, s->private_data);
}

static void judge(struct surveying *s, const struct mrmr_stripe *stripe)
{
	uint64_t there_bytes = 0;
	uint64_t away_bytes = 0;
	uint32_t slots_away = 0;
	uint32_t rows_there = 0;
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		const struct mrmr_slot *slot = &stripe->slots[i];

		if (survey_is_there(s, slot->member) &&
		    !survey_is_gap(s, stripe->id, slot->slot)) {
			there_bytes += slot->len_bytes;
		} else {
			away_bytes += slot->len_bytes;
			slots_away++;
		}
	}
	for (i = 0; i < stripe->num_rows; i++) {
		rows_there += survey_is_there(s, stripe->rows[i].member);
	}
	if (slots_away > rows_there) {
		s->survey->lost_bytes += away_bytes;
		s->survey->at_risk_bytes += there_bytes;
	} else if (slots_away == rows_there) {
		s->survey->at_risk_bytes += there_bytes + away_bytes;
	} else {
		s->survey->degraded_bytes += there_bytes + away_bytes;
	}
}

static int judge_class(struct surveying *s, void *frame,
		       const struct mrmr_stripe_class *class)
{
	uint32_t most = (uint32_t) class->num_stripes;
	uint64_t *ids = talloc_array(frame, uint64_t, most + 1);
	uint32_t num = 0;
	uint32_t i;

	if (ids == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (mrmr_catalog_class_stripes(s->catalog, class->number, ids, most,
				       &num) == -1) {
		return -1;
	}
	for (i = 0; i < num; i++) {
		struct mrmr_stripe *stripe = NULL;

		if (mrmr_catalog_get_stripe(s->catalog, ids, ids[i], &stripe) ==
		    -1) {
			/* the protector may just have changed it */
			if (errno != ENOENT) {
				return -1;
			}
			continue;
		}
		judge(s, stripe);
		talloc_free(stripe);
	}
	talloc_free(ids);
	return 0;
}

static int judge_stripes(struct surveying *s)
{
	void *frame = talloc_new(NULL);
	struct mrmr_stripe_class *classes = NULL;
	size_t num = 0;
	size_t i;
	int ret;

	ret = mrmr_catalog_classes(s->catalog, frame, &classes, &num);
	for (i = 0; ret == 0 && i < num; i++) {
		bool all_there = true;
		uint16_t n;

		for (n = 0; n < classes[i].num_members; n++) {
			all_there = all_there &&
				    survey_is_there(s, classes[i].members[n]);
		}
		if (!all_there) {
			ret = judge_class(s, frame, &classes[i]);
		}
	}
	talloc_free(frame);
	return ret;
}

/* Those with gaps that judge_stripes() has not looked at. */
static int judge_gaps(struct surveying *s)
{
	size_t i;

	for (i = 0; i < s->num_gaps; i++) {
		struct mrmr_stripe *stripe = NULL;
		bool all_there = true;
		uint32_t n;

		if (i > 0 && s->gaps[i].stripe == s->gaps[i - 1].stripe) {
			continue;
		}
		if (mrmr_catalog_get_stripe(s->catalog, NULL, s->gaps[i].stripe,
					    &stripe) == -1) {
			if (errno != ENOENT) {
				return -1;
			}
			continue;
		}
		for (n = 0; n < stripe->num_slots; n++) {
			all_there = all_there &&
				    survey_is_there(s, stripe->slots[n].member);
		}
		for (n = 0; n < stripe->num_rows; n++) {
			all_there = all_there &&
				    survey_is_there(s, stripe->rows[n].member);
		}
		if (all_there) {
			judge(s, stripe);
		}
		talloc_free(stripe);
	}
	return 0;
}

/* Rows of members that are away count: they may return. */
static int judge_rows(struct surveying *s, unsigned int rows)
{
	struct mrmr_stripe *stripe = NULL;
	uint64_t id = 0;
	uint32_t i;

	if (!mrmr_protector_may_be_short(s->catalog)) {
		return 0;
	}
	while (mrmr_catalog_next_stripe(s->catalog, NULL, id, &stripe) == 0) {
		id = stripe->id;
		if (stripe->num_rows < rows) {
			s->survey->short_stripes++;
			for (i = 0; i < stripe->num_slots; i++) {
				s->survey->short_bytes +=
					stripe->slots[i].len_bytes;
			}
		}
		TALLOC_FREE(stripe);
	}
	return errno == ENOENT ? 0 : -1;
}

static int judge_all(struct surveying *s, unsigned int rows)
{
	void *frame = talloc_new(NULL);
	int saved_errno;
	int ret = 0;

	if (frame == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (s->is_kept != NULL) {
		ret = survey_find_gaps(s, frame);
	}
	if (ret == 0) {
		ret = judge_rows(s, rows);
	}
	if (ret == 0) {
		ret = judge_stripes(s);
	}
	if (ret == 0) {
		ret = judge_gaps(s);
	}
	saved_errno = errno;
	talloc_free(frame);
	errno = saved_errno;
	return ret;
}

int mrmr_survey(struct mrmr_catalog *catalog, unsigned int rows,
		mrmr_survey_is_there *is_there, mrmr_survey_is_kept *is_kept,
		void *private_data, struct mrmr_survey *survey)
{
	struct surveying s = {
		.catalog = catalog,
		.is_there = is_there,
		.is_kept = is_kept,
		.private_data = private_data,
		.survey = survey,
	};
	struct mrmr_catalog_sums sums;

	*survey = (struct mrmr_survey){0};
	if (mrmr_catalog_sums(catalog, MRMR_MEMBER_NONE, &sums) == -1 ||
	    mrmr_protector_pending(catalog, &survey->pending_files,
				   &survey->pending_bytes,
				   &survey->needs_scan) == -1 ||
	    mrmr_protector_hindered(catalog, &survey->hindered) == -1) {
		return -1;
	}
	survey->num_files = sums.num_files;
	survey->file_bytes = sums.file_bytes;
	survey->protected_bytes = sums.protected_bytes;
	survey->unprotected_bytes =
		sums.file_bytes > sums.protected_bytes
			? sums.file_bytes - sums.protected_bytes
			: 0;
	survey->trash_bytes = sums.trash_bytes;
	survey->parity_bytes = sums.parity_bytes;
	survey->num_stripes = sums.num_stripes;
	return judge_all(&s, rows);
}
