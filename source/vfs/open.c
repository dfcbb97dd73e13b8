/*
 * MRMR: the Samba module: opening and creating.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "ghosts.h"
#include "guarding.h"
#include "listed.h"
#include "moving.h"
#include "rebuilding.h"
#include "room.h"
#include "telling.h"
#include "vfs_mrmr.h"

#include <mrmr/fd_path.h>

#include <poll.h>

/* The flags that vfs_default would come to. */
static int open_flags(const struct files_struct *fsp,
		      const struct vfs_open_how *how)
{
	int flags = how->flags | O_NOFOLLOW;

	if (fsp->fsp_flags.is_pathref) {
		flags |= O_PATH;
	}
	if ((flags & O_PATH) != 0) {
		flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW;
	}
	return flags | O_CLOEXEC;
}

/*
 * O_CREAT without O_EXCL: what is there, or a new file. Between the two, others
 * may make or remove the name, so ask more than once.
 */
static int open_or_create(struct mrmr_place *place, int flags, mode_t mode,
			  uint64_t need_bytes, bool *is_new)
{
	unsigned int tries;
	struct stat st;
	size_t member;
	int fd = -1;

	*is_new = true;
	if ((flags & O_EXCL) != 0) {
		return mrmr_name_create(place->dir, place->name, flags, mode,
					need_bytes, &member);
	}
	for (tries = 0; tries < 10; tries++) {
		fd = mrmr_name_open(place->dir, place->name, flags & ~O_CREAT,
				    &member, &st);
		if (fd != -1 || errno != ENOENT) {
			*is_new = false;
			return fd;
		}
		fd = mrmr_name_create(place->dir, place->name, flags, mode,
				      need_bytes, &member);
		if (fd != -1 || errno != EEXIST) {
			return fd;
		}
	}
	return fd;
}

static void remember_look(struct mrmr_share *share,
			  const struct files_struct *fsp, int fd,
			  const struct stat *st)
{
	share->looked = (struct mrmr_looked){
		.fsp = fsp,
		.fd = fd,
		.st = *st,
	};
}

static bool is_for_writing(int flags)
{
	return (flags & O_PATH) == 0 &&
	       ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0);
}

static int find_and_open(struct vfs_handle_struct *handle,
			 const struct files_struct *dirfsp,
			 const struct smb_filename *smb_fname,
			 struct files_struct *fsp,
			 const struct vfs_open_how *how, bool *is_new)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_share *share = mrmr_share_of(handle);
	struct mrmr_place place;
	struct stat st;
	size_t member;
	int flags;
	int fd;

	if (pool != NULL) {
		fd = mrmr_listed_open(share, dirfsp, smb_fname, fsp, how);
		if (fd != -1) {
			remember_look(share, fsp, fd, &share->listed.st);
			fsp->fsp_flags.have_proc_fds = fsp->conn->have_proc_fds;
			return fd;
		}
	}
	if (pool == NULL || mrmr_name_is_sambas(smb_fname)) {
		if (pool != NULL && is_for_writing(how->flags) &&
		    mrmr_ghost_may_write(mrmr_share_of(handle),
					 smb_fname->base_name) == -1) {
			return -1;
		}
		return SMB_VFS_NEXT_OPENAT(handle, dirfsp, smb_fname, fsp, how);
	}
	if (how->resolve != 0) {
		/*
		 * A whole path in one go, which is possible as far as the
		 * spine has it. With ENOENT, smbd goes component by component,
		 * and so do we.
		 */
		return SMB_VFS_NEXT_OPENAT(handle, dirfsp, smb_fname, fsp, how);
	}
	if (mrmr_place_at(pool, dirfsp, smb_fname, &place) == -1) {
		if (errno == EXDEV || errno == EINVAL) {
			/* The share's root by its absolute name, a snapshot. */
			return SMB_VFS_NEXT_OPENAT(handle, dirfsp, smb_fname,
						   fsp, how);
		}
		return -1;
	}

	flags = open_flags(fsp, how);
	if (is_for_writing(flags) &&
	    mrmr_ghost_may_write_at(mrmr_share_of(handle), &place) == -1) {
		return -1;
	}
	if ((flags & O_CREAT) != 0) {
		uint64_t need = mrmr_share_of(handle)->announced_bytes;
		unsigned int tries = 0;

		do {
			fd = open_or_create(&place, flags, how->mode, need,
					    is_new);
		} while (fd == -1 && errno == ENOSPC &&
			 mrmr_may_have_room(handle, need, &tries));
	} else {
		fd = mrmr_name_open(place.dir, place.name, flags, &member, &st);
		if (fd != -1 && member != MRMR_IN_SPINE &&
		    fsp->fsp_flags.is_pathref) {
			remember_look(mrmr_share_of(handle), fsp, fd, &st);
		}
	}
	if (fd != -1) {
		fsp->fsp_flags.have_proc_fds = fsp->conn->have_proc_fds;
	}
	return fd;
}

