"""A page for every word that this program answers with, offline.

    page.py        what a page is
    written.py     pages that are written: cautions, inputs, findings, terms and statuses, in the .toml beside
    schemas.py     pages of the JSON documents that are printed, made of their nouns
    generated.py   pages made of what rules, conventions, schedules, frameworks and the others say of themselves
    topics.py      all of them by kind, and the ones that a topic means

A new rule, framework and so on has its page by being one. A new caution or finding is an entry in its .toml.
"""

from adamw_scale.explain.page import Explanation, Page
from adamw_scale.explain.topics import pages, pages_on

__all__ = ["Explanation", "Page", "pages", "pages_on"]
