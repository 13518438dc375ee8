/* task.c: tasks: coroutines that wait for the engine, for other tasks and for time, and the
 * scheduler that resumes them, one for each Lua state.
 *
 * Whatever needs the engine calls bind_wait. In a task it suspends the coroutine until the request
 * has its result. Elsewhere it runs the engines until then: outside of tasks, every task moves
 * along; where a task cannot be suspended (a coroutine of the user's inside it, a function that Lua
 * calls from C), the others stay where they are. Tasks are resumed in the order of their spawning,
 * once a round, and a step of the engines follows a round.
 *
 * The scheduler's user values: tasks that are live, or failed and nobody was told (which it keeps
 * alive), and on_error. A task's: its coroutine; what it came to, a table of results, or the error;
 * what it waits for, so that this stays whatever a script does to the coroutine. */
#include "bind/bind.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/system.h"

#define SCHEDULER_KEY "perilune.scheduler"
enum { SCHEDULER_TASKS = 1, SCHEDULER_ON_ERROR, SCHEDULER_TRANSPARENT, SCHEDULER_VALUES = 3 };
enum { TASK_COROUTINE = 1, TASK_OUTCOME, TASK_WAITS_FOR, TASK_VALUES = 3 };

typedef enum {
    TASK_READY,
    TASK_WAITS,
    TASK_JOINS,
    TASK_SLEEPS,
    TASK_DONE,
    TASK_FAILED,
    TASK_CANCELLED
} task_status;

typedef struct task {
    struct task *prev, *next;   /* in one of the scheduler's lists */
    lua_State *co;              /* NULL: finished */
    task_status status;
    int n_args; /* that its function is called with, while it was never resumed: else 0 */
    int priority;
    bool awaited;               /* somebody was told its error, or will be */
    bool active;                /* its coroutine is being resumed */
    /* it was cancelled while it ran: it ends when it next waits, gives way or returns */
    bool doomed;
    /* TASK_WAITS: this, which is TASK_WAITS_FOR; a list of tasks is that when TASK_JOINS */
    request *waits;
    double wake;                /* TASK_SLEEPS */
    uint64_t round;             /* in which it was resumed last */
} task;

typedef struct { task *first, *last; size_t n; } task_list;

typedef struct {
    task_list live;             /* in the order of spawning */
    task_list failed;           /* and nobody was told, in the order in which they did */
    task *current;              /* NULL: none runs */
    uint64_t round;
    bool broken_off; /* the round's time was up before it was over: the next call goes on with it */
    loop own, *engines;
    model_handle *models;       /* open ones */
} scheduler;

static scheduler *push_scheduler(lua_State *L) {
    lua_getfield(L, LUA_REGISTRYINDEX, SCHEDULER_KEY);
    return lua_touserdata(L, -1);
}

static scheduler *get_scheduler(lua_State *L) {
    scheduler *s = push_scheduler(L);
    lua_pop(L, 1);
    return s;
}

loop *bind_loop(lua_State *L) { return get_scheduler(L)->engines; }

int bind_priority(lua_State *L) {
    scheduler *s = get_scheduler(L);
    return s->current ? s->current->priority : 0;
}

static task *check_task(lua_State *L, int arg) {
    task *t = luaL_testudata(L, arg, TASK_TYPE);
    if (t == NULL) bind_arg_error(L, arg, "a task expected, got %s", bind_describe(L, arg));
    return t;
}

static bool finished(const task *t) { return t->status >= TASK_DONE; }

/* ---- what tasks wait for ---- */

/* The place (from 1) of the first finished task in the list at idx, one that did not succeed before
 * others; 0: none is. */
static lua_Integer first_finished(lua_State *L, int idx) {
    lua_Integer n = (lua_Integer)lua_rawlen(L, idx), found = 0;
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, idx, i);
        const task *t = lua_touserdata(L, -1);
        lua_pop(L, 1);
        if (t->status == TASK_FAILED || t->status == TASK_CANCELLED) return i;
        if (t->status == TASK_DONE && found == 0) found = i;
    }
    return found;
}

static bool settled(const request *r) { return r->job == NULL || job_state(r->job) != JOB_RUNNING; }

