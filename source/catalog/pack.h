/*
 * MRMR: the catalogue: numbers and bytes in records.
 *
 * What is read may come from a stick that somebody prepared: reading never
 * leaves the record, and a record that is nonsense sets `bad`, after which
 * everything reads as zero. So a decoder reads what it wants and looks at `bad`
 * once, before it uses a number as a size, and at the end.
 *
 * Numbers of fixed width are little-endian. A varint has seven bits a byte, low
 * ones first, the top bit says that more follow. A signed varint is a varint of
 * (n << 1) ^ (n >> 63).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef CATALOG_PACK_H
#define CATALOG_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <talloc.h>

struct unpack {
	const uint8_t *at;
	const uint8_t *end;
	bool bad;
};

static inline struct unpack unpack_of(const uint8_t *data, size_t len)
{
	/* nothing may be at NULL, to which nothing may be added, not even 0 */
	return (struct unpack){.at = data, .end = len > 0 ? data + len : data};
}

static inline size_t unpack_left(const struct unpack *u)
{
	return (size_t)(u->end - u->at);
}

static inline void unpack_fail(struct unpack *u)
{
	u->bad = true;
	u->at = u->end;
}

/* NULL if there are fewer. */
static inline const uint8_t *unpack_bytes(struct unpack *u, uint64_t len)
{
	const uint8_t *bytes = u->at;

	if (len > unpack_left(u)) {
		unpack_fail(u);
		return NULL;
	}
	if (len > 0) {
		u->at += len;
	}
	return bytes;
}

static inline uint64_t unpack_fixed(struct unpack *u, unsigned int num_bytes)
{
	const uint8_t *bytes = unpack_bytes(u, num_bytes);
	uint64_t n = 0;
	unsigned int i;

	for (i = 0; bytes != NULL && i < num_bytes; i++) {
		n |= (uint64_t)bytes[i] << (8 * i);
	}
	return n;
}

static inline uint64_t unpack_varint(struct unpack *u)
{
	uint64_t n = 0;
	unsigned int shift;

	for (shift = 0; shift < 64 && u->at < u->end; shift += 7) {
		uint8_t byte = *u->at++;

		if (shift == 63 && byte > 1) {
			break;
		}
		n |= (uint64_t)(byte & 0x7f) << shift;
		if ((byte & 0x80) == 0) {
			return n;
		}
	}
	unpack_fail(u);
	return 0;
}

/* A varint that must not be above max. */
static inline uint64_t unpack_upto(struct unpack *u, uint64_t max)
{
	uint64_t n = unpack_varint(u);

	if (n > max) {
		unpack_fail(u);
		return 0;
	}
	return n;
}

static inline int64_t unpack_signed(struct unpack *u)
{
	uint64_t n = unpack_varint(u);

	return (int64_t)((n >> 1) ^ (0 - (n & 1)));
}

static inline void unpack_copy(struct unpack *u, void *to, size_t len)
{
	const uint8_t *bytes = unpack_bytes(u, len);

	if (bytes != NULL) {
		memcpy(to, bytes, len);
	} else {
		memset(to, 0, len);
	}
}

/* Was all of it read, and all of it sense? */
static inline bool unpack_done(const struct unpack *u)
{
	return !u->bad && u->at == u->end;
}

/* A buffer that grows; its data is a talloc child of mem_ctx. */
struct pack {
	void *mem_ctx;
	uint8_t *data;
	size_t len;
	size_t size;
	bool failed; /* no memory */
};

static inline uint8_t *pack_room(struct pack *p, size_t len)
{
	uint8_t *to = NULL;

	if (p->len + len > p->size || p->data == NULL) {
		size_t size = 2 * p->size + len + 256;
		uint8_t *data =
			talloc_realloc(p->mem_ctx, p->data, uint8_t, size);

		if (data == NULL) {
			p->failed = true;
			return NULL;
		}
		p->data = data;
		p->size = size;
	}
	to = p->data + p->len;
	p->len += len;
	return to;
}

static inline void pack_bytes(struct pack *p, const void *bytes, size_t len)
{
	uint8_t *to = pack_room(p, len);

	if (to != NULL && len > 0) {
		memcpy(to, bytes, len);
	}
}

static inline void pack_fixed(struct pack *p, uint64_t n,
			      unsigned int num_bytes)
{
	uint8_t *to = pack_room(p, num_bytes);
	unsigned int i;

	for (i = 0; to != NULL && i < num_bytes; i++) {
		to[i] = (uint8_t)(n >> (8 * i));
	}
}

#define VARINT_MAX 10

/* How many bytes it takes. */
static inline size_t varint_of(uint64_t n, uint8_t bytes[VARINT_MAX])
{
	size_t len = 0;

	while (n >= 0x80) {
		bytes[len++] = (uint8_t)(n | 0x80);
		n >>= 7;
	}
	bytes[len++] = (uint8_t)n;
	return len;
}

static inline void pack_varint(struct pack *p, uint64_t n)
{
	uint8_t bytes[VARINT_MAX];

	pack_bytes(p, bytes, varint_of(n, bytes));
}

static inline void pack_signed(struct pack *p, int64_t n)
{
	pack_varint(p, ((uint64_t)n << 1) ^ (uint64_t)(n >> 63));
}

#endif
