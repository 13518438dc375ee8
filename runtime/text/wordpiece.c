/* wordpiece.c: BERT's tokenizer (tokenizer.ggml.model "bert"; google-research/bert,
 * tokenization.py): the text is cleaned, in lower case and without accents where the model wants
 * that, and cut into words at spaces and around punctuation and Chinese characters; each word is
 * written as the longest piece that it begins with, then the longest that the rest begins with. A
 * word that cannot be is one unknown token. It owns the trie of pieces inside struct tokenizer. The
 * invariant: a word gives its pieces, all of them, or the unknown token.
 *
 * In a GGUF file a piece that begins a word has U+2581 in front, and a piece inside has no "##".
 * Time is linear: a word has at most WORD_MAX characters. */
#include "base/mem.h"
#include "text/internal.h"
#include "text/utf8.h"

#define WORD_MAX 100 /* characters; a longer one is unknown: max_input_chars_per_word */

pl_code wordpiece_load(tokenizer *t, const gguf *g, pl_error *e) {
    size_t bytes = 0;
    pl_code code;
    t->lower = true;
    code = gguf_get_bool(g, "tokenizer.ggml.normalizer.lowercase", false, &t->lower, e);
    t->strip = t->lower;
    if (code == PL_OK)
        code = gguf_get_bool(g, "tokenizer.ggml.normalizer.strip_accents", false, &t->strip, e);
    if (code != PL_OK) return code;
    load_byte_ids(t);
    for (size_t i = 0; i < t->n; i++)
        if (t->type[i] == TOKEN_NORMAL) bytes += piece_of(t, (int32_t)i).size;
    code = trie_new(&t->pieces, bytes, e);
    for (int32_t i = 0; (size_t)i < t->n && code == PL_OK; i++) {
        gguf_string piece = piece_of(t, i);
        if (t->type[i] == TOKEN_NORMAL && piece_find(t, &t->words, piece.data, piece.size) == i)
            trie_add(t, &t->pieces, piece, i);
    }
    return code;
}

/* The word in c->text, which has a space in front, to ids; the text is empty again then. */
static pl_code encode_word(encoder *c, size_t characters) {
    const tokenizer *t = c->t;
    const char *s = c->text.data;
    size_t n = c->text.n, before = c->out->n;
    pl_code code = PL_OK;
    if (characters == 0) return PL_OK;
    c->text.n = 0;
    for (size_t i = 0, end = 0; i < n; i = end) {
        uint32_t node = 0;
        int32_t found = NO_TOKEN;
        for (size_t k = i; k < n && characters <= WORD_MAX; k++) {
            node = trie_step(t, &t->pieces, node, (unsigned char)s[k])->child;
            if (node == 0) break;
            if (t->pieces.token[node] == NO_TOKEN) continue;
            found = t->pieces.token[node];
            end = k + 1;
        }
        if (found == NO_TOKEN) {
            c->out->n = before;
            return t->unk != NO_TOKEN ? id_list_push(c->out, t->unk, c->e) : PL_OK;
        }
        code = id_list_push(c->out, found, c->e);
        if (code != PL_OK) return code;
    }
    return code;
}

/* CJK ideographs by their blocks, as in tokenization.py; the sixth begins at U+2B820 there and at
 * U+2B920 in Hugging Face's tokenizers, which the models are run with. */
static bool is_chinese(uint32_t x) {
    return (x >= 0x4E00 && x <= 0x9FFF) || (x >= 0x3400 && x <= 0x4DBF) ||
           (x >= 0x20000 && x <= 0x2A6DF) || (x >= 0x2A700 && x <= 0x2B73F) ||
           (x >= 0x2B740 && x <= 0x2B81F) || (x >= 0x2B920 && x <= 0x2CEAF) ||
           (x >= 0xF900 && x <= 0xFAFF) || (x >= 0x2F800 && x <= 0x2FA1F);
}

/* Is this character a word of its own? All of ASCII that is neither letter, digit nor space is
 * punctuation here. */
static bool stands_alone(uint32_t x) {
    if (x < 0x80)
        return (x >= '!' && x <= '/') || (x >= ':' && x <= '@') || (x >= '[' && x <= '`') ||
               (x >= '{' && x <= '~');
    return unicode_is_punctuation(x) || is_chinese(x);
}

static pl_code append(encoder *c, uint32_t point) {
    char character[4];
    size_t size = utf8_encode(point, character);
    pl_code code = c->text.n == 0 ? text_append(&c->text, " ", 1, c->e) : PL_OK;
    return code == PL_OK ? text_append(&c->text, character, size, c->e) : code;
}

/* One character of the cleaned text; *word counts those of the word so far. */
static pl_code take(encoder *c, uint32_t point, size_t *word) {
    uint32_t x = c->t->lower ? unicode_lower(point) : point;
    bool alone = stands_alone(x);
    pl_code code = PL_OK;
    if (alone) {
        code = encode_word(c, *word);
        *word = 0;
    }
    if (code == PL_OK) code = append(c, x);
    if (code == PL_OK && alone) return encode_word(c, 1);
    ++*word;
    return code;
}

pl_code wordpiece_encode(encoder *c, const char *text, size_t n, bool opens) {
    size_t word = 0, length;
    pl_code code = PL_OK;
    (void)opens; /* every word has its space */
    c->text.n = 0;
    for (size_t i = 0; i < n && code == PL_OK; i += length) {
        uint32_t point, parts[DECOMPOSED_MAX];
        size_t n_parts = 1;
        length = utf8_decode(text + i, n - i, &point);
        if (point == '\t' || point == '\n' || point == '\r' ||
            (point != UTF8_BAD && unicode_is_space(point) && !unicode_is_control(point))) {
            code = encode_word(c, word);
            word = 0;
            continue;
        }
        if (point == UTF8_BAD || point == 0 || point == 0xFFFD || unicode_is_control(point))
            continue;
        parts[0] = point;
        if (c->t->strip) n_parts = unicode_decompose(point, parts);
        for (size_t k = 0; k < n_parts && code == PL_OK; k++)
            if (!c->t->strip || !unicode_is_accent(parts[k])) code = take(c, parts[k], &word);
    }
    return code == PL_OK ? encode_word(c, word) : code;
}
