"""The detectors that decide, in the order in which they look."""

from __future__ import annotations

from foreshock.monitor.detectors import Detector
from foreshock.monitor.detectors.share_changes import ShareChanges
from foreshock.monitor.detectors.silence import Silence
from foreshock.monitor.detectors.surging import Surging
from foreshock.monitor.detectors.volume_changes import VolumeChanges

DETECTORS: tuple[type[Detector], ...] = (Surging, ShareChanges, VolumeChanges, Silence)
"""A detector that looks later sees the alerts of those before it as open."""
