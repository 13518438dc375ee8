/* tokenizer.c: the tokenizer's public face: making one, text to ids, ids to text. It owns struct
 * tokenizer's life and the rules that all kinds of tokenizer share: which tokens a text may spell
 * out, BOS, EOS, the leading space, what a token says. How a text without special tokens becomes
 * ids is the kinds' own (bpe.c, spm.c, wordpiece.c, unigram.c). The invariant: a call that fails
 * leaves its output as it was, and decode undoes encode where the kind loses nothing. */
#include "text/tokenizer.h"

#include "base/mem.h"
#include "text/internal.h"
#include "text/pieces.h"

/* Bytes of a spelling that tokenizer_id understands; no real one is near it. */
#define SPELLING_MAX 1024

/* ---- lists ---- */

pl_code id_list_push(id_list *list, int32_t id, pl_error *e) {
    if (list->n == list->capacity &&
        mem_reserve(&list->ids, &list->capacity, list->n + 1, sizeof *list->ids) != 0)
        return pl_fail(e, PL_ERR_MEMORY, "no memory for %zu token ids", list->n + 1);
    list->ids[list->n++] = id;
    return PL_OK;
}

void id_list_free(id_list *list) {
    mem_free(list->ids);
    *list = (id_list){NULL, 0, 0};
}

pl_code text_append(text_buffer *b, const char *s, size_t n, pl_error *e) {
    if (n == 0) return PL_OK;
    if (n > SIZE_MAX - b->n || mem_reserve(&b->data, &b->capacity, b->n + n, 1) != 0)
        return pl_fail(e, PL_ERR_MEMORY, "no memory for %zu more bytes of text", n);
    memcpy(b->data + b->n, s, n);
    b->n += n;
    return PL_OK;
}

void text_free(text_buffer *b) {
    mem_free(b->data);
    *b = (text_buffer){NULL, 0, 0};
}

/* ---- making one ---- */

static pl_code load_string(const gguf *g, const char *key, bool required, char **out, pl_error *e) {
    gguf_string s = {"", 0};
    pl_code code = gguf_get_string(g, key, required, &s, e);
    if (code != PL_OK) return code;
    *out = mem_string(s.data, s.size);
    return *out != NULL
               ? PL_OK
               : pl_fail(e, PL_ERR_MEMORY, "%s: no memory for key '%s'", gguf_path(g), key);
}

/* What tokenizer.ggml.model may be, with the defaults that go with it (llama.cpp,
 * src/llama-vocab.cpp, where these names are given out). */
#define NONE NO_TOKEN
static const tokenizer_kind models[] = {
    {.name = "llama", .load = spm_load, .encode = spm_encode,
     .bos = 1, .eos = 2, .unk = 0, .sep = NONE, .pad = NONE, .mask = NONE,
     .add_bos = true, .add_space = true},
    {.name = "gpt2", .load = bpe_load, .encode = bpe_encode,
     .bos = NONE, .eos = NONE, .unk = NONE, .sep = NONE, .pad = NONE, .mask = NONE,
     .byte_level = true},
    {.name = "whitespace", .load = bpe_load, .encode = bpe_encode,
     .bos = NONE, .eos = NONE, .unk = NONE, .sep = NONE, .pad = NONE, .mask = NONE,
     .byte_level = true},
    {.name = "gemma4", .load = bpe_load, .encode = bpe_encode,
     .bos = NONE, .eos = NONE, .unk = NONE, .sep = NONE, .pad = NONE, .mask = NONE},
    {.name = "bert", .load = wordpiece_load, .encode = wordpiece_encode,
     .bos = 101, .eos = NONE, .unk = 100, .sep = 102, .pad = 0, .mask = 103,
     .add_bos = true, .add_sep = true, .add_space = true},
    {.name = "t5", .load = unigram_load, .encode = unigram_encode,
     .bos = NONE, .eos = 1, .unk = 2, .sep = NONE, .pad = 0, .mask = NONE,
     .add_eos = true},
};
#undef NONE
#define N_MODELS (sizeof models / sizeof *models)

static pl_code load_split(tokenizer *t, const gguf *g, pl_error *e) {
    const char *name = strcmp(t->model, "gemma4") == 0 ? t->model : t->pre;
    presplit_traits traits;
    pl_code code = presplit_new(name, &t->split, &traits, e);
    if (code != PL_OK) return pl_error_prefix(e, "%s", gguf_path(g));
    t->byte_level = !traits.spelled_as_text;
    t->ignore_merges = traits.ignore_merges;
    t->whole_breaks = traits.whole_breaks;
    t->drop_spaces = traits.drops_spaces;
    t->always_bos = traits.always_bos;
    t->add_bos = traits.add_bos;
    t->add_sep = traits.add_sep;
    return PL_OK;
}

