/* model.c: the model as a Lua value: loading, text and tokens, what is known and counted about it,
 * closing. It owns the engine, and the lists of the caches and requests that closing it closes.
 *
 * Blocks are not Lua's memory: bind_charge tells the collector of them, so that a script which
 * drops caches without a close() is collected in time. */
#include "bind/bind.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "bind/perilune_lua.h"
#include "gguf/types.h"

#define HANDLES_KEY "perilune.models"   /* open models by their handles, weakly */

/* ---- the handle ---- */

model_handle *bind_check_model(lua_State *L, int arg) {
    model_handle *m = luaL_testudata(L, arg, MODEL_TYPE);
    if (m == NULL) bind_arg_error(L, arg, "a model expected, got %s", bind_describe(L, arg));
    bind_engine(L, m);
    return m;
}

engine *bind_engine(lua_State *L, model_handle *m) {
    if (m == NULL || m->engine == NULL) bind_raise(L, PL_ERR_CLOSED, "the model is closed");
    return m->engine;
}

engine *bind_computing(lua_State *L, model_handle *m) {
    engine *g = bind_engine(L, m);
    if (engine_model(g)->hp.n_layer == 0)
        bind_raise(L, PL_ERR_ARGUMENT,
                   "the model was loaded with vocab_only: it has no weights to compute with");
    return g;
}

size_t bind_vocab(lua_State *L, model_handle *m) {
    model *loaded = engine_model(bind_engine(L, m));
    return loaded->hp.n_vocab != 0 ? loaded->hp.n_vocab : tokenizer_size(loaded->tok);
}

static void close_model(model_handle *m) {
    engine *g = m->engine;
    while (m->requests != NULL) bind_close_request(m->requests);
    while (m->caches != NULL) bind_close_cache(m->caches);
    m->engine = NULL;
    if (g == NULL) return;
    if (m->at != NULL) {
        *m->at = m->next;
        if (m->next != NULL) m->next->at = m->at;
        m->at = NULL;
        if (engine_holders(g) == 1) loop_remove(*m->loop, g);
    }
    engine_close(g);
}

model_handle *bind_new_model(lua_State *L) {
    model_handle *m = lua_newuserdatauv(L, sizeof *m, 0);
    *m = (model_handle){0};
    luaL_setmetatable(L, MODEL_TYPE);
    return m;
}

void bind_enter_model(lua_State *L, model_handle *m) {
    model_handle **list = bind_models(L, &m->loop);
    pl_error e;
    loop_remove(*m->loop, m->engine); /* once is enough */
    if (loop_add(*m->loop, m->engine, &e) != PL_OK) {
        close_model(m);
        bind_fail(L, &e);
    }
    m->next = *list;
    m->at = list;
    if (m->next != NULL) m->next->at = &m->next;
    *list = m;
    lua_getfield(L, LUA_REGISTRYINDEX, HANDLES_KEY);
    lua_pushvalue(L, -2);
    lua_rawsetp(L, -2, m);
    lua_pop(L, 1);
}

bool bind_push_known_model(lua_State *L, const engine *g) {
    loop **engines;
    model_handle *m = *bind_models(L, &engines);
    while (m != NULL && m->engine != g) m = m->next;
    if (m == NULL) return false;
    lua_getfield(L, LUA_REGISTRYINDEX, HANDLES_KEY);
    lua_rawgetp(L, -1, m);
    lua_remove(L, -2);
    if (!lua_isnil(L, -1)) return true;
    lua_pop(L, 1); /* it waits for its finalizer */
    return false;
}

static int model_close(lua_State *L) {
    model_handle *m = luaL_testudata(L, 1, MODEL_TYPE);
    if (m == NULL) bind_arg_error(L, 1, "a model expected, got %s", bind_describe(L, 1));
    close_model(m);
    return 0;
}

/* As if Lua had allocated them. */
void bind_charge_bytes(lua_State *L, uint64_t bytes) {
    uint64_t kilobytes = bytes >> 10;
    if (kilobytes > INT_MAX >> 10) kilobytes = INT_MAX >> 10;
    if (kilobytes != 0 && lua_gc(L, LUA_GCISRUNNING) == 1) lua_gc(L, LUA_GCSTEP, (int)kilobytes);
}

