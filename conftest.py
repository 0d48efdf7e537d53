"""Makes plain `pytest` behave as `make test` does, and strict notebook comparison usable."""

import os

# Before any test imports torch: the reference run is a CPU run with sleeping idle threads,
# and an installed torch-npu without CANN must not break `import torch`.
os.environ.setdefault("MINGLM_DEVICE", "cpu")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")

try:
    from nbval.kernel import RunningKernel
except ImportError:  # the unit tests do not need nbval
    RunningKernel = None


def pytest_collectstart(collector):
    """Compare what a cell prints and returns, not SVG dates, HTML twins of text, or warnings."""
    if hasattr(collector, "skip_compare"):  # only nbval's notebook collector has it
        collector.skip_compare += ("image/svg+xml", "text/html", "stderr")


def _execute_with_history(self, cell_input, allow_stdin=None):
    """Run a cell as Jupyter does. nbval turns history off, and then a closing `;` hides nothing."""
    return self.kc.execute(
        cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False
    )


if RunningKernel is not None:
    RunningKernel.execute_cell_input = _execute_with_history
