/*
 * Unit tests: a catalogue and the parts of its members (catalog_world.h).
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
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include "../../source/catalog/catalog_private.h"
#include "catalog_world.h"
#include "scratch.h"

static struct store_limits usual_limits;
static size_t usual_threads_from;
static size_t usual_clean_bytes;
static size_t usual_fresh_bytes;

const struct mrmr_uuid catalog_world_pool = {.byte = {1, 2, 3}};

static int open_folder(struct catalog_world *w, const char *name)
{
	const char *path = scratch_path(&w->scratch, name);
	int fd;

	mkdir(path, 0700);
	fd = open(path, O_RDONLY | O_DIRECTORY);
	assert_int_not_equal(fd, -1);
	return fd;
}

static void open_catalog(struct catalog_world *w)
{
	struct mrmr_error err = {0};

	w->cat = mrmr_catalog_open(NULL, w->state_fd, &catalog_world_pool,
				   MRMR_CATALOG_WRITE, &err);
	if (w->cat == NULL) {
		fail_msg("%s", err.text);
	}
	if (w->threads > 0) {
		mrmr_catalog_set_threads(w->cat, w->threads);
	}
}

static void add_members(struct mrmr_catalog *cat)
{
	struct mrmr_error err = {0};
	uint16_t member, number;

	assert_int_equal(mrmr_catalog_begin(cat), 0);
	for (member = 0; member < MODEL_MEMBERS; member++) {
		struct mrmr_uuid id;

		model_member_id(member, &id);
		assert_int_equal(mrmr_catalog_add_member(cat, &id, &number), 0);
		assert_int_equal(number, member);
	}
	assert_int_equal(mrmr_catalog_commit(cat, &err), 0);
}

int catalog_world_setup(void **state)
{
	struct catalog_world *w = calloc(1, sizeof(*w));
	const char *seed = getenv("MRMR_TEST_SEED");
	uint16_t member;

	usual_limits = store_limits;
	usual_threads_from = parts_threads_from;
	usual_clean_bytes = parts_clean_bytes;
	usual_fresh_bytes = parts_fresh_bytes;
	store_limits.hash_size = 1021; /* copied by each commit */
	/* the same each time, unless asked for another one */
	w->seed = seed != NULL ? strtoull(seed, NULL, 0) : 1;
	w->random = w->seed;
	print_message("MRMR_TEST_SEED=%llu\n", (unsigned long long)w->seed);
	scratch_setup(&w->scratch);
	w->state_fd = open_folder(w, "state");
	for (member = 0; member < MODEL_MEMBERS; member++) {
		char name[16];

		snprintf(name, sizeof(name), "m%u", member);
		w->member_fds[member] = open_folder(w, name);
	}
	w->model = mmap(NULL, sizeof(*w->model), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(w->model, MAP_FAILED);
	catalog_world_start_anew(w);
	*state = w;
	return 0;
}

int catalog_world_teardown(void **state)
{
	struct catalog_world *w = *state;
	uint16_t member;

	catalog_world_close(w);
	for (member = 0; member < MODEL_MEMBERS; member++) {
		close(w->member_fds[member]);
	}
	close(w->state_fd);
	munmap(w->model, sizeof(*w->model));
	scratch_teardown(&w->scratch);
	store_limits = usual_limits;
	parts_threads_from = usual_threads_from;
	parts_clean_bytes = usual_clean_bytes;
	parts_fresh_bytes = usual_fresh_bytes;
	free(w);
	return 0;
}

/* Calls fn with what comes behind the store's name, of each of its files. */
static size_t count_files(struct catalog_world *w, uint16_t member,
			  bool (*fn)(const char *rest))
{
	const char *name = member == MRMR_MEMBER_NONE ? "0.tdb" : "mrmr.db";
	struct dirent *entry = NULL;
	char path[64];
	DIR *dir = NULL;
	size_t num = 0;

	if (member == MRMR_MEMBER_NONE) {
		snprintf(path, sizeof(path), "state/catalogue");
	} else {
		snprintf(path, sizeof(path), "m%u", member);
	}
	dir = opendir(scratch_path(&w->scratch, path));
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		num += strncmp(entry->d_name, name, strlen(name)) == 0 &&
		       fn(entry->d_name + strlen(name));
	}
	closedir(dir);
	return num;
}

static bool is_journal(const char *rest)
{
	return strstr(rest, ".journal") != NULL;
}

