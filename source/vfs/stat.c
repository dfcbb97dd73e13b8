/*
 * MRMR: the Samba module: looking at names and directories.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "ghosts.h"
#include "listed.h"

static void to_samba(struct vfs_handle_struct *handle, const struct stat *st,
		     SMB_STRUCT_STAT *sbuf)
{
	init_stat_ex_from_stat(sbuf, st,
			       lp_fake_directory_create_times(
				       SNUM(handle->conn)));
}

/* A directory's times are the newest that it has anywhere. */
static void newest_times(struct mrmr_dir *dir, SMB_STRUCT_STAT *sbuf)
{
	struct stat st = {
		.st_mtim = sbuf->st_ex_mtime,
		.st_ctim = sbuf->st_ex_ctime,
	};

	mrmr_dir_newest_times(dir, &st);
	sbuf->st_ex_mtime = st.st_mtim;
	sbuf->st_ex_ctime = st.st_ctim;
}

static int found(struct vfs_handle_struct *handle, struct mrmr_dir *parent,
		 const char *name, const struct stat *st, SMB_STRUCT_STAT *sbuf)
{
	struct mrmr_dir *dir = NULL;
	int fd;

	to_samba(handle, st, sbuf);
	if (!S_ISDIR(st->st_mode)) {
		return 0;
	}
	dir = mrmr_dir_known(parent->pool, st->st_dev, st->st_ino);
	if (dir == NULL) {
		fd = openat(parent->spine_fd, name,
			    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd != -1) {
			dir = mrmr_dir_get(parent->pool, fd);
			close(fd);
		}
	}
	if (dir != NULL) {
		newest_times(dir, sbuf);
	}
	return 0;
}

/*
 * smbd looks at its working directory by its absolute path with every change of
 * it, for nothing but device and inode: one step instead of one for each
 * component, and nobody's times.
 */
static bool found_working_directory(struct vfs_handle_struct *handle,
				    const struct mrmr_pool *pool,
				    const char *path, SMB_STRUCT_STAT *sbuf)
{
	struct stat st;

	if (path[0] != '/' ||
	    fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == -1 ||
	    !S_ISDIR(st.st_mode) || st.st_dev != pool->spine_dev) {
		return false;
	}
	to_samba(handle, &st, sbuf);
	return true;
}

static int stat_place(struct vfs_handle_struct *handle,
		      struct mrmr_place *place, SMB_STRUCT_STAT *sbuf)
{
	struct stat st;
	size_t member;

	int ret;

	if (mrmr_name_find(place->dir, place->name, &member, &st) == -1) {
		return -1;
	}
	ret = found(handle, place->dir, place->name, &st, sbuf);
	if (member != MRMR_IN_SPINE &&
	    mrmr_is_absent(place->dir->pool, member)) {
		mrmr_ghost_stat_at(place->dir->pool,
				   mrmr_dir_on_member(place->dir, member),
				   place->name, sbuf);
	}
	return ret;
}

/* Through symlinks, as far as they stay within the pool. */
static int stat_followed(struct vfs_handle_struct *handle,
			 struct mrmr_pool *pool, int at_fd, const char *path,
			 SMB_STRUCT_STAT *sbuf)
{
	char resolved[MRMR_PATH_MAX];
	struct mrmr_place place;
	struct stat st;

	if (mrmr_path_resolve(pool, at_fd, path, resolved) == -1) {
		return -1;
	}
	if (strcmp(resolved, pool->spine_path) == 0) {
		if (fstat(pool->spine_fd, &st) == -1) {
			return -1;
		}
		to_samba(handle, &st, sbuf);
		return 0;
	}
	if (mrmr_place_find(pool, AT_FDCWD, resolved, &place) == -1) {
		if (errno == EXDEV) {
			errno = ENOENT;
		}
		return -1;
	}
	return stat_place(handle, &place, sbuf);
}

int mrmr_lstat(struct vfs_handle_struct *handle, struct smb_filename *smb_fname)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_place place;

	if (pool == NULL || mrmr_name_is_sambas(smb_fname)) {
		return SMB_VFS_NEXT_LSTAT(handle, smb_fname);
	}
	if (mrmr_place_at(pool, NULL, smb_fname, &place) == -1) {
		if (errno == EXDEV || errno == EINVAL) {
			return SMB_VFS_NEXT_LSTAT(handle, smb_fname);
		}
		return -1;
	}
	return stat_place(handle, &place, &smb_fname->st);
}

int mrmr_stat(struct vfs_handle_struct *handle, struct smb_filename *smb_fname)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_place place;
	int ret;

	if (pool == NULL || mrmr_name_is_sambas(smb_fname)) {
		return SMB_VFS_NEXT_STAT(handle, smb_fname);
	}
	if (found_working_directory(handle, pool, smb_fname->base_name,
				    &smb_fname->st)) {
		return 0;
	}
	if (mrmr_place_at(pool, NULL, smb_fname, &place) == -1) {
		if (errno == EXDEV || errno == EINVAL) {
			return SMB_VFS_NEXT_STAT(handle, smb_fname);
		}
		if (errno != ENOTDIR && errno != ELOOP) {
			return -1;
		}
		/* A parent may be a symlink. */
		return stat_followed(handle, pool, AT_FDCWD,
				     smb_fname->base_name, &smb_fname->st);
	}
	ret = stat_place(handle, &place, &smb_fname->st);
	if (ret == -1 || !S_ISLNK(smb_fname->st.st_ex_mode)) {
		return ret;
	}
	SET_STAT_INVALID(smb_fname->st);
	return stat_followed(handle, pool, AT_FDCWD, smb_fname->base_name,
			     &smb_fname->st);
}

