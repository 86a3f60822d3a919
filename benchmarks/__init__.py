"""Measure what README and documentation claim.

Comparing training methods needs the library and the packages of the extra `bench`. Other benchmarks
run stages of the pipeline, and need all of it.
"""
