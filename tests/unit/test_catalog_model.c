/*
 * Unit tests of source/catalog: random changes, compared with a simple model.
 *
 * A world has a catalogue and the parts of its members, which come, go, are
 * lost and made anew. The seed of each is printed when it fails; MRMR_TEST_SEED
 * repeats it, MRMR_TEST_ROUNDS makes it longer.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "../../source/catalog/catalog_private.h"
#include "catalog_world.h"

static void transaction(struct catalog_world *w, struct model *before)
{
	uint64_t num = model_below(&w->random, 40);
	uint64_t i;

	*before = *w->model;
	catalog_world_begin(w);
	for (i = 0; i < num; i++) {
		model_change(w->model, w->cat, &w->random);
	}
	switch (model_below(&w->random, 6)) {
	case 0:
		mrmr_catalog_cancel(w->cat);
		*w->model = *before;
		break;
	case 1:
		model_check(w->model, w->cat); /* from within */
		catalog_world_commit(w);
		break;
	default:
		catalog_world_commit(w);
	}
}

static void member_comes_or_goes(struct catalog_world *w)
{
	uint16_t member = (uint16_t)model_below(&w->random, MODEL_MEMBERS);

	switch (model_below(&w->random, 8)) {
	case 0:
	case 1:
		catalog_world_detach(w, member);
		break;
	case 2:
		catalog_world_detach(w, member);
		catalog_world_lose(w, member);
		break;
	case 3:
		catalog_world_begin(w);
		assert_int_equal(mrmr_catalog_forget_part(w->cat, member), 0);
		catalog_world_commit(w);
		catalog_world_detach(w, member);
		break;
	default:
		catalog_world_attach(w, member);
		if (mrmr_catalog_part_is_behind(w->cat, member) &&
		    model_below(&w->random, 2) == 0) {
			catalog_world_refresh(w, member);
		}
	}
}

/* The parts that are not behind are as they should be, and any of them make a
   catalogue. */
static void check_parts(struct catalog_world *w)
{
	struct mrmr_catalog *parts[MODEL_MEMBERS] = {NULL};
	struct mrmr_catalog *cat = NULL;
	uint16_t member;

	for (member = 0; member < MODEL_MEMBERS; member++) {
		if (mrmr_catalog_part_is_behind(w->cat, member)) {
			continue;
		}
		catalog_world_refresh(w, member);
		model_check_part(w->model, w->parts[member], member);
		if (model_below(&w->random, 3) > 0) {
			parts[member] = w->parts[member];
		}
	}
	cat = catalog_world_other(w);
	model_check_import(w->model, parts, cat);
	talloc_free(cat);
}

static void run(struct catalog_world *w, unsigned int rounds)
{
	struct model *before = malloc(sizeof(*before));
	unsigned int i;

	for (i = 0; i < rounds; i++) {
		transaction(w, before);
		if (model_below(&w->random, 3) == 0) {
			member_comes_or_goes(w);
		}
		if (model_below(&w->random, 12) == 0) {
			catalog_world_reopen(w);
			model_check(w->model, w->cat);
		}
		if (model_below(&w->random, 12) == 0) {
			check_parts(w);
		}
	}
	model_check(w->model, w->cat);
	check_parts(w);
	assert_int_equal(mrmr_catalog_check(w->cat, NULL), 0);
	free(before);
}

static unsigned int rounds(unsigned int usual)
{
	const char *text = getenv("MRMR_TEST_ROUNDS");

	if (text != NULL) {
		return (unsigned int)atoi(text);
	}
	return getenv("MRMR_TEST_FULL") != NULL ? 5 * usual : usual;
}

static void test_random_changes(void **state)
{
	run(*state, rounds(80));
}

static void test_random_changes_over_many_files(void **state)
{
	struct catalog_world *w = *state;

	catalog_world_make_small_files(w);
	run(w, rounds(200));
	assert_true(catalog_world_num_files(w, MRMR_MEMBER_NONE) > 3);
}

