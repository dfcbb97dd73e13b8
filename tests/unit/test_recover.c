/*
 * Unit tests: the catalogue made anew from the parts of members.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/hex.h>
#include <mrmr/rebuild.h>
#include <mrmr/recover.h>

#include "hidden.h"
#include "killed.h"
#include "lossy.h"
#include "protecting.h"
#include "recovering.h"

/* --- what a catalogue says ------------------------------------------------------ */

static void dump_extents(struct mrmr_catalog *catalog,
			 const struct mrmr_node *node, char **text)
{
	struct mrmr_extent e;
	uint32_t got = 0;
	uint32_t i;

	for (i = 0; i < node->num_extents; i++) {
		char hex[65];

		assert_int_equal(mrmr_catalog_get_extents(catalog, node->id, i,
							  &e, 1, &got),
				 0);
		assert_int_equal(got, 1);
		mrmr_hex_encode(e.sha256, 32, hex);
		*text = talloc_asprintf_append(*text,
					       "    %u %u %d %.8s %" PRIx64
					       " %" PRIu64 " %u %u\n",
					       i, e.len_bytes, (int)e.state,
					       hex, e.checksum, e.stripe,
					       e.slot, e.slot_offset);
	}
}

static void dump_nodes(struct mrmr_catalog *catalog, char **text)
{
	struct mrmr_node *n = NULL;
	uint64_t id = 0;

	while (mrmr_catalog_next(catalog, *text, id, &n) == 0) {
		struct mrmr_link *links = NULL;
		size_t num = 0;
		size_t i;

		id = n->id;
		*text = talloc_asprintf_append(*text,
					       "%" PRIu64 " %d %u %" PRIu64
					       " %" PRIu64 " %" PRId64
					       " %o %u %u %" PRIu64
					       " %zu %s %u %u %u",
					       n->id, (int)n->kind, n->member,
					       n->inode, n->size_bytes,
					       n->mtime_ns, n->mode, n->uid,
					       n->gid, n->device, n->xattrs_len,
					       n->target != NULL ? n->target
								 : "-",
					       n->grid_bytes, n->num_extents,
					       n->generation);
		assert_int_equal(mrmr_catalog_links(catalog, n, n->id, &links,
						    &num),
				 0);
		for (i = 0; i < num; i++) {
			*text = talloc_asprintf_append(*text, " %" PRIu64 "/%s",
						       links[i].dir_id,
						       links[i].name);
		}
		*text = talloc_asprintf_append(*text, "\n");
		dump_extents(catalog, n, text);
		TALLOC_FREE(n);
	}
	assert_int_equal(errno, ENOENT);
}

static void dump_stripes(struct mrmr_catalog *catalog, char **text)
{
	struct mrmr_stripe *s = NULL;
	uint64_t id = 0;
	uint32_t i, j;

	while (mrmr_catalog_next_stripe(catalog, *text, id, &s) == 0) {
		id = s->id;
		*text = talloc_asprintf_append(*text, "stripe %" PRIu64 "\n",
					       s->id);
		for (i = 0; i < s->num_slots; i++) {
			*text = talloc_asprintf_append(*text, "  %u on %u:",
						       s->slots[i].slot,
						       s->slots[i].member);
			for (j = 0; j < s->slots[i].num_pieces; j++) {
				const struct mrmr_piece *p =
					&s->slots[i].pieces[j];

				*text = talloc_asprintf_append(*text,
							       " %" PRIu64
							       ".%u+%u",
							       p->file,
							       p->index,
							       p->len_bytes);
			}
			*text = talloc_asprintf_append(*text, "\n");
		}
		for (i = 0; i < s->num_rows; i++) {
			char hex[65];

			mrmr_hex_encode(s->rows[i].sha256, 32, hex);
			*text = talloc_asprintf_append(
				*text, "  row %u on %u: %u %.8s\n",
				s->rows[i].row, s->rows[i].member,
				s->rows[i].len_bytes, hex);
		}
		TALLOC_FREE(s);
	}
	assert_int_equal(errno, ENOENT);
}

static char *dump(struct mrmr_catalog *catalog)
{
	char *text = talloc_strdup(NULL, "");

	dump_nodes(catalog, &text);
	dump_stripes(catalog, &text);
	return text;
}

static void check_dump(struct mrmr_catalog *catalog, char *before)
{
	char *after = dump(catalog);

	if (strcmp(before, after) != 0) {
		fail_msg("before:\n%s\nafter:\n%s", before, after);
	}
	talloc_free(after);
	talloc_free(before);
}

