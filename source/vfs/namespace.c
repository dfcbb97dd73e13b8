/*
 * MRMR: the Samba module: making, renaming and removing names.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "room.h"
#include "versions.h"
#include "vfs_mrmr.h"
#include "msdfs.h"

int mrmr_mkdirat(struct vfs_handle_struct *handle, struct files_struct *dirfsp,
		 const struct smb_filename *smb_fname, mode_t mode)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_place place;
	unsigned int tries = 0;
	int ret;

	if (pool == NULL) {
		return SMB_VFS_NEXT_MKDIRAT(handle, dirfsp, smb_fname, mode);
	}
	if (mrmr_place_at(pool, dirfsp, smb_fname, &place) == -1) {
		return -1;
	}
	if (mrmr_is_in_the_making(smb_fname)) {
		return mrmr_name_begin(place.dir, place.name, mode);
	}
	do {
		ret = mrmr_name_mkdir(place.dir, place.name, mode);
	} while (ret == -1 && errno == ENOSPC &&
		 mrmr_may_have_room(handle, 0, &tries));
	return ret;
}

int mrmr_unlinkat(struct vfs_handle_struct *handle, struct files_struct *dirfsp,
		  const struct smb_filename *smb_fname, int flags)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_place place;
	unsigned int tries = 0;
	int ret;

	if (pool == NULL || is_named_stream(smb_fname)) {
		return SMB_VFS_NEXT_UNLINKAT(handle, dirfsp, smb_fname, flags);
	}
	if (mrmr_place_at(pool, dirfsp, smb_fname, &place) == -1) {
		return -1;
	}
	if ((flags & AT_REMOVEDIR) != 0) {
		return mrmr_name_rmdir(place.dir, place.name);
	}
	/* its place in the trash wants room */
	do {
		ret = mrmr_name_unlink(place.dir, place.name);
	} while (ret == -1 && errno == ENOSPC &&
		 mrmr_may_have_room(handle, 0, &tries));
	return ret;
}

/*
 * rename(2) lets a directory take the place of an empty one, which clients
 * cannot tell from one step.
 */
static int rename_over_directory(const struct mrmr_place *from,
				 const struct mrmr_place *to)
{
	struct stat st;
	size_t member;
	int saved_errno;
	int ret;

	if (mrmr_name_find(to->dir, to->name, &member, &st) == -1 ||
	    mrmr_name_rmdir(to->dir, to->name) == -1) {
		return -1;
	}
	ret = mrmr_name_rename(from->dir, from->name, to->dir, to->name);
	if (ret == -1) {
		saved_errno = errno;
		mrmr_name_mkdir(to->dir, to->name, st.st_mode & 07777);
		errno = saved_errno;
	}
	return ret;
}

int mrmr_renameat(struct vfs_handle_struct *handle,
		  struct files_struct *from_dirfsp,
		  const struct smb_filename *from,
		  struct files_struct *to_dirfsp, const struct smb_filename *to)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_place from_place;
	struct mrmr_place to_place;
	unsigned int tries = 0;
	int ret;

	if (mrmr_place_at(pool, from_dirfsp, from, &from_place) == -1 ||
	    mrmr_place_at(pool, to_dirfsp, to, &to_place) == -1) {
		return -1;
	}
	do {
		ret = mrmr_name_rename(from_place.dir, from_place.name,
				       to_place.dir, to_place.name);
	} while (ret == -1 && errno == ENOSPC &&
		 mrmr_may_have_room(handle, 0, &tries));
	if (ret == -1 && errno == EEXIST) {
		ret = rename_over_directory(&from_place, &to_place);
	}
	return ret;
}

int mrmr_finish_directory(struct vfs_handle_struct *handle,
			  struct files_struct *dirfsp,
			  const struct smb_filename *unfinished,
			  const struct smb_filename *smb_fname)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_place place;
	unsigned int tries = 0;
	int ret;

	if (mrmr_place_at(pool, dirfsp, smb_fname, &place) == -1) {
		return -1;
	}
	do {
		ret = mrmr_name_finish(place.dir, unfinished->base_name,
				       place.name);
	} while (ret == -1 && errno == ENOSPC &&
		 mrmr_may_have_room(handle, 0, &tries));
	return ret;
}

int mrmr_linkat(struct vfs_handle_struct *handle,
		struct files_struct *from_dirfsp,
		const struct smb_filename *from, struct files_struct *to_dirfsp,
		const struct smb_filename *to, int flags)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_place from_place;
	struct mrmr_place to_place;

	if (pool == NULL) {
		return SMB_VFS_NEXT_LINKAT(handle, from_dirfsp, from, to_dirfsp,
					   to, flags);
	}
	if (mrmr_place_at(pool, from_dirfsp, from, &from_place) == -1 ||
	    mrmr_place_at(pool, to_dirfsp, to, &to_place) == -1) {
		return -1;
	}
	return mrmr_name_link(from_place.dir, from_place.name, to_place.dir,
			      to_place.name);
}

int mrmr_symlinkat(struct vfs_handle_struct *handle,
		   const struct smb_filename *target,
		   struct files_struct *dirfsp,
		   const struct smb_filename *smb_fname)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_place place;

	if (pool == NULL) {
		return SMB_VFS_NEXT_SYMLINKAT(handle, target, dirfsp,
					      smb_fname);
	}
	if (mrmr_place_at(pool, dirfsp, smb_fname, &place) == -1) {
		return -1;
	}
	return mrmr_name_symlink(place.dir, place.name, target->base_name);
}

