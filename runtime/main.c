/* main.c: the `perilune` program: a script, code from the command line, standard input, or a
 * session at the terminal. It owns the terminal, the signals and the exit status; models and caches
 * are the core's, which it reaches as any script does.
 *
 * Ctrl-C first ends what is being generated, and the script goes on; when nothing is, or on a
 * second one, the script itself is interrupted, loading included; when that does not help, the
 * program ends. At the prompt it drops the line. */
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <readline.h>

#include "base/system.h"
#include "bind/perilune_lua.h"
#include "decode/engine.h"
#include "math/math.h"

#define PROGRAM "perilune"
#define PATH_LEVELS 6 /* folders above the program's own that are searched for its Lua files */
#define HISTORY_LINES 1000
#define UNHEARD_MAX 2           /* interrupts of the script; the next one ends the program */
#define TWICE_SECONDS 1.0       /* two interrupts within this time are meant for the script */
#define PROGRESS_SECONDS 0.5    /* loading that takes longer is shown */

enum { EXIT_SCRIPT = 1, EXIT_USAGE = 2 };

/* ---- interrupts ---- */

static lua_State *volatile running;                 /* what Ctrl-C interrupts; NULL: nothing */
static volatile sig_atomic_t reading, line_dropped; /* at the prompt; Ctrl-C came there */
static volatile double last_interrupt;
static volatile sig_atomic_t unheard; /* interrupts of the script that it has not noticed yet */

static void raise_interrupted(lua_State *L, lua_Debug *ar) {
    (void)ar;
    unheard = 0;
    lua_sethook(L, NULL, 0, 0);
    luaL_error(L, "interrupted!");
}

static void on_interrupt(int signal_number) {
    double now = system_seconds(), before = last_interrupt;
    bool taken;
    (void)signal_number;
    if (reading) {
        line_dropped = 1;
        return;
    }
    last_interrupt = now;
    taken = engine_interrupt();
    if (running == NULL || (taken && now - before >= TWICE_SECONDS)) return;
    if (unheard == UNHEARD_MAX) { /* a coroutine, or C that does not come back */
        signal(SIGINT, SIG_DFL);
        raise(SIGINT);
    }
    unheard++;
    lua_sethook(running, raise_interrupted,
                LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

/* A read that waits is given up, so that the script's error comes at once. */
static void catch_interrupts(void) {
    struct sigaction a = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &a, NULL);
}

/* ---- running Lua ---- */

static void report(const char *message) {
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", PROGRAM, message);
}

/* Turns what was raised into a text with the way there. */
static int describe_error(lua_State *L) {
    const char *message = lua_tostring(L, 1);
    if (message == NULL) {
        if (lua_type(L, 1) == LUA_TTABLE && lua_getfield(L, 1, "traceback") == LUA_TSTRING) {
            /* it happened in a callback, and knows the way there */
            luaL_tolstring(L, 1, NULL);
            lua_pushliteral(L, "\n");
            lua_pushvalue(L, -3);
            lua_concat(L, 3);
            return 1;
        }
        if (luaL_getmetafield(L, 1, "__tostring") == LUA_TNIL)
            message = lua_pushfstring(L, "(the error is a %s value)", luaL_typename(L, 1));
        else
            message = luaL_tolstring(L, 1, NULL);
    }
    luaL_traceback(L, L, message, 1);
    return 1;
}

/* Calls the function below its n arguments, with all its results; reports an error. */
static bool call(lua_State *L, int n) {
    int base = lua_gettop(L) - n;
    lua_State *outer = running;
    lua_pushcfunction(L, describe_error);
    lua_insert(L, base);
    running = L;
    last_interrupt = -TWICE_SECONDS;
    unheard = 0;
    int status = lua_pcall(L, n, LUA_MULTRET, base);
    running = outer;
    lua_sethook(L, NULL, 0, 0); /* an interrupt that came too late */
    lua_remove(L, base);
    if (status == LUA_OK) return true;
    report(lua_tostring(L, -1) != NULL ? lua_tostring(L, -1) : "an error that cannot be shown");
    lua_pop(L, 1);
    return false;
}

/* After a script: errors of tasks that nobody was told of. */
static bool finish_tasks(lua_State *L) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, "perilune.core") != LUA_TTABLE) return lua_pop(L, 2), true;
    lua_getfield(L, -1, "finish");
    bool ok = call(L, 0);
    lua_pop(L, 2);
    return ok;
}

