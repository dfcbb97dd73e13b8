/*
 * Unit tests: the protector: what is given up, stripes that are not as the pool is
 * now, and having one run.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/protection.h>
#include <mrmr/scrub.h>
#include <mrmr/shared.h>
#include <mrmr/trash.h>
#include <mrmr/undo.h>

#include "two_each.h"

/* --- what was given up ------------------------------------------------------------ */

struct until_idle {
	struct world *w;
	uint64_t passes; /* that have ended before */
};

static bool is_idle(void *private_data)
{
	const struct until_idle *u = private_data;

	return atomic_load(&u->w->pool->shared->protect.passes_ended) >
	       u->passes;
}

/* As smbd has it run, with a settle time of an hour, until it has nothing to do
   but to wait. */
static struct mrmr_protect_result protect_behind(struct world *w)
{
	struct until_idle u = {
		.w = w,
		.passes = atomic_load(&w->pool->shared->protect.passes_ended),
	};
	const struct mrmr_protect_options options = {
		.background = true,
		.settle_ns = INT64_C(3600000000000),
		.should_stop = is_idle,
		.private_data = &u,
	};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_protect_result result;
	struct mrmr_error err = {0};

	if (mrmr_protect(engine, &options, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	talloc_free(engine);
	return result;
}

/* is_written: the client goes on writing, so that the file is never quiet.
   is_told: of a change as well, after that. */
static void check_lost_by_a_cut(bool is_written, bool is_told)
{
	struct world *w = two_each_new("1", ", \"undo_max_bytes\": \"1M\"");
	struct mrmr_protect_result result;
	struct mrmr_undo *undo = NULL;
	bool lost = false;
	int fd;

	client_write_on(w, 0, "big", 1, 6 << 20);
	client_write_on(w, 1, "a", 2, 3 << 20);
	client_write_on(w, 2, "b", 3, 3 << 20);
	protect(w);
	fd = do_open(w, "big", O_RDWR);
	assert_return_code(mrmr_undo_open(NULL, w->pool, fd, &undo), errno);
	assert_return_code(mrmr_undo_keep_cut(undo, BLOCK, &lost), errno);
	if (!lost) {
		/* the file system shares blocks: nothing is given up */
		talloc_free(undo);
		close(fd);
		world_free(w);
		return;
	}
	assert_return_code(ftruncate(fd, BLOCK), errno);
	client_tell(w, "big", MRMR_EVENT_LOST);
	if (is_told) {
		client_tell(w, "big", MRMR_EVENT_CHANGED);
	}
	result = is_written ? protect_behind(w) : protect(w);
	/* still open, but nothing depends on what it had; one that is not quiet
	   is not asked again whether it is open, should there be time for that */
	assert_true(is_written || result.open_files == 1);
	verify(w, "a", 2, 3 << 20, 1);
	verify(w, "b", 3, 3 << 20, 1);
	verify_decodable(w);
	talloc_free(undo);
	close(fd);
	client_tell(w, "big", MRMR_EVENT_CHANGED);
	protect(w);
	verify(w, "big", 1, BLOCK, 1);
	verify_tidy(w);
	world_free(w);
}

static void what_is_lost_by_a_cut_leaves_at_once(void **state)
{
	(void)state;
	check_lost_by_a_cut(false, false);
}

static void also_while_it_is_written(void **state)
{
	(void)state;
	check_lost_by_a_cut(true, false);
}

static void also_when_it_has_changed_since(void **state)
{
	(void)state;
	check_lost_by_a_cut(false, true);
}

/* --- stripes that are not as the pool is -------------------------------------------- */

static void more_rows_and_fewer(void **state)
{
	static const char *const parities[] = {"2", "3", "1"};
	struct world *w = two_each_new("1", "");
	unsigned int i;

	(void)state;
	two_each_make(w);
	protect(w);
	two_each_verify(w, 0, 1);
	for (i = 0; i < 3; i++) {
		struct mrmr_protect_result result;

		world_close(w);
		w->shape.parity = parities[i];
		world_open(w);
		result = protect(w);
		assert_true(result.mended_stripes > 0);
		assert_int_equal(result.protected_bytes, 0);
		two_each_verify(w, 0, (unsigned int)atoi(parities[i]));
		verify_tidy(w);
		assert_int_equal(protect(w).mended_stripes, 0);
	}
	world_free(w);
}

/* What is changed while a member is away may get fewer rows than it should: they
   come when the member is back, and nobody has to ask. */
static void rows_come_when_the_member_is_back(void **state)
{
	struct world *w = two_each_new("2", "");
	unsigned int turn;

	(void)state;
	two_each_make(w);
	protect(w);
	for (turn = 0; turn < 2; turn++) {
		world_unplug(w, 3);
		world_later(w);
		client_overwrite(w, "f0", 100 + turn, BLOCK, BLOCK / 2);
		client_write_on(w, 1, "new", 50 + turn, 3 * BLOCK);
		protect(w);
		world_plug(w, 3);
		world_later(w);
		assert_true(protect(w).mended_stripes > 0);
		verify(w, "new", 50 + turn, 3 * BLOCK, 2);
		two_each_verify(w, 1, 2);
		assert_int_equal(protect(w).mended_stripes, 0);
		assert_int_equal(do_unlink(w, "new"), 0);
		protect(w);
	}
	world_free(w);
}

#ifdef MRMR_WITH_FAULTS

static void killed_while_it_mends(void **state)
{
	static const char *const faults[] = {
		"mend-done=kill",   "mend-committed=kill", "blob-write#2=kill",
		"blob-remove=kill", "catalog-commit=kill",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct world *w = two_each_new("1", "");

		two_each_make(w);
		protect(w);
		world_close(w);
		w->shape.parity = "2";
		world_open(w);
		if (!protect_killed(w, faults[i])) {
			fail_msg("%s is not reached", faults[i]);
		}
		two_each_verify(w, 0, 1);
		protect(w);
		two_each_verify(w, 0, 2);
		verify_tidy(w);
		world_free(w);
	}
}

#endif

/* --- having one run ------------------------------------------------------------------- */

static const char *write_command(struct world *w, const char *script)
{
	const char *path = world_path(w, "command");
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);

	assert_return_code(fd, errno);
	dprintf(fd, "#!/bin/sh\n%s\n", script);
	close(fd);
	return path;
}

static bool comes(const char *path)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	unsigned int tries;