static void test_parts_are_written_by_several_threads(void **state)
{
	struct catalog_world *w = *state;
	uint16_t member;
	size_t files = 0;

	catalog_world_make_small_files(w);
	catalog_world_use_threads(w, 4);
	run(w, rounds(200));
	/* some of them may have been lost just now */
	for (member = 0; member < MODEL_MEMBERS; member++) {
		files += catalog_world_num_files(w, member);
	}
	assert_true(files > 2 * MODEL_MEMBERS);
}

/* The name that the journal of a member's part has when there is one. */
static void journal_of(int member_fd, char *name, size_t size)
{
	DIR *dir = fdopendir(openat(member_fd, ".", O_RDONLY | O_DIRECTORY));
	struct dirent *entry = NULL;

	assert_non_null(dir);
	name[0] = '\0';
	while ((entry = readdir(dir)) != NULL) {
		if (strncmp(entry->d_name, "mrmr.db.1.", 10) == 0) {
			snprintf(name, size, "mrmr.db.%s.journal",
				 entry->d_name + 10);
		}
	}
	closedir(dir);
}

/* Somebody has given a file, which clients see, the name of the journal, too. */
static void test_a_journal_is_a_file_of_its_own(void **state)
{
	static const char text[] = "a client's";
	struct catalog_world *w = *state;
	char content[sizeof(text)] = {0};
	char name[128] = "";
	unsigned int i;
	struct stat st;
	int fd;

	catalog_world_make_small_files(w);
	catalog_world_attach(w, 0);
	catalog_world_refresh(w, 0);
	for (i = 0; i < 1000 && name[0] == '\0'; i++) {
		catalog_world_begin(w);
		model_change(w->model, w->cat, &w->random);
		catalog_world_commit(w);
		journal_of(w->member_fds[0], name, sizeof(name));
	}
	assert_int_not_equal(name[0], '\0');
	fd = openat(w->member_fds[0], "seen", O_RDWR | O_CREAT | O_EXCL, 0666);
	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
	assert_int_equal(linkat(w->member_fds[0], "seen", w->member_fds[0],
				name, 0),
			 0);
	/* until there was one */
	for (i = 0; i < 1000 && fstat(fd, &st) == 0 && st.st_nlink > 1; i++) {
		catalog_world_begin(w);
		model_change(w->model, w->cat, &w->random);
		catalog_world_commit(w);
	}
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(st.st_size, sizeof(text));
	assert_int_equal(pread(fd, content, sizeof(content), 0), sizeof(text));
	assert_string_equal(content, text);
	close(fd);
	model_check_part(w->model, w->parts[0], 0);
}

static void test_two_copies_of_what_is_in_no_stripe(void **state)
{
	struct catalog_world *w = *state;
	uint16_t member;
	unsigned int i;

	for (member = 0; member < MODEL_MEMBERS; member++) {
		catalog_world_attach(w, member);
		catalog_world_refresh(w, member);
	}
	mrmr_catalog_set_copies(w->cat, 2);
	for (i = 0; i < 100; i++) {
		catalog_world_begin(w);
		model_change(w->model, w->cat, &w->random);
		model_change(w->model, w->cat, &w->random);
		model_change(w->model, w->cat, &w->random);
		catalog_world_commit(w);
		if (i % 10 == 9) {
			model_check_shares(w->model, w->parts, 2);
		}
	}
	/* one that is made anew has what the old one had, or more */
	catalog_world_detach(w, 3);
	catalog_world_lose(w, 3);
	catalog_world_attach(w, 3);
	assert_true(mrmr_catalog_part_is_behind(w->cat, 3));
	catalog_world_refresh(w, 3);
	model_check_part(w->model, w->parts[3], 3);
	model_check_shares(w->model, w->parts, 2);
}

