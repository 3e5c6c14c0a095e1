"""Repos in intake's catalogs, with intake itself."""

import subprocess
import sys

import intake
import pytest
import xarray as xr
from intake.readers import datatypes

from arraylake_core.errors import RefNotFoundError
from arraylake_core.integrations.intake_driver import ArraylakeData, ArraylakeReader
from tests.integrations.conftest import daily

VERSION_2 = """
version: 2
data:
  stored:
    datatype: arraylake_core.integrations.intake_driver:ArraylakeData
    kwargs: {{url: "al://me/ocean@v1", group: daily, service_uri: "{uri}"}}
    metadata: {{}}
    user_parameters: {{}}
entries:
  ocean:
    reader: arraylake_core.integrations.intake_driver:ArraylakeReader
    kwargs: {{data: "{{data(stored)}}", chunks: {{}}}}
    output_instance: xarray:Dataset
    metadata: {{}}
    user_parameters: {{}}
aliases: {{}}
metadata: {{}}
user_parameters: {{}}
"""
VERSION_1 = """
sources:
  ocean:
    driver: arraylake
    description: Four days of the sea
    args: {{urlpath: me/ocean, ref: "{{{{ ref }}}}", group: daily, service_uri: "{uri}"}}
    parameters:
      ref: {{description: The version, type: str, default: v1}}
"""


def test_a_catalog_entry_opens_a_group(lake, tmp_path):
    file = tmp_path / "catalog.yaml"
    file.write_text(VERSION_2.format(uri=lake.client.service_uri))
    opened = intake.from_yaml_file(str(file))["ocean"].read()
    assert opened.sst.chunks == ((2, 2), (5, 5))
    xr.testing.assert_identical(opened.load(), daily())


# Intake warns of a shell command wherever a parameter has a default.
@pytest.mark.filterwarnings("ignore:Shell command not executed:UserWarning")
def test_an_entry_of_a_catalog_of_version_1_takes_its_parameters(lake, tmp_path):
    file = tmp_path / "catalog.yml"
    file.write_text(VERSION_1.format(uri=lake.client.service_uri))
    catalog = intake.open_catalog(str(file))
    assert list(catalog) == ["ocean"]
    xr.testing.assert_identical(catalog.ocean.read(), daily())
    assert catalog.ocean(ref=lake.first).to_dask().sst.chunks == ((2, 2), (5, 5))
    assert catalog.ocean.discover().sizes == {"day": 4, "y": 10}
    with pytest.raises(RefNotFoundError, match="nowhere"):
        catalog.ocean(ref="nowhere").read()


def test_a_reader_goes_into_a_catalog_and_comes_back(lake, tmp_path):
    data = ArraylakeData("al://me/ocean", group="daily", service_uri=lake.client.service_uri)
    reader = data.to_reader("xarray")
    assert type(reader) is ArraylakeReader
    catalog = intake.Catalog()
    catalog["sea"] = reader
    catalog.to_yaml_file(str(tmp_path / "written.yaml"))
    xr.testing.assert_identical(intake.from_yaml_file(str(tmp_path / "written.yaml"))["sea"].discover().load(), daily())


def test_intake_knows_the_urls():
    assert ArraylakeData in datatypes.recommend("al://me/ocean@v1", head=False)
    assert ArraylakeData not in datatypes.recommend("s3://me/ocean", head=False)


def test_intake_loads_nothing_heavy_through_us():
    script = """
import sys, intake
assert "arraylake_core.integrations.intake_driver" in sys.modules
assert "arraylake" in intake.source.registry
print(*{name.partition(".")[0] for name in sys.modules})
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & {"zarr", "icechunk", "sqlalchemy", "xarray", "aiohttp"} == set()
