/*
 * Unit tests: whatever happens in the share, in whatever order, and wherever the
 * protector is killed: when it has come to its end, the catalogue has the names
 * that the share has, and every file can be computed without its member, as it
 * is.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/protection.h>

#include "drawn_work.h"
#include "known.h"
#include "protecting.h"
#include "seeds.h"

#define K 1024
#define BLOCK (64 * K)

/* --- and again ---------------------------------------------------------------------- */

static void maybe_killed(struct world *w)
{
#ifdef MRMR_WITH_FAULTS
	static const char *const points[] = {
		"protect-events",      "protect-declared",  "protect-applied",
		"protect-synced",      "protect-committed", "stripes-job",
		"protect-before-drop", "blob-rename",       "catalog-commit",
		"catalog-part",        "undo-drop",         "queue-taken",
		"trash-left",          "trash-unlink",
	};
	char fault[64];

	snprintf(fault, sizeof(fault), "%s#%u=kill", points[draw(14)],
		 1 + draw(4));
	if (draw(3) == 0) {
		protect_killed(w, fault);
		verify_decodable(w);
		return;
	}
#endif
	protect(w);
}

static void live(void)
{
	const struct world_shape shape = {
		.num_members = 4,
		.parity = "1",
		.config = ", \"block_size\": \"64K\", \"trash_max_percent\": 1",
	};
	const struct mrmr_event scan = {
		.kind = MRMR_EVENT_SCAN,
		.path = "",
		.to = "",
	};
	struct world *w = world_new(&shape);
	unsigned int turns = 4 + draw(8);
	unsigned int i;

	protect_batch_bytes = draw(2) == 0 ? 0 : 3 * BLOCK;
	protect_window_files = draw(2) == 0 ? 0 : 1 + draw(8);
	if (draw(2) == 0) {
		protect(w); /* the first scan is over */
	}
	while (turns-- > 0) {
		unsigned int n = 1 + draw(40);

		for (i = 0; i < n; i++) {
			do_something(w);
		}
		if (draw(8) == 0) {
			mrmr_queue_add(w->pool->queue, &scan);
		}
		maybe_killed(w);
	}
	protect(w);
	verify_known(w);
	verify_decodable(w);
	verify_tidy(w);
	assert_int_equal(pending_of(w), 0);
	assert_int_equal(sums_of(w).file_bytes, sums_of(w).protected_bytes);
	world_free(w);
}

static void whatever_happens(void **state)
{
	(void)state;
	for_each_seed(live);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_happens),
	};

	return WORLD_MAIN("protector_random", tests);
}
