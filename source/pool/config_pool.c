/*
 * MRMR: config reader, the keys of the pool as a whole.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/nearest.h>
#include <mrmr/placement.h>

#include "config_private.h"

#define DAYS_MAX 36500

static int read_block_size(struct mrmr_config_reader *reader,
			   const struct mrmr_json_place *place,
			   const json_t *value,
			   const struct mrmr_config_key *key, void *target)
{
	uint32_t *block_size_bytes = target;
	uint64_t bytes = 0;

	if (mrmr_config_read_size(reader, place, value, key, &bytes) == -1) {
		return -1;
	}
	if ((bytes & (bytes - 1)) != 0) {
		return mrmr_config_fail(reader, place,
					"must be a power of two, as 1M, 2M, "
					"4M");
	}
	*block_size_bytes = (uint32_t)bytes;
	return 0;
}

int mrmr_config_read_placement(struct mrmr_config_reader *reader,
			       const struct mrmr_json_place *place,
			       const json_t *value,
			       const struct mrmr_config_key *key, void *target)
{
	const struct mrmr_policy *const *policy = NULL;
	const char *name = json_string_value(value);
	char **placement = target;
	const char *comma = "";
	char *list = NULL;

	if (name == NULL) {
		return mrmr_config_fail_type(reader, place, value,
					     "the name of a policy in quotes");
	}
	if (mrmr_policy_find(name) != NULL) {
		*placement = talloc_strdup(reader->config, name);
		return *placement != NULL ? 0 : mrmr_config_fail_memory(reader);
	}
	list = talloc_strdup(NULL, "");
	for (policy = mrmr_policy_list(); *policy != NULL; policy++) {
		list = talloc_asprintf_append(list, "%s%s", comma,
					      (*policy)->name);
		comma = ", ";
	}
	mrmr_config_fail(reader, place,
			 "there is no policy \"%s\"; known are %s", name,
			 list != NULL ? list : "others");
	talloc_free(list);
	return -1;
}

/* --- parity_drives: N, "max", or {"min": N, "max": N or "max"} ------------ */

static bool is_max(const json_t *value)
{
	const char *text = json_string_value(value);

	return text != NULL && strcmp(text, "max") == 0;
}

static int read_parity_bound(struct mrmr_config_reader *reader,
			     const struct mrmr_json_place *place,
			     const json_t *value,
			     const struct mrmr_config_key *key, void *target)
{
	unsigned int *bound = target;

	if (key->max == UINT_MAX) {
		struct mrmr_config_key number = *key;

		if (is_max(value)) {
			*bound = UINT_MAX;
			return 0;
		}
		number.max = MRMR_PARITY_MAX;
		return mrmr_config_read_number(reader, place, value, &number,
					       target);
	}
	return mrmr_config_read_number(reader, place, value, key, target);
}

static const struct mrmr_config_key parity_keys[] = {
	{.name = "min",
	 .read = read_parity_bound,
	 .offset = offsetof(struct mrmr_parity_wish, min),
	 .max = MRMR_PARITY_MAX},
	{.name = "max",
	 .read = read_parity_bound,
	 .offset = offsetof(struct mrmr_parity_wish, max),
	 .max = UINT_MAX},
	{.name = NULL},
};

static int read_parity(struct mrmr_config_reader *reader,
		       const struct mrmr_json_place *place, const json_t *value,
		       const struct mrmr_config_key *key, void *target)
{
	struct mrmr_parity_wish *parity = target;

	*parity = (struct mrmr_parity_wish){.min = 0, .max = UINT_MAX};
	if (is_max(value)) {
		return 0;
	}
	if (json_is_integer(value)) {
		struct mrmr_config_key number = {.max = MRMR_PARITY_MAX};

		if (mrmr_config_read_number(reader, place, value, &number,
					    &parity->min) == -1) {
			return -1;
		}
		parity->max = parity->min;
		return 0;
	}
	if (!json_is_object(value)) {
		return mrmr_config_fail_type(reader, place, value,
					     "a number, \"max\", or {\"min\": "
					     "N, \"max\": N}");
	}
	if (mrmr_config_read_object(reader, place, value, parity_keys,
				    parity) == -1) {
		return -1;
	}
	if (parity->min > parity->max) {
		return mrmr_config_fail(reader, place,
					"\"min\" (%u) is larger than \"max\" "
					"(%u)",
					parity->min, parity->max);
	}
	return 0;
}

/*
 * The order matters: members are checked against drive_id and state_dir,
 * parity against the members, and rules name members.
 */
const struct mrmr_config_key mrmr_config_pool_keys[] = {
	{.name = "drive_id",
	 .read = mrmr_config_read_uuid,
	 .offset = offsetof(struct mrmr_config, pool_id),
	 .required = true},
	{.name = "parity_drives",
	 .read = read_parity,
	 .offset = offsetof(struct mrmr_config, parity),
	 .required = true},
	{.name = "state_dir",
	 .read = mrmr_config_read_path,
	 .offset = offsetof(struct mrmr_config, state_dir),
	 .required = true},
	{.name = "block_size",
	 .read = read_block_size,
	 .offset = offsetof(struct mrmr_config, block_size_bytes),
	 .min = 64u << 10,
	 .max = 64u << 20},
	{.name = "placement",
	 .read = mrmr_config_read_placement,
	 .offset = offsetof(struct mrmr_config, placement)},
	{.name = "min_free",
	 .read = mrmr_config_read_size,
	 .offset = offsetof(struct mrmr_config, min_free_bytes),
	 .max = INT64_MAX},
	{.name = "trash_days",
	 .read = mrmr_config_read_number,
	 .offset = offsetof(struct mrmr_config, trash_days),
	 .max = DAYS_MAX},
	{.name = "trash_max_percent",
	 .read = mrmr_config_read_number,
	 .offset = offsetof(struct mrmr_config, trash_max_percent),
	 .max = 100},
	{.name = "undo_max_bytes",
	 .read = mrmr_config_read_size,
	 .offset = offsetof(struct mrmr_config, undo_max_bytes),
	 .max = INT64_MAX},
	{.name = "mounts", .read = mrmr_config_read_members, .required = true},
	{.name = "rules", .read = mrmr_config_read_rules},
	{.name = NULL},
};
