/* poll.c: what a host's frame pays: pl_poll(2) in every frame while four sequences are decoded by
 * one thread, then while a prompt of 2,000 tokens is processed beside them; between the polls an
 * idle loop of the same kind, which shows what the machine itself takes away. A 1.1 B llama, Q4_0.
 *
 *     poll [--frames N] [--frame-ms MS] [MODEL.gguf] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "limits.h"
#include "perilune.h"
#include "run.h"
#include "synthetic.h"

enum { SPEAKERS = 4, MOST_INTERVALS = 1 << 16, PROMPT = 2000 };

typedef struct { double last; double *intervals; size_t n; } speaker;

static bool hear(void *user, int32_t id, const char *piece, size_t bytes) {
    speaker *s = user;
    double now = bench_now();
    (void)id, (void)piece, (void)bytes;
    if (s->last > 0 && s->n < MOST_INTERVALS) s->intervals[s->n++] = now - s->last;
    s->last = now;
    return true;
}

static bool prompt_done;
static void prompt_is_done(void *user, pl_job *j) {
    (void)user, (void)j;
    prompt_done = true;
}

static double at(double *sorted, size_t n, double part) {
    return n ? sorted[(size_t)(part * (double)(n - 1))] : 0;
}

static void report(const char *what, double *ms, size_t n) {
    bench_median(ms, n); /* sorts */
    printf("%-34s median %.3f  99 %% %.3f  99.9 %% %.3f  most %.3f ms\n", what, at(ms, n, 0.5),
           at(ms, n, 0.99), at(ms, n, 0.999), at(ms, n, 1));
}

/* Frames of the game: the times of polls, and of idle loops as long as a poll's usual time. */
static size_t play(pl_engine *h, size_t frames, double frame_ms, bool until_prompt, double *polls,
                   double *idle) {
    size_t n = 0, live;
    pl_error e;
    for (; n < frames && !(until_prompt && prompt_done); n++) {
        double start = bench_now(), end;
        bench_check(pl_poll(h, 2, &live, &e), &e);
        polls[n] = (bench_now() - start) * 1e3;
        start = bench_now();
        while ((end = bench_now()) < start + 1e-4) {}
        idle[n] = (end - start) * 1e3;
        double left = frame_ms - polls[n] - idle[n];
        if (left > 0) nanosleep(&(struct timespec){.tv_nsec = (long)(left * 1e6)}, NULL);
    }
    return n;
}

static double median_interval(speaker *s) {
    static double all[SPEAKERS * MOST_INTERVALS];
    size_t n = 0;
    for (size_t i = 0; i < SPEAKERS; i++) {
        memcpy(all + n, s[i].intervals, s[i].n * sizeof *all);
        n += s[i].n;
        s[i].n = 0;
    }
    return n ? bench_median(all, n) * 1e3 : 0;
}

int main(int argc, char **argv) {
    size_t frames = 10000;
    double frame_ms = 5;
    const char *path = NULL;
    speaker speakers[SPEAKERS] = {{0}};
    pl_job *jobs[SPEAKERS + 1];
    pl_model *m;
    pl_error e;
    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && strcmp(argv[i], "--frames") == 0) frames = (size_t)atoi(argv[++i]);
        else if (i + 1 < argc && strcmp(argv[i], "--frame-ms") == 0) frame_ms = atof(argv[++i]);
        else path = argv[i];
    }
    char *made = path ? NULL
                      : synthetic_model(bench_folder(), synthetic_find("llama-1.1b"), "Q4_0");
    pl_engine *h = pl_engine_new(1, &e);
    double *polls = malloc(frames * sizeof *polls), *idle = malloc(frames * sizeof *idle);
    if (!h || !polls || !idle) return 1;
    bench_check(
        pl_model_load(h,
                      &(pl_load_options){sizeof(pl_load_options), .path = path ? path : made,
                                         .cache_bytes = (size_t)2 << 30},
                      &m, &e),
        &e);
    for (size_t i = 0; i < SPEAKERS; i++) {
        speakers[i].intervals = malloc(MOST_INTERVALS * sizeof(double));
        int32_t ids[4] = {(int32_t)(100 + i), 5, 6, 7};
        bench_check(
            pl_submit(h, m,
                      &(pl_job_options){sizeof(pl_job_options), .ids = ids, .n_ids = 4,
                                        .max_new_tokens = 3500, .temperature = 0.8f, .top_k = 40,
                                        .seed = i, .on_token = hear, .user = &speakers[i]},
                      &jobs[i], &e),
            &e);
    }
    size_t n = play(h, frames / 10 + 1, frame_ms, false, polls, idle); /* until it runs evenly */
    median_interval(speakers);
    n = play(h, frames, frame_ms, false, polls, idle);
    printf("%zu frames of %.1f ms, %d sequences, one thread\n", n, frame_ms, SPEAKERS);
    report("poll", polls, n);
    report("idle loop of 0.1 ms", idle, n);
    double before = median_interval(speakers);
    static int32_t prompt[PROMPT];
    for (size_t i = 0; i < PROMPT; i++) prompt[i] = (int32_t)(3 + i * 7 % 30000);
    double start = bench_now();
    bench_check(pl_submit(h, m,
                          &(pl_job_options){sizeof(pl_job_options), .ids = prompt, .n_ids = PROMPT,
                                            .max_new_tokens = 1, .on_done = prompt_is_done},
                          &jobs[SPEAKERS], &e),
                &e);
    n = play(h, frames, frame_ms, true, polls, idle);
    printf("beside a prompt of %d tokens, %s in %.1f s\n", PROMPT,
           prompt_done ? "done" : "not done", bench_now() - start);
    report("poll", polls, n);
    report("idle loop of 0.1 ms", idle, n);
    double during = median_interval(speakers);
    printf("between tokens: median %.1f ms before, %.1f ms during: %.2f times\n", before, during,
           during / before);
    for (size_t i = 0; i <= SPEAKERS; i++) {
        pl_cancel(jobs[i]);
        pl_job_release(jobs[i]);
        if (i < SPEAKERS) free(speakers[i].intervals);
    }
    pl_model_release(m);
    pl_engine_free(h);
    free(polls);
    free(idle);
    free(made);
    return 0;
}
