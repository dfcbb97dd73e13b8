/*
 * MRMR: config reader, the part that knows objects and plain values but not
 * what any key means.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/nearest.h>
#include <mrmr/path.h>

#include "config_private.h"

#define KEYS_MAX 32 /* of one object */

/* --- failing -------------------------------------------------------------- */

int mrmr_config_fail(struct mrmr_config_reader *reader,
		     const struct mrmr_json_place *place, const char *fmt, ...)
{
	unsigned int line =
		mrmr_json_place_line(place, reader->text, reader->len);
	char *name = mrmr_json_place_name(NULL, place);
	char *what = NULL;
	va_list ap;

	va_start(ap, fmt);
	what = talloc_vasprintf(NULL, fmt, ap);
	va_end(ap);
	if (name == NULL || what == NULL) {
		mrmr_config_fail_memory(reader);
	} else {
		mrmr_error_set(reader->err, EINVAL, "%s:%u: %s%s%s",
			       reader->config->path, line, name,
			       name[0] != '\0' ? ": " : "", what);
	}
	talloc_free(name);
	talloc_free(what);
	errno = reader->err->code;
	return -1;
}

int mrmr_config_fail_memory(struct mrmr_config_reader *reader)
{
	return mrmr_error_set(reader->err, ENOMEM,
			      "%s: not enough memory to read it",
			      reader->config->path);
}

static const char *type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a number";
	case JSON_REAL:
		return "a number with a fraction";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	case JSON_NULL:
		return "null";
	}
	return "something else";
}

int mrmr_config_fail_type(struct mrmr_config_reader *reader,
			  const struct mrmr_json_place *place,
			  const json_t *value, const char *wanted)
{
	return mrmr_config_fail(reader, place, "must be %s, and is %s", wanted,
				type_name(value));
}

/* --- objects -------------------------------------------------------------- */

static const struct mrmr_config_key *find_key(
	const struct mrmr_config_key *keys, const char *name)
{
	for (; keys->name != NULL; keys++) {
		if (strcmp(keys->name, name) == 0) {
			return keys;
		}
	}
	return NULL;
}

static int fail_unknown_key(struct mrmr_config_reader *reader,
			    const struct mrmr_json_place *place,
			    const struct mrmr_config_key *keys)
{
	const char *names[KEYS_MAX + 1] = {NULL};
	const char *nearest = NULL;
	char *list = NULL;
	size_t i;

	for (i = 0; keys[i].name != NULL && i < KEYS_MAX; i++) {
		names[i] = keys[i].name;
	}
	nearest = mrmr_nearest_word(place->key, names);
	if (nearest != NULL) {
		return mrmr_config_fail(reader, place,
					"there is no such key; did you mean "
					"\"%s\"?",
					nearest);
	}
	list = talloc_strdup(NULL, names[0]);
	for (i = 1; names[i] != NULL; i++) {
		list = talloc_asprintf_append(list, ", %s", names[i]);
	}
	mrmr_config_fail(reader, place,
			 "there is no such key; known here are %s",
			 list != NULL ? list : "others");
	talloc_free(list);
	return -1;
}

int mrmr_config_read_object(struct mrmr_config_reader *reader,
			    const struct mrmr_json_place *place,
			    const json_t *object,
			    const struct mrmr_config_key *keys, void *target)
{
	const struct mrmr_config_key *key = NULL;
	const char *name = NULL;
	json_t *value = NULL;

	if (!json_is_object(object)) {
		return mrmr_config_fail_type(reader, place, object,
					     "an object, { ... }");
	}
	/* the signature of jansson's iterator is not const */
	json_object_foreach ((json_t *)(uintptr_t)object, name, value) {
		struct mrmr_json_place below = {.parent = place, .key = name};

		if (find_key(keys, name) == NULL) {
			return fail_unknown_key(reader, &below, keys);
		}
	}
	for (key = keys; key->name != NULL; key++) {
		struct mrmr_json_place below = {.parent = place,
						.key = key->name};
		char *field = (char *)target + key->offset;

		value = json_object_get(object, key->name);
		if (value == NULL && key->required) {
			return mrmr_config_fail(reader, place,
						"the key \"%s\" is missing",
						key->name);
		}
		if (value != NULL &&
		    key->read(reader, &below, value, key, field) == -1) {
			return -1;
		}
	}
	return 0;
}

/* --- plain values --------------------------------------------------------- */

int mrmr_config_read_uuid(struct mrmr_config_reader *reader,
			  const struct mrmr_json_place *place,
			  const json_t *value,
			  const struct mrmr_config_key *key, void *target)
{
	struct mrmr_uuid *uuid = target;

	if (!json_is_string(value)) {
		return mrmr_config_fail_type(reader, place, value,
					     "a UUID in quotes");
	}
	if (!mrmr_uuid_parse(json_string_value(value), uuid)) {
		return mrmr_config_fail(reader, place,
					"\"%s\" is not a UUID, which has 8-4-"
					"4-4-12 hexadecimal digits; uuidgen "
					"makes a new one",
					json_string_value(value));
	}
	if (mrmr_uuid_is_nil(uuid)) {
		return mrmr_config_fail(reader, place,
					"is all zeros, which names nothing; "
					"uuidgen makes a new one");
	}
	return 0;
}

