/*
 * Unit tests: configs that are wrong, one thing at a time. Each must be
 * refused with the line and the key of what is wrong, and a hint.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/config.h>

#include "scratch.h"

#define POOL "10000000-0000-4000-8000-000000000000"
#define A "aaaa0000-0000-4000-8000-000000000001"
#define B "bbbb0000-0000-4000-8000-000000000002"
#define C "cccc0000-0000-4000-8000-000000000003"
#define D "dddd0000-0000-4000-8000-000000000004"

/* A config that is right. A case replaces one of its lines. */
static const char *const lines[] = {
	"{",
	"  \"drive_id\": \"" POOL "\",",                               /* 2 */
	"  \"parity_drives\": 1,",                                     /* 3 */
	"  \"state_dir\": \"/var/lib/mrmr/pool\",",                    /* 4 */
	"  \"block_size\": \"4M\",",                                   /* 5 */
	"  \"placement\": \"most-free\",",                             /* 6 */
	"  \"min_free\": \"1G\",",                                     /* 7 */
	"  \"trash_days\": 7, \"trash_max_percent\": 5,",              /* 8 */
	"  \"mounts\": [",                                             /* 9 */
	"    {\"drive_id\": \"" A "\", \"mount_point\": \"/mnt/a\"},", /* 10 */
	"    {\"drive_id\": \"" B "\", \"mount_point\": \"/mnt/b\"},", /* 11 */
	"    {\"drive_id\": \"" C "\",",                               /* 12 */
	"     \"connection\": {",                                      /* 13 */
	"       \"type\": \"smb\",",                                   /* 14 */
	"       \"host\": \"nas\", \"share\": \"disk1\",",             /* 15 */
	"       \"mount\": \"/mrmr\"}},",                              /* 16 */
	"    {\"drive_id\": \"" D "\", \"mount_point\": \"/mnt/d\"}",  /* 17 */
	"  ],",                                                        /* 18 */
	"  \"rules\": [",                                              /* 19 */
	"    {\"match\": \"*.iso\", \"members\": [\"/mnt/a\"]}",       /* 20 */
	"  ]",                                                         /* 21 */
	"}",                                                           /* 22 */
};
#define NUM_LINES (sizeof(lines) / sizeof(lines[0]))

struct broken {
	unsigned int line;  /* to be replaced, */
	const char *with;   /* by this */
	unsigned int where; /* the line that the message names */
	const char *key;    /* and the key; "" where there is none */
	const char *hint;   /* and something that it says */
};

