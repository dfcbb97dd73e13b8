/*
 * Unit tests: whatever happens in the share before members leave, while they are
 * away, and whether or not a protector has heard of it: the names stay what they
 * are, and what was protected is read as it was then.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "known.h"
#include "life.h"
#include "protecting.h"
#include "seeds.h"

/* --- a member leaves ----------------------------------------------------------------- */

static void compare_ghost(struct life *l, const struct tree_entry *before,
			  const struct tree_entry *now)
{
	uint8_t *bytes = NULL;
	size_t len = 0;

	if (now == NULL) {
		fail_msg("'%s' is not listed", before->path);
	}
	if (before->kind != S_IFREG) {
		return;
	}
	bytes = read_served(l->w, now->path, &len);
	if (!life_is_as_protected(l, before, bytes, len)) {
		fail_msg("'%s' has other bytes", now->path);
	}
	free(bytes);
}

/* The share just before, and while the member is away. */
static void compare(struct life *l, const struct tree *before, size_t away)
{
	size_t i;

	for (i = 0; i < before->num; i++) {
		const struct tree_entry *e = &before->entries[i];
		const struct tree_entry *listed = tree_find(l->now, e->path);

		if (e->kind == S_IFDIR || e->member != away) {
			if (listed == NULL || listed->kind != e->kind ||
			    (e->kind != S_IFDIR && listed->inode != e->inode)) {
				fail_msg("'%s' is not what it was", e->path);
			}
			continue;
		}
		if (tree_find_file(l->protected, e) != NULL) {
			compare_ghost(l, e, listed);
		}
	}
	for (i = 0; i < l->now->num; i++) {
		if (tree_find(before, l->now->entries[i].path) == NULL) {
			fail_msg("'%s' is listed", l->now->entries[i].path);
		}
	}
}

static void leave(struct life *l)
{
	if (life_leave(l)) {
		compare(l, l->left[l->last], l->last);
	}
}

/* --- and again ---------------------------------------------------------------------- */

static void live(void)
{
	struct life l;
	unsigned int turns;

	life_begin(&l);
	for (turns = 5 + draw(20); turns > 0; turns--) {
		switch (draw(9)) {
		case 0:
			life_protect(&l);
			break;
		case 1:
			life_protect_and_die(&l);
			break;
		case 2:
		case 3:
			leave(&l);
			break;
		case 4:
			life_come_back(&l);
			break;
		case 5:
			life_lose(&l);
			break;
		default:
			life_work(&l);
		}
		life_maybe_reopen(&l);
	}
	life_end(&l);
}

static void names_stay(void **state)
{
	(void)state;
	for_each_seed(live);
}

/* A protector has entered what is in the log, and was killed before it was done with
   it: a directory has another name, and another one has its name, with a file that
   came after that. */
static void log_is_entered_already(void **state)
{
#ifdef MRMR_WITH_FAULTS
	struct world *w =
		world_new(&(struct world_shape){.num_members = LIFE_MEMBERS,
						.parity = "2"});
	size_t member;

	(void)state;
	client_write(w, "file", 1, 1000);
	protect(w);
	member = do_where(w, "file");
	assert_int_equal(do_mkdir(w, "old", 0755), 0);
	assert_int_equal(do_rename(w, "old", "new"), 0);
	assert_int_equal(do_mkdir(w, "old", 0755), 0);
	assert_int_equal(do_rename(w, "file", "old/file"), 0);
	assert_true(protect_killed(w, "protect-events=kill"));
	serve(w);
	world_unplug(w, member);
	world_later(w);
	assert_string_equal(do_list(w, ""), "new/ old/");
	assert_string_equal(do_list(w, "new"), "");
	assert_string_equal(do_list(w, "old"), "file");
	verify_served(w, "old/file", 1, 1000);
	stop_serving(w);
	world_free(w);
#else
	(void)state;
	print_message("[  SKIPPED ] log_is_entered_already: no faults built\n");
#endif
}

/* The log tells of a new file of a member that left, whose name a further one of
   another file is by now; and another directory has the name of that one's. */
static void name_is_anothers_by_now(void **state)
{
	struct world *w =
		world_new(&(struct world_shape){.num_members = LIFE_MEMBERS,
						.parity = "2"});

	(void)state;
	protect(w);
	assert_int_equal(do_mkdir(w, "a", 0755), 0);
	client_write_on(w, 1, "a/file", 1, 1000);
	client_write_on(w, 2, "name", 2, 1000);
	assert_int_equal(do_link(w, "a/file", "other"), 0);
	assert_int_equal(do_rename(w, "other", "name"), 0);
	assert_int_equal(do_mkdir(w, "b", 0755), 0);
	assert_int_equal(do_rename(w, "a", "b/d"), 0);
	assert_int_equal(do_rename(w, "b", "a"), 0);
	world_unplug(w, 2);
	world_later(w);
	protect(w);
	verify(w, "a/d/file", 1, 1000, 1);
	verify(w, "name", 1, 1000, 1);
	world_plug(w, 2);
	world_later(w);
	protect(w);
	verify_known(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(log_is_entered_already),
		cmocka_unit_test(name_is_anothers_by_now),
		cmocka_unit_test(names_stay),
	};

	return WORLD_MAIN("absent_random", tests);
}