static void push_task(lua_State *L, const task *t) {
    push_scheduler(L);
    lua_getiuservalue(L, -1, SCHEDULER_TASKS);
    lua_rawgetp(L, -1, t);
    lua_replace(L, -3);
    lua_pop(L, 1);
}

/* Its coroutine is running, or has resumed what is: here, or from where a script got hold of it. */
static bool is_running(const task *t) {
    lua_Debug ar;
    return t->active || (lua_status(t->co) == LUA_OK && lua_getstack(t->co, 0, &ar));
}

static bool is_ready(lua_State *L, const task *t, double now) {
    bool yes;
    if (is_running(t)) return false;
    switch (t->status) {
    case TASK_READY: return true;
    case TASK_WAITS: return settled(t->waits);
    case TASK_SLEEPS: return now >= t->wake;
    case TASK_JOINS:
        push_task(L, t);
        lua_getiuservalue(L, -1, TASK_WAITS_FOR);
        yes = first_finished(L, lua_gettop(L)) != 0;
        lua_pop(L, 2);
        return yes;
    default: return false;
    }
}

/* A request that lacks memory of the pool is tried once more after a collection. Here it is noted
 * that it should be. */
static bool wants_collection(request *r) {
    if (r->job == NULL || job_state(r->job) != JOB_STUCK || r->collected ||
        job_trouble(r->job, NULL) != PL_ERR_POOL)
        return false;
    return r->collected = r->retry = true;
}

static void retry(request *r) {
    if (r->retry && r->job != NULL) job_retry(r->job);
    r->retry = false;
}

/* One collection for all that tasks wait for, and for own, which may be NULL. Finalizers may do
 * anything to tasks meanwhile. */
static void retry_after_collection(lua_State *L, scheduler *s, request *own) {
    bool any = own != NULL && wants_collection(own);
    for (task *t = s->live.first; t != NULL; t = t->next)
        if (t->status == TASK_WAITS && wants_collection(t->waits)) any = true;
    if (!any) return;
    bind_collect(L);
    if (own != NULL) retry(own);
    for (task *t = s->live.first; t != NULL; t = t->next)
        if (t->status == TASK_WAITS) retry(t->waits);
}

/* ---- running ---- */

static void link_task(task_list *l, task *t) {
    t->prev = l->last;
    t->next = NULL;
    if (l->last) l->last->next = t;
    else l->first = t;
    l->last = t;
    l->n++;
}

static void unlink_task(task_list *l, task *t) {
    if (t->prev) t->prev->next = t->next;
    else l->first = t->next;
    if (t->next) t->next->prev = t->prev;
    else l->last = t->prev;
    t->prev = t->next = NULL;
    l->n--;
}

/* No longer kept alive. */
static void let_go(lua_State *L, const task *t) {
    push_scheduler(L);
    lua_getiuservalue(L, -1, SCHEDULER_TASKS);
    lua_pushnil(L);
    lua_rawsetp(L, -2, t);
    lua_pop(L, 2);
}

/* The task at idx is over: what it came to is on the top. Its coroutine is closed, and with it what
 * is pending there; what that calls is still inside the task. */
static void finish(lua_State *L, scheduler *s, int idx, task_status status) {
    task *t = lua_touserdata(L, idx), *before = s->current;
    lua_State *co = t->co;
    idx = lua_absindex(L, idx);
    lua_setiuservalue(L, idx, TASK_OUTCOME);
    t->status = status;
    t->co = NULL;
    t->waits = NULL;
    unlink_task(&s->live, t);
    if (status == TASK_FAILED && !t->awaited) link_task(&s->failed, t);
    else let_go(L, t);
    s->current = t;
    lua_resetthread(co);
    s->current = before;
    lua_pushnil(L);
    lua_setiuservalue(L, idx, TASK_WAITS_FOR);
    lua_pushnil(L);
    lua_setiuservalue(L, idx, TASK_COROUTINE);
}

/* Moves n values from the top of co into a table {n = n, ...} on L's. */
static void pack(lua_State *L, lua_State *co, int n) {
    lua_createtable(L, n, 1);
    for (int i = n; i >= 1; i--) {
        lua_xmove(co, L, 1);
        lua_rawseti(L, -2, i);
    }
    lua_pushinteger(L, n);
    lua_setfield(L, -2, "n");
}

