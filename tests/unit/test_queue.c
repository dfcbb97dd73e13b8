/*
 * Unit tests of the queue: what happened is told once, in order, or a scan is
 * asked for; and what the catalogue knows as a path is found where it is now.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/queue.h>

#include "catalog_model.h"
#include "scratch.h"

struct fixture {
	void *scratch;
	int fd;
	struct mrmr_queue *queue;
};

static void reopen(struct fixture *f)
{
	struct mrmr_error err = {0};

	talloc_free(f->queue);
	f->queue = mrmr_queue_open(NULL, f->fd, &err);
	if (f->queue == NULL) {
		fail_msg("%s", err.text);
	}
}

static size_t take(struct fixture *f, struct mrmr_event **events)
{
	size_t num = 0;

	assert_int_equal(mrmr_queue_take(f->queue, f->queue, events, &num), 0);
	return num;
}

/* A new queue asks for a scan; that is done with here. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct mrmr_event *events = NULL;

	scratch_setup(&f->scratch);
	f->fd = open(f->scratch, O_RDONLY | O_DIRECTORY);
	reopen(f);
	assert_false(mrmr_queue_is_empty(f->queue));
	assert_int_equal(take(f, &events), 1);
	assert_int_equal(events[0].kind, MRMR_EVENT_SCAN);
	assert_string_equal(events[0].path, "");
	mrmr_queue_done(f->queue);
	assert_true(mrmr_queue_is_empty(f->queue));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	talloc_free(f->queue);
	close(f->fd);
	scratch_teardown(&f->scratch);
	free(f);
	return 0;
}

static void add(struct fixture *f, enum mrmr_event_kind kind, const char *path,
		const char *to)
{
	struct mrmr_event event = {
		.kind = kind,
		.member = {.byte = {9}},
		.inode = 77,
		.path = path,
		.to = to,
	};

	mrmr_queue_add(f->queue, &event);
}

static void add_changed(struct fixture *f, const char *prefix, unsigned int n)
{
	char path[64];

	snprintf(path, sizeof(path), "%s%u", prefix, n);
	add(f, MRMR_EVENT_CHANGED, path, "");
}

/* --- one after another ----------------------------------------------------------- */

static void test_what_is_added_is_taken_in_order(void **state)
{
	static const struct mrmr_event added[] = {
		{MRMR_EVENT_CHANGED, {{1}}, 5, 0, "a", ""},
		{MRMR_EVENT_ATTRIBUTES, {{0}}, 0, 0, "dir/\xc3\xa4", ""},
		{MRMR_EVENT_RENAMED, {{2}}, 6, 0, "a", "dir/b"},
		{MRMR_EVENT_REMOVED, {{2}}, UINT64_MAX, 0, "c", ""},
		{MRMR_EVENT_TRASHED, {{3}}, 7, 0, "d", "2024/d"},
		{MRMR_EVENT_LINKED, {{3}}, 8, 0, "e", "f"},
		{MRMR_EVENT_LOST, {{4}}, 9, 0, "g", ""},
		{MRMR_EVENT_MOVED, {{5}}, 10, 0, "h", ""},
		{MRMR_EVENT_SCAN, {{0}}, 0, 0, "below", ""},
	};
	const size_t num_added = sizeof(added) / sizeof(added[0]);
	struct fixture *f = *state;
	struct mrmr_event *events = NULL;
	size_t i;

	for (i = 0; i < num_added; i++) {
		mrmr_queue_add(f->queue, &added[i]);
	}
	assert_false(mrmr_queue_is_empty(f->queue));
	assert_int_equal(take(f, &events), num_added);
	for (i = 0; i < num_added; i++) {
		assert_int_equal(events[i].kind, added[i].kind);
		assert_memory_equal(&events[i].member, &added[i].member, 16);
		assert_int_equal(events[i].inode, added[i].inode);
		assert_string_equal(events[i].path, added[i].path);
		assert_string_equal(events[i].to, added[i].to);
		assert_true(events[i].time_ns > 0);
		assert_true(i == 0 ||
			    events[i].time_ns >= events[i - 1].time_ns);
	}
	assert_int_equal(take(f, &events), 0);
	mrmr_queue_done(f->queue);
	assert_true(mrmr_queue_is_empty(f->queue));
}

