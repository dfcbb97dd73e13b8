/*
 * Unit tests: giving up what cannot be brought back of a lost member.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/protector.h>
#include <mrmr/rebuild.h>

#include "lossy.h"

#define SMALL_BATCH 70000
#define SIBLING 1u /* has data in the stripes of the lost member */

struct told {
	struct lossy *l;
	bool accepts;
	bool returns;  /* the sibling, while the question is open */
	bool recovers; /* what fails is well again by then */
	unsigned int asked;
	unsigned int num[5];
	char names[4000];
};

static void trouble(enum mrmr_rebuild_trouble kind, const char *path,
		    uint64_t size_bytes, const char *why, void *private_data)
{
	struct told *told = private_data;
	size_t len = strlen(told->names);

	told->num[kind]++;
	snprintf(told->names + len, sizeof(told->names) - len, "%s\n", path);
}

static bool accept_loss(const struct mrmr_rebuild_result *result,
			void *private_data)
{
	struct told *told = private_data;

	told->asked++;
	assert_true(result->lost_files > 0);
	assert_int_equal(result->given_up_files, 0);
	if (told->returns) {
		world_plug(told->l->p->w, SIBLING);
	}
	if (told->recovers) {
		unsetenv("MRMR_FAULT");
	}
	return told->accepts;
}

