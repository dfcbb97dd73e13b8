/*
 * Unit tests: names over one, three and twelve members.
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
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "world.h"

static const size_t sizes_of_pools[] = {1, 3, 12};

#define NUM_POOLS (sizeof(sizes_of_pools) / sizeof(sizes_of_pools[0]))

/* Runs a check on pools of all sizes, each time with members on file systems
   of their own, and with all of them on one. */
static void on_all_pools(void (*check)(struct world *w))
{
	size_t i, shared;

	for (i = 0; i < NUM_POOLS; i++) {
		for (shared = 0; shared < 2; shared++) {
			struct world_shape shape = {
				.num_members = sizes_of_pools[i],
				.per_drive = shared ? sizes_of_pools[i] : 1,
				.config = ", \"placement\": \"spread\"",
			};
			struct world *w = world_new(&shape);

			check(w);
			world_free(w);
		}
	}
}

/* How many members have it; the spine is counted as none. */
static size_t num_holders(struct world *w, const char *path)
{
	const char *where = world_where(w, path);

	return strlen(where) - (where[0] == 's');
}

static void files(struct world *w)
{
	unsigned int fds = world_count_fds();
	unsigned int i;
	char name[32];

	for (i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(do_create(w, name, name), 0);
		assert_int_equal(do_create(w, name, "again"), EEXIST);
		assert_int_equal(num_holders(w, name), 1);
		assert_string_equal(do_read(w, name), name);
	}
	for (i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(do_unlink(w, name), 0);
		assert_int_equal(do_unlink(w, name), ENOENT);
		assert_string_equal(world_where(w, name), "");
		assert_null(do_read(w, name));
	}
	assert_string_equal(do_list(w, ""), "");
	/* what is kept of the root: one descriptor a member, and the spine's */
	assert_true(world_count_fds() <= fds + w->shape.num_members + 1);
}

static void files_are_on_one_member_each(void **state)
{
	on_all_pools(files);
}

static void directories(struct world *w)
{
	struct stat st;
	size_t member;

	assert_int_equal(do_mkdir(w, "d", 0750), 0);
	assert_int_equal(do_mkdir(w, "d", 0750), EEXIST);
	assert_int_equal(do_create(w, "d", ""), EEXIST);
	assert_int_equal(world_where(w, "d")[0], 's');
	assert_int_equal(num_holders(w, "d"), 1);
	assert_int_equal(do_stat(w, "d", &member, &st), 0);
	assert_true(member == MRMR_IN_SPINE);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0750);

	assert_int_equal(do_mkdir(w, "d/e", 0700), 0);
	assert_int_equal(do_create(w, "d/e/f", "deep"), 0);
	assert_int_equal(do_create(w, "d/f", "x"), 0);
	assert_string_equal(do_list(w, ""), "d/");
	assert_string_equal(do_list(w, "d"), "e/ f");
	assert_string_equal(do_list(w, "d/e"), "f");
	assert_string_equal(do_read(w, "d/e/f"), "deep");

	assert_int_equal(do_rmdir(w, "d/f"), ENOTDIR);
	assert_int_equal(do_rmdir(w, "d"), ENOTEMPTY);
	assert_int_equal(do_rmdir(w, "d/e"), ENOTEMPTY);
	assert_int_equal(do_unlink(w, "d"), EISDIR);
	assert_int_equal(do_rmdir(w, "none"), ENOENT);
	assert_int_equal(do_create(w, "none/f", ""), ENOENT);
	assert_int_equal(do_create(w, "d/f/f", ""), ENOTDIR);

	assert_int_equal(do_unlink(w, "d/e/f"), 0);
	assert_int_equal(do_rmdir(w, "d/e"), 0);
	assert_int_equal(do_unlink(w, "d/f"), 0);
	assert_int_equal(do_rmdir(w, "d"), 0);
	assert_string_equal(world_where(w, "d"), "");
	assert_int_equal(do_rmdir(w, "d"), ENOENT);
}

static void directories_are_in_the_spine_and_on_members(void **state)
{
	on_all_pools(directories);
}

