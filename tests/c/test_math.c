/* test_math.c: the kernels of every table that runs here, against straight-line double precision
 * with a stated bound, and against themselves: the bits of an output may not depend on what is
 * computed beside it. Buffers end where their data ends, so that the sanitizers see a read beyond
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "blocks.h"
#include "math/math.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define EPS 0x1p-24 /* half an ulp of 1, of a float: the relative error of one rounding */

/* ---- helpers ---- */

static uint64_t state;

static uint32_t random_bits(void) { /* Knuth's MMIX constants */
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}
static size_t random_below(size_t n) { return random_bits() % n; }
static double uniform(void) { return (double)random_bits() * 0x1p-32; }
static float random_float(void) { /* about normal, variance 1 */
    return (float)((uniform() + uniform() + uniform() + uniform() - 2) * 1.7320508);
}

static void *take(size_t bytes) {
    void *p = malloc(bytes ? bytes : 1);
    assert_non_null(p);
    return p;
}
static void *take_aligned(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    assert_non_null(p);
    return p;
}
static float *random_floats(size_t n) {
    float *x = take(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = random_float();
    return x;
}

static void check_near(const kernels *k, const char *what, size_t i, double got, double want,
                       double bound) {
    if (!(fabs(got - want) <= bound))
        fail_msg("%s, %s, element %zu: %.9g, expected %.9g +- %.3g", k->name, what, i, got, want,
                 bound);
}
static void check_bits(const kernels *k, const char *what, const float *got, const float *want,
                       size_t n) {
    for (size_t i = 0; i < n; i++)
        if (memcmp(got + i, want + i, sizeof *got) != 0)
            fail_msg("%s, %s, element %zu: %a, expected the bits of %a", k->name, what, i,
                     (double)got[i], (double)want[i]);
}

#define EACH_TABLE(k)                                                                              \
    const kernels *k = kernels_at(0);                                                              \
    for (size_t table_ = 0; (k = kernels_at(table_)) != NULL; table_++)

/* ---- the tables ---- */

static void test_tables_are_found_by_name_and_scalar_is_always_there(void **unused) {
    (void)unused;
    size_t n = 0;
    EACH_TABLE (k) {
        assert_ptr_equal(kernels_named(k->name), k);
        n++;
    }
    assert_true(n >= 1);
    assert_string_equal(kernels_at(n - 1)->name, "scalar");
    assert_null(kernels_at(n));
    assert_null(kernels_named("sparkling"));
    assert_null(kernels_named(""));
}

static void test_environment_chooses_a_table_that_can_run_and_is_ignored_otherwise(void **unused) {
    (void)unused;
    const char *set = getenv("PERILUNE_ISA");
    char *saved = set ? strdup(set) : NULL;
    EACH_TABLE (k) {
        setenv("PERILUNE_ISA", k->name, 1);
        assert_ptr_equal(kernels_best(), k);
    }
    setenv("PERILUNE_ISA", "sparkling", 1);
    assert_ptr_equal(kernels_best(), kernels_at(0));
    unsetenv("PERILUNE_ISA");
    assert_ptr_equal(kernels_best(), kernels_at(0));
    if (saved) setenv("PERILUNE_ISA", saved, 1);
    free(saved);
}

/* ---- quantized activations ---- */

static act_block *quantized(const kernels *k, const float *x, size_t n) {
    act_block *row = take_aligned(act_q8_stride(n));
    memset(row, 0xff, act_q8_stride(n));
    k->quantize_q8(x, n, row);
    return row;
}

static void test_quantized_blocks_are_the_nearest_with_their_scale_and_sum(void **unused) {
    (void)unused;
    enum { N = 32 * 40 };
    float *x = random_floats(N);
    for (size_t i = 0; i < N; i++)
        x[i] *= exp2f((float)(i / 32) * 4 - 90); /* blocks of many magnitudes */
    EACH_TABLE (k) {
        act_block *row = quantized(k, x, N);
        for (size_t n = 0; n < N / 32; n++) {
            const act_block *b = row + n;
            float amax = 0;
            int sum[2] = {0, 0}, largest = 0;
            for (size_t i = 0; i < 32; i++) {
                amax = fmaxf(amax, fabsf(x[n * 32 + i]));
                sum[i / 16] += b->q[i];
                if (abs(b->q[i]) > largest) largest = abs(b->q[i]);
                check_near(k, "x - d q", n * 32 + i, (double)b->d * b->q[i], (double)x[n * 32 + i],
                           (double)b->d * (0.5 + 127 * 4 * EPS));
            }
            assert_int_equal(largest, 127);
            assert_true(b->d == amax / 127.0f);
            assert_true(b->s == b->d * (float)(sum[0] + sum[1]));
            assert_int_equal(b->minus_sum, -(sum[0] + sum[1]));
            assert_int_equal(b->minus_half[0], -sum[0]);
            assert_int_equal(b->minus_half[1], -sum[1]);
        }
        free(row);
    }
    free(x);
}

static void test_quantization_rounds_to_even_and_defines_what_is_not_finite(void **unused) {
    (void)unused;
    float x[32 * 6] = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f};
    static const int8_t even[8] = {127, 0, 2, 2, 0, -2, -2, 126};
    for (size_t i = 0; i < 32; i++) {
        x[2 * 32 + i] = i == 7 ? NAN : 1.0f;
        x[3 * 32 + i] = i == 31 ? -INFINITY : (float)i;
        x[4 * 32 + i] = i & 1 ? 1e-40f : -1e-42f; /* denormals: zero */
        x[5 * 32 + i] = i & 1 ? FLT_MAX : -FLT_MAX;
    }
    EACH_TABLE (k) {
        act_block *b = quantized(k, x, COUNT(x));
        assert_memory_equal(b->q, even, sizeof even);
        for (size_t n = 1; n < 5; n++)
            for (size_t i = 0; i < 32; i++) assert_int_equal(b[n].q[i], 0);
        assert_true(b[1].d == 0 && b[1].s == 0);
        assert_true(isnan(b[2].d) && isnan(b[2].s));
        assert_true(isnan(b[3].d) && isnan(b[3].s));
        assert_true(b[4].d == 0 && b[4].s == 0);
        for (size_t i = 0; i < 32; i++) assert_int_equal(b[5].q[i], i & 1 ? 127 : -127);
        free(b);
    }
}

static void test_quantized_activations_have_the_same_bits_in_every_table(void **unused) {
    (void)unused;
    enum { N = 32 * 64 };
    float *x = random_floats(N);
    act_block *want = quantized(kernels_named("scalar"), x, N);
    EACH_TABLE (k) {
        act_block *row = quantized(k, x, N);
        assert_memory_equal(row, want, N / 32 * sizeof *row);
        free(row);
    }
    free(want);
    free(x);
}

/* ---- matrix products ---- */

/* All types: the float ones, then those of blocks.h. */
#define FLOAT_TYPES 3
#define TYPES (FLOAT_TYPES + BLOCK_KINDS)
static block_kind kind_at(size_t t) {
    static const block_kind floats[FLOAT_TYPES] = {
        {.type = TYPE_F32, .name = "F32", .block = 1, .bytes = 4},
        {.type = TYPE_F16, .name = "F16", .block = 1, .bytes = 2},
        {.type = TYPE_BF16, .name = "BF16", .block = 1, .bytes = 2},
    };
    return t < FLOAT_TYPES ? floats[t] : block_kinds[t - FLOAT_TYPES];
}

/* A matrix and rows of activations, in the table's own form; the weights lie at an odd address. */
typedef struct {
    matrix w;
    uint8_t *memory, *packed;
    double *weights; /* [n_out][n_in], what the blocks say */
    double *sizes;   /* [n_out][n_in], and the magnitudes that they are made of */
    float *x;        /* [n_rows][x_stride] */
    size_t x_stride, n_rows;
    double *activations; /* [n_rows][n_in], what the prepared rows say */
    uint8_t *rows;
} product;

