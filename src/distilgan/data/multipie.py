"""The file names of Multi-PIE: subject_session_recording_camera_illumination, such as 001_01_01_051_07.png.

Source: the camera codes that TP-GAN's and FFWM's released code agree on. Yaw in degrees; the frontal partner of a picture is
the one of the same name with camera 051.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

CAMERAS: dict[str, int] = {
    "110": -90, "120": -75, "090": -60, "080": -45, "130": -30, "140": -15, "051": 0,
    "050": 15, "041": 30, "190": 45, "200": 60, "010": 75, "240": 90,
}  # fmt: skip
FRONTAL = "051"
CAMERA_AT: dict[int, str] = {yaw: code for code, yaw in CAMERAS.items()}

_NAME = re.compile(r"(\d{3,6})_(\d{2})_(\d{2})_(\d{3})_(\d{2})(?!\d)(.*)")


@dataclass(frozen=True)
class PictureName:
    """The parts of a name; all but the subject say how the picture was taken, `words` whatever comes after: _crop."""

    subject: str
    session: str
    recording: str
    camera: str
    light: str
    words: str = ""

    @property
    def yaw(self) -> int | None:
        """Degrees; None for the two cameras above the subject (081, 191) and any unknown one."""
        return CAMERAS.get(self.camera)

    @property
    def frontal(self) -> PictureName:
        """The frontal partner."""
        return replace(self, camera=FRONTAL)

    def __str__(self) -> str:
        return f"{self.subject}_{self.session}_{self.recording}_{self.camera}_{self.light}{self.words}"


def parse_name(path: str) -> PictureName | None:
    """What a file's name says, whatever its folder and ending; None for other names. Words after the parts are allowed."""
    found = _NAME.fullmatch(PurePosixPath(path).stem)
    return PictureName(*found.groups()) if found else None
