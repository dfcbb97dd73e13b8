/*
 * MRMR: the Samba module: reading POSIX ACLs.
 *
 * smbd reads the ACLs of a file and its directory with nearly every open,
 * create, rename and delete. It has descriptors for looking only (O_PATH), so it
 * goes through /proc, and once more where there is no ACL, for the mode that
 * stands in for one. Here the descriptor is asked for the mode, and of a
 * directory the one that is kept of it, which is not for looking only. Where
 * there is an ACL, or anything else is answered, it is Samba's own business.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "listed.h"
#include "vfs_mrmr.h"

#include <mrmr/fd_path.h>

#include <sys/xattr.h>

#define ACCESS_ACL "system.posix_acl_access"
#define DEFAULT_ACL "system.posix_acl_default"

/* Does it surely have no ACL of this kind? */
static bool has_none(struct vfs_handle_struct *handle,
		     const struct files_struct *fsp, int fd,
		     SMB_ACL_TYPE_T type)
{
	const char *name =
		type == SMB_ACL_TYPE_DEFAULT ? DEFAULT_ACL : ACCESS_ACL;
	const struct mrmr_dir *dir = NULL;
	char path[MRMR_FD_LINK_LEN];
	ssize_t len;

	dir = mrmr_dir_known_of_fsp(mrmr_share_of(handle)->pool, fsp);
	if (dir != NULL) {
		len = fgetxattr(dir->spine_fd, name, NULL, 0);
	} else {
		len = getxattr(mrmr_fd_link(fd, path), name, NULL, 0);
	}
	return len == -1 && errno == ENODATA;
}

static int add_entry(SMB_ACL_T acl, SMB_ACL_TAG_T tag, mode_t bits)
{
	SMB_ACL_PERM_T perms = ((bits & 4) != 0 ? SMB_ACL_READ : 0) |
			       ((bits & 2) != 0 ? SMB_ACL_WRITE : 0) |
			       ((bits & 1) != 0 ? SMB_ACL_EXECUTE : 0);
	SMB_ACL_ENTRY_T entry = NULL;

	if (sys_acl_create_entry(&acl, &entry) == -1 ||
	    sys_acl_set_tag_type(entry, tag) == -1) {
		return -1;
	}
	return sys_acl_set_permset(entry, &perms);
}

static SMB_ACL_T acl_of_mode(TALLOC_CTX *mem_ctx, mode_t mode)
{
	SMB_ACL_T acl = sys_acl_init(mem_ctx);

	if (acl == NULL) {
		return NULL;
	}
	if (add_entry(acl, SMB_ACL_USER_OBJ, mode >> 6) == -1 ||
	    add_entry(acl, SMB_ACL_GROUP_OBJ, mode >> 3) == -1 ||
	    add_entry(acl, SMB_ACL_OTHER, mode) == -1) {
		TALLOC_FREE(acl);
	}
	return acl;
}

SMB_ACL_T mrmr_sys_acl_get_fd(struct vfs_handle_struct *handle,
			      struct files_struct *fsp, SMB_ACL_TYPE_T type,
			      TALLOC_CTX *mem_ctx)
{
	int fd = fsp_get_pathref_fd(fsp);
	struct stat st;

	if (mrmr_listed_need(handle, fsp) == -1) {
		return NULL;
	}
	/* For a descriptor that can be read, Samba does what is done here. */
	if (mrmr_share_of(handle) == NULL ||
	    (type != SMB_ACL_TYPE_ACCESS && type != SMB_ACL_TYPE_DEFAULT) ||
	    (!fsp->fsp_flags.is_pathref && type == SMB_ACL_TYPE_ACCESS) ||
	    !fsp->fsp_flags.have_proc_fds || !has_none(handle, fsp, fd, type) ||
	    fstat(fd, &st) == -1) {
		return SMB_VFS_NEXT_SYS_ACL_GET_FD(handle, fsp, type, mem_ctx);
	}
	if (type == SMB_ACL_TYPE_ACCESS) {
		return acl_of_mode(mem_ctx, st.st_mode);
	}
	if (S_ISDIR(st.st_mode)) {
		return sys_acl_init(mem_ctx);
	}
	return SMB_VFS_NEXT_SYS_ACL_GET_FD(handle, fsp, type, mem_ctx);
}
