"""Where records come from: files, RSS feeds and Kafka, each behind the protocols of `live`."""
