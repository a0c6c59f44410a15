"""Data sets of images as one table: folder trees, MVTec AD, VisA and the drawn demo."""
