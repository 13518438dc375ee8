/* kernels_impl.h: the table of an instruction set, every kernel written once over simd.h: matrix
 * products in matmul.h, attention in attention.h, all others here. Included once by each
 * instruction set's file, which names the table. What holds throughout: an output's expression and
 * its order depend on shapes and positions alone. A tile only decides which outputs are computed
 * side by side; it never splits or reorders a sum. */
#include <float.h>
#include <math.h>

#include "math/attention.h"
#include "math/elementary.h"
#include "math/matmul.h"
#include "math/simd.h"
#include "math/tables.h"

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
