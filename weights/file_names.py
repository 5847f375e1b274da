"""What the files of a checkpoint are called."""

# Files that hold weights, in order of preference; the tables of contents of sharded ones among them.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# What `minidistil pack` writes beside a checkpoint: the weights as the engine wants them.
PACKED_FILE = "minidistil-packed.safetensors"