static void put_u16(uint8_t *p, uint16_t v) { memcpy(p, &v, sizeof v); }

static int random_within(int low, int high) {
    return low + (int)random_below((size_t)(high - low + 1));
}

/* Random parts over their whole ranges, the ends among them. */
static void fill_block(const block_kind *k, uint8_t *p, double *out, double *size) {
    block_parts parts = {.d = float_to_half(random_float() * 0.01f / (float)k->scale_high),
                         .m = float_to_half(random_float() * 0.01f)};
    for (size_t g = 0; g < k->block / k->group; g++) {
        parts.scale[g] = random_within(k->scale_low, k->scale_high);
        parts.min[g] = random_within(k->min_low, k->min_high);
    }
    parts.scale[random_below(k->block / k->group)] = k->scale_low;
    for (size_t i = 0; i < k->block; i++) parts.code[i] = (uint8_t)random_within(0, k->top);
    parts.code[5] = 0;
    parts.code[6] = (uint8_t)k->top;
    block_pack(k, &parts, p);
    for (size_t i = 0; i < k->block; i++) {
        out[i] = block_weight(k, &parts, i);
        size[i] = block_magnitude(k, &parts, i);
    }
}

static void fill_weights(const block_kind *k, uint8_t *p, double *out, double *size) {
    float f = random_float();
    if (k->block > 1) {
        fill_block(k, p, out, size);
        return;
    }
    if (k->type == TYPE_F32) {
        memcpy(p, &f, sizeof f);
        out[0] = (double)f;
    } else if (k->type == TYPE_F16) {
        put_u16(p, float_to_half(f));
        out[0] = (double)half_to_float(float_to_half(f));
    } else {
        put_u16(p, float_to_bfloat(f));
        out[0] = (double)bfloat_to_float(float_to_bfloat(f));
    }
    size[0] = fabs(out[0]);
}

/* As the table's products want it; to be freed. */
static uint8_t *pack(const kernels *k, matrix *w) {
    if (!k->packs) return NULL;
    uint8_t *packed = take_aligned(matrix_groups(w) * matrix_group_bytes(w));
    matrix_pack(w, 0, matrix_groups(w), packed);
    w->packed = packed;
    return packed;
}

static product make_product(const kernels *k, size_t t, size_t n_in, size_t n_out, size_t n_rows) {
    product p = {.n_rows = n_rows, .x_stride = n_in + 3};
    block_kind kind = kind_at(t);
    size_t row_bytes = n_in / kind.block * kind.bytes;
    p.memory = take(1 + n_out * row_bytes);
    p.w = (matrix){kind.type, n_in, n_out, row_bytes, p.memory + 1, NULL};
    p.weights = take(n_out * n_in * sizeof(double));
    p.sizes = take(n_out * n_in * sizeof(double));
    for (size_t i = 0; i < n_out * n_in / kind.block; i++)
        fill_weights(&kind, p.memory + 1 + i * kind.bytes, p.weights + i * kind.block,
                     p.sizes + i * kind.block);
    p.packed = pack(k, &p.w);
    p.x = random_floats((n_rows - 1) * p.x_stride + n_in);
    p.activations = take(n_rows * n_in * sizeof(double));
    if (matrix_act_kind(p.w.type) == ACT_Q8) p.rows = take_aligned(n_rows * act_q8_stride(n_in));
    for (size_t r = 0; r < n_rows; r++) {
        const float *x = p.x + r * p.x_stride;
        act_block *row = p.rows ? (act_block *)(void *)(p.rows + r * act_q8_stride(n_in)) : NULL;
        if (p.rows) k->quantize_q8(x, n_in, row);
        for (size_t i = 0; i < n_in; i++)
            p.activations[r * n_in + i] =
                p.rows ? (double)row[i / 32].d * row[i / 32].q[i % 32] : (double)x[i];
    }
    return p;
}

static void free_product(product *p) {
    free(p->memory);
    free(p->packed);
    free(p->weights);
    free(p->sizes);
    free(p->x);
    free(p->activations);
    free(p->rows);
}

/* Rows [r, r + n) of outputs [o_begin, o_end) into y [.][n_out]. */
static void multiply(const kernels *k, const product *p, size_t o_begin, size_t o_end, size_t r,
                     size_t n, float *y) {
    const void *x = p->rows ? (const void *)(p->rows + r * act_q8_stride(p->w.n_in))
                            : p->x + r * p->x_stride;
    k->matmul(&p->w, o_begin, o_end, x, p->x_stride, n, y, p->w.n_out);
}

/* Every row alone; checked against double precision: each of n_in products and sums rounds at
 * most once in each of three operations. */
static float *one_by_one(const kernels *k, const product *p) {
    size_t n_out = p->w.n_out, n_in = p->w.n_in;
    float *y = take(p->n_rows * n_out * sizeof *y);
    for (size_t r = 0; r < p->n_rows; r++) {
        multiply(k, p, 0, n_out, r, 1, y + r * n_out);
        for (size_t o = 0; o < n_out; o++) {
            double want = 0, size = 0;
            for (size_t i = 0; i < n_in; i++) {
                double x = p->activations[r * n_in + i];
                want += p->weights[o * n_in + i] * x;
                size += p->sizes[o * n_in + i] * fabs(x);
            }
            check_near(k, "matmul", r * n_out + o, (double)y[r * n_out + o], want,
                       ((double)n_in + 8) * EPS * size);
        }
    }
    return y;
}

static void test_matmul_is_near_double_and_its_bits_do_not_depend_on_tiles(void **unused) {
    (void)unused;
    static const size_t float_sizes[] = {1, 7, 15, 16, 17, 33, 64, 100, 257};
    static const size_t block_sizes[] = {32, 64, 96, 160, 256};
    static const size_t super_sizes[] = {256, 512, 1280};
    enum { ROWS = 47, OUT = 70 }; /* 16 + 16 + 8 + 4 + 2 + 1: every tile of every table */
    EACH_TABLE (k)
        for (size_t t = 0; t < TYPES; t++) {
            size_t block = kind_at(t).block;
            const size_t *sizes = block == 1    ? float_sizes
                                  : block == 32 ? block_sizes
                                                : super_sizes;
            size_t n_sizes = block == 1    ? COUNT(float_sizes)
                             : block == 32 ? COUNT(block_sizes)
                                           : COUNT(super_sizes);
            for (size_t s = 0; s < n_sizes; s++) {
                product p = make_product(k, t, sizes[s], OUT, ROWS);
                float *want = one_by_one(k, &p), *y = take(ROWS * OUT * sizeof *y);
                for (size_t n = 1; n <= ROWS; n += n < 17 ? 1 : 6) {
                    size_t first = random_below(ROWS - n + 1), a = random_below(6) * 16,
                           b = a + random_below(6) * 16;
                    if (a > OUT) a = OUT;
                    if (b > OUT) b = OUT;
                    for (size_t i = 0; i < ROWS * OUT; i++) y[i] = -12345.0f;
                    multiply(k, &p, a, b, first, n, y);
                    for (size_t i = 0; i < n * OUT; i++)
                        if (i % OUT < a || i % OUT >= b) assert_true(y[i] == -12345.0f);
                    multiply(k, &p, 0, a, first, n, y);
                    multiply(k, &p, b, OUT, first, n, y);
                    check_bits(k, kind_at(t).name, y, want + first * OUT, n * OUT);
                }
                free(want);
                free(y);
                free_product(&p);
            }
        }
}

