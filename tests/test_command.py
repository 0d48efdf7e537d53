"""The command: what it prints, its exit codes, and that a failure leaves files as they were."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from PIL import Image

from minglm.__main__ import main
from minglm.arguments import command_line, size
from minglm.generate.pipeline import Pipeline
from minglm.generate.request import Output
from minglm.training import lanes
from minglm.training.run import earlier_run
from minglm.training.stages import STAGES

ROOT = Path(__file__).resolve().parent.parent
PROMPT = 'a yellow poster with a cat and the word "HI" at the top'


@pytest.fixture(autouse=True)
def alone(threads, tmp_path, monkeypatch):
    """A folder of its own to write to, and the number of threads put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINGLM_DEVICE", "cpu")


@pytest.fixture
def run(folder, capfd):
    """Run `minglm generate` with the random weights: (exit code, stdout, stderr)."""
    def call(*arguments, weights=folder):
        try:
            code = main(["generate", "--weights", str(weights), "--steps", "1", *map(str, arguments)])
        except SystemExit as stop:  # how argparse ends
            code = stop.code
        return code, *capfd.readouterr()
    return call


def refused(outcome, words):
    """Exit code 2, nothing on stdout, one line on stderr that says so."""
    code, out, err = outcome
    assert code == 2 and out == "", err
    assert err.count("\n") == 1 and err.startswith("minglm: ") and "Traceback" not in err, err
    assert words in err


# ---------------------------------------------------------------- what it does

def test_generate_writes_a_poster_and_says_so(run):
    code, out, _ = run(PROMPT, "--size", "96x128")
    assert code == 0 and out.count("\n") == 1
    assert all(words in out for words in ("poster.png", "96x128 pixels", "seed 0", "cpu"))
    with Image.open("poster.png") as image:
        assert image.size == (128, 96) and image.format == "PNG"
    assert os.listdir() == ["poster.png"]


def test_json_is_one_parseable_object(run, folder):
    code, out, err = run(PROMPT, "--json", "--seed", 7, "--out", "a.jpg")
    assert code == 0 and err == ""
    done = json.loads(out)
    assert done["out"] == "a.jpg" and done["seed"] == 7 and done["size"] == [128, 128]
    assert done["device"] == "cpu" and done["weights"] == str(folder) and done["paint_seconds"] > 0
    assert len(done["plan"]) == 4 and all(len(row) == 4 for row in done["plan"])
    assert done["prompt"] in done["notes"][0] and '"HI"' in done["prompt"]       # as the enhancer wrote it
    with Image.open("a.jpg") as image:
        assert image.format == "JPEG"


def test_without_the_enhancer_the_prompt_is_read_as_it_is(run):
    done = json.loads(run(PROMPT, "--json", "--no-enhance")[1])
    assert done["prompt"] == PROMPT and done["notes"] == [] and done["size"] == [128, 128]


def test_what_was_understood_is_told(run):
    assert "minglm: understood: A yellow poster with a cat" in run(PROMPT, "--seed", 1)[2]


def test_a_seed_is_one_picture_and_the_pipeline_s(run, pipe):
    assert run(PROMPT, "--seed", 3, "--out", "a.png")[0] == run(PROMPT, "--seed", 3, "--out", "b.png")[0] == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    with Image.open("a.png") as image:
        assert image.tobytes() == pipe(PROMPT, seed=3, steps=1, progress=False).images[0].tobytes()


def test_a_folder_of_weights_in_a_relative_path(run, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "mine")
    assert run(PROMPT, weights="mine")[0] == 0


