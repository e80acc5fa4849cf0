"""Questions about the past. Nothing here stores anything."""