/* Tiles compute the whole sums that vectors compute. */
static void test_amx_and_avx512_have_the_same_products(void **unused) {
    (void)unused;
    enum { ROWS = 50, OUT = 250 };
    const kernels *amx = kernels_named("amx"), *vectors = kernels_named("avx512");
    if (!amx) skip();
    for (size_t t = 0; t < TYPES; t++) {
        product p = make_product(amx, t, kind_at(t).block == 1 ? 100 : 768, OUT, ROWS);
        float *want = take(ROWS * OUT * sizeof *want), *y = take(ROWS * OUT * sizeof *y);
        multiply(vectors, &p, 0, OUT, 0, ROWS, want);
        multiply(amx, &p, 0, OUT, 0, ROWS, y);
        check_bits(amx, kind_at(t).name, y, want, ROWS * OUT);
        free(want);
        free(y);
        free_product(&p);
    }
}

static void test_matmul_of_more_rows_than_a_cache_holds_has_the_same_bits(void **unused) {
    (void)unused;
    EACH_TABLE (k)
        for (size_t t = 0; t < TYPES; t += 3) { /* among them blocks with and without parts */
            size_t n_in = t == 0 ? 8192 : 32768;
            product p = make_product(k, t, n_in, 2, 43);
            float *want = one_by_one(k, &p), *y = take(43 * 2 * sizeof *y);
            multiply(k, &p, 0, 2, 0, 43, y);
            check_bits(k, kind_at(t).name, y, want, 43 * 2);
            free(want);
            free(y);
            free_product(&p);
        }
}

static void test_every_half_and_bfloat_weight_counts_as_what_it_is(void **unused) {
    (void)unused;
    static uint16_t all[65536];
    static float y[65536];
    float one = 1.0f, unit[16][16] = {{0}};
    for (size_t i = 0; i < 16; i++) unit[i][i] = 1.0f;
    EACH_TABLE (k)
        for (int bf = 0; bf < 2; bf++) {
            matrix w = {bf ? TYPE_BF16 : TYPE_F16, 1, 65536, 2, all, NULL};
            for (uint32_t i = 0; i < 65536; i++) all[i] = (uint16_t)i;
            uint8_t *packed = pack(k, &w);
            k->matmul(&w, 0, 65536, &one, 1, 1, y, 65536);
            for (uint32_t i = 0; i < 65536; i++) {
                float want = bf ? bfloat_to_float((uint16_t)i) : half_to_float((uint16_t)i);
                if (!(y[i] == want || (isnan(y[i]) && isnan(want))))
                    fail_msg("%s: weight %#x is %g", k->name, i, (double)y[i]);
                if (!isfinite(want)) all[i] = 0; /* 0 * infinity below */
            }
            /* the same through whole vectors, one lane at a time */
            free(packed);
            w = (matrix){w.type, 16, 4096, 32, all, NULL};
            packed = pack(k, &w);
            k->matmul(&w, 0, 4096, unit, 16, 16, y, 4096);
            for (size_t i = 0; i < 65536; i++) {
                float want = bf ? bfloat_to_float(all[i]) : half_to_float(all[i]);
                assert_true(y[i % 16 * 4096 + i / 16] == want);
            }
            free(packed);
        }
}

/* The vector kernels pass through 16-bit sums, whose range the largest integers must not leave: all
 * codes at one end or the other, with scales and minima at an end too, activations of +-127. */
static void test_integers_at_the_ends_of_their_ranges_do_not_overflow(void **unused) {
    (void)unused;
    enum { N = 256, ROWS = 24 };
    EACH_TABLE (k)
        for (unsigned ends = 0; ends < 32; ends++) {
            bool up = ends & 1, scale_up = ends & 2, alternating = ends & 4, x_up = ends & 8;
            bool min_up = ends & 16;
            float x[N];
            for (size_t i = 0; i < N; i++) /* signs by 16, so that sums of 4 stay extreme */
                x[i] = (x_up ? 127.0f : -127.0f) * (alternating && i / 16 % 3 == 0 ? -1.0f : 1.0f);
            uint8_t *rows = take_aligned(ROWS * act_q8_stride(N));
            for (size_t r = 0; r < ROWS; r++) k->quantize_q8(x, N, rows + r * act_q8_stride(N));
            for (size_t c = 0; c < BLOCK_KINDS; c++) { /* d = m = 1: everything is exact */
                const block_kind *kind = block_kinds + c;
                block_parts parts = {.d = 0x3c00, .m = 0x3c00};
                uint8_t blocks[8 * 34];
                matrix w = {kind->type, N, 1, N / kind->block * kind->bytes, blocks, NULL};
                memset(parts.code, up ? kind->top : 0, sizeof parts.code);
                for (size_t g = 0; g < 16; g++) {
                    parts.scale[g] = scale_up ? kind->scale_high : kind->scale_low;
                    parts.min[g] = min_up ? kind->min_high : kind->min_low;
                }
                for (size_t b = 0; b < N / kind->block; b++)
                    block_pack(kind, &parts, blocks + b * kind->bytes);
                double want = 0;
                for (size_t i = 0; i < N; i++) want += (double)x[i] * block_weight(kind, &parts, 0);
                float y[ROWS];
                uint8_t *packed = pack(k, &w);
                k->matmul(&w, 0, 1, rows, 0, ROWS, y, 1);
                free(packed);
                for (size_t r = 0; r < ROWS; r++)
                    check_near(k, kind->name, ends, (double)y[r], want, 0);
            }
            free(rows);
        }
}

static void test_supported_types_are_those_tested_here_and_can_be_converted(void **unused) {
    (void)unused;
    for (uint32_t type = 0; type < TYPE_COUNT; type++) {
        size_t t = 0;
        while (t < TYPES && kind_at(t).type != type) t++;
        assert_int_equal(matrix_supported((weight_type)type), t < TYPES);
        if (t == TYPES) continue;
        const weight_format *f = weight_format_of(type);
        assert_non_null(f);
        assert_non_null(f->to_float);
        assert_string_equal(f->name, kind_at(t).name);
        assert_int_equal(f->block, kind_at(t).block);
        assert_int_equal(f->bytes, kind_at(t).bytes);
    }
}

static void test_a_row_that_is_not_finite_spoils_only_itself(void **unused) {
    (void)unused;
    enum { ROWS = 26, OUT = 5 };
    EACH_TABLE (k)
        for (size_t t = 0; t < TYPES; t++) {
            size_t n_in = kind_at(t).block == 256 ? 256 : 96;
            product p = make_product(k, t, n_in, OUT, ROWS);
            float *want = one_by_one(k, &p), y[ROWS * OUT];
            p.x[2 * p.x_stride + 70] = NAN;
            p.x[4 * p.x_stride + 3] = INFINITY;
            p.x[4 * p.x_stride + 4] = -INFINITY;
            for (size_t r = 0; p.rows && r < ROWS; r++)
                k->quantize_q8(p.x + r * p.x_stride, n_in, p.rows + r * act_q8_stride(n_in));
            multiply(k, &p, 0, OUT, 0, ROWS, y);
            for (size_t r = 0; r < ROWS; r++)
                for (size_t o = 0; o < OUT; o++) {
                    if (r == 2) assert_true(isnan(y[r * OUT + o]));
                    else if (r == 4) assert_true(!isfinite(y[r * OUT + o]));
                    else assert_memory_equal(y + r * OUT + o, want + r * OUT + o, sizeof *y);
                }
            free(want);
            free_product(&p);
        }
}

/* ---- elementary functions and rows ---- */

/* The distance between floats near `x`. */
static double ulp(double x) {
    double a = fabs(x) < 0x1p-126 ? 0x1p-126 : fabs(x);
    return exp2(floor(log2(a)) - 23);
}

