"""Lines on top: scratches, scuffs, grooves, threads, pen strokes, prints."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from nand_core.drawing import canvas as c
from nand_core.drawing.canvas import Rng
from nand_core.drawing.defects.common import mean_colour, shadow, spot, strength, union
from nand_core.drawing.materials import Material


def scratch(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Thin, nearly straight, tapered lines, light or dark, single or in bundles, interrupted at times."""
    alpha = np.zeros_like(m.solid)
    angle, centre = rng.uniform(0, np.pi), spot(rng, m)
    for _ in range(1 if rng.random() < 0.5 else rng.integers(2, 7)):
        points = c.straight(
            rng, centre, c.loguniform(rng, 18, 130), angle, rng.normal(0, 0.06), rng.uniform(0, 0.5), 16
        )
        width = c.loguniform(rng, 0.6, 2.4) * np.sin(np.linspace(0.15, np.pi - 0.15, 16)) ** 0.5
        line = c.polyline(points, width)
        if rng.random() < 0.35:
            line = line * np.clip(c.smooth_noise(rng, 9) + 0.9, 0, 1)
        alpha = union(alpha, line)
        if rng.random() < 0.7:
            centre, angle = centre + rng.normal(0, 9, 2), angle + rng.normal(0, 0.12)
        else:
            centre, angle = spot(rng, m), rng.uniform(0, np.pi)
    base = mean_colour(m)
    tone = (
        base * rng.uniform(0.15, 0.6)
        if rng.random() < 0.4
        else np.clip(base * rng.uniform(1.3, 2.2) + 0.12, 0, 1)
    )
    image = c.blend(m.image, alpha * strength(rng, 0.35), tone)
    if rng.random() < 0.4:  # a bright and a dark side
        other = np.roll(alpha, tuple(rng.integers(-1, 2, 2)), (0, 1)) * (1 - alpha)
        image = c.blend(image, other * 0.5, np.clip(2 * base - tone, 0, 1))
    return image, alpha


