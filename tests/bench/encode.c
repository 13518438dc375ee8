/* encode.c: how fast text becomes tokens. For each vocabulary: the time to make the tokenizer, the
 * rate of encoding prose on one core, from 10 KB to 10 MB of it, where equal rates are linear
 * growth, and how the time of one repeated character grows from 64 KiB to 1 MiB: 16 times would be
 * linear, n log n is about 20, and 24 is the bound that the project sets itself. Then the same
 * growth of cutting words alone, of every pre-split type on runs of several kinds.
 *
 *   encode [model.gguf [text file]]
 *
 * Without an argument it takes the vocabularies of the shared test data, or else the bundled model;
 * without a text, it makes prose up: words drawn by Zipf's law, with rarer ones built of syllables,
 * numbers, punctuation and paragraphs. Times are CPU time, the best of several runs. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gguf/gguf.h"
#include "text/internal.h"
#include "text/tokenizer.h"

#define PROSE_BYTES ((size_t)10000000)
#define SHORT_RUN ((size_t)64 << 10)
#define LONG_RUN ((size_t)1 << 20)
#define RUNS 3

/* CPU time: everything here runs on one thread, and the machine may have other work. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t draw(void) { /* splitmix64 */
    static uint64_t state = 1;
    uint64_t z = state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static const char *const words[] = {
    "the",      "of",        "and",       "to",          "in",      "a",       "that",
    "it",       "is",        "was",       "for",         "on",      "with",    "as",
    "he",       "be",        "at",        "by",          "had",     "not",     "are",
    "but",      "from",      "or",        "have",        "an",      "they",    "which",
    "one",      "you",       "were",      "her",         "all",     "she",     "there",
    "would",    "their",     "we",        "him",         "been",    "has",     "when",
    "who",      "will",      "more",      "no",          "if",      "out",     "so",
    "said",     "what",      "up",        "its",         "about",   "into",    "than",
    "them",     "can",       "only",      "other",       "new",     "some",    "could",
    "time",     "these",     "two",       "may",         "then",    "do",      "first",
    "any",      "my",        "now",       "such",        "like",    "our",     "over",
    "man",      "me",        "even",      "most",        "made",    "after",   "also",
    "did",      "many",      "before",    "must",        "through", "back",    "years",
    "where",    "much",      "your",      "way",         "well",    "down",    "should",
    "because",  "each",      "just",      "those",       "people",  "how",     "too",
    "little",   "state",     "good",      "very",        "make",    "world",   "still",
    "own",      "see",       "men",       "work",        "long",    "get",     "here",
    "between",  "both",      "life",      "being",       "under",   "never",   "day",
    "same",     "another",   "know",      "while",       "last",    "might",   "us",
    "great",    "old",       "year",      "off",         "come",    "since",   "against",
    "go",       "came",      "right",     "used",        "take",    "three",   "moon",
    "orbit",    "water",     "house",     "during",      "without", "again",   "place",
    "around",   "however",   "home",      "small",       "found",   "thought", "went",
    "say",      "part",      "once",      "general",     "high",    "upon",    "school",
    "every",    "don't",     "it's",      "does",        "got",     "united",  "left",
    "number",   "course",    "war",       "until",       "always",  "away",    "something",
    "fact",     "though",    "less",      "public",      "put",     "think",   "almost",
    "hand",     "enough",    "far",       "took",        "head",    "yet",     "government",
    "system",   "better",    "set",       "told",        "nothing", "night",   "end",
    "why",      "called",    "didn't",    "eyes",        "find",    "going",   "look",
    "asked",    "later",     "knew",      "point",       "next",    "program", "city",
    "business", "give",      "group",     "toward",      "young",   "days",    "let",
    "room",     "president", "side",      "social",      "given",   "present", "several",
    "order",    "national",  "possible",  "rather",      "second",  "face",    "per",
    "among",    "form",      "important", "often",       "things",  "looked",  "early",
    "white",    "case",      "become",    "large",       "big",     "need",    "four",
    "within",   "felt",      "along",     "children",    "saw",     "best",    "church",
    "ever",     "least",     "power",     "development", "light",   "thing",   "seemed",
    "family",   "interest",  "want",      "members",     "mind",    "country", "area",
    "others",   "done",      "turned",    "although",    "open",    "service", "certain",
    "kind",     "problem",   "began",     "different",   "door",    "thus",    "help",
    "sense",    "means",     "whole",     "matter"};
