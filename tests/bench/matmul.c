/* matmul.c: how near the matrix products come to this machine's limits. For every table that runs
 * here and every weight type, on one thread and a matrix of 2048 inputs and 5632 outputs (the
 * feed-forward of a 1.1 B llama): one row (decode) in GB/s of weights, beside the read bandwidth
 * over the same memory in the same run; 128 rows (prefill) in 10^9 multiply-adds per second.
 * Medians. The weights of one pass add up to more than most caches hold. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "math/math.h"

enum { N_IN = 2048, N_OUT = 5632, ROWS = 128, REPEATS = 7 };
static const size_t arena_bytes = (size_t)192 << 20;
static const double enough_seconds = 0.4; /* per figure: a slow table gets fewer repeats */

static const struct {
    weight_type type;
    const char *name;
    size_t row_bytes;
} types[] = {
    {TYPE_F32, "F32", N_IN * 4},         {TYPE_F16, "F16", N_IN * 2},
    {TYPE_BF16, "BF16", N_IN * 2},       {TYPE_Q8_0, "Q8_0", N_IN / 32 * 34},
    {TYPE_Q4_0, "Q4_0", N_IN / 32 * 18}, {TYPE_Q4_1, "Q4_1", N_IN / 32 * 20},
    {TYPE_Q5_0, "Q5_0", N_IN / 32 * 22}, {TYPE_Q5_1, "Q5_1", N_IN / 32 * 24},
    {TYPE_Q2_K, "Q2_K", N_IN / 256 * 84}, {TYPE_Q3_K, "Q3_K", N_IN / 256 * 110},
    {TYPE_Q4_K, "Q4_K", N_IN / 256 * 144}, {TYPE_Q5_K, "Q5_K", N_IN / 256 * 176},
    {TYPE_Q6_K, "Q6_K", N_IN / 256 * 210}, {TYPE_IQ4_NL, "IQ4_NL", N_IN / 32 * 18},
    {TYPE_IQ4_XS, "IQ4_XS", N_IN / 256 * 136}, {TYPE_MXFP4, "MXFP4", N_IN / 32 * 17},
};

/* This thread's own time, so that what else runs on the machine disturbs less. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A pass: something that takes `bytes` of weights through the processor. */
typedef struct {
    const kernels *k;
    matrix w;
    size_t copies, n_rows, x_stride;
    const void *x;
    float *y;
    const uint8_t *arena;
    uint64_t sink;
} pass;

static void matmul_pass(pass *p) {
    for (size_t c = 0; c < p->copies; c++) {
        matrix w = p->w;
        w.data = w.packed = p->arena +
                            c * N_OUT * w.row_bytes; /* a packed matrix is hardly larger */
        p->k->matmul(&w, 0, N_OUT, p->x, p->x_stride, p->n_rows, p->y, N_OUT);
    }
}

typedef uint64_t words __attribute__((vector_size(64), may_alias));

static void read_pass(pass *p) {
    const words *w = (const words *)p->arena;
    words sum = {0};
    size_t n = arena_bytes / sizeof *w;
    for (size_t i = 0; i < n; i += 4) sum ^= (w[i] ^ w[i + 1]) ^ (w[i + 2] ^ w[i + 3]);
    p->sink += sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7];
}

static double median_seconds(void (*run)(pass *), pass *p) {
    double t[REPEATS], begin = now();
    size_t n = 0;
    do {
        double start = now();
        run(p);
        t[n++] = now() - start;
    } while (n < REPEATS && now() - begin < enough_seconds);
    qsort(t, n, sizeof *t, by_value);
    return t[n / 2];
}

int main(void) {
    uint8_t *arena = mem_pages(arena_bytes);
    float *x = mem_aligned(ROWS * N_IN * sizeof *x),
          *y = mem_aligned((size_t)ROWS * N_OUT * sizeof *y);
    uint8_t *prepared = mem_aligned(ROWS * act_q8_stride(N_IN));
    if (!arena || !x || !y || !prepared) {
        fprintf(stderr, "bench matmul: no memory\n");
        return 1;
    }
    /* 0x2c as high byte: small positive numbers in every float format, and sane block scales. */
    uint32_t state = 1;
    for (size_t i = 0; i < arena_bytes; i++) {
        state = state * 1664525u + 1013904223u;
        arena[i] = i & 1 ? 0x2c : (uint8_t)(state >> 24);
    }
    for (size_t i = 0; i < ROWS * N_IN; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)state * 0x1p-31f;
    }

    pass p = {.arena = arena, .y = y};
    double bandwidth = (double)arena_bytes / median_seconds(read_pass, &p) * 1e-9;
    printf("matmul, 2048 x 5632, one thread; reading memory: %.1f GB/s\n", bandwidth);
    printf("%-8s %-6s %12s %14s %18s\n", "table", "type", "1 row, GB/s", "of bandwidth",
           "128 rows, GMAC/s");
    const kernels *k;
    for (size_t i = 0; (k = kernels_at(i)) != NULL; i++) {
        for (size_t r = 0; r < ROWS; r++)
            k->quantize_q8(x + r * N_IN, N_IN, prepared + r * act_q8_stride(N_IN));
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            matrix shape = {.type = types[t].type, .n_in = N_IN, .n_out = N_OUT};
            size_t bytes = k->packs ? matrix_groups(&shape) * matrix_group_bytes(&shape)
                                    : N_OUT * types[t].row_bytes;
            bool slow = strcmp(k->name, "scalar") == 0;
            p.k = k;
            p.w = (matrix){.type = types[t].type,
                           .n_in = N_IN,
                           .n_out = N_OUT,
                           .row_bytes = bytes / N_OUT};
            p.x = matrix_act_kind(types[t].type) == ACT_F32 ? (const void *)x : prepared;
            p.x_stride = N_IN;
            p.n_rows = 1;
            p.copies = slow ? 1 : arena_bytes / bytes;
            double decode = (double)(bytes * p.copies) / median_seconds(matmul_pass, &p) * 1e-9;
            p.copies = 1;
            p.n_rows = slow ? 4 : ROWS;
            double macs = (double)N_IN * N_OUT * (double)p.n_rows;
            double prefill = macs / median_seconds(matmul_pass, &p) * 1e-9;
            printf("%-8s %-6s %12.1f %13.0f%% %18.1f\n", k->name, types[t].name, decode,
                   100 * decode / bandwidth, prefill);
        }
    }
    mem_free(prepared);
    mem_free(y);
    mem_free(x);
    mem_pages_free(arena, arena_bytes);
    return p.sink == 42; /* keeps the reads */
}
