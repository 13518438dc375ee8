/* tiles.h: products of several rows in the matrix tiles of AMX (Intel 64 and IA-32 Architectures
 * Software Developer's Manual, volume 1, chapter 18). A tile is up to 16 lines of 64 bytes, and one
 * instruction multiplies 16 rows of four neighbouring int8 at a time with as many outputs: a part
 * of the activations [rows][32] by a part of the weights [PIECES][16 outputs][4], which is just how
 * a packed group has them. What comes out are the whole sums that products.h adds up one vector
 * after the other, so that the results have the same bits.
 *
 * Weights are unpacked to int8 once for all rows: a bunch of groups, cut to a chunk of their inputs
 * that stays in the second-level cache while the rows pass by. Between chunks, sums wait in y. All
 * of it lies on the stack: about 110 KiB. */
#ifndef PERILUNE_MATH_TILES_H
#define PERILUNE_MATH_TILES_H

#include "math/products.h"

#define AMX_ROWS 16         /* of a tile */
#define AMX_LEAST 24        /* with fewer rows the vectors of products.h are faster */
#define AMX_PARTS 8         /* of a chunk: the largest block, and a gather */
#define AMX_GROUPS 12       /* of a bunch */
_Static_assert(AMX_PARTS == 8 && AMX_PARTS % PARTS == 0, "whole blocks, and amx_field's lanes");

/* A group's chunk. */
typedef struct {
    _Alignas(64) uint8_t codes[AMX_PARTS][PIECES][PACKED_LINE]; /* signed */
    float scale[AMX_PARTS][2][PACKED_ROWS], min[AMX_PARTS][2][PACKED_ROWS];
} amx_group;

/* What activations say beside their int8 (act_block), of a tile's rows and a chunk. */
typedef struct {
    _Alignas(64) float d[AMX_ROWS][AMX_PARTS], s[AMX_ROWS][AMX_PARTS];
    float minus_half[2][AMX_ROWS][AMX_PARTS];
} amx_acts;

/* The field at an offset of n act_blocks, up to AMX_PARTS. */
INLINE __m256i amx_field(const act_block *b, size_t offset, size_t n) {
    const __m256i at = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                                          _mm256_set1_epi32(sizeof *b));
    return _mm256_mmask_i32gather_epi32(_mm256_setzero_si256(), (__mmask8)first_lanes(n), at,
                                        (const uint8_t *)b + offset, 1);
}

INLINE void amx_gather(weight_type type, const uint8_t *x, size_t x_stride, size_t n_rows,
                       size_t n_parts, amx_acts *out) {
    for (size_t r = 0; r < n_rows; r++, x += x_stride) {
        const act_block *b = (const act_block *)(const void *)x;
        _mm256_store_si256((void *)out->d[r], amx_field(b, offsetof(act_block, d), n_parts));
        if (has_minima(type))
            _mm256_store_si256((void *)out->s[r], amx_field(b, offsetof(act_block, s), n_parts));
        if (type != TYPE_Q2_K) continue;
        __m256i both = amx_field(b, offsetof(act_block, minus_half), n_parts);
        for (size_t h = 0; h < 2; h++, both = _mm256_srli_epi32(both, 16)) {
            __m256i half = _mm256_srai_epi32(_mm256_slli_epi32(both, 16), 16);
            _mm256_store_ps(out->minus_half[h][r], _mm256_cvtepi32_ps(half));
        }
    }
}

/* Tile 0 is for sums, 1 for activations, 2 for weights: of a part, or of half a part where that has
 * scales of its own. */
INLINE void amx_configure(weight_type type, size_t n_r) {
    const uint8_t pieces = has_groups(type) ? PIECES / 2 : PIECES, rows = (uint8_t)n_r;
    _Alignas(64) struct {
        uint8_t palette, start_row, none[14];
        uint16_t line_bytes[16];
        uint8_t lines[16];
    } all = {.palette = 1,
             .line_bytes = {PACKED_LINE, (uint16_t)(4 * pieces), PACKED_LINE},
             .lines = {rows, rows, pieces}};
    __asm__ volatile("" ::"r"(&all) : "memory"); /* all of it is read */
    _tile_loadconfig(&all);
}