def scuff(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Abrasion: an area of many faint fine parallel marks."""
    area = c.blob(rng, spot(rng, m), c.loguniform(rng, 9, 32), 0.35, softness=rng.uniform(2, 6))
    marks = c.turn(c.blur(c.white_noise(rng), (0.45, rng.uniform(4, 12))), rng.uniform(0, np.pi))
    marks = np.clip(c.standardise(marks) * rng.uniform(0.4, 0.8) + rng.uniform(0.1, 0.5), 0, 1) * area
    tone = (
        np.clip(mean_colour(m) * rng.uniform(1.3, 2.2) + 0.15, 0, 1)
        if rng.random() < 0.7
        else mean_colour(m) * 0.35
    )
    return c.blend(m.image, marks * strength(rng, 0.4), tone), area


def groove(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A channel of constant width with a lit and a dark flank."""
    angle = rng.uniform(0, np.pi)
    width = rng.uniform(3, 9)
    points = c.straight(rng, spot(rng, m), c.loguniform(rng, 40, 170), angle, rng.normal(0, 0.05), 0, 12)
    channel = c.polyline(points, width)
    flank = c.relief(
        c.blur(channel, rng.uniform(0.8, 1.6)), angle + np.pi / 2 * rng.choice([-1, 1]), rng.uniform(0.7, 2.2)
    )
    floor = 1 - rng.uniform(0, 0.35) * channel
    return m.image * (floor + np.clip(flank, -0.6, 0.9))[..., None], channel


def thread(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """A loose fibre, hair or lint lying on top: long, curling, of one width and colour, with a shadow."""
    alpha = np.zeros_like(m.solid)
    hair = rng.random() < 0.35
    width = rng.uniform(0.6, 1.3) if hair else c.loguniform(rng, 1.1, 4.5)
    for _ in range(1 if rng.random() < 0.75 else rng.integers(2, 4)):
        length = c.loguniform(rng, 30, 170)
        curl = c.loguniform(rng, 0.04, 0.6)
        points = c.wander(rng, spot(rng, m, 15), length, curl, points=40)
        points = points - (points.mean(0) - points[0]) * rng.uniform(0, 1)
        alpha = union(alpha, c.polyline(points, width))
    tone = c.contrasting(rng, mean_colour(m), 0.25)
    image = shadow(m.image, alpha, rng, 3.0, 0.7)
    body = np.broadcast_to(tone, m.image.shape)
    if width > 1.8 and rng.random() < 0.7:  # twisted yarn: lit along the middle, or with twist marks
        ridge = np.clip(c.blur(alpha, width / 3) * 1.6 - 0.6, 0, 1)
        twist = 1 + 0.25 * np.sin((c.XX + c.YY * rng.choice([-1, 1])) * 2 * np.pi / rng.uniform(2.5, 5))
        body = body * ((0.6 + 0.55 * ridge) * (twist if rng.random() < 0.5 else 1))[..., None]
    return c.blend(image, alpha * rng.uniform(0.7, 1.0), body), alpha


def stroke(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Pen, pencil or brush marks: one colour (often grey) and width; lines, arcs, zigzag, scribble."""
    width = c.loguniform(rng, 1.8, 12)
    kind = rng.integers(4)
    if kind == 0:
        points = c.straight(rng, spot(rng, m), c.loguniform(rng, 18, 90), None, rng.normal(0, 0.15), 0.3, 10)
    elif kind == 1:
        points = c.wander(rng, spot(rng, m, 20), c.loguniform(rng, 30, 110), rng.uniform(0.1, 0.5))
    elif kind == 2:
        n = rng.integers(5, 14)
        t = np.linspace(-0.5, 0.5, n)
        tall, long, a = rng.uniform(5, 20), rng.uniform(20, 70), rng.uniform(0, 6.3)
        zigzag = np.stack([t * long, (np.arange(n) % 2 - 0.5) * tall], 1)
        points = spot(rng, m, 20) + zigzag @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    else:
        t = np.linspace(0, rng.uniform(3, 20), 40)
        r = rng.uniform(6, 18)
        points = spot(rng, m, 20) + np.stack(
            [r * np.cos(t) + t * rng.uniform(0, 2), r * np.sin(t) * rng.uniform(0.5, 1)], 1
        )
    alpha = c.polyline(points, width)
    base = mean_colour(m)
    if rng.random() < 0.65:
        tone = c.grey(rng.uniform(0.05, 0.75))
        if abs(float(tone[0] - base.mean())) < 0.12:
            tone = c.grey(float(np.clip(base.mean() - 0.3, 0.03, 1)))
    else:
        tone = c.contrasting(rng, base, 0.25)
    paint = alpha
    if rng.random() < 0.5:  # dry brush or pencil: the grain shows
        paint = alpha * np.clip(0.75 + 0.35 * c.band_noise(rng, rng.uniform(0.6, 1.5)), 0, 1)
    if rng.random() < 0.4:
        paint = c.blur(paint, rng.uniform(0.5, 1.5))
    if rng.random() < 0.3:  # translucent: darkens what is below
        return m.image * (1 - (paint * rng.uniform(0.35, 0.7))[..., None] * (1 - tone)), alpha
    return c.blend(m.image, paint * strength(rng, 0.4), tone), alpha


_GLYPHS = "ABCDEFGHKLMNPRSTUXYZ0123456789#&%@*+=<>?"


def print_(rng: Rng, m: Material) -> tuple[np.ndarray, np.ndarray]:
    """Letters, digits, logos or bar codes printed or pressed in where they do not belong."""
    sheet = Image.new("L", (2 * c.SIZE, 2 * c.SIZE))
    draw, height = ImageDraw.Draw(sheet), int(c.loguniform(rng, 20, 80))
    kind = rng.integers(5)
    if kind == 4:
        x = c.SIZE - height
        while x < c.SIZE + height:
            bar = int(rng.integers(2, 7))
            draw.rectangle([x, c.SIZE - height // 2, x + bar, c.SIZE + height // 2], fill=255)
            x += bar + int(rng.integers(2, 8))
    elif kind == 3:
        for k in range(rng.integers(1, 4)):
            r, w = height * (1 - 0.3 * k) / 2, int(rng.integers(2, 8))
            sides = int(rng.choice([3, 4, 5, 30]))
            draw.regular_polygon(
                (c.SIZE, c.SIZE, max(r, 5)), sides, rotation=int(rng.integers(360)), outline=255, width=w
            )
    else:
        text = "".join(rng.choice(list(_GLYPHS), rng.integers(1, 7)))
        if rng.random() < 0.25:
            text += "\n" + "".join(rng.choice(list(_GLYPHS), rng.integers(2, 7)))
        draw.multiline_text(
            (c.SIZE, c.SIZE),
            text,
            fill=255,
            font=ImageFont.load_default(height),
            anchor="mm",
            stroke_width=int(rng.integers(0, 3)),
        )
    sheet = sheet.rotate(float(rng.choice([0, 90, rng.uniform(0, 360)])), Image.Resampling.BILINEAR)
    ink = np.asarray(sheet.reduce(2), np.float32) / 255
    centre = spot(rng, m, 22)
    ink = np.roll(ink, (int(centre[1]) - 64, int(centre[0]) - 64), (0, 1))
    mask = np.clip(c.blur(ink, 2.0) * 4, 0, 1)
    if rng.random() < 0.2:  # embossed
        return m.image * (1 + np.clip(c.relief(c.blur(ink, 0.8), rng.uniform(0, 6.3), 1.6), -0.5, 0.8))[
            ..., None
        ], mask
    worn = np.clip(0.85 + 0.3 * c.smooth_noise(rng, 8), 0, 1) if rng.random() < 0.4 else 1.0
    tone = c.contrasting(rng, mean_colour(m), 0.3)
    return c.blend(m.image, ink * worn * strength(rng, 0.45), tone), mask
