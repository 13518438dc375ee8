/* attention.h: keys and values into the cache's blocks, and attention over those, written once over
 * simd.h. Online softmax by tiles of KV_TILE positions: a lane is a position for the scores, a
 * dimension for the values. A query's sums take tiles in the order of positions, and spans of
 * KV_SPAN join left to right, whatever rows and sequences are attended to beside it. Many queries
 * share a tile's keys and values as floats. */
#ifndef PERILUNE_MATH_ATTENTION_H
#define PERILUNE_MATH_ATTENTION_H

#include <float.h>
#include <math.h>

#include "math/elementary.h"
#include "math/tables.h"

/* n items from the i-th; of KV_Q8_0 without their scales. */
INLINE vf load_kv(kv_type type, const uint8_t *p, size_t i, size_t n) {
    if (type == KV_F32) return n == VL ? v_load(p + 4 * i) : v_load_part(p + 4 * i, n);
    if (type == KV_F16) return n == VL ? v_load_f16(p + 2 * i) : v_load_f16_part(p + 2 * i, n);
    return n == VL ? v_load_i8(p + i) : v_load_i8_part(p + i, n);
}

/* One slot's group of n dimensions, as math.h defines it: returns the scale. */
INLINE uint16_t quantize_group(const float *x, size_t n, int8_t q[KV_GROUP]) {
    vf largest = v_zero();
    uint16_t scale[VL];
    float d[VL];
    for (size_t i = 0; i < n; i += VL)
        largest = v_max_bits(v_abs(v_load_part(x + i, n - i < VL ? n - i : VL)), largest);
    v_store_f16(scale, v_set1(v_largest_bits(largest) / 127.0f));
    v_store(d, v_load_f16(scale));
    if (!(d[0] > 0 && d[0] <= FLT_MAX)) {
        memset(q, 0, KV_GROUP);
        return d[0] == 0 ? 0 : KV_NAN_SCALE;
    }
    vf inverse = v_set1(1.0f / d[0]), most = v_set1(127.0f), least = v_set1(-127.0f);
    for (size_t i = 0; i < n; i += VL) {
        vf whole = v_round(v_mul(v_load_part(x + i, n - i < VL ? n - i : VL), inverse));
        v_store_i8(q + i, v_max(v_min(whole, most), least));
    }
    return scale[0];
}

/* A head of d dimensions into slot `slot` of [d][KV_TILE] (transposed) or [KV_TILE][d]. */
INLINE void store_q8_0(uint8_t *p, const float *x, size_t d, size_t slot, bool transposed) {
    uint16_t *scales = (uint16_t *)(p + d * KV_TILE) + slot;
    int8_t q[KV_GROUP];
    for (size_t i = 0; i < d; i += KV_GROUP, scales += KV_TILE) {
        size_t n = d - i < KV_GROUP ? d - i : KV_GROUP;
        *scales = quantize_group(x + i, n, q);
        if (!transposed) memcpy(p + slot * d + i, q, n);
        else
            for (size_t k = 0; k < n; k++) p[(i + k) * KV_TILE + slot] = (uint8_t)q[k];
    }
}

