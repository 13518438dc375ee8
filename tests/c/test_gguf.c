/* test_gguf.c: weight formats, and GGUF files read, written and refused. Bad files are put together
 * byte by byte here, apart from the writer, so that reader and writer cannot be wrong alike. */
#include "live.h"
#include "support.h"

#include <dirent.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/gguf.h"
#include "gguf/types.h"

static const gguf_options mapped = {.map = true}, as_read = {.map = false};

/* The same numbers on every run (xorshift, Marsaglia 2003). */
static uint64_t random64(void) {
    static uint64_t x = 88172645463325252;
    x ^= x << 13;
    x ^= x >> 7;
    return x ^= x << 17;
}

static float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* ---- 16-bit floats ---- */

/* IEEE 754: (-1)^sign * 2^(exponent - bias) * 1.fraction, without the 1 when the exponent is 0. */
static double value_of(uint16_t u, int exponent_bits) {
    int fraction_bits = 15 - exponent_bits, top = (1 << exponent_bits) - 1;
    int exponent = u >> fraction_bits & top, fraction = u & ((1 << fraction_bits) - 1);
    double sign = u & 0x8000 ? -1 : 1;
    if (exponent == top) return fraction ? (double)NAN : sign * (double)INFINITY;
    return sign * ldexp(exponent ? fraction + (1 << fraction_bits) : fraction,
                        (exponent ? exponent : 1) - top / 2 - fraction_bits);
}

typedef struct {
    int exponent_bits;
    float (*to_float)(uint16_t);
    uint16_t (*from_float)(float);
} small_float;
static const small_float half = {5, half_to_float, float_to_half};
static const small_float bfloat = {8, bfloat_to_float, float_to_bfloat};

TEST(every_16_bit_float_has_its_value) {
    const small_float *formats[] = {&half, &bfloat};
    for (size_t f = 0; f < 2; f++) {
        for (uint32_t u = 0; u < 0x10000; u++) {
            double expected = value_of((uint16_t)u, formats[f]->exponent_bits);
            float found = formats[f]->to_float((uint16_t)u);
            if (isnan(expected)) {
                assert_true(isnan(found));
                assert_true(isnan(formats[f]->to_float(formats[f]->from_float(found))));
            } else {
                assert_true((double)found == expected && !signbit(found) == !signbit(expected));
                assert_int_equal(formats[f]->from_float(found), u);
            }
        }
    }
}

/* x's conversion is nearest, the even one of two. Infinity stands where the number after the
 * largest would be. */
static void assert_nearest(const small_float *format, float x) {
    uint16_t top = (uint16_t)(((1 << format->exponent_bits) - 1) << (15 - format->exponent_bits));
    uint16_t u = format->from_float(x), magnitude = u & 0x7FFF;
    double step = value_of((uint16_t)(top - 1), format->exponent_bits) -
                  value_of((uint16_t)(top - 2), format->exponent_bits);
    assert_int_equal(signbit(x) != 0, u >> 15);
    assert_true(magnitude <= top);
    for (int side = -1; side <= 1; side += 2) {
        if ((magnitude == 0 && side < 0) || (magnitude == top && side > 0)) continue;
        uint16_t other = (uint16_t)(magnitude + side);
        double largest = value_of((uint16_t)(top - 1), format->exponent_bits);
        double a = magnitude == top ? largest + step : value_of(magnitude, format->exponent_bits);
        double b = other == top ? largest + step : value_of(other, format->exponent_bits);
        double to_a = fabs(fabs((double)x) - a), to_b = fabs(fabs((double)x) - b);
        if (isinf(x)) continue;
        assert_true(to_a < to_b || (to_a == to_b && magnitude % 2 == 0) ||
                    (magnitude == top && fabs((double)x) > a));
    }
}

TEST(floats_round_to_the_nearest_16_bit_float) {
    const small_float *formats[] = {&half, &bfloat};
    for (size_t f = 0; f < 2; f++) {
        const small_float *format = formats[f];
        /* At, just below and just above every value, and every midpoint between two. */
        for (uint32_t u = 0; u < 0x8000; u++) {
            double here = value_of((uint16_t)u, format->exponent_bits);
            double next = value_of((uint16_t)(u + 1), format->exponent_bits);
            if (isnan(here) || isinf(here)) break;
            float points[2] = {(float)here, isinf(next) ? (float)here : (float)((here + next) / 2)};
            for (int i = 0; i < 2; i++) {
                assert_nearest(format, points[i]);
                assert_nearest(format, -points[i]);
                assert_nearest(format, nextafterf(points[i], INFINITY));
                assert_nearest(format, nextafterf(points[i], -INFINITY));
            }
        }
        for (int i = 0; i < 300000; i++) {
            float x = float_of((uint32_t)random64());
            if (!isnan(x)) assert_nearest(format, x);
        }
    }
    assert_int_equal(float_to_half(65519.996f), 0x7BFF); /* the largest half is 65504 */
    assert_int_equal(float_to_half(65520.0f), 0x7C00);
    assert_int_equal(float_to_half(-INFINITY), 0xFC00);
    assert_int_equal(float_to_bfloat(FLT_MAX), 0x7F80);
}

/* ---- weight formats ---- */

TEST(weight_formats_have_their_published_sizes) {
    /* Bits per weight, as llama.cpp's documentation of its quantizations gives them. */
    static const struct { uint32_t type; const char *name; double bits; } published[] = {
        {0, "F32", 32},          {1, "F16", 16},          {2, "Q4_0", 4.5},
        {3, "Q4_1", 5},          {6, "Q5_0", 5.5},        {7, "Q5_1", 6},
        {8, "Q8_0", 8.5},        {9, "Q8_1", 9},          {10, "Q2_K", 2.625},
        {11, "Q3_K", 3.4375},    {12, "Q4_K", 4.5},       {13, "Q5_K", 5.5},
        {14, "Q6_K", 6.5625},    {15, "Q8_K", 9.125},     {16, "IQ2_XXS", 2.0625},
        {17, "IQ2_XS", 2.3125},  {18, "IQ3_XXS", 3.0625}, {19, "IQ1_S", 1.5625},
        {20, "IQ4_NL", 4.5},     {21, "IQ3_S", 3.4375},   {22, "IQ2_S", 2.5625},
        {23, "IQ4_XS", 4.25},    {24, "I8", 8},           {25, "I16", 16},
        {26, "I32", 32},         {27, "I64", 64},         {28, "F64", 64},
        {29, "IQ1_M", 1.75},     {30, "BF16", 16},        {34, "TQ1_0", 1.6875},
        {35, "TQ2_0", 2.0625},   {39, "MXFP4", 4.25},
    };
    size_t n = sizeof published / sizeof published[0], known = 0;
    for (uint32_t type = 0; type < 1000; type++) known += weight_format_of(type) != NULL;
    assert_int_equal(known, n);
    assert_null(weight_format_of(UINT32_MAX));
    for (size_t i = 0; i < n; i++) {
        const weight_format *f = weight_format_of(published[i].type);
        assert_non_null(f);
        assert_string_equal(f->name, published[i].name);
        assert_true(8.0 * (double)f->bytes / (double)f->block == published[i].bits);
    }
}

TEST(q8_0_and_q4_0_blocks_are_as_defined) {
    float x[32], y[32];
    int8_t q[32];
    uint8_t block[34];
    /* Multiples of a power of two, up to 127 of them, lose nothing. */
    for (int i = 0; i < 32; i++) q[i] = (int8_t)(i * 8 - 127 + (i == 31) * 6);
    for (int i = 0; i < 32; i++) x[i] = 0.25f * q[i];
    weight_format_of(TYPE_Q8_0)->from_float(x, block, 32);
    assert_int_equal(block[0] | block[1] << 8, 0x3400); /* 0.25 */
    assert_memory_equal(block + 2, q, 32);
    weight_format_of(TYPE_Q8_0)->to_float(block, y, 32);
    assert_memory_equal(x, y, sizeof x);

    for (int sign = -1; sign <= 1; sign += 2) { /* the extreme is -8 steps, whatever its sign */
        for (int i = 0; i < 32; i++) x[i] = (float)sign * 0.5f * (float)(i % 16 - 8);
        weight_format_of(TYPE_Q4_0)->from_float(x, block, 32);
        assert_int_equal(block[0] | block[1] << 8, sign > 0 ? 0x3800 : 0xB800); /* +-0.5 */
        for (int i = 0; i < 16; i++) assert_int_equal(block[2 + i], i | i << 4);
        weight_format_of(TYPE_Q4_0)->to_float(block, y, 32);
        for (int i = 0; i < 32; i++) assert_true(x[i] == y[i]);
    }
    /* Weight j is in the low nibble of byte j, weight j + 16 in the high one. */
    memset(block, 0x88, sizeof block);
    block[0] = 0x00, block[1] = 0x3C, block[2 + 5] = 0x1F;
    weight_format_of(TYPE_Q4_0)->to_float(block, y, 32);
    for (int i = 0; i < 32; i++) assert_true(y[i] == (i == 5 ? 7.0f : i == 21 ? -7.0f : 0.0f));
}

