"""Score with a sequence-classification folder of Hugging Face: `[model] weights = "hf:FOLDER"`."""
