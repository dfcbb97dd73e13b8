/*
 * mrmr-admin where: on which member a file is; whether it is protected:
 * where_parity.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/marker.h>
#include <mrmr/path.h>
#include <mrmr/size.h>

#include "admin.h"
#include "beneath.h"
#include "engine.h"
#include "members.h"
#include "recruit.h"
#include "where_away.h"
#include "where_parity.h"

#define SPINE "spine"

struct where {
	struct admin *admin;
	struct mrmr_pool *pool;
	char *path; /* within the pool, "" for its root */
	json_t *copies;
	size_t num_copies;
	struct stat st; /* of the first copy, or in the spine, */
	size_t member;  /* and where that is */
	bool in_spine;
	struct where_away away;
	bool is_away;               /* the file is on a member that is */
	struct mrmr_engine *engine; /* NULL: nothing was ever protected, */
	bool is_known;              /* or that is not known */
	int all_blocks;
};

/* --- which path is meant -------------------------------------------------- */

/* What of an absolute path is below dir; NULL if it is not. */
static const char *below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	if (!mrmr_path_is_within(path, dir)) {
		return NULL;
	}
	path += len;
	return path + strspn(path, "/");
}

/* Below the spine or a member it is what is below it; else it is taken for a
   pool path that was written with a slash in front. */
static const char *pool_path(const struct mrmr_config *config, char *path)
{
	char *spine = admin_need(
		talloc_asprintf(path, "%s/" SPINE, config->state_dir));
	char *real_spine = admin_real_path(path, spine);
	char *real = admin_real_path(path, path);
	const char *found = below(path, spine);
	size_t i;

	if (found == NULL) {
		found = below(real, real_spine);
	}
	for (i = 0; i < config->num_members && found == NULL; i++) {
		if (config->members[i].kind == MRMR_MEMBER_LOCAL) {
			found = below(path, config->members[i].mount_point);
		}
	}
	return found != NULL ? found : path + 1;
}

static int set_path(struct where *where, const char *word)
{
	const char *why = NULL;
	char *absolute = NULL;
	char *clean = NULL;
	const char *path = NULL;

	if (strcmp(word, "") == 0 || strcmp(word, ".") == 0) {
		word = "/";
	}
	absolute = admin_need(talloc_asprintf(where->admin, "%s%s",
					      word[0] == '/' ? "" : "/", word));
	clean = mrmr_path_clean(where->admin, absolute, &why);
	if (clean == NULL) {
		return admin_fail(where->admin, ADMIN_USAGE,
				  "the path \"%s\" %s", word, why);
	}
	path = word[0] == '/' ? pool_path(where->pool->config, clean)
			      : clean + 1;
	where->path = admin_need(talloc_strdup(where->admin, path));
	if (strcasecmp(path, MRMR_DIR) == 0 ||
	    strncasecmp(path, MRMR_DIR "/", strlen(MRMR_DIR) + 1) == 0) {
		return admin_fail(where->admin, ADMIN_USAGE,
				  "%s is not part of the share", path);
	}
	return ADMIN_GO_ON;
}

/* --- looking -------------------------------------------------------------- */

/* lstat of the path below root_fd, through directories only. */
static int stat_beneath(int root_fd, const char *path, struct stat *st)
{
	const char *slash = strrchr(path, '/');
	char *parent = NULL;
	int result = -1;
	int error;
	int fd;

	if (path[0] == '\0') {
		return fstat(root_fd, st);
	}
	parent = admin_need(
		talloc_strndup(NULL, path,
			       slash != NULL ? (size_t)(slash - path) : 0));
	fd = admin_open_beneath(root_fd, parent);
	error = errno;
	if (fd != -1) {
		result = fstatat(fd, slash != NULL ? slash + 1 : path, st,
				 AT_SYMLINK_NOFOLLOW);
		error = errno;
		close(fd);
	}
	talloc_free(parent);
	errno = error;
	return result;
}

