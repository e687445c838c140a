"""From Triton's arguments to a `Launch`: the object Triton calls to start a kernel."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton.backends.driver as triton_driver
from triton.runtime import _allocation

from gpu_model.cubin import Cubin
from gpu_model.cuda_names.places import Place, place_of
from gpu_model.errors import HostTensorError, LaunchError
from gpu_model.launch import Launch, Segment, merge_segments, pack_parameters, pack_value
from gpu_model.program import Program
from gpu_model.tensormap import HOST_TYPE_OF_DEVICE, encode_tiled
from gpu_model.triton_backend.pointees import may_be_address, pointed_to

_MAY_BE_ADDRESSES = ("*", "i64", "u64")


def _flatten(types: Any, values: Any, names: Any, descriptors: Iterator[dict]) -> list[tuple[str, Any, str]]:
    """Pair types with values through nested tuples; compile-time constants drop out, tensor descriptors expand."""
    found = []
    for kind, value, name in zip(types, values, names, strict=True):
        if isinstance(kind, tuple):
            found += _flatten(kind, value, [f"{name}[{i}]" for i in range(len(kind))], descriptors)
        elif kind.startswith("tensordesc"):
            found += _descriptor(kind, value, name, next(descriptors, None))
        elif kind != "constexpr":
            found.append((kind, value, name))
    return found


def _descriptor(kind: str, value: Any, name: str, meta: dict | None) -> list[tuple[str, Any, str]]:
    """A host tensor descriptor as parameters: a tensor map where the GPU has them, else pointer, shape and strides."""
    kinds = triton_driver.expand_signature([kind], [meta] if meta else None, "nvTmaDesc")
    if meta is None:
        values = triton_driver.decompose_descriptor(value)
    elif meta.get("is_im2col") or meta["fp4_padded"] or value.round_f32_to_tf32:
        raise LaunchError(f"argument {name}: im2col, packed fp4 and tf32-rounding tensor descriptors are not modelled")
    else:
        image = encode_tiled(
            value.base.data_ptr(), meta["swizzle"], meta["elem_size"], HOST_TYPE_OF_DEVICE[meta["elem_type"]],
            meta["block_size"], value.shape, value.strides, value.padding == "nan",
        )  # fmt: skip
        values = [(image, value.base), *value.shape, *value.strides]
    return [(part, each, name) for part, each in zip(kinds, values, strict=True)]


def _tensor_segment(tensor: torch.Tensor, name: str) -> Segment:
    with torch._C.DisableTorchFunction():  # CUDA's names would say cuda:0
        if tensor.device.type != "cpu":
            raise LaunchError(
                f"argument {name} is a tensor on {tensor.device}, but the virtual GPU works on CPU tensors; make it "
                "with device=triton.runtime.driver.active.get_active_torch_device() or move it with .cpu()"
            )
        storage = tensor.untyped_storage()
        dtype = str(tensor.dtype).removeprefix("torch.")
        return Segment(name, storage.data_ptr(), storage.nbytes(), dtype, tuple(tensor.shape))


def _require_reachable(tensors: Iterable[tuple[str, torch.Tensor]], gpu: Any) -> None:
    """With CUDA's names, refuse what a GPU refuses: a CPU tensor beside tensors on cuda, or any at all.

    Raises:
        HostTensorError: naming the argument.
    """
    with torch._C.DisableTorchFunction():
        places = {name: place_of(tensor) for name, tensor in tensors if tensor.data_ptr()}
    far = [name for name, place in places.items() if place not in (Place.CUDA, Place.PINNED)]
    if far and (not gpu.host_tensors or Place.CUDA in places.values()):
        raise HostTensorError(
            f"Pointer argument {far[0]} cannot be accessed from Triton (cpu tensor?): "
            f"{'other arguments are' if gpu.host_tensors else 'kernels take tensors'} on cuda:0; move it with .cuda()"
        )


def _tensors(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors of an argument: itself, behind a wrapper or descriptor, or inside a tuple."""
    value = getattr(value, "base", value) if not isinstance(value, torch.Tensor) else value
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, tuple):
        for index, part in enumerate(value):
            yield from _tensors(f"{name}[{index}]", part)


def _source_file(src: Any) -> str | None:
    """Where the kernel's Python source lies; None for kernels that come as text."""
    function = getattr(getattr(src, "fn", None), "fn", None)
    return inspect.getsourcefile(function) if function is not None else None


def with_source(program: Program, source: str | None) -> Program:
    """A program whose lines are in `source` where they are in a file of that name.

    Triton's cache takes no notice of folders, so its line tables name the folder of whoever compiled a kernel first.
    """
    name = source and Path(source).name
    files = tuple(source if source and Path(file).name == name else file for file in program.files)
    return program if files == program.files else replace(program, files=files)


