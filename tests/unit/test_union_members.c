/*
 * Unit tests: members that come and go, and where new files are placed.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <mrmr/shared.h>

#include "world.h"

#define MB (1u << 20)

static struct world *three(void)
{
	return world_new(&(struct world_shape){.num_members = 3});
}

static enum mrmr_member_state state_of(struct world *w, size_t member)
{
	return w->pool->members[member].state;
}

/* Everything that lies below the mount point itself, when nothing is mounted
   there. */
static unsigned int entries_under(struct world *w, size_t member)
{
	DIR *dir = opendir(world_member(w, member, ""));
	struct dirent *entry = NULL;
	unsigned int count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		count += entry->d_name[0] != '.' || entry->d_name[1] == 'm';
	}
	closedir(dir);
	return count;
}

static void marker_missing(void **state)
{
	struct world *w = three();

	world_write(world_member(w, 1, "f"), "1");
	assert_string_equal(do_read(w, "f"), "1");
	world_log();
	assert_return_code(unlink(world_member(w, 1, ".mrmr/config.json")),
			   errno);
	world_later(w);
	assert_int_equal(state_of(w, 1), MRMR_MEMBER_AWAY);
	assert_non_null(strstr(world_log(), "no marker"));
	assert_null(do_read(w, "f"));
	assert_string_equal(do_list(w, ""), "");
	assert_int_equal(do_create(w, "g", ""), 0);
	assert_int_not_equal(do_where(w, "g"), 1);
	assert_false(w->pool->all_online);
	world_free(w);
}

static void marker_of_another(void **state)
{
	struct world *w = three();
	char text[512];

	world_write(world_member(w, 1, "f"), "1");
	snprintf(text, sizeof(text), "%s",
		 world_read(world_member(w, 1, ".mrmr/config.json")));
	/* the marker of member 2, copied */
	world_write(world_member(w, 1, ".mrmr/config.json"),
		    world_read(world_member(w, 2, ".mrmr/config.json")));
	world_later(w);
	assert_int_equal(state_of(w, 1), MRMR_MEMBER_FOREIGN);
	assert_null(do_read(w, "f"));
	world_write(world_member(w, 1, ".mrmr/config.json"), "{}");
	world_later(w);
	assert_int_equal(state_of(w, 1), MRMR_MEMBER_AWAY);
	world_write(world_member(w, 1, ".mrmr/config.json"), text);
	world_later(w);
	assert_int_equal(state_of(w, 1), MRMR_MEMBER_ONLINE);
	assert_string_equal(do_read(w, "f"), "1");
	world_free(w);
}

/* Another drive at the same place, and the one that belongs there elsewhere. */
static void drive_replaced(void **state)
{
	struct world *w = three();

	world_write(world_member(w, 1, "f"), "1");
	world_write(world_member(w, 2, "g"), "2");
	world_unplug(w, 1);
	world_unplug(w, 2);
	assert_return_code(mount(world_drive(w, 2, ""), world_member(w, 1, ""),
				 NULL, MS_BIND, NULL),
			   errno);
	world_later(w);
	assert_int_equal(state_of(w, 1), MRMR_MEMBER_FOREIGN);
	assert_int_equal(state_of(w, 2), MRMR_MEMBER_AWAY);
	assert_string_equal(do_list(w, ""), "");
	assert_int_equal(do_create(w, "h", ""), 0);
	assert_int_equal(do_where(w, "h"), 0);
	world_unplug(w, 1);
	world_plug(w, 1);
	world_plug(w, 2);
	world_later(w);
	assert_string_equal(do_list(w, ""), "f g h");
	world_free(w);
}

