/*
 * mrmr-admin add: a directory becomes a member.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <string.h>

#include <talloc.h>

#include <mrmr/size.h>

#include "admin.h"
#include "recruit.h"

/* The options, as they were given. */
struct wishes {
	char *role;
	char *stack;
	char *min_free;
	int tier;
	int removable;
};

static int set_role(struct admin *admin, struct mrmr_member_config *member,
		    const char *text)
{
	static const char *const roles[] = {"any", "data", "parity"};
	size_t i;

	for (i = 0; text != NULL && i < 3; i++) {
		if (strcmp(text, roles[i]) == 0) {
			member->role = (enum mrmr_member_role)i;
			return ADMIN_GO_ON;
		}
	}
	if (text == NULL) {
		return ADMIN_GO_ON;
	}
	return admin_fail(admin, ADMIN_USAGE,
			  "--role %s: it must be any, data or parity", text);
}

static int set_min_free(struct admin *admin, struct mrmr_member_config *member,
			const char *text)
{
	if (text == NULL || mrmr_size_parse(text, &member->min_free_bytes)) {
		return ADMIN_GO_ON;
	}
	return admin_fail(admin, ADMIN_USAGE,
			  "--min-free %s: it must be a size, as 512M or 1.5T",
			  text);
}

static int set_wishes(struct admin *admin, struct mrmr_member_config *member,
		      const struct wishes *wishes)
{
	int status = set_role(admin, member, wishes->role);

	if (status == ADMIN_GO_ON) {
		status = set_min_free(admin, member, wishes->min_free);
	}
	if (status == ADMIN_GO_ON && wishes->tier < 0) {
		status = admin_fail(admin, ADMIN_USAGE,
				    "--tier %d: it must be 0 or more",
				    wishes->tier);
	}
	member->tier = (unsigned int)wishes->tier;
	member->stack = wishes->stack;
	member->is_removable = wishes->removable != 0;
	return status;
}

static int make(struct admin *admin, const struct mrmr_config *config,
		struct recruit *recruit)
{
	struct mrmr_error err = {0};
	int status = admin_recruit_mark(admin, recruit);

	if (status != ADMIN_GO_ON) {
		return status;
	}
	if (admin_step(admin, "write %s", config->path) &&
	    mrmr_config_save(config, config->path, &err) == -1) {
		admin_recruit_undo(admin, recruit);
		return admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	}
	admin_set(admin->result, "mount_id",
		  admin_json_uuid(&recruit->marker.member_id));
	admin_set(admin->result, "name", admin_json_text(recruit->path));
	admin_set(admin->result, "was_member",
		  json_boolean(recruit->has_marker));
	if (!admin->dry_run) {
		admin_say(admin,
			  "%s is a member now; clients see its files in "
			  "a moment",
			  recruit->path);
	}
	return ADMIN_OK;
}

static int add(struct admin *admin, const char *word,
	       const struct wishes *wishes)
{
	struct mrmr_config *config = NULL;
	struct recruit *recruit = NULL;
	int status = admin_lock_config(admin);

	if (status != ADMIN_GO_ON) {
		return status;
	}
	config = admin_config(admin);
	if (config == NULL) {
		return ADMIN_CONFIG;
	}
	recruit = admin_recruit_look(admin, word, &config->pool_id, &status);
	if (recruit == NULL) {
		return status;
	}
	status = admin_recruit_check(admin, recruit, config);
	if (status == ADMIN_GO_ON) {
		admin_recruit_append(recruit, config);
		status = set_wishes(admin,
				    &config->members[config->num_members - 1],
				    wishes);
	}
	if (status == ADMIN_GO_ON) {
		status = admin_check_config(admin, config, config->path);
	}
	if (status == ADMIN_GO_ON) {
		status = make(admin, config, recruit);
	}
	return status;
}

static int run(struct admin *admin, const struct admin_verb *verb, int argc,
	       const char **argv)
{
	struct wishes wishes = {0};
	const struct poptOption options[] = {
		{"tier", '\0', POPT_ARG_INT, &wishes.tier, 0,
		 "0 for the fastest and nearest drives [0]", "N"},
		{"role", '\0', POPT_ARG_STRING, &wishes.role, 0,
		 "what it may hold: any, data or parity [any]", "ROLE"},
		{"stack", '\0', POPT_ARG_STRING, &wishes.stack, 0,
		 "what it shares with others that are lost with it", "NAME"},
		{"removable", '\0', POPT_ARG_NONE, &wishes.removable, 0,
		 "it comes and goes", NULL},
		{"min-free", '\0', POPT_ARG_STRING, &wishes.min_free, 0,
		 "space to keep free on it [the pool's]", "SIZE"},
		POPT_TABLEEND,
	};
	const char **words = NULL;
	int status =
		admin_parse(admin, verb, options, argc, argv, 1, 1, &words);

	if (status != ADMIN_GO_ON) {
		return status;
	}
	return add(admin, words[0], &wishes);
}

const struct admin_verb admin_verb_add = {
	.name = "add",
	.arguments = "MEMBER",
	.summary = "add a directory to the pool",
	.help = "Makes MEMBER, a local directory, a member of the pool: writes "
		"its marker and\n"
		"adds it to the config. What lies in it already is taken as it "
		"is.\n",
	.needs_root = true,
	.run = run,
};
