/* internal.h: what the files of text/ share: a tokenizer's tables, the state of one encode call.
 *
 *   vocabulary.c  reads the pieces, their types, special and end ids from a file's metadata
 *   special.c     finds tokens that are written out in a text (user-defined, control)
 *   presplit.c    the regexes that cut a text into words, for byte-level BPE
 *   merge.c       joins neighbouring symbols in the order of their ranks
 *   bpe.c, spm.c, wordpiece.c, unigram.c
 *                 a text without special tokens to ids, the four ways
 *   charsmap.c    SentencePiece's normalization, for unigram.c
 *   unicode.c     case, accents and classes of characters, for wordpiece.c
 *   tokenizer.c   the public functions, over these
 *
 *   pieces.c      the vocabulary in the order of its bytes
 *
 * A struct tokenizer does not change once tokenizer_new has returned it, but for `settled` and
 * `index`, which are atomic and only remember what would be computed again. All that an encode call
 * changes is in its encoder. */
#ifndef PERILUNE_TEXT_INTERNAL_H
#define PERILUNE_TEXT_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/hash.h"
#include "text/tokenizer.h"

#define TEXT_MAX ((size_t)INT32_MAX - 64) /* bytes that one call encodes; positions are 32 bits */
#define NO_TOKEN (-1)

/* ---- tables ---- */

/* Pieces to ids: open addressing, at most two thirds full. The tag is half of the hash, so that
 * nearly every comparison of bytes succeeds. */
typedef struct {
    uint32_t tag;
    int32_t id; /* NO_TOKEN: free */
} piece_slot;
typedef struct {
    piece_slot *slots;
    size_t mask;
} piece_table;

/* Two neighbouring tokens to what they merge into. */
typedef struct {
    int32_t left, right;
    uint32_t rank;
    int32_t merged; /* NO_TOKEN: free */
} pair_slot;
typedef struct {
    pair_slot *slots;
    size_t mask;
} pair_table;

/* A trie of pieces. Node 0 is the root; edges are hashed. */
typedef struct {
    uint32_t node, byte;
    uint32_t child; /* 0: free */
} trie_edge;
typedef struct {
    trie_edge *edges;
    size_t mask;
    int32_t *token; /* [n_nodes] the token that ends at this node, or NO_TOKEN */
    uint32_t last;  /* the newest node */
} piece_trie;

/* The tokens that are looked for in a text as they are written. */
typedef struct {
    piece_trie trie;
    uint8_t first[256]; /* which kinds open with this byte: SPECIAL_* */
} special_trie;
enum { SPECIAL_USER = 1, SPECIAL_CONTROL = 2 };

typedef struct presplit presplit; /* presplit.c */
typedef struct charsmap charsmap; /* charsmap.c */
typedef struct encoder encoder;

/* What tokenizer.ggml.model decides. */
typedef struct {
    const char *name;
    pl_code (*load)(tokenizer *t, const gguf *g, pl_error *e);
    /* `opens`: the text opens a sequence, and add_space is set. */
    pl_code (*encode)(encoder *c, const char *text, size_t n, bool opens);
    int32_t bos, eos, unk, sep, pad, mask; /* for files that do not give them; NO_TOKEN: none */
    bool add_bos, add_eos, add_sep, add_space;
    bool byte_level; /* pieces are spelled in bytes; otherwise in text with U+2581 for a space */
} tokenizer_kind;

/* The pieces in the order of their bytes, once somebody has asked for them (pieces.c). */
typedef struct { struct pieces *_Atomic made; } piece_index;

struct tokenizer {
    const tokenizer_kind *kind;
    char *model, *pre, *chat_template; /* chat_template may be NULL */
    bool byte_level;                   /* how pieces are spelled; see tokenizer_kind */
    uint64_t seed; /* of the hash tables: no file can know which of its names collide */

