/* kernels_impl.h: every kernel, written once over simd.h (matrix products in products.h); included
 * once by each instruction set's file, which names the table. What holds throughout: an output's
 * expression and its order depend on shapes and positions alone. A tile only decides which outputs
 * are computed side by side; it never splits or reorders a sum. */
#include <assert.h>
#include <float.h>
#include <math.h>

#include "math/products.h"
#include "math/simd.h"
#include "math/tables.h"
#ifdef SIMD_AMX
#include "math/tiles.h"
#endif

/* ---- elementary functions ---- */

/* exp, within 2 ulp: x = n ln 2 + r, |r| <= ln 2 / 2, exp(x) = 2^n p(r). ln 2 in two parts and the
 * polynomial's coefficients are those of Cephes (Moshier, single/expf.c). exp(0) is exactly 1;
 * below -104 it is 0, above 88.73 infinite, results between are rounded once, denormals included; a
 * NaN stays one. */
INLINE vf v_exp(vf x) {
    x = v_max(v_set1(-110.0f), v_min(v_set1(90.0f), x)); /* in this order of operands NaN passes */
    vf n = v_round(v_mul(x, v_set1(1.44269504088896341f)));
    vf r = v_fnma(n, v_set1(0.693359375f), x);
    r = v_fnma(n, v_set1(-2.12194440e-4f), r);
    vf p = v_set1(1.9875691500e-4f);
    p = v_fma(p, r, v_set1(1.3981999507e-3f));
    p = v_fma(p, r, v_set1(8.3334519073e-3f));
    p = v_fma(p, r, v_set1(4.1665795894e-2f));
    p = v_fma(p, r, v_set1(1.6666665459e-1f));
    p = v_fma(p, r, v_set1(5.0000001201e-1f));
    p = v_add(v_fma(p, v_mul(r, r), r), v_set1(1.0f));
    return v_scale2(p, n);
}

INLINE float exp_of(float x) {
    float lanes[VL];
    v_store(lanes, v_exp(v_set1(x)));
    return lanes[0];
}

/* c tanh(s / c) by tanh x = (1 - e) / (1 + e), e = exp(-2 |x|), with x's sign; absolute error below
 * 2e-7 c. */
INLINE vf v_softcap(vf s, vf c) {
    vf x = v_div(s, c);
    vf e = v_exp(v_mul(v_abs(x), v_set1(-2.0f)));
    vf t = v_mul(c, v_div(v_sub(v_set1(1.0f), e), v_add(v_set1(1.0f), e)));
    return v_with_sign(t, x);
}

INLINE vf v_silu(vf x) {
    vf e = v_exp(v_sub(v_zero(), x));
    return v_div(x, v_add(v_set1(1.0f), e));
}

/* The tanh form, by 1/2 (1 + tanh u) = 1 / (1 + exp(-2 u)). */
INLINE vf v_gelu(vf x) {
    vf cubic = v_fma(v_mul(v_mul(x, x), x), v_set1(0.044715f), x);
    vf e = v_exp(v_mul(cubic, v_set1(-1.5957691216057308f))); /* -2 sqrt(2 / pi) */
    return v_div(x, v_add(v_set1(1.0f), e));
}

/* ---- activations ---- */

/* The definition is scalar.c's, and so are the bits: maxima and small whole sums are exact in any
 * order. */
INLINE void quantize_block(const float *x, act_block *b) {
    vf largest = v_zero(), half[2] = {v_zero(), v_zero()};
    for (size_t i = 0; i < ACT_BLOCK; i += VL) largest = v_max_bits(v_abs(v_load(x + i)), largest);
    float amax = v_largest_bits(largest);
    if (amax < 0x1p-100f || !(amax <= FLT_MAX)) {
        *b = (act_block){0};
        b->d = b->s = amax < 0x1p-100f ? 0.0f : (float)NAN;
        return;
    }
    vf inverse = v_set1(127.0f / amax);
    for (size_t i = 0; i < ACT_BLOCK; i += VL) {
        vf whole = v_round(v_mul(v_load(x + i), inverse));
        v_store_i8(b->q + i, whole);
        half[i / 16] = v_add(half[i / 16], whole);
    }
    int first = (int)v_sum(half[0]), second = (int)v_sum(half[1]);
    b->d = amax / 127.0f;
    b->s = b->d * (float)(first + second);
    b->minus_sum = -(first + second);
    b->minus_half[0] = (int16_t)-first;
    b->minus_half[1] = (int16_t)-second;
}

