/*
 * MRMR: the Samba module: attributes of directories, and of names.
 *
 * Files have their attributes on the member, through their own descriptor: the
 * protector is told, and a ghost is marked, so that the file gets them when its
 * member is back. A directory's are changed on the spine, whose rights decide,
 * and mirrored onto the members under the directory's lock, so that nobody
 * takes the state in between for somebody's change.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "ghosts.h"
#include "listed.h"
#include "moving.h"
#include "telling.h"
#include "write.h"

#include <mrmr/dirattr.h>
#include <mrmr/fd_path.h>
#include <mrmr/protection.h>

#include "lib/util/tevent_ntstatus.h"
#include "lib/util/tevent_unix.h"

static bool is_directory(const struct files_struct *fsp)
{
	return fsp->fsp_flags.is_directory ||
	       S_ISDIR(fsp->fsp_name->st.st_ex_mode);
}

/* The locked directory of an fsp, or NULL if there is nothing to mirror. */
static struct mrmr_dir *begin(struct vfs_handle_struct *handle,
			      struct files_struct *fsp)
{
	struct mrmr_pool *pool = NULL;
	struct mrmr_dir *dir = NULL;

	if (!is_directory(fsp)) {
		return NULL;
	}
	pool = mrmr_pool_of(handle);
	dir = (pool != NULL) ? mrmr_dir_of_fsp(pool, fsp) : NULL;
	if (dir == NULL || mrmr_dir_lock(dir) == -1) {
		return NULL;
	}
	return dir;
}

static int may_change(struct vfs_handle_struct *handle,
		      const struct files_struct *fsp)
{
	return mrmr_listed_need(handle, fsp) == -1
		       ? -1
		       : mrmr_ghost_note_change(handle, fsp);
}

static int end(struct vfs_handle_struct *handle, struct files_struct *fsp,
	       struct mrmr_dir *dir, int ret, const char *xattr)
{
	int saved_errno = errno;

	if (dir == NULL) {
		if (ret == 0 && !is_directory(fsp)) {
			mrmr_tell_attributes(handle, fsp);
		}
		return ret;
	}
	if (ret == 0) {
		mrmr_dir_mirror(dir, xattr);
		mrmr_tell_dir_attributes(dir);
	}
	mrmr_dir_unlock(dir);
	errno = saved_errno;
	return ret;
}

int mrmr_fchmod(struct vfs_handle_struct *handle, struct files_struct *fsp,
		mode_t mode)
{
	struct mrmr_dir *dir = NULL;

	if (may_change(handle, fsp) == -1) {
		return -1;
	}
	dir = begin(handle, fsp);
	return end(handle, fsp, dir, SMB_VFS_NEXT_FCHMOD(handle, fsp, mode),
		   NULL);
}

int mrmr_fchown(struct vfs_handle_struct *handle, struct files_struct *fsp,
		uid_t uid, gid_t gid)
{
	struct mrmr_dir *dir = NULL;

	if (may_change(handle, fsp) == -1) {
		return -1;
	}
	dir = begin(handle, fsp);
	return end(handle, fsp, dir, SMB_VFS_NEXT_FCHOWN(handle, fsp, uid, gid),
		   NULL);
}

int mrmr_sys_acl_set_fd(struct vfs_handle_struct *handle,
			struct files_struct *fsp, SMB_ACL_TYPE_T type,
			SMB_ACL_T acl)
{
	struct mrmr_dir *dir = NULL;

	if (may_change(handle, fsp) == -1) {
		return -1;
	}
	dir = begin(handle, fsp);
	return end(handle, fsp, dir,
		   SMB_VFS_NEXT_SYS_ACL_SET_FD(handle, fsp, type, acl), NULL);
}

int mrmr_sys_acl_delete_def_fd(struct vfs_handle_struct *handle,
			       struct files_struct *fsp)
{
	struct mrmr_dir *dir = NULL;

