"""Virtual data: references to chunks that stay in the files of other formats, read only where that was granted."""
