/*
 * MRMR: config reader, the rules of placement.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <talloc.h>

#include "config_private.h"

static int read_match(struct mrmr_config_reader *reader,
		      const struct mrmr_json_place *place, const json_t *value,
		      const struct mrmr_config_key *key, void *target)
{
	char **pattern = target;

	if (mrmr_config_read_word(reader, place, value, key, target) == -1) {
		return -1;
	}
	if ((*pattern)[0] == '/') {
		return mrmr_config_fail(reader, place,
					"\"%s\" begins with a slash and would "
					"match nothing; paths begin at the "
					"share, without one",
					*pattern);
	}
	return 0;
}

static int read_rule_member(struct mrmr_config_reader *reader,
			    const struct mrmr_json_place *place,
			    const json_t *value, struct mrmr_rule_config *rule)
{
	const char *word = json_string_value(value);
	struct mrmr_error why = {0};
	size_t i;
	int found;

	if (word == NULL) {
		return mrmr_config_fail_type(reader, place, value,
					     "the id or the mount point of a "
					     "member in quotes");
	}
	found = mrmr_config_find_member(reader->config, word, &why);
	if (found == -1) {
		return mrmr_config_fail(reader, place, "%s", why.text);
	}
	for (i = 0; i < rule->num_members; i++) {
		if (rule->members[i] == (size_t)found) {
			return mrmr_config_fail(reader, place,
						"\"%s\" is named twice", word);
		}
	}
	rule->members[rule->num_members++] = (size_t)found;
	return 0;
}

static int read_rule_members(struct mrmr_config_reader *reader,
			     const struct mrmr_json_place *place,
			     const json_t *value,
			     const struct mrmr_config_key *key, void *target)
{
	struct mrmr_rule_config *rule = target;
	size_t num = json_array_size(value);
	size_t i;

	if (!json_is_array(value)) {
		return mrmr_config_fail_type(reader, place, value,
					     "an array of members, [ ... ]");
	}
	if (num == 0) {
		return mrmr_config_fail(reader, place,
					"is empty, so these files could go "
					"nowhere; leave the key out for all "
					"members");
	}
	rule->members = talloc_array(reader->config, size_t, (unsigned int)num);
	if (rule->members == NULL) {
		return mrmr_config_fail_memory(reader);
	}
	for (i = 0; i < num; i++) {
		struct mrmr_json_place below = {.parent = place, .index = i};

		if (read_rule_member(reader, &below, json_array_get(value, i),
				     rule) == -1) {
			return -1;
		}
	}
	return 0;
}

static const struct mrmr_config_key rule_keys[] = {
	{.name = "match",
	 .read = read_match,
	 .offset = offsetof(struct mrmr_rule_config, pattern),
	 .required = true},
	{.name = "placement",
	 .read = mrmr_config_read_placement,
	 .offset = offsetof(struct mrmr_rule_config, placement)},
	{.name = "members", .read = read_rule_members},
	{.name = NULL},
};

int mrmr_config_read_rules(struct mrmr_config_reader *reader,
			   const struct mrmr_json_place *place,
			   const json_t *value,
			   const struct mrmr_config_key *key, void *target)
{
	struct mrmr_config *config = reader->config;
	size_t num = json_array_size(value);
	size_t i;

	if (!json_is_array(value)) {
		return mrmr_config_fail_type(reader, place, value,
					     "an array of rules, [ ... ]");
	}
	config->rules = talloc_zero_array(config, struct mrmr_rule_config,
					  (unsigned int)num);
	if (config->rules == NULL) {
		return mrmr_config_fail_memory(reader);
	}
	for (i = 0; i < num; i++) {
		struct mrmr_json_place below = {.parent = place, .index = i};
		struct mrmr_rule_config *rule = &config->rules[i];

		if (mrmr_config_read_object(reader, &below,
					    json_array_get(value, i), rule_keys,
					    rule) == -1) {
			return -1;
		}
		if (rule->placement == NULL && rule->members == NULL) {
			return mrmr_config_fail(reader, &below,
						"decides nothing; give it "
						"\"placement\", \"members\" "
						"or both");
		}
		config->num_rules++;
	}
	return 0;
}
