/*
 * Unit tests: configs that are right.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
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
#define B2 "bbbb1111-0000-4000-8000-000000000003"
#define C "cccc0000-0000-4000-8000-000000000004"

static const char smallest[] =
	"{\"drive_id\":\"" POOL "\",\"parity_drives\":0,"
	"\"state_dir\":\"/s\","
	"\"mounts\":[{\"drive_id\":\"" A "\",\"mount_point\":\"/a\"}]}";

/* Every key there is. */
static const char largest[] =
	"{\n"
	"  \"rules\": [\n"
	"    {\"match\": \"*.iso\", \"placement\": \"spread\",\n"
	"     \"members\": [\"/mnt/b/\", \"AAAA\"]},\n"
	"    {\"match\": \"Photos/*\", \"placement\": \"keep-together\"},\n"
	"    {\"match\": \"tmp/*\", \"members\": "
	"[\"smb://nas:445/disk1/mrmr\"]}\n"
	"  ],\n"
	"  \"mounts\": [\n"
	"    {\"drive_id\": \"" A "\", \"mount_point\": \"//mnt/./a/\",\n"
	"     \"tier\": 1, \"role\": \"data\", \"min_free\": \"1.5G\"},\n"
	"    {\"drive_id\": \"" B "\", \"mount_point\": \"/mnt/b\",\n"
	"     \"role\": \"parity\", \"stack\": \"shelf 1\",\n"
	"     \"is_removable\": true},\n"
	"    {\"drive_id\": \"" B2 "\", \"connection\": {\n"
	"       \"type\": \"smb\", \"host\": \"nas\", \"share\": \"disk1\",\n"
	"       \"mount\": \"/mrmr/\", \"credentials\": \"/etc/mrmr/nas\",\n"
	"       \"user\": \"HOME\\\\me\", \"port\": 445}, \"role\": \"any\"},\n"
	"    {\"drive_id\": \"" C "\", \"connection\": {\n"
	"       \"type\": \"ssh\", \"host\": \"fe80::1\", \"port\": 2222}}\n"
	"  ],\n"
	"  \"drive_id\": \"" POOL "\",\n"
	"  \"parity_drives\": {\"min\": 1, \"max\": 3},\n"
	"  \"state_dir\": \"/var/lib/mrmr//pool/\",\n"
	"  \"block_size\": \"1M\",\n"
	"  \"placement\": \"most-free-percent\",\n"
	"  \"min_free\": 4096,\n"
	"  \"trash_days\": 7,\n"
	"  \"trash_max_percent\": 5,\n"
	"  \"undo_max_bytes\": \"128M\"\n"
	"}\n";

static struct mrmr_config *parse(const char *text)
{
	struct mrmr_error err = {0};
	struct mrmr_config *config =
		mrmr_config_parse(NULL, "pool.json", text, strlen(text), &err);

	if (config == NULL) {
		fail_msg("%s", err.text);
	}
	return config;
}

static void smallest_config_has_the_defaults(void **state)
{
	struct mrmr_config *config = parse(smallest);
	char id[MRMR_UUID_LEN + 1];

	assert_string_equal(config->path, "pool.json");
	mrmr_uuid_format(&config->pool_id, id);
	assert_string_equal(id, POOL);
	assert_int_equal(config->parity.min, 0);
	assert_int_equal(config->parity.max, 0);
	assert_string_equal(config->state_dir, "/s");
	assert_int_equal(config->block_size_bytes, MRMR_BLOCK_SIZE_DEFAULT);
	assert_string_equal(config->placement, "most-free");
	assert_int_equal(config->min_free_bytes, 0);
	assert_int_equal(config->trash_days, MRMR_TRASH_DAYS_DEFAULT);
	assert_int_equal(config->trash_max_percent,
			 MRMR_TRASH_MAX_PERCENT_DEFAULT);
	assert_int_equal(config->undo_max_bytes, 64 << 20);
	assert_int_equal(config->num_members, 1);
	assert_int_equal(config->num_rules, 0);
	assert_int_equal(config->members[0].kind, MRMR_MEMBER_LOCAL);
	assert_int_equal(config->members[0].role, MRMR_ROLE_DATA_AND_PARITY);
	assert_string_equal(config->members[0].mount_point, "/a");
	assert_null(config->members[0].stack);
	assert_int_equal(config->members[0].line, 1);
	talloc_free(config);
}

