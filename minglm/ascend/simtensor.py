"""Tensors of the simulated card, and the rules that each of its operators obeys.

A SimTensor says it is on npu:0 and holds a host tensor with the numbers. Autograd, autocast and optimisers
are PyTorch's own; below them every operator arrives in `SimTensor.__torch_dispatch__`, where a `Rule` checks
what a card would refuse, computes on the host, and counts what the card would have done. All this rests on
private parts of torch 2.13.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tag, Tensor

from minglm.ascend import generators
from minglm.ascend.counters import Allocation, count, count_copy, count_sync

CARD, HOST = "npu:0", torch.device("cpu")
NO_DTYPES = {torch.float64, torch.complex32, torch.complex64, torch.complex128}
FORBIDDEN = {"huber_loss", "mode", "cauchy_", "log_normal_", "geometric_", "heaviside", "unique_consecutive"}
rules: dict = {}                             # operator -> Rule; empty until something is installed


# ---------------------------------------------------------------- tensors

class SimTensor(Tensor):
    """A tensor on the card; `_inner` is the host tensor with its numbers."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operator, kinds, args=(), options=None):
        return run(operator, *args, **(options or {}))

    def set_data(self, value: SimTensor) -> None:
        Tensor.data.__set__(self, value)     # which knows nothing of what follows
        self._inner, self._allocation = value._inner, value._allocation

    data = property(Tensor.data.__get__, set_data)

    def untyped_storage(self):               # FSDP frees memory, and takes it again, through this
        return self._inner.untyped_storage()

    def tolist(self):
        return self.detach().cpu().tolist()

    def __format__(self, spec):              # f"{loss:.4f}" waits for the card, as on a real one
        number = self.dim() == 0 and not hasattr(self, "_is_param")
        return format(self.item(), spec) if number else object.__format__(self, spec)

    def __repr__(self):
        return f"{repr(self.detach().cpu())[:-1]}, device='{CARD}')"

    def pin_memory(self, device=None):
        raise RuntimeError(f"cannot pin '{self.type()}' only dense CPU tensors can be pinned")

    def __deepcopy__(self, memo):
        copy = self.detach().clone()
        memo[id(self)] = copy = (
            torch.nn.Parameter(copy, self.requires_grad) if hasattr(self, "_is_param") else copy
        )
        return copy

    def __reduce_ex__(self, protocol):
        raise RuntimeError("move tensors to the cpu before saving them: no file should depend on a device")


def unwrap(value):
    """The host tensor behind a SimTensor; any other value as it is."""
    return value._inner if type(value) is SimTensor else value


def wrap(result, allocation: Allocation | None = None):
    """What was computed on the host, one tensor or several, put on the card; other values as they are.

    Raises RuntimeError for dtypes that Ascend lacks or is slow at. A lone number may be float64, since
    PyTorch's GradScaler inverts its scale so.
    """
    if not isinstance(result, Tensor):
        return type(result)(wrap(x, allocation) for x in result) if type(result) in (list, tuple) else result
    dtype = result.dtype
    if dtype in NO_DTYPES and (result.dim() or dtype != torch.float64):
        raise RuntimeError(f"{dtype} is forbidden on an npu: use float32, or pairs of real numbers")
    tensor = Tensor._make_wrapper_subclass(
        SimTensor, result.size(), result.stride(), result.storage_offset(), None, dtype, torch.strided, CARD
    )
    tensor._inner, tensor._allocation = result, allocation or Allocation(result.nbytes)
    return tensor


def same_device(name: str, inputs: Iterable, numbers: bool = True) -> None:
    """Raise PyTorch's own sentence if one of the inputs is on the host; numbers: a lone number may be."""
    for x in inputs:
        if isinstance(x, Tensor) and type(x) is not SimTensor and (x.dim() or not numbers):
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{CARD} and {x.device}! ({name})"
            )


# ---------------------------------------------------------------- operators

def run(operator, *args, **options):
    """Run one operator on the card."""
    rule = rules.get(operator)
    if rule is None:
        rule = rules[operator] = Rule(operator)
    return rule(args, options)


