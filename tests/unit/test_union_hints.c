/*
 * Unit tests: what is remembered of names and times for a moment is never more
 * than a hint: what other processes do is seen at once, and what is done behind
 * the pool's back after a second or at the next listing.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/shared.h>

#include "world.h"

/* A second process of the pool of w. */
static struct mrmr_pool *other_process(struct world *w)
{
	struct mrmr_pool *ours = w->pool;
	struct mrmr_pool *other = NULL;

	world_open_in_child(w);
	other = w->pool;
	w->pool = ours;
	return other;
}

/* Does fd lead to this file? */
static bool is_file(int fd, const char *path)
{
	struct stat a;
	struct stat b;

	assert_return_code(fd, errno);
	assert_return_code(fstat(fd, &a), errno);
	assert_return_code(close(fd), errno);
	assert_return_code(lstat(path, &b), errno);
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static void a_file_that_left_is_found(void **state)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 3});

	world_write(world_member(w, 2, "d/f"), "two");
	assert_string_equal(do_read(w, "d/f"), "two");
	assert_int_equal(mrmr_dir_hinted(do_dir(w, "d"), "f"), 2);
	assert_return_code(unlink(world_member(w, 2, "d/f")), errno);
	world_write(world_member(w, 1, "d/f"), "one");
	world_later(w); /* member 1's directory is looked for again */
	mrmr_dir_hint(do_dir(w, "d"), "f", 2);
	assert_string_equal(do_read(w, "d/f"), "one");
	assert_int_equal(do_where(w, "d/f"), 1);
	assert_int_equal(mrmr_dir_hinted(do_dir(w, "d"), "f"), 1);

	assert_return_code(unlink(world_member(w, 1, "d/f")), errno);
	assert_int_equal(do_open(w, "d/f", O_RDONLY), -1);
	assert_int_equal(errno, ENOENT);
	world_free(w);
}

/* Another process removes a file and makes a directory of that name. */
static void a_directory_takes_the_place_of_a_file(void **state)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 3});
	struct mrmr_pool *ours = w->pool;
	struct mrmr_pool *other = NULL;
	struct stat st;
	size_t member;

	world_write(world_member(w, 2, "d/x"), "a file");
	assert_string_equal(do_list(w, "d"), "x");
	other = other_process(w);
	assert_string_equal(do_read(w, "d/x"), "a file");

	w->pool = other;
	assert_int_equal(do_unlink(w, "d/x"), 0);
	assert_int_equal(do_mkdir(w, "d/x", 0755), 0);
	assert_return_code(mkdir(world_member(w, 2, "d/x"), 0755), errno);
	w->pool = ours;

	assert_int_equal(mrmr_dir_hinted(do_dir(w, "d"), "x"), 2);
	assert_true(is_file(do_open(w, "d/x", O_PATH), world_spine(w, "d/x")));
	assert_int_equal(do_stat(w, "d/x", &member, &st), 0);
	assert_true(member == MRMR_IN_SPINE);
	assert_true(S_ISDIR(st.st_mode));
	talloc_free(other);
	world_free(w);
}

/* A lookup that has begun before the directory was made in an empty one. */
static void a_directory_is_made_in_a_flat_one(void **state)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 2});
	struct mrmr_pool *other = NULL;
	struct mrmr_pool *ours = w->pool;
	struct mrmr_dir *dir = NULL;
	struct stat st;
	size_t member;

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	other = other_process(w);
	dir = do_dir(w, "d");
	assert_true(dir->is_flat);
	w->pool = other;
	assert_int_equal(do_mkdir(w, "d/x", 0755), 0);
	w->pool = ours;
	assert_true(dir->is_flat);
	assert_return_code(mrmr_name_find(dir, "x", &member, &st), errno);
	assert_true(member == MRMR_IN_SPINE);
	assert_true(is_file(mrmr_name_open(dir, "x",
					   O_PATH | O_NOFOLLOW | O_CLOEXEC,
					   &member, &st),
			    world_spine(w, "d/x")));
	assert_true(member == MRMR_IN_SPINE);
	assert_false(do_dir(w, "d")->is_flat);
	talloc_free(other);
	world_free(w);
}

