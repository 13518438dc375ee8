/* reference_recurrent.c: what some layers have in place of attention, each as a recurrence over the
 * positions, one step at a time from a state of zeros. Sources: the gated delta rule (Yang, Kautz &
 * Hatamizadeh 2024, equation 10) as in Hugging Face's Qwen3.5; Mamba-2 (Dao & Gu 2024) as in its
 * GraniteMoeHybrid; the short convolutions of its Lfm2. */
#include "reference_parts.h"

#include <math.h>

#include "support.h"

#define T(name) tensor(s, "blk.%zu." name, l)

bool is_recurrent(const source *s, size_t l) {
    if (is_any(s, "qwen35 qwen35moe")) return (l + 1) % whole(s, "full_attention_interval", 4) != 0;
    return is_any(s, "lfm2 lfm2moe granitehybrid") &&
           whole_at(s, "attention.head_count_kv", l, 0) == 0;
}

/* Every channel of x [n][d] by itself, over the C positions that end with its own: w [d][C]. */
static double *causal_convolution(source *s, const double *x, size_t n, size_t d, const double *w,
                                  const double *b, size_t C) {
    double *y = numbers(s, n * d);
    assert_non_null(w);
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < d; i++) {
            double sum = b ? b[i] : 0;
            for (size_t j = 0; j < C; j++) /* the last weight is the current position's */
                if (t + j + 1 >= C) sum += w[i * C + j] * x[(t + j + 1 - C) * d + i];
            y[t * d + i] = sum;
        }
    return y;
}

/* x / max(|x|, eps), for rows of d. */
static void to_unit_length(double *x, size_t n, size_t d, double eps) {
    for (size_t r = 0; r < n; r++) {
        double square = 0;
        for (size_t i = 0; i < d; i++) square += x[r * d + i] * x[r * d + i];
        for (size_t i = 0; i < d; i++) x[r * d + i] /= fmax(sqrt(square), eps);
    }
}

/* Gated DeltaNet: a matrix M for each value head, values x keys. */
static double *delta_net(source *s, size_t l, const double *u, size_t n, size_t E) {
    size_t S = whole(s, "ssm.state_size", 0), NK = whole(s, "ssm.group_count", 0),
           NV = whole(s, "ssm.time_step_rank", 0), K = S * NK, W = S * NV, all = 2 * K + W;
    double eps = number(s, "attention.layer_norm_rms_epsilon", 0);
    double *c = linear(s, u, n, E, T("attn_qkv.weight"), NULL, all),
           *z = linear(s, u, n, E, T("attn_gate.weight"), NULL, W),
           *alpha = linear(s, u, n, E, T("ssm_alpha.weight"), T("ssm_dt.bias"), NV),
           *beta = linear(s, u, n, E, T("ssm_beta.weight"), NULL, NV), *A = T("ssm_a");
    c = causal_convolution(s, c, n, all, T("ssm_conv1d.weight"), NULL,
                           whole(s, "ssm.conv_kernel", 0));
    for (size_t i = 0; i < n * all; i++) c[i] = silu(c[i]);
    double *q = columns(s, c, n, all, 0, K), *k = columns(s, c, n, all, K, K),
           *v = columns(s, c, n, all, 2 * K, W), *o = numbers(s, n * W);
    to_unit_length(q, n * NK, S, eps);
    to_unit_length(k, n * NK, S, eps);
    for (size_t h = 0; h < NV; h++) {
        double *M = numbers(s, S * S);
        for (size_t t = 0; t < n; t++) {
            const double *qt = q + t * K + h % NK * S, *kt = k + t * K + h % NK * S;
            double decay = exp(A[h] * softplus(alpha[t * NV + h])),
                   rate = sigmoid(beta[t * NV + h]);
            for (size_t i = 0; i < S; i++) {
                double *row = M + i * S, known = 0;
                for (size_t j = 0; j < S; j++) known += (row[j] *= decay) * kt[j];
                double error = v[t * W + h * S + i] - known;
                for (size_t j = 0; j < S; j++) {
                    row[j] += rate * error * kt[j];
                    o[t * W + h * S + i] += row[j] * qt[j] / sqrt((double)S);
                }
            }
        }
    }
    o = norm(s, false, o, n * NV, S, T("ssm_norm.weight"), 1, NULL, eps);
    for (size_t i = 0; i < n * W; i++) o[i] *= silu(z[i]);
    return linear(s, o, n, W, T("ssm_out.weight"), NULL, E);
}