class Rule:
    """How to run one operator: what its schema tells, found out once."""

    def __init__(self, operator):
        schema, tags = operator._schema, operator.tags
        self.operator, self.short = operator, schema.name.partition("::")[2]
        self.name = self.short + (f".{schema.overload_name}" if schema.overload_name else "")
        if {self.short, self.name} & FORBIDDEN:
            raise RuntimeError(f"{self.name} is forbidden here: an npu has no kernel for it")
        if Tag.inplace_view in tags and self.short != "detach_":
            raise NotImplementedError(f"{self.name} changes a shape in place, which the simulated npu cannot")
        tensors = {a.name if a.kwarg_only else i: a.alias_info for i, a in enumerate(schema.arguments)
                   if "Tensor" in str(a.type)}
        self.positions = [key for key in tensors if not isinstance(key, str)]
        self.keywords = {key for key in tensors if isinstance(key, str)}
        written = [key for key, alias in tensors.items() if alias and alias.is_write]
        self.returned = [
            key for key, r in zip(written, schema.returns) if r.alias_info and r.alias_info.is_write
        ]
        self.view = self.short == "_unsafe_view" or any(
            alias and not alias.is_write for alias in tensors.values()
        )
        self.launch = not (self.view or self.short.startswith(("empty", "new_empty", "_local_scalar_dense")))
        self.copies, self.indexes = (
            self.short in ("copy_", "_to_copy"),
            self.short.strip("_").startswith("index"),
        )
        self.syncs = not self.indexes and bool(
            {Tag.data_dependent_output, Tag.dynamic_output_shape} & set(tags)
        )
        has = partial(torch._C._dispatch_has_kernel_for_dispatch_key, operator.name())
        self.composite = has("CompositeImplicitAutograd") and not has("PrivateUse1")
        self.collective = operator.namespace == "_c10d_functional"
        # for waiting later; we wait at once
        if self.short == "_wrap_tensor_autograd":
            self.operator, self.view = (lambda x: x), True
        self.random = generators.drawing if Tag.nondeterministic_seeded in tags else nullcontext

    def __call__(self, args: tuple, options: dict):
        if self.composite:                   # in inference mode only: else PyTorch sends its parts instead
            return self.operator.decompose(*args, **options)
        if self.copies and (copy := self.crossing(args, options)) is not None:
            return copy
        count(self.name, self.launch)
        if self.syncs or self.indexes and self.by_mask(args):
            count_sync(self.name)
        inner, keywords, on_host = list(args), {}, False
        for i in self.positions[:len(inner)]:
            inner[i] = self.enter(inner[i])
        if options:
            generators.same_device(options.get("generator"))
            keywords = {
                k: self.enter(v) if k in self.keywords else v for k, v in options.items() if k != "pin_memory"
            }
            if (target := options.get("device")) is not None:
                keywords["device"], on_host = HOST, target.type == "cpu"
                if not on_host:
                    generators.card(target)
        with self.random():
            result = self.operator(*inner, **keywords)
        if self.collective:
            for x in result if isinstance(result, list) else [result]:
                torch.ops._c10d_functional.wait_tensor(x)
        if self.returned:                    # in-place and out= give back the very objects they were given
            given = [options[key] if isinstance(key, str) else args[key] for key in self.returned]
            return given[0] if len(given) == 1 else tuple(given)
        if on_host:
            return result
        if not self.view:
            return wrap(result)
        ordinary = torch.is_inference_mode_enabled() and not args[0].is_inference()
        # or PyTorch would refuse the view
        with torch.inference_mode(False) if ordinary else nullcontext():
            return wrap(result, args[0]._allocation)

    def enter(self, value):
        """The host tensors behind one argument, which must be on the card."""
        if type(value) is SimTensor:
            return value._inner
        if isinstance(value, (list, tuple)):
            if not self.indexes:             # indices may be on the host; else not even a number may
                same_device(self.name, value, numbers=False)
            return [self.enter(each) if isinstance(each, (list, tuple)) else unwrap(each) for each in value]
        same_device(self.name, (value,))
        return value

    def by_mask(self, args: tuple) -> bool:
        """Whether an index is a mask: how many elements it chooses has to be read from the card."""
        return isinstance(args[1], (list, tuple)) and any(
            x is not None and x.dtype == torch.bool for x in args[1]
        )

    def crossing(self, args: tuple, options: dict):
        """The result of a copy between host and card, or None if this is not one."""
        if self.short == "copy_":
            result, source = args[:2]
            if type(result) is type(source):
                return None
            unwrap(result).copy_(unwrap(source))
        else:
            source, target = args[0], options.get("device")
            if target is None or target.type != "cpu":
                return None
            result = self.operator(source._inner, **options)
        count(self.name, launch=False)
        reads = type(source) is SimTensor
        count_copy(source.nbytes, to_host=reads)
        if reads:
            count_sync(self.name)
        return result
