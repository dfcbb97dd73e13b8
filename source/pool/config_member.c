/*
 * MRMR: config reader, the keys of one member and of its connection.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdint.h>
#include <string.h>

#include <talloc.h>

#include "config_private.h"

#define TIER_MAX 999

/* A word of a list, to the enum value that is its index in words. */
static int read_choice(struct mrmr_config_reader *reader,
		       const struct mrmr_json_place *place, const json_t *value,
		       const char *const *words, const char *wanted)
{
	const char *text = json_string_value(value);
	int i;

	if (text == NULL) {
		return mrmr_config_fail_type(reader, place, value, wanted);
	}
	for (i = 0; words[i] != NULL; i++) {
		if (strcmp(words[i], text) == 0) {
			return i;
		}
	}
	return mrmr_config_fail(reader, place, "is \"%s\", and must be %s",
				text, wanted);
}

static int read_role(struct mrmr_config_reader *reader,
		     const struct mrmr_json_place *place, const json_t *value,
		     const struct mrmr_config_key *key, void *target)
{
	/* in the order of enum mrmr_member_role */
	static const char *const words[] = {"any", "data", "parity", NULL};
	enum mrmr_member_role *role = target;
	int choice = read_choice(reader, place, value, words,
				 "\"any\", \"data\" or \"parity\"");

	if (choice == -1) {
		return -1;
	}
	*role = (enum mrmr_member_role)choice;
	return 0;
}

/* --- connection ----------------------------------------------------------- */

static int read_connection_type(struct mrmr_config_reader *reader,
				const struct mrmr_json_place *place,
				const json_t *value,
				const struct mrmr_config_key *key, void *target)
{
	static const char *const words[] = {"smb", "ssh", NULL};
	struct mrmr_member_config *member = target;
	int choice =
		read_choice(reader, place, value, words, "\"smb\" or \"ssh\"");

	if (choice == -1) {
		return -1;
	}
	member->kind = choice == 0 ? MRMR_MEMBER_SMB : MRMR_MEMBER_SSH;
	return 0;
}

static int read_word_without(struct mrmr_config_reader *reader,
			     const struct mrmr_json_place *place,
			     const json_t *value,
			     const struct mrmr_config_key *key, void *target,
			     const char *refused)
{
	char **word = target;
	size_t good;

	if (mrmr_config_read_word(reader, place, value, key, target) == -1) {
		return -1;
	}
	good = strcspn(*word, refused);
	if ((*word)[good] != '\0') {
		return mrmr_config_fail(reader, place,
					"\"%s\" has '%c' in it, which does not "
					"belong into a %s",
					*word, (*word)[good], key->name);
	}
	return 0;
}

static int read_host(struct mrmr_config_reader *reader,
		     const struct mrmr_json_place *place, const json_t *value,
		     const struct mrmr_config_key *key, void *target)
{
	return read_word_without(reader, place, value, key, target,
				 " /\\@[]\"'?#");
}

static int read_share(struct mrmr_config_reader *reader,
		      const struct mrmr_json_place *place, const json_t *value,
		      const struct mrmr_config_key *key, void *target)
{
	return read_word_without(reader, place, value, key, target,
				 "/\\:*?\"<>|");
}

#define CONNECTION(field)                                 \
	offsetof(struct mrmr_member_config, connection) + \
		offsetof(struct mrmr_connection, field)

static const struct mrmr_config_key connection_keys[] = {
	{.name = "type", .read = read_connection_type, .required = true},
	{.name = "host",
	 .read = read_host,
	 .offset = CONNECTION(host),
	 .required = true},
	{.name = "share", .read = read_share, .offset = CONNECTION(share)},
	{.name = "mount",
	 .read = mrmr_config_read_path,
	 .offset = CONNECTION(mount)},
	{.name = "credentials",
	 .read = mrmr_config_read_path,
	 .offset = CONNECTION(credentials)},
	{.name = "user",
	 .read = mrmr_config_read_word,
	 .offset = CONNECTION(user)},
	{.name = "port",
	 .read = mrmr_config_read_number,
	 .offset = CONNECTION(port),
	 .min = 1,
	 .max = UINT16_MAX},
	{.name = NULL},
};

static int read_connection(struct mrmr_config_reader *reader,
			   const struct mrmr_json_place *place,
			   const json_t *value,
			   const struct mrmr_config_key *key, void *target)
{
	struct mrmr_member_config *member = target;
	struct mrmr_connection *connection = &member->connection;
	struct mrmr_json_place share = {.parent = place, .key = "share"};

	if (mrmr_config_read_object(reader, place, value, connection_keys,
				    member) == -1) {
		return -1;
	}
	if (member->kind == MRMR_MEMBER_SMB && connection->share == NULL) {
		return mrmr_config_fail(reader, place,
					"the key \"share\" is missing: the "
					"name of the share on %s",
					connection->host);
	}
	if (member->kind == MRMR_MEMBER_SSH && connection->share != NULL) {
		return mrmr_config_fail(reader, &share,
					"an ssh connection has no share; the "
					"directory there goes to \"mount\"");
	}
	if (connection->mount == NULL) {
		connection->mount = talloc_strdup(reader->config, "/");
		if (connection->mount == NULL) {
			return mrmr_config_fail_memory(reader);
		}
	}
	return 0;
}