static uint64_t held_bytes(const model_handle *m) {
    if (m->engine == NULL || engine_model(m->engine)->hp.n_layer == 0) return 0;
    kv_pool *pool = cache_store_pool(engine_store(m->engine));
    return pool_used_bytes(pool);
}

void bind_charge(lua_State *L, model_handle *m) {
    uint64_t held, grown;
    if (m == NULL) return;
    held = held_bytes(m);
    grown = held > m->charged ? held - m->charged : 0;
    if (grown != 0) bind_charge_bytes(L, grown);
    m->charged = held_bytes(m); /* finalizers may have given blocks back */
}

void bind_collect(lua_State *L) {
    lua_gc(L, LUA_GCCOLLECT); /* finds what is dead and runs its finalizers, */
    lua_gc(L, LUA_GCCOLLECT); /* which may have let go of more */
}

/* ---- loading ---- */

static bool is_file(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

int bind_model_path(lua_State *L, const char **path) {
    char found[PATH_MAX];
    if (strcmp(*path, "demo") != 0 || is_file("demo")) return 0;
    if (bundled_model(found, sizeof found)) {
        *path = lua_pushstring(L, found); /* stays on the stack */
        return 0;
    }
    luaL_pushfail(L);
    lua_pushliteral(L, "demo: the bundled model was not found beside the program or its tree "
                       "(the environment variable PERILUNE_DEMO may name it)");
    lua_pushstring(L, pl_code_name(PL_ERR_IO));
    return 3;
}

/* perilune.load(path [, options]) --> model | nil, message, code */
int bind_load(lua_State *L) {
    static const char *const allowed[] = {
        "context", "threads", "kv_type", "cache_bytes", "state_interval", "deterministic", "mmap",
        "preload", "repack", "vocab_only", "progress", "step_rows", "sequences", NULL};
    engine_options o = {.model.kv = KV_F16};
    bind_progress progress = {.L = L, .function = 4};
    bool shown = false; /* a host's own progress, which wants to know the end */
    lua_Integer i;
    pl_error e;
    pl_code code;

    o.model.path = bind_path_arg(L, 1);
    lua_settop(L, 2);
    model_handle *m = bind_new_model(L); /* 3 */
    lua_pushnil(L); /* 4: progress */

    if (bind_options_at(L, 2, "load", allowed)) {
        if (bind_integer_option(L, 2, "context", 1, UINT32_MAX, &i)) o.model.context = (uint32_t)i;
        if (bind_integer_option(L, 2, "threads", 1, TEAM_MAX, &i)) o.model.threads = (uint32_t)i;
        if (bind_integer_option(L, 2, "cache_bytes", 1, LUA_MAXINTEGER, &i))
            o.cache_bytes = (size_t)i;
        if (bind_integer_option(L, 2, "state_interval", 1, UINT32_MAX, &i))
            o.state_interval = (size_t)i;
        if (bind_integer_option(L, 2, "step_rows", 1, STEP_ROWS_MAX, &i)) o.step_rows = (size_t)i;
        if (bind_integer_option(L, 2, "sequences", 1, UINT32_MAX, &i)) o.sequences = (size_t)i;
        if (lua_getfield(L, 2, "kv_type") != LUA_TNIL) {
            const char *type = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
            if (!kv_type_named(type, &o.model.kv))
                bind_raise(L, PL_ERR_ARGUMENT,
                           "option 'kv_type' is %s: 'f32', 'f16' or 'q8_0' is allowed",
                           bind_describe(L, -1));
        }
        o.model.no_map = !bind_boolean_option(L, 2, "mmap", true);
        o.model.no_preload = !bind_boolean_option(L, 2, "preload", true);
        o.model.vocab_only = bind_boolean_option(L, 2, "vocab_only", false);
        o.model.no_pack = !bind_boolean_option(L, 2, "repack", true);
        bind_boolean_option(L, 2, "deterministic", false); /* every path of this build is */
        bind_progress_option(L, 2, 4);
        lua_settop(L, 4);
    }
    if (lua_isnil(L, 4) && lua_getfield(L, LUA_REGISTRYINDEX, PERILUNE_PROGRESS) == LUA_TFUNCTION) {
        lua_replace(L, 4);
        shown = true;
    }
    lua_settop(L, 4);
    int refused = bind_model_path(L, &o.model.path);
    if (refused != 0) return refused;
    if (!lua_isnil(L, 4)) {
        o.model.progress = bind_call_progress;
        o.model.user = &progress;
    }
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    code = engine_open(&o, &m->engine, &e);
    if (shown) {
        lua_pushvalue(L, 4);
        if (lua_pcall(L, 0, 0, 0) != LUA_OK) lua_pop(L, 1);
    }
    if (progress.raised) return lua_error(L); /* the script's own value */
    if (code == PL_ERR_ARGUMENT) return bind_fail(L, &e);
    if (code != PL_OK) return bind_refused(L, &e);
    lua_pushvalue(L, 3);
    bind_enter_model(L, m);
    bind_charge_bytes(L, engine_model(m->engine)->n_bytes); /* models that were dropped go first */
    return 1;
}

/* ---- text and tokens ---- */

/* model:encode(text [, {special = false, bos = false, eos = false}]) --> ids */
static int model_encode(lua_State *L) {
    static const char *const allowed[] = {"special", "bos", "eos", NULL};
    model_handle *m = bind_check_model(L, 1);
    encode_options o = {.start = true};
    size_t n;
    const char *text;
    pl_error e;
    if (lua_type(L, 2) != LUA_TSTRING)
        bind_arg_error(L, 2, "a text expected, got %s", bind_describe(L, 2));
    text = lua_tolstring(L, 2, &n);
    if (bind_options_at(L, 3, "encode", allowed)) {
        o.special = bind_boolean_option(L, 3, "special", false);
        o.bos = bind_boolean_option(L, 3, "bos", false);
        o.eos = bind_boolean_option(L, 3, "eos", false);
    }
    scratch *s = bind_scratch(L);
    if (tokenizer_encode(engine_model(bind_engine(L, m))->tok, text, n, o, &s->ids, &e) != PL_OK)
        bind_fail(L, &e);
    lua_createtable(L, s->ids.n < INT_MAX ? (int)s->ids.n : INT_MAX, 0);
    bind_push_ids(L, s->ids.ids, s->ids.n);
    bind_scratch_clear(s);
    return 1;
}

/* model:decode(ids [, {special = false}]) --> text */
static int model_decode(lua_State *L) {
    static const char *const allowed[] = {"special", NULL};
    model_handle *m = bind_check_model(L, 1);
    bool special =
        bind_options_at(L, 3, "decode", allowed) && bind_boolean_option(L, 3, "special", false);
    scratch *s = bind_scratch(L);
    pl_error e;
    bind_ids(L, 2, "ids", m, false, false, s);
    if (tokenizer_decode(engine_model(bind_engine(L, m))->tok, s->ids.ids, s->ids.n, special, true,
                         &s->text, &e) != PL_OK)
        bind_fail(L, &e);
    lua_pushlstring(L, s->text.data, s->text.n);
    bind_scratch_clear(s);
    return 1;
}

/* model:piece(id) --> the bytes of one token; of a control token, its name */
static int model_piece(lua_State *L) {
    model_handle *m = bind_check_model(L, 1);
    tokenizer *t = engine_model(m->engine)->tok;
    gguf_string piece = tokenizer_piece(t, bind_id_arg(L, 2, tokenizer_size(t)));
    lua_pushlstring(L, piece.data, piece.size);
    return 1;
}

/* model:id(piece) --> id or nil */
static int model_id(lua_State *L) {
    model_handle *m = bind_check_model(L, 1);
    size_t n;
    const char *piece;
    int32_t id;
    if (lua_type(L, 2) != LUA_TSTRING)
        bind_arg_error(L, 2, "a token's text expected, got %s", bind_describe(L, 2));
    piece = lua_tolstring(L, 2, &n);
    id = tokenizer_id(engine_model(m->engine)->tok, piece, n);
    if (id < 0) lua_pushnil(L);
    else lua_pushinteger(L, id);
    return 1;
}

/* model:is_eog(id) --> whether it ends a generation */
static int model_is_eog(lua_State *L) {
    model_handle *m = bind_check_model(L, 1);
    tokenizer *t = engine_model(m->engine)->tok;
    lua_pushboolean(L, tokenizer_is_eog(t, bind_id_arg(L, 2, tokenizer_size(t))));
    return 1;
}

/* ---- what is known and counted ---- */

static void set_integer(lua_State *L, const char *key, uint64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, key);
}

