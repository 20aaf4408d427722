"""Pages on which a person works: each is a file that asks nobody for anything, and gives back what was done as another file."""
