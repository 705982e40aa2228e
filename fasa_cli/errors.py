"""The errors a user can cause. Each message names the file or option at fault and the cure.

`app.py` is the one place that turns them into a message and an exit code.
"""


class FasaError(Exception):
    """Base of all errors that are the input's fault, not a bug's."""


class ImageError(FasaError):
    """An image file cannot be decoded strictly: damaged, unsupported, or a decompression bomb."""


class DatasetError(FasaError):
    """A data set is missing, empty, or its images and masks do not fit together."""


class CheckpointError(FasaError):
    """A weights file is missing, damaged, foreign, or does not fit its own configuration."""


class ConfigError(FasaError):
    """A configuration file, option or range cannot be understood."""


class DeviceError(FasaError):
    """The device that was asked for is not there."""


class OutputError(FasaError):
    """An output folder cannot be used: not writable, in use, or holding a different run."""


class CalibrationError(FasaError):
    """A calibration is missing, damaged, of other weights, or rests on too few photos."""
