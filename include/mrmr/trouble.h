/*
 * MRMR: what members did not give as they should although they are there, since
 * the last boot. All processes of the pool count, for `mrmr-admin status`.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_TROUBLE_H
#define MRMR_TROUBLE_H

#include <stddef.h>
#include <stdint.h>

#include <mrmr/config.h>

struct mrmr_pool;
struct mrmr_shared;

struct mrmr_trouble {
	uint64_t refused_reads; /* that failed with an error of the drive */
	uint64_t
		wrong_blocks; /* that were read, and did not match their hash */
};

/* By the member's index in the pool. Any thread. */
void mrmr_trouble_refused(struct mrmr_pool *pool, size_t member);
void mrmr_trouble_wrong(struct mrmr_pool *pool, size_t member);

/* What was counted of a member; nothing if it was never in use. */
struct mrmr_trouble mrmr_trouble_of(const struct mrmr_shared *shared,
				    const struct mrmr_uuid *id);

#endif
