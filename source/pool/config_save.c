/*
 * MRMR: config writer. What has its default value is left out, so that the
 * file stays as short as what a person would have written.
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

#include <mrmr/file.h>

#include "config_private.h"

/*
 * jansson's "_new" functions take the value over and fail when it is NULL, so
 * a failed allocation anywhere ends as a failed set; these gather the results.
 */
static void set(json_t *object, bool *ok, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) == -1) {
		*ok = false;
	}
}

static void set_string(json_t *object, bool *ok, const char *key,
		       const char *text)
{
	if (text != NULL) {
		set(object, ok, key, json_string(text));
	}
}

static void set_uuid(json_t *object, bool *ok, const char *key,
		     const struct mrmr_uuid *uuid)
{
	char text[MRMR_UUID_LEN + 1];

	mrmr_uuid_format(uuid, text);
	set(object, ok, key, json_string(text));
}

static void set_size(json_t *object, bool *ok, const char *key, uint64_t bytes)
{
	char text[MRMR_SIZE_LEN];

	set(object, ok, key, json_string(mrmr_size_format_exact(bytes, text)));
}

static json_t *parity_to_json(const struct mrmr_parity_wish *parity, bool *ok)
{
	json_t *object = NULL;

	if (parity->min == parity->max) {
		return json_integer(parity->min);
	}
	if (parity->min == 0 && parity->max == UINT_MAX) {
		return json_string("max");
	}
	object = json_object();
	set(object, ok, "min", json_integer(parity->min));
	if (parity->max == UINT_MAX) {
		set_string(object, ok, "max", "max");
	} else {
		set(object, ok, "max", json_integer(parity->max));
	}
	return object;
}

static json_t *connection_to_json(const struct mrmr_member_config *member,
				  bool *ok)
{
	const struct mrmr_connection *connection = &member->connection;
	bool is_smb = member->kind == MRMR_MEMBER_SMB;
	json_t *object = json_object();

	set_string(object, ok, "type", is_smb ? "smb" : "ssh");
	set_string(object, ok, "host", connection->host);
	if (connection->port != 0) {
		set(object, ok, "port", json_integer(connection->port));
	}
	set_string(object, ok, "share", connection->share);
	set_string(object, ok, "mount", connection->mount);
	set_string(object, ok, "user", connection->user);
	set_string(object, ok, "credentials", connection->credentials);
	return object;
}

static json_t *member_to_json(const struct mrmr_config *config,
			      const struct mrmr_member_config *member, bool *ok)
{
	json_t *object = json_object();

	set_uuid(object, ok, "drive_id", &member->id);
	if (member->kind == MRMR_MEMBER_LOCAL) {
		set_string(object, ok, "mount_point", member->mount_point);
	} else {
		set(object, ok, "connection", connection_to_json(member, ok));
	}
	if (member->role == MRMR_ROLE_DATA) {
		set_string(object, ok, "role", "data");
	} else if (member->role == MRMR_ROLE_PARITY) {
		set_string(object, ok, "role", "parity");
	}
	set_string(object, ok, "stack", member->stack);
	if (member->tier != 0) {
		set(object, ok, "tier", json_integer(member->tier));
	}
	if (member->min_free_bytes != config->min_free_bytes) {
		set_size(object, ok, "min_free", member->min_free_bytes);
	}
	if (member->is_removable) {
		set(object, ok, "is_removable", json_true());
	}
	return object;
}

static json_t *rule_to_json(const struct mrmr_config *config,
			    const struct mrmr_rule_config *rule, bool *ok)
{
	json_t *object = json_object();
	json_t *members = NULL;
	size_t i;

	set_string(object, ok, "match", rule->pattern);
	set_string(object, ok, "placement", rule->placement);
	if (rule->members == NULL) {
		return object;
	}
	members = json_array();
	for (i = 0; i < rule->num_members; i++) {
		char id[MRMR_UUID_LEN + 1];

		mrmr_uuid_format(&config->members[rule->members[i]].id, id);
		if (json_array_append_new(members, json_string(id)) == -1) {
			*ok = false;
		}
	}
	set(object, ok, "members", members);
	return object;
}

