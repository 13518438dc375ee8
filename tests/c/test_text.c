/* test_text.c: UTF-8, and texts to token ids and back. What is expected comes from elsewhere: UTF-8
 * from the set of all encoded code points, the pieces of the pre-split regexes from Python's
 * `regex` module run on the models' own patterns, merges from a search of all pairs at every step,
 * the ids of real vocabularies from the shared test data. The small vocabularies are made here, so
 * that most of it runs without that data. */
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
#include "text/tokenizer.h"
#include "text/utf8.h"

static const encode_options plain = {.special = false, .bos = false, .start = false};
static const encode_options at_start = {.special = false, .bos = false, .start = true};
static const encode_options with_special = {.special = true, .bos = false, .start = false};

/* Every test gives back what it took. */
static long live_before;
static int note_live(void **state) {
    (void)state;
    live_before = mem_live();
    return 0;
}
static int check_live(void **state) {
    (void)state;
    mem_fail_at(0);
    return mem_live() == live_before ? 0 : -1;
}

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

typedef struct {
    const char *name, *pieces;
    size_t size;
} cut_case; /* pieces with a broken bar between them */
#define CUT(s) s, sizeof(s) - 1
#define BAR "\xC2\xA6"

/* Computed with Python's regex module (2026.5.9), pattern after pattern, each cutting the pieces of
 * the one before, from the patterns as the models' tokenizer.json files have them. */
