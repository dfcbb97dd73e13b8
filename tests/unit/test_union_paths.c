/*
 * Unit tests: paths over the union: symlinks, absolute and relative ones, and
 * what leads out of the pool.
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

#include "world.h"

/*
 *  a/b/f              a file, on member 2
 *  a/up -> ../c       on member 1
 *  c/g                a file, on member 0
 */
static struct world *with_links(void)
{
	struct world *w = world_new(&(struct world_shape){.num_members = 3});

	world_write(world_member(w, 2, "a/b/f"), "f");
	world_write(world_member(w, 0, "c/g"), "g");
	world_write(world_member(w, 1, "a/other"), "other");
	assert_return_code(symlink("../c", world_member(w, 1, "a/up")), errno);
	return w;
}

/* Where a path leads: from the root of the pool, or absolute outside of it. An
   error as its name. */
static const char *resolved(struct world *w, const char *path)
{
	static char result[MRMR_PATH_MAX];
	size_t len;

	world_use(w);
	if (mrmr_path_resolve(w->pool, w->pool->spine_fd, path, result) == -1) {
		return strerrorname_np(errno);
	}
	len = strlen(world_spine(w, ""));
	if (strncmp(result, world_spine(w, ""), len) != 0) {
		return result;
	}
	return result[len] == '/' ? result + len + 1 : "";
}

static void without_links(void **state)
{
	struct world *w = with_links();
	char path[MRMR_PATH_MAX];

	assert_string_equal(resolved(w, ""), "");
	assert_string_equal(resolved(w, "."), "");
	assert_string_equal(resolved(w, "a"), "a");
	assert_string_equal(resolved(w, "a/"), "a");
	assert_string_equal(resolved(w, "a/b/f"), "a/b/f");
	assert_string_equal(resolved(w, "./a//b/./f"), "a/b/f");
	assert_string_equal(resolved(w, "a/b/../../c/g"), "c/g");
	assert_string_equal(resolved(w, "a/b/.."), "a");
	assert_string_equal(resolved(w, "a/.."), "");
	snprintf(path, sizeof(path), "%s/a/b/f", world_spine(w, ""));
	assert_string_equal(resolved(w, path), "a/b/f");
	assert_string_equal(resolved(w, world_spine(w, "")), "");

	assert_string_equal(resolved(w, "none"), "ENOENT");
	assert_string_equal(resolved(w, "none/x"), "ENOENT");
	assert_string_equal(resolved(w, "a/b/f/x"), "ENOTDIR");
	assert_string_equal(resolved(w, "a/b/f/"), "ENOTDIR");
	assert_string_equal(resolved(w, "a/b/f/.."), "ENOTDIR");
	world_free(w);
}

static void through_links(void **state)
{
	struct world *w = with_links();
	char path[MRMR_PATH_MAX];

	assert_string_equal(resolved(w, "a/up"), "c");
	assert_string_equal(resolved(w, "a/up/g"), "c/g");
	assert_string_equal(resolved(w, "a/up/../a/b"), "a/b");
	/* ".." is of where the link leads, as the kernel has it */
	assert_string_equal(resolved(w, "a/up/.."), "");
	assert_int_equal(do_symlink(w, "a/up/g", "to-g"), 0);
	assert_string_equal(resolved(w, "to-g"), "c/g");
	assert_string_equal(resolved(w, "to-g/x"), "ENOTDIR");
	assert_int_equal(do_symlink(w, "to-g", "to-to-g"), 0);
	assert_string_equal(resolved(w, "to-to-g"), "c/g");
	assert_int_equal(do_symlink(w, ".", "here"), 0);
	assert_string_equal(resolved(w, "here/here/here/a"), "a");
	assert_int_equal(do_symlink(w, "nowhere", "dangling"), 0);
	assert_string_equal(resolved(w, "dangling"), "ENOENT");

	assert_int_equal(do_symlink(w, world_spine(w, "a/b"), "absolute"), 0);
	assert_string_equal(resolved(w, "absolute"), "a/b");
	assert_string_equal(resolved(w, "absolute/f"), "a/b/f");
	assert_int_equal(do_symlink(w, world_spine(w, ""), "root"), 0);
	assert_string_equal(resolved(w, "root"), "");
	assert_string_equal(resolved(w, "c/../root/c/g"), "c/g");
	snprintf(path, sizeof(path), "%s//a/./b/", world_spine(w, ""));
	assert_int_equal(do_symlink(w, path, "odd"), 0);
	assert_string_equal(resolved(w, "odd/f"), "a/b/f");
	world_free(w);
}