static void kv_store(const attention_shape *a, uint8_t *block, size_t slot, const float *k,
                     const float *v) {
    float *keys = (float *)(block + a->k_offset), *values = (float *)(block + a->v_offset);
    uint16_t *half_keys = (uint16_t *)(block + a->k_offset);
    uint16_t *half_values = (uint16_t *)(block + a->v_offset);
    for (size_t h = 0; h < a->n_head_kv; h++, k += a->d_k, v += a->d_v) {
        size_t k_at = h * a->d_k * KV_TILE + slot, v_at = (h * KV_TILE + slot) * a->d_v;
        if (a->type == KV_Q8_0) {
            store_q8_0(block + a->k_offset + h * kv_head_bytes(KV_Q8_0, a->d_k), k, a->d_k, slot,
                       true);
            store_q8_0(block + a->v_offset + h * kv_head_bytes(KV_Q8_0, a->d_v), v, a->d_v, slot,
                       false);
            continue;
        }
        if (a->type == KV_F32) {
            for (size_t i = 0; i < a->d_k; i++) keys[k_at + i * KV_TILE] = k[i];
            memcpy(values + v_at, v, a->d_v * sizeof *v);
            continue;
        }
        uint16_t half[VL];
        for (size_t i = 0; i < a->d_k; i += VL) {
            size_t n = a->d_k - i < VL ? a->d_k - i : VL;
            v_store_f16(half, v_load_part(k + i, n));
            for (size_t j = 0; j < n; j++) half_keys[k_at + (i + j) * KV_TILE] = half[j];
        }
        for (size_t i = 0; i < a->d_v; i += VL) {
            size_t n = a->d_v - i < VL ? a->d_v - i : VL;
            v_store_f16(half, v_load_part(v + i, n));
            memcpy(half_values + v_at + i, half, n * sizeof *half);
        }
    }
}

/* The queries of one call, row by row and head by head, and what they attend to. */
typedef struct {
    const attention_shape *a;
    size_t kv_head, group; /* query heads per key/value head */
    const attention_row *rows;
    float *max;     /* [n_rows * group]: the largest score of the span so far */
    float *records; /* [n_rows * group][record] */
    size_t record;
    float *floats;  /* a tile's keys [d_k][KV_TILE] and values [KV_TILE][d_v], for many queries */
} query_set;

/* A tile of a key/value head: keys [d_k][KV_TILE], values [KV_TILE][d_v], the slots [begin, end) of
 * it that are seen, and what ask_ahead is told. */
typedef struct {
    const uint8_t *keys, *values;
    size_t begin, end;
    uintptr_t ahead;
} kv_view;

INLINE float *record_of(const query_set *s, size_t i) { return s->records + i * s->record; }
INLINE const float *query_of(const query_set *s, size_t i) {
    return s->rows[i / s->group].q + (s->kv_head * s->group + i % s->group) * s->a->d_k;
}

/* Asks for the line that lies as far on in the next tile as p does in this one: blocks lie
 * anywhere, and the processor cannot know which is next. Line by line, while this tile is computed:
 * many at once would wait for one another. A block that no row sees may not be there; asking
 * touches nothing. ahead 0: there is none, or it has been asked for. */
INLINE void ask_ahead(const uint8_t *p, uintptr_t ahead) {
    if (ahead) __builtin_prefetch((const void *)((uintptr_t)p + ahead));
}

/* Scores of n queries from the i-th against a tile's keys, all slots, written or not: a lane is a
 * slot, and nothing crosses lanes before `fold_scores` has dropped those that are not seen. */
INLINE void score_tile(kv_type type, const query_set *s, size_t i, size_t n, kv_view t) {
    const float *q[QUERIES];
    const uint8_t *keys = t.keys;
    size_t d_k = s->a->d_k;
    const uint8_t *scales = keys + d_k * KV_TILE; /* of KV_Q8_0 */
    vf scale = v_set1(s->a->scale);
    UNROLL
    for (size_t k = 0; k < n; k++) q[k] = query_of(s, i + k);
    for (size_t j = 0; j < KV_TILE; j += 2 * VL) {
        vf acc[QUERIES][2];
        UNROLL
        for (size_t k = 0; k < n; k++) acc[k][0] = acc[k][1] = v_zero();
        for (size_t g = 0, d = 0; d < d_k; g++) {
            size_t end = d + KV_GROUP < d_k ? d + KV_GROUP : d_k;
            vf scale0 = v_zero(), scale1 = v_zero();
            if (type == KV_Q8_0) {
                scale0 = v_load_f16(scales + 2 * (g * KV_TILE + j));
                scale1 = v_load_f16(scales + 2 * (g * KV_TILE + j + VL));
            }
            for (; d < end; d++) {
                size_t item = kv_type_bytes(type);
                ask_ahead(keys + (d * KV_TILE + j) * item, t.ahead);
                if (2 * VL * item > 64) ask_ahead(keys + (d * KV_TILE + j + VL) * item, t.ahead);
                vf k0 = load_kv(type, keys, d * KV_TILE + j, VL);
                vf k1 = load_kv(type, keys, d * KV_TILE + j + VL, VL);
                if (type == KV_Q8_0) k0 = v_mul(k0, scale0), k1 = v_mul(k1, scale1);
                UNROLL
                for (size_t k = 0; k < n; k++) {
                    vf x = v_set1(q[k][d]);
                    acc[k][0] = v_fma(x, k0, acc[k][0]);
                    acc[k][1] = v_fma(x, k1, acc[k][1]);
                }
            }
        }
        UNROLL
        for (size_t k = 0; k < n; k++) {
            float *p = record_of(s, i + k) + QUERY_WEIGHTS + j;
            v_store(p, v_mul(acc[k][0], scale));
            v_store(p + VL, v_mul(acc[k][1], scale));
        }
    }
}