static void mount_point_is_never_written_to(void **state)
{
	struct world *w = three();
	unsigned int i;
	char path[32];

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	world_write(world_member(w, 0, "d/f"), "0");
	world_write(world_member(w, 1, "d/g"), "1");
	assert_string_equal(do_list(w, "d"), "f g");
	/* Gone a moment ago, and nobody has looked since: what is written goes
	   to the drive, to which descriptors are open, or nowhere. */
	world_unplug(w, 0);
	world_unplug(w, 1);
	world_unplug(w, 2);
	for (i = 0; i < 20; i++) {
		snprintf(path, sizeof(path), "n%u", i);
		do_create(w, path, "");
		snprintf(path, sizeof(path), "d%u", i);
		do_mkdir(w, path, 0755);
		snprintf(path, sizeof(path), "d%u/f", i);
		do_create(w, path, "");
	}
	do_rename(w, "d", "moved");
	do_rename(w, "moved/f", "f");
	world_write(world_drive(w, 1, "f"), "loser");
	do_unlink(w, "f");
	do_unlink(w, "n1");
	do_rmdir(w, "d1");
	assert_int_equal(entries_under(w, 0), 0);
	assert_int_equal(entries_under(w, 1), 0);
	assert_int_equal(entries_under(w, 2), 0);
	world_later(w);
	assert_int_equal(do_create(w, "late", ""), ENODEV);
	assert_int_equal(do_mkdir(w, "late", 0755), ENODEV);
	assert_int_equal(do_symlink(w, "x", "late"), ENODEV);
	assert_string_equal(world_where(w, "late"), "");
	assert_int_equal(entries_under(w, 0), 0);
	assert_int_equal(entries_under(w, 1), 0);
	assert_int_equal(entries_under(w, 2), 0);
	/* opened, nobody is there */
	world_close(w);
	world_open(w);
	assert_int_equal(do_create(w, "late", ""), ENODEV);
	assert_int_equal(entries_under(w, 0), 0);
	world_free(w);
}

/* As above, but the drive is busy elsewhere: a plain umount and a mount in the
   middle of the second in which nobody looks. */
static void remount_in_between(void **state)
{
	struct world *w = three();
	struct stat st;
	uint32_t epoch;

	world_write(world_member(w, 1, "d/f"), "1");
	assert_string_equal(do_read(w, "d/f"), "1");
	epoch = w->pool->members[1].epoch;
	world_unplug(w, 1);
	world_plug(w, 1);
	world_later(w);
	/* the same drive, but another mount: the old one must be let go of */
	assert_int_equal(state_of(w, 1), MRMR_MEMBER_ONLINE);
	assert_int_not_equal(w->pool->members[1].epoch, epoch);
	assert_string_equal(do_read(w, "d/f"), "1");
	/* which shows when it can be unmounted without force */
	mrmr_pool_let_go(w->pool);
	assert_return_code(umount2(world_member(w, 1, ""), 0), errno);
	world_plug(w, 1);
	world_later(w);
	assert_string_equal(do_read(w, "d/f"), "1");
	assert_return_code(stat(world_member(w, 1, "d"), &st), errno);
	world_free(w);
}

static void read_only_remount(void **state)
{
	struct world *w = three();
	const char *root = NULL;
	unsigned int i;
	char path[32];

	world_write(world_member(w, 0, "f"), "0");
	world_write(world_member(w, 1, "g"), "1");
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	root = world_member(w, 0, "");
	mrmr_pool_let_go(w->pool);
	assert_return_code(mount(NULL, root, NULL,
				 MS_REMOUNT | MS_BIND | MS_RDONLY, NULL),
			   errno);
	for (i = 0; i < 10; i++) {
		snprintf(path, sizeof(path), "n%u", i);
		assert_int_equal(do_create(w, path, ""), 0);
		assert_int_not_equal(do_where(w, path), 0);
		snprintf(path, sizeof(path), "d/n%u", i);
		assert_int_equal(do_create(w, path, ""), 0);
	}
	assert_string_equal(do_read(w, "f"), "0");
	assert_int_equal(do_unlink(w, "f"), EROFS);
	assert_int_equal(do_rename(w, "f", "h"), EROFS);
	assert_int_equal(do_rename(w, "g", "f"), EROFS);
	assert_string_equal(do_read(w, "f"), "0");
	assert_string_equal(do_read(w, "g"), "1");
	world_later(w);
	assert_true(w->pool->members[0].read_only);
	assert_int_equal(mrmr_member_room(&w->pool->members[0]), 0);

	assert_return_code(mount(NULL, world_member(w, 1, ""), NULL,
				 MS_REMOUNT | MS_BIND | MS_RDONLY, NULL),
			   errno);
	assert_return_code(mount(NULL, world_member(w, 2, ""), NULL,
				 MS_REMOUNT | MS_BIND | MS_RDONLY, NULL),
			   errno);
	assert_int_equal(do_create(w, "late", ""), EROFS);
	world_later(w);
	assert_int_equal(do_create(w, "late", ""), EROFS);
	assert_int_equal(do_mkdir(w, "late", 0755), EROFS);
	assert_string_equal(world_where(w, "late"), "");
	assert_return_code(mount(NULL, world_member(w, 0, ""), NULL,
				 MS_REMOUNT | MS_BIND, NULL),
			   errno);
	world_later(w);
	assert_int_equal(do_create(w, "late", ""), 0);
	assert_string_equal(world_where(w, "late"), "0");
	world_free(w);
}