    size_t n;          /* vocabulary entries */
    char *bytes;       /* of all pieces */
    uint32_t *offset;  /* [n + 1] piece i is bytes[offset[i] .. offset[i + 1]) */
    uint8_t *type;     /* [n] token_type */
    piece_table words; /* what text may become: normal pieces */
    piece_table names; /* the others, by the names they are written with */
    int32_t byte_id[256];
    size_t longest;        /* bytes of the longest of words */
    atomic_uchar *settled; /* [n] does the piece, as a word, become itself: 0 unknown, SETTLED_* */

    special_trie special;
    int32_t strips_front; /* the token that takes the white space in front of it, or NO_TOKEN */
    bool strip_behind;    /* whether nearly all of them take that behind them */

    presplit *split;    /* byte-level: the words, */
    pair_table pairs;   /* their merges, */
    bool ignore_merges; /* whether a word that is a token is taken as it is, */
    bool whole_breaks;  /* or one of line breaks only; */
    bool drop_spaces;   /* whether white space has no tokens; */
    bool always_bos;    /* add_bos, whatever the file says */

    uint32_t *priority; /* SentencePiece: [n] the order in which pieces are formed, lowest first */
    bool add_space;     /* a space goes in front of a text that opens a sequence */
    bool words_apart;   /* not byte-level: words encode one by one (have_words_apart) */

    piece_trie pieces;  /* Unigram: the words, */
    float *score;       /* [n] their scores, */
    float unknown;      /* that of a character without one, */
    charsmap *map;      /* the normalization (NULL: none), */
    bool merge_spaces;  /* and whether spaces become one, and none at the ends */

    bool lower, strip;  /* WordPiece, BPE without spaces: in lower case; without accents */

    int32_t bos, eos, unk, sep, pad, eot, eom, mask, cls; /* NO_TOKEN: none */
    int32_t fim_pre, fim_suf, fim_mid, fim_pad, fim_rep, fim_sep;
    bool add_bos, add_eos, add_sep;
    int32_t *eog; /* [n_eog] ascending */
    size_t n_eog;
    piece_index *index;
};
enum { SETTLED_YES = 1, SETTLED_NO = 2 };

static inline gguf_string piece_of(const tokenizer *t, int32_t id) {
    return (gguf_string){t->bytes + t->offset[id], t->offset[id + 1] - t->offset[id]};
}

/* A hash of two numbers: multiply and fold, twice (after the finalizer of MurmurHash3). */
static inline uint64_t hash_pair(const tokenizer *t, uint32_t a, uint32_t b) {
    uint64_t x = ((uint64_t)a << 32 | b) ^ t->seed;
    x = (x ^ x >> 33) * UINT64_C(0xFF51AFD7ED558CCD);
    x = (x ^ x >> 33) * UINT64_C(0xC4CEB9FE1A85EC53);
    return x ^ x >> 33;
}

/* The id of a piece, or NO_TOKEN. */
static inline int32_t piece_find(const tokenizer *t, const piece_table *table, const char *s,
                                 size_t n) {
    uint64_t hash = hash_bytes(s, n, t->seed);
    uint32_t tag = (uint32_t)(hash >> 32);
    for (size_t i = hash & table->mask;; i = (i + 1) & table->mask) {
        const piece_slot *slot = &table->slots[i];
        if (slot->id == NO_TOKEN) return NO_TOKEN;
        if (slot->tag == tag) {
            gguf_string piece = piece_of(t, slot->id);
            if (piece.size == n && memcmp(piece.data, s, n) == 0) return slot->id;
        }
    }
}

/* ---- vocabulary.c ---- */

/* Each frees nothing on an error: tokenizer_free does. */
pl_code vocabulary_load(tokenizer *t, const gguf *g, pl_error *e);
/* The bytes that a byte-level spelling stands for ("Ġthe": " the"); *size 0 to n. False when a
 * character of it stands for no byte. `out` has room for n bytes. */
bool spelling_to_bytes(const char *s, size_t n, char *out, size_t *size);
/* 0..255 for a byte token's spelling, "<0x00>" to "<0xFF>"; otherwise -1. */
int spelling_to_byte(const char *s, size_t n);
/* Turns U+2581, which stands for a space in SentencePiece vocabularies, into one. Returns the bytes
 * written. */
size_t unescape_spaces(const char *s, size_t n, char *out);