static void special_files(struct world *w)
{
	char text[64] = "";
	struct stat st;
	size_t member;
	int fd;

	assert_int_equal(do_symlink(w, "to/nowhere", "link"), 0);
	assert_int_equal(do_symlink(w, "else", "link"), EEXIST);
	assert_int_equal(num_holders(w, "link"), 1);
	assert_int_equal(do_stat(w, "link", &member, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(readlink(world_member(w, member, "link"), text,
				  sizeof(text) - 1),
			 10);
	assert_string_equal(text, "to/nowhere");
	assert_int_equal(do_open(w, "link", O_RDONLY), -1);
	assert_int_equal(errno, ELOOP);
	fd = do_open(w, "link", O_PATH);
	assert_return_code(fd, errno);
	close(fd);

	assert_int_equal(do_mknod(w, "pipe", S_IFIFO | 0640, 0), 0);
	assert_int_equal(do_mknod(w, "pipe", S_IFIFO | 0640, 0), EEXIST);
	assert_int_equal(do_stat(w, "pipe", &member, &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(do_mknod(w, "null", S_IFCHR | 0600, makedev(1, 3)), 0);
	assert_int_equal(do_stat(w, "null", &member, &st), 0);
	assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));

	assert_string_equal(do_list(w, ""), "link null pipe");
	assert_int_equal(do_rename(w, "link", "kink"), 0);
	assert_int_equal(do_rename(w, "null", "pipe"), 0);
	assert_string_equal(do_list(w, ""), "kink pipe");
	assert_int_equal(do_unlink(w, "kink"), 0);
	assert_int_equal(do_unlink(w, "pipe"), 0);
	assert_string_equal(do_list(w, ""), "");
}

static void symlinks_and_nodes_are_files(void **state)
{
	on_all_pools(special_files);
}

static void hard_links(struct world *w)
{
	struct stat a;
	struct stat b;
	size_t member_a;
	size_t member_b;
	unsigned int i;
	char from[32];
	char to[32];

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	for (i = 0; i < 20; i++) {
		snprintf(from, sizeof(from), "f%u", i);
		snprintf(to, sizeof(to), "d/l%u", i);
		assert_int_equal(do_create(w, from, from), 0);
		assert_int_equal(do_link(w, from, to), 0);
		assert_int_equal(do_link(w, from, to), EEXIST);
		assert_int_equal(do_stat(w, from, &member_a, &a), 0);
		assert_int_equal(do_stat(w, to, &member_b, &b), 0);
		assert_int_equal(member_a, member_b);
		assert_int_equal(a.st_ino, b.st_ino);
		assert_int_equal(a.st_nlink, 2);
		assert_int_equal(do_unlink(w, from), 0);
		assert_string_equal(do_read(w, to), from);
	}
	assert_int_equal(do_link(w, "d", "e"), EPERM);
	assert_int_equal(do_link(w, "none", "e"), ENOENT);
	assert_int_equal(do_link(w, "d/l1", "d"), EEXIST);
}

static void hard_links_stay_on_their_member(void **state)
{
	on_all_pools(hard_links);
}

static void rename_files(struct world *w)
{
	unsigned int i;
	char from[32];
	char to[32];

	assert_int_equal(do_mkdir(w, "a", 0755), 0);
	assert_int_equal(do_mkdir(w, "b", 0755), 0);
	for (i = 0; i < 20; i++) {
		struct stat st;
		size_t before;
		size_t after;

		snprintf(from, sizeof(from), "a/f%u", i);
		snprintf(to, sizeof(to), "b/t%u", i);
		assert_int_equal(do_create(w, from, from), 0);
		assert_int_equal(do_stat(w, from, &before, &st), 0);
		assert_int_equal(do_rename(w, from, to), 0);
		assert_string_equal(world_where(w, from), "");
		assert_int_equal(do_stat(w, to, &after, &st), 0);
		assert_int_equal(before, after);
		assert_string_equal(do_read(w, to), from);
		assert_int_equal(do_rename(w, from, to), ENOENT);
		assert_int_equal(do_rename(w, to, to), 0);
	}
	/* one onto the other, wherever they are */
	for (i = 1; i < 20; i++) {
		snprintf(from, sizeof(from), "b/t%u", i - 1);
		snprintf(to, sizeof(to), "b/t%u", i);
		assert_int_equal(do_rename(w, from, to), 0);
		assert_string_equal(world_where(w, from), "");
		assert_int_equal(num_holders(w, to), 1);
		assert_string_equal(do_read(w, to), "a/f0");
	}
	assert_string_equal(do_list(w, "b"), "t19");
	assert_int_equal(do_rename(w, "b/t19", "a"), EISDIR);
	assert_int_equal(do_rename(w, "a", "b/t19"), ENOTDIR);
	assert_int_equal(do_rename(w, "b/t19", "none/x"), ENOENT);
	assert_string_equal(do_read(w, "b/t19"), "a/f0");
	assert_int_equal(world_trashed(w, 0, "t19"), 0);
}

static void files_are_renamed_within_their_member(void **state)
{
	on_all_pools(rename_files);
}

static void rename_directories(struct world *w)
{
	unsigned int i;
	char path[64];

	assert_int_equal(do_mkdir(w, "a", 0755), 0);
	assert_int_equal(do_mkdir(w, "a/sub", 0755), 0);
	assert_int_equal(do_mkdir(w, "other", 0755), 0);
	assert_int_equal(do_mkdir(w, "other/deep", 0755), 0);
	for (i = 0; i < 30; i++) {
		snprintf(path, sizeof(path), "a/sub/f%u", i);
		assert_int_equal(do_create(w, path, path), 0);
	}
	assert_int_equal(do_rename(w, "a", "b"), 0);
	assert_string_equal(world_where(w, "a"), "");
	assert_string_equal(do_list(w, ""), "b/ other/");
	assert_int_equal(do_rename(w, "b", "other/deep/c"), 0);
	assert_string_equal(world_where(w, "b"), "");
	for (i = 0; i < 30; i++) {
		char was[64];

		snprintf(was, sizeof(was), "a/sub/f%u", i);
		snprintf(path, sizeof(path), "other/deep/c/sub/f%u", i);
		assert_int_equal(num_holders(w, path), 1);
		assert_string_equal(do_read(w, path), was);
	}
	assert_int_equal(do_rename(w, "other", "other/deep/c/x"), EINVAL);
	assert_int_equal(do_rename(w, "other", "other"), 0);
	assert_int_equal(do_rename(w, "other/deep", "othe"), 0);
	assert_int_equal(do_rename(w, "othe", "other"), EEXIST);
	assert_int_equal(do_rename(w, "othe", "other/"), EINVAL);
	assert_string_equal(do_list(w, "othe/c"), "sub/");
	assert_int_equal(do_mkdir(w, "new", 0755), 0);
	assert_int_equal(do_rename(w, "new", "othe/c/sub/f1"), ENOTDIR);
	assert_int_equal(do_rename(w, "none", "othe/c/sub/f1"), ENOENT);
}

static void directories_are_renamed_everywhere(void **state)
{
	on_all_pools(rename_directories);
}

/* Each is on the last member only, so that the first ones are asked in vain. */
static void found_wherever(struct world *w)
{
	size_t last = w->shape.num_members - 1;

	world_write(world_member(w, last, "x/y/z"), "there");
	world_write(world_member(w, last, "w"), "root");
	assert_int_equal(do_where(w, "x/y/z"), last);
	assert_string_equal(do_read(w, "x/y/z"), "there");
	assert_string_equal(do_read(w, "w"), "root");
	assert_int_equal(world_where(w, "x/y")[0], 's');
	assert_int_equal(do_create(w, "x/y/z", ""), EEXIST);
	assert_int_equal(do_mkdir(w, "x/y", 0755), EEXIST);
	assert_int_equal(do_symlink(w, "a", "w"), EEXIST);
	assert_string_equal(do_list(w, "x"), "y/");
	assert_int_equal(do_rename(w, "x/y", "moved"), 0);
	assert_string_equal(do_read(w, "moved/z"), "there");
	assert_int_equal(do_rename(w, "moved/z", "w"), 0);
	assert_string_equal(do_read(w, "w"), "there");
	assert_int_equal(do_rmdir(w, "moved"), 0);
	assert_int_equal(do_rmdir(w, "x"), 0);
	assert_string_equal(do_list(w, ""), "w");
}

static void what_only_one_member_has_is_found(void **state)
{
	on_all_pools(found_wherever);
}

/* What the pool does on its own account it does as root; what the user asks for
   is done, and refused, in his name. */
static void as_a_user(struct world *w)
{
	size_t last = w->shape.num_members - 1;
	struct stat st;
	size_t member;
	unsigned int i;
	char path[64];

	assert_return_code(chmod(world_spine(w, ""), 0777), errno);
	world_later(w);
	do_list(w, "");
	world_user(1000);
	assert_int_equal(do_mkdir(w, "d", 0700), 0);
	assert_int_equal(do_mkdir(w, "d/e", 0750), 0);
	for (i = 0; i < 30; i++) {
		snprintf(path, sizeof(path), "d/e/f%u", i);
		assert_int_equal(do_create(w, path, path), 0);
		assert_int_equal(do_stat(w, path, &member, &st), 0);
		assert_int_equal(st.st_uid, 1000);
		assert_int_equal(st.st_gid, 1000);
		assert_return_code(stat(world_drive(w, member, "d/e"), &st),
				   errno);
		assert_int_equal(st.st_uid, 1000);
		assert_int_equal(st.st_mode & 07777, 0750);
	}
	assert_int_equal(do_rename(w, "d/e/f1", "d/e/f2"), 0);
	assert_int_equal(do_rename(w, "d/e", "e"), 0);
	assert_string_equal(do_read(w, "e/f2"), "d/e/f1");
	world_user(0);
	world_write(world_member(w, last, "e/f3"), "loser, or replaced");
	world_later(w);
	world_user(1000);
	assert_int_equal(do_unlink(w, "e/f3"), 0);
	assert_string_equal(world_where(w, "e/f3"), "");
	assert_int_equal(do_rmdir(w, "d"), 0);
	/* another may not even look */
	world_user(1001);
	assert_int_equal(do_stat(w, "e/f2", &member, &st), EACCES);
	assert_int_equal(do_create(w, "e/g", ""), EACCES);
	assert_int_equal(do_rename(w, "e/f2", "mine"), EACCES);
	assert_int_equal(do_unlink(w, "e/f2"), EACCES);
	assert_null(do_read(w, "e/f2"));
	assert_int_equal(do_rmdir(w, "e"), ENOTEMPTY);
	world_user(0);
	assert_string_equal(do_read(w, "e/f2"), "d/e/f1");
}

static void users_have_their_own_rights(void **state)
{
	on_all_pools(as_a_user);
}

/* --- duplicates ------------------------------------------------------------ */

static struct world *three(void)
{
	return world_new(&(struct world_shape){.num_members = 3});
}

static void first_member_wins(void **state)
{
	struct world *w = three();

	world_write(world_member(w, 1, "f"), "one");
	world_write(world_member(w, 2, "f"), "two");
	assert_string_equal(do_list(w, ""), "f");
	assert_string_equal(do_read(w, "f"), "one");
	assert_int_equal(do_create(w, "f", ""), EEXIST);
	world_write(world_member(w, 0, "f"), "zero");
	assert_string_equal(do_list(w, ""), "f");
	assert_string_equal(do_read(w, "f"), "zero");
	assert_string_equal(world_where(w, "f"), "012");
	world_free(w);
}

static void unlink_puts_losers_in_the_trash(void **state)
{
	struct world *w = three();

	world_write(world_member(w, 0, "d/f"), "zero");
	world_write(world_member(w, 1, "d/f"), "one");
	world_write(world_member(w, 2, "d/f"), "two");
	assert_string_equal(do_list(w, "d"), "f");
	world_log();
	assert_int_equal(do_unlink(w, "d/f"), 0);
	assert_string_equal(world_where(w, "d/f"), "");
	assert_string_equal(do_list(w, "d"), "");
	assert_int_equal(world_trashed(w, 0, "f"), 0);
	assert_int_equal(world_trashed(w, 1, "f"), 1);
	assert_int_equal(world_trashed(w, 2, "f"), 1);
	assert_non_null(strstr(world_log(), "d/f"));
	world_free(w);
}

static void rename_takes_losers_along(void **state)
{
	struct world *w = three();

	world_write(world_member(w, 0, "f"), "zero");
	world_write(world_member(w, 2, "f"), "two");
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	assert_int_equal(do_rename(w, "f", "d/g"), 0);
	assert_string_equal(world_where(w, "f"), "");
	assert_string_equal(world_where(w, "d/g"), "02");
	assert_string_equal(world_read(world_member(w, 0, "d/g")), "zero");
	assert_string_equal(world_read(world_member(w, 2, "d/g")), "two");
	assert_int_equal(world_trashed(w, 2, "g"), 0);
	world_free(w);
}

static void replacing_puts_losers_in_the_trash(void **state)
{
	struct world *w = three();

	world_write(world_member(w, 1, "new"), "new");
	world_write(world_member(w, 0, "f"), "zero");
	world_write(world_member(w, 1, "f"), "one");
	world_write(world_member(w, 2, "f"), "two");
	assert_int_equal(do_rename(w, "new", "f"), 0);
	assert_string_equal(world_where(w, "f"), "1");
	assert_string_equal(do_read(w, "f"), "new");
	/* what was shown is replaced; what lost is kept, also on the member of
	   the new file */
	assert_int_equal(world_trashed(w, 0, "f"), 0);
	assert_int_equal(world_trashed(w, 1, "f"), 1);
	assert_int_equal(world_trashed(w, 2, "f"), 1);
	world_free(w);
}

static void replacing_a_shown_file_on_the_same_member(void **state)
{
	struct world *w = three();

	world_write(world_member(w, 1, "new"), "new");
	world_write(world_member(w, 1, "f"), "one");
	world_write(world_member(w, 2, "f"), "two");
	assert_int_equal(do_rename(w, "new", "f"), 0);
	assert_string_equal(world_where(w, "f"), "1");
	assert_string_equal(do_read(w, "f"), "new");
	assert_int_equal(world_trashed(w, 1, "f"), 0);
	assert_int_equal(world_trashed(w, 2, "f"), 1);
	world_free(w);
}

static void a_user_without_rights_moves_no_loser(void **state)
{
	struct world *w = three();

	world_write(world_member(w, 0, "f"), "zero");
	world_write(world_member(w, 1, "f"), "one");
	world_write(world_member(w, 1, "g"), "g");
	world_user(1000);
	assert_int_equal(do_unlink(w, "f"), EACCES);
	assert_int_equal(do_rename(w, "f", "h"), EACCES);
	assert_int_equal(do_rename(w, "g", "f"), EACCES);
	world_user(0);
	assert_string_equal(world_where(w, "f"), "01");
	assert_string_equal(world_where(w, "g"), "1");
	assert_string_equal(world_where(w, "h"), "");
	assert_int_equal(world_trashed(w, 1, "f"), 0);
	world_free(w);
}

static void a_directory_hides_files_of_its_name(void **state)
{
	struct world *w = three();

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	assert_int_equal(do_create(w, "d/f", "x"), 0);
	world_write(world_member(w, 1, "d"), "a file");
	world_later(w);
	assert_string_equal(do_list(w, ""), "d/");
	assert_int_equal(do_where(w, "d"), SIZE_MAX); /* MRMR_IN_SPINE */
	assert_string_equal(do_list(w, "d"), "f");
	assert_int_equal(do_create(w, "d/g", "y"), 0);
	assert_string_equal(do_read(w, "d/g"), "y");
	assert_string_equal(world_read(world_member(w, 1, "d")), "a file");
	world_free(w);
}

/* --- `.mrmr` --------------------------------------------------------------- */

static void private_directory_is_unreachable(void **state)
{
	static const char *const names[] = {".mrmr", ".MRMR", ".Mrmr", ".mRmR"};
	struct world *w = three();
	struct stat st;
	size_t member;
	size_t i;

	assert_int_equal(do_create(w, "f", ""), 0);
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char below[64];
		char around[64];

		snprintf(below, sizeof(below), "%s/config.json", names[i]);
		snprintf(around, sizeof(around), "./%s/./config.json",
			 names[i]);
		assert_int_equal(do_stat(w, names[i], &member, &st), ENOENT);
		assert_int_equal(do_open(w, names[i], O_RDONLY), -1);
		assert_int_equal(errno, ENOENT);
		assert_int_equal(do_open(w, names[i], O_PATH | O_DIRECTORY),
				 -1);
		assert_int_equal(errno, ENOENT);
		assert_int_equal(do_stat(w, below, &member, &st), ENOENT);
		assert_int_equal(do_stat(w, around, &member, &st), ENOENT);
		assert_int_equal(do_create(w, names[i], ""), EACCES);
		assert_int_equal(do_create(w, below, ""), ENOENT);
		assert_int_equal(do_mkdir(w, names[i], 0755), EACCES);
		assert_int_equal(do_symlink(w, "a", names[i]), EACCES);
		assert_int_equal(do_mknod(w, names[i], S_IFIFO, 0), EACCES);
		assert_int_equal(do_link(w, "f", names[i]), EACCES);
		assert_int_equal(do_rename(w, "f", names[i]), EACCES);
		assert_int_equal(do_rename(w, "d", names[i]), EACCES);
		assert_int_equal(do_rename(w, names[i], "mine"), ENOENT);
		assert_int_equal(do_unlink(w, names[i]), ENOENT);
		assert_int_equal(do_rmdir(w, names[i]), ENOENT);
	}
	assert_string_equal(do_list(w, ""), "d/ f");
	assert_int_equal(do_open(w, "d/../.mrmr", O_PATH), -1);
	assert_int_equal(errno, EXDEV);
	/* only the root has it: below, it is a name like any other */
	assert_int_equal(do_mkdir(w, "d/.mrmr", 0755), 0);
	assert_int_equal(do_create(w, "d/.mrmr/config.json", "mine"), 0);
	assert_string_equal(do_list(w, "d"), ".mrmr/");
	assert_int_equal(do_rename(w, "d/.mrmr", ".mrmr"), EACCES);
	world_free(w);
}

/* As on FAT, where .mrmr is also MRMR~1: here, a bind mount plays that part. */
static void private_directory_is_known_by_its_inode(void **state)
{
	struct world *w = three();
	struct stat st;
	size_t member;

	/* the same inode under another name: renamed for a moment */
	assert_return_code(rename(world_member(w, 1, ".mrmr"),
				  world_member(w, 1, "MRMR~1")),
			   errno);
	assert_int_equal(do_stat(w, "MRMR~1", &member, &st), ENOENT);
	assert_int_equal(do_open(w, "MRMR~1", O_PATH), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(do_stat(w, "MRMR~1/config.json", &member, &st),
			 ENOENT);
	assert_int_equal(do_create(w, "MRMR~1/x", ""), ENOENT);
	assert_int_equal(do_rename(w, "MRMR~1", "mine"), ENOENT);
	assert_string_equal(do_list(w, ""), "");
	assert_return_code(rename(world_member(w, 1, "MRMR~1"),
				  world_member(w, 1, ".mrmr")),
			   errno);
	world_free(w);
}

/* --- macOS's other halves -------------------------------------------------- */

static void other_half_joins_its_file(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 12,
				      .config = ", \"placement\": \"spread\""});
	unsigned int i;
	char name[32];
	char half[32];

	for (i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		snprintf(half, sizeof(half), "._f%u", i);
		assert_int_equal(do_create(w, name, ""), 0);
		assert_int_equal(do_create(w, half, ""), 0);
		assert_int_equal(do_where(w, name), do_where(w, half));
	}
	/* alone, and of a directory: anywhere */
	assert_int_equal(do_create(w, "._alone", ""), 0);
	assert_int_equal(do_create(w, "._", ""), 0);
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	assert_int_equal(do_create(w, "._d", ""), 0);
	world_free(w);
}