static const char *const syllables[] = {"ka", "lo",  "mi",  "ter", "an",  "do",  "ri",  "sen",
                                        "ul", "ath", "ver", "is",  "on",  "gra", "phe", "tic",
                                        "or", "em",  "ny",  "sta", "ble", "ing", "er",  "pro"};

/* Rank r with a probability in proportion to 1 / r. */
static const char *common_word(void) {
    static double sums[sizeof words / sizeof *words];
    size_t n = sizeof words / sizeof *words, low = 0, high = n - 1;
    double at;
    if (sums[0] == 0)
        for (size_t i = 0; i < n; i++) sums[i] = (i == 0 ? 0 : sums[i - 1]) + 1.0 / (double)(i + 1);
    at = (double)(draw() >> 11) * 0x1p-53 * sums[n - 1];
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (sums[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return words[low];
}

static char *make_prose(size_t n) {
    char *text = malloc(n + 128);
    size_t at = 0, in_sentence = 0;
    if (text == NULL) return NULL;
    while (at < n) {
        size_t start = at;
        uint64_t kind = draw() % 100;
        if (in_sentence != 0) text[at++] = ' ', start = at;
        if (kind < 2) {
            at += (size_t)sprintf(text + at, "%u", (unsigned)(draw() % 3000));
        } else if (kind < 12) {
            for (size_t k = 2 + draw() % 3; k > 0; k--)
                at += (size_t)sprintf(text + at, "%s",
                                      syllables[draw() % (sizeof syllables / sizeof *syllables)]);
        } else {
            at += (size_t)sprintf(text + at, "%s", common_word());
        }
        if ((in_sentence == 0 || draw() % 25 == 0) && text[start] >= 'a')
            text[start] = (char)(text[start] - 'a' + 'A');
        if (++in_sentence > 6 && draw() % 12 == 0) {
            at += (size_t)sprintf(text + at, "%s", draw() % 6 == 0 ? ".\n\n" : ". ");
            if (text[at - 1] == ' ') at--;
            in_sentence = text[at - 1] == '.' ? 1 : 0;
        } else if (draw() % 11 == 0) {
            text[at++] = ',';
        }
    }
    return text;
}

/* Seconds of the best of some runs; *n_ids: what came out. */
static double time_encode(const tokenizer *t, const char *text, size_t n, size_t *n_ids) {
    double best = 1e9;
    for (int i = 0; i < RUNS; i++) {
        id_list ids = {NULL, 0, 0};
        pl_error e;
        double start = now(), took;
        if (tokenizer_encode(t, text, n, (encode_options){.start = true}, &ids, &e) != PL_OK) {
            fprintf(stderr, "encode: %s\n", e.message);
            exit(1);
        }
        took = now() - start;
        if (took < best) best = took;
        *n_ids = ids.n;
        id_list_free(&ids);
    }
    return best;
}

static bool bench(const char *path, const char *prose, size_t n) {
    static const char repeated[] = {'a', ' ', '\n', '1', '!'};
    const gguf_options options = {.map = true, .header_only = true};
    const char *name = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
    char *run = malloc(LONG_RUN);
    gguf *g = NULL;
    tokenizer *t = NULL;
    pl_error e;
    size_t n_ids;
    double start, seconds, worst = 0;
    if (run == NULL) return false;
    start = now();
    if (gguf_open(path, &options, &g, &e) != PL_OK || tokenizer_new(g, &t, &e) != PL_OK) {
        fprintf(stderr, "encode: %s\n", e.message);
        gguf_close(g);
        free(run);
        return false;
    }
    printf("%s: %zu tokens, made in %.1f ms\n", name, tokenizer_size(t), 1e3 * (now() - start));
    gguf_close(g);
    for (size_t size = 10000; size <= n; size *= 10) {
        seconds = time_encode(t, prose, size, &n_ids);
        printf("  prose %8zu bytes %7.1f MB/s, %.2f bytes per token\n", size,
               1e-6 * (double)size / seconds, (double)size / (double)n_ids);
    }
    for (size_t i = 0; i < sizeof repeated; i++) {
        double few, many;
        memset(run, repeated[i], LONG_RUN);
        few = time_encode(t, run, SHORT_RUN, &n_ids);
        many = time_encode(t, run, LONG_RUN, &n_ids);
        if (many / few > worst) worst = many / few;
        printf("  repeated 0x%02x 64 KiB %7.2f ms, 1 MiB %7.2f ms, %4.1f times\n",
               (unsigned char)repeated[i], 1e3 * few, 1e3 * many, many / few);
    }
    printf("  growth at most %.1f times, bound 24\n", worst);
    tokenizer_free(t);
    free(run);
    return true;
}

static pl_code count(void *context, const char *s, size_t n) {
    *(size_t *)context += n != 0 && s != NULL;
    return PL_OK;
}

static double time_split(const presplit *p, const char *text, size_t n) {
    double best = 1e9;
    for (int i = 0; i < RUNS; i++) {
        presplit_state state = {.match_data = NULL};
        size_t n_words = 0;
        pl_error e;
        double start = now(), took;
        if (presplit_run(p, &state, text, n, count, &n_words, &e) != PL_OK) {
            fprintf(stderr, "encode: %s\n", e.message);
            exit(1);
        }
        took = now() - start;
        if (took < best) best = took;
        presplit_state_free(&state);
    }
    return best;
}

/* Runs that regexes go over more than once when they are not written with care. */
static bool bench_split(void) {
    static const char *const units[] = {" ",  "\n",       "1",            "a",        "A",
                                        "aB", "!",        " \n",          "a ",       "1a",
                                        "'s", "\xC3\x89", "\xE6\xBC\xA2", "\xCC\x81", "\x01"};
    char *run = malloc(LONG_RUN + 1), name[64];
    const char *names;
    size_t size;
    if (run == NULL) return false;
    printf("cutting words: 64 KiB to 1 MiB of one unit, the worst of %zu units\n",
           sizeof units / sizeof *units);
    for (size_t i = 0; (names = presplit_name(i, &size)) != NULL; i++) {
        presplit *p;
        presplit_traits traits;
        pl_error e;
        double worst = 0, slowest = 0;
        size_t at = 0;
        snprintf(name, sizeof name, "%.*s", (int)size, names);
        if (presplit_new(name, &p, &traits, &e) != PL_OK) {
            fprintf(stderr, "encode: %s\n", e.message);
            free(run);
            return false;
        }
        for (size_t k = 0; k < sizeof units / sizeof *units; k++) {
            size_t unit = strlen(units[k]), n = LONG_RUN / unit * unit;
            size_t part = SHORT_RUN / unit * unit;
            double few, many;
            for (size_t b = 0; b < n; b += unit) memcpy(run + b, units[k], unit);
            run[n] = '1'; /* what $ and \b would look for at every place of the run */
            few = time_split(p, run + n - part, part + 1);
            many = time_split(p, run, n + 1);
            if (many > slowest) slowest = many;
            if (many / few > worst) worst = many / few, at = k;
        }
        printf("  %-24s %5.1f times (unit %zu), at most %7.2f ms\n", name, worst, at,
               1e3 * slowest);
        presplit_free(p);
    }
    free(run);
    return true;
}

static char *read_text(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    long size;
    if (f == NULL || fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) <= 0) goto fail;
    rewind(f);
    text = malloc((size_t)size);
    if (text == NULL || fread(text, 1, (size_t)size, f) != (size_t)size) goto fail;
    fclose(f);
    *n = (size_t)size;
    return text;
fail:
    fprintf(stderr, "encode: cannot read %s\n", path);
    exit(1);
}

static int is_vocabulary(const struct dirent *d) {
    size_t n = strlen(d->d_name);
    return n > 5 && strcmp(d->d_name + n - 5, ".gguf") == 0;
}

int main(int argc, char **argv) {
    size_t n = PROSE_BYTES;
    char *prose = argc > 2 ? read_text(argv[2], &n) : make_prose(n);
    const char *shared = getenv("PERILUNE_SHARED");
    struct dirent **files = NULL;
    char folder[1024], path[2048];
    bool fine = true;
    int n_files;
    if (prose == NULL) return 1;
    snprintf(folder, sizeof folder, "%s/vocab", shared != NULL ? shared : "../shared");
    n_files = argc > 1 ? -1 : scandir(folder, &files, is_vocabulary, alphasort);
    for (int i = 0; i < n_files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]->d_name);
        fine = bench(path, prose, n) && fine;
        free(files[i]);
    }
    free(files);
    if (n_files <= 0) fine = bench(argc > 1 ? argv[1] : "scripts/demo/demo.gguf", prose, n);
    free(prose);
    fine = bench_split() && fine;
    return fine ? 0 : 1;
}
