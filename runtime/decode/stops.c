/* stops.c: see stops.h. */
#include "decode/stops.h"

#include <string.h>

#include "base/mem.h"
#include "text/utf8.h"

static pl_code new_stop(stop_string *s, gguf_string text, pl_error *e) {
    s->text = mem_string(text.data, text.size);
    s->fail = mem_array(text.size + 1, sizeof *s->fail);
    s->n = text.size;
    if (!s->text || !s->fail)
        return pl_fail(e, PL_ERR_MEMORY, "no memory for a stop string of %zu bytes", text.size);
    s->fail[0] = 0;
    for (size_t i = 1, k = s->fail[1] = 0; i < s->n; i++) {
        while (k && s->text[i] != s->text[k]) k = s->fail[k];
        if (s->text[i] == s->text[k]) k++;
        s->fail[i + 1] = (uint32_t)k;
    }
    return PL_OK;
}

pl_code stops_new(stop_text *t, const gguf_string *stops, size_t n, pl_error *e) {
    *t = (stop_text){.found = SIZE_MAX};
    t->stops = mem_zarray(n ? n : 1, sizeof *t->stops);
    if (!t->stops) return pl_fail(e, PL_ERR_MEMORY, "no memory for %zu stop strings", n);
    for (size_t i = 0; i < n; i++) {
        t->n_stops = i + 1;
        pl_code rc = new_stop(&t->stops[i], stops[i], e);
        if (rc) return rc;
    }
    return PL_OK;
}

void stops_free(stop_text *t) {
    for (size_t i = 0; i < t->n_stops; i++) {
        mem_free(t->stops[i].text);
        mem_free(t->stops[i].fail);
    }
    mem_free(t->stops);
    text_free(&t->text);
    *t = (stop_text){0};
}

static bool advance(stop_string *s, char c) {
    if (s->matched == s->n) s->matched = s->fail[s->matched];
    while (s->matched && c != s->text[s->matched]) s->matched = s->fail[s->matched];
    if (c == s->text[s->matched]) s->matched++;
    return s->matched == s->n;
}

pl_code stops_feed(stop_text *t, const char *bytes, size_t n, pl_error *e) {
    size_t first = SIZE_MAX, at = t->text.n;
    pl_code rc = text_append(&t->text, bytes, n, e);
    if (rc) return rc;
    for (size_t i = 0; i < t->n_stops; i++)
        for (size_t k = at; k < at + n; k++)
            if (advance(&t->stops[i], t->text.data[k])) {
                size_t begin = k + 1 - t->stops[i].n;
                if (begin < first) {
                    first = begin;
                    t->found = i;
                }
                break;
            }
    if (first != SIZE_MAX) t->text.n = first;
    return PL_OK;
}

void stops_restart(stop_text *t) {
    t->text.n = t->released = 0;
    t->found = SIZE_MAX;
    for (size_t i = 0; i < t->n_stops; i++) t->stops[i].matched = 0;
}

void stops_pass(stop_text *t, const char *s, size_t n) {
    text_append(&t->text, s, n, NULL);
    for (size_t i = 0; i < t->n_stops; i++) {
        stop_string *stop = &t->stops[i];
        for (size_t k = 0; k < n; k++) advance(stop, s[k]);
        if (stop->matched == stop->n) stop->matched = stop->fail[stop->n];
    }
}

size_t stops_certain(const stop_text *t, bool all) {
    size_t end = t->text.n, held = 0;
    if (all || t->found != SIZE_MAX) return end;
    for (size_t i = 0; i < t->n_stops; i++)
        if (t->stops[i].matched > held) held = t->stops[i].matched;
    end -= held < end ? held : end;
    return end - (end ? utf8_incomplete_tail(t->text.data, end) : 0);
}

gguf_string stops_release(stop_text *t, bool all) {
    size_t end = stops_certain(t, all), begin = t->released;
    if (end < begin) end = begin;
    t->released = end;
    return (gguf_string){.data = t->text.n ? t->text.data + begin : "", .size = end - begin};
}
