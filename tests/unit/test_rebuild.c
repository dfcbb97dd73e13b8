/*
 * Unit tests: bringing back what was on a lost member.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

#include <mrmr/absent.h>
#include <mrmr/decode.h>
#include <mrmr/fault.h>
#include <mrmr/protection.h>
#include <mrmr/protector.h>
#include <mrmr/rebuild.h>
#include <mrmr/serve.h>
#include <mrmr/shared.h>

#include "lossy.h"

#define ONTO 4u /* has nothing in any stripe */
#define SMALL_BATCH 70000

/* --- running it -------------------------------------------------------------------- */

struct told {
	unsigned int num[5]; /* by kind */
	char last[700];
	char why[400];
	unsigned int stop_after; /* calls of should_stop, 0: never */
	unsigned int asked;
	uint64_t wanted;
	char order[4000];
};

static void trouble(enum mrmr_rebuild_trouble kind, const char *path,
		    uint64_t size_bytes, const char *why, void *private_data)
{
	struct told *told = private_data;

	told->num[kind]++;
	snprintf(told->last, sizeof(told->last), "%s", path);
	snprintf(told->why, sizeof(told->why), "%s", why);
}

static bool should_stop(void *private_data)
{
	struct told *told = private_data;

	return told->stop_after != 0 && ++told->asked >= told->stop_after;
}

static struct mrmr_rebuild_options options(struct told *told, size_t onto)
{
	return (struct mrmr_rebuild_options){
		.lost = LOSSY_LOST,
		.onto = onto,
		.batch_bytes = SMALL_BATCH,
		.trouble = trouble,
		.should_stop = should_stop,
		.private_data = told,
	};
}

