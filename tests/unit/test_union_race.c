/*
 * Unit tests: several processes at once on the same names.
 *
 * Each is a process of its own with a pool of its own, as smbds are. Whatever
 * they do, no name is made twice, no file is lost or doubled, nobody waits for
 * ever, and afterwards members and spine agree.
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
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/listing.h>
#include <mrmr/log.h>
#include <mrmr/shared.h>

#include "world.h"

#define RUN_NS (INT64_C(1500) * 1000000)
#define MAX_PROCESSES 4
#define MAX_TOKENS 4096

/* What all processes see. */
static struct {
	_Atomic unsigned int ready;
	_Atomic unsigned int go;
	_Atomic unsigned int made[MAX_TOKENS]; /* times it was made */
	_Atomic unsigned int tried[MAX_TOKENS];
	_Atomic unsigned int next;
	_Atomic unsigned int stop;
	_Atomic unsigned long done;
	char trouble[4096];
} * common;

static void common_reset(void)
{
	if (common == NULL) {
		common = mmap(NULL, sizeof(*common), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(common, MAP_FAILED);
	}
	memset(common, 0, sizeof(*common));
}

/* A child's assertion: the parent reports it. */
static void trouble(const char *what, const char *path, int error)
{
	snprintf(common->trouble, sizeof(common->trouble), "%s %s: %s", what,
		 path, error != 0 ? strerrorname_np(error) : "");
	atomic_store(&common->stop, 1);
	_exit(1);
}

/* --- lots ------------------------------------------------------------------ */

static uint64_t lots;

static unsigned int lot(unsigned int n)
{
	lots ^= lots << 13;
	lots ^= lots >> 7;
	lots ^= lots << 17;
	return (unsigned int)((lots >> 20) % n);
}

/* --- processes ------------------------------------------------------------- */

static pid_t start(struct world *w, unsigned int number,
		   void (*work)(struct world *w, unsigned int number))
{
	pid_t pid = fork();

	assert_return_code(pid, errno);
	if (pid == 0) {
		alarm(60); /* a deadlock */
		lots = 88172645463325252u * (number + 1) + (uint64_t)getpid();
		mrmr_log_to(NULL);
		world_open_in_child(w);
		atomic_fetch_add(&common->ready, 1);
		while (atomic_load(&common->go) == 0) {
			usleep(100);
		}
		work(w, number);
		_exit(0);
	}
	return pid;
}

static void finish(pid_t pid)
{
	int status;

	assert_return_code(waitpid(pid, &status, 0), errno);
	if (common->trouble[0] != '\0') {
		fail_msg("%s", common->trouble);
	}
	if (status != 0) {
		fail_msg("a process ended with status %x",
			 (unsigned int)status);
	}
}

static bool time_is_up(void)
{
	static int64_t end;

	if (end == 0) {
		end = mrmr_now_ns() + RUN_NS;
	}
	return mrmr_now_ns() >= end || atomic_load(&common->stop) != 0;
}

static void run(struct world *w, unsigned int num_processes,
		void (*work)(struct world *w, unsigned int number))
{
	pid_t pids[MAX_PROCESSES];
	unsigned int i;

	world_close(w);
	for (i = 0; i < num_processes; i++) {
		pids[i] = start(w, i, work);
	}
	while (atomic_load(&common->ready) < num_processes) {
		usleep(1000);
	}
	atomic_store(&common->go, 1);
	for (i = 0; i < num_processes; i++) {
		finish(pids[i]);
	}
	world_open(w);
}

/* --- afterwards ------------------------------------------------------------ */

/* One name, one place; the spine has all directories, and no files. */
static void check_below(struct world *w, size_t member, const char *path)
{
	const char *full = member == MRMR_IN_SPINE
				   ? world_spine(w, path)
				   : world_drive(w, member, path);
	struct dirent *entry = NULL;
	DIR *dir = opendir(full);

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		const char *where = NULL;
		char below[2048];
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0 ||
		    strcmp(entry->d_name, ".mrmr") == 0) {
			continue;
		}
		snprintf(below, sizeof(below), "%s%s%s", path,
			 path[0] != '\0' ? "/" : "", entry->d_name);
		where = world_where(w, below);
		assert_return_code(fstatat(dirfd(dir), entry->d_name, &st,
					   AT_SYMLINK_NOFOLLOW),
				   errno);
		if (S_ISDIR(st.st_mode)) {
			if (where[0] != 's') {
				fail_msg("%s is on %s only", below, where);
			}
			check_below(w, member, below);
		} else if (where[0] == 's' || strlen(where) != 1) {
			fail_msg("%s is on %s", below, where);
		}
	}
	closedir(dir);
}

