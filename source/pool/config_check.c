/*
 * MRMR: config reader, the checks that need more than one value.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <string.h>
#include <strings.h>

#include <mrmr/path.h>
#include <mrmr/units.h>

#include "config_private.h"

/* --- ids ------------------------------------------------------------------ */

static int check_id(struct mrmr_config_reader *reader,
		    const struct mrmr_json_place *member_place, size_t index)
{
	const struct mrmr_config *config = reader->config;
	const struct mrmr_member_config *member = &config->members[index];
	struct mrmr_json_place place = {.parent = member_place,
					.key = "drive_id"};
	size_t i;

	if (mrmr_uuid_equal(&member->id, &config->pool_id)) {
		return mrmr_config_fail(reader, &place,
					"is the id of the pool itself; each "
					"member needs one of its own");
	}
	for (i = 0; i < index; i++) {
		if (mrmr_uuid_equal(&member->id, &config->members[i].id)) {
			return mrmr_config_fail(reader, &place,
						"is the id of another member, "
						"%s in line %u",
						config->members[i].name,
						config->members[i].line);
		}
	}
	return 0;
}

/* --- places --------------------------------------------------------------- */

/* Could two remote members be on the same server and share? */
static bool same_server(const struct mrmr_member_config *a,
			const struct mrmr_member_config *b)
{
	if (a->kind != b->kind || a->kind == MRMR_MEMBER_LOCAL) {
		return false;
	}
	if (strcasecmp(a->connection.host, b->connection.host) != 0 ||
	    a->connection.port != b->connection.port) {
		return false;
	}
	return a->kind == MRMR_MEMBER_SSH ||
	       strcasecmp(a->connection.share, b->connection.share) == 0;
}

/* The directories of two members if they can be compared at all. */
static bool comparable(const struct mrmr_member_config *a,
		       const struct mrmr_member_config *b, const char **a_dir,
		       const char **b_dir)
{
	if (a->kind == MRMR_MEMBER_LOCAL && b->kind == MRMR_MEMBER_LOCAL) {
		*a_dir = a->mount_point;
		*b_dir = b->mount_point;
		return true;
	}
	if (same_server(a, b)) {
		*a_dir = a->connection.mount;
		*b_dir = b->connection.mount;
		return true;
	}
	return false;
}

static int check_against_member(struct mrmr_config_reader *reader,
				const struct mrmr_json_place *place,
				const struct mrmr_member_config *member,
				const struct mrmr_member_config *other)
{
	const char *dir = NULL;
	const char *other_dir = NULL;

	if (!comparable(member, other, &dir, &other_dir)) {
		return 0;
	}
	if (strcmp(dir, other_dir) == 0) {
		return mrmr_config_fail(reader, place,
					"%s is a member already, in line %u",
					member->name, other->line);
	}
	if (mrmr_path_is_within(dir, other_dir)) {
		return mrmr_config_fail(reader, place,
					"%s is inside another member, %s in "
					"line %u; its files would be in the "
					"share twice",
					member->name, other->name, other->line);
	}
	if (mrmr_path_is_within(other_dir, dir)) {
		return mrmr_config_fail(reader, place,
					"another member, %s in line %u, is "
					"inside %s; its files would be in the "
					"share twice",
					other->name, other->line, member->name);
	}
	return 0;
}

static int check_against_state(struct mrmr_config_reader *reader,
			       const struct mrmr_json_place *place,
			       const struct mrmr_member_config *member)
{
	struct mrmr_json_place state_place = {.key = "state_dir"};
	const char *state_dir = reader->config->state_dir;

	if (member->kind != MRMR_MEMBER_LOCAL) {
		return 0;
	}
	if (mrmr_path_is_within(member->mount_point, state_dir)) {
		return mrmr_config_fail(reader, place,
					"%s is inside the state directory %s; "
					"move one of them",
					member->mount_point, state_dir);
	}
	if (mrmr_path_is_within(state_dir, member->mount_point)) {
		return mrmr_config_fail(reader, &state_place,
					"%s is inside a member, %s in line %u; "
					"move one of them",
					state_dir, member->mount_point,
					member->line);
	}
	return 0;
}

static int check_place(struct mrmr_config_reader *reader,
		       const struct mrmr_json_place *member_place, size_t index)
{
	const struct mrmr_config *config = reader->config;
	const struct mrmr_member_config *member = &config->members[index];
	bool is_local = member->kind == MRMR_MEMBER_LOCAL;
	struct mrmr_json_place place = {.parent = member_place,
					.key = is_local ? "mount_point"
							: "connection"};
	size_t i;

	for (i = 0; i < index; i++) {
		if (check_against_member(reader, &place, member,
					 &config->members[i]) == -1) {
			return -1;
		}
	}
	return check_against_state(reader, &place, member);
}

int mrmr_config_check_members(struct mrmr_config_reader *reader,
			      const struct mrmr_json_place *place)
{
	size_t i;

	for (i = 0; i < reader->config->num_members; i++) {
		struct mrmr_json_place below = {.parent = place, .index = i};

		if (check_id(reader, &below, i) == -1 ||
		    check_place(reader, &below, i) == -1) {
			return -1;
		}
	}
	return 0;
}

/* --- parity --------------------------------------------------------------- */

int mrmr_config_check_parity(struct mrmr_config_reader *reader)
{
	const struct mrmr_config *config = reader->config;
	struct mrmr_json_place place = {.key = "parity_drives"};
	unsigned int wanted = config->parity.min;
	struct mrmr_units units;

	mrmr_units_find(config, &units);
	if (wanted > 0 && wanted >= units.num) {
		return mrmr_config_fail(
			reader, &place,
			"%u at once can't be lost: the pool has %zu that fail "
			"on their own (members of one \"stack\" count as "
			"one), so at most %zu",
			wanted, units.num, units.num - 1);
	}
	if (wanted > units.max_rows) {
		return mrmr_config_fail(
			reader, &place,
			"%u at once can't be lost: with the members' roles, "
			"there is place for the parity of every file against "
			"the loss of %u only; give fewer members the role "
			"\"data\"",
			wanted, units.max_rows);
	}
	return 0;
}