/* Turns scores of the slots that are seen, of n queries from the i-th, into weights exp(score -
 * max) and adds their sum; rescale: what the values gathered so far are to be multiplied by:
 * exp(old max - new max), exactly 1 if it stays. */
INLINE void fold_scores(const query_set *s, size_t i, size_t n, kv_view t, float *rescale) {
    enum { VECTORS = KV_TILE / VL };
    vf w[QUERIES][VECTORS], top[QUERIES];
    float max[QUERIES];
    UNROLL
    for (size_t k = 0; k < n; k++) {
        const float *p = record_of(s, i + k) + QUERY_WEIGHTS;
        top[k] = v_set1(-INFINITY);
        UNROLL
        for (size_t j = 0; j < VECTORS; j++) {
            w[k][j] = v_load(p + j * VL);
            if (s->a->softcap > 0) w[k][j] = v_softcap(w[k][j], v_set1(s->a->softcap));
            w[k][j] = v_select(v_lanes(j * VL, t.begin, t.end), w[k][j], v_set1(-INFINITY));
            top[k] = v_max(w[k][j], top[k]); /* passes over a NaN */
        }
    }
    v_largest_each(top, n, max);
    UNROLL
    for (size_t k = 0; k < n; k += VL) { /* a lane is a query */
        size_t m = n - k < VL ? n - k : VL;
        vf old = v_load_part(s->max + i + k, m), now = v_max(v_load_part(max + k, m), old);
        v_store_part(s->max + i + k, now, m);
        v_store_part(rescale + k, v_exp(v_sub(old, now)), m);
    }
    UNROLL
    for (size_t k = 0; k < n; k++) {
        float *record = record_of(s, i + k);
        vf sum = v_zero(), most = v_set1(s->max[i + k]);
        UNROLL
        for (size_t j = 0; j < VECTORS; j++) {
            w[k][j] = v_exp(v_sub(w[k][j], most)); /* 0 for what is not seen */
            v_store(record + QUERY_WEIGHTS + j * VL, w[k][j]);
            sum = v_add(sum, w[k][j]);
        }
        v_store(record + QUERY_SUM, v_fma(v_load(record + QUERY_SUM), v_set1(rescale[k]), sum));
    }
}

/* Columns from d of the values, `vectors` vectors of which the last has n lanes: acc = acc *
 * rescale + sum_j p_j v_j, j in order over the slots that are seen. The columns are of one
 * group. */
