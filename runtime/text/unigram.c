/* unigram.c: SentencePiece's unigram model (tokenizer.ggml.model "t5"; T. Kudo 2018,
 * google/sentencepiece, src/unigram_model.cc): of all ways to write a text as pieces, the one with
 * the highest sum of scores, found by dynamic programming over the ends of its prefixes. It owns
 * the trie of pieces, the scores and the normalization inside struct tokenizer. The invariant:
 * every character's end is reached, if need be by an unknown character, which costs more than any
 * piece.
 *
 * Sums are in double precision, as in Hugging Face's tokenizers. Of two equal sums the one whose
 * last piece is longer counts, as it is found first. Where no piece reaches across the start of a
 * word, the best way is that of each word, and a word that was seen to become one piece does so
 * again. Time is the text's length times the length of the longest piece that the text opens
 * somewhere. */
#include <float.h>
#include <math.h>

#include "base/mem.h"
#include "text/internal.h"
#include "text/utf8.h"

#define UNKNOWN_PENALTY 10.0f /* below the lowest score: kUnkPenalty */

pl_code unigram_load(tokenizer *t, const gguf *g, pl_error *e) {
    const gguf_value *scores;
    float low = FLT_MAX;
    size_t bytes = 0;
    pl_code code = load_scores(t, g, &scores, e);
    if (code == PL_OK && scores == NULL)
        return pl_fail(e, PL_ERR_FORMAT, "%s: key 'tokenizer.ggml.scores' is missing",
                       gguf_path(g));
    if (code == PL_OK)
        code = gguf_get_bool(g, "tokenizer.ggml.remove_extra_whitespaces", false, &t->merge_spaces,
                             e);
    if (code == PL_OK) code = charsmap_load(g, &t->map, e);
    if (code != PL_OK) return code;
    t->score = mem_array(t->n, sizeof *t->score);
    if (t->score == NULL)
        return pl_fail(e, PL_ERR_MEMORY, "%s: no memory for %zu scores", gguf_path(g), t->n);
    load_byte_ids(t);
    t->words_apart = have_words_apart(t);
    for (size_t i = 0; i < t->n; i++) {
        float score = (float)gguf_float_at(scores, i);
        t->score[i] = isinf(score) ? copysignf(FLT_MAX, score) : score; /* inf - inf is no sum */
        if (t->type[i] != TOKEN_NORMAL) continue;
        if (t->score[i] < low) low = t->score[i];
        bytes += piece_of(t, (int32_t)i).size;
    }
    t->unknown = (low < FLT_MAX ? low : 0) - UNKNOWN_PENALTY;
    code = trie_new(&t->pieces, bytes, e);
    for (int32_t i = 0; (size_t)i < t->n && code == PL_OK; i++) {
        gguf_string piece = piece_of(t, i);
        if (t->type[i] == TOKEN_NORMAL && piece_find(t, &t->words, piece.data, piece.size) == i)
            trie_add(t, &t->pieces, piece, i);
    }
    return code;
}

/* ---- normalization ---- */

/* The text through the map, into c->made. What is no UTF-8 becomes U+FFFD. */
static pl_code apply_map(encoder *c, const char *text, size_t n) {
    c->made.n = 0;
    for (size_t i = 0, used; i < n; i += used) {
        gguf_string to = {NULL, 0};
        pl_code code;
        used = 0;
        if (c->t->map != NULL) to = charsmap_find(c->t->map, text + i, n - i, &used);
        if (used == 0) {
            uint32_t point;
            used = utf8_decode(text + i, n - i, &point);
            to = point != UTF8_BAD ? (gguf_string){text + i, used}
                                   : (gguf_string){"\xEF\xBF\xBD", 3};
        }
        code = text_append(&c->made, to.data, to.size, c->e);
        if (code != PL_OK) return code;
        if (c->made.n >= TEXT_MAX)
            return pl_fail(c->e, PL_ERR_ARGUMENT,
                           "a text that becomes %zu bytes cannot be encoded at once, at most %zu "
                           "can",
                           c->made.n, TEXT_MAX);
    }
    return PL_OK;
}

/* c->made into c->text: with a space in front when the text opens a sequence, and spaces taken
 * together when the model wants that, none at the end; U+2581 is a space then, as in the pieces. */
