/*
 * MRMR: the protector: what each kind of event says of the catalogue.
 *
 * Events come in their order, and what lies on the members may be ahead of them. The
 * theory is in protector_names.c; taking them from the queue is in protector_events.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/dir.h>
#include <mrmr/log.h>

#include "protector_apply.h"
#include "was.h"

/* --- what an event is about ---------------------------------------------------- */

/* The node that an event is about, by its inode, or NULL. */
static int find_known(struct protector *p, const struct event *e,
		      struct mrmr_node **node)
{
	uint64_t id;

	*node = NULL;
	if (e->inode == 0 || e->number == MRMR_MEMBER_NONE) {
		return 0;
	}
	if (mrmr_catalog_find_inode(p->catalog, e->number, e->inode, &id) ==
	    -1) {
		return errno == ENOENT ? 0 : -1;
	}
	return mrmr_catalog_get(p->catalog, e->frame, id, node);
}

/* The node under a path, or NULL. */
static int find_path(struct protector *p, const struct event *e,
		     const char *path, struct mrmr_node **node)
{
	*node = NULL;
	if (mrmr_catalog_find_path(p->catalog, e->frame, path, node) == -1) {
		*node = NULL;
		return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
	}
	return 0;
}

static bool is_of_event(const struct event *e, const struct mrmr_node *node)
{
	return node->kind != MRMR_NODE_DIRECTORY && node->member == e->number &&
	       (e->inode == 0 || node->inode == 0 || node->inode == e->inode);
}

/* What is under a path now, if it is what the event is about. If its drive cannot
   tell, nothing: what the event says has happened nonetheless. */
static int look_for(struct protector *p, const struct event *e,
		    const char *path, struct look *look)
{
	if (look_at(p, e->frame, path, look) == -1) {
		if (errno != EIO) {
			return -1;
		}
		mrmr_log(MRMR_LOG_WARNING, "'%s' cannot be looked at: %s", path,
			 strerror(errno));
		look->is_there = false;
	}
	if (look->is_there &&
	    (look->kind == MRMR_NODE_DIRECTORY || look->number != e->number ||
	     (e->inode != 0 && (uint64_t)look->st.st_ino != e->inode))) {
		look->is_there = false;
	}
	return 0;
}

/* Is what has the name a file of another member, also by the catalogue? 1, 0, or -1
   with errno. */
static int is_others(struct protector *p, const struct event *e,
		     const char *path)
{
	struct mrmr_node *node = NULL;
	struct look look;

	if (look_at(p, e->frame, path, &look) == -1 ||
	    find_path(p, e, path, &node) == -1) {
		return -1;
	}
	return look.is_there && node != NULL &&
	       look.kind != MRMR_NODE_DIRECTORY &&
	       node->kind != MRMR_NODE_DIRECTORY &&
	       node->member == look.number &&
	       node->inode == (uint64_t)look.st.st_ino;
}

/*
 * A file that nobody can look at under this name, nor does the catalogue know it.
 * If its member is lost, it may have been rebuilt since, and an event come late: its
 * name stays that of what is there.
 */
static int promise(struct protector *p, const struct event *e, const char *path)
{
	uint64_t id;
	int ret = 0;

	if (mrmr_engine_online(p->engine, e->number) == NULL) {
		ret = is_others(p, e, path);
	}
	if (ret != 0) {
		return ret == 1 ? 0 : -1;
	}
	return names_promise(p, path, e->number, e->inode, &id);
}

/* --- changes, and attributes ---------------------------------------------------- */

static int changed(struct protector *p, const struct event *e)
{
	struct mrmr_node *node = NULL;
	struct look look;

	if (look_for(p, e, e->of->path, &look) == -1) {
		return -1;
	}
	if (look.is_there) {
		return names_see_path(p, e->of->path, &look, true);
	}
	if (find_known(p, e, &node) == -1) {
		return -1;
	}
	if (node == NULL && find_path(p, e, e->of->path, &node) == 0 &&
	    node != NULL && !is_of_event(e, node)) {
		node = NULL;
	}
	if (node != NULL) {
		return pending_add(p->pending, node->id, node->member,
				   node->size_bytes, 0);
	}
	if (e->inode == 0) {
		return names_ask_scan(p, e->of->path);
	}
	return promise(p, e, e->of->path);
}

