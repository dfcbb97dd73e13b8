/*
 * MRMR: which member a new file goes to (see mrmr/placement.h).
 *
 * What holds for every policy is here: who is eligible, that members kept for
 * parity come last, and what room is kept for parity is taken last, that ties
 * fall to the lower index. A policy only says which of two places is better.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include <mrmr/placement.h>

static const struct mrmr_policy *const policies[] = {
	&mrmr_policy_most_free,
	&mrmr_policy_most_free_percent,
	&mrmr_policy_keep_together,
	&mrmr_policy_spread,
	NULL,
};

const struct mrmr_policy *const *mrmr_policy_list(void)
{
	return policies;
}

const struct mrmr_policy *mrmr_policy_find(const char *name)
{
	size_t i;

	for (i = 0; policies[i] != NULL; i++) {
		if (strcmp(policies[i]->name, name) == 0) {
			return policies[i];
		}
	}
	return NULL;
}

/* --- order ---------------------------------------------------------------- */

struct order {
	const struct mrmr_policy *policy;
	const struct mrmr_placement_request *request;
};

static bool has_room(const struct mrmr_placement_request *request,
		     const struct mrmr_candidate *candidate)
{
	return candidate->free_bytes > 0 &&
	       candidate->free_bytes >= request->need_bytes;
}

static bool has_data_room(const struct mrmr_placement_request *request,
			  const struct mrmr_candidate *candidate)
{
	return candidate->free_bytes > candidate->kept_bytes &&
	       candidate->free_bytes - candidate->kept_bytes >=
		       request->need_bytes;
}

/* As a policy sees a candidate: with the room that it is there for. */
static struct mrmr_candidate with_room(const struct mrmr_candidate *candidate,
				       bool for_data)
{
	struct mrmr_candidate seen = *candidate;

	if (for_data) {
		seen.free_bytes -= seen.kept_bytes;
	}
	return seen;
}

static int compare(const void *a_void, const void *b_void, void *order_void)
{
	const struct mrmr_candidate *a = a_void;
	const struct mrmr_candidate *b = b_void;
	const struct order *order = order_void;
	bool a_has_room = has_room(order->request, a);
	bool b_has_room = has_room(order->request, b);
	bool a_is_parity = a->role == MRMR_ROLE_PARITY;
	bool b_is_parity = b->role == MRMR_ROLE_PARITY;
	bool a_for_data = has_data_room(order->request, a);
	bool b_for_data = has_data_room(order->request, b);
	struct mrmr_candidate a_seen = with_room(a, a_for_data);
	struct mrmr_candidate b_seen = with_room(b, b_for_data);
	int result;

	if (a_has_room != b_has_room) {
		return a_has_room ? -1 : 1;
	}
	if (a_is_parity != b_is_parity) {
		return a_is_parity ? 1 : -1;
	}
	if (a_for_data != b_for_data) {
		return a_for_data ? -1 : 1;
	}
	result = order->policy->compare(order->request, &a_seen, &b_seen);
	if (result != 0) {
		return result;
	}
	return a->member < b->member ? -1 : a->member > b->member;
}

size_t mrmr_placement_order(const struct mrmr_policy *policy,
			    const struct mrmr_placement_request *request,
			    struct mrmr_candidate *candidates, size_t n)
{
	struct order order = {.policy = policy, .request = request};
	size_t eligible = 0;

	qsort_r(candidates, n, sizeof(candidates[0]), compare, &order);
	while (eligible < n && has_room(request, &candidates[eligible])) {
		eligible++;
	}
	return eligible;
}

/* --- rules ---------------------------------------------------------------- */

const struct mrmr_policy *mrmr_placement_rule(const struct mrmr_config *config,
					      const char *path,
					      const size_t **members,
					      size_t *num_members)
{
	size_t i;

	for (i = 0; i < config->num_rules; i++) {
		const struct mrmr_rule_config *rule = &config->rules[i];

		if (fnmatch(rule->pattern, path, FNM_CASEFOLD) != 0) {
			continue;
		}
		*members = rule->members;
		*num_members = rule->num_members;
		return mrmr_policy_find(rule->placement != NULL
						? rule->placement
						: config->placement);
	}
	*members = NULL;
	*num_members = 0;
	return mrmr_policy_find(config->placement);
}

/* --- lots ----------------------------------------------------------------- */

/*
 * The finishing step of splitmix64: neighbouring inputs give unrelated
 * outputs, so one random number of a request serves all its members.
 */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	x ^= x >> 31;
	return x;
}

double mrmr_placement_lot(const struct mrmr_placement_request *request,
			  size_t member)
{
	uint64_t step = UINT64_C(0x9e3779b97f4a7c15) * (member + 1);

	/* the 53 bits that a double holds exactly */
	return (double)(mix(request->random + step) >> 11) * 0x1p-53;
}
