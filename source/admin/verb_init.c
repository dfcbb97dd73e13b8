/*
 * mrmr-admin init: makes a pool.
 *
 * First everything is looked at and nothing is changed; then directories,
 * markers and the config are made, in that order, so that a config that is
 * there names members that are there. If a step fails, those before it are
 * undone; after a crash, "init --drive-id" takes the members that were marked
 * already with the ids they have.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/dirattr.h>
#include <mrmr/listing.h>
#include <mrmr/path.h>
#include <mrmr/placement.h>

#include "admin.h"
#include "recruit.h"

#define STATE_DIR_DEFAULT "/var/lib/mrmr/pool"
#define SPINE "spine"

struct init {
	struct admin *admin;
	struct mrmr_config *config;
	char *config_path;
	struct recruit **recruits; /* one per member */
	size_t num_recruits;
	bool is_old_pool; /* its id was given */
	char **made_dirs; /* in the order in which they were made */
	size_t num_made_dirs;
};

/* --- what is wanted ------------------------------------------------------- */

static int set_parity(struct init *init, const char *text)
{
	struct mrmr_parity_wish *parity = &init->config->parity;
	unsigned long number;
	char *end = NULL;

	if (text == NULL) {
		return admin_fail(init->admin, ADMIN_USAGE,
				  "how many members may be lost at once? say "
				  "--parity N, --parity max, or --parity 0 for "
				  "none");
	}
	if (strcmp(text, "max") == 0) {
		*parity = (struct mrmr_parity_wish){.min = 0, .max = UINT_MAX};
		return ADMIN_GO_ON;
	}
	errno = 0;
	number = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 ||
	    number > MRMR_PARITY_MAX) {
		return admin_fail(init->admin, ADMIN_USAGE,
				  "--parity %s: it must be a number from 0 to "
				  "%d, or max",
				  text, MRMR_PARITY_MAX);
	}
	if (number > 0 && number >= init->num_recruits) {
		return admin_fail(init->admin, ADMIN_USAGE,
				  "--parity %lu: of %zu member%s, at most %zu "
				  "can be lost at once",
				  number, init->num_recruits,
				  init->num_recruits == 1 ? "" : "s",
				  init->num_recruits - 1);
	}
	parity->min = (unsigned int)number;
	parity->max = (unsigned int)number;
	return ADMIN_GO_ON;
}

static int set_placement(struct init *init, char *text)
{
	const struct mrmr_policy *const *policy = NULL;
	const char *comma = "";
	char *list = NULL;

	if (text == NULL) {
		text = admin_need(
			talloc_strdup(init->config, MRMR_PLACEMENT_DEFAULT));
	}
	init->config->placement = text;
	if (mrmr_policy_find(text) != NULL) {
		return ADMIN_GO_ON;
	}
	list = admin_need(talloc_strdup(init->admin, ""));
	for (policy = mrmr_policy_list(); *policy != NULL; policy++) {
		list = admin_need(talloc_asprintf_append(list, "%s%s", comma,
							 (*policy)->name));
		comma = ", ";
	}
	return admin_fail(init->admin, ADMIN_USAGE,
			  "--placement %s: there is no such policy; known are "
			  "%s",
			  text, list);
}

static int set_pool_id(struct init *init, const char *text)
{
	struct mrmr_uuid *id = &init->config->pool_id;

	if (text == NULL) {
		if (mrmr_uuid_generate(id) == -1) {
			return admin_fail(init->admin, ADMIN_FAILED,
					  "no random numbers for an id: %s",
					  strerror(errno));
		}
		return ADMIN_GO_ON;
	}
	init->is_old_pool = true;
	if (!mrmr_uuid_parse(text, id) || mrmr_uuid_is_nil(id)) {
		return admin_fail(init->admin, ADMIN_USAGE,
				  "--drive-id %s: it must be a UUID, as "
				  "uuidgen makes them",
				  text);
	}
	return ADMIN_GO_ON;
}

static int set_path(struct init *init, const char *what, const char *text,
		    char **path)
{
	const char *why = NULL;

	*path = mrmr_path_absolute(init->config, text, &why);
	if (*path == NULL) {
		return admin_fail(init->admin, ADMIN_USAGE, "%s \"%s\" %s",
				  what, text, why);
	}
	return ADMIN_GO_ON;
}

/* --- looking, without changing anything ----------------------------------- */

