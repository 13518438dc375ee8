/* test_lua.c: the Lua face from outside: states that are opened and closed around it, models of
 * chosen shapes, and allocations that fail. What scripts see by themselves is in tests/lua. */
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "base/mem.h"
#include "bind/bind.h"
#include "bind/perilune_lua.h"
#include "decode/engine.h"
#include "support.h"
#include "tiny.h"

static const char *small_model(void) {
    static const char *path;
    tiny_shape shape = tiny_default();
    shape.n_embd = 32, shape.n_head = 2, shape.n_head_kv = 1, shape.n_ff = 64;
    if (path == NULL) path = tiny_model(&shape);
    return path;
}

/* A state with the core as the global `perilune` and the model's path as `path`. */
static lua_State *prepare(lua_State *L, const char *path) {
    assert_non_null(L);
    luaL_openlibs(L);
    luaL_requiref(L, "perilune.core", luaopen_perilune_core, 0);
    lua_setglobal(L, "perilune");
    lua_pushstring(L, path);
    lua_setglobal(L, "path");
    lua_settop(L, 0);
    return L;
}

static lua_State *new_state(const char *path) { return prepare(luaL_newstate(), path); }

/* Runs code; fails the test with its message. */
static void run(lua_State *L, const char *code) {
    if (luaL_dostring(L, code) != LUA_OK) fail_msg("%s", luaL_tolstring(L, -1, NULL));
    lua_settop(L, 0);
}

static lua_Integer number(lua_State *L, const char *global) {
    lua_getglobal(L, global);
    lua_Integer n = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return n;
}

static void check_dropped_caches(const char *mode, int count) {
    tiny_shape shape = tiny_default();
    shape.n_layer = 16, shape.n_embd = 32, shape.n_ff = 32, shape.context = 64;
    /* 16 MiB per block with f32 keys and values */
    shape.n_head = shape.n_head_kv = 16, shape.head_size = 256;
    lua_State *L = new_state(tiny_model(&shape));
    run(L, mode);
    lua_pushinteger(L, count);
    lua_setglobal(L, "count");
    run(L, "local options = {kv_type = 'f32', cache_bytes = 2 ^ 33, threads = 1}\n"
           "local model = assert(perilune.load(path, options))\n"
           "size, most, total = model:stats().blocks.bytes, 0, 0\n"
           "for i = 1, count do\n"
           "  local cache = i % 2 == 0 and model:cache():extend(i % 300):ready()\n"
           "    or select(2, model:generate {input = {i % 300}, max_new_tokens = 1})\n"
           "  local blocks = model:stats().blocks\n"
           "  most = math.max(most, blocks.used + blocks.free)\n"
           "end");
    assert_true(number(L, "size") >= 16 << 20);
    print_message("at most %d of %d caches of 16 MB at once\n", (int)number(L, "most"), count);
    assert_true(number(L, "most") <= 5);
    lua_close(L);
}

static void dropped_caches_are_collected_in_time(void **state) {
    (void)state;
    check_dropped_caches("collectgarbage 'incremental'", 400);
    check_dropped_caches("collectgarbage 'generational'", 60);
    /* a script with much memory of its own */
    check_dropped_caches("heap = {} for i = 1, 2e5 do heap[i] = {i} end", 60);
}

static void a_collector_that_was_stopped_stays_stopped(void **state) {
    (void)state;
    lua_State *L = new_state(small_model());
    run(L, "local model = assert(perilune.load(path, {threads = 1}))\n"
           "collectgarbage 'stop'\n"
           "for i = 1, 50 do model:cache():extend(i):ready() end\n"
           "used = model:stats().blocks.used\n"
           "collectgarbage 'restart' collectgarbage() collectgarbage()\n"
           "left = model:stats().blocks.used");
    assert_int_equal(number(L, "used"), 50);
    assert_int_equal(number(L, "left"), 0);
    lua_close(L);
}