static unsigned int num_entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned int count = 0;

	while (dir != NULL && readdir(dir) != NULL) {
		count++;
	}
	if (dir != NULL) {
		closedir(dir);
		count -= 2;
	}
	return count;
}

static void check_all(struct world *w)
{
	size_t m;

	for (m = 0; m < w->shape.num_members; m++) {
		check_below(w, m, "");
		assert_int_equal(num_entries(
					 world_drive(w, m, ".mrmr/rebuild")),
				 0);
		assert_int_equal(num_entries(world_drive(w, m, ".mrmr/trash")),
				 0);
	}
	check_below(w, MRMR_IN_SPINE, "");
	assert_int_equal(num_entries(world_path(w, "state/intents")), 0);
	assert_int_equal(num_entries(world_path(w, "state/staging")), 0);
	assert_int_equal(atomic_load(&w->pool->shared->num_intents), 0);
	assert_int_equal(atomic_load(&w->pool->shared->tree_gen) & 1, 0);
}

static struct world *spreading(void)
{
	common_reset();
	return world_new(
		&(struct world_shape){.num_members = 4,
				      .config = ", \"placement\": \"spread\""});
}

/* --- one name, one winner --------------------------------------------------- */

#define NUM_NAMES 1500

static void make_same_names(struct world *w, unsigned int number)
{
	unsigned int i;

	for (i = 0; i < NUM_NAMES; i++) {
		char path[64];
		int error;

		/* all at once, as far as it can be had */
		atomic_fetch_add(&common->tried[i], 1);
		while (atomic_load(&common->tried[i]) <
			       atomic_load(&common->ready) &&
		       atomic_load(&common->stop) == 0) {
			sched_yield();
		}
		snprintf(path, sizeof(path), "d%u/n%u", i / 100, i);
		switch (i % 5) {
		case 0:
			error = do_mkdir(w, path, 0755);
			break;
		case 1:
			error = do_symlink(w, "x", path);
			break;
		default:
			error = do_create(w, path, "");
			break;
		}
		if (error == 0) {
			atomic_fetch_add(&common->made[i], 1);
		} else if (error != EEXIST) {
			trouble("make", path, error);
		}
	}
}

static void made_once(unsigned int num_processes)
{
	struct world *w = spreading();
	unsigned int i;
	char path[64];

	for (i = 0; i < NUM_NAMES / 100; i++) {
		snprintf(path, sizeof(path), "d%u", i);
		assert_int_equal(do_mkdir(w, path, 0755), 0);
	}
	run(w, num_processes, make_same_names);
	for (i = 0; i < NUM_NAMES; i++) {
		if (common->made[i] != 1) {
			fail_msg("name %u was made %u times", i,
				 common->made[i]);
		}
	}
	check_all(w);
	world_free(w);
}

static void two_make_the_same_names(void **state)
{
	made_once(2);
}

static void four_make_the_same_names(void **state)
{
	made_once(4);
}

/* --- everything at once ----------------------------------------------------- */

static void random_path(char path[64])
{
	static const char *const dirs[] = {"",     "a/",   "b/",
					   "a/s/", "b/s/", "c/"};

	snprintf(path, 64, "%s%c", dirs[lot(6)], "abcstuv"[lot(7)]);
}

