"""What is kept on disk: the content-addressed store and the files of maps."""