/* --- losing, recovering --------------------------------------------------------------- */

static void check_no_engine(struct world *w)
{
	struct mrmr_error err = {0};

	assert_null(mrmr_engine_open(NULL, w->pool, MRMR_ENGINE_WRITE, &err));
	assert_int_equal(err.code, EILSEQ);
}

/* Invariant 6. */
static void test_all_members(void **state)
{
	struct lossy *l = lossy_new(2, NULL);
	struct mrmr_recover_result result;
	char *before = dump(l->p->engine->catalog);

	lossy_close(l);
	lose_catalogue(l->p->w, true);
	world_open(l->p->w);
	check_no_engine(l->p->w);
	result = recover_well(l->p->w);
	assert_int_equal(result.num_parts, 6);
	assert_int_equal(result.conflicts, 0);
	assert_int_equal(result.lost_pieces, 0);
	assert_int_equal(result.removed, 0);
	assert_string_equal(result.aside, "");
	world_close(l->p->w);
	lossy_open(l);
	check_dump(l->p->engine->catalog, before);
	lossy_check_stripes(l);
	lossy_free(l);
}

/* The state directory and a member at once: what is recovered is what it takes
   to bring the member back. */
static void test_and_a_member(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct mrmr_rebuild_options options = {.lost = LOSSY_LOST, .onto = 4};
	struct mrmr_rebuild_result rebuilt;
	struct mrmr_recover_result result;
	struct mrmr_error err = {0};

	lossy_close(l);
	lose_catalogue(l->p->w, true);
	world_unplug(l->p->w, LOSSY_LOST);
	world_open(l->p->w);
	result = recover_well(l->p->w);
	assert_int_equal(result.num_parts, 5);
	assert_int_equal(result.num_away, 1);
	assert_int_equal(result.lost_pieces, 0);
	world_close(l->p->w);
	lossy_open(l);
	assert_int_equal(mrmr_recover_spine(l->p->engine, &err), 0);
	assert_int_equal(mrmr_rebuild(l->p->engine, &options, &rebuilt, &err),
			 0);
	assert_true(rebuilt.is_complete);
	lossy_check_things(l);
	lossy_check_stripes(l);
	lossy_free(l);
}

/* A part that is damaged is done without. */
static void test_damaged_part(void **state)
{
	struct lossy *l = lossy_new(2, NULL);
	struct mrmr_recover_result result;
	char *before = dump(l->p->engine->catalog);
	int fd;

	lossy_close(l);
	lose_catalogue(l->p->w, true);
	fd = open(world_drive(l->p->w, LOSSY_LOST, ".mrmr/mrmr.db"), O_RDWR);
	assert_return_code(fd, errno);
	assert_return_code(ftruncate(fd, 5000), errno);
	close(fd);
	world_open(l->p->w);
	result = recover_well(l->p->w);
	assert_int_equal(result.num_damaged, 1);
	assert_int_equal(result.num_parts, 5);
	world_close(l->p->w);
	lossy_open(l);
	check_dump(l->p->engine->catalog, before);
	lossy_free(l);
}

/* A record is missing in a part, of which each other one is sound: what leads there makes
   no sense. The others' parts are enough. */
static void test_part_without_sense(void **state)
{
	static const struct {
		const char *key;
		size_t len;
	} records[] = {
		{"d\1\0", 3},   /* the names in the root, */
		{"d\x10\0", 3}, /* and in d, which was the first one made */
		{"i\0", 2},     /* where the first nodes are */
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		struct world *w = recover_busy_world();
		struct mrmr_recover_result result;

		remove_record(w, 1, records[i].key, records[i].len);
		world_close(w);
		lose_catalogue(w, false);
		world_open(w);
		result = recover_well(w);
		assert_int_equal(result.num_damaged, 1);
		protect_and_scan(w);
		verify(w, "d/f5", 6, 3500, 1);
		verify(w, "d/f6", 7, 3600, 1);
		verify_decodable(w);
		world_free(w);
	}
}

/* A directory is removed, and the state directory is lost before the protector has
   heard of it: with all members there, it does not come back. With one away, it
   may have the directory: it does. */