/* Pushes the error on the top of co as what the task failed with: with a traceback, where there is
 * a place for one and it has none yet. It stays on co, too: variables to be closed there are told
 * of it. */
static void push_failure(lua_State *L, lua_State *co) {
    int top = lua_gettop(L) + 1;
    if (lua_checkstack(co, 1)) lua_pushvalue(co, -1);
    lua_xmove(co, L, 1);
    bool object = lua_getmetatable(L, -1) && luaL_getmetatable(L, ERROR_TYPE) == LUA_TTABLE &&
                  lua_rawequal(L, -1, -2);
    lua_settop(L, top);
    if (object) {
        lua_pushliteral(L, "traceback");
        if (lua_rawget(L, -2) == LUA_TNIL) {
            luaL_traceback(L, co, NULL, 0);
            lua_setfield(L, top, "traceback");
        }
        lua_settop(L, top);
    } else if (lua_type(L, -1) == LUA_TSTRING) {
        luaL_traceback(L, co, lua_tostring(L, -1), 0);
        lua_remove(L, -2);
    }
}

/* (task, status of its coroutine, number of results): the task has ended that way. */
static int end_task(lua_State *L) {
    scheduler *s = get_scheduler(L);
    task *t = lua_touserdata(L, 1);
    int status = (int)lua_tointeger(L, 2), n = (int)lua_tointeger(L, 3);
    if (t->doomed) {
        lua_pushnil(L);
        finish(L, s, 1, TASK_CANCELLED);
    } else if (status == LUA_OK) {
        pack(L, t->co, n);
        finish(L, s, 1, TASK_DONE);
    } else {
        push_failure(L, t->co);
        finish(L, s, 1, TASK_FAILED);
    }
    return 0;
}

/* Resumes the task on the top of the stack, and pops it. It is the current one until it has ended:
 * what runs meanwhile, a finalizer or the closing of its variables, resumes no task. */
static void resume(lua_State *L, scheduler *s) {
    task *t = lua_touserdata(L, -1), *before = s->current;
    int n = 0, idx = lua_gettop(L), n_args = t->n_args, failed = LUA_OK;
    lua_State *co = t->co;
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    t->n_args = 0;
    t->status = TASK_READY;
    t->waits = NULL;
    t->round = s->round;
    t->active = true;
    s->current = t;
    int status = lua_resume(co, L, n_args, &n);
    if (status == LUA_YIELD) lua_pop(co, n);
    if (status != LUA_YIELD || t->doomed) {
        lua_pushcfunction(L, end_task);
        lua_pushvalue(L, idx);
        lua_pushinteger(L, status);
        lua_pushinteger(L, n);
        failed = lua_pcall(L, 3, 0, 0);
    }
    t->active = false;
    s->current = before;
    /* no memory: its coroutine is dead, and that is what it fails with at the next attempt */
    if (failed != LUA_OK) {
        if (status == LUA_OK) lua_settop(co, 0);
        lua_error(L);
    }
    lua_settop(L, idx - 1);
}

/* One round: every task that is ready, in the order of spawning; those that are spawned meanwhile
 * come last. False: none was. */
static bool run_round(lua_State *L, scheduler *s, double until) {
    bool any = false, same = s->broken_off;
    task *t;
    if (!same) s->round++;
    s->broken_off = false;
    for (t = s->live.first; t != NULL;) {
        if (t->round != s->round && is_ready(L, t, system_seconds())) {
            any = true;
            push_task(L, t);
            resume(L, s);
            if (system_seconds() >= until) {
                s->broken_off = true;
                break;
            }
            t = s->live.first; /* the list may be another now */
        } else {
            t = t->next;
        }
    }
    return any || (same && run_round(L, s, until)); /* nobody was left in the old one */
}

static bool any_ready(lua_State *L, const scheduler *s) {
    for (const task *t = s->live.first; t != NULL; t = t->next)
        if (is_ready(L, t, system_seconds())) return true;
    return false;
}

/* Seconds until the first sleeper wakes; infinite: there is none. */
static double until_wake(const scheduler *s) {
    double first = INFINITY;
    for (const task *t = s->live.first; t != NULL; t = t->next)
        if (t->status == TASK_SLEEPS && t->wake < first) first = t->wake;
    return first - system_seconds();
}

