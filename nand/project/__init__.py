"""The project in the current folder: its settings, its runs through DVC, and changes of what is normal."""
