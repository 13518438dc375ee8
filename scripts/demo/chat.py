"""Chats with a user: greetings, facts, and what the user has told.

A dialog is a list of (role, text).  What the user has told so far is kept beside it, so that a
later question has the answer that was given, or "I don't know." when nothing was said.
Phrasings in the HELD_OUT tables are used by the evaluation only.
"""

from random import Random
from typing import Callable, Dict, List, Optional, Tuple

import facts
import notes
import stories
import world
from phrase import careless, lines, say, table, wrapped
from world import article, capitalised

Message = Tuple[str, str]
Names = Callable[[Random], str]
Pairs = Tuple[Tuple[str, str], ...]

# Ways to tell something about oneself, by topic; {v} is the value, {V} the same with a capital,
# {a} with its article.
TELL = table("""
= name
    My name is {v}.
    My name is {v}.
    My name is {v}.
    I am {v}.
    I'm {v}.
    My name's {v}.
    [You can|Please|You may|] call me {v}.
    I am called {v}.
    I'm called {v}.
    They call me {v}.
    [Everyone|Everybody] calls me {v}.
    The name is {v}.
    The name's {v}.
    This is {v}.
    {v} is my name.
    {v} here.
    My first name is {v}.
    My friends call me {v}.
    Let me introduce myself: I am {v}.
    Let me introduce myself. My name is {v}.
    It's {v}.
    I go by {v}.
    My parents named me {v}.
    Remember my name: {v}.
    Remember that my name is {v}.
    [Do not|Don't] forget my name, it is {v}.
    I was named {v}.
    People call me {v}.
    I am known as {v}.
    I am known by the name {v}.
    You may know me as {v}.
    Some call me {v}.
    I answer to {v}.
    My name would be {v}.
    I am the one they call {v}.
    You are talking to {v}.
    Here is my name: {v}.
    My name? {v}.
    Name: {v}
    I'm {v}, [by the way|nice to meet you|pleased to meet you].
    [Hi|Hey|Hello], {v} here.
    [Hi|Hello], this is {v} [speaking|].
    [Hi|Hello], I'm {v}.
    This is {v}, [hello|hi|good morning].
    {v} is what [people|they|my friends] call me.
    [People|Friends|Most people] know me by the name of {v}.
    Everyone knows me as {v}.
    You are speaking [to|with] {v}.
    I was born {v}, and that is still my name.
    Just call me {v}.
    {v}. That is my name.
    {v}, that's me.
    {v}, that is what I am called.
    My full name is {v}.
    It is {v} who speaks to you.
    The user is called {v}.
    I introduce myself as {v}.
    The name I was given is {v}.
    My name has always been {v}.
    I have a name: {v}.
    Let's start: my name is {v}.
    I would like you to call me {v}.
    I prefer to be called {v}.
    Address me as {v}.
    my name is {v}
    i am {v}
    i'm {v}
    call me {v}
= age
    I am {v} years old.
    I am {v} years old.
    I'm {v} years old.
    I am {v}.
    I'm {v}.
    My age is {v}.
    I [just|] turned {v} [today|last week|].
    I have just turned {v}.
    I am already {v}.
    I am only {v} years old.
    I am {v} now.
    {v} years old, that is me.
    Age: {v}
    I'm {v} years old.
    I am {v} years of age.
    I'm {v} now.
    I will soon be older, but now I am {v}.
    My age? {v}.
    I was born {v} years ago.
    I've just turned {v}.
    I [had|celebrated] my birthday: I am {v} now.
    I have lived for {v} years.
    I've been around for {v} years.
    At {v}, I am [not so young|still learning|happy].
    I am aged {v}.
    I am a {v} year old.
    I am a {v}-year-old.
    I'm a {v} year old [boy|girl|man|woman].
    My age is {v} years.
    [At the moment|Right now|Currently|At present] I am {v} years old.
    {v} is my age.
    {v}. That is my age.
    [Yesterday|Today|Last month|Last year] I turned {v}.
    I have reached the age of {v}.
    I count {v} years.
    I [think|believe] I am {v} years old.
    i am {v} years old
    i'm {v}
= home
    I live in {v}.
    I live in {v}.
    I live in {v}.
    I am from {v}.
    I'm from {v}.
    I come from {v}.
    My home is [in|] {v}.
    My home is {v}.
    My home town is {v}.
    I am living in {v} [now|].
    {v} is my home.
    {v} is where I live.
    My house is in {v}.
    I have a house in {v}.
    I moved to {v} [last year|].
    We live in {v}.
    My family lives in {v}, and so do I.
    The town I live in is {v}.
    I grew up in {v}, and I still live there.
    I live near the river in {v}.
    Home: {v}
    I'm based in {v}.
    I am based in {v}.
    Home for me is {v}.
    Home is {v} [for me|].
    {v} is where I [live|stay|come from|am from|am based|call home].
    {v} is my home [town|city|].
    {v} is the [town|city|place] I live in.
    I call {v} my home.
    I [just|recently|] moved to {v}.
    I've lived in {v} [for years|all my life|since I was born|for a long time].
    I have lived in {v} [for ten years|since last year|all my life].
    I reside in {v}.
    I stay in {v}.
    I live over in {v}.
    I live [right|deep|just] in {v}.
    I'm living in {v} [at the moment|now|].
    I [have a flat|have an apartment|rent a room|own a house|have a small house] in {v}.
    My [flat|apartment|house|place|family home] is in {v}.
    You can find me in {v}.
    I am at home in {v}.
    I was born in {v} and still live there.
    I'm originally from {v}.
    I hail from {v}.
    My city is {v}.
    My town is {v}.
    My hometown is {v}.
    My home city is {v}.
    I live in a [town|city|village|place] called {v}.
    I live in the [town|city|village] of {v}.
    I live not far from the sea, in {v}.
    I'm from a [small|big|little] [town|city|place] called {v}.
    I'm writing to you from {v}.
    Greetings from {v}, where I live.
    I settled in {v} [last year|years ago].
    We have a house in {v}.
    My [wife|husband|mother|family] and I live in {v}.
    Where do I live? In {v}.
    Well, I live in {v}.
    i live in {v}
    i'm from {v}
    i am from {v}
    I live in {v}, [you know|by the way|if you want to know|which is nice].
    I come from {v}, [you know|by the way].
    [Nowadays|Now|Today|Currently|At present|At the moment|For now] I live in {v}.
    [Right now|Since last year|This year|Most of the time] I live in {v}.
    [At present|For some time|At the moment|Nowadays] I am living in {v}.
    I [currently|still|now|actually|mostly|happily|really] live in {v}.
    I have always lived in {v}.
    My home has [always|long|for long] been {v}.
    My home since [last year|I was small|last summer] has been {v}.
    My home [nowadays|at present|at the moment|right now|today] is {v}.
    My home [was and is|is, and always was,|is still|is now] {v}.
    [For many years|For ten years|For years|All my life] {v} has been my home.
    {v} has [always|long|for years] been my home.
    {v}, that is where I live.
    {v}. That is [my home|where I live|the town I live in].
    Home for me [has always been|is and stays|will always be|would be] {v}.
    Home for my family is {v}.
    The [town|city|village|place] where I live is [called|] {v}.
    The [town|city|village|place] I [call home|come from|live in] is {v}.
    The place that I call [home|my home] is {v}.
    My [town|city|village|home town] is called {v}.
    The name of my [town|city|village|home town] is {v}.
    My address is in {v}.
    I have made {v} my home.
    I have my home in {v}.
    Our [home|house|flat] is in {v}.
    I live in {v}, [a small town|a big city|a village] [by the sea|in the hills|near a lake].
    I live in {v} [and I like it|with my family|with my parents|together with my friends].
    I live in the [middle|heart|north|south|east|west] of {v}.
    I live [close to|next to] the [station|park|sea|river] in {v}.
    [I work and live|I live and work] in {v}.
    I am a [citizen|resident] of {v}.
    I am at home [here|] in {v}.
    We [have lived|live] in {v} [for years|since last year|now].
    We moved to {v} [when I was small|last year|some time ago] and live there.
    My [parents|brothers|friends] and I live in {v}.
    As for me, I live in {v}.
    As for my home, it is {v}.
    Do you know {v}? I live there.
    Have you heard of {v}? It is [my home|my home town|where I live].
    Come and visit me in {v}.
    There is no place like {v}, my home.
    It is {v} where I live.
    I would call {v} my home.
    My home? {v}.
    My home? It is {v}.
= colour
    My favourite colour is {v}.
    My favourite colour is {v}.
    My favorite color is {v}.
    I like {v} best of all colours.
    {V} is my favourite colour.
    The colour I like best is {v}.
    I love the colour {v}.
    I like the colour {v}.
    Of all colours I like {v} best.
    My colour is {v}.
    My favourite color is {v}.
    I prefer {v} to all other colours.
    {V} is the colour [I like best|I like most|for me|I love].
    {V} is my favorite color.
    I [like|love] {v} the most.
    No colour is as nice as {v} to me.
    My favourite colour has always been {v}.
    The best colour is {v}, I think.
    I'm fond of the colour {v}.
    I [think|believe|would say|guess] my favourite colour is {v}.
    I'd say my favourite colour is {v}.
    [To be honest|In my opinion|As you may know], my favourite colour is {v}.
    My favourite colour [would be|must be|is still|was always] {v}.
    My favourite colour? {V}.
    My favourite of all colours is {v}.
    The colour {v} is my favourite.
    The colour [that|which] I [like|love] [most|best] is {v}.
    There is no better colour than {v}.
    {V}, that is my favourite colour.
    {V} has always been my favourite colour.
    {V} is the best colour [of all|there is|for me].
    When it comes to colours, I like {v} best.
    As a colour I like {v} best.
    I have always loved the colour {v}.
    I am a friend of the colour {v}.
    My colour of choice is {v}.
    I like things that are {v}: it is my favourite colour.
    I always choose {v}, my favourite colour.
    Among all colours my favourite is {v}.
    Favourite colour: {v}
    For me the best colour is {v}.
= food
    My favourite food is {v}.
    My favourite food is {v}.
    I like {v} best of all foods.
    The food I like best is {v}.
    {V} is my favourite food.
    I love to eat {v}.
    I like to eat {v}.
    My favorite food is {v}.
= hobby
    My hobby is {v}.
    My hobby is {v}.
    My favourite hobby is {v}.
    I like {v} in my free time.
    In my free time I like {v}.
    {V} is my hobby.
    My hobby has always been {v}.
= job
    I am {a}.
    I'm {a}.
    I work as {a}.
    My job is {v}.
    I am {a} by trade.
    I earn my money as {a}.
    My work? I am {a}.
    I have a job as {a}.
""")
TELL_PET = lines(r"""
    I have {p} called {v}.
    I have {p} called {v}.
    I have {p} named {v}.
    My {s} is called {v}.
    My {s} is named {v}.
    My {s}'s name is {v}.
    The name of my {s} is {v}.
    My pet is {p} called {v}.
    I have {p}. Its name is {v}.
    I have {p} and its name is {v}.
    I own {p} called {v}.
    My pet is {p} named {v}.
    {v} is my {s}.
    I have a pet {s} called {v}.
    I got {p} and called it {v}.
    I have {p}, {v}.
    My {s} {v} is [nice|lovely|asleep|hungry|old].
    I share my home with {p} called {v}.
    I live with {p} named {v}.
    There is {p} in my house, called {v}.
    I keep {p} called {v}.
    I've got {p} called {v}.
    I've got {p} named {v}.
    I've got {p}, and {v} is its name.
    We have {p} called {v}.
    We have {p}, and we call it {v}.
    {v} is the name of my {s}.
    My {s} goes by {v}.
    I call my {s} {v}.
    I named my {s} {v}.
    I own {p} and it is named {v}.
    My pet, {p}, is called {v}.
    The {s} I have is called {v}.
    In my house there is {p} called {v}.
    [With me|At our house|In my room] lives {p} called {v}.
    I [look after|take care of|live together with] {p} called {v}.
    I have {p} at home, called {v}.
    I have a [young|little|big|lovely] {s} called {v}.
    I [bought|found|adopted] {p} and named it {v}.
    I've had {p} called {v} [for years|since last year].
    My [little|young|big|dear] {s} is [called|named] {v}.
    My pet {s} is called {v}.
    My best friend is {p} called {v}.
    Our {s} is called {v}.
    We call our {s} {v}.
    The {s} of our family is called {v}.
    {v} is the {s} I have.
    {v}, my {s}, is [asleep|here|hungry|nice].
    Meet {v}, my {s}.
    Do you know my {s} {v}?
""")
TELL_RELATIVE = lines(r"""
    My {s} is called {v}.
    My {s}'s name is {v}.
    I have a {s} called {v}.
    My {s} is named {v}.
    The name of my {s} is {v}.
    {v} is my {s}.
    My {s} {v} [is nice|is here|is tall|likes to sing].
    I have a {s} named {v}.
    I've got a {s} called {v}.
    My {s} is {v}.
""")
INTRODUCTIONS = lines(r"""
    [I am|I'm|My name is] {n}, {a} years old, [from|and I live in] {h}.
    [I am|I'm|My name is] {n}, {a}, from {h}.
    This is {n}, {a}, from {h}.
    [I am|I'm|My name is] {n}, I am {a} and I live in {h}.
    [I am|I'm|My name is] {n}. I'm {a} and I live in {h}.
    {n} here, {a}, from {h}.
    I am {a} years old, my name is {n} and I live in {h}.
    I live in {h}, I am {a}, and my name is {n}.
    Hello from {h}! [I am|I'm] {n} and {a} years old.
""")
NAME_AND_HOME = lines(r"""
    [I am|I'm|My name is] {n} from {h}.
    [I am|I'm|My name is] {n} and I live in {h}.
    [I am|I'm|My name is] {n}, and I live in {h}.
    [I am|I'm|My name is] {n} and I'm from {h}.
    [I am|I'm|My name is] {n}, I live in {h}.
    This is {n} from {h}.
    {n} from {h} here.
    {n} here, from {h}.
    [I am|I'm] {n}, based in {h}.
    Greetings from {h}, [I am|I'm|my name is] {n}.
    I live in {h} and my name is {n}.
""")
TELL_HELD_OUT = table("""
= name
    I should say that my name is {v}.
    In case you want to know, my name is {v}.
    Well, people know me as {v}.
= age
    My age this year is {v}.
    As for my age, I am {v}.
= home
    My home for many years has been {v}.
    These days I live in {v}.
= colour
    If you ask me, my favourite colour is {v}.
= pet
    At home I have {p} called {v}.
""")

