/* superblocks.c: the weight formats with 256 weights to a block and a scale of its own for every
 * 16 or 32 of them, one weight after the other, as their definitions read: Q2_K to Q6_K, IQ4_XS.
 * The fast versions live in math/; these are what those are tested against. It owns nothing. */
#include "gguf/blocks.h"

/* ---- where bits lie ---- */

typedef struct {
    size_t byte;
    unsigned shift;
} place;

static unsigned get(const uint8_t *p, place at, unsigned mask) {
    return p[at.byte] >> at.shift & mask;
}
/* The bits are zero before. */
static void put(uint8_t *p, place at, unsigned value) {
    p[at.byte] |= (uint8_t)(value << at.shift);
}

/* One bit each in 32 bytes: bit k of byte j is weight 32 k + j's. */
static place one_bit(size_t i) { return (place){i % 32, (unsigned)(i / 32)}; }

/* Two bits each in 64 bytes. Each half of 128 weights has 32 bytes, from each of which its quarters
 * of 32 take two bits, the first quarter the lowest. */
static place two_bits(size_t i) {
    return (place){32 * (i / 128) + i % 32, 2 * (unsigned)(i / 32 % 4)};
}

/* Four bits each in 128 bytes, in three arrangements: of n bytes, n weights take the low nibbles
 * and the next n the high ones. */
static place four_bits(size_t i, size_t n) {
    return (place){n * (i / (2 * n)) + i % n, i / n % 2 ? 4 : 0};
}

/* ---- formats with a minimum: Q2_K, Q4_K, Q5_K ---- */

/* A weight is d * scale * code - dmin * min, d and dmin halves, scale and min small whole numbers
 * of the weight's group. */
typedef struct {
    int top, scale_top; /* largest code; largest scale and minimum */
    size_t group;       /* weights that share a scale and a minimum */
} affine_kind;

typedef struct {
    uint16_t d, dmin; /* halves */
    uint8_t scale[16], min[16], code[SUPER];
} affine;

static void affine_to_float(affine_kind kind, const affine *a, float *out) {
    float d = half_to_float(a->d), dmin = half_to_float(a->dmin);
    for (size_t i = 0; i < SUPER; i++) {
        size_t g = i / kind.group;
        out[i] = d * (float)a->scale[g] * (float)a->code[i] - dmin * (float)a->min[g];
    }
}

#define GROUP_MOST 32

/* A group and how much each weight's squared error counts: large weights matter more than their
 * number says, small ones still do. */
typedef struct {
    const float *x;
    size_t n;
    int top;
    double weight[GROUP_MOST];
} fit;

static fit fit_of(affine_kind kind, const float *x) {
    fit f = {.x = x, .n = kind.group, .top = kind.top};
    double square = 0;
    for (size_t i = 0; i < f.n; i++) square += (double)x[i] * (double)x[i];
    double rms = sqrt(square / (double)f.n);
    for (size_t i = 0; i < f.n; i++) f.weight[i] = rms + fabs((double)x[i]);
    return f;
}

/* What is lost when x[i] becomes the nearest of step * code - floor. */
static double affine_loss(const fit *f, float step, float floor) {
    float inverse = step > 0 ? 1 / step : 0;
    double loss = 0;
    for (size_t i = 0; i < f->n; i++) {
        float code = (float)nearest_code((f->x[i] + floor) * inverse, f->top);
        double e = (double)f->x[i] - (double)(step * code - floor);
        loss += f->weight[i] * e * e;
    }
    return loss;
}

/* The step and floor (neither negative) that fit the codes which the given ones lead to best, by
 * weighted least squares over x = step * code - floor. */
static void affine_refit(const fit *f, float *step, float *floor) {
    float inverse = 1 / *step;
    double w = 0, wx = 0, wq = 0, wqx = 0, wqq = 0;
    for (size_t i = 0; i < f->n; i++) {
        double x = (double)f->x[i], weight = f->weight[i];
        double q = (double)nearest_code((f->x[i] + *floor) * inverse, f->top);
        w += weight;
        wx += weight * x;
        wq += weight * q;
        wqx += weight * q * x;
        wqq += weight * q * q;
    }
    double det = w * wqq - wq * wq;
    if (!(det > 0)) return; /* all codes alike */
    double slope = (w * wqx - wx * wq) / det, rest = (wq * wqx - wqq * wx) / det;
    if (!(rest >= 0)) { /* a floor cannot lift: the best without one */
        rest = 0;
        slope = wqx / wqq;
    }
    if (!(slope > 0)) return;
    *step = (float)slope;
    *floor = (float)rest;
}

