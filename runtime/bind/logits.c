/* logits.c: one row of logits as a Lua value, indexed by token id, from 0. What goes over the
 * vocabulary runs in C: the methods here check what they were given and call decode/logits.h and
 * decode/row.h. Methods that change a row return it, so that they chain; operators make new ones.
 * Where its floats lie is floats.c's affair. */
#include "bind/bind.h"

#include <float.h>
#include <limits.h>
#include <string.h>

static row_handle *check_logits(lua_State *L, int arg) {
    return bind_check_row(L, arg, LOGITS_TYPE);
}

void bind_push_logits(lua_State *L, request *r, size_t i) {
    size_t n = bind_vocab(L, r->model);
    row_handle *h = bind_new_row(L, LOGITS_TYPE, engine_model(bind_engine(L, r->model))->math, n);
    memcpy(h->row.l, job_row(bind_job(L, r), i), n * sizeof(float));
}

/* The stack: the list, the caches, their handles, rows, results, model, request. */
enum { OF_RESULTS = 5, OF_MODEL, OF_REQUEST };

static int logits_of_waited(lua_State *L, int status, lua_KContext n) {
    request *r = bind_evaluated(L, OF_REQUEST);
    (void)status;
    for (lua_Integer i = 1; i <= (lua_Integer)n; i++) {
        bind_push_logits(L, r, (size_t)i - 1);
        lua_rawseti(L, OF_RESULTS, i);
    }
    bind_close_request(r);
    lua_settop(L, OF_RESULTS);
    return 1;
}

/* perilune.logits { c1, c2, ... } --> list: after the last token of each, in one step */
int bind_logits_of(lua_State *L) {
    lua_Integer n;
    if (!lua_istable(L, 1))
        bind_arg_error(L, 1, "a list of caches expected, got %s", bind_describe(L, 1));
    lua_settop(L, 1);
    n = luaL_len(L, 1);
    if (n < 0 || n > INT_MAX / 2) bind_arg_error(L, 1, "a list of %I caches is too long", n);
    lua_createtable(L, (int)n, 0); /* 2: the caches, held here, whatever becomes of the list */
    cache_handle **caches = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *caches, 0); /* 3 */
    bind_rows *rows = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *rows, 0);         /* 4 */
    for (lua_Integer i = 1; i <= n; i++) {
        lua_geti(L, 1, i);
        caches[i - 1] = bind_test_cache(L, -1);
        if (caches[i - 1] == NULL)
            bind_raise(L, PL_ERR_ARGUMENT, "item %I of the list is %s: a cache is expected", i,
                       bind_describe(L, -1));
        lua_rawseti(L, 2, i);
    }
    for (lua_Integer i = 1; i <= n; i++) {
        cache_handle *c = caches[i - 1];
        if (c->node == NULL) bind_raise(L, PL_ERR_CLOSED, "cache %I of the list is closed", i);
        if (node_length(c->node) == 0)
            bind_raise(L, PL_ERR_ARGUMENT,
                       "cache %I of the list is empty: there is no token to have logits after", i);
        if (c->model != caches[0]->model)
            bind_raise(L, PL_ERR_MISMATCH,
                       "cache %I of the list is of another model than the first", i);
        rows[i - 1] = (bind_rows){node_length(c->node) - 1, 1};
    }
    lua_createtable(L, (int)n, 0); /* 5 */
    if (n == 0) return 1;
    lua_rawgeti(L, 2, 1);
    lua_getiuservalue(L, -1, 1);
    lua_replace(L, -2); /* 6: the model */
    bind_evaluate(L, OF_MODEL, WANT_LOGITS, caches, rows, (size_t)n);
    lua_toclose(L, OF_REQUEST);
    bind_wait(L, OF_REQUEST, logits_of_waited, (lua_KContext)n);
    return logits_of_waited(L, LUA_OK, (lua_KContext)n);
}

/* ---- a value ---- */

/* l[id], and the methods, which a closed one has, too */
static int logits_index(lua_State *L) {
    if (lua_type(L, 2) == LUA_TNUMBER || bind_test_row(L, 1, LOGITS_TYPE) == NULL) {
        const logits_row *r = &check_logits(L, 1)->row;
        lua_pushnumber(L, (lua_Number)r->l[bind_id_arg(L, 2, r->n)]);
        return 1;
    }
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    return 1;
}

/* The row at 1 is about to change. */
static logits_row *changing(lua_State *L) {
    row_handle *h = check_logits(L, 1);
    h->summed = false;
    return &h->row;
}

