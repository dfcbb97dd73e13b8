/*
 * MRMR: file systems whose ctime tells of every change to an inode.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include <mrmr/ctime_tells.h>

/* As statfs(2) has them. Not there: what a server or a program may change without
   this kernel (FUSE, NFS, SMB, 9P), and what has not been tried. */
#define TYPE_EXT 0xef53
#define TYPE_XFS 0x58465342
#define TYPE_BTRFS 0x9123683e
#define TYPE_TMPFS 0x01021994

static bool kernel_is_from(unsigned int major, unsigned int minor)
{
	struct utsname names;
	unsigned int a = 0;
	unsigned int b = 0;

	return uname(&names) == 0 &&
	       sscanf(names.release, "%u.%u", &a, &b) == 2 &&
	       (a > major || (a == major && b >= minor));
}

bool mrmr_ctime_tells(int fd)
{
	struct statfs fs;
	int saved_errno = errno;
	bool tells = false;

	if (fstatfs(fd, &fs) == 0) {
		switch ((unsigned long)fs.f_type & 0xffffffff) {
		case TYPE_EXT:
		case TYPE_XFS:
		case TYPE_BTRFS:
			tells = true;
			break;
		case TYPE_TMPFS: /* before, not of extended attributes */
			tells = kernel_is_from(6, 6);
			break;
		}
	}
	errno = saved_errno;
	return tells;
}