TEST(rounding_to_a_block_is_off_by_half_a_step_at_most) {
    float x[32], y[32];
    uint8_t block[34];
    for (int round = 0; round < 20000; round++) {
        float scale = ldexpf(1, (int)(random64() % 20) - 4), most = 0, extreme = 0;
        for (int i = 0; i < 32; i++) {
            x[i] = scale * ((float)(random64() >> 40) / (float)(1 << 23) - 1);
            if (fabsf(x[i]) > most) most = fabsf(extreme = x[i]);
        }
        weight_format_of(TYPE_Q8_0)->from_float(x, block, 32);
        weight_format_of(TYPE_Q8_0)->to_float(block, y, 32);
        /* Half a step, and what rounding the step itself to a half may add at the far end. */
        for (int i = 0; i < 32; i++)
            assert_true(fabsf(x[i] - y[i]) <= most / 127 * 0.5f + most * 0x1p-11f);
        weight_format_of(TYPE_Q4_0)->from_float(x, block, 32);
        weight_format_of(TYPE_Q4_0)->to_float(block, y, 32);
        /* The end opposite to the extreme value has one step less to reach. */
        for (int i = 0; i < 32; i++) {
            bool opposite = (x[i] < 0) != (extreme < 0);
            float step = most / 8, bound = opposite && fabsf(x[i]) > 7.5f * step ? step : step / 2;
            assert_true(fabsf(x[i] - y[i]) <= bound + most * 0x1p-11f);
        }
    }
}

/* The definition as ggml has it (ggml-quants.c, dequantize_row_q6_K), four weights at a time. */
static void expand_q6_k(const uint8_t *block, float *y) {
    const uint8_t *ql = block, *qh = block + 128;
    const int8_t *sc = (const int8_t *)block + 192;
    float d = half_to_float((uint16_t)(block[208] | block[209] << 8));
    for (int n = 0; n < 256; n += 128, y += 128, ql += 64, qh += 32, sc += 8)
        for (int l = 0; l < 32; l++) {
            int is = l / 16;
            int q1 = ((ql[l] & 15) | (qh[l] & 3) << 4) - 32;
            int q2 = ((ql[l + 32] & 15) | (qh[l] >> 2 & 3) << 4) - 32;
            int q3 = (ql[l] >> 4 | (qh[l] >> 4 & 3) << 4) - 32;
            int q4 = (ql[l + 32] >> 4 | (qh[l] >> 6 & 3) << 4) - 32;
            y[l] = d * (float)sc[is] * (float)q1;
            y[l + 32] = d * (float)sc[is + 2] * (float)q2;
            y[l + 64] = d * (float)sc[is + 4] * (float)q3;
            y[l + 96] = d * (float)sc[is + 6] * (float)q4;
        }
}

TEST(q6_k_blocks_are_as_defined) {
    const weight_format *f = weight_format_of(TYPE_Q6_K);
    uint8_t blocks[2 * 210];
    float x[512], y[512];
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof blocks; i++) blocks[i] = (uint8_t)(random64() >> 32);
        for (size_t b = 0; b < 2; b++) {
            blocks[b * 210 + 209] &= 0xBF; /* a finite d */
            expand_q6_k(blocks + b * 210, x + b * 256);
        }
        f->to_float(blocks, y, 512);
        assert_memory_equal(x, y, sizeof x);
    }
    /* Weights that the format can hold come through unchanged: the largest group's scale is 127. */
    for (int i = 0; i < 256; i++) {
        int scale = i < 16 ? 127 : i / 16 * 7 + 1;
        x[i] = 0.25f * (float)(i % 32 < 16 ? -scale : scale) * (float)(i % 16 * 2 - 32);
    }
    f->from_float(x, blocks, 256);
    assert_int_equal(blocks[208] | blocks[209] << 8, 0x3400); /* 0.25 */
    f->to_float(blocks, y, 256);
    for (int i = 0; i < 256; i++) assert_true(x[i] == y[i]);
}

TEST(rounding_to_q6_k_loses_no_more_than_the_nearest_scale_would) {
    const weight_format *f = weight_format_of(TYPE_Q6_K);
    uint8_t block[210];
    float x[256], y[256];
    for (int round = 0; round < 2000; round++) {
        double most = 0;
        for (int i = 0; i < 256; i++) {
            float scale = ldexpf(1, round % 20 - 4 - i / 16 % 4);
            x[i] = scale * ((float)(random64() >> 40) / (float)(1 << 23) - 1);
            if (fabs((double)x[i]) > most) most = fabs((double)x[i]);
        }
        f->from_float(x, block, 256);
        f->to_float(block, y, 256);
        /* d is at most this; a group's scale is at most half of it from step = extreme / -32, over
         * 32 steps; besides, a weight is half a step from the nearest, or one, beyond the end. */
        double d = most / 32 / 127 * (1 + 0x1p-11) + 0x1p-25;
        for (int g = 0; g < 256; g += 16) {
            double extreme = 0, error = 0, bound = 0;
            for (int i = g; i < g + 16; i++)
                if (fabs((double)x[i]) > fabs(extreme)) extreme = (double)x[i];
            for (int i = g; i < g + 16; i++) {
                double step = extreme / -32, each = 16 * d;
                each += (double)x[i] / step > 31.5 ? fabs(step) : fabs(step) / 2;
                bound += each * each;
                error += pow((double)x[i] - (double)y[i], 2);
            }
            assert_true(error <= bound * (1 + 1e-5));
        }
    }
}

/* ---- files, byte by byte ---- */

typedef struct {
    uint8_t data[1 << 16];
    size_t size;
} blob;

static void put(blob *b, const void *p, size_t n) {
    assert_true(n <= sizeof b->data - b->size);
    memcpy(b->data + b->size, p, n);
    b->size += n;
}
static void put32(blob *b, uint32_t v) { put(b, &v, 4); }
static void put64(blob *b, uint64_t v) { put(b, &v, 8); }
static void put_text(blob *b, const char *s) {
    put64(b, strlen(s));
    put(b, s, strlen(s));
}
static void put_zeros(blob *b, size_t n) {
    while (n-- > 0) put(b, "", 1);
}

/* A blob that begins as a file with so many tensors and keys does. */
static blob *begin(uint64_t n_tensors, uint64_t n_keys) {
    static blob b;
    b.size = 0;
    put(&b, "GGUF", 4);
    put32(&b, 3);
    put64(&b, n_tensors);
    put64(&b, n_keys);
    return &b;
}
static blob *key(blob *b, const char *name, uint32_t type) {
    put_text(b, name);
    put32(b, type);
    return b;
}
static void key_u32(blob *b, const char *name, uint32_t v) { put32(key(b, name, GGUF_U32), v); }
static void array(blob *b, const char *name, uint32_t type, uint64_t n) {
    put32(key(b, name, GGUF_ARRAY), type);
    put64(b, n);
}
static void tensor(blob *b, const char *name, uint32_t n_dims, const uint64_t *ne, uint32_t type,
                   uint64_t offset) {
    put_text(b, name);
    put32(b, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) put64(b, ne[i]);
    put32(b, type);
    put64(b, offset);
}
/* Up to where the tensors' data begins, and so many bytes of it. */
static void data(blob *b, size_t n) {
    put_zeros(b, (32 - b->size % 32) % 32 + n);
}

