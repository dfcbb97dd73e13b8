/*
 * Unit tests: a process that is killed, or gets an error, at any step.
 *
 * Every operation is carried out once for each fault point that it reaches and
 * each time that it reaches it: killed there, in a process of its own, and
 * failing there. Afterwards the share must look as before or as after the
 * operation, never anything else: to a process that opens the pool anew, and to
 * one that had it open all the time. Points are found by trying, so a new one
 * in the core is tested once it is listed here.
 *
 * Needs a build --with-faults.
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
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/dirattr.h>
#include <mrmr/fault.h>
#include <mrmr/move.h>
#include <mrmr/shared.h>

#include "world.h"

static struct {
	const char *name;
	unsigned long reached;
} points[] = {
	{"dir-clone", 0},
	{"directory-copied", 0},
	{"directory-copy", 0},
	{"intent-end", 0},
	{"intent-keep", 0},
	{"intent-name", 0},
	{"intent-sync", 0},
	{"intent-write", 0},
	{"link", 0},
	{"mirror", 0},
	{"mkdir-between", 0},
	{"mkdir-finish", 0},
	{"mkdir-spine", 0},
	{"move-copy", 0},
	{"move-lock", 0},
	{"move-place", 0},
	{"move-rename", 0},
	{"move-unlink", 0},
	{"name-make", 0},
	{"prune", 0},
	{"rename-directory", 0},
	{"rename-file", 0},
	{"rename-loser", 0},
	{"rename-replace", 0},
	{"rename-spine", 0},
	{"rename-trash", 0},
	{"rename-unlink", 0},
	{"replay-end", 0},
	{"replay-rename", 0},
	{"replay-rmdir", 0},
	{"replay-trash", 0},
	{"rmdir-clone", 0},
	{"rmdir-removed", 0},
	{"rmdir-spine", 0},
	{"trash", 0},
	{"unlink", 0},
	{"unlink-loser", 0},
};

#define NUM_POINTS (sizeof(points) / sizeof(points[0]))

/* --- what a client sees ----------------------------------------------------- */

static void view_below(struct world *w, const char *path, char **text)
{
	char *names = strdup(do_list(w, path));
	char *save = NULL;
	char *name = NULL;

	assert_non_null(names);
	for (name = strtok_r(names, " ", &save); name != NULL;
	     name = strtok_r(NULL, " ", &save)) {
		char *full = talloc_asprintf(*text, "%s%s%s", path,
					     path[0] != '\0' ? "/" : "", name);
		size_t len = strlen(full);
		struct stat st;
		size_t member;

		if (mrmr_name_is_unfinished(name)) {
			continue;
		}
		if (full[len - 1] != '/') {
			const char *content = do_read(w, full);

			*text = talloc_asprintf_append(
				*text, "%s=%s ", full,
				content != NULL ? content
						: strerrorname_np(errno));
			continue;
		}
		full[len - 1] = '\0';
		assert_int_equal(do_stat(w, full, &member, &st), 0);
		*text = talloc_asprintf_append(*text, "%s/%o ", full,
					       st.st_mode & 07777);
		view_below(w, full, text);
	}
	free(names);
}

/* All names with the content of files and the mode of directories. */
static char *view(struct world *w)
{
	char *text = talloc_strdup(NULL, "");

	view_below(w, "", &text);
	return text;
}

/* --- what lies on the members ----------------------------------------------- */

struct raw {
	struct world *w;
	bool may_have_copies;
};

