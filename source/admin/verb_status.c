/*
 * mrmr-admin status: how the pool is.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/catalog.h>
#include <mrmr/engine.h>
#include <mrmr/queue.h>
#include <mrmr/size.h>
#include <mrmr/staging.h>
#include <mrmr/survey.h>
#include <mrmr/trouble.h>

#include "admin.h"
#include "members.h"
#include "overlap_status.h"
#include "scrub_status.h"

#define WALK_SECONDS_DEFAULT 10

struct status {
	struct admin *admin;
	struct mrmr_pool *pool;
	struct mrmr_catalog *catalog; /* NULL: nothing was ever protected, or */
	bool is_unknown;              /* the catalogue is lost, or unreadable */
	bool has_work;
	bool has_losses;
};

/* --- the pool and its members --------------------------------------------- */

static json_t *parity_json(const struct mrmr_parity_wish *parity)
{
	json_t *object = admin_need(json_object());

	admin_set(object, "min", json_integer(parity->min));
	admin_set(object, "max",
		  parity->max == UINT_MAX ? json_string("max")
					  : json_integer(parity->max));
	return object;
}

static char *parity_text(struct admin *admin,
			 const struct mrmr_parity_wish *parity)
{
	if (parity->min == parity->max) {
		return admin_need(talloc_asprintf(admin, "%u", parity->min));
	}
	if (parity->max == UINT_MAX) {
		return admin_need(
			talloc_asprintf(admin,
					parity->min > 0 ? "at least %u" : "max",
					parity->min));
	}
	return admin_need(
		talloc_asprintf(admin, "%u to %u", parity->min, parity->max));
}

/* --- protection ------------------------------------------------------------- */

/* NULL: it is none of the pool. */
static const struct mrmr_member *member_of(const struct status *status,
					   uint16_t number)
{
	struct mrmr_uuid id;
	size_t i;

	if (mrmr_catalog_member_id(status->catalog, number, &id) == -1) {
		return NULL;
	}
	for (i = 0; i < status->pool->num_members; i++) {
		const struct mrmr_member *member = &status->pool->members[i];

		if (mrmr_uuid_equal(&member->config->id, &id)) {
			return member;
		}
	}
	return NULL;
}

static bool is_online(uint16_t number, void *private_data)
{
	const struct mrmr_member *member = member_of(private_data, number);

	return member != NULL && member->state == MRMR_MEMBER_ONLINE;
}