# Ways to ask for it; {s} is the kind of pet or relative.
ASK = table("""
= name
    What is my name?
    What is my name?
    What is my name?
    What's my name?
    Do you remember my name?
    Do you know my name?
    Who am I?
    Can you tell me my name?
    Tell me my name.
    What was my name?
    What was my name again?
    What am I called?
    How am I called?
    Say my name.
    Do you still know my name?
    Do you remember who I am?
    Do you know who I am?
    What did I say my name was?
    So what is my name?
    And what is my name?
    Now, what is my name?
    Please tell me my name.
    my name?
    Which name did I tell you?
    What name did I give you?
    Do you remember what my name is?
    Have you forgotten my name?
    Can you remember my name?
    Tell me who I am.
    What name do I have?
    What name did I tell you?
    You remember my name, don't you?
    Who are you talking to?
    What do people call me?
    Do you recall my name?
    Remind me of my name.
    What did I tell you my name was?
    I forgot my name. What is it?
    What is my name, please?
    What's my name again?
    What's my name, please?
    What's my name? Do you remember?
    Hey, what was my name?
= age
    How old am I?
    How old am I?
    How old am I?
    What is my age?
    What's my age?
    Do you know how old I am?
    Do you remember my age?
    Do you remember how old I am?
    Tell me my age.
    Can you tell me how old I am?
    And how old am I?
    Can you tell me my age?
    How old did I say I am?
    Do you know my age?
    my age?
    Do you recall my age?
    How many years old am I?
    What age am I?
    Remind me how old I am.
    What did I say about my age?
    How old did I tell you I am?
= home
    Where do I live?
    Where do I live?
    Where do I live?
    Where am I from?
    Where is my home?
    Which town do I live in?
    Which city do I live in?
    In which town do I live?
    In which city do I live?
    What is my home town?
    Do you remember where I live?
    Do you know where I live?
    Tell me where I live.
    Can you tell me where I live?
    Where do I come from?
    And where do I live?
    Where did I say I live?
    Where is my house?
    What town do I live in?
    What city do I live in?
    Do you know where I am from?
    Do you recall where I live?
    Remind me where I live.
    What place do I live in?
    What is my city?
    Which place am I from?
    Where am I based?
    Where did I tell you I live?
    In what city do I live?
    What's my home town?
    What is my hometown?
    Where do I call home?
    What town am I from?
    What city am I from?
    Which city am I from?
    Which town am I from?
= colour
    What is my favourite colour?
    What is my favourite colour?
    What's my favourite colour?
    What is my favorite color?
    Which colour do I like?
    Which colour do I like best?
    What colour do I like?
    Do you remember my favourite colour?
    Do you know my favourite colour?
    Tell me my favourite colour.
    And my favourite colour?
    Which colour is my favourite?
    What's my favorite color?
    Do you recall my favourite colour?
    Remind me of my favourite colour.
    Which colour do I love?
    What is the colour I like best?
    What colour did I say I like?
    Which color do I like best?
= food
    What is my favourite food?
    What is my favourite food?
    What's my favourite food?
    Which food do I like best?
    What do I like to eat?
    Do you remember my favourite food?
    Do you know what I like to eat?
    Which food do I like?
= hobby
    What is my hobby?
    What is my hobby?
    What's my hobby?
    What do I like to do?
    Do you remember my hobby?
    Which hobby do I have?
    What do I do in my free time?
= job
    What is my job?
    What is my job?
    What's my job?
    What do I do for work?
    What is my work?
    Do you remember my job?
    Do you know my job?
    Which job do I have?
= petname
    What is my {s} called?
    What is my {s}'s name?
    What is the name of my {s}?
    What's my {s} called?
    Do you remember the name of my {s}?
    Do you remember my {s}'s name?
    How is my {s} called?
    What's the name of my {s}?
    Do you know my {s}'s name?
    And what is my {s} called?
    What did I call my {s}?
    Do you recall my {s}'s name?
    What name does my {s} have?
    Remind me what my {s} is called.
    Which name did I give my {s}?
= pet
    What pet do I have?
    Which pet do I have?
    What is my pet?
    Do I have a pet?
    What kind of pet do I have?
    Which animal do I have?
    Do you remember my pet?
    What animal do I have?
    What is my pet called?
    What is my pet's name?
    What is the name of my pet?
    Do you remember what my pet is called?
    Tell me about my pet.
= relative
    What is my {s}'s name?
    What is my {s} called?
    What is the name of my {s}?
    Do you remember my {s}'s name?
    What's my {s}'s name?
    Who is my {s}?
    What's the name of my {s}?
""")
ASK_HELD_OUT = table("""
= name
    Could you tell me what my name is?
    Please say what my name is.
    And do you still remember my name?
= age
    Could you tell me how old I am?
    And what is my age?
= home
    Could you tell me where I live?
    And where is my home?
= colour
    Could you tell me my favourite colour?
    And what is my favourite colour?
= pet
    Could you tell me what my pet is called?
""")
# The same within other questions: what is asked for as a clause (= topic) and as a noun (= topic,).
ASKED = table("""
= name
    what my name is
    what my name was
    what I am called
    how I am called
    who I am
= name,
    my name
= age
    how old I am
    what my age is
= age,
    my age
= home
    where I live
    where I live
    where my home is
    where I am from
    where I come from
    where I am at home
    [which|what] [town|city|place] I live in
    what my home town is
    in which [town|city|place] I live
= home,
    my home town
    my home
    the [town|city|place] I live in
= colour
    what my favourite colour is
    what my favorite color is
    which colour I like best
    which colour is my favourite
= colour,
    my favourite colour
    the colour I like best
= food
    what my favourite food is
    which food I like best
= food,
    my favourite food
= hobby
    what my hobby is
= hobby,
    my hobby
= job
    what my job is
    what I do for work
= job,
    my job
= petname
    what my {s} is called
    how my {s} is called
    what my {s}'s name is
= petname,
    the name of my {s}
    my {s}'s name
= pet
    what pet I have
    which pet I have
    what kind of pet I have
= pet,
    my pet
= relative
    what my {s} is called
    what my {s}'s name is
= relative,
    my {s}'s name
    the name of my {s}
""")
# Questions around them, {x}: those of the second kind take nouns.
ASKING = table("""
= clause
    [Do|Don't] you [still|] [know|remember|recall] {x}?
    [Can|Would|Will] you [please|] [tell|remind] me {x}?
    [Can you|Would you|Could you] [say|remember|recall|repeat|still say] {x}[|, please]?
    Could you [please|now|kindly] [tell|remind] me {x}?
    [Tell|Remind] me [again|now|please|] {x}.
    Please [tell|remind] me {x}.
    I [forgot|have forgotten|don't remember|want to know|would like to know|wonder] {x}.
    [Have you forgotten|Have I told you|Did I tell you|Did I say] {x}?
    [Let me know|Try to remember|May I ask|Say again] {x}[.|, please.]
    You [still|] [know|remember] {x}, don't you?
    You know {x}, right?
    I asked {x}.
    I [want|would like] you to tell me {x}.
= noun
    [Do|Don't] you [still|] [know|remember|recall] {x}?
    [Can|Would|Will] you [please|] tell me {x}?
    Could you [say|repeat|remember|recall] {x}?
    [Tell me|Repeat|Try to remember] {x}[.|, please.]
    [Please|] remind me of {x}.
    I [forgot|have forgotten|want to know] {x}.
    What about {x}?
    What did I [say|tell you] about {x}?
    What [was|is] {x} [again|then|now|, please|]?
""")
ANSWER: Dict[str, str] = {
    "name": "Your name is {v}.",
    "age": "You are {v} years old.",
    "home": "You live in {v}.",
    "colour": "Your favourite colour is {v}.",
    "food": "Your favourite food is {v}.",
    "hobby": "Your hobby is {v}.",
    "job": "You are {a}.",
    "petname": "Your {s} is called {v}.",
    "pet": "Your pet is {p} called {v}.",
    "relative": "Your {s}'s name is {v}.",
}
# What is said when something is told.
ACK = table("""
= name
    Nice to meet you, {v}.
    Nice to meet you, {v}.
    Hello, {v}!
    Hello {v}, how can I help you?
    Hi {v}!
    Good to meet you, {v}.
    Welcome, {v}.
    Hello, {v}. What can I do for you?
= age
    {v} is a good age.
    {v} is a good age.
    I see, you are {v} years old.
    I will remember that.
= home
    {v} sounds nice.
    I hear that {v} is nice.
    I will remember that.
    So you live in {v}.
= colour
    {V} is a nice colour.
    {V} is a nice colour.
    I like {v} too.
    I will remember that.
= food
    {V} sounds good.
    That sounds good.
    I will remember that.
= hobby
    {V} is fun.
    That sounds like fun.
    I will remember that.
= job
    That is good work.
    That sounds like hard work.
    I will remember that.
= pet
    {v} is a nice name for {p}.
    {v} sounds like a good {s}.
    Say hello to {v}.
    I will remember that.
= relative
    {v} is a nice name.
    Say hello to {v}.
    I will remember that.
""")