static const cut_case cuts[] = {
    {"gpt-2", CUT("I¦'ll¦ ¦ go¦\n\n¦ 1234567¦ it¦'s¦\t¦OK")},
    {"gpt-2", CUT("'¦S¦'¦ſ¦ WE¦'¦RE¦ don¦'t")},
    {"gpt-2", CUT("\xe1\xa0\x8e¦\xc2\xa0¦ x¦\xe3\x80\x80 \r\n ¦ y")},
    {"gpt-2", CUT("a¦1¦b¦22¦c¦333¦ ½²¦ ٣٤٥٦")},
    {"gpt-2", CUT("Hello¦,¦ world¦!!!¦ (¦yes¦)¦\n\n\n")},
    {"gpt-2", CUT("   \t ")},
    {"gpt-2", CUT("日本語abc¦ 한국어¦ 漢¦。！")},
    {"gpt-2", CUT("...¦\n¦$¦5¦+<=>^~|`¦ '¦x")},
    {"gpt-2", CUT("na¦\xcc\x81¦ive¦ \xcc\x81¦x¦\x00¦y")},
    {"gpt-2", CUT("tail¦   ")},
    {"llama-bpe", CUT("I¦'ll¦ ¦ go¦\n\n¦ ¦123¦456¦7¦ it¦'s¦\tOK")},
    {"llama-bpe", CUT("'S¦'ſ¦ WE¦'RE¦ don¦'t")},
    {"llama-bpe", CUT("\xe1\xa0\x8e¦\xc2\xa0¦ x¦\xe3\x80\x80 \r\n¦ ¦ y")},
    {"llama-bpe", CUT("a¦1¦b¦22¦c¦333¦ ¦½²¦ ¦٣٤٥¦٦")},
    {"llama-bpe", CUT("Hello¦,¦ world¦!!!¦ (¦yes¦)\n\n\n")},
    {"llama-bpe", CUT("   \t ")},
    {"llama-bpe", CUT("日本語abc¦ 한국어¦ 漢¦。！")},
    {"llama-bpe", CUT("...\n¦$¦5¦+<=>^~|`¦ '¦x")},
    {"llama-bpe", CUT("na¦\xcc\x81ive¦ \xcc\x81¦x¦\x00y")},
    {"llama-bpe", CUT("tail¦   ")},
    {"qwen2", CUT("I¦'ll¦ ¦ go¦\n\n¦ ¦1¦2¦3¦4¦5¦6¦7¦ it¦'s¦\tOK")},
    {"qwen2", CUT("'S¦'ſ¦ WE¦'RE¦ don¦'t")},
    {"qwen2", CUT("\xe1\xa0\x8e¦\xc2\xa0¦ x¦\xe3\x80\x80 \r\n¦ ¦ y")},
    {"qwen2", CUT("a¦1¦b¦2¦2¦c¦3¦3¦3¦ ¦½¦²¦ ¦٣¦٤¦٥¦٦")},
    {"qwen2", CUT("Hello¦,¦ world¦!!!¦ (¦yes¦)\n\n\n")},
    {"qwen2", CUT("   \t ")},
    {"qwen2", CUT("日本語abc¦ 한국어¦ 漢¦。！")},
    {"qwen2", CUT("...\n¦$¦5¦+<=>^~|`¦ '¦x")},
    {"qwen2", CUT("na¦\xcc\x81ive¦ \xcc\x81¦x¦\x00y")},
    {"qwen2", CUT("tail¦   ")},
    {"falcon", CUT("I¦'¦ll¦ ¦ go¦\n\n¦ ¦123¦456¦7¦ it¦'¦s¦\t¦OK")},
    {"falcon", CUT("'¦S¦'¦ſ¦ WE¦'¦RE¦ don¦'¦t")},
    {"falcon", CUT("\xe1\xa0\x8e¦\xc2\xa0¦ x¦\xe3\x80\x80 \r\n ¦ y")},
    {"falcon", CUT("a¦1¦b¦22¦c¦333¦ ½²¦ ٣٤٥٦")},
    {"falcon", CUT("Hello¦,¦ world¦!!!¦ ¦(¦yes¦)¦\n\n\n")},
    {"falcon", CUT("   \t ")},
    {"falcon", CUT("日本語abc¦ 한국어¦ 漢¦。！")},
    {"falcon", CUT("...¦\n¦$¦5¦+<=>^~|`¦ ¦'¦x")},
    {"falcon", CUT("na¦\xcc\x81¦ive¦ \xcc\x81¦x¦\x00¦y")},
    {"falcon", CUT("tail¦   ")},
    {"deepseek-llm", CUT("I¦'¦ll¦ ¦ go¦\n¦\n¦ ¦1234567¦ it¦'¦s¦\tOK")},
    {"deepseek-llm", CUT("'¦S¦'¦ſ¦ WE¦'¦RE¦ don¦'¦t")},
    {"deepseek-llm", CUT("\xe1\xa0\x8e¦\xc2\xa0¦ x¦\xe3\x80\x80¦ ¦\r¦\n¦ ¦ y")},
    {"deepseek-llm", CUT("a¦1¦b¦22¦c¦333¦ ¦½²¦ ¦٣٤٥٦")},
    {"deepseek-llm", CUT("Hello¦,¦ world¦!!!¦ (¦yes¦)¦\n¦\n¦\n")},
    {"deepseek-llm", CUT("   \t ")},
    {"deepseek-llm", CUT("日本語¦abc¦ ¦한국어¦ ¦漢¦。¦！")},
    {"deepseek-llm", CUT("...¦\n¦$¦5¦+<=>^~|`¦ '¦x")},
    {"deepseek-llm", CUT("na¦\xcc\x81¦ive¦ \xcc\x81¦x¦\x00¦y")},
    {"deepseek-llm", CUT("tail¦   ")},
    {"default", CUT("I¦'¦ll¦ ¦ go¦\n\n¦ ¦123¦456¦7¦ it¦'¦s¦\t¦OK")},
    {"default", CUT("'¦S¦'¦ſ¦ WE¦'¦RE¦ don¦'¦t")},
    {"default", CUT("\xe1\xa0\x8e¦\xc2\xa0¦ x¦\xe3\x80\x80 \r\n ¦ y")},
    {"default", CUT("a¦1¦b¦22¦c¦333¦ ¦½²¦ ¦٣٤٥٦")},
    {"default", CUT("Hello¦,¦ world¦!!!¦ ¦(¦yes¦)¦\n\n\n")},
    {"default", CUT("   \t ")},
    {"default", CUT("日本語abc¦ 한국어¦ 漢¦。！")},
    {"default", CUT("...¦\n¦$¦5¦+<=>^~|¦`¦ ¦'¦x")},
    {"default", CUT("na¦\xcc\x81¦ive¦ \xcc\x81¦x¦\x00¦y")},
    {"default", CUT("tail¦   ")},
};

static pl_code collect_piece(void *context, const char *s, size_t n) {
    text_buffer *b = context;
    pl_code code = b->n != 0 ? text_append(b, BAR, 2, NULL) : PL_OK;
    return code == PL_OK ? text_append(b, s, n, NULL) : code;
}