static void test_exp_is_within_two_ulp_and_exact_at_its_ends(void **unused) {
    (void)unused;
    EACH_TABLE (k) {
        for (size_t i = 0; i <= 40000; i++) {
            float x = (float)(-104.5 + (double)i * (193.5 / 40000));
            double want = exp((double)x), got = k->sum_exp(&x, 1, 0);
            if (want > (double)FLT_MAX)
                assert_true(isinf(got) || got >= (double)FLT_MAX * (1 - 4 * EPS));
            else check_near(k, "exp", i, got, want, 2 * ulp(want));
        }
        for (float x = -1.0f; x <= 1.0f; x += 0x1p-12f)
            check_near(k, "exp", 0, k->sum_exp(&x, 1, 0), exp((double)x), 2 * ulp(exp((double)x)));
        static const float zero[] = {-104.1f, -150.0f, -1e10f, -FLT_MAX, -INFINITY};
        for (size_t i = 0; i < COUNT(zero); i++) assert_true(k->sum_exp(zero + i, 1, 0) == 0);
        static const float infinite[] = {88.8f, 100.0f, FLT_MAX, INFINITY};
        for (size_t i = 0; i < COUNT(infinite); i++)
            assert_true(isinf(k->sum_exp(infinite + i, 1, 0)));
        float zeros[2] = {0.0f, -0.0f}, nan = NAN;
        assert_true(k->sum_exp(zeros, 2, 0) == 2);
        assert_true(isnan(k->sum_exp(&nan, 1, 0)));
    }
}

static void test_swiglu_is_silu_of_gate_times_up(void **unused) {
    (void)unused;
    static const size_t sizes[] = {1, 7, 8, 16, 31, 100, 1000};
    EACH_TABLE (k)
        for (size_t s = 0; s < COUNT(sizes); s++) {
            size_t n = sizes[s];
            float *gate = random_floats(n), *up = random_floats(n), *y = take(n * sizeof *y);
            for (size_t i = 0; i < n; i++) gate[i] *= i % 3 ? 1.0f : 30.0f;
            k->swiglu(gate, up, n, y);
            for (size_t i = 0; i < n; i++) {
                double want = (double)gate[i] / (1 + exp(-(double)gate[i])) * (double)up[i];
                /* exp(88.73) overflows: what SiLU is from there on, 88.73 / FLT_MAX, counts as 0 */
                double bound = 10 * EPS * fabs(want) + 2.7e-37 * fabs((double)up[i]) + 1e-37;
                check_near(k, "swiglu", i, (double)y[i], want, bound);
            }
            k->swiglu(gate, up, n, gate); /* y may be gate */
            check_bits(k, "swiglu in place", gate, y, n);
            free(gate);
            free(up);
            free(y);
        }
}

static void test_rms_norm_with_and_without_weights_and_in_place(void **unused) {
    (void)unused;
    static const size_t sizes[] = {1, 5, 16, 33, 64, 67, 288, 2048, 5000};
    EACH_TABLE (k)
        for (size_t s = 0; s < COUNT(sizes); s++) {
            size_t n = sizes[s];
            float *x = random_floats(n), *w = random_floats(n), *y = take(n * sizeof *y),
                  *plain = take(n * sizeof *y);
            double squares = 0, eps = (double)1e-5f;
            for (size_t i = 0; i < n; i++) squares += (double)x[i] * (double)x[i];
            k->rms_norm(x, w, n, 1e-5f, y);
            k->rms_norm(x, NULL, n, 1e-5f, plain);
            for (size_t i = 0; i < n; i++) {
                double want = (double)x[i] / sqrt(squares / (double)n + eps),
                       bound = ((double)n / 16 + 20) * EPS;
                check_near(k, "rms_norm without weights", i, (double)plain[i], want,
                           bound * fabs(want));
                check_near(k, "rms_norm", i, (double)y[i], want * (double)w[i],
                           bound * fabs(want * (double)w[i]));
            }
            k->rms_norm(x, w, n, 1e-5f, x);
            check_bits(k, "rms_norm in place", x, y, n);
            free(x);
            free(w);
            free(y);
            free(plain);
        }
}

static void test_gelu_and_geglu_are_the_tanh_form(void **unused) {
    (void)unused;
    static const size_t sizes[] = {1, 7, 8, 16, 31, 100, 1000};
    EACH_TABLE (k)
        for (size_t s = 0; s < COUNT(sizes); s++) {
            size_t n = sizes[s];
            float *gate = random_floats(n), *up = random_floats(n), *y = take(n * sizeof *y),
                  *plain = take(n * sizeof *y);
            for (size_t i = 0; i < n; i++) gate[i] *= i % 3 ? 2.0f : 20.0f;
            k->gelu(gate, n, plain);
            k->geglu(gate, up, n, y);
            for (size_t i = 0; i < n; i++) {
                double x = (double)gate[i], u = 0.79788456080286535588 * (x + 0.044715 * x * x * x);
                /* 1/2 x (1 + tanh u), written so that nothing cancels; a rounding of u is one of 2
                 * u in the exponent */
                double want = x / (1 + exp(-2 * u)),
                       bound = (10 + 8 * fabs(u)) * EPS * fabs(want) + 3e-37 * (1 + fabs(x));
                check_near(k, "gelu", i, (double)plain[i], want, bound);
                check_near(k, "geglu", i, (double)y[i], want * (double)up[i],
                           (bound + EPS * fabs(want)) * fabs((double)up[i]) + 1e-37);
            }
            k->geglu(gate, up, n, up); /* in place: y may be either operand */
            check_bits(k, "geglu in place", up, y, n);
            k->gelu(gate, n, gate);
            check_bits(k, "gelu in place", gate, plain, n);
            free(gate);
            free(up);
            free(y);
            free(plain);
        }
}

static void test_gelu_is_x_far_out_and_zero_far_below(void **unused) {
    (void)unused;
    EACH_TABLE (k) {
        float x[3] = {1e30f, -1e30f, 0};
        k->gelu(x, 3, x);
        assert_true(x[0] == 1e30f && x[1] == 0 && x[2] == 0);
    }
}

static void test_layer_norm_with_and_without_weights_and_in_place(void **unused) {
    (void)unused;
    static const size_t sizes[] = {1, 5, 16, 33, 64, 67, 288, 2048, 5000};
    EACH_TABLE (k)
        for (size_t s = 0; s < COUNT(sizes); s++) {
            size_t n = sizes[s];
            float *x = random_floats(n), *w = random_floats(n), *b = random_floats(n),
                  *y = take(n * sizeof *y), *plain = take(n * sizeof *y);
            double mean = 0, variance = 0, eps = (double)1e-5f, largest = 0;
            for (size_t i = 0; i < n; i++) x[i] += 2.0f; /* a mean that counts */
            for (size_t i = 0; i < n; i++) mean += (double)x[i] / (double)n;
            for (size_t i = 0; i < n; i++)
                variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
            for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)x[i]));
            k->layer_norm(x, w, b, n, 1e-5f, y);
            k->layer_norm(x, NULL, NULL, n, 1e-5f, plain);
            for (size_t i = 0; i < n; i++) {
                double want = ((double)x[i] - mean) / sqrt(variance + eps);
                double bound = ((double)n / 16 + 20) * EPS *
                               (fabs(want) + largest / sqrt(variance + eps));
                check_near(k, "layer_norm without weights", i, (double)plain[i], want, bound);
                check_near(k, "layer_norm", i, (double)y[i], want * (double)w[i] + (double)b[i],
                           (bound + 2 * EPS) * (1 + fabs((double)w[i])) +
                               2 * EPS * fabs((double)b[i]));
            }
            k->layer_norm(x, w, b, n, 1e-5f, x);
            check_bits(k, "layer_norm in place", x, y, n);
            free(x);
            free(w);
            free(b);
            free(y);
            free(plain);
        }
}

static void test_scale_and_softcap(void **unused) {
    (void)unused;
    EACH_TABLE (k)
        for (size_t n = 0; n < 70; n++) {
            float *x = random_floats(n), *y = take(n * sizeof *y);
            memcpy(y, x, n * sizeof *y);
            k->scale(y, n, 0.3f);
            for (size_t i = 0; i < n; i++) assert_true(y[i] == x[i] * 0.3f);
            for (size_t i = 0; i < n; i++) y[i] = x[i] *= i % 2 ? 100.0f : 3.0f;
            k->softcap(y, n, 30.0f);
            for (size_t i = 0; i < n; i++)
                check_near(k, "softcap", i, (double)y[i], 30 * tanh((double)x[i] / 30),
                           30 * 4 * EPS);
            free(x);
            free(y);
        }
}

