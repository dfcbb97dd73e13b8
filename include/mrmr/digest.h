/*
 * MRMR: SHA-256, which tells what a block is, and the checksum beside it.
 *
 * A block's SHA-256 identifies it and proves that it is right. The checksum
 * (XXH3 with 64 bits) costs a tenth, and finds what drives do to bytes, though
 * not what somebody does on purpose: for scrubs.
 *
 * For any thread. Without enough memory for OpenSSL's own structures the
 * process is ended: there is nothing to be said of bytes then.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#ifndef MRMR_DIGEST_H
#define MRMR_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MRMR_SHA256_LEN 32

/* Of bytes that come in parts. Used again and again without an allocation. */
struct mrmr_digest;

struct mrmr_digest *mrmr_digest_new(void); /* to be freed by: */
void mrmr_digest_free(struct mrmr_digest *digest);

void mrmr_digest_start(struct mrmr_digest *digest);
void mrmr_digest_add(struct mrmr_digest *digest, const void *data, size_t len);
void mrmr_digest_end(struct mrmr_digest *digest,
		     uint8_t sha256[MRMR_SHA256_LEN]);

/* The checksum of bytes that come in parts, likewise. */
struct mrmr_checksum;

struct mrmr_checksum *mrmr_checksum_new(void);
void mrmr_checksum_free(struct mrmr_checksum *checksum);

void mrmr_checksum_start(struct mrmr_checksum *checksum);
void mrmr_checksum_add(struct mrmr_checksum *checksum, const void *data,
		       size_t len);
uint64_t mrmr_checksum_end(struct mrmr_checksum *checksum);

/* Of bytes that are all there. */
void mrmr_sha256(const void *data, size_t len, uint8_t sha256[MRMR_SHA256_LEN]);
uint64_t mrmr_checksum(const void *data, size_t len);
/* Is each byte zero? Such a block needs no parity. */
bool mrmr_is_all_zero(const void *data, size_t len);

/* Both, of bytes that come in parts: each part is taken from memory once. */
struct mrmr_hashes;

struct mrmr_hashes *mrmr_hashes_new(void); /* to be freed by: */
void mrmr_hashes_free(struct mrmr_hashes *hashes);

void mrmr_hashes_start(struct mrmr_hashes *hashes);
void mrmr_hashes_add(struct mrmr_hashes *hashes, const void *data, size_t len);
void mrmr_hashes_end(struct mrmr_hashes *hashes,
		     uint8_t sha256[MRMR_SHA256_LEN], uint64_t *checksum);

#endif
