/* blocks.h: what the files of the weight formats share and nobody else needs: the conversions that
 * the table in types.c lists, and reading and rounding. Layouts: ggml/src/ggml-common.h. */
#ifndef PERILUNE_GGUF_BLOCKS_H
#define PERILUNE_GGUF_BLOCKS_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "gguf/types.h"

enum {
    BLOCK = 32, /* weights in a block of the older formats */
    SUPER = 256 /* and of the K formats and IQ4_XS, which have groups with scales of their own */
};

#define CONVERSIONS(format)                                           \
    void format##_to_float(const void *blocks, float *out, size_t n); \
    void format##_from_float(const float *in, void *blocks, size_t n)

CONVERSIONS(q8_0); /* blocks.c */
CONVERSIONS(q4_0);
CONVERSIONS(q4_1);
CONVERSIONS(q5_0);
CONVERSIONS(q5_1);
CONVERSIONS(iq4_nl);
CONVERSIONS(mxfp4);
CONVERSIONS(q2_k); /* superblocks.c */
CONVERSIONS(q3_k);
CONVERSIONS(q4_k);
CONVERSIONS(q5_k);
CONVERSIONS(q6_k);
CONVERSIONS(iq4_xs);

/* The code of IQ4_NL and IQ4_XS whose level is nearest to x; of two the lower. 0 for NaN. */
unsigned iq4_code(float x);

static inline uint16_t load16(const uint8_t *p) {
    uint16_t u;
    memcpy(&u, p, sizeof u);
    return u;
}

static inline void store16(uint8_t *p, uint16_t u) { memcpy(p, &u, sizeof u); }

static inline float load_half(const uint8_t *p) { return half_to_float(load16(p)); }

/* The integer nearest to x (halves away from zero) within [low, high]; 0 for NaN. */
static inline int nearest(float x, int low, int high) {
    if (x <= (float)low) return low;
    if (x >= (float)high) return high;
    return x == x ? (int)roundf(x) : 0;
}

/* The same from 0 on, halves up; without branches, for searches. */
static inline int nearest_code(float x, int top) {
    x = x > 0 ? x : 0; /* NaN too */
    x = x < (float)top ? x : (float)top;
    return (int)(x + 0.5f);
}

/* The value of greatest magnitude, the first of several; its sign kept. */
static inline float extreme(const float *x, size_t n) {
    float m = 0;
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(m)) m = x[i];
    return m;
}

#endif
