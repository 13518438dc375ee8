/* test_text.c: UTF-8, and texts to token ids and back. What is expected comes from elsewhere: UTF-8
 * from the set of all encoded code points, the pieces of the pre-split regexes from Python's
 * `regex` module run on the models' own patterns, merges from a search of all pairs at every step,
 * the ids of real vocabularies from the shared test data. The small vocabularies are made here, so
 * that most of it runs without that data. */
#include "live.h"
#include "support.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/gguf.h"
#include "text/internal.h"
#include "text/pieces.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

static const encode_options plain = {.special = false, .bos = false, .start = false};
static const encode_options at_start = {.special = false, .bos = false, .start = true};
static const encode_options with_special = {.special = true, .bos = false, .start = false};

/* The same numbers on every run (xorshift, Marsaglia 2003). */
static uint64_t random64(void) {
    static uint64_t x = 88172645463325252;
    x ^= x << 13;
    x ^= x >> 7;
    return x ^= x << 17;
}
static size_t below(size_t n) { return (size_t)(random64() % n); }

/* ---- UTF-8 ---- */

/* A code point by the definition's arithmetic, one byte at a time from the end. */
static size_t encode_by_division(uint32_t point, unsigned char out[4]) {
    size_t n = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char mark[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n; i-- > 1; point /= 64) out[i] = (unsigned char)(0x80 + point % 64);
    out[0] = (unsigned char)(mark[n] + point);
    return n;
}

/* Which sequences of up to 3 bytes are characters, and which begin one, by enumeration of all. */
static unsigned char (*character)[1 << 21], (*beginning)[1 << 21]; /* [length], bits */

static void set_bit(unsigned char *bits, uint32_t i) { bits[i / 8] |= (unsigned char)(1 << i % 8); }
static bool bit(const unsigned char *bits, uint32_t i) { return bits[i / 8] >> i % 8 & 1; }

static uint32_t number_of(const unsigned char *s, size_t n) {
    uint32_t x = 0;
    for (size_t i = 0; i < n; i++) x = x << 8 | s[i];
    return x;
}

static void enumerate_characters(void) {
    character = calloc(4, sizeof *character);
    beginning = calloc(4, sizeof *beginning);
    assert_true(character != NULL && beginning != NULL);
    for (uint32_t point = 0; point < 0x110000; point++) {
        unsigned char s[4];
        size_t n;
        if (point >= 0xD800 && point < 0xE000) continue;
        n = encode_by_division(point, s);
        if (n < 4) set_bit(character[n], number_of(s, n));
        for (size_t k = 1; k < n; k++) set_bit(beginning[k], number_of(s, k));
    }
}

TEST(utf8_round_trips_every_code_point) {
    for (uint32_t point = 0; point < 0x110000 + 0x1000; point++) {
        char got[4];
        unsigned char expected[4];
        uint32_t back;
        size_t n = utf8_encode(point, got);
        if ((point >= 0xD800 && point < 0xE000) || point >= 0x110000) {
            assert_int_equal(n, 0);
            continue;
        }
        assert_int_equal(n, encode_by_division(point, expected));
        assert_memory_equal(got, expected, n);
        assert_int_equal(utf8_decode(got, n, &back), n);
        assert_int_equal(back, point);
        for (size_t k = 1; k < n; k++) { /* cut off: its first byte stands alone */
            assert_int_equal(utf8_decode(got, k, &back), 1);
            assert_int_equal(back, UTF8_BAD);
            assert_int_equal(utf8_incomplete_tail(got, k), k);
        }
        assert_int_equal(utf8_incomplete_tail(got, n), 0);
    }
}

TEST(utf8_decode_accepts_exactly_the_characters) {
    enumerate_characters();
    for (size_t n = 1; n <= 3; n++)
        for (uint32_t x = 0; x < 1u << 8 * n; x++) {
            unsigned char s[3];
            size_t expected = 0, got, tail = 0;
            uint32_t point;
            for (size_t i = 0; i < n; i++) s[i] = (unsigned char)(x >> 8 * (n - 1 - i));
            for (size_t k = 1; k <= n; k++) {
                if (bit(character[k], number_of(s, k))) expected = k;
                if (bit(beginning[k], number_of(s + n - k, k))) tail = k;
            }
            got = utf8_decode((char *)s, n, &point);
            if (got != (expected != 0 ? expected : 1) || (point == UTF8_BAD) != (expected == 0))
                fail_msg("%zu bytes %06x: length %zu, expected %zu", n, x, got, expected);
            if (expected != 0) {
                unsigned char back[4];
                if (encode_by_division(point, back) != got || memcmp(back, s, got) != 0)
                    fail_msg("%zu bytes %06x: decoded to U+%04X", n, x, point);
            }
            if (utf8_incomplete_tail((char *)s, n) != tail)
                fail_msg("%zu bytes %06x: tail of %zu, expected %zu", n, x,
                         utf8_incomplete_tail((char *)s, n), tail);
        }
    free(character);
    free(beginning);
}

TEST(utf8_decode_bounds_four_byte_characters) {
    static const unsigned char third[] = {0x00, 0x7F, 0x80, 0xA5, 0xBF, 0xC0, 0xFF};
    for (unsigned first = 0xEF; first <= 0xFF; first++)
        for (unsigned second = 0; second <= 0xFF; second++)
            for (size_t i = 0; i < sizeof third; i++)
                for (size_t k = 0; k < sizeof third; k++) {
                    unsigned char s[4] = {(unsigned char)first, (unsigned char)second, third[i],
                                          third[k]},
                                  back[4];
                    uint32_t value = (first & 7u) << 18 | (second & 63u) << 12 | (s[2] & 63u) << 6 |
                                     (s[3] & 63u),
                             point;
                    bool fits = first >= 0xF0 && first <= 0xF7 && value < 0x110000 &&
                                value >= 0x10000 && encode_by_division(value, back) == 4 &&
                                memcmp(back, s, 4) == 0;
                    size_t n = utf8_decode((char *)s, 4, &point);
                    if (first == 0xEF) continue; /* three bytes, seen above */
                    assert_int_equal(n, fits ? 4 : 1);
                    assert_int_equal(point, fits ? value : UTF8_BAD);
                }
}

TEST(utf8_tail_holds_back_only_what_can_still_become_a_character) {
    static const struct {
        const char *s;
        size_t tail;
    } cases[] = {{"", 0},
                 {"abc", 0},
                 {"abc\xE2", 1},
                 {"abc\xE2\x82", 2},
                 {"abc\xE2\x82\xAC", 0},
                 {"\xF0\x9F\xA6", 3},
                 {"a\xF0\x9F", 2},
                 {"\xF0\x80", 0} /* overlong */,
                 {"\xED\xA0", 0} /* a surrogate */,
                 {"\xF4\x90", 0},
                 {"\xF5", 0},
                 {"\xC0", 0},
                 {"\xC1", 0},
                 {"\x80\x80\x80", 0},
                 {"\xC3\xA9\xC3", 1},
                 {"\xE2\x82\xAC\xE2", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(utf8_incomplete_tail(cases[i].s, strlen(cases[i].s)), cases[i].tail);
}

/* ---- pre-splitting ---- */

#define CASES "tests/c/presplit_cases.txt" /* tests/presplit_cases.py says how it is made */
#define BAR "\xC2\xA6"                     /* between two pieces there */

static pl_code collect_piece(void *context, const char *s, size_t n) {
    text_buffer *b = context;
    pl_code code = b->n != 0 ? text_append(b, BAR, 2, NULL) : PL_OK;
    return code == PL_OK ? text_append(b, s, n, NULL) : code;
}

/* What an escaped line stands for; returns its size. */
static size_t unescape(const char *s, size_t n, char *out) {
    size_t size = 0;
    for (size_t i = 0; i < n; i++) {
        char byte[3] = "";
        if (s[i] != '\\') {
            out[size++] = s[i];
            continue;
        }
        switch (s[++i]) {
        case 'n': out[size++] = '\n'; break;
        case 'r': out[size++] = '\r'; break;
        case 't': out[size++] = '\t'; break;
        case 'x':
            memcpy(byte, s + i + 1, 2);
            out[size++] = (char)strtol(byte, NULL, 16);
            i += 2;
            break;
        default: out[size++] = s[i];
        }
    }
    return size;
}

static void expect_cuts(const char *name, const char *cuts, size_t size) {
    presplit *p;
    presplit_traits traits;
    presplit_state run = {.match_data = NULL};
    text_buffer got = {NULL, 0, 0};
    char text[1024];
    size_t n = 0;
    assert_true(size <= sizeof text);
    for (size_t i = 0; i < size;)
        if (i + 1 < size && memcmp(cuts + i, BAR, 2) == 0)
            i += 2;
        else
            text[n++] = cuts[i++];
    assert_int_equal(presplit_new(name, &p, &traits, NULL), PL_OK);
    assert_int_equal(presplit_run(p, &run, text, n, collect_piece, &got, NULL), PL_OK);
    if (got.n != size || memcmp(got.data, cuts, got.n) != 0)
        fail_msg("%s: \"%.*s\", expected \"%.*s\"", name, (int)got.n, got.data, (int)size, cuts);
    text_free(&got);
    presplit_state_free(&run);
    presplit_free(p);
}

static const char *cases_path(void) {
    const char *other = getenv("PERILUNE_PRESPLIT_CASES"); /* a longer list of the same make */
    return other != NULL ? other : CASES;
}

/* The names of the types in the list of cases: the first of each row. NULL behind the last. */
static const char *const *pre_types(void) {
    static char names[64][32];
    static const char *list[65];
    char *cases;
    size_t n = 0;
    if (list[0] != NULL) return list;
    cases = read_whole(CASES, NULL);
    for (char *line = cases; *line != '\0'; line = strchr(line, '\n') + 1) {
        size_t size = strcspn(line, "\t");
        assert_true(size < sizeof names[0] && n < 64);
        if (n != 0 && strlen(list[n - 1]) == size && memcmp(list[n - 1], line, size) == 0) continue;
        memcpy(names[n], line, size);
        list[n] = names[n];
        n++;
    }
    free(cases);
    return list;
}

TEST(presplit_cuts_as_the_models_do) {
    size_t size, lines = 0;
    char *cases = read_whole(cases_path(), &size), *end;
    for (char *line = cases; line < cases + size; line = end + 1, lines++) {
        char *tab = strchr(line, '\t'), cuts[1024];
        end = strchr(line, '\n');
        assert_true(tab != NULL && end != NULL && tab < end && end - tab < 1024);
        *tab = '\0';
        expect_cuts(line, cuts, unescape(tab + 1, (size_t)(end - tab - 1), cuts));
    }
    assert_true(lines > 600);
    free(cases);
}

TEST(every_presplit_type_has_its_cases) {
    const char *name;
    size_t size;
    for (size_t i = 0; (name = presplit_name(i, &size)) != NULL; i++) {
        const char *const *type = pre_types();
        while (*type != NULL && (strlen(*type) != size || memcmp(*type, name, size) != 0)) type++;
        if (*type == NULL) fail_msg("no cases for %.*s", (int)size, name);
    }
}

/* The names that llama.cpp gives out for the families that this runtime means to run. */
TEST(names_of_presplit_types_are_known) {
    static const char names[] =
        "default llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano "
        "deepseek-llm deepseek-coder deepseek-v3 deepseek-r1-qwen spark2_5 youtu falcon mpt "
        "starcoder gpt-2 phi-2 gigachat a.x-4.0 mellum mellum2 modern-bert jais jais-2 gemma4 "
        "sarvam-moe roberta-bpe refact command-r qwen2 qwen35 kormo f2llmv2 stablelm2 olmo dbrx "
        "smaug-bpe poro-chat glm4 chatglm-bpe viking tekken smollm codeshell bloom gpt3-finnish "
        "exaone exaone4 exaone-moe chameleon minerva-7b megrez gpt-4o llama4 kanana2 talkie "
        "granite-embed-multi-97m granite-embed-multi-311m tiny_aya cohere2moe superbpe trillion "
        "granite-docling bailingmoe bailingmoe2 llada-moe seed-coder hunyuan hunyuan-dense hy_v4 "
        "joyai-llm kimi-k2 ufakzeka grok-2 laguna minimax-m2 solar-open minicpm5 afmoe whitespace "
        "jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code";
    static const char merged[] = /* these take a word that is a token as it is */
        " llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano tekken "
        "youtu granite-embed-multi-97m minicpm5 ";
    char name[64], spaced[66];
    for (const char *p = names; *p != '\0'; p += strcspn(p, " "), p += *p == ' ') {
        presplit *split;
        presplit_traits traits;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(p, " "), p);
        snprintf(spaced, sizeof spaced, " %s ", name);
        assert_int_equal(presplit_new(name, &split, &traits, NULL), PL_OK);
        assert_int_equal(traits.ignore_merges, strstr(merged, spaced) != NULL);
        presplit_free(split);
    }
}

static pl_code stop_at_once(void *context, const char *s, size_t n) {
    ++*(int *)context;
    (void)s;
    (void)n;
    return PL_ERR_CANCELLED;
}

TEST(presplit_stops_when_a_piece_is_refused) {
    presplit *p;
    presplit_traits traits;
    presplit_state run = {.match_data = NULL};
    int calls = 0;
    assert_int_equal(presplit_new("falcon", &p, &traits, NULL), PL_OK);
    assert_int_equal(presplit_run(p, &run, "a b 1234", 8, stop_at_once, &calls, NULL),
                     PL_ERR_CANCELLED);
    assert_int_equal(calls, 1);
    presplit_state_free(&run);
    presplit_free(p);
}

/* ---- vocabularies made here ---- */

#define MAX_TOKENS 4096

typedef struct {
    const char *model, *pre; /* pre NULL: no such key */
    gguf_string tokens[MAX_TOKENS];
    int32_t types[MAX_TOKENS];
    float scores[MAX_TOKENS];
    size_t n;
    gguf_string merges[MAX_TOKENS];
    size_t n_merges;
    bool no_types, no_scores;
    void (*keys)(gguf_writer *w); /* adds others */
} draft;

static draft *draft_new(const char *model, const char *pre) {
    draft *d = calloc(1, sizeof *d);
    assert_non_null(d);
    d->model = model;
    d->pre = pre;
    return d;
}

static gguf_string copied(const char *s, size_t n) {
    char *copy = malloc(n + 1);
    assert_non_null(copy);
    memcpy(copy, s, n);
    copy[n] = '\0';
    return (gguf_string){copy, n};
}

static int32_t add_token(draft *d, const char *s, size_t n, token_type type, float score) {
    assert_true(d->n < MAX_TOKENS);
    d->tokens[d->n] = copied(s, n);
    d->types[d->n] = (int32_t)type;
    d->scores[d->n] = score;
    return (int32_t)d->n++;
}
static int32_t add(draft *d, const char *s, token_type type, float score) {
    return add_token(d, s, strlen(s), type, score);
}

/* Bytes in the spelling of byte-level vocabularies, as GPT-2's encoder.py makes its list: the bytes
 * that are printable in Latin-1 are themselves, the others are numbered from U+0100 on in order. */
static size_t spell(const unsigned char *s, size_t n, char *out) {
    size_t size = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t point = 0x100, b = 0;
        for (;; b++) {
            bool printable =
                (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
            if (b == s[i]) {
                if (printable) point = b;
                break;
            }
            if (!printable) point++;
        }
        size += utf8_encode(point, out + size);
    }
    out[size] = '\0';
    return size;
}

static int32_t add_spelled(draft *d, const void *s, size_t n) {
    char spelling[256];
    size_t size = spell(s, n, spelling);
    return add_token(d, spelling, size, TOKEN_NORMAL, 0);
}

/* The token of two others joined, if it is not there yet, and the merge of the two. */
static void add_merge(draft *d, int32_t a, int32_t b) {
    char line[512];
    gguf_string x = d->tokens[a], y = d->tokens[b];
    bool known = false;
    assert_true(d->n_merges < MAX_TOKENS && x.size + y.size < sizeof line - 1);
    memcpy(line, x.data, x.size);
    memcpy(line + x.size, y.data, y.size);
    for (size_t i = 0; i < d->n; i++)
        known = known || (d->tokens[i].size == x.size + y.size &&
                          memcmp(d->tokens[i].data, line, x.size + y.size) == 0);
    if (!known) add_token(d, line, x.size + y.size, TOKEN_NORMAL, 0);
    line[x.size] = ' ';
    memcpy(line + x.size + 1, y.data, y.size);
    d->merges[d->n_merges++] = copied(line, x.size + y.size + 1);
}

static draft *draft_bytes(const char *pre) {
    draft *d = draft_new("gpt2", pre);
    for (unsigned b = 0; b < 256; b++) {
        unsigned char byte = (unsigned char)b;
        add_spelled(d, &byte, 1);
    }
    return d;
}

/* <unk>, <s>, </s>, and the 256 bytes from id 3 on. */
static draft *draft_spm(void) {
    draft *d = draft_new("llama", NULL);
    add(d, "<unk>", TOKEN_UNKNOWN, 0);
    add(d, "<s>", TOKEN_CONTROL, 0);
    add(d, "</s>", TOKEN_CONTROL, 0);
    for (unsigned b = 0; b < 256; b++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", b);
        add(d, name, TOKEN_BYTE, 0);
    }
    return d;
}

static void draft_free(draft *d) {
    for (size_t i = 0; i < d->n; i++) free((void *)(uintptr_t)d->tokens[i].data);
    for (size_t i = 0; i < d->n_merges; i++) free((void *)(uintptr_t)d->merges[i].data);
    free(d);
}

static gguf *draft_open(const draft *d) {
    const gguf_options options = {.map = true, .header_only = true};
    const char *path = temp_path(".gguf");
    gguf_writer *w = gguf_writer_new();
    gguf *g;
    pl_error e;
    if (d->model != NULL) gguf_add_string(w, "tokenizer.ggml.model", d->model, strlen(d->model));
    if (d->pre != NULL) gguf_add_string(w, "tokenizer.ggml.pre", d->pre, strlen(d->pre));
    if (d->n != 0) {
        gguf_add_strings(w, "tokenizer.ggml.tokens", d->tokens, d->n);
        if (!d->no_types)
            gguf_add_numbers(w, "tokenizer.ggml.token_type", GGUF_I32, d->types, d->n);
        if (d->model != NULL && !d->no_scores &&
            (strcmp(d->model, "llama") == 0 || strcmp(d->model, "t5") == 0))
            gguf_add_numbers(w, "tokenizer.ggml.scores", GGUF_F32, d->scores, d->n);
    }
    if (d->model != NULL && d->n_merges != 0 &&
        (strcmp(d->model, "gpt2") == 0 || strcmp(d->model, "gemma4") == 0 ||
         strcmp(d->model, "whitespace") == 0))
        gguf_add_strings(w, "tokenizer.ggml.merges", d->merges, d->n_merges);
    if (d->keys != NULL) d->keys(w);
    if (gguf_write(w, path, &e) != PL_OK) fail_msg("%s", e.message);
    gguf_writer_free(w);
    if (gguf_open(path, &options, &g, &e) != PL_OK) fail_msg("%s", e.message);
    return g;
}

static tokenizer *open_tokenizer(const draft *d) {
    tokenizer *t = NULL;
    pl_error e;
    gguf *g = draft_open(d);
    if (tokenizer_new(g, &t, &e) != PL_OK) fail_msg("%s", e.message);
    gguf_close(g); /* the tokenizer does not need it any more */
    return t;
}

static tokenizer *make(draft *d) {
    tokenizer *t = open_tokenizer(d);
    draft_free(d);
    return t;
}

static id_list encoded(const tokenizer *t, const char *s, size_t n, encode_options options) {
    id_list ids = {NULL, 0, 0};
    pl_error e;
    if (tokenizer_encode(t, s, n, options, &ids, &e) != PL_OK) fail_msg("%s", e.message);
    return ids;
}

static void expect_ids(const tokenizer *t, const char *s, encode_options options,
                       const int32_t *ids, size_t n) {
    id_list got = encoded(t, s, strlen(s), options);
    bool same = got.n == n && (n == 0 || memcmp(got.ids, ids, n * sizeof *ids) == 0);
    if (!same) {
        for (size_t i = 0; i < got.n; i++) print_message("%d ", got.ids[i]);
        fail_msg("are the ids of \"%s\"", s);
    }
    id_list_free(&got);
}
#define EXPECT(t, s, options, ...)                                                                 \
    expect_ids(t, s, options, (const int32_t[]){__VA_ARGS__},                                      \
               sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static void expect_text(const tokenizer *t, const int32_t *ids, size_t n, bool special, bool start,
                        const char *s) {
    text_buffer b = {NULL, 0, 0};
    assert_int_equal(tokenizer_decode(t, ids, n, special, start, &b, NULL), PL_OK);
    if (b.n != strlen(s) || (b.n != 0 && memcmp(b.data, s, b.n) != 0))
        fail_msg("decoded \"%.*s\", expected \"%s\"", (int)b.n, b.data, s);
    text_free(&b);
}
#define EXPECT_TEXT(t, special, start, s, ...)                                                     \
    expect_text(t, (const int32_t[]){__VA_ARGS__},                                                 \
                sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t), special, start, s)

/* decode(encode(s)) == s */
static void expect_round_trip(const tokenizer *t, const char *s, size_t n, bool start) {
    id_list ids = encoded(t, s, n, start ? at_start : plain);
    text_buffer b = {NULL, 0, 0};
    assert_int_equal(tokenizer_decode(t, ids.ids, ids.n, false, start, &b, NULL), PL_OK);
    if (b.n != n || (n != 0 && memcmp(b.data, s, n) != 0)) {
        for (size_t i = 0; i < n && i < 100; i++) print_message("%02x ", (unsigned char)s[i]);
        fail_msg("are %zu bytes that came back as %zu others", n, b.n);
    }
    id_list_free(&ids);
    text_free(&b);
}

/* Bytes of several kinds: any, text, parts of characters. */
static size_t random_bytes(char *s, size_t most) {
    size_t n = below(most + 1), kind = below(4);
    for (size_t i = 0; i < n;) {
        char c[4];
        size_t size = 1;
        if (kind == 0)
            c[0] = (char)random64();
        else if (kind == 1)
            c[0] = "the moon's 12 \n\t!?AB'"[below(21)];
        else if (kind == 2)
            size = utf8_encode((uint32_t)(below(8) ? below(0x3000) : below(0x110000)), c);
        else
            c[0] = "\xE2\x82\xAC\xF0\x9F\xA6\x99\xC3 a\x00\xFF"[below(12)];
        for (size_t k = 0; k < size && i < n; k++) s[i++] = c[k];
    }
    return n;
}

/* ---- merges against a search of all pairs ---- */

/* Joins the best pair of neighbours, found by looking at all of them, until there is none. Fills
 * ends[] with where the parts end; returns how many there are. rank(context, text of the pair's two
 * halves): lower is better, INFINITY never. */
typedef double (*pair_value)(const draft *d, const char *s, size_t left, size_t right);

static size_t merge_naively(const draft *d, pair_value value, const char *s, size_t *ends,
                            size_t n) {
    for (;;) {
        double best = INFINITY;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            size_t start = i == 0 ? 0 : ends[i - 1];
            double v = value(d, s + start, ends[i] - start, ends[i + 1] - ends[i]);
            if (v < best) best = v, at = i;
        }
        if (best == INFINITY) return n;
        memmove(ends + at, ends + at + 1, (n - at - 1) * sizeof *ends);
        n--;
    }
}