/* Absent when NULL. */
static void set_string(lua_State *L, const char *key, const char *value) {
    if (value == NULL) return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, key);
}

static void set_id(lua_State *L, const char *key, int32_t id) {
    if (id >= 0) set_integer(L, key, (uint64_t)id);
}

static void push_tokenizer_info(lua_State *L, model_handle *m) {
    tokenizer_info t = tokenizer_describe(engine_model(bind_engine(L, m))->tok);
    lua_createtable(L, 0, 24);
    lua_createtable(L, (int)t.n_eog, 0);
    t = tokenizer_describe(engine_model(bind_engine(L, m))->tok);
    bind_push_ids(L, t.eog, t.n_eog);
    lua_setfield(L, -2, "eog");
    const struct {
        const char *name;
        bool value;
    } flags[] = {{"add_bos", t.add_bos},
                 {"add_eos", t.add_eos},
                 {"add_sep", t.add_sep},
                 {"add_space_prefix", t.add_space}};
    const struct {
        const char *name;
        int32_t id;
    } ids[] = {{"bos", t.bos},         {"eos", t.eos},         {"eot", t.eot},
               {"eom", t.eom},         {"unk", t.unk},         {"sep", t.sep},
               {"pad", t.pad},         {"mask", t.mask},       {"cls", t.cls},
               {"fim_pre", t.fim_pre}, {"fim_suf", t.fim_suf}, {"fim_mid", t.fim_mid},
               {"fim_pad", t.fim_pad}, {"fim_rep", t.fim_rep}, {"fim_sep", t.fim_sep}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        lua_pushboolean(L, flags[i].value);
        lua_setfield(L, -2, flags[i].name);
    }
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) set_id(L, ids[i].name, ids[i].id);
    set_string(L, "model", tokenizer_describe(engine_model(bind_engine(L, m))->tok).model);
    set_string(L, "pre", tokenizer_describe(engine_model(bind_engine(L, m))->tok).pre);
}

