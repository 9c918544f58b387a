"""`python -m distilgan.cli`, which torchrun needs."""

from distilgan.cli import main

main()
