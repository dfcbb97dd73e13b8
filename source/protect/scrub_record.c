/*
 * MRMR: scrubbing: what a turn of reading has found is judged, and noted.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <time.h>

#include <mrmr/fault.h>

#include "scrub_note.h"
#include "scrub_private.h"

static int judge_suspects(struct scrub *s)
{
	struct scrub_judge judge = {
		.engine = s->engine,
		.options = s->options,
		.result = s->result,
	};
	size_t i;

	for (i = 0; i < s->num_suspects; i++) {
		bool is_right = false;

		/* those that are left out keep their day */
		if (i > 0 && scrub_should_stop(s)) {
			s->result->is_complete = false;
			break;
		}

		if (scrub_judge_stripe(&judge, s->suspects[i], &is_right) ==
		    -1) {
			return scrub_fail_catalog(s);
		}
		if (is_right &&
		    scrub_remember(s, &s->clean, &s->num_clean, &s->size_clean,
				   s->suspects[i]) == -1) {
			return scrub_fail_memory(s);
		}
	}
	s->num_suspects = 0;
	return 0;
}

static int judge_zeros(struct scrub *s)
{
	struct scrub_judge judge = {
		.engine = s->engine,
		.options = s->options,
		.result = s->result,
	};
	size_t i;

	for (i = 0; i < s->num_zeros_bad; i++) {
		/* the next one begins with the file of those that are left out */
		if (i > 0 && scrub_should_stop(s)) {
			s->result->is_complete = false;
			s->zeros.at = s->zeros_bad[i].file - 1;
			break;
		}
		if (scrub_judge_zero(&judge, s->zeros_bad[i].file,
				     s->zeros_bad[i].index) == -1) {
			return scrub_fail_catalog(s);
		}
	}
	s->num_zeros_bad = 0;
	return 0;
}

static void count_up(uint32_t *count, uint64_t by)
{
	*count = by < UINT32_MAX - *count ? *count + (uint32_t)by : UINT32_MAX;
}

static int put_records(struct scrub *s, const struct mrmr_scrub_result *before)
{
	const struct mrmr_scrub_result *now = s->result;
	uint64_t wrong = now->wrong_blocks - before->wrong_blocks;
	uint64_t repaired = now->repaired_blocks - before->repaired_blocks;
	size_t i;

	for (i = 0; i < s->num_clean; i++) {
		if (mrmr_catalog_set_scrubbed(s->engine->catalog, s->clean[i],
					      s->today) == -1 &&
		    errno != ENOENT) {
			return -1;
		}
	}
	s->state.time_s = (int64_t)time(NULL);
	s->state.is_unfinished = !now->is_complete && s->choice.can_resume;
	count_up(&s->state.wrong_blocks, wrong);
	count_up(&s->state.left_blocks, wrong - repaired);
	count_up(&s->state.ever_wrong_blocks, wrong);
	count_up(&s->state.ever_repaired_blocks, repaired);
	return scrub_zeros_note(&s->zeros, s->engine->catalog) == -1
		       ? -1
		       : scrub_note_put(s->engine->catalog, &s->state);
}

int scrub_record(struct scrub *s)
{
	struct mrmr_scrub_result before = *s->result;
	const struct mrmr_scrub_state state = s->state;

	if (judge_suspects(s) == -1 || judge_zeros(s) == -1) {
		return -1;
	}
	if (mrmr_fault("scrub-record") != 0 ||
	    mrmr_catalog_begin(s->engine->catalog) == -1) {
		return scrub_fail_catalog(s);
	}
	if (put_records(s, &before) == -1) {
		scrub_fail_catalog(s);
		mrmr_catalog_cancel(s->engine->catalog);
		s->state = state;
		return -1;
	}
	if (mrmr_catalog_commit(s->engine->catalog, s->err) == -1) {
		return -1;
	}
	s->num_clean = 0;
	return 0;
}
