"""Revenue and user figures: typed calls of the SQL functions that define them."""
