/* vocabulary.c: reads the vocabulary from a file's metadata (tokenizer.ggml.*, ggml/docs/gguf.md):
 * pieces, types, the special ids and which tokens end a generation. It fills the tables of struct
 * tokenizer that all kinds share; what scores and merges mean is theirs. The invariant: every
 * piece is in exactly one of the tables `words`, what text may become by itself, and `names`, or in
 * neither when it is empty, a byte, or a second one of the same spelling.
 *
 * What a file leaves open follows llama.cpp (src/llama-vocab.cpp), but for this. Of two tokens with
 * the same spelling the first one counts (there, the file is refused). A special id that is out of
 * range is an error if anything is computed with it (there, a warning). A token that the format of
 * a chat is written with stays a control token, which text cannot spell (there, Harmony's are found
 * in any text). Tokens of type "unused" are never produced, not even on the
 * way to another one. Byte-level models have no BOS and EOS when the file names none (there, 11,
 * which is Falcon's). */
#include <math.h>
#include <stddef.h>

#include "base/mem.h"
#include "text/internal.h"
#include "text/utf8.h"

#define SPACE_MARK "\xE2\x96\x81" /* U+2581 */
#define SPACE_MARK_SIZE 3

/* ---- spellings ---- */

/* The byte that a character of a byte-level vocabulary stands for, or -1 (openai-community/gpt2,
 * encoder.py, bytes_to_unicode): the printable characters of Latin-1 stand for themselves, the
 * other 68 bytes are, in order, the characters from U+0100 on. */
static int byte_of(uint32_t point) {
    if (point < 0x100) {
        bool printable = point > 0x20 && point != 0xAD && (point < 0x7F || point > 0xA0);
        return printable ? (int)point : -1;
    }
    if (point < 0x100 + 33) return (int)(point - 0x100);                  /* 00..20 */
    if (point < 0x100 + 33 + 34) return (int)(point - 0x100 - 33 + 0x7F); /* 7F..A0 */
    return point == 0x100 + 33 + 34 ? 0xAD : -1;
}

