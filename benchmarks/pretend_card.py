"""A pretend graphics card, for machines without one: a device of torch's whose memory and arithmetic are this machine's own.

    python benchmarks/pretend_card.py abinit particles.star -o job --zdim 4

runs a command of cryodrake on it. What a card refuses is refused: work on tensors of which some are in the host's memory, numpy on
the card's, random numbers from a generator of the host. So a whole job shows whether all its tensors are where they belong,
takes the paths that only cards take, and must end as it does on a processor. It says nothing of CUDA's own kernels, and is slow.

A tensor of the card wraps one of the host. torch hands its operations to `_run`, those that make tensors out of nothing too
(`torch.utils.backend_registration`, new in torch 2.10). Sparse gradients are not pretended.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

NAME = "card"
HOST = torch.device("cpu")
Listener = Callable[[Any, tuple[Any, ...], dict[str, Any], Any, float], None]

_aten: Any = torch.ops.aten
_BETWEEN = {_aten.copy_.default, _aten._to_copy.default, _aten._local_scalar_dense.default}
_INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}  # places may be on the host
_SCALARS = {"aten::where", "aten::lerp", "aten::fill_", "aten::masked_fill", "aten::masked_fill_"}  # with numbers
_PLACES = {torch.int32, torch.int64, torch.uint8, torch.bool}
_OUT_OF_NOTHING = (
    "arange arange.start arange.start_step linspace eye eye.m full zeros ones scalar_tensor tril_indices triu_indices rand randn "
    "rand.generator randn.generator randperm randperm.generator randint randint.low randint.generator randint.low_generator"
)
_libraries: list[Any] = []  # kept: torch forgets what was registered with one that is gone
_as_tensor, _tensor = torch.as_tensor, torch.tensor


class Refused(RuntimeError):
    """What a card would have refused as well."""


class CardTensor(Tensor):
    """A tensor of the card; `host` has its numbers."""

    host: Tensor

    @staticmethod
    def __new__(cls, host: Tensor) -> "CardTensor":
        is_strided = host.layout == torch.strided
        made = Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride() if is_strided else None,
            storage_offset=host.storage_offset() if is_strided else None,
            dtype=host.dtype,
            device=torch.device(NAME, 0),
        )
        made.host = host
        return made

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _run(op, args, kwargs or {})

    # What torch does not hand on for tensors that wrap others.

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None, **_: Any) -> Tensor:  # type: ignore[override]
        return torch.tensor(data, dtype=dtype or self.dtype, device=self.device)

    def __getitem__(self, where: Any) -> Tensor:
        return super().__getitem__(_with_lists_as_tensors(where))

    def __setitem__(self, where: Any, values: Any) -> None:
        super().__setitem__(_with_lists_as_tensors(where), values)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"{self.host!r} on the pretend card"


class PretendCard:
    """The card: what torch asks of a device, and who listens to what it does."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []

    def is_available(self) -> bool:
        return True

    is_initialized = is_available

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """It has no generator of its own."""


CARD = PretendCard()


def install() -> torch.device:
    """Makes torch know the card; it does so for as long as the process lives."""
    if not _libraries:
        backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=CARD)
        everything, making = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
        everything.fallback(lambda op, *args, **kwargs: _run(op, args, kwargs), "PrivateUse1")
        for name in _OUT_OF_NOTHING.split():
            packet, _, overload = name.partition(".")
            making.impl(name, _making(getattr(getattr(_aten, packet), overload or "default")), "PrivateUse1")
        _libraries.extend([everything, making])
        torch.tensor, torch.as_tensor = _then_moved(_tensor), _then_moved(_as_tensor)
    return torch.device(NAME)