/* Has no piece a space behind another character? Then none reaches across the start of a word, and
 * words can be encoded one by one. SentencePiece's training sees to that. */
bool have_words_apart(const tokenizer *t);
/* The end of the word that starts at s[i]: its spaces, and what follows them up to the next. */
static inline size_t word_end(const char *s, size_t n, size_t i) {
    const char *space;
    while (i < n && s[i] == ' ') i++;
    space = i < n ? memchr(s + i, ' ', n - i) : NULL;
    return space != NULL ? (size_t)(space - s) : n;
}

/* tokenizer.ggml.scores, floats or integers, at least one for each token; NaN is refused. *scores
 * is NULL when the file has none. */
pl_code load_scores(const tokenizer *t, const gguf *g, const gguf_value **scores, pl_error *e);

/* ---- special.c ---- */

/* Room for pieces of `bytes` bytes together. trie_free also after a failure. */
pl_code trie_new(piece_trie *trie, size_t bytes, pl_error *e);
void trie_free(piece_trie *trie);
/* A piece that is there already stays. */
void trie_add(const tokenizer *t, piece_trie *trie, gguf_string piece, int32_t id);
/* The edge from a node by a byte, or the free place for it (child 0). */
static inline trie_edge *trie_step(const tokenizer *t, const piece_trie *trie, uint32_t node,
                                   unsigned char byte) {
    size_t i = (size_t)hash_pair(t, node, byte) & trie->mask;
    while (trie->edges[i].child != 0 &&
           (trie->edges[i].node != node || trie->edges[i].byte != byte))
        i = (i + 1) & trie->mask;
    return &trie->edges[i];
}

pl_code special_build(tokenizer *t, pl_error *e);
/* The first token written out in text[0..n): its id and where it is, or NO_TOKEN. At one place the
 * longest wins, as in SentencePiece and Hugging Face's tokenizers. kinds: SPECIAL_*. */
int32_t special_find(const tokenizer *t, const char *text, size_t n, unsigned kinds, size_t *at,
                     size_t *size);

/* By the names in the file: which of them take white space out of the text. */
void special_load_strips(tokenizer *t, const gguf *g);
/* How much of text[0..n), in front of the token, is left; how much behind it goes. */
size_t special_strip_front(const tokenizer *t, int32_t id, const char *text, size_t n);
size_t special_strip_behind(const tokenizer *t, int32_t id, const char *text, size_t n);

/* ---- presplit.c ---- */

typedef pl_code (*presplit_piece)(void *context, const char *s, size_t n);
typedef struct {
    bool ignore_merges; /* a word that is a token is taken as it is */
    bool add_bos, always_bos; /* unless the file says otherwise; whatever it says */
    bool add_sep;             /* SEP behind the text, unless the file says otherwise */
    bool spelled_as_text;     /* pieces are characters, with U+2581 for a space, not bytes */
    bool whole_breaks;        /* a word of line breaks that is a token is taken as it is */
    bool drops_spaces;        /* white space has no tokens */
} presplit_traits;

/* By the name in tokenizer.ggml.pre; "" is "default". */
pl_code presplit_new(const char *name, presplit **out, presplit_traits *traits, pl_error *e);
void presplit_free(presplit *p); /* NULL is fine */
/* The first name of row i of the table; NULL behind the last. */
const char *presplit_name(size_t i, size_t *size);

/* What one encode call needs to run it; zero-initialised. */
typedef struct {
    void *match_data, *match_context, *jit_stack; /* PCRE2's */
    char *text; /* a copy of what is cut, between bytes that are ours */
    size_t capacity;
    bool interpret; /* without the JIT, for tests: the words are the same */
} presplit_state;
void presplit_state_free(presplit_state *state);

/* Hands the words of text[0..n), which is valid UTF-8, to `piece`, in order; together they are the
 * text, though not in its memory. An error of `piece` ends it and is returned. */
pl_code presplit_run(const presplit *p, presplit_state *state, const char *text, size_t n,
                     presplit_piece piece, void *context, pl_error *e);

/* ---- merge.c ---- */

