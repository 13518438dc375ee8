/* packed.h: weights laid out for the kernels that read them. A packed matrix is groups of
 * PACKED_ROWS rows (outputs), one after the other; the last group is filled up with rows of zeros.
 * A group holds the format's blocks of its rows, block after block, with the rows interleaved, so
 * that a vector lane is an output and no sum crosses lanes:
 *
 *   - what a block says once (halves d, m or dmin, the byte e) lies for all rows side by
 *     side: [row];
 *   - so do scales of parts of a block, unpacked to a byte each: [part][row];
 *   - its codes are cut into pieces of four bytes, and a line is the same piece of all rows:
 *     [piece][row][4]. Each byte of a piece is multiplied with one of four neighbouring
 *     activations; bytes that hold several codes hold those of inputs that lie a part (or half a
 *     part) apart, as the file has them.
 *
 * Q5_0's and Q5_1's upper bits are sorted so that, as elsewhere, one bit of all four bytes belongs
 * to one piece. No format grows by more than 4 %. Floats lie as [input][row]. */
#ifndef PERILUNE_MATH_PACKED_H
#define PERILUNE_MATH_PACKED_H

#include "math/math.h"

#define PACKED_LINE (4 * PACKED_ROWS) /* bytes */

/* A format's packed block, in bytes from its start: halves, then bytes that are scales, then
 * lines. */
typedef struct {
    uint16_t inputs;    /* weights of a row in it: 32 or 256 */
    uint8_t halves;     /* d; with 2 also m or dmin */
    uint8_t exponents;  /* 1: a byte e in place of d */
    uint8_t scales;     /* bytes for each row: of parts of 32, or of 16 */
    uint8_t minima;     /* the same, of minima */
    uint8_t high;       /* lines of upper bits, */
    uint8_t low;        /* and of the others */
} packed_layout;

static inline size_t packed_scales_at(const packed_layout *l) {
    return (2u * l->halves + l->exponents) * PACKED_ROWS;
}
static inline size_t packed_minima_at(const packed_layout *l) {
    return packed_scales_at(l) + l->scales * PACKED_ROWS;
}
static inline size_t packed_high_at(const packed_layout *l) {
    return packed_minima_at(l) + l->minima * PACKED_ROWS;
}
static inline size_t packed_low_at(const packed_layout *l) {
    return packed_high_at(l) + l->high * PACKED_LINE;
}
static inline size_t packed_block_bytes(const packed_layout *l) {
    return packed_low_at(l) + l->low * PACKED_LINE;
}

/* Of a supported quantized type. */
static inline packed_layout packed_layout_of(weight_type type) {
    switch (type) {
    case TYPE_Q8_0: return (packed_layout){32, 1, 0, 0, 0, 0, 8};
    case TYPE_Q4_0:
    case TYPE_IQ4_NL: return (packed_layout){32, 1, 0, 0, 0, 0, 4};
    case TYPE_MXFP4: return (packed_layout){32, 0, 1, 0, 0, 0, 4};
    case TYPE_Q4_1: return (packed_layout){32, 2, 0, 0, 0, 0, 4};
    case TYPE_Q5_0: return (packed_layout){32, 1, 0, 0, 0, 1, 4};
    case TYPE_Q5_1: return (packed_layout){32, 2, 0, 0, 0, 1, 4};
    case TYPE_Q2_K: return (packed_layout){256, 2, 0, 16, 0, 0, 16}; /* minima in the same bytes */
    case TYPE_Q3_K: return (packed_layout){256, 1, 0, 16, 0, 8, 16};
    case TYPE_Q4_K: return (packed_layout){256, 2, 0, 8, 8, 0, 32};
    case TYPE_Q5_K: return (packed_layout){256, 2, 0, 8, 8, 8, 32};
    case TYPE_Q6_K: return (packed_layout){256, 1, 0, 16, 0, 16, 32};
    default: return (packed_layout){256, 1, 0, 8, 0, 0, 32}; /* IQ4_XS */
    }
}

#endif
