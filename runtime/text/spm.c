/* spm.c: SentencePiece's BPE (tokenizer.ggml.model "llama"): a text is its characters, and two
 * neighbours that together spell a piece are joined, the piece of the highest score first, leftmost
 * first (google/sentencepiece, src/bpe_model.cc). A character that is no piece becomes its bytes'
 * tokens. It owns the order of the pieces inside struct tokenizer. The invariant: decoded, the ids
 * are the text, but for U+2581: pieces write a space with it, so a text's own becomes a space, as
 * in SentencePiece.
 *
 * Merges run over the whole text. But where none can reach across the start of a word, words are
 * encoded one by one, and a word that was seen to become one piece does so again. */
#include "base/mem.h"
#include "text/internal.h"
#include "text/utf8.h"

/* Scores to ranks: the same order, the highest first, in integers. The order of floats is that of
 * their bits taken as sign and magnitude. */
static uint32_t rank_of_score(float score) {
    uint32_t bits;
    score += 0.0f; /* -0 is 0 */
    memcpy(&bits, &score, sizeof bits);
    return (bits & 0x80000000u) != 0 ? bits : ~(bits | 0x80000000u);
}

pl_code spm_load(tokenizer *t, const gguf *g, pl_error *e) {
    const gguf_value *scores;
    pl_code code = load_scores(t, g, &scores, e);
    if (code != PL_OK) return code;
    t->priority = mem_array(t->n, sizeof *t->priority);
    if (t->priority == NULL)
        return pl_fail(e, PL_ERR_MEMORY, "%s: no memory for %zu scores", gguf_path(g), t->n);
    load_byte_ids(t);
    t->words_apart = have_words_apart(t);
    for (size_t i = 0; i < t->n; i++)
        t->priority[i] = rank_of_score(scores != NULL ? (float)gguf_float_at(scores, i) : 0.0f);
    return PL_OK;
}

typedef struct {
    const tokenizer *t;
    const char *s;
    size_t n;
} word;

static uint32_t rank_of(const void *context, const merge_space *m, uint32_t left, int32_t *merged) {
    const word *w = context;
    uint32_t end = m->next[m->next[left]];
    int32_t id;
    if (end - left > w->t->longest) return MERGE_NEVER;
    id = piece_find(w->t, &w->t->words, w->s + left, end - left);
    if (id == NO_TOKEN) return MERGE_NEVER;
    *merged = id;
    return w->t->priority[id];
}

static pl_code encode_word(encoder *c, const char *s, size_t n) {
    const tokenizer *t = c->t;
    merge_space *m = &c->symbols;
    word w = {t, s, n};
    pl_code code;
    uint32_t before = UINT32_MAX;
    int32_t whole = n <= t->longest ? piece_find(t, &t->words, s, n) : NO_TOKEN;
    if (whole != NO_TOKEN &&
        atomic_load_explicit(&t->settled[whole], memory_order_relaxed) == SETTLED_YES)
        return id_list_push(c->out, whole, c->e);
    code = merge_space_fit(m, n, c->e);
    if (code != PL_OK) return code;
    for (size_t i = 0; i < n;) {
        uint32_t point;
        size_t length = utf8_decode(s + i, n - i, &point);
        m->id[i] = NO_TOKEN; /* looked up at the end if it is still a character then */
        m->prev[i] = before;
        m->next[i] = (uint32_t)(i + length);
        before = (uint32_t)i;
        i += length;
    }
    merge_run(m, n, rank_of, &w);
    if (whole != NO_TOKEN)
        atomic_store_explicit(&t->settled[whole], m->next[0] == n ? SETTLED_YES : SETTLED_NO,
                              memory_order_relaxed);
    for (uint32_t i = 0; i < n; i = m->next[i]) {
        size_t size = m->next[i] - i;
        int32_t id = m->id[i] != NO_TOKEN ? m->id[i] : piece_find(t, &t->words, s + i, size);
        code = id != NO_TOKEN ? id_list_push(c->out, id, c->e) : encode_bytes(c, s + i, size);
        if (code != PL_OK) return code;
    }
    return PL_OK;
}

pl_code spm_encode(encoder *c, const char *text, size_t n, bool opens) {
    text_buffer *b = &c->text;
    pl_code code;
    b->n = 0;
    if (n == 0) return PL_OK;
    if (mem_reserve(&b->data, &b->capacity, n + 1, 1) != 0)
        return pl_fail(c->e, PL_ERR_MEMORY, "no memory to encode %zu bytes of text", n);
    if (opens) b->data[b->n++] = ' ';
    b->n += unescape_spaces(text, n, b->data + b->n);
    if (!c->t->words_apart) return encode_word(c, b->data, b->n);
    for (size_t i = 0, end; i < b->n; i = end) {
        end = word_end(b->data, b->n, i);
        code = encode_word(c, b->data + i, end - i);
        if (code != PL_OK) return code;
    }
    return PL_OK;
}
