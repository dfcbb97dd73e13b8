/*
 * Unit tests: scrubbing, and what it repairs.
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
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/live.h>
#include <mrmr/repair.h>
#include <mrmr/scrub.h>
#include <mrmr/undo.h>

#include "protected.h"

#define GRID 65536
#define NUM_FILES 6
#define NUM_STRIPES 4
#define LEN ((size_t)GRID * 2 + 1234)

/* Five members, two rows. Three extents of large files on 0, 1, 2 in three
   stripes, rows on 3 and 4; packed small files of 0 and 1 in a fourth. */
struct pool {
	struct protected *p;
	struct pfile *files[NUM_FILES];
	uint64_t stripes[NUM_STRIPES];
	uint16_t first_day; /* the test may run past midnight */
};

static uint16_t today(void)
{
	return (uint16_t)(time(NULL) / 86400);
}

static void make_pool(struct pool *k)
{
	static const struct world_shape shape = {.num_members = 5,
						 .parity = "2"};
	static const struct prow rows[] = {{0, 3}, {1, 4}};
	struct pfile **f = k->files;
	uint32_t i;

	k->first_day = today();
	k->p = protected_new(&shape);
	f[0] = protected_file(k->p, 0, "a/large", 1, LEN, GRID);
	f[1] = protected_file(k->p, 1, "b/large", 2, LEN, GRID);
	f[2] = protected_file(k->p, 2, "large", 3, LEN, GRID);
	f[3] = protected_file(k->p, 0, "a/one", 4, 1000, GRID);
	f[4] = protected_file(k->p, 0, "a/two", 5, 17, GRID);
	f[5] = protected_file(k->p, 1, "b/three", 6, 3000, GRID);
	/* the pool is closed in some tests */
	for (i = 0; i < NUM_FILES; i++) {
		talloc_steal(NULL, f[i]);
	}
	for (i = 0; i < 3; i++) {
		k->stripes[i] =
			protected_stripe(k->p,
					 (struct pslot[]){{0, {{f[0], i, 0}}},
							  {1, {{f[1], i, 0}}},
							  {2, {{f[2], i, 0}}},
							  {0}},
					 rows, 2);
	}
	k->stripes[3] = protected_stripe(k->p,
					 (struct pslot[]){{3,
							   {{f[3], 0, 0},
							    {NULL, 0, 50},
							    {f[4], 0, 0}}},
							  {4, {{f[5], 0, 0}}},
							  {0}},
					 rows, 2);
}

static void free_pool(struct pool *k)
{
	size_t i;

	unsetenv("MRMR_FAULT");
	protected_free(k->p);
	for (i = 0; i < NUM_FILES; i++) {
		talloc_free(k->files[i]);
	}
}

/* --- scrubbing ------------------------------------------------------------------ */

#define FINDINGS_MAX 32

struct run {
	struct mrmr_scrub_options options;
	struct mrmr_scrub_result result;
	struct mrmr_scrub_finding findings[FINDINGS_MAX];
	size_t num;
	unsigned int stop_after; /* calls of progress, 0: never */
	unsigned int calls;
};

static void take(const struct mrmr_scrub_finding *finding,
		 struct mrmr_engine *engine, void *private_data)
{
	struct run *run = private_data;

	assert_non_null(engine);
	assert_true(run->num < FINDINGS_MAX);
	run->findings[run->num++] = *finding;
}

static void count(const struct mrmr_scrub_progress *progress,
		  void *private_data)
{
	struct run *run = private_data;

	assert_true(progress->done_bytes <= progress->todo_bytes);
	run->calls++;
}

static bool stop(void *private_data)
{
	const struct run *run = private_data;

	return run->stop_after != 0 && run->calls >= run->stop_after;
}

static int try_scrub(struct pool *k, struct run *run, struct mrmr_error *err)
{
	int ret;

	run->options.found = take;
	run->options.progress = count;
	run->options.should_stop = stop;
	run->options.private_data = run;
	run->num = 0;
	run->calls = 0;
	TALLOC_FREE(k->p->engine);
	ret = mrmr_scrub(k->p->w->pool, &run->options, &run->result, err);
	protected_reopen(k->p);
	return ret;
}

static void scrub(struct pool *k, struct run *run)
{
	struct mrmr_error err = {0};

	if (try_scrub(k, run, &err) == -1) {
		fail_msg("%s", err.text);
	}
}

static uint16_t day_of(struct pool *k, size_t stripe)
{
	uint16_t day = 0;

	assert_return_code(mrmr_catalog_scrubbed(k->p->engine->catalog,
						 k->stripes[stripe], &day),
			   errno);
	return day;
}

