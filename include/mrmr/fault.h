/*
 * MRMR: named points at which a test can make things go wrong.
 *
 * Only a build configured --with-faults has them. There, the environment
 * variable MRMR_FAULT names what shall happen, as POINT[#N]=ACTION[,...], with
 * #N only when the point is reached for the Nth time:
 *     kill    the process kills itself with SIGKILL at that point
 *     EIO, ENOSPC, EROFS, EACCES, EPERM
 *             the operation behind the point fails with that error
 * A release build compiles them to nothing.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_FAULT_H
#define MRMR_FAULT_H

#ifdef MRMR_WITH_FAULTS

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