static struct mrmr_rebuild_result run(struct lossy *l, struct told *told)
{
	const struct mrmr_rebuild_options options = {
		.lost = LOSSY_LOST,
		.onto = MRMR_REBUILD_SPREAD,
		.batch_bytes = SMALL_BATCH,
		.trouble = trouble,
		.accept_loss = accept_loss,
		.private_data = told,
	};
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	told->l = l;
	if (mrmr_rebuild(l->p->engine, &options, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	return result;
}

/* As mrmr-admin has the protector do before the member leaves. */
static void hear(struct lossy *l)
{
	const struct mrmr_protect_options options = {.names_only = true};
	struct mrmr_protect_result result;
	struct mrmr_error err = {0};

	if (mrmr_protect(l->p->engine, &options, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
}

static void check_gone(struct lossy *l, uint64_t id)
{
	struct mrmr_node *node = NULL;

	assert_int_equal(mrmr_catalog_get(l->p->engine->catalog, l->p->engine,
					  id, &node),
			 -1);
	assert_int_equal(errno, ENOENT);
}

/* All is there but one thing, and the member can go. */
static void check_all_but(struct lossy *l, const char *path)
{
	struct mrmr_error err = {0};
	size_t i;

	for (i = 0; i < l->num_things; i++) {
		if (path == NULL || strcmp(l->things[i].path, path) != 0) {
			assert_string_equal(lossy_compare(l, &l->things[i]),
					    "");
		} else {
			check_gone(l, l->things[i].id);
		}
	}
	lossy_check_stripes(l);
	lossy_check_clean(l);
	hear(l);
	if (mrmr_rebuild_forget(l->p->engine, LOSSY_LOST, &err) == -1) {
		fail_msg("%s", err.text);
	}
}

/* A file of which nothing is protected, and one that the protector has just
   heard of. */
static void test_never_protected(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct mrmr_engine *engine = l->p->engine;
	struct mrmr_error err = {0};
	struct mrmr_node *a = NULL;
	struct mrmr_node draft = {
		.name = (char *)"draft",
		.kind = MRMR_NODE_FILE,
		.member = engine->number[LOSSY_LOST],
		.inode = 4711,
		.mode = S_IFREG | 0644,
	};
	struct mrmr_rebuild_result result;
	struct told told = {0};
	uint64_t num_files, num_bytes;
	bool needs_scan;

	protected_file(l->p, LOSSY_LOST, "films/bare", 99, 5000, 65536);
	assert_int_equal(mrmr_catalog_find_path(engine->catalog, engine,
						"small/a", &a),
			 0);
	draft.dir_id = a->dir_id;
	assert_int_equal(mrmr_catalog_begin(engine->catalog), 0);
	assert_int_equal(mrmr_catalog_put(engine->catalog, &draft, &draft.id),
			 0);
	lossy_set_pending(engine->catalog, &draft.id, 1);
	assert_int_equal(mrmr_catalog_commit(engine->catalog, &err), 0);
	lossy_lose(l);

	/* no: they stay, and are told again */
	result = run(l, &told);
	assert_int_equal(told.asked, 1);
	assert_int_equal(result.lost_files, 2);
	assert_int_equal(result.given_up_files, 0);
	assert_false(result.is_complete);
	lossy_check_things(l);

	memset(&told, 0, sizeof(told));
	told.accepts = true;
	result = run(l, &told);
	assert_int_equal(told.asked, 1);
	assert_int_equal(told.num[MRMR_REBUILD_UNPROTECTED], 2);
	assert_non_null(strstr(told.names, "films/bare\n"));
	assert_non_null(strstr(told.names, "small/draft\n"));
	assert_int_equal(result.lost_files, 2);
	assert_int_equal(result.given_up_files, 2);
	assert_int_equal(result.given_up_bytes, 5000);
	assert_true(result.is_complete);
	check_gone(l, draft.id);
	assert_int_equal(mrmr_protector_pending(l->p->engine->catalog,
						&num_files, &num_bytes,
						&needs_scan),
			 0);
	assert_int_equal(num_files, 0);
	check_all_but(l, NULL);
	lossy_free(l);
}

/* A file that clients have deleted, of which the pool, as it was full, had protected
   a part, and one of which it had nothing. Their ids. */
static struct lossy *with_remnants(uint64_t ids[2])
{
	struct lossy *l = lossy_new(1, NULL);
	struct pfile *half = protected_file(l->p, LOSSY_LOST, "films/half", 98,
					    2 * 65536, 65536);

	ids[0] = half->id;
	ids[1] = protected_file(l->p, LOSSY_LOST, "films/bare", 99, 5000, 65536)
			 ->id;
	lossy_add_stripe(l, 1, half, 0, 200);
	lossy_delete(l, ids[0], "films/half", "2027");
	lossy_delete(l, ids[1], "films/bare", "2028");
	lossy_lose(l);
	return l;
}

/* Nobody misses them: they go, and that is all. */
static void check_remnants_go(struct lossy *l, const uint64_t ids[2])
{
	struct told told = {0};
	struct mrmr_rebuild_result result = run(l, &told);

	assert_int_equal(told.asked, 0);
	assert_string_equal(told.names, "");
	assert_int_equal(result.lost_files, 0);
	assert_int_equal(result.given_up_files, 0);
	assert_true(result.is_complete);
	check_gone(l, ids[0]);
	check_gone(l, ids[1]);
	check_all_but(l, NULL);
	lossy_free(l);
}

static void test_remnants_of_deleted_files(void **state)
{
	uint64_t ids[2];
	struct lossy *l = with_remnants(ids);

	check_remnants_go(l, ids);
}

#ifdef MRMR_WITH_FAULTS

static void test_remnants_that_cannot_go(void **state)
{
	static const char *const faults[] = {"rebuild-give-up#1=EIO",
					     "rebuild-give-up#1=ENOSPC"};
	uint64_t ids[2];
	size_t i;

	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct lossy *l = with_remnants(ids);
		struct told told = {0};
		struct mrmr_rebuild_result result;

		setenv("MRMR_FAULT", faults[i], 1);
		result = run(l, &told);
		unsetenv("MRMR_FAULT");
		/* all else is back */
		assert_int_equal(told.num[MRMR_REBUILD_FAILED], 1);
		assert_false(result.is_complete);
		lossy_check_things(l);
		lossy_check_stripes(l);
		check_remnants_go(l, ids);
	}
}

static void test_killed_at_remnants(void **state)
{
	uint64_t ids[2];
	struct lossy *l = with_remnants(ids);
	struct told told = {0};
	int status = 0;
	pid_t pid;

	lossy_close(l);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		lossy_open_in_child(l);
		setenv("MRMR_FAULT", "rebuild-give-up#1=kill", 1);
		run(l, &told);
		_exit(0);
	}
	assert_return_code(waitpid(pid, &status, 0), errno);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	lossy_open(l);
	lossy_check_stripes(l);
	check_remnants_go(l, ids);
}

#endif

/* Nobody is asked if nothing is lost. */
static void test_nothing_is_lost(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {.accepts = true};
	struct mrmr_rebuild_result result;

	lossy_lose(l);
	result = run(l, &told);
	assert_int_equal(told.asked, 0);
	assert_int_equal(result.given_up_files, 0);
	assert_true(result.is_complete);
	check_all_but(l, NULL);
	lossy_free(l);
}

/* A sibling has gone bad: only what needs it goes. */
static void test_beyond_redundancy(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {.accepts = true};
	struct mrmr_rebuild_result result;

	protected_flip(world_drive(l->p->w, SIBLING, "others/101"), 17, 3);
	lossy_lose(l);
	result = run(l, &told);
	assert_string_equal(told.names, "films/large\n");
	assert_int_equal(result.given_up_files, 1);
	assert_true(result.is_complete);
	check_all_but(l, "films/large");
	lossy_free(l);
}

/* Another member is away: what it has stays, and is protected again later. */
static void test_other_is_away(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	const struct mrmr_protect_options options = {.everything = true,
						     .scan = true};
	struct mrmr_protect_result protected = {0};
	struct mrmr_catalog_sums sums = {0};
	struct told told = {.accepts = true};
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	lossy_lose(l);
	protected_unplug(l->p, 1 << LOSSY_LOST | 1 << SIBLING);
	protected_reopen(l->p);
	result = run(l, &told);
	assert_int_equal(told.num[MRMR_REBUILD_LOST], 5);
	assert_int_equal(result.given_up_files, 5);
	protected_unplug(l->p, 1 << LOSSY_LOST);
	protected_reopen(l->p);
	/* rows that could not be moved while both were away */
	memset(&told, 0, sizeof(told));
	result = run(l, &told);
	assert_int_equal(told.asked, 0);
	assert_true(result.is_complete);
	lossy_check_stripes(l);
	assert_int_equal(mrmr_protect(l->p->engine, &options, &protected, &err),
			 0);
	assert_int_equal(mrmr_catalog_sums(l->p->engine->catalog,
					   l->p->engine->number[SIBLING],
					   &sums),
			 0);
	assert_int_equal(sums.protected_bytes, sums.file_bytes);
	lossy_check_stripes(l);
	assert_int_equal(mrmr_rebuild_forget(l->p->engine, LOSSY_LOST, &err),
			 0);
	lossy_free(l);
}

/* It returned before the answer came: then nothing is lost any more. */
static void test_other_returns(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {.accepts = true, .returns = true};
	struct mrmr_rebuild_result result;

	lossy_lose(l);
	protected_unplug(l->p, 1 << LOSSY_LOST | 1 << SIBLING);
	protected_reopen(l->p);
	result = run(l, &told);
	assert_int_equal(told.asked, 1);
	assert_int_equal(result.lost_files, 5);
	assert_int_equal(result.given_up_files, 0);
	assert_true(result.has_returned);
	assert_false(result.is_complete);
	memset(&told, 0, sizeof(told));
	told.accepts = true;
	result = run(l, &told);
	assert_int_equal(told.asked, 0);
	assert_true(result.is_complete);
	check_all_but(l, NULL);
	lossy_free(l);
}

#ifdef MRMR_WITH_FAULTS

static const char *const points[] = {
	"rebuild-give-up", "rebuild-commit", "catalog-commit",
	"catalog-part",    "catalog-store",  "catalog-parts-written",
	"blob-write",      "blob-rename",    "stripes-job",
	"stripes-sync",    "rebuild-row",
};
#define NUM_POINTS (sizeof(points) / sizeof(points[0]))

static struct lossy *bad_sibling(void)
{
	struct lossy *l = lossy_new(1, NULL);

	protected_flip(world_drive(l->p->w, SIBLING, "others/101"), 17, 3);
	return l;
}

static void count_points(unsigned long *times)
{
	struct lossy *l = bad_sibling();
	struct told told = {.accepts = true};
	size_t i;

	lossy_lose(l);
	setenv("MRMR_FAULT", "none", 1);
	assert_true(run(l, &told).is_complete);
	for (i = 0; i < NUM_POINTS; i++) {
		times[i] = mrmr_fault_times(points[i]);
	}
	unsetenv("MRMR_FAULT");
	lossy_free(l);
}

static void check_after(struct lossy *l, const char *fault)
{
	struct told told = {.accepts = true};

	if (!run(l, &told).is_complete) {
		fail_msg("%s: not complete", fault);
	}
	/* what was not lost is never among those that are given up */
	if (told.asked > 0) {
		assert_string_equal(told.names, "films/large\n");
	}
	check_all_but(l, "films/large");
	lossy_free(l);
}

static void run_killed(const char *fault)
{
	struct lossy *l = bad_sibling();
	struct told told = {.accepts = true};
	int status = 0;
	pid_t pid;

	lossy_close(l);
	world_unplug(l->p->w, LOSSY_LOST);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		lossy_open_in_child(l);
		setenv("MRMR_FAULT", fault, 1);
		run(l, &told);
		_exit(0);
	}
	assert_return_code(waitpid(pid, &status, 0), errno);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		fail_msg("%s: was not killed: %x", fault, (unsigned int)status);
	}
	lossy_open(l);
	check_after(l, fault);
}

