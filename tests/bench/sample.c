/* sample.c: what it costs to choose a token from the logits of a large vocabulary: every stage and
 * the usual chain in C, the same chain behind a stage in Lua, and the arithmetic of logits in Lua.
 * Microseconds of this thread, medians, beside the time that reading and writing such a row once
 * takes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <lauxlib.h>
#include <lualib.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "bind/perilune_lua.h"
#include "decode/sampler.h"

enum { N = 131072, REPEATS = 501 };

static float *base, *l;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + 1e-3 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median of the time that `work` takes on a fresh row. */
static double median(void (*work)(void *user, size_t i), void *user) {
    static double times[REPEATS];
    for (size_t i = 0; i < REPEATS; i++) {
        memcpy(l, base, N * sizeof *l);
        double begun = now();
        work(user, i);
        times[i] = now() - begun;
    }
    qsort(times, REPEATS, sizeof *times, by_value);
    return times[REPEATS / 2];
}

/* A few tokens stand out of many, as after a text; the rest is a bell. */
static void make_row(void) {
    rng r = rng_seeded(1);
    for (size_t i = 0; i < N; i++) {
        double x = -6;
        for (int k = 0; k < 12; k++) x += rng_uniform(&r);
        base[i] = (float)(2 * x);
    }
    for (size_t i = 0; i < 60; i++) base[rng_below(&r, N)] = (float)(18 - 0.2 * (double)i);
}

static void copy_row(void *user, size_t i) {
    (void)i;
    memcpy(user, l, N * sizeof *l);
}

static void pick(void *user, size_t i) { sampler_pick(user, l, NULL, 0, i); }

/* The stage top_k(50), and then the sampler. */
static void pick_after_c(void *user, size_t i) {
    logits_row r;
    row_open(&r, kernels_best(), l, N, sampler_scratch(user));
    row_top_k(&r, 50);
    sampler_pick_row(user, &r, NULL, 0, i);
}

static lua_State *L;
static void pick_after_lua(void *user, size_t i) {
    lua_getglobal(L, "stage");
    row_handle *h = bind_lend_logits(L, kernels_best(), l, N);
    lua_pushvalue(L, -1);
    lua_insert(L, -3);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) abort();
    sampler_pick_row(user, &h->row, NULL, 0, i);
    bind_take_back(h);
    lua_settop(L, 0);
}

static sampler *open_sampler(const sampler_options *o) {
    sampler *s;
    pl_error e;
    if (sampler_new(o, kernels_best(), N, &s, &e) != PL_OK) {
        fprintf(stderr, "%s\n", e.message);
        exit(1);
    }
    return s;
}

static void figure(const char *name, const sampler_options *o) {
    sampler *s = open_sampler(o);
    printf("%-32s %8.1f\n", name, median(pick, s));
    sampler_free(s);
}

/* An expression over a and b, which are logits. */
static void lua_figure(const char *code) {
    double best = 0;
    lua_getglobal(L, "measure");
    lua_pushstring(L, code);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        exit(1);
    }
    best = lua_tonumber(L, -1);
    lua_settop(L, 0);
    printf("%-32s %8.1f\n", code, best);
}

int main(void) {
    base = mem_aligned(N * sizeof *base);
    l = mem_aligned(N * sizeof *l);
    float *other = mem_aligned(N * sizeof *other);
    if (base == NULL || l == NULL || other == NULL) return 1;
    make_row();
    printf("%d logits, microseconds (%s)\n", N, kernels_best()->name);
    printf("%-32s %8.1f\n", "copying them", median(copy_row, other));

    sampler_options usual = sampler_defaults(), o = usual;
    figure("greedy", &o);
    usual.temperature = 0.8f;
    o = usual;
    figure("temperature alone", &o);
    o.top_k = 40;
    figure("top_k 40", &o);
    o = usual, o.top_p = 0.95f;
    figure("top_p 0.95", &o);
    o = usual, o.min_p = 0.05f;
    figure("min_p 0.05", &o);
    o = usual, o.typical_p = 0.95f;
    figure("typical_p 0.95", &o);
    o = usual, o.top_n_sigma = 1;
    figure("top_n_sigma 1", &o);
    o = usual, o.mirostat = 2;
    figure("mirostat 2", &o);
    usual.top_k = 40, usual.top_p = 0.95f, usual.min_p = 0.05f;
    figure("top_k, top_p, min_p, temperature", &usual);

    L = luaL_newstate();
    if (L == NULL) return 1;
    luaL_openlibs(L);
    luaL_requiref(L, "perilune.core", luaopen_perilune_core, 0);
    lua_setglobal(L, "perilune");
    if (luaL_dostring(L, "function stage(l) return l:top_k(50) end\n"
                         "function measure(code)\n"
                         "  local f, times = load('local a, b, r = ... return function() local x = "
                         "' .. code .. ' end'), {}\n"
                         "  f = f(a, b, perilune.rng(1))\n"
                         "  for i = 1, 301 do\n"
                         "    local begun = os.clock() for _ = 1, 5 do f() end times[i] = "
                         "(os.clock() - begun) / 5 * 1e6\n"
                         "  end\n"
                         "  table.sort(times) return times[151]\n"
                         "end") != LUA_OK)
        return 1;
    sampler *s = open_sampler(&usual);
    double in_c = median(pick_after_c, s), in_lua = median(pick_after_lua, s);
    in_c = median(pick_after_c, s), in_lua = median(pick_after_lua, s); /* both warm */
    printf("%-32s %8.1f\n%-32s %8.1f\n%-32s %8.2f\n", "the same behind top_k 50 in C", in_c,
           "behind l:top_k(50) in Lua", in_lua, "  more in Lua", in_lua - in_c);
    sampler_free(s);

    bind_lend_logits(L, kernels_best(), base, N);
    lua_setglobal(L, "a");
    memcpy(other, base, N * sizeof *other);
    bind_lend_logits(L, kernels_best(), other, N);
    lua_setglobal(L, "b");
    static const char *const expressions[] = {
        "a:copy()",           "a + b",        "a * 1.5",
        "b + (a - b) * 1.5",  "a:logprobs()", "a:probs()",
        "a:entropy()",        "a:kl(b)",      "a:top(10)",
        "a:copy():top_k(40)", "a:sample(r)",  "(a:probs() - b:probs()):clamp(0)",
        "r:subset(#a, 0.5)"};
    for (size_t i = 0; i < sizeof expressions / sizeof *expressions; i++)
        lua_figure(expressions[i]);
    lua_close(L);
    mem_free(base);
    mem_free(l);
    mem_free(other);
    return 0;
}
