/*
 * Unit tests: what happens to directories while a member is away, and on it
 * when it is back.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <mrmr/intent.h>
#include <mrmr/shared.h>

#include "world.h"

#define AWAY 2 /* the member that leaves, in most tests */

static struct world *three(void)
{
	return world_new(&(struct world_shape){.num_members = 3});
}

static void leave(struct world *w)
{
	world_unplug(w, AWAY);
	world_later(w);
	assert_int_equal(w->pool->members[AWAY].state, MRMR_MEMBER_AWAY);
}

/* Back, in the same process or (to tell whether it depends on what a process
   remembers) in another one. */
static void come_back(struct world *w, bool reopen)
{
	if (reopen) {
		world_close(w);
		world_plug(w, AWAY);
		world_open(w);
	} else {
		world_plug(w, AWAY);
		world_later(w);
	}
	assert_int_equal(w->pool->members[AWAY].state, MRMR_MEMBER_ONLINE);
}

static unsigned int num_intents(struct world *w)
{
	DIR *dir = opendir(world_path(w, "state/intents"));
	struct dirent *entry = NULL;
	unsigned int count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		count += entry->d_name[0] != '.';
	}
	closedir(dir);
	return count;
}

/* Runs a test with the member back in the same and in another process. */
static void both_ways(void (*check)(struct world *w, bool reopen))
{
	unsigned int reopen;

	for (reopen = 0; reopen < 2; reopen++) {
		struct world *w = three();

		check(w, reopen == 1);
		assert_int_equal(num_intents(w), 0);
		assert_int_equal(atomic_load(&w->pool->shared->num_intents), 0);
		world_free(w);
	}
}

static void check_simple(struct world *w, bool reopen)
{
	world_write(world_member(w, 0, "a/f0"), "0");
	world_write(world_member(w, AWAY, "a/f2"), "2");
	assert_string_equal(do_list(w, "a"), "f0 f2");
	leave(w);
	assert_int_equal(do_rename(w, "a", "b"), 0);
	assert_string_equal(do_list(w, ""), "b/");
	assert_string_equal(do_list(w, "b"), "f0");
	assert_int_equal(num_intents(w), 1);
	come_back(w, reopen);
	assert_string_equal(do_list(w, ""), "b/");
	assert_string_equal(do_list(w, "b"), "f0 f2");
	assert_string_equal(do_read(w, "b/f2"), "2");
	assert_string_equal(world_where(w, "a"), "");
}

static void renamed_while_away(void **state)
{
	both_ways(check_simple);
}

/* What was removed does not return; what has something in it, of which nobody
   knew, does. */
static void check_removed(struct world *w, bool reopen)
{
	size_t m;

	for (m = 0; m < 3; m++) {
		world_write(world_member(w, m, "a/b/c/f"), "");
		unlink(world_member(w, m, "a/b/c/f"));
		world_write(world_member(w, m, "x/y/f"), "");
		unlink(world_member(w, m, "x/y/f"));
	}
	world_write(world_member(w, 0, "keep/f"), "");
	assert_string_equal(do_list(w, "a/b"), "c/");
	assert_string_equal(do_list(w, "x"), "y/");
	leave(w);
	assert_int_equal(do_rmdir(w, "a/b/c"), 0);
	assert_int_equal(do_rename(w, "a/b", "a/d"), 0);
	assert_int_equal(do_rmdir(w, "a/d"), 0);
	assert_int_equal(do_rmdir(w, "x/y"), 0);
	assert_int_equal(do_rmdir(w, "keep"), ENOTEMPTY);
	assert_int_equal(num_intents(w), 4);
	world_write(world_drive(w, AWAY, "x/y/unknown"), "1");
	come_back(w, reopen);
	assert_string_equal(do_list(w, ""), "a/ keep/ x/");
	assert_string_equal(do_list(w, "a"), "");
	assert_string_equal(world_where(w, "a/b"), "");
	assert_string_equal(world_where(w, "a/d"), "");
	assert_string_equal(do_list(w, "x/y"), "unknown");
}

static void removed_while_away(void **state)
{
	both_ways(check_removed);
}

/* Its name was used again meanwhile. */
static void check_made_again(struct world *w, bool reopen)
{
	world_write(world_member(w, AWAY, "a/old/f"), "");
	unlink(world_member(w, AWAY, "a/old/f"));
	assert_string_equal(do_list(w, "a"), "old/");
	leave(w);
	assert_int_equal(do_rmdir(w, "a/old"), 0);
	assert_int_equal(do_mkdir(w, "a/old", 0755), 0);
	assert_int_equal(do_create(w, "a/old/new", "new"), 0);
	come_back(w, reopen);
	assert_string_equal(do_list(w, "a/old"), "new");
	assert_string_equal(do_read(w, "a/old/new"), "new");
}

