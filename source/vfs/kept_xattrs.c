/*
 * MRMR: the Samba module: what listings have found out about extended attributes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "kept_xattrs.h"

#include <time.h>

/* A power of two: 1.3 MB for a share whose client lists that many files. */
#define PLACES 8192

/* Two changes within one tick of the kernel's clock, 10 ms at most, have the same
   ctime. */
#define TICKS_NS INT64_C(100000000)

struct mrmr_kept_table {
	struct mrmr_kept_xattrs places[PLACES];
};

/* Files of a directory have inodes next to each other, on each of some members. */
static size_t place_of(const struct stat *st)
{
	uint64_t member = (uint64_t)st->st_dev * UINT64_C(0x9e3779b97f4a7c15);

	return (size_t)((member >> 32) + st->st_ino) % PLACES;
}

static bool is_settled(const struct stat *st)
{
	struct timespec now;

	return clock_gettime(CLOCK_REALTIME_COARSE, &now) == 0 &&
	       (int64_t)(now.tv_sec - st->st_ctim.tv_sec) * 1000000000 +
			       (now.tv_nsec - st->st_ctim.tv_nsec) >
		       TICKS_NS;
}

struct mrmr_kept_xattrs *mrmr_kept_xattrs_of(struct mrmr_share *share,
					     const struct stat *st, uid_t uid)
{
	struct mrmr_kept_xattrs *kept = NULL;

	if (!is_settled(st)) {
		return NULL;
	}
	if (share->kept_xattrs == NULL) {
		share->kept_xattrs =
			SMB_CALLOC_ARRAY(struct mrmr_kept_table, 1);
	}
	if (share->kept_xattrs == NULL) {
		return NULL;
	}
	kept = &share->kept_xattrs->places[place_of(st)];
	if (kept->ino != st->st_ino || kept->dev != st->st_dev ||
	    kept->uid != uid ||
	    timespec_compare(&kept->ctime, &st->st_ctim) != 0) {
		*kept = (struct mrmr_kept_xattrs){
			.dev = st->st_dev,
			.ino = st->st_ino,
			.ctime = st->st_ctim,
			.uid = uid,
			.dos_attributes.len = MRMR_KEPT_UNKNOWN,
			.names.len = MRMR_KEPT_UNKNOWN,
		};
	}
	return kept;
}

void mrmr_kept_xattrs_free(struct mrmr_share *share)
{
	share->listed.kept = NULL;
	SAFE_FREE(share->kept_xattrs);
}

bool mrmr_kept_value_get(const struct mrmr_kept_value *value, void *to,
			 size_t size, ssize_t *len)
{
	if (value->len == MRMR_KEPT_UNKNOWN) {
		return false;
	}
	*len = value->len;
	if (value->len == MRMR_KEPT_NONE) {
		errno = ENODATA;
		*len = -1;
	} else if (size != 0 && size < (size_t)value->len) {
		errno = ERANGE;
		*len = -1;
	} else if (size != 0) {
		memcpy(to, value->bytes, (size_t)value->len);
	}
	return true;
}

void mrmr_kept_value_set(struct mrmr_kept_value *value, const void *from,
			 size_t size, ssize_t len)
{
	if (len == -1 && errno == ENODATA) {
		value->len = MRMR_KEPT_NONE;
	} else if (len >= 0 && (size_t)len <= size &&
		   (size_t)len <= sizeof(value->bytes)) {
		memcpy(value->bytes, from, (size_t)len);
		value->len = (int8_t)len;
	}
}
