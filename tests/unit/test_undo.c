/*
 * Unit tests: protected bytes are kept before they are overwritten.
 *
 * Invariant 2: whatever writers do, and wherever they are killed, the bytes of
 * the version that was protected can be read, exactly, until the protector lets
 * go of them.
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
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/fault.h>
#include <mrmr/guard.h>
#include <mrmr/undo.h>

#include "world.h"

#define PIECE MRMR_UNDO_PIECE
#define USER 1000

/* --- a file of the pool, and what the protector would do ---------------------- */

struct file {
	struct world *w;
	size_t member;
	struct mrmr_uuid id;
	uint64_t inode;
	int fd; /* for reading */
	int private_fd;
};

static struct world *new_world(const char *config, const char *size)
{
	struct world_shape shape = {
		.num_members = 2,
		.parity = "1",
		.config = config,
		.sizes = {size, size},
	};

	return world_new(&shape);
}

static void fill(char *buf, size_t len, unsigned int seed)
{
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	size_t i;

	for (i = 0; i < len; i++) {
		if (i % 8 == 0) {
			x ^= x >> 12;
			x ^= x << 25;
			x ^= x >> 27;
		}
		buf[i] = (char)(x >> (8 * (i % 8)));
	}
}

static void write_at(int fd, unsigned int seed, size_t len, off_t offset)
{
	char *buf = malloc(len);

	fill(buf, len, seed);
	assert_int_equal(pwrite(fd, buf, len, offset), len);
	free(buf);
}

static struct file file_new(struct world *w, const char *name, size_t size)
{
	struct file f = {.w = w};
	struct stat st;

	assert_int_equal(do_create(w, name, ""), 0);
	f.fd = do_open(w, name, O_RDWR);
	assert_return_code(f.fd, errno);
	assert_return_code(fchmod(f.fd, 0666), errno);
	if (size > 0) {
		write_at(f.fd, 1, size, 0);
	}
	assert_int_equal(do_stat(w, name, &f.member, &st), 0);
	f.inode = st.st_ino;
	f.id = w->pool->members[f.member].config->id;
	f.private_fd = dup(w->pool->members[f.member].private_fd);
	return f;
}

static void file_free(struct file *f)
{
	close(f->fd);
	close(f->private_fd);
}

static uint32_t declare(struct file *f)
{
	uint32_t generation = 0;

	assert_return_code(mrmr_guard_declare(f->w->pool->guard, &f->id,
					      f->inode, &generation),
			   errno);
	assert_true(generation > 0);
	return generation;
}

static char *read_version(struct file *f, uint32_t generation, size_t len)
{
	char *buf = malloc(len + 1);

	if (mrmr_undo_read(f->private_fd, f->inode, generation, f->fd, buf, len,
			   0) == -1) {
		int saved_errno = errno;

		free(buf);
		errno = saved_errno;
		return NULL;
	}
	return buf;
}

static void check_version(struct file *f, uint32_t generation,
			  const char *wanted, size_t len)
{
	char *buf = read_version(f, generation, len);
	size_t i;

	if (buf == NULL) {
		fail_msg("generation %u: %s", generation, strerror(errno));
	}
	for (i = 0; i < len; i++) {
		if (buf[i] != wanted[i]) {
			fail_msg("generation %u differs at byte %zu",
				 generation, i);
		}
	}
	free(buf);
}

static struct mrmr_undo *open_undo(struct file *f, int fd)
{
	struct mrmr_undo *undo = NULL;

	assert_return_code(mrmr_undo_open(NULL, f->w->pool, fd, &undo), errno);
	return undo;
}

/* How many entries the folder of an inode has, -1: there is no folder. */
static int count_kept(struct file *f)
{
	char path[128];
	struct dirent *entry = NULL;
	DIR *dir = NULL;
	int count = 0;

	snprintf(path, sizeof(path), ".mrmr/undo/%llx",
		 (unsigned long long)f->inode);
	dir = opendir(world_drive(f->w, f->member, path));
	if (dir == NULL) {
		return -1;
	}
	while ((entry = readdir(dir)) != NULL) {
		count += entry->d_name[0] != '.' ||
			 strncmp(entry->d_name, ".new", 4) == 0;
	}
	closedir(dir);
	return count;
}

/* --- one writer ----------------------------------------------------------------- */

static void a_pool_without_parity_has_none_of_it(void **state)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 2});
	struct file f = file_new(w, "f", 100);
	struct mrmr_undo *undo = NULL;

	(void)state;
	assert_null(w->pool->guard);
	assert_null(w->pool->queue);
	assert_false(world_there(world_path(w, "state/guard")));
	assert_false(world_there(world_path(w, "state/queue")));
	assert_int_equal(mrmr_undo_open(NULL, w->pool, f.fd, &undo), 0);
	assert_null(undo);
	file_free(&f);
	world_free(w);
}