def _making(op: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: _run(op, args, kwargs)


def _then_moved(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """torch makes a tensor of numbers on the card past us; so it is made on the host, and then moved."""

    def moved(data: Any, dtype: torch.dtype | None = None, device: Any = None, **options: Any) -> Tensor:
        if device is None or torch.device(device).type != NAME:
            return make(data, dtype=dtype, device=device, **options)
        return make(data, dtype=dtype, **options).to(device)

    return moved


def _with_lists_as_tensors(where: Any) -> Any:
    if isinstance(where, tuple):
        return tuple(map(_with_lists_as_tensors, where))
    return torch.tensor(where, device=NAME) if isinstance(where, list) else where


def _run(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Does on the host what was asked of the card."""
    leaves = tree_leaves((args, kwargs))
    asked = kwargs.get("device")
    _refuse(op, leaves, kwargs.get("generator"), asked)
    host_args, host_kwargs = tree_map(_unwrapped, (args, kwargs))
    if asked is not None:
        host_kwargs["device"] = HOST
    begun = time.perf_counter()
    out = op(*host_args, **host_kwargs)
    seconds = time.perf_counter() - begun
    written = _written(op, args, kwargs)
    if written:
        answer = None if not op._schema.returns else written[0] if len(op._schema.returns) == 1 else tuple(written)
    elif asked.type == NAME if asked is not None else any(isinstance(leaf, CardTensor) for leaf in leaves):
        answer = tree_map(_wrapped, out)
    else:
        answer = out
    for listener in CARD.listeners:
        listener(op, args, kwargs, answer, seconds)
    return answer


def _written(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The tensors that it works in, which are its answer, too."""
    found = []
    for i, argument in enumerate(op._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            found.append(args[i] if i < len(args) else kwargs.get(argument.name))
    for tensor in found:
        if isinstance(tensor, CardTensor) and tensor.shape != tensor.host.shape:
            raise NotImplementedError(f"{op} changes the shape of a tensor, which the pretend card cannot follow")
    return found


def _unwrapped(x: Any) -> Any:
    return x.host if isinstance(x, CardTensor) else x


def _wrapped(x: Any) -> Any:
    """A conjugate is made real first: torch would forget below us that it is one."""
    if not isinstance(x, Tensor):
        return x
    return CardTensor(x.resolve_conj().resolve_neg() if x.layout == torch.strided else x)


def _refuse(op: Any, leaves: list[Any], generator: Any, asked: torch.device | None) -> None:
    """Raises where a card would.

    Raises:
        Refused: tensors, or a generator, are where they should not be.
    """
    name = op._schema.name
    card = [leaf for leaf in leaves if isinstance(leaf, CardTensor)]
    host = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, CardTensor)]
    if generator is not None and generator.device.type == "cpu" and (card or (asked is not None and asked.type == NAME)):
        raise Refused(f"{name}: numbers for the card from a generator of the host")
    if not card or not host or op in _BETWEEN:
        return
    # Numbers of the host are welcome in arithmetic, but for one that is written to.
    numbers = all(tensor.dim() == 0 for tensor in host) and not (name.endswith("_") and leaves[0] is host[0])
    if name in _INDEXING:
        is_welcome = isinstance(leaves[0], CardTensor) and all(t.dtype in _PLACES or t.dim() == 0 for t in host)
    else:
        is_welcome = numbers and (torch.Tag.pointwise in op.tags or name in _SCALARS)
    if not is_welcome:
        places = ", ".join(
            f"{'card' if isinstance(leaf, CardTensor) else 'host'} {tuple(leaf.shape)}"
            for leaf in leaves
            if isinstance(leaf, Tensor)
        )
        raise Refused(f"{name}: tensors are on different devices: {places}")


def run_on_it(arguments: list[str]) -> int:
    """One command of cryodrake, with the card where it would take a CUDA card; its exit code."""
    import cryodrake.analysis.states as states
    import cryodrake.app.volumes as volumes
    from cryodrake.app import cli
    from cryodrake.training import loading

    device = install()
    for module in (loading, states, volumes):
        module.choose_device = lambda name: device if name != "cpu" else HOST  # type: ignore[attr-defined]
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(run_on_it(sys.argv[1:]))
