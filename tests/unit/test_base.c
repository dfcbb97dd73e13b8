/*
 * Unit tests: the small pieces of source/base.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <talloc.h>

#include <mrmr/digest.h>
#include <mrmr/error.h>
#include <mrmr/file.h>
#include <mrmr/hex.h>
#include <mrmr/json_place.h>
#include <mrmr/nearest.h>
#include <mrmr/path.h>
#include <mrmr/size.h>
#include <mrmr/uuid.h>

#include "scratch.h"

/* --- error ---------------------------------------------------------------- */

static void error_set_fills_all(void **state)
{
	struct mrmr_error err = {0};

	errno = 0;
	assert_int_equal(mrmr_error_set(&err, ENOSPC, "%s is full", "/a"), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(err.code, ENOSPC);
	assert_string_equal(err.text, "/a is full");

	assert_int_equal(mrmr_error_set(NULL, EIO, "x"), -1);
	assert_int_equal(errno, EIO);
}

static void error_is_one_line_of_text(void **state)
{
	struct mrmr_error err = {0};

	mrmr_error_set(&err, EIO, "file %s failed",
		       "a\nb\033[2Jc\177d\302\233m");
	assert_string_equal(err.text, "file a?b?[2Jc?d??m failed");
}

static void error_too_long_is_cut_between_characters(void **state)
{
	struct mrmr_error err = {0};
	char text[2000] = "x";
	size_t i;

	/* an odd byte, so that the cut falls inside of a character */
	for (i = 1; i + 2 < sizeof(text); i += 2) {
		memcpy(text + i, "\xc3\xa4", 3);
	}
	mrmr_error_set(&err, EIO, "%s", text);
	assert_true(strlen(err.text) < sizeof(err.text));
	assert_true(strlen(err.text) > sizeof(err.text) - 4);
	assert_int_equal(strlen(err.text) % 2, 1);
}

/* --- hex, uuid ------------------------------------------------------------ */

static void hex_both_ways(void **state)
{
	const uint8_t bytes[] = {0x00, 0x9f, 0xff};
	uint8_t back[3] = {0};
	char text[7];

	mrmr_hex_encode(bytes, 3, text);
	assert_string_equal(text, "009fff");
	assert_true(mrmr_hex_decode("009FfF", back, 3));
	assert_memory_equal(bytes, back, 3);
	assert_false(mrmr_hex_decode("009ff", back, 3));
	assert_false(mrmr_hex_decode("009fg0", back, 3));
	assert_false(mrmr_hex_decode("", back, 1));
}

static void uuid_both_ways(void **state)
{
	const char *text = "6f1d2c3b-0a99-4e11-8b7f-00112233ffee";
	struct mrmr_uuid uuid = {{0}};
	struct mrmr_uuid upper = {{0}};
	char back[MRMR_UUID_LEN + 1];

	assert_true(mrmr_uuid_parse(text, &uuid));
	assert_int_equal(uuid.byte[0], 0x6f);
	assert_int_equal(uuid.byte[15], 0xee);
	mrmr_uuid_format(&uuid, back);
	assert_string_equal(back, text);
	assert_true(mrmr_uuid_parse("6F1D2C3B-0A99-4E11-8B7F-00112233FFEE",
				    &upper));
	assert_true(mrmr_uuid_equal(&uuid, &upper));
}

static void uuid_refuses_all_else(void **state)
{
	static const char *const bad[] = {
		"",
		"6f1d2c3b",
		"6f1d2c3b-0a99-4e11-8b7f-00112233ffe",
		"6f1d2c3b-0a99-4e11-8b7f-00112233ffee0",
		"6f1d2c3b-0a99-4e11-8b7f-00112233ffee ",
		" 6f1d2c3b-0a99-4e11-8b7f-00112233ffee",
		"{6f1d2c3b-0a99-4e11-8b7f-00112233ffee}",
		"6f1d2c3b0a994e118b7f00112233ffee",
		"6f1d2c3b-0a99-4e11-8b7f-00112233ffxx",
		"6f1d2c3-b0a99-4e11-8b7f-00112233ffee",
	};
	struct mrmr_uuid uuid = {{7}};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(mrmr_uuid_parse(bad[i], &uuid));
	}
	assert_int_equal(uuid.byte[0], 7);
}