static const char *type_name(mode_t mode)
{
	if (S_ISREG(mode)) {
		return "file";
	}
	if (S_ISDIR(mode)) {
		return "directory";
	}
	if (S_ISLNK(mode)) {
		return "symlink";
	}
	return "special";
}

static void say_away(const struct where *where, const char *shown,
		     const struct stat *st)
{
	const struct where_away *away = &where->away;
	char size[MRMR_SIZE_LEN];

	admin_say(where->admin, "%s  %s, %s; the member is away; %s%s", shown,
		  type_name(st->st_mode),
		  mrmr_size_format((uint64_t)st->st_size, size),
		  !away->is_served       ? "it cannot be read: "
		  : S_ISREG(st->st_mode) ? "it is served from parity"
					 : "it is shown as it was",
		  !away->is_served ? away->why : "");
}

static void take_copy(struct where *where, const struct mrmr_member *member,
		      const struct stat *st)
{
	json_t *copy = admin_need(json_object());
	const char *root = member->config->mount_point;
	char *path =
		admin_need(talloc_asprintf(where->admin, "%s%s%s",
					   strcmp(root, "/") == 0 ? "" : root,
					   where->path[0] != '\0' ? "/" : "",
					   where->path));
	char *shown = admin_printable(path, path);
	char size[MRMR_SIZE_LEN];

	if (where->num_copies == 0) {
		where->st = *st;
		where->member = (size_t)(member - where->pool->members);
	}
	admin_set(copy, "mount_id", admin_json_uuid(&member->config->id));
	admin_set(copy, "name", admin_json_text(mrmr_member_name(member)));
	admin_set(copy, "path", admin_json_text(path));
	admin_set(copy, "type", json_string(type_name(st->st_mode)));
	admin_set(copy, "size_bytes", json_integer(st->st_size));
	admin_set(copy, "mtime", json_integer(st->st_mtim.tv_sec));
	if (where->is_away) {
		admin_set(copy, "is_away", json_true());
		admin_set(copy, "is_served",
			  json_boolean(where->away.is_served));
		admin_set(copy, "why",
			  where->away.is_served
				  ? json_null()
				  : admin_json_text(where->away.why));
	}
	admin_append(where->copies, copy);

	if (where->is_away) {
		say_away(where, shown, st);
	} else if (S_ISDIR(where->st.st_mode) && S_ISDIR(st->st_mode)) {
		admin_say(where->admin, "%s", shown);
	} else {
		admin_say(where->admin, "%s  %s, %s%s", shown,
			  type_name(st->st_mode),
			  mrmr_size_format((uint64_t)st->st_size, size),
			  where->num_copies > 0 ? "; hidden by the one above"
						: "");
	}
	where->num_copies++;
	talloc_free(path);
}

static void look_at_spine(struct where *where)
{
	char *spine =
		admin_need(talloc_asprintf(where->admin, "%s/" SPINE,
					   where->pool->config->state_dir));
	struct stat st = {0};
	int fd = open(spine, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd != -1) {
		where->in_spine = stat_beneath(fd, where->path, &st) == 0;
		close(fd);
		if (where->in_spine && where->num_copies == 0) {
			where->st = st;
		}
	}
}

static int fail_not_found(struct where *where)
{
	const char *hint = "";
	char *shown = admin_printable(where->admin, where->path);

	if (!where->pool->all_online) {
		hint = "; it may be on one that is not there (mrmr-admin "
		       "status)";
	}
	return admin_fail(where->admin, ADMIN_FAILED,
			  "\"%s\" is on no member%s", shown, hint);
}