static void test_removed_directory(void **state)
{
	int num_away;

	for (num_away = 0; num_away < 2; num_away++) {
		struct world *w = recover_busy_world();
		struct mrmr_engine *engine = NULL;
		struct mrmr_error err = {0};

		assert_int_equal(do_mkdir(w, "d/e", 0755), 0);
		protect(w);
		assert_int_equal(do_rmdir(w, "d/e"), 0);
		world_close(w);
		lose_catalogue(w, true);
		if (num_away > 0) {
			world_unplug(w, 3);
		}
		world_open(w);
		recover_well(w);
		engine = open_engine(w, MRMR_ENGINE_WRITE);
		assert_int_equal(mrmr_recover_spine(engine, &err), 0);
		talloc_free(engine);
		protect_and_scan(w);
		assert_int_equal(world_there(world_spine(w, "d/e")), num_away);
		world_free(w);
	}
}

/* Nothing but the catalogue tells of an empty directory whose member is lost: as many
   may be as there are rows, and the state directory. */
static void test_empty_directories(void **state)
{
	struct world *w = recover_busy_world();
	struct mrmr_engine *engine = NULL;
	struct mrmr_error err = {0};
	char path[32];
	int i;

	for (i = 0; i < 20; i++) {
		snprintf(path, sizeof(path), "d/empty%d", i);
		assert_int_equal(do_mkdir(w, path, 0755), 0);
	}
	protect(w);
	world_close(w);
	lose_catalogue(w, true);
	for (i = 0; i < 20; i++) {
		snprintf(path, sizeof(path), "d/empty%d", i);
		assert_return_code(rmdir(world_spine(w, path)), errno);
	}
	world_unplug(w, 3);
	world_open(w);
	recover_well(w);
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	assert_int_equal(mrmr_recover_spine(engine, &err), 0);
	talloc_free(engine);
	for (i = 0; i < 20; i++) {
		snprintf(path, sizeof(path), "d/empty%d", i);
		if (!world_there(world_spine(w, path))) {
			fail_msg("%s is not there", path);
		}
	}
	world_free(w);
}

static void test_sound(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct mrmr_recover_result result;
	struct mrmr_error err = {0};
	char *before = dump(l->p->engine->catalog);

	assert_int_equal(try_recover(l->p->w, true, &result, &err), -1);
	assert_int_equal(err.code, EAGAIN); /* the engine has the lock */
	TALLOC_FREE(l->p->engine);
	assert_int_equal(mrmr_recover_look(l->p->w->pool, &err), 1);
	assert_int_equal(try_recover(l->p->w, false, &result, &err), -1);
	assert_int_equal(err.code, EEXIST);
	assert_int_equal(try_recover(l->p->w, true, &result, &err), 0);
	assert_true(strncmp(result.aside, "catalogue.", 10) == 0);
	assert_true(world_there(
		world_path(l->p->w,
			   talloc_asprintf(before, "state/%s", result.aside))));
	world_close(l->p->w);
	lossy_open(l);
	check_dump(l->p->engine->catalog, before);
	lossy_free(l);
}

/* One has been put aside in each second of the next minutes. */
static void test_aside_again(void **state)
{
	struct lossy *l = lossy_new(1, NULL);
	struct mrmr_recover_result result;
	struct mrmr_error err = {0};
	time_t now = time(NULL);
	size_t len;
	int i;

	TALLOC_FREE(l->p->engine);
	for (i = 0; i < 600; i++) {
		char name[64] = "state/";
		time_t then = now + i;
		struct tm tm;

		gmtime_r(&then, &tm);
		strftime(name + 6, sizeof(name) - 6, "catalogue.%Y%m%dT%H%M%SZ",
			 &tm);
		assert_return_code(mkdir(world_path(l->p->w, name), 0700),
				   errno);
	}
	for (i = 2; i < 4; i++) {
		assert_int_equal(try_recover(l->p->w, true, &result, &err), 0);
		len = strlen(result.aside);
		assert_true(len > 2 && result.aside[len - 2] == '.');
	}
	world_close(l->p->w);
	lossy_open(l);
	lossy_free(l);
}

static void test_nothing_to_recover_from(void **state)
{
	struct world *w = world_new(&(struct world_shape){.parity = "1"});
	struct mrmr_recover_result result;
	struct mrmr_error err = {0};

	assert_int_equal(mrmr_recover_look(w->pool, &err), 0);
	assert_int_equal(try_recover(w, false, &result, &err), -1);
	assert_int_equal(err.code, ENOENT);
	assert_false(world_there(world_path(w, "state/catalogue")));
	world_free(w);
}

/* --- parts that are behind ------------------------------------------------------------- */

static char *dump_world(struct world *w)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	char *text = dump(engine->catalog);

	talloc_free(engine);
	return text;
}

/* A member was away while files were deleted, renamed and changed; what its part
   says is not believed. */
