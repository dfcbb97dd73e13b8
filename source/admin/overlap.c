/*
 * mrmr-admin: names that are on more than one member (see overlap.h).
 *
 * A stack of pool paths begins with the root. Each directory that is taken
 * from it is listed on all members that have it; the names are sorted, so that
 * equal ones, and those that differ in case only, come together; directories
 * that are on several members go onto the stack.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#include <talloc.h>

#include <mrmr/marker.h>

#include "admin.h"
#include "beneath.h"
#include "overlap.h"

struct entry {
	const char *name;
	const char *folded; /* as a client sees it that ignores case */
	size_t member;
	bool is_dir;
};

struct walk {
	const struct mrmr_pool *pool;
	overlap_fn *fn;
	void *private_data;
	char **stack; /* a talloc array, and the parent of what is in it */
	size_t num_stack;
	bool complete;
};

/* The names of one directory on all members. */
struct listing {
	struct walk *walk;
	const char *path;
	struct entry *entries; /* a talloc array, and the parent of names */
	size_t num;
	size_t *members; /* room for one overlap */
};

/* --- reading -------------------------------------------------------------- */

static char *fold(void *mem_ctx, const char *name)
{
	wchar_t wide[NAME_MAX + 1];
	char folded[4 * NAME_MAX + 1];
	size_t len = mbstowcs(wide, name, NAME_MAX);
	size_t i;

	if (len == (size_t)-1 || len >= NAME_MAX) {
		/* not UTF-8; clients see it changed beyond all case */
		return admin_need(talloc_strdup(mem_ctx, name));
	}
	for (i = 0; i < len; i++) {
		wide[i] = (wchar_t)towlower((wint_t)wide[i]);
	}
	wide[len] = L'\0';
	if (wcstombs(folded, wide, sizeof(folded)) == (size_t)-1) {
		return admin_need(talloc_strdup(mem_ctx, name));
	}
	folded[sizeof(folded) - 1] = '\0';
	return admin_need(talloc_strdup(mem_ctx, folded));
}

static bool is_dir(DIR *dir, const struct dirent *entry)
{
	struct stat st = {0};

	if (entry->d_type != DT_UNKNOWN) {
		return entry->d_type == DT_DIR;
	}
	return fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) ==
		       0 &&
	       S_ISDIR(st.st_mode);
}

static bool is_hidden(const struct listing *listing, const char *name)
{
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		return true;
	}
	return listing->path[0] == '\0' && mrmr_is_private_name(name);
}

static void add_entry(struct listing *listing, const char *name, size_t member,
		      bool entry_is_dir)
{
	size_t room = talloc_array_length(listing->entries);
	char *copy = NULL;

	if (listing->num == room) {
		listing->entries = admin_need(
			talloc_realloc(NULL, listing->entries, struct entry,
				       (unsigned int)(room == 0 ? 64
								: 2 * room)));
	}
	copy = admin_need(talloc_strdup(listing->entries, name));
	listing->entries[listing->num++] = (struct entry){
		.name = copy,
		.folded = fold(listing->entries, name),
		.member = member,
		.is_dir = entry_is_dir,
	};
}

/* Takes the descriptor over. */
static void read_entries(struct listing *listing, size_t member, int fd)
{
	DIR *dir = fdopendir(fd);
	const struct dirent *entry = NULL;

	if (dir == NULL) {
		close(fd);
		listing->walk->complete = false;
		return;
	}
	errno = 0;
	while ((entry = readdir(dir)) != NULL) {
		if (!is_hidden(listing, entry->d_name)) {
			add_entry(listing, entry->d_name, member,
				  is_dir(dir, entry));
		}
		errno = 0;
	}
	if (errno != 0) {
		listing->walk->complete = false;
	}
	closedir(dir);
}

/* --- comparing ------------------------------------------------------------ */

static int compare_entries(const void *a_void, const void *b_void)
{
	const struct entry *a = a_void;
	const struct entry *b = b_void;
	int result = strcmp(a->folded, b->folded);

	if (result == 0) {
		result = strcmp(a->name, b->name);
	}
	if (result == 0) {
		result = a->member < b->member ? -1 : a->member > b->member;
	}
	return result;
}

static char *join(void *mem_ctx, const char *path, const char *name)
{
	return admin_need(talloc_asprintf(mem_ctx, "%s%s%s", path,
					  path[0] != '\0' ? "/" : "", name));
}

static void report(struct listing *listing, enum overlap_kind kind,
		   const struct entry *entries, size_t num)
{
	struct walk *walk = listing->walk;
	char *path = join(NULL, listing->path, entries[0].name);
	struct overlap overlap = {
		.kind = kind,
		.path = path,
		.members = listing->members,
		.num_members = num,
	};
	size_t i;

	for (i = 0; i < num; i++) {
		listing->members[i] = entries[i].member;
	}
	walk->fn(&overlap, walk->private_data);
	talloc_free(path);
}

static void push(struct walk *walk, const char *path, const char *name)
{
	size_t room = talloc_array_length(walk->stack);

	if (walk->num_stack == room) {
		walk->stack = admin_need(
			talloc_realloc(NULL, walk->stack, char *,
				       (unsigned int)(2 * room + 16)));
	}
	walk->stack[walk->num_stack++] = join(walk->stack, path, name);
}

/* One name, on num members. */
static void look_at_name(struct listing *listing, const struct entry *entries,
			 size_t num)
{
	size_t dirs = 0;
	size_t i;

	if (num < 2) {
		return;
	}
	for (i = 0; i < num; i++) {
		dirs += entries[i].is_dir;
	}
	if (dirs == 0) {
		report(listing, OVERLAP_DUPLICATE, entries, num);
	} else if (dirs < num) {
		report(listing, OVERLAP_TYPE, entries, num);
	}
	if (dirs > 1) {
		push(listing->walk, listing->path, entries[0].name);
	}
}