static const struct broken cases[] = {
	/* the text */
	{1, "", 2, "", "JSON"},
	{22, "", 23, "", "JSON"},
	{22, "} }", 22, "", "JSON"},
	{1, "[", 2, "", "JSON"},
	{2, "  drive_id: 1,", 2, "", "JSON"},
	{5, "  // how large", 5, "", "comments"},
	{5, "  # how large", 5, "", "comments"},
	{5, "  \"block_size\": \"4M\",,", 5, "", "JSON"},
	{5, "  \"block_size\": 99999999999999999999999,", 5, "", "JSON"},
	{5, "  \"block_size\": \"\xff\",", 5, "", "JSON"},
	{8, "  \"placement\": \"spread\",", 8, "placement", "twice"},
	{17,
	 "{\"drive_id\": \"" D "\",\n\"mount_point\": \"/mnt/d\",\n"
	 "\"drive_id\": \"" D "\"}",
	 19, "drive_id", "twice"},

	/* keys */
	{6, "  \"placment\": \"most-free\",", 6, "placment", "\"placement\""},
	{6, "  \"colour\": \"blue\",", 6, "colour", "drive_id, "},
	{6, "  \"\": 1,", 6, "", "no such key"},
	{11, "    {\"drive_id\": \"" B "\",\n\"mountpoint\": \"/mnt/b\"},", 12,
	 "mounts[1].mountpoint", "\"mount_point\""},
	{14, "       \"type\": \"smb\", \"pot\": 1,", 14,
	 "mounts[2].connection.pot", "\"port\""},
	{20, "    {\"match\": \"*.iso\", \"member\": []}", 20,
	 "rules[0].member", "\"members\""},
	{3, "  \"parity_drives\": {\"mn\": 1},", 3, "parity_drives.mn",
	 "\"min\""},

	/* what must be there */
	{2, "", 1, "", "\"drive_id\" is missing"},
	{3, "", 1, "", "\"parity_drives\" is missing"},
	{4, "", 1, "", "\"state_dir\" is missing"},
	{9, "  \"moutns\": [", 9, "moutns", "\"mounts\""},
	{9, "  \"\\u0078\": [", 9, "x", "no such key"},
	{10, "    {\"mount_point\": \"/mnt/a\"},", 10, "mounts[0]",
	 "\"drive_id\" is missing"},
	{11, "    {\"drive_id\": \"" B "\"},", 11, "mounts[1]",
	 "\"mount_point\" is missing"},
	{14, "", 13, "mounts[2].connection", "\"type\" is missing"},
	{15, "       \"share\": \"disk1\",", 13, "mounts[2].connection",
	 "\"host\" is missing"},
	{15, "       \"host\": \"nas\",", 13, "mounts[2].connection",
	 "\"share\" is missing"},
	{20, "    {\"members\": [\"/mnt/a\"]}", 20, "rules[0]",
	 "\"match\" is missing"},
	{20, "    {\"match\": \"*.iso\"}", 20, "rules[0]", "decides nothing"},

	/* types */
	{2, "  \"drive_id\": 17,", 2, "drive_id", "a number"},
	{3, "  \"parity_drives\": 1.5,", 3, "parity_drives", "fraction"},
	{3, "  \"parity_drives\": true,", 3, "parity_drives", "true or false"},
	{4, "  \"state_dir\": [\"/x\"],", 4, "state_dir", "an array"},
	{5, "  \"block_size\": null,", 5, "block_size", "null"},
	{6, "  \"placement\": {},", 6, "placement", "an object"},
	{8, "  \"trash_days\": \"7\",", 8, "trash_days", "without quotes"},
	{10, "    \"/mnt/a\",", 10, "mounts[0]", "an object"},
	{11,
	 "    {\"drive_id\": \"" B "\", \"mount_point\": \"/mnt/b\",\n"
	 "     \"is_removable\": \"yes\"},",
	 12, "mounts[1].is_removable", "true or false"},
	{20, "    {\"match\": \"*.iso\", \"members\": \"/mnt/a\"}", 20,
	 "rules[0].members", "an array"},
	{20, "    {\"match\": \"*.iso\", \"members\": [\"/mnt/a\",\n 3]}", 21,
	 "rules[0].members[1]", "a number"},

	/* values */
	{2, "  \"drive_id\": \"10000000\",", 2, "drive_id", "not a UUID"},
	{2, "  \"drive_id\": \"00000000-0000-0000-0000-000000000000\",", 2,
	 "drive_id", "all zeros"},
	{3, "  \"parity_drives\": -1,", 3, "parity_drives", "from 0 to 8"},
	{3, "  \"parity_drives\": 9,", 3, "parity_drives", "from 0 to 8"},
	{3, "  \"parity_drives\": \"many\",", 3, "parity_drives", "\"max\""},
	{3, "  \"parity_drives\": {\"min\": 2, \"max\": 1},", 3,
	 "parity_drives", "larger"},
	{3, "  \"parity_drives\": {\"min\": \"max\"},", 3, "parity_drives.min",
	 "a whole number"},
	{3, "  \"parity_drives\": {\"max\": 9},", 3, "parity_drives.max",
	 "from 0 to 8"},
	{4, "  \"state_dir\": \"var/lib\",", 4, "state_dir", "relative"},
	{4, "  \"state_dir\": \"\",", 4, "state_dir", "empty"},
	{4, "  \"state_dir\": \"/var/../x\",", 4, "state_dir", "\"..\""},
	{4, "  \"state_dir\": \"/a\\nb\",", 4, "state_dir",
	 "control character"},
	{5, "  \"block_size\": \"3M\",", 5, "block_size", "power of two"},
	{5, "  \"block_size\": \"32K\",", 5, "block_size", "64K to 64M"},
	{5, "  \"block_size\": \"128M\",", 5, "block_size", "64K to 64M"},
	{5, "  \"block_size\": -4194304,", 5, "block_size", "negative"},
	{5, "  \"block_size\": \"4 megs\",", 5, "block_size", "not a size"},
	{6, "  \"placement\": \"most-fre\",", 6, "placement", "keep-together"},
	{7, "  \"min_free\": \"15E\",", 7, "min_free", "from 0"},
	{8, "  \"trash_max_percent\": 101,", 8, "trash_max_percent",
	 "from 0 to 100"},
	{8, "  \"trash_days\": -1,", 8, "trash_days", "from 0 to"},
	{11,
	 "    {\"drive_id\": \"" B "\", \"mount_point\": \"/mnt/b\",\n"
	 "     \"role\": \"Parity\"},",
	 12, "mounts[1].role", "\"parity\""},
	{11,
	 "    {\"drive_id\": \"" B "\", \"mount_point\": \"/mnt/b\",\n"
	 "\n     \"tier\": 1000},",
	 13, "mounts[1].tier", "from 0 to 999"},
	{11,
	 "    {\"drive_id\": \"" B "\", \"mount_point\": \"/mnt/b\",\n"
	 "     \"stack\": \"\"},",
	 12, "mounts[1].stack", "empty"},
	{14, "       \"type\": \"nfs\",", 14, "mounts[2].connection.type",
	 "\"smb\" or \"ssh\""},
	{14, "       \"type\": \"ssh\",", 15, "mounts[2].connection.share",
	 "no share"},
	{14, "       \"type\": \"smb\", \"port\": 0,", 14,
	 "mounts[2].connection.port", "from 1 to 65535"},
	{15, "       \"host\": \"//nas\", \"share\": \"disk1\",", 15,
	 "mounts[2].connection.host", "'/'"},
	{15, "       \"host\": \"nas\", \"share\": \"a/b\",", 15,
	 "mounts[2].connection.share", "'/'"},
	{16, "       \"mount\": \"mrmr\"}},", 16, "mounts[2].connection.mount",
	 "relative"},
	{16, "       \"credentials\": \"nas.cred\"}},", 16,
	 "mounts[2].connection.credentials", "relative"},
	{16, "       \"user\": \"a\\nb\"}},", 16, "mounts[2].connection.user",
	 "control character"},
	{20, "    {\"match\": \"\", \"placement\": \"spread\"}", 20,
	 "rules[0].match", "empty"},
	{20, "    {\"match\": \"/x/*\", \"placement\": \"spread\"}", 20,
	 "rules[0].match", "slash"},
	{20, "    {\"match\": \"x\", \"members\": []}", 20, "rules[0].members",
	 "empty"},
	{20, "    {\"match\": \"x\", \"placement\": \"best\"}", 20,
	 "rules[0].placement", "most-free"},
	{20, "    {\"match\": \"x\", \"members\": [\"/mnt/x\"]}", 20,
	 "rules[0].members[0]", "no member"},
	{20, "    {\"match\": \"x\", \"members\": [\"/mnt/a\", \"aaaa\"]}", 20,
	 "rules[0].members[1]", "twice"},
	{20, "    {\"match\": \"x\", \"members\": [\"aa\"]}", 20,
	 "rules[0].members[0]", "too short"},

	/* one value against another */
	{11, "    {\"drive_id\": \"" A "\", \"mount_point\": \"/mnt/b\"},", 11,
	 "mounts[1].drive_id", "/mnt/a in line 10"},
	{11, "    {\"drive_id\": \"" POOL "\", \"mount_point\": \"/mnt/b\"},",
	 11, "mounts[1].drive_id", "the pool itself"},
	{11, "    {\"drive_id\": \"" B "\", \"mount_point\": \"//mnt/./a/\"},",
	 11, "mounts[1].mount_point", "in line 10"},
	{11, "    {\"drive_id\": \"" B "\",\n\"mount_point\": \"/mnt/a/b\"},",
	 12, "mounts[1].mount_point", "inside another member, /mnt/a"},
	{11, "    {\"drive_id\": \"" B "\", \"mount_point\": \"/mnt\"},", 11,
	 "mounts[1].mount_point", "is inside /mnt"},
	{11, "    {\"drive_id\": \"" B "\", \"mount_point\": \"/\"},", 11,
	 "mounts[1].mount_point", "is inside /"},
	{11,
	 "    {\"drive_id\": \"" B "\",\n"
	 "     \"mount_point\": \"/var/lib/mrmr/pool/x\"},",
	 12, "mounts[1].mount_point", "state directory"},
	{4, "  \"state_dir\": \"/mnt/b/state\",", 4, "state_dir",
	 "inside a member, /mnt/b in line 11"},
	{4, "  \"state_dir\": \"/mnt/b\",", 11, "mounts[1].mount_point",
	 "state directory"},
	{4, "  \"state_dir\": \"/\",", 10, "mounts[0].mount_point",
	 "state directory"},
	{17,
	 "    {\"drive_id\": \"" D "\",\n\"connection\": {\"type\": \"smb\", "
	 "\"host\": \"NAS\", \"share\": \"Disk1\", \"mount\": \"/mrmr\"}}",
	 18, "mounts[3].connection", "a member already"},
	{17,
	 "    {\"drive_id\": \"" D "\",\n\"connection\": {\"type\": \"smb\", "
	 "\"host\": \"nas\", \"share\": \"disk1\", \"mount\": \"/mrmr/x\"}}",
	 18, "mounts[3].connection", "inside another member"},
	{12, "    {\"drive_id\": \"" C "\", \"mount_point\": \"/mnt/c\",", 12,
	 "mounts[2]", "either local or remote"},
	{3, "  \"parity_drives\": 4,", 3, "parity_drives", "at most 3"},
	{3, "  \"parity_drives\": {\"min\": 4},", 3, "parity_drives",
	 "at most 3"},
};

