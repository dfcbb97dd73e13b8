/*
 * Unit tests: the state directory is lost, whatever happened in the share before,
 * with members away, and with one that is lost at the same time: recover makes it
 * again, with all names, and what was protected is read as it was then.
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

#include <mrmr/protector.h>
#include <mrmr/staging.h>

#include "killed.h"
#include "life.h"
#include "protecting.h"
#include "recovering.h"
#include "seeds.h"

/* --- losing it ----------------------------------------------------------------------- */

enum loss {
	LOSS_CATALOGUE,
	LOSS_AND_QUEUE, /* and what tells which bytes are to be kept */
	LOSS_ALL,
	NUM_LOSSES
};

/* The directory that smbd has as the share is made again by mrmr-admin, with the
   rights that it had. */
static void lose_all(struct world *w)
{
	int fd = open(world_path(w, "state"), O_RDONLY | O_DIRECTORY);
	struct stat st;

	assert_return_code(fd, errno);
	assert_return_code(fstatat(fd, "spine", &st, 0), errno);
	mrmr_remove_tree(fd, "spine");
	mrmr_remove_tree(fd, "ghosts");
	mrmr_remove_tree(fd, "intents");
	assert_return_code(mkdirat(fd, "spine", st.st_mode & 07777), errno);
	close(fd);
}

/* --- recover, as mrmr-admin does it ------------------------------------------------ */

static int finish(struct world *w)
{
	const struct mrmr_protect_options options = {
		.everything = true,
		.scan = true,
	};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_protect_result result;
	struct mrmr_error err = {0};
	int ret = -1;

	if (mrmr_recover_spine(engine, &err) == 0) {
		ret = mrmr_protect(engine, &options, &result, &err);
	}
	if (ret == -1) {
		print_message("recover: %s\n", err.text);
	}
	talloc_free(engine);
	return ret;
}

static int recover(struct world *w)
{
	struct mrmr_recover_result result;
	struct mrmr_error err = {0};

	if (mrmr_recover_look(w->pool, &err) != 1 &&
	    try_recover(w, false, &result, &err) == -1) {
		print_message("recover: %s\n", err.text);
		return -1;
	}
	return finish(w);
}

static void recover_in_child(struct world *w, void *private_data)
{
	(void)private_data;
	recover(w);
}

static void recover_and_die(struct life *l)
{
	static const char *const points[] = {
		"recover-step#7",    "recover-step",     "catalog-store",
		"recover-place",     "catalog-commit",   "catalog-part",
		"protect-committed", "protect-declared", "protect-synced",
	};
	char fault[64];

	snprintf(fault, sizeof(fault), "%s", points[draw(9)]);
	snprintf(fault + strlen(fault), sizeof(fault) - strlen(fault), "%s",
		 strchr(fault, '#') != NULL ? "=kill" : "#1=kill");
	say("-- recover, %s\n", fault);
	killed_at(l->w, fault, recover_in_child, NULL);
}

/* --- comparing ------------------------------------------------------------------------ */

/* Was it there when a protector came to its end, or was killed, or when a member had
   left, and a protector heard of it then? */
static bool was_there(const struct life *l, const char *path)
{
	size_t i;

	if (tree_find(l->protected, path) != NULL ||
	    (l->returned != NULL && tree_find(l->returned, path) != NULL)) {
		return true;
	}
	for (i = 0; i < l->num_tried; i++) {
		if (tree_find(l->tried[i], path) != NULL) {
			return true;
		}
	}
	return false;
}

/* It lost its name, of which nobody knows, and something else has it now. */
static bool is_hidden(const struct life *l, const struct tree_entry *before)
{
	const struct tree_entry *then = tree_find_file(l->protected, before);
	const struct tree_entry *now = tree_find(l->now, then->path);

	return now != NULL && now->member != before->member;
}

static void compare_served(struct life *l, const struct tree_entry *before)
{
	const struct tree_entry *now = tree_find_file(l->now, before);
	uint8_t *bytes = NULL;
	size_t len = 0;

	if (now == NULL && is_hidden(l, before)) {
		return;
	}
	if (now == NULL) {
		fail_msg("'%s' is not listed", before->path);
	}
	bytes = read_served(l->w, now->path, &len);
	if (!life_is_as_protected(l, before, bytes, len)) {
		fail_msg("'%s', which was '%s', has other bytes", now->path,
			 before->path);
	}
	free(bytes);
}

/* With one that is lost, what was done to its names is not known; and with any that
   is away, whether a directory was removed. */
static bool may_be_older(const struct life *l, const struct tree_entry *e,
			 size_t lost)
{
	size_t i;

	for (i = 0; i < LIFE_MEMBERS; i++) {
		if (is_away(l->w, i)) {
			return e->kind == S_IFDIR || e->member == lost;
		}
	}
	return false;
}

