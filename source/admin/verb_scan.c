/*
 * mrmr-admin scan: finds what was changed behind MRMR's back.
 *
 * The work is the protector's; here is said what it found, and a person is asked
 * where it would be too much to believe.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/protector.h>
#include <mrmr/scan.h>
#include <mrmr/scrub.h>
#include <mrmr/size.h>

#include "admin.h"
#include "engine.h"
#include "progress.h"

struct wishes {
	const char *member; /* NULL: all */
	bool deep;
	bool no_sync;
	bool accept_loss;
};

static void set_number(struct admin *admin, const char *key, uint64_t number)
{
	admin_set(admin->result, key, json_integer((json_int_t)number));
}

static void show(const struct mrmr_protect_progress *now, void *private_data)
{
	admin_progress_set(private_data, now->done_bytes, now->todo_bytes);
}

/* --- what there is to see ----------------------------------------------------- */

static void say_member(struct admin *admin, const struct mrmr_member *member,
		       const struct mrmr_scan_member *counts, json_t *array)
{
	json_t *object = admin_need(json_object());
	uint64_t gone = counts->num_gone - counts->num_moved;

	admin_set(object, "mount_id", admin_json_uuid(&member->config->id));
	admin_set(object, "name", admin_json_text(mrmr_member_name(member)));
	admin_set(object, "is_seen", json_boolean(counts->is_seen));
	admin_set(object, "files", json_integer((json_int_t)counts->num_files));
	admin_set(object, "gone", json_integer((json_int_t)gone));
	admin_set(object, "moved", json_integer((json_int_t)counts->num_moved));
	admin_set(object, "changed",
		  json_integer((json_int_t)counts->num_changed));
	admin_set(object, "doubtful",
		  json_boolean(mrmr_scan_is_doubtful(counts)));
	admin_append(array, object);
	if (!counts->is_seen) {
		admin_say(admin, "%s: not looked at, it is not there",
			  mrmr_member_name(member));
		return;
	}
	admin_say(admin,
		  "%s: %llu files known, %llu gone or moved, %llu changed",
		  mrmr_member_name(member),
		  (unsigned long long)counts->num_files,
		  (unsigned long long)counts->num_gone,
		  (unsigned long long)counts->num_changed);
}

/* Before anything is done: what of the known files is not as it was. */
static int look(struct admin *admin, struct mrmr_engine *engine, int only)
{
	const struct mrmr_scan_options options = {
		.should_stop = admin_should_stop,
	};
	const struct mrmr_pool *pool = engine->pool;
	struct mrmr_scan_member *members =
		admin_need(talloc_zero_array(admin, struct mrmr_scan_member,
					     pool->num_members));
	json_t *array = admin_need(json_array());
	struct mrmr_error err = {0};
	size_t i;

	admin_set(admin->result, "members", array);
	if (mrmr_scan_look(engine, &options, members, &err) == -1) {
		return admin_fail(admin,
				  err.code == ECANCELED ? ADMIN_DEGRADED
							: ADMIN_FAILED,
				  "%s", err.text);
	}
	for (i = 0; i < pool->num_members; i++) {
		if (only == -1 || only == (int)i) {
			say_member(admin, &pool->members[i], &members[i],
				   array);
		}
	}
	talloc_free(members);
	return ADMIN_GO_ON;
}

/* --- doing it -------------------------------------------------------------------- */

static int report(struct admin *admin, const struct mrmr_protect_result *result,
		  struct mrmr_engine *engine)
{
	uint64_t files = 0;
	uint64_t bytes = 0;
	bool needs_scan = false;
	char size[MRMR_SIZE_LEN];

	mrmr_protector_pending(engine->catalog, &files, &bytes, &needs_scan);
	set_number(admin, "protected_files", result->protected_files);
	set_number(admin, "protected_bytes", result->protected_bytes);
	set_number(admin, "pending_files", files);
	set_number(admin, "pending_bytes", bytes);
	admin_set(admin->result, "interrupted",
		  json_boolean(admin_should_stop(NULL)));
	if (result->protected_files > 0) {
		admin_say(admin, "%llu files protected, %s read",
			  (unsigned long long)result->protected_files,
			  mrmr_size_format(result->protected_bytes, size));
	}
	if (files > 0) {
		admin_say(admin, "%llu files, %s, are still to be protected",
			  (unsigned long long)files,
			  mrmr_size_format(bytes, size));
	}
	if (admin_should_stop(NULL)) {
		admin_note(admin, "interrupted; the next one begins anew");
	}
	return files > 0 || admin_should_stop(NULL) ? ADMIN_DEGRADED : ADMIN_OK;
}