static void test_add_adds(void **unused) {
    (void)unused;
    EACH_TABLE (k)
        for (size_t n = 0; n < 70; n++) {
            float *x = random_floats(n), *y = random_floats(n), *z = take(n * sizeof *z);
            memcpy(z, x, n * sizeof *z);
            k->add(x, y, n);
            for (size_t i = 0; i < n; i++) assert_true(x[i] == z[i] + y[i]);
            free(x);
            free(y);
            free(z);
        }
}

static void test_rope_rotates_pairs_and_leaves_the_rest(void **unused) {
    (void)unused;
    static const struct {
        size_t d, n_rot;
    } shapes[] = {{2, 2}, {64, 64}, {80, 32}, {48, 48}, {128, 128}, {12, 6}};
    EACH_TABLE (k)
        for (size_t s = 0; s < COUNT(shapes); s++)
            for (int interleaved = 0; interleaved < 2; interleaved++) {
                size_t d = shapes[s].d, half = shapes[s].n_rot / 2, heads = 3;
                float *x = random_floats(heads * d), *before = take(heads * d * sizeof *x),
                      *cs = take(half * 2 * sizeof *cs);
                memcpy(before, x, heads * d * sizeof *x);
                for (size_t i = 0; i < half; i++) {
                    double angle = uniform() * 100;
                    cs[2 * i] = (float)cos(angle);
                    cs[2 * i + 1] = (float)sin(angle);
                }
                k->rope(x, heads, d, 2 * half, cs, interleaved);
                for (size_t h = 0; h < heads; h++) {
                    for (size_t i = 0; i < half; i++) {
                        size_t a = h * d + (interleaved ? 2 * i : i),
                               b = interleaved ? a + 1 : a + half;
                        double u = (double)before[a], v = (double)before[b], c = (double)cs[2 * i],
                               w = (double)cs[2 * i + 1];
                        check_near(k, "rope", a, (double)x[a], u * c - v * w,
                                   3 * EPS * (fabs(u) + fabs(v)));
                        check_near(k, "rope", b, (double)x[b], u * w + v * c,
                                   3 * EPS * (fabs(u) + fabs(v)));
                    }
                    check_bits(k, "rope beyond n_rot", x + h * d + 2 * half,
                               before + h * d + 2 * half, d - 2 * half);
                }
                free(x);
                free(before);
                free(cs);
            }
}

/* ---- over a vocabulary ---- */

static void test_max_and_sum_exp_over_a_vocabulary(void **unused) {
    (void)unused;
    static const size_t sizes[] = {1, 2, 7, 8, 15, 16, 17, 33, 100, 4099};
    EACH_TABLE (k) {
        assert_true(k->max(NULL, 0) == -INFINITY);
        assert_true(k->sum_exp(NULL, 0, 0) == 0);
        for (size_t s = 0; s < COUNT(sizes); s++) {
            size_t n = sizes[s];
            float *x = random_floats(n), max = -INFINITY;
            double want = 0;
            for (size_t i = 0; i < n; i++) {
                x[i] *= 8;
                if (i % 5 == 4) x[i] = -INFINITY; /* masked */
                max = fmaxf(max, x[i]);
            }
            for (size_t i = 0; i < n; i++) want += exp((double)x[i] - (double)max);
            assert_true(k->max(x, n) == max);
            /* x - max rounds once, to 2^-24 of at most about 60 */
            check_near(k, "sum_exp", n, k->sum_exp(x, n, max), want, (4 + 60) * EPS * want);
            x[n - 1] = NAN; /* not a maximum, but in the sum */
            assert_true(isnan(k->sum_exp(x, n, max)));
            if (n > 1) assert_true(!isnan(k->max(x, n)));
            free(x);
        }
    }
}

/* ---- the cache ---- */

/* Where item i of a slot lies in a head of d at p, transposed (keys) or not (values), and its
 * scale. */
static size_t item_at(size_t d, size_t i, size_t slot, bool transposed) {
    return transposed ? i * 32 + slot : slot * d + i;
}
static uint16_t *scale_at(uint8_t *p, size_t d, size_t i, size_t slot) {
    return (uint16_t *)(p + 32 * d) + i / 32 * 32 + slot;
}

/* The definition of KV_Q8_0 in math.h, for a head of d at p. */
static void expect_q8_0(uint8_t *p, const float *x, size_t d, size_t slot, bool transposed) {
    for (size_t i = 0; i < d; i++) {
        float amax = 0;
        for (size_t j = i / 32 * 32; j < d && j < i / 32 * 32 + 32; j++)
            amax = fmaxf(amax, fabsf(x[j]));
        uint16_t half = float_to_half(amax / 127);
        double scale = (double)half_to_float(half), q = 0;
        if (isinf(scale)) half = 0x7e00;
        else if (scale > 0) q = fmin(127, fmax(-127, rint((double)(x[i] * (1 / (float)scale)))));
        *scale_at(p, d, i, slot) = half;
        p[item_at(d, i, slot, transposed)] = (uint8_t)(int8_t)q;
    }
}

static void test_kv_store_rounds_as_documented_into_the_documented_place(void **unused) {
    (void)unused;
    attention_shape a = {.n_head = 2, .n_head_kv = 2, .d_k = 50, .d_v = 37, .k_offset = 64};
    float *k_row = take(100 * sizeof *k_row), *v_row = take(74 * sizeof *v_row);
    EACH_TABLE (k)
        for (int type = KV_F32; type < KV_TYPES; type++) {
            size_t e = kv_type_bytes((kv_type)type);
            size_t k_bytes = kv_head_bytes((kv_type)type, 50),
                   v_bytes = kv_head_bytes((kv_type)type, 37);
            a.type = (kv_type)type;
            a.v_offset = (64 + 2 * k_bytes + 63) & ~(size_t)63;
            size_t bytes = a.v_offset + 2 * v_bytes;
            uint8_t *block = take_aligned(bytes), *expect = take_aligned(bytes);
            memset(block, 0xee, bytes);
            memset(expect, 0xee, bytes);
            for (size_t slot = 0; slot < 32; slot++) {
                for (size_t i = 0; i < 174; i++) {
                    /* any bits; halfway between two halves; around the ends of their range */
                    uint32_t bits = random_bits();
                    if (i % 4 == 1) bits = (bits & 0x8fffe000) | 0x30001000;
                    if (i % 4 == 2) bits = (bits & 0x80003fff) | (i & 4 ? 0x477fc000 : 0x33000000);
                    if (i % 4 == 3) bits = (bits & 0x83ffffff) | 0x30000000;
                    float f;
                    memcpy(&f, &bits, sizeof f);
                    if (isnan(f)) f = 65520.0f; /* the smallest that rounds to infinity */
                    if (i < 100) k_row[i] = f;
                    else v_row[i - 100] = f;
                    if (type == KV_Q8_0) continue;
                    size_t at = i < 100 ? a.k_offset + i / 50 * k_bytes +
                                              item_at(50, i % 50, slot, true) * e
                                        : a.v_offset + (i - 100) / 37 * v_bytes +
                                              item_at(37, (i - 100) % 37, slot, false) * e;
                    uint16_t half = float_to_half(f);
                    memcpy(expect + at, type == KV_F32 ? (void *)&f : (void *)&half, e);
                }
                if (type == KV_Q8_0 && slot % 2) /* not only the ends of the range */
                    for (size_t i = 0; i < 174; i++)
                        *(i < 100 ? &k_row[i] : &v_row[i - 100]) = random_float();
                for (size_t h = 0; h < 2 && type == KV_Q8_0; h++) {
                    expect_q8_0(expect + a.k_offset + h * k_bytes, k_row + h * 50, 50, slot, true);
                    expect_q8_0(expect + a.v_offset + h * v_bytes, v_row + h * 37, 37, slot, false);
                }
                k->kv_store(&a, block, slot, k_row, v_row);
                assert_memory_equal(block, expect, bytes);
            }
            free(block);
            free(expect);
        }
    free(k_row);
    free(v_row);
}