static void removed_and_made_again(void **state)
{
	both_ways(check_made_again);
}

static void check_only_there(struct world *w, bool reopen)
{
	world_write(world_member(w, AWAY, "p/a/f2"), "2");
	assert_string_equal(do_list(w, "p/a"), "f2");
	leave(w);
	assert_int_equal(do_mkdir(w, "q", 0711), 0);
	assert_int_equal(do_mkdir(w, "q/r", 0711), 0);
	assert_int_equal(do_rename(w, "p/a", "q/r/a"), 0);
	come_back(w, reopen);
	assert_string_equal(do_read(w, "q/r/a/f2"), "2");
	assert_string_equal(do_list(w, "p"), "");
	/* its new parents came with their rights */
	{
		struct stat st;

		assert_return_code(stat(world_member(w, AWAY, "q/r"), &st),
				   errno);
		assert_int_equal(st.st_mode & 07777, 0711);
	}
}

static void only_the_member_has_it(void **state)
{
	both_ways(check_only_there);
}

static void check_chain(struct world *w, bool reopen)
{
	world_write(world_member(w, 0, "a/f0"), "0");
	world_write(world_member(w, AWAY, "a/f2"), "2");
	assert_string_equal(do_list(w, "a"), "f0 f2");
	leave(w);
	assert_int_equal(do_rename(w, "a", "b"), 0);
	assert_int_equal(do_rename(w, "b", "c"), 0);
	assert_int_equal(do_mkdir(w, "a", 0755), 0);
	assert_int_equal(do_create(w, "a/new", "new"), 0);
	assert_int_equal(do_mkdir(w, "b", 0755), 0);
	come_back(w, reopen);
	assert_string_equal(do_list(w, ""), "a/ b/ c/");
	assert_string_equal(do_list(w, "a"), "new");
	assert_string_equal(do_list(w, "b"), "");
	assert_string_equal(do_list(w, "c"), "f0 f2");
	assert_string_equal(do_read(w, "c/f2"), "2");
}

static void a_chain_and_a_new_one(void **state)
{
	both_ways(check_chain);
}

static void check_swap(struct world *w, bool reopen)
{
	world_write(world_member(w, AWAY, "a/f"), "a");
	world_write(world_member(w, AWAY, "b/f"), "b");
	assert_string_equal(do_list(w, ""), "a/ b/");
	leave(w);
	assert_int_equal(do_rename(w, "a", "t"), 0);
	assert_int_equal(do_rename(w, "b", "a"), 0);
	assert_int_equal(do_rename(w, "t", "b"), 0);
	come_back(w, reopen);
	assert_string_equal(do_list(w, ""), "a/ b/");
	assert_string_equal(do_read(w, "a/f"), "b");
	assert_string_equal(do_read(w, "b/f"), "a");
}

static void two_change_places(void **state)
{
	both_ways(check_swap);
}

/* What a was renamed into has another name itself, or none, when the member is
   back. */
static void check_parent_renamed(struct world *w, bool reopen)
{
	struct stat st;

	world_write(world_member(w, AWAY, "a/f"), "a");
	assert_string_equal(do_list(w, "a"), "f");
	leave(w);
	assert_int_equal(do_mkdir(w, "p", 0710), 0);
	assert_int_equal(do_mkdir(w, "p/x", 0701), 0);
	assert_int_equal(do_rename(w, "a", "p/x/a"), 0);
	assert_int_equal(do_rename(w, "p", "q"), 0);
	come_back(w, reopen);
	assert_string_equal(do_list(w, ""), "q/");
	assert_string_equal(do_read(w, "q/x/a/f"), "a");
	assert_string_equal(world_where(w, "p"), "");
	/* with the right rights */
	world_later(w);
	do_list(w, "q");
	do_list(w, "q/x");
	assert_return_code(stat(world_member(w, AWAY, "q"), &st), errno);
	assert_int_equal(st.st_mode & 07777, 0710);
	assert_return_code(stat(world_member(w, AWAY, "q/x"), &st), errno);
	assert_int_equal(st.st_mode & 07777, 0701);
	assert_return_code(stat(world_spine(w, "q/x"), &st), errno);
	assert_int_equal(st.st_mode & 07777, 0701);
}

