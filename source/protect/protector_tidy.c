/*
 * MRMR: the protector: removing what nothing needs.
 *
 * After a commit, that is known. What a protector leaves that is killed between
 * a commit and the tidying up, or before a commit, is garbage: it is found by
 * its not being named. Pre-images are few, and are gone through each time. Parity
 * blocks are many: these are gone through by a scan, which there is after a power
 * cut, and if the last protector did not come to its end, which it has left a
 * file to tell (<state dir>/protecting).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/blob.h>
#include <mrmr/fault.h>
#include <mrmr/guard.h>
#include <mrmr/log.h>
#include <mrmr/undo.h>

#include "protector_private.h"

#define RUNNING_NAME "protecting"

/*
 * Which pre-images of an inode nothing depends on any more: those of generations
 * before the one that is protected, or all (0): then it is forgotten. An inode
 * that was given to another file meanwhile is that one's. -1: it is not known.
 */
static int forget(struct protector *p, uint16_t number, uint64_t inode,
		  uint32_t *below)
{
	struct mrmr_node *node = NULL;
	struct mrmr_uuid member;
	uint64_t id;

	*below = 0;
	if (mrmr_catalog_find_inode(p->catalog, number, inode, &id) == 0) {
		if (mrmr_catalog_get(p->catalog, p, id, &node) == -1) {
			return -1;
		}
		*below = node->num_extents > 0 ? node->generation : 0;
		talloc_free(node);
	} else if (errno != ENOENT) {
		return -1;
	}
	if (*below == 0 &&
	    mrmr_catalog_member_id(p->catalog, number, &member) == 0) {
		mrmr_guard_forget(p->engine->guard, &member, inode);
	}
	return 0;
}

/*
 * What is found on a member, and nobody knows, is garbage that a crash has left; or it
 * is the catalogue that has lost something, by bits that turned: then it is all that
 * is left of what was protected.
 */
bool tidy_is_sound(struct protector *p)
{
	struct mrmr_error err = {0};

	if (p->has_checked) {
		return p->is_sound;
	}
	p->has_checked = true;
	p->is_sound = mrmr_catalog_check(p->catalog, &err) == 0;
	if (!p->is_sound) {
		mrmr_log(MRMR_LOG_ERROR,
			 "the catalogue in %s is damaged: %s; what it does not "
			 "know stays on the members; mrmr-admin recover makes "
			 "it again",
			 p->pool->config->state_dir, err.text);
	}
	return p->is_sound;
}

static int compare_members(const void *a_void, const void *b_void)
{
	const struct loose_inode *a = a_void;
	const struct loose_inode *b = b_void;

	return a->member < b->member ? -1 : a->member > b->member;
}

static void drop(const struct mrmr_member *member, uint64_t inode,
		 uint32_t below)
{
	if (mrmr_undo_drop(member->private_fd, inode, below) == -1) {
		mrmr_log(MRMR_LOG_WARNING,
			 "member %s: old pre-images cannot be removed: %s",
			 mrmr_member_name(member), strerror(errno));
	}
}

/*
 * Forgotten first, then dropped: who comes in between keeps nothing. Mostly, a
 * member has none at all. What comes after that was seen is of those who write to
 * what is protected now, and stays.
 */
void tidy_let_go(struct protector *p)
{
	const struct mrmr_member *member = NULL;
	uint16_t number = MRMR_MEMBER_NONE;
	size_t num = 0;
	size_t i;

	for (i = 0; i < p->num_loose; i++) {
		struct loose_inode one = p->loose[i];

		if (forget(p, one.member, one.inode, &one.below) == 0) {
			p->loose[num++] = one;
		}
	}
	if (num > 0) {
		qsort(p->loose, num, sizeof(p->loose[0]), compare_members);
	}
	for (i = 0; i < num; i++) {
		const struct loose_inode *one = &p->loose[i];

		if (one->member != number) {
			number = one->member;
			member = mrmr_engine_online(p->engine, number);
			if (member != NULL &&
			    mrmr_undo_is_empty(member->private_fd)) {
				member = NULL;
			}
		}
		if (member != NULL) {
			drop(member, one->inode, one->below);
		}
	}
	p->num_loose = 0;
}

