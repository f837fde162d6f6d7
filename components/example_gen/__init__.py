"""ExampleGen of our own: instruction and chat records from JSON Lines, JSON arrays, CSV and Parquet."""
