"""What users say about themselves in chats, how they ask for it, and what is answered.

The phrasings alone, as templates for phrase.say; chat.py puts dialogs together from them.
Phrasings in the HELD_OUT tables are used by the evaluation only.
"""

from typing import Dict, Tuple

from phrase import lines, table

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
# What is asked for, within a question around it: as a clause, and as a noun.
CLAUSES = table("""
= name
    what my name is
    what my name was
    what I am called
    how I am called
    who I am
= age
    how old I am
    what my age is
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
= colour
    what my favourite colour is
    what my favorite color is
    which colour I like best
    which colour is my favourite
= food
    what my favourite food is
    which food I like best
= hobby
    what my hobby is
= job
    what my job is
    what I do for work
= petname
    what my {s} is called
    how my {s} is called
    what my {s}'s name is
= pet
    what pet I have
    which pet I have
    what kind of pet I have
= relative
    what my {s} is called
    what my {s}'s name is
""")
NOUNS = table("""
= name
    my name
= age
    my age
= home
    my home town
    my home
    the [town|city|place] I live in
= colour
    my favourite colour
    the colour I like best
= food
    my favourite food
= hobby
    my hobby
= job
    my job
= petname
    the name of my {s}
    my {s}'s name
= pet
    my pet
= relative
    my {s}'s name
    the name of my {s}
""")
# Questions around clauses, and around nouns; {x} is the one or the other.
AROUND_CLAUSE = lines("""
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
""")
AROUND_NOUN = lines("""
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
AGAIN = lines("Actually, | No, | Sorry, | I was wrong. | Wait. | Now")
