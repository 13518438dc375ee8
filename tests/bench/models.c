/* models.c: decode and prefill of whole models beside this machine's limits, measured in the same
 * run.
 *
 *     models [--json FILE] [--threads N] [--rounds N] [MODEL.gguf | SHAPE:MIX ...]
 *
 * Without a model: the shapes and weight formats below, and the bundled model. Every figure is a
 * median. Decode: the weights that a token reads, over the time it takes, against the read
 * bandwidth. Prefill of 512 tokens: the multiply-adds of the weight matrices over the time, against
 * the peak of int8 or float multiply-adds. Behind 4,000 tokens: the time of a token there, and of a
 * token of a prefill of 4,000, as multiples of those at the beginning. The peak of int8 is that of
 * vectors; where there are tiles, theirs is printed beside it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decode/engine.h"
#include "limits.h"
#include "run.h"
#include "synthetic.h"

enum { PROMPT = 512, LONG = 4000, DECODED = 32 };

static const char *const standard[] = {
    "llama-1.1b:Q4_0", "llama-1.1b:Q8_0",       "llama-1.1b:Q4_K_M", "llama-1.1b:Q6_K",
    "llama-1.1b:Q5_K", "llama-1.1b:IQ4_NL",     "llama-1.1b:F16",    "qwen2-0.5b:Q4_0",
    "qwen2-0.5b:Q8_0", "scripts/demo/demo.gguf"};

typedef struct {
    char name[80];
    double load, decode, prefill, decode_long, prefill_long; /* seconds; seconds per token */
    double read, macs;      /* bytes of weights and multiply-adds per token */
    size_t file_bytes, weight_bytes, cache_bytes, resident;
    bool floats;
} figures;

/* Of this process, now; in bytes. */
static size_t resident(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%*d %ld", &pages) != 1) pages = 0;
    if (f) fclose(f);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- one model ---- */

static void weigh(const matrix *w, double part, figures *f) {
    if (!w->data) return;
    f->read += part * (double)(w->packed ? matrix_groups(w) * matrix_group_bytes(w)
                                         : w->n_out * w->row_bytes);
    f->macs += part * (double)w->n_in * (double)w->n_out;
}

static void weigh_model(const model *m, figures *f) {
    weigh(&m->output, 1, f);
    for (uint32_t i = 0; i < m->hp.n_layer; i++) {
        const layer *l = &m->layers[i];
        const matrix *all[] = {&l->wq,         &l->wk,          &l->wv,         &l->wo,
                               &l->w_gate,     &l->w_up,        &l->w_down,     &l->mixer.in,
                               &l->mixer.gate, &l->mixer.alpha, &l->mixer.beta, &l->mixer.out};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) weigh(all[k], 1, f);
        for (uint32_t x = 0; l->experts.n_ff && x < m->hp.n_expert_used; x++) {
            weigh(&l->experts.gate[x], 1, f);
            weigh(&l->experts.up[x], 1, f);
            weigh(&l->experts.down[x], 1, f);
        }
        f->floats = f->floats ||
                    matrix_act_kind((l->w_down.data ? &l->w_down : l->experts.down)->type) ==
                        ACT_F32;
    }
}

/* Seconds per token, after the first, of a generation behind a node. */
static double generate(engine *g, cache_node *n) {
    generate_options o = {.cache = n, .max_new_tokens = DECODED + 1, .sampler = sampler_defaults()};
    pl_error e;
    job *j;
    bench_check(job_generate(g, &o, &j, &e), &e);
    bench_check(job_run(j, &e), &e);
    double seconds = job_result(j).decode_seconds / DECODED;
    job_close(j);
    return seconds;
}

static figures measure(const char *path, const char *name, uint32_t threads, size_t rounds) {
    figures f = {0};
    pl_error e;
    engine *g;
    cache_node *empty, *n;
    double *s = malloc(rounds * sizeof *s), start = bench_now();
    snprintf(f.name, sizeof f.name, "%s", name);
    engine_options o = {.model = {.path = path, .kv = KV_F16, .threads = threads}};
    bench_check(engine_open(&o, &g, &e), &e);
    f.load = bench_now() - start;
    f.file_bytes = gguf_file_size(engine_model(g)->file);
    f.weight_bytes = engine_model(g)->packed_bytes;
    weigh_model(engine_model(g), &f);
    bench_check(node_empty(engine_store(g), &empty, &e), &e);
    size_t prompt = engine_model(g)->context < PROMPT + DECODED + 1 ? engine_model(g)->context / 2
                                                                    : PROMPT;
    for (size_t i = 0; i < rounds; i++) {
        n = bench_extended(g, empty, prompt, i + 1);
        s[i] = bench_process(g, n) / (double)prompt;
        node_release(n);
    }
    f.prefill = bench_median(s, rounds);
    for (size_t i = 0; i < rounds; i++) {
        n = bench_extended(g, empty, 8, i + 100);
        bench_process(g, n);
        s[i] = generate(g, n);
        node_release(n);
    }
    f.decode = bench_median(s, rounds);
    if (engine_model(g)->context >= LONG + DECODED + 1) {
        n = bench_extended(g, empty, LONG, 1000);
        f.prefill_long = bench_process(g, n) / LONG;
        f.cache_bytes = pool_used_bytes(cache_store_pool(engine_store(g)));
        for (size_t i = 0; i < rounds; i++) s[i] = generate(g, n);
        f.decode_long = bench_median(s, rounds);
        f.resident = resident();
        node_release(n);
    } else {
        f.resident = resident();
    }
    node_release(empty);
    engine_close(g);
    free(s);
    return f;
}