/* To either side of the plain one, so much of a code at the top apart; finer gains little. */
#define STEPS_TRIED 5
#define STEPS_APART 0.2f

/* The plain choice spans all values; cutting the outermost or leaving codes unused often loses
 * less, so steps around it are tried, each refitted. */
static void affine_search(const fit *f, float *best_step, float *best_floor) {
    float low = 0, high = 0;
    for (size_t i = 0; i < f->n; i++) {
        if (f->x[i] < low) low = f->x[i];
        if (i == 0 || f->x[i] > high) high = f->x[i];
    }
    *best_step = 0;
    *best_floor = -low;
    if (!(high > low) || !(high - low <= 3e38f)) return; /* flat, or beyond any half anyway */
    double least = affine_loss(f, 0, *best_floor);
    for (int t = -STEPS_TRIED; t <= STEPS_TRIED; t++) {
        float step = (high - low) / ((float)f->top + STEPS_APART * (float)t), floor = -low;
        if (!(step > 1e-37f)) return; /* rounds to nothing in a half, and has no inverse */
        affine_refit(f, &step, &floor);
        double loss = affine_loss(f, step, floor);
        if (loss < least) {
            least = loss;
            *best_step = step;
            *best_floor = floor;
        }
    }
}

/* The whole scale and minimum, next to the wanted ones, with which least is lost. */
static void affine_round(affine_kind kind, const fit *f, float d, float dmin, float step,
                         float floor, uint8_t *scale, uint8_t *min) {
    int s0 = d > 0 ? nearest(step / d, 0, kind.scale_top) : 0;
    int m0 = dmin > 0 ? nearest(floor / dmin, 0, kind.scale_top) : 0;
    double least = INFINITY;
    *scale = (uint8_t)s0;
    *min = (uint8_t)m0;
    for (int s = s0 - 1; s <= s0 + 1; s++) {
        for (int m = m0 - 1; m <= m0 + 1; m++) {
            if (s < 0 || m < 0 || s > kind.scale_top || m > kind.scale_top) continue;
            double loss = affine_loss(f, d * (float)s, dmin * (float)m);
            if (loss < least) {
                least = loss;
                *scale = (uint8_t)s;
                *min = (uint8_t)m;
            }
        }
    }
}

static void affine_from_float(affine_kind kind, const float *x, affine *a) {
    size_t n_groups = SUPER / kind.group;
    float step[16], floor[16], most_step = 0, most_floor = 0;
    for (size_t g = 0; g < n_groups; g++) {
        fit f = fit_of(kind, x + g * kind.group);
        affine_search(&f, step + g, floor + g);
        if (step[g] > most_step) most_step = step[g];
        if (floor[g] > most_floor) most_floor = floor[g];
    }
    a->d = float_to_half(most_step / (float)kind.scale_top);
    a->dmin = float_to_half(most_floor / (float)kind.scale_top);
    float d = half_to_float(a->d), dmin = half_to_float(a->dmin);
    for (size_t g = 0; g < n_groups; g++) {
        fit f = fit_of(kind, x + g * kind.group);
        affine_round(kind, &f, d, dmin, step[g], floor[g], a->scale + g, a->min + g);
        float each = d * (float)a->scale[g], under = dmin * (float)a->min[g];
        float inverse = each > 0 ? 1 / each : 0;
        for (size_t i = 0; i < kind.group; i++)
            a->code[g * kind.group + i] =
                (uint8_t)nearest_code((f.x[i] + under) * inverse, kind.top);
    }
}

/* Q2_K: 16 bytes with a scale (low nibble) and a minimum (high) for each group of 16, 64 bytes with
 * two bits of each weight, d, dmin. */
enum { Q2_K_CODES = 16, Q2_K_D = 80, Q2_K_DMIN = 82, Q2_K_BYTES = 84 };
static const affine_kind q2_k = {.top = 3, .scale_top = 15, .group = 16};

void q2_k_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t b = 0; b < n; b += SUPER, p += Q2_K_BYTES) {
        affine a = {.d = load16(p + Q2_K_D), .dmin = load16(p + Q2_K_DMIN)};
        for (size_t g = 0; g < 16; g++) {
            a.scale[g] = p[g] & 15;
            a.min[g] = p[g] >> 4;
        }
        for (size_t i = 0; i < SUPER; i++)
            a.code[i] = (uint8_t)get(p + Q2_K_CODES, two_bits(i), 3);
        affine_to_float(q2_k, &a, out + b);
    }
}