	for (tries = 0; tries < 500; tries++) {
		struct stat st;

		if (stat(path, &st) == 0 && st.st_size > 0) {
			return true;
		}
		nanosleep(&pause, NULL);
	}
	return false;
}

static void one_is_started(void **state)
{
	struct world *w = two_each_new("1", "");
	const char *out = world_path(w, "out");
	char script[1024];
	struct mrmr_protector_command command = {0};

	(void)state;
	snprintf(script, sizeof(script),
		 "{ id -u; echo \"$@\"; ls /proc/self/fd | wc -l; } >%s.new\n"
		 "mv %s.new %s",
		 out, out, out);
	command.path = write_command(w, script);
	world_user(1000);
	mrmr_protector_start(w->pool, &command);
	world_user(0);
	assert_true(comes(out));
	assert_string_equal(world_read(out),
			    "0\n-c pool.json sync --background\n4\n");
	/* it has not come up: not again at once */
	assert_return_code(unlink(out), errno);
	mrmr_protector_start(w->pool, &command);
	assert_false(world_there(out));
	atomic_store(&w->pool->shared->protect.started_ns, 0);
	command.settle_seconds = 30;
	mrmr_protector_start(w->pool, &command);
	assert_true(comes(out));
	assert_string_equal(world_read(out), "0\n-c pool.json sync "
					     "--background --settle=30\n4\n");
	world_free(w);
}

static void none_is_started_while_one_runs(void **state)
{
	struct world *w = two_each_new("1", "");
	const char *out = world_path(w, "out");
	struct mrmr_protector_turn *turn = NULL;
	struct mrmr_error err = {0};
	struct mrmr_protector_command command = {0};
	char script[1024];

	(void)state;
	snprintf(script, sizeof(script), "echo x >%s", out);
	command.path = write_command(w, script);
	turn = mrmr_protector_enter(NULL, w->pool, false, &err);
	assert_non_null(turn);
	assert_null(mrmr_protector_enter(NULL, w->pool, false, &err));
	assert_int_equal(err.code, EALREADY);
	mrmr_protector_start(w->pool, &command);
	assert_false(world_there(out));
	talloc_free(turn);
	/* the next one is started at once */
	mrmr_protector_start(w->pool, &command);
	assert_true(comes(out));
	/* whoever was killed has left the page as it was */
	atomic_store(&w->pool->shared->protector, 1);
	atomic_store(&w->pool->shared->protect.started_ns, 0);
	assert_return_code(unlink(out), errno);
	w->pool->serial++; /* believed for a second */
	mrmr_protector_start(w->pool, &command);
	assert_true(comes(out));
	world_free(w);
}

