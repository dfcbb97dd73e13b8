/*
 * mrmr-admin rebuild: brings back what was on a member that is lost.
 *
 * With --onto, the new member joins the config first, so that what is brought
 * back is in the share at once; the lost one leaves it last, when nothing of it
 * is left. In between, all that was done is in the catalogue: the command can be
 * given again, as it was, at any time.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include <talloc.h>

#include <mrmr/lasting.h>
#include <mrmr/local.h>
#include <mrmr/protector.h>
#include <mrmr/rebuild.h>
#include <mrmr/shared.h>
#include <mrmr/size.h>

#include "admin.h"
#include "engine.h"
#include "progress.h"
#include "rebuild_report.h"
#include "rebuild_work.h"
#include "recruit.h"

/* --- who is to take it -------------------------------------------------------------- */

static int find_path(const struct mrmr_config *config, const char *path)
{
	size_t i;

	for (i = 0; i < config->num_members; i++) {
		const char *other = config->members[i].mount_point;

		if (other != NULL && strcmp(other, path) == 0) {
			return (int)i;
		}
	}
	return -1;
}

/* The new drive takes the place of the old one: the same role, the same stack,
   as it will be where that was. */
static void join(struct rebuild_work *work)
{
	struct mrmr_config *config = work->config;
	struct mrmr_member_config *member = NULL;
	const struct mrmr_member_config *lost = NULL;

	admin_recruit_append(work->recruit, config);
	work->onto = config->num_members - 1;
	member = &config->members[work->onto];
	lost = &config->members[work->lost];
	member->role = lost->role;
	member->tier = lost->tier;
	member->stack = lost->stack;
	member->min_free_bytes = lost->min_free_bytes;
}

/* A path that is a member already is one of an attempt before, most likely. */
static int find_onto(struct rebuild_work *work, const char *word)
{
	struct admin *admin = work->admin;
	int status = ADMIN_GO_ON;
	int index;

	work->recruit = admin_recruit_look(admin, word, &work->config->pool_id,
					   &status);
	if (work->recruit == NULL) {
		return status;
	}
	index = find_path(work->config, work->recruit->path);
	if (index == (int)work->lost) {
		return admin_fail(admin, ADMIN_USAGE,
				  "%s is the lost member itself; mount the new "
				  "drive elsewhere, or, if it is mounted "
				  "there, "
				  "remove the lost one from the pool's config "
				  "by its id",
				  work->recruit->path);
	}
	if (index != -1) {
		work->recruit = NULL;
		work->onto = (size_t)index;
		return ADMIN_GO_ON;
	}
	status = admin_recruit_check(admin, work->recruit, work->config);
	if (status == ADMIN_GO_ON) {
		join(work);
		status = admin_check_config(admin, work->config,
					    work->config->path);
	}
	return status;
}

/* What is rebuilt stays protected: not so on some file systems. */
static int check_onto(struct rebuild_work *work)
{
	const char *unlasting = NULL;

	if (work->recruit != NULL) {
		unlasting = mrmr_inodes_do_not_last(work->recruit->root_fd);
	} else if (work->onto != MRMR_REBUILD_SPREAD) {
		unlasting = work->engine->pool->members[work->onto].unlasting;
	}
	if (unlasting == NULL) {
		return ADMIN_GO_ON;
	}
	return admin_fail(work->admin, ADMIN_FAILED,
			  "files cannot be protected on %s, so nothing is "
			  "rebuilt onto it; it may have parity",
			  unlasting);
}

/* If it returns before all is done, clients may have changed files that were
   brought back: these are shown, not its own. */
static void put_last(struct rebuild_work *work)
{
	struct mrmr_config *config = work->config;
	size_t lost = work->lost;

	work->onto = admin_config_after_put_last(config, lost, work->onto);
	work->lost = admin_config_after_put_last(config, lost, lost);
	admin_config_put_last(config, lost);
}

static int change_config(struct rebuild_work *work)
{
	struct admin *admin = work->admin;
	struct mrmr_error err = {0};
	int status = ADMIN_GO_ON;

	if (work->recruit == NULL &&
	    work->lost == work->config->num_members - 1) {
		return ADMIN_GO_ON;
	}
	put_last(work);
	if (work->recruit != NULL) {
		status = admin_recruit_mark(admin, work->recruit);
	}
	if (work->recruit != NULL && status == ADMIN_GO_ON) {
		admin_step(admin, "add %s to %s", work->recruit->path,
			   work->config->path);
	}
	if (status == ADMIN_GO_ON &&
	    mrmr_config_save(work->config, work->config->path, &err) == -1) {
		if (work->recruit != NULL) {
			admin_recruit_undo(admin, work->recruit);
		}
		status = admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	}
	if (status == ADMIN_GO_ON) {
		/* it has read the config as it was */
		admin_engine_close(work->engine);
		work->engine =
			admin_engine_open(admin, MRMR_ENGINE_WRITE, &status);
	}
	return status;
}

