#!/usr/bin/env python3
"""Writes tests/c/presplit_cases.txt: texts, and how each pre-split type cuts them.

    python3 tests/presplit_cases.py > tests/c/presplit_cases.txt      (Debian: python3-regex)
    python3 tests/presplit_cases.py 500 > more.txt                    500 random texts a type

The patterns are the models' own (tokenizer.json, or the source that runtime/text/presplit.c names),
before any rewriting there, and run in another engine: Python's `regex`. Each pattern cuts the
pieces that the one before left: a match is a piece, and so is what lies between two. A line is a
type's first name, a tab, and the pieces with a broken bar (U+00A6) between them; \\n, \\r, \\t,
\\\\ and \\xHH (a byte) are escapes.
"""
import random
import sys

import regex

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
KIMI = (r"(?V1)[\p{Han}]+"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CJK = "[一-龥\u0800-一가-\ud7ff]+"
DEEPSEEK_3 = ["\\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+"]
DEEPSEEK_WORDS = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
AFMOE_SCRIPTS = ("[一-\u9fff㐀-\u4dbf\uf900-\ufaff\u3040-ゟ゠-ヿ･-ﾟ⼀-\u2fdf"
                 "เ-\u0e7f\u0e80-\u0effក-\u17ffက-႟ꩠ-ꩿꧠ-\ua9ff가-\ud7afᄀ-ᇿ]+")
BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"
PUNCTUATION = r"[\p{P}$+<=>^~|`]+"
# As runs of code points: several do not survive a tool that normalizes text.
CASED = "".join(f"{chr(a)}-{chr(b)}" for a, b in [
    (0x41, 0x5A), (0x61, 0x7A), (0xB5, 0xB5), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x1BA), (0x1BC, 0x1BF),
    (0x1C4, 0x293), (0x295, 0x2AF), (0x370, 0x373), (0x376, 0x377), (0x37B, 0x37D), (0x37F, 0x37F),
    (0x386, 0x386), (0x388, 0x38A), (0x38C, 0x38C), (0x38E, 0x3A1), (0x3A3, 0x3F5), (0x3F7, 0x481),
    (0x48A, 0x52F), (0x531, 0x556), (0x10A0, 0x10C5), (0x13A0, 0x13F5), (0x13F8, 0x13FD),
    (0x1C90, 0x1CBA), (0x1CBD, 0x1CBF), (0x1D00, 0x1D2B), (0x1D6B, 0x1D77), (0x1D79, 0x1D9A),
    (0x1E00, 0x1F15), (0x1F18, 0x1F1D), (0x1F20, 0x1F45), (0x1F48, 0x1F4D), (0x1F50, 0x1F57),
    (0x1F59, 0x1F59), (0x1F5B, 0x1F5B), (0x1F5D, 0x1F5D), (0x1F5F, 0x1F7D), (0x1F80, 0x1FB4),
    (0x1FB6, 0x1FBC), (0x1FBE, 0x1FBE), (0x1FC2, 0x1FC4), (0x1FC6, 0x1FCC), (0x1FD0, 0x1FD3),
    (0x1FD6, 0x1FDB), (0x1FE0, 0x1FEC), (0x1FF2, 0x1FF4), (0x1FF6, 0x1FFC), (0x2102, 0x2102),
    (0x2107, 0x2107), (0x210A, 0x2113), (0x2115, 0x2115), (0x2119, 0x211D), (0x2124, 0x2124),
    (0x2126, 0x2126), (0x2128, 0x2128), (0x212A, 0x212D), (0x212F, 0x2134), (0x2139, 0x2139),
    (0x213C, 0x213F), (0x2145, 0x2149), (0x214E, 0x214E), (0x2183, 0x2184), (0x2C00, 0x2C7B),
    (0x2C7E, 0x2CE4), (0x2CEB, 0x2CEE), (0x2CF2, 0x2CF3), (0xA640, 0xA66D), (0xA680, 0xA69B),
    (0xA722, 0xA76F), (0xA771, 0xA787), (0xA78B, 0xA78E), (0xAB70, 0xABBF), (0xFB00, 0xFB06),
    (0xFB13, 0xFB17), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A), (0x10400, 0x1044F), (0x104B0, 0x104D3),
    (0x104D8, 0x104FB), (0x10C80, 0x10CB2), (0x10CC0, 0x10CF2), (0x118A0, 0x118DF), (0x1E900, 0x1E943)])

