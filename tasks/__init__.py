"""Cached Prefect tasks: a key, a call into nand_core, and the artifact's record."""
