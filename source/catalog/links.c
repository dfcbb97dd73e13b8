/*
 * MRMR: the catalogue: the further names of a node (hard links).
 *
 * Under a further name there is the id only. The node has a record with the
 * places of its further names; most have none.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "catalog_private.h"

int links_get(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
	      struct mrmr_link **links, size_t *num)
{
	struct key key = key_of_number(RECORD_LINKS, id);
	const uint8_t *value = NULL;
	struct mrmr_link *list = NULL;
	struct unpack u;
	size_t len = 0;
	size_t n = 0;

	if (record_get(cat, &key, &value, &len) == -1) {
		return errno == ENOENT
			       ? damaged_record(cat, "the names of a node")
			       : -1;
	}
	/* a name takes three bytes at least */
	list = talloc_zero_array(mem_ctx, struct mrmr_link, len / 3 + 1);
	if (list == NULL) {
		errno = ENOMEM;
		return -1;
	}
	u = unpack_of(value, len);
	while (unpack_left(&u) > 0 && n < len / 3 + 1) {
		uint64_t dir_id = unpack_upto(&u, ID_MAX - 1);
		size_t name_len = unpack_varint(&u);
		const uint8_t *name = unpack_bytes(&u, name_len);

		if (u.bad ||
		    !name_is_good(dir_id, (const char *)name, name_len)) {
			unpack_fail(&u);
			break;
		}
		list[n].dir_id = dir_id;
		list[n].name =
			talloc_strndup(list, (const char *)name, name_len);
		if (list[n].name == NULL) {
			talloc_free(list);
			errno = ENOMEM;
			return -1;
		}
		n++;
	}
	if (!unpack_done(&u) || n == 0) {
		talloc_free(list);
		return damaged_record(cat, "the names of a node");
	}
	*links = list;
	*num = n;
	return 0;
}

int links_put(struct mrmr_catalog *cat, uint64_t id,
	      const struct mrmr_link *links, size_t num)
{
	struct key key = key_of_number(RECORD_LINKS, id);
	struct pack p = {.mem_ctx = NULL};
	size_t i;

	if (num == 0) {
		return record_delete(cat, &key);
	}
	for (i = 0; i < num; i++) {
		size_t len = strlen(links[i].name);

		pack_varint(&p, links[i].dir_id);
		pack_varint(&p, len);
		pack_bytes(&p, links[i].name, len);
	}
	return record_put_pack(cat, &key, &p);
}

int mrmr_catalog_links(struct mrmr_catalog *cat, void *mem_ctx, uint64_t id,
		       struct mrmr_link **links, size_t *num)
{
	void *frame = talloc_new(NULL);
	struct mrmr_link *others = NULL;
	struct mrmr_link *all = NULL;
	struct entry entry;
	struct place place;
	size_t num_others = 0;
	size_t i;
	int ret;

	ret = read_begin(cat);
	if (ret == -1) {
		talloc_free(frame);
		return -1;
	}
	ret = node_load(cat, frame, id, &entry, &place);
	if (ret == 0 && entry.has_links) {
		ret = links_get(cat, frame, id, &others, &num_others);
	}
	if (ret == 0) {
		all = talloc_zero_array(mem_ctx, struct mrmr_link,
					num_others + 1);
		if (all == NULL) {
			errno = ENOMEM;
			ret = -1;
		}
	}
	if (ret == 0) {
		all[0].dir_id = place.dir_id;
		all[0].name = talloc_strndup(all, entry.name, entry.name_len);
		for (i = 0; i < num_others; i++) {
			all[i + 1] = others[i];
			talloc_steal(all, others[i].name);
		}
		*links = all;
		*num = num_others + 1;
	}
	ret = read_end(cat, ret);
	talloc_free(frame);
	return ret;
}
