"""Write the example documents: a report with a table, a figure and a scanned page, a deck, a chart and an invoice.

Everything in them is invented. Run: `python examples/make_documents.py FOLDER`
"""

import io
import sys
from pathlib import Path

import pymupdf
from PIL import Image, ImageDraw, ImageFont
from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

VISITORS = {
    "Gull Point": (41250, 38900),
    "Sandreef": (18760, 20115),
    "Old Mole": (9430, 12080),
    "Cape Ebb": (27300, 26550),
}
STYLE = "<style>body{font-family:serif;font-size:11pt;line-height:1.35} h1{font-size:20pt} h2{font-size:14pt}</style>"

OPENING = """
<h1>Harbour Lights Trust: Annual Report 2024</h1>
<h2>The year in brief</h2>
<p>The Trust looks after four lighthouses on the east coast. In 2024 the lamp of Gull Point was converted to a
low-power LED, which cut its use of electricity by 62 percent. The keeper's cottage at Sandreef opened to overnight
guests on 3 May 2024 after two years of repairs.</p>
<h2>Members and volunteers</h2>
<p>Membership grew to 3,480 people. Volunteers gave 11,200 hours, most of them to guided tours. The new training
course for tour guides was led by Marta Lindqvist, who has kept the fog signal of Old Mole working since 2009.</p>
"""
REPAIRS = """
<h2>Repairs planned for 2025</h2>
<p>Storm Ingrid damaged the sea wall of Cape Ebb in November. The repair is estimated at 184,000 euros and starts on
14 April 2025. Until it is finished the tower stays closed to visitors; tours start from the car park instead.</p>
"""


def main(folder: Path) -> None:
    """Write all example documents into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    report(folder / "report-2024.pdf")
    deck(folder / "members-meeting.pptx")
    chart().save(folder / "energy-chart.png")
    invoice().save(folder / "invoice.jpg", quality=90)


def report(path: Path) -> None:
    """A born-digital report: text, a ruled table, a vector figure, and a page that is only a picture of text."""
    document = pymupdf.open()
    page = document.new_page()
    page.insert_htmlbox((60, 60, 535, 400), STYLE + OPENING)
    _table(page, 430)
    page = document.new_page()
    page.insert_htmlbox((60, 60, 535, 220), STYLE + REPAIRS)
    _figure(page)
    scan = document.new_page()
    scan.insert_image(scan.rect, stream=_png(_letter()))
    document.set_metadata({"title": "Harbour Lights Trust: Annual Report 2024"})
    document.ez_save(path)


def _table(page: pymupdf.Page, top: float) -> None:
    page.insert_text((60, top - 8), "Table 1. Visitors by lighthouse", fontsize=10, fontname="hebo")
    rows = [("Lighthouse", "2023", "2024"), *((name, f"{a:,}", f"{b:,}") for name, (a, b) in VISITORS.items())]
    for i, row in enumerate(rows):
        y = top + 22 * i
        for x, cell in zip((60, 260, 380), row, strict=True):
            page.insert_text((x + 6, y + 15), cell, fontsize=10, fontname="hebo" if i == 0 else "helv")
    for i in range(len(rows) + 1):
        page.draw_line((60, top + 22 * i), (500, top + 22 * i), width=0.6)
    for x in (60, 260, 380, 500):
        page.draw_line((x, top), (x, top + 22 * len(rows)), width=0.6)


def _figure(page: pymupdf.Page) -> None:
    months, values = "JFMAMJJASOND", (3, 3, 4, 7, 10, 13, 18, 19, 11, 7, 3, 2)
    left, bottom = 110.0, 480.0
    page.draw_line((left, bottom), (left + 380, bottom))
    page.draw_line((left, bottom), (left, bottom - 200))
    points = [(left + 20 + 31 * i, bottom - 9.5 * v) for i, v in enumerate(values)]
    page.draw_polyline(points, color=(0.1, 0.3, 0.6), width=1.5)
    for (x, _), month in zip(points, months, strict=True):
        page.insert_text((x - 3, bottom + 12), month, fontsize=8)
    for value in (5, 10, 15, 20):
        page.insert_text((left - 18, bottom - 9.5 * value + 3), str(value), fontsize=8)
    caption = "Figure 1. Guided tours a week at Gull Point by month, 2024. The peak is in August."
    page.insert_text((left, bottom + 36), caption, fontsize=9, fontname="heit")


def _letter() -> Image.Image:
    image = Image.new("L", (1240, 1754), 250)
    draw = ImageDraw.Draw(image)
    lines = (
        "HARBOUR OFFICE OF EASTMOUTH", "", "12 December 2024", "", "To the Harbour Lights Trust", "",
        "We confirm that the fog signal of Old Mole may sound", "between 06:00 and 22:00 only. The permit is valid",
        "until 31 March 2027 and carries the number EM-4471.", "", "J. Okafor, harbour master",
    )  # fmt: skip
    for i, line in enumerate(lines):
        draw.text((140, 180 + 62 * i), line, font=ImageFont.load_default(38), fill=30)
    return image.rotate(0.4, fillcolor=250)


def deck(path: Path) -> None:
    """A deck with a native chart, a bullet slide and speaker notes."""
    presentation = Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[5])
    slide.shapes.title.text = "Where the money goes"
    data = CategoryChartData()
    data.categories = ["Repairs", "Staff", "Tours", "Energy"]
    data.add_series("2023", (210, 145, 60, 38))
    data.add_series("2024", (265, 150, 72, 21))
    slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(1.8), Inches(8), Inches(5), data)
    slide.notes_slide.notes_text_frame.text = "All amounts in thousands of euros. Energy fell because of the new lamp."
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = "Decisions for the members"
    slide.placeholders[1].text = "Raise the yearly fee from 30 to 34 euros\nElect a treasurer\nName the new supply boat"
    presentation.save(str(path))


def chart() -> Image.Image:
    """A bar chart as a picture."""
    image = Image.new("RGB", (900, 560), "white")
    draw = ImageDraw.Draw(image)
    draw.text((180, 20), "Electricity used at Gull Point (MWh)", font=ImageFont.load_default(28), fill="black")
    for i, (year, value) in enumerate({"2021": 52, "2022": 51, "2023": 49, "2024": 19}.items()):
        x = 140 + 180 * i
        draw.rectangle((x, 480 - 7 * value, x + 100, 480), fill=(70, 120, 180))
        draw.text((x + 32, 440 - 7 * value), str(value), font=ImageFont.load_default(26), fill="black")
        draw.text((x + 18, 495), year, font=ImageFont.load_default(26), fill="black")
    return image


def invoice() -> Image.Image:
    """An invoice as a photograph would show it."""
    image = Image.new("RGB", (1000, 900), (252, 251, 247))
    draw = ImageDraw.Draw(image)
    rows = (
        ("Brightwater Lamps Ltd", "INVOICE"), ("Invoice number", "BL-2024-117"), ("Date", "19 February 2024"),
        ("LED marine lantern, 1 piece", "7,450.00"), ("Installation, 16 hours", "1,280.00"),
        ("VAT 20 %", "1,746.00"), ("Total due", "EUR 10,476.00"),
    )  # fmt: skip
    for i, (label, value) in enumerate(rows):
        draw.text((80, 90 + 100 * i), label, font=ImageFont.load_default(32), fill="black")
        draw.text((640, 90 + 100 * i), value, font=ImageFont.load_default(32), fill="black")
    return image


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