/*
 * The protector holds a lease on a file for the moment in which it finds out
 * that nobody writes to it (mrmr/guard.h). smbd, which does not wait in an
 * open, would try again a second later.
 */
#define LEASE_TRIES 20

static int open_for_writing(struct vfs_handle_struct *handle,
			    const struct files_struct *dirfsp,
			    const struct smb_filename *smb_fname,
			    struct files_struct *fsp,
			    const struct vfs_open_how *how, bool *is_new)
{
	unsigned int tries;
	int fd = -1;

	for (tries = 0; tries < LEASE_TRIES; tries++) {
		fd = find_and_open(handle, dirfsp, smb_fname, fsp, how, is_new);
		if (fd != -1 || errno != EWOULDBLOCK ||
		    mrmr_share_of(handle)->rebuildings != NULL) {
			break;
		}
		poll(NULL, 0, 1);
		errno = EWOULDBLOCK;
	}
	return fd;
}

/* What O_TRUNC would have done. smbd itself cuts files with ftruncate. */
static int cut(struct vfs_handle_struct *handle, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == -1) {
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		return 0;
	}
	mrmr_tell_changing(handle, fd);
	if (mrmr_keep_cut_now(handle, fd, 0) == -1) {
		return -1;
	}
	return ftruncate(fd, 0);
}

int mrmr_openat(struct vfs_handle_struct *handle,
		const struct files_struct *dirfsp,
		const struct smb_filename *smb_fname, struct files_struct *fsp,
		const struct vfs_open_how *how)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct vfs_open_how changed = *how;
	const bool cuts = (how->flags & O_TRUNC) != 0;
	bool is_new = false;
	int flags = open_flags(fsp, how);
	int fd;

	if (pool != NULL) {
		mrmr_share_of(handle)->looked.fsp = NULL;
	}
	/* Nothing of what follows is there to be written to, or guarded. */
	if (pool == NULL || pool->queue == NULL || (flags & O_PATH) != 0 ||
	    ((flags & O_ACCMODE) == O_RDONLY && !cuts)) {
		fd = find_and_open(handle, dirfsp, smb_fname, fsp, how,
				   &is_new);
		mrmr_writer_closed(fd); /* whatever had the number before */
		mrmr_ghost_note_opened(handle, fsp, fd);
		return fd;
	}
	if (cuts) {
		changed.flags &= ~O_TRUNC;
		if ((flags & O_ACCMODE) == O_RDONLY) {
			changed.flags = (changed.flags & ~O_ACCMODE) | O_RDWR;
		}
	}
	fd = open_for_writing(handle, dirfsp, smb_fname, fsp, &changed,
			      &is_new);
	if (fd == -1) {
		return -1;
	}
	if (mrmr_writer_opened(pool, fd, is_new) == -1 ||
	    (cuts && !is_new && cut(handle, fd) == -1)) {
		int error = errno;

		if (error == EXDEV) {
			/* It was on a drive that is no more, which nobody has
			   noticed so far: smbd tries again, and will find the
			   file's ghost. */
			pool->checked_ns = 0;
			error = EWOULDBLOCK;
		}
		mrmr_writer_closed(fd);
		close(fd);
		errno = error;
		return -1;
	}
	if (is_new) {
		mrmr_tell_changing(handle, fd);
	}
	return fd;
}

/* Does a client ask for more than a ghost can give? */
static bool asks_to_write(uint32_t access_mask, uint32_t disposition)
{
	if (disposition == FILE_CREATE) {
		return false; /* there is one: it will fail */
	}
	return (access_mask & (SEC_FILE_WRITE_DATA | SEC_FILE_APPEND_DATA |
			       SEC_GENERIC_WRITE | SEC_GENERIC_ALL |
			       SEC_FLAG_MAXIMUM_ALLOWED)) != 0 ||
	       disposition == FILE_SUPERSEDE || disposition == FILE_OVERWRITE ||
	       disposition == FILE_OVERWRITE_IF;
}

