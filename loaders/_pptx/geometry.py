"""Places of shapes on a slide: group transforms, rotation, boxes in fractions."""

import math
from dataclasses import dataclass

from sensorium.loaders._pptx.markup import Element, find, number, qn
from sensorium.nodes import Box


@dataclass(frozen=True)
class Frame:
    """Position and size in the units of the enclosing group, and the clockwise turn in degrees."""

    x: float
    y: float
    width: float
    height: float
    turn: float = 0.0


@dataclass(frozen=True)
class Transform:
    """From a group's child units to fractions of the slide: `fraction = scale * value + shift`, an axis each."""

    scale_x: float
    shift_x: float
    scale_y: float
    shift_y: float

    @classmethod
    def of_slide(cls, width: int, height: int) -> "Transform":
        """From the slide's own units (EMU)."""
        return cls(1 / width, 0.0, 1 / height, 0.0)

    def group(self, properties: Element | None) -> "Transform":
        """The transform inside a group, from its `a:xfrm`: `chOff`/`chExt` are mapped on `off`/`ext`."""
        places = [find(properties, f"a:{name}") if properties is not None else None
                  for name in ("off", "ext", "chOff", "chExt")]  # fmt: skip
        off, ext, child_off, child_ext = places
        if off is None or ext is None or child_off is None or child_ext is None:
            return self
        ratio_x = number(ext, "cx") / (number(child_ext, "cx") or number(ext, "cx") or 1)
        ratio_y = number(ext, "cy") / (number(child_ext, "cy") or number(ext, "cy") or 1)
        return Transform(
            self.scale_x * ratio_x,
            self.shift_x + self.scale_x * (number(off, "x") - ratio_x * number(child_off, "x")),
            self.scale_y * ratio_y,
            self.shift_y + self.scale_y * (number(off, "y") - ratio_y * number(child_off, "y")),
        )

    def place(self, frame: Frame) -> tuple[float, float, float, float]:
        """Corners of the upright box around a (turned) frame, in fractions; may reach beyond the slide."""
        angle = math.radians(frame.turn)
        wide, high = abs(math.cos(angle)), abs(math.sin(angle))
        half_x = (frame.width * wide + frame.height * high) / 2
        half_y = (frame.width * high + frame.height * wide) / 2
        middle_x, middle_y = frame.x + frame.width / 2, frame.y + frame.height / 2
        return (
            self.scale_x * (middle_x - half_x) + self.shift_x, self.scale_y * (middle_y - half_y) + self.shift_y,
            self.scale_x * (middle_x + half_x) + self.shift_x, self.scale_y * (middle_y + half_y) + self.shift_y,
        )  # fmt: skip


def own_frame(element: Element) -> Frame | None:
    """The frame that stands in the shape's own XML; None when it is inherited."""
    path = "p:xfrm" if element.tag == qn("p:graphicFrame") else "p:spPr/a:xfrm"
    place = find(element, path)
    if place is None:
        return None
    off, ext = find(place, "a:off"), find(place, "a:ext")
    if off is None or ext is None:
        return None
    turn = number(place, "rot") / 60_000
    return Frame(number(off, "x"), number(off, "y"), number(ext, "cx"), number(ext, "cy"), turn)


def visible(corners: tuple[float, float, float, float]) -> Box | None:
    """The part of a box that lies on the slide; None when there is none.

    Text boxes without height (they grow with their text) and straight lines are given a hair's breadth.
    """
    x0, y0, x1, y1 = corners
    x0, x1 = max(0.0, x0), min(1.0, max(x1, x0 + 1e-3))
    y0, y1 = max(0.0, y0), min(1.0, max(y1, y0 + 1e-3))
    # Evidence keeps five decimals: a box must not vanish there.
    return (x0, y0, x1, y1) if x1 - x0 > 1e-4 and y1 - y0 > 1e-4 else None


def area(box: Box | None) -> float:
    """Share of the slide."""
    return (box[2] - box[0]) * (box[3] - box[1]) if box else 0.0


def union(boxes: list[Box]) -> Box | None:
    """The box around all boxes; None for none."""
    if not boxes:
        return None
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)
