"""Train the models. Serving imports nothing of this package."""