static void a_full_pool_is_collected_before_it_is_reported(void **state) {
    (void)state;
    lua_State *L = new_state(small_model());
    run(L, "local model = assert(perilune.load(path, {threads = 1}))\n"
           "local block = model:stats().blocks.bytes model:close()\n"
           "model = assert(perilune.load(path, {threads = 1, cache_bytes = 4 * block}))\n"
           "collectgarbage 'stop'\n"
           "for i = 1, 100 do model:cache():extend(i):ready() end\n"
           "local keep = {} collectgarbage()\n"
           "local ok, err = pcall(function()\n"
           "  for i = 1, 100 do keep[i] = model:cache():extend(i):ready() end\n"
           "end)\n"
           "assert(not ok and err.code == 'pool', err) assert(#keep == 4)\n"
           "for i = 1, 4 do assert(keep[i]:text()) assert(#keep[i]:logits() > 0) end");
    lua_close(L);
}

static const char everything[] =
    "local model = perilune.load(path, {threads = 1})\n"
    "if not model then return end\n"
    "local cache = model:cache():extend {5, 'hello', 9}\n"
    "cache:ready()\n"
    "local tokens, more, info = model:generate {cache = cache, input = 'and', max_new_tokens = 4,\n"
    "  logprobs = true, stop = {'zzzz', 'qqqq'}, temperature = 1, seed = 1,\n"
    "  logit_bias = {[5] = 1}, presence_penalty = 1,\n"
    "  on_token = function(id, piece, at) return #at == #cache + 3 and at:extend(7) or nil end}\n"
    "local stream = model:stream {cache = more:truncate(#more - 1), max_new_tokens = 3}\n"
    "for _ in stream do end\n"
    "local fork = more:fork():truncate(3):extend 'other'\n"
    "local rows = perilune.logits {more, fork}\n"
    "local _ = rows[1]:top(3), fork:logits(2), fork:logprobs(), more:tokens(), more:text()\n"
    "_ = more == fork, info.before, more:find {5}, more:common_prefix(fork)\n"
    "_ = model:encode 'some text', model:decode {5, 6}, model:info(), model:stats()\n"
    "local l, rng = more:logits(), perilune.rng(5)\n"
    "local mixed = (l - fork:logits() * 0.5):add(l, 0.1):top_k(40):top_p(0.9):temperature(0.8)\n"
    "local few = model:set '^a' | rng:subset(model:info().vocab_size, 0.5) & ~model:set {3}\n"
    "mixed:mask {7}:bias(few, 1):penalties(more, {repeat_penalty = "
    "2}):dry(more):logprobs():sample(rng)\n"
    "_ = (mixed:probs() - l:probs()):clamp(0):sum(), few:ids(), rng:fork():state()\n"
    "local filter = perilune.sampler {temperature = 1, mirostat = 2, dry_multiplier = 1, "
    "banned_tokens = few, rng = rng}\n"
    "filter:clone()(filter(more:logits(), more), more)\n"
    "local ok, message = more:save(file)\n"
    "if ok then model:restore(file) model:restore(file, {recompute = true}) end\n"
    "local source <close> = perilune.gguf(path)\n"
    "if not source then return end\n"
    "_ = source:info(), source:metadata {limit = 3}, source:get 'tokenizer.ggml.token_type'\n"
    "local types = {[source:tensors()[1].name] = 'Q8_0'}\n"
    "source:convert(file, {types = types, metadata = {x = {1, 2}, y = 'z'}, threads = 1,\n"
    "  drop = {'general.architecture'}, progress = function(fraction) return fraction <= 1 end})\n"
    "done = ok\n";

/* Runs `everything` with the nth allocation of the core failing; true when it came to its end. */
static bool survives(long nth, const char *file) {
    lua_State *L = new_state(small_model());
    lua_pushstring(L, file);
    lua_setglobal(L, "file");
    assert_int_equal(luaL_loadstring(L, everything), LUA_OK);
    mem_fail_at(nth);
    int status = lua_pcall(L, 0, 0, 0);
    bool reached = mem_asked() >= nth;
    mem_fail_at(0);
    if (status != LUA_OK) {
        const char *message = luaL_tolstring(L, -1, NULL);
        if (strstr(message, "memory") == NULL) fail_msg("allocation %ld: %s", nth, message);
    }
    lua_close(L);
    remove(file);
    return !reached;
}

