"""The command ``nand``: what is typed and printed, over ``nand.project`` and the results' files."""