static int check_config_path(struct init *init)
{
	struct stat st = {0};

	if (lstat(init->config_path, &st) == 0) {
		return admin_fail(init->admin, ADMIN_FAILED,
				  "%s is there already: mrmr-admin add adds a "
				  "member to it; another pool needs another "
				  "--config",
				  init->config_path);
	}
	if (errno != ENOENT) {
		return admin_fail(init->admin, ADMIN_FAILED,
				  "%s can't be made: %s", init->config_path,
				  strerror(errno));
	}
	return ADMIN_GO_ON;
}

static int fail_state_dir(struct init *init, const char *why)
{
	return admin_fail(init->admin, ADMIN_FAILED,
			  "%s can't be the state directory: %s; choose another "
			  "with --state-dir",
			  init->config->state_dir, why);
}

/* What another pool keeps there must not get mixed up with this one. */
static int check_state_dir(struct init *init)
{
	const char *path = init->config->state_dir;
	struct stat st = {0};
	bool empty = false;
	int result;
	int fd;

	if (lstat(path, &st) == -1 && errno == ENOENT) {
		return ADMIN_GO_ON;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1) {
		return fail_state_dir(init, strerror(errno));
	}
	result = mrmr_fd_is_empty(fd, &empty);
	close(fd);
	if (result == -1) {
		return fail_state_dir(init, strerror(errno));
	}
	if (!empty && !init->is_old_pool) {
		return fail_state_dir(init, "there is something in it");
	}
	return ADMIN_GO_ON;
}

static int check_recruit(struct init *init, size_t index)
{
	struct recruit *recruit = init->recruits[index];
	bool is_noted = false;
	size_t i;
	int status;

	for (i = 0; i < index; i++) {
		struct recruit *other = init->recruits[i];

		status = admin_recruit_compare(init->admin, recruit,
					       other->path);
		if (status != ADMIN_GO_ON) {
			return status;
		}
		if (mrmr_marker_equal(&recruit->marker, &other->marker)) {
			return admin_fail(init->admin, ADMIN_FAILED,
					  "%s and %s have the same marker: one "
					  "is a copy of the other",
					  recruit->path, other->path);
		}
		if (recruit->dev == other->dev && !is_noted) {
			is_noted = true;
			admin_note(init->admin,
				   "%s and %s are on one file system, and "
				   "will be lost together",
				   other->path, recruit->path);
		}
	}
	return admin_recruit_compare(init->admin, recruit,
				     init->config->state_dir);
}

/* Who may write to the share must not be able to change its config. */
static int check_config_outside(struct init *init)
{
	char *real = admin_real_path(NULL, init->config_path);
	int status = ADMIN_GO_ON;
	size_t i;

	for (i = 0; i < init->num_recruits && status == ADMIN_GO_ON; i++) {
		if (mrmr_path_is_within(real, init->recruits[i]->real_path)) {
			status = admin_fail(init->admin, ADMIN_FAILED,
					    "%s can't be the config: it is "
					    "inside the member %s, where "
					    "clients could change it",
					    init->config_path,
					    init->recruits[i]->path);
		}
	}
	talloc_free(real);
	return status;
}

static int look(struct init *init, const char **words)
{
	struct mrmr_config *config = init->config;
	size_t i;
	int status = ADMIN_GO_ON;

	for (i = 0; i < init->num_recruits; i++) {
		struct recruit *recruit =
			admin_recruit_look(init->admin, words[i],
					   &config->pool_id, &status);

		if (recruit == NULL) {
			return status;
		}
		init->recruits[i] = recruit;
		config->members[i] = (struct mrmr_member_config){
			.id = recruit->marker.member_id,
			.kind = MRMR_MEMBER_LOCAL,
			.mount_point = recruit->path,
			.name = recruit->path,
		};
	}
	for (i = 0; i < init->num_recruits && status == ADMIN_GO_ON; i++) {
		status = check_recruit(init, i);
	}
	if (status == ADMIN_GO_ON) {
		status = check_config_outside(init);
	}
	return status;
}

/* --- making, and undoing -------------------------------------------------- */

static int make_dir(struct init *init, const char *path)
{
	struct stat st = {0};

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		return ADMIN_GO_ON;
	}
	if (!admin_step(init->admin, "make the directory %s", path)) {
		return ADMIN_GO_ON;
	}
	/* and not what the umask says: the share's users pass through */
	if (mkdir(path, 0755) == -1 || chmod(path, 0755) == -1) {
		return admin_fail(init->admin, ADMIN_FAILED,
				  "%s can't be made: %s", path,
				  strerror(errno));
	}
	init->made_dirs = admin_need(
		talloc_realloc(init->config, init->made_dirs, char *,
			       (unsigned int)init->num_made_dirs + 1));
	init->made_dirs[init->num_made_dirs++] =
		admin_need(talloc_strdup(init->config, path));
	return ADMIN_GO_ON;
}

