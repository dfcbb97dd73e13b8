/*
 * Unit tests: the protector: what happens in the share becomes protected.
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
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/protection.h>
#include <mrmr/undo.h>

#include "known.h"
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

static void a_new_tree_becomes_protected(void **state)
{
	struct world *w = new_world(4, "1");
	struct mrmr_protect_result result;
	struct mrmr_catalog_sums sums;
	char path[64];
	unsigned int i;

	(void)state;
	assert_int_equal(do_mkdir(w, "a", 0755), 0);
	assert_int_equal(do_mkdir(w, "a/b", 0711), 0);
	for (i = 0; i < 40; i++) {
		snprintf(path, sizeof(path), "a/%sf%u", i % 2 ? "b/" : "", i);
		client_write_on(w, i % 4, path, i, 1000 * i);
	}
	client_write_on(w, 0, "big", 100, 10 * BLOCK + 17);
	result = protect(w);
	/* also the empty one */
	assert_int_equal(result.protected_files, 40 + 1);
	assert_int_equal(result.open_files, 0);
	for (i = 0; i < 40; i++) {
		snprintf(path, sizeof(path), "a/%sf%u", i % 2 ? "b/" : "", i);
		verify(w, path, i, 1000 * i, 1);
	}
	verify(w, "big", 100, 10 * BLOCK + 17, 1);
	sums = sums_of(w);
	assert_int_equal(sums.file_bytes, sums.protected_bytes);
	assert_int_equal(sums.num_files, 41);
	assert_int_equal(pending_of(w), 0);
	verify_tidy(w);
	/* again: there is nothing to do */
	result = protect(w);
	assert_int_equal(result.protected_files, 0);
	assert_int_equal(result.protected_bytes, 0);
	world_free(w);
}

static void what_is_overwritten_is_protected_anew(void **state)
{
	struct world *w = new_world(4, "2");
	unsigned int i;

	(void)state;
	for (i = 0; i < 8; i++) {
		char path[16];

		snprintf(path, sizeof(path), "f%u", i);
		client_write_on(w, i % 4, path, i, 3 * BLOCK);
	}
	protect(w);
	client_write(w, "f0", 50, 3 * BLOCK);     /* other bytes */
	client_write(w, "f1", 51, 5 * BLOCK + 1); /* longer */
	client_write(w, "f2", 52, BLOCK + 100);   /* shorter */
	client_write(w, "f3", 53, 0);             /* empty */
	client_write(w, "f4", 4, 3 * BLOCK);      /* the same */
	/* what is protected is still what was, until the protector has run */
	verify(w, "f0", 0, 3 * BLOCK, 2);
	verify(w, "f1", 1, 3 * BLOCK, 2);
	verify(w, "f2", 2, 3 * BLOCK, 2);
	verify(w, "f5", 5, 3 * BLOCK, 2);
	protect(w);
	verify(w, "f0", 50, 3 * BLOCK, 2);
	verify(w, "f1", 51, 5 * BLOCK + 1, 2);
	verify(w, "f2", 52, BLOCK + 100, 2);
	verify(w, "f3", 53, 0, 2);
	for (i = 4; i < 8; i++) {
		char path[16];

		snprintf(path, sizeof(path), "f%u", i);
		verify(w, path, i, 3 * BLOCK, 2);
	}
	verify_tidy(w);
	assert_int_equal(pending_of(w), 0);
	world_free(w);
}

static void names_follow(void **state)
{
	struct world *w = new_world(3, "1");

	(void)state;
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	assert_int_equal(do_mkdir(w, "d/e", 0755), 0);
	client_write_on(w, 0, "d/e/f", 1, 5000);
	client_write_on(w, 1, "g", 2, 6000);
	client_write_on(w, 2, "h", 3, 7000);
	protect(w);

	/* a directory, with what is in it; nothing is read again */
	assert_int_equal(do_rename(w, "d", "x"), 0);
	assert_int_equal(protect(w).protected_bytes, 0);
	verify(w, "x/e/f", 1, 5000, 1);
	verify_unknown(w, "d");
	verify_unknown(w, "d/e/f");

	/* in a ring */
	assert_int_equal(do_rename(w, "g", "t"), 0);
	assert_int_equal(do_rename(w, "h", "g"), 0);
	assert_int_equal(do_rename(w, "t", "h"), 0);
	assert_int_equal(protect(w).protected_bytes, 0);
	verify(w, "h", 2, 6000, 1);
	verify(w, "g", 3, 7000, 1);

	/* over another file, which goes to the trash and stays protected */
	assert_int_equal(do_rename(w, "g", "h"), 0);
	assert_int_equal(protect(w).protected_bytes, 0);
	verify(w, "h", 3, 7000, 1);
	verify_unknown(w, "g");
	assert_int_equal(sums_of(w).trash_bytes, 6000);
	verify_tidy(w);
	world_free(w);
}

