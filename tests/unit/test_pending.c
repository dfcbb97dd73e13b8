/*
 * Unit tests: the list of pending files, which is in the catalogue, and the few of
 * them that the protector remembers at the same time: however many there are, all
 * are protected.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/undo.h>

#include "../../source/protect/protector_private.h"
#include "protecting.h"

#define K 1024
#define BLOCK (64 * K)

static struct world *new_world(size_t num_members, const char *parity)
{
	const struct world_shape shape = {
		.num_members = num_members,
		.parity = parity,
		.config = ", \"block_size\": \"64K\"",
	};

	return world_new(&shape);
}

/* --- the list, beside a simple one ----------------------------------------------- */

#define MODEL 4000

struct model {
	struct pending_place
		places[MODEL]; /* ascending; flags 0xff: not there */
	unsigned int state;
};

static unsigned int draw(struct model *m, unsigned int below)
{
	m->state = m->state * 1103515245 + 12345;
	return (m->state >> 8) % below;
}

/* Some together, some far from each other: several maps, sparse and full pages. */
static void make_ids(struct model *m)
{
	uint64_t id = 16;
	size_t i;

	for (i = 0; i < MODEL; i++) {
		m->places[i] =
			(struct pending_place){.node = id, .flags = 0xff};
		id += i % 1000 < 700 ? 1 : 1 + draw(m, 200000);
	}
}

static void compare(struct pending *pending, const struct model *m)
{
	struct pending_place place = {0};
	uint64_t bytes = 0;
	uint64_t num = 0;
	size_t i;

	for (i = 0; i < MODEL; i++) {
		const struct pending_place *wanted = &m->places[i];

		if (wanted->flags == 0xff) {
			assert_false(pending_has(pending, wanted->node));
			continue;
		}
		num++;
		bytes += wanted->bytes;
		assert_true(pending_next(pending, place.node + 1, &place));
		assert_int_equal(place.node, wanted->node);
		assert_int_equal(place.bytes, wanted->bytes);
		assert_int_equal(place.member, wanted->member);
		assert_int_equal(place.flags, wanted->flags);
		assert_int_equal(pending_flags(pending, place.node),
				 wanted->flags);
	}
	assert_false(pending_next(pending, place.node + 1, &place));
	assert_int_equal(pending_error(pending), 0);
	assert_int_equal(pending_num(pending), num);
	assert_int_equal(pending_bytes(pending), bytes);
}

static void change_one(struct pending *pending, struct model *m)
{
	struct pending_place *place = &m->places[draw(m, MODEL)];
	bool is_there = place->flags != 0xff;
	uint8_t flags;

	switch (draw(m, 5)) {
	case 0:
	case 1:
		place->bytes = draw(m, 1000000);
		place->member = (uint16_t)draw(m, 240);
		flags = (uint8_t)draw(m, 8);
		assert_int_equal(pending_add(pending, place->node,
					     place->member, place->bytes,
					     flags),
				 0);
		/* what was lost stays so */
		flags |= is_there ? place->flags & PENDING_LOST : 0;
		place->flags = flags;
		break;
	case 2:
		place->flags = is_there ? (uint8_t)draw(m, 8) : 0xff;
		pending_set_flags(pending, place->node, place->flags);
		break;
	case 3:
		place->member = (uint16_t)draw(m, 240);
		pending_set_member(pending, place->node, place->member);
		break;
	default:
		place->flags = 0xff;
		place->bytes = 0;
		pending_remove(pending, place->node);
		break;
	}
}

static int count_saved(const struct pending_place *place, void *private_data)
{
	uint64_t *num = private_data;

	(*num)++;
	return 0;
}