	if (may_change(handle, fsp) == -1) {
		return -1;
	}
	dir = begin(handle, fsp);
	return end(handle, fsp, dir,
		   SMB_VFS_NEXT_SYS_ACL_DELETE_DEF_FD(handle, fsp), NULL);
}

int mrmr_fsetxattr(struct vfs_handle_struct *handle, struct files_struct *fsp,
		   const char *name, const void *value, size_t size, int flags)
{
	struct mrmr_dir *dir = NULL;
	int ret;

	if (may_change(handle, fsp) == -1) {
		return -1;
	}
	dir = begin(handle, fsp);
	ret = SMB_VFS_NEXT_FSETXATTR(handle, fsp, name, value, size, flags);
	if (ret == -1 && dir == NULL && mrmr_is_full(errno) &&
	    mrmr_make_room_for_attribute(handle, fsp, size) == 0) {
		ret = SMB_VFS_NEXT_FSETXATTR(handle, fsp, name, value, size,
					     flags);
	}
	return end(handle, fsp, dir, ret, name);
}

int mrmr_fremovexattr(struct vfs_handle_struct *handle,
		      struct files_struct *fsp, const char *name)
{
	struct mrmr_dir *dir = NULL;

	if (may_change(handle, fsp) == -1) {
		return -1;
	}
	dir = begin(handle, fsp);
	return end(handle, fsp, dir,
		   SMB_VFS_NEXT_FREMOVEXATTR(handle, fsp, name), name);
}

int mrmr_fntimes(struct vfs_handle_struct *handle, struct files_struct *fsp,
		 struct smb_file_time *ft)
{
	struct mrmr_dir *dir = NULL;
	int saved_errno;
	int ret;

	if (may_change(handle, fsp) == -1) {
		return -1;
	}
	dir = begin(handle, fsp);
	ret = SMB_VFS_NEXT_FNTIMES(handle, fsp, ft);
	if (dir == NULL) {
		return end(handle, fsp, NULL, ret, NULL);
	}
	saved_errno = errno;
	if (ret == 0 && ft != NULL) {
		/* vfs_default has filled in what was left out. */
		struct timespec ts[2] = {ft->atime, ft->mtime};

		mrmr_dir_mirror_times(dir, ts);
		mrmr_tell_dir_attributes(dir);
	}
	mrmr_dir_unlock(dir);
	errno = saved_errno;
	return ret;
}

int mrmr_lchown(struct vfs_handle_struct *handle,
		const struct smb_filename *smb_fname, uid_t uid, gid_t gid)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct mrmr_place place;
	struct stat st;
	size_t member;
	int ret;
	int fd;

	if (pool == NULL || mrmr_name_is_sambas(smb_fname)) {
		return SMB_VFS_NEXT_LCHOWN(handle, smb_fname, uid, gid);
	}
	if (mrmr_place_at(pool, NULL, smb_fname, &place) == -1 ||
	    mrmr_name_find(place.dir, place.name, &member, &st) == -1) {
		return -1;
	}
	if (member != MRMR_IN_SPINE && mrmr_is_absent(pool, member)) {
		errno = EROFS;
		return -1;
	}
	fd = (member == MRMR_IN_SPINE) ? place.dir->spine_fd
				       : mrmr_dir_on_member(place.dir, member);
	if (fd == -1) {
		return -1;
	}
	ret = fchownat(fd, place.name, uid, gid, AT_SYMLINK_NOFOLLOW);
	if (ret == 0) {
		bool is_dir = member == MRMR_IN_SPINE;

		mrmr_tell_name(place.dir, place.name, MRMR_EVENT_ATTRIBUTES,
			       is_dir ? MRMR_NO_MEMBER : member,
			       is_dir ? 0
				      : mrmr_inode_to_tell(pool, member, &st));
	}
	return ret;
}

/*
 * Reading an extended attribute by name, which smbd does in a thread to spare
 * its loop. A name in the spine goes that way; for a member's file it is one
 * open and one read of what the listing has just brought into the cache.
 */
struct getxattrat_state {
	struct vfs_aio_state aio_state;
	struct tevent_req *next;
	ssize_t len;
	uint8_t *value;
	struct vfs_handle_struct *handle;
};

