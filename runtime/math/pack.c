/* pack.c: from a file's rows to the packed layout (packed.h). Only bytes move, and scales of few
 * bits get a byte each: no weight changes. */
#include <string.h>

#include "math/packed.h"

/* Where a file's block has its fields, in bytes (gguf/blocks.c, gguf/superblocks.c). */
typedef struct { uint8_t d, m, scales, high, low; } fields;

static fields fields_of(weight_type type) {
    switch (type) {
    case TYPE_Q8_0:
    case TYPE_Q4_0:
    case TYPE_IQ4_NL: return (fields){.d = 0, .low = 2};
    case TYPE_MXFP4: return (fields){.d = 0, .low = 1};
    case TYPE_Q4_1: return (fields){.d = 0, .m = 2, .low = 4};
    case TYPE_Q5_0: return (fields){.d = 0, .high = 2, .low = 6};
    case TYPE_Q5_1: return (fields){.d = 0, .m = 2, .high = 4, .low = 8};
    case TYPE_Q2_K: return (fields){.d = 80, .m = 82, .scales = 0, .low = 16};
    case TYPE_Q3_K: return (fields){.d = 108, .scales = 96, .high = 0, .low = 32};
    case TYPE_Q4_K: return (fields){.d = 0, .m = 2, .scales = 4, .low = 16};
    case TYPE_Q5_K: return (fields){.d = 0, .m = 2, .scales = 4, .high = 16, .low = 48};
    case TYPE_Q6_K: return (fields){.d = 208, .scales = 192, .high = 128, .low = 0};
    default: return (fields){.d = 0, .scales = 2, .low = 8}; /* IQ4_XS */
    }
}

/* Six bits each, as gguf/superblocks.c tells: 16 scales, plus 32. */
static void unpack_q3_k(const uint8_t *p, uint8_t *scales) {
    for (int g = 0; g < 16; g++) {
        int low = p[g % 8] >> g / 8 * 4 & 15, upper = p[8 + g % 4] >> g / 4 * 2 & 3;
        scales[g] = (uint8_t)((low | upper << 4) - 32);
    }
}

/* Eight scales and eight minima. */
static void unpack_q4_k(const uint8_t *s, uint8_t *scales, uint8_t *minima) {
    for (int k = 0; k < 4; k++) {
        scales[k] = s[k] & 63;
        minima[k] = s[k + 4] & 63;
        scales[k + 4] = (uint8_t)((s[k + 8] & 15) | s[k] >> 6 << 4);
        minima[k + 4] = (uint8_t)(s[k + 8] >> 4 | s[k + 4] >> 6 << 4);
    }
}

/* Eight scales, plus 32: the upper two bits in 16 bits, the lower four in four bytes. */
static void unpack_iq4_xs(const uint8_t *p, uint8_t *scales) {
    unsigned upper = p[0] | (unsigned)p[1] << 8;
    for (int k = 0; k < 8; k++) {
        int low = p[2 + k / 2] >> k % 2 * 4 & 15;
        scales[k] = (uint8_t)((low | (int)(upper >> 2 * k & 3) << 4) - 32);
    }
}

static void unpack_scales(weight_type type, const uint8_t *p, uint8_t *scales, uint8_t *minima) {
    switch (type) {
    case TYPE_Q3_K: unpack_q3_k(p, scales); break;
    case TYPE_Q4_K:
    case TYPE_Q5_K: unpack_q4_k(p, scales, minima); break;
    case TYPE_IQ4_XS: unpack_iq4_xs(p, scales); break;
    default: memcpy(scales, p, 16); /* Q2_K, Q6_K */
    }
}

/* Bit 4 j + k becomes bit j of byte k: the fifth bits of 32 weights, piece by piece. */
static void sort_bits(const uint8_t *p, uint8_t *out) {
    uint32_t bits, sorted = 0;
    memcpy(&bits, p, sizeof bits);
    for (int j = 0; j < 8; j++) sorted |= ((bits >> 4 * j & 15) * 0x00204081u & 0x01010101u) << j;
    memcpy(out, &sorted, sizeof sorted);
}

