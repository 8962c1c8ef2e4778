"""Tables, tests, published numbers, figures and the report."""
