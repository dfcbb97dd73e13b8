/*
 * MRMR: the Samba module: changes that others make on members.
 *
 * Clients ask to be told of changes in a directory. What smbd does itself it
 * reports itself. What other programs do on a member has to be watched for:
 * smbd's own watcher sees the share's path only, and no file is ever changed
 * there.
 *
 * fanotify tells, other than inotify, which process made a change: those of
 * smbd are left out, or clients would hear of them twice. And as several smbds
 * can have clients that look at the same directory, the one that holds a lock
 * for it does the reporting, to Samba's notify daemon, which tells all. The
 * lock goes with its process, and another takes over within a second.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "watch.h"

#include <mrmr/fd_path.h>
#include <mrmr/log.h>
#include <mrmr/shared.h>

#include <sys/fanotify.h>

#include "librpc/gen_ndr/notify.h"

#define WATCHED_EVENTS                                             \
	(FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO | \
	 FAN_ATTRIB | FAN_CLOSE_WRITE | FAN_ONDIR | FAN_EVENT_ON_CHILD)
#define HANDLE_MAX 128 /* MAX_HANDLE_SZ */
#define EVENTS_SIZE 8192

/* What an event says of the directory it happened in. */
struct place_key {
	__kernel_fsid_t fsid;
	int type;
	unsigned int len;
	unsigned char bytes[HANDLE_MAX];
};

struct watch {
	struct watch *prev, *next;
	ino_t ino;    /* of the spine directory, and of its lock */
	int spine_fd; /* O_PATH: where it is when something happens */
	bool wanted;
	bool marked;
	uint32_t dirs_gen; /* of the pool when it was marked */
	uint32_t members_gen;
	struct place_key *keys; /* one for each clone */
	size_t num_keys;
};

struct mrmr_watcher {
	struct vfs_handle_struct *handle;
	int fd; /* of fanotify */
	int lock_fd;
	struct tevent_fd *fde;
	struct watch *watches;
	bool given_up;
};

static const struct {
	uint64_t event;
	uint32_t action;
	uint32_t filter; /* FILE_NAME stands for DIR_NAME, too */
} event_table[] = {
	{FAN_CREATE, NOTIFY_ACTION_ADDED, FILE_NOTIFY_CHANGE_FILE_NAME},
	{FAN_MOVED_TO, NOTIFY_ACTION_ADDED, FILE_NOTIFY_CHANGE_FILE_NAME},
	{FAN_MOVED_FROM, NOTIFY_ACTION_REMOVED, FILE_NOTIFY_CHANGE_FILE_NAME},
	{FAN_DELETE, NOTIFY_ACTION_REMOVED, FILE_NOTIFY_CHANGE_FILE_NAME},
	{FAN_ATTRIB, NOTIFY_ACTION_MODIFIED,
	 FILE_NOTIFY_CHANGE_ATTRIBUTES | FILE_NOTIFY_CHANGE_LAST_WRITE |
		 FILE_NOTIFY_CHANGE_LAST_ACCESS | FILE_NOTIFY_CHANGE_EA |
		 FILE_NOTIFY_CHANGE_SECURITY},
	{FAN_CLOSE_WRITE, NOTIFY_ACTION_MODIFIED,
	 FILE_NOTIFY_CHANGE_ATTRIBUTES | FILE_NOTIFY_CHANGE_LAST_WRITE |
		 FILE_NOTIFY_CHANGE_SIZE},
};

static int watcher_destructor(struct mrmr_watcher *watcher)
{
	while (watcher->watches != NULL) {
		struct watch *watch = watcher->watches;

		DLIST_REMOVE(watcher->watches, watch);
		close(watch->spine_fd);
		TALLOC_FREE(watch);
	}
	TALLOC_FREE(watcher->fde);
	if (watcher->fd != -1) {
		close(watcher->fd);
	}
	if (watcher->lock_fd != -1) {
		close(watcher->lock_fd);
	}
	return 0;
}