static void quantize_q8(const float *x, size_t n, void *row) {
    act_block *b = row;
    for (size_t i = 0; i < n; i += ACT_BLOCK) quantize_block(x + i, b++);
}

/* ---- products ---- */

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

/* ---- rows ---- */

#define NORM_LANES 4 /* vectors of partial sums: enough chains to hide the additions' latency */

static void rms_norm(const float *x, const float *w, size_t n, float eps, float *y) {
    vf sum[NORM_LANES];
    size_t i = 0;
    for (size_t k = 0; k < NORM_LANES; k++) sum[k] = v_zero();
    for (; i + NORM_LANES * VL <= n; i += NORM_LANES * VL)
        for (size_t k = 0; k < NORM_LANES; k++) {
            vf v = v_load(x + i + k * VL);
            sum[k] = v_fma(v, v, sum[k]);
        }
    for (; i < n; i += VL) {
        vf v = v_load_part(x + i, n - i < VL ? n - i : VL);
        sum[0] = v_fma(v, v, sum[0]);
    }
    float squares = v_sum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
    float inverse = 1.0f / sqrtf(squares / (float)n + eps);
    for (i = 0; i < n; i++) y[i] = w ? x[i] * inverse * w[i] : x[i] * inverse;
}

/* The sum of (x - shift)^power over n values, power 1 or 2. */
INLINE float sum_of(const float *x, size_t n, float shift, bool squared) {
    vf sum[NORM_LANES], back = v_set1(shift);
    size_t i = 0;
    for (size_t k = 0; k < NORM_LANES; k++) sum[k] = v_zero();
    for (; i + NORM_LANES * VL <= n; i += NORM_LANES * VL)
        for (size_t k = 0; k < NORM_LANES; k++) {
            vf v = v_sub(v_load(x + i + k * VL), back);
            sum[k] = squared ? v_fma(v, v, sum[k]) : v_add(v, sum[k]);
        }
    for (; i + VL <= n; i += VL) {
        vf v = v_sub(v_load(x + i), back);
        sum[0] = squared ? v_fma(v, v, sum[0]) : v_add(v, sum[0]);
    }
    float total = v_sum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
    for (; i < n; i++) total += squared ? (x[i] - shift) * (x[i] - shift) : x[i] - shift;
    return total;
}

static void layer_norm(const float *x, const float *w, const float *b, size_t n, float eps,
                       float *y) {
    float mean = sum_of(x, n, 0, false) / (float)n;
    float inverse = 1.0f / sqrtf(sum_of(x, n, mean, true) / (float)n + eps);
    for (size_t i = 0; i < n; i++) {
        float v = (x[i] - mean) * inverse;
        if (w) v *= w[i];
        y[i] = b ? v + b[i] : v;
    }
}

static void add(float *x, const float *y, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] += y[i];
}

static void scale(float *x, size_t n, float s) {
    for (size_t i = 0; i < n; i++) x[i] *= s;
}

static void mul(float *x, const float *y, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] *= y[i];
}

static void mul_add(float *x, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i += VL) {
        size_t m = n - i < VL ? n - i : VL;
        vf sum = v_fma(v_load_part(a + i, m), v_load_part(b + i, m), v_load_part(x + i, m));
        v_store_part(x + i, sum, m);
    }
}

