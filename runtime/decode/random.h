/* random.h: random numbers that are functions of a counter: Philox4x32-10 (Salmon, Moraes, Dror,
 * Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"). The key is a seed; the counter is a
 * position (or how many numbers were drawn) and the stream that it is for, so that different uses
 * of one seed are independent. */
#ifndef PERILUNE_DECODE_RANDOM_H
#define PERILUNE_DECODE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    STREAM_TOKEN,   /* the token at a position */
    STREAM_XTC,     /* whether XTC applies at a position */
    STREAM_RNG,     /* a generator's numbers, */
    STREAM_FORK     /* and the keys of those that it forks */
} random_stream;

/* 64 bits: the first two words for key `seed` and counter (position, stream). */
uint64_t philox_bits(uint64_t seed, uint64_t position, random_stream s);
double philox_uniform_of(uint64_t seed, uint64_t position,
                         random_stream s);                                  /* in [0, 1), 53 bits */
double philox_uniform(uint64_t seed, uint64_t position);                    /* of STREAM_TOKEN */

/* A generator: a key, and how many numbers it has given. Copying it copies its future. */
typedef struct { uint64_t key, n; } rng;
static inline rng rng_seeded(uint64_t seed) { return (rng){.key = seed}; }
uint64_t rng_bits(rng *r);
double rng_uniform(rng *r);             /* in [0, 1), 53 bits */
/* in [0, n), each as likely; n > 0. May take more than one number */
uint64_t rng_below(rng *r, uint64_t n);
rng rng_fork(rng *r);          /* takes one number of r; its own begin anew, independent of r's */
/* Sets m of the first n bits, each choice of m as likely; m <= n, bits [(n + 63) / 64]. Takes one
 * number of r. */
void rng_subset(rng *r, size_t n, size_t m, uint64_t *bits);

#endif
