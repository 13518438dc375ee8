/* products.h: matrix products over packed weights (packed.h), written once over simd.h. A vector
 * lane is an output.
 *
 * An output is one sum, over the inputs in order: of quantized weights, block of 32 after block,
 * whole numbers within a block and then scale * d * sum (and the minimum's share) by fused
 * multiply-adds; of floats, input after input. How many rows are computed side by side changes
 * nothing about it. */
#ifndef PERILUNE_MATH_PRODUCTS_H
#define PERILUNE_MATH_PRODUCTS_H

#include "math/packed.h"
#include "math/simd.h"

#define PARTS 8  /* of 32 weights in a block of 256 */
#define PIECES 8 /* of four weights in a part */

/* One call's operands, cut to the group of outputs (the lanes of it) and the rows that a tile
 * starts at. */
typedef struct {
    const uint8_t *w;   /* the group */
    size_t lane;        /* the tile's first output in the group: 0, VL, ... */
    const uint8_t *x;   /* [rows][x_stride bytes] */
    float *y;           /* [rows][y_stride], at the tile's first output */
    size_t n_in, x_stride, y_stride,
        n_out;          /* n_out: outputs to be stored of each vector, VL at most */
    size_t group_bytes; /* from group to group */
    const uint8_t *next;
    size_t next_step; /* what is asked for meanwhile: so many bytes with each block; 0: nothing */
} operands;

/* ---- quantized weights ---- */

INLINE bool has_parts(weight_type type) {
    return type == TYPE_Q2_K || type == TYPE_Q3_K || type == TYPE_Q4_K || type == TYPE_Q5_K ||
           type == TYPE_Q6_K || type == TYPE_IQ4_XS;
}

/* Whether scales belong to groups of 16. */
INLINE bool has_groups(weight_type type) {
    return type == TYPE_Q2_K || type == TYPE_Q3_K || type == TYPE_Q6_K;
}

/* Parts whose bits lie in the same bytes: they are unrolled, so that their shifts are constants. */
INLINE size_t parts_together(weight_type type) {
    if (has_groups(type)) return 4;
    return type == TYPE_Q4_K || type == TYPE_Q5_K ? 2 : 1;
}

/* What codes have too much: a weight is scale * (code - that). */
INLINE int too_much(weight_type type) {
    switch (type) {
    case TYPE_Q8_0:
    case TYPE_IQ4_NL:
    case TYPE_MXFP4:
    case TYPE_IQ4_XS: return SIGNED_TOO_MUCH;
    case TYPE_Q6_K: return 32;
    case TYPE_Q5_0: return 16;
    case TYPE_Q4_0: return 8;
    case TYPE_Q3_K: return 4;
    default: return 0;
    }
}

/* How many vectors of outputs a tile has, and rows. Side by side, two vectors share the loads of
 * what is broadcast to them; but where a weight is put together from several places, that is better
 * shared by more rows. */
INLINE size_t tile_vectors(weight_type type) {
    bool light = type == TYPE_Q4_0 || type == TYPE_Q8_0;
    return light ? TILE_VECTORS : 1;
}
INLINE size_t tile_rows(weight_type type) {
    return tile_vectors(type) > 1 ? TILE_ROWS / 2 : TILE_ROWS;
}

INLINE int largest_code(weight_type type) {
    switch (type) {
    case TYPE_Q4_0:
    case TYPE_Q4_1:
    case TYPE_Q4_K: return 15;
    case TYPE_Q5_0:
    case TYPE_Q5_1:
    case TYPE_Q5_K: return 31;
    case TYPE_Q6_K: return 63;
    case TYPE_Q3_K: return 7;
    case TYPE_Q2_K: return 3;
    default: return 255; /* signed bytes */
    }
}

/* Piece j of part first + t of a block; first is a multiple of parts_together. high and low: the
 * block's lines, at the tile's lanes. */