static void what_is_not_protected_is_not_kept(void **state)
{
	struct world *w = new_world(NULL, NULL);
	struct file f = file_new(w, "f", 100);

	(void)state;
	assert_null(open_undo(&f, f.fd));
	assert_int_equal(count_kept(&f), -1);
	file_free(&f);
	world_free(w);
}

static void an_overwritten_piece_is_kept(void **state)
{
	const size_t len = 3 * PIECE + 12345;
	struct world *w = new_world(NULL, NULL);
	struct file f = file_new(w, "f", len);
	char *wanted = malloc(len);
	uint32_t g = declare(&f);
	struct mrmr_undo *undo = open_undo(&f, f.fd);

	(void)state;
	assert_non_null(undo);
	fill(wanted, len, 1);
	assert_false(mrmr_undo_is_kept(undo, 10, 20));
	assert_int_equal(mrmr_undo_keep(undo, 10, 20), 0);
	assert_true(mrmr_undo_is_kept(undo, 0, PIECE));
	assert_false(mrmr_undo_is_kept(undo, PIECE - 1, 2));
	assert_int_equal(count_kept(&f), 1);
	write_at(f.fd, 2, 20, 10);
	check_version(&f, g, wanted, len);

	/* over a border, the short last piece, and beyond the end */
	assert_int_equal(mrmr_undo_keep(undo, 2 * PIECE - 1, PIECE + 2), 0);
	assert_int_equal(count_kept(&f), 4);
	write_at(f.fd, 3, PIECE + 2, 2 * PIECE - 1);
	assert_true(mrmr_undo_is_kept(undo, 3 * PIECE, 100 * PIECE));
	write_at(f.fd, 4, 5 * PIECE, len);
	check_version(&f, g, wanted, len);
	assert_true(mrmr_undo_is_kept(undo, UINT64_MAX - 5, 5));

	/* what was never there is no zeros */
	assert_null(read_version(&f, g, len + 1));
	assert_int_equal(errno, EIO);

	/* nothing is kept twice */
	assert_int_equal(mrmr_undo_keep(undo, 0, len), 0);
	assert_int_equal(count_kept(&f), 4);
	talloc_free(undo);
	undo = open_undo(&f, f.fd);
	assert_int_equal(mrmr_undo_keep(undo, 0, len), 0);
	assert_int_equal(count_kept(&f), 4);
	check_version(&f, g, wanted, len);

	assert_int_equal(mrmr_undo_drop(f.private_fd, f.inode, 0), 0);
	assert_int_equal(count_kept(&f), -1);
	talloc_free(undo);
	free(wanted);
	file_free(&f);
	world_free(w);
}

/* smbd opens a pool anew when its config changes, whatever files are open. */
static void it_outlives_its_pool(void **state)
{
	struct world *w = new_world(NULL, NULL);
	struct file f = file_new(w, "f", PIECE);
	char *wanted = malloc(PIECE);
	uint32_t g = declare(&f);
	struct mrmr_undo *undo = open_undo(&f, f.fd);
	struct mrmr_undo *other = open_undo(&f, f.fd);

	(void)state;
	fill(wanted, PIECE, 1);
	world_close(w);
	assert_false(mrmr_undo_is_kept(undo, 0, 1));
	talloc_free(other);
	assert_int_equal(mrmr_undo_keep(undo, 0, 1), 0);
	assert_true(mrmr_undo_is_kept(undo, 0, 1));
	write_at(f.fd, 2, PIECE, 0);
	check_version(&f, g, wanted, PIECE);
	talloc_free(undo);
	world_open(w);
	file_free(&f);
	world_free(w);
	free(wanted);
}