static void vanishing_and_returning(void **state)
{
	struct world *w = three();
	unsigned int round;

	world_write(world_member(w, 0, "d/f"), "0");
	world_write(world_member(w, 1, "d/g"), "1");
	for (round = 0; round < 5; round++) {
		assert_string_equal(do_list(w, "d"), "f g");
		world_unplug(w, 1);
		world_later(w);
		assert_int_equal(state_of(w, 1), MRMR_MEMBER_AWAY);
		assert_string_equal(do_list(w, "d"), "f");
		assert_null(do_read(w, "d/g"));
		assert_string_equal(do_read(w, "d/f"), "0");
		world_plug(w, 1);
		world_later(w);
		assert_int_equal(state_of(w, 1), MRMR_MEMBER_ONLINE);
		assert_string_equal(do_read(w, "d/g"), "1");
	}
	world_free(w);
}

static void eject_and_return(void **state)
{
	struct world *w = three();
	struct mrmr_shared *shared = w->pool->shared;
	int slot = w->pool->members[1].slot;

	world_write(world_member(w, 1, "d/g"), "1");
	assert_string_equal(do_list(w, "d"), "g");
	mrmr_shared_set_eject(shared, slot, MRMR_EJECT_ASKED);
	world_use(w); /* at once, not after a second */
	assert_int_equal(state_of(w, 1), MRMR_MEMBER_EJECTED);
	assert_string_equal(do_list(w, "d"), "");
	/* let go of: it can be unmounted; until then it stays ejected */
	world_later(w);
	assert_int_equal(state_of(w, 1), MRMR_MEMBER_EJECTED);
	assert_return_code(umount2(world_member(w, 1, ""), 0), errno);
	world_later(w);
	assert_int_equal(state_of(w, 1), MRMR_MEMBER_EJECTED);
	assert_int_equal(atomic_load(&shared->members[slot].eject),
			 MRMR_EJECT_GONE);
	world_plug(w, 1);
	world_later(w);
	assert_int_equal(state_of(w, 1), MRMR_MEMBER_ONLINE);
	assert_string_equal(do_read(w, "d/g"), "1");

	/* taken back without having left */
	mrmr_shared_set_eject(shared, slot, MRMR_EJECT_ASKED);
	world_use(w);
	assert_int_equal(state_of(w, 1), MRMR_MEMBER_EJECTED);
	mrmr_shared_set_eject(shared, slot, MRMR_EJECT_NONE);
	world_use(w);
	assert_int_equal(state_of(w, 1), MRMR_MEMBER_ONLINE);

	/* an idle process lets go of everything when asked to */
	mrmr_shared_set_eject(shared, slot, MRMR_EJECT_ASKED);
	mrmr_pool_idle(w->pool);
	assert_return_code(umount2(world_member(w, 1, ""), 0), errno);
	assert_return_code(umount2(world_member(w, 0, ""), 0), errno);
	world_plug(w, 0);
	world_use(w);
	assert_int_equal(state_of(w, 0), MRMR_MEMBER_ONLINE);
	assert_int_equal(state_of(w, 1), MRMR_MEMBER_EJECTED);
	world_free(w);
}

static void an_idle_process_lets_go(void **state)
{
	struct world *w = three();
	size_t m;

	world_write(world_member(w, 1, "d/g"), "1");
	assert_string_equal(do_list(w, "d"), "g");
	mrmr_pool_idle(w->pool);
	assert_true(w->pool->holds_members);
	w->pool->used_ns = mrmr_now_ns() - INT64_C(4000000000);
	mrmr_pool_idle(w->pool);
	assert_false(w->pool->holds_members);
	for (m = 0; m < 3; m++) {
		assert_return_code(umount2(world_member(w, m, ""), 0), errno);
		world_plug(w, m);
	}
	assert_string_equal(do_read(w, "d/g"), "1");
	world_free(w);
}

