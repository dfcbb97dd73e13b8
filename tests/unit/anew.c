/*
 * Unit tests: a file that was made anew while its member is away (see anew.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <talloc.h>

#include "anew.h"

struct world *anew_write(const struct world_shape *shape, size_t *second)
{
	struct world *w = world_new(shape);

	client_write_on(w, 0, "d/old", 1, ANEW_LEN);
	client_write_on(w, 1, "d/here", 2, ANEW_LEN);
	client_write_on(w, 2, "d/too", 3, ANEW_LEN);
	protect(w);
	world_unplug(w, 0);
	world_later(w);
	serve(w);
	*second = client_make_anew(w, "d", "old");
	client_write(w, "d/old", 5, ANEW_LEN + 5);
	stop_serving(w);
	return w;
}

struct world *anew_of(const struct world_shape *shape, size_t *second)
{
	struct world *w = anew_write(shape, second);

	world_unplug(w, *second);
	world_later(w);
	protect(w);
	return w;
}

static void count_trouble(enum mrmr_rebuild_trouble kind, const char *path,
			  uint64_t size_bytes, const char *why,
			  void *private_data)
{
	struct anew_outcome *outcome = private_data;

	outcome->older += kind == MRMR_REBUILD_OLDER;
	outcome->lost +=
		kind == MRMR_REBUILD_LOST || kind == MRMR_REBUILD_UNPROTECTED;
	outcome->taken += kind == MRMR_REBUILD_TAKEN;
	outcome->failed += kind == MRMR_REBUILD_FAILED;
}

int anew_rebuild(struct world *w, size_t lost, bool is_plan,
		 struct anew_outcome *outcome)
{
	const struct mrmr_rebuild_options options = {
		.lost = lost,
		.onto = MRMR_REBUILD_SPREAD,
		.trouble = count_trouble,
		.private_data = outcome,
	};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_error err = {0};
	int ret;

	*outcome = (struct anew_outcome){0};
	ret = is_plan ? mrmr_rebuild_plan(engine, &options, &outcome->result,
					  &err)
		      : mrmr_rebuild(engine, &options, &outcome->result, &err);
	talloc_free(engine);
	return ret;
}

void anew_rebuild_older(struct world *w, size_t lost)
{
	struct anew_outcome outcome;

	assert_int_equal(anew_rebuild(w, lost, true, &outcome), 0);
	assert_int_equal(outcome.older, 1);
	assert_int_equal(outcome.lost, 0);
	assert_int_equal(anew_rebuild(w, lost, false, &outcome), 0);
	assert_int_equal(outcome.older, 1);
	assert_int_equal(outcome.lost, 0);
	assert_true(outcome.result.is_complete);
}

void anew_come_back(struct world *w, size_t member)
{
	world_plug(w, member);
	world_later(w);
	protect(w);
}

void anew_check_older(struct world *w, size_t second)
{
	protect(w);
	assert_int_not_equal(do_where(w, "d/old"), SIZE_MAX);
	assert_int_not_equal(do_where(w, "d/old"), second);
	verify(w, "d/old", 1, ANEW_LEN, 1);
}

void anew_check_end(struct world *w, unsigned int lose)
{
	protect(w);
	verify(w, "d/old", 1, ANEW_LEN, lose);
	assert_int_equal(pending_of(w), 0);
	verify_decodable(w);
	world_free(w);
}
