"""What everything else stands on: errors, log, files, configuration grammar, device, processes."""