INLINE vb piece(weight_type type, const uint8_t *high, const uint8_t *low, size_t first, size_t t,
                size_t j) {
    const int nibble = (int)(j / 4 * 4), k = (int)t; /* constants where this is inlined */
    size_t half = first / 4; /* of a block of 256 */
    switch (type) {
    case TYPE_Q8_0: return v_from_signed(v_line(low + j * PACKED_LINE));
    case TYPE_Q4_0:
    case TYPE_Q4_1: return v_move_bits(v_line(low + j % 4 * PACKED_LINE), nibble, 0, 15);
    case TYPE_Q5_0:
    case TYPE_Q5_1:
        return v_or(v_move_bits(v_line(low + j % 4 * PACKED_LINE), nibble, 0, 15),
                    v_move_bits(v_line(high), (int)j, 4, 16));
    case TYPE_IQ4_NL:
        return v_levels(iq4_levels, v_move_bits(v_line(low + j % 4 * PACKED_LINE), nibble, 0, 15));
    case TYPE_MXFP4:
        return v_levels(mxfp4_levels,
                        v_move_bits(v_line(low + j % 4 * PACKED_LINE), nibble, 0, 15));
    case TYPE_IQ4_XS:
        return v_levels(iq4_levels, v_move_bits(v_line(low + (4 * first + j % 4) * PACKED_LINE),
                                                nibble, 0, 15));
    case TYPE_Q4_K: return v_move_bits(v_line(low + (4 * first + j) * PACKED_LINE), 4 * k, 0, 15);
    case TYPE_Q5_K:
        return v_or(v_move_bits(v_line(low + (4 * first + j) * PACKED_LINE), 4 * k, 0, 15),
                    v_move_bits(v_shift_right(v_line(high + j * PACKED_LINE), first), k, 4, 16));
    case TYPE_Q6_K:
        return v_or(v_move_bits(v_line(low + (16 * half + 8 * (t % 2) + j) * PACKED_LINE),
                                k / 2 * 4, 0, 15),
                    v_move_bits(v_line(high + (8 * half + j) * PACKED_LINE), 2 * k, 4, 0x30));
    case TYPE_Q3_K:
        return v_or(v_move_bits(v_line(low + (8 * half + j) * PACKED_LINE), 2 * k, 0, 3),
                    v_move_bits(v_shift_right(v_line(high + j * PACKED_LINE), first), k, 2, 4));
    default: return v_move_bits(v_line(low + (8 * half + j) * PACKED_LINE), 2 * k, 0, 3); /* Q2_K */
    }
}

/* Scales of a part, as floats: one for its 32 weights, or two for 16 each; and minima, which are
 * subtracted. */
typedef struct { vf scale[2], min[2]; } part_scales;

INLINE part_scales scales_of(weight_type type, const packed_layout *l, const uint8_t *block,
                             size_t lane, size_t part, vf d, vf m) {
    const uint8_t *scales = block + packed_scales_at(l) + lane,
                  *minima = block + packed_minima_at(l) + lane;
    part_scales s = {{d, d}, {v_sub(v_zero(), m), m}}; /* of blocks of 32, m is added */
    if (type == TYPE_Q4_K || type == TYPE_Q5_K) {
        s.scale[0] = v_mul(d, v_load_u8(scales + part * PACKED_ROWS));
        s.min[0] = v_mul(m, v_load_u8(minima + part * PACKED_ROWS));
    } else if (type == TYPE_IQ4_XS) {
        s.scale[0] = v_mul(d, v_load_i8(scales + part * PACKED_ROWS));
    } else if (type == TYPE_Q2_K) {
        for (size_t g = 0; g < 2; g++) {
            v_load_u4(scales + (2 * part + g) * PACKED_ROWS, &s.scale[g], &s.min[g]);
            s.scale[g] = v_mul(d, s.scale[g]);
            s.min[g] = v_mul(m, s.min[g]);
        }
    } else if (has_groups(type)) {
        for (size_t g = 0; g < 2; g++)
            s.scale[g] = v_mul(d, v_load_i8(scales + (2 * part + g) * PACKED_ROWS));
    }
    return s;
}

/* Whole sums of pieces [from, to) of n_g vectors: piece after piece for all of them, so that four
 * activations are broadcast once. */
