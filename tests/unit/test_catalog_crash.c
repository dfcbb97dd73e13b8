/*
 * Unit tests of source/catalog: kills, full disks, failing and damaged ones.
 *
 * What must hold: after a commit was interrupted in any way, what is found is
 * what was before or what is after, never something in between; also where a
 * catalogue is several files. The parts of members catch up without being made
 * anew. A commit that fails leaves what was before, and the next one works.
 *
 * Some need a build --with-faults, some root.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>

#include "catalog_world.h"
#include "scratch.h"

#define NUM_PARTS 4

/* --- a process that is killed ---------------------------------------------------- */

/*
 * What the process was at. models[current] is committed; if phase is 1, the
 * other one is being committed.
 */
struct progress {
	_Atomic unsigned int state; /* 2 * current + phase */
	struct model models[2];
};

static struct progress *make_progress(const struct catalog_world *w)
{
	struct progress *p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	p->models[0] = *w->model;
	return p;
}

static void attach_parts(struct catalog_world *w)
{
	uint16_t member;

	for (member = 0; member < NUM_PARTS; member++) {
		catalog_world_attach(w, member);
	}
}

static void refresh_parts(struct catalog_world *w)
{
	uint16_t member;

	for (member = 0; member < NUM_PARTS; member++) {
		catalog_world_refresh(w, member);
	}
}

/* Some changes, and a commit, with the point armed for the commit. */
static void change_and_commit(struct catalog_world *w, struct progress *p,
			      const char *fault)
{
	unsigned int current = atomic_load(&p->state) / 2;
	struct model *m = &p->models[1 - current];
	struct mrmr_error err = {0};
	uint64_t num = 1 + model_below(&w->random, 30);
	uint64_t i;

	*m = p->models[current];
	if (mrmr_catalog_begin(w->cat) == -1) {
		_exit(3);
	}
	for (i = 0; i < num; i++) {
		model_change(m, w->cat, &w->random);
	}
	m->sequence++;
	atomic_store(&p->state, 2 * current + 1);
	if (fault != NULL) {
		setenv("MRMR_FAULT", fault, 1);
	}
	if (mrmr_catalog_commit(w->cat, &err) == -1) {
		_exit(4);
	}
	m->sequence = mrmr_catalog_sequence(w->cat);
	atomic_store(&p->state, 2 * (1 - current));
}

/* Which model it must be now. */
static void settle(struct catalog_world *w, struct progress *p,
		   struct mrmr_catalog *cat)
{
	unsigned int state = atomic_load(&p->state);
	unsigned int current = state / 2;
	uint64_t sequence = mrmr_catalog_sequence(cat);

	if (sequence != p->models[current].sequence) {
		assert_int_equal(state % 2, 1);
		current = 1 - current;
		assert_int_equal(sequence, p->models[current].sequence);
	}
	*w->model = p->models[current];
	p->models[0] = *w->model;
	atomic_store(&p->state, 0);
}

static void check_after(struct catalog_world *w, struct progress *p)
{
	uint16_t member;

	catalog_world_reopen(w);
	settle(w, p, w->cat);
	model_check(w->model, w->cat);
	if (model_below(&w->random, 3) == 0) {
		return; /* they are told together with what comes next */
	}
	attach_parts(w);
	for (member = 0; member < NUM_PARTS; member++) {
		/* it is told, not made anew */
		assert_false(mrmr_catalog_part_is_behind(w->cat, member));
	}
	refresh_parts(w);
	for (member = 0; member < NUM_PARTS; member++) {
		model_check_part(w->model, w->parts[member], member);
		assert_int_equal(mrmr_catalog_check(w->parts[member], NULL), 0);
	}
	p->models[0] = *w->model;
}

static void prepare(struct catalog_world *w)
{
	unsigned int i;

	attach_parts(w);
	refresh_parts(w);
	catalog_world_begin(w);
	for (i = 0; i < 400; i++) {
		model_change(w->model, w->cat, &w->random);
	}
	catalog_world_commit(w);
}

static struct mrmr_catalog *open_reader(struct catalog_world *w)
{
	struct mrmr_error err = {0};
	struct mrmr_catalog *cat =
		mrmr_catalog_open(NULL, w->state_fd, &catalog_world_pool,
				  MRMR_CATALOG_READ, &err);

