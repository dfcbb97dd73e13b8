/*
 * MRMR: the catalogue: where the node with an id is, and which node has an
 * inode of a member.
 *
 * Ids are given one after another and inodes mostly lie close together, so 64
 * of them share a record: a page. One that is empty is not there.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include "catalog_private.h"

#define PER_PAGE 64

/* --- ids ---------------------------------------------------------------------- */

struct id_page {
	uint64_t mask;
	struct place places[PER_PAGE];
};

static bool id_page_decode(const uint8_t *value, size_t len, void *decoded)
{
	struct id_page *page = decoded;
	struct unpack u = unpack_of(value, len);
	uint64_t dir_id = 0;
	unsigned int i;

	page->mask = unpack_fixed(&u, 8);
	for (i = 0; i < PER_PAGE; i++) {
		if ((page->mask >> i & 1) == 0) {
			continue;
		}
		dir_id += (uint64_t)unpack_signed(&u);
		page->places[i].dir_id = dir_id;
		page->places[i].hash = (uint32_t)unpack_fixed(&u, 4);
		if (dir_id >= ID_MAX) {
			unpack_fail(&u);
		}
	}
	return unpack_done(&u) && page->mask != 0;
}

static void id_page_encode(struct pack *p, const void *decoded)
{
	const struct id_page *page = decoded;
	uint64_t dir_id = 0;
	unsigned int i;

	if (page->mask == 0) {
		return;
	}
	pack_fixed(p, page->mask, 8);
	for (i = 0; i < PER_PAGE; i++) {
		if ((page->mask >> i & 1) == 0) {
			continue;
		}
		pack_signed(p, (int64_t)(page->places[i].dir_id - dir_id));
		pack_fixed(p, page->places[i].hash, 4);
		dir_id = page->places[i].dir_id;
	}
}

static const struct form id_page_form = {
	.what = "a page of ids",
	.bytes = sizeof(struct id_page),
	.decode = id_page_decode,
	.encode = id_page_encode,
};

static const struct id_page *id_page_read(struct mrmr_catalog *cat,
					  uint64_t number)
{
	struct key key = key_of_number(RECORD_IDS, number);

	return record_read(cat, &key, &id_page_form);
}

static struct id_page *id_page_change(struct mrmr_catalog *cat, uint64_t number)
{
	struct key key = key_of_number(RECORD_IDS, number);

	return record_change(cat, &key, &id_page_form);
}

int ids_get(struct mrmr_catalog *cat, uint64_t id, struct place *place)
{
	const struct id_page *page = NULL;

	if (id >= ID_MAX) {
		errno = ENOENT;
		return -1;
	}
	page = id_page_read(cat, id / PER_PAGE);
	if (page == NULL) {
		return -1;
	}
	if (page->mask == 0 && bits_check_none(cat, BITS_IDS, id / PER_PAGE,
					       id_page_form.what) == -1) {
		return -1;
	}
	if ((page->mask >> (id % PER_PAGE) & 1) == 0) {
		errno = ENOENT;
		return -1;
	}
	*place = page->places[id % PER_PAGE];
	return 0;
}

int ids_put(struct mrmr_catalog *cat, uint64_t id, const struct place *place)
{
	struct id_page *page = id_page_change(cat, id / PER_PAGE);

	if (page == NULL ||
	    (page->mask == 0 &&
	     (bits_check_none(cat, BITS_IDS, id / PER_PAGE,
			      id_page_form.what) == -1 ||
	      bits_set(cat, BITS_IDS, id / PER_PAGE, true) == -1))) {
		return -1;
	}
	page->mask |= (uint64_t)1 << (id % PER_PAGE);
	page->places[id % PER_PAGE] = *place;
	return 0;
}

int ids_delete(struct mrmr_catalog *cat, uint64_t id)
{
	struct id_page *page = id_page_change(cat, id / PER_PAGE);

	if (page == NULL) {
		return -1;
	}
	page->mask &= ~((uint64_t)1 << (id % PER_PAGE));
	return page->mask != 0 ? 0
			       : bits_set(cat, BITS_IDS, id / PER_PAGE, false);
}

int ids_next(struct mrmr_catalog *cat, uint64_t after, uint64_t *id)
{
	uint64_t end = (cat->head.next_id + PER_PAGE - 1) / PER_PAGE;
	uint64_t first = after + 1; /* the first that counts */
	uint64_t number = first / PER_PAGE;

	while (bits_next(cat, BITS_IDS, &number, end) == 0) {
		unsigned int from =
			number == first / PER_PAGE ? first % PER_PAGE : 0;
		const struct id_page *page = id_page_read(cat, number);
		uint64_t mask;

		if (page == NULL) {
			return -1;
		}
		if (page->mask == 0) {
			return damaged_record(cat, id_page_form.what);
		}
		mask = page->mask & UINT64_MAX << from;
		if (mask != 0) {
			*id = number * PER_PAGE +
			      (uint64_t)__builtin_ctzll(mask);
			return 0;
		}
		number++;
	}
	return -1;
}

