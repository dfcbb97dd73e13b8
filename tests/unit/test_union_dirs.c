/*
 * Unit tests: directories: their clones, attributes and listings, and the
 * descriptors that are kept of them.
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
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/dirattr.h>
#include <mrmr/listing.h>
#include <mrmr/missed.h>

#include "world.h"

/* Members are filled in turn, so that everybody gets something. */
static struct world *spreading(size_t num_members)
{
	return world_new(
		&(struct world_shape){.num_members = num_members,
				      .config = ", \"placement\": \"spread\""});
}

/* A file of dir on each member, so that all have a clone of it. */
static void fill(struct world *w, const char *dir)
{
	unsigned int missing = (unsigned int)w->shape.num_members;
	unsigned int i;
	char path[256];

	for (i = 0; missing > 0; i++) {
		size_t m;

		assert_true(i < 1000);
		snprintf(path, sizeof(path), "%s/fill%u", dir, i);
		assert_int_equal(do_create(w, path, "x"), 0);
		missing = 0;
		for (m = 0; m < w->shape.num_members; m++) {
			missing += !world_there(world_drive(w, m, dir));
		}
	}
}

/* --- attributes ------------------------------------------------------------ */

/* user::rwx user:1001:r-x group::r-x mask::r-x other::---, in the kernel's
   form. */
static const unsigned char acl[] = {
	2, 0,   0,   0,   1,   0,   7,  0, 255, 255, 255, 255, 2,   0,   5,
	0, 233, 3,   0,   0,   4,   0,  5, 0,   255, 255, 255, 255, 16,  0,
	5, 0,   255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255,
};

static void assert_same_time(struct timespec a, struct timespec b)
{
	assert_int_equal(a.tv_sec, b.tv_sec);
	assert_int_equal(a.tv_nsec, b.tv_nsec);
}

static bool keeps_user_xattrs(const char *path)
{
	return setxattr(path, "user.probe", "", 0, 0) == 0 &&
	       removexattr(path, "user.probe") == 0;
}

static void assert_same_xattr(const char *a_path, const char *b_path,
			      const char *name)
{
	char a[256];
	char b[256];
	ssize_t a_len = getxattr(a_path, name, a, sizeof(a));
	ssize_t b_len = getxattr(b_path, name, b, sizeof(b));

	if (a_len == -1 || a_len != b_len || memcmp(a, b, (size_t)a_len) != 0) {
		fail_msg("%s of %s and %s: %zd, %zd bytes", name, a_path,
			 b_path, a_len, b_len);
	}
}

static void assert_is_clone(struct world *w, size_t member, const char *path)
{
	struct stat spine;
	struct stat clone;

	assert_return_code(stat(world_spine(w, path), &spine), errno);
	assert_return_code(stat(world_drive(w, member, path), &clone), errno);
	assert_int_equal(spine.st_mode, clone.st_mode);
	assert_int_equal(spine.st_uid, clone.st_uid);
	assert_int_equal(spine.st_gid, clone.st_gid);
}