static void test_a_change_that_repeats_is_left_out(void **state)
{
	struct fixture *f = *state;
	struct mrmr_event *events = NULL;
	uint64_t mark = mrmr_queue_mark(f->queue);

	add_changed(f, "a", 0);
	add_changed(f, "a", 0);
	add(f, MRMR_EVENT_ATTRIBUTES, "a0", "");
	add_changed(f, "a", 1);
	add_changed(f, "a", 0);
	assert_int_equal(take(f, &events), 3);
	assert_int_not_equal(mrmr_queue_mark(f->queue), mark);
	/* what was taken may have been acted upon */
	add_changed(f, "a", 0);
	assert_int_equal(take(f, &events), 1);
}

static void test_what_is_not_done_is_taken_again(void **state)
{
	struct fixture *f = *state;
	struct mrmr_event *events = NULL;

	add_changed(f, "a", 0);
	assert_int_equal(take(f, &events), 1);
	add_changed(f, "a", 1);
	assert_int_equal(take(f, &events), 1);
	add_changed(f, "a", 2);
	reopen(f); /* the next process */
	assert_false(mrmr_queue_is_empty(f->queue));
	assert_int_equal(take(f, &events), 3);
	assert_string_equal(events[0].path, "a0");
	assert_string_equal(events[1].path, "a1");
	assert_string_equal(events[2].path, "a2");
	mrmr_queue_done(f->queue);
	add_changed(f, "a", 3);
	reopen(f);
	assert_int_equal(take(f, &events), 1);
	assert_string_equal(events[0].path, "a3");
}

/* --- what goes wrong -------------------------------------------------------------- */

static void damage(struct fixture *f, off_t from_end, bool cut)
{
	int fd = open(scratch_path(&f->scratch, "queue/log"), O_RDWR);
	struct stat st;
	char byte;

	assert_int_equal(fstat(fd, &st), 0);
	if (cut) {
		assert_int_equal(ftruncate(fd, st.st_size - from_end), 0);
	} else {
		assert_int_equal(pread(fd, &byte, 1, st.st_size - from_end), 1);
		byte = (char)(byte ^ 0x10);
		assert_int_equal(pwrite(fd, &byte, 1, st.st_size - from_end),
				 1);
	}
	close(fd);
}

static void test_after_a_damaged_record_there_is_a_scan(void **state)
{
	struct fixture *f = *state;
	struct mrmr_event *events = NULL;
	off_t from_end;
	unsigned int i;
	int cut;

	/* a record has 56 bytes, and the names; every byte of the last */
	for (from_end = 1; from_end < 56; from_end++) {
		for (cut = 0; cut < 2; cut++) {
			for (i = 0; i < 5; i++) {
				add_changed(f, "some/path", i);
			}
			damage(f, from_end, cut);
			assert_int_equal(take(f, &events), 5);
			for (i = 0; i < 4; i++) {
				assert_int_equal(events[i].kind,
						 MRMR_EVENT_CHANGED);
			}
			assert_int_equal(events[4].kind, MRMR_EVENT_SCAN);
			assert_string_equal(events[4].path, "");
			mrmr_queue_done(f->queue);
		}
	}
	assert_true(mrmr_queue_is_empty(f->queue));
}

static void test_beyond_its_bound_it_is_a_scan(void **state)
{
	struct fixture *f = *state;
	struct mrmr_event *events = NULL;
	char *path = malloc(8001);
	struct stat st;
	bool has_scan = false;
	size_t num, i;

	memset(path, 'x', 8000);
	path[8000] = '\0';
	for (i = 0; i <= MRMR_QUEUE_MAX_BYTES / 8000 + 10; i++) {
		path[i % 8000] = (char)('a' + i % 26);
		add(f, MRMR_EVENT_REMOVED, path, "");
	}
	assert_int_equal(stat(scratch_path(&f->scratch, "queue/log"), &st), 0);
	assert_true(st.st_size < 1000000);
	num = take(f, &events);
	for (i = 0; i < num; i++) {
		has_scan = has_scan || events[i].kind == MRMR_EVENT_SCAN;
	}
	assert_true(has_scan);
	assert_true(num < 100);
	free(path);
}

static void test_names_too_long_are_a_scan(void **state)
{
	struct fixture *f = *state;
	struct mrmr_event *events = NULL;
	char *path = malloc(9001);

	memset(path, 'x', 9000);
	path[9000] = '\0';
	add(f, MRMR_EVENT_CHANGED, path, "");
	assert_false(mrmr_queue_is_empty(f->queue));
	assert_int_equal(take(f, &events), 1);
	assert_int_equal(events[0].kind, MRMR_EVENT_SCAN);
	mrmr_queue_done(f->queue);
	assert_true(mrmr_queue_is_empty(f->queue));
	free(path);
}

