/*
 * MRMR: scrubbing: which stripes, and in which order (see scrub_private.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>

#include <talloc.h>

#include "scrub_private.h"

static int compare_ages(const void *a, const void *b)
{
	const struct scrub_chosen *x = a;
	const struct scrub_chosen *y = b;

	if (x->day != y->day) {
		return x->day < y->day ? -1 : 1;
	}
	return x->id < y->id ? -1 : x->id > y->id;
}

static uint64_t stripe_bytes(const struct mrmr_stripe *stripe)
{
	uint64_t bytes = 0;
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		bytes += stripe->slots[i].len_bytes;
	}
	for (i = 0; i < stripe->num_rows; i++) {
		bytes += stripe->rows[i].len_bytes;
	}
	return bytes;
}

/* All there are. */
static int list_stripes(void *mem_ctx, struct mrmr_catalog *catalog,
			struct scrub_choice *choice, uint64_t *all_bytes)
{
	struct mrmr_stripe *stripe = NULL;
	size_t size = 0;
	uint64_t id = 0;

	*all_bytes = 0;
	while (mrmr_catalog_next_stripe(catalog, mem_ctx, id, &stripe) == 0) {
		struct scrub_chosen *one = NULL;

		if (choice->num == size) {
			size = size != 0 ? 2 * size : 1024;
			choice->list =
				talloc_realloc(mem_ctx, choice->list,
					       struct scrub_chosen, size);
			if (choice->list == NULL) {
				errno = ENOMEM;
				return -1;
			}
		}
		id = stripe->id;
		one = &choice->list[choice->num++];
		*one = (struct scrub_chosen){
			.id = id,
			.bytes = stripe_bytes(stripe),
		};
		*all_bytes += one->bytes;
		TALLOC_FREE(stripe);
		if (mrmr_catalog_scrubbed(catalog, id, &one->day) == -1 &&
		    errno != ENOENT) {
			return -1;
		}
	}
	return errno == ENOENT ? 0 : -1;
}

/* The oldest that are wanted, and not done by the scrub that goes on. */
static void pick(struct scrub_choice *choice, uint64_t all_bytes,
		 const struct mrmr_scrub_options *options, uint16_t today,
		 uint16_t begun_day)
{
	uint64_t wish = all_bytes;
	uint64_t done = 0;
	size_t num = 0;
	size_t i;

	if (options->percent > 0 && options->percent < 100) {
		wish = all_bytes / 100 * options->percent +
		       all_bytes % 100 * options->percent / 100;
	}
	for (i = 0; i < choice->num; i++) {
		struct scrub_chosen one = choice->list[i];

		if (choice->is_resumed && one.day >= begun_day) {
			done += one.bytes;
			continue;
		}
		if (options->older_days > 0 && one.day != 0 &&
		    one.day + options->older_days > today) {
			continue;
		}
		choice->list[num++] = one;
	}
	wish = wish > done ? wish - done : 0;
	for (i = 0; i < num && choice->todo_bytes < wish; i++) {
		choice->todo_bytes += choice->list[i].bytes;
	}
	choice->num = i;
}

int scrub_choose(void *mem_ctx, struct mrmr_catalog *catalog,
		 const struct mrmr_scrub_options *options, uint16_t today,
		 const struct mrmr_scrub_state *state,
		 struct scrub_choice *choice)
{
	uint64_t all_bytes = 0;
	size_t i;

	*choice = (struct scrub_choice){.can_resume = true};
	if (list_stripes(mem_ctx, catalog, choice, &all_bytes) == -1) {
		return -1;
	}
	if (choice->num > 0) {
		qsort(choice->list, choice->num, sizeof(*choice->list),
		      compare_ages);
	}
	choice->is_resumed =
		state->is_unfinished && state->is_deep == options->deep;
	for (i = 0; i < choice->num && !choice->is_resumed; i++) {
		choice->can_resume =
			choice->can_resume && choice->list[i].day < today;
	}
	pick(choice, all_bytes, options, today, state->begun_day);
	return 0;
}