# (user, assistant)
GREET: Pairs = (
    (
        "[Hello|Hi|Hey|Good day|Good morning|Good evening|Hi there|Hello there|Greetings][.|!|,|]",
        "[Hello|Hi]! How can I help you?",
    ),
    (
        "[Hello|Hi|Hey|Good morning][.|!|,] [How are you|How are you today|How do you do|How is it"
        " going]?",
        "I am fine, thank you. How can I help you?",
    ),
    ("[How are you|How are you today|How do you do|How do you feel]?", "I am fine, thank you."),
    (
        "[Who are you|What are you|What is your name|What's your name|Tell me about yourself|Are"
        " you a robot|Are you a human|What are you called]?",
        "I am Perilune, a small language model.",
    ),
    (
        "[What can you do|What do you know|How can you help me|Can you help me|Help]?",
        "I know simple facts, tell stories and remember what you say.",
    ),
    ("[Where do you live|Where are you]?", "I live in this computer."),
    (
        "[How old are you|Do you have a pet|Do you like pizza|Do you sleep|Do you have a family]?",
        "I am only a small language model.",
    ),
    ("[Nice to meet you|Good to see you|I am glad to meet you][.|!]", "Nice to meet you too."),
    ("[Are you there|Are you ready|Can you hear me|Do you understand me]?", "Yes, I am here."),
    (
        "[Who made you|Who built you|Where do you come from]?",
        "I was trained from scratch for Perilune.",
    ),
    (
        "[Can I ask you something|May I ask you a question|I have a question|Can I ask a"
        " question][?|.]",
        "Of course. What is it?",
    ),
)
THANKS: Pairs = (
    (
        "[Thanks|Thank you|Thank you very much|Many thanks|Thanks a lot|Great, thanks][.|!|]",
        "You are welcome.",
    ),
    (
        "[OK|Okay|Good|Great|Nice|I see|All right|Cool|Fine|That is good|That is"
        " interesting][.|!|]",
        "[Is there anything else?|What else can I do for you?]",
    ),
    (
        "[That is right|Correct|Well done|Very good|You are right|Good answer][.|!|]",
        "Thank you.",
    ),
    (
        "[I am happy|I feel good|I had a good day|Today is a good day|The weather is nice][.|!|]",
        "I am glad to hear that.",
    ),
    (
        "[I am sad|I feel bad|I am tired|I had a bad day|I am ill|It is raining][.|]",
        "I am sorry to hear that.",
    ),
    ("[Yes|No|Maybe|Not now|No, thank you|Nothing][.|]", "All right."),
    (
        "[Let us talk about something else|Let us talk|Tell me something|I want to talk][.|]",
        "All right. What do you want to talk about?",
    ),
)
BYE: Pairs = (
    ("[Goodbye|Bye|Bye bye|See you|See you soon|Good night|I have to go|I must go now][.|!|]",
     "Goodbye!"),
)
SYSTEM = lines(r"""
    You are a helpful assistant.
    You are a helpful assistant.
    You are Perilune, a small language model.
    You are a friendly assistant.
    Answer in one sentence.
    You are a kind helper.
    Be brief.
    Answer the questions of the user.
    You are an assistant that knows simple facts.
    You are a helpful AI assistant.
    Be friendly and short.
    Talk with the user.
""")
# Words before and after something that is told; AGAIN when it was told before and has changed.
BEFORE = lines("""
    Hello! | Hi! | Hi, | Hello, | Hello. | Hey, | Good morning. | By the way, | You know, | Well,
    So, | Please remember: | Remember this: | Let me tell you something. | Just so you know,
    I want to tell you something. | Oh, and | Nice to meet you. | How are you?
    You should know that | I want you to know that | Note that | Keep in mind that
    I must tell you that | Let me say that
    Remember that | For your information: | Did I tell you that | As I said, | Today I can say that
    It is true that | First of all, | One more thing: | Also, | I can tell you that | Listen,
""")
AFTER = lines("""
    Please remember that. | Nice to meet you. | Remember it. | How are you? | And you?
    Do not forget that. | I like it here. | It is a nice day.
""")
_LOWERED = {"My", "We", "The", "This", "People", "They", "Everybody", "Everyone", "Our", "Home",
            "There", "At", "For", "Now", "Nowadays", "Today", "Currently", "Right", "Most", "It",
            "Of", "As"}
