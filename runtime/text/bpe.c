/* bpe.c: BPE by a list of merges (tokenizer.ggml.model "gpt2", "gemma4", "whitespace"): a text is
 * cut into words (presplit.c), a word is its bytes, and the bytes are merged by the vocabulary's
 * list, the first of the list first, leftmost first. Where pieces are spelled as text (Gemma 4), a
 * word is its characters instead, a space is U+2581, and a character without a token becomes its
 * bytes' tokens. It owns the table of merges inside struct tokenizer. The invariant: the ids of a
 * text stand for its bytes, all of them that the vocabulary has tokens for, whether they are UTF-8
 * or not; white space and case go only where a pre-split type says so.
 *
 * Bytes that are not UTF-8 are no concern of the regexes: each longest run of them is a word of its
 * own, and the texts before and behind it are cut as two texts. */
#include "base/mem.h"
#include "text/internal.h"
#include "text/utf8.h"

/* ---- merges ---- */

/* The slot of this pair, or the free one for it. */
static pair_slot *pair_place(const tokenizer *t, int32_t left, int32_t right) {
    const pair_table *table = &t->pairs;
    size_t i = (size_t)hash_pair(t, (uint32_t)left, (uint32_t)right) & table->mask;
    while (table->slots[i].merged != NO_TOKEN &&
           (table->slots[i].left != left || table->slots[i].right != right))
        i = (i + 1) & table->mask;
    return &table->slots[i];
}

/* What a token's spelling in a merge stands for. */
static bool unspell(const tokenizer *t, const char *s, size_t n, char *out, size_t *size) {
    if (t->byte_level) return spelling_to_bytes(s, n, out, size);
    *size = unescape_spaces(s, n, out);
    return true;
}

/* One line of the list, "left right". Lines that cannot apply, as they are no pair or one of the
 * three is no token, are passed over, as in llama.cpp. Of two equal lines the first one counts. */
static void add_merge(tokenizer *t, gguf_string line, uint32_t rank, char *scratch) {
    const char *space = line.size > 1 ? memchr(line.data + 1, ' ', line.size - 1) : NULL;
    size_t left_size, right_size;
    int32_t left, right, merged;
    pair_slot *slot;
    if (space == NULL) return;
    if (!unspell(t, line.data, (size_t)(space - line.data), scratch, &left_size)) return;
    if (!unspell(t, space + 1, line.size - (size_t)(space - line.data) - 1, scratch + left_size,
                 &right_size))
        return;
    merged = piece_find(t, &t->words, scratch, left_size + right_size);
    if (merged == NO_TOKEN) return;
    left = piece_find(t, &t->words, scratch, left_size);
    right = piece_find(t, &t->words, scratch + left_size, right_size);
    if (left == NO_TOKEN || right == NO_TOKEN) return;
    slot = pair_place(t, left, right);
    if (slot->merged == NO_TOKEN) *slot = (pair_slot){left, right, rank, merged};
}

pl_code bpe_load(tokenizer *t, const gguf *g, pl_error *e) {
    const gguf_value *merges;
    size_t at = 0, longest = 0, size = 8;
    char *scratch = NULL;
    pl_code code = gguf_get_array(g, "tokenizer.ggml.merges", true, GGUF_STRING, &merges, e);
    if (code != PL_OK) return code;
    if (merges->n >= UINT32_MAX / 2)
        return pl_fail(e, PL_ERR_FORMAT,
                       "%s: key 'tokenizer.ggml.merges': found %llu merges, expected fewer than %u",
                       gguf_path(g), (unsigned long long)merges->n, UINT32_MAX / 2);
    if (t->drop_spaces)
        code = gguf_get_bool(g, "tokenizer.ggml.normalizer.lowercase", false, &t->lower, e);
    if (code != PL_OK) return code;
    if (!t->byte_level) load_byte_ids(t);
    t->words_apart = !t->byte_level && have_words_apart(t);
    for (size_t i = 0; i < 256 && t->byte_level; i++) {
        char byte = (char)i;
        t->byte_id[i] = piece_find(t, &t->words, &byte, 1);
    }
    while (size < merges->n + merges->n / 2) size *= 2;
    t->pairs.slots = mem_array(size, sizeof *t->pairs.slots);
    t->pairs.mask = size - 1;
    for (size_t i = 0; i < merges->n; i++) {
        gguf_string line = gguf_string_next(merges, &at);
        if (line.size > longest) longest = line.size;
    }
    scratch = mem_alloc(longest);
    if (t->pairs.slots == NULL || scratch == NULL) {
        mem_free(scratch);
        return pl_fail(e, PL_ERR_MEMORY, "%s: no memory for %llu merges", gguf_path(g),
                       (unsigned long long)merges->n);
    }
    for (size_t i = 0; i < size; i++) t->pairs.slots[i].merged = NO_TOKEN;
    at = 0;
    for (size_t i = 0; i < merges->n; i++)
        add_merge(t, gguf_string_next(merges, &at), (uint32_t)i, scratch);
    mem_free(scratch);
    return PL_OK;
}

/* ---- encoding ---- */

static uint32_t rank_of(const void *context, const merge_space *m, uint32_t left, int32_t *merged) {
    const tokenizer *t = context;
    int32_t a = m->id[left], b = m->id[m->next[left]];
    const pair_slot *slot;
    if (a == NO_TOKEN || b == NO_TOKEN) return MERGE_NEVER;
    slot = pair_place(t, a, b);
    if (slot->merged == NO_TOKEN) return MERGE_NEVER;
    *merged = slot->merged;
    return slot->rank;
}

