/* prefix.h: a text that new tokens must begin by spelling, in whatever tokens the model likes best:
 * before each pick, all are masked but those that are a beginning of what is left to be spelled,
 * and after which the rest can still be spelled, and those that begin with all of it. So a text
 * that was forced needs not end where a token does (token healing: guidance, S. Lundberg 2023). */
#ifndef PERILUNE_DECODE_PREFIX_H
#define PERILUNE_DECODE_PREFIX_H

#include "text/pieces.h"

typedef struct {
    const tokenizer *tok;
    const pieces *pieces;   /* of tok */
    char *text;             /* [n] `lead` spaces, then the prefix */
    size_t n, lead, spelled;
    bool open;              /* it is not spelled, and still to be */
    bool *spells;           /* [n + 1] can the text from here on be spelled? */
    uint64_t *barred, *next; /* [(n_vocab + 63) / 64] bits: tokens that end a generation, and so may
                              * not spell it; tokens that may come now */
} prefix;

/* Copies text [n]; p is zero-initialised. `silent`: no token before has text, so that the first one
 * brings SentencePiece's leading space, which is no part of the text. stop_tokens [n_stop_tokens],
 * and with `eog` the tokens that end a generation, may not spell it. A prefix that the vocabulary
 * cannot spell is refused. prefix_free also after a failure. */
pl_code prefix_new(prefix *p, const tokenizer *t, const char *text, size_t n, bool silent,
                   const int32_t *stop_tokens, size_t n_stop_tokens, bool eog, pl_error *e);
void prefix_free(prefix *p);

/* Masks the logits [n_vocab] of all tokens that may not come now; nothing once it is spelled. */
void prefix_mask(prefix *p, float *logits);
/* A token was chosen in spite of all masks: the longest one that may come; itself, when it may. */
int32_t prefix_insist(prefix *p, int32_t id);
/* The token was taken. How many bytes of its text spell the prefix: the rest is new. One that does
 * not spell it ends it. */
size_t prefix_take(prefix *p, int32_t id);
/* As in the beginning; or never mind. */
void prefix_restart(prefix *p);
void prefix_end(prefix *p);
/* What tokens have spelled of it: its bytes from `from` on. A leading space is not among them. */
gguf_string prefix_spelled(const prefix *p, size_t from);

#endif