/* What the log of commits is for, and that it ends. */
static void test_a_part_that_was_away_is_told(void **state)
{
	struct catalog_world *w = *state;
	unsigned int i;

	catalog_world_attach(w, 0);
	catalog_world_attach(w, 1);
	catalog_world_refresh(w, 0);
	catalog_world_refresh(w, 1);
	catalog_world_detach(w, 1);
	for (i = 0; i < 50; i++) {
		catalog_world_begin(w);
		model_change(w->model, w->cat, &w->random);
		model_change(w->model, w->cat, &w->random);
		catalog_world_commit(w);
	}
	catalog_world_reopen(w);
	catalog_world_attach(w, 1);
	assert_false(mrmr_catalog_part_is_behind(w->cat, 1));
	catalog_world_refresh(w, 1);
	model_check_part(w->model, w->parts[1], 1);
	/* beyond 4096 commits the log does not go */
	catalog_world_detach(w, 1);
	for (i = 0; i < 4100; i++) {
		catalog_world_begin(w);
		mrmr_catalog_put_note(w->cat, "other", (uint8_t *)&i,
				      sizeof(i));
		catalog_world_commit(w);
	}
	catalog_world_attach(w, 1);
	assert_true(mrmr_catalog_part_is_behind(w->cat, 1));
	catalog_world_refresh(w, 1);
	model_check_part(w->model, w->parts[1], 1);
}

/* --- names that are exchanged, with changes that leave them alone ---------------- */

#define NUM_ROUND 5

/* On member 0, the first ones of the catalogue, in the root: of so many extents
   of zeros. */
static void put_round(struct catalog_world *w, uint64_t *ids, uint32_t size,
		      bool is_new)
{
	struct mrmr_extent extents[NUM_ROUND];
	unsigned int i;

	for (i = 0; i < size; i++) {
		extents[i] = (struct mrmr_extent){.state = MRMR_EXTENT_ZERO,
						  .len_bytes = MODEL_GRID};
	}

	for (i = 0; i < NUM_ROUND; i++) {
		char name[8];
		struct mrmr_node node = {
			.id = is_new ? 0 : ids[i],
			.dir_id = MRMR_ID_ROOT,
			.name = name,
			.kind = MRMR_NODE_FILE,
			.inode = 1000 + i,
			.size_bytes = (uint64_t)size * MODEL_GRID,
			.mode = S_IFREG | 0644,
			.grid_bytes = MODEL_GRID,
		};

		snprintf(name, sizeof(name), "r%u", i);
		assert_int_equal(mrmr_catalog_put(w->cat, &node, &ids[i]), 0);
		assert_int_equal(mrmr_catalog_put_extents(w->cat, ids[i], 0,
							  extents, size),
				 0);
	}
}

/* Each gets the name of the next one, `by` places on. */
static void turn_round(struct catalog_world *w, unsigned int by)
{
	char from[8];
	char to[8];
	unsigned int i;

	for (i = 0; i < 2 * NUM_ROUND; i++) {
		snprintf(from, sizeof(from), i < NUM_ROUND ? "r%u" : "t%u",
			 i % NUM_ROUND);
		snprintf(to, sizeof(to), i < NUM_ROUND ? "t%u" : "r%u",
			 i < NUM_ROUND ? i : (i + by) % NUM_ROUND);
		assert_int_equal(mrmr_catalog_rename(w->cat, MRMR_ID_ROOT, from,
						     MRMR_ID_ROOT, to),
				 0);
	}
}

/* File i has the name that is `turned` places on; nothing else is there. */
static void assert_round(struct mrmr_catalog *cat, const uint64_t *ids,
			 unsigned int turned, uint32_t size)
{
	struct mrmr_node *node = NULL;
	uint64_t after = MRMR_ID_ROOT;
	unsigned int num = 0;
	unsigned int i;

	for (i = 0; i < NUM_ROUND; i++) {
		char name[8];

		snprintf(name, sizeof(name), "r%u", (i + turned) % NUM_ROUND);
		assert_int_equal(mrmr_catalog_find(cat, NULL, MRMR_ID_ROOT,
						   name, &node),
				 0);
		assert_int_equal(node->id, ids[i]);
		assert_int_equal(node->size_bytes, (uint64_t)size * MODEL_GRID);
		assert_int_equal(node->num_extents, size);
		talloc_free(node);
	}
	while (mrmr_catalog_next(cat, NULL, after, &node) == 0) {
		after = node->id;
		num++;
		talloc_free(node);
	}
	assert_int_equal(num, NUM_ROUND);
	assert_int_equal(mrmr_catalog_check(cat, NULL), 0);
}