/*
 * A file of a member that is away is rebuilt before it is opened for writing: it
 * is an ordinary one then. If that cannot be, or takes a while, opening it says so. smbd has looked
 * at the ghost already, by its path: it has to see the file in its place.
 */
static void make_changeable(struct vfs_handle_struct *handle,
			    const struct smb_request *req,
			    struct smb_filename *smb_fname,
			    uint32_t access_mask, uint32_t disposition)
{
	struct mrmr_pool *pool = NULL;
	struct mrmr_place place;
	struct mrmr_ghost ghost;
	char proc_path[MRMR_FD_LINK_LEN];

	if (smb_fname->fsp == NULL || is_named_stream(smb_fname) ||
	    !asks_to_write(access_mask, disposition) ||
	    !mrmr_fsp_is_ghost(handle, smb_fname->fsp, &ghost)) {
		return;
	}
	mrmr_fd_link(fsp_get_pathref_fd(smb_fname->fsp), proc_path);
	pool = mrmr_pool_of(handle);
	if (faccessat(AT_FDCWD, proc_path, W_OK, AT_EACCESS) == -1 ||
	    mrmr_place_at(pool, NULL, smb_fname, &place) == -1 ||
	    mrmr_rebuild(handle, smb_fname->fsp, place.dir, place.name,
			 req != NULL && req->smb2req != NULL) == -1) {
		return;
	}
	if (SMB_VFS_FSTAT(smb_fname->fsp, &smb_fname->st) == 0) {
		smb_fname->fsp->fsp_name->st = smb_fname->st;
	}
}

#define CREATE_TRIES 4

/* What was opened is the old one of a file that has moved meanwhile: it is closed, and
   the name looked up again. */
static bool look_again(struct vfs_handle_struct *handle,
		       struct smb_request *req, struct smb_filename *smb_fname,
		       files_struct **result, NTSTATUS *status)
{
	/* else the name is the file's, and goes with it */
	if (!NT_STATUS_IS_OK(*status) || req == NULL ||
	    smb_fname->fsp != NULL || !mrmr_has_moved_away(handle, *result)) {
		return false;
	}
	close_file_free(req, result, ERROR_CLOSE);
	SET_STAT_INVALID(smb_fname->st);
	*status = openat_pathref_fsp(handle->conn->cwd_fsp, smb_fname);
	return NT_STATUS_IS_OK(*status);
}

/* A client may say how large a new file will be: placement should know. */
NTSTATUS mrmr_create_file(struct vfs_handle_struct *handle,
			  struct smb_request *req, struct files_struct *dirfsp,
			  struct smb_filename *smb_fname, uint32_t access_mask,
			  uint32_t share_access, uint32_t create_disposition,
			  uint32_t create_options, uint32_t file_attributes,
			  uint32_t oplock_request,
			  const struct smb2_lease *lease,
			  uint64_t allocation_size, uint32_t private_flags,
			  struct security_descriptor *sd,
			  struct ea_list *ea_list, files_struct **result,
			  int *pinfo,
			  const struct smb2_create_blobs *in_context_blobs,
			  struct smb2_create_blobs *out_context_blobs)
{
	struct mrmr_share *share = mrmr_share_of(handle);
	unsigned int tries = 0;
	NTSTATUS status;

	if (share != NULL) {
		share->announced_bytes = allocation_size;
		make_changeable(handle, req, smb_fname, access_mask,
				create_disposition);
	}
	do {
		status =
			SMB_VFS_NEXT_CREATE_FILE(handle, req, dirfsp, smb_fname,
						 access_mask, share_access,
						 create_disposition,
						 create_options,
						 file_attributes,
						 oplock_request, lease,
						 allocation_size, private_flags,
						 sd, ea_list, result, pinfo,
						 in_context_blobs,
						 out_context_blobs);
	} while (share != NULL && ++tries < CREATE_TRIES &&
		 look_again(handle, req, smb_fname, result, &status));
	if (share != NULL) {
		share->announced_bytes = 0;
	}
	return status;
}