/* Mamba-2: a matrix M for each head, its width x the state's size; B and C are shared by the heads
 * of a group. */
static double *mamba2(source *s, size_t l, const double *u, size_t n, size_t E) {
    size_t inner = whole(s, "ssm.inner_size", 0), N = whole(s, "ssm.state_size", 0),
           H = whole(s, "ssm.time_step_rank", 0), G = whole(s, "ssm.group_count", 0),
           P = inner / H, conv = inner + 2 * G * N, all = inner + conv + H;
    double *in = linear(s, u, n, E, T("ssm_in.weight"), NULL, all);
    double *z = columns(s, in, n, all, 0, inner), *c = columns(s, in, n, all, inner, conv),
           *dt = columns(s, in, n, all, inner + conv, H), *dt_bias = T("ssm_dt.bias"),
           *A = T("ssm_a"), *D = T("ssm_d"), *y = numbers(s, n * inner);
    c = causal_convolution(s, c, n, conv, T("ssm_conv1d.weight"), T("ssm_conv1d.bias"),
                           whole(s, "ssm.conv_kernel", 0));
    for (size_t i = 0; i < n * conv; i++) c[i] = silu(c[i]);
    for (size_t h = 0; h < H; h++) {
        double *M = numbers(s, P * N);
        for (size_t t = 0; t < n; t++) {
            const double *x = c + t * conv + h * P, *B = c + t * conv + inner + h / (H / G) * N,
                         *C = B + G * N;
            double step = softplus(dt[t * H + h] + dt_bias[h]), decay = exp(step * A[h]);
            for (size_t i = 0; i < P; i++) {
                double sum = D[h] * x[i];
                for (size_t j = 0; j < N; j++) {
                    M[i * N + j] = decay * M[i * N + j] + step * x[i] * B[j];
                    sum += M[i * N + j] * C[j];
                }
                y[t * inner + h * P + i] = sum * silu(z[t * inner + h * P + i]);
            }
        }
    }
    y = norm(s, false, y, n * G, inner / G, T("ssm_norm.weight"), G, NULL,
             number(s, "attention.layer_norm_rms_epsilon", 0));
    return linear(s, y, n, inner, T("ssm_out.weight"), NULL, E);
}

static double *short_convolution(source *s, size_t l, const double *u, size_t n, size_t E) {
    double *in = linear(s, u, n, E, T("shortconv.in_proj.weight"), NULL, 3 * E);
    double *b = columns(s, in, n, 3 * E, 0, E), *c = columns(s, in, n, 3 * E, E, E),
           *x = columns(s, in, n, 3 * E, 2 * E, E);
    for (size_t i = 0; i < n * E; i++) x[i] *= b[i];
    double *y = causal_convolution(s, x, n, E, T("shortconv.conv.weight"), NULL,
                                   whole(s, "shortconv.l_cache", 0));
    for (size_t i = 0; i < n * E; i++) y[i] *= c[i];
    return linear(s, y, n, E, T("shortconv.out_proj.weight"), NULL, E);
}

double *recurrent(source *s, size_t l, const double *u, size_t n, size_t E) {
    if (is(s, "granitehybrid")) return mamba2(s, l, u, n, E);
    if (is_any(s, "lfm2 lfm2moe")) return short_convolution(s, l, u, n, E);
    return delta_net(s, l, u, n, E);
}