static pl_code lay_spaces(encoder *c, bool opens) {
    const text_buffer *from = &c->made;
    text_buffer *b = &c->text;
    size_t size = 0;
    bool space = opens;
    if (mem_reserve(&b->data, &b->capacity, from->n + 1, 1) != 0)
        return pl_fail(c->e, PL_ERR_MEMORY, "no memory to encode %zu bytes of text", from->n);
    b->n = 0;
    if (!c->t->merge_spaces) {
        if (opens && from->n != 0) b->data[b->n++] = ' ';
        if (from->n != 0) memcpy(b->data + b->n, from->data, from->n);
        size = b->n + from->n;
    }
    for (size_t i = 0; i < from->n && c->t->merge_spaces; i++) {
        if (from->data[i] != ' ') {
            if (space) b->data[size++] = ' ';
            b->data[size++] = from->data[i];
        }
        space = from->data[i] == ' ';
    }
    b->n = unescape_spaces(b->data, size, b->data);
    return PL_OK;
}

/* ---- the best way ---- */

/* The best way to write the text up to here: its last piece, and where that begins. */
typedef struct {
    double score;
    int32_t id; /* NO_TOKEN: an unknown character */
    uint32_t from;
} step;

static void offer(step *to, double score, int32_t id, size_t from) {
    if (score > to->score) *to = (step){score, id, (uint32_t)from};
}

static void search(const tokenizer *t, step *steps, const char *s, size_t n) {
    steps[0] = (step){0, NO_TOKEN, 0};
    for (size_t i = 1; i <= n; i++) steps[i] = (step){-DBL_MAX, NO_TOKEN, 0};
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t point, node = 0;
        bool known = false;
        length = utf8_decode(s + i, n - i, &point);
        for (size_t k = i; k < n; k++) {
            int32_t id;
            node = trie_step(t, &t->pieces, node, (unsigned char)s[k])->child;
            if (node == 0) break;
            id = t->pieces.token[node];
            if (id == NO_TOKEN) continue;
            offer(&steps[k + 1], steps[i].score + (double)t->score[id], id, i);
            known = known || k + 1 - i == length;
        }
        if (!known)
            offer(&steps[i + length], steps[i].score + (double)t->unknown, NO_TOKEN, i);
    }
}

/* Neighbouring unknown characters are one unknown token, unless there are tokens for bytes.
 * *unknown: was the last character so? */
static pl_code emit(encoder *c, step *steps, const char *s, size_t n, bool *unknown) {
    const tokenizer *t = c->t;
    uint32_t next = 0, start = 0;
    pl_code code = PL_OK;
    for (uint32_t at = (uint32_t)n; at != 0;) { /* the links turned round */
        uint32_t from = steps[at].from;
        steps[at].from = next;
        next = at;
        at = from;
    }
    for (uint32_t end = next; end != 0 && code == PL_OK; start = end, end = steps[end].from) {
        bool known = steps[end].id != NO_TOKEN;
        if (known)
            code = id_list_push(c->out, steps[end].id, c->e);
        else if (!*unknown || has_bytes(t, s + start, end - start))
            code = encode_bytes(c, s + start, end - start);
        *unknown = !known && !has_bytes(t, s + start, end - start);
    }
    return code;
}

static pl_code encode_word(encoder *c, const char *s, size_t n, bool *unknown) {
    const tokenizer *t = c->t;
    int32_t whole = n <= t->longest ? piece_find(t, &t->words, s, n) : NO_TOKEN;
    step *steps;
    if (whole != NO_TOKEN &&
        atomic_load_explicit(&t->settled[whole], memory_order_relaxed) == SETTLED_YES) {
        *unknown = false;
        return id_list_push(c->out, whole, c->e);
    }
    if (mem_reserve(&c->steps, &c->steps_capacity, n + 1, sizeof(step)) != 0)
        return pl_fail(c->e, PL_ERR_MEMORY, "no memory to encode %zu bytes of text", n);
    steps = c->steps;
    search(t, steps, s, n);
    if (whole != NO_TOKEN)
        atomic_store_explicit(&t->settled[whole], steps[n].id == whole ? SETTLED_YES : SETTLED_NO,
                              memory_order_relaxed);
    return emit(c, steps, s, n, unknown);
}

pl_code unigram_encode(encoder *c, const char *text, size_t n, bool opens) {
    bool unknown = false;
    pl_code code = apply_map(c, text, n);
    if (code == PL_OK) code = lay_spaces(c, opens);
    for (size_t i = 0, end; i < c->text.n && code == PL_OK; i = end) {
        end = c->t->words_apart ? word_end(c->text.data, c->text.n, i) : c->text.n;
        code = encode_word(c, c->text.data + i, end - i, &unknown);
    }
    return code;
}
