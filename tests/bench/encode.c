/* encode.c: how fast text becomes tokens. First a table of vocabularies: the rate of encoding prose
 * on one core, from 10 KB to 10 MB of it, where equal rates are linear growth and 15 MB/s is the
 * bound that the project sets itself; how the time of one repeated character grows at worst from 64
 * KiB to 1 MiB, where 16 times would be linear, n log n is about 20, and 24 is the bound; the time
 * to make the tokenizer. Then the same growth of cutting words alone, of every pre-split type on
 * runs of several kinds.
 *
 *   encode [model.gguf [text file]]
 *
 * Without an argument it takes the vocabularies of the shared test data, if they are there, and one
 * of 128000 tokens for each kind of tokenizer that it makes itself; without a text, it makes prose
 * up: words drawn by Zipf's law, with rarer ones built of syllables, numbers, punctuation and
 * paragraphs. Times are CPU time, the best of several runs. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "gguf/gguf.h"
#include "text/internal.h"
#include "text/tokenizer.h"

#define PROSE_BYTES ((size_t)10000000)
#define SHORT_RUN ((size_t)64 << 10)
#define LONG_RUN ((size_t)1 << 20)
#define RUNS 3
#define MADE_TOKENS ((size_t)128000)
#define WITHOUT_SPACE 1000 /* of them are words that follow no space */
#define PIECE_MAX 256      /* bytes of a token that is made here */

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

static void print_head(size_t n) {
    printf("%-30s %7s", "prose, MB/s on one core", "tokens");
    for (size_t size = 10000; size <= n; size *= 10) printf(" %6zu KB", size / 1000);
    printf("  bytes/token  growth  made in\n");
}

static bool bench(const char *path, const char *label, const char *prose, size_t n) {
    static const char repeated[] = {'a', ' ', '\n', '1', '!'};
    const gguf_options options = {.map = true, .header_only = true};
    char *run = malloc(LONG_RUN);
    gguf *g = NULL;
    tokenizer *t = NULL;
    pl_error e;
    size_t n_ids = 1;
    double start, made, worst = 0;
    if (run == NULL) return false;
    start = now();
    if (gguf_open(path, &options, &g, &e) != PL_OK || tokenizer_new(g, &t, &e) != PL_OK) {
        fprintf(stderr, "encode: %s\n", e.message);
        gguf_close(g);
        free(run);
        return false;
    }
    made = now() - start;
    gguf_close(g);
    printf("%-30s %7zu", label, tokenizer_size(t));
    for (size_t size = 10000; size <= n; size *= 10)
        printf(" %9.1f", 1e-6 * (double)size / time_encode(t, prose, size, &n_ids));
    time_encode(t, prose, n < 10000000 ? n : 10000000, &n_ids);
    printf("  %11.2f", (double)(n < 10000000 ? n : 10000000) / (double)n_ids);
    for (size_t i = 0; i < sizeof repeated; i++) {
        double few, many;
        memset(run, repeated[i], LONG_RUN);
        few = time_encode(t, run, SHORT_RUN, &n_ids);
        many = time_encode(t, run, LONG_RUN, &n_ids);
        if (many / few > worst) worst = many / few;
    }
    printf("  %5.1fx  %4.0f ms\n", worst, 1e3 * made);
    fflush(stdout);
    tokenizer_free(t);
    free(run);
    return true;
}

/* ---- vocabularies made here ---- */

typedef struct {
    bool bert;         /* pieces inside a word are without a space, and there are no merges */
    const char *space; /* how it is spelled */
    const char *line;  /* how a line break is */
    gguf_string *tokens, *merges;
    int32_t *types;
    float *scores;
    size_t n, n_merges;
    int32_t *table; /* [mask + 1] tokens by their hash; -1: free */
    size_t mask;
} vocabulary;

static gguf_string keep(const char *s, size_t n) {
    char *copy = malloc(n + 1);
    if (copy == NULL) exit(1);
    memcpy(copy, s, n);
    return (gguf_string){copy, n};
}

/* Is the token new? */
static bool add_token(vocabulary *v, const char *s, size_t n, token_type type) {
    size_t i = hash_bytes(s, n, 0) & v->mask;
    for (; v->table[i] >= 0; i = (i + 1) & v->mask) {
        gguf_string other = v->tokens[v->table[i]];
        if (other.size == n && memcmp(other.data, s, n) == 0) return false;
    }
    v->table[i] = (int32_t)v->n;
    v->tokens[v->n] = keep(s, n);
    v->types[v->n] = (int32_t)type;
    v->scores[v->n] = -8 - 1e-4f * (float)v->n; /* fewer and earlier tokens are better */
    v->n++;
    return true;
}

/* Puts the spelling b behind a; the token and its merge, if it is new. */
static void join(vocabulary *v, char *a, const char *b) {
    size_t n = strlen(a), size = n + strlen(b);
    char line[2 * PIECE_MAX];
    bool merges = n != 0 && *b != '\0' && !v->bert;
    snprintf(line, sizeof line, "%s %s", a, b);
    memcpy(a + n, b, size - n + 1);
    if (v->n < MADE_TOKENS && add_token(v, a, size, TOKEN_NORMAL) && merges)
        v->merges[v->n_merges++] = keep(line, size + 1);
}

/* A word and its beginnings, each from the one before. */
static void add_word(vocabulary *v, const char *word, bool spaced) {
    char whole[PIECE_MAX] = "";
    if (spaced) strcpy(whole, v->space);
    for (; *word != '\0'; word++) join(v, whole, (char[]){*word, '\0'});
}