static float dot(const float *x, const float *y, size_t n) {
    vf sum[NORM_LANES];
    size_t i = 0;
    for (size_t k = 0; k < NORM_LANES; k++) sum[k] = v_zero();
    for (; i + NORM_LANES * VL <= n; i += NORM_LANES * VL)
        for (size_t k = 0; k < NORM_LANES; k++)
            sum[k] = v_fma(v_load(x + i + k * VL), v_load(y + i + k * VL), sum[k]);
    for (; i < n; i += VL) {
        size_t m = n - i < VL ? n - i : VL;
        sum[0] = v_fma(v_load_part(x + i, m), v_load_part(y + i, m), sum[0]);
    }
    return v_sum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
}

static void softcap(float *x, size_t n, float c) {
    for (size_t i = 0; i < n; i += VL) {
        size_t m = n - i < VL ? n - i : VL;
        v_store_part(x + i, v_softcap(v_load_part(x + i, m), v_set1(c)), m);
    }
}

static void swiglu(const float *gate, const float *up, size_t n, float *y) {
    for (size_t i = 0; i < n; i += VL) {
        size_t m = n - i < VL ? n - i : VL;
        v_store_part(y + i, v_mul(v_silu(v_load_part(gate + i, m)), v_load_part(up + i, m)), m);
    }
}

static void swiglu_clamped(const float *gate, const float *up, size_t n, float *y) {
    vf most = v_set1(7.0f), least = v_set1(-7.0f), one = v_set1(1.0f);
    for (size_t i = 0; i < n; i += VL) {
        size_t m = n - i < VL ? n - i : VL;
        vf g = v_min(most, v_load_part(gate + i, m)); /* in this order of operands NaN passes */
        vf u = v_max(least, v_min(most, v_load_part(up + i, m)));
        vf e = v_exp(v_mul(g, v_set1(-1.702f)));
        v_store_part(y + i, v_mul(v_div(g, v_add(one, e)), v_add(u, one)), m);
    }
}

static void sigmoid_gate(const float *gate, size_t n, float *x) {
    for (size_t i = 0; i < n; i += VL) {
        size_t m = n - i < VL ? n - i : VL;
        vf e = v_exp(v_sub(v_zero(), v_load_part(gate + i, m)));
        v_store_part(x + i, v_div(v_load_part(x + i, m), v_add(v_set1(1.0f), e)), m);
    }
}

static void gelu(const float *x, size_t n, float *y) {
    for (size_t i = 0; i < n; i += VL) {
        size_t m = n - i < VL ? n - i : VL;
        v_store_part(y + i, v_gelu(v_load_part(x + i, m)), m);
    }
}

static void geglu(const float *gate, const float *up, size_t n, float *y) {
    for (size_t i = 0; i < n; i += VL) {
        size_t m = n - i < VL ? n - i : VL;
        v_store_part(y + i, v_mul(v_gelu(v_load_part(gate + i, m)), v_load_part(up + i, m)), m);
    }
}

static void rope(float *x, size_t n_head, size_t d, size_t n_rot, const float *cs,
                 bool interleaved) {
    size_t half = n_rot / 2;
    for (size_t h = 0; h < n_head; h++, x += d) {
        for (size_t i = 0; i < half; i++) {
            float *a = interleaved ? x + 2 * i : x + i;
            float *b = interleaved ? x + 2 * i + 1 : x + i + half;
            float c = cs[2 * i], s = cs[2 * i + 1], a0 = *a, b0 = *b;
            *a = a0 * c - b0 * s;
            *b = a0 * s + b0 * c;
        }
    }
}

/* ---- recurrence ---- */

#define STATE_VECTORS 8 /* of values, whose sums fit the registers */

INLINE vf load_state(const float *in, size_t at, size_t n) {
    if (!in) return v_zero();
    return n == VL ? v_load(in + at) : v_load_part(in + at, n);
}

