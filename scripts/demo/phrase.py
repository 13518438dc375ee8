"""Random phrasing: a template with choices in brackets becomes one sentence.

`say(r, "[Hello|Hi] there")` is "Hello there" or "Hi there"; choices nest, an empty choice is
allowed, and `{key}` is filled in from the keyword arguments after the choices were made.
"""

import re
from random import Random
from typing import Dict, FrozenSet, List, Tuple

Table = Dict[str, Tuple[str, ...]]


def lines(text: str) -> Tuple[str, ...]:
    """The phrasings of a block of text, one a line; a written \\n is a line end."""
    return tuple(line.strip().replace("\\n", "\n") for line in text.splitlines() if line.strip())


def table(text: str) -> Table:
    """Phrasings by topic: a line "= topic" begins each topic."""
    result: Dict[str, List[str]] = {}
    topic: List[str] = []
    for line in lines(text):
        if line.startswith("= "):
            topic = result.setdefault(line[2:], [])
        else:
            topic.append(line)
    return {name: tuple(ways) for name, ways in result.items()}


_INNERMOST = re.compile(r"\[([^\[\]]*)\]")
_SPACES = re.compile(r"  +")


def say(r: Random, template: str, **fill: object) -> str:
    """One random reading of the template."""
    while "[" in template:
        template = _INNERMOST.sub(lambda m: r.choice(m.group(1).split("|")), template)
    text = _SPACES.sub(" ", template).strip(" ").replace(" .", ".").replace(" ,", ",")
    return text.format(**fill) if fill else text


def careless(r: Random, text: str) -> str:
    """The text as a hurried user might type it: case and punctuation are not always kept."""
    roll = r.random()
    if roll < 0.74:
        return text
    if roll < 0.84:
        text = text[:1].lower() + text[1:]
    if roll > 0.79:
        text = text.rstrip("?.!")
    if roll > 0.97:
        text += r.choice(("!", "!!", "??", " ?", "...", " please"))
    return text


_OPENERS = (
    "OK, ",
    "Hey, ",
    "So, ",
    "Please, ",
    "Now, ",
    "Well, ",
    "Hello, ",
    "Hi, ",
    "One question: ",
    "Quick question: ",
    "I have a question: ",
    "I want to know: ",
    "Next question: ",
    "Another question: ",
    "Tell me, ",
    "By the way, ",
    "Oh, ",
    "Good. ",
    "Thanks. ",
    "Thank you. ",
    "OK. ",
    "Great. ",
    "All right. ",
    "I see. ",
    "Hello! ",
    "Hi! ",
    "Can you help me? ",
    "I wonder: ",
    "Help me. ",
    "Listen, ",
    "Excuse me, ",
    "Sorry, ",
    "Hm, ",
    "Let us see. ",
    "Wait, ",
)
_CLOSERS = (
    " Thanks.",
    " Thank you.",
    " Please answer.",
    " I forgot.",
    " I want to know it.",
    " Please tell me.",
    " Please.",
    " Do you know?",
    " Do you know that?",
    " I am not sure.",
    " It is important.",
    " Answer in one sentence.",
)
# Words that lose their capital behind others: of questions, and of what is told.
_ASKING = frozenset("""
    What What's Which Where Who How Do Can Tell Is Are When Name Give In Of Have The Could
    Would Will Remind Try Did Don't
""".split())
TELLING = frozenset("""
    My We The This People They Everybody Everyone Our Home There At For Now Nowadays Today
    Currently Right Most It Of As In
""".split())
_TYPO = re.compile(r"\b[a-z]{4,}\b")


def behind(opener: str, text: str, lowered: FrozenSet[str]) -> str:
    """The opener, which ends with a space, and the text; a sentence that goes on is not begun."""
    if opener.endswith((", ", ": ", " that ", " and ")) and text.split(" ", 1)[0] in lowered:
        text = text[0].lower() + text[1:]
    return opener + text


def wrapped(r: Random, question: str) -> str:
    """The question with something said before or after it, now and then with a slip of the keys."""
    roll = r.random()
    if roll < 0.10:
        question = behind(r.choice(_OPENERS), question, _ASKING)
    elif roll < 0.13 and question[-1:] in "?.":
        question += r.choice(_CLOSERS)
    if r.random() < 0.02:
        words = list(_TYPO.finditer(question))
        if words:
            at = r.choice(words)
            i = r.randrange(at.start(), at.end() - 1)
            a, b = question[i], question[i + 1]
            question = question[:i] + r.choice((b + a, a, a + a + b)) + question[i + 2:]
    return question
