"""What knows corpora and the paper."""
