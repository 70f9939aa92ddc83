"""Mistakes in problem set 5."""
# ruff: noqa: E501

from coursework_bank.entry import Bug, bugs

STD, SCALE = "std = np.sqrt(var + eps)", "scale = gamma / std"
B2, NONE = "b2 = (b - mean) * scale + beta", "if b is None:\n    b = np.zeros(len(W))"


def folding(
    question: str, function: str, prefix: str, scaled: str, axis: str
) -> list[Bug]:
    """Return the mistakes that both folding functions share."""
    p = prefix
    return bugs(
        question,
        function,
        (f"{p}-T03-gamma", SCALE + "\n" + scaled, "scale = 1 / std\n" + scaled, "no-gamma"),
        (f"{p}-T03-bias", B2, "b2 = (b - mean) / std + beta", "gamma-missing-in-bias"),
        (f"{p}-T03-mean", B2, "b2 = b * scale - mean + beta", "mean-not-scaled"),
        (f"{p}-T03-lost", B2, "b2 = beta - mean * scale", "bias-dropped"),
        (f"{p}-T03-unscaled", B2, "b2 = b + beta - mean * scale", "bias-not-scaled"),
        (f"{p}-no-mean", B2, "b2 = b * scale + beta", "mean-dropped"),
        (f"{p}-mean-added", B2, "b2 = (b + mean) * scale + beta", "mean-added"),
        (f"{p}-no-beta", B2, "b2 = (b - mean) * scale", "beta-dropped"),
        (f"{p}-old-weights", scaled, "W2 = W.copy()", "weights-unscaled"),
        (f"{p}-inputs-scaled", scaled, axis, "wrong-axis"),
        (f"{p}-eps-outside", STD, "std = np.sqrt(var) + eps", "eps-outside-root"),
        (f"{p}-no-eps", STD, "std = np.sqrt(var)", "no-eps"),
        (f"{p}-eps-fixed", STD, "std = np.sqrt(var + 1e-5)", "eps-fixed"),
        (f"{p}-eps-tiny", STD, "std = np.sqrt(var + min(eps, 1e-3))", "With a large eps", "eps"),
        (f"{p}-no-root", STD, "std = var + eps", "variance-not-root"),
        (f"{p}-beta-inside", B2, "b2 = (b - mean + beta) * scale", "b2 differs"),
        (f"{p}-needs-bias", NONE, "pass", "With b = None", "no bias"),
        (f"{p}-none-kept", B2, B2 + "\nif not b.any():\n    b2 = None", "With b = None",
         "no bias"),
        (f"{p}-float64-only", STD,
         STD + '\nif W.dtype != float:\n    raise TypeError("float64")',
         "With float32 arrays", "float32"),
        (f"{p}-overwrites", scaled, scaled + "\nW[:] = W2\nW2 = W", "input-overwritten",
         "no mutation"),
        (f"{p}-overwrites-b", B2, "b -= mean\nb2 = b * scale + beta", "input-overwritten",
         "no mutation"),
    )  # fmt: skip


FOLD = folding(
    "ps5.q1", "fold_linear", "linear", "W2 = W * scale[:, None]", "W2 = W * scale"
) + folding(
    "ps5.q2",
    "fold_conv",
    "conv",
    "W2 = W * scale.reshape(-1, 1, 1, 1)",
    "W2 = W * scale.reshape(1, -1, 1, 1)",
)
KINDS = "kinds = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)"
FREEZE = bugs(
    "ps5.q3",
    "freeze_batch_norm",
    ("T02", "layer.eval()\nlayer.train = stay\n", "", "statistics-drift"),
    ("T02-eval-once", "layer.train = stay", "pass", "statistics-drift"),
    ("T02-eval-learns", "parameter.requires_grad = False", "pass", "parameters-drift"),
    ("T02-momentum", "layer.eval()\nlayer.train = stay", "layer.momentum = 0.0", "batch-used"),
    ("T02-not-tracked", "layer.eval()\nlayer.train = stay", "layer.track_running_stats = False",
     "batch-used"),
    ("T02-everything", "return model", "for parameter in model.parameters():\n"
     "    parameter.requires_grad = False\nreturn model", "nothing-learns"),
    ("T02-all-but-last", "return model", "for parameter in list(model.parameters())[:2]:\n"
     "    parameter.requires_grad = False\nreturn model", "nothing-learns"),
    ("T02-children", "model.modules()", "model.children()", "layers-missed",
     "nested layers and maps"),
    ("T02-only-1d", KINDS, "kinds = torch.nn.BatchNorm1d", "layers-missed",
     "nested layers and maps"),
    ("T02-only-2d", KINDS, "kinds = torch.nn.BatchNorm2d", "layers-missed", "values"),
    ("T02-reset", "layer.eval()", "layer.eval()\nlayer.reset_running_stats()",
     "statistics-drift"),
    ("~T02-copy", "return model", "import copy\nreturn copy.deepcopy(model)", ""),
)  # fmt: skip
POPULATION = bugs(
    "ps5.q4",
    "population_statistics",
    ("means-unweighted", "n = len(x)", "n = 1", "means-unweighted"),
    ("between-missing", "squares = squares + within + between", "squares = squares + within",
     "between-missing"),
    ("within-missing", "squares = squares + within + between", "squares = squares + between",
     "var differs"),
    ("ddof", "return mean, squares / rows", "return mean, squares / (rows - 1)",
     "sample-variance"),
    ("ddof-inside", "within = n * x.var(axis=0)", "within = n * x.var(axis=0, ddof=1)",
     "inside each batch"),
    ("last-only", "return mean, squares / rows", "return mu, x.var(axis=0)", "last-only"),
    ("one-row-nan", "within = n * x.var(axis=0)", "within = (n - 1) * x.var(axis=0, ddof=1)",
     "var holds nan", "a batch of one row"),
    ("one-pass", "return mean, squares / rows",
     "total = sum((x**2).sum(axis=0) for x in batches)\nreturn mean, total / rows - mean**2",
     "one-pass-variance", "large mean"),
    ("batches-overwritten", "away = mu - mean", "x -= mu\naway = mu - mean",
     "input-overwritten", "no mutation"),
    ("std-returned", "return mean, squares / rows", "return mean, np.sqrt(squares / rows)",
     "var differs"),
    ("var-alone", "within = n * x.var(axis=0)", "within = x.var(axis=0)", "var differs"),
)  # fmt: skip
BUGS = [*FOLD, *FREEZE, *POPULATION]