static void rename_while_a_member_is_ejected(void **state)
{
	struct world *w = three();
	int slot = w->pool->members[1].slot;

	world_write(world_member(w, 1, "d/g"), "1");
	assert_string_equal(do_list(w, "d"), "g");
	mrmr_shared_set_eject(w->pool->shared, slot, MRMR_EJECT_ASKED);
	assert_int_equal(do_rename(w, "d", "e"), 0);
	mrmr_shared_set_eject(w->pool->shared, slot, MRMR_EJECT_NONE);
	assert_string_equal(do_list(w, ""), "e/");
	assert_string_equal(do_read(w, "e/g"), "1");
	assert_string_equal(world_where(w, "d"), "");
	world_free(w);
}

/* File ids are made from it, so it must stay what it is. */
static void device_ids(void **state)
{
	struct world *w = three();
	struct stat a;
	struct stat b;
	uint64_t id_a;
	uint64_t id_b;

	assert_return_code(stat(world_drive(w, 0, ""), &a), errno);
	assert_return_code(stat(world_drive(w, 1, ""), &b), errno);
	id_a = mrmr_pool_device_id(w->pool, a.st_dev);
	id_b = mrmr_pool_device_id(w->pool, b.st_dev);
	assert_true(id_a != id_b);
	assert_true(id_a != a.st_dev && id_b != b.st_dev);
	world_close(w);
	world_unplug(w, 0);
	world_open(w);
	assert_true(mrmr_pool_device_id(w->pool, a.st_dev) == id_a);
	assert_true(mrmr_pool_device_id(w->pool, b.st_dev) == id_b);
	world_free(w);
}

/* The next drive that is plugged in gets the number of the one that left. */
static void a_device_number_is_given_to_another(void **state)
{
	struct world *w = three();
	struct mrmr_shared_member *slots = w->pool->shared->members;
	struct stat b;
	uint64_t id_b;

	assert_return_code(stat(world_drive(w, 1, ""), &b), errno);
	id_b = mrmr_pool_device_id(w->pool, b.st_dev);
	world_unplug(w, 0);
	world_unplug(w, 1);
	world_later(w);
	/* as if member 0 had been on that number when it was last seen */
	atomic_store(&slots[w->pool->members[0].slot].dev, b.st_dev);
	atomic_store(&slots[w->pool->members[1].slot].dev, 0);
	world_plug(w, 1);
	world_later(w);
	assert_true(mrmr_pool_device_id(w->pool, b.st_dev) == id_b);
	world_free(w);
}

/* On one file system, device numbers do not tell members apart. */
static void members_on_one_file_system(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3, .per_drive = 3});
	uint64_t total;
	uint64_t free_bytes;
	struct stat st;
	uint64_t id;

	assert_return_code(stat(world_drive(w, 2, ""), &st), errno);
	id = mrmr_pool_device_id(w->pool, st.st_dev);
	mrmr_pool_space(w->pool, &total, &free_bytes);
	assert_int_equal(total, 32 * MB);
	world_unplug(w, 0);
	world_later(w);
	assert_true(mrmr_pool_device_id(w->pool, st.st_dev) == id);
	mrmr_pool_space(w->pool, &total, &free_bytes);
	assert_int_equal(total, 32 * MB);
	world_plug(w, 0);
	world_later(w);
	assert_true(mrmr_pool_device_id(w->pool, st.st_dev) == id);
	world_free(w);
}

/* --- placement ------------------------------------------------------------- */

/* Fills a member until so many bytes are left. */
static void leave_free(struct world *w, size_t member, uint64_t left)
{
	struct mrmr_member *m = &w->pool->members[member];
	static unsigned int count;
	char name[32];
	int fd;

	world_later(w);
	snprintf(name, sizeof(name), "ballast%u", count++);
	fd = open(world_drive(w, member, name), O_WRONLY | O_CREAT, 0600);
	assert_return_code(fd, errno);
	assert_true(m->free_bytes >= left);
	if (m->free_bytes > left) {
		assert_return_code(posix_fallocate(fd, 0,
						   (off_t)(m->free_bytes -
							   left)),
				   0);
	}
	close(fd);
	world_later(w);
}

static void most_free_gets_it(void **state)
{
	struct world *w =
		world_new(&(struct world_shape){.num_members = 3,
						.sizes = {"8m", "16m", "12m"}});

	assert_int_equal(do_create(w, "a", ""), 0);
	assert_int_equal(do_where(w, "a"), 1);
	leave_free(w, 1, 6 * MB);
	assert_int_equal(do_create(w, "b", ""), 0);
	assert_int_equal(do_where(w, "b"), 2);
	leave_free(w, 2, 2 * MB);
	assert_int_equal(do_create(w, "c", ""), 0);
	assert_int_equal(do_where(w, "c"), 0);
	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	assert_string_equal(world_where(w, "d"), "s0");
	world_free(w);
}