static void clones_have_what_the_spine_has(void **state)
{
	struct timespec ts[2] = {{.tv_sec = 1000000000, .tv_nsec = 1},
				 {.tv_sec = 1100000000, .tv_nsec = 2}};
	struct world *w = spreading(3);
	bool user_xattrs;
	size_t m;

	assert_int_equal(do_mkdir(w, "p", 0755), 0);
	assert_int_equal(do_mkdir(w, "p/d", 0755), 0);
	user_xattrs = keeps_user_xattrs(world_spine(w, "p/d"));
	assert_return_code(chown(world_spine(w, "p/d"), 1000, 2000), errno);
	assert_return_code(setxattr(world_spine(w, "p/d"),
				    "system.posix_acl_access", acl, sizeof(acl),
				    0),
			   errno);
	assert_return_code(setxattr(world_spine(w, "p/d"),
				    "system.posix_acl_default", acl,
				    sizeof(acl), 0),
			   errno);
	assert_return_code(chmod(world_spine(w, "p/d"), 02750), errno);
	assert_return_code(setxattr(world_spine(w, "p/d"), "security.NTACL",
				    "acl\0of\0windows", 15, 0),
			   errno);
	if (user_xattrs) {
		assert_return_code(setxattr(world_spine(w, "p/d"),
					    "user.DOSATTRIB", "0x10", 5, 0),
				   errno);
	} else {
		print_message("[  SKIPPED ] user xattrs: tmpfs has none\n");
	}
	for (m = 0; m < 3; m++) {
		const char *clone = world_drive(w, m, "p/d");
		struct stat st;

		/* the first one is made by mkdir, and changed with it */
		if (!world_there(clone)) {
			struct timespec before;

			assert_return_code(utimensat(AT_FDCWD,
						     world_spine(w, "p/d"), ts,
						     0),
					   errno);
			assert_return_code(stat(world_drive(w, m, ""), &st),
					   errno);
			before = st.st_mtim;
			assert_return_code(mrmr_dir_lock(do_dir(w, "p/d")),
					   errno);
			assert_return_code(mrmr_dir_clone_to(do_dir(w, "p/d"),
							     m),
					   errno);
			mrmr_dir_unlock(do_dir(w, "p/d"));
			assert_return_code(stat(clone, &st), errno);
			assert_same_time(st.st_atim, ts[0]);
			assert_same_time(st.st_mtim, ts[1]);
			/* nobody sees that something was made in the parent */
			assert_return_code(stat(world_drive(w, m, ""), &st),
					   errno);
			assert_same_time(st.st_mtim, before);
		} else {
			world_later(w);
			do_list(w, "p/d");
		}
		assert_is_clone(w, m, "p");
		assert_is_clone(w, m, "p/d");
		assert_same_xattr(world_spine(w, "p/d"), clone,
				  "system.posix_acl_access");
		assert_same_xattr(world_spine(w, "p/d"), clone,
				  "system.posix_acl_default");
		assert_same_xattr(world_spine(w, "p/d"), clone,
				  "security.NTACL");
		if (user_xattrs) {
			assert_same_xattr(world_spine(w, "p/d"), clone,
					  "user.DOSATTRIB");
		}
	}
	world_free(w);
}

static void parents_keep_their_mtime(void **state)
{
	struct timespec ts[2] = {{.tv_sec = 1000000000},
				 {.tv_sec = 1100000000}};
	struct world *w = spreading(3);
	struct stat st;
	unsigned int i;
	char path[64];

	assert_int_equal(do_mkdir(w, "p", 0755), 0);
	assert_int_equal(do_mkdir(w, "p/q", 0755), 0);
	fill(w, "p");
	for (i = 0; i < 3; i++) {
		assert_return_code(utimensat(AT_FDCWD, world_drive(w, i, "p"),
					     ts, 0),
				   errno);
	}
	assert_return_code(utimensat(AT_FDCWD, world_spine(w, "p"), ts, 0),
			   errno);
	for (i = 0; i < 30; i++) {
		snprintf(path, sizeof(path), "p/q/f%u", i);
		assert_int_equal(do_create(w, path, ""), 0);
	}
	for (i = 0; i < 3; i++) {
		assert_true(world_there(world_drive(w, i, "p/q")));
		assert_return_code(stat(world_drive(w, i, "p"), &st), errno);
		assert_same_time(st.st_mtim, ts[1]);
	}
	/* bringing one in is no change either */
	world_write(world_member(w, 1, "p/stranger/f"), "x");
	assert_return_code(utimensat(AT_FDCWD, world_drive(w, 1, "p"), ts, 0),
			   errno);
	assert_string_equal(do_read(w, "p/stranger/f"), "x");
	assert_return_code(stat(world_spine(w, "p"), &st), errno);
	assert_same_time(st.st_mtim, ts[1]);
	world_free(w);
}