static void moved_before_anybody_looked(void **state)
{
	struct world *w = new_world(3, "1");

	(void)state;
	protect(w); /* the first scan is over */
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	client_write_on(w, 0, "d/f", 1, 5000);
	client_write_on(w, 1, "a", 2, 5000);
	client_write_on(w, 2, "gone", 3, 5000);
	assert_int_equal(do_rename(w, "d", "e"), 0);
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	client_write_on(w, 1, "d/f", 4, 5000);
	assert_int_equal(do_rename(w, "a", "b"), 0);
	client_write_on(w, 2, "a", 5, 5000);
	assert_int_equal(do_rename(w, "a", "c"), 0);
	assert_int_equal(do_rename(w, "b", "a"), 0);
	assert_int_equal(do_unlink(w, "gone"), 0);
	protect(w);
	verify(w, "e/f", 1, 5000, 1);
	verify(w, "d/f", 4, 5000, 1);
	verify(w, "a", 2, 5000, 1);
	verify(w, "c", 5, 5000, 1);
	verify_unknown(w, "b");
	verify_unknown(w, "gone");
	assert_int_equal(sums_of(w).num_files, 4);
	assert_int_equal(pending_of(w), 0);
	verify_tidy(w);
	world_free(w);
}

static void deleted_files_stay_protected_in_the_trash(void **state)
{
	struct world *w = new_world(3, "1");
	struct mrmr_catalog_sums sums;

	(void)state;
	client_write_on(w, 0, "f", 1, 2 * BLOCK);
	client_write_on(w, 1, "g", 2, 2 * BLOCK);
	protect(w);
	assert_int_equal(do_unlink(w, "f"), 0);
	protect(w);
	verify_unknown(w, "f");
	verify(w, "g", 2, 2 * BLOCK, 1);
	sums = sums_of(w);
	assert_int_equal(sums.num_files, 1);
	assert_int_equal(sums.trash_bytes, 2 * BLOCK);
	assert_int_equal(world_trashed(w, 0, "f"), 1);
	world_free(w);
}

static void links_are_one_file(void **state)
{
	struct world *w = new_world(3, "1");

	(void)state;
	client_write_on(w, 0, "f", 1, 5000);
	assert_int_equal(do_link(w, "f", "g"), 0);
	protect(w);
	verify(w, "f", 1, 5000, 1);
	verify(w, "g", 1, 5000, 1);
	assert_int_equal(sums_of(w).num_files, 1);
	assert_int_equal(do_link(w, "g", "h"), 0);
	assert_int_equal(do_unlink(w, "f"), 0);
	assert_int_equal(protect(w).protected_bytes, 0);
	verify_unknown(w, "f");
	verify(w, "g", 1, 5000, 1);
	verify(w, "h", 1, 5000, 1);
	assert_int_equal(sums_of(w).trash_bytes, 0);
	client_write(w, "h", 2, 6000);
	protect(w);
	verify(w, "g", 2, 6000, 1);
	verify(w, "h", 2, 6000, 1);
	world_free(w);
}

static struct mrmr_node *node_of(struct mrmr_engine *engine, const char *path)
{
	struct mrmr_node *node = NULL;

	if (mrmr_catalog_find_path(engine->catalog, engine, path, &node) ==
	    -1) {
		fail_msg("%s: %s", path, strerror(errno));
	}
	return node;
}

