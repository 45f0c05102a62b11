"""Road users: cars, vans, lorries, buses, people, bicycles; each one mesh on the origin, front to +y, in metres."""

from __future__ import annotations

import math
import random

import bpy
from blender.kit import RGB, Shape, paint
from blender.props import BLACK, MACHINE, ORANGE, REFLECTIVE, STEEL

CAR_COLOURS: list[RGB] = [
    (0.6, 0.6, 0.6),
    (0.75, 0.75, 0.75),
    (0.02, 0.02, 0.025),
    (0.12, 0.12, 0.13),
    (0.3, 0.31, 0.33),
    (0.02, 0.05, 0.16),
    (0.35, 0.02, 0.02),
    (0.03, 0.1, 0.06),
    (0.45, 0.4, 0.3),
    (0.1, 0.2, 0.35),
    (0.8, 0.8, 0.78),
    (0.05, 0.05, 0.06),
]
BRIGHT: list[RGB] = [(0.9, 0.2, 0.01), (0.9, 0.55, 0.02), (0.75, 0.03, 0.02)]
SKINS: list[RGB] = [(0.55, 0.33, 0.22), (0.35, 0.2, 0.12), (0.12, 0.06, 0.04), (0.62, 0.42, 0.3)]
CLOTHES: list[RGB] = [
    (0.03, 0.03, 0.05),
    (0.3, 0.3, 0.32),
    (0.05, 0.08, 0.2),
    (0.4, 0.08, 0.06),
    (0.5, 0.45, 0.35),
    (0.1, 0.2, 0.1),
    (0.7, 0.68, 0.62),
]
LOUD: list[RGB] = [(0.9, 0.2, 0.02), (0.85, 0.7, 0.05), (0.45, 0.8, 0.08), (0.8, 0.05, 0.1)]
HI_VIS: list[RGB] = [(0.62, 0.92, 0.05), (0.95, 0.2, 0.02)]

# side views, (y, z) in metres: lower body, then glasshouse as bottom and top edges
BODIES = {
    "sedan": (
        4.6,
        1.8,
        [(-2.3, 0.3), (2.25, 0.3), (2.3, 0.62), (2.1, 0.78), (1.1, 0.95), (-1.5, 0.98), (-2.25, 0.92)],
        (-1.75, 1.15, -1.05, 0.45, 1.44),
    ),
    "hatch": (
        4.0,
        1.75,
        [(-2.0, 0.3), (1.95, 0.3), (2.0, 0.65), (1.8, 0.82), (1.0, 0.98), (-1.9, 1.0)],
        (-1.95, 1.1, -1.7, 0.35, 1.5),
    ),
    "suv": (
        4.7,
        1.95,
        [(-2.35, 0.38), (2.3, 0.38), (2.35, 0.85), (2.2, 1.05), (1.1, 1.15), (-2.3, 1.15)],
        (-2.3, 1.15, -2.1, 0.4, 1.78),
    ),
    "pickup": (
        5.4,
        1.95,
        [(-2.7, 0.42), (2.65, 0.42), (2.7, 0.95), (2.5, 1.1), (1.4, 1.18), (-2.7, 1.16)],
        (-0.75, 1.4, -0.6, 0.65, 1.85),
    ),
    "van": (
        5.4,
        2.0,
        [(-2.7, 0.35), (2.6, 0.35), (2.7, 0.9), (2.35, 1.2), (1.7, 1.35), (1.0, 2.35), (-2.65, 2.4)],
        (1.0, 1.85, 1.02, 1.05, 2.2),
    ),
}