static void newest_times_are_over_all(void **state)
{
	struct timespec ts[2] = {{.tv_sec = 1000000000},
				 {.tv_sec = 1100000000}};
	struct world *w = spreading(3);
	struct stat st;

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	fill(w, "d");
	assert_return_code(utimensat(AT_FDCWD, world_drive(w, 0, "d"), ts, 0),
			   errno);
	assert_return_code(utimensat(AT_FDCWD, world_drive(w, 2, "d"), ts, 0),
			   errno);
	assert_return_code(utimensat(AT_FDCWD, world_spine(w, "d"), ts, 0),
			   errno);
	ts[1].tv_sec++;
	assert_return_code(utimensat(AT_FDCWD, world_drive(w, 1, "d"), ts, 0),
			   errno);
	assert_return_code(stat(world_spine(w, "d"), &st), errno);
	mrmr_dir_newest_times(do_dir(w, "d"), &st);
	assert_same_time(st.st_mtim, ts[1]);

	ts[1].tv_sec = 900000000;
	mrmr_dir_mirror_times(do_dir(w, "d"), ts);
	assert_return_code(stat(world_drive(w, 1, "d"), &st), errno);
	assert_same_time(st.st_mtim, ts[1]);
	world_free(w);
}

static void changes_are_mirrored(void **state)
{
	struct world *w = spreading(3);
	struct mrmr_dir *dir = NULL;
	size_t m;

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	fill(w, "d");
	dir = do_dir(w, "d");
	assert_return_code(mrmr_dir_lock(dir), errno);
	assert_return_code(fchmod(dir->spine_fd, 0700), errno);
	assert_return_code(fchown(dir->spine_fd, 1000, 1001), errno);
	mrmr_dir_mirror(dir, NULL);
	mrmr_dir_unlock(dir);
	for (m = 0; m < 3; m++) {
		assert_is_clone(w, m, "d");
	}

	assert_return_code(mrmr_dir_lock(dir), errno);
	assert_return_code(fsetxattr(dir->spine_fd, "security.NTACL", "1", 1,
				     0),
			   errno);
	mrmr_dir_mirror(dir, "security.NTACL");
	mrmr_dir_unlock(dir);
	for (m = 0; m < 3; m++) {
		assert_same_xattr(world_spine(w, "d"), world_drive(w, m, "d"),
				  "security.NTACL");
	}
	assert_return_code(mrmr_dir_lock(dir), errno);
	assert_return_code(fremovexattr(dir->spine_fd, "security.NTACL"),
			   errno);
	mrmr_dir_mirror(dir, "security.NTACL");
	mrmr_dir_unlock(dir);
	for (m = 0; m < 3; m++) {
		assert_int_equal(getxattr(world_drive(w, m, "d"),
					  "security.NTACL", NULL, 0),
				 -1);
		assert_int_equal(errno, ENODATA);
	}
	world_free(w);
}

/* Timestamps are no finer than the kernel's tick. */
static void tick(void)
{
	struct timespec ts = {.tv_nsec = 12000000};

	nanosleep(&ts, NULL);
}

static void chmod_behind_our_back_does_not_hold(void **state)
{
	struct world *w = spreading(3);
	size_t m;

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	fill(w, "d");
	tick();
	assert_return_code(chmod(world_member(w, 1, "d"), 0711), errno);
	assert_return_code(chown(world_member(w, 1, "d"), 1000, 1000), errno);
	world_later(w);
	do_list(w, "d");
	world_later(w);
	do_list(w, "d");
	for (m = 0; m < 3; m++) {
		assert_is_clone(w, m, "d");
	}
	{
		struct stat st;

		assert_return_code(stat(world_spine(w, "d"), &st), errno);
		assert_int_equal(st.st_mode & 07777, 0755);
		assert_int_equal(st.st_uid, 0);
	}

	/* one of the spine does */
	tick();
	assert_return_code(chmod(world_spine(w, "d"), 0770), errno);
	world_later(w);
	do_list(w, "d");
	for (m = 0; m < 3; m++) {
		struct stat st;

		assert_is_clone(w, m, "d");
		assert_return_code(stat(world_drive(w, m, "d"), &st), errno);
		assert_int_equal(st.st_mode & 07777, 0770);
	}
	world_free(w);
}