static void what_is_no_file_is_known(void **state)
{
	struct world *w = new_world(3, "1");
	struct mrmr_engine *engine = NULL;
	struct mrmr_node *node = NULL;

	(void)state;
	protect(w);
	assert_int_equal(do_mkdir(w, "empty", 0711), 0);
	assert_int_equal(do_symlink(w, "to/where", "link"), 0);
	assert_int_equal(do_mknod(w, "fifo", S_IFIFO | 0640, 0), 0);
	client_write(w, "zero", 0, 0);
	protect(w);
	engine = open_engine(w, MRMR_ENGINE_READ);
	node = node_of(engine, "empty");
	assert_int_equal(node->kind, MRMR_NODE_DIRECTORY);
	assert_int_equal(node->mode, S_IFDIR | 0711);
	node = node_of(engine, "link");
	assert_int_equal(node->kind, MRMR_NODE_SYMLINK);
	assert_string_equal(node->target, "to/where");
	node = node_of(engine, "fifo");
	assert_int_equal(node->kind, MRMR_NODE_SPECIAL);
	assert_int_equal(node->mode, S_IFIFO | 0640);
	node = node_of(engine, "zero");
	assert_int_equal(node->size_bytes, 0);
	assert_int_equal(node->num_extents, 0);
	talloc_free(engine);
	assert_int_equal(do_unlink(w, "link"), 0);
	assert_int_equal(do_unlink(w, "fifo"), 0);
	assert_int_equal(do_rmdir(w, "empty"), 0);
	protect(w);
	verify_unknown(w, "link");
	verify_unknown(w, "fifo");
	verify_unknown(w, "empty");
	world_free(w);
}

/* All names of it are: also if nobody could look before it had got and lost some. */
static void all_names_of_what_is_no_file_are_known(void **state)
{
	struct world *w = world_new(&(struct world_shape){.parity = "1"});

	(void)state;
	protect(w);
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	assert_int_equal(do_symlink(w, "somewhere", "s"), 0);
	assert_int_equal(do_link(w, "s", "d/t"), 0);
	assert_int_equal(do_link(w, "s", "u"), 0);
	assert_int_equal(do_rename(w, "s", "d/v"), 0);
	assert_int_equal(do_rename(w, "d", "e"), 0);
	assert_int_equal(do_mknod(w, "fifo", S_IFIFO | 0600, 0), 0);
	assert_int_equal(do_link(w, "fifo", "e/fifo"), 0);
	assert_int_equal(do_rename(w, "fifo", "pipe"), 0);
	protect(w);
	verify_known(w);
	world_free(w);
}

static void attributes_follow(void **state)
{
	struct world *w = new_world(3, "1");
	struct mrmr_engine *engine = NULL;
	struct mrmr_node *node = NULL;
	int fd;

	(void)state;
	client_write_on(w, 1, "f", 1, 5000);
	protect(w);
	fd = do_open(w, "f", O_RDONLY);
	assert_return_code(fchmod(fd, 0601), errno);
	assert_return_code(fchown(fd, 12, 34), errno);
	assert_return_code(fsetxattr(fd, "trusted.test", "x", 1, 0), errno);
	close(fd);
	client_tell(w, "f", MRMR_EVENT_ATTRIBUTES);
	assert_int_equal(protect(w).protected_bytes, 0);
	engine = open_engine(w, MRMR_ENGINE_READ);
	node = node_of(engine, "f");
	assert_int_equal(node->mode, S_IFREG | 0601);
	assert_int_equal(node->uid, 12);
	assert_int_equal(node->gid, 34);
	assert_true(node->xattrs_len > 0);
	talloc_free(engine);
	verify(w, "f", 1, 5000, 1);
	world_free(w);
}

static void an_open_file_is_left_for_later(void **state)
{
	struct world *w = new_world(3, "1");
	struct mrmr_protect_result result;
	int fd;

	(void)state;
	client_write_on(w, 0, "f", 1, 5000);
	client_write_on(w, 1, "g", 2, 5000);
	fd = do_open(w, "f", O_RDWR);
	result = protect(w);
	assert_int_equal(result.open_files, 1);
	assert_int_equal(result.protected_files, 1);
	verify(w, "g", 2, 5000, 1);
	assert_int_equal(pending_of(w), 1);
	/* what is on the list is not forgotten with the process */
	close(fd);
	result = protect(w);
	assert_int_equal(result.open_files, 0);
	assert_int_equal(result.protected_files, 1);
	verify(w, "f", 1, 5000, 1);
	assert_int_equal(pending_of(w), 0);
	world_free(w);
}

/* Files are read as they were when they were declared. */
static struct world *disturbed;

static bool overwrite_meanwhile(void *private_data)
{
	static unsigned int calls;
	int *writes = private_data;

	if (*writes > 0 && ++calls > 4) {
		(*writes)--;
		client_overwrite(disturbed, "f", 77, BLOCK, BLOCK);
	}
	return false;
}