def car(rng: random.Random, night: bool, colour: RGB | None = None, kind: str | None = None) -> bpy.types.Mesh:
    """A car, pickup or delivery van with glass, wheels, lamps and plates."""
    kind = kind or rng.choice(["sedan", "sedan", "hatch", "hatch", "suv", "suv", "pickup", "van"])
    length, width, outline, (back, front, top_back, top_front, top) = BODIES[kind]
    body = paint(colour or rng.choice(CAR_COLOURS), 0.25, 0.25)
    glass, black = paint((0.015, 0.02, 0.025), 0.05), paint(BLACK, 0.7)
    shape = Shape()
    shape.prism(outline, width, body, 0.05)
    shape.box((0, 0, outline[0][1] - 0.02), (width * 0.92, length * 0.9, 0.12), black)
    if kind == "van":
        shape.box((0, 1.5, 1.75), (width * 0.88, 0.95, 0.62), glass, tilt=-0.55)
    else:
        _glasshouse(shape, width, (back, front, top_back, top_front, top), glass, body)
    for y in (-length * 0.31, length * 0.31):
        for x in (-width / 2 - 0.005, width / 2 - 0.215):
            shape.cone((x, y, 0.33), 0.34, 0.34, 0.22, black, 20, "x")
            shape.cone((x - 0.006, y, 0.33), 0.19, 0.19, 0.232, paint(STEEL, 0.4, 0.8), 12, "x")
    lamp_front, lamp_rear = (
        paint((1, 0.95, 0.85), 0.2, glow=25 if night else 0.5),
        paint((0.7, 0.02, 0.02), 0.3, glow=5 if night else 0.15),
    )
    z = outline[2][1] + (0.0 if kind != "van" else 0.05)
    for x in (-width * 0.38, width * 0.38):
        shape.box((x, length / 2 - 0.06, z), (0.32, 0.1, 0.13), lamp_front)
        shape.box((x * 1.08, -length / 2 + 0.01, z + 0.12), (0.2, 0.06, 0.2 if kind != "van" else 0.5), lamp_rear)
    for y in (length / 2 - 0.01, -length / 2 + 0.0):
        shape.box((0, y, 0.52), (0.5, 0.05, 0.12), paint(REFLECTIVE, 0.5))
        shape.box((0, y * 0.99, 0.42), (width * 0.9, 0.08, 0.16), black)
    return shape.mesh(f"car {kind}")


def _glasshouse(
    shape: Shape,
    width: float,
    sizes: tuple[float, float, float, float, float],
    glass: bpy.types.Material,
    body: bpy.types.Material,
) -> None:
    back, front, top_back, top_front, top = sizes
    low, half, narrow = 0.93, width / 2 * 0.95, width / 2 * 0.76
    if top > 1.6:
        low = 1.12
    bottom = [(-half, back, low), (half, back, low), (half, front, low), (-half, front, low)]
    upper = [(-narrow, top_back, top), (narrow, top_back, top), (narrow, top_front, top), (-narrow, top_front, top)]
    for i in range(4):
        j = (i + 1) % 4
        shape.face([bottom[i], bottom[j], upper[j], upper[i]], glass)
        shape.limb(bottom[i], upper[i], 0.06, 0.05, body, 6)
    mid = (top_back + top_front) / 2
    shape.prism(
        [
            (top_back - 0.08, top - 0.03),
            (top_front + 0.1, top - 0.03),
            (top_front, top + 0.05),
            (mid, top + 0.08),
            (top_back, top + 0.05),
        ],
        narrow * 2.08,
        body,
        0.04,
    )
    for x in (-1, 1):
        shape.limb((x * half, mid - 0.1, low), (x * narrow, mid, top), 0.05, 0.045, body, 6)


