/*
 * Unit tests: files that clients write to while their member is away are made anew
 * on others, and these leave as well: what was protected of them is read, whatever
 * clients and protectors do meanwhile.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/serve.h>

#include "drawn.h"
#include "protecting.h"
#include "seeds.h"
#include "tree.h"

#define NUM_FILES 16
#define LEN_MAX 200000

/* What was made anew, and what may be read of it. */
struct anew {
	char path[32];
	uint8_t *then; /* as it was protected on the first member */
	size_t then_len;
	uint8_t *now; /* as it is on the second one; NULL: not made anew */
	size_t now_len;
	bool is_protected; /* as it is now */
};

static size_t num_members;
static unsigned int next_seed;

static size_t any_len(void)
{
	return draw(4) == 0 ? draw(3000) : 1 + draw(LEN_MAX);
}

static const char *any_file(void)
{
	static char path[32];

	snprintf(path, sizeof(path), "d/f%u", 1 + draw(NUM_FILES - 1));
	return path;
}

/* --- what others do ------------------------------------------------------------------ */

static bool is_there(struct world *w, const char *path)
{
	size_t member = do_where(w, path);

	return member != SIZE_MAX && !is_away(w, member);
}

static void do_something(struct world *w)
{
	const char *path = any_file();
	char other[32];

	if (!is_there(w, path)) {
		if (do_where(w, path) == SIZE_MAX && kind_of(w, path) == 0) {
			say("new %s\n", path);
			client_write(w, path, next_seed++, any_len());
		}
		return;
	}
	switch (draw(5)) {
	case 0:
		say("write %s\n", path);
		client_write(w, path, next_seed++, any_len());
		break;
	case 1:
	case 2:
		say("overwrite %s\n", path);
		client_overwrite(w, path, next_seed++, 1 + draw(50000),
				 draw(100000));
		break;
	case 3:
		say("remove %s\n", path);
		assert_int_equal(do_unlink(w, path), 0);
		break;
	default:
		snprintf(other, sizeof(other), "%s", path);
		path = any_file();
		if (strcmp(other, path) != 0 && is_there(w, path)) {
			say("rename %s to %s\n", other, path);
			assert_int_equal(do_rename(w, other, path), 0);
		}
	}
}

static void work(struct world *w)
{
	unsigned int num;

	for (num = draw(4); num > 0; num--) {
		do_something(w);
	}
}

static void protect_and_die(struct world *w)
{
	static const char *const points[] = {
		"catalog-commit",    "protect-applied", "protect-synced",
		"protect-committed", "protect-events",  "stripes-job",
	};
	char fault[48];

	snprintf(fault, sizeof(fault), "%s#%u=kill",
		 points[draw(sizeof(points) / sizeof(points[0]))], 1 + draw(4));
	say("-- protect, %s\n", fault);
	protect_killed(w, fault);
}

static void maybe_protect(struct world *w)
{
	switch (draw(5)) {
	case 0:
		say("-- protect\n");
		protect(w);
		break;
	case 1:
		say("-- protect names\n");
		protect_names(w);
		break;
	case 2:
		protect_and_die(w);
		break;
	case 3:
		say("-- protect and scan\n");
		protect_and_scan(w);
		break;
	default:
		break;
	}
}

/* --- files that are made anew ------------------------------------------------------------- */

static uint8_t *read_here(struct world *w, const char *path, size_t *len)
{
	struct stat st;
	size_t member;
	uint8_t *bytes = NULL;
	int fd;

	assert_int_equal(do_stat(w, path, &member, &st), 0);
	fd = do_open(w, path, O_RDONLY);
	assert_return_code(fd, errno);
	*len = (size_t)st.st_size;
	bytes = malloc(*len + 1);
	assert_int_equal(pread(fd, bytes, *len, 0), (ssize_t)*len);
	close(fd);
	return bytes;
}

