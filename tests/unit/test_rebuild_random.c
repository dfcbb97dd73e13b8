/*
 * Unit tests: clients and protectors work beside a rebuild, which is killed now and
 * then: nothing of it is seen but that what was lost is on other members, with the
 * bytes that were protected.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/protector.h>

#include "life.h"
#include "protecting.h"
#include "seeds.h"

/* --- the rebuild, in a process of its own ------------------------------------------- */

enum word {
	WORD_STOPPED, /* after a commit; waits for an answer */
	WORD_GO_ON,
	WORD_PROTECT, /* a protector has the engine for a while */
};

enum ending {
	ENDING_COMPLETE,
	ENDING_LEFT, /* something is */
	ENDING_FAILED,
};

struct rebuilding {
	struct mrmr_engine *engine; /* in the child */
	pid_t pid;
	int fd; /* of either, to the other */
};

static bool say_word(const struct rebuilding *r, enum word word)
{
	const char byte = (char)word;

	return write(r->fd, &byte, 1) == 1;
}

/* False: the other one has come to its end. */
static bool hear_word(const struct rebuilding *r, enum word *word)
{
	char byte;

	if (read(r->fd, &byte, 1) != 1) {
		return false;
	}
	*word = (enum word)byte;
	return true;
}

/* Until it is told to go on. */
static int stop(struct mrmr_error *err, void *private_data)
{
	const struct mrmr_protect_options options = {.everything = true};
	const struct rebuilding *r = private_data;
	struct mrmr_protect_result result;
	enum word word;

	do {
		if (!say_word(r, WORD_STOPPED) || !hear_word(r, &word)) {
			_exit(ENDING_FAILED);
		}
		if (word == WORD_PROTECT &&
		    mrmr_protect(r->engine, &options, &result, err) == -1) {
			return -1;
		}
	} while (word != WORD_GO_ON);
	return 0;
}

/* As mrmr-admin does it, before and afterwards. */
static void hear(const struct rebuilding *r)
{
	const struct mrmr_protect_options options = {.names_only = true};
	struct mrmr_protect_result result;
	struct mrmr_error err = {0};

	if (mrmr_protect(r->engine, &options, &result, &err) == -1) {
		print_message("rebuild: %s\n", err.text);
		_exit(ENDING_FAILED);
	}
}

/* False: it has heard of something that is left. */
static bool let_leave(const struct rebuilding *r, size_t lost)
{
	struct mrmr_error err = {0};

	hear(r);
	if (mrmr_rebuild_forget(r->engine, lost, &err) == 0) {
		return true;
	}
	print_message("rebuild: %s\n", err.text);
	if (err.code != EBUSY) {
		_exit(ENDING_FAILED);
	}
	return false;
}

static void rebuild_in_child(struct world *w, size_t lost, struct rebuilding *r)
{
	const struct mrmr_rebuild_options options = {
		.lost = lost,
		.onto = MRMR_REBUILD_SPREAD,
		.batch_bytes = 1, /* a commit for each file */
		.accept_loss = life_accept_loss,
		.between = stop,
		.trouble = life_tell,
		.private_data = r,
	};
	struct mrmr_rebuild_result result;
	struct mrmr_error err = {0};
	bool has_left;

	world_open_in_child(w);
	r->engine = open_engine(w, MRMR_ENGINE_WRITE);
	if (draw(2) == 0) {
		hear(r);
	}
	if (mrmr_rebuild(r->engine, &options, &result, &err) == -1) {
		print_message("rebuild: %s\n", err.text);
		_exit(ENDING_FAILED);
	}
	has_left = result.is_complete && let_leave(r, lost);
	talloc_free(r->engine);
	_exit(has_left ? ENDING_COMPLETE : ENDING_LEFT);
}

/* A process has the catalogue open once only, and so has its child. */
static void begin(struct life *l, size_t lost, struct rebuilding *r)
{
	int fds[2];

	say("-- rebuild %zu\n", lost);
	stop_serving(l->w);
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				      fds),
			   errno);
	*r = (struct rebuilding){.pid = fork()};
	assert_return_code(r->pid, errno);
	r->fd = fds[r->pid == 0];
	close(fds[r->pid != 0]);
	if (r->pid == 0) {
		rebuild_in_child(l->w, lost, r);
	}
	serve(l->w);
}

static enum ending end(struct rebuilding *r)
{
	int status = 0;

	close(r->fd);
	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	assert_true(WIFEXITED(status));
	assert_int_not_equal(WEXITSTATUS(status), ENDING_FAILED);
	return (enum ending)WEXITSTATUS(status);
}