static pl_code load_kind(tokenizer *t, const gguf *g, pl_error *e) {
    pl_code code = load_string(g, "tokenizer.ggml.model", true, &t->model, e);
    if (code == PL_OK) code = load_string(g, "tokenizer.ggml.pre", false, &t->pre, e);
    if (code != PL_OK) return code;
    for (size_t i = 0; i < N_MODELS; i++)
        if (strcmp(t->model, models[i].name) == 0) t->kind = &models[i];
    if (t->kind == NULL)
        return pl_fail(e, PL_ERR_UNSUPPORTED,
                       "%s: key 'tokenizer.ggml.model': found \"%.64s\", expected one that this "
                       "build knows: llama, gpt2, gemma4, whitespace, bert, t5",
                       gguf_path(g), t->model);
    t->add_bos = t->kind->add_bos;
    t->add_eos = t->kind->add_eos;
    t->add_sep = t->kind->add_sep;
    t->add_space = t->kind->add_space;
    t->byte_level = t->kind->byte_level;
    return t->kind->load == bpe_load ? load_split(t, g, e) : PL_OK;
}

pl_code tokenizer_new(const gguf *g, tokenizer **out, pl_error *e) {
    pl_error unseen; /* messages are built by prefixing, which needs one */
    pl_code code;
    tokenizer *t = mem_zalloc(sizeof *t);
    *out = NULL;
    if (e == NULL) e = &unseen;
    if (t == NULL)
        return pl_fail(e, PL_ERR_MEMORY, "%s: no memory for the tokenizer", gguf_path(g));
    t->seed = (uint64_t)(uintptr_t)t;
    t->index = mem_zalloc(sizeof *t->index);
    code = t->index != NULL ? load_kind(t, g, e)
                            : pl_fail(e, PL_ERR_MEMORY, "%s: no memory for the tokenizer",
                                      gguf_path(g));
    if (code == PL_OK) code = vocabulary_load(t, g, e);
    if (code == PL_OK) code = t->kind->load(t, g, e);
    if (code == PL_OK) code = special_build(t, e);
    if (code != PL_OK) goto fail;
    special_load_strips(t, g);
    t->add_space = t->add_space && t->kind->load != bpe_load;
    *out = t;
    return PL_OK;
fail:
    tokenizer_free(t);
    return code;
}

void tokenizer_free(tokenizer *t) {
    if (t == NULL) return;
    presplit_free(t->split);
    mem_free(t->model);
    mem_free(t->pre);
    mem_free(t->chat_template);
    mem_free(t->bytes);
    mem_free(t->offset);
    mem_free(t->type);
    mem_free(t->words.slots);
    mem_free(t->names.slots);
    mem_free(t->settled);
    trie_free(&t->special.trie);
    trie_free(&t->pieces);
    charsmap_free(t->map);
    mem_free(t->score);
    mem_free(t->pairs.slots);
    mem_free(t->priority);
    mem_free(t->eog);
    if (t->index != NULL) pieces_free(t->index->made);
    mem_free(t->index);
    mem_free(t);
}

/* ---- text to ids ---- */

bool has_bytes(const tokenizer *t, const char *s, size_t n) {
    bool all = true;
    for (size_t i = 0; i < n; i++) all = all && t->byte_id[(unsigned char)s[i]] != NO_TOKEN;
    return all;
}

pl_code encode_bytes(encoder *c, const char *s, size_t n) {
    const tokenizer *t = c->t;
    pl_code code = PL_OK;
    if (!has_bytes(t, s, n))
        return t->unk != NO_TOKEN && t->type[t->unk] != TOKEN_CONTROL
                   ? id_list_push(c->out, t->unk, c->e)
                   : PL_OK;
    for (size_t i = 0; i < n && code == PL_OK; i++)
        code = id_list_push(c->out, t->byte_id[(unsigned char)s[i]], c->e);
    return code;
}

/* Special tokens first, then what lies between them. Control tokens have no text, so the leading
 * space goes to the first text behind them; a user-defined token is text, and gets none. Where the
 * text may spell control tokens, each token found opens a sequence for the text behind it, as in
 * llama.cpp and in the tokenizer.json of Llama 2 and Mistral. Otherwise none does, and decode
 * undoes encode (llama.cpp's adds a space behind a user-defined token there, too). */
static pl_code encode_all(encoder *c, const char *text, size_t n, encode_options options) {
    const tokenizer *t = c->t;
    bool at_start = options.start && t->add_space;
    unsigned kinds = options.special ? SPECIAL_USER | SPECIAL_CONTROL : SPECIAL_USER;
    pl_code code = PL_OK;
    if (options.bos && t->add_bos) code = id_list_push(c->out, t->bos, c->e);
    while (n != 0 && code == PL_OK) {
        size_t at = n, size = 0;
        int32_t id = special_find(t, text, n, kinds, &at, &size);
        size_t before = special_strip_front(t, id, text, at);
        if (before != 0) {
            code = t->kind->encode(c, text, before, at_start);
            at_start = false;
        }
        if (id != NO_TOKEN && code == PL_OK) {
            code = id_list_push(c->out, id, c->e);
            if (options.special) at_start = t->add_space;
            else if (t->type[id] == TOKEN_USER_DEFINED) at_start = false;
        }
        text += at + size;
        n -= at + size;
        size = special_strip_behind(t, id, text, n);
        text += size;
        n -= size;
    }
    if (options.eos && (t->add_eos || t->add_sep) && code == PL_OK)
        code = id_list_push(c->out, t->add_eos ? t->eos : t->sep, c->e);
    return code;
}