/* Has the file its name for good? Who moved it may be about to take that back,
   until he gives up the lock that he holds. 1, 0, or -1 with errno. */
static int has_moved(struct protector *p, const struct event *e)
{
	struct look look;

	if (look_for(p, e, e->of->path, &look) == -1) {
		return -1;
	}
	if (!look.is_there) {
		return 0;
	}
	if (mrmr_tree_lock(p->pool, true) == -1) {
		return -1;
	}
	mrmr_tree_unlock(p->pool);
	return look_for(p, e, e->of->path, &look) == -1 ? -1 : look.is_there;
}

/* What the file was gives its name to it, also if whoever moved it was killed
   before he told of that. */
static int give_way_to_moved(struct protector *p, const struct event *e,
			     uint64_t was)
{
	struct mrmr_node *node = NULL;
	int ret;

	if (find_path(p, e, e->of->path, &node) == -1) {
		return -1;
	}
	if (node == NULL || node->id != was ||
	    mrmr_engine_online(p->engine, node->member) != NULL) {
		return 0;
	}
	ret = has_moved(p, e);
	return ret == 1 ? names_detach(p, node->dir_id, node->name, NAMES_TAKEN)
			: ret;
}

/* From a member that is away: until the file is protected where it is now, what
   is protected of it is what was there. */
static int moved(struct protector *p, const struct event *e)
{
	uint64_t was = strtoull(e->of->to, NULL, 16);
	struct mrmr_node *node = NULL;
	int is_protected;

	if (was != MRMR_ID_NONE && give_way_to_moved(p, e, was) == -1) {
		return -1;
	}
	if (changed(p, e) == -1) {
		return -1;
	}
	if (was == MRMR_ID_NONE) {
		return 0;
	}
	if (find_known(p, e, &node) == -1) {
		return -1;
	}
	if (node == NULL) {
		return 0;
	}
	is_protected = was_is_protected(p->catalog, node);
	return is_protected == 0   ? was_note(p->catalog, node->id, was)
	       : is_protected == 1 ? 0
				   : -1;
}

static int attributes(struct protector *p, const struct event *e)
{
	struct mrmr_node *node = NULL;
	struct look look;

	if (e->number != MRMR_MEMBER_NONE) {
		if (look_for(p, e, e->of->path, &look) == -1) {
			return -1;
		}
		if (look.is_there) {
			return names_see_path(p, e->of->path, &look, false);
		}
		if (find_known(p, e, &node) == -1) {
			return -1;
		}
		return node != NULL
			       ? pending_add(p->pending, node->id, node->member,
					     node->size_bytes, 0)
			       : 0;
	}
	/* a directory; made if it is not known, also if it has another name by
	   now */
	if (look_at(p, e->frame, e->of->path, &look) == -1) {
		return -1;
	}
	if (!look.is_there || look.kind != MRMR_NODE_DIRECTORY) {
		char *below = talloc_asprintf(e->frame, "%s/x", e->of->path);
		const char *name = NULL;
		uint64_t dir_id;

		return below != NULL ? names_parent(p, below, &dir_id, &name)
				     : -1;
	}
	return names_see_path(p, e->of->path, &look, false);
}

/* --- names ----------------------------------------------------------------------- */