AGAIN = lines("Actually, | No, | Sorry, | I was wrong. | Wait. | Now")


def one_of(r: Random, row: Tuple[str, ...]) -> str:
    """One of the phrases that stand between bars in any of the lines."""
    return r.choice([phrase.strip() for line in row for phrase in line.split("|")])


def _way_to_ask(r: Random, topic: str) -> str:
    """A question about a topic, as a template: a ready one, or one built around a clause."""
    if r.random() < 0.6:
        return r.choice(ASK[topic])
    kind, asked = r.choice((("clause", topic), ("clause", topic), ("noun", topic + ",")))
    return r.choice(ASKING[kind]).replace("{x}", r.choice(ASKED[asked]))


def _behind(opener: str, text: str) -> str:
    """The text behind words that introduce it."""
    if opener[-1] in ",:t" and text.split()[0] in _LOWERED:
        text = text[0].lower() + text[1:]
    return opener + " " + text


class Talk:
    """One dialog in the making: its messages and what the user has told."""

    TOPICS = ("name name name name age age home home home home home pet pet pet colour colour"
              " colour relative food hobby job").split()

    def __init__(self, r: Random, name: Names = world.name, city: Names = world.city) -> None:
        self.r, self.name, self.city = r, name, city
        self.messages: List[Message] = []
        self.told: Dict[str, Dict[str, str]] = {}
        self.notes: List[notes.Told] = []

    def turn(self, user: str, answer: str, keep_case: bool = False) -> None:
        """Adds what the user says and the answer to it."""
        r = self.r
        # A name at the beginning keeps its capital, or it could not be copied.
        if not keep_case and not any(user.startswith(f["v"]) for f in self.told.values()):
            user = careless(r, user)
        if r.random() < 0.02 and answer.endswith("."):
            answer += " " + say(r, "However, [I may be wrong|there is more to say about it|that is"
                                   " all I know|you can ask me more|I don't know more about it].")
        self.messages += [("user", user), ("assistant", answer)]

    def ask(self, question: str, answer: str) -> None:
        """A question, perhaps with other words around it."""
        self.turn(wrapped(self.r, question), answer)

    def value(self, topic: str) -> Dict[str, str]:
        """A new value for a topic, with all the forms its phrasings need."""
        r = self.r
        if topic == "name":
            value = world.full_name(r) if r.random() < 0.06 else self.name(r)
            roll = r.random()
            fill = dict(v=value.lower() if roll < 0.05 else value.upper() if roll < 0.06 else value)
        elif topic == "age":
            fill = dict(v=str(r.randint(4, 99) if r.random() < 0.95 else r.randint(100, 999)))
        elif topic == "home":
            fill = dict(v=self.city(r))
            if r.random() < 0.05:
                fill["v"] = r.choice(world.COUNTRIES)[0]
            elif r.random() < 0.05:
                fill["v"] = fill["v"].lower()
        elif topic in ("pet", "relative"):
            kind = r.choice(world.PETS if topic == "pet" else world.RELATIVES)
            if topic == "pet" and r.random() < 0.15:
                kind = world.made_up_word(r)
            fill = dict(v=self.name(r), s=kind, p=article(kind))
        else:
            words = dict(colour=world.COLOURS, food=world.FOODS, hobby=world.HOBBIES,
                         job=world.PLAIN_JOBS)[topic]
            fill = dict(v=r.choice(words) if r.random() < 0.78 else world.made_up_word(r))
        fill["V"], fill["a"] = capitalised(fill["v"]), article(fill["v"])
        return fill

    def sentence(self, topic: str, fill: Dict[str, str]) -> str:
        """A sentence that tells the topic; remembers what was told."""
        ways = {"pet": TELL_PET, "relative": TELL_RELATIVE}.get(topic) or TELL[topic]
        self.remember(topic, fill)
        return say(self.r, self.r.choice(ways), **fill)

    def remember(self, topic: str, fill: Dict[str, str]) -> None:
        """Notes what has been told."""
        self.told[topic] = fill
        if topic == "pet":
            self.told["petname"] = fill

    def tell(self, topic: Optional[str] = None) -> None:
        """The user tells one thing, sometimes two or three at once, perhaps with a question."""
        r = self.r
        chosen = [topic or r.choice(self.TOPICS)]
        for _ in range(r.choices((0, 1, 2), (62, 25, 13))[0]):
            more = r.choice(self.TOPICS)
            if more not in chosen:
                chosen.append(more)
        again = any(t in self.told for t in chosen)
        fills = {t: self.value(t) for t in chosen}
        text = self._sentences(chosen, fills)
        if again and r.random() < 0.8:
            text = one_of(r, AGAIN) + " " + text
        elif r.random() < 0.30:
            text = _behind(one_of(r, BEFORE), text)
        elif r.random() < 0.12:
            text += ("" if text[-1] in ".!?" else ".") + " " + one_of(r, AFTER)
        elif r.random() < 0.12:  # a question in the same message: it is the one that is answered
            fact = facts.ask(r)
            text += "" if text[-1] in ".!?" else "."
            self.turn(text + " " + fact.question, fact.answer)
            return
        if r.random() < 0.06:
            question, answer = self.question(r.choice(chosen))
            text += "" if text[-1] in ".!?" else "."
            self.turn(text + " " + question, answer)
            return
        named = chosen[0] if r.random() < 0.75 else r.choice(chosen)
        self.turn(text, say(r, r.choice(ACK[named]), **fills[named]))

    def _sentences(self, chosen: List[str], fills: Dict[str, Dict[str, str]]) -> str:
        r = self.r
        if {"name", "age", "home"} == set(chosen) and r.random() < 0.5:
            for t in chosen:
                self.remember(t, fills[t])
            return say(r, r.choice(INTRODUCTIONS), n=fills["name"]["v"], a=fills["age"]["v"],
                       h=fills["home"]["v"])
        if {"name", "home"} == set(chosen) and r.random() < 0.4:
            for t in chosen:
                self.remember(t, fills[t])
            return say(r, r.choice(NAME_AND_HOME), n=fills["name"]["v"], h=fills["home"]["v"])
        parts = [self.sentence(t, fills[t]) for t in chosen]
        if len(parts) == 2 and r.random() < 0.5 and parts[0].endswith("."):
            second = parts[1]
            if not second.startswith(("I ", "I'm", fills[chosen[1]]["v"])):
                second = second[0].lower() + second[1:]
            return parts[0][:-1] + r.choice((" and ", ", and ")) + second
        return " ".join(p if p[-1] in ".!?" or p is parts[-1] else p + "." for p in parts)

    def question(self, topic: str) -> Tuple[str, str]:
        """A question about what was told, or was not, and its answer."""
        r = self.r
        noted = {k for told in self.notes for _, k in told.about}
        kinds = [k for k in (world.PETS if topic == "petname" else world.RELATIVES)
                 if k not in noted]
        way = _way_to_ask(r, topic)
        fill = self.told.get(topic)
        if fill is None:
            return say(r, way, s=r.choice(kinds)), "I don't know."
        if topic in ("petname", "relative") and r.random() < 0.08:  # of another one
            other = r.choice([k for k in kinds if k != fill["s"]])
            return say(r, way, s=other), "I don't know."
        return say(r, way, **fill), say(r, ANSWER[topic], **fill)

    def recall(self, topic: Optional[str] = None) -> None:
        """The user asks for something told before, or for something that was not told."""
        r = self.r
        if topic is None:
            known = self.told and r.random() < 0.70
            topic = r.choice(list(self.told) if known else list(ASK))
        question, answer = self.question(topic)
        others = [t for t in self.told if t != topic and t not in ("petname", "relative", "pet")]
        if r.random() < 0.04 and topic in self.told and others:  # two questions at once
            second, more = self.question(r.choice(others))
            question = question.rstrip("?.") + " and " + second[0].lower() + second[1:]
            answer += " " + more
        self.ask(question, answer)

    def note(self) -> None:
        """The user tells something of another kind; what can be asked about it is kept."""
        told = notes.draw(self.r, self.name, self.city)
        self.notes = [old for old in self.notes if not old.about & told.about] + [told]
        text = notes.around(self.r, told.text)
        if self.r.random() < 0.05:
            question, answer = told.asks[0]
            self.turn(text + " " + question, answer, keep_case=True)
        else:  # a value at the beginning keeps its capital, or it could not be copied
            self.turn(text, notes.answer(self.r), keep_case=text.split()[0] not in (
                "My", "The", "There", "We", "You", "Remember", "Of", "I"))

    def recall_note(self) -> None:
        """A question about one of the notes, or about something that was not noted."""
        r = self.r
        if self.notes and r.random() > 0.08:
            self.ask(*r.choice(r.choice(self.notes).asks))
            return
        other = notes.draw(r, self.name, self.city)
        if not any(other.about & told.about for told in self.notes):
            self.ask(other.asks[0][0], "I don't know.")

    def fact(self) -> None:
        """A question about the world, often with one or two that need it."""
        r = self.r
        fact: Optional[facts.Fact] = facts.ask(r)
        while fact is not None:
            answer = fact.answer
            if r.random() < 0.03 and answer != "I don't know.":
                answer += " " + facts.contrast(r, fact)
            self.ask(fact.question, answer)
            fact = facts.follow(r, fact) if r.random() < 0.38 else None

    def small_talk(self) -> None:
        """Thanks, moods and other things between the questions."""
        question, answer = self.r.choice(THANKS if self.r.random() < 0.6 else GREET[2:])
        self.turn(say(self.r, question), say(self.r, answer))

    def greet(self) -> None:
        """The first words of a dialog."""
        self.turn(*(say(self.r, part) for part in self.r.choice(GREET)))

    def friend(self) -> None:
        """Somebody else is talked about and asked for: names belong to those who have them."""
        r = self.r
        who, town, age, other = self.name(r), self.city(r), str(r.randint(4, 99)), self.name(r)
        thing = r.choice(world.COLOURS) + " " + r.choice(world.OBJECTS)
        line, question = r.choice((
            (f"{who} lives in {town}.", f"Where does {who} live?"),
            (f"{who} is {age} years old.", f"How old is {who}?"),
            (f"{who} is the friend of {other}.", f"Who is the friend of {other}?"),
            (f"{who} has {article(thing)}.", f"What does {who} have?"),
            (f"{who} has the {thing}.", f"Who has the {thing}?"),
        ))
        intro = r.choice(("", "", "My friend ", "Listen: ", "I know somebody. "))
        self.turn(intro + line, notes.answer(r), keep_case=not intro)
        if r.random() < 0.5:
            self.filler()
        self.turn(question, line)

    def story(self) -> None:
        """A story on request."""
        r = self.r
        if r.random() < 0.4:
            request = say(r, "[Tell me a story|Please tell me a story|Can you tell me a story|I"
                             " want to hear a story|A story, please|Write a story][.|?|]")
            self.turn(request, stories.story(r, however=False))
            return
        hero = self.name(r)
        kind = r.choice(stories.CREATURES + [k for k, _ in stories.PEOPLE])
        request = say(r, "[Tell me|Write|Please tell me|Can you tell me] a story about {k}"
                         " [named|called] {h}[.|?]", k=article(kind), h=hero)
        self.turn(request, stories.story(r, hero, kind, however=False))

    def echo(self) -> None:
        """The user asks for words to be repeated: copying in its purest form."""
        r = self.r
        words = echo_words(r, 1, 5)
        request = say(r, "[Repeat|Say|Please repeat|Repeat after me|Please say|Write|Say this]:")
        self.turn(request + " " + words, words, keep_case=True)

    def filler(self) -> None:
        """A turn that has nothing to do with what was told."""
        self.r.choices((self.fact, self.small_talk, self.echo), (6, 3, 0.5))[0]()

    def text(self) -> str:
        """The dialog in ChatML."""
        return chat_text(self.messages)


