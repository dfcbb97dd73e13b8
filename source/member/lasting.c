/*
 * MRMR: file systems without lasting inode numbers.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <stddef.h>
#include <sys/vfs.h>

#include <mrmr/lasting.h>

/*
 * Those that have no inodes on disk, or whose numbers are given by somebody who
 * does not say for how long:
 *
 *	FAT		a number is given when a file is looked up, and another one
 *			when it was forgotten in between
 *	exFAT		likewise
 *	FUSE		as the program says, which need not keep its word: sshfs,
 *			mergerfs and ntfs-3g differ
 *	SMB, 9P		as the server says, or by a hash; a server may give the
 *			number of a deleted file to another one at any time
 *
 * NTFS (ntfs3) has the number of the record in the master file table, HFS+ its
 * catalogue id, NFS the file id of the server's file system: these last.
 */
static const struct {
	unsigned long type;
	const char *name;
} types[] = {
	{0x4d44, "FAT"},     {0x2011bab0, "exFAT"}, {0x65735546, "FUSE"},
	{0xff534d42, "SMB"}, {0xfe534d42, "SMB"},   {0x517b, "SMB"},
	{0x01021997, "9P"},
};

const char *mrmr_type_without_lasting_inodes(unsigned long type)
{
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (types[i].type == type) {
			return types[i].name;
		}
	}
	return NULL;
}

const char *mrmr_inodes_do_not_last(int fd)
{
	struct statfs fs;
	int saved_errno = errno;
	const char *name = NULL;

	if (fstatfs(fd, &fs) == 0) {
		/* the kernel's numbers have 32 bits, the field is signed */
		name = mrmr_type_without_lasting_inodes(
			(unsigned long)fs.f_type & 0xffffffff);
	}
	errno = saved_errno;
	return name;
}