static void check_raw_below(struct raw *raw, size_t member, const char *path)
{
	DIR *dir = opendir(world_drive(raw->w, member, path));
	struct dirent *entry = NULL;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		char full[MRMR_PATH_MAX];
		const char *where = NULL;
		struct stat st;

		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0 ||
		    (path[0] == '\0' && strcmp(entry->d_name, ".mrmr") == 0)) {
			continue;
		}
		snprintf(full, sizeof(full), "%s%s%s", path,
			 path[0] != '\0' ? "/" : "", entry->d_name);
		where = world_where(raw->w, full);
		assert_return_code(lstat(world_drive(raw->w, member, full),
					 &st),
				   errno);
		if (S_ISDIR(st.st_mode)) {
			struct stat spine;

			assert_int_equal(where[0], 's');
			assert_return_code(stat(world_spine(raw->w, full),
						&spine),
					   errno);
			assert_int_equal(spine.st_mode, st.st_mode);
			assert_int_equal(spine.st_uid, st.st_uid);
			check_raw_below(raw, member, full);
		} else if (!raw->may_have_copies && strlen(where) != 1) {
			fail_msg("%s is on %s", full, where);
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

/* One file, one place; directories the same everywhere; nothing left over. */
static void check_raw(struct world *w, bool may_have_copies, bool swept)
{
	struct raw raw = {w, may_have_copies};
	size_t m;

	for (m = 0; m < w->shape.num_members; m++) {
		check_raw_below(&raw, m, "");
		if (swept) {
			assert_int_equal(num_entries(
						 world_drive(w, m,
							     ".mrmr/rebuild")),
					 0);
		}
	}
	assert_int_equal(atomic_load(&w->pool->shared->num_intents), 0);
	if (swept) {
		assert_int_equal(num_entries(world_path(w, "state/intents")),
				 0);
		assert_int_equal(num_entries(world_path(w, "state/staging")),
				 0);
	}
}

/* --- operations ------------------------------------------------------------- */

struct operation {
	const char *name;
	void (*prepare)(struct world *w);
	int (*act)(struct world *w); /* 0 or an errno value */
	bool may_have_copies;        /* a name on several members */
	bool looks;                  /* act is what a look at the pool does */
};

static struct world *make_world(const struct operation *operation)
{
	/* The first one takes all that is new, so that things have to be
	   cloned onto the others. */
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3,
				      .sizes = {"32m", "16m", "16m"}});

	world_write(world_member(w, 0, "keep/k0"), "k0");
	world_write(world_member(w, 1, "keep/k1"), "k1");
	operation->prepare(w);
	return w;
}

static void prepare_directories(struct world *w)
{
	world_write(world_member(w, 1, "a/b/f1"), "f1");
	world_write(world_member(w, 2, "c/f2"), "f2");
}

static int act_create(struct world *w)
{
	return do_create(w, "a/b/new", "");
}

static int act_mkdir(struct world *w)
{
	return do_mkdir(w, "a/b/new", 0750);
}

/* As smbd does it since 4.22. */
static int act_mkdir_in_two_steps(struct world *w)
{
	const char *unfinished = MRMR_UNFINISHED_PREFIX "1%2:new";
	struct mrmr_dir *dir = do_dir(w, "a/b");

	if (mrmr_name_begin(dir, unfinished, 0700) == -1) {
		return errno;
	}
	assert_return_code(fchmodat(dir->spine_fd, unfinished, 0750, 0), errno);
	return mrmr_name_finish(dir, unfinished, "new") == 0 ? 0 : errno;
}

static int act_symlink(struct world *w)
{
	return do_symlink(w, "to", "a/b/new");
}

static int act_link(struct world *w)
{
	return do_link(w, "c/f2", "a/b/link");
}

static int act_unlink(struct world *w)
{
	return do_unlink(w, "c/f2");
}

static void prepare_losers(struct world *w)
{
	world_write(world_member(w, 0, "a/f"), "winner");
	world_write(world_member(w, 1, "a/f"), "loser1");
	world_write(world_member(w, 2, "a/f"), "loser2");
}

static int act_unlink_losers(struct world *w)
{
	return do_unlink(w, "a/f");
}

static void prepare_empty_clones(struct world *w)
{
	size_t m;

	for (m = 0; m < 3; m++) {
		world_write(world_member(w, m, "p/d/x"), "x");
		unlink(world_member(w, m, "p/d/x"));
	}
	do_list(w, "p");
}

static int act_rmdir(struct world *w)
{
	return do_rmdir(w, "p/d");
}

static void prepare_empty_away(struct world *w)
{
	prepare_empty_clones(w);
	do_list(w, "p/d");
	world_unplug(w, 2);
	world_later(w);
}

static void prepare_removed_away(struct world *w)
{
	prepare_empty_away(w);
	assert_int_equal(do_rmdir(w, "p/d"), 0);
}

