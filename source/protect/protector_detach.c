/*
 * MRMR: the protector: names that are gone.
 *
 * A file that has lost its last name may be in stripes: then it becomes an entry
 * of the trash under a name that nothing has on disk,
 *
 *     MEMBER/.gone/ID/PATH
 *
 * and is pending: what is left of it leaves its stripes.
 *
 * Missing is not deleted (invariant 5): what lies on a member that is away keeps
 * its name, unless a client removed it, or gave its name to another file: an
 * event says so, or, where the event was lost, what the pool has noted for that
 * member. Then it gives way, so that the file that has the name now can be
 * protected; and waits in the trash for its member, as the blocks of others
 * need its bytes. When the member is back, it is in its trash, where its entry
 * follows it (an event, or a scan, tells); or it is under its name after all,
 * and gets that back; or it leaves its stripes. If the member is rebuilt, it
 * comes into the trash of another one, not into the share.
 *
 * So it may be that a file that is there has the name of one that is away, as the
 * event of the rename was lost (a power cut). It is not the one to give way, and
 * cannot have the name. But nobody may take it for lost, as it is under no other
 * name any more: the blocks of others need its bytes. So it becomes such an entry,
 * with the path where it is, and waits as well (names_set_aside). Likewise one that
 * nobody sees, as another member, which comes first, has what it replaced again.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/absent.h>
#include <mrmr/fault.h>

#include "protector_private.h"
#include "was.h"

/* --- directories -------------------------------------------------------------- */

struct children {
	void *mem_ctx;
	char **names;
	size_t num;
};

static int take_child(const struct mrmr_node *node, void *private_data)
{
	struct children *children = private_data;
	char **names = talloc_realloc(children->mem_ctx, children->names,
				      char *, children->num + 1);

	if (names == NULL) {
		errno = ENOMEM;
		return -1;
	}
	children->names = names;
	names[children->num] = talloc_strdup(names, node->name);
	if (names[children->num] == NULL) {
		errno = ENOMEM;
		return -1;
	}
	children->num++;
	return 0;
}

static int detach_directory(struct protector *p, void *frame,
			    const struct mrmr_node *node)
{
	struct children children = {.mem_ctx = frame};
	size_t i;

	if (mrmr_catalog_list(p->catalog, node->id, take_child, &children) ==
	    -1) {
		return -1;
	}
	for (i = 0; i < children.num; i++) {
		if (names_detach(p, node->id, children.names[i], NAMES_SEEMS) ==
		    -1) {
			return -1;
		}
	}
	if (mrmr_catalog_remove(p->catalog, node->dir_id, node->name) == -1) {
		return errno == ENOTEMPTY ? 0 : -1;
	}
	return 0;
}

/* --- on members that are away ------------------------------------------------- */

static bool is_away(const struct protector *p, uint16_t number)
{
	return mrmr_engine_member(p->engine, number) != SIZE_MAX &&
	       mrmr_engine_online(p->engine, number) == NULL;
}

/* Did a client remove what a member that is away has under this name? 1, 0, or
   -1 with errno. */
static int was_removed(struct protector *p, void *frame, uint16_t number,
		       uint64_t dir_id, const char *name)
{
	size_t index = mrmr_engine_member(p->engine, number);
	char *path = NULL;

	if (p->removed == NULL) {
		p->removed = talloc_zero_array(p, struct mrmr_absent_removed *,
					       p->pool->num_members);
		if (p->removed == NULL) {
			errno = ENOMEM;
			return -1;
		}
	}
	if (p->removed[index] == NULL) {
		p->removed[index] =
			mrmr_absent_removed_load(p->removed, p->pool, index);
		if (p->removed[index] == NULL) {
			return -1;
		}
	}
	path = names_path(p, frame, dir_id, name);
	if (path == NULL) {
		return -1;
	}
	/* not while a directory may be on its way to another name */
	return mrmr_absent_was_removed(p->removed[index], path) &&
	       mrmr_queue_is_empty(p->engine->queue);
}

/* May it lose its name? 1, 0, or -1 with errno. */
static int may_go(struct protector *p, void *frame,
		  const struct mrmr_node *node, uint64_t dir_id,
		  const char *name, enum names_cause cause)
{
	if (cause != NAMES_SEEMS || !is_away(p, node->member)) {
		return 1;
	}
	return was_removed(p, frame, node->member, dir_id, name);
}

/* --- files -------------------------------------------------------------------- */

/* For what has no name any more, and had this one. NULL with errno. */
static char *gone_name(struct protector *p, void *frame,
		       const struct mrmr_node *node, uint64_t dir_id,
		       const char *last)
{
	char *path = names_path(p, frame, dir_id, last);
	char *name = NULL;

	if (path == NULL) {
		return NULL;
	}
	name = talloc_asprintf(frame, "%u/" MRMR_TRASH_GONE "%" PRIx64 "/%s",
			       node->member, node->id, path);
	if (name != NULL && strlen(name) > PATH_MAX) {
		name = talloc_asprintf(frame, "%u/" MRMR_TRASH_GONE "%" PRIx64,
				       node->member, node->id);
	}
	if (name == NULL) {
		errno = ENOMEM;
	}
	return name;
}