INLINE void dot_pieces(weight_type type, size_t n_g, vb sum[TILE_VECTORS], int32_t minus_sum,
                       vb w[TILE_VECTORS][PIECES], const int8_t *q, size_t from, size_t to) {
    int most = largest_code(type);
    vb start = v_start(minus_sum, too_much(type));
    UNROLL
    for (size_t g = 0; g < n_g; g++) sum[g] = start;
    if (n_g == 1) {
        sum[0] = v_dot(sum[0], w[0] + from, q + 4 * from, to - from, most);
        return;
    }
    UNROLL
    for (size_t j = from; j < to; j++) {
        UNROLL
        for (size_t g = 0; g < n_g; g++) sum[g] = v_dot(sum[g], &w[g][j], q + 4 * j, 1, most);
    }
}

INLINE bool has_minima(weight_type type) {
    return type == TYPE_Q4_1 || type == TYPE_Q5_1 || type == TYPE_Q4_K || type == TYPE_Q5_K;
}

/* What a row's activations say of a part: act_block's d, s and minus_half, in every lane. */
typedef struct { vf d, s, minus_half[2]; } act_scales;

INLINE act_scales act_scales_of(const act_block *x) {
    return (act_scales){v_set1(x->d),
                        v_set1(x->s),
                        {v_set1((float)x->minus_half[0]), v_set1((float)x->minus_half[1])}};
}

/* A sum and what a part adds to it, whose whole sums are these: of all its inputs, or, where scales
 * belong to groups of 16, of its first and second half. */
INLINE vf add_whole(weight_type type, vb first, vb second, part_scales w, act_scales x, vf sum) {
    if (!has_groups(type)) {
        sum = v_fma(v_from_ints(first), v_mul(w.scale[0], x.d), sum);
        return has_minima(type) ? v_fnma(w.min[0], x.s, sum) : sum;
    }
    vf both = v_fma(v_from_ints(second), w.scale[1], v_mul(v_from_ints(first), w.scale[0]));
    if (type == TYPE_Q2_K) {
        both = v_fma(w.min[0], x.minus_half[0], both);
        both = v_fma(w.min[1], x.minus_half[1], both);
    }
    return v_fma(both, x.d, sum);
}

/* What a part adds to the r-th row's sums, of n_g vectors of outputs. */
INLINE void add_part(weight_type type, size_t n_g, vb w[TILE_VECTORS][PIECES],
                     const part_scales s[TILE_VECTORS], const act_block *x,
                     vf sum[TILE_VECTORS][TILE_ROWS], size_t r) {
    vb first[TILE_VECTORS], second[TILE_VECTORS];
    if (has_groups(type)) {
        dot_pieces(type, n_g, first, x->minus_half[0], w, x->q, 0, PIECES / 2);
        dot_pieces(type, n_g, second, x->minus_half[1], w, x->q, PIECES / 2, PIECES);
    } else {
        dot_pieces(type, n_g, first, x->minus_sum, w, x->q, 0, PIECES);
    }
    UNROLL
    for (size_t g = 0; g < n_g; g++)
        sum[g][r] = add_whole(type, first[g], has_groups(type) ? second[g] : first[g], s[g],
                              act_scales_of(x), sum[g][r]);
}

/* One row needs the weights as fast as memory gives them: asks for n bytes, a little further on
 * than the processor's own prefetcher looks within a block whose fields are read side by side. What
 * lies beyond the matrix is never touched. */
#define PREFETCH_AHEAD 4096
INLINE void prefetch(const uint8_t *p, size_t n) {
    UNROLL
    for (size_t i = 0; i < n; i += 64)
        __builtin_prefetch((const void *)((uintptr_t)p + PREFETCH_AHEAD + i));
}

/* With a few rows, the weights that come next are asked for while these are in use: each tile of
 * rows asks for its share. */
INLINE void ask_for_next(const operands *t, size_t block) {
    for (size_t i = 0; i < t->next_step; i += 64)
        __builtin_prefetch((const void *)((uintptr_t)t->next + block * t->next_step + i), 0, 2);
}