/* Give a node that is known the name `to`. */
static int give_name(struct protector *p, const struct event *e, uint64_t id,
		     const struct mrmr_link *from)
{
	struct mrmr_node *there = NULL;
	const char *name = NULL;
	uint64_t dir_id;

	if (names_parent(p, e->of->to, &dir_id, &name) == -1) {
		return -1;
	}
	if (mrmr_catalog_find(p->catalog, e->frame, dir_id, name, &there) ==
	    0) {
		if (there->id == id) {
			return 0;
		}
		if (names_detach(p, dir_id, name, NAMES_TAKEN) == -1) {
			return -1;
		}
	} else if (errno != ENOENT) {
		return -1;
	}
	return from != NULL ? mrmr_catalog_rename(p->catalog, from->dir_id,
						  from->name, dir_id, name)
			    : mrmr_catalog_link(p->catalog, id, dir_id, name);
}

static int renamed_directory(struct protector *p, const struct event *e,
			     const struct mrmr_node *node)
{
	const struct mrmr_link from = {.dir_id = node->dir_id, node->name};
	struct mrmr_node *there = NULL;
	struct look look;

	if (find_path(p, e, e->of->to, &there) == -1) {
		return -1;
	}
	/* Only an empty directory can have been replaced. A scan has been ahead
	   of this event, or something was missed. */
	if (there != NULL && there->id != node->id) {
		if (there->kind != MRMR_NODE_DIRECTORY ||
		    mrmr_catalog_remove(p->catalog, there->dir_id,
					there->name) == -1) {
			return names_ask_scan(p, "");
		}
	}
	if (give_name(p, e, node->id, &from) == -1) {
		return -1;
	}
	/* it may be a promise */
	if (look_at(p, e->frame, e->of->to, &look) == -1) {
		return -1;
	}
	if (look.is_there && look.kind == MRMR_NODE_DIRECTORY) {
		return names_set(p, node, &look);
	}
	return 0;
}

static int renamed(struct protector *p, const struct event *e)
{
	struct mrmr_node *node = NULL;
	struct mrmr_node *known = NULL;
	struct look look;

	if (find_path(p, e, e->of->path, &node) == -1) {
		return -1;
	}
	if (e->number == MRMR_MEMBER_NONE) {
		if (node != NULL && node->kind == MRMR_NODE_DIRECTORY) {
			return renamed_directory(p, e, node);
		}
		return names_ask_scan(p, e->of->to);
	}
	if (node != NULL && is_of_event(e, node)) {
		const struct mrmr_link from = {node->dir_id, node->name};

		return give_name(p, e, node->id, &from);
	}
	if (look_for(p, e, e->of->to, &look) == -1) {
		return -1;
	}
	if (look.is_there) {
		return names_see_path(p, e->of->to, &look, false);
	}
	if (find_known(p, e, &known) == -1) {
		return -1;
	}
	if (known != NULL) {
		return pending_add(p->pending, known->id, known->member,
				   known->size_bytes, 0);
	}
	return promise(p, e, e->of->to);
}

static int removed(struct protector *p, const struct event *e)
{
	struct mrmr_node *node = NULL;

	if (find_path(p, e, e->of->path, &node) == -1) {
		return -1;
	}
	if (node == NULL || node->id == MRMR_ID_ROOT) {
		return 0;
	}
	if ((node->kind == MRMR_NODE_DIRECTORY) !=
	    (e->number == MRMR_MEMBER_NONE)) {
		return 0;
	}
	if (node->kind != MRMR_NODE_DIRECTORY && !is_of_event(e, node)) {
		return 0;
	}
	return names_detach(p, node->dir_id, node->name, NAMES_REMOVED);
}

/* --- the trash ------------------------------------------------------------------- */

/* Has nobody been quicker than this event, and purged or restored it? */
static bool is_in_trash(struct protector *p, const struct event *e)
{
	return e->inode == 0 ||
	       mrmr_engine_online(p->engine, e->number) == NULL ||
	       look_has_inode(p, e->number, true, e->of->to, e->inode);
}

/* An entry of the trash, and the file is where that says. */
static bool is_settled_in_trash(struct protector *p,
				const struct mrmr_node *node)
{
	const char *slash = strchr(node->name, '/');

	return node->dir_id == MRMR_ID_TRASH && !names_is_gone(node->name) &&
	       (slash == NULL ||
		look_has_inode(p, node->member, true, slash + 1, node->inode));
}