/* The first in the order of the config wins. */
static void a_copy_behind_our_back(void **state)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 3});

	world_write(world_member(w, 0, "d/other"), "");
	world_write(world_member(w, 1, "d/f"), "one");
	world_write(world_member(w, 1, "d/g"), "one");
	assert_string_equal(do_list(w, "d"), "f g other");
	assert_string_equal(do_read(w, "d/f"), "one");
	assert_string_equal(do_read(w, "d/g"), "one");
	world_write(world_member(w, 0, "d/f"), "zero");
	world_write(world_member(w, 0, "d/g"), "zero");
	world_later(w);
	assert_string_equal(do_read(w, "d/f"), "zero");

	mrmr_dir_hint(do_dir(w, "d"), "g", 1);
	assert_string_equal(do_list(w, "d"), "f g other");
	assert_string_equal(do_read(w, "d/g"), "zero");

	/* who removes or renames does not go by hints */
	mrmr_dir_hint(do_dir(w, "d"), "g", 1);
	assert_int_equal(do_unlink(w, "d/g"), 0);
	assert_string_equal(world_where(w, "d/g"), "");
	assert_int_equal(world_trashed(w, 1, "g"), 1);
	assert_int_equal(world_trashed(w, 0, "g"), 0);
	mrmr_dir_hint(do_dir(w, "d"), "f", 1);
	assert_int_equal(do_rename(w, "d/f", "d/h"), 0);
	assert_string_equal(world_where(w, "d/f"), "");
	assert_string_equal(do_read(w, "d/h"), "zero");
	world_free(w);
}

static void a_member_that_went_is_not_asked(void **state)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 2});

	world_write(world_member(w, 1, "d/f"), "one");
	assert_string_equal(do_read(w, "d/f"), "one");
	world_unplug(w, 1);
	world_later(w);
	mrmr_dir_hint(do_dir(w, "d"), "f", 1);
	assert_int_equal(do_open(w, "d/f", O_RDONLY), -1);
	assert_int_equal(errno, ENOENT);
	world_plug(w, 1);
	world_later(w);
	assert_true(mrmr_dir_hinted(do_dir(w, "d"), "f") == SIZE_MAX);
	assert_string_equal(do_read(w, "d/f"), "one");
	world_free(w);
}

static struct timespec newest_mtime(struct world *w, const char *path)
{
	struct stat st;

	assert_return_code(stat(world_spine(w, path), &st), errno);
	st.st_mtim = (struct timespec){0};
	mrmr_dir_newest_times(do_dir(w, path), &st);
	return st.st_mtim;
}

static void set_mtime(const char *path, time_t seconds)
{
	struct timespec ts[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};

	assert_return_code(utimensat(AT_FDCWD, path, ts, 0), errno);
}

static void a_directorys_times_are_seen_to_change(void **state)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 2});
	struct mrmr_pool *other = NULL;
	struct mrmr_pool *ours = w->pool;

	world_write(world_member(w, 0, "d/f"), "");
	world_write(world_member(w, 1, "d/g"), "");
	assert_string_equal(do_list(w, "d"), "f g");
	other = other_process(w);
	set_mtime(world_member(w, 0, "d"), 1000);
	set_mtime(world_member(w, 1, "d"), 2000);
	do_list(w, "d");
	assert_int_equal(newest_mtime(w, "d").tv_sec, 2000);

	/* another process of the pool: at once */
	w->pool = other;
	assert_int_equal(do_unlink(w, "d/f"), 0);
	w->pool = ours;
	assert_true(newest_mtime(w, "d").tv_sec > 2000);

	/* this one */
	set_mtime(world_member(w, 0, "d"), 1000);
	do_list(w, "d");
	assert_int_equal(newest_mtime(w, "d").tv_sec, 2000);
	assert_int_equal(do_rename(w, "d/g", "d/f"), 0);
	assert_true(newest_mtime(w, "d").tv_sec > 2000);

	/* somebody else: a second later */
	set_mtime(world_member(w, 1, "d"), 2000);
	world_later(w);
	assert_int_equal(newest_mtime(w, "d").tv_sec, 2000);
	set_mtime(world_member(w, 1, "d"), 3000);
	world_later(w);
	assert_int_equal(newest_mtime(w, "d").tv_sec, 3000);
	talloc_free(other);
	world_free(w);
}

/* --- after changes of two processes, at random ----------------------------- */

static struct stat newest_of(struct world *w, const char *path)
{
	struct stat st = {0};

	mrmr_dir_newest_times(do_dir(w, path), &st);
	return st;
}