static double merge_place(const draft *d, const char *s, size_t left, size_t right) {
    for (size_t i = 0; i < d->n_merges; i++) {
        const char *line = d->merges[i].data;
        if (d->merges[i].size == left + right + 1 && memcmp(line, s, left) == 0 &&
            line[left] == ' ' && memcmp(line + left + 1, s + left, right) == 0)
            return (double)i;
    }
    return INFINITY;
}

static int32_t token_spelled(const draft *d, const char *s, size_t n) {
    for (size_t i = 0; i < d->n; i++)
        if (d->types[i] == TOKEN_NORMAL && d->tokens[i].size == n &&
            memcmp(d->tokens[i].data, s, n) == 0)
            return (int32_t)i;
    return -1;
}

static double minus_score(const draft *d, const char *s, size_t left, size_t right) {
    int32_t id = token_spelled(d, s, left + right);
    return id < 0 ? INFINITY : -(double)d->scores[id];
}

/* Lower-case letters only, one word to every regex. Merges come in any order, so that a merge may
 * make a pair that comes before it in the list, as no trained vocabulary would. */
TEST(bpe_merges_the_first_of_the_list_first) {
    static const size_t longest[] = {12, 70, 400, 5000};
    for (size_t round = 0; round < 12; round++) {
        draft *d = draft_bytes("gpt-2");
        tokenizer *t;
        for (size_t i = 0; i < 60; i++) {
            int32_t a, b;
            do {
                a = (int32_t)(below(2) && d->n > 256 ? 256 + below(d->n - 256) : 'a' + below(3));
                b = (int32_t)(below(2) && d->n > 256 ? 256 + below(d->n - 256) : 'a' + below(3));
            } while (d->tokens[a].size + d->tokens[b].size > 40);
            add_merge(d, a, b);
        }
        for (size_t i = d->n_merges; i > 1; i--) { /* shuffled */
            size_t k = below(i);
            gguf_string line = d->merges[i - 1];
            d->merges[i - 1] = d->merges[k];
            d->merges[k] = line;
        }
        t = open_tokenizer(d);
        for (size_t i = 0; i < 60; i++) {
            char s[5000];
            size_t ends[5000],
                most = longest[i < 58       ? i % 3
                               : round == 0 ? 3
                                            : 2],
                n = 1 + below(most), parts;
            id_list got;
            for (size_t k = 0; k < n; k++) s[k] = "abc"[round % 3 == 0 && i % 2 ? 0 : below(3)];
            for (size_t k = 0; k < n; k++) ends[k] = k + 1;
            parts = merge_naively(d, merge_place, s, ends, n);
            for (int again = 0; again < 2;
                 again++) { /* once more, with what the first time has settled */
                got = encoded(t, s, n, plain);
                assert_int_equal(got.n, parts);
                for (size_t k = 0; k < parts; k++) {
                    size_t start = k == 0 ? 0 : ends[k - 1];
                    assert_int_equal(got.ids[k], token_spelled(d, s + start, ends[k] - start));
                }
                id_list_free(&got);
            }
        }
        tokenizer_free(t);
        draft_free(d);
    }
}

/* With pieces that have spaces inside and without, with characters that are no pieces, scores with
 * ties. */
TEST(spm_merges_the_highest_score_first) {
    static const char *const characters[] = {"a",        "b", "\xE2\x96\x81",
                                             "\xC3\xA9", "z", "\xF0\x9F\xA6\x99"};
    for (size_t round = 0; round < 16; round++) {
        bool across = round % 2 == 1;
        draft *d = draft_spm();
        tokenizer *t;
        for (size_t i = 0; i < 4; i++) add(d, characters[i], TOKEN_NORMAL, -100);
        for (size_t i = 0; i < 80; i++) {
            char piece[64] = "";
            bool text = false, crosses = false;
            size_t n = 2 + below(4 + below(8));
            for (size_t k = 0; k < n; k++) {
                size_t c = below(4);
                crosses = crosses || (c == 2 && text);
                text = text || c != 2;
                strcat(piece, characters[c]);
            }
            if (crosses && !across) continue;
            if (token_spelled(d, piece, strlen(piece)) < 0)
                add(d, piece, TOKEN_NORMAL, -(float)below(20));
        }
        t = open_tokenizer(d);
        for (size_t i = 0; i < 150; i++) {
            char text[2048] = "", escaped[4096] = "";
            size_t ends[2048], n = below(i % 10 == 0 ? 400 : 30), parts, at = 0, made = 0;
            id_list got;
            for (size_t k = 0; k < n; k++) {
                size_t c = below(30) ? below(4) : 4 + below(2);
                strcat(text, c == 2 ? " " : characters[c]);
                strcat(escaped, characters[c]);
                at += strlen(characters[c]);
                ends[k] = at;
            }
            parts = merge_naively(d, minus_score, escaped, ends, n);
            got = encoded(t, text, strlen(text), plain);
            for (size_t k = 0; k < parts; k++) {
                size_t start = k == 0 ? 0 : ends[k - 1];
                int32_t id = token_spelled(d, escaped + start, ends[k] - start);
                if (id >= 0) {
                    assert_true(made < got.n);
                    assert_int_equal(got.ids[made++], id);
                } else {
                    for (size_t b = start; b < ends[k]; b++) {
                        assert_true(made < got.n);
                        assert_int_equal(got.ids[made++], 3 + (unsigned char)escaped[b]);
                    }
                }
            }
            assert_int_equal(made, got.n);
            id_list_free(&got);
        }
        tokenizer_free(t);
        draft_free(d);
    }
}

/* ---- round trips ---- */

static presplit_traits traits_of(const char *pre) {
    presplit *p;
    presplit_traits traits;
    assert_int_equal(presplit_new(pre, &p, &traits, NULL), PL_OK);
    presplit_free(p);
    return traits;
}

static tokenizer *make_english(const char *pre) {
    static const char *const pairs[] = {"t h",       "th e",          "  t",       "m o", "o n",
                                        "mo on",     "' s",           "    ",      "1 2", "\n \n",
                                        "\xE2 \x82", "\xE2\x82 \xAC", "\xF0 \x9F", "a a", "aa aa",
                                        "! !",       "!! !!",         "\r \n"};
    draft *d;
    if (pre != NULL && traits_of(pre).spelled_as_text) {
        d = draft_spm();
        d->model = "gpt2";
        d->pre = pre;
        add(d, "a", TOKEN_NORMAL, 0);
        add(d, "\xE2\x96\x81", TOKEN_NORMAL, 0);
        add(d, "\n", TOKEN_NORMAL, 0);
        for (int32_t i = 259; i < 262; i++) add_merge(d, i, i);
        add_merge(d, 260, 259);
        return make(d);
    }
    d = draft_bytes(pre);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const char *space = strchr(pairs[i] + 1, ' ');
        char spelling[64];
        int32_t a, b;
        spell((const unsigned char *)pairs[i], (size_t)(space - pairs[i]), spelling);
        a = token_spelled(d, spelling, strlen(spelling));
        spell((const unsigned char *)space + 1, strlen(space + 1), spelling);
        b = token_spelled(d, spelling, strlen(spelling));
        if (a >= 0 && b >= 0) add_merge(d, a, b);
    }
    return make(d);
}

