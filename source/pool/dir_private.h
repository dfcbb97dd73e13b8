/*
 * MRMR: what the sources of a pool's directory share.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_POOL_DIR_PRIVATE_H
#define MRMR_POOL_DIR_PRIVATE_H

#include <fcntl.h>
#include <linux/openat2.h>

#include <mrmr/dir.h>

/* How a directory below a root is opened: nothing leads out of it. */
#define STEP_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define STEP_RESOLVE                                                     \
	(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | \
	 RESOLVE_NO_XDEV)

struct mrmr_dir_clone {
	enum {
		CLONE_UNKNOWN, /* fd -1: has to be looked up */
		CLONE_PRESENT, /* fd is open */
		CLONE_LACKING, /* error says why */
	} state;
	int fd;
	int error;
	uint32_t epoch;      /* of the member, */
	uint32_t dirs_gen;   /* and */
	uint32_t clones_gen; /* of the pool, and */
	int64_t checked_ns;  /* the time, when it was looked up */
	bool is_unlike;      /* its rights are not the spine's, and could not
				be made so */
	bool has_times;      /* the next two; zero where there is no clone */
	struct timespec mtime;
	struct timespec ctime;
};

/* hints.c: one for a pool, its talloc child. NULL: no memory. */
struct mrmr_hints *mrmr_hints_new(struct mrmr_pool *pool);

/* Forget all hints of a directory. A new one starts so. */
void mrmr_dir_unhint(struct mrmr_dir *dir);

/* folded.c: one for a pool, its talloc child. NULL: no memory. */
struct mrmr_folded *mrmr_folded_new(struct mrmr_pool *pool);

/* Give up all that is known. */
void folded_clear(struct mrmr_pool *pool);

/* Is a name surely not in the directory, nor in any clone, in whatever case? If
   not, nobody knows. */
bool folded_lacks(struct mrmr_dir *dir, const char *name);

/*
 * Somebody reads all names of the directory, and its clones, as folded_lacks() did
 * not know: begins (NULL: nothing is to be told), tells each, with the set that
 * the call before returned, and ends. Only then is it of use, and only if he has
 * seen all of them.
 */
struct folded_set *folded_begin(struct mrmr_dir *dir);
struct folded_set *folded_take(const struct mrmr_dir *dir,
			       struct folded_set *set, const char *name);
void folded_end(const struct mrmr_dir *dir, struct folded_set *set,
		bool is_complete);

/* The directory is locked, and this process adds a name. */
void folded_added(const struct mrmr_dir *dir, const char *name);

/* The lock is given up, with its last change counted. */
void folded_changed(struct mrmr_dir *dir, uint32_t changes_before);

/* dir_read.c: an entry of a directory, as the kernel has it. */
struct linux_dirent64 {
	uint64_t d_ino;
	int64_t d_off;
	uint16_t d_reclen;
	uint8_t d_type;
	char d_name[];
};

/* Calls fn for all entries of fd but "." and "..", from the start, until it
   returns true. 1; 0 if it never did; or -1 with errno. */
int dir_each_entry(int fd,
		   bool (*fn)(const struct linux_dirent64 *entry,
			      void *private_data),
		   void *private_data);

/* flock(2) that waits for some time, not for a process that hangs on a dying drive: -1
   with EBUSY, which is logged. */
int dir_lock_fd(int fd, int operation);

/* The path, as the kernel has it now. */
int dir_path_now(struct mrmr_dir *dir, char path[MRMR_PATH_MAX]);

/* Counts up when names of the directory have changed, in this process or
   another. Who counts gets what it was before. */
uint32_t mrmr_dir_changes(const struct mrmr_dir *dir);
uint32_t mrmr_dir_count_change(struct mrmr_dir *dir);

/* The lock is given up, with its last change counted. */
void dir_times_changed(struct mrmr_dir *dir, uint32_t changes_before);

/* Opens path below at_fd as the user; as root if the user may not: what a user
   may see is decided by smbd and by the spine, not by what we keep open. flags
   and resolve are openat2(2)'s. A descriptor, or -1 with errno. */
int dir_open(struct mrmr_pool *pool, int at_fd, const char *path,
	     uint64_t flags, uint64_t resolve);

#endif
