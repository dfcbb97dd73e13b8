/*
 * Unit tests: whatever happens in the share before members leave, while they are
 * away, and whether or not a protector has heard of it: the names stay what they
 * are, and what was protected is read as it was then.
 *
 * MRMR_TEST_SECONDS says how long (default 6), MRMR_TEST_SEED with which seed
 * first (default 1).
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
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/rebuild.h>

#include "killed.h"
#include "protecting.h"

#define NUM_MEMBERS 6
#define NUM_ROWS 2
#define MAX_TRIED 4
#define NUM_NAMES 6
#define BLOCK 65536

static unsigned int state_of_draw;

static unsigned int draw(unsigned int below)
{
	state_of_draw = state_of_draw * 1103515245 + 12345;
	return (state_of_draw >> 8) % below;
}

/* What happens is told when a seed is looked at. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	va_list args;

	if (getenv("MRMR_TEST_SEED") == NULL) {
		return;
	}
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	fflush(stdout);
}

/* --- what is in the share ------------------------------------------------------- */

struct entry {
	char path[64];
	mode_t kind;
	size_t member;
	ino_t inode;
	size_t len;
	uint8_t *bytes; /* of a file whose member is there */
};

struct tree {
	struct entry entries[256];
	size_t num;
};

static bool is_away(const struct world *w, size_t member)
{
	return w->pool->members[member].state != MRMR_MEMBER_ONLINE;
}

static uint8_t *read_all(struct world *w, const char *path, size_t len)
{
	uint8_t *bytes = malloc(len + 1);
	int fd = do_open(w, path, O_RDONLY);

	assert_return_code(fd, errno);
	assert_int_equal(pread(fd, bytes, len, 0), len);
	close(fd);
	return bytes;
}

/* What it has on its member. */
static ino_t inode_of_ghost(struct world *w, const char *path)
{
	int fd = do_open(w, path, O_PATH | O_NOFOLLOW);
	struct mrmr_ghost ghost;

	assert_return_code(fd, errno);
	assert_return_code(mrmr_ghost_read(fd, &ghost), errno);
	close(fd);
	return ghost.inode;
}

static void walk_below(struct world *w, const char *dir, struct tree *tree)
{
	char *names = strdup(do_list(w, dir));
	char *rest = names;
	char *name = NULL;

	while ((name = strsep(&rest, " ")) != NULL) {
		struct entry *e = &tree->entries[tree->num];
		struct stat st;

		if (name[0] == '\0') {
			continue;
		}
		assert_true(tree->num < 256);
		tree->num++;
		*e = (struct entry){0};
		name[strcspn(name, "/")] = '\0';
		snprintf(e->path, sizeof(e->path), "%s%s%s", dir,
			 dir[0] != '\0' ? "/" : "", name);
		if (do_stat(w, e->path, &e->member, &st) != 0) {
			fail_msg("'%s' is listed, and not there", e->path);
		}
		e->kind = st.st_mode & S_IFMT;
		e->inode = st.st_ino;
		e->len = (size_t)st.st_size;
		if (e->kind == S_IFREG && is_away(w, e->member)) {
			e->inode = inode_of_ghost(w, e->path);
		}
		if (e->kind == S_IFDIR) {
			walk_below(w, e->path, tree);
		} else if (e->kind == S_IFREG && !is_away(w, e->member)) {
			e->bytes = read_all(w, e->path, e->len);
		}
	}
	free(names);
}

static struct tree *walk(struct world *w)
{
	struct tree *tree = calloc(1, sizeof(*tree));

	walk_below(w, "", tree);
	return tree;
}

static void tree_free(struct tree *tree)
{
	size_t i;

	for (i = 0; tree != NULL && i < tree->num; i++) {
		free(tree->entries[i].bytes);
	}
	free(tree);
}

static const struct entry *find(const struct tree *tree, const char *path)
{
	size_t i;

	for (i = 0; i < tree->num; i++) {
		if (strcmp(tree->entries[i].path, path) == 0) {
			return &tree->entries[i];
		}
	}
	return NULL;
}

