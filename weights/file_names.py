"""What the files of a checkpoint are called."""

# Files that hold weights, in order of preference; the tables of contents of sharded ones among them.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def weight_file_names(variant: str | None = None) -> tuple[str, ...]:
    """WEIGHT_FILES, or those of a variant: of "fp16", model.fp16.safetensors and so on."""
    if not variant:
        return WEIGHT_FILES
    return tuple(f"{stem}.{variant}.{ending}" for stem, _, ending in (name.rpartition(".") for name in WEIGHT_FILES))


# What `minidistil pack` writes beside a checkpoint: the weights as the engine wants them, a file for each precision.
PACKED_FILE = "minidistil-packed.safetensors"
PACKED_FILES = {
    "float32": PACKED_FILE,
    **{precision: f"minidistil-packed.{precision}.safetensors" for precision in ("bfloat16", "int8")},
}
