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

struct page {
	uint64_t refs[PER_PAGE];
};

static bool page_decode(const uint8_t *value, size_t len, void *decoded)
{
	struct page *page = decoded;
	struct unpack u = unpack_of(value, len);

	while (unpack_left(&u) > 0) {
		uint64_t low = unpack_fixed(&u, 1);
		uint64_t n = unpack_varint(&u);

		if (low >= PER_PAGE) {
			return false;
		}
		page->refs[low] = n;
	}
	return unpack_done(&u);
}

static void page_encode(struct pack *p, const void *decoded)
{
	const struct page *page = decoded;
	unsigned int i;

	for (i = 0; i < PER_PAGE; i++) {
		if (page->refs[i] != 0) {
			pack_fixed(p, i, 1);
			pack_varint(p, page->refs[i]);
		}
	}
}

static const struct form page_form = {
	.what = "references",
	.bytes = sizeof(struct page),
	.decode = page_decode,
	.encode = page_encode,
};

int refs_get(struct mrmr_catalog *part, uint64_t id, uint64_t *refs)
{
	struct key key = key_of_number(RECORD_REFS, id / PER_PAGE);
	const struct page *page = record_read(part, &key, &page_form);

	if (page == NULL) {
		return -1;
	}
	*refs = page->refs[id % PER_PAGE];
	return 0;
}

int refs_add(struct mrmr_catalog *part, uint64_t id, int64_t delta)
{
	struct key key = key_of_number(RECORD_REFS, id / PER_PAGE);
	struct page *page = record_change(part, &key, &page_form);

	if (page == NULL) {
		return -1;
	}
	if (delta < 0 && page->refs[id % PER_PAGE] < (uint64_t)-delta) {
		return damaged_record(part, page_form.what);
	}
	page->refs[id % PER_PAGE] += (uint64_t)delta;
	return 0;
}