def lorry(rng: random.Random, night: bool, works: bool = False) -> bpy.types.Mesh:
    """A box lorry, or with `works` a tipper or crew truck with an amber beacon and chevrons."""
    shape = Shape()
    cab = paint(rng.choice([MACHINE, ORANGE, (0.75, 0.75, 0.75)]) if works else rng.choice(CAR_COLOURS), 0.4)
    black, glass = paint(BLACK, 0.8), paint((0.015, 0.02, 0.025), 0.06)
    shape.prism([(1.5, 0.6), (3.4, 0.6), (3.4, 1.6), (3.1, 2.6), (1.6, 2.7)], 2.3, cab, 0.04)
    shape.prism([(2.2, 1.6), (3.43, 1.6), (3.18, 2.45), (2.3, 2.5)], 2.34, glass, 0.02)
    shape.box((0, -0.6, 0.75), (1.0, 7.2, 0.3), black)
    if works:
        box = paint(rng.choice([MACHINE, (0.25, 0.25, 0.26), ORANGE, (0.2, 0.28, 0.15)]), 0.6, grain=2)
        shape.prism([(-4.1, 1.0), (1.3, 1.0), (1.4, 2.2), (-4.2, 2.2)], 2.4, box, 0.03)
        for i in range(8):
            shape.box(
                (-1.05 + i * 0.3, -4.22, 1.6),
                (0.3, 0.05, 0.9),
                paint(ORANGE if i % 2 else REFLECTIVE, 0.4, glow=0.2 if night else 0),
            )
        shape.cone((0.6, 2.4, 2.7), 0.12, 0.1, 0.2, paint((1, 0.5, 0.03), 0.3, glow=15))
    else:
        shape.box(
            (0, -1.5, 2.2),
            (2.45, 5.6, 2.6),
            paint(
                rng.choice(
                    [(0.7, 0.7, 0.68), (0.5, 0.52, 0.55), (0.2, 0.25, 0.4), (0.6, 0.1, 0.08), (0.75, 0.72, 0.6)]
                ),
                0.6,
            ),
        )
        shape.box((0, -4.32, 2.2), (2.3, 0.03, 2.4), paint((0.5, 0.5, 0.5), 0.5))
    for y in (-3.2, -2.1, 2.4):
        for x in (-1.15, 0.85):
            shape.cone((x, y, 0.48), 0.48, 0.48, 0.3, black, 18, "x")
    for x in (-1.0, 1.0):
        shape.box((x, -4.24, 0.85), (0.3, 0.05, 0.15), paint((0.7, 0.02, 0.02), 0.3, glow=5 if night else 0.2))
        shape.box((x, 3.42, 0.95), (0.3, 0.05, 0.2), paint((1, 0.95, 0.85), 0.3, glow=25 if night else 0.4))
    return shape.mesh("lorry works" if works else "lorry")


def bus(rng: random.Random, night: bool) -> bpy.types.Mesh:
    """A city bus."""
    shape = Shape()
    colour = paint(
        rng.choice([(0.55, 0.03, 0.03), (0.1, 0.25, 0.5), (0.7, 0.7, 0.68), (0.1, 0.35, 0.2), (0.9, 0.5, 0.03)]), 0.35
    )
    shape.prism([(-5.5, 0.35), (5.5, 0.35), (5.6, 1.2), (5.4, 3.0), (-5.5, 3.05)], 2.5, colour, 0.03)
    glass = paint((0.02, 0.03, 0.035), 0.06, glow=0.4 if night else 0)
    shape.prism([(-5.2, 1.35), (5.62, 1.35), (5.5, 2.55), (-5.2, 2.55)], 2.54, glass, 0.005)
    for y in (-3.2, 3.4):
        for x in (-1.27, 0.97):
            shape.cone((x, y, 0.48), 0.48, 0.48, 0.3, paint(BLACK, 0.8), 18, "x")
    for x in (-1.0, 1.0):
        shape.box((x, -5.5, 0.9), (0.3, 0.1, 0.3), paint((0.7, 0.02, 0.02), 0.3, glow=5 if night else 0.2))
        shape.box((x, 5.55, 0.8), (0.4, 0.1, 0.2), paint((1, 0.95, 0.85), 0.3, glow=20 if night else 0.4))
    return shape.mesh("bus")