/* They would break the lines of logs and of smb.conf. */
static int refuse_control_characters(struct mrmr_config_reader *reader,
				     const struct mrmr_json_place *place,
				     const char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f) {
			return mrmr_config_fail(reader, place,
						"has a control character in "
						"it");
		}
	}
	return 0;
}

int mrmr_config_read_path(struct mrmr_config_reader *reader,
			  const struct mrmr_json_place *place,
			  const json_t *value,
			  const struct mrmr_config_key *key, void *target)
{
	char **path = target;
	const char *why = NULL;

	if (!json_is_string(value)) {
		return mrmr_config_fail_type(reader, place, value,
					     "a path in quotes");
	}
	*path = mrmr_path_clean(reader->config, json_string_value(value), &why);
	if (*path == NULL) {
		return mrmr_config_fail(reader, place, "the path \"%s\" %s",
					json_string_value(value), why);
	}
	return refuse_control_characters(reader, place, *path);
}

int mrmr_config_read_word(struct mrmr_config_reader *reader,
			  const struct mrmr_json_place *place,
			  const json_t *value,
			  const struct mrmr_config_key *key, void *target)
{
	char **word = target;
	const char *text = json_string_value(value);

	if (text == NULL) {
		return mrmr_config_fail_type(reader, place, value,
					     "text in quotes");
	}
	if (text[0] == '\0') {
		return mrmr_config_fail(reader, place,
					"is empty; write something, or leave "
					"the key out");
	}
	if (refuse_control_characters(reader, place, text) == -1) {
		return -1;
	}
	*word = talloc_strdup(reader->config, text);
	return *word != NULL ? 0 : mrmr_config_fail_memory(reader);
}

int mrmr_config_read_bool(struct mrmr_config_reader *reader,
			  const struct mrmr_json_place *place,
			  const json_t *value,
			  const struct mrmr_config_key *key, void *target)
{
	bool *flag = target;

	if (!json_is_boolean(value)) {
		return mrmr_config_fail_type(reader, place, value,
					     "true or false, without quotes");
	}
	*flag = json_is_true(value);
	return 0;
}

int mrmr_config_read_number(struct mrmr_config_reader *reader,
			    const struct mrmr_json_place *place,
			    const json_t *value,
			    const struct mrmr_config_key *key, void *target)
{
	unsigned int *number = target;
	json_int_t given = json_integer_value(value);

	if (!json_is_integer(value)) {
		return mrmr_config_fail_type(reader, place, value,
					     "a whole number, without quotes");
	}
	if (given < (json_int_t)key->min || given > (json_int_t)key->max) {
		return mrmr_config_fail(reader, place,
					"is %" JSON_INTEGER_FORMAT
					", and must be from %" PRIu64
					" to %" PRIu64,
					given, key->min, key->max);
	}
	*number = (unsigned int)given;
	return 0;
}

static int parse_size(struct mrmr_config_reader *reader,
		      const struct mrmr_json_place *place, const json_t *value,
		      uint64_t *bytes)
{
	if (json_is_integer(value)) {
		if (json_integer_value(value) < 0) {
			return mrmr_config_fail(reader, place,
						"is negative, and must be a "
						"size");
		}
		*bytes = (uint64_t)json_integer_value(value);
		return 0;
	}
	if (!json_is_string(value)) {
		return mrmr_config_fail_type(reader, place, value,
					     "a size (\"10G\", or a number of "
					     "bytes)");
	}
	if (!mrmr_size_parse(json_string_value(value), bytes)) {
		return mrmr_config_fail(reader, place,
					"\"%s\" is not a size; write \"512M\", "
					"\"1.5T\", or a number of bytes",
					json_string_value(value));
	}
	return 0;
}

int mrmr_config_read_size(struct mrmr_config_reader *reader,
			  const struct mrmr_json_place *place,
			  const json_t *value,
			  const struct mrmr_config_key *key, void *target)
{
	uint64_t *bytes = target;

	if (parse_size(reader, place, value, bytes) == -1) {
		return -1;
	}
	if (*bytes < key->min || *bytes > key->max) {
		char given[MRMR_SIZE_LEN];
		char min[MRMR_SIZE_LEN];
		char max[MRMR_SIZE_LEN];

		return mrmr_config_fail(reader, place,
					"is %s, and must be from %s to %s",
					mrmr_size_format_exact(*bytes, given),
					mrmr_size_format_exact(key->min, min),
					mrmr_size_format_exact(key->max, max));
	}
	return 0;
}