static void overwritten_while_it_is_protected(void **state)
{
	struct world *w = new_world(3, "1");
	int writes = 1;
	const struct mrmr_protect_options options = {
		.everything = true,
		.batch_bytes = 4 * BLOCK,
		.should_stop = overwrite_meanwhile,
		.private_data = &writes,
	};
	struct mrmr_protect_result result;
	struct mrmr_engine *engine = NULL;
	struct mrmr_error err = {0};
	uint8_t *bytes = seeded(1, 20 * BLOCK);
	uint8_t *other = seeded(77, BLOCK);

	(void)state;
	client_write_on(w, 0, "f", 1, 20 * BLOCK);
	client_write_on(w, 1, "g", 2, 20 * BLOCK);
	disturbed = w;
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	assert_int_equal(mrmr_protect(engine, &options, &result, &err), 0);
	talloc_free(engine);
	assert_int_equal(writes, 0);
	verify(w, "g", 2, 20 * BLOCK, 1);
	/* after all, it is as it is now */
	memcpy(bytes + BLOCK, other, BLOCK);
	verify_bytes(w, "f", bytes, 20 * BLOCK, 1);
	assert_int_equal(pending_of(w), 0);
	verify_tidy(w);
	free(bytes);
	free(other);
	world_free(w);
}

static void a_scan_finds_what_was_missed(void **state)
{
	struct world *w = new_world(3, "1");
	const struct mrmr_event scan = {
		.kind = MRMR_EVENT_SCAN,
		.path = "",
		.to = "",
	};

	(void)state;
	world_write(world_member(w, 0, "d/one"), "one");
	world_write(world_member(w, 1, "d/two"), "two");
	world_write(world_member(w, 2, "three"), "three");
	world_write(world_member(w, 2, "four"), "four");
	protect(w);
	assert_int_equal(sums_of(w).num_files, 4);
	assert_int_equal(sums_of(w).protected_bytes, 3 + 3 + 5 + 4);

	/* behind the pool's back: renamed, deleted, changed, new */
	assert_return_code(rename(world_member(w, 0, "d/one"),
				  world_member(w, 0, "d/uno")),
			   errno);
	assert_return_code(unlink(world_member(w, 1, "d/two")), errno);
	world_write(world_member(w, 2, "three"), "THREE!");
	world_write(world_member(w, 1, "d/five"), "five5");
	mrmr_queue_add(w->pool->queue, &scan);
	protect(w);
	verify_unknown(w, "d/one");
	verify_unknown(w, "d/two");
	assert_int_equal(sums_of(w).num_files, 4);
	assert_int_equal(sums_of(w).file_bytes, 3 + 6 + 4 + 5);
	assert_int_equal(sums_of(w).protected_bytes, 3 + 6 + 4 + 5);
	assert_int_equal(pending_of(w), 0);
	verify_tidy(w);
	world_free(w);
}

static void missing_is_not_deleted(void **state)
{
	struct world *w = new_world(3, "1");
	const struct mrmr_event scan = {
		.kind = MRMR_EVENT_SCAN,
		.path = "",
		.to = "",
	};

	(void)state;
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	client_write_on(w, 0, "d/f", 1, 5000);
	client_write_on(w, 1, "d/g", 2, 5000);
	protect(w);
	world_unplug(w, 0);
	mrmr_pool_look(w->pool);
	mrmr_queue_add(w->pool->queue, &scan);
	client_write_on(w, 2, "h", 3, 5000);
	protect(w);
	world_plug(w, 0);
	mrmr_pool_look(w->pool);
	protect(w);
	verify(w, "d/f", 1, 5000, 1);
	verify(w, "d/g", 2, 5000, 1);
	verify(w, "h", 3, 5000, 1);
	world_free(w);
}

/* By batches, of which the first finds room: also if none comes to its end. */
static void no_room_is_told_by_batches(uint64_t batch_bytes)
{
	const struct world_shape shape = {
		.num_members = 2,
		.parity = "1",
		.config = ", \"block_size\": \"64K\"",
		.sizes = {"16m", "2m"},
	};
	struct world *w = world_new(&shape);
	struct mrmr_protect_result result;

	protect_batch_bytes = batch_bytes;
	client_write_on(w, 0, "f", 1, 6 << 20);
	result = protect(w);
	assert_int_equal(result.unprotected_files, 1);
	assert_true(result.unprotected_bytes > 0);
	assert_true(result.unprotected_bytes < 6 << 20);
	assert_int_equal(pending_of(w), 1);
	assert_int_equal(sums_of(w).protected_bytes + result.unprotected_bytes,
			 6 << 20);
	verify_tidy(w);
	/* and once there is room, it is done */
	assert_int_equal(do_unlink(w, "f"), 0);
	protect(w);
	verify_unknown(w, "f");
	protect_batch_bytes = 0;
	world_free(w);
}