static void generations_follow_each_other(void **state)
{
	const size_t len = 2 * PIECE;
	struct world *w = new_world(NULL, NULL);
	struct file f = file_new(w, "f", len);
	char *first = malloc(len);
	char *second = malloc(len);
	uint32_t g = declare(&f);
	struct mrmr_undo *undo = open_undo(&f, f.fd);
	uint32_t h;

	(void)state;
	fill(first, len, 1);
	assert_int_equal(mrmr_undo_keep(undo, 0, 1), 0);
	write_at(f.fd, 2, PIECE, 0);
	h = declare(&f);
	second = read_version(&f, h, len);
	assert_non_null(second);
	assert_false(mrmr_undo_is_kept(undo, 0, 1));
	assert_int_equal(mrmr_undo_keep(undo, 0, len), 0);
	write_at(f.fd, 3, len, 0);
	check_version(&f, g, first, len);
	check_version(&f, h, second, len);
	assert_int_equal(mrmr_undo_drop(f.private_fd, f.inode, h), 0);
	assert_int_equal(count_kept(&f), 2);
	check_version(&f, h, second, len);

	/* Nothing depends on it any more. */
	mrmr_guard_forget(w->pool->guard, &f.id, f.inode);
	assert_true(mrmr_undo_is_kept(undo, 0, len));
	assert_int_equal(mrmr_undo_drop(f.private_fd, f.inode, 0), 0);
	assert_int_equal(mrmr_undo_keep(undo, 0, len), 0);
	talloc_free(undo);
	free(first);
	free(second);
	file_free(&f);
	world_free(w);
}

static void holes_are_kept_as_holes(void **state)
{
	const size_t len = 8 * PIECE;
	struct world *w = new_world(NULL, NULL);
	struct file f = file_new(w, "f", 0);
	char *wanted = calloc(1, len);
	struct mrmr_undo *undo = NULL;
	uint32_t g;

	(void)state;
	assert_return_code(ftruncate(f.fd, (off_t)len), errno);
	write_at(f.fd, 1, 100, 3 * PIECE + 5);
	fill(wanted + 3 * PIECE + 5, 100, 1);
	g = declare(&f);
	undo = open_undo(&f, f.fd);
	assert_int_equal(mrmr_undo_keep(undo, 0, len), 0);
	write_at(f.fd, 2, len, 0);
	check_version(&f, g, wanted, len);
	talloc_free(undo);
	free(wanted);
	file_free(&f);
	world_free(w);
}

static void what_is_cut_off_is_kept(void **state)
{
	const size_t len = 3 * PIECE + 77;
	struct world *w = new_world(NULL, NULL);
	struct file f = file_new(w, "f", len);
	char *wanted = malloc(len);
	uint32_t g = declare(&f);
	struct mrmr_undo *undo = open_undo(&f, f.fd);
	bool lost = true;

	(void)state;
	fill(wanted, len, 1);
	assert_int_equal(mrmr_undo_keep_cut(undo, len, &lost), 0);
	assert_false(lost);
	assert_int_equal(mrmr_undo_keep_cut(undo, 2 * len, &lost), 0);
	assert_int_equal(count_kept(&f), 0);
	assert_int_equal(mrmr_undo_keep_cut(undo, PIECE + 5, &lost), 0);
	assert_false(lost);
	assert_int_equal(count_kept(&f), 3);
	assert_return_code(ftruncate(f.fd, PIECE + 5), errno);
	check_version(&f, g, wanted, len);

	/* extended again, and overwritten by another */
	assert_return_code(ftruncate(f.fd, 5 * PIECE), errno);
	talloc_free(undo);
	undo = open_undo(&f, f.fd);
	assert_int_equal(mrmr_undo_keep(undo, 0, 5 * PIECE), 0);
	write_at(f.fd, 9, 5 * PIECE, 0);
	check_version(&f, g, wanted, len);
	talloc_free(undo);
	free(wanted);
	file_free(&f);
	world_free(w);
}

static void what_takes_too_long_is_given_up(void **state)
{
	const size_t len = 6 * PIECE;
	struct world *w = new_world(",\"undo_max_bytes\": \"2M\"", NULL);
	struct file f = file_new(w, "f", len);
	char *wanted = malloc(len);
	char byte;
	uint32_t g = declare(&f);
	struct mrmr_undo *undo = open_undo(&f, f.fd);
	struct mrmr_undo *other = open_undo(&f, f.fd);
	uint32_t h;
	bool lost = false;

	(void)state;
	fill(wanted, len, 1);
	/* both have looked before */
	assert_int_equal(mrmr_undo_keep(other, 0, 1), 0);
	assert_int_equal(mrmr_undo_keep(undo, 4 * PIECE, 1), 0);
	assert_int_equal(mrmr_undo_keep_cut(undo, PIECE, &lost), 0);
	assert_true(lost);
	assert_return_code(ftruncate(f.fd, PIECE), errno);

	/* What comes back is not what was there, and must not become it. */
	write_at(f.fd, 7, 5 * PIECE, PIECE);
	assert_int_equal(mrmr_undo_keep(other, PIECE, 5 * PIECE), 0);
	write_at(f.fd, 8, 5 * PIECE, PIECE);
	check_version(&f, g, wanted, PIECE);
	for (off_t at = PIECE; at < (off_t)len; at += PIECE) {
		int ret = mrmr_undo_read(f.private_fd, f.inode, g, f.fd, &byte,
					 1, (uint64_t)at);

		/* the first of those given up tells if they could be shared */
		if (at == 4 * PIECE || ret == 0) {
			assert_int_equal(ret, 0);
			assert_int_equal(byte, wanted[at]);
		} else {
			assert_int_equal(errno, EIO);
		}
	}
	assert_int_equal(mrmr_undo_read(f.private_fd, f.inode, g, f.fd, &byte,
					1, 5 * PIECE),
			 -1);

	/* The next version is whole. */
	h = declare(&f);
	free(wanted);
	wanted = malloc(len);
	assert_int_equal(pread(f.fd, wanted, len, 0), len);
	check_version(&f, h, wanted, len);
	assert_int_equal(mrmr_undo_keep(other, 0, len), 0);
	write_at(f.fd, 9, len, 0);
	check_version(&f, h, wanted, len);
	assert_int_equal(mrmr_undo_drop(f.private_fd, f.inode, h), 0);
	assert_int_equal(count_kept(&f), 6);
	check_version(&f, h, wanted, len);
	assert_int_equal(mrmr_undo_drop(f.private_fd, f.inode, 0), 0);
	assert_int_equal(count_kept(&f), -1);
	talloc_free(undo);
	talloc_free(other);
	free(wanted);
	file_free(&f);
	world_free(w);
}

