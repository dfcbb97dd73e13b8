/*
 * MRMR: which member a new file goes to.
 *
 * Pure: candidates in, an order of preference out. The caller tries the
 * members in that order, so a full or failing first choice costs one more
 * system call, never a failed create.
 *
 * A policy is one file, source/pool/policy_<name>.c, and one line in the table
 * of source/pool/placement.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_PLACEMENT_H
#define MRMR_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mrmr/config.h>

/* What a policy may know of a member at this moment. */
struct mrmr_candidate {
	size_t member;       /* index in the config */
	uint64_t free_bytes; /* left: the reserve is taken off; to a policy:
				what of it is for data, if anything is */
	uint64_t kept_bytes; /* of free_bytes, for parity: not for files as long
				as another member has room for data */
	uint64_t total_bytes;
	unsigned int tier;
	enum mrmr_member_role role;
	bool has_dir;         /* the file's directory exists there */
	int64_t dir_mtime_ns; /* of that directory; valid with has_dir */
};

struct mrmr_placement_request {
	uint64_t need_bytes; /* announced size, 0 if not known */
	uint64_t random;     /* for policies that draw lots */
};

/*
 * A policy compares two candidates that both have room: < 0 if a is the better
 * place. Ties fall to the lower index. Policies that draw lots use
 * mrmr_placement_lot(), so that the same request gives the same order.
 */
struct mrmr_policy {
	const char *name;
	const char *help; /* one line, for documentation and --help */
	int (*compare)(const struct mrmr_placement_request *request,
		       const struct mrmr_candidate *a,
		       const struct mrmr_candidate *b);
};

extern const struct mrmr_policy mrmr_policy_most_free;
extern const struct mrmr_policy mrmr_policy_most_free_percent;
extern const struct mrmr_policy mrmr_policy_keep_together;
extern const struct mrmr_policy mrmr_policy_spread;

/* By name, or NULL. */
const struct mrmr_policy *mrmr_policy_find(const char *name);

/* The policies, for help texts; ends with NULL. */
const struct mrmr_policy *const *mrmr_policy_list(void);

/*
 * Sort candidates[0..n) so that the best comes first, and return how many are
 * eligible (they come first): those with room for need_bytes (or at least one
 * byte). Members of role parity come after all others; within that, members
 * whose room for data suffices before those that have only what is kept for
 * parity. If nobody eligible is left within the reserves, returns 0. Policies
 * that say "among the lowest tier" take a higher tier only when no member of a
 * lower one has room.
 */
size_t mrmr_placement_order(const struct mrmr_policy *policy,
			    const struct mrmr_placement_request *request,
			    struct mrmr_candidate *candidates, size_t n);

/*
 * The policy and the members for a pool path (no leading slash), by the
 * config's rules. *members is NULL for "all", else indices owned by config.
 */
const struct mrmr_policy *mrmr_placement_rule(const struct mrmr_config *config,
					      const char *path,
					      const size_t **members,
					      size_t *num_members);

/* A deterministic number in [0, 1) for a member in this draw. */
double mrmr_placement_lot(const struct mrmr_placement_request *request,
			  size_t member);

#endif
