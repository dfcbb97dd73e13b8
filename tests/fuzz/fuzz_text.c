/*
 * Small texts, as they come from clients, members, the config and the command
 * line: paths, ids, sizes, hashes, extended attributes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/hex.h>
#include <mrmr/nearest.h>
#include <mrmr/path.h>
#include <mrmr/size.h>
#include <mrmr/uuid.h>
#include <mrmr/xattrs.h>

#include "fuzz.h"

static bool has_component(const char *path, const char *component)
{
	size_t len = strlen(component);
	const char *at = path;

	while (at != NULL) {
		at += strspn(at, "/");
		if (strncmp(at, component, len) == 0 &&
		    (at[len] == '/' || at[len] == '\0')) {
			return true;
		}
		at = strchr(at, '/');
	}
	return false;
}

static void try_paths(const char *text, const char *other)
{
	void *frame = talloc_new(NULL);
	const char *why = NULL;
	char *path = mrmr_path_clean(frame, text, &why);
	char *clean = NULL;

	FUZZ_MUST((path == NULL) == (why != NULL));
	if (path != NULL) {
		size_t len = strlen(path);

		FUZZ_MUST(path[0] == '/');
		FUZZ_MUST(len == 1 || path[len - 1] != '/');
		FUZZ_MUST(strstr(path, "//") == NULL);
		FUZZ_MUST(!has_component(path, "."));
		FUZZ_MUST(!has_component(path, ".."));
		FUZZ_MUST(mrmr_path_is_within(path, "/"));
		FUZZ_MUST(mrmr_path_is_within(path, path));
		clean = mrmr_path_clean(frame, path, &why);
		FUZZ_MUST(clean != NULL && strcmp(clean, path) == 0);
		clean = mrmr_path_clean(frame, other, &why);
		if (clean != NULL && strcmp(clean, path) != 0) {
			FUZZ_MUST(!mrmr_path_is_within(path, clean) ||
				  !mrmr_path_is_within(clean, path));
		}
	}
	why = NULL;
	path = mrmr_path_absolute(frame, text, &why);
	FUZZ_MUST((path == NULL) == (why != NULL));
	talloc_free(frame);
}

static void try_words(const char *text, const char *other)
{
	const char *const known[] = {"status", "scrub", other, NULL};
	char formatted[MRMR_SIZE_LEN];
	char uuid_text[MRMR_UUID_LEN + 1];
	struct mrmr_uuid uuid;
	struct mrmr_uuid again;
	uint8_t bytes[32];
	char digits[65];
	uint64_t size = 0;
	uint64_t same = 0;

	if (mrmr_size_parse(text, &size)) {
		mrmr_size_format(size, formatted);
		mrmr_size_format_exact(size, formatted);
		FUZZ_MUST(mrmr_size_parse(formatted, &same) && same == size);
	}
	if (mrmr_uuid_parse(text, &uuid)) {
		mrmr_uuid_format(&uuid, uuid_text);
		FUZZ_MUST(strcasecmp(uuid_text, text) == 0);
		FUZZ_MUST(mrmr_uuid_parse(uuid_text, &again) &&
			  mrmr_uuid_equal(&uuid, &again));
	}
	if (strlen(text) >= 64 && mrmr_hex_decode(text, bytes, sizeof(bytes))) {
		mrmr_hex_encode(bytes, sizeof(bytes), digits);
		FUZZ_MUST(strncasecmp(digits, text, 64) == 0);
	}
	mrmr_nearest_word(text, known);
}

static void try_xattrs(const uint8_t *data, size_t len, const char *name)
{
	size_t value_len = 0;
	const uint8_t *value = NULL;

	if (mrmr_xattrs_check(data, len) == -1) {
		return;
	}
	value = mrmr_xattrs_find(data, len, name, &value_len);
	if (value != NULL) {
		FUZZ_MUST(value >= data && value_len <= len &&
			  value + value_len <= data + len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_input input = {.at = data, .left = len};
	char *text = fuzz_text(&input);
	char *other = fuzz_text(&input);

	try_paths(text, other);
	try_words(text, other);
	try_xattrs(data, len, text);
	try_xattrs(input.at, input.left, text);
	free(text);
	free(other);
	return 0;
}
