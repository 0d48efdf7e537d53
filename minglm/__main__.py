"""The `minglm` command: generate, train, evaluate, cost, doctor, play, classroom.

Exit codes: 0 done, 2 bad arguments (one line on stderr), 1 anything else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from minglm.arguments import command_line
from minglm.files import check_data, put_aside, writable


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns the exit code."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):               # a Windows code page has no Chinese: escape it
                stream.reconfigure(errors="backslashreplace")
        options = command_line().parse_args(arguments)
        options.run = globals()[options.run]
        check_data()
        return (simulated if getattr(options, "simulate_npu", False) else options.run)(options) or 0
    except BrokenPipeError:                  # who reads the output has read enough: `minglm cost | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())       # or Python complains at its end
        return 1
    except (ValueError, OSError) as error:
        print(f"minglm: {error}", file=sys.stderr)
        return 2
    except FloatingPointError as error:      # training has diverged
        print(f"minglm: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("minglm: stopped", file=sys.stderr)
        return 1


def simulated(options: argparse.Namespace) -> int | None:
    """Run the command on a simulated npu, unless another device was named, and say what that had to do."""
    from minglm.ascend import counters, simulator

    simulator.install()
    options.device = "npu:0" if options.device == "auto" else options.device
    with counters.counting() as seen:
        code = options.run(options)
    print(f"simulated npu: {seen}", file=sys.stderr)
    return code


def to_json(values: dict) -> str:
    """As JSON, with characters that the terminal or file cannot hold written as \\u escapes."""
    readable = json.dumps(values, ensure_ascii=False)
    try:
        readable.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(values)
    return readable


def keep_earlier(path: Path) -> None:
    """Put aside what is at `path`, if anything, and say so."""
    if kept := put_aside(path):
        print(f"minglm: the earlier {path} is kept as {kept}", file=sys.stderr)


def generate(options: argparse.Namespace) -> None:
    from minglm.device import set_threads
    from minglm.generate.pipeline import Pipeline
    from minglm.images import image_kind, save_image

    writable(options.out)
    image_kind(options.out)
    judge = None
    if options.read:                         # says at once if it is not installed
        from minglm.measure.ocr import Judge

        judge = Judge()
    set_threads()
    began = time.monotonic()
    pipe = Pipeline.from_pretrained(options.weights, options.device)
    if options.lora:
        pipe.load_lora(options.lora, merge=True)
    loaded = time.monotonic()
    out = pipe(options.prompt, *options.size, image=options.image, steps=options.steps,
               guidance=options.guidance, temperature=options.temperature, top_p=options.top_p,
               planner_guidance=options.planner_guidance, candidates=options.candidates,
               seed=options.seed, enhance=not options.no_enhance, progress=not options.json)
    painted = time.monotonic()
    if options.out.exists() and any(options.out.samefile(image) for image in options.image or ()):
        keep_earlier(options.out)            # the picture that was edited; other posters are painted over
    save_image(out.images[0], options.out)
    width, height = out.images[0].size
    done = dict(
        out=str(options.out),
        size=[height, width],
        prompt=out.prompts[0],
        notes=out.notes,
        seed=options.seed,
        weights=options.weights,
        device=str(pipe.device),
        load_seconds=round(loaded - began, 2),
        paint_seconds=round(painted - loaded, 2),
        plan=out.plan[0].tolist(),
    )
    if judge:
        done["read"] = [found.text for found in judge.read(out.images[0])]
    if options.json:
        print(to_json(done))
        return
    print(f"{options.out}: {height}x{width} pixels, seed {options.seed}, painted in "
          f"{done['paint_seconds']} s on {pipe.device} (loading took {done['load_seconds']} s)")
    if judge:
        print("OCR reads:", " | ".join(done["read"]) or "nothing")


def train(options: argparse.Namespace) -> int:
    if options.data is not None:
        from minglm.training.finetune import finetune

        return finetune(options)
    if options.lora is not None or options.weights is not None:
        raise ValueError("--lora and --weights are for fine-tuning: say on which pictures by --data FOLDER")
    from minglm.training.run import train

    return train(options)


def evaluate(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from minglm.device import set_threads
    from minglm.files import write_json
    from minglm.generate.pipeline import Pipeline
    from minglm.generate.request import guided, tries
    from minglm.images import save_image
    from minglm.measure import evaluate as of_prompts
    from minglm.measure import evaluate_edits as of_edits
    from minglm.measure.probe import probe
    from minglm.world.edit_prompts import load_edits
    from minglm.world.prompts import load_prompts

    writable(options.out)
    strip = options.out.with_suffix(".png")
    if strip == options.out:
        raise ValueError(f"cannot write the report to {strip}, where its pictures go: use a name in .json")
    writable(strip)
    set_threads()
    edits = options.prompts == "miniedit"
    module = of_edits if edits else of_prompts
    prompts = load_edits(options.limit) if edits else load_prompts(options.prompts, options.limit)
    columns = tuple(name for name in module.COLUMNS if name in (options.columns or module.COLUMNS))
    if "pipeline" not in columns and not edits and any(prompt.poster is None for prompt in prompts):
        raise ValueError(f"--columns {' '.join(columns)}: prompts of {options.prompts} have no drawing, so "
                         "only pipeline can be scored")
    pipe = Pipeline.from_pretrained(options.weights, options.device)
    results, shown, began = [], [], time.monotonic()
    how = dict(steps=options.steps, guidance=options.guidance,
               planner_guidance=guided(options.planner_guidance, pipe.config, edits),
               candidates=tries(options.candidates, pipe.config),
               enhance=not options.no_enhance)
    with tqdm(total=len(prompts), desc="judging", unit="prompt", disable=options.json) as bar:
        for _, prompt, pictures, scores in module.evaluate(pipe, prompts, options.seed, columns, **how):
            results.append((prompt, scores))
            if len(shown) < 12:
                shown.append(pictures)
            bar.update()
    scores = module.report(results)
    done = dict(
        weights=options.weights,
        prompts=options.prompts,
        pictures=len(results),
        seed=options.seed,
        **how,
        device=str(pipe.device),
        seconds=round(time.monotonic() - began),
        scores=scores,
    )
    probed = ""
    # a whole evaluation probes the ids, too
    if options.limit is None and options.prompts == "miniposter" and columns == module.COLUMNS:
        done["tokenizer"] = probe(pipe)
        probed = "\ntokenizer, read from its ids by linear probes: " + ", ".join(
            f"{name.replace('_', ' ')} {value}" for name, value in done["tokenizer"].items())
    for path in (options.out, strip):
        keep_earlier(path)
    write_json(options.out, done)
    save_image(of_prompts.strip(shown), strip)
    print(
        to_json(done)
        if options.json
        else f"{module.format_report(scores)}{probed}\n{options.out} has every number, {strip} pictures; "
        f"{done['seconds']} s on {pipe.device}"
    )


def cost(options: argparse.Namespace) -> None:
    from minglm.config import preset
    from minglm.measure.cost import CARDS, table

    if options.card not in CARDS:
        raise ValueError(f"unknown card {options.card!r}: choose one of {', '.join(CARDS)}")
    if options.train:
        from minglm.ascend import memory

        if options.steps is not None or options.no_guidance:
            raise ValueError(
                "--train is about one training step: --steps and --no-guidance say nothing there"
            )
        print(memory.table(preset(options.config), *options.size, CARDS[options.card]))
        return
    steps = 50 if options.steps is None else options.steps
    print(table(preset(options.config), *options.size, CARDS[options.card], steps, not options.no_guidance))


def doctor(options: argparse.Namespace) -> None:
    from minglm.doctor import report, text

    facts = report()
    print(to_json(facts) if options.json else text(facts))


def play(options: argparse.Namespace) -> None:
    from minglm.course.playground import open_lab

    open_lab(options.weights, options.device, options.out, options.jupyter)


def classroom(options: argparse.Namespace) -> None:
    from minglm.course.classroom import write
    from minglm.device import set_threads

    set_threads(1)                           # the checks are asked what they know: a hundred tiny sums
    print(write(options.out, options.force, options.nbgrader, options.through, options.students_only))


if __name__ == "__main__":
    sys.exit(main())
