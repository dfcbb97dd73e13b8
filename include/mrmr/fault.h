/*
 * MRMR: named points at which a test can make things go wrong.
 *
 * Only a build configured --with-faults has them. There, the environment
 * variable MRMR_FAULT names what shall happen, as POINT[#N]=ACTION[,...], with
 * #N only when the point is reached for the Nth time:
 *     kill    the process kills itself with SIGKILL at that point
 *     delay   it stands still for a while, and goes on
 *     EIO, ENOSPC, EROFS, EACCES, EPERM
 *             the operation behind the point fails with that error
 *
 * MRMR_FAULT_FILE names a file that says the same to processes that run
 * already, and in which all of them count together: smbd, its children, the
 * protector, mrmr-admin. It begins with MRMR_FAULT_LIST bytes, of which those
 * up to a NUL are such a list; behind it there is an array of struct
 * mrmr_fault_count, one for each point that is to be counted. Who tests makes
 * it; #N is the Nth time that any process reaches the point.
 *
 * MRMR_FAULT_STORE_BYTES: with how much the files of the catalogue are full; so
 * that there are several in a small pool. MRMR_FAULT_PART_BYTES: how much is
 * not written yet when a part of the catalogue that is made anew is written in
 * between.
 *
 * A release build compiles them to nothing.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_FAULT_H
#define MRMR_FAULT_H

#ifdef MRMR_WITH_FAULTS

#include <stdint.h>

#define MRMR_FAULT_LIST 4096
#define MRMR_FAULT_ONCE '!'

struct mrmr_fault_count {
	char point[48];
	uint64_t reached;
	uint64_t fired;
};

/* 0, or an errno value that the caller is to fail with; may not return. */
int mrmr_fault(const char *point);

/* How often this process has reached a point since MRMR_FAULT was set to what
   it is now. */
unsigned long mrmr_fault_times(const char *point);

#else

static inline int mrmr_fault(const char *point)
{
	(void)point;
	return 0;
}

#endif

#endif
