"""The slides loader: tables and charts."""

from pathlib import Path
from typing import Any

import pytest
from pptx.chart.data import BubbleChartData, CategoryChartData, XyChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches
from tests.loaders.decks import NS, Deck, add_chart, add_frame, add_part, box, categories, of_kind


@pytest.fixture
def deck(tmp_path: Path) -> Deck:
    return Deck(tmp_path)


def add_table(slide: Any, rows: list[list[str]], merges: list[tuple[int, int, int, int]] = []) -> None:  # noqa: B006
    shape = slide.shapes.add_table(len(rows), len(rows[0]), Inches(1), Inches(2), Inches(6), Inches(3))
    for r, row in enumerate(rows):
        for c, text in enumerate(row):
            shape.table.cell(r, c).text = text
    for r0, c0, r1, c1 in merges:
        shape.table.cell(r0, c0).merge(shape.table.cell(r1, c1))


def test_table_as_markdown(deck: Deck) -> None:
    add_table(deck.slide("Prices"), [["Item", "Price"], ["Bolt | M8", "$1,250.00"], ["Nut\nhex", ""]])
    (node,) = of_kind(deck.load(), "table")
    assert node.text == "| Item | Price |\n| --- | --- |\n| Bolt \\| M8 | $1,250.00 |\n| Nut hex |  |"
    assert node.metadata["section"] == "Prices"
    assert node.metadata["bbox"] == pytest.approx([0.1, 2 / 7.5, 0.7, 5 / 7.5], abs=1e-3)


def test_merged_cells_leave_rows_that_can_be_read_alone(deck: Deck) -> None:
    rows = [["Sales in Wales", "", "", ""], ["Region", "2020", "", "2021"], ["", "Q1", "Q2", "Q1"],
            ["North", "1", "2", "3"], ["North", "4", "5", "6"]]  # fmt: skip
    rows[4][0] = ""
    add_table(deck.slide("S"), rows, [(0, 0, 0, 3), (1, 1, 1, 2), (1, 0, 2, 0), (3, 0, 4, 0)])
    (node,) = of_kind(deck.load(), "table")
    assert node.metadata["caption"] == "Sales in Wales"
    assert node.text.splitlines() == [
        "| Region | 2020 Q1 | 2020 Q2 | 2021 Q1 |", "| --- | --- | --- | --- |",
        "| North | 1 | 2 | 3 |", "| North | 4 | 5 | 6 |"]  # fmt: skip


def test_table_typed_with_tabs(deck: Deck) -> None:
    slide = deck.slide("Timetable")
    box(slide, 1, 2, 6, 3, "Our plan\nPhase\t\tQuarter\nDesign\tQ1/2018\nBuild\t\tQ3/2018\nTabs\there only")
    box(slide, 1, 6, 6, 1, "one\ttwo\nthree\tfour")
    (node,) = of_kind(deck.load(), "table")
    assert "| Design | Q1/2018 |" in node.text
    assert node.text.startswith("| Phase | Quarter |")


@pytest.mark.parametrize("kind", [
    XL_CHART_TYPE.COLUMN_CLUSTERED, XL_CHART_TYPE.BAR_STACKED, XL_CHART_TYPE.LINE_MARKERS, XL_CHART_TYPE.AREA,
    XL_CHART_TYPE.RADAR, XL_CHART_TYPE.DOUGHNUT])  # fmt: skip
def test_chart_values(deck: Deck, kind: Any) -> None:
    chart = add_chart(deck.slide("Survey"), kind, categories())
    chart.has_title = True
    chart.chart_title.text_frame.text = "Ducks by year"
    (node,) = of_kind(deck.load(), "table")
    assert node.metadata["caption"] == "Ducks by year"
    assert node.metadata["role"] == "chart"
    assert node.text == "|  | Freshwater | Saltwater |\n| --- | --- | --- |\n| 2019 | 120 | 80 |\n| 2020 | 130.5 |  |"


def test_chart_that_python_pptx_cannot_read(deck: Deck) -> None:
    chart = add_chart(deck.slide("3-D"), XL_CHART_TYPE.COLUMN_CLUSTERED, categories())
    (plot,) = chart._chartSpace.iter("{http://schemas.openxmlformats.org/drawingml/2006/chart}barChart")
    plot.tag = plot.tag.replace("barChart", "bar3DChart")
    with pytest.raises(ValueError, match="bar3D"):
        _ = chart.plots[0]
    assert "| 2019 | 120 | 80 |" in of_kind(deck.load(), "table")[0].text