static struct mrmr_rebuild_result run(struct lossy *l, struct told *told,
				      size_t onto)
{
	const struct mrmr_rebuild_options o = options(told, onto);
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	if (mrmr_rebuild(l->p->engine, &o, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	return result;
}

static void check_no_trouble(const struct told *told)
{
	unsigned int i;

	for (i = 0; i < 5; i++) {
		if (told->num[i] != 0) {
			fail_msg("%s: %s", told->last, told->why);
		}
	}
}

/* --- it works ------------------------------------------------------------------------ */

static void check_files_complete(struct lossy *l, size_t onto)
{
	struct told told = {0};
	struct mrmr_rebuild_result result;

	lossy_lose(l);
	result = run(l, &told, onto);
	check_no_trouble(&told);
	assert_int_equal(result.files, l->num_things);
	assert_int_equal(result.lost_files, 0);
	assert_true(result.is_complete);
	lossy_check_things(l);
	lossy_check_stripes(l);
	lossy_check_clean(l);
	assert_int_equal(strlen(world_where(l->p->w, "lonely")), 3);
}

/* Invariant 1, 4: every file is there again, whole and right, once. */
static void test_onto(void **state)
{
	struct lossy *l = lossy_new(1, NULL);

	check_files_complete(l, ONTO);
	lossy_free(l);
}

static void test_spread(void **state)
{
	struct lossy *l = lossy_new(2, NULL);

	check_files_complete(l, MRMR_REBUILD_SPREAD);
	lossy_free(l);
}

/* The unit of member 1 has data in all stripes: the files leave them. */
static void test_onto_a_unit_of_the_stripes(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {0};
	struct mrmr_rebuild_result result;

	lossy_lose(l);
	result = run(l, &told, 1);
	check_no_trouble(&told);
	assert_true(result.is_complete);
	assert_int_equal(result.bare_extents, 0);
	lossy_check_things(l);
	lossy_check_stripes(l);
	lossy_free(l);
}

/* Some stripes with data on all members but the lost one, which has their parity. */
static struct lossy new_too_wide(size_t num, const struct pfile **shortest)
{
	const struct world_shape shape = {.num_members = 4, .parity = "1"};
	const struct prow rows[1] = {{0, LOSSY_LOST}};
	struct lossy l = {.p = protected_new(&shape)};
	size_t n, i;

	for (n = 0; n < num; n++) {
		struct pslot slots[4] = {{0}};

		for (i = 0; i < 3; i++) {
			char path[48];

			snprintf(path, sizeof(path), "%zu/f%zu", n, i);
			slots[i].slot = (unsigned int)i;
			slots[i].pieces[0].file =
				protected_file(l.p, i + 1, path,
					       (unsigned int)(3 * n + i + 1),
					       30000 + 1000 * i, 65536);
		}
		*shortest = slots[0].pieces[0].file;
		protected_stripe(l.p, slots, rows, 1);
	}
	protected_unplug(l.p, 1 << LOSSY_LOST);
	protected_reopen(l.p);
	return l;
}

/* With a unit less, it has no place for its parity: it becomes narrower. */
static void test_stripe_is_too_wide(void **state)
{
	const struct pfile *shortest = NULL;
	struct lossy l = new_too_wide(1, &shortest);
	struct mrmr_rebuild_result result;
	struct mrmr_catalog_sums sums;
	struct told told = {0};

	result = run(&l, &told, MRMR_REBUILD_SPREAD);
	check_no_trouble(&told);
	assert_true(result.is_complete);
	assert_int_equal(result.bare_extents, 0);
	assert_int_equal(mrmr_catalog_sums(l.p->engine->catalog,
					   MRMR_MEMBER_NONE, &sums),
			 0);
	assert_int_equal(sums.num_stripes, 2);
	assert_int_equal(sums.protected_bytes, 93000);
	lossy_check_stripes(&l);
	protected_free(l.p);
}

static struct mrmr_extent first_extent(struct lossy *l,
				       const struct pfile *file)
{
	struct mrmr_extent extent;
	uint32_t got = 0;

	assert_return_code(mrmr_catalog_get_extents(l->p->engine->catalog,
						    protected_node(l->p, file)
							    ->id,
						    0, &extent, 1, &got),
			   errno);
	assert_int_equal(got, 1);
	return extent;
}

/* Invariant 4: what has rotted meanwhile does not become what is right. */
static void test_too_wide_and_rotten(void **state)
{
	const struct pfile *shortest = NULL;
	struct lossy l = new_too_wide(1, &shortest);
	const struct mrmr_extent before = first_extent(&l, shortest);
	struct mrmr_extent after;
	struct told told = {0};

	protected_flip(protected_where(l.p, shortest), 9, 1);
	run(&l, &told, MRMR_REBUILD_SPREAD);
	after = first_extent(&l, shortest);
	assert_int_equal(after.state, MRMR_EXTENT_IN_STRIPE);
	assert_memory_equal(after.sha256, before.sha256, sizeof(before.sha256));
	protected_flip(protected_where(l.p, shortest), 9, 1);
	assert_true(run(&l, &told, MRMR_REBUILD_SPREAD).is_complete);
	lossy_check_stripes(&l);
	protected_free(l.p);
}

/* Those that can become narrower do, whatever is wrong with another one. */
static void test_some_are_too_wide(void **state)
{
	const struct pfile *shortest = NULL;
	struct lossy l = new_too_wide(6, &shortest);
	struct mrmr_rebuild_result result;
	struct told told = {0};

	protected_flip(protected_where(l.p, shortest), 9, 1);
	result = run(&l, &told, MRMR_REBUILD_SPREAD);
	assert_int_equal(result.stripes, 5);
	assert_int_equal(result.stripes_left, 1);
	assert_int_equal(result.bare_extents, 0);
	protected_flip(protected_where(l.p, shortest), 9, 1);
	result = run(&l, &told, MRMR_REBUILD_SPREAD);
	assert_true(result.is_complete);
	assert_int_equal(result.stripes, 1);
	lossy_check_stripes(&l);
	protected_free(l.p);
}

/* What is planned is what is done, and planning does nothing. */
static void test_plan(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {0};
	const struct mrmr_rebuild_options o =
		options(&told, MRMR_REBUILD_SPREAD);
	struct mrmr_rebuild_result plan;
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};
	uint64_t sequence;

	lossy_lose(l);
	sequence = mrmr_catalog_sequence(l->p->engine->catalog);
	assert_int_equal(mrmr_rebuild_plan(l->p->engine, &o, &plan, &err), 0);
	check_no_trouble(&told);
	assert_int_equal(mrmr_catalog_sequence(l->p->engine->catalog),
			 sequence);
	assert_string_equal(world_where(l->p->w, "films/large"), "0");
	assert_true(plan.room_bytes > plan.bytes);
	assert_int_equal(plan.stripes, 1);
	result = run(l, &told, MRMR_REBUILD_SPREAD);
	assert_int_equal(plan.files, result.files);
	assert_int_equal(plan.bytes, result.bytes);
	assert_int_equal(plan.stripes, result.stripes);
	assert_int_equal(plan.parity_bytes, result.parity_bytes);
	lossy_free(l);
}

/* Its files would be there twice. */
static void test_online(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {0};
	const struct mrmr_rebuild_options o = options(&told, ONTO);
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	assert_int_equal(mrmr_rebuild(l->p->engine, &o, &result, &err), -1);
	assert_int_equal(errno, EBUSY);
	assert_non_null(strstr(err.text, "is there"));
	assert_string_equal(world_where(l->p->w, "films/large"), "0");
	lossy_free(l);
}

static void test_forget(void **state)
{
	const struct mrmr_protect_options names = {.names_only = true};
	struct lossy *l = lossy_new(1, NULL);
	struct mrmr_protect_result result;
	struct mrmr_error err = {0};
	struct told told = {0};

	lossy_lose(l);
	assert_int_equal(mrmr_rebuild_forget(l->p->engine, LOSSY_LOST, &err),
			 -1);
	assert_int_equal(errno, EBUSY);
	run(l, &told, ONTO);
	assert_int_equal(mrmr_rebuild_forget(l->p->engine, LOSSY_LOST, &err),
			 -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(mrmr_protect(l->p->engine, &names, &result, &err), 0);
	assert_int_equal(mrmr_rebuild_forget(l->p->engine, LOSSY_LOST, &err),
			 0);
	lossy_free(l);
}

/* Invariant 2: who writes to a file that came back keeps its protected bytes. */
static void test_guarded(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct thing *thing = lossy_thing(l, "films/large");
	struct pfile file = {.member = ONTO, .path = "films/large"};
	struct mrmr_node *node = NULL;
	struct told told = {0};
	uint64_t old_inode;

	assert_int_equal(mrmr_catalog_get(l->p->engine->catalog, l->p->engine,
					  thing->id, &node),
			 0);
	old_inode = node->inode;
	lossy_lose(l);
	run(l, &told, ONTO);
	assert_int_equal(mrmr_catalog_get(l->p->engine->catalog, l->p->engine,
					  thing->id, &node),
			 0);
	assert_int_equal(mrmr_guard_find(l->p->engine->guard,
					 &l->p->w->pool->members[ONTO]
						  .config->id,
					 node->inode),
			 node->generation);
	assert_int_equal(mrmr_guard_find(l->p->engine->guard,
					 &l->p->w->pool->members[LOSSY_LOST]
						  .config->id,
					 old_inode),
			 0);
	protected_overwrite(l->p, &file, 0, 100000, 4711);
	assert_true(world_there(world_drive(l->p->w, ONTO, ".mrmr/undo")));
	lossy_free(l);
}

/* --- what cannot be brought back ------------------------------------------------------ */

/* A second loss is too much for one row, and nothing for two. */
static void test_too_much_is_lost(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {0};
	struct told planned = {0};
	const struct mrmr_rebuild_options o = options(&planned, ONTO);
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	lossy_lose(l);
	protected_unplug(l->p, 1 << LOSSY_LOST | 1 << 1);
	protected_reopen(l->p);
	assert_int_equal(mrmr_rebuild_plan(l->p->engine, &o, &result, &err), 0);
	assert_int_equal(planned.num[MRMR_REBUILD_LOST], 5);
	result = run(l, &told, ONTO);
	/* the large one, and those of the packed slot */
	assert_int_equal(told.num[MRMR_REBUILD_LOST], 5);
	assert_int_equal(result.lost_files, 5);
	assert_false(result.is_complete);
	assert_string_equal(world_where(l->p->w, "films/large"), "0");
	assert_string_equal(lossy_compare(l, lossy_thing(l, "small/symlink")),
			    "");
	lossy_check_clean(l);
	/* it is in the catalogue still: once the other one is back, all is */
	protected_unplug(l->p, 1 << LOSSY_LOST);
	protected_reopen(l->p);
	memset(&told, 0, sizeof(told));
	result = run(l, &told, ONTO);
	check_no_trouble(&told);
	assert_true(result.is_complete);
	lossy_check_things(l);
	lossy_check_stripes(l);
	lossy_free(l);

	l = lossy_new(2, NULL);
	lossy_lose(l);
	protected_unplug(l->p, 1 << LOSSY_LOST | 1 << 1);
	protected_reopen(l->p);
	memset(&told, 0, sizeof(told));
	run(l, &told, ONTO);
	assert_int_equal(told.num[MRMR_REBUILD_LOST], 0);
	lossy_check_things(l);
	lossy_free(l);
}

/* Invariant 4: wrong bytes of a sibling never become a file. */
static void test_wrong_bytes(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {0};
	struct mrmr_rebuild_result result;

	protected_flip(world_drive(l->p->w, 1, "others/101"), 17, 3);
	lossy_lose(l);
	result = run(l, &told, ONTO);
	assert_int_equal(told.num[MRMR_REBUILD_LOST], 1);
	assert_string_equal(told.last, "films/large");
	assert_int_equal(result.lost_files, 1);
	assert_string_equal(world_where(l->p->w, "films/large"), "0");
	assert_string_equal(world_where(l->p->w, "films/same"), "0");
	lossy_check_clean(l);
	/* and when they are right again */
	protected_flip(world_drive(l->p->w, 1, "others/101"), 17, 3);
	memset(&told, 0, sizeof(told));
	assert_true(run(l, &told, ONTO).is_complete);
	lossy_check_things(l);
	lossy_check_stripes(l);
	lossy_free(l);

	/* with a second row it is decoded otherwise */
	l = lossy_new(2, NULL);
	protected_flip(world_drive(l->p->w, 1, "others/101"), 17, 3);
	lossy_lose(l);
	memset(&told, 0, sizeof(told));
	result = run(l, &told, ONTO);
	check_no_trouble(&told);
	assert_true(result.is_complete);
	lossy_check_things(l);
	lossy_free(l);
}

/* A piece that stays lost: the others of its slot leave it. */
static void test_part_of_a_slot(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {0};
	struct thing *lost = lossy_thing(l, "small/a");
	size_t i;

	/* a is at the beginning of the slot, and of the other one's file */
	protected_flip(world_drive(l->p->w, 1, "others/packed"), 17, 3);
	lossy_lose(l);
	assert_false(run(l, &told, ONTO).is_complete);
	assert_int_equal(told.num[MRMR_REBUILD_LOST], 1);
	assert_string_equal(told.last, "small/a");
	for (i = 0; i < l->num_things; i++) {
		if (&l->things[i] != lost) {
			assert_string_equal(lossy_compare(l, &l->things[i]),
					    "");
		}
	}
	protected_flip(world_drive(l->p->w, 1, "others/packed"), 17, 3);
	memset(&told, 0, sizeof(told));
	assert_true(run(l, &told, ONTO).is_complete);
	lossy_check_things(l);
	lossy_check_stripes(l);
	lossy_free(l);
}

static void test_never_protected(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {0};
	struct mrmr_rebuild_result result;

	protected_file(l->p, LOSSY_LOST, "films/bare", 99, 5000, 65536);
	mrmr_tell(l->p->w->pool, MRMR_EVENT_CHANGED, LOSSY_LOST, 4711,
		  "films/draft", NULL);
	mrmr_tell(l->p->w->pool, MRMR_EVENT_CHANGED, LOSSY_LOST, 4712,
		  "films/gone", NULL);
	mrmr_tell(l->p->w->pool, MRMR_EVENT_RENAMED, LOSSY_LOST, 4711,
		  "films/draft", "films/new");
	mrmr_tell(l->p->w->pool, MRMR_EVENT_REMOVED, LOSSY_LOST, 4712,
		  "films/gone", NULL);
	mrmr_tell(l->p->w->pool, MRMR_EVENT_CHANGED, LOSSY_LOST, 4713,
		  "small/a", NULL);
	lossy_lose(l);
	result = run(l, &told, ONTO);
	assert_int_equal(told.num[MRMR_REBUILD_UNPROTECTED], 2);
	assert_int_equal(told.num[MRMR_REBUILD_OLDER], 1);
	assert_int_equal(result.lost_files, 2);
	assert_int_equal(result.older_files, 1);
	assert_string_equal(told.last, "films/bare");
	lossy_check_things(l);
	lossy_free(l);
}

static void test_not_protected_yet(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct mrmr_engine *engine = l->p->engine;
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};
	struct mrmr_node *a = NULL;
	struct mrmr_node draft = {
		.name = (char *)"draft",
		.kind = MRMR_NODE_FILE,
		.member = engine->number[LOSSY_LOST],
		.inode = 4711,
		.mode = S_IFREG | 0644,
	};
	struct told told = {0};
	uint64_t ids[2];

	(void)state;
	/* seen when it had just been made, before its bytes came */
	assert_int_equal(mrmr_catalog_find_path(engine->catalog, engine,
						"small/a", &a),
			 0);
	draft.dir_id = a->dir_id;
	assert_int_equal(mrmr_catalog_begin(engine->catalog), 0);
	assert_int_equal(mrmr_catalog_put(engine->catalog, &draft, &draft.id),
			 0);
	ids[0] = a->id;
	ids[1] = draft.id;
	lossy_set_pending(engine->catalog, ids, 2);
	assert_int_equal(mrmr_catalog_commit(engine->catalog, &err), 0);
	lossy_lose(l);
	result = run(l, &told, ONTO);
	assert_int_equal(told.num[MRMR_REBUILD_UNPROTECTED], 1);
	assert_string_equal(told.last, "small/draft");
	assert_int_equal(told.num[MRMR_REBUILD_OLDER], 1);
	assert_int_equal(result.lost_files, 1);
	assert_int_equal(result.older_files, 1);
	lossy_check_things(l);
	lossy_free(l);
}

/* --- the share is in use -------------------------------------------------------------- */

static void test_name_is_taken(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {0};

	lossy_lose(l);
	assert_int_equal(do_create(l->p->w, "small/a", "mine"), 0);
	assert_int_equal(do_mkdir(l->p->w, "films/large", 0755), 0);
	assert_false(run(l, &told, ONTO).is_complete);
	assert_int_equal(told.num[MRMR_REBUILD_TAKEN], 2);
	assert_string_equal(do_read(l->p->w, "small/a"), "mine");
	assert_string_equal(lossy_compare(l, lossy_thing(l, "small/fifo")), "");
	lossy_check_clean(l);

	assert_int_equal(do_unlink(l->p->w, "small/a"), 0);
	assert_int_equal(do_rmdir(l->p->w, "films/large"), 0);
	lossy_close(l);
	/* what the queue says of it is of the new file */
	assert_int_equal(unlink(world_path(l->p->w, "state/queue/log")), 0);
	lossy_open(l);
	memset(&told, 0, sizeof(told));
	assert_true(run(l, &told, ONTO).is_complete);
	lossy_check_things(l);
	lossy_free(l);
}

struct client {
	struct told told;
	struct lossy *l;
	unsigned int calls;
};

static void act_as_client(const struct mrmr_rebuild_progress *progress,
			  void *private_data)
{
	struct client *client = private_data;

	/* everything is looked at, nothing is in place */
	if (client->calls++ == 0) {
		assert_int_equal(do_create(client->l->p->w, "films/same",
					   "mine"),
				 0);
	}
}

static void test_name_is_taken_meanwhile(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct client client = {.l = l};
	struct mrmr_rebuild_options o = options(&client.told, ONTO);
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	o.progress = act_as_client;
	lossy_lose(l);
	assert_int_equal(mrmr_rebuild(l->p->engine, &o, &result, &err), 0);
	assert_int_equal(client.told.num[MRMR_REBUILD_TAKEN], 1);
	assert_string_equal(do_read(l->p->w, "films/same"), "mine");
	assert_string_equal(world_where(l->p->w, "films/large"), "0");
	lossy_check_clean(l);
	lossy_free(l);
}

/* A copy of the file, put there by hand, is the file if it has its bytes. */
static void copy_back(struct lossy *l, const char *path, bool changed)
{
	const struct thing *thing = lossy_thing(l, path);
	struct timespec ts[2] = {thing->mtime, thing->mtime};
	const char *where = world_drive(l->p->w, 2, path);
	int fd;

	world_write(where, "");
	fd = open(where, O_RDWR);
	assert_return_code(fd, errno);
	assert_int_equal(write(fd, thing->bytes, thing->len), thing->len);
	if (changed) {
		assert_int_equal(pwrite(fd, "?!", 2, 100), 2);
	}
	assert_return_code(futimens(fd, ts), errno);
	close(fd);
}

static void test_file_is_there(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {0};
	struct mrmr_rebuild_result result;
	int fd;

	lossy_lose(l);
	copy_back(l, "small/a", true);
	copy_back(l, "films/large", false);
	fd = open(world_drive(l->p->w, 2, "films/large"), O_WRONLY);
	result = run(l, &told, ONTO);
	assert_int_equal(told.num[MRMR_REBUILD_TAKEN], 1);
	assert_int_equal(told.num[MRMR_REBUILD_FAILED], 1); /* being written */
	assert_int_equal(result.adopted, 0);
	close(fd);

	copy_back(l, "small/a", false);
	memset(&told, 0, sizeof(told));
	result = run(l, &told, ONTO);
	check_no_trouble(&told);
	assert_int_equal(result.adopted, 2);
	assert_true(result.is_complete);
	assert_string_equal(world_where(l->p->w, "films/large"), "02");
	assert_string_equal(world_where(l->p->w, "films/same"), "02");
	lossy_check_stripes(l);
	lossy_free(l);
}

/* Renames and removals that the catalogue does not know yet. */
static void test_names_changed_since(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {0};

	assert_int_equal(do_rename(l->p->w, "small", "tiny"), 0);
	assert_int_equal(do_unlink(l->p->w, "films/same"), 0);
	assert_int_equal(do_unlink(l->p->w, "tiny/empty"), 0);
	lossy_lose(l);
	run(l, &told, ONTO);
	assert_int_equal(told.num[MRMR_REBUILD_FAILED], 1);
	assert_string_equal(world_where(l->p->w, "small"), "");
	assert_string_equal(world_where(l->p->w, "tiny/a"), "04");
	assert_string_equal(world_where(l->p->w, "tiny/deep/er/b"), "04");
	assert_string_equal(world_where(l->p->w, "films/large"), "04");
	assert_string_equal(world_where(l->p->w, "films/same"), "");
	assert_string_equal(world_where(l->p->w, "tiny/empty"), "");
	lossy_free(l);
}

/* Directories that nobody has any more come with their files. */
static void test_spine_is_empty(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {0};
	struct mrmr_node *node = NULL;
	struct stat st;

	assert_int_equal(mrmr_catalog_find_path(l->p->engine->catalog,
						l->p->engine, "small/deep",
						&node),
			 0);
	node->mode = S_IFDIR | 02751;
	node->uid = 77;
	node->mtime_ns = 1111111111;
	assert_int_equal(mrmr_catalog_begin(l->p->engine->catalog), 0);
	assert_int_equal(mrmr_catalog_put(l->p->engine->catalog, node, NULL),
			 0);
	assert_int_equal(mrmr_catalog_commit(l->p->engine->catalog, NULL), 0);
	talloc_free(node);
	lossy_close(l);
	world_unplug(l->p->w, LOSSY_LOST);
	lossy_open(l);
	assert_string_equal(world_where(l->p->w, "small/deep"), "0");
	assert_true(run(l, &told, ONTO).is_complete);
	lossy_check_things(l);
	assert_return_code(stat(world_spine(l->p->w, "small/deep"), &st),
			   errno);
	assert_int_equal(st.st_mode, S_IFDIR | 02751);
	assert_int_equal(st.st_uid, 77);
	assert_int_equal(st.st_mtim.tv_sec, 1);
	lossy_free(l);
}

static bool has_ghost(struct lossy *l, const char *dir, const char *name)
{
	int fd = mrmr_absent_peek(do_dir(l->p->w, dir), LOSSY_LOST);
	bool has =
		fd != -1 && faccessat(fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;

	if (fd != -1) {
		close(fd);
	}
	return has;
}

/* What stood in for the files goes; what was done to it is done to them. */
static void test_ghosts(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct world *w = l->p->w;
	struct mrmr_ghost ghost;
	struct told told = {0};
	struct stat st;
	size_t member;
	char *names = NULL;
	int fd;

	lossy_lose(l);
	assert_int_equal(mrmr_serve_start(w->pool, l->p->engine), 0);
	names = strdup(do_list(w, "small"));
	assert_int_equal(do_stat(w, "small/a", &member, &st), 0);
	assert_int_equal(member, LOSSY_LOST);
	assert_true(has_ghost(l, "small", "a"));
	assert_true(has_ghost(l, "small", "symlink"));
	fd = do_open(w, "small/a", O_RDONLY);
	assert_return_code(fd, errno);
	assert_int_equal(mrmr_ghost_read(fd, &ghost), 0);
	assert_int_equal(mrmr_ghost_mark_changed(w->pool, &ghost, fd), 0);
	assert_return_code(fchmod(fd, 0604), errno);
	close(fd);
	assert_int_equal(do_rename(w, "small/deep", "small/renamed"), 0);

	/* while smbds serve them */
	assert_true(run(l, &told, ONTO).is_complete);
	check_no_trouble(&told);
	assert_int_equal(do_stat(w, "small/a", &member, &st), 0);
	assert_int_equal(member, ONTO);
	assert_int_equal(st.st_mode, S_IFREG | 0604);
	assert_int_equal(do_stat(w, "small/renamed/er/b", &member, &st), 0);
	assert_int_equal(member, ONTO);
	assert_false(has_ghost(l, "small", "a"));
	assert_false(has_ghost(l, "small", "symlink"));
	assert_false(has_ghost(l, "small", "fifo"));
	assert_int_equal(do_rename(w, "small/renamed", "small/deep"), 0);
	assert_string_equal(do_list(w, "small"), names);
	mrmr_serve_stop(w->pool);
	free(names);
	lossy_free(l);
}

/* --- clients that change names while bytes are computed ----------------------------- */

struct renaming {
	struct told told; /* first: it is what the options' private_data is */
	struct lossy *l;
	const char *from;
	const char *to; /* NULL: it is deleted */
	bool anew;      /* a directory, of which another one takes the name */
	unsigned int calls;
};

/* When everything is looked at, and nothing is in place. */
static void rename_meanwhile(const struct mrmr_rebuild_progress *progress,
			     void *private_data)
{
	struct renaming *renaming = private_data;
	struct world *w = renaming->l->p->w;

	if (renaming->calls++ > 0) {
		return;
	}
	if (renaming->to == NULL) {
		assert_int_equal(do_unlink(w, renaming->from), 0);
	} else {
		assert_int_equal(do_rename(w, renaming->from, renaming->to), 0);
	}
	if (renaming->anew) {
		assert_int_equal(do_mkdir(w, renaming->from, 0755), 0);
	}
}

static void run_meanwhile(struct renaming *renaming)
{
	struct lossy *l = renaming->l;
	struct mrmr_rebuild_options o = options(&renaming->told, ONTO);
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	o.progress = rename_meanwhile;
	lossy_lose(l);
	assert_int_equal(mrmr_serve_start(l->p->w->pool, l->p->engine), 0);
	do_list(l->p->w, "films"); /* there are ghosts */
	assert_int_equal(mrmr_rebuild(l->p->engine, &o, &result, &err), 0);
	mrmr_serve_stop(l->p->w->pool);
	lossy_check_clean(l);
}

static void test_deleted_meanwhile(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct renaming renaming = {.l = l, .from = "films/same"};
	struct world *w = l->p->w;

	run_meanwhile(&renaming);
	check_no_trouble(&renaming.told);
	assert_string_equal(world_where(w, "films/same"), "0");
	assert_string_equal(world_where(w, "films/large"), "04");
	lossy_free(l);
}

static void test_renamed_meanwhile(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct renaming renaming = {.l = l,
				    .from = "films/same",
				    .to = "films/other"};
	struct world *w = l->p->w;

	run_meanwhile(&renaming);
	check_no_trouble(&renaming.told);
	assert_string_equal(world_where(w, "films/same"), "0");
	assert_string_equal(world_where(w, "films/other"), "4");
	assert_string_equal(world_where(w, "films/large"), "04");
	lossy_free(l);
}

static void test_directory_renamed_meanwhile(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct renaming renaming = {.l = l,
				    .from = "films",
				    .to = "movies",
				    .anew = true};
	struct world *w = l->p->w;

	run_meanwhile(&renaming);
	check_no_trouble(&renaming.told);
	assert_string_equal(world_where(w, "films/large"), "0");
	assert_string_equal(world_where(w, "movies/large"), "4");
	assert_string_equal(world_where(w, "movies/same"), "4");
	lossy_free(l);
}

static uint64_t next_wanted(void *private_data)
{
	struct told *told = private_data;
	uint64_t id = told->wanted;

	told->wanted = 0;
	return id;
}

/* Somebody waits for it: it is there before anything else. */
static void test_wanted_first(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {.wanted = lossy_thing(l, "small/deep/er/b")->id,
			    .stop_after = 6};
	struct mrmr_rebuild_options o = options(&told, ONTO);
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	o.next_wanted = next_wanted;
	lossy_lose(l);
	assert_int_equal(mrmr_rebuild(l->p->engine, &o, &result, &err), 0);
	assert_true(result.is_stopped);
	assert_string_equal(world_where(l->p->w, "small/deep/er/b"), "04");
	assert_string_equal(world_where(l->p->w, "films/large"), "0");
	lossy_free(l);
}

struct waiting {
	struct lossy *l;
	uint64_t id;
	const char *path;
	unsigned int commits;
	bool was_next;
};

static uint64_t next_on_the_page(void *private_data)
{
	struct waiting *waiting = private_data;

	return mrmr_shared_next_wanted(waiting->l->p->w->pool->shared);
}

static int between(struct mrmr_error *err, void *private_data)
{
	struct waiting *waiting = private_data;
	const char *where = world_where(waiting->l->p->w, waiting->path);

	waiting->commits++;
	if (waiting->commits == 1) {
		assert_string_equal(where, "0");
		mrmr_shared_want(waiting->l->p->w->pool->shared, waiting->id);
		/* nobody knows this one, and this is no file */
		mrmr_shared_want(waiting->l->p->w->pool->shared, 999999);
		mrmr_shared_want(waiting->l->p->w->pool->shared, MRMR_ID_ROOT);
	} else if (waiting->commits == 2) {
		waiting->was_next = strcmp(where, "0") != 0;
	}
	return 0;
}

/* A client reads a file in the middle of it, that would come last. */
static void test_wanted_meanwhile(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct waiting waiting = {.l = l};
	const struct mrmr_rebuild_options o = {
		.lost = LOSSY_LOST,
		.onto = ONTO,
		.batch_bytes = 1,
		.next_wanted = next_on_the_page,
		.between = between,
		.private_data = &waiting,
	};
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};
	size_t i;

	for (i = 0; i < l->num_things; i++) {
		if (l->things[i].id > waiting.id && !l->things[i].in_trash) {
			waiting.id = l->things[i].id;
			waiting.path = l->things[i].path;
		}
	}
	lossy_lose(l);
	assert_int_equal(mrmr_rebuild(l->p->engine, &o, &result, &err), 0);
	assert_true(waiting.commits > 3);
	assert_true(waiting.was_next);
	assert_true(result.is_complete);
	assert_int_equal(mrmr_shared_next_wanted(l->p->w->pool->shared), 0);
	lossy_check_things(l);
	lossy_free(l);
}

/* --- room -------------------------------------------------------------------------------- */

static void test_target_is_full(void **state)
{
	const struct world_shape shape = {.num_members = 6,
					  .parity = "1",
					  .sizes = {NULL, NULL, NULL, NULL,
						    "300k"}};
	struct lossy *l = lossy_new(1, &shape);
	struct told told = {0};
	struct mrmr_rebuild_result result;

	lossy_lose(l);
	result = run(l, &told, ONTO);
	assert_true(told.num[MRMR_REBUILD_FAILED] > 0);
	assert_int_equal(told.num[MRMR_REBUILD_LOST], 0);
	assert_false(result.is_complete);
	lossy_check_clean(l);
	memset(&told, 0, sizeof(told));
	result = run(l, &told, MRMR_REBUILD_SPREAD);
	check_no_trouble(&told);
	assert_true(result.is_complete);
	lossy_check_things(l);
	lossy_check_stripes(l);
	lossy_free(l);
}

/* --- stopped, killed, failing -------------------------------------------------------------- */

static void test_stopped_anywhere(void **state)
{
	unsigned int n;
	bool is_stopped = true;

	for (n = 1; is_stopped; n += 3) {
		struct lossy *l = lossy_new(1, NULL);
		struct told told = {.stop_after = n};

		lossy_lose(l);
		is_stopped = run(l, &told, MRMR_REBUILD_SPREAD).is_stopped;
		check_no_trouble(&told);
		lossy_check_clean(l);
		told.stop_after = 0;
		assert_true(run(l, &told, MRMR_REBUILD_SPREAD).is_complete);
		check_no_trouble(&told);
		lossy_check_things(l);
		lossy_check_stripes(l);
		lossy_free(l);
	}
	assert_true(n > 10);
}

#ifdef MRMR_WITH_FAULTS

static const char *const points[] = {
	"rebuild-stage",  "rebuild-write",  "rebuild-attributes",
	"rebuild-sync",   "rebuild-place",  "rebuild-placed",
	"rebuild-commit", "rebuild-row",    "catalog-commit",
	"catalog-part",   "catalog-store",  "catalog-parts-written",
	"dir-clone",      "directory-copy", "directory-copied",
	"blob-write",     "blob-rename",    "stripes-job",
	"stripes-sync",   "mkdir-spine",    "mkdir-between",
	"name-make",
};
#define NUM_POINTS (sizeof(points) / sizeof(points[0]))

/* Onto 1, so that files leave stripes as well. */
#define TARGETS_OF_FAULTS 2
static const size_t onto_of_faults[TARGETS_OF_FAULTS] = {MRMR_REBUILD_SPREAD,
							 1};

static void count_points(size_t onto, unsigned long *times)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {0};
	size_t i;

	lossy_lose(l);
	setenv("MRMR_FAULT", "none", 1);
	assert_true(run(l, &told, onto).is_complete);
	for (i = 0; i < NUM_POINTS; i++) {
		times[i] = mrmr_fault_times(points[i]);
	}
	unsetenv("MRMR_FAULT");
	lossy_free(l);
}

