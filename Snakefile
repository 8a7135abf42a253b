# `snakemake --cores 2` runs the study of params.yaml, `theory_positions` and the like a controlled study beside it,
# `theory` all of them. The rules are made from dvc.yaml and studies/dvc.yaml in workflow/Snakefile.
include: "workflow/Snakefile"


rule all:
    default_target: True
    input:
        outputs_of(""),


rule theory:
    input:
        [out for theory in theories for out in outputs_of(theory)],


for one_theory in theories:

    rule:
        name:
            f"theory_{one_theory}"
        input:
            outputs_of(one_theory),
