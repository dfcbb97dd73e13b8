/*
 * MRMR: can every protected file be had: how much of a stripe is gone where (see
 * check.c).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>

#include <talloc.h>

#include "check_private.h"

static int compare_steps(const void *a, const void *b)
{
	const struct check_step *x = a;
	const struct check_step *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

int check_make_profile(struct check_stripe *s, enum check_view view)
{
	struct check_step *steps = NULL;
	size_t num = 0;
	uint32_t i;
	int gone = 0;

	s->num_steps[view] = 0;
	for (i = 0; i < s->num_pieces; i++) {
		num += s->pieces[i].gone[view];
	}
	if (num == 0) {
		return 0;
	}
	steps = talloc_array(s, struct check_step, 2 * num);
	if (steps == NULL) {
		errno = ENOMEM;
		return -1;
	}
	num = 0;
	for (i = 0; i < s->num_pieces; i++) {
		const struct check_piece *piece = &s->pieces[i];

		if (piece->gone[view]) {
			steps[num++] = (struct check_step){piece->begin, 1};
			steps[num++] = (struct check_step){piece->end, -1};
		}
	}
	qsort(steps, num, sizeof(*steps), compare_steps);
	for (i = 0; i < num; i++) {
		gone += steps[i].gone;
		steps[i].gone = gone;
	}
	s->steps[view] = steps;
	s->num_steps[view] = num;
	return 0;
}

int check_most_gone(const struct check_stripe *s, enum check_view view,
		    uint32_t begin, uint32_t end)
{
	const struct check_step *steps = s->steps[view];
	size_t num = s->num_steps[view];
	size_t low = 0;
	size_t high = num;
	size_t i;
	int most;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (steps[middle].at <= begin) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	most = low > 0 ? steps[low - 1].gone : 0;
	for (i = low; i < num && steps[i].at < end; i++) {
		/* only the last one at a position tells */
		if ((i + 1 == num || steps[i + 1].at != steps[i].at) &&
		    steps[i].gone > most) {
			most = steps[i].gone;
		}
	}
	return most;
}