static void no_room_keeps_the_file_as_it_is(void **state)
{
	const size_t len = 5 * PIECE;
	struct world *w = new_world(NULL, "8m");
	struct file f = file_new(w, "f", len);
	char *wanted = malloc(len);
	uint32_t g = declare(&f);
	struct mrmr_undo *undo = open_undo(&f, f.fd);
	int kept;

	(void)state;
	fill(wanted, len, 1);
	assert_int_equal(mrmr_undo_keep(undo, 0, len), -1);
	assert_int_equal(errno, ENOSPC);
	assert_false(mrmr_undo_is_kept(undo, 4 * PIECE, 1));
	check_version(&f, g, wanted, len);
	/* nothing half made is left */
	kept = count_kept(&f);
	assert_in_range(kept, 0, 2);
	assert_int_equal(mrmr_undo_keep(undo, 0, 1), 0);
	write_at(f.fd, 2, PIECE, 0);
	check_version(&f, g, wanted, len);
	talloc_free(undo);
	free(wanted);
	file_free(&f);
	world_free(w);
}

static void a_user_keeps_as_root(void **state)
{
	struct world *w = new_world(NULL, NULL);
	struct file f = file_new(w, "f", 2 * PIECE);
	struct mrmr_undo *undo = NULL;
	uint32_t g = declare(&f);
	char *wanted = malloc(2 * PIECE);
	int fd;

	(void)state;
	fill(wanted, 2 * PIECE, 1);
	world_user(USER);
	fd = do_open(w, "f", O_WRONLY);
	assert_return_code(fd, errno);
	undo = open_undo(&f, fd);
	assert_non_null(undo);
	assert_int_equal(geteuid(), USER);
	assert_int_equal(mrmr_undo_keep(undo, 0, 1), 0);
	assert_int_equal(geteuid(), USER);
	write_at(fd, 2, 10, 0);
	assert_int_equal(mrmr_undo_drop(f.private_fd, f.inode, 0), -1);
	assert_int_equal(errno, EACCES);
	world_user(0);
	check_version(&f, g, wanted, 2 * PIECE);
	close(fd);
	talloc_free(undo);
	free(wanted);
	file_free(&f);
	world_free(w);
}

static int count_one(uint64_t inode, uint64_t bytes, void *private_data)
{
	uint64_t *sum = private_data;

	assert_true(inode > 0);
	*sum += bytes;
	return 0;
}

static void the_protector_finds_all_of_them(void **state)
{
	struct world *w = new_world(NULL, NULL);
	struct file f = file_new(w, "f", 3 * PIECE);
	struct mrmr_undo *undo = NULL;
	uint64_t sum = 0;

	(void)state;
	declare(&f);
	assert_int_equal(mrmr_undo_walk(f.private_fd, count_one, &sum), 0);
	assert_int_equal(sum, 0);
	undo = open_undo(&f, f.fd);
	assert_int_equal(mrmr_undo_keep(undo, 0, 2 * PIECE), 0);
	assert_int_equal(mrmr_undo_walk(f.private_fd, count_one, &sum), 0);
	assert_in_range(sum, 2 * PIECE, 3 * PIECE);
	talloc_free(undo);
	file_free(&f);
	world_free(w);
}

