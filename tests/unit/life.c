/*
 * Unit tests: the life of a pool, drawn from a seed (see life.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drawn.h"
#include "known.h"
#include "life.h"
#include "protecting.h"
#include "seeds.h"

#define BLOCK 65536

/* --- looking -------------------------------------------------------------------- */

unsigned int life_num_away(const struct life *l)
{
	unsigned int num = 0;
	size_t i;

	for (i = 0; i < LIFE_MEMBERS; i++) {
		num += l->left[i] != NULL;
	}
	return num;
}

void life_see(struct life *l)
{
	tree_free(l->now);
	l->now = tree_of(l->w);
}

void life_expect_the_same(struct life *l, const char *when)
{
	struct tree *then = l->now;

	l->now = tree_of(l->w);
	/* a protector learns from the log what it is that is hidden */
	tree_same_names(l->now, then, l->is_hiding ? l->left[l->last] : NULL,
			when);
	tree_free(then);
}

void life_reopen(struct life *l)
{
	say("-- reopen\n");
	stop_serving(l->w);
	world_close(l->w);
	world_open(l->w);
	serve(l->w);
}

void life_maybe_reopen(struct life *l)
{
	if (draw(3) == 0) {
		life_reopen(l);
		life_expect_the_same(l, "opened again");
	}
}

/* --- what clients do ---------------------------------------------------------- */

/* Was it protected? Else it cannot be read while its member is away. */
static bool is_known(struct life *l, const char *path, size_t member)
{
	const struct tree_entry ghost = {
		.member = member,
		.inode = inode_of_ghost(l->w, path),
	};

	return tree_find_file(l->protected, &ghost) != NULL;
}

/* A file whose member is away is made anew on another one, and written there. */
static void write_something(struct life *l, const char *path)
{
	struct world *w = l->w;
	const char *slash = strrchr(path, '/');
	unsigned int seed = draw(1000);
	size_t len = draw(4) == 0 ? draw(3 * BLOCK) : draw(3000);
	struct stat st = {0};
	size_t member = SIZE_MAX;
	char parent[64];
	int error;

	if (!has_place(w, path)) {
		return;
	}
	error = do_stat(w, path, &member, &st);
	if (error == 0 && !S_ISREG(st.st_mode)) {
		return;
	}
	if (error == 0 && is_away(w, member)) {
		if (!is_known(l, path, member)) {
			return;
		}
		say("make anew %s\n", path);
		snprintf(parent, sizeof(parent), "%.*s",
			 slash != NULL ? (int)(slash - path) : 0, path);
		client_make_anew(w, parent, slash != NULL ? slash + 1 : path);
	}
	client_write(w, path, seed, len);
	say("write %s, on %zu\n", path, do_where(w, path));
}

static void told(int error, const char *what, const char *path, const char *to)
{
	if (error == 0) {
		say("%s %s %s\n", what, path, to);
	}
}

void life_do_something(struct life *l)
{
	struct world *w = l->w;
	unsigned int what = draw(10);
	const char *from = what == 4 ? any_dir() : any_path();
	const char *to = what == 4 ? any_dir() : any_path();

	switch (what) {
	case 0:
	case 1:
		write_something(l, from);
		break;
	case 2:
	case 3:
	case 4:
		told(do_rename(w, from, to), "rename", from, to);
		break;
	case 5:
		told(do_unlink(w, from), "unlink", from, "");
		break;
	case 6:
		to = any_dir();
		told(do_mkdir(w, to, 0755), "mkdir", to, "");
		break;
	case 7:
		to = any_dir();
		told(do_rmdir(w, to), "rmdir", to, "");
		break;
	case 8:
		told(do_link(w, from, to), "link", from, to);
		break;
	default:
		told(do_symlink(w, "somewhere", to), "symlink", to, "");
		break;
	}
}

void life_work(struct life *l)
{
	unsigned int n;

	/* what is hidden would be in the way, where it is */
	for (n = l->is_hiding ? 0 : 1 + draw(20); n > 0; n--) {
		life_do_something(l);
	}
	life_see(l);
}

/* --- the protector ---------------------------------------------------------------- */

/* Of what is away, it has what it had. */
static void carry_over(const struct life *l, struct tree *protected)
{
	size_t i;

	for (i = 0; i < protected->num; i++) {
		struct tree_entry *e = &protected->entries[i];
		const struct tree_entry *was = NULL;

		if (e->kind != S_IFREG || l->left[e->member] == NULL) {
			continue;
		}
		was = tree_find_file(l->protected, e);
		if (was == NULL || was->bytes == NULL) {
			e->inode = 0; /* nothing is known of it */
			continue;
		}
		e->len = was->len;
		e->bytes = malloc(e->len + 1);
		memcpy(e->bytes, was->bytes, e->len);
	}
}

/* A process has the catalogue open once only. */
void life_protect(struct life *l)
{
	struct tree *protected = NULL;

	say("-- protect\n");
	stop_serving(l->w);
	protect(l->w);
	serve(l->w);
	life_expect_the_same(l, "protected");
	protected = tree_of(l->w);
	carry_over(l, protected);
	tree_free(l->protected);
	l->protected = protected;
	/* of what is away, what a protector that was killed had protected stays so */
	while (l->num_tried > 0 && life_num_away(l) == 0) {
		tree_free(l->tried[--l->num_tried]);
	}
}

