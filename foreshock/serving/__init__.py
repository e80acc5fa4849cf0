"""Score and read over HTTP: the application behind `foreshock serve`.

`app.py` puts the parts together. Requests pass `gate.py` first; `scoring.py`, `reading.py` and `events.py` answer them.
"""