static int act_rename_file(struct world *w)
{
	return do_rename(w, "c/f2", "a/b/g2");
}

static void prepare_replace(struct world *w)
{
	world_write(world_member(w, 0, "a/f"), "old");
	world_write(world_member(w, 1, "a/tmp"), "new");
}

static int act_replace(struct world *w)
{
	return do_rename(w, "a/tmp", "a/f");
}

/* The new file's member comes first in the order: while both are there, it is
   what is shown. */
static void prepare_replace_reverse(struct world *w)
{
	world_write(world_member(w, 0, "a/tmp"), "new");
	world_write(world_member(w, 2, "a/f"), "old");
}

static void prepare_replace_losers(struct world *w)
{
	world_write(world_member(w, 1, "a/tmp"), "new");
	world_write(world_member(w, 2, "a/tmp"), "loser-of-tmp");
	world_write(world_member(w, 0, "a/f"), "old");
	world_write(world_member(w, 1, "a/f"), "loser1-of-f");
	world_write(world_member(w, 2, "a/f"), "loser2-of-f");
}

static void prepare_replace_here(struct world *w)
{
	world_write(world_member(w, 0, "a/tmp"), "new");
	world_write(world_member(w, 0, "a/f"), "old");
	world_write(world_member(w, 1, "a/f"), "loser-of-f");
}

static void prepare_tree(struct world *w)
{
	size_t m;
	char path[64];

	for (m = 0; m < 3; m++) {
		snprintf(path, sizeof(path), "p/d/sub/f%zu", m);
		world_write(world_member(w, m, path), path);
	}
	world_write(world_member(w, 1, "q/r/g"), "g");
}

static int act_rename_tree(struct world *w)
{
	return do_rename(w, "p/d", "q/r/e");
}

static int act_rename_tree_here(struct world *w)
{
	return do_rename(w, "p", "pp");
}

static void prepare_single(struct world *w)
{
	world_write(world_member(w, 1, "p/d/sub/f"), "f");
	world_write(world_member(w, 2, "q/r/g"), "g");
}

/* A member is away and comes back afterwards. */
static void prepare_away(struct world *w)
{
	prepare_tree(w);
	do_list(w, "p/d/sub");
	world_unplug(w, 2);
	world_later(w);
}

static int act_return(struct world *w)
{
	world_plug(w, 2);
	world_later(w);
	return 0;
}

static void prepare_return(struct world *w)
{
	prepare_away(w);
	assert_int_equal(do_rename(w, "p/d", "q/r/e"), 0);
	assert_int_equal(do_rename(w, "q/r", "s"), 0);
	world_write(world_drive(w, 2, "q/r/e/sub/f2"), "in the way");
}

static void prepare_move(struct world *w)
{
	world_write(world_member(w, 1, "p/d/f"), "content");
}

static int act_move(struct world *w)
{
	int fd = open(world_member(w, 1, "p/d/f"), O_RDWR | O_CLOEXEC);
	int new_fd = -1;
	size_t member;
	int error = 0;

	world_use(w);
	if (mrmr_move_file(w->pool, fd, 0, &new_fd, &member) == -1) {
		error = errno;
	} else {
		close(new_fd);
	}
	close(fd);
	return error;
}

static void prepare_strangers(struct world *w)
{
	do_list(w, "");
	world_write(world_member(w, 2, "new/er/f"), "f");
}

static int act_list(struct world *w)
{
	return do_list(w, "") != NULL && do_list(w, "new") != NULL &&
			       do_read(w, "new/er/f") != NULL
		       ? 0
		       : errno;
}

static void prepare_to_vanish(struct world *w)
{
	world_write(world_member(w, 1, "gone/deep/f"), "");
	do_list(w, "gone/deep");
	unlink(world_member(w, 1, "gone/deep/f"));
}

static int act_vanish(struct world *w)
{
	rmdir(world_member(w, 1, "gone/deep"));
	rmdir(world_member(w, 1, "gone"));
	return do_list(w, "") != NULL ? 0 : errno;
}

