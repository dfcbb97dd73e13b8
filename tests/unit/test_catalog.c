/*
 * Unit tests of source/catalog: what each function does, one by one.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>
#include <tdb.h>

#include <mrmr/catalog.h>

#include "scratch.h"

static struct mrmr_uuid pool_id = {.byte = {1, 2, 3}};

struct fixture {
	void *scratch;
	int fd;
	struct mrmr_catalog *cat;
};

static void reopen(struct fixture *f, enum mrmr_catalog_mode mode)
{
	struct mrmr_error err = {0};

	talloc_free(f->cat);
	f->cat = mrmr_catalog_open(NULL, f->fd, &pool_id, mode, &err);
	if (f->cat == NULL) {
		print_error("%s\n", err.text);
	}
	assert_non_null(f->cat);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	scratch_setup(&f->scratch);
	f->fd = open(f->scratch, O_RDONLY | O_DIRECTORY);
	assert_int_not_equal(f->fd, -1);
	reopen(f, MRMR_CATALOG_WRITE);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	talloc_free(f->cat);
	close(f->fd);
	scratch_teardown(&f->scratch);
	free(f);
	return 0;
}

static void commit(struct fixture *f)
{
	struct mrmr_error err = {0};

	if (mrmr_catalog_commit(f->cat, &err) == -1) {
		fail_msg("commit: %s", err.text);
	}
}

static void begin(struct fixture *f)
{
	assert_int_equal(mrmr_catalog_begin(f->cat), 0);
}

#define OK(call) assert_int_equal(call, 0)
#define FAILS(call, error)                      \
	do {                                    \
		errno = 0;                      \
		assert_int_equal(call, -1);     \
		assert_int_equal(errno, error); \
	} while (0)

static struct mrmr_node a_file(uint64_t dir_id, const char *name)
{
	return (struct mrmr_node){
		.dir_id = dir_id,
		.name = (char *)name,
		.kind = MRMR_NODE_FILE,
		.member = 0,
		.inode = 1000,
		.size_bytes = 4096,
		.mtime_ns = 1700000000123456789,
		.mode = S_IFREG | 0644,
		.uid = 1000,
		.gid = 100,
		.grid_bytes = 1 << 22,
	};
}

static uint64_t put_dir(struct fixture *f, uint64_t dir_id, const char *name)
{
	struct mrmr_node node = {
		.dir_id = dir_id,
		.name = (char *)name,
		.kind = MRMR_NODE_DIRECTORY,
		.member = MRMR_MEMBER_NONE,
		.mode = S_IFDIR | 0755,
	};
	uint64_t id = 0;

	OK(mrmr_catalog_put(f->cat, &node, &id));
	assert_true(id > MRMR_ID_TRASH);
	return id;
}

static uint64_t put_file(struct fixture *f, uint64_t dir_id, const char *name,
			 uint64_t inode)
{
	struct mrmr_node node = a_file(dir_id, name);
	uint64_t id = 0;

	node.inode = inode;
	OK(mrmr_catalog_put(f->cat, &node, &id));
	return id;
}

static void assert_same_node(const struct mrmr_node *a,
			     const struct mrmr_node *b)
{
	assert_int_equal(a->dir_id, b->dir_id);
	assert_string_equal(a->name, b->name);
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->member, b->member);
	assert_int_equal(a->inode, b->inode);
	assert_int_equal(a->size_bytes, b->size_bytes);
	assert_int_equal(a->mtime_ns, b->mtime_ns);
	assert_int_equal(a->mode, b->mode);
	assert_int_equal(a->uid, b->uid);
	assert_int_equal(a->gid, b->gid);
	assert_int_equal(a->device, b->device);
	assert_int_equal(a->grid_bytes, b->grid_bytes);
	assert_int_equal(a->generation, b->generation);
	assert_int_equal(a->xattrs_len, b->xattrs_len);
	if (a->xattrs_len > 0) {
		assert_memory_equal(a->xattrs, b->xattrs, a->xattrs_len);
	}
	assert_true((a->target == NULL) == (b->target == NULL));
	if (a->target != NULL) {
		assert_string_equal(a->target, b->target);
	}
}

static void test_a_new_catalogue_has_a_root(void **state)
{
	struct fixture *f = *state;
	struct mrmr_node *node = NULL;
	struct mrmr_error err = {0};
	bool in_trash;
	char *path = NULL;

	OK(mrmr_catalog_get(f->cat, f->cat, MRMR_ID_ROOT, &node));
	assert_int_equal(node->kind, MRMR_NODE_DIRECTORY);
	assert_string_equal(node->name, "");
	OK(mrmr_catalog_find_path(f->cat, f->cat, "", &node));
	assert_int_equal(node->id, MRMR_ID_ROOT);
	path = mrmr_catalog_path(f->cat, f->cat, MRMR_ID_ROOT, &in_trash);
	assert_string_equal(path, "");
	FAILS(mrmr_catalog_get(f->cat, f->cat, MRMR_ID_NONE, &node), ENOENT);
	FAILS(mrmr_catalog_get(f->cat, f->cat, 12345, &node), ENOENT);
	FAILS(mrmr_catalog_get(f->cat, f->cat, UINT64_MAX, &node), ENOENT);
	OK(mrmr_catalog_check(f->cat, &err));
}

static void test_opening(void **state)
{
	struct fixture *f = *state;
	struct mrmr_uuid other = {.byte = {9}};
	struct mrmr_error err = {0};

	TALLOC_FREE(f->cat);
	assert_null(mrmr_catalog_open(NULL, f->fd, &other, MRMR_CATALOG_READ,
				      &err));
	assert_int_equal(err.code, EILSEQ);
	assert_non_null(strstr(err.text, "another pool"));
	assert_null(mrmr_catalog_open_part(NULL, f->fd, &pool_id,
					   MRMR_CATALOG_READ, &err));
	assert_int_equal(err.code, ENOENT);
	reopen(f, MRMR_CATALOG_READ);
	FAILS(mrmr_catalog_begin(f->cat), EROFS);
}

static void test_what_is_put_is_found(void **state)
{
	struct fixture *f = *state;
	uint8_t xattrs[3000];
	size_t lens[] = {0, 1, 64, 65, 1024, 1025, 3000};
	struct mrmr_node *node = NULL;
	uint64_t ids[7];
	uint64_t dir;
	uint64_t id;
	size_t i;
	int round;

	memset(xattrs, 'x', sizeof(xattrs));
	begin(f);
	dir = put_dir(f, MRMR_ID_ROOT, "dir");
	for (i = 0; i < 7; i++) {
		char name[32];
		struct mrmr_node file = a_file(dir, name);

		snprintf(name, sizeof(name), "file%zu", i);
		file.inode = 100 + i;
		file.member = (uint16_t)i;
		file.xattrs = xattrs;
		file.xattrs_len = lens[i];
		file.generation = (uint32_t)i;
		file.mtime_ns = -(int64_t)i;
		OK(mrmr_catalog_put(f->cat, &file, &ids[i]));
	}
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 7; i++) {
			char name[32];
			char path[64];
			struct mrmr_node file = a_file(dir, name);

			snprintf(name, sizeof(name), "file%zu", i);
			snprintf(path, sizeof(path), "dir/file%zu", i);
			file.inode = 100 + i;
			file.member = (uint16_t)i;
			file.xattrs = xattrs;
			file.xattrs_len = lens[i];
			file.generation = (uint32_t)i;
			file.mtime_ns = -(int64_t)i;
			OK(mrmr_catalog_get(f->cat, f->cat, ids[i], &node));
			assert_same_node(node, &file);
			OK(mrmr_catalog_find(f->cat, f->cat, dir, name, &node));
			assert_int_equal(node->id, ids[i]);
			OK(mrmr_catalog_find_path(f->cat, f->cat, path, &node));
			assert_same_node(node, &file);
			OK(mrmr_catalog_find_inode(f->cat, (uint16_t)i, 100 + i,
						   &id));
			assert_int_equal(id, ids[i]);
		}
		if (round == 0) {
			commit(f);
		} else {
			reopen(f, MRMR_CATALOG_READ);
		}
	}
	FAILS(mrmr_catalog_find_inode(f->cat, 0, 101, &id), ENOENT);
	FAILS(mrmr_catalog_find(f->cat, f->cat, dir, "none", &node), ENOENT);
	FAILS(mrmr_catalog_find_path(f->cat, f->cat, "dir/file1/x", &node),
	      ENOTDIR);
	FAILS(mrmr_catalog_find_path(f->cat, f->cat, "dir//file1", &node),
	      ENOENT);
	FAILS(mrmr_catalog_find_path(f->cat, f->cat, "dir/../dir", &node),
	      ENOENT);
}

static void test_other_kinds(void **state)
{
	struct fixture *f = *state;
	char long_target[3000];
	struct mrmr_node link = {
		.dir_id = MRMR_ID_ROOT,
		.name = (char *)"link",
		.kind = MRMR_NODE_SYMLINK,
		.member = 3,
		.target = (char *)"../x",
	};
	struct mrmr_node device = {
		.dir_id = MRMR_ID_ROOT,
		.name = (char *)"device",
		.kind = MRMR_NODE_SPECIAL,
		.member = 3,
		.mode = S_IFCHR,
		.device = 0x123456789abcdef0,
	};
	struct mrmr_node *node = NULL;
	uint64_t id;

	memset(long_target, 't', sizeof(long_target));
	long_target[sizeof(long_target) - 1] = '\0';
	begin(f);
	OK(mrmr_catalog_put(f->cat, &device, NULL));
	OK(mrmr_catalog_put(f->cat, &link, &id));
	OK(mrmr_catalog_get(f->cat, f->cat, id, &node));
	assert_same_node(node, &link);
	link.id = id;
	link.target = long_target;
	OK(mrmr_catalog_put(f->cat, &link, NULL));
	commit(f);
	reopen(f, MRMR_CATALOG_WRITE);
	OK(mrmr_catalog_get(f->cat, f->cat, id, &node));
	assert_same_node(node, &link);
	OK(mrmr_catalog_find(f->cat, f->cat, MRMR_ID_ROOT, "device", &node));
	assert_same_node(node, &device);
	begin(f);
	OK(mrmr_catalog_remove(f->cat, MRMR_ID_ROOT, "link"));
	commit(f);
	FAILS(mrmr_catalog_get(f->cat, f->cat, id, &node), ENOENT);
}

static void test_what_is_refused(void **state)
{
	struct fixture *f = *state;
	const char *bad[] = {"", ".", "..", "a/b", "/"};
	struct mrmr_node node = a_file(MRMR_ID_ROOT, "file");
	char long_name[300];
	uint64_t dir, sub, file;
	size_t i;

	FAILS(mrmr_catalog_put(f->cat, &node, NULL), EINVAL);
	FAILS(mrmr_catalog_commit(f->cat, NULL), EINVAL);
	begin(f);
	FAILS(mrmr_catalog_begin(f->cat), EINVAL);
	for (i = 0; i < 5; i++) {
		node.name = (char *)bad[i];
		FAILS(mrmr_catalog_put(f->cat, &node, NULL), EINVAL);
	}
	memset(long_name, 'n', sizeof(long_name));
	long_name[256] = '\0';
	node.name = long_name;
	FAILS(mrmr_catalog_put(f->cat, &node, NULL), EINVAL);
	long_name[255] = '\0';
	OK(mrmr_catalog_put(f->cat, &node, NULL));
	FAILS(mrmr_catalog_put(f->cat, &node, NULL), EEXIST);

	dir = put_dir(f, MRMR_ID_ROOT, "dir");
	sub = put_dir(f, dir, "sub");
	file = put_file(f, MRMR_ID_ROOT, "file", 1);
	node = a_file(file, "below a file");
	FAILS(mrmr_catalog_put(f->cat, &node, NULL), ENOTDIR);
	node = a_file(99999, "nowhere");
	FAILS(mrmr_catalog_put(f->cat, &node, NULL), ENOENT);
	node.id = 99999;
	FAILS(mrmr_catalog_put(f->cat, &node, NULL), ENOENT);
	node.id = dir;
	FAILS(mrmr_catalog_put(f->cat, &node, NULL), EINVAL);
	FAILS(mrmr_catalog_rename(f->cat, MRMR_ID_ROOT, "dir", sub, "x"),
	      EINVAL);
	FAILS(mrmr_catalog_rename(f->cat, MRMR_ID_ROOT, "dir", dir, "x"),
	      EINVAL);
	FAILS(mrmr_catalog_rename(f->cat, MRMR_ID_ROOT, "dir", MRMR_ID_TRASH,
				  "0/dir"),
	      EINVAL);
	FAILS(mrmr_catalog_rename(f->cat, MRMR_ID_ROOT, "none", dir, "x"),
	      ENOENT);
	FAILS(mrmr_catalog_rename(f->cat, MRMR_ID_ROOT, "file", dir, "sub"),
	      EEXIST);
	FAILS(mrmr_catalog_remove(f->cat, MRMR_ID_ROOT, "dir"), ENOTEMPTY);
	FAILS(mrmr_catalog_remove(f->cat, MRMR_ID_ROOT, "none"), ENOENT);
	FAILS(mrmr_catalog_link(f->cat, dir, MRMR_ID_ROOT, "hard"), EPERM);
	FAILS(mrmr_catalog_link(f->cat, file, dir, "sub"), EEXIST);
	commit(f); /* none of these spoils the transaction */
}