/* False: a signal came. */
static bool sleep_for(double seconds) {
    if (seconds <= 0) return true;
    if (seconds > 1e9) seconds = 1e9;
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    return nanosleep(&t, NULL) == 0 || errno != EINTR;
}

/* What a call outside of tasks waits for: a request, one of a list of tasks, or a time. */
typedef struct { request *r; int list; double time; } goal;

static bool reached(lua_State *L, const goal *g) {
    if (g->r != NULL) return settled(g->r);
    if (g->list != 0) return first_finished(L, g->list) != 0;
    return system_seconds() >= g->time;
}

static void drive(lua_State *L, scheduler *s, const goal *g) {
    bool tasks = s->current == NULL;
    while (!reached(L, g)) {
        bool moved = tasks && run_round(L, s, INFINITY);
        if (reached(L, g)) break;
        bool stepped = loop_step(s->engines);
        retry_after_collection(L, s, g->r);
        /* Interrupts and retries may end what is waited for, here or in a task, without a step. */
        if (moved || stepped || reached(L, g) || (tasks && any_ready(L, s))) continue;
        double wake = tasks ? until_wake(s) : INFINITY,
               own = g->r == NULL && g->list == 0 ? g->time - system_seconds() : INFINITY;
        if (own < wake) wake = own;
        if (isinf(wake) && tasks)
            bind_raise(L, PL_ERR_ARGUMENT,
                       "this would wait for ever: nothing is under way that could end it");
        if (isinf(wake))
            bind_raise(L, PL_ERR_ARGUMENT,
                       "this would wait for ever: where a task cannot be suspended (in a "
                       "coroutine, but for perilune.wrap's; in a function that Lua calls from C), "
                       "no other task moves along");
        if (!sleep_for(wake)) {
            if (g->r == NULL && g->list == 0) break;
            bind_raise(L, PL_ERR_CANCELLED, "interrupted");
        }
    }
}

/* ---- waiting ---- */

/* Whether L can be suspended until the scheduler resumes it: it is a task's, or one of
 * perilune.wrap's in a task. */
static bool can_wait(lua_State *L, const scheduler *s) {
    if (s->current == NULL || !lua_isyieldable(L)) return false;
    if (s->current->co == L) return true;
    push_scheduler(L);
    lua_getiuservalue(L, -1, SCHEDULER_TRANSPARENT);
    lua_pushthread(L);
    lua_rawget(L, -2);
    bool yes = lua_toboolean(L, -1);
    lua_pop(L, 3);
    return yes;
}

/* What perilune.wrap tells from a yield of its function's. */
static char wait_token;

/* The task that runs waits for the value at idx; 0: for none. */
static int suspend(lua_State *L, scheduler *s, task_status status, int idx, lua_KContext ctx,
                   lua_KFunction k) {
    task *t = s->current;
    if (idx != 0) {
        push_task(L, t);
        lua_pushvalue(L, idx);
        lua_setiuservalue(L, -2, TASK_WAITS_FOR);
        lua_pop(L, 1);
    }
    t->status = status;
    t->waits = status == TASK_WAITS ? lua_touserdata(L, idx) : NULL;
    lua_pushlightuserdata(L, &wait_token);
    return lua_yieldk(L, 1, ctx, k);
}

void bind_wait(lua_State *L, int idx, lua_KFunction k, lua_KContext ctx) {
    request *r = lua_touserdata(L, idx);
    scheduler *s = get_scheduler(L);
    r->collected = r->retry = false;
    if (r->job != NULL) job_retry(r->job);
    if (settled(r)) return;
    if (!can_wait(L, s)) {
        drive(L, s, &(goal){.r = r});
        return;
    }
    suspend(L, s, TASK_WAITS, idx, ctx, k);
}

/* ---- spawn ---- */