static void do_anything(struct world *w, unsigned int number)
{
	char path[64];
	char other[64];

	while (!time_is_up()) {
		int error = 0;

		random_path(path);
		random_path(other);
		switch (lot(12)) {
		case 0:
		case 1:
		case 2:
			error = do_create(w, path, "content");
			break;
		case 3:
			error = do_unlink(w, path);
			break;
		case 4:
		case 5:
			error = do_mkdir(w, path, 0755);
			break;
		case 6:
			error = do_rmdir(w, path);
			break;
		case 7:
		case 8:
		case 9:
			error = do_rename(w, path, other);
			break;
		case 10:
			error = do_link(w, path, other);
			break;
		default:
			if (do_read(w, path) == NULL) {
				error = errno;
			}
			break;
		}
		switch (error) {
		case 0:
		case ENOENT:
		case EEXIST:
		case ENOTEMPTY:
		case ENOTDIR:
		case EISDIR:
		case EINVAL:
		case EPERM: /* a link to a directory */
			break;
		default:
			trouble(path, other, error);
		}
		atomic_fetch_add(&common->done, 1);
	}
}

static void anything(unsigned int num_processes)
{
	struct world *w = spreading();

	run(w, num_processes, do_anything);
	assert_true(common->done > 200);
	/* bring in and prune what was left in between */
	do_list(w, "");
	check_all(w);
	world_free(w);
}

static void two_do_anything(void **state)
{
	anything(2);
}

static void four_do_anything(void **state)
{
	anything(4);
}

/* --- no file is lost -------------------------------------------------------- */

/*
 * Files with names of their own, which are only made and moved about, in
 * directories that are moved about as well.
 */
static void carry_tokens(struct world *w, unsigned int number)
{
	static const char *const dirs[] = {"a",   "b",   "c", "a/x",
					   "b/x", "c/x", "d"};
	char path[64];
	char other[64];

	while (!time_is_up()) {
		unsigned int token;
		int error;

		if (lot(4) == 0) {
			snprintf(path, sizeof(path), "%s", dirs[lot(7)]);
			snprintf(other, sizeof(other), "%s", dirs[lot(7)]);
			error = lot(3) == 0 ? do_mkdir(w, path, 0755)
					    : do_rename(w, path, other);
		} else if (lot(3) == 0 &&
			   atomic_load(&common->next) < MAX_TOKENS) {
			token = atomic_fetch_add(&common->next, 1);
			if (token >= MAX_TOKENS) {
				continue;
			}
			snprintf(path, sizeof(path), "%s/t%u", dirs[lot(7)],
				 token);
			/* If we die in the middle, nobody knows. */
			atomic_store(&common->tried[token], 1);
			error = do_create(w, path, "");
			if (error == 0) {
				atomic_store(&common->made[token], 1);
			}
		} else {
			unsigned int limit = atomic_load(&common->next);

			if (limit == 0) {
				continue;
			}
			token = lot(limit > MAX_TOKENS ? MAX_TOKENS : limit);
			snprintf(path, sizeof(path), "%s/t%u", dirs[lot(7)],
				 token);
			snprintf(other, sizeof(other), "%s/t%u", dirs[lot(7)],
				 token);
			error = do_rename(w, path, other);
		}
		switch (error) {
		case 0:
		case ENOENT:
		case EEXIST:
		case ENOTEMPTY:
		case ENOTDIR:
		case EINVAL:
			break;
		default:
			trouble(path, other, error);
		}
		atomic_fetch_add(&common->done, 1);
	}
}

static void count_tokens_below(struct world *w, size_t member, const char *path,
			       unsigned int *found)
{
	DIR *dir = opendir(world_drive(w, member, path));
	struct dirent *entry = NULL;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		char below[2048];
		unsigned int token;

		if (entry->d_name[0] == '.') {
			continue;
		}
		if (sscanf(entry->d_name, "t%u", &token) == 1) {
			assert_true(token < MAX_TOKENS);
			found[token]++;
			continue;
		}
		snprintf(below, sizeof(below), "%s%s%s", path,
			 path[0] != '\0' ? "/" : "", entry->d_name);
		count_tokens_below(w, member, below, found);
	}
	closedir(dir);
}

static void check_tokens(struct world *w, bool some_died)
{
	unsigned int *found = calloc(MAX_TOKENS, sizeof(found[0]));
	unsigned int count = 0;
	unsigned int i;
	size_t m;

	assert_non_null(found);
	for (m = 0; m < w->shape.num_members; m++) {
		count_tokens_below(w, m, "", found);
	}
	for (i = 0; i < MAX_TOKENS; i++) {
		bool may_be = some_died && common->tried[i] != 0 &&
			      common->made[i] == 0 && found[i] == 1;

		if (found[i] != common->made[i] && !may_be) {
			fail_msg("file %u is there %u times, not %u", i,
				 found[i], common->made[i]);
		}
		count += found[i];
	}
	assert_true(count > 20);
	free(found);
}

