#!/usr/bin/env python3
"""Writes runtime/text/unicode_data.h from Python's unicodedata (Unicode 14.0 in Python 3.11).

    python3 runtime/text/unicode.py > runtime/text/unicode_data.h
"""
import sys
import unicodedata as u

POINTS = [c for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]


def ranges(name, comment, test):
    runs = []
    for c in POINTS:
        if test(chr(c)):
            if runs and runs[-1][1] == c - 1:
                runs[-1][1] = c
            else:
                runs.append([c, c])
    table(name, "unicode_range", comment, [f"{{0x{a:X}, 0x{b:X}}}" for a, b in runs])


def table(name, kind, comment, items):
    print(f"\n/* {comment} */\nstatic const {kind} {name}[] = {{")
    line = "   "
    for item in items:
        if len(line) + len(item) + 2 > 100:
            print(line)
            line = "   "
        line += " " + item + ","
    print(line + "\n};")


def lower(c):
    """The simple mapping: of one character to one."""
    low = chr(c).lower()
    return ord(low) if len(low) == 1 else ord(low[0])  # U+0130 alone has a longer one


def main():
    print(f"""/* unicode_data.h: classes and mappings of characters, Unicode {u.unidata_version}; made by unicode.py. */
#ifndef PERILUNE_TEXT_UNICODE_DATA_H
#define PERILUNE_TEXT_UNICODE_DATA_H

#include <stdint.h>

typedef struct {{
    uint32_t first, last;
}} unicode_range;
typedef struct {{
    uint32_t first, last, step; /* every step-th of these */
    int32_t add;
}} unicode_shift;
typedef struct {{
    uint32_t from, to[2]; /* to[1] 0: one character */
}} unicode_pair;""")
    ranges("spaces", "White_Space (PropList.txt).", lambda c: c.isspace() and not "\x1c" <= c <= "\x1f")
    ranges("controls", "Cc, Cf, Co.", lambda c: u.category(c) in ("Cc", "Cf", "Co"))
    ranges("accents", "Mn.", lambda c: u.category(c) == "Mn")
    ranges("punctuation", "P.", lambda c: u.category(c)[0] == "P")

    runs = []
    for c in POINTS:
        add = lower(c) - c
        if add == 0:
            continue
        last = runs[-1] if runs else None
        if last and last[3] == add and (c - last[1] == last[2] or (last[0] == last[1] and c - last[1] <= 2)):
            last[2] = c - last[1]
            last[1] = c
        else:
            runs.append([c, c, 1, add])
    table("lower", "unicode_shift", "Simple lower-case mappings.",
          [f"{{0x{a:X}, 0x{b:X}, {s}, {d}}}" for a, b, s, d in runs])

    pairs = []
    for c in POINTS:
        d = u.decomposition(chr(c))
        if d and not d.startswith("<"):
            to = [int(x, 16) for x in d.split()] + [0]
            pairs.append(f"{{0x{c:X}, {{0x{to[0]:X}, 0x{to[1]:X}}}}}")
    table("decompositions", "unicode_pair",
          "Canonical decompositions, one step; Hangul's are arithmetic.", pairs)
    print("\n#endif")


if __name__ == "__main__":
    main()
