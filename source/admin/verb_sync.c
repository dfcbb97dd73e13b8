/*
 * mrmr-admin sync: brings parity up to date.
 *
 * What smbd starts after a close is the same, with --background: it waits until
 * files are quiet, ends when nothing is left, and writes to the system's log.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include <talloc.h>

#include <mrmr/engine.h>
#include <mrmr/log.h>
#include <mrmr/protector.h>
#include <mrmr/size.h>

#include "admin.h"
#include "progress.h"

#define SETTLE_SECONDS_MAX 86400
#define NS_PER_S INT64_C(1000000000)

static void show(const struct mrmr_protect_progress *now, void *private_data)
{
	admin_progress_set(private_data, now->done_bytes, now->todo_bytes);
}

static void log_to_syslog(enum mrmr_log_level level, const char *text)
{
	static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO,
					 LOG_DEBUG};

	syslog(priorities[level], "%s", text);
}

/* --- reporting ---------------------------------------------------------------- */

static void set_number(struct admin *admin, const char *key, uint64_t number)
{
	admin_set(admin->result, key, json_integer((json_int_t)number));
}

/* Those that take no block more, in their order. NULL: none. */
static char *full_members(struct admin *admin, const struct mrmr_pool *pool)
{
	char *names = NULL;
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];

		if (member->state != MRMR_MEMBER_ONLINE ||
		    member->config->role == MRMR_ROLE_DATA ||
		    mrmr_member_parity_room(member, NULL) >=
			    pool->config->block_size_bytes) {
			continue;
		}
		names = talloc_asprintf(admin, "%s%s%s",
					names != NULL ? names : "",
					names != NULL ? ", " : "",
					mrmr_member_name(member));
	}
	return names;
}

static void say_what_makes_room(struct admin *admin, struct mrmr_pool *pool)
{
	char *names = NULL;

	mrmr_pool_look_at_space(pool);
	names = full_members(admin, pool);
	admin_note(admin,
		   "%s%s%sMake room (delete files and remove them with "
		   "mrmr-admin trash purge, or have less kept free), or add a "
		   "drive with mrmr-admin add; then say mrmr-admin sync again",
		   names != NULL ? "Full: " : "", names != NULL ? names : "",
		   names != NULL ? ". " : "");
	talloc_free(names);
}

static bool all_are_online(const struct mrmr_pool *pool)
{
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		if (pool->members[i].state != MRMR_MEMBER_ONLINE) {
			return false;
		}
	}
	return true;
}

/* True: it is for want of room. */
static bool report_short(struct admin *admin, const struct mrmr_pool *pool,
			 const struct mrmr_protect_result *result)
{
	char size[MRMR_SIZE_LEN];
	bool waits = !all_are_online(pool);

	if (result->short_stripes == 0) {
		return false;
	}
	admin_note(admin,
		   "%llu stripes, with %s of files, have fewer parity blocks "
		   "than the %u that are wanted: %s",
		   (unsigned long long)result->short_stripes,
		   mrmr_size_format(result->short_bytes, size),
		   mrmr_pool_rows(pool),
		   waits ? "they get them when the drives that are away are "
			   "back"
			 : "there is no room for them");
	return !waits;
}

