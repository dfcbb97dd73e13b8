/*
 * Unit tests: files that move to another member.
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
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/move.h>

#include "world.h"

#define MB (1u << 20)

static struct world *three(void)
{
	return world_new(&(struct world_shape){.num_members = 3,
					       .sizes = {"8m", "16m", "32m"}});
}

static int open_drive(struct world *w, size_t member, const char *path,
		      int flags)
{
	int fd = open(world_member(w, member, path), flags | O_CLOEXEC, 0644);

	assert_return_code(fd, errno);
	return fd;
}

/* 0 or an errno value; *to is the member. The new descriptor is closed. */
static int move(struct world *w, int fd, uint64_t size_bytes, size_t *to)
{
	int new_fd = -1;

	world_use(w);
	if (mrmr_move_file(w->pool, fd, size_bytes, &new_fd, to) == -1) {
		assert_int_equal(new_fd, -1);
		return errno;
	}
	close(new_fd);
	return 0;
}

static unsigned int num_staged(struct world *w)
{
	unsigned int n = 0;
	size_t m;

	for (m = 0; m < w->shape.num_members; m++) {
		const char *path = world_drive(w, m, ".mrmr/rebuild");

		n += world_there(path) && rmdir(path) == -1;
	}
	return n;
}

static void content_and_attributes(void **state)
{
	struct timespec ts[2] = {{.tv_sec = 1000000000, .tv_nsec = 1},
				 {.tv_sec = 1100000000, .tv_nsec = 2}};
	static const unsigned char acl[] = {
		2,   0,   0,   0,   1,   0,   6,  0,   255, 255, 255,
		255, 2,   0,   4,   0,   233, 3,  0,   0,   4,   0,
		4,   0,   255, 255, 255, 255, 16, 0,   4,   0,   255,
		255, 255, 255, 32,  0,   0,   0,  255, 255, 255, 255,
	};
	struct world *w = three();
	char buffer[sizeof(acl)];
	struct stat st;
	size_t to = 9;
	char *data = malloc(3 * MB);
	char *copy = malloc(3 * MB);
	size_t i;
	int fd;
	int new_fd;

	assert_true(data != NULL && copy != NULL);
	for (i = 0; i < 3 * MB; i++) {
		data[i] = (char)(i * 2654435761u >> 13);
	}
	world_write(world_member(w, 0, "d/e/f"), "");
	fd = open_drive(w, 0, "d/e/f", O_WRONLY);
	assert_int_equal(write(fd, data, 3 * MB), 3 * MB);
	assert_return_code(fchown(fd, 1000, 2000), errno);
	assert_return_code(fsetxattr(fd, "system.posix_acl_access", acl,
				     sizeof(acl), 0),
			   errno);
	assert_return_code(fchmod(fd, 04640), errno);
	assert_return_code(fsetxattr(fd, "security.NTACL", "nt", 2, 0), errno);
	assert_return_code(futimens(fd, ts), errno);

	/* write-only, as clients may have it */
	world_use(w);
	assert_return_code(mrmr_move_file(w->pool, fd, 4 * MB, &new_fd, &to),
			   errno);
	assert_int_equal(to, 2);
	assert_string_equal(world_where(w, "d/e/f"), "2");
	assert_int_equal(pread(new_fd, copy, 3 * MB, 0), 3 * MB);
	assert_memory_equal(data, copy, 3 * MB);
	assert_return_code(fstat(new_fd, &st), errno);
	assert_int_equal(st.st_size, 3 * MB);
	assert_int_equal(st.st_mode & 07777, 04640);
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_gid, 2000);
	assert_int_equal(st.st_mtim.tv_sec, ts[1].tv_sec);
	assert_int_equal(st.st_mtim.tv_nsec, ts[1].tv_nsec);
	assert_int_equal(fgetxattr(new_fd, "security.NTACL", buffer, 9), 2);
	assert_memory_equal(buffer, "nt", 2);
	assert_int_equal(fgetxattr(new_fd, "system.posix_acl_access", buffer,
				   sizeof(buffer)),
			 sizeof(acl));
	assert_return_code(fstat(fd, &st), errno);
	assert_int_equal(st.st_nlink, 0);
	close(new_fd);
	close(fd);
	assert_int_equal(num_staged(w), 0);
	assert_int_equal(world_trashed(w, 0, "f"), 0);
	free(data);
	free(copy);
	world_free(w);
}