	if (cat == NULL) {
		fail_msg("%s", err.text);
	}
	return cat;
}

static void kill_at_random(struct catalog_world *w, unsigned int rounds)
{
	struct progress *p = NULL;
	unsigned int i;

	prepare(w);
	p = make_progress(w);
	for (i = 0; i < rounds; i++) {
		struct mrmr_catalog *reader = NULL;
		int status;
		pid_t pid;

		model_random(&w->random);
		catalog_world_close(w);
		reader = open_reader(w);
		pid = fork();
		assert_int_not_equal(pid, -1);
		if (pid == 0) {
			talloc_free(reader);
			catalog_world_reopen(w);
			attach_parts(w);
			for (;;) {
				change_and_commit(w, p, NULL);
			}
		}
		usleep((useconds_t)(20000 + model_below(&w->random, 200000)));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status));
		/* who has had it open finds it in order as well */
		if (i % 2 == 0) {
			settle(w, p, reader);
			model_check(w->model, reader);
		}
		talloc_free(reader);
		check_after(w, p);
	}
	munmap(p, sizeof(*p));
}

static void test_killed_at_random(void **state)
{
	kill_at_random(*state, 6);
}

static void test_killed_at_random_over_many_files(void **state)
{
	struct catalog_world *w = *state;

	catalog_world_make_small_files(w);
	kill_at_random(w, 10);
	assert_true(catalog_world_num_files(w, MRMR_MEMBER_NONE) > 2);
}

#ifdef MRMR_WITH_FAULTS

static const char *const commit_points[] = {
	"catalog-part",      "catalog-parts-written", "catalog-commit",
	"catalog-store",     "catalog-prepare",       "catalog-journal",
	"catalog-journaled", "catalog-file",          "catalog-journal-remove",
	"catalog-file-new",
};
#define NUM_POINTS (sizeof(commit_points) / sizeof(commit_points[0]))

/* Carried out by a process of its own; was it killed? */
static bool dies(struct catalog_world *w, struct progress *p, const char *fault,
		 void (*act)(struct catalog_world *w, struct progress *p,
			     const char *fault))
{
	int status;
	pid_t pid;

	model_random(&w->random);
	catalog_world_close(w);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		act(w, p, fault);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return true;
	}
	if (WEXITSTATUS(status) != 0) {
		fail_msg("%s: exit status %d", fault, WEXITSTATUS(status));
	}
	return false;
}

static void open_and_commit(struct catalog_world *w, struct progress *p,
			    const char *fault)
{
	catalog_world_reopen(w);
	attach_parts(w);
	change_and_commit(w, p, fault);
}

static void open_and_commit_alone(struct catalog_world *w, struct progress *p,
				  const char *fault)
{
	catalog_world_reopen(w);
	change_and_commit(w, p, fault);
}

static void open_only(struct catalog_world *w, struct progress *p,
		      const char *fault)
{
	setenv("MRMR_FAULT", fault, 1);
	catalog_world_reopen(w);
}

static void kill_at_each_point(struct catalog_world *w)
{
	struct progress *p = NULL;
	unsigned int num_killed[NUM_POINTS] = {0};
	unsigned int total = 0;
	unsigned int nth;
	size_t i;

	catalog_world_make_small_files(w);
	prepare(w);
	p = make_progress(w);
	for (i = 0; i < NUM_POINTS; i++) {
		for (nth = 1; nth <= 8; nth++) {
			char fault[64];

			snprintf(fault, sizeof(fault), "%s#%u=kill",
				 commit_points[i], nth);
			if (dies(w, p, fault, open_and_commit)) {
				num_killed[i]++;
			}
			check_after(w, p);
		}
	}
	for (i = 0; i < NUM_POINTS; i++) {
		print_message("%-24s killed %u times\n", commit_points[i],
			      num_killed[i]);
		total += num_killed[i];
		/* the others: only where several files change */
		assert_true(num_killed[i] > 0 || i > 4);
	}
	assert_true(total > 20);
	munmap(p, sizeof(*p));
}

static void test_killed_at_each_point(void **state)
{
	kill_at_each_point(*state);
}

