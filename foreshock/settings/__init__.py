"""The settings: their models, how they are read, and which of them the store keeps."""