/* perilune.spawn(fn, ...) --> task */
static int task_spawn(lua_State *L) {
    scheduler *s = get_scheduler(L);
    int n = lua_gettop(L);
    if (n == 0 || lua_type(L, 1) != LUA_TFUNCTION)
        bind_arg_error(L, 1, "a function expected, got %s", n ? bind_describe(L, 1) : "nothing");
    task *t = lua_newuserdatauv(L, sizeof *t, TASK_VALUES);
    *t = (task){.status = TASK_CANCELLED};
    luaL_setmetatable(L, TASK_TYPE);
    lua_insert(L, 1);
    lua_State *co = lua_newthread(L);
    lua_setiuservalue(L, 1, TASK_COROUTINE);
    if (!lua_checkstack(co, n + LUA_MINSTACK))
        bind_raise(L, PL_ERR_MEMORY, "no memory for %d arguments", n);
    lua_xmove(L, co, n);
    push_scheduler(L);
    lua_getiuservalue(L, -1, SCHEDULER_TASKS);
    lua_pushvalue(L, 1);
    lua_rawsetp(L, -2, t);
    lua_settop(L, 1);
    t->co = co;
    t->status = TASK_READY;
    t->n_args = n - 1;
    t->priority = bind_priority(L);
    link_task(&s->live, t);
    return 1;
}

/* ---- join, cancel ---- */

static void note_awaited(lua_State *L, scheduler *s, task *t) {
    if (t->status == TASK_FAILED && !t->awaited) {
        unlink_task(&s->failed, t);
        let_go(L, t);
    }
    t->awaited = true;
}

static int join_result(lua_State *L) {
    task *t = lua_touserdata(L, 1);
    if (!finished(t))
        return bind_raise(L, PL_ERR_ARGUMENT,
                          "a coroutine that waits for a task was resumed from elsewhere");
    if (t->status == TASK_CANCELLED)
        return bind_raise(L, PL_ERR_CANCELLED, "the task was cancelled");
    lua_getiuservalue(L, 1, TASK_OUTCOME);
    if (t->status == TASK_FAILED) return lua_error(L);
    int outcome = lua_gettop(L);
    lua_getfield(L, outcome, "n");
    int n = (int)lua_tointeger(L, -1);
    luaL_checkstack(L, n, "too many results of a task");
    for (int i = 1; i <= n; i++) lua_rawgeti(L, outcome, i);
    return n;
}

static int joined(lua_State *L, int status, lua_KContext ctx) {
    (void)status, (void)ctx;
    return join_result(L);
}

/* Waits until one task of the list at idx is finished. */
static void wait_for_tasks(lua_State *L, int idx, lua_KFunction k) {
    scheduler *s = get_scheduler(L);
    if (first_finished(L, idx) != 0) return;
    if (!can_wait(L, s)) {
        drive(L, s, &(goal){.list = idx});
        return;
    }
    suspend(L, s, TASK_JOINS, idx, 0, k);
}

/* task:join() --> its results */
static int task_join(lua_State *L) {
    scheduler *s = get_scheduler(L);
    task *t = check_task(L, 1);
    lua_settop(L, 1);
    if (t == s->current) bind_raise(L, PL_ERR_ARGUMENT, "a task cannot join itself");
    note_awaited(L, s, t);
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, 1);
    lua_rawseti(L, 2, 1);
    wait_for_tasks(L, 2, joined);
    return join_result(L);
}

static int any_result(lua_State *L) {
    lua_pushinteger(L, first_finished(L, 1));
    return 1;
}

static int any_joined(lua_State *L, int status, lua_KContext ctx) {
    (void)status, (void)ctx;
    return any_result(L);
}

/* core.any(list of tasks) --> the place of one that is finished; those that failed or were
 * cancelled come first */
static int task_any(lua_State *L) {
    scheduler *s = get_scheduler(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    if (n == 0) bind_arg_error(L, 1, "a list of tasks expected, got an empty one");
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, 1, i);
        task *t = luaL_testudata(L, -1, TASK_TYPE);
        if (t == NULL)
            bind_arg_error(L, 1, "a list of tasks expected, got %s at %d", bind_describe(L, -1),
                           (int)i);
        note_awaited(L, s, t);
        lua_pop(L, 1);
    }
    wait_for_tasks(L, 1, any_joined);
    return any_result(L);
}

/* Whether no other task waits for the same request: two may pull one stream. */
static bool waits_alone(const scheduler *s, const task *t) {
    for (const task *other = s->live.first; other != NULL; other = other->next)
        if (other != t && other->waits == t->waits) return false;
    return true;
}

/* task:cancel(): at once; what it waits for is abandoned. The task that runs is told by an error,
 * and ends with its next wait at the latest; so does one that runs what runs this. */