void q2_k_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t b = 0; b < n; b += SUPER, p += Q2_K_BYTES) {
        affine a;
        affine_from_float(q2_k, in + b, &a);
        memset(p, 0, Q2_K_BYTES);
        store16(p + Q2_K_D, a.d);
        store16(p + Q2_K_DMIN, a.dmin);
        for (size_t g = 0; g < 16; g++) p[g] = (uint8_t)(a.scale[g] | a.min[g] << 4);
        for (size_t i = 0; i < SUPER; i++) put(p + Q2_K_CODES, two_bits(i), a.code[i]);
    }
}

/* Q4_K: d, dmin, 12 bytes with a scale and a minimum of six bits for each group of 32, 128 bytes
 * with four bits of each weight. Q5_K: between the scales and those, 32 bytes with the fifth bits.
 *
 * The 12 bytes: the low six bits of the first four are the scales of groups 0 to 3, of the next
 * four their minima. The last four bytes hold the low four bits of groups 4 to 7, scales in the low
 * nibbles; their upper two bits fill the first eight bytes: scales the first four, minima the
 * others. */
enum { K_D = 0, K_DMIN = 2, K_SCALES = 4, Q4_K_CODES = 16, Q4_K_BYTES = 144 };
enum { Q5_K_UPPER = 16, Q5_K_CODES = 48, Q5_K_BYTES = 176 };
static const affine_kind q4_k = {.top = 15, .scale_top = 63, .group = 32};
static const affine_kind q5_k = {.top = 31, .scale_top = 63, .group = 32};

static void k_head_read(const uint8_t *p, affine *a) {
    const uint8_t *s = p + K_SCALES;
    a->d = load16(p + K_D);
    a->dmin = load16(p + K_DMIN);
    for (size_t g = 0; g < 4; g++) {
        a->scale[g] = s[g] & 63;
        a->min[g] = s[g + 4] & 63;
        a->scale[g + 4] = (uint8_t)((s[g + 8] & 15) | s[g] >> 6 << 4);
        a->min[g + 4] = (uint8_t)(s[g + 8] >> 4 | s[g + 4] >> 6 << 4);
    }
}

static void k_head_write(uint8_t *p, const affine *a) {
    uint8_t *s = p + K_SCALES;
    store16(p + K_D, a->d);
    store16(p + K_DMIN, a->dmin);
    for (size_t g = 0; g < 4; g++) {
        s[g] = (uint8_t)(a->scale[g] | a->scale[g + 4] >> 4 << 6);
        s[g + 4] = (uint8_t)(a->min[g] | a->min[g + 4] >> 4 << 6);
        s[g + 8] = (uint8_t)((a->scale[g + 4] & 15) | (a->min[g + 4] & 15) << 4);
    }
}

void q4_k_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t b = 0; b < n; b += SUPER, p += Q4_K_BYTES) {
        affine a;
        k_head_read(p, &a);
        for (size_t i = 0; i < SUPER; i++)
            a.code[i] = (uint8_t)get(p + Q4_K_CODES, four_bits(i, 32), 15);
        affine_to_float(q4_k, &a, out + b);
    }
}

void q4_k_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t b = 0; b < n; b += SUPER, p += Q4_K_BYTES) {
        affine a;
        affine_from_float(q4_k, in + b, &a);
        memset(p, 0, Q4_K_BYTES);
        k_head_write(p, &a);
        for (size_t i = 0; i < SUPER; i++) put(p + Q4_K_CODES, four_bits(i, 32), a.code[i]);
    }
}

void q5_k_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t b = 0; b < n; b += SUPER, p += Q5_K_BYTES) {
        affine a;
        k_head_read(p, &a);
        for (size_t i = 0; i < SUPER; i++)
            a.code[i] = (uint8_t)(get(p + Q5_K_CODES, four_bits(i, 32), 15) |
                                  get(p + Q5_K_UPPER, one_bit(i), 1) << 4);
        affine_to_float(q5_k, &a, out + b);
    }
}

void q5_k_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t b = 0; b < n; b += SUPER, p += Q5_K_BYTES) {
        affine a;
        affine_from_float(q5_k, in + b, &a);
        memset(p, 0, Q5_K_BYTES);
        k_head_write(p, &a);
        for (size_t i = 0; i < SUPER; i++) {
            put(p + Q5_K_CODES, four_bits(i, 32), a.code[i] & 15);
            put(p + Q5_K_UPPER, one_bit(i), a.code[i] >> 4);
        }
    }
}

/* ---- formats with a signed scale: Q3_K, Q6_K, IQ4_XS ---- */

/* A weight is d * scale * level, d a half, scale a small whole number of the weight's group, level
 * a whole number that the weight's code stands for. */