static void other_policies(void **state)
{
	struct world *w = world_new(&(struct world_shape){
		.num_members = 3,
		.sizes = {"8m", "32m", "32m"},
		.config = ", \"placement\": \"most-free-percent\", "
			  "\"rules\": ["
			  "{\"match\": \"photos/*\", "
			  "\"placement\": \"keep-together\"},"
			  "{\"match\": \"*.iso\", \"members\": "
			  "[\"aaaa0002-0000-4000-8000-000000000002\"]}]"});
	size_t first;
	unsigned int i;
	char path[64];

	leave_free(w, 1, 16 * MB); /* half, of the small one nearly all */
	leave_free(w, 2, 20 * MB);
	assert_int_equal(do_create(w, "a", ""), 0);
	assert_int_equal(do_where(w, "a"), 0);
	assert_int_equal(do_create(w, "X.ISO", ""), 0);
	assert_int_equal(do_where(w, "X.ISO"), 2);

	assert_int_equal(do_mkdir(w, "photos", 0755), 0);
	assert_int_equal(do_mkdir(w, "photos/trip", 0755), 0);
	assert_int_equal(do_create(w, "photos/trip/0", ""), 0);
	first = do_where(w, "photos/trip/0");
	leave_free(w, first, 1 * MB); /* others have more room, but together */
	for (i = 1; i < 10; i++) {
		snprintf(path, sizeof(path), "photos/trip/%u", i);
		assert_int_equal(do_create(w, path, ""), 0);
		assert_int_equal(do_where(w, path), first);
	}
	/* the only ones that may have it are away */
	world_unplug(w, 2);
	world_later(w);
	assert_int_equal(do_create(w, "Y.iso", ""), ENODEV);
	assert_int_equal(do_create(w, "Y.txt", ""), 0);
	world_free(w);
}

static void reserves_are_kept(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 2,
				      .sizes = {"16m", "8m"},
				      .members = {", \"min_free\": \"12M\"",
						  ", \"min_free\": \"1M\""}});
	uint64_t total;
	uint64_t free_bytes;

	mrmr_pool_space(w->pool, &total, &free_bytes);
	assert_int_equal(total, 24 * MB);
	assert_true(free_bytes <= 11 * MB && free_bytes > 10 * MB);
	assert_int_equal(do_create(w, "a", ""), 0);
	assert_int_equal(do_where(w, "a"), 1);
	leave_free(w, 1, 2 * MB);
	assert_int_equal(do_create(w, "b", ""), 0);
	assert_int_equal(do_where(w, "b"), 0);
	leave_free(w, 1, MB / 2);
	leave_free(w, 0, 12 * MB);
	assert_int_equal(do_create(w, "c", ""), ENOSPC);
	assert_int_equal(do_mkdir(w, "c", 0755), ENOSPC);
	assert_string_equal(world_where(w, "c"), "");
	mrmr_pool_space(w->pool, &total, &free_bytes);
	assert_int_equal(free_bytes, 0);
	world_free(w);
}

static void announced_size_decides(void **state)
{
	struct world *w =
		world_new(&(struct world_shape){.num_members = 3,
						.sizes = {"4m", "32m", "16m"},
						.members = {"", ", \"tier\": 1",
							    ", \"tier\": 1"}});
	struct mrmr_place place;
	size_t member;
	int fd;

	world_use(w);
	assert_return_code(mrmr_place_find(w->pool, w->pool->spine_fd, "big",
					   &place),
			   errno);
	fd = mrmr_name_create(place.dir, "small", O_WRONLY, 0644, MB, &member);
	assert_return_code(fd, errno);
	close(fd);
	assert_int_equal(member, 0);
	fd = mrmr_name_create(place.dir, "big", O_WRONLY, 0644, 20 * MB,
			      &member);
	assert_return_code(fd, errno);
	close(fd);
	assert_int_equal(member, 1);
	/* more than anybody has: the name is made where one would begin */
	fd = mrmr_name_create(place.dir, "huge", O_WRONLY, 0644, 2000 * MB,
			      &member);
	assert_return_code(fd, errno);
	close(fd);
	assert_int_equal(member, 0);
	world_free(w);
}

