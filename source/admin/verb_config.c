/*
 * mrmr-admin config check: says what is wrong with a config, or nothing.
 *
 * The text itself is checked as the module checks it. Beyond that, this looks
 * at what the config refers to: problems keep the pool from working as the
 * config says; notes are things that a person may want to know.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/path.h>

#include "admin.h"
#include "members.h"
#include "recruit.h"

struct check {
	struct admin *admin;
	struct mrmr_config *config;
	json_t *problems;
};

/* line 0: of no line in particular. */
static void problem(struct check *check, unsigned int line, const char *key,
		    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static void problem(struct check *check, unsigned int line, const char *key,
		    const char *fmt, ...)
{
	json_t *object = admin_need(json_object());
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = admin_need(talloc_vasprintf(NULL, fmt, ap));
	va_end(ap);
	admin_set(object, "line", line != 0 ? json_integer(line) : json_null());
	admin_set(object, "key", json_string(key));
	admin_set(object, "text", admin_json_text(text));
	admin_append(check->problems, object);
	if (line != 0) {
		admin_say(check->admin, "%s:%u: %s: %s", check->config->path,
			  line, key, text);
	} else {
		admin_say(check->admin, "%s: %s: %s", check->config->path, key,
			  text);
	}
	talloc_free(text);
}

static bool others_may_write(const char *path)
{
	struct stat st = {0};

	return stat(path, &st) == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

static void check_state_dir(struct check *check)
{
	const char *dir = check->config->state_dir;
	char *spine =
		admin_need(talloc_asprintf(check->admin, "%s/spine", dir));
	struct stat st = {0};

	if (stat(spine, &st) == -1) {
		problem(check, 0, "state_dir", "%s: %s; the share has no path",
			spine, strerror(errno));
	} else if (!S_ISDIR(st.st_mode)) {
		problem(check, 0, "state_dir", "%s is not a directory", spine);
	}
	if (others_may_write(dir)) {
		problem(check, 0, "state_dir",
			"%s can be written by others than root", dir);
	}
}

/* A config in a member could be changed by clients. */
static void check_config_file(struct check *check)
{
	const struct mrmr_config *config = check->config;
	char *real = admin_real_path(check->admin, config->path);
	size_t i;

	if (others_may_write(config->path)) {
		problem(check, 1, "the file",
			"can be written by others than its owner");
	}
	for (i = 0; i < config->num_members; i++) {
		const struct mrmr_member_config *member = &config->members[i];
		char *dir = NULL;

		if (member->kind != MRMR_MEMBER_LOCAL) {
			continue;
		}
		dir = admin_real_path(check->admin, member->mount_point);
		if (mrmr_path_is_within(real, dir)) {
			problem(check, member->line, "mount_point",
				"this config is inside the member, where "
				"clients could change it");
		}
	}
}

static void check_credentials(struct check *check,
			      const struct mrmr_member_config *member)
{
	const char *path = member->connection.credentials;
	struct stat st = {0};

	if (path == NULL) {
		return;
	}
	if (stat(path, &st) == -1) {
		problem(check, member->line, "credentials", "%s: %s", path,
			strerror(errno));
	} else if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
		problem(check, member->line, "credentials",
			"%s can be read by others than its owner: chmod 600",
			path);
	}
}

/* Symlinks can hide that one member is inside another. */
static void check_real_places(struct check *check, size_t index)
{
	const struct mrmr_config *config = check->config;
	const struct mrmr_member_config *member = &config->members[index];
	char *dir = admin_real_path(check->admin, member->mount_point);
	char *state = admin_real_path(check->admin, config->state_dir);
	size_t i;

	if (mrmr_path_is_within(dir, state) ||
	    mrmr_path_is_within(state, dir)) {
		problem(check, member->line, "mount_point",
			"%s is really %s, and the state directory is really %s",
			member->mount_point, dir, state);
	}
	for (i = 0; i < index; i++) {
		const struct mrmr_member_config *other = &config->members[i];
		char *other_dir = NULL;

		if (other->kind != MRMR_MEMBER_LOCAL) {
			continue;
		}
		other_dir = admin_real_path(check->admin, other->mount_point);
		if (mrmr_path_is_within(dir, other_dir) ||
		    mrmr_path_is_within(other_dir, dir)) {
			problem(check, member->line, "mount_point",
				"%s is really %s, and the member in line %u is "
				"really %s: one is inside the other",
				member->mount_point, dir, other->line,
				other_dir);
		}
	}
}

static bool same_unit(const struct mrmr_member_config *a,
		      const struct mrmr_member_config *b)
{
	return a->stack != NULL && b->stack != NULL &&
	       strcmp(a->stack, b->stack) == 0;
}

static void check_members(struct check *check)
{
	struct mrmr_pool *pool =
		admin_members_look(check->admin, check->config);
	size_t i;
	size_t j;

	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];

		if (member->state == MRMR_MEMBER_FOREIGN) {
			problem(check, member->config->line, "drive_id", "%s",
				member->why);
		} else if (member->state == MRMR_MEMBER_AWAY) {
			admin_note(check->admin, "%s is away: %s",
				   mrmr_member_name(member), member->why);
		}
		if (member->unlasting != NULL &&
		    member->config->role != MRMR_ROLE_PARITY &&
		    check->config->parity.max > 0) {
			admin_note(check->admin, ADMIN_UNLASTING_TEXT,
				   mrmr_member_name(member), member->unlasting);
		}
		for (j = 0; j < i; j++) {
			const struct mrmr_member *other = &pool->members[j];

			if (member->state != MRMR_MEMBER_ONLINE ||
			    other->state != MRMR_MEMBER_ONLINE ||
			    member->dev != other->dev ||
			    same_unit(member->config, other->config)) {
				continue;
			}
			admin_note(check->admin,
				   "%s and %s are on one file system, and "
				   "would be lost together: give them the same "
				   "\"stack\"",
				   mrmr_member_name(other),
				   mrmr_member_name(member));
			break;
		}
	}
	talloc_free(pool);
}