typedef struct {
    int zero, top;         /* levels are code - zero, codes go to top ... */
    bool iq4;              /* ... or iq4_levels */
    size_t group;          /* weights that share a scale */
    int scale_min, scale_max;
    int tried;             /* scales tried on either side of the plain one */
} signed_kind;

typedef struct {
    uint16_t d; /* a half */
    int8_t scale[16];
    uint8_t code[SUPER];
} signed_block;

static int level(signed_kind kind, unsigned code) {
    return kind.iq4 ? iq4_levels[code] : (int)code - kind.zero;
}

static unsigned code_of(signed_kind kind, float x) {
    if (kind.iq4) return iq4_code(x);
    return (unsigned)(nearest(x, -kind.zero, kind.top - kind.zero) + kind.zero);
}

static void signed_to_float(signed_kind kind, const signed_block *s, float *out) {
    float d = half_to_float(s->d);
    for (size_t i = 0; i < SUPER; i++)
        out[i] = d * (float)s->scale[i / kind.group] * (float)level(kind, s->code[i]);
}

/* The squared error of a group in steps of `step`. */
static double signed_loss(signed_kind kind, const float *x, float step) {
    float inverse = step != 0 ? 1 / step : 0;
    double sum = 0;
    for (size_t i = 0; i < kind.group; i++) {
        double e = (double)x[i] - (double)step * level(kind, code_of(kind, x[i] * inverse));
        sum += e * e;
    }
    return sum;
}

/* The scale whose steps d * scale lose least of a group, of those about step / d. */
static int best_scale(signed_kind kind, const float *x, float d, float step) {
    int start = d > 0 ? nearest(step / d, kind.scale_min, kind.scale_max) : 0, best = start;
    double least = signed_loss(kind, x, d * (float)start);
    for (int s = start - kind.tried; s <= start + kind.tried; s++) {
        if (s < kind.scale_min || s > kind.scale_max) continue;
        double loss = signed_loss(kind, x, d * (float)s);
        if (loss < least) {
            least = loss;
            best = s;
        }
    }
    return best;
}

/* As in Q4_0, a group's extreme value is to become the lowest level, the end that reaches furthest;
 * the largest such step becomes the largest scale, or its opposite. */
static void signed_from_float(signed_kind kind, const float *x, signed_block *s) {
    int reach = level(kind, 0);
    s->d = float_to_half(fabsf(extreme(x, SUPER)) / (float)-reach / (float)kind.scale_max);
    float d = half_to_float(s->d);
    for (size_t g = 0; g < SUPER / kind.group; g++, x += kind.group) {
        int scale = best_scale(kind, x, d, extreme(x, kind.group) / (float)reach);
        float step = d * (float)scale, inverse = step != 0 ? 1 / step : 0;
        s->scale[g] = (int8_t)scale;
        for (size_t i = 0; i < kind.group; i++)
            s->code[g * kind.group + i] = (uint8_t)code_of(kind, x[i] * inverse);
    }
}

/* Q3_K: 32 bytes with the upper bit of the weights, 64 with the lower two, 12 with the scales, six
 * bits plus 32 for each group of 16, and d; levels are code - 4. The low four bits of scales 0 to 7
 * are the low nibbles of the first eight of the 12 bytes, those of 8 to 15 the high nibbles; the
 * upper two bits of scale g lie in byte 8 + g % 4, by 2 (g / 4) up. */
enum { Q3_K_LOW = 32, Q3_K_SCALES = 96, Q3_K_D = 108, Q3_K_BYTES = 110 };
static const signed_kind q3_k = {
    .zero = 4, .top = 7, .group = 16, .scale_min = -32, .scale_max = 31, .tried = 8};

static place scale_low(size_t g) { return four_bits(g, 8); }
static place scale_upper(size_t g) { return (place){8 + g % 4, 2 * (unsigned)(g / 4)}; }

void q3_k_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t b = 0; b < n; b += SUPER, p += Q3_K_BYTES) {
        const uint8_t *scales = p + Q3_K_SCALES;
        signed_block s = {.d = load16(p + Q3_K_D)};
        for (size_t g = 0; g < 16; g++) {
            unsigned six = get(scales, scale_low(g), 15) | get(scales, scale_upper(g), 3) << 4;
            s.scale[g] = (int8_t)((int)six - 32);
        }
        for (size_t i = 0; i < SUPER; i++)
            s.code[i] =
                (uint8_t)(get(p + Q3_K_LOW, two_bits(i), 3) | get(p, one_bit(i), 1) << 2);
        signed_to_float(q3_k, &s, out + b);
    }
}

