/*
 * mrmr-admin recover: makes the state directory again from the members.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/dirattr.h>
#include <mrmr/local.h>
#include <mrmr/protector.h>
#include <mrmr/recover.h>

#include "admin.h"
#include "engine.h"
#include "progress.h"

#define SPINE "spine"

static void set_number(struct admin *admin, const char *key, uint64_t number)
{
	admin_set(admin->result, key, json_integer((json_int_t)number));
}

/* --- the directories -------------------------------------------------------------- */

/* path, and what is missing above it. */
static int make_directories(struct admin *admin, const char *path)
{
	char *part = admin_need(talloc_strdup(admin, path));
	char *slash = part;
	struct stat st = {0};
	int status = ADMIN_GO_ON;

	while (status == ADMIN_GO_ON && slash != NULL) {
		slash = strchr(slash + 1, '/');
		if (slash != NULL) {
			*slash = '\0';
		}
		if (stat(part, &st) == -1 &&
		    admin_step(admin, "make the directory %s", part) &&
		    (mkdir(part, 0755) == -1 || chmod(part, 0755) == -1)) {
			status = admin_fail(admin, ADMIN_FAILED,
					    "%s can't be made: %s", part,
					    strerror(errno));
		}
		if (slash != NULL) {
			*slash = '/';
		}
	}
	talloc_free(part);
	return status;
}

/* The share's root has the rights of the first member that is there. */
static int copy_rights(struct admin *admin, const struct mrmr_config *config,
		       const char *spine)
{
	int to = open(spine, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int ret = -1;
	size_t i;

	for (i = 0; to != -1 && ret == -1 && i < config->num_members; i++) {
		struct mrmr_member member = {
			.config = &config->members[i],
			.slot = -1,
			.root_fd = -1,
			.private_fd = -1,
		};

		if (config->members[i].kind == MRMR_MEMBER_LOCAL &&
		    mrmr_local_look(&member, &config->pool_id) &&
		    member.state == MRMR_MEMBER_ONLINE) {
			ret = mrmr_attributes_copy(member.root_fd, to);
		}
		mrmr_local_let_go(&member);
	}
	if (to != -1) {
		close(to);
	}
	if (ret == -1) {
		admin_note(admin,
			   "%s did not get the rights that the share's top "
			   "had: "
			   "look at its owner and mode",
			   spine);
	}
	return ADMIN_GO_ON;
}

static int make_state(struct admin *admin, const struct mrmr_config *config)
{
	char *spine = admin_need(
		talloc_asprintf(admin, "%s/" SPINE, config->state_dir));
	struct stat st = {0};
	bool is_new = lstat(spine, &st) == -1;
	int status = make_directories(admin, spine);

	if (status == ADMIN_GO_ON && is_new && !admin->dry_run) {
		status = copy_rights(admin, config, spine);
	}
	return status;
}

/* --- is it wanted? ------------------------------------------------------------------- */

static int ask(struct admin *admin, struct mrmr_pool *pool, bool *replace)
{
	struct mrmr_error err = {0};
	unsigned int num_away = 0;
	int status = ADMIN_GO_ON;
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];

		if (member->state != MRMR_MEMBER_ONLINE) {
			admin_note(admin, "%s is not there: %s",
				   mrmr_member_name(member), member->why);
			num_away++;
		}
	}
	*replace = mrmr_recover_look(pool, &err) == 1;
	if (*replace) {
		status = admin_confirm(
			admin,
			"The catalogue in %s is sound. It would be put aside, "
			"and be made anew from what the members know",
			pool->config->state_dir);
	} else if (err.code != ENOENT) {
		admin_say(admin, "%s", err.text);
	}
	if (status == ADMIN_GO_ON && num_away > pool->config->parity.min) {
		status = admin_confirm(
			admin,
			"%u members are not there. What only they know would "
			"have to be protected again when they are back",
			num_away);
	}
	return status;
}

/* --- doing it ---------------------------------------------------------------------------- */

static void show(uint64_t done_records, void *private_data)
{
	admin_progress_set(private_data, done_records, 0);
}