INLINE void store_sums(operands t, size_t n_r, const vf *sum) {
    UNROLL
    for (size_t r = 0; r < n_r; r++) {
        if (t.n_out == VL) v_store(t.y + r * t.y_stride, sum[r]);
        else v_store_part(t.y + r * t.y_stride, sum[r], t.n_out);
    }
}

/* n_g vectors of outputs, of neighbouring groups, of n_r rows; ask: for t.next (constants wherever
 * this is inlined). */
INLINE void block_tile(weight_type type, size_t n_g, size_t n_r, bool ask, operands t) {
    const packed_layout l = packed_layout_of(type);
    const size_t n_parts = has_parts(type) ? PARTS : 1, together = parts_together(type),
                 bytes = packed_block_bytes(&l);
    const uint8_t *block = t.w, *x = t.x;
    vf sum[TILE_VECTORS][TILE_ROWS], d[TILE_VECTORS], m[TILE_VECTORS];
    UNROLL
    for (size_t g = 0; g < n_g; g++) {
        m[g] = v_zero();
        UNROLL
        for (size_t r = 0; r < n_r; r++) sum[g][r] = v_zero();
    }
    for (size_t b = 0; b < t.n_in / l.inputs; b++, block += bytes) {
        UNROLL
        for (size_t g = 0; g < n_g; g++) {
            const uint8_t *of_group = block + g * t.group_bytes;
            d[g] = l.exponents ? v_load_e8m0(of_group + t.lane) : v_load_f16(of_group + 2 * t.lane);
            if (l.halves == 2) m[g] = v_load_f16(of_group + 2 * (PACKED_ROWS + t.lane));
        }
        if (ask) ask_for_next(&t, b);
        for (size_t first = 0; first < n_parts; first += together) {
            UNROLL
            for (size_t k = 0; k < together; k++, x += sizeof(act_block)) {
                part_scales s[TILE_VECTORS];
                vb w[TILE_VECTORS][PIECES];
                if (n_r == 1) prefetch(block + (first + k) * bytes / n_parts, bytes / n_parts);
                UNROLL
                for (size_t g = 0; g < n_g; g++) {
                    const uint8_t *of_group = block + g * t.group_bytes;
                    const uint8_t *high = of_group + packed_high_at(&l) + 4 * t.lane;
                    const uint8_t *low = of_group + packed_low_at(&l) + 4 * t.lane;
                    s[g] = scales_of(type, &l, of_group, t.lane, first + k, d[g], m[g]);
                    UNROLL
                    for (size_t j = 0; j < PIECES; j++)
                        w[g][j] = piece(type, high, low, first, k, j);
                }
                UNROLL
                for (size_t r = 0; r < n_r; r++) {
                    const act_block *row = (const act_block *)(const void *)(x + r * t.x_stride);
                    add_part(type, n_g, w, s, row, sum, r);
                }
            }
        }
    }
    UNROLL
    for (size_t g = 0; g < n_g; g++) {
        store_sums(t, n_r, sum[g]);
        t.y += VL;
    }
}

/* The same for one row, of as many vectors as a group has, and one after the other within a part:
 * no line is read twice. */
INLINE void row_tile(weight_type type, operands t) {
    const packed_layout l = packed_layout_of(type);
    const size_t n_parts = has_parts(type) ? PARTS : 1, together = parts_together(type),
                 bytes = packed_block_bytes(&l);
    const uint8_t *block = t.w, *x = t.x;
    vf sum[TILE_VECTORS][TILE_ROWS], d[ROW_VECTORS],
        m[ROW_VECTORS]; /* sum: a vector where a tile has a row */
    UNROLL
    for (size_t v = 0; v < ROW_VECTORS; v++) sum[0][v] = m[v] = v_zero();
    for (size_t b = 0; b < t.n_in / l.inputs; b++, block += bytes) {
        const uint8_t *high = block + packed_high_at(&l), *low = block + packed_low_at(&l);
        UNROLL
        for (size_t v = 0; v < ROW_VECTORS; v++) {
            d[v] = l.exponents ? v_load_e8m0(block + v * VL) : v_load_f16(block + 2 * v * VL);
            if (l.halves == 2) m[v] = v_load_f16(block + 2 * (PACKED_ROWS + v * VL));
        }
        for (size_t first = 0; first < n_parts; first += together) {
            UNROLL
            for (size_t k = 0; k < together; k++, x += sizeof(act_block)) {
                prefetch(block + (first + k) * bytes / n_parts, bytes / n_parts);
                for (size_t v = 0; v < ROW_VECTORS; v++) {
                    part_scales s[TILE_VECTORS];
                    vb w[TILE_VECTORS][PIECES];
                    s[0] = scales_of(type, &l, block, v * VL, first + k, d[v], m[v]);
                    UNROLL
                    for (size_t j = 0; j < PIECES; j++)
                        w[0][j] = piece(type, high + 4 * v * VL, low + 4 * v * VL, first, k, j);
                    add_part(type, 1, w, s, (const act_block *)(const void *)x, sum, v);
                }
            }
        }
    }
    UNROLL
    for (size_t v = 0; v < ROW_VECTORS; v++, t.y += VL) store_sums(t, 1, &sum[0][v]);
}