static void no_room_for_parity_is_told(void **state)
{
	(void)state;
	no_room_is_told_by_batches(0);
}

static void no_room_for_a_large_file_is_told(void **state)
{
	(void)state;
	no_room_is_told_by_batches(512 << 10);
}

/* --- parts, as members come ------------------------------------------------------- */

static uint64_t part_sequence(struct world *w, size_t member)
{
	struct mrmr_error err = {0};
	struct mrmr_catalog *part =
		mrmr_catalog_open_part(NULL,
				       w->pool->members[member].private_fd,
				       &w->pool->config->pool_id,
				       MRMR_CATALOG_READ, &err);
	uint64_t sequence;

	if (part == NULL) {
		fail_msg("%s", err.text);
	}
	sequence = mrmr_catalog_sequence(part);
	talloc_free(part);
	return sequence;
}

static void assert_all_current(struct mrmr_engine *engine)
{
	size_t i;

	for (i = 0; i < engine->pool->num_members; i++) {
		assert_false(mrmr_catalog_part_is_behind(engine->catalog,
							 engine->number[i]));
	}
}

/* Those that know all are not told it once more (invariant 8). */
static void parts_are_left_alone_when_a_member_joins(void **state)
{
	struct world *w = new_world(5, "1");
	struct mrmr_engine *engine = NULL;
	uint64_t before[4];
	size_t i;

	(void)state;
	world_close(w);
	w->shape.num_members = 4;
	world_open(w);
	client_write_on(w, 0, "f", 1, 5000);
	client_write_on(w, 1, "g", 2, 6000);
	protect(w);
	mrmr_pool_look(w->pool);
	for (i = 0; i < 4; i++) {
		before[i] = part_sequence(w, i);
	}
	world_close(w);
	w->shape.num_members = 5;
	world_open(w);
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	assert_all_current(engine);
	talloc_free(engine);
	for (i = 0; i < 4; i++) {
		assert_int_equal(part_sequence(w, i), before[i]);
	}
	client_write_on(w, 4, "h", 3, 7000);
	protect(w);
	verify(w, "f", 1, 5000, 1);
	verify(w, "g", 2, 6000, 1);
	verify(w, "h", 3, 7000, 1);
	world_free(w);
}

static void parts_that_are_back_are_told_in_one_commit(void **state)
{
	struct world *w = new_world(5, "1");
	struct mrmr_engine *engine = NULL;
	uint64_t sequence;
	size_t i;

	(void)state;
	client_write_on(w, 0, "f", 1, 5000);
	protect(w);
	for (i = 2; i < 5; i++) {
		world_unplug(w, i);
	}
	client_write_on(w, 1, "g", 2, 6000);
	protect(w);
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	sequence = mrmr_catalog_sequence(engine->catalog);
	talloc_free(engine);
	for (i = 2; i < 5; i++) {
		world_plug(w, i);
	}
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	assert_all_current(engine);
	assert_int_equal(mrmr_catalog_sequence(engine->catalog), sequence + 1);
	talloc_free(engine);
	for (i = 2; i < 5; i++) {
		assert_int_equal(part_sequence(w, i), sequence + 1);
	}
	protect(w);
	verify(w, "f", 1, 5000, 1);
	verify(w, "g", 2, 6000, 1);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_tree_becomes_protected),
		cmocka_unit_test(what_is_overwritten_is_protected_anew),
		cmocka_unit_test(names_follow),
		cmocka_unit_test(moved_before_anybody_looked),
		cmocka_unit_test(deleted_files_stay_protected_in_the_trash),
		cmocka_unit_test(links_are_one_file),
		cmocka_unit_test(what_is_no_file_is_known),
		cmocka_unit_test(all_names_of_what_is_no_file_are_known),
		cmocka_unit_test(attributes_follow),
		cmocka_unit_test(an_open_file_is_left_for_later),
		cmocka_unit_test(overwritten_while_it_is_protected),
		cmocka_unit_test(a_scan_finds_what_was_missed),
		cmocka_unit_test(missing_is_not_deleted),
		cmocka_unit_test(no_room_for_parity_is_told),
		cmocka_unit_test(no_room_for_a_large_file_is_told),
		cmocka_unit_test(parts_are_left_alone_when_a_member_joins),
		cmocka_unit_test(parts_that_are_back_are_told_in_one_commit),
	};

	return WORLD_MAIN("protector", tests);
}