/* Whole sums [rows][16 outputs]. Compilers do not know that loading a tile reads memory. */
INLINE void amx_multiply(const int8_t *x, size_t x_stride, uint8_t codes[][PACKED_LINE],
                         __m512i *sums) {
    __asm__ volatile("" ::: "memory");
    _tile_zero(0);
    _tile_loadd(1, x, x_stride);
    _tile_loadd(2, codes, PACKED_LINE);
    _tile_dpbssd(0, 1, 2);
    _tile_stored(0, sums, sizeof *sums);
}

/* Unpacks so many blocks of a group, and asks for as many that follow. */
INLINE void amx_unpack(weight_type type, const uint8_t *block, size_t n_blocks, amx_group *out) {
    const packed_layout l = packed_layout_of(type);
    const size_t n_parts = has_parts(type) ? PARTS : 1, together = parts_together(type),
                 bytes = packed_block_bytes(&l);
    const __m512i less = _mm512_set1_epi8((char)too_much(type));
    const uintptr_t ahead = n_blocks * bytes;
    size_t p = 0;
    for (size_t b = 0; b < n_blocks; b++, block += bytes) {
        const uint8_t *high = block + packed_high_at(&l), *low = block + packed_low_at(&l);
        vf d = l.exponents ? v_load_e8m0(block) : v_load_f16(block), m = v_zero();
        if (l.halves == 2) m = v_load_f16(block + 2 * PACKED_ROWS);
        for (size_t i = 0; i < bytes; i += 64)
            __builtin_prefetch((const void *)((uintptr_t)block + ahead + i), 0, 2);
        for (size_t first = 0; first < n_parts; first += together) {
            UNROLL
            for (size_t k = 0; k < together; k++, p++) {
                part_scales s = scales_of(type, &l, block, 0, first + k, d, m);
                for (size_t i = 0; i < (has_groups(type) ? 2 : 1); i++) {
                    v_store(out->scale[p][i], s.scale[i]);
                    if (has_minima(type) || type == TYPE_Q2_K) v_store(out->min[p][i], s.min[i]);
                }
                UNROLL
                for (size_t j = 0; j < PIECES; j++)
                    _mm512_store_si512(
                        out->codes[p][j],
                        _mm512_sub_epi8(piece(type, high, low, first, k, j), less));
            }
        }
    }
}

/* Whole sums of a tile's rows and a group's chunk; of halves of parts where those have scales. */
typedef struct { _Alignas(64) __m512i sums[AMX_PARTS * 2][AMX_ROWS]; } amx_whole;

INLINE void amx_multiply_chunk(weight_type type, amx_group *w, size_t n_parts, const operands *t,
                               amx_whole *out) {
    const act_block *x = (const act_block *)(const void *)t->x;
    for (size_t p = 0, i = 0; p < n_parts; p++) {
        amx_multiply(x[p].q, t->x_stride, w->codes[p], out->sums[i++]);
        if (has_groups(type))
            amx_multiply(x[p].q + ACT_BLOCK / 2, t->x_stride, w->codes[p] + PIECES / 2,
                         out->sums[i++]);
    }
}

/* What n_r rows add to their sums of a group. */
INLINE void amx_add_chunk(weight_type type, size_t n_r, const amx_group *w, const amx_acts *acts,
                          size_t n_parts, const amx_whole *whole, bool begun, operands t) {
    vf sum[AMX_ROWS];
    UNROLL
    for (size_t r = 0; r < n_r; r++)
        sum[r] = begun ? v_load_part(t.y + r * t.y_stride, t.n_out) : v_zero();
    for (size_t p = 0, i = 0; p < n_parts; p++, i++) {
        const __m512i *first = whole->sums[i], *second = whole->sums[has_groups(type) ? ++i : i];
        part_scales s;
        UNROLL
        for (size_t k = 0; k < 2; k++) {
            s.scale[k] = v_load(w->scale[p][k]);
            s.min[k] = v_load(w->min[p][k]);
        }
        UNROLL
        for (size_t r = 0; r < n_r; r++) {
            act_scales x = {
                v_set1(acts->d[r][p]),
                v_set1(acts->s[r][p]),
                {v_set1(acts->minus_half[0][r][p]), v_set1(acts->minus_half[1][r][p])}};
            sum[r] = add_whole(type, first[r], second[r], s, x, sum[r]);
        }
    }
    store_sums(t, n_r, sum);
}

