/* host.c: four characters of a game speak at once, from C. Every frame gives Perilune two
 * milliseconds, and the model computes on other threads meanwhile.
 *
 *     build/host [FRAMES]        # built by `make`; elsewhere:
 *     cc host.c $(pkg-config --cflags --libs perilune) */
#include <perilune.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CHARACTERS = 4, FRAME_MS = 16 };

typedef struct {
    const char *name, *trade;
    pl_cache *cache;
    pl_job *job;
    size_t n;
    char line[400];
} character;

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static bool hear(void *user, int32_t id, const char *piece, size_t bytes) {
    character *who = user;
    (void)id;
    if (bytes >= sizeof who->line - who->n) bytes = sizeof who->line - who->n - 1;
    memcpy(who->line + who->n, piece, bytes);
    who->n += bytes;
    return true;
}

/* What was said stays in the character's cache: a next question would only need its own tokens. */
static void done(void *user, pl_job *job) {
    character *who = user;
    pl_cache_release(who->cache);
    who->cache = pl_cache_retain(pl_job_cache(job));
    printf("%-6s %s (%s, %zu tokens remembered)\n", who->name, who->line, pl_job_finish(job),
           pl_cache_length(who->cache));
    who->job = NULL;
    pl_job_release(job);
}

static bool ask(pl_engine *engine, pl_model *model, character *who, const char *text, pl_error *e) {
    pl_job_options how = {sizeof how, .cache = who->cache, .text = text, .text_bytes = strlen(text),
                          .special = true, .max_new_tokens = 60, .stop_at_eog = true,
                          .on_token = hear, .on_done = done, .user = who};
    return pl_submit(engine, model, &how, &who->job, e) == PL_OK;
}

int main(int argc, char **argv) {
    character who[CHARACTERS] = {{.name = "Mira", .trade = "a smith in Oakford. You sell swords"},
                                 {.name = "Borin", .trade = "a baker in Oakford. You sell bread"},
                                 {.name = "Lys", .trade = "a fisher in Oakford. You sell fish"},
                                 {.name = "Oda", .trade = "a tailor in Oakford. You sell coats"}};
    int frames = argc > 1 ? atoi(argv[1]) : 600;
    pl_error e;
    pl_model *model = NULL;
    pl_loading *loading = NULL;
    double worst = 0;
    size_t live = 1;
    pl_engine *engine = pl_engine_new(0, &e);
    pl_load_options what = {sizeof what, .path = "demo"};
    if (!engine || pl_model_load_begin(engine, &what, &loading, &e)) goto fail;
    while (!pl_loading_done(loading)) /* a loading screen draws pl_loading_progress(loading) here */
        nanosleep(&(struct timespec){.tv_nsec = FRAME_MS * 1000000}, NULL);
    if (pl_loading_end(loading, &model, &e)) goto fail;
    for (size_t i = 0; i < CHARACTERS; i++) {
        char text[400];
        snprintf(text, sizeof text,
                 "<|im_start|>system\nYou are %s, %s for %zu coins.<|im_end|>\n<|im_start|>user\n"
                 "What do you sell?<|im_end|>\n<|im_start|>assistant\n",
                 who[i].name, who[i].trade, 3 + 4 * i);
        if (!ask(engine, model, &who[i], text, &e)) goto fail;
    }
    for (int frame = 0; frame < frames && live; frame++) {
        double start = now_ms();
        if (pl_poll(engine, 2, &live, &e)) goto fail;
        if (now_ms() - start > worst) worst = now_ms() - start;
        double left = FRAME_MS - (now_ms() - start); /* the game draws here */
        if (left > 0) nanosleep(&(struct timespec){.tv_nsec = (long)(left * 1e6)}, NULL);
    }
    for (size_t i = 0; i < CHARACTERS; i++) {
        if (who[i].job) pl_cancel(who[i].job);
        pl_cache_release(who[i].cache);
    }
    printf("longest poll: %.2f ms\n", worst);
    pl_model_release(model);
    pl_engine_free(engine);
    return 0;
fail:
    fprintf(stderr, "host: %s\n", e.message);
    return 1;
}