/* Room that is there by count, but not in fact: inodes run out. */
static void full_members_are_passed_over(void **state)
{
	struct world *w = world_new(
		&(struct world_shape){.num_members = 3,
				      .sizes = {"64m,nr_inodes=40",
						"32m,nr_inodes=40", "16m"}});
	unsigned int i;
	char path[32];

	assert_int_equal(do_mkdir(w, "d", 0755), 0);
	for (i = 0; i < 100; i++) {
		snprintf(path, sizeof(path), "d/f%u", i);
		assert_int_equal(do_create(w, path, path), 0);
	}
	for (i = 0; i < 100; i++) {
		snprintf(path, sizeof(path), "d/f%u", i);
		assert_string_equal(do_read(w, path), path);
	}
	assert_string_equal(world_where(w, "d"), "s012");
	assert_int_equal(do_mkdir(w, "e", 0755), 0);
	assert_string_equal(world_where(w, "e"), "s2");
	world_free(w);
}

static void all_full_is_enospc(void **state)
{
	struct world *w =
		world_new(&(struct world_shape){.num_members = 2,
						.sizes = {"1m,nr_inodes=12",
							  "1m,nr_inodes=12"}});
	unsigned int i;
	char path[32];
	int error = 0;

	for (i = 0; error == 0; i++) {
		snprintf(path, sizeof(path), "f%u", i);
		error = do_create(w, path, "");
	}
	assert_int_equal(error, ENOSPC);
	assert_true(i > 8);
	assert_int_equal(do_mkdir(w, "d", 0755), ENOSPC);
	assert_string_equal(world_where(w, "d"), "");
	assert_int_equal(do_symlink(w, "x", "l"), ENOSPC);
	assert_int_equal(do_unlink(w, "f0"), 0);
	assert_int_equal(do_create(w, "again", ""), 0);
	world_free(w);
}

/* What the pool knew a second ago must not say "disk full". */
static void room_that_was_made_is_seen_at_once(void **state)
{
	struct world *w = world_new(&(
		struct world_shape){.num_members = 2,
				    .sizes = {"4m", "4m,nr_inodes=14"},
				    .members = {", \"min_free\": \"1M\"", ""}});
	unsigned int i;
	char path[32];
	int fd;

	fd = open(world_drive(w, 0, "ballast"), O_WRONLY | O_CREAT, 0600);
	assert_return_code(fd, errno);
	assert_return_code(posix_fallocate(fd, 0, 3 * MB + MB / 2), 0);
	world_later(w); /* member 0 is full, as far as it may be */
	/* so all goes to member 1, until its inodes run out */
	for (i = 0; do_create(w, "probe", "") == 0 && i < 20; i++) {
		snprintf(path, sizeof(path), "f%u", i);
		assert_int_equal(do_rename(w, "probe", path), 0);
		assert_int_equal(do_where(w, path), 1);
	}
	assert_true(i > 3 && i < 20);
	assert_return_code(ftruncate(fd, 0), errno);
	close(fd);
	assert_int_equal(do_create(w, "more", ""), 0);
	assert_int_equal(do_where(w, "more"), 0);
	world_free(w);
}

static void parity_members_come_last(void **state)
{
	struct world *w = world_new(&(
		struct world_shape){.num_members = 2,
				    .sizes = {"32m", "4m,nr_inodes=12"},
				    .members = {", \"role\": \"parity\"", ""}});
	unsigned int i;
	char path[32];

	assert_int_equal(do_create(w, "f", ""), 0);
	assert_int_equal(do_where(w, "f"), 1);
	for (i = 0; i < 20; i++) {
		snprintf(path, sizeof(path), "f%u", i);
		assert_int_equal(do_create(w, path, ""), 0);
	}
	assert_int_equal(do_where(w, "f19"), 0);
	world_free(w);
}

/* A user without rights on one member's file system is served by the others. */
static void a_member_that_refuses_a_user(void **state)
{
	struct world *w = three();

	assert_return_code(chmod(world_spine(w, ""), 0777), errno);
	world_later(w);
	do_list(w, "");
	/* as if its file system knew no better: and nobody may mend it */
	w->pool->members[0].no_owners = true;
	assert_return_code(chmod(world_member(w, 0, ""), 0700), errno);
	world_user(1000);
	assert_int_equal(do_create(w, "f", "x"), 0);
	assert_int_not_equal(do_where(w, "f"), 0);
	assert_string_equal(do_read(w, "f"), "x");
	assert_int_equal(do_create(w, "f", "x"), EEXIST);
	assert_int_equal(do_unlink(w, "f"), 0);
	world_user(0);
	world_free(w);
}

