/*
 * MRMR: the Samba module: what its files share.
 *
 * What does this module do? smbd works on the share's `path`, the spine: a
 * local directory tree without files. Everything about directories is Samba's
 * own and native there. The module redirects files: it finds or makes them on
 * a member and gives smbd the kernel descriptor of the member's own file, so
 * reads, writes, locks and streams are Samba's own, too.
 *
 * How does it do that? Two idioms:
 *  - An operation with a directory and a name asks mrmr_dir_get() for the
 *    directory behind smbd's descriptor, and the core (mrmr/names.h) for the
 *    name. Paths are resolved from descriptors, never from fsp names, which
 *    are relative to one thing or another at different moments.
 *  - An operation that changes a directory's attributes lets Samba change the
 *    spine's, and then mirrors the change onto the members.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef VFS_MRMR_H
#define VFS_MRMR_H

#include "includes.h"
#include "smbd/smbd.h"
#include "smbd/globals.h"
#include "system/filesys.h"

#undef DBGC_CLASS
#define DBGC_CLASS DBGC_VFS

#include <mrmr/dir.h>
#include <mrmr/names.h>
#include <mrmr/pool.h>
#include <mrmr/protector.h>

enum mrmr_listed_state {
	MRMR_LISTED_NOTHING,
	MRMR_LISTED_READ,      /* readdir has just returned it */
	MRMR_LISTED_STANDS_IN, /* smbd has a descriptor in its place, */
	MRMR_LISTED_GONE,      /* and nothing else: the file has gone */
};

/* A regular file of a member that smbd is listing: listed.h. */
struct mrmr_listed {
	enum mrmr_listed_state state;
	const struct files_struct *dirfsp;
	const struct files_struct *fsp; /* from STANDS_IN on */
	const char *name;
	bool *is_needed; /* of the open directory: its files are wanted */
	int spine_fd;    /* the directory in the spine, */
	size_t member;
	int dir_fd;           /* and on the member, */
	uint64_t dirs_closed; /* while the pool's stays the same */
	struct stat st;
	struct mrmr_kept_xattrs *kept; /* NULL: nothing is kept of it */
};

/*
 * What fstat said of a file when it was opened for a look (O_PATH). smbd's next
 * step is to ask for just that; good for that one step.
 */
struct mrmr_looked {
	const struct files_struct *fsp; /* NULL: nothing */
	int fd;
	struct stat st;
};

enum mrmr_protect_mode {
	MRMR_PROTECT_QUEUE, /* a protector is started */
	MRMR_PROTECT_WAIT,  /* and waited for, when a file is closed */
	MRMR_PROTECT_NO,    /* neither: somebody else will */
};

struct mrmr_share {
	struct mrmr_pool *pool; /* shared by all shares of this process */
	struct tevent_timer *tick;
	struct mrmr_watcher *watcher;
	struct mrmr_listed listed;
	int stand_in_fd;                     /* listed.h; 0: none */
	struct mrmr_kept_table *kept_xattrs; /* kept_xattrs.h */
	struct mrmr_looked looked;
	uint64_t announced_bytes; /* size of the file that is being created */
	enum mrmr_protect_mode protect;
	struct mrmr_protector_command protector;
	uint64_t rescued_reads;              /* that a drive refused */
	struct mrmr_rebuilding *rebuildings; /* rebuilding.h */
};

/*
 * The pool of a share, ready for use. NULL before SMB_VFS_CONNECT (when
 * canonicalising the share's path) and after disconnect: then the operation is
 * Samba's own.
 */
struct mrmr_pool *mrmr_pool_of(struct vfs_handle_struct *handle);
struct mrmr_share *mrmr_share_of(struct vfs_handle_struct *handle);

/* The directory of an fsp, which is a directory; NULL with errno. */
struct mrmr_dir *mrmr_dir_of_fsp(struct mrmr_pool *pool,
				 const struct files_struct *fsp);

/* The same without a system call, of one that is remembered; else NULL. */
struct mrmr_dir *mrmr_dir_known_of_fsp(struct mrmr_pool *pool,
				       const struct files_struct *fsp);

