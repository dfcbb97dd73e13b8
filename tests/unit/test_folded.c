/*
 * Unit tests: names in another case. What a search has seen answers the ones that
 * follow, and never hides a name that is there.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/listing.h>

#include "world.h"

static uint32_t fold(const char *name)
{
	uint32_t hash = 1;

	for (; *name != '\0'; name++) {
		if (*name == '?') {
			return 0; /* it might mean any other */
		}
		hash = hash * 31 + (uint32_t)toupper((unsigned char)*name);
	}
	return hash != 0 ? hash : 1;
}

struct looking {
	const char *name;
	char found[256];
	unsigned int num_seen;
};

static bool look(const char *name, void *private_data)
{
	struct looking *looking = private_data;

	looking->num_seen++;
	if (strcasecmp(name, looking->name) != 0) {
		return false;
	}
	snprintf(looking->found, sizeof(looking->found), "%s", name);
	return true;
}

static struct looking search(struct world *w, const char *dir, const char *name)
{
	struct looking looking = {.name = name};
	int ret;

	world_use(w);
	ret = mrmr_dir_search(do_dir(w, dir), name, look, &looking);
	assert_int_equal(ret, looking.found[0] != '\0');
	return looking;
}

static bool finds(struct world *w, const char *dir, const char *name)
{
	return search(w, dir, name).found[0] != '\0';
}

/* Was the directory read for it? */
static bool reads(struct world *w, const char *dir, const char *name)
{
	return search(w, dir, name).num_seen > 0;
}

static struct world *new_world(void)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 3});

	w->pool->fold = fold;
	return w;
}

static struct mrmr_pool *other_process(struct world *w)
{
	struct mrmr_pool *ours = w->pool;
	struct mrmr_pool *other = NULL;

	world_open_in_child(w);
	other = w->pool;
	other->fold = fold;
	w->pool = ours;
	return other;
}

/* What changes now has another time than what has changed before. */
static void let_clock_tick(void)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	struct timespec begin;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &begin);
	do {
		nanosleep(&pause, NULL);
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	} while (now.tv_sec == begin.tv_sec && now.tv_nsec == begin.tv_nsec);
}

static void a_directory_is_read_once(void **state)
{
	struct world *w = new_world();
	char name[64];
	int i;

	(void)state;
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	for (i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "d/File%d", i);
		assert_int_equal(do_create(w, name, ""), 0);
	}
	assert_int_equal(search(w, "d", "new").num_seen, 1000);
	for (i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "new%d", i);
		assert_false(reads(w, "d", name));
		snprintf(name, sizeof(name), "d/New%d", i);
		assert_int_equal(do_create(w, name, ""), 0);
	}
	assert_string_equal(search(w, "d", "nEW99").found, "New99");
	assert_string_equal(search(w, "d", "fILE0").found, "File0");
	assert_false(reads(w, "d", "neither found nor read for"));
	assert_int_equal(do_rename(w, "d/New99", "d/Other"), 0);
	assert_string_equal(search(w, "d", "OTHER").found, "Other");
	assert_int_equal(do_unlink(w, "d/Other"), 0);
	assert_false(finds(w, "d", "OTHER"));
	assert_false(reads(w, "d", "another"));
	world_free(w);
}

static void without_fold_every_search_reads(void **state)
{
	struct world *w = new_world();

	(void)state;
	w->pool->fold = NULL;
	assert_int_equal(do_create(w, "File", ""), 0);
	assert_true(reads(w, "", "new"));
	assert_true(reads(w, "", "new"));
	world_free(w);
}

static void a_name_that_cannot_be_folded(void **state)
{
	struct world *w = new_world();

	(void)state;
	assert_int_equal(do_create(w, "File", ""), 0);
	assert_true(reads(w, "", "new?"));
	assert_true(reads(w, "", "new?"));
	assert_false(reads(w, "", "new"));
	assert_int_equal(do_create(w, "a?", ""), 0);
	assert_true(reads(w, "", "new"));
	assert_true(reads(w, "", "new"));
	assert_true(finds(w, "", "A?"));
	world_free(w);
}

static void another_process_adds_a_name(void **state)
{
	struct world *w = new_world();
	struct mrmr_pool *ours = w->pool;
	struct mrmr_pool *other = other_process(w);

	(void)state;
	assert_int_equal(do_create(w, "File", ""), 0);
	assert_false(finds(w, "", "new"));
	w->pool = other;
	assert_int_equal(do_create(w, "New", ""), 0);
	w->pool = ours;
	assert_true(finds(w, "", "new"));

	/* before something of our own */
	assert_false(finds(w, "", "theirs"));
	w->pool = other;
	assert_int_equal(do_create(w, "Theirs", ""), 0);
	w->pool = ours;
	assert_int_equal(do_create(w, "Ours", ""), 0);
	assert_true(finds(w, "", "theirs"));
	talloc_free(other);
	world_free(w);
}

static void somebody_adds_a_name_behind_our_back(void **state)
{
	struct world *w = new_world();
	size_t i;

	(void)state;
	assert_int_equal(do_create(w, "d/../File", ""), ENOENT);
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	assert_int_equal(do_create(w, "d/File", ""), 0);
	for (i = 0; i < 3; i++) {
		char name[64];

		snprintf(name, sizeof(name), "d/New%zu", i);
		assert_false(finds(w, "d", name + 2));
		let_clock_tick();
		world_write(world_member(w, i, name), "");
		name[2] = 'n';
		/* A clone that was not there is looked for after a second. */
		if (!finds(w, "d", name + 2)) {
			world_later(w);
		}
		assert_true(finds(w, "d", name + 2));
	}
	assert_false(finds(w, "d", "dIR"));
	let_clock_tick();
	assert_return_code(mkdir(world_member(w, 1, "d/Dir"), 0755), errno);
	assert_true(finds(w, "d", "dIR"));
	world_free(w);
}

