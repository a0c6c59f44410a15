"""NAND: add a normality to a trained image anomaly detector by text alone (arXiv 2407.19849)."""