/* l[id] = x */
static int logits_newindex(lua_State *L) {
    logits_row *r = changing(L);
    int32_t id;
    if (lua_type(L, 2) != LUA_TNUMBER)
        bind_raise(L, PL_ERR_ARGUMENT, "logits have no field %s: l[id] = number is allowed",
                   bind_describe(L, 2));
    id = bind_id_arg(L, 2, r->n);
    r->l[id] =
        (float)bind_number_arg(L, 3, -HUGE_VAL, FLT_MAX, "a number, or -math.huge,", "the logit");
    row_changed(r);
    return 0;
}

static int logits_len(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)check_logits(L, 1)->row.n);
    return 1;
}

static int logits_tostring(lua_State *L) {
    row_handle *h = bind_test_row(L, 1, LOGITS_TYPE);
    if (h == NULL || h->row.l == NULL)
        lua_pushliteral(L, "logits (closed)");
    else
        lua_pushfstring(L, "logits (%I tokens)", (lua_Integer)h->row.n);
    return 1;
}

/* Pushes a copy of the row at idx. */
static row_handle *copy_row(lua_State *L, int idx, const char *type) {
    row_handle *h = lua_touserdata(L, idx), *copy = bind_new_row(L, type, h->row.math, h->row.n);
    bind_row_open(L, h);
    memcpy(copy->row.l, h->row.l, h->row.n * sizeof(float));
    copy->row.n_kept = h->row.n_kept;
    if (h->row.n_kept != SIZE_MAX)
        memcpy(copy->row.kept, h->row.kept, h->row.n_kept * sizeof *h->row.kept);
    copy->logsumexp = h->logsumexp;
    copy->summed = h->summed;
    return copy;
}

/* l:copy() */
static int method_copy(lua_State *L) {
    check_logits(L, 1);
    copy_row(L, 1, LOGITS_TYPE);
    return 1;
}

/* ---- reductions ---- */

static double logsumexp_of(row_handle *h) {
    if (!h->summed) h->logsumexp = row_logsumexp(&h->row);
    h->summed = true;
    return h->logsumexp;
}

/* l:argmax() --> id */
static int method_argmax(lua_State *L) {
    lua_pushinteger(L, row_argmax(&check_logits(L, 1)->row));
    return 1;
}