static void fill(vocabulary *v) {
    static const char *const names[] = {"<unk>", "<s>", "</s>"};
    char word[64];
    for (size_t i = 0; i < 3; i++)
        add_token(v, names[i], strlen(names[i]), i == 0 ? TOKEN_UNKNOWN : TOKEN_CONTROL);
    add_token(v, v->space, strlen(v->space), TOKEN_NORMAL);
    add_token(v, v->line, strlen(v->line), TOKEN_NORMAL);
    for (char c = '!'; c <= '~'; c++) add_token(v, &c, 1, TOKEN_NORMAL);
    /* Words with their space first, so that no merge of others takes their letters. */
    for (size_t left = 2 * sizeof words / sizeof *words; left-- > 0;) {
        snprintf(word, sizeof word, "%s", words[left / 2]);
        if (left % 2) word[0] = (char)(word[0] - 'a' + 'A');
        add_word(v, word, true);
    }
    while (v->n < MADE_TOKENS - WITHOUT_SPACE) {
        size_t at = 0;
        for (size_t k = 2 + draw() % 3; k > 0; k--)
            at += (size_t)snprintf(word + at, sizeof word - at, "%s",
                                   syllables[draw() % (sizeof syllables / sizeof *syllables)]);
        if (draw() % 8 == 0) word[0] = (char)(word[0] - 'a' + 'A');
        add_word(v, word, true);
    }
    for (size_t i = 0; v->n < MADE_TOKENS; i++) {
        if (i < sizeof words / sizeof *words)
            snprintf(word, sizeof word, "%s", words[i]);
        else
            snprintf(word, sizeof word, "%s%s", syllables[draw() % 24], syllables[draw() % 24]);
        if (draw() % 2) word[0] = (char)(word[0] - 'a' + 'A');
        add_word(v, word, false);
    }
}

/* Writes a vocabulary for this kind of tokenizer to the path. */
static bool make_vocabulary(const char *path, const char *model, const char *pre) {
    bool bytes = strcmp(model, "gpt2") == 0, done;
    vocabulary v = {.bert = strcmp(model, "bert") == 0,
                    .space = bytes ? "\xC4\xA0" : "\xE2\x96\x81",
                    .line = bytes ? "\xC4\x8A" : "\n",
                    .mask = 4 * 65536 - 1};
    gguf_writer *w = gguf_writer_new();
    pl_error e;
    v.tokens = calloc(MADE_TOKENS + 1, sizeof *v.tokens);
    v.merges = calloc(MADE_TOKENS + 1, sizeof *v.merges);
    v.types = calloc(MADE_TOKENS + 1, sizeof *v.types);
    v.scores = calloc(MADE_TOKENS + 1, sizeof *v.scores);
    v.table = malloc((v.mask + 1) * sizeof *v.table);
    if (v.tokens == NULL || v.merges == NULL || v.types == NULL || v.scores == NULL ||
        v.table == NULL)
        exit(1);
    memset(v.table, 0xFF, (v.mask + 1) * sizeof *v.table);
    fill(&v);
    gguf_add_string(w, "tokenizer.ggml.model", model, strlen(model));
    if (pre != NULL) gguf_add_string(w, "tokenizer.ggml.pre", pre, strlen(pre));
    gguf_add_strings(w, "tokenizer.ggml.tokens", v.tokens, v.n);
    gguf_add_numbers(w, "tokenizer.ggml.token_type", GGUF_I32, v.types, v.n);
    gguf_add_numbers(w, "tokenizer.ggml.scores", GGUF_F32, v.scores, v.n);
    if (!v.bert) gguf_add_strings(w, "tokenizer.ggml.merges", v.merges, v.n_merges);
    gguf_add_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    done = gguf_write(w, path, &e) == PL_OK;
    if (!done) fprintf(stderr, "encode: %s\n", e.message);
    gguf_writer_free(w);
    for (size_t i = 0; i < v.n; i++) free((void *)(uintptr_t)v.tokens[i].data);
    for (size_t i = 0; i < v.n_merges; i++) free((void *)(uintptr_t)v.merges[i].data);
    free(v.tokens);
    free(v.merges);
    free(v.types);
    free(v.scores);
    free(v.table);
    return done;
}

static bool bench_made(const char *prose, size_t n) {
    static const struct {
        const char *model, *pre;
    } kinds[] = {{"gpt2", "llama-bpe"}, {"gpt2", "qwen2"}, {"gpt2", "gpt-4o"}, {"gemma4", NULL},
                 {"llama", NULL},       {"t5", NULL},      {"bert", NULL}};
    char path[] = "/tmp/perilune-bench-XXXXXX", label[64];
    int file = mkstemp(path);
    bool fine = file >= 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && fine; i++) {
        snprintf(label, sizeof label, "made here: %s%s%s", kinds[i].model,
                 kinds[i].pre != NULL ? ", " : "", kinds[i].pre != NULL ? kinds[i].pre : "");
        fine = make_vocabulary(path, kinds[i].model, kinds[i].pre) && bench(path, label, prose, n);
    }
    if (file >= 0) {
        close(file);
        unlink(path);
    }
    return fine;
}

/* ---- cutting words ---- */

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
    print_head(n);
    snprintf(folder, sizeof folder, "%s/vocab", shared != NULL ? shared : "../shared");
    n_files = argc > 1 ? -1 : scandir(folder, &files, is_vocabulary, alphasort);
    for (int i = 0; i < n_files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]->d_name);
        fine = bench(path, files[i]->d_name, prose, n) && fine;
        free(files[i]);
    }
    free(files);
    if (argc > 1)
        fine = bench(argv[1], argv[1], prose, n);
    else
        fine = bench_made(prose, n) && fine;
    free(prose);
    fine = bench_split() && fine;
    return fine ? 0 : 1;
}
