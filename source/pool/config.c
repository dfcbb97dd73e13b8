/*
 * MRMR: the pool's configuration file.
 *
 * The text becomes JSON values (jansson, which refuses what is not JSON and
 * keys that come twice); tables of keys say what each object may have and who
 * reads it; what is read goes straight into struct mrmr_config; and what one
 * value alone can't show (a member inside another) is checked once the members
 * are there. The first thing that is wrong ends it, with its line and key.
 *
 *     config.c         from a file to a config; finding members in it
 *     config_read.c    objects and plain values, and how a reading fails
 *     config_pool.c    the keys of the pool: start here
 *     config_member.c  the keys of "mounts" and "connection"
 *     config_rule.c    the keys of "rules"
 *     config_check.c   members against each other, parity against members
 *     config_save.c    from a config to a file
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <talloc.h>

#include <mrmr/file.h>
#include <mrmr/path.h>

#include "config_private.h"

#define FILE_MAX_BYTES (4u << 20)
#define PREFIX_MIN_LEN 4

/* --- from text ------------------------------------------------------------ */

/* jansson's "duplicate object key near '"x"'" to the key x, in place. */
static char *duplicate_key(char *text)
{
	char *begin = strstr(text, "near '\"");
	char *end = strrchr(text, '"');

	if (begin == NULL) {
		return NULL;
	}
	begin += strlen("near '\"");
	if (end == NULL || end < begin) {
		return NULL;
	}
	*end = '\0';
	return begin;
}

static int fail_json(struct mrmr_config_reader *reader, json_error_t *json_err)
{
	const char *path = reader->config->path;
	const char *hint = "";
	char *key = NULL;
	int line = json_err->line > 0 ? json_err->line : 1;

	switch (json_error_code(json_err)) {
	case json_error_out_of_memory:
		return mrmr_config_fail_memory(reader);
	case json_error_duplicate_key:
		key = duplicate_key(json_err->text);
		return mrmr_error_set(reader->err, EINVAL,
				      "%s:%d: %s: is there twice; remove one",
				      path, line, key != NULL ? key : "a key");
	default:
		break;
	}
	if (strstr(json_err->text, "near '/'") != NULL ||
	    strstr(json_err->text, "near '#'") != NULL) {
		hint = " (there are no comments in JSON)";
	}
	return mrmr_error_set(reader->err, EINVAL,
			      "%s:%d: not valid JSON: %s%s", path, line,
			      json_err->text, hint);
}

static int parse(struct mrmr_config_reader *reader)
{
	json_error_t json_err = {0};
	json_t *root = NULL;
	int result;

	if (mrmr_json_place_line(NULL, reader->text, reader->len) == 0) {
		return mrmr_error_set(reader->err, EINVAL,
				      "%s:1: the file is empty; \"mrmr-admin "
				      "init\" makes a config",
				      reader->config->path);
	}
	if (reader->len >= 3 && memcmp(reader->text, "\xef\xbb\xbf", 3) == 0) {
		return mrmr_error_set(reader->err, EINVAL,
				      "%s:1: begins with a byte order mark; "
				      "save it as UTF-8 without one",
				      reader->config->path);
	}
	root = json_loadb(reader->text, reader->len,
			  JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &json_err);
	if (root == NULL) {
		return fail_json(reader, &json_err);
	}
	result = mrmr_config_read_object(reader, NULL, root,
					 mrmr_config_pool_keys, reader->config);
	json_decref(root);
	return result;
}

struct mrmr_config *mrmr_config_parse(void *mem_ctx, const char *path,
				      const char *text, size_t len,
				      struct mrmr_error *err)
{
	struct mrmr_error unwanted = {0};
	struct mrmr_config_reader reader = {
		.text = text,
		.len = len,
		.err = err != NULL ? err : &unwanted,
	};
	struct mrmr_config *config = NULL;

	config = talloc_zero(mem_ctx, struct mrmr_config);
	if (config == NULL) {
		mrmr_error_set(err, ENOMEM, "%s: not enough memory to read it",
			       path);
		return NULL;
	}
	reader.config = config;
	config->block_size_bytes = MRMR_BLOCK_SIZE_DEFAULT;
	config->trash_days = MRMR_TRASH_DAYS_DEFAULT;
	config->trash_max_percent = MRMR_TRASH_MAX_PERCENT_DEFAULT;
	config->undo_max_bytes = MRMR_UNDO_MAX_BYTES_DEFAULT;
	config->path = talloc_strdup(config, path);
	config->placement = talloc_strdup(config, MRMR_PLACEMENT_DEFAULT);
	if (config->path == NULL || config->placement == NULL) {
		mrmr_config_fail_memory(&reader);
	} else if (parse(&reader) == 0) {
		return config;
	}
	talloc_free(config);
	errno = reader.err->code;
	return NULL;
}

