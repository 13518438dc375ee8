/* stream.c: a generation that a script pulls, token by token: a step runs inside a call of the
 * stream only. `cache`, `tokens` and `info` are true at any moment; assigning `cache` goes on from
 * there. Closing a stream ends its generation and lets go of its memory; what it came to stays. */
#include "bind/bind.h"

#include <string.h>

static request *check_stream(lua_State *L, int arg) {
    request *r = luaL_testudata(L, arg, STREAM_TYPE);
    if (r == NULL) bind_arg_error(L, arg, "a stream expected, got %s", bind_describe(L, arg));
    return r;
}

/* Pushes the table of what a closed stream was; false when it is open, or was closed with its
 * model. */
static bool push_end(lua_State *L, const request *r) {
    if (r->job != NULL) return false;
    if (lua_getiuservalue(L, 1, REQUEST_END) == LUA_TTABLE) return true;
    lua_pop(L, 1);
    return false;
}

/* The stream, at 1, has a token: hands it out. id and piece are on the top. */
static int hand_out(lua_State *L, int at) {
    lua_settop(L, at + 1);
    return 2;
}

/* on_token of a stream has returned, perhaps after a yield: 2 and 3 are handed out now. */
static int pulled(lua_State *L, int status, lua_KContext idx) {
    bind_after_on_token(L, (int)idx, status);
    return hand_out(L, 2);
}

static int stream_next(lua_State *L) {
    request *r = lua_touserdata(L, 1);
    lua_settop(L, 1);
    if (job_state(bind_job(L, r)) != JOB_WAITING) return lua_pushnil(L), 1;
    generate_token token = job_token(r->job);
    r->delivered = true;
    lua_pushinteger(L, token.id);                   /* 2 */
    lua_pushlstring(L, token.piece, token.n_piece); /* 3 */
    if (lua_getiuservalue(L, 1, REQUEST_ON_TOKEN) != LUA_TFUNCTION) return hand_out(L, 2);
    lua_pop(L, 1);
    bind_job(L, r);
    return pulled(L, bind_call_on_token(L, 1, pulled), 1);
}

static int stream_call(lua_State *L);

static int stream_waited(lua_State *L, int status, lua_KContext ctx) {
    request *r = lua_touserdata(L, 1);
    (void)status, (void)ctx;
    if (push_end(L, r)) return lua_pushnil(L), 1; /* closed meanwhile */
    bind_check_run(L, 1);
    job_status state = job_state(bind_job(L, r));
    if (state == JOB_RUNNING || (state == JOB_WAITING && r->delivered))
        return stream_call(L); /* another task was handed it */
    return stream_next(L);
}

/* stream() --> id, piece; nil when it is over */
static int stream_call(lua_State *L) {
    request *r = check_stream(L, 1);
    lua_settop(L, 1);
    if (push_end(L, r)) return lua_pushnil(L), 1;
    if (job_state(bind_job(L, r)) == JOB_WAITING && r->delivered) job_resume(r->job);
    r->delivered = false;
    bind_wait(L, 1, stream_waited, 0);
    return stream_waited(L, LUA_OK, 0);
}

/* Ends it; its last words are kept in a table. */
static int stream_close(lua_State *L) {
    request *r = check_stream(L, 1);
    lua_settop(L, 1);
    if (r->job == NULL) {
        bind_close_request(r);
        return 0;
    }
    if (job_state(r->job) != JOB_DONE) job_finish(r->job, FINISH_CANCELLED);
    lua_createtable(L, 0, 3);
    bind_push_cache(L, 1);
    lua_setfield(L, -2, "cache");
    bind_push_tokens(L, 1);
    lua_setfield(L, -2, "tokens");
    bind_push_info(L, 1);
    lua_setfield(L, -2, "info");
    lua_setiuservalue(L, 1, REQUEST_END);
    bind_close_request(r);
    return 0;
}

static int stream_gc(lua_State *L) {
    request *r = luaL_testudata(L, 1, STREAM_TYPE);
    if (r != NULL) bind_close_request(r);
    return 0;
}

/* stream.cache, stream.tokens, stream.info, and the methods */
static int stream_index(lua_State *L) {
    request *r = check_stream(L, 1);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    bool cache = strcmp(key, "cache") == 0, tokens = strcmp(key, "tokens") == 0;
    if (!cache && !tokens && strcmp(key, "info") != 0) {
        lua_pushvalue(L, 2);
        lua_rawget(L, lua_upvalueindex(1));
    } else if (push_end(L, r)) {
        lua_getfield(L, -1, key);
    } else if (cache) {
        bind_push_cache(L, 1);
    } else if (tokens) {
        bind_push_tokens(L, 1);
    } else {
        bind_push_info(L, 1);
    }
    return 1;
}

/* stream.cache = cache */
static int stream_newindex(lua_State *L) {
    request *r = check_stream(L, 1);
    if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "cache") != 0)
        bind_raise(L, PL_ERR_ARGUMENT, "a stream's field %s cannot be assigned: only cache can",
                   bind_describe(L, 2));
    if (push_end(L, r)) bind_raise(L, PL_ERR_CLOSED, "the stream is closed");
    bind_redirect(L, 1, 3, "stream.cache was assigned");
    r->delivered = false;
    return 0;
}

static int stream_tostring(lua_State *L) {
    request *r = check_stream(L, 1);
    if (r->job == NULL) lua_pushliteral(L, "stream (closed)");
    else {
        generate_result result = job_result(r->job);
        const char *state = job_state(r->job) == JOB_DONE ? finish_name(result.reason) : NULL;
        lua_pushfstring(L, "stream (%I tokens, %s)", (lua_Integer)result.n_tokens,
                        state ? state : "under way");
    }
    return 1;
}

/* model:stream(options) --> stream */
int bind_stream(lua_State *L) {
    int n = bind_choose(L, true);
    if (n >= 0) return n;
    bind_start(L, START_STREAM, "stream");
    return 1;
}

void bind_open_stream(lua_State *L) {
    static const luaL_Reg methods[] = {{"close", stream_close}, {NULL, NULL}};
    static const char *const fields[] = {"cache", "tokens", "info", NULL};
    static const luaL_Reg meta[] = {
        {"__gc", stream_gc}, {"__close", stream_close}, {"__call", stream_call},
        {"__newindex", stream_newindex}, {"__tostring", stream_tostring}, {NULL, NULL}};
    bind_open_type(L, STREAM_TYPE, meta, methods, stream_index, fields);
}
