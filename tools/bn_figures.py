"""Sphinx extension of the book: figures as drawings that know light, dark and phones.

A figure is stored as two drawings, one for wide and one for narrow pages. Both stand in
the page itself, where their text is text, and a style sheet shows the one that fits.
Each colour is a variable, so that the dark page has colours of its own. A drawing that
holds pictures and is heavy stays a file, which a reader's browser fetches when it comes
into view.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import re
from pathlib import Path

import bn_explorables
import nbformat
from docutils import nodes
from figures import MIME, SVG, narrow_of, off_paper
from sphinx.application import Sphinx

from bnlib.plotting import ON_DARK, ON_LIGHT

HEAVY = 15_000  # bytes, compressed: heavier drawings are files of their own
COLOUR = re.compile(r"#[0-9a-f]{6}\b")
NIGHT = "#121212"  # the theme's ground in the dark
SHEET = "figures.css"
KEPT = {ON_DARK.lower(), ON_LIGHT.lower()}


def drawings_of(path: Path) -> dict[str, str]:
    """Return for each wide drawing of a notebook its narrow one."""
    if not path.exists():
        return {}
    outputs = (o for c in nbformat.read(path, 4).cells for o in c.get("outputs", []))
    shown = [out["data"] for out in outputs if MIME in out.get("data", {})]
    return {data[SVG].strip(): narrow_of(data[MIME]) for data in shown}


def place_drawings(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put both drawings of each figure where Sphinx would point to one file."""
    if app.builder.format != "html":
        return
    narrow = drawings_of(Path(app.srcdir) / f"{docname}.ipynb")
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.srcdir) / image["uri"]
        wide = path.read_text("utf-8").strip() if path.suffix == ".svg" else ""
        if wide not in narrow:
            continue
        forms = {"wide": off_paper(wide), "narrow": narrow[wide]}
        weight = sum(len(gzip.compress(svg.encode())) for svg in forms.values())
        make = as_files if weight > HEAVY else in_page
        style = f"--drawing-width: {image.get('width', '100%')}"
        made = make(app, forms, image.get("alt", ""))
        box = f'<div class="drawing" style="{style}">{made}</div>'
        image.replace_self(nodes.raw("", box, format="html"))


def in_page(app: Sphinx, forms: dict[str, str], alt: str) -> str:
    """Return both drawings as elements of the page."""
    return "\n".join(element(svg, form, alt) for form, svg in forms.items())


def element(svg: str, form: str, alt: str) -> str:
    """Return a drawing as an element: names of its own, colours as variables."""
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.S)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r' (xmlns(:xlink)?|version)="[^"]*"', "", svg)
    svg = re.sub(r"(<svg) width=\"[^\"]*\" height=\"[^\"]*\"", r"\1", svg)
    svg = svg.replace("; font-family: 'DejaVu Sans', sans-serif", "")
    used = set(re.findall(r"(?:href=\"#|url\(#)([\w-]+)", svg))
    own = f"d{hashlib.sha256(svg.encode()).hexdigest()[:6]}"

    def named(found: re.Match) -> str:
        return f' id="{own}-{found[1]}"' if found[1] in used else ""

    svg = re.sub(r' id="([^"]*)"', named, svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{own}-", svg)
    svg = COLOUR.sub(lambda found: f"var(--{found[0][1:]},{found[0]})", svg)
    svg = re.sub(r"<g>\s*</g>\s*", "", svg)
    label = html.escape(alt, quote=True)
    start = f'<svg class="{form}" role="img" aria-label="{label}" '
    return svg.replace("<svg ", start, 1).replace("\n", " ")


def as_files(app: Sphinx, forms: dict[str, str], alt: str) -> str:
    """Return elements that name files, one for each form and each mode."""
    folder = Path(app.doctreedir) / "drawings"
    folder.mkdir(parents=True, exist_ok=True)
    made, label = [], html.escape(alt, quote=True)
    for mode, colour in (("light", str), ("dark", in_the_dark)):
        for form, plain in forms.items():
            svg = COLOUR.sub(lambda found, colour=colour: colour(found[0]), plain)
            svg = svg.replace("<svg ", f'<svg fill="{colour("#1a1a1a")}" ', 1)
            name = f"{hashlib.sha256(svg.encode()).hexdigest()[:20]}.svg"
            (folder / name).write_text(svg, "utf-8")
            app.builder.images[str(folder / name)] = name
            width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()
            size = f'width="{float(width):.0f}" height="{float(height):.0f}"'
            made.append(
                f'<img class="only-{mode} {form}" src="{app.builder.imgpath}/{name}" '
                f'alt="{label}" loading="lazy" {size}>'
            )
    return "\n".join(made)


def in_the_dark(colour: str) -> str:
    """Return the colour that plays the same part on a dark ground.

    White becomes the ground and ink nearly white. Lightness is turned round in Oklab,
    which keeps the hue; coloured lines do not become darker than they were.
    """
    if colour in KEPT:
        return colour
    if colour == "#ffffff":
        return NIGHT
    light, a, b = oklab(colour)
    turned = 0.24 + 0.9 * (1 - light)
    if (a * a + b * b) ** 0.5 > 0.04:
        turned = max(turned, light, 0.66)
    return from_oklab(min(turned, 0.93), a, b)


def oklab(colour: str) -> tuple[float, float, float]:
    """Return lightness and the two colour axes of Oklab (Ottosson, 2020)."""
    r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    r, g, b = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (r, g, b)
    )
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    middle = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def from_oklab(light: float, a: float, b: float) -> str:
    """Return the sRGB colour of a point of Oklab, cut to what a screen can show."""
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    parts = []
    for value in linear:
        c = min(max(value, 0.0), 1.0)
        c = 12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055
        parts.append(round(255 * c))
    return "#{:02x}{:02x}{:02x}".format(*parts)


def write_sheet(app: Sphinx, error: Exception | None) -> None:
    """Write the style sheet that gives each colour of a figure its dark form."""
    if error or app.builder.format != "html":
        return
    folder, colours = Path(app.srcdir), bn_explorables.colours()
    for page in app.env.found_docs:
        for wide, thin in drawings_of(folder / f"{page}.ipynb").items():
            colours |= set(COLOUR.findall(wide + thin))
    rules = "".join(f"--{c[1:]}:{in_the_dark(c)};" for c in sorted(colours))
    text = f'html[data-theme="dark"]{{{rules}}}\n'
    (Path(app.outdir) / "_static" / SHEET).write_text(text, "utf-8", newline="\n")


def setup(app: Sphinx) -> dict[str, object]:
    """Register everything with Sphinx."""
    app.add_css_file(SHEET)
    app.connect("doctree-resolved", place_drawings)
    app.connect("build-finished", write_sheet)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
