/* Python for the cells of one page, in a worker of its own: Pyodide, NumPy, the book. */
const settings = JSON.parse(decodeURIComponent(self.location.hash.slice(1)));
const tell = (kind, text = "") => self.postMessage({ kind, text });

// Where nothing is drawn, drawing is stood in for; scikit-learn is needed for digits only.
const START = `
import sys, types
from unittest.mock import MagicMock
sys.modules["matplotlib"] = MagicMock()
sys.modules["matplotlib.pyplot"] = MagicMock()

def load_digits():
    import gzip, numpy as np
    with gzip.open("/digits.csv.gz", "rt") as file:
        table = np.loadtxt(file, delimiter=",")
    return types.SimpleNamespace(
        data=table[:, :-1], target=table[:, -1].astype(int),
        images=table[:, :-1].reshape(-1, 8, 8))

datasets = types.ModuleType("sklearn.datasets")
datasets.load_digits = load_digits
sys.modules["sklearn"] = types.ModuleType("sklearn")
sys.modules["sklearn.datasets"] = datasets
import bnbook
for _name in ("IPython", "IPython.display"):  # what pages show with it is text here
    sys.modules[_name] = types.ModuleType(_name)
    sys.modules[_name].get_ipython = lambda: None
for _name in ("Markdown", "HTML", "display"):
    setattr(sys.modules["IPython.display"], _name, lambda *shown, **more: shown[0])
__name__ = "__main__"
`;
const DRAW = `
import sys
for _name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
    del sys.modules[_name]
import matplotlib
matplotlib.use("AGG")
import matplotlib.pyplot as plt
plt.show = lambda *args, **more: None
from bnlib.plotting import use_style
use_style()
`;
const PICTURES = `
import base64 as _b, io as _io
_found = []
for _n in plt.get_fignums():
    _file = _io.BytesIO()
    plt.figure(_n).savefig(_file, format="png", dpi=130, bbox_inches="tight")
    _found.append(_b.b64encode(_file.getvalue()).decode())
plt.close("all")
"\\n".join(_found)
`;

let python = null;
let draws = false;

async function bytes(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${answer.status} for ${address}`);
  return new Uint8Array(await answer.arrayBuffer());
}

async function start() {
  tell("loading", "Python, 1 of 3");
  const { loadPyodide } = await import(`${settings.pyodide}pyodide.mjs`);
  const made = await loadPyodide({ indexURL: settings.pyodide });
  const show = { batched: (line) => tell("out", `${line}\n`) };
  made.setStdout(show);
  made.setStderr(show);
  tell("loading", "NumPy, 2 of 3");
  await made.loadPackage("numpy", { messageCallback() {} });
  tell("loading", "the book's code, 3 of 3");
  made.FS.writeFile("/digits.csv.gz", await bytes(settings.digits));
  made.unpackArchive((await bytes(settings.wheel)).buffer, "whl");
  made.runPython(START);
  return made;
}

/** What Python says about an error, from the reader's own lines on. */
function words(error) {
  const lines = String(error.message || error).trimEnd().split("\n");
  const own = lines.findIndex((line) => line.includes('File "<exec>"'));
  return own < 0 ? lines.slice(-1)[0] : ["Traceback:", ...lines.slice(own)].join("\n");
}

async function run({ code, drawing }) {
  try {
    python ??= await start();
    if (drawing && !draws) {
      tell("loading", "Matplotlib, about 10 MB more");
      await python.loadPackage("matplotlib", { messageCallback() {} });
      python.runPython(DRAW);
      draws = true;
    }
    tell("running");
    const value = await python.runPythonAsync(code);
    if (value !== undefined) {
      python.globals.set("_value", value);
      tell("out", `${python.runPython("repr(_value)")}\n`);
      value?.destroy?.();
    }
    if (drawing) {
      const pictures = python.runPython(PICTURES);
      for (const picture of pictures ? pictures.split("\n") : []) tell("picture", picture);
    }
    tell("done");
  } catch (error) {
    tell(python ? "error" : "lost", words(error));
  }
}

let queue = Promise.resolve();
self.onmessage = ({ data }) => { queue = queue.then(() => run(data)); };
