/* words.c: see words.h. A line that adds to a vocabulary is a letter and, for most, a score:
 *
 *     n5piece     a normal token; u: user-defined, c: control, k: unknown, x: unused, b: a byte
 *     mleft right a merge
 *     sPPbytes    these bytes at place PP (two bytes, low first) of the charsmap
 *     tPP         the charsmap is cut off there
 *     fX          the flags of the vocabulary, as bits
 *     iX          the unknown token is X
 *
 * Scores are one character, whose code minus that of '5' is the score; a space is the score of
 * infinity. */
#include "words.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gguf/gguf.h"
#include "text/utf8.h"

#define MARK "\xE2\x96\x81" /* U+2581 */
#define LONG_TEXT ((size_t)32 << 10) /* where quadratic time would show */

/* ---- vocabularies ---- */

void words_add(vocabulary *v, const char *piece, size_t n, token_type type, float score) {
    if (v->n == WORDS_MAX) return;
    v->tokens[v->n] = (gguf_string){piece, n};
    v->types[v->n] = (int32_t)type;
    v->scores[v->n++] = score;
}

void words_add_all(vocabulary *v, const char *const *pieces, token_type type) {
    for (size_t i = 0; pieces[i] != NULL; i++)
        words_add(v, pieces[i], strlen(pieces[i]), type, -(float)i);
}

void words_add_bytes(vocabulary *v) {
    static char names[256][8];
    for (unsigned b = 0; b < 256; b++) {
        snprintf(names[b], sizeof *names, "<0x%02X>", b);
        words_add(v, names[b], 6, TOKEN_BYTE, 0);
    }
}

/* The printable characters of Latin-1 are themselves, the others are numbered from U+0100 on. */
void words_add_byte_spellings(vocabulary *v) {
    static char names[256][4];
    uint32_t next = 0x100;
    for (uint32_t b = 0; b < 256; b++) {
        bool printable = b > 0x20 && b != 0xAD && (b < 0x7F || b > 0xA0);
        words_add(v, names[b], utf8_encode(printable ? b : next++, names[b]), TOKEN_NORMAL, 0);
    }
}

void words_merge(vocabulary *v, const char *const *lines) {
    for (size_t i = 0; lines[i] != NULL && v->n_merges < WORDS_MAX; i++)
        v->merges[v->n_merges++] = (gguf_string){lines[i], strlen(lines[i])};
}

static void add_line(vocabulary *v, fuzz_bytes line) {
    static const char letters[] = "dnkcuxb"; /* in the order of token_type */
    char letter = (char)fuzz_u8(&line);
    const char *type = letter != '\0' ? strchr(letters, letter) : NULL;
    size_t place;
    uint8_t x;
    if (type != NULL) {
        x = fuzz_u8(&line);
        words_add(v, (const char *)line.data, line.size, (token_type)(type - letters),
                  x == ' ' ? INFINITY : (float)(x - '5'));
        return;
    }
    switch (letter) {
    case 'm':
        if (v->n_merges < WORDS_MAX)
            v->merges[v->n_merges++] = (gguf_string){(const char *)line.data, line.size};
        break;
    case 's':
    case 't':
        place = fuzz_u8(&line);
        place = (place | (size_t)fuzz_u8(&line) << 8) % MAP_MAX;
        if (letter == 't' && place < v->map_size) v->map_size = place;
        if (letter == 's' && line.size <= MAP_MAX - place) {
            memcpy(v->map + place, line.data, line.size);
            if (v->map_size < place + line.size) v->map_size = place + line.size;
        }
        break;
    case 'f':
        x = fuzz_u8(&line);
        v->add_space = x & 1, v->merge_spaces = x & 2, v->cased = x & 4;
        break;
    case 'i': v->unknown = fuzz_u8(&line); break;
    default: break;
    }
}

void words_add_lines(vocabulary *v, fuzz_bytes lines) {
    while (lines.size != 0) add_line(v, fuzz_until(&lines, "\n"));
}

