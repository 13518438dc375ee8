/* matmul.h: a product with a packed matrix of any type: by vectors (products.h), or, of many rows
 * and where the instruction set has them, in tiles (tiles.h). */
#ifndef PERILUNE_MATH_MATMUL_H
#define PERILUNE_MATH_MATMUL_H

#include <assert.h>

#include "math/products.h"
#ifdef SIMD_AMX
#include "math/tiles.h"
#endif

INLINE void block_product(weight_type type, operands all, size_t n_out, size_t n_rows) {
#ifdef SIMD_AMX
    if (n_rows >= AMX_LEAST) {
        amx_product_of(type, all, n_out, n_rows);
        return;
    }
#endif
    product_of(type, all, n_out, n_rows);
}

static void matmul(const matrix *w, size_t o_begin, size_t o_end, const void *x, size_t x_stride,
                   size_t n_rows, float *y, size_t y_stride) {
    size_t bytes = matrix_group_bytes(w), n_out = o_end - o_begin;
    operands all = {
        .w = w->packed + o_begin / PACKED_ROWS * bytes,
        .x = x,
        .y = y + o_begin,
        .n_in = w->n_in,
        .group_bytes = bytes,
        .y_stride = y_stride,
        .x_stride = matrix_act_kind(w->type) == ACT_F32 ? x_stride * sizeof(float)
                                                        : act_q8_stride(w->n_in),
    };
    switch (w->type) { /* each case is compiled for its type */
    case TYPE_F32: float_product_of(TYPE_F32, all, bytes, n_out, n_rows); break;
    case TYPE_F16: float_product_of(TYPE_F16, all, bytes, n_out, n_rows); break;
    case TYPE_BF16: float_product_of(TYPE_BF16, all, bytes, n_out, n_rows); break;
    case TYPE_Q8_0: block_product(TYPE_Q8_0, all, n_out, n_rows); break;
    case TYPE_Q4_0: block_product(TYPE_Q4_0, all, n_out, n_rows); break;
    case TYPE_Q4_1: block_product(TYPE_Q4_1, all, n_out, n_rows); break;
    case TYPE_Q5_0: block_product(TYPE_Q5_0, all, n_out, n_rows); break;
    case TYPE_Q5_1: block_product(TYPE_Q5_1, all, n_out, n_rows); break;
    case TYPE_Q2_K: block_product(TYPE_Q2_K, all, n_out, n_rows); break;
    case TYPE_Q3_K: block_product(TYPE_Q3_K, all, n_out, n_rows); break;
    case TYPE_Q4_K: block_product(TYPE_Q4_K, all, n_out, n_rows); break;
    case TYPE_Q5_K: block_product(TYPE_Q5_K, all, n_out, n_rows); break;
    case TYPE_Q6_K: block_product(TYPE_Q6_K, all, n_out, n_rows); break;
    case TYPE_IQ4_NL: block_product(TYPE_IQ4_NL, all, n_out, n_rows); break;
    case TYPE_IQ4_XS: block_product(TYPE_IQ4_XS, all, n_out, n_rows); break;
    case TYPE_MXFP4: block_product(TYPE_MXFP4, all, n_out, n_rows); break;
    default: assert(false); /* a matrix is only made of types that have a kernel */
    }
}

#endif
