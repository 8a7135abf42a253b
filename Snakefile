# `snakemake --cores 2` runs the study of params.yaml. The rules are made from dvc.yaml in workflow/Snakefile.
include: "workflow/Snakefile"


rule all:
    default_target: True
    input:
        every_output,
