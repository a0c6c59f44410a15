"""``python -m nand``: the command ``nand``."""

from nand.cli.app import app

app(prog_name="nand")