/* Also if no clock says so. */
static void a_set_is_good_for_a_second(void **state)
{
	struct world *w = new_world();

	(void)state;
	assert_int_equal(do_create(w, "File", ""), 0);
	assert_false(finds(w, "", "new"));
	assert_false(reads(w, "", "new"));
	world_later(w);
	assert_true(reads(w, "", "new"));
	world_free(w);
}

static void a_member_returns_with_a_name(void **state)
{
	struct world *w = new_world();
	size_t member;

	(void)state;
	assert_int_equal(do_create(w, "File", ""), 0);
	member = do_where(w, "File");
	world_unplug(w, member);
	world_later(w);
	assert_false(finds(w, "", "fILE"));
	world_plug(w, member);
	mrmr_pool_look(w->pool);
	assert_true(finds(w, "", "fILE"));
	world_free(w);
}

static void more_directories_than_sets(void **state)
{
	struct world *w = new_world();
	char name[64];
	int turn;
	int i;

	(void)state;
	for (i = 0; i < 9; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		assert_int_equal(do_mkdir(w, name, 0755), 0);
		snprintf(name, sizeof(name), "d%d/File%d", i, i);
		assert_int_equal(do_create(w, name, ""), 0);
	}
	for (turn = 0; turn < 3; turn++) {
		for (i = 0; i < 9; i++) {
			char dir[16];

			snprintf(dir, sizeof(dir), "d%d", i);
			snprintf(name, sizeof(name), "fILE%d", i);
			assert_true(finds(w, dir, name));
			snprintf(name, sizeof(name), "fILE%d", (i + 1) % 9);
			assert_false(finds(w, dir, name));
			assert_false(reads(w, dir, name));
		}
	}
	world_free(w);
}

static unsigned int draw(unsigned int n)
{
	static uint32_t x = 12345;

	x = x * UINT32_C(1664525) + UINT32_C(1013904223);
	return (x >> 16) % n;
}

/* One of 40 names, the last ten of directories, in any case. */
static const char *a_name(char name[64], const char *dir, bool of_directory)
{
	int at = snprintf(name, 64, "%s", dir);
	unsigned int number = of_directory ? 30 + draw(10) : draw(30);

	snprintf(name + at, 64 - (size_t)at, "%c%cz%u", draw(2) ? 'x' : 'X',
		 draw(2) ? 'y' : 'Y', number);
	return name;
}

static bool is_listed(struct world *w, const char *dir, const char *name)
{
	char *names = strdup(do_list(w, dir));
	char *rest = names;
	char *word;
	bool found = false;

	while ((word = strsep(&rest, " ")) != NULL) {
		word[strcspn(word, "/")] = '\0';
		found = found || strcasecmp(word, name) == 0;
	}
	free(names);
	return found;
}

static void one_change(struct world *w)
{
	char dirs[2][4] = {"d/", "e/"};
	char from[64];
	char to[64];

	a_name(from, dirs[draw(2)], false);
	a_name(to, dirs[draw(2)], false);
	switch (draw(7)) {
	case 0:
	case 1:
		do_create(w, from, "");
		break;
	case 2:
		do_unlink(w, from);
		break;
	case 3:
		do_rename(w, from, to);
		break;
	case 4:
		do_link(w, from, to);
		break;
	case 5:
		do_mkdir(w, a_name(from, dirs[draw(2)], true), 0755);
		break;
	case 6:
		let_clock_tick();
		world_write(world_member(w, draw(3), from), "");
		break;
	}
}

/* What a search says is what a listing of another process says. */
static void at_random(void **state)
{
	struct world *w = new_world();
	struct mrmr_pool *pools[3] = {w->pool, other_process(w),
				      other_process(w)};
	unsigned int num_found = 0;
	int i;

	(void)state;
	w->pool = pools[0];
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	assert_int_equal(do_mkdir(w, "e", 0755), 0);
	for (i = 0; i < 3; i++) {
		/* Clones everywhere, so that none is looked for later. */
		world_write(world_member(w, (size_t)i, "d/all"), "");
		world_write(world_member(w, (size_t)i, "e/all"), "");
	}
	world_later(w);
	for (i = 0; i < 4000; i++) {
		char name[64];
		const char *dir = draw(2) ? "d" : "e";
		bool found;

		w->pool = pools[draw(2)];
		world_use(w);
		if (draw(3) == 0) {
			one_change(w);
			continue;
		}
		a_name(name, "", draw(4) == 0);
		found = finds(w, dir, name);
		w->pool = pools[2];
		world_use(w);
		assert_int_equal(found, is_listed(w, dir, name));
		num_found += found;
	}
	assert_in_range(num_found, 100, 3000);
	w->pool = pools[0];
	talloc_free(pools[1]);
	talloc_free(pools[2]);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_directory_is_read_once),
		cmocka_unit_test(without_fold_every_search_reads),
		cmocka_unit_test(a_name_that_cannot_be_folded),
		cmocka_unit_test(another_process_adds_a_name),
		cmocka_unit_test(somebody_adds_a_name_behind_our_back),
		cmocka_unit_test(a_set_is_good_for_a_second),
		cmocka_unit_test(a_member_returns_with_a_name),
		cmocka_unit_test(more_directories_than_sets),
		cmocka_unit_test(at_random),
	};

	return WORLD_MAIN("folded", tests);
}
