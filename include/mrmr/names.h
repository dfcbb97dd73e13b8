/*
 * MRMR: names in the pool: finding, making, renaming and removing them.
 *
 * All of these take the locks of the directories concerned themselves, act as
 * the user the process is at the moment (so that the kernel decides what that
 * user may do on the member, as it does on a plain share), and become root
 * only for what MRMR does on its own account: clones, intents, trash.
 *
 * They return 0 (or a descriptor), or -1 with errno. What they did is told to
 * the protector; only that a file was made is told by whoever closes it.
 *
 * One name, one file. When the same name lies on several members, the first in
 * the order of the config wins. The others stay where they are, are renamed
 * with the winner, and go to `.mrmr/trash` of their member when it is removed
 * or replaced: they are never deleted silently. A file that holds protected
 * bytes goes there as well when its name does (mrmr/trash.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_NAMES_H
#define MRMR_NAMES_H

#include <sys/stat.h>
#include <sys/types.h>

#include <mrmr/dir.h>

#define MRMR_IN_SPINE SIZE_MAX /* a directory: the spine is where it is */

/*
 * Where name is: a member's index, or MRMR_IN_SPINE for a directory (brought
 * into the spine if only members had it). st is filled, as by lstat.
 */
int mrmr_name_find(struct mrmr_dir *dir, const char *name, size_t *member,
		   struct stat *st);

/*
 * Open what is there under name. The descriptor is the member's own file's (or
 * the spine's own directory's). flags must have neither O_CREAT nor lack
 * O_NOFOLLOW. *member is as with mrmr_name_find. If it is a member, *st is what
 * fstat says of the descriptor.
 */
int mrmr_name_open(struct mrmr_dir *dir, const char *name, int flags,
		   size_t *member, struct stat *st);

/*
 * Make a file, with O_EXCL semantics across the union, on the member that
 * placement picks for need_bytes; the next ones are tried when it is full,
 * read-only or failing. ENOSPC only when all eligible members are full.
 */
int mrmr_name_create(struct mrmr_dir *dir, const char *name, int flags,
		     mode_t mode, uint64_t need_bytes, size_t *member);

/* Directory: in the spine, and on the member that placement picks. */
int mrmr_name_mkdir(struct mrmr_dir *dir, const char *name, mode_t mode);

/*
 * A directory in two steps, for those who set it up (its owner, ACL, attributes)
 * before others may see it. Until it is finished it is in the spine alone, under
 * a name with this prefix, which is smbd's (since 4.22): no member has it, the
 * protector does not hear of it, and that no member has it is no reason to prune
 * it. Whoever lists it for clients leaves it out, and removes it if its maker
 * died. Finishing is EEXIST if the name is taken; the member is picked by it.
 */
#define MRMR_UNFINISHED_PREFIX ".::TMPNAME:D:"

bool mrmr_name_is_unfinished(const char *name);
int mrmr_name_begin(struct mrmr_dir *dir, const char *unfinished, mode_t mode);
int mrmr_name_finish(struct mrmr_dir *dir, const char *unfinished,
		     const char *name);

int mrmr_name_symlink(struct mrmr_dir *dir, const char *name,
		      const char *target);
int mrmr_name_mknod(struct mrmr_dir *dir, const char *name, mode_t mode,
		    dev_t dev);

/* A hard link, on the member of the existing file. */
int mrmr_name_link(struct mrmr_dir *from_dir, const char *from,
		   struct mrmr_dir *to_dir, const char *to);

/* Everything but a directory. */
int mrmr_name_unlink(struct mrmr_dir *dir, const char *name);

/* A directory that is empty on the spine and every member. */
int mrmr_name_rmdir(struct mrmr_dir *dir, const char *name);

/*
 * As rename(2), within members: never EXDEV. A failure half way is undone; a
 * crash half way is finished by mrmr_intents_finish().
 */
int mrmr_name_rename(struct mrmr_dir *from_dir, const char *from,
		     struct mrmr_dir *to_dir, const char *to);

/*
 * Resolve a path over the union, following symlinks as realpath(3) does,
 * within the pool: path is relative to at_fd in the spine or absolute. The
 * result is absolute. A symlink that leads out of the pool ends the walk: then
 * the result is its target, as it is, which is a path outside of the spine, for
 * the caller to refuse. ELOOP after 40.
 */
int mrmr_path_resolve(struct mrmr_pool *pool, int at_fd, const char *path,
		      char resolved[MRMR_PATH_MAX]);

/*
 * The members that may take a new file named name in dir, best first, by rules
 * and policy. order has room for pool->num_members. Returns how many.
 */
size_t mrmr_name_place(struct mrmr_dir *dir, const char *name,
		       uint64_t need_bytes, size_t *order);

#endif
