/* test_formats.c: the conversions of the quantized weight formats: what packed blocks mean, what
 * comes through rounding unchanged, and how much rounding may lose. Halves and the oldest formats
 * are in test_gguf.c, products in test_math.c. */
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "support.h"
#include "tiny.h"

#define MOST_BYTES 1024 /* of a block's 256 weights in any format */

static uint64_t seed = 7;

static int within(int low, int high) {
    return low + (int)(tiny_random(&seed) % (uint64_t)(high - low + 1));
}
static double uniform(void) { return (double)(tiny_random(&seed) >> 11) * 0x1p-53; }
static double normal(void) { /* Box and Muller */
    return sqrt(-2 * log(1 - uniform())) * cos(2 * 3.14159265358979 * uniform());
}

static const weight_format *format_of(const block_kind *k) { return weight_format_of(k->type); }

TEST(blocks_mean_what_their_parts_say) {
    for (size_t c = 0; c < BLOCK_KINDS; c++) {
        const block_kind *k = block_kinds + c;
        assert_int_equal(format_of(k)->block, k->block);
        assert_int_equal(format_of(k)->bytes, k->bytes);
        for (int round = 0; round < 500; round++) {
            block_parts parts[2];
            uint8_t *blocks = malloc(2 * k->bytes); /* ends where the data ends */
            float y[512];
            assert_non_null(blocks);
            for (size_t b = 0; b < 2; b++) {
                parts[b].d = (uint16_t)(tiny_random(&seed) & 0xBFFF); /* finite, of either sign */
                parts[b].m = (uint16_t)(tiny_random(&seed) & 0xBFFF);
                for (size_t g = 0; g < 16; g++) {
                    parts[b].scale[g] = within(k->scale_low, k->scale_high);
                    parts[b].min[g] = within(k->min_low, k->min_high);
                }
                for (size_t i = 0; i < 256; i++) parts[b].code[i] = (uint8_t)within(0, k->top);
                block_pack(k, parts + b, blocks + b * k->bytes);
            }
            format_of(k)->to_float(blocks, y, 2 * k->block);
            for (size_t i = 0; i < 2 * k->block; i++) { /* all but the last rounding is exact */
                float want = (float)block_weight(k, parts + i / k->block, i % k->block);
                if (y[i] != want)
                    fail_msg("%s, weight %zu: %a, expected %a", k->name, i, (double)y[i],
                             (double)want);
            }
            free(blocks);
        }
    }
}

/* Each group holds its lowest and its highest level, and the largest scale and minimum are the
 * largest that fit: then the format's own steps are the best there are. */
TEST(weights_that_a_format_holds_come_through_unchanged) {
    for (size_t c = 0; c < BLOCK_KINDS; c++) {
        const block_kind *k = block_kinds + c;
        for (int round = 0; round < 100; round++) {
            block_parts p = {.d = 0x3400, .m = 0x3000}; /* 0.25, 0.125 */
            uint8_t block[MOST_BYTES];
            float x[256], y[256];
            for (size_t g = 0; g < 16; g++) {
                int low = k->scale_low < 0 ? -k->scale_high : k->scale_low;
                do p.scale[g] = within(low, k->scale_high);
                while (p.scale[g] == 0);
                p.min[g] = within(k->min_low, k->min_high);
            }
            p.scale[3 * 32 / k->group % (k->block / k->group)] = k->scale_high;
            p.min[0] = k->min_high;
            for (size_t i = 0; i < 256; i++) {
                p.code[i] = (uint8_t)within(0, k->top);
                if (i % 16 == 2) p.code[i] = 0;
                if (i % 16 == 9) p.code[i] = (uint8_t)k->top;
                if (k->type == TYPE_Q8_0 && p.code[i] == 0) p.code[i] = 1; /* symmetric */
            }
            for (size_t i = 0; i < k->block; i++) x[i] = (float)block_weight(k, &p, i);
            format_of(k)->from_float(x, block, k->block);
            format_of(k)->to_float(block, y, k->block);
            for (size_t i = 0; i < k->block; i++)
                if (x[i] != y[i])
                    fail_msg("%s, weight %zu: %a became %a", k->name, i, (double)x[i],
                             (double)y[i]);
        }
    }
}