int mrmr_mknodat(struct vfs_handle_struct *handle, struct files_struct *dirfsp,
		 const struct smb_filename *smb_fname, mode_t mode,
		 SMB_DEV_T dev)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_place place;

	if (pool == NULL) {
		return SMB_VFS_NEXT_MKNODAT(handle, dirfsp, smb_fname, mode,
					    dev);
	}
	if (mrmr_place_at(pool, dirfsp, smb_fname, &place) == -1) {
		return -1;
	}
	return mrmr_name_mknod(place.dir, place.name, mode, dev);
}

/* The descriptor below which a non-directory's name is; -1 with errno. */
static int member_fd_of(struct mrmr_place *place, struct stat *st)
{
	size_t member;

	if (mrmr_name_find(place->dir, place->name, &member, st) == -1) {
		return -1;
	}
	if (member == MRMR_IN_SPINE) {
		return place->dir->spine_fd;
	}
	return mrmr_dir_on_member(place->dir, member);
}

int mrmr_readlinkat(struct vfs_handle_struct *handle,
		    const struct files_struct *dirfsp,
		    const struct smb_filename *smb_fname, char *buf,
		    size_t bufsize)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_place place;
	struct stat st;
	int fd;

	/* An empty name means the descriptor itself, opened with O_PATH. */
	if (pool == NULL || mrmr_name_is_sambas(smb_fname)) {
		return SMB_VFS_NEXT_READLINKAT(handle, dirfsp, smb_fname, buf,
					       bufsize);
	}
	if (mrmr_place_at(pool, dirfsp, smb_fname, &place) == -1) {
		if (errno == EXDEV || errno == EINVAL) {
			return SMB_VFS_NEXT_READLINKAT(handle, dirfsp,
						       smb_fname, buf, bufsize);
		}
		return -1;
	}
	fd = member_fd_of(&place, &st);
	if (fd == -1) {
		return -1;
	}
	return readlinkat(fd, place.name, buf, bufsize);
}

/*
 * Samba makes the symlink with its own text in the spine; from there it goes to
 * a member, as every symlink does.
 */
NTSTATUS mrmr_create_dfs_pathat(struct vfs_handle_struct *handle,
				struct files_struct *dirfsp,
				const struct smb_filename *smb_fname,
				const struct referral *reflist,
				size_t referral_count)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	char target[MRMR_PATH_MAX];
	struct mrmr_place place;
	NTSTATUS status;
	ssize_t len;
	int ret;

	status = SMB_VFS_NEXT_CREATE_DFS_PATHAT(handle, dirfsp, smb_fname,
						reflist, referral_count);
	if (!NT_STATUS_IS_OK(status) || pool == NULL) {
		return status;
	}
	if (mrmr_place_at(pool, dirfsp, smb_fname, &place) == -1) {
		return map_nt_error_from_unix(errno);
	}
	len = readlinkat(place.dir->spine_fd, place.name, target,
			 sizeof(target) - 1);
	if (len == -1) {
		return map_nt_error_from_unix(errno);
	}
	target[len] = '\0';
	ret = unlinkat(place.dir->spine_fd, place.name, 0);
	if (ret == 0) {
		ret = mrmr_name_symlink(place.dir, place.name, target);
	}
	return ret == 0 ? NT_STATUS_OK : map_nt_error_from_unix(errno);
}

NTSTATUS mrmr_read_dfs_pathat(struct vfs_handle_struct *handle,
			      TALLOC_CTX *mem_ctx, struct files_struct *dirfsp,
			      struct smb_filename *smb_fname,
			      struct referral **ppreflist,
			      size_t *preferral_count)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	char target[MRMR_PATH_MAX];
	struct mrmr_place place;
	struct stat st;
	ssize_t len;
	int fd;

	if (pool == NULL || is_named_stream(smb_fname)) {
		return SMB_VFS_NEXT_READ_DFS_PATHAT(handle, mem_ctx, dirfsp,
						    smb_fname, ppreflist,
						    preferral_count);
	}
	if (mrmr_place_at(pool, dirfsp, smb_fname, &place) == -1) {
		return map_nt_error_from_unix(errno);
	}
	fd = member_fd_of(&place, &st);
	if (fd == -1) {
		return map_nt_error_from_unix(errno);
	}
	len = readlinkat(fd, place.name, target, sizeof(target) - 1);
	if (len == -1) {
		return errno == EINVAL ? NT_STATUS_OBJECT_TYPE_MISMATCH
				       : map_nt_error_from_unix(errno);
	}
	target[len] = '\0';
	if (!strnequal(target, "msdfs:", 6)) {
		return NT_STATUS_OBJECT_TYPE_MISMATCH;
	}
	init_stat_ex_from_stat(&smb_fname->st, &st,
			       lp_fake_directory_create_times(
				       SNUM(handle->conn)));
	if (ppreflist == NULL && preferral_count == NULL) {
		return NT_STATUS_OK; /* only asked whether it is one */
	}
	return parse_msdfs_symlink(mem_ctx,
				   lp_msdfs_shuffle_referrals(
					   SNUM(handle->conn)),
				   target, ppreflist, preferral_count)
		       ? NT_STATUS_OK
		       : NT_STATUS_NO_MEMORY;
}
