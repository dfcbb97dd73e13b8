/*
 * Unit tests: what a scan, or an event, is about cannot be looked at, as a drive has
 * a bad sector there: all else is protected, and nothing is taken for lost.
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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>

#include "protecting.h"

#define LEN 5000u

static struct world *make(void)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 4, .parity = "1"});

	client_write_on(w, 0, "x/f", 1, LEN);
	client_write_on(w, 0, "y/f", 2, LEN);
	client_write_on(w, 0, "z/f", 3, LEN);
	client_write_on(w, 1, "other", 4, LEN);
	protect(w);
	return w;
}

static void verify_made(struct world *w)
{
	verify(w, "x/f", 1, LEN, 1);
	verify(w, "y/f", 2, LEN, 1);
	verify(w, "z/f", 3, LEN, 1);
	verify(w, "other", 4, LEN, 1);
	verify_decodable(w);
}

/* --- too deep ---------------------------------------------------------------------- */

/* Directories one in another, each with a file, until their path is longer than any
   that can be named at once (4,095 bytes). */
static void make_deep(int fd)
{
	char name[201];
	unsigned int i;

	memset(name, 'd', 200);
	name[200] = '\0';
	for (i = 0; i < 25; i++) {
		int file = openat(fd, "file", O_WRONLY | O_CREAT, 0644);
		int next;

		assert_return_code(file, errno);
		close(file);
		assert_return_code(mkdirat(fd, name, 0755), errno);
		next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_return_code(next, errno);
		close(fd);
		fd = next;
	}
	close(fd);
}

/* What is too deep for a path cannot be protected, and hinders nothing else. */
static void test_too_deep(void **state)
{
	struct world *w = make();
	unsigned int i;
	int fd = open(world_member(w, 0, ""),
		      O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)state;
	assert_return_code(fd, errno);
	make_deep(fd);
	/* also when it is known */
	for (i = 0; i < 2; i++) {
		char path[16];

		snprintf(path, sizeof(path), "new%u", i);
		world_write(world_member(w, 1, path), "new");
		protect_and_scan(w);
		verify_bytes(w, path, (const uint8_t *)"new", 3, 1);
	}
	verify_made(w);
	world_free(w);
}

/* --- a bad sector --------------------------------------------------------------------- */

#ifdef MRMR_WITH_FAULTS

static bool needs_scan(struct world *w)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	uint64_t files = 0;
	uint64_t bytes = 0;
	bool needs = false;

	assert_return_code(mrmr_protector_pending(engine->catalog, &files,
						  &bytes, &needs),
			   errno);
	talloc_free(engine);
	return needs;
}

/* What is new is protected by each protector, until a scan comes to its end. */
static void test_a_scan_that_fails(void **state)
{
	struct world *w = make();
	struct mrmr_protect_result result;
	unsigned int i;

	(void)state;
	lose_events(w);
	setenv("MRMR_FAULT", "scan-look=EIO", 1);
	for (i = 0; i < 2; i++) {
		char path[16];

		snprintf(path, sizeof(path), "new%u", i);
		client_write_on(w, 2, path, 900 + i, LEN);
		assert_int_equal(try_protect(w, &result), -1);
		assert_int_equal(result.protected_files, 1);
		verify(w, path, 900 + i, LEN, 1);
		assert_true(needs_scan(w));
	}
	unsetenv("MRMR_FAULT");
	protect(w);
	assert_false(needs_scan(w));
	verify_made(w);
	verify_tidy(w);
	world_free(w);
}

/* The file on this inode of member 0, which is in a stripe. */
static uint64_t id_of_protected(struct world *w, uint64_t inode)
{
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_READ);
	struct mrmr_node *node = NULL;
	uint64_t id;

	assert_return_code(mrmr_catalog_find_inode(engine->catalog, 0, inode,
						   &id),
			   errno);
	assert_return_code(mrmr_catalog_get(engine->catalog, engine, id, &node),
			   errno);
	assert_int_equal(node->num_extents, 1);
	talloc_free(engine);
	return id;
}

/* So many that a scan commits what it has seen of the directory. */
#define MANY 4096u

static void check_broken_off(const char *from, unsigned int seed,
			     const char *to)
{
	struct world *w = make();
	struct mrmr_protect_result result;
	char path[64];
	struct stat st;
	uint64_t id;
	unsigned int i;

	for (i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), "%s/many%u", from, i);
		world_write(world_member(w, 0, path), "x");
	}
	snprintf(path, sizeof(path), "%s/f", from);
	assert_return_code(stat(world_member(w, 0, path), &st), errno);
	id = id_of_protected(w, (uint64_t)st.st_ino);
	assert_return_code(rename(world_member(w, 0, path),
				  world_member(w, 0, to)),
			   errno);
	lose_events(w);
	/* after the trash, the root, and two directories of three */
	setenv("MRMR_FAULT", "protect-scan#5=EIO", 1);
	assert_int_equal(try_protect(w, &result), -1);
	unsetenv("MRMR_FAULT");
	assert_int_equal(id_of_protected(w, (uint64_t)st.st_ino), id);
	protect(w);
	assert_int_equal(id_of_protected(w, (uint64_t)st.st_ino), id);
	verify(w, to, seed, LEN, 1);
	verify_decodable(w);
	verify_tidy(w);
	world_free(w);
}

/* A scan breaks off when it has seen that a file has left its name, and before it
   comes to where the file is: it stays in its stripe. */
static void test_a_scan_that_breaks_off(void **state)
{
	static const char *const dirs[] = {"x", "y"};
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		check_broken_off(dirs[i], 1 + i, i == 0 ? "y/g" : "x/g");
		check_broken_off(dirs[i], 1 + i, "z/g");
	}
}

/* What an event says has happened nonetheless. */
static void test_an_event(void **state)
{
	struct world *w = make();
	struct mrmr_protect_result result;

	(void)state;
	client_write_on(w, 2, "new", 900, LEN);
	client_write_on(w, 1, "z/new", 901, LEN);
	client_write(w, "x/f", 902, LEN - 1);
	assert_int_equal(do_mkdir(w, "dir", 0755), 0);
	client_tell(w, "dir", MRMR_EVENT_ATTRIBUTES);
	setenv("MRMR_FAULT", "look-rest=EIO", 1);
	result = protect(w);
	unsetenv("MRMR_FAULT");
	assert_int_equal(result.protected_files, 3);
	verify(w, "new", 900, LEN, 1);
	verify(w, "z/new", 901, LEN, 1);
	verify(w, "x/f", 902, LEN - 1, 1);
	assert_int_equal(pending_of(w), 0);
	verify_tidy(w);
	world_free(w);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_too_deep),
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(test_a_scan_that_fails),
		cmocka_unit_test(test_a_scan_that_breaks_off),
		cmocka_unit_test(test_an_event),
#endif
	};

	return WORLD_MAIN("scan_unread", tests);
}