/* --- inodes ------------------------------------------------------------------- */

struct inode_page {
	unsigned int num;
	uint8_t low[PER_PAGE]; /* ascending */
	uint64_t ids[PER_PAGE];
};

static struct key inode_key(uint16_t member, uint64_t inode)
{
	return key_of_numbers(RECORD_INODES, member, inode / PER_PAGE);
}

static bool inode_page_decode(const uint8_t *value, size_t len, void *decoded)
{
	struct inode_page *page = decoded;
	struct unpack u = unpack_of(value, len);
	uint64_t id = 0;

	while (unpack_left(&u) > 0 && page->num < PER_PAGE) {
		unsigned int i = page->num++;

		page->low[i] = (uint8_t)unpack_fixed(&u, 1);
		id += (uint64_t)unpack_signed(&u);
		page->ids[i] = id;
		if (page->low[i] >= PER_PAGE || id == 0 || id >= ID_MAX ||
		    (i > 0 && page->low[i] <= page->low[i - 1])) {
			unpack_fail(&u);
		}
	}
	return unpack_done(&u);
}

static void inode_page_encode(struct pack *p, const void *decoded)
{
	const struct inode_page *page = decoded;
	uint64_t id = 0;
	unsigned int i;

	for (i = 0; i < page->num; i++) {
		pack_fixed(p, page->low[i], 1);
		pack_signed(p, (int64_t)(page->ids[i] - id));
		id = page->ids[i];
	}
}

static const struct form inode_page_form = {
	.what = "a page of inodes",
	.bytes = sizeof(struct inode_page),
	.decode = inode_page_decode,
	.encode = inode_page_encode,
};

/* Where an inode is in its page, or has to be put. */
static unsigned int inode_position(const struct inode_page *page,
				   uint64_t inode)
{
	unsigned int i = 0;

	while (i < page->num && page->low[i] < inode % PER_PAGE) {
		i++;
	}
	return i;
}

static bool inode_is_at(const struct inode_page *page, unsigned int i,
			uint64_t inode)
{
	return i < page->num && page->low[i] == inode % PER_PAGE;
}

int inodes_get(struct mrmr_catalog *cat, uint16_t member, uint64_t inode,
	       uint64_t *id)
{
	struct key key = inode_key(member, inode);
	const struct inode_page *page =
		record_read(cat, &key, &inode_page_form);
	unsigned int i;

	if (page == NULL) {
		return -1;
	}
	i = inode_position(page, inode);
	if (inode == 0 || !inode_is_at(page, i, inode)) {
		errno = ENOENT;
		return -1;
	}
	*id = page->ids[i];
	return 0;
}

int inodes_put(struct mrmr_catalog *cat, uint16_t member, uint64_t inode,
	       uint64_t id)
{
	struct key key = inode_key(member, inode);
	struct inode_page *page = NULL;
	uint64_t old_id;
	unsigned int i;

	if (inode == 0 || member == MRMR_MEMBER_NONE) {
		return 0;
	}
	if (inodes_get(cat, member, inode, &old_id) == 0 && old_id == id) {
		return 0; /* as with most changes of a node */
	}
	page = record_change(cat, &key, &inode_page_form);
	if (page == NULL) {
		return -1;
	}
	i = inode_position(page, inode);
	if (!inode_is_at(page, i, inode)) {
		memmove(&page->low[i + 1], &page->low[i], page->num - i);
		memmove(&page->ids[i + 1], &page->ids[i],
			(page->num - i) * sizeof(page->ids[0]));
		page->num++;
	}
	page->low[i] = inode % PER_PAGE;
	page->ids[i] = id;
	return 0;
}

int inodes_delete(struct mrmr_catalog *cat, uint16_t member, uint64_t inode,
		  uint64_t id)
{
	struct key key = inode_key(member, inode);
	struct inode_page *page = NULL;
	uint64_t old_id;
	unsigned int i;

	if (inode == 0 || member == MRMR_MEMBER_NONE) {
		return 0;
	}
	if (inodes_get(cat, member, inode, &old_id) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	if (old_id != id) {
		return 0;
	}
	page = record_change(cat, &key, &inode_page_form);
	if (page == NULL) {
		return -1;
	}
	i = inode_position(page, inode);
	page->num--;
	memmove(&page->low[i], &page->low[i + 1], page->num - i);
	memmove(&page->ids[i], &page->ids[i + 1],
		(page->num - i) * sizeof(page->ids[0]));
	return 0;
}