/* n_r rows by a bunch's chunk; begun: y holds sums to go on from. The next group's whole sums come
 * before the last one's are added up: what a tile stores is not handed on to loads before it has
 * reached the cache. They take turns by the chunk, not by the part, because beside instructions on
 * tiles the processor takes vectors at half its speed. next: as many rows follow, and are asked
 * for, each group's share meanwhile. */
INLINE void amx_tile_rows(weight_type type, size_t n_r, amx_group *w, size_t n_groups,
                          size_t n_parts, bool begun, bool next, operands t) {
    amx_acts acts;
    amx_whole whole[2];
    const size_t n_out = t.n_out;
    amx_gather(type, t.x, t.x_stride, n_r, n_parts, &acts);
    for (size_t g = 0; g <= n_groups; g++) {
        for (size_t r = g * n_r / n_groups; r < (g + 1) * n_r / n_groups && next; r++)
            for (size_t i = 0; i < n_parts * sizeof(act_block); i += 64)
                __builtin_prefetch(t.x + (n_r + r) * t.x_stride + i);
        if (g < n_groups) amx_multiply_chunk(type, w + g, n_parts, &t, &whole[g % 2]);
        if (g == 0) continue;
        size_t left = n_out - (g - 1) * VL;
        t.n_out = left < VL ? left : VL;
        amx_add_chunk(type, n_r, w + g - 1, &acts, n_parts, &whole[(g - 1) % 2], begun, t);
        t.y += VL;
    }
}

/* Rows of the next tile. */
INLINE size_t amx_step(size_t left) {
    return left >= 16 ? 16 : left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

/* All rows by a bunch's chunk. */
INLINE void amx_rows(weight_type type, amx_group *w, size_t n_groups, size_t n_parts, bool begun,
                     size_t n_rows, operands t) {
    for (size_t r = 0, step, before = 0; r < n_rows; r += step) {
        step = amx_step(n_rows - r);
        if (step != before) amx_configure(type, step);
        before = step;
        bool next = n_rows - r >= 2 * step;
        if (step == 16) amx_tile_rows(type, 16, w, n_groups, n_parts, begun, next, t);
        else if (step == 8) amx_tile_rows(type, 8, w, n_groups, n_parts, begun, next, t);
        else if (step == 4) amx_tile_rows(type, 4, w, n_groups, n_parts, begun, next, t);
        else if (step == 2) amx_tile_rows(type, 2, w, n_groups, n_parts, begun, next, t);
        else amx_tile_rows(type, 1, w, n_groups, n_parts, begun, next, t);
        t.x += step * t.x_stride;
        t.y += step * t.y_stride;
    }
}

/* A product of n_out outputs, from the first of a group on. */
INLINE void amx_product_of(weight_type type, operands all, size_t n_out, size_t n_rows) {
    const packed_layout l = packed_layout_of(type);
    const size_t parts = all.n_in / ACT_BLOCK, parts_of_block = l.inputs / ACT_BLOCK;
    amx_group w[AMX_GROUPS];
    for (size_t o = 0; o < n_out; o += AMX_GROUPS * PACKED_ROWS) {
        size_t n_groups = (n_out - o + PACKED_ROWS - 1) / PACKED_ROWS;
        if (n_groups > AMX_GROUPS) n_groups = AMX_GROUPS;
        for (size_t p = 0; p < parts; p += AMX_PARTS) {
            size_t n_parts = parts - p < AMX_PARTS ? parts - p : AMX_PARTS;
            const uint8_t *block = all.w + o / PACKED_ROWS * all.group_bytes +
                                   p / parts_of_block * packed_block_bytes(&l);
            operands t = all;
            t.x += p * sizeof(act_block);
            t.y += o;
            t.n_out = n_out - o;
            for (size_t g = 0; g < n_groups; g++, block += all.group_bytes)
                amx_unpack(type, block, n_parts / parts_of_block, &w[g]);
            amx_rows(type, w, n_groups, n_parts, p > 0, n_rows, t);
        }
    }
    _tile_release();
}

#endif