INLINE void value_columns(kv_type type, const query_set *s, size_t i, size_t n_q, kv_view t,
                          const float *rescale, size_t d, size_t vectors, size_t n) {
    vf acc[QUERIES][2];
    const uint8_t *values = t.values;
    float *record[QUERIES], scale[KV_TILE];
    if (type == KV_Q8_0) {
        const uint8_t *of_group = values + s->a->d_v * KV_TILE + 2 * (d / KV_GROUP * KV_TILE);
        for (size_t j = 0; j < KV_TILE; j += VL) v_store(scale + j, v_load_f16(of_group + 2 * j));
    }
    UNROLL
    for (size_t k = 0; k < n_q; k++) {
        record[k] = record_of(s, i + k);
        UNROLL
        for (size_t c = 0; c < vectors; c++)
            acc[k][c] = v_mul(v_load(record[k] + QUERY_VALUES + d + c * VL), v_set1(rescale[k]));
    }
    for (size_t j = t.begin; j < t.end; j++) {
        vf v[2];
        ask_ahead(values + (j * s->a->d_v + d) * kv_type_bytes(type), t.ahead);
        if (vectors * VL * kv_type_bytes(type) > 64)
            ask_ahead(values + (j * s->a->d_v + d + VL) * kv_type_bytes(type), t.ahead);
        UNROLL
        for (size_t c = 0; c < vectors; c++) {
            v[c] = load_kv(type, values, j * s->a->d_v + d + c * VL, c + 1 < vectors ? VL : n);
            if (type == KV_Q8_0) v[c] = v_mul(v[c], v_set1(scale[j]));
        }
        UNROLL
        for (size_t k = 0; k < n_q; k++) {
            vf p = v_set1(record[k][QUERY_WEIGHTS + j]);
            UNROLL
            for (size_t c = 0; c < vectors; c++) acc[k][c] = v_fma(p, v[c], acc[k][c]);
        }
    }
    UNROLL
    for (size_t k = 0; k < n_q; k++) {
        UNROLL
        for (size_t c = 0; c < vectors; c++)
            v_store(record[k] + QUERY_VALUES + d + c * VL, acc[k][c]);
    }
}

INLINE void gather_values(kv_type type, const query_set *s, size_t i, size_t n, kv_view t,
                          const float *rescale) {
    size_t d = 0, d_v = s->a->d_v;
    for (; d + 2 * VL <= d_v; d += 2 * VL) value_columns(type, s, i, n, t, rescale, d, 2, VL);
    for (; d + VL <= d_v; d += VL) value_columns(type, s, i, n, t, rescale, d, 1, VL);
    if (d < d_v) value_columns(type, s, i, n, t, rescale, d, 1, d_v - d);
}

/* The same three of as many queries as queries_at_once says, compiled for each. */
INLINE size_t queries_at_once(size_t left) {
    return left >= QUERIES ? QUERIES : left >= QUERIES / 2 ? QUERIES / 2 : left > 0;
}

INLINE void score_some(kv_type type, const query_set *s, size_t i, size_t n, kv_view t) {
    if (n == QUERIES) score_tile(type, s, i, QUERIES, t);
    else if (n == QUERIES / 2) score_tile(type, s, i, QUERIES / 2, t);
    else score_tile(type, s, i, 1, t);
}

INLINE void fold_some(const query_set *s, size_t i, size_t n, kv_view t, float *rescale) {
    if (n == QUERIES) fold_scores(s, i, QUERIES, t, rescale);
    else if (n == QUERIES / 2) fold_scores(s, i, QUERIES / 2, t, rescale);
    else fold_scores(s, i, 1, t, rescale);
}

INLINE void gather_some(kv_type type, const query_set *s, size_t i, size_t n, kv_view t,
                        const float *rescale) {
    if (n == QUERIES) gather_values(type, s, i, QUERIES, t, rescale);
    else if (n == QUERIES / 2) gather_values(type, s, i, QUERIES / 2, t, rescale);
    else gather_values(type, s, i, 1, t, rescale);
}

/* Queries [i, i_end), all of which see the same slots. Folding is a long chain of operations that
 * wait for one another: the next queries' scores are computed meanwhile, before the values are
 * gathered. */
INLINE void attend_queries(kv_type type, const query_set *s, size_t i, size_t i_end, kv_view t) {
    float rescale[2][QUERIES];
    size_t n = queries_at_once(i_end - i), next;
    score_some(type, s, i, n, t);
    fold_some(s, i, n, t, rescale[0]);
    kv_view asked = t;
    asked.ahead = 0;
    for (size_t turn = 0; n > 0; turn ^= 1, i += n, n = next, t = asked) {
        next = queries_at_once(i_end - i - n);
        if (next > 0) score_some(type, s, i + n, next, asked);
        gather_some(type, s, i, n, t, rescale[turn]);
        if (next > 0) fold_some(s, i + n, next, t, rescale[turn ^ 1]);
    }
}