/* Name of each weight type in the file, and how many tensors have it. */
static void push_weight_types(lua_State *L, model_handle *m) {
    lua_newtable(L);
    for (size_t i = 0;; i++) {
        gguf *file = engine_model(bind_engine(L, m))->file;
        const weight_format *f;
        lua_Integer count;
        if (file == NULL || i >= gguf_n_tensors(file)) return;
        f = weight_format_of(gguf_tensor_at(file, i)->type);
        if (f == NULL || f->name == NULL) continue;
        lua_getfield(L, -1, f->name); /* nil counts as 0 */
        count = lua_tointeger(L, -1) + 1;
        lua_pop(L, 1);
        lua_pushinteger(L, count);
        lua_setfield(L, -2, f->name);
    }
}

/* A table of what the file holds beside the model: {vision = tensors, ...}; nil when there is
 * nothing. */
static void push_skipped(lua_State *L, model_handle *m) {
    skipped_part parts[SKIPPED_PARTS]; /* a copy: names in static tables */
    memcpy(parts, engine_model(bind_engine(L, m))->skipped, sizeof parts);
    if (parts[0].what == NULL) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, 0, SKIPPED_PARTS);
    for (size_t i = 0; i < SKIPPED_PARTS && parts[i].what != NULL; i++)
        set_integer(L, parts[i].what, parts[i].n_tensors);
}

/* What the layers are made of: how many of each kind; nil without weights. */
static void push_layers(lua_State *L, model_handle *m) {
    layer_census n = model_count_layers(engine_model(bind_engine(L, m)));
    const struct {
        const char *name;
        uint32_t n;
    } kinds[] = {{"attention", n.attention}, {"sliding_window", n.sliding_window},
                 {"delta_net", n.delta_net}, {"short_conv", n.short_conv},
                 {"mamba2", n.mamba2},       {"experts", n.experts}};
    lua_createtable(L, 0, 2);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].n != 0) set_integer(L, kinds[i].name, kinds[i].n);
}