/* The page says of which boot it is; it lies behind the magic. */
static void test_after_a_boot_there_is_a_scan(void **state)
{
	struct fixture *f = *state;
	struct mrmr_event *events = NULL;
	uint64_t other_boot = 12345;
	int fd;

	add_changed(f, "a", 0);
	TALLOC_FREE(f->queue);
	fd = open(scratch_path(&f->scratch, "queue/page"), O_RDWR);
	assert_int_equal(pwrite(fd, &other_boot, 8, 8), 8);
	close(fd);
	reopen(f);
	assert_int_equal(take(f, &events), 2);
	assert_string_equal(events[0].path, "a0");
	assert_int_equal(events[1].kind, MRMR_EVENT_SCAN);
}

/* --- several processes ------------------------------------------------------------ */

#define NUM_WRITERS 4
#define NUM_EVENTS 1500

static void write_events(struct fixture *f, unsigned int writer)
{
	char prefix[16];
	unsigned int i;

	reopen(f);
	snprintf(prefix, sizeof(prefix), "w%u/", writer);
	for (i = 0; i < NUM_EVENTS; i++) {
		add_changed(f, prefix, i);
	}
	_exit(0);
}

/* Each event of each writer, once, in order; or in order up to its end. Is a scan
   asked for? */
static bool note(const struct mrmr_event *events, size_t num,
		 unsigned int next[NUM_WRITERS])
{
	bool is_scan = false;
	size_t i;

	for (i = 0; i < num; i++) {
		unsigned int writer, n;

		if (events[i].kind == MRMR_EVENT_SCAN) {
			is_scan = true;
			continue;
		}
		assert_int_equal(sscanf(events[i].path, "w%u/%u", &writer, &n),
				 2);
		assert_true(writer < NUM_WRITERS);
		assert_int_equal(n, next[writer]);
		next[writer]++;
	}
	return is_scan;
}

static void test_several_writers(void **state)
{
	unsigned int next[NUM_WRITERS] = {0};
	struct fixture *f = *state;
	struct mrmr_event *events = NULL;
	unsigned int running = NUM_WRITERS;
	unsigned int i;
	size_t num;

	for (i = 0; i < NUM_WRITERS; i++) {
		if (fork() == 0) {
			write_events(f, i);
		}
	}
	while (running > 0) {
		int status;

		num = take(f, &events);
		note(events, num, next);
		talloc_free(events);
		if (running % 2 == 0) {
			mrmr_queue_done(f->queue);
		}
		while (running > 0 && waitpid(-1, &status, WNOHANG) > 0) {
			assert_true(WIFEXITED(status));
			assert_int_equal(WEXITSTATUS(status), 0);
			running--;
		}
	}
	num = take(f, &events);
	note(events, num, next);
	for (i = 0; i < NUM_WRITERS; i++) {
		assert_int_equal(next[i], NUM_EVENTS);
	}
}

/* Writers are killed, and so is who takes: what was added is there, in order,
   and nothing else. A record that lies on two pages may be cut by a kill: what
   others wrote behind it is found by a scan. */
static void test_killed(void **state)
{
	unsigned int num_whole = 0;
	unsigned int next[NUM_WRITERS];
	struct fixture *f = *state;
	struct mrmr_event *events = NULL;
	unsigned int round, i;

	for (round = 0; round < 10; round++) {
		pid_t pids[NUM_WRITERS + 1];
		uint32_t *added = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		bool is_scan;
		size_t num;

		for (i = 0; i < NUM_WRITERS; i++) {
			pids[i] = fork();
			if (pids[i] == 0) {
				char prefix[16];

				reopen(f);
				snprintf(prefix, sizeof(prefix), "w%u/", i);
				for (;;) {
					add_changed(f, prefix, added[i]);
					added[i]++;
				}
			}
		}
		pids[NUM_WRITERS] = fork();
		if (pids[NUM_WRITERS] == 0) {
			reopen(f);
			for (;;) {
				take(f, &events);
				talloc_free(events);
			}
		}
		usleep(20000);
		for (i = NUM_WRITERS + 1; i-- > 0;) {
			kill(pids[i], SIGKILL);
			waitpid(pids[i], NULL, 0);
		}
		memset(next, 0, sizeof(next));
		reopen(f);
		num = take(f, &events);
		is_scan = note(events, num, next);
		num_whole += !is_scan;
		for (i = 0; i < NUM_WRITERS; i++) {
			assert_true(next[i] <= added[i] + 1);
			assert_true(is_scan || next[i] >= added[i]);
		}
		mrmr_queue_done(f->queue);
		munmap(added, 4096);
	}
	assert_true(num_whole > 5);
}

