"""Everything that only trains. Serving imports none of it."""
