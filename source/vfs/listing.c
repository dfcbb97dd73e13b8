/*
 * MRMR: the Samba module: reading directories.
 *
 * The DIR that smbd holds is ours: a snapshot of the union, made at the first
 * read, and a position in it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "ghosts.h"
#include "listed.h"

#include <mrmr/listing.h>

struct open_dir {
	int fd;                       /* the fsp's, closed by closedir */
	struct mrmr_listing *listing; /* NULL: still to be made */
	size_t position;
	uint64_t pool_serial; /* of the pool that the listing is of */
	struct mrmr_dir *dir; /* of fd, while the cache says so */
	uint64_t dirs_dropped;
	bool is_needed;      /* smbd wants more of the files than it is told */
	struct dirent entry; /* what readdir gave last */
};

DIR *mrmr_fdopendir(struct vfs_handle_struct *handle, files_struct *fsp,
		    const char *mask, uint32_t attributes)
{
	struct open_dir *open_dir = NULL;

	open_dir = talloc_zero(handle->conn, struct open_dir);
	if (open_dir == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	open_dir->fd = fsp_get_io_fd(fsp);
	return (DIR *)open_dir;
}

static struct mrmr_dir *dir_of(struct mrmr_pool *pool,
			       struct open_dir *open_dir)
{
	if (open_dir->pool_serial != pool->serial) {
		/* Opened anew with another config: members are numbered
		   otherwise. */
		TALLOC_FREE(open_dir->listing);
		open_dir->dir = NULL;
		open_dir->pool_serial = pool->serial;
	}
	if (open_dir->dir == NULL ||
	    open_dir->dirs_dropped != pool->dirs_dropped) {
		open_dir->dir = mrmr_dir_get(pool, open_dir->fd);
		open_dir->dirs_dropped = pool->dirs_dropped;
	}
	return open_dir->dir;
}

static bool make_listing(struct mrmr_pool *pool, struct open_dir *open_dir)
{
	struct mrmr_dir *dir = dir_of(pool, open_dir);

	if (dir != NULL && open_dir->listing == NULL) {
		open_dir->listing = mrmr_listing_new(open_dir, dir);
	}
	return open_dir->listing != NULL;
}

/* Saves smbd a stat, and us a lookup when it opens the entry. */
static void look_at(struct vfs_handle_struct *handle,
		    const struct files_struct *dirfsp,
		    struct open_dir *open_dir,
		    const struct mrmr_listing_entry *entry,
		    SMB_STRUCT_STAT *sbuf)
{
	struct mrmr_share *share = mrmr_share_of(handle);
	struct mrmr_dir *dir = dir_of(share->pool, open_dir);
	bool posix = dirfsp->fsp_name->flags & SMB_FILENAME_POSIX_PATH;
	struct stat st;
	int fd;

	if (dir == NULL) {
		return;
	}
	fd = entry->member == MRMR_IN_SPINE
		     ? dir->spine_fd
		     : mrmr_dir_on_member(dir, entry->member);
	if (fd == -1) {
		return;
	}
	if (entry->type != DT_DIR && entry->member != MRMR_IN_SPINE) {
		mrmr_dir_hint(dir, entry->name, entry->member);
	}
	if (sbuf == NULL) {
		return;
	}
	if (fstatat(fd, entry->name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
		return;
	}
	/* What lies in the spine may be a ghost. */
	if (S_ISREG(st.st_mode) && entry->member != MRMR_IN_SPINE &&
	    st.st_dev != share->pool->spine_dev && !open_dir->is_needed) {
		mrmr_listed_read(share,
				 &(struct mrmr_listed){
					 .dirfsp = dirfsp,
					 .name = open_dir->entry.d_name,
					 .is_needed = &open_dir->is_needed,
					 .spine_fd = open_dir->fd,
					 .member = entry->member,
					 .dir_fd = fd,
					 .st = st,
				 });
	}
	if (S_ISLNK(st.st_mode) && !posix) {
		return; /* what it points to is for smbd to ask */
	}
	init_stat_ex_from_stat(sbuf, &st,
			       lp_fake_directory_create_times(
				       SNUM(handle->conn)));
	mrmr_ghost_stat_at(share->pool, fd, entry->name, sbuf);
}

struct dirent *mrmr_readdir(struct vfs_handle_struct *handle,
			    struct files_struct *dirfsp, DIR *dirp,
			    SMB_STRUCT_STAT *sbuf)
{
	struct mrmr_pool *pool = mrmr_pool_of(handle);
	struct open_dir *open_dir = (struct open_dir *)dirp;
	struct mrmr_listing_entry entry;
	size_t len;

	if (sbuf != NULL) {
		SET_STAT_INVALID(*sbuf);
	}
	if (pool != NULL) {
		mrmr_listed_settle(mrmr_share_of(handle));
	}
	if (pool == NULL || !make_listing(pool, open_dir)) {
		return NULL;
	}
	if (open_dir->position >= mrmr_listing_count(open_dir->listing)) {
		return NULL;
	}
	entry = mrmr_listing_get(open_dir->listing, open_dir->position++);

	len = strlen(entry.name);
	if (len >= sizeof(open_dir->entry.d_name)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	memcpy(open_dir->entry.d_name, entry.name, len + 1);
	open_dir->entry.d_ino = entry.ino;
	open_dir->entry.d_off = (off_t)open_dir->position;
	open_dir->entry.d_type = entry.type;
	open_dir->entry.d_reclen = sizeof(open_dir->entry);

	if (!ISDOT(entry.name) && !ISDOTDOT(entry.name)) {
		look_at(handle, dirfsp, open_dir, &entry, sbuf);
	}
	return &open_dir->entry;
}

void mrmr_seekdir(struct vfs_handle_struct *handle, DIR *dirp, long offset)
{
	struct open_dir *open_dir = (struct open_dir *)dirp;

	open_dir->position = offset < 0 ? 0 : (size_t)offset;
}

/* 0 only before the first read: smbd takes 0 for the start. */
long mrmr_telldir(struct vfs_handle_struct *handle, DIR *dirp)
{
	struct open_dir *open_dir = (struct open_dir *)dirp;

	return (long)open_dir->position;
}

void mrmr_rewinddir(struct vfs_handle_struct *handle, DIR *dirp)
{
	struct open_dir *open_dir = (struct open_dir *)dirp;

	TALLOC_FREE(open_dir->listing);
	open_dir->position = 0;
}

int mrmr_closedir(struct vfs_handle_struct *handle, DIR *dirp)
{
	struct open_dir *open_dir = (struct open_dir *)dirp;
	struct mrmr_share *share = mrmr_share_of(handle);
	int ret;

	if (share != NULL) {
		mrmr_listed_settle(share);
	}
	ret = close(open_dir->fd);
	TALLOC_FREE(open_dir);
	return ret;
}