/* l:top(k) --> ids, logprobs: the k most likely, sorted; fewer when fewer are not masked */
static int method_top(lua_State *L) {
    row_handle *h = check_logits(L, 1);
    size_t k = (size_t)bind_integer_arg(L, 2, 0, LUA_MAXINTEGER, "k");
    if (k > h->row.n) k = h->row.n;
    int32_t *ids = lua_newuserdatauv(L, (k + 1) * sizeof *ids, 0);
    double *logprobs = lua_newuserdatauv(L, (k + 1) * sizeof *logprobs, 0);
    bind_row_open(L, h);
    if (h->row.n_kept != SIZE_MAX) {
        if (k > h->row.n_kept) k = h->row.n_kept;
        memcpy(ids, h->row.kept, k * sizeof *ids);
    } else {
        k = logits_best(h->row.math, h->row.l, h->row.n, k, ids);
        while (k > 0 && !(h->row.l[ids[k - 1]] > -INFINITY)) k--;
    }
    for (size_t i = 0; i < k; i++) logprobs[i] = (double)h->row.l[ids[i]] - logsumexp_of(h);
    lua_createtable(L, k < INT_MAX ? (int)k : INT_MAX, 0);
    bind_push_ids(L, ids, k);
    lua_createtable(L, k < INT_MAX ? (int)k : INT_MAX, 0);
    for (size_t i = 0; i < k; i++) {
        lua_pushnumber(L, (lua_Number)(float)logprobs[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
}

/* l:logprob(id) --> log-probability */
static int method_logprob(lua_State *L) {
    row_handle *h = check_logits(L, 1);
    float x = h->row.l[bind_id_arg(L, 2, h->row.n)];
    lua_pushnumber(L, x > -INFINITY ? (lua_Number)x - logsumexp_of(h) : -HUGE_VAL);
    return 1;
}

static int method_logsumexp(lua_State *L) {
    lua_pushnumber(L, logsumexp_of(check_logits(L, 1)));
    return 1;
}

/* l:entropy() --> nats */
static int method_entropy(lua_State *L) {
    lua_pushnumber(L, row_entropy(&check_logits(L, 1)->row));
    return 1;
}

/* l:kl(m) --> nats: of l from m */
static int method_kl(lua_State *L) {
    row_handle *h = check_logits(L, 1), *other = check_logits(L, 2);
    const logits_row *p = &h->row, *q = &other->row;
    lua_pushnumber(L, h == other ? 0 : logits_kl(p->math, p->l, p->n, q->l, q->n));
    return 1;
}

/* l:logprobs() --> new logits: log-probabilities */
static int method_logprobs(lua_State *L) {
    double z = logsumexp_of(check_logits(L, 1));
    row_handle *copy = copy_row(L, 1, LOGITS_TYPE);
    copy->summed = false;
    row_shift(&copy->row, z);
    return 1;
}

/* l:sample(rng) --> id: takes one number of it */
static int method_sample(lua_State *L) {
    row_handle *h = check_logits(L, 1);
    rng *r = bind_check_rng(L, 2);
    if (!(row_max(&h->row) > -INFINITY))
        bind_raise(L, PL_ERR_ARGUMENT, "every token is masked: there is none to sample");
    lua_pushinteger(L, row_draw(&h->row, rng_uniform(r)));
    return 1;
}

/* ---- arithmetic ---- */

int bind_sum_rows(lua_State *L, const char *type, const char *operation, float weight,
                  float missing) {
    row_handle *a = bind_test_row(L, 1, type), *b = bind_test_row(L, 2, type);
    if (a == NULL || b == NULL)
        bind_raise(L, PL_ERR_ARGUMENT, "%s %s %s: both must be %s", bind_describe(L, 1), operation,
                   bind_describe(L, 2), type + sizeof "perilune." - 1);
    bind_row_open(L, a);
    bind_row_open(L, b);
    size_t common = a->row.n < b->row.n ? a->row.n : b->row.n, n = a->row.n + b->row.n - common;
    row_handle *sum = bind_new_row(L, type, a->row.math, n);
    bind_row_open(L, a); /* making one may have collected something that closed them */
    bind_row_open(L, b);
    memcpy(sum->row.l, a->row.l, a->row.n * sizeof(float));
    for (size_t i = a->row.n; i < n; i++) sum->row.l[i] = 0;
    sum->row.math->logits_add(sum->row.l, b->row.l, b->row.n, weight);
    for (size_t i = common; i < n && missing < 0; i++) sum->row.l[i] = missing;
    return 1;
}

static int logits_add(lua_State *L) { return bind_sum_rows(L, LOGITS_TYPE, "+", 1, -INFINITY); }
static int logits_sub(lua_State *L) { return bind_sum_rows(L, LOGITS_TYPE, "-", -1, -INFINITY); }

row_handle *bind_copy_for_product(lua_State *L, const char *type, float *by) {
    int row = bind_test_row(L, 1, type) != NULL ? 1 : 2;
    if (lua_type(L, 3 - row) != LUA_TNUMBER)
        bind_raise(L, PL_ERR_ARGUMENT, "%s * %s: a number is allowed beside %s",
                   bind_describe(L, 1), bind_describe(L, 2), type + sizeof "perilune." - 1);
    *by = (float)bind_number_arg(L, 3 - row, -FLT_MAX, FLT_MAX, "a finite number", "the factor");
    bind_check_row(L, row, type);
    row_handle *copy = copy_row(L, row, type);
    copy->summed = false;
    return copy;
}

static int logits_mul(lua_State *L) {
    float by;
    row_handle *copy = bind_copy_for_product(L, LOGITS_TYPE, &by);
    row_scale(&copy->row, by);
    return 1;
}

/* What methods return that change their row. */
static int itself(lua_State *L) {
    lua_settop(L, 1);
    return 1;
}

/* l:add(m [, weight]): ids that m lacks are masked */
static int method_add(lua_State *L) {
    row_handle *other = check_logits(L, 2);
    logits_row *r = changing(L);
    double weight = lua_isnoneornil(L, 3)
                        ? 1
                        : bind_number_arg(L, 3, -FLT_MAX, FLT_MAX, "a finite number", "the weight");
    size_t n = other->row.n < r->n ? other->row.n : r->n;
    r->math->logits_add(r->l, other->row.l, n, (float)weight);
    if (n < r->n) r->math->logits_keep(r->l + n, r->n - n, NAN);
    row_changed(r);
    return itself(L);
}

static int method_scale(lua_State *L) {
    row_scale(changing(L),
              (float)bind_number_arg(L, 2, -FLT_MAX, FLT_MAX, "a finite number", "the factor"));
    return itself(L);
}

/* ---- filters ---- */

static int method_temperature(lua_State *L) {
    logits_row *r = changing(L);
    row_temperature(
        r, (float)bind_number_arg(L, 2, 0, FLT_MAX, "a number of at least 0", "the temperature"),
        false);
    return itself(L);
}

/* l:dynatemp(t, range [, exponent]) */
static int method_dynatemp(lua_State *L) {
    logits_row *r = changing(L);
    const char *allowed = "a number of at least 0";
    double t = bind_number_arg(L, 2, 0, FLT_MAX, allowed, "the temperature");
    double range = bind_number_arg(L, 3, 0, FLT_MAX, allowed, "the range");
    double exponent =
        lua_isnoneornil(L, 4) ? 1 : bind_number_arg(L, 4, 0, FLT_MAX, allowed, "the exponent");
    row_dynamic_temperature(r, (float)t, (float)range, (float)exponent, false);
    return itself(L);
}

static int method_top_k(lua_State *L) {
    logits_row *r = changing(L);
    row_top_k(r, (size_t)bind_integer_arg(L, 2, 0, LUA_MAXINTEGER, "k"));
    return itself(L);
}

/* A part of all probability, as an argument: as a float, it is not 0. */
static double mass_arg(lua_State *L) {
    return (double)(float)bind_number_arg(L, 2, (double)FLT_MIN, 1, "a number above 0, up to 1,",
                                          "p");
}

static int method_top_p(lua_State *L) {
    logits_row *r = changing(L);
    row_top_p(r, mass_arg(L));
    return itself(L);
}

static int method_typical_p(lua_State *L) {
    logits_row *r = changing(L);
    row_typical(r, mass_arg(L));
    return itself(L);
}

static int method_min_p(lua_State *L) {
    logits_row *r = changing(L);
    row_min_p(r, (double)(float)bind_number_arg(L, 2, 0, 1, "a number from 0 to 1", "p"));
    return itself(L);
}

static int method_top_n_sigma(lua_State *L) {
    logits_row *r = changing(L);
    row_top_n_sigma(r, bind_number_arg(L, 2, 0, FLT_MAX, "a number of at least 0", "n"));
    return itself(L);
}

/* l:xtc(threshold [, probability, rng]): with a probability, a number of rng decides */
static int method_xtc(lua_State *L) {
    logits_row *r = changing(L);
    double threshold =
        bind_number_arg(L, 2, (double)FLT_MIN, 1, "a number above 0, up to 1,", "the threshold");
    double probability = lua_isnoneornil(L, 3) ? 1
                                               : bind_number_arg(L, 3, 0, 1, "a number from 0 to 1",
                                                                 "the probability");
    if (lua_isnoneornil(L, 3) || rng_uniform(bind_check_rng(L, 4)) < probability)
        row_xtc(r, (double)(float)threshold);
    return itself(L);
}

/* l:mirostat(mu [, m]): version 2; with m, version 1 */
static int method_mirostat(lua_State *L) {
    logits_row *r = changing(L);
    double mu = bind_number_arg(L, 2, -FLT_MAX, FLT_MAX, "a finite number", "mu");
    if (lua_isnoneornil(L, 3))
        row_mirostat(r, mu);
    else
        row_mirostat_zipf(r, mu, (size_t)bind_integer_arg(L, 3, 2, INT32_MAX, "m"));
    return itself(L);
}

/* ---- sets of ids ---- */

static int method_bias(lua_State *L) {
    double x = bind_number_arg(L, 3, -HUGE_VAL, FLT_MAX, "a number, or -math.huge,", "the bias");
    const uint64_t *bits = bind_bits(L, 2, "ids", check_logits(L, 1)->row.n);
    row_bias(changing(L), bits, x < -(double)FLT_MAX ? -INFINITY : (float)x);
    return itself(L);
}

static int method_mask(lua_State *L) {
    const uint64_t *bits = bind_bits(L, 2, "ids", check_logits(L, 1)->row.n);
    row_mask(changing(L), bits);
    return itself(L);
}

static int method_keep(lua_State *L) {
    const uint64_t *bits = bind_bits(L, 2, "ids", check_logits(L, 1)->row.n);
    row_keep(changing(L), bits);
    return itself(L);
}

void bind_open_logits(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"copy", method_copy}, {"argmax", method_argmax}, {"top", method_top},
        {"logprob", method_logprob}, {"logprobs", method_logprobs}, {"logsumexp", method_logsumexp},
        {"entropy", method_entropy}, {"kl", method_kl}, {"probs", bind_probs},
        {"sample", method_sample}, {"add", method_add}, {"scale", method_scale},
        {"temperature", method_temperature}, {"dynatemp", method_dynatemp}, {"top_k", method_top_k},
        {"top_p", method_top_p}, {"min_p", method_min_p}, {"typical_p", method_typical_p},
        {"top_n_sigma", method_top_n_sigma}, {"xtc", method_xtc}, {"mirostat", method_mirostat},
        {"penalties", bind_penalties}, {"dry", bind_dry}, {"bias", method_bias},
        {"mask", method_mask}, {"keep", method_keep}, {"close", bind_close_row}, {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", bind_close_row}, {"__close", bind_close_row}, {"__len", logits_len},
        {"__newindex", logits_newindex}, {"__add", logits_add}, {"__sub", logits_sub},
        {"__mul", logits_mul}, {"__tostring", logits_tostring}, {NULL, NULL}};
    bind_open_type(L, LOGITS_TYPE, meta, methods, logits_index, NULL);
}