/* Every file that is there is also seen. */
static unsigned int count_seen(struct world *w, const char *path)
{
	char *names = strdup(do_list(w, path));
	char *save = NULL;
	char *name = NULL;
	unsigned int count = 0;

	for (name = strtok_r(names, " ", &save); name != NULL;
	     name = strtok_r(NULL, " ", &save)) {
		char below[256];
		size_t len;

		snprintf(below, sizeof(below), "%s%s%s", path,
			 path[0] != '\0' ? "/" : "", name);
		len = strlen(below);
		if (below[len - 1] == '/') {
			below[len - 1] = '\0';
			count += count_seen(w, below);
		} else {
			assert_int_not_equal(do_where(w, below), SIZE_MAX);
			count++;
		}
	}
	free(names);
	return count;
}

static unsigned int num_made(void)
{
	unsigned int count = 0;
	unsigned int i;

	for (i = 0; i < MAX_TOKENS; i++) {
		count += common->made[i];
	}
	return count;
}

static void no_file_is_lost(void **state)
{
	struct world *w = spreading();

	run(w, 4, carry_tokens);
	assert_int_equal(count_seen(w, ""), num_made());
	check_tokens(w, false);
	check_all(w);
	world_free(w);
}

/* The same, and every now and then one of them is killed; the others go on. */
static void no_file_is_lost_when_some_die(void **state)
{
	struct world *w = spreading();
	pid_t pids[MAX_PROCESSES];
	int64_t end;
	unsigned int number;
	unsigned int killed = 0;

	world_close(w);
	atomic_store(&common->go, 1);
	for (number = 0; number < MAX_PROCESSES; number++) {
		pids[number] = start(w, number, carry_tokens);
	}
	lots = 12345 + (uint64_t)getpid();
	end = mrmr_now_ns() + 2 * RUN_NS;
	while (mrmr_now_ns() < end && common->trouble[0] == '\0') {
		unsigned int victim = lot(MAX_PROCESSES);
		int status;

		usleep(5000 + lot(20000));
		kill(pids[victim], SIGKILL);
		assert_return_code(waitpid(pids[victim], &status, 0), errno);
		pids[victim] = start(w, number++, carry_tokens);
		killed++;
	}
	atomic_store(&common->stop, 1);
	for (number = 0; number < MAX_PROCESSES; number++) {
		finish(pids[number]);
	}
	assert_true(killed > 20);
	world_open(w);
	count_seen(w, "");
	check_tokens(w, true);
	check_all(w);
	world_free(w);
}

/* The same, and a drive comes and goes. */
static void no_file_is_lost_when_a_drive_leaves(void **state)
{
	struct world *w = spreading();
	pid_t pids[MAX_PROCESSES];
	int64_t end;
	unsigned int number;
	size_t m;

	world_close(w);
	atomic_store(&common->go, 1);
	for (number = 0; number < MAX_PROCESSES; number++) {
		pids[number] = start(w, number, carry_tokens);
	}
	end = mrmr_now_ns() + RUN_NS;
	while (mrmr_now_ns() < end && common->trouble[0] == '\0') {
		usleep(50000);
		world_unplug(w, 3);
		usleep(100000);
		world_plug(w, 3);
	}
	atomic_store(&common->stop, 1);
	for (number = 0; number < MAX_PROCESSES; number++) {
		finish(pids[number]);
	}
	world_open(w);
	for (m = 0; m < w->shape.num_members; m++) {
		assert_int_equal(w->pool->members[m].state, MRMR_MEMBER_ONLINE);
	}
	count_seen(w, "");
	check_tokens(w, false);
	check_all(w);
	world_free(w);
}

/* --- always there ----------------------------------------------------------- */

/* Safe saving, as editors do: the first writes a new file and renames it onto
   the old one, wherever both are. The others must find one or the other. */