static bool run_loaded(lua_State *L, int status, int n_args) {
    if (status == LUA_OK) return call(L, n_args) && finish_tasks(L);
    report(lua_tostring(L, -1));
    return false;
}

/* Pushes what `arg` holds from 1 on; returns how many. */
static int push_args(lua_State *L) {
    lua_getglobal(L, "arg");
    if (!lua_istable(L, -1)) return lua_pop(L, 1), 0;
    int table = lua_gettop(L), n = (int)luaL_len(L, table);
    luaL_checkstack(L, n + 3, "too many arguments to the script");
    for (int i = 1; i <= n; i++) lua_rawgeti(L, table, i);
    lua_remove(L, table);
    return n;
}

static bool run_file(lua_State *L, const char *path) { /* NULL: standard input */
    if (luaL_loadfile(L, path) != LUA_OK) {
        report(lua_tostring(L, -1));
        return false;
    }
    return call(L, push_args(L)) && finish_tasks(L);
}

static bool run_string(lua_State *L, const char *code, const char *name) {
    return run_loaded(L, luaL_loadbuffer(L, code, strlen(code), name), 0);
}

/* ---- the session ---- */

static lua_State *session; /* what completion looks into */

/* Pushes the table that the methods and fields of the value on the top are looked up in, besides
 * itself: nothing and false when there is none. Our own handles with fields keep it as the first
 * upvalue of __index. */
static bool push_methods(lua_State *L) {
    int type = luaL_getmetafield(L, -1, "__index");
    if (type == LUA_TTABLE) return true;
    if (type == LUA_TNIL) return false;
    if (lua_iscfunction(L, -1) && lua_getupvalue(L, -1, 1) != NULL) {
        lua_remove(L, -2);
        if (lua_istable(L, -1)) return true;
    }
    lua_pop(L, 1);
    return false;
}

/* Replaces the value on the top by its field `name`, without running a metamethod. */
static void enter_field(lua_State *L, const char *name, size_t n) {
    lua_pushnil(L);
    if (lua_istable(L, -2)) {
        lua_pushlstring(L, name, n);
        lua_rawget(L, -3);
        lua_replace(L, -2);
    }
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        if (push_methods(L)) {
            lua_pushlstring(L, name, n);
            lua_rawget(L, -2);
            lua_remove(L, -2);
        } else {
            lua_pushnil(L);
        }
    }
    lua_remove(L, -2);
}

/* Adds to the list at `list` the names in the table on the top that begin with the given ones,
 * after `before`. */
static void add_names(lua_State *L, int list, const char *before, size_t n_before,
                      const char *start) {
    size_t n = strlen(start);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        if (name == NULL || strncmp(name, start, n) != 0) continue;
        lua_pushlstring(L, before, n_before);
        lua_pushstring(L, name);
        lua_concat(L, 2);
        lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
    }
}

/* The word that is being completed, "cache:tok" --> {"cache:tokens"}. */
static int list_completions(lua_State *L) {
    const char *word = lua_tostring(L, 1), *start = word, *at;
    lua_newtable(L);
    lua_pushglobaltable(L);
    while ((at = strpbrk(start, ".:")) != NULL) {
        enter_field(L, start, (size_t)(at - start));
        start = at + 1;
    }
    size_t n_before = (size_t)(start - word);
    if (lua_istable(L, -1)) add_names(L, 2, word, n_before, start);
    if (push_methods(L)) add_names(L, 2, word, n_before, start);
    lua_settop(L, 2);
    return 1;
}

static char *copy_of(const char *s) {
    char *copy = malloc(strlen(s) + 1); /* libedit frees it */
    return copy != NULL ? strcpy(copy, s) : NULL;
}

static int completions; /* reference of the list, while libedit asks for one after the other */