static void chmod_of(struct world *w, const char *path, mode_t mode)
{
	struct mrmr_dir *dir = do_dir(w, path);

	assert_return_code(mrmr_dir_lock(dir), errno);
	assert_return_code(fchmod(dir->spine_fd, mode), errno);
	mrmr_dir_mirror(dir, NULL);
	mrmr_dir_unlock(dir);
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	assert_return_code(stat(path, &st), errno);
	return st.st_mode & 07777;
}

static void who_was_away_gets_the_spines_rights(void **state)
{
	struct world *w = spreading(3);

	assert_int_equal(do_mkdir(w, "d", 0777), 0);
	assert_int_equal(do_mkdir(w, "e", 0777), 0);
	fill(w, "d");
	fill(w, "e");
	world_unplug(w, 2);
	world_later(w);
	chmod_of(w, "d", 0700);
	chmod_of(w, "e", 0700);
	assert_int_equal(mode_of(world_drive(w, 2, "d")), 0777);
	/* A file that somebody adds to it makes its clone the newest, but its
	   rights are still the old ones. */
	tick();
	world_write(world_drive(w, 2, "d/added"), "elsewhere");
	world_plug(w, 2);
	world_later(w);
	assert_string_equal(do_read(w, "d/added"), "elsewhere");
	do_list(w, "e");
	assert_int_equal(mode_of(world_spine(w, "d")), 0700);
	assert_int_equal(mode_of(world_drive(w, 2, "d")), 0700);
	assert_int_equal(mode_of(world_drive(w, 2, "e")), 0700);
	assert_int_equal(mode_of(world_drive(w, 0, "d")), 0700);
	/* the notes are gone */
	assert_false(mrmr_missed_any(w->pool, &w->pool->members[2]));
	assert_false(w->pool->members[2].missed);
	world_free(w);
}

/* An ACL or an extended attribute may change and the mode be the same. */
static void who_was_away_gets_the_spines_xattrs(void **state)
{
	struct world *w = spreading(3);
	struct mrmr_dir *dir = NULL;

	assert_int_equal(do_mkdir(w, "d", 0777), 0);
	fill(w, "d");
	world_unplug(w, 0);
	world_later(w);
	dir = do_dir(w, "d");
	assert_return_code(mrmr_dir_lock(dir), errno);
	assert_return_code(fsetxattr(dir->spine_fd, "security.NTACL", "new", 3,
				     0),
			   errno);
	mrmr_dir_mirror(dir, "security.NTACL");
	mrmr_dir_unlock(dir);
	/* renamed as well: notes are of directories, not of paths */
	assert_int_equal(do_rename(w, "d", "e"), 0);
	world_close(w);
	world_plug(w, 0);
	world_open(w);
	do_list(w, "e");
	assert_same_xattr(world_spine(w, "e"), world_drive(w, 0, "e"),
			  "security.NTACL");
	world_free(w);
}

/* --- clones ---------------------------------------------------------------- */

static void directories_are_cloned_when_needed(void **state)
{
	struct world *w =
		world_new(&(struct world_shape){.num_members = 3,
						.sizes = {"32m", "16m", "8m"}});

	assert_int_equal(do_mkdir(w, "a", 0755), 0);
	assert_int_equal(do_mkdir(w, "a/b", 0755), 0);
	assert_int_equal(do_create(w, "a/b/f", ""), 0);
	assert_string_equal(world_where(w, "a"), "s0");
	assert_string_equal(world_where(w, "a/b"), "s0");
	world_write(world_member(w, 2, "g"), "x");
	/* a file's own member gets the directory it is renamed into */
	assert_int_equal(do_rename(w, "g", "a/b/g"), 0);
	assert_string_equal(world_where(w, "a/b"), "s02");
	assert_string_equal(world_where(w, "a/b/g"), "2");
	world_free(w);
}