static char *text_with(unsigned int line, const char *with)
{
	char *text = talloc_strdup(NULL, "");
	unsigned int i;

	for (i = 0; i < NUM_LINES; i++) {
		text = talloc_asprintf_append(text, "%s\n",
					      i + 1 == line ? with : lines[i]);
	}
	return text;
}

/* In a block of exactly its size, for the sanitizers. */
static struct mrmr_config *parse(const char *text, size_t len,
				 struct mrmr_error *err)
{
	struct mrmr_config *config = NULL;
	char *exact = malloc(len > 0 ? len : 1);

	assert_non_null(exact);
	memcpy(exact, text, len);
	config = mrmr_config_parse(NULL, "pool.json", exact, len, err);
	free(exact);
	return config;
}

static void the_config_itself_is_right(void **state)
{
	struct mrmr_error err = {0};
	char *text = text_with(0, "");
	struct mrmr_config *config = parse(text, strlen(text), &err);

	if (config == NULL) {
		fail_msg("%s", err.text);
	}
	talloc_free(config);
	talloc_free(text);
}

static bool check_message(const char *text, const char *start, const char *hint)
{
	return strncmp(text, start, strlen(start)) == 0 &&
	       strstr(text + strlen(start), hint) != NULL;
}

static void each_case_names_line_and_key(void **state)
{
	unsigned int wrong = 0;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct broken *broken = &cases[i];
		struct mrmr_error err = {0};
		struct mrmr_config *config = NULL;
		char *text = text_with(broken->line, broken->with);
		char *start =
			talloc_asprintf(NULL, "pool.json:%u: %s%s",
					broken->where, broken->key,
					broken->key[0] != '\0' ? ": " : "");

		errno = 0;
		config = parse(text, strlen(text), &err);
		if (config != NULL) {
			print_error("taken: %s\n", broken->with);
			wrong++;
		} else if (!check_message(err.text, start, broken->hint)) {
			print_error("%s\n  is said of: %s\n  not: %s...%s\n",
				    err.text, broken->with, start,
				    broken->hint);
			wrong++;
		} else {
			assert_int_equal(err.code, EINVAL);
			assert_int_equal(errno, EINVAL);
		}
		talloc_free(config);
		talloc_free(start);
		talloc_free(text);
	}
	assert_int_equal(wrong, 0);
}

