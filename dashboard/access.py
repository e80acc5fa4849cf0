"""Who looks at the page: whether this person may read, and may act. Everything that a page shows or writes asks here.

if not access.visitor().may_act: ...
"""

from __future__ import annotations

import time
from urllib.parse import urlencode, urlsplit

import streamlit as st

from foreshock.dashboard import markup
from foreshock.dashboard.settings import served
from foreshock.dashboard.sign_in import Visitor, judged
from foreshock.dashboard.start import START


def visitor() -> Visitor:
    """Return the person of this session. Ask again before each write: a sign-in ends while a page is open."""
    settings = served()
    if not settings.sign_in.on:
        return Visitor(None, True, settings.may_act)
    return judged(settings.sign_in, st.user.to_dict(), now=time.time())


def admitted() -> bool:
    """Draw who is signed in. Return whether this person may read; if not, draw the way to sign in."""
    if not served().sign_in.on:
        return True
    person = visitor()
    template = "who.html" if person.may_read else "sign_in.html"
    st.html(markup.render(template, name=person.name, acts=person.may_act, start=_start()))
    return person.may_read


def _start() -> str:
    """Return the address that begins a sign-in and ends on this page."""
    parts = urlsplit(st.context.url or "")
    page = parts.path.rpartition("/")[2]
    query = "&".join(urlencode({name: value}) for name in st.query_params for value in st.query_params.get_all(name))
    return f"{START}?{urlencode({'page': f'{page}?{query}' if query else page})}"