def test_runs_as_a_module(folder):
    """A process of its own: exit codes and streams as a shell sees them."""
    def minglm(*arguments):
        return subprocess.run([sys.executable, "-m", "minglm", *arguments], capture_output=True, text=True, timeout=120,
                              env=os.environ | dict(PYTHONPATH=str(ROOT)))
    failed = minglm("generate", 'a card with "Ω"', "--weights", str(folder))
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.count("\n") == 1 and failed.stderr.startswith("minglm: cannot write Ω")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "gbk", "utf-8"])
@pytest.mark.parametrize("name", ["海报.png", "affiché🎨.png"])
def test_what_a_code_page_lacks_is_escaped(encoding, name, folder):
    """A process of its own, whose output goes to a file on a machine with an old code page."""
    def painted(*arguments):
        ran = subprocess.run([sys.executable, "-m", "minglm", "generate", PROMPT, "--weights", str(folder), "--steps", "1",
                              "--out", name, *arguments], capture_output=True, timeout=120,
                             env=os.environ | dict(PYTHONPATH=str(ROOT), PYTHONIOENCODING=encoding))
        assert ran.returncode == 0 and Path(name).is_file(), ran.stderr
        return ran.stdout.decode(encoding)
    assert json.loads(painted("--json"))["out"] == name
    said = painted()
    assert said.startswith(name.encode(encoding, "backslashreplace").decode(encoding) + ": 128x128 pixels")


def test_streams_that_cannot_be_reconfigured_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)             # as pythonw has it
    assert main(["doctor", "--json"]) == 0
    assert json.loads(sys.stdout.getvalue())["device"] == "cpu"


def test_help_names_every_command(capfd):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    printed = capfd.readouterr().out
    assert all(name in printed for name in ("generate", "train", "evaluate", "cost", "doctor", "play", "classroom"))


def test_every_option_says_what_it_does():
    [commands] = command_line()._subparsers._group_actions
    silent = [(name, action.dest) for name, parser in commands.choices.items() for action in parser._actions if not action.help]
    assert len(commands.choices) == 7 and not silent


def test_sizes_are_height_by_width():
    assert size("96x128") == size("96X128") == (96, 128)


def test_doctor_speaks_json(capfd):
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["device"] == "cpu"


# ---------------------------------------------------------------- what it refuses

@pytest.mark.parametrize("arguments, words", [
    ([""], "the prompt is empty"), (["   "], "the prompt is empty"),
    (["caf\udce9"], r"argument prompt: 'caf\udce9' is not in the encoding of this terminal"), (['"Ωh é"'], "cannot write Ω in"), (['"a\u200bb"'], r"cannot write \u200b in"), (["“龍”"], "cannot write 龍 (in simplified form 龙)"),
    ([f'"{"X" * 200}"'], "needs 13 lines at a width of 256 pixels: a height of 256 has room for 8"),
    (['"A" "B" "C" "D" "E"', "--size", "128x128"], "'A / B / C / D / E' does not fit 128x128"),
    ([PROMPT, "--size", "100x128"], "height 100: "), ([PROMPT, "--size", "4096x4096"], "height 4096: "),
    ([PROMPT, "--size", "0x0"], "height 0: "),
    ([PROMPT, "--temperature", "-1"], "temperature -1.0"), ([PROMPT, "--top-p", "0"], "top_p 0.0"),
    ([PROMPT, "--device", "tpu"], "unknown device 'tpu'"),
    ([PROMPT, "--image", "absent.png"], "no image file 'absent.png'"),
    ([PROMPT, "--image", __file__], "not an image that can be read"),
    ([PROMPT, "--out", "absent/a.png"], "there is no folder absent"), ([PROMPT, "--out", "."], "it is a folder"),
    ([PROMPT, "--out", "a.xyz"], "ends in .png or .jpg"), ([PROMPT, "--out", "poster"], "ends in .png or .jpg"),
])
def test_bad_arguments_are_one_line(run, arguments, words):
    refused(run(*arguments), words)
    assert os.listdir() == []


@pytest.mark.parametrize("arguments, words", [
    ([PROMPT, "--size", "big"], "'big' is not a size such as 128x128"), ([PROMPT, "--seed", "x"], "'x'"),
    ([PROMPT, "--colour", "red"], "--colour"), ([], "prompt"),
])
def test_arguments_that_cannot_be_parsed_are_one_line(run, arguments, words):
    refused(run(*arguments), words)


