"""Scores that tell which images do not belong, and how well they tell it."""