/* But for U+2581, which is a space where pieces are spelled as text. */
static size_t random_bytes_without_mark(char *s, size_t most) {
    size_t n = random_bytes(s, most);
    for (size_t i = 0; i + 2 < n; i++)
        if (memcmp(s + i, "\xE2\x96\x81", 3) == 0) s[i] = 'x';
    return n;
}

TEST(any_bytes_come_back_from_the_ids_of_every_presplit_type) {
    for (size_t k = 0; pre_types()[k] != NULL; k++) {
        tokenizer *t;
        if (traits_of(pre_types()[k]).drops_spaces) continue;
        t = make_english(pre_types()[k]);
        for (size_t i = 0; i < 500; i++) {
            char s[200];
            expect_round_trip(t, s, random_bytes_without_mark(s, sizeof s), i % 2 == 0);
        }
        tokenizer_free(t);
    }
    tokenizer *t = make_english(NULL);
    expect_round_trip(t, "\xE2\x96\x81", 3, true);
    tokenizer_free(t);
}

TEST(any_bytes_come_back_from_spm_ids) {
    draft *d = draft_spm();
    tokenizer *t;
    add(d, "\xE2\x96\x81", TOKEN_NORMAL, -1);
    add(d, "\xE2\x96\x81t", TOKEN_NORMAL, -2);
    add(d, "he", TOKEN_NORMAL, -3);
    add(d, "\xE2\x96\x81the", TOKEN_NORMAL, -4);
    add(d, "\xE2\x96\x81\xE2\x96\x81", TOKEN_NORMAL, -5);
    add(d, "oo", TOKEN_NORMAL, -6);
    add(d, "\xE2\x82\xAC", TOKEN_NORMAL, -7);
    add(d, " m", TOKEN_USER_DEFINED, 0);
    t = make(d);
    for (size_t i = 0; i < 4000; i++) {
        char s[200];
        expect_round_trip(t, s, random_bytes_without_mark(s, sizeof s), i % 2 == 0);
    }
    expect_round_trip(t, " ", 1, true);
    expect_round_trip(t, " the", 4, true);
    expect_round_trip(t, " moon", 5, true); /* opens with a user-defined token */
    EXPECT_TEXT(t, false, false, " ", 259);
    tokenizer_free(t);
}

TEST(long_runs_are_encoded_whole) {
    static const char *const units[] = {" ",    "a",    "\n",           "1",  "!",  "A",
                                        "a ",   " \n",  "\xFF",         "a1", "\r", "aB",
                                        "\xC3", "'s",   "\xE2\x82\xAC", "\xE6\xBC\xA2",
                                        "\xCC\x81", "\xC7\x85"};
    const size_t size = (size_t)1 << 17;
    char *s = malloc(size + 1);
    assert_non_null(s);
    for (size_t k = 0; pre_types()[k] != NULL; k++) {
        tokenizer *t = make_english(pre_types()[k]);
        for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
            size_t n = 0, unit = strlen(units[i]);
            for (; n + unit <= size; n += unit) memcpy(s + n, units[i], unit);
            s[n] = '1'; /* what \s+$ would look for in vain behind each space of the run */
            if (traits_of(pre_types()[k]).drops_spaces) {
                id_list ids = encoded(t, s, n + 1, plain);
                id_list_free(&ids);
                continue;
            }
            expect_round_trip(t, s, n + 1, false);
        }
        tokenizer_free(t);
    }
    free(s);
}

/* Is there a space behind another character, as words that are encoded one by one do not have? */
static bool has_inner_space(const char *s, size_t n) {
    for (size_t i = 1; i + 3 <= n; i++)
        if (memcmp(s + i, "\xE2\x96\x81", 3) == 0 &&
            (i < 3 || memcmp(s + i - 3, "\xE2\x96\x81", 3) != 0))
            return true;
    return false;
}

/* ---- Gemma 4: merges over characters ---- */

static void gemma_bos(gguf_writer *w) {
    gguf_add_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gguf_add_bool(w, "tokenizer.ggml.add_bos_token", false); /* as some of its files say */
}

TEST(gemma4_merges_characters_by_the_list) {
    static const char *const characters[] = {"a", "b", "\xE2\x96\x81", "\xC3\xA9", "z"};
    for (size_t round = 0; round < 8; round++) {
        draft *d = draft_spm();
        tokenizer *t;
        d->model = "gemma4";
        d->keys = gemma_bos;
        for (size_t i = 0; i < 4; i++) add(d, characters[i], TOKEN_NORMAL, 0);
        for (size_t i = 0; i < 50; i++) {
            gguf_string x, y;
            int32_t a, b;
            char both[64];
            do {
                a = (int32_t)(259 + below(d->n - 259));
                b = (int32_t)(259 + below(d->n - 259));
                x = d->tokens[a], y = d->tokens[b];
                memcpy(both, x.data, x.size);
                memcpy(both + x.size, y.data, y.size);
            } while (x.size + y.size > 24 ||
                     (round % 2 && has_inner_space(both, x.size + y.size)));
            add_merge(d, a, b);
        }
        t = open_tokenizer(d);
        for (size_t i = 0; i < 100; i++) {
            char text[2048] = "", marked[4096] = "";
            size_t ends[400], n = below(i % 10 == 0 ? 400 : 30), parts, at = 0, made = 0;
            id_list got;
            for (size_t k = 0; k < n; k++) {
                size_t c = below(20) ? below(4) : 4;
                strcat(text, c == 2 ? " " : characters[c]);
                strcat(marked, characters[c]);
                ends[k] = at += strlen(characters[c]);
            }
            parts = merge_naively(d, merge_place, marked, ends, n);
            got = encoded(t, text, strlen(text), plain);
            for (size_t k = 0; k < parts; k++, made++) {
                size_t start = k == 0 ? 0 : ends[k - 1];
                int32_t id = token_spelled(d, marked + start, ends[k] - start);
                assert_true(made < got.n);
                assert_int_equal(got.ids[made], id >= 0 ? id : 3 + 'z');
            }
            assert_int_equal(made, got.n);
            id_list_free(&got);
            expect_round_trip(t, text, strlen(text), i % 2 == 0);
        }
        for (size_t i = 0; i < 500; i++) {
            char s[200];
            expect_round_trip(t, s, random_bytes_without_mark(s, sizeof s), i % 2 == 0);
        }
        EXPECT(t, "z", ((encode_options){.bos = true, .start = true}), 1, 3 + 'z');
        tokenizer_free(t);
        draft_free(d);
    }
}

TEST(gemma4_takes_line_breaks_that_are_a_token_as_they_are) {
    draft *d = draft_spm();
    int32_t one, three, a;
    tokenizer *t;
    d->model = "gemma4";
    one = add(d, "\n", TOKEN_NORMAL, 0);
    three = add(d, "\n\n\n", TOKEN_NORMAL, 0); /* no merge leads there */
    a = add(d, "a", TOKEN_NORMAL, 0);
    d->merges[d->n_merges++] = copied("a a", 3); /* is no token */
    t = make(d);
    EXPECT(t, "a\n\n\naa\n\n", plain, a, three, a, a, one, one);
    tokenizer_free(t);
}

/* ---- BPE over characters, without white space ---- */

static void lower_case(gguf_writer *w) {
    gguf_add_bool(w, "tokenizer.ggml.normalizer.lowercase", true);
}

TEST(the_whitespace_type_has_no_tokens_for_white_space) {
    for (int lowers = 0; lowers < 2; lowers++) {
        draft *d = draft_new("whitespace", "whitespace");
        int32_t a, b, ab, han;
        tokenizer *t;
        a = add(d, "a", TOKEN_NORMAL, 0);
        b = add(d, "b", TOKEN_NORMAL, 0);
        add_merge(d, a, b);
        ab = b + 1;
        han = add(d, "\xE6\xBC\xA2", TOKEN_NORMAL, 0);
        if (lowers) d->keys = lower_case;
        t = make(d);
        EXPECT(t, " ab a\n\nb\xE3\x80\x80\xE6\xBC\xA2" "ab\t", plain, ab, a, b, han, ab);
        if (lowers)
            EXPECT(t, "Ab AB \xC3\x89" "B\xFF", plain, ab, ab, b);
        else
            EXPECT(t, "Ab AB", plain, b); /* no token says "A" */
        expect_ids(t, " \n ", plain, NULL, 0);
        assert_string_equal(tokenizer_describe(t).model, "whitespace");
        tokenizer_free(t);
    }
}

/* ---- Unigram ---- */

/* The best way to write s[0..n) as tokens and unknown characters of one byte, by trying all; its
 * ids to best[], with unknown neighbours as one. */
typedef struct {
    const draft *d;
    const char *s;
    size_t n;
    double unknown, best_score;
    int32_t now[64], best[64];
    size_t n_best;
} ways;

static void try_ways(ways *w, size_t at, size_t made, double score) {
    if (at == w->n) {
        if (score <= w->best_score) return;
        w->best_score = score;
        w->n_best = 0;
        for (size_t i = 0; i < made; i++)
            if (i == 0 || w->now[i] != 0 || w->now[i - 1] != 0) w->best[w->n_best++] = w->now[i];
        return;
    }
    for (size_t size = 1; at + size <= w->n; size++) {
        int32_t id = token_spelled(w->d, w->s + at, size);
        if (id < 0 && size > 1) continue;
        w->now[made] = id < 0 ? 0 : id;
        try_ways(w, at + size, made + 1,
                 score + (id < 0 ? w->unknown : (double)w->d->scores[id]));
    }
}

static draft *draft_unigram(void) {
    draft *d = draft_new("t5", NULL);
    add(d, "<unk>", TOKEN_UNKNOWN, 0);
    add(d, "</s>", TOKEN_CONTROL, 0);
    add(d, "<pad>", TOKEN_CONTROL, 0);
    return d;
}
static void unigram_keys(gguf_writer *w) {
    gguf_add_u32(w, "tokenizer.ggml.unknown_token_id", 0);
}

TEST(unigram_finds_the_best_of_all_ways) {
    static const char *const characters[] = {"a", "b", "c", "\xE2\x96\x81", "z"};
    for (size_t round = 0; round < 12; round++) {
        draft *d = draft_unigram();
        tokenizer *t;
        double low = 0;
        d->keys = unigram_keys;
        add(d, characters[3], TOKEN_NORMAL, -2 - 0x1p-21f);
        for (size_t i = 0; i < 30; i++) {
            char piece[24] = "";
            size_t n = 1 + below(5);
            for (size_t k = 0; k < n; k++) strcat(piece, characters[below(4)]);
            n = strlen(piece);
            if (token_spelled(d, piece, n) >= 0 || (round % 2 && has_inner_space(piece, n)))
                continue;
            /* no two sums are the same: each score has a bit of its own, exact in binary */
            add_token(d, piece, n, TOKEN_NORMAL,
                      -(float)(1 + below(12)) - ldexpf(1, -(int)(1 + d->n % 20)));
            if ((double)d->scores[d->n - 1] < low) low = (double)d->scores[d->n - 1];
        }
        t = open_tokenizer(d);
        for (size_t i = 0; i < 60; i++) {
            char text[16] = "", marked[40] = "";
            ways w = {.d = d, .s = marked, .unknown = low - 10, .best_score = -INFINITY};
            for (size_t k = below(10); k > 0; k--) {
                size_t c = below(8) ? below(4) : 4;
                strcat(text, c == 3 ? " " : characters[c]);
                strcat(marked, characters[c]);
            }
            w.n = strlen(marked);
            try_ways(&w, 0, 0, 0);
            /* and once more, with what that settled */
            expect_ids(t, text, plain, w.best, w.n_best);
            expect_ids(t, text, plain, w.best, w.n_best);
        }
        tokenizer_free(t);
        draft_free(d);
    }
}

static void unigram_spaces(gguf_writer *w) {
    unigram_keys(w);
    gguf_add_bool(w, "tokenizer.ggml.add_space_prefix", true);
    gguf_add_bool(w, "tokenizer.ggml.remove_extra_whitespaces", true);
}

/* A double array in which each node's children have 256 units of their own. */
static uint8_t charsmap_bytes[4 + 4 * 256 * 32 + 64];
static size_t charsmap_size;

static void put32(uint8_t *p, uint32_t x) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(x >> 8 * i);
}
static uint32_t get32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void make_charsmap(void) {
    static const struct {
        const char *from, *to;
    } rules[] = {{"\xC3\xA9", "e"}, {"\xEF\xAC\x81", "fi"},     {"\t", " "},
                 {"\n", " "},       {"x", ""},                  {"ab", "B"},
                 {"abcd", "D"},     {"\xC2\xBD", "1\xE2\x81\x84" "2"}};
    uint8_t *units = charsmap_bytes + 4;
    uint32_t nodes = 1, text = 4 * 256 * 32, used = 0;
    memset(charsmap_bytes, 0, sizeof charsmap_bytes);
    put32(charsmap_bytes, text);
    put32(units, 256u << 10); /* the root's children: 256 to 511 */
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        uint32_t p = 0, base = 256, unit = 0;
        for (const char *c = rules[i].from; *c != '\0'; c++) {
            p = base ^ (unsigned char)*c;
            unit = get32(units + 4 * p);
            if (unit == 0) {
                assert_true(++nodes < 31);
                unit = (p ^ nodes * 256) << 10 | (unsigned char)*c;
                put32(units + 4 * p, unit);
            }
            base = p ^ unit >> 10;
        }
        put32(units + 4 * p, unit | 1u << 8);
        put32(units + 4 * base, used | 1u << 31);
        strcpy((char *)charsmap_bytes + 4 + text + used, rules[i].to);
        used += (uint32_t)strlen(rules[i].to) + 1;
    }
    charsmap_size = 4 + text + used;
}

static void unigram_charsmap(gguf_writer *w) {
    unigram_spaces(w);
    gguf_add_numbers(w, "tokenizer.ggml.precompiled_charsmap", GGUF_U8, charsmap_bytes,
                     charsmap_size);
}

static tokenizer *make_letters(void (*keys)(gguf_writer *w)) {
    draft *d = draft_unigram();
    d->keys = keys;
    add(d, "\xE2\x96\x81", TOKEN_NORMAL, -1);
    for (char c = ' ' + 1; c < 0x7F; c++) add_token(d, &c, 1, TOKEN_NORMAL, -2);
    add(d, "\xE2\x96\x81" "fi", TOKEN_NORMAL, -3);
    add(d, "\xEF\xBF\xBD", TOKEN_NORMAL, -3); /* U+FFFD */
    return make(d);
}
#define LETTER(c) (3 + (c) - ' ')

TEST(unigram_normalizes_by_the_longest_of_the_map) {
    const int32_t space = 3, fi = 3 + 0x7F - ' ', bad = fi + 1;
    tokenizer *t;
    make_charsmap();
    t = make_letters(unigram_charsmap);
    EXPECT(t, "\xEF\xAC\x81\t\xC3\xA9", at_start, fi, space, LETTER('e'));
    EXPECT(t, "abcdabcxab", plain, LETTER('D'), LETTER('B'), LETTER('c'), LETTER('B'));
    EXPECT(t, "  a \n\tb ", at_start, space, LETTER('a'), space, LETTER('b'));
    EXPECT(t, "a\xC2\xBD" "b", plain, LETTER('a'), LETTER('1'), 0, LETTER('2'), LETTER('b'));
    EXPECT(t, "a\xFF\xC3" "b", plain, LETTER('a'), bad, bad, LETTER('b'));
    EXPECT(t, "a\xE6\xBC\xA2\xE6\xBC\xA2", plain, LETTER('a'), 0); /* unknown characters, as one */
    expect_ids(t, " x \n", at_start, NULL, 0);
    EXPECT_TEXT(t, false, true, "fi e", fi, space, LETTER('e'));
    tokenizer_free(t);

    t = make_letters(unigram_keys); /* neither map nor flags: spaces as they are */
    EXPECT(t, " a  b", at_start, space, LETTER('a'), space, space, LETTER('b'));
    tokenizer_free(t);
}