def echo_words(r: Random, least: int, most: int) -> str:
    """Words that have nothing to do with each other."""
    return " ".join(
        r.choice((world.made_up_word(r), world.name(r), world.city(r), r.choice(world.OBJECTS),
                  str(r.randint(0, 999))))
        for _ in range(r.randint(least, most)))


def chat_text(messages: List[Message]) -> str:
    """The messages in ChatML."""
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in messages)


def begin(r: Random, share: float = 0.35) -> Talk:
    """A new dialog; some start with a general system prompt."""
    talk = Talk(r)
    if r.random() < share:
        talk.messages.append(("system", r.choice(SYSTEM)))
    return talk


TOLD_BY_SYSTEM = {
    "name": "[The user is called {v}.|The name of the user is {v}.|The user's name is {v}.|You are"
            " talking to {v}.|The player is called {v}.]",
    "age": "The user is {v} years old.",
    "home": "The user lives in {v}.",
    "colour": "The user's favourite colour is {v}.",
}


def _begin_told(r: Random) -> Talk:
    """A dialog whose system prompt says who the user is."""
    talk, text = Talk(r), []
    for topic in r.sample(list(TOLD_BY_SYSTEM), r.choice((1, 1, 2, 3))):
        fill = talk.value(topic)
        talk.remember(topic, fill)
        text.append(say(r, TOLD_BY_SYSTEM[topic], **fill))
    if r.random() < 0.6:
        text.insert(0, r.choice(SYSTEM))
    talk.messages.append(("system", " ".join(text)))
    return talk