static void replace_or_look(struct world *w, unsigned int number)
{
	unsigned int round = 0;

	while (!time_is_up()) {
		struct mrmr_dir *dir = NULL;
		struct mrmr_listing *listing = NULL;
		const char *content = NULL;
		bool listed = false;
		size_t i;

		if (number == 0) {
			int error = do_create(w, "d/tmp", "whole");

			if (error == 0) {
				error = do_rename(w, "d/tmp", "d/file");
			}
			if (error != 0) {
				trouble("replace", "d/file", error);
			}
			atomic_fetch_add(&common->done, 1);
			continue;
		}
		content = do_read(w, "d/file");
		if (content == NULL || strcmp(content, "whole") != 0) {
			trouble("read", "d/file", content == NULL ? errno : 0);
		}
		if (do_where(w, "d/file") == SIZE_MAX) {
			trouble("find", "d/file", errno);
		}
		if (++round % 4 != 0) {
			continue;
		}
		dir = do_dir(w, "d");
		listing = mrmr_listing_new(NULL, dir);
		if (listing == NULL) {
			trouble("list", "d", errno);
		}
		for (i = 0; i < mrmr_listing_count(listing); i++) {
			struct mrmr_listing_entry entry =
				mrmr_listing_get(listing, i);

			listed = listed || strcmp(entry.name, "file") == 0;
		}
		talloc_free(listing);
		if (!listed) {
			trouble("list", "d/file", 0);
		}
	}
}

static void a_file_that_is_replaced_is_always_there(void **state)
{
	struct world *w = spreading();

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	assert_int_equal(do_create(w, "d/file", "whole"), 0);
	run(w, 3, replace_or_look);
	assert_true(common->done > 50);
	assert_string_equal(do_list(w, "d"), "file");
	check_all(w);
	world_free(w);
}

/* The first renames a directory, on all members one after the other; the
   others must not take a file below it for missing, and make it again. */
static void rename_above_or_make(struct world *w, unsigned int number)
{
	bool there = false;
	int fd = -1;

	if (number > 0) {
		/* it goes back and forth meanwhile */
		while (fd == -1 && !time_is_up()) {
			fd = open(world_spine(w,
					      lot(2) == 0 ? "x/sub" : "y/sub"),
				  O_PATH | O_DIRECTORY);
		}
		if (fd == -1) {
			trouble("open", "sub", errno);
		}
	}
	while (!time_is_up()) {
		struct mrmr_dir *dir = NULL;
		struct stat st;
		size_t member;
		int error;

		if (number == 0) {
			error = do_rename(w, there ? "y" : "x",
					  there ? "x" : "y");
			if (error != 0) {
				trouble("rename", "x", error);
			}
			there = !there;
			atomic_fetch_add(&common->done, 1);
			continue;
		}
		world_use(w);
		dir = mrmr_dir_get(w->pool, fd);
		if (dir == NULL) {
			trouble("get", "sub", errno);
		}
		mrmr_dir_forget(dir, SIZE_MAX);
		if (mrmr_name_find(dir, "f3", &member, &st) == -1) {
			trouble("find", "f3", errno);
		}
		mrmr_dir_forget(dir, SIZE_MAX);
		if (mrmr_name_create(dir, "f3", O_WRONLY, 0644, 0, &member) !=
			    -1 ||
		    errno != EEXIST) {
			trouble("make", "f3", errno);
		}
	}
}

static void a_file_below_what_is_renamed_is_always_there(void **state)
{
	struct world *w = spreading();
	size_t m;

	for (m = 0; m < 4; m++) {
		char path[32];

		snprintf(path, sizeof(path), "x/sub/f%zu", m);
		world_write(world_member(w, m, path), path);
	}
	assert_string_equal(do_list(w, "x/sub"), "f0 f1 f2 f3");
	run(w, 3, rename_above_or_make);
	assert_true(common->done > 50);
	check_all(w);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_make_the_same_names),
		cmocka_unit_test(four_make_the_same_names),
		cmocka_unit_test(two_do_anything),
		cmocka_unit_test(four_do_anything),
		cmocka_unit_test(no_file_is_lost),
		cmocka_unit_test(no_file_is_lost_when_some_die),
		cmocka_unit_test(no_file_is_lost_when_a_drive_leaves),
		cmocka_unit_test(a_file_that_is_replaced_is_always_there),
		cmocka_unit_test(a_file_below_what_is_renamed_is_always_there),
	};

	return WORLD_MAIN("union: races", tests);
}