static void check_after(struct lossy *l, size_t onto, const char *fault)
{
	struct told told = {0};
	struct mrmr_rebuild_result result;

	result = run(l, &told, onto);
	check_no_trouble(&told);
	if (!result.is_complete) {
		fail_msg("%s: not complete", fault);
	}
	lossy_check_things(l);
	lossy_check_stripes(l);
	lossy_check_clean(l);
}

static void run_killed(size_t onto, const char *fault)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {0};
	int status = 0;
	pid_t pid;

	lossy_close(l);
	world_unplug(l->p->w, LOSSY_LOST);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		lossy_open_in_child(l);
		setenv("MRMR_FAULT", fault, 1);
		run(l, &told, onto);
		_exit(0);
	}
	assert_return_code(waitpid(pid, &status, 0), errno);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		fail_msg("%s: was not killed: %x", fault, (unsigned int)status);
	}
	lossy_open(l);
	check_after(l, onto, fault);
	lossy_free(l);
}

static void run_failing(size_t onto, const char *fault)
{
	struct lossy *l = lossy_new(1, NULL);
	struct told told = {0};
	const struct mrmr_rebuild_options o = options(&told, onto);
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};

	lossy_lose(l);
	setenv("MRMR_FAULT", fault, 1);
	/* it may fail, or tell of trouble, or go around it */
	if (mrmr_rebuild(l->p->engine, &o, &result, &err) == -1) {
		assert_true(err.text[0] != '\0');
	}
	unsetenv("MRMR_FAULT");
	lossy_check_clean(l);
	assert_int_equal(told.num[MRMR_REBUILD_LOST], 0);
	assert_int_equal(told.num[MRMR_REBUILD_TAKEN], 0);
	protected_reopen(l->p);
	check_after(l, onto, fault);
	lossy_free(l);
}