static void uuid_generated_is_version_4_and_new(void **state)
{
	struct mrmr_uuid a = {{0}};
	struct mrmr_uuid b = {{0}};

	assert_true(mrmr_uuid_is_nil(&a));
	assert_int_equal(mrmr_uuid_generate(&a), 0);
	assert_int_equal(mrmr_uuid_generate(&b), 0);
	assert_false(mrmr_uuid_equal(&a, &b));
	assert_false(mrmr_uuid_is_nil(&a));
	assert_int_equal(a.byte[6] >> 4, 4);
	assert_int_equal(a.byte[8] >> 6, 2);
}

/* File ids of clients depend on it: it may not change from version to
   version. */
static void uuid_hash_never_changes(void **state)
{
	struct mrmr_uuid nil = {{0}};
	struct mrmr_uuid uuid = {{0}};

	mrmr_uuid_parse("6f1d2c3b-0a99-4e11-8b7f-00112233ffee", &uuid);
	assert_true(mrmr_uuid_hash(&uuid) == UINT64_C(0x5c953abc805f18ff));
	assert_true(mrmr_uuid_hash(&nil) == UINT64_C(0x88201fb960ff6465));
}

/* --- size ----------------------------------------------------------------- */

static void size_parses(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"0", 0},
		{"4096", 4096},
		{"1B", 1},
		{"4K", 4096},
		{"4k", 4096},
		{"4KB", 4096},
		{"4KiB", 4096},
		{"64 kib", 65536},
		{"10 GiB", UINT64_C(10) << 30},
		{"1.5T", UINT64_C(3) << 39},
		{"1.5t", UINT64_C(3) << 39},
		{"0.5K", 512},
		{"0.0001K", 0},
		{"1.000000000000000000G", 1 << 30},
		{"15E", UINT64_C(15) << 60},
		{"18446744073709551615", UINT64_MAX},
	};
	static const char *const bad[] = {
		"",
		" ",
		"M",
		"-1",
		"+1",
		"1X",
		"1 ",
		" 1",
		"1  M",
		"1.M",
		".5M",
		"1.5",
		"1.5B",
		"1,5G",
		"1MM",
		"1M B",
		"1Mi",
		"0x10",
		"16E",
		"1e3",
		"1.5.5M",
		"four",
		"1@",
		"18446744073709551616",
		"18446744073709551615K",
		"1.0000000000000000000G",
	};
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		uint64_t bytes = 99;

		assert_true(mrmr_size_parse(good[i].text, &bytes));
		assert_true(bytes == good[i].bytes);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t bytes = 99;

		if (mrmr_size_parse(bad[i], &bytes) || bytes != 99) {
			fail_msg("\"%s\" is taken for a size", bad[i]);
		}
	}
}

static void size_formats(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *people;
		const char *exact;
	} sizes[] = {
		{0, "0 B", "0"},
		{1023, "1023 B", "1023"},
		{1024, "1.00 KiB", "1K"},
		{1536, "1.50 KiB", "1536"},
		{10240, "10.0 KiB", "10K"},
		{UINT64_C(150) << 30, "150 GiB", "150G"},
		{UINT64_C(3) << 39, "1.50 TiB", "1536G"},
		{(UINT64_C(1) << 40) - 1, "1023 GiB", "1099511627775"},
		{UINT64_C(15) << 60, "15.0 EiB", "15E"},
		{UINT64_MAX, "15.9 EiB", "18446744073709551615"},
	};
	char text[MRMR_SIZE_LEN];
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t back = 0;

		assert_string_equal(mrmr_size_format(sizes[i].bytes, text),
				    sizes[i].people);
		assert_string_equal(mrmr_size_format_exact(sizes[i].bytes,
							   text),
				    sizes[i].exact);
		assert_true(mrmr_size_parse(text, &back));
		assert_true(back == sizes[i].bytes);
	}
}

/* --- path ----------------------------------------------------------------- */

static void path_cleans(void **state)
{
	static const struct {
		const char *path;
		const char *clean; /* NULL: refused */
	} paths[] = {
		{"/", "/"},
		{"///", "/"},
		{"/.", "/"},
		{"/a", "/a"},
		{"/a/", "/a"},
		{"//a///b//", "/a/b"},
		{"/./a/./b/.", "/a/b"},
		{"/a/...", "/a/..."},
		{"/a/.b", "/a/.b"},
		{"/a/..b", "/a/..b"},
		{"/with space/\xc3\xa4", "/with space/\xc3\xa4"},
		{"", NULL},
		{"a", NULL},
		{"./a", NULL},
		{"/a/../b", NULL},
		{"/..", NULL},
		{"/a\nb/", "/a\nb"},
	};
	size_t i;

	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		const char *why = NULL;
		char *clean = mrmr_path_clean(NULL, paths[i].path, &why);

		if (paths[i].clean == NULL) {
			assert_null(clean);
			assert_non_null(why);
			continue;
		}
		assert_non_null(clean);
		assert_string_equal(clean, paths[i].clean);
		talloc_free(clean);
	}
}