/* Whatever the units say, nothing outside is read (sanitizers see to that) and encoding ends. */
TEST(a_charsmap_of_noise_is_harmless) {
    for (int round = 0; round < 60; round++) {
        tokenizer *t;
        make_charsmap();
        for (int i = 0; i < 400; i++)
            charsmap_bytes[4 + below(round % 2 ? 2048 : charsmap_size - 5)] = (uint8_t)random64();
        charsmap_bytes[charsmap_size - 1] = 0;
        t = make_letters(unigram_charsmap);
        for (int i = 0; i < 50; i++) {
            char s[100];
            size_t n = random_bytes(s, sizeof s);
            id_list ids = encoded(t, s, n, plain);
            id_list_free(&ids);
        }
        tokenizer_free(t);
    }
}

/* A trie of one node under the root, whose child by 'a' is itself; `ends`: it ends a key there. */
static void make_circle(bool ends) {
    uint8_t *units = charsmap_bytes + 4;
    uint32_t text = 4 * 512;
    memset(charsmap_bytes, 0, sizeof charsmap_bytes);
    put32(charsmap_bytes, text);
    put32(units, 256u << 10);
    put32(units + 4 * (256 ^ 'a'), 'a' << 10 | (ends ? 1u << 8 : 0) | 'a');
    put32(units + 4 * 256, 1u << 31); /* the value, at the node less its offset */
    memcpy(charsmap_bytes + 4 + text, "B", 2);
    charsmap_size = 4 + text + 2;
}

/* Keys end after 256 bytes, so that a text of n bytes does not cost n searches to its end. */
TEST(a_charsmap_that_leads_in_a_circle_has_keys_of_an_end) {
    const size_t n = (size_t)1 << 18;
    char *s = malloc(n);
    assert_non_null(s);
    memset(s, 'a', n);
    for (int ends = 0; ends < 2; ends++) {
        make_circle(ends);
        tokenizer *t = make_letters(unigram_charsmap);
        id_list ids = encoded(t, s, n, plain);
        assert_int_equal(ids.n, ends ? n / 256 : n);
        for (size_t i = 0; i < ids.n; i++) assert_int_equal(ids.ids[i], LETTER(ends ? 'B' : 'a'));
        id_list_free(&ids);
        tokenizer_free(t);
    }
    free(s);
}

/* ---- WordPiece ---- */

static void bert_keys(gguf_writer *w) {
    gguf_add_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    gguf_add_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gguf_add_u32(w, "tokenizer.ggml.seperator_token_id", 2);
}
static void bert_cased(gguf_writer *w) {
    bert_keys(w);
    gguf_add_bool(w, "tokenizer.ggml.normalizer.lowercase", false);
}

static draft *draft_bert(void) {
    draft *d = draft_new("bert", NULL);
    add(d, "[UNK]", TOKEN_UNKNOWN, 0);
    add(d, "[CLS]", TOKEN_CONTROL, 0);
    add(d, "[SEP]", TOKEN_CONTROL, 0);
    d->keys = bert_keys;
    return d;
}

/* Words of a, b, c: the longest token at each place, found by looking at all of them. */
TEST(wordpiece_takes_the_longest_piece_first) {
    for (size_t round = 0; round < 10; round++) {
        draft *d = draft_bert();
        tokenizer *t;
        for (size_t i = 0; i < 40; i++) {
            char piece[16] = "";
            if (below(2)) strcpy(piece, "\xE2\x96\x81");
            for (size_t n = 1 + below(4); n > 0; n--) strncat(piece, &"abc"[below(3)], 1);
            if (token_spelled(d, piece, strlen(piece)) < 0) add(d, piece, TOKEN_NORMAL, 0);
        }
        t = open_tokenizer(d);
        for (size_t i = 0; i < 200; i++) {
            char text[256] = "";
            int32_t expected[256];
            size_t n = 0;
            for (size_t words = below(6); words > 0; words--) {
                char word[20] = "\xE2\x96\x81";
                size_t before = n, size, at;
                for (size_t k = 1 + below(7); k > 0; k--) strncat(word, &"abc"[below(3)], 1);
                strcat(strcat(text, below(2) ? " " : "\n "), word + 3);
                for (at = 0; at < strlen(word); at += size) {
                    for (size = strlen(word) - at; size > 0; size--) {
                        expected[n] = token_spelled(d, word + at, size);
                        if (expected[n] >= 0) break;
                    }
                    if (size == 0) break;
                    n++;
                }
                if (at < strlen(word)) {
                    n = before;
                    expected[n++] = 0;
                }
            }
            expect_ids(t, text, plain, expected, n);
        }
        tokenizer_free(t);
        draft_free(d);
    }
}

TEST(wordpiece_cleans_and_cuts_as_bert_does) {
    draft *d = draft_bert();
    int32_t cafe, bang, han, s, jamo, long_word;
    char many[120];
    tokenizer *t;
    cafe = add(d, "\xE2\x96\x81" "cafe", TOKEN_NORMAL, 0);
    bang = add(d, "\xE2\x96\x81!", TOKEN_NORMAL, 0);
    han = add(d, "\xE2\x96\x81\xE6\xBC\xA2", TOKEN_NORMAL, 0);
    s = add(d, "s", TOKEN_NORMAL, 0);
    /* U+D55C, taken apart */
    jamo = add(d, "\xE2\x96\x81\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", TOKEN_NORMAL, 0);
    add(d, "z", TOKEN_NORMAL, 0);
    long_word = add(d, "\xE2\x96\x81z", TOKEN_NORMAL, 0);
    t = open_tokenizer(d);
    EXPECT(t, "Caf\xC3\x89s cafe\xCC\x81!", plain, cafe, s, cafe, bang);
    EXPECT(t, "!!\xE6\xBC\xA2\xE6\xBC\xA2" "cafe", plain, bang, bang, han, han, cafe);
    EXPECT(t, "ca\xE2\x80\x8B" "fe\xC2\xA0" "ca\xFF" "fe\x01", plain, cafe, cafe); /* controls */
    EXPECT(t, "\xED\x95\x9C", plain, jamo);
    EXPECT(t, "dog\xE2\x80\x94!", plain, 0, 0, bang); /* U+2014 is punctuation, without a token */
    EXPECT(t, "cafe", ((encode_options){.bos = true, .eos = true}), 1, cafe, 2);
    EXPECT(t, "cafe[SEP]cafe", with_special, cafe, 2, cafe);
    EXPECT_TEXT(t, false, true, "cafes !", cafe, s, bang);
    memset(many, 'z', sizeof many);
    for (size_t n = 100; n <= 101; n++) {
        id_list ids = encoded(t, many, n, plain);
        assert_int_equal(ids.n, n == 100 ? 100 : 1);
        assert_int_equal(ids.ids[0], n == 100 ? long_word : 0);
        id_list_free(&ids);
    }
    assert_true(tokenizer_describe(t).add_sep && tokenizer_describe(t).sep == 2);
    tokenizer_free(t);
    d->keys = bert_cased;
    t = make(d);
    EXPECT(t, "Cafe cafe caf\xC3\xA9", plain, 0, cafe, 0);
    tokenizer_free(t);
}

/* A few of each: the tables come from Unicode's files whole, by runtime/text/unicode.py. */
TEST(characters_have_their_classes_and_mappings) {
    static const uint32_t lower[][2] = {{'A', 'a'}, {'z', 'z'}, {0xC9, 0xE9}, {0xD7, 0xD7},
                                        {0x100, 0x101}, {0x101, 0x101}, {0x130, 'i'},
                                        {0x139, 0x13A}, {0x178, 0xFF}, {0x3A3, 0x3C3},
                                        {0x410, 0x430}, {0x1E9E, 0xDF}, {0x10A0, 0x2D00},
                                        {0x13A0, 0xAB70}, {0x1E921, 0x1E943}, {0x10FFFF, 0x10FFFF}};
    static const uint32_t parts[][5] = {{0xE9, 2, 'e', 0x301}, {'e', 1, 'e'},
                                        {0x1EAD, 3, 'a', 0x323, 0x302}, {0x212B, 2, 'A', 0x30A},
                                        {0x1F82, 4 - 1, 0x3B1, 0x313, 0x300},
                                        {0xAC00, 2, 0x1100, 0x1161},
                                        {0xD7A3, 3, 0x1112, 0x1175, 0x11C2},
                                        {0xF900, 1, 0x8C48}, {0x2FA1D, 1, 0x2A600}};
    for (size_t i = 0; i < sizeof lower / sizeof *lower; i++)
        assert_int_equal(unicode_lower(lower[i][0]), lower[i][1]);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        uint32_t got[DECOMPOSED_MAX];
        size_t n = unicode_decompose(parts[i][0], got);
        if (parts[i][0] == 0x1F82) { /* and the iota below it */
            assert_int_equal(n, 4);
            assert_int_equal(got[3], 0x345);
        } else {
            assert_int_equal(n, parts[i][1]);
        }
        assert_memory_equal(got, parts[i] + 2, parts[i][1] * sizeof *got);
    }
    assert_true(unicode_is_space(' ') && unicode_is_space(0x85) && unicode_is_space(0x3000));
    assert_false(unicode_is_space(0x180E) || unicode_is_space(0x1C) || unicode_is_space(0x200B));
    assert_true(unicode_is_control(0) && unicode_is_control(0xAD) && unicode_is_control(0xE000));
    assert_false(unicode_is_control(' ') || unicode_is_control(0x378));
    assert_true(unicode_is_accent(0x300) && unicode_is_accent(0x94D));
    assert_false(unicode_is_accent(0x93F) || unicode_is_accent('a'));
    assert_true(unicode_is_punctuation('!') && unicode_is_punctuation(0x3002));
    assert_false(unicode_is_punctuation('$') || unicode_is_punctuation('a'));
}

/* ---- kinds of tokens ---- */

TEST(user_defined_tokens_are_split_off_first_the_longest_at_a_place) {
    draft *d = draft_bytes("gpt-2");
    int32_t ab, abc, bcd, space;
    tokenizer *t;
    add_merge(d, 'x', 'a');
    ab = add(d, "ab", TOKEN_USER_DEFINED, 0);
    abc = add(d, "abc", TOKEN_USER_DEFINED, 0);
    bcd = add(d, "bcd", TOKEN_USER_DEFINED, 0);
    space = add(d, " -", TOKEN_USER_DEFINED, 0); /* as it is, not in the byte-level spelling */
    add(d, "abc", TOKEN_USER_DEFINED, 0);        /* a second one of a spelling is never produced */
    t = make(d);
    EXPECT(t, "xab", plain, 'x', ab);
    EXPECT(t, "abcd", plain, abc, 'd');
    EXPECT(t, "bcda -", plain, bcd, 'a', space);
    EXPECT(t, "aabb", plain, 'a', ab, 'b');
    EXPECT(t, "xa", plain, 256);
    EXPECT_TEXT(t, false, false, "abc -", abc, space);
    assert_int_equal(tokenizer_id(t, "abc", 3), abc);
    assert_int_equal(tokenizer_type(t, abc), TOKEN_USER_DEFINED);
    tokenizer_free(t);
}

TEST(control_tokens_are_found_only_when_asked_for) {
    draft *d = draft_bytes("llama-bpe");
    int32_t end, unknown;
    tokenizer *t;
    add_merge(d, 'h', 'i');
    end = add(d, "<|im_end|>", TOKEN_CONTROL, 0);
    unknown = add(d, "<unk>", TOKEN_UNKNOWN, 0);
    t = make(d);
    EXPECT(t, "hi<unk>", plain, 256, '<', 'u', 'n', 'k', '>');
    EXPECT(t, "hi<|im_end|>hi<unk>", with_special, 256, end, 256, unknown);
    EXPECT_TEXT(t, false, false, "hihi", 256, end, 256, unknown);
    EXPECT_TEXT(t, true, false, "hi<|im_end|>hi<unk>", 256, end, 256, unknown);
    expect_round_trip(t, "a<|im_end|>b", 12, false);
    assert_int_equal(tokenizer_id(t, "<|im_end|>", 10), end);
    assert_int_equal(tokenizer_piece(t, end).size, 10);
    tokenizer_free(t);
}

static void no_space_prefix(gguf_writer *w) {
    gguf_add_bool(w, "tokenizer.ggml.add_space_prefix", false);
}
static void named_phi(gguf_writer *w) {
    gguf_add_string(w, "general.name", "Phi-3 mini", 10);
    gguf_add_bool(w, "tokenizer.ggml.add_space_prefix", false);
}
static void named_modern_bert(gguf_writer *w) {
    gguf_add_string(w, "general.name", "modern-bert", 11);
}
static void of_jina(gguf_writer *w) {
    gguf_add_string(w, "general.architecture", "jina-bert-v3", 12);
}

TEST(some_models_tokens_take_the_white_space_beside_them) {
    draft *d = draft_spm();
    int32_t a, user, space;
    tokenizer *t;
    a = add(d, "a", TOKEN_NORMAL, -1);
    space = add(d, "\xE2\x96\x81", TOKEN_NORMAL, -1);
    user = add(d, "<|user|>", TOKEN_CONTROL, 0);
    add(d, "<|endoftext|>", TOKEN_CONTROL, 0);
    d->keys = named_phi;
    t = open_tokenizer(d);
    EXPECT(t, "a <|user|>\n\t a<s> a<|endoftext|> <|user|> </s>\n", with_special, a, space, user, a,
           1, space, a, user + 1, space, user, 2);
    EXPECT(t, "<|user|>", with_special, user);
    EXPECT(t, "a a", plain, a, space, a);
    tokenizer_free(t);
    d->keys = no_space_prefix;
    t = make(d);
    EXPECT(t, "<|user|> a", with_special, user, space, a);
    tokenizer_free(t);

    for (int i = 0; i < 4; i++) {
        d = draft_bytes(i == 1 ? "jina-v2-es" : "gpt-2");
        add_merge(d, 'a', 'b');
        add(d, i == 0 ? "[MASK]" : "<mask>", TOKEN_CONTROL, 0);
        d->keys = i == 0 ? named_modern_bert : i == 2 ? of_jina : NULL;
        t = make(d);
        if (i < 3) {
            EXPECT(t, i == 0 ? "ab \n[MASK] a" : "ab \n<mask> a", with_special, 256, 257, ' ', 'a');
            EXPECT(t, i == 0 ? "  [MASK]" : "  <mask>", with_special, 257);
        } else {
            EXPECT(t, "ab <mask> a", with_special, 256, ' ', 257, ' ', 'a');
        }
        tokenizer_free(t);
    }
}

