/* reference_parts.c: see reference_parts.h. */
#include "reference_parts.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

#define PI 3.14159265358979323846

double *numbers(source *s, size_t n) {
    double *x = calloc(n ? n : 1, sizeof *x);
    s->owned = realloc(s->owned, (s->n_owned + 1) * sizeof *s->owned);
    assert_true(x && s->owned);
    return s->owned[s->n_owned++] = x;
}

bool is(const source *s, const char *arch) { return !strcmp(s->arch, arch); }

bool is_any(const source *s, const char *archs) {
    size_t n = strlen(s->arch);
    for (const char *at = archs; (at = strstr(at, s->arch)); at += n)
        if ((at == archs || at[-1] == ' ') && (at[n] == ' ' || !at[n])) return true;
    return false;
}

static const gguf_tensor *find(const source *s, const char *format, va_list args) {
    char name[96];
    vsnprintf(name, sizeof name, format, args);
    return gguf_find_tensor(s->g, name);
}

double *tensor(source *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const gguf_tensor *t = find(s, format, args);
    va_end(args);
    if (!t) return NULL;
    size_t n = t->ne[0] * t->ne[1] * t->ne[2];
    float *f = malloc(n * sizeof *f);
    double *x = numbers(s, n);
    weight_format_of(t->type)->to_float(t->data, f, n);
    for (size_t i = 0; i < n; i++) x[i] = (double)f[i];
    free(f);
    return x;
}

size_t extent(const source *s, size_t i, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const gguf_tensor *t = find(s, format, args);
    va_end(args);
    return t ? t->ne[i] : 0;
}

const gguf_value *key(const source *s, const char *name) {
    char full[128];
    snprintf(full, sizeof full, "%s.%s", s->arch, name);
    return gguf_find(s->g, full);
}

double number(const source *s, const char *name, double otherwise) {
    const gguf_value *v = key(s, name);
    return v ? gguf_float_at(v, 0) : otherwise;
}

size_t whole(const source *s, const char *name, size_t otherwise) {
    return (size_t)number(s, name, (double)otherwise);
}

size_t whole_at(const source *s, const char *name, size_t l, size_t otherwise) {
    const gguf_value *v = key(s, name);
    return v ? (size_t)gguf_int_at(v, v->is_array ? l : 0) : otherwise;
}

double *linear(source *s, const double *x, size_t n, size_t n_in, const double *w, const double *b,
               size_t n_out) {
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

double *norm(source *s, bool layer_norm, const double *x, size_t n, size_t d, const double *w,
             size_t w_rows, const double *b, double eps) {
    double *y = numbers(s, n * d);
    for (size_t r = 0; r < n; r++) {
        double mean = 0, square = 0;
        for (size_t i = 0; i < d && layer_norm; i++) mean += x[r * d + i] / (double)d;
        for (size_t i = 0; i < d; i++) square += pow(x[r * d + i] - mean, 2) / (double)d;
        for (size_t i = 0; i < d; i++)
            y[r * d + i] = (x[r * d + i] - mean) / sqrt(square + eps) *
                               (w ? w[r % w_rows * d + i] : 1) +
                           (b ? b[i] : 0);
    }
    return y;
}

double silu(double x) { return x / (1 + exp(-x)); }
double gelu(double x) {
    return 0.5 * x * (1 + tanh(sqrt(2 / PI) * (x + 0.044715 * x * x * x)));
}

double sigmoid(double x) { return 1 / (1 + exp(-x)); }
double softplus(double x) { return fmax(x, 0) + log1p(exp(-fabs(x))); }

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

void rope(const source *s, double *x, size_t n_head, size_t d, size_t n_rot, size_t p, double base,
          bool scaled, const double *factors, bool interleaved) {
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

double *attention(source *s, const double *q, const double *k, const double *v, size_t n, size_t H,
                  size_t K, size_t D, double scale, double softcap, size_t window,
                  const double *sinks) {
    double *out = numbers(s, n * H * D), *p = numbers(s, n);
    for (size_t r = 0; r < n; r++)
        for (size_t h = 0; h < H; h++) {
            size_t kh = h / (H / K), first = window && r + 1 > window ? r + 1 - window : 0;
            double sum = 0, max = sinks ? sinks[h] : -INFINITY;
            for (size_t j = first; j <= r; j++) {
                p[j] = 0;
                for (size_t i = 0; i < D; i++)
                    p[j] += q[(r * H + h) * D + i] * k[(j * K + kh) * D + i];
                p[j] *= scale;
                if (softcap > 0) p[j] = softcap * tanh(p[j] / softcap);
                max = fmax(max, p[j]);
            }
            if (sinks) sum = exp(sinks[h] - max);
            for (size_t j = first; j <= r; j++) sum += p[j] = exp(p[j] - max);
            for (size_t j = first; j <= r; j++)
                for (size_t i = 0; i < D; i++)
                    out[(r * H + h) * D + i] += p[j] / sum * v[(j * K + kh) * D + i];
        }
    return out;
}

double *columns(source *s, const double *x, size_t n, size_t d, size_t first, size_t width) {
    double *y = numbers(s, n * width);
    for (size_t r = 0; r < n; r++) memcpy(y + r * width, x + r * d + first, width * sizeof *y);
    return y;
}

void add_to(double *x, const double *y, size_t n, double scale) {
    for (size_t i = 0; i < n; i++) x[i] += scale * y[i];
}
