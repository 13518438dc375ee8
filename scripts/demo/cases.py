"""Draws the cases of the evaluation, which the generator never emits in training.

Names, towns and cities come from the part of the name space that world.held_out keeps back;
phrasings come half from the HELD_OUT tables, which no training document uses, and half from the
training phrasings in combination with those names.  Commands are held out by their whole text.
The result is a Lua file that evaluate.lua reads; `--check N` looks for the cases in N documents of
the corpus instead.
"""

import argparse
import re
import sys
from random import Random
from typing import Dict, List, Tuple, Union

import characters
import corpus
import extract
import facts
import wordings
import world
from phrase import lines, say

Case = Dict[str, Union[str, List[str]]]

FILLERS = lines("""
    What is 3 plus 4?
    What colour is the sky?
    What does a cow say?
    How are you?
    What is a river?
    What is the capital of Spain?
    What day comes after Monday?
    What is the opposite of hot?
    Thank you.
    What is bread?
    Where does an owl live?
    What is 2 + 2?
    What is Python?
    How many legs does a spider have?
    What is the capital of Japan?
    When is summer?
    That is interesting.
    What is gold?
""")


def _way(r: Random, known: Tuple[str, ...], held_out: Tuple[str, ...]) -> str:
    return r.choice(held_out) if r.random() < 0.5 else r.choice(known)


def capital_cases() -> List[Case]:
    """Every country three times: in held-out words, as a follow-up, and as plain text."""
    cases: List[Case] = []
    rows, ways = world.COUNTRIES, facts.CAPITAL_HELD_OUT
    for i, (country, city, _) in enumerate(rows):
        answer, other = f"The capital of {country} is {city}.", rows[(i * 31 + 7) % len(rows)][0]
        chain = [f"What is the capital of {other}?", f"And of {country}?"]
        cases += [
            dict(kind="capital", turns=[ways[i % len(ways)].format(c=country)], expect=answer),
            dict(kind="capital, follow-up", turns=chain, expect=answer),
            dict(kind="capital, plain text", text=f"The capital of {country} is",
                 expect=f" {city}."),
        ]
    return cases


def recall_cases(r: Random, topic: str, count: int) -> List[Case]:
    """Something told, two other turns, and the question."""
    cases: List[Case] = []
    told = wordings.TELL_PET if topic == "pet" else wordings.TELL[topic]
    for _ in range(count):
        kind = r.choice(world.PETS)
        value = {"name": world.test_name(r), "age": str(r.randint(5, 99)),
                 "home": world.test_city(r), "colour": r.choice(world.COLOURS),
                 "pet": world.test_name(r)}[topic]
        fill = dict(v=value, V=world.capitalised(value), s=kind, p=world.article(kind))
        tell = say(r, _way(r, told, wordings.TELL_HELD_OUT[topic]), **fill)
        asked = "petname" if topic == "pet" and r.random() < 0.5 else topic
        ways = wordings.ASK["petname"] if asked == "petname" else wordings.ASK_HELD_OUT[topic]
        ask = say(r, _way(r, wordings.ASK[asked], ways), **fill)
        cases.append(dict(kind=f"recall of {topic}", turns=[tell, *r.sample(FILLERS, 2), ask],
                          expect=say(r, wordings.ANSWER[asked], **fill)))
    return cases


def unsaid_cases(r: Random, count: int) -> List[Case]:
    """Questions about what was never told, alone or after another turn."""
    cases: List[Case] = []
    for i in range(count):
        topic = r.choice(("name", "age", "home", "colour", "pet"))
        turns = r.sample(FILLERS, i % 2) + [r.choice(wordings.ASK[topic])]
        cases.append(dict(kind="nothing was said", turns=turns, expect="I don't know."))
    return cases


def character_cases(r: Random, count: int) -> List[Case]:
    """Four questions to each character."""
    cases: List[Case] = []
    for _ in range(count):
        who = characters.character(r, world.test_name, world.test_town)
        system = say(r, _way(r, characters.CHARACTER, characters.CHARACTER_HELD_OUT), **who)
        for kind, held_out in characters.CHARACTER_ASK_HELD_OUT.items():
            ask = say(r, _way(r, characters.CHARACTER_ASK[kind], held_out), **who)
            cases.append(dict(kind="character", system=system, turns=[ask],
                              expect=characters.CHARACTER_ANSWER[kind].format(**who)))
    return cases


