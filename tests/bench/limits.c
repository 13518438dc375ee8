/* limits.c: see limits.h. */
#include "limits.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/compiler.h"
#include "base/mem.h"
#include "base/team.h"
#include "math/math.h"

#define BYTES ((size_t)768 << 20)
#define PASSES 7
#define SPINS 4000000ull

double bench_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *x, size_t n) {
    qsort(x, n, sizeof *x, by_value);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* Each member's share of a pass; what it returns keeps the work from being left out. */
typedef struct {
    uint64_t (*work)(const uint8_t *p, size_t n);
    const uint8_t *p;
    size_t n;
    uint64_t sink[TEAM_MAX];
} pass;

static void run_share(void *arg, team *t, size_t member) {
    pass *p = arg;
    size_t share = p->n / team_size(t);
    p->sink[member] += p->work(p->p + member * share, share);
}

typedef uint64_t words __attribute__((vector_size(64), may_alias));

static uint64_t read_all(const uint8_t *p, size_t n) {
    const words *w = (const words *)(const void *)p;
    words sum[4] = {{0}};
    for (size_t i = 0; i + 4 <= n / sizeof *w; i += 4) {
        __builtin_prefetch(w + i + 64);
        __builtin_prefetch(w + i + 66);
        for (size_t k = 0; k < 4; k++) sum[k] ^= w[i + k];
    }
    sum[0] ^= sum[1] ^ sum[2] ^ sum[3];
    return sum[0][0] ^ sum[0][1] ^ sum[0][2] ^ sum[0][3] ^ sum[0][4] ^ sum[0][5] ^ sum[0][6] ^
           sum[0][7];
}

#if defined(__x86_64__)
/* Sums that do not wait for one another, nor are known to be the same; unrolled, or they would live
 * in memory. */
#define CHAINS 12
#define SPIN(target_, type, set, step, lanes)                                       \
    __attribute__((target(target_))) static uint64_t lanes(const uint8_t *p, size_t n) { \
        type sum[CHAINS], x = set(3), y = set(5);                                   \
        (void)p, (void)n;                                                           \
        memset(sum, 0, sizeof sum);                                                 \
        UNROLL                                                                      \
        for (int i = 0; i < CHAINS; i++) __asm__ volatile("" : "+v"(sum[i]));       \
        for (uint64_t k = 0; k < SPINS; k++) {                                      \
            UNROLL                                                                  \
            for (int i = 0; i < CHAINS; i++) sum[i] = step;                         \
            __asm__ volatile("" : "+v"(x), "+v"(y));                                \
        }                                                                           \
        uint64_t out = 0;                                                           \
        for (int i = 0; i < CHAINS; i++) {                                          \
            uint64_t first;                                                         \
            memcpy(&first, &sum[i], sizeof first);                                  \
            out ^= first;                                                           \
        }                                                                           \
        return out;                                                                 \
    }
SPIN("avx512f,avx512vnni", __m512i, _mm512_set1_epi8, _mm512_dpbusd_epi32(sum[i], x, y), spin_vnni)
SPIN("avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps(x, y, sum[i]), spin_fma_512)
SPIN("avx2", __m256i, _mm256_set1_epi8,
     _mm256_add_epi32(sum[i], _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), _mm256_set1_epi16(1))),
     spin_maddubs)
SPIN("avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps(x, y, sum[i]), spin_fma_256)

#define TILE_MACS (16 * 16 * 64) /* of one instruction on full tiles */

__attribute__((target("amx-tile,amx-int8"))) static uint64_t spin_tiles(const uint8_t *p,
                                                                        size_t n) {
    (void)p, (void)n;
    _Alignas(64) uint8_t full[64] = {1}; /* palette 1; bytes of a line from 16 on, lines from 48 */
    for (size_t t = 0; t < 8; t++) full[16 + 2 * t] = 64, full[48 + t] = 16;
    __asm__ volatile("" ::"r"(full) : "memory"); /* all of it is read */
    _tile_loadconfig(full);
    _tile_zero(6);
    _tile_zero(7);
    for (uint64_t k = 0; k < SPINS / 16; k++) { /* four sums, which do not wait for one another */
        _tile_dpbssd(0, 6, 7);
        _tile_dpbssd(1, 6, 7);
        _tile_dpbssd(2, 6, 7);
        _tile_dpbssd(3, 6, 7);
    }
    _tile_release();
    return 0;
}
#endif

static double seconds_of(team *t, pass *p) {
    double s[PASSES];
    for (size_t i = 0; i < PASSES; i++) {
        double start = bench_now();
        team_run(t, run_share, p);
        s[i] = bench_now() - start;
    }
    return bench_median(s, PASSES);
}

limits measure_limits(size_t threads) {
    limits l = {.threads = threads};
    team *t = NULL;
    pl_error e;
    uint8_t *memory = mem_pages(BYTES);
    if (!memory || team_open(threads, &t, &e)) {
        fprintf(stderr, "limits: no memory or threads\n");
        exit(1);
    }
    memset(memory, 1, BYTES);
    pass p = {.work = read_all, .p = memory, .n = BYTES};
    l.read = (double)BYTES / seconds_of(t, &p);
#if defined(__x86_64__)
    double spins = (double)SPINS * CHAINS * (double)threads;
    bool wide = __builtin_cpu_supports("avx512vnni"), any = __builtin_cpu_supports("avx2");
    if (any) {
        p.work = wide ? spin_vnni : spin_maddubs;
        l.int8 = spins * (wide ? 64 : 32) / seconds_of(t, &p);
        p.work = wide ? spin_fma_512 : spin_fma_256;
        l.fp32 = spins * (wide ? 16 : 8) / seconds_of(t, &p);
    }
    if (kernels_named("amx")) { /* which has asked the system for the tiles */
        p.work = spin_tiles;
        l.tiles = (double)(SPINS / 16 * 4) * TILE_MACS * (double)threads / seconds_of(t, &p);
    }
#endif
    team_close(t);
    mem_pages_free(memory, BYTES);
    return l;
}