static void look(struct where *where)
{
	json_t *unseen = admin_need(json_array());
	size_t i;

	for (i = 0; i < where->pool->num_members; i++) {
		const struct mrmr_member *member = &where->pool->members[i];
		struct stat st = {0};

		if (member->state != MRMR_MEMBER_ONLINE) {
			admin_append(unseen,
				     admin_json_uuid(&member->config->id));
		} else if (stat_beneath(member->root_fd, where->path, &st) ==
			   0) {
			take_copy(where, member, &st);
		} else if (errno != ENOENT && errno != ENOTDIR &&
			   errno != ELOOP) {
			admin_note(where->admin, "%s: %s",
				   mrmr_member_name(member), strerror(errno));
		}
	}
	look_at_spine(where);
	admin_set(where->admin->result, "not_looked_at", unseen);
	where->engine = admin_engine_peek(where->admin, &where->is_known);
	if (where->num_copies == 0 && !where->in_spine &&
	    !where->pool->all_online && where->engine != NULL) {
		where->is_away = where_away(where->admin, where->engine,
					    where->path, &where->away);
	}
	if (where->is_away) {
		take_copy(where, &where->pool->members[where->away.member],
			  &where->away.st);
	}
}

static int report_protection(const struct where *where)
{
	struct where_thing thing = {
		.path = where->path,
		.st = where->st,
		.member = where->member,
		.is_away = where->is_away,
		.is_served = where->away.is_served,
		.why_not = where->away.why,
		.node = where->away.node,
	};

	return where_parity(where->admin, where->engine, where->is_known,
			    mrmr_pool_rows(where->engine != NULL
						   ? where->engine->pool
						   : where->pool),
			    where->all_blocks, &thing);
}

static int report(struct where *where)
{
	struct admin *admin = where->admin;
	const char *type = "directory";
	int status;

	admin_set(admin->result, "path", admin_json_text(where->path));
	admin_set(admin->result, "in_spine", json_boolean(where->in_spine));
	admin_set(admin->result, "copies", where->copies);
	if (where->num_copies == 0 && !where->in_spine) {
		return fail_not_found(where);
	}
	if (where->num_copies > 0) {
		type = type_name(where->st.st_mode);
	} else {
		admin_say(admin, "a directory without files on any member that "
				 "is there");
	}
	admin_set(admin->result, "type", json_string(type));
	status = report_protection(where);
	if (where->is_away && where->away.is_served && status == ADMIN_OK) {
		status = ADMIN_DEGRADED;
	}
	return status;
}

static int run(struct admin *admin, const struct admin_verb *verb, int argc,
	       const char **argv)
{
	struct where where = {.admin = admin};
	const struct poptOption options[] = {
		{"verbose", 'v', POPT_ARG_NONE, &where.all_blocks, 0,
		 "tell every block of the file", NULL},
		POPT_TABLEEND,
	};
	struct mrmr_config *config = NULL;
	const char **words = NULL;
	int status =
		admin_parse(admin, verb, options, argc, argv, 1, 1, &words);

	if (status != ADMIN_GO_ON) {
		return status;
	}
	config = admin_config(admin);
	if (config == NULL) {
		return ADMIN_CONFIG;
	}
	where.pool = admin_members_look(admin, config);
	where.copies = admin_need(json_array());
	status = set_path(&where, words[0]);
	if (status == ADMIN_GO_ON) {
		look(&where);
		status = report(&where);
	} else {
		json_decref(where.copies);
	}
	admin_engine_close(where.engine);
	talloc_free(where.pool);
	return status;
}

const struct admin_verb admin_verb_where = {
	.name = "where",
	.arguments = "PATH",
	.summary = "say on which member a file is, and what protects it",
	.help = "Says which members have PATH, a path within the share, or an "
		"absolute one below\n"
		"the spine or a member. The first line is what is in the "
		"share; a directory may\n"
		"be on several members. Of a file whose member is away it says "
		"whether it is served\n"
		"from parity, or cannot be read now, and why.\n"
		"Then whether it is protected: protected, pending (new or "
		"changed), not protected,\n"
		"at risk (one more drive lost would be too many), or lost; in "
		"how many stripes it\n"
		"is, and which members have their parity blocks, and blocks "
		"beside it. Exit status\n"
		"1: it is not protected as the pool is to be, or is served "
		"from parity. 2: it cannot\n"
		"be had.\n",
	.needs_root = true,
	.run = run,
};
