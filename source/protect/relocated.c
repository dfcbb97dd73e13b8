/*
 * MRMR: files of a lost member that were rebuilt, and of which the queue still has
 * something to tell (see relocated.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <talloc.h>

#include "relocated.h"

#define HEAD_NAME "relocated"
#define ENTRY_BYTES 18

static void note_name(uint32_t index, char name[32])
{
	snprintf(name, 32, HEAD_NAME ".%" PRIx32, index);
}

/* How many notes there are. -1 with errno. */
static int get_num(struct mrmr_catalog *catalog, uint32_t *num)
{
	size_t len = 0;
	uint8_t *value = mrmr_catalog_get_note(catalog, NULL, HEAD_NAME, &len);

	*num = 0;
	if (value == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	if (len == sizeof(*num)) {
		memcpy(num, value, sizeof(*num));
		*num = le32toh(*num);
	}
	talloc_free(value);
	return 0;
}

static void pack(uint8_t *at, const struct relocation *relocation)
{
	uint16_t member = htole16(relocation->member);
	uint64_t inode = htole64(relocation->inode);
	uint64_t node = htole64(relocation->node);

	memcpy(at, &member, 2);
	memcpy(at + 2, &inode, 8);
	memcpy(at + 10, &node, 8);
}

static void unpack(const uint8_t *at, struct relocation *relocation)
{
	memcpy(&relocation->member, at, 2);
	memcpy(&relocation->inode, at + 2, 8);
	memcpy(&relocation->node, at + 10, 8);
	relocation->member = le16toh(relocation->member);
	relocation->inode = le64toh(relocation->inode);
	relocation->node = le64toh(relocation->node);
}

int relocated_note(struct mrmr_catalog *catalog, const struct relocation *list,
		   size_t num)
{
	uint8_t *value = NULL;
	uint32_t num_notes;
	uint32_t head;
	char name[32];
	size_t i;
	int ret;

	if (num == 0) {
		return 0;
	}
	if (get_num(catalog, &num_notes) == -1) {
		return -1;
	}
	value = talloc_array(NULL, uint8_t, num * ENTRY_BYTES);
	if (value == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (i = 0; i < num; i++) {
		pack(value + i * ENTRY_BYTES, &list[i]);
	}
	note_name(num_notes, name);
	head = htole32(num_notes + 1);
	ret = mrmr_catalog_put_note(catalog, name, value, num * ENTRY_BYTES);
	if (ret == 0) {
		ret = mrmr_catalog_put_note(catalog, HEAD_NAME,
					    (const uint8_t *)&head,
					    sizeof(head));
	}
	talloc_free(value);
	return ret;
}

bool relocated_any(struct mrmr_catalog *catalog)
{
	return mrmr_catalog_has_note(catalog, HEAD_NAME);
}

static int compare(const void *a_void, const void *b_void)
{
	const struct relocation *a = a_void;
	const struct relocation *b = b_void;

	if (a->member != b->member) {
		return a->member < b->member ? -1 : 1;
	}
	return a->inode < b->inode ? -1 : a->inode > b->inode;
}

static int load_note(struct mrmr_catalog *catalog, uint32_t index,
		     struct relocation **list, size_t *num)
{
	struct relocation *longer = NULL;
	char name[32];
	uint8_t *value = NULL;
	size_t len = 0;
	size_t i;

	note_name(index, name);
	value = mrmr_catalog_get_note(catalog, NULL, name, &len);
	if (value == NULL) {
		return -1;
	}
	longer = talloc_realloc(NULL, *list, struct relocation,
				*num + len / ENTRY_BYTES + 1);
	if (longer == NULL) {
		talloc_free(value);
		errno = ENOMEM;
		return -1;
	}
	*list = longer;
	for (i = 0; i + ENTRY_BYTES <= len; i += ENTRY_BYTES) {
		unpack(value + i, &longer[(*num)++]);
	}
	talloc_free(value);
	return 0;
}

struct relocation *relocated_load(void *mem_ctx, struct mrmr_catalog *catalog)
{
	struct relocation *list = NULL;
	uint32_t num_notes;
	size_t num = 0;
	uint32_t i;

	if (get_num(catalog, &num_notes) == -1) {
		return NULL;
	}
	for (i = 0; i < num_notes; i++) {
		/* one that is missing does not take the others with it */
		if (load_note(catalog, i, &list, &num) == -1 &&
		    errno != ENOENT) {
			talloc_free(list);
			return NULL;
		}
	}
	if (num == 0) {
		talloc_free(list);
		errno = ENOENT;
		return NULL;
	}
	qsort(list, num, sizeof(list[0]), compare);
	list = talloc_realloc(NULL, list, struct relocation, num);
	return talloc_steal(mem_ctx, list);
}

uint64_t relocated_find(const struct relocation *list, uint16_t member,
			uint64_t inode)
{
	const struct relocation key = {.member = member, .inode = inode};
	const struct relocation *found =
		list == NULL ? NULL
			     : bsearch(&key, list, talloc_array_length(list),
				       sizeof(list[0]), compare);

	return found != NULL ? found->node : MRMR_ID_NONE;
}

int relocated_forget(struct mrmr_catalog *catalog)
{
	uint32_t num_notes;
	char name[32];
	uint32_t i;

	if (get_num(catalog, &num_notes) == -1) {
		return -1;
	}
	for (i = 0; i < num_notes; i++) {
		note_name(i, name);
		if (mrmr_catalog_put_note(catalog, name, NULL, 0) == -1) {
			return -1;
		}
	}
	return mrmr_catalog_put_note(catalog, HEAD_NAME, NULL, 0);
}