static void one_that_cannot_start_is_told(void **state)
{
	struct world *w = two_each_new("1", "");
	const struct mrmr_protector_command nothing = {
		.path = world_path(w, "nothing")};

	(void)state;
	world_log();
	mrmr_protector_start(w->pool, &nothing);
	assert_non_null(strstr(world_log(), "cannot be started"));
	mrmr_protector_start(w->pool, &nothing);
	assert_null(strstr(world_log(), "cannot be started"));
	world_free(w);
}

/* A file is open: one in the background waits for it, until it is in the way. */
static void one_in_the_background_gives_way(void **state)
{
	const struct mrmr_protect_options options = {.background = true};
	struct world *w = two_each_new("1", "");
	struct mrmr_protect_result result = {0};
	struct mrmr_engine *engine = NULL;
	int status = 0;
	pid_t pid;
	int fd;

	(void)state;
	client_write(w, "f", 1, 5000);
	client_write(w, "g", 2, 5000);
	fd = do_open(w, "f", O_RDWR);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		close(fd);
		world_open_in_child(w);
		while (atomic_load(&w->pool->shared->protect.passes_ended) ==
		       0) {
			usleep(10000);
		}
		talloc_free(open_engine(w, MRMR_ENGINE_WRITE));
		_exit(0);
	}
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	assert_int_equal(mrmr_protect(engine, &options, &result, NULL), 0);
	assert_true(result.gives_way);
	assert_false(result.gives_turn);
	assert_int_equal(result.open_files, 1);
	talloc_free(engine);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	verify(w, "g", 2, 5000, 1);
	close(fd);
	protect(w);
	verify(w, "f", 1, 5000, 1);
	world_free(w);
}

static void waiting_for_it(void **state)
{
	struct world *w = two_each_new("1", "");
	const struct mrmr_protector_command command = {
		.path = write_command(w, "exit 0")};
	struct mrmr_uuid member;
	struct stat st;
	size_t index;
	pid_t pid;

	(void)state;
	protect(w);
	client_write(w, "f", 1, 5000);
	assert_int_equal(do_stat(w, "f", &index, &st), 0);
	member = w->pool->members[index].config->id;
	/* nobody comes */
	assert_int_equal(mrmr_protector_wait(w->pool, &command, &member,
					     st.st_ino, 200000000),
			 -1);
	assert_int_equal(errno, ETIMEDOUT);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		const struct mrmr_protect_options options = {
			.background = true,
			.settle_ns = INT64_C(3600000000000),
		};
		struct mrmr_protect_result result;
		struct mrmr_protector_turn *turn = NULL;
		struct mrmr_engine *engine = NULL;

		usleep(200000);
		world_open_in_child(w);
		turn = mrmr_protector_enter(NULL, w->pool, true, NULL);
		engine = open_engine(w, MRMR_ENGINE_WRITE);
		mrmr_protect(engine, &options, &result, NULL);
		talloc_free(engine);
		talloc_free(turn);
		_exit(0);
	}
	/* though the settle time is an hour */
	assert_return_code(mrmr_protector_wait(w->pool, &command, &member,
					       st.st_ino, INT64_C(20000000000)),
			   errno);
	verify(w, "f", 1, 5000, 1);
	kill(pid, SIGKILL);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(killed_while_it_mends),
#endif
		cmocka_unit_test(what_is_lost_by_a_cut_leaves_at_once),
		cmocka_unit_test(also_while_it_is_written),
		cmocka_unit_test(also_when_it_has_changed_since),
		cmocka_unit_test(more_rows_and_fewer),
		cmocka_unit_test(rows_come_when_the_member_is_back),
		cmocka_unit_test(one_is_started),
		cmocka_unit_test(none_is_started_while_one_runs),
		cmocka_unit_test(one_that_cannot_start_is_told),
		cmocka_unit_test(one_in_the_background_gives_way),
		cmocka_unit_test(waiting_for_it),
	};

	return WORLD_MAIN("protector_keep", tests);
}
