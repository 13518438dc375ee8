/* pieces.h: the pieces of a vocabulary in the order of their bytes, so that the tokens which begin
 * with given bytes stand side by side: what a forced text may be spelled with. A piece is what
 * tokenizer_decode gives for its token alone; tokens without text are left out.
 *
 * A range of them is narrowed byte by byte, as one goes down a trie: pieces_step costs two binary
 * searches in what is left. Immutable, for any number of threads. */
#ifndef PERILUNE_TEXT_PIECES_H
#define PERILUNE_TEXT_PIECES_H

#include "text/tokenizer.h"

typedef struct pieces pieces;

/* The tokenizer's own, made at the first call, and freed with it. */
pl_code tokenizer_pieces(const tokenizer *t, const pieces **out, pl_error *e);
void pieces_free(pieces *p); /* for tokenizer_free; NULL is fine */

size_t pieces_count(const pieces *p);
size_t pieces_longest(const pieces *p); /* bytes */

/* Those that have the same first `depth` bytes, at places first .. first + n - 1. */
typedef struct { size_t first, n, depth; } piece_range;
piece_range pieces_all(const pieces *p);
/* Of the range, those whose next byte is this one. */
piece_range pieces_step(const pieces *p, piece_range r, char byte);
/* How many of the range are no longer than its depth: they come first. */
size_t pieces_exact(const pieces *p, piece_range r);
int32_t pieces_id(const pieces *p, size_t place); /* equal pieces: the lower id first */

/* How many of the last of ids[0..n) together spell the beginning of a longer piece: the longest
 * such run, in which every token has text. */
size_t pieces_unfinished(const pieces *p, const int32_t *ids, size_t n);

#endif