static void loops_end(void **state)
{
	struct world *w = with_links();
	unsigned int i;
	char name[32];
	char target[32];

	assert_int_equal(do_symlink(w, "self", "self"), 0);
	assert_string_equal(resolved(w, "self"), "ELOOP");
	assert_int_equal(do_symlink(w, "pong", "ping"), 0);
	assert_int_equal(do_symlink(w, "a/../ping", "pong"), 0);
	assert_string_equal(resolved(w, "ping"), "ELOOP");
	assert_string_equal(resolved(w, "ping/x"), "ELOOP");
	assert_int_equal(do_symlink(w, "grow/x/x/x/x/x/x/x/x/x", "grow"), 0);
	assert_string_equal(resolved(w, "grow"), "ELOOP");
	/* 40 are followed, as by the kernel */
	assert_int_equal(do_symlink(w, "c/g", "l0"), 0);
	for (i = 1; i <= 40; i++) {
		snprintf(name, sizeof(name), "l%u", i);
		snprintf(target, sizeof(target), "l%u", i - 1);
		assert_int_equal(do_symlink(w, target, name), 0);
	}
	assert_string_equal(resolved(w, "l39"), "c/g");
	assert_string_equal(resolved(w, "l40"), "ELOOP");
	world_free(w);
}

static void out_of_the_pool(void **state)
{
	struct world *w = with_links();
	char path[MRMR_PATH_MAX];
	char back[MRMR_PATH_MAX + 32];
	char *spine = NULL;

	assert_string_equal(resolved(w, ".."), "EXDEV");
	assert_string_equal(resolved(w, "a/../.."), "EXDEV");
	assert_string_equal(resolved(w, "a/up/../.."), "EXDEV");
	assert_string_equal(resolved(w, "/etc/passwd"), "EXDEV");
	assert_string_equal(resolved(w, "/"), "EXDEV");
	snprintf(path, sizeof(path), "%s-not", world_spine(w, ""));
	assert_string_equal(resolved(w, path), "EXDEV");
	snprintf(path, sizeof(path), "%s/../x", world_spine(w, ""));
	assert_string_equal(resolved(w, path), "EXDEV");

	/* a symlink says where it leads, and is not followed */
	assert_int_equal(do_symlink(w, "/etc/passwd", "out"), 0);
	assert_string_equal(resolved(w, "out"), "/etc/passwd");
	assert_int_equal(do_symlink(w, "/etc", "etc"), 0);
	assert_string_equal(resolved(w, "etc/passwd"), "/etc");
	assert_int_equal(do_symlink(w, "../..", "up"), 0);
	assert_string_equal(resolved(w, "up"), "EXDEV");
	assert_string_equal(resolved(w, "up/etc"), "EXDEV");
	assert_int_equal(do_symlink(w, "../../../../etc/passwd", "a/b/up"), 0);
	assert_string_equal(resolved(w, "a/b/up"), "EXDEV");
	/* members by their own paths are outside as well */
	assert_int_equal(do_symlink(w, world_member(w, 0, "c"), "raw"), 0);
	assert_string_equal(resolved(w, "raw/g"), world_member(w, 0, "c"));

	/* what follows it does not lead back, nor to what is private */
	snprintf(path, sizeof(path), "%s", world_spine(w, ""));
	spine = strrchr(path, '/');
	assert_non_null(spine);
	*spine++ = '\0';
	assert_int_equal(do_symlink(w, path, "around"), 0);
	snprintf(back, sizeof(back), "around/%s/a/b/f", spine);
	assert_string_equal(resolved(w, back), path);
	snprintf(back, sizeof(back), "around/%s/.mrmr", spine);
	assert_string_equal(resolved(w, back), path);
	snprintf(back, sizeof(back), "around/%s/../x", spine);
	assert_string_equal(resolved(w, back), path);
	world_free(w);
}

/* The spine's root is known by its inode, wherever it was moved to. */
static void spine_renamed_under_us(void **state)
{
	struct world *w = with_links();

	assert_string_equal(resolved(w, "a/b"), "a/b");
	assert_return_code(rename(world_spine(w, ""),
				  world_path(w, "state/elsewhere")),
			   errno);
	assert_string_equal(resolved(w, "a/../.."), "EXDEV");
	assert_string_equal(resolved(w, ".."), "EXDEV");
	assert_return_code(rename(world_path(w, "state/elsewhere"),
				  world_spine(w, "")),
			   errno);
	world_free(w);
}

static void private_directory_by_way_of_links(void **state)
{
	struct world *w = with_links();

	assert_int_equal(do_symlink(w, ".mrmr/config.json", "m1"), 0);
	assert_string_equal(resolved(w, "m1"), "ENOENT");
	assert_int_equal(do_symlink(w, ".MRMR", "m2"), 0);
	assert_string_equal(resolved(w, "m2/config.json"), "ENOENT");
	assert_int_equal(do_symlink(w, "a/../.Mrmr/", "m3"), 0);
	assert_string_equal(resolved(w, "m3"), "ENOENT");
	assert_string_equal(resolved(w, "here/../.mrmr"), "ENOENT");
	assert_int_equal(do_symlink(w, world_spine(w, ".mrmr"), "m4"), 0);
	assert_string_equal(resolved(w, "m4"), "ENOENT");
	world_free(w);
}

