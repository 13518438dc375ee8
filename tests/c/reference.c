/* reference.c: see reference.h. Sources: the models' papers and Hugging Face's modelling code; for
 * what only the file's layout says (which pairs RoPE turns, names of tensors), llama.cpp's
 * converter. Every loop is written out; nothing is fast. */
#include "reference.h"

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf.h"
#include "support.h"

#define PI 3.14159265358979323846

typedef struct {
    gguf *g;
    char arch[32];
    void **owned;   /* freed at the end */
    size_t n_owned;
} source;

static double *numbers(source *s, size_t n) {
    double *x = calloc(n ? n : 1, sizeof *x);
    s->owned = realloc(s->owned, (s->n_owned + 1) * sizeof *s->owned);
    assert_true(x && s->owned);
    return s->owned[s->n_owned++] = x;
}

static bool is(const source *s, const char *arch) { return !strcmp(s->arch, arch); }

/* A tensor's values; NULL when the file has none of that name. */
static double *tensor(source *s, const char *format, ...) {
    char name[96];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    const gguf_tensor *t = gguf_find_tensor(s->g, name);
    if (!t) return NULL;
    size_t n = t->ne[0] * t->ne[1];
    float *f = malloc(n * sizeof *f);
    double *x = numbers(s, n);
    weight_format_of(t->type)->to_float(t->data, f, n);
    for (size_t i = 0; i < n; i++) x[i] = (double)f[i];
    free(f);
    return x;
}

static const gguf_value *key(const source *s, const char *name) {
    char full[128];
    snprintf(full, sizeof full, "%s.%s", s->arch, name);
    return gguf_find(s->g, full);
}

static double number(const source *s, const char *name, double otherwise) {
    const gguf_value *v = key(s, name);
    return v ? gguf_float_at(v, 0) : otherwise;
}

static size_t whole(const source *s, const char *name, size_t otherwise) {
    return (size_t)number(s, name, (double)otherwise);
}

/* Of layer l: one number for all, or an array. */
static size_t whole_at(const source *s, const char *name, size_t l) {
    const gguf_value *v = key(s, name);
    assert_non_null(v);
    return (size_t)gguf_int_at(v, v->is_array ? l : 0);
}

/* y[n][n_out] = x[n][n_in] W^T + b */
static double *linear(source *s, const double *x, size_t n, size_t n_in, const double *w,
                      const double *b, size_t n_out) {
    double *y = numbers(s, n * n_out);
    assert_non_null(w);
    for (size_t r = 0; r < n; r++)
        for (size_t o = 0; o < n_out; o++) {
            double sum = b ? b[o] : 0;
            for (size_t i = 0; i < n_in; i++) sum += w[o * n_in + i] * x[r * n_in + i];
            y[r * n_out + o] = sum;
        }
    return y;
}

/* RMSNorm of n rows (Zhang & Sennrich 2019), or LayerNorm (Ba et al. 2016); w has w_rows rows,
 * taken in turn. */
static double *norm(source *s, bool layer_norm, const double *x, size_t n, size_t d,
                    const double *w, size_t w_rows, const double *b, double eps) {
    double *y = numbers(s, n * d);
    for (size_t r = 0; r < n; r++) {
        double mean = 0, square = 0;
        for (size_t i = 0; i < d && layer_norm; i++) mean += x[r * d + i] / (double)d;
        for (size_t i = 0; i < d; i++) square += pow(x[r * d + i] - mean, 2) / (double)d;
        for (size_t i = 0; i < d; i++)
            y[r * d + i] =
                (x[r * d + i] - mean) / sqrt(square + eps) * w[r % w_rows * d + i] + (b ? b[i] : 0);
    }
    return y;
}

static double silu(double x) { return x / (1 + exp(-x)); }
static double gelu(double x) {
    return 0.5 * x * (1 + tanh(sqrt(2 / PI) * (x + 0.044715 * x * x * x)));
}

/* YaRN's ramp (Peng et al. 2023, equations 22 and 23): 0 where a frequency stays, 1 where it is
 * interpolated. */