TEST(spm_text_never_becomes_a_control_or_byte_token_by_its_spelling) {
    draft *d = draft_spm();
    int32_t open, s;
    tokenizer *t;
    open = add(d, "</", TOKEN_NORMAL, -1);
    s = add(d, "s>", TOKEN_NORMAL, -1); /* joined they spell the control token 2 */
    t = make(d);
    EXPECT(t, "</s>", plain, open, s);
    EXPECT(t, "</s>", with_special, 2);
    EXPECT(t, "<0x41>", plain, 3 + '<', 3 + '0', 3 + 'x', 3 + '4', 3 + '1', 3 + '>');
    assert_int_equal(tokenizer_id(t, "<0x41>", 6), 3 + 'A');
    assert_int_equal(tokenizer_id(t, "A", 1), 3 + 'A');
    assert_int_equal(tokenizer_id(t, "nowhere", 7), -1);
    assert_int_equal(tokenizer_piece(t, 3 + 'A').size, 1);
    assert_int_equal(tokenizer_piece(t, 3 + 'A').data[0], 'A');
    tokenizer_free(t);
}

TEST(unused_tokens_are_never_produced) {
    draft *d = draft_spm();
    int32_t a, b;
    tokenizer *t;
    a = add(d, "a", TOKEN_NORMAL, -1);
    b = add(d, "b", TOKEN_NORMAL, -1);
    add(d, "ab", TOKEN_UNUSED, 0);
    t = make(d);
    EXPECT(t, "ab", with_special, a, b);
    tokenizer_free(t);

    d = draft_bytes("llama-bpe"); /* which takes whole words as they are */
    add_merge(d, 'a', 'b');
    d->types[256] = TOKEN_UNUSED;
    t = make(d);
    EXPECT(t, "ab", with_special, 'a', 'b');
    tokenizer_free(t);
}

TEST(llama_bpe_takes_a_word_that_is_a_token_as_it_is) {
    for (int i = 0; i < 2; i++) {
        draft *d = draft_bytes(i == 0 ? "llama-bpe" : "qwen2");
        tokenizer *t;
        add_merge(d, 'a', 'b');
        add_spelled(d, "abc", 3); /* no merge leads there */
        t = make(d);
        for (int again = 0; again < 2; again++) {
            if (i == 0)
                EXPECT(t, "abc", plain, 257);
            else
                EXPECT(t, "abc", plain, 256, 'c');
        }
        EXPECT(t, "abcc", plain, 256, 'c', 'c');
        tokenizer_free(t);
    }
}

TEST(spm_puts_a_space_in_front_of_a_text_that_opens_a_sequence) {
    draft *d = draft_spm();
    int32_t space, a, tag;
    tokenizer *t;
    space = add(d, "\xE2\x96\x81", TOKEN_NORMAL, -1);
    a = add(d, "a", TOKEN_NORMAL, -1);
    tag = add(d, "<tag>", TOKEN_USER_DEFINED, 0);
    t = open_tokenizer(d);
    EXPECT(t, "a", at_start, space, a);
    EXPECT(t, "a", plain, a);
    EXPECT(t, " a", at_start, space, space, a);
    expect_ids(t, "", at_start, NULL, 0);
    /* Behind each token that the text spells it opens again. Without control tokens, a user-defined
     * one is text, and stays in front. */
    EXPECT(t, "<s>a</s>a", ((encode_options){.special = true, .start = true}), 1, space, a, 2,
           space, a);
    EXPECT(t, "a<tag>a</s>", with_special, a, tag, space, a, 2);
    EXPECT(t, "<tag>a", at_start, tag, a);
    EXPECT_TEXT(t, false, true, "a", space, a);
    EXPECT_TEXT(t, false, false, " a", space, a);
    EXPECT_TEXT(t, false, true, "a", 1, space, a);
    EXPECT_TEXT(t, true, true, "<s>a", 1, space, a);
    EXPECT_TEXT(t, false, true, "<tag> a", tag, space, a);
    EXPECT_TEXT(t, false, true, " a", 3 + ' ', space, a); /* one space, whoever says it */
    EXPECT(t,
           "\xE2\x96\x81"
           /* the mark itself is a space */
           "a", plain, space, a);
    assert_int_equal(tokenizer_id(t, "\xE2\x96\x81", 3), space);
    assert_int_equal(tokenizer_id(t, " ", 1), space);
    tokenizer_free(t);

    d->keys = no_space_prefix;
    t = make(d);
    EXPECT(t, "a", at_start, a);
    EXPECT_TEXT(t, false, true, " a", space, a);
    tokenizer_free(t);
}

TEST(characters_without_a_token_become_bytes_or_unknown_or_nothing) {
    draft *d = draft_spm();
    int32_t a;
    tokenizer *t;
    a = add(d, "a", TOKEN_NORMAL, -1);
    d->types[3 + 0xA9] = TOKEN_UNUSED; /* one byte of U+00E9 has no token */
    t = make(d);
    EXPECT(t,
           "a\xC3\xA9"
           "a\xC3\xA8",
           plain, a, 0, a, 3 + 0xC3, 3 + 0xA8);
    EXPECT_TEXT(t, false, false, "aa", a, 0, a);
    EXPECT_TEXT(t, true, false, "a<unk>", a, 0);
    tokenizer_free(t);

    d = draft_new("gpt2", "gpt-2");
    add(d, "a", TOKEN_NORMAL, 0);
    add(d, "b", TOKEN_NORMAL, 0);
    add_merge(d, 0, 1);
    t = make(d);
    EXPECT(t, "abxba\xFF", plain, 2, 1, 0);
    tokenizer_free(t);
}

static void integer_scores(gguf_writer *w) {
    int32_t x[262] = {0};
    for (int i = 0; i < 3; i++) x[259 + i] = -i;
    gguf_add_numbers(w, "tokenizer.ggml.scores", GGUF_I32, x, 262);
}

TEST(scores_may_be_integers) {
    draft *d = draft_spm();
    tokenizer *t;
    add(d, "a", TOKEN_NORMAL, 0);
    add(d, "bc", TOKEN_NORMAL, 0);
    add(d, "ab", TOKEN_NORMAL, 0);
    d->no_scores = true;
    d->keys = integer_scores;
    t = make(d);
    EXPECT(t, "abc", plain, 259, 260); /* "bc" scores higher than "ab" */
    tokenizer_free(t);
}

TEST(a_piece_that_is_there_twice_is_its_first_token) {
    static const char *const models[] = {"llama", "gemma4", "t5", "bert"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        draft *d = draft_spm();
        int32_t first;
        tokenizer *t;
        d->model = models[i];
        first = add(d, "\xE2\x96\x81q", TOKEN_NORMAL, -3);
        add(d, "\xE2\x96\x81q", TOKEN_NORMAL, -1);
        add(d, "\xE2\x96\x81q", TOKEN_CONTROL, 0);
        if (i == 1) {
            add(d, "\xE2\x96\x81", TOKEN_NORMAL, 0);
            add(d, "q", TOKEN_NORMAL, 0);
            add_merge(d, 262, 263);
        }
        t = make(d);
        EXPECT(t, " q", plain, first);
        tokenizer_free(t);
    }
}

TEST(infinite_scores_are_the_best_and_the_worst) {
    static const char *const models[] = {"llama", "t5"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        draft *d = draft_spm();
        int32_t ab, bc, c;
        tokenizer *t;
        d->model = models[i];
        c = add(d, "c", TOKEN_NORMAL, -1);
        bc = add(d, "bc", TOKEN_NORMAL, -INFINITY);
        ab = add(d, "ab", TOKEN_NORMAL, INFINITY);
        add(d, "a", TOKEN_NORMAL, -1);
        t = make(d);
        EXPECT(t, "abc", plain, ab, c);
        EXPECT(t, "bc", plain, bc);
        tokenizer_free(t);
    }
}

static void bpe_bos(gguf_writer *w) {
    gguf_add_u32(w, "tokenizer.ggml.bos_token_id", 7);
    gguf_add_u32(w, "tokenizer.ggml.eos_token_id", 8);
    gguf_add_bool(w, "tokenizer.ggml.add_eos_token", true);
}
static void no_bos(gguf_writer *w) { gguf_add_bool(w, "tokenizer.ggml.add_bos_token", false); }

TEST(bos_is_added_when_the_model_wants_it_and_the_caller_too) {
    const encode_options bos = {.bos = true};
    draft *d = draft_spm();
    tokenizer *t = open_tokenizer(d);
    tokenizer_info info = tokenizer_describe(t);
    assert_true(info.add_bos);
    assert_false(info.add_eos);
    assert_int_equal(info.bos, 1);
    assert_int_equal(info.eos, 2);
    assert_int_equal(info.unk, 0);
    assert_int_equal(info.pad, -1);
    assert_string_equal(info.model, "llama");
    assert_string_equal(info.pre, "");
    assert_null(info.chat_template);
    EXPECT(t, "a", bos, 1, 3 + 'a');
    EXPECT(t, "", bos, 1);
    EXPECT(t, "a", plain, 3 + 'a');
    tokenizer_free(t);
    d->keys = no_bos;
    t = make(d);
    EXPECT(t, "a", bos, 3 + 'a');
    tokenizer_free(t);

    for (int i = 0; i < 3;
         i++) { /* llama-bpe wants BOS unless told otherwise, qwen2 does not; none without a BOS */
        d = draft_bytes(i == 1 ? "qwen2" : "llama-bpe");
        add_merge(d, 'a', 'b');
        d->keys = i == 2 ? NULL : bpe_bos;
        t = make(d);
        info = tokenizer_describe(t);
        assert_int_equal(info.add_bos, i == 0);
        assert_int_equal(info.add_eos, i != 2);
        assert_int_equal(info.bos, i == 2 ? -1 : 7);
        if (i == 0)
            EXPECT(t, "ab", bos, 7, 256);
        else
            EXPECT(t, "ab", bos, 256);
        if (i != 2)
            EXPECT(t, "ab", ((encode_options){.eos = true}), 256, 8);
        else
            EXPECT(t, "ab", ((encode_options){.eos = true}), 256);
        tokenizer_free(t);
    }
}

static void eot_key(gguf_writer *w) {
    gguf_add_u32(w, "tokenizer.ggml.eos_token_id", 5);
    gguf_add_u32(w, "tokenizer.ggml.eot_token_id", 4);
    gguf_add_u32(w, "tokenizer.ggml.eom_token_id", 9);
    gguf_add_string(w, "tokenizer.chat_template", "{{ x }}", 7);
}

TEST(generation_ends_at_the_ids_and_names_that_mean_it) {
    draft *d = draft_bytes("gpt-2");
    int32_t turn, user, text, tag;
    tokenizer *t;
    tokenizer_info info;
    add_merge(d, 'a', 'b');
    turn = add(d, "<|im_end|>", TOKEN_CONTROL, 0);
    user = add(d, "<|endoftext|>", TOKEN_USER_DEFINED,
               0);                                /* a control token, whatever the file says */
    text = add(d, "<|eot_id|>", TOKEN_NORMAL, 0); /* stays text, and ends a generation */
    tag = add(d, "</s>", TOKEN_NORMAL, 0);
    t = open_tokenizer(d);
    info = tokenizer_describe(t);
    assert_int_equal(info.eos, -1);
    assert_int_equal(info.eot, text);
    assert_int_equal(info.n_eog, 4);
    assert_int_equal(info.eog[0], turn);
    assert_int_equal(info.eog[1], user);
    assert_true(tokenizer_is_eog(t, user) && tokenizer_is_eog(t, text) && tokenizer_is_eog(t, tag));
    assert_int_equal(tokenizer_type(t, text), TOKEN_NORMAL);
    EXPECT_TEXT(t, false, false, "<|eot_id|></s>", turn, text, tag);
    assert_false(tokenizer_is_eog(t, -1));
    assert_int_equal(tokenizer_type(t, user), TOKEN_CONTROL);
    assert_int_equal(encoded(t, "", 0, plain).n, 0);
    expect_round_trip(t, "<|endoftext|>", 13, false);
    tokenizer_free(t);

    d->keys = eot_key;
    t = make(d);
    info = tokenizer_describe(t);
    assert_int_equal(info.eot, 4);
    assert_int_equal(info.n_eog, 7);
    for (size_t i = 1; i < info.n_eog; i++) assert_true(info.eog[i - 1] < info.eog[i]);
    assert_true(tokenizer_is_eog(t, 4) && tokenizer_is_eog(t, 5) && tokenizer_is_eog(t, 9));
    assert_string_equal(info.chat_template, "{{ x }}");
    tokenizer_free(t);

    for (int i = 0; i < 2; i++) { /* "</s>" ends it where it is a control token, but for Gemma 4 */
        d = draft_bytes("gpt-2");
        add_merge(d, 'a', 'b');
        add(d, "</s>", TOKEN_CONTROL, 0);
        if (i == 1) add(d, "<|tool_response>", TOKEN_CONTROL, 0);
        t = make(d);
        assert_int_equal(tokenizer_is_eog(t, 257), i == 0);
        assert_int_equal(tokenizer_describe(t).n_eog, 1);
        tokenizer_free(t);
    }

}

/* A message of Harmony's or Solar Open's closes with <|end|>, the turn does not: even where the
 * file says that this is the end of a turn. */
static void eot_257(gguf_writer *w) { gguf_add_u32(w, "tokenizer.ggml.eot_token_id", 257); }

TEST(a_turn_of_several_messages_does_not_end_with_the_first) {
    static const struct {
        const char *a, *b;
        bool ends;
    } cases[] = {{"<|return|>", "<|call|>", false}, {"<|flush|>", "<|calls|>", false},
                 {"<|return|>", "<|x|>", true},     {"<|call|>", "<|calls|>", true}};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        draft *d = draft_bytes("gpt-2");
        bool ends = cases[i / 2].ends;
        tokenizer *t;
        add_merge(d, 'a', 'b');
        add(d, "<|end|>", i % 4 < 2 ? TOKEN_CONTROL : TOKEN_USER_DEFINED, 0);
        add(d, cases[i / 2].a, TOKEN_CONTROL, 0);
        add(d, cases[i / 2].b, TOKEN_CONTROL, 0);
        if (i % 2) d->keys = eot_257;
        t = make(d);
        assert_int_equal(tokenizer_is_eog(t, 257), ends);
        assert_true(tokenizer_is_eog(t, 258));
        assert_int_equal(tokenizer_describe(t).eot, ends ? 257 : -1);
        assert_int_equal(tokenizer_type(t, 257), TOKEN_CONTROL);
        tokenizer_free(t);
    }
}

/* Each of them ends a generation by its name alone: the list of llama.cpp. */
TEST(every_name_of_an_end_is_known) {
    static const char *const names[] = {
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
        "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
        "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
        "<｜end▁of▁sentence｜>", "[e~[",
        /* and as the padding and the next file of code models */
        "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]", "<|fim_repo|>", "<|repo_name|>",
        "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>"};
    static const token_type types[] = {TOKEN_CONTROL, TOKEN_USER_DEFINED, TOKEN_NORMAL};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t k = 0; k < 6; k++) {
            draft *d = k < 3 ? draft_bytes("qwen2") : draft_spm();
            int32_t id;
            tokenizer *t;
            if (k < 3) add_merge(d, 'a', 'b');
            if (k >= 3) d->types[2] = TOKEN_UNUSED, d->tokens[2].size = 1; /* its own </s> */
            id = add(d, names[i], types[k % 3], 0);
            t = make(d);
            if (!tokenizer_is_eog(t, id)) fail_msg("%s of type %d", names[i], types[k % 3]);
            assert_int_equal(tokenizer_describe(t).n_eog, k < 3 ? 1 : 2); /* SPM: its eos, 2 */
            tokenizer_free(t);
        }
}

