/*
 * Unit tests: whatever happens in the share, in whatever order, and wherever the
 * protector is killed: when it has come to its end, the catalogue has the names
 * that the share has, and every file can be computed without its member, as it
 * is.
 *
 * MRMR_TEST_SECONDS says how long (default 6), MRMR_TEST_SEED with which seed
 * first (default 1).
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
#include <mrmr/listing.h>
#include <mrmr/protection.h>

#include "protecting.h"

#define K 1024
#define BLOCK (64 * K)
#define NUM_DIRS 4
#define NUM_NAMES 6

static unsigned int state_of_draw;

static unsigned int draw(unsigned int below)
{
	state_of_draw = state_of_draw * 1103515245 + 12345;
	return (state_of_draw >> 8) % below;
}

/* --- what clients do ---------------------------------------------------------- */

static const char *dir_name(void)
{
	static const char *const names[NUM_DIRS + 3] = {
		"", "", "", "a/", "b/", "a/c/", "b/d/",
	};

	return names[draw(NUM_DIRS + 3)];
}

static const char *any_path(void)
{
	static char paths[4][64];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%sn%u", dir_name(), draw(NUM_NAMES));
	return path;
}

static const char *any_dir(void)
{
	static const char *const names[] = {"a", "b", "a/c", "b/d", "a/e"};

	return names[draw(5)];
}

/* The type bits of its mode; 0: it is not there. */
static mode_t kind_of(struct world *w, const char *path)
{
	struct stat st;
	size_t member;

	return do_stat(w, path, &member, &st) == 0 ? st.st_mode & S_IFMT : 0;
}

static void write_something(struct world *w)
{
	const char *path = any_path();
	const char *slash = strrchr(path, '/');
	char parent[64];

	snprintf(parent, sizeof(parent), "%.*s",
		 slash != NULL ? (int)(slash - path) : 0, path);
	if ((parent[0] != '\0' && kind_of(w, parent) != S_IFDIR) ||
	    (kind_of(w, path) != 0 && kind_of(w, path) != S_IFREG)) {
		return;
	}
	client_write(w, path, draw(1000),
		     draw(4) == 0 ? draw(3 * BLOCK) : draw(3000));
}

static void overwrite_something(struct world *w)
{
	const char *path = any_path();

	if (kind_of(w, path) == S_IFREG) {
		client_overwrite(w, path, draw(1000), 1 + draw(BLOCK),
				 draw(2 * BLOCK));
	}
}

/* Most of these fail, as what they need is not there, or is in the way. */
static void do_something(struct world *w)
{
	switch (draw(12)) {
	case 0:
	case 1:
	case 2:
		write_something(w);
		break;
	case 3:
		overwrite_something(w);
		break;
	case 4:
	case 5:
		do_rename(w, any_path(), any_path());
		break;
	case 6:
		do_rename(w, any_dir(), any_dir());
		break;
	case 7:
		do_unlink(w, any_path());
		break;
	case 8:
		do_mkdir(w, any_dir(), 0755);
		break;
	case 9:
		do_rmdir(w, any_dir());
		break;
	case 10:
		do_link(w, any_path(), any_path());
		break;
	default:
		if (draw(4) == 0) {
			do_symlink(w, "somewhere", any_path());
		}
		break;
	}
}

/* --- comparing ------------------------------------------------------------------ */

struct names {
	char *list[256];
	size_t num;
};

static int take_name(const struct mrmr_node *node, void *private_data)
{
	struct names *names = private_data;

	assert_true(names->num < 256);
	names->list[names->num++] = strdup(node->name);
	return 0;
}

static bool has_name(const struct names *names, const char *name)
{
	size_t i;

	for (i = 0; i < names->num; i++) {
		if (strcmp(names->list[i], name) == 0) {
			return true;
		}
	}
	return false;
}

static void compare_file(struct world *w, const char *path)
{
	struct stat st;
	uint8_t *bytes = NULL;
	int fd = do_open(w, path, O_RDONLY);

	assert_return_code(fd, errno);
	assert_return_code(fstat(fd, &st), errno);
	bytes = malloc((size_t)st.st_size + 1);
	assert_int_equal(pread(fd, bytes, (size_t)st.st_size, 0), st.st_size);
	close(fd);
	verify_bytes(w, path, bytes, (size_t)st.st_size, 1);
	free(bytes);
}