/* The nearest level in steps of `step`, floor below zero, by trying all. */
static double nearest_level(const block_kind *k, double x, double step, double floor) {
    double best = INFINITY;
    for (int code = 0; code <= k->top; code++) {
        block_parts p = {.d = 0x3c00, .m = 0, .scale = {1}, .code = {(uint8_t)code}};
        double y = step * block_weight(k, &p, 0) - floor;
        if (fabs(x - y) < fabs(x - best)) best = y;
    }
    return best;
}

/* What plain rounding loses of a group whose scale and minimum need no rounding themselves: from
 * the smallest value (or 0) to the largest, or so that the extreme value is the lowest level. */
static double plain_loss(const block_kind *k, const float *x) {
    double low = k->min_low < 0 ? (double)x[0] : 0, high = (double)x[0], extreme = 0, loss = 0;
    for (size_t i = 0; i < k->group; i++) {
        low = fmin(low, (double)x[i]);
        high = fmax(high, (double)x[i]);
        if (fabs((double)x[i]) > fabs(extreme)) extreme = (double)x[i];
    }
    block_parts lowest = {.d = 0x3c00, .scale = {1}};
    bool minima = k->min_low != k->min_high || k->min_low < 0;
    double reach = k->type == TYPE_Q8_0 ? 127 : block_weight(k, &lowest, 0);
    double step = minima ? (high - low) / k->top : extreme / reach;
    for (size_t i = 0; i < k->group; i++)
        loss += pow((double)x[i] - nearest_level(k, (double)x[i], step, minima ? -low : 0), 2);
    return loss;
}

/* Where there is no search, the scale's half costs next to nothing. Where scales have few bits, the
 * search must gain back what those cost, and more. */
TEST(rounding_loses_no_more_than_plain_rounding_with_exact_scales) {
    for (size_t c = 0; c < BLOCK_KINDS; c++) {
        const block_kind *k = block_kinds + c;
        if (k->type == TYPE_MXFP4) continue; /* its scales are never exact */
        bool searches = k->block == 256 || k->type == TYPE_IQ4_NL;
        double loss = 0, plain = 0;
        for (int round = 0; round < 300; round++) {
            float x[256], y[256];
            uint8_t block[MOST_BYTES];
            /* rows of real matrices: normal, groups of somewhat different size */
            for (size_t i = 0; i < 256; i++)
                x[i] = (float)(0.02 * normal() * (1 + 0.1 * (double)(i / 32)));
            format_of(k)->from_float(x, block, 256);
            format_of(k)->to_float(block, y, 256);
            for (size_t i = 0; i < 256; i++) loss += pow((double)x[i] - (double)y[i], 2);
            for (size_t i = 0; i < 256; i += k->group) plain += plain_loss(k, x + i);
        }
        print_message("%-7s %.3f of plain rounding's loss\n", k->name, loss / plain);
        if (!(loss <= (searches ? 0.95 : 1.01) * plain))
            fail_msg("%s loses %g, plain rounding %g", k->name, loss, plain);
    }
}

