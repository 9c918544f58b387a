"""Where a face lies in an aligned picture, and how a photograph is brought there.

Source: the crops of TP-GAN and Light CNN: eyes level, their centre on the picture's middle column at 40 of 128 px from the top,
the mouth's centre 48 px below it.
"""

from __future__ import annotations

EYES_AT = 40 / 128
"""Height of the eyes' centre, as share of the picture's side from its top."""
MOUTH_AT = 88 / 128
"""And of the mouth's."""
