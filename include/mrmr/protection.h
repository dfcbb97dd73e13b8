/*
 * MRMR: what a pool needs of its protector, and the protector of the pool.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_PROTECTION_H
#define MRMR_PROTECTION_H

#include <mrmr/dir.h>
#include <mrmr/queue.h>

/* --- for mrmr_pool_open() -------------------------------------------------- */

/* Open the queue and the guard, if anything is or shall be protected. */
int mrmr_protection_open(struct mrmr_pool *pool, struct mrmr_error *err);

/*
 * With the members looked at: is there a part of a catalogue on one of them,
 * though the state directory has none? Then nobody knows what is protected, and
 * everything counts as that until the catalogue is recovered.
 */
int mrmr_protection_check(struct mrmr_pool *pool, struct mrmr_error *err);

/* --- telling --------------------------------------------------------------- */

#define MRMR_NO_MEMBER SIZE_MAX

/*
 * Tell the protector. member is an index or MRMR_NO_MEMBER, to may be NULL. If
 * nothing is protected in this pool, nothing is done. Keeps errno.
 */
void mrmr_tell(struct mrmr_pool *pool, enum mrmr_event_kind kind, size_t member,
	       uint64_t inode, const char *path, const char *to);

/* The same, of a name in a directory. */
void mrmr_tell_name(struct mrmr_dir *dir, const char *name,
		    enum mrmr_event_kind kind, size_t member, uint64_t inode);

/*
 * A file below a member's root, in a Btrfs subvolume of its own: that has a device
 * number and inode numbers of its own, so another file of the member may have the
 * same inode number. Nothing there is protected, and nothing is known by its inode.
 */
bool mrmr_is_in_subvolume(const struct mrmr_member *member,
			  const struct stat *st);

/* What to tell of a file of a member as its inode: 0 in a subvolume. */
uint64_t mrmr_inode_to_tell(const struct mrmr_pool *pool, size_t member,
			    const struct stat *st);

/* The pool path of a name in a directory. 0, or -1 with errno. */
int mrmr_name_path(struct mrmr_dir *dir, const char *name,
		   char path[MRMR_PATH_MAX]);

/* --- room ------------------------------------------------------------------ */

/*
 * Only the protector may remove what is in the trash, and pre-images. Whoever
 * finds a member full asks it for room there, has it run, and tries again.
 */
void mrmr_room_ask(struct mrmr_pool *pool, size_t member, uint64_t bytes);

/* What was asked for since the last time, 0: nothing. For the protector. */
uint64_t mrmr_room_take_wish(struct mrmr_pool *pool, size_t member);

/* How much could be had by asking. It counts as free in mrmr_pool_space(). */
uint64_t mrmr_room_reclaimable(const struct mrmr_pool *pool, size_t member);

/* What a protector finds in a member's trash, and leaves there. */
struct mrmr_trash_seen {
	int64_t at_ns;     /* since 1970: when it began to look */
	int64_t oldest_ns; /* when the oldest of it had come; at_ns: none */
	uint64_t bytes;    /* that could be had */
};

/* The last of them. False: nobody has looked, or others have taken something out
   since, or the member was away. */
bool mrmr_room_trash_seen(const struct mrmr_pool *pool, size_t member,
			  struct mrmr_trash_seen *seen);
/* Before it looks: begun_ns, since 1970, is what it will tell as at_ns. */
void mrmr_room_look_at_trash(struct mrmr_pool *pool, size_t member,
			     int64_t begun_ns);
/* known_bytes: mrmr_room_reclaimable() when it began to look. If something has come
   since, or others have taken something out, which it may have seen or not, the next
   protector has to look again; as it does if at_ns is 0. */
void mrmr_room_see_trash(struct mrmr_pool *pool, size_t member,
			 const struct mrmr_trash_seen *seen,
			 uint64_t known_bytes);
/* The next protector has to look. Nothing is done if there is no page. */
void mrmr_room_forget_trash(struct mrmr_pool *pool, size_t member);

/* Between two looks: so much went to the trash. */
void mrmr_room_add_reclaimable(struct mrmr_pool *pool, size_t member,
			       uint64_t bytes);

#endif