static void set_day(struct pool *k, size_t stripe, uint16_t day)
{
	struct mrmr_error err = {0};

	assert_return_code(mrmr_catalog_begin(k->p->engine->catalog), errno);
	assert_return_code(mrmr_catalog_set_scrubbed(k->p->engine->catalog,
						     k->stripes[stripe], day),
			   errno);
	assert_return_code(mrmr_catalog_commit(k->p->engine->catalog, &err),
			   errno);
}

static void check_is_today(const struct pool *k, uint16_t day)
{
	assert_in_range(day, k->first_day, today());
}

/* Are the bytes under the file's name right? */
static bool is_right(struct pool *k, const struct pfile *file)
{
	uint8_t *bytes = malloc(file->len + 1);
	int fd = open(protected_where(k->p, file), O_RDONLY);
	bool right;

	assert_non_null(bytes);
	assert_return_code(fd, errno);
	right = read(fd, bytes, file->len + 1) == (ssize_t)file->len &&
		memcmp(bytes, file->bytes, file->len) == 0;
	close(fd);
	free(bytes);
	return right;
}

/* Can its protected bytes be read, as everybody does who needs them? */
static bool is_live(struct pool *k, const struct pfile *file)
{
	struct mrmr_node *node = protected_node(k->p, file);
	struct mrmr_live *live = NULL;
	uint8_t *bytes = malloc(file->len);
	bool right;

	assert_non_null(bytes);
	right = mrmr_live_open(node, k->p->engine, node, &live) == 0 &&
		mrmr_live_read(live, bytes, file->len, 0) == 0 &&
		memcmp(bytes, file->bytes, file->len) == 0;
	free(bytes);
	talloc_free(node);
	return right;
}

/* Nothing lies in a member's .mrmr/rebuild. */
static bool is_swept(struct pool *k, size_t member)
{
	DIR *dir = opendir(world_drive(k->p->w, member, ".mrmr/rebuild"));
	struct dirent *entry = NULL;
	bool swept = true;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		swept = swept && entry->d_name[0] == '.';
	}
	if (dir != NULL) {
		closedir(dir);
	}
	return swept;
}

static void check_all_right(struct pool *k)
{
	struct run run = {.options = {.deep = true}};
	size_t i;

	scrub(k, &run);
	assert_int_equal(run.num, 0);
	for (i = 0; i < NUM_FILES; i++) {
		assert_true(is_right(k, k->files[i]));
		assert_true(is_live(k, k->files[i]));
	}
}

/* --- what is right --------------------------------------------------------------- */

static void test_healthy(void **state)
{
	struct pool k;
	struct run run = {.num = 0};
	size_t i;
	int deep;

	make_pool(&k);
	for (deep = 0; deep < 2; deep++) {
		run.options.deep = deep != 0;
		scrub(&k, &run);
		assert_true(run.result.is_complete);
		assert_int_equal(run.num, 0);
		assert_int_equal(run.result.num_stripes, NUM_STRIPES);
		assert_int_equal(run.result.num_blocks, 3 * 5 + 5);
		/* each byte once */
		assert_int_equal(run.result.num_bytes,
				 5 * LEN + 1000 + 17 + 3000 + 2 * 3000);
		for (i = 0; i < NUM_STRIPES; i++) {
			check_is_today(&k, day_of(&k, i));
		}
	}
	free_pool(&k);
}

static void test_nothing_protected(void **state)
{
	static const struct world_shape shape = {.parity = "1"};
	struct mrmr_scrub_options options = {.deep = false};
	struct mrmr_scrub_result result;
	struct mrmr_error err = {0};
	struct world *w = world_new(&shape);

	assert_int_equal(mrmr_scrub(w->pool, &options, &result, &err), -1);
	assert_int_equal(err.code, ENOENT);
	world_free(w);
}

/* --- what has gone bad ------------------------------------------------------------ */

