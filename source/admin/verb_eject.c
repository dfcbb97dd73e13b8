/*
 * mrmr-admin eject: has every smbd let go of a member.
 *
 * The wish is written to the page that all smbds of the pool watch; they close
 * what they keep open of the member and take it for away. Files that clients
 * have open stay open, so whether it can be unmounted is looked up in /proc,
 * and what is in the way is named.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdint.h>
#include <time.h>

#include <talloc.h>

#include "admin.h"
#include "holders.h"
#include "members.h"
#include "recruit.h"

#define TIMEOUT_SECONDS_DEFAULT 10
#define TIMEOUT_SECONDS_MAX 86400
#define LOOK_INTERVAL_NS 100000000L
#define HOLDERS_SHOWN 20

static int64_t now_ns(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/*
 * Until nobody holds it, or the time is over. The holders that are left. An
 * smbd that was just looking at the member when the eject was asked for may
 * hold it for a moment after a look that found nobody: so nobody twice.
 */
static struct admin_holder *wait_for_holders(struct admin *admin,
					     const char *dir, int seconds,
					     size_t *num)
{
	const struct timespec interval = {.tv_nsec = LOOK_INTERVAL_NS};
	int64_t end = now_ns() + (int64_t)seconds * 1000000000;
	unsigned int nobody = 0;

	for (;;) {
		struct admin_holder *holders = admin_holders(admin, dir, num);

		nobody = (*num == 0) ? nobody + 1 : 0;
		if (nobody == 2 || (*num > 0 && now_ns() >= end)) {
			return holders;
		}
		talloc_free(holders);
		nanosleep(&interval, NULL);
	}
}

static void report_holders(struct admin *admin,
			   const struct admin_holder *holders, size_t num)
{
	json_t *array = admin_need(json_array());
	size_t i;

	for (i = 0; i < num; i++) {
		const struct admin_holder *holder = &holders[i];
		json_t *object = admin_need(json_object());

		admin_set(object, "pid", json_integer(holder->pid));
		admin_set(object, "program", admin_json_text(holder->program));
		admin_set(object, "how", json_string(holder->how));
		admin_set(object, "path", admin_json_text(holder->path));
		admin_append(array, object);
		if (i < HOLDERS_SHOWN) {
			admin_say(admin, "  %s, process %d: %s (%s)",
				  holder->program, (int)holder->pid,
				  holder->path, holder->how);
		}
	}
	if (num > HOLDERS_SHOWN) {
		admin_say(admin, "  and %zu more", num - HOLDERS_SHOWN);
	}
	admin_set(admin->result, "held_by", array);
}

static int eject(struct admin *admin, const char *word, int seconds)
{
	struct mrmr_config *config = admin_config(admin);
	const struct mrmr_member_config *member = NULL;
	struct admin_holder *holders = NULL;
	const char *name = NULL;
	char *dir = NULL;
	size_t num = 0;
	int status = ADMIN_GO_ON;
	int index;

	if (config == NULL) {
		return ADMIN_CONFIG;
	}
	index = admin_config_member(admin, config, word);
	if (index == -1) {
		return ADMIN_USAGE;
	}
	member = &config->members[index];
	name = mrmr_member_config_name(member);
	if (member->kind != MRMR_MEMBER_LOCAL) {
		return admin_fail(admin, ADMIN_FAILED,
				  "%s: remote members are not built yet", name);
	}
	dir = admin_real_path(admin, member->mount_point);
	admin_set(admin->result, "mount_id", admin_json_uuid(&member->id));
	admin_set(admin->result, "name", admin_json_text(name));
	if (admin_step(admin, "let go of %s", name)) {
		status = admin_set_eject(admin, config, &member->id,
					 MRMR_EJECT_ASKED);
	} else {
		seconds = 0;
	}
	if (status != ADMIN_GO_ON) {
		return status;
	}
	holders = wait_for_holders(admin, dir, seconds, &num);
	if (admin->dry_run) {
		admin_say(admin, num > 0 ? "held at this moment by:"
					 : "nobody holds it at this moment");
	} else if (num > 0) {
		admin_say(admin,
			  "%s is ejected, but can't be unmounted yet: files of "
			  "it are open",
			  name);
	} else {
		admin_say(admin, "%s is ejected, and can be unmounted", name);
	}
	report_holders(admin, holders, num);
	admin_set(admin->result, "is_free", json_boolean(num == 0));
	return num == 0 || admin->dry_run ? ADMIN_OK : ADMIN_DEGRADED;
}

static int run(struct admin *admin, const struct admin_verb *verb, int argc,
	       const char **argv)
{
	int seconds = TIMEOUT_SECONDS_DEFAULT;
	const struct poptOption options[] = {
		{"timeout", '\0', POPT_ARG_INT, &seconds, 0,
		 "how long to wait until nobody holds it [10]", "SECONDS"},
		POPT_TABLEEND,
	};
	const char **words = NULL;
	int status =
		admin_parse(admin, verb, options, argc, argv, 1, 1, &words);

	if (status != ADMIN_GO_ON) {
		return status;
	}
	if (seconds < 0 || seconds > TIMEOUT_SECONDS_MAX) {
		return admin_fail(admin, ADMIN_USAGE,
				  "--timeout %d: it must be from 0 to %d",
				  seconds, TIMEOUT_SECONDS_MAX);
	}
	return eject(admin, words[0], seconds);
}

const struct admin_verb admin_verb_eject = {
	.name = "eject",
	.arguments = "MEMBER",
	.summary = "let go of a member, so that it can be unmounted",
	.help = "Has every smbd of the pool let go of MEMBER, and waits until "
		"nobody holds its\n"
		"file system any more; what still does is named with its "
		"process (exit status\n"
		"1). Its files are away from then on. It is taken back when "
		"its marker has gone\n"
		"and returned (the drive is plugged in again), or by "
		"mrmr-admin attach.\n",
	.needs_root = true,
	.run = run,
};
