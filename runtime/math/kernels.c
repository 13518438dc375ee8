/* kernels.c: which table runs here, and the few sizes that do not depend on the table. A table is
 * offered only when the processor has, and the system saves the registers of, everything its file
 * was compiled for. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "math/tables.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* __builtin_cpu_supports looks at XCR0 as well, so that AVX which the system does not save counts
 * as absent; clang's does not know f16c, whose registers are AVX's. */
static bool has_avx2(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_F16C)) return false;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* No compiler here knows its name yet. */
static bool has_avxvnni(void) {
    unsigned a, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

/* The tiles' registers are large, and Linux saves those of a process that has asked for them
 * (Documentation/arch/x86/xstate.rst). From then on its signal frames are larger by 8 KiB, for
 * which stacks of signal handlers must have room: where one has not, the system says no. */
#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18
static bool has_amx(void) {
    unsigned a, b, c, d;
    const unsigned tile = 1u << 24, int8 = 1u << 25;
    if (!has_avx512() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    return (d & tile) && (d & int8) &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

/* The dot products, and what else ARMv8.2 lets a compiler use. */
static bool has_neon(void) {
    const unsigned long all = HWCAP_ASIMDDP | HWCAP_ASIMDRDM | HWCAP_ATOMICS | HWCAP_CRC32;
    return (getauxval(AT_HWCAP) & all) == all;
}
#endif

static bool always(void) { return true; }

/* Best first. */
static const struct {
    const kernels *table;
    bool (*runs_here)(void);
} tables[] = {
#if defined(__x86_64__)
    {&kernels_amx, has_amx},
    {&kernels_avx512, has_avx512},
    {&kernels_avxvnni, has_avxvnni},
    {&kernels_avx2, has_avx2},
#elif defined(__aarch64__)
    {&kernels_neon, has_neon},
#endif
    {&kernels_scalar, always},
};

#define N_TABLES (sizeof tables / sizeof *tables)

const kernels *kernels_at(size_t i) {
    for (size_t t = 0; t < N_TABLES; t++)
        if (tables[t].runs_here() && i-- == 0) return tables[t].table;
    return NULL;
}

const kernels *kernels_named(const char *name) {
    for (size_t t = 0; t < N_TABLES; t++)
        if (strcmp(tables[t].table->name, name) == 0)
            return tables[t].runs_here() ? tables[t].table : NULL;
    return NULL;
}

const kernels *kernels_best(void) {
    const char *name = getenv("PERILUNE_ISA");
    const kernels *k = name ? kernels_named(name) : NULL;
    return k ? k : kernels_at(0);
}

bool matrix_supported(weight_type type) {
    switch (type) {
    case TYPE_F32:
    case TYPE_F16:
    case TYPE_BF16:
    case TYPE_Q8_0:
    case TYPE_Q4_0:
    case TYPE_Q4_1:
    case TYPE_Q5_0:
    case TYPE_Q5_1:
    case TYPE_Q2_K:
    case TYPE_Q3_K:
    case TYPE_Q4_K:
    case TYPE_Q5_K:
    case TYPE_Q6_K:
    case TYPE_IQ4_NL:
    case TYPE_MXFP4:
    case TYPE_IQ4_XS: return true;
    default: return false;
    }
}

act_kind matrix_act_kind(weight_type type) {
    return type == TYPE_F32 || type == TYPE_F16 || type == TYPE_BF16 ? ACT_F32 : ACT_Q8;
}

static const char *const kv_names[KV_TYPES] = {"f32", "f16", "q8_0"};

const char *kv_type_name(kv_type t) { return kv_names[t]; }

bool kv_type_named(const char *name, kv_type *out) {
    for (int t = 0; t < KV_TYPES; t++)
        if (strcmp(kv_names[t], name) == 0) return *out = (kv_type)t, true;
    return false;
}

/* The slots from `slot` on of n runs of KV_TILE items. */
static void clear_runs(uint8_t *p, size_t n, size_t item, size_t slot) {
    for (size_t i = 0; i < n; i++)
        memset(p + (i * KV_TILE + slot) * item, 0, (KV_TILE - slot) * item);
}

void kv_clear(const attention_shape *a, uint8_t *block, size_t slot) {
    size_t item = kv_type_bytes(a->type);
    for (size_t h = 0; h < a->n_head_kv; h++) {
        uint8_t *keys = block + a->k_offset + h * kv_head_bytes(a->type, a->d_k);
        uint8_t *values = block + a->v_offset + h * kv_head_bytes(a->type, a->d_v);
        clear_runs(keys, a->d_k, item, slot);
        clear_runs(values, 1, a->d_v * item, slot);
        if (a->type != KV_Q8_0) continue;
        clear_runs(keys + a->d_k * KV_TILE, kv_groups(a->d_k), sizeof(uint16_t), slot);
        clear_runs(values + a->d_v * KV_TILE, kv_groups(a->d_v), sizeof(uint16_t), slot);
    }
}

size_t attention_part_floats(const attention_shape *a) {
    return PART_VALUES + query_value_floats(a->d_v);
}

size_t attention_scratch(const attention_shape *a) {
    size_t values, floats, bytes, tile;
    size_t queries = a->n_head / a->n_head_kv;
    if (!checked_round_up(a->d_v, 16, &values) || !checked_mul(values, 2, &floats) ||
        !checked_add(floats, QUERY_VALUES, &floats) ||
        !checked_mul(floats, sizeof(float), &bytes) ||
        !checked_mul(queries, ATTENTION_ROWS, &queries) || !checked_mul(bytes, queries, &bytes) ||
        !checked_add(bytes, query_maxima_floats(a->n_head / a->n_head_kv) * sizeof(float),
                     &bytes) ||
        !checked_add(a->d_k, a->d_v, &tile) || !checked_mul(tile, KV_TILE * sizeof(float), &tile) ||
        !checked_add(bytes, tile, &bytes))
        return SIZE_MAX; /* more than any allocator gives */
    return bytes;
}