static void holes_stay_holes(void **state)
{
	struct world *w = three();
	struct stat st;
	size_t to;
	char c;
	int fd;

	world_write(world_member(w, 0, "f"), "start");
	fd = open_drive(w, 0, "f", O_RDWR);
	assert_int_equal(pwrite(fd, "middle", 6, 100 * MB), 6);
	assert_return_code(ftruncate(fd, 200 * MB), errno);
	assert_int_equal(move(w, fd, 0, &to), 0);
	close(fd);
	fd = open_drive(w, to, "f", O_RDONLY);
	assert_return_code(fstat(fd, &st), errno);
	assert_int_equal(st.st_size, 200 * MB);
	assert_true(st.st_blocks * 512 < MB);
	assert_int_equal(lseek(fd, 5000, SEEK_DATA), 100 * MB);
	assert_int_equal(pread(fd, &c, 1, 100 * MB + 5), 1);
	assert_int_equal(c, 'e');
	close(fd);

	/* nothing but a hole, and nothing at all */
	fd = open_drive(w, 0, "g", O_RDWR | O_CREAT);
	assert_return_code(ftruncate(fd, 50 * MB), errno);
	assert_int_equal(move(w, fd, 0, &to), 0);
	close(fd);
	assert_return_code(stat(world_member(w, to, "g"), &st), errno);
	assert_int_equal(st.st_size, 50 * MB);
	assert_int_equal(st.st_blocks, 0);
	fd = open_drive(w, 0, "h", O_RDWR | O_CREAT);
	assert_int_equal(move(w, fd, 20 * MB, &to), 0);
	assert_int_equal(to, 2);
	close(fd);
	world_free(w);
}

static void what_cannot_move(void **state)
{
	struct world *w = three();
	size_t to;
	int fd;

	world_write(world_member(w, 0, "f"), "0");
	assert_return_code(link(world_member(w, 0, "f"),
				world_member(w, 0, "l")),
			   errno);
	fd = open_drive(w, 0, "f", O_RDWR);
	assert_int_equal(move(w, fd, 0, &to), EMLINK);
	assert_return_code(unlink(world_member(w, 0, "l")), errno);
	assert_int_equal(move(w, fd, 1000 * MB, &to), ENOSPC);
	assert_string_equal(world_read(world_member(w, 0, "f")), "0");
	assert_return_code(unlink(world_member(w, 0, "f")), errno);
	assert_int_equal(move(w, fd, 0, &to), ENOENT);
	close(fd);

	fd = open_drive(w, 0, "", O_RDONLY | O_DIRECTORY);
	assert_int_equal(move(w, fd, 0, &to), EINVAL);
	close(fd);
	world_write(world_path(w, "outside"), "x");
	fd = open(world_path(w, "outside"), O_RDWR);
	assert_int_equal(move(w, fd, 0, &to), EXDEV);
	close(fd);
	/* nor what is private */
	fd = open_drive(w, 0, ".mrmr/config.json", O_RDWR);
	assert_int_equal(move(w, fd, 0, &to), ENOENT);
	close(fd);
	assert_int_equal(num_staged(w), 0);
	world_free(w);
}

/* A copy that lost must not win because the winner moved behind it. */
static void losers_stay_losers(void **state)
{
	struct world *w = three();
	size_t to;
	int fd;

	world_write(world_member(w, 0, "f"), "0");
	world_write(world_member(w, 1, "f"), "1");
	fd = open_drive(w, 0, "f", O_RDWR);
	assert_int_equal(move(w, fd, 0, &to), EEXIST);
	assert_string_equal(do_read(w, "f"), "0");
	assert_string_equal(world_where(w, "f"), "01");
	close(fd);
	world_write(world_member(w, 1, "g"), "1");
	world_write(world_member(w, 2, "g"), "2");
	fd = open_drive(w, 1, "g", O_RDWR);
	assert_int_equal(move(w, fd, 0, &to), EEXIST);
	assert_string_equal(do_read(w, "g"), "1");
	close(fd);
	assert_int_equal(num_staged(w), 0);
	world_free(w);
}

