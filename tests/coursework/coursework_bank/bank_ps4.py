"""Mistakes in problem set 4."""
# ruff: noqa: E501

from coursework_bank.entry import bugs

SPATIAL, SPATIAL_BACK = "spatial_batchnorm_forward", "spatial_batchnorm_backward"
ROWS = "rows = x.transpose(0, 2, 3, 1).reshape(-1, C)"
BACK = "out = out.reshape(N, H, W, C).transpose(0, 3, 1, 2)"
RUN = "out, cache = batchnorm_forward(rows, gamma, beta, bn_param)"
STD, VAR = "std = np.sqrt(var + eps)\nx_hat", "var = np.mean(centred**2, axis=0)"
MAPS = bugs(
    "ps4.q1",
    SPATIAL,
    ("C01", ROWS + "\n" + RUN + "\n" + BACK,
     "rows = x.reshape(-1, C)\n" + RUN + "\nout = out.reshape(N, C, H, W)", "reshape-mixes"),
    ("C01-back-only", BACK, "out = out.reshape(N, C, H, W)", "out differs"),
    ("C01-turned", ROWS, "rows = x.transpose(1, 0, 2, 3).reshape(-1, C)", "you move the channel axis first"),
    ("C02", ROWS + "\n" + RUN + "\n" + BACK,
     "wide = {'mode': bn_param['mode'], 'eps': bn_param.get('eps', 1e-5)}\n"
     "scale, shift = np.repeat(gamma, H * W), np.repeat(beta, H * W)\n"
     "out, cache = batchnorm_forward(x.reshape(N, -1), scale, shift, wide)\n"
     "bn_param['running_mean'] = bn_param['running_var'] = np.zeros(C)\n"
     "out = out.reshape(x.shape)", "per-pixel"),
    ("C-instance", RUN, RUN + "\n"
     "hats = (x - x.mean(axis=(2, 3), keepdims=True)) / np.sqrt(\n"
     "    x.var(axis=(2, 3), keepdims=True) + bn_param.get('eps', 1e-5))\n"
     "if bn_param['mode'] == 'train':\n"
     "    out = (gamma * hats.transpose(0, 2, 3, 1) + beta).reshape(-1, C)", "per-image"),
    ("C-channels", RUN, RUN + "\n"
     "hats = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(\n"
     "    x.var(axis=1, keepdims=True) + bn_param.get('eps', 1e-5))\n"
     "if bn_param['mode'] == 'train':\n"
     "    out = (gamma * hats.transpose(0, 2, 3, 1) + beta).reshape(-1, C)", "over-channels"),
    *((f"C-axes-{axes}", RUN, RUN + "\n"
       f"hats = (x - x.mean(axis={axes}, keepdims=True)) / np.sqrt(\n"
       f"    x.var(axis={axes}, keepdims=True) + bn_param.get('eps', 1e-5))\n"
       "if bn_param['mode'] == 'train':\n"
       "    out = (gamma * hats.transpose(0, 2, 3, 1) + beta).reshape(-1, C)", name)
      for axes, name in (("(0, 1, 2)", "channels-last"), ("(0, 1, 3)", "channels-third"))),
    ("C-overwrites-gamma", BACK, "gamma += 1e-9\n" + BACK, "Your function changes gamma",
     "no mutation"),
    ("C-overwrites", BACK, "x[:] = out.reshape(N, H, W, C).transpose(0, 3, 1, 2)\nout = x",
     "input-overwritten", "no mutation"),
    ("C-H-for-W", BACK, "out = out.reshape(N, W, H, C).transpose(0, 3, 2, 1)", "out differs"),
    ("C-one-image", "N, C, H, W = x.shape", "x = np.squeeze(x)\nN, C, H, W = x.shape",
     "With one image", "H and W differ"),
    ("C-param-copied", RUN, RUN.replace("bn_param", "dict(bn_param)"), "never-written",
     "running statistics"),
)  # fmt: skip
PASTED = bugs(
    "ps4.q1",
    "batchnorm_forward",
    ("C-F01", VAR, "var = np.sum(centred**2, axis=0) / (N - 1)", "sample-variance"),
    ("C-F02", STD, "std = np.sqrt(var) + eps\nx_hat", "eps-outside-root"),
    ("C-eps-subtracted", STD, "std = np.sqrt(var - eps)\nx_hat", "eps-subtracted"),
    ("C-F03", STD, "std = np.sqrt(var)\nx_hat", "no-eps"),
    ("C-F04", STD, "std = np.sqrt(var + 1e-5)\nx_hat", "eps-fixed", "eps"),
    ("C-F09", "return gamma * x_hat + beta", "return gamma * (x_hat + beta)",
     "shift-before-scale"),
    ("C-R01", 'bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * mu\n'
     'bn_param["running_var"] = momentum * running_var + (1 - momentum) * var',
     'bn_param["running_mean"] = (1 - momentum) * running_mean + momentum * mu\n'
     'bn_param["running_var"] = (1 - momentum) * running_var + momentum * var',
     "momentum-swapped", "running statistics"),
    ("C-R05", "(1 - momentum) * var", "(1 - momentum) * np.sqrt(var)", "std-not-var-stored",
     "running statistics"),
    ("C-R08", "(1 - momentum) * var", "(1 - momentum) * var * N / (N - 1)",
     "running variance is N/(N-1)", "running statistics"),
    ("C-E01", "return gamma * (x - running_mean) / test_std + beta",
     "return gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps) + beta",
     "eval-batch-stats", "evaluation mode"),
    ("C-E04", "test_std = np.sqrt(running_var + eps)", "test_std = np.sqrt(running_var) + eps",
     "In test mode, with a large eps your output differs: the definition is sqrt(var + eps)",
     "evaluation mode"),
    ("C-E04-missing", "test_std = np.sqrt(running_var + eps)",
     "test_std = np.sqrt(running_var)", "In test mode your output does not depend on eps", "evaluation mode"),
    ("C-E-no-beta", "/ test_std + beta", "/ test_std", "In test mode beta is never added",
     "evaluation mode"),
    ("C-E-unbiased", "np.sqrt(running_var + eps)", "np.sqrt(running_var * N / (N - 1) + eps)",
     "In test mode you multiply running_var by N/(N-1)", "evaluation mode"),
)  # fmt: skip
SPATIAL_GRADIENTS = bugs(
    "ps4.q1",
    "batchnorm_backward",
    ("C-B01", "dx = (g - A - x_hat * B) / std", "dx = (g - x_hat * B) / std",
     "mean-path-missing", "gradients"),
    ("C-B02", "dx = (g - A - x_hat * B) / std", "dx = (g - A) / std", "variance-path-missing",
     "gradients"),
    ("C-B04", "g = dout * gamma", "g = dout", "no-gamma-in-dx", "gradients"),
    ("C-B06", "np.sum(dout * x_hat, axis=0), np", "np.mean(dout * x_hat, axis=0), np",
     "dgamma-mean", "gradients"),
) + bugs(
    "ps4.q1",
    SPATIAL_BACK,
    ("C-B-reshape", "rows = dout.transpose(0, 2, 3, 1).reshape(-1, C)",
     "rows = dout.reshape(-1, C)", "dout is reshaped to (-1, C)", "gradients"),
    ("C-B-back", "dx = dx.reshape(N, H, W, C).transpose(0, 3, 1, 2)",
     "dx = dx.reshape(N, C, H, W)", "Your dx mixes channels", "gradients"),
    ("C-B-images", "dx, dgamma, dbeta = batchnorm_backward(rows, cache)",
     "dx, dgamma, dbeta = batchnorm_backward(rows, (*cache[:3], N))", "divided-by-images",
     "gradients"),
)  # fmt: skip
MU, LVAR = (
    "mu = np.sum(x, axis=1, keepdims=True) / D",
    "var = np.sum(centred**2, axis=1, keepdims=True) / D",
)
LAYER = bugs(
    "ps4.q2",
    "layernorm_forward",
    ("L01", MU + "\ncentred = x - mu\n" + LVAR,
     "mu = x.mean(axis=0)\ncentred = x - mu\nvar = x.var(axis=0)", "batch-axis"),
    ("L-all", MU + "\ncentred = x - mu\n" + LVAR,
     "mu = x.mean()\ncentred = x - mu\nvar = x.var() + 0 * mu", "over-all"),
    ("L-F01", LVAR, "var = np.sum(centred**2, axis=1, keepdims=True) / (D - 1)",
     "sample-variance"),
    ("L-F02", "std = np.sqrt(var + eps)", "std = np.sqrt(var) + eps", "eps-outside-root"),
    ("L-F03", "std = np.sqrt(var + eps)", "std = np.sqrt(var)", "no-eps"),
    ("L-F04", "std = np.sqrt(var + eps)", "std = np.sqrt(var + 1e-5)", "eps-fixed", "eps"),
    ("L-F03-right-cache", "out = gamma * x_hat + beta",
     "out = gamma * centred / np.sqrt(var) + beta", "no-eps"),
    ("L-F06", "std = np.sqrt(var + eps)", "std = var + eps", "variance-not-root"),
    ("L-F11", LVAR, "var = np.sum(x**2, axis=1, keepdims=True) / D - mu**2",
     "one-pass-variance", "large mean"),
    ("L-F12", "centred = x - mu", "x -= mu\ncentred = x", "input-overwritten", "no mutation"),
    ("L-gamma-overwritten", "out = gamma * x_hat + beta",
     "out = gamma * x_hat + beta\ngamma *= 1.0001", "Your function changes gamma"),
    ("L-rms", "x_hat = centred / std", "x_hat = x / std", "not-centred"),
    ("L-no-affine", "out = gamma * x_hat + beta", "out = x_hat", "no-affine"),
    ("L-no-beta", "out = gamma * x_hat + beta", "out = gamma * x_hat", "no-beta"),
    ("L-shift-first", "out = gamma * x_hat + beta", "out = gamma * (x_hat + beta)",
     "shift-before-scale"),
    ("L-by-N", LVAR, "var = np.sum(centred**2, axis=1, keepdims=True) / len(x)",
     "out differs"),
    ("L-equal-row", "x_hat = centred / std", "x_hat = np.where(var > 0, centred / std, 1.0)",
     "With a row of equal numbers", "constant feature"),
)  # fmt: skip
LDX = "dx = (g - A - x_hat * B) / std"
SUMS = (
    "A = np.sum(g, axis=1, keepdims=True) / D\n"
    "B = np.sum(g * x_hat, axis=1, keepdims=True) / D"
)
LAYER_GRADIENTS = bugs(
    "ps4.q2",
    "layernorm_backward",
    ("L02", "dgamma = np.sum(dout * x_hat, axis=0)\ndbeta = np.sum(dout, axis=0)",
     "dgamma = np.sum(dout * x_hat, axis=1)\ndbeta = np.sum(dout, axis=1)", "row-sums"),
    ("L-B01", LDX, "dx = (g - x_hat * B) / std", "mean-path-missing"),
    ("L-B02", LDX, "dx = (g - A) / std", "variance-path-missing"),
    ("L-B03", LDX, "dx = g / std", "statistics-constant"),
    ("L-B04", "g = dout * gamma", "g = dout", "no-gamma-in-dx"),
    ("L-B04-late", "g = dout * gamma", "g, gamma_late = dout, gamma\nstd = std / gamma_late",
     "gamma-after-sums"),
    ("L-B05", "dgamma = np.sum(dout * x_hat, axis=0)", "dgamma = np.sum(dout * x, axis=0)",
     "dgamma-uses-x"),
    ("L-B06", "dgamma = np.sum(dout * x_hat, axis=0)\ndbeta = np.sum(dout, axis=0)",
     "dgamma = np.mean(dout * x_hat, axis=0)\ndbeta = np.mean(dout, axis=0)",
     "parameter-means"),
    ("L-by-N-back", SUMS, SUMS.replace("/ D", "/ N"), "divided-by-N"),
    ("L-batch-sums", SUMS, "A = np.mean(g, axis=0)\nB = np.mean(g * x_hat, axis=0)",
     "batch-sums"),
    ("L-B14", "return dx.reshape", "x_hat *= 1.5\nreturn dx.reshape", "second-call"),
    ("L-B14-dout", "g = dout * gamma", "keep = dout.copy()\ndout *= gamma\n"
     "g, dout = dout, keep", "dout-overwritten"),
    ("L-no-eps", LDX, "dx = (g - A - x_hat * B) / x.std(axis=1, keepdims=True)", "no-eps-in-dx",
     "eps in gradients"),
    ("L-rows-lost", "dbeta = np.sum(dout, axis=0)", "dbeta = np.sum(dout[:4], axis=0)",
     "dbeta differs", "eps in gradients"),
    ("L-gradient-values", "dbeta = np.sum(dout, axis=0)",
     "dbeta = np.sum(dout[:, :5], axis=0)\ndbeta = np.append(dbeta, dout[:, 5:].sum(axis=0) * 0)",
     "dbeta differs", "gradients"),
)  # fmt: skip
GVAR = "var = (centred**2).mean(axis=(2, 3, 4), keepdims=True)"
GMU = "mu = grouped.mean(axis=(2, 3, 4), keepdims=True)"
GSTATS = GMU + "\ncentred = grouped - mu\n" + GVAR
GSTD = "std = np.sqrt(var + eps)"
GROUPED = "grouped = x.reshape(N, G, C // G, H, W)"
GOUT = "out = gamma.reshape(1, C, 1, 1) * x_hat + beta.reshape(1, C, 1, 1)"
GROUP = bugs(
    "ps4.q3",
    "spatial_groupnorm_forward",
    ("G01", GSTATS, GSTATS.replace("(2, 3, 4)", "(3, 4)"), "per-channel"),
    ("G-layer", GSTATS, GSTATS.replace("(2, 3, 4)", "(1, 2, 3, 4)"), "layer"),
    ("G-batch", GSTATS, GSTATS.replace("(2, 3, 4)", "(0, 2, 3, 4)"), "over-batch"),
    ("G-pixel", GSTATS, GSTATS.replace("(2, 3, 4)", "2"), "spread-only"),
    ("G-interleaved", GSTATS + "\n" + GSTD + "\nx_hat = (centred / std).reshape(N, C, H, W)",
     "grouped = x.reshape(N, C // G, G, H, W)\n" + GSTATS.replace("(2, 3, 4)", "(1, 3, 4)")
     + "\n" + GSTD + "\nx_hat = (centred / std).reshape(N, C, H, W)", "interleaved"),
    ("G-size", GROUPED, "G = C // G\n" + GROUPED, "size-for-number"),
    ("G-F01", GVAR, "var = grouped.var(axis=(2, 3, 4), keepdims=True, ddof=1)",
     "sample-variance"),
    ("G-F02", GSTD, "std = np.sqrt(var) + eps", "eps-outside-root"),
    ("G-F03", GSTD, "std = np.sqrt(var)", "no-eps", "eps"),
    ("G-F04", GSTD, "std = np.sqrt(var + 1e-5)", "eps-fixed", "eps"),
    ("G-F06", GSTD, "std = var + eps", "variance-not-root"),
    ("G-F12", "mu = grouped", "grouped -= 1e-3\nmu = grouped", "input-overwritten",
     "no mutation"),
    ("G-no-affine", GOUT, "out = x_hat", "no-affine"),
    ("G-gamma-group", GOUT, "gamma, beta = (np.repeat(p.ravel()[:G], C // G).reshape(1, C, 1, 1) "
     "for p in (gamma, beta))\nout = gamma * x_hat + beta", "gamma-per-group"),
    ("G-one-image", "N, C, H, W = x.shape", "x = np.squeeze(x)\nN, C, H, W = x.shape",
     "With one image", "H and W differ"),
)  # fmt: skip
GDX = "dx = ((g - A - hats * B) / std).reshape(N, C, H, W)"
GA, GB = (
    "A = g.mean(axis=(2, 3, 4), keepdims=True)",
    "B = (g * hats).mean(axis=(2, 3, 4), keepdims=True)",
)
GROUP_GRADIENTS = bugs(
    "ps4.q3",
    "spatial_groupnorm_backward",
    ("G-B01", GDX, GDX.replace("g - A - hats * B", "g - hats * B"), "mean-path-missing",
     "gradients"),
    ("G-B02", GDX, GDX.replace("g - A - hats * B", "g - A"), "variance-path-missing",
     "gradients"),
    ("G-B03", GDX, GDX.replace("(g - A - hats * B)", "g"), "statistics-constant", "gradients"),
    ("G-B04", "g = (dout * gamma.reshape(1, C, 1, 1)).reshape(shape)",
     "g = dout.reshape(shape)", "no-gamma-in-dx", "gradients"),
    ("G-B-channel", f"{GA}\n{GB}", f"{GA}\n{GB}".replace("(2, 3, 4)", "(3, 4)"),
     "channel-sums", "gradients"),
    ("G-B06", "dgamma = (dout * x_hat).sum(axis=(0, 2, 3)).reshape(gamma.shape)\n"
     "dbeta = dout.sum(axis=(0, 2, 3)).reshape(gamma.shape)",
     "dgamma = (dout * x_hat).mean(axis=(0, 2, 3)).reshape(gamma.shape)\n"
     "dbeta = dout.mean(axis=(0, 2, 3)).reshape(gamma.shape)", "parameter-means",
     "gradients"),
    ("G-B06-one", "dbeta = dout.sum(axis=(0, 2, 3))", "dbeta = dout.mean(axis=(0, 2, 3))",
     "parameter-means", "gradients"),
    ("G-B-batch", f"{GA}\n{GB}", f"{GA}\n{GB}".replace("(2, 3, 4)", "(0, 2, 3, 4)"),
     "dx differs", "gradients"),
)  # fmt: skip
BUFFER = 'self.register_buffer("num_batches_tracked", torch.tensor(0))'
NORMALIZED = "x_hat = (x - mu) / torch.sqrt(var + self.eps)"
UNBIASED = "unbiased = var * n / (n - 1)"
BATCH_MU = "mu = x.mean(dim=0)\nvar = ((x - mu) ** 2).mean(dim=0)"
M_MEAN = "self.running_mean.copy_((1 - m) * self.running_mean + m * mu)"
M_VAR = "self.running_var.copy_((1 - m) * self.running_var + m * unbiased)"
MODULE = bugs(
    "ps4.q4",
    "BatchNorm1d",
    ("T-biased", UNBIASED, "unbiased = var", "not-unbiased"),
    ("T-F01", BATCH_MU, "mu = x.mean(dim=0)\nvar = x.var(dim=0) ", "sample-variance"),
    ("T-F01-normalized", NORMALIZED,
     "if self.training:\n    var = x.var(dim=0)\n" + NORMALIZED, "sample-variance"),
    ("T-F01-both", BATCH_MU + "\nwith torch.no_grad():\n    m = self.momentum\n    " + UNBIASED,
     "mu, var = x.mean(dim=0), x.var(dim=0)\nwith torch.no_grad():\n    m = self.momentum\n"
     "    unbiased = var", "sample-variance"),
    ("T-R01", "m = self.momentum", "m = 1 - self.momentum", "momentum-swapped"),
    ("T-momentum", "m = self.momentum", "m = 0.1", "momentum-fixed", "momentum and eps"),
    ("T-R04", f"{M_MEAN}\n{M_VAR}", "pass", "never-written"),
    ("T-R04-local", f"{M_MEAN}\n{M_VAR}", "running_mean = (1 - m) * self.running_mean + m * mu",
     "never-written"),
    ("T-F02", NORMALIZED, "x_hat = (x - mu) / (torch.sqrt(var) + self.eps)",
     "eps-outside-root", "momentum and eps"),
    ("T-F03", NORMALIZED, "x_hat = (x - mu) / torch.sqrt(var)", "no-eps",
     "momentum and eps"),
    ("T-F04", NORMALIZED, "x_hat = (x - mu) / torch.sqrt(var + 1e-5)", "eps-fixed",
     "momentum and eps"),
    ("T-E01", "mu = self.running_mean\nvar = self.running_var",
     "mu = x.mean(dim=0)\nvar = ((x - mu) ** 2).mean(dim=0)", "eval-batch-stats"),
    ("T-E02", "mu = self.running_mean\nvar = self.running_var",
     "mu = self.running_mean.clone()\nvar = self.running_var.clone()\n"
     "self.running_mean.mul_(0.9)\nself.running_var.mul_(0.9)", "state-changed"),
    ("T-eval-eps", "mu = self.running_mean\nvar = self.running_var",
     "mu = self.running_mean\nvar = self.running_var + max(1e-2 - self.eps, 0.0)",
     "out in evaluation mode", "values"),
    ("T-no-affine", "return self.weight * x_hat + self.bias", "return x_hat", "no-affine"),
    ("T-zeros", '("running_var", torch.ones(num_features))',
     '("running_var", torch.zeros(num_features))', "starts-at-zero"),
    ("T-not-counted", "self.num_batches_tracked += 1", "pass", "not-counted"),
    ("T-mode-by-gradients", "if self.training:", "if torch.is_grad_enabled():",
     "mode-by-gradients"),
    ("T-not-a-buffer", BUFFER, "self.num_batches_tracked = 0", "state_dict should hold",
     "state_dict"),
    ("T-no-buffer", 'self.register_buffer("running_mean", torch.zeros(num_features))',
     "self.running_mean = torch.zeros(num_features).double()", "state_dict should hold",
     "state_dict"),
    ("T-row-buffer", BUFFER, BUFFER + "\nself.register_buffer('steps', torch.tensor(0))",
     "state_dict should hold no other entries", "state_dict"),
    ("T-plain-weight", 'self.weight = torch.nn.Parameter(torch.ones(num_features))',
     'self.register_buffer("weight", torch.ones(num_features))', "should be torch.nn.Parameter",
     "state_dict"),
    ("T-detached", "mu = x.mean(dim=0)", "mu = x.mean(dim=0).detach()",
     "autograd finds another gradient", "gradients"),
    ("T-one-pass", "var = ((x - mu) ** 2).mean(dim=0)",
     "var = (x**2).mean(dim=0) - mu**2", "one-pass-variance", "large mean"),
    ("T-in-place", NORMALIZED, "x -= mu\nx_hat = x / torch.sqrt(var + self.eps)",
     "input-overwritten", "no mutation"),
)  # fmt: skip
UNEQUAL = bugs(
    "ps4.q5",
    "unequal_groupnorm",
    ("unequal-turned", "for size in sizes:", "for size in sizes[::-1]:", "sizes-reversed"),
    ("unequal-ignored", "for size in sizes:", "for size in [x.shape[1]]:", "sizes-ignored"),
    ("unequal-channels", "for size in sizes:", "for size in [1] * x.shape[1]:", "per-channel"),
    ("unequal-average", "for size in sizes:", "for size in [x.shape[1] // len(sizes)] * len(sizes):",
     "out differs"),
    ("unequal-batch", "centred = part - part.mean(axis=(1, 2, 3), keepdims=True)\n"
     "var = (centred**2).mean(axis=(1, 2, 3), keepdims=True)",
     "centred = part - part.mean(keepdims=True)\nvar = (centred**2).mean(keepdims=True)",
     "over-batch"),
    ("unequal-F01", "var = (centred**2).mean(axis=(1, 2, 3), keepdims=True)",
     "var = part.var(axis=(1, 2, 3), keepdims=True, ddof=1)", "sample-variance"),
    ("unequal-F02", "np.sqrt(var + eps)", "np.sqrt(var) + eps", "eps-outside-root", "eps"),
    ("unequal-F03", "np.sqrt(var + eps)", "np.sqrt(var)", "no-eps", "eps"),
    ("unequal-no-affine", "return gamma[:, None, None] * x_hat + beta[:, None, None]",
     "return x_hat", "no-affine"),
    ("unequal-gamma-group", "return gamma[:, None, None] * x_hat + beta[:, None, None]",
     "gamma, beta = (np.repeat(p[: len(sizes)], sizes) for p in (gamma, beta))\n"
     "return gamma[:, None, None] * x_hat + beta[:, None, None]", "gamma-per-group"),
    ("unequal-stuck", "start = start + size", "start = size", "out differs"),
    ("unequal-one-image", "x_hat = np.zeros(x.shape)",
     "x = x[0] if len(x) == 1 else x\nx_hat = np.zeros(x.shape)",
     "With one image", "H and W differ"),
    ("unequal-F12", "x_hat[:, group] = centred / std",
     "x_hat[:, group] = centred / std\nx[:, group] = x_hat[:, group]", "input-overwritten",
     "no mutation"),
    variant="unequal",
)  # fmt: skip
MMU = "mu = (keep * x).sum(axis=(0, 2, 3), keepdims=True) / count"
MVAR = "var = (keep * centred**2).sum(axis=(0, 2, 3), keepdims=True) / count"
MASKED = bugs(
    "ps4.q5",
    "masked_spatial_batchnorm",
    ("masked-ignored", "keep = mask[:, None]", "mask = np.ones_like(mask)\nkeep = mask[:, None]",
     "mask-ignored"),
    ("masked-turned", "keep = mask[:, None]", "mask = 1 - mask\nkeep = mask[:, None]",
     "mask-turned"),
    ("masked-by-all", "count = mask.sum()", "count = mask.size", "divided-by-all"),
    ("masked-zeroed", MVAR, "mu = (keep * x).mean(axis=(0, 2, 3), keepdims=True)\n"
     "var = (keep * x).var(axis=(0, 2, 3), keepdims=True)\ncentred = keep * x - mu",
     "zeroed-input"),
    ("masked-zeroed-statistics", MVAR, "mu = (keep * x).mean(axis=(0, 2, 3), keepdims=True)\n"
     "var = (keep * x).var(axis=(0, 2, 3), keepdims=True)\ncentred = x - mu",
     "zeroed-input"),
    ("masked-output", "x_hat = centred / std", "x_hat = keep * centred / std", "x_hat is multiplied by the mask"),
    ("masked-output-all", "return gamma[:, None, None] * x_hat + beta[:, None, None]",
     "return keep * (gamma[:, None, None] * x_hat + beta[:, None, None])", "output-masked"),
    ("masked-plain-var", MVAR, "var = x.var(axis=(0, 2, 3), keepdims=True)", "plain-variance"),
    ("masked-F02", "np.sqrt(var + eps)", "np.sqrt(var) + eps", "eps-outside-root", "eps"),
    ("masked-F03", "np.sqrt(var + eps)", "np.sqrt(var)", "no-eps", "eps"),
    ("masked-channels-last", MMU + "\ncentred = x - mu\n" + MVAR,
     f"{MMU}\ncentred = x - mu\n{MVAR}".replace("(0, 2, 3)", "(0, 1, 2)"),
     "channels-last"),
    ("masked-each-image", MMU, "mu = (keep * x).sum(axis=(2, 3), keepdims=True) / "
     "keep.sum(axis=(2, 3), keepdims=True)", "out differs"),
    ("masked-one-image", "keep = mask[:, None]",
     "x = np.squeeze(x)\nkeep = np.squeeze(mask)[:, None]", "With one image", "H and W differ"),
    ("masked-F12", "centred = x - mu", "x -= mu\ncentred = x", "input-overwritten",
     "no mutation"),
    variant="masked",
)  # fmt: skip
BUGS = [
    *MAPS,
    *PASTED,
    *SPATIAL_GRADIENTS,
    *LAYER,
    *LAYER_GRADIENTS,
    *GROUP,
    *GROUP_GRADIENTS,
    *MODULE,
    *UNEQUAL,
    *MASKED,
]