/* --- the lost one goes ----------------------------------------------------------------- */

static int let_leave(struct rebuild_work *work)
{
	struct admin *admin = work->admin;
	struct mrmr_config *config = admin_config(admin);
	struct mrmr_error err = {0};
	struct mrmr_config *checked = NULL;
	char *label = NULL;
	char *text = NULL;

	if (config == NULL) {
		return ADMIN_CONFIG;
	}
	label = admin_member_label(admin, &config->members[work->lost]);
	admin_config_remove(config, work->lost,
			    work->onto == MRMR_REBUILD_SPREAD ? SIZE_MAX
							      : work->onto);
	text = admin_need(mrmr_config_format(admin, config));
	checked = mrmr_config_parse(admin, config->path, text, strlen(text),
				    &err);
	if (checked == NULL) {
		admin_note(admin,
			   "%s has nothing any more, but stays in the config: "
			   "without it, this would be no valid one: %s",
			   label, err.text);
		return ADMIN_DEGRADED;
	}
	rebuild_work_hear(work);
	if (mrmr_rebuild_forget(work->engine, work->lost, &err) == -1 ||
	    mrmr_config_save(config, config->path, &err) == -1) {
		return admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	}
	admin_say(admin, "%s has left the pool", label);
	return ADMIN_OK;
}

/* --- doing it ---------------------------------------------------------------------------- */

static int do_it(struct rebuild_work *work)
{
	const struct mrmr_rebuild_options options = rebuild_work_options(work);
	struct admin *admin = work->admin;
	struct mrmr_rebuild_result result = {0};
	struct mrmr_error err = {0};
	char size[MRMR_SIZE_LEN];
	int status;
	int ret;

	rebuild_work_hear(work);
	work->progress =
		admin_progress_begin(admin, "Rebuilding", ADMIN_PROGRESS_BYTES);
	work->protected_ns = mrmr_now_ns();
	ret = mrmr_rebuild(work->engine, &options, &result, &err);
	admin_progress_end(work->progress);
	rebuild_set_result(admin, &result);
	admin_say(admin, "%llu files are there again, %s",
		  (unsigned long long)result.files,
		  mrmr_size_format(result.bytes, size));
	if (result.stripes > 0) {
		admin_say(admin, "%llu parity blocks were made again, %s",
			  (unsigned long long)result.stripes,
			  mrmr_size_format(result.parity_bytes, size));
	}
	rebuild_say_left(&work->view, &result);
	if (ret == -1) {
		return admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	}
	status = rebuild_status(&work->view, &result);
	if (result.is_stopped) {
		admin_say(admin, "interrupted; the same command goes on");
	}
	if (result.is_complete) {
		int left = let_leave(work);

		status = status == ADMIN_OK || left >= ADMIN_USAGE ? left
								   : status;
	}
	return status;
}

