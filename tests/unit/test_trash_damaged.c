/*
 * Unit tests: a catalogue of which bits have turned, or which is lost, does not tell
 * any more which files in the trash others' parity needs. Those stay.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>

#include <cmocka.h>
#include <talloc.h>

#include "hidden.h"
#include "killed.h"
#include "recovering.h"
#include "two_each.h"

/* f0 to f3 are in the trash, their stripes have others of f4 to f7. */
static struct world *with_trash(void)
{
	struct world *w = two_each_new("1", "");
	unsigned int i;

	two_each_make(w);
	protect(w);
	for (i = 0; i < 4; i++) {
		char path[8];

		snprintf(path, sizeof(path), "f%u", i);
		assert_int_equal(do_unlink(w, path), 0);
	}
	protect(w);
	world_close(w);
	return w;
}

/* As far as it comes. */
static void empty_trash(struct world *w, void *private_data)
{
	const struct mrmr_protect_options options = {0};
	struct mrmr_protect_result result;
	struct mrmr_engine *engine = NULL;

	(void)private_data;
	world_configure(w, "1", ", \"trash_days\": 0");
	engine = mrmr_engine_open(NULL, w->pool, MRMR_ENGINE_WRITE, NULL);
	if (engine != NULL) {
		mrmr_protect(engine, &options, &result, NULL);
	}
}

static void purge(struct world *w, void *private_data)
{
	const struct mrmr_purge_options options = {.progress = NULL};
	struct mrmr_purge_result result;
	struct mrmr_engine *engine = NULL;
	struct mrmr_trashed *items = NULL;
	size_t num = 0;

	(void)private_data;
	engine = mrmr_engine_open(NULL, w->pool, MRMR_ENGINE_WRITE, NULL);
	if (engine != NULL &&
	    mrmr_trash_list(engine, w->pool, &items, &num, NULL) == 0) {
		mrmr_trash_purge(w->pool, engine, items, num, &options, &result,
				 NULL);
	}
}

/* One chain after another has lost all its records. What the parts of the members know
   is true nevertheless. */
static void lose_records(killed_fn *fn)
{
	uint32_t num_lost = 0;
	uint32_t chain = 0;
	bool any = true;

	for (; any; num_lost++) {
		struct world *w = with_trash();

		any = hide_chain(w, &chain);
		world_open(w);
		killed_at(w, "", fn, NULL);
		world_close(w);
		lose_catalogue(w, false);
		world_open(w);
		recover_well(w);
		verify_decodable(w);
		two_each_verify(w, 4, 1);
		world_free(w);
	}
	assert_true(num_lost > 10);
}

static void the_protector_leaves_them(void **state)
{
	(void)state;
	lose_records(empty_trash);
}

static void purge_leaves_them(void **state)
{
	(void)state;
	lose_records(purge);
}

/* Who asks what is protected is not told that nothing ever was. */
static void lost_is_not_new(void **state)
{
	static const enum mrmr_engine_mode modes[] = {MRMR_ENGINE_READ,
						      MRMR_ENGINE_TRY,
						      MRMR_ENGINE_WRITE};
	struct world *w = with_trash();
	struct mrmr_error err = {0};
	size_t i;

	(void)state;
	lose_catalogue(w, true);
	world_open(w);
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_null(mrmr_engine_open(NULL, w->pool, modes[i], &err));
		assert_int_equal(err.code, EILSEQ);
	}
	world_free(w);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_protector_leaves_them),
		cmocka_unit_test(purge_leaves_them),
		cmocka_unit_test(lost_is_not_new),
	};

	return WORLD_MAIN("trash_damaged", tests);
}
