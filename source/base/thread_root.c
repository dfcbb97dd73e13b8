/*
 * MRMR: being root in one thread for a moment (see mrmr/thread_root.h).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mrmr/thread_root.h>

/* Where there are two, the old one knows 16 bits only. */
#ifdef SYS_setresuid32
#define SET_IDS SYS_setresuid32
#else
#define SET_IDS SYS_setresuid
#endif

static int set_effective(uid_t uid)
{
	return (int)syscall(SET_IDS, (uid_t)-1, uid, (uid_t)-1);
}

int mrmr_thread_root_enter(struct mrmr_thread_root *root)
{
	*root = (struct mrmr_thread_root){.uid = geteuid()};
	if (root->uid == 0) {
		return 0;
	}
	if (set_effective(0) == -1) {
		return -1;
	}
	root->changed = true;
	return 0;
}

void mrmr_thread_root_leave(const struct mrmr_thread_root *root)
{
	int saved_errno = errno;

	if (root->changed && set_effective(root->uid) == -1) {
		abort();
	}
	errno = saved_errno;
}