void q3_k_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t b = 0; b < n; b += SUPER, p += Q3_K_BYTES) {
        signed_block s;
        signed_from_float(q3_k, in + b, &s);
        memset(p, 0, Q3_K_BYTES);
        store16(p + Q3_K_D, s.d);
        for (size_t g = 0; g < 16; g++) {
            unsigned six = (unsigned)(s.scale[g] + 32);
            put(p + Q3_K_SCALES, scale_low(g), six & 15);
            put(p + Q3_K_SCALES, scale_upper(g), six >> 4);
        }
        for (size_t i = 0; i < SUPER; i++) {
            put(p + Q3_K_LOW, two_bits(i), s.code[i] & 3);
            put(p, one_bit(i), s.code[i] >> 2);
        }
    }
}

/* Q6_K: 128 bytes with the low four bits of the weights, 64 with the upper two, a signed byte as
 * scale for each group of 16, and d; levels are code - 32. */
enum { Q6_K_UPPER = 128, Q6_K_SCALES = 192, Q6_K_D = 208, Q6_K_BYTES = 210 };
static const signed_kind q6_k = {
    .zero = 32, .top = 63, .group = 16, .scale_min = -128, .scale_max = 127, .tried = 4};

void q6_k_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t b = 0; b < n; b += SUPER, p += Q6_K_BYTES) {
        signed_block s = {.d = load16(p + Q6_K_D)};
        memcpy(s.scale, p + Q6_K_SCALES, 16);
        for (size_t i = 0; i < SUPER; i++)
            s.code[i] = (uint8_t)(get(p, four_bits(i, 64), 15) |
                                  get(p + Q6_K_UPPER, two_bits(i), 3) << 4);
        signed_to_float(q6_k, &s, out + b);
    }
}

void q6_k_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t b = 0; b < n; b += SUPER, p += Q6_K_BYTES) {
        signed_block s;
        signed_from_float(q6_k, in + b, &s);
        memset(p, 0, Q6_K_BYTES);
        store16(p + Q6_K_D, s.d);
        memcpy(p + Q6_K_SCALES, s.scale, 16);
        for (size_t i = 0; i < SUPER; i++) {
            put(p, four_bits(i, 64), s.code[i] & 15);
            put(p + Q6_K_UPPER, two_bits(i), s.code[i] >> 4);
        }
    }
}

/* IQ4_XS: d, two bytes with the upper two bits of the scales, four with the lower four, six bits
 * plus 32 for each group of 32 (a group's bits lie above those of the groups before it), then 128
 * bytes with the codes. */
enum { IQ4_XS_UPPER = 2, IQ4_XS_LOW = 4, IQ4_XS_CODES = 8, IQ4_XS_BYTES = 136 };
static const signed_kind iq4_xs = {
    .iq4 = true, .group = 32, .scale_min = -32, .scale_max = 31, .tried = 8};

void iq4_xs_to_float(const void *in, float *out, size_t n) {
    const uint8_t *p = in;
    for (size_t b = 0; b < n; b += SUPER, p += IQ4_XS_BYTES) {
        signed_block s = {.d = load16(p)};
        unsigned upper = load16(p + IQ4_XS_UPPER);
        for (size_t g = 0; g < 8; g++) {
            unsigned six = get(p + IQ4_XS_LOW, four_bits(g, 1), 15) | (upper >> 2 * g & 3) << 4;
            s.scale[g] = (int8_t)((int)six - 32);
        }
        for (size_t i = 0; i < SUPER; i++)
            s.code[i] = (uint8_t)get(p + IQ4_XS_CODES, four_bits(i, 16), 15);
        signed_to_float(iq4_xs, &s, out + b);
    }
}

void iq4_xs_from_float(const float *in, void *out, size_t n) {
    uint8_t *p = out;
    for (size_t b = 0; b < n; b += SUPER, p += IQ4_XS_BYTES) {
        signed_block s;
        unsigned upper = 0;
        signed_from_float(iq4_xs, in + b, &s);
        memset(p, 0, IQ4_XS_BYTES);
        store16(p, s.d);
        for (size_t g = 0; g < 8; g++) {
            unsigned six = (unsigned)(s.scale[g] + 32);
            put(p + IQ4_XS_LOW, four_bits(g, 1), six & 15);
            upper |= six >> 4 << 2 * g;
        }
        store16(p + IQ4_XS_UPPER, (uint16_t)upper);
        for (size_t i = 0; i < SUPER; i++) put(p + IQ4_XS_CODES, four_bits(i, 16), s.code[i]);
    }
}