/* Every extent of every file, and every parity block, one after another. */
static void test_every_block(void **state)
{
	struct pool k;
	struct run look = {.num = 0};
	struct run mend = {.options = {.repair = true}};
	size_t i;
	uint32_t j;

	make_pool(&k);
	for (i = 0; i < NUM_FILES; i++) {
		struct pfile *file = k.files[i];

		for (j = 0; j * file->grid < file->len; j++) {
			uint64_t at = (uint64_t)j * file->grid + 11;

			protected_flip(protected_where(k.p, file), at, 3);
			scrub(&k, &look);
			assert_int_equal(look.num, 1);
			assert_int_equal(look.findings[0].kind,
					 MRMR_SCRUB_WRONG);
			assert_int_equal(look.findings[0].outcome,
					 MRMR_SCRUB_LEFT);
			assert_int_equal(look.findings[0].file, file->id);
			assert_int_equal(look.findings[0].index, j);
			assert_false(look.findings[0].is_parity);
			assert_false(is_right(&k, file));
			scrub(&k, &mend);
			assert_int_equal(mend.num, 1);
			assert_int_equal(mend.findings[0].outcome,
					 MRMR_SCRUB_REPAIRED);
			assert_true(is_right(&k, file));
			assert_true(is_live(&k, file));
		}
	}
	for (i = 0; i < NUM_STRIPES; i++) {
		struct mrmr_stripe *stripe = NULL;

		for (j = 0; j < 2; j++) {
			char blob[512];

			/* each scrub closes the engine that it belongs to */
			stripe = protected_get_stripe(k.p, k.stripes[i]);
			snprintf(blob, sizeof(blob), "%s",
				 protected_blob(k.p, stripe, j));
			protected_flip(blob, 5, 0);
			scrub(&k, &look);
			assert_int_equal(look.num, 1);
			assert_true(look.findings[0].is_parity);
			assert_int_equal(look.findings[0].kind,
					 MRMR_SCRUB_WRONG);
			stripe = protected_get_stripe(k.p, k.stripes[i]);
			assert_memory_equal(look.findings[0].sha256,
					    stripe->rows[j].sha256, 32);
			assert_return_code(unlink(blob), errno);
			scrub(&k, &look);
			assert_int_equal(look.findings[0].kind,
					 MRMR_SCRUB_MISSING);
			scrub(&k, &mend);
			assert_int_equal(mend.num, 1);
			assert_int_equal(mend.findings[0].outcome,
					 MRMR_SCRUB_REPAIRED);
		}
	}
	check_all_right(&k);
	free_pool(&k);
}

/* What is as it was before: all but the inode. The bad one is in the trash. */
static void test_attributes(void **state)
{
	struct pool k;
	struct run mend = {.options = {.repair = true}};
	struct stat before;
	struct stat after;
	struct mrmr_node *node = NULL;
	uint32_t generation;
	const char *path = NULL;
	char value[8] = "";

	make_pool(&k);
	path = protected_where(k.p, k.files[0]);
	assert_return_code(setxattr(path, "trusted.test", "kept", 4, 0), errno);
	assert_return_code(chown(path, 12, 34), errno);
	assert_return_code(chmod(path, 04640), errno);
	protected_flip(path, 70000, 1);
	protected_flip(path, 17, 1); /* two extents of it */
	assert_return_code(stat(path, &before), errno);
	node = protected_node(k.p, k.files[0]);
	generation = node->generation;
	scrub(&k, &mend);
	assert_int_equal(mend.num, 1); /* the other one is right by then */
	assert_int_equal(mend.findings[0].outcome, MRMR_SCRUB_REPAIRED);
	path = protected_where(k.p, k.files[0]);
	assert_return_code(stat(path, &after), errno);
	assert_int_equal(after.st_mode, before.st_mode);
	assert_int_equal(after.st_uid, 12);
	assert_int_equal(after.st_gid, 34);
	assert_int_equal(after.st_size, before.st_size);
	assert_int_equal(after.st_nlink, 1);
	assert_memory_equal(&after.st_mtim, &before.st_mtim,
			    sizeof(after.st_mtim));
	assert_int_not_equal(after.st_ino, before.st_ino);
	assert_int_equal(getxattr(path, "trusted.test", value, 8), 4);
	assert_string_equal(value, "kept");
	assert_int_equal(world_trashed(k.p->w, 0, "large"), 1);
	assert_true(is_swept(&k, 0));
	/* catalogue and guard know the new one, and the old one no more */
	node = protected_node(k.p, k.files[0]);
	assert_int_equal(node->inode, after.st_ino);
	assert_true(node->generation > generation);
	assert_int_equal(mrmr_guard_find(k.p->engine->guard,
					 &k.p->w->pool->members[0].config->id,
					 after.st_ino),
			 node->generation);
	assert_int_equal(mrmr_guard_find(k.p->engine->guard,
					 &k.p->w->pool->members[0].config->id,
					 before.st_ino),
			 0);
	check_all_right(&k);
	/* and what clients overwrite from now on is kept */
	protected_overwrite(k.p, k.files[0], 100, 100000, 77);
	assert_true(is_live(&k, k.files[0]));
	free_pool(&k);
}

