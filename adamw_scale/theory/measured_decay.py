"""When the share of the weights that a step took is the share that its settings say."""

RESOLUTIONS = 8.0  # of a measurement, its standard deviation by rounding alone: what is smaller may be that
NOTABLE = 0.1  # relative difference between measured and claimed decay that is worth saying
TWICE = (1.5, 2.5)  # measured over claimed decay that looks like a second decay of the same size


def agrees(measured: float, claimed: float, resolution: float) -> bool:
    """Whether a measured share is the claimed one, as far as its resolution and a tenth of the claim tell.

    Example:
        >>> agrees(1.05e-4, 1e-4, 1e-7), agrees(2e-4, 1e-4, 1e-7), agrees(2e-4, 1e-4, 2e-5)
        (True, False, True)
    """
    return abs(measured - claimed) <= max(RESOLUTIONS * resolution, NOTABLE * claimed)


def is_twice(measured: float, claimed: float) -> bool:
    """Whether a measured share looks like two decays of the size that is claimed for one."""
    return bool(claimed) and TWICE[0] < measured / claimed < TWICE[1]