/* delta_step for `vectors` vectors of values from the i-th on, the last of which has n lanes. */
INLINE void delta_columns(size_t n_k, size_t n_v, const float *in, float *out, const float *q,
                          const float *k, const float *v, float decay, float beta, float *o,
                          size_t i, size_t vectors, size_t n) {
    vf held[STATE_VECTORS], u[STATE_VECTORS], sum[STATE_VECTORS], fade = v_set1(decay);
    UNROLL
    for (size_t c = 0; c < vectors; c++) held[c] = sum[c] = v_zero();
    for (size_t j = 0; j < n_k && in; j++) {
        vf key = v_set1(k[j]);
        UNROLL
        for (size_t c = 0; c < vectors; c++)
            held[c] = v_fma(key, load_state(in, j * n_v + i + c * VL, n), held[c]);
    }
    UNROLL
    for (size_t c = 0; c < vectors; c++)
        u[c] = v_mul(v_set1(beta), v_fnma(fade, held[c], v_load_part(v + i + c * VL, n)));
    for (size_t j = 0; j < n_k; j++) {
        vf key = v_set1(k[j]), query = v_set1(q[j]);
        UNROLL
        for (size_t c = 0; c < vectors; c++) {
            size_t at = j * n_v + i + c * VL;
            vf s = v_fma(key, u[c], v_mul(fade, load_state(in, at, n)));
            v_store_part(out + at, s, n);
            sum[c] = v_fma(query, s, sum[c]);
        }
    }
    UNROLL
    for (size_t c = 0; c < vectors; c++) v_store_part(o + i + c * VL, sum[c], n);
}

static void delta_step(size_t n_k, size_t n_v, const float *in, float *out, const float *q,
                       const float *k, const float *v, float decay, float beta, float *o) {
    size_t i = 0;
    for (; i + STATE_VECTORS * VL <= n_v; i += STATE_VECTORS * VL)
        delta_columns(n_k, n_v, in, out, q, k, v, decay, beta, o, i, STATE_VECTORS, VL);
    for (; i + VL <= n_v; i += VL)
        delta_columns(n_k, n_v, in, out, q, k, v, decay, beta, o, i, 1, VL);
    if (i < n_v) delta_columns(n_k, n_v, in, out, q, k, v, decay, beta, o, i, 1, n_v - i);
}

INLINE void ssm_columns(size_t n_k, size_t n_v, const float *in, float *out, const float *x,
                        const float *b, const float *c, float decay, float *y, size_t i,
                        size_t vectors, size_t n) {
    vf xs[STATE_VECTORS], sum[STATE_VECTORS], fade = v_set1(decay);
    UNROLL
    for (size_t k = 0; k < vectors; k++) {
        xs[k] = v_load_part(x + i + k * VL, n);
        sum[k] = v_zero();
    }
    for (size_t j = 0; j < n_k; j++) {
        vf write = v_set1(b[j]), read = v_set1(c[j]);
        UNROLL
        for (size_t k = 0; k < vectors; k++) {
            size_t at = j * n_v + i + k * VL;
            vf s = v_fma(write, xs[k], v_mul(fade, load_state(in, at, n)));
            v_store_part(out + at, s, n);
            sum[k] = v_fma(read, s, sum[k]);
        }
    }
    UNROLL
    for (size_t k = 0; k < vectors; k++) v_store_part(y + i + k * VL, sum[k], n);
}

static void ssm_step(size_t n_k, size_t n_v, const float *in, float *out, const float *x,
                     const float *b, const float *c, float decay, float *y) {
    size_t i = 0;
    for (; i + STATE_VECTORS / 2 * VL <= n_v; i += STATE_VECTORS / 2 * VL)
        ssm_columns(n_k, n_v, in, out, x, b, c, decay, y, i, STATE_VECTORS / 2, VL);
    for (; i + VL <= n_v; i += VL) ssm_columns(n_k, n_v, in, out, x, b, c, decay, y, i, 1, VL);
    if (i < n_v) ssm_columns(n_k, n_v, in, out, x, b, c, decay, y, i, 1, n_v - i);
}

/* ---- attention ---- */

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
} query_set;

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

