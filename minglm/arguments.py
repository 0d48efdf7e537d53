"""The command line of `minglm`: its commands and options, and their words as values."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from minglm.validate import real, whole


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage in front of it."""

    def error(self, message: str) -> None:
        raise ValueError(message)


def number(read: Callable, check: Callable, *limits: float) -> Callable[[str], float]:
    """A type for argparse: a text read by int or float, and held against limits by minglm.validate."""
    def parse(text: str) -> float:
        try:
            value = read(text)
        except ValueError:
            value = text                     # `check` says what is needed instead
        try:
            return check("", value, *limits)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error).strip()) from None

    return parse


count, seconds, seed = number(int, whole, 1), number(float, real, 0), number(int, whole)
steps, guidance = number(int, whole, 1, 1000), number(float, real, -100, 100)    # as the pipeline has them
DEVICE = "cpu, cuda, npu, mps, or one card of several, such as cuda:1 (default: a card if there is one)"


def size(text: str) -> tuple[int, int]:
    height, cross, width = text.lower().partition("x")
    if not (cross and height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 128x128")
    return int(height), int(width)


def readable(text: str) -> str:
    """The text. Python puts half a surrogate pair where a byte is not in the encoding of the terminal."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not in the encoding of this terminal") from None
    return text


def command_line() -> argparse.ArgumentParser:
    parser = Parser(prog="minglm", description="GLM-Image, small enough for a laptop")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("generate", help="paint a poster from a prompt")
    one.add_argument("prompt", type=readable,
                     help="what to paint; the words to write stand in quotation marks")
    one.add_argument("--weights", default="mini", help="a name under data/weights, or a folder")
    one.add_argument("--lora", metavar="FOLDER", help="adapters to put on, from minglm train --lora")
    one.add_argument(
        "--image",
        action="append",
        help="a picture to edit, as the prompt says; several times for several pictures, up to four",
    )
    one.add_argument("--size", type=size, default=(None, None),
                     help="HEIGHTxWIDTH, multiples of 32 (default: the smallest in which everything fits)")
    one.add_argument("--no-enhance", action="store_true", help="give the planner the prompt as it is")
    one.add_argument("--steps", type=int, default=20, help="of the decoder (default: 20)")
    one.add_argument("--guidance", type=float, default=1.5,
                     help="of the decoder; 1 turns it off (default: 1.5)")
    one.add_argument("--planner-guidance", type=float, help="likewise (default: 1.5 for posters)")
    one.add_argument("--candidates", type=count, metavar="COUNT",
                     help="plans to draw, of which that with room for most of the words is painted, from the "
                          "best of 4 noises (default: 8 for posters); 1: one plan, one noise")
    one.add_argument("--temperature", type=float, default=0.9,
                     help="of the planner; 0 always takes the likeliest id (default: 0.9)")
    one.add_argument("--top-p", type=float, default=0.75,
                     help="the planner draws from the likeliest ids of this total probability "
                          "(default: 0.75)")
    one.add_argument("--seed", type=int, default=0, help="another one gives another poster (default: 0)")
    one.add_argument("--out", type=Path, default=Path("poster.png"), metavar="PICTURE",
                     help="a name that ends in .png or .jpg (default: poster.png)")
    one.add_argument("--read", action="store_true", help="read the poster back by OCR")
    one.add_argument("--json", action="store_true", help="print what was done as JSON")
    one.add_argument("--device", default="auto", help=DEVICE)
    one.add_argument(
        "--simulate-npu", action="store_true", help="on a simulated Ascend card, which counts what it does"
    )
    one.set_defaults(run="generate")

    one = commands.add_parser(
        "train",
        help="train a stage, or all",
        epilog="Several cards: start it by `torchrun "
        "--nproc-per-node=CARDS -m minglm train ...`; each process takes one card and its share "
        "of every batch, and the losses are those of one process.",
    )
    one.add_argument("stage", nargs="+",
                     help="vae, vae-decoder, tokenizer, glyph, planner, planner-large, planner-letters, "
                          "planner-lines, planner-guided, decoder, decoder-large, decoder-letters, "
                          "decoder-lines, glyph-order, decoder-wide, decoder-planned, decoder-objects, "
                          "decoder-fine, several of them, or all; and, from their weights, edit-planner, "
                          "edit-decoder, grpo-planner, grpo-decoder")
    one.add_argument("--config", default="mini", help="tiny or mini")
    one.add_argument("--out", type=Path, help="folder for weights and logs (default: under runs/)")
    one.add_argument("--steps", type=count, help="steps of the recipe, instead of its own")
    one.add_argument(
        "--batch", type=count, help="samples per step, over all processes, instead of the recipe's"
    )
    one.add_argument("--data", type=Path, metavar="FOLDER",
                     help="fine-tune planner or decoder on the pictures of this folder: docs/finetune.md")
    one.add_argument("--lora", type=count, metavar="RANK",
                     help="with --data: train an adapter of that rank and no weights")
    one.add_argument("--weights", help="with --data: what to begin with, a name or a folder (default: mini)")
    one.add_argument("--minutes", type=seconds, help="stop after so many; --resume goes on")
    either = one.add_mutually_exclusive_group()
    either.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint, of any number of processes"
    )
    either.add_argument(
        "--restart", action="store_true", help="start anew; what an earlier run left is kept in OUT/earlier-1"
    )
    one.add_argument(
        "--save-every", type=seconds, default=120.0, metavar="SECONDS", help="between checkpoints"
    )
    one.add_argument("--accumulate", type=count, default=1, metavar="PARTS",
                     help="compute a batch in so many parts, one after the other, to need less memory")
    one.add_argument(
        "--checkpoint-activations",
        action="store_true",
        help="keep no insides of blocks for the backward pass: less memory, about a third more work",
    )
    one.add_argument(
        "--parallel",
        choices=("ddp", "fsdp"),
        default="ddp",
        help="under torchrun: ddp, every card holds the model, or fsdp, every card a slice of it",
    )
    one.add_argument("--threads", type=count, help="cpu threads of each process")
    one.add_argument("--device", default="auto", help=DEVICE)
    one.add_argument(
        "--simulate-npu", action="store_true", help="on a simulated Ascend card, which counts what it does"
    )
    one.set_defaults(run="train", lane=None)

    one = commands.add_parser("evaluate", help="score weights on prompts never trained on")
    one.add_argument("--weights", default="mini", help="a name under data/weights, or a folder")
    one.add_argument(
        "--prompts",
        default="miniposter",
        help="miniposter, minilong, minichineseword, minicompose or miniopen; or miniedit, edits of pictures",
    )
    one.add_argument("--limit", type=int, metavar="COUNT",
                     help="only so many prompts, drawn at random (always the same ones), and no probes")
    one.add_argument("--columns", nargs="+", choices=("gold", "vae", "decoder", "pipeline"), metavar="COLUMN",
                     help="only these of gold, vae, decoder and pipeline, which takes less time")
    one.add_argument("--steps", type=steps, default=20, help="of the decoder (default: 20)")
    one.add_argument("--no-enhance", action="store_true", help="give the planner the prompts as they are")
    one.add_argument("--guidance", type=guidance, default=1.5,
                     help="of the decoder; 1 turns it off (default: 1.5)")
    one.add_argument("--planner-guidance", type=guidance, help="likewise (default: 1.5 for posters)")
    one.add_argument("--candidates", type=count, metavar="COUNT",
                     help="plans to draw per picture, of which one is painted (default: 8 for posters)")
    one.add_argument("--seed", type=seed, default=0, help="of the first picture (default: 0)")
    one.add_argument(
        "--out", type=Path, default=Path("report.json"),
        help="the report, and beside it a PNG with the first pictures (default: report.json)"
    )
    one.add_argument("--json", action="store_true", help="print the report as JSON")
    one.add_argument("--device", default="auto", help=DEVICE)
    one.set_defaults(run="evaluate")

    one = commands.add_parser("cost", help="what a picture costs, stage by stage, from first principles")
    one.add_argument("--config", default="glm_image", help="tiny, mini, base or glm_image")
    one.add_argument("--size", type=size, default=(1024, 1024), help="HEIGHTxWIDTH, multiples of 32")
    one.add_argument("--steps", type=count, help="of the decoder (default: 50)")
    one.add_argument("--card", default="h100", help="h100, h800, ascend-910b or laptop")
    one.add_argument("--no-guidance", action="store_true", help="each step runs the decoder once, not twice")
    one.add_argument(
        "--train", action="store_true", help="the memory of a training step instead, on 1, 8 and 64 cards"
    )
    one.set_defaults(run="cost")

    one = commands.add_parser("doctor", help="versions, devices, threads and one timed step")
    one.add_argument("--json", action="store_true", help="print the report as JSON")
    one.set_defaults(run="doctor")

    one = commands.add_parser("play", help="a place to play, in JupyterLab: prompt, plan and picture")
    one.add_argument("--weights", default="mini", help="a name under data/weights, or a folder")
    one.add_argument("--device", default="auto", help=DEVICE)
    one.add_argument("--out", type=Path, metavar="NOTEBOOK",
                     help="keep the notebook here (default: it is gone when JupyterLab is shut down)")
    one.add_argument("jupyter", nargs="*", metavar="-- OPTION",
                     help="options for JupyterLab, after two dashes, such as -- --no-browser --port=8888")
    one.set_defaults(run="play")

    one = commands.add_parser("classroom", help="student copies of the notebooks, and a page for the teacher")
    one.add_argument("out", type=Path, metavar="OUT", help="folder to make, or an empty one")
    one.add_argument("--force", action="store_true",
                     help="also into a folder that is not empty; files that would change are renamed, and "
                          "answers in student copies are carried over")
    one.add_argument("--nbgrader", action="store_true",
                     help="student copies that nbgrader can grade, and a course for it, in nbgrader/")
    one.add_argument("--students-only", action="store_true",
                     help="without the teacher's page and nbgrader's course, which have all solutions")
    one.add_argument("--through", type=int, metavar="NUMBER",
                     help="only the notebooks up to this one; a higher number later adds the new ones and "
                          "changes nothing else")
    one.set_defaults(run="classroom")
    return parser
