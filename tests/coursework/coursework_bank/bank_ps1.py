"""Mistakes in problem set 1."""
# ruff: noqa: E501

from coursework_bank.entry import bugs

FORWARD = "batchnorm_forward"
STATISTICS = (
    "mu = np.mean(x, axis=0)\ncentred = x - mu\nvar = np.mean(centred**2, axis=0)"
)
VAR, STD, HAT = (
    "var = np.mean(centred**2, axis=0)",
    "std = np.sqrt(var + eps)",
    "x_hat = centred / std",
)
OUT = "out = gamma * x_hat + beta"
SIZES = "N, D = x.shape"
TRANSPOSED = "N, D = sorted(x.shape)[::-1]"  # "N is the larger one"
TRAIN = bugs(
    "ps1.q1",
    FORWARD,
    ("F01", VAR, "var = np.sum(centred**2, axis=0) / (N - 1)", "sample-variance"),
    ("F01-output", STD, "std = np.sqrt(var * N / (N - 1) + eps)", "sample-variance"),
    ("F02", STD, "std = np.sqrt(var) + eps", "eps-outside-root", "eps"),
    ("F03", STD, "std = np.sqrt(var)", "no-eps"),
    ("F04", STD, "std = np.sqrt(var + 1e-5)", "eps-fixed", "eps"),
    ("F04-1e-8", STD, "std = np.sqrt(var + 1e-8)", "1e-8, in place", "eps"),
    ("F04-default", 'bn_param.get("eps", 1e-5)', "1e-5", "eps-fixed"),
    ("F06", STD, "std = var + eps", "variance-not-root"),
    (
        "F07",
        STATISTICS,
        "mu = np.mean(x, axis=1, keepdims=True)\ncentred = x - mu\n"
        "var = np.mean(centred**2, axis=1, keepdims=True)",
        "stats-over-features",
    ),
    ("F09", OUT, "out = gamma * (x_hat + beta)", "shift-before-scale"),
    ("F11", VAR, "var = np.mean(x**2, axis=0) - mu**2", "one-pass-variance", "large mean"),
    ("F12", "centred = x - mu", "x -= mu\ncentred = x", "input-overwritten", "no mutation"),
    ("F12-gamma", OUT, "gamma += 0.0 * mu + 1e-3\nout = (gamma - 1e-3) * x_hat + beta",
     "input-overwritten", "no mutation"),
    ("eps-squared", STD, "std = np.sqrt(var + eps**2)", "eps-squared", "eps"),
    ("eps-two-roots", STD, "std = np.sqrt(var) + np.sqrt(eps)", "eps-root-outside"),
    ("eps-twice", STD, "std = np.sqrt(var + eps) + eps", "eps-twice", "eps"),
    ("eps-on-output", HAT, "x_hat = centred / np.sqrt(var) + eps", "eps-on-output"),
    ("sum-for-mean", VAR, "var = np.sum(centred**2, axis=0)", "sum-not-variance"),
    ("around-zero", VAR, "var = np.mean(x**2, axis=0)", "variance-around-zero"),
    ("mean-distance", VAR, "var = np.mean(np.abs(centred), axis=0) ** 2", "mean-distance"),
    ("one-for-all", "mu = np.mean(x, axis=0)\ncentred = x - mu\n" + VAR,
     "mu = np.mean(x)\ncentred = x - mu\nvar = np.mean(centred**2)", "stats-over-all"),
    ("spread-of-all", STD, "std = np.sqrt(np.mean(centred**2) + eps)", "spread is wrong"),
    ("not-centred", HAT, "x_hat = x / std", "not-centred"),
    ("no-gamma", OUT, "out = x_hat + beta", "no-gamma"),
    ("no-beta", OUT, "out = gamma * x_hat", "no-beta"),
    ("neither", OUT, "out = x_hat", "gamma and beta are not used"),
    ("swapped-parameters", OUT, "out = beta * x_hat + gamma", "gamma-beta-swapped"),
    ("square-of-variance", STD, "std = np.sqrt(var**2 + eps)", "spread is wrong"),
    ("range", STD, "std = x.max(axis=0) - x.min(axis=0) + eps", "spread is wrong"),
    ("median", "centred = x - mu", "centred = x - np.median(x, axis=0)", "do not have mean 0"),
    ("running-in-training",
     "running_mean = momentum * running_mean + (1 - momentum) * mu\n"
     "running_var = momentum * running_var + (1 - momentum) * var",
     "running_mean = momentum * running_mean + (1 - momentum) * mu\n"
     "running_var = momentum * running_var + (1 - momentum) * var\n"
     "out = gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta",
     "In training mode you use the running"),
    ("default-eps", '"eps", 1e-5', '"eps", 1e-3', "default of eps"),
    ("zero-for-constant", OUT, "out = np.where(var > 0, gamma * x_hat + beta, 0.0)",
     "zero-filled", "constant feature"),
    ("one-for-constant", HAT, "x_hat = np.where(var > 0, centred / std, 1.0)",
     "constant over the batch", "constant feature"),
    ("float64-only", SIZES, SIZES + '\nif x.dtype != float:\n    raise TypeError("float64")',
     "With float32 arrays batchnorm_forward stopped", "float32"),
    ("single-precision", "centred = x - mu", "x = x.astype(np.float32)\n"
     "centred = x - np.mean(x, axis=0)", "single-precision", "large mean"),
    ("larger-is-N", SIZES, TRANSPOSED, "With 3 rows of 5 features", "N and D differ"),
)  # fmt: skip
MEAN = "running_mean = momentum * running_mean + (1 - momentum) * mu"
RVAR = "running_var = momentum * running_var + (1 - momentum) * var"
KEEP_MEAN = 'bn_param["running_mean"] = running_mean'
KEEP_VAR = 'bn_param["running_var"] = running_var'
RUNNING = bugs(
    "ps1.q2",
    FORWARD,
    ("R01", f"{MEAN}\n{RVAR}",
     "running_mean = (1 - momentum) * running_mean + momentum * mu\n"
     "running_var = (1 - momentum) * running_var + momentum * var", "momentum-swapped"),
    ("R01-mean", MEAN, "running_mean = (1 - momentum) * running_mean + momentum * mu",
     "momentum-swapped"),
    ("R03", f"{MEAN}\n{RVAR}", "running_mean = mu\nrunning_var = var", "last-batch-kept"),
    ("R04", f"{KEEP_MEAN}\n{KEEP_VAR}", "pass", "never-written"),
    ("R04-mean", KEEP_MEAN, "pass", "mean-never-written"),
    ("R04-var", KEEP_VAR, "pass", "var-never-written"),
    ("R05", RVAR, "running_var = momentum * running_var + (1 - momentum) * np.sqrt(var)",
     "std-not-var-stored"),
    ("R05-eps", RVAR, "running_var = momentum * running_var + (1 - momentum) * std",
     "sqrt(var + eps), the divisor"),
    ("R07", RVAR, "running_var = momentum * running_var + (1 - momentum) * (var + eps)",
     "eps-stored"),
    ("R08", RVAR, RVAR + " * N / (N - 1)", "sample-variance"),
    ("R10", KEEP_MEAN, 'bn_param["running_mean"] = running_mean[None]', "Drop keepdims"),
    ("momentum-fixed", 'bn_param.get("momentum", 0.9)', "0.9", "momentum-fixed", "momentum"),
    ("weights-not-one", f"{MEAN}\n{RVAR}", "running_mean = momentum * running_mean + mu\n"
     "running_var = momentum * running_var + var", "weights-not-one"),
    ("start-ignored", f"{MEAN}\n{RVAR}",
     "running_mean = momentum * np.zeros(D) + (1 - momentum) * mu\n"
     "running_var = momentum * np.zeros(D) + (1 - momentum) * var",
     "start-ignored", "momentum"),
    ("starts-at-one", 'bn_param.get("running_var", np.zeros(D))',
     'bn_param.get("running_var", np.ones(D))', "starts-at-one", "values"),
    ("starts-at-batch", MEAN,
     'if "running_mean" not in bn_param:\n    running_mean, running_var = mu, np.mean((x - mu) ** 2, axis=0)\n'
     + MEAN, "starts-at-batch", "values"),
    ("default-momentum", '"momentum", 0.9', '"momentum", 0.99', "default-momentum", "values"),
    ("names-exchanged", f"{KEEP_MEAN}\n{KEEP_VAR}",
     'bn_param["running_mean"] = running_var\nbn_param["running_var"] = running_mean',
     "mean-var-swapped"),
    ("eps-written", KEEP_VAR, KEEP_VAR + '\nbn_param["eps"] = 1e-5', "parameters-changed",
     "state unchanged"),
    ("momentum-decays", KEEP_VAR, KEEP_VAR + '\nbn_param["momentum"] = momentum * 0.5',
     "parameters-changed"),
    ("mode-changed", KEEP_VAR, KEEP_VAR + '\nbn_param["mode"] = "test"',
     "parameters-changed"),
    ("around-running-mean", RVAR,
     "running_var = momentum * running_var + (1 - momentum) * np.mean((x - running_mean) ** 2, axis=0)",
     "running_var differs"),
    ("updated-twice", MEAN, MEAN + "\n" + MEAN, "running_mean differs"),
    ("one-number", MEAN, "running_mean = momentum * running_mean + (1 - momentum) * mu.mean()",
     "stats-over-all"),
)  # fmt: skip
MOVED, RSTD, TEST_HAT = (
    "moved = x - running_mean",
    "running_std = np.sqrt(running_var + eps)",
    "test_hat = moved / running_std",
)
TEST_OUT = "out = gamma * test_hat + beta * 1.0"
EVALUATION = bugs(
    "ps1.q3",
    FORWARD,
    ("E01", TEST_HAT, "test_hat = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)",
     "eval-batch-stats"),
    ("E01-mean", MOVED, "moved = x - x.mean(axis=0)", "batch-mean"),
    ("E01-var", RSTD, "running_std = np.sqrt(x.var(axis=0) + eps)", "batch-variance"),
    ("E02", "cache = None",
     'bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * x.mean(axis=0)\n'
     'bn_param["running_var"] = momentum * running_var + (1 - momentum) * x.var(axis=0)\n'
     "cache = None", "stats-updated-in-test", "state unchanged"),
    ("E02-before", MOVED,
     "running_mean = momentum * running_mean + (1 - momentum) * x.mean(axis=0)\n"
     "running_var = momentum * running_var + (1 - momentum) * x.var(axis=0)\n" + MOVED,
     "updated-before-use"),
    ("E02-in-place", MOVED, "running_mean *= 0.9\nmoved = x - running_mean / 0.9",
     "stats-updated-in-test", "state unchanged"),
    ("E04", RSTD, "running_std = np.sqrt(running_var) + eps", "eps-outside-root", "eps"),
    ("E04-missing", RSTD, "running_std = np.sqrt(running_var)", "no-eps", "eps"),
    ("E04-fixed", RSTD, "running_std = np.sqrt(running_var + 1e-5)", "eps-fixed", "eps"),
    ("E04-1e-8", RSTD, "running_std = np.sqrt(running_var + 1e-8)", "a fixed number, 1e-8", "eps"),
    ("test-no-root", RSTD, "running_std = running_var + eps", "variance-not-root"),
    ("test-std-read", RSTD, "running_std = running_var", "std-not-var-stored"),
    ("test-not-centred", MOVED, "moved = x", "not-centred"),
    ("test-no-affine", TEST_OUT, "out = test_hat", "no-affine"),
    ("test-no-gamma", TEST_OUT, "out = test_hat + beta", "no-gamma"),
    ("test-no-beta", TEST_OUT, "out = gamma * test_hat", "no-beta"),
    ("test-shift-first", TEST_OUT, "out = gamma * (test_hat + beta)", "shift-before-scale"),
    ("test-swapped", TEST_OUT, "out = beta * test_hat + gamma", "gamma-beta-swapped"),
    ("test-overwrites", MOVED, "x -= running_mean\nmoved = x", "input-overwritten",
     "state unchanged"),
    ("test-nothing", TEST_OUT, "out = x", "In test mode out differs"),
    ("test-unbiased", RSTD, "running_std = np.sqrt(running_var * N / max(N - 1, 1) + eps)",
     "unbiased-in-test"),
    ("one-row-special", TEST_HAT,
     TEST_HAT + "\nif N == 1:\n    test_hat = np.zeros(x.shape)",
     "for a batch of one row", "evaluation independence"),
    ("momentum-in-test", MOVED, "moved = x - momentum * running_mean",
     "In test mode out differs"),
)  # fmt: skip
ONE_PASS = "one-pass-variance"
GHOST = bugs(
    "ps1.q4",
    "ghost_batchnorm",
    ("ghost-whole", "part = x[start : start + k]\nmu = part.mean(axis=0)",
     "part = x[start : start + k]\nmu = x.mean(axis=0)", "out differs"),
    ("ghost-ignored", SIZES, SIZES + "\nk = N", "whole-batch"),
    ("ghost-F01", "var = (centred**2).mean(axis=0)", "var = part.var(axis=0, ddof=1)",
     "sample-variance"),
    ("ghost-F02", "np.sqrt(var + eps)", "(np.sqrt(var) + eps)", "eps-outside-root"),
    ("ghost-F03", "np.sqrt(var + eps)", "np.sqrt(var)", "no-eps"),
    ("ghost-F04", "np.sqrt(var + eps)", "np.sqrt(var + 1e-5)", "eps-fixed", "eps"),
    ("ghost-F06", "np.sqrt(var + eps)", "(var + eps)", "variance-not-root"),
    ("ghost-F11", "var = (centred**2).mean(axis=0)",
     "var = (part**2).mean(axis=0) - mu**2", ONE_PASS, "large mean"),
    ("ghost-F12", "centred = part - mu", "part -= mu\ncentred = part",
     "input-overwritten", "no mutation"),
    ("ghost-strided", "part = x[start : start + k]\nmu = part.mean(axis=0)\n"
     "centred = part - mu\nvar = (centred**2).mean(axis=0)\nstd = np.sqrt(var + eps)\n"
     "out[start : start + k] = gamma * centred / std + beta",
     "some = slice(start // k, None, N // k)\npart = x[some]\n"
     "std = np.sqrt(part.var(axis=0) + eps)\n"
     "out[some] = gamma * (part - part.mean(axis=0)) / std + beta", "strided-ghosts"),
    ("ghost-k-is-number", SIZES, SIZES + "\nk = N // k", "number of ghost"),
    ("ghost-rows-lost", "range(0, N, k)", "range(0, N - k, k)", "out differs"),
    ("ghost-no-affine", "gamma * centred / std + beta", "centred / std", "gamma and beta"),
    ("ghost-larger-is-N", SIZES, TRANSPOSED, "With 4 rows of 5 features", "N and D differ"),
    variant="ghost",
)  # fmt: skip
WVAR = "var = np.sum(column * centred**2, axis=0) / total"
WEIGHTED = bugs(
    "ps1.q4",
    "weighted_batchnorm",
    ("weights-ignored", "column = w.reshape(N, 1)\ntotal = np.sum(w)",
     "column = np.ones((N, 1))\ntotal = N", "weights-ignored"),
    ("weights-by-N", "total = np.sum(w)", "total = N", "not-normalized"),
    ("weights-plain-var", WVAR, "var = x.var(axis=0)", "plain-variance"),
    ("weights-plain-mean-inside", WVAR,
     "var = np.sum(column * (x - x.mean(axis=0)) ** 2, axis=0) / total", "around-plain-mean"),
    ("weights-plain-mean", "mu = np.sum(column * x, axis=0) / total", "mu = x.mean(axis=0)",
     "plain-mean"),
    ("weights-squared", WVAR,
     "var = np.sum(column**2 * centred**2, axis=0) / np.sum(w**2)", "weights-squared"),
    ("weights-on-output", "return out.reshape(N, D)", "return (column * out).reshape(N, D)",
     "output-weighted"),
    ("weights-squared-inside", WVAR, "var = np.sum((column * centred) ** 2, axis=0) / total",
     "weights-squared"),
    ("weights-x-weighted", "centred = x - mu", "centred = column * x - mu", "out differs"),
    ("weights-F02", "np.sqrt(var + eps)", "(np.sqrt(var) + eps)", "eps-outside-root", "eps"),
    ("weights-F03", "np.sqrt(var + eps)", "np.sqrt(var)", "no-eps", "eps"),
    ("weights-F06", "np.sqrt(var + eps)", "(var + eps)", "variance-not-root"),
    ("weights-F11", WVAR, "var = np.sum(column * x**2, axis=0) / total - mu**2", ONE_PASS,
     "large mean"),
    ("weights-F12", "centred = x - mu", "x -= mu\ncentred = x", "input-overwritten",
     "no mutation"),
    ("weights-unbiased", WVAR,
     "var = np.sum(column * centred**2, axis=0) / (total - np.sum(w**2) / total)",
     "out differs"),
    ("weights-larger-is-N", SIZES, TRANSPOSED, "With 4 rows of 5 features",
     "N and D differ"),
    variant="weighted",
)  # fmt: skip
CVAR, CLIP = "var = (centred**2).sum(axis=0) / N", "clipped = np.maximum(var, floor)"
CLIPPED = bugs(
    "ps1.q4",
    "clipped_batchnorm",
    ("clip-forgotten", CLIP, "clipped = var", "not-clipped"),
    ("clip-above", CLIP, "clipped = np.minimum(var, floor)", "clipped-from-above"),
    ("clip-after-eps", CLIP + "\nstd = np.sqrt(clipped + eps)",
     "std = np.sqrt(np.maximum(var + eps, floor))", "eps-before-clip", "eps"),
    ("clip-added", CLIP, "clipped = var + floor", "floor-added"),
    ("clip-std", CLIP, "clipped = np.maximum(np.sqrt(var), floor) ** 2", "std-clipped"),
    ("clip-by-any", CLIP, "clipped = var if (var > floor).all() else floor + 0 * var",
     "out differs"),
    ("clip-to-zero", CLIP, "clipped = np.where(var > floor, var, 0)", "out differs"),
    ("clip-F01", CVAR, "var = (centred**2).sum(axis=0) / (N - 1)", "sample-variance"),
    ("clip-F02", "np.sqrt(clipped + eps)", "(np.sqrt(clipped) + eps)", "eps-outside-root",
     "eps"),
    ("clip-F03", "np.sqrt(clipped + eps)", "np.sqrt(clipped)", "no-eps", "eps"),
    ("clip-F11", CVAR, "var = (x**2).sum(axis=0) / N - mu**2", ONE_PASS, "large mean"),
    ("clip-F12", "centred = x - mu", "x -= mu\ncentred = x", "input-overwritten",
     "no mutation"),
    ("clip-larger-is-N", SIZES, TRANSPOSED, "With 4 rows of 5 features", "N and D differ"),
    variant="clipped",
)  # fmt: skip
SMU, SVAR = (
    "mean = momentum * mean + (1 - momentum) * mu",
    "var = momentum * var + (1 - momentum) * spread",
)
START = "T, N, D = batches.shape"
SPREAD = "spread = ((x - mu) ** 2).sum(axis=0) / N"
STARTUP = bugs(
    "ps1.q4",
    "corrected_statistics",
    ("start-not-corrected", "return mean / share, var / share", "return mean, var",
     "not-corrected"),
    ("start-last-only", f"{SMU}\n{SVAR}",
     "mean = mu * (1 - momentum**T)\nvar = spread * (1 - momentum**T)", "last-only"),
    ("start-plain-mean", "return mean / share, var / share",
     "return batches.mean(axis=(0, 1)), batches.var(axis=1).mean(axis=0)", "mean-of-means"),
    ("start-power", "momentum**T", "momentum ** (T + 1)", "power-off"),
    ("start-power-N", "momentum**T", "momentum**N", "power-off"),
    ("start-swapped", f"{SMU}\n{SVAR}",
     "mean = (1 - momentum) * mean + momentum * mu\nvar = (1 - momentum) * var + momentum * spread",
     "the other way round"),
    ("start-swapped-all", START, START + "\nmomentum = 1 - momentum",
     "swapped-weights"),
    ("start-each-step", SMU, SMU.replace("momentum * mean", "momentum * mean / 1.02"),
     "mean differs"),
    ("start-F01", SPREAD, "spread = x.var(axis=0, ddof=1)", "sample-variance"),
    ("start-mean-only", "return mean / share, var / share", "return mean / share, var",
     "not-corrected"),
    ("start-root", SPREAD, "spread = x.std(axis=0)", "var differs"),
    ("start-F11", SPREAD, "spread = (x**2).mean(axis=0) - mu**2", ONE_PASS, "large mean"),
    ("start-F12", SPREAD, "x -= mu\nspread = (x**2).sum(axis=0) / N", "input-overwritten",
     "no mutation"),
    ("start-momentum", START, START + "\nmomentum = 0.9", "momentum-fixed",
     "momentum"),
    variant="startup",
)  # fmt: skip
BUGS = [*TRAIN, *RUNNING, *EVALUATION, *GHOST, *WEIGHTED, *CLIPPED, *STARTUP]