/* Scores of n queries from the i-th against a tile's keys [d_k][KV_TILE], all slots, written or
 * not: a lane is a slot, and nothing crosses lanes before `fold_scores` has dropped those that are
 * not seen. */
INLINE void score_tile(kv_type type, const query_set *s, size_t i, size_t n, const uint8_t *keys,
                       uintptr_t ahead) {
    const float *q[QUERIES];
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
                ask_ahead(keys + (d * KV_TILE + j) * item, ahead);
                if (2 * VL * item > 64) ask_ahead(keys + (d * KV_TILE + j + VL) * item, ahead);
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

/* Turns scores of slots [begin, end) of n queries from the i-th into weights exp(score - max) and
 * adds their sum; rescale: what the values gathered so far are to be multiplied by: exp(old max -
 * new max), exactly 1 if it stays. */
INLINE void fold_scores(const query_set *s, size_t i, size_t n, size_t begin, size_t end,
                        float *rescale) {
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
            w[k][j] = v_select(v_lanes(j * VL, begin, end), w[k][j], v_set1(-INFINITY));
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
INLINE void value_columns(kv_type type, const query_set *s, size_t i, size_t n_q,
                          const uint8_t *values, size_t begin, size_t end, const float *rescale,
                          size_t d, size_t vectors, size_t n, uintptr_t ahead) {
    vf acc[QUERIES][2];
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
    for (size_t j = begin; j < end; j++) {
        vf v[2];
        ask_ahead(values + (j * s->a->d_v + d) * kv_type_bytes(type), ahead);
        if (vectors * VL * kv_type_bytes(type) > 64)
            ask_ahead(values + (j * s->a->d_v + d + VL) * kv_type_bytes(type), ahead);
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

/* n queries from the i-th, all of which see the slots [begin, end) of this tile. */
INLINE void attend_queries(kv_type type, const query_set *s, size_t i, size_t n,
                           const uint8_t *keys, const uint8_t *values, size_t begin, size_t end,
                           uintptr_t ahead) {
    float rescale[QUERIES];
    size_t d = 0, d_v = s->a->d_v;
    score_tile(type, s, i, n, keys, ahead);
    fold_scores(s, i, n, begin, end, rescale);
    for (; d + 2 * VL <= d_v; d += 2 * VL)
        value_columns(type, s, i, n, values, begin, end, rescale, d, 2, VL, ahead);
    for (; d + VL <= d_v; d += VL)
        value_columns(type, s, i, n, values, begin, end, rescale, d, 1, VL, ahead);
    if (d < d_v) value_columns(type, s, i, n, values, begin, end, rescale, d, 1, d_v - d, ahead);
}

INLINE void attend_tile(kv_type type, const query_set *s, const uint8_t *block, size_t i,
                        size_t i_end, size_t begin, size_t end, uintptr_t ahead) {
    size_t step;
    const uint8_t *keys = block + s->a->k_offset + s->kv_head * kv_head_bytes(type, s->a->d_k);
    const uint8_t *values = block + s->a->v_offset + s->kv_head * kv_head_bytes(type, s->a->d_v);
    for (; i < i_end; i += step, ahead = 0) {
        size_t left = i_end - i;
        step = left >= QUERIES ? QUERIES : left >= QUERIES / 2 ? QUERIES / 2 : 1;
        if (step == QUERIES) attend_queries(type, s, i, QUERIES, keys, values, begin, end, ahead);
        else if (step == QUERIES / 2)
            attend_queries(type, s, i, QUERIES / 2, keys, values, begin, end, ahead);
        else attend_queries(type, s, i, 1, keys, values, begin, end, ahead);
    }
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
                       .max = scratch,
                       .records = (float *)scratch + query_maxima_floats(group),
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

/* ---- over a vocabulary ---- */

static float max_of(const float *x, size_t n) {
    vf top = v_set1(-INFINITY);
    size_t i = 0;
    for (; i + VL <= n; i += VL) top = v_max(v_load(x + i), top);
    float max = v_largest(top);
    for (; i < n; i++)
        if (x[i] > max) max = x[i];
    return max;
}

static double sum_exp(const float *x, size_t n, float max) {
    double sum[VL] = {0}, total = 0;
    float lanes[VL];
    for (size_t i = 0; i < n; i += VL) {
        size_t m = n - i < VL ? n - i : VL;
        v_store(lanes, v_exp(v_sub(v_load_part(x + i, m), v_set1(max))));
        for (size_t k = 0; k < m; k++) sum[k] += (double)lanes[k];
    }
    for (size_t k = 0; k < VL; k++) total += sum[k];
    return total;
}

/* A result of logits: finite. What is no number is the lowest. */
INLINE vf v_finite(vf a) { return v_min(v_max(a, v_set1(-FLT_MAX)), v_set1(FLT_MAX)); }

static void logits_add(float *x, const float *y, size_t n, float a) {
    vf masked = v_set1(-INFINITY), weight = v_set1(a);
    for (size_t i = 0; i < n; i += VL) {
        size_t m = n - i < VL ? n - i : VL;
        vf l = v_load_part(x + i, m), r = v_load_part(y + i, m);
        vf sum = v_finite(v_add(l, v_mul(weight, r)));
        sum = v_select(v_above(l, masked), v_select(v_above(r, masked), sum, masked), masked);
        v_store_part(x + i, sum, m);
    }
}

static void logits_scale(float *x, size_t n, float a) {
    vf masked = v_set1(-INFINITY), by = v_set1(a);
    for (size_t i = 0; i < n; i += VL) {
        size_t m = n - i < VL ? n - i : VL;
        vf l = v_load_part(x + i, m);
        v_store_part(x + i, v_select(v_above(l, masked), v_finite(v_mul(l, by)), masked), m);
    }
}

static void logits_shift(float *x, size_t n, float high, float low, float t) {
    vf masked = v_set1(-INFINITY), by = v_set1(t), first = v_set1(high), second = v_set1(low);
    for (size_t i = 0; i < n; i += VL) {
        size_t m = n - i < VL ? n - i : VL;
        vf l = v_load_part(x + i, m), y = v_div(v_sub(v_sub(l, first), second), by);
        v_store_part(x + i, v_select(v_above(l, masked), v_finite(y), masked), m);
    }
}

static void logits_keep(float *x, size_t n, float least) {
    vf masked = v_set1(-INFINITY), low = v_set1(least);
    for (size_t i = 0; i < n; i += VL) {
        size_t m = n - i < VL ? n - i : VL;
        vf l = v_load_part(x + i, m);
        v_store_part(x + i, v_select(v_least(l, low), l, masked), m);
    }
}

static void exp_into(const float *x, size_t n, float max, float *y) {
    for (size_t i = 0; i < n; i += VL) {
        size_t m = n - i < VL ? n - i : VL;
        v_store_part(y + i, v_exp(v_sub(v_load_part(x + i, m), v_set1(max))), m);
    }
}

const kernels TABLE = {
    .name = TABLE_NAME,
    .packs = true,
    .matmul = matmul,
    .quantize_q8 = quantize_q8,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .add = add,
    .mul = mul,
    .mul_add = mul_add,
    .dot = dot,
    .scale = scale,
    .softcap = softcap,
    .swiglu = swiglu,
    .swiglu_clamped = swiglu_clamped,
    .sigmoid_gate = sigmoid_gate,
    .geglu = geglu,
    .gelu = gelu,
    .rope = rope,
    .kv_store = kv_store,
    .attention = attention,
    .attention_span = attention_span,
    .attention_merge = attention_merge,
    .delta_step = delta_step,
    .ssm_step = ssm_step,
    .max = max_of,
    .sum_exp = sum_exp,
    .logits_add = logits_add,
    .logits_scale = logits_scale,
    .logits_shift = logits_shift,
    .logits_keep = logits_keep,
    .exp = exp_into,
};