static void the_new_parent_was_renamed(void **state)
{
	both_ways(check_parent_renamed);
}

static void check_parent_removed(struct world *w, bool reopen)
{
	world_write(world_member(w, AWAY, "a/f"), "a");
	world_write(world_member(w, AWAY, "b/f"), "b");
	assert_string_equal(do_list(w, ""), "a/ b/");
	leave(w);
	assert_int_equal(do_mkdir(w, "p", 0710), 0);
	assert_int_equal(do_mkdir(w, "p/x", 0710), 0);
	assert_int_equal(do_rename(w, "a", "p/x/a"), 0);
	assert_int_equal(do_rename(w, "p/x/a", "c"), 0);
	assert_int_equal(do_rmdir(w, "p/x"), 0);
	assert_int_equal(do_rmdir(w, "p"), 0);
	/* and one that nobody knew to be full */
	assert_int_equal(do_mkdir(w, "d", 0710), 0);
	assert_int_equal(do_rename(w, "b", "d/b"), 0);
	assert_int_equal(do_rmdir(w, "d/b"), 0);
	assert_int_equal(do_rmdir(w, "d"), 0);
	come_back(w, reopen);
	assert_string_equal(do_list(w, ""), "c/ d/");
	assert_string_equal(do_read(w, "c/f"), "a");
	assert_string_equal(world_where(w, "p"), "");
	/* missing is not deleted: its file is back, where it would be */
	assert_string_equal(do_read(w, "d/b/f"), "b");
	{
		struct stat st;

		assert_return_code(stat(world_spine(w, "d"), &st), errno);
		assert_int_equal(st.st_mode & 07777, 0755); /* its parent's */
	}
}

static void the_new_parent_was_removed(void **state)
{
	both_ways(check_parent_removed);
}

static void check_many(struct world *w, bool reopen)
{
	unsigned int i;
	char from[64];
	char to[64];

	world_write(world_member(w, AWAY, "d0/x/f"), "f");
	world_write(world_member(w, 0, "d0/x/g"), "g");
	assert_string_equal(do_list(w, "d0/x"), "f g");
	leave(w);
	for (i = 0; i < 60; i++) {
		snprintf(from, sizeof(from), "d%u", i);
		snprintf(to, sizeof(to), "d%u", i + 1);
		assert_int_equal(do_rename(w, from, to), 0);
		snprintf(from, sizeof(from), "d%u/%s", i + 1,
			 i % 2 == 0 ? "x" : "y");
		snprintf(to, sizeof(to), "d%u/%s", i + 1,
			 i % 2 == 0 ? "y" : "x");
		assert_int_equal(do_rename(w, from, to), 0);
	}
	assert_int_equal(num_intents(w), 120);
	come_back(w, reopen);
	assert_string_equal(do_list(w, "d60/x"), "f g");
	assert_string_equal(do_list(w, ""), "d60/");
}

static void long_chains(void **state)
{
	both_ways(check_many);
}

/* What stands in the way on the member: directories merge, files go to the
   trash rather than being overwritten. */
static void check_conflicts(struct world *w, bool reopen)
{
	world_write(world_member(w, AWAY, "a/f"), "from a");
	world_write(world_member(w, AWAY, "a/sub/x"), "a/sub/x");
	world_write(world_member(w, AWAY, "a/only"), "only");
	world_write(world_member(w, 0, "a/g"), "g");
	assert_string_equal(do_list(w, "a"), "f g only sub/");
	leave(w);
	assert_int_equal(do_rename(w, "a", "b"), 0);
	world_write(world_drive(w, AWAY, "b/f"), "was in b");
	world_write(world_drive(w, AWAY, "b/sub/y"), "b/sub/y");
	come_back(w, reopen);
	assert_string_equal(do_list(w, ""), "b/");
	assert_string_equal(do_list(w, "b"), "f g only sub/");
	assert_string_equal(do_list(w, "b/sub"), "x y");
	assert_string_equal(do_read(w, "b/f"), "was in b");
	assert_int_equal(world_trashed(w, AWAY, "f"), 1);
}

static void what_stands_in_the_way(void **state)
{
	both_ways(check_conflicts);
}