/* Opens the bytes as a file, mapped and read: both have the same outcome. */
static pl_code open_bytes(const void *bytes, size_t size, gguf **out, pl_error *e) {
    static const char *path;
    pl_error e2;
    gguf *g2;
    if (path == NULL) path = temp_path(".gguf");
    write_whole(path, bytes, size);
    pl_code code = gguf_open(path, &mapped, out, e);
    assert_int_equal(gguf_open(path, &as_read, &g2, &e2), code);
    if (code == PL_OK) {
        gguf_close(g2);
    } else {
        assert_null(*out);
        assert_int_equal(e->code, code);
        assert_string_equal(e->message, e2.message);
        assert_ptr_equal(strstr(e->message, path), e->message); /* the file first */
    }
    return code;
}

/* The file is refused, and the message has the pieces in it. */
static void refuse_with(const blob *b, pl_code expected, const char *piece, const char *piece2) {
    gguf *g;
    pl_error e = {PL_OK, ""};
    long live = mem_live();
    pl_code code = open_bytes(b->data, b->size, &g, &e);
    if (code == PL_OK) fail_msg("opened, expected a message with '%s'", piece);
    if (strstr(e.message, piece) == NULL || strstr(e.message, piece2) == NULL)
        fail_msg("found '%s', expected '%s' and '%s' in it", e.message, piece, piece2);
    assert_int_equal(code, expected);
    assert_int_equal(mem_live(), live);
}
static void refuse(const blob *b, const char *piece, const char *piece2) {
    refuse_with(b, PL_ERR_FORMAT, piece, piece2);
}
static gguf *accept(const blob *b) {
    gguf *g = NULL;
    pl_error e = {PL_OK, ""};
    if (open_bytes(b->data, b->size, &g, &e) != PL_OK) fail_msg("refused: %s", e.message);
    return g;
}

/* Looks at all there is: what is out of bounds shows under a sanitizer. */
static uint64_t walk(const gguf *g) {
    uint64_t sum = 0;
    for (size_t i = 0; i < gguf_n_values(g); i++) {
        const gguf_value *v = gguf_value_at(g, i);
        size_t at = 0;
        assert_ptr_equal(gguf_find(g, v->key), v);
        for (uint64_t j = 0; j < v->n; j++) {
            if (v->type == GGUF_STRING) {
                gguf_string s = gguf_string_next(v, &at);
                for (size_t k = 0; k < s.size; k++) sum += (uint8_t)s.data[k];
            } else {
                double x = gguf_float_at(v, j);
                sum += (uint64_t)gguf_int_at(v, j) + (x > 0);
            }
        }
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const gguf_tensor *t = gguf_tensor_at(g, i);
        const uint8_t *p = t->data;
        assert_ptr_equal(gguf_find_tensor(g, t->name), t);
        assert_non_null(weight_format_of(t->type));
        assert_true(t->n_dims >= 1 && t->n_dims <= GGUF_MAX_DIMS);
        assert_int_equal((uintptr_t)p % 8, 0);
        for (size_t k = 0; p != NULL && k < t->n_bytes; k++) sum += p[k];
    }
    return sum;
}

TEST(a_file_put_together_by_hand_is_read_as_it_is) {
    const uint64_t ne[4] = {32, 3, 1, 1};
    for (uint32_t version = 2; version <= 3; version++) {
        blob *b = begin(2, 4);
        memcpy(b->data + 4, &version, 4);
        key_u32(b, "a.u32", 7);
        put_text(key(b, "a.string", GGUF_STRING), "text");
        array(b, "a.bools", GGUF_BOOL, 3);
        put(b, "\1\0\1", 3);
        array(b, "a.none", GGUF_STRING, 0);
        tensor(b, "one", 2, ne, TYPE_Q4_0, 0);
        tensor(b, "two", 1, ne, TYPE_F32, 64);
        data(b, 64 + 128);
        float f = 1.5f;
        memcpy(b->data + b->size - 128, &f, 4);
        gguf *g = accept(b);
        assert_int_equal(gguf_version(g), version);
        assert_int_equal(gguf_file_size(g), b->size);
        assert_int_equal(gguf_n_values(g), 4);
        assert_int_equal(gguf_n_tensors(g), 2);
        assert_int_equal(gguf_int_at(gguf_find(g, "a.u32"), 0), 7);
        assert_int_equal(gguf_int_at(gguf_find(g, "a.bools"), 2), 1);
        assert_int_equal(gguf_find(g, "a.none")->n, 0);
        assert_null(gguf_find(g, "a"));
        assert_null(gguf_find_tensor(g, "a.u32"));
        const gguf_tensor *one = gguf_find_tensor(g, "one"), *two = gguf_find_tensor(g, "two");
        assert_int_equal(one->n_bytes, 54);
        assert_int_equal(one->n_dims, 2);
        assert_memory_equal(one->ne, ne, sizeof ne);
        assert_int_equal((const char *)two->data - (const char *)one->data, 64);
        assert_memory_equal(two->data, &f, 4);
        gguf_close(g);
    }
    gguf_close(NULL);
}

