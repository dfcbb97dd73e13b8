/*
 * mrmr-admin: a directory that is to become a member (see recruit.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/lasting.h>
#include <mrmr/path.h>

#include "recruit.h"

char *admin_real_path(void *mem_ctx, const char *path)
{
	char *head = admin_need(talloc_strdup(NULL, path));
	char *real = realpath(head, NULL);
	char *result = NULL;
	const char *tail = "";

	while (real == NULL) {
		char *slash = strrchr(head, '/');

		if (slash == NULL || slash == head) {
			real = strdup("");
			tail = path;
			break;
		}
		*slash = '\0';
		tail = path + (slash - head);
		real = realpath(head, NULL);
	}
	admin_need(real);
	result = admin_need(
		talloc_asprintf(mem_ctx, "%s%s",
				strcmp(real, "/") == 0 && tail[0] == '/' ? ""
									 : real,
				tail));
	free(real);
	talloc_free(head);
	return result;
}

/* --- looking -------------------------------------------------------------- */

static bool is_remote(const char *word)
{
	return strncasecmp(word, "smb://", 6) == 0 ||
	       strncasecmp(word, "sftp://", 7) == 0 ||
	       strncasecmp(word, "ssh://", 6) == 0;
}

static int close_root(struct recruit *recruit)
{
	if (recruit->root_fd != -1) {
		close(recruit->root_fd);
	}
	return 0;
}

