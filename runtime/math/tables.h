/* tables.h: what the files of this room share and nobody else needs: the tables that this build
 * has, and the layout of attention's scratch memory. The scratch has room for ATTENTION_ROWS rows
 * of one key/value head's queries; one record per query keeps everything that a tile touches on
 * whole cache lines. */
#ifndef PERILUNE_MATH_TABLES_H
#define PERILUNE_MATH_TABLES_H

#include "math/math.h"

extern const kernels kernels_scalar;
#if defined(__x86_64__)
extern const kernels kernels_avx2;
extern const kernels kernels_avxvnni;
extern const kernels kernels_avx512;
extern const kernels kernels_amx;
#elif defined(__aarch64__)
extern const kernels kernels_neon;
#endif

/* A query's record is floats: running maxima and sums, a tile's weights [KV_TILE], then the
 * span's and the total's weighted values [value_floats] each. Before all records lie a tile's keys
 * and values as floats, and the spans' maxima of all queries, side by side: [ATTENTION_ROWS *
 * group], up to whole vectors. */
enum {
    QUERY_TOTAL_MAX =
        0, /* largest score, and sum of exp(score - that), over the spans to the left */
    QUERY_TOTAL_SUM = 1,
    QUERY_MAX = 2,  /* the scalar table keeps a span's maximum here */
    QUERY_SUM = 16, /* [16]: the sum over the span so far, as lanes that are still to be added up */
    QUERY_WEIGHTS = 32,
    QUERY_VALUES = QUERY_WEIGHTS + KV_TILE
};
static inline size_t tile_floats(const attention_shape *a) { return KV_TILE * (a->d_k + a->d_v); }
static inline size_t query_maxima_floats(size_t group) {
    return (ATTENTION_ROWS * group + 15) & ~(size_t)15;
}

#define KV_NAN_SCALE 0x7e00 /* a half that is NaN */

/* Of a span that was attended to by itself: attention_part_floats. */
enum { PART_MAX = 0, PART_SUM = 1, PART_VALUES = 16 };

/* d_v up to whole vectors of any table; the lanes beyond d_v hold zeros. */
static inline size_t query_value_floats(size_t d_v) { return (d_v + 15) & ~(size_t)15; }
static inline size_t query_floats(size_t d_v) { return QUERY_VALUES + 2 * query_value_floats(d_v); }

/* The first position that the query at `pos` sees. */
static inline size_t visible_begin(const attention_shape *a, size_t pos) {
    return a->window && pos + 1 > a->window ? pos + 1 - a->window : 0;
}

#endif
