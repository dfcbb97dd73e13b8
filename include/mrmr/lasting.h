/*
 * MRMR: file systems without lasting inode numbers.
 *
 * What is protected is known by its inode (mrmr/guard.h): what has a number today
 * must have it tomorrow, after the file was out of the kernel's memory and after
 * another mount. On most file systems of Linux the number is where the inode
 * lies. Where it is not, nothing may be protected; parity blocks, which are known
 * by their names, may lie there.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_LASTING_H
#define MRMR_LASTING_H

/*
 * The name of the file system that fd is on, if its inode numbers do not last;
 * else NULL, also if it cannot be asked.
 */
const char *mrmr_inodes_do_not_last(int fd);

/* The same by statfs()'s f_type. */
const char *mrmr_type_without_lasting_inodes(unsigned long type);

#endif
