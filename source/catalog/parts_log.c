/*
 * MRMR: the catalogue: what it knows of the parts, and the log for those behind.
 *
 * The theory is in parts.c.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>

#include <talloc.h>

#include "parts_private.h"

#define LOG_ITEMS_MAX 200000
#define LOG_RECORDS_MAX 4096

/* --- what the catalogue knows of a part ------------------------------------------ */

int part_known_get(struct mrmr_catalog *cat, uint16_t member,
		   struct part_known *known)
{
	struct key key = key_of_number(RECORD_PART, member);
	const uint8_t *value = NULL;
	struct unpack u;
	size_t len = 0;

	if (record_get(cat, &key, &value, &len) == -1) {
		return -1;
	}
	u = unpack_of(value, len);
	known->is_current = unpack_fixed(&u, 1) != 0;
	known->complete = unpack_varint(&u);
	known->written = unpack_varint(&u);
	return unpack_done(&u) ? 0 : damaged_record(cat, "the state of a part");
}

int part_known_put(struct mrmr_catalog *cat, uint16_t member,
		   const struct part_known *known)
{
	struct key key = key_of_number(RECORD_PART, member);
	struct pack p = {.mem_ctx = NULL};

	pack_fixed(&p, known->is_current, 1);
	pack_varint(&p, known->complete);
	pack_varint(&p, known->written);
	return record_put_pack(cat, &key, &p);
}

/* --- the log ------------------------------------------------------------------------ */

int part_log_load(struct mrmr_catalog *cat, uint64_t sequence, void *mem_ctx,
		  struct touched **list, size_t *num)
{
	struct key key = key_of_number(RECORD_LOG, sequence);
	const uint8_t *value = NULL;
	struct unpack u;
	size_t len = 0;

	if (record_get(cat, &key, &value, &len) == -1) {
		return -1;
	}
	u = unpack_of(value, len);
	return touched_unpack(&u, mem_ctx, list, num);
}

/* The oldest record of the log goes. */
static int log_shift(struct mrmr_catalog *cat)
{
	struct key key = key_of_number(RECORD_LOG, cat->head.log_first);
	struct touched *list = NULL;
	size_t num = 0;

	if (part_log_load(cat, cat->head.log_first, NULL, &list, &num) == -1 &&
	    errno != ENOENT) {
		return -1;
	}
	talloc_free(list);
	cat->head.log_items -=
		num < cat->head.log_items ? num : cat->head.log_items;
	cat->head.log_first++;
	return record_delete(cat, &key);
}

int part_log_write(struct mrmr_catalog *cat, bool is_needed)
{
	struct key key = key_of_number(RECORD_LOG, cat->head.sequence);
	struct pack p = {.mem_ctx = NULL};
	int ret;

	if (is_needed && cat->head.log_first == 0) {
		cat->head.log_first = cat->head.sequence;
	}
	while (cat->head.log_first != 0 &&
	       cat->head.log_first < cat->head.sequence &&
	       (!is_needed ||
		cat->head.log_items + cat->num_touched > LOG_ITEMS_MAX ||
		cat->head.sequence - cat->head.log_first >= LOG_RECORDS_MAX)) {
		if (log_shift(cat) == -1) {
			return -1;
		}
	}
	if (!is_needed) {
		cat->head.log_first = 0;
		cat->head.log_items = 0;
		return 0;
	}
	touched_pack(&p, cat->touched, cat->num_touched);
	ret = record_put_pack(cat, &key, &p);
	cat->head.log_items += cat->num_touched;
	return ret;
}
