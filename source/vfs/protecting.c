/*
 * MRMR: the Samba module: having a protector run.
 *
 * The protector is a process of its own, mrmr-admin sync --background, one for a
 * pool, which ends when it has nothing to do. It looks at files that have been
 * quiet for some seconds. So it is early enough to look once a second whether
 * there is anything in the queue, whoever put it there, or another process has
 * left word that there is work: a member has returned, or the config has changed.
 * An operation has nothing to do with it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "protecting.h"

#include <mrmr/protector.h>
#include <mrmr/queue.h>

/* How long a close waits at most. What is left is protected later. */
#define WAIT_NS (60 * INT64_C(1000000000))

#define SETTLE_SECONDS_MAX 86400

static const struct enum_list modes[] = {
	{MRMR_PROTECT_QUEUE, "queue"},
	{MRMR_PROTECT_WAIT, "wait"},
	{MRMR_PROTECT_NO, "no"},
	{-1, NULL},
};

int mrmr_protecting_configure(struct vfs_handle_struct *handle,
			      struct mrmr_share *share)
{
	int snum = SNUM(handle->conn);
	const char *admin = NULL;
	int settle;
	int mode;

	mode = lp_parm_enum(snum, "mrmr", "protect", modes, MRMR_PROTECT_QUEUE);
	if (mode == -1) {
		DBG_ERR("share %s: mrmr:protect must be queue, wait or no\n",
			lp_const_servicename(snum));
		return -1;
	}
	share->protect = mode;

	settle = lp_parm_int(snum, "mrmr", "settle", 0);
	if (settle < 0 || settle > SETTLE_SECONDS_MAX) {
		DBG_ERR("share %s: mrmr:settle = %d: it must be from 1 to %d "
			"seconds\n",
			lp_const_servicename(snum), settle, SETTLE_SECONDS_MAX);
		return -1;
	}
	share->protector.settle_seconds = (unsigned int)settle;

	admin = lp_parm_const_string(snum, "mrmr", "admin", NULL);
	if (admin != NULL && admin[0] != '/') {
		DBG_ERR("share %s: mrmr:admin = %s: it must be the full path "
			"of mrmr-admin\n",
			lp_const_servicename(snum), admin);
		return -1;
	}
	if (admin != NULL) {
		/* smb.conf may be read again */
		share->protector.path = talloc_strdup(share, admin);
		if (share->protector.path == NULL) {
			return -1;
		}
	}
	return 0;
}

void mrmr_protecting_start(struct mrmr_share *share)
{
	if (share->pool->queue != NULL && share->protect != MRMR_PROTECT_NO) {
		mrmr_protector_start(share->pool, &share->protector);
	}
}

void mrmr_protecting_look(struct mrmr_share *share)
{
	if (share->pool->queue != NULL && share->protect != MRMR_PROTECT_NO &&
	    (!mrmr_queue_is_empty(share->pool->queue) ||
	     mrmr_protector_has_work(share->pool))) {
		mrmr_protector_start(share->pool, &share->protector);
	}
}

void mrmr_protecting_closed(struct mrmr_share *share, size_t member,
			    uint64_t inode, const char *path)
{
	if (share->protect != MRMR_PROTECT_WAIT) {
		return;
	}
	if (mrmr_protector_wait(share->pool, &share->protector,
				&share->pool->members[member].config->id, inode,
				WAIT_NS) == -1) {
		DBG_WARNING("%s is closed, but not protected yet: %s\n", path,
			    strerror(errno));
	}
}
