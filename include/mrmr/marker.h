/*
 * MRMR: the marker that makes a directory a member.
 *
 * `.mrmr/config.json` under the member's root says who it is:
 *     {"drive_id": "<pool uuid>", "mount_id": "<member uuid>"}
 * A member whose marker is absent or names another pool or member is not
 * online, and nothing is ever written to it: an unmounted mount point must not
 * fill the disk below it (invariant 5).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_MARKER_H
#define MRMR_MARKER_H

#include <stdbool.h>

#include <mrmr/error.h>
#include <mrmr/uuid.h>

#define MRMR_DIR ".mrmr"
#define MRMR_MARKER_NAME "config.json" /* below MRMR_DIR */

/*
 * Is it `.mrmr`, or might it be for some file system? Case is ignored by many,
 * dots and blanks at the end by those of Windows (Linux's vfat and exfat too).
 * No name like this, in the root of a member, is part of the share.
 */
bool mrmr_is_private_name(const char *name);

struct mrmr_marker {
	struct mrmr_uuid pool_id;
	struct mrmr_uuid member_id;
};

/*
 * Read the marker below the directory root_fd (an O_PATH descriptor will do).
 * Follows no symlink and opens nothing but a regular file, of at most 64 KiB.
 * 0; or -1 with *err filled: ENOENT no marker, EINVAL not a marker, or what
 * the system said. name is the member's name in messages.
 */
int mrmr_marker_read(int root_fd, const char *name, struct mrmr_marker *marker,
		     struct mrmr_error *err);

/*
 * Make `.mrmr` (mode 0700) and the marker below root_fd, durably: temporary
 * file, fsync, rename, fsync of both directories. An existing marker that says
 * the same is left alone; one that says something else is EEXIST.
 */
int mrmr_marker_write(int root_fd, const char *name,
		      const struct mrmr_marker *marker, struct mrmr_error *err);

/*
 * Take the marker away again if it says what *marker says, and `.mrmr` with
 * it if that is empty then. No marker is fine; another one is EEXIST.
 */
int mrmr_marker_remove(int root_fd, const char *name,
		       const struct mrmr_marker *marker,
		       struct mrmr_error *err);

bool mrmr_marker_equal(const struct mrmr_marker *a,
		       const struct mrmr_marker *b);

#endif
