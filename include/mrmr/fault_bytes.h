/*
 * MRMR: points at which bytes go wrong, rather than whole operations. They are
 * named, told and counted as those of mrmr/fault.h; what they do:
 *     short   a system call reads or writes fewer bytes than it could
 *     flip    a bit of what was read is another one
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_FAULT_BYTES_H
#define MRMR_FAULT_BYTES_H

#include <stddef.h>

#ifdef MRMR_WITH_FAULTS

/* How many of len bytes shall be read or written at once; not 0 if len is not. */
size_t mrmr_fault_length(const char *point, size_t len);

void mrmr_fault_flip(const char *point, void *data, size_t len);

#else

static inline size_t mrmr_fault_length(const char *point, size_t len)
{
	(void)point;
	return len;
}

static inline void mrmr_fault_flip(const char *point, void *data, size_t len)
{
	(void)point;
	(void)data;
	(void)len;
}

#endif

#endif
