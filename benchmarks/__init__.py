"""Measure what README and documentation claim.

The benchmarks need the library and the packages of the extra `bench`, but no pipeline.
"""