static char *next_completion(const char *word, int state) {
    static lua_Integer i;
    char *found = NULL;
    (void)word;
    i = state == 0 ? 1 : i + 1;
    lua_rawgeti(session, LUA_REGISTRYINDEX, completions);
    if (lua_rawgeti(session, -1, i) == LUA_TSTRING) found = copy_of(lua_tostring(session, -1));
    lua_pop(session, 2);
    return found;
}

static char **complete(const char *word, int start, int end) {
    (void)start, (void)end;
    char **matches = NULL;
    lua_pushcfunction(session, list_completions);
    lua_pushstring(session, word);
    if (lua_pcall(session, 1, 1, 0) == LUA_OK) {
        completions = luaL_ref(session, LUA_REGISTRYINDEX);
        matches = rl_completion_matches(word, next_completion);
        luaL_unref(session, LUA_REGISTRYINDEX, completions);
    } else {
        lua_pop(session, 1);
    }
    rl_attempted_completion_over = 1; /* no file names */
    return matches;
}

/* One character from the terminal; end of file also when Ctrl-C dropped the line. */
static int read_character(FILE *f) {
    mbstate_t state = {0};
    (void)f;
    for (;;) {
        char byte;
        wchar_t character;
        ssize_t n = line_dropped ? 0 : read(STDIN_FILENO, &byte, 1);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1;
        size_t used = mbrtowc(&character, &byte, 1, &state);
        if (used == (size_t)-2) continue;
        if (used == (size_t)-1) return '?';
        return (int)character;
    }
}

/* Where the lines that were typed are kept; "" when there is no place. */
static const char *history_path(void) {
    static char path[PATH_MAX];
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (state != NULL && *state != '\0') snprintf(path, sizeof path, "%s/perilune_history", state);
    else if (home != NULL && *home != '\0')
        snprintf(path, sizeof path, "%s/.perilune_history", home);
    return path;
}

/* A line, from the terminal with editing or from elsewhere without; NULL at the end, or when it was
 * dropped. */
static char *read_line(const char *prompt, bool terminal) {
    char *line = NULL;
    size_t size = 0;
    line_dropped = 0;
    if (terminal) {
        reading = 1;
        line = readline(prompt);
        reading = 0;
        if (line != NULL && *line != '\0') {
            add_history(line);
            write_history(history_path());
        }
        return line;
    }
    ssize_t n = getline(&line, &size, stdin);
    if (n < 0) {
        free(line);
        return NULL;
    }
    if (n > 0 && line[n - 1] == '\n') line[n - 1] = '\0';
    return line;
}

/* Is the message on the top that of a chunk which ends too early? */
static bool is_incomplete(lua_State *L, int status) {
    static const char mark[] = "<eof>";
    size_t n;
    const char *message;
    if (status != LUA_ERRSYNTAX) return false;
    message = lua_tolstring(L, -1, &n);
    return n >= sizeof mark - 1 && strcmp(message + n - (sizeof mark - 1), mark) == 0;
}

/* Reads and compiles one input, over as many lines as it takes: leaves the function or the message.
 * -1: no more input; -2: dropped. */
static int read_chunk(lua_State *L, bool terminal) {
    int base = lua_gettop(L), status;
    for (int lines = 0;; lines++) {
        char *line = read_line(lines == 0 ? "> " : ">> ", terminal);
        if (line == NULL) {
            if (line_dropped) return -2;
            return lines == 0 ? -1 : LUA_ERRSYNTAX; /* what is there is not complete */
        }
        lua_settop(L, lines == 0 ? base : base + 1);
        if (lines == 0) {
            lua_pushfstring(L, "return %s", line);
            const char *expression = lua_tostring(L, -1);
            status = luaL_loadbuffer(L, expression, strlen(expression), "=stdin");
            if (status == LUA_OK) {
                free(line);
                return status;
            }
            lua_settop(L, base);
            lua_pushstring(L, line);
        } else {
            lua_pushfstring(L, "\n%s", line);
            lua_concat(L, 2);
        }
        free(line);
        size_t n;
        const char *chunk = lua_tolstring(L, base + 1, &n);
        status = luaL_loadbuffer(L, chunk, n, "=stdin");
        if (!is_incomplete(L, status)) return status;
    }
}

