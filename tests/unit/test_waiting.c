/*
 * Unit tests: who closes a file and waits until it is protected (mrmr:protect =
 * wait), while the protector is at others, or at what the file had before.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>
#include <xxhash.h>

#include <mrmr/guard.h>
#include <mrmr/shared.h>

#include "protecting.h"

#define BLOCK 65536u
#define MOMENT_US 300000

static struct world *make(void)
{
	struct world *w = world_new(&(struct world_shape){
		.num_members = 4,
		.parity = "1",
		.config = ", \"block_size\": \"64K\"",
	});

	protect(w);
	return w;
}

/* A client closes a file while a protector is at it, and waits. */
struct closing {
	struct world *w;
	const char *path;
	uint64_t begins_with; /* it is closed once this inode is declared */
	size_t len;           /* it is written then; 0: it was before */
	pid_t pid;            /* who waits, */
	int tell_fd;          /* and when to begin */
	bool waits;
};

static const struct mrmr_uuid *id_of(struct world *w, size_t member)
{
	return &w->pool->members[member].config->id;
}

/* 0: when it has waited, what the file has is protected. */
static int wait_and_ask(struct world *w, const char *path, int told_fd)
{
	const struct mrmr_protector_command command = {.path = "/bin/true"};
	struct mrmr_standing standing = {0};
	struct mrmr_engine *engine = NULL;
	struct mrmr_error err = {0};
	struct stat st;
	size_t member;
	char byte;

	world_open_in_child(w);
	if (read(told_fd, &byte, 1) != 1 ||
	    do_stat(w, path, &member, &st) != 0 ||
	    mrmr_protector_wait(w->pool, &command, id_of(w, member), st.st_ino,
				INT64_C(60000000000)) == -1) {
		return 2;
	}
	engine = mrmr_engine_open(NULL, w->pool, MRMR_ENGINE_READ, &err);
	if (engine == NULL || mrmr_protector_ask(engine, engine, member, path,
						 &st, &standing) == -1) {
		return 3;
	}
	return standing.node == NULL || standing.is_pending ||
	       !standing.is_as_known;
}

/* Before the catalogue is opened here: a process may open it once. */
static void fork_waiter(struct closing *c)
{
	int fds[2];

	assert_return_code(pipe(fds), errno);
	c->pid = fork();
	assert_return_code(c->pid, errno);
	if (c->pid == 0) {
		_exit(wait_and_ask(c->w, c->path, fds[0]));
	}
	close(fds[0]);
	c->tell_fd = fds[1];
}

static bool somebody_waits(const struct mrmr_pool *pool)
{
	size_t i;

	for (i = 0; i < MRMR_SHARED_WAITS; i++) {
		if (atomic_load(&pool->shared->protect.waits[i]) != 0) {
			return true;
		}
	}
	return false;
}

static void begin_to_wait(struct closing *c)
{
	assert_int_equal(write(c->tell_fd, "", 1), 1);
	while (!somebody_waits(c->w->pool)) {
		usleep(1000);
	}
	c->waits = true;
}

static bool close_it_now(void *private_data)
{
	struct closing *c = private_data;
	struct mrmr_pool *pool = c->w->pool;
	size_t i;

	for (i = 0; !c->waits && i < pool->num_members; i++) {
		if (mrmr_guard_find(pool->guard, id_of(c->w, i),
				    c->begins_with) == 0) {
			continue;
		}
		client_write(c->w, c->path, 7, c->len);
		begin_to_wait(c);
	}
	return false;
}

/* Who waits no more looks before the next batch. */
static void leave_time(const struct mrmr_protect_progress *progress,
		       void *private_data)
{
	(void)progress;
	(void)private_data;
	usleep(MOMENT_US);
}

static void check_waits(struct closing *c, uint64_t batch_bytes)
{
	const struct mrmr_protect_options options = {
		.everything = true,
		.batch_bytes = batch_bytes,
		.progress = leave_time,
		.should_stop = c->len > 0 ? close_it_now : NULL,
		.private_data = c,
	};
	struct mrmr_protector_turn *turn = NULL;
	struct mrmr_engine *engine = NULL;
	struct mrmr_protect_result result;
	int status = 0;

	fork_waiter(c);
	turn = mrmr_protector_enter(NULL, c->w->pool, true, NULL);
	engine = open_engine(c->w, MRMR_ENGINE_WRITE);
	if (c->len == 0) {
		begin_to_wait(c);
	}
	assert_int_equal(mrmr_protect(engine, &options, &result, NULL), 0);
	talloc_free(engine);
	talloc_free(turn);
	assert_true(c->waits);
	close(c->tell_fd);
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	assert_int_equal(status, 0);
	world_free(c->w);
}

static uint64_t inode_of(struct world *w, const char *path, size_t *member)
{
	struct stat st;

	assert_int_equal(do_stat(w, path, member, &st), 0);
	return st.st_ino;
}

static void test_for_all_of_it(void **state)
{
	struct closing c = {.w = make(), .path = "large"};

	client_write(c.w, "large", 1, 10 * BLOCK);
	check_waits(&c, 2 * BLOCK);
}

static void test_for_what_it_has_now(void **state)
{
	struct closing c = {.w = make(), .path = "f", .len = 7000};
	size_t member;

	client_write(c.w, "f", 1, 5000);
	c.begins_with = inode_of(c.w, "f", &member);
	check_waits(&c, 0);
}

/* In the page, for who waits for it. */
static uint64_t place_of(struct world *w, const char *path, uint64_t *inode)
{
	size_t member;

	*inode = inode_of(w, path, &member);
	return XXH3_64bits_withSeed(id_of(w, member)->byte, 16, *inode) %
	       MRMR_SHARED_WAITS;
}

/* Another file, which has the same place, is protected first. */
static void test_beside_another_one(void **state)
{
	struct closing c = {.w = make(), .path = "f", .len = 7000};
	uint64_t place;
	uint64_t inode;
	char path[16];
	unsigned int i;

	assert_int_equal(do_create(c.w, "f", ""), 0);
	place = place_of(c.w, "f", &inode);
	for (i = 0; i < 20000; i++) {
		snprintf(path, sizeof(path), "g%u", i);
		world_write(world_member(c.w, 0, path), "beside");
		if (place_of(c.w, path, &c.begins_with) == place) {
			break;
		}
		assert_return_code(unlink(world_member(c.w, 0, path)), errno);
	}
	assert_true(i < 20000);
	protect(c.w);
	client_write(c.w, path, 2, 3000);
	check_waits(&c, 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_for_all_of_it),
	cmocka_unit_test(test_for_what_it_has_now),
	cmocka_unit_test(test_beside_another_one),
};

int main(void)
{
	return WORLD_MAIN("waiting", tests);
}