class LaunchBuilder:
    """Makes launches of one compiled kernel from the arguments that Triton passes.

    Args:
        src: what was compiled, for its signature.
        metadata: Triton's, of the compiled kernel.
        sm_count: SMs of the GPU.
        place: the segment of a tensor argument, given the tensor and the argument's name.

    Attributes:
        scratch: addresses of the scratch memory of the last launch made.
        tensors: its tensors by name, those that it reaches through addresses in others included.
    """

    def __init__(
        self, src: Any, metadata: Any, sm_count: int, place: Callable[[torch.Tensor, str], Segment] = _tensor_segment
    ):
        self._metadata, self._sm_count, self._place = metadata, sm_count, place
        self.types, self.names = list(src.signature.values()), list(src.signature)
        self._source = _source_file(src)
        parameters = getattr(getattr(src, "fn", None), "params", ())
        self._compiled_for = frozenset(parameter.name for parameter in parameters if parameter.is_constexpr)
        self._program: Program | None = None
        self.scratch: set[int] = set()
        self.tensors: list[tuple[str, torch.Tensor]] = []

    def __call__(self, grid: tuple[int, int, int], function: tuple[Program, Cubin], arguments: Any) -> Launch:
        """The launch as data; Triton's grid counts clusters along x.

        Raises:
            LaunchError: an argument that the kernel cannot take, named.
        """
        program, cubin = function
        program = self._program = self._program or with_source(program, self._source)
        grid = (grid[0] * getattr(self._metadata, "num_ctas", 1), *grid[1:])
        segments: list[Segment] = []
        named: list[tuple[str, str, bytes]] = []
        addresses: list[tuple[str, int]] = []
        descriptors = iter(getattr(self._metadata, "tensordesc_meta", None) or ())
        for kind, value, name in _flatten(self.types, arguments, self.names, descriptors):
            if kind == "nvTmaDesc":
                segments.append(self._place(value[1], name))
                named.append((name, kind, value[0]))
            else:
                held = len(segments)
                if kind.startswith("*"):
                    value = self._pointer(value, name, segments)
                if len(segments) == held and kind.startswith(_MAY_BE_ADDRESSES) and may_be_address(value):
                    addresses.append((name, int(value)))
                named.append((name, kind, pack_value(kind, value)))
        named_arguments = zip(self.names, arguments, strict=True)
        tensors = [pair for name, value in named_arguments for pair in _tensors(name, value)]
        pointees = pointed_to(tensors, addresses, segments)
        self.tensors = tensors + pointees
        segments += [self._place(tensor, name) for name, tensor in pointees]
        arguments_given = len(named)
        buffers = [self._scratch(kind, grid) for kind in ("global", "profile")]
        self.scratch.clear()
        for kind, buffer in zip(("global", "profile"), buffers, strict=True):
            name = f"{kind} scratch"
            pieces: list[Segment] = []
            named.append((name, "*i8", pack_value("*i8", self._pointer(buffer, name, pieces))))
            self.scratch.update(piece.address for piece in pieces)
            segments += pieces
        own = np.frombuffer(program.global_data, np.uint8).copy()
        address = own.ctypes.data if len(own) else 0
        segments.append(Segment("the kernel's own data", address, len(own)))
        # PTX that replaced Triton's (ir_override) may do without scratch memory: CUDA reads what the kernel declares.
        parameters, described = pack_parameters(cubin, named[: max(arguments_given, len(cubin.parameters))])
        visible = np.frombuffer(parameters, np.uint8).copy()
        segments.append(Segment("the kernel's parameters", visible.ctypes.data, len(visible)))
        return Launch(
            program=program,
            grid=grid,
            threads=32 * self._metadata.num_warps,
            shared_bytes=self._metadata.shared + program.shared_bytes,
            parameters=parameters,
            segments=merge_segments(segments),
            keep=(*arguments, *buffers, *(tensor for _, tensor in pointees), own, visible),
            global_address=address,
            parameter_address=visible.ctypes.data if len(visible) else 0,
            cubin=cubin.image,
            arguments=described,
            sm_count=self._sm_count,
            compiled_for=self._constants(arguments),
        )

    def _constants(self, arguments: Any) -> tuple[tuple[str, str], ...]:
        """The `tl.constexpr` parameters and what the launch gave for them, then Triton's options for the pipeline."""
        given = [(name, value) for name, value in zip(self.names, arguments, strict=True) if name in self._compiled_for]
        given += [(name, getattr(self._metadata, name, None)) for name in ("num_warps", "num_stages")]
        return tuple((name, str(getattr(value, "__name__", value))) for name, value in given)

    def _pointer(self, value: Any, name: str, segments: list[Segment]) -> int:
        """Address of a pointer argument; the memory behind it joins the launch's segments."""
        if value is None:
            return 0
        tensor = getattr(value, "base", value)  # triton.reinterpret wraps a tensor
        if isinstance(tensor, torch.Tensor):
            segments.append(self._place(tensor, name))
            return value.data_ptr()
        if isinstance(value, int):
            return value
        if hasattr(value, "data_ptr"):
            return int(value.data_ptr())
        raise LaunchError(f"argument {name} is {type(value).__name__}, expected a torch tensor or an address")

    def _scratch(self, kind: str, grid: tuple[int, int, int]) -> Any:
        """Allocate the scratch memory a kernel asks for; Triton passes two such pointers to every kernel."""
        size = getattr(self._metadata, f"{kind}_scratch_size", 0)
        if not size:
            return None
        total = size * grid[0] * grid[1] * grid[2]
        align = getattr(self._metadata, f"{kind}_scratch_align", 1)
        allocator = _allocation._allocator if kind == "global" else _allocation._profile_allocator
        return allocator.get()(total, align, 0)


def make_launcher(gpu: Any) -> type:
    """Make the launcher class of one virtual GPU."""

    class VirtualLauncher:
        """One compiled kernel's entry, called by Triton for each launch."""

        def __init__(self, src: Any, metadata: Any):
            self._build = LaunchBuilder(src, metadata, gpu.spec.sm_count)

        def __call__(self, grid_x: int, grid_y: int, grid_z: int, stream: int, function: tuple[Program, Cubin],
                     kernel_metadata: Any, launch_metadata: Any, enter_hook: Any, exit_hook: Any,
                     *arguments: Any) -> None:  # fmt: skip
            """Build the launch and run it on the virtual GPU."""
            launch = self._build((grid_x, grid_y, grid_z), function, arguments)
            if gpu.cuda:
                _require_reachable(self._build.tensors, gpu)
            if enter_hook is not None:
                enter_hook(launch_metadata)
            gpu.run(launch)
            if exit_hook is not None:
                exit_hook(launch_metadata)

    return VirtualLauncher