/*
 * Where dirfsp and a name (of one component or several, or absolute) lead.
 * -1 with errno; EXDEV and EINVAL mean that the name is not MRMR's business.
 */
int mrmr_place_at(struct mrmr_pool *pool, const struct files_struct *dirfsp,
		  const struct smb_filename *smb_fname,
		  struct mrmr_place *place);

/* Names that are Samba's own business: ".", "", descriptors, streams. */
bool mrmr_name_is_sambas(const struct smb_filename *smb_fname);

/* open.c */
int mrmr_openat(struct vfs_handle_struct *handle,
		const struct files_struct *dirfsp,
		const struct smb_filename *smb_fname, struct files_struct *fsp,
		const struct vfs_open_how *how);
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
			  struct smb2_create_blobs *out_context_blobs);

/* stat.c */
int mrmr_stat(struct vfs_handle_struct *handle, struct smb_filename *smb_fname);
int mrmr_lstat(struct vfs_handle_struct *handle,
	       struct smb_filename *smb_fname);
int mrmr_fstat(struct vfs_handle_struct *handle, struct files_struct *fsp,
	       SMB_STRUCT_STAT *sbuf);
int mrmr_fstatat(struct vfs_handle_struct *handle,
		 const struct files_struct *dirfsp,
		 const struct smb_filename *smb_fname, SMB_STRUCT_STAT *sbuf,
		 int flags);
int mrmr_chdir(struct vfs_handle_struct *handle,
	       const struct smb_filename *smb_fname);
struct smb_filename *mrmr_realpath(struct vfs_handle_struct *handle,
				   TALLOC_CTX *ctx,
				   const struct smb_filename *smb_fname);

/* fileid.c */
struct file_id mrmr_file_id_create(struct vfs_handle_struct *handle,
				   const SMB_STRUCT_STAT *sbuf);
uint64_t mrmr_fs_file_id(struct vfs_handle_struct *handle,
			 const SMB_STRUCT_STAT *sbuf);

/* listed_xattrs.c */
ssize_t mrmr_fgetxattr(struct vfs_handle_struct *handle,
		       struct files_struct *fsp, const char *name, void *value,
		       size_t size);
ssize_t mrmr_flistxattr(struct vfs_handle_struct *handle,
			struct files_struct *fsp, char *list, size_t size);

/* listing.c; sbuf may be NULL */
DIR *mrmr_fdopendir(struct vfs_handle_struct *handle, files_struct *fsp,
		    const char *mask, uint32_t attributes);
struct dirent *mrmr_readdir(struct vfs_handle_struct *handle,
			    struct files_struct *dirfsp, DIR *dirp,
			    SMB_STRUCT_STAT *sbuf);
void mrmr_seekdir(struct vfs_handle_struct *handle, DIR *dirp, long offset);
long mrmr_telldir(struct vfs_handle_struct *handle, DIR *dirp);
void mrmr_rewinddir(struct vfs_handle_struct *handle, DIR *dirp);
int mrmr_closedir(struct vfs_handle_struct *handle, DIR *dirp);

/* other_case.c */
NTSTATUS mrmr_get_real_filename_at(struct vfs_handle_struct *handle,
				   struct files_struct *dirfsp,
				   const char *name, TALLOC_CTX *mem_ctx,
				   char **found_name);
uint32_t mrmr_fold(const char *name); /* for a pool */

/* namespace.c */
int mrmr_mkdirat(struct vfs_handle_struct *handle, struct files_struct *dirfsp,
		 const struct smb_filename *smb_fname, mode_t mode);
int mrmr_unlinkat(struct vfs_handle_struct *handle, struct files_struct *dirfsp,
		  const struct smb_filename *smb_fname, int flags);
/* There is a pool, and neither is a stream. */
int mrmr_renameat(struct vfs_handle_struct *handle,
		  struct files_struct *from_dirfsp,
		  const struct smb_filename *from,
		  struct files_struct *to_dirfsp,
		  const struct smb_filename *to);
/* Of a directory in the making, in the same directory; replaces nothing. */
int mrmr_finish_directory(struct vfs_handle_struct *handle,
			  struct files_struct *dirfsp,
			  const struct smb_filename *unfinished,
			  const struct smb_filename *smb_fname);