/* The guard does not know: everything counts, under a number that is not lower
   than what was given, and lower than what will be. */
static void kept_while_the_guard_is_not_ready(void **state)
{
	const size_t len = 3 * PIECE;
	struct world *w = new_world(NULL, NULL);
	struct file f = file_new(w, "f", len);
	char *wanted = malloc(len);
	uint32_t g = declare(&f);
	struct mrmr_undo *early = open_undo(&f, f.fd);
	struct mrmr_undo *late = NULL;
	uint32_t h;

	(void)state;
	fill(wanted, len, 1);
	assert_int_equal(mrmr_undo_keep(early, 0, 1), 0);
	write_at(f.fd, 2, PIECE, 0);

	assert_int_equal(mrmr_guard_rebuild_begin(w->pool->guard), 0);
	late = open_undo(&f, f.fd);
	assert_non_null(late);
	assert_int_equal(mrmr_undo_keep(late, 0, 2 * PIECE), 0);
	write_at(f.fd, 3, 2 * PIECE, 0);
	check_version(&f, g, wanted, len);

	assert_int_equal(mrmr_guard_rebuild_add(w->pool->guard, &f.id, f.inode,
						g),
			 0);
	assert_int_equal(mrmr_guard_rebuild_end(w->pool->guard), 0);
	/* This one has seen g before and after, and nothing in between. */
	assert_int_equal(mrmr_undo_keep(early, 0, len), 0);
	write_at(f.fd, 4, len, 0);
	check_version(&f, g, wanted, len);

	h = declare(&f);
	assert_int_equal(pread(f.fd, wanted, len, 0), len);
	assert_int_equal(mrmr_undo_keep(early, 0, len), 0);
	write_at(f.fd, 5, len, 0);
	check_version(&f, h, wanted, len);
	talloc_free(early);
	talloc_free(late);
	free(wanted);
	file_free(&f);
	world_free(w);
}

/* --- faults --------------------------------------------------------------------- */

/* undo-names is the first: it is passed once for a generation. */
static const char *const points[] = {
	"undo-names",  "undo-copy",    "undo-written",
	"undo-rename", "undo-renamed",
};

static void a_member_that_fails_refuses_the_write(void **state)
{
#ifdef MRMR_WITH_FAULTS
	const size_t len = 2 * PIECE;
	struct world *w = new_world(NULL, NULL);
	struct file f = file_new(w, "f", len);
	char *wanted = malloc(len);
	uint32_t g = declare(&f);
	struct mrmr_undo *undo = open_undo(&f, f.fd);
	size_t i;

	(void)state;
	fill(wanted, len, 1);
	for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		char fault[64];

		snprintf(fault, sizeof(fault), "%s=EIO", points[i]);
		setenv("MRMR_FAULT", fault, 1);
		assert_int_equal(mrmr_undo_keep(undo, 0, 1), -1);
		assert_int_equal(errno, EIO);
		unsetenv("MRMR_FAULT");
		assert_false(mrmr_undo_is_kept(undo, 0, 1));
		check_version(&f, g, wanted, len);
	}
	assert_int_equal(mrmr_undo_keep(undo, 0, 1), 0);
	write_at(f.fd, 2, PIECE, 0);
	check_version(&f, g, wanted, len);
	talloc_free(undo);
	free(wanted);
	file_free(&f);
	world_free(w);
#else
	(void)state;
	(void)points;
	skip();
#endif
}