static void refused_with(const char *text, const char *start, const char *hint)
{
	struct mrmr_error err = {0};

	assert_null(parse(text, strlen(text), &err));
	if (!check_message(err.text, start, hint)) {
		fail_msg("%s", err.text);
	}
}

static void texts_that_are_no_object(void **state)
{
	refused_with("", "pool.json:1: ", "empty");
	refused_with(" \n\n\t", "pool.json:1: ", "empty");
	refused_with("\xef\xbb\xbf{}", "pool.json:1: ", "byte order mark");
	refused_with("\n[]", "pool.json:2: ", "an object");
	refused_with("null", "pool.json:1: ", "an object");
	refused_with("\"text\"", "pool.json:1: ", "an object");
	refused_with("{}", "pool.json:1: ", "\"drive_id\" is missing");
	refused_with("\x7f\x45\x4c\x46\x02", "pool.json:1: ", "JSON");
}

static void refused_mounts(const char *mounts, unsigned int parity,
			   const char *start, const char *hint)
{
	char *text = talloc_asprintf(NULL,
				     "{\"drive_id\":\"" POOL "\",\n"
				     "\"state_dir\":\"/s\",\n"
				     "\"parity_drives\":%u,\n"
				     "\"mounts\":[\n%s]}",
				     parity, mounts);

	refused_with(text, start, hint);
	talloc_free(text);
}