TEST(mxfp4_takes_the_best_of_all_exponents) {
    const block_kind *k = block_kind_of(TYPE_MXFP4);
    for (int round = 0; round < 2000; round++) {
        float x[32], y[32];
        uint8_t block[17];
        double loss = 0, best = INFINITY;
        for (size_t i = 0; i < 32; i++)
            x[i] = (float)(normal() * (within(0, 31) == 0 ? within(1, 30) : 1));
        format_of(k)->from_float(x, block, 32);
        format_of(k)->to_float(block, y, 32);
        for (size_t i = 0; i < 32; i++) loss += pow((double)x[i] - (double)y[i], 2);
        for (int e = -14; e < 14; e++) {
            double sum = 0;
            for (size_t i = 0; i < 32; i++) {
                double near = INFINITY;
                for (int code = 0; code < 16; code++) {
                    block_parts p = {
                        .d = float_to_half(ldexpf(1, e)), .scale = {1}, .code = {(uint8_t)code}};
                    near = fmin(near, fabs((double)x[i] - block_weight(k, &p, 0)));
                }
                sum += near * near;
            }
            best = fmin(best, sum);
        }
        if (!(loss <= best * (1 + 1e-6))) fail_msg("%g is lost, %g would do", loss, best);
    }
}

/* No weight strays further than its group's values span, however they lie. */
TEST(rounding_keeps_every_weight_near_its_group) {
    for (size_t c = 0; c < BLOCK_KINDS; c++) {
        const block_kind *k = block_kinds + c;
        for (int round = 0; round < 500; round++) {
            float x[256], y[256], most = 0;
            uint8_t block[MOST_BYTES];
            double centre = within(-3, 3) * 0.5;
            for (size_t i = 0; i < 256; i++) { /* off centre, with outliers, with zeros */
                double outlier = within(0, 63) == 0 ? 20 : 1;
                x[i] = (float)(within(0, 7) == 0 ? 0 : (centre + normal()) * outlier);
                most = fmaxf(most, fabsf(x[i]));
            }
            format_of(k)->from_float(x, block, 256);
            format_of(k)->to_float(block, y, 256);
            for (size_t g = 0; g < 256; g += k->group) {
                double low = 0, high = 0;
                for (size_t i = g; i < g + k->group; i++) {
                    low = fmin(low, (double)x[i]);
                    high = fmax(high, (double)x[i]);
                }
                /* a step of the group, and of its scale and minimum */
                double step = (high - low) / (k->top < 4                            ? 1.4
                                              : k->top < 8 || k->type == TYPE_MXFP4 ? 3
                                                                                    : 6);
                if (k->block == 256) step += 2 * (double)most / k->scale_high;
                for (size_t i = g; i < g + k->group; i++)
                    if (!(fabs((double)x[i] - (double)y[i]) <= step))
                        fail_msg("%s, weight %zu: %g became %g, beyond %g", k->name, i,
                                 (double)x[i], (double)y[i], step);
            }
        }
    }
}

TEST(odd_floats_do_not_upset_rounding) {
    static const float odd[] = {0,        -0.0f,    1e-45f,    -1e-40f, 1e-30f, FLT_MAX,
                                -FLT_MAX, INFINITY, -INFINITY, NAN};
    enum { N = sizeof odd / sizeof *odd };
    for (uint32_t type = 0; type < TYPE_COUNT; type++) {
        const weight_format *f = weight_format_of(type);
        if (!f || !f->from_float) continue;
        for (size_t a = 0; a < N; a++) {
            for (size_t b = 0; b < N; b++) {
                float x[256], y[256];
                uint8_t block[MOST_BYTES];
                for (size_t i = 0; i < 256; i++) x[i] = i % 3 ? odd[a] : odd[b];
                f->from_float(x, block, 256);
                f->to_float(block, y, 256);
                if (a < 2 && b < 2)
                    for (size_t i = 0; i < 256; i++) assert_true(y[i] == 0);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_mean_what_their_parts_say),
        cmocka_unit_test(weights_that_a_format_holds_come_through_unchanged),
        cmocka_unit_test(rounding_loses_no_more_than_plain_rounding_with_exact_scales),
        cmocka_unit_test(mxfp4_takes_the_best_of_all_exponents),
        cmocka_unit_test(rounding_keeps_every_weight_near_its_group),
        cmocka_unit_test(odd_floats_do_not_upset_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
