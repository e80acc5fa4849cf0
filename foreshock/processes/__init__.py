"""One file a command that reads, decides or delivers, and the parts that they share."""