static void the_list_is_as_it_was_made(void **state)
{
	struct world *w = new_world(3, "1");
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_catalog *catalog = engine->catalog;
	struct mrmr_error err = {0};
	struct model *m = calloc(1, sizeof(*m));
	struct model *saved = calloc(1, sizeof(*m));
	struct pending *pending = pending_load(NULL, catalog, &err);
	uint64_t num = 0;
	unsigned int i;

	(void)state;
	assert_non_null(m);
	assert_non_null(saved);
	assert_non_null(pending);
	make_ids(m);
	compare(pending, m);
	*saved = *m;
	for (i = 0; i < 60; i++) {
		unsigned int n = 1 + draw(m, i % 3 == 0 ? 3000 : 30);
		bool keeps = draw(m, 4) != 0;

		assert_int_equal(mrmr_catalog_begin(catalog), 0);
		while (n-- > 0) {
			change_one(pending, m);
		}
		compare(pending, m);
		if (keeps) {
			assert_int_equal(pending_save(pending), 0);
			assert_int_equal(mrmr_catalog_commit(catalog, &err), 0);
			*saved = *m;
		} else {
			saved->state = m->state;
			*m = *saved;
			mrmr_catalog_cancel(catalog);
			pending_load_again(pending);
		}
		compare(pending, m);
		if (i % 8 == 0) {
			talloc_free(pending);
			pending = pending_load(NULL, catalog, &err);
			assert_non_null(pending);
			compare(pending, m);
		}
	}
	assert_int_equal(pending_each_saved(catalog, count_saved, &num), 0);
	assert_int_equal(num, pending_num(pending));
	for (i = 0; i < MODEL; i++) {
		struct pending_place place;

		assert_int_equal(pending_saved(catalog, m->places[i].node,
					       &place),
				 m->places[i].flags != 0xff);
		/* and nothing is left of it when all have gone */
		pending_remove(pending, m->places[i].node);
	}
	assert_int_equal(mrmr_catalog_begin(catalog), 0);
	assert_int_equal(pending_save(pending), 0);
	assert_int_equal(mrmr_catalog_commit(catalog, &err), 0);
	assert_int_equal(pending_num(pending), 0);
	assert_int_equal(pending_bytes(pending), 0);
	assert_false(mrmr_catalog_has_note(catalog, "pending/page.0"));
	assert_false(mrmr_catalog_has_note(catalog, "pending/map.0"));
	talloc_free(pending);
	talloc_free(engine);
	free(saved);
	free(m);
	world_free(w);
}

/* What cannot be read is not taken for a list without it. */
static void a_damaged_page_is_an_error(void **state)
{
	struct world *w = new_world(3, "1");
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_catalog *catalog = engine->catalog;
	struct mrmr_error err = {0};
	struct pending *pending = pending_load(NULL, catalog, &err);
	struct pending_place place;

	(void)state;
	assert_int_equal(mrmr_catalog_begin(catalog), 0);
	assert_int_equal(pending_add(pending, 20, 0, 5, 0), 0);
	assert_int_equal(pending_add(pending, 2000, 0, 5, 0), 0);
	assert_int_equal(pending_save(pending), 0);
	assert_int_equal(mrmr_catalog_put_note(catalog, "pending/page.0",
					       (const uint8_t *)"x", 1),
			 0);
	assert_int_equal(mrmr_catalog_commit(catalog, &err), 0);
	talloc_free(pending);

	pending = pending_load(NULL, catalog, &err);
	assert_non_null(pending);
	assert_false(pending_next(pending, 1, &place));
	assert_int_equal(pending_error(pending), -1);
	assert_int_equal(errno, EILSEQ);
	assert_int_equal(mrmr_catalog_begin(catalog), 0);
	pending_remove(pending, 2000);
	assert_int_equal(pending_save(pending), -1);
	mrmr_catalog_cancel(catalog);
	assert_int_equal(pending_saved(catalog, 20, &place), -1);
	talloc_free(pending);
	talloc_free(engine);
	world_free(w);
}

/* --- few places -------------------------------------------------------------------- */

#define FILES 60

/* Each member has a tree of its own, made after that of the one before. */
static const char *path_of(unsigned int i)
{
	static char path[32];

	snprintf(path, sizeof(path), "d%u/f%u", i / 12, i);
	return path;
}

static void write_files(struct world *w, unsigned int seed, size_t len)
{
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		if (i % 12 == 0 && seed == 0) {
			char dir[8];

			snprintf(dir, sizeof(dir), "d%u", i / 12);
			assert_int_equal(do_mkdir(w, dir, 0755), 0);
		}
		client_write_on(w, i / 12, path_of(i), i + seed, len);
	}
}

static void verify_files(struct world *w, unsigned int seed, size_t len)
{
	unsigned int i;

	for (i = 0; i < FILES; i++) {
		verify(w, path_of(i), i + seed, len, 1);
	}
	assert_int_equal(pending_of(w), 0);
	assert_int_equal(sums_of(w).file_bytes, sums_of(w).protected_bytes);
	verify_tidy(w);
}

