/*
 * mrmr-admin: files as the catalogue knows them (see nodes.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <talloc.h>

#include <mrmr/trash.h>

#include "nodes.h"

/* In the trash: without the folder that tells when it came there. */
static char *node_path(void *mem_ctx, struct mrmr_engine *engine, uint64_t id,
		       bool *in_trash)
{
	char *path = NULL;

	*in_trash = false;
	path = mrmr_catalog_path(engine->catalog, mem_ctx, id, in_trash);
	if (path == NULL) {
		return admin_need(talloc_asprintf(mem_ctx,
						  "(file %llu, name unknown)",
						  (unsigned long long)id));
	}
	return *in_trash ? admin_need(talloc_strdup(mem_ctx,
						    mrmr_trash_origin(path)))
			 : path;
}

char *admin_node_label(void *mem_ctx, struct mrmr_engine *engine, uint64_t id)
{
	void *frame = admin_need(talloc_new(NULL));
	bool in_trash = false;
	char *path = node_path(frame, engine, id, &in_trash);
	char *label = admin_need(
		talloc_asprintf(mem_ctx, "%s%s", admin_printable(frame, path),
				in_trash ? " (in the trash)" : ""));

	talloc_free(frame);
	return label;
}

const char *admin_number_name(const struct mrmr_engine *engine, uint16_t member)
{
	size_t index = mrmr_engine_member(engine, member);

	return index == SIZE_MAX
		       ? "a member that has left the pool"
		       : mrmr_member_name(&engine->pool->members[index]);
}

void admin_set_node(json_t *object, struct mrmr_engine *engine, uint64_t id,
		    uint16_t member)
{
	void *frame = admin_need(talloc_new(NULL));
	struct mrmr_uuid uuid;
	bool in_trash = false;
	char *path = node_path(frame, engine, id, &in_trash);

	admin_set(object, "path", admin_json_text(path));
	admin_set(object, "in_trash", json_boolean(in_trash));
	admin_set(object, "name",
		  admin_json_text(admin_number_name(engine, member)));
	if (mrmr_catalog_member_id(engine->catalog, member, &uuid) == 0) {
		admin_set(object, "mount_id", admin_json_uuid(&uuid));
	}
	talloc_free(frame);
}
