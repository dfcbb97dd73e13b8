/*
 * Unit tests: whatever happens in the share, its trash is emptied and restored from,
 * files get longer by zeros, and more or fewer rows are wanted: when the protector has
 * come to its end, the catalogue has the names that the share has, and every file can
 * be computed without its member.
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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/protection.h>
#include <mrmr/scrub.h>
#include <mrmr/undelete.h>

#include "drawn.h"
#include "drawn_work.h"
#include "killed.h"
#include "known.h"
#include "protecting.h"
#include "seeds.h"

#define BLOCK (64 * 1024)

/* --- the trash ------------------------------------------------------------------------ */

static void purge_some(struct world *w, void *private_data)
{
	const struct mrmr_purge_options options = {.progress = NULL};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_trashed *items = NULL;
	struct mrmr_purge_result result;
	struct mrmr_error err = {0};
	size_t num = 0;

	(void)private_data;
	assert_int_equal(mrmr_trash_list(engine, w->pool, &items, &num, &err),
			 0);
	num = num > 0 ? draw((unsigned int)num + 1) : 0;
	say("purge %zu\n", num);
	if (mrmr_trash_purge(w->pool, engine, items, num, &options, &result,
			     &err) == -1) {
		fail_msg("purge: %s", err.text);
	}
	talloc_free(engine);
}

/* Of a name that is taken, or was a moment ago, it fails. */
static void restore_one(struct world *w, void *private_data)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_trashed *items = NULL;
	struct mrmr_error err = {0};
	size_t num = 0;

	(void)private_data;
	assert_int_equal(mrmr_trash_list(engine, w->pool, &items, &num, &err),
			 0);
	if (num > 0) {
		const struct mrmr_trashed *item =
			&items[draw((unsigned int)num)];
		const char *to = draw(2) == 0 ? item->path : any_path();
		int ret = mrmr_trash_restore(w->pool, engine, item, to, &err);

		say("restore %s to %s: %d %s\n", item->path, to, ret, err.text);
	}
	talloc_free(engine);
}

/* What was restored by one that was killed, it has not told of: a scan finds it. */
static bool is_untold;

/* In a process of its own, which may be killed. */
static void do_with_trash(struct world *w)
{
	bool is_purge = draw(2) == 0;
	char fault[64] = "";

#ifdef MRMR_WITH_FAULTS
	static const char *const points[] = {
		"purge-left",      "purge-committed", "catalog-commit",
		"catalog-part",    "blob-rename",     "stripes-job",
		"restore-entered", "restore-linked",
	};

	if (draw(2) == 0) {
		snprintf(fault, sizeof(fault), "%s#%u=kill",
			 points[draw(sizeof(points) / sizeof(points[0]))],
			 1 + draw(3));
	}
#endif
	say("-- %s %s\n", is_purge ? "purge" : "restore", fault);
	if (fault[0] != '\0') {
		is_untold =
			killed_at(w, fault, is_purge ? purge_some : restore_one,
				  NULL) ||
			is_untold;
	} else if (is_purge) {
		purge_some(w, NULL);
	} else {
		restore_one(w, NULL);
	}
}

/* --- and the rest ----------------------------------------------------------------------- */

static void add_zeros(struct world *w)
{
	const char *path = any_path();
	struct stat st;
	int fd;

	if (kind_of(w, path) != S_IFREG) {
		return;
	}
	fd = do_open(w, path, O_RDWR);
	assert_return_code(fd, errno);
	assert_return_code(fstat(fd, &st), errno);
	if (st.st_size < 4 * BLOCK) {
		say("zeros to %s\n", path);
		assert_return_code(ftruncate(fd,
					     st.st_size + 1 + draw(3 * BLOCK)),
				   errno);
	}
	close(fd);
	client_tell(w, path, MRMR_EVENT_CHANGED);
}

