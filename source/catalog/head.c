/*
 * MRMR: the catalogue: what is there once: the head, members, notes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <talloc.h>

#include <mrmr/log.h>

#include "catalog_private.h"

#define MAGIC "mrmrcat"
#define NOTE_NAME_MAX 64
#define NOTE_MAX ((size_t)1 << 20)

int damaged_record(struct mrmr_catalog *cat, const char *what)
{
	mrmr_log(MRMR_LOG_ERROR,
		 "%s is damaged: a record makes no sense (%s)%s",
		 store_name(cat->store), what,
		 cat->is_part ? "" : "; run 'mrmr-admin recover'");
	cat->is_damaged = true;
	errno = EILSEQ;
	return -1;
}

/* --- head --------------------------------------------------------------------- */

int head_save(struct mrmr_catalog *cat)
{
	const struct head *head = &cat->head;
	struct key key = key_of(RECORD_HEAD);
	struct pack p = {.mem_ctx = NULL};

	pack_bytes(&p, MAGIC, strlen(MAGIC));
	pack_varint(&p, FORMAT_VERSION);
	pack_fixed(&p, cat->is_part, 1);
	pack_bytes(&p, head->pool_id.byte, sizeof(head->pool_id.byte));
	pack_bytes(&p, head->self_id.byte, sizeof(head->self_id.byte));
	pack_fixed(&p, head->seed, 8);
	pack_varint(&p, head->sequence);
	pack_varint(&p, head->next_id);
	pack_varint(&p, head->next_stripe);
	pack_varint(&p, head->next_class);
	pack_varint(&p, head->num_members);
	pack_varint(&p, head->num_blobs);
	pack_varint(&p, head->num_blob_buckets);
	pack_varint(&p, head->log_first);
	pack_varint(&p, head->log_items);
	pack_varint(&p, head->member);
	return record_put_pack(cat, &key, &p);
}

static int refuse(struct mrmr_catalog *cat, struct mrmr_error *err,
		  const char *why)
{
	return mrmr_error_set(err, EILSEQ, "%s %s", store_name(cat->store),
			      why);
}

int head_load(struct mrmr_catalog *cat, struct mrmr_error *err)
{
	struct key key = key_of(RECORD_HEAD);
	struct head *head = &cat->head;
	const uint8_t *value = NULL;
	const uint8_t *magic = NULL;
	uint64_t version;
	struct unpack u;
	size_t len = 0;

	if (record_get(cat, &key, &value, &len) == -1) {
		if (errno == ENOENT || errno == EILSEQ) {
			return refuse(cat, err,
				      "is damaged (it has no head); run "
				      "'mrmr-admin recover'");
		}
		return mrmr_error_set(err, errno, "%s cannot be read: %s",
				      store_name(cat->store), strerror(errno));
	}
	u = unpack_of(value, len);
	magic = unpack_bytes(&u, strlen(MAGIC));
	version = unpack_varint(&u);
	if (magic == NULL || memcmp(magic, MAGIC, strlen(MAGIC)) != 0) {
		return refuse(cat, err, "is not a catalogue of MRMR");
	}
	if (version != FORMAT_VERSION) {
		return refuse(cat, err,
			      "has a format that this version of MRMR does "
			      "not know; use the version that wrote it, or a "
			      "later one");
	}
	if (unpack_fixed(&u, 1) != cat->is_part) {
		return refuse(cat, err,
			      cat->is_part ? "is a whole catalogue, not the "
					     "part of a member"
					   : "is the part of a member, not a "
					     "whole catalogue");
	}
	unpack_copy(&u, head->pool_id.byte, sizeof(head->pool_id.byte));
	unpack_copy(&u, head->self_id.byte, sizeof(head->self_id.byte));
	head->seed = unpack_fixed(&u, 8);
	head->sequence = unpack_varint(&u);
	head->next_id = unpack_upto(&u, ID_MAX);
	head->next_stripe = unpack_upto(&u, ID_MAX);
	head->next_class = (uint32_t)unpack_upto(&u, UINT32_MAX);
	head->num_members = (uint16_t)unpack_upto(&u, MEMBERS_MAX);
	head->num_blobs = unpack_varint(&u);
	head->num_blob_buckets = unpack_upto(&u, (uint64_t)1 << 31);
	head->log_first = unpack_varint(&u);
	head->log_items = unpack_varint(&u);
	head->member = (uint16_t)unpack_upto(&u, MRMR_MEMBER_NONE);
	if (!unpack_done(&u) || head->num_blob_buckets == 0) {
		return refuse(cat, err,
			      "is damaged (its head makes no sense); run "
			      "'mrmr-admin recover'");
	}
	cat->head_is_dirty = false;
	return 0;
}

