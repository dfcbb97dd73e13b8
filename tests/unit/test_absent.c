/*
 * Unit tests: files of members that are away: their names, and their bytes.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/fault.h>
#include <mrmr/move.h>
#include <mrmr/protection.h>
#include <mrmr/serve.h>
#include <mrmr/shared.h>

#include "served.h"

#define GRID 65536

/* --- names ------------------------------------------------------------------ */

static void test_names_stay(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;
	struct pfile *file = protected_file(p, 0, "d/lost", 1, 3000, GRID);
	struct mrmr_ghost ghost;
	struct stat before;
	struct stat st;
	size_t member;
	int fd;

	protected_file(p, 1, "d/here", 2, 100, GRID);
	protected_file(p, 0, "top", 3, 5, GRID);
	assert_string_equal(do_list(w, "d"), "here lost");
	assert_int_equal(stat(world_drive(w, 0, "d/lost"), &before), 0);
	assert_false(served_has_ghosts(p, 0));

	protected_unplug(p, 1);
	assert_string_equal(do_list(w, "d"), "here lost");
	assert_string_equal(do_list(w, ""), "d/ top");
	assert_int_equal(do_stat(w, "d/lost", &member, &st), 0);
	assert_int_equal(member, 0);
	assert_int_equal(st.st_size, 3000);
	assert_int_equal(st.st_mode, before.st_mode);
	assert_int_equal(st.st_mtim.tv_sec, before.st_mtim.tv_sec);
	assert_int_equal(st.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
	assert_int_equal(st.st_dev, w->pool->spine_dev);
	assert_int_equal(do_where(w, "d/here"), 1);

	fd = do_open(w, "d/lost", O_RDONLY);
	assert_int_not_equal(fd, -1);
	assert_int_equal(mrmr_ghost_read(fd, &ghost), 0);
	assert_int_equal(ghost.node, file->id);
	assert_int_equal(ghost.inode, before.st_ino);
	assert_true(mrmr_uuid_equal(&ghost.member,
				    &w->pool->members[0].config->id));
	close(fd);

	assert_int_equal(do_create(w, "d/lost", "x"), EEXIST);
	assert_int_equal(do_mkdir(w, "d/lost", 0755), EEXIST);
	assert_int_equal(do_create(w, "d/new", "x"), 0);
	assert_int_equal(do_rmdir(w, "d"), ENOTEMPTY);
	assert_int_equal(do_stat(w, "d/none", &member, &st), ENOENT);

	/* The same in another process, and when it is back. */
	served_reopen(p);
	assert_string_equal(do_list(w, "d"), "here lost new");
	protected_unplug(p, 0);
	assert_string_equal(do_list(w, "d"), "here lost new");
	assert_int_equal(do_stat(w, "d/lost", &member, &st), 0);
	assert_int_equal(st.st_ino, before.st_ino);
	assert_false(served_has_ghosts(p, 0));
	served_free(p);
}

static void test_not_without_catalogue(void **state)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 3});

	assert_int_equal(mrmr_serve_start(w->pool, NULL), 0);
	world_write(world_drive(w, 0, "lost"), "x");
	assert_string_equal(do_list(w, ""), "lost");
	world_unplug(w, 0);
	world_later(w);
	assert_string_equal(do_list(w, ""), "");
	world_free(w);
}

static void test_attributes(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;
	struct pfile *file = protected_file(p, 0, "f", 1, 10, GRID);
	struct mrmr_node *node = protected_node(p, file);
	static const uint8_t xattrs[] = "user.color\0\4\0\0\0blue";
	char value[16];
	struct stat st;
	size_t member;
	int fd;

	node->uid = 1234;
	node->gid = 4321;
	node->mode = S_IFREG | 0640;
	node->mtime_ns = INT64_C(-1500000000);
	node->xattrs = talloc_memdup(node, xattrs, sizeof(xattrs) - 1);
	node->xattrs_len = sizeof(xattrs) - 1;
	assert_int_equal(mrmr_catalog_begin(p->engine->catalog), 0);
	assert_int_equal(mrmr_catalog_put(p->engine->catalog, node, NULL), 0);
	assert_int_equal(mrmr_catalog_commit(p->engine->catalog, NULL), 0);

	protected_unplug(p, 1);
	assert_int_equal(do_stat(w, "f", &member, &st), 0);
	assert_int_equal(st.st_uid, 1234);
	assert_int_equal(st.st_gid, 4321);
	assert_int_equal(st.st_mode, S_IFREG | 0640);
	assert_int_equal(st.st_mtim.tv_sec, -2);
	assert_int_equal(st.st_mtim.tv_nsec, 500000000);
	fd = do_open(w, "f", O_RDONLY);
	/* tmpfs may have no user attributes: then they are left out. */
	if (fgetxattr(fd, "user.color", value, sizeof(value)) == 4) {
		assert_memory_equal(value, "blue", 4);
	} else {
		assert_int_equal(errno, ENOTSUP);
	}
	close(fd);
	served_free(p);
}