static void spread(const uint8_t *p, size_t lines, uint8_t *out) {
    for (size_t i = 0; i < lines; i++) memcpy(out + i * PACKED_LINE, p + 4 * i, 4);
}

/* One row's block into lane `row` of a packed one. */
static void pack_block(weight_type type, const packed_layout *l, const fields *f, const uint8_t *p,
                       size_t row, uint8_t *out) {
    uint8_t scales[16], minima[16];
    if (l->exponents) out[row] = p[f->d];
    else memcpy(out + 2 * row, p + f->d, 2);
    if (l->halves == 2) memcpy(out + 2 * (PACKED_ROWS + row), p + f->m, 2);
    if (l->scales) {
        unpack_scales(type, p + f->scales, scales, minima);
        for (size_t i = 0; i < l->scales; i++)
            out[packed_scales_at(l) + i * PACKED_ROWS + row] = scales[i];
        for (size_t i = 0; i < l->minima; i++)
            out[packed_minima_at(l) + i * PACKED_ROWS + row] = minima[i];
    }
    if (l->high == 1) sort_bits(p + f->high, out + packed_high_at(l) + 4 * row);
    else spread(p + f->high, l->high, out + packed_high_at(l) + 4 * row);
    spread(p + f->low, l->low, out + packed_low_at(l) + 4 * row);
}

static bool is_float(weight_type type) { return matrix_act_kind(type) == ACT_F32; }

size_t matrix_group_bytes(const matrix *w) {
    if (is_float(w->type))
        return (w->n_in * weight_format_of(w->type)->bytes * PACKED_ROWS + 63) & ~(size_t)63;
    packed_layout l = packed_layout_of(w->type);
    return w->n_in / l.inputs * packed_block_bytes(&l);
}

static void pack_floats(const matrix *w, size_t first, size_t rows, uint8_t *out) {
    size_t item = weight_format_of(w->type)->bytes;
    for (size_t r = 0; r < rows; r++) {
        const uint8_t *p = (const uint8_t *)w->data + (first + r) * w->row_bytes;
        uint8_t *q = out + r * item;
        if (item == 2)
            for (size_t i = 0; i < w->n_in; i++) memcpy(q + i * 2 * PACKED_ROWS, p + 2 * i, 2);
        else
            for (size_t i = 0; i < w->n_in; i++) memcpy(q + i * 4 * PACKED_ROWS, p + 4 * i, 4);
    }
}

matrix matrix_outputs(const matrix *w, size_t begin, size_t end) {
    matrix part = *w;
    part.n_out = end - begin;
    part.data = (const uint8_t *)w->data + begin * w->row_bytes;
    if (w->packed) part.packed = w->packed + begin / PACKED_ROWS * matrix_group_bytes(w);
    return part;
}

void matrix_pack(const matrix *w, size_t first, size_t n, uint8_t *out) {
    size_t bytes = matrix_group_bytes(w);
    for (size_t g = first; g < first + n; g++, out += bytes) {
        size_t row = g * PACKED_ROWS,
               rows = w->n_out - row < PACKED_ROWS ? w->n_out - row : PACKED_ROWS;
        if (rows < PACKED_ROWS) memset(out, 0, bytes);
        if (is_float(w->type)) {
            pack_floats(w, row, rows, out);
            continue;
        }
        packed_layout l = packed_layout_of(w->type);
        fields f = fields_of(w->type);
        size_t block = weight_format_of(w->type)->bytes, packed = packed_block_bytes(&l);
        for (size_t b = 0; b < w->n_in / l.inputs; b++)
            for (size_t r = 0; r < rows; r++)
                pack_block(w->type, &l, &f,
                           (const uint8_t *)w->data + (row + r) * w->row_bytes + b * block, r,
                           out + b * packed);
    }
}
