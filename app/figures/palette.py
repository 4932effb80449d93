"""The colours of the charts: the light values of the page's CSS variables (assets/theme.css), and how they turn dark.

A figure is made once, on the server, without knowing the page's mode; so it carries the light values, and `stylesheet()`
lets the browser replace each by its CSS variable. Without the style sheet, and in exported pictures, the light values stand;
text is then a grey that can be read on white and on the dark panel alike.
"""

CATEGORIES = ("#0072b2", "#c65102", "#00805f", "#a8518a", "#8a6d00", "#2f7f9e")
SEQUENTIAL = ("#ffffff", "#cde8f9", "#9fcff2", "#74b5e8", "#4f99dc", "#317dcb", "#1c61b5", "#11469a", "#0d2c7b")
NEGATIVE = ("#7c3502", "#b05c21", "#d58f5e", "#efc6a9")  # strongest first, as --gb-neg-4 ... --gb-neg-1
POSITIVE = ("#a9d5fb", "#61a6ec", "#2f76cb", "#184997")
ZERO = "#ffffff"
INK = "#1a1f27"
PANEL = "#ffffff"
ACCENT = "#1c61b5"

NEUTRAL = "#747d8b"  # between --gb-muted of the two modes: at least 4 to 1 on both panels
GRID = "rgba(128, 136, 148, 0.28)"

THEME_VARIABLES: dict[str, str] = {
    **{f"--gb-cat-{i}": colour for i, colour in enumerate(CATEGORIES, start=1)},
    **{f"--gb-seq-{i}": colour for i, colour in enumerate(SEQUENTIAL)},
    **{f"--gb-neg-{4 - i}": colour for i, colour in enumerate(NEGATIVE)},
    **{f"--gb-pos-{i}": colour for i, colour in enumerate(POSITIVE, start=1)},
    "--gb-zero": ZERO,
    "--gb-ink": INK,
    "--gb-panel": PANEL,
    "--gb-accent": ACCENT,
}


def colour_scale(kind: str) -> list[list[float | str]]:
    """A Plotly colour scale, "sequential" (0 to 1) or "diverging" (symmetric around zero).

    Raises ValueError for another kind.
    """
    scales = {"sequential": SEQUENTIAL, "diverging": (*NEGATIVE, ZERO, *POSITIVE)}
    if kind not in scales:
        raise ValueError(f"There is no colour scale {kind!r}; choose 'sequential' or 'diverging'.")
    colours = scales[kind]
    return [[i / (len(colours) - 1), colour] for i, colour in enumerate(colours)]


def rgb(colour: str) -> str:
    """'#0072b2' as 'rgb(0, 114, 178)', the form in which Plotly writes it into the page."""
    return f"rgb({int(colour[1:3], 16)}, {int(colour[3:5], 16)}, {int(colour[5:7], 16)})"


def stylesheet() -> str:
    """CSS for the page: inside charts, every colour of ours follows its CSS variable, in light and in dark mode."""
    followers = {f"var(--gb-cat-{i})": colour for i, colour in enumerate(CATEGORIES, start=1)}
    followers |= {"var(--gb-accent)": ACCENT, "var(--gb-muted)": NEUTRAL}
    return "\n".join(
        f'.js-plotly-plot .main-svg [style*="{attribute}: {rgb(colour)}"] {{ {attribute}: {variable} !important; }}'
        for variable, colour in followers.items()
        for attribute in ("fill", "stroke")
    )
