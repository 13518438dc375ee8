/* test_host.c: the public C API as a host uses it: what jobs say is what a generation alone says,
 * callbacks come inside the poll, values outlive what they came from, other threads may let go of
 * them, and a script takes part. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "base/mem.h"
#include "bind/perilune_lua.h"
#include "support.h"
#include "tiny.h"

enum { V = 320, MOST = 64 };

static const char *model_path(void) {
    static const char *path;
    tiny_shape shape = tiny_default();
    if (!path) path = tiny_model(&shape);
    return path;
}

typedef struct {
    int32_t ids[MOST];
    size_t n;
    bool done, stop_early;
    char finish[16], text[256];
    size_t n_text;
    pl_cache *cache;
} listener;

static bool polling;

static bool hear(void *user, int32_t id, const char *piece, size_t bytes) {
    listener *l = user;
    assert_true(polling && !l->done && l->n < MOST);
    assert_true(piece != NULL || bytes == 0);
    l->ids[l->n++] = id;
    return !l->stop_early || l->n < 3;
}

static void done(void *user, pl_job *handle) {
    listener *l = user;
    size_t n;
    const int32_t *ids = pl_job_tokens(handle, &n);
    assert_true(polling && !l->done);
    assert_int_equal(n, l->n);
    assert_memory_equal(ids, l->ids, n * sizeof *ids);
    l->done = true;
    snprintf(l->finish, sizeof l->finish, "%s", pl_job_finish(handle));
    const char *text = pl_job_text(handle, &l->n_text);
    assert_true(l->n_text <= sizeof l->text);
    memcpy(l->text, text, l->n_text);
    l->cache = pl_cache_retain(pl_job_cache(handle));
    pl_job_release(handle);
}

static pl_engine *new_engine(pl_model **m) {
    pl_error e;
    pl_engine *h = pl_engine_new(1, &e);
    assert_non_null(h);
    if (pl_model_load(h, &(pl_load_options){sizeof(pl_load_options), .path = model_path()}, m, &e))
        fail_msg("%s", e.message);
    return h;
}

static size_t poll_once(pl_engine *h, double ms) {
    size_t live;
    pl_error e;
    polling = true;
    if (pl_poll(h, ms, &live, &e)) fail_msg("%s", e.message);
    polling = false;
    return live;
}

static void poll_all(pl_engine *h) {
    while (poll_once(h, 1)) pl_wait(h, 100);
}

static pl_job *submit(pl_engine *h, pl_model *m, const pl_cache *cache, int32_t first,
                      uint32_t most, float temperature, listener *l) {
    int32_t ids[5] = {first, 7, 11, 13, 17};
    pl_error e;
    pl_job *handle;
    *l = (listener){0};
    if (pl_submit(h, m,
                  &(pl_job_options){sizeof(pl_job_options), .cache = cache, .ids = ids, .n_ids = 5,
                                    .max_new_tokens = most, .temperature = temperature,
                                    .seed = (uint64_t)first, .on_token = hear, .on_done = done,
                                    .user = l},
                  &handle, &e))
        fail_msg("%s", e.message);
    return handle;
}

/* The same generation by the engine itself. */
static void check_alone(const listener *l, int32_t first, uint32_t most, float temperature) {
    engine_options o = {.model = {.path = model_path(), .kv = KV_F16, .threads = 1}};
    int32_t ids[5] = {first, 7, 11, 13, 17};
    generate_options go = {
        .input = ids, .n_input = 5, .max_new_tokens = most, .sampler = sampler_defaults()};
    engine *g;
    pl_error e;
    job *j;
    go.sampler.temperature = temperature;
    go.sampler.seed = (uint64_t)first;
    if (engine_open(&o, &g, &e) || node_empty(engine_store(g), &go.cache, &e) ||
        job_generate(g, &go, &j, &e) || job_run(j, &e))
        fail_msg("%s", e.message);
    assert_int_equal(job_result(j).n_tokens, l->n);
    assert_memory_equal(job_result(j).tokens, l->ids, l->n * sizeof *l->ids);
    job_close(j);
    node_release(go.cache);
    engine_close(g);
}

