/*
 * mrmr-admin where: whether what is there is protected (see where_parity.h).
 *
 * The words are those of status. A file is
 *	protected	all of it, as it is, is in stripes that can bear a loss
 *	pending		it is new or has changed, and the protector will see to it;
 *			of one that has changed, the blocks are those of the version
 *			that is protected
 *	unprotected	some of it is in no stripe, and that will stay so
 *	at risk		it can be had, but not if one more drive is lost
 *	lost		it is not there, and cannot be computed
 * What has no bytes (directories, symlinks, empty files) is protected when the
 * catalogue has it, as the members' parts then have it as well.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/protection.h>
#include <mrmr/protector.h>
#include <mrmr/size.h>

#include "nodes.h"
#include "where_blocks.h"
#include "where_parity.h"

enum state {
	PROTECTED,
	PENDING,
	UNPROTECTED,
	AT_RISK,
	LOST,
	UNKNOWN,
};

/* For programs, and for people. */
static const char *const state_names[][2] = {
	[PROTECTED] = {"protected", "protected"},
	[PENDING] = {"pending", "pending"},
	[UNPROTECTED] = {"unprotected", "not protected"},
	[AT_RISK] = {"at_risk", "at risk"},
	[LOST] = {"lost", "lost, unless what is away returns"},
	[UNKNOWN] = {"unknown", "whether it is protected is not known"},
};

struct telling {
	struct admin *admin;
	struct mrmr_engine *engine;
	const struct where_thing *thing;
	unsigned int wanted;
	bool all_blocks;
	struct mrmr_standing standing;
	const struct mrmr_node *node; /* NULL: nothing is known */
	struct where_blocks *blocks;  /* NULL: it has none */
	uint64_t bare_bytes;          /* of it, in no stripe */
	enum state state;
	const char *why; /* "" if there is nothing to add */
};

static void set(struct telling *t, enum state state, const char *why)
{
	t->state = state;
	t->why = why;
}

static const char *no_parity_text(const struct telling *t)
{
	const struct mrmr_config *config = admin_config(t->admin);

	return config != NULL && config->parity.max > 0
		       ? "the pool has too few drives for parity"
		       : "the pool is to have no parity";
}

/* --- what it is ---------------------------------------------------------------- */

/* Why it must not be protected where it is; else NULL. */
static const char *why_never(const struct telling *t)
{
	const struct mrmr_pool *pool = t->engine->pool;
	const struct mrmr_member *member = NULL;

	if (!S_ISREG(t->thing->st.st_mode) ||
	    t->thing->member >= pool->num_members) {
		return NULL;
	}
	member = &pool->members[t->thing->member];
	if (member->unlasting != NULL) {
		return "inode numbers of its member's file system do not last";
	}
	return mrmr_is_in_subvolume(member, &t->thing->st)
		       ? "it is in a subvolume inside its member (make the "
			 "subvolume a member)"
		       : NULL;
}

static void judge_away(struct telling *t)
{
	if (!t->thing->is_served) {
		set(t, LOST, t->thing->why_not);
	} else if (t->blocks != NULL &&
		   t->blocks->bytes[MRMR_CHECK_AT_RISK] > 0) {
		set(t, AT_RISK,
		    "it can be computed, but not with one more drive lost");
	} else {
		set(t, PROTECTED, "");
	}
}

/* Some of it is in no stripe, or it is not as it was protected. */
static void judge_unprotected(struct telling *t)
{
	const struct mrmr_standing *standing = &t->standing;

	if (t->wanted == 0) {
		set(t, UNPROTECTED, no_parity_text(t));
	} else if (why_never(t) != NULL) {
		set(t, UNPROTECTED, why_never(t));
	} else if (standing->has_no_room) {
		set(t, UNPROTECTED,
		    "there is no room for its parity (make room, then: "
		    "mrmr-admin sync)");
	} else if (standing->is_unreadable) {
		set(t, UNPROTECTED,
		    "it could not be read (the log says why; then: mrmr-admin "
		    "sync)");
	} else if (t->node == NULL) {
		set(t, PENDING, "it is new (now: mrmr-admin sync)");
	} else if (!standing->is_as_known) {
		set(t, PENDING,
		    t->blocks != NULL
			    ? "it has changed since it was protected (now: "
			      "mrmr-admin sync); of the version before:"
			    : "it has changed (now: mrmr-admin sync)");
	} else if (!standing->is_name_known) {
		set(t, PENDING,
		    "this name of it is new (now: mrmr-admin sync)");
	} else if (standing->is_pending) {
		set(t, PENDING, "it is to be looked at (now: mrmr-admin sync)");
	} else {
		set(t, UNPROTECTED,
		    "some of it is in no stripe (mrmr-admin sync)");
	}
}