INLINE void ask_for_bytes(const uint8_t *p, size_t bytes, uintptr_t ahead) {
    for (size_t i = 0; ahead && i < bytes; i += 64) ask_ahead(p + i, ahead);
}

/* The tile as floats, exactly what score_tile and value_columns make of it. */
INLINE kv_view unpack_tile(kv_type type, const query_set *s, kv_view t) {
    size_t d_k = s->a->d_k, d_v = s->a->d_v;
    float *keys = s->floats, *values = keys + d_k * KV_TILE;
    ask_for_bytes(t.keys, kv_head_bytes(type, d_k), t.ahead);
    for (size_t i = 0; i < d_k * KV_TILE; i += VL) {
        vf k = load_kv(type, t.keys, i, VL);
        if (type == KV_Q8_0) {
            size_t at = i / KV_TILE / KV_GROUP * KV_TILE + i % KV_TILE;
            k = v_mul(k, v_load_f16(t.keys + d_k * KV_TILE + 2 * at));
        }
        v_store(keys + i, k);
    }
    ask_for_bytes(t.values, kv_head_bytes(type, d_v), t.ahead);
    for (size_t j = t.begin; j < t.end; j++) {
        for (size_t d = 0; d < d_v; d += VL) {
            size_t n = d_v - d < VL ? d_v - d : VL;
            vf v = load_kv(type, t.values, j * d_v + d, n);
            if (type == KV_Q8_0) {
                float scale[VL];
                size_t at = d / KV_GROUP * KV_TILE + j;
                v_store(scale, v_load_f16(t.values + d_v * KV_TILE + 2 * (at / VL * VL)));
                v = v_mul(v, v_set1(scale[at % VL]));
            }
            v_store_part(values + j * d_v + d, v, n);
        }
    }
    return (kv_view){(const uint8_t *)keys, (const uint8_t *)values, t.begin, t.end, 0};
}

#define MANY_QUERIES (3 * QUERIES) /* for which unpacking a tile once pays */

INLINE void attend_tile(kv_type type, const query_set *s, const uint8_t *block, size_t i,
                        size_t i_end, size_t begin, size_t end, uintptr_t ahead) {
    kv_view t = {.keys = block + s->a->k_offset + s->kv_head * kv_head_bytes(type, s->a->d_k),
                 .values = block + s->a->v_offset + s->kv_head * kv_head_bytes(type, s->a->d_v),
                 .begin = begin,
                 .end = end,
                 .ahead = ahead};
    if (type != KV_F32 && i_end - i >= MANY_QUERIES)
        attend_queries(KV_F32, s, i, i_end, unpack_tile(type, s, t));
    else attend_queries(type, s, i, i_end, t);
}

static void attend_tile_f32(const query_set *s, const uint8_t *block, size_t i, size_t i_end,
                            size_t begin, size_t end, uintptr_t ahead) {
    attend_tile(KV_F32, s, block, i, i_end, begin, end, ahead);
}

static void attend_tile_f16(const query_set *s, const uint8_t *block, size_t i, size_t i_end,
                            size_t begin, size_t end, uintptr_t ahead) {
    attend_tile(KV_F16, s, block, i, i_end, begin, end, ahead);
}

static void attend_tile_q8_0(const query_set *s, const uint8_t *block, size_t i, size_t i_end,
                             size_t begin, size_t end, uintptr_t ahead) {
    attend_tile(KV_Q8_0, s, block, i, i_end, begin, end, ahead);
}