static void path_too_long_is_refused(void **state)
{
	char path[5000];
	const char *why = NULL;

	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_null(mrmr_path_clean(NULL, path, &why));
	assert_non_null(strstr(why, "longer"));
}

static void path_within(void **state)
{
	assert_true(mrmr_path_is_within("/a/b", "/a"));
	assert_true(mrmr_path_is_within("/a", "/a"));
	assert_true(mrmr_path_is_within("/a", "/"));
	assert_true(mrmr_path_is_within("/", "/"));
	assert_false(mrmr_path_is_within("/ab", "/a"));
	assert_false(mrmr_path_is_within("/a", "/a/b"));
	assert_false(mrmr_path_is_within("/", "/a"));
}

static void path_absolute(void **state)
{
	char cwd[4096];
	char expected[4200];
	const char *why = NULL;
	char *path = NULL;

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	snprintf(expected, sizeof(expected), "%s/x/y",
		 strcmp(cwd, "/") == 0 ? "" : cwd);
	path = mrmr_path_absolute(NULL, "./x//y/", &why);
	assert_string_equal(path, expected);
	talloc_free(path);
	path = mrmr_path_absolute(NULL, "/x/", &why);
	assert_string_equal(path, "/x");
	talloc_free(path);
	assert_null(mrmr_path_absolute(NULL, "../x", &why));
	assert_null(mrmr_path_absolute(NULL, "", &why));
}

/* --- nearest -------------------------------------------------------------- */

static void nearest_suggests_what_was_meant(void **state)
{
	static const char *const known[] = {"mount_point",   "drive_id", "tier",
					    "parity_drives", "min_free", NULL};
	static const struct {
		const char *word;
		const char *nearest;
	} words[] = {
		{"mountpoint", "mount_point"},
		{"mount-point", "mount_point"},
		{"Mount_Point", "mount_point"},
		{"mount_piont", "mount_point"},
		{"tire", "tier"},
		{"teir", "tier"},
		{"driveid", "drive_id"},
		{"parity", "parity_drives"},
		{"paritydrive", "parity_drives"},
		{"minfree", "min_free"},
		{"colour", NULL},
		{"x", NULL},
		{"", NULL},
		{"mount_point_mount_point_mount_point", NULL},
	};
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		const char *nearest = mrmr_nearest_word(words[i].word, known);

		if (words[i].nearest == NULL) {
			assert_null(nearest);
		} else {
			assert_non_null(nearest);
			assert_string_equal(nearest, words[i].nearest);
		}
	}
}

/* --- json_place ----------------------------------------------------------- */

static const char place_text[] = "\n"                           /* 1 */
				 "{\n"                          /* 2 */
				 "  \"a\": 1, \"b\": [10,\n"    /* 3 */
				 "    {\"x\": \"}]\\\"{[\"},\n" /* 4 */
				 "    [], {}, null,\n"          /* 5 */
				 "    -1.5e3\n"                 /* 6 */
				 "  ],\n"                       /* 7 */
				 "  \"\\u0063\":\n"             /* 8 */
				 "    {\"b\": {\"a\": true},\n" /* 9 */
				 "     \"a.b\": false}\n"       /* 10 */
				 "}\n";

static unsigned int line_of(const struct mrmr_json_place *place)
{
	return mrmr_json_place_line(place, place_text, strlen(place_text));
}

