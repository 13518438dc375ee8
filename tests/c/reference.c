/* reference.c: see reference.h. Sources: the models' papers and Hugging Face's modelling code; for
 * what only the file's layout says (which pairs RoPE turns, names of tensors), llama.cpp's
 * converter. Every loop is written out; nothing is fast. Experts are in reference_experts.c, and
 * layers without attention in reference_recurrent.c. */
#include "reference.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reference_parts.h"
#include "support.h"

/* What the layers of one model have in common. */
typedef struct {
    size_t E, H, D, R; /* embedding, heads, their size and what of it turns */
    size_t L, W, V;    /* layers, window, vocabulary */
    bool gemma, granite, layer_norm, interleaved, gated, norms_per_head, norms_after;
    double eps, base, scale;
    double *factors; /* of RoPE's frequencies; or NULL */
} common;

#define T(name) tensor(s, "blk.%zu." name, l)

/* Attention of layer l over the rows h: [n][E]. */
static double *attend(source *s, const common *m, size_t l, const double *h, size_t n) {
    size_t E = m->E, H = m->H, D = m->D, K = whole_at(s, "attention.head_count_kv", l, H);
    bool slides =
        m->W && (is(s, "phi3") || (is_any(s, "gemma2 gpt-oss") && l % 2 == 0) ||
                 (is(s, "gemma3") && l % 6 != 5) || (is(s, "olmo2") && l % 4 != 3));
    double *q, *k, *v, *gate = NULL;
    if (T("attn_qkv.weight")) {
        size_t all = (H + 2 * K) * D;
        double *qkv = linear(s, h, n, E, T("attn_qkv.weight"), T("attn_qkv.bias"), all);
        q = columns(s, qkv, n, all, 0, H * D);
        k = columns(s, qkv, n, all, H * D, K * D);
        v = columns(s, qkv, n, all, (H + K) * D, K * D);
    } else {
        size_t n_q = m->gated ? 2 * D : D; /* each head: a query, then its gate */
        q = linear(s, h, n, E, T("attn_q.weight"), T("attn_q.bias"), H * n_q);
        k = linear(s, h, n, E, T("attn_k.weight"), T("attn_k.bias"), K * D);
        v = linear(s, h, n, E, T("attn_v.weight"), T("attn_v.bias"), K * D);
        if (m->gated) {
            gate = columns(s, q, n * H, 2 * D, D, D);
            q = columns(s, q, n * H, 2 * D, 0, D);
        }
    }
    if (is_any(s, "olmo2 olmoe")) { /* over all heads */
        q = norm(s, false, q, n, H * D, T("attn_q_norm.weight"), 1, NULL, m->eps);
        k = norm(s, false, k, n, K * D, T("attn_k_norm.weight"), 1, NULL, m->eps);
    }
    if (m->norms_per_head) { /* one weight for every head */
        q = norm(s, false, q, n * H, D, T("attn_q_norm.weight"), 1, NULL, m->eps);
        k = norm(s, false, k, n * K, D, T("attn_k_norm.weight"), 1, NULL, m->eps);
    }
    if (is(s, "stablelm") && T("attn_q_norm.weight")) { /* every head has its own */
        q = norm(s, true, q, n * H, D, T("attn_q_norm.weight"), H, NULL, m->eps);
        k = norm(s, true, k, n * K, D, T("attn_k_norm.weight"), K, NULL, m->eps);
    }
    bool turns = !is(s, "gpt2") && !(is(s, "smollm3") && (l + 1) % 4 == 0) &&
                 !(m->granite && number(s, "rope.scaling.finetuned", 1) == 0);
    bool scaled = !(slides && is_any(s, "gemma3 olmo2"));
    double base = slides && is(s, "gemma3") ? 10000 : m->base;
    for (size_t r = 0; r < n && turns; r++) {
        rope(s, q + r * H * D, H, D, m->R, r, base, scaled, m->factors, m->interleaved);
        rope(s, k + r * K * D, K, D, m->R, r, base, scaled, m->factors, m->interleaved);
    }
    double t = is(s, "mistral3") ? number(s, "attention.temperature_scale", 0) : 0;
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < H * D; i++)
            q[r * H * D + i] *=
                1 + t * log(1 + floor((double)r /
                                      number(s, "rope.scaling.original_context_length", 1)));
    double *a = attention(s, q, k, v, n, H, K, D, m->scale,
                          m->gemma ? number(s, "attn_logit_softcapping", 0) : 0,
                          slides ? m->W : 0, T("attn_sinks.weight"));
    for (size_t i = 0; i < n * H * D && gate; i++) a[i] *= sigmoid(gate[i]);
    return linear(s, a, n, H * D, T("attn_output.weight"), T("attn_output.bias"), E);
}