static void all_keys(gguf_writer *w) {
    static const char *const keys[] = {"bos", "eos", "eot", "eom", "unknown", "seperator",
                                       "padding", "mask", "cls", "fim_pre", "fim_suf", "fim_mid",
                                       "fim_pad", "fim_rep", "fim_sep"};
    for (uint32_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char key[64];
        snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", keys[i]);
        gguf_add_u32(w, key, 10 + i);
    }
}
static void older_keys(gguf_writer *w) {
    gguf_add_u32(w, "tokenizer.ggml.prefix_token_id", 30);
    gguf_add_u32(w, "tokenizer.ggml.suffix_token_id", 31);
    gguf_add_u32(w, "tokenizer.ggml.middle_token_id", 32);
    gguf_add_u32(w, "tokenizer.ggml.padding_token_id", 999); /* as some files have it */
    gguf_add_u32(w, "tokenizer.ggml.fim_sep_token_id", UINT32_MAX);
}

TEST(special_ids_come_from_keys_and_then_from_names) {
    static const char *const fim[] = {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>",
                                      "<|fim_pad|>",    "<|repo_name|>",  "<|file_sep|>"};
    for (int i = 0; i < 3; i++) {
        draft *d = draft_bytes("qwen2");
        tokenizer_info info;
        tokenizer *t;
        add_merge(d, 'a', 'b');
        for (size_t k = 0; k < 6; k++) add(d, fim[k], TOKEN_USER_DEFINED, 0);
        d->keys = i == 0 ? NULL : i == 1 ? all_keys : older_keys;
        t = make(d);
        info = tokenizer_describe(t);
        const int32_t got[] = {info.bos,     info.eos,     info.eot,     info.eom,
                               info.unk,     info.sep,     info.pad,     info.mask,
                               info.cls,     info.fim_pre, info.fim_suf, info.fim_mid,
                               info.fim_pad, info.fim_rep, info.fim_sep};
        for (int32_t k = 0; k < 15; k++) {
            int32_t named = k >= 9 ? 257 + k - 9 : -1;
            int32_t expected = i == 1 ? 10 + k : i == 2 && k >= 9 && k < 12 ? 30 + k - 9 : named;
            if (got[k] != expected) fail_msg("id %d is %d, expected %d", k, got[k], expected);
        }
        /* Text spells such a token only where the file gives the id: then it is one of many. */
        assert_int_equal(tokenizer_type(t, 257), i == 0 ? TOKEN_CONTROL : TOKEN_USER_DEFINED);
        assert_int_equal(tokenizer_is_eog(t, 22), i == 1); /* fim_pad */
        tokenizer_free(t);
    }
}

TEST(files_without_types_have_bytes_and_end_tokens_by_their_spelling) {
    draft *d = draft_spm();
    tokenizer *t;
    add(d, "<|im_end|>", TOKEN_NORMAL, 0);
    d->no_types = true;
    d->no_scores = true;
    t = make(d);
    EXPECT(t, "A\xFF", plain, 3 + 'A', 3 + 0xFF);
    EXPECT_TEXT(t, false, false, "A", 3 + 'A', 259);
    assert_true(tokenizer_is_eog(t, 259));
    assert_int_equal(tokenizer_type(t, 3), TOKEN_BYTE);
    tokenizer_free(t);
}

TEST(merges_that_cannot_apply_are_passed_over) {
    draft *d = draft_bytes("gpt-2");
    tokenizer *t;
    d->merges[d->n_merges++] = copied("x y", 3); /* "xy" is no token */
    d->merges[d->n_merges++] = copied("xy", 2);  /* no pair */
    d->merges[d->n_merges++] = copied("", 0);
    d->merges[d->n_merges++] = copied("a \xE4\xB8\x80", 5); /* no byte's character */
    d->merges[d->n_merges++] = copied("a\xFF b", 4);        /* no UTF-8 */
    d->merges[d->n_merges++] = copied("a ", 2);             /* nothing to the right */
    d->merges[d->n_merges++] = copied(" a", 2);             /* nor to the left */
    d->merges[d->n_merges++] = copied("a b c", 5);          /* more than a pair */
    d->merges[d->n_merges++] = copied("a a", 3);            /* what they would make is no token */
    add_merge(d, 'a', 'b');
    add_merge(d, 'a', 'b'); /* again, behind the first */
    /* real files have empty tokens: they are never produced, and say nothing */
    add(d, "", TOKEN_NORMAL, 0);
    add(d, "", TOKEN_USER_DEFINED, 0);
    add(d, "", TOKEN_CONTROL, 0);
    t = make(d);
    EXPECT(t, "xyab", with_special, 'x', 'y', 256);
    EXPECT_TEXT(t, true, true, "ab", 257, 256, 258, 259);
    tokenizer_free(t);
}

TEST(of_tokens_that_are_spelled_alike_the_first_counts) {
    draft *d = draft_spm();
    int32_t a, ab;
    tokenizer *t;
    a = add(d, "a", TOKEN_NORMAL, -3);
    ab = add(d, "ab", TOKEN_NORMAL, -1);
    add(d, "ab", TOKEN_NORMAL, 0);
    add(d, "a", TOKEN_NORMAL, 0);
    add(d, "<0x61>", TOKEN_BYTE, 0);
    add(d, "<s>", TOKEN_CONTROL, 0);
    t = make(d);
    EXPECT(t, "aba<s>", with_special, ab, a, 1);
    EXPECT_TEXT(t, false, false, "abaaaba", ab, a, ab + 3, ab + 1, ab + 2);
    assert_int_equal(tokenizer_id(t, "ab", 2), ab);
    tokenizer_free(t);

    d = draft_bytes("gpt-2");
    add_merge(d, 'a', 'b');
    add_spelled(d, "ab", 2);
    add_spelled(d, "a", 1);
    t = make(d);
    EXPECT(t, "aba", plain, 256, 'a');
    EXPECT_TEXT(t, false, false, "aba", 257, 258);
    tokenizer_free(t);
}

TEST(tokens_need_not_be_utf8) {
    draft *d = draft_spm();
    int32_t half, user, both;
    tokenizer *t;
    half = add(d, "\xFF", TOKEN_NORMAL, -1);
    both = add(d, "\xFF\xC3", TOKEN_NORMAL, -1);
    user = add(d, "\xC3\xA9\xFE", TOKEN_USER_DEFINED, 0);
    t = make(d);
    EXPECT(t, "\xFF" "a\xFF\xC3\xC3\xA9\xFE", plain, half, 3 + 'a', both, user);
    EXPECT_TEXT(t, false, false, "\xFF\xFF\xC3\xC3\xA9\xFE", half, both, user);
    tokenizer_free(t);

    d = draft_bytes("gpt-2"); /* a piece that is no spelling: a name, which no text becomes */
    add_merge(d, 'a', 'b');
    add(d, "\xC4", TOKEN_NORMAL, 0);
    user = add(d, "\xFF-", TOKEN_USER_DEFINED, 0);
    t = make(d);
    EXPECT(t, "\xC4\xFF-", plain, 0xC4, user);
    EXPECT_TEXT(t, false, false, "\xC4\xFF-", 257, user);
    tokenizer_free(t);
}

static void long_arrays(gguf_writer *w) {
    int32_t types[300];
    float scores[300] = {0};
    for (size_t i = 0; i < 300; i++) types[i] = i < 3 || i > 258 ? TOKEN_NORMAL : TOKEN_BYTE;
    scores[260] = -1;
    gguf_add_numbers(w, "tokenizer.ggml.token_type", GGUF_I32, types, 300);
    gguf_add_numbers(w, "tokenizer.ggml.scores", GGUF_F32, scores, 300);
}

TEST(arrays_may_be_longer_than_the_vocabulary) {
    draft *d = draft_spm();
    tokenizer *t;
    add(d, "ab", TOKEN_NORMAL, 0);
    add(d, "bc", TOKEN_NORMAL, 0);
    d->no_types = d->no_scores = true;
    d->keys = long_arrays;
    t = make(d);
    EXPECT(t, "abc", plain, 259, 3 + 'c');
    tokenizer_free(t);
}

/* Whatever the tokens, types, scores and merges are: the file is refused by the name of a key, or
 * any text becomes ids and any ids become text. */
TEST(vocabularies_of_noise_load_or_are_refused_by_name) {
    static const char *const models[] = {"llama", "gpt2", "gemma4", "bert", "t5", "whitespace"};
    static const char *const names[] = {"<s>", "</s>", "<unk>", "<|im_end|>", "<|end|>", "<|call|>",
                                        "<|return|>", "<0x41>", "<0xFF>", "\xE2\x96\x81", " ", "",
                                        "\xE2\x96", "a b", "[PAD]", "<|tool_response>"};
    int loaded = 0, refused = 0;
    for (int round = 0; round < 600; round++) {
        const char *model = models[round % 6];
        const char *pre = strcmp(model, "whitespace") == 0 ? model
                          : strcmp(model, "gpt2") == 0     ? pre_types()[below(20)]
                                                           : NULL;
        draft *d = draft_new(model, pre);
        tokenizer *t = NULL;
        pl_error e;
        gguf *g;
        d->no_types = below(4) == 0;
        d->no_scores = below(4) == 0;
        if (below(2))
            for (int b = 0; b < 256; b++) {
                char name[8];
                unsigned char byte = (unsigned char)b;
                snprintf(name, sizeof name, "<0x%02X>", b);
                if (strcmp(model, "gpt2") == 0)
                    add_spelled(d, &byte, 1);
                else
                    add(d, name, below(9) ? TOKEN_BYTE : TOKEN_NORMAL, 0);
            }
        for (size_t n = 1 + below(60); n > 0; n--) {
            char s[24];
            size_t size = below(3) ? random_bytes(s, sizeof s) : 0;
            const char *name = names[below(sizeof names / sizeof *names)];
            token_type type = (token_type)below(below(8) ? 6 : 8);
            float score = below(20) ? -(float)below(20) : below(2) ? INFINITY : -INFINITY;
            if (below(3) == 0)
                add(d, name, type, score);
            else
                add_token(d, s, size, type, score);
        }
        for (size_t n = below(40); n > 0; n--) {
            char line[64];
            gguf_string a = d->tokens[below(d->n)], b = d->tokens[below(d->n)];
            memcpy(line, a.data, a.size);
            line[a.size] = below(9) ? ' ' : 'x';
            memcpy(line + a.size + 1, b.data, b.size);
            d->merges[d->n_merges++] = copied(line, a.size + 1 + b.size);
        }
        g = draft_open(d);
        if (tokenizer_new(g, &t, &e) != PL_OK) {
            assert_non_null(strstr(e.message, "key 'tokenizer.ggml."));
            refused++;
        } else {
            loaded++;
        }
        for (int i = 0; i < 20 && t != NULL; i++) {
            char s[200];
            size_t n = random_bytes(s, sizeof s);
            id_list ids = encoded(t, s, n, (encode_options){.special = i % 2 == 0, .start = true});
            text_buffer b = {NULL, 0, 0};
            for (size_t k = 0; k < d->n; k++) id_list_push(&ids, (int32_t)k, NULL);
            assert_int_equal(tokenizer_decode(t, ids.ids, ids.n, i % 3 == 0, true, &b, NULL),
                             PL_OK);
            id_list_free(&ids);
            text_free(&b);
        }
        tokenizer_free(t);
        gguf_close(g);
        draft_free(d);
    }
    assert_true(loaded > 100 && refused > 20);
}

TEST(pieces_are_known_by_bytes_and_by_spelling) {
    draft *d = draft_bytes("gpt-2");
    tokenizer *t;
    add_merge(d, ' ', 'a');
    t = make(d);
    assert_int_equal(tokenizer_size(t), 257);
    assert_int_equal(tokenizer_piece(t, 256).size, 2);
    assert_memory_equal(tokenizer_piece(t, 256).data, " a", 2);
    assert_int_equal(tokenizer_id(t, " a", 2), 256);
    assert_int_equal(tokenizer_id(t,
                                  "\xC4\xA0"
                                  "a",
                                  /* as the file spells it */
                                  3), 256);
    assert_int_equal(tokenizer_id(t, "\xFF", 1), 255);
    assert_int_equal(tokenizer_id(t, "\xC3\xBF", 2), 255); /* U+00FF spells byte FF */
    assert_int_equal(tokenizer_id(t, " b", 2), -1);
    assert_int_equal(tokenizer_id(t, "", 0), -1);
    for (int32_t id = 0; id < 257; id++) {
        gguf_string piece = tokenizer_piece(t, id);
        assert_int_equal(tokenizer_id(t, piece.data, piece.size), id);
    }
    tokenizer_free(t);
}

TEST(a_bad_id_leaves_the_output_as_it_was) {
    static const int32_t bad[][3] = {
        {'a', 'b', 256}, {'a', -1, 'b'}, {INT32_MAX, 'a', 'b'}, {'a', 'b', INT32_MIN}};
    draft *d = draft_bytes("gpt-2");
    text_buffer b = {NULL, 0, 0};
    tokenizer *t;
    pl_error e;
    d->merges[d->n_merges++] = copied("a b", 3);
    t = make(d);
    assert_int_equal(text_append(&b, "kept", 4, &e), PL_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(tokenizer_decode(t, bad[i], 3, false, false, &b, &e), PL_ERR_ARGUMENT);
        assert_non_null(strstr(e.message, "0 to 255"));
        assert_int_equal(b.n, 4);
        assert_memory_equal(b.data, "kept", 4);
    }
    text_free(&b);
    tokenizer_free(t);
}

/* ---- metadata that is wrong ---- */