/* A span with that maximum and sum joins what lies to its left. */
INLINE void merge_span(size_t d_v, float *record, float right, float sum) {
    float *acc = record + QUERY_VALUES, *total = acc + query_value_floats(d_v);
    float left = record[QUERY_TOTAL_MAX], max = left > right ? left : right;
    float scale_left = exp_of(left - max), scale_right = exp_of(right - max);
    record[QUERY_TOTAL_MAX] = max;
    record[QUERY_TOTAL_SUM] = record[QUERY_TOTAL_SUM] * scale_left + sum * scale_right;
    for (size_t i = 0; i < d_v; i++) total[i] = total[i] * scale_left + acc[i] * scale_right;
}

/* Where a range [begin, end) of positions meets the one that starts at `first`; empty when end <=
 * begin. */
typedef struct {
    size_t begin, end;
} range;

INLINE range meet(range seen, size_t first, size_t length) {
    range r = {seen.begin > first ? seen.begin - first : 0,
               seen.end > first ? seen.end - first : 0};
    if (r.end > length) r.end = length;
    return r;
}

/* Rows from the r-th on that see the same slots of tile t, in the same block, one after the other:
 * where they end. */
static size_t same_slots(const attention_row *rows, const range *seen, size_t n_rows, size_t r,
                         size_t t, range slots) {
    size_t end = r + 1;
    for (; end < n_rows; end++) {
        range other = meet(seen[end], t, KV_TILE);
        if (other.begin != slots.begin || other.end != slots.end ||
            rows[end].blocks[t / KV_TILE] != rows[r].blocks[t / KV_TILE])
            break;
    }
    return end;
}

static void attend_all(const query_set *s, const range *seen, size_t n_rows, size_t t) {
    for (size_t r = 0, end; r < n_rows; r = end) {
        range slots = meet(seen[r], t, KV_TILE);
        end = r + 1;
        if (slots.begin >= slots.end) continue;
        end = same_slots(s->rows, seen, n_rows, r, t, slots);
        const uint8_t *const *block = &s->rows[r].blocks[t / KV_TILE];
        uintptr_t ahead = seen[r].end > t + KV_TILE ? (uintptr_t)block[1] - (uintptr_t)block[0] : 0;
        (s->a->type == KV_F32   ? attend_tile_f32
         : s->a->type == KV_F16 ? attend_tile_f16
                                : attend_tile_q8_0)(s, *block, r * s->group, end * s->group,
                                                    slots.begin, slots.end, ahead);
    }
}

/* What a call's rows see, each by itself, and all together: [first, last). */
typedef struct {
    range row[ATTENTION_ROWS];
    size_t first, last;
} seen_rows;

static seen_rows what_is_seen(const attention_shape *a, const attention_row *rows, size_t n_rows) {
    seen_rows seen = {.first = SIZE_MAX};
    for (size_t r = 0; r < n_rows; r++) {
        seen.row[r] = (range){visible_begin(a, rows[r].pos), (size_t)rows[r].pos + 1};
        if (seen.row[r].begin < seen.first) seen.first = seen.row[r].begin;
        if (seen.row[r].end > seen.last) seen.last = seen.row[r].end;
    }
    return seen;
}

static query_set queries_of(const attention_shape *a, const attention_row *rows, size_t kv_head,
                            void *scratch) {
    size_t group = a->n_head / a->n_head_kv;
    return (query_set){.a = a,
                       .kv_head = kv_head,
                       .group = group,
                       .rows = rows,
                       .floats = scratch,
                       .max = (float *)scratch + tile_floats(a),
                       .records = (float *)scratch + tile_floats(a) + query_maxima_floats(group),
                       .record = query_floats(a->d_v)};
}

static void begin_totals(const query_set *s, size_t n) {
    size_t value_floats = query_value_floats(s->a->d_v);
    for (size_t i = 0; i < n; i++) {
        float *record = record_of(s, i);
        record[QUERY_TOTAL_MAX] = -INFINITY;
        record[QUERY_TOTAL_SUM] = 0;
        memset(record + QUERY_VALUES + value_floats, 0, value_floats * sizeof(float));
    }
}