def extraction_cases(r: Random, count: int) -> List[Case]:
    """People, and half as many commands, as JSON."""
    cases: List[Case] = []
    for i in range(count):
        ways = extract.PERSON_HELD_OUT if i % 2 else extract.PERSON[:8]
        text, record = extract.person(r, world.test_name, world.test_city, ways)
        cases.append(dict(kind="JSON, person", turns=[f"Extract as JSON: {text}"],
                          expect=extract.as_json(record), forced="yes"))
    commands: Dict[str, str] = {}
    while len(commands) < count // 2:
        text, record = extract.any_command(r, world.test_name)
        if extract.command_held_out(text):
            commands[text] = extract.as_json(record)
    for text, answer in commands.items():
        cases.append(dict(kind="JSON, command", turns=[f"Command as JSON: {text}"], expect=answer))
    return cases


def all_cases(seed: int) -> List[Case]:
    """Every case, in the order of the report."""
    r = Random(seed)
    cases = capital_cases() + recall_cases(r, "name", 100)
    for topic in ("age", "home", "colour", "pet"):
        cases += recall_cases(r, topic, 50)
    cases += unsaid_cases(r, 50)
    return cases + character_cases(r, 30) + extraction_cases(r, 100)


def _patterns() -> List[str]:
    """The held-out phrasings as regular expressions."""
    phrasings = [*facts.CAPITAL_HELD_OUT, *characters.CHARACTER_HELD_OUT,
                 *extract.PERSON_HELD_OUT]
    for held_out in (wordings.TELL_HELD_OUT, wordings.ASK_HELD_OUT,
                     characters.CHARACTER_ASK_HELD_OUT):
        phrasings += [way for ways in held_out.values() for way in ways]
    return [re.sub(r"\\\{\w\\\}", "[^.?!\n]{1,40}", re.escape(way)) for way in phrasings]


def _said(text: str) -> List[str]:
    return re.findall(r"<\|im_start\|>(?:user|system)\n(.*?)<\|im_end\|>", text, re.DOTALL)


def check(count: int, seed: int, cases: List[Case]) -> int:
    """How many of `count` documents of the corpus show a held-out phrasing or a whole case."""
    # Ages and colours are few; with those it is the whole dialog that is new, not its first turn.
    telling = {"recall of name", "recall of home", "recall of pet", "JSON, person", "JSON, command"}
    texts = {case["turns"][0] for case in cases if case["kind"] in telling}
    texts |= {case["system"] for case in cases if "system" in case}
    patterns, bad, stream = re.compile("|".join(_patterns())), 0, corpus.documents(seed)
    for _ in range(count):
        text = next(stream)
        found = patterns.search(text)
        hit = found.group() if found else next((t for t in _said(text) if t in texts), None)
        if hit:
            bad += 1
            print(f"shown in training: {hit!r}")
    return bad


def _lua(value: Union[str, List[str]]) -> str:
    if isinstance(value, list):
        return "{ " + ", ".join(map(_lua, value)) + " }"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--out", default=str(corpus.HERE / "cases.lua"))
    parser.add_argument("--check", type=int, metavar="N", help="look at N training documents")
    args = parser.parse_args()
    cases = all_cases(args.seed)
    if args.check:
        bad = check(args.check, 1, cases)
        print(f"{bad} of {args.check} documents show a case")
        sys.exit(bad > 0)
    with open(args.out, "w", encoding="utf-8") as file:
        file.write("-- Cases for evaluate.lua, written by cases.py; training never shows them.\n")
        file.write("return {\n")
        for case in cases:
            fields = ", ".join(f"{key} = {_lua(value)}" for key, value in case.items())
            file.write(f"  {{ {fields} }},\n")
        file.write("}\n")


if __name__ == "__main__":
    main()