static bool is_newer(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec ||
	       (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* What is remembered, and what the members say. */
static void check_times(struct world *w, const char *path)
{
	struct stat told = newest_of(w, path);
	struct stat newest = {0};
	size_t i;

	for (i = 0; i < w->shape.num_members; i++) {
		struct stat st;

		if (stat(world_member(w, i, path), &st) == -1) {
			continue;
		}
		if (is_newer(&st.st_mtim, &newest.st_mtim)) {
			newest.st_mtim = st.st_mtim;
		}
		if (is_newer(&st.st_ctim, &newest.st_ctim)) {
			newest.st_ctim = st.st_ctim;
		}
	}
	assert_true(is_same_time(&told.st_mtim, &newest.st_mtim));
	assert_true(is_same_time(&told.st_ctim, &newest.st_ctim));
}

/* Of two names of one file: no time changes by it, but another process has
   changed something on another member just before. */
static void a_change_by_others_is_not_taken_for_ones_own(void **state)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 2});
	struct mrmr_pool *ours = w->pool;
	struct mrmr_pool *other = NULL;

	world_write(world_member(w, 0, "d/a"), "");
	world_write(world_member(w, 1, "d/g"), "");
	assert_string_equal(do_list(w, "d"), "a g");
	assert_int_equal(do_link(w, "d/a", "d/b"), 0);
	other = other_process(w);
	set_mtime(world_member(w, 0, "d"), 1000);
	set_mtime(world_member(w, 1, "d"), 1000);
	assert_string_equal(do_list(w, "d"), "a b g");
	check_times(w, "d");
	w->pool = other;
	assert_int_equal(do_unlink(w, "d/g"), 0);
	w->pool = ours;
	assert_int_equal(do_rename(w, "d/a", "d/b"), 0);
	assert_true(world_there(world_member(w, 0, "d/a")));
	assert_true(newest_of(w, "d").st_mtim.tv_sec > 1000);
	check_times(w, "d");
	talloc_free(other);
	world_free(w);
}

static uint64_t lots = 88172645463325252u;

static unsigned int lot(unsigned int n)
{
	lots ^= lots << 13;
	lots ^= lots >> 7;
	lots ^= lots << 17;
	return (unsigned int)((lots >> 20) % n);
}

static void lot_of_a_name(char name[8])
{
	snprintf(name, 8, "%c/%c", "de"[lot(2)], "xyz"[lot(3)]);
}

/* False if it was done behind the pool's back: then it must be listed. */
static bool change_something(struct world *w)
{
	char name[8];
	char to[8];

	lot_of_a_name(name);
	lot_of_a_name(to);
	switch (lot(7)) {
	case 0:
		do_unlink(w, name);
		break;
	case 1:
		do_rename(w, name, to);
		break;
	case 2:
		do_link(w, name, to);
		break;
	case 3:
		do_mkdir(w, name, 0755);
		break;
	case 4:
		do_rmdir(w, name);
		break;
	case 5:
		/* a copy that loses, or wins */
		if (do_where(w, name) < 3) {
			world_write(world_member(w, lot(3), name), "copy");
		}
		return false;
	default:
		do_create(w, name, "new");
		break;
	}
	return true;
}

static void directorys_times_are_those_of_its_clones(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3,
				      .config = ", \"placement\": \"spread\""});
	struct mrmr_pool *pools[2] = {w->pool, other_process(w)};
	unsigned int i;

	do_mkdir(w, "d", 0755);
	do_mkdir(w, "e", 0755);
	for (i = 0; i < 3; i++) {
		world_write(world_member(w, i, "d/old"), "");
		world_write(world_member(w, i, "e/old"), "");
	}
	for (i = 0; i < 3000; i++) {
		bool is_behind;
		unsigned int n;

		w->pool = pools[lot(2)];
		is_behind = !change_something(w);
		for (n = 0; n < 2; n++) {
			w->pool = pools[n];
			if (is_behind) {
				do_list(w, "d");
				do_list(w, "e");
			}
			if (lot(3) != 0) {
				check_times(w, "d");
				check_times(w, "e");
			}
		}
	}
	w->pool = pools[0];
	talloc_free(pools[1]);
	world_free(w);
}

/* --- paths ------------------------------------------------------------------ */

static void check_path(struct mrmr_dir *dir, const char *path)
{
	char told[MRMR_PATH_MAX];

	assert_return_code(mrmr_dir_path(dir, told), errno);
	assert_string_equal(told, path);
	/* what is remembered now */
	assert_return_code(mrmr_dir_path(dir, told), errno);
	assert_string_equal(told, path);
}

