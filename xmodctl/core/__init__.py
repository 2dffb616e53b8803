"""What everything else stands on: errors, files, declared values."""