pl_code tokenizer_encode(const tokenizer *t, const char *text, size_t n, encode_options options,
                         id_list *out, pl_error *e) {
    encoder c = {.t = t, .out = out, .e = e};
    size_t before = out->n;
    pl_code code;
    if (n > TEXT_MAX)
        return pl_fail(e, PL_ERR_ARGUMENT,
                       "a text of %zu bytes cannot be encoded at once, at most %zu can", n,
                       TEXT_MAX);
    merge_space_init(&c.symbols);
    code = encode_all(&c, text, n, options);
    if (code != PL_OK) out->n = before;
    merge_space_free(&c.symbols);
    presplit_state_free(&c.split);
    text_free(&c.text);
    text_free(&c.made);
    mem_free(c.steps);
    return code;
}

/* ---- ids to text ---- */

bool tokenizer_has_text(const tokenizer *t, int32_t id) {
    return t->type[id] != TOKEN_CONTROL && t->type[id] != TOKEN_UNKNOWN &&
           piece_of(t, id).size != 0;
}

pl_code tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t n, bool special, bool start,
                         text_buffer *out, pl_error *e) {
    bool at_start = start && t->add_space;
    size_t before = out->n;
    for (size_t i = 0; i < n; i++) {
        gguf_string piece;
        pl_code code;
        if (ids[i] < 0 || (size_t)ids[i] >= t->n) {
            out->n = before;
            return pl_fail(e, PL_ERR_ARGUMENT,
                           "id %zu of %zu is %d, but the vocabulary's ids are 0 to %zu", i + 1, n,
                           ids[i], t->n - 1);
        }
        piece = piece_of(t, ids[i]);
        if (!tokenizer_has_text(t, ids[i])) {
            if (!special) continue;
        } else if (at_start) {
            if (piece.data[0] == ' ' && t->type[ids[i]] != TOKEN_USER_DEFINED)
                piece.data++, piece.size--;
            at_start = false;
        }
        code = text_append(out, piece.data, piece.size, e);
        if (code != PL_OK) {
            out->n = before;
            return code;
        }
    }
    return PL_OK;
}

/* ---- about tokens ---- */

gguf_string tokenizer_piece(const tokenizer *t, int32_t id) { return piece_of(t, id); }
token_type tokenizer_type(const tokenizer *t, int32_t id) { return (token_type)t->type[id]; }
size_t tokenizer_size(const tokenizer *t) { return t->n; }

int32_t tokenizer_id(const tokenizer *t, const char *piece, size_t n) {
    char plain[SPELLING_MAX];
    size_t size = 0;
    int byte = spelling_to_byte(piece, n);
    int32_t id = piece_find(t, &t->names, piece, n);
    if (id == NO_TOKEN) id = piece_find(t, &t->words, piece, n);
    if (id == NO_TOKEN && n == 1) id = t->byte_id[(unsigned char)piece[0]];
    if (id == NO_TOKEN && byte >= 0) id = t->byte_id[byte];
    if (id != NO_TOKEN || n > SPELLING_MAX) return id;
    if (!t->byte_level)
        size = unescape_spaces(piece, n, plain);
    else if (!spelling_to_bytes(piece, n, plain, &size))
        return NO_TOKEN;
    id = piece_find(t, &t->words, plain, size);
    return id != NO_TOKEN || t->byte_level ? id : piece_find(t, &t->names, plain, size);
}

bool tokenizer_is_eog(const tokenizer *t, int32_t id) {
    for (size_t i = 0; i < t->n_eog; i++)
        if (t->eog[i] == id) return true;
    return false;
}

tokenizer_info tokenizer_describe(const tokenizer *t) {
    return (tokenizer_info){.model = t->model,
                            .pre = t->pre,
                            .bos = t->bos,
                            .eos = t->eos,
                            .unk = t->unk,
                            .sep = t->sep,
                            .pad = t->pad,
                            .eot = t->eot,
                            .eom = t->eom,
                            .mask = t->mask,
                            .cls = t->cls,
                            .fim_pre = t->fim_pre,
                            .fim_suf = t->fim_suf,
                            .fim_mid = t->fim_mid,
                            .fim_pad = t->fim_pad,
                            .fim_rep = t->fim_rep,
                            .fim_sep = t->fim_sep,
                            .add_bos = t->add_bos,
                            .add_eos = t->add_eos,
                            .add_sep = t->add_sep,
                            .add_space = t->add_space && t->kind->load != wordpiece_load,
                            .eog = t->eog,
                            .n_eog = t->n_eog,
                            .chat_template = t->chat_template};
}
