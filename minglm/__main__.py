"""The `minglm` command: generate, train, evaluate, cost, doctor, classroom.

Exit codes: 0 done, 2 bad arguments (one line on stderr), 1 anything else.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from minglm.arguments import Parser, at_least_one, seconds, size
from minglm.files import check_data, writable


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns the exit code."""
    try:
        for stream in (sys.stdout, sys.stderr):                  # a code page may lack what OCR reads, or a file is called
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        options = command_line().parse_args(arguments)
        check_data()
        return (simulated if getattr(options, "simulate_npu", False) else options.run)(options) or 0
    except (ValueError, OSError) as error:
        print(f"minglm: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("minglm: stopped", file=sys.stderr)
        return 1


def simulated(options: argparse.Namespace) -> int | None:
    """Run the command on a simulated npu, unless another device was named, and say what it was asked to do."""
    from minglm.ascend import counters, simulator

    simulator.install()
    options.device = "npu:0" if options.device == "auto" else options.device
    with counters.counting() as seen:
        code = options.run(options)
    print(f"simulated npu: {seen}", file=sys.stderr)
    return code


def command_line() -> argparse.ArgumentParser:
    parser = Parser(prog="minglm", description="GLM-Image, small enough for a laptop")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("generate", help="paint a poster from a prompt")
    one.add_argument("prompt", help="what to paint; the words to write stand in quotation marks")
    one.add_argument("--weights", default="mini", help="a name under data/weights, or a folder")
    one.add_argument("--image", action="append", help="a picture to edit: for snapshots of the published model; mini cannot yet")
    one.add_argument("--size", type=size, default=(128, 128), help="HEIGHTxWIDTH, multiples of 32")
    one.add_argument("--steps", type=int, default=20)
    one.add_argument("--guidance", type=float, default=1.5)
    one.add_argument("--temperature", type=float, default=0.9)
    one.add_argument("--top-p", type=float, default=0.75)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--out", type=Path, default=Path("poster.png"))
    one.add_argument("--read", action="store_true", help="read the poster back by OCR")
    one.add_argument("--json", action="store_true", help="print what was done as JSON")
    one.add_argument("--device", default="auto")
    one.add_argument("--simulate-npu", action="store_true", help="on a simulated Ascend card, which counts what it does")
    one.set_defaults(run=generate)

    one = commands.add_parser("train", help="train a stage, or all", epilog="Several cards: start it by `torchrun "
                              "--nproc-per-node=CARDS -m minglm train ...`; each process takes one card and its share "
                              "of every batch, and the losses are those of one process.")
    one.add_argument("stage", help="vae, tokenizer, planner, decoder, or all")
    one.add_argument("--config", default="mini", help="tiny, mini or base")
    one.add_argument("--out", type=Path, help="folder for weights and logs (default: runs/CONFIG)")
    one.add_argument("--steps", type=at_least_one, help="steps of the recipe, instead of its own")
    one.add_argument("--batch", type=at_least_one, help="samples per step, over all processes, instead of the recipe's")
    one.add_argument("--minutes", type=seconds, help="stop after so long; --resume goes on")
    one.add_argument("--resume", action="store_true", help="go on from the last checkpoint, of any number of processes")
    one.add_argument("--restart", action="store_true", help="begin anew; an earlier run is put aside, not lost")
    one.add_argument("--save-every", type=seconds, default=120.0, metavar="SECONDS", help="between checkpoints")
    one.add_argument("--accumulate", type=at_least_one, default=1, metavar="PARTS",
                     help="compute a batch in so many parts, one after the other, to need less memory")
    one.add_argument("--checkpoint-activations", action="store_true",
                     help="keep no insides of blocks for the backward pass: less memory, about a third more work")
    one.add_argument("--parallel", choices=("ddp", "fsdp"), default="ddp",
                     help="under torchrun: ddp, every card holds the model, or fsdp, every card a slice of it")
    one.add_argument("--threads", type=int, help="cpu threads of each process")
    one.add_argument("--device", default="auto")
    one.add_argument("--simulate-npu", action="store_true", help="on a simulated Ascend card, which counts what it does")
    one.set_defaults(run=train)

    one = commands.add_parser("evaluate", help="score weights on prompts never trained on")
    one.add_argument("--weights", default="mini")
    one.add_argument("--prompts", default="miniposter", help="miniposter or minilong")
    one.add_argument("--limit", type=int, help="only the first so many prompts, and no probes")
    one.add_argument("--steps", type=int, default=20)
    one.add_argument("--guidance", type=float, default=1.5)
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--out", type=Path, default=Path("report.json"), help="the report; a PNG strip beside it")
    one.add_argument("--json", action="store_true", help="print the report as JSON")
    one.add_argument("--device", default="auto")
    one.set_defaults(run=evaluate)

    one = commands.add_parser("cost", help="what a picture costs, stage by stage, from first principles")
    one.add_argument("--config", default="glm_image", help="tiny, mini, base or glm_image")
    one.add_argument("--size", type=size, default=(1024, 1024), help="HEIGHTxWIDTH, multiples of 32")
    one.add_argument("--steps", type=int, help="of the decoder (default: 50)")
    one.add_argument("--card", default="h100", help="h100, h800, ascend-910b or laptop")
    one.add_argument("--no-guidance", action="store_true")
    one.add_argument("--train", action="store_true", help="the memory of a training step instead, on 1, 8 and 64 cards")
    one.set_defaults(run=cost)

    one = commands.add_parser("doctor", help="versions, devices, threads and one timed step")
    one.add_argument("--json", action="store_true")
    one.set_defaults(run=doctor)

    one = commands.add_parser("classroom", help="student copies of the notebooks, and a page for the teacher")
    one.add_argument("out", type=Path, metavar="OUT", help="folder to make, or an empty one")
    one.add_argument("--force", action="store_true", help="also into a folder that is not empty")
    one.set_defaults(run=classroom)
    return parser


def to_json(values: dict) -> str:
    """As JSON, with characters that the terminal or file cannot hold written as \\u escapes."""
    readable = json.dumps(values, ensure_ascii=False)
    try:
        readable.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(values)
    return readable


def generate(options: argparse.Namespace) -> None:
    from minglm.device import set_threads
    from minglm.generate.pipeline import Pipeline
    from minglm.images import image_kind, save_image

    writable(options.out)
    image_kind(options.out)
    set_threads()
    began = time.monotonic()
    pipe = Pipeline.from_pretrained(options.weights, options.device)
    loaded = time.monotonic()
    out = pipe(options.prompt, *options.size, image=options.image, steps=options.steps,
               guidance=options.guidance, temperature=options.temperature, top_p=options.top_p,
               seed=options.seed, progress=not options.json)
    painted = time.monotonic()
    save_image(out.images[0], options.out)
    done = dict(out=str(options.out), size=list(options.size), seed=options.seed, weights=options.weights,
                device=str(pipe.device), load_seconds=round(loaded - began, 2),
                paint_seconds=round(painted - loaded, 2), plan=out.plan[0].tolist())
    if options.read:
        from minglm.measure.ocr import Judge

        done["read"] = [found.text for found in Judge().read(out.images[0])]
    if options.json:
        print(to_json(done))
        return
    print(f"{options.out}: {options.size[0]}x{options.size[1]} pixels, seed {options.seed}, painted in "
          f"{done['paint_seconds']} s on {pipe.device} (loading took {done['load_seconds']} s)")
    if options.read:
        print("OCR reads:", " | ".join(done["read"]) or "nothing")


def train(options: argparse.Namespace) -> None:
    from minglm.training.run import train

    train(options)


def evaluate(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from minglm.device import set_threads
    from minglm.files import write_json
    from minglm.generate.pipeline import Pipeline
    from minglm.images import save_image
    from minglm.measure import evaluate as module
    from minglm.measure.probe import probe
    from minglm.world.prompts import load_prompts

    writable(options.out)
    set_threads()
    prompts = load_prompts(options.prompts, options.limit)
    pipe = Pipeline.from_pretrained(options.weights, options.device)
    results, shown, began = [], [], time.monotonic()
    how = dict(steps=options.steps, guidance=options.guidance)
    with tqdm(total=len(prompts), desc="judging", unit="prompt", disable=options.json) as bar:
        for number, cell, _, pictures, scores in module.evaluate(pipe, prompts, options.seed, **how):
            results.append((cell, scores))
            if len(shown) < 12:
                shown.append(pictures)
            bar.update()
    scores = module.report(results)
    done = dict(weights=options.weights, prompts=options.prompts, pictures=len(results), seed=options.seed, **how,
                device=str(pipe.device), seconds=round(time.monotonic() - began), scores=scores)
    probed = ""
    if options.limit is None and options.prompts == "miniposter":  # a whole evaluation asks the ids too
        done["tokenizer"] = probe(pipe)
        probed = "\ntokenizer, read from its ids by linear probes: " + ", ".join(
            f"{name.replace('_', ' ')} {value}" for name, value in done["tokenizer"].items())
    write_json(options.out, done)
    save_image(module.strip(shown), options.out.with_suffix(".png"))
    print(to_json(done) if options.json else
          f"{module.format_report(scores)}{probed}\n{options.out} has every number, {options.out.with_suffix('.png')} pictures; "
          f"{done['seconds']} s on {pipe.device}")


def cost(options: argparse.Namespace) -> None:
    from minglm.config import preset
    from minglm.measure.cost import CARDS, table

    if options.card not in CARDS:
        raise ValueError(f"unknown card {options.card!r}: choose one of {', '.join(CARDS)}")
    if options.train:
        from minglm.ascend import memory

        if options.steps is not None or options.no_guidance:
            raise ValueError("--train is about one training step: --steps and --no-guidance say nothing there")
        print(memory.table(preset(options.config), *options.size, CARDS[options.card]))
        return
    steps = 50 if options.steps is None else options.steps
    print(table(preset(options.config), *options.size, CARDS[options.card], steps, not options.no_guidance))


def doctor(options: argparse.Namespace) -> None:
    from minglm.doctor import report, text

    facts = report()
    print(to_json(facts) if options.json else text(facts))


def classroom(options: argparse.Namespace) -> None:
    from minglm.course.classroom import write

    print(write(options.out, options.force))


if __name__ == "__main__":
    sys.exit(main())
