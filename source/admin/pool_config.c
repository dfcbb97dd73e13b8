/*
 * mrmr-admin: the pool's config, as the verbs use it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <talloc.h>

#include "admin.h"

/* The lock is on the directory: the file is another one after each change. */
int admin_lock_config(struct admin *admin)
{
	char *dir = admin_need(talloc_strdup(NULL, admin->config_path));
	char *slash = strrchr(dir, '/');
	int status = ADMIN_GO_ON;
	int fd;

	if (slash != NULL) {
		slash[slash == dir ? 1 : 0] = '\0';
	}
	fd = open(slash != NULL ? dir : ".",
		  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd != -1 && flock(fd, LOCK_EX | LOCK_NB) == -1 &&
	    errno == EWOULDBLOCK) {
		close(fd);
		status = admin_fail(admin, ADMIN_FAILED,
				    "%s is just being changed by another "
				    "mrmr-admin; try again when that is done",
				    admin->config_path);
	}
	/* a directory that is not there is said by who reads the config */
	talloc_free(dir);
	return status;
}

int admin_check_config(struct admin *admin, const struct mrmr_config *config,
		       const char *path)
{
	struct mrmr_error err = {0};
	char *text = admin_need(mrmr_config_format(admin, config));

	if (mrmr_config_parse(admin, path, text, strlen(text), &err) == NULL) {
		return admin_fail(admin, ADMIN_USAGE,
				  "this would be no valid config: %s",
				  err.text);
	}
	return ADMIN_GO_ON;
}

struct mrmr_config *admin_config(struct admin *admin)
{
	struct mrmr_error err = {0};
	struct mrmr_config *config =
		mrmr_config_load(admin, admin->config_path, &err);

	if (config == NULL) {
		admin_fail(admin, ADMIN_CONFIG, "%s", err.text);
	}
	return config;
}

int admin_config_member(struct admin *admin, const struct mrmr_config *config,
			const char *word)
{
	struct mrmr_error err = {0};
	int found = mrmr_config_find_member(config, word, &err);

	if (found == -1) {
		admin_fail(admin, ADMIN_USAGE, "%s", err.text);
	}
	return found;
}

char *admin_member_label(void *mem_ctx, const struct mrmr_member_config *member)
{
	char id[MRMR_UUID_LEN + 1];

	mrmr_uuid_format(&member->id, id);
	return admin_need(talloc_asprintf(mem_ctx, "%s (%.8s)",
					  mrmr_member_config_name(member), id));
}

/* Rules name members by their places; one that has no member left goes. */
static void forget_in_rule(struct mrmr_rule_config *rule, size_t index,
			   size_t heir)
{
	bool has_heir = false;
	size_t num = 0;
	size_t i;

	for (i = 0; i < rule->num_members; i++) {
		size_t member = rule->members[i];

		member = member == index ? heir : member;
		if (member == SIZE_MAX || (member == heir && has_heir)) {
			continue;
		}
		has_heir = has_heir || member == heir;
		rule->members[num++] = member > index ? member - 1 : member;
	}
	rule->num_members = num;
}

void admin_config_remove(struct mrmr_config *config, size_t index, size_t heir)
{
	size_t num = 0;
	size_t i;

	for (i = 0; i < config->num_rules; i++) {
		struct mrmr_rule_config *rule = &config->rules[i];

		if (rule->members != NULL) {
			forget_in_rule(rule, index, heir);
		}
		if (rule->members == NULL || rule->num_members > 0) {
			config->rules[num++] = *rule;
		}
	}
	config->num_rules = num;
	for (i = index + 1; i < config->num_members; i++) {
		config->members[i - 1] = config->members[i];
	}
	config->num_members--;
}

size_t admin_config_after_put_last(const struct mrmr_config *config,
				   size_t index, size_t i)
{
	if (i == index) {
		return config->num_members - 1;
	}
	return i > index && i < config->num_members ? i - 1 : i;
}

void admin_config_put_last(struct mrmr_config *config, size_t index)
{
	const struct mrmr_member_config last = config->members[index];
	size_t i;
	size_t j;

	for (i = index + 1; i < config->num_members; i++) {
		config->members[i - 1] = config->members[i];
	}
	config->members[i - 1] = last;
	for (i = 0; i < config->num_rules; i++) {
		struct mrmr_rule_config *rule = &config->rules[i];

		for (j = 0; rule->members != NULL && j < rule->num_members;
		     j++) {
			rule->members[j] =
				admin_config_after_put_last(config, index,
							    rule->members[j]);
		}
	}
}