static void check_largest(const struct mrmr_config *config)
{
	const struct mrmr_member_config *member = config->members;
	const struct mrmr_rule_config *rule = config->rules;

	assert_int_equal(config->parity.min, 1);
	assert_int_equal(config->parity.max, 3);
	assert_string_equal(config->state_dir, "/var/lib/mrmr/pool");
	assert_int_equal(config->block_size_bytes, 1 << 20);
	assert_string_equal(config->placement, "most-free-percent");
	assert_int_equal(config->min_free_bytes, 4096);
	assert_int_equal(config->trash_days, 7);
	assert_int_equal(config->trash_max_percent, 5);
	assert_int_equal(config->undo_max_bytes, 128 << 20);
	assert_int_equal(config->num_members, 4);

	assert_string_equal(member[0].mount_point, "/mnt/a");
	assert_int_equal(member[0].tier, 1);
	assert_int_equal(member[0].role, MRMR_ROLE_DATA);
	assert_int_equal(member[0].min_free_bytes, 3 << 29);

	assert_string_equal(mrmr_member_config_name(&member[1]), "/mnt/b");
	assert_int_equal(member[1].role, MRMR_ROLE_PARITY);
	assert_string_equal(member[1].stack, "shelf 1");
	assert_true(member[1].is_removable);
	assert_int_equal(member[1].min_free_bytes, 4096);

	assert_int_equal(member[2].kind, MRMR_MEMBER_SMB);
	assert_null(member[2].mount_point);
	assert_string_equal(member[2].connection.host, "nas");
	assert_string_equal(member[2].connection.share, "disk1");
	assert_string_equal(member[2].connection.mount, "/mrmr");
	assert_string_equal(member[2].connection.credentials, "/etc/mrmr/nas");
	assert_string_equal(member[2].connection.user, "HOME\\me");
	assert_int_equal(member[2].connection.port, 445);
	assert_string_equal(mrmr_member_config_name(&member[2]),
			    "smb://nas:445/disk1/mrmr");

	assert_int_equal(member[3].kind, MRMR_MEMBER_SSH);
	assert_string_equal(member[3].connection.mount, "/");
	assert_string_equal(mrmr_member_config_name(&member[3]),
			    "sftp://[fe80::1]:2222");

	assert_int_equal(config->num_rules, 3);
	assert_string_equal(rule[0].pattern, "*.iso");
	assert_string_equal(rule[0].placement, "spread");
	assert_int_equal(rule[0].num_members, 2);
	assert_int_equal(rule[0].members[0], 1);
	assert_int_equal(rule[0].members[1], 0);
	assert_string_equal(rule[1].placement, "keep-together");
	assert_null(rule[1].members);
	assert_null(rule[2].placement);
	assert_int_equal(rule[2].num_members, 1);
	assert_int_equal(rule[2].members[0], 2);
}

static void largest_config_is_read(void **state)
{
	struct mrmr_config *config = parse(largest);

	check_largest(config);
	assert_int_equal(config->members[0].line, 9);
	assert_int_equal(config->members[1].line, 11);
	assert_int_equal(config->members[2].line, 14);
	assert_int_equal(config->members[3].line, 18);
	talloc_free(config);
}

static struct mrmr_parity_wish parity_of(const char *value)
{
	struct mrmr_parity_wish parity = {0};
	struct mrmr_config *config = NULL;
	char text[1024];