static void print_results(lua_State *L, int first) {
    int n = lua_gettop(L) - first + 1;
    if (n <= 0) return;
    luaL_checkstack(L, LUA_MINSTACK, "too many results to print");
    lua_getglobal(L, "print");
    lua_insert(L, first);
    call(L, n);
}

static void run_session(lua_State *L) {
    bool terminal = isatty(STDIN_FILENO);
    static char breaks[] = " \t\n\"\\'`@$><=;|&{}()[]+-*/^%#,~";
    if (terminal) {
        printf("Perilune %s (%s), %s. Ctrl-D ends the session.\n", PL_VERSION, kernels_best()->name,
               LUA_RELEASE);
        setlocale(LC_CTYPE, "");
        session = L;
        rl_readline_name = PROGRAM;
        rl_getc_function = read_character;
        rl_catch_signals = 0;
        rl_initialize();
        rl_attempted_completion_function = complete;
        rl_completer_word_break_characters = breaks;
        rl_completion_append_character = '\0';
        using_history();
        stifle_history(HISTORY_LINES);
        read_history(history_path());
    }
    for (;;) {
        lua_settop(L, 0);
        int status = read_chunk(L, terminal);
        if (status == -1) break;
        if (status == -2) {
            puts("^C");
            continue;
        }
        if (status != LUA_OK) {
            report(lua_tostring(L, -1));
            continue;
        }
        lua_replace(L, 1);
        lua_settop(L, 1);
        if (call(L, 0)) print_results(L, 1);
    }
    if (terminal) puts("");
    fflush(stdout);
}

/* ---- the environment of a script ---- */

static bool is_readable(const char *path) { return access(path, R_OK) == 0; }

/* Puts the folder of our Lua files, in the tree or installed, in front of package.path. */
static void add_package_path(lua_State *L) {
    static const char *const places[] = {"lua", "share/lua/5.4"};
    char folder[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (n < 0) return;
    folder[n] = '\0';
    for (int level = 0; level <= PATH_LEVELS; level++) {
        char *slash = strrchr(folder, '/');
        if (slash == NULL) return;
        *slash = '\0';
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            const char *root = lua_pushfstring(L, "%s/%s", folder, places[i]);
            const char *init = lua_pushfstring(L, "%s/perilune/init.lua", root);
            if (!is_readable(init)) {
                lua_pop(L, 2);
                continue;
            }
            lua_getglobal(L, "package");
            lua_getfield(L, -1, "path");
            lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", root, root, lua_tostring(L, -1));
            lua_setfield(L, -3, "path");
            lua_pop(L, 4);
            return;
        }
    }
}

/* Shows how far loading has come, on one line of a terminal, when it takes its time; without an
 * argument, takes the line away. Ends the loading when the script was interrupted. */
static int show_progress(lua_State *L) {
    static double started;
    static int shown = -1;
    if (lua_isnoneornil(L, 1)) {
        if (shown >= 0) fputs("\r\033[K", stderr);
        started = 0;
        shown = -1;
        return 0;
    }
    double now = system_seconds();
    int percent = (int)(100 * lua_tonumber(L, 1));
    if (started <= 0) started = now;
    if (now - started >= PROGRESS_SECONDS && percent != shown && isatty(STDERR_FILENO)) {
        fprintf(stderr, "\rloading the model: %d%%\033[K", percent);
        shown = percent;
    }
    lua_pushboolean(L, unheard == 0);
    return 1;
}

/* The table `arg`: the script's name at 0, its arguments from 1 on, what stands before it at
 * negative indices. */
static void set_arg(lua_State *L, char **argv, int argc, int script) {
    if (script == argc) script = 0;
    lua_createtable(L, argc - script, script + 1);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i - script);
    }
    lua_setglobal(L, "arg");
}

static bool require_perilune(lua_State *L) {
    return run_string(L, "perilune = require 'perilune'", "=" PROGRAM);
}

/* ---- the command line ---- */

