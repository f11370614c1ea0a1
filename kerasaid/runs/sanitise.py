"""HTML that came out of a notebook, made safe to hand on: no script, no request, no overlay.

A person who opens a report trusts whoever made it less than their own notebook. What a cell wrote
as HTML, or a Markdown cell contains, therefore passes a list of what is allowed (nh3, which wraps
the Rust library ammonia). The pages' content security policy is a second wall behind it.
"""

import base64
import re

import nh3


def _words(text):
    return set(text.split())


_MATH = _words(
    "math menclose merror mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot "
    "mrow ms mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover"
)
_TAGS = _MATH | _words(
    "a abbr b blockquote br caption cite code col colgroup dd del details dfn div dl dt em "
    "figcaption figure h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span "
    "strong sub summary sup table tbody td tfoot th thead time tr u ul var"
)
_ATTRIBUTES = {
    "*": {"class", "id", "title", "lang", "dir", "style", "role", "tabindex", "aria-label"},
    "a": {"href"},
    "details": {"open"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start"},
    "time": {"datetime"},
    **{tag: {"colspan", "rowspan", "scope", "align"} for tag in ("td", "th")},
    **{
        tag: _words(
            "accent accentunder columnalign columnlines columnspacing depth display displaystyle "
            "fence form height largeop linethickness lspace mathbackground mathcolor mathsize "
            "mathvariant maxsize minsize movablelimits notation rowlines rowspacing rspace "
            "scriptlevel separator stretchy symmetric voffset width xmlns"
        )
        for tag in _MATH
    },
}
# Nothing that positions, covers or loads.
_STYLES = _words(
    "background-color border border-bottom border-collapse border-color border-left border-radius "
    "border-right border-style border-top border-width color font-family font-size font-style "
    "font-variant-numeric font-weight line-height list-style-type margin-left padding "
    "padding-left padding-right text-align text-decoration vertical-align white-space width"
)
_DROPPED = _words("iframe noembed noframes noscript object script style svg")
_PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]*")
_LINK = re.compile(r"(https?:|mailto:|[^:]*([/?#]|$))", re.IGNORECASE)
_STYLE_BLOCK = re.compile(r"<style\b[^>]*>(.*?)</style\s*>", re.DOTALL | re.IGNORECASE)
_LEFT_OUT = "data:image/svg+xml;base64," + base64.b64encode(
    b'<svg xmlns="http://www.w3.org/2000/svg" width="300" height="40"><text x="8" y="25" '
    b'font-family="sans-serif" font-size="14" fill="#5b6570">A picture from elsewhere, left out'
    b"</text></svg>"
).decode("ascii")


def clean(text):
    """Return HTML without what could run, load, or lie over the page.

    Formulas, tables, anchors, folded parts, pictures that are inside the text, and the colours
    that a pandas Styler gives to cells stay. A picture from elsewhere is replaced.

    Change nothing in what it returns with string functions: a text in an attribute could become
    an element.

    Args:
        text: a fragment of HTML, from anywhere.

    Returns:
        The fragment, its elements closed.
    """
    styles = "".join(map(_table_style, _STYLE_BLOCK.findall(text)))
    cleaned = nh3.clean(
        text,
        tags=_TAGS,
        clean_content_tags=_DROPPED,
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes={"http", "https", "mailto", "data"},
        filter_style_properties=_STYLES,
        link_rel=None,
    )
    return (f"<style>{styles}</style>" if styles else "") + cleaned


def _attribute(tag, name, value):
    if tag == "img" and name == "src":
        return value if _PICTURE.fullmatch(value) else _LEFT_OUT
    if name == "href":
        return value if _LINK.match(value) else None
    if name == "tabindex":
        return "0"
    return value


def _table_style(css):
    """Return the rules that a pandas Styler wrote for its own table, as far as they are harmless.

    What is not understood is left out, so this need not understand CSS.
    """
    rules = []
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", css):
        own = all(re.fullmatch(r"\s*#T_\w+[\w\s.:()-]*", part) for part in selectors.split(","))
        kept = [line.strip() for line in body.split(";") if _harmless(line)]
        if own and kept:
            rules.append(f"{selectors.strip()}{{{';'.join(kept)}}}")
    return "\n".join(rules)


def _harmless(declaration):
    name, _, value = declaration.partition(":")
    name = name.strip().lower()
    if not re.fullmatch(r"[\w\s#%.,()-]+", value):
        return False
    gradient = re.match(r"\s*linear-gradient\(", value)  # the bars of Styler.bar
    return name in _STYLES or (name == "background" and gradient and "url" not in value.lower())