static int task_cancel(lua_State *L) {
    scheduler *s = get_scheduler(L);
    task *t = check_task(L, 1);
    lua_settop(L, 1);
    if (finished(t)) return 0;
    if (is_running(t)) {
        t->awaited = t->doomed = true;
        return t == s->current ? bind_raise(L, PL_ERR_CANCELLED, "the task cancelled itself") : 0;
    }
    if (t->waits != NULL && t->waits->job != NULL && job_state(t->waits->job) == JOB_RUNNING &&
        waits_alone(s, t))
        job_stop(t->waits->job);
    lua_pushnil(L);
    finish(L, s, 1, TASK_CANCELLED);
    return 0;
}

/* ---- time ---- */

static int slept(lua_State *L, int status, lua_KContext ctx) {
    (void)L, (void)status, (void)ctx;
    return 0;
}

/* perilune.sleep(seconds) */
static int task_sleep(lua_State *L) {
    scheduler *s = get_scheduler(L);
    double seconds = luaL_checknumber(L, 1), wake = system_seconds() + seconds;
    if (!(seconds >= 0))
        bind_arg_error(L, 1, "seconds, a number of at least 0, expected, got %s",
                       bind_describe(L, 1));
    if (!can_wait(L, s)) {
        drive(L, s, &(goal){.time = wake});
        return 0;
    }
    s->current->wake = wake;
    return suspend(L, s, TASK_SLEEPS, 0, 0, slept);
}

/* perilune.clock() --> seconds of a clock that only goes forward */
static int task_clock(lua_State *L) {
    lua_pushnumber(L, system_seconds());
    return 1;
}

/* ---- the host's side ---- */

/* Raises the error of a task that failed and that nobody joins, or hands it to on_error: one after
 * the other. */
static void report_errors(lua_State *L) {
    scheduler *s = push_scheduler(L);
    int idx = lua_gettop(L);
    while (s->failed.first != NULL) {
        task *t = s->failed.first;
        push_task(L, t);
        note_awaited(L, s, t);
        int type = lua_getiuservalue(L, idx, SCHEDULER_ON_ERROR);
        lua_getiuservalue(L, idx + 1, TASK_OUTCOME);
        if (type != LUA_TFUNCTION) lua_error(L);
        lua_pushvalue(L, idx + 1);
        lua_call(L, 2, 0);
        lua_settop(L, idx);
    }
    lua_settop(L, idx - 1);
}

size_t bind_poll(lua_State *L, double seconds) {
    scheduler *s = get_scheduler(L);
    double until = system_seconds() + seconds;
    if (s->current != NULL)
        bind_raise(L, PL_ERR_ARGUMENT,
                   "poll was called inside a task: it is for the program around them");
    for (;;) {
        run_round(L, s, until);
        loop_poll(s->engines, until - system_seconds());
        retry_after_collection(L, s, NULL);
        if (system_seconds() >= until || (!any_ready(L, s) && !loop_ready(s->engines))) break;
    }
    report_errors(L);
    return s->live.n;
}

/* perilune.poll(milliseconds) --> tasks that are not finished */
static int task_poll(lua_State *L) {
    double ms = luaL_optnumber(L, 1, 0);
    if (!(ms >= 0))
        bind_arg_error(L, 1, "milliseconds, a number of at least 0, expected, got %s",
                       bind_describe(L, 1));
    lua_pushinteger(L, (lua_Integer)bind_poll(L, ms / 1000));
    return 1;
}

/* perilune.on_error(function(error, task) | nil): for tasks that nobody joins */
static int task_on_error(lua_State *L) {
    if (!lua_isnoneornil(L, 1) && lua_type(L, 1) != LUA_TFUNCTION)
        bind_arg_error(L, 1, "a function expected, got %s", bind_describe(L, 1));
    lua_settop(L, 1);
    push_scheduler(L);
    lua_insert(L, 1);
    lua_setiuservalue(L, 1, SCHEDULER_ON_ERROR);
    return 0;
}

/* core.finish(): at the end of a script: errors that nobody was told of */
static int task_finish(lua_State *L) {
    report_errors(L);
    return 0;
}

