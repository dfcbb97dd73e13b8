/*
 * mrmr-admin status: names on more than one member (see overlap_status.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <string.h>

#include <talloc.h>

#include "overlap.h"
#include "overlap_status.h"

#define OVERLAPS_SHOWN 20

struct overlaps {
	struct admin *admin;
	const struct mrmr_pool *pool;
	json_t *duplicates;
	json_t *directories;
	char *lines; /* for people: the first ones, */
	size_t num;  /* of so many */
	bool has_work;
};

static const char *kind_name(enum overlap_kind kind)
{
	switch (kind) {
	case OVERLAP_DUPLICATE:
		return "duplicate";
	case OVERLAP_TYPE:
		return "type";
	case OVERLAP_CASE:
		return "case";
	case OVERLAP_RIGHTS:
		return "rights";
	}
	return "unknown";
}

static const char *kind_text(enum overlap_kind kind)
{
	switch (kind) {
	case OVERLAP_DUPLICATE:
		return "is there more than once; the first is in the share";
	case OVERLAP_TYPE:
		return "is a directory here and a file there";
	case OVERLAP_CASE:
		return "has another case elsewhere, and is one name to Windows";
	case OVERLAP_RIGHTS:
		return "has different owners or modes";
	}
	return "";
}

static void show_overlap(struct overlaps *found, const struct overlap *overlap)
{
	const struct mrmr_pool *pool = found->pool;
	char *path = admin_printable(found->admin, overlap->path);
	size_t i;

	if (found->num++ >= OVERLAPS_SHOWN) {
		return;
	}
	found->lines = admin_need(
		talloc_asprintf_append(found->lines, "  %s %s:",
				       path[0] != '\0' ? path : "(root)",
				       kind_text(overlap->kind)));
	for (i = 0; i < overlap->num_members; i++) {
		const struct mrmr_member *member =
			&pool->members[overlap->members[i]];

		found->lines = admin_need(
			talloc_asprintf_append(found->lines, "%s %s",
					       i > 0 ? "," : "",
					       mrmr_member_name(member)));
	}
	found->lines = admin_need(talloc_asprintf_append(found->lines, "\n"));
	talloc_free(path);
}

static json_t *member_id(const struct overlaps *found, size_t member)
{
	return admin_json_uuid(&found->pool->members[member].config->id);
}

static void take_overlap(const struct overlap *overlap, void *private_data)
{
	struct overlaps *found = private_data;
	bool is_duplicate = overlap->kind == OVERLAP_DUPLICATE;
	json_t *object = admin_need(json_object());
	json_t *members = admin_need(json_array());
	size_t i;

	admin_set(object, "path", admin_json_text(overlap->path));
	if (is_duplicate) {
		admin_set(object, "winner",
			  member_id(found, overlap->members[0]));
	} else {
		admin_set(object, "trouble",
			  json_string(kind_name(overlap->kind)));
	}
	for (i = is_duplicate ? 1 : 0; i < overlap->num_members; i++) {
		admin_append(members, member_id(found, overlap->members[i]));
	}
	admin_set(object, is_duplicate ? "others" : "members", members);
	admin_append(is_duplicate ? found->duplicates : found->directories,
		     object);
	if (is_duplicate || overlap->kind == OVERLAP_TYPE) {
		found->has_work = true;
	}
	show_overlap(found, overlap);
}

bool admin_overlap_status(struct admin *admin, const struct mrmr_pool *pool,
			  bool quick, unsigned int seconds)
{
	struct overlaps found = {
		.admin = admin,
		.pool = pool,
		.duplicates = admin_need(json_array()),
		.directories = admin_need(json_array()),
		.lines = admin_need(talloc_strdup(admin, "")),
	};
	bool complete = false;

	if (!quick) {
		complete = admin_overlaps_find(pool, seconds, take_overlap,
					       &found);
	}
	admin_set(admin->result, "duplicates", found.duplicates);
	admin_set(admin->result, "directories", found.directories);
	admin_set(admin->result, "names_complete", json_boolean(complete));
	if (found.num > 0) {
		admin_say(admin, "\nNames that are on several members:\n%.*s",
			  (int)strlen(found.lines) - 1, found.lines);
	}
	if (found.num > OVERLAPS_SHOWN) {
		admin_say(admin, "  and %zu more; --json lists them all",
			  found.num - OVERLAPS_SHOWN);
	}
	if (!quick && !complete) {
		admin_note(admin, "not all directories were looked at; "
				  "mrmr-admin status --full takes the time");
	}
	return found.has_work;
}
