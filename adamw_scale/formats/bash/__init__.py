"""What the commands of a bash script become, by its syntax; nothing is run.

script.py       statements in the order in which bash would go through them, commands, functions
loops.py        for, while and until
branches.py     lists, if and case
builtins.py     commands of bash itself
assignments.py  what sets variables
conditions.py   what [ ], [[ ]] and test say
words.py        quotes, expansions and splitting
variables.py    what variables hold, and what two branches leave of them
arithmetic.py   what $(( )) computes
values.py       texts of which parts are not known, or are defaults
syntax.py       the tree of a script, and the words of a line
"""
