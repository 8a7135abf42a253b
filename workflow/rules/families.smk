import re
from pathlib import Path

from scalinglab.theory.measurement import measurement_of
from scalinglab.theory.protocol import check_variants, protocol_of

# Rules from dvc.yaml. Before planning, the driver restores what the DVC cache holds; a dry run changes nothing.
try:
    study_config.load()
    families = pipeline.load()
    params_yaml = pipeline.all_params()
    for theory in params_yaml.get("theory", {}):
        protocol_of(params_yaml, theory)
    for theory in params_yaml.get("measured", {}):
        measurement_of(params_yaml, theory)
    for stage in pipeline.stages_of(families):
        pipeline.param_values(stage, params_yaml)
    if workflow.is_main_process:
        for theory in driver.questions_asked(families, sys.argv[1:]):
            if theory in params_yaml.get("theory", {}):
                # Questions that nobody asks for need not suit the study.
                check_variants(params_yaml, protocol_of(params_yaml, theory))
        driver.prepare(sys.argv[1:])
except UserError as error:
    sys.exit(f"error: {error}")


def outputs_of(theory):
    """Every output of the study itself (theory: empty), or of a question beside it."""
    chosen = (stage for stage in pipeline.stages_of(families) if stage.theory == theory)
    return [out for stage in chosen for out in stage.outs]


theories = sorted({stage.theory for stage in pipeline.stages_of(families)} - {""})


wildcard_constraints:
    size=r"d\d+(s\d+)?",
    budget=r"\d+[kMG]?",
    segment_evaluate_after=r"tokenizer|forecast",
    segment_to=r"\d+[kMG]?",
    figure=r"[a-z_]+",
    recipe=r"[a-z_]+",
    seed=r"\d+",


def by_outputs(family):
    """The family's stages by their outputs: a job's output names tell which stage it is."""
    return {stage.outs: stage for stage in family.stages}


def outs_of(family, wildcards):
    """The outputs of the job with these wildcards."""
    return tuple(
        pattern.format(**dict(wildcards.items())) for pattern in family.out_patterns
    )


every_output = [out for stage in pipeline.stages_of(families) for out in stage.outs]
set_of_outputs = set(every_output)
outputs_in = {}
for out in every_output:
    for folder in Path(out).parents:
        outputs_in.setdefault(str(folder), []).append(out)


def inputs_of(family):
    """The results that a job reads; a folder stands for the declared outputs inside it."""
    stages = by_outputs(family)

    def inputs(wildcards):
        deps = filter(pipeline.is_result, stages[outs_of(family, wildcards)].deps)
        return [path for dep in deps for path in files_behind(dep)]

    return inputs


def files_behind(dep):
    """The outputs that a dependency on a result stands for. Raises KeyError where no stage makes it."""
    return [dep] if dep in set_of_outputs else outputs_in[dep]


def stage_param(family, read):
    """A params function that looks up the job's stage."""
    stages = by_outputs(family)
    return lambda wildcards: read(stages[outs_of(family, wildcards)])


def log_of(family, suffix):
    """logs/<study>/<family>[-wildcards]: wildcards as in the family's first output."""
    wildcards = re.findall(r"{(\w+)}", family.out_patterns[0])
    name = "-".join([family.name, *(f"{{{wildcard}}}" for wildcard in wildcards)])
    return f"logs/{params_yaml['study']}/{name}{suffix}"


def keys_of(family):
    """The keys that a family is made over: two may write files of one name, each in folders of its own."""
    if not any("{key}" in out for out in family.out_patterns):
        return {}
    keys = (stage.name.rpartition("@")[2] for stage in family.stages)
    return {"key": "|".join(map(re.escape, keys))}


for family in families.values():

    rule:
        name:
            family.name
        input:
            inputs_of(family),
        output:
            *family.out_patterns,
        log:
            log_of(family, ".log"),
        benchmark:
            log_of(family, ".tsv")
        wildcard_constraints:
            **keys_of(family),
        priority: PRIORITY.get(family.name, 0)
        conda:
            "../envs/scalinglab.yaml"
        threads: 1
        resources:
            mem_mb=MEMORY_MB.get(family.name, DEFAULT_MEMORY_MB),
            gpu=int(
                family.name in ON_GPU and params_yaml["execution"]["device"] == "cuda"
            ),
        params:
            cmd=stage_param(family, lambda stage: stage.cmd),
            plan=stage_param(family, lambda stage: pipeline.plan_of(stage, params_yaml)),
        shell:
            "export SCALINGLAB_PLAN={params.plan}; ({params.cmd}) > {log} 2>&1"