/* ---- floats ---- */

/* vectors of outputs side by side: enough sums to hide the latency of adding */
#define FLOAT_GROUPS 2

INLINE vf load_floats(weight_type type, const uint8_t *p) {
    return type == TYPE_F32 ? v_load(p) : type == TYPE_F16 ? v_load_f16(p) : v_load_bf16(p);
}

/* The same for floats; n_g vectors of outputs, stride bytes apart, whose results lie side by
 * side. */
INLINE void float_tile(weight_type type, size_t n_g, size_t n_r, operands t, size_t stride,
                       size_t out_step) {
    const size_t item = type == TYPE_F32 ? 4 : 2;
    const uint8_t *w = t.w + item * t.lane;
    vf sum[4][TILE_ROWS];
    UNROLL
    for (size_t g = 0; g < n_g; g++) {
        UNROLL
        for (size_t r = 0; r < n_r; r++) sum[g][r] = v_zero();
    }
    for (size_t i = 0; i < t.n_in; i++, w += item * PACKED_ROWS) {
        vf v[4];
        UNROLL
        for (size_t g = 0; g < n_g; g++) v[g] = load_floats(type, w + g * stride);
        UNROLL
        for (size_t r = 0; r < n_r; r++) {
            vf x = v_set1(((const float *)(const void *)(t.x + r * t.x_stride))[i]);
            UNROLL
            for (size_t g = 0; g < n_g; g++) sum[g][r] = v_fma(v[g], x, sum[g][r]);
        }
    }
    UNROLL
    for (size_t g = 0; g < n_g; g++) {
        store_sums(t, n_r, sum[g]);
        t.y += out_step;
    }
}

/* ---- tiles ---- */

/* n_rows rows of n_g vectors of outputs, in the largest tiles that they fill. ask: meanwhile the
 * weights of the next vectors, of which each tile's share is next_step bytes a block, come from
 * memory. */
INLINE void block_rows(weight_type type, size_t n_g, bool ask, size_t n_rows, operands t) {
    const size_t most = tile_rows(type);
    if (ask) t.next_step = t.next_step * most / (n_rows + most - 1) + 1;
    for (size_t r = 0, step; r < n_rows;
         r += step, t.x += step * t.x_stride, t.y += step * t.y_stride) {
        size_t left = n_rows - r;
        step = left >= most ? most : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        if (step == most) block_tile(type, n_g, tile_rows(type), ask, t);
        else if (step == 4) block_tile(type, n_g, 4, ask, t);
        else if (step == 2) block_tile(type, n_g, 2, ask, t);
        else block_tile(type, n_g, 1, false, t);
        if (ask) t.next += t.next_step * (t.n_in / packed_layout_of(type).inputs);
    }
}

INLINE void float_rows(weight_type type, size_t n_g, size_t n_rows, operands t, size_t stride) {
    for (size_t r = 0, step; r < n_rows;
         r += step, t.x += step * t.x_stride, t.y += step * t.y_stride) {
        size_t left = n_rows - r;
        step = left >= TILE_ROWS ? TILE_ROWS : left >= 4 ? 4 : 1;
        if (step == TILE_ROWS) float_tile(type, n_g, TILE_ROWS, t, stride, VL);
        else if (step == 4) float_tile(type, n_g, 4, t, stride, VL);
        else float_tile(type, n_g, 1, t, stride, VL);
    }
}