static void test_a_cleared_slot_is_zero_and_the_others_stay(void **unused) {
    (void)unused;
    attention_shape a = {.n_head = 2, .n_head_kv = 2, .d_k = 50, .d_v = 37, .k_offset = 64};
    float *x = random_floats(100), *zero = take(100 * sizeof *zero);
    memset(zero, 0, 100 * sizeof *zero);
    for (int type = KV_F32; type < KV_TYPES; type++) {
        a.type = (kv_type)type;
        a.v_offset = (64 + 2 * kv_head_bytes(a.type, 50) + 63) & ~(size_t)63;
        size_t bytes = a.v_offset + 2 * kv_head_bytes(a.type, 37);
        uint8_t *block = take_aligned(bytes), *expect = take_aligned(bytes);
        for (size_t cut = 0; cut <= 32; cut++) {
            memset(block, 0xee, bytes);
            memset(expect, 0xee, bytes);
            for (size_t slot = 0; slot < 32; slot++) {
                kernels_named("scalar")->kv_store(&a, block, slot, x, x);
                kernels_named("scalar")->kv_store(&a, expect, slot, slot < cut ? x : zero,
                                                  slot < cut ? x : zero);
            }
            kv_clear(&a, block, cut);
            assert_memory_equal(block, expect, bytes);
        }
        free(block);
        free(expect);
    }
    free(x);
    free(zero);
}

static void test_a_q8_0_group_that_is_not_finite_is_nan_and_its_neighbours_are_not(void **unused) {
    (void)unused;
    static const float bad[] = {NAN, INFINITY, -INFINITY, FLT_MAX};
    attention_shape a = {.type = KV_Q8_0, .n_head = 1, .n_head_kv = 1, .d_k = 96, .d_v = 96};
    a.v_offset = kv_head_bytes(KV_Q8_0, 96);
    uint8_t *block = take_aligned(2 * a.v_offset);
    EACH_TABLE (k)
        for (size_t b = 0; b < COUNT(bad); b++) {
            float *x = random_floats(96);
            x[40] = bad[b];
            k->kv_store(&a, block, 7, x, x);
            for (size_t part = 0; part < 2; part++)
                for (size_t i = 0; i < 96; i += 32) {
                    float scale = half_to_float(*scale_at(block + part * a.v_offset, 96, i, 7));
                    assert_true(i == 32 ? isnan(scale) : scale > 0);
                }
            free(x);
        }
    free(block);
}

/* ---- attention ---- */

#define MAX_BLOCKS 80

/* A sequence of n_pos positions in blocks whose unwritten slots hold NaN. */
typedef struct {
    attention_shape a;
    size_t n_pos;
    size_t block_bytes;
    uint8_t *blocks[MAX_BLOCKS];
} sequence;

static sequence make_sequence(const kernels *k, attention_shape a, size_t n_pos) {
    sequence s = {.a = a, .n_pos = n_pos};
    s.a.k_offset = 128;
    s.a.v_offset = (128 + a.n_head_kv * kv_head_bytes(a.type, a.d_k) + 63) & ~(size_t)63;
    size_t bytes = s.a.v_offset + a.n_head_kv * kv_head_bytes(a.type, a.d_v);
    s.block_bytes = bytes;
    float *k_row = take(a.n_head_kv * a.d_k * sizeof *k_row),
          *v_row = take(a.n_head_kv * a.d_v * sizeof *v_row);
    for (size_t p = 0; p < n_pos; p++) {
        if (p % 32 == 0) {
            uint8_t *memory = take_aligned(bytes);
            memset(memory, 0xff, bytes); /* NaN in every type */
            s.blocks[p / 32] = memory;
        }
        for (size_t i = 0; i < a.n_head_kv * a.d_k; i++) k_row[i] = random_float();
        for (size_t i = 0; i < a.n_head_kv * a.d_v; i++) v_row[i] = random_float();
        k->kv_store(&s.a, s.blocks[p / 32], p % 32, k_row, v_row);
    }
    free(k_row);
    free(v_row);
    return s;
}

static void free_sequence(sequence *s) {
    for (size_t i = 0; i < MAX_BLOCKS; i++) free(s->blocks[i]);
}

/* Item i of a head's key or value. */
static double stored(const sequence *s, size_t pos, size_t head, size_t i, bool is_key) {
    size_t d = is_key ? s->a.d_k : s->a.d_v, at = item_at(d, i, pos % 32, is_key);
    uint8_t *p = s->blocks[pos / 32] + (is_key ? s->a.k_offset : s->a.v_offset) +
                 head * kv_head_bytes(s->a.type, d);
    if (s->a.type == KV_F32) return (double)((const float *)p)[at];
    if (s->a.type == KV_F16) return (double)half_to_float(((const uint16_t *)p)[at]);
    return (double)(int8_t)p[at] * (double)half_to_float(*scale_at(p, d, i, pos % 32));
}

/* One query in double precision: softmax over what it sees. The bound: a score is wrong by a
 * rounding per term of its dot product, by the softcap's own error, and moves a weight by as much,
 * twice (above and below the line of the quotient); sums of n terms round like sqrt(n) on random
 * data. */
static void check_attention(const kernels *k, const sequence *s, size_t pos, size_t head,
                            const float *q, const float *out) {
    const attention_shape *a = &s->a;
    size_t kv = head / (a->n_head / a->n_head_kv),
           begin = a->window && pos + 1 > a->window ? pos + 1 - a->window : 0;
    double *p = take((pos + 1) * sizeof *p), max = -INFINITY, sum = 0, worst = 0;
    for (size_t j = begin; j <= pos; j++) {
        double score = 0, size = 0;
        for (size_t i = 0; i < a->d_k; i++) {
            double term = (double)q[i] * stored(s, j, kv, i, true);
            score += term;
            size += fabs(term);
        }
        double c = (double)a->softcap;
        score *= (double)a->scale;
        worst = fmax(worst, ((double)a->d_k + 2) * EPS * size * (double)a->scale + 8 * EPS * c);
        p[j] = c > 0 ? c * tanh(score / c) : score;
        max = fmax(max, p[j]);
    }
    double sink = a->sinks ? (double)a->sinks[head] : -INFINITY;
    max = fmax(max, sink);
    sum = exp(sink - max);
    for (size_t j = begin; j <= pos; j++) sum += p[j] = exp(p[j] - max);
    double bound = 2 * worst + (24 + 4 * sqrt((double)(pos + 1 - begin))) * EPS;
    for (size_t i = 0; i < a->d_v; i++) {
        double want = 0, size = 0;
        for (size_t j = begin; j <= pos; j++) {
            double v = stored(s, j, kv, i, false);
            want += p[j] * v / sum;
            size += p[j] * fabs(v) / sum;
        }
        check_near(k, "attention", i, (double)out[i], want, bound * size);
    }
    free(p);
}

/* One head: its spans apart, from right to left, then put together. */
static void attend_apart(const kernels *k, const attention_shape *a, const attention_row *rows,
                         size_t n_rows, size_t head, void *scratch) {
    size_t n_spans = rows[n_rows - 1].pos / KV_SPAN + 1,
           floats = n_rows * (a->n_head / a->n_head_kv) * attention_part_floats(a);
    float *parts = take(n_spans * floats * sizeof *parts);
    memset(parts, 0xff, n_spans * floats * sizeof *parts);
    for (size_t span = n_spans; span-- > 0;) {
        memset(scratch, 0xff, attention_scratch(a));
        k->attention_span(a, rows, n_rows, head, span, parts + span * floats, scratch);
    }
    memset(scratch, 0xff, attention_scratch(a));
    k->attention_merge(a, rows, n_rows, head, n_spans, parts, scratch);
    free(parts);
}