static void kill_it(struct rebuilding *r)
{
	int status = 0;

	say("-- it is killed\n");
	assert_return_code(kill(r->pid, SIGKILL), errno);
	assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
	close(r->fd);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* --- beside it ----------------------------------------------------------------------- */

static bool has_bytes_of_any(const struct tree *tree,
			     const struct tree_entry *file)
{
	size_t i;

	for (i = 0; i < tree->num; i++) {
		if (tree_has_bytes(&tree->entries[i], file->bytes, file->len)) {
			return true;
		}
	}
	return false;
}

/* It was made anew on the lost member, and not protected there yet: then it comes back
   as it was before, elsewhere. */
static bool may_be_older(const struct life *l, const struct tree_entry *was,
			 const struct tree_entry *now)
{
	return tree_find_file(l->protected, was) == NULL &&
	       has_bytes_of_any(l->protected, now);
}

/* One that was on the lost member is still missing, or it has come back. */
static void compare_lost(const struct life *l, const struct tree_entry *was,
			 const struct tree_entry *now)
{
	if (now == NULL) {
		if (tree_find_file(l->protected, was) != NULL) {
			fail_msg("'%s' is not there", was->path);
		}
		return; /* it was given up */
	}
	if (now->kind != was->kind) {
		fail_msg("'%s' is something else", was->path);
	}
	if (now->member == was->member && now->inode != was->inode) {
		fail_msg("'%s' is another file", was->path);
	}
	if (now->member != was->member && was->kind == S_IFREG &&
	    !life_is_as_protected(l, was, now->bytes, now->len) &&
	    !may_be_older(l, was, now)) {
		fail_msg("'%s' has come back with other bytes", was->path);
	}
}

/* Nobody has done anything but the rebuild. */
static void compare(struct life *l, size_t lost)
{
	struct tree *then = l->now;
	size_t i;

	l->now = tree_of(l->w);
	for (i = 0; i < then->num; i++) {
		const struct tree_entry *was = &then->entries[i];
		const struct tree_entry *now = tree_find(l->now, was->path);

		if (was->kind != S_IFDIR && was->member == lost) {
			compare_lost(l, was, now);
		} else if (now == NULL || now->kind != was->kind ||
			   (was->kind != S_IFDIR && now->inode != was->inode) ||
			   (was->kind == S_IFREG && was->bytes != NULL &&
			    !tree_has_bytes(now, was->bytes, was->len))) {
			fail_msg("'%s' is not what it was", was->path);
		}
	}
	for (i = 0; i < l->now->num; i++) {
		if (tree_find(then, l->now->entries[i].path) == NULL) {
			fail_msg("'%s' is there", l->now->entries[i].path);
		}
	}
	tree_free(then);
}

/* True: it has come to its end. */
static bool run_beside(struct life *l, size_t lost, struct rebuilding *r)
{
	enum word word;
	unsigned int n;

	while (hear_word(r, &word)) {
		compare(l, lost);
		for (n = draw(4); n > 0; n--) {
			life_do_something(l);
		}
		life_see(l);
		if (draw(12) == 0) {
			kill_it(r);
			return false;
		}
		if (!say_word(r, draw(6) == 0 ? WORD_PROTECT : WORD_GO_ON)) {
			break;
		}
	}
	return true;
}

static void lose(struct life *l)
{
	struct rebuilding r;
	enum ending ending = ENDING_LEFT;
	size_t lost = l->last;
	unsigned int runs;

	if (!life_may_lose(l)) {
		return;
	}
	life_see(l);
	for (runs = 0; runs < 20 && ending != ENDING_COMPLETE; runs++) {
		begin(l, lost, &r);
		if (!run_beside(l, lost, &r)) {
			continue;
		}
		ending = end(&r);
		compare(l, lost);
		if (ending == ENDING_LEFT) {
			/* the log says that a file was deleted; mrmr-admin does
			   both in turns */
			stop_serving(l->w);
			protect(l->w);
			serve(l->w);
			compare(l, lost);
		}
	}
	assert_int_equal(ending, ENDING_COMPLETE);
	l->num_lost++;
	tree_free(l->left[lost]);
	l->left[lost] = NULL;
	life_protect(l);
}

/* --- and again ---------------------------------------------------------------------- */

static void live(void)
{
	struct life l;
	unsigned int turns;

	life_begin(&l);
	for (turns = 4 + draw(12); turns > 0; turns--) {
		switch (draw(8)) {
		case 0:
			life_protect(&l);
			break;
		case 1:
			life_protect_and_die(&l);
			break;
		case 2:
			life_leave(&l);
			break;
		case 3:
			life_come_back(&l);
			break;
		default:
			life_work(&l);
		}
		life_maybe_reopen(&l);
	}
	if (life_num_away(&l) == 0) {
		life_leave(&l);
	}
	lose(&l);
	life_work(&l);
	life_protect_and_die(&l);
	life_end(&l);
}

static void beside_a_rebuild(void **state)
{
	(void)state;
	for_each_seed(live);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(beside_a_rebuild),
	};

	return WORLD_MAIN("rebuild_random", tests);
}
