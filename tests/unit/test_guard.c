/*
 * Unit tests of the guard's table: an inode that is declared is never found
 * unguarded, by anybody, whatever happens to the table meanwhile.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/catalog.h>
#include <mrmr/fault.h>
#include <mrmr/guard.h>

#include "catalog_model.h"
#include "scratch.h"

#define MANY 20000

struct shared {
	_Atomic uint32_t num; /* declared */
	_Atomic uint32_t stop;
	_Atomic uint32_t generation[MANY];
};

struct fixture {
	void *scratch;
	int fd;
	struct mrmr_guard *guard;
	struct shared *shared;
};

static struct mrmr_guard *open_guard(struct fixture *f)
{
	struct mrmr_error err = {0};
	struct mrmr_guard *guard = mrmr_guard_open(NULL, f->fd, &err);

	if (guard == NULL) {
		fail_msg("%s", err.text);
	}
	return guard;
}

static void reopen(struct fixture *f)
{
	talloc_free(f->guard);
	f->guard = open_guard(f);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	scratch_setup(&f->scratch);
	f->fd = open(f->scratch, O_RDONLY | O_DIRECTORY);
	f->shared = mmap(NULL, sizeof(*f->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	reopen(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	talloc_free(f->guard);
	munmap(f->shared, sizeof(*f->shared));
	close(f->fd);
	scratch_teardown(&f->scratch);
	free(f);
	return 0;
}

static struct mrmr_uuid member(unsigned int i)
{
	return (struct mrmr_uuid){.byte = {(uint8_t)(i % 5), 1}};
}

static uint64_t inode(unsigned int i)
{
	return (uint64_t)i * 7919 + (i % 3 == 0 ? UINT64_C(1) << 40 : 0);
}

static uint32_t find(struct mrmr_guard *guard, unsigned int i)
{
	struct mrmr_uuid id = member(i);

	return mrmr_guard_find(guard, &id, inode(i));
}

static void declare(struct fixture *f, unsigned int i)
{
	struct mrmr_uuid id = member(i);
	uint32_t generation = 0;

	assert_int_equal(mrmr_guard_declare(f->guard, &id, inode(i),
					    &generation),
			 0);
	assert_true(generation > 0);
	atomic_store(&f->shared->generation[i], generation);
	if (i >= atomic_load(&f->shared->num)) {
		atomic_store(&f->shared->num, i + 1);
	}
}

static void rebuild(struct fixture *f)
{
	uint32_t num = atomic_load(&f->shared->num);
	uint32_t i;

	assert_int_equal(mrmr_guard_rebuild_begin(f->guard), 0);
	assert_false(mrmr_guard_is_ready(f->guard));
	for (i = 0; i < num; i++) {
		struct mrmr_uuid id = member(i);

		assert_int_equal(mrmr_guard_rebuild_add(f->guard, &id, inode(i),
							f->shared->generation
								[i]),
				 0);
	}
	assert_int_equal(mrmr_guard_rebuild_end(f->guard), 0);
	assert_true(mrmr_guard_is_ready(f->guard));
}

/* --- one process ------------------------------------------------------------------ */

static void test_a_new_pool_guards_nothing(void **state)
{
	struct fixture *f = *state;

	assert_true(mrmr_guard_is_ready(f->guard));
	assert_int_equal(find(f->guard, 1), 0);
	declare(f, 1);
	assert_int_equal(find(f->guard, 1), f->shared->generation[1]);
	assert_int_equal(find(f->guard, 2), 0);
}

static void test_many_inodes(void **state)
{
	struct fixture *f = *state;
	struct mrmr_guard *other = open_guard(f);
	uint32_t last = 0;
	unsigned int i;

	for (i = 0; i < MANY; i++) {
		declare(f, i);
		assert_true(f->shared->generation[i] > last);
		last = f->shared->generation[i];
	}
	for (i = 0; i < MANY; i += 3) {
		declare(f, i); /* again */
		assert_true(f->shared->generation[i] > last);
		last = f->shared->generation[i];
	}
	for (i = 0; i < MANY; i += 2) {
		struct mrmr_uuid id = member(i);

		mrmr_guard_forget(f->guard, &id, inode(i));
		f->shared->generation[i] = 0;
	}
	for (i = 0; i < MANY; i++) {
		assert_int_equal(find(f->guard, i), f->shared->generation[i]);
		assert_int_equal(find(other, i), f->shared->generation[i]);
		/* the same inode elsewhere */
		assert_int_equal(find(f->guard, i + MANY), 0);
	}
	talloc_free(other);
	reopen(f);
	for (i = 0; i < MANY; i++) {
		assert_int_equal(find(f->guard, i), f->shared->generation[i]);
	}
}

/* Declaring and forgetting for ever does not make it grow for ever. */
static void test_room_is_used_again(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	unsigned int i;

	for (i = 0; i < MANY; i++) {
		struct mrmr_uuid id = member(i);

		declare(f, i);
		if (i >= 100) {
			id = member(i - 100);
			mrmr_guard_forget(f->guard, &id, inode(i - 100));
		}
	}
	for (i = MANY - 100; i < MANY; i++) {
		assert_int_equal(find(f->guard, i), f->shared->generation[i]);
	}
	assert_int_equal(stat(scratch_path(&f->scratch, MRMR_GUARD_NAME), &st),
			 0);
	assert_true(st.st_size < 200000);
}

static void test_rebuilding(void **state)
{
	struct fixture *f = *state;
	struct mrmr_uuid id = member(0);
	struct mrmr_guard_view before, within, after;
	uint32_t generation = 0;
	uint32_t last;
	unsigned int i;

	for (i = 0; i < 3000; i++) {
		declare(f, i);
	}
	last = f->shared->generation[2999];
	before = mrmr_guard_look(f->guard, &id, inode(0));
	assert_int_equal(mrmr_guard_rebuild_begin(f->guard), 0);
	within = mrmr_guard_look(f->guard, &id, inode(0));
	/* anything is guarded, with a number that counts for all versions */
	assert_true(within.generation >= last);
	assert_true(find(f->guard, 4000) >= last);
	assert_int_equal(mrmr_guard_declare(f->guard, &id, 1, &generation), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(mrmr_guard_rebuild_add(f->guard, &id, inode(0),
						f->shared->generation[0]),
			 0);
	assert_true(find(f->guard, 0) >= last);
	assert_int_equal(mrmr_guard_rebuild_end(f->guard), 0);
	after = mrmr_guard_look(f->guard, &id, inode(0));
	assert_int_equal(after.generation, before.generation);
	assert_true(before.epoch != within.epoch &&
		    within.epoch != after.epoch && before.epoch != after.epoch);
	for (i = 1; i < 3000; i++) {
		assert_int_equal(find(f->guard, i), 0);
	}
	/* what was kept while it was not ready counts for nothing that comes */
	declare(f, 1);
	assert_true(f->shared->generation[1] > within.generation);
	assert_int_equal(mrmr_guard_rebuild_end(f->guard), -1);
	assert_int_equal(errno, EBUSY);
}

/* --- what was lost ---------------------------------------------------------------- */

static void put_other_boot(struct fixture *f)
{
	uint64_t other_boot = 12345;
	int fd = open(scratch_path(&f->scratch, MRMR_GUARD_NAME), O_RDWR);

	TALLOC_FREE(f->guard);
	/* behind the magic */
	assert_int_equal(pwrite(fd, &other_boot, 8, 8), 8);
	close(fd);
}

static void assert_guards_all(struct fixture *f, uint32_t last)
{
	struct mrmr_uuid id = member(0);
	uint32_t generation = 0;
	unsigned int i;

	assert_false(mrmr_guard_is_ready(f->guard));
	for (i = 0; i < 100; i++) {
		assert_true(find(f->guard, i * 1000) >= last);
	}
	assert_int_equal(mrmr_guard_declare(f->guard, &id, 1, &generation), -1);
	assert_int_equal(errno, EBUSY);
	rebuild(f);
	declare(f, 7);
	assert_true(f->shared->generation[7] > last);
}

static void test_after_a_boot_all_is_guarded(void **state)
{
	struct fixture *f = *state;
	unsigned int i;

	for (i = 0; i < 100; i++) {
		declare(f, i);
	}
	put_other_boot(f);
	reopen(f);
	assert_guards_all(f, f->shared->generation[99]);
}

static void test_without_a_table_all_is_guarded(void **state)
{
	struct fixture *f = *state;
	unsigned int i;

	for (i = 0; i < 100; i++) {
		declare(f, i);
	}
	TALLOC_FREE(f->guard);
	unlinkat(f->fd, MRMR_GUARD_NAME, 0);
	reopen(f);
	assert_guards_all(f, f->shared->generation[99]);
}

/* As above, and the bound is missing, or is none. */
static void lose_bound(struct fixture *f, bool is_missing)
{
	uint32_t last;
	unsigned int i;

	for (i = 0; i < 100; i++) {
		declare(f, i);
	}
	last = f->shared->generation[99];
	TALLOC_FREE(f->guard);
	unlinkat(f->fd, MRMR_GUARD_NAME, 0);
	if (is_missing) {
		mkdirat(f->fd, MRMR_CATALOG_FOLDER, 0700);
		unlinkat(f->fd, MRMR_GUARD_NAME ".bound", 0);
	} else {
		scratch_write(&f->scratch, MRMR_GUARD_NAME ".bound", "12x\n");
	}
	reopen(f);
	assert_guards_all(f, last);
}

static void test_without_a_bound_all_is_guarded(void **state)
{
	lose_bound(*state, true);
}

static void test_with_a_damaged_bound_all_is_guarded(void **state)
{
	lose_bound(*state, false);
}

static void test_distrusted(void **state)
{
	struct fixture *f = *state;
	struct mrmr_guard *other = open_guard(f);
	struct mrmr_error err = {0};

	assert_true(mrmr_guard_is_ready(f->guard));
	assert_int_equal(mrmr_guard_distrust(f->guard, &err), 0);
	assert_false(mrmr_guard_is_ready(f->guard));
	assert_false(mrmr_guard_is_ready(other));
	talloc_free(other);
	assert_guards_all(f, 1);
	/* from then on it is known */
	assert_int_equal(mrmr_guard_distrust(f->guard, &err), 0);
	assert_true(mrmr_guard_is_ready(f->guard));
}

#ifdef MRMR_WITH_FAULTS

/* That fails, or is killed: nobody believes the old one after the next try. */
static void test_distrusted_in_vain(void **state)
{
	static const char *const faults[] = {"guard-replace=EIO",
					     "guard-replace=kill",
					     "guard-bound=ENOSPC",
					     "guard-bound=kill"};
	struct fixture *f = *state;
	struct mrmr_error err = {0};
	size_t i;

	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct mrmr_guard *other = NULL;
		pid_t pid;
		int status;

		assert_true(mrmr_guard_is_ready(f->guard));
		pid = fork();
		assert_int_not_equal(pid, -1);
		if (pid == 0) {
			setenv("MRMR_FAULT", faults[i], 1);
			_exit(mrmr_guard_distrust(f->guard, &err) == 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_not_equal(status, 1 << 8); /* it did not succeed */
		other = open_guard(f);
		assert_int_equal(mrmr_guard_distrust(other, &err), 0);
		assert_false(mrmr_guard_is_ready(other));
		assert_false(mrmr_guard_is_ready(f->guard));
		assert_guards_all(f, 1);
		talloc_free(other);
		/* as new */
		f->shared->num = 0;
		TALLOC_FREE(f->guard);
		unlinkat(f->fd, MRMR_GUARD_NAME, 0);
		unlinkat(f->fd, MRMR_GUARD_NAME ".bound", 0);
		reopen(f);
	}
}

#endif

/* --- several processes -------------------------------------------------------------- */

/* Looks up what is declared, until it is stopped. Generations only go up, so
   one that is lower than what was written down before the look is wrong. */
static void watch(struct fixture *f, uint64_t seed)
{
	struct mrmr_guard *guard = open_guard(f);
	uint64_t num_looks = 0;

	while (atomic_load(&f->shared->stop) == 0) {
		uint32_t num = atomic_load(&f->shared->num);
		uint32_t i, least;

		if (num == 0) {
			continue;
		}
		i = (uint32_t)model_below(&seed, num);
		least = atomic_load(&f->shared->generation[i]);
		if (find(guard, i) < least) {
			_exit(1);
		}
		num_looks++;
	}
	_exit(num_looks > 100 ? 0 : 2);
}

#define NUM_WATCHERS 3

static void test_readers_see_it_grow_and_be_rebuilt(void **state)
{
	struct fixture *f = *state;
	unsigned int i;
	int status;

	for (i = 0; i < NUM_WATCHERS; i++) {
		if (fork() == 0) {
			watch(f, i);
		}
	}
	for (i = 0; i < MANY; i++) {
		declare(f, i);
		if (i % 5000 == 4999) {
			rebuild(f);
		}
		if (i % 11 == 0) {
			declare(f, i / 2);
		}
	}
	usleep(50000);
	atomic_store(&f->shared->stop, 1);
	for (i = 0; i < NUM_WATCHERS; i++) {
		assert_true(wait(&status) > 0);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

/* Whoever declares is killed at any moment. Those who had the table open, and
   those who open it then, see all that was declared; numbers are not given
   twice. */
static void test_killed_at_random(void **state)
{
	struct fixture *f = *state;
	uint64_t random = (uint64_t)getpid();
	uint32_t last = 0;
	unsigned int round;
	uint32_t i;

	for (round = 0; round < 40; round++) {
		struct mrmr_guard *other = open_guard(f);
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			reopen(f);
			if (!mrmr_guard_is_ready(f->guard)) {
				rebuild(f);
			}
			for (;;) {
				i = atomic_load(&f->shared->num);
				declare(f, i < MANY ? i : i % 97);
			}
		}
		usleep((useconds_t)model_below(&random, 4000));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		reopen(f);
		for (i = 0; i < atomic_load(&f->shared->num); i++) {
			uint32_t least = f->shared->generation[i];

			assert_true(find(f->guard, i) >= least);
			assert_true(find(other, i) >= least);
			last = least > last ? least : last;
		}
		talloc_free(other);
		if (!mrmr_guard_is_ready(f->guard)) {
			rebuild(f);
		}
		declare(f, 0);
		assert_true(f->shared->generation[0] > last);
		last = f->shared->generation[0];
	}
}

#ifdef MRMR_WITH_FAULTS

static void test_killed_at_each_point(void **state)
{
	static const char *const points[] = {"guard-replace", "guard-bound",
					     "guard-ready"};
	struct fixture *f = *state;
	uint32_t last = 0;
	unsigned int round;
	uint32_t i;

	for (i = 0; i < 100; i++) {
		declare(f, i);
	}
	for (round = 0; round < 9; round++) {
		struct mrmr_guard *other = open_guard(f);
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			char fault[64];

			snprintf(fault, sizeof(fault), "%s#%u=kill",
				 points[round % 3], round / 3 + 1);
			reopen(f);
			setenv("MRMR_FAULT", fault, 1);
			for (i = 0; i < 70000; i++) {
				declare(f, i % (MANY / 2));
				if (i % 20000 == 0) {
					rebuild(f);
				}
			}
			_exit(0);
		}
		waitpid(pid, &status, 0);
		assert_true(WIFSIGNALED(status));
		for (i = 0; i < atomic_load(&f->shared->num); i++) {
			uint32_t least = f->shared->generation[i];

			assert_true(find(other, i) >= least);
			last = least > last ? least : last;
		}
		reopen(f);
		for (i = 0; i < atomic_load(&f->shared->num); i++) {
			assert_true(find(f->guard, i) >=
				    f->shared->generation[i]);
			assert_true(find(other, i) >= f->shared->generation[i]);
		}
		talloc_free(other);
		if (!mrmr_guard_is_ready(f->guard)) {
			rebuild(f);
		}
		declare(f, 0);
		assert_true(f->shared->generation[0] > last);
		last = f->shared->generation[0];
	}
}

/* The disk is full: nothing is declared, and nothing is forgotten. */
static void test_failing(void **state)
{
	static const char *const faults[] = {"guard-replace=ENOSPC",
					     "guard-bound=EIO"};
	struct fixture *f = *state;
	struct mrmr_uuid id = member(0);
	uint32_t generation = 0;
	unsigned int round;
	uint32_t i = 0;
	uint32_t j;

	for (round = 0; round < 2; round++) {
		bool has_failed = false;

		setenv("MRMR_FAULT", faults[round], 1);
		for (j = 0; j < 70000 && !has_failed; j++) {
			id = member(i);
			if (mrmr_guard_declare(f->guard, &id, inode(i),
					       &generation) == -1) {
				assert_true(errno == ENOSPC || errno == EIO);
				has_failed = true;
			} else {
				f->shared->generation[i] = generation;
				i = round == 0 ? i + 1 : (i + 1) % 1000;
			}
		}
		unsetenv("MRMR_FAULT");
		assert_true(has_failed);
		f->shared->num = 1000;
		for (j = 0; j < 1000; j++) {
			assert_true(find(f->guard, j) >=
				    f->shared->generation[j]);
		}
		declare(f, i);
		i = 0;
	}
}

#endif

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_new_pool_guards_nothing),
		TEST(test_many_inodes),
		TEST(test_room_is_used_again),
		TEST(test_rebuilding),
		TEST(test_after_a_boot_all_is_guarded),
		TEST(test_without_a_table_all_is_guarded),
		TEST(test_without_a_bound_all_is_guarded),
		TEST(test_with_a_damaged_bound_all_is_guarded),
		TEST(test_distrusted),
		TEST(test_readers_see_it_grow_and_be_rebuilt),
		TEST(test_killed_at_random),
#ifdef MRMR_WITH_FAULTS
		TEST(test_distrusted_in_vain),
		TEST(test_killed_at_each_point),
		TEST(test_failing),
#endif
	};

	return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