TEST(jobs_side_by_side_say_what_each_says_alone) {
    long live = mem_live();
    listener l[8];
    pl_model *m;
    pl_engine *h = new_engine(&m);
    for (int i = 0; i < 8; i++)
        submit(h, m, NULL, 20 + i, 10 + 3 * (uint32_t)i, i % 2 ? 0.9f : 0, &l[i]);
    poll_all(h);
    for (int i = 0; i < 8; i++) {
        assert_true(l[i].done);
        assert_string_equal(l[i].finish, "length");
        check_alone(&l[i], 20 + i, 10 + 3 * (uint32_t)i, i % 2 ? 0.9f : 0);
        assert_int_equal(pl_cache_length(l[i].cache), 5 + l[i].n);
        pl_cache_release(l[i].cache);
    }
    pl_model_release(m);
    pl_engine_free(h);
    assert_int_equal(mem_live(), live);
}

TEST(a_job_begins_by_spelling_its_prefix) {
    long live = mem_live();
    listener l = {0};
    pl_model *m;
    pl_engine *h = new_engine(&m);
    pl_job *handle;
    pl_error e;
    int32_t ids[] = {7, 265};
    pl_job_options o = {sizeof o, .ids = ids, .n_ids = 2, .max_new_tokens = 12,
                        .temperature = 0.9f, .on_token = hear, .on_done = done, .user = &l,
                        .prefix = "e tx\xF0", .prefix_bytes = 5};
    assert_int_equal(pl_submit(h, m, &o, &handle, &e), PL_OK);
    handle = NULL; /* on_done lets go of it */
    poll_all(h);
    assert_true(l.done && l.n == 12);
    char text[64];
    size_t n;
    assert_int_equal(pl_decode(m, l.ids, l.n, text, sizeof text, &n, &e), PL_OK);
    assert_true(n > 5);
    assert_memory_equal(text, "e tx\xF0", 5);
    assert_int_equal(l.n_text, n - 5);
    assert_memory_equal(l.text, text + 5, n - 5);
    pl_cache_release(l.cache);
    pl_model_release(m);
    pl_engine_free(h);
    assert_int_equal(mem_live(), live);
}

TEST(a_cancelled_job_keeps_what_it_said_and_leaves_the_others_alone) {
    listener l[3];
    pl_model *m;
    pl_model_stats stats = {.size = sizeof stats};
    pl_engine *h = new_engine(&m);
    pl_job *jobs[3];
    for (int i = 0; i < 3; i++) jobs[i] = submit(h, m, NULL, 40 + i, 30, 0, &l[i]);
    while (l[1].n < 4) poll_once(h, 0), pl_wait(h, 10);
    pl_cancel(jobs[1]);
    assert_string_equal(pl_job_finish(jobs[1]), "cancelled");
    l[2].stop_early = true;
    poll_all(h);
    assert_string_equal(l[1].finish, "cancelled");
    assert_true(l[1].n >= 4 && l[1].n < 30);
    assert_string_equal(l[2].finish, "callback");
    check_alone(&l[0], 40, 30, 0);
    check_alone(&l[1], 41, (uint32_t)l[1].n, 0);
    /* The cancelled one's cache goes on where it was: the same tokens as if it had never
     * stopped. */
    pl_cache *so_far = l[1].cache;
    size_t had = l[1].n, length = pl_cache_length(so_far);
    int32_t all[MOST], more[MOST];
    pl_error e;
    pl_job *handle;
    assert_int_equal(pl_cache_tokens(so_far, 5, had, all, &e), PL_OK);
    l[1] = (listener){0};
    assert_int_equal(pl_submit(h, m,
                               &(pl_job_options){sizeof(pl_job_options), .cache = so_far,
                                                 .max_new_tokens = (uint32_t)(30 - had),
                                                 .on_token = hear, .on_done = done, .user = &l[1]},
                               &handle, &e),
                     PL_OK);
    poll_all(h);
    memcpy(more, l[1].ids, l[1].n * sizeof *more);
    memcpy(all + had, more, l[1].n * sizeof *more);
    memcpy(l[1].ids, all, (had + l[1].n) * sizeof *all);
    l[1].n += had;
    check_alone(&l[1], 41, 30, 0);
    assert_int_equal(pl_cache_length(so_far), length);
    for (int i = 0; i < 3; i++) pl_cache_release(l[i].cache);
    pl_cache_release(so_far);
    assert_int_equal(pl_model_get_stats(m, &stats, &e), PL_OK);
    assert_int_equal(stats.cache_bytes_used, 0);
    pl_model_release(m);
    pl_engine_free(h);
}