/* Somebody died in the middle of it; whoever opens the pool finishes it. */
static void die(struct world *w, const char *fault, int (*act)(struct world *w))
{
	pid_t pid = fork();

	assert_return_code(pid, errno);
	if (pid == 0) {
		world_open_in_child(w);
		setenv("MRMR_FAULT", fault, 1);
		act(w);
		_exit(0);
	}
	assert_return_code(waitpid(pid, NULL, 0), errno);
}

static void prepare_dead_replace(struct world *w)
{
	prepare_replace(w);
	die(w, "rename-unlink=kill", act_replace);
}

static void prepare_dead_rename(struct world *w)
{
	prepare_tree(w);
	die(w, "rename-directory#2=kill", act_rename_tree);
}

static void prepare_dead_move(struct world *w)
{
	prepare_move(w);
	die(w, "move-unlink=kill", act_move);
}

static int act_open(struct world *w)
{
	world_close(w);
	world_open(w);
	return 0;
}

static int act_chmod(struct world *w)
{
	struct mrmr_dir *dir = do_dir(w, "p/d");

	assert_return_code(mrmr_dir_lock(dir), errno);
	assert_return_code(fchmod(dir->spine_fd, 0700), errno);
	mrmr_dir_mirror(dir, NULL);
	mrmr_dir_unlock(dir);
	return 0;
}

static const struct operation operations[] = {
	{"create", prepare_directories, act_create, false, false},
	{"mkdir", prepare_directories, act_mkdir, false, false},
	{"mkdir in two steps", prepare_directories, act_mkdir_in_two_steps,
	 false, false},
	{"symlink", prepare_directories, act_symlink, false, false},
	{"link", prepare_directories, act_link, false, false},
	{"unlink", prepare_directories, act_unlink, false, false},
	{"unlink with losers", prepare_losers, act_unlink_losers, true, false},
	{"rmdir", prepare_empty_clones, act_rmdir, false, false},
	{"rmdir, one away", prepare_empty_away, act_rmdir, false, false},
	{"rename a file", prepare_directories, act_rename_file, false, false},
	{"replace", prepare_replace, act_replace, false, false},
	{"replace, shown at once", prepare_replace_reverse, act_replace, false,
	 false},
	{"replace with losers", prepare_replace_losers, act_replace, true,
	 false},
	{"replace on the same member", prepare_replace_here, act_replace, true,
	 false},
	{"rename a directory", prepare_tree, act_rename_tree, false, false},
	{"rename a directory here", prepare_tree, act_rename_tree_here, false,
	 false},
	{"rename a directory of one", prepare_single, act_rename_tree, false,
	 false},
	{"rename while away", prepare_away, act_rename_tree, false, false},
	{"return", prepare_return, act_return, false, true},
	{"return, removed", prepare_removed_away, act_return, false, true},
	{"move", prepare_move, act_move, false, false},
	{"bring in", prepare_strangers, act_list, false, false},
	{"prune", prepare_to_vanish, act_vanish, false, false},
	{"finish a replace", prepare_dead_replace, act_open, false, true},
	{"finish a rename", prepare_dead_rename, act_open, false, true},
	{"finish a move", prepare_dead_move, act_open, false, true},
	{"chmod", prepare_tree, act_chmod, false, false},
	{"chmod while away", prepare_away, act_chmod, false, false},
	{"open", prepare_directories, act_open, false, false},
};

#define NUM_OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* --- all of it -------------------------------------------------------------- */

/* A member that is still away comes back, so that all is seen. */
static void all_plugged(struct world *w)
{
	size_t m;

	for (m = 0; m < w->shape.num_members; m++) {
		if (!world_there(world_member(w, m, ".mrmr"))) {
			world_plug(w, m);
		}
		w->pool->members[m].held_off_until_ns = 0;
	}
	w->pool->finish_again_ns = 0;
	world_later(w);
	assert_true(w->pool->all_online);
}

struct expected {
	char *before;
	char *after;
	unsigned long times[NUM_POINTS]; /* that each point is reached */
};

static unsigned long times_reached(const char *point)
{
#ifdef MRMR_WITH_FAULTS
	return mrmr_fault_times(point);
#else
	return 0;
#endif
}