/* The first times, and the last one. */
static unsigned long next_time(unsigned long n, unsigned long times)
{
	return n < 2 || n == times ? n + 1 : times;
}

/* Onto a unit of the stripes only what is another way there. */
static bool is_tried(size_t onto, const char *point)
{
	return onto == MRMR_REBUILD_SPREAD ||
	       strncmp(point, "stripes", 7) == 0 ||
	       strncmp(point, "blob", 4) == 0 ||
	       strcmp(point, "rebuild-commit") == 0 ||
	       strcmp(point, "catalog-commit") == 0;
}

static void at_each_point(void (*act)(size_t onto, const char *fault),
			  const char *action)
{
	unsigned long times[NUM_POINTS];
	char fault[64];
	size_t t, i;

	for (t = 0; t < TARGETS_OF_FAULTS; t++) {
		count_points(onto_of_faults[t], times);
		for (i = 0; i < NUM_POINTS; i++) {
			unsigned long n;

			if (!is_tried(onto_of_faults[t], points[i])) {
				continue;
			}
			for (n = 1; n <= times[i]; n = next_time(n, times[i])) {
				snprintf(fault, sizeof(fault), "%s#%lu=%s",
					 points[i], n, action);
				act(onto_of_faults[t], fault);
			}
		}
	}
}