static void getxattrat_done(struct tevent_req *subreq);

static ssize_t read_xattr(TALLOC_CTX *mem_ctx, struct mrmr_place *place,
			  const char *name, size_t alloc_hint, uint8_t **value)
{
	char proc_path[MRMR_FD_LINK_LEN];
	struct stat st;
	size_t member;
	ssize_t len;
	int saved_errno;
	int fd;

	fd = mrmr_name_open(place->dir, place->name,
			    O_PATH | O_NOFOLLOW | O_CLOEXEC, &member, &st);
	if (fd == -1) {
		return -1;
	}
	*value = NULL;
	if (alloc_hint > 0) {
		*value = talloc_zero_array(mem_ctx, uint8_t, alloc_hint);
		if (*value == NULL) {
			close(fd);
			errno = ENOMEM;
			return -1;
		}
	}
	len = getxattr(mrmr_fd_link(fd, proc_path), name, *value, alloc_hint);
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return len;
}

struct tevent_req *mrmr_getxattrat_send(TALLOC_CTX *mem_ctx,
					struct tevent_context *ev,
					struct vfs_handle_struct *handle,
					files_struct *dir_fsp,
					const struct smb_filename *smb_fname,
					const char *xattr_name,
					size_t alloc_hint)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct getxattrat_state *state = NULL;
	struct tevent_req *subreq = NULL;
	struct tevent_req *req = NULL;
	struct mrmr_place place;
	struct stat st;
	size_t member = MRMR_IN_SPINE;

	req = tevent_req_create(mem_ctx, &state, struct getxattrat_state);
	if (req == NULL) {
		return NULL;
	}
	state->handle = handle;

	if (pool != NULL && !mrmr_name_is_sambas(smb_fname) &&
	    (mrmr_place_at(pool, dir_fsp, smb_fname, &place) == -1 ||
	     mrmr_name_find(place.dir, place.name, &member, &st) == -1)) {
		tevent_req_error(req, errno);
		return tevent_req_post(req, ev);
	}
	if (member == MRMR_IN_SPINE) {
		subreq = SMB_VFS_NEXT_GETXATTRAT_SEND(state, ev, handle,
						      dir_fsp, smb_fname,
						      xattr_name, alloc_hint);
		if (tevent_req_nomem(subreq, req)) {
			return tevent_req_post(req, ev);
		}
		tevent_req_set_callback(subreq, getxattrat_done, req);
		return req;
	}
	state->len = read_xattr(state, &place, xattr_name, alloc_hint,
				&state->value);
	if (state->len == -1) {
		tevent_req_error(req, errno);
	} else {
		tevent_req_done(req);
	}
	return tevent_req_post(req, ev);
}

static void getxattrat_done(struct tevent_req *subreq)
{
	struct tevent_req *req =
		tevent_req_callback_data(subreq, struct tevent_req);
	struct getxattrat_state *state =
		tevent_req_data(req, struct getxattrat_state);

	state->len = SMB_VFS_NEXT_GETXATTRAT_RECV(subreq, &state->aio_state,
						  state, &state->value);
	TALLOC_FREE(subreq);
	if (state->len == -1) {
		tevent_req_error(req, state->aio_state.error);
		return;
	}
	tevent_req_done(req);
}

ssize_t mrmr_getxattrat_recv(struct tevent_req *req,
			     struct vfs_aio_state *aio_state,
			     TALLOC_CTX *mem_ctx, uint8_t **xattr_value)
{
	struct getxattrat_state *state =
		tevent_req_data(req, struct getxattrat_state);
	ssize_t len = state->len;

	if (tevent_req_is_unix_error(req, &aio_state->error)) {
		tevent_req_received(req);
		return -1;
	}
	*aio_state = state->aio_state;
	if (xattr_value != NULL) {
		*xattr_value = talloc_move(mem_ctx, &state->value);
	}
	tevent_req_received(req);
	return len;
}