def person(rng: random.Random, outfit: str, night: bool = False) -> bpy.types.Mesh:
    """A standing, walking or digging person; outfit worker (helmet, vest), bright or plain."""
    shape = Shape()
    skin, shoes = paint(rng.choice(SKINS), 0.7), paint(BLACK, 0.8)
    trousers = paint(rng.choice(CLOTHES), 0.9)
    vest = rng.choice(HI_VIS)
    top = paint(
        vest if outfit == "worker" else rng.choice(LOUD if outfit == "bright" else CLOTHES),
        0.85,
        glow=0.06 if night and outfit == "worker" else 0,
    )
    stride, lean = rng.uniform(-0.28, 0.28), rng.uniform(-0.05, 0.3) if outfit == "worker" else 0.03
    k = rng.uniform(0.93, 1.06)
    for x, step in ((-0.1, stride), (0.1, -stride)):
        shape.limb((x, step, 0.05), (x * 0.9, step * 0.4 + 0.04, 0.48 * k), 0.06, 0.075, trousers)
        shape.limb((x * 0.9, step * 0.4 + 0.04, 0.48 * k), (x * 0.8, 0, 0.92 * k), 0.075, 0.1, trousers)
        shape.box((x, step + 0.06, 0.05), (0.1, 0.27, 0.1), shoes)
    hip, neck = (0.0, 0.0, 0.9 * k), (0.0, lean, 1.45 * k)
    shape.ball((0, lean * 0.5, 1.18 * k), (0.21, 0.14, 0.33 * k), top)
    shape.ball((0, lean * 0.9, 1.38 * k), (0.22, 0.12, 0.12), top)
    shape.limb(hip, neck, 0.13, 0.09, top)
    if outfit == "worker":
        band = paint(REFLECTIVE, 0.3, glow=0.5 if night else 0.05)
        for z, r in ((1.08, 0.208), (1.22, 0.213)):
            shape.cone((0, lean * (z - 0.9), z * k), r, r, 0.055, band, 14, cap=False)
    for x in (-1, 1):
        swing = rng.uniform(-0.3, 0.5)
        elbow, hand = (x * 0.29, lean + swing * 0.4, 1.15 * k), (x * 0.27, lean + swing, (0.95 + abs(swing) * 0.3) * k)
        shape.limb((x * 0.22, lean, 1.4 * k), elbow, 0.06, 0.05, top)
        shape.limb(elbow, hand, 0.05, 0.04, top if outfit == "worker" else skin)
        shape.ball(hand, (0.05, 0.05, 0.06), skin, 8)
        if outfit == "worker" and x == 1 and rng.random() < 0.5:
            shape.limb(
                (hand[0], hand[1] - 0.2, hand[2] + 0.4),
                (hand[0] - 0.1, hand[1] + 0.6, 0.05),
                0.02,
                0.02,
                paint((0.35, 0.22, 0.1)),
            )
    shape.limb(neck, (0, lean, 1.55 * k), 0.055, 0.05, skin)
    shape.ball((0, lean + 0.02, 1.65 * k), (0.09, 0.11, 0.13), skin)
    if outfit == "worker":
        shape.ball(
            (0, lean + 0.02, 1.71 * k),
            (0.13, 0.15, 0.1),
            paint(rng.choice([(0.9, 0.6, 0.03), (0.85, 0.85, 0.85), ORANGE]), 0.4),
        )
    else:
        shape.ball(
            (0, lean, 1.7 * k),
            (0.1, 0.115, 0.1),
            paint(rng.choice([(0.02, 0.015, 0.01), (0.15, 0.08, 0.03), (0.4, 0.3, 0.15)]), 0.9),
        )
    return shape.mesh(f"person {outfit}")


def bicycle(rng: random.Random) -> bpy.types.Mesh:
    """A bicycle with its rider."""
    shape = Shape()
    dark = paint(BLACK, 0.7)
    for y in (-0.52, 0.52):
        for i in range(12):
            a, b = 2 * math.pi * i / 12, 2 * math.pi * (i + 1) / 12
            shape.limb(
                (0, y + 0.34 * math.cos(a), 0.34 + 0.34 * math.sin(a)),
                (0, y + 0.34 * math.cos(b), 0.34 + 0.34 * math.sin(b)),
                0.02,
                0.02,
                dark,
                5,
            )
    frame = paint(rng.choice(LOUD + CLOTHES), 0.4)
    for start, end in (
        ((0, -0.52, 0.34), (0, -0.1, 0.9)),
        ((0, -0.1, 0.9), (0, 0.4, 0.85)),
        ((0, 0.52, 0.34), (0, 0.4, 1.0)),
        ((0, -0.1, 0.35), (0, 0.4, 0.85)),
    ):
        shape.limb(start, end, 0.02, 0.02, frame, 6)
    top, legs = paint(rng.choice(LOUD + CLOTHES), 0.9), paint(rng.choice(CLOTHES), 0.9)
    shape.limb((0, -0.15, 0.95), (0, 0.15, 1.45), 0.15, 0.17, top)
    for x in (-0.12, 0.12):
        shape.limb((x, -0.1, 0.95), (x, 0.2, 0.6), 0.085, 0.07, legs)
        shape.limb((x, 0.2, 0.6), (x, 0.0, 0.2), 0.07, 0.05, legs)
        shape.limb((x * 1.7, 0.13, 1.4), (x * 1.9, 0.42, 1.02), 0.05, 0.04, top)
    shape.ball((0, 0.22, 1.65), (0.1, 0.12, 0.13), paint(rng.choice(SKINS), 0.7))
    shape.ball((0, 0.2, 1.72), (0.11, 0.13, 0.09), paint(rng.choice(CLOTHES + LOUD), 0.6))
    return shape.mesh("bicycle")
