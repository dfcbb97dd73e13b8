/*
 * mrmr-admin attach: takes an ejected member back.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "admin.h"
#include "members.h"

static int report(struct admin *admin, const struct mrmr_member *member)
{
	const char *name = mrmr_member_name(member);

	admin_set(admin->result, "member", admin_member_json(member));
	if (admin->dry_run) {
		return ADMIN_OK;
	}
	if (member->state == MRMR_MEMBER_ONLINE) {
		admin_say(admin, "%s is %s", name, admin_member_state(member));
		return ADMIN_OK;
	}
	admin_say(admin,
		  "%s is %s: %s; it will be used as soon as its marker is "
		  "seen",
		  name, admin_member_state(member), member->why);
	return ADMIN_DEGRADED;
}

static int run(struct admin *admin, const struct admin_verb *verb, int argc,
	       const char **argv)
{
	struct mrmr_config *config = NULL;
	struct mrmr_pool *pool = NULL;
	const struct mrmr_member_config *member = NULL;
	const char **words = NULL;
	int status = admin_parse(admin, verb, NULL, argc, argv, 1, 1, &words);
	int index;

	if (status != ADMIN_GO_ON) {
		return status;
	}
	config = admin_config(admin);
	if (config == NULL) {
		return ADMIN_CONFIG;
	}
	index = admin_config_member(admin, config, words[0]);
	if (index == -1) {
		return ADMIN_USAGE;
	}
	member = &config->members[index];
	if (member->kind != MRMR_MEMBER_LOCAL) {
		return admin_fail(admin, ADMIN_FAILED,
				  "%s: remote members are not built yet",
				  mrmr_member_config_name(member));
	}
	if (admin_step(admin, "take %s back",
		       mrmr_member_config_name(member))) {
		status = admin_set_eject(admin, config, &member->id,
					 MRMR_EJECT_NONE);
		if (status != ADMIN_GO_ON) {
			return status;
		}
	}
	pool = admin_members_look(admin, config);
	return report(admin, &pool->members[index]);
}

const struct admin_verb admin_verb_attach = {
	.name = "attach",
	.arguments = "MEMBER",
	.summary = "take an ejected member back",
	.help = "Takes MEMBER back after an eject, and says how it is. Exit "
		"status 1: it is not\n"
		"online; it will be used as soon as its marker is seen.\n",
	.needs_root = true,
	.run = run,
};