typedef enum { ALONE, FORKED, APART } attend_way;

/* Attention of rows at pos[0..n_rows) over all heads. Blocks that no row sees are not in the table
 * at all. */
static void attend(const kernels *k, const sequence *s, const uint32_t *pos, size_t n_rows,
                   attend_way way, const float *q, float *out) {
    const attention_shape *a = &s->a;
    size_t scratch_bytes = attention_scratch(a), first = 0, last = pos[n_rows - 1] / 32;
    if (a->window && pos[0] + 1 > a->window) first = (pos[0] + 1 - a->window) / 32;
    const uint8_t **blocks = take((last + 1) * sizeof *blocks);
    for (size_t i = 0; i <= last; i++) {
        blocks[i] = NULL;
        for (size_t r = 0; r < n_rows && i >= first; r++) {
            size_t begin = a->window && pos[r] + 1 > a->window ? pos[r] + 1 - a->window : 0;
            if (i >= begin / 32 && i <= pos[r] / 32) blocks[i] = s->blocks[i];
        }
    }
    void *scratch = take_aligned(scratch_bytes);
    attention_row rows[ATTENTION_ROWS];
    for (size_t r = 0; r < n_rows; r++)
        rows[r] = (attention_row){blocks, pos[r], q + r * a->n_head * a->d_k,
                                  out + r * a->n_head * a->d_v};
    /* Some rows are of a sequence that shares this one's beginning, up to a block; the rest are
     * copies. */
    const uint8_t **fork = take((last + 1) * sizeof *fork);
    size_t shared = random_below(last + 2), bytes = s->block_bytes;
    for (size_t i = 0; i <= last; i++) {
        uint8_t *copy = blocks[i] && i >= shared ? take(bytes) : NULL;
        if (copy) memcpy(copy, blocks[i], bytes);
        fork[i] = copy ? copy : blocks[i];
    }
    for (size_t r = 0; r < n_rows; r++)
        if (way == FORKED && random_below(2)) rows[r].blocks = fork;
    for (size_t h = 0; h < a->n_head_kv; h++) {
        memset(scratch, 0xff, scratch_bytes);
        if (way == APART) attend_apart(k, a, rows, n_rows, h, scratch);
        else k->attention(a, rows, n_rows, h, scratch);
    }
    for (size_t i = 0; i <= last; i++)
        if (fork[i] != blocks[i]) free((void *)(uintptr_t)fork[i]);
    free(fork);
    free(scratch);
    free(blocks);
}

/* The rows at pos, one by one: checked. Together, and in two unequal parts: the same bits. */
static void check_rows(const kernels *k, const sequence *s, const uint32_t *pos, size_t n_rows) {
    size_t q_row = s->a.n_head * s->a.d_k, out_row = s->a.n_head * s->a.d_v;
    float *q = random_floats(n_rows * q_row), *one = take(n_rows * out_row * sizeof *one);
    float *together = take(n_rows * out_row * sizeof *together);
    for (size_t r = 0; r < n_rows; r++) {
        attend(k, s, pos + r, 1, ALONE, q + r * q_row, one + r * out_row);
        for (size_t h = 0; h < s->a.n_head; h++)
            check_attention(k, s, pos[r], h, q + r * q_row + h * s->a.d_k,
                            one + r * out_row + h * s->a.d_v);
    }
    attend(k, s, pos, n_rows, ALONE, q, together);
    check_bits(k, "attention, rows together", together, one, n_rows * out_row);
    memset(together, 0, n_rows * out_row * sizeof *together);
    attend(k, s, pos, n_rows, APART, q, together);
    check_bits(k, "attention, spans apart", together, one, n_rows * out_row);
    size_t cut = 1 + random_below(n_rows);
    memset(together, 0, n_rows * out_row * sizeof *together);
    attend(k, s, pos, cut, FORKED, q, together);
    if (cut < n_rows)
        attend(k, s, pos + cut, n_rows - cut, FORKED, q + cut * q_row, together + cut * out_row);
    check_bits(k, "attention, rows in two parts", together, one, n_rows * out_row);
    free(q);
    free(one);
    free(together);
}

static const struct {
    size_t n_head, n_head_kv;
} groups[] = {{1, 1}, {4, 2}, {4, 1}, {7, 1}, {8, 1}, {3, 3}, {6, 2}};
static const struct {
    size_t d_k, d_v;
} dims[] = {{32, 32}, {48, 80}, {64, 64}, {80, 48}, {33, 7}, {128, 128}};
static const uint32_t windows[] = {0, 40, 0, 5, 32, 0, 1, 33};

static const float some_sinks[] = {0.5f, -3.0f, 2.0f, 7.0f, 0.0f, -100.0f, 1.0f, 30.0f};

static attention_shape shape_number(size_t i) {
    attention_shape a = {.type = (kv_type)(i % KV_TYPES), .window = windows[i % COUNT(windows)]};
    a.n_head = groups[i % COUNT(groups)].n_head;
    a.n_head_kv = groups[i % COUNT(groups)].n_head_kv;
    a.d_k = dims[i % COUNT(dims)].d_k;
    a.d_v = dims[i % COUNT(dims)].d_v;
    a.scale = 1.0f / sqrtf((float)a.d_k);
    a.softcap = i % 5 == 3 ? 2.0f : 0.0f;
    a.sinks = i % 4 == 1 ? some_sinks : NULL;
    return a;
}

static void test_attention_of_short_sequences(void **unused) {
    (void)unused;
    EACH_TABLE (k)
        for (size_t n = 1; n <= 100; n++) {
            sequence s = make_sequence(k, shape_number(n), n);
            uint32_t pos[ATTENTION_ROWS];
            size_t rows = 1 + random_below(n < ATTENTION_ROWS ? n : ATTENTION_ROWS);
            if (n % 3 == 0 && n >= ATTENTION_ROWS) rows = ATTENTION_ROWS;
            for (size_t r = 0; r < rows; r++) pos[r] = (uint32_t)(n - rows + r);
            check_rows(k, &s, pos, rows);
            free_sequence(&s);
        }
}

static void test_attention_across_spans_and_far_windows(void **unused) {
    (void)unused;
    static const size_t lengths[] = {1023, 1024, 1025, 1060, 2100};
    static const uint32_t far_windows[] = {0, 1000, 0, 50, 1024};
    EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(lengths); i++)
            for (int type = KV_F32; type < KV_TYPES; type++) {
                attention_shape a = {
                    .type = (kv_type)type,
                    .n_head = 3,
                    .n_head_kv = 1,
                    .d_k = 32,
                    .d_v = 24,
                    .scale = 0.3f,
                    .window = far_windows[(i + (size_t)type) % COUNT(far_windows)]};
                sequence s = make_sequence(k, a, lengths[i]);
                uint32_t near[5], apart[] = {3, 40, 41, 700, 1000, (uint32_t)lengths[i] - 1};
                for (uint32_t r = 0; r < 5; r++) near[r] = (uint32_t)lengths[i] - 5 + r;
                check_rows(k, &s, near, 5);
                check_rows(k, &s, apart, COUNT(apart));
                free_sequence(&s);
            }
}

static void test_attention_of_wide_heads(void **unused) {
    (void)unused;
    EACH_TABLE (k)
        for (int type = KV_F32; type < KV_TYPES; type++) {
            attention_shape a = {.type = (kv_type)type,
                                 .n_head = 4,
                                 .n_head_kv = 2,
                                 .d_k = 256,
                                 .d_v = 256,
                                 .scale = 0.0625f,
                                 .softcap = 50.0f};
            sequence s = make_sequence(k, a, 70);
            uint32_t pos[] = {0, 1, 31, 32, 63, 64, 69};
            check_rows(k, &s, pos, COUNT(pos));
            free_sequence(&s);
        }
}