static void judge_here(struct telling *t)
{
	const struct mrmr_standing *standing = &t->standing;

	if (t->node == NULL || !standing->is_as_known ||
	    !standing->is_name_known || t->bare_bytes > 0 ||
	    why_never(t) != NULL) {
		judge_unprotected(t);
	} else if (t->blocks != NULL &&
		   t->blocks->bytes[MRMR_CHECK_LOST] +
				   t->blocks->bytes[MRMR_CHECK_AT_RISK] >
			   0) {
		set(t, AT_RISK, "it would be lost with one more drive");
	} else if (standing->is_pending) {
		set(t, PENDING,
		    "it is protected, and is to be looked at again");
	} else if (t->blocks != NULL &&
		   t->blocks->bytes[MRMR_CHECK_REDUCED] > 0) {
		set(t, PROTECTED, "with less redundancy than is wanted");
	} else if (t->blocks == NULL) {
		set(t, PROTECTED,
		    "it has no bytes, and is in the members' catalogues");
	} else {
		set(t, PROTECTED, "");
	}
}

static int look(struct telling *t)
{
	const struct where_thing *thing = t->thing;

	if (thing->is_away) {
		t->node = thing->node;
	} else if (mrmr_protector_ask(t->engine, t->admin, thing->member,
				      thing->path, &thing->st,
				      &t->standing) == -1) {
		return -1;
	} else {
		t->node = t->standing.node;
	}
	if (t->node != NULL && t->node->num_extents > 0) {
		t->blocks = where_blocks_look(t->admin, t->engine, t->node,
					      t->all_blocks);
		if (t->blocks == NULL) {
			return -1;
		}
	}
	if (t->node != NULL && t->node->kind == MRMR_NODE_FILE) {
		uint64_t known = t->blocks != NULL ? t->blocks->num_bytes : 0;

		t->bare_bytes = t->blocks != NULL
					? t->blocks->bytes[MRMR_CHECK_BARE]
					: 0;
		if (t->node->size_bytes > known) {
			t->bare_bytes += t->node->size_bytes - known;
		}
	}
	return 0;
}

/* --- its names -------------------------------------------------------------------- */

static char *link_path(struct telling *t, const struct mrmr_link *link,
		       bool *in_trash)
{
	char *dir = mrmr_catalog_path(t->engine->catalog, t->admin,
				      link->dir_id, in_trash);
	char *path = NULL;

	*in_trash = *in_trash || link->dir_id == MRMR_ID_TRASH;
	if (dir == NULL || *in_trash) {
		talloc_free(dir);
		return NULL;
	}
	path = admin_need(talloc_asprintf(t->admin, "%s%s%s", dir,
					  dir[0] != '\0' ? "/" : "",
					  link->name));
	talloc_free(dir);
	return path;
}

/* Its other names, as far as the catalogue knows them. They share all blocks. */
static json_t *take_names(struct telling *t)
{
	json_t *array = admin_need(json_array());
	struct mrmr_link *links = NULL;
	size_t num_said = 0;
	size_t num = 0;
	size_t i;

	if (t->node == NULL || t->node->kind == MRMR_NODE_DIRECTORY ||
	    mrmr_catalog_links(t->engine->catalog, t->admin, t->node->id,
			       &links, &num) == -1) {
		num = 0;
	}
	for (i = 0; i < num; i++) {
		bool in_trash = false;
		char *path = link_path(t, &links[i], &in_trash);
		char *shown = NULL;

		if (path == NULL || strcmp(path, t->thing->path) == 0) {
			talloc_free(path);
			continue;
		}
		admin_append(array, admin_json_text(path));
		if (num_said++ < ADMIN_NAMES_SHOWN) {
			shown = admin_printable(path, path);
			admin_say(t->admin, "  also called %s", shown);
		}
		talloc_free(path);
	}
	if (num_said > ADMIN_NAMES_SHOWN) {
		admin_say(t->admin,
			  "  and %zu names more; --json lists them all",
			  num_said - ADMIN_NAMES_SHOWN);
	}
	talloc_free(links);
	return array;
}

