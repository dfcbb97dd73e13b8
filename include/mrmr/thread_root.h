/*
 * MRMR: being root in one thread for a moment.
 *
 * Linux keeps credentials by thread. smbd changes only the effective ones, of
 * its main thread, and threads of its pool have those of the moment at which
 * they were made; the saved ones are root's in all of them. So a thread can
 * become root by itself, with the bare system call: the C library's function
 * would change all threads.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_THREAD_ROOT_H
#define MRMR_THREAD_ROOT_H

#include <stdbool.h>
#include <sys/types.h>

struct mrmr_thread_root {
	uid_t uid; /* the effective one to go back to */
	bool changed;
};

/* 0, or -1 with errno (EPERM: root is not among this thread's ids). */
int mrmr_thread_root_enter(struct mrmr_thread_root *root);

/* Back to what it was; keeps errno. Cannot fail: a thread that stayed root by
   mistake would be worse than none, so then the process ends. */
void mrmr_thread_root_leave(const struct mrmr_thread_root *root);

#endif
