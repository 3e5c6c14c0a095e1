"""Exporting a version as plain Zarr, or what changed since another version."""

from arraylake_v1_repo.export.run import ExportReport, export

__all__ = ["ExportReport", "export"]