static void check_file_in_the_way(struct world *w, bool reopen)
{
	world_write(world_member(w, AWAY, "a/f"), "f");
	assert_string_equal(do_list(w, "a"), "f");
	leave(w);
	assert_int_equal(do_rename(w, "a", "b"), 0);
	world_write(world_drive(w, AWAY, "b"), "a file");
	come_back(w, reopen);
	/* The directory of the pool is b; the member's is in its trash. */
	assert_string_equal(do_list(w, ""), "b/");
	assert_int_equal(world_trashed(w, AWAY, "b"), 1);
	assert_string_equal(world_read(world_member(w, AWAY, "b")), "a file");
}

static void a_file_in_the_way(void **state)
{
	both_ways(check_file_in_the_way);
}

/* A clock that is set back (a board without one, after a power cut). */
static void check_clock(struct world *w, bool reopen)
{
	char path[256];

	world_write(world_member(w, AWAY, "a/f"), "f");
	assert_string_equal(do_list(w, "a"), "f");
	leave(w);
	assert_int_equal(do_rename(w, "a", "b"), 0);
	{
		DIR *dir = opendir(world_path(w, "state/intents"));
		struct dirent *entry = NULL;

		assert_non_null(dir);
		while ((entry = readdir(dir)) != NULL) {
			if (entry->d_name[0] == '.') {
				continue;
			}
			snprintf(path, sizeof(path), "%s",
				 world_path(w, "state/intents/"));
			strcat(path, entry->d_name);
			assert_return_code(rename(path,
						  world_path(w, "state/intents/"
								"09999999999999"
								"999999.json")),
					   errno);
			break;
		}
		closedir(dir);
	}
	assert_int_equal(do_rename(w, "b", "c"), 0);
	come_back(w, reopen);
	assert_string_equal(do_list(w, ""), "c/");
	assert_string_equal(do_read(w, "c/f"), "f");
}

static void the_clock_was_set_back(void **state)
{
	both_ways(check_clock);
}

/* Names of every byte have to get through the records. */
static void check_bytes(struct world *w, bool reopen)
{
	static const char strange[] = "d \"\\%41%/\n\t\x01\x7f\x80\xff\xc3(";
	char path[64];

	assert_int_equal(do_mkdir(w, "d \"\\%41%", 0755), 0);
	snprintf(path, sizeof(path), "%s/f", strange);
	world_write(world_member(w, AWAY, path), "f");
	assert_string_equal(do_read(w, path), "f");
	leave(w);
	assert_int_equal(do_rename(w, strange, "\xfe\r%%00"), 0);
	come_back(w, reopen);
	assert_string_equal(do_read(w, "\xfe\r%%00/f"), "f");
}

static void strange_names(void **state)
{
	both_ways(check_bytes);
}

/* Two members away, back one after the other. */
static void one_after_the_other(void **state)
{
	struct world *w = three();

	world_write(world_member(w, 1, "a/f1"), "1");
	world_write(world_member(w, 2, "a/f2"), "2");
	assert_string_equal(do_list(w, "a"), "f1 f2");
	world_unplug(w, 1);
	world_unplug(w, 2);
	world_later(w);
	assert_int_equal(do_rename(w, "a", "b"), 0);
	world_plug(w, 1);
	world_later(w);
	assert_string_equal(do_list(w, "b"), "f1");
	assert_int_equal(num_intents(w), 1);
	assert_int_equal(do_rename(w, "b", "c"), 0);
	assert_int_equal(num_intents(w), 2);
	world_close(w);
	world_open(w);
	assert_int_equal(num_intents(w), 2);
	world_plug(w, 2);
	world_later(w);
	assert_string_equal(do_list(w, "c"), "f1 f2");
	assert_string_equal(do_list(w, ""), "c/");
	assert_int_equal(num_intents(w), 0);
	world_free(w);
}

/* It is back, and others see it already; we have not looked yet. */
static void back_for_others_only(void **state)
{
	struct world *w = three();

	world_write(world_member(w, 0, "a/f0"), "0");
	world_write(world_member(w, 2, "a/f2"), "2");
	assert_string_equal(do_list(w, "a"), "f0 f2");
	leave(w);
	world_plug(w, 2);
	assert_int_equal(do_rename(w, "a", "b"), 0);
	assert_string_equal(world_where(w, "a"), "");
	assert_string_equal(world_where(w, "b"), "s02");
	assert_int_equal(num_intents(w), 0);
	/* a foreign drive, or one that was ejected, is not back */
	assert_int_equal(w->pool->members[2].state, MRMR_MEMBER_ONLINE);
	mrmr_shared_set_eject(w->pool->shared, w->pool->members[2].slot,
			      MRMR_EJECT_ASKED);
	assert_int_equal(do_rename(w, "b", "c"), 0);
	assert_string_equal(world_where(w, "b"), "2");
	assert_int_equal(num_intents(w), 1);
	world_free(w);
}