/* Is it an smbd that made this change? */
static bool is_smbd(pid_t pid)
{
	char own[PATH_MAX];
	char other[PATH_MAX];
	char link[64];
	ssize_t own_len;
	ssize_t len;

	if (pid == getpid()) {
		return true;
	}
	own_len = readlink("/proc/self/exe", own, sizeof(own));
	snprintf(link, sizeof(link), "/proc/%ld/exe", (long)pid);
	become_root();
	len = readlink(link, other, sizeof(other));
	unbecome_root();
	return len > 0 && len == own_len && memcmp(own, other, len) == 0;
}

static struct watch *find_watch(struct mrmr_watcher *watcher,
				const struct fanotify_event_info_fid *info)
{
	const struct file_handle *handle = (const void *)info->handle;
	struct watch *watch = NULL;
	size_t i;

	for (watch = watcher->watches; watch != NULL; watch = watch->next) {
		for (i = 0; i < watch->num_keys; i++) {
			const struct place_key *key = &watch->keys[i];

			if (key->type == handle->handle_type &&
			    key->len == handle->handle_bytes &&
			    memcmp(&key->fsid, &info->fsid,
				   sizeof(key->fsid)) == 0 &&
			    memcmp(key->bytes, handle->f_handle, key->len) ==
				    0) {
				return watch;
			}
		}
	}
	return NULL;
}

/* The name below the share's path; NULL if it is not there any more. */
static char *share_name(struct mrmr_watcher *watcher, struct watch *watch,
			const char *name)
{
	const char *root = watcher->handle->conn->connectpath;
	size_t root_len = strlen(root);
	char dir[PATH_MAX];

	if (mrmr_fd_path(watch->spine_fd, dir, sizeof(dir)) == -1) {
		return NULL;
	}
	if (strncmp(dir, root, root_len) != 0) {
		return NULL;
	}
	if (dir[root_len] == '\0') {
		return talloc_strdup(talloc_tos(), name);
	}
	return talloc_asprintf(talloc_tos(), "%s/%s", dir + root_len + 1, name);
}

static void report(struct mrmr_watcher *watcher, struct watch *watch,
		   uint64_t mask, const char *name)
{
	struct vfs_handle_struct *handle = watcher->handle;
	char *path = share_name(watcher, watch, name);
	size_t i;

	for (i = 0; path != NULL && i < ARRAY_SIZE(event_table); i++) {
		uint32_t filter = event_table[i].filter;

		if ((mask & event_table[i].event) == 0) {
			continue;
		}
		if ((mask & FAN_ONDIR) != 0 &&
		    filter == FILE_NOTIFY_CHANGE_FILE_NAME) {
			filter = FILE_NOTIFY_CHANGE_DIR_NAME;
		}
		notify_trigger(handle->conn->sconn->notify_ctx,
			       event_table[i].action, filter,
			       handle->conn->connectpath, path);
	}
	TALLOC_FREE(path);
}

static void one_event(struct mrmr_watcher *watcher,
		      const struct fanotify_event_metadata *event)
{
	const struct fanotify_event_info_fid *info = (const void *)(event + 1);
	const struct file_handle *handle = NULL;
	struct watch *watch = NULL;
	const char *name = NULL;

	if ((event->mask & FAN_Q_OVERFLOW) != 0) {
		DBG_WARNING("too many changes on members at once: clients "
			    "are not told of all of them\n");
		return;
	}
	if (event->event_len < sizeof(*event) + sizeof(*info) ||
	    info->hdr.info_type != FAN_EVENT_INFO_TYPE_DFID_NAME) {
		return;
	}
	watch = find_watch(watcher, info);
	if (watch == NULL || is_smbd(event->pid)) {
		return;
	}
	handle = (const void *)info->handle;
	name = (const char *)handle->f_handle + handle->handle_bytes;
	if (ISDOT(name) || strequal(name, ".mrmr")) {
		return;
	}
	report(watcher, watch, event->mask, name);
}

/* Names have any length, so what follows one event may lie anywhere: each is
   looked at where it is aligned. */
