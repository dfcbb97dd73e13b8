/*
 * MRMR: which events of the queue the catalogue has (see applied.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <talloc.h>

#include "applied.h"

#define NOTE "events"

int applied_get(struct mrmr_catalog *catalog, uint64_t *mark)
{
	uint64_t kept = 0;
	uint8_t *value = NULL;
	size_t len = 0;

	*mark = 0;
	value = mrmr_catalog_get_note(catalog, NULL, NOTE, &len);
	if (value == NULL) {
		return errno == ENOENT ? 0 : -1;
	}
	if (len == sizeof(kept)) {
		memcpy(&kept, value, sizeof(kept));
		*mark = le64toh(kept);
	}
	talloc_free(value);
	return 0;
}

int applied_put(struct mrmr_catalog *catalog, const struct mrmr_event *event)
{
	uint64_t mark = htole64(mrmr_queue_fingerprint(event));

	return mrmr_catalog_put_note(catalog, NOTE, (const uint8_t *)&mark,
				     sizeof(mark));
}