/* --- strange names --------------------------------------------------------- */

static void names_of_every_byte(void **state)
{
	struct world *w = three();
	unsigned int c;

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	for (c = 1; c < 256; c++) {
		char dir[16];
		char file[32];
		char moved[16];

		if (c == '/') {
			continue;
		}
		snprintf(dir, sizeof(dir), "d/%cx%c", (char)c, (char)c);
		snprintf(moved, sizeof(moved), "d/y%c", (char)c);
		snprintf(file, sizeof(file), "%s/%c", moved,
			 c == '.' ? '_' : (char)c);
		assert_int_equal(do_mkdir(w, dir, 0755), 0);
		assert_int_equal(do_rename(w, dir, moved), 0);
		assert_int_equal(do_create(w, file, moved), 0);
		assert_string_equal(do_read(w, file), moved);
		assert_int_equal(num_holders(w, file), 1);
		assert_int_equal(do_unlink(w, file), 0);
		assert_int_equal(do_rmdir(w, moved), 0);
	}
	assert_int_equal(do_create(w, "d/x (deleted)", "no"), 0);
	assert_string_equal(do_read(w, "d/x (deleted)"), "no");
	assert_int_equal(do_mkdir(w, "d (deleted)", 0755), 0);
	assert_int_equal(do_create(w, "d (deleted)/x", "yes"), 0);
	assert_string_equal(do_list(w, "d (deleted)"), "x");
	world_free(w);
}

