"""A reader of the pages without a browser: it speaks Streamlit's protocol, so twenty of them cost two cores nothing.

    async with viewer(address, "Topic", "topic=_all") as one:
        one.first            # seconds until the page was complete
        await one.refresh()  # seconds; a browser asks for this by itself

An error on a page raises `PageFailed`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import connect

MOST = 64 * 2**20
"""The largest message, in bytes."""


class PageFailed(Exception):
    """A page showed an error, or did not finish."""


class Viewer:
    """An open page."""

    def __init__(self, socket: Any, page: str, query: str) -> None:
        self._socket = socket
        self._page, self._query = page, query
        self._hash = self._fragment = ""
        self.first = 0.0
        self.bytes = 0
        """How much the server sent with the last answer."""

    async def open(self) -> None:
        """Ask for the whole page, and wait for its end."""
        began = time.perf_counter()
        await self._ask(fragment="")
        self.first = time.perf_counter() - began

    async def refresh(self) -> float:
        """Ask for the part that refreshes, as a browser does every few seconds. Return the seconds that it took."""
        began = time.perf_counter()
        await self._ask(fragment=self._fragment)
        return time.perf_counter() - began

    async def _ask(self, fragment: str) -> None:
        from streamlit.proto.BackMsg_pb2 import BackMsg
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        asked = BackMsg()
        state = asked.rerun_script
        state.query_string, state.page_name, state.page_script_hash = self._query, self._page, self._hash
        state.fragment_id, state.is_auto_rerun = fragment, bool(fragment)
        await self._socket.send(asked.SerializeToString())
        self.bytes = 0
        while True:
            raw = await self._socket.recv()
            self.bytes += len(raw)
            message = ForwardMsg()
            message.ParseFromString(raw)
            kind = message.WhichOneof("type")
            if kind == "navigation":
                self._hash = message.navigation.page_script_hash
            elif kind == "auto_rerun":
                self._fragment = message.auto_rerun.fragment_id
            elif kind == "delta" and message.delta.new_element.WhichOneof("type") == "exception":
                raise PageFailed(f"{self._page or 'now'}?{self._query}: {message.delta.new_element.exception.message}")
            elif kind == "script_finished":
                if message.script_finished in (ForwardMsg.FINISHED_EARLY_FOR_RERUN,):
                    continue  # the page asked to be run again
                if message.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                    raise PageFailed(f"{self._page}?{self._query}: the page could not be compiled")
                return


@asynccontextmanager
async def viewer(address: str, page: str, query: str) -> AsyncIterator[Viewer]:
    """Open a page, and close it at the end of this context."""
    stream = address.replace("http://", "ws://") + "/_stcore/stream"
    # Streamlit reads the name of a session from the third subprotocol; a new page has none.
    async with connect(stream, origin=address, subprotocols=["streamlit"], max_size=MOST) as socket:  # type: ignore[arg-type, list-item]
        one = Viewer(socket, page, query)
        await one.open()
        yield one