/* More is bad than there are rows: nothing is written. */
static void test_lost(void **state)
{
	struct pool k;
	struct run mend = {.options = {.repair = true}};
	size_t i;

	make_pool(&k);
	/* not the same bit: two of them would cancel each other in row 0 */
	for (i = 0; i < 3; i++) {
		protected_flip(protected_where(k.p, k.files[i]), 9,
			       (unsigned int)i);
	}
	scrub(&k, &mend);
	assert_int_equal(mend.num, 3);
	assert_int_equal(mend.result.lost_blocks, 3);
	for (i = 0; i < 3; i++) {
		assert_int_equal(mend.findings[i].outcome, MRMR_SCRUB_LOST);
		assert_false(is_right(&k, k.files[i]));
	}
	assert_int_equal(day_of(&k, 0), 0); /* the first next time */
	check_is_today(&k, day_of(&k, 1));
	/* with one of them right again, so are the others */
	protected_flip(protected_where(k.p, k.files[1]), 9, 1);
	scrub(&k, &mend);
	assert_int_equal(mend.result.repaired_blocks, 2);
	assert_int_equal(mend.result.lost_blocks, 0);
	check_is_today(&k, day_of(&k, 0));
	check_all_right(&k);
	free_pool(&k);
}

/* --- what is no error ---------------------------------------------------------------- */

static bool is_told(struct pool *k, const char *path, enum mrmr_event_kind kind)
{
	struct mrmr_event *events = NULL;
	size_t num = 0;
	bool told = false;
	size_t i;

	assert_return_code(mrmr_queue_take(k->p->engine->queue, k->p->engine,
					   &events, &num),
			   errno);
	for (i = 0; i < num; i++) {
		told = told || (events[i].kind == kind &&
				strcmp(events[i].path, path) == 0);
	}
	mrmr_queue_done(k->p->engine->queue);
	return told;
}

/* A file that was changed behind our back is not repaired: its owner wanted it
   so. */
static void test_changed(void **state)
{
	struct pool k;
	struct run mend = {.options = {.repair = true}};
	const char *path = NULL;
	struct stat before;
	struct stat after;

	make_pool(&k);
	is_told(&k, "", MRMR_EVENT_SCAN); /* what is in the queue */
	path = protected_where(k.p, k.files[1]);
	world_write(path, "mine");
	assert_return_code(stat(path, &before), errno);
	assert_return_code(unlink(protected_where(k.p, k.files[4])), errno);
	/* the same size, another time */
	protected_flip(protected_where(k.p, k.files[3]), 1, 1);
	assert_return_code(utimensat(AT_FDCWD, protected_where(k.p, k.files[3]),
				     NULL, 0),
			   errno);
	scrub(&k, &mend);
	assert_int_equal(mend.num, 5);
	assert_int_equal(mend.result.changed_blocks, 5);
	assert_int_equal(mend.result.wrong_blocks, 0);
	assert_string_equal(world_read(protected_where(k.p, k.files[1])),
			    "mine");
	assert_return_code(stat(protected_where(k.p, k.files[1]), &after),
			   errno);
	assert_int_equal(after.st_ino, before.st_ino);
	assert_false(is_right(&k, k.files[3]));
	assert_true(is_told(&k, "b/large", MRMR_EVENT_CHANGED));
	free_pool(&k);
}

/* What clients overwrote is kept in pre-images: all is right. */
static void test_preimages(void **state)
{
	struct pool k;
	struct run mend = {.options = {.repair = true}};
	struct stat before;
	struct timespec times[2];

	make_pool(&k);
	assert_return_code(stat(protected_where(k.p, k.files[0]), &before),
			   errno);
	protected_overwrite(k.p, k.files[0], 10, 100000, 42);
	protected_overwrite(k.p, k.files[5], 0, 10, 43);
	scrub(&k, &mend);
	assert_int_equal(mend.num, 0);
	/* a client that gives it the old time, and then a bit turns in what he
	   has not written: not to be repaired with what he has overwritten */
	times[0] = before.st_atim;
	times[1] = before.st_mtim;
	assert_return_code(utimensat(AT_FDCWD, protected_where(k.p, k.files[0]),
				     times, 0),
			   errno);
	scrub(&k, &mend);
	assert_int_equal(mend.num, 0);
	assert_false(is_right(&k, k.files[0]));
	free_pool(&k);
}

