"""The corpus of the demo model: which documents there are, in which shares, and as what file.

Everything is drawn from one seed.  `--text` prints documents; `--tokens` writes them as 16-bit
token ids, with <|endoftext|> after each, which is what train.py reads.
"""

import argparse
import sys
from array import array
from pathlib import Path
from random import Random
from typing import Callable, Dict, Iterator, List, Tuple

import characters
import chat
import extract
import facts
import plain
import stories

END = "<|endoftext|>"
HERE = Path(__file__).parent
Maker = Callable[[Random], str]

# Kind of document: maker, and its share of the characters; the sum need not be a hundred.
MIXTURE: Dict[str, Tuple[Maker, float]] = {
    "stories": (stories.story, 10.0),
    "stories on request": (chat.story_chat, 4.0),
    "scenes": (stories.scene, 4.0),
    "facts, plain": (facts.article_text, 4.5),
    "facts, asked": (facts.question_and_answer, 3.0),
    "facts, chat": (chat.fact_chat, 14.0),
    "recall, chat": (chat.recall_chat, 25.0),
    "recall, plain": (chat.recall_plain, 2.5),
    "notes, chat": (chat.note_chat, 7.0),
    "nothing said": (chat.unknown_chat, 5.0),
    "others and echo": (chat.friend_chat, 4.0),
    "introductions": (plain.introduction, 1.2),
    "reading": (plain.reading, 3.5),
    "characters": (characters.character_chat, 9.0),
    "extraction, chat": (extract.extraction_chat, 8.0),
    "extraction, plain": (extract.extraction_plain, 2.5),
    "sums": (plain.sums, 0.8),
    "judgements": (plain.thought, 0.4),
    "echo": (plain.echo, 1.0),
}


def weights(r: Random) -> List[float]:
    """How often each kind is drawn, so that its share holds in characters, not in documents."""
    result = []
    for make, share in MIXTURE.values():
        sample = sum(len(make(r)) for _ in range(200)) / 200
        result.append(share / sample)
    return result


def documents(seed: int) -> Iterator[str]:
    """Documents without end."""
    r = Random(seed)
    makers = [make for make, _ in MIXTURE.values()]
    frequency = weights(r)
    while True:
        yield r.choices(makers, frequency)[0](r)


def write_tokens(path: str, seed: int, count: int, tokenizer_path: str) -> None:
    """Writes at least `count` ids."""
    from tokenizer import Tokenizer  # which imports this module to learn its merges

    coder = Tokenizer.load(tokenizer_path)
    end = coder.control[END]
    ids, written = array("H"), 0
    with open(path, "wb") as file:
        for text in documents(seed):
            ids.extend(coder.encode(text))
            ids.append(end)
            if len(ids) > 1_000_000 or written + len(ids) >= count:
                ids.tofile(file)
                written += len(ids)
                ids = array("H")
                print(f"{path}: {written / 1e6:.1f} M tokens", file=sys.stderr, flush=True)
                if written >= count:
                    return


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--text", type=int, metavar="N", help="print N documents")
    parser.add_argument("--tokens", metavar="FILE", help="write token ids")
    parser.add_argument("--count", type=int, default=100_000_000, help="how many (%(default)s)")
    parser.add_argument("--tokenizer", default=str(HERE / "tokenizer.json"))
    args = parser.parse_args()
    if args.text:
        stream = documents(args.seed)
        for _ in range(args.text):
            print(next(stream) + END)
    if args.tokens:
        write_tokens(args.tokens, args.seed, args.count, args.tokenizer)


if __name__ == "__main__":
    main()