/* The dense feed-forward block of layer l over the rows u: [n][E]. */
static double *feed_forward(source *s, const common *m, size_t l, const double *u, size_t n) {
    size_t E = m->E, F = whole_at(s, "feed_forward_length", l, 0);
    double *f, *gate, *up;
    if (is_any(s, "gpt2 starcoder2")) {
        f = linear(s, u, n, E, T("ffn_up.weight"), T("ffn_up.bias"), F);
        for (size_t i = 0; i < n * F; i++) f[i] = gelu(f[i]);
    } else {
        if (is_any(s, "phi3 glm4")) { /* gate first */
            double *both = linear(s, u, n, E, T("ffn_up.weight"), NULL, 2 * F);
            gate = columns(s, both, n, 2 * F, 0, F);
            up = columns(s, both, n, 2 * F, F, F);
        } else {
            gate = linear(s, u, n, E, T("ffn_gate.weight"), T("ffn_gate.bias"), F);
            up = linear(s, u, n, E, T("ffn_up.weight"), T("ffn_up.bias"), F);
        }
        f = numbers(s, n * F);
        for (size_t i = 0; i < n * F; i++)
            f[i] = (m->gemma ? gelu(gate[i]) : silu(gate[i])) * up[i];
    }
    return linear(s, f, n, F, T("ffn_down.weight"), T("ffn_down.bias"), E);
}

static common common_of(source *s, uint32_t context) {
    common m = {.E = whole(s, "embedding_length", 0), .H = whole(s, "attention.head_count", 0)};
    m.L = whole(s, "block_count", 0) - whole(s, "nextn_predict_layers", 0);
    m.D = whole(s, "attention.key_length", m.E / m.H);
    m.R = whole(s, "rope.dimension_count", m.D);
    m.V = (size_t)gguf_find(s->g, "tokenizer.ggml.tokens")->n;
    m.gemma = is_any(s, "gemma2 gemma3");
    m.granite = is_any(s, "granite granitemoe granitehybrid");
    m.layer_norm = is_any(s, "gpt2 starcoder2 stablelm");
    m.interleaved = m.granite || is_any(s, "llama mistral3 smollm3 glm4 ernie4_5");
    m.gated = is_any(s, "qwen35 qwen35moe");
    m.norms_per_head = m.gated || is_any(s, "qwen3 qwen3moe gemma3 lfm2 lfm2moe");
    m.norms_after = m.gemma || is_any(s, "olmo2 glm4");
    if (m.gemma || is_any(s, "olmo2 phi3 gpt-oss")) m.W = whole(s, "attention.sliding_window", 0);
    m.eps = number(
        s, m.layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", 0);
    m.base = number(s, "rope.freq_base", 10000);
    m.scale = 1 / sqrt((double)m.D);
    if (is(s, "gemma3") && m.L == 62) m.scale = 1 / sqrt((double)m.E / (double)m.H);
    if (m.granite) m.scale = number(s, "attention.scale", m.scale);
    bool is_long =
        context > whole(s, "rope.scaling.original_context_length", whole(s, "context_length", 0));
    m.factors = tensor(s, "rope_freqs.weight");
    if (!m.factors)
        m.factors = tensor(s, is_long ? "rope_factors_long.weight" : "rope_factors_short.weight");
    return m;
}

static float *run(source *s, const int32_t *tokens, size_t n, uint32_t context) {
    common m = common_of(s, context);
    size_t E = m.E, V = m.V;
    bool ln = m.layer_norm;
    double residual = m.granite ? number(s, "residual_scale", 1) : 1, eps = m.eps;
    double *embedding = tensor(s, "token_embd.weight"), *x = numbers(s, n * E),
           *positions = tensor(s, "position_embd.weight");
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < E; i++) {
            x[r * E + i] = embedding[(size_t)tokens[r] * E + i];
            if (m.gemma) x[r * E + i] *= sqrt((double)E);
            if (m.granite) x[r * E + i] *= number(s, "embedding_scale", 1);
            if (positions) x[r * E + i] += positions[r * E + i];
        }

    for (size_t l = 0; l < m.L; l++) {
        double *h = x, *u = x;
        if (!is(s, "olmo2"))
            h = norm(s, ln, x, n, E, T("attn_norm.weight"), 1, T("attn_norm.bias"), eps);
        double *a = is_recurrent(s, l) ? recurrent(s, l, h, n, E) : attend(s, &m, l, h, n);
        if (m.norms_after)
            a = norm(s, false, a, n, E, T("post_attention_norm.weight"), 1, NULL, eps);
        add_to(x, a, n * E, residual);

        if (m.gated || is_any(s, "seed_oss gpt-oss"))
            u = norm(s, false, x, n, E, T("post_attention_norm.weight"), 1, NULL, eps);
        else if (is(s, "stablelm") && !T("ffn_norm.weight")) u = h; /* both blocks read one norm */
        else if (!is(s, "olmo2"))
            u = norm(s, ln, x, n, E, T("ffn_norm.weight"), 1, T("ffn_norm.bias"), eps);
        double *f = T("ffn_gate_inp.weight") ? experts(s, l, u, u, n, E)
                                             : feed_forward(s, &m, l, u, n);
        if (m.norms_after) f = norm(s, false, f, n, E, T("post_ffw_norm.weight"), 1, NULL, eps);
        add_to(x, f, n * E, residual);
    }

    double *output = tensor(s, "output.weight"), cap = number(s, "final_logit_softcapping", 0);
    double *w = tensor(s, "output_norm.weight");
    if (is_any(s, "lfm2 lfm2moe") && !w) w = tensor(s, "token_embd_norm.weight");
    assert_non_null(w);
    x = norm(s, ln, x, n, E, w, 1, tensor(s, "output_norm.bias"), eps);
    double *logits = linear(s, x, n, E, output ? output : embedding, NULL, V);
    float *out = malloc(n * V * sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < n * V; i++) {
        if (m.granite) logits[i] /= number(s, "logit_scale", 1);
        out[i] = (float)(cap > 0 ? cap * tanh(logits[i] / cap) : logits[i]);
    }
    return out;
}