/* --- members -------------------------------------------------------------- */

static const struct mrmr_config_key member_keys[] = {
	{.name = "drive_id",
	 .read = mrmr_config_read_uuid,
	 .offset = offsetof(struct mrmr_member_config, id),
	 .required = true},
	{.name = "mount_point",
	 .read = mrmr_config_read_path,
	 .offset = offsetof(struct mrmr_member_config, mount_point)},
	{.name = "connection", .read = read_connection},
	{.name = "role",
	 .read = read_role,
	 .offset = offsetof(struct mrmr_member_config, role)},
	{.name = "stack",
	 .read = mrmr_config_read_word,
	 .offset = offsetof(struct mrmr_member_config, stack)},
	{.name = "tier",
	 .read = mrmr_config_read_number,
	 .offset = offsetof(struct mrmr_member_config, tier),
	 .max = TIER_MAX},
	{.name = "min_free",
	 .read = mrmr_config_read_size,
	 .offset = offsetof(struct mrmr_member_config, min_free_bytes),
	 .max = INT64_MAX},
	{.name = "is_removable",
	 .read = mrmr_config_read_bool,
	 .offset = offsetof(struct mrmr_member_config, is_removable)},
	{.name = NULL},
};

/* "smb://host/share/mount", "sftp://host/mount"; ports only if they differ. */
static char *connection_name(void *mem_ctx,
			     const struct mrmr_member_config *member)
{
	const struct mrmr_connection *connection = &member->connection;
	bool is_smb = member->kind == MRMR_MEMBER_SMB;
	bool is_ipv6 = strchr(connection->host, ':') != NULL;
	char *name = NULL;

	name = talloc_asprintf(mem_ctx, "%s://%s%s%s", is_smb ? "smb" : "sftp",
			       is_ipv6 ? "[" : "", connection->host,
			       is_ipv6 ? "]" : "");
	if (connection->port != 0) {
		name = talloc_asprintf_append(name, ":%u", connection->port);
	}
	if (is_smb) {
		name = talloc_asprintf_append(name, "/%s", connection->share);
	}
	if (strcmp(connection->mount, "/") != 0) {
		name = talloc_strdup_append(name, connection->mount);
	}
	return name;
}

static int read_member(struct mrmr_config_reader *reader,
		       const struct mrmr_json_place *place, const json_t *value,
		       struct mrmr_member_config *member)
{
	bool has_path = false;
	bool has_connection = false;

	*member = (struct mrmr_member_config){
		.kind = MRMR_MEMBER_LOCAL,
		.role = MRMR_ROLE_DATA_AND_PARITY,
		.min_free_bytes = reader->config->min_free_bytes,
		.line = mrmr_json_place_line(place, reader->text, reader->len),
	};
	if (mrmr_config_read_object(reader, place, value, member_keys,
				    member) == -1) {
		return -1;
	}
	has_path = member->mount_point != NULL;
	has_connection = json_object_get(value, "connection") != NULL;
	if (has_path && has_connection) {
		return mrmr_config_fail(reader, place,
					"has both \"mount_point\" and "
					"\"connection\"; a member is either "
					"local or remote");
	}
	if (!has_path && !has_connection) {
		return mrmr_config_fail(reader, place,
					"the key \"mount_point\" is missing "
					"(or \"connection\", for a remote "
					"member)");
	}
	if (has_path) {
		member->name = member->mount_point;
	} else {
		member->name = connection_name(reader->config, member);
	}
	return member->name != NULL ? 0 : mrmr_config_fail_memory(reader);
}

int mrmr_config_read_members(struct mrmr_config_reader *reader,
			     const struct mrmr_json_place *place,
			     const json_t *value,
			     const struct mrmr_config_key *key, void *target)
{
	struct mrmr_config *config = reader->config;
	size_t num = json_array_size(value);
	size_t i;

	if (!json_is_array(value)) {
		return mrmr_config_fail_type(reader, place, value,
					     "an array of members, [ ... ]");
	}
	if (num == 0) {
		return mrmr_config_fail(reader, place,
					"is empty; a pool has at least one "
					"member");
	}
	if (num > MRMR_MEMBERS_MAX) {
		return mrmr_config_fail(reader, place,
					"has %zu members; a pool has at most "
					"%d",
					num, MRMR_MEMBERS_MAX);
	}
	config->members = talloc_zero_array(config, struct mrmr_member_config,
					    (unsigned int)num);
	if (config->members == NULL) {
		return mrmr_config_fail_memory(reader);
	}
	for (i = 0; i < num; i++) {
		struct mrmr_json_place below = {.parent = place, .index = i};

		if (read_member(reader, &below, json_array_get(value, i),
				&config->members[i]) == -1) {
			return -1;
		}
		config->num_members++;
	}
	if (mrmr_config_check_members(reader, place) == -1) {
		return -1;
	}
	return mrmr_config_check_parity(reader);
}
