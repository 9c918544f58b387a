"""What a training asks of its machine."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from distilgan.training.hardware import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_freed_memory_is_used_again_without_asking_the_system() -> None:
    """By the system's count of pages it had to give; without the setting each block is new."""
    keep_freed_memory()
    numbers, blocks = 2**24, 30
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(blocks):
        torch.ones(numbers)
    given = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() / (4 * numbers)
    assert given < blocks / 3