static void tokens_are_numbers(gguf_writer *w) {
    int32_t x[2] = {1, 2};
    gguf_add_numbers(w, "tokenizer.ggml.tokens", GGUF_I32, x, 2);
}
static void no_tokens(gguf_writer *w) { gguf_add_strings(w, "tokenizer.ggml.tokens", NULL, 0); }
static void few_types(gguf_writer *w) {
    int32_t x[2] = {1, 1};
    gguf_add_numbers(w, "tokenizer.ggml.token_type", GGUF_I32, x, 2);
}
static void types_are_floats(gguf_writer *w) {
    float x[259] = {1};
    gguf_add_numbers(w, "tokenizer.ggml.token_type", GGUF_F32, x, 259);
}
static void type_nine(gguf_writer *w) {
    int32_t x[259] = {9};
    gguf_add_numbers(w, "tokenizer.ggml.token_type", GGUF_I32, x, 259);
}
static void type_minus_one(gguf_writer *w) {
    int64_t x[259] = {[200] = -1};
    gguf_add_numbers(w, "tokenizer.ggml.token_type", GGUF_I64, x, 259);
}
static void type_beyond_all(gguf_writer *w) {
    uint64_t x[259] = {[200] = UINT64_MAX};
    gguf_add_numbers(w, "tokenizer.ggml.token_type", GGUF_U64, x, 259);
}
static void scores_are_text(gguf_writer *w) {
    gguf_add_string(w, "tokenizer.ggml.scores", "high", 4);
}
static void tokens_are_one_string(gguf_writer *w) {
    gguf_add_string(w, "tokenizer.ggml.tokens", "a b c", 5);
}
static void merges_are_one_string(gguf_writer *w) {
    gguf_add_string(w, "tokenizer.ggml.merges", "a b", 3);
}
static void bos_is_negative(gguf_writer *w) {
    int32_t x = -1;
    gguf_add_raw(w, "tokenizer.ggml.bos_token_id", GGUF_I32, &x, sizeof x);
}
static void pre_is_a_list(gguf_writer *w) {
    gguf_add_strings(w, "tokenizer.ggml.pre", NULL, 0);
}
static void unk_is_a_byte(gguf_writer *w) {
    int32_t x[259] = {TOKEN_BYTE};
    gguf_add_numbers(w, "tokenizer.ggml.token_type", GGUF_I32, x, 259);
}
static void few_scores(gguf_writer *w) {
    float x[2] = {1};
    gguf_add_numbers(w, "tokenizer.ggml.scores", GGUF_F32, x, 2);
}
static void a_score_is_nan(gguf_writer *w) {
    float x[259] = {0};
    x[200] = NAN;
    gguf_add_numbers(w, "tokenizer.ggml.scores", GGUF_F32, x, 259);
}
static void merges_are_numbers(gguf_writer *w) {
    int32_t x[2] = {1, 2};
    gguf_add_numbers(w, "tokenizer.ggml.merges", GGUF_I32, x, 2);
}
static void bos_beyond_the_end(gguf_writer *w) {
    gguf_add_u32(w, "tokenizer.ggml.bos_token_id", 259);
}
static void eom_beyond_the_end(gguf_writer *w) {
    gguf_add_u32(w, "tokenizer.ggml.eom_token_id", UINT32_MAX);
}
static void pad_is_text(gguf_writer *w) {
    gguf_add_string(w, "tokenizer.ggml.padding_token_id", "x", 1);
}
static void bos_without_id(gguf_writer *w) {
    gguf_add_bool(w, "tokenizer.ggml.add_bos_token", true);
}
static void add_bos_is_text(gguf_writer *w) {
    gguf_add_string(w, "tokenizer.ggml.add_bos_token", "yes", 3);
}
static void prefix_is_a_number(gguf_writer *w) {
    gguf_add_u32(w, "tokenizer.ggml.add_space_prefix", 1);
}
static void template_is_a_number(gguf_writer *w) { gguf_add_u32(w, "tokenizer.chat_template", 1); }
static void model_is_a_number(gguf_writer *w) { gguf_add_u32(w, "tokenizer.ggml.model", 1); }

enum { NO_TYPES = 1, NO_SCORES = 2, NO_TOKENS = 4, NO_MERGES = 8 };

static void charsmap_is_text(gguf_writer *w) {
    gguf_add_string(w, "tokenizer.ggml.precompiled_charsmap", "x", 1);
}
static void charsmap_is_wide(gguf_writer *w) {
    int32_t x[2] = {4, 0};
    gguf_add_numbers(w, "tokenizer.ggml.precompiled_charsmap", GGUF_I32, x, 2);
}
static void charsmap_is_short(gguf_writer *w) {
    uint8_t x[9] = {8};
    gguf_add_numbers(w, "tokenizer.ggml.precompiled_charsmap", GGUF_U8, x, 9);
}
static void charsmap_is_open(gguf_writer *w) {
    uint8_t x[10] = {4, 0, 0, 0, 0, 0, 0, 0, 'a', 'b'};
    gguf_add_numbers(w, "tokenizer.ggml.precompiled_charsmap", GGUF_U8, x, 10);
}
static void charsmap_grows(gguf_writer *w) {
    static uint8_t x[8 + 1025 + 1] = {4};
    memset(x + 8, 'a', 1025);
    gguf_add_numbers(w, "tokenizer.ggml.precompiled_charsmap", GGUF_U8, x, sizeof x);
}
static void charsmap_is_huge(gguf_writer *w) {
    uint8_t x[10] = {0xFC, 0xFF, 0xFF, 0xFF};
    gguf_add_numbers(w, "tokenizer.ggml.precompiled_charsmap", GGUF_U8, x, 10);
}
static void sep_without_id(gguf_writer *w) {
    gguf_add_bool(w, "tokenizer.ggml.add_sep_token", true);
}
static void lowercase_is_a_number(gguf_writer *w) {
    gguf_add_u32(w, "tokenizer.ggml.normalizer.lowercase", 1);
}

static const struct {
    const char *model, *pre;
    unsigned without;
    void (*keys)(gguf_writer *w);
    pl_code code;
    const char *says[3];
} wrong[] = {
    {NULL, NULL, 0, NULL, PL_ERR_FORMAT, {"'tokenizer.ggml.model'"}},
    {NULL, NULL, 0, model_is_a_number, PL_ERR_FORMAT, {"'tokenizer.ggml.model'", "u32"}},
    {"rwkv", NULL, 0, NULL, PL_ERR_UNSUPPORTED, {"ggml.model'", "\"rwkv\"", "llama, gpt2"}},
    {"plamo2", NULL, 0, NULL, PL_ERR_UNSUPPORTED, {"ggml.model'", "\"plamo2\"", "bert, t5"}},
    {"hybriddna", NULL, 0, NULL, PL_ERR_UNSUPPORTED, {"ggml.model'", "\"hybriddna\""}},
    {"none", NULL, 0, NULL, PL_ERR_UNSUPPORTED, {"ggml.model'", "\"none\""}},
    {"gpt2", "klingon", 0, NULL, PL_ERR_UNSUPPORTED, {"ggml.pre'", "\"klingon\"", "qwen2"}},
    {"llama", NULL, NO_TOKENS, NULL, PL_ERR_FORMAT, {"'tokenizer.ggml.tokens'"}},
    {"llama", NULL, NO_TOKENS, tokens_are_numbers, PL_ERR_FORMAT, {"ggml.tokens'", "i32"}},
    {"llama", NULL, NO_TOKENS, no_tokens, PL_ERR_FORMAT, {"ggml.tokens'", "0 tokens"}},
    {"llama", NULL, NO_TYPES, few_types, PL_ERR_FORMAT, {"ggml.token_type'", "2 elements", "259"}},
    {"llama", NULL, NO_TYPES, types_are_floats, PL_ERR_FORMAT, {"ggml.token_type'", "f32"}},
    {"llama", NULL, NO_TYPES, type_nine, PL_ERR_FORMAT, {"ggml.token_type'", "found 9", "0 to 6"}},
    {"llama", NULL, NO_TYPES, type_minus_one, PL_ERR_FORMAT, {"found -1 for token 200"}},
    {"llama", NULL, NO_TYPES, type_beyond_all, PL_ERR_FORMAT, {"for token 200, expected 0 to 6"}},
    {"llama", NULL, NO_SCORES, scores_are_text, PL_ERR_FORMAT, {"ggml.scores'", "a string"}},
    {"llama", NULL, NO_TOKENS, tokens_are_one_string, PL_ERR_FORMAT, {"ggml.tokens'", "a string"}},
    {"gpt2", NULL, NO_MERGES, merges_are_one_string, PL_ERR_FORMAT, {"ggml.merges'", "a string"}},
    {"gpt2", NULL, 0, pre_is_a_list, PL_ERR_FORMAT, {"ggml.pre'", "an array"}},
    {"llama", NULL, 0, bos_is_negative, PL_ERR_FORMAT, {"ggml.bos_token_id'", "found -1"}},
    {"llama", NULL, NO_TYPES, unk_is_a_byte, PL_ERR_FORMAT, {"ggml.tokens'", "<unk>", "<0x00>"}},
    {"llama", NULL, NO_SCORES, few_scores, PL_ERR_FORMAT, {"ggml.scores'", "2 elements", "259"}},
    {"llama", NULL, NO_SCORES, a_score_is_nan, PL_ERR_FORMAT, {"ggml.scores'", "NaN", "200"}},
    {"gpt2", NULL, NO_MERGES, NULL, PL_ERR_FORMAT, {"'tokenizer.ggml.merges'"}},
    {"gpt2", NULL, NO_MERGES, merges_are_numbers, PL_ERR_FORMAT, {"ggml.merges'", "i32"}},
    {"gemma4", NULL, NO_MERGES, NULL, PL_ERR_FORMAT, {"'tokenizer.ggml.merges'"}},
    {"t5", NULL, NO_SCORES, NULL, PL_ERR_FORMAT, {"'tokenizer.ggml.scores'", "missing"}},
    {"t5", NULL, 0, charsmap_is_text, PL_ERR_FORMAT, {"precompiled_charsmap'", "string"}},
    {"t5", NULL, 0, charsmap_is_wide, PL_ERR_FORMAT, {"precompiled_charsmap'", "i32", "bytes"}},
    {"t5", NULL, 0, charsmap_is_short, PL_ERR_FORMAT, {"precompiled_charsmap'", "9 bytes"}},
    {"t5", NULL, 0, charsmap_is_open, PL_ERR_FORMAT, {"precompiled_charsmap'", "10 bytes"}},
    {"t5", NULL, 0, charsmap_grows, PL_ERR_FORMAT, {"precompiled_charsmap'", "1025 bytes"}},
    {"t5", NULL, 0, charsmap_is_huge, PL_ERR_FORMAT, {"precompiled_charsmap'", "10 bytes"}},
    {"gpt2", NULL, 0, sep_without_id, PL_ERR_FORMAT, {"add_sep_token'", "seperator_token_id"}},
    {"bert", NULL, 0, lowercase_is_a_number, PL_ERR_FORMAT, {"'tokenizer.ggml.normalizer.low"}},
    {"llama", NULL, 0, bos_beyond_the_end, PL_ERR_FORMAT, {"ggml.bos_token_id'", "259", "258"}},
    {"gpt2", NULL, 0, eom_beyond_the_end, PL_ERR_FORMAT, {"'tokenizer.ggml.eom_token_id'"}},
    {"llama", NULL, 0, pad_is_text, PL_ERR_FORMAT, {"ggml.padding_token_id'", "string"}},
    {"gpt2", NULL, 0, bos_without_id, PL_ERR_FORMAT, {"ggml.add_bos_token'", "bos_token_id"}},
    {"llama", NULL, 0, add_bos_is_text, PL_ERR_FORMAT, {"ggml.add_bos_token'", "string"}},
    {"llama", NULL, 0, prefix_is_a_number, PL_ERR_FORMAT, {"'tokenizer.ggml.add_space_prefix'"}},
    {"llama", NULL, 0, template_is_a_number, PL_ERR_FORMAT, {"'tokenizer.chat_template'"}},
};

TEST(wrong_metadata_is_refused_by_name) {
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        draft *d = draft_spm();
        tokenizer *t = NULL;
        pl_error e;
        gguf *g;
        d->model = wrong[i].model;
        d->pre = wrong[i].pre;
        d->no_types = (wrong[i].without & NO_TYPES) != 0;
        d->no_scores = (wrong[i].without & NO_SCORES) != 0;
        d->keys = wrong[i].keys;
        if ((wrong[i].without & NO_MERGES) == 0) d->merges[d->n_merges++] = copied("a b", 3);
        if ((wrong[i].without & NO_TOKENS) != 0) {
            for (size_t k = 0; k < d->n; k++) free((void *)(uintptr_t)d->tokens[k].data);
            d->n = 0;
        }
        g = draft_open(d);
        assert_int_equal(tokenizer_new(g, &t, &e), wrong[i].code);
        assert_null(t);
        assert_int_equal(e.code, wrong[i].code);
        assert_non_null(strstr(e.message, gguf_path(g)));
        for (size_t k = 0; k < 3 && wrong[i].says[k] != NULL; k++)
            if (strstr(e.message, wrong[i].says[k]) == NULL)
                fail_msg("\"%s\" does not say %s", e.message, wrong[i].says[k]);
        assert_int_equal(tokenizer_new(g, &t, NULL), wrong[i].code);
        gguf_close(g);
        draft_free(d);
    }
}

static const char *id_key;
static void id_beyond_the_end(gguf_writer *w) { gguf_add_u32(w, id_key, 259); }

TEST(every_special_id_that_is_used_and_beyond_the_end_is_refused) {
    static const char *const names[] = {"bos", "eos", "unknown", "seperator", "eot", "eom"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[64];
        draft *d = draft_spm();
        tokenizer *t = NULL;
        pl_error e;
        gguf *g;
        snprintf(name, sizeof name, "tokenizer.ggml.%s_token_id", names[i]);
        id_key = name;
        d->keys = id_beyond_the_end;
        g = draft_open(d);
        assert_int_equal(tokenizer_new(g, &t, &e), PL_ERR_FORMAT);
        assert_non_null(strstr(e.message, name));
        assert_non_null(strstr(e.message, "found 259, expected 0 to 258"));
        gguf_close(g);
        draft_free(d);
    }
}

/* ---- memory ---- */

static draft *draft_for_memory(int kind) {
    draft *d = kind == 0 || kind > 2 ? draft_spm()
                                     : draft_bytes(kind == 1 ? "deepseek-llm" : "llama-bpe");
    add(d, "<|im_end|>", TOKEN_CONTROL, 0);
    d->keys = kind == 4 ? unigram_charsmap : eot_key;
    if (kind == 1 || kind == 2) {
        add_merge(d, 't', 'h');
        return d;
    }
    add(d, "\xE2\x96\x81the", TOKEN_NORMAL, -1);
    if (kind != 0) d->model = kind == 3 ? "gemma4" : kind == 4 ? "t5" : "bert";
    if (kind == 3) {
        add(d, "t", TOKEN_NORMAL, 0);
        add_merge(d, 261, 261);
    }
    make_charsmap();
    return d;
}

TEST(every_allocation_may_fail) {
    char text[700];
    for (size_t i = 0; i < sizeof text; i++) text[i] = "the moon \xFF"[i % 10];
    memset(text + 300, 'x', 300); /* a word that needs more than the local symbols */
    for (int kind = 0; kind < 6; kind++) {
        draft *d = draft_for_memory(kind);
        gguf *g = draft_open(d);
        tokenizer *t = NULL, *failed = NULL;
        id_list whole, ids = {NULL, 0, 0};
        text_buffer b = {NULL, 0, 0};
        bool all = false;
        long live;
        pl_error e;
        assert_int_equal(tokenizer_new(g, &t, &e), PL_OK);
        whole = encoded(t, text, sizeof text, at_start);
        live = mem_live();
        for (long nth = 1; !all; nth++) {
            pl_code code;
            mem_fail_at(nth);
            code = tokenizer_new(g, &failed, &e);
            all = mem_asked() < nth;
            mem_fail_at(0);
            if (code ==
                PL_OK) { /* also when PCRE2 got no memory for its JIT: the ids are the same */
                ids = encoded(failed, text, sizeof text, at_start);
                assert_int_equal(ids.n, whole.n);
                assert_memory_equal(ids.ids, whole.ids, whole.n * sizeof *ids.ids);
                id_list_free(&ids);
                tokenizer_free(failed);
            } else {
                assert_int_equal(e.code, PL_ERR_MEMORY);
                assert_null(failed);
            }
            assert_int_equal(mem_live(), live);
        }
        for (long nth = 1;; nth++) {
            pl_code code;
            long asked;
            id_list_free(&ids);
            assert_int_equal(id_list_push(&ids, 42, &e), PL_OK);
            live = mem_live();
            mem_fail_at(nth);
            code = tokenizer_encode(t, text, sizeof text, at_start, &ids, &e);
            asked = mem_asked();
            mem_fail_at(0);
            assert_int_equal(mem_live(), live);
            assert_int_equal(ids.ids[0], 42);
            if (code == PL_OK) {
                assert_int_equal(ids.n, whole.n + 1);
                assert_memory_equal(ids.ids + 1, whole.ids, whole.n * sizeof *ids.ids);
                if (asked < nth) break;
                continue;
            }
            assert_int_equal(e.code, PL_ERR_MEMORY);
            assert_int_equal(ids.n, 1);
        }
        for (long nth = 1;; nth++) {
            pl_code code;
            text_free(&b);
            assert_int_equal(text_append(&b, "kept", 4, &e), PL_OK);
            mem_fail_at(nth);
            code = tokenizer_decode(t, whole.ids, whole.n, false, true, &b, &e);
            mem_fail_at(0);
            assert_memory_equal(b.data, "kept", 4);
            if (code == PL_OK) break;
            assert_int_equal(e.code, PL_ERR_MEMORY);
            assert_int_equal(b.n, 4);
        }
        if (kind < 4) { /* the others lose spaces, and what is no UTF-8 */
            assert_int_equal(b.n, 4 + sizeof text);
            assert_memory_equal(b.data + 4, text, sizeof text);
        }
        id_list_free(&ids);
        id_list_free(&whole);
        text_free(&b);
        tokenizer_free(t);
        gguf_close(g);
        draft_free(d);
    }
}

