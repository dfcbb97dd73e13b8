/*
 * MRMR: the catalogue: stripes by the set of members that they are on.
 *
 * A set that has stripes has a number, and the ids of its stripes in records of
 * 128, five bytes each. A stripe knows its position in there; when it goes, the
 * last one takes its place. So nothing is searched, and nothing grows with what
 * has gone.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>

#include <openssl/evp.h>
#include <talloc.h>

#include "catalog_private.h"

#define PER_CHUNK 128
#define ID_BYTES 5
#define KEY_MEMBERS_MAX 60 /* longer: their hash */

struct class
{
	uint64_t num_stripes;
	size_t num_members;
	uint16_t members[STRIPE_MEMBERS_MAX];
};

static void insert_member(uint16_t *members, size_t *num, uint16_t member)
{
	size_t i = *num;

	while (i > 0 && members[i - 1] > member) {
		i--;
	}
	if (i > 0 && members[i - 1] == member) {
		return;
	}
	memmove(&members[i + 1], &members[i], (*num - i) * sizeof(members[0]));
	members[i] = member;
	(*num)++;
}

size_t stripe_members(const struct mrmr_stripe *stripe, uint16_t *members)
{
	size_t num = 0;
	uint32_t i;

	for (i = 0; i < stripe->num_slots; i++) {
		insert_member(members, &num, stripe->slots[i].member);
	}
	for (i = 0; i < stripe->num_rows; i++) {
		insert_member(members, &num, stripe->rows[i].member);
	}
	return num;
}

static void pack_members(struct pack *p, const uint16_t *members, size_t num)
{
	size_t i;

	for (i = 0; i < num; i++) {
		pack_varint(p, members[i]);
	}
}

/* The key of the record that has a set's number. */
static int key_of_members(const uint16_t *members, size_t num, struct key *key)
{
	uint8_t sha256[EVP_MAX_MD_SIZE];
	struct pack p = {.mem_ctx = NULL};
	int ret = 0;

	pack_members(&p, members, num);
	if (p.failed) {
		errno = ENOMEM;
		ret = -1;
	} else if (p.len <= KEY_MEMBERS_MAX) {
		*key = key_of_bytes(RECORD_CLASS_OF, p.data, p.len);
	} else if (EVP_Digest(p.data, p.len, sha256, NULL, EVP_sha256(),
			      NULL) == 1) {
		/* no list of members is as long as this */
		memset(sha256 + 32, 0xff, KEY_MEMBERS_MAX + 1 - 32);
		*key = key_of_bytes(RECORD_CLASS_OF, sha256,
				    KEY_MEMBERS_MAX + 1);
	} else {
		errno = ENOMEM;
		ret = -1;
	}
	talloc_free(p.data);
	return ret;
}

/* ENOENT if there is no such class. */
static int class_load(struct mrmr_catalog *cat, uint32_t number,
		      struct class *class)
{
	struct key key = key_of_number(RECORD_CLASS, number);
	const uint8_t *value = NULL;
	struct unpack u;
	size_t len = 0;

	if (record_get(cat, &key, &value, &len) == -1) {
		return -1;
	}
	u = unpack_of(value, len);
	class->num_members = 0;
	class->num_stripes = unpack_upto(&u, ID_MAX);
	while (unpack_left(&u) > 0) {
		size_t i = class->num_members;
		uint16_t member = (uint16_t)unpack_upto(&u, MEMBERS_MAX - 1);

		if (i == STRIPE_MEMBERS_MAX ||
		    (i > 0 && member <= class->members[i - 1])) {
			unpack_fail(&u);
			break;
		}
		class->members[class->num_members++] = member;
	}
	if (!unpack_done(&u) || class->num_stripes == 0) {
		return damaged_record(cat, "a class of stripes");
	}
	return 0;
}

static int class_save(struct mrmr_catalog *cat, uint32_t number,
		      const struct class *class)
{
	struct key key = key_of_number(RECORD_CLASS, number);
	struct key key_of_set;
	struct pack p = {.mem_ctx = NULL};

	if (class->num_stripes == 0) {
		if (key_of_members(class->members, class->num_members,
				   &key_of_set) == -1 ||
		    record_delete(cat, &key_of_set) == -1 ||
		    bits_set(cat, BITS_CLASSES, number, false) == -1) {
			return -1;
		}
		return record_delete(cat, &key);
	}
	pack_varint(&p, class->num_stripes);
	pack_members(&p, class->members, class->num_members);
	return record_put_pack(cat, &key, &p);
}

