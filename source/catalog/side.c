/*
 * MRMR: the catalogue: what of a node is not in its entry.
 *
 * Extended attributes of more than a few bytes are mostly ACLs, and the same on
 * most files: they are kept once, under the first 16 bytes of their SHA-256,
 * with the number of nodes that have them. Large ones are the node's own.
 * Targets of symlinks that are long would make a bucket large.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <openssl/evp.h>
#include <talloc.h>

#include "catalog_private.h"

#define INLINE_MAX 64
#define SHARED_MAX 1024
#define TARGET_INLINE_MAX 200

static int shared_load(struct mrmr_catalog *cat, const struct key *key,
		       uint64_t *uses, const uint8_t **bytes, size_t *len)
{
	const uint8_t *value = NULL;
	size_t value_len = 0;
	struct unpack u;

	if (record_get(cat, key, &value, &value_len) == -1) {
		return -1;
	}
	u = unpack_of(value, value_len);
	*uses = unpack_varint(&u);
	*len = unpack_left(&u);
	*bytes = unpack_bytes(&u, *len);
	if (u.bad || *uses == 0 || *len > SHARED_MAX) {
		return damaged_record(cat, "shared attributes");
	}
	return 0;
}

static int shared_save(struct mrmr_catalog *cat, const struct key *key,
		       uint64_t uses, const uint8_t *bytes, size_t len)
{
	struct pack p = {.mem_ctx = NULL};

	if (uses == 0) {
		return record_delete(cat, key);
	}
	pack_varint(&p, uses);
	pack_bytes(&p, bytes, len);
	return record_put_pack(cat, key, &p);
}

static int shared_add(struct mrmr_catalog *cat, const uint8_t *xattrs,
		      size_t len, uint8_t key_bytes[SHARED_KEY_BYTES])
{
	uint8_t sha256[EVP_MAX_MD_SIZE];
	const uint8_t *bytes = NULL;
	size_t bytes_len = 0;
	uint64_t uses = 0;
	struct key key;

	if (EVP_Digest(xattrs, len, sha256, NULL, EVP_sha256(), NULL) != 1) {
		errno = ENOMEM;
		return -1;
	}
	memcpy(key_bytes, sha256, SHARED_KEY_BYTES);
	key = key_of_bytes(RECORD_SHARED, key_bytes, SHARED_KEY_BYTES);
	if (shared_load(cat, &key, &uses, &bytes, &bytes_len) == -1) {
		if (errno != ENOENT) {
			return -1;
		}
		uses = 0;
	} else if (bytes_len != len || memcmp(bytes, xattrs, len) != 0) {
		return damaged_record(cat, "shared attributes");
	}
	return shared_save(cat, &key, uses + 1, xattrs, len);
}

int xattrs_store(struct mrmr_catalog *cat, struct entry *entry,
		 const uint8_t *xattrs, size_t len,
		 uint8_t key_room[SHARED_KEY_BYTES])
{
	struct key key = key_of_number(RECORD_OWN_XATTRS, entry->id);

	entry->xattrs = xattrs;
	entry->xattrs_len = len;
	if (len == 0) {
		entry->xattrs_where = XATTRS_NONE;
	} else if (len <= INLINE_MAX) {
		entry->xattrs_where = XATTRS_INLINE;
	} else if (len <= SHARED_MAX) {
		entry->xattrs_where = XATTRS_SHARED;
		entry->xattrs = key_room;
		return shared_add(cat, xattrs, len, key_room);
	} else if (len <= XATTRS_MAX) {
		entry->xattrs_where = XATTRS_OWN;
		return record_put(cat, &key, xattrs, len);
	} else {
		errno = E2BIG;
		return -1;
	}
	return 0;
}

int xattrs_drop(struct mrmr_catalog *cat, const struct entry *entry)
{
	const uint8_t *bytes = NULL;
	uint8_t copy[SHARED_MAX];
	uint64_t uses = 0;
	size_t len = 0;
	struct key key;

	if (entry->xattrs_where == XATTRS_OWN) {
		key = key_of_number(RECORD_OWN_XATTRS, entry->id);
		return record_delete(cat, &key);
	}
	if (entry->xattrs_where != XATTRS_SHARED) {
		return 0;
	}
	key = key_of_bytes(RECORD_SHARED, entry->xattrs, SHARED_KEY_BYTES);
	if (shared_load(cat, &key, &uses, &bytes, &len) == -1) {
		return errno == ENOENT
			       ? damaged_record(cat, "shared attributes")
			       : -1;
	}
	memcpy(copy, bytes, len);
	return shared_save(cat, &key, uses - 1, copy, len);
}

int xattrs_load(struct mrmr_catalog *cat, void *mem_ctx,
		const struct entry *entry, uint8_t **xattrs, size_t *len)
{
	const uint8_t *bytes = entry->xattrs;
	uint64_t uses;
	struct key key;
	int ret = 0;

	*xattrs = NULL;
	*len = 0;
	switch (entry->xattrs_where) {
	case XATTRS_NONE:
		return 0;
	case XATTRS_INLINE:
		*len = entry->xattrs_len;
		break;
	case XATTRS_SHARED:
		key = key_of_bytes(RECORD_SHARED, entry->xattrs,
				   SHARED_KEY_BYTES);
		ret = shared_load(cat, &key, &uses, &bytes, len);
		break;
	case XATTRS_OWN:
		key = key_of_number(RECORD_OWN_XATTRS, entry->id);
		ret = record_get(cat, &key, &bytes, len);
		break;
	}
	if (ret == -1) {
		return errno == ENOENT ? damaged_record(cat, "attributes") : -1;
	}
	if (*len == 0) {
		return damaged_record(cat, "attributes");
	}
	*xattrs = talloc_memdup(mem_ctx, bytes, *len);
	if (*xattrs == NULL) {
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

int target_store(struct mrmr_catalog *cat, struct entry *entry,
		 const char *target)
{
	struct key key = key_of_number(RECORD_TARGET, entry->id);
	size_t len = target != NULL ? strlen(target) : 0;

	entry->target = NULL;
	entry->target_len = 0;
	entry->has_own_target = false;
	if (len > PATH_BYTES_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	if (len > TARGET_INLINE_MAX) {
		entry->has_own_target = true;
		return record_put(cat, &key, (const uint8_t *)target, len);
	}
	entry->target = target;
	entry->target_len = len;
	return 0;
}

int target_drop(struct mrmr_catalog *cat, const struct entry *entry)
{
	struct key key = key_of_number(RECORD_TARGET, entry->id);

	return entry->has_own_target ? record_delete(cat, &key) : 0;
}

char *target_load(struct mrmr_catalog *cat, void *mem_ctx,
		  const struct entry *entry)
{
	struct key key = key_of_number(RECORD_TARGET, entry->id);
	const uint8_t *bytes = (const uint8_t *)entry->target;
	size_t len = entry->target_len;
	char *target = NULL;

	if (entry->has_own_target &&
	    record_get(cat, &key, &bytes, &len) == -1) {
		if (errno == ENOENT) {
			damaged_record(cat, "the target of a symlink");
		}
		return NULL;
	}
	if (len > PATH_BYTES_MAX ||
	    (len > 0 && memchr(bytes, '\0', len) != NULL)) {
		damaged_record(cat, "the target of a symlink");
		return NULL;
	}
	target = talloc_strndup(mem_ctx, len > 0 ? (const char *)bytes : "",
				len);
	if (target == NULL) {
		errno = ENOMEM;
	}
	return target;
}