/* Members that are away are not looked at, and their stripes stay old. */
static void test_away(void **state)
{
	struct pool k;
	struct run run = {.num = 0};

	make_pool(&k);
	protected_unplug(k.p, 1u << 2);
	scrub(&k, &run);
	assert_int_equal(run.num, 0);
	assert_int_equal(run.result.away_blocks, 3);
	assert_int_equal(day_of(&k, 0), 0);
	check_is_today(&k, day_of(&k, 3));
	/* and it can be repaired without */
	protected_flip(protected_where(k.p, k.files[0]), 100, 1);
	run.options.repair = true;
	scrub(&k, &run);
	assert_int_equal(run.result.repaired_blocks, 1);
	protected_unplug(k.p, 0);
	protected_reopen(k.p);
	check_all_right(&k);
	free_pool(&k);
}

static void unplug(const struct mrmr_scrub_progress *progress,
		   void *private_data)
{
	struct pool *k = private_data;

	protected_unplug(k->p, 1u << 1);
}

/* One goes in the middle of it: nothing is bad for that. */
static void test_goes_away(void **state)
{
	struct pool k;
	struct mrmr_scrub_options options = {
		.repair = true,
		.progress = unplug,
		.private_data = &k,
	};
	struct mrmr_scrub_result result;

	make_pool(&k);
	protected_flip(protected_where(k.p, k.files[0]), 2 * GRID, 1);
	TALLOC_FREE(k.p->engine);
	assert_int_equal(mrmr_scrub(k.p->w->pool, &options, &result, NULL), 0);
	assert_int_equal(result.wrong_blocks, 1);
	assert_int_equal(result.repaired_blocks, 1);
	assert_int_equal(result.changed_blocks, 0);
	assert_true(result.is_complete);
	assert_true(is_right(&k, k.files[0]));
	protected_unplug(k.p, 0);
	protected_reopen(k.p);
	check_all_right(&k);
	free_pool(&k);
}

/* --- files that cannot be replaced now ----------------------------------------------- */

static void test_in_use(void **state)
{
	struct pool k;
	struct run mend = {.options = {.repair = true}};
	char name[512];
	int fd;

	make_pool(&k);
	protected_flip(protected_where(k.p, k.files[2]), 0, 1);
	fd = open(protected_where(k.p, k.files[2]), O_WRONLY);
	assert_return_code(fd, errno);
	scrub(&k, &mend);
	assert_int_equal(mend.num, 1);
	assert_int_equal(mend.findings[0].outcome, MRMR_SCRUB_FAILED);
	assert_int_equal(world_trashed(k.p->w, 2, "large"), 0);
	assert_true(is_swept(&k, 2));
	close(fd);
	/* readers do not matter */
	fd = open(protected_where(k.p, k.files[2]), O_RDONLY);
	assert_return_code(fd, errno);
	/* but further names do */
	snprintf(name, sizeof(name), "%s", protected_where(k.p, k.files[2]));
	assert_return_code(link(name, world_drive(k.p->w, 2, "again")), errno);
	scrub(&k, &mend);
	assert_int_equal(mend.findings[0].outcome, MRMR_SCRUB_FAILED);
	assert_return_code(unlink(world_drive(k.p->w, 2, "again")), errno);
	scrub(&k, &mend);
	assert_int_equal(mend.findings[0].outcome, MRMR_SCRUB_REPAIRED);
	close(fd);
	check_all_right(&k);
	free_pool(&k);
}

/* The next ones that are to be had are so many; less what is open already. */
static void leave_descriptors(struct rlimit *usual, unsigned int num)
{
	int first = open("/", O_RDONLY);
	struct rlimit low;

	assert_return_code(first, errno);
	close(first);
	assert_return_code(getrlimit(RLIMIT_NOFILE, usual), errno);
	low = *usual;
	low.rlim_cur = (rlim_t)first + num;
	assert_return_code(setrlimit(RLIMIT_NOFILE, &low), errno);
}

/* A process that is short of descriptors takes nothing for bad, or for lost. */
static void test_short_of_descriptors(void **state)
{
	unsigned int num_told = 0;
	unsigned int num;
	struct pool k;

	make_pool(&k);
	protected_flip(protected_where(k.p, k.files[0]), 70000, 1);
	protected_flip(protected_blob(k.p,
				      protected_get_stripe(k.p, k.stripes[2]),
				      0),
		       1, 1);
	for (num = 2; num <= 60; num++) {
		struct run run = {.options = {.found = take}};
		struct mrmr_error err = {0};
		struct rlimit usual;
		size_t i;
		int ret;

		run.options.private_data = &run;
		TALLOC_FREE(k.p->engine);
		leave_descriptors(&usual, num);
		ret = mrmr_scrub(k.p->w->pool, &run.options, &run.result, &err);
		assert_return_code(setrlimit(RLIMIT_NOFILE, &usual), errno);
		for (i = 0; i < run.num; i++) {
			if (run.findings[i].kind != MRMR_SCRUB_WRONG ||
			    run.findings[i].outcome != MRMR_SCRUB_LEFT) {
				fail_msg("%u descriptors: kind %d, outcome %d",
					 num, run.findings[i].kind,
					 run.findings[i].outcome);
			}
		}
		if (ret == 0 && run.num != 2) {
			fail_msg("%u descriptors: %zu of 2 found", num,
				 run.num);
		}
		num_told += ret == 0;
		protected_reopen(k.p);
	}
	/* some did, and some were too few */
	assert_in_range(num_told, 1, 55);
	free_pool(&k);
}