static void run_failing(const char *fault)
{
	const struct mrmr_rebuild_options options = {
		.lost = LOSSY_LOST,
		.onto = MRMR_REBUILD_SPREAD,
		.batch_bytes = SMALL_BATCH,
		.trouble = trouble,
		.accept_loss = accept_loss,
	};
	struct mrmr_rebuild_options o = options;
	struct lossy *l = bad_sibling();
	struct told told = {.l = l, .accepts = true};
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	lossy_lose(l);
	o.private_data = &told;
	setenv("MRMR_FAULT", fault, 1);
	if (mrmr_rebuild(l->p->engine, &o, &result, &err) == -1) {
		assert_true(err.text[0] != '\0');
	}
	unsetenv("MRMR_FAULT");
	assert_int_equal(told.num[MRMR_REBUILD_UNPROTECTED], 0);
	protected_reopen(l->p);
	check_after(l, fault);
}

/* A drive that could not be read is well when the answer comes: nothing that can
   be computed goes. */
static void test_failed_for_a_moment(void **state)
{
	struct lossy *l = bad_sibling();
	struct told told = {.accepts = true, .recovers = true};
	struct mrmr_rebuild_result result;

	lossy_lose(l);
	setenv("MRMR_FAULT", "decode-blob=EIO", 1);
	result = run(l, &told);
	assert_int_equal(told.asked, 1);
	assert_int_equal(told.num[MRMR_REBUILD_LOST], 5);
	/* films/large is lost, which shows if it was that piece that failed first; the others
	   are not, and check_after() has them back */
	assert_in_range(result.given_up_files, 0, 1);
	assert_int_equal(result.given_up_files + result.spared_files, 5);
	assert_false(result.is_complete);
	if (result.given_up_files == 1) {
		struct thing *thing = lossy_thing(l, "films/large");

		check_gone(l, thing->id);
	}
	check_after(l, "decode-blob=EIO");
}