/* core.wait_token, core.passes(coroutine): whether that coroutine's waiting goes through the one
 * that asks */
static int task_passes(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTHREAD);
    lua_settop(L, 1);
    bool yes = can_wait(L, push_scheduler(L));
    lua_getiuservalue(L, 2, SCHEDULER_TRANSPARENT);
    lua_pushvalue(L, 1);
    lua_pushboolean(L, yes);
    lua_rawset(L, -3);
    return 0;
}

/* ---- the task as a value ---- */

static const char *status_name(const task *t) {
    switch (t->status) {
    case TASK_DONE: return "done";
    case TASK_FAILED: return "failed";
    case TASK_CANCELLED: return "cancelled";
    default: return "running";
    }
}

/* task.status, task.error, task.priority, and the methods */
static int task_index(lua_State *L) {
    task *t = check_task(L, 1);
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    if (strcmp(key, "status") == 0) {
        lua_pushstring(L, status_name(t));
    } else if (strcmp(key, "error") == 0) {
        if (t->status == TASK_FAILED) lua_getiuservalue(L, 1, TASK_OUTCOME);
        else lua_pushnil(L);
    } else if (strcmp(key, "priority") == 0) {
        lua_pushinteger(L, t->priority);
    } else {
        lua_pushvalue(L, 2);
        lua_rawget(L, lua_upvalueindex(1));
    }
    return 1;
}

/* task.priority = n */
static int task_newindex(lua_State *L) {
    task *t = check_task(L, 1);
    if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "priority") != 0)
        bind_raise(L, PL_ERR_ARGUMENT, "a task's field %s cannot be assigned: only priority can",
                   bind_describe(L, 2));
    t->priority = (int)bind_integer_arg(L, 3, INT_MIN, INT_MAX, "priority");
    if (t->waits != NULL && t->waits->job != NULL) job_set_priority(t->waits->job, t->priority);
    return 0;
}

static int task_tostring(lua_State *L) {
    lua_pushfstring(L, "task (%s)", status_name(check_task(L, 1)));
    return 1;
}

static int scheduler_gc(lua_State *L) {
    scheduler *s = lua_touserdata(L, 1);
    if (s->failed.n > 0) lua_warning(L, "perilune: a task failed, and nobody joined it", 0);
    bind_leave_host(L);
    loop_free(&s->own);
    return 0;
}

model_handle **bind_models(lua_State *L, loop ***engines) {
    scheduler *s = get_scheduler(L);
    *engines = &s->engines;
    return &s->models;
}

void bind_share_loop(lua_State *L, loop *engines) {
    scheduler *s = get_scheduler(L);
    s->engines = engines ? engines : &s->own;
    for (model_handle *m = s->models; m != NULL && engines == NULL; m = m->next) {
        pl_error e;
        if (m->engine != NULL && loop_add(&s->own, m->engine, &e) != PL_OK) bind_fail(L, &e);
    }
}

void bind_open_tasks(lua_State *L) {
    static const luaL_Reg methods[] = {{"join", task_join}, {"cancel", task_cancel}, {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__newindex", task_newindex}, {"__tostring", task_tostring}, {NULL, NULL}};
    static const char *const fields[] = {"status", "error", "priority", NULL};
    if (lua_getfield(L, LUA_REGISTRYINDEX, SCHEDULER_KEY) == LUA_TUSERDATA) {
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);
    scheduler *s = lua_newuserdatauv(L, sizeof *s, SCHEDULER_VALUES);
    *s = (scheduler){0};
    s->engines = &s->own;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, scheduler_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_newtable(L);
    lua_setiuservalue(L, -2, SCHEDULER_TASKS);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_setiuservalue(L, -2, SCHEDULER_TRANSPARENT);
    lua_setfield(L, LUA_REGISTRYINDEX, SCHEDULER_KEY);

    bind_open_type(L, TASK_TYPE, meta, methods, task_index, fields);
}

void bind_push_task_functions(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"spawn", task_spawn},   {"any", task_any},       {"sleep", task_sleep},
        {"clock", task_clock},   {"poll", task_poll},     {"on_error", task_on_error},
        {"finish", task_finish}, {"passes", task_passes}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    lua_pushlightuserdata(L, &wait_token);
    lua_setfield(L, -2, "wait_token");
}