static void events_come(struct tevent_context *ev, struct tevent_fd *fde,
			uint16_t flags, void *private_data)
{
	struct mrmr_watcher *watcher = private_data;
	_Alignas(struct fanotify_event_metadata) char buf[EVENTS_SIZE];
	_Alignas(struct fanotify_event_metadata) char one[EVENTS_SIZE];
	const struct fanotify_event_metadata *event = (const void *)one;
	size_t pos = 0;
	ssize_t len;

	len = read(watcher->fd, buf, sizeof(buf));
	while (len > 0 && (size_t)len - pos >= sizeof(*event)) {
		memcpy(one, buf + pos, sizeof(*event));
		if (event->event_len < sizeof(*event) ||
		    event->event_len > (size_t)len - pos) {
			break;
		}
		memcpy(one, buf + pos, event->event_len);
		one_event(watcher, event);
		pos += event->event_len;
	}
}

static bool start(struct mrmr_watcher *watcher, struct mrmr_pool *pool)
{
	struct tevent_context *ev = watcher->handle->conn->sconn->ev_ctx;
	const char *what = NULL;

	if (watcher->fd != -1 || watcher->given_up) {
		return watcher->fd != -1;
	}
	become_root();
	watcher->lock_fd =
		openat(pool->state_fd, "watch.lock",
		       O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	watcher->fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC |
					    FAN_NONBLOCK | FAN_REPORT_DFID_NAME,
				    O_RDONLY);
	unbecome_root();

	what = strerror(errno);
	if (watcher->fd != -1 && watcher->lock_fd != -1) {
		watcher->fde =
			tevent_add_fd(ev, watcher, watcher->fd, TEVENT_FD_READ,
				      events_come, watcher);
		what = "out of memory";
	}
	if (watcher->fde == NULL) {
		DBG_WARNING("clients are not told of changes that others make "
			    "on members: %s\n",
			    what);
		watcher->given_up = true;
		if (watcher->fd != -1) {
			close(watcher->fd);
			watcher->fd = -1;
		}
	}
	return watcher->fde != NULL;
}

/* One lock per directory: the byte whose offset is its inode number. */
static bool lock_watch(struct mrmr_watcher *watcher, ino_t ino, short type)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)(ino & INT64_MAX),
		.l_len = 1,
	};

	return fcntl(watcher->lock_fd, F_OFD_SETLK, &lock) == 0;
}

static bool make_key(int fd, struct place_key *key)
{
	struct {
		struct file_handle handle;
		unsigned char bytes[HANDLE_MAX];
	} h = {.handle.handle_bytes = HANDLE_MAX};
	struct statfs fs;
	int mount_id;

	if (name_to_handle_at(fd, "", &h.handle, &mount_id, AT_EMPTY_PATH) ==
		    -1 ||
	    fstatfs(fd, &fs) == -1) {
		return false;
	}
	memcpy(&key->fsid, &fs.f_fsid, sizeof(key->fsid));
	key->type = h.handle.handle_type;
	key->len = h.handle.handle_bytes;
	memcpy(key->bytes, h.bytes, key->len);
	return true;
}

/* All clones that the directory has now. */
static void mark(struct mrmr_watcher *watcher, struct mrmr_pool *pool,
		 struct watch *watch, unsigned int how)
{
	struct mrmr_dir *dir = mrmr_dir_get(pool, watch->spine_fd);
	size_t i;

	TALLOC_FREE(watch->keys);
	watch->num_keys = 0;
	watch->dirs_gen = atomic_load(&pool->shared->dirs_gen);
	watch->members_gen = pool->looks;
	if (dir == NULL) {
		return;
	}
	watch->keys = talloc_array(watch, struct place_key, pool->num_members);
	if (watch->keys == NULL) {
		return;
	}
	become_root();
	for (i = 0; i < pool->num_members; i++) {
		int fd = mrmr_dir_on_member(dir, i);

		if (fd == -1 || !make_key(fd, &watch->keys[watch->num_keys])) {
			continue;
		}
		if (fanotify_mark(watcher->fd, how | FAN_MARK_ONLYDIR,
				  WATCHED_EVENTS, fd, NULL) == -1) {
			DBG_NOTICE("a directory of member %s cannot be "
				   "watched: %s\n",
				   mrmr_member_name(&pool->members[i]),
				   strerror(errno));
			continue;
		}
		watch->num_keys++;
	}
	unbecome_root();
	watch->marked = true;
}

