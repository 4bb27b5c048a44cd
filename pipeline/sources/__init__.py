"""Source files: found, downloaded, scanned and read as blocks of examples."""
