/*
 * MRMR: the Samba module: ghosts: files of members that are away.
 *
 * How is a ghost told from other files? It lies on the spine's file system, on
 * which there are no other files, unless members are there too, as in a try-out.
 * That is asked of the descriptor, each time: what smbd keeps for an open file
 * outlives the descriptor, and descriptors of ghosts outlive the absence of the
 * member. Where no member was ever seen to be away, no ghost was opened.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "ghosts.h"
#include "rebuilding.h"

#include <mrmr/shared.h>

bool mrmr_fd_is_ghost(const struct mrmr_pool *pool, int fd,
		      struct mrmr_ghost *ghost)
{
	struct stat st;

	return pool->was_any_away && fd >= 0 && fstat(fd, &st) == 0 &&
	       S_ISREG(st.st_mode) && st.st_dev == pool->spine_dev &&
	       mrmr_ghost_read(fd, ghost) == 0;
}

bool mrmr_fsp_is_ghost(struct vfs_handle_struct *handle,
		       const struct files_struct *fsp, struct mrmr_ghost *ghost)
{
	struct mrmr_share *share = mrmr_share_of(handle);

	return share != NULL &&
	       mrmr_fd_is_ghost(share->pool, fsp_get_pathref_fd(fsp), ghost);
}

static void as_the_file(const struct mrmr_pool *pool,
			const struct mrmr_ghost *ghost, SMB_STRUCT_STAT *sbuf)
{
	if (ghost->inode != 0) {
		sbuf->st_ex_dev = mrmr_pool_device_of(pool, &ghost->member);
		sbuf->st_ex_ino = ghost->inode;
	}
	sbuf->st_ex_nlink = 1;
	/* It is not known, and that of the ghost says nothing. */
	sbuf->st_ex_ctime = sbuf->st_ex_mtime;
	sbuf->st_ex_blocks = (sbuf->st_ex_size + 511) / 512;
}

static bool may_be_ghost(const struct mrmr_pool *pool,
			 const SMB_STRUCT_STAT *sbuf)
{
	return pool->was_any_away && S_ISREG(sbuf->st_ex_mode) &&
	       sbuf->st_ex_dev == pool->spine_dev;
}

void mrmr_ghost_stat(const struct mrmr_pool *pool, int fd,
		     SMB_STRUCT_STAT *sbuf)
{
	struct mrmr_ghost ghost;
	int saved_errno = errno;

	if (may_be_ghost(pool, sbuf) && mrmr_ghost_read(fd, &ghost) == 0) {
		as_the_file(pool, &ghost, sbuf);
	}
	errno = saved_errno;
}

void mrmr_ghost_stat_at(const struct mrmr_pool *pool, int dir_fd,
			const char *name, SMB_STRUCT_STAT *sbuf)
{
	int saved_errno = errno;
	int fd;

	if (!may_be_ghost(pool, sbuf)) {
		return;
	}
	fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd != -1) {
		mrmr_ghost_stat(pool, fd, sbuf);
		close(fd);
	}
	errno = saved_errno;
}

static int refuse(const struct mrmr_share *share,
		  const struct mrmr_ghost *ghost)
{
	errno = mrmr_rebuild_is_under_way(share, ghost) ? EWOULDBLOCK : EROFS;
	return -1;
}

int mrmr_ghost_may_write_at(const struct mrmr_share *share,
			    struct mrmr_place *place)
{
	struct mrmr_ghost ghost = {0};
	struct stat st;
	size_t member;
	int fd;

	if (!mrmr_any_is_absent(share->pool) ||
	    mrmr_name_find(place->dir, place->name, &member, &st) == -1 ||
	    member == MRMR_IN_SPINE || !mrmr_is_absent(share->pool, member)) {
		return 0;
	}
	errno = EROFS;
	fd = mrmr_name_open(place->dir, place->name,
			    O_PATH | O_NOFOLLOW | O_CLOEXEC, &member, &st);
	if (fd == -1) {
		return -1;
	}
	if (!mrmr_fd_is_ghost(share->pool, fd, &ghost)) {
		close(fd);
		errno = EROFS;
		return -1;
	}
	close(fd);
	return refuse(share, &ghost);
}

int mrmr_ghost_may_write(const struct mrmr_share *share, const char *proc_path)
{
	struct mrmr_ghost ghost;
	int fd = -1;

	if (sscanf(proc_path, "/proc/self/fd/%d", &fd) == 1 &&
	    mrmr_fd_is_ghost(share->pool, fd, &ghost)) {
		return refuse(share, &ghost);
	}
	return 0;
}

void mrmr_ghost_note_opened(struct vfs_handle_struct *handle,
			    const struct files_struct *fsp, int fd)
{
	const struct mrmr_share *share = mrmr_share_of(handle);
	struct mrmr_ghost ghost;
	int saved_errno = errno;

	if (share != NULL && !fsp->fsp_flags.is_pathref &&
	    mrmr_any_is_absent(share->pool) &&
	    mrmr_fd_is_ghost(share->pool, fd, &ghost)) {
		mrmr_shared_want(share->pool->shared, ghost.node);
	}
	errno = saved_errno;
}

int mrmr_ghost_note_change(struct vfs_handle_struct *handle,
			   const struct files_struct *fsp)
{
	struct mrmr_ghost ghost;

	if (!mrmr_fsp_is_ghost(handle, fsp, &ghost)) {
		return 0;
	}
	return mrmr_ghost_mark_changed(mrmr_share_of(handle)->pool, &ghost,
				       fsp_get_pathref_fd(fsp));
}

/* A ghost is one hole, and the file is taken to have none. */
off_t mrmr_lseek(struct vfs_handle_struct *handle, struct files_struct *fsp,
		 off_t offset, int whence)
{
	struct mrmr_ghost ghost;
	struct stat st;

	if ((whence != SEEK_DATA && whence != SEEK_HOLE) ||
	    !mrmr_fsp_is_ghost(handle, fsp, &ghost)) {
		return SMB_VFS_NEXT_LSEEK(handle, fsp, offset, whence);
	}
	if (fstat(fsp_get_pathref_fd(fsp), &st) == -1) {
		return -1;
	}
	if (offset < 0 || offset >= st.st_size) {
		errno = ENXIO;
		return -1;
	}
	return whence == SEEK_DATA ? offset : st.st_size;
}