TEST(what_is_no_gguf_file_is_refused) {
    blob *b = begin(0, 0);
    gguf *g;
    pl_error e;
    const char *missing = temp_path(".missing");
    gguf_close(accept(b));
    b->size = 0;
    refuse(b, "not a GGUF file", "found nothing");
    put(b, "GGML\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
    refuse(b, "not a GGUF file", "0x47");
    b->size = 2;
    refuse(b, "cut off", "the magic number");
    assert_int_equal(gguf_open(missing, &mapped, &g, &e), PL_ERR_IO);
    assert_non_null(strstr(e.message, missing));
    assert_int_equal(gguf_open(missing, &mapped, &g, NULL), PL_ERR_IO);
    assert_int_equal(gguf_open(temp_folder(), &mapped, &g, &e), PL_ERR_IO);
    assert_non_null(strstr(e.message, "directory"));
}

TEST(other_versions_and_byte_orders_are_refused) {
    static const struct { uint32_t version; const char *piece; } cases[] = {
        {0, "found GGUF version 0, expected 2 or 3"}, {1, "found GGUF version 1"},
        {4, "found GGUF version 4"}, {0x01000000, "big-endian"}, {0x02000000, "big-endian"},
        {0x03000000, "big-endian"}, {0x04000000, "found GGUF version 67108864"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        blob *b = begin(0, 0);
        memcpy(b->data + 4, &cases[i].version, 4);
        refuse_with(b, PL_ERR_UNSUPPORTED, cases[i].piece, "");
    }
}

TEST(counts_beyond_the_file_are_refused_before_memory_is_taken) {
    static const uint64_t counts[] = {UINT64_MAX, (uint64_t)1 << 60, GGUF_MAX_VALUES, 1000, 5};
    for (size_t i = 0; i < 5; i++) {
        char shown[32];
        snprintf(shown, sizeof shown, "%" PRIu64, counts[i]);
        mem_fail_at(0);
        blob *b = begin(0, counts[i]);
        put_zeros(b, 60);
        refuse(b, "keys", shown);
        b = begin(counts[i], 0);
        put_zeros(b, 60);
        refuse(b, "tensors", shown);
        for (uint32_t type = 0; type < GGUF_VALUE_TYPES; type++) {
            if (type == GGUF_ARRAY) continue;
            b = begin(0, 1);
            array(b, "k", type, counts[i]);
            put_zeros(b, 4);
            refuse(b, "key 'k'", shown);
        }
        assert_true(mem_asked() < 4 * 100); /* handles, paths, the bytes that were read: no more */
    }
    blob *b = begin(0, 1);
    array(b, "k", GGUF_U8, GGUF_MAX_ARRAY + 1);
    refuse(b, "key 'k'", "expected at most 268435456");
    b = begin(GGUF_MAX_TENSORS + 1, 0);
    refuse(b, "tensors", "expected at most 131072");
}

TEST(bad_keys_are_refused) {
    static char long_key[GGUF_MAX_KEY + 2];
    blob *b = begin(0, 1);
    key_u32(b, "", 1);
    put_zeros(b, 8);
    refuse(b, "a key at byte 24", "found an empty one");

    b = begin(0, 2);
    key_u32(b, "twice", 1);
    put_text(key(b, "twice", GGUF_STRING), "x");
    refuse(b, "key 'twice'", "found twice");

    b = begin(0, 1);
    put64(b, 3);
    put(b, "a\0b", 3);
    put32(b, GGUF_U32);
    put32(b, 1);
    refuse(b, "a key at byte 24", "zero byte");

    memset(long_key, 'k', GGUF_MAX_KEY + 1);
    b = begin(0, 1);
    put64(b, GGUF_MAX_KEY + 1);
    put_zeros(b, 100);
    refuse(b, "a key at byte 24", "found a length of 65536 bytes, expected at most 65535");
    b = begin(0, 1);
    put64(b, UINT64_MAX);
    put_zeros(b, 100);
    refuse(b, "a key at byte 24", "18446744073709551615");
    b = begin(0, 1);
    put64(b, 2000);
    put_zeros(b, 100);
    refuse(b, "a key needs 2000 bytes at byte 32", "found 100");

    b = begin(0, 1); /* bytes of a key that no terminal should see */
    put_text(b, "\x1B[31m\xFF");
    put32(b, 99);
    put_zeros(b, 8);
    refuse(b, "key ' [31m?'", "found the number 99");
    long_key[GGUF_MAX_KEY - 600] = '\0'; /* a long one leaves room for what is wrong with it */
    b = begin(0, 1);
    put_text(b, long_key);
    put32(b, 77);
    put32(b, 0);
    refuse(b, "key 'kkk", "found the number 77, expected 0 to 12");
}

TEST(bad_values_are_refused) {
    blob *b = begin(0, 1);
    put_zeros(key(b, "k", GGUF_VALUE_TYPES), 16);
    refuse(b, "key 'k'", "found the number 13, expected 0 to 12");
    b = begin(0, 1);
    array(b, "k", UINT32_MAX, 1);
    put_zeros(b, 16);
    refuse(b, "key 'k'", "found the number 4294967295, expected 0 to 12");
    b = begin(0, 1);
    array(b, "k", GGUF_ARRAY, 1);
    put_zeros(b, 16);
    refuse_with(b, PL_ERR_UNSUPPORTED, "key 'k'", "array of arrays");
    b = begin(0, 1);
    put(key(b, "k", GGUF_BOOL), "\2", 1);
    refuse(b, "key 'k'", "found the bool 2, expected 0 or 1");
    b = begin(0, 1);
    array(b, "k", GGUF_BOOL, 3);
    put(b, "\1\0\377", 3);
    refuse(b, "key 'k'", "found the bool 255, expected 0 or 1");
    b = begin(0, 1);
    put64(key(b, "k", GGUF_STRING), GGUF_MAX_STRING + 1);
    put_zeros(b, 16);
    refuse(b, "key 'k'", "found a length of 67108865 bytes, expected at most 67108864");
    b = begin(0, 1);
    put64(key(b, "k", GGUF_STRING), 17);
    put_zeros(b, 16);
    refuse(b, "key 'k'", "a string needs 17 bytes at byte 45, found 16");
    for (uint32_t type = 0; type < GGUF_VALUE_TYPES; type++) { /* a scalar cut off by the end */
        if (type == GGUF_ARRAY) continue;
        b = begin(0, 1);
        put_text(b, "a long enough key");
        put32(b, type);
        refuse(b, "key 'a long enough key'", "found a count of 1");
    }
    b = begin(0, 1);
    array(b, "k", GGUF_STRING, 2);
    put_text(b, "fine");
    put64(b, UINT64_MAX - 7);
    refuse(b, "key 'k'", "18446744073709551608");
}

TEST(bad_alignments_are_refused) {
    static const uint32_t bad[] = {0, 1, 4, 12, 33, 1 << 21, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char shown[32];
        snprintf(shown, sizeof shown, "found %u, expected", bad[i]);
        blob *b = begin(0, 1);
        key_u32(b, "general.alignment", bad[i]);
        refuse(b, "key 'general.alignment'", shown);
    }
    blob *b = begin(0, 1);
    put_text(key(b, "general.alignment", GGUF_STRING), "32");
    refuse(b, "key 'general.alignment'", "found a string, expected an integer");
    b = begin(0, 1);
    put64(key(b, "general.alignment", GGUF_I64), (uint64_t)-32);
    refuse(b, "key 'general.alignment'", "found -32");

    const uint64_t ne[1] = {2};
    b = begin(1, 1);
    key_u32(b, "general.alignment", 64);
    tensor(b, "t", 1, ne, TYPE_F32, 64);
    put_zeros(b, (64 - b->size % 64) % 64 + 72);
    gguf *g = accept(b);
    assert_int_equal((uintptr_t)gguf_tensor_at(g, 0)->data % 64, 0);
    gguf_close(g);
    b = begin(1, 1);
    key_u32(b, "general.alignment", 64);
    tensor(b, "t", 1, ne, TYPE_F32, 32);
    data(b, 256);
    refuse(b, "tensor 't'", "found data at offset 32, expected a multiple of 64");
    b = begin(1, 1); /* the data would begin behind the end of the file */
    key_u32(b, "general.alignment", GGUF_MAX_ALIGNMENT);
    tensor(b, "t", 1, ne, TYPE_F32, 0);
    data(b, 256);
    refuse(b, "tensor 't'", "needs 8 bytes of data at offset 0, found 0 bytes");
}

/* A file with one tensor that has these fields. */
static blob *one_tensor(const char *name, uint32_t n_dims, const uint64_t *ne, uint32_t type,
                        uint64_t offset) {
    blob *b = begin(1, 0);
    tensor(b, name, n_dims, ne, type, offset);
    data(b, 64);
    return b;
}

TEST(bad_tensors_are_refused) {
    static const uint64_t ok[4] = {2, 2, 2, 2}, zero[2] = {4, 0}, wide[2] = {33, 1};
    static const uint64_t square[2] = {(uint64_t)1 << 32, (uint64_t)1 << 32};
    static const uint64_t huge[1] = {UINT64_MAX}, bytes[1] = {(uint64_t)1 << 62}, large[1] = {17};
    static const uint64_t five[5] = {1, 1, 1, 1, 1};
    char name[GGUF_MAX_TENSOR_NAME + 2];

    gguf_close(accept(one_tensor("t", 4, ok, TYPE_F32, 0)));
    refuse(one_tensor("", 4, ok, TYPE_F32, 0), "a tensor's name at byte 24", "an empty one");
    memset(name, 'n', sizeof name);
    name[GGUF_MAX_TENSOR_NAME] = '\0';
    gguf_close(accept(one_tensor(name, 4, ok, TYPE_F32, 0)));
    name[GGUF_MAX_TENSOR_NAME] = 'n', name[GGUF_MAX_TENSOR_NAME + 1] = '\0';
    refuse(one_tensor(name, 4, ok, TYPE_F32, 0), "a tensor's name", "a length of 256 bytes");
    refuse(one_tensor("t", 0, ok, TYPE_F32, 0), "tensor 't'", "found 0 dimensions, expected 1");
    refuse(one_tensor("t", 5, five, TYPE_F32, 0), "tensor 't'", "found 5 dimensions");
    refuse(one_tensor("t", 2, zero, TYPE_F32, 0), "tensor 't'", "dimension 2: found 0");
    refuse(one_tensor("t", 2, square, TYPE_F32, 0), "tensor 't'", "the product overflows");
    refuse(one_tensor("t", 1, bytes, TYPE_F32, 0), "tensor 't'", "size overflows");
    refuse(one_tensor("t", 1, huge, 24, 0), "tensor 't'", "needs 18446744073709551615 bytes");
    refuse(one_tensor("t", 2, wide, TYPE_Q8_0, 0), "tensor 't'",
           "found 33, expected a multiple of Q8_0's block, 32");
    for (uint32_t type = 0; type <= 64; type++)
        if (weight_format_of(type) == NULL)
            refuse_with(one_tensor("t", 1, ok, type, 0), PL_ERR_UNSUPPORTED, "tensor 't'",
                        "found weight type");
    refuse_with(one_tensor("t", 1, ok, UINT32_MAX, 0), PL_ERR_UNSUPPORTED, "tensor 't'",
                "found weight type 4294967295");
    refuse(one_tensor("t", 1, ok, TYPE_F32, 8), "tensor 't'", "offset 8, expected a multiple of");
    refuse(one_tensor("t", 1, large, TYPE_F32, 0), "tensor 't'", "needs 68 bytes");
    refuse(one_tensor("t", 4, ok, TYPE_F32, 32), "tensor 't'", "64 bytes of data at offset 32");
    refuse(one_tensor("t", 1, ok, TYPE_F32, 64), "tensor 't'", "found 64 bytes of data");
    refuse(one_tensor("t", 1, ok, TYPE_F32, UINT64_MAX - 31), "tensor 't'", "18446744073709551584");
}

TEST(tensors_that_share_names_or_bytes_are_refused) {
    static const uint64_t ne[1] = {24}, one[1] = {1}; /* 96 bytes */
    blob *b = begin(2, 0);
    tensor(b, "same", 1, ne, TYPE_F32, 0);
    tensor(b, "same", 1, ne, TYPE_F32, 96);
    data(b, 192);
    refuse(b, "tensor 'same'", "found twice");
    b = begin(2, 0);
    tensor(b, "first", 1, ne, TYPE_F32, 0);
    tensor(b, "second", 1, ne, TYPE_F32, 64);
    data(b, 192);
    refuse(b, "tensor 'second': its data at offset 64 overlaps", "'first', 96 bytes at offset 0");
    b = begin(3, 0); /* not in order, and not neighbours in the file */
    tensor(b, "late", 1, one, TYPE_F32, 160);
    tensor(b, "early", 1, one, TYPE_F32, 0);
    tensor(b, "middle", 1, ne, TYPE_F32, 96);
    data(b, 192);
    refuse(b, "tensor 'late'", "'middle'");
    b = begin(2, 0);
    tensor(b, "x", 1, one, TYPE_F32, 32);
    tensor(b, "y", 1, one, TYPE_F32, 32);
    data(b, 192);
    refuse(b, "tensor 'y'", "overlaps");
    b = begin(3, 0);
    tensor(b, "late", 1, one, TYPE_F32, 192);
    tensor(b, "early", 1, one, TYPE_F32, 0);
    tensor(b, "middle", 1, ne, TYPE_F32, 96);
    data(b, 196);
    gguf_close(accept(b));
}

/* ---- reading what the writer wrote ---- */

static const float weights[64] = {1, -2, 3.5f, 0.25f, -8, 7, 100, -1000};

/* One of everything: each value type alone and in an array, strings, tensors of several types. */
static gguf_writer *one_of_everything(uint8_t q8[68], uint8_t q4[36]) {
    static const uint64_t ne[4] = {32, 2, 1, 1}, four[4] = {2, 2, 2, 2};
    static const int64_t numbers[3] = {INT64_MIN, -1, INT64_MAX};
    static const double doubles[2] = {1e300, -0.5};
    static const gguf_string strings[4] = {{"", 0}, {"a\0b", 3}, {"\xE6\x97\xA5", 3}, {"end", 3}};
    static const uint32_t alone[] = {GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_I32, GGUF_U64,
                                     GGUF_I64, GGUF_F64};
    static const size_t sizes[] = {1, 1, 2, 2, 4, 8, 8, 8};
    static const uint8_t bytes[8] = {0xF0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
    char name[32];
    gguf_writer *w = gguf_writer_new();
    gguf_add_u32(w, "u32", 4000000000);
    gguf_add_f32(w, "f32", 0.1f);
    gguf_add_bool(w, "yes", true);
    gguf_add_bool(w, "no", false);
    gguf_add_string(w, "string", "some text", 9);
    gguf_add_string(w, "empty", "", 0);
    gguf_add_strings(w, "strings", strings, 4);
    gguf_add_strings(w, "no strings", NULL, 0);
    for (size_t i = 0; i < 8; i++) {
        const char *type = gguf_value_type_name(alone[i]);
        gguf_add_raw(w, type, alone[i], bytes, sizes[i]);
        snprintf(name, sizeof name, "%s.array", type);
        gguf_add_numbers(w, name, (gguf_value_type)alone[i],
                         alone[i] == GGUF_F64 ? (const void *)doubles : numbers, 2);
    }
    gguf_add_numbers(w, "u32.array", GGUF_U32, numbers, 6);
    gguf_add_numbers(w, "f32.array", GGUF_F32, weights, 5);
    gguf_add_numbers(w, "bool.array", GGUF_BOOL, "\1\0\1\1", 4);
    gguf_add_numbers(w, "none", GGUF_I32, NULL, 0);
    weight_format_of(TYPE_Q8_0)->from_float(weights, q8, 64);
    weight_format_of(TYPE_Q4_0)->from_float(weights, q4, 64);
    gguf_add_tensor(w, "q8", TYPE_Q8_0, 2, ne, q8);
    gguf_add_tensor(w, "q4", TYPE_Q4_0, 2, ne, q4);
    gguf_add_tensor(w, "four", TYPE_F16, 4, four, weights);
    gguf_add_tensor(w, "f32", TYPE_F32, 2, ne, weights);
    return w;
}

TEST(everything_that_is_written_is_read_back) {
    const char *path = temp_path(".gguf");
    uint8_t q8[68], q4[36];
    gguf_writer *w = one_of_everything(q8, q4);
    pl_error e;
    if (gguf_write(w, path, &e) != PL_OK) fail_msg("%s", e.message);
    gguf_writer_free(w);
    gguf_writer_free(NULL);
    for (int map = 0; map < 2; map++) {
        gguf *g;
        if (gguf_open(path, map ? &mapped : &as_read, &g, &e) != PL_OK) fail_msg("%s", e.message);
        walk(g);
        assert_string_equal(gguf_path(g), path);
        assert_int_equal(gguf_version(g), 3);
        assert_int_equal(gguf_n_values(g), 28);
        assert_string_equal(gguf_value_at(g, 0)->key, "u32");
        assert_int_equal(gguf_int_at(gguf_find(g, "u32"), 0), 4000000000);
        assert_true(gguf_float_at(gguf_find(g, "f32"), 0) == (double)0.1f);
        /* The bytes F0 FF FF ...: little-endian, two's complement. */
        static const struct { const char *key; int64_t value; } numbers[] = {
            {"u8", 0xF0}, {"i8", -16}, {"u16", 0xFFF0}, {"i16", -16}, {"i32", -16}, {"i64", -16},
            {"u64", INT64_MAX}, /* more than fits */
        };
        for (size_t i = 0; i < 7; i++) {
            const gguf_value *v = gguf_find(g, numbers[i].key);
            assert_true(v->n == 1 && !v->is_array);
            assert_string_equal(gguf_value_type_name((uint32_t)v->type), v->key);
            assert_true(gguf_int_at(v, 0) == numbers[i].value);
        }
        assert_true(isnan(gguf_float_at(gguf_find(g, "f64"), 0)));
        const gguf_value *v = gguf_find(g, "i64.array");
        assert_true(v->is_array && v->n == 2 && v->type == GGUF_I64);
        assert_true(gguf_int_at(v, 0) == INT64_MIN && gguf_int_at(v, 1) == -1);
        assert_true(gguf_float_at(gguf_find(g, "f64.array"), 0) == 1e300);
        assert_true(gguf_float_at(gguf_find(g, "f32.array"), 2) == 3.5);
        assert_true(gguf_int_at(gguf_find(g, "bool.array"), 1) == 0);
        assert_int_equal(gguf_find(g, "none")->n, 0);

        v = gguf_find(g, "strings");
        assert_int_equal(v->n, 4);
        const gguf_string expected[] = {{"", 0}, {"a\0b", 3}, {"\xE6\x97\xA5", 3}, {"end", 3}};
        size_t at = 0;
        for (size_t i = 0; i < 4; i++) {
            gguf_string s = gguf_string_next(v, &at);
            assert_int_equal(s.size, expected[i].size);
            assert_memory_equal(s.data, expected[i].data, s.size);
        }
        assert_int_equal(gguf_n_tensors(g), 4);
        assert_memory_equal(gguf_find_tensor(g, "q8")->data, q8, 68);
        assert_memory_equal(gguf_find_tensor(g, "q4")->data, q4, 36);
        assert_memory_equal(gguf_find_tensor(g, "f32")->data, weights, 256);
        assert_int_equal(gguf_find_tensor(g, "four")->ne[3], 2);
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal((uintptr_t)gguf_tensor_at(g, i)->data % 32, 0);
            if (i == 0) continue; /* the gaps are zeros */
            const gguf_tensor *t = gguf_tensor_at(g, i - 1);
            const char *p = (const char *)t->data + t->n_bytes;
            while (p < (const char *)gguf_tensor_at(g, i)->data) assert_int_equal(*p++, 0);
        }
        gguf_close(g);
    }
}

TEST(the_writer_keeps_its_first_error) {
    const char *path = temp_path(".gguf");
    static const uint64_t ne[1] = {33};
    pl_error e;
    for (int i = 0; i < 6; i++) {
        gguf_writer *w = gguf_writer_new();
        if (i == 0) gguf_add_u32(w, "", 1);
        if (i == 1) gguf_add_tensor(w, "t", TYPE_Q8_0, 1, ne, weights);
        if (i == 2) gguf_add_tensor(w, "t", TYPE_F32, 1, ne, NULL);
        if (i == 3) gguf_add_tensor(w, "t", 4, 1, ne, weights);
        if (i == 4) gguf_add_tensor(w, "t", TYPE_F32, 5, ne, weights);
        if (i == 5) gguf_add_numbers(w, "k", GGUF_STRING, weights, 1);
        gguf_add_string(w, "later", "x", 1);
        assert_int_equal(gguf_write(w, path, &e), PL_ERR_ARGUMENT);
        assert_non_null(strstr(e.message, path));
        gguf_writer_free(w);
    }
    gguf_add_f32(NULL, "k", 1);
    assert_int_equal(gguf_write(NULL, path, &e), PL_ERR_MEMORY);
    gguf_writer *w = gguf_writer_new();
    assert_int_equal(gguf_write(w, "/nonexistent/folder/x.gguf", &e), PL_ERR_IO);
    assert_int_equal(gguf_write(w, path, &e), PL_OK); /* nothing in it is a file too */
    gguf_writer_free(w);
    gguf *g;
    assert_int_equal(gguf_open(path, &mapped, &g, &e), PL_OK);
    gguf_close(g);
}

TEST(the_writer_aligns_as_the_file_says) {
    const char *path = temp_path(".gguf");
    static const uint64_t ne[1] = {3};
    gguf_writer *w = gguf_writer_new();
    gguf *g;
    pl_error e;
    gguf_add_tensor(w, "a", TYPE_F32, 1, ne, weights);
    gguf_add_u32(w, "general.alignment", 8192);
    gguf_add_tensor(w, "b", TYPE_F32, 1, ne, weights + 3);
    assert_int_equal(gguf_write(w, path, &e), PL_OK);
    gguf_writer_free(w);
    assert_int_equal(gguf_open(path, &mapped, &g, &e), PL_OK);
    assert_int_equal(gguf_file_size(g), 3 * 8192);
    assert_memory_equal(gguf_find_tensor(g, "b")->data, weights + 3, 12);
    gguf_close(g);
}

TEST(typed_lookups_check_type_and_range) {
    const char *path = temp_path(".gguf");
    uint8_t q8[68], q4[36];
    gguf_writer *w = one_of_everything(q8, q4);
    gguf *g;
    pl_error e;
    uint32_t u = 1;
    float f = 1;
    bool yes = false;
    gguf_string s = {NULL, 0};
    const gguf_value *v;
    assert_int_equal(gguf_write(w, path, &e), PL_OK);
    gguf_writer_free(w);
    assert_int_equal(gguf_open(path, &mapped, &g, &e), PL_OK);

    assert_int_equal(gguf_get_u32(g, "u32", true, 0, UINT32_MAX, &u, &e), PL_OK);
    assert_int_equal(u, 4000000000);
    assert_int_equal(gguf_get_u32(g, "u16", true, 0, 65535, &u, &e), PL_OK); /* any integer */
    assert_int_equal(u, 0xFFF0);
    assert_int_equal(gguf_get_u32(g, "absent", false, 0, 1, &u, &e), PL_OK);
    assert_int_equal(u, 0xFFF0);
    assert_int_equal(gguf_get_f32(g, "f32", true, 0, 1, &f, &e), PL_OK);
    assert_true(f == 0.1f);
    assert_int_equal(gguf_get_bool(g, "yes", true, &yes, &e), PL_OK);
    assert_true(yes);
    assert_int_equal(gguf_get_bool(g, "no", true, &yes, &e), PL_OK);
    assert_false(yes);
    assert_int_equal(gguf_get_string(g, "string", true, &s, &e), PL_OK);
    assert_int_equal(s.size, 9);
    assert_memory_equal(s.data, "some text", 9);
    assert_int_equal(gguf_get_array(g, "strings", true, GGUF_STRING, &v, &e), PL_OK);
    assert_int_equal(v->n, 4);
    assert_int_equal(gguf_get_array(g, "u8.array", true, GGUF_I32, &v, &e), PL_OK);
    assert_int_equal(gguf_get_array(g, "f64.array", true, GGUF_F32, &v, &e), PL_OK);
    assert_int_equal(gguf_get_array(g, "bool.array", true, GGUF_BOOL, &v, &e), PL_OK);
    assert_int_equal(gguf_get_array(g, "absent", false, GGUF_I32, &v, &e), PL_OK);
    assert_null(v);

#define REFUSED(call, piece)                                          \
    do {                                                              \
        assert_int_equal(call, PL_ERR_FORMAT);                        \
        assert_int_equal(e.code, PL_ERR_FORMAT);                      \
        assert_ptr_equal(strstr(e.message, path), e.message);         \
        if (strstr(e.message, piece) == NULL) fail_msg("%s", e.message); \
    } while (0)
    REFUSED(gguf_get_u32(g, "absent", true, 0, 1, &u, &e), "'absent': not found, expected an int");
    REFUSED(gguf_get_u32(g, "u32", true, 1, 100, &u, &e), "found 4000000000, expected 1 to 100");
    REFUSED(gguf_get_u32(g, "i64", true, 0, 100, &u, &e), "found -16, expected 0 to 100");
    REFUSED(gguf_get_u32(g, "u64", true, 0, UINT32_MAX, &u, &e), "expected 0 to 4294967295");
    REFUSED(gguf_get_u32(g, "f32", true, 0, 1, &u, &e), "found an f32, expected an integer");
    REFUSED(gguf_get_u32(g, "yes", true, 0, 1, &u, &e), "found a bool, expected an integer");
    REFUSED(gguf_get_u32(g, "u8.array", false, 0, 1, &u, &e), "found an array of 2 u8");
    REFUSED(gguf_get_f32(g, "f32", true, 1, 2, &f, &e), "found 0.1, expected 1 to 2");
    REFUSED(gguf_get_f32(g, "f64", true, -1e9f, 1e9f, &f, &e), "nan, expected -1e+09 to 1e+09");
    REFUSED(gguf_get_f32(g, "u32", true, 1, 2, &f, &e), "found a u32, expected a float");
    REFUSED(gguf_get_bool(g, "u8", true, &yes, &e), "found a u8, expected a bool");
    REFUSED(gguf_get_string(g, "strings", true, &s, &e), "found an array of 4 string, expected");
    REFUSED(gguf_get_array(g, "string", true, GGUF_STRING, &v, &e), "expected an array of strings");
    REFUSED(gguf_get_array(g, "f32.array", true, GGUF_I32, &v, &e), "an array of integers");
    REFUSED(gguf_get_array(g, "bool.array", true, GGUF_I32, &v, &e), "found an array of 4 bool");
    REFUSED(gguf_get_array(g, "i32.array", true, GGUF_F32, &v, &e), "expected an array of floats");
    REFUSED(gguf_get_array(g, "absent", true, GGUF_F32, &v, &e), "not found");
    assert_null(v);
    assert_int_equal(gguf_get_u32(g, "absent", true, 0, 1, &u, NULL), PL_ERR_FORMAT);
    gguf_close(g);
}

/* ---- damage ---- */

/* A small file with some of everything; *header: bytes before the tensors' data. free() it. */
static char *small_file(size_t *size, size_t *header) {
    static const uint64_t ne[2] = {8, 2}, eight[1] = {8};
    static const gguf_string strings[3] = {{"one", 3}, {"", 0}, {"three", 5}};
    const char *path = temp_path(".gguf");
    gguf_writer *w = gguf_writer_new();
    gguf *g;
    pl_error e;
    gguf_add_u32(w, "general.alignment", 32);
    gguf_add_string(w, "name", "small", 5);
    gguf_add_strings(w, "list", strings, 3);
    gguf_add_bool(w, "flag", true);
    gguf_add_numbers(w, "flags", GGUF_BOOL, "\1\0\1", 3);
    gguf_add_numbers(w, "ids", GGUF_I32, weights, 3);
    gguf_add_raw(w, "f64", GGUF_F64, weights, 8);
    gguf_add_tensor(w, "first", TYPE_F16, 2, ne, weights);
    gguf_add_tensor(w, "last", TYPE_F32, 1, eight, weights);
    assert_int_equal(gguf_write(w, path, &e), PL_OK);
    gguf_writer_free(w);
    assert_int_equal(gguf_open(path, &mapped, &g, &e), PL_OK);
    char *bytes = read_whole(path, size);
    const gguf_tensor *last = gguf_find_tensor(g, "last"), *first = gguf_find_tensor(g, "first");
    *header = *size - last->n_bytes -
              (size_t)((const char *)last->data - (const char *)first->data);
    gguf_close(g);
    return bytes;
}

TEST(a_file_cut_off_at_any_byte_is_refused) {
    size_t size, header;
    char *bytes = small_file(&size, &header);
    for (size_t cut = 0; cut < size; cut++) {
        blob b;
        memcpy(b.data, bytes, cut);
        b.size = cut;
        refuse(&b, cut == 0 ? "found nothing" : "cut off", "");
    }
    free(bytes);
}

TEST(the_index_alone_opens_without_the_tensors_data) {
    static const gguf_options options = {.map = true, .header_only = true};
    const char *path = temp_path(".gguf");
    size_t size, header;
    char *bytes = small_file(&size, &header);
    for (size_t cut = header - 40; cut < size; cut++) {
        gguf *g;
        pl_error e;
        write_whole(path, bytes, cut);
        if (gguf_open(path, &options, &g, &e) != PL_OK) {
            assert_true(cut < header); /* only padding lies between the index and the data */
            continue;
        }
        assert_int_equal(gguf_n_tensors(g), 2);
        assert_int_equal(gguf_tensor_at(g, 0)->data != NULL, cut >= header + 32);
        assert_null(gguf_tensor_at(g, 1)->data);
        assert_int_equal(gguf_tensor_at(g, 1)->n_bytes, 32);
        walk(g);
        gguf_close(g);
    }
    free(bytes);
}

TEST(a_wrong_byte_anywhere_does_no_harm) {
    static const uint8_t masks[] = {0x01, 0x02, 0x10, 0x80, 0xFF};
    size_t size, header, opened = 0;
    char *bytes = small_file(&size, &header);
    for (size_t at = 0; at < header; at++) {
        for (size_t m = 0; m < sizeof masks; m++) {
            gguf *g;
            pl_error e;
            bytes[at] = (char)((uint8_t)bytes[at] ^ masks[m]);
            if (open_bytes(bytes, size, &g, &e) == PL_OK) {
                walk(g);
                gguf_close(g);
                opened++;
            }
            bytes[at] = (char)((uint8_t)bytes[at] ^ masks[m]);
        }
    }
    assert_true(opened > 0 && opened < header * sizeof masks);
    free(bytes);
}

TEST(random_damage_does_no_harm) {
    size_t size, header;
    char *bytes = small_file(&size, &header), *damaged = malloc(size);
    for (int round = 0; round < 3000; round++) {
        gguf *g;
        pl_error e;
        memcpy(damaged, bytes, size);
        for (uint64_t n = 1 + random64() % 4; n > 0; n--) {
            static const uint64_t interesting[] = {0, 1, UINT64_MAX, (uint64_t)1 << 63, 1 << 16};
            uint64_t value = random64() % 2 ? interesting[random64() % 5] : random64();
            memcpy(damaged + random64() % (header - 8), &value, 1 + random64() % 8);
        }
        if (open_bytes(damaged, size, &g, &e) == PL_OK) {
            walk(g);
            gguf_close(g);
        }
    }
    free(damaged);
    free(bytes);
}

/* ---- split files ---- */

typedef struct {
    uint32_t file_no, file_count; /* in its name, from 1 */
    uint16_t no, count;           /* what it says, from 0 */
    int32_t n_tensors;            /* what it says of all parts */
    const char *tensors[2];       /* NULL: fewer; tensor i of all holds weights[8 i ...] */
    size_t first_weight;
} part;

/* Writes part p of the split file `stem`; its path, to be freed. */
static char *write_part(const char *stem, const part *p) {
    char *path = malloc(strlen(stem) + 32);
    pl_error e;
    gguf_writer *w = gguf_writer_new();
    assert_non_null(path);
    sprintf(path, "%s-%05u-of-%05u.gguf", stem, p->file_no, p->file_count);
    gguf_add_raw(w, "split.no", GGUF_U16, &p->no, 2);
    gguf_add_raw(w, "split.count", GGUF_U16, &p->count, 2);
    gguf_add_raw(w, "split.tensors.count", GGUF_I32, &p->n_tensors, 4);
    if (p->no == 0) gguf_add_string(w, "general.architecture", "llama", 5);
    for (size_t i = 0; i < 2 && p->tensors[i]; i++)
        gguf_add_tensor(w, p->tensors[i], TYPE_F32, 1, (uint64_t[]){8},
                        weights + p->first_weight + 8 * i);
    if (gguf_write(w, path, &e)) fail_msg("%s", e.message);
    gguf_writer_free(w);
    return path;
}

/* A split file of three parts, one of them perhaps other than it should be; the error of opening
 * its first part. */
static pl_code open_split(const part *other, int missing, gguf **out, pl_error *e) {
    const part parts[] = {
        {1, 3, 0, 3, 3, {NULL}, 0}, {2, 3, 1, 3, 3, {"a", "b"}, 0}, {3, 3, 2, 3, 3, {"c"}, 16}};
    const char *stem = temp_path("");
    char *first = NULL;
    for (int i = 0; i < 3; i++) {
        char *path = write_part(stem,
                                other && other->file_no == parts[i].file_no ? other : &parts[i]);
        if (i == missing) remove(path);
        if (i == 0) first = path;
        else free(path);
    }
    pl_code code = gguf_open(first, &mapped, out, e);
    free(first);
    return code;
}

TEST(the_first_part_of_a_split_file_opens_them_all) {
    gguf *g;
    pl_error e;
    static const char *const names[] = {"a", "b", "c"};
    if (open_split(NULL, -1, &g, &e)) fail_msg("%s", e.message);
    assert_int_equal(gguf_n_tensors(g), 3);
    for (size_t i = 0; i < 3; i++) {
        const gguf_tensor *t = gguf_find_tensor(g, names[i]);
        assert_non_null(t);
        assert_memory_equal(t->data, weights + 8 * i, 8 * sizeof *weights);
    }
    assert_non_null(gguf_find(g, "general.architecture"));
    gguf_close(g);
}

TEST(a_split_file_with_a_wrong_part_is_refused_and_the_part_is_named) {
    const struct { part other; int missing; const char *says;
    } cases[] = {
        {{0}, 1, "-00002-of-00003.gguf"}, /* the part is not there */
        {{2, 3, 2, 3, 3, {"a", "b"}, 0}, -1, "found part 3 of 3 in it"},
        {{3, 3, 2, 4, 3, {"c"}, 16}, -1, "found part 3 of 4 in it"},
        {{3, 3, 2, 3, 3, {"b"}, 16}, -1, "found twice"},
        {{3, 3, 2, 3, 3, {NULL}, 16}, -1, "but the 3 parts hold 2 tensors"},
        {{1, 3, 1, 3, 3, {NULL}, 0}, -1, "the file is part 2 of 3"},
        {{1, 4, 0, 3, 3, {NULL}, 0}, -1, "whose names must end in -00001-of-00003.gguf"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gguf *g = NULL;
        pl_error e;
        assert_int_not_equal(
            open_split(cases[i].other.file_no ? &cases[i].other : NULL, cases[i].missing, &g, &e),
            PL_OK);
        assert_null(g);
        if (!strstr(e.message, cases[i].says))
            fail_msg("'%s' does not say '%s'", e.message, cases[i].says);
    }
}

/* The first part's keys say what no split file is. */
TEST(split_keys_that_cannot_be_are_refused) {
    static const struct {
        const char *key;
        uint32_t type;
        uint64_t value;
        size_t size;
        const char *says;
    } cases[] = {
        {"split.count", GGUF_U32, UINT32_MAX, 4,
         "'split.count': found 4294967295, expected 0 to 99999"},
        {"split.count", GGUF_I64, UINT64_MAX, 8, "'split.count': found -1"},
        {"split.count", GGUF_F32, 0x40000000, 4, "'split.count': found an f32"},
        {"split.count", GGUF_U32, 99999, 4, "-00001-of-99999.gguf"}, /* its name says otherwise */
        {"split.no", GGUF_U32, 3, 4, "'split.no': found 3, expected 0 to 2"},
        {"split.no", GGUF_BOOL, 0, 1, "'split.no': found a bool"},
        {"split.tensors.count", GGUF_I64, UINT64_MAX, 8, "'split.tensors.count': found -1"},
        {"split.tensors.count", GGUF_U32, UINT32_MAX, 4, "'split.tensors.count': found 4294967295"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const char *const keys[] = {"split.no", "split.count", "split.tensors.count"};
        static const uint32_t sound[] = {0, 3, 0};
        gguf_writer *w = gguf_writer_new();
        gguf *g = NULL;
        pl_error e;
        const char *path = temp_path("-00001-of-00003.gguf");
        for (size_t k = 0; k < 3; k++) {
            if (strcmp(keys[k], cases[i].key) != 0) gguf_add_u32(w, keys[k], sound[k]);
            else gguf_add_raw(w, keys[k], cases[i].type, &cases[i].value, cases[i].size);
        }
        if (gguf_write(w, path, &e) != PL_OK) fail_msg("%s", e.message);
        gguf_writer_free(w);
        assert_int_equal(gguf_open(path, &mapped, &g, &e), PL_ERR_FORMAT);
        if (!strstr(e.message, cases[i].says))
            fail_msg("'%s' does not say '%s'", e.message, cases[i].says);
    }
}

TEST(a_part_that_is_no_gguf_file_or_is_cut_off_is_named) {
    static const part parts[] = {{1, 2, 0, 2, 2, {"a"}, 0}, {2, 2, 1, 2, 2, {"b"}, 8}};
    const char *stem = temp_path("");
    char *first = write_part(stem, &parts[0]), *second = write_part(stem, &parts[1]);
    size_t size;
    char *bytes = read_whole(second, &size);
    for (size_t cut = 0; cut < size; cut++) {
        gguf *g = NULL;
        pl_error e;
        write_whole(second, bytes, cut);
        assert_int_equal(gguf_open(first, &mapped, &g, &e), PL_ERR_FORMAT);
        assert_null(g);
        assert_non_null(strstr(e.message, "part 2 of 2"));
        assert_non_null(strstr(e.message, second));
    }
    free(bytes);
    free(first);
    free(second);
}

TEST(opening_a_split_file_without_memory_is_an_error_without_a_leak) {
    const char *stem = temp_path("");
    const part parts[] = {{1, 2, 0, 2, 2, {"a"}, 0}, {2, 2, 1, 2, 2, {"b"}, 8}};
    char *first = write_part(stem, &parts[0]), *second = write_part(stem, &parts[1]);
    long before = mem_live();
    for (long n = 1;; n++) {
        gguf *g = NULL;
        pl_error e;
        mem_fail_at(n);
        pl_code code = gguf_open(first, &as_read, &g, &e);
        bool reached = mem_asked() >= n;
        mem_fail_at(0);
        assert_true(reached ? code == PL_ERR_MEMORY : code == PL_OK);
        gguf_close(g);
        assert_int_equal(mem_live(), before);
        if (!reached) break;
    }
    free(first);
    free(second);
}

TEST(every_failing_allocation_is_an_error_without_a_leak) {
    const char *path = temp_path(".gguf");
    uint8_t q8[68], q4[36];
    long live = mem_live(), n;
    pl_error e;
    for (n = 1;; n++) { /* writing */
        mem_fail_at(n);
        gguf_writer *w = one_of_everything(q8, q4);
        pl_code code = gguf_write(w, path, &e);
        bool reached = mem_asked() >= n;
        gguf_writer_free(w);
        assert_int_equal(mem_live(), live);
        assert_int_equal(code, reached ? PL_ERR_MEMORY : PL_OK);
        if (!reached) break;
    }
    assert_true(n > 10);
    for (int map = 0; map < 2; map++) {
        for (n = 1;; n++) { /* opening */
            gguf *g;
            mem_fail_at(n);
            pl_code code = gguf_open(path, map ? &mapped : &as_read, &g, &e);
            bool reached = mem_asked() >= n;
            assert_int_equal(code, reached ? PL_ERR_MEMORY : PL_OK);
            gguf_close(g);
            assert_int_equal(mem_live(), live);
            if (!reached) break;
        }
        assert_true(n > 30);
    }
}

/* ---- real files ---- */

/* Opens every .gguf of a folder of the shared data; returns how many there were. */
static size_t open_all(const char *folder, bool with_tensors) {
    size_t n = 0;
    DIR *d = opendir(folder);
    if (d == NULL) fail_msg("no folder %s", folder);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        size_t length = strlen(entry->d_name);
        char path[4096];
        gguf *g;
        pl_error e;
        gguf_string arch = {NULL, 0};
        if (length < 5 || strcmp(entry->d_name + length - 5, ".gguf") != 0) continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (gguf_open(path, n % 2 ? &mapped : &as_read, &g, &e) != PL_OK) fail_msg("%s", e.message);
        if (gguf_get_string(g, "general.architecture", true, &arch, &e) != PL_OK)
            fail_msg("%s", e.message);
        assert_true(arch.size > 0);
        if (with_tensors) assert_true(gguf_n_tensors(g) > 0);
        walk(g);
        gguf_close(g);
        n++;
    }
    closedir(d);
    return n;
}

TEST(the_parity_models_open) {
    const char *folder;
    SHARED_OR_SKIP(folder, "parity");
    assert_true(open_all(folder, true) > 0);
}

TEST(the_vocabularies_open) {
    const char *folder;
    SHARED_OR_SKIP(folder, "vocab");
    assert_true(open_all(folder, false) > 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, note_live, check_live)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(every_16_bit_float_has_its_value),
        CASE(floats_round_to_the_nearest_16_bit_float),
        CASE(weight_formats_have_their_published_sizes),
        CASE(q8_0_and_q4_0_blocks_are_as_defined),
        CASE(rounding_to_a_block_is_off_by_half_a_step_at_most),
        CASE(q6_k_blocks_are_as_defined),
        CASE(rounding_to_q6_k_loses_no_more_than_the_nearest_scale_would),
        CASE(a_file_put_together_by_hand_is_read_as_it_is),
        CASE(what_is_no_gguf_file_is_refused),
        CASE(other_versions_and_byte_orders_are_refused),
        CASE(counts_beyond_the_file_are_refused_before_memory_is_taken),
        CASE(bad_keys_are_refused),
        CASE(bad_values_are_refused),
        CASE(bad_alignments_are_refused),
        CASE(bad_tensors_are_refused),
        CASE(tensors_that_share_names_or_bytes_are_refused),
        CASE(everything_that_is_written_is_read_back),
        CASE(the_writer_keeps_its_first_error),
        CASE(the_writer_aligns_as_the_file_says),
        CASE(typed_lookups_check_type_and_range),
        CASE(a_file_cut_off_at_any_byte_is_refused),
        CASE(the_index_alone_opens_without_the_tensors_data),
        CASE(a_wrong_byte_anywhere_does_no_harm),
        CASE(random_damage_does_no_harm),
        CASE(every_failing_allocation_is_an_error_without_a_leak),
        CASE(the_first_part_of_a_split_file_opens_them_all),
        CASE(a_split_file_with_a_wrong_part_is_refused_and_the_part_is_named),
        CASE(split_keys_that_cannot_be_are_refused),
        CASE(a_part_that_is_no_gguf_file_or_is_cut_off_is_named),
        CASE(opening_a_split_file_without_memory_is_an_error_without_a_leak),
        CASE(the_parity_models_open),
        CASE(the_vocabularies_open),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