static void renamed_while_copying(void **state)
{
	struct world *w = three();
	struct mrmr_move *m = NULL;
	size_t to = 9;
	int new_fd = -1;
	int fd;

	world_write(world_member(w, 0, "d/f"), "content");
	assert_int_equal(do_mkdir(w, "other", 0755), 0);
	assert_string_equal(do_read(w, "d/f"), "content");
	fd = open_drive(w, 0, "d/f", O_RDWR);
	m = mrmr_move_begin(NULL, w->pool, fd, 0);
	assert_non_null(m);
	assert_int_equal(do_rename(w, "d/f", "other/g"), 0);
	assert_return_code(mrmr_move_copy(m), errno);
	assert_int_equal(do_rename(w, "other", "another"), 0);
	assert_return_code(mrmr_move_finish(m, &new_fd, &to), errno);
	talloc_free(m);
	assert_string_equal(world_where(w, "another/g"), "2");
	assert_string_equal(do_read(w, "another/g"), "content");
	assert_string_equal(do_list(w, "d"), "");
	close(new_fd);
	close(fd);

	/* removed, and another made under its name */
	world_write(world_member(w, 0, "x"), "old");
	fd = open_drive(w, 0, "x", O_RDWR);
	m = mrmr_move_begin(NULL, w->pool, fd, 0);
	assert_non_null(m);
	assert_return_code(mrmr_move_copy(m), errno);
	assert_int_equal(do_unlink(w, "x"), 0);
	world_write(world_member(w, 0, "x"), "new");
	assert_int_equal(mrmr_move_finish(m, &new_fd, &to), -1);
	assert_int_equal(errno, ENOENT);
	talloc_free(m);
	assert_string_equal(do_read(w, "x"), "new");
	assert_string_equal(world_where(w, "x"), "0");
	close(fd);
	assert_int_equal(num_staged(w), 0);
	world_free(w);
}

static pid_t rename_in_a_moment(struct world *w)
{
	pid_t pid = fork();

	assert_return_code(pid, errno);
	if (pid == 0) {
		alarm(60);
		world_open_in_child(w);
		usleep(100000);
		world_use(w);
		_exit(do_rename(w, "top", "other"));
	}
	return pid;
}

/* Slowly, and that a moment ago. */
static pid_t rename_slowly(struct world *w)
{
	pid_t pid;

	setenv("MRMR_FAULT", "rename-directory=delay", 1);
	pid = fork();
	assert_return_code(pid, errno);
	if (pid == 0) {
		alarm(60);
		world_open_in_child(w);
		world_use(w);
		_exit(do_rename(w, "top", "other"));
	}
	usleep(100000);
	return pid;
}

/* Whatever step of a move another process's rename comes upon, or it of a
   rename. */
static void its_directory_is_renamed(void **state)
{
	static const char *const steps[] = {"move-place#1=delay",
					    "move-place#2=delay",
					    "move-lock#1=delay", NULL};
	size_t i;

	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct world *w = three();
		size_t to = 9;
		int status;
		int error;
		pid_t pid;
		int fd;

		world_write(world_member(w, 0, "top/d/f"), "content");
		assert_string_equal(do_read(w, "top/d/f"), "content");
		fd = open_drive(w, 0, "top/d/f", O_RDWR);
		if (steps[i] != NULL) {
			pid = rename_in_a_moment(w);
			setenv("MRMR_FAULT", steps[i], 1);
		} else {
			pid = rename_slowly(w);
		}
		error = move(w, fd, 0, &to);
		if (error != 0) {
			fail_msg("%zu: %s", i, strerror(error));
		}
		unsetenv("MRMR_FAULT");
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		assert_int_equal(to, 2);
		assert_string_equal(world_where(w, "other/d/f"), "2");
		assert_string_equal(do_read(w, "other/d/f"), "content");
		assert_string_equal(do_list(w, ""), "other/");
		assert_int_equal(num_staged(w), 0);
		close(fd);
		world_free(w);
	}
}