static bool is_file(const char *rest)
{
	return !is_journal(rest) && strcmp(rest, ".unclean") != 0;
}

static bool is_new(const char *rest)
{
	return strncmp(rest, ".new", 4) == 0;
}

size_t catalog_world_num_files(struct catalog_world *w, uint16_t member)
{
	return count_files(w, member, is_file);
}

bool catalog_world_has_journal(struct catalog_world *w)
{
	return count_files(w, MRMR_MEMBER_NONE, is_journal) > 0;
}

bool catalog_world_has_others(struct catalog_world *w, uint16_t member)
{
	return count_files(w, member, is_new) > 0 ||
	       count_files(w, member, is_journal) > 0;
}

void catalog_world_start_anew(struct catalog_world *w)
{
	model_init(w->model);
	open_catalog(w);
	add_members(w->cat);
	w->model->sequence = mrmr_catalog_sequence(w->cat);
}

void catalog_world_begin(struct catalog_world *w)
{
	assert_int_equal(mrmr_catalog_begin(w->cat), 0);
}

void catalog_world_commit(struct catalog_world *w)
{
	struct mrmr_error err = {0};

	if (mrmr_catalog_commit(w->cat, &err) == -1) {
		fail_msg("commit: %s", err.text);
	}
	w->model->sequence = mrmr_catalog_sequence(w->cat);
}

void catalog_world_close(struct catalog_world *w)
{
	uint16_t member;

	TALLOC_FREE(w->cat);
	for (member = 0; member < MODEL_MEMBERS; member++) {
		TALLOC_FREE(w->parts[member]);
	}
}

void catalog_world_reopen(struct catalog_world *w)
{
	catalog_world_close(w);
	open_catalog(w);
}

void catalog_world_attach(struct catalog_world *w, uint16_t member)
{
	struct mrmr_error err = {0};

	if (w->parts[member] == NULL) {
		w->parts[member] =
			mrmr_catalog_open_part(NULL, w->member_fds[member],
					       &catalog_world_pool,
					       MRMR_CATALOG_WRITE, &err);
		if (w->parts[member] == NULL) {
			fail_msg("%s", err.text);
		}
	}
	mrmr_catalog_attach(w->cat, member, w->parts[member]);
}

void catalog_world_detach(struct catalog_world *w, uint16_t member)
{
	mrmr_catalog_attach(w->cat, member, NULL);
	TALLOC_FREE(w->parts[member]);
}

void catalog_world_refresh(struct catalog_world *w, uint16_t member)
{
	struct mrmr_error err = {0};

	if (mrmr_catalog_refresh_part(w->cat, member, &err) != 0) {
		fail_msg("%s", err.text);
	}
	assert_false(mrmr_catalog_part_is_behind(w->cat, member));
	w->model->sequence = mrmr_catalog_sequence(w->cat);
}

static void empty_folder(int fd)
{
	DIR *dir = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY));
	struct dirent *entry = NULL;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		unlinkat(fd, entry->d_name, 0);
	}
	closedir(dir);
}

void catalog_world_make_small_files(struct catalog_world *w)
{
	int fd = openat(w->state_fd, MRMR_CATALOG_FOLDER,
			O_RDONLY | O_DIRECTORY);

	store_limits.live_bytes = 12000;
	store_limits.hash_size = 101;
	parts_clean_bytes = 0;
	parts_fresh_bytes = 4000;
	catalog_world_close(w);
	empty_folder(fd);
	close(fd);
	catalog_world_start_anew(w);
}

void catalog_world_use_threads(struct catalog_world *w, unsigned int threads)
{
	parts_threads_from = 0;
	w->threads = threads;
	mrmr_catalog_set_threads(w->cat, threads);
}

void catalog_world_lose(struct catalog_world *w, uint16_t member)
{
	assert_null(w->parts[member]);
	empty_folder(w->member_fds[member]);
}

struct mrmr_catalog *catalog_world_other(struct catalog_world *w)
{
	struct mrmr_catalog *cat = NULL;
	struct mrmr_error err = {0};
	int other_fd = open_folder(w, "other");
	int fd = open_folder(w, "other/" MRMR_CATALOG_FOLDER);

	empty_folder(fd);
	close(fd);
	cat = mrmr_catalog_open(NULL, other_fd, &catalog_world_pool,
				MRMR_CATALOG_WRITE, &err);
	if (cat == NULL) {
		fail_msg("%s", err.text);
	}
	close(other_fd);
	return cat;
}
