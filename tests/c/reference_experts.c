/* reference_experts.c: mixtures of experts. Sources: Shazeer et al. 2017 for the sum that a router
 * weighs; for what the models do with the router's scores, Hugging Face's Mixtral, Qwen2MoE,
 * Qwen3MoE, Qwen3.5MoE, OLMoE, GraniteMoE (and its shared expert), GptOss, Lfm2Moe and Gemma 4. */
#include "reference_parts.h"

#include <math.h>
#include <stdlib.h>

#include "support.h"

enum { SOFTMAX = 1, SIGMOID = 2, SOFTMAX_OF_CHOSEN = 3 }; /* expert_gating_func */

#define T(name) tensor(s, "blk.%zu." name, l)

/* The `used` greatest of score[0..n), the greatest first; of equals the first. */
static void choose(const double *score, size_t n, size_t used, size_t *chosen) {
    for (size_t k = 0; k < used; k++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++) {
            bool taken = false;
            for (size_t j = 0; j < k; j++) taken = taken || chosen[j] == i;
            if (!taken && (best == n || score[i] > score[best])) best = i;
        }
        chosen[k] = best;
    }
}

static void softmax(double *x, size_t n) {
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) max = fmax(max, x[i]);
    for (size_t i = 0; i < n; i++) sum += x[i] = exp(x[i] - max);
    for (size_t i = 0; i < n; i++) x[i] /= sum;
}

static double activation(const source *s, double gate, double up) {
    if (is(s, "gpt-oss")) {
        gate = fmin(gate, 7);
        up = fmax(-7, fmin(up, 7));
        return gate * sigmoid(1.702 * gate) * (up + 1);
    }
    return (is(s, "gemma4") ? gelu(gate) : silu(gate)) * up;
}

/* What weighs the chosen, from the router's logits [n]: p [used]. */
static void weigh(source *s, double *logits, size_t n, const double *choice_bias, size_t used,
                  size_t *chosen, double *p) {
    size_t gating = whole(s, "expert_gating_func",
                          is(s, "gpt-oss")   ? SOFTMAX_OF_CHOSEN
                          : is(s, "lfm2moe") ? SIGMOID
                                             : SOFTMAX);
    bool renormalise = number(s, "expert_weights_norm",
                              !is_any(s, "qwen2moe olmoe gpt-oss")) != 0;
    double scale = number(s, "expert_weights_scale", 0), sum = 0;
    double *score = numbers(s, n);
    if (gating == SOFTMAX) softmax(logits, n);
    for (size_t i = 0; i < n && gating == SIGMOID; i++) logits[i] = sigmoid(logits[i]);
    for (size_t i = 0; i < n; i++) score[i] = logits[i] + (choice_bias ? choice_bias[i] : 0);
    choose(score, n, used, chosen);
    for (size_t k = 0; k < used; k++) p[k] = logits[chosen[k]];
    if (gating == SOFTMAX_OF_CHOSEN) softmax(p, used);
    for (size_t k = 0; k < used; k++) sum += p[k];
    for (size_t k = 0; k < used; k++)
        p[k] *= (renormalise ? 1 / sum : 1) * (scale > 0 ? scale : 1);
}

double *experts(source *s, size_t l, const double *r, const double *u, size_t n, size_t E) {
    size_t n_expert = whole(s, "expert_count", 0), used = whole(s, "expert_used_count", 0);
    bool fused = T("ffn_gate_up_exps.weight") != NULL; /* gate first */
    size_t F = extent(s, 0, "blk.%zu.ffn_down_exps.weight", l);
    double *gates = T("ffn_gate_exps.weight"), *ups = T("ffn_up_exps.weight"),
           *both = T("ffn_gate_up_exps.weight"), *downs = T("ffn_down_exps.weight"),
           *gate_biases = T("ffn_gate_exps.bias"), *up_biases = T("ffn_up_exps.bias"),
           *down_biases = T("ffn_down_exps.bias"), *scales = T("ffn_down_exps.scale"),
           *choice_bias = T("exp_probs_b.bias");
    double *logits =
        linear(s, r, n, E, T("ffn_gate_inp.weight"), T("ffn_gate_inp.bias"), n_expert);
    double *y = numbers(s, n * E), *p = numbers(s, used);
    size_t *chosen = malloc(used * sizeof *chosen);
    assert_non_null(chosen);
    assert_true(used > 0 && used <= n_expert);
    for (size_t t = 0; t < n; t++) {
        weigh(s, logits + t * n_expert, n_expert, choice_bias, used, chosen, p);
        for (size_t k = 0; k < used; k++) {
            size_t x = chosen[k];
            const double *w_gate = fused ? both + x * 2 * F * E : gates + x * F * E,
                         *w_up = fused ? both + (x * 2 + 1) * F * E : ups + x * F * E;
            double *gate = linear(s, u + t * E, 1, E, w_gate,
                                  gate_biases ? gate_biases + x * F : NULL, F);
            double *up =
                linear(s, u + t * E, 1, E, w_up, up_biases ? up_biases + x * F : NULL, F);
            for (size_t i = 0; i < F; i++) up[i] = activation(s, gate[i], up[i]);
            double *out = linear(s, up, 1, F, downs + x * E * F,
                                 down_biases ? down_biases + x * E : NULL, E);
            add_to(y + t * E, out, E, p[k] * (scales ? scales[x] : 1));
        }
    }
    free(chosen);

    size_t shared = extent(s, 1, "blk.%zu.ffn_up_shexp.weight", l);
    if (shared) { /* for every token; Qwen's has a gate of its own */
        double *gate = linear(s, u, n, E, T("ffn_gate_shexp.weight"), NULL, shared),
               *up = linear(s, u, n, E, T("ffn_up_shexp.weight"), NULL, shared),
               *open = T("ffn_gate_inp_shexp.weight");
        if (open) open = linear(s, u, n, E, open, NULL, 1);
        for (size_t i = 0; i < n * shared; i++) up[i] *= silu(gate[i]);
        double *out = linear(s, up, n, shared, T("ffn_down_shexp.weight"), NULL, E);
        for (size_t t = 0; t < n; t++)
            add_to(y + t * E, out + t * E, E, open ? sigmoid(open[t]) : 1);
    }
    return y;
}