static void changed_while_copying(void **state)
{
	struct timespec tick = {.tv_nsec = 12000000};
	struct world *w = three();
	struct mrmr_move *m = NULL;
	int new_fd = -1;
	size_t to;
	int fd;

	world_write(world_member(w, 0, "f"), "before");
	fd = open_drive(w, 0, "f", O_RDWR);
	m = mrmr_move_begin(NULL, w->pool, fd, 0);
	assert_non_null(m);
	assert_return_code(mrmr_move_copy(m), errno);
	nanosleep(&tick, NULL);
	assert_int_equal(pwrite(fd, "behind", 6, 0), 6);
	assert_int_equal(mrmr_move_finish(m, &new_fd, &to), -1);
	assert_int_equal(errno, EBUSY);
	talloc_free(m);

	m = mrmr_move_begin(NULL, w->pool, fd, 0);
	assert_non_null(m);
	assert_return_code(mrmr_move_copy(m), errno);
	assert_int_equal(do_link(w, "f", "l"), 0);
	assert_int_equal(mrmr_move_finish(m, &new_fd, &to), -1);
	assert_int_equal(errno, EMLINK);
	talloc_free(m);
	assert_string_equal(world_where(w, "f"), "0");
	assert_string_equal(do_read(w, "f"), "behind");
	close(fd);
	assert_int_equal(num_staged(w), 0);
	world_free(w);
}

static void target_goes_away(void **state)
{
	struct world *w = three();
	struct mrmr_move *m = NULL;
	int new_fd = -1;
	size_t to;
	int fd;

	world_write(world_member(w, 0, "d/f"), "content");
	assert_string_equal(do_read(w, "d/f"), "content");
	fd = open_drive(w, 0, "d/f", O_RDWR);
	m = mrmr_move_begin(NULL, w->pool, fd, 0);
	assert_non_null(m);
	assert_return_code(mrmr_move_copy(m), errno);
	world_unplug(w, 2);
	world_later(w);
	assert_int_equal(mrmr_move_finish(m, &new_fd, &to), -1);
	assert_int_equal(errno, ENODEV);
	talloc_free(m);
	assert_string_equal(do_read(w, "d/f"), "content");
	assert_string_equal(world_where(w, "d/f"), "0");
	/* then to the other one */
	assert_int_equal(move(w, fd, 0, &to), 0);
	assert_int_equal(to, 1);
	assert_string_equal(do_read(w, "d/f"), "content");
	close(fd);
	world_free(w);
}

static void where_a_file_is(void **state)
{
	struct world *w = three();
	char path[MRMR_PATH_MAX];
	size_t member;
	int fd;

	world_write(world_member(w, 1, "d/e/f"), "1");
	fd = open_drive(w, 1, "d/e/f", O_PATH);
	world_use(w);
	assert_return_code(mrmr_file_locate(w->pool, fd, &member, path), errno);
	assert_int_equal(member, 1);
	assert_string_equal(path, "d/e/f");
	assert_return_code(rename(world_member(w, 1, "d"),
				  world_member(w, 1, "x y")),
			   errno);
	assert_return_code(mrmr_file_locate(w->pool, fd, &member, path), errno);
	assert_string_equal(path, "x y/e/f");
	assert_return_code(unlink(world_member(w, 1, "x y/e/f")), errno);
	assert_int_equal(mrmr_file_locate(w->pool, fd, &member, path), -1);
	assert_int_equal(errno, ENOENT);
	close(fd);
	fd = open("/", O_PATH);
	assert_int_equal(mrmr_file_locate(w->pool, fd, &member, path), -1);
	assert_int_equal(errno, EXDEV);
	close(fd);
	world_free(w);
}

#ifdef MRMR_WITH_FAULTS

