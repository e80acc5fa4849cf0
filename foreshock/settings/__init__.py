"""The settings: their models, how they are read, and their versions in the store."""