void life_protect_and_die(struct life *l)
{
	static const char *const points[] = {
		"protect-events", "protect-declared",  "protect-applied",
		"protect-synced", "protect-committed", "protect-before-drop",
		"blob-rename",    "catalog-commit",    "catalog-part",
		"queue-taken",    "trash-left",        "trash-unlink",
	};
	char fault[64];

	if (l->num_tried >= LIFE_TRIED_MAX) {
		life_protect(l);
	}
	if (l->num_tried >= LIFE_TRIED_MAX) {
		return;
	}
	l->tried[l->num_tried++] = tree_of(l->w);
	snprintf(fault, sizeof(fault), "%s#%u=kill", points[draw(12)],
		 1 + draw(3));
	say("-- protect, %s\n", fault);
	stop_serving(l->w);
	protect_killed(l->w, fault);
	serve(l->w);
	life_expect_the_same(l, "a protector was killed");
}

/* --- a member leaves and returns -------------------------------------------------- */

bool life_is_as_protected(const struct life *l, const struct tree_entry *e,
			  const uint8_t *bytes, size_t len)
{
	size_t i;

	if (tree_has_bytes(tree_find_file(l->protected, e), bytes, len)) {
		return true;
	}
	for (i = 0; i < l->num_tried; i++) {
		if (tree_has_bytes(tree_find_file(l->tried[i], e), bytes,
				   len)) {
			return true;
		}
	}
	return false;
}

/* What no protector had heard of need not be listed any more. */
static bool hides(const struct life *l, const struct tree *before, size_t away)
{
	size_t i;

	for (i = 0; i < before->num; i++) {
		const struct tree_entry *e = &before->entries[i];
		const struct tree_entry *now = tree_find(l->now, e->path);

		if (e->kind != S_IFDIR && e->member == away &&
		    tree_find_file(l->protected, e) == NULL &&
		    (now == NULL || now->kind != e->kind)) {
			return true;
		}
	}
	return false;
}

bool life_leave(struct life *l)
{
	size_t away = draw(LIFE_MEMBERS);

	if (life_num_away(l) == LIFE_ROWS || is_away(l->w, away) ||
	    l->is_hiding) {
		return false;
	}
	life_see(l);
	l->left[away] = l->now;
	l->now = NULL;
	say("-- %zu leaves\n", away);
	l->last = away;
	world_unplug(l->w, away);
	world_later(l->w);
	if (draw(3) == 0) {
		life_reopen(l);
	}
	life_see(l);
	l->is_hiding = hides(l, l->left[away], away);
	return true;
}

/* What is on it has the bytes that it had. */
void life_return(struct life *l, size_t member, const struct tree *more)
{
	struct tree *left = l->left[member];
	bool was_hiding = l->is_hiding;
	size_t i;

	say("-- %zu returns\n", member);
	world_plug(l->w, member);
	l->left[member] = NULL;
	if (draw(2) == 0) {
		life_reopen(l);
	}
	world_later(l->w);
	if (was_hiding) {
		/* it was the last that left, and nothing was done since */
		life_see(l);
		tree_same_names(l->now, left, more, "back");
		l->is_hiding = false;
	} else {
		life_expect_the_same(l, "back");
	}
	for (i = 0; i < l->now->num; i++) {
		const struct tree_entry *e = &l->now->entries[i];
		const struct tree_entry *was = tree_find_file(left, e);

		if (e->kind == S_IFREG && e->member == member &&
		    (was == NULL || e->len != was->len ||
		     memcmp(e->bytes, was->bytes, e->len) != 0)) {
			fail_msg("'%s' is back with other bytes", e->path);
		}
	}
	tree_free(l->returned);
	l->returned = left;
}

void life_come_back(struct life *l)
{
	size_t first = draw(LIFE_MEMBERS);
	size_t i;

	for (i = 0; i < LIFE_MEMBERS; i++) {
		size_t member = (first + i) % LIFE_MEMBERS;

		if (l->left[member] != NULL &&
		    (!l->is_hiding || member == l->last)) {
			life_return(l, member, NULL);
			return;
		}
	}
}

/* --- begin and end ------------------------------------------------------------------ */

void life_begin(struct life *l)
{
	const struct world_shape shape = {
		.num_members = LIFE_MEMBERS,
		.parity = "2",
		.config = ", \"block_size\": \"64K\"",
	};

	*l = (struct life){.w = world_new(&shape)};
	serve(l->w);
	life_work(l);
	life_protect(l);
}

void life_end(struct life *l)
{
	while (life_num_away(l) > 0) {
		life_come_back(l);
	}
	life_protect(l);
	assert_int_equal(l->num_tried, 0);
	stop_serving(l->w);
	verify_known(l->w);
	verify_decodable(l->w);
	tree_free(l->now);
	tree_free(l->protected);
	tree_free(l->returned);
	world_free(l->w);
}