static void test_renaming(void **state)
{
	struct fixture *f = *state;
	struct mrmr_node *node = NULL;
	uint64_t a, b, file;
	bool in_trash;

	begin(f);
	a = put_dir(f, MRMR_ID_ROOT, "a");
	b = put_dir(f, a, "b");
	file = put_file(f, b, "file", 1);
	OK(mrmr_catalog_rename(f->cat, a, "b", MRMR_ID_ROOT, "bb"));
	commit(f);
	OK(mrmr_catalog_find_path(f->cat, f->cat, "bb/file", &node));
	assert_int_equal(node->id, file);
	FAILS(mrmr_catalog_find_path(f->cat, f->cat, "a/b", &node), ENOENT);
	assert_string_equal(mrmr_catalog_path(f->cat, f->cat, file, &in_trash),
			    "bb/file");
	assert_false(in_trash);
	begin(f);
	OK(mrmr_catalog_rename(f->cat, b, "file", MRMR_ID_TRASH,
			       "7/2024/bb/file"));
	OK(mrmr_catalog_rename(f->cat, MRMR_ID_ROOT, "a", MRMR_ID_ROOT, "a"));
	commit(f);
	assert_string_equal(mrmr_catalog_path(f->cat, f->cat, file, &in_trash),
			    "2024/bb/file");
	assert_true(in_trash);
	OK(mrmr_catalog_find(f->cat, f->cat, MRMR_ID_TRASH, "7/2024/bb/file",
			     &node));
	begin(f);
	FAILS(mrmr_catalog_rename(f->cat, MRMR_ID_TRASH, "7/2024/bb/file",
				  MRMR_ID_TRASH, "7/../x"),
	      EINVAL);
	FAILS(mrmr_catalog_rename(f->cat, MRMR_ID_TRASH, "7/2024/bb/file",
				  MRMR_ID_TRASH, "x/y"),
	      EINVAL);
	OK(mrmr_catalog_rename(f->cat, MRMR_ID_TRASH, "7/2024/bb/file", a,
			       "back"));
	commit(f);
	assert_string_equal(mrmr_catalog_path(f->cat, f->cat, file, &in_trash),
			    "a/back");
	assert_false(in_trash);
}