/* The last times: the files that come back have tests of their own. */
static void at_each_point(void (*act)(const char *fault), const char *action)
{
	unsigned long times[NUM_POINTS];
	char fault[64];
	size_t i;

	count_points(times);
	assert_true(times[0] > 0);
	for (i = 0; i < NUM_POINTS; i++) {
		unsigned long n = times[i] > 2 ? times[i] - 1 : 1;

		for (; n <= times[i]; n++) {
			snprintf(fault, sizeof(fault), "%s#%lu=%s", points[i],
				 n, action);
			act(fault);
		}
	}
}

/* Invariant 2, whatever it is in the middle of. */
static void test_killed(void **state)
{
	at_each_point(run_killed, "kill");
}

static void test_failing(void **state)
{
	at_each_point(run_failing, "EIO");
}

#endif

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_never_protected),
	cmocka_unit_test(test_remnants_of_deleted_files),
	cmocka_unit_test(test_nothing_is_lost),
	cmocka_unit_test(test_beyond_redundancy),
	cmocka_unit_test(test_other_is_away),
	cmocka_unit_test(test_other_returns),
#ifdef MRMR_WITH_FAULTS
	cmocka_unit_test(test_remnants_that_cannot_go),
	cmocka_unit_test(test_killed_at_remnants),
	cmocka_unit_test(test_failed_for_a_moment),
	cmocka_unit_test(test_killed),
	cmocka_unit_test(test_failing),
#endif
};

int main(void)
{
	return WORLD_MAIN("give_up", tests);
}
