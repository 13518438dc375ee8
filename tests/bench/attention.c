/* attention.c: attention of one layer, on one thread, beside this machine's peak of float
 * multiply-adds: 32 query heads on 4 key/value heads of 64 (a 1.1 B llama) behind so many
 * positions, for every table with vectors that runs here and every type of keys and values: one row
 * (decode) and 16 (prefill), in microseconds per row and in 10^9 multiply-adds per second. Several
 * layers' keys and values are walked through in turn, so that they come from memory as they do in a
 * step. Medians. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "limits.h"
#include "math/math.h"

enum {
    HEADS = 32,
    KV_HEADS = 4,
    SIZE = 64,
    POSITIONS = 4096,
    LAYERS = 16,
    REPEATS = 9,
    BLOCKS = POSITIONS / KV_TILE
};

typedef struct {
    const kernels *k;
    attention_shape shape[LAYERS];
    const uint8_t *blocks[BLOCKS];
    float *q, *out;
    void *scratch;
} bench;

static double seconds_per_row(const bench *b, size_t rows) {
    double s[REPEATS];
    attention_row row[ATTENTION_ROWS];
    for (size_t i = 0; i < rows; i++)
        row[i] = (attention_row){b->blocks, (uint32_t)(POSITIONS - rows + i),
                                 b->q + i * HEADS * SIZE, b->out + i * HEADS * SIZE};
    for (size_t i = 0; i < REPEATS; i++) {
        double start = bench_now();
        for (size_t l = 0; l < LAYERS; l++)
            for (size_t h = 0; h < KV_HEADS; h++)
                b->k->attention(&b->shape[l], row, rows, h, b->scratch);
        s[i] = (bench_now() - start) / (double)(LAYERS * rows);
    }
    return bench_median(s, REPEATS);
}

static void measure(const kernels *k, kv_type type, const char *name, double peak) {
    static bench b;
    size_t head = kv_head_bytes(type, SIZE), layer = 2 * KV_HEADS * head, block = LAYERS * layer;
    uint8_t *memory = mem_pages(BLOCKS * block);
    float *k_row = mem_aligned(KV_HEADS * SIZE * sizeof *k_row);
    b.k = k;
    for (size_t l = 0; l < LAYERS; l++)
        b.shape[l] = (attention_shape){.n_head = HEADS,
                                       .n_head_kv = KV_HEADS,
                                       .d_k = SIZE,
                                       .d_v = SIZE,
                                       .type = type,
                                       .scale = 0.125f,
                                       .k_offset = l * layer,
                                       .v_offset = l * layer + KV_HEADS * head};
    b.q = mem_aligned(ATTENTION_ROWS * HEADS * SIZE * sizeof *b.q);
    b.out = mem_aligned(ATTENTION_ROWS * HEADS * SIZE * sizeof *b.out);
    b.scratch = mem_aligned(attention_scratch(&b.shape[0]));
    if (!memory || !k_row || !b.q || !b.out || !b.scratch) exit(1);
    srand(1);
    for (size_t i = 0; i < ATTENTION_ROWS * HEADS * SIZE; i++)
        b.q[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    for (size_t i = 0; i < BLOCKS; i++) b.blocks[i] = memory + i * block;
    for (size_t p = 0; p < POSITIONS; p++) {
        for (size_t i = 0; i < KV_HEADS * SIZE; i++)
            k_row[i] = (float)rand() / (float)RAND_MAX - 0.5f;
        for (size_t l = 0; l < LAYERS; l++)
            k->kv_store(&b.shape[l], memory + p / KV_TILE * block, p % KV_TILE, k_row, k_row);
    }
    double one = seconds_per_row(&b, 1), many = seconds_per_row(&b, ATTENTION_ROWS),
           macs = 2.0 * HEADS * SIZE * POSITIONS;
    printf("%-8s %-5s %9.1f us %6.1f %4.0f%% %12.1f us %6.1f %4.0f%%\n", k->name, name, one * 1e6,
           macs / one / 1e9, 100 * macs / one / peak, many * 1e6, macs / many / 1e9,
           100 * macs / many / peak);
    mem_pages_free(memory, BLOCKS * block);
    mem_free(k_row);
    mem_free(b.q);
    mem_free(b.out);
    mem_free(b.scratch);
}

int main(void) {
    limits l = measure_limits(1);
    printf("attention behind %d positions, one thread; peak %.1f GMAC/s\n%-14s %-25s %s\n",
           POSITIONS, l.fp32 / 1e9, "", "one row", "a row of 16");
    for (size_t i = 0; kernels_at(i) && kernels_at(i)->packs; i++) {
        measure(kernels_at(i), KV_F32, "f32", l.fp32);
        measure(kernels_at(i), KV_F16, "f16", l.fp32);
        measure(kernels_at(i), KV_Q8_0, "q8_0", l.fp32);
    }
    return 0;
}
