/*
 * Unit tests: directories in the making (mrmr/names.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <mrmr/dirattr.h>
#include <mrmr/names.h>

#include "world.h"

#define UNFINISHED MRMR_UNFINISHED_PREFIX "4711%17:new"

static int begin(struct world *w, const char *parent)
{
	return mrmr_name_begin(do_dir(w, parent), UNFINISHED, 0700) == 0
		       ? 0
		       : errno;
}

static int finish(struct world *w, const char *parent, const char *name)
{
	return mrmr_name_finish(do_dir(w, parent), UNFINISHED, name) == 0
		       ? 0
		       : errno;
}

static void is_in_the_spine_alone_until_it_is_finished(void **state)
{
	struct world *w = world_new(&(struct world_shape){0});
	struct stat st;
	size_t member;

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	assert_int_equal(begin(w, "d"), 0);
	assert_string_equal(world_where(w, "d/" UNFINISHED), "s");

	/* All are here and none has it: it stays, whoever looks. */
	world_later(w);
	assert_string_equal(do_list(w, "d"), UNFINISHED "/");
	assert_string_equal(do_list(w, "d"), UNFINISHED "/");

	/* Its rights are set, by name or, as smbd does, through the directory. */
	assert_return_code(fchmodat(do_dir(w, "d")->spine_fd, UNFINISHED, 02750,
				    0),
			   errno);
	mrmr_dir_mirror(do_dir(w, "d/" UNFINISHED), NULL);
	assert_string_equal(world_where(w, "d/" UNFINISHED), "s");

	assert_int_equal(finish(w, "d", "new"), 0);
	assert_string_equal(world_where(w, "d/" UNFINISHED), "");
	assert_int_equal(strlen(world_where(w, "d/new")), 2);
	assert_int_equal(world_where(w, "d/new")[0], 's');
	world_later(w);
	assert_string_equal(do_list(w, "d"), "new/");
	assert_int_equal(do_stat(w, "d/new", &member, &st), 0);
	assert_int_equal(st.st_mode & 07777, 02750);
	member = (size_t)(world_where(w, "d/new")[1] - '0');
	assert_return_code(stat(world_member(w, member, "d/new"), &st), errno);
	assert_int_equal(st.st_mode & 07777, 02750);
	assert_int_equal(do_create(w, "d/new/f", "f"), 0);
	assert_string_equal(do_read(w, "d/new/f"), "f");
	world_free(w);
}

static void does_not_take_the_place_of_anything(void **state)
{
	struct world *w = world_new(&(struct world_shape){0});

	assert_int_equal(do_mkdir(w, "dir", 0755), 0);
	assert_int_equal(do_create(w, "file", "file"), 0);
	world_write(world_member(w, 2, "strange/f"), "f");
	assert_int_equal(begin(w, ""), 0);
	assert_int_equal(begin(w, ""), EEXIST);
	assert_int_equal(finish(w, "", "dir"), EEXIST);
	assert_int_equal(finish(w, "", "file"), EEXIST);
	assert_int_equal(finish(w, "", "strange"), EEXIST);
	assert_int_equal(finish(w, "", ".mrmr"), EACCES);
	assert_string_equal(world_where(w, UNFINISHED), "s");
	assert_string_equal(do_read(w, "file"), "file");
	assert_int_equal(do_rmdir(w, UNFINISHED), 0);
	assert_string_equal(world_where(w, UNFINISHED), "");
	assert_int_equal(finish(w, "", "new"), ENOENT);
	world_free(w);
}

static bool has_intents(struct world *w)
{
	DIR *dir = opendir(world_path(w, "state/intents"));
	struct dirent *entry = NULL;
	bool found = false;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		found = found || entry->d_name[0] != '.';
	}
	if (dir != NULL) {
		closedir(dir);
	}
	return found;
}

/* Making a directory is no rename: whoever is away has nothing to follow. */
static void leaves_nothing_to_do_for_those_who_are_away(void **state)
{
	struct world *w = world_new(&(struct world_shape){0});

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	world_unplug(w, 1);
	world_later(w);
	assert_int_equal(begin(w, "d"), 0);
	assert_int_equal(do_rmdir(w, "d/" UNFINISHED), 0);
	assert_int_equal(begin(w, "d"), 0);
	assert_int_equal(finish(w, "d", "new"), 0);
	assert_false(has_intents(w));
	world_plug(w, 1);
	world_later(w);
	assert_string_equal(do_list(w, "d"), "new/");
	world_free(w);
}

/* No member can take it: it is as unfinished as before, and can go. */
static void fails_where_no_member_is(void **state)
{
	struct world *w = world_new(&(struct world_shape){0});
	size_t m;

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	for (m = 0; m < w->shape.num_members; m++) {
		world_unplug(w, m);
	}
	world_later(w);
	assert_int_equal(begin(w, "d"), 0);
	assert_int_not_equal(finish(w, "d", "new"), 0);
	assert_string_equal(world_where(w, "d/new"), "");
	assert_string_equal(world_where(w, "d/" UNFINISHED), "s");
	assert_int_equal(do_rmdir(w, "d/" UNFINISHED), 0);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_in_the_spine_alone_until_it_is_finished),
		cmocka_unit_test(does_not_take_the_place_of_anything),
		cmocka_unit_test(leaves_nothing_to_do_for_those_who_are_away),
		cmocka_unit_test(fails_where_no_member_is),
	};

	return WORLD_MAIN("union: directories in the making", tests);
}