TEST(presplit_cuts_as_the_models_do) {
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        presplit *p;
        presplit_traits traits;
        presplit_state run = {.match_data = NULL};
        text_buffer got = {NULL, 0, 0};
        char text[256];
        size_t n = 0;
        for (const char *s = cuts[i].pieces; s < cuts[i].pieces + cuts[i].size;)
            if (memcmp(s, BAR, 2) == 0)
                s += 2;
            else
                text[n++] = *s++;
        assert_int_equal(presplit_new(cuts[i].name, &p, &traits, NULL), PL_OK);
        assert_int_equal(presplit_run(p, &run, text, n, collect_piece, &got, NULL), PL_OK);
        if (got.n != cuts[i].size || memcmp(got.data, cuts[i].pieces, got.n) != 0)
            fail_msg("%s: \"%.*s\", expected \"%s\"", cuts[i].name, (int)got.n, got.data,
                     cuts[i].pieces);
        text_free(&got);
        presplit_state_free(&run);
        presplit_free(p);
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
        if (d->model != NULL && strcmp(d->model, "llama") == 0 && !d->no_scores)
            gguf_add_numbers(w, "tokenizer.ggml.scores", GGUF_F32, d->scores, d->n);
    }
    if (d->model != NULL && strcmp(d->model, "gpt2") == 0 && d->n_merges != 0)
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

static const char *const pre_types[] = {"gpt-2",        "llama-bpe", "qwen2", "falcon",
                                        "deepseek-llm", "default",   NULL};

