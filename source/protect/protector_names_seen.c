/*
 * MRMR: the protector: names that are there, or that an event tells of. The theory
 * is in protector_names.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include <mrmr/log.h>
#include <mrmr/protection.h>

#include "protector_private.h"

/* Does a name of a node still lead to its inode? */
static bool is_current(struct protector *p, void *frame,
		       const struct mrmr_link *link,
		       const struct mrmr_node *node, const struct look *look)
{
	char *path = NULL;

	if (link->dir_id == MRMR_ID_TRASH) {
		const char *slash = strchr(link->name, '/');

		return look->st.st_nlink > 1 && slash != NULL &&
		       look_has_inode(p, node->member, true, slash + 1,
				      node->inode);
	}
	path = names_path(p, frame, link->dir_id, link->name);
	return path != NULL &&
	       look_has_inode(p, node->member, false, path, node->inode);
}

/* The catalogue has this name for another file, which keeps it. With errno:
   EEXIST. */
static int cannot_claim(struct protector *p, void *frame,
			const struct mrmr_node *node,
			const struct mrmr_link *links, size_t num,
			uint64_t dir_id, const char *name,
			const struct look *look)
{
	size_t i;

	for (i = 0; i < num; i++) {
		/* one in the trash that is back stays an entry of it */
		if (is_current(p, frame, &links[i], node, look) ||
		    (links[i].dir_id == MRMR_ID_TRASH &&
		     !names_is_gone(links[i].name))) {
			errno = EEXIST;
			return -1;
		}
	}
	for (i = 1; i < num; i++) {
		if (mrmr_catalog_remove(p->catalog, links[i].dir_id,
					links[i].name) == -1) {
			return -1;
		}
	}
	if (names_set_aside(p, node, &links[0], dir_id, name) == -1) {
		return -1;
	}
	errno = EEXIST;
	return -1;
}

/* 1: this inode is a file that is known, by other names than this one, which
   another file has. 0: it is not, which is a person's business. */
static int find_hidden(struct protector *p, void *frame, uint64_t dir_id,
		       const char *name, const struct look *look,
		       struct mrmr_node **node)
{
	struct mrmr_node *owner = NULL;
	uint64_t id;

