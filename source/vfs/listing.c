/*
 * MRMR: the Samba module: reading directories.
 *
 * The DIR that smbd holds is ours: a snapshot of the union, made at the first
 * read, and a position in it.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "ghosts.h"

#include <mrmr/listing.h>

struct open_dir {
	int fd;                       /* the fsp's, closed by closedir */
	struct mrmr_listing *listing; /* NULL: still to be made */
	size_t position;
	uint64_t pool_serial; /* of the pool that the listing is of */
	struct mrmr_dir *dir; /* of fd, while the cache says so */
	uint64_t dirs_dropped;
	size_t num_ahead;    /* entries that were opened for smbd, */
	size_t num_vain;     /* those among them that it did not want */
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

void mrmr_listed_drop(struct mrmr_share *share)
{
	int saved_errno = errno;

	if (share->listed.dirfsp != NULL) {
		close(share->listed.fd);
		(*share->listed.num_vain)++;
		share->listed.dirfsp = NULL;
	}
	share->listed_place.fsp = NULL;
	errno = saved_errno;
}

/* Some names are hidden from clients. But who wants few of those that he gets
   searches for names, and opens little of what is opened for him. */
static bool is_search(const struct open_dir *open_dir)
{
	return open_dir->num_vain > 2 &&
	       open_dir->num_vain > open_dir->num_ahead / 4;
}

/*
 * smbd opens a file that it has got from a directory, and wants to know what
 * stat says of it before and after. Opening it here answers all three with one
 * open and one fstat. False if there is no file of that name.
 */
static bool open_ahead(struct mrmr_share *share,
		       const struct files_struct *dirfsp,
		       struct open_dir *open_dir, size_t member, int dir_fd,
		       struct stat *st)
{
	const char *name = open_dir->entry.d_name;
	int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd == -1) {
		return false;
	}
	if (fstat(fd, st) == -1 || !S_ISREG(st->st_mode)) {
		close(fd);
		return false;
	}
	share->listed = (struct mrmr_listed){
		.dirfsp = dirfsp,
		.name = name,
		.num_vain = &open_dir->num_vain,
		.fd = fd,
		.dir_fd = dir_fd,
		.ctime_tells = member != MRMR_IN_SPINE &&
			       share->pool->members[member].ctime_tells,
		.st = *st,
	};
	open_dir->num_ahead++;
	return true;
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
	if ((entry->type != DT_REG || is_search(open_dir) ||
	     !open_ahead(share, dirfsp, open_dir, entry->member, fd, &st)) &&
	    fstatat(fd, entry->name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
		return;
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
		mrmr_listed_drop(mrmr_share_of(handle));
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
	int ret = close(open_dir->fd);

	if (share != NULL) {
		mrmr_listed_drop(share);
	}
	TALLOC_FREE(open_dir);
	return ret;
}