static void staging_is_empty_afterwards(void **state)
{
	struct world *w = spreading(3);

	assert_int_equal(do_mkdir(w, "a", 0755), 0);
	fill(w, "a");
	assert_int_equal(do_rename(w, "a", "b"), 0);
	assert_int_not_equal(rmdir(world_path(w, "state/intents")), -1);
	assert_int_not_equal(rmdir(world_path(w, "state/staging")), -1);
	assert_int_not_equal(rmdir(world_drive(w, 1, ".mrmr/rebuild")), -1);
	/* and are made again when needed */
	assert_int_equal(do_mkdir(w, "b/c", 0755), 0);
	fill(w, "b/c");
	assert_int_equal(do_rename(w, "b", "a"), 0);
	world_write(world_member(w, 1, "x/y"), "");
	assert_string_equal(do_list(w, ""), "a/ x/");
	world_free(w);
}

/* --- behind our back ------------------------------------------------------- */

static void names_appear_and_vanish(void **state)
{
	struct world *w = spreading(3);

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	assert_string_equal(do_list(w, "d"), "");
	world_write(world_member(w, 0, "d/f"), "0");
	world_write(world_member(w, 1, "d/g"), "1");
	world_write(world_member(w, 2, "d/sub/h"), "2");
	assert_string_equal(do_list(w, "d"), "f g sub/");
	assert_string_equal(do_list(w, "d/sub"), "h");
	assert_string_equal(do_read(w, "d/sub/h"), "2");
	assert_return_code(unlink(world_member(w, 0, "d/f")), errno);
	assert_return_code(unlink(world_member(w, 2, "d/sub/h")), errno);
	assert_string_equal(do_list(w, "d"), "g sub/");
	assert_return_code(rmdir(world_member(w, 2, "d/sub")), errno);
	assert_string_equal(do_list(w, "d"), "g");
	assert_string_equal(world_where(w, "d/sub"), "");
	world_free(w);
}

static void prune_only_while_all_are_online(void **state)
{
	struct world *w = spreading(3);

	world_write(world_member(w, 2, "d/sub/f"), "2");
	world_write(world_member(w, 2, "e/sub/f"), "2");
	assert_string_equal(do_list(w, "d/sub"), "f");
	assert_string_equal(do_list(w, "e/sub"), "f");
	world_unplug(w, 2);
	world_later(w);
	assert_string_equal(do_list(w, ""), "d/ e/");
	assert_string_equal(do_list(w, "d"), "sub/");
	assert_string_equal(do_list(w, "d/sub"), "");
	assert_string_equal(world_where(w, "d/sub"), "s2");
	world_plug(w, 2);
	world_later(w);
	assert_string_equal(do_list(w, "d/sub"), "f");

	assert_return_code(unlink(world_member(w, 2, "d/sub/f")), errno);
	assert_return_code(rmdir(world_member(w, 2, "d/sub")), errno);
	assert_return_code(rmdir(world_member(w, 2, "d")), errno);
	world_unplug(w, 1);
	world_later(w);
	assert_string_equal(do_list(w, ""), "d/ e/");
	world_plug(w, 1);
	world_later(w);
	assert_string_equal(do_list(w, ""), "e/");
	assert_string_equal(world_where(w, "d"), "");
	world_free(w);
}

/* A file in the spine is somebody's: nothing above it is pruned. */
static void prune_spares_what_is_not_ours(void **state)
{
	struct world *w = spreading(3);

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	world_write(world_spine(w, "d/sub/mine"), "mine");
	assert_return_code(rmdir(world_member(w,
					      (size_t)(world_where(w, "d")[1] -
						       '0'),
					      "d")),
			   errno);
	do_list(w, "");
	assert_string_equal(world_read(world_spine(w, "d/sub/mine")), "mine");
	world_free(w);
}

static void a_clone_removed_behind_our_back_is_made_again(void **state)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 1});

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	assert_int_equal(do_create(w, "d/f", ""), 0);
	assert_return_code(unlink(world_member(w, 0, "d/f")), errno);
	assert_return_code(rmdir(world_member(w, 0, "d")), errno);
	/* at once: the descriptor that is kept leads nowhere now */
	assert_int_equal(do_create(w, "d/g", "g"), 0);
	assert_string_equal(do_read(w, "d/g"), "g");
	world_free(w);
}