def test_axis_titles_stand_in_the_header(deck: Deck) -> None:
    chart = add_chart(deck.slide("Axes"), XL_CHART_TYPE.COLUMN_CLUSTERED, categories())
    chart.category_axis.axis_title.text_frame.text = "Year"
    chart.value_axis.axis_title.text_frame.text = "thousands"
    text = of_kind(deck.load(), "table")[0].text
    assert text.startswith("| Year | Freshwater (thousands) | Saltwater (thousands) |")


@pytest.mark.parametrize(("code", "value", "shown"), [
    ("General", 110.0, "110"), ("General", 0.1 + 0.2, "0.3"), ("0%", 0.25, "25%"), ("0.0%", 0.1234, "12.3%"),
    ("#,##0", 389933, "389,933"), ('"$"#,##0.00', 127.5, "$127.50"), ("0.00", -3.14159, "-3.14"),
    ('#,##0.0,,"M"', 12_340_000, "12.3M"), ("0.##", 2.5, "2.5"), ("0", 0.004, "0.004"), ("mmm-yy", 43831, "Jan 2020"),
    ("m/d/yyyy", 43831, "2020-01-01"), ("[$€-407] #,##0", 1500, "€ 1,500"),
    ("General", 1234567890123.0, "1234567890123"),
])  # fmt: skip
def test_numbers_are_shown_as_the_chart_shows_them(deck: Deck, code: str, value: float, shown: str) -> None:
    data = CategoryChartData(number_format=code)
    data.categories = ["a"]
    data.add_series("s", (value,))
    add_chart(deck.slide("F"), XL_CHART_TYPE.COLUMN_CLUSTERED, data)
    assert of_kind(deck.load(), "table")[0].text.splitlines()[-1] == f"| a | {shown} |"


def test_several_levels_of_categories(deck: Deck) -> None:
    data = CategoryChartData()
    for name, parts in (("Wales", ("coast", "hills")), ("Kent", ("coast",))):
        category = data.add_category(name)
        for part in parts:
            category.add_sub_category(part)
    data.add_series("rain", (1, 2, 3))
    add_chart(deck.slide("Levels"), XL_CHART_TYPE.COLUMN_CLUSTERED, data)
    rows = of_kind(deck.load(), "table")[0].text.splitlines()[2:]
    assert rows == ["| Wales coast | 1 |", "| Wales hills | 2 |", "| Kent coast | 3 |"]


def test_scatter_and_bubbles_are_rows(deck: Deck) -> None:
    points = XyChartData()
    for name, xy in (("A", (0.5, 2.0)), ("B", (1.5, 4.0))):
        points.add_series(name).add_data_point(*xy)
    add_chart(deck.slide("XY"), XL_CHART_TYPE.XY_SCATTER, points)
    bubbles = BubbleChartData()
    bubbles.add_series("C").add_data_point(1, 2, 10)
    add_chart(deck.slide("Bubbles"), XL_CHART_TYPE.BUBBLE, bubbles)
    scatter, bubble = of_kind(deck.load(), "table")
    assert "| A | 0.5 | 2 |\n| B | 1.5 | 4 |" in scatter.text
    assert bubble.text.splitlines()[::2] == ["| Series | x | y | Size |", "| C | 1 | 2 | 10 |"]


def test_extended_chart(deck: Deck) -> None:
    slide = deck.slide("Waterfall")
    xml = f"""<cx:chartSpace {NS}><cx:chartData><cx:data id="0"><cx:strDim type="cat"><cx:lvl ptCount="2">
      <cx:pt idx="0">Start</cx:pt><cx:pt idx="1">Loss</cx:pt></cx:lvl></cx:strDim><cx:numDim type="val">
      <cx:lvl ptCount="2" formatCode="General"><cx:pt idx="0">100</cx:pt><cx:pt idx="1">-30</cx:pt></cx:lvl>
      </cx:numDim></cx:data></cx:chartData><cx:chart><cx:title><cx:tx><cx:rich><a:p><a:r><a:t>Cash</a:t></a:r></a:p>
      </cx:rich></cx:tx></cx:title><cx:plotArea><cx:plotAreaRegion><cx:series layoutId="waterfall"><cx:tx><cx:txData>
      <cx:v>Euro</cx:v></cx:txData></cx:tx><cx:dataId val="0"/></cx:series></cx:plotAreaRegion></cx:plotArea>
      </cx:chart></cx:chartSpace>"""
    kind = "http://schemas.microsoft.com/office/2014/relationships/chartEx"
    key = add_part(slide, "/ppt/charts/chartEx1.xml", kind, xml)
    add_frame(slide, "http://schemas.microsoft.com/office/drawing/2014/chartex", f'<cx:chart r:id="{key}"/>')
    (node,) = of_kind(deck.load(), "table")
    assert node.metadata["caption"] == "Cash"
    assert node.text == "|  | Euro |\n| --- | --- |\n| Start | 100 |\n| Loss | -30 |"