static void test_names_go_round_in_a_part(void **state)
{
	struct catalog_world *w = *state;
	uint64_t ids[NUM_ROUND] = {0};
	unsigned int turned = 0;
	uint32_t size = 1;

	catalog_world_attach(w, 0);
	catalog_world_begin(w);
	put_round(w, ids, size, true);
	catalog_world_commit(w);
	assert_round(w->parts[0], ids, turned, size);
	/* contents before, after, and before and after the names */
	for (size = 2; size < 5; size++) {
		catalog_world_begin(w);
		if (size != 3) {
			put_round(w, ids, size, false);
		}
		turn_round(w, 2);
		if (size != 2) {
			put_round(w, ids, size, false);
		}
		catalog_world_commit(w);
		turned += 2;
		assert_round(w->cat, ids, turned, size);
		assert_round(w->parts[0], ids, turned, size);
	}
}

#ifdef MRMR_WITH_FAULTS
/* The part is ahead by names that came to nothing; what comes next changes the
   contents alone. */
static void test_names_that_a_failed_commit_turned(void **state)
{
	struct catalog_world *w = *state;
	uint64_t ids[NUM_ROUND] = {0};
	struct mrmr_error err = {0};
	bool reopens;

	catalog_world_attach(w, 0);
	catalog_world_begin(w);
	put_round(w, ids, 1, true);
	catalog_world_commit(w);
	for (reopens = false;; reopens = true) {
		catalog_world_begin(w);
		turn_round(w, 1);
		setenv("MRMR_FAULT", "catalog-commit=EIO", 1);
		assert_int_equal(mrmr_catalog_commit(w->cat, &err), -1);
		unsetenv("MRMR_FAULT");
		assert_round(w->cat, ids, 0, 1 + reopens);
		/* so it is ahead indeed */
		assert_round(w->parts[0], ids, 1, 1 + reopens);
		if (reopens) {
			catalog_world_reopen(w);
			catalog_world_attach(w, 0);
			assert_false(mrmr_catalog_part_is_behind(w->cat, 0));
		}
		catalog_world_begin(w);
		put_round(w, ids, 2 + reopens, false);
		catalog_world_commit(w);
		assert_round(w->cat, ids, 0, 2 + reopens);
		assert_round(w->parts[0], ids, 0, 2 + reopens);
		if (reopens) {
			break;
		}
	}
}
#endif

/* The nodes of one member among those of others. */
static void test_the_next_on_a_member(void **state)
{
	struct catalog_world *w = *state;
	uint64_t last = MRMR_ID_ROOT;
	uint64_t ids[60] = {0};
	struct mrmr_node *node = NULL;
	unsigned int i;

	catalog_world_begin(w);
	for (i = 0; i < 60; i++) {
		char name[8];
		bool is_dir = i % 20 == 7;
		struct mrmr_node one = {
			.dir_id = MRMR_ID_ROOT,
			.name = name,
			.kind = is_dir ? MRMR_NODE_DIRECTORY
				       : MRMR_NODE_SYMLINK,
			.target = is_dir ? NULL : (char *)"x",
			.member = is_dir ? MRMR_MEMBER_NONE : i % 3,
			.mode = is_dir ? S_IFDIR | 0755 : S_IFLNK | 0777,
		};

		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(mrmr_catalog_put(w->cat, &one, &ids[i]), 0);
	}
	catalog_world_commit(w);
	for (i = 0; i < 60; i++) {
		if (i % 3 != 1 && i % 20 != 7) {
			continue;
		}
		assert_int_equal(mrmr_catalog_next_on(w->cat, NULL, 1, true,
						      last, &node),
				 0);
		assert_int_equal(node->id, ids[i]);
		last = node->id;
		talloc_free(node);
	}
	assert_int_equal(mrmr_catalog_next_on(w->cat, NULL, 1, true, last,
					      &node),
			 -1);
	assert_int_equal(errno, ENOENT);
	/* 7 is a directory, and 10 is the next of member 1 */
	assert_int_equal(mrmr_catalog_next_on(w->cat, NULL, 1, false, ids[5],
					      &node),
			 0);
	assert_int_equal(node->id, ids[10]);
	talloc_free(node);
	assert_int_equal(mrmr_catalog_next_on(w->cat, NULL, 5, false, 0, &node),
			 -1);
	assert_int_equal(errno, ENOENT);
}