static double yarn_ramp(const source *s, double i, double n_rot, double base, double original) {
    double fast = number(s, "rope.scaling.yarn_beta_fast", 32),
           slow = number(s, "rope.scaling.yarn_beta_slow", 1);
    double low = floor(n_rot * log(original / (fast * 2 * PI)) / (2 * log(base)));
    double high = ceil(n_rot * log(original / (slow * 2 * PI)) / (2 * log(base)));
    low = low < 0 ? 0 : low;
    high = high > n_rot - 1 ? n_rot - 1 : high;
    double y = (i - low) / (high - low > 0.001 ? high - low : 0.001);
    return y < 0 ? 0 : y > 1 ? 1 : y;
}

/* Rotates heads of d at position p in place. */
static void rope(const source *s, double *x, size_t n_head, size_t d, size_t n_rot, size_t p,
                 double base, bool scaled, const double *factors, bool interleaved) {
    const gguf_value *kind = key(s, "rope.scaling.type");
    size_t at = 0;
    gguf_string type = kind ? gguf_string_next(kind, &at) : (gguf_string){"none", 4};
    double factor = number(s, "rope.scaling.factor", 1),
           magnitude = scaled ? number(s, "rope.scaling.attn_factor", 1) : 1;
    double original =
        number(s, "rope.scaling.original_context_length", number(s, "context_length", 0));
    bool yarn = scaled && type.size == 4 && !memcmp(type.data, "yarn", 4),
         line = scaled && type.size == 6;
    double m = number(s, "rope.scaling.yarn_log_multiplier", 0);
    bool given =
        is(s, "olmo2") &&
        key(s, "rope.scaling.attn_factor"); /* OLMo 3's attention_factor is the magnitude itself */
    if (yarn && !given) magnitude *= (0.1 * log(factor) + 1) / (0.1 * m * log(factor) + 1);
    for (size_t h = 0; h < n_head; h++)
        for (size_t i = 0; i < n_rot / 2; i++) {
            double f = pow(base, -2 * (double)i / (double)n_rot);
            if (scaled && factors) f /= factors[i];
            if (line) f /= factor;
            if (yarn) {
                double ramp = yarn_ramp(s, (double)i, (double)n_rot, base, original);
                f = f * (1 - ramp) + f / factor * ramp;
            }
            double c = magnitude * cos((double)p * f), t = magnitude * sin((double)p * f);
            double *u = x + h * d + (interleaved ? 2 * i : i),
                   *v = x + h * d + (interleaved ? 2 * i + 1 : i + n_rot / 2);
            double a = *u * c - *v * t, b = *u * t + *v * c;
            *u = a;
            *v = b;
        }
}

/* Softmax attention: q [n][H D], k and v [n][K D]; window 0: none. */
static double *attention(source *s, const double *q, const double *k, const double *v, size_t n,
                         size_t H, size_t K, size_t D, double scale, double softcap,
                         size_t window) {
    double *out = numbers(s, n * H * D), *p = numbers(s, n);
    for (size_t r = 0; r < n; r++)
        for (size_t h = 0; h < H; h++) {
            size_t kh = h / (H / K), first = window && r + 1 > window ? r + 1 - window : 0;
            double sum = 0, max = -INFINITY;
            for (size_t j = first; j <= r; j++) {
                p[j] = 0;
                for (size_t i = 0; i < D; i++)
                    p[j] += q[(r * H + h) * D + i] * k[(j * K + kh) * D + i];
                p[j] *= scale;
                if (softcap > 0) p[j] = softcap * tanh(p[j] / softcap);
                max = fmax(max, p[j]);
            }
            for (size_t j = first; j <= r; j++) sum += p[j] = exp(p[j] - max);
            for (size_t j = first; j <= r; j++)
                for (size_t i = 0; i < D; i++)
                    out[(r * H + h) * D + i] += p[j] / sum * v[(j * K + kh) * D + i];
        }
    return out;
}