/* All queries over the span that begins at a position. */
static void attend_span(const query_set *s, const seen_rows *seen, size_t n_rows, size_t span) {
    size_t value_floats = query_value_floats(s->a->d_v);
    for (size_t i = 0; i < n_rows * s->group; i++) {
        float *record = record_of(s, i);
        s->max[i] = -INFINITY;
        v_store(record + QUERY_SUM, v_zero());
        memset(record + QUERY_VALUES, 0, value_floats * sizeof(float));
    }
    for (size_t t = span; t < span + KV_SPAN && t < seen->last; t += KV_TILE)
        attend_all(s, seen->row, n_rows, t);
}

INLINE float span_sum(const query_set *s, size_t i) {
    return v_sum(v_load(record_of(s, i) + QUERY_SUM));
}

static void finish_queries(const query_set *s, size_t n_rows) {
    size_t d_v = s->a->d_v, value_floats = query_value_floats(d_v);
    for (size_t i = 0; i < n_rows * s->group; i++) {
        float *record = record_of(s, i), *total = record + QUERY_VALUES + value_floats;
        size_t head = s->kv_head * s->group + i % s->group;
        float *to = s->rows[i / s->group].out + head * d_v;
        if (s->a->sinks) { /* as a span of its own, whose values are zeros */
            memset(record + QUERY_VALUES, 0, value_floats * sizeof(float));
            merge_span(d_v, record, s->a->sinks[head], 1);
        }
        for (size_t d = 0; d < d_v; d++) to[d] = total[d] / record[QUERY_TOTAL_SUM];
    }
}

static void attention(const attention_shape *a, const attention_row *rows, size_t n_rows,
                      size_t kv_head, void *scratch) {
    query_set s = queries_of(a, rows, kv_head, scratch);
    seen_rows seen = what_is_seen(a, rows, n_rows);
    begin_totals(&s, n_rows * s.group);
    for (size_t span = seen.first / KV_SPAN * KV_SPAN; span < seen.last; span += KV_SPAN) {
        attend_span(&s, &seen, n_rows, span);
        for (size_t r = 0; r < n_rows; r++) {
            range part = meet(seen.row[r], span, KV_SPAN);
            if (part.begin >= part.end) continue;
            for (size_t i = r * s.group; i < (r + 1) * s.group; i++)
                merge_span(a->d_v, record_of(&s, i), s.max[i], span_sum(&s, i));
        }
    }
    finish_queries(&s, n_rows);
}

static void attention_span(const attention_shape *a, const attention_row *rows, size_t n_rows,
                           size_t kv_head, size_t span, float *parts, void *scratch) {
    query_set s = queries_of(a, rows, kv_head, scratch);
    seen_rows seen = what_is_seen(a, rows, n_rows);
    attend_span(&s, &seen, n_rows, span * KV_SPAN);
    for (size_t i = 0; i < n_rows * s.group; i++, parts += attention_part_floats(a)) {
        parts[PART_MAX] = s.max[i];
        parts[PART_SUM] = span_sum(&s, i);
        memcpy(parts + PART_VALUES, record_of(&s, i) + QUERY_VALUES,
               query_value_floats(a->d_v) * sizeof *parts);
    }
}

static void attention_merge(const attention_shape *a, const attention_row *rows, size_t n_rows,
                            size_t kv_head, size_t n_spans, const float *parts, void *scratch) {
    query_set s = queries_of(a, rows, kv_head, scratch);
    seen_rows seen = what_is_seen(a, rows, n_rows);
    begin_totals(&s, n_rows * s.group);
    for (size_t span = 0; span < n_spans; span++)
        for (size_t i = 0; i < n_rows * s.group; i++, parts += attention_part_floats(a)) {
            range part = meet(seen.row[i / s.group], span * KV_SPAN, KV_SPAN);
            if (part.begin >= part.end) continue;
            memcpy(record_of(&s, i) + QUERY_VALUES, parts + PART_VALUES,
                   query_value_floats(a->d_v) * sizeof *parts);
            merge_span(a->d_v, record_of(&s, i), parts[PART_MAX], parts[PART_SUM]);
        }
    finish_queries(&s, n_rows);
}

#endif