static void test_killed_at_each_point_of_threads(void **state)
{
	catalog_world_use_threads(*state, 3);
	kill_at_each_point(*state);
}

/* Finishing what somebody was killed at, and being killed at that. */
static void test_killed_while_finishing(void **state)
{
	struct catalog_world *w = *state;
	struct progress *p = NULL;
	unsigned int num_killed = 0;
	unsigned int nth;

	catalog_world_make_small_files(w);
	prepare(w);
	p = make_progress(w);
	for (nth = 1; nth <= 6; nth++) {
		uint64_t sequence = w->model->sequence;
		char fault[64];

		if (!dies(w, p, "catalog-journaled#1=kill",
			  open_and_commit_alone)) {
			continue;
		}
		snprintf(fault, sizeof(fault), "catalog-redo#%u=kill",
			 nth % 3 + 1);
		num_killed += dies(w, p, fault, open_only);
		check_after(w, p);
		assert_true(w->model->sequence >= sequence);
	}
	print_message("killed %u times\n", num_killed);
	assert_true(num_killed > 0);
	munmap(p, sizeof(*p));
}

/* As above, but at the catalogue's own journal: then it has happened. */
static void test_a_journaled_commit_has_happened(void **state)
{
	struct catalog_world *w = *state;
	struct mrmr_catalog *reader = NULL;
	struct progress *p = NULL;
	unsigned int num = 0;
	unsigned int i;

	catalog_world_make_small_files(w);
	prepare(w);
	p = make_progress(w);
	for (i = 0; i < 10; i++) {
		uint64_t sequence = w->model->sequence;
		uint16_t member;

		for (member = 0; member < NUM_PARTS; member++) {
			catalog_world_detach(w, member);
		}
		model_random(&w->random);
		catalog_world_close(w);
		if (fork() == 0) {
			catalog_world_reopen(w);
			change_and_commit(w, p, "catalog-file#1=kill");
			_exit(0);
		}
		wait(NULL);
		if (atomic_load(&p->state) % 2 == 1) {
			bool has_journal = catalog_world_has_journal(w);

			reader = open_reader(w);
			settle(w, p, reader);
			model_check(w->model, reader);
			talloc_free(reader);
			assert_int_equal(w->model->sequence,
					 sequence + has_journal);
			assert_false(catalog_world_has_journal(w));
			num += has_journal;
		}
		check_after(w, p);
	}
	assert_true(num > 0);
	munmap(p, sizeof(*p));
}

/* --- failures -------------------------------------------------------------------- */

static void fail_at(struct catalog_world *w, const char *fault,
		    unsigned int *num_failed, unsigned int *num_done)
{
	struct model *before = malloc(sizeof(*before));
	struct mrmr_error err = {0};
	unsigned int i;
	int ret;

	*before = *w->model;
	catalog_world_begin(w);
	for (i = 0; i < 25; i++) {
		model_change(w->model, w->cat, &w->random);
	}
	setenv("MRMR_FAULT", fault, 1);
	ret = mrmr_catalog_commit(w->cat, &err);
	unsetenv("MRMR_FAULT");
	if (ret == -1) {
		assert_true(errno == EIO || errno == ENOSPC);
		assert_true(strlen(err.text) > 10);
		*w->model = *before;
		++*num_failed;
	} else {
		++*num_done;
	}
	free(before);
	model_check(w->model, w->cat);
	/* and it goes on */
	attach_parts(w);
	refresh_parts(w);
	for (i = 0; i < NUM_PARTS; i++) {
		model_check_part(w->model, w->parts[i], (uint16_t)i);
	}
	catalog_world_begin(w);
	model_change(w->model, w->cat, &w->random);
	catalog_world_commit(w);
	/* and is so on the drive */
	catalog_world_reopen(w);
	model_check(w->model, w->cat);
	attach_parts(w);
}

static void fail_at_each_point(struct catalog_world *w)
{
	unsigned int nth;
	size_t i;

	catalog_world_make_small_files(w);
	prepare(w);
	for (i = 0; i < NUM_POINTS; i++) {
		unsigned int failed = 0;
		unsigned int done = 0;

		if (strcmp(commit_points[i], "catalog-journal-remove") == 0) {
			continue;
		}
		for (nth = 1; nth <= 8; nth++) {
			char fault[64];

			snprintf(fault, sizeof(fault), "%s#%u=%s",
				 commit_points[i], nth,
				 nth % 2 == 0 ? "EIO" : "ENOSPC");
			fail_at(w, fault, &failed, &done);
		}
		print_message("%-24s %u failed, %u done\n", commit_points[i],
			      failed, done);
	}
}

