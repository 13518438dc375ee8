/* elementary.h: the functions that norms, activations and attention share, over vectors of simd.h:
 * one exp, and what is built on it. */
#ifndef PERILUNE_MATH_ELEMENTARY_H
#define PERILUNE_MATH_ELEMENTARY_H

#include "math/simd.h"

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

#endif