/* path, and what is missing above it. */
static int make_dirs(struct init *init, const char *path)
{
	char *part = admin_need(talloc_strdup(NULL, path));
	char *slash = part;
	int status = ADMIN_GO_ON;

	while (status == ADMIN_GO_ON && slash != NULL) {
		slash = strchr(slash + 1, '/');
		if (slash != NULL) {
			*slash = '\0';
		}
		status = make_dir(init, part);
		if (slash != NULL) {
			*slash = '/';
		}
	}
	talloc_free(part);
	return status;
}

static int make_config_dir(struct init *init)
{
	char *dir = admin_need(talloc_strdup(NULL, init->config_path));
	char *slash = strrchr(dir, '/');
	int status = ADMIN_GO_ON;

	*slash = '\0';
	if (slash != dir) {
		status = make_dirs(init, dir);
	}
	talloc_free(dir);
	return status;
}

/* The share's root looks like the root of the first member. */
static int make_spine(struct init *init)
{
	char *path = admin_need(talloc_asprintf(init->config, "%s/" SPINE,
						init->config->state_dir));
	struct stat st = {0};
	bool is_new = lstat(path, &st) == -1;
	int status = make_dir(init, path);
	int result;
	int fd;

	if (status != ADMIN_GO_ON || !is_new || init->admin->dry_run) {
		return status;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1) {
		return admin_fail(init->admin, ADMIN_FAILED,
				  "%s can't be opened: %s", path,
				  strerror(errno));
	}
	result = mrmr_attributes_copy(init->recruits[0]->root_fd, fd);
	if (result == -1) {
		status = admin_fail(init->admin, ADMIN_FAILED,
				    "%s can't get the rights of %s: %s", path,
				    init->recruits[0]->path, strerror(errno));
	}
	/* a config must not outlive a crash that the directories did not */
	syncfs(fd);
	close(fd);
	return status;
}

static int save_config(struct init *init)
{
	struct mrmr_error err = {0};

	if (!admin_step(init->admin, "write %s", init->config_path)) {
		return ADMIN_GO_ON;
	}
	if (mrmr_config_save(init->config, init->config_path, &err) == -1) {
		return admin_fail(init->admin, ADMIN_FAILED, "%s", err.text);
	}
	return ADMIN_GO_ON;
}

static int make(struct init *init)
{
	int status = make_config_dir(init);
	size_t i;

	if (status == ADMIN_GO_ON) {
		status = make_dirs(init, init->config->state_dir);
	}
	if (status == ADMIN_GO_ON) {
		status = make_spine(init);
	}
	for (i = 0; i < init->num_recruits && status == ADMIN_GO_ON; i++) {
		status = admin_recruit_mark(init->admin, init->recruits[i]);
	}
	if (status == ADMIN_GO_ON) {
		status = save_config(init);
	}
	return status;
}

static void undo(struct init *init)
{
	size_t i;

	for (i = init->num_recruits; i > 0; i--) {
		if (init->recruits[i - 1] != NULL) {
			admin_recruit_undo(init->admin, init->recruits[i - 1]);
		}
	}
	for (i = init->num_made_dirs; i > 0; i--) {
		rmdir(init->made_dirs[i - 1]);
	}
}

/* --- the verb ------------------------------------------------------------- */

static void report(struct init *init)
{
	struct admin *admin = init->admin;
	const struct mrmr_config *config = init->config;
	json_t *members = admin_need(json_array());
	size_t i;

	admin_set(admin->result, "config", admin_json_text(init->config_path));
	admin_set(admin->result, "drive_id", admin_json_uuid(&config->pool_id));
	admin_set(admin->result, "state_dir",
		  admin_json_text(config->state_dir));
	for (i = 0; i < init->num_recruits; i++) {
		const struct recruit *recruit = init->recruits[i];
		json_t *member = admin_need(json_object());

		admin_set(member, "mount_id",
			  admin_json_uuid(&recruit->marker.member_id));
		admin_set(member, "name", admin_json_text(recruit->path));
		admin_set(member, "was_member",
			  json_boolean(recruit->has_marker));
		admin_append(members, member);
	}
	admin_set(admin->result, "members", members);
	if (admin->dry_run) {
		return;
	}
	admin_say(admin,
		  "%s: a pool of %zu member%s. For smb.conf:\n"
		  "\n"
		  "    [pool]\n"
		  "        path = %s/" SPINE "\n"
		  "        vfs objects = mrmr\n"
		  "        mrmr:config = %s\n"
		  "\n"
		  "vfs_mrmr(8) says which other options are recommended.",
		  init->config_path, init->num_recruits,
		  init->num_recruits == 1 ? "" : "s", config->state_dir,
		  init->config_path);
}