/* By whatever name. */
static const struct entry *find_file(const struct tree *tree,
				     const struct entry *like)
{
	size_t i;

	for (i = 0; i < tree->num; i++) {
		const struct entry *e = &tree->entries[i];

		if (e->kind != S_IFDIR && e->member == like->member &&
		    e->inode == like->inode) {
			return e;
		}
	}
	return NULL;
}

/* more: what may be there as well; NULL: nothing. */
static void assert_same_names(const struct tree *now, const struct tree *then,
			      const struct tree *more, const char *when)
{
	size_t i;

	for (i = 0; i < then->num; i++) {
		const struct entry *e = find(now, then->entries[i].path);

		if (e == NULL || e->kind != then->entries[i].kind) {
			fail_msg("%s: '%s' is %s", when, then->entries[i].path,
				 e == NULL ? "not there" : "something else");
		}
	}
	for (i = 0; i < now->num; i++) {
		const char *path = now->entries[i].path;

		if (find(then, path) == NULL &&
		    (more == NULL || find(more, path) == NULL)) {
			fail_msg("%s: '%s' is there", when, path);
		}
	}
}

/* --- a life ------------------------------------------------------------------------ */

struct life {
	struct world *w;
	struct tree *now; /* the share, as it was last seen */
	/* when a protector had come to its end for the last time, and when others
	   were killed since */
	struct tree *protected;
	struct tree *tried[MAX_TRIED];
	size_t num_tried;
	struct tree
		*left[NUM_MEMBERS]; /* when a member left; NULL: it is there */
	size_t last;                /* that left */
	bool has_lost;  /* one that was rebuilt, and does not return */
	bool is_hiding; /* what no protector had heard of left with it */
};

static unsigned int num_away(const struct life *l)
{
	unsigned int num = 0;
	size_t i;

	for (i = 0; i < NUM_MEMBERS; i++) {
		num += l->left[i] != NULL;
	}
	return num;
}

static void see(struct life *l)
{
	tree_free(l->now);
	l->now = walk(l->w);
}

/* Nothing has happened that a client should see. */
static void expect_the_same(struct life *l, const char *when)
{
	struct tree *then = l->now;

	l->now = walk(l->w);
	/* a protector learns from the log what it is that is hidden */
	assert_same_names(l->now, then, l->is_hiding ? l->left[l->last] : NULL,
			  when);
	tree_free(then);
}

static void reopen(struct life *l)
{
	say("-- reopen\n");
	stop_serving(l->w);
	world_close(l->w);
	world_open(l->w);
	serve(l->w);
}

static void maybe_reopen(struct life *l)
{
	if (draw(3) == 0) {
		reopen(l);
		expect_the_same(l, "opened again");
	}
}

/* --- what clients do ---------------------------------------------------------- */

static const char *any_path(void)
{
	static const char *const dirs[] = {"", "", "a/", "b/", "a/c/", "b/d/"};
	static char paths[4][64];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%sn%u", dirs[draw(6)],
		 draw(NUM_NAMES));
	return path;
}

static const char *any_dir(void)
{
	static const char *const names[] = {"a", "b", "a/c", "b/d", "a/e"};

	return names[draw(5)];
}

static mode_t kind_of(struct world *w, const char *path)
{
	struct stat st;
	size_t member;

	return do_stat(w, path, &member, &st) == 0 ? st.st_mode & S_IFMT : 0;
}