static void compare_directory(struct world *w, const char *path)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	struct names known = {.num = 0};
	struct mrmr_node *node = NULL;
	struct mrmr_listing *listing = NULL;
	size_t n, i;

	if (mrmr_catalog_find_path(engine->catalog, engine, path, &node) ==
	    -1) {
		fail_msg("directory '%s' is not known", path);
	}
	assert_int_equal(mrmr_catalog_list(engine->catalog, node->id, take_name,
					   &known),
			 0);
	talloc_free(engine);
	listing = mrmr_listing_new(NULL, do_dir(w, path));
	assert_non_null(listing);
	n = mrmr_listing_count(listing);
	for (i = 2; i < n; i++) {
		struct mrmr_listing_entry entry = mrmr_listing_get(listing, i);
		char below[256];

		snprintf(below, sizeof(below), "%s%s%s", path,
			 path[0] != '\0' ? "/" : "", entry.name);
		if (!has_name(&known, entry.name)) {
			fail_msg("'%s' is not known", below);
		}
		if (entry.type == DT_DIR) {
			compare_directory(w, below);
		} else if (entry.type == DT_REG) {
			compare_file(w, below);
		}
	}
	if (known.num != n - 2) {
		for (i = 0; i < known.num; i++) {
			print_message("known in '%s': %s\n", path,
				      known.list[i]);
		}
		fail_msg("in '%s' %zu names are known, %zu are there", path,
			 known.num, n - 2);
	}
	for (i = 0; i < known.num; i++) {
		free(known.list[i]);
	}
	talloc_free(listing);
}

/* --- and again ---------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

static void maybe_killed(struct world *w)
{
#ifdef MRMR_WITH_FAULTS
	static const char *const points[] = {
		"protect-events",      "protect-declared",  "protect-applied",
		"protect-synced",      "protect-committed", "stripes-job",
		"protect-before-drop", "blob-rename",       "catalog-commit",
		"catalog-part",        "undo-drop",         "queue-taken",
		"trash-left",          "trash-unlink",
	};
	char fault[64];

	snprintf(fault, sizeof(fault), "%s#%u=kill", points[draw(14)],
		 1 + draw(4));
	if (draw(3) == 0) {
		protect_killed(w, fault);
		verify_decodable(w);
		return;
	}
#endif
	protect(w);
}

static unsigned int one_life(unsigned int seed)
{
	const struct world_shape shape = {
		.num_members = 4,
		.parity = "1",
		.config = ", \"block_size\": \"64K\", \"trash_max_percent\": 1",
	};
	const struct mrmr_event scan = {
		.kind = MRMR_EVENT_SCAN,
		.path = "",
		.to = "",
	};
	struct world *w = world_new(&shape);
	unsigned int turns = 4 + seed % 8;
	unsigned int i;

	state_of_draw = seed;
	protect_batch_bytes = draw(2) == 0 ? 0 : 3 * BLOCK;
	protect_window_files = draw(2) == 0 ? 0 : 1 + draw(8);
	if (draw(2) == 0) {
		protect(w); /* the first scan is over */
	}
	while (turns-- > 0) {
		unsigned int n = 1 + draw(40);

		for (i = 0; i < n; i++) {
			do_something(w);
		}
		if (draw(8) == 0) {
			mrmr_queue_add(w->pool->queue, &scan);
		}
		maybe_killed(w);
	}
	protect(w);
	compare_directory(w, "");
	verify_decodable(w);
	verify_tidy(w);
	assert_int_equal(pending_of(w), 0);
	assert_int_equal(sums_of(w).file_bytes, sums_of(w).protected_bytes);
	world_free(w);
	return i;
}

static void whatever_happens(void **state)
{
	const char *seconds = getenv("MRMR_TEST_SECONDS");
	const char *given = getenv("MRMR_TEST_SEED");
	int64_t end = now_ms() + 1000 * (seconds != NULL ? atoi(seconds) : 6);
	unsigned int seed = given != NULL ? (unsigned int)atoi(given) : 1;
	unsigned int lives = 0;

	(void)state;
	do {
		print_message("seed %u\n", seed);
		one_life(seed++);
		lives++;
	} while (now_ms() < end);
	assert_true(lives > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_happens),
	};

	return WORLD_MAIN("protector_random", tests);
}
