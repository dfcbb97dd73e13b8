/*
 * Unit tests: the life of a pool: a member that left does not return (see life.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <talloc.h>

#include "killed.h"
#include "life.h"
#include "protecting.h"
#include "seeds.h"

bool life_accept_loss(const struct mrmr_rebuild_result *result,
		      void *private_data)
{
	(void)result;
	(void)private_data;
	return true; /* what nobody has protected */
}

void life_tell(enum mrmr_rebuild_trouble kind, const char *path,
	       uint64_t size_bytes, const char *why, void *private_data)
{
	(void)private_data;
	say("   trouble %d, %s of %llu bytes: %s\n", (int)kind, path,
	    (unsigned long long)size_bytes, why);
}

static int rebuild(struct world *w, size_t lost,
		   struct mrmr_rebuild_result *result)
{
	const struct mrmr_rebuild_options options = {
		.lost = lost,
		.onto = MRMR_REBUILD_SPREAD,
		.trouble = life_tell,
		.accept_loss = life_accept_loss,
	};
	struct mrmr_engine *engine = open_engine(w, MRMR_ENGINE_WRITE);
	struct mrmr_error err = {0};
	int ret = mrmr_rebuild(engine, &options, result, &err);

	if (ret == -1) {
		print_message("rebuild: %s\n", err.text);
	}
	talloc_free(engine);
	return ret;
}

/* False: by what has been heard since, something is left. */
static bool let_leave(struct world *w, size_t lost)
{
	struct mrmr_engine *engine = NULL;
	struct mrmr_error err = {0};
	int ret;

	protect_names(w);
	engine = open_engine(w, MRMR_ENGINE_WRITE);
	ret = mrmr_rebuild_forget(engine, lost, &err);
	talloc_free(engine);
	if (ret == -1) {
		assert_int_equal(err.code, EBUSY);
	}
	return ret == 0;
}

static void rebuild_in_child(struct world *w, void *private_data)
{
	struct mrmr_rebuild_result result;

	rebuild(w, *(size_t *)private_data, &result);
}

static void rebuild_and_die(struct life *l, size_t lost)
{
	static const char *const points[] = {
		"rebuild-attributes", "rebuild-sync",   "rebuild-stage",
		"rebuild-row",        "rebuild-place",  "rebuild-placed",
		"rebuild-give-up",    "rebuild-commit", "rebuild-write",
	};
	char fault[64];

	snprintf(fault, sizeof(fault), "%s#%u=kill", points[draw(9)],
		 1 + draw(3));
	say("-- rebuild, %s\n", fault);
	killed_at(l->w, fault, rebuild_in_child, &lost);
}

/* All that was protected is elsewhere, as it was protected. */
static void compare_rebuilt(struct life *l, const struct tree *before,
			    size_t lost)
{
	size_t i;

	for (i = 0; i < before->num; i++) {
		const struct tree_entry *e = &before->entries[i];
		const struct tree_entry *now = tree_find(l->now, e->path);

		if (e->kind == S_IFDIR || e->member != lost) {
			if (now == NULL || now->kind != e->kind ||
			    (e->kind != S_IFDIR && now->inode != e->inode)) {
				fail_msg("'%s' is not what it was", e->path);
			}
			continue;
		}
		if (e->kind == S_IFREG &&
		    tree_find_file(l->protected, e) == NULL) {
			continue;
		}
		if (now == NULL || now->kind != e->kind) {
			fail_msg("'%s' is not there again", e->path);
		}
		assert_int_not_equal(now->member, lost);
		if (e->kind == S_IFREG &&
		    !life_is_as_protected(l, e, now->bytes, now->len)) {
			fail_msg("'%s' is there with other bytes", e->path);
		}
	}
	for (i = 0; i < l->now->num; i++) {
		if (tree_find(before, l->now->entries[i].path) == NULL) {
			fail_msg("'%s' is listed", l->now->entries[i].path);
		}
	}
}

/* What is there again is protected. */
static void take_rebuilt(struct life *l, const struct tree *before, size_t lost)
{
	struct tree *protected = tree_of(l->w);
	size_t i;

	for (i = 0; i < protected->num; i++) {
		struct tree_entry *e = &protected->entries[i];
		const struct tree_entry *then = tree_find(before, e->path);
		const struct tree_entry *was = tree_find_file(l->protected, e);

		if (e->kind == S_IFDIR || then->member == lost) {
			continue;
		}
		if (was == NULL || (e->kind == S_IFREG && was->bytes == NULL)) {
			e->inode = 0;
			continue;
		}
		if (e->kind != S_IFREG) {
			continue;
		}
		e->len = was->len;
		e->bytes = realloc(e->bytes, e->len + 1);
		memcpy(e->bytes, was->bytes, e->len);
	}
	tree_free(l->protected);
	l->protected = protected;
}

bool life_may_lose(const struct life *l)
{
	return l->num_lost < LIFE_LOST_MAX && !l->is_hiding &&
	       l->left[l->last] != NULL;
}

void life_lose(struct life *l)
{
	struct mrmr_rebuild_result result;
	struct tree *before = NULL;
	size_t lost = l->last;
	bool has_protected = false;
	bool has_left = false;
	unsigned int runs;

	if (!life_may_lose(l)) {
		return;
	}
	before = tree_of(l->w);
	stop_serving(l->w);
	if (draw(2) == 0) {
		rebuild_and_die(l, lost);
	}
	/* as mrmr-admin does it */
	for (runs = 0; runs < 10 && !has_left; runs++) {
		say("-- rebuild %zu\n", lost);
		assert_int_equal(rebuild(l->w, lost, &result), 0);
		if (result.is_complete) {
			has_left = let_leave(l->w, lost);
			continue;
		}
		/* the log says that a file was deleted */
		protect(l->w);
		has_protected = true;
	}
	assert_true(has_left);
	serve(l->w);
	life_see(l);
	compare_rebuilt(l, before, lost);
	take_rebuilt(l, before, lost);
	l->num_lost++;
	tree_free(l->left[lost]);
	l->left[lost] = NULL;
	if (has_protected) {
		l->tried[l->num_tried++] = before;
	} else {
		tree_free(before);
	}
}