static void rmdir_refused_by_a_member_is_undone(void **state)
{
	struct timespec ts[2] = {{.tv_sec = 1000000000},
				 {.tv_sec = 1100000000}};
	struct world *w = spreading(3);
	struct stat st;
	unsigned int i;
	size_t m;
	char path[64];

	assert_int_equal(do_mkdir(w, "d", 0751), 0);
	fill(w, "d");
	for (i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), "d/fill%u", i);
		if (do_unlink(w, path) != 0) {
			break;
		}
	}
	assert_string_equal(world_where(w, "d"), "s012");
	assert_return_code(utimensat(AT_FDCWD, world_spine(w, "d"), ts, 0),
			   errno);
	world_write(world_member(w, 2, "d/new"), "");
	assert_int_equal(do_rmdir(w, "d"), ENOTEMPTY);
	assert_return_code(unlink(world_member(w, 2, "d/new")), errno);
	/* The last member has a sticky bit that the others have not, which only
	   the attempt can tell. */
	assert_return_code(chmod(world_spine(w, ""), 0777), errno);
	world_later(w);
	do_list(w, "");
	assert_return_code(chmod(world_member(w, 2, ""), 01777), errno);
	world_user(1000);
	assert_int_equal(do_rmdir(w, "d"), EPERM);
	world_user(0);
	assert_string_equal(world_where(w, "d"), "s012");
	for (m = 0; m < 3; m++) {
		assert_is_clone(w, m, "d");
		assert_return_code(stat(world_drive(w, m, "d"), &st), errno);
		if (m < 2) {
			assert_same_time(st.st_mtim, ts[1]);
		}
	}
	assert_int_equal(do_rmdir(w, "d"), 0);
	assert_string_equal(world_where(w, "d"), "");
	world_free(w);
}

/* Another process's rmdir that was refused and undone has left new clones; we
   still have the old ones open. */
static void clones_that_another_process_made_again(void **state)
{
	struct world *w = world_new(&(
		struct world_shape){.num_members = 2, .sizes = {"32m", "16m"}});
	struct mrmr_pool *other = NULL;
	struct mrmr_pool *ours = w->pool;

	world_write(world_member(w, 1, "d/g"), "");
	assert_int_equal(do_create(w, "d/f", ""), 0);
	assert_int_equal(do_unlink(w, "d/f"), 0);
	assert_return_code(unlink(world_member(w, 1, "d/g")), errno);
	assert_string_equal(world_where(w, "d"), "s01");
	assert_return_code(chmod(world_spine(w, ""), 0777), errno);
	world_later(w);
	assert_string_equal(do_list(w, "d"), "");
	world_open_in_child(w);
	other = w->pool;
	do_list(w, "");
	assert_return_code(chmod(world_member(w, 1, ""), 01777), errno);
	world_user(1000);
	assert_int_equal(do_rmdir(w, "d"), EPERM);
	world_user(0);
	assert_int_equal(do_create(w, "d/f", "theirs"), 0);
	assert_int_equal(do_where(w, "d/f"), 0);

	w->pool = ours;
	assert_string_equal(do_read(w, "d/f"), "theirs");
	assert_int_equal(do_create(w, "d/f", "ours"), EEXIST);
	talloc_free(other);
	world_free(w);
}

/* --- many ------------------------------------------------------------------ */

