"""Images: their sources, decoding and preparation, tables and batches."""
