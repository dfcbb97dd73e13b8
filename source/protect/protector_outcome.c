/*
 * MRMR: the protector: how it went with the files of a batch.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <mrmr/log.h>

#include "protector_private.h"
#include "was.h"

#define TRIES_MAX 3
#define RETRY_NS INT64_C(1000000000)

void batch_failed(struct protector *p, uint32_t index, int error)
{
	struct pending_entry *entry = window_get(p->window, index);

	p->has_changed = true;
	entry->retry_ns =
		p->options->background ? protector_now_ns() + RETRY_NS : 0;
	if (++entry->tries < TRIES_MAX) {
		return;
	}
	mrmr_log(MRMR_LOG_ERROR, "a file (node %llu) cannot be protected: %s%s",
		 (unsigned long long)entry->node, strerror(error),
		 error == EINVAL || error == EOPNOTSUPP
			 ? "; does its file system know leases (fcntl)?"
			 : "");
	pending_set_flags(p->pending, entry->node,
			  pending_flags(p->pending, entry->node) |
				  PENDING_UNREADABLE);
	entry->is_skipped = true;
}

/* Of one that could not be read, not of those that found no room. */
static bool is_of_reading(int error)
{
	return error != 0 && error != ENOSPC && error != EAGAIN;
}

int batch_error(const struct target *target)
{
	size_t i;

	for (i = 0; i < target->num_changes; i++) {
		if (is_of_reading(target->changes[i].error)) {
			return target->changes[i].error;
		}
	}
	return 0;
}

struct outcome {
	uint64_t no_room_bytes;
	uint64_t done_bytes;
	bool is_postponed; /* some of it */
	bool stays;        /* in a stripe that cannot do without it now */
	int error;         /* of one that could not be read */
};

static struct outcome sum_up(const struct target *target)
{
	struct outcome outcome = {.error = batch_error(target)};
	size_t i;

	for (i = 0; i < target->num_changes; i++) {
		const struct mrmr_change *change = &target->changes[i];

		if (change->error == ENOSPC && change->len_bytes > 0) {
			outcome.no_room_bytes += change->len_bytes;
		} else if (change->error == ENOSPC) {
			outcome.stays = true;
		} else if (change->error == EAGAIN) {
			outcome.is_postponed = true;
		} else if (change->error == 0) {
			outcome.done_bytes += change->len_bytes;
		}
	}
	return outcome;
}

static void forget_large(struct protector *p, struct large_file *large)
{
	uint32_t entry = window_find(p->window, large->id);

	if (large->id != 0 && entry != WINDOW_NONE) {
		window_get(p->window, entry)->is_large = false;
	}
	large->id = 0;
}

/* There is more of it to be done, in the next batch. */
static void note_large(struct protector *p, const struct target *target,
		       bool goes_on)
{
	size_t index = mrmr_engine_member(p->engine, target->node.member);
	struct large_file *large = NULL;

	if (index == SIZE_MAX) {
		return;
	}
	large = &p->large[index];
	if (goes_on) {
		if (large->id != target->node.id) {
			forget_large(p, large);
		}
		large->id = target->node.id;
		large->generation = target->node.generation;
		large->serial = target->serial;
		window_get(p->window, target->entry)->is_large = true;
	} else if (large->id == target->node.id) {
		forget_large(p, large);
	}
}

/* The rest of a large one would find no room either, if this part found none. One
   of which a part cannot be read may have been cut: it is declared anew. */
static bool goes_on(const struct target *target, const struct outcome *outcome)
{
	return !target->is_complete && outcome->error == 0 &&
	       (outcome->no_room_bytes == 0 || outcome->done_bytes > 0);
}

int batch_conclude(struct protector *p, struct target *target)
{
	struct pending_entry *entry = window_get(p->window, target->entry);
	uint8_t flags = pending_flags(p->pending, entry->node);
	struct outcome outcome = sum_up(target);
	int ret = 0;

	if (outcome.stays && (target->is_gone || target->is_cut)) {
		ret = 0;
	} else if (target->is_gone && outcome.error == 0) {
		ret = target_remove_gone(p, target);
	} else if (target->is_cut && outcome.error == 0) {
		ret = mrmr_catalog_cut_extents(p->catalog, target->node.id,
					       target->num_extents);
	} else if (!target->is_gone && !target->is_cut) {
		if (target->old->num_extents > target->num_extents) {
			ret = mrmr_catalog_cut_extents(p->catalog,
						       target->node.id,
						       target->num_extents);
		}
		if (ret == 0) {
			ret = protector_loosen(p, target->node.member,
					       target->node.inode);
		}
		if (ret == 0 && target->has_moved) {
			ret = protector_loosen(p, target->old->member,
					       target->old->inode);
		}
		note_large(p, target, goes_on(target, &outcome));
	}
	if (ret == -1) {
		return -1;
	}
	p->result->protected_bytes += outcome.done_bytes;
	p->progress.done_bytes += outcome.done_bytes;
	if (outcome.error != 0) {
		batch_failed(p, target->entry, outcome.error);
		return 0;
	}
	if (outcome.is_postponed) {
		p->has_changed = true; /* there is more to be done */
		return 0;
	}
	if (outcome.no_room_bytes > 0 || outcome.stays) {
		if (room_note(p) == -1) {
			return -1;
		}
		pending_set_flags(p->pending, entry->node,
				  flags | PENDING_NO_ROOM);
		entry->is_skipped = !goes_on(target, &outcome);
		if (entry->is_skipped) {
			protector_done(p, target->node.member,
				       target->node.inode);
		}
		return 0;
	}
	if (target->is_cut) {
		p->has_changed = true;
		pending_set_flags(p->pending, entry->node,
				  flags & (uint8_t)~PENDING_LOST);
		return 0;
	}
	if (!target->is_complete) {
		return 0;
	}
	/* A part of a large one may have found no room. */
	if ((target->is_gone || (flags & PENDING_NO_ROOM) == 0) &&
	    was_forget(p->catalog, target->node.id) == -1) {
		return -1;
	}
	p->progress.done_files++;
	if (!target->is_gone) {
		p->result->protected_files++;
	}
	/* It may have changed again since it was declared. */
	if (entry->serial == target->serial && (flags & PENDING_NO_ROOM) == 0) {
		pending_remove(p->pending, entry->node);
		protector_done(p, target->node.member, target->node.inode);
	}
	return 0;
}
