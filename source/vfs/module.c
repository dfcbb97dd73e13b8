/*
 * MRMR: the Samba module: connecting, and the table of its operations.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "copy.h"
#include "ghosts.h"
#include "kept_xattrs.h"
#include "listed.h"
#include "protecting.h"
#include "rebuilding.h"
#include "room.h"
#include "versions.h"
#include "vfs_mrmr.h"
#include "watch.h"
#include "write.h"

#include <mrmr/log.h>
#include <mrmr/serve.h>
#include <mrmr/shared.h>

#define TICK_SECONDS 1

/* All shares of a process that have the same config share one pool. */
struct open_pool {
	struct open_pool *prev, *next;
	char *config_path;
	struct stat config_st;
	struct stat refused_st; /* a later state that could not be used */
	struct mrmr_pool *pool;
	unsigned int users;
};

static struct open_pool *open_pools;

static void log_to_samba(enum mrmr_log_level level, const char *text)
{
	switch (level) {
	case MRMR_LOG_ERROR:
		DBG_ERR("%s\n", text);
		break;
	case MRMR_LOG_WARNING:
		DBG_WARNING("%s\n", text);
		break;
	case MRMR_LOG_INFO:
		DBG_NOTICE("%s\n", text);
		break;
	case MRMR_LOG_DEBUG:
		DBG_DEBUG("%s\n", text);
		break;
	}
}

static void to_root(void)
{
	become_root();
}

