"""How several losses become one: named losses in, weights out."""

from distilgan.balancing.base import Balancer, Seen, Wants
from distilgan.balancing.dwa import DWA
from distilgan.balancing.famo import FAMO
from distilgan.balancing.gradnorm import GradNorm
from distilgan.balancing.metakd import MetaKD
from distilgan.balancing.uncertainty import Uncertainty

__all__ = ["DWA", "FAMO", "Balancer", "GradNorm", "MetaKD", "Seen", "Uncertainty", "Wants"]
