/*
 * MRMR: the Samba module: a file that is being listed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "kept_xattrs.h"
#include "listed.h"

#include <sys/mman.h>

void mrmr_listed_read(struct mrmr_share *share, const struct mrmr_listed *file)
{
	/* While smbd has a stand-in that nothing can be put in the place of,
	   there is none for others. */
	if (share->listed.state != MRMR_LISTED_GONE) {
		share->listed = *file;
		share->listed.state = MRMR_LISTED_READ;
		share->listed.dirs_closed = share->pool->dirs_closed;
	}
}

static bool make_stand_in(struct mrmr_share *share)
{
	int fd;

	if (share->stand_in_fd == 0) {
		fd = memfd_create("listed", MFD_CLOEXEC);
		share->stand_in_fd = fd > 0 ? fd : 0;
	}
	return share->stand_in_fd != 0;
}

int mrmr_listed_open(struct mrmr_share *share,
		     const struct files_struct *dirfsp,
		     const struct smb_filename *smb_fname,
		     const struct files_struct *fsp,
		     const struct vfs_open_how *how)
{
	struct mrmr_listed *listed = &share->listed;

	if (listed->state != MRMR_LISTED_READ || listed->dirfsp != dirfsp ||
	    !fsp->fsp_flags.is_pathref || how->resolve != 0 ||
	    (how->flags & (O_CREAT | O_DIRECTORY)) != 0 ||
	    strcmp(listed->name, smb_fname->base_name) != 0 ||
	    mrmr_name_is_sambas(smb_fname) || !make_stand_in(share)) {
		mrmr_listed_settle(share);
		return -1;
	}
	listed->state = MRMR_LISTED_STANDS_IN;
	listed->fsp = fsp;
	listed->kept = NULL;
	if (share->pool->members[listed->member].ctime_tells) {
		listed->kept = mrmr_kept_xattrs_of(share, &listed->st,
						   get_current_uid(fsp->conn));
	}
	return share->stand_in_fd;
}

static bool has_stand_in(const struct mrmr_share *share,
			 const struct files_struct *fsp)
{
	return (share->listed.state == MRMR_LISTED_STANDS_IN ||
		share->listed.state == MRMR_LISTED_GONE) &&
	       share->listed.fsp == fsp &&
	       fsp_get_pathref_fd(fsp) == share->stand_in_fd;
}

struct mrmr_listed *mrmr_listed_of(struct vfs_handle_struct *handle,
				   const struct files_struct *fsp)
{
	struct mrmr_share *share = mrmr_share_of(handle);

	return share != NULL && has_stand_in(share, fsp) &&
			       share->listed.state == MRMR_LISTED_STANDS_IN &&
			       share->listed.dirs_closed ==
				       share->pool->dirs_closed
		       ? &share->listed
		       : NULL;
}

static int open_by_name(struct mrmr_share *share)
{
	struct mrmr_listed *listed = &share->listed;
	int dir_fd = listed->dir_fd;
	struct mrmr_dir *dir = NULL;

	if (listed->dirs_closed != share->pool->dirs_closed) {
		dir = mrmr_dir_get(share->pool, listed->spine_fd);
		dir_fd = dir == NULL ? -1
				     : mrmr_dir_on_member(dir, listed->member);
	}
	return dir_fd == -1 ? -1
			    : openat(dir_fd, listed->name,
				     O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

/* Puts the file in the stand-in's place. */
static int open_it(struct mrmr_share *share)
{
	struct mrmr_listed *listed = &share->listed;
	int fd = open_by_name(share);
	struct stat st;
	int saved_errno;
	int ret = -1;

	*listed->is_needed = true;
	if (fd == -1) {
		return -1;
	}
	if (fstat(fd, &st) == 0) {
		errno = ENOENT;
		if (st.st_dev == listed->st.st_dev &&
		    st.st_ino == listed->st.st_ino) {
			ret = dup3(fd, share->stand_in_fd, O_CLOEXEC);
		}
	}
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	if (ret == -1) {
		return -1;
	}
	/* It is smbd's from now on. */
	share->stand_in_fd = 0;
	listed->state = MRMR_LISTED_NOTHING;
	return 0;
}

int mrmr_listed_need(struct vfs_handle_struct *handle,
		     const struct files_struct *fsp)
{
	struct mrmr_share *share = mrmr_share_of(handle);

	if (share == NULL || !has_stand_in(share, fsp)) {
		return 0;
	}
	if (share->listed.state == MRMR_LISTED_GONE) {
		errno = ENOENT;
		return -1;
	}
	return open_it(share);
}

void mrmr_listed_settle(struct mrmr_share *share)
{
	int saved_errno = errno;

	switch (share->listed.state) {
	case MRMR_LISTED_NOTHING:
	case MRMR_LISTED_GONE:
		break;
	case MRMR_LISTED_READ:
		share->listed.state = MRMR_LISTED_NOTHING;
		break;
	case MRMR_LISTED_STANDS_IN:
		if (open_it(share) == -1) {
			share->listed.state = MRMR_LISTED_GONE;
		}
		break;
	}
	errno = saved_errno;
}

bool mrmr_listed_close(struct mrmr_share *share, const struct files_struct *fsp)
{
	bool ends = has_stand_in(share, fsp);

	if (ends || share->listed.state == MRMR_LISTED_READ) {
		share->listed.state = MRMR_LISTED_NOTHING;
	}
	return ends;
}

void mrmr_listed_end(struct mrmr_share *share)
{
	mrmr_listed_settle(share);
	/* Else smbd has it, and closes it. */
	if (share->listed.state != MRMR_LISTED_GONE &&
	    share->stand_in_fd != 0) {
		close(share->stand_in_fd);
		share->stand_in_fd = 0;
	}
}