static tokenizer *make_english(const char *pre) {
    static const char *const pairs[] = {"t h",       "th e",          "  t",       "m o", "o n",
                                        "mo on",     "' s",           "    ",      "1 2", "\n \n",
                                        "\xE2 \x82", "\xE2\x82 \xAC", "\xF0 \x9F", "a a", "aa aa",
                                        "! !",       "!! !!",         "\r \n"};
    draft *d = draft_bytes(pre);
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

TEST(any_bytes_come_back_from_byte_level_ids) {
    for (size_t k = 0; k < sizeof pre_types / sizeof *pre_types; k++) {
        tokenizer *t = make_english(pre_types[k]);
        for (size_t i = 0; i < 2000; i++) {
            char s[200];
            expect_round_trip(t, s, random_bytes(s, sizeof s), i % 2 == 0);
        }
        tokenizer_free(t);
    }
}

/* But for U+2581, which is a space. */
static size_t random_bytes_without_mark(char *s, size_t most) {
    size_t n = random_bytes(s, most);
    for (size_t i = 0; i + 2 < n; i++)
        if (memcmp(s + i, "\xE2\x96\x81", 3) == 0) s[i] = 'x';
    return n;
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
    static const char *const units[] = {" ",  "a",   "\n",   "1",    "!",
                                        "a ", " \n", "\xFF", "\xC3", "\xE2\x82\xAC"};
    const size_t size = (size_t)1 << 18;
    char *s = malloc(size + 1);
    assert_non_null(s);
    for (size_t k = 0; k < sizeof pre_types / sizeof *pre_types; k++) {
        tokenizer *t = make_english(pre_types[k]);
        for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
            size_t n = 0, unit = strlen(units[i]);
            for (; n + unit <= size; n += unit) memcpy(s + n, units[i], unit);
            s[n] = '1'; /* what \s+$ would look for in vain behind each space of the run */
            expect_round_trip(t, s, n + 1, false);
        }
        tokenizer_free(t);
    }
    free(s);
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

static void no_space_prefix(gguf_writer *w) {
    gguf_add_bool(w, "tokenizer.ggml.add_space_prefix", false);
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
    /* Control tokens have no text: the text opens behind them. A user-defined token is text, and
     * stays in front. */
    EXPECT(t, "<s>a</s>a", ((encode_options){.special = true, .start = true}), 1, space, a, 2, a);
    EXPECT(t, "<tag>a", at_start, tag, a);
    EXPECT_TEXT(t, false, true, "a", space, a);
    EXPECT_TEXT(t, false, false, " a", space, a);
    EXPECT_TEXT(t, false, true, "a", 1, space, a);
    EXPECT_TEXT(t, true, true, "<s>a", 1, space, a);
    EXPECT_TEXT(t, false, true, "<tag> a", tag, space, a);
    EXPECT_TEXT(t, false, true, " a", 3 + ' ', space, a); /* one space, whoever says it */
    EXPECT(t,
           "\xE2\x96\x81"
           "a",
           plain, space, a); /* the mark itself is a space */
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
    int32_t turn, user, text;
    tokenizer *t;
    tokenizer_info info;
    add_merge(d, 'a', 'b');
    turn = add(d, "<|im_end|>", TOKEN_CONTROL, 0);
    user = add(d, "<|endoftext|>", TOKEN_USER_DEFINED,
               0);                                /* a control token, whatever the file says */
    text = add(d, "<|eot_id|>", TOKEN_NORMAL, 0); /* text, as the file says */
    add(d, "</s>", TOKEN_CONTROL, 0);             /* not this model's EOS */
    t = open_tokenizer(d);
    info = tokenizer_describe(t);
    assert_int_equal(info.eos, -1);
    assert_int_equal(info.eot, turn);
    assert_int_equal(info.n_eog, 2);
    assert_int_equal(info.eog[0], turn);
    assert_int_equal(info.eog[1], user);
    assert_true(tokenizer_is_eog(t, user));
    assert_false(tokenizer_is_eog(t, text));
    assert_false(tokenizer_is_eog(t, -1));
    assert_int_equal(tokenizer_type(t, user), TOKEN_CONTROL);
    assert_int_equal(encoded(t, "", 0, plain).n, 0);
    expect_round_trip(t, "<|endoftext|>", 13, false);
    tokenizer_free(t);

    d->keys = eot_key;
    t = make(d);
    info = tokenizer_describe(t);
    assert_int_equal(info.eot, 4);
    assert_int_equal(info.n_eog, 5);
    for (size_t i = 1; i < info.n_eog; i++) assert_true(info.eog[i - 1] < info.eog[i]);
    assert_true(tokenizer_is_eog(t, 4) && tokenizer_is_eog(t, 5) && tokenizer_is_eog(t, 9));
    assert_string_equal(info.chat_template, "{{ x }}");
    tokenizer_free(t);

    d = draft_bytes("gpt-2"); /* Harmony: a message closes with <|end|>, the turn does not */
    add_merge(d, 'a', 'b');
    add(d, "<|end|>", TOKEN_CONTROL, 0);
    add(d, "<|return|>", TOKEN_CONTROL, 0);
    add(d, "<|call|>", TOKEN_CONTROL, 0);
    t = make(d);
    assert_false(tokenizer_is_eog(t, 257));
    assert_true(tokenizer_is_eog(t, 258) && tokenizer_is_eog(t, 259));
    tokenizer_free(t);
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
    add_merge(d, 'a', 'b');
    add(d, "", TOKEN_NORMAL,
        0); /* real files have empty tokens: they are never produced, and say nothing */
    add(d, "", TOKEN_USER_DEFINED, 0);
    add(d, "", TOKEN_CONTROL, 0);
    t = make(d);
    EXPECT(t, "xyab", with_special, 'x', 'y', 256);
    EXPECT_TEXT(t, true, true, "ab", 257, 256, 258, 259);
    tokenizer_free(t);
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
                                  3),
                     256); /* as the file spells it */
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

