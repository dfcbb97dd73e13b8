/*
 * mrmr-admin: files as the catalogue knows them, for people and programs.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ADMIN_NODES_H
#define MRMR_ADMIN_NODES_H

#include <mrmr/engine.h>

#include "admin.h"

/* As many names as people are shown. */
#define ADMIN_NAMES_SHOWN 20

/* "music/a.flac", or "music/a.flac (in the trash)": printable. A talloc child of
   mem_ctx. */
char *admin_node_label(void *mem_ctx, struct mrmr_engine *engine, uint64_t id);

/* Sets path, in_trash, and mount_id and name of its member. */
void admin_set_node(json_t *object, struct mrmr_engine *engine, uint64_t id,
		    uint16_t member);

/* For people: the member's name, or that it has left the pool. */
const char *admin_number_name(const struct mrmr_engine *engine,
			      uint16_t member);

#endif