TYPES = {
    "gpt-2": [GPT2],
    "roberta-bpe": [GPT2],
    "starcoder": [r"\p{N}", GPT2],
    "llama-bpe": [LLAMA3],
    "dbrx": [LLAMA3],
    "jais-2": [LLAMA3.replace(r"|\s+(?!\S)|\s+", "".join(
        rf"|\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4)) + r"|\s{1,2}(?!\S)|\s{1}")],
    "qwen2": [QWEN2],
    "qwen35": [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
               r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "ufakzeka": [QWEN2.split("|", 7)[7]],
    "laguna": [r"[^\n]+|[\n]+", QWEN2],
    "minicpm5": [r"\p{N}{1,3}", LLAMA3.replace("{1,3}", "+")],
    "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*"
                   r"|\s*[\r\n]|\s+(?!\S)|\s+"],
    "seed-coder": [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}"
                   r"| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "exaone-moe": [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
                   r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"],
    "tekken": [TEKKEN],
    "gpt-4o": [O200K],
    "granite-embed-multi-97m": [O200K],
    "youtu": ["[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u3040-ゟ゠-ヿ]+",
              O200K.replace("{1,3}", "")],
    "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", O200K],
    "kimi-k2": [KIMI],
    "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    "deepseek-v3": DEEPSEEK_3 + [DEEPSEEK_WORDS + r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "spark2_5": DEEPSEEK_3 + [DEEPSEEK_WORDS + r"| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+", r"\p{N}"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, r"\p{N}"],
    "deepseek-llm": [r"[\r\n]", rf"\s?[{CASED}]+", r"\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", r"\s+$", CJK, r"\p{N}+"],
    "bloom": [BLOOM],
    "viking": [BLOOM, r"\p{N}"],
    "chameleon": [r"<sentinel:[0-9]+>", r"(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", r"([\t\n]|    |  )", r"\p{N}",
                  r"[\p{P}!-/:-@\[-`{-~]", GPT2],
    "falcon": [PUNCTUATION, GPT2, "[0-9][0-9][0-9]"],
    "gemma4": [r"[^\n]+|[\n]+"],
    "sarvam-moe": [r"[^\n]+|[\n]+"],
    "default": [r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "afmoe": [r"(?<=\p{N})(?=(?:\p{N}{3})*(?!\p{N}))", AFMOE_SCRIPTS,
              DEEPSEEK_WORDS + r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "whitespace": [r"\S+"],
}

TEXTS = [
    "I'll  go\n\n 1234567 it's\tOK, we'Re DON'T",                      # contractions
    "'S'ſ WE'RE don't l'eau 'tis ''ll x'd",
    "a1b22c333 4444 55555 666666 ½²³ ٣٤٥٦٧ 1234a 12345.678,9 x१२३४",   # digits
    "v1.2.3-rc10 0xFF 1_000_000 3.14e-10 1234\u0301 12345_6",
    "日本語abc 한국어 漢字かなカナ。！「テスト」 ㄅㄆ ㄱㄴ 〇々 ⼀⺀x 漢A漢a!⼀",     # CJK
    "nai\u0308ve \u0301x e\u0301\u0302 \u0915\u094d\u0937\u093f \u0e01\u0e33\u0e49 A\u0301B\u0301c",  # combining marks
    "🙂👍🏽 👩‍👩‍👧‍👦🇫🇷 ok🙂ok!🙂\n ❤️x",                                  # emoji
    "\u180e\u00a0 x\u3000 \r\n  y\u2028z \u200b\u200d\ufeffw\x00q\x7f\u0085.",                     # odd spaces
    "  a   b    c     d\n\n\n  e \n \n\tf\r\n\r\n g   ",                # mixed whitespace
    "x = foo(bar[0]) // a->b; /* c */\n\t\treturn -1;\n}\n#include <y.h>\n",  # code
    "HTTPServerError camelCase XMLÉcole ǅungla ʰello ΑΒγ Straße ÀÉÎõü АбВ",   # cases
    "...\n$5+<=>^~|`'x '\"(a)\"/\r\n/\n**b** — “c”… ‘d’.",              # punctuation
    "<sentinel:12> <sentinel:> IMGIMGABCDZ IMGIMGABCDEZ |a (b), c? d! ।۔،",
    "   \t ", "tail   ", " ", "\n", " " * 37 + "x" + " " * 21,
    "one two  three a\u0301 b c4 d e\nf g",
]
# Without U+200D, a word character to `regex` alone (UTS #18 leaves it open).
ALPHABET = ["a", "b", "Z", "É", "é", "ǅ", "ʰ", "漢", "字", "あ", "ア", "한", "⼀", "々", "\u0301", "\u093f", "क",
            "1", "2", "3", "٣", "½", " ", " ", " ", "\n", "\r", "\t", "\u00a0", "\u3000", "'", "'s", "'Re", "!", ".",
            "/", "_", "$", "，", "…", "🙂", "\u200b", "\x00"]


def isolate(pattern, pieces):
    """Cuts each piece: matches, and what lies between them. An empty match is a cut."""
    for piece in pieces:
        done = 0
        for m in pattern.finditer(piece):
            yield piece[done:m.start()]
            yield m.group()
            done = m.end()
        yield piece[done:]


def split(patterns, text):
    pieces = [text]
    for p in patterns:
        pieces = [x for x in isolate(p, pieces) if x]
    return pieces


def escaped(piece):
    plain = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
    return "".join(plain.get(c) or (c if c.isprintable() else "".join(f"\\x{b:02x}" for b in c.encode()))
                   for c in piece)


def main():
    rng = random.Random(1)
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    for name, patterns in TYPES.items():
        compiled = [regex.compile(p) for p in patterns]
        made = ["".join(rng.choice(ALPHABET) for _ in range(rng.randrange(1, 40))) for _ in range(n)]
        for text in TEXTS + made:
            pieces = split(compiled, text)
            assert "".join(pieces) == text
            print(name + "\t" + "¦".join(map(escaped, pieces)))


if __name__ == "__main__":
    main()
