"""A page on which an operator tries a normality, sees what it would change, and accepts it: ``nand page``."""
