"""Prompts: the phrases that describe a normality, and the sentences made of them (step 1 of the method)."""