static void assert_links(struct fixture *f, uint64_t id, const char *expected)
{
	struct mrmr_link *links = NULL;
	char text[512] = "";
	size_t num = 0;
	size_t i;

	OK(mrmr_catalog_links(f->cat, f->cat, id, &links, &num));
	for (i = 0; i < num; i++) {
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "%s%s", i > 0 ? " " : "", links[i].name);
	}
	assert_string_equal(text, expected);
}

static void test_hard_links(void **state)
{
	struct fixture *f = *state;
	struct mrmr_catalog_sums sums;
	struct mrmr_node *node = NULL;
	uint64_t dir, file;

	begin(f);
	dir = put_dir(f, MRMR_ID_ROOT, "dir");
	file = put_file(f, MRMR_ID_ROOT, "first", 1);
	OK(mrmr_catalog_link(f->cat, file, dir, "second"));
	OK(mrmr_catalog_link(f->cat, file, MRMR_ID_ROOT, "third"));
	commit(f);
	assert_links(f, file, "first second third");
	OK(mrmr_catalog_find(f->cat, f->cat, dir, "second", &node));
	assert_int_equal(node->id, file);
	assert_int_equal(node->dir_id, dir);
	assert_string_equal(node->name, "second");
	assert_int_equal(node->size_bytes, 4096);
	begin(f);
	FAILS(mrmr_catalog_remove(f->cat, MRMR_ID_ROOT, "dir"), ENOTEMPTY);
	OK(mrmr_catalog_rename(f->cat, dir, "second", dir, "deux"));
	assert_links(f, file, "first deux third");
	OK(mrmr_catalog_rename(f->cat, MRMR_ID_ROOT, "first", dir, "un"));
	assert_links(f, file, "un deux third");
	OK(mrmr_catalog_remove(f->cat, dir, "un"));
	assert_links(f, file, "deux third");
	OK(mrmr_catalog_remove(f->cat, MRMR_ID_ROOT, "third"));
	assert_links(f, file, "deux");
	OK(mrmr_catalog_sums(f->cat, 0, &sums));
	assert_int_equal(sums.num_files, 1);
	OK(mrmr_catalog_remove(f->cat, dir, "deux"));
	FAILS(mrmr_catalog_get(f->cat, f->cat, file, &node), ENOENT);
	OK(mrmr_catalog_remove(f->cat, MRMR_ID_ROOT, "dir"));
	commit(f);
	OK(mrmr_catalog_sums(f->cat, 0, &sums));
	assert_int_equal(sums.num_files, 0);
}