static void all_are_protected(void **state)
{
	static const uint32_t windows[] = {1, 2, 5, 8, 30};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
		struct world *w = new_world(5, "1");
		struct mrmr_protect_result result;

		protect_window_files = windows[i];
		write_files(w, 0, BLOCK);
		client_write_on(w, 0, "large", 999, 30 * BLOCK + 5);
		result = protect(w);
		assert_int_equal(result.protected_files, FILES + 1);
		assert_in_range(result.window_files, 1, windows[i]);
		verify_files(w, 0, BLOCK);
		/* changed: those that were first are so again */
		write_files(w, 1000, 5000);
		result = protect(w);
		assert_int_equal(result.protected_files, FILES);
		assert_in_range(result.window_files, 1, windows[i]);
		verify_files(w, 1000, 5000);
		verify(w, "large", 999, 30 * BLOCK + 5, 1);
		world_free(w);
	}
	protect_window_files = 0;
}

/* As many of each member as of the others, though their ids lie in a row. */
static void stripes_become_full(void **state)
{
	struct world *w = new_world(5, "1");
	struct mrmr_protect_result result;
	struct mrmr_catalog_sums sums;

	(void)state;
	protect_window_files = 10;
	write_files(w, 0, BLOCK);
	result = protect(w);
	assert_in_range(result.window_files, 1, 10);
	sums = sums_of(w);
	/* 60 blocks, 4 in a stripe */
	assert_int_equal(sums.num_stripes, FILES / 4);
	protect_window_files = 0;
	verify_files(w, 0, BLOCK);
	world_free(w);
}

