"""What is stored below data/: its versions, which of them others need, and their removal."""