static struct mrmr_extent an_extent(uint32_t i)
{
	struct mrmr_extent extent = {
		.len_bytes = 1 << 22,
		.state = MRMR_EXTENT_BARE,
		.checksum = i + 1,
	};

	memset(extent.sha256, (int)(i % 255) + 1, sizeof(extent.sha256));
	return extent;
}

static void assert_extents(struct fixture *f, uint64_t id,
			   const struct mrmr_extent *expected, uint32_t num)
{
	struct mrmr_extent *got = calloc(num + 10, sizeof(*got));
	uint32_t first, n, i;

	for (first = 0; first <= num; first += 37) {
		OK(mrmr_catalog_get_extents(f->cat, id, first, got, num + 10,
					    &n));
		assert_int_equal(n, num - first);
		for (i = 0; i < n; i++) {
			const struct mrmr_extent *e = &expected[first + i];

			assert_int_equal(got[i].len_bytes, e->len_bytes);
			assert_int_equal(got[i].state, e->state);
			assert_memory_equal(got[i].sha256, e->sha256, 32);
			assert_int_equal(got[i].checksum, e->checksum);
			assert_int_equal(got[i].stripe, e->stripe);
			assert_int_equal(got[i].slot, e->slot);
			assert_int_equal(got[i].slot_offset, e->slot_offset);
		}
	}
	free(got);
}

static void test_extents(void **state)
{
	struct fixture *f = *state;
	struct mrmr_extent extents[300];
	struct mrmr_catalog_sums sums;
	uint64_t file, dir;
	uint32_t sizes[] = {1, 2, 63, 64, 65, 128, 129, 300};
	uint32_t i, num, n;

	begin(f);
	dir = put_dir(f, MRMR_ID_ROOT, "dir");
	for (i = 0; i < 300; i++) {
		extents[i] = an_extent(i);
		if (i % 3 == 1) {
			extents[i].state = MRMR_EXTENT_IN_STRIPE;
			extents[i].stripe = 5 + i * 7 % 100;
			extents[i].slot = (uint8_t)i;
			extents[i].slot_offset = i % 2 == 0 ? 0 : i;
		} else if (i % 5 == 0) {
			extents[i] =
				(struct mrmr_extent){.state = MRMR_EXTENT_ZERO,
						     .len_bytes = 100};
		}
	}
	FAILS(mrmr_catalog_put_extents(f->cat, dir, 0, extents, 1), EINVAL);
	for (i = 0; i < 8; i++) {
		char name[32];

		snprintf(name, sizeof(name), "file%u", i);
		file = put_file(f, dir, name, i + 1);
		/* in pieces that lie across the chunks */
		for (num = 0; num < sizes[i]; num += n) {
			n = 1 + num % 7 * 13;
			n = n < sizes[i] - num ? n : sizes[i] - num;
			OK(mrmr_catalog_put_extents(f->cat, file, num,
						    extents + num, n));
		}
		assert_extents(f, file, extents, sizes[i]);
		FAILS(mrmr_catalog_put_extents(f->cat, file, sizes[i] + 1,
					       extents, 1),
		      EINVAL);
	}
	commit(f);
	reopen(f, MRMR_CATALOG_WRITE);
	begin(f);
	assert_extents(f, file, extents, 300);
	extents[70] = an_extent(7000);
	OK(mrmr_catalog_put_extents(f->cat, file, 70, extents + 70, 1));
	assert_extents(f, file, extents, 300);
	FAILS(mrmr_catalog_remove(f->cat, dir, "file7"), EBUSY);
	for (num = 250; num > 0; num -= num > 50 ? 48 : 1) {
		OK(mrmr_catalog_cut_extents(f->cat, file, num));
		assert_extents(f, file, extents, num);
	}
	OK(mrmr_catalog_put_extents(f->cat, file, 1, extents + 1, 200));
	assert_extents(f, file, extents, 201);
	OK(mrmr_catalog_cut_extents(f->cat, file, 0));
	OK(mrmr_catalog_remove(f->cat, dir, "file7"));
	for (i = 0; i < 7; i++) {
		char name[32];
		struct mrmr_node *node = NULL;

		snprintf(name, sizeof(name), "file%u", i);
		OK(mrmr_catalog_find(f->cat, f->cat, dir, name, &node));
		assert_int_equal(node->num_extents, sizes[i]);
		OK(mrmr_catalog_cut_extents(f->cat, node->id, 0));
		OK(mrmr_catalog_remove(f->cat, dir, name));
	}
	commit(f);
	OK(mrmr_catalog_sums(f->cat, MRMR_MEMBER_NONE, &sums));
	assert_int_equal(sums.protected_bytes, 0);
	assert_int_equal(sums.file_bytes, 0);
}