/* Was it protected? Else it cannot be read while its member is away. */
static bool is_known(struct life *l, const char *path, size_t member)
{
	const struct entry ghost = {
		.member = member,
		.inode = inode_of_ghost(l->w, path),
	};

	return find_file(l->protected, &ghost) != NULL;
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

	snprintf(parent, sizeof(parent), "%.*s",
		 slash != NULL ? (int)(slash - path) : 0, path);
	if (parent[0] != '\0' && kind_of(w, parent) != S_IFDIR) {
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

/* Most of these fail, as what they need is not there, or is in the way. */
static void do_something(struct life *l)
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

static void work(struct life *l)
{
	unsigned int n;

	/* what is hidden would be in the way, where it is */
	for (n = l->is_hiding ? 0 : 1 + draw(20); n > 0; n--) {
		do_something(l);
	}
	see(l);
}

/* --- the protector ---------------------------------------------------------------- */

/* Of what is away, it has what it had. */
static void carry_over(const struct life *l, struct tree *protected)
{
	size_t i;

	for (i = 0; i < protected->num; i++) {
		struct entry *e = &protected->entries[i];
		const struct entry *was = NULL;

		if (e->kind != S_IFREG || l->left[e->member] == NULL) {
			continue;
		}
		was = find_file(l->protected, e);
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
static void protect_all(struct life *l)
{
	struct tree *protected = NULL;

	say("-- protect\n");
	stop_serving(l->w);
	protect(l->w);
	serve(l->w);
	expect_the_same(l, "protected");
	protected = walk(l->w);
	carry_over(l, protected);
	tree_free(l->protected);
	l->protected = protected;
	while (l->num_tried > 0) {
		tree_free(l->tried[--l->num_tried]);
	}
}

static void protect_and_die(struct life *l)
{
	static const char *const points[] = {
		"protect-events", "protect-declared",  "protect-applied",
		"protect-synced", "protect-committed", "protect-before-drop",
		"blob-rename",    "catalog-commit",    "catalog-part",
		"queue-taken",    "trash-left",        "trash-unlink",
	};
	char fault[64];

	if (l->num_tried == MAX_TRIED) {
		protect_all(l);
	}
	l->tried[l->num_tried++] = walk(l->w);
	snprintf(fault, sizeof(fault), "%s#%u=kill", points[draw(12)],
		 1 + draw(3));
	say("-- protect, %s\n", fault);
	stop_serving(l->w);
	protect_killed(l->w, fault);
	serve(l->w);
	expect_the_same(l, "a protector was killed");
}

/* --- a member leaves ----------------------------------------------------------------- */

static bool has_bytes(const struct entry *e, const uint8_t *bytes, size_t len)
{
	return e != NULL && e->bytes != NULL && e->len == len &&
	       memcmp(e->bytes, bytes, len) == 0;
}

/* Are these its bytes as it was protected, or as a protector that was killed may
   have protected it? */
static bool is_as_protected(const struct life *l, const struct entry *e,
			    const uint8_t *bytes, size_t len)
{
	size_t i;

	if (has_bytes(find_file(l->protected, e), bytes, len)) {
		return true;
	}
	for (i = 0; i < l->num_tried; i++) {
		if (has_bytes(find_file(l->tried[i], e), bytes, len)) {
			return true;
		}
	}
	return false;
}

static void compare_ghost(struct life *l, const struct entry *before,
			  const struct entry *now)
{
	uint8_t *bytes = NULL;
	size_t len = 0;

	if (now == NULL) {
		fail_msg("'%s' is not listed", before->path);
	}
	if (before->kind != S_IFREG) {
		return;
	}
	bytes = read_served(l->w, now->path, &len);
	if (!is_as_protected(l, before, bytes, len)) {
		fail_msg("'%s' has other bytes", now->path);
	}
	free(bytes);
}

/* The share just before, and while the member is away. */
static void compare(struct life *l, const struct tree *before, size_t away)
{
	size_t i;

	for (i = 0; i < before->num; i++) {
		const struct entry *e = &before->entries[i];
		const struct entry *listed = find(l->now, e->path);

		if (e->kind == S_IFDIR || e->member != away) {
			if (listed == NULL || listed->kind != e->kind ||
			    (e->kind != S_IFDIR && listed->inode != e->inode)) {
				fail_msg("'%s' is not what it was", e->path);
			}
			continue;
		}
		if (find_file(l->protected, e) != NULL) {
			compare_ghost(l, e, listed);
		} else if (listed == NULL || listed->kind != e->kind) {
			l->is_hiding = true;
		}
	}
	for (i = 0; i < l->now->num; i++) {
		if (find(before, l->now->entries[i].path) == NULL) {
			fail_msg("'%s' is listed", l->now->entries[i].path);
		}
	}
}

static void leave(struct life *l)
{
	size_t away = draw(NUM_MEMBERS);

	if (num_away(l) == NUM_ROWS || is_away(l->w, away) || l->is_hiding) {
		return;
	}
	see(l);
	l->left[away] = l->now;
	l->now = NULL;
	say("-- %zu leaves\n", away);
	l->last = away;
	world_unplug(l->w, away);
	world_later(l->w);
	if (draw(3) == 0) {
		reopen(l);
	}
	see(l);
	compare(l, l->left[away], away);
}

/* What is on it has the bytes that it had. */
static void return_one(struct life *l, size_t member)
{
	const struct tree *left = l->left[member];
	bool was_hiding = l->is_hiding;
	size_t i;

	say("-- %zu returns\n", member);
	world_plug(l->w, member);
	l->left[member] = NULL;
	if (draw(2) == 0) {
		reopen(l);
	}
	world_later(l->w);
	if (was_hiding) {
		/* it was the last that left, and nothing was done since */
		see(l);
		assert_same_names(l->now, left, NULL, "back");
		l->is_hiding = false;
	} else {
		expect_the_same(l, "back");
	}
	for (i = 0; i < l->now->num; i++) {
		const struct entry *e = &l->now->entries[i];
		const struct entry *was = find_file(left, e);

		if (e->kind == S_IFREG && e->member == member &&
		    (was == NULL || e->len != was->len ||
		     memcmp(e->bytes, was->bytes, e->len) != 0)) {
			fail_msg("'%s' is back with other bytes", e->path);
		}
	}
	tree_free((struct tree *)left);
}

static void come_back(struct life *l)
{
	size_t first = draw(NUM_MEMBERS);
	size_t i;

	for (i = 0; i < NUM_MEMBERS; i++) {
		size_t member = (first + i) % NUM_MEMBERS;

		if (l->left[member] != NULL &&
		    (!l->is_hiding || member == l->last)) {
			return_one(l, member);
			return;
		}
	}
}

/* --- a member is lost -------------------------------------------------------------- */

static bool accept_loss(const struct mrmr_rebuild_result *result,
			void *private_data)
{
	(void)result;
	(void)private_data;
	return true; /* what nobody has protected */
}

static int rebuild(struct world *w, size_t lost,
		   struct mrmr_rebuild_result *result)
{
	const struct mrmr_rebuild_options options = {
		.lost = lost,
		.onto = MRMR_REBUILD_SPREAD,
		.accept_loss = accept_loss,
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
		const struct entry *e = &before->entries[i];
		const struct entry *now = find(l->now, e->path);

		if (e->kind == S_IFDIR || e->member != lost) {
			if (now == NULL || now->kind != e->kind ||
			    (e->kind != S_IFDIR && now->inode != e->inode)) {
				fail_msg("'%s' is not what it was", e->path);
			}
			continue;
		}
		if (e->kind == S_IFREG && find_file(l->protected, e) == NULL) {
			continue;
		}
		if (now == NULL || now->kind != e->kind) {
			fail_msg("'%s' is not there again", e->path);
		}
		assert_int_not_equal(now->member, lost);
		if (e->kind == S_IFREG &&
		    !is_as_protected(l, e, now->bytes, now->len)) {
			fail_msg("'%s' is there with other bytes", e->path);
		}
	}
	for (i = 0; i < l->now->num; i++) {
		if (find(before, l->now->entries[i].path) == NULL) {
			fail_msg("'%s' is listed", l->now->entries[i].path);
		}
	}
}

/* What is there again is protected. */
static void take_rebuilt(struct life *l, const struct tree *before, size_t lost)
{
	struct tree *protected = walk(l->w);
	size_t i;

	for (i = 0; i < protected->num; i++) {
		struct entry *e = &protected->entries[i];
		const struct entry *then = find(before, e->path);
		const struct entry *was = find_file(l->protected, e);

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

/* For good. */
static void lose(struct life *l)
{
	struct mrmr_rebuild_result result;
	struct tree *before = NULL;
	size_t lost = l->last;

	if (l->has_lost || l->is_hiding || num_away(l) != 1 ||
	    l->left[lost] == NULL) {
		return;
	}
	before = walk(l->w);
	stop_serving(l->w);
	if (draw(2) == 0) {
		rebuild_and_die(l, lost);
	}
	say("-- rebuild %zu\n", lost);
	assert_int_equal(rebuild(l->w, lost, &result), 0);
	if (!result.is_complete) {
		/* the log says that a file was deleted; mrmr-admin does both in
		   turns */
		protect(l->w);
		assert_int_equal(rebuild(l->w, lost, &result), 0);
	}
	assert_true(result.is_complete);
	serve(l->w);
	see(l);
	compare_rebuilt(l, before, lost);
	take_rebuilt(l, before, lost);
	l->has_lost = true;
	tree_free(l->left[lost]);
	l->left[lost] = NULL;
	tree_free(before);
}

/* --- and again ---------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

static void live(unsigned int seed)
{
	const struct world_shape shape = {
		.num_members = NUM_MEMBERS,
		.parity = "2",
		.config = ", \"block_size\": \"64K\"",
	};
	struct life l = {.w = world_new(&shape)};
	unsigned int turns;

	state_of_draw = seed;
	serve(l.w);
	work(&l);
	protect_all(&l);
	for (turns = 5 + draw(20); turns > 0; turns--) {
		switch (draw(9)) {
		case 0:
			protect_all(&l);
			break;
		case 1:
			protect_and_die(&l);
			break;
		case 2:
		case 3:
			leave(&l);
			break;
		case 4:
			come_back(&l);
			break;
		case 5:
			lose(&l);
			break;
		default:
			work(&l);
		}
		maybe_reopen(&l);
	}
	while (num_away(&l) > 0) {
		come_back(&l);
	}
	protect_all(&l);
	stop_serving(l.w);
	verify_decodable(l.w);
	tree_free(l.now);
	tree_free(l.protected);
	assert_int_equal(l.num_tried, 0);
	world_free(l.w);
}

static void names_stay(void **state)
{
	const char *seconds = getenv("MRMR_TEST_SECONDS");
	const char *given = getenv("MRMR_TEST_SEED");
	int64_t end = now_ms() + 1000 * (seconds != NULL ? atoi(seconds) : 6);
	unsigned int seed = given != NULL ? (unsigned int)atoi(given) : 1;

	(void)state;
	do {
		print_message("seed %u\n", seed);
		live(seed++);
	} while (now_ms() < end);
}

/* A protector has entered what is in the log, and was killed before it was done with
   it: a directory has another name, and another one has its name, with a file that
   came after that. */
static void log_is_entered_already(void **state)
{
#ifdef MRMR_WITH_FAULTS
	struct world *w = world_new(&(
		struct world_shape){.num_members = NUM_MEMBERS, .parity = "2"});
	size_t member;

	(void)state;
	client_write(w, "file", 1, 1000);
	protect(w);
	member = do_where(w, "file");
	assert_int_equal(do_mkdir(w, "old", 0755), 0);
	assert_int_equal(do_rename(w, "old", "new"), 0);
	assert_int_equal(do_mkdir(w, "old", 0755), 0);
	assert_int_equal(do_rename(w, "file", "old/file"), 0);
	assert_true(protect_killed(w, "protect-events=kill"));
	serve(w);
	world_unplug(w, member);
	world_later(w);
	assert_string_equal(do_list(w, ""), "new/ old/");
	assert_string_equal(do_list(w, "new"), "");
	assert_string_equal(do_list(w, "old"), "file");
	verify_served(w, "old/file", 1, 1000);
	stop_serving(w);
	world_free(w);
#else
	(void)state;
	print_message("[  SKIPPED ] log_is_entered_already: no faults built\n");
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(log_is_entered_already),
		cmocka_unit_test(names_stay),
	};

	return WORLD_MAIN("absent_random", tests);
}