static void write_keys(const vocabulary *v, gguf_writer *w) {
    gguf_add_string(w, "tokenizer.ggml.model", v->model, strlen(v->model));
    if (v->pre != NULL) gguf_add_string(w, "tokenizer.ggml.pre", v->pre, strlen(v->pre));
    gguf_add_strings(w, "tokenizer.ggml.tokens", v->tokens, v->n);
    gguf_add_numbers(w, "tokenizer.ggml.token_type", GGUF_I32, v->types, v->n);
    gguf_add_numbers(w, "tokenizer.ggml.scores", GGUF_F32, v->scores, v->n);
    gguf_add_strings(w, "tokenizer.ggml.merges", v->merges, v->n_merges);
    if (v->map_size != 0)
        gguf_add_numbers(w, "tokenizer.ggml.precompiled_charsmap", GGUF_U8, v->map, v->map_size);
    gguf_add_bool(w, "tokenizer.ggml.add_space_prefix", v->add_space);
    gguf_add_bool(w, "tokenizer.ggml.remove_extra_whitespaces", v->merge_spaces);
    gguf_add_bool(w, "tokenizer.ggml.normalizer.lowercase", !v->cased);
    if (v->unknown >= 0)
        gguf_add_u32(w, "tokenizer.ggml.unknown_token_id", (uint32_t)v->unknown);
}

tokenizer *words_open(const vocabulary *v) {
    const gguf_options options = {.map = false, .header_only = true};
    char path[256];
    gguf_writer *w = gguf_writer_new();
    tokenizer *t = NULL;
    gguf *g;
    pl_error e;
    snprintf(path, sizeof path, "%s/vocabulary", fuzz_folder());
    write_keys(v, w);
    CHECK(gguf_write(w, path, &e) == PL_OK);
    gguf_writer_free(w);
    CHECK(gguf_open(path, &options, &g, &e) == PL_OK);
    pl_code code = tokenizer_new(g, &t, &e);
    CHECK((code == PL_OK) == (t != NULL));
    if (code != PL_OK) fuzz_check_error(code, &e);
    gguf_close(g);
    return t;
}

/* ---- texts ---- */

static text_buffer decoded(const tokenizer *t, const id_list *ids, bool special, bool start) {
    text_buffer b = {NULL, 0, 0};
    CHECK(tokenizer_decode(t, ids->ids, ids->n, special, start, &b, NULL) == PL_OK);
    return b;
}

static id_list encoded(const tokenizer *t, fuzz_bytes text, encode_options o) {
    id_list ids = {NULL, 0, 0};
    pl_error e;
    CHECK(tokenizer_encode(t, (const char *)text.data, text.size, o, &ids, &e) == PL_OK);
    return ids;
}

static bool same_bytes(const void *a, size_t n, const void *b, size_t m) {
    return n == m && (n == 0 || memcmp(a, b, n) == 0);
}

static bool is_utf8(const char *s, size_t n) {
    uint32_t point = 0;
    for (size_t i = 0; i < n && point != UTF8_BAD;) i += utf8_decode(s + i, n - i, &point);
    return point != UTF8_BAD;
}

/* The ids are the vocabulary's, each is found by what it is called, and their pieces together are
 * what they decode to; passed on as whole characters, nothing is lost. */
static void check_pieces(const tokenizer *t, const id_list *ids) {
    text_buffer whole = decoded(t, ids, true, false);
    const char *text = whole.n != 0 ? whole.data : "";
    bool valid = is_utf8(text, whole.n);
    size_t passed = 0, held = 0;
    for (size_t i = 0; i < ids->n; i++) {
        CHECK(ids->ids[i] >= 0 && (size_t)ids->ids[i] < tokenizer_size(t));
        gguf_string piece = tokenizer_piece(t, ids->ids[i]);
        CHECK(piece.size <= whole.n - held &&
              same_bytes(piece.data, piece.size, text + held, piece.size));
        held += piece.size;
        size_t ready = held - utf8_incomplete_tail(text + passed, held - passed);
        CHECK(ready >= passed && (!valid || is_utf8(text + passed, ready - passed)));
        passed = ready;
        if (piece.size == 0) continue;
        int32_t id = tokenizer_id(t, piece.data, piece.size);
        CHECK(id >= 0);
        gguf_string other = tokenizer_piece(t, id);
        CHECK(same_bytes(piece.data, piece.size, other.data, other.size));
    }
    CHECK(held == whole.n && (!valid || passed == whole.n));
    text_free(&whole);
}

/* The text as pieces write it: U+2581 is a space, unless marks stay. */
static text_buffer unmarked(fuzz_bytes text, bool marks_stay) {
    text_buffer b = {NULL, 0, 0};
    for (size_t i = 0; i < text.size; i++) {
        bool mark = !marks_stay && text.size - i >= 3 && memcmp(text.data + i, MARK, 3) == 0;
        CHECK(text_append(&b, mark ? " " : (const char *)text.data + i, 1, NULL) == PL_OK);
        if (mark) i += 2;
    }
    return b;
}

