/*
 * Unit tests: all that is in a share at a moment, to be compared with another one.
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
#include <unistd.h>

#include <cmocka.h>

#include <mrmr/absent.h>

#include "tree.h"

bool is_away(const struct world *w, size_t member)
{
	return w->pool->members[member].state != MRMR_MEMBER_ONLINE;
}

ino_t inode_of_ghost(struct world *w, const char *path)
{
	int fd = do_open(w, path, O_PATH | O_NOFOLLOW);
	struct mrmr_ghost ghost;

	assert_return_code(fd, errno);
	assert_return_code(mrmr_ghost_read(fd, &ghost), errno);
	close(fd);
	return ghost.inode;
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

static void walk_below(struct world *w, const char *dir, struct tree *tree);

static void take(struct world *w, const char *dir, const char *name,
		 struct tree *tree)
{
	struct tree_entry *e = &tree->entries[tree->num];
	struct stat st;

	assert_true(tree->num < TREE_MAX);
	tree->num++;
	snprintf(e->path, sizeof(e->path), "%s%s%s", dir,
		 dir[0] != '\0' ? "/" : "", name);
	if (do_stat(w, e->path, &e->member, &st) != 0) {
		fail_msg("'%s' is listed, and not there", e->path);
	}
	e->kind = st.st_mode & S_IFMT;
	e->inode = st.st_ino;
	e->len = (size_t)st.st_size;
	if (e->kind == S_IFDIR) {
		walk_below(w, e->path, tree);
	} else if (e->kind == S_IFREG && is_away(w, e->member)) {
		e->inode = inode_of_ghost(w, e->path);
	} else if (e->kind == S_IFREG) {
		e->bytes = read_all(w, e->path, e->len);
	}
}

static void walk_below(struct world *w, const char *dir, struct tree *tree)
{
	char *names = strdup(do_list(w, dir));
	char *rest = names;
	char *name = NULL;

	while ((name = strsep(&rest, " ")) != NULL) {
		name[strcspn(name, "/")] = '\0';
		if (name[0] != '\0') {
			take(w, dir, name, tree);
		}
	}
	free(names);
}

struct tree *tree_of(struct world *w)
{
	struct tree *tree = calloc(1, sizeof(*tree));

	walk_below(w, "", tree);
	return tree;
}

void tree_free(struct tree *tree)
{
	size_t i;

	for (i = 0; tree != NULL && i < tree->num; i++) {
		free(tree->entries[i].bytes);
	}
	free(tree);
}

const struct tree_entry *tree_find(const struct tree *tree, const char *path)
{
	size_t i;

	for (i = 0; i < tree->num; i++) {
		if (strcmp(tree->entries[i].path, path) == 0) {
			return &tree->entries[i];
		}
	}
	return NULL;
}

const struct tree_entry *tree_find_file(const struct tree *tree,
					const struct tree_entry *like)
{
	size_t i;

	for (i = 0; i < tree->num; i++) {
		const struct tree_entry *e = &tree->entries[i];

		if (e->kind != S_IFDIR && e->member == like->member &&
		    e->inode == like->inode) {
			return e;
		}
	}
	return NULL;
}

void tree_same_names(const struct tree *now, const struct tree *then,
		     const struct tree *more, const char *when)
{
	size_t i;

	for (i = 0; i < then->num; i++) {
		const struct tree_entry *was = &then->entries[i];
		const struct tree_entry *e = tree_find(now, was->path);

		if (e == NULL || e->kind != was->kind) {
			fail_msg("%s: '%s' is %s", when, was->path,
				 e == NULL ? "not there" : "something else");
		}
	}
	for (i = 0; i < now->num; i++) {
		const char *path = now->entries[i].path;

		if (tree_find(then, path) == NULL &&
		    (more == NULL || tree_find(more, path) == NULL)) {
			fail_msg("%s: '%s' is there", when, path);
		}
	}
}

bool tree_has_bytes(const struct tree_entry *e, const uint8_t *bytes,
		    size_t len)
{
	return e != NULL && e->bytes != NULL && e->len == len &&
	       memcmp(e->bytes, bytes, len) == 0;
}
