/* tokenizer.h: text to token ids and back, as a GGUF file's own metadata defines it
 * (tokenizer.ggml.*).
 *
 * A tokenizer is immutable once made and may be used by any number of threads. Text is any bytes:
 * what is not UTF-8 is encoded byte by byte. Token ids are the model's own, from 0. */
#ifndef PERILUNE_TEXT_TOKENIZER_H
#define PERILUNE_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "gguf/gguf.h"

typedef struct tokenizer tokenizer;

/* tokenizer.ggml.token_type, llama.cpp's llama_token_type */
typedef enum {
    TOKEN_UNDEFINED = 0, TOKEN_NORMAL = 1, TOKEN_UNKNOWN = 2, TOKEN_CONTROL = 3,
    TOKEN_USER_DEFINED = 4, TOKEN_UNUSED = 5, TOKEN_BYTE = 6
} token_type;

/* A growable list of ids; zero-initialised is empty. Freed with id_list_free. */
typedef struct { int32_t *ids; size_t n, capacity; } id_list;
pl_code id_list_push(id_list *list, int32_t id, pl_error *e);
void id_list_free(id_list *list);

/* A growable byte buffer; zero-initialised is empty. */
typedef struct { char *data; size_t n, capacity; } text_buffer;
pl_code text_append(text_buffer *b, const char *s, size_t n, pl_error *e);
void text_free(text_buffer *b);

/* Reads the tokenizer from g's metadata; g may be closed afterwards. PL_ERR_UNSUPPORTED names a
 * tokenizer model or pre-split type that this build lacks; PL_ERR_FORMAT what is missing, of a
 * wrong type, or out of range. */
pl_code tokenizer_new(const gguf *g, tokenizer **out, pl_error *e);
void tokenizer_free(tokenizer *t);

typedef struct {
    /* control tokens written in the text become their ids; behind each of these and of user-defined
     * ones, SentencePiece's leading space is added again */
    bool special;
    bool bos;           /* put BOS in front when the model wants one (add_bos_token) */
    bool start;         /* the text opens a sequence: SentencePiece's leading space is added */
    bool eos; /* put EOS behind when the model wants it (add_eos), or else SEP (add_sep) */
} encode_options;

/* Appends the ids of text[0..n) to *out. User-defined tokens are split off first, always, the
 * longest where several begin. Phi-3's user-defined and control tokens take the white space behind
 * them, some embedding models' mask that in front of it. A byte that the vocabulary has no token
 * for becomes its unknown token, or nothing when there is none. On an error *out is as it was. Time
 * is O(n log n) for any text. */
pl_code tokenizer_encode(const tokenizer *t, const char *text, size_t n, encode_options options,
                         id_list *out, pl_error *e);

/* Appends the bytes that ids[0..n) stand for. Control tokens have no text unless `special`. With
 * `start`, the leading space that encode adds at the start is taken off again: decode undoes encode
 * but for bytes without a token and, in SentencePiece vocabularies, U+2581, which is a space there.
 * WordPiece and Unigram with a normalization lose case, accents, spaces: what comes back encodes to
 * the same ids.
 * An id out of range is PL_ERR_ARGUMENT; on an error *out is as it was. */
pl_code tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t n, bool special, bool start,
                         text_buffer *out, pl_error *e);

/* The bytes of one token (for byte and byte-level tokens, the decoded bytes), valid as long as t.
 * Control and unknown tokens: their name, as "<|im_end|>". id must be in range. */
gguf_string tokenizer_piece(const tokenizer *t, int32_t id);
token_type tokenizer_type(const tokenizer *t, int32_t id);
/* Does the token say anything? Control and unknown tokens do not. */
bool tokenizer_has_text(const tokenizer *t, int32_t id);
/* The id of a token by its name or bytes as tokenizer_piece gives them, or as the file spells it;
 * -1: none. */
int32_t tokenizer_id(const tokenizer *t, const char *piece, size_t n);

size_t tokenizer_size(const tokenizer *t);     /* vocabulary entries */
bool tokenizer_is_eog(const tokenizer *t, int32_t id);

typedef struct {
    const char *model;     /* "llama", "gpt2", "gemma4", "whitespace", "bert", "t5" */
    const char *pre;       /* pre-split type, "" when none */
    int32_t bos, eos, unk, sep, pad, eot, eom, mask, cls; /* -1: none */
    /* Code models' ids to fill in the middle: prefix, suffix, middle, padding, repository, file. */
    int32_t fim_pre, fim_suf, fim_mid, fim_pad, fim_rep, fim_sep;
    bool add_bos, add_eos, add_sep;
    bool add_space;        /* in front of a text that opens a sequence */
    const int32_t *eog; size_t n_eog;      /* all end-of-generation ids, ascending */
    const char *chat_template;             /* NULL: none */
} tokenizer_info;
tokenizer_info tokenizer_describe(const tokenizer *t);

#endif
