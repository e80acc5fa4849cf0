"""Links that change what a page shows without loading it again: to open a row, to turn a page, to show the rest.

    here.links("open", "page")                          # once in the page's body
    here.link("4 more", more="1")                       # a link, in a template: the address as it is, but for `more`

Such a link is an ordinary link: its address has the whole state of the page, and it opens in a new tab, too. On the
page itself, a click sends the address's query to the server instead, which takes over the names that `links` was given
and draws what refreshes in place. So scroll, focus and what a person types stay. A click anywhere in a table's row
`fs-row` follows the row's link, also where a refresh replaces the row while the button is held down.
"""

from __future__ import annotations

from urllib.parse import parse_qs, quote, urlencode

import streamlit as st
from markupsafe import Markup, escape

from foreshock.dashboard import text

KEY = "here"
_SCRIPT = """
export default function ({ setTriggerValue }) {
  let down = null;
  const linked = (event) => {
    const at = event.target.closest ? event.target.closest("a, button, input, summary, tr.fs-row") : null;
    const link = at && (at.matches("tr.fs-row") ? at.querySelector("a.fs-here") : at);
    if (!link || !link.matches("a.fs-here") || event.button) return null;
    return event.ctrlKey || event.metaKey || event.shiftKey || event.altKey ? null : link;
  };
  const follow = (link) => setTriggerValue("followed", new URL(link.href).search);
  const clicked = (event) => {
    const link = linked(event);
    if (!link) return;
    event.preventDefault();
    follow(link);
  };
  // A refresh between press and release takes the pressed row away, and then the browser sends no click.
  const pressed = (event) => {
    const link = linked(event);
    down = link && { link, target: event.target, x: event.clientX, y: event.clientY };
  };
  const released = (event) => {
    const was = down;
    down = null;
    if (!was || was.target.isConnected || Math.hypot(event.clientX - was.x, event.clientY - was.y) > 6) return;
    follow(was.link);
  };
  const heard = { click: clicked, pointerdown: pressed, pointerup: released };
  for (const [name, hear] of Object.entries(heard)) document.addEventListener(name, hear);
  document.documentElement.dataset.fsHere = "heard"; // clicks are heard from now on
  return () => {
    delete document.documentElement.dataset.fsHere;
    for (const [name, hear] of Object.entries(heard)) document.removeEventListener(name, hear);
  };
}
"""


def link(label: str | Markup, spoken: str = "", /, **changes: str | None) -> Markup:
    """Return a link to this page with other values in its address; None removes one.

    `spoken`: what a screen reader says instead of a label that is a sign.
    """
    query = {name: st.query_params.get_all(name) for name in st.query_params}
    for name, value in changes.items():
        query.pop(name, None)
        if value is not None:
            query[name] = [value]
    href = escape("?" + urlencode(query, doseq=True, quote_via=quote))
    name = f' aria-label="{escape(text.clean(spoken, 120))}"' if spoken else ""
    return Markup(f'<a class="fs-in fs-here" href="{href}" target="_self"{name}>{escape(label)}</a>')  # noqa: S704


def links(*names: str) -> None:
    """Let the links of this page change these names of its address in place."""

    def take() -> None:
        state = st.session_state.get(KEY) or {}
        followed = parse_qs(str(state.get("followed") or "").removeprefix("?"))
        for name in names:
            if name in followed:
                st.query_params[name] = followed[name][-1]
            elif name in st.query_params:
                del st.query_params[name]

    st.components.v2.component("foreshock_here", js=_SCRIPT)(key=KEY, on_followed_change=take)
