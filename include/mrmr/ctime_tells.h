/*
 * MRMR: file systems whose ctime tells of every change to an inode.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_CTIME_TELLS_H
#define MRMR_CTIME_TELLS_H

#include <stdbool.h>

/*
 * True if fd is on a file system of this kernel that is known to give an inode
 * another ctime when its extended attributes, owner, mode or content change, and
 * when a name of it is made, removed or renamed. False also if it cannot be
 * asked. Changes within one tick of the kernel's clock may have the same ctime.
 */
bool mrmr_ctime_tells(int fd);

#endif