static int check_all(struct admin *admin)
{
	struct mrmr_config *config = admin_config(admin);
	struct check check = {.admin = admin, .config = config};
	size_t i;

	admin_set(admin->result, "config", admin_json_text(admin->config_path));
	admin_set(admin->result, "is_valid", json_boolean(config != NULL));
	check.problems = admin_need(json_array());
	admin_set(admin->result, "problems", check.problems);
	if (config == NULL) {
		return ADMIN_CONFIG;
	}
	check_config_file(&check);
	check_state_dir(&check);
	for (i = 0; i < config->num_members; i++) {
		const struct mrmr_member_config *member = &config->members[i];

		if (member->kind == MRMR_MEMBER_LOCAL) {
			check_real_places(&check, i);
		} else {
			check_credentials(&check, member);
		}
	}
	if (geteuid() == 0) {
		check_members(&check);
	} else {
		admin_note(admin, "the members' markers can be read by root "
				  "only, and were not looked at");
	}
	return json_array_size(check.problems) == 0 ? ADMIN_OK : ADMIN_DEGRADED;
}

static int run(struct admin *admin, const struct admin_verb *verb, int argc,
	       const char **argv)
{
	const char **words = NULL;
	int status = admin_parse(admin, verb, NULL, argc, argv, 1, 1, &words);

	if (status != ADMIN_GO_ON) {
		return status;
	}
	if (strcmp(words[0], "check") != 0) {
		return admin_fail(admin, ADMIN_USAGE,
				  "there is no \"config %s\"; it is mrmr-admin "
				  "config check",
				  words[0]);
	}
	return check_all(admin);
}

const struct admin_verb admin_verb_config = {
	.name = "config",
	.arguments = "check",
	.summary = "say what is wrong with the config, or nothing",
	.help = "Reads the config as the share would, and looks at what it "
		"names. Says nothing\n"
		"when all is well. Exit status 65: the config is not valid, "
		"and the share would\n"
		"not start; 1: it is valid, but something in it will not work "
		"as it says.\n",
	.needs_root = false,
	.run = run,
};
