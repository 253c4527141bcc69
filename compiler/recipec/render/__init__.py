"""Plan and documents to text."""