static void test_failing_at_each_point(void **state)
{
	fail_at_each_point(*state);
}

static void test_failing_at_each_point_of_threads(void **state)
{
	catalog_world_use_threads(*state, 3);
	fail_at_each_point(*state);
}

static void refresh_lost(struct catalog_world *w, struct progress *p,
			 const char *fault)
{
	struct mrmr_error err = {0};

	catalog_world_reopen(w);
	attach_parts(w);
	setenv("MRMR_FAULT", fault, 1);
	_exit(mrmr_catalog_refresh_part(w->cat, 1, &err) == 0 ? 0 : 5);
}

static void test_killed_while_a_part_is_made_anew(void **state)
{
	static const char *const points[] = {
		"catalog-refresh",   "catalog-replace", "catalog-store",
		"catalog-journaled", "catalog-file",    "catalog-part",
	};
	struct catalog_world *w = *state;
	struct progress *p = NULL;
	unsigned int nth;
	bool has_died;
	size_t i;

	catalog_world_make_small_files(w);
	prepare(w);
	p = make_progress(w);
	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		for (nth = 1; nth <= 3; nth++) {
			char fault[64];

			catalog_world_detach(w, 1);
			catalog_world_lose(w, 1);
			snprintf(fault, sizeof(fault), "%s#%u=kill", points[i],
				 nth);
			has_died = dies(w, p, fault, refresh_lost);
			assert_true(has_died || nth > 1);
			catalog_world_reopen(w);
			attach_parts(w);
			refresh_parts(w);
			model_check_part(w->model, w->parts[1], 1);
			assert_false(catalog_world_has_others(w, 1));
		}
	}
	munmap(p, sizeof(*p));
}

#else

static void test_killed_at_each_point(void **state)
{
	print_message("catalogue: this build has no fault points; configure "
		      "--with-faults\n");
	skip();
}
#define test_killed_while_finishing test_killed_at_each_point
#define test_a_journaled_commit_has_happened test_killed_at_each_point
#define test_failing_at_each_point test_killed_at_each_point
#define test_killed_at_each_point_of_threads test_killed_at_each_point
#define test_failing_at_each_point_of_threads test_killed_at_each_point
#define test_killed_while_a_part_is_made_anew test_killed_at_each_point

#endif

/* --- full ------------------------------------------------------------------------ */

/* A world of which this folder is a small drive, until the process ends. */
static void mount_small(struct catalog_world *w, const char *name, int *fd)
{
	const char *path = scratch_path(&w->scratch, name);

	if (geteuid() != 0 || unshare(CLONE_NEWNS) == -1 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount("none", path, "tmpfs", 0, "size=6m,mode=755") == -1) {
		print_message("needs root\n");
		skip();
	}
	close(*fd);
	*fd = open(path, O_RDONLY | O_DIRECTORY);
	assert_int_not_equal(*fd, -1);
}

static void unmount_small(struct catalog_world *w, const char *name)
{
	umount2(scratch_path(&w->scratch, name), MNT_DETACH);
}

/* All room but `leave` bytes is taken. */
static void take_room(int dir_fd, off_t leave)
{
	int fd = openat(dir_fd, "ballast", O_RDWR | O_CREAT, 0600);
	char block[4096] = {1};
	off_t len = 0;

	assert_int_not_equal(fd, -1);
	while (write(fd, block, sizeof(block)) == sizeof(block)) {
		len += sizeof(block);
	}
	assert_int_equal(ftruncate(fd, len > leave ? len - leave : 0), 0);
	close(fd);
}