/* Rows [first, first + n) of [rows][d] side by side: columns of a fused result. */
static double *columns(source *s, const double *x, size_t n, size_t d, size_t first, size_t width) {
    double *y = numbers(s, n * width);
    for (size_t r = 0; r < n; r++) memcpy(y + r * width, x + r * d + first, width * sizeof *y);
    return y;
}

static void add_to(double *x, const double *y, size_t n, double scale) {
    for (size_t i = 0; i < n; i++) x[i] += scale * y[i];
}

static float *run(source *s, const int32_t *tokens, size_t n, uint32_t context) {
    size_t E = whole(s, "embedding_length", 0), L = whole(s, "block_count", 0),
           H = whole(s, "attention.head_count", 0);
    size_t K = whole(s, "attention.head_count_kv", H), D = whole(s, "attention.key_length", E / H);
    size_t F = whole(s, "feed_forward_length", 0), R = whole(s, "rope.dimension_count", D), W = 0;
    size_t V = (size_t)gguf_find(s->g, "tokenizer.ggml.tokens")->n;
    bool gemma = is(s, "gemma2") || is(s, "gemma3"),
         ln = is(s, "gpt2") || is(s, "starcoder2") || is(s, "stablelm");
    bool interleaved = is(s, "llama") || is(s, "mistral3") || is(s, "smollm3") ||
                       is(s, "granite") || is(s, "glm4") || is(s, "ernie4_5");
    double eps =
        number(s, ln ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", 0);
    double base = number(s, "rope.freq_base", 10000), scale = 1 / sqrt((double)D), residual = 1;
    double *embedding = tensor(s, "token_embd.weight"), *x = numbers(s, n * E),
           *positions = tensor(s, "position_embd.weight");

    if (gemma || is(s, "olmo2") || is(s, "phi3")) W = whole(s, "attention.sliding_window", 0);
    if (is(s, "gemma3") && L == 62) scale = 1 / sqrt((double)E / (double)H);
    if (is(s, "granite")) {
        scale = number(s, "attention.scale", scale);
        residual = number(s, "residual_scale", 1);
    }
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < E; i++) {
            x[r * E + i] = embedding[(size_t)tokens[r] * E + i];
            if (gemma) x[r * E + i] *= sqrt((double)E);
            if (is(s, "granite")) x[r * E + i] *= number(s, "embedding_scale", 1);
            if (positions) x[r * E + i] += positions[r * E + i];
        }

    bool is_long =
        context > whole(s, "rope.scaling.original_context_length", whole(s, "context_length", 0));
    double *factors = tensor(s, "rope_freqs.weight");
    if (!factors)
        factors = tensor(s, is_long ? "rope_factors_long.weight" : "rope_factors_short.weight");

    for (size_t l = 0; l < L; l++) {
#define T(name) tensor(s, "blk.%zu." name, l)
        bool slides = W && (is(s, "phi3") || (is(s, "gemma2") && l % 2 == 0) ||
                            (is(s, "gemma3") && l % 6 != 5) || (is(s, "olmo2") && l % 4 != 3));
        double *h = x, *q, *k, *v;
        if (!is(s, "olmo2"))
            h = norm(s, ln, x, n, E, T("attn_norm.weight"), 1, T("attn_norm.bias"), eps);
        if (T("attn_qkv.weight")) {
            size_t all = (H + 2 * K) * D;
            double *qkv = linear(s, h, n, E, T("attn_qkv.weight"), T("attn_qkv.bias"), all);
            q = columns(s, qkv, n, all, 0, H * D);
            k = columns(s, qkv, n, all, H * D, K * D);
            v = columns(s, qkv, n, all, (H + K) * D, K * D);
        } else {
            q = linear(s, h, n, E, T("attn_q.weight"), T("attn_q.bias"), H * D);
            k = linear(s, h, n, E, T("attn_k.weight"), T("attn_k.bias"), K * D);
            v = linear(s, h, n, E, T("attn_v.weight"), T("attn_v.bias"), K * D);
        }
        if (is(s, "olmo2")) { /* over all heads */
            q = norm(s, false, q, n, H * D, T("attn_q_norm.weight"), 1, NULL, eps);
            k = norm(s, false, k, n, K * D, T("attn_k_norm.weight"), 1, NULL, eps);
        }
        if (is(s, "qwen3") || is(s, "gemma3")) { /* one weight for every head */
            q = norm(s, false, q, n * H, D, T("attn_q_norm.weight"), 1, NULL, eps);
            k = norm(s, false, k, n * K, D, T("attn_k_norm.weight"), 1, NULL, eps);
        }
        if (is(s, "stablelm") && T("attn_q_norm.weight")) { /* every head has its own */
            q = norm(s, true, q, n * H, D, T("attn_q_norm.weight"), H, NULL, eps);
            k = norm(s, true, k, n * K, D, T("attn_k_norm.weight"), K, NULL, eps);
        }
        bool turns = !is(s, "gpt2") && !(is(s, "smollm3") && (l + 1) % 4 == 0) &&
                     !(is(s, "granite") && number(s, "rope.scaling.finetuned", 1) == 0);
        bool scaled = !(slides && (is(s, "gemma3") || is(s, "olmo2")));
        for (size_t r = 0; r < n && turns; r++) {
            double b = slides && is(s, "gemma3") ? 10000 : base;
            rope(s, q + r * H * D, H, D, R, r, b, scaled, factors, interleaved);
            rope(s, k + r * K * D, K, D, R, r, b, scaled, factors, interleaved);
        }
        double t = is(s, "mistral3") ? number(s, "attention.temperature_scale", 0) : 0;
        for (size_t r = 0; r < n; r++)
            for (size_t i = 0; i < H * D; i++)
                q[r * H * D + i] *=
                    1 + t * log(1 + floor((double)r /
                                          number(s, "rope.scaling.original_context_length", 1)));
        double *a = attention(s, q, k, v, n, H, K, D, scale,
                              gemma ? number(s, "attn_logit_softcapping", 0) : 0, slides ? W : 0);
        a = linear(s, a, n, H * D, T("attn_output.weight"), T("attn_output.bias"), E);
        bool post = gemma || is(s, "olmo2") || is(s, "glm4");
        if (post) a = norm(s, false, a, n, E, T("post_attention_norm.weight"), 1, NULL, eps);
        add_to(x, a, n * E, residual);

        double *u = x, *f;
        if (is(s, "seed_oss"))
            u = norm(s, false, x, n, E, T("post_attention_norm.weight"), 1, NULL, eps);
        else if (is(s, "stablelm") && !T("ffn_norm.weight")) u = h; /* both blocks read one norm */
        else if (!is(s, "olmo2"))
            u = norm(s, ln, x, n, E, T("ffn_norm.weight"), 1, T("ffn_norm.bias"), eps);
        if (is(s, "gpt2") || is(s, "starcoder2")) {
            f = linear(s, u, n, E, T("ffn_up.weight"), T("ffn_up.bias"), F);
            for (size_t i = 0; i < n * F; i++) f[i] = gelu(f[i]);
        } else {
            double *gate, *up;
            if (is(s, "phi3") || is(s, "glm4")) { /* gate first */
                double *both = linear(s, u, n, E, T("ffn_up.weight"), NULL, 2 * F);
                gate = columns(s, both, n, 2 * F, 0, F);
                up = columns(s, both, n, 2 * F, F, F);
            } else {
                gate = linear(s, u, n, E, T("ffn_gate.weight"), T("ffn_gate.bias"), F);
                up = linear(s, u, n, E, T("ffn_up.weight"), T("ffn_up.bias"), F);
            }
            f = numbers(s, n * F);
            for (size_t i = 0; i < n * F; i++)
                f[i] = (gemma ? gelu(gate[i]) : silu(gate[i])) * up[i];
        }
        f = linear(s, f, n, F, T("ffn_down.weight"), T("ffn_down.bias"), E);
        if (post) f = norm(s, false, f, n, E, T("post_ffw_norm.weight"), 1, NULL, eps);
        add_to(x, f, n * E, residual);
#undef T
    }

    double *output = tensor(s, "output.weight"), cap = number(s, "final_logit_softcapping", 0);
    x = norm(s, ln, x, n, E, tensor(s, "output_norm.weight"), 1, tensor(s, "output_norm.bias"),
             eps);
    double *logits = linear(s, x, n, E, output ? output : embedding, NULL, V);
    float *out = malloc(n * V * sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < n * V; i++) {
        if (is(s, "granite")) logits[i] /= number(s, "logit_scale", 1);
        out[i] = (float)(cap > 0 ? cap * tanh(logits[i] / cap) : logits[i]);
    }
    return out;
}