static void a_listing_of_100000_files(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3,
				      .sizes = {"256m", "256m", "256m"}});
	struct mrmr_listing *listing = NULL;
	struct timespec start, end;
	unsigned char *seen = calloc(100001, 1);
	size_t counts[3] = {0};
	size_t n, i;
	int fds[3];
	size_t m;

	assert_non_null(seen);
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	for (m = 0; m < 3; m++) {
		mkdir(world_member(w, m, "d"), 0755);
		fds[m] = open(world_member(w, m, "d"), O_RDONLY | O_DIRECTORY);
		assert_return_code(fds[m], errno);
	}
	for (i = 0; i < 100000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "file-%06zu", i);
		assert_return_code(mknodat(fds[i % 3], name, S_IFREG | 0644, 0),
				   errno);
		if (i % 1000 == 0) { /* and some twice */
			assert_return_code(mknodat(fds[(i + 1) % 3], name,
						   S_IFREG | 0644, 0),
					   errno);
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	listing = mrmr_listing_new(NULL, do_dir(w, "d"));
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_non_null(listing);
	n = mrmr_listing_count(listing);
	assert_int_equal(n, 100002);
	for (i = 2; i < n; i++) {
		struct mrmr_listing_entry entry = mrmr_listing_get(listing, i);
		unsigned long number = strtoul(entry.name + 5, NULL, 10);

		assert_true(number < 100000);
		assert_int_equal(seen[number], 0);
		seen[number] = 1;
		assert_int_equal(entry.type, DT_REG);
		counts[entry.member]++;
	}
	assert_true(counts[0] > 33000 && counts[1] > 33000 &&
		    counts[2] > 33000);
	/* generous, for sanitizers and slow machines: it takes 50 ms */
	assert_true(end.tv_sec - start.tv_sec < 5);
	talloc_free(listing);
	free(seen);
	for (m = 0; m < 3; m++) {
		close(fds[m]);
	}
	world_free(w);
}

static void more_directories_than_are_kept(void **state)
{
	struct world *w = spreading(12);
	unsigned int closed;
	unsigned int fds;
	unsigned int round;
	unsigned int i;
	char path[64];

	world_close(w);
	closed = world_count_fds();
	world_open(w);
	for (i = 0; i < 200; i++) {
		snprintf(path, sizeof(path), "d%u", i);
		assert_int_equal(do_mkdir(w, path, 0755), 0);
	}
	fds = world_count_fds();
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 200; i++) {
			snprintf(path, sizeof(path), "d%u/f%u", i, round);
			assert_int_equal(do_create(w, path, path), 0);
		}
		/* 64 directories, 13 each, at the very most */
		assert_true(world_count_fds() <= fds + 64 * 13);
	}
	for (i = 0; i < 200; i++) {
		snprintf(path, sizeof(path), "d%u/f0", i);
		assert_string_equal(do_read(w, path), path);
	}
	mrmr_pool_let_go(w->pool);
	/* nothing but the state directory, the spine and the tree lock */
	assert_int_equal(world_count_fds(), closed + 3);
	world_use(w);
	assert_string_equal(do_read(w, "d7/f2"), "d7/f2");
	world_free(w);
}

/* Descriptors and memory, when the same is done over and over. */
static void nothing_leaks(void **state)
{
	struct world *w = spreading(3);
	struct stat st;
	unsigned int fds = 0;
	size_t blocks = 0;
	unsigned int round;
	char resolved[MRMR_PATH_MAX];
	size_t member;

	for (round = 0; round < 60; round++) {
		assert_int_equal(do_mkdir(w, "a", 0755), 0);
		assert_int_equal(do_mkdir(w, "a/b", 0755), 0);
		assert_int_equal(do_create(w, "a/b/f", "x"), 0);
		assert_int_equal(do_create(w, "a/b/g", "x"), 0);
		assert_int_equal(do_create(w, "a/b/f", "x"), EEXIST);
		assert_int_equal(do_create(w, "a/n/f", "x"), ENOENT);
		assert_int_equal(do_symlink(w, "a/b/f", "link"), 0);
		assert_return_code(mrmr_path_resolve(w->pool, w->pool->spine_fd,
						     "link", resolved),
				   errno);
		assert_int_equal(mrmr_path_resolve(w->pool, w->pool->spine_fd,
						   "link/x", resolved),
				 -1);
		assert_int_equal(do_link(w, "a/b/f", "a/l"), 0);
		assert_int_equal(do_stat(w, "a/b/n", &member, &st), ENOENT);
		assert_int_equal(do_rename(w, "a/b/g", "a/b/f"), 0);
		assert_int_equal(do_rename(w, "a/b", "c"), 0);
		assert_int_equal(do_rename(w, "c", "a"), EEXIST);
		assert_int_equal(do_rename(w, "c", "c/d"), EINVAL);
		assert_string_equal(do_list(w, ""), "a/ c/ link");
		assert_string_equal(do_read(w, "c/f"), "x");
		assert_int_equal(do_rmdir(w, "c"), ENOTEMPTY);
		world_write(world_member(w, 0, "dup"), "0");
		world_write(world_member(w, 1, "dup"), "1");
		world_write(world_member(w, 2, "s/t/u"), "1");
		assert_string_equal(do_read(w, "s/t/u"), "1");
		assert_int_equal(do_unlink(w, "s/t/u"), 0);
		assert_int_equal(do_unlink(w, "dup"), 0);
		assert_int_equal(do_unlink(w, "c/f"), 0);
		assert_int_equal(do_unlink(w, "a/l"), 0);
		assert_int_equal(do_unlink(w, "link"), 0);
		assert_int_equal(do_rmdir(w, "s/t"), 0);
		assert_int_equal(do_rmdir(w, "s"), 0);
		assert_int_equal(do_rmdir(w, "c"), 0);
		assert_int_equal(do_rmdir(w, "a"), 0);
		world_later(w);
		mrmr_pool_let_go(w->pool);
		world_use(w);
		if (round == 4) {
			fds = world_count_fds();
			blocks = talloc_total_blocks(w->pool);
		}
	}
	assert_int_equal(world_count_fds(), fds);
	assert_int_equal(talloc_total_blocks(w->pool), blocks);
	world_free(w);
}