/* Names only: all of them wait. */
static void notice(struct world *w)
{
	const struct mrmr_protect_options options = {.names_only = true};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_protect_result result;
	struct mrmr_error err = {0};

	if (mrmr_protect(engine, &options, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	talloc_free(engine);
}

static void what_changes_while_it_waits(void **state)
{
	struct world *w = new_world(5, "1");
	struct mrmr_protect_result result;
	unsigned int i;

	(void)state;
	protect_window_files = 4;
	write_files(w, 0, 3000);
	notice(w);
	assert_int_equal(pending_of(w), FILES);
	for (i = 0; i < FILES; i++) {
		char other[40];

		switch (i % 6) {
		case 0: /* known */
			client_write(w, path_of(i), i + 500, BLOCK + i);
			break;
		case 1:
			snprintf(other, sizeof(other), "d%u/r%u", i / 12, i);
			assert_int_equal(do_rename(w, path_of(i), other), 0);
			break;
		case 2:
			assert_int_equal(do_unlink(w, path_of(i)), 0);
			break;
		case 3: /* behind its back */
			assert_return_code(unlink(world_member(w, i / 12,
							       path_of(i))),
					   errno);
			break;
		case 4:
			world_write(world_member(w, i / 12, path_of(i)),
				    "other bytes");
			break;
		default:
			break;
		}
	}
	result = protect(w);
	assert_in_range(result.window_files, 1, 4);
	for (i = 0; i < FILES; i++) {
		char other[40];

		snprintf(other, sizeof(other), "d%u/r%u", i / 12, i);
		switch (i % 6) {
		case 0:
			verify(w, path_of(i), i + 500, BLOCK + i, 1);
			break;
		case 1:
			verify_unknown(w, path_of(i));
			verify(w, other, i, 3000, 1);
			break;
		case 2:
		case 3:
			verify_unknown(w, path_of(i));
			break;
		case 4:
			verify_bytes(w, path_of(i),
				     (const uint8_t *)"other bytes", 11, 1);
			break;
		default:
			verify(w, path_of(i), i, 3000, 1);
			break;
		}
	}
	assert_int_equal(pending_of(w), 0);
	assert_int_equal(sums_of(w).file_bytes, sums_of(w).protected_bytes);
	protect_window_files = 0;
	world_free(w);
}

/* --- a large one, in parts --------------------------------------------------------- */

#define LARGE (6u << 20)
#define ANEW (3u << 20)

struct cutting {
	struct world *w;
	bool is_done;
};

/* Between two of its parts, a client gives it other content; what was protected
   of it already is too much to be kept. */
static void write_anew(const struct mrmr_protect_progress *progress,
		       void *private_data)
{
	struct cutting *cutting = private_data;
	struct world *w = cutting->w;
	struct mrmr_undo *undo = NULL;
	uint8_t *bytes = NULL;
	bool lost = false;
	int fd;

	(void)progress;
	if (cutting->is_done) {
		return;
	}
	cutting->is_done = true;
	fd = do_open(w, "large", O_RDWR);
	assert_return_code(fd, errno);
	assert_return_code(mrmr_undo_open(NULL, w->pool, fd, &undo), errno);
	assert_non_null(undo);
	assert_return_code(mrmr_undo_keep_cut(undo, 0, &lost), errno);
	assert_return_code(ftruncate(fd, 0), errno);
	if (lost) {
		client_tell(w, "large", MRMR_EVENT_LOST);
	}
	bytes = seeded(901, ANEW);
	assert_return_code(mrmr_undo_keep(undo, 0, ANEW), errno);
	assert_int_equal(pwrite(fd, bytes, ANEW, 0), ANEW);
	free(bytes);
	talloc_free(undo);
	close(fd);
	client_tell(w, "large", MRMR_EVENT_CHANGED);
}

static void a_large_one_is_cut_between_its_parts(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 4,
				      .parity = "1",
				      .config = ", \"block_size\": \"64K\", "
						"\"undo_max_bytes\": \"1M\""});
	struct cutting cutting = {.w = w};
	const struct mrmr_protect_options options = {
		.everything = true,
		.batch_bytes = 1u << 20,
		.progress = write_anew,
		.private_data = &cutting,
	};
	struct mrmr_engine *engine = NULL;
	struct mrmr_protect_result result;
	struct mrmr_error err = {0};

	(void)state;
	client_write_on(w, 0, "large", 900, LARGE);
	client_write_on(w, 1, "a", 1, ANEW);
	client_write_on(w, 2, "b", 2, ANEW);
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	if (mrmr_protect(engine, &options, &result, &err) == -1) {
		fail_msg("%s", err.text);
	}
	talloc_free(engine);
	assert_true(cutting.is_done);
	assert_int_equal(result.unreadable_files, 0);
	assert_int_equal(pending_of(w), 0);
	verify(w, "large", 901, ANEW, 1);
	verify(w, "a", 1, ANEW, 1);
	verify(w, "b", 2, ANEW, 1);
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

/* More files are in use than there are places. */
static void open_files_are_not_in_the_way(void **state)
{
	struct world *w = new_world(5, "1");
	struct mrmr_protect_result result;
	int fds[FILES];
	unsigned int i;

	(void)state;
	protect_window_files = 6;
	write_files(w, 0, 3000);
	for (i = 0; i < FILES; i++) {
		fds[i] = i % 2 == 0 ? do_open(w, path_of(i), O_RDWR) : -1;
		assert_true(i % 2 != 0 || fds[i] != -1);
	}
	result = protect(w);
	assert_int_equal(result.open_files, FILES / 2);
	assert_int_equal(result.protected_files, FILES / 2);
	assert_in_range(result.window_files, 1, 6);
	assert_int_equal(pending_of(w), FILES / 2);
	for (i = 1; i < FILES; i += 2) {
		verify(w, path_of(i), i, 3000, 1);
	}
	for (i = 0; i < FILES; i += 2) {
		close(fds[i]);
	}
	result = protect(w);
	assert_int_equal(result.open_files, 0);
	verify_files(w, 0, 3000);
	protect_window_files = 0;
	world_free(w);
}

/* Those of a member that is away wait; then they are on another one. */
static void a_member_that_is_away(void **state)
{
	struct world *w = new_world(5, "1");
	struct mrmr_protect_result result;
	unsigned int i;

	(void)state;
	protect_window_files = 4;
	write_files(w, 0, 3000);
	protect(w);
	write_files(w, 1000, BLOCK);
	notice(w);
	world_unplug(w, 1);
	result = protect(w);
	assert_in_range(result.window_files, 1, 4);
	assert_int_equal(result.protected_files, FILES - 12);
	assert_int_equal(pending_of(w), 12);
	for (i = 0; i < FILES; i++) {
		if (i / 12 != 1) {
			verify(w, path_of(i), i + 1000, BLOCK, 1);
		}
	}
	world_close(w);
	world_open(w);
	assert_true(rebuild_lost(w, 1, true));
	protect(w);
	assert_int_equal(pending_of(w), 0);
	for (i = 0; i < FILES; i++) {
		verify(w, path_of(i), i / 12 == 1 ? i : i + 1000,
		       i / 12 == 1 ? 3000 : BLOCK, 1);
	}
	protect_window_files = 0;
	world_free(w);
}

#ifdef MRMR_WITH_FAULTS

static void killed_in_the_middle(void **state)
{
	static const char *const faults[] = {
		"protect-events#1=kill",    "protect-declared#20=kill",
		"protect-applied#2=kill",   "protect-synced#3=kill",
		"protect-committed#2=kill", "protect-committed#6=kill",
		"catalog-commit#5=kill",
	};
	size_t i;

	(void)state;
	protect_window_files = 7;
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct world *w = new_world(5, "1");
		unsigned int n;

		write_files(w, 0, 3000);
		for (n = 0; n < 3; n++) {
			bool killed = protect_killed(w, faults[i]);

			if (n == 0 && !killed) {
				fail_msg("%s is not reached", faults[i]);
			}
			verify_decodable(w);
		}
		protect(w);
		verify_files(w, 0, 3000);
		world_free(w);
	}
	protect_window_files = 0;
}

