"""Charts as tables, from the values that the chart part caches.

python-pptx raises on 3-D, surface and stock charts; the series (`c:ser`) look alike in all of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sensorium.loaders._pptx.markup import NAMESPACES, Element, clean, find, find_all, number, paragraphs, qn
from sensorium.loaders._pptx.numbers import shown
from sensorium.loaders._pptx.tables import Table

Points = dict[int, str]


@dataclass(frozen=True)
class Series:
    """One series: its name, axis titles, and categories and values by index."""

    name: str
    x_title: str
    y_title: str
    categories: Points
    values: Points
    sizes: Points = field(default_factory=dict)

    @property
    def heading(self) -> str:
        """Series name with the title of its value axis in parentheses."""
        if self.name and self.y_title and self.y_title != self.name:
            return f"{self.name} ({self.y_title})"
        return self.name or self.y_title or "Value"


def read_chart(root: Element) -> Table | None:
    """Read `c:chartSpace`: first column the categories, then one column a series. None without values.

    Series with x values of their own (scatter, bubble) become rows of series, x, y instead.
    """
    series = list(_all_series(root))
    rows = _wide(series) if _same_categories(series) else _long(series)
    return Table(rows, _title(find(root, "c:chart/c:title"))) if len(rows) > 1 else None


def read_extended_chart(root: Element) -> Table | None:
    """Read `cx:chartSpace` (waterfall, treemap, sunburst, funnel, histogram, box and whisker)."""
    data = {item.get("id"): item for item in find_all(root, "cx:chartData/cx:data")}
    series = []
    for item in find_all(root, ".//cx:series"):
        link = find(item, "cx:dataId")
        source = data.get(link.get("val")) if link is not None else None
        if source is not None:
            name = clean(item.findtext("cx:tx/cx:txData/cx:v", "", NAMESPACES))
            categories, values = _dimension(source, "cx:strDim"), _dimension(source, "cx:numDim")
            series.append(Series(name, "", "", categories, values))
    rows = _wide(series) if _same_categories(series) else _long(series)
    title = find(root, "cx:chart/cx:title")
    caption = clean("".join(t.text or "" for t in title.iter(qn("a:t")))) if title is not None else ""
    return Table(rows, caption) if len(rows) > 1 else None


def _all_series(root: Element) -> Iterator[Series]:
    date1904 = find(root, "c:date1904")
    from_1904 = date1904 is not None and date1904.get("val") in ("1", "true", None)
    area = find(root, "c:chart/c:plotArea")
    if area is None:
        return
    axes = {_value(axis, "c:axId"): axis for axis in area if find(axis, "c:axId") is not None
            and not str(axis.tag).endswith("Chart")}  # fmt: skip
    for plot in area:
        used = [axes[_value(item, "")] for item in find_all(plot, "c:axId") if _value(item, "") in axes]
        for item in find_all(plot, "c:ser"):
            yield _series(item, plot, used, from_1904)


def _series(item: Element, plot: Element, axes: list[Element], date1904: bool) -> Series:
    titles = [_title(find(axis, "c:title")) for axis in axes[:2]] + ["", ""]
    code = _label_format(item, plot, axes)
    return Series(
        name=_name(item), x_title=titles[0], y_title=titles[1],
        categories=_points(_first(item, "c:cat", "c:xVal"), "", date1904),
        values=_points(_first(item, "c:val", "c:yVal"), code, date1904),
        sizes=_points(find(item, "c:bubbleSize"), "", date1904),
    )  # fmt: skip


def _name(item: Element) -> str:
    text = find(item, "c:tx")
    if text is None:
        return ""
    cached = " ".join(point.findtext(qn("c:v")) or "" for point in text.iter(qn("c:pt")))
    return clean(cached or text.findtext(qn("c:v")) or "").replace("\n", " ")


def _label_format(item: Element, plot: Element, axes: list[Element]) -> str:
    """The format that labels are shown in, where the cache has none: of the data labels, else of the value axis."""
    grouping = find(plot, "c:grouping")
    stacked = grouping is not None and grouping.get("val") == "percentStacked"
    places = [find(item, "c:dLbls/c:numFmt"), find(plot, "c:dLbls/c:numFmt")]
    if not stacked and len(axes) > 1:
        places.append(find(axes[1], "c:numFmt"))
    for place in places:
        code = place.get("formatCode") or "" if place is not None else ""
        if place is not None and place.get("sourceLinked") not in ("1", "true") and code not in ("", "General"):
            return code
    return ""


def _points(holder: Element | None, fallback: str, date1904: bool) -> Points:
    if holder is None:
        return {}
    levels = [_level(level, "", date1904) for level in holder.iter(qn("c:lvl"))]
    if levels:
        return _join_levels(levels)
    return _level(holder, fallback, date1904)


def _level(holder: Element, fallback: str, date1904: bool) -> Points:
    code = next((item.text or "" for item in holder.iter(qn("c:formatCode"))), "")
    if code in ("", "General"):
        code = fallback or "General"
    numeric = next(holder.iter(qn("c:numCache"), qn("c:numLit")), None) is not None
    found: Points = {}
    for point in holder.iter(qn("c:pt")):
        value = point.findtext(qn("c:v")) or ""
        text = shown(value, point.get("formatCode") or code, date1904) if numeric else clean(value)
        found[number(point, "idx")] = text.replace("\n", " ")
    return found


def _join_levels(levels: list[Points]) -> Points:
    """Categories of several levels, innermost first in the file; an outer one holds until the next begins."""
    joined: Points = {}
    for index in sorted(levels[0]):
        names = [level[max(i for i in level if i <= index)] for level in reversed(levels[1:])
                 if any(i <= index for i in level)]  # fmt: skip
        joined[index] = " ".join([*names, levels[0][index]])
    return joined


def _dimension(data: Element, name: str) -> Points:
    levels: list[Points] = []
    for level in find_all(data, f"{name}[1]/cx:lvl"):
        code = level.get("formatCode") or "General"
        texts = {number(point, "idx"): clean(point.text or "") for point in find_all(level, "cx:pt")}
        levels.append({i: shown(t, code) if name == "cx:numDim" else t for i, t in texts.items()})
    return _join_levels(levels) if levels else {}


def _same_categories(series: list[Series]) -> bool:
    longest = max((one.categories for one in series), key=len, default={})
    same = all(longest.get(i) == text for one in series for i, text in one.categories.items())
    return same and not any(one.sizes for one in series)


def _wide(series: list[Series]) -> list[list[str]]:
    categories = max((one.categories for one in series), key=len, default={})
    used = sorted({i for one in series for i in one.values})
    x_title = next((one.x_title for one in series if one.x_title), "")
    rows = [[x_title, *(one.heading for one in series)]]
    for index in used:
        rows.append([categories.get(index, str(index + 1)), *(one.values.get(index, "") for one in series)])
    return rows


def _long(series: list[Series]) -> list[list[str]]:
    x_title = next((one.x_title for one in series if one.x_title), "x")
    y_title = next((one.y_title for one in series if one.y_title), "y")
    sized = any(one.sizes for one in series)
    rows = [["Series", x_title, y_title, *(["Size"] if sized else [])]]
    for one in series:
        for index in sorted(one.values):
            size = [one.sizes.get(index, "")] if sized else []
            rows.append([one.name, one.categories.get(index, str(index + 1)), one.values[index], *size])
    return rows


def _title(title: Element | None) -> str:
    if title is None:
        return ""
    rich = " ".join(paragraph.text for paragraph in paragraphs(find(title, "c:tx/c:rich")))
    cached = " ".join(point.findtext(qn("c:v")) or "" for point in title.iter(qn("c:pt")))
    return " ".join((rich or cached).split())


def _first(item: Element, *names: str) -> Element | None:
    return next((found for name in names if (found := find(item, name)) is not None), None)


def _value(element: Element, child: str) -> str:
    found = find(element, child) if child else element
    return found.get("val") or "" if found is not None else ""