/* A process that is short of descriptors gets errors, not an empty share. */
static void short_of_descriptors(void **state)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 12});
	struct rlimit limit;
	struct rlimit low;
	unsigned int i;
	size_t member;
	struct stat st;
	int first;

	world_write(world_member(w, 11, "d/f"), "x");
	assert_string_equal(do_read(w, "d/f"), "x");
	mrmr_pool_let_go(w->pool);
	assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
	first = dup(0);
	assert_return_code(first, errno);
	close(first);
	for (i = 0; i < 40; i++) {
		int error;

		low = limit;
		low.rlim_cur = (rlim_t)first + i;
		mrmr_pool_let_go(w->pool);
		assert_return_code(setrlimit(RLIMIT_NOFILE, &low), errno);
		error = do_stat(w, "d/f", &member, &st);
		if (error != 0 && error != EMFILE && error != ENFILE) {
			setrlimit(RLIMIT_NOFILE, &limit);
			fail_msg("%u descriptors: %s", i, strerror(error));
		}
		assert_int_not_equal(do_create(w, "d/f", ""), 0);
		assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
		assert_int_not_equal(error, ENOENT);
	}
	world_later(w);
	assert_string_equal(do_read(w, "d/f"), "x");
	assert_string_equal(world_where(w, "d/f"), "b");
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clones_have_what_the_spine_has),
		cmocka_unit_test(parents_keep_their_mtime),
		cmocka_unit_test(newest_times_are_over_all),
		cmocka_unit_test(changes_are_mirrored),
		cmocka_unit_test(chmod_behind_our_back_does_not_hold),
		cmocka_unit_test(who_was_away_gets_the_spines_rights),
		cmocka_unit_test(who_was_away_gets_the_spines_xattrs),
		cmocka_unit_test(directories_are_cloned_when_needed),
		cmocka_unit_test(staging_is_empty_afterwards),
		cmocka_unit_test(names_appear_and_vanish),
		cmocka_unit_test(prune_only_while_all_are_online),
		cmocka_unit_test(prune_spares_what_is_not_ours),
		cmocka_unit_test(a_clone_removed_behind_our_back_is_made_again),
		cmocka_unit_test(rmdir_refused_by_a_member_is_undone),
		cmocka_unit_test(clones_that_another_process_made_again),
		cmocka_unit_test(a_listing_of_100000_files),
		cmocka_unit_test(more_directories_than_are_kept),
		cmocka_unit_test(nothing_leaks),
		cmocka_unit_test(short_of_descriptors),
	};

	return WORLD_MAIN("union: directories", tests);
}