int head_init(struct mrmr_catalog *cat, const struct mrmr_uuid *pool_id)
{
	cat->head = (struct head){
		.pool_id = *pool_id,
		.next_id = FIRST_ID,
		.next_stripe = 1,
		.next_class = 1,
		.num_blob_buckets = 1,
		.member = MRMR_MEMBER_NONE,
	};
	if (mrmr_uuid_generate(&cat->head.self_id) == -1 ||
	    getrandom(&cat->head.seed, sizeof(cat->head.seed), 0) !=
		    sizeof(cat->head.seed)) {
		return -1;
	}
	return 0;
}

uint64_t mrmr_catalog_sequence(struct mrmr_catalog *cat)
{
	uint64_t sequence = 0;

	if (read_begin(cat) == 0) {
		sequence = cat->head.sequence;
		read_end(cat, 0);
	}
	return sequence;
}

/* --- members -------------------------------------------------------------------- */

static uint16_t member_number(struct mrmr_catalog *cat,
			      const struct mrmr_uuid *id)
{
	struct key key =
		key_of_bytes(RECORD_MEMBER_ID, id->byte, sizeof(id->byte));
	const uint8_t *value = NULL;
	uint16_t number;
	struct unpack u;
	size_t len = 0;

	if (record_get(cat, &key, &value, &len) == -1) {
		return MRMR_MEMBER_NONE;
	}
	u = unpack_of(value, len);
	number = (uint16_t)unpack_upto(&u, MEMBERS_MAX - 1);
	if (!unpack_done(&u)) {
		damaged_record(cat, "a member");
		return MRMR_MEMBER_NONE;
	}
	return number;
}

uint16_t mrmr_catalog_member(struct mrmr_catalog *cat,
			     const struct mrmr_uuid *id)
{
	uint16_t number;

	if (read_begin(cat) == -1) {
		return MRMR_MEMBER_NONE;
	}
	number = member_number(cat, id);
	read_end(cat, 0);
	return number;
}

int member_put(struct mrmr_catalog *cat, uint16_t number,
	       const struct mrmr_uuid *id)
{
	struct key by_id =
		key_of_bytes(RECORD_MEMBER_ID, id->byte, sizeof(id->byte));
	struct key by_number = key_of_number(RECORD_MEMBER, number);
	struct pack p = {.mem_ctx = NULL};
	int ret;

	pack_varint(&p, number);
	ret = record_put_pack(cat, &by_id, &p);
	if (ret == -1) {
		return -1;
	}
	if (number >= cat->head.num_members) {
		cat->head.num_members = number + 1;
		cat->head_is_dirty = true;
	}
	return record_put(cat, &by_number, id->byte, sizeof(id->byte));
}

/* It would get a second number, if the record that leads to the first one was lost. */
static int check_is_new(struct mrmr_catalog *cat, const struct mrmr_uuid *id)
{
	struct mrmr_uuid other;
	uint16_t i;

	for (i = 0; i < cat->head.num_members; i++) {
		if (member_id(cat, i, &other) == -1) {
			if (errno != ENOENT) {
				return -1;
			}
		} else if (mrmr_uuid_equal(&other, id)) {
			return damaged_record(cat, "a member");
		}
	}
	return 0;
}