/* The symbols that a word begins with. */
static void lay_out(const tokenizer *t, merge_space *m, const char *s, size_t n) {
    uint32_t before = UINT32_MAX, point;
    for (size_t i = 0, length = 1; i < n; i += length) {
        if (!t->byte_level) length = utf8_decode(s + i, n - i, &point);
        m->id[i] = t->byte_level ? t->byte_id[(unsigned char)s[i]]
                                 : piece_find(t, &t->words, s + i, length);
        m->next[i] = (uint32_t)(i + length);
        m->prev[i] = before;
        before = (uint32_t)i;
    }
}

static bool is_breaks(const char *s, size_t n) {
    while (n != 0 && s[n - 1] == '\n') n--;
    return n == 0;
}

/* A word of presplit.c's is white space throughout, or has none. */
static bool is_space(const char *s, size_t n) {
    uint32_t point;
    utf8_decode(s, n, &point);
    return point != UTF8_BAD && unicode_is_space(point);
}

static pl_code encode_word(void *context, const char *s, size_t n) {
    encoder *c = context;
    const tokenizer *t = c->t;
    merge_space *m = &c->symbols;
    pl_code code;
    if (t->drop_spaces && is_space(s, n)) return PL_OK;
    int32_t whole = n <= t->longest ? piece_find(t, &t->words, s, n) : NO_TOKEN;
    if (whole != NO_TOKEN) {
        bool taken = t->ignore_merges || n == 1 || (t->whole_breaks && is_breaks(s, n)) ||
                     atomic_load_explicit(&t->settled[whole], memory_order_relaxed) == SETTLED_YES;
        if (taken) return id_list_push(c->out, whole, c->e);
    }
    code = merge_space_fit(m, n, c->e);
    if (code != PL_OK) return code;
    lay_out(t, m, s, n);
    merge_run(m, n, rank_of, t);
    if (whole != NO_TOKEN)
        atomic_store_explicit(&t->settled[whole],
                              m->id[0] == whole && m->next[0] == n ? SETTLED_YES : SETTLED_NO,
                              memory_order_relaxed);
    for (uint32_t i = 0; i < n; i = m->next[i]) {
        code = m->id[i] != NO_TOKEN ? id_list_push(c->out, m->id[i], c->e)
                                    : encode_bytes(c, s + i, m->next[i] - i);
        if (code != PL_OK) return code;
    }
    return PL_OK;
}

/* Where pieces are spelled as text, what the regexes leave may be a whole line. */
static pl_code encode_line(void *context, const char *s, size_t n) {
    const encoder *c = context;
    pl_code code = PL_OK;
    if (!c->t->words_apart) return encode_word(context, s, n);
    for (size_t i = 0, end; i < n && code == PL_OK; i = end) {
        end = word_end(s, n, i);
        code = encode_word(context, s + i, end - i);
    }
    return code;
}

/* How many bytes from the start of s are UTF-8 characters. */
static size_t valid_run(const char *s, size_t n) {
    size_t i = 0;
    while (i < n) {
        uint64_t eight;
        uint32_t point;
        if (n - i >= sizeof eight) {
            memcpy(&eight, s + i, sizeof eight);
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof eight;
                continue;
            }
        }
        size_t length = utf8_decode(s + i, n - i, &point);
        if (point == UTF8_BAD) break;
        i += length;
    }
    return i;
}

static size_t bad_run(const char *s, size_t n) {
    size_t i = 0;
    for (uint32_t point; i < n; i++) {
        utf8_decode(s + i, n - i, &point);
        if (point != UTF8_BAD) break;
    }
    return i;
}

/* The text in lower case, in the encoder's memory. */
static pl_code lower(encoder *c, const char **text, size_t *n) {
    text_buffer *b = &c->made;
    pl_code code = PL_OK;
    b->n = 0;
    for (size_t i = 0, length; i < *n && code == PL_OK; i += length) {
        char character[4];
        uint32_t point;
        length = utf8_decode(*text + i, *n - i, &point);
        if (point == UTF8_BAD)
            code = text_append(b, *text + i, length, c->e);
        else
            code = text_append(b, character, utf8_encode(unicode_lower(point), character), c->e);
    }
    *text = b->data;
    *n = b->n;
    return code;
}

/* The text with spaces for U+2581, in the encoder's memory. */
static pl_code unmark(encoder *c, const char **text, size_t *n) {
    text_buffer *b = &c->text;
    if (mem_reserve(&b->data, &b->capacity, *n, 1) != 0)
        return pl_fail(c->e, PL_ERR_MEMORY, "no memory to encode %zu bytes of text", *n);
    *n = b->n = unescape_spaces(*text, *n, b->data);
    *text = b->data;
    return PL_OK;
}

pl_code bpe_encode(encoder *c, const char *text, size_t n, bool opens) {
    presplit_piece piece = c->t->byte_level ? encode_word : encode_line;
    (void)opens; /* no space goes in front */
    if (!c->t->byte_level && n != 0) {
        pl_code code = c->t->lower ? lower(c, &text, &n) : PL_OK;
        if (code == PL_OK) code = unmark(c, &text, &n);
        if (code != PL_OK) return code;
    }
    while (n != 0) {
        size_t valid = valid_run(text, n), bad = bad_run(text + valid, n - valid);
        pl_code code = presplit_run(c->t->split, &c->split, text, valid, piece, c, c->e);
        if (code == PL_OK && bad != 0) code = encode_word(c, text + valid, bad);
        if (code != PL_OK) return code;
        text += valid + bad;
        n -= valid + bad;
    }
    return PL_OK;
}
