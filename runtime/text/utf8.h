/* utf8.h: UTF-8 (RFC 3629) without trust: text from scripts and models may be any bytes. */
#ifndef PERILUNE_TEXT_UTF8_H
#define PERILUNE_TEXT_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Decodes one character at s (n >= 1 bytes left). Returns its length, 1 to 4, and the code point;
 * for a byte that starts no valid sequence (overlong, surrogate, out of range, cut off) 1 and
 * UTF8_BAD. */
#define UTF8_BAD 0xFFFFFFFFu
size_t utf8_decode(const char *s, size_t n, uint32_t *point);
/* Writes a code point; returns its length, 0 for what is none (surrogates, above U+10FFFF). */
size_t utf8_encode(uint32_t point, char out[4]);

/* How many bytes at the end of s are the start of a character that is not complete yet (0 to 3):
 * what a stream holds back. Bytes that can never become a character are not held back. */
size_t utf8_incomplete_tail(const char *s, size_t n);

#endif