/* Gemma 4 (text), as Hugging Face's modelling code has it: layers of two kinds, the
 * last of which see the keys and values of earlier ones; an embedding of the token for every layer.
 */
static float *run_gemma4(source *s, const int32_t *tokens, size_t n) {
    size_t E = whole(s, "embedding_length", 0), L = whole(s, "block_count", 0),
           H = whole(s, "attention.head_count", 0);
    size_t V = (size_t)gguf_find(s->g, "tokenizer.ggml.tokens")->n,
           P = whole(s, "embedding_length_per_layer_input", 0);
    size_t n_own = L - whole(s, "attention.shared_kv_layers", 0),
           W = whole(s, "attention.sliding_window", 0), last[2] = {0};
    double eps = number(s, "attention.layer_norm_rms_epsilon", 0),
           *embedding = tensor(s, "token_embd.weight");
    double *x = numbers(s, n * E), *ones = numbers(s, 1024), *pl = NULL, *k[64], *v[64];
    for (size_t i = 0; i < 1024; i++) ones[i] = 1;
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
#define T(name) tensor(s, "blk.%zu." name, l)
        bool slides = gguf_int_at(key(s, "attention.sliding_window_pattern"), l) != 0;
        size_t K = whole_at(s, "attention.head_count_kv", l),
               F = whole_at(s, "feed_forward_length", l);
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
            v[l] = norm(s, false, v[l], n * K, D, ones, 1, NULL, eps);
            k[l] = norm(s, false, raw, n * K, D, T("attn_k_norm.weight"), 1, NULL, eps);
            for (size_t r = 0; r < n; r++)
                rope(s, k[l] + r * K * D, K, D, D, r, base, true, factors, false);
            last[slides] = l;
        }
        size_t from = last[slides];
        double *a = attention(s, q, k[from], v[from], n, H, K, D, 1, 0, slides ? W : 0);
        a = linear(s, a, n, H * D, T("attn_output.weight"), NULL, E);
        add_to(x, norm(s, false, a, n, E, T("post_attention_norm.weight"), 1, NULL, eps), n * E, 1);

        double *u = norm(s, false, x, n, E, T("ffn_norm.weight"), 1, NULL, eps);
        double *gate = linear(s, u, n, E, T("ffn_gate.weight"), NULL, F),
               *up = linear(s, u, n, E, T("ffn_up.weight"), NULL, F);
        for (size_t i = 0; i < n * F; i++) gate[i] = gelu(gate[i]) * up[i];
        double *f = linear(s, gate, n, F, T("ffn_down.weight"), NULL, E);
        add_to(x, norm(s, false, f, n, E, T("post_ffw_norm.weight"), 1, NULL, eps), n * E, 1);

        if (P) {
            double *g = linear(s, x, n, E, T("inp_gate.weight"), NULL, P);
            for (size_t i = 0; i < n * P; i++) g[i] = gelu(g[i]) * pl[(i / P * L + l) * P + i % P];
            g = linear(s, g, n, P, T("proj.weight"), NULL, E);
            add_to(x, norm(s, false, g, n, E, T("post_norm.weight"), 1, NULL, eps), n * E, 1);
        }
        double *scale = T("layer_output_scale.weight");
        for (size_t i = 0; i < n * E && scale; i++) x[i] *= *scale;
#undef T
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
