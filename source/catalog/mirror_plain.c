/*
 * MRMR: the catalogue: from the catalogue to a part: files that are an entry.
 *
 * Most nodes are files with one name, one extent at most, and no attributes that
 * are kept elsewhere: all that is known of such a file is in its entry. So what
 * the part is to have of it is made from the catalogue's entry, and put once.
 * For what has more, mirror_nodes.c and mirror.c come to the same step by step.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include "mirror_private.h"

static bool is_plain(const struct entry *entry)
{
	return entry->kind == MRMR_NODE_FILE && !entry->has_links &&
	       entry->num_extents < 2 &&
	       (entry->xattrs_where == XATTRS_NONE ||
		entry->xattrs_where == XATTRS_INLINE);
}

static bool have_same_name(const struct entry *a, const struct entry *b)
{
	return a->name_len == b->name_len &&
	       memcmp(a->name, b->name, a->name_len) == 0;
}

int mirror_has_same_name(struct mirroring *m, uint64_t id)
{
	struct place now_place, was_place;
	struct entry now, was;

	if (mirror_now(m, id, &now, &now_place) == -1 ||
	    node_peek(m->part, id, &was, &was_place) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	return !now.has_links && !was.has_links &&
	       now_place.dir_id == was_place.dir_id &&
	       have_same_name(&now, &was);
}

int mirror_disagree(void)
{
	errno = EILSEQ;
	return -1;
}

int mirror_check_free(struct mirroring *m, uint64_t dir_id,
		      const struct entry *entry)
{
	struct entry other;

	if (dir_find(m->part, dir_id, entry->name, entry->name_len, &other) ==
	    0) {
		return mirror_disagree();
	}
	return errno == ENOENT ? 0 : -1;
}

int mirror_plain(struct mirroring *m, const struct entry *entry,
		 uint64_t dir_id)
{
	struct entry new = *entry;
	struct place place;
	struct entry old;
	bool there;

	if (!is_plain(entry)) {
		return 0;
	}
	if (m->last_dir != dir_id) {
		if (mirror_ensure_dirs(m, dir_id) == -1) {
			return -1;
		}
		m->last_dir = dir_id;
	}
	there = node_peek(m->part, entry->id, &old, &place) == 0;
	if (!there && errno != ENOENT) {
		return -1;
	}
	if (there && (!is_plain(&old) || place.dir_id != dir_id ||
		      !have_same_name(&old, entry))) {
		return 0;
	}
	new.sequence = m->sequence;
	if (new.num_extents == 1) {
		if (mirror_extent(m, entry, &new.extent) == -1) {
			return -1;
		}
		new.protected_bytes = extent_is_protected(&new.extent)
					      ? new.extent.len_bytes
					      : 0;
	}
	if (!there) {
		if (mirror_check_free(m, dir_id, entry) == -1) {
			return -1;
		}
		place = (struct place){
			.dir_id = dir_id,
			.hash = name_hash(m->part, dir_id, entry->name,
					  entry->name_len),
		};
	}
	if ((there ? entry_change(m->part, &place, &old, &new)
		   : entry_create(m->part, &place, &new)) == -1 ||
	    mirror_add_whole(m, entry->id) == -1) {
		return -1;
	}
	return 1;
}