static int trashed(struct protector *p, const struct event *e)
{
	struct mrmr_node *node = NULL;
	struct mrmr_link *links = NULL;
	struct mrmr_link gone;
	char *name = NULL;
	size_t num = 0;

	p->trash_is_seen = false;
	if (find_path(p, e, e->of->path, &node) == -1) {
		return -1;
	}
	if (node == NULL || !is_of_event(e, node)) {
		/* by its inode, if it is under another name: nothing else has
		   gone by this one */
		if (find_known(p, e, &node) == -1) {
			return -1;
		}
		if (node == NULL) {
			return 0;
		}
		/* if it lost its name while its member was away, it is there
		   now; and if it had been there before, and was back after
		   a power cut, it is there again, in another folder */
		if (node->dir_id != MRMR_ID_TRASH ||
		    is_settled_in_trash(p, node)) {
			return pending_add(p->pending, node->id, node->member,
					   node->size_bytes, 0);
		}
	}
	name = talloc_asprintf(e->frame, "%u/%s", node->member, e->of->to);
	if (name == NULL) {
		errno = ENOMEM;
		return -1;
	}
	if (mrmr_catalog_links(p->catalog, e->frame, node->id, &links, &num) ==
	    -1) {
		return -1;
	}
	gone = (struct mrmr_link){.dir_id = node->dir_id, .name = node->name};
	if (num > 1 && !is_in_trash(p, e)) {
		return mrmr_catalog_remove(p->catalog, gone.dir_id, gone.name);
	}
	if (num == 1 && node->num_extents == 0) {
		return names_detach(p, gone.dir_id, gone.name, NAMES_REMOVED);
	}
	return names_trash(p, &gone, node->id, num, name);
}

/* --- further names, and what is lost ---------------------------------------------- */

static int linked(struct protector *p, const struct event *e)
{
	struct mrmr_node *node = NULL;
	struct look look;

	if (find_known(p, e, &node) == -1 ||
	    (node == NULL && find_path(p, e, e->of->path, &node) == -1)) {
		return -1;
	}
	if (node != NULL && is_of_event(e, node)) {
		return give_name(p, e, node->id, NULL);
	}
	if (look_for(p, e, e->of->path, &look) == -1) {
		return -1;
	}
	if (look.is_there &&
	    names_see_path(p, e->of->path, &look, false) == -1) {
		return -1;
	}
	if (look_for(p, e, e->of->to, &look) == -1) {
		return -1;
	}
	if (look.is_there) {
		return names_see_path(p, e->of->to, &look, false);
	}
	return names_ask_scan(p, "");
}

static int lost(struct protector *p, const struct event *e)
{
	struct mrmr_node *node = NULL;

	if (find_known(p, e, &node) == -1 || node == NULL) {
		return errno == ENOENT || node == NULL ? 0 : -1;
	}
	return pending_add(p->pending, node->id, node->member, node->size_bytes,
			   PENDING_LOST);
}

/* --- each kind -------------------------------------------------------------------- */

int apply_event(struct protector *p, const struct event *e)
{
	switch (e->of->kind) {
	case MRMR_EVENT_CHANGED:
		return changed(p, e);
	case MRMR_EVENT_MOVED:
		return moved(p, e);
	case MRMR_EVENT_ATTRIBUTES:
		return attributes(p, e);
	case MRMR_EVENT_RENAMED:
		return renamed(p, e);
	case MRMR_EVENT_REMOVED:
		return removed(p, e);
	case MRMR_EVENT_TRASHED:
		return trashed(p, e);
	case MRMR_EVENT_LINKED:
		return linked(p, e);
	case MRMR_EVENT_LOST:
		return lost(p, e);
	case MRMR_EVENT_SCAN:
		return names_ask_scan(p, e->of->path);
	}
	return 0;
}