static void every_allocation_may_fail_once(void **state) {
    (void)state;
    char *file = temp_path(".cache");
    long live, nth = 1;
    assert_true(survives(LONG_MAX, file)); /* what is made once per process is there */
    live = mem_live();
    while (!survives(nth, file)) {
        assert_int_equal(mem_live(), live);
        nth++;
    }
    print_message("%ld allocations failed in turn\n", nth - 1);
    assert_true(nth > 100);
}

/* Lua's own allocator, which refuses the nth request and the one after it: Lua collects and asks
 * again before it gives up. */
typedef struct { long asked, refused_at; } refusals;

static void *refusing(void *user, void *p, size_t old, size_t size) {
    refusals *r = user;
    if (size == 0) {
        free(p);
        return NULL;
    }
    if (p == NULL || size > old) {
        r->asked++;
        if (r->refused_at != 0 && (r->asked == r->refused_at || r->asked == r->refused_at + 1))
            return NULL;
    }
    return realloc(p, size);
}

static void every_allocation_of_lua_may_fail(void **state) {
    (void)state;
    const char *path = small_model();
    char *file = temp_path(".cache");
    long live = mem_live();
    for (long nth = 1;; nth++) {
        refusals r = {0};
        lua_State *L = prepare(lua_newstate(refusing, &r), path);
        lua_pushstring(L, file);
        lua_setglobal(L, "file");
        assert_int_equal(luaL_loadstring(L, everything), LUA_OK);
        r = (refusals){.refused_at = nth};
        int status = lua_pcall(L, 0, 0, 0);
        bool reached = r.asked >= nth;
        r.refused_at = 0;
        if (status != LUA_OK) {
            const char *message = luaL_tolstring(L, -1, NULL);
            /* The second is Lua's word for a stack that could not grow. */
            if (strstr(message, "memory") == NULL && strstr(message, "stack overflow") == NULL)
                fail_msg("request %ld: %s", nth, message);
        }
        lua_close(L);
        remove(file);
        assert_int_equal(mem_live(), live);
        if (!reached) {
            print_message("%ld requests refused in turn\n", nth - 1);
            assert_true(status == LUA_OK && nth > 100);
            return;
        }
    }
}

static void handles_are_usable_after_a_failed_allocation(void **state) {
    (void)state;
    lua_State *L = new_state(small_model());
    run(L, "model = assert(perilune.load(path, {threads = 1}))\n"
           "cache = model:cache():extend {5, 6, 7, 8}\n"
           "expected = model:generate {cache = cache, max_new_tokens = 6}\n"
           "function attempt()\n"
           "  return model:generate {cache = cache:extend 'x', max_new_tokens = 40}\n"
           "end\n"
           "function check()\n"
           "  local tokens = model:generate {cache = cache, max_new_tokens = 6}\n"
           "  assert(#tokens == 6)\n"
           "  for i = 1, 6 do assert(tokens[i] == expected[i]) end\n"
           "end");
    for (long nth = 1;; nth++) {
        lua_getglobal(L, "attempt");
        mem_fail_at(nth);
        int status = lua_pcall(L, 0, 0, 0);
        bool reached = mem_asked() >= nth;
        mem_fail_at(0);
        if (status != LUA_OK) {
            lua_getfield(L, -1, "code");
            assert_string_equal(lua_tostring(L, -1), "memory");
        }
        lua_settop(L, 0);
        run(L, "check()");
        if (!reached) break;
    }
    lua_close(L);
}

