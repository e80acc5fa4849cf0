"""Where records come from: files, RSS feeds and Kafka, each behind one protocol."""
