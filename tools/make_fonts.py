"""Make the small fonts of the site from large ones, in place.

    pip install brotli
    python tools/make_fonts.py           the icons anew from the installed theme
    python tools/make_fonts.py FILE...   text fonts: leave out what no page uses

Run it when the build says that an icon is missing (add its name to icons.txt), when
the theme is another version, or with fresh files of the fonts in `_vendor/fonts`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pydata_sphinx_theme
from fontTools import subset
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer

VENDOR = Path(__file__).resolve().parent.parent / "_vendor"
THEME = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static"
ICONS = ("fa-solid-900", "fa-brands-400", "fa-regular-400")
UNFOLD = 0xF107  # the arrow that the style sheet of sphinx-book-theme names by its code
WEIGHTS = (400, 700)  # those of _static/book.css
FEATURES = ["kern", "liga", "mark", "mkmk", "tnum", "ccmp", "locl"]


def letters_of_icons() -> set[int]:
    """Return the letters of the icons in icons.txt and of the theme's boxes."""
    sheet = (THEME / "styles" / "pydata-sphinx-theme.css").read_text("utf-8")
    letters = {UNFOLD}
    letters |= {
        ord(c) for c in re.findall('--pst-icon-[\\w-]+:"([\ue000-\uf8ff])"', sheet)
    }
    for name in (VENDOR / "icons" / "icons.txt").read_text("utf-8").split():
        found = re.search(rf'\.{name}:before[^{{}}]*\{{content:"\\([0-9a-f]+)"', sheet)
        if not found:
            raise SystemExit(f"Stopped: the theme has no icon of the name {name}.")
        letters.add(int(found[1], 16))
    return letters


def cut(font: TTFont, letters: set[int], features: list[str], path: Path) -> None:
    """Write a font with some letters and features only."""
    options = subset.Options(layout_features=features, name_IDs=["*"])
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=letters & set(font.getBestCmap()))
    cutter.subset(font)
    font.flavor = "woff2"
    font.save(path)
    print(f"{path.name}: {path.stat().st_size} bytes")


def main(argv: list[str]) -> int:
    if not argv:
        letters = letters_of_icons()
        for name in ICONS:
            source = THEME / "vendor/fontawesome/webfonts" / f"{name}.ttf"
            cut(TTFont(source), letters, [], VENDOR / "icons" / f"{name}.woff2")
    for name in argv:
        font = TTFont(name)
        font = instancer.instantiateVariableFont(font, {"wght": WEIGHTS})
        cut(font, set(font.getBestCmap()), FEATURES, Path(name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
