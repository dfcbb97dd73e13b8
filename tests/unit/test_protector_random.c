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

#include "drawn.h"
#include "known.h"
#include "protecting.h"
#include "seeds.h"

#define K 1024
#define BLOCK (64 * K)

/* --- what clients do ---------------------------------------------------------- */

static void write_something(struct world *w)
{
	const char *path = any_path();

	if (!has_place(w, path) ||
	    (kind_of(w, path) != 0 && kind_of(w, path) != S_IFREG)) {
		return;
	}
	client_write(w, path, draw(1000),
		     draw(4) == 0 ? draw(3 * BLOCK) : draw(3000));
}

static void overwrite_something(struct world *w)
{
	const char *path = any_path();

	if (kind_of(w, path) == S_IFREG) {
		client_overwrite(w, path, draw(1000), 1 + draw(BLOCK),
				 draw(2 * BLOCK));
	}
}

/* Most of these fail, as what they need is not there, or is in the way. */
static void do_something(struct world *w)
{
	switch (draw(12)) {
	case 0:
	case 1:
	case 2:
		write_something(w);
		break;
	case 3:
		overwrite_something(w);
		break;
	case 4:
	case 5:
		do_rename(w, any_path(), any_path());
		break;
	case 6:
		do_rename(w, any_dir(), any_dir());
		break;
	case 7:
		do_unlink(w, any_path());
		break;
	case 8:
		do_mkdir(w, any_dir(), 0755);
		break;
	case 9:
		do_rmdir(w, any_dir());
		break;
	case 10:
		do_link(w, any_path(), any_path());
		break;
	default:
		if (draw(4) == 0) {
			do_symlink(w, "somewhere", any_path());
		}
		break;
	}
}

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
