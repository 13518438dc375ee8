/* error.c: filling a pl_error. It owns no memory. Whatever bytes a file or path put into a message,
 * what comes out is one line of valid UTF-8: any message can go to a terminal or a script. */
#include "base/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the UTF-8 character at s (NUL-terminated, so a short one ends at the NUL), 0 when it is
 * not a valid one: Unicode 15, table 3-7. */
static size_t utf8_length(const unsigned char *s) {
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (s[0] > 0xF4) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F)) return 0;
    if ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F)) return 0;
    return n;
}

/* Control characters become spaces, bytes that are no UTF-8 become '?', and a character that the
 * end of the buffer cut in two is dropped. */
static void make_one_line(char *message, bool cut) {
    unsigned char *p = (unsigned char *)message;
    while (*p != '\0') {
        size_t n = utf8_length(p);
        if (n == 0) {
            if (cut && *p >= 0xC2 && strlen((char *)p) < 4) {
                *p = '\0';
                return;
            }
            *p = '?';
            n = 1;
        } else if (*p < 0x20 || *p == 0x7F) {
            *p = ' ';
        }
        p += n;
    }
}

pl_code pl_fail(pl_error *e, pl_code code, const char *format, ...) {
    char message[PL_ERROR_MESSAGE_MAX]; /* not e's own, which may be among the arguments */
    va_list args;
    int n;
    if (e == NULL) return code;
    va_start(args, format);
    n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (n < 0) message[0] = '\0';
    make_one_line(message, n >= (int)sizeof message);
    e->code = code;
    memcpy(e->message, message, sizeof message);
    return code;
}

pl_code pl_error_prefix(pl_error *e, const char *format, ...) {
    char message[PL_ERROR_MESSAGE_MAX];
    va_list args;
    int n;
    if (e == NULL) return PL_ERR_ARGUMENT;
    va_start(args, format);
    n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (n < 0) message[0] = '\0';
    return pl_fail(e, e->code, "%s: %s", message, e->message);
}

const char *pl_code_name(pl_code code) {
    switch (code) {
    case PL_OK: return "ok";
    case PL_ERR_MEMORY: return "memory";
    case PL_ERR_IO: return "io";
    case PL_ERR_FORMAT: return "format";
    case PL_ERR_UNSUPPORTED: return "unsupported";
    case PL_ERR_ARGUMENT: return "argument";
    case PL_ERR_CONTEXT: return "context";
    case PL_ERR_POOL: return "pool";
    case PL_ERR_CLOSED: return "closed";
    case PL_ERR_CANCELLED: return "cancelled";
    case PL_ERR_MISMATCH: return "mismatch";
    case PL_ERR_CALLBACK: return "callback";
    }
    return "?";
}