static void long_ones(void **state)
{
	struct world *w = with_links();
	char path[2 * MRMR_PATH_MAX];
	char target[MRMR_PATH_MAX];
	size_t i;

	memset(path, 'x', 300);
	path[300] = '\0';
	assert_string_equal(resolved(w, path), "ENAMETOOLONG");
	for (i = 0; i < sizeof(path) - 2; i += 2) {
		memcpy(path + i, "./", 3);
	}
	assert_string_equal(resolved(w, path), "ENAMETOOLONG");
	path[4000] = '\0';
	assert_string_equal(resolved(w, path), "");
	strcpy(path + 4000, "c/g");
	assert_string_equal(resolved(w, path), "c/g");
	/* a link that makes it too long on the way */
	for (i = 0; i < sizeof(target) - 2; i += 2) {
		memcpy(target + i, "./", 3);
	}
	target[4000] = '\0';
	assert_int_equal(do_symlink(w, target, "long"), 0);
	assert_string_equal(resolved(w, "long/c"), "c");
	strcpy(path, "long/");
	for (i = 5; i < 2000; i += 2) {
		memcpy(path + i, "./", 3);
	}
	assert_string_equal(resolved(w, path), "ENAMETOOLONG");
	world_free(w);
}

/* What mrmr_place_find makes of a path: it follows no link. */
static void places(void **state)
{
	struct world *w = with_links();
	struct mrmr_place place;
	char path[MRMR_PATH_MAX];
	int fd;

	world_use(w);
	assert_int_equal(mrmr_place_find(w->pool, w->pool->spine_fd, "a/up/g",
					 &place),
			 -1);
	assert_int_equal(errno, ENOTDIR);
	assert_int_equal(mrmr_place_find(w->pool, w->pool->spine_fd, "..",
					 &place),
			 -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(mrmr_place_find(w->pool, w->pool->spine_fd, "../x",
					 &place),
			 -1);
	assert_int_equal(errno, EXDEV);
	assert_int_equal(mrmr_place_find(w->pool, w->pool->spine_fd,
					 "/etc/passwd", &place),
			 -1);
	assert_int_equal(errno, EXDEV);
	assert_int_equal(mrmr_place_find(w->pool, w->pool->spine_fd, "a/",
					 &place),
			 -1);
	assert_int_equal(errno, EINVAL);

	/* from a directory, and from the working directory */
	fd = open(world_spine(w, "a"), O_PATH | O_DIRECTORY);
	if (fd == -1) { /* members only, so far */
		do_list(w, "");
		fd = open(world_spine(w, "a"), O_PATH | O_DIRECTORY);
	}
	assert_return_code(fd, errno);
	assert_return_code(mrmr_place_find(w->pool, fd, "b/f", &place), errno);
	assert_return_code(mrmr_dir_path(place.dir, path), errno);
	assert_string_equal(path, "a/b");
	assert_string_equal(place.name, "f");
	assert_return_code(fchdir(fd), errno);
	assert_return_code(mrmr_place_find(w->pool, AT_FDCWD, "b/f", &place),
			   errno);
	assert_return_code(mrmr_dir_path(place.dir, path), errno);
	assert_string_equal(path, "a/b");
	assert_return_code(mrmr_place_find(w->pool, AT_FDCWD, "other", &place),
			   errno);
	assert_return_code(mrmr_dir_path(place.dir, path), errno);
	assert_string_equal(path, "a");
	close(fd);

	/* not a directory of the pool, or not one any more */
	assert_return_code(chdir("/"), errno);
	assert_int_equal(mrmr_place_find(w->pool, AT_FDCWD, "x", &place), -1);
	assert_int_equal(errno, EXDEV);
	assert_int_equal(do_mkdir(w, "gone", 0755), 0);
	fd = open(world_spine(w, "gone"), O_PATH | O_DIRECTORY);
	assert_return_code(fd, errno);
	assert_int_equal(do_rmdir(w, "gone"), 0);
	if (mrmr_place_find(w->pool, fd, "x", &place) == 0) {
		size_t member;

		assert_int_equal(mrmr_name_create(place.dir, "x", O_WRONLY,
						  0644, 0, &member),
				 -1);
	}
	assert_int_equal(errno, ENOENT);
	close(fd);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_links),
		cmocka_unit_test(through_links),
		cmocka_unit_test(loops_end),
		cmocka_unit_test(out_of_the_pool),
		cmocka_unit_test(spine_renamed_under_us),
		cmocka_unit_test(private_directory_by_way_of_links),
		cmocka_unit_test(long_ones),
		cmocka_unit_test(places),
	};

	return WORLD_MAIN("union: paths", tests);
}