#define MERGE_NEVER UINT32_MAX /* the rank of a pair that does not merge */
#define MERGE_FAN 16           /* ranks per block of the tree over them */
#define MERGE_LOCAL 64         /* symbols that need no allocation */

/* A list of symbols over the bytes of one word: a symbol is known by the position of its first
 * byte. */
typedef struct {
    int32_t *id;    /* of the symbol at this position; the caller's to set */
    uint32_t *next; /* where the next symbol begins, n behind the last; the caller's to set */
    uint32_t *prev; /* UINT32_MAX before the first; the caller's to set */
    uint32_t *rank; /* of joining this symbol with the next; the tree's levels behind one another */
    int32_t *merged; /* what they would become */
    size_t capacity; /* positions */
    void *block;     /* NULL while `local` is large enough */
    uint32_t local[5 * MERGE_LOCAL + MERGE_FAN];
} merge_space;

void merge_space_init(merge_space *m);
void merge_space_free(merge_space *m);
/* Makes room for a word of n bytes, n <= TEXT_MAX. */
pl_code merge_space_fit(merge_space *m, size_t n, pl_error *e);

/* The rank of joining the symbol at `left` with its successor, which exists; lower ranks are joined
 * first. */
typedef uint32_t (*merge_rank)(const void *context, const merge_space *m, uint32_t left,
                               int32_t *merged);

/* Joins the pair of the lowest rank, the leftmost of equals, until no pair merges. O(n log n). */
void merge_run(merge_space *m, size_t n, merge_rank rank, const void *context);

/* ---- one encode call ---- */

struct encoder {
    const tokenizer *t;
    id_list *out;
    merge_space symbols;
    presplit_state split;
    text_buffer text; /* the text as it is matched, where that is not the caller's */
    text_buffer made; /* the text on its way there */
    void *steps;      /* unigram.c's */
    size_t steps_capacity;
    pl_error *e;
};

/* A piece that is one symbol of the model's, or else what its bytes become: a byte token each, or
 * one unknown token when the model has one that is no control token, or nothing: the vocabulary
 * cannot say it. */
pl_code encode_bytes(encoder *c, const char *s, size_t n);
bool has_bytes(const tokenizer *t, const char *s, size_t n); /* a byte token for each */

pl_code bpe_load(tokenizer *t, const gguf *g, pl_error *e);
pl_code bpe_encode(encoder *c, const char *text, size_t n, bool opens);
pl_code spm_load(tokenizer *t, const gguf *g, pl_error *e);
pl_code spm_encode(encoder *c, const char *text, size_t n, bool opens);
pl_code unigram_load(tokenizer *t, const gguf *g, pl_error *e);
pl_code unigram_encode(encoder *c, const char *text, size_t n, bool opens);
pl_code wordpiece_load(tokenizer *t, const gguf *g, pl_error *e);
pl_code wordpiece_encode(encoder *c, const char *text, size_t n, bool opens);
void load_byte_ids(tokenizer *t); /* byte_id from the tokens of type TOKEN_BYTE */

/* ---- charsmap.c ---- */

/* tokenizer.ggml.precompiled_charsmap; *out is NULL when the file has none. */
pl_code charsmap_load(const gguf *g, charsmap **out, pl_error *e);
void charsmap_free(charsmap *map); /* NULL is fine */
/* What the longest beginning of s[0..n), n >= 1, that the map knows becomes; *used: its bytes, 0
 * when it knows none. */
gguf_string charsmap_find(const charsmap *map, const char *s, size_t n, size_t *used);

/* ---- unicode.c ---- */

#define DECOMPOSED_MAX 4
/* The canonical decomposition; writes up to DECOMPOSED_MAX characters, returns how many. */
size_t unicode_decompose(uint32_t point, uint32_t *out);
uint32_t unicode_lower(uint32_t point);
bool unicode_is_space(uint32_t point);       /* White_Space */
bool unicode_is_control(uint32_t point);     /* Cc, Cf, Co */
bool unicode_is_accent(uint32_t point);      /* Mn */
bool unicode_is_punctuation(uint32_t point); /* P */

#endif