static void names_of_255_bytes(void **state)
{
	struct world *w = three();
	char name[260];
	char path[600];

	memset(name, 'n', sizeof(name));
	name[255] = '\0';
	assert_int_equal(do_mkdir(w, name, 0755), 0);
	snprintf(path, sizeof(path), "%s/%s", name, name);
	assert_int_equal(do_create(w, path, "long"), 0);
	assert_string_equal(do_read(w, path), "long");
	assert_string_equal(do_list(w, name), name);
	assert_int_equal(do_rename(w, path, "short"), 0);
	assert_int_equal(do_rename(w, "short", path), 0);
	assert_int_equal(do_rename(w, name, "d"), 0);
	assert_int_equal(do_rename(w, "d", name), 0);
	/* a loser of that name, into the trash */
	world_write(world_member(w, (do_where(w, path) + 1) % 3, path), "lost");
	world_later(w);
	assert_int_equal(do_unlink(w, path), 0);
	assert_string_equal(world_where(w, path), "");

	name[255] = 'n';
	name[256] = '\0';
	assert_int_equal(do_mkdir(w, name, 0755), ENAMETOOLONG);
	assert_int_equal(do_create(w, name, ""), ENAMETOOLONG);
	assert_int_equal(do_rename(w, "none", name), ENAMETOOLONG);
	snprintf(path, sizeof(path), "%s/x", name);
	assert_int_equal(do_create(w, path, ""), ENAMETOOLONG);
	world_free(w);
}

