/*
 * MRMR: a directory of the pool: its spine directory and its clones.
 *
 * Every directory of the union exists in the spine, and on those members that
 * hold something below it. A struct mrmr_dir keeps descriptors of all of them
 * for a while, so that looking a name up is one system call a member, whatever
 * the depth. It is found by the device and inode of the spine directory, which
 * stay the same when the directory is renamed; and a rename renames the clones
 * with it, so the descriptors stay right as well.
 *
 * What other programs do on a member behind our back is seen when descriptors
 * are looked up again: after a second, or when the directory is listed.
 *
 * Locks. Whoever changes names in a directory holds a flock on its spine
 * directory; two directories are locked in the order of their inodes. Renaming
 * a directory with content, and cloning one onto a member, also take the
 * pool's tree lock (exclusive, and shared), always last: a clone must not be
 * made at a path that is being renamed. Clones are looked up by path without
 * it; a count in the shared page tells if a rename came between, and then the
 * lookup is made again under the lock.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_DIR_H
#define MRMR_DIR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <mrmr/pool.h>

/* The hidden directory at each member's root is nobody's business. */
#define MRMR_PATH_MAX 4096

/* The newest times of a directory's clones, kept for a while. */
struct mrmr_dir_times {
	bool is_known;
	bool lacks_some;  /* those of a clone that this process has changed */
	uint32_t changes; /* of the directory's names, when it was looked */
	int64_t checked_ns;
	struct timespec mtime;
	struct timespec ctime;
};

/* Where the directory is in the pool, kept for a while. */
struct mrmr_dir_path {
	char *known; /* NULL: nothing is */
	uint32_t tree_gen;
	int64_t checked_ns;
};

struct mrmr_dir {
	struct mrmr_pool *pool;
	dev_t dev; /* the key: of the spine directory */
	ino_t ino;
	int spine_fd;        /* O_RDONLY; locks are taken on it */
	bool is_root;        /* of the pool */
	unsigned int locks;  /* nested, by this process */
	uint32_t locked_gen; /* clones_gen when it was locked */
	size_t changed_on;   /* mrmr_dir_changed(); SIZE_MAX: anywhere */
	unsigned int pins;   /* must not be freed, though not locked */
	int64_t used_ns;
	struct mrmr_dir_clone *clones; /* one per member */
	size_t last_member;            /* where a file was last made here, */
	bool has_last_member;
	bool is_flat;          /* no directory was in it when it was
					  got or looked at; not known of all
					  file systems */
	uint64_t hints_serial; /* what is hinted of it, hints.c */
	struct mrmr_dir_times newest;
	struct mrmr_dir_path path;
};

/* A path on its way: where its last component would be. */
struct mrmr_place {
	struct mrmr_dir *dir;
	char name[256];
};

/*
 * The directory behind a descriptor of the spine (O_PATH will do; AT_FDCWD is
 * the working directory). NULL with errno: ENOTDIR, ENOENT if it was removed,
 * EXDEV if it is not in the spine. Good until eight more are got: an operation
 * must not keep it across a return to the event loop.
 */
struct mrmr_dir *mrmr_dir_get(struct mrmr_pool *pool, int spine_fd);

/* The same for one that is passed on the way to another: it is the first to be
   forgotten, so a long way costs one place, and nothing of what others hold. */
struct mrmr_dir *mrmr_dir_get_in_passing(struct mrmr_pool *pool, int spine_fd);

/* The same by what stat says of a spine directory that is open, if it is
   remembered; else NULL. No system call. */
struct mrmr_dir *mrmr_dir_known(struct mrmr_pool *pool, dev_t dev, ino_t ino);

/*
 * The directory that holds the last component of path, which is relative to
 * the spine directory at_fd, or absolute and below the spine. Directories that
 * only exist on members are brought into the spine on the way. No symlink is
 * followed. 0; or -1 with errno: ENOENT, ENOTDIR, EXDEV outside of the spine,
 * EINVAL if the last component is "." or "..", ENAMETOOLONG.
 */
int mrmr_place_find(struct mrmr_pool *pool, int at_fd, const char *path,
		    struct mrmr_place *place);

/* The same for a name, without slashes, in a directory that is known. */
int mrmr_place_in(struct mrmr_dir *dir, const char *name,
		  struct mrmr_place *place);

/*
 * The path within the pool, without a leading slash; "" for the root. 0, or -1
 * with errno (ENOENT: it was removed). It is remembered for a second, and until
 * any process of the pool renames a directory.
 */
int mrmr_dir_path(struct mrmr_dir *dir, char path[MRMR_PATH_MAX]);

