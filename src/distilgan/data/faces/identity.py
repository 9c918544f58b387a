"""Who is in the picture, and how it was taken: the random parameters of a rendered face.

An `Identity` is what stays when the same person is photographed again (skull, skin, eyes, hair); a `Capture` is what
changes (pose, expression, light, background). Both are drawn from a seed alone, so that picture number `i` of a set is
the same picture whoever renders it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]
"""sRGB in [0, 1]."""

# Local changes of the head model that alter a person and not an attitude; asymmetric pairs are driven by one value.
SHAPE_CHANGES: tuple[str, ...] = (
    "cheek-volume-incr", "cheek-inner-incr", "cheek-bones-incr", "cheek-trans-up",
    "chin-jaw-drop-incr", "chin-height-incr", "chin-prominent-incr", "chin-bones-incr", "chin-width-incr",
    "chin-cleft-incr", "chin-prognathism-incr",
    "ear-scale-incr", "ear-wing-incr", "ear-lobe-incr", "ear-rot-forward", "ear-trans-up",
    "eyebrows-angle-up", "eyebrows-trans-up", "eyebrows-trans-forward",
    "eye-corner1-up", "eye-corner2-up", "eye-height1-incr", "eye-height2-incr", "eye-height3-incr", "eye-scale-incr",
    "eye-eyefold-up", "eye-eyefold-angle-up", "eye-bag-incr", "eye-epicanthus-out", "eye-trans-out", "eye-push2-out",
    "forehead-temple-incr", "forehead-trans-forward", "forehead-scale-vert-incr", "forehead-nubian-incr",
    "head-scale-vert-incr", "head-scale-horiz-incr", "head-scale-depth-incr", "head-back-scale-depth-incr",
    "head-angle-out", "head-fat-incr", "head-age-incr",
    "mouth-scale-horiz-incr", "mouth-cupidsbow-incr", "mouth-lowerlip-height-incr", "mouth-upperlip-height-incr",
    "mouth-lowerlip-volume-incr", "mouth-upperlip-volume-incr", "mouth-trans-up", "mouth-laugh-lines-out",
    "mouth-upperlip-width-incr", "mouth-lowerlip-width-incr", "mouth-angles-up", "mouth-philtrum-volume-incr",
    "neck-scale-horiz-incr", "neck-double-incr",
    "nose-flaring-incr", "nose-curve-convex", "nose-scale-depth-incr", "nose-scale-vert-incr", "nose-scale-horiz-incr",
    "nose-point-width-incr", "nose-width1-incr", "nose-width2-incr", "nose-width3-incr", "nose-hump-incr",
    "nose-greek-incr", "nose-point-up", "nose-base-up", "nose-nostrils-width-incr", "nose-nostrils-angle-up",
    "nose-septumangle-incr", "nose-volume-incr",
)  # fmt: skip

# Expressions as mixtures of the head model's facial actions at full strength.
EXPRESSIONS: dict[str, dict[str, float]] = {
    "neutral": {},
    "smile": {"mouthSmile": 0.65, "cheekSquint": 0.35, "mouthDimple": 0.15},
    "laugh": {"mouthSmile": 0.75, "jawOpen": 0.22, "cheekSquint": 0.5, "eyeSquint": 0.3, "mouthUpperUp": 0.3},
    "sad": {"mouthFrown": 0.55, "browInnerUp": 0.6, "eyeSquint": 0.1},
    "angry": {"browDown": 0.8, "eyeSquint": 0.3, "mouthPress": 0.4, "noseSneer": 0.25},
    "surprised": {"browInnerUp": 0.6, "browOuterUp": 0.7, "eyeWide": 0.7, "jawOpen": 0.3},
    "pout": {"mouthPucker": 0.5, "browDown": 0.2},
    "squint": {"eyeSquint": 0.5, "cheekSquint": 0.3, "mouthStretch": 0.15},
}


@dataclass(frozen=True)
class Skin:
    """Skin tone and its variation over the face; strengths in [0, 1]."""

    albedo: Colour
    flush: float
    freckles: float
    shine: float
    lips: Colour
    shadow: float
    beard: float
    texture_seed: int


@dataclass(frozen=True)
class Hair:
    """Hair or cap. Lengths in metres; `style` is bald, short, full, long or cap."""

    style: str
    colour: Colour
    thickness: float
    roughness: float
    fringe: float
    recession: float
    parting: float
    length: float
    cap_colour: Colour


@dataclass(frozen=True)
class Identity:
    """One person. `phenotype` and `shape` are the head model's own parameters."""

    phenotype: dict[str, float]
    shape: dict[str, float]
    skin: Skin
    brows: Colour
    brow_weight: float
    iris: Colour
    hair: Hair
    clothes: Colour