@pytest.mark.parametrize("arguments, words", [
    ([PROMPT, "--steps", "0"], "steps 0"),
    ([PROMPT, "--temperature", "nan"], "temperature nan"),
    ([PROMPT, "--out", "a.psd"], "ends in .png or .jpg"),
])
def test_late_failures_are_one_line_too(run, arguments, words):
    refused(run(*arguments), words)
    assert os.listdir() == []


def test_missing_and_broken_weights_are_one_line(run, folder, tmp_path):
    refused(run(PROMPT, weights="absent"), "no weights 'absent'")
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "decoder" / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    refused(run(PROMPT, weights=copy), "decoder/model.safetensors")
    path.unlink()
    refused(run(PROMPT, weights=copy), "incomplete weights")


def test_a_folder_that_refuses_files(run, monkeypatch):
    def refuse(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    refused(run(PROMPT, "--out", "a.png"), "cannot write to .: Permission denied")


def test_a_folder_that_cannot_be_written(run, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    try:
        (locked / "probe").touch()
    except OSError:
        refused(run(PROMPT, "--out", locked / "a.png"), "cannot write to")
    else:
        pytest.skip("this user may write everywhere")


@pytest.mark.parametrize("arguments", [[""], [PROMPT, "--size", "100x100"], [PROMPT, "--weights", "absent"],
                                       [PROMPT, "--image", "absent.png"], [PROMPT, "--steps", "0"]])
def test_a_failure_leaves_the_old_poster(run, arguments):
    Path("poster.png").write_bytes(b"mine")
    assert run(*arguments)[0] == 2
    assert Path("poster.png").read_bytes() == b"mine" and os.listdir() == ["poster.png"]


def test_a_failed_write_leaves_the_old_poster(run, monkeypatch):
    Path("poster.png").write_bytes(b"mine")

    def full(self, path, **options):
        if isinstance(path, Path):           # not the trial in memory, whether the format can be written
            path.write_bytes(b"half")
            raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    code, _, err = run(PROMPT, "--json")
    assert code == 2 and "no space left" in err and Path("poster.png").read_bytes() == b"mine"


def test_the_picture_that_is_edited_is_kept(run, monkeypatch):
    """As in `minglm generate "Make it blue" --image poster.png`, where --out is poster.png, too."""
    class Painter:
        device = "cpu"

        def __call__(self, prompt, *size, **how):
            return Output([Image.new("RGB", (32, 32), "blue")], [torch.zeros(1, 1)], [], [prompt], [])

    monkeypatch.setattr(Pipeline, "from_pretrained", lambda *_: Painter())
    Image.new("RGB", (32, 32), "red").save("poster.png")
    before = Path("poster.png").read_bytes()
    _, _, err = run("Make it blue", "--image", Path.cwd() / "poster.png")
    assert "the earlier poster.png is kept as poster.1.png" in err
    assert Path("poster.1.png").read_bytes() == before != Path("poster.png").read_bytes()
    assert "kept" not in run("A blue poster")[2] and sorted(os.listdir()) == ["poster.1.png", "poster.png"]


# ---------------------------------------------------------------- training

@pytest.mark.parametrize("arguments, words", [
    (["vea"], "unknown stage 'vea'"), (["vae", "--config", "huge"], "unknown config 'huge'"),
    (["vae", "--config", "glm_image"], "no recipe for config 'glm_image'"),
    (["planner", "--config", "tiny"], "tokenizer"), (["vae", "--device", "tpu"], "unknown device 'tpu'"),
    (["vae", "--config", "tiny", "--threads", "0"], "--threads: 0: a whole number of at least 1"),
])
def test_training_refuses_in_one_line(capfd, arguments, words):
    code = main(["train", *arguments])
    refused((code, *capfd.readouterr()), words)


@pytest.mark.parametrize("option", [["--steps", "0"], ["--steps", "-3"], ["--batch", "0"], ["--batch", "-1"]])
def test_training_refuses_counts_below_one(capfd, monkeypatch, option):
    monkeypatch.setattr("minglm.training.run.build", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["train", "vae", "--config", "tiny", *option]) == 2


def test_training_stops_after_its_minutes_and_goes_on(capfd):
    command = ["train", "vae", "--config", "tiny", "--steps", "4", "--batch", "2", "--threads", "1", "--out", "run"]
    assert main([*command, "--minutes", "1e-9"]) == 0
    assert "vae: 1 of 4 steps; go on with --resume" in capfd.readouterr().out
    assert not Path("run/vae").exists() and Path("run/training/vae/checkpoint.pt").exists()
    assert main([*command, "--resume"]) == 0
    assert "weights and logs in run" in capfd.readouterr().out
    assert {"config.json", "model.safetensors"} == set(os.listdir("run/vae"))
    assert {"checkpoint.pt", "log.csv", "loss.png"} <= set(os.listdir("run/training/vae"))


def test_a_stop_that_cannot_be_saved_is_an_error(capfd, monkeypatch):
    def full(path, state):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("minglm.training.checkpoint.save", full)
    assert main("train vae --config tiny --steps 4 --batch 2 --threads 1 --out run --minutes 1e-9".split()) == 2
    said = capfd.readouterr()
    assert "No space left" in said.err and "--resume" not in said.out


def test_ctrl_c_ends_training_behind_a_whole_step(capfd, monkeypatch):
    command = ["train", "vae", "--config", "tiny", "--steps", "40", "--batch", "2", "--threads", "1", "--out", "run"]
    from minglm.training import run
    build = run.build

    def interrupted(*arguments):
        stage = build(*arguments)
        batch = stage.batch
        stage.batch = lambda step: (step == 2 and signal.raise_signal(signal.SIGINT), batch(step))[1]
        return stage

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(run, "build", interrupted)
    assert main(command) == 0
    assert "vae: 3 of 40 steps; go on with --resume" in capfd.readouterr().out
    assert torch.load("run/training/vae/checkpoint.pt", weights_only=True)["step"] == 3
    assert signal.getsignal(signal.SIGINT) is before


TINY = ["--config", "tiny", "--steps", "2", "--batch", "4", "--save-every", "1000"]


def parts(folder):
    return {path.parent.name for path in Path(folder).glob("*/model.safetensors")}


@pytest.fixture(scope="module")
def text(bpe, tmp_path_factory):
    """A vocabulary, which otherwise takes a minute to learn."""
    bpe.save(path := tmp_path_factory.mktemp("text") / "text" / "tokenizer.json")
    return path.parent


def test_several_stages_are_trained_in_one_command(text):
    shutil.copytree(text, "run/text")
    assert main(["train", "tokenizer", "planner", *TINY, "--out", "run"]) == 0
    assert parts("run") == {"tokenizer", "planner"}
    # a stage may need what an earlier one of the same command makes, and nothing else
    assert main(["train", "planner", "decoder", *TINY, "--out", "elsewhere"]) == 2
    assert not Path("elsewhere").exists()


def test_two_lanes_end_with_all_weights_and_go_on_where_they_stopped(text, monkeypatch, capfd):
    """`train all` on a CPU: the lanes wait for each other's weights; stopped, they go on with --resume."""
    monkeypatch.setattr("minglm.training.run.cores", lambda: 2)
    shutil.copytree(text, "run/text")
    command = ["train", "all", *TINY, "--out", "run"]
    assert main([*command, "--minutes", "1e-9"]) == 0
    assert parts("run") == set() and len(list(Path("run/training").glob("*/checkpoint.pt"))) >= 1
    capfd.readouterr()
    assert main(command) == 2 and "--resume goes on with it" in capfd.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert parts("run") == {"vae", "tokenizer", "glyph", "planner", "decoder"}
    assert {path.parent.name for path in Path("run/training").glob("*/log.csv")} == set(STAGES)
    with open("run/training/decoder-letters/log.csv") as file:
        assert file.read().splitlines()[-1].startswith("2,")
    assert Pipeline.from_pretrained("run", "cpu")(PROMPT, steps=1, progress=False).images[0].size == (128, 128)


def test_a_lane_that_fails_ends_the_other(text, capfd, monkeypatch):
    monkeypatch.setattr("minglm.training.run.cores", lambda: 2)
    Path("run/text").mkdir(parents=True)
    Path("run/text/tokenizer.json").write_text("no vocabulary")
    assert main(["train", "all", *TINY, "--out", "run"]) == 1
    assert "tokenizer.json" in capfd.readouterr().err and "planner" not in parts("run")


def test_a_lane_has_all_cores_once_the_other_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(lanes, "cores", lambda: 4)
    assert lanes.fair_threads(1, tmp_path) == 2
    for stage in lanes.LANES[0]:
        (tmp_path / "training" / stage).mkdir(parents=True)
        (tmp_path / "training" / stage / "loss.png").touch()
    assert lanes.fair_threads(1, tmp_path) is None and lanes.fair_threads(0, tmp_path) == 2


# ---------------------------------------------------------------- what is there is not lost

def train_vae(*more):
    return main(["train", "vae", "--config", "tiny", "--batch", "2", "--out", "run", *more])


def test_an_earlier_run_is_neither_overwritten_nor_continued_unasked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train_vae("--steps", "2") == 0
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    capsys.readouterr()
    refused((train_vae("--steps", "3"), *capsys.readouterr()), "run holds an earlier run of vae: --resume goes on with it")
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before
    assert train_vae("--steps", "3", "--restart") == 0
    assert "the earlier run is kept in run/earlier-1" in capsys.readouterr().err
    kept = {Path("run") / path.relative_to("run/earlier-1"): path.read_bytes() for path in Path("run/earlier-1").rglob("*")
            if path.is_file()}
    assert kept == {path: data for path, data in before.items() if path != Path("run/config.json")}
    assert torch.load("run/training/vae/checkpoint.pt", weights_only=True)["step"] == 3
    assert train_vae("--steps", "4", "--resume") == 0
    assert "no checkpoint" not in capsys.readouterr().err


def test_resuming_nothing_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train_vae("--steps", "1", "--resume") == 0
    assert "no checkpoint in run/training: starting from the beginning" in capsys.readouterr().err


def test_lanes_resume_without_a_word(tmp_path, capsys):
    """They do so whether the user asked for it or not."""
    assert earlier_run({"vae": []}, tmp_path, Namespace(resume=True, restart=False, lane=0)) == []
    assert capsys.readouterr().err == ""


def test_weights_without_a_checkpoint_are_kept(tmp_path, monkeypatch, capsys):
    """Whoever has deleted checkpoints for room, or copied the shipped weights, does not lose weights by --resume."""
    monkeypatch.chdir(tmp_path)
    Path("run/vae").mkdir(parents=True)
    Path("run/vae/model.safetensors").write_text("mine")
    assert train_vae("--steps", "1") == 2 and train_vae("--steps", "1", "--resume") == 0
    assert Path("run/earlier-1/vae/model.safetensors").read_text() == "mine"
    said = capsys.readouterr().err
    assert "no checkpoint in run/training" in said and "the earlier run is kept in run/earlier-1" in said


@pytest.mark.parametrize("more, words", [
    (["--batch", "3", "--accumulate", "2"], "cannot be shared"), (["--device", "npu:7"], "npu:7"), (["--resume"], "not allowed with"),
    ([], "train stage tokenizer first")])
def test_nothing_is_put_aside_for_what_cannot_be_done(tmp_path, monkeypatch, capfd, more, words):
    monkeypatch.chdir(tmp_path)
    Path("run/planner").mkdir(parents=True)
    Path("run/planner/model.safetensors").write_text("mine")
    capfd.readouterr()
    refused((main(["train", "planner", "--config", "tiny", "--out", "run", "--restart", *more]), *capfd.readouterr()), words)
    assert [path.as_posix() for path in Path("run").rglob("*")] == ["run/planner", "run/planner/model.safetensors"]


def test_a_diverged_run_is_one_line(tmp_path, monkeypatch, capfd):
    from minglm.training import run

    def diverging(*arguments):
        stage = build(*arguments)
        loss = stage.loss
        stage.loss = lambda batch: (loss(batch)[0] * float("nan"), {})
        return stage

    build = run.build
    monkeypatch.setattr(run, "build", diverging)
    assert train_vae("--steps", "1") == 1
    assert capfd.readouterr().err.endswith("minglm: the loss of vae is nan at step 1\n")


def test_an_earlier_report_is_kept(folder, capsys):
    pytest.importorskip("rapidocr")
    command = ["evaluate", "--weights", str(folder), "--limit", "1", "--steps", "1", "--json", "--out"]
    assert main([*command, "strip.png"]) == 2 and "use a name in .json" in capsys.readouterr().err
    assert main([*command, ""]) == 2 and "it is a folder" in capsys.readouterr().err
    assert main([*command, "a.json"]) == 0
    before = Path("a.json").read_bytes(), Path("a.png").read_bytes()
    assert main([*command, "a.json"]) == 0 and "the earlier a.json is kept as a.1.json" in capsys.readouterr().err
    assert (Path("a.1.json").read_bytes(), Path("a.1.png").read_bytes()) == before
    assert sorted(os.listdir()) == ["a.1.json", "a.1.png", "a.json", "a.png"]


def test_some_columns_of_an_evaluation(folder, capsys):
    pytest.importorskip("rapidocr")
    command = ["evaluate", "--weights", str(folder), "--limit", "1", "--steps", "1", "--out", "a.json", "--columns"]
    assert main([*command, "vae", "gold"]) == 0
    assert list(json.loads(Path("a.json").read_text())["scores"]) == ["gold", "vae"]
    assert main([*command, "gold", "--prompts", "miniopen"]) == 2
    assert "have no drawing, so only pipeline" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--guidance", "nan"], ["--seed", "-1"], ["--steps", "0"], ["--steps", "2.5"]])
def test_an_evaluation_is_refused_before_it_begins(option, capsys, monkeypatch):
    monkeypatch.setattr("minglm.generate.pipeline.Pipeline.from_pretrained", lambda *_: pytest.fail("it has begun"))
    assert main(["evaluate", *option]) == 2 and f"{option[0]}: " in capsys.readouterr().err


def test_output_for_a_code_page_without_chinese(folder):
    """A Western Windows: what the page lacks is escaped, in JSON by JSON's own rule."""
    def minglm(*arguments):
        environment = os.environ | dict(PYTHONPATH=str(ROOT), PYTHONIOENCODING="cp1252")
        command = [sys.executable, "-m", "minglm", *arguments]
        ran = subprocess.run(command, capture_output=True, env=environment, timeout=120)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.decode("cp1252")

    paint = ["generate", "一张红色海报“你好”", "--weights", str(folder), "--steps", "1", "--out", "海报é.png"]
    assert minglm(*paint).startswith("\\u6d77\\u62a5é.png: 128x128 pixels") and Path("海报é.png").exists()
    assert json.loads(minglm(*paint, "--json"))["out"] == "海报é.png"
    assert "students/" in minglm("classroom", "班级")


@pytest.mark.parametrize("option", ["--minutes", "--save-every"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1", "soon"])
def test_times_are_finite(option, value, capsys):
    assert main(["train", "vae", option, value]) == 2
    assert "a finite number of at least 0 is needed" in capsys.readouterr().err
