/* sample.c: what it costs to pick a token from the logits of a large vocabulary. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "decode/sampler.h"

enum { N = 131072, REPEATS = 400 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void) {
    float *base = mem_array(N, sizeof *base), *l = mem_array(N, sizeof *l);
    double seconds[REPEATS];
    uint64_t state = 1;
    for (size_t i = 0; i < N; i++) {
        double u = 0;
        for (int k = 0; k < 12; k++) u += philox_uniform(7, state++);
        base[i] = (float)(3 * (u - 6));
    }
    struct { const char *name; sampler_options o; } cases[12];
    size_t n = 0;
    sampler_options d = sampler_defaults();
    cases[n].name = "greedy", cases[n++].o = d;
    d.temperature = 0.8f;
    cases[n].name = "temperature", cases[n++].o = d;
    d.top_k = 40, d.top_p = 0.95f, d.min_p = 0.05f;
    cases[n].name = "default chain", cases[n++].o = d;
    d.top_k = 0, d.min_p = 0;
    cases[n].name = "top_p", cases[n++].o = d;
    d.top_p = 1, d.typical_p = 0.9f;
    cases[n].name = "typical", cases[n++].o = d;
    d.typical_p = 1, d.min_p = 0.05f;
    cases[n].name = "min_p", cases[n++].o = d;
    d.min_p = 0, d.top_n_sigma = 1;
    cases[n].name = "top_n_sigma", cases[n++].o = d;
    d.top_n_sigma = 0, d.mirostat = 2;
    cases[n].name = "mirostat", cases[n++].o = d;
    for (size_t c = 0; c < n; c++) {
        sampler *s;
        pl_error e;
        if (sampler_new(&cases[c].o, kernels_best(), N, &s, &e)) return 1;
        for (size_t r = 0; r < REPEATS; r++) {
            memcpy(l, base, N * sizeof *l);
            double begin = now();
            sampler_pick(s, l, NULL, 0, r);
            seconds[r] = now() - begin;
        }
        sampler_free(s);
        qsort(seconds, REPEATS, sizeof *seconds, by_value);
        printf("%-16s %8.1f us  (best %.1f)\n", cases[c].name, seconds[REPEATS / 2] * 1e6, seconds[0] * 1e6);
    }
    return 0;
}