#define MEMBER(id, path, more) \
	"{\"drive_id\":\"" id "\",\"mount_point\":\"" path "\"" more "}"

/* Invariant 2 needs units that fail on their own, not members. */
static void parity_counts_failure_units(void **state)
{
	refused_mounts("", 0, "pool.json:4: mounts: ", "empty");
	refused_mounts(MEMBER(A, "/a", ""), 1,
		       "pool.json:3: parity_drives: ", "at most 0");
	refused_mounts(MEMBER(A, "/a", ",\"stack\":\"s\"") "," //
		       MEMBER(B, "/b", ",\"stack\":\"s\""),
		       1, "pool.json:3: parity_drives: ", "at most 0");
	refused_mounts(MEMBER(A, "/a", ",\"stack\":\"s\"") "," //
		       MEMBER(B, "/b", ",\"stack\":\"s\"") "," MEMBER(C, "/c",
								      ""),
		       2, "pool.json:3: parity_drives: ", "at most 1");
}

static void parity_needs_members_that_may_hold_it(void **state)
{
	refused_mounts(MEMBER(A, "/a", ",\"role\":\"data\"") "," MEMBER(
			       B, "/b", ",\"role\":\"data\""),
		       1, "pool.json:3: parity_drives: ", "of 0 only");
	/* files of /b would have no place for their parity */
	refused_mounts(MEMBER(A, "/a", ",\"role\":\"data\"") "," MEMBER(B, "/b",
									""),
		       1, "pool.json:3: parity_drives: ", "of 0 only");
	refused_mounts(MEMBER(A, "/a", ",\"role\":\"data\"") "," MEMBER(
			       B, "/b",
			       ",\"role\":\"data\"") "," MEMBER(C, "/c",
								",\"role\":"
								"\"parity\""),
		       2, "pool.json:3: parity_drives: ", "of 1 only");
}

