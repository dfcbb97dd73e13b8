/*
 * Unit tests: a pool with its members on file systems of their own.
 *
 * Everything lies below one tmpfs in a mount namespace of the test's own, so
 * nothing is left behind however a test ends. Each drive is a tmpfs that stays
 * mounted in a place the pool does not know; a member is a bind mount of it,
 * which can be taken away and put back as a drive is.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef WORLD_H
#define WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <mrmr/dir.h>
#include <mrmr/names.h>
#include <mrmr/pool.h>

#define WORLD_MEMBERS_MAX 16

struct world_shape {
	size_t num_members; /* 0: 3 */
	size_t per_drive;   /* members on one file system; 0: 1 */
	const char *sizes[WORLD_MEMBERS_MAX]; /* of the drives; NULL: "32m" */
	const char *parity;                   /* parity_drives; NULL: "0" */
	const char *config; /* more keys of the config: ",\"a\": 1" */
	const char *members[WORLD_MEMBERS_MAX]; /* more keys of members */
};

struct world {
	struct world *previous;
	struct world_shape shape;
	char dir[256];
	struct mrmr_pool *pool; /* NULL while it is closed */
	int64_t later_ns;       /* how far the pool's clock was put ahead */
};

/*
 * main() of a program: runs the tests in a mount namespace of their own. Says
 * so and runs none if that is not possible (not root).
 */
#define WORLD_MAIN(name, tests) \
	world_main(name, tests, sizeof(tests) / sizeof((tests)[0]))

struct CMUnitTest;
int world_main(const char *name, const struct CMUnitTest *tests,
	       size_t num_tests);

/* A pool with empty members, open. Fails the test if it cannot be had. */
struct world *world_new(const struct world_shape *shape);
void world_free(struct world *w);

void world_open(struct world *w);
void world_close(struct world *w);

/* As world_open, in a process made by fork(): leaves the parent's pool be. */
void world_open_in_child(struct world *w);

/* The pool is closed, and opened with another config. NULL parity: as it was. */
void world_configure(struct world *w, const char *parity, const char *config);

/* What the module does at the start of each operation. */
void world_use(struct world *w);

/* Two seconds later: the members and clones are looked at again. */
void world_later(struct world *w);

/*
 * The user that the process is when it is not root for a moment; 0 is root.
 * His group has the same number.
 */
void world_user(uid_t uid);

/* --- behind the pool's back ----------------------------------------------- */

/* Paths, each in a buffer that the next call but seven overwrites. */
const char *world_path(struct world *w, const char *path);
const char *world_member(struct world *w, size_t member, const char *path);
const char *world_spine(struct world *w, const char *path);

/* The drive's own mount: there even when the member is not. */
const char *world_drive(struct world *w, size_t member, const char *path);

/* Take a member away as umount -l does, and put it back. */
void world_unplug(struct world *w, size_t member);
void world_plug(struct world *w, size_t member);

/* Write a file, by its full path, with the directories it needs. */
void world_write(const char *path, const char *text);

/* The content of a file, by its full path, or NULL. Overwritten by the next
   call. */
const char *world_read(const char *path);

bool world_there(const char *path);

/* A drive is full to its last byte, and has its room again. */
void world_fill(struct world *w, size_t member);
void world_unfill(struct world *w, size_t member);

/* "s02": who has the name: the spine, members 0 and 2 (a is 10). */
const char *world_where(struct world *w, const char *path);

/* The number of entries below a member's .mrmr/trash with that last name. */
unsigned int world_trashed(struct world *w, size_t member, const char *name);

/* What the log says since the last call, all lines in one. */
const char *world_log(void);

unsigned int world_count_fds(void);

/* --- through the pool ------------------------------------------------------ */

/* These return 0 or an errno value. Paths are pool paths. */
int do_create(struct world *w, const char *path, const char *text);
int do_mkdir(struct world *w, const char *path, mode_t mode);
int do_symlink(struct world *w, const char *target, const char *path);
int do_mknod(struct world *w, const char *path, mode_t mode, dev_t dev);
int do_link(struct world *w, const char *from, const char *to);
int do_unlink(struct world *w, const char *path);
int do_rmdir(struct world *w, const char *path);
int do_rename(struct world *w, const char *from, const char *to);
int do_stat(struct world *w, const char *path, size_t *member, struct stat *st);

/* A descriptor, or -1 with errno. */
int do_open(struct world *w, const char *path, int flags);

/* A file's content by way of the pool, or NULL. */
const char *do_read(struct world *w, const char *path);

/* The directory; fails the test if it is not there. "" is the root. */
struct mrmr_dir *do_dir(struct world *w, const char *path);

/* The names in a directory, sorted, with spaces between them; directories
   have a slash. NULL with errno. */
const char *do_list(struct world *w, const char *path);

/* The member that has a file, or SIZE_MAX if there is none. */
size_t do_where(struct world *w, const char *path);

#endif
