"""Plain documents of several kinds: sums, judgements, repetition, reading, introductions."""

from random import Random
from typing import List

import chat
import facts
import world
from phrase import say
from world import article


def sums(r: Random) -> str:
    """Small sums in running lines, and the game of making a number."""
    if r.random() < 0.5:
        return "\n".join(facts.total(r).answer for _ in range(r.randint(1, 5)))
    numbers = [r.randint(1, 9) for _ in range(3)]
    x, y, z = r.sample(numbers, 3)
    goal, given = x + y + z, " ".join(map(str, numbers))
    steps = [f"{x} + {y} = {x + y}", f"{x + y} + {z} = {goal}"]
    roll = r.random()
    if roll < 0.3:
        goal += r.randint(1, 9)
        steps.append("Verdict: impossible")
    elif roll < 0.65:
        steps.append("Verdict: sure")
    return "\n".join([f"Use {given} to make {goal}."] + steps)


def thought(r: Random) -> str:
    """A claim that is thought about before it is judged."""
    if r.random() < 0.2:
        claim = say(r, "[It will rain|We will win|Somebody will come|The sun will shine]"
                       " [today|tomorrow|next week].")
        return f"{claim}\nThought: Nobody can know that.\nVerdict: likely"
    fact = facts.statement_fact(r)
    claim, verdict = fact.answer, "sure"
    other = facts.follow(r, fact)
    if r.random() < 0.45 and fact.topic in ("capital", "colour", "opposite") and other is not None:
        head, tail = fact.answer.split(" is ")[0], other.answer.split(" is ")[-1]
        if other.topic == fact.topic and tail != fact.answer.split(" is ")[-1]:
            claim, verdict = f"{head} is {tail}", "impossible"
    opening = "Claim: " if r.random() < 0.6 else ""
    return f"{opening}{claim}\nThought: {fact.answer}\nVerdict: {verdict}"


def echo(r: Random) -> str:
    """Lines of words that have nothing to do with each other, each said twice."""
    rows = [chat.echo_words(r, 2, 6) for _ in range(r.randint(1, 4))]
    return "\n".join(f"{words}\n{words}" for words in rows)


def _different_names(r: Random, count: int) -> List[str]:
    people: List[str] = []
    while len(people) < count:
        candidate = world.name(r)
        if candidate not in people:
            people.append(candidate)
    return people


def reading(r: Random) -> str:
    """A few sentences about people and questions whose answers stand in them."""
    kind = r.choice(("home", "age", "thing", "all"))
    lines, pairs = [], []
    for who in _different_names(r, r.randint(2, 4)):
        thing = r.choice(world.COLOURS) + " " + r.choice(world.OBJECTS)
        home, age = f"{who} lives in {world.city(r)}.", f"{who} is {r.randint(4, 90)} years old."
        has = f"{who} has {article(thing)}."
        if kind in ("home", "all"):
            lines.append(home)
            pairs += [(f"Where does {who} live?", home)]
            pairs += [(f"Who {home[len(who) + 1:-1]}?", home)]
        if kind in ("age", "all"):
            lines.append(age)
            pairs.append((f"How old is {who}?", age))
        if kind in ("thing", "all"):
            lines.append(has)
            pairs += [(f"What does {who} have?", has)]
            pairs += [(f"Who has the {thing}?", f"{who} has the {thing}.")]
    r.shuffle(lines)
    text = " ".join(lines)
    chosen = r.sample(pairs, min(len(pairs), r.randint(1, 3)))
    roll = r.random()
    if roll < 0.35:
        return text + "\n" + "\n".join(f"Q: {q}\nA: {a}" for q, a in chosen)
    if roll < 0.5:
        return r.choice((" ", "\n")).join((text, *chosen[0]))
    messages = [("user", f"{text} {chosen[0][0]}"), ("assistant", chosen[0][1])]
    for q, a in chosen[1:]:
        messages += [("user", q), ("assistant", a)]
    return chat.chat_text(messages)


def introduction(r: Random) -> str:
    """Somebody speaks of himself, or is spoken of, in running text."""
    who, town, named = world.name(r), world.city(r), world.name(r)
    age, pet, tint = r.randint(5, 90), article(r.choice(world.PETS)), r.choice(world.COLOURS)
    if r.random() < 0.5:
        first = say(r, "[Hello! |Hi! |]My name is {n}.", n=who)
        lines = [f"I am {age} years old.", f"I live in {town}.", f"I have {pet} called {named}.",
                 f"My favourite colour is {tint}."]
        ends = [f"My name is {who}, and I am happy to be here.", "That is all about me.",
                f"So, remember: I am {who} from {town}."]
    else:
        first = f"This is {who}."
        lines = [f"{who} is {age} years old.", f"{who} lives in {town}.",
                 f"{who} has {pet} called {named}.", f"The favourite colour of {who} is {tint}."]
        ends = [f"That is all about {who}.", f"{who} is happy."]
    r.shuffle(lines)
    last = [r.choice(ends)] if r.random() < 0.6 else []
    return " ".join([first] + lines[:r.randint(1, 4)] + last)