static void fill_up(struct catalog_world *w, off_t leave)
{
	struct model *before = malloc(sizeof(*before));
	struct mrmr_error err = {0};
	bool was_full = false;
	unsigned int i;

	take_room(w->state_fd, leave);
	for (i = 0; i < 3000 && !was_full; i++) {
		char name[64];

		*before = *w->model;
		catalog_world_begin(w);
		model_change(w->model, w->cat, &w->random);
		model_change(w->model, w->cat, &w->random);
		/* what grows */
		snprintf(name, sizeof(name), "filler %u", i);
		assert_int_equal(mrmr_catalog_put_note(w->cat, name,
						       (uint8_t *)before,
						       20000),
				 0);
		if (mrmr_catalog_commit(w->cat, &err) == -1) {
			assert_int_equal(errno, ENOSPC);
			assert_non_null(strstr(err.text, "No space left"));
			*w->model = *before;
			was_full = true;
		}
		w->model->sequence = mrmr_catalog_sequence(w->cat);
	}
	assert_true(was_full);
	model_check(w->model, w->cat);
	/* also on the drive */
	catalog_world_reopen(w);
	model_check(w->model, w->cat);
	assert_int_equal(mrmr_catalog_check(w->cat, NULL), 0);
	assert_int_equal(unlinkat(w->state_fd, "ballast", 0), 0);
	for (i = 0; i < 3; i++) {
		catalog_world_begin(w);
		model_change(w->model, w->cat, &w->random);
		catalog_world_commit(w);
	}
	model_check(w->model, w->cat);
	free(before);
}

static void test_full(void **state)
{
	struct catalog_world *w = *state;

	catalog_world_close(w);
	mount_small(w, "state", &w->state_fd);
	catalog_world_start_anew(w);
	fill_up(w, 200000);
	unmount_small(w, "state");
}

static void test_full_over_many_files(void **state)
{
	struct catalog_world *w = *state;
	off_t leave;

	catalog_world_make_small_files(w);
	for (leave = 0; leave < 600000; leave += 150000) {
		catalog_world_close(w);
		mount_small(w, "state", &w->state_fd);
		catalog_world_start_anew(w);
		fill_up(w, leave);
		catalog_world_close(w);
		unmount_small(w, "state");
	}
}

/* A part that cannot be written is done without, and catches up. */
static void test_a_full_member(void **state)
{
	struct catalog_world *w = *state;
	unsigned int i;

	catalog_world_make_small_files(w);
	mount_small(w, "m1", &w->member_fds[1]);
	attach_parts(w);
	refresh_parts(w);
	take_room(w->member_fds[1], 0);
	for (i = 0; i < 200; i++) {
		unsigned int j;

		catalog_world_begin(w);
		for (j = 0; j < 20; j++) {
			model_change(w->model, w->cat, &w->random);
		}
		catalog_world_commit(w);
		if (mrmr_catalog_part_is_behind(w->cat, 1)) {
			break;
		}
	}
	assert_true(mrmr_catalog_part_is_behind(w->cat, 1));
	model_check(w->model, w->cat);
	assert_int_equal(unlinkat(w->member_fds[1], "ballast", 0), 0);
	catalog_world_detach(w, 1);
	catalog_world_attach(w, 1);
	assert_false(mrmr_catalog_part_is_behind(w->cat, 1));
	refresh_parts(w);
	model_check_part(w->model, w->parts[1], 1);
	unmount_small(w, "m1");
}

/* --- damaged --------------------------------------------------------------------- */

struct file_copy {
	char name[300];
	uint8_t *data;
	size_t len;
};

static size_t copy_files(int fd, struct file_copy *copies, size_t max)
{
	DIR *dir = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY));
	struct dirent *entry = NULL;
	size_t num = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		struct file_copy *copy = &copies[num];
		struct stat st;
		int file;

		if (entry->d_name[0] == '.') {
			continue;
		}
		assert_true(num++ < max);
		snprintf(copy->name, sizeof(copy->name), "%s", entry->d_name);
		file = openat(fd, copy->name, O_RDONLY);
		assert_int_equal(fstat(file, &st), 0);
		copy->len = (size_t)st.st_size;
		copy->data = malloc(copy->len);
		assert_int_equal(read(file, copy->data, copy->len), copy->len);
		close(file);
	}
	closedir(dir);
	return num;
}

static void write_back(int fd, const struct file_copy *copy)
{
	int file = openat(fd, copy->name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(file, copy->data, copy->len), copy->len);
	close(file);
}