/* A process that has looked at everything knows what it may know wrongly. */
static void bring_to_mind(struct world *w, const struct operation *operation)
{
	if (operation->act != act_open) {
		talloc_free(view(w));
	}
}

static struct expected expect(const struct operation *operation)
{
	struct expected expected;
	struct world *w = make_world(operation);
	size_t p;

	all_plugged(w);
	expected.before = view(w);
	world_free(w);

	w = make_world(operation);
	bring_to_mind(w, operation);
	setenv("MRMR_FAULT", operation->name, 1); /* none, but counts anew */
	assert_int_equal(operation->act(w), 0);
	for (p = 0; p < NUM_POINTS; p++) {
		expected.times[p] = times_reached(points[p].name);
	}
	unsetenv("MRMR_FAULT");
	all_plugged(w);
	expected.after = view(w);
	check_raw(w, operation->may_have_copies, true);
	world_free(w);
	return expected;
}

static void check_view(struct world *w, const struct operation *operation,
		       const char *fault, const char *a, const char *b)
{
	char *seen = view(w);

	if (strcmp(seen, a) != 0 && strcmp(seen, b) != 0) {
		fail_msg("%s, %s:\n  %s\nis neither\n  %s\nnor\n  %s",
			 operation->name, fault, seen, a, b);
	}
	talloc_free(seen);
}

static void run_killed(const struct operation *operation, const char *fault,
		       const struct expected *expected, bool survivor)
{
	struct world *w = make_world(operation);
	int status = 0;
	pid_t pid;

	bring_to_mind(w, operation);
	if (!survivor) {
		world_close(w);
	}
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		w->pool = NULL;
		if (operation->act != act_open) {
			world_open_in_child(w);
			bring_to_mind(w, operation);
		}
		setenv("MRMR_FAULT", fault, 1);
		operation->act(w);
		_exit(0);
	}
	assert_return_code(waitpid(pid, &status, 0), errno);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		fail_msg("%s, %s: was not killed: %x", operation->name, fault,
			 (unsigned int)status);
	}
	if (survivor) {
		/* What it has in mind must not mislead it, though it does not
		   look at the members now. */
		world_use(w);
		if (w->pool->all_online) {
			check_view(w, operation, fault, expected->before,
				   expected->after);
		} else {
			talloc_free(view(w));
		}
	} else {
		world_open(w);
	}
	all_plugged(w);
	check_view(w, operation, fault, expected->before, expected->after);
	check_raw(w, operation->may_have_copies, !survivor);
	world_free(w);
}

static void run_failing(const struct operation *operation, const char *fault,
			int code, const struct expected *expected)
{
	struct world *w = make_world(operation);
	const char *before = expected->before;
	const char *after = expected->after;
	unsigned int fds;
	int error;

	bring_to_mind(w, operation);
	fds = world_count_fds();
	setenv("MRMR_FAULT", fault, 1);
	error = operation->act(w);
	unsetenv("MRMR_FAULT");
	if (error != 0 && error != code) {
		fail_msg("%s, %s: failed with %s", operation->name, fault,
			 strerrorname_np(error));
	}
	/* The cache may have grown by the descriptors of some directories. */
	assert_true(world_count_fds() < fds + 16);
	if (error != 0) {
		after = before;
	} else if (!operation->looks) {
		before = after;
	}
	all_plugged(w);
	check_view(w, operation, fault, before, after);
	check_raw(w, operation->may_have_copies, false);
	/* another process agrees */
	world_close(w);
	world_open(w);
	check_view(w, operation, fault, before, after);
	check_raw(w, operation->may_have_copies, true);
	world_free(w);
}

static void killed(void **state)
{
	size_t i, p;

	for (i = 0; i < NUM_OPERATIONS; i++) {
		struct expected expected = expect(&operations[i]);

		for (p = 0; p < NUM_POINTS; p++) {
			unsigned long n;

			for (n = 1; n <= expected.times[p]; n++) {
				char fault[64];

				snprintf(fault, sizeof(fault), "%s#%lu=kill",
					 points[p].name, n);
				run_killed(&operations[i], fault, &expected,
					   false);
				run_killed(&operations[i], fault, &expected,
					   true);
			}
			points[p].reached += expected.times[p];
		}
		talloc_free(expected.before);
		talloc_free(expected.after);
	}
	for (p = 0; p < NUM_POINTS; p++) {
		if (points[p].reached == 0) {
			fail_msg("%s was never reached", points[p].name);
		}
	}
}

