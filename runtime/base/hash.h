/* hash.h: XXH64 (Collet, xxHash specification, doc/xxhash_spec.md 0.1.1), in one shot:
 * fingerprints of weights and of cache files, and hash tables over bytes. Not cryptographic. */
#ifndef PERILUNE_BASE_HASH_H
#define PERILUNE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *data, size_t size, uint64_t seed);

#endif