static void too_many_members(void **state)
{
	char *mounts = talloc_strdup(NULL, "1");
	int i;

	for (i = 0; i < MRMR_MEMBERS_MAX; i++) {
		mounts = talloc_asprintf_append(mounts, ",1");
	}
	refused_mounts(mounts, 0, "pool.json:4: mounts: ", "at most 240");
	talloc_free(mounts);
}

/* Every text that ends early, and every byte of a right text changed: taken or
   refused, with a sentence, and without a crash. */
static void damaged_texts_never_crash(void **state)
{
	static const char bytes[] = {'\0', '"',  '{', ']',
				     ',',  '\\', '9', '\xff'};
	char *text = text_with(0, "");
	size_t full = strlen(text);
	size_t at;
	size_t i;

	for (at = 0; at < full; at++) {
		struct mrmr_error err = {0};
		struct mrmr_config *config = parse(text, at, &err);
		char was = text[at];

		/* all but the newline that ends it is needed */
		assert_true(config == NULL || at == full - 1);
		assert_true(config != NULL || err.text[0] != '\0');
		talloc_free(config);
		for (i = 0; i < sizeof(bytes); i++) {
			text[at] = bytes[i];
			memset(&err, 0, sizeof(err));
			config = parse(text, full, &err);
			assert_true(config != NULL || err.code == EINVAL);
			talloc_free(config);
		}
		text[at] = was;
	}
	talloc_free(text);
}

/* --- files ---------------------------------------------------------------- */

static void refused_file(const char *path, int code, const char *hint)
{
	struct mrmr_error err = {0};

	errno = 0;
	assert_null(mrmr_config_load(NULL, path, &err));
	assert_int_equal(err.code, code);
	assert_int_equal(errno, code);
	assert_non_null(strstr(err.text, path));
	assert_non_null(strstr(err.text, hint));
	assert_null(mrmr_config_load(NULL, path, NULL));
}

static void files_that_can_not_be_read(void **state)
{
	refused_file(scratch_path(state, "none"), ENOENT, "mrmr-admin init");
	refused_file(*state, EINVAL, "not a file");
	assert_int_equal(mkfifo(scratch_path(state, "pipe"), 0600), 0);
	refused_file(scratch_path(state, "pipe"), EINVAL, "not a file");
	refused_file("/dev/null", EINVAL, "not a file");
	refused_file("", EINVAL, "empty");
	refused_file("../x", EINVAL, "\"..\"");

	scratch_write(state, "loop", "");
	assert_int_equal(unlink(scratch_path(state, "loop")), 0);
	assert_int_equal(symlink("loop", scratch_path(state, "loop")), 0);
	refused_file(scratch_path(state, "loop"), ELOOP, "can't be read");

	scratch_write(state, "big", "");
	assert_int_equal(truncate(scratch_path(state, "big"), 5 << 20), 0);
	refused_file(scratch_path(state, "big"), EINVAL, "larger");

	scratch_write(state, "empty", "");
	refused_file(scratch_path(state, "empty"), EINVAL, ":1: ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_config_itself_is_right),
		cmocka_unit_test(each_case_names_line_and_key),
		cmocka_unit_test(texts_that_are_no_object),
		cmocka_unit_test(parity_counts_failure_units),
		cmocka_unit_test(parity_needs_members_that_may_hold_it),
		cmocka_unit_test(too_many_members),
		cmocka_unit_test(damaged_texts_never_crash),
		cmocka_unit_test_setup_teardown(files_that_can_not_be_read,
						scratch_setup,
						scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