	snprintf(text, sizeof(text),
		 "{\"drive_id\":\"" POOL "\",\"parity_drives\":%s,"
		 "\"state_dir\":\"/s\",\"mounts\":["
		 "{\"drive_id\":\"" A "\",\"mount_point\":\"/a\"},"
		 "{\"drive_id\":\"" B "\",\"mount_point\":\"/b\"},"
		 "{\"drive_id\":\"" C "\",\"mount_point\":\"/c\"}]}",
		 value);
	config = parse(text);
	parity = config->parity;
	talloc_free(config);
	return parity;
}

static void parity_has_three_forms(void **state)
{
	struct mrmr_parity_wish parity = parity_of("2");

	assert_int_equal(parity.min, 2);
	assert_int_equal(parity.max, 2);
	parity = parity_of("\"max\"");
	assert_int_equal(parity.min, 0);
	assert_int_equal(parity.max, UINT_MAX);
	parity = parity_of("{\"min\": 1, \"max\": 8}");
	assert_int_equal(parity.min, 1);
	assert_int_equal(parity.max, 8);
	parity = parity_of("{\"min\": 1}");
	assert_int_equal(parity.min, 1);
	assert_int_equal(parity.max, UINT_MAX);
	parity = parity_of("{\"min\": 2, \"max\": \"max\"}");
	assert_int_equal(parity.min, 2);
	assert_int_equal(parity.max, UINT_MAX);
	parity = parity_of("{\"max\": 1}");
	assert_int_equal(parity.min, 0);
	assert_int_equal(parity.max, 1);
}

/* Two drives for data, one for parity: the classic array. */
static void a_drive_of_its_own_for_parity_is_fine(void **state)
{
	talloc_free(parse("{\"drive_id\":\"" POOL "\",\"parity_drives\":1,"
			  "\"state_dir\":\"/s\",\"mounts\":["
			  "{\"drive_id\":\"" A "\",\"mount_point\":\"/a\","
			  "\"role\":\"data\"},"
			  "{\"drive_id\":\"" B "\",\"mount_point\":\"/b\","
			  "\"role\":\"data\"},"
			  "{\"drive_id\":\"" C "\",\"mount_point\":\"/c\","
			  "\"role\":\"parity\"}]}"));
}

static void as_many_members_as_there_are_slots(void **state)
{
	char *text = talloc_strdup(NULL, "{\"drive_id\":\"" POOL "\","
					 "\"parity_drives\":2,"
					 "\"state_dir\":\"/s\",\"mounts\":[");
	struct mrmr_config *config = NULL;
	int i;

	for (i = 0; i < MRMR_MEMBERS_MAX; i++) {
		text = talloc_asprintf_append(text,
					      "%s{\"drive_id\":\"aaaa0000-0000-"
					      "4000-8000-%012x\","
					      "\"mount_point\":\"/m%d\"}",
					      i > 0 ? "," : "", i, i);
	}
	text = talloc_asprintf_append(text, "]}");
	config = parse(text);
	assert_int_equal(config->num_members, MRMR_MEMBERS_MAX);
	talloc_free(config);
	talloc_free(text);
}

/* --- saving --------------------------------------------------------------- */

static void save_and_load_gives_the_same(void **state)
{
	struct mrmr_error err = {0};
	struct mrmr_config *config = parse(largest);
	const char *path = scratch_path(state, "pool.json");

	assert_int_equal(mrmr_config_save(config, path, &err), 0);
	talloc_free(config);
	config = mrmr_config_load(NULL, path, &err);
	if (config == NULL) {
		fail_msg("%s", err.text);
	}
	assert_string_equal(config->path, path);
	check_largest(config);
	talloc_free(config);
}

static void save_leaves_defaults_out(void **state)
{
	struct mrmr_error err = {0};
	struct mrmr_config *config = parse(smallest);
	const char *path = scratch_path(state, "pool.json");

	assert_int_equal(mrmr_config_save(config, path, &err), 0);
	assert_string_equal(scratch_read(state, "pool.json"),
			    "{\n"
			    "  \"drive_id\": \"" POOL "\",\n"
			    "  \"parity_drives\": 0,\n"
			    "  \"state_dir\": \"/s\",\n"
			    "  \"placement\": \"most-free\",\n"
			    "  \"mounts\": [\n"
			    "    {\n"
			    "      \"drive_id\": \"" A "\",\n"
			    "      \"mount_point\": \"/a\"\n"
			    "    }\n"
			    "  ]\n"
			    "}\n");
	talloc_free(config);
}