static void test_sums_of_files(void **state)
{
	struct fixture *f = *state;
	struct mrmr_extent extents[3];
	struct mrmr_catalog_sums sums;
	struct mrmr_node *node = NULL;
	uint64_t id;
	uint32_t i;

	for (i = 0; i < 3; i++) {
		extents[i] = an_extent(i);
	}
	extents[1].state = MRMR_EXTENT_ZERO;
	extents[1].len_bytes = 1000;
	extents[2].state = MRMR_EXTENT_IN_STRIPE;
	extents[2].stripe = 1;
	extents[2].len_bytes = 10;
	begin(f);
	id = put_file(f, MRMR_ID_ROOT, "file", 1);
	OK(mrmr_catalog_put_extents(f->cat, id, 0, extents, 3));
	OK(mrmr_catalog_get(f->cat, f->cat, id, &node));
	node->size_bytes = 5000;
	node->member = 2;
	OK(mrmr_catalog_put(f->cat, node, NULL));
	commit(f);
	OK(mrmr_catalog_sums(f->cat, 0, &sums));
	assert_int_equal(sums.num_files, 0);
	assert_int_equal(sums.protected_bytes, 0);
	OK(mrmr_catalog_sums(f->cat, 2, &sums));
	assert_int_equal(sums.num_files, 1);
	assert_int_equal(sums.file_bytes, 5000);
	assert_int_equal(sums.protected_bytes, 1010);
	begin(f);
	OK(mrmr_catalog_rename(f->cat, MRMR_ID_ROOT, "file", MRMR_ID_TRASH,
			       "2/file"));
	commit(f);
	OK(mrmr_catalog_sums(f->cat, MRMR_MEMBER_NONE, &sums));
	assert_int_equal(sums.num_files, 0);
	assert_int_equal(sums.file_bytes, 0);
	assert_int_equal(sums.protected_bytes, 0);
	assert_int_equal(sums.trash_bytes, 5000);
}

/* A stripe with slots 0..num_slots-1 on these members, and rows on the rest. */
static struct mrmr_stripe *a_stripe(void *mem_ctx, uint32_t num_slots,
				    uint32_t num_rows, uint16_t member,
				    uint32_t num_pieces)
{
	struct mrmr_stripe *s = talloc_zero(mem_ctx, struct mrmr_stripe);
	uint32_t i, j;

	s->num_slots = num_slots;
	s->slots = talloc_zero_array(s, struct mrmr_slot, num_slots);
	for (i = 0; i < num_slots; i++) {
		struct mrmr_slot *slot = &s->slots[i];

		slot->slot = (uint8_t)(2 * i);
		slot->member = (uint16_t)(member + i);
		slot->num_pieces = num_pieces;
		slot->pieces =
			talloc_zero_array(s, struct mrmr_piece, num_pieces);
		for (j = 0; j < num_pieces; j++) {
			slot->pieces[j].file = j % 11 == 5 ? 0 : 20 + j * 3 + i;
			slot->pieces[j].index = j % 5 == 0 ? j : 0;
			slot->pieces[j].len_bytes = 1000 + j;
			slot->len_bytes += 1000 + j;
		}
	}
	s->num_rows = num_rows;
	s->rows = talloc_zero_array(s, struct mrmr_row, num_rows);
	for (i = 0; i < num_rows; i++) {
		s->rows[i].row = (uint8_t)i;
		s->rows[i].member = (uint16_t)(member + num_slots + i);
		s->rows[i].len_bytes = i == 0 ? 7 : s->slots[0].len_bytes;
		memset(s->rows[i].sha256, (int)(member + i + 1), 32);
		s->rows[i].checksum = i;
	}
	return s;
}

static void assert_same_stripe(const struct mrmr_stripe *a,
			       const struct mrmr_stripe *b)
{
	uint32_t i, j;

	assert_int_equal(a->num_slots, b->num_slots);
	for (i = 0; i < a->num_slots; i++) {
		const struct mrmr_slot *x = &a->slots[i];
		const struct mrmr_slot *y = &b->slots[i];

		assert_int_equal(x->slot, y->slot);
		assert_int_equal(x->member, y->member);
		assert_int_equal(x->len_bytes, y->len_bytes);
		assert_int_equal(x->num_pieces, y->num_pieces);
		for (j = 0; j < x->num_pieces; j++) {
			assert_int_equal(x->pieces[j].file, y->pieces[j].file);
			assert_int_equal(x->pieces[j].index,
					 y->pieces[j].index);
			assert_int_equal(x->pieces[j].len_bytes,
					 y->pieces[j].len_bytes);
		}
	}
	assert_int_equal(a->num_rows, b->num_rows);
	for (i = 0; i < a->num_rows; i++) {
		assert_int_equal(a->rows[i].row, b->rows[i].row);
		assert_int_equal(a->rows[i].member, b->rows[i].member);
		assert_int_equal(a->rows[i].len_bytes, b->rows[i].len_bytes);
		assert_memory_equal(a->rows[i].sha256, b->rows[i].sha256, 32);
		assert_int_equal(a->rows[i].checksum, b->rows[i].checksum);
	}
}