static int open_root(struct admin *admin, struct recruit *recruit)
{
	struct statvfs fs = {0};
	struct stat st = {0};

	recruit->root_fd =
		open(recruit->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (recruit->root_fd == -1 || fstat(recruit->root_fd, &st) == -1 ||
	    fstatvfs(recruit->root_fd, &fs) == -1) {
		return admin_fail(admin, ADMIN_FAILED,
				  "%s can't be a member: %s%s", recruit->path,
				  strerror(errno),
				  errno == ENOENT ? "; mount the drive, or "
						    "make the directory"
						  : "");
	}
	if (fs.f_flag & ST_RDONLY) {
		return admin_fail(admin, ADMIN_FAILED,
				  "%s can't be a member: it is mounted "
				  "read-only",
				  recruit->path);
	}
	recruit->dev = st.st_dev;
	return ADMIN_GO_ON;
}

static int fail_other_pool(struct admin *admin, const struct recruit *recruit,
			   const struct mrmr_marker *found)
{
	char pool[MRMR_UUID_LEN + 1];

	mrmr_uuid_format(&found->pool_id, pool);
	return admin_fail(admin, ADMIN_FAILED,
			  "%s is a member of another pool, %s; if that pool is "
			  "no more, remove %s/" MRMR_DIR "/" MRMR_MARKER_NAME
			  ", or make its config again with mrmr-admin init "
			  "--drive-id %s",
			  recruit->path, pool, recruit->path, pool);
}

/* Who it is: whom its marker names, or somebody new. */
static int identify(struct admin *admin, struct recruit *recruit,
		    const struct mrmr_uuid *pool_id)
{
	struct mrmr_marker found = {0};
	struct mrmr_error err = {0};

	if (mrmr_marker_read(recruit->root_fd, recruit->path, &found, &err) ==
	    0) {
		if (!mrmr_uuid_equal(&found.pool_id, pool_id)) {
			return fail_other_pool(admin, recruit, &found);
		}
		recruit->marker = found;
		recruit->has_marker = true;
		return ADMIN_GO_ON;
	}
	if (err.code != ENOENT) {
		return admin_fail(admin, ADMIN_FAILED,
				  "%s; look at it, and remove it if it is not "
				  "needed",
				  err.text);
	}
	recruit->marker.pool_id = *pool_id;
	if (mrmr_uuid_generate(&recruit->marker.member_id) == -1) {
		return admin_fail(admin, ADMIN_FAILED,
				  "no random numbers for an id: %s",
				  strerror(errno));
	}
	return ADMIN_GO_ON;
}

struct recruit *admin_recruit_look(struct admin *admin, const char *word,
				   const struct mrmr_uuid *pool_id, int *status)
{
	struct recruit *recruit = NULL;
	const char *why = NULL;

	if (is_remote(word)) {
		*status = admin_fail(admin, ADMIN_FAILED,
				     "%s: remote members are not built yet; a "
				     "member is a local directory in this "
				     "version",
				     word);
		return NULL;
	}
	recruit = admin_need(talloc_zero(admin, struct recruit));
	recruit->root_fd = -1;
	talloc_set_destructor(recruit, close_root);
	recruit->path = mrmr_path_absolute(recruit, word, &why);
	if (recruit->path == NULL) {
		*status = admin_fail(admin, ADMIN_USAGE, "the path \"%s\" %s",
				     word, why);
		talloc_free(recruit);
		return NULL;
	}
	recruit->real_path = admin_real_path(recruit, recruit->path);
	*status = open_root(admin, recruit);
	if (*status == ADMIN_GO_ON) {
		*status = identify(admin, recruit, pool_id);
	}
	if (*status != ADMIN_GO_ON) {
		talloc_free(recruit);
		return NULL;
	}
	return recruit;
}

/* Also by way of a bind mount. */
static bool is_same_directory(const struct recruit *recruit, const char *path)
{
	struct stat a = {0};
	struct stat b = {0};

	return fstat(recruit->root_fd, &a) == 0 && stat(path, &b) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int admin_recruit_compare(struct admin *admin, const struct recruit *recruit,
			  const char *other_path)
{
	char *other = admin_real_path(NULL, other_path);
	int status = ADMIN_GO_ON;

	if (strcmp(recruit->real_path, other) == 0 ||
	    is_same_directory(recruit, other)) {
		status = admin_fail(admin, ADMIN_FAILED,
				    "%s and %s are the same directory",
				    recruit->path, other_path);
	} else if (mrmr_path_is_within(recruit->real_path, other)) {
		status = admin_fail(admin, ADMIN_FAILED,
				    "%s can't be a member: it is inside %s",
				    recruit->path, other_path);
	} else if (mrmr_path_is_within(other, recruit->real_path)) {
		status = admin_fail(admin, ADMIN_FAILED,
				    "%s can't be a member: %s is inside it",
				    recruit->path, other_path);
	}
	talloc_free(other);
	return status;
}

/* --- joining a config ------------------------------------------------------- */

static void note_file_system(struct admin *admin, const struct recruit *recruit,
			     const struct mrmr_config *config)
{
	const char *unlasting = mrmr_inodes_do_not_last(recruit->root_fd);
	struct stat st = {0};
	size_t i;

	if (unlasting != NULL && config->parity.max > 0) {
		admin_note(admin, ADMIN_UNLASTING_TEXT, recruit->path,
			   unlasting);
	}

	for (i = 0; i < config->num_members; i++) {
		const char *path = config->members[i].mount_point;

		if (path != NULL && stat(path, &st) == 0 &&
		    st.st_dev == recruit->dev) {
			admin_note(admin,
				   "%s and %s are on one file system, and will "
				   "be lost together",
				   path, recruit->path);
			return;
		}
	}
}

int admin_recruit_check(struct admin *admin, const struct recruit *recruit,
			const struct mrmr_config *config)
{
	int status = ADMIN_GO_ON;
	size_t i;

	for (i = 0; i < config->num_members && status == ADMIN_GO_ON; i++) {
		const struct mrmr_member_config *member = &config->members[i];

		if (member->kind != MRMR_MEMBER_LOCAL) {
			continue;
		}
		if (strcmp(member->mount_point, recruit->path) == 0) {
			return admin_fail(admin, ADMIN_FAILED,
					  "%s is a member already",
					  recruit->path);
		}
		if (mrmr_uuid_equal(&member->id, &recruit->marker.member_id)) {
			return admin_fail(admin, ADMIN_FAILED,
					  "%s has the marker of the member %s; "
					  "if it moved, change the "
					  "\"mount_point\" in %s, line %u",
					  recruit->path, member->mount_point,
					  config->path, member->line);
		}
		status = admin_recruit_compare(admin, recruit,
					       member->mount_point);
	}
	if (status == ADMIN_GO_ON) {
		status = admin_recruit_compare(admin, recruit,
					       config->state_dir);
	}
	if (status == ADMIN_GO_ON) {
		note_file_system(admin, recruit, config);
	}
	return status;
}

void admin_recruit_append(const struct recruit *recruit,
			  struct mrmr_config *config)
{
	struct mrmr_member_config *member = NULL;

	config->members = admin_need(
		talloc_realloc(config, config->members,
			       struct mrmr_member_config,
			       (unsigned int)config->num_members + 1));
	member = &config->members[config->num_members++];
	*member = (struct mrmr_member_config){
		.id = recruit->marker.member_id,
		.kind = MRMR_MEMBER_LOCAL,
		.mount_point = recruit->path,
		.name = recruit->path,
		.min_free_bytes = config->min_free_bytes,
	};
}

/* --- marking -------------------------------------------------------------- */

int admin_recruit_mark(struct admin *admin, struct recruit *recruit)
{
	struct mrmr_error err = {0};

	if (recruit->has_marker) {
		return ADMIN_GO_ON;
	}
	if (!admin_step(admin, "mark %s as a member", recruit->path)) {
		return ADMIN_GO_ON;
	}
	if (mrmr_marker_write(recruit->root_fd, recruit->path, &recruit->marker,
			      &err) == -1) {
		return admin_fail(admin, ADMIN_FAILED, "%s", err.text);
	}
	recruit->is_marked = true;
	return ADMIN_GO_ON;
}

void admin_recruit_undo(struct admin *admin, struct recruit *recruit)
{
	struct mrmr_error err = {0};

	if (recruit->is_marked &&
	    mrmr_marker_remove(recruit->root_fd, recruit->path,
			       &recruit->marker, &err) == -1) {
		admin_note(admin, "%s", err.text);
	}
	recruit->is_marked = false;
}
