/*
 * MRMR: are the files on the members those that the catalogue knows?
 *
 * A scan believes what it sees: what is gone was deleted, what differs was
 * changed, and parity follows. That is right for what people do on the members
 * themselves; it is wrong where a drive is not what it seems: encrypted by
 * malware, restored from an old image, a file system that was made anew. Then
 * parity is what brings the files back, and must stay as it is. So before a scan
 * of everything it is counted how much has changed, and if it is most of a
 * member, a person is asked.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_SCAN_H
#define MRMR_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/engine.h>

/* Fewer files than this may change all at once. */
#define MRMR_SCAN_DOUBT_MIN 20

struct mrmr_scan_member {
	bool is_seen;          /* it is online, and could be looked at */
	uint64_t num_files;    /* that the catalogue has on it */
	uint64_t num_same;     /* by size and time, under their name */
	uint64_t num_changed;  /* other size or time */
	uint64_t num_gone;     /* no file of that name */
	uint64_t num_expected; /* of the last two: an event told of them */
	uint64_t num_moved;    /* of the gone: there under another name */
};

struct mrmr_scan_options {
	/* Is it known that this node has changed? May be NULL. */
	bool (*is_expected)(uint64_t id, void *private_data);
	bool (*should_stop)(void *private_data); /* may be NULL */
	void *private_data;
};

/*
 * Count; members[] has one for each of pool->members. Changes nothing, reads no
 * content. -1 with *err filled; ECANCELED if it was stopped. Needs root. The
 * names of the catalogue must be in step with the queue.
 */
int mrmr_scan_look(struct mrmr_engine *engine,
		   const struct mrmr_scan_options *options,
		   struct mrmr_scan_member *members, struct mrmr_error *err);

/* Is it so much that a person should say that it is right? At least half of
   the member's files, and at least MRMR_SCAN_DOUBT_MIN. */
bool mrmr_scan_is_doubtful(const struct mrmr_scan_member *member);

#endif