/* Writes to what has the name as soon as that is another file; and wants to write
   to the one that had it, and was found before. */
struct comer {
	char path[512];
	int found_fd;
	ino_t inode;
	atomic_bool stop;
	bool has_come;
	pthread_t thread;
};

#define WRITTEN "written meanwhile"

static void *come(void *arg)
{
	struct comer *comer = arg;
	char path[64];
	struct stat st;
	int fd;

	do {
		if (atomic_load(&comer->stop)) {
			return NULL;
		}
	} while (stat(comer->path, &st) == -1 || st.st_ino == comer->inode);
	if (comer->found_fd != -1) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d",
			 comer->found_fd);
		fd = open(path, O_WRONLY | O_NONBLOCK);
		if (fd != -1) {
			close(fd);
		}
	}
	fd = open(comer->path, O_WRONLY);
	comer->has_come = fd != -1 && pwrite(fd, WRITTEN, sizeof(WRITTEN), 0) ==
					      (ssize_t)sizeof(WRITTEN);
	close(fd);
	return NULL;
}

/* Who has found the copy has written to the file, whatever becomes of the repair. */
static void test_comes_meanwhile(void **state)
{
	static const char *const faults[] = {
		"", "trash=ENOSPC", "repair-renamed=EIO", "", "trash=ENOSPC",
	};
	unsigned int num_come = 0;
	size_t i;

	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct run mend = {.options = {.repair = true}};
		char got[sizeof(WRITTEN)] = "";
		struct comer comer = {.found_fd = -1};
		struct pool k;
		struct stat st;
		int fd;

		make_pool(&k);
		protected_flip(protected_where(k.p, k.files[0]), 70000, 1);
		snprintf(comer.path, sizeof(comer.path), "%s",
			 protected_where(k.p, k.files[0]));
		if (i < 3) {
			comer.found_fd = open(comer.path, O_PATH | O_CLOEXEC);
			assert_return_code(comer.found_fd, errno);
		}
		assert_return_code(stat(comer.path, &st), errno);
		comer.inode = st.st_ino;
		setenv("MRMR_FAULT", faults[i], 1);
		assert_int_equal(pthread_create(&comer.thread, NULL, come,
						&comer),
				 0);
		scrub(&k, &mend);
		atomic_store(&comer.stop, true);
		pthread_join(comer.thread, NULL);
		unsetenv("MRMR_FAULT");
		if (comer.found_fd != -1) {
			close(comer.found_fd);
		}
		if (comer.has_come) {
			num_come++;
			fd = open(comer.path, O_RDONLY);
			assert_return_code(fd, errno);
			assert_int_equal(read(fd, got, sizeof(got)),
					 sizeof(got));
			assert_string_equal(got, WRITTEN);
			close(fd);
		}
		free_pool(&k);
	}
	/* each has a twentieth of a second for it */
	assert_true(num_come > 0);
}

/* --- which, and in which order --------------------------------------------------------- */

static void test_order(void **state)
{
	struct pool k;
	struct run run = {.options = {.percent = 20}};
	uint16_t now = today();

	make_pool(&k);
	set_day(&k, 0, now - 5);
	set_day(&k, 1, now - 20);
	set_day(&k, 2, now - 10);
	set_day(&k, 3, now - 1);
	/* 20 percent of all is less than one of the large ones */
	scrub(&k, &run);
	assert_int_equal(run.result.num_stripes, 1);
	check_is_today(&k, day_of(&k, 1));
	assert_int_equal(day_of(&k, 2), now - 10);
	run.options.percent = 0;
	run.options.older_days = 10;
	scrub(&k, &run);
	assert_int_equal(run.result.num_stripes, 1);
	check_is_today(&k, day_of(&k, 2));
	assert_int_equal(day_of(&k, 0), now - 5);
	free_pool(&k);
}