/* An operation that fails has changed nothing; what is not worth failing for
   is done all the same. */
static void failing(void **state)
{
	size_t i, p;

	for (i = 0; i < NUM_OPERATIONS; i++) {
		struct expected expected = expect(&operations[i]);

		for (p = 0; p < NUM_POINTS; p++) {
			unsigned long n;

			for (n = 1; n <= expected.times[p]; n++) {
				char fault[64];

				snprintf(fault, sizeof(fault), "%s#%lu=EIO",
					 points[p].name, n);
				run_failing(&operations[i], fault, EIO,
					    &expected);
				snprintf(fault, sizeof(fault), "%s#%lu=ENOSPC",
					 points[p].name, n);
				run_failing(&operations[i], fault, ENOSPC,
					    &expected);
			}
		}
		talloc_free(expected.before);
		talloc_free(expected.after);
	}
}

/* Neither done nor undone: the next to come finishes it. */
static void failing_twice(void **state)
{
	static const char *const faults[] = {
		"rename-directory#3=EIO,rename-directory-undo#1=EIO",
		"rename-directory#2=EIO,rename-spine-undo=EIO",
		"rename-directory#3=EIO,rename-directory-undo=EIO,"
		"rename-spine-undo=EIO",
		"rename-directory#3=kill",
	};
	const struct operation operation = {"failing twice", prepare_tree,
					    act_rename_tree, false, false};
	const struct operation replacing = {"failing twice", prepare_replace,
					    act_replace, false, false};
	struct expected expected = expect(&operation);
	struct world *w = NULL;
	size_t i;

	for (i = 0; i < sizeof(faults) / sizeof(faults[0]) - 1; i++) {
		w = make_world(&operation);
		talloc_free(view(w));
		setenv("MRMR_FAULT", faults[i], 1);
		assert_int_equal(act_rename_tree(w), EIO);
		unsetenv("MRMR_FAULT");
		world_use(w);
		check_view(w, &operation, faults[i], expected.before,
			   expected.after);
		check_raw(w, false, false);
		world_free(w);
	}
	talloc_free(expected.before);
	talloc_free(expected.after);

	expected = expect(&replacing);
	w = make_world(&replacing);
	setenv("MRMR_FAULT", "rename-unlink=EIO,rename-undo=EIO", 1);
	assert_int_equal(act_replace(w), EIO);
	unsetenv("MRMR_FAULT");
	world_use(w);
	check_view(w, &replacing, "twice", expected.before, expected.after);
	check_raw(w, false, false);
	world_free(w);
	talloc_free(expected.before);
	talloc_free(expected.after);
}

/* The next rename comes before anybody had time to look. */
static void a_rename_after_a_crash(void **state)
{
	const struct operation operation = {"rename", prepare_tree,
					    act_rename_tree, false, false};
	struct world *w = make_world(&operation);
	struct mrmr_dir *from = NULL;
	struct mrmr_dir *to = NULL;
	pid_t pid;

	talloc_free(view(w));
	from = do_dir(w, "q/r");
	to = do_dir(w, "");
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		world_open_in_child(w);
		setenv("MRMR_FAULT", "rename-directory#2=kill", 1);
		act_rename_tree(w);
		_exit(0);
	}
	assert_return_code(waitpid(pid, NULL, 0), errno);
	/* as one that had begun already, and waited for the lock */
	assert_return_code(mrmr_name_rename(from, "e", to, "z"), errno);
	world_use(w);
	assert_string_equal(do_list(w, "z/sub"), "f0 f1 f2");
	check_raw(w, false, false);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed),
		cmocka_unit_test(failing),
		cmocka_unit_test(failing_twice),
		cmocka_unit_test(a_rename_after_a_crash),
	};

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] union: crashes: this build has no fault "
		      "points; configure --with-faults\n");
	return tests[0].test_func == NULL;
#endif
	return WORLD_MAIN("union: crashes", tests);
}