/* Is a file of the trash there? Also if that cannot be told. */
static bool is_in_trash(const struct mrmr_node *node, const char *path,
			void *private_data)
{
	const struct status *status = private_data;
	const struct mrmr_member *member = member_of(status, node->member);
	char *full = NULL;
	struct stat st;
	bool is_there;

	if (member == NULL || member->state != MRMR_MEMBER_ONLINE ||
	    node->inode == 0) {
		return true;
	}
	full = admin_need(
		talloc_asprintf(status->admin, MRMR_TRASH "/%s", path));
	if (fstatat(member->private_fd, full, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		is_there = (uint64_t)st.st_ino == node->inode;
	} else {
		is_there = errno != ENOENT && errno != ENOTDIR;
	}
	talloc_free(full);
	return is_there;
}

/* Only read; if it was never there, nothing is protected. */
static void open_catalog(struct status *status)
{
	const struct mrmr_config *config = status->pool->config;
	struct mrmr_error err = {0};
	int state_fd =
		open(config->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (state_fd == -1) {
		return;
	}
	status->catalog =
		mrmr_catalog_open(status->admin, state_fd, &config->pool_id,
				  MRMR_CATALOG_READ, &err);
	if (status->catalog == NULL &&
	    (err.code != ENOENT ||
	     mrmr_engine_check_new(status->pool, &err) == -1)) {
		admin_note(status->admin, "%s", err.text);
		status->is_unknown = true;
		status->has_work = true;
	}
	close(state_fd);
}

static void set_bytes(struct status *status, const char *key, uint64_t bytes)
{
	admin_set(status->admin->result, key, json_integer((json_int_t)bytes));
}

static void put_survey(struct status *status, const struct mrmr_survey *survey)
{
	set_bytes(status, "known_files", survey->num_files);
	set_bytes(status, "known_bytes", survey->file_bytes);
	set_bytes(status, "protected_bytes", survey->protected_bytes);
	set_bytes(status, "unprotected_bytes", survey->unprotected_bytes);
	set_bytes(status, "pending_files", survey->pending_files);
	set_bytes(status, "pending_bytes", survey->pending_bytes);
	set_bytes(status, "no_room_files", survey->hindered.no_room_files);
	set_bytes(status, "no_room_bytes", survey->hindered.no_room_bytes);
	set_bytes(status, "unreadable_files",
		  survey->hindered.unreadable_files);
	set_bytes(status, "short_stripes", survey->short_stripes);
	set_bytes(status, "short_bytes", survey->short_bytes);
	set_bytes(status, "degraded_bytes", survey->degraded_bytes);
	set_bytes(status, "at_risk_bytes", survey->at_risk_bytes);
	set_bytes(status, "lost_bytes", survey->lost_bytes);
	set_bytes(status, "trash_bytes", survey->trash_bytes);
	set_bytes(status, "trash_missing", survey->trash_missing);
	set_bytes(status, "parity_bytes", survey->parity_bytes);
	set_bytes(status, "stripes", survey->num_stripes);
	admin_set(status->admin->result, "needs_scan",
		  json_boolean(survey->needs_scan));
}

static void say_bytes(struct status *status, const char *what, uint64_t bytes,
		      const char *why)
{
	char size[MRMR_SIZE_LEN];

	if (bytes > 0) {
		admin_say(status->admin, "%-9s  %s %s", what,
			  mrmr_size_format(bytes, size), why);
		status->has_work = true;
	}
}

/* What was changed may also be kept from leaving its stripe: while others of it are
   away, and cannot be computed, it would take their parity with it. */
static void say_no_room(struct status *status,
			const struct mrmr_hindered *hindered)
{
	bool all_online = status->pool->all_online;

	say_bytes(status, "Not", hindered->no_room_bytes,
		  all_online ? "in no stripe: there is no room for their parity"
			     : "in no stripe: there is no room for their "
			       "parity, or others need what it takes while "
			       "members are away");
	admin_say(status->admin,
		  "           (%llu files; %smake room, or add a drive, then: "
		  "mrmr-admin sync)",
		  (unsigned long long)hindered->no_room_files,
		  all_online ? "" : "bring the members back, ");
}

/* What is in no stripe, why, and what to do. */
static void say_unprotected(struct status *status,
			    const struct mrmr_survey *survey)
{
	const struct mrmr_hindered *hindered = &survey->hindered;
	struct admin *admin = status->admin;
	uint64_t rest = survey->unprotected_bytes;

	if (hindered->no_room_files > 0) {
		rest -= rest < hindered->no_room_bytes
				? rest
				: hindered->no_room_bytes;
		say_no_room(status, hindered);
	}
	if (hindered->unreadable_files > 0) {
		admin_say(admin,
			  "Unreadable %llu files, so they are not protected "
			  "(the log says why; then: mrmr-admin sync)",
			  (unsigned long long)hindered->unreadable_files);
		status->has_work = true;
	}
	say_bytes(status, "Not", rest,
		  "in no stripe yet (now: mrmr-admin sync)");
}

static void say_survey(struct status *status, const struct mrmr_survey *survey)
{
	struct admin *admin = status->admin;
	char size[MRMR_SIZE_LEN];
	char all[MRMR_SIZE_LEN];

	admin_say(admin, "Parity     %s wanted; %s in %llu stripes",
		  parity_text(admin, &status->pool->config->parity),
		  mrmr_size_format(survey->parity_bytes, size),
		  (unsigned long long)survey->num_stripes);
	admin_say(admin, "Protected  %s of %s in %llu files%s",
		  mrmr_size_format(survey->protected_bytes, size),
		  mrmr_size_format(survey->file_bytes, all),
		  (unsigned long long)survey->num_files,
		  survey->needs_scan ? "; others are still to be found" : "");
	if (survey->pending_files > 0) {
		admin_say(admin, "Pending    %llu files, new or changed (%s)",
			  (unsigned long long)survey->pending_files,
			  mrmr_size_format(survey->pending_bytes, size));
	}
	say_unprotected(status, survey);
	say_bytes(status, "Short", survey->short_bytes,
		  "of stripes with fewer parity blocks than wanted; sync "
		  "gives them more if there is room");
	say_bytes(status, "Degraded", survey->degraded_bytes,
		  "of stripes from which something is missing");
	say_bytes(status, "At risk", survey->at_risk_bytes,
		  "would be lost with one more drive");
	say_bytes(status, "Away", survey->lost_bytes,
		  "are not there, and cannot be computed from what is");
	if (survey->trash_bytes > 0) {
		admin_say(admin, "Trash      %s, which stays protected",
			  mrmr_size_format(survey->trash_bytes, size));
	}
	if (survey->trash_missing > 0) {
		admin_say(admin,
			  "           (%llu files of it are not there any "
			  "more, "
			  "and their stripes lack them: mrmr-admin scan)",
			  (unsigned long long)survey->trash_missing);
		status->has_work = true;
	}
}

static const char *what_without_catalog(const struct status *status)
{
	if (status->is_unknown) {
		return "what is protected is not known";
	}
	return status->pool->config->parity.max > 0 ? "nothing is protected yet"
						    : "nothing is protected";
}

static void report_protection(struct status *status)
{
	struct admin *admin = status->admin;
	const struct mrmr_parity_wish *wish = &status->pool->config->parity;
	struct mrmr_survey survey = {.needs_scan = true};

	open_catalog(status);
	if (status->catalog == NULL) {
		/* nothing is claimed that is not there (invariant 3) */
		survey.needs_scan = wish->max > 0;
		put_survey(status, &survey);
		admin_say(admin, "Parity     %s wanted; %s",
			  parity_text(admin, wish),
			  what_without_catalog(status));
		return;
	}
	if (mrmr_survey(status->catalog, mrmr_pool_rows(status->pool),
			is_online, is_in_trash, status, &survey) == -1) {
		admin_note(admin, "the catalogue cannot be read: %s",
			   mrmr_catalog_why(errno));
		status->has_work = true;
	}
	put_survey(status, &survey);
	say_survey(status, &survey);
	status->has_work = status->has_work || survey.pending_files > 0 ||
			   survey.needs_scan || survey.unprotected_bytes > 0;
	status->has_losses = survey.lost_bytes > 0;
}

/* How much of a member are files, and how much is parity. */
static void put_member_sums(struct status *status,
			    const struct mrmr_member *member, json_t *object)
{
	struct mrmr_catalog_sums sums = {0};
	uint16_t number = MRMR_MEMBER_NONE;

	if (status->catalog != NULL) {
		number = mrmr_catalog_member(status->catalog,
					     &member->config->id);
	}
	if (number != MRMR_MEMBER_NONE &&
	    mrmr_catalog_sums(status->catalog, number, &sums) == -1) {
		sums = (struct mrmr_catalog_sums){0};
	}
	admin_set(object, "data_bytes",
		  json_integer((json_int_t)sums.file_bytes));
	admin_set(object, "protected_bytes",
		  json_integer((json_int_t)sums.protected_bytes));
	admin_set(object, "parity_bytes",
		  json_integer((json_int_t)sums.parity_bytes));
	admin_set(object, "trash_bytes",
		  json_integer((json_int_t)sums.trash_bytes));
}

/* --- the pool ------------------------------------------------------------------ */

static void report_pool(struct status *status)
{
	struct admin *admin = status->admin;
	const struct mrmr_config *config = status->pool->config;
	char id[MRMR_UUID_LEN + 1];
	char total_text[MRMR_SIZE_LEN];
	char free_text[MRMR_SIZE_LEN];
	uint64_t total = 0;
	uint64_t free = 0;

	mrmr_pool_space(status->pool, &total, &free);
	mrmr_uuid_format(&config->pool_id, id);
	admin_set(admin->result, "config", admin_json_text(config->path));
	admin_set(admin->result, "drive_id", admin_json_uuid(&config->pool_id));
	admin_set(admin->result, "state_dir",
		  admin_json_text(config->state_dir));
	admin_set(admin->result, "placement", json_string(config->placement));
	admin_set(admin->result, "parity_drives", parity_json(&config->parity));
	admin_set(admin->result, "total_bytes",
		  json_integer((json_int_t)total));
	admin_set(admin->result, "free_bytes", json_integer((json_int_t)free));

	admin_say(admin, "Pool       %s", id);
	admin_say(admin, "Config     %s", config->path);
	admin_say(admin, "State      %s", config->state_dir);
	report_protection(status);
	admin_say(admin, "Placement  %s", config->placement);
	admin_say(admin, "Space      %s free of %s",
		  mrmr_size_format(free, free_text),
		  mrmr_size_format(total, total_text));
}

static int name_width(const struct mrmr_pool *pool)
{
	size_t width = strlen("Member");
	size_t i;

	for (i = 0; i < pool->num_members; i++) {
		size_t len = strlen(mrmr_member_name(&pool->members[i]));

		if (len > width) {
			width = len;
		}
	}
	return (int)width;
}

static void report_member(struct status *status,
			  const struct mrmr_member *member, int width)
{
	struct admin *admin = status->admin;
	bool is_online = member->state == MRMR_MEMBER_ONLINE;
	char id[MRMR_UUID_LEN + 1];
	char total[MRMR_SIZE_LEN] = "-";
	char free[MRMR_SIZE_LEN] = "-";
	char reserve[MRMR_SIZE_LEN];

	mrmr_uuid_format(&member->config->id, id);
	if (is_online) {
		mrmr_size_format(member->total_bytes, total);
		mrmr_size_format(member->free_bytes, free);
	}
	mrmr_size_format(member->config->min_free_bytes, reserve);
	admin_say(admin, "%-*s  %.8s  %-11s  %10s  %10s  %10s", width,
		  mrmr_member_name(member), id, admin_member_state(member),
		  total, free, reserve);
	if (member->unlasting != NULL &&
	    member->config->role != MRMR_ROLE_PARITY &&
	    status->pool->config->parity.max > 0) {
		admin_note(admin, ADMIN_UNLASTING_TEXT,
			   mrmr_member_name(member), member->unlasting);
	}
	if (member->why[0] != '\0') {
		admin_say(admin, "%*s  %s", width, "", member->why);
	}
}

/* What it did not give as it should; to people only if there is something. */
static void report_trouble(struct status *status,
			   const struct mrmr_shared *shared,
			   const struct mrmr_member *member, json_t *object,
			   int width)
{
	struct mrmr_trouble trouble = {0};

	if (shared != NULL) {
		trouble = mrmr_trouble_of(shared, &member->config->id);
	}
	admin_set(object, "refused_reads",
		  json_integer((json_int_t)trouble.refused_reads));
	admin_set(object, "wrong_blocks",
		  json_integer((json_int_t)trouble.wrong_blocks));
	if (trouble.refused_reads > 0) {
		admin_say(status->admin,
			  "%*s  since the last boot, %llu reads failed with an "
			  "error of the drive",
			  width, "", (unsigned long long)trouble.refused_reads);
	}
	if (trouble.wrong_blocks > 0) {
		admin_say(status->admin,
			  "%*s  since the last boot, %llu blocks did not match "
			  "their hash (mrmr-admin scrub --repair)",
			  width, "", (unsigned long long)trouble.wrong_blocks);
	}
}

static void report_members(struct status *status)
{
	struct admin *admin = status->admin;
	struct mrmr_pool *pool = status->pool;
	json_t *array = admin_need(json_array());
	int state_fd = -1;
	struct mrmr_shared *shared =
		admin_shared(pool->config, &state_fd, NULL);
	int width = name_width(pool);
	size_t i;

	admin_say(admin, "%-*s  %-8s  %-11s  %10s  %10s  %10s", width, "Member",
		  "Id", "State", "Total", "Free", "Reserve");
	for (i = 0; i < pool->num_members; i++) {
		const struct mrmr_member *member = &pool->members[i];
		json_t *object = NULL;

		object = admin_member_json(member);
		put_member_sums(status, member, object);
		report_member(status, member, width);
		report_trouble(status, shared, member, object, width);
		admin_append(array, object);
		if (member->state != MRMR_MEMBER_ONLINE || member->read_only) {
			status->has_work = true;
		}
	}
	admin_set(admin->result, "members", array);
	mrmr_shared_close(shared);
	if (state_fd != -1) {
		close(state_fd);
	}
}

static int run(struct admin *admin, const struct admin_verb *verb, int argc,
	       const char **argv)
{
	int quick = 0;
	int full = 0;
	const struct poptOption options[] = {
		{"quick", '\0', POPT_ARG_NONE, &quick, 0,
		 "do not look for names that are on several members", NULL},
		{"full", '\0', POPT_ARG_NONE, &full, 0,
		 "look at all names, however long that takes", NULL},
		POPT_TABLEEND,
	};
	struct status status = {.admin = admin};
	struct mrmr_config *config = NULL;
	const char **words = NULL;
	int result =
		admin_parse(admin, verb, options, argc, argv, 0, 0, &words);

	if (result != ADMIN_GO_ON) {
		return result;
	}
	if (quick && full) {
		return admin_fail(admin, ADMIN_USAGE,
				  "--quick and --full exclude each other");
	}
	config = admin_config(admin);
	if (config == NULL) {
		return ADMIN_CONFIG;
	}
	status.pool = admin_members_look(admin, config);
	report_pool(&status);
	if (admin_scrub_status(admin, status.catalog)) {
		status.has_work = true;
	}
	admin_say(admin, "%s", "");
	report_members(&status);
	if (admin_overlap_status(admin, status.pool, quick != 0,
				 full ? 0 : WALK_SECONDS_DEFAULT)) {
		status.has_work = true;
	}
	talloc_free(status.catalog);
	talloc_free(status.pool);
	if (status.has_losses) {
		return ADMIN_LOST;
	}
	return status.has_work ? ADMIN_DEGRADED : ADMIN_OK;
}

const struct admin_verb admin_verb_status = {
	.name = "status",
	.arguments = "",
	.summary = "say how the pool and its members are",
	.help = "Says what is protected, which members are there, how much "
		"space there is, and\n"
		"which names are on more than one member: of files, the one on "
		"the member that\n"
		"comes first in the config is in the share, and the others "
		"wait to be looked at.\n"
		"Says when what is protected was scrubbed. Exit status 1: a "
		"member is not online or\n"
		"is read-only, there are such files, something is still to be "
		"protected, or less\n"
		"protected than it should be, or the last scrub left something "
		"bad. Exit status 2:\n"
		"there are files that cannot be computed without a member that "
		"is away.\n",
	.needs_root = true,
	.run = run,
};