/* lost: a member that was there before, and is away now; or none. */
static void compare(struct life *l, const struct tree *before, size_t lost)
{
	size_t i;

	for (i = 0; i < before->num; i++) {
		const struct tree_entry *e = &before->entries[i];
		const struct tree_entry *now = tree_find(l->now, e->path);

		if (e->kind == S_IFREG && is_away(l->w, e->member) &&
		    tree_find_file(l->protected, e) != NULL) {
			compare_served(l, e);
		}
		if (now != NULL && now->kind == e->kind) {
			continue;
		}
		if (e->kind == S_IFDIR
			    ? tree_find(l->protected, e->path) != NULL
			    : e->member != lost) {
			fail_msg("'%s' is %s", e->path,
				 now == NULL ? "not there" : "something else");
		}
	}
	for (i = 0; i < l->now->num; i++) {
		const struct tree_entry *e = &l->now->entries[i];

		if (tree_find(before, e->path) == NULL &&
		    !(may_be_older(l, e, lost) && was_there(l, e->path))) {
			fail_msg("'%s' is there", e->path);
		}
	}
}

/* Was one of its files deleted, or renamed, of which nobody knows any more, and
   something else made under its name? That is left alone by a rebuild. */
static bool is_in_the_way(const struct life *l, const struct tree *before,
			  size_t lost)
{
	size_t i, j;

	for (i = 0; i <= l->num_tried; i++) {
		const struct tree *then =
			i == 0 ? l->protected : l->tried[i - 1];

		for (j = 0; j < then->num; j++) {
			const struct tree_entry *e = &then->entries[j];
			const struct tree_entry *now =
				tree_find(before, e->path);

			if (e->kind != S_IFDIR && e->member == lost &&
			    now != NULL && now->member != lost) {
				return true;
			}
		}
	}
	return false;
}

/* What else may be there when it returns. */
static struct tree *directories(const struct tree *tree)
{
	struct tree *dirs = calloc(1, sizeof(*dirs));
	size_t i;

	for (i = 0; i < tree->num; i++) {
		if (tree->entries[i].kind == S_IFDIR) {
			dirs->entries[dirs->num++] = tree->entries[i];
		}
	}
	return dirs;
}

static void forget(struct life *l)
{
	enum loss loss = draw(NUM_LOSSES);
	size_t lost = draw(3 * LIFE_MEMBERS);
	struct tree *before = NULL;
	struct tree *more = NULL;

	if (l->is_hiding) {
		return;
	}
	if (life_num_away(l) > 0) {
		life_protect(l);
		/* it has what is to be done to them when they are back */
		loss = loss == LOSS_ALL ? LOSS_AND_QUEUE : loss;
	}
	if (lost >= LIFE_MEMBERS || life_num_away(l) == LIFE_ROWS ||
	    is_away(l->w, lost)) {
		lost = LIFE_MEMBERS;
	}
	before = tree_of(l->w);
	say("-- loss %d, with %zu\n", (int)loss, lost);
	stop_serving(l->w);
	world_close(l->w);
	lose_catalogue(l->w, loss != LOSS_CATALOGUE);
	if (loss == LOSS_ALL) {
		lose_all(l->w);
	}
	if (lost < LIFE_MEMBERS) {
		world_unplug(l->w, lost);
	}
	if (draw(2) == 0) {
		recover_and_die(l);
	}
	world_open(l->w);
	assert_int_equal(recover(l->w), 0);
	serve(l->w);
	life_see(l);
	compare(l, before, lost);
	if (lost == LIFE_MEMBERS) {
		tree_free(before);
		life_protect(l);
		return;
	}
	l->left[lost] = before;
	l->last = lost;
	if (draw(2) == 0 && !is_in_the_way(l, before, lost)) {
		life_lose(l);
	}
	if (l->left[lost] == NULL) {
		life_protect(l);
		return;
	}
	l->is_hiding = true;
	more = directories(l->now);
	life_return(l, lost, more);
	tree_free(more);
	life_protect(l);
}

/* --- and again ---------------------------------------------------------------------- */

static void live(void)
{
	struct life l;
	unsigned int turns;

	life_begin(&l);
	for (turns = 5 + draw(10); turns > 0; turns--) {
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
		case 4:
		case 5:
			forget(&l);
			break;
		default:
			life_work(&l);
		}
		life_maybe_reopen(&l);
	}
	life_end(&l);
}

static void all_is_known_again(void **state)
{
	(void)state;
	for_each_seed(live);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_is_known_again),
	};

	return WORLD_MAIN("recover_random", tests);
}