/* What is found is right, or it is said to be damaged. */
static bool is_noticed(struct catalog_world *w)
{
	struct mrmr_error err = {0};
	bool noticed = false;

	w->cat = mrmr_catalog_open(NULL, w->state_fd, &catalog_world_pool,
				   MRMR_CATALOG_WRITE, &err);
	if (w->cat == NULL || mrmr_catalog_check(w->cat, &err) == -1) {
		if (errno != EILSEQ) {
			fail_msg("%s", err.text);
		}
		assert_non_null(strstr(err.text, "damaged"));
		assert_non_null(strstr(err.text, "mrmr-admin recover"));
		noticed = true;
	} else {
		model_check(w->model, w->cat);
	}
	TALLOC_FREE(w->cat);
	return noticed;
}

static void test_damaged(void **state)
{
	struct catalog_world *w = *state;
	struct file_copy copies[40];
	unsigned int noticed = 0;
	size_t num, i, j;
	int fd;

	catalog_world_make_small_files(w);
	do {
		prepare(w);
	} while (catalog_world_num_files(w, MRMR_MEMBER_NONE) < 4);
	catalog_world_close(w);
	fd = openat(w->state_fd, MRMR_CATALOG_FOLDER, O_RDONLY | O_DIRECTORY);
	num = copy_files(fd, copies, 40);
	assert_true(num > 2);
	for (i = 0; i < 100; i++) {
		const struct file_copy *copy =
			&copies[model_below(&w->random, num)];
		size_t at = model_below(&w->random, copy->len);
		int file = openat(fd, copy->name, O_RDWR);
		uint8_t junk[16];

		/* mostly where something is */
		for (j = 0;
		     j < 100 && (copy->data[at] == 0 || copy->data[at] == 0x42);
		     j++) {
			at = model_below(&w->random, copy->len);
		}
		for (j = 0; j < sizeof(junk); j++) {
			junk[j] = (uint8_t)model_random(&w->random);
		}
		if (i % 10 == 9) {
			assert_int_equal(ftruncate(file, (off_t)at), 0);
		} else {
			assert_true(pwrite(file, junk, 1 + at % 16, (off_t)at) >
				    0);
		}
		close(file);
		noticed += is_noticed(w);
		for (j = 0; j < num; j++) {
			write_back(fd, &copies[j]);
		}
		unlinkat(fd, "0.tdb.unclean", 0);
	}
	assert_true(noticed > 20);
	/* the header of one */
	for (i = 0; i < 60; i++) {
		const struct file_copy *copy = &copies[i % num];
		int file = openat(fd, copy->name, O_RDWR);
		uint32_t junk = (uint32_t)model_random(&w->random);

		assert_int_equal(pwrite(file, &junk, 4, (off_t)i * 4), 4);
		close(file);
		is_noticed(w);
		write_back(fd, copy);
		unlinkat(fd, "0.tdb.unclean", 0);
	}
	/* one of several is missing, or empty */
	for (i = 0; i < num; i++) {
		assert_int_equal(unlinkat(fd, copies[i].name, 0), 0);
		if (strcmp(copies[i].name, "0.tdb") != 0) {
			assert_true(is_noticed(w));
		}
		write_back(fd, &copies[i]);
	}
	catalog_world_reopen(w);
	model_check(w->model, w->cat);
	for (i = 0; i < num; i++) {
		free(copies[i].data);
	}
	close(fd);
}

int main(void)
{
#define TEST(name)                                                 \
	cmocka_unit_test_setup_teardown(name, catalog_world_setup, \
					catalog_world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_killed_at_random),
		TEST(test_killed_at_random_over_many_files),
		TEST(test_killed_at_each_point),
		TEST(test_killed_at_each_point_of_threads),
		TEST(test_killed_while_finishing),
		TEST(test_a_journaled_commit_has_happened),
		TEST(test_failing_at_each_point),
		TEST(test_failing_at_each_point_of_threads),
		TEST(test_killed_while_a_part_is_made_anew),
		TEST(test_full),
		TEST(test_full_over_many_files),
		TEST(test_a_full_member),
		TEST(test_damaged),
	};

	cmocka_set_test_filter(getenv("MRMR_TEST_ONLY"));
	return cmocka_run_group_tests_name("catalog: crashes", tests, NULL,
					   NULL);
}