static void check_round_trip(const tokenizer *t, const promises *p, fuzz_bytes text,
                             const id_list *ids, encode_options o) {
    text_buffer back = decoded(t, ids, o.special, o.start);
    bool spaced = false; /* behind each of these, encode adds a space again */
    for (size_t i = 0; i < ids->n && o.special && tokenizer_describe(t).add_space; i++)
        spaced = spaced || tokenizer_type(t, ids->ids[i]) == TOKEN_CONTROL ||
                 tokenizer_type(t, ids->ids[i]) == TOKEN_UNKNOWN ||
                 tokenizer_type(t, ids->ids[i]) == TOKEN_USER_DEFINED;
    if (p->reversible && !spaced) {
        text_buffer plain = unmarked(text, p->marks_stay);
        CHECK(same_bytes(back.data, back.n, plain.data, plain.n));
        text_free(&plain);
    }
    bool unknown = text.size != 0 && memmem(text.data, text.size, MARK, 3) != NULL;
    for (size_t i = 0; i < ids->n; i++)
        unknown = unknown || tokenizer_type(t, ids->ids[i]) == TOKEN_UNKNOWN;
    if (p->stable && !unknown && !spaced) {
        id_list again = encoded(t, (fuzz_bytes){(const uint8_t *)back.data, back.n}, o);
        CHECK(again.n == ids->n && same_bytes(again.ids, 4 * again.n, ids->ids, 4 * ids->n));
        id_list_free(&again);
    }
    text_free(&back);
}

void words_check(const tokenizer *t, const promises *p, uint8_t flags, fuzz_bytes text) {
    encode_options o = {.special = flags & FLAG_SPECIAL, .start = flags & FLAG_START};
    uint8_t *repeated = NULL;
    if ((flags & FLAG_LONG) == FLAG_LONG && text.size != 0 && text.data[0] == '*') {
        repeated = malloc(LONG_TEXT);
        CHECK(repeated != NULL);
        for (size_t i = 0; i < LONG_TEXT; i++) repeated[i] = text.data[i % text.size];
        text = (fuzz_bytes){repeated, LONG_TEXT};
    }
    id_list ids = encoded(t, text, o), again;
    if (p->shorter) CHECK(ids.n <= text.size + 1);
    if (ids.n < 5000) check_pieces(t, &ids);
    check_round_trip(t, p, text, &ids, o);

    o.bos = flags & FLAG_BOS, o.eos = flags & FLAG_EOS;
    again = encoded(t, text, o); /* what it has learnt of words changes nothing */
    tokenizer_info info = tokenizer_describe(t);
    size_t front = o.bos && info.add_bos, behind = o.eos && (info.add_eos || info.add_sep);
    CHECK(again.n == ids.n + front + behind && (!front || again.ids[0] == info.bos));
    CHECK(ids.n == 0 || memcmp(again.ids + front, ids.ids, ids.n * sizeof *ids.ids) == 0);
    id_list_free(&again);
    id_list_free(&ids);
    free(repeated);
}

/* ---- inputs ---- */

static void begin(vocabulary *v, const words_kind *kind, size_t variant) {
    v->n = v->n_merges = v->map_size = 0;
    v->pre = NULL;
    v->add_space = v->merge_spaces = v->cased = false;
    v->unknown = -1;
    kind->fill(v, variant);
}

int words_input(const words_kind *kind, const uint8_t *data, size_t size) {
    static tokenizer *own[8];
    static vocabulary v;
    fuzz_bytes text = {data, size};
    uint8_t flags = fuzz_u8(&text);
    size_t variant = (flags >> 5) % kind->n_variants;
    fuzz_bytes lines = fuzz_until(&text, "\n\n");
    if (text.size == 0) { /* no empty line: all of it is text */
        text = lines;
        lines.size = 0;
    }
    if (lines.size != 0) {
        long live = mem_live();
        promises none = {.shorter = false};
        begin(&v, kind, variant);
        words_add_lines(&v, lines);
        tokenizer *t = words_open(&v);
        if (t != NULL) words_check(t, &none, flags, text);
        tokenizer_free(t);
        CHECK(mem_live() == live);
        return 0;
    }
    if (own[variant] == NULL) {
        begin(&v, kind, variant);
        own[variant] = words_open(&v);
        CHECK(own[variant] != NULL);
    }
    long live = mem_live();
    promises p = kind->own(variant);
    words_check(own[variant], &p, flags, text);
    CHECK(mem_live() == live);
    return 0;
}