static int init_pool(struct init *init, const char *state_dir,
		     const char **words)
{
	int status = set_path(init, "the config's path",
			      init->admin->config_path, &init->config_path);

	if (status == ADMIN_GO_ON) {
		status = set_path(init, "--state-dir", state_dir,
				  &init->config->state_dir);
	}
	if (status == ADMIN_GO_ON) {
		status = check_config_path(init);
	}
	if (status == ADMIN_GO_ON) {
		status = check_state_dir(init);
	}
	if (status == ADMIN_GO_ON) {
		status = look(init, words);
	}
	if (status == ADMIN_GO_ON) {
		status = admin_check_config(init->admin, init->config,
					    init->config_path);
	}
	if (status != ADMIN_GO_ON) {
		return status;
	}
	status = admin_lock_config(init->admin);
	if (status == ADMIN_GO_ON) {
		status = make(init);
	}
	if (status != ADMIN_GO_ON) {
		undo(init);
		return status;
	}
	report(init);
	return ADMIN_OK;
}

static int run(struct admin *admin, const struct admin_verb *verb, int argc,
	       const char **argv)
{
	char *parity = NULL;
	char *state_dir = NULL;
	char *placement = NULL;
	char *pool_id = NULL;
	const struct poptOption options[] = {
		{"parity", '\0', POPT_ARG_STRING, &parity, 0,
		 "how many members may be lost at once, or max", "N"},
		{"state-dir", '\0', POPT_ARG_STRING, &state_dir, 0,
		 "where the pool keeps its own files [" STATE_DIR_DEFAULT "]",
		 "DIR"},
		{"placement", '\0', POPT_ARG_STRING, &placement, 0,
		 "which member a new file goes to [" MRMR_PLACEMENT_DEFAULT "]",
		 "POLICY"},
		{"drive-id", '\0', POPT_ARG_STRING, &pool_id, 0,
		 "the pool's id, if it has one already", "UUID"},
		POPT_TABLEEND,
	};
	struct init init = {.admin = admin};
	const char **words = NULL;
	int status = admin_parse(admin, verb, options, argc, argv, 1,
				 MRMR_MEMBERS_MAX, &words);

	if (status != ADMIN_GO_ON) {
		return status;
	}
	while (words[init.num_recruits] != NULL) {
		init.num_recruits++;
	}
	init.config = admin_need(talloc_zero(admin, struct mrmr_config));
	init.config->block_size_bytes = MRMR_BLOCK_SIZE_DEFAULT;
	init.config->trash_days = MRMR_TRASH_DAYS_DEFAULT;
	init.config->trash_max_percent = MRMR_TRASH_MAX_PERCENT_DEFAULT;
	init.config->undo_max_bytes = MRMR_UNDO_MAX_BYTES_DEFAULT;
	init.config->num_members = init.num_recruits;
	init.config->members = admin_need(
		talloc_zero_array(init.config, struct mrmr_member_config,
				  (unsigned int)init.num_recruits));
	init.recruits =
		admin_need(talloc_zero_array(init.config, struct recruit *,
					     (unsigned int)init.num_recruits));

	status = set_parity(&init, parity);
	if (status == ADMIN_GO_ON) {
		status = set_placement(&init, placement);
	}
	if (status == ADMIN_GO_ON) {
		status = set_pool_id(&init, pool_id);
	}
	if (status == ADMIN_GO_ON) {
		status = init_pool(&init,
				   state_dir != NULL ? state_dir
						     : STATE_DIR_DEFAULT,
				   words);
	}
	return status;
}

const struct admin_verb admin_verb_init = {
	.name = "init",
	.arguments = "--parity N MEMBER...",
	.summary = "make a pool of directories, each on a drive of its own",
	.help = "Makes a pool: its config, its state directory, and a marker "
		"(.mrmr/config.json)\n"
		"in each MEMBER, a local directory. What lies in them already "
		"is taken as it is.\n"
		"Everything is checked before anything is changed, and a "
		"failure half way is\n"
		"undone. An existing config is never overwritten.\n",
	.needs_root = true,
	.run = run,
};