static void print_help(FILE *to) {
    fputs("usage: perilune [options] [script [args]]\n"
          "  -e code    run the code (`perilune` is the module)\n"
          "  -i         then a session at the terminal\n"
          "  -v         show the version, the instruction set in use and Lua's version\n"
          "  -h, --help show this\n"
          "  --         the options end here\n"
          "  -          run standard input\n"
          "Without script or code: a session at the terminal, or the script on standard input.\n"
          "Ends with 0; with 1 when a script failed; with 2 for a wrong command line.\n", to);
}

typedef struct {
    int script;                 /* index of the script in argv; argc: none */
    bool interactive, version, help;
} command;

/* Returns false for what is not a command line. */
static bool read_command(int argc, char **argv, command *c) {
    int i = 1;
    *c = (command){0};
    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        const char *a = argv[i];
        if (strcmp(a, "--") == 0) {
            i++;
            break;
        }
        if (strcmp(a, "-i") == 0) c->interactive = true;
        else if (strcmp(a, "-v") == 0 || strcmp(a, "--version") == 0) c->version = true;
        else if (strcmp(a, "-h") == 0 || strcmp(a, "--help") == 0) c->help = true;
        else if (strncmp(a, "-e", 2) == 0) {
            if (a[2] == '\0' && ++i == argc) {
                fprintf(stderr, "%s: -e needs code\n", PROGRAM);
                return false;
            }
        } else {
            fprintf(stderr, "%s: unknown option '%s'\n", PROGRAM, a);
            return false;
        }
    }
    c->script = i < argc ? i : argc;
    return true;
}

typedef struct {
    int argc;
    char **argv;
    command command;
    bool ok;
} session_arguments;

/* All of it, where errors are caught. */
static int run_program(lua_State *L) {
    session_arguments *s = lua_touserdata(L, 1);
    const command *c = &s->command;
    bool code = false;
    luaL_checkversion(L);
    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, luaopen_perilune_core);
    lua_setfield(L, -2, "perilune.core");
    lua_settop(L, 0);
    add_package_path(L);
    set_arg(L, s->argv, s->argc, c->script);
    lua_pushcfunction(L, show_progress);
    lua_setfield(L, LUA_REGISTRYINDEX, PERILUNE_PROGRESS);
    catch_interrupts();

    for (int i = 1; i < c->script; i++) {
        if (strcmp(s->argv[i], "--") == 0) break;
        if (strncmp(s->argv[i], "-e", 2) != 0) continue;
        if (!code && !require_perilune(L)) return 0;
        code = true;
        const char *text = s->argv[i][2] != '\0' ? s->argv[i] + 2 : s->argv[++i];
        if (!run_string(L, text, "=(command line)")) return 0;
        lua_settop(L, 0);
    }
    s->ok = true;
    if (c->script < s->argc) {
        const char *path = s->argv[c->script];
        bool input = strcmp(path, "-") == 0 && strcmp(s->argv[c->script - 1], "--") != 0;
        s->ok = run_file(L, input ? NULL : path);
        lua_settop(L, 0);
    } else if (!code && !c->version && !c->interactive && !isatty(STDIN_FILENO)) {
        s->ok = run_file(L, NULL);
    }
    if (c->interactive || (c->script == s->argc && !code && !c->version && isatty(STDIN_FILENO))) {
        require_perilune(L);
        run_session(L);
    }
    return 0;
}

int main(int argc, char **argv) {
    session_arguments s = {.argc = argc, .argv = argv};
    signal(SIGPIPE, SIG_DFL); /* `perilune script.lua | head` ends quietly, whoever started it */
    if (argc < 1 || !read_command(argc, argv, &s.command)) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (s.command.help) {
        print_help(stdout);
        return 0;
    }
    if (s.command.version)
        printf("Perilune %s (%s), %s\n", PL_VERSION, kernels_best()->name, LUA_RELEASE);
    lua_State *L = luaL_newstate();
    if (L == NULL) {
        report("no memory for Lua");
        return EXIT_SCRIPT;
    }
    lua_pushcfunction(L, run_program);
    lua_pushlightuserdata(L, &s);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        report(lua_tostring(L, -1) != NULL ? lua_tostring(L, -1) : "an error that cannot be shown");
        s.ok = false;
    }
    lua_close(L);
    return s.ok ? 0 : EXIT_SCRIPT;
}