static int compare_members(const void *a_void, const void *b_void)
{
	const struct entry *a = a_void;
	const struct entry *b = b_void;

	return a->member < b->member ? -1 : a->member > b->member;
}

/*
 * Names that are one to a client that ignores case. On one member alone, they
 * are what a plain share would have, too. One of them is told of each member.
 */
static void look_at_case(struct listing *listing, const struct entry *entries,
			 size_t num)
{
	struct entry seen[MRMR_MEMBERS_MAX];
	size_t num_seen = 0;
	bool differ = false;
	size_t i;
	size_t j;

	for (i = 0; i < num; i++) {
		for (j = 0; j < num_seen; j++) {
			if (seen[j].member == entries[i].member) {
				break;
			}
		}
		if (j == num_seen && num_seen < MRMR_MEMBERS_MAX) {
			seen[num_seen++] = entries[i];
		}
		differ |= strcmp(entries[0].name, entries[i].name) != 0;
	}
	if (differ && num_seen > 1) {
		qsort(seen, num_seen, sizeof(seen[0]), compare_members);
		report(listing, OVERLAP_CASE, seen, num_seen);
	}
}

static void look_at_names(struct listing *listing)
{
	const struct entry *all = listing->entries;
	size_t i = 0;

	if (listing->num == 0) {
		return;
	}
	qsort(listing->entries, listing->num, sizeof(*all), compare_entries);
	while (i < listing->num) {
		size_t same_case = i;
		size_t same_name = i;

		while (same_case < listing->num &&
		       strcmp(all[i].folded, all[same_case].folded) == 0) {
			if (strcmp(all[same_name].name, all[same_case].name) !=
			    0) {
				look_at_name(listing, &all[same_name],
					     same_case - same_name);
				same_name = same_case;
			}
			same_case++;
		}
		look_at_name(listing, &all[same_name], same_case - same_name);
		look_at_case(listing, &all[i], same_case - i);
		i = same_case;
	}
}

/* --- rights --------------------------------------------------------------- */

/* FAT, exFAT and NTFS show the same owner and mode for everything. */
static bool keeps_owners(int fd)
{
	struct statfs fs = {0};

	if (fstatfs(fd, &fs) == -1) {
		return false;
	}
	switch ((unsigned long)fs.f_type) {
	case 0x4d44:
	case 0x2011bab0:
	case 0x5346544e:
	case 0x7366746e:
		return false;
	}
	return true;
}

static void look_at_rights(struct listing *listing, const int *fds)
{
	struct walk *walk = listing->walk;
	struct overlap overlap = {
		.kind = OVERLAP_RIGHTS,
		.path = listing->path,
		.members = listing->members,
	};
	struct stat first = {0};
	struct stat st = {0};
	bool differ = false;
	size_t i;

	for (i = 0; i < walk->pool->num_members; i++) {
		if (fds[i] == -1 || !keeps_owners(fds[i]) ||
		    fstat(fds[i], &st) == -1) {
			continue;
		}
		if (overlap.num_members == 0) {
			first = st;
		}
		listing->members[overlap.num_members++] = i;
		differ |= st.st_mode != first.st_mode ||
			  st.st_uid != first.st_uid ||
			  st.st_gid != first.st_gid;
	}
	if (differ) {
		walk->fn(&overlap, walk->private_data);
	}
}

/* --- walking -------------------------------------------------------------- */

static void visit(struct walk *walk, const char *path)
{
	const struct mrmr_pool *pool = walk->pool;
	struct listing listing = {.walk = walk, .path = path};
	int fds[MRMR_MEMBERS_MAX];
	size_t num_fds = 0;
	size_t i;

	listing.members = admin_need(
		talloc_array(NULL, size_t, (unsigned int)pool->num_members));
	for (i = 0; i < pool->num_members; i++) {
		fds[i] = -1;
		if (pool->members[i].state != MRMR_MEMBER_ONLINE) {
			continue;
		}
		fds[i] = admin_open_beneath(pool->members[i].root_fd, path);
		if (fds[i] != -1) {
			num_fds++;
		} else if (errno != ENOENT && errno != ENOTDIR &&
			   errno != ELOOP) {
			walk->complete = false;
		}
	}
	if (num_fds > 1) {
		look_at_rights(&listing, fds);
	}
	for (i = 0; i < pool->num_members; i++) {
		if (fds[i] != -1 && num_fds > 1) {
			read_entries(&listing, i, fds[i]);
		} else if (fds[i] != -1) {
			close(fds[i]);
		}
	}
	look_at_names(&listing);
	talloc_free(listing.entries);
	talloc_free(listing.members);
}

static time_t seconds_now(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

bool admin_overlaps_find(const struct mrmr_pool *pool, unsigned int seconds,
			 overlap_fn *fn, void *private_data)
{
	struct walk walk = {
		.pool = pool,
		.fn = fn,
		.private_data = private_data,
		.complete = true,
	};
	time_t end = seconds_now() + (time_t)seconds;

	/* whatever the user's language, names are UTF-8 */
	setlocale(LC_CTYPE, "C.UTF-8");
	push(&walk, "", "");
	while (walk.num_stack > 0) {
		char *path = walk.stack[--walk.num_stack];

		if (seconds != 0 && seconds_now() >= end) {
			walk.complete = false;
			break;
		}
		visit(&walk, path);
		talloc_free(path);
	}
	talloc_free(walk.stack);
	return walk.complete;
}