struct wish_list {
	struct mrmr_watcher *watcher;
	struct mrmr_pool *pool;
};

static struct files_struct *look_at_fsp(struct files_struct *fsp,
					void *private_data)
{
	struct wish_list *list = private_data;
	struct mrmr_watcher *watcher = list->watcher;
	struct watch *watch = NULL;
	struct stat st;
	int fd = fsp_get_pathref_fd(fsp);

	if (fsp->notify == NULL || fsp->conn != watcher->handle->conn ||
	    fd < 0 || fstat(fd, &st) == -1 || !S_ISDIR(st.st_mode) ||
	    st.st_dev != list->pool->spine_dev) {
		return NULL;
	}
	for (watch = watcher->watches; watch != NULL; watch = watch->next) {
		if (watch->ino == st.st_ino) {
			watch->wanted = true;
			return NULL;
		}
	}
	watch = talloc_zero(watcher, struct watch);
	if (watch == NULL) {
		return NULL;
	}
	watch->ino = st.st_ino;
	watch->wanted = true;
	watch->spine_fd = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (watch->spine_fd == -1) {
		TALLOC_FREE(watch);
		return NULL;
	}
	DLIST_ADD(watcher->watches, watch);
	return NULL;
}

static void drop(struct mrmr_watcher *watcher, struct mrmr_pool *pool,
		 struct watch *watch)
{
	if (watch->marked) {
		mrmr_pool_use(pool);
		mark(watcher, pool, watch, FAN_MARK_REMOVE);
		lock_watch(watcher, watch->ino, F_UNLCK);
	}
	DLIST_REMOVE(watcher->watches, watch);
	close(watch->spine_fd);
	TALLOC_FREE(watch);
}

/* Marks go with the inodes, so an idle pool that has let go keeps its watches;
   they are made anew when clones or members have changed. */
static void refresh(struct mrmr_watcher *watcher, struct mrmr_pool *pool,
		    struct watch *watch)
{
	if (!watch->marked) {
		if (!lock_watch(watcher, watch->ino, F_WRLCK)) {
			return; /* another smbd reports */
		}
		mrmr_pool_use(pool);
		mark(watcher, pool, watch, FAN_MARK_ADD);
		return;
	}
	if (pool->holds_members &&
	    (watch->dirs_gen != atomic_load(&pool->shared->dirs_gen) ||
	     watch->members_gen != pool->looks)) {
		mark(watcher, pool, watch, FAN_MARK_ADD);
	}
}

void mrmr_watch_update(struct vfs_handle_struct *handle)
{
	struct mrmr_share *share = mrmr_share_of(handle);
	struct mrmr_watcher *watcher = share->watcher;
	struct wish_list list = {.pool = share->pool};
	struct watch *watch = NULL;
	struct watch *next = NULL;

	if (watcher == NULL) {
		watcher = talloc_zero(share, struct mrmr_watcher);
		if (watcher == NULL) {
			return;
		}
		watcher->handle = handle;
		watcher->fd = -1;
		watcher->lock_fd = -1;
		talloc_set_destructor(watcher, watcher_destructor);
		share->watcher = watcher;
	}
	for (watch = watcher->watches; watch != NULL; watch = watch->next) {
		watch->wanted = false;
	}
	list.watcher = watcher;
	files_forall(handle->conn->sconn, look_at_fsp, &list);
	if (watcher->watches == NULL || !start(watcher, share->pool)) {
		return;
	}
	for (watch = watcher->watches; watch != NULL; watch = next) {
		next = watch->next;
		if (watch->wanted) {
			refresh(watcher, share->pool, watch);
		} else {
			drop(watcher, share->pool, watch);
		}
	}
}