static int add_member(struct mrmr_catalog *cat, const struct mrmr_uuid *id,
		      uint16_t *number)
{
	errno = 0;
	*number = member_number(cat, id);
	if (*number != MRMR_MEMBER_NONE) {
		return 0;
	}
	if (errno != ENOENT || check_is_new(cat, id) == -1) {
		return -1;
	}
	if (cat->head.num_members >= MEMBERS_MAX) {
		errno = EOVERFLOW;
		return -1;
	}
	*number = cat->head.num_members;
	return member_put(cat, *number, id);
}

int mrmr_catalog_add_member(struct mrmr_catalog *cat,
			    const struct mrmr_uuid *id, uint16_t *number)
{
	if (change_begin(cat) == -1) {
		return -1;
	}
	return change_end(cat, add_member(cat, id, number));
}

int member_id(struct mrmr_catalog *cat, uint16_t number, struct mrmr_uuid *id)
{
	struct key key = key_of_number(RECORD_MEMBER, number);
	const uint8_t *value = NULL;
	size_t len = 0;

	if (record_get(cat, &key, &value, &len) == -1) {
		return -1;
	}
	if (len != sizeof(id->byte)) {
		return damaged_record(cat, "a member");
	}
	memcpy(id->byte, value, sizeof(id->byte));
	return 0;
}

int mrmr_catalog_member_id(struct mrmr_catalog *cat, uint16_t number,
			   struct mrmr_uuid *id)
{
	if (read_begin(cat) == -1) {
		return -1;
	}
	return read_end(cat, member_id(cat, number, id));
}

uint16_t mrmr_catalog_num_members(struct mrmr_catalog *cat)
{
	uint16_t num = 0;

	if (read_begin(cat) == 0) {
		num = cat->head.num_members;
		read_end(cat, 0);
	}
	return num;
}

/* --- notes -------------------------------------------------------------------- */

uint8_t *mrmr_catalog_get_note(struct mrmr_catalog *cat, void *mem_ctx,
			       const char *name, size_t *len)
{
	struct key key = key_of_bytes(RECORD_NOTE, name, strlen(name));
	const uint8_t *value = NULL;
	uint8_t *copy = NULL;
	size_t value_len = 0;

	if (strlen(name) > NOTE_NAME_MAX) {
		errno = ENOENT;
		return NULL;
	}
	if (read_begin(cat) == -1) {
		return NULL;
	}
	if (record_get(cat, &key, &value, &value_len) == 0) {
		/* a record is never empty, a note may be */
		*len = value_len - 1;
		copy = talloc_size(mem_ctx, *len + 1);
		if (copy == NULL) {
			errno = ENOMEM;
		} else {
			memcpy(copy, value + 1, *len);
			copy[*len] = '\0';
		}
	}
	read_end(cat, copy != NULL ? 0 : -1);
	return copy;
}

static int put_note(struct mrmr_catalog *cat, const char *name,
		    const uint8_t *value, size_t len)
{
	struct key key = key_of_bytes(RECORD_NOTE, name, strlen(name));
	struct pack p = {.mem_ctx = NULL};

	if (*name == '\0' || strlen(name) > NOTE_NAME_MAX || len > NOTE_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (value == NULL) {
		return record_delete(cat, &key);
	}
	pack_fixed(&p, 0, 1);
	pack_bytes(&p, value, len);
	return record_put_pack(cat, &key, &p);
}

bool mrmr_catalog_has_note(struct mrmr_catalog *cat, const char *name)
{
	size_t len = 0;
	uint8_t *value = mrmr_catalog_get_note(cat, NULL, name, &len);
	bool has = value != NULL || errno != ENOENT;

	talloc_free(value);
	return has;
}

int mrmr_catalog_put_note(struct mrmr_catalog *cat, const char *name,
			  const uint8_t *value, size_t len)
{
	if (change_begin(cat) == -1) {
		return -1;
	}
	return change_end(cat, put_note(cat, name, value, len));
}
