/*
 * Unit tests: protected bytes of files that have very many pre-images.
 *
 * What a reader does to find a pre-image, or that there is none, must not depend
 * on how many there are; and he must find each one, also one that was made just
 * now, under whatever generation.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/guard.h>
#include <mrmr/undo.h>

#include "world.h"

#define PIECE MRMR_UNDO_PIECE
#define NAMES ".names"
#define NUM_PIECES 20000
#define NUM_READS 1000

/* --- a file of a member ----------------------------------------------------- */

struct file {
	struct world *w;
	size_t member;
	struct mrmr_uuid id;
	uint64_t inode;
	int fd;
	int private_fd;
};

/* With a byte of 'a' at the beginning of each of the first pieces. */
static struct file file_new(const char *config, uint64_t num_pieces)
{
	struct world_shape shape = {
		.num_members = 2,
		.parity = "1",
		.config = config,
		.sizes = {"256m", "256m"},
	};
	struct file f = {.w = world_new(&shape)};
	struct stat st;
	off_t i;

	assert_int_equal(do_create(f.w, "f", ""), 0);
	f.fd = do_open(f.w, "f", O_RDWR);
	assert_return_code(f.fd, errno);
	assert_return_code(ftruncate(f.fd, (off_t)(num_pieces * PIECE)), errno);
	for (i = 0; i < (off_t)num_pieces && i < 4; i++) {
		assert_int_equal(pwrite(f.fd, "a", 1, i * PIECE), 1);
	}
	assert_int_equal(do_stat(f.w, "f", &f.member, &st), 0);
	f.inode = st.st_ino;
	f.id = f.w->pool->members[f.member].config->id;
	f.private_fd = dup(f.w->pool->members[f.member].private_fd);
	return f;
}

static void file_free(struct file *f)
{
	close(f->fd);
	close(f->private_fd);
	world_free(f->w);
}

static uint32_t declare(struct file *f)
{
	uint32_t generation = 0;

	assert_return_code(mrmr_guard_declare(f->w->pool->guard, &f->id,
					      f->inode, &generation),
			   errno);
	return generation;
}

static struct mrmr_undo *open_undo(struct file *f)
{
	struct mrmr_undo *undo = NULL;

	assert_return_code(mrmr_undo_open(NULL, f->w->pool, f->fd, &undo),
			   errno);
	assert_non_null(undo);
	return undo;
}

/* What smbd does: keep, then write. */
static void overwrite(struct file *f, struct mrmr_undo *undo, uint64_t piece,
		      char with)
{
	off_t offset = (off_t)(piece * PIECE);

	assert_return_code(mrmr_undo_keep(undo, (uint64_t)offset, 1), errno);
	assert_int_equal(pwrite(f->fd, &with, 1, offset), 1);
}

/* The first byte of a piece, -1 with errno. */
static int byte_of(struct file *f, uint32_t generation, uint64_t piece)
{
	char byte = 0;

	if (mrmr_undo_read(f->private_fd, f->inode, generation, f->fd, &byte, 1,
			   piece * PIECE) == -1) {
		return -1;
	}
	return byte;
}

static const char *in_folder(struct file *f, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), ".mrmr/undo/%" PRIx64 "/%s", f->inode,
		 name);
	return world_drive(f->w, f->member, path);
}

