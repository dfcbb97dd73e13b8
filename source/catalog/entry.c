/*
 * MRMR: the catalogue: what stands in a directory under a name.
 *
 * Either a node, whole, under its first name; or the id of a node, under a
 * further name of it. What a node does not have takes no place: two bytes of
 * flags say what follows.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <string.h>

#include "catalog_private.h"

enum {
	ENTRY_KIND = 0x0007, /* enum mrmr_node_kind, 0: a further name */
	ENTRY_HAS_LINKS = 0x0008,
	ENTRY_MEMBER = 0x0010,
	ENTRY_INODE = 0x0020,
	ENTRY_DEVICE = 0x0040,
	ENTRY_GRID = 0x0080,
	ENTRY_GENERATION = 0x0100,
	ENTRY_XATTRS = 0x0600, /* enum entry_xattrs */
	ENTRY_XATTRS_SHIFT = 9,
	ENTRY_TARGET = 0x0800,
	ENTRY_OWN_TARGET = 0x1000,
	ENTRY_ONE_EXTENT = 0x2000,
	ENTRY_EXTENTS = 0x4000,
	ENTRY_SEQUENCE = 0x8000,
};

static const struct mrmr_extent no_extent;

static unsigned int flags_of(const struct entry *entry)
{
	unsigned int flags = entry->kind;

	flags |= entry->has_links ? ENTRY_HAS_LINKS : 0;
	flags |= entry->member != MRMR_MEMBER_NONE ? ENTRY_MEMBER : 0;
	flags |= entry->inode != 0 ? ENTRY_INODE : 0;
	flags |= entry->device != 0 ? ENTRY_DEVICE : 0;
	flags |= entry->grid_bytes != 0 ? ENTRY_GRID : 0;
	flags |= entry->generation != 0 ? ENTRY_GENERATION : 0;
	flags |= (unsigned int)entry->xattrs_where << ENTRY_XATTRS_SHIFT;
	flags |= entry->target_len > 0 ? ENTRY_TARGET : 0;
	flags |= entry->has_own_target ? ENTRY_OWN_TARGET : 0;
	flags |= entry->num_extents == 1 ? ENTRY_ONE_EXTENT : 0;
	flags |= entry->num_extents > 1 ? ENTRY_EXTENTS : 0;
	flags |= entry->sequence != 0 ? ENTRY_SEQUENCE : 0;
	return flags;
}

static void pack_optional(struct pack *p, unsigned int flags, unsigned int flag,
			  uint64_t n)
{
	if ((flags & flag) != 0) {
		pack_varint(p, n);
	}
}

void entry_pack(struct pack *p, const struct entry *entry)
{
	unsigned int flags = entry->is_link ? 0 : flags_of(entry);

	pack_fixed(p, flags, 2);
	pack_varint(p, entry->id);
	pack_varint(p, entry->name_len);
	pack_bytes(p, entry->name, entry->name_len);
	if (entry->is_link) {
		return;
	}
	pack_optional(p, flags, ENTRY_MEMBER, entry->member);
	pack_optional(p, flags, ENTRY_INODE, entry->inode);
	pack_varint(p, entry->size_bytes);
	pack_fixed(p, (uint64_t)entry->mtime_ns, 8);
	pack_varint(p, entry->mode);
	pack_varint(p, entry->uid);
	pack_varint(p, entry->gid);
	pack_optional(p, flags, ENTRY_DEVICE, entry->device);
	pack_optional(p, flags, ENTRY_GRID, entry->grid_bytes);
	pack_optional(p, flags, ENTRY_GENERATION, entry->generation);
	pack_optional(p, flags, ENTRY_SEQUENCE, entry->sequence);
	if (entry->xattrs_where == XATTRS_INLINE) {
		pack_varint(p, entry->xattrs_len);
		pack_bytes(p, entry->xattrs, entry->xattrs_len);
	} else if (entry->xattrs_where == XATTRS_SHARED) {
		pack_bytes(p, entry->xattrs, SHARED_KEY_BYTES);
	}
	if ((flags & ENTRY_TARGET) != 0) {
		pack_varint(p, entry->target_len);
		pack_bytes(p, entry->target, entry->target_len);
	}
	if ((flags & ENTRY_ONE_EXTENT) != 0) {
		extent_pack(p, &entry->extent, &no_extent,
			    (uint32_t)entry->size_bytes);
	}
	if ((flags & ENTRY_EXTENTS) != 0) {
		pack_varint(p, entry->num_extents);
		pack_varint(p, entry->protected_bytes);
	}
}

bool entry_peek(const uint8_t *raw, size_t len, bool *is_link, uint64_t *id,
		const char **name, size_t *name_len)
{
	struct unpack u = unpack_of(raw, len);

	*is_link = (unpack_fixed(&u, 2) & ENTRY_KIND) == 0;
	*id = unpack_upto(&u, ID_MAX);
	*name_len = unpack_varint(&u);
	*name = (const char *)unpack_bytes(&u, *name_len);
	return !u.bad;
}

static uint64_t unpack_optional(struct unpack *u, unsigned int flags,
				unsigned int flag, uint64_t max)
{
	return (flags & flag) != 0 ? unpack_upto(u, max) : 0;
}

static void unpack_xattrs(struct unpack *u, struct entry *entry)
{
	switch (entry->xattrs_where) {
	case XATTRS_NONE:
	case XATTRS_OWN:
		break;
	case XATTRS_INLINE:
		entry->xattrs_len = unpack_varint(u);
		entry->xattrs = unpack_bytes(u, entry->xattrs_len);
		break;
	case XATTRS_SHARED:
		entry->xattrs = unpack_bytes(u, SHARED_KEY_BYTES);
		break;
	}
}