/* A marker that cannot be read does not keep others from renaming. */
static void a_broken_marker(void **state)
{
	struct world *w = three();

	world_write(world_member(w, 0, "a/f0"), "0");
	assert_string_equal(do_list(w, "a"), "f0");
	world_write(world_member(w, 2, ".mrmr/config.json"), "{");
	world_later(w);
	assert_int_equal(w->pool->members[2].state, MRMR_MEMBER_AWAY);
	assert_int_equal(do_rename(w, "a", "b"), 0);
	assert_string_equal(do_list(w, "b"), "f0");
	assert_int_equal(num_intents(w), 1);
	world_free(w);
}

/* A record that cannot be carried out keeps its member out, not the others. */
static void a_member_that_cannot_catch_up(void **state)
{
	struct world *w = three();
	struct mrmr_member *member = NULL;

	world_write(world_member(w, 0, "a/f0"), "0");
	world_write(world_member(w, 2, "a/f2"), "2");
	assert_string_equal(do_list(w, "a"), "f0 f2");
	leave(w);
	assert_int_equal(do_rename(w, "a", "b"), 0);
	world_plug(w, 2);
	assert_return_code(mount(NULL, world_member(w, 2, ""), NULL,
				 MS_REMOUNT | MS_BIND | MS_RDONLY, NULL),
			   errno);
	world_later(w);
	member = &w->pool->members[2];
	assert_int_equal(member->state, MRMR_MEMBER_AWAY);
	assert_non_null(strstr(member->why, "renamed"));
	assert_string_equal(do_list(w, ""), "b/");
	assert_string_equal(do_list(w, "b"), "f0");
	/* nothing of it is held open, and it is not tried at once again */
	assert_true(member->held_off_until_ns > mrmr_now_ns());
	assert_return_code(umount2(world_member(w, 2, ""), 0), errno);
	world_plug(w, 2);
	member->held_off_until_ns = 0;
	world_later(w);
	assert_string_equal(do_list(w, "b"), "f0 f2");
	assert_int_equal(num_intents(w), 0);
	world_free(w);
}

static void removed_from_the_pool(void **state)
{
	struct world *w = three();

	world_write(world_member(w, 2, "a/f2"), "2");
	assert_string_equal(do_list(w, "a"), "f2");
	leave(w);
	assert_int_equal(do_rename(w, "a", "b"), 0);
	world_close(w);
	w->shape.num_members = 2;
	world_open(w);
	assert_int_equal(num_intents(w), 0);
	assert_false(mrmr_intents_wait_for(w->pool, 0));
	w->shape.num_members = 3;
	world_free(w);
}

/* A new name that the pool made while the member had a file of that name: two
   files, of which the first member's is shown. */
static void the_same_name_was_made_meanwhile(void **state)
{
	struct world *w = three();

	world_write(world_member(w, 2, "d/f"), "old");
	assert_string_equal(do_read(w, "d/f"), "old");
	leave(w);
	assert_int_equal(do_create(w, "d/f", "new"), 0);
	come_back(w, false);
	assert_string_equal(do_list(w, "d"), "f");
	assert_string_equal(do_read(w, "d/f"), "new");
	assert_string_equal(world_read(world_member(w, 2, "d/f")), "old");
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(renamed_while_away),
		cmocka_unit_test(removed_while_away),
		cmocka_unit_test(removed_and_made_again),
		cmocka_unit_test(only_the_member_has_it),
		cmocka_unit_test(a_chain_and_a_new_one),
		cmocka_unit_test(two_change_places),
		cmocka_unit_test(the_new_parent_was_renamed),
		cmocka_unit_test(the_new_parent_was_removed),
		cmocka_unit_test(long_chains),
		cmocka_unit_test(what_stands_in_the_way),
		cmocka_unit_test(a_file_in_the_way),
		cmocka_unit_test(the_clock_was_set_back),
		cmocka_unit_test(strange_names),
		cmocka_unit_test(one_after_the_other),
		cmocka_unit_test(back_for_others_only),
		cmocka_unit_test(a_broken_marker),
		cmocka_unit_test(a_member_that_cannot_catch_up),
		cmocka_unit_test(removed_from_the_pool),
		cmocka_unit_test(the_same_name_was_made_meanwhile),
	};

	return WORLD_MAIN("union: members away", tests);
}
