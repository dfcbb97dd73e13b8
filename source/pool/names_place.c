/*
 * MRMR: which members may take a new name.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <mrmr/log.h>
#include <mrmr/names.h>
#include <mrmr/placement.h>

#include "names_private.h"

/* xorshift64*: lots need to be fair, not secret. */
static uint64_t draw(struct mrmr_pool *pool)
{
	pool->random ^= pool->random >> 12;
	pool->random ^= pool->random << 25;
	pool->random ^= pool->random >> 27;
	return pool->random * UINT64_C(0x2545f4914f6cdd1d);
}

/*
 * macOS keeps a file's other half in "._NAME": it goes where NAME is, so that
 * both are lost or saved together.
 */
static size_t member_of_other_half(struct mrmr_dir *dir, const char *name)
{
	struct stat st;
	size_t member;

	if (strncmp(name, "._", 2) != 0 || name[2] == '\0' ||
	    mrmr_name_find(dir, name + 2, &member, &st) == -1) {
		return SIZE_MAX;
	}
	return member;
}

static bool is_listed(const size_t *members, size_t n, size_t member)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (members[i] == member) {
			return true;
		}
	}
	return false;
}

static size_t gather(struct mrmr_dir *dir, const struct mrmr_policy *policy,
		     const size_t *allowed, size_t num_allowed,
		     struct mrmr_candidate *candidates)
{
	struct mrmr_pool *pool = dir->pool;
	bool wants_dirs = policy == &mrmr_policy_keep_together;
	size_t n = 0;
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];
		struct stat st;

		if (member->state != MRMR_MEMBER_ONLINE || member->read_only ||
		    (allowed != NULL && !is_listed(allowed, num_allowed, i))) {
			continue;
		}
		candidates[n] = (struct mrmr_candidate){
			.member = i,
			.free_bytes = mrmr_member_room(member),
			.kept_bytes = member->kept_bytes,
			.total_bytes = member->total_bytes,
			.tier = member->config->tier,
			.role = member->config->role,
		};
		if (wants_dirs) {
			int fd = mrmr_dir_on_member(dir, i);

			if (fd != -1 && fstat(fd, &st) == 0) {
				candidates[n].has_dir = true;
				candidates[n].dir_mtime_ns =
					st.st_mtim.tv_sec *
						INT64_C(1000000000) +
					st.st_mtim.tv_nsec;
			}
		}
		n++;
	}
	return n;
}

/* The policy and the members that the config's rules have for a name. */
static const struct mrmr_policy *rule_of(struct mrmr_dir *dir, const char *name,
					 const size_t **allowed,
					 size_t *num_allowed)
{
	const struct mrmr_config *config = dir->pool->config;
	char path[MRMR_PATH_MAX] = "";

	if (config->num_rules > 0 && mrmr_dir_path(dir, path) == 0 &&
	    strlen(path) + strlen(name) + 2 <= sizeof(path)) {
		if (path[0] != '\0') {
			strcat(path, "/");
		}
		strcat(path, name);
	}
	return mrmr_placement_rule(config, path, allowed, num_allowed);
}

size_t mrmr_name_place(struct mrmr_dir *dir, const char *name,
		       uint64_t need_bytes, size_t *order)
{
	struct mrmr_pool *pool = dir->pool;
	struct mrmr_candidate candidates[MRMR_MEMBERS_MAX];
	struct mrmr_placement_request request = {.need_bytes = need_bytes};
	const struct mrmr_policy *policy = NULL;
	const size_t *allowed = NULL;
	size_t num_allowed = 0;
	size_t together;
	size_t n, i;

	policy = rule_of(dir, name, &allowed, &num_allowed);
	request.random = draw(pool);

	n = gather(dir, policy, allowed, num_allowed, candidates);
	i = mrmr_placement_order(policy, &request, candidates, n);
	if (i == 0 && need_bytes > 0) {
		/* What was announced fits nowhere. The name may be made all
		   the same; whoever writes that much is told then. */
		request.need_bytes = 0;
		i = mrmr_placement_order(policy, &request, candidates, n);
	}
	n = i;
	for (i = 0; i < n; i++) {
		order[i] = candidates[i].member;
	}

	together = member_of_other_half(dir, name);
	for (i = 1; i < n; i++) {
		if (order[i] == together) {
			memmove(order + 1, order, i * sizeof(order[0]));
			order[0] = together;
			break;
		}
	}
	return n;
}

int names_nowhere(struct mrmr_dir *dir, const char *name)
{
	const struct mrmr_pool *pool = dir->pool;
	const size_t *allowed = NULL;
	size_t num_allowed = 0;
	bool online = false;
	bool writable = false;
	size_t i;

	rule_of(dir, name, &allowed, &num_allowed);
	for (i = 0; i < pool->num_members; i++) {
		if (pool->members[i].state == MRMR_MEMBER_ONLINE &&
		    (allowed == NULL || is_listed(allowed, num_allowed, i))) {
			online = true;
			writable = writable || !pool->members[i].read_only;
		}
	}
	if (!online) {
		mrmr_log(MRMR_LOG_ERROR,
			 "no member that may take '%s' is "
			 "online",
			 name);
		return ENODEV;
	}
	return writable ? ENOSPC : EROFS;
}