#ifdef MRMR_WITH_FAULTS
/* Somebody is killed when the piece has its name, and that is not synced. */
static void keep_and_be_killed(struct file *f, uint64_t piece)
{
	pid_t pid = fork();
	int status;

	assert_return_code(pid, errno);
	if (pid == 0) {
		struct mrmr_undo *undo = NULL;

		world_open_in_child(f->w);
		undo = open_undo(f, f->fd);
		setenv("MRMR_FAULT", "undo-renamed=kill", 1);
		mrmr_undo_keep(undo, piece * PIECE, 1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void cannot_keep(struct mrmr_undo *undo, uint64_t piece,
			const char *fault)
{
	setenv("MRMR_FAULT", fault, 1);
	assert_int_equal(mrmr_undo_keep(undo, piece * PIECE, 1), -1);
	assert_int_equal(errno, EIO);
	unsetenv("MRMR_FAULT");
	assert_false(mrmr_undo_is_kept(undo, piece * PIECE, 1));
}
#endif

static void what_is_found_is_made_durable(void **state)
{
#ifdef MRMR_WITH_FAULTS
	struct world *w = new_world(NULL, NULL);
	struct file f = file_new(w, "f", 3 * PIECE);
	uint32_t g = declare(&f);
	struct mrmr_undo *undo = open_undo(&f, f.fd);

	(void)state;
	assert_true(g > 0);
	/* when it is looked for the first time */
	keep_and_be_killed(&f, 0);
	assert_int_equal(count_kept(&f), 1);
	cannot_keep(undo, 0, "undo-found=EIO");
	assert_int_equal(mrmr_undo_keep(undo, 0, 1), 0);
	assert_true(mrmr_undo_is_kept(undo, 0, 1));
	/* and later */
	keep_and_be_killed(&f, 1);
	assert_int_equal(count_kept(&f), 2);
	cannot_keep(undo, 1, "undo-found=EIO");
	assert_int_equal(mrmr_undo_keep(undo, PIECE, 1), 0);
	assert_true(mrmr_undo_is_kept(undo, PIECE, 1));
	/* what this one makes is durable anyway */
	setenv("MRMR_FAULT", "undo-found=EIO", 1);
	assert_int_equal(mrmr_undo_keep(undo, 2 * PIECE, 1), 0);
	unsetenv("MRMR_FAULT");
	assert_int_equal(count_kept(&f), 3);
	talloc_free(undo);
	file_free(&f);
	world_free(w);
#else
	(void)state;
	skip();
#endif
}

/* Also one that has gone since, and is made anew. */
static void a_new_folder_is_made_durable(void **state)
{
#ifdef MRMR_WITH_FAULTS
	struct world *w = new_world(NULL, NULL);
	struct file f = file_new(w, "f", 2 * PIECE);
	struct mrmr_undo *undo = NULL;

	(void)state;
	declare(&f);
	undo = open_undo(&f, f.fd);
	cannot_keep(undo, 0, "undo-folder=EIO");
	assert_int_equal(mrmr_undo_keep(undo, 0, 1), 0);
	assert_int_equal(mrmr_undo_drop(f.private_fd, f.inode, 0), 0);
	assert_int_equal(count_kept(&f), -1);
	cannot_keep(undo, 1, "undo-folder=EIO");
	/* nor if the first one who tried was stopped there */
	cannot_keep(undo, 1, "undo-folder=EIO");
	assert_int_equal(mrmr_undo_keep(undo, PIECE, 1), 0);
	talloc_free(undo);
	file_free(&f);
	world_free(w);
#else
	(void)state;
	skip();
#endif
}

static void killed_while_keeping(void **state)
{
#ifdef MRMR_WITH_FAULTS
	const size_t len = 4 * PIECE;
	struct world *w = new_world(NULL, NULL);
	struct file f = file_new(w, "f", len);
	char *wanted = malloc(len);
	uint32_t g = declare(&f);
	unsigned int nth;
	size_t i;

	(void)state;
	fill(wanted, len, 1);
	for (i = 0; i < 2 * sizeof(points) / sizeof(points[0]); i++) {
		for (nth = 1; nth <= 3; nth++) {
			struct mrmr_undo *undo = NULL;
			bool lost;
			int status;
			pid_t pid = fork();

			assert_return_code(pid, errno);
			if (pid == 0) {
				char fault[64];

				world_open_in_child(w);
				undo = open_undo(&f, f.fd);
				snprintf(fault, sizeof(fault), "%s#%u=kill",
					 points[i / 2], nth);
				setenv("MRMR_FAULT", fault, 1);
				if (i % 2 == 0) {
					mrmr_undo_keep(undo, 0, len);
					write_at(f.fd, 10 + nth, len, 0);
				} else {
					mrmr_undo_keep_cut(undo, 0, &lost);
				}
				_exit(0);
			}
			assert_int_equal(waitpid(pid, &status, 0), pid);
			check_version(&f, g, wanted, len);
		}
	}
	free(wanted);
	file_free(&f);
	world_free(w);
#else
	(void)state;
	skip();
#endif
}

/* --- many at once ----------------------------------------------------------------- */

#define WRITERS 3
#define FILE_MAX (5 * PIECE + 4321)
#define SLOW_MS 60000

static unsigned int draw(unsigned int *seed, unsigned int below)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 8) % below;
}

static void give_up(const char *what)
{
	fprintf(stderr, "a writer cannot %s: %s\n", what, strerror(errno));
	_exit(1);
}

struct part {
	struct mrmr_undo *undo;
	int fd;
	off_t offset;
	size_t len;
	unsigned int seed;
};

static void write_part(struct part *part)
{
	char *buf = malloc(part->len);

	fill(buf, part->len, part->seed);
	if ((part->undo == NULL ||
	     mrmr_undo_is_kept(part->undo, (uint64_t)part->offset, part->len) ||
	     mrmr_undo_keep(part->undo, (uint64_t)part->offset, part->len) ==
		     0) &&
	    pwrite(part->fd, buf, part->len, part->offset) !=
		    (ssize_t)part->len) {
		give_up("write");
	}
	free(buf);
}

static void *write_in_thread(void *private_data)
{
	write_part(private_data);
	return NULL;
}

static struct part random_part(struct mrmr_undo *undo, int fd,
			       unsigned int *seed)
{
	struct part part = {
		.undo = undo,
		.fd = fd,
		.offset = draw(seed, FILE_MAX - 1),
		.seed = draw(seed, 1u << 20),
	};
	size_t most = FILE_MAX - (size_t)part.offset;

	part.len = 1 + draw(seed, draw(seed, 2) ? 5000 : 2 * PIECE);
	part.len = part.len < most ? part.len : most;
	return part;
}

/* Opens the file, does something to it, closes it, again and again. */
static void be_a_writer(struct file *f, unsigned int seed)
{
	struct world *w = f->w;

	world_open_in_child(w);
	world_user(USER);
#ifdef MRMR_WITH_FAULTS
	if (draw(&seed, 2) == 0) {
		char fault[64];

		snprintf(fault, sizeof(fault), "%s#%u=kill",
			 points[draw(&seed, 4)], 1 + draw(&seed, 6));
		setenv("MRMR_FAULT", fault, 1);
	}
#endif
	for (;;) {
		int fd = do_open(w, "f", O_WRONLY);
		struct mrmr_undo *undo = NULL;
		unsigned int n = 1 + draw(&seed, 4);

		if (fd == -1 || mrmr_undo_open(NULL, w->pool, fd, &undo) != 0) {
			give_up("open");
		}
		while (n-- > 0) {
			struct part a = random_part(undo, fd, &seed);
			struct part b = random_part(undo, fd, &seed);
			pthread_t thread;
			bool lost;

			if (draw(&seed, 6) == 0) {
				off_t to = draw(&seed, FILE_MAX);

				if (undo != NULL &&
				    mrmr_undo_keep_cut(undo, (uint64_t)to,
						       &lost) != 0) {
					give_up("keep before a cut");
				}
				if (ftruncate(fd, to) != 0) {
					give_up("cut");
				}
				continue;
			}
			pthread_create(&thread, NULL, write_in_thread, &b);
			write_part(&a);
			pthread_join(thread, NULL);
		}
		close(fd);
		talloc_free(undo);
		usleep(draw(&seed, 60000));
	}
}

static void spawn_writer(struct file *f, pid_t *pid, unsigned int seed)
{
	*pid = fork();
	assert_return_code(*pid, errno);
	if (*pid == 0) {
		be_a_writer(f, seed);
	}
}

/* Those that were killed; nobody may end by himself. */
static void replace_dead(struct file *f, pid_t *pids, unsigned int *seed)
{
	size_t i;

	for (i = 0; i < WRITERS; i++) {
		int status;

		if (draw(seed, 20) == 0) {
			kill(pids[i], SIGKILL);
		}
		if (waitpid(pids[i], &status, WNOHANG) == pids[i]) {
			assert_true(WIFSIGNALED(status) &&
				    WTERMSIG(status) == SIGKILL);
			spawn_writer(f, &pids[i], draw(seed, 1u << 30));
		}
	}
}

struct version {
	uint32_t generation;
	char *bytes;
	size_t len;
};

static void snapshot(struct file *f, uint32_t generation, struct version *v)
{
	struct stat st;

	assert_return_code(fstat(f->fd, &st), errno);
	free(v->bytes);
	v->generation = generation;
	v->len = (size_t)st.st_size;
	v->bytes = read_version(f, generation, v->len);
	assert_non_null(v->bytes);
}

/*
 * As the protector does: a new version is there if nobody has the file open for
 * writing. Either order of declaring and looking will do; with the lease first,
 * it is what the file has at that moment.
 */
static bool protect(struct file *f, int lease_fd, struct version *v,
		    bool lease_first)
{
	uint32_t g = 0;

	if (!lease_first) {
		g = declare(f);
	}
	if (fcntl(lease_fd, F_SETLEASE, F_RDLCK) == -1) {
		assert_int_equal(errno, EAGAIN);
		return false;
	}
	if (lease_first) {
		char *bytes = NULL;

		g = declare(f);
		snapshot(f, g, v);
		bytes = malloc(v->len + 1);
		assert_int_equal(pread(f->fd, bytes, v->len, 0), v->len);
		assert_memory_equal(bytes, v->bytes, v->len);
		free(bytes);
	} else {
		snapshot(f, g, v);
	}
	assert_return_code(fcntl(lease_fd, F_SETLEASE, F_UNLCK), errno);
	return true;
}

static void disturb(struct file *f, const struct version *v, unsigned int *seed)
{
	struct mrmr_guard *guard = f->w->pool->guard;
	unsigned int i;
	uint32_t g;

	switch (draw(seed, 12)) {
	case 0: /* a reboot, as the guard sees it */
		assert_int_equal(mrmr_guard_rebuild_begin(guard), 0);
		usleep(draw(seed, 20000));
		assert_int_equal(mrmr_guard_rebuild_add(guard, &f->id, f->inode,
							v->generation),
				 0);
		assert_int_equal(mrmr_guard_rebuild_end(guard), 0);
		break;
	case 1: /* so many files that the table grows */
		for (i = 0; i < 6000; i++) {
			assert_int_equal(mrmr_guard_declare(
						 guard, &f->id,
						 1000000 + draw(seed, 1000000),
						 &g),
					 0);
		}
		break;
	case 2: /* an attempt that comes to nothing */
		declare(f);
		break;
	default:
		usleep(draw(seed, 5000));
		break;
	}
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

static void whatever_writers_do(void **state)
{
	const char *seconds = getenv("MRMR_TEST_SECONDS");
	struct world *w = new_world(NULL, "2g");
	struct file f = file_new(w, "f", FILE_MAX);
	struct version v = {.bytes = NULL};
	pid_t pids[WRITERS];
	unsigned int versions = 0;
	unsigned int checks = 0;
	unsigned int seed = (unsigned int)now_ms();
	int64_t end = now_ms() + 1000 * (seconds != NULL ? atoi(seconds) : 8);
	int lease_fd;
	size_t i;

	(void)state;
	print_message("seed %u\n", seed);
	signal(SIGIO, SIG_IGN); /* how a lease is asked back */
	close(f.fd);
	f.fd = do_open(w, "f", O_RDONLY);
	lease_fd = do_open(w, "f", O_RDONLY);
	assert_true(protect(&f, lease_fd, &v, true));
	for (i = 0; i < WRITERS; i++) {
		spawn_writer(&f, &pids[i], draw(&seed, 1u << 30));
	}
	/* On a slow machine it takes longer until there is something to see. */
	while (now_ms() < end ||
	       ((versions <= 3 || checks <= 20) && now_ms() < end + SLOW_MS)) {
		struct version next = {.bytes = NULL};

		replace_dead(&f, pids, &seed);
		disturb(&f, &v, &seed);
		check_version(&f, v.generation, v.bytes, v.len);
		checks++;
		if (draw(&seed, 4) != 0 &&
		    protect(&f, lease_fd, &next, draw(&seed, 2) == 0)) {
			/* not committed yet: both are needed */
			check_version(&f, v.generation, v.bytes, v.len);
			check_version(&f, next.generation, next.bytes,
				      next.len);
			free(v.bytes);
			v = next;
			assert_int_equal(mrmr_undo_drop(f.private_fd, f.inode,
							v.generation),
					 0);
			check_version(&f, v.generation, v.bytes, v.len);
			versions++;
		}
	}
	for (i = 0; i < WRITERS; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	check_version(&f, v.generation, v.bytes, v.len);
	print_message("%u versions, %u checks\n", versions, checks);
	assert_true(versions > 3);
	assert_true(checks > 20);
	close(lease_fd);
	free(v.bytes);
	file_free(&f);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pool_without_parity_has_none_of_it),
		cmocka_unit_test(what_is_not_protected_is_not_kept),
		cmocka_unit_test(an_overwritten_piece_is_kept),
		cmocka_unit_test(it_outlives_its_pool),
		cmocka_unit_test(generations_follow_each_other),
		cmocka_unit_test(holes_are_kept_as_holes),
		cmocka_unit_test(what_is_cut_off_is_kept),
		cmocka_unit_test(what_takes_too_long_is_given_up),
		cmocka_unit_test(no_room_keeps_the_file_as_it_is),
		cmocka_unit_test(a_user_keeps_as_root),
		cmocka_unit_test(the_protector_finds_all_of_them),
		cmocka_unit_test(kept_while_the_guard_is_not_ready),
		cmocka_unit_test(a_member_that_fails_refuses_the_write),
		cmocka_unit_test(what_is_found_is_made_durable),
		cmocka_unit_test(a_new_folder_is_made_durable),
		cmocka_unit_test(killed_while_keeping),
		cmocka_unit_test(whatever_writers_do),
	};

	return WORLD_MAIN("undo", tests);
}