static int report(struct admin *admin, struct mrmr_pool *pool,
		  const struct mrmr_protect_result *result)
{
	char size[MRMR_SIZE_LEN];
	int status = ADMIN_OK;

	set_number(admin, "protected_files", result->protected_files);
	set_number(admin, "protected_bytes", result->protected_bytes);
	set_number(admin, "unprotected_files", result->unprotected_files);
	set_number(admin, "unprotected_bytes", result->unprotected_bytes);
	set_number(admin, "unreadable_files", result->unreadable_files);
	set_number(admin, "open_files", result->open_files);
	set_number(admin, "mended_stripes", result->mended_stripes);
	set_number(admin, "short_stripes", result->short_stripes);
	set_number(admin, "short_bytes", result->short_bytes);
	admin_set(admin->result, "interrupted",
		  json_boolean(admin_should_stop(NULL)));

	admin_say(admin, "%llu files protected, %s read",
		  (unsigned long long)result->protected_files,
		  mrmr_size_format(result->protected_bytes, size));
	if (result->mended_stripes > 0) {
		admin_say(admin, "%llu stripes made whole again",
			  (unsigned long long)result->mended_stripes);
	}
	if (result->unprotected_files > 0) {
		admin_note(admin,
			   "%llu files are not protected: there is no room for "
			   "the parity of %s",
			   (unsigned long long)result->unprotected_files,
			   mrmr_size_format(result->unprotected_bytes, size));
		status = ADMIN_DEGRADED;
	}
	if (report_short(admin, pool, result)) {
		status = ADMIN_DEGRADED;
	}
	if (status == ADMIN_DEGRADED) {
		say_what_makes_room(admin, pool);
	}
	if (result->unreadable_files > 0) {
		admin_note(admin,
			   "%llu files are not protected: they cannot be read "
			   "(see above)",
			   (unsigned long long)result->unreadable_files);
		status = ADMIN_DEGRADED;
	}
	if (result->open_files > 0) {
		admin_note(admin,
			   "%llu files are open for writing, and are protected "
			   "when they are closed",
			   (unsigned long long)result->open_files);
		status = ADMIN_DEGRADED;
	}
	if (admin_should_stop(NULL)) {
		admin_note(admin, "interrupted; what is left is done the next "
				  "time");
		status = ADMIN_DEGRADED;
	}
	return status;
}

/* --- doing it -------------------------------------------------------------------- */

static int protect(struct admin *admin, struct mrmr_pool *pool,
		   struct mrmr_protect_options *options)
{
	struct mrmr_protect_result result = {0};
	struct mrmr_protector_turn *turn = NULL;
	struct mrmr_engine *engine = NULL;
	struct admin_progress *progress = NULL;
	struct mrmr_error err = {0};
	int ret;

	turn = mrmr_protector_enter(admin, pool, !options->background, &err);
	if (turn == NULL) {
		return options->background && err.code == EALREADY
			       ? ADMIN_OK
			       : admin_fail(admin, ADMIN_FAILED, "%s",
					    err.text);
	}
	progress =
		admin_progress_begin(admin, "Protecting", ADMIN_PROGRESS_BYTES);
	options->progress = show;
	options->private_data = progress;
	do {
		/* for whoever waits for it, in between */
		engine = mrmr_engine_open(admin, pool, MRMR_ENGINE_WRITE, &err);
		ret = engine != NULL
			      ? mrmr_protect(engine, options, &result, &err)
			      : -1;
		talloc_free(engine);
		options->scan = false;
	} while (ret == 0 && result.gives_way && !result.gives_turn &&
		 !admin_should_stop(NULL));
	admin_progress_end(progress);
	talloc_free(turn);
	if (ret == -1) {
		report(admin, pool, &result);
		return admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	}
	return report(admin, pool, &result);
}

/* --- --dry-run ---------------------------------------------------------------------- */

static void show_file(const char *path, uint64_t bytes, void *private_data)
{
	struct admin *admin = private_data;
	char size[MRMR_SIZE_LEN];
	char *shown = admin_printable(admin, path);

	admin_step(admin, "protect %s (%s)", shown,
		   mrmr_size_format(bytes, size));
	talloc_free(shown);
}