/* As deep as the kernel can tell a path; then a clear error. */
static void deep_paths_up_to_the_limit(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3,
				      .config = ", \"placement\": \"spread\""});
	char path[MRMR_PATH_MAX + 64] = "";
	unsigned int depth = 0;
	int error = 0;

	while (error == 0) {
		size_t len = strlen(path);

		strcat(path, len > 0 ? "/abcdefghi" : "abcdefghi");
		error = do_mkdir(w, path, 0755);
		if (error != 0) {
			path[len] = '\0';
		}
		depth++;
	}
	assert_int_equal(error, ENAMETOOLONG);
	assert_true(depth > 350);
	/* short ones still fit, and bring their parents to all members */
	strcat(path, "/f");
	assert_int_equal(do_create(w, path, "deep"), 0);
	assert_string_equal(do_read(w, path), "deep");
	assert_int_equal(do_rename(w, "abcdefghi", "a"), 0);
	memmove(path + 1, path + 9, strlen(path + 9) + 1);
	assert_string_equal(do_read(w, path), "deep");
	/* both ends of a rename far away from each other */
	assert_int_equal(do_create(w, "top", "top"), 0);
	assert_int_equal(do_rename(w, "top", path), 0);
	assert_string_equal(do_read(w, path), "top");
	assert_int_equal(do_rename(w, path, "top"), 0);
	assert_string_equal(do_read(w, "top"), "top");
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_on_one_member_each),
		cmocka_unit_test(directories_are_in_the_spine_and_on_members),
		cmocka_unit_test(symlinks_and_nodes_are_files),
		cmocka_unit_test(hard_links_stay_on_their_member),
		cmocka_unit_test(files_are_renamed_within_their_member),
		cmocka_unit_test(directories_are_renamed_everywhere),
		cmocka_unit_test(what_only_one_member_has_is_found),
		cmocka_unit_test(users_have_their_own_rights),
		cmocka_unit_test(first_member_wins),
		cmocka_unit_test(unlink_puts_losers_in_the_trash),
		cmocka_unit_test(rename_takes_losers_along),
		cmocka_unit_test(replacing_puts_losers_in_the_trash),
		cmocka_unit_test(replacing_a_shown_file_on_the_same_member),
		cmocka_unit_test(a_user_without_rights_moves_no_loser),
		cmocka_unit_test(a_directory_hides_files_of_its_name),
		cmocka_unit_test(private_directory_is_unreachable),
		cmocka_unit_test(private_directory_is_known_by_its_inode),
		cmocka_unit_test(other_half_joins_its_file),
		cmocka_unit_test(names_of_every_byte),
		cmocka_unit_test(names_of_255_bytes),
		cmocka_unit_test(deep_paths_up_to_the_limit),
	};

	return WORLD_MAIN("union: names", tests);
}
