/*
 * MRMR: what members did not give as they should (see mrmr/trouble.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <mrmr/pool.h>
#include <mrmr/shared.h>
#include <mrmr/trouble.h>

/* NULL: it has no slot, or the pool, which is only looked at, no page. */
static struct mrmr_shared_trouble *trouble_of(struct mrmr_pool *pool,
					      size_t member)
{
	if (pool->shared == NULL || member >= pool->num_members ||
	    pool->members[member].slot == -1) {
		return NULL;
	}
	return &pool->shared->trouble[pool->members[member].slot];
}

void mrmr_trouble_refused(struct mrmr_pool *pool, size_t member)
{
	struct mrmr_shared_trouble *trouble = trouble_of(pool, member);

	if (trouble != NULL) {
		atomic_fetch_add(&trouble->refused_reads, 1);
	}
}

void mrmr_trouble_wrong(struct mrmr_pool *pool, size_t member)
{
	struct mrmr_shared_trouble *trouble = trouble_of(pool, member);

	if (trouble != NULL) {
		atomic_fetch_add(&trouble->wrong_blocks, 1);
	}
}

struct mrmr_trouble mrmr_trouble_of(const struct mrmr_shared *shared,
				    const struct mrmr_uuid *id)
{
	const struct mrmr_shared_trouble *trouble = NULL;
	int slot = mrmr_shared_find(shared, id);

	if (slot == -1) {
		return (struct mrmr_trouble){0};
	}
	trouble = &shared->trouble[slot];
	return (struct mrmr_trouble){
		.refused_reads = atomic_load(&trouble->refused_reads),
		.wrong_blocks = atomic_load(&trouble->wrong_blocks),
	};
}