/* ---- threads ---- */

typedef struct {
    const tokenizer *t;
    const char *text;
    size_t n;
    id_list ids;
    pl_code code;
} job;

static void *run_job(void *p) {
    job *j = p;
    for (int i = 0; i < 20 && j->code == PL_OK; i++) {
        j->ids.n = 0;
        j->code = tokenizer_encode(j->t, j->text, j->n, plain, &j->ids, NULL);
    }
    return NULL;
}

TEST(threads_share_a_tokenizer) {
    char text[3000];
    for (size_t i = 0; i < sizeof text; i++) text[i] = "the moon's on 12 \n"[below(18)];
    for (size_t k = 0; k < 3; k++) {
        tokenizer *t = make_english(pre_types()[k]);
        job jobs[4];
        pthread_t threads[4];
        for (size_t i = 0; i < 4; i++) {
            jobs[i] = (job){t, text, sizeof text, {NULL, 0, 0}, PL_OK};
            assert_int_equal(pthread_create(&threads[i], NULL, run_job, &jobs[i]), 0);
        }
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_int_equal(jobs[i].code, PL_OK);
            assert_int_equal(jobs[i].ids.n, jobs[0].ids.n);
            assert_memory_equal(jobs[i].ids.ids, jobs[0].ids.ids,
                                jobs[0].ids.n * sizeof *jobs[0].ids.ids);
        }
        for (size_t i = 0; i < 4; i++) id_list_free(&jobs[i].ids);
        tokenizer_free(t);
    }
}

/* ---- real vocabularies ---- */

static const char *const vocabularies[] = {"llama-spm", "gpt-2",  "llama-bpe",
                                           "qwen2",     "falcon", "deepseek-llm"};

static tokenizer *open_vocabulary(const char *folder, const char *name) {
    const gguf_options options = {.map = true, .header_only = true};
    char path[4096];
    gguf *g = NULL;
    tokenizer *t = NULL;
    pl_error e;
    snprintf(path, sizeof path, "%s/ggml-vocab-%s.gguf", folder, name);
    if (gguf_open(path, &options, &g, &e) != PL_OK || tokenizer_new(g, &t, &e) != PL_OK)
        fail_msg("%s", e.message);
    gguf_close(g);
    return t;
}

TEST(real_vocabularies_encode_as_the_models_do) {
    static const char separator[] = "\n__ggml_vocab_test__\n";
    const char *folder;
    char path[4096], *cases;
    SHARED_OR_SKIP(folder, "vocab");
    snprintf(path, sizeof path, "%s/cases.inp", folder);
    cases = read_whole(path, NULL);
    for (size_t k = 0; k < sizeof vocabularies / sizeof *vocabularies; k++) {
        tokenizer *t = open_vocabulary(folder, vocabularies[k]);
        char *lines, *line, *s = cases, *end;
        size_t n_cases = 0;
        snprintf(path, sizeof path, "%s/ggml-vocab-%s.gguf.out", folder, vocabularies[k]);
        line = lines = read_whole(path, NULL);
        for (; (end = strstr(s, separator)) != NULL; s = end + sizeof separator - 1, n_cases++) {
            size_t n = (size_t)(end - s), i = 0;
            id_list got = encoded(t, s, n, at_start);
            char *line_end = strchr(line, '\n');
            assert_non_null(line_end);
            for (char *after; line < line_end; line = after, i++) {
                long id = strtol(line, &after, 10);
                while (*after == ' ') after++;
                if (i >= got.n || got.ids[i] != id)
                    fail_msg("%s, case %zu, id %zu: expected %ld", vocabularies[k], n_cases, i, id);
            }
            assert_int_equal(got.n, i);
            id_list_free(&got);
            expect_round_trip(t, s, n, true);
            line = line_end + 1;
        }
        assert_int_equal(n_cases, 46);
        free(lines);
        tokenizer_free(t);
    }
    free(cases);
}

/* Falcon's vocabulary has no token for 28 bytes, and deepseek-llm's takes its tokens of 13 bytes
 * that UTF-8 does not use for Latin letters instead. No ids say those bytes, so they are not drawn
 * there. */
TEST(random_bytes_come_back_from_real_vocabularies) {
    const char *folder;
    SHARED_OR_SKIP(folder, "vocab");
    for (size_t k = 0; k < sizeof vocabularies / sizeof *vocabularies; k++) {
        tokenizer *t = open_vocabulary(folder, vocabularies[k]);
        bool said[256];
        size_t unsaid = 0;
        for (size_t i = 0; i < 256; i++) {
            char byte = (char)i;
            id_list ids = encoded(t, &byte, 1, plain);
            said[i] = ids.n != 0;
            unsaid += !said[i];
            id_list_free(&ids);
        }
        assert_int_equal(unsaid, strcmp(vocabularies[k], "falcon") == 0         ? 28
                                 : strcmp(vocabularies[k], "deepseek-llm") == 0 ? 13
                                                                                : 0);
        for (size_t i = 0; i < 10000; i++) {
            char s[120];
            size_t n = random_bytes_without_mark(s, sizeof s), kept = 0;
            for (size_t j = 0; j < n; j++)
                if (said[(unsigned char)s[j]]) s[kept++] = s[j];
            expect_round_trip(t, s, kept, i % 2 == 0);
        }
        tokenizer_free(t);
    }
}

/* ---- pieces in the order of their bytes ---- */

#define PIECES_MOST 400

/* Random words of few letters, so that many begin alike; some tokens say nothing. */
static tokenizer *make_words(bool byte_level) {
    draft *d = byte_level ? draft_bytes("gpt-2") : draft_spm();
    size_t n = d->n + 1 + below(100);
    if (byte_level) add_merge(d, 'a', 'b'); /* there must be one */
    while (d->n < n) {
        static const char *const letters[] = {"a", "b", "c", "\xE2\x96\x81", "\xC3\xA9"};
        char word[32] = "";
        for (size_t i = 1 + below(6); i > 0; i--)
            strcat(word, letters[below(byte_level ? 3 : 5)]);
        size_t kind = below(10);
        add(d, word, kind == 0 ? TOKEN_CONTROL : kind == 1 ? TOKEN_USER_DEFINED : TOKEN_NORMAL, 0);
    }
    return make(d);
}

static text_buffer text_of(const tokenizer *t, const int32_t *ids, size_t n) {
    text_buffer b = {0};
    assert_int_equal(tokenizer_decode(t, ids, n, false, false, &b, NULL), PL_OK);
    return b;
}

static bool begins(const text_buffer *b, const char *s, size_t n) {
    return b->n >= n && (n == 0 || memcmp(b->data, s, n) == 0);
}

TEST(pieces_that_begin_with_a_text_stand_side_by_side) {
    size_t found = 0, unfinished = 0;
    for (size_t round = 0; round < 200; round++) {
        tokenizer *t = make_words(round % 2);
        const pieces *p, *again;
        text_buffer alone[PIECES_MOST];
        size_t n = tokenizer_size(t), with_text = 0, longest = 0;
        assert_true(n <= PIECES_MOST);
        assert_int_equal(tokenizer_pieces(t, &p, NULL), PL_OK);
        assert_int_equal(tokenizer_pieces(t, &again, NULL), PL_OK);
        assert_ptr_equal(p, again);
        for (size_t i = 0; i < n; i++) {
            alone[i] = text_of(t, &(int32_t){(int32_t)i}, 1);
            with_text += alone[i].n != 0;
            if (alone[i].n > longest) longest = alone[i].n;
        }
        assert_int_equal(pieces_count(p), with_text);
        assert_int_equal(pieces_longest(p), longest);
        for (size_t i = 1; i < with_text; i++) { /* sorted */
            const text_buffer *x = &alone[pieces_id(p, i - 1)], *y = &alone[pieces_id(p, i)];
            int order = memcmp(x->data, y->data, x->n < y->n ? x->n : y->n);
            assert_true(order < 0 || (order == 0 && x->n <= y->n));
            assert_true(x->n != y->n || order != 0 || pieces_id(p, i - 1) < pieces_id(p, i));
        }
        for (size_t k = 0; k < 100; k++) { /* what some tokens spell, and noise */
            int32_t ids[8];
            size_t n_ids = 1 + below(6);
            for (size_t i = 0; i < n_ids; i++) /* any; a letter's byte; a word */
                ids[i] = (int32_t)(below(4) == 0 ? below(n)
                                   : below(2)    ? 'a' + below(3) + (round % 2 ? 0 : 3)
                                                 : n - 1 - below(n - 256));
            text_buffer b = text_of(t, ids, n_ids);
            size_t length = below(b.n + 1), begin = 0, exact = 0;
            if (length != 0 && below(4) == 0) b.data[length - 1] = (char)below(256);
            piece_range r = pieces_all(p);
            for (size_t i = 0; i < length; i++) r = pieces_step(p, r, b.data[i]);
            for (size_t i = 0; i < n; i++) {
                if (alone[i].n == 0 || !begins(&alone[i], b.data, length)) continue;
                begin++;
                exact += alone[i].n == length;
            }
            assert_int_equal(r.n, begin);
            assert_int_equal(pieces_exact(p, r), exact);
            for (size_t i = 0; i < r.n; i++)
                assert_true(begins(&alone[pieces_id(p, r.first + i)], b.data, length));
            found += length > 1 && begin > 1;
            text_free(&b);

            size_t run = 0; /* of the last tokens, all with text, that a longer piece begins with */
            for (size_t m = 1; m <= n_ids && alone[ids[n_ids - m]].n != 0; m++) {
                b = text_of(t, ids + n_ids - m, m);
                for (size_t i = 0; i < n; i++)
                    if (alone[i].n > b.n && begins(&alone[i], b.data, b.n)) run = m;
                text_free(&b);
            }
            assert_int_equal(pieces_unfinished(p, ids, n_ids), run);
            unfinished += run > 1;
        }
        for (size_t i = 0; i < n; i++) text_free(&alone[i]);
        tokenizer_free(t);
    }
    assert_true(found > 600 && unfinished > 1000);
}

static void *ask_for_pieces(void *of) {
    const pieces *p = NULL;
    tokenizer_pieces(of, &p, NULL);
    return (void *)(uintptr_t)p;
}

TEST(threads_that_ask_for_the_pieces_at_once_are_given_the_same) {
    for (size_t round = 0; round < 50; round++) {
        tokenizer *t = make_words(false);
        pthread_t threads[4];
        void *got[4];
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, ask_for_pieces, t), 0);
        for (size_t i = 0; i < 4; i++) pthread_join(threads[i], &got[i]);
        for (size_t i = 0; i < 4; i++) assert_true(got[i] != NULL && got[i] == got[0]);
        tokenizer_free(t);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, note_live, check_live)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(utf8_round_trips_every_code_point),
        CASE(utf8_decode_accepts_exactly_the_characters),
        CASE(utf8_decode_bounds_four_byte_characters),
        CASE(utf8_tail_holds_back_only_what_can_still_become_a_character),
        CASE(presplit_cuts_as_the_models_do),
        CASE(every_presplit_type_has_its_cases),
        CASE(names_of_presplit_types_are_known),
        CASE(presplit_stops_when_a_piece_is_refused),
        CASE(bpe_merges_the_first_of_the_list_first),
        CASE(spm_merges_the_highest_score_first),
        CASE(any_bytes_come_back_from_the_ids_of_every_presplit_type),
        CASE(any_bytes_come_back_from_spm_ids),
        CASE(long_runs_are_encoded_whole),
        CASE(gemma4_merges_characters_by_the_list),
        CASE(gemma4_takes_line_breaks_that_are_a_token_as_they_are),
        CASE(the_whitespace_type_has_no_tokens_for_white_space),
        CASE(unigram_finds_the_best_of_all_ways),
        CASE(unigram_normalizes_by_the_longest_of_the_map),
        CASE(a_charsmap_of_noise_is_harmless),
        CASE(a_charsmap_that_leads_in_a_circle_has_keys_of_an_end),
        CASE(wordpiece_takes_the_longest_piece_first),
        CASE(wordpiece_cleans_and_cuts_as_bert_does),
        CASE(characters_have_their_classes_and_mappings),
        CASE(user_defined_tokens_are_split_off_first_the_longest_at_a_place),
        CASE(control_tokens_are_found_only_when_asked_for),
        CASE(some_models_tokens_take_the_white_space_beside_them),
        CASE(spm_text_never_becomes_a_control_or_byte_token_by_its_spelling),
        CASE(unused_tokens_are_never_produced),
        CASE(llama_bpe_takes_a_word_that_is_a_token_as_it_is),
        CASE(spm_puts_a_space_in_front_of_a_text_that_opens_a_sequence),
        CASE(characters_without_a_token_become_bytes_or_unknown_or_nothing),
        CASE(scores_may_be_integers),
        CASE(a_piece_that_is_there_twice_is_its_first_token),
        CASE(infinite_scores_are_the_best_and_the_worst),
        CASE(bos_is_added_when_the_model_wants_it_and_the_caller_too),
        CASE(generation_ends_at_the_ids_and_names_that_mean_it),
        CASE(a_turn_of_several_messages_does_not_end_with_the_first),
        CASE(every_name_of_an_end_is_known),
        CASE(special_ids_come_from_keys_and_then_from_names),
        CASE(files_without_types_have_bytes_and_end_tokens_by_their_spelling),
        CASE(merges_that_cannot_apply_are_passed_over),
        CASE(of_tokens_that_are_spelled_alike_the_first_counts),
        CASE(tokens_need_not_be_utf8),
        CASE(arrays_may_be_longer_than_the_vocabulary),
        CASE(vocabularies_of_noise_load_or_are_refused_by_name),
        CASE(pieces_are_known_by_bytes_and_by_spelling),
        CASE(a_bad_id_leaves_the_output_as_it_was),
        CASE(wrong_metadata_is_refused_by_name),
        CASE(every_special_id_that_is_used_and_beyond_the_end_is_refused),
        CASE(every_allocation_may_fail),
        CASE(threads_share_a_tokenizer),
        CASE(real_vocabularies_encode_as_the_models_do),
        CASE(pieces_that_begin_with_a_text_stand_side_by_side),
        CASE(threads_that_ask_for_the_pieces_at_once_are_given_the_same),
        CASE(random_bytes_come_back_from_real_vocabularies),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