static void test_stripes(void **state)
{
	struct fixture *f = *state;
	uint32_t shapes[][3] = {{1, 1, 1},  {4, 2, 1},    {6, 2, 1},
				{0, 0, 0},  {3, 0, 2},    {4, 2, 400},
				{2, 3, 30}, {12, 4, 1000}};
	struct mrmr_stripe *stripes[8];
	struct mrmr_stripe *got = NULL;
	struct mrmr_catalog_sums sums;
	uint64_t ids[8];
	uint64_t at = 0;
	uint16_t day;
	uint32_t uses;
	size_t i;

	begin(f);
	for (i = 0; i < 8; i++) {
		stripes[i] = a_stripe(f->cat, shapes[i][0], shapes[i][1],
				      (uint16_t)i, shapes[i][2]);
		OK(mrmr_catalog_put_stripe(f->cat, stripes[i], &ids[i]));
	}
	commit(f);
	for (i = 0; i < 8; i++) {
		OK(mrmr_catalog_get_stripe(f->cat, f->cat, ids[i], &got));
		assert_int_equal(got->id, ids[i]);
		assert_same_stripe(got, stripes[i]);
		OK(mrmr_catalog_next_stripe(f->cat, f->cat, at, &got));
		assert_int_equal(got->id, ids[i]);
		at = ids[i];
	}
	FAILS(mrmr_catalog_next_stripe(f->cat, f->cat, at, &got), ENOENT);
	FAILS(mrmr_catalog_get_stripe(f->cat, f->cat, 0, &got), ENOENT);
	FAILS(mrmr_catalog_get_stripe(f->cat, f->cat, at + 1, &got), ENOENT);

	/* large ones become small, and the reverse */
	begin(f);
	for (i = 0; i < 8; i++) {
		struct mrmr_stripe *other =
			a_stripe(f->cat, shapes[7 - i][0], shapes[7 - i][1],
				 (uint16_t)i, shapes[7 - i][2]);

		other->id = ids[i];
		OK(mrmr_catalog_put_stripe(f->cat, other, NULL));
		OK(mrmr_catalog_set_scrubbed(f->cat, ids[i],
					     (uint16_t)(i * 9)));
		stripes[i] = other;
	}
	commit(f);
	for (i = 0; i < 8; i++) {
		OK(mrmr_catalog_get_stripe(f->cat, f->cat, ids[i], &got));
		assert_same_stripe(got, stripes[i]);
		OK(mrmr_catalog_scrubbed(f->cat, ids[i], &day));
		assert_int_equal(day, i * 9);
	}
	OK(mrmr_catalog_blob_uses(f->cat, stripes[0]->rows[0].member,
				  stripes[0]->rows[0].sha256, &uses));
	assert_int_equal(uses, 1);
	begin(f);
	stripes[3]->num_slots = 2;
	stripes[3]->slots[0].len_bytes++;
	FAILS(mrmr_catalog_put_stripe(f->cat, stripes[3], NULL), EINVAL);
	for (i = 0; i < 8; i++) {
		OK(mrmr_catalog_remove_stripe(f->cat, ids[i]));
		FAILS(mrmr_catalog_remove_stripe(f->cat, ids[i]), ENOENT);
	}
	commit(f);
	OK(mrmr_catalog_sums(f->cat, MRMR_MEMBER_NONE, &sums));
	assert_int_equal(sums.num_stripes, 0);
	assert_int_equal(sums.num_slots, 0);
	assert_int_equal(sums.parity_bytes, 0);
	FAILS(mrmr_catalog_next_stripe(f->cat, f->cat, 0, &got), ENOENT);
}

static void test_classes(void **state)
{
	struct fixture *f = *state;
	struct mrmr_stripe_class *classes = NULL;
	struct mrmr_stripe *stripe = NULL;
	uint64_t ids[300];
	uint64_t got[400];
	uint32_t num = 0;
	size_t num_classes = 0;
	uint32_t first_class;
	size_t i;

	begin(f);
	stripe = a_stripe(f->cat, 2, 1, 0, 1);
	for (i = 0; i < 300; i++) {
		OK(mrmr_catalog_put_stripe(f->cat, stripe, &ids[i]));
	}
	commit(f);
	OK(mrmr_catalog_classes(f->cat, f->cat, &classes, &num_classes));
	assert_int_equal(num_classes, 1);
	assert_int_equal(classes[0].num_stripes, 300);
	assert_int_equal(classes[0].num_members, 3);
	assert_int_equal(classes[0].members[2], 2);
	first_class = classes[0].number;
	OK(mrmr_catalog_class_stripes(f->cat, first_class, got, 5, &num));
	assert_int_equal(num, 5);
	assert_int_equal(got[0], ids[299]);
	assert_int_equal(got[4], ids[295]);
	OK(mrmr_catalog_class_stripes(f->cat, first_class, got, 400, &num));
	assert_int_equal(num, 300);

	begin(f);
	stripe = a_stripe(f->cat, 2, 1, 5, 1);
	for (i = 0; i < 300; i += 2) {
		stripe->id = ids[i];
		OK(mrmr_catalog_put_stripe(f->cat, stripe, NULL));
	}
	for (i = 1; i < 300; i += 4) {
		OK(mrmr_catalog_remove_stripe(f->cat, ids[i]));
	}
	commit(f);
	OK(mrmr_catalog_classes(f->cat, f->cat, &classes, &num_classes));
	assert_int_equal(num_classes, 2);
	assert_int_equal(classes[0].num_stripes, 75);
	assert_int_equal(classes[1].num_stripes, 150);
	assert_int_equal(classes[1].members[0], 5);
	OK(mrmr_catalog_class_stripes(f->cat, first_class, got, 400, &num));
	assert_int_equal(num, 75);
	for (i = 0; i < num; i++) {
		struct mrmr_stripe *s = NULL;

		OK(mrmr_catalog_get_stripe(f->cat, f->cat, got[i], &s));
		assert_int_equal(s->slots[0].member, 0);
	}
	begin(f);
	for (i = 3; i < 300; i += 4) {
		OK(mrmr_catalog_remove_stripe(f->cat, ids[i]));
	}
	commit(f);
	OK(mrmr_catalog_classes(f->cat, f->cat, &classes, &num_classes));
	assert_int_equal(num_classes, 1);
	FAILS(mrmr_catalog_class_stripes(f->cat, first_class, got, 1, &num),
	      ENOENT);
}