bool spelling_to_bytes(const char *s, size_t n, char *out, size_t *size) {
    *size = 0;
    for (size_t i = 0; i < n;) {
        uint32_t point = (unsigned char)s[i]; /* most are ASCII */
        int byte;
        i += point < 0x80 ? 1 : utf8_decode(s + i, n - i, &point);
        byte = byte_of(point);
        if (byte < 0) return false;
        out[(*size)++] = (char)byte;
    }
    return true;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int spelling_to_byte(const char *s, size_t n) {
    int high, low;
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>') return -1;
    high = hex_digit(s[3]);
    low = hex_digit(s[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

size_t unescape_spaces(const char *s, size_t n, char *out) {
    size_t size = 0;
    for (size_t i = 0; i < n;) {
        if (n - i >= SPACE_MARK_SIZE && memcmp(s + i, SPACE_MARK, SPACE_MARK_SIZE) == 0) {
            out[size++] = ' ';
            i += SPACE_MARK_SIZE;
        } else {
            out[size++] = s[i++];
        }
    }
    return size;
}

/* ---- pieces ---- */

static bool table_new(piece_table *table, size_t n) {
    size_t size = 8;
    while (size < n + n / 2) size *= 2; /* n is at most INT32_MAX */
    table->slots = mem_array(size, sizeof *table->slots);
    if (table->slots == NULL) return false;
    for (size_t i = 0; i < size; i++) table->slots[i] = (piece_slot){0, NO_TOKEN};
    table->mask = size - 1;
    return true;
}

static void table_add(tokenizer *t, piece_table *table, int32_t id) {
    gguf_string piece = piece_of(t, id);
    uint64_t hash = hash_bytes(piece.data, piece.size, t->seed);
    size_t i = hash & table->mask;
    for (; table->slots[i].id != NO_TOKEN; i = (i + 1) & table->mask) {
        gguf_string other = piece_of(t, table->slots[i].id);
        if (table->slots[i].tag == (uint32_t)(hash >> 32) && other.size == piece.size &&
            memcmp(other.data, piece.data, piece.size) == 0)
            return;
    }
    table->slots[i] = (piece_slot){(uint32_t)(hash >> 32), id};
}

static bool is_spelled(gguf_string s, const char *as) {
    return s.size == strlen(as) && memcmp(s.data, as, s.size) == 0;
}

/* Special ids: the format's keys, tokenizer.ggml.*_token_id, the second an older one. Where an id
 * is only shown, one that is out of range is none: some files pad with an id that they do not have.
 */
#define FIELD(name) offsetof(tokenizer, name)
static const struct {
    size_t field; /* of struct tokenizer */
    const char *key, *older;
    bool only_shown;
} special_ids[] = {
    {FIELD(bos), "tokenizer.ggml.bos_token_id", NULL, false},
    {FIELD(eos), "tokenizer.ggml.eos_token_id", NULL, false},
    {FIELD(eot), "tokenizer.ggml.eot_token_id", NULL, false},
    {FIELD(eom), "tokenizer.ggml.eom_token_id", NULL, false},
    {FIELD(unk), "tokenizer.ggml.unknown_token_id", NULL, false},
    {FIELD(sep), "tokenizer.ggml.seperator_token_id", NULL, false}, /* its own spelling */
    {FIELD(pad), "tokenizer.ggml.padding_token_id", NULL, true},
    {FIELD(mask), "tokenizer.ggml.mask_token_id", NULL, true},
    {FIELD(cls), "tokenizer.ggml.cls_token_id", NULL, true},
    {FIELD(fim_pre), "tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id", true},
    {FIELD(fim_suf), "tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id", true},
    {FIELD(fim_mid), "tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id", true},
    {FIELD(fim_pad), "tokenizer.ggml.fim_pad_token_id", NULL, true},
    {FIELD(fim_rep), "tokenizer.ggml.fim_rep_token_id", NULL, true},
    {FIELD(fim_sep), "tokenizer.ggml.fim_sep_token_id", NULL, true},
};
#define N_SPECIAL_IDS (sizeof special_ids / sizeof *special_ids)

/* Names that tell what a token is, for files that do not give all ids: llama.cpp keeps this list
 * for the same reason. `ends`: a generation ends there, whatever ids the file gives. The likelier
 * first: of several of a field, the first that the vocabulary has is taken (there, any of them). */
#define NO_FIELD SIZE_MAX
static const struct {
    const char *name;
    size_t field; /* of struct tokenizer */
    bool ends;
} token_names[] = {
    {"<|eot_id|>", FIELD(eot), true},
    {"<|im_end|>", FIELD(eot), true},
    {"<|end|>", FIELD(eot), true},
    {"<end_of_turn>", FIELD(eot), true},
    {"<turn|>", FIELD(eot), true},
    {"<|endoftext|>", FIELD(eot), true},
    {"<|end_of_text|>", FIELD(eot), true},
    {"<EOT>", FIELD(eot), true},
    {"_<EOT>", FIELD(eot), true},
    {"[EOT]", FIELD(eot), true},
    {"<｜end▁of▁sentence｜>", FIELD(eot), true},
    {"<end_of_utterance>", FIELD(eot), true},
    {"<|eom_id|>", FIELD(eom), true},
    {"<|return|>", NO_FIELD, true},
    {"<|call|>", NO_FIELD, true},
    {"<|calls|>", NO_FIELD, true},
    {"<|flush|>", NO_FIELD, true},
    {"<eos>", NO_FIELD, true},
    {"[EOS]", NO_FIELD, true},
    {"<|tool_response>", NO_FIELD, true},
    {"[e~[", NO_FIELD, true},
    {"</s>", NO_FIELD, true},

    {"<|fim_prefix|>", FIELD(fim_pre), false},
    {"<fim-prefix>", FIELD(fim_pre), false},
    {"<fim_prefix>", FIELD(fim_pre), false},
    {"<｜fim▁begin｜>", FIELD(fim_pre), false},
    {"<PRE>", FIELD(fim_pre), false},
    {SPACE_MARK "<PRE>", FIELD(fim_pre), false},
    {"<|code_prefix|>", FIELD(fim_pre), false},
    {"<|prefix|>", FIELD(fim_pre), false},
    {"<|fim_suffix|>", FIELD(fim_suf), false},
    {"<fim-suffix>", FIELD(fim_suf), false},
    {"<fim_suffix>", FIELD(fim_suf), false},
    {"<｜fim▁hole｜>", FIELD(fim_suf), false},
    {"<SUF>", FIELD(fim_suf), false},
    {SPACE_MARK "<SUF>", FIELD(fim_suf), false},
    {"<|code_suffix|>", FIELD(fim_suf), false},
    {"<|suffix|>", FIELD(fim_suf), false},
    {"<|fim_middle|>", FIELD(fim_mid), false},
    {"<fim-middle>", FIELD(fim_mid), false},
    {"<fim_middle>", FIELD(fim_mid), false},
    {"<｜fim▁end｜>", FIELD(fim_mid), false},
    {"<MID>", FIELD(fim_mid), false},
    {SPACE_MARK "<MID>", FIELD(fim_mid), false},
    {"<|code_middle|>", FIELD(fim_mid), false},
    {"<|middle|>", FIELD(fim_mid), false},
    {"<|fim_pad|>", FIELD(fim_pad), false},
    {"<fim-pad>", FIELD(fim_pad), false},
    {"<fim_pad>", FIELD(fim_pad), false},
    {"<PAD>", FIELD(fim_pad), false},
    {"[PAD]", FIELD(fim_pad), false},
    {"<|fim_repo|>", FIELD(fim_rep), false},
    {"<|repo_name|>", FIELD(fim_rep), false},
    {"<fim-repo>", FIELD(fim_rep), false},
    {"<REPO>", FIELD(fim_rep), false},
    {"<reponame>", FIELD(fim_rep), false},
    {"<|file_sep|>", FIELD(fim_sep), false},
};
#define N_TOKEN_NAMES (sizeof token_names / sizeof *token_names)

static int32_t *id_field(tokenizer *t, size_t field) { return (int32_t *)((char *)t + field); }

/* Does the file say which id this is? */
static bool is_given(const gguf *g, size_t field) {
    for (size_t i = 0; i < N_SPECIAL_IDS; i++)
        if (special_ids[i].field == field)
            return gguf_find(g, special_ids[i].key) != NULL ||
                   (special_ids[i].older != NULL && gguf_find(g, special_ids[i].older) != NULL);
    return false;
}

/* Is a token of this name a control token, whatever type the file gives it? "</s>" may be a tag of
 * HTML, and a name for a field that the file fills is a name like others. */
static bool is_control_name(const gguf *g, gguf_string s) {
    if (s.size < 4 || strchr("<[_\xE2", s.data[0]) == NULL) return false;
    for (size_t i = 0; i < N_TOKEN_NAMES; i++)
        if (is_spelled(s, token_names[i].name))
            return strcmp(token_names[i].name, "</s>") != 0 &&
                   (token_names[i].ends || !is_given(g, token_names[i].field));
    return false;
}

/* The type of token i. Some files call an end marker user-defined, so that text that quotes it
 * would end the turn: it is a control token whatever they say. Files that give no types at all are
 * older than most of them; bytes and end markers are known by their spelling then. (llama.cpp makes
 * control tokens of normal ones too, whose text then comes out as nothing; here what a text may
 * become stays text, even where a generation ends with it.) */
static pl_code type_of(const tokenizer *t, const gguf *g, const gguf_value *types, size_t i,
                       gguf_string s, uint8_t *type, pl_error *e) {
    int64_t given = types != NULL ? gguf_int_at(types, i) : TOKEN_NORMAL;
    int byte = spelling_to_byte(s.data, s.size);
    if (given < TOKEN_UNDEFINED || given > TOKEN_BYTE)
        return pl_fail(
            e, PL_ERR_FORMAT,
            "%s: key 'tokenizer.ggml.token_type': found %lld for token %zu, expected 0 to 6",
            gguf_path(g), (long long)given, i);
    if (given == TOKEN_BYTE && byte < 0)
        return pl_fail(e, PL_ERR_FORMAT,
                       "%s: key 'tokenizer.ggml.tokens': found \"%.*s\" for the byte token %zu, "
                       "expected <0x00> to <0xFF>",
                       gguf_path(g), (int)(s.size < 40 ? s.size : 40), s.data, i);
    if (given == TOKEN_UNDEFINED) given = TOKEN_NORMAL;
    if (given == TOKEN_NORMAL && byte >= 0 && !t->byte_level) given = TOKEN_BYTE;
    if ((given == TOKEN_USER_DEFINED || types == NULL) && is_control_name(g, s))
        given = TOKEN_CONTROL;
    *type = (uint8_t)given;
    return PL_OK;
}

/* Writes a token's piece at `to`, which has room for its spelling; returns its size. *word: can a
 * text become this token by itself? A byte-level spelling must be made of the 256 characters for
 * that; in a SentencePiece vocabulary spaces are marked, and a piece with one that is not is out of
 * the reach of any text. */
static size_t decode_piece(const tokenizer *t, uint8_t type, gguf_string s, char *to, bool *word) {
    size_t size;
    *word = false;
    if (type == TOKEN_BYTE) {
        *to = (char)spelling_to_byte(s.data, s.size);
        return 1;
    }
    if (type == TOKEN_NORMAL && t->byte_level && spelling_to_bytes(s.data, s.size, to, &size)) {
        *word = size != 0;
        return size;
    }
    if ((type == TOKEN_NORMAL || type == TOKEN_USER_DEFINED) && !t->byte_level) {
        *word = type == TOKEN_NORMAL && s.size != 0 && memchr(s.data, ' ', s.size) == NULL;
        return unescape_spaces(s.data, s.size, to);
    }
    memcpy(to, s.data, s.size); /* as it is written: a name, or an added token */
    return s.size;
}

static pl_code wrong_count(const gguf *g, const char *key, uint64_t found, size_t n, pl_error *e) {
    return pl_fail(e, PL_ERR_FORMAT,
                   "%s: key '%s': found %llu elements, expected at least %zu, one for each token",
                   gguf_path(g), key, (unsigned long long)found, n);
}

pl_code load_scores(const tokenizer *t, const gguf *g, const gguf_value **scores, pl_error *e) {
    static const char key[] = "tokenizer.ggml.scores";
    const gguf_value *found = gguf_find(g, key);
    bool integers = found != NULL && found->is_array && found->type == GGUF_I32;
    pl_code code = gguf_get_array(g, key, false, integers ? GGUF_I32 : GGUF_F32, scores, e);
    if (code != PL_OK || *scores == NULL) return code;
    if ((*scores)->n < t->n) return wrong_count(g, key, (*scores)->n, t->n, e);
    for (size_t i = 0; i < t->n; i++)
        if (isnan(gguf_float_at(*scores, i)))
            return pl_fail(e, PL_ERR_FORMAT,
                           "%s: key '%s': found NaN for token %zu, expected a number", gguf_path(g),
                           key, i);
    return PL_OK;
}

bool have_words_apart(const tokenizer *t) {
    for (size_t i = 0; i < t->n; i++) {
        gguf_string piece = piece_of(t, (int32_t)i);
        for (size_t k = 1; t->type[i] == TOKEN_NORMAL && k < piece.size; k++)
            if (piece.data[k] == ' ' && piece.data[k - 1] != ' ') return false;
    }
    return true;
}

void load_byte_ids(tokenizer *t) {
    for (size_t i = 0; i < 256; i++) t->byte_id[i] = NO_TOKEN;
    for (size_t i = 0; i < t->n; i++) {
        if (t->type[i] != TOKEN_BYTE) continue;
        int32_t *id = &t->byte_id[(unsigned char)piece_of(t, (int32_t)i).data[0]];
        if (*id == NO_TOKEN) *id = (int32_t)i;
    }
}

static pl_code load_pieces(tokenizer *t, const gguf *g, pl_error *e) {
    const gguf_value *tokens, *types;
    size_t total = 0, n_words = 0, at = 0, used = 0;
    bool *word = NULL; /* [n] */
    pl_code code = gguf_get_array(g, "tokenizer.ggml.tokens", true, GGUF_STRING, &tokens, e);
    if (code == PL_OK)
        code = gguf_get_array(g, "tokenizer.ggml.token_type", false, GGUF_I32, &types, e);
    if (code != PL_OK) return code;
    if (tokens->n == 0 || tokens->n > INT32_MAX)
        return pl_fail(e, PL_ERR_FORMAT,
                       "%s: key 'tokenizer.ggml.tokens': found %llu tokens, expected 1 to %d",
                       gguf_path(g), (unsigned long long)tokens->n, INT32_MAX);
    t->n = (size_t)tokens->n;
    if (types != NULL && types->n < tokens->n)
        return wrong_count(g, "tokenizer.ggml.token_type", types->n, t->n, e);
    t->type = mem_array(t->n, sizeof *t->type);
    if (t->type == NULL) goto no_memory;
    for (size_t i = 0; i < t->n; i++) {
        gguf_string s = gguf_string_next(tokens, &at);
        code = type_of(t, g, types, i, s, &t->type[i], e);
        if (code != PL_OK) return code;
        total += s.size; /* the strings lie in one file: no overflow */
    }
    if (total > UINT32_MAX)
        return pl_fail(
            e, PL_ERR_FORMAT,
            "%s: key 'tokenizer.ggml.tokens': found %zu bytes of text, expected at most %u",
            gguf_path(g), total, UINT32_MAX);

    t->bytes = mem_alloc(total);
    t->offset = mem_array(t->n + 1, sizeof *t->offset);
    t->settled = mem_zarray(t->n, sizeof *t->settled);
    word = mem_array(t->n, sizeof *word);
    if (t->bytes == NULL || t->offset == NULL || t->settled == NULL || word == NULL) goto no_memory;
    at = 0;
    t->offset[0] = 0;
    for (size_t i = 0; i < t->n; i++) {
        gguf_string s = gguf_string_next(tokens, &at);
        size_t size = decode_piece(t, t->type[i], s, t->bytes + used, &word[i]);
        used += size;
        t->offset[i + 1] = (uint32_t)used;
        n_words += word[i];
        if (word[i] && size > t->longest) t->longest = size;
    }
    if (!table_new(&t->words, n_words) || !table_new(&t->names, t->n - n_words)) goto no_memory;
    for (size_t i = 0; i < t->n; i++) {
        if (word[i])
            table_add(t, &t->words, (int32_t)i);
        else if (t->type[i] != TOKEN_BYTE && t->offset[i + 1] != t->offset[i])
            table_add(t, &t->names, (int32_t)i);
    }
    mem_free(word);
    return PL_OK;

no_memory:
    mem_free(word);
    return pl_fail(e, PL_ERR_MEMORY, "%s: no memory for a vocabulary of %zu tokens", gguf_path(g),
                   t->n);
}

/* ---- special ids ---- */

/* An id from its key; it stays as it is when the file has none. */
static pl_code load_id(const tokenizer *t, const gguf *g, const char *key, bool only_shown,
                       int32_t *id, pl_error *e) {
    uint32_t value, most = only_shown ? UINT32_MAX : (uint32_t)t->n - 1;
    pl_code code;
    if (key == NULL || gguf_find(g, key) == NULL) return PL_OK;
    code = gguf_get_u32(g, key, true, 0, most, &value, e);
    if (code == PL_OK) *id = value < t->n ? (int32_t)value : NO_TOKEN;
    return code;
}

/* The token that is called this, of any type. */
static int32_t find_name(const tokenizer *t, const char *name) {
    char plain[64];
    size_t n = strlen(name);
    int32_t id = piece_find(t, &t->names, name, n);
    if (id != NO_TOKEN) return id;
    return piece_find(t, &t->words, plain, unescape_spaces(name, n, plain));
}

/* Puts an id into the ascending list of end tokens, once. */
static void add_eog(tokenizer *t, int32_t id) {
    size_t i = t->n_eog;
    if (id == NO_TOKEN || tokenizer_is_eog(t, id)) return;
    for (; i > 0 && t->eog[i - 1] > id; i--) t->eog[i] = t->eog[i - 1];
    t->eog[i] = id;
    t->n_eog++;
}

static void remove_eog(tokenizer *t, int32_t id) {
    size_t kept = 0;
    for (size_t i = 0; i < t->n_eog; i++)
        if (t->eog[i] != id) t->eog[kept++] = t->eog[i];
    t->n_eog = kept;
}

/* Where a turn is several messages that each close with <|end|>, that is not the end of it:
 * Harmony's turns end with <|return|> or <|call|>, Solar Open's with <|flush|> or <|calls|>. And in
 * Gemma 4's vocabulary </s> is a tag of HTML. */
static void except_eog(tokenizer *t) {
    bool call = find_name(t, "<|call|>") != NO_TOKEN || find_name(t, "<|calls|>") != NO_TOKEN;
    bool turn = find_name(t, "<|return|>") != NO_TOKEN || find_name(t, "<|flush|>") != NO_TOKEN;
    if (call && turn) {
        int32_t end = find_name(t, "<|end|>");
        remove_eog(t, end);
        if (end != NO_TOKEN && t->eot == end) t->eot = NO_TOKEN;
    }
    if (find_name(t, "<|tool_response>") != NO_TOKEN) remove_eog(t, find_name(t, "</s>"));
}

static pl_code load_ids(tokenizer *t, const gguf *g, pl_error *e) {
    const tokenizer_kind *kind = t->kind;
    pl_code code = PL_OK;
    for (size_t i = 0; i < N_SPECIAL_IDS; i++) *id_field(t, special_ids[i].field) = NO_TOKEN;
    t->bos = kind->bos, t->eos = kind->eos, t->unk = kind->unk;
    t->sep = kind->sep, t->pad = kind->pad, t->mask = kind->mask;
    for (size_t i = 0; i < N_SPECIAL_IDS && code == PL_OK; i++) {
        int32_t *id = id_field(t, special_ids[i].field);
        if ((size_t)*id >= t->n) *id = NO_TOKEN; /* a default */
        code = load_id(t, g, special_ids[i].key, special_ids[i].only_shown, id, e);
        if (code == PL_OK)
            code = load_id(t, g, special_ids[i].older, special_ids[i].only_shown, id, e);
    }
    if (code != PL_OK) return code;

    t->eog = mem_array(N_TOKEN_NAMES + N_SPECIAL_IDS, sizeof *t->eog);
    if (t->eog == NULL)
        return pl_fail(e, PL_ERR_MEMORY, "%s: no memory for the end tokens", gguf_path(g));
    for (size_t i = 0; i < N_TOKEN_NAMES; i++) {
        int32_t id = find_name(t, token_names[i].name);
        if (token_names[i].ends) add_eog(t, id);
        if (token_names[i].field != NO_FIELD && *id_field(t, token_names[i].field) == NO_TOKEN)
            *id_field(t, token_names[i].field) = id;
    }
    /* A completion of code ends with its padding, and where the next file opens. */
    add_eog(t, t->fim_pad);
    add_eog(t, t->fim_rep);
    add_eog(t, t->fim_sep);
    add_eog(t, t->eos);
    add_eog(t, t->eot);
    add_eog(t, t->eom);
    except_eog(t);
    return PL_OK;
}

/* A default without the token it needs is dropped; what the file asks for and does not have is an
 * error. */
static pl_code load_add(const gguf *g, const char *key, const char *id_key, int32_t id, bool *add,
                        pl_error *e) {
    pl_code code = gguf_get_bool(g, key, false, add, e);
    if (code != PL_OK || !*add || id != NO_TOKEN) return code;
    *add = false;
    if (gguf_find(g, key) == NULL) return PL_OK;
    return pl_fail(e, PL_ERR_FORMAT,
                   "%s: key '%s': found true, expected false, as there is no key '%s'",
                   gguf_path(g), key, id_key);
}

pl_code vocabulary_load(tokenizer *t, const gguf *g, pl_error *e) {
    gguf_string template = {NULL, 0};
    pl_code code = load_pieces(t, g, e);
    if (code == PL_OK) code = load_ids(t, g, e);
    if (code == PL_OK)
        code = load_add(g, "tokenizer.ggml.add_bos_token", "tokenizer.ggml.bos_token_id", t->bos,
                        &t->add_bos, e);
    if (code == PL_OK)
        code = load_add(g, "tokenizer.ggml.add_eos_token", "tokenizer.ggml.eos_token_id", t->eos,
                        &t->add_eos, e);
    if (code == PL_OK)
        code = load_add(g, "tokenizer.ggml.add_sep_token", "tokenizer.ggml.seperator_token_id",
                        t->sep, &t->add_sep, e);
    if (t->always_bos) t->add_bos = t->bos != NO_TOKEN;
    if (code == PL_OK)
        code = gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", false, &t->add_space, e);
    if (code == PL_OK) code = gguf_get_string(g, "tokenizer.chat_template", false, &template, e);
    if (code != PL_OK || template.data == NULL) return code;
    t->chat_template = mem_string(template.data, template.size);
    return t->chat_template != NULL
               ? PL_OK
               : pl_fail(e, PL_ERR_MEMORY, "%s: no memory for the chat template", gguf_path(g));
}
