"""The program around publishing and rendering: signals, errors, and the exit record."""

from argparse import Namespace

from runner.diffusion.job import Job, finish, guarded, open_job
from runner.errors import OutOfDeviceMemory
from runner.infer.export import Export, export_checkpoint, parse_checkpoint
from runner.infer.publish import publish
from runner.infer.render import render
from runner.runs.exported import exported_file
from runner.runs.handover import Handover, StopFlag

OUT_OF_MEMORY = OutOfDeviceMemory(
    "the GPU's memory is too small for this model",
    "Set samples.precision: fp16 and samples.batch_size: 1, or ask for a larger resources.gpu.",
)


def run(arguments: Namespace) -> int:
    """Publish, render or export, and say in `exit.json` how it went.

    Args:
        arguments: `mode`, `run` and `work`; `shard` of a render; `checkpoint`, `format`, `dtype`, `to`
            and `force` of an export.

    Returns:
        the exit code of docs/architecture.md.
    """
    work = arguments.work.resolve()
    handover = Handover(work / "handover")

    def body() -> str:
        stop = StopFlag(handover).install()
        _do(open_job(arguments.run, work, handover, stop), arguments)
        return _DONE[arguments.mode]

    return finish(handover, guarded(body, program="inference", work=work, out_of_memory=OUT_OF_MEMORY))


_DONE = {"publish": "published", "render": "drawn", "export": "exported"}


def _do(job: Job, arguments: Namespace) -> None:
    if arguments.mode == "publish":
        publish(job)
    elif arguments.mode == "render":
        render(job, arguments.shard)
    else:
        wanted = Export(
            parse_checkpoint(arguments.checkpoint),
            arguments.format,
            arguments.dtype,
            arguments.to,
            replace=arguments.force,
        )
        exported_file(job.work).write_bytes(export_checkpoint(job, wanted).to_bytes())