/*
 * A descriptor (O_RDONLY, owned by the dir) of this directory on a member, or
 * -1: errno ENOENT if the member lacks it, ENOTDIR if something else has its
 * name there, ENODEV if the member is not online. With any other errno it is
 * not known whether the member has it. For a member that is away it is the
 * folder that stands in for its directory, where there is one (mrmr/absent.h).
 *
 * It is the spine's rights that decide. Where the member's own directory cannot
 * have them (exFAT, a drive that has become read-only), the kernel is asked
 * whether the user may search the spine's: EACCES if not.
 */
int mrmr_dir_on_member(struct mrmr_dir *dir, size_t member);

/* After a failed mrmr_dir_on_member: is there surely nothing on the member? */
bool mrmr_dir_is_lacking(int error);

/*
 * As mrmr_dir_on_member, but the directory and its parents are cloned onto the
 * member if it lacks them, and for whatever user. The caller holds the lock of
 * dir.
 */
int mrmr_dir_clone_to(struct mrmr_dir *dir, size_t member);

/* May the user change names in it, as far as the kernel does not see to that on
   the member itself? 0, or -1 with EACCES. After one of the two above. */
int mrmr_dir_may_change(const struct mrmr_dir *dir, size_t member);

/* Forget what is remembered of the clones, of one member or (SIZE_MAX) all. */
void mrmr_dir_forget(struct mrmr_dir *dir, size_t member);

/*
 * Take the lock and make sure that the directory still exists: -1 with ENOENT
 * (and no lock) if it was removed meanwhile. Nests within a process.
 */
int mrmr_dir_lock(struct mrmr_dir *dir);
void mrmr_dir_unlock(struct mrmr_dir *dir);

/*
 * The directory is locked, and nothing is changed in it but names on this
 * member, of which only this one is new (NULL: none is). Without that word, a
 * lock that is given up says that anything may have changed on any.
 */
void mrmr_dir_changed(struct mrmr_dir *dir, size_t member,
		      const char *new_name);

/* Is a to be locked before b? */
bool mrmr_dir_comes_first(const struct mrmr_dir *a, const struct mrmr_dir *b);

/* Both, in the order that cannot deadlock; a may be b. */
int mrmr_dir_lock_two(struct mrmr_dir *a, struct mrmr_dir *b);
void mrmr_dir_unlock_two(struct mrmr_dir *a, struct mrmr_dir *b);

/*
 * While it is had exclusively, the page's tree_gen is odd; it is another one
 * afterwards. It stays odd when its owner dies.
 */
int mrmr_tree_lock(struct mrmr_pool *pool, bool exclusive);
void mrmr_tree_unlock(struct mrmr_pool *pool);

/*
 * Remember on which member a file is, for the lookups that follow; SIZE_MAX
 * forgets it. Like all that is remembered, it is good for a second, and until
 * the directory is listed or members come or go.
 */
void mrmr_dir_hint(struct mrmr_dir *dir, const char *name, size_t member);

/*
 * The member to be asked first for a name; SIZE_MAX if none is hinted at. The
 * file may have gone from it, or something else may have its name.
 */
size_t mrmr_dir_hinted(const struct mrmr_dir *dir, const char *name);

/*
 * Going through the members takes a moment, in which a file may go from one
 * that is still to be asked to one that was asked already. Whoever moves it so
 * counts up after the new name is there and before the old one goes: then, ask
 * again. (Some directories share a count.)
 */
uint32_t mrmr_dir_swaps(const struct mrmr_dir *dir);
void mrmr_dir_count_swap(struct mrmr_dir *dir);

/*
 * The directory's newest times, over the spine and its clones, into st (which
 * describes the spine directory). smbd asks for them several times in most of
 * its requests: what the clones said is good for a second, and as long as no
 * process changes names in the directory.
 */
void mrmr_dir_newest_times(struct mrmr_dir *dir, struct stat *st);

/* Names below the pool's root that no client can use: ".mrmr" in any case. */
bool mrmr_name_is_private(const struct mrmr_dir *dir, const char *name);

/* Close all that is kept, but for the locks of directories that are locked;
   for mrmr_pool_let_go(). */
void mrmr_dir_cache_clear(struct mrmr_pool *pool);

/* The same of directories, and clones, that were removed: what is not used any
   more would be kept for as long as the process is busy elsewhere. */
void mrmr_dir_cache_sweep(struct mrmr_pool *pool);
struct mrmr_dir_cache *mrmr_dir_cache_new(struct mrmr_pool *pool);

#endif