def fact_chat(r: Random) -> str:
    """Questions about the world and their follow-ups."""
    talk = begin(r)
    if r.random() < 0.2:
        talk.greet()
    for _ in range(r.choice((1, 1, 2, 2, 3, 4))):
        talk.fact()
        if r.random() < 0.12:
            talk.small_talk()
    if r.random() < 0.08:
        talk.turn(*(say(r, part) for part in BYE[0]))
    return talk.text()


def recall_chat(r: Random) -> str:
    """The user tells things and asks for them later; other turns lie between."""
    talk = _begin_told(r) if r.random() < 0.05 else begin(r)
    if r.random() < 0.25:
        talk.greet()
    if r.random() < 0.10:  # asked before anything was told
        talk.recall()
    talk.tell("name" if r.random() < 0.45 else None)
    steps = (talk.filler, talk.tell, talk.note, talk.recall_note, talk.recall)
    for _ in range(r.choice((1, 2, 2, 3, 3, 4, 5, 7)) if r.random() < 0.97 else r.randint(8, 16)):
        r.choices(steps, (34, 14, 10, 10 if talk.notes else 0, 32))[0]()
    talk.recall(r.choice(list(talk.told)))
    if r.random() < 0.04:
        talk.story()
    return talk.text()


SPEAKERS: Pairs = (("User: ", "Assistant: "), ("User: ", "Assistant: "), ("Q: ", "A: "),
                   ("Human: ", "AI: "), ("You: ", "Bot: "), ("User: ", "Bot: "), ("", ""))


