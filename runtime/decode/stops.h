/* stops.h: the text of a generation as it grows: which of it is certain, and where a stop string
 * ends it. Stops are found across token boundaries with one automaton per stop string (Knuth,
 * Morris, Pratt 1977), so a byte costs the same however long the stops are. */
#ifndef PERILUNE_DECODE_STOPS_H
#define PERILUNE_DECODE_STOPS_H

#include <stdbool.h>

#include "text/tokenizer.h"

typedef struct {
    char *text;
    size_t n;
    uint32_t *fail;     /* [n + 1]: the longest border of each prefix */
    uint32_t matched;   /* of its bytes, at the end of what was fed */
} stop_string;

typedef struct {
    stop_string *stops;
    size_t n_stops;
    text_buffer text;       /* of the new tokens; when a stop was found, cut before it */
    size_t released;        /* bytes handed out by stops_release */
    size_t found;           /* index of the stop that ended it; SIZE_MAX: none */
} stop_text;

/* copies; t is zero-initialised */
pl_code stops_new(stop_text *t, const gguf_string *stops, size_t n, pl_error *e);
void stops_free(stop_text *t);

/* Appends the bytes of one more token; where there is room for them, it cannot fail. When they
 * complete a stop, the text is cut before the one that begins first (of those, the one listed
 * first) and `found` is set. */
pl_code stops_feed(stop_text *t, const char *s, size_t n, pl_error *e);
/* Another text, empty and not released; its room stays. */
void stops_restart(stop_text *t);
/* Appends bytes, for which there is room, in which no stop ends the text; one may begin there. */
void stops_pass(stop_text *t, const char *s, size_t n);

/* How many bytes of the text are certain: whole UTF-8 characters that no stop can begin with; at
 * the end (`all`) everything. */
size_t stops_certain(const stop_text *t, bool all);

/* The bytes that became certain since the last call. */
gguf_string stops_release(stop_text *t, bool all);

#endif