int mrmr_linkat(struct vfs_handle_struct *handle,
		struct files_struct *from_dirfsp,
		const struct smb_filename *from, struct files_struct *to_dirfsp,
		const struct smb_filename *to, int flags);
int mrmr_symlinkat(struct vfs_handle_struct *handle,
		   const struct smb_filename *target,
		   struct files_struct *dirfsp,
		   const struct smb_filename *smb_fname);
int mrmr_mknodat(struct vfs_handle_struct *handle, struct files_struct *dirfsp,
		 const struct smb_filename *smb_fname, mode_t mode,
		 SMB_DEV_T dev);
int mrmr_readlinkat(struct vfs_handle_struct *handle,
		    const struct files_struct *dirfsp,
		    const struct smb_filename *smb_fname, char *buf,
		    size_t bufsize);
NTSTATUS mrmr_create_dfs_pathat(struct vfs_handle_struct *handle,
				struct files_struct *dirfsp,
				const struct smb_filename *smb_fname,
				const struct referral *reflist,
				size_t referral_count);
NTSTATUS mrmr_read_dfs_pathat(struct vfs_handle_struct *handle,
			      TALLOC_CTX *mem_ctx, struct files_struct *dirfsp,
			      struct smb_filename *smb_fname,
			      struct referral **ppreflist,
			      size_t *preferral_count);

/* attributes.c */
int mrmr_fchmod(struct vfs_handle_struct *handle, struct files_struct *fsp,
		mode_t mode);
int mrmr_fchown(struct vfs_handle_struct *handle, struct files_struct *fsp,
		uid_t uid, gid_t gid);
int mrmr_lchown(struct vfs_handle_struct *handle,
		const struct smb_filename *smb_fname, uid_t uid, gid_t gid);
int mrmr_fntimes(struct vfs_handle_struct *handle, struct files_struct *fsp,
		 struct smb_file_time *ft);
int mrmr_sys_acl_set_fd(struct vfs_handle_struct *handle,
			struct files_struct *fsp, SMB_ACL_TYPE_T type,
			SMB_ACL_T acl);
int mrmr_sys_acl_delete_def_fd(struct vfs_handle_struct *handle,
			       struct files_struct *fsp);
int mrmr_fsetxattr(struct vfs_handle_struct *handle, struct files_struct *fsp,
		   const char *name, const void *value, size_t size, int flags);
int mrmr_fremovexattr(struct vfs_handle_struct *handle,
		      struct files_struct *fsp, const char *name);
struct tevent_req *mrmr_getxattrat_send(TALLOC_CTX *mem_ctx,
					struct tevent_context *ev,
					struct vfs_handle_struct *handle,
					files_struct *dir_fsp,
					const struct smb_filename *smb_fname,
					const char *xattr_name,
					size_t alloc_hint);
ssize_t mrmr_getxattrat_recv(struct tevent_req *req,
			     struct vfs_aio_state *aio_state,
			     TALLOC_CTX *mem_ctx, uint8_t **xattr_value);

/* acls.c */
SMB_ACL_T mrmr_sys_acl_get_fd(struct vfs_handle_struct *handle,
			      struct files_struct *fsp, SMB_ACL_TYPE_T type,
			      TALLOC_CTX *mem_ctx);

/* space.c */
uint64_t mrmr_disk_free(struct vfs_handle_struct *handle,
			const struct smb_filename *smb_fname, uint64_t *bsize,
			uint64_t *dfree, uint64_t *dsize);
int mrmr_statvfs(struct vfs_handle_struct *handle,
		 const struct smb_filename *smb_fname,
		 struct vfs_statvfs_struct *statbuf);
int mrmr_get_quota(struct vfs_handle_struct *handle,
		   const struct smb_filename *smb_fname,
		   enum SMB_QUOTA_TYPE qtype, unid_t id, SMB_DISK_QUOTA *qt);
int mrmr_set_quota(struct vfs_handle_struct *handle, enum SMB_QUOTA_TYPE qtype,
		   unid_t id, SMB_DISK_QUOTA *qt);

#endif