static void test_other_kinds(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;
	struct mrmr_node node = {
		.dir_id = MRMR_ID_ROOT,
		.name = (char *)"link",
		.kind = MRMR_NODE_SYMLINK,
		.member = p->engine->number[0],
		.target = (char *)"some/where",
	};
	struct stat st;
	size_t member;

	assert_int_equal(mrmr_catalog_begin(p->engine->catalog), 0);
	assert_int_equal(mrmr_catalog_put(p->engine->catalog, &node, NULL), 0);
	node.name = (char *)"fifo";
	node.kind = MRMR_NODE_SPECIAL;
	node.mode = S_IFIFO | 0600;
	assert_int_equal(mrmr_catalog_put(p->engine->catalog, &node, NULL), 0);
	assert_int_equal(mrmr_catalog_commit(p->engine->catalog, NULL), 0);

	protected_unplug(p, 1);
	assert_string_equal(do_list(w, ""), "fifo link");
	assert_int_equal(do_stat(w, "link", &member, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(st.st_size, strlen("some/where"));
	assert_int_equal(do_stat(w, "fifo", &member, &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	served_free(p);
}

/* What is here counts: the catalogue may know an older file. */
static void test_online_first(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;
	size_t member;
	struct stat st;

	protected_file(p, 0, "f", 1, 3000, GRID);
	protected_unplug(p, 1);
	world_write(world_drive(w, 2, "f"), "newer");
	assert_int_equal(do_stat(w, "f", &member, &st), 0);
	assert_int_equal(member, 2);
	assert_int_equal(st.st_size, 5);
	assert_string_equal(do_list(w, ""), "f");
	assert_string_equal(do_read(w, "f"), "newer");
	served_free(p);
}

static void test_two_away(void **state)
{
	struct protected *p = served_new(4);
	struct world *w = p->w;

	protected_file(p, 0, "a", 1, 1, GRID);
	protected_file(p, 1, "b", 2, 1, GRID);
	protected_file(p, 2, "c", 3, 1, GRID);
	protected_unplug(p, 3);
	assert_string_equal(do_list(w, ""), "a b c");
	assert_int_equal(do_where(w, "a"), 0);
	assert_int_equal(do_where(w, "b"), 1);
	protected_unplug(p, 1);
	assert_string_equal(do_list(w, ""), "a b c");
	assert_true(served_has_ghosts(p, 0));
	assert_false(served_has_ghosts(p, 1));
	protected_unplug(p, 0);
	assert_string_equal(do_list(w, ""), "a b c");
	served_free(p);
}

/* Names that were changed since the protector last looked, then it left. */
static void test_log_ahead(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;

	protected_file(p, 0, "a/one", 1, 1, GRID);
	protected_file(p, 0, "a/two", 2, 1, GRID);
	protected_file(p, 0, "a/three", 3, 1, GRID);
	protected_file(p, 0, "b/four", 4, 1, GRID);
	assert_string_equal(do_list(w, "a"), "one three two");
	assert_string_equal(do_list(w, "b"), "four");
	assert_int_equal(do_rename(w, "a/one", "a/uno"), 0);
	assert_int_equal(do_unlink(w, "a/two"), 0);
	assert_int_equal(do_rename(w, "a/three", "b/tres"), 0);
	assert_int_equal(do_rename(w, "b", "c"), 0);
	assert_int_equal(do_mkdir(w, "new", 0755), 0);
	assert_int_equal(do_rename(w, "c/four", "new/four"), 0);

	protected_unplug(p, 1);
	assert_string_equal(do_list(w, "a"), "uno");
	assert_string_equal(do_list(w, "c"), "tres");
	assert_string_equal(do_list(w, "new"), "four");
	served_free(p);
}

/* Further names, of which the protector has not heard, or only of some. */
static void test_links_ahead(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;
	struct pfile *two = NULL;

	protected_file(p, 0, "a/one", 1, 10, GRID);
	two = protected_file(p, 0, "a/two", 2, 20, GRID);
	protected_file(p, 0, "a/three", 3, 30, GRID);
	assert_string_equal(do_list(w, "a"), "one three two");
	assert_int_equal(do_mkdir(w, "b", 0755), 0);
	assert_int_equal(do_mkdir(w, "c", 0755), 0);
	assert_int_equal(do_link(w, "a/one", "b/uno"), 0);
	assert_int_equal(do_unlink(w, "a/one"), 0);
	/* of these, the catalogue has all but what became of the later one */
	assert_int_equal(do_link(w, "a/two", "a/dos"), 0);
	assert_int_equal(do_link(w, "a/two", "b/deux"), 0);
	assert_int_equal(mrmr_catalog_begin(p->engine->catalog), 0);
	assert_int_equal(mrmr_catalog_link(p->engine->catalog, two->id,
					   protected_node(p, two)->dir_id,
					   "dos"),
			 0);
	assert_int_equal(mrmr_catalog_commit(p->engine->catalog, NULL), 0);
	assert_int_equal(do_rename(w, "a/dos", "c/zwei"), 0);
	assert_int_equal(do_rename(w, "b", "z"), 0);
	/* gone again */
	assert_int_equal(do_link(w, "a/three", "c/tres"), 0);
	assert_int_equal(do_unlink(w, "c/tres"), 0);

	protected_unplug(p, 1);
	assert_string_equal(do_list(w, "a"), "three two");
	assert_string_equal(do_list(w, "z"), "deux uno");
	assert_string_equal(do_list(w, "c"), "zwei");
	served_reopen(p);
	assert_string_equal(do_list(w, "z"), "deux uno");
	served_free(p);
}

/* rename(2) of one name of a file over another one does nothing, and says that it
   has: on the member, and of ghosts. */
static void test_two_names_of_one(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;
	struct pfile *file = protected_file(p, 0, "a/one", 1, 10, GRID);

	assert_string_equal(do_list(w, "a"), "one");
	assert_int_equal(do_link(w, "a/one", "a/two"), 0);
	assert_int_equal(do_rename(w, "a/one", "a/two"), 0);
	protected_unplug(p, 1);
	assert_string_equal(do_list(w, "a"), "one two");
	protected_unplug(p, 0);
	assert_int_equal(mrmr_catalog_begin(p->engine->catalog), 0);
	assert_int_equal(mrmr_catalog_link(p->engine->catalog, file->id,
					   protected_node(p, file)->dir_id,
					   "two"),
			 0);
	assert_int_equal(mrmr_catalog_commit(p->engine->catalog, NULL), 0);
	protected_unplug(p, 1);
	assert_int_equal(do_rename(w, "a/one", "a/two"), 0);
	assert_string_equal(do_list(w, "a"), "one two");
	served_come_back(p, true);
	assert_string_equal(do_list(w, "a"), "one two");
	served_free(p);
}

/* A symlink is renamed while its member is away, which leaves again before a
   protector has heard of that. */
static void test_symlink_renamed_meanwhile(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;
	struct mrmr_node node = {
		.dir_id = MRMR_ID_ROOT,
		.name = (char *)"link",
		.kind = MRMR_NODE_SYMLINK,
		.member = p->engine->number[0],
		.target = (char *)"some/where",
	};
	struct stat st;

	assert_int_equal(symlink("some/where", world_drive(w, 0, "link")), 0);
	assert_int_equal(lstat(world_drive(w, 0, "link"), &st), 0);
	node.inode = st.st_ino;
	assert_int_equal(mrmr_catalog_begin(p->engine->catalog), 0);
	assert_int_equal(mrmr_catalog_put(p->engine->catalog, &node, NULL), 0);
	assert_int_equal(mrmr_catalog_commit(p->engine->catalog, NULL), 0);
	assert_int_equal(do_mkdir(w, "d", 0755), 0);

	protected_unplug(p, 1);
	assert_int_equal(do_rename(w, "link", "d/other"), 0);
	protected_unplug(p, 0);
	assert_string_equal(do_list(w, ""), "d/");
	assert_string_equal(do_list(w, "d"), "other");
	protected_unplug(p, 1);
	assert_string_equal(do_list(w, ""), "d/");
	assert_string_equal(do_list(w, "d"), "other");
	served_free(p);
}

/* The protector has entered a rename, and not forgotten its record yet. */
static void test_log_behind(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;

	protected_file(p, 0, "a", 1, 1, GRID);
	assert_int_equal(do_rename(w, "a", "b"), 0);
	assert_int_equal(do_rename(w, "b", "c"), 0);
	assert_int_equal(mrmr_catalog_begin(p->engine->catalog), 0);
	assert_int_equal(mrmr_catalog_rename(p->engine->catalog, MRMR_ID_ROOT,
					     "a", MRMR_ID_ROOT, "c"),
			 0);
	assert_int_equal(mrmr_catalog_commit(p->engine->catalog, NULL), 0);
	protected_unplug(p, 1);
	assert_string_equal(do_list(w, ""), "c");
	served_free(p);
}

static void test_directory_renamed_meanwhile(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;

	protected_file(p, 0, "a/one", 1, 1, GRID);
	protected_file(p, 0, "a/b/two", 1, 1, GRID);
	assert_string_equal(do_list(w, "a/b"), "two");
	protected_unplug(p, 1);
	assert_string_equal(do_list(w, "a"), "b/ one");
	assert_int_equal(do_rename(w, "a", "z"), 0);
	assert_string_equal(do_list(w, "z"), "b/ one");
	assert_string_equal(do_list(w, "z/b"), "two"); /* not seen before */
	served_reopen(p);
	assert_string_equal(do_list(w, "z"), "b/ one");
	protected_unplug(p, 0);
	assert_string_equal(do_list(w, "z"), "b/ one");
	assert_string_equal(do_list(w, ""), "z/");
	assert_string_equal(world_where(w, "z/one"), "0");
	served_free(p);
}

static void test_rights_follow(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;
	size_t member;
	struct stat st;

	protected_file(p, 0, "d/f", 1, 1, GRID);
	assert_string_equal(do_list(w, "d"), "f");
	assert_int_equal(chmod(world_spine(w, "d"), 0700), 0);
	protected_unplug(p, 1);
	world_user(1000);
	assert_int_equal(do_stat(w, "d/f", &member, &st), EACCES);
	world_user(0);
	assert_int_equal(chmod(world_spine(w, "d"), 0755), 0);
	world_later(w);
	world_user(1000);
	assert_int_equal(do_stat(w, "d/f", &member, &st), 0);
	world_user(0);
	served_free(p);
}

/* A ghost folder is whole or not there. */
static void test_making_fails(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;
	static const char *const points[] = {"ghosts-fill", "ghosts-name"};
	size_t member;
	struct stat st;
	size_t i;

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] test_making_fails: no faults built\n");
	served_free(p);
	return;
#endif
	protected_file(p, 0, "d/f", 1, 1, GRID);
	assert_string_equal(do_list(w, "d"), "f");
	protected_unplug(p, 1);
	for (i = 0; i < 2; i++) {
		char fault[64];

		snprintf(fault, sizeof(fault), "%s=EIO", points[i]);
		setenv("MRMR_FAULT", fault, 1);
		world_later(w);
		/* not known, so neither gone nor free */
		assert_int_equal(do_stat(w, "d/f", &member, &st), EIO);
		assert_int_equal(do_create(w, "d/f", "x"), EIO);
		assert_null(do_list(w, "d"));
		unsetenv("MRMR_FAULT");
	}
	assert_int_equal(do_stat(w, "d/f", &member, &st), 0);
	assert_string_equal(do_list(w, "d"), "f");
	served_free(p);
}

/* --- changing names ----------------------------------------------------------- */

static void test_remove(void **state)
{
	unsigned int again;

	for (again = 0; again < 2; again++) {
		struct protected *p = served_new(3);
		struct world *w = p->w;

		protected_file(p, 0, "d/f", 1, 3000, GRID);
		protected_file(p, 0, "d/g", 2, 3000, GRID);
		protected_file(p, 0, "d/h", 3, 3000, GRID);
		assert_string_equal(do_list(w, "d"), "f g h");
		protected_unplug(p, 1);
		assert_int_equal(do_unlink(w, "d/f"), 0);
		assert_int_equal(do_unlink(w, "d/f"), ENOENT);
		assert_string_equal(do_list(w, "d"), "g h");
		served_reopen(p);
		assert_string_equal(do_list(w, "d"), "g h");
		/* the name is free, and what has it now stays */
		assert_int_equal(do_unlink(w, "d/g"), 0);
		assert_int_equal(do_create(w, "d/g", "new"), 0);

		served_come_back(p, again == 1);
		assert_string_equal(do_list(w, "d"), "g h");
		assert_string_equal(do_read(w, "d/g"), "new");
		assert_int_equal(world_trashed(w, 0, "f"), 1);
		assert_int_equal(world_trashed(w, 0, "g"), 1);
		assert_string_equal(world_where(w, "d/f"), "");
		served_free(p);
	}
}

static void test_rename(void **state)
{
	unsigned int again;

	for (again = 0; again < 2; again++) {
		struct protected *p = served_new(3);
		struct world *w = p->w;
		struct stat before;
		struct stat st;
		size_t member;

		protected_file(p, 0, "a/one", 1, 1000, GRID);
		protected_file(p, 0, "a/two", 2, 2000, GRID);
		protected_file(p, 0, "b/three", 3, 3000, GRID);
		protected_file(p, 0, "b/four", 4, 4000, GRID);
		protected_file(p, 1, "b/here", 5, 5000, GRID);
		assert_string_equal(do_list(w, "a"), "one two");
		assert_string_equal(do_list(w, "b"), "four here three");
		assert_int_equal(stat(world_drive(w, 0, "a/one"), &before), 0);
		protected_unplug(p, 1);

		assert_int_equal(do_mkdir(w, "new", 0755), 0);
		assert_int_equal(do_rename(w, "a/one", "new/uno"), 0);
		assert_int_equal(do_rename(w, "new/uno", "new/uno2"), 0);
		/* over another one of the same member, and of one that is here */
		assert_int_equal(do_rename(w, "a/two", "b/three"), 0);
		assert_int_equal(do_rename(w, "b/four", "b/here"), 0);
		assert_int_equal(do_rename(w, "b", "c"), 0);
		assert_string_equal(do_list(w, "a"), "");
		assert_string_equal(do_list(w, "c"), "here three");
		assert_string_equal(do_list(w, "new"), "uno2");
		assert_int_equal(do_stat(w, "c/three", &member, &st), 0);
		assert_int_equal(st.st_size, 2000);
		assert_int_equal(do_stat(w, "c/here", &member, &st), 0);
		assert_int_equal(st.st_size, 4000);
		assert_int_equal(member, 0);
		assert_int_equal(world_trashed(w, 1, "here"), 1);

		served_come_back(p, again == 1);
		assert_string_equal(do_list(w, "a"), "");
		assert_string_equal(do_list(w, "c"), "here three");
		assert_string_equal(do_list(w, "new"), "uno2");
		assert_int_equal(do_stat(w, "new/uno2", &member, &st), 0);
		assert_int_equal(st.st_ino, before.st_ino);
		assert_int_equal(do_stat(w, "c/three", &member, &st), 0);
		assert_int_equal(st.st_size, 2000);
		assert_int_equal(do_stat(w, "c/here", &member, &st), 0);
		assert_int_equal(st.st_size, 4000);
		assert_int_equal(world_trashed(w, 0, "three"), 1);
		served_free(p);
	}
}

/* A file that is here takes the name of one that is away. */
static void test_replace(void **state)
{
	unsigned int again;

	for (again = 0; again < 2; again++) {
		struct protected *p = served_new(3);
		struct world *w = p->w;

		protected_file(p, 0, "f", 1, 1000, GRID);
		protected_unplug(p, 1);
		assert_int_equal(do_create(w, "new", "new"), 0);
		assert_int_equal(do_rename(w, "new", "f"), 0);
		assert_string_equal(do_list(w, ""), "f");
		assert_string_equal(do_read(w, "f"), "new");
		served_come_back(p, again == 1);
		assert_string_equal(do_list(w, ""), "f");
		assert_string_equal(do_read(w, "f"), "new");
		assert_int_equal(world_trashed(w, 0, "f"), 1);
		assert_int_equal(strlen(world_where(w, "f")), 1);
		/* and when that one goes, no older one comes to light */
		assert_int_equal(do_unlink(w, "f"), 0);
		assert_string_equal(do_list(w, ""), "");
		served_free(p);
	}
}

/* Two members are away, with one name: neither may show what is gone. */
static void test_losers_that_are_away(void **state)
{
	struct protected *p = served_new(4);
	struct world *w = p->w;

	protected_file(p, 0, "f", 1, 1000, GRID);
	protected_unplug(p, 1);
	assert_int_equal(do_create(w, "x", "x"), 0);
	world_write(world_drive(w, 2, "f"), "behind our back");
	assert_int_equal(do_unlink(w, "f"), 0);
	assert_string_equal(do_list(w, ""), "x");
	served_come_back(p, false);
	assert_string_equal(do_list(w, ""), "x");
	assert_int_equal(world_trashed(w, 0, "f"), 1);
	served_free(p);
}

static void test_rights_to_change(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;

	protected_file(p, 0, "d/f", 1, 1000, GRID);
	assert_string_equal(do_list(w, "d"), "f");
	protected_unplug(p, 1);
	world_user(1000);
	assert_int_equal(do_unlink(w, "d/f"), EACCES);
	assert_int_equal(do_rename(w, "d/f", "d/g"), EACCES);
	world_user(0);
	assert_string_equal(do_list(w, "d"), "f");
	served_come_back(p, false);
	assert_string_equal(do_list(w, "d"), "f");
	assert_int_equal(world_trashed(w, 0, "f"), 0);
	served_free(p);
}

/* The member is back, and we have not noticed: it must not be left behind. */
static void test_back_unnoticed(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;

	protected_file(p, 0, "f", 1, 1000, GRID);
	protected_file(p, 0, "g", 1, 1000, GRID);
	protected_unplug(p, 1);
	assert_string_equal(do_list(w, ""), "f g");
	world_plug(w, 0);
	assert_int_equal(do_unlink(w, "f"), 0);
	assert_int_equal(w->pool->members[0].state, MRMR_MEMBER_ONLINE);
	assert_string_equal(world_where(w, "f"), "");
	assert_string_equal(do_list(w, ""), "g");
	protected_unplug(p, 1);
	assert_string_equal(do_list(w, ""), "g");
	world_plug(w, 0);
	assert_int_equal(do_rename(w, "g", "h"), 0);
	assert_string_equal(world_where(w, "h"), "0");
	served_free(p);
}

static void test_attributes_change(void **state)
{
	unsigned int again;

	for (again = 0; again < 2; again++) {
		struct protected *p = served_new(3);
		struct world *w = p->w;
		struct timespec times[2] = {{.tv_sec = 1000},
					    {.tv_sec = 2000, .tv_nsec = 7}};
		struct mrmr_ghost ghost;
		struct stat st;
		size_t member;
		char tag[64];
		int fd;

		protected_file(p, 0, "a/b/f", 1, 1000, GRID);
		protected_file(p, 0, "a/b/g", 1, 1000, GRID);
		assert_string_equal(do_list(w, "a/b"), "f g");
		protected_unplug(p, 1);
		fd = do_open(w, "a/b/f", O_RDONLY);
		assert_int_equal(mrmr_ghost_read(fd, &ghost), 0);
		assert_int_equal(mrmr_ghost_mark_changed(w->pool, &ghost, fd),
				 0);
		assert_int_equal(fchmod(fd, 0604), 0);
		assert_int_equal(fchown(fd, 77, 88), 0);
		assert_int_equal(fsetxattr(fd, "trusted.own", "x", 1, 0), 0);
		assert_int_equal(futimens(fd, times), 0);
		/* renamed after that, and the directory too */
		assert_int_equal(do_rename(w, "a/b/f", "a/f2"), 0);
		assert_int_equal(do_rename(w, "a", "z"), 0);
		served_come_back(p, again == 1);
		assert_int_equal(do_stat(w, "z/f2", &member, &st), 0);
		assert_int_equal(member, 0);
		assert_int_equal(st.st_mode & 07777, 0604);
		assert_int_equal(st.st_uid, 77);
		assert_int_equal(st.st_gid, 88);
		assert_int_equal(st.st_mtim.tv_sec, 2000);
		assert_int_equal(st.st_mtim.tv_nsec, 7);
		assert_int_equal(getxattr(world_drive(w, 0, "z/f2"),
					  "trusted.own", tag, sizeof(tag)),
				 1);
		assert_int_equal(getxattr(world_drive(w, 0, "z/f2"),
					  MRMR_GHOST_TAG, tag, sizeof(tag)),
				 -1);
		assert_int_equal(do_stat(w, "z/b/g", &member, &st), 0);
		assert_int_equal(st.st_uid, 0);
		/* a handle from before must not change what is not its own */
		assert_int_equal(mrmr_ghost_mark_changed(w->pool, &ghost, fd),
				 -1);
		assert_int_equal(errno, EROFS);
		close(fd);
		served_free(p);
	}
}

/* The drive is full when it is back. */
static void test_attributes_without_room(void **state)
{
#ifndef MRMR_WITH_FAULTS
	skip();
#else
	struct protected *p = served_new(3);
	struct world *w = p->w;
	struct mrmr_ghost ghost;
	struct stat st;
	size_t member;
	int fd;

	protected_file(p, 0, "f", 1, 1000, GRID);
	world_write(world_drive(w, 0, ".mrmr/reserve"), "");
	protected_unplug(p, 1);
	fd = do_open(w, "f", O_RDONLY);
	assert_int_equal(mrmr_ghost_read(fd, &ghost), 0);
	assert_int_equal(mrmr_ghost_mark_changed(w->pool, &ghost, fd), 0);
	assert_int_equal(fchmod(fd, 0604), 0);
	close(fd);
	setenv("MRMR_FAULT", "ghost-return#1=ENOSPC", 1);
	served_come_back(p, false);
	unsetenv("MRMR_FAULT");
	assert_int_equal(do_stat(w, "f", &member, &st), 0);
	assert_int_equal(member, 0);
	assert_int_equal(st.st_mode & 07777, 0604);
	assert_false(world_there(world_drive(w, 0, ".mrmr/reserve")));
	served_free(p);
#endif
}

/* --- rebuilding a file that is to be changed ------------------------------------ */

static ssize_t read_pfile(void *buf, size_t len, uint64_t offset,
			  void *private_data)
{
	const struct pfile *file = private_data;

	if (len > file->len - offset) {
		len = file->len - offset;
	}
	memcpy(buf, file->bytes + offset, len);
	return (ssize_t)len;
}

/* Whose bytes those are; kept when the pool is closed. */
static struct pfile rebuilt_file;

static void protect_rebuilt(struct protected *p)
{
	free(rebuilt_file.bytes);
	rebuilt_file = *protected_file(p, 0, "d/f", 1, 3000000, GRID);
	rebuilt_file.bytes = protected_bytes(1, 3000000);
}

static int change_rebuild(struct world *w)
{
	const struct mrmr_move_source source = {read_pfile, &rebuilt_file};
	struct mrmr_move *move = NULL;
	size_t member = SIZE_MAX;
	int new_fd = -1;
	int ret = 0;
	int fd = do_open(w, "d/f", O_RDONLY);

	assert_int_not_equal(fd, -1);
	move = mrmr_move_begin_ghost(NULL, do_dir(w, "d"), "f", fd, &source);
	if (move == NULL || mrmr_move_copy(move) == -1 ||
	    mrmr_move_finish(move, &new_fd, &member) == -1) {
		ret = errno;
	}
	talloc_free(move);
	close(fd);
	if (new_fd != -1) {
		close(new_fd);
	}
	return ret;
}

static bool has_bytes(struct world *w, const char *path,
		      const struct pfile *file)
{
	uint8_t *buf = malloc(file->len + 1);
	int fd = do_open(w, path, O_RDONLY);
	bool same;

	same = fd != -1 && read(fd, buf, file->len + 1) == (ssize_t)file->len &&
	       memcmp(buf, file->bytes, file->len) == 0;
	close(fd);
	free(buf);
	return same;
}

static void test_rebuild(void **state)
{
	unsigned int again;

	for (again = 0; again < 2; again++) {
		struct protected *p = served_new(3);
		struct world *w = p->w;
		struct mrmr_ghost ghost;
		struct stat before;
		struct stat st;
		size_t member;
		int fd;

		protect_rebuilt(p);
		assert_string_equal(do_list(w, "d"), "f");
		assert_int_equal(stat(world_drive(w, 0, "d/f"), &before), 0);
		protected_unplug(p, 1);
		assert_int_equal(change_rebuild(w), 0);
		assert_int_equal(do_stat(w, "d/f", &member, &st), 0);
		assert_int_not_equal(member, 0);
		assert_int_equal(st.st_mode, before.st_mode);
		assert_int_equal(st.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
		assert_true(has_bytes(w, "d/f", &rebuilt_file));
		fd = do_open(w, "d/f", O_RDONLY);
		assert_int_equal(mrmr_ghost_read(fd, &ghost), -1);
		close(fd);
		assert_string_equal(do_list(w, "d"), "f");
		if (again == 1) {
			/* what became of it does not matter */
			assert_int_equal(do_unlink(w, "d/f"), 0);
		}
		served_come_back(p, again == 0);
		assert_string_equal(do_list(w, "d"), again == 1 ? "" : "f");
		if (again == 0) {
			assert_true(has_bytes(w, "d/f", &rebuilt_file));
			assert_int_not_equal(do_where(w, "d/f"), 0);
		}
		assert_int_equal(world_trashed(w, 0, "f"), 1);
		served_free(p);
	}
}

static void test_rebuild_without_room(void **state)
{
	struct protected *p = protected_new(&(struct world_shape){
		.num_members = 3,
		.parity = "2",
		.sizes = {"32m", "2m", "2m"},
	});
	struct world *w = p->w;

	assert_int_equal(mrmr_serve_start(w->pool, p->engine), 0);
	protect_rebuilt(p);
	assert_string_equal(do_list(w, "d"), "f");
	protected_unplug(p, 1);
	assert_int_equal(change_rebuild(w), ENOSPC);
	assert_int_equal(do_where(w, "d/f"), 0);
	served_come_back(p, false);
	assert_true(has_bytes(w, "d/f", &rebuilt_file));
	assert_int_equal(world_trashed(w, 0, "f"), 0);
	served_free(p);
}

/* Killed, or failing, anywhere: there is one file of that name, with its bytes,
   and so it is when the member is back. */
static void test_rebuild_interrupted(void **state)
{
	static const char *const points[] = {
		"move-copy",     "intent-write",   "move-rename", "move-unlink",
		"absent-remove", "absent-removed", "intent-keep", "intent-end",
	};
	size_t i;
	int kill;

#ifndef MRMR_WITH_FAULTS
	print_message("[  SKIPPED ] test_rebuild_interrupted: no faults "
		      "built\n");
	return;
#endif
	for (i = 0; i < 2 * sizeof(points) / sizeof(points[0]); i++) {
		struct protected *p = served_new(3);
		struct world *w = p->w;
		struct stat st;
		size_t member;

		kill = i % 2;
		protect_rebuilt(p);
		assert_string_equal(do_list(w, "d"), "f");
		protected_unplug(p, 1);
		do_list(w, "d");
		if (kill) {
			served_die_at(p, points[i / 2], change_rebuild);
		} else {
			char fault[64];

			snprintf(fault, sizeof(fault), "%s#1=EIO",
				 points[i / 2]);
			setenv("MRMR_FAULT", fault, 1);
			change_rebuild(w);
			unsetenv("MRMR_FAULT");
		}
		assert_string_equal(do_list(w, "d"), "f");
		assert_int_equal(do_stat(w, "d/f", &member, &st), 0);
		assert_int_equal(st.st_size, 3000000);
		if (member != 0) {
			assert_true(has_bytes(w, "d/f", &rebuilt_file));
		}
		served_come_back(p, i / 2 % 2 == 1);
		assert_string_equal(do_list(w, "d"), "f");
		assert_true(has_bytes(w, "d/f", &rebuilt_file));
		assert_int_equal(strlen(world_where(w, "d/f")), 1);
		assert_int_equal(do_where(w, "d/f") != 0,
				 world_trashed(w, 0, "f"));
		served_free(p);
	}
}

/* --- bytes ------------------------------------------------------------------- */

static void protect(struct protected *p, struct pfile *a, struct pfile *b,
		    size_t row_member)
{
	uint32_t num = (uint32_t)((a->len + GRID - 1) / GRID);
	uint32_t i;

	for (i = 0; i < num; i++) {
		struct pslot slots[3] = {
			{.slot = 0, .pieces = {{.file = a, .index = i}}},
			{.slot = 1, .pieces = {{.file = b, .index = i}}},
		};
		struct prow row = {.row = 0, .member = row_member};

		protected_stripe(p, slots, &row, 1);
	}
}

static ssize_t read_served(struct mrmr_served *served, uint8_t *buf, size_t len,
			   uint64_t offset)
{
	struct mrmr_error err = {0};
	size_t done = 0;

	while (done < len) {
		ssize_t got;

		if (mrmr_served_prepare(served, offset + done, len - done,
					&err) == -1) {
			return -1;
		}
		got = mrmr_served_read(served, buf + done, len - done,
				       offset + done);
		if (got <= 0) {
			return got == 0 ? (ssize_t)done : got;
		}
		done += (size_t)got;
	}
	return (ssize_t)done;
}

static void test_bytes(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;
	size_t len = 5 * GRID + 100;
	struct pfile *a = protected_file(p, 0, "a", 1, len, GRID);
	struct pfile *b = protected_file(p, 1, "b", 2, len, GRID);
	struct mrmr_served *served = NULL;
	uint8_t *buf = malloc(len);
	struct mrmr_error err = {0};
	struct mrmr_ghost ghost;
	int fd;

	protect(p, a, b, 2);
	protected_unplug(p, 1);
	fd = do_open(w, "a", O_RDONLY);
	assert_int_equal(mrmr_ghost_read(fd, &ghost), 0);
	close(fd);
	served = mrmr_served_get(w->pool, &ghost, &err);
	assert_non_null(served);
	assert_true(mrmr_serve_is_busy(w->pool));
	assert_int_equal(read_served(served, buf, len, 0), (ssize_t)len);
	assert_memory_equal(buf, a->bytes, len);
	assert_int_equal(read_served(served, buf, 1000, len - 500), 500);
	assert_memory_equal(buf, a->bytes + len - 500, 500);
	mrmr_served_put(served);
	assert_false(mrmr_serve_is_busy(w->pool));

	/* With the parity away as well nothing can be computed. */
	served_reopen(p);
	protected_unplug(p, 1 | 4);
	served = mrmr_served_get(w->pool, &ghost, &err);
	assert_non_null(served);
	assert_int_equal(read_served(served, buf, 1000, 0), -1);
	mrmr_served_put(served);
	free(buf);
	served_free(p);
}

/* A drive that is there, and does not give the bytes. */
static void test_bytes_of_file(void **state)
{
	struct protected *p = served_new(3);
	struct world *w = p->w;
	struct pfile *a = protected_file(p, 0, "a", 1, 2 * GRID, GRID);
	struct pfile *b = protected_file(p, 1, "b", 2, 2 * GRID, GRID);
	struct mrmr_served *served = NULL;
	uint8_t *buf = malloc(2 * GRID);
	struct mrmr_error err = {0};
	int fd;

	protect(p, a, b, 2);
	fd = do_open(w, "a", O_RDWR);
	served = mrmr_served_get_file(w->pool, fd, &err);
	assert_non_null(served);
	assert_int_equal(read_served(served, buf, 2 * GRID, 0), 2 * GRID);
	assert_memory_equal(buf, a->bytes, 2 * GRID);
	mrmr_served_put(served);

	/* Not once it is another version. */
	assert_int_equal(write(fd, "x", 1), 1);
	assert_null(mrmr_served_get_file(w->pool, fd, &err));
	assert_int_equal(errno, EIO);
	close(fd);
	assert_int_equal(do_create(w, "c", "never protected"), 0);
	fd = do_open(w, "c", O_RDONLY);
	assert_null(mrmr_served_get_file(w->pool, fd, &err));
	assert_int_equal(errno, EIO);
	close(fd);
	free(buf);
	served_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_stay),
		cmocka_unit_test(test_not_without_catalogue),
		cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_other_kinds),
		cmocka_unit_test(test_online_first),
		cmocka_unit_test(test_two_away),
		cmocka_unit_test(test_log_ahead),
		cmocka_unit_test(test_links_ahead),
		cmocka_unit_test(test_two_names_of_one),
		cmocka_unit_test(test_symlink_renamed_meanwhile),
		cmocka_unit_test(test_log_behind),
		cmocka_unit_test(test_directory_renamed_meanwhile),
		cmocka_unit_test(test_rights_follow),
		cmocka_unit_test(test_making_fails),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_rename),
		cmocka_unit_test(test_replace),
		cmocka_unit_test(test_losers_that_are_away),
		cmocka_unit_test(test_rights_to_change),
		cmocka_unit_test(test_back_unnoticed),
		cmocka_unit_test(test_attributes_change),
		cmocka_unit_test(test_attributes_without_room),
		cmocka_unit_test(test_rebuild),
		cmocka_unit_test(test_rebuild_without_room),
		cmocka_unit_test(test_rebuild_interrupted),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_bytes_of_file),
	};

	return WORLD_MAIN("absent", tests);
}