/* --- from a file ---------------------------------------------------------- */

static char *read_text(void *mem_ctx, const char *path, size_t *len,
		       struct mrmr_error *err)
{
	char *text = NULL;
	/* not to wait for a writer if it is a pipe */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd != -1) {
		text = mrmr_file_read_fd(mem_ctx, fd, FILE_MAX_BYTES, len);
	}
	if (text == NULL) {
		int error = errno;

		if (fd != -1) {
			close(fd);
		}
		switch (error) {
		case ENOENT:
			mrmr_error_set(err, error,
				       "%s: there is no such file; "
				       "\"mrmr-admin init\" makes a config",
				       path);
			break;
		case EISDIR:
		case EINVAL:
			mrmr_error_set(err, EINVAL, "%s: is not a file", path);
			break;
		case EFBIG:
			mrmr_error_set(err, EINVAL,
				       "%s: is larger than %u MiB, and can't "
				       "be a config",
				       path, FILE_MAX_BYTES >> 20);
			break;
		default:
			mrmr_error_set(err, error, "%s: can't be read: %s",
				       path, strerror(error));
		}
		return NULL;
	}
	close(fd);
	return text;
}

struct mrmr_config *mrmr_config_load(void *mem_ctx, const char *path,
				     struct mrmr_error *err)
{
	struct mrmr_config *config = NULL;
	const char *why = NULL;
	char *absolute = NULL;
	char *text = NULL;
	size_t len = 0;

	absolute = mrmr_path_absolute(mem_ctx, path, &why);
	if (absolute == NULL) {
		mrmr_error_set(err, EINVAL, "the config's path \"%s\" %s", path,
			       why);
		return NULL;
	}
	text = read_text(absolute, absolute, &len, err);
	if (text != NULL) {
		config = mrmr_config_parse(mem_ctx, absolute, text, len, err);
	}
	if (config == NULL) {
		int error = errno;

		talloc_free(absolute);
		errno = error;
		return NULL;
	}
	talloc_free(absolute);
	return config;
}

/* --- members -------------------------------------------------------------- */

const char *mrmr_member_config_name(const struct mrmr_member_config *member)
{
	return member->name != NULL ? member->name : member->mount_point;
}

static int find_by_name(const struct mrmr_config *config, const char *word)
{
	const char *why = NULL;
	char *path = mrmr_path_clean(NULL, word, &why);
	const char *wanted = path != NULL ? path : word;
	int found = -1;
	size_t i;

	for (i = 0; i < config->num_members && found == -1; i++) {
		const char *name = mrmr_member_config_name(&config->members[i]);

		if (name != NULL && strcmp(name, wanted) == 0) {
			found = (int)i;
		}
	}
	talloc_free(path);
	return found;
}

static int fail_not_unique(const struct mrmr_config *config, const char *word,
			   struct mrmr_error *err)
{
	char *list = talloc_strdup(NULL, "");
	const char *comma = "";
	char id[MRMR_UUID_LEN + 1];
	size_t i;

	for (i = 0; i < config->num_members; i++) {
		const struct mrmr_member_config *member = &config->members[i];
		const char *name = mrmr_member_config_name(member);

		mrmr_uuid_format(&member->id, id);
		if (strncasecmp(id, word, strlen(word)) == 0) {
			list = talloc_asprintf_append(list, "%s%s (%s)", comma,
						      id, name);
			comma = ", ";
		}
	}
	mrmr_error_set(err, EINVAL, "\"%s\" could be any of %s", word,
		       list != NULL ? list : "several members");
	talloc_free(list);
	return -1;
}

int mrmr_config_find_member(const struct mrmr_config *config, const char *word,
			    struct mrmr_error *err)
{
	char id[MRMR_UUID_LEN + 1];
	int found = find_by_name(config, word);
	size_t len = strlen(word);
	size_t i;

	if (found != -1) {
		return found;
	}
	for (i = 0; i < config->num_members; i++) {
		mrmr_uuid_format(&config->members[i].id, id);
		if (len == 0 || strncasecmp(id, word, len) != 0) {
			continue;
		}
		if (len < PREFIX_MIN_LEN) {
			return mrmr_error_set(err, EINVAL,
					      "\"%s\" is too short for a "
					      "member's id; give at least %d "
					      "characters of it",
					      word, PREFIX_MIN_LEN);
		}
		if (found != -1) {
			return fail_not_unique(config, word, err);
		}
		found = (int)i;
	}
	if (found != -1) {
		return found;
	}
	return mrmr_error_set(err, ENOENT,
			      "\"%s\" is no member: neither a mount point nor "
			      "the beginning of an id in %s",
			      word, config->path);
}