/* Invariants 1 and 2: whatever it is in the middle of. */
static void test_killed(void **state)
{
	at_each_point(run_killed, "kill");
}

static void test_failing(void **state)
{
	at_each_point(run_failing, "EIO");
}

static void killed_with_many(struct lossy *l, const char *fault)
{
	struct told told = {0};
	int status = 0;
	pid_t pid;

	lossy_close(l);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		lossy_open_in_child(l);
		setenv("MRMR_FAULT", fault, 1);
		run(l, &told, MRMR_REBUILD_SPREAD);
		_exit(0);
	}
	assert_return_code(waitpid(pid, &status, 0), errno);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		fail_msg("%s: was not killed: %x", fault, (unsigned int)status);
	}
	lossy_open(l);
}

/* While some stripes become narrower together, in each of the two steps, and when
   that is committed: each is as it was, or narrower. */
static void test_narrowing_is_broken_off(void **state)
{
	static const char *const places[] = {"stripes-write", "blob-rename",
					     "stripes-sync", "catalog-commit",
					     "catalog-prepare"};
	static const char *const actions[] = {"kill", "EIO", "ENOSPC"};
	const struct pfile *shortest = NULL;
	struct told told = {0};
	char fault[64];
	size_t i, n;

	for (i = 0; i < 15; i++) {
		for (n = 1; n <= 3; n++) {
			struct lossy l = new_too_wide(6, &shortest);
			const struct mrmr_rebuild_options o =
				options(&told, MRMR_REBUILD_SPREAD);
			struct mrmr_rebuild_result result;
			struct mrmr_error err = {0};

			snprintf(fault, sizeof(fault), "%s#%zu=%s",
				 places[i / 3], n, actions[i % 3]);
			if (i % 3 == 0) {
				killed_with_many(&l, fault);
			} else {
				setenv("MRMR_FAULT", fault, 1);
				mrmr_rebuild(l.p->engine, &o, &result, &err);
				unsetenv("MRMR_FAULT");
			}
			assert_true(run(&l, &told, MRMR_REBUILD_SPREAD)
					    .is_complete);
			lossy_check_stripes(&l);
			protected_free(l.p);
		}
	}
}