/* --- the report --------------------------------------------------------------------- */

static void set_bytes(json_t *object, const char *key, uint64_t bytes)
{
	admin_set(object, key, json_integer((json_int_t)bytes));
}

static void put(struct telling *t, json_t *object)
{
	const struct mrmr_standing *standing = &t->standing;

	admin_set(object, "state", json_string(state_names[t->state][0]));
	admin_set(object, "why",
		  t->why[0] != '\0' ? admin_json_text(t->why) : json_null());
	admin_set(object, "parity_wanted", json_integer(t->wanted));
	admin_set(object, "is_known", json_boolean(t->node != NULL));
	admin_set(object, "has_changed",
		  json_boolean(t->node != NULL && !t->thing->is_away &&
			       !standing->is_as_known));
	admin_set(object, "is_pending", json_boolean(standing->is_pending));
	set_bytes(object, "unprotected_bytes",
		  t->node != NULL ? t->bare_bytes
				  : (S_ISREG(t->thing->st.st_mode)
					     ? (uint64_t)t->thing->st.st_size
					     : 0));
}

static void say(struct telling *t)
{
	char *why = admin_printable(t->admin, t->why);

	admin_say(t->admin, "%s%s%s", state_names[t->state][1],
		  why[0] != '\0' ? ": " : "", why);
	talloc_free(why);
}

static int status_of(const struct telling *t)
{
	switch (t->state) {
	case PROTECTED:
		return t->blocks != NULL &&
				       t->blocks->bytes[MRMR_CHECK_REDUCED] > 0
			       ? ADMIN_DEGRADED
			       : ADMIN_OK;
	case UNPROTECTED:
		return t->wanted == 0 ? ADMIN_OK : ADMIN_DEGRADED;
	case LOST:
		return ADMIN_LOST;
	default:
		return ADMIN_DEGRADED;
	}
}

static void report(struct telling *t, json_t *object)
{
	put(t, object);
	say(t);
	if (t->blocks != NULL) {
		where_blocks_report(t->blocks, object);
	}
	if (t->engine != NULL) {
		admin_set(object, "other_names", take_names(t));
	}
	if (t->blocks != NULL && t->all_blocks &&
	    where_blocks_say_each(t->blocks, t->node) == -1) {
		admin_note(t->admin, "the catalogue cannot be read: %s",
			   mrmr_catalog_why(errno));
	}
}

int where_parity(struct admin *admin, struct mrmr_engine *engine, bool is_known,
		 unsigned int wanted, bool all_blocks,
		 const struct where_thing *thing)
{
	json_t *object = admin_need(json_object());
	struct telling t = {
		.admin = admin,
		.engine = engine,
		.thing = thing,
		.wanted = wanted,
		.all_blocks = all_blocks,
		.state = UNKNOWN,
		.why = "",
	};
	int status;

	if (engine == NULL && is_known) {
		set(&t, wanted > 0 ? PENDING : UNPROTECTED,
		    wanted > 0 ? "nothing is protected yet (now: mrmr-admin "
				 "sync)"
			       : no_parity_text(&t));
	} else if (engine != NULL && look(&t) == -1) {
		admin_note(admin, "the catalogue cannot be read: %s",
			   mrmr_catalog_why(errno));
	} else if (engine != NULL && thing->is_away) {
		judge_away(&t);
	} else if (engine != NULL) {
		judge_here(&t);
	}
	report(&t, object);
	admin_set(admin->result, "protection", object);
	status = status_of(&t);
	talloc_free(t.blocks);
	return status;
}
