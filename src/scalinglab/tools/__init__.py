"""The commands around a study, one module each: `run(arguments)`. They may import from anywhere in the package."""
