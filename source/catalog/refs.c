/*
 * MRMR: the catalogue: why a part has a file.
 *
 * In a part: the number of pieces of a file that are in stripes in which the
 * part's member has a row. As long as there are some the part keeps the file,
 * wherever it lies. Pages of 64 ids.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include "catalog_private.h"

#define PER_PAGE 64

static int page_load(struct mrmr_catalog *part, const struct key *key,
		     uint64_t refs[PER_PAGE])
{
	const uint8_t *value = NULL;
	struct unpack u;
	size_t len = 0;

	memset(refs, 0, PER_PAGE * sizeof(refs[0]));
	if (record_get(part, key, &value, &len) == -1) {
		return errno == ENOENT ? 0 : -1;
	}
	u = unpack_of(value, len);
	while (unpack_left(&u) > 0) {
		uint64_t low = unpack_fixed(&u, 1);
		uint64_t n = unpack_varint(&u);

		if (low >= PER_PAGE) {
			unpack_fail(&u);
			break;
		}
		refs[low] = n;
	}
	return unpack_done(&u) ? 0 : damaged_record(part, "references");
}

int refs_get(struct mrmr_catalog *part, uint64_t id, uint64_t *refs)
{
	struct key key = key_of_number(RECORD_REFS, id / PER_PAGE);
	uint64_t all[PER_PAGE];

	if (page_load(part, &key, all) == -1) {
		return -1;
	}
	*refs = all[id % PER_PAGE];
	return 0;
}

int refs_add(struct mrmr_catalog *part, uint64_t id, int64_t delta)
{
	struct key key = key_of_number(RECORD_REFS, id / PER_PAGE);
	struct pack p = {.mem_ctx = NULL};
	uint64_t refs[PER_PAGE];
	unsigned int i;
	int ret;

	if (page_load(part, &key, refs) == -1) {
		return -1;
	}
	if (delta < 0 && refs[id % PER_PAGE] < (uint64_t)-delta) {
		return damaged_record(part, "references");
	}
	refs[id % PER_PAGE] += (uint64_t)delta;
	for (i = 0; i < PER_PAGE; i++) {
		if (refs[i] != 0) {
			pack_fixed(&p, i, 1);
			pack_varint(&p, refs[i]);
		}
	}
	ret = p.len == 0 ? record_delete(part, &key)
			 : record_put_pack(part, &key, &p);
	talloc_free(p.data);
	return ret;
}