static void json_place_lines(void **state)
{
	struct mrmr_json_place a = {.key = "a"};
	struct mrmr_json_place b = {.key = "b"};
	struct mrmr_json_place b0 = {.parent = &b, .index = 0};
	struct mrmr_json_place b1 = {.parent = &b, .index = 1};
	struct mrmr_json_place b1x = {.parent = &b1, .key = "x"};
	struct mrmr_json_place b3 = {.parent = &b, .index = 3};
	struct mrmr_json_place b5 = {.parent = &b, .index = 5};
	struct mrmr_json_place b6 = {.parent = &b, .index = 6};
	struct mrmr_json_place c = {.key = "c"};
	struct mrmr_json_place cb = {.parent = &c, .key = "b"};
	struct mrmr_json_place cba = {.parent = &cb, .key = "a"};
	struct mrmr_json_place cab = {.parent = &c, .key = "a.b"};
	struct mrmr_json_place d = {.key = "d"};
	struct mrmr_json_place ax = {.parent = &a, .key = "x"};

	assert_int_equal(line_of(NULL), 2);
	assert_int_equal(line_of(&a), 3);
	assert_int_equal(line_of(&b), 3);
	assert_int_equal(line_of(&b0), 3);
	assert_int_equal(line_of(&b1), 4);
	assert_int_equal(line_of(&b1x), 4);
	assert_int_equal(line_of(&b3), 5);
	assert_int_equal(line_of(&b5), 6);
	assert_int_equal(line_of(&b6), 0);
	assert_int_equal(line_of(&c), 8);
	assert_int_equal(line_of(&cb), 9);
	assert_int_equal(line_of(&cba), 9);
	assert_int_equal(line_of(&cab), 10);
	assert_int_equal(line_of(&d), 0);
	assert_int_equal(line_of(&ax), 0);
}

static void json_place_names(void **state)
{
	struct mrmr_json_place mounts = {.key = "mounts"};
	struct mrmr_json_place second = {.parent = &mounts, .index = 2};
	struct mrmr_json_place type = {.parent = &second, .key = "type"};
	char *name = mrmr_json_place_name(NULL, &type);

	assert_string_equal(name, "mounts[2].type");
	talloc_free(name);
	name = mrmr_json_place_name(NULL, NULL);
	assert_string_equal(name, "");
	talloc_free(name);
}

/* Every prefix of a text, and every text with one byte changed, in a buffer of
   exactly its size, so that the sanitizers see a step over its end. */
static void json_place_stays_within_any_text(void **state)
{
	static const char bytes[] = "{}[]\",:\\ \n1x";
	struct mrmr_json_place c = {.key = "c"};
	struct mrmr_json_place cb = {.parent = &c, .key = "b"};
	size_t full = strlen(place_text);
	size_t len;
	size_t i;

	for (len = 0; len <= full; len++) {
		char *text = malloc(len + 1);
		char *exact = realloc(text, len > 0 ? len : 1);

		assert_non_null(exact);
		memcpy(exact, place_text, len);
		mrmr_json_place_line(&cb, exact, len);
		for (i = 0; len > 0 && bytes[i] != '\0'; i++) {
			exact[len - 1] = bytes[i];
			mrmr_json_place_line(&cb, exact, len);
		}
		free(exact);
	}
}

/* --- file ----------------------------------------------------------------- */

static const struct mrmr_file_attributes plain = {.mode = 0640,
						  .uid = (uid_t)-1,
						  .gid = (gid_t)-1};

static int open_scratch(void **state)
{
	int fd = open(*state, O_PATH | O_DIRECTORY);

	assert_int_not_equal(fd, -1);
	return fd;
}

