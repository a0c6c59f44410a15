"""NAND: tell a trained image anomaly detector, by text alone, what counts as normal from now on."""