static uint64_t room_of(const struct recruit *recruit)
{
	struct statvfs fs = {0};

	if (fstatvfs(recruit->root_fd, &fs) == -1) {
		return 0;
	}
	return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static int plan_it(struct rebuild_work *work)
{
	struct mrmr_rebuild_options options = rebuild_work_options(work);
	struct admin *admin = work->admin;
	struct mrmr_rebuild_result result = {0};
	struct mrmr_error err = {0};
	char size[MRMR_SIZE_LEN];
	char parity[MRMR_SIZE_LEN];
	char room[MRMR_SIZE_LEN];
	int ret;

	if (work->recruit != NULL) {
		options.onto = MRMR_REBUILD_SPREAD; /* not in the pool yet */
	}
	work->progress =
		admin_progress_begin(admin, "Looking", ADMIN_PROGRESS_BYTES);
	ret = mrmr_rebuild_plan(work->engine, &options, &result, &err);
	admin_progress_end(work->progress);
	if (ret == -1) {
		return admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	}
	if (work->recruit != NULL) {
		result.room_bytes = room_of(work->recruit);
	}
	rebuild_set_result(admin, &result);
	rebuild_set_number(admin, "room_bytes", result.room_bytes);
	admin_step(admin,
		   "bring back %llu files, %s, and %llu parity blocks, %s; "
		   "there is room for %s",
		   (unsigned long long)result.files,
		   mrmr_size_format(result.bytes, size),
		   (unsigned long long)result.stripes,
		   mrmr_size_format(result.parity_bytes, parity),
		   mrmr_size_format(result.room_bytes, room));
	rebuild_say_left(&work->view, &result);
	if (result.lost_files > 0 && work->view.accepts_loss) {
		admin_step(admin, "give up %llu files, %s",
			   (unsigned long long)result.lost_files,
			   mrmr_size_format(result.lost_bytes, size));
	}
	if (result.lost_files == 0 && result.bytes > result.room_bytes) {
		admin_note(admin, "there is too little room for all of it");
		return ADMIN_DEGRADED;
	}
	return rebuild_status(&work->view, &result);
}

/* Whatever its state is called: if its marker is under its mount point, it is
   not lost. */
static int check_is_lost(struct rebuild_work *work)
{
	const struct mrmr_member *lost =
		&work->engine->pool->members[work->lost];

	if (lost->config->kind != MRMR_MEMBER_LOCAL) {
		return admin_fail(work->admin, ADMIN_FAILED,
				  "%s: remote members are not built yet",
				  mrmr_member_name(lost));
	}
	if (lost->state == MRMR_MEMBER_ONLINE ||
	    (lost->state != MRMR_MEMBER_FOREIGN &&
	     mrmr_local_marker_seen(lost))) {
		return admin_fail(work->admin, ADMIN_FAILED,
				  "%s is there, so its files are not lost; if "
				  "it is failing, unmount it, and they are "
				  "computed from the others",
				  mrmr_member_name(lost));
	}
	return ADMIN_GO_ON;
}

static int rebuild(struct admin *admin, const char *word, const char *onto,
		   bool accepts_loss)
{
	struct rebuild_work work = {.admin = admin,
				    .onto = MRMR_REBUILD_SPREAD,
				    .view = {.admin = admin,
					     .accepts_loss = accepts_loss}};
	int status = admin_lock_config(admin);
	int index;

	if (status != ADMIN_GO_ON) {
		return status;
	}
	work.config = admin_config(admin);
	if (work.config == NULL) {
		return ADMIN_CONFIG;
	}
	index = admin_config_member(admin, work.config, word);
	if (index == -1) {
		return ADMIN_USAGE;
	}
	work.lost = (size_t)index;
	if (onto != NULL) {
		status = find_onto(&work, onto);
	}
	if (status != ADMIN_GO_ON) {
		return status;
	}
	/* Nothing is changed before it is clear that it is lost. */
	work.engine = admin_engine_open(admin,
					admin->dry_run ? MRMR_ENGINE_READ
						       : MRMR_ENGINE_WRITE,
					&status);
	if (work.engine == NULL) {
		return status;
	}
	work.view.lost = admin_need(
		talloc_strdup(admin,
			      mrmr_member_name(
				      &work.engine->pool->members[work.lost])));
	work.troubles = admin_need(json_array());
	admin_set(admin->result, "troubles", json_incref(work.troubles));
	status = check_is_lost(&work);
	if (status == ADMIN_GO_ON) {
		status = check_onto(&work);
	}
	if (status == ADMIN_GO_ON && !admin->dry_run) {
		status = change_config(&work);
	}
	if (status == ADMIN_GO_ON && work.engine != NULL) {
		status = admin->dry_run ? plan_it(&work) : do_it(&work);
	}
	json_decref(work.troubles);
	admin_engine_close(work.engine);
	return status;
}

static int run(struct admin *admin, const struct admin_verb *verb, int argc,
	       const char **argv)
{
	char *onto = NULL;
	int spread = 0;
	int accepts_loss = 0;
	const struct poptOption options[] = {
		{"onto", '\0', POPT_ARG_STRING, &onto, 0,
		 "a new drive that takes the place of the lost one", "MEMBER"},
		{"spread", '\0', POPT_ARG_NONE, &spread, 0,
		 "onto the members that are left, as far as there is room (the "
		 "default)",
		 NULL},
		{"accept-loss", '\0', POPT_ARG_NONE, &accepts_loss, 0,
		 "give up what cannot be had (asks, unless --yes)", NULL},
		POPT_TABLEEND,
	};
	const char **words = NULL;
	int status =
		admin_parse(admin, verb, options, argc, argv, 1, 1, &words);

	if (status != ADMIN_GO_ON) {
		return status;
	}
	if (onto != NULL && spread) {
		return admin_fail(admin, ADMIN_USAGE,
				  "--onto and --spread exclude each other");
	}
	admin_stop_on_signals();
	return rebuild(admin, words[0], onto, accepts_loss != 0);
}

const struct admin_verb admin_verb_rebuild = {
	.name = "rebuild",
	.arguments = "MEMBER",
	.summary = "bring back what was on a member that is lost",
	.help = "Computes the files that were on MEMBER, which must not be "
		"there, from the other\n"
		"members, and puts them onto these, or onto a new one; then "
		"makes the parity again\n"
		"that was on it. The share may be in use. It may be "
		"interrupted; the same command\n"
		"goes on. When nothing is left to do, MEMBER leaves the "
		"config. --dry-run says what\n"
		"can be brought back. Exit status 2: not all of it; what is "
		"not is named, and keeps\n"
		"MEMBER in the config until it is given up by "
		"--accept-loss.\n",
	.needs_root = true,
	.run = run,
};