TEST(values_outlive_the_engine) {
    long live = mem_live();
    listener l;
    pl_model *m;
    pl_engine *h = new_engine(&m);
    pl_job *handle = submit(h, m, NULL, 60, 8, 0, &l);
    poll_all(h);
    handle = submit(h, m, l.cache, 61, 20, 0, &(listener){0});
    poll_once(h, 0); /* a step of it is under way now */
    pl_engine_free(h);
    pl_model_release(m);
    assert_int_equal(pl_cache_length(l.cache), 13);
    pl_cache_release(l.cache);
    pl_job_release(handle);
    assert_int_equal(mem_live(), live);
}

static void *let_go(void *cache) {
    for (int i = 0; i < 1000; i++) pl_cache_release(pl_cache_retain(cache));
    pl_cache_release(cache);
    return NULL;
}

TEST(other_threads_let_go_of_caches) {
    long live = mem_live();
    listener l, second;
    pl_model *m;
    pl_engine *h = new_engine(&m);
    pthread_t threads[4];
    submit(h, m, NULL, 70, 8, 0, &l);
    poll_all(h);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, let_go, pl_cache_retain(l.cache)), 0);
    pl_job *left = submit(h, m, l.cache, 71, 40, 0, &second);
    pl_cache_release(l.cache);
    for (int i = 0; i < 10; i++) poll_once(h, 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    pl_model_release(m);
    pl_engine_free(h); /* with a job under way */
    if (!second.done) pl_job_release(left);
    else pl_cache_release(second.cache);
    assert_int_equal(mem_live(), live);
}

TEST(bad_options_are_refused_and_newer_hosts_are_understood) {
    pl_model *m, *none = NULL;
    pl_engine *h = new_engine(&m);
    pl_error e;
    pl_job *handle;
    struct {
        pl_job_options known;
        uint64_t newer;
    } later = {{.size = sizeof later, .ids = (int32_t[]){5}, .n_ids = 1, .max_new_tokens = 1}, 0};
    assert_int_equal(pl_submit(h, m, &later.known, &handle, &e), PL_OK);
    pl_job_release(handle);
    later.newer = 1;
    assert_int_equal(pl_submit(h, m, &later.known, &handle, &e), PL_ERR_UNSUPPORTED);
    struct {
        uint32_t size;
        const pl_cache *cache;
        const char *text;
        size_t bytes;
    } earlier = {sizeof earlier, NULL, "", 0};
    assert_int_equal(pl_submit(h, m, (const pl_job_options *)(const void *)&earlier, &handle, &e),
                     PL_ERR_ARGUMENT); /* no stop, no input */
    assert_int_equal(pl_submit(h, m, &(pl_job_options){0}, &handle, &e), PL_ERR_ARGUMENT);
    assert_int_equal(pl_submit(h, m,
                               &(pl_job_options){sizeof(pl_job_options), .ids = (int32_t[]){V},
                                                 .n_ids = 1, .max_new_tokens = 1},
                               &handle, &e),
                     PL_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "320"));
    assert_int_equal(
        pl_model_load(h, &(pl_load_options){sizeof(pl_load_options), .path = "/nowhere/at.gguf"},
                      &none, &e),
        PL_ERR_IO);
    assert_int_equal(pl_model_load(h,
                                   &(pl_load_options){sizeof(pl_load_options), .path = model_path(),
                                                      .kv_type = "f8"},
                                   &none, &e),
                     PL_ERR_ARGUMENT);
    assert_non_null(strstr(e.message, "f8"));
    pl_model_release(m);
    pl_engine_free(h);
}