static struct mrmr_queue *open_another(struct fixture *f)
{
	struct mrmr_error err = {0};
	struct mrmr_queue *queue = mrmr_queue_open(NULL, f->fd, &err);

	if (queue == NULL) {
		fail_msg("%s", err.text);
	}
	return queue;
}

/* A child of a writer that is there for something else has the writer's files, also
   those that he has closed since: nobody waits for it. */
static void test_a_child_holds_nobody_up(void **state)
{
	struct fixture *f = *state;
	struct mrmr_queue *other = open_another(f);
	struct mrmr_event *events = NULL;
	size_t num = 0;
	pid_t pid;

	add_changed(f, "a", 1);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	assert_int_equal(mrmr_queue_take(other, other, &events, &num), 0);
	assert_int_equal(num, 1);
	add_changed(f, "b", 1);
	talloc_free(other);
	other = open_another(f);
	alarm(30);
	assert_int_equal(mrmr_queue_take(other, other, &events, &num), 0);
	alarm(0);
	assert_int_equal(num, 2);
	assert_return_code(kill(pid, SIGKILL), errno);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	talloc_free(other);
}

#ifdef MRMR_WITH_FAULTS

static void test_killed_while_taking(void **state)
{
	static const char *const faults[] = {"queue-take=kill",
					     "queue-taken=kill"};
	struct fixture *f = *state;
	struct mrmr_event *events = NULL;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		int status;
		pid_t pid;

		add_changed(f, "a", 0);
		pid = fork();
		if (pid == 0) {
			setenv("MRMR_FAULT", faults[i], 1);
			reopen(f);
			take(f, &events);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status));
		assert_false(mrmr_queue_is_empty(f->queue));
		/* writers go on, where the log is now */
		add_changed(f, "a", 1);
		reopen(f);
		add_changed(f, "a", 2);
		assert_int_equal(take(f, &events), 3);
		assert_string_equal(events[0].path, "a0");
		assert_string_equal(events[1].path, "a1");
		assert_string_equal(events[2].path, "a2");
		mrmr_queue_done(f->queue);
		assert_true(mrmr_queue_is_empty(f->queue));
	}
}

static void test_a_full_disk_is_a_scan(void **state)
{
	struct fixture *f = *state;
	struct mrmr_event *events = NULL;

	setenv("MRMR_FAULT", "queue-write#1=ENOSPC", 1);
	add_changed(f, "a", 0);
	unsetenv("MRMR_FAULT");
	add_changed(f, "a", 1);
	assert_int_equal(take(f, &events), 2);
	assert_string_equal(events[0].path, "a1");
	assert_int_equal(events[1].kind, MRMR_EVENT_SCAN);
}

#endif

/* --- names ----------------------------------------------------------------------- */

static void assert_resolves(struct fixture *f, const char *path,
			    const char *expected)
{
	char *now = mrmr_queue_resolve(f->queue, f->queue, path, NULL);

	if (expected == NULL) {
		assert_null(now);
		assert_int_equal(errno, ENOENT);
	} else {
		assert_non_null(now);
		assert_string_equal(now, expected);
	}
}

static void assert_resolves_back(struct fixture *f, const char *path,
				 const char *expected)
{
	char *then = mrmr_queue_resolve_back(f->queue, f->queue, path);

	if (expected == NULL) {
		assert_null(then);
		assert_int_equal(errno, ENOENT);
	} else {
		assert_non_null(then);
		assert_string_equal(then, expected);
	}
}