/* ---- reports ---- */

static void print_row(const figures *f, const limits *l) {
    double peak = f->floats ? l->fp32 : l->int8;
    printf("%-20s %6.2f %9.1f %6.1f %5.0f%% %9.0f %6.0f %5.0f%% %6.2f %6.2f %7.0f %5.2f\n", f->name,
           f->load, 1 / f->decode, f->read / f->decode / 1e9, 100 * f->read / f->decode / l->read,
           1 / f->prefill, f->macs / f->prefill / 1e9,
           peak > 0 ? 100 * f->macs / f->prefill / peak : 0, f->decode_long / f->decode,
           f->prefill_long / f->prefill, (double)f->resident / 1e6,
           (double)f->resident / (double)(f->file_bytes + f->cache_bytes));
    fflush(stdout);
}

static void write_json(const char *path, const figures *f, size_t n, const limits *l) {
    FILE *out = fopen(path, "we");
    if (!out) {
        perror(path);
        exit(1);
    }
    fprintf(out,
            "{\"threads\": %zu, \"read_bytes_per_s\": %.4g, \"int8_macs_per_s\": %.4g, "
            "\"fp32_macs_per_s\": %.4g, \"int8_tile_macs_per_s\": %.4g, \"models\": [",
            l->threads, l->read, l->int8, l->fp32, l->tiles);
    for (size_t i = 0; i < n; i++)
        fprintf(out,
                "%s\n {\"name\": \"%s\", \"load_s\": %.4g, \"decode_tokens_per_s\": %.5g, "
                "\"decode_bytes_per_token\": %.6g, "
                "\"prefill_tokens_per_s\": %.5g, \"macs_per_token\": %.6g, \"decode_growth_4000\": "
                "%.4g, "
                "\"prefill_growth_4000\": %.4g, \"resident_bytes\": %zu, \"file_bytes\": %zu, "
                "\"cache_bytes\": %zu}",
                i ? "," : "", f[i].name, f[i].load, 1 / f[i].decode, f[i].read, 1 / f[i].prefill,
                f[i].macs, f[i].decode_long / f[i].decode, f[i].prefill_long / f[i].prefill,
                f[i].resident, f[i].file_bytes, f[i].cache_bytes);
    fprintf(out, "]}\n");
    fclose(out);
}

int main(int argc, char **argv) {
    const char *json = NULL;
    const char *const *models = standard;
    size_t n_models = sizeof standard / sizeof *standard, rounds = 5, done = 0;
    uint32_t threads = (uint32_t)team_default_size();
    int i = 1;
    for (; i + 1 < argc && !strncmp(argv[i], "--", 2); i += 2) {
        if (!strcmp(argv[i], "--json")) json = argv[i + 1];
        else if (!strcmp(argv[i], "--threads")) threads = (uint32_t)atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--rounds")) rounds = (size_t)atoi(argv[i + 1]);
    }
    if (threads < 1 || rounds < 1) {
        fprintf(stderr,
                "models [--json FILE] [--threads N] [--rounds N] [MODEL.gguf | SHAPE:MIX ...]\n");
        return 1;
    }
    if (i < argc) {
        models = (const char *const *)(argv + i);
        n_models = (size_t)(argc - i);
    }
    figures *all = calloc(n_models, sizeof *all);
    limits l = measure_limits(threads);
    printf("%zu threads: reads %.1f GB/s, int8 %.0f and fp32 %.0f GMAC/s", l.threads, l.read / 1e9,
           l.int8 / 1e9, l.fp32 / 1e9);
    if (l.tiles > 0) printf("; int8 in tiles %.0f", l.tiles / 1e9);
    printf("\n");
    printf("%-20s %6s %9s %6s %6s %9s %6s %6s %6s %6s %7s %5s\n", "model", "load s", "decode/s",
           "GB/s", "limit", "prefill/s", "GMAC/s", "limit", "x4000", "x4000", "MB", "x");
    for (size_t k = 0; k < n_models; k++) {
        char shape[64], *path;
        const char *colon = strchr(models[k], ':');
        if (colon && (size_t)(colon - models[k]) < sizeof shape) {
            snprintf(shape, sizeof shape, "%.*s", (int)(colon - models[k]), models[k]);
            if (!synthetic_find(shape)) {
                fprintf(stderr, "%s: no such shape\n", shape);
                return 1;
            }
            path = synthetic_model(bench_folder(), synthetic_find(shape), colon + 1);
        } else {
            path = strdup(models[k]);
        }
        const char *slash = strrchr(models[k], '/');
        all[done] = measure(path, slash ? slash + 1 : models[k], threads, rounds);
        print_row(&all[done++], &l);
        free(path);
    }
    if (json) write_json(json, all, done, &l);
    free(all);
    return 0;
}