/* A file whose last name this was. */
static int detach_file(struct protector *p, void *frame,
		       const struct mrmr_node *node, enum names_cause cause)
{
	/* It may be there when its member is back, and nobody would look. */
	bool is_kept = node->kind == MRMR_NODE_FILE && cause != NAMES_REMOVED &&
		       is_away(p, node->member);
	char *name = NULL;

	if (node->num_extents == 0 && !is_kept) {
		pending_remove(p->pending, node->id);
		/* what it was may be needed yet, if it is to move on */
		if ((!is_away(p, node->member) &&
		     was_forget(p->catalog, node->id) == -1) ||
		    protector_loosen(p, node->member, node->inode) == -1) {
			return -1;
		}
		return mrmr_catalog_remove(p->catalog, node->dir_id,
					   node->name);
	}
	name = gone_name(p, frame, node, node->dir_id, node->name);
	if (name == NULL ||
	    mrmr_catalog_rename(p->catalog, node->dir_id, node->name,
				MRMR_ID_TRASH, name) == -1) {
		return -1;
	}
	return pending_add(p->pending, node->id, node->member, 0, 0);
}

static int detach(struct protector *p, void *frame, uint64_t dir_id,
		  const char *name, enum names_cause cause)
{
	struct mrmr_node *node = NULL;
	struct mrmr_link *links = NULL;
	size_t num = 0;
	int ret;

	if (mrmr_catalog_find(p->catalog, frame, dir_id, name, &node) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	if (node->kind == MRMR_NODE_DIRECTORY) {
		return detach_directory(p, frame, node);
	}
	ret = may_go(p, frame, node, dir_id, name, cause);
	if (ret != 1) {
		return ret;
	}
	if (mrmr_catalog_links(p->catalog, frame, node->id, &links, &num) ==
	    -1) {
		return -1;
	}
	if (num > 1) {
		return mrmr_catalog_remove(p->catalog, dir_id, name);
	}
	return detach_file(p, frame, node, cause);
}

int names_detach(struct protector *p, uint64_t dir_id, const char *name,
		 enum names_cause cause)
{
	void *frame = talloc_new(p);
	int saved_errno;
	int ret;

	if (frame == NULL) {
		errno = ENOMEM;
		return -1;
	}
	ret = detach(p, frame, dir_id, name, cause);
	saved_errno = errno;
	talloc_free(frame);
	errno = saved_errno;
	return ret;
}

int names_trash(struct protector *p, const struct mrmr_link *link, uint64_t id,
		size_t num_links, const char *trash_name)
{
	if (num_links == 1) {
		return mrmr_catalog_rename(p->catalog, link->dir_id, link->name,
					   MRMR_ID_TRASH, trash_name);
	}
	if (mrmr_catalog_remove(p->catalog, link->dir_id, link->name) == -1) {
		return -1;
	}
	return mrmr_catalog_link(p->catalog, id, MRMR_ID_TRASH, trash_name);
}

int names_set_aside(struct protector *p, const struct mrmr_node *node,
		    const struct mrmr_link *link, uint64_t dir_id,
		    const char *name)
{
	void *frame = talloc_new(p);
	char *gone = NULL;
	int saved_errno;
	int ret = -1;

	gone = frame != NULL ? gone_name(p, frame, node, dir_id, name) : NULL;
	if (gone != NULL) {
		ret = link->dir_id == MRMR_ID_TRASH &&
				      strcmp(link->name, gone) == 0
			      ? 0
			      : mrmr_catalog_rename(p->catalog, link->dir_id,
						    link->name, MRMR_ID_TRASH,
						    gone);
	}
	if (ret == 0 && mrmr_fault("names-set-aside") != 0) {
		ret = -1;
	}
	if (ret == 0) {
		ret = pending_add(p->pending, node->id, node->member, 0, 0);
	}
	saved_errno = errno;
	talloc_free(frame);
	errno = saved_errno;
	return ret;
}

int names_is_held(struct protector *p, void *mem_ctx, const char *path,
		  uint16_t number)
{
	struct mrmr_node *node = NULL;

	if (mrmr_catalog_find_path(p->catalog, mem_ctx, path, &node) == -1) {
		return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
	}
	if (node->kind != MRMR_NODE_FILE || node->member == number) {
		return 0;
	}
	return is_away(p, node->member) ? 1
					: look_for_inode(p, node->member, false,
							 path, node->inode);
}

bool names_is_gone(const char *name)
{
	const char *slash = strchr(name, '/');

	return slash != NULL && strncmp(slash + 1, MRMR_TRASH_GONE,
					strlen(MRMR_TRASH_GONE)) == 0;
}

/* --- those that are left from before ------------------------------------------- */

struct gone {
	void *mem_ctx;
	uint64_t *ids;
	uint16_t *members;
	size_t num;
};

static int take_gone(const struct mrmr_node *node, void *private_data)
{
	struct gone *gone = private_data;

	if (!names_is_gone(node->name)) {
		return 0;
	}
	gone->ids = talloc_realloc(gone->mem_ctx, gone->ids, uint64_t,
				   gone->num + 1);
	gone->members = talloc_realloc(gone->mem_ctx, gone->members, uint16_t,
				       gone->num + 1);
	if (gone->ids == NULL || gone->members == NULL) {
		errno = ENOMEM;
		return -1;
	}
	gone->ids[gone->num] = node->id;
	gone->members[gone->num++] = node->member;
	return 0;
}

int names_seek_gone(struct protector *p)
{
	struct gone gone = {.mem_ctx = talloc_new(p)};
	int saved_errno;
	size_t i;
	int ret = -1;

	if (gone.mem_ctx != NULL && mrmr_catalog_list(p->catalog, MRMR_ID_TRASH,
						      take_gone, &gone) == 0) {
		ret = 0;
	}
	for (i = 0; ret == 0 && i < gone.num; i++) {
		if (!pending_has(p->pending, gone.ids[i])) {
			ret = pending_add(p->pending, gone.ids[i],
					  gone.members[i], 0, 0);
		}
	}
	saved_errno = errno;
	talloc_free(gone.mem_ctx);
	errno = saved_errno;
	return ret;
}
