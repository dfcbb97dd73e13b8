/*
 * MRMR: how much is protected, and how well: what its files share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef SURVEY_PRIVATE_H
#define SURVEY_PRIVATE_H

#include <mrmr/survey.h>

/* Slots of which something is gone, though their members are there. */
struct survey_gap {
	uint64_t stripe;
	uint8_t slot;
};

struct surveying {
	struct mrmr_catalog *catalog;
	mrmr_survey_is_there *is_there;
	mrmr_survey_is_kept *is_kept;
	void *private_data;
	struct mrmr_survey *survey;
	struct survey_gap *gaps; /* talloc; ascending, each once */
	size_t num_gaps;
};

bool survey_is_there(const struct surveying *s, uint16_t member);

/* What was taken out of the trash by hand (survey_trash.c): into s->gaps, a talloc
   child of mem_ctx. -1 with errno. */
int survey_find_gaps(struct surveying *s, void *mem_ctx);
bool survey_is_gap(const struct surveying *s, uint64_t stripe, uint8_t slot);

#endif
