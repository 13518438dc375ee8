/* test_recurrence.c: the kernels of recurrent layers and of gates against double precision: one
 * token's update of a head's state, with and without a state before it, in place and elsewhere. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "math/math.h"
#include "support.h"
#include "tiny.h"

#define EPS 0x1p-24
#define MOST 4096
#define EACH_TABLE(k) for (size_t t_ = 0; (k = kernels_at(t_)) != NULL; t_++)

static uint64_t seed = 11;
static double normal(void) {
    double sum = 0;
    for (int i = 0; i < 4; i++) sum += (double)(tiny_random(&seed) >> 11) * 0x1p-53 - 0.5;
    return sum * 1.7320508;
}
static void fill(float *x, size_t n, double size) {
    for (size_t i = 0; i < n; i++) x[i] = (float)(size * normal());
}
static void check_near(const kernels *k, const char *what, size_t i, double got, double want,
                       double bound) {
    if (!(fabs(got - want) <= bound))
        fail_msg("%s, %s, %zu: %.9g, expected %.9g +- %.3g", k->name, what, i, got, want, bound);
}

TEST(gates_and_products_are_what_they_say) {
    static const size_t sizes[] = {1, 7, 8, 16, 31, 64, 100, 1000};
    static float x[MOST], y[MOST], g[MOST], out[MOST];
    const kernels *k;
    EACH_TABLE(k)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            size_t n = sizes[s];
            double sum = 0, size = 0;
            fill(x, n, 1), fill(y, n, 1), fill(g, n, 5);
            memcpy(out, x, sizeof out);
            k->mul(out, y, n);
            for (size_t i = 0; i < n; i++) assert_true(out[i] == x[i] * y[i]);
            memcpy(out, x, sizeof out);
            k->mul_add(out, y, g, n);
            for (size_t i = 0; i < n; i++) {
                double product = (double)y[i] * (double)g[i];
                check_near(k, "mul_add", i, (double)out[i], (double)x[i] + product,
                           2 * EPS * (fabs((double)x[i]) + fabs(product)));
                sum += (double)x[i] * (double)y[i];
                size += fabs((double)x[i] * (double)y[i]);
            }
            check_near(k, "dot", n, (double)k->dot(x, y, n), sum,
                       ((double)n / 16 + 20) * EPS * size);
            memcpy(out, x, sizeof out);
            k->sigmoid_gate(g, n, out);
            for (size_t i = 0; i < n; i++) {
                double want = (double)x[i] / (1 + exp(-(double)g[i]));
                check_near(k, "sigmoid_gate", i, (double)out[i], want, 10 * EPS * fabs(want));
            }
            memcpy(out, g, sizeof out);
            k->sigmoid_gate(out, n, out);
            for (size_t i = 0; i < n; i++) {
                double want = (double)g[i] / (1 + exp(-(double)g[i]));
                check_near(k, "silu", i, (double)out[i], want, 10 * EPS * fabs(want));
            }
            fill(y, n, 9);
            k->swiglu_clamped(g, y, n, out);
            for (size_t i = 0; i < n; i++) {
                double a = fmin((double)g[i], 7), b = fmax(-7, fmin(7, (double)y[i]));
                double want = a / (1 + exp(-1.702 * a)) * (b + 1);
                check_near(k, "swiglu_clamped", i, (double)out[i], want, 40 * EPS * (fabs(a) * 8));
            }
            k->swiglu_clamped(g, y, n, g);
            assert_memory_equal(g, out, n * sizeof *g);
        }
}

/* What both recurrences do to one state, in double. */
typedef struct { double s[MOST], o[128], size[128]; } head_state;

static void delta(head_state *d, size_t K, size_t V, const float *q, const float *k, const float *v,
                  double decay, double beta) {
    for (size_t i = 0; i < V; i++) {
        double held = 0;
        d->o[i] = d->size[i] = 0;
        for (size_t j = 0; j < K; j++) held += decay * d->s[j * V + i] * (double)k[j];
        for (size_t j = 0; j < K; j++) {
            d->s[j * V + i] = decay * d->s[j * V + i] + beta * ((double)v[i] - held) * (double)k[j];
            d->o[i] += d->s[j * V + i] * (double)q[j];
            d->size[i] += fabs(d->s[j * V + i] * (double)q[j]);
        }
    }
}

static void ssm(head_state *d, size_t K, size_t V, const float *x, const float *b, const float *c,
                double decay) {
    for (size_t i = 0; i < V; i++) {
        d->o[i] = d->size[i] = 0;
        for (size_t j = 0; j < K; j++) {
            d->s[j * V + i] = decay * d->s[j * V + i] + (double)b[j] * (double)x[i];
            d->o[i] += d->s[j * V + i] * (double)c[j];
            d->size[i] += fabs(d->s[j * V + i] * (double)c[j]);
        }
    }
}

/* Twenty tokens from an empty state: near double, and the same bits in place, from zeros, and from
 * elsewhere. */
static void check_recurrence(const kernels *k, size_t K, size_t V, bool is_delta) {
    static head_state d;
    static float place[MOST], from[MOST], to[MOST], a[128], b[128], v[128], o[128], again[128];
    memset(&d, 0, sizeof d);
    memset(from, 0, sizeof from);
    for (int token = 0; token < 20; token++) {
        float decay = (float)(0.8 + 0.2 * fabs(normal()) / 4), beta = (float)(0.5 + 0.1 * normal());
        fill(a, K, 1 / sqrt((double)K)), fill(b, K, 1 / sqrt((double)K)), fill(v, V, 1);
        if (is_delta) {
            k->delta_step(K, V, token ? place : NULL, place, a, b, v, decay, beta, o);
            k->delta_step(K, V, from, to, a, b, v, decay, beta, again);
            delta(&d, K, V, a, b, v, (double)decay, (double)beta);
        } else {
            k->ssm_step(K, V, token ? place : NULL, place, v, a, b, decay, o);
            k->ssm_step(K, V, from, to, v, a, b, decay, again);
            ssm(&d, K, V, v, a, b, (double)decay);
        }
        assert_memory_equal(o, again, V * sizeof *o);
        assert_memory_equal(place, to, K * V * sizeof *to);
        memcpy(from, to, K * V * sizeof *to);
        for (size_t i = 0; i < V; i++)
            check_near(k, is_delta ? "delta_step" : "ssm_step", i, (double)o[i], d.o[i],
                       40 * (double)(K + 20) * EPS * (d.size[i] + 0.1));
    }
}

TEST(states_are_updated_as_defined) {
    static const struct {
        size_t k, v;
    } sizes[] = {{16, 16}, {32, 128}, {20, 7}, {1, 1}, {7, 33}, {64, 64}, {17, 40}};
    const kernels *k;
    EACH_TABLE(k)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            check_recurrence(k, sizes[i].k, sizes[i].v, true);
            check_recurrence(k, sizes[i].k, sizes[i].v, false);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gates_and_products_are_what_they_say),
        cmocka_unit_test(states_are_updated_as_defined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