static void file_write_is_whole_and_leaves_nothing_else(void **state)
{
	int dir_fd = open_scratch(state);
	struct stat st = {0};

	scratch_write(state, ".f.new", "left by a crash");
	assert_int_equal(mrmr_file_write(dir_fd, "f", "one", 3, &plain, false),
			 0);
	assert_string_equal(scratch_read(state, "f"), "one");
	assert_int_equal(stat(scratch_path(state, "f"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_null(scratch_read(state, ".f.new"));

	assert_int_equal(mrmr_file_write(dir_fd, "f", "two", 3, &plain, false),
			 -1);
	assert_int_equal(errno, EEXIST);
	assert_string_equal(scratch_read(state, "f"), "one");
	assert_null(scratch_read(state, ".f.new"));

	assert_int_equal(mrmr_file_write(dir_fd, "f", "two", 3, &plain, true),
			 0);
	assert_string_equal(scratch_read(state, "f"), "two");
	close(dir_fd);
}

static void file_write_replaces_no_directory(void **state)
{
	int dir_fd = open_scratch(state);

	assert_int_equal(mkdir(scratch_path(state, "d"), 0755), 0);
	assert_int_equal(mrmr_file_write(dir_fd, "d", "x", 1, &plain, true),
			 -1);
	assert_int_equal(errno, EISDIR);
	assert_null(scratch_read(state, ".d.new"));
	close(dir_fd);
}

static void file_read_takes_only_files(void **state)
{
	size_t len = 0;
	char *data = NULL;
	int fd;

	scratch_write(state, "f", "hello");
	fd = open(scratch_path(state, "f"), O_RDONLY);
	data = mrmr_file_read_fd(NULL, fd, 5, &len);
	assert_non_null(data);
	assert_int_equal(len, 5);
	assert_string_equal(data, "hello");
	talloc_free(data);
	assert_null(mrmr_file_read_fd(NULL, fd, 4, &len));
	assert_int_equal(errno, EFBIG);
	close(fd);

	fd = open(*state, O_RDONLY | O_DIRECTORY);
	assert_null(mrmr_file_read_fd(NULL, fd, 99, &len));
	assert_int_equal(errno, EISDIR);
	close(fd);

	assert_int_equal(mkfifo(scratch_path(state, "p"), 0600), 0);
	fd = open(scratch_path(state, "p"), O_RDONLY | O_NONBLOCK);
	assert_null(mrmr_file_read_fd(NULL, fd, 99, &len));
	assert_int_equal(errno, EINVAL);
	close(fd);
}

static void read_and_write_fully(void **state)
{
	char buf[8] = {0};
	int fd;

	scratch_write(state, "some", "0123456789");
	fd = open(scratch_path(state, "some"), O_RDWR);
	assert_int_not_equal(fd, -1);
	assert_int_equal(mrmr_write_fully(fd, "abc", 3, 8), 0);
	assert_int_equal(mrmr_read_fully(fd, buf, 4, 6), 0);
	assert_memory_equal(buf, "67ab", 4);
	assert_int_equal(mrmr_read_upto(fd, buf, 8, 6), 5);
	assert_memory_equal(buf, "67abc", 5);
	assert_int_equal(mrmr_read_upto(fd, buf, 8, 11), 0);
	errno = 0;
	assert_int_equal(mrmr_read_fully(fd, buf, 8, 6), -1);
	assert_int_equal(errno, EIO);
	close(fd);
	assert_int_equal(mrmr_read_upto(fd, buf, 1, 0), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(mrmr_write_fully(fd, buf, 1, 0), -1);
	assert_int_equal(errno, EBADF);
}

/* --- digest --------------------------------------------------------------- */

/* Both hashes at once, in parts of any length, again and again. */
static void hashes_are_those_of_the_whole(void **state)
{
	static const size_t parts[] = {1, 63, 4096, 65536, 65537, 200000};
	const size_t len = 300001;
	struct mrmr_hashes *hashes = mrmr_hashes_new();
	uint8_t *bytes = malloc(len);
	uint8_t expected[MRMR_SHA256_LEN];
	size_t i;

	assert_non_null(bytes);
	for (i = 0; i < len; i++) {
		bytes[i] = (uint8_t)(i * i >> 7);
	}
	mrmr_sha256(bytes, len, expected);
	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		uint8_t sha256[MRMR_SHA256_LEN];
		uint64_t checksum = 0;
		size_t at;

		mrmr_hashes_start(hashes);
		for (at = 0; at < len; at += parts[i]) {
			mrmr_hashes_add(hashes, bytes + at,
					len - at < parts[i] ? len - at
							    : parts[i]);
		}
		mrmr_hashes_end(hashes, sha256, &checksum);
		assert_memory_equal(sha256, expected, sizeof(sha256));
		assert_int_equal(checksum, mrmr_checksum(bytes, len));
	}
	mrmr_hashes_free(hashes);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(error_set_fills_all),
		cmocka_unit_test(error_is_one_line_of_text),
		cmocka_unit_test(error_too_long_is_cut_between_characters),
		cmocka_unit_test(hex_both_ways),
		cmocka_unit_test(uuid_both_ways),
		cmocka_unit_test(uuid_refuses_all_else),
		cmocka_unit_test(uuid_generated_is_version_4_and_new),
		cmocka_unit_test(uuid_hash_never_changes),
		cmocka_unit_test(size_parses),
		cmocka_unit_test(size_formats),
		cmocka_unit_test(path_cleans),
		cmocka_unit_test(path_too_long_is_refused),
		cmocka_unit_test(path_within),
		cmocka_unit_test(path_absolute),
		cmocka_unit_test(nearest_suggests_what_was_meant),
		cmocka_unit_test(json_place_lines),
		cmocka_unit_test(json_place_names),
		cmocka_unit_test(json_place_stays_within_any_text),
		cmocka_unit_test_setup_teardown(
			file_write_is_whole_and_leaves_nothing_else,
			scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(
			file_write_replaces_no_directory, scratch_setup,
			scratch_teardown),
		cmocka_unit_test_setup_teardown(file_read_takes_only_files,
						scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(read_and_write_fully,
						scratch_setup,
						scratch_teardown),
		cmocka_unit_test(hashes_are_those_of_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