static int class_find(struct mrmr_catalog *cat, const uint16_t *members,
		      size_t num, uint32_t *number)
{
	const uint8_t *value = NULL;
	struct unpack u;
	struct key key;
	size_t len = 0;

	if (key_of_members(members, num, &key) == -1 ||
	    record_get(cat, &key, &value, &len) == -1) {
		return -1;
	}
	u = unpack_of(value, len);
	*number = (uint32_t)unpack_upto(&u, UINT32_MAX);
	return unpack_done(&u) ? 0 : damaged_record(cat, "a class of stripes");
}

static int class_make(struct mrmr_catalog *cat, const uint16_t *members,
		      size_t num, uint32_t *number)
{
	struct pack p = {.mem_ctx = NULL};
	struct key key;
	int ret;

	if (cat->head.next_class == UINT32_MAX) {
		errno = EOVERFLOW;
		return -1;
	}
	*number = cat->head.next_class++;
	cat->head_is_dirty = true;
	if (key_of_members(members, num, &key) == -1) {
		return -1;
	}
	pack_varint(&p, *number);
	ret = record_put_pack(cat, &key, &p);
	return ret == 0 ? bits_set(cat, BITS_CLASSES, *number, true) : -1;
}

/* The ids of one chunk, as many as there must be. */
static int ids_load(struct mrmr_catalog *cat, uint32_t number,
		    uint64_t num_stripes, uint64_t chunk,
		    uint8_t ids[PER_CHUNK * ID_BYTES], size_t *num)
{
	struct key key = key_of_numbers(RECORD_CLASS_IDS, number, chunk);
	uint64_t left = num_stripes - chunk * PER_CHUNK;
	const uint8_t *value = NULL;
	size_t len = 0;

	*num = left < PER_CHUNK ? (size_t)left : PER_CHUNK;
	if (*num == 0) {
		return 0;
	}
	if (record_get(cat, &key, &value, &len) == -1) {
		return errno == ENOENT
			       ? damaged_record(cat, "a class of stripes")
			       : -1;
	}
	if (len != *num * ID_BYTES) {
		return damaged_record(cat, "a class of stripes");
	}
	memcpy(ids, value, len);
	return 0;
}

static int ids_save(struct mrmr_catalog *cat, uint32_t number, uint64_t chunk,
		    const uint8_t *ids, size_t num)
{
	struct key key = key_of_numbers(RECORD_CLASS_IDS, number, chunk);

	return num == 0 ? record_delete(cat, &key)
			: record_put(cat, &key, ids, num * ID_BYTES);
}

static uint64_t id_at(const uint8_t *ids, size_t i)
{
	struct unpack u = unpack_of(ids + i * ID_BYTES, ID_BYTES);

	return unpack_fixed(&u, ID_BYTES);
}

static void set_id(uint8_t *ids, size_t i, uint64_t id)
{
	size_t byte;

	for (byte = 0; byte < ID_BYTES; byte++) {
		ids[i * ID_BYTES + byte] = (uint8_t)(id >> (8 * byte));
	}
}

int class_add(struct mrmr_catalog *cat, const uint16_t *members, size_t num,
	      uint64_t id, uint32_t *number, uint64_t *position)
{
	uint8_t ids[PER_CHUNK * ID_BYTES];
	struct class class = {.num_stripes = 0};
	uint64_t chunk;
	size_t num_ids;

	if (class_find(cat, members, num, number) == 0) {
		if (class_load(cat, *number, &class) == -1) {
			return errno == ENOENT
				       ? damaged_record(cat,
							"a class of stripes")
				       : -1;
		}
	} else if (errno != ENOENT ||
		   class_make(cat, members, num, number) == -1) {
		return -1;
	}
	memcpy(class.members, members, num * sizeof(members[0]));
	class.num_members = num;
	*position = class.num_stripes;
	chunk = *position / PER_CHUNK;
	if (ids_load(cat, *number, class.num_stripes, chunk, ids, &num_ids) ==
	    -1) {
		return -1;
	}
	set_id(ids, num_ids, id);
	class.num_stripes++;
	if (ids_save(cat, *number, chunk, ids, num_ids + 1) == -1) {
		return -1;
	}
	return class_save(cat, *number, &class);
}

/* The stripe that was last in its class is at a new position. */
static int move_last(struct mrmr_catalog *cat, uint32_t number, uint64_t id,
		     uint64_t num_stripes, uint64_t position)
{
	uint8_t ids[PER_CHUNK * ID_BYTES];
	void *frame = talloc_new(NULL);
	struct stored_stripe stored;
	size_t num;
	int ret = stripe_load(cat, frame, id, &stored);

	if (ret == -1 && errno == ENOENT) {
		ret = damaged_record(cat, "a class of stripes");
	}
	if (ret == 0 && stored.class_number != number) {
		ret = damaged_record(cat, "a class of stripes");
	}
	if (ret == 0) {
		stored.class_position = position;
		ret = stripe_save(cat, &stored);
	}
	talloc_free(frame);
	if (ret == -1 || ids_load(cat, number, num_stripes,
				  position / PER_CHUNK, ids, &num) == -1) {
		return -1;
	}
	set_id(ids, position % PER_CHUNK, id);
	return ids_save(cat, number, position / PER_CHUNK, ids, num);
}