/* None of them can be read, then all can. */
static void unreadable_files(void **state)
{
	struct world *w = new_world(5, "1");
	struct mrmr_protect_result result;

	(void)state;
	protect_window_files = 4;
	write_files(w, 0, 3000);
	setenv("MRMR_FAULT", "live-read=EIO", 1);
	result = protect(w);
	unsetenv("MRMR_FAULT");
	assert_int_equal(result.unreadable_files, FILES);
	assert_int_equal(result.protected_files, 0);
	assert_in_range(result.window_files, 1, 4);
	assert_int_equal(pending_of(w), FILES);
	protect(w);
	verify_files(w, 0, 3000);
	protect_window_files = 0;
	world_free(w);
}

#endif

/* --- as an older version has left it ------------------------------------------------ */

static void an_older_list_is_taken_over(void **state)
{
	struct world *w = new_world(5, "1");
	struct mrmr_engine *engine = NULL;
	const uint64_t head[3] = {htole64(2), htole64(3), 0};
	const char *const paths[] = {"d0/f0", "d2/f30", "d4/f59"};
	uint8_t places[2][256 * 9] = {{0}};
	struct mrmr_error err = {0};
	size_t i;

	(void)state;
	write_files(w, 0, 3000);
	protect(w);
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	assert_int_equal(mrmr_catalog_begin(engine->catalog), 0);
	for (i = 0; i < 3; i++) {
		struct mrmr_node *node = NULL;
		uint64_t id;

		/* changed, and nobody else tells */
		world_write(world_member(w, i * 2, paths[i]), "other bytes");
		assert_int_equal(mrmr_catalog_find_path(engine->catalog, engine,
							paths[i], &node),
				 0);
		id = htole64(node->id);
		memcpy(places[i % 2] + 9 * 100 * i, &id, sizeof(id));
	}
	assert_int_equal(mrmr_catalog_put_note(engine->catalog, "pending",
					       (const uint8_t *)head,
					       sizeof(head)),
			 0);
	assert_int_equal(mrmr_catalog_put_note(engine->catalog, "pending.0",
					       places[0], sizeof(places[0])),
			 0);
	assert_int_equal(mrmr_catalog_put_note(engine->catalog, "pending.1",
					       places[1], sizeof(places[1])),
			 0);
	assert_int_equal(mrmr_catalog_commit(engine->catalog, &err), 0);
	talloc_free(engine);
	assert_int_equal(protect(w).protected_files, 3);
	for (i = 0; i < 3; i++) {
		verify_bytes(w, paths[i], (const uint8_t *)"other bytes", 11,
			     1);
	}
	assert_int_equal(pending_of(w), 0);
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	assert_false(mrmr_catalog_has_note(engine->catalog, "pending"));
	assert_false(mrmr_catalog_has_note(engine->catalog, "pending.0"));
	assert_false(mrmr_catalog_has_note(engine->catalog, "pending.1"));
	talloc_free(engine);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_list_is_as_it_was_made),
		cmocka_unit_test(a_damaged_page_is_an_error),
		cmocka_unit_test(all_are_protected),
		cmocka_unit_test(stripes_become_full),
		cmocka_unit_test(what_changes_while_it_waits),
		cmocka_unit_test(a_large_one_is_cut_between_its_parts),
		cmocka_unit_test(open_files_are_not_in_the_way),
		cmocka_unit_test(a_member_that_is_away),
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(killed_in_the_middle),
		cmocka_unit_test(unreadable_files),
#endif
		cmocka_unit_test(an_older_list_is_taken_over),
	};

	return WORLD_MAIN("pending", tests);
}
