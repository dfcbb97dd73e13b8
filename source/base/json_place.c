/*
 * MRMR: places in a JSON text (see mrmr/json_place.h).
 *
 * A cursor walks the text once, from the start to the place: into the object
 * or array of each step, over the values that come before, counting newlines.
 * What it walks over is not checked (the JSON library has done that), but
 * whatever the text is, the cursor moves forward and stops at its end.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdbool.h>
#include <string.h>

#include <jansson.h>
#include <talloc.h>

#include <mrmr/json_place.h>

struct cursor {
	const char *at;
	const char *end;
	unsigned int line;
};

static bool at_end(const struct cursor *cursor)
{
	return cursor->at >= cursor->end;
}

static void skip_space(struct cursor *cursor)
{
	while (!at_end(cursor) && strchr(" \t\r\n", *cursor->at) != NULL &&
	       *cursor->at != '\0') {
		if (*cursor->at == '\n') {
			cursor->line++;
		}
		cursor->at++;
	}
}

/* Step over c, and the space before it. */
static bool skip_char(struct cursor *cursor, char c)
{
	skip_space(cursor);
	if (at_end(cursor) || *cursor->at != c) {
		return false;
	}
	cursor->at++;
	return true;
}

static bool skip_string(struct cursor *cursor)
{
	if (!skip_char(cursor, '"')) {
		return false;
	}
	while (!at_end(cursor) && *cursor->at != '"') {
		if (*cursor->at == '\\') {
			cursor->at++;
		}
		cursor->at++;
	}
	return skip_char(cursor, '"');
}

static bool skip_value(struct cursor *cursor)
{
	size_t depth = 0;

	do {
		skip_space(cursor);
		if (at_end(cursor)) {
			return false;
		}
		switch (*cursor->at) {
		case '"':
			if (!skip_string(cursor)) {
				return false;
			}
			break;
		case '{':
		case '[':
			depth++;
			cursor->at++;
			break;
		case '}':
		case ']':
			if (depth == 0) {
				return false;
			}
			depth--;
			cursor->at++;
			break;
		case ',':
		case ':':
			if (depth == 0) {
				return false;
			}
			cursor->at++;
			break;
		default:
			/* a number, true, false or null */
			while (!at_end(cursor) &&
			       strchr(" \t\r\n,:]}\"[{", *cursor->at) == NULL) {
				cursor->at++;
			}
			if (!at_end(cursor) && *cursor->at == '\0') {
				return false;
			}
		}
	} while (depth > 0);
	return true;
}

/* A key may be written with escapes; the library knows how to read them. */
static bool token_is_key(const char *token, size_t len, const char *key)
{
	json_t *string = json_loadb(token, len, JSON_DECODE_ANY, NULL);
	bool is_key = json_is_string(string) &&
		      strcmp(json_string_value(string), key) == 0;

	json_decref(string);
	return is_key;
}

/* From the start of an object to the value of key; *line is the key's. */
static bool enter_key(struct cursor *cursor, const char *key,
		      unsigned int *line)
{
	if (!skip_char(cursor, '{')) {
		return false;
	}
	do {
		const char *token = NULL;
		size_t len;

		skip_space(cursor);
		token = cursor->at;
		*line = cursor->line;
		if (!skip_string(cursor)) {
			return false;
		}
		len = (size_t)(cursor->at - token);
		if (!skip_char(cursor, ':')) {
			return false;
		}
		if (token_is_key(token, len, key)) {
			skip_space(cursor);
			return true;
		}
	} while (skip_value(cursor) && skip_char(cursor, ','));
	return false;
}

/* From the start of an array to its element number index. */
static bool enter_index(struct cursor *cursor, size_t index, unsigned int *line)
{
	size_t i;

	if (!skip_char(cursor, '[')) {
		return false;
	}
	for (i = 0; i < index; i++) {
		if (!skip_value(cursor) || !skip_char(cursor, ',')) {
			return false;
		}
	}
	skip_space(cursor);
	*line = cursor->line;
	return !at_end(cursor) && *cursor->at != ']';
}

/* Leaves the cursor on the value at place. */
static bool enter_place(struct cursor *cursor,
			const struct mrmr_json_place *place, unsigned int *line)
{
	if (place == NULL) {
		skip_space(cursor);
		*line = cursor->line;
		return !at_end(cursor);
	}
	if (!enter_place(cursor, place->parent, line)) {
		return false;
	}
	if (place->key != NULL) {
		return enter_key(cursor, place->key, line);
	}
	return enter_index(cursor, place->index, line);
}

unsigned int mrmr_json_place_line(const struct mrmr_json_place *place,
				  const char *text, size_t len)
{
	struct cursor cursor = {.at = text, .end = text + len, .line = 1};
	unsigned int line = 0;

	return enter_place(&cursor, place, &line) ? line : 0;
}

char *mrmr_json_place_name(void *mem_ctx, const struct mrmr_json_place *place)
{
	char *name = NULL;

	if (place == NULL) {
		return talloc_strdup(mem_ctx, "");
	}
	name = mrmr_json_place_name(mem_ctx, place->parent);
	if (name == NULL) {
		return NULL;
	}
	if (place->key == NULL) {
		return talloc_asprintf_append(name, "[%zu]", place->index);
	}
	return talloc_asprintf_append(name, "%s%s",
				      place->parent != NULL ? "." : "",
				      place->key);
}