/* Stopped after any number of stripes, it goes on where it was. */
static void test_stop(void **state)
{
	struct pool k;
	unsigned int after;

	for (after = 1; after <= NUM_STRIPES; after++) {
		struct run run = {.stop_after = after};
		struct mrmr_scrub_state told;
		uint64_t done;

		make_pool(&k);
		scrub(&k, &run);
		/* what is in no stripe was not looked at yet */
		assert_false(run.result.is_complete);
		assert_int_equal(run.result.num_stripes, after);
		done = run.result.num_stripes;
		assert_return_code(mrmr_scrub_state(k.p->engine->catalog,
						    &told),
				   errno);
		assert_true(told.is_unfinished);
		run.stop_after = 0;
		scrub(&k, &run);
		assert_true(run.result.is_complete);
		assert_int_equal(run.result.num_stripes, NUM_STRIPES - done);
		assert_return_code(mrmr_scrub_state(k.p->engine->catalog,
						    &told),
				   errno);
		assert_false(told.is_unfinished);
		free_pool(&k);
	}
}

static void test_ages(void **state)
{
	struct pool k;
	struct run mend = {.options = {.repair = true}};
	struct mrmr_scrub_ages ages;
	struct mrmr_scrub_state told;
	uint16_t now;

	make_pool(&k);
	do {
		now = today();
		set_day(&k, 0, now - 31);
		set_day(&k, 1, now - 30);
		set_day(&k, 2, now);
		assert_return_code(mrmr_scrub_ages(k.p->engine->catalog, &ages),
				   errno);
	} while (today() != now);
	assert_int_equal(ages.num_stripes, 4);
	assert_int_equal(ages.num_looked_at, 4);
	assert_int_equal(ages.num_never, 1);
	assert_int_equal(ages.num_recent, 2);
	assert_int_equal(ages.oldest_days, 31);
	assert_int_equal(mrmr_scrub_state(k.p->engine->catalog, &told), -1);
	protected_flip(protected_where(k.p, k.files[0]), 1, 1);
	scrub(&k, &mend);
	protected_flip(protected_where(k.p, k.files[0]), 1, 1);
	mend.options.repair = false;
	scrub(&k, &mend);
	assert_return_code(mrmr_scrub_state(k.p->engine->catalog, &told),
			   errno);
	assert_int_equal(told.wrong_blocks, 1);
	assert_int_equal(told.left_blocks, 1);
	assert_int_equal(told.ever_wrong_blocks, 2);
	assert_int_equal(told.ever_repaired_blocks, 1);
	free_pool(&k);
}

/* --- faults --------------------------------------------------------------------------- */

#ifdef MRMR_WITH_FAULTS

/* A sector that cannot be read, of a file or of a parity block. */
static void test_unreadable(void **state)
{
	struct pool k;
	struct run mend = {.options = {.repair = true}};

	make_pool(&k);
	/* one reader fails, and the second look finds nothing */
	setenv("MRMR_FAULT", "scrub-read#3=EIO", 1);
	scrub(&k, &mend);
	assert_int_equal(mend.num, 0);
	/* the second look fails too */
	protected_flip(protected_where(k.p, k.files[0]), 1, 1);
	setenv("MRMR_FAULT", "scrub-blob#1=EIO", 1);
	scrub(&k, &mend);
	assert_int_equal(mend.num, 2);
	assert_int_equal(mend.findings[1].kind, MRMR_SCRUB_UNREADABLE);
	assert_int_equal(mend.findings[1].outcome, MRMR_SCRUB_REPAIRED);
	unsetenv("MRMR_FAULT");
	check_all_right(&k);
	free_pool(&k);
}

/* The copy cannot be made or take its name: all is as it was. */
static void test_repair_fails(void **state)
{
	static const char *const faults[] = {
		"repair-write#1=ENOSPC", "repair-write#3=EIO",
		"repair-sync=EIO",       "trash=ENOSPC",
		"repair-declared=EIO",   "repair-noted=EIO",
		"repair-rename=EIO",     "repair-renamed=EIO",
	};
	struct run mend = {.options = {.repair = true}};
	struct pool k;
	size_t i;

	make_pool(&k);
	protected_flip(protected_where(k.p, k.files[0]), 70000, 1);
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct stat before;
		struct stat after;

		assert_return_code(stat(protected_where(k.p, k.files[0]),
					&before),
				   errno);
		setenv("MRMR_FAULT", faults[i], 1);
		scrub(&k, &mend);
		unsetenv("MRMR_FAULT");
		assert_int_equal(mend.num, 1);
		assert_int_equal(mend.findings[0].outcome, MRMR_SCRUB_FAILED);
		assert_return_code(stat(protected_where(k.p, k.files[0]),
					&after),
				   errno);
		assert_int_equal(after.st_ino, before.st_ino);
		assert_int_equal(after.st_nlink, 1);
		assert_int_equal(protected_node(k.p, k.files[0])->inode,
				 after.st_ino);
		assert_int_equal(world_trashed(k.p->w, 0, "large"), 0);
		assert_true(is_swept(&k, 0));
	}
	setenv("MRMR_FAULT", "repair-row=ENOSPC", 1);
	protected_flip(protected_blob(k.p,
				      protected_get_stripe(k.p, k.stripes[2]),
				      0),
		       1, 1);
	scrub(&k, &mend);
	unsetenv("MRMR_FAULT");
	assert_int_equal(mend.num, 2);
	assert_int_equal(mend.findings[1].outcome, MRMR_SCRUB_FAILED);
	scrub(&k, &mend);
	assert_int_equal(mend.result.repaired_blocks, 1);
	check_all_right(&k);
	free_pool(&k);
}