static bool refuse(void *user, double fraction) {
    (void)user, (void)fraction;
    return false;
}

TEST(a_loading_that_does_not_block) {
    long live = mem_live();
    pl_error e;
    pl_engine *h = pl_engine_new(1, &e);
    pl_loading *l;
    pl_model *m = NULL;
    assert_int_equal(
        pl_model_load_begin(h, &(pl_load_options){sizeof(pl_load_options), .path = model_path()},
                            &l, &e),
        PL_OK);
    while (!pl_loading_done(l))
        assert_true(pl_loading_progress(l) >= 0 && pl_loading_progress(l) <= 1);
    assert_int_equal(pl_loading_end(l, &m, &e), PL_OK);
    pl_model_release(m);
    assert_int_equal(
        pl_model_load_begin(
            h,
            &(pl_load_options){sizeof(pl_load_options), .path = model_path(), .progress = refuse},
            &l, &e),
        PL_OK);
    assert_int_equal(pl_loading_end(l, &m, &e), PL_ERR_CANCELLED);
    assert_int_equal(
        pl_model_load_begin(h, &(pl_load_options){sizeof(pl_load_options), .path = "/nowhere"}, &l,
                            &e),
        PL_OK);
    assert_int_equal(pl_loading_end(l, NULL, &e), PL_ERR_IO);
    pl_engine_free(h);
    assert_int_equal(mem_live(), live);
}

/* ---- scripts ---- */

static void run(lua_State *L, const char *code) {
    if (luaL_dostring(L, code)) fail_msg("%s", lua_tostring(L, -1));
}

TEST(a_script_and_its_host_share_models_caches_and_the_poll) {
    long live = mem_live();
    listener l;
    pl_model *m;
    pl_engine *h = new_engine(&m);
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    assert_int_equal(pl_open_lua(L, h), PL_OK);
    pl_push_model(L, m);
    lua_setglobal(L, "model");
    submit(h, m, NULL, 80, 20, 0, &l);
    run(L, "core = require 'perilune.core'\n"
           "task = core.spawn(function() tokens, cache = model:generate{input_ids = {80, 7, 11, "
           "13, 17}, max_new_tokens = 20} end)");
    assert_int_equal(poll_once(h, 0), 2);
    poll_all(h);
    run(L, "assert(task.status == 'done') assert(#tokens == 20)");
    lua_getglobal(L, "tokens");
    for (int i = 0; i < 20; i++) {
        lua_rawgeti(L, -1, i + 1);
        assert_int_equal(lua_tointeger(L, -1), l.ids[i]);
        lua_pop(L, 1);
    }
    lua_getglobal(L, "cache");
    const pl_cache *theirs = pl_to_cache(L, -1);
    assert_int_equal(pl_cache_length(theirs), 25);
    pl_push_cache(L, l.cache);
    lua_setglobal(L, "ours");
    run(L, "assert(ours == cache and ours:truncate(5):extend(tokens) == ours)");
    lua_getglobal(L, "model");
    pl_model *same = pl_to_model(L, -1);
    pl_job *left = submit(h, same, theirs, 81, 5, 0, &(listener){0});
    pl_cache_release(theirs);
    assert_null(pl_to_model(L, 1 + lua_gettop(L)));
    /* What a task raises comes out of the poll, once; then everything goes on. */
    run(L, "core.spawn(function() error 'not here' end)");
    pl_error e;
    size_t n;
    polling = true;
    assert_int_equal(pl_poll(h, 5, &n, &e), PL_ERR_CALLBACK);
    polling = false;
    assert_non_null(strstr(e.message, "not here"));
    assert_int_equal(pl_open_lua(L, h), PL_ERR_ARGUMENT);
    pl_model_release(m);
    pl_model_release(same);
    pl_cache_release(l.cache);
    pl_engine_free(h);
    pl_job_release(left);
    run(L, "again = model:generate{input_ids = {80, 7, 11, 13, 17}, max_new_tokens = 20} "
           "assert(again[20] == tokens[20])");
    lua_close(L);
    assert_int_equal(mem_live(), live);
}