int mrmr_fstatat(struct vfs_handle_struct *handle,
		 const struct files_struct *dirfsp,
		 const struct smb_filename *smb_fname, SMB_STRUCT_STAT *sbuf,
		 int flags)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_place place;
	int ret;

	if (pool == NULL || mrmr_name_is_sambas(smb_fname)) {
		return SMB_VFS_NEXT_FSTATAT(handle, dirfsp, smb_fname, sbuf,
					    flags);
	}
	if (mrmr_place_at(pool, dirfsp, smb_fname, &place) == -1) {
		if (errno == EXDEV || errno == EINVAL) {
			return SMB_VFS_NEXT_FSTATAT(handle, dirfsp, smb_fname,
						    sbuf, flags);
		}
		return -1;
	}
	ret = stat_place(handle, &place, sbuf);
	if (ret == -1 || !S_ISLNK(sbuf->st_ex_mode) ||
	    (flags & AT_SYMLINK_NOFOLLOW) != 0) {
		return ret;
	}
	return stat_followed(handle, pool, fsp_get_pathref_fd(dirfsp),
			     smb_fname->base_name, sbuf);
}

/* What was asked of the descriptor when it was opened, just before. */
static bool looked_at(struct vfs_handle_struct *handle,
		      const struct files_struct *fsp, SMB_STRUCT_STAT *sbuf)
{
	struct mrmr_share *share = mrmr_share_of(handle);

	if (share == NULL || share->looked.fsp != fsp) {
		return false;
	}
	share->looked.fsp = NULL;
	if (share->looked.fd != fsp_get_pathref_fd(fsp)) {
		return false;
	}
	to_samba(handle, &share->looked.st, sbuf);
	return true;
}

int mrmr_fstat(struct vfs_handle_struct *handle, struct files_struct *fsp,
	       SMB_STRUCT_STAT *sbuf)
{
	struct mrmr_pool *pool = NULL;
	struct mrmr_dir *dir = NULL;
	int ret;

	if (looked_at(handle, fsp, sbuf)) {
		ret = 0;
	} else if (mrmr_listed_need(handle, fsp) == -1) {
		ret = -1;
	} else {
		ret = SMB_VFS_NEXT_FSTAT(handle, fsp, sbuf);
	}
	if (ret == 0 && S_ISREG(sbuf->st_ex_mode) &&
	    mrmr_share_of(handle) != NULL) {
		mrmr_ghost_stat(mrmr_share_of(handle)->pool,
				fsp_get_pathref_fd(fsp), sbuf);
	}
	if (ret == -1 || !S_ISDIR(sbuf->st_ex_mode)) {
		return ret;
	}
	pool = mrmr_pool_of(handle);
	if (pool == NULL) {
		return 0;
	}
	dir = mrmr_dir_known(pool, sbuf->st_ex_dev, sbuf->st_ex_ino);
	if (dir != NULL) {
		dir->is_flat = sbuf->st_ex_nlink == 2;
	} else {
		dir = mrmr_dir_of_fsp(pool, fsp);
	}
	if (dir != NULL) {
		newest_times(dir, sbuf);
	}
	return 0;
}

int mrmr_chdir(struct vfs_handle_struct *handle,
	       const struct smb_filename *smb_fname)
{
	struct mrmr_pool *pool = NULL;
	struct mrmr_place place;
	struct stat st;
	size_t member;
	int ret;

	ret = SMB_VFS_NEXT_CHDIR(handle, smb_fname);
	if (ret == 0 || errno != ENOENT) {
		return ret;
	}
	/* It may be on members only: looking for it brings it in. */
	pool = mrmr_pool_of(handle);
	if (pool == NULL ||
	    mrmr_place_at(pool, NULL, smb_fname, &place) == -1 ||
	    mrmr_name_find(place.dir, place.name, &member, &st) == -1) {
		errno = ENOENT;
		return -1;
	}
	return SMB_VFS_NEXT_CHDIR(handle, smb_fname);
}

static struct smb_filename *absolute(TALLOC_CTX *ctx, const char *path)
{
	return synthetic_smb_fname(ctx, path, NULL, NULL, 0, 0);
}

struct smb_filename *mrmr_realpath(struct vfs_handle_struct *handle,
				   TALLOC_CTX *ctx,
				   const struct smb_filename *smb_fname)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	char path[MRMR_PATH_MAX];

	if (pool == NULL) {
		return SMB_VFS_NEXT_REALPATH(handle, ctx, smb_fname);
	}
	if (ISDOT(smb_fname->base_name)) {
		/* The working directory never is a symlink: one system call
		   instead of one per component. */
		if (getcwd(path, sizeof(path)) == NULL) {
			return NULL;
		}
		return absolute(ctx, path);
	}
	if (mrmr_path_resolve(pool, AT_FDCWD, smb_fname->base_name, path) ==
	    -1) {
		if (errno == EXDEV) {
			return SMB_VFS_NEXT_REALPATH(handle, ctx, smb_fname);
		}
		return NULL;
	}
	return absolute(ctx, path);
}