/* Gemma 4 (text), as Hugging Face's modelling code has it: layers of two kinds, the
 * last of which see the keys and values of earlier ones; an embedding of the token for every
 * layer. */
static float *run_gemma4(source *s, const int32_t *tokens, size_t n) {
    size_t E = whole(s, "embedding_length", 0), L = whole(s, "block_count", 0),
           H = whole(s, "attention.head_count", 0);
    size_t V = (size_t)gguf_find(s->g, "tokenizer.ggml.tokens")->n,
           P = whole(s, "embedding_length_per_layer_input", 0);
    size_t n_own = L - whole(s, "attention.shared_kv_layers", 0),
           W = whole(s, "attention.sliding_window", 0), last[2] = {0};
    double eps = number(s, "attention.layer_norm_rms_epsilon", 0),
           *embedding = tensor(s, "token_embd.weight");
    double *x = numbers(s, n * E), *pl = NULL, *k[64], *v[64];
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < E; i++)
            x[r * E + i] = sqrt((double)E) * embedding[(size_t)tokens[r] * E + i];
    if (P) {
        double *token = tensor(s, "per_layer_token_embd.weight");
        pl = linear(s, x, n, E, tensor(s, "per_layer_model_proj.weight"), NULL, P * L);
        for (size_t i = 0; i < n * P * L; i++) pl[i] /= sqrt((double)E);
        pl = norm(s, false, pl, n * L, P, tensor(s, "per_layer_proj_norm.weight"), 1, NULL, eps);
        for (size_t i = 0; i < n * P * L; i++)
            pl[i] = (pl[i] +
                     sqrt((double)P) * token[(size_t)tokens[i / (P * L)] * P * L + i % (P * L)]) /
                    sqrt(2);
    }
    for (size_t l = 0; l < L; l++) {
        bool slides = gguf_int_at(key(s, "attention.sliding_window_pattern"), l) != 0;
        size_t K = whole_at(s, "attention.head_count_kv", l, H),
               F = whole_at(s, "feed_forward_length", l, 0);
        size_t D = whole(s, slides ? "attention.key_length_swa" : "attention.key_length", 0);
        double base =
            slides ? number(s, "rope.freq_base_swa", 10000) : number(s, "rope.freq_base", 10000);
        double *factors = slides ? NULL : tensor(s, "rope_freqs.weight");
        double *h = norm(s, false, x, n, E, T("attn_norm.weight"), 1, NULL, eps);
        double *q = linear(s, h, n, E, T("attn_q.weight"), NULL, H * D);
        q = norm(s, false, q, n * H, D, T("attn_q_norm.weight"), 1, NULL, eps);
        for (size_t r = 0; r < n; r++)
            rope(s, q + r * H * D, H, D, D, r, base, true, factors, false);
        if (l < n_own) {
            double *raw = linear(s, h, n, E, T("attn_k.weight"), NULL, K * D);
            v[l] = T("attn_v.weight") ? linear(s, h, n, E, T("attn_v.weight"), NULL, K * D) : raw;
            v[l] = norm(s, false, v[l], n * K, D, NULL, 1, NULL, eps);
            k[l] = norm(s, false, raw, n * K, D, T("attn_k_norm.weight"), 1, NULL, eps);
            for (size_t r = 0; r < n; r++)
                rope(s, k[l] + r * K * D, K, D, D, r, base, true, factors, false);
            last[slides] = l;
        }
        size_t from = last[slides];
        double *a = attention(s, q, k[from], v[from], n, H, K, D, 1, 0, slides ? W : 0, NULL);
        a = linear(s, a, n, H * D, T("attn_output.weight"), NULL, E);
        add_to(x, norm(s, false, a, n, E, T("post_attention_norm.weight"), 1, NULL, eps), n * E, 1);

        double *u = norm(s, false, x, n, E, T("ffn_norm.weight"), 1, NULL, eps);
        double *gate = linear(s, u, n, E, T("ffn_gate.weight"), NULL, F),
               *up = linear(s, u, n, E, T("ffn_up.weight"), NULL, F);
        for (size_t i = 0; i < n * F; i++) gate[i] = gelu(gate[i]) * up[i];
        double *f = linear(s, gate, n, F, T("ffn_down.weight"), NULL, E);
        if (T("ffn_gate_inp.weight")) { /* both: one dense block, and experts */
            double *r = norm(s, false, x, n, E, T("ffn_gate_inp.scale"), 1, NULL, eps);
            for (size_t i = 0; i < n * E; i++) r[i] /= sqrt((double)E);
            u = norm(s, false, x, n, E, T("pre_ffw_norm_2.weight"), 1, NULL, eps);
            double *sparse = experts(s, l, r, u, n, E);
            f = norm(s, false, f, n, E, T("post_ffw_norm_1.weight"), 1, NULL, eps);
            sparse = norm(s, false, sparse, n, E, T("post_ffw_norm_2.weight"), 1, NULL, eps);
            add_to(f, sparse, n * E, 1);
        }
        add_to(x, norm(s, false, f, n, E, T("post_ffw_norm.weight"), 1, NULL, eps), n * E, 1);

        if (P) {
            double *g = linear(s, x, n, E, T("inp_gate.weight"), NULL, P);
            for (size_t i = 0; i < n * P; i++) g[i] = gelu(g[i]) * pl[(i / P * L + l) * P + i % P];
            g = linear(s, g, n, P, T("proj.weight"), NULL, E);
            add_to(x, norm(s, false, g, n, E, T("post_norm.weight"), 1, NULL, eps), n * E, 1);
        }
        double *scale = T("layer_output_scale.weight");
        for (size_t i = 0; i < n * E && scale; i++) x[i] *= *scale;
    }
    double cap = number(s, "final_logit_softcapping", 0);
    x = norm(s, false, x, n, E, tensor(s, "output_norm.weight"), 1, NULL, eps);
    double *logits = linear(s, x, n, E, embedding, NULL, V);
    float *out = malloc(n * V * sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < n * V; i++)
        out[i] = (float)(cap > 0 ? cap * tanh(logits[i] / cap) : logits[i]);
    return out;
}

float *reference_logits(const char *path, const int32_t *tokens, size_t n, uint32_t context) {
    source s = {0};
    gguf_string arch;
    pl_error e;
    if (gguf_open(path, &(gguf_options){.map = true}, &s.g, &e)) fail_msg("%s", e.message);
    assert_int_equal(gguf_get_string(s.g, "general.architecture", true, &arch, &e), PL_OK);
    snprintf(s.arch, sizeof s.arch, "%.*s", (int)arch.size, arch.data);
    float *out = is(&s, "gemma4") ? run_gemma4(&s, tokens, n) : run(&s, tokens, n, context);
    for (size_t i = 0; i < s.n_owned; i++) free(s.owned[i]);
    free(s.owned);
    gguf_close(s.g);
    return out;
}