/* A sibling that cannot be read: with two rows there is another way. */
static void test_sibling_fails(void **state)
{
	struct lossy *l = lossy_new(2, NULL);
	struct told told = {0};

	lossy_lose(l);
	setenv("MRMR_FAULT", "live-read#1=EIO,live-read#7=EIO", 1);
	run(l, &told, ONTO);
	unsetenv("MRMR_FAULT");
	check_no_trouble(&told);
	lossy_check_things(l);
	lossy_free(l);
}

#endif

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_onto),
	cmocka_unit_test(test_spread),
	cmocka_unit_test(test_onto_a_unit_of_the_stripes),
	cmocka_unit_test(test_stripe_is_too_wide),
	cmocka_unit_test(test_too_wide_and_rotten),
	cmocka_unit_test(test_some_are_too_wide),
	cmocka_unit_test(test_plan),
	cmocka_unit_test(test_online),
	cmocka_unit_test(test_forget),
	cmocka_unit_test(test_guarded),
	cmocka_unit_test(test_too_much_is_lost),
	cmocka_unit_test(test_wrong_bytes),
	cmocka_unit_test(test_part_of_a_slot),
	cmocka_unit_test(test_never_protected),
	cmocka_unit_test(test_not_protected_yet),
	cmocka_unit_test(test_name_is_taken),
	cmocka_unit_test(test_name_is_taken_meanwhile),
	cmocka_unit_test(test_file_is_there),
	cmocka_unit_test(test_names_changed_since),
	cmocka_unit_test(test_spine_is_empty),
	cmocka_unit_test(test_ghosts),
	cmocka_unit_test(test_deleted_meanwhile),
	cmocka_unit_test(test_renamed_meanwhile),
	cmocka_unit_test(test_directory_renamed_meanwhile),
	cmocka_unit_test(test_wanted_first),
	cmocka_unit_test(test_wanted_meanwhile),
	cmocka_unit_test(test_target_is_full),
	cmocka_unit_test(test_stopped_anywhere),
#ifdef MRMR_WITH_FAULTS
	cmocka_unit_test(test_sibling_fails),
	cmocka_unit_test(test_killed),
	cmocka_unit_test(test_narrowing_is_broken_off),
	cmocka_unit_test(test_failing),
#endif
};

int main(void)
{
	return WORLD_MAIN("rebuild", tests);
}