static void test_blobs_are_counted_by_content(void **state)
{
	struct fixture *f = *state;
	struct mrmr_stripe *stripe = a_stripe(f->cat, 1, 2, 0, 1);
	uint64_t ids[500];
	uint8_t none[32] = {99};
	uint32_t uses;
	uint32_t i;

	begin(f);
	for (i = 0; i < 500; i++) {
		memset(stripe->rows[1].sha256, 0, 32);
		memcpy(stripe->rows[1].sha256, &i, sizeof(i));
		OK(mrmr_catalog_put_stripe(f->cat, stripe, &ids[i]));
	}
	commit(f);
	OK(mrmr_catalog_blob_uses(f->cat, 1, stripe->rows[0].sha256, &uses));
	assert_int_equal(uses, 500);
	OK(mrmr_catalog_blob_uses(f->cat, 2, stripe->rows[0].sha256, &uses));
	assert_int_equal(uses, 0);
	OK(mrmr_catalog_blob_uses(f->cat, 2, stripe->rows[1].sha256, &uses));
	assert_int_equal(uses, 1);
	OK(mrmr_catalog_blob_uses(f->cat, 1, none, &uses));
	assert_int_equal(uses, 0);
	begin(f);
	for (i = 0; i < 490; i++) {
		OK(mrmr_catalog_remove_stripe(f->cat, ids[i]));
	}
	commit(f);
	OK(mrmr_catalog_blob_uses(f->cat, 1, stripe->rows[0].sha256, &uses));
	assert_int_equal(uses, 10);
}

static void test_members_and_notes(void **state)
{
	struct fixture *f = *state;
	struct mrmr_uuid a = {.byte = {1}};
	struct mrmr_uuid b = {.byte = {2}};
	struct mrmr_uuid id;
	uint8_t *note = NULL;
	uint16_t number;
	size_t len = 0;

	assert_int_equal(mrmr_catalog_member(f->cat, &a), MRMR_MEMBER_NONE);
	FAILS(mrmr_catalog_add_member(f->cat, &a, &number), EINVAL);
	begin(f);
	OK(mrmr_catalog_add_member(f->cat, &a, &number));
	assert_int_equal(number, 0);
	OK(mrmr_catalog_add_member(f->cat, &b, &number));
	assert_int_equal(number, 1);
	OK(mrmr_catalog_add_member(f->cat, &a, &number));
	assert_int_equal(number, 0);
	OK(mrmr_catalog_put_note(f->cat, "scan", (const uint8_t *)"xyz", 3));
	OK(mrmr_catalog_put_note(f->cat, "empty", (const uint8_t *)"", 0));
	FAILS(mrmr_catalog_put_note(f->cat, "", (const uint8_t *)"x", 1),
	      EINVAL);
	commit(f);
	reopen(f, MRMR_CATALOG_WRITE);
	assert_int_equal(mrmr_catalog_member(f->cat, &b), 1);
	assert_int_equal(mrmr_catalog_num_members(f->cat), 2);
	OK(mrmr_catalog_member_id(f->cat, 1, &id));
	assert_true(mrmr_uuid_equal(&id, &b));
	FAILS(mrmr_catalog_member_id(f->cat, 2, &id), ENOENT);
	note = mrmr_catalog_get_note(f->cat, f->cat, "scan", &len);
	assert_non_null(note);
	assert_int_equal(len, 3);
	assert_memory_equal(note, "xyz", 3);
	assert_non_null(mrmr_catalog_get_note(f->cat, f->cat, "empty", &len));
	assert_int_equal(len, 0);
	begin(f);
	OK(mrmr_catalog_put_note(f->cat, "scan", NULL, 0));
	commit(f);
	assert_null(mrmr_catalog_get_note(f->cat, f->cat, "scan", &len));
	assert_int_equal(errno, ENOENT);
}

static void test_cancel_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct mrmr_node *node = NULL;
	struct mrmr_stripe *stripe = NULL;
	uint64_t id, other;
	uint64_t sequence = mrmr_catalog_sequence(f->cat);

	begin(f);
	id = put_file(f, MRMR_ID_ROOT, "file", 1);
	OK(mrmr_catalog_put_stripe(f->cat, a_stripe(f->cat, 2, 2, 0, 3), NULL));
	OK(mrmr_catalog_find(f->cat, f->cat, MRMR_ID_ROOT, "file", &node));
	mrmr_catalog_cancel(f->cat);
	FAILS(mrmr_catalog_find(f->cat, f->cat, MRMR_ID_ROOT, "file", &node),
	      ENOENT);
	FAILS(mrmr_catalog_next_stripe(f->cat, f->cat, 0, &stripe), ENOENT);
	assert_int_equal(mrmr_catalog_sequence(f->cat), sequence);
	begin(f);
	other = put_file(f, MRMR_ID_ROOT, "other", 1);
	assert_int_equal(id, other); /* the number was not used up */
	commit(f);
	assert_int_equal(mrmr_catalog_sequence(f->cat), sequence + 1);
	begin(f);
	commit(f); /* nothing */
	assert_int_equal(mrmr_catalog_sequence(f->cat), sequence + 1);
}