/* A process of its own repairs, and dies at a point. True if it died. */
static bool die_in_repair(struct pool *k, const char *fault)
{
	int status = 0;
	pid_t pid;

	TALLOC_FREE(k->p->engine);
	world_close(k->p->w);
	setenv("MRMR_FAULT", fault, 1);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		struct mrmr_scrub_options options = {.repair = true};
		struct mrmr_scrub_result result;

		world_open_in_child(k->p->w);
		_exit(mrmr_scrub(k->p->w->pool, &options, &result, NULL) == 0
			      ? 0
			      : 1);
	}
	unsetenv("MRMR_FAULT");
	assert_int_equal(waitpid(pid, &status, 0), pid);
	world_open(k->p->w);
	return WIFSIGNALED(status);
}

/*
 * Invariant 2 through a kill at each point of a repair: the file's protected
 * bytes are there, also if a client overwrites them before anybody comes to
 * finish it; and in the end it is right.
 */
static void test_kill(void **state)
{
	static const char *const faults[] = {
		"repair-write#2=kill",  "repair-sync=kill",
		"repair-declared=kill", "repair-noted=kill",
		"trash=kill",           "repair-rename=kill",
		"repair-renamed=kill",  "repair-committed=kill",
		"scrub-record=kill",
	};
	struct run mend = {.options = {.repair = true}};
	size_t i;
	int written;

	for (i = 0; i < 2 * sizeof(faults) / sizeof(faults[0]); i++) {
		const char *fault = faults[i / 2];
		struct pool k;
		struct stat st;

		written = i % 2;
		make_pool(&k);
		protected_flip(protected_where(k.p, k.files[0]), 70000, 1);
		if (!die_in_repair(&k, fault)) {
			fail_msg("%s does not kill", fault);
		}
		/* a whole file, of one kind or the other */
		assert_return_code(stat(protected_where(k.p, k.files[0]), &st),
				   errno);
		assert_int_equal(st.st_size, LEN);
		if (written) {
			/* what was not bad */
			protected_overwrite(k.p, k.files[0], 10, 100, 50);
			protected_overwrite(k.p, k.files[0], 140000 - 9000, 5,
					    51);
		}
		protected_reopen(k.p);
		if (written) {
			struct mrmr_node *node =
				protected_node(k.p, k.files[0]);
			struct mrmr_live *live = NULL;
			uint8_t *bytes = malloc(LEN);

			assert_return_code(mrmr_live_open(node, k.p->engine,
							  node, &live),
					   errno);
			assert_return_code(mrmr_live_read(live, bytes, LEN, 0),
					   errno);
			/* but for the bad bit, if that is still there */
			bytes[70000] = k.files[0]->bytes[70000];
			assert_memory_equal(bytes, k.files[0]->bytes, LEN);
			free(bytes);
			talloc_free(node);
		} else {
			scrub(&k, &mend);
			check_all_right(&k);
			assert_true(is_swept(&k, 0));
		}
		assert_int_equal(mrmr_guard_find(k.p->engine->guard,
						 &k.p->w->pool->members[0]
							  .config->id,
						 protected_node(k.p, k.files[0])
							 ->inode) == 0,
				 0);
		free_pool(&k);
	}
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_healthy),
		cmocka_unit_test(test_nothing_protected),
		cmocka_unit_test(test_every_block),
		cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_changed),
		cmocka_unit_test(test_preimages),
		cmocka_unit_test(test_away),
		cmocka_unit_test(test_goes_away),
		cmocka_unit_test(test_in_use),
		cmocka_unit_test(test_short_of_descriptors),
		cmocka_unit_test(test_comes_meanwhile),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_ages),
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_repair_fails),
		cmocka_unit_test(test_kill),
#endif
	};

	return WORLD_MAIN("scrub", tests);
}