/* --- pre-images -------------------------------------------------------------- */

struct leftover {
	struct protector *p;
	uint16_t number;
	int private_fd;
	uint64_t num_removed;
	int error;
};

static int take_leftover(uint64_t inode, uint64_t bytes, void *private_data)
{
	struct leftover *leftover = private_data;
	struct protector *p = leftover->p;
	uint64_t id;

	(void)bytes;
	if (mrmr_catalog_find_inode(p->catalog, leftover->number, inode, &id) ==
		    -1 &&
	    !tidy_is_sound(p)) {
		return 0;
	}
	return protector_loosen(p, leftover->number, inode);
}

/* Those that something depends on are no more than what was overwritten since
   it was protected. */
static void clean_preimages(struct protector *p,
			    const struct mrmr_member *member)
{
	struct leftover leftover = {
		.p = p,
		.number = p->engine->number[member->index],
	};

	p->num_loose = 0;
	if (mrmr_undo_walk(member->private_fd, take_leftover, &leftover) ==
	    -1) {
		mrmr_log(MRMR_LOG_WARNING,
			 "member %s: its pre-images cannot be seen: %s",
			 mrmr_member_name(member), strerror(errno));
	}
	tidy_let_go(p);
}

/* --- parity blocks ------------------------------------------------------------ */

static int clean_blob(const uint8_t sha256[32], uint64_t size_bytes,
		      void *private_data)
{
	struct leftover *leftover = private_data;
	uint32_t uses = 0;

	(void)size_bytes;
	if (mrmr_catalog_blob_uses(leftover->p->catalog, leftover->number,
				   sha256, &uses) == -1) {
		leftover->error = errno;
		return 1; /* what is needed is not known */
	}
	if (uses == 0 && mrmr_blob_remove(leftover->private_fd, sha256) == 0) {
		leftover->num_removed++;
	}
	return protector_should_stop(leftover->p) ? 1 : 0;
}

void tidy_blobs(struct protector *p)
{
	size_t i;

	if (!tidy_is_sound(p)) {
		return;
	}
	for (i = 0; i < p->pool->num_members; i++) {
		const struct mrmr_member *member = &p->pool->members[i];
		struct leftover leftover = {
			.p = p,
			.number = p->engine->number[i],
			.private_fd = member->private_fd,
		};

		if (member->state != MRMR_MEMBER_ONLINE || member->read_only) {
			continue;
		}
		if (mrmr_blob_walk(member->private_fd, clean_blob, &leftover) ==
			    -1 ||
		    leftover.error != 0) {
			mrmr_log(MRMR_LOG_WARNING,
				 "member %s: not all parity blocks could be "
				 "looked at: %s",
				 mrmr_member_name(member),
				 strerror(leftover.error != 0 ? leftover.error
							      : errno));
		}
		if (leftover.num_removed > 0) {
			mrmr_log(MRMR_LOG_INFO,
				 "member %s: %llu parity blocks that nothing "
				 "needs were removed",
				 mrmr_member_name(member),
				 (unsigned long long)leftover.num_removed);
		}
	}
}

/* --- the beginning and the end --------------------------------------------------- */

void tidy_begin(struct protector *p)
{
	bool was_killed = false;
	size_t i;
	int fd;

	for (i = 0; i < p->pool->num_members; i++) {
		const struct mrmr_member *member = &p->pool->members[i];

		if (member->state == MRMR_MEMBER_ONLINE && !member->read_only) {
			mrmr_blob_sweep(member->private_fd);
			clean_preimages(p, member);
		}
	}
	fd = openat(p->pool->state_fd, RUNNING_NAME,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd != -1) {
		close(fd);
	} else {
		was_killed = errno == EEXIST;
	}
	if (was_killed) {
		tidy_blobs(p);
	}
}

void tidy_end(struct protector *p, bool well)
{
	if (well) {
		unlinkat(p->pool->state_fd, RUNNING_NAME, 0);
	}
}