/* Of many rows, groups are taken in bunches that stay in the second-level cache while rows pass by,
 * and rows in the order of tiles, which stay in the first-level one while a bunch passes by. A few
 * rows pass by each tile's outputs, while the next tile's weights come from memory. */
#define BUNCH_BYTES ((size_t)384 << 10)
#define FEW_ROWS 32

INLINE void product_of(weight_type type, operands all, size_t n_out, size_t n_rows) {
    const size_t wide = tile_vectors(type) * VL, blocks = all.n_in / packed_layout_of(type).inputs;
    bool few = n_rows <= FEW_ROWS;
    size_t bunch = BUNCH_BYTES / (all.group_bytes + 1) / TILE_VECTORS * TILE_VECTORS * PACKED_ROWS;
    size_t tile = few ? n_rows : tile_rows(type);
    if (bunch == 0) bunch = TILE_VECTORS * PACKED_ROWS;
    if (few) bunch = n_out;
    for (size_t begin = 0; begin < n_out; begin += bunch) {
        size_t end = n_out - begin < bunch ? n_out : begin + bunch;
        for (size_t r = 0; r < n_rows; r += tile) {
            size_t rows = n_rows - r < tile ? n_rows - r : tile;
            for (size_t o = begin, n_g; o < end; o += n_g * VL) {
                n_g = rows > 1 && end - o >= wide ? tile_vectors(type) : 1;
                operands t = all;
                t.w += o / PACKED_ROWS * all.group_bytes;
                t.lane = o % PACKED_ROWS;
                t.x += r * all.x_stride;
                t.y += r * all.y_stride + o;
                t.n_out = end - o < VL ? end - o : VL;
                if (ROW_VECTORS > 1 && rows == 1 && t.lane == 0 && end - o >= PACKED_ROWS) {
                    n_g = ROW_VECTORS;
                    row_tile(type, t);
                } else if (few && n_g * VL == wide && rows > 1) {
                    /* This vector's share; what lies beyond the matrix is never touched. */
                    t.next = t.w + n_g * all.group_bytes + t.lane * all.group_bytes / PACKED_ROWS;
                    t.next_step = n_g * all.group_bytes * VL / PACKED_ROWS / blocks;
                    block_rows(type, tile_vectors(type), true, rows, t);
                } else if (n_g > 1) {
                    block_rows(type, tile_vectors(type), false, rows, t);
                } else {
                    block_rows(type, 1, false, rows, t);
                }
            }
        }
    }
}

/* Vectors of outputs side by side: those of one group where it has several, of neighbouring groups
 * where it has one. */
INLINE void float_product_of(weight_type type, operands all, size_t group_bytes, size_t n_out,
                             size_t n_rows) {
    const size_t item = type == TYPE_F32 ? 4 : 2,
                 stride = VL == PACKED_ROWS ? group_bytes : item * VL;
    for (size_t o = 0, step; o < n_out; o += step * VL) {
        size_t whole = (n_out - o) / VL; /* vectors that are stored whole */
        step = whole >= 4 && n_rows < 4 ? 4 : whole >= FLOAT_GROUPS ? FLOAT_GROUPS : 1;
        while (VL != PACKED_ROWS && step * VL > PACKED_ROWS - o % PACKED_ROWS)
            step /= 2; /* within a group */
        operands t = all;
        t.w += o / PACKED_ROWS * group_bytes;
        t.lane = o % PACKED_ROWS;
        t.y += o;
        t.n_out = n_out - o < VL ? n_out - o : VL;
        if (step == 4) float_rows(type, 4, n_rows, t, stride);
        else if (step == FLOAT_GROUPS) float_rows(type, FLOAT_GROUPS, n_rows, t, stride);
        else float_rows(type, 1, n_rows, t, stride);
    }
}

#endif