static void unpack_node(struct unpack *u, unsigned int flags,
			struct entry *entry)
{
	entry->kind = (enum mrmr_node_kind)(flags & ENTRY_KIND);
	entry->has_links = (flags & ENTRY_HAS_LINKS) != 0;
	entry->member = MRMR_MEMBER_NONE;
	if ((flags & ENTRY_MEMBER) != 0) {
		entry->member = (uint16_t)unpack_upto(u, MEMBERS_MAX - 1);
	}
	entry->inode = unpack_optional(u, flags, ENTRY_INODE, UINT64_MAX);
	entry->size_bytes = unpack_upto(u, INT64_MAX);
	entry->mtime_ns = (int64_t)unpack_fixed(u, 8);
	entry->mode = (uint32_t)unpack_upto(u, UINT32_MAX);
	entry->uid = (uint32_t)unpack_upto(u, UINT32_MAX);
	entry->gid = (uint32_t)unpack_upto(u, UINT32_MAX);
	entry->device = unpack_optional(u, flags, ENTRY_DEVICE, UINT64_MAX);
	entry->grid_bytes =
		(uint32_t)unpack_optional(u, flags, ENTRY_GRID, UINT32_MAX);
	entry->generation =
		(uint32_t)unpack_optional(u, flags, ENTRY_GENERATION,
					  UINT32_MAX);
	entry->sequence = unpack_optional(u, flags, ENTRY_SEQUENCE, UINT64_MAX);
	entry->xattrs_where = (enum entry_xattrs)((flags & ENTRY_XATTRS) >>
						  ENTRY_XATTRS_SHIFT);
	unpack_xattrs(u, entry);
	entry->has_own_target = (flags & ENTRY_OWN_TARGET) != 0;
	if ((flags & ENTRY_TARGET) != 0) {
		entry->target_len = unpack_upto(u, PATH_BYTES_MAX);
		entry->target =
			(const char *)unpack_bytes(u, entry->target_len);
	}
	if ((flags & ENTRY_ONE_EXTENT) != 0) {
		entry->num_extents = 1;
		extent_unpack(u, &entry->extent, &no_extent,
			      (uint32_t)entry->size_bytes);
		entry->protected_bytes = extent_is_protected(&entry->extent)
						 ? entry->extent.len_bytes
						 : 0;
	}
	if ((flags & ENTRY_EXTENTS) != 0) {
		entry->num_extents = (uint32_t)unpack_upto(u, NUM_EXTENTS_MAX);
		entry->protected_bytes = unpack_upto(u, INT64_MAX);
		if (entry->num_extents < 2) {
			unpack_fail(u);
		}
	}
	if (entry->kind > MRMR_NODE_SPECIAL ||
	    (entry->kind != MRMR_NODE_FILE && entry->num_extents > 0) ||
	    (entry->target != NULL &&
	     memchr(entry->target, '\0', entry->target_len) != NULL)) {
		unpack_fail(u);
	}
}

bool entry_unpack(const uint8_t *raw, size_t len, bool in_trash,
		  struct entry *entry)
{
	struct unpack u = unpack_of(raw, len);
	unsigned int flags = (unsigned int)unpack_fixed(&u, 2);

	*entry = (struct entry){.member = MRMR_MEMBER_NONE};
	entry->id = unpack_upto(&u, ID_MAX - 1);
	entry->name_len = unpack_varint(&u);
	entry->name = (const char *)unpack_bytes(&u, entry->name_len);
	if (u.bad || entry->id == 0) {
		return false;
	}
	/* only the root, which nobody finds by name, has an empty one */
	if (entry->id != MRMR_ID_ROOT &&
	    !name_is_good(in_trash ? MRMR_ID_TRASH : MRMR_ID_ROOT, entry->name,
			  entry->name_len)) {
		return false;
	}
	entry->is_link = (flags & ENTRY_KIND) == 0;
	if (!entry->is_link) {
		unpack_node(&u, flags, entry);
	}
	return unpack_done(&u);
}

static bool component_is_good(const char *name, size_t len)
{
	return len > 0 && len <= 255 && memchr(name, '\0', len) == NULL &&
	       memchr(name, '/', len) == NULL &&
	       !(len == 1 && name[0] == '.') &&
	       !(len == 2 && name[0] == '.' && name[1] == '.');
}

/* "<member>/<path>" */
static bool trash_name_is_good(const char *name, size_t len)
{
	const char *end = name + len;
	const char *slash = memchr(name, '/', len);
	const char *at = NULL;

	if (slash == NULL || slash == name || slash - name > 5 ||
	    len > PATH_BYTES_MAX) {
		return false;
	}
	for (at = name; at < slash; at++) {
		if (*at < '0' || *at > '9') {
			return false;
		}
	}
	do {
		at = slash + 1;
		slash = memchr(at, '/', (size_t)(end - at));
		if (!component_is_good(at,
				       (size_t)((slash != NULL ? slash : end) -
						at))) {
			return false;
		}
	} while (slash != NULL);
	return true;
}

bool name_is_good(uint64_t dir_id, const char *name, size_t len)
{
	if (dir_id == MRMR_ID_TRASH) {
		return trash_name_is_good(name, len);
	}
	return component_is_good(name, len);
}