static int bring_in_step(struct admin *admin, struct mrmr_engine *engine,
			 const struct wishes *wishes, int only)
{
	struct mrmr_protect_result result = {0};
	bool *accept = admin_need(
		talloc_zero_array(admin, bool, engine->pool->num_members));
	struct mrmr_protect_options options = {
		.everything = true,
		.scan = true,
		.names_only = wishes->no_sync,
		.accept_loss = accept,
		.progress = show,
		.should_stop = admin_should_stop,
	};
	struct mrmr_error err = {0};
	size_t i;
	int ret;

	for (i = 0; i < engine->pool->num_members; i++) {
		accept[i] =
			wishes->accept_loss && (only == -1 || only == (int)i);
	}
	options.private_data =
		admin_progress_begin(admin, "Scanning", ADMIN_PROGRESS_BYTES);
	ret = mrmr_protect(engine, &options, &result, &err);
	admin_progress_end(options.private_data);
	if (ret == -1) {
		return admin_fail(admin,
				  result.is_scan_refused ? ADMIN_LOST
							 : ADMIN_FAILED,
				  "%s", err.text);
	}
	return report(admin, &result, engine);
}

/* Bytes that changed though size and time did not: those are not a scan's to
   believe, but a person's. */
static int compare(struct admin *admin, struct mrmr_pool *pool)
{
	struct mrmr_scrub_options options = {
		.deep = true,
		.should_stop = admin_should_stop,
	};
	struct mrmr_scrub_result result = {0};
	struct mrmr_error err = {0};

	if (mrmr_scrub(pool, &options, &result, &err) == -1) {
		return err.code == ENOENT ? ADMIN_OK
					  : admin_fail(admin, ADMIN_FAILED,
						       "%s", err.text);
	}
	set_number(admin, "wrong_blocks", result.wrong_blocks);
	if (result.wrong_blocks > 0) {
		admin_say(admin,
			  "%llu blocks have other bytes than when they were "
			  "protected, though size and time are the same: "
			  "mrmr-admin scrub --repair brings the bytes back; "
			  "touch a file to have it taken as it is",
			  (unsigned long long)result.wrong_blocks);
	}
	return result.wrong_blocks > 0 || !result.is_complete ? ADMIN_DEGRADED
							      : ADMIN_OK;
}

static int worse(int a, int b)
{
	return a > b ? a : b;
}

static int scan(struct admin *admin, const struct wishes *wishes)
{
	struct mrmr_config *config = admin_config(admin);
	struct mrmr_engine *engine = NULL;
	struct mrmr_pool *pool = NULL;
	int status = ADMIN_GO_ON;
	int only = -1;

	if (config == NULL) {
		return ADMIN_CONFIG;
	}
	if (wishes->member != NULL) {
		only = admin_config_member(admin, config, wishes->member);
		if (only == -1) {
			return ADMIN_USAGE;
		}
	}
	engine = admin_engine_open(admin,
				   admin->dry_run ? MRMR_ENGINE_READ
						  : MRMR_ENGINE_WRITE,
				   &status);
	if (engine == NULL) {
		return status;
	}
	pool = engine->pool;
	status = look(admin, engine, only);
	if (status == ADMIN_GO_ON && admin->dry_run) {
		status = ADMIN_OK;
	}
	if (status == ADMIN_GO_ON) {
		status = bring_in_step(admin, engine, wishes, only);
	}
	if (wishes->deep && !admin->dry_run && status <= ADMIN_DEGRADED) {
		talloc_free(engine);
		status = worse(status, compare(admin, pool));
		talloc_free(pool);
	} else {
		admin_engine_close(engine);
	}
	return status;
}

static int run(struct admin *admin, const struct admin_verb *verb, int argc,
	       const char **argv)
{
	int deep = 0;
	int no_sync = 0;
	int accept_loss = 0;
	const struct poptOption options[] = {
		{"deep", '\0', POPT_ARG_NONE, &deep, 0,
		 "compare the content as well", NULL},
		{"no-sync", '\0', POPT_ARG_NONE, &no_sync, 0,
		 "find only; what is to be protected waits for the next sync",
		 NULL},
		{"accept-loss", '\0', POPT_ARG_NONE, &accept_loss, 0,
		 "it is right that most files are gone or changed", NULL},
		POPT_TABLEEND,
	};
	const char **words = NULL;
	struct wishes wishes = {0};
	int status =
		admin_parse(admin, verb, options, argc, argv, 0, 1, &words);

	if (status != ADMIN_GO_ON) {
		return status;
	}
	wishes = (struct wishes){
		.member = words[0],
		.deep = deep != 0,
		.no_sync = no_sync != 0,
		.accept_loss = accept_loss != 0,
	};
	admin_stop_on_signals();
	return scan(admin, &wishes);
}

const struct admin_verb admin_verb_scan = {
	.name = "scan",
	.arguments = "[MEMBER]",
	.summary = "find what was changed on the members themselves",
	.help = "Goes through all names, compares them with what is known, and "
		"protects what is\n"
		"new or changed; removes parity and copies that nothing needs. "
		"If most files of a\n"
		"member are gone or changed, nothing is done (exit status 2): "
		"a "
		"drive that was\n"
		"made anew or encrypted looks so, and its files can still be "
		"computed (rebuild).\n"
		"With MEMBER only that is reported, and --accept-loss is for "
		"it alone.\n",
	.needs_root = true,
	.run = run,
};