static void make_empty(struct file *f, const char *name)
{
	int fd = open(in_folder(f, name), O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_return_code(fd, errno);
	close(fd);
}

/* --- how much is looked at ---------------------------------------------------- */

#ifdef MRMR_WITH_FAULTS
/* As if all but the first were overwritten, too. */
static void make_many(struct file *f, uint32_t generation)
{
	char name[64];
	uint64_t i;

	for (i = 1; i < NUM_PIECES; i++) {
		snprintf(name, sizeof(name), "%" PRIx64 ".%" PRIx32, i,
			 generation);
		make_empty(f, name);
	}
}

/* Counting begins. */
static void count_lists(void)
{
	static unsigned int times;
	char none[32];

	snprintf(none, sizeof(none), "none#%u=EIO", ++times);
	setenv("MRMR_FAULT", none, 1);
}

static unsigned long lists(void)
{
	unsigned long times = mrmr_fault_times("undo-list");

	unsetenv("MRMR_FAULT");
	return times;
}
#endif

static void reading_does_not_list(void **state)
{
#ifdef MRMR_WITH_FAULTS
	struct file f = file_new(NULL, NUM_PIECES);
	uint32_t g = declare(&f);
	struct mrmr_undo *undo = open_undo(&f);
	uint64_t i;
	uint32_t h;

	(void)state;
	overwrite(&f, undo, 0, 'b');
	make_many(&f, g);
	h = declare(&f);
	count_lists();
	for (i = 0; i < NUM_READS; i++) {
		assert_int_equal(byte_of(&f, h, i), i == 0  ? 'b'
						    : i < 4 ? 'a'
							    : 0);
		assert_true(mrmr_undo_has(f.private_fd, f.inode, h,
					  (uint64_t)NUM_PIECES * PIECE, 1,
					  i * PIECE));
	}
	assert_int_equal(lists(), 0);

	/* nor while somebody writes */
	count_lists();
	overwrite(&f, undo, 1, 'c');
	assert_in_range(lists(), 0, 2);
	count_lists();
	for (i = 0; i < NUM_READS; i++) {
		assert_int_equal(byte_of(&f, h, 1), 'a');
		assert_int_equal(byte_of(&f, h, 2), 'a');
		overwrite(&f, undo, 10 + i, 'd');
		assert_int_equal(byte_of(&f, h, 10 + i), 0);
	}
	assert_int_equal(lists(), 0);
	talloc_free(undo);
	file_free(&f);
#else
	(void)state;
	skip();
#endif
}

static void nor_when_something_is_lost(void **state)
{
#ifdef MRMR_WITH_FAULTS
	struct file f = file_new(",\"undo_max_bytes\": \"1M\"", NUM_PIECES);
	uint32_t g = declare(&f);
	struct mrmr_undo *undo = open_undo(&f);
	bool lost = false;
	uint64_t i;

	(void)state;
	overwrite(&f, undo, 0, 'b');
	assert_return_code(mrmr_undo_keep_cut(undo, 2 * PIECE, &lost), errno);
	assert_true(lost);
	assert_return_code(ftruncate(f.fd, 2 * PIECE), errno);
	count_lists();
	assert_int_equal(byte_of(&f, g, 0), 'a');
	assert_int_equal(byte_of(&f, g, 1), 'a');
	/* the first one after it tells if they can be shared */
	for (i = 3; i < NUM_READS; i++) {
		assert_int_equal(byte_of(&f, g, i), -1);
		assert_int_equal(errno, EIO);
		assert_false(mrmr_undo_has(f.private_fd, f.inode, g,
					   UINT64_MAX / 2, 1, i * PIECE));
	}
	assert_int_equal(lists(), 0);
	talloc_free(undo);
	file_free(&f);
#else
	(void)state;
	skip();
#endif
}

/* --- whatever is there is found ------------------------------------------------ */

/* A reader has looked; then somebody writes, under a generation that is higher
   than the reader's, and that nobody has used before. */
static void one_that_comes_later_is_found(void **state)
{
	struct file f = file_new(NULL, 4);
	uint32_t g = declare(&f);
	struct mrmr_undo *undo = open_undo(&f);
	struct mrmr_undo *other = open_undo(&f);
	uint32_t h;

	(void)state;
	overwrite(&f, undo, 0, 'b');
	h = declare(&f);
	assert_int_equal(byte_of(&f, h, 0), 'b');
	assert_int_equal(byte_of(&f, h, 1), 'a');
	assert_int_equal(byte_of(&f, h, 2), 'a');
	declare(&f);
	overwrite(&f, undo, 1, 'c');
	assert_int_equal(byte_of(&f, g, 1), 'a');
	assert_int_equal(byte_of(&f, h, 1), 'a');
	declare(&f);
	overwrite(&f, other, 1, 'd');
	overwrite(&f, undo, 2, 'd');
	/* of several, that of the lowest generation */
	assert_int_equal(byte_of(&f, g, 1), 'a');
	assert_int_equal(byte_of(&f, h, 1), 'a');
	assert_int_equal(byte_of(&f, h, 2), 'a');
	assert_int_equal(byte_of(&f, g, 0), 'a');
	assert_int_equal(byte_of(&f, h, 0), 'b');
	talloc_free(undo);
	talloc_free(other);
	file_free(&f);
}

/* The folder goes, and is made anew by somebody who has the file open. */
static void one_in_a_new_folder_is_found(void **state)
{
	struct file f = file_new(NULL, 4);
	uint32_t g = declare(&f);
	struct mrmr_undo *undo = NULL;

	(void)state;
	declare(&f);
	undo = open_undo(&f);
	overwrite(&f, undo, 0, 'b');
	assert_return_code(mrmr_undo_drop(f.private_fd, f.inode, 0), errno);
	assert_false(world_there(in_folder(&f, "")));
	assert_int_equal(byte_of(&f, g, 1), 'a');
	overwrite(&f, undo, 1, 'c');
	assert_int_equal(byte_of(&f, g, 1), 'a');
	assert_true(world_there(in_folder(&f, NAMES)));
	talloc_free(undo);
	file_free(&f);
}

/* What stays when others go is found, and the last goes with the list. */
static void one_that_stays_is_found(void **state)
{
	struct file f = file_new(NULL, 4);
	uint32_t g = declare(&f);
	struct mrmr_undo *undo = open_undo(&f);
	uint32_t h;
	uint32_t i;

	(void)state;
	overwrite(&f, undo, 0, 'b');
	h = declare(&f);
	i = declare(&f);
	overwrite(&f, undo, 1, 'c');
	assert_return_code(mrmr_undo_drop(f.private_fd, f.inode, h), errno);
	assert_int_equal(byte_of(&f, g, 1), 'a');
	assert_int_equal(byte_of(&f, h, 1), 'a');
	overwrite(&f, undo, 2, 'c');
	assert_int_equal(byte_of(&f, h, 2), 'a');
	assert_return_code(mrmr_undo_drop(f.private_fd, f.inode, i + 1), errno);
	assert_false(world_there(in_folder(&f, "")));
	talloc_free(undo);
	file_free(&f);
}

static void spoil(struct file *f, size_t at)
{
	int fd = open(in_folder(f, NAMES), O_RDWR);
	char byte = 0;

	assert_return_code(fd, errno);
	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	close(fd);
}

static void check_both(struct file *f, uint32_t g)
{
	assert_int_equal(byte_of(f, g, 0), 'a');
	assert_int_equal(byte_of(f, g, 1), 'a');
	assert_int_equal(byte_of(f, g, 2), 'a');
}

/* Of an earlier version of MRMR; lost or damaged with the power; or damaged by
   the drive. Who writes next puts it right. */
static void without_the_list_they_are_found(void **state)
{
	struct file f = file_new(NULL, 4);
	uint32_t g = declare(&f);
	struct mrmr_undo *undo = open_undo(&f);
	struct stat st;
	off_t i;

	(void)state;
	overwrite(&f, undo, 0, 'b');
	declare(&f);
	overwrite(&f, undo, 1, 'c');
	assert_return_code(stat(in_folder(&f, NAMES), &st), errno);
	for (i = 0; i < st.st_size; i++) {
		spoil(&f, (size_t)i);
		check_both(&f, g);
		spoil(&f, (size_t)i);
	}
	for (i = 0; i < st.st_size; i++) {
		assert_return_code(truncate(in_folder(&f, NAMES), i), errno);
		check_both(&f, g);
		overwrite(&f, undo, 3, 'd');
		assert_return_code(mrmr_undo_drop(f.private_fd, f.inode, g),
				   errno);
		check_both(&f, g);
	}
	assert_return_code(unlink(in_folder(&f, NAMES)), errno);
	check_both(&f, g);
	declare(&f);
	overwrite(&f, undo, 2, 'e');
	assert_true(world_there(in_folder(&f, NAMES)));
	check_both(&f, g);
	talloc_free(undo);
	file_free(&f);
}

/* More generations than the list has room for. */
static void very_many_generations(void **state)
{
	struct file f = file_new(NULL, 4);
	uint32_t g = declare(&f);
	struct mrmr_undo *undo = open_undo(&f);
	char name[64];
	uint32_t i;

	(void)state;
	overwrite(&f, undo, 0, 'b');
	for (i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "3.%" PRIx32, declare(&f));
		make_empty(&f, name);
	}
	declare(&f);
	overwrite(&f, undo, 1, 'c');
	check_both(&f, g);
	overwrite(&f, undo, 2, 'c');
	check_both(&f, g);
	talloc_free(undo);
	file_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reading_does_not_list),
		cmocka_unit_test(nor_when_something_is_lost),
		cmocka_unit_test(one_that_comes_later_is_found),
		cmocka_unit_test(one_in_a_new_folder_is_found),
		cmocka_unit_test(one_that_stays_is_found),
		cmocka_unit_test(without_the_list_they_are_found),
		cmocka_unit_test(very_many_generations),
	};

	return WORLD_MAIN("undo-many", tests);
}