static void test_names_follow_renames(void **state)
{
	struct fixture *f = *state;
	struct mrmr_event *events = NULL;
	char *trashed = NULL;

	assert_resolves(f, "dir/a", "dir/a");
	add(f, MRMR_EVENT_RENAMED, "dir", "other");
	add(f, MRMR_EVENT_RENAMED, "other/a", "other/b");
	assert_resolves(f, "dir/a", "other/b");
	assert_resolves(f, "dir/c", "other/c");
	assert_resolves(f, "dirx", "dirx");
	assert_resolves_back(f, "other/b", "dir/a");
	assert_resolves_back(f, "other/c", "dir/c");
	assert_resolves_back(f, "dir/c", NULL);
	/* also those that were taken, until they are done */
	assert_int_equal(take(f, &events), 2);
	add(f, MRMR_EVENT_TRASHED, "other/b", "2024/b");
	assert_null(mrmr_queue_resolve(f->queue, f->queue, "dir/a", &trashed));
	assert_int_equal(errno, ENOENT);
	assert_string_equal(trashed, "2024/b");
	/* another one has its name now */
	add_changed(f, "other/b", 0);
	add(f, MRMR_EVENT_RENAMED, "other/b0", "other/b");
	assert_resolves(f, "dir/a", NULL);
	mrmr_queue_done(f->queue);
	assert_resolves(f, "dir/c", "dir/c");
	assert_resolves(f, "other/b0", "other/b");
	assert_resolves(f, "other/b", NULL);
}

#define NUM_PATHS 60

struct names {
	char then[NUM_PATHS][200];
	char now[NUM_PATHS][200]; /* "": gone */
};

static bool is_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && path[len] == '/';
}

/* Random renames of files and directories; the paths are compared with what
   they must be, from time to time. */
static void test_names_follow_random_renames(void **state)
{
	struct fixture *f = *state;
	struct names *n = calloc(1, sizeof(*n));
	uint64_t random = (uint64_t)getpid();
	unsigned int next = 0;
	unsigned int i, round;

	print_message("seed %llu\n", (unsigned long long)random);
	for (i = 0; i < NUM_PATHS; i++) {
		snprintf(n->then[i], 200, "d%u/f%u", i % 6, i);
		strcpy(n->now[i], n->then[i]);
	}
	for (round = 0; round < 400; round++) {
		unsigned int k = (unsigned int)model_below(&random, NUM_PATHS);
		char from[200], to[64];

		if (n->now[k][0] == '\0') {
			continue;
		}
		strcpy(from, n->now[k]);
		switch (model_below(&random, 12)) {
		case 0:
			add(f, MRMR_EVENT_REMOVED, from, "");
			n->now[k][0] = '\0';
			break;
		case 1:
			add(f, MRMR_EVENT_TRASHED, from, "x");
			n->now[k][0] = '\0';
			break;
		case 2:
		case 3:
		case 4:
			/* its directory */
			*strchr(from, '/') = '\0';
			snprintf(to, sizeof(to), "e%u", next++);
			add(f, MRMR_EVENT_RENAMED, from, to);
			for (i = 0; i < NUM_PATHS; i++) {
				char rest[200];

				if (is_below(n->now[i], from)) {
					strcpy(rest, n->now[i] + strlen(from));
					strcpy(n->now[i], to);
					strcat(n->now[i], rest);
				}
			}
			break;
		case 5:
			/* over another file */
			i = (unsigned int)model_below(&random, NUM_PATHS);
			if (i == k || n->now[i][0] == '\0') {
				break;
			}
			add(f, MRMR_EVENT_RENAMED, from, n->now[i]);
			strcpy(n->now[k], n->now[i]);
			n->now[i][0] = '\0';
			break;
		default:
			*strchr(from, '/') = '\0';
			snprintf(to, sizeof(to), "%.20s/g%u", from, next++);
			add(f, MRMR_EVENT_RENAMED, n->now[k], to);
			strcpy(n->now[k], to);
		}
		if (round % 20 == 0) {
			struct mrmr_event *events = NULL;

			take(f, &events);
		}
		for (i = 0; round % 10 == 0 && i < NUM_PATHS; i++) {
			if (n->now[i][0] == '\0') {
				assert_resolves(f, n->then[i], NULL);
			} else {
				assert_resolves(f, n->then[i], n->now[i]);
				assert_resolves_back(f, n->now[i], n->then[i]);
			}
		}
	}
	free(n);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_added_is_taken_in_order),
		TEST(test_a_change_that_repeats_is_left_out),
		TEST(test_what_is_not_done_is_taken_again),
		TEST(test_after_a_damaged_record_there_is_a_scan),
		TEST(test_beyond_its_bound_it_is_a_scan),
		TEST(test_names_too_long_are_a_scan),
		TEST(test_after_a_boot_there_is_a_scan),
		TEST(test_several_writers),
		TEST(test_a_child_holds_nobody_up),
		TEST(test_killed),
#ifdef MRMR_WITH_FAULTS
		TEST(test_killed_while_taking),
		TEST(test_a_full_disk_is_a_scan),
#endif
		TEST(test_names_follow_renames),
		TEST(test_names_follow_random_renames),
	};

	return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
