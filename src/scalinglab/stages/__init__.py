"""One module per stage, named as the stage: reads files, calls the pure packages, writes files."""