static void test_old_part(void **state)
{
	struct world *w = recover_busy_world();
	struct mrmr_recover_result result;
	struct mrmr_engine *engine = NULL;
	char *before = NULL;

	world_unplug(w, 3);
	mrmr_pool_look(w->pool);
	assert_int_equal(do_unlink(w, "d/f0"), 0);
	assert_int_equal(do_rename(w, "d/f1", "d/g1"), 0);
	client_write(w, "d/f2", 99, 7777);
	client_write_on(w, 0, "d/new", 50, 4000);
	protect(w);
	before = dump_world(w);
	world_close(w);
	lose_catalogue(w, true);
	world_plug(w, 3);
	world_open(w);
	result = recover_well(w);
	assert_int_equal(result.num_parts, 5);
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	check_dump(engine->catalog, before);
	talloc_free(engine);
	protect(w);
	verify(w, "d/g1", 2, 3100, 1);
	verify(w, "d/f2", 99, 7777, 1);
	verify_decodable(w);
	world_free(w);
}

/* Pre-images that are later than the records must not be taken for those of
   what is protected from now on. */
static void test_generations(void **state)
{
	struct world *w = recover_busy_world();
	uint8_t *bytes = seeded(5, 3400);
	unsigned int i;

	for (i = 0; i < 5; i++) {
		client_overwrite(w, "d/f4", 60 + i, 100, 0);
		protect(w);
	}
	client_overwrite(w, "d/f4", 70, 100, 0); /* kept, not protected */
	world_close(w);
	lose_catalogue(w, true);
	world_open(w);
	recover_well(w);
	protect(w);
	client_overwrite(w, "d/f4", 71, 200, 0);
	protect(w);
	{
		uint8_t *start = seeded(71, 200);

		memcpy(bytes, start, 200);
		free(start);
	}
	verify_bytes(w, "d/f4", bytes, 3400, 1);
	verify_decodable(w);
	verify_tidy(w);
	free(bytes);
	world_free(w);
}

/* And those that are earlier, as they were to be removed when the power went, must
   not be taken for them either. */
static void test_old_preimages(void **state)
{
	struct world *w = recover_busy_world();
	char command[2048];

	client_overwrite(w, "d/f4", 60, 100, 0);
	snprintf(command, sizeof(command), "cp -a %s %s",
		 world_drive(w, 0, ".mrmr/undo"), world_path(w, "kept"));
	assert_int_equal(system(command), 0);
	protect(w);
	world_close(w);
	snprintf(command, sizeof(command), "cp -a %s/. %s",
		 world_path(w, "kept"), world_drive(w, 0, ".mrmr/undo"));
	assert_int_equal(system(command), 0);
	lose_catalogue(w, true);
	world_open(w);
	recover_well(w);
	client_overwrite(w, "d/f4", 61, 200, 0);
	/* it is needed by others of its stripe, as it was protected */
	verify_decodable(w);
	protect(w);
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

#ifdef MRMR_WITH_FAULTS

static void recover_in_child(struct world *w, void *private_data)
{
	struct mrmr_recover_result result;
	struct mrmr_error err = {0};

	try_recover(w, *(bool *)private_data, &result, &err);
}

static void test_killed(void **state)
{
	static const char *const faults[] = {
		"recover-step#1=kill",   "recover-step#30=kill",
		"recover-step#50=kill",  "catalog-store#1=kill",
		"catalog-commit#1=kill", "recover-aside=kill",
		"recover-place=kill",
	};
	size_t i;

	for (i = 0; i < 2 * (sizeof(faults) / sizeof(faults[0])); i++) {
		struct world *w = recover_busy_world();
		bool replace = i % 2 == 1;

		world_close(w);
		if (!replace) {
			lose_catalogue(w, true);
		}
		if (!killed_at(w, faults[i / 2], recover_in_child, &replace)) {
			fail_msg("%s: was not killed", faults[i / 2]);
		}
		recover_check(w);
		world_free(w);
	}
}

static void test_failing(void **state)
{
	static const char *const faults[] = {
		"recover-step#20=EIO", "catalog-store=ENOSPC",
		"catalog-commit=EIO",  "recover-aside=EIO",
		"recover-place=EIO",
	};
	size_t i;

	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct world *w = recover_busy_world();
		struct mrmr_recover_result result;
		struct mrmr_error err = {0};

		setenv("MRMR_FAULT", faults[i], 1);
		if (try_recover(w, true, &result, &err) != -1) {
			fail_msg("%s: did not fail", faults[i]);
		}
		unsetenv("MRMR_FAULT");
		assert_true(err.text[0] != '\0');
		/* the old one is where it was */
		assert_int_equal(mrmr_recover_look(w->pool, &err), 1);
		world_close(w);
		recover_check(w);
		world_free(w);
	}
}

