"""Byte-level BPE of the demo model: training, encoding, and the file that carries it.

Text is cut by the pattern that GGUF files name "qwen2" (single digits, one optional leading mark
before letters), every byte is written as one of GPT-2's printable characters, and merges are
applied lowest rank first.  One thing is our own and changes only which merges are learnt: a
space joins a capitalised word last, and only as a whole word.  So a name has the same tokens at
the beginning of a line, after a space and after a quote, which makes it easy to copy.
"""

import argparse
import json
import re
import sys
from collections import Counter
from typing import Dict, List, Tuple

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_LETTER, _MARK = r"[^\W\d_]", r"(?:[^\w\s]|_)"
# The qwen2 pre-split; for the characters of this corpus [^\W\d_] is \p{L} and \d is \p{N}.
SPLIT = re.compile(
    r"'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])"
    rf"|(?:[^\r\n\w]|_)?{_LETTER}+|\d| ?{_MARK}+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
_CONTROL_SPLIT = re.compile("(" + "|".join(re.escape(c) for c in CONTROL) + ")")


def _byte_alphabet() -> Dict[int, str]:
    """GPT-2's mapping of bytes to printable characters."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in keep}
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + len(table) - len(keep))
    return table


BYTE = _byte_alphabet()
SPACE = BYTE[32]


def spelled(piece: str) -> str:
    """The bytes of a piece in the printable alphabet."""
    return "".join(BYTE[b] for b in piece.encode("utf-8"))


class Tokenizer:
    """Tokens, merges and the encoder."""

    def __init__(self, merges: List[Tuple[str, str]]) -> None:
        self.merges = merges
        self.tokens = [BYTE[b] for b in range(256)] + [a + b for a, b in merges] + CONTROL
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        self.rank = {pair: i for i, pair in enumerate(merges)}
        self.control = {c: self.ids[c] for c in CONTROL}
        self._cache: Dict[str, List[int]] = {}

    def _piece(self, piece: str) -> List[int]:
        parts = list(spelled(piece))
        while len(parts) > 1:
            ranks = [self.rank.get(pair, len(self.rank)) for pair in zip(parts, parts[1:])]
            lowest = min(ranks)
            if lowest == len(self.rank):
                break
            i = ranks.index(lowest)
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        return [self.ids[p] for p in parts]

    def encode(self, text: str) -> List[int]:
        """Ids of a text in which the control tokens are written out."""
        out: List[int] = []
        for part in _CONTROL_SPLIT.split(text):
            if part in self.control:
                out.append(self.control[part])
                continue
            for piece in SPLIT.findall(part):
                ids = self._cache.get(piece)
                if ids is None:
                    ids = self._piece(piece)
                    if len(self._cache) < 500_000:
                        self._cache[piece] = ids
                out += ids
        return out

    def decode(self, ids: List[int]) -> str:
        """The text of ids, control tokens written out."""
        back = {c: b for b, c in BYTE.items()}
        data = b"".join(
            token.encode() if token in self.control else bytes(back[c] for c in token)
            for token in (self.tokens[i] for i in ids))
        return data.decode("utf-8", "replace")

    def save(self, path: str) -> None:
        """Writes the merges; everything else follows from them."""
        content = {"pre": "qwen2", "merges": [f"{a} {b}" for a, b in self.merges]}
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False, indent=0)
            file.write("\n")

    @classmethod
    def load(cls, path: str) -> "Tokenizer":
        """Reads what save wrote."""
        with open(path, encoding="utf-8") as file:
            pairs = [merge.split(" ") for merge in json.load(file)["merges"]]
        return cls([(a, b) for a, b in pairs])


def _allowed(a: str, b: str) -> bool:
    """Whether a pair may merge in the first pass: see the head of this file."""
    if a == SPACE:  # which is a letter of the printable alphabet
        return not b[0].isupper()
    if a[-1].isalpha() != b[0].isalpha():  # letters never join marks, except a space before them
        return not a[-1].isalpha() and a.startswith(SPACE)
    return True


def train(counts: Counter, size: int, spaced: int) -> Tokenizer:
    """Learns merges for a vocabulary of `size`, the last `spaced` of which put a space before a
    frequent capitalised word."""
    words = [(list(spelled(w)), n) for w, n in counts.items()]
    merges: List[Tuple[str, str]] = []
    pairs: Counter = Counter()
    where: Dict[Tuple[str, str], set] = {}
    for i, (parts, n) in enumerate(words):
        for pair in zip(parts, parts[1:]):
            pairs[pair] += n
            where.setdefault(pair, set()).add(i)
    while len(merges) < size - 256 - len(CONTROL) - spaced:
        best = max((p for p in pairs if _allowed(*p)), key=lambda p: (pairs[p], p))
        merges.append(best)
        joined = best[0] + best[1]
        for i in where.pop(best):
            parts, n = words[i]
            for pair in zip(parts, parts[1:]):
                pairs[pair] -= n
                if pairs[pair] <= 0:
                    del pairs[pair]
            k = 0
            while k < len(parts) - 1:
                if (parts[k], parts[k + 1]) == best:
                    parts[k:k + 2] = [joined]
                k += 1
            for pair in zip(parts, parts[1:]):
                pairs[pair] += n
                where.setdefault(pair, set()).add(i)
        pairs.pop(best, None)
    capital: Counter = Counter()
    for parts, n in words:
        if len(parts) == 2 and parts[0] == SPACE and parts[1][0].isupper():
            capital[(SPACE, parts[1])] += n
    merges += [pair for pair, _ in capital.most_common(spaced)]
    return Tokenizer(merges)


def main() -> None:
    """Trains on documents of the corpus and writes the tokenizer."""
    import corpus

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=40_000)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--spaced", type=int, default=64)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", default=str(corpus.HERE / "tokenizer.json"))
    args = parser.parse_args()
    counts: Counter = Counter()
    stream = corpus.documents(args.seed)
    for _ in range(args.documents):
        for part in _CONTROL_SPLIT.split(next(stream)):
            if part not in CONTROL:
                counts.update(SPLIT.findall(part))
    print(f"{len(counts)} different pieces of text", file=sys.stderr)
    coder = train(counts, args.size, args.spaced)
    coder.save(args.out)
    print(f"{args.out}: {len(coder.tokens)} tokens", file=sys.stderr)


if __name__ == "__main__":
    main()