static void *use_state(void *path) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaL_requiref(L, "perilune.core", luaopen_perilune_core, 0);
    lua_setglobal(L, "core");
    lua_pushstring(L, path);
    lua_setglobal(L, "path");
    int rc = luaL_dostring(L, "local model = assert(core.load(path, {threads = 2}))\n"
                              "local out = {}\n"
                              "local tasks = {}\n"
                              "for i = 1, 4 do tasks[i] = core.spawn(function()\n"
                              "  out[i] = table.concat(model:generate{input = 'the cat ' .. i, "
                              "max_new_tokens = 12, temperature = 0.8, seed = i}, ' ') end) end\n"
                              "while core.poll(1) > 0 do end\n"
                              "return table.concat(out, '|')");
    char *text = rc ? NULL : strdup(lua_tostring(L, -1));
    if (rc) fprintf(stderr, "%s\n", lua_tostring(L, -1));
    lua_close(L);
    return text;
}

TEST(states_on_several_threads_share_one_model) {
    enum { STATES = 4 };
    pthread_t threads[STATES];
    char *text[STATES], path[4096];
    long live = mem_live();
    snprintf(path, sizeof path, "%s", model_path());
    for (int i = 0; i < STATES; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_state, path), 0);
    for (int i = 0; i < STATES; i++) pthread_join(threads[i], (void **)&text[i]);
    for (int i = 0; i < STATES; i++) {
        assert_non_null(text[i]);
        assert_string_equal(text[i], text[0]);
    }
    for (int i = 0; i < STATES; i++) free(text[i]);
    assert_int_equal(mem_live(), live);

    pl_error e;
    model *a, *b, *c;
    assert_int_equal(model_load(&(model_options){.path = path, .kv = KV_F16, .threads = 1}, &a, &e),
                     PL_OK);
    assert_int_equal(model_load(&(model_options){.path = path, .kv = KV_F16, .threads = 1}, &b, &e),
                     PL_OK);
    assert_int_equal(model_load(&(model_options){.path = path, .kv = KV_F32, .threads = 1}, &c, &e),
                     PL_OK);
    assert_true(a == b && a != c);
    model_free(a);
    model_free(b);
    model_free(c);
    assert_int_equal(mem_live(), live);
}

/* ---- the example ---- */

TEST(the_example_of_a_host_runs) {
    const char *build = getenv("BUILD");
    char command[4096], output[4096] = "";
    snprintf(command, sizeof command, "%s/host 2000 2>&1", build && *build ? build : "build");
    FILE *f = popen(command, "r");
    assert_non_null(f);
    size_t n = fread(output, 1, sizeof output - 1, f);
    output[n] = '\0';
    int status = pclose(f);
    if (!WIFEXITED(status) || WEXITSTATUS(status)) fail_msg("%s", output);
    static const char *const answers[] = {"Mira   I sell swords", "Lys    I sell fish",
                                          "Oda    I sell coats", "longest poll"};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        assert_non_null(strstr(output, answers[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_side_by_side_say_what_each_says_alone),
        cmocka_unit_test(a_job_begins_by_spelling_its_prefix),
        cmocka_unit_test(a_cancelled_job_keeps_what_it_said_and_leaves_the_others_alone),
        cmocka_unit_test(values_outlive_the_engine),
        cmocka_unit_test(other_threads_let_go_of_caches),
        cmocka_unit_test(bad_options_are_refused_and_newer_hosts_are_understood),
        cmocka_unit_test(a_loading_that_does_not_block),
        cmocka_unit_test(a_script_and_its_host_share_models_caches_and_the_poll),
        cmocka_unit_test(states_on_several_threads_share_one_model),
        cmocka_unit_test(the_example_of_a_host_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
