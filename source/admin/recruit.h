/*
 * mrmr-admin: a directory that is to become a member.
 *
 * Looking at one changes nothing and finds every reason not to take it; only
 * then is it marked. What was marked can be undone.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ADMIN_RECRUIT_H
#define MRMR_ADMIN_RECRUIT_H

#include <sys/types.h>

#include <mrmr/marker.h>

#include "admin.h"

struct recruit {
	char *path;      /* clean, as it goes into the config */
	char *real_path; /* without symlinks */
	int root_fd;
	dev_t dev;
	struct mrmr_marker marker;
	bool has_marker; /* this very one is there already */
	bool is_marked;  /* by us */
};

/*
 * Look at the directory that a word of the command line means. The recruit is
 * a talloc child of admin; freeing it closes its root. NULL after the failure
 * was said; then exit *status.
 */
struct recruit *admin_recruit_look(struct admin *admin, const char *word,
				   const struct mrmr_uuid *pool_id,
				   int *status);

/*
 * May the two be members of one pool? They may not be the same directory, nor
 * one inside the other. ADMIN_GO_ON, or the status after the failure was said.
 */
int admin_recruit_compare(struct admin *admin, const struct recruit *recruit,
			  const char *other_path);

/*
 * May it become a member of the pool with this config? Notes if it shares a file
 * system with another one. ADMIN_GO_ON, or the status after the failure was
 * said.
 */
int admin_recruit_check(struct admin *admin, const struct recruit *recruit,
			const struct mrmr_config *config);

/* Make it the last member of a config. */
void admin_recruit_append(const struct recruit *recruit,
			  struct mrmr_config *config);

/* Write the marker. ADMIN_GO_ON, or the status after the failure was said. */
int admin_recruit_mark(struct admin *admin, struct recruit *recruit);

/* Take the marker away again if it was we who wrote it. */
void admin_recruit_undo(struct admin *admin, struct recruit *recruit);

/* Without symlinks, also of a path whose end is not there yet. A talloc child
   of mem_ctx. */
char *admin_real_path(void *mem_ctx, const char *path);

#endif