	if (mrmr_catalog_find_inode(p->catalog, look->number,
				    (uint64_t)look->st.st_ino, &id) == -1 ||
	    mrmr_catalog_get(p->catalog, frame, id, node) == -1 ||
	    mrmr_catalog_find(p->catalog, frame, dir_id, name, &owner) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	return (*node)->kind == MRMR_NODE_FILE && (*node)->id != owner->id;
}

int names_see_hidden(struct protector *p, uint64_t dir_id, const char *name,
		     const struct look *look)
{
	void *frame = talloc_new(p);
	struct mrmr_node *node = NULL;
	struct mrmr_link *links = NULL;
	size_t num = 0;
	int saved_errno;
	int ret;

	if (frame == NULL) {
		errno = ENOMEM;
		return -1;
	}
	ret = find_hidden(p, frame, dir_id, name, look, &node);
	if (ret == 1) {
		ret = mrmr_catalog_links(p->catalog, frame, node->id, &links,
					 &num);
		if (ret == 0 &&
		    cannot_claim(p, frame, node, links, num, dir_id, name,
				 look) == -1 &&
		    errno != EEXIST) {
			ret = -1;
		}
	}
	saved_errno = errno;
	talloc_free(frame);
	errno = saved_errno;
	return ret;
}

/* A name that the catalogue gives up may have been seen already, for what has it
   now: whoever takes the events next looks again. */
static int tell_left(struct protector *p, void *frame,
		     const struct mrmr_link *link)
{
	char *path = NULL;
	struct look look;

	if (link->dir_id == MRMR_ID_TRASH) {
		return 0;
	}
	path = names_path(p, frame, link->dir_id, link->name);
	if (path == NULL) {
		return -1;
	}
	if (look_at(p, frame, path, &look) == -1) {
		mrmr_log(MRMR_LOG_WARNING, "'%s' cannot be looked at: %s", path,
			 strerror(errno));
	} else if (look.is_there && look.kind != MRMR_NODE_DIRECTORY) {
		mrmr_tell(p->pool, MRMR_EVENT_CHANGED, look.member,
			  (uint64_t)look.st.st_ino, path, NULL);
	}
	return 0;
}

/*
 * The file with this inode is known under other names. It gets this one: in
 * place of one that leads to it no more, else as a further one. With errno:
 * ENOTUNIQ: it can have no further one, so this is another file.
 */
static int claim(struct protector *p, void *frame, const struct mrmr_node *node,
		 uint64_t dir_id, const char *name, const struct look *look)
{
	struct mrmr_link *links = NULL;
	size_t num = 0;
	size_t i;
	int ret;

	if (mrmr_catalog_links(p->catalog, frame, node->id, &links, &num) ==
	    -1) {
		return -1;
	}
	for (i = 0; i < num; i++) {
		if (!is_current(p, frame, &links[i], node, look)) {
			break;
		}
	}
	if (i == num && look->st.st_nlink == 1) {
		errno = ENOTUNIQ;
		return -1;
	}
	if (i < num && tell_left(p, frame, &links[i]) == -1) {
		return -1;
	}
	ret = i < num ? mrmr_catalog_rename(p->catalog, links[i].dir_id,
					    links[i].name, dir_id, name)
		      : mrmr_catalog_link(p->catalog, node->id, dir_id, name);
	return ret == -1 && errno == EEXIST
		       ? cannot_claim(p, frame, node, links, num, dir_id, name,
				      look)
		       : ret;
}

/* It was taken for a further name of a file that is known by its inode, by which
   it cannot be known itself. */
static bool is_mixed_up(struct protector *p, void *frame,
			const struct mrmr_node *node, const struct look *look)
{
	struct mrmr_link *links = NULL;
	size_t num = 0;

	return look->st.st_ino == 0 && node->inode != 0 &&
	       mrmr_catalog_links(p->catalog, frame, node->id, &links, &num) ==
		       0 &&
	       num > 1;
}

/* Is what has the name in the catalogue the same thing? */
static bool is_same(struct protector *p, void *frame,
		    const struct mrmr_node *node, const struct look *look)
{
	if (node->kind != look->kind || node->member != look->number ||
	    is_mixed_up(p, frame, node, look)) {
		return false;
	}
	/* An inode changes when a file is put back from a backup, and at each
	   mount of some file systems. */
	return true;
}

/* An event told of it, and nobody could look (names_promise()). */
static bool is_promised(const struct mrmr_node *node)
{
	return node->kind == MRMR_NODE_FILE && node->num_extents == 0 &&
	       node->generation == 0 && node->size_bytes == 0 &&
	       node->mtime_ns == 0;
}

/* It was taken for a file, and is none: what it is gets all names that it has got
   since. */
static int settle_promise(struct protector *p, void *frame,
			  const struct look *look, struct mrmr_node **node)
{
	struct mrmr_link *links = NULL;
	size_t num = 0;
	uint64_t id;
	size_t i;

	if (mrmr_catalog_links(p->catalog, frame, (*node)->id, &links, &num) ==
	    -1) {
		return -1;
	}
	for (i = num; i > 0; i--) {
		if (mrmr_catalog_remove(p->catalog, links[i - 1].dir_id,
					links[i - 1].name) == -1) {
			return -1;
		}
	}
	if (names_create(p, links[0].dir_id, links[0].name, look, &id) == -1) {
		return -1;
	}
	for (i = 1; i < num; i++) {
		if (mrmr_catalog_link(p->catalog, id, links[i].dir_id,
				      links[i].name) == -1) {
			return -1;
		}
	}
	return mrmr_catalog_get(p->catalog, frame, id, node);
}

static int find_by_inode(struct protector *p, void *frame,
			 const struct look *look, struct mrmr_node **node)
{
	uint64_t id;

	*node = NULL;
	if (look->kind == MRMR_NODE_DIRECTORY) {
		return 0;
	}
	if (mrmr_catalog_find_inode(p->catalog, look->number,
				    (uint64_t)look->st.st_ino, &id) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	if (mrmr_catalog_get(p->catalog, frame, id, node) == -1) {
		return -1;
	}
	if ((*node)->kind == look->kind) {
		return 0;
	}
	if (is_promised(*node)) {
		return settle_promise(p, frame, look, node);
	}
	*node = NULL; /* the inode was given to something else meanwhile */
	return 0;
}

/* The node that has the name, after whatever had it before gave way. NULL: none
   yet. */
static int find_owner(struct protector *p, void *frame, uint64_t dir_id,
		      const char *name, const struct look *look,
		      struct mrmr_node **owner)
{
	struct mrmr_node *known = NULL;

	*owner = NULL;
	if (find_by_inode(p, frame, look, &known) == -1) {
		return -1;
	}
	if (mrmr_catalog_find(p->catalog, frame, dir_id, name, owner) == -1 &&
	    errno != ENOENT) {
		return -1;
	}
	if (*owner != NULL &&
	    (known != NULL ? known->id == (*owner)->id
			   : is_same(p, frame, *owner, look))) {
		return 0;
	}
	if (*owner != NULL) {
		if (names_detach(p, dir_id, name, NAMES_SEEMS) == -1) {
			return -1;
		}
		*owner = NULL;
	}
	if (known == NULL) {
		return 0;
	}
	if (claim(p, frame, known, dir_id, name, look) == -1) {
		return -1;
	}
	return mrmr_catalog_get(p->catalog, frame, known->id, owner);
}

/*
 * With errno: EEXIST says that a file of a member that is away has the name in
 * the catalogue. It keeps it, as nobody can tell whether a client replaced that
 * file or somebody put another one in its place: what is there now is protected
 * once the member is back, or rebuilt. ENOTUNIQ: claim().
 */
static int wait_for_name(struct protector *p, void *frame, uint64_t dir_id,
			 const char *name, uint64_t *id)
{
	int error = errno;
	char *path = NULL;

	*id = MRMR_ID_NONE;
	if (error != EEXIST && error != ENOTUNIQ) {
		return -1;
	}
	path = names_path(p, frame, dir_id, name);
	mrmr_log(MRMR_LOG_WARNING, "'%s' is not protected%s",
		 path != NULL ? path : name,
		 error == EEXIST
			 ? " yet: a file of a drive that is away had the name; "
			   "it is when that drive is back or rebuilt"
			 : ": another file of its drive has the same inode "
			   "number");
	return 0;
}

static int see(struct protector *p, void *frame, uint64_t dir_id,
	       const char *name, const struct look *look, bool force,
	       uint64_t *id)
{
	struct mrmr_node *owner = NULL;
	bool differs = look->kind == MRMR_NODE_FILE;

	if (find_owner(p, frame, dir_id, name, look, &owner) == -1) {
		return wait_for_name(p, frame, dir_id, name, id);
	}
	if (owner == NULL) {
		if (names_create(p, dir_id, name, look, id) == -1) {
			return wait_for_name(p, frame, dir_id, name, id);
		}
	} else {
		*id = owner->id;
		differs = names_differ(owner, look);
		if (names_set(p, owner, look) == -1) {
			return -1;
		}
	}
	if (look_is_unlasting(p, look)) {
		/* what was protected there once leaves its stripes */
		differs = false;
		force = force || owner == NULL || owner->num_extents > 0;
	}
	if (look->kind == MRMR_NODE_FILE &&
	    (differs || (force && owner != NULL && owner->num_extents > 0))) {
		return pending_add(p->pending, *id, look->number,
				   (uint64_t)look->st.st_size, 0);
	}
	return 0;
}

int names_see(struct protector *p, uint64_t dir_id, const char *name,
	      const struct look *look, bool force, uint64_t *id)
{
	void *frame = talloc_new(p);
	int saved_errno;
	int ret;

	if (frame == NULL) {
		errno = ENOMEM;
		return -1;
	}
	ret = see(p, frame, dir_id, name, look, force, id);
	saved_errno = errno;
	talloc_free(frame);
	errno = saved_errno;
	return ret;
}

int names_see_path(struct protector *p, const char *path,
		   const struct look *look, bool force)
{
	const char *name = NULL;
	uint64_t dir_id;
	uint64_t id;

	if (!look->is_there) {
		return 0;
	}
	if (path[0] == '\0') {
		struct mrmr_node *root = NULL;
		int ret = mrmr_catalog_get(p->catalog, p, MRMR_ID_ROOT, &root);

		if (ret == 0) {
			ret = names_set(p, root, look);
		}
		talloc_free(root);
		return ret;
	}
	if (names_parent(p, path, &dir_id, &name) == -1) {
		return -1;
	}
	return names_see(p, dir_id, name, look, force, &id);
}

int names_promise(struct protector *p, const char *path, uint16_t member,
		  uint64_t inode, uint64_t *id)
{
	struct mrmr_node node = {
		.kind = MRMR_NODE_FILE,
		.member = member,
		.inode = inode,
		.mode = S_IFREG | 0600,
	};
	const char *name = NULL;

	if (names_parent(p, path, &node.dir_id, &name) == -1 ||
	    names_detach(p, node.dir_id, name, NAMES_TAKEN) == -1) {
		return -1;
	}
	node.name = (char *)name;
	if (mrmr_catalog_put(p->catalog, &node, id) == -1) {
		return -1;
	}
	return pending_add(p->pending, *id, member, 0, 0);
}
