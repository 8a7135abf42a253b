"""`python -m scalinglab STAGE ...`: the command that dvc.yaml and Snakemake run."""

import sys

from scalinglab.cli import main

sys.exit(main())