@dataclass(frozen=True)
class Capture:
    """One photograph. Angles in degrees (yaw to the subject's left, pitch up, roll clockwise); light direction in camera space."""

    yaw: float
    pitch: float
    roll: float
    expression: dict[str, float]
    gaze: tuple[float, float]
    light: tuple[float, float, float]
    light_colour: Colour
    light_strength: float
    ambient_colour: Colour
    ambient_strength: float
    background: tuple[Colour, Colour]
    background_seed: int


def _mix(a: Colour, b: Colour, t: float) -> Colour:
    return tuple(float((1 - t) * x + t * y) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def _jitter(rng: np.random.Generator, colour: Colour, sd: float) -> Colour:
    return tuple(float(np.clip(c + rng.normal(0, sd), 0.01, 0.99)) for c in colour)  # type: ignore[return-value]


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    channels = [(5, 3, 1)[i] + hue * 6 for i in range(3)]
    return tuple(float(value - value * saturation * np.clip(min(k % 6, 4 - k % 6), 0, 1)) for k in channels)  # type: ignore[return-value]


# Skin from fair to dark (sRGB); natural hair; irises: each a curve or a small palette that covers people.
_SKIN_TONES: tuple[Colour, ...] = (
    (0.92, 0.75, 0.67), (0.88, 0.70, 0.58), (0.82, 0.62, 0.48), (0.68, 0.47, 0.34), (0.50, 0.33, 0.23), (0.34, 0.22, 0.16),
)  # fmt: skip
_HAIR_COLOURS: tuple[Colour, ...] = (
    (0.06, 0.05, 0.05), (0.16, 0.10, 0.07), (0.30, 0.19, 0.11), (0.48, 0.32, 0.17), (0.72, 0.56, 0.33), (0.55, 0.22, 0.09),
)  # fmt: skip
_GREY: Colour = (0.72, 0.71, 0.70)
_IRISES: tuple[Colour, ...] = (
    (0.24, 0.13, 0.06), (0.36, 0.21, 0.10), (0.42, 0.36, 0.16), (0.30, 0.43, 0.28), (0.28, 0.47, 0.66), (0.45, 0.52, 0.58),
)  # fmt: skip


def _tone(position: float) -> Colour:
    scaled = float(np.clip(position, 0, 1)) * (len(_SKIN_TONES) - 1)
    low = min(int(scaled), len(_SKIN_TONES) - 2)
    return _mix(_SKIN_TONES[low], _SKIN_TONES[low + 1], scaled - low)


def _sample_hair(rng: np.random.Generator, male: float, age: float, darkness: float) -> Hair:
    palette = np.array([2.0, 2.0, 1.4, 0.8, 0.8, 0.4])
    palette[3:] *= max(0.02, 1 - 2.2 * darkness)
    colour = _jitter(rng, _HAIR_COLOURS[rng.choice(6, p=palette / palette.sum())], 0.02)
    if age > 0.78:
        colour = _mix(colour, _GREY, float(np.clip((age - 0.78) / 0.2, 0, 1) * rng.uniform(0.3, 1.0)))
    weights = {
        "bald": 0.02 + 0.12 * male,
        "short": 0.18 + 0.42 * male,
        "full": 0.25,
        "long": 0.45 * (1 - male) + 0.03,
        "cap": 0.10,
    }
    total = sum(weights.values())
    style = str(rng.choice(list(weights), p=[w / total for w in weights.values()]))
    thickness = {"bald": 0.0, "short": rng.uniform(0.004, 0.012), "full": rng.uniform(0.014, 0.032)}.get(
        style, rng.uniform(0.010, 0.022)
    )
    return Hair(
        style=style,
        colour=colour,
        thickness=float(thickness),
        roughness=float(rng.uniform(0.1, 0.5) if style != "full" else rng.uniform(0.2, 1.0)),
        fringe=float(max(0.0, rng.normal(0.0, 0.014)) * (0.4 if style == "short" else 1.0)),
        recession=float(max(0.0, rng.normal(0, 0.010)) * male * np.clip((age - 0.55) * 3, 0.2, 1.4)),
        parting=float(rng.uniform(-0.03, 0.03)),
        length=float(rng.uniform(0.07, 0.20)),
        cap_colour=_hsv(rng.uniform(), rng.uniform(0.1, 0.75), rng.uniform(0.15, 0.8)),
    )


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draw a person: age child to old, both sexes and between, all ancestries, shape changes with σ = 0.3."""
    male = float(np.clip(rng.beta(0.5, 0.5), 0.02, 0.98))
    age = float(
        rng.choice([rng.uniform(0.45, 0.6), rng.uniform(0.6, 0.8), rng.uniform(0.8, 1.0)], p=[0.15, 0.55, 0.30])
    )
    ancestry = rng.dirichlet([0.6, 0.6, 0.6])
    phenotype = {
        "gender": 1 - male,  # the head model runs from male (0) to female (1)
        "age": age,
        "muscle": float(rng.beta(3, 3)),
        "weight": float(rng.beta(2.5, 2.5)),
        "height": float(rng.beta(4, 4)),
        "proportions": float(rng.beta(4, 2)),
        "cupsize": 0.5,
        "firmness": 0.5,
        "african": float(ancestry[0]),
        "asian": float(ancestry[1]),
        "caucasian": float(ancestry[2]),
    }
    shape = {name: float(np.clip(rng.normal(0, 0.3), -1, 1)) for name in SHAPE_CHANGES}

    darkness = float(np.clip(0.85 * ancestry[0] + 0.32 * ancestry[1] + 0.14 * ancestry[2] + rng.normal(0, 0.09), 0, 1))
    albedo = _jitter(rng, _tone(darkness), 0.012)
    lips = _mix(albedo, (0.66, 0.30, 0.29), 0.55 - 0.2 * darkness)
    if male < 0.4 and rng.uniform() < 0.45:
        lips = _mix(
            lips,
            _hsv(rng.uniform(0.94, 1.02) % 1.0, rng.uniform(0.6, 0.85), rng.uniform(0.45, 0.8)),
            rng.uniform(0.4, 0.9),
        )
    bearded = male > 0.6 and age > 0.58 and rng.uniform() < 0.5
    hair = _sample_hair(rng, male, age, darkness)
    skin = Skin(
        albedo=albedo,
        flush=float(rng.uniform(0.2, 1.0)),
        freckles=float(max(0.0, rng.normal(-0.1, 0.4)) * (1 - darkness)),
        shine=float(rng.uniform(0.15, 0.6)),
        lips=lips,
        shadow=float(rng.uniform(0, 0.6)) if male < 0.4 else 0.0,
        beard=float(rng.uniform(0.25, 0.95)) if bearded else float(rng.uniform(0, 0.12)) * male,
        texture_seed=int(rng.integers(2**31)),
    )
    irises = np.array([3.0, 2.0, 1.0, 1.0, 1.2, 0.8])
    irises[2:] *= max(0.03, 1 - 2.0 * darkness)
    return Identity(
        phenotype=phenotype,
        shape=shape,
        skin=skin,
        brows=_mix(hair.colour, (0.05, 0.04, 0.04), 0.45),
        brow_weight=float(np.clip(rng.normal(0.55 + 0.4 * male, 0.2), 0.25, 1.3)),
        iris=_jitter(rng, _IRISES[rng.choice(6, p=irises / irises.sum())], 0.02),
        hair=hair,
        clothes=_hsv(rng.uniform(), rng.beta(1.5, 2.5), rng.uniform(0.1, 0.9)),
    )


def sample_expression(rng: np.random.Generator) -> dict[str, float]:
    """Draw a mixture of facial actions; a third of the faces are close to neutral."""
    name = str(rng.choice(list(EXPRESSIONS), p=[0.28, 0.26, 0.10, 0.07, 0.07, 0.08, 0.06, 0.08]))
    strength = float(rng.uniform(0.35, 1.0))
    return {action: strength * value for action, value in EXPRESSIONS[name].items()}


def sample_capture(rng: np.random.Generator) -> Capture:
    """Draw a portrait: near frontal, lit from above and to one side, soft background."""
    azimuth, elevation = np.radians(rng.uniform(-65, 65)), np.radians(rng.uniform(5, 55))
    light = (
        float(np.sin(azimuth) * np.cos(elevation)),
        float(np.sin(elevation)),
        float(np.cos(azimuth) * np.cos(elevation)),
    )
    warmth = float(rng.uniform(-1, 1))
    hue, saturation, value = rng.uniform(), rng.beta(1.3, 3.6), rng.uniform(0.12, 0.88)
    first = _hsv(hue, saturation, value)
    second = _hsv(
        (hue + rng.normal(0, 0.08)) % 1, rng.beta(1.3, 3.6), float(np.clip(value + rng.normal(0, 0.2), 0.05, 0.95))
    )
    return Capture(
        yaw=float(np.clip(rng.normal(0, 11), -30, 30)),
        pitch=float(np.clip(rng.normal(0, 5), -14, 14)),
        roll=float(np.clip(rng.normal(0, 2.5), -7, 7)),
        expression=sample_expression(rng),
        gaze=(float(rng.normal(0, 5)), float(rng.normal(0, 3))),
        light=light,
        light_colour=(1.0, 0.95 + 0.04 * warmth, 0.89 + 0.10 * warmth),
        light_strength=float(rng.uniform(0.75, 1.15)),
        ambient_colour=_mix((0.9, 0.95, 1.0), first, 0.35),
        ambient_strength=float(rng.uniform(0.30, 0.60)),
        background=(first, second),
        background_seed=int(rng.integers(2**31)),
    )