static void a_directorys_path_follows_it(void **state)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 2});
	struct mrmr_pool *ours = w->pool;
	struct mrmr_pool *other = NULL;
	struct mrmr_dir *dir = NULL;
	char path[MRMR_PATH_MAX];

	assert_int_equal(do_mkdir(w, "a", 0755), 0);
	assert_int_equal(do_mkdir(w, "a/b", 0755), 0);
	other = other_process(w);
	dir = do_dir(w, "a/b");
	dir->pins++;
	check_path(dir, "a/b");

	/* this process renames it, and what is above it */
	assert_int_equal(do_rename(w, "a/b", "a/c"), 0);
	check_path(dir, "a/c");
	assert_int_equal(do_rename(w, "a", "e"), 0);
	check_path(dir, "e/c");

	/* another one */
	w->pool = other;
	assert_int_equal(do_rename(w, "e/c", "e/f"), 0);
	w->pool = ours;
	check_path(dir, "e/f");
	w->pool = other;
	assert_int_equal(do_rename(w, "e", "g"), 0);
	w->pool = ours;
	check_path(dir, "g/f");

	/* another one, in the middle of it: the spine has been renamed */
	atomic_fetch_or(&ours->shared->tree_gen, 1);
	check_path(dir, "g/f");
	assert_return_code(rename(world_spine(w, "g"), world_spine(w, "h")),
			   errno);
	check_path(dir, "h/f");
	assert_return_code(rename(world_spine(w, "h"), world_spine(w, "g")),
			   errno);
	check_path(dir, "g/f");
	atomic_fetch_add(&ours->shared->tree_gen, 1);
	check_path(dir, "g/f");

	/* somebody else: a second later */
	assert_return_code(rename(world_spine(w, "g"), world_spine(w, "h")),
			   errno);
	world_later(w);
	check_path(dir, "h/f");
	assert_return_code(rename(world_spine(w, "h"), world_spine(w, "g")),
			   errno);
	world_later(w);
	check_path(dir, "g/f");

	w->pool = other;
	assert_int_equal(do_rmdir(w, "g/f"), 0);
	w->pool = ours;
	assert_int_equal(mrmr_dir_path(dir, path), -1);
	assert_int_equal(errno, ENOENT);
	dir->pins--;
	talloc_free(other);
	world_free(w);
}

/* Descriptors of what has no name any more. */
static unsigned int num_removed_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry = NULL;
	unsigned int num = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		char target[4096] = "";

		if (readlinkat(dirfd(dir), entry->d_name, target,
			       sizeof(target) - 1) > 0 &&
		    strstr(target, " (deleted)") != NULL) {
			num++;
		}
	}
	closedir(dir);
	return num;
}

/* Another process removes a directory that this one has in mind, and has no
   reason to look at any more. */
static void removed_directories_are_let_go(void **state)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 2});
	unsigned int before;
	int status = 0;
	pid_t pid;

	world_write(world_member(w, 0, "d/sub/f"), "");
	unlink(world_member(w, 0, "d/sub/f"));
	world_write(world_member(w, 0, "e/f"), "");
	world_write(world_member(w, 1, "e/g"), "");
	assert_string_equal(do_list(w, "d/sub"), "");
	assert_string_equal(do_list(w, "e"), "f g");
	before = num_removed_open();
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		world_open_in_child(w);
		_exit(do_rmdir(w, "d/sub"));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* and somebody a clone, on its member */
	unlink(world_member(w, 1, "e/g"));
	assert_return_code(rmdir(world_member(w, 1, "e")), errno);
	assert_int_equal(num_removed_open(), before + 3);
	world_later(w);
	world_use(w);
	assert_int_equal(num_removed_open(), before);
	assert_string_equal(do_list(w, "e"), "f");
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_that_left_is_found),
		cmocka_unit_test(a_directory_takes_the_place_of_a_file),
		cmocka_unit_test(a_directory_is_made_in_a_flat_one),
		cmocka_unit_test(a_copy_behind_our_back),
		cmocka_unit_test(a_member_that_went_is_not_asked),
		cmocka_unit_test(a_directorys_times_are_seen_to_change),
		cmocka_unit_test(a_change_by_others_is_not_taken_for_ones_own),
		cmocka_unit_test(directorys_times_are_those_of_its_clones),
		cmocka_unit_test(a_directorys_path_follows_it),
		cmocka_unit_test(removed_directories_are_let_go),
	};

	return WORLD_MAIN("union_hints", tests);
}
