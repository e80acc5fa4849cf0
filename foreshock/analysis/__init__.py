"""Analyse feeds and their past. Nothing here writes to a store."""
