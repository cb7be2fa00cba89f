"""Versions stored below data/: their list, their needs of each other, and their removal."""