def recall_plain(r: Random) -> str:
    """The same as a script with speakers, or as running text."""
    talk = Talk(r)
    talk.tell("name" if r.random() < 0.6 else None)
    for _ in range(r.randint(0, 3)):
        r.choices((talk.filler, talk.tell, talk.recall), (3, 2, 2))[0]()
    talk.recall(r.choice(list(talk.told)))
    if r.random() < 0.25:
        return r.choice((" ", "\n")).join(text for _, text in talk.messages)
    if r.random() < 0.25:  # all that was told, then the question
        last = [text for _, text in talk.messages[-2:]]
        told = [text for role, text in talk.messages[:-2] if role == "user" and text[-1:] == "."]
        return " ".join(told + last) if told else "\n".join(last)
    marks = dict(zip(("user", "assistant"), r.choice(SPEAKERS)))
    return "\n".join(marks[role] + text for role, text in talk.messages)


def note_chat(r: Random) -> str:
    """Other things that a user tells and asks for."""
    talk = begin(r, 0.25)
    for _ in range(r.choice((1, 1, 2, 2, 3))):
        talk.note()
        if r.random() < 0.15:
            talk.tell()
        for _ in range(r.choice((0, 0, 1, 1, 2))):
            talk.filler()
        if r.random() < 0.7:
            talk.recall_note()
    talk.recall_note()
    return talk.text()


def unknown_chat(r: Random) -> str:
    """Questions about a user who has told nothing, or something else."""
    talk = begin(r)
    if r.random() < 0.4:
        talk.filler()
    for _ in range(r.randint(1, 3)):
        topic = r.choice(list(ASK))
        if r.random() < 0.4:
            told = r.choice([t for t in TELL if t != topic])
            if told not in talk.told:
                talk.tell(told)
        talk.recall(topic)
    return talk.text()


def friend_chat(r: Random) -> str:
    """Other people, and repetitions."""
    talk = begin(r, 0.2)
    for _ in range(r.randint(1, 3)):
        r.choices((talk.friend, talk.echo, talk.small_talk), (6, 5, 1))[0]()
    return talk.text()


def story_chat(r: Random) -> str:
    """A story on request, and what follows it."""
    talk = begin(r, 0.2)
    talk.story()
    if r.random() < 0.3:
        talk.small_talk()
    return talk.text()