static const struct {
    const char *model, *pre;
    unsigned without;
    void (*keys)(gguf_writer *w);
    pl_code code;
    const char *says[3];
} wrong[] = {
    {NULL, NULL, 0, NULL, PL_ERR_FORMAT, {"'tokenizer.ggml.model'"}},
    {NULL, NULL, 0, model_is_a_number, PL_ERR_FORMAT, {"'tokenizer.ggml.model'", "u32"}},
    {"bert", NULL, 0, NULL, PL_ERR_UNSUPPORTED, {"ggml.model'", "\"bert\"", "llama, gpt2"}},
    {"gpt2", "klingon", 0, NULL, PL_ERR_UNSUPPORTED, {"ggml.pre'", "\"klingon\"", "qwen2"}},
    {"llama", NULL, NO_TOKENS, NULL, PL_ERR_FORMAT, {"'tokenizer.ggml.tokens'"}},
    {"llama", NULL, NO_TOKENS, tokens_are_numbers, PL_ERR_FORMAT, {"ggml.tokens'", "i32"}},
    {"llama", NULL, NO_TOKENS, no_tokens, PL_ERR_FORMAT, {"ggml.tokens'", "0 tokens"}},
    {"llama", NULL, NO_TYPES, few_types, PL_ERR_FORMAT, {"ggml.token_type'", "2 elements", "259"}},
    {"llama", NULL, NO_TYPES, types_are_floats, PL_ERR_FORMAT, {"ggml.token_type'", "f32"}},
    {"llama", NULL, NO_TYPES, type_nine, PL_ERR_FORMAT, {"ggml.token_type'", "found 9", "0 to 6"}},
    {"llama", NULL, NO_TYPES, unk_is_a_byte, PL_ERR_FORMAT, {"ggml.tokens'", "<unk>", "<0x00>"}},
    {"llama", NULL, NO_SCORES, few_scores, PL_ERR_FORMAT, {"ggml.scores'", "2 elements", "259"}},
    {"llama", NULL, NO_SCORES, a_score_is_nan, PL_ERR_FORMAT, {"ggml.scores'", "NaN", "200"}},
    {"gpt2", NULL, NO_MERGES, NULL, PL_ERR_FORMAT, {"'tokenizer.ggml.merges'"}},
    {"gpt2", NULL, NO_MERGES, merges_are_numbers, PL_ERR_FORMAT, {"ggml.merges'", "i32"}},
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

/* ---- memory ---- */

static draft *draft_for_memory(int kind) {
    draft *d = kind == 0 ? draft_spm() : draft_bytes(kind == 1 ? "deepseek-llm" : "llama-bpe");
    if (kind == 0)
        add(d, "\xE2\x96\x81the", TOKEN_NORMAL, -1);
    else
        add_merge(d, 't', 'h');
    add(d, "<|im_end|>", TOKEN_CONTROL, 0);
    d->keys = eot_key;
    return d;
}

TEST(every_allocation_may_fail) {
    char text[700];
    for (size_t i = 0; i < sizeof text; i++) text[i] = "the moon \xFF"[i % 10];
    memset(text + 300, 'x', 300); /* a word that needs more than the local symbols */
    for (int kind = 0; kind < 3; kind++) {
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
        assert_int_equal(b.n, 4 + sizeof text);
        assert_memory_equal(b.data + 4, text, sizeof text);
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
        tokenizer *t = make_english(pre_types[k]);
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

#define CASE(f) cmocka_unit_test_setup_teardown(f, note_live, check_live)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(utf8_round_trips_every_code_point),
        CASE(utf8_decode_accepts_exactly_the_characters),
        CASE(utf8_decode_bounds_four_byte_characters),
        CASE(utf8_tail_holds_back_only_what_can_still_become_a_character),
        CASE(presplit_cuts_as_the_models_do),
        CASE(presplit_stops_when_a_piece_is_refused),
        CASE(bpe_merges_the_first_of_the_list_first),
        CASE(spm_merges_the_highest_score_first),
        CASE(any_bytes_come_back_from_byte_level_ids),
        CASE(any_bytes_come_back_from_spm_ids),
        CASE(long_runs_are_encoded_whole),
        CASE(user_defined_tokens_are_split_off_first_the_longest_at_a_place),
        CASE(control_tokens_are_found_only_when_asked_for),
        CASE(spm_text_never_becomes_a_control_or_byte_token_by_its_spelling),
        CASE(unused_tokens_are_never_produced),
        CASE(llama_bpe_takes_a_word_that_is_a_token_as_it_is),
        CASE(spm_puts_a_space_in_front_of_a_text_that_opens_a_sequence),
        CASE(characters_without_a_token_become_bytes_or_unknown_or_nothing),
        CASE(bos_is_added_when_the_model_wants_it_and_the_caller_too),
        CASE(generation_ends_at_the_ids_and_names_that_mean_it),
        CASE(files_without_types_have_bytes_and_end_tokens_by_their_spelling),
        CASE(merges_that_cannot_apply_are_passed_over),
        CASE(pieces_are_known_by_bytes_and_by_spelling),
        CASE(a_bad_id_leaves_the_output_as_it_was),
        CASE(wrong_metadata_is_refused_by_name),
        CASE(every_allocation_may_fail),
        CASE(threads_share_a_tokenizer),
        CASE(real_vocabularies_encode_as_the_models_do),
        CASE(random_bytes_come_back_from_real_vocabularies),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