/* Does that keep the member with most room from being chosen again? fills: what others
   write there meanwhile. */
static void check_blamed(const char *fault, int error, size_t fills,
			 bool is_blamed)
{
	struct world *w = three();
	struct mrmr_move *m = NULL;
	size_t to;
	int fd;

	world_write(world_member(w, 0, "f"), "content");
	fd = open_drive(w, 0, "f", O_RDWR);
	world_use(w);
	m = mrmr_move_begin(NULL, w->pool, fd, MB);
	assert_non_null(m);
	if (fills > 0) {
		int other = open_drive(w, 2, "other", O_RDWR | O_CREAT);

		assert_int_equal(posix_fallocate(other, 0, fills), 0);
		close(other);
	}
	setenv("MRMR_FAULT", fault, 1);
	assert_int_equal(mrmr_move_copy(m), -1);
	assert_int_equal(errno, error);
	unsetenv("MRMR_FAULT");
	assert_int_equal(mrmr_move_blame_target(m), is_blamed);
	talloc_free(m);
	assert_string_equal(world_where(w, "f"), "0");
	assert_int_equal(num_staged(w), 0);

	assert_int_equal(move(w, fd, MB, &to), 0);
	assert_int_equal(to, is_blamed || fills > 0 ? 1 : 2);
	assert_string_equal(world_read(world_member(w, to, "f")), "content");
	close(fd);
	world_free(w);
}

/* It has room for all but what the copy takes already. */
static void check_blamed_for_room(void)
{
	struct world *w = three();
	struct mrmr_move *m = NULL;
	char *data = calloc(1, 4 * MB);
	int fd;

	assert_non_null(data);
	world_write(world_member(w, 0, "f"), "");
	fd = open_drive(w, 0, "f", O_RDWR);
	assert_int_equal(write(fd, data, 4 * MB), 4 * MB);
	world_use(w);
	mrmr_pool_look_at_space(w->pool);
	m = mrmr_move_begin(NULL, w->pool, fd,
			    mrmr_member_room(&w->pool->members[2]) - MB);
	assert_non_null(m);
	setenv("MRMR_FAULT", "move-sync#1=ENOSPC", 1);
	assert_int_equal(mrmr_move_copy(m), -1);
	unsetenv("MRMR_FAULT");
	assert_true(mrmr_move_blame_target(m));
	talloc_free(m);
	close(fd);
	free(data);
	world_free(w);
}

static void target_that_takes_nothing(void **state)
{
	check_blamed("move-write#1=EIO", EIO, 0, true);
	check_blamed("move-sync#1=EIO", EIO, 0, true);
	check_blamed("move-write#1=EROFS", EROFS, 0, true);
	check_blamed("move-sync#1=ENOSPC", ENOSPC, 0, true);
	check_blamed_for_room();
	/* it can be seen to be full, or the file cannot be read */
	check_blamed("move-write#1=ENOSPC", ENOSPC, 31 * MB + MB / 2, false);
	check_blamed("move-copy#1=EIO", EIO, 0, false);
}

#endif

/* Members on one file system give each other no room. */
static void not_within_a_file_system(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 2, .per_drive = 2});
	size_t to;
	int fd;

	world_write(world_member(w, 0, "f"), "0");
	fd = open_drive(w, 0, "f", O_RDWR);
	assert_int_equal(move(w, fd, 0, &to), ENOSPC);
	close(fd);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_and_attributes),
		cmocka_unit_test(holes_stay_holes),
		cmocka_unit_test(what_cannot_move),
		cmocka_unit_test(losers_stay_losers),
		cmocka_unit_test(renamed_while_copying),
		cmocka_unit_test(its_directory_is_renamed),
		cmocka_unit_test(changed_while_copying),
		cmocka_unit_test(target_goes_away),
		cmocka_unit_test(where_a_file_is),
		cmocka_unit_test(not_within_a_file_system),
#ifdef MRMR_WITH_FAULTS
		cmocka_unit_test(target_that_takes_nothing),
#endif
	};

	return WORLD_MAIN("union: moving files", tests);
}