/* By way of the others. NULL: it cannot be. */
static uint8_t *read_lost(struct world *w, const char *path, size_t *len)
{
	struct mrmr_error err = {0};
	struct mrmr_ghost ghost;
	struct mrmr_served *served = NULL;
	uint8_t *bytes = NULL;
	struct stat st;
	int fd;

	fd = do_open(w, path, O_RDONLY);
	assert_return_code(fd, errno);
	assert_return_code(fstat(fd, &st), errno);
	assert_return_code(mrmr_ghost_read(fd, &ghost), errno);
	close(fd);
	served = mrmr_served_get(w->pool, &ghost, &err);
	if (served == NULL) {
		say("%s: %s\n", path, err.text);
		return NULL;
	}
	*len = (size_t)st.st_size;
	bytes = malloc(*len + 1);
	if (client_read_served(bytes, *len, 0, served) != (ssize_t)*len) {
		say("%s: %s\n", path, strerror(errno));
		free(bytes);
		bytes = NULL;
	}
	mrmr_served_put(served);
	return bytes;
}

static void check(struct world *w, const struct anew *a)
{
	const uint8_t *want = a->is_protected ? a->now : a->then;
	size_t want_len = a->is_protected ? a->now_len : a->then_len;
	size_t len = 0;
	uint8_t *bytes = NULL;

	serve(w);
	bytes = read_lost(w, a->path, &len);
	stop_serving(w);
	if (bytes == NULL) {
		fail_msg("%s cannot be read", a->path);
	}
	if ((len != want_len || memcmp(bytes, want, len) != 0) &&
	    (a->now == NULL || len != a->now_len ||
	     memcmp(bytes, a->now, len) != 0)) {
		fail_msg("%s has other bytes: %zu, not %zu", a->path, len,
			 want_len);
	}
	free(bytes);
}

static size_t make_anew(struct world *w, struct anew *a)
{
	size_t second;

	serve(w);
	second = client_make_anew(w, "d", a->path + 2);
	if (draw(2) == 0) {
		client_write(w, a->path, next_seed++, any_len());
	} else {
		client_overwrite(w, a->path, next_seed++, 1 + draw(5000),
				 draw(50000));
	}
	stop_serving(w);
	a->now = read_here(w, a->path, &a->now_len);
	say("%s is anew on %zu\n", a->path, second);
	return second;
}

static struct world *begin(void)
{
	struct world_shape shape = {
		.parity = "2",
		.config = ",\"block_size\": \"64K\"",
	};
	struct world *w = NULL;
	char path[32];
	unsigned int i;

	num_members = 4 + draw(3);
	shape.num_members = num_members;
	next_seed = 1;
	w = world_new(&shape);
	for (i = 0; i < NUM_FILES; i++) {
		snprintf(path, sizeof(path), "d/f%u", i);
		client_write_on(w, i % num_members, path, next_seed++,
				any_len());
	}
	protect(w);
	return w;
}

static void live(void)
{
	struct world *w = begin();
	struct anew a = {.path = "d/f0"};
	unsigned int turns;
	size_t second;

	work(w);
	protect(w);
	while (do_where(w, a.path) != 0) {
		if (do_where(w, a.path) != SIZE_MAX) {
			assert_int_equal(do_unlink(w, a.path), 0);
		}
		client_write_on(w, 0, a.path, next_seed++, any_len());
		protect(w);
	}
	a.then = read_here(w, a.path, &a.then_len);
	say("-- 0 of %zu leaves\n", num_members);
	world_unplug(w, 0);
	world_later(w);
	for (turns = draw(3); turns > 0; turns--) {
		work(w);
		maybe_protect(w);
		check(w, &a);
	}
	if (do_where(w, a.path) == 0 || do_where(w, a.path) == SIZE_MAX) {
		second = make_anew(w, &a);
		maybe_protect(w);
		say("-- %zu leaves\n", second);
		world_unplug(w, second);
		world_later(w);
	}
	for (turns = 1 + draw(5); turns > 0; turns--) {
		check(w, &a);
		work(w);
		maybe_protect(w);
	}
	check(w, &a);
	free(a.then);
	free(a.now);
	world_free(w);
}

static void what_was_protected_is_read(void **state)
{
	(void)state;
	for_each_seed(live);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_protected_is_read),
	};

	return WORLD_MAIN("anew_random", tests);
}