static void save_keeps_mode_and_symlink(void **state)
{
	struct mrmr_error err = {0};
	struct mrmr_config *config = parse(smallest);
	const char *link = scratch_path(state, "link.json");
	struct stat st = {0};

	scratch_write(state, "pool.json", "old");
	assert_int_equal(chmod(scratch_path(state, "pool.json"), 0604), 0);
	assert_int_equal(symlink("pool.json", link), 0);
	assert_int_equal(mrmr_config_save(config, link, &err), 0);
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(stat(link, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0604);
	assert_int_equal(scratch_read(state, "pool.json")[0], '{');
	talloc_free(config);
}

static void save_says_why_not(void **state)
{
	struct mrmr_error err = {0};
	struct mrmr_config *config = parse(smallest);

	assert_int_equal(mrmr_config_save(config,
					  scratch_path(state, "no/pool.json"),
					  &err),
			 -1);
	assert_int_equal(err.code, ENOENT);
	assert_non_null(strstr(err.text, "can't be written"));
	talloc_free(config);
}

/* --- members -------------------------------------------------------------- */

static void find_member_by_id_prefix_or_place(void **state)
{
	struct mrmr_config *config = parse(largest);
	struct mrmr_error err = {0};

	assert_int_equal(mrmr_config_find_member(config, A, &err), 0);
	assert_int_equal(mrmr_config_find_member(config, "aaaa", &err), 0);
	assert_int_equal(mrmr_config_find_member(config, "AAAA0000-", &err), 0);
	assert_int_equal(mrmr_config_find_member(config, "bbbb1", &err), 2);
	assert_int_equal(mrmr_config_find_member(config, "/mnt/b", &err), 1);
	assert_int_equal(mrmr_config_find_member(config, "//mnt/b/", &err), 1);
	assert_int_equal(mrmr_config_find_member(config,
						 "sftp://[fe80::1]:2222", &err),
			 3);
	talloc_free(config);
}

static void find_member_says_why_not(void **state)
{
	struct mrmr_config *config = parse(largest);
	struct mrmr_error err = {0};

	assert_int_equal(mrmr_config_find_member(config, "bbbb", &err), -1);
	assert_int_equal(err.code, EINVAL);
	assert_non_null(strstr(err.text, B));
	assert_non_null(strstr(err.text, B2));

	assert_int_equal(mrmr_config_find_member(config, "aaa", &err), -1);
	assert_int_equal(err.code, EINVAL);
	assert_non_null(strstr(err.text, "too short"));

	assert_int_equal(mrmr_config_find_member(config, "dddd", &err), -1);
	assert_int_equal(err.code, ENOENT);
	assert_int_equal(mrmr_config_find_member(config, "/mnt", &err), -1);
	assert_int_equal(err.code, ENOENT);
	assert_int_equal(mrmr_config_find_member(config, "", &err), -1);
	assert_int_equal(err.code, ENOENT);
	assert_int_equal(mrmr_config_find_member(config, A "0", &err), -1);
	assert_int_equal(err.code, ENOENT);
	talloc_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(smallest_config_has_the_defaults),
		cmocka_unit_test(largest_config_is_read),
		cmocka_unit_test(parity_has_three_forms),
		cmocka_unit_test(a_drive_of_its_own_for_parity_is_fine),
		cmocka_unit_test(as_many_members_as_there_are_slots),
		cmocka_unit_test_setup_teardown(save_and_load_gives_the_same,
						scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(save_leaves_defaults_out,
						scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(save_keeps_mode_and_symlink,
						scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(save_says_why_not,
						scratch_setup,
						scratch_teardown),
		cmocka_unit_test(find_member_by_id_prefix_or_place),
		cmocka_unit_test(find_member_says_why_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