/* model:info() --> table */
static int model_info(lua_State *L) {
    model_handle *m = bind_check_model(L, 1);
    gguf_string name = {0};
    model *l;
    lua_createtable(L, 0, 20);
    push_tokenizer_info(L, m);
    lua_setfield(L, -2, "tokenizer");
    push_weight_types(L, m);
    lua_setfield(L, -2, "weight_types");
    push_skipped(L, m);
    lua_setfield(L, -2, "skipped");

    l = engine_model(bind_engine(L, m));
    if (l->file != NULL && gguf_get_string(l->file, "general.name", false, &name, NULL) == PL_OK &&
        name.data != NULL) {
        lua_pushlstring(L, name.data, name.size);
        lua_setfield(L, -2, "name");
    }
    l = engine_model(bind_engine(L, m));
    set_string(L, "chat_template", tokenizer_describe(l->tok).chat_template);
    l = engine_model(bind_engine(L, m));
    if (l->file != NULL) set_string(L, "path", gguf_path(l->file));

    /* A copy: numbers, and names in static tables. */
    hparams hp = engine_model(bind_engine(L, m))->hp;
    set_integer(L, "n_params", engine_model(bind_engine(L, m))->n_params);
    set_integer(L, "n_bytes", engine_model(bind_engine(L, m))->n_bytes);
    set_integer(L, "vocab_size", bind_vocab(L, m));
    set_integer(L, "context", engine_model(bind_engine(L, m))->context);
    if (hp.arch != NULL) set_string(L, "arch", hp.arch->name);
    set_integer(L, "context_trained", hp.context_trained);
    set_integer(L, "n_layers", hp.n_layer);
    set_integer(L, "n_embd", hp.n_embd);
    set_integer(L, "n_heads", hp.n_head);
    set_integer(L, "n_kv_heads", hp.n_head_kv);
    if (hp.n_layer == 0) return 1;

    set_string(L, "kv_type", kv_type_name(engine_model(bind_engine(L, m))->kv));
    set_integer(L, "kv_bytes_per_token", engine_model(bind_engine(L, m))->block_bytes / KV_TILE);
    if (engine_model(bind_engine(L, m))->state_bytes != 0)
        set_integer(L, "state_bytes", engine_model(bind_engine(L, m))->state_bytes);
    if (hp.n_expert != 0) {
        set_integer(L, "n_experts", hp.n_expert);
        set_integer(L, "n_experts_used", hp.n_expert_used);
    }
    push_layers(L, m);
    lua_setfield(L, -2, "layers");
    set_string(L, "isa", engine_model(bind_engine(L, m))->math->name);
    set_integer(L, "threads", team_size(engine_model(bind_engine(L, m))->workers));
    return 1;
}

/* model:stats() --> table */
static int model_stats(lua_State *L) {
    model_handle *m = bind_check_model(L, 1);
    engine_counts counts = engine_stats(m->engine);
    kv_pool pool = {0}; /* copies: filling the tables may run a finalizer */
    size_t nodes = 0, interval = 0;
    if (engine_model(m->engine)->hp.n_layer != 0) {
        pool = *cache_store_pool(engine_store(m->engine));
        nodes = cache_store_nodes(engine_store(m->engine));
        interval = cache_store_interval(engine_store(m->engine));
    }
    const pool_shelf *blocks = &pool.of[POOL_BLOCKS], *states = &pool.of[POOL_STATES];
    lua_createtable(L, 0, 12);
    set_integer(L, "tokens", counts.tokens);
    set_integer(L, "rerun", counts.rerun);
    set_integer(L, "steps", counts.steps);
    set_integer(L, "passes", counts.steps);
    set_integer(L, "sampled", counts.sampled);
    set_integer(L, "caches", nodes);
    set_integer(L, "bytes", pool_used_bytes(&pool));
    lua_createtable(L, 0, 5);
    set_integer(L, "used", blocks->n_used);
    set_integer(L, "free", blocks->n_free);
    set_integer(L, "shared", blocks->n_shared);
    set_integer(L, "limit", blocks->bytes ? pool.max_bytes / blocks->bytes : 0);
    set_integer(L, "bytes", blocks->bytes);
    lua_setfield(L, -2, "blocks");
    if (counts.experts.calls != 0) {
        lua_createtable(L, 0, 3);
        set_integer(L, "calls", counts.experts.calls);
        set_integer(L, "rows", counts.experts.rows);
        set_integer(L, "bytes", counts.experts.bytes);
        lua_setfield(L, -2, "experts");
    }
    if (states->bytes == 0) return 1;
    lua_createtable(L, 0, 4);
    set_integer(L, "used", states->n_used);
    set_integer(L, "free", states->n_free);
    set_integer(L, "bytes", states->bytes);
    set_integer(L, "interval", interval);
    lua_setfield(L, -2, "states");
    return 1;
}

