/*
 * mrmr-admin: which processes keep a directory's file system busy.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_ADMIN_HOLDERS_H
#define MRMR_ADMIN_HOLDERS_H

#include <stddef.h>
#include <sys/types.h>

struct admin_holder {
	pid_t pid;
	const char *program; /* "smbd" */
	const char *how;     /* "fd 12", "cwd", "root", "exe", "map" */
	const char *path;    /* what it holds */
};

/*
 * Everything that processes (but this one) hold of dir, which is as the kernel
 * spells it, and below. A talloc child of mem_ctx; *num of them. What can't be
 * looked into (a process that has just ended) is left out.
 */
struct admin_holder *admin_holders(void *mem_ctx, const char *dir, size_t *num);

#endif