static void closing_the_state_gives_everything_back(void **state) {
    (void)state;
    static const char *const scripts[] = {
        "model = assert(perilune.load(path, {threads = 1}))\n"
        "cache = model:cache():extend 'a':ready()",
        "model = assert(perilune.load(path, {threads = 1}))\n"
        "stream = model:stream {input = 'abc', max_new_tokens = 9} stream() info = stream.info",
        "cache = assert(perilune.load(path, {threads = 1})):cache():extend 'a':ready()",
        "local model = assert(perilune.load(path, {threads = 1}))\n"
        "co = coroutine.wrap(function()\n"
        "  model:generate {input = 'a', max_new_tokens = 9, on_token = coroutine.yield}\n"
        "end)\n"
        "co() co()",
        "local model = assert(perilune.load(path, {threads = 1}))\n"
        "local stream = model:stream {input = 'a', max_new_tokens = 9}\n"
        "setmetatable({}, {__gc = function()\n"
        "  pcall(stream) model:close() pcall(stream) stream:close()\n"
        "end})",
        "local l = assert(perilune.load(path, {threads = 1})):cache():extend 'a':logits()\n"
        "kept = {l, l * 2, l:probs(), l:copy():top_k(3)}\n"
        "kept[2]:close()",
        "local l = assert(perilune.load(path, {threads = 1})):cache():extend 'a':logits()\n"
        "setmetatable({}, {__gc = function() pcall(function() l = (l + l):top_k(2):probs() end) "
        "end})\n"
        "filter = perilune.sampler {temperature = 1, top_k = 5} filter(l)",
        "perilune.load(path, {progress = function() error 'no' end})",
    };
    lua_close(new_state(small_model()));
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        long live = mem_live();
        lua_State *L = new_state(small_model());
        if (luaL_dostring(L, scripts[i]) != LUA_OK && i + 1 < sizeof scripts / sizeof *scripts)
            fail_msg("%s", luaL_tolstring(L, -1, NULL));
        lua_close(L);
        assert_int_equal(mem_live(), live);
    }
}

static void interrupt_at(lua_State *L, lua_Debug *ar) {
    (void)L, (void)ar;
    engine_interrupt();
}

static void an_interrupt_ends_a_generation_and_keeps_its_tokens(void **state) {
    (void)state;
    lua_State *L = new_state(small_model());
    run(L, "model = assert(perilune.load(path, {threads = 1})) n = 0");
    lua_sethook(L, interrupt_at, LUA_MASKCOUNT, 100); /* inside on_token: the generation is open */
    run(L, "tokens, cache, info = model:generate {input = 'abc', max_new_tokens = 300,\n"
           "  on_token = function() for i = 1, 20 do n = n + 1 end end}");
    lua_sethook(L, NULL, 0, 0);
    run(L, "assert(info.finish_reason == 'cancelled', info.finish_reason)\n"
           "assert(#tokens > 0 and #tokens < 300)\n"
           "assert(#model:generate {cache = cache, max_new_tokens = 3} == 3)");
    lua_close(L);
}

static void states_side_by_side_do_not_share_handles(void **state) {
    (void)state;
    lua_State *a = new_state(small_model()), *b = new_state(small_model());
    const char *code =
        "model = assert(perilune.load(path, {threads = 1}))\n"
        "tokens = table.concat(model:generate {input = 'abc', max_new_tokens = 5}, ' ')";
    run(a, code);
    run(b, code);
    lua_getglobal(a, "tokens");
    lua_getglobal(b, "tokens");
    assert_string_equal(lua_tostring(a, -1), lua_tostring(b, -1));
    lua_close(a);
    run(b, "assert(#model:generate {input = 'abc', max_new_tokens = 5} == 5)");
    lua_close(b);
}

/* ---- rows of logits ---- */

static void ids_that_one_of_two_vocabularies_lacks_are_masked(void **state) {
    (void)state;
    tiny_shape shape = tiny_default();
    shape.n_embd = 32, shape.n_head = 2, shape.n_head_kv = 1, shape.n_ff = 64, shape.n_vocab = 400;
    lua_State *L = new_state(small_model());
    lua_pushstring(L, tiny_model(&shape));
    lua_setglobal(L, "larger");
    run(L, "local function logits(p) return assert(perilune.load(p, {threads = 1})):cache():extend "
           "{5, 6}:logits() end\n"
           "local a, b = logits(path), logits(larger)\n"
           "assert(#a == 320 and #b == 400)\n"
           "for _, l in ipairs {a + b, b + a, a - b, b - a, b:copy():add(a, 0.5)} do\n"
           "  assert(#l == 400)\n"
           "  for id = 0, 399 do assert((l[id] > -math.huge) == (id < 320)) end\n"
           "end\n"
           "local l = a:copy():add(b)\n"
           "assert(#l == 320 and #l:top(400) == 320)\n"
           "for id = 0, 319 do assert(math.abs(l[id] - a[id] - b[id]) < 1e-5) end\n"
           "assert(b:kl(a) == math.huge and a:kl(b) < math.huge and a:kl(b) > 0)\n"
           "local p, q = a:probs(), b:probs()\n"
           "for id = 0, 399 do\n"
           "  assert(math.abs((q - p)[id] - q[id] + (id < 320 and p[id] or 0)) < 1e-7)\n"
           "  assert(math.abs((p + q)[id] - q[id] - (id < 320 and p[id] or 0)) < 1e-7)\n"
           "end\n"
           "local filter = perilune.sampler {temperature = 1, top_k = 7, presence_penalty = 1}\n"
           "local cache = assert(perilune.load(larger, {threads = 1})):cache():extend {399, 398}\n"
           "assert(#filter(b, cache):top(9) == 7)\n"
           "local ok, e = pcall(filter, a, cache)\n"
           "assert(not ok and e.code == 'mismatch', e)");
    lua_close(L);
}