static size_t memory_of_parts(const struct catalog_world *w)
{
	size_t bytes = 0;
	uint16_t member;

	for (member = 0; member < MODEL_MEMBERS; member++) {
		if (w->parts[member] != NULL) {
			bytes += w->parts[member]->clean_bytes +
				 w->parts[member]->dirty_bytes;
		}
	}
	return bytes;
}

static void add_links(struct catalog_world *w, unsigned int round)
{
	char target[200];
	unsigned int i;

	memset(target, 'x', sizeof(target) - 1);
	target[sizeof(target) - 1] = '\0';
	catalog_world_begin(w);
	for (i = 0; i < 100; i++) {
		char name[32];
		struct mrmr_node one = {
			.dir_id = MRMR_ID_ROOT,
			.name = name,
			.kind = MRMR_NODE_SYMLINK,
			.target = target,
			.member = (uint16_t)(i % MODEL_MEMBERS),
			.mode = S_IFLNK | 0777,
		};

		snprintf(name, sizeof(name), "n%u-%u", round, i);
		assert_int_equal(mrmr_catalog_put(w->cat, &one, NULL), 0);
	}
	catalog_world_commit(w);
}

/* A pool with many members has no more memory for their parts than a small
   one. */
static void test_parts_share_their_memory(void **state)
{
	struct catalog_world *w = *state;
	uint16_t member;
	unsigned int round;

	parts_clean_bytes = 100 * 1024;
	for (member = 0; member < MODEL_MEMBERS; member++) {
		catalog_world_attach(w, member);
		catalog_world_refresh(w, member);
	}
	for (round = 0; round < 20; round++) {
		add_links(w, round);
		assert_true(memory_of_parts(w) <= parts_clean_bytes);
	}
	/* what is left of them has it all, and remembers something */
	parts_clean_bytes = (size_t)16 << 20;
	for (member = 1; member < MODEL_MEMBERS; member++) {
		catalog_world_detach(w, member);
	}
	assert_int_equal(w->parts[0]->clean_bytes_max, parts_clean_bytes);
	add_links(w, round);
	assert_int_not_equal(memory_of_parts(w), 0);
}

int main(void)
{
#define TEST(name)                                                 \
	cmocka_unit_test_setup_teardown(name, catalog_world_setup, \
					catalog_world_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_random_changes),
		TEST(test_random_changes_over_many_files),
		TEST(test_parts_are_written_by_several_threads),
		TEST(test_a_journal_is_a_file_of_its_own),
		TEST(test_two_copies_of_what_is_in_no_stripe),
		TEST(test_a_part_that_was_away_is_told),
		TEST(test_names_go_round_in_a_part),
#ifdef MRMR_WITH_FAULTS
		TEST(test_names_that_a_failed_commit_turned),
#endif
		TEST(test_the_next_on_a_member),
		TEST(test_parts_share_their_memory),
	};

	cmocka_set_test_filter(getenv("MRMR_TEST_ONLY"));
	return cmocka_run_group_tests_name("catalog model", tests, NULL, NULL);
}
