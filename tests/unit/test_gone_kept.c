/*
 * Unit tests: of a file that was made anew while its member is away, the older
 * version is in the trash of that member, which is emptied at once. What must be
 * true at each instant (invariant 2): as long as nothing of the newer one is
 * protected, the older one stays there. So whatever fails, and wherever the protector
 * is killed, who loses the member of the newer one gets one of the two back; and the
 * next run finishes what was begun.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>

#include "anew.h"

#define LEN ANEW_LEN

static const struct world_shape shape = {
	.num_members = 5,
	.parity = "2",
	.config = ",\"trash_days\": 0",
};

/* --- the steps ------------------------------------------------------------------- */

/* The older version is in the trash of member 0, and the protector knows. */
static struct world *older_in_trash(size_t *second)
{
	struct world *w = anew_of(&shape, second);

	anew_come_back(w, 0);
	world_later(w);
	protect(w);
	assert_int_equal(world_trashed(w, 0, "old"), 1);
	return w;
}

/* A client has written the newer one: that is noted. */
static struct world *is_noted(size_t *newer)
{
	struct world *w = anew_write(&shape, newer);

	world_unplug(w, *newer);
	world_later(w);
	return w;
}

/* Member 0 is back: the older one is in its trash, and is left there. */
static struct world *is_left(size_t *newer)
{
	struct world *w = anew_of(&shape, newer);

	world_plug(w, 0);
	world_later(w);
	return w;
}

/* The older one is in the share again, and is protected there: the one in the trash
   goes. */
static struct world *comes_back(size_t *newer)
{
	size_t second;
	struct world *w = older_in_trash(&second);

	anew_rebuild_older(w, second);
	*newer = do_where(w, "d/old");
	assert_int_not_equal(*newer, SIZE_MAX);
	world_later(w);
	return w;
}

/* The newer one is back, and is protected: the one in the trash goes. */
static struct world *is_protected(size_t *newer)
{
	struct world *w = older_in_trash(newer);

	world_plug(w, *newer);
	world_later(w);
	assert_int_equal(do_where(w, "d/old"), *newer);
	return w;
}

struct step {
	const char *name;
	struct world *(*make)(size_t *newer);
	bool is_away; /* the member of the newer one */
	unsigned int seed;
	size_t len; /* of what d/old is at the end */
};

static const struct step steps[] = {
	{"noted", is_noted, true, 1, LEN},
	{"left", is_left, true, 1, LEN},
	{"comes back", comes_back, false, 1, LEN},
	{"protected", is_protected, false, 5, LEN + 5},
};

#define NUM_STEPS (sizeof(steps) / sizeof(steps[0]))

/* --- what is true after it ---------------------------------------------------------- */

/* Nothing is left to be done, nor is the older one. */
static void finish(struct world *w)
{
	world_later(w);
	protect(w);
	world_later(w);
	/* a parity block that could not be removed is left to a scan */
	protect_and_scan(w);
	assert_int_equal(world_trashed(w, 0, "old"), 0);
	assert_int_equal(pending_of(w), 0);
	verify_decodable(w);
	verify_tidy(w);
}

/* The next runs finish. */
static void check_goes_on(struct world *w, const struct step *step,
			  size_t newer)
{
	protect(w);
	if (step->is_away) {
		anew_come_back(w, 0);
		world_later(w);
		protect(w);
		assert_int_equal(world_trashed(w, 0, "old"), 1);
		anew_rebuild_older(w, newer);
	}
	finish(w);
	verify(w, "d/old", step->seed, step->len, 2);
}

static void test_undisturbed(void **state)
{
	size_t i;

	for (i = 0; i < NUM_STEPS; i++) {
		size_t newer;
		struct world *w = steps[i].make(&newer);

		protect(w);
		check_goes_on(w, &steps[i], newer);
		world_free(w);
	}
}

/* --- killed, and failing -------------------------------------------------------------- */

#ifdef MRMR_WITH_FAULTS

static bool is_in_share(struct world *w, unsigned int seed, size_t len)
{
	uint8_t *bytes = seeded(seed, len);
	uint8_t *got = malloc(len + 1);
	int fd = do_open(w, "d/old", O_RDONLY);
	bool same;

	assert_non_null(got);
	assert_return_code(fd, errno);
	same = pread(fd, got, len + 1, 0) == (ssize_t)len &&
	       memcmp(got, bytes, len) == 0;
	close(fd);
	free(got);
	free(bytes);
	return same;
}