static void logits_that_are_lent_are_changed_in_place_and_taken_back(void **state) {
    (void)state;
    enum { N = 1000 };
    static float l[N];
    lua_State *L = new_state(small_model());
    long live = mem_live();
    run(L, "function stage(l) kept, copy = l, l:copy() return l:top_k(3):bias({5}, 10) end");
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < N; i++) l[i] = (float)(i % 100);
        lua_getglobal(L, "stage");
        row_handle *h = bind_lend_logits(L, kernels_best(), l, N); /* pushes it */
        assert_int_equal(lua_pcall(L, 1, 1, 0), LUA_OK);
        assert_ptr_equal(bind_test_row(L, -1, LOGITS_TYPE), h);
        size_t left = 0;
        for (size_t i = 0; i < N; i++) left += l[i] > -INFINITY;
        assert_int_equal(left, 3);
        assert_true(l[99] == 99 && l[199] == 99 && l[299] == 99);
        bind_take_back(h);
        lua_pop(L, 1);
        run(L, "local ok, e = pcall(function() return kept[0] end)\n"
               "assert(not ok and e.code == 'closed' and tostring(e):find 'l:copy', e)\n"
               "assert(copy[98] == 98 and #copy == 1000)");
    }
    lua_close(L);
    assert_true(mem_live() <= live);
}

static int live_blocks(lua_State *L) {
    lua_pushinteger(L, mem_live());
    return 1;
}

static void rows_of_a_large_vocabulary_are_reused(void **state) {
    (void)state;
    enum { N = 131072 };
    static float l[N];
    static const char *const modes[] = {"incremental", "generational"};
    for (size_t i = 0; i < 2; i++) {
        long live = mem_live();
        lua_State *L = prepare(luaL_newstate(), "");
        lua_register(L, "live", live_blocks);
        lua_pushstring(L, modes[i]);
        lua_setglobal(L, "mode");
        row_handle *h = bind_lend_logits(L, kernels_best(), l, N);
        lua_setglobal(L, "l");
        run(L, "collectgarbage(mode)\n"
               "local before, most = live(), 0\n"
               "for i = 1, 100000 do\n"
               "  local sum = l + l\n"
               "  most = math.max(most, live() - before)\n"
               "end\n"
               "assert(most < 300, most)\n" /* 64 MiB and what waits to be collected */
               "collectgarbage() collectgarbage()\n"
               "assert(live() - before <= 128, live() - before)");
        bind_take_back(h);
        lua_close(L);
        assert_int_equal(mem_live(), live);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropped_caches_are_collected_in_time),
        cmocka_unit_test(a_collector_that_was_stopped_stays_stopped),
        cmocka_unit_test(a_full_pool_is_collected_before_it_is_reported),
        cmocka_unit_test(every_allocation_may_fail_once),
        cmocka_unit_test(every_allocation_of_lua_may_fail),
        cmocka_unit_test(handles_are_usable_after_a_failed_allocation),
        cmocka_unit_test(closing_the_state_gives_everything_back),
        cmocka_unit_test(an_interrupt_ends_a_generation_and_keeps_its_tokens),
        cmocka_unit_test(states_side_by_side_do_not_share_handles),
        cmocka_unit_test(ids_that_one_of_two_vocabularies_lacks_are_masked),
        cmocka_unit_test(logits_that_are_lent_are_changed_in_place_and_taken_back),
        cmocka_unit_test(rows_of_a_large_vocabulary_are_reused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