static int report(struct admin *admin, const struct mrmr_recover_result *result)
{
	int status = ADMIN_OK;

	set_number(admin, "parts", result->num_parts);
	set_number(admin, "damaged_parts", result->num_damaged);
	set_number(admin, "members_away", result->num_away);
	set_number(admin, "names", result->nodes);
	set_number(admin, "stripes", result->stripes);
	set_number(admin, "removed", result->removed);
	set_number(admin, "conflicts", result->conflicts);
	set_number(admin, "bare_extents", result->bare_extents);
	set_number(admin, "lost_pieces", result->lost_pieces);
	admin_set(admin->result, "aside", admin_json_text(result->aside));
	admin_say(admin,
		  "%llu names and %llu stripes are known again, from %zu "
		  "members",
		  (unsigned long long)result->nodes,
		  (unsigned long long)result->stripes, result->num_parts);
	if (result->aside[0] != '\0') {
		admin_say(admin, "the old catalogue is now %s", result->aside);
	}
	if (result->num_damaged > 0) {
		admin_note(admin, "the records of %zu members are damaged",
			   result->num_damaged);
		status = ADMIN_DEGRADED;
	}
	if (result->bare_extents > 0 || result->lost_pieces > 0) {
		admin_note(admin,
			   "%llu blocks of files, and %llu of stripes, are not "
			   "known any more; they are protected anew",
			   (unsigned long long)result->bare_extents,
			   (unsigned long long)result->lost_pieces);
		status = ADMIN_DEGRADED;
	}
	return result->num_away > 0 ? ADMIN_DEGRADED : status;
}

/* The parts are made anew by opening it; then the spine, then what has changed
   since. */
static int finish(struct admin *admin, struct mrmr_pool *pool)
{
	const struct mrmr_protect_options options = {
		.everything = true,
		.scan = true,
		.should_stop = admin_should_stop,
	};
	struct mrmr_protect_result result;
	struct mrmr_engine *engine = NULL;
	struct mrmr_error err = {0};
	int status = ADMIN_OK;

	engine = mrmr_engine_open(admin, pool, MRMR_ENGINE_WRITE, &err);
	if (engine == NULL || mrmr_recover_spine(engine, &err) == -1) {
		talloc_free(engine);
		return admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	}
	if (mrmr_protect(engine, &options, &result, &err) == -1) {
		status = admin_fail(admin,
				    result.is_scan_refused ? ADMIN_LOST
							   : ADMIN_FAILED,
				    "the catalogue is there again; %s",
				    err.text);
	} else if (result.unprotected_files > 0 || result.open_files > 0 ||
		   admin_should_stop(NULL)) {
		admin_note(admin, "not all is protected: mrmr-admin sync");
		status = ADMIN_DEGRADED;
	}
	talloc_free(engine);
	return status;
}

static int recover(struct admin *admin)
{
	struct mrmr_config *config = admin_config(admin);
	struct mrmr_recover_options options = {
		.should_stop = admin_should_stop,
		.progress = show,
	};
	struct mrmr_recover_result result = {0};
	struct mrmr_pool *pool = NULL;
	struct mrmr_error err = {0};
	int finished;
	int status;
	int ret;

	if (config == NULL) {
		return ADMIN_CONFIG;
	}
	status = make_state(admin, config);
	if (status != ADMIN_GO_ON) {
		return status;
	}
	if (admin->dry_run) {
		admin_step(admin,
			   "make the catalogue in %s anew from the members, "
			   "and scan them",
			   config->state_dir);
		return ADMIN_OK;
	}
	pool = mrmr_pool_open(admin, config, NULL, &err);
	if (pool == NULL) {
		return admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	}
	status = ask(admin, pool, &options.replace);
	if (status != ADMIN_GO_ON) {
		talloc_free(pool);
		return status;
	}
	options.private_data =
		admin_progress_begin(admin, "Recovering", ADMIN_PROGRESS_COUNT);
	ret = mrmr_recover(pool, &options, &result, &err);
	admin_progress_end(options.private_data);
	if (ret == -1) {
		talloc_free(pool);
		return admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	}
	status = report(admin, &result);
	finished = finish(admin, pool);
	talloc_free(pool);
	return finished > status ? finished : status;
}

static int run(struct admin *admin, const struct admin_verb *verb, int argc,
	       const char **argv)
{
	const char **words = NULL;
	int status = admin_parse(admin, verb, NULL, argc, argv, 0, 0, &words);

	if (status != ADMIN_GO_ON) {
		return status;
	}
	admin_stop_on_signals();
	return recover(admin);
}

const struct admin_verb admin_verb_recover = {
	.name = "recover",
	.arguments = "",
	.summary = "make the state directory again from the members",
	.help = "For when the state directory is lost or damaged: makes the "
		"catalogue of what is\n"
		"protected from the parts of it that members carry, and the "
		"directories of the\n"
		"share; then looks for what has changed since. An old "
		"catalogue is kept aside; if\n"
		"it is sound, it asks first. All members that can be there "
		"should be there.\n",
	.needs_root = true,
	.run = run,
};