int class_remove(struct mrmr_catalog *cat, uint32_t number, uint64_t position)
{
	uint8_t ids[PER_CHUNK * ID_BYTES];
	struct class class;
	uint64_t last;
	uint64_t last_id;
	size_t num;

	if (class_load(cat, number, &class) == -1) {
		return errno == ENOENT
			       ? damaged_record(cat, "a class of stripes")
			       : -1;
	}
	last = class.num_stripes - 1;
	if (position > last) {
		return damaged_record(cat, "a class of stripes");
	}
	if (ids_load(cat, number, class.num_stripes, last / PER_CHUNK, ids,
		     &num) == -1) {
		return -1;
	}
	last_id = id_at(ids, num - 1);
	if (position != last && move_last(cat, number, last_id,
					  class.num_stripes, position) == -1) {
		return -1;
	}
	/* once more: they may be in the same chunk */
	if (ids_load(cat, number, class.num_stripes, last / PER_CHUNK, ids,
		     &num) == -1 ||
	    ids_save(cat, number, last / PER_CHUNK, ids, num - 1) == -1) {
		return -1;
	}
	class.num_stripes--;
	return class_save(cat, number, &class);
}

/* --- asking --------------------------------------------------------------------- */

static int add_to_list(struct mrmr_stripe_class **classes, size_t *num,
		       uint32_t number, const struct class *class)
{
	struct mrmr_stripe_class *list = *classes;
	struct mrmr_stripe_class *one = NULL;

	if (*num == talloc_array_length(list)) {
		list = talloc_realloc(NULL, list, struct mrmr_stripe_class,
				      2 * *num + 16);
		if (list == NULL) {
			errno = ENOMEM;
			return -1;
		}
		*classes = list;
	}
	one = &list[(*num)++];
	*one = (struct mrmr_stripe_class){
		.number = number,
		.num_stripes = class->num_stripes,
		.num_members = (uint16_t) class->num_members,
	};
	one->members =
		talloc_memdup(list, class->members,
			      class->num_members * sizeof(class->members[0]));
	if (one->members == NULL) {
		errno = ENOMEM;
		return -1;
	}
	return 0;
}

static int list_classes(struct mrmr_catalog *cat,
			struct mrmr_stripe_class **classes, size_t *num)
{
	uint64_t number = 0;

	while (bits_next(cat, BITS_CLASSES, &number, cat->head.next_class) ==
	       0) {
		struct class class;

		if (class_load(cat, (uint32_t)number, &class) == -1) {
			return errno == ENOENT
				       ? damaged_record(cat,
							"a class of stripes")
				       : -1;
		}
		if (add_to_list(classes, num, (uint32_t)number, &class) == -1) {
			return -1;
		}
		number++;
	}
	return errno == ENOENT ? 0 : -1;
}

int mrmr_catalog_classes(struct mrmr_catalog *cat, void *mem_ctx,
			 struct mrmr_stripe_class **classes, size_t *num)
{
	int ret;

	if (read_begin(cat) == -1) {
		return -1;
	}
	*num = 0;
	*classes = talloc_array(NULL, struct mrmr_stripe_class, 16);
	ret = list_classes(cat, classes, num);
	if (ret == 0) {
		talloc_steal(mem_ctx, *classes);
	} else {
		TALLOC_FREE(*classes);
	}
	return read_end(cat, ret);
}

static int list_stripes(struct mrmr_catalog *cat, uint32_t number,
			uint64_t *ids, uint32_t max, uint32_t *num)
{
	struct class class;
	uint64_t left;

	*num = 0;
	if (class_load(cat, number, &class) == -1) {
		return -1;
	}
	for (left = class.num_stripes; left > 0 && *num < max;) {
		uint8_t chunk[PER_CHUNK * ID_BYTES];
		size_t n;

		if (ids_load(cat, number, class.num_stripes,
			     (left - 1) / PER_CHUNK, chunk, &n) == -1) {
			return -1;
		}
		while (n > 0 && *num < max) {
			ids[(*num)++] = id_at(chunk, --n);
			left--;
		}
	}
	return 0;
}

int mrmr_catalog_class_stripes(struct mrmr_catalog *cat, uint32_t number,
			       uint64_t *ids, uint32_t max, uint32_t *num)
{
	if (read_begin(cat) == -1) {
		return -1;
	}
	return read_end(cat, list_stripes(cat, number, ids, max, num));
}