/* A user who may not, may nowhere: and is told so at once. */
static void a_user_who_may_not(void **state)
{
	struct world *w = three();

	world_write(world_member(w, 1, "f"), "1");
	world_write(world_member(w, 1, "secret"), "1");
	assert_return_code(chmod(world_member(w, 1, "secret"), 0600), errno);
	world_write(world_member(w, 2, "secret"), "2");
	world_user(1000);
	assert_int_equal(do_create(w, "g", ""), EACCES);
	assert_int_equal(do_mkdir(w, "g", 0755), EACCES);
	assert_int_equal(do_unlink(w, "f"), EACCES);
	assert_int_equal(do_rename(w, "f", "g"), EACCES);
	assert_int_not_equal(do_link(w, "f", "g"), 0);
	assert_string_equal(do_read(w, "f"), "1");
	/* not the copy that lost instead */
	assert_null(do_read(w, "secret"));
	assert_int_equal(errno, EACCES);
	world_user(0);
	assert_string_equal(world_where(w, "g"), "");
	world_free(w);
}

/* --- the shared page -------------------------------------------------------- */

static void the_page_outlives_a_boot(void **state)
{
	struct world *w = three();
	struct mrmr_error err = {0};
	int slot = w->pool->members[1].slot;
	struct mrmr_shared *shared = NULL;
	struct stat st;
	int fd;

	/* of a later version, larger: an smbd may still have it mapped */
	assert_return_code(truncate(world_path(w, "state/shared"),
				    sizeof(struct mrmr_shared) + 4096),
			   errno);
	mrmr_shared_set_eject(w->pool->shared, slot, MRMR_EJECT_ASKED);
	w->pool->shared->boot++;
	fd = open(world_path(w, "state"), O_RDONLY | O_DIRECTORY);
	assert_return_code(fd, errno);
	shared = mrmr_shared_open(fd, &err);
	assert_non_null(shared);
	assert_return_code(stat(world_path(w, "state/shared"), &st), errno);
	assert_int_equal(st.st_size, sizeof(struct mrmr_shared) + 4096);
	assert_int_equal(atomic_load(&shared->members[slot].dev), 0);
	assert_int_equal(atomic_load(&shared->members[slot].eject),
			 MRMR_EJECT_ASKED);
	/* of another version: nothing it says counts */
	shared->magic++;
	mrmr_shared_close(shared);
	shared = mrmr_shared_open(fd, &err);
	assert_non_null(shared);
	assert_int_equal(atomic_load(&shared->members[slot].eject),
			 MRMR_EJECT_NONE);
	mrmr_shared_close(shared);
	/* lost altogether: members are found again */
	assert_return_code(unlink(world_path(w, "state/shared")), errno);
	world_close(w);
	world_open(w);
	assert_true(w->pool->all_online);
	close(fd);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marker_missing),
		cmocka_unit_test(marker_of_another),
		cmocka_unit_test(drive_replaced),
		cmocka_unit_test(mount_point_is_never_written_to),
		cmocka_unit_test(remount_in_between),
		cmocka_unit_test(read_only_remount),
		cmocka_unit_test(vanishing_and_returning),
		cmocka_unit_test(eject_and_return),
		cmocka_unit_test(an_idle_process_lets_go),
		cmocka_unit_test(rename_while_a_member_is_ejected),
		cmocka_unit_test(device_ids),
		cmocka_unit_test(a_device_number_is_given_to_another),
		cmocka_unit_test(members_on_one_file_system),
		cmocka_unit_test(most_free_gets_it),
		cmocka_unit_test(other_policies),
		cmocka_unit_test(reserves_are_kept),
		cmocka_unit_test(announced_size_decides),
		cmocka_unit_test(full_members_are_passed_over),
		cmocka_unit_test(all_full_is_enospc),
		cmocka_unit_test(room_that_was_made_is_seen_at_once),
		cmocka_unit_test(parity_members_come_last),
		cmocka_unit_test(a_member_that_refuses_a_user),
		cmocka_unit_test(a_user_who_may_not),
		cmocka_unit_test(the_page_outlives_a_boot),
	};

	return WORLD_MAIN("union: members", tests);
}