static void set_arrays(json_t *root, bool *ok, const struct mrmr_config *config)
{
	json_t *mounts = json_array();
	json_t *rules = NULL;
	size_t i;

	for (i = 0; i < config->num_members; i++) {
		json_t *member =
			member_to_json(config, &config->members[i], ok);

		if (json_array_append_new(mounts, member) == -1) {
			*ok = false;
		}
	}
	set(root, ok, "mounts", mounts);
	if (config->num_rules == 0) {
		return;
	}
	rules = json_array();
	for (i = 0; i < config->num_rules; i++) {
		json_t *rule = rule_to_json(config, &config->rules[i], ok);

		if (json_array_append_new(rules, rule) == -1) {
			*ok = false;
		}
	}
	set(root, ok, "rules", rules);
}

char *mrmr_config_format(void *mem_ctx, const struct mrmr_config *config)
{
	json_t *root = json_object();
	char *dumped = NULL;
	char *text = NULL;
	bool ok = root != NULL;

	set_uuid(root, &ok, "drive_id", &config->pool_id);
	set(root, &ok, "parity_drives", parity_to_json(&config->parity, &ok));
	set_string(root, &ok, "state_dir", config->state_dir);
	set_string(root, &ok, "placement", config->placement);
	if (config->block_size_bytes != MRMR_BLOCK_SIZE_DEFAULT) {
		set_size(root, &ok, "block_size", config->block_size_bytes);
	}
	if (config->min_free_bytes != 0) {
		set_size(root, &ok, "min_free", config->min_free_bytes);
	}
	if (config->trash_days != MRMR_TRASH_DAYS_DEFAULT) {
		set(root, &ok, "trash_days", json_integer(config->trash_days));
	}
	if (config->trash_max_percent != MRMR_TRASH_MAX_PERCENT_DEFAULT) {
		set(root, &ok, "trash_max_percent",
		    json_integer(config->trash_max_percent));
	}
	if (config->undo_max_bytes != MRMR_UNDO_MAX_BYTES_DEFAULT) {
		set_size(root, &ok, "undo_max_bytes", config->undo_max_bytes);
	}
	set_arrays(root, &ok, config);
	if (ok) {
		dumped = json_dumps(root, JSON_INDENT(2));
	}
	json_decref(root);
	if (dumped != NULL) {
		text = talloc_asprintf(mem_ctx, "%s\n", dumped);
	}
	free(dumped);
	return text;
}

/* The directory and the name that a save writes to: where a symlink leads. */
static char *final_path(void *mem_ctx, const char *path)
{
	char *real = realpath(path, NULL);
	char *copy = talloc_strdup(mem_ctx, real != NULL ? real : path);

	free(real);
	return copy;
}

static int write_text(const char *path, const char *text)
{
	struct mrmr_file_attributes attributes = {.mode = 0644,
						  .uid = (uid_t)-1,
						  .gid = (gid_t)-1};
	char *final = final_path(NULL, path);
	struct stat st = {0};
	char *slash = NULL;
	int result = -1;
	int error = ENOMEM;
	int dir_fd;

	if (final == NULL) {
		errno = error;
		return -1;
	}
	if (stat(final, &st) == 0) {
		attributes.mode = st.st_mode & 07777;
		attributes.uid = st.st_uid;
		attributes.gid = st.st_gid;
	}
	slash = strrchr(final, '/');
	if (slash == NULL) {
		dir_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	} else {
		*slash = '\0';
		dir_fd = open(slash == final ? "/" : final,
			      O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (dir_fd != -1) {
		result = mrmr_file_write(dir_fd,
					 slash != NULL ? slash + 1 : final,
					 text, strlen(text), &attributes, true);
	}
	error = errno;
	if (dir_fd != -1) {
		close(dir_fd);
	}
	talloc_free(final);
	errno = error;
	return result;
}

int mrmr_config_save(const struct mrmr_config *config, const char *path,
		     struct mrmr_error *err)
{
	char *text = mrmr_config_format(NULL, config);
	int result = 0;

	if (text == NULL) {
		return mrmr_error_set(err, ENOMEM,
				      "%s: not enough memory to write it",
				      path);
	}
	if (write_text(path, text) == -1) {
		int error = errno;

		result = mrmr_error_set(err, error, "%s: can't be written: %s",
					path, strerror(error));
	}
	talloc_free(text);
	return result;
}
