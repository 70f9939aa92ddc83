"""The frameworks, where each of them runs, and what each cannot do.

A framework may leave out a case, or differ by more than the usual tolerance, when that
is written here with its reason. Anything else is a failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

NOTHING: Mapping[str, str] = MappingProxyType({})


class Looser(NamedTuple):
    """A tolerance that is looser than the usual one, and why."""

    dtype: str
    outputs: tuple[str, ...]
    tolerance: float
    reason: str


class Framework(NamedTuple):
    """One framework and how it is run.

    Attributes
    ----------
    name : str
        Name of its record.
    title : str
        Name for people.
    convention : str
        Key of `bnlib.conventions.CONVENTIONS`.
    group : {"modern", "legacy", "optional"}
        What ``--group`` asks for.
    environments : tuple of str
        Where it runs: the first of these that can be made.
    adapter : str
        File in ``frameworks/adapters``, without its ending.
    modules : tuple of str
        What must be importable for it.
    variables : mapping
        Environment variables.
    gaps : mapping
        Part of a case's name -> why the framework cannot run it.
    looser : tuple of Looser
        Tolerances that are looser than the usual ones.
    without : tuple of str
        Packages that must not be loaded in its process.
    """

    name: str
    title: str
    convention: str
    group: str
    environments: tuple[str, ...]
    adapter: str
    modules: tuple[str, ...]
    variables: Mapping[str, str] = NOTHING
    gaps: Mapping[str, str] = NOTHING
    looser: tuple[Looser, ...] = ()
    without: tuple[str, ...] = ()


STATISTICS = ("running_mean", "running_var", "inference")
ALL = ("y", "dx", "dgamma", "dbeta", *STATISTICS)
KERAS_FLOAT64 = Looser(
    "float64",
    ALL,
    2e-6,
    "off TensorFlow the layer computes float64 in float32: it casts its input to "
    "keras.backend.result_type('float64', 'float32'), which is float32 there",
)
TF1_FLOAT64 = Looser(
    "float64",
    STATISTICS,
    1e-7,
    "1 - momentum is made a float32 constant before it is cast to float64",
)
ONNX_FLOAT64 = Looser(
    "float64",
    ("y", *STATISTICS),
    1e-6,
    "the attributes epsilon and momentum are float32",
)
FLAX_FLOAT64 = Looser(
    "float64",
    ("running_var", "inference"),
    1e-7,
    "the initial statistics are float32, so 0.9 times the first of them is rounded",
)
PADDLE_FLOAT64 = Looser(
    "float64", ALL, 1e-6, "the attributes epsilon and momentum are float32"
)
MXNET_FLOAT64 = Looser("float64", STATISTICS, 1e-6, "the attribute momentum is float32")
FRAMEWORKS: Mapping[str, Framework] = {
    f.name: f
    for f in (
        Framework(
            "pytorch", "PyTorch", "pytorch", "modern",
            ("main",), "run_pytorch", ("torch",),
        ),
        Framework(
            "tensorflow", "TensorFlow with Keras", "keras", "modern",
            ("modern",), "run_keras", ("tensorflow", "keras"),
            {"KERAS_BACKEND": "tensorflow"},
        ),
        Framework(
            "keras_torch", "Keras on torch", "keras", "modern",
            ("modern",), "run_keras", ("keras", "torch"),
            {"KERAS_BACKEND": "torch"}, without=("tensorflow",),
            looser=(KERAS_FLOAT64,),
        ),
        Framework(
            "keras_jax", "Keras on JAX", "keras", "modern",
            ("modern",), "run_keras", ("keras", "jax"),
            {"KERAS_BACKEND": "jax"}, without=("tensorflow",),
            looser=(KERAS_FLOAT64,),
        ),
        Framework(
            "onnxruntime", "ONNX Runtime", "onnx", "modern",
            ("main",), "run_onnxruntime", ("onnx", "onnxruntime"),
            gaps={"nhwc": "channels stand on axis 1"},
            looser=(ONNX_FLOAT64,),
        ),
        Framework(
            "tf1_today", "TensorFlow 1 layers in TensorFlow 2", "tf1", "modern",
            ("modern",), "run_tf1", ("tensorflow", "tf_keras"),
            {"TF_USE_LEGACY_KERAS": "1"}, looser=(TF1_FLOAT64,),
        ),
        Framework(
            "tf1", "TensorFlow 1", "tf1", "legacy",
            ("legacy",), "run_tf1", ("tensorflow",), looser=(TF1_FLOAT64,),
        ),
        Framework(
            "theano", "Theano", "theano", "legacy",
            ("legacy", "theano"), "run_theano", ("theano",),
            {"THEANO_FLAGS": "cxx=,mode=FAST_COMPILE,blas.ldflags="},
        ),
        Framework(
            "cntk", "CNTK", "cntk", "legacy",
            ("cntk",), "run_cntk", ("cntk",),
            gaps={"nhwc": "channels stand first"},
        ),
        Framework(
            "flax", "Flax on JAX", "flax", "optional",
            ("modern",), "run_flax", ("flax", "jax"), looser=(FLAX_FLOAT64,),
        ),
        Framework(
            "mlx", "MLX", "mlx", "optional",
            ("optional",), "run_mlx", ("mlx",),
            gaps={"nchw": "channels stand last"},
        ),
        Framework(
            "paddle", "PaddlePaddle", "paddle", "optional",
            ("optional",), "run_paddle", ("paddle",), looser=(PADDLE_FLOAT64,),
        ),
        Framework(
            "tinygrad", "tinygrad", "tinygrad", "optional",
            ("optional",), "run_tinygrad", ("tinygrad",),
            {"DEV": "PYTHON"}, gaps={"nhwc": "channels stand on axis 1"},
        ),
        Framework(
            "mxnet", "MXNet", "mxnet", "optional",
            ("mxnet",), "run_mxnet", ("mxnet",), looser=(MXNET_FLOAT64,),
        ),
    )
}  # fmt: skip