/* ---- caches ---- */

/* model:cache() --> the empty cache */
static int model_cache(lua_State *L) {
    model_handle *m = bind_check_model(L, 1);
    cache_handle *c = bind_new_cache(L, 1);
    pl_error e;
    if (node_empty(engine_store(bind_computing(L, m)), &c->node, &e) != PL_OK) bind_fail(L, &e);
    return 1;
}

pl_code bind_identity(engine *g, char build[BIND_BUILD_MAX], cache_identity *out, pl_error *e) {
    model *l = engine_model(g);
    snprintf(build, BIND_BUILD_MAX, "%s %s", PL_VERSION, l->math->name);
    *out = (cache_identity){.n_vocab = l->hp.n_vocab,
                            .kv = kv_type_name(l->kv),
                            .build = build,
                            .clear = model_clear_slots,
                            .user = l};
    return model_fingerprint(l, &out->weights, e);
}

/* model:restore(path [, {recompute = false}]) --> cache | nil, message, code */
static int model_restore(lua_State *L) {
    static const char *const allowed[] = {"recompute", NULL};
    model_handle *m = bind_check_model(L, 1);
    const char *path = bind_path_arg(L, 2);
    bool recompute =
        bind_options_at(L, 3, "restore", allowed) && bind_boolean_option(L, 3, "recompute", false);
    cache_handle *c = bind_new_cache(L, 1);
    pl_error e;
    pl_code code;
    for (int attempt = 0;; attempt++) {
        engine *g = bind_computing(L, m);
        char build[BIND_BUILD_MAX];
        cache_identity id;
        code = bind_identity(g, build, &id, &e);
        if (code == PL_OK)
            code = cache_restore(engine_store(g), &id, path, recompute, &c->node, &e);
        if (code != PL_ERR_POOL || attempt == 1) break;
        bind_collect(L);
    }
    if (code == PL_ERR_ARGUMENT) bind_fail(L, &e);
    if (code != PL_OK) return bind_refused(L, &e);
    bind_charge(L, m);
    return 1;
}

static int model_tostring(lua_State *L) {
    model_handle *m = luaL_testudata(L, 1, MODEL_TYPE);
    if (m == NULL || m->engine == NULL) lua_pushliteral(L, "model (closed)");
    else {
        model *l = engine_model(m->engine);
        const char *path = l->file != NULL ? gguf_path(l->file) : "?";
        const char *slash = strrchr(path, '/');
        lua_pushfstring(L, "model (%s, %d layers, %d tokens of context)", slash ? slash + 1 : path,
                        (int)l->hp.n_layer, (int)l->context);
    }
    return 1;
}

/* The weak table of models by their handles. */
static void make_handles(lua_State *L) {
    if (lua_getfield(L, LUA_REGISTRYINDEX, HANDLES_KEY) != LUA_TTABLE) {
        lua_newtable(L);
        lua_createtable(L, 0, 1);
        lua_pushliteral(L, "v");
        lua_setfield(L, -2, "__mode");
        lua_setmetatable(L, -2);
        lua_setfield(L, LUA_REGISTRYINDEX, HANDLES_KEY);
    }
    lua_pop(L, 1);
}

void bind_open_model(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"encode", model_encode}, {"decode", model_decode}, {"piece", model_piece},
        {"id", model_id}, {"is_eog", model_is_eog}, {"info", model_info},
        {"stats", model_stats}, {"cache", model_cache}, {"restore", model_restore},
        {"set", bind_set}, {"generate", bind_generate}, {"stream", bind_stream},
        {"close", model_close}, {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", model_close}, {"__close", model_close}, {"__tostring", model_tostring},
        {NULL, NULL}};
    make_handles(L);
    bind_open_type(L, MODEL_TYPE, meta, methods, NULL, NULL);
}