static void scrub(struct world *w)
{
	const struct mrmr_scrub_options options = {.repair = true};
	struct mrmr_scrub_result result;
	struct mrmr_error err = {0};

	say("-- scrub\n");
	if (mrmr_scrub(w->pool, &options, &result, &err) == -1) {
		if (err.code != ENOENT) {
			fail_msg("scrub: %s", err.text);
		}
		return;
	}
	assert_int_equal(result.wrong_blocks + result.wrong_records, 0);
}

static void maybe_killed(struct world *w)
{
#ifdef MRMR_WITH_FAULTS
	static const char *const points[] = {
		"protect-events",      "protect-declared", "protect-applied",
		"protect-committed",   "stripes-job",      "catalog-commit",
		"protect-before-drop", "trash-left",       "trash-unlink",
	};
	char fault[64];

	if (draw(3) == 0) {
		snprintf(fault, sizeof(fault), "%s#%u=kill",
			 points[draw(sizeof(points) / sizeof(points[0]))],
			 1 + draw(4));
		say("-- protect %s\n", fault);
		protect_killed(w, fault);
		verify_decodable(w);
		return;
	}
#endif
	say("-- protect\n");
	protect(w);
}

static void live(void)
{
	const struct world_shape shape = {
		.num_members = 5,
		.parity = "1",
		.config = ", \"block_size\": \"64K\"",
	};
	struct world *w = world_new(&shape);
	unsigned int turns = 4 + draw(10);
	unsigned int i;

	is_untold = false;
	while (turns-- > 0) {
		unsigned int n = 1 + draw(20);

		for (i = 0; i < n; i++) {
			if (draw(12) == 0) {
				add_zeros(w);
			} else {
				do_something(w);
			}
		}
		switch (draw(8)) {
		case 0:
		case 1:
		case 2:
			do_with_trash(w);
			verify_decodable(w);
			break;
		case 3:
			world_configure(w, draw(2) == 0 ? "1" : "2", NULL);
			break;
		case 4:
			scrub(w);
			break;
		default:
			maybe_killed(w);
		}
	}
	if (is_untold) {
		protect_and_scan(w);
	} else {
		protect(w);
	}
	verify_known(w);
	verify_decodable(w);
	scrub(w);
	protect_and_scan(w);
	verify_tidy(w);
	assert_int_equal(pending_of(w), 0);
	assert_int_equal(sums_of(w).file_bytes, sums_of(w).protected_bytes);
	world_free(w);
}

static void the_trash_is_used(void **state)
{
	(void)state;
	for_each_seed(live);
}

/* Nobody has heard that a file was deleted: under another name, its bytes, which
   others need, would not be found until then. */
static void deleted_just_now(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 4, .parity = "1"});
	struct mrmr_engine *engine = NULL;
	struct mrmr_trashed *items = NULL;
	struct mrmr_error err = {0};
	size_t num = 0;

	(void)state;
	client_write_on(w, 0, "a", 1, 30000);
	client_write_on(w, 1, "b", 2, 30000);
	protect(w);
	assert_int_equal(do_unlink(w, "a"), 0);
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	assert_int_equal(mrmr_trash_list(engine, w->pool, &items, &num, &err),
			 0);
	assert_int_equal(num, 1);
	assert_int_equal(mrmr_trash_restore(w->pool, engine, items, "c", &err),
			 -1);
	assert_int_equal(err.code, ESTALE);
	talloc_free(engine);
	verify(w, "b", 2, 30000, 1);
	protect_names(w);
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	assert_int_equal(mrmr_trash_list(engine, w->pool, &items, &num, &err),
			 0);
	assert_int_equal(mrmr_trash_restore(w->pool, engine, items, "c", &err),
			 0);
	talloc_free(engine);
	verify(w, "b", 2, 30000, 1);
	verify(w, "c", 1, 30000, 1);
	world_free(w);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(deleted_just_now),
		cmocka_unit_test(the_trash_is_used),
	};

	return WORLD_MAIN("trash_random", tests);
}