static void test_positions_that_are_not_seen_do_not_touch_a_bit(void **unused) {
    (void)unused;
    EACH_TABLE (k)
        for (size_t i = 0; i < 8; i++) {
            attention_shape a = shape_number(i);
            a.window = 20;
            sequence s = make_sequence(k, a, 64);
            float *q = random_floats(a.n_head * a.d_k),
                  *before = take(a.n_head * a.d_v * sizeof *before);
            float *after = take(a.n_head * a.d_v * sizeof *after), huge[512];
            uint32_t pos = 37; /* sees 18..37 */
            attend(k, &s, &pos, 1, false, q, before);
            for (size_t j = 0; j < COUNT(huge); j++) huge[j] = j & 1 ? 30000.0f : -30000.0f;
            assert_true(a.n_head_kv * a.d_k <= COUNT(huge) && a.n_head_kv * a.d_v <= COUNT(huge));
            for (size_t p = 0; p < 64; p++)
                if (p < 18 || p > 37) k->kv_store(&s.a, s.blocks[p / 32], p % 32, huge, huge);
            attend(k, &s, &pos, 1, false, q, after);
            check_bits(k, "attention beside other positions", after, before, a.n_head * a.d_v);
            free_sequence(&s);
            free(q);
            free(before);
            free(after);
        }
}

static void
test_attention_to_equal_keys_is_the_mean_and_to_one_position_is_its_value(void **unused) {
    (void)unused;
    EACH_TABLE (k) {
        attention_shape a = {
            .type = KV_F32, .n_head = 1, .n_head_kv = 1, .d_k = 16, .d_v = 4, .scale = 1};
        sequence s = make_sequence(k, a, 64);
        float q[16] = {0}, out[4], zero[16] = {0}, value[4];
        uint32_t pos = 63;
        for (size_t p = 0; p < 64;
             p++) { /* value p at position p: the mean is 31.5, exact in any order */
            for (size_t i = 0; i < 4; i++) value[i] = (float)p;
            k->kv_store(&s.a, s.blocks[p / 32], p % 32, zero, value);
        }
        attend(k, &s, &pos, 1, false, q, out);
        for (size_t i = 0; i < 4; i++) assert_true(out[i] == 31.5f);
        pos = 0;
        attend(k, &s, &pos, 1, false, q, out);
        for (size_t i = 0; i < 4; i++) assert_true(out[i] == 0.0f);
        s.a.window = 1;
        pos = 37;
        attend(k, &s, &pos, 1, false, q, out);
        for (size_t i = 0; i < 4; i++) assert_true(out[i] == 37.0f);
        free_sequence(&s);
    }
}

static void test_attention_with_extreme_scores_and_queries_that_are_not_finite(void **unused) {
    (void)unused;
    EACH_TABLE (k)
        for (int type = KV_F32; type < KV_TYPES; type++) {
            attention_shape a = {
                .type = (kv_type)type, .n_head = 1, .n_head_kv = 1, .d_k = 2, .d_v = 2, .scale = 1};
            sequence s = make_sequence(k, a, 40);
            float q[4], out[4];
            uint32_t pos[2] = {38, 39};
            for (size_t p = 0; p < 40; p++) { /* a key that wins by far: only its value counts */
                float key[2] = {p == 20 ? 100.0f : -100.0f, 0}, value[2] = {(float)p, 1};
                k->kv_store(&s.a, s.blocks[p / 32], p % 32, key, value);
            }
            q[0] = q[2] = 1000;
            q[1] = q[3] = 0;
            attend(k, &s, pos, 2, false, q, out);
            float value[] = {(float)stored(&s, 20, 0, 0, false),
                             (float)stored(&s, 20, 0, 1, false)};
            for (size_t i = 0; i < 4; i++) assert_true(out[i] == value[i % 2]);
            static const float bad[] = {NAN, INFINITY, -INFINITY, FLT_MAX};
            for (size_t b = 0; b < COUNT(bad); b++) { /* one row is spoilt, its neighbour is not */
                q[0] = bad[b];
                q[1] = 1e-40f;
                memset(out, 0, sizeof out);
                attend(k, &s, pos, 2, false, q, out);
                assert_true(isnan(out[0]) || out[0] == value[0]);
                if (isnan(q[0])) assert_true(isnan(out[0]) && isnan(out[1]));
                assert_true(out[2] == value[0] && out[3] == value[1]);
            }
            free_sequence(&s);
        }
}

static void test_attention_scratch_that_does_not_fit_is_more_than_can_be_had(void **unused) {
    (void)unused;
    attention_shape a = {.n_head = 8, .n_head_kv = 2, .d_k = 64, .d_v = SIZE_MAX / 16};
    assert_true(attention_scratch(&a) == SIZE_MAX);
    a.d_v = SIZE_MAX;
    assert_true(attention_scratch(&a) == SIZE_MAX);
    a.d_v = 64;
    size_t bytes = attention_scratch(&a);
    assert_true(bytes >= ATTENTION_ROWS * 4 * 64 * sizeof(float) && bytes < 1 << 20);
}

int main(void) {
    state = 20240607;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_are_found_by_name_and_scalar_is_always_there),
        cmocka_unit_test(test_environment_chooses_a_table_that_can_run_and_is_ignored_otherwise),
        cmocka_unit_test(test_quantized_blocks_are_the_nearest_with_their_scale_and_sum),
        cmocka_unit_test(test_quantization_rounds_to_even_and_defines_what_is_not_finite),
        cmocka_unit_test(test_quantized_activations_have_the_same_bits_in_every_table),
        cmocka_unit_test(test_matmul_is_near_double_and_its_bits_do_not_depend_on_tiles),
        cmocka_unit_test(test_amx_and_avx512_have_the_same_products),
        cmocka_unit_test(test_matmul_of_more_rows_than_a_cache_holds_has_the_same_bits),
        cmocka_unit_test(test_every_half_and_bfloat_weight_counts_as_what_it_is),
        cmocka_unit_test(test_integers_at_the_ends_of_their_ranges_do_not_overflow),
        cmocka_unit_test(test_supported_types_are_those_tested_here_and_can_be_converted),
        cmocka_unit_test(test_a_row_that_is_not_finite_spoils_only_itself),
        cmocka_unit_test(test_exp_is_within_two_ulp_and_exact_at_its_ends),
        cmocka_unit_test(test_swiglu_is_silu_of_gate_times_up),
        cmocka_unit_test(test_rms_norm_with_and_without_weights_and_in_place),
        cmocka_unit_test(test_gelu_and_geglu_are_the_tanh_form),
        cmocka_unit_test(test_gelu_is_x_far_out_and_zero_far_below),
        cmocka_unit_test(test_layer_norm_with_and_without_weights_and_in_place),
        cmocka_unit_test(test_scale_and_softcap),
        cmocka_unit_test(test_add_adds),
        cmocka_unit_test(test_rope_rotates_pairs_and_leaves_the_rest),
        cmocka_unit_test(test_max_and_sum_exp_over_a_vocabulary),
        cmocka_unit_test(test_kv_store_rounds_as_documented_into_the_documented_place),
        cmocka_unit_test(test_a_cleared_slot_is_zero_and_the_others_stay),
        cmocka_unit_test(test_a_q8_0_group_that_is_not_finite_is_nan_and_its_neighbours_are_not),
        cmocka_unit_test(test_attention_of_short_sequences),
        cmocka_unit_test(test_attention_across_spans_and_far_windows),
        cmocka_unit_test(test_attention_of_wide_heads),
        cmocka_unit_test(test_positions_that_are_not_seen_do_not_touch_a_bit),
        cmocka_unit_test(test_attention_to_equal_keys_is_the_mean_and_to_one_position_is_its_value),
        cmocka_unit_test(test_attention_with_extreme_scores_and_queries_that_are_not_finite),
        cmocka_unit_test(test_attention_scratch_that_does_not_fit_is_more_than_can_be_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