static void from_root(void)
{
	int saved_errno = errno;

	unbecome_root();
	errno = saved_errno;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static struct open_pool *pool_get(const char *config_path)
{
	static const struct mrmr_identity identity = {
		.become_root = to_root,
		.unbecome_root = from_root,
	};
	struct open_pool *p = NULL;
	struct mrmr_config *config = NULL;
	struct mrmr_error err = {0};
	struct stat st = {0};

	/* A config that has been changed since is another one. */
	stat(config_path, &st);
	for (p = open_pools; p != NULL; p = p->next) {
		if (strcmp(p->config_path, config_path) == 0 &&
		    same_file(&p->config_st, &st)) {
			p->users++;
			return p;
		}
	}

	p = talloc_zero(NULL, struct open_pool);
	if (p == NULL) {
		return NULL;
	}
	p->config_st = st;
	p->users = 1;
	p->config_path = talloc_strdup(p, config_path);
	if (p->config_path == NULL) {
		TALLOC_FREE(p);
		return NULL;
	}
	config = mrmr_config_load(p, config_path, &err);
	if (config != NULL) {
		p->pool = mrmr_pool_open(p, config, &identity, &err);
	}
	if (p->pool != NULL && mrmr_serve_start(p->pool, NULL) == -1) {
		mrmr_error_set(&err, errno, "out of memory");
		TALLOC_FREE(p->pool);
	}
	if (p->pool == NULL) {
		DBG_ERR("%s\n", err.text);
		TALLOC_FREE(p);
		errno = err.code;
		return NULL;
	}
	p->pool->fold = mrmr_fold;
	DLIST_ADD(open_pools, p);
	return p;
}

static void pool_put(struct mrmr_pool *pool)
{
	struct open_pool *p = NULL;

	for (p = open_pools; p != NULL; p = p->next) {
		if (p->pool == pool && --p->users == 0) {
			DLIST_REMOVE(open_pools, p);
			mrmr_serve_stop(p->pool);
			TALLOC_FREE(p);
			return;
		}
	}
}

/*
 * mrmr-admin changed the config: the pool is opened anew, so that a new drive
 * is used by those who are connected. A config that is broken meanwhile
 * changes nothing; it is said once. Not while a file moves, or is computed, which
 * holds on to the pool.
 */
static void reload(struct mrmr_share *share)
{
	struct open_pool *now = NULL;
	struct open_pool *p = NULL;
	struct stat st = {0};

	for (now = open_pools; now != NULL; now = now->next) {
		if (now->pool == share->pool) {
			break;
		}
	}
	if (now == NULL || mrmr_writes_move() ||
	    mrmr_serve_is_busy(share->pool)) {
		return;
	}
	become_root();
	if (stat(now->config_path, &st) == 0 &&
	    !same_file(&now->config_st, &st) &&
	    !same_file(&now->refused_st, &st)) {
		p = pool_get(now->config_path);
		if (p != NULL &&
		    strcmp(p->pool->spine_path, now->pool->spine_path) != 0) {
			DBG_ERR("%s: state_dir has changed, which counts "
				"from the next connection on\n",
				p->config_path);
			pool_put(p->pool);
			p = NULL;
		}
		if (p == NULL) {
			now->refused_st = st;
		}
	}
	from_root();
	if (p != NULL) {
		DBG_NOTICE("%s has changed and is in use now\n",
			   p->config_path);
		mrmr_listed_settle(share);
		TALLOC_FREE(share->watcher);
		/* handles of ghosts stay, whoever is in the pool now */
		p->pool->was_any_away |= share->pool->was_any_away;
		pool_put(share->pool);
		share->pool = p->pool;
		/* perhaps it wants other parity */
		atomic_store(&share->pool->shared->has_work, 1);
	}
}

static void tick(struct tevent_context *ev, struct tevent_timer *te,
		 struct timeval now, void *private_data)
{
	struct vfs_handle_struct *handle = private_data;
	struct mrmr_share *share = mrmr_share_of(handle);

	mrmr_listed_settle(share);
	reload(share);
	mrmr_pool_watch_ejected(share->pool);
	mrmr_pool_watch_absent(share->pool);
	mrmr_watch_update(handle);
	mrmr_pool_idle(share->pool);
	mrmr_protecting_look(share);
	mrmr_rebuilding_look(share);
	mrmr_serve_idle(share->pool);
	share->tick = tevent_add_timer(ev, share,
				       timeval_current_ofs(TICK_SECONDS, 0),
				       tick, handle);
}

static void share_free(void **data)
{
	TALLOC_FREE(*data);
}

static int share_destructor(struct mrmr_share *share)
{
	mrmr_listed_end(share);
	mrmr_kept_xattrs_free(share);
	TALLOC_FREE(share->tick);
	mrmr_rebuilding_end(share);
	pool_put(share->pool);
	return 0;
}

/*
 * Modules that write to descriptors, or open files, by themselves. In front of
 * mrmr they would change files past it: nothing of what is protected would be
 * kept (invariant 2). Behind it, all they get has been through its hands.
 */
static const char *const modules_past[] = {
	"io_uring", "aio_pthread", "aio_fork", "btrfs", "gpfs",
};

static const char *module_in_front(const struct vfs_handle_struct *handle)
{
	const char **objects = lp_vfs_objects(SNUM(handle->conn));
	size_t i;

	for (; objects != NULL && *objects != NULL; objects++) {
		size_t len = strcspn(*objects, ":");

		if (len == 4 && strncmp(*objects, "mrmr", len) == 0) {
			break;
		}
		for (i = 0; i < ARRAY_SIZE(modules_past); i++) {
			if (strlen(modules_past[i]) == len &&
			    strncmp(*objects, modules_past[i], len) == 0) {
				return modules_past[i];
			}
		}
	}
	return NULL;
}

/* What else in smb.conf has to be as MRMR needs it. */
static int check_settings(struct vfs_handle_struct *handle,
			  const struct mrmr_pool *pool)
{
	const char *path = handle->conn->connectpath;
	size_t len = strlen(pool->spine_path);
	const char *past = module_in_front(handle);

	if (past != NULL && pool->guard != NULL) {
		DBG_ERR("share %s: in its vfs objects, %s stands in front of "
			"mrmr and would write to files past it, so that what "
			"is protected could not be kept; put %s after mrmr\n",
			lp_const_servicename(SNUM(handle->conn)), past, past);
		return -1;
	}
	if (strncmp(path, pool->spine_path, len) != 0 ||
	    (path[len] != '/' && path[len] != '\0')) {
		DBG_ERR("share %s: its path is %s, but the pool of %s has its "
			"spine at %s; set path = %s\n",
			lp_const_servicename(SNUM(handle->conn)), path,
			pool->config->path, pool->spine_path, pool->spine_path);
		return -1;
	}
	if (lp_kernel_change_notify()) {
		DBG_WARNING("kernel change notify = yes: clients will not be "
			    "told of changed files, as the kernel sees none "
			    "in %s; set kernel change notify = no in "
			    "[global]\n",
			    pool->spine_path);
	}
	return 0;
}

static int mrmr_connect(struct vfs_handle_struct *handle, const char *service,
			const char *user)
{
	const char *config_path = NULL;
	struct mrmr_share *share = NULL;
	struct open_pool *p = NULL;
	int ret;

	ret = SMB_VFS_NEXT_CONNECT(handle, service, user);
	if (ret < 0 || IS_IPC(handle->conn) || IS_PRINT(handle->conn)) {
		return ret;
	}
	mrmr_log_to(log_to_samba);

	config_path = lp_parm_const_string(SNUM(handle->conn), "mrmr", "config",
					   MRMR_CONFIG_DEFAULT);
	become_root();
	p = pool_get(config_path);
	from_root();
	if (p == NULL) {
		SMB_VFS_NEXT_DISCONNECT(handle);
		return -1;
	}

	share = talloc_zero(handle->conn, struct mrmr_share);
	if (share == NULL) {
		pool_put(p->pool);
		SMB_VFS_NEXT_DISCONNECT(handle);
		errno = ENOMEM;
		return -1;
	}
	share->pool = p->pool;
	talloc_set_destructor(share, share_destructor);

	if (check_settings(handle, p->pool) == -1 ||
	    mrmr_protecting_configure(handle, share) == -1) {
		TALLOC_FREE(share);
		SMB_VFS_NEXT_DISCONNECT(handle);
		errno = EINVAL;
		return -1;
	}
	share->tick = tevent_add_timer(handle->conn->sconn->ev_ctx, share,
				       timeval_current_ofs(TICK_SECONDS, 0),
				       tick, handle);
	SMB_VFS_HANDLE_SET_DATA(handle, share, share_free, struct mrmr_share,
				return -1);
	return 0;
}

static void mrmr_disconnect(struct vfs_handle_struct *handle)
{
	struct mrmr_share *share = mrmr_share_of(handle);

	if (share != NULL) {
		mrmr_protecting_look(share);
	}
	SMB_VFS_NEXT_DISCONNECT(handle);
	SMB_VFS_HANDLE_FREE_DATA(handle);
}

struct mrmr_share *mrmr_share_of(struct vfs_handle_struct *handle)
{
	return handle->data;
}

struct mrmr_pool *mrmr_pool_of(struct vfs_handle_struct *handle)
{
	struct mrmr_share *share = handle->data;

	if (share == NULL) {
		return NULL;
	}
	mrmr_pool_use(share->pool);
	return share->pool;
}

/*
 * By its file id, which smbd has made from what the open descriptor said. The
 * inode stays the directory's as long as that is open.
 */
struct mrmr_dir *mrmr_dir_known_of_fsp(struct mrmr_pool *pool,
				       const struct files_struct *fsp)
{
	if (fsp->file_id.devid != pool->device_id || fsp->file_id.extid != 0 ||
	    fsp_get_pathref_fd(fsp) < 0) {
		return NULL;
	}
	return mrmr_dir_known(pool, pool->spine_dev, fsp->file_id.inode);
}

struct mrmr_dir *mrmr_dir_of_fsp(struct mrmr_pool *pool,
				 const struct files_struct *fsp)
{
	struct mrmr_dir *dir = mrmr_dir_known_of_fsp(pool, fsp);

	return dir != NULL ? dir : mrmr_dir_get(pool, fsp_get_pathref_fd(fsp));
}

int mrmr_place_at(struct mrmr_pool *pool, const struct files_struct *dirfsp,
		  const struct smb_filename *smb_fname,
		  struct mrmr_place *place)
{
	int fd = dirfsp != NULL ? fsp_get_pathref_fd(dirfsp) : AT_FDCWD;
	struct mrmr_dir *dir = NULL;

	if (dirfsp != NULL) {
		dir = mrmr_dir_known_of_fsp(pool, dirfsp);
	}
	if (dir != NULL && strchr(smb_fname->base_name, '/') == NULL) {
		return mrmr_place_in(dir, smb_fname->base_name, place);
	}
	return mrmr_place_find(pool, fd, smb_fname->base_name, place);
}

bool mrmr_name_is_sambas(const struct smb_filename *smb_fname)
{
	const char *name = smb_fname->base_name;

	return name[0] == '\0' || ISDOT(name) || ISDOTDOT(name) ||
	       strncmp(name, "/proc/self/fd/", 14) == 0 ||
	       is_named_stream(smb_fname);
}

/* versions.c adds what depends on Samba's version. */
static struct vfs_fn_pointers mrmr_fns = {
	.connect_fn = mrmr_connect,
	.disconnect_fn = mrmr_disconnect,
	.disk_free_fn = mrmr_disk_free,
	.get_quota_fn = mrmr_get_quota,
	.set_quota_fn = mrmr_set_quota,
	.statvfs_fn = mrmr_statvfs,
	.create_dfs_pathat_fn = mrmr_create_dfs_pathat,
	.read_dfs_pathat_fn = mrmr_read_dfs_pathat,

	.fdopendir_fn = mrmr_fdopendir,
	.rewind_dir_fn = mrmr_rewinddir,
	.closedir_fn = mrmr_closedir,
	.get_real_filename_at_fn = mrmr_get_real_filename_at,

	.openat_fn = mrmr_openat,
	.create_file_fn = mrmr_create_file,
	.close_fn = mrmr_close,
	.pread_fn = mrmr_pread,
	.pread_send_fn = mrmr_pread_send,
	.pread_recv_fn = mrmr_pread_recv,
	.sendfile_fn = mrmr_sendfile,
	.aio_force_fn = mrmr_aio_force,
	.lseek_fn = mrmr_lseek,
	.pwrite_fn = mrmr_pwrite,
	.pwrite_send_fn = mrmr_pwrite_send,
	.pwrite_recv_fn = mrmr_pwrite_recv,
	.recvfile_fn = mrmr_recvfile,
	.offload_read_send_fn = mrmr_offload_read_send,
	.offload_read_recv_fn = mrmr_offload_read_recv,
	.offload_write_send_fn = mrmr_offload_write_send,
	.offload_write_recv_fn = mrmr_offload_write_recv,
	.ftruncate_fn = mrmr_ftruncate,
	.fallocate_fn = mrmr_fallocate,

	.mkdirat_fn = mrmr_mkdirat,
	.unlinkat_fn = mrmr_unlinkat,
	.linkat_fn = mrmr_linkat,
	.symlinkat_fn = mrmr_symlinkat,
	.mknodat_fn = mrmr_mknodat,
	.readlinkat_fn = mrmr_readlinkat,

	.stat_fn = mrmr_stat,
	.lstat_fn = mrmr_lstat,
	.fstat_fn = mrmr_fstat,
	.fstatat_fn = mrmr_fstatat,
	.chdir_fn = mrmr_chdir,
	.realpath_fn = mrmr_realpath,
	.file_id_create_fn = mrmr_file_id_create,
	.fs_file_id_fn = mrmr_fs_file_id,

	.sys_acl_get_fd_fn = mrmr_sys_acl_get_fd,
	.fchmod_fn = mrmr_fchmod,
	.fchown_fn = mrmr_fchown,
	.lchown_fn = mrmr_lchown,
	.fntimes_fn = mrmr_fntimes,
	.sys_acl_set_fd_fn = mrmr_sys_acl_set_fd,
	.sys_acl_delete_def_fd_fn = mrmr_sys_acl_delete_def_fd,
	.fgetxattr_fn = mrmr_fgetxattr,
	.flistxattr_fn = mrmr_flistxattr,
	.fsetxattr_fn = mrmr_fsetxattr,
	.fremovexattr_fn = mrmr_fremovexattr,
	.getxattrat_send_fn = mrmr_getxattrat_send,
	.getxattrat_recv_fn = mrmr_getxattrat_recv,
};

static_decl_vfs;
NTSTATUS vfs_mrmr_init(TALLOC_CTX *ctx)
{
	mrmr_versions_fill(&mrmr_fns);
	return smb_register_vfs(SMB_VFS_INTERFACE_VERSION, "mrmr", &mrmr_fns);
}