/* The member of the newer one is lost there and then instead. */
static void check_loss(struct world *w, const struct step *step, size_t newer)
{
	struct anew_outcome outcome;

	if (!step->is_away) {
		world_unplug(w, newer);
		world_later(w);
	}
	protect(w);
	assert_int_equal(anew_rebuild(w, newer, false, &outcome), 0);
	assert_int_equal(outcome.lost + outcome.taken + outcome.failed, 0);
	assert_true(outcome.result.is_complete);
	if (!is_in_share(w, 1, LEN)) {
		assert_int_equal(step->seed, 5);
		assert_true(is_in_share(w, 5, LEN + 5));
	}
	if (world_there(world_member(w, 0, ".mrmr"))) {
		protect(w);
	} else {
		anew_come_back(w, 0);
	}
	finish(w);
}

static const char *const points[] = {
	"queue-take",
	"queue-taken",
	"protect-events",
	"was-noted",
	"was-needed",
	"was-forgotten",
	"protect-declared",
	"protect-applied",
	"protect-synced",
	"protect-committed",
	"protect-before-drop",
	"stripes-job",
	"stripes-old",
	"stripes-write",
	"stripes-sync",
	"live-read",
	"blob-write",
	"blob-rename",
	"blob-remove",
	"trash-left",
	"trash-committed",
	"trash-unlink",
	"catalog-commit",
	"catalog-part",
	"catalog-parts-written",
	"catalog-store",
};

#define NUM_POINTS (sizeof(points) / sizeof(points[0]))

static void count_points(const struct step *step, unsigned long *times)
{
	size_t newer;
	struct world *w = step->make(&newer);
	size_t i;

	setenv("MRMR_FAULT", "none", 1);
	protect(w);
	for (i = 0; i < NUM_POINTS; i++) {
		times[i] = mrmr_fault_times(points[i]);
	}
	unsetenv("MRMR_FAULT");
	world_free(w);
}

static void disturb(const struct step *step, const char *fault, bool is_kill,
		    bool is_lost)
{
	size_t newer;
	struct world *w = step->make(&newer);

	print_message("%s: %s, %s\n", step->name, fault,
		      is_lost ? "and lost" : "and on");
	protect_disturbed(w, fault, is_kill);
	if (is_lost) {
		check_loss(w, step, newer);
	} else {
		check_goes_on(w, step, newer);
	}
	world_free(w);
}

/* What writes may find the drive full. */
static bool is_full(const char *point)
{
	return strncmp(point, "blob-", 5) == 0 ||
	       strncmp(point, "stripes-", 8) == 0 ||
	       strncmp(point, "catalog-", 8) == 0;
}

static void disturb_at(const struct step *step, const char *point,
		       unsigned long nth)
{
	static const char *const actions[] = {"kill", "EIO", "ENOSPC"};
	size_t num = is_full(point) ? 3 : 2;
	char fault[64];
	size_t i;

	for (i = 0; i < num; i++) {
		snprintf(fault, sizeof(fault), "%s#%lu=%s", point, nth,
			 actions[i]);
		disturb(step, fault, i == 0, i != 0 && !step->is_away);
		if (i == 0) {
			disturb(step, fault, true, true);
		}
	}
}

/* The first time, and the last time. */
static void test_disturbed(void **state)
{
	unsigned long times[NUM_STEPS][NUM_POINTS];
	size_t s, i;

	for (s = 0; s < NUM_STEPS; s++) {
		count_points(&steps[s], times[s]);
	}
	for (i = 0; i < NUM_POINTS; i++) {
		unsigned long any = 0;

		for (s = 0; s < NUM_STEPS; s++) {
			any += times[s][i];
			if (times[s][i] > 0) {
				disturb_at(&steps[s], points[i], 1);
			}
			if (times[s][i] > 1) {
				disturb_at(&steps[s], points[i], times[s][i]);
			}
		}
		if (any == 0) {
			fail_msg("%s is not reached", points[i]);
		}
	}
}

#endif

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_undisturbed),
#ifdef MRMR_WITH_FAULTS
	cmocka_unit_test(test_disturbed),
#endif
};

int main(void)
{
	return WORLD_MAIN("gone_kept", tests);
}