/* What is full is named: a member whose part wants to be repaired, or the state
   directory. */
static void test_full(void **state)
{
	struct world *w = recover_busy_world();
	struct mrmr_recover_result result;
	struct mrmr_error err = {0};
	const char *member = mrmr_member_name(&w->pool->members[1]);
	const char *dir = w->pool->config->state_dir;

	setenv("MRMR_FAULT", "recover-part#2=ENOSPC", 1);
	assert_int_equal(try_recover(w, true, &result, &err), -1);
	assert_int_equal(err.code, ENOSPC);
	assert_non_null(strstr(err.text, member));
	assert_non_null(strstr(err.text, "make room"));
	assert_null(strstr(err.text, dir));
	setenv("MRMR_FAULT", "recover-step#20=ENOSPC", 1);
	assert_int_equal(try_recover(w, true, &result, &err), -1);
	assert_int_equal(err.code, ENOSPC);
	assert_non_null(strstr(err.text, dir));
	assert_null(strstr(err.text, member));
	unsetenv("MRMR_FAULT");
	assert_int_equal(mrmr_recover_look(w->pool, &err), 1);
	world_close(w);
	recover_check(w);
	world_free(w);
}

/* What could not be read is not given up where nobody else that is there need know
   it, as with as many members away as there are rows. */
static void test_unread(void **state)
{
	struct world *w = recover_busy_world();
	struct mrmr_recover_result result;
	struct mrmr_error err = {0};

	world_close(w);
	lose_catalogue(w, true);
	world_unplug(w, 3);
	world_open(w);
	setenv("MRMR_FAULT", "recover-part#1=EIO", 1);
	assert_int_equal(try_recover(w, false, &result, &err), -1);
	assert_int_equal(err.code, EIO);
	assert_non_null(
		strstr(err.text, mrmr_member_name(&w->pool->members[0])));
	assert_non_null(strstr(err.text, "nothing was changed"));
	assert_int_equal(mrmr_recover_look(w->pool, &err), 0);
	world_close(w);
	world_plug(w, 3);
	world_open(w);
	setenv("MRMR_FAULT", "recover-part#2=EIO", 1);
	assert_int_equal(try_recover(w, false, &result, &err), 0);
	unsetenv("MRMR_FAULT");
	assert_int_equal(result.num_damaged, 1);
	assert_int_equal(result.num_parts, 4);
	world_close(w);
	recover_check(w);
	world_free(w);
}

/* A commit that reached the parts, or some of them, and not the catalogue. */
static void test_unfinished_commit(void **state)
{
	static const char *const faults[] = {
		"catalog-parts-written#1=kill",
		"catalog-part#1=kill",
		"catalog-part#2=kill",
		"catalog-part#3=kill",
	};
	size_t i;

	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct world *w = recover_busy_world();

		client_write(w, "d/f1", 99, 7777);
		client_write_on(w, 2, "d/new", 98, 5000);
		assert_int_equal(do_unlink(w, "d/f3"), 0);
		assert_true(protect_killed(w, faults[i]));
		world_close(w);
		lose_catalogue(w, true);
		recover_check(w);
		verify(w, "d/f1", 99, 7777, 1);
		verify(w, "d/new", 98, 5000, 1);
		world_free(w);
	}
}

#endif

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_all_members),
	cmocka_unit_test(test_and_a_member),
	cmocka_unit_test(test_damaged_part),
	cmocka_unit_test(test_part_without_sense),
	cmocka_unit_test(test_removed_directory),
	cmocka_unit_test(test_empty_directories),
	cmocka_unit_test(test_sound),
	cmocka_unit_test(test_aside_again),
	cmocka_unit_test(test_nothing_to_recover_from),
	cmocka_unit_test(test_old_part),
	cmocka_unit_test(test_generations),
	cmocka_unit_test(test_old_preimages),
#ifdef MRMR_WITH_FAULTS
	cmocka_unit_test(test_killed),
	cmocka_unit_test(test_failing),
	cmocka_unit_test(test_full),
	cmocka_unit_test(test_unread),
	cmocka_unit_test(test_unfinished_commit),
#endif
};

int main(void)
{
	return WORLD_MAIN("recover", tests);
}