static int count_name(const struct mrmr_node *node, void *private_data)
{
	unsigned int *counts = private_data;

	counts[atoi(node->name)]++;
	return 0;
}

static int stop_at_ten(const struct mrmr_node *node, void *private_data)
{
	unsigned int *count = private_data;

	return ++*count == 10 ? 77 : 0;
}

#define MANY 5000

static void test_a_large_directory_grows_and_shrinks(void **state)
{
	struct fixture *f = *state;
	unsigned int *counts = calloc(MANY, sizeof(*counts));
	struct mrmr_node *node = NULL;
	uint64_t dir, id, after;
	unsigned int i, stopped = 0;

	begin(f);
	dir = put_dir(f, MRMR_ID_ROOT, "dir");
	for (i = 0; i < MANY; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", i);
		put_file(f, dir, name, i + 1);
		if (i % 1000 == 999) {
			commit(f);
			begin(f);
		}
	}
	OK(mrmr_catalog_list(f->cat, dir, count_name, counts));
	for (i = 0; i < MANY; i++) {
		assert_int_equal(counts[i], 1);
	}
	assert_int_equal(mrmr_catalog_list(f->cat, dir, stop_at_ten, &stopped),
			 77);
	assert_int_equal(stopped, 10);
	after = 0;
	for (i = 0; mrmr_catalog_next(f->cat, f->cat, after, &node) == 0; i++) {
		assert_true(node->id > after);
		after = node->id;
		talloc_free(node);
	}
	assert_int_equal(errno, ENOENT);
	assert_int_equal(i, MANY + 2);
	for (i = 0; i < MANY; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", i);
		OK(mrmr_catalog_remove(f->cat, dir, name));
	}
	OK(mrmr_catalog_remove(f->cat, MRMR_ID_ROOT, "dir"));
	commit(f);
	FAILS(mrmr_catalog_next(f->cat, f->cat, MRMR_ID_ROOT, &node), ENOENT);
	FAILS(mrmr_catalog_find_inode(f->cat, 0, 77, &id), ENOENT);
	free(counts);
}

/* Pieces of the file that are free: tdb goes through them to find room. */
static int count_free_pieces(struct fixture *f)
{
	struct tdb_context *tdb = NULL;
	char *path = NULL;
	int num;

	TALLOC_FREE(f->cat);
	path = talloc_asprintf(NULL, "%s/catalogue/0.tdb", (char *)f->scratch);
	tdb = tdb_open(path, 0, TDB_INCOMPATIBLE_HASH, O_RDWR, 0600);
	assert_non_null(tdb);
	num = tdb_freelist_size(tdb);
	tdb_close(tdb);
	talloc_free(path);
	reopen(f, MRMR_CATALOG_WRITE);
	return num;
}

static void put_many(struct fixture *f, uint64_t *ids, unsigned int num)
{
	uint64_t dir_id = put_dir(f, MRMR_ID_ROOT, "many");
	char name[32];
	unsigned int i;

	for (i = 0; i < num; i++) {
		struct mrmr_node node = a_file(dir_id, name);

		node.inode += i;
		snprintf(name, sizeof(name), "file %u", i);
		OK(mrmr_catalog_put(f->cat, &node, &ids[i]));
	}
}

/* As those of a batch do, when it is protected. */
static void test_records_that_grow_together_leave_few_holes(void **state)
{
	enum {
		NUM = 4000
	};
	struct fixture *f = *state;
	uint64_t *ids = calloc(NUM, sizeof(ids[0]));
	unsigned int i;

	begin(f);
	put_many(f, ids, NUM);
	commit(f);
	begin(f);
	for (i = 0; i < NUM; i++) {
		struct mrmr_extent extent = {
			.state = MRMR_EXTENT_BARE,
			.len_bytes = 4096,
			.checksum = i + 1,
		};

		memset(extent.sha256, 1 + (int)(i % 200), 32);
		OK(mrmr_catalog_put_extents(f->cat, ids[i], 0, &extent, 1));
	}
	commit(f);
	/* there are hundreds of records */
	assert_in_range(count_free_pieces(f), 0, 20);
	free(ids);
}

static void test_one_writer(void **state)
{
	struct fixture *f = *state;
	int fd = mrmr_catalog_lock(f->fd, false);
	int status;
	pid_t pid;

	assert_int_not_equal(fd, -1);
	pid = fork();
	if (pid == 0) {
		close(fd);
		_exit(mrmr_catalog_lock(f->fd, false) == -1 && errno == EAGAIN
			      ? 0
			      : 1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	close(fd);
	fd = mrmr_catalog_lock(f->fd, true);
	assert_int_not_equal(fd, -1);
	close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_a_new_catalogue_has_a_root),
		TEST(test_opening),
		TEST(test_what_is_put_is_found),
		TEST(test_other_kinds),
		TEST(test_what_is_refused),
		TEST(test_renaming),
		TEST(test_hard_links),
		TEST(test_extents),
		TEST(test_sums_of_files),
		TEST(test_stripes),
		TEST(test_classes),
		TEST(test_blobs_are_counted_by_content),
		TEST(test_members_and_notes),
		TEST(test_cancel_leaves_nothing),
		TEST(test_a_large_directory_grows_and_shrinks),
		TEST(test_records_that_grow_together_leave_few_holes),
		TEST(test_one_writer),
	};

	return cmocka_run_group_tests_name("catalog", tests, NULL, NULL);
}