static int preview(struct admin *admin, struct mrmr_pool *pool)
{
	struct mrmr_protect_preview result;
	struct mrmr_engine *engine = NULL;
	struct mrmr_error err = {0};
	char todo[MRMR_SIZE_LEN];
	char all[MRMR_SIZE_LEN];

	engine = mrmr_engine_open(admin, pool, MRMR_ENGINE_READ, &err);
	if (engine == NULL && err.code != ENOENT) {
		return admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	}
	if (mrmr_protect_preview(pool, engine, show_file, admin, &result,
				 &err) == -1) {
		return admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	}
	talloc_free(engine);
	set_number(admin, "files", result.num_files);
	set_number(admin, "bytes", result.num_bytes);
	set_number(admin, "todo_files", result.todo_files);
	set_number(admin, "todo_bytes", result.todo_bytes);
	admin_say(admin, "%llu of %llu files would be read, %s of %s",
		  (unsigned long long)result.todo_files,
		  (unsigned long long)result.num_files,
		  mrmr_size_format(result.todo_bytes, todo),
		  mrmr_size_format(result.num_bytes, all));
	return ADMIN_OK;
}

static int sync_pool(struct admin *admin, struct mrmr_protect_options *options)
{
	struct mrmr_config *config = admin_config(admin);
	struct mrmr_pool *pool = NULL;
	struct mrmr_error err = {0};
	int status;

	if (config == NULL) {
		return ADMIN_CONFIG;
	}
	pool = mrmr_pool_open(admin, config, NULL, &err);
	if (pool == NULL) {
		return admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	}
	if (pool->queue == NULL) {
		admin_say(admin, "This pool wants no parity: \"parity_drives\" "
				 "is 0.");
		talloc_free(pool);
		return ADMIN_OK;
	}
	status = admin->dry_run ? preview(admin, pool)
				: protect(admin, pool, options);
	talloc_free(pool);
	return status;
}

static int run(struct admin *admin, const struct admin_verb *verb, int argc,
	       const char **argv)
{
	int seconds = -1;
	int background = 0;
	int scan = 0;
	const struct poptOption own[] = {
		{"background", '\0', POPT_ARG_NONE, &background, 0,
		 "as smbd starts it: wait until files are quiet, give way to "
		 "clients, log to syslog",
		 NULL},
		{"settle", '\0', POPT_ARG_INT, &seconds, 0,
		 "leave files that changed less than SECONDS ago [0; 2 with "
		 "--background]",
		 "SECONDS"},
		{"scan", '\0', POPT_ARG_NONE, &scan, 0,
		 "go through all names first", NULL},
		POPT_TABLEEND,
	};
	struct mrmr_protect_options options = {.should_stop =
						       admin_should_stop};
	const char **words = NULL;
	int status = admin_parse(admin, verb, own, argc, argv, 0, 0, &words);

	if (status != ADMIN_GO_ON) {
		return status;
	}
	if (seconds < -1 || seconds > SETTLE_SECONDS_MAX) {
		return admin_fail(admin, ADMIN_USAGE,
				  "--settle %d: it must be from 0 to %d",
				  seconds, SETTLE_SECONDS_MAX);
	}
	options.background = background != 0;
	options.scan = scan != 0;
	options.everything = seconds <= 0 && !options.background;
	options.settle_ns =
		seconds >= 0 ? seconds * NS_PER_S : MRMR_SETTLE_NS_DEFAULT;
	if (options.background) {
		openlog("mrmr-admin", LOG_PID, LOG_DAEMON);
		mrmr_log_to(log_to_syslog);
	}
	admin_stop_on_signals();
	return sync_pool(admin, &options);
}

const struct admin_verb admin_verb_sync = {
	.name = "sync",
	.arguments = "",
	.summary = "bring parity up to date",
	.help = "Protects what is new or has changed, now. While the share is "
		"in use this happens\n"
		"by itself a moment after files are closed; sync is for not "
		"having to wait, and\n"
		"for the first time. With --scan it goes through all names, "
		"and finds what was\n"
		"changed on the members themselves. It may be interrupted, and "
		"goes on where it\n"
		"stopped. Exit status 1: something is left, or there is no "
		"room for all the parity\n"
		"that is wanted.\n",
	.needs_root = true,
	.run = run,
};
